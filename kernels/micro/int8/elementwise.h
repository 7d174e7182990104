/* Bytes to bytes, from floats and to floats, one by one; a row's end runs as a block in arrays beside it. */

/* Calls block(x, y) on every BLOCK of x and y, `ex` and `ey` bytes per element. */
#define BY_BLOCKS(x, ex, y, ey, n, block)                                                           \
    do {                                                                                            \
        int64_t i = 0;                                                                              \
        for (; i + BLOCK <= (n); i += BLOCK)                                                        \
            block((const void *)((const char *)(x) + (ex) * i), (void *)((char *)(y) + (ey) * i));  \
        if (i < (n)) {                                                                              \
            char in[BLOCK * (ex)] = {0}, out[BLOCK * (ey)];                                         \
            memcpy(in, (const char *)(x) + (ex) * i, (size_t)((ex) * ((n) - i)));                   \
            block((const void *)in, (void *)out);                                                   \
            memcpy((char *)(y) + (ey) * i, out, (size_t)((ey) * ((n) - i)));                        \
        }                                                                                           \
    } while (0)

INLINE void quantize_block(const float *x, uint8_t *y, vf scale, vi zero, vf low, vf high, vb flip)
{
    vi w[4];
    UNROLL for (int k = 0; k < 4; k++)
        w[k] = vf_to_nearest(vf_within(vf_load(x + k * VL) / scale, low, high)) + zero;
    vb_store(y, vi_narrow_within(w, vb_set1(0), vb_set1(255)) ^ flip);
}

static void quantize(const float *x, uint8_t *y, int64_t n, float scale, int32_t zero, int32_t flip)
{
    const vf s = vf_set1(scale), low = vf_set1((float)-zero), high = vf_set1((float)(255 - zero));
    const vi z = vi_set1(zero);
    const vb f = vb_set1((uint8_t)flip);
#define QUANTIZE(from, to) quantize_block(from, to, s, z, low, high, f)
    BY_BLOCKS(x, 4, y, 1, n, QUANTIZE);
}

INLINE void dequantize_block(const uint8_t *x, float *y, vf scale, vi zero, vi flip)
{
    vi w[4];
    vi_widen(x, w);
    UNROLL for (int k = 0; k < 4; k++)
        vf_store(y + k * VL, vf_of((w[k] ^ flip) - zero) * scale);
}

static void dequantize(const uint8_t *x, float *y, int64_t n, float scale, int32_t zero, int32_t flip)
{
    const vf s = vf_set1(scale);
    const vi z = vi_set1(zero), f = vi_set1(flip);
#define DEQUANTIZE(from, to) dequantize_block(from, to, s, z, f)
    BY_BLOCKS(x, 1, y, 4, n, DEQUANTIZE);
}

/* a b + c rounded once, for a b that a double holds.  Everywhere: what onnxruntime computes depends on it. */
INLINE vf vf_fused(vf a, vf b, vf c)
{
#if VL == 16
    return (vf)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c);
#elif VL == 8
    return (vf)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c);
#elif VL == 4 && defined(__aarch64__)
    return (vf)vfmaq_f32((float32x4_t)c, (float32x4_t)a, (float32x4_t)b);
#else
    typedef double vd __attribute__((vector_size(8 * VL)));
    typedef int64_t vl __attribute__((vector_size(8 * VL)));
    const vd product = __builtin_convertvector(a, vd) * __builtin_convertvector(b, vd), more = __builtin_convertvector(c, vd);
    const vd sum = product + more, added = sum - product, lost = (product - (sum - added)) + (more - added);
    /* Rounded to odd, so that rounding to a float32 sees that something was lost (Boldo and Melquiond, 2008). */
    const vl bits = (vl)sum, even = (vl)(lost != 0.0) & ((bits & 1) - 1);
    const vl away = ((vl)(lost > 0.0) ^ (vl)(sum < 0.0)) & 2;
    return __builtin_convertvector((vd)(bits + (even & (away - 1))), vf);
#endif
}

INLINE vf real_sum(const tn_q_pair *p, vi a, vi b)
{
    return vf_fused(vf_of(a), vf_set1(p->ra), vf_set1(p->c) + vf_of(b) * vf_set1(p->rb));
}

/* The differences have 9 bits and a sign, whose product multiplies 16-bit halves of the lanes. */
INLINE vf real_product(const tn_q_pair *p, vi a, vi b)
{
#if defined(__x86_64__) && VL > 1
    typedef int16_t vs __attribute__((vector_size(4 * VL)));
    const vs u = (vs)a - (vs)vi_set1(p->a_zero), v = (vs)b - (vs)vi_set1(p->b_zero);
#if VL == 16
    const vi product = (vi)_mm512_madd_epi16((__m512i)u, (__m512i)v);
#elif VL == 8
    const vi product = (vi)_mm256_madd_epi16((__m256i)u, (__m256i)v);
#else
    const vi product = (vi)_mm_madd_epi16((__m128i)u, (__m128i)v);
#endif
#else
    const vi product = (a - vi_set1(p->a_zero)) * (b - vi_set1(p->b_zero));
#endif
    return vf_of(product) * vf_set1(p->ra) + vf_set1(p->c);
}

INLINE void pair_block(const tn_q_pair *p, const uint8_t *a, const uint8_t *b, uint8_t *y, vb low, vb high, const int PRODUCT)
{
    vi u[4], v[4];
    vi_widen(a, u);
    vi_widen(b, v);
    UNROLL for (int k = 0; k < 4; k++)
        u[k] = vf_to_nearest(PRODUCT ? real_product(p, u[k], v[k]) : real_sum(p, u[k], v[k]));
    vb_store(y, vi_narrow_within(u, low, high));
}

INLINE void pair(const tn_q_pair *parameters, const uint8_t *a, int step_a, const uint8_t *b, int step_b, uint8_t *y, int64_t n,
                 const int PRODUCT)
{
    /* A copy: stores to bytes may change what a pointer shows. */
    const tn_q_pair p = *parameters;
    const vb low = vb_set1((uint8_t)p.low), high = vb_set1((uint8_t)p.high);
    uint8_t block_a[BLOCK] = {0}, block_b[BLOCK] = {0}, block_y[BLOCK];
    int64_t i = 0;
    if (n > 0 && !step_a)
        memset(block_a, a[0], BLOCK);
    if (n > 0 && !step_b)
        memset(block_b, b[0], BLOCK);
    for (; i + BLOCK <= n; i += BLOCK)
        pair_block(&p, step_a ? a + i : block_a, step_b ? b + i : block_b, y + i, low, high, PRODUCT);
    if (i < n) {
        if (step_a)
            copy_in(block_a, a + i, n - i);
        if (step_b)
            copy_in(block_b, b + i, n - i);
        pair_block(&p, block_a, block_b, block_y, low, high, PRODUCT);
        copy_out(y + i, block_y, n - i);
    }
}

static void add(const tn_q_pair *p, const uint8_t *a, int step_a, const uint8_t *b, int step_b, uint8_t *y, int64_t n)
{
    pair(p, a, step_a, b, step_b, y, n, 0);
}

static void mul(const tn_q_pair *p, const uint8_t *a, int step_a, const uint8_t *b, int step_b, uint8_t *y, int64_t n)
{
    pair(p, a, step_a, b, step_b, y, n, 1);
}
