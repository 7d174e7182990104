/* softmax and its logarithm along one axis. */

/* The largest number of a row, in every lane; NaN is left out: it comes back through exp. */
INLINE vf row_max(const float *x, int64_t n)
{
    const vf least = vf_set1(-INFINITY);
    vf top[4] = {least, least, least, least};
    int64_t i = 0;
    for (; i + 4 * VL <= n; i += 4 * VL)
        UNROLL for (int k = 0; k < 4; k++)
            top[k] = vf_max(vf_load(x + i + k * VL), top[k]);
    for (; i + VL <= n; i += VL)
        top[0] = vf_max(vf_load(x + i), top[0]);
    if (i < n)
        top[1] = vf_max(vf_first(vf_load_part(x + i, n - i), n - i, least), top[1]);
    return vf_max_lanes(vf_max(vf_max(top[0], top[1]), vf_max(top[2], top[3])));
}

/* Sum of exp(x - top) over a row, in every lane; the terms go to `y` unless that is NULL.  Four sums side by side. */
INLINE vf row_exp_sum(const float *x, float *y, int64_t n, vf top)
{
    vf sum[4] = {{0}};
    int64_t i = 0;
    for (; i + 4 * VL <= n; i += 4 * VL) {
        vf v[4];
        UNROLL for (int k = 0; k < 4; k++)
            v[k] = vf_exp_below(vf_load(x + i + k * VL) - top);
        UNROLL for (int k = 0; k < 4; k++) {
            sum[k] += v[k];
            if (y)
                vf_store(y + i + k * VL, v[k]);
        }
    }
    for (; i < n; i += VL) {
        const int64_t part = n - i < VL ? n - i : VL;
        vf v = vf_exp_below((part < VL ? vf_load_part(x + i, part) : vf_load(x + i)) - top);
        sum[0] += vf_first(v, part, vf_set1(0.0f));
        if (y)
            part < VL ? vf_store_part(y + i, v, part) : vf_store(y + i, v);
    }
    return vf_sum_lanes((sum[0] + sum[1]) + (sum[2] + sum[3]));
}

#define MAP_ROW(from, expression)                           \
    do {                                                    \
        int64_t i = 0;                                      \
        for (; i + VL <= n; i += VL) {                      \
            vf v = vf_load((from) + i);                     \
            vf_store(y + i, (expression));                  \
        }                                                   \
        if (i < n) {                                        \
            vf v = vf_load_part((from) + i, n - i);         \
            vf_store_part(y + i, (expression), n - i);      \
        }                                                   \
    } while (0)

/* Rows of at most VL numbers stay in a register. */
INLINE void short_rows(const float *x, float *y, int64_t rows, int64_t n, int log)
{
    for (int64_t i = 0; i < rows; i++) {
        vf v = vf_load_part(x + i * n, n);
        v -= vf_max_lanes(vf_first(v, n, vf_set1(-INFINITY)));
        vf e = vf_exp_below(v), sum = vf_sum_lanes(vf_first(e, n, vf_set1(0.0f)));
        vf_store_part(y + i * n, log ? v - vf_log(sum) : vf_divide(e, sum), n);
    }
}

INLINE void long_rows(const float *x, float *y, int64_t rows, int64_t n, int log)
{
    for (int64_t row = 0; row < rows; row++, x += n, y += n) {
        const vf top = row_max(x, n), sum = row_exp_sum(x, log ? NULL : y, n, top);
        if (log) {
            const vf log_sum = vf_log(sum);
            MAP_ROW(x, (v - top) - log_sum);
        } else {
            const vf scale = vf_set1(1.0f / sum[0]);
            MAP_ROW(y, v * scale);
        }
    }
}

/* `part` columns side by side (0: VL), `inner` floats from one element to the next. */
INLINE void softmax_columns(const float *x, float *y, int64_t n, int64_t inner, int64_t part, int log)
{
#define LOAD(p) (part ? vf_load_part((p), part) : vf_load(p))
#define STORE(p, v) (part ? vf_store_part((p), (v), part) : vf_store((p), (v)))
    vf top = vf_set1(-INFINITY), sum = {0};
    for (int64_t i = 0; i < n; i++)
        top = vf_max(LOAD(x + i * inner), top);
    for (int64_t i = 0; i < n; i++) {
        vf v = vf_exp_below(LOAD(x + i * inner) - top);
        sum += v;
        if (!log)
            STORE(y + i * inner, v);
    }
    sum = log ? vf_log(sum) : 1.0f / sum;
    for (int64_t i = 0; i < n; i++)
        STORE(y + i * inner, log ? (LOAD(x + i * inner) - top) - sum : LOAD(y + i * inner) * sum);
#undef LOAD
#undef STORE
}

INTERLEAVED static void softmax(const float *x, float *y, int64_t rows, int64_t n, int64_t inner, int log)
{
    if (inner == 1 && n <= VL) {
        short_rows(x, y, rows, n, log);
        return;
    }
    if (inner == 1) {
        long_rows(x, y, rows, n, log);
        return;
    }
    for (int64_t row = 0; row < rows; row++, x += n * inner, y += n * inner) {
        for (int64_t j = 0; j < inner; j += VL)
            softmax_columns(x + j, y + j, n, inner, inner - j < VL ? inner - j : 0, log);
    }
}
