/* Functions of one and two variables over contiguous floats. */

#define MAP(expression)                                                     \
    do {                                                                    \
        int64_t i = 0;                                                      \
        for (; i + VL <= n; i += VL) {                                      \
            vf v = vf_load(x + i);                                          \
            vf_store(y + i, (expression));                                  \
        }                                                                   \
        if (i < n) {                                                        \
            vf v = vf_load_part(x + i, n - i);                              \
            vf_store_part(y + i, (expression), n - i);                      \
        }                                                                   \
        return;                                                             \
    } while (0)

/* Rare functions go through the C library. */
#define MAP_SCALAR(expression)              \
    do {                                    \
        for (int64_t i = 0; i < n; i++) {   \
            float v = x[i];                 \
            y[i] = (expression);            \
        }                                   \
        return;                             \
    } while (0)

static void unary(tn_function f, float alpha, float beta, const float *x, float *y, int64_t n)
{
    switch (f) {
    case TN_NONE: MAP(v);
    case TN_RELU: MAP(vf_max(vf_set1(0.0f), v));
    case TN_CLIP: MAP(vf_clamp(v, vf_set1(alpha), vf_set1(beta)));
    case TN_LEAKY_RELU: MAP(vf_select(v >= 0.0f, v, alpha * v));
    case TN_SIGMOID: MAP(vf_sigmoid(v));
    case TN_TANH: MAP(vf_tanh(v));
    case TN_HARD_SIGMOID: MAP(vf_hard_sigmoid(v, alpha, beta));
    case TN_HARD_SWISH: MAP(v * vf_hard_sigmoid(v, 1.0f / 6.0f, 0.5f));
    case TN_SILU: MAP(v * vf_sigmoid(v));
    case TN_ELU: MAP_SCALAR(v > 0.0f ? v : alpha * expm1f(v));
    case TN_EXP: MAP(vf_exp(v));
    case TN_SQRT: MAP_SCALAR(sqrtf(v));
    case TN_LOG: MAP_SCALAR(logf(v));
    case TN_NEG: MAP(-v);
    case TN_ABS: MAP(vf_abs(v));
    case TN_RECIPROCAL: MAP(1.0f / v);
    case TN_FLOOR: MAP_SCALAR(floorf(v));
    case TN_CEIL: MAP_SCALAR(ceilf(v));
    case TN_ROUND: MAP_SCALAR(rintf(v));
    case TN_ERF: MAP_SCALAR(erff(v));
    case TN_SOFTPLUS: MAP_SCALAR(v > 0.0f ? v + log1pf(expf(-v)) : log1pf(expf(v)));
    case TN_GELU: MAP_SCALAR(0.5f * v * (1.0f + erff(v * 0.70710678f)));
    }
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
    for (; i < n; i++)
        y[i] = (a[i] * (1.0f - fx) + b[i] * fx) * (1.0f - fy) + (c[i] * (1.0f - fx) + d[i] * fx) * fy;
}

/* [rows][columns] -> [columns][rows] in blocks of 16 x 16, so that both sides stay in L1 whatever the row lengths. */
static void transpose(const float *x, int64_t ldx, float *y, int64_t ldy, int64_t rows, int64_t columns)
{
    for (int64_t i0 = 0; i0 < rows; i0 += 16) {
        int64_t i1 = i0 + 16 < rows ? i0 + 16 : rows;
        for (int64_t j0 = 0; j0 < columns; j0 += 16) {
            int64_t j1 = j0 + 16 < columns ? j0 + 16 : columns;
            for (int64_t j = j0; j < j1; j++)
                for (int64_t i = i0; i < i1; i++)
                    y[j * ldy + i] = x[i * ldx + j];
        }
    }
}
