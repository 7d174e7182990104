/* Pooling windows, reductions and local response normalisation. */

INLINE vf pool_start(tn_reduction r) { return vf_set1(r == TN_MAX ? -INFINITY : r == TN_MIN ? INFINITY : 0.0f); }

/* Two partial results. */
INLINE vf pool_join(tn_reduction r, vf a, vf b)
{
    return r == TN_MAX ? vf_maximum(b, a) : r == TN_MIN ? vf_minimum(b, a) : a + b;
}

/* A partial result and one more vector of elements. */
INLINE vf pool_combine(tn_reduction r, vf acc, vf v)
{
    return r == TN_SUM_SQUARE ? acc + v * v : pool_join(r, acc, r == TN_SUM_ABS ? vf_abs(v) : v);
}

/* Sums of more than this many terms go through a second accumulator: the rounding error then grows with the
   square root of the count and not with the count. */
enum { SUM_BLOCK = 64 };

/* `vectors` neighbouring ones at a time: as many chains of additions, and whole runs of memory from each row. */
INLINE void pool_vectors(tn_reduction r, const float *x, int64_t ny, int64_t ld_y, int64_t nx, int64_t ld_x, float *y,
                         float factor, const int vectors, int64_t part)
{
    const int adds = r != TN_MAX && r != TN_MIN;
    vf total[4], acc[4];
    int64_t pending = 0;
    UNROLL for (int k = 0; k < vectors; k++)
        total[k] = acc[k] = pool_start(r);
    for (int64_t i = 0; i < ny; i++)
        for (int64_t j = 0; j < nx; j++) {
            const float *p = x + i * ld_y + j * ld_x;
            UNROLL for (int k = 0; k < vectors; k++)
                acc[k] = pool_combine(r, acc[k], part ? vf_load_part(p, part) : vf_load(p + k * VL));
            if (adds && ++pending == SUM_BLOCK) {
                UNROLL for (int k = 0; k < vectors; k++) {
                    total[k] += acc[k];
                    acc[k] = pool_start(r);
                }
                pending = 0;
            }
        }
    UNROLL for (int k = 0; k < vectors; k++) {
        const vf v = pool_join(r, total[k], acc[k]) * factor;
        if (part)
            vf_store_part(y, v, part);
        else
            vf_store(y + k * VL, v);
    }
}

/* The same for windows of 2x2, most of all: without loops around so few additions. */
INLINE void pool_four(tn_reduction r, const float *x, int64_t ld_y, int64_t ld_x, float *y, float factor, int64_t part)
{
    vf acc = pool_start(r);
    UNROLL for (int i = 0; i < 4; i++)
    {
        const float *p = x + i / 2 * ld_y + i % 2 * ld_x;
        acc = pool_combine(r, acc, part ? vf_load_part(p, part) : vf_load(p));
    }
    acc *= factor;
    if (part)
        vf_store_part(y, acc, part);
    else
        vf_store(y, acc);
}

INLINE void pool_kind(tn_reduction r, const float *x, int64_t ny, int64_t ld_y, int64_t nx, int64_t ld_x, float *y,
                      int64_t channels, float factor, int64_t windows, int64_t x_step, int64_t y_step)
{
    if ((r == TN_MAX || r == TN_SUM) && ny == 2 && nx == 2 && channels < 4 * VL) {
        const int64_t whole = channels / VL * VL;
        for (; windows > 0; windows--, x += x_step, y += y_step) {
            for (int64_t c = 0; c < whole; c += VL)
                pool_four(r, x + c, ld_y, ld_x, y + c, factor, 0);
            if (whole < channels)
                pool_four(r, x + whole, ld_y, ld_x, y + whole, factor, channels - whole);
        }
        return;
    }
    for (; windows > 0; windows--, x += x_step, y += y_step) {
        int64_t c = 0;
        for (; c + 4 * VL <= channels; c += 4 * VL)
            pool_vectors(r, x + c, ny, ld_y, nx, ld_x, y + c, factor, 4, 0);
        for (; c + VL <= channels; c += VL)
            pool_vectors(r, x + c, ny, ld_y, nx, ld_x, y + c, factor, 1, 0);
        if (c < channels)
            pool_vectors(r, x + c, ny, ld_y, nx, ld_x, y + c, factor, 1, channels - c);
    }
}

static void pool(tn_reduction r, const float *x, int64_t ny, int64_t ld_y, int64_t nx, int64_t ld_x, float *y,
                 int64_t channels, float factor, int64_t windows, int64_t x_step, int64_t y_step)
{
#define POOL_KIND(R) \
    case R: pool_kind(R, x, ny, ld_y, nx, ld_x, y, channels, factor, windows, x_step, y_step); break
    switch (r) {
        POOL_KIND(TN_MAX);
        POOL_KIND(TN_MIN);
        POOL_KIND(TN_SUM);
        POOL_KIND(TN_SUM_ABS);
        POOL_KIND(TN_SUM_SQUARE);
    }
#undef POOL_KIND
}

/* One result of all lanes, in log2(VL) steps. */
INLINE float pool_lanes(tn_reduction r, vf v)
{
    if (VL > 8)
        v = pool_join(r, v, __builtin_shuffle(v, LANES ^ 8));
    if (VL > 4)
        v = pool_join(r, v, __builtin_shuffle(v, LANES ^ 4));
    if (VL > 2)
        v = pool_join(r, v, __builtin_shuffle(v, LANES ^ 2));
    if (VL > 1)
        v = pool_join(r, v, __builtin_shuffle(v, LANES ^ 1));
    return v[0];
}

/* Four chains of whole vectors, then single ones, then part of one. */
INLINE float reduce_kind(tn_reduction r, const float *x, int64_t n)
{
    const vf start = pool_start(r);
    vf total = start;
    int64_t i = 0;
    while (i + 4 * VL <= n) {
        const int64_t end = n - i > 4 * VL * SUM_BLOCK ? i + 4 * VL * SUM_BLOCK : n;
        vf a = start, b = start, c = start, d = start;
        for (; i + 4 * VL <= end; i += 4 * VL) {
            a = pool_combine(r, a, vf_load(x + i));
            b = pool_combine(r, b, vf_load(x + i + VL));
            c = pool_combine(r, c, vf_load(x + i + 2 * VL));
            d = pool_combine(r, d, vf_load(x + i + 3 * VL));
        }
        total = pool_join(r, total, pool_join(r, pool_join(r, a, b), pool_join(r, c, d)));
    }
    for (; i + VL <= n; i += VL)
        total = pool_combine(r, total, vf_load(x + i));
    if (i < n) {
        const vf rest = vf_select(LANES < vi_set1((int32_t)(n - i)), vf_load_part(x + i, n - i), start);
        total = pool_combine(r, total, rest);
    }
    return pool_lanes(r, total);
}

static float reduce(tn_reduction r, const float *x, int64_t n)
{
    switch (r) {
    case TN_MAX: return reduce_kind(TN_MAX, x, n);
    case TN_MIN: return reduce_kind(TN_MIN, x, n);
    case TN_SUM: return reduce_kind(TN_SUM, x, n);
    case TN_SUM_ABS: return reduce_kind(TN_SUM_ABS, x, n);
    case TN_SUM_SQUARE: break;
    }
    return reduce_kind(TN_SUM_SQUARE, x, n);
}

/* Column by column: the first of equals, or the last; NaN is beyond every number. */
static void argmax(const float *x, int64_t n, int64_t ld, float sign, int last, int64_t *y, int64_t columns)
{
    for (int64_t j = 0; j < columns; j += VL) {
        const int64_t part = columns - j < VL ? columns - j : VL;
        vf top = vf_set1(0.0f);
        vi best = vi_set1(0);
        for (int64_t k = 0; k < n; k++) {
            const float *p = x + k * ld + j;
            const vf v = sign * (part < VL ? vf_load_part(p, part) : vf_load(p));
            vi better = last ? (v >= top) | (v != v) : (v > top) | ((v != v) & (top == top));
            if (k == 0)
                better = vi_set1(-1);
            best = (vi)vf_select(better, (vf)vi_set1((int32_t)k), (vf)best);
            top = vf_select(better, v, top);
        }
        for (int64_t i = 0; i < part; i++)
            y[j + i] = best[i];
    }
}

/* x / s^0.75.  Roots and divisions of whole vectors are slow; two approximations to 14 bits and a Newton step each are not. */
INLINE vf lrn_normalized(vf x, vf s)
{
#if VL == 16
    if (!vi_any(~((s > 1e-30f) & (s < 1e30f)))) {
        vf root = (vf)_mm512_rsqrt14_ps((__m512)s);
        root = root * (1.5f - 0.5f * s * root * root);
        vf fourth = (vf)_mm512_rsqrt14_ps((__m512)root);
        fourth = fourth * (1.5f - 0.5f * root * fourth * fourth);
        return x * (root * root * fourth);
    }
#endif
    return x / (vf_sqrt(s) * vf_sqrt(vf_sqrt(s)));
}

static void lrn(const float *x, float *y, int64_t channels, int64_t size, float alpha, float power, float bias, float *squares)
{
    const int64_t before = (size - 1) / 2;   /* the ONNX window: floor((size-1)/2) below, ceil((size-1)/2) above */
    int64_t done = 0;
    memset(squares, 0, (size_t)before * sizeof(float));
    for (; done + VL <= channels; done += VL)
        vf_store(squares + before + done, vf_load(x + done) * vf_load(x + done));
    for (; done < channels; done++)
        squares[before + done] = x[done] * x[done];
    memset(squares + before + channels, 0, (size_t)(size - before) * sizeof(float));
    for (int64_t c = 0; c < channels; c += VL) {
        const int64_t part = channels - c < VL ? channels - c : VL;
        vf s = {0};
        for (int64_t k = 0; k < size; k++)
            s += part < VL ? vf_load_part(squares + c + k, part) : vf_load(squares + c + k);
        s = bias + alpha * s;
        if (power == 0.75f && part == VL) {
            vf_store(y + c, lrn_normalized(vf_load(x + c), s));
            continue;
        }
        float base[VL];
        vf_store(base, s);
        for (int64_t i = 0; i < part; i++)
            y[c + i] = x[c + i] / (power == 0.75f ? sqrtf(base[i]) * sqrtf(sqrtf(base[i])) : powf(base[i], power));
    }
}
