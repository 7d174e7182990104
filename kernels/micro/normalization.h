/* Rows and channels brought to mean 0 and variance 1.  The mean is subtracted before anything is multiplied: x scale + (shift -
   mean scale) would cancel where the mean is large. */

INLINE float lanes_sum(vf v)
{
    float lanes[VL], s = 0;
    vf_store(lanes, v);
    for (int i = 0; i < VL; i++)
        s += lanes[i];
    return s;
}

/* Sum of (x - mean)^2 over n consecutive floats, in blocks as pool_vector does. */
static float squares_of_row(const float *x, int64_t n, float mean)
{
    vf total = {0}, acc[4] = {{0}};
    int64_t i = 0;
    while (i + 4 * VL <= n) {
        const int64_t end = i + 4 * VL * SUM_BLOCK <= n ? i + 4 * VL * SUM_BLOCK : n - (n - i) % (4 * VL);
        for (; i < end; i += 4 * VL)
            UNROLL for (int k = 0; k < 4; k++)
            {
                const vf d = vf_load(x + i + k * VL) - mean;
                acc[k] += d * d;
            }
        UNROLL for (int k = 0; k < 4; k++)
        {
            total += acc[k];
            acc[k] = (vf){0};
        }
    }
    for (; i < n; i += VL) {
        vf d = tile_read(x + i, n - i) - mean;
        if (n - i < VL) {
            float lanes[VL];      /* what is not there must not count as -mean */
            vf_store(lanes, d);
            d = vf_load_part(lanes, n - i);
        }
        total += d * d;
    }
    return lanes_sum(total);
}

/* y = (x - mean) / sqrt(mean of (x - mean)^2 + epsilon) * scale + shift over n floats; `center` 0: mean is 0 (RMS norm).
   shift may be NULL. */
static void normalize_row(const float *x, const float *scale, const float *shift, float *y, int64_t n, float epsilon,
                          int center)
{
    const float mean = center ? reduce(TN_SUM, x, n) / (float)n : 0.0f;
    const float factor = 1.0f / sqrtf(squares_of_row(x, n, mean) / (float)n + epsilon);
    int64_t i = 0;
    for (; i + VL <= n; i += VL) {
        vf v = (vf_load(x + i) - mean) * factor * vf_load(scale + i);
        vf_store(y + i, shift ? v + vf_load(shift + i) : v);
    }
    if (i < n) {
        vf v = (vf_load_part(x + i, n - i) - mean) * factor * vf_load_part(scale + i, n - i);
        vf_store_part(y + i, shift ? v + vf_load_part(shift + i, n - i) : v, n - i);
    }
}

INLINE vf squares_vector(const float *x, int64_t rows, int64_t ld, vf mean, int64_t part)
{
    vf total = {0}, acc = {0};
    for (int64_t i = 0; i < rows;) {
        const int64_t end = i + SUM_BLOCK < rows ? i + SUM_BLOCK : rows;
        for (; i < end; i++) {
            const vf d = (part ? vf_load_part(x + i * ld, part) : vf_load(x + i * ld)) - mean;
            acc += d * d;
        }
        total += acc;
        acc = (vf){0};
    }
    return total;
}

/* y[c] = sum over i < rows of (x[i ld + c] - mean[c])^2. */
static void squares(const float *x, int64_t rows, int64_t ld, const float *mean, float *y, int64_t channels)
{
    int64_t c = 0;
    for (; c + VL <= channels; c += VL)
        vf_store(y + c, squares_vector(x + c, rows, ld, vf_load(mean + c), 0));
    if (c < channels)
        vf_store_part(y + c, squares_vector(x + c, rows, ld, vf_load_part(mean + c, channels - c), channels - c),
                      channels - c);
}

/* y[c] = (x[c] - mean[c]) gain[c] + shift[c]. */
static void normalize_channels(const float *x, const float *mean, const float *gain, const float *shift, float *y, int64_t n)
{
    int64_t c = 0;
    for (; c + VL <= n; c += VL)
        vf_store(y + c, (vf_load(x + c) - vf_load(mean + c)) * vf_load(gain + c) + vf_load(shift + c));
    if (c < n) {
        /* All loads first: compilers contract to FMA only what stands in one block, and loads of a part may be loops. */
        const int64_t part = n - c;
        const vf v = vf_load_part(x + c, part), m = vf_load_part(mean + c, part);
        const vf g = vf_load_part(gain + c, part), s = vf_load_part(shift + c, part);
        vf_store_part(y + c, (v - m) * g + s, part);
    }
}
