/* Functions of one and two variables over contiguous floats. */

/* Four vectors at a time: functions are long chains of dependent instructions, of which the processor then sees four. */
#define MAP(expression)                                                                                     \
    do {                                                                                                    \
        int64_t i = 0;                                                                                      \
        for (; i + 4 * VL <= n; i += 4 * VL) {                                                              \
            vf w[4];                                                                                        \
            UNROLL for (int k = 0; k < 4; k++) {                                                            \
                vf v = vf_load(x + i + k * VL);                                                             \
                w[k] = (expression);                                                                        \
            }                                                                                               \
            UNROLL for (int k = 0; k < 4; k++)                                                              \
                vf_store(y + i + k * VL, w[k]);                                                             \
        }                                                                                                   \
        for (; i < n; i += VL) {                                                                            \
            vf v = vf_load(x + i);                                                                          \
            v = (expression);                                                                               \
            vf_store(y + i, v);                                                                             \
        }                                                                                                   \
        return;                                                                                             \
    } while (0)

/* Numbers beyond the range of the reduction go through the C library. */
INLINE void trigonometric(const float *x, float *y, int64_t n, const int COSINE)
{
    for (int64_t i = 0; i < n; i += VL) {
        vf v = vf_load(x + i);
        vi quadrant, far = vf_abs(v) > TRIGONOMETRIC_RANGE;
        vf r = vf_reduce_sin(v, &quadrant);
        vf_store(y + i, COSINE ? vf_sin_quadrant(r, quadrant + 1) : vf_select(v == 0.0f, v, vf_sin_quadrant(r, quadrant)));
        if (vi_any(far))
            for (int64_t k = 0; k < VL; k++)
                y[i + k] = far[k] ? (COSINE ? cosf(v[k]) : sinf(v[k])) : y[i + k];
    }
}

/* n is a multiple of VL. */
INTERLEAVED static void unary_vectors(tn_function f, float alpha, float beta, const float *x, float *y, int64_t n)
{
    switch (f) {
    case TN_NONE: MAP(v);
    case TN_RELU: MAP(vf_max(vf_set1(0.0f), v));
    case TN_CLIP: MAP(vf_clamp(v, vf_set1(alpha), vf_set1(beta)));
    case TN_LEAKY_RELU: MAP(vf_select(v >= 0.0f, v, alpha * v));
    case TN_SIGMOID: MAP(vf_sigmoid(v));
    case TN_TANH: MAP(vf_tanh(v));
    case TN_HARD_SIGMOID: MAP(vf_hard_sigmoid(v, alpha, beta));
    case TN_HARD_SWISH: MAP(vf_hard_swish(v));
    case TN_SILU: MAP(v * vf_sigmoid(v));
    case TN_EXP: MAP(vf_exp(v));
    case TN_SQRT: MAP(vf_sqrt(v));
    case TN_LOG: MAP(vf_log(v));
    case TN_NEG: MAP(-v);
    case TN_ABS: MAP(vf_abs(v));
    case TN_RECIPROCAL: MAP(1.0f / v);
    case TN_FLOOR: MAP(vf_floor(v));
    case TN_CEIL: MAP(vf_ceil(v));
    case TN_ROUND: MAP(vf_round(v));
    case TN_ERF: MAP(vf_erf(v));
    case TN_SOFTPLUS: MAP(vf_softplus(v));
    case TN_GELU: MAP(vf_gelu(v));
    case TN_GELU_TANH: MAP(vf_gelu_tanh(v));
    case TN_MISH: MAP(vf_mish(v));
    case TN_ELU:
    case TN_SELU:
    case TN_CELU: {
        const vf slope = vf_set1(f == TN_CELU ? 1.0f / alpha : 1.0f), factor = vf_set1(f == TN_SELU ? beta : 1.0f);
        MAP(factor * vf_elu(v, vf_set1(alpha), slope));
    }
    case TN_SOFTSIGN: MAP(v / (1.0f + vf_abs(v)));
    case TN_THRESHOLDED_RELU: MAP(vf_select(v > alpha, v, vf_set1(0.0f)));
    case TN_SHRINK: MAP(vf_select(v < -alpha, v + beta, vf_select(v > alpha, v - beta, vf_set1(0.0f))));
    case TN_SIN: trigonometric(x, y, n, 0); return;
    case TN_COS: trigonometric(x, y, n, 1); return;
    case TN_SIGN: MAP(vf_sign(v));
    }
}

/* n < 4 VL numbers, not all in whole vectors, through a copy: code for parts would be a quarter of every function. */
static __attribute__((noinline)) void unary_part(tn_function f, float alpha, float beta, const float *x, float *y, int64_t n)
{
    const int64_t whole = n & -VL;
    vf copy[4];
    for (int64_t i = 0; i < whole; i += VL)
        copy[i / VL] = vf_load(x + i);
    copy[whole / VL] = vf_load_part(x + whole, n - whole);
    unary_vectors(f, alpha, beta, (const float *)copy, (float *)copy, whole + VL);
    for (int64_t i = 0; i < whole; i += VL)
        vf_store(y + i, copy[i / VL]);
    vf_store_part(y + whole, copy[whole / VL], n - whole);
}

/* Stores that cross cache lines cost more than what they save, so the first vector of many may be a short one. */
static void unary(tn_function f, float alpha, float beta, const float *x, float *y, int64_t n)
{
    const int64_t head = n > 8 * VL ? -(int64_t)((uintptr_t)y / 4) & (VL - 1) : 0;
    if (head) {
        unary_part(f, alpha, beta, x, y, head);
        x += head;
        y += head;
        n -= head;
    }
    if (n % VL) {
        const int64_t fours = n & -(4 * VL);
        if (fours)
            unary_vectors(f, alpha, beta, x, y, fours);
        unary_part(f, alpha, beta, x + fours, y + fours, n - fours);
    } else
        unary_vectors(f, alpha, beta, x, y, n);
}

#define MAP2(expression)                                                                            \
    do {                                                                                            \
        int64_t i = 0;                                                                              \
        for (; i + VL <= n; i += VL) {                                                              \
            vf a = step_x ? vf_load(x + i) : vf_set1(x[0]);                                         \
            vf b = step_y ? vf_load(y + i) : vf_set1(y[0]);                                         \
            vf_store(z + i, vf_clamp((expression), lo, hi));                                        \
        }                                                                                           \
        if (i < n) {                                                                                \
            vf a = step_x ? vf_load_part(x + i, n - i) : vf_set1(x[0]);                             \
            vf b = step_y ? vf_load_part(y + i, n - i) : vf_set1(y[0]);                             \
            vf_store_part(z + i, vf_clamp((expression), lo, hi), n - i);                            \
        }                                                                                           \
    } while (0);                                                                                    \
    break

static void binary(tn_binary f, const float *x, int step_x, const float *y, int step_y, float *z, int64_t n,
                   const tn_epilogue *e)
{
    const vf lo = vf_set1(e->lo), hi = vf_set1(e->hi);
    switch (f) {
    case TN_ADD: MAP2(a + b);
    case TN_SUB: MAP2(a - b);
    case TN_MUL: MAP2(a * b);
    case TN_DIV: MAP2(a / b);
    case TN_MAXIMUM: MAP2(vf_maximum(a, b));
    case TN_MINIMUM: MAP2(vf_minimum(a, b));
    case TN_PRELU: MAP2(vf_select(a >= 0.0f, a, a * b));
    case TN_POW:
        for (int64_t i = 0; i < n; i++) {
            float v = powf(x[i * step_x], y[i * step_y]);
            v = v < e->lo ? e->lo : v;
            z[i] = v > e->hi ? e->hi : v;
        }
        break;
    }
    if (e->function > TN_CLIP)
        unary(e->function, e->alpha, e->beta, z, z, n);
}

static void scale_shift(const float *x, const float *scale, const float *shift, float *y, int64_t n, const tn_epilogue *e)
{
    const vf lo = vf_set1(e->lo), hi = vf_set1(e->hi);
    int64_t i = 0;
    for (; i + VL <= n; i += VL)
        vf_store(y + i, vf_clamp(vf_load(x + i) * vf_load(scale + i) + vf_load(shift + i), lo, hi));
    if (i < n) {
        vf v = vf_load_part(x + i, n - i) * vf_load_part(scale + i, n - i) + vf_load_part(shift + i, n - i);
        vf_store_part(y + i, vf_clamp(v, lo, hi), n - i);
    }
    if (e->function > TN_CLIP)
        unary(e->function, e->alpha, e->beta, y, y, n);
}

static void bilinear(const float *a, const float *b, const float *c, const float *d, float fx, float fy, float *y, int64_t n)
{
    const vf wx = vf_set1(fx), wy = vf_set1(fy), ux = vf_set1(1.0f - fx), uy = vf_set1(1.0f - fy);
    int64_t i = 0;
    for (; i + VL <= n; i += VL) {
        vf top = vf_load(a + i) * ux + vf_load(b + i) * wx;
        vf bottom = vf_load(c + i) * ux + vf_load(d + i) * wx;
        vf_store(y + i, top * uy + bottom * wy);
    }
    if (i < n) {
        const int64_t part = n - i;
        vf top = vf_load_part(a + i, part) * ux + vf_load_part(b + i, part) * wx;
        vf bottom = vf_load_part(c + i, part) * ux + vf_load_part(d + i, part) * wx;
        vf_store_part(y + i, top * uy + bottom * wy, part);
    }
}

static void blend(const float *x, const int64_t *offset, const float *weight, int64_t taps, float *y, int64_t n)
{
    int64_t i = 0;
    for (; i + VL <= n; i += VL) {
        vf sum = {0};
        for (int64_t t = 0; t < taps; t++)
            sum += vf_load(x + offset[t] + i) * weight[t];
        vf_store(y + i, sum);
    }
    if (i < n) {
        vf sum = {0};
        for (int64_t t = 0; t < taps; t++)
            sum += vf_load_part(x + offset[t] + i, n - i) * weight[t];
        vf_store_part(y + i, sum, n - i);
    }
}
