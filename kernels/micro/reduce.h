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

INLINE void pool_kind(tn_reduction r, const float *x, int64_t ny, int64_t ld_y, int64_t nx, int64_t ld_x, float *y,
                      int64_t channels, float factor)
{
    int64_t c = 0;
    for (; c + 4 * VL <= channels; c += 4 * VL)
        pool_vectors(r, x + c, ny, ld_y, nx, ld_x, y + c, factor, 4, 0);
    for (; c + VL <= channels; c += VL)
        pool_vectors(r, x + c, ny, ld_y, nx, ld_x, y + c, factor, 1, 0);
    if (c < channels)
        pool_vectors(r, x + c, ny, ld_y, nx, ld_x, y + c, factor, 1, channels - c);
}

static void pool(tn_reduction r, const float *x, int64_t ny, int64_t ld_y, int64_t nx, int64_t ld_x, float *y,
                 int64_t channels, float factor)
{
    switch (r) {
    case TN_MAX: pool_kind(TN_MAX, x, ny, ld_y, nx, ld_x, y, channels, factor); break;
    case TN_MIN: pool_kind(TN_MIN, x, ny, ld_y, nx, ld_x, y, channels, factor); break;
    case TN_SUM: pool_kind(TN_SUM, x, ny, ld_y, nx, ld_x, y, channels, factor); break;
    case TN_SUM_ABS: pool_kind(TN_SUM_ABS, x, ny, ld_y, nx, ld_x, y, channels, factor); break;
    case TN_SUM_SQUARE: pool_kind(TN_SUM_SQUARE, x, ny, ld_y, nx, ld_x, y, channels, factor); break;
    }
}

/* Four chains of whole vectors, then the lanes, then what is left. */
INLINE float reduce_kind(tn_reduction r, const float *x, int64_t n)
{
    float lanes[VL];
    vf total[4], acc[4];
    int64_t i = 0;
    UNROLL for (int k = 0; k < 4; k++)
        total[k] = pool_start(r);
    while (i + 4 * VL <= n) {
        const int64_t end = n - i > 4 * VL * SUM_BLOCK ? i + 4 * VL * SUM_BLOCK : n;
        UNROLL for (int k = 0; k < 4; k++)
            acc[k] = pool_start(r);
        for (; i + 4 * VL <= end; i += 4 * VL)
            UNROLL for (int k = 0; k < 4; k++)
                acc[k] = pool_combine(r, acc[k], vf_load(x + i + k * VL));
        UNROLL for (int k = 0; k < 4; k++)
            total[k] = pool_join(r, total[k], acc[k]);
    }
    for (; i + VL <= n; i += VL)
        total[0] = pool_combine(r, total[0], vf_load(x + i));
    vf_store(lanes, pool_join(r, pool_join(r, total[0], total[1]), pool_join(r, total[2], total[3])));
    float s = lanes[0];
    for (int64_t k = 1; k < VL + n - i; k++) {
        float v = k < VL ? lanes[k] : x[i + k - VL];
        if (k >= VL)
            v = r == TN_SUM_ABS ? fabsf(v) : r == TN_SUM_SQUARE ? v * v : v;
        if (r != TN_MAX && r != TN_MIN)
            s += v;
        else if (v != v || (r == TN_MAX ? v > s : v < s))
            s = s != s ? s : v;
    }
    return s;
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

static void lrn(const float *x, float *y, int64_t channels, int64_t size, float alpha, float power, float bias, float *squares)
{
    const int64_t before = (size - 1) / 2;   /* the ONNX window: floor((size-1)/2) below, ceil((size-1)/2) above */
    memset(squares, 0, (size_t)(channels + size) * sizeof(float));
    for (int64_t c = 0; c < channels; c++)
        squares[before + c] = x[c] * x[c];
    for (int64_t c = 0; c < channels; c += VL) {
        const int64_t part = channels - c < VL ? channels - c : VL;
        vf s = {0};
        for (int64_t k = 0; k < size; k++)
            s += part < VL ? vf_load_part(squares + c + k, part) : vf_load(squares + c + k);
        s = bias + alpha * s;
        float base[VL];
        vf_store(base, s);
        for (int64_t i = 0; i < part; i++)
            y[c + i] = x[c + i] / (power == 0.75f ? sqrtf(base[i]) * sqrtf(sqrtf(base[i])) : powf(base[i], power));
    }
}
