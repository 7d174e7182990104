/* Comparison of floats, and choice by its result.  Truth is a byte, 1 or 0. */

typedef int32_t vi_words __attribute__((vector_size(4 * VL), aligned(4), may_alias));

INLINE vi vi_load(const int32_t *p) { return *(const vi_words *)p; }

/* VL bytes to as many integers, and back; gcc's own conversion goes byte by byte. */
#if VL == 16
INLINE vi truth_load(const uint8_t *p) { return (vi)_mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)p)); }
INLINE void truth_store(uint8_t *p, vi v) { _mm_storeu_si128((__m128i *)p, _mm512_cvtepi32_epi8((__m512i)v)); }
#elif VL == 8
INLINE vi truth_load(const uint8_t *p) { return (vi)_mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)p)); }
INLINE void truth_store(uint8_t *p, vi v)
{
    const __m128i words = _mm_packs_epi32(_mm256_castsi256_si128((__m256i)v), _mm256_extracti128_si256((__m256i)v, 1));
    _mm_storel_epi64((__m128i *)p, _mm_packs_epi16(words, words));
}
#else
INLINE vi truth_load(const uint8_t *p)
{
    vi v = {0};
    UNROLL for (int i = 0; i < VL; i++)
        v[i] = p[i];
    return v;
}
INLINE void truth_store(uint8_t *p, vi v)
{
    UNROLL for (int i = 0; i < VL; i++)
        p[i] = (uint8_t)v[i];
}
#endif

INLINE int holds(tn_comparison f, float a, float b) { return f == TN_EQUAL ? a == b : f == TN_GREATER ? a > b : a >= b; }

INLINE void compare_kind(tn_comparison f, const float *x, int step_x, const float *y, int step_y, uint8_t *z, int64_t n)
{
    int64_t i = 0;
    for (; i + VL <= n; i += VL) {
        const vf a = step_x ? vf_load(x + i) : vf_set1(x[0]), b = step_y ? vf_load(y + i) : vf_set1(y[0]);
        const vi yes = f == TN_EQUAL ? a == b : f == TN_GREATER ? a > b : a >= b;
        truth_store(z + i, yes & 1);
    }
    for (; i < n; i++)
        z[i] = holds(f, x[i * step_x], y[i * step_y]);
}

static void compare(tn_comparison f, const float *x, int step_x, const float *y, int step_y, uint8_t *z, int64_t n)
{
    switch (f) {
    case TN_EQUAL: compare_kind(TN_EQUAL, x, step_x, y, step_y, z, n); break;
    case TN_GREATER: compare_kind(TN_GREATER, x, step_x, y, step_y, z, n); break;
    case TN_GREATER_EQUAL: compare_kind(TN_GREATER_EQUAL, x, step_x, y, step_y, z, n); break;
    }
}

/* Integers, because arithmetic on floats may change the bits of a NaN. */
static void select_words(const uint8_t *mask, int step_mask, const int32_t *x, int step_x, const int32_t *y, int step_y, int32_t *z,
                         int64_t n)
{
    int64_t i = 0;
    for (; i + VL <= n; i += VL) {
        const vi a = step_x ? vi_load(x + i) : vi_set1(x[0]), b = step_y ? vi_load(y + i) : vi_set1(y[0]);
        const vi m = -(step_mask ? truth_load(mask + i) : vi_set1(mask[0]));
        *(vi_words *)(z + i) = (a & m) | (b & ~m);
    }
    for (; i < n; i++)
        z[i] = mask[i * step_mask] ? x[i * step_x] : y[i * step_y];
}
