/* Pooling windows, reductions and local response normalisation. */

INLINE vf pool_combine(tn_reduction r, vf acc, vf v)
{
    return r == TN_SUM ? acc + v : r == TN_MAX ? vf_maximum(v, acc) : vf_minimum(v, acc);
}

/* Sums of more than this many terms go through a second accumulator: the rounding error then grows with the
   square root of the count and not with the count. */
enum { SUM_BLOCK = 64 };

INLINE vf pool_vector(tn_reduction r, const float *x, int64_t ny, int64_t ld_y, int64_t nx, int64_t ld_x, int64_t part)
{
    const vf start = vf_set1(r == TN_SUM ? 0.0f : r == TN_MAX ? -INFINITY : INFINITY);
    vf total = start, acc = start;
    int64_t pending = 0;
    for (int64_t i = 0; i < ny; i++)
        for (int64_t j = 0; j < nx; j++) {
            const float *p = x + i * ld_y + j * ld_x;
            acc = pool_combine(r, acc, part ? vf_load_part(p, part) : vf_load(p));
            if (r == TN_SUM && ++pending == SUM_BLOCK) {
                total += acc;
                acc = start;
                pending = 0;
            }
        }
    return pool_combine(r, total, acc);
}

INLINE void pool_kind(tn_reduction r, const float *x, int64_t ny, int64_t ld_y, int64_t nx, int64_t ld_x, float *y,
                      int64_t channels, float factor)
{
    int64_t c = 0;
    for (; c + VL <= channels; c += VL)
        vf_store(y + c, pool_vector(r, x + c, ny, ld_y, nx, ld_x, 0) * factor);
    if (c < channels)
        vf_store_part(y + c, pool_vector(r, x + c, ny, ld_y, nx, ld_x, channels - c) * factor, channels - c);
}

static void pool(tn_reduction r, const float *x, int64_t ny, int64_t ld_y, int64_t nx, int64_t ld_x, float *y,
                 int64_t channels, float factor)
{
    if (r == TN_MAX)
        pool_kind(TN_MAX, x, ny, ld_y, nx, ld_x, y, channels, factor);
    else if (r == TN_MIN)
        pool_kind(TN_MIN, x, ny, ld_y, nx, ld_x, y, channels, factor);
    else
        pool_kind(TN_SUM, x, ny, ld_y, nx, ld_x, y, channels, factor);
}

static float reduce(tn_reduction r, const float *x, int64_t n)
{
    float lanes[VL];
    const int64_t whole = n / VL;
    vf acc = r == TN_MAX   ? pool_vector(TN_MAX, x, whole, VL, 1, 0, 0)
             : r == TN_MIN ? pool_vector(TN_MIN, x, whole, VL, 1, 0, 0)
                           : pool_vector(TN_SUM, x, whole, VL, 1, 0, 0);
    vf_store(lanes, acc);
    float s = lanes[0];
    for (int64_t i = 1; i < VL + n - whole * VL; i++) {
        float v = i < VL ? lanes[i] : x[whole * VL + i - VL];
        if (r == TN_SUM)
            s += v;
        else if (v != v || (r == TN_MAX ? v > s : v < s))
            s = s != s ? s : v;
    }
    return s;
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
