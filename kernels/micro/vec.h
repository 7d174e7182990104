/* The vector vocabulary.  VL floats per vector; the including file defines VL (1, 4, 8 or 16) and has chosen the target.
   GCC vector extensions carry the arithmetic; intrinsics stand only where the extensions have no good spelling.
   Contraction to FMA is on for these files (gcc's default): fp32 tiles want it. */
#include <math.h>
#include <string.h>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

#define INLINE static inline __attribute__((always_inline))
#define UNROLL _Pragma("GCC unroll 32")

typedef float vf __attribute__((vector_size(4 * VL)));
typedef int32_t vi __attribute__((vector_size(4 * VL)));
typedef float vf_any __attribute__((vector_size(4 * VL), aligned(4), may_alias));

INLINE vf vf_load(const float *p) { return *(const vf_any *)p; }
INLINE void vf_store(float *p, vf v) { *(vf_any *)p = v; }
INLINE vf vf_set1(float x) { return x - (vf){0}; }
INLINE vi vi_set1(int32_t x) { return x - (vi){0}; }

/* n < VL elements; the rest reads as zero and is not touched in memory. */
#if VL == 16
INLINE vf vf_load_part(const float *p, int64_t n) { return (vf)_mm512_maskz_loadu_ps((__mmask16)((1u << n) - 1), p); }
INLINE void vf_store_part(float *p, vf v, int64_t n) { _mm512_mask_storeu_ps(p, (__mmask16)((1u << n) - 1), (__m512)v); }
#elif VL == 8
INLINE __m256i vf_mask(int64_t n)
{
    return _mm256_cmpgt_epi32(_mm256_set1_epi32((int)n), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}
INLINE vf vf_load_part(const float *p, int64_t n) { return (vf)_mm256_maskload_ps(p, vf_mask(n)); }
INLINE void vf_store_part(float *p, vf v, int64_t n) { _mm256_maskstore_ps(p, vf_mask(n), (__m256)v); }
#else
INLINE vf vf_load_part(const float *p, int64_t n)
{
    vf v = {0};
    for (int64_t i = 0; i < n && i < VL; i++)
        v[i] = p[i];
    return v;
}
INLINE void vf_store_part(float *p, vf v, int64_t n)
{
    for (int64_t i = 0; i < n && i < VL; i++)
        p[i] = v[i];
}
#endif

INLINE vf vf_select(vi mask, vf a, vf b) { return (vf)((mask & (vi)a) | (~mask & (vi)b)); }

/* b where the two are unordered: vf_max(lo, x) lets NaN in x through. */
#if VL == 16
INLINE vf vf_max(vf a, vf b) { return (vf)_mm512_max_ps((__m512)a, (__m512)b); }
INLINE vf vf_min(vf a, vf b) { return (vf)_mm512_min_ps((__m512)a, (__m512)b); }
#elif VL == 8
INLINE vf vf_max(vf a, vf b) { return (vf)_mm256_max_ps((__m256)a, (__m256)b); }
INLINE vf vf_min(vf a, vf b) { return (vf)_mm256_min_ps((__m256)a, (__m256)b); }
#elif VL == 4 && defined(__x86_64__)
INLINE vf vf_max(vf a, vf b) { return (vf)_mm_max_ps((__m128)a, (__m128)b); }
INLINE vf vf_min(vf a, vf b) { return (vf)_mm_min_ps((__m128)a, (__m128)b); }
#else
INLINE vf vf_max(vf a, vf b) { return vf_select(a > b, a, b); }
INLINE vf vf_min(vf a, vf b) { return vf_select(a < b, a, b); }
#endif
/* NaN if either is, as numpy.maximum and numpy.minimum. */
INLINE vf vf_maximum(vf a, vf b) { return vf_select((a > b) | (a != a), a, b); }
INLINE vf vf_minimum(vf a, vf b) { return vf_select((a < b) | (a != a), a, b); }

INLINE vf vf_clamp(vf x, vf lo, vf hi) { return vf_min(hi, vf_max(lo, x)); }
INLINE vf vf_abs(vf x) { return (vf)((vi)x & 0x7fffffff); }
/* Nearest integer, ties to even; |x| < 2^22. */
INLINE vf vf_round_small(vf x) { return (x + 12582912.0f) - 12582912.0f; }
/* 2^n for an integer-valued n in [-126, 127]. */
INLINE vf vf_pow2(vf n) { return (vf)((__builtin_convertvector(n, vi) + 127) << 23); }

/* exp: Cody-Waite reduction and a degree 6 polynomial, at most 2 ulp; underflows to 0, overflows to inf, keeps NaN. */
INLINE vf vf_exp(vf x)
{
    vf z = vf_clamp(x, vf_set1(-104.0f), vf_set1(89.0f));
    vf n = vf_round_small(z * 1.44269504f);
    vf r = z - n * 0.693359375f + n * 2.12194440e-4f;
    vf p = 1.9875691500e-4f * r + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    p = p * r * r + r + 1.0f;
    vf half = vf_round_small(n * 0.5f);   /* two factors: 2^n alone would overflow at 128 and lose denormals */
    return p * vf_pow2(half) * vf_pow2(n - half);
}

/* exp(x) - 1: Taylor near 0, where the difference would lose its digits (|x| < 0.35: the next term is below 2e-8 x). */
INLINE vf vf_expm1(vf x)
{
    vf p = 1.98412698e-4f * x + 1.38888889e-3f;
    p = p * x + 8.33333333e-3f;
    p = p * x + 4.16666667e-2f;
    p = p * x + 1.66666667e-1f;
    p = p * x + 0.5f;
    vf small = p * x * x + x;
    return vf_select(vf_abs(x) < 0.35f, small, vf_exp(x) - 1.0f);
}

/* sigmoid(x) = e/(1+e) with e = exp(-|x|), reflected: no overflow, relative error small at both ends. */
INLINE vf vf_sigmoid(vf x)
{
    vf e = vf_exp(-vf_abs(x));
    vf s = e / (1.0f + e);
    return vf_select(x >= 0.0f, 1.0f - s, s);
}

/* tanh: odd polynomial below 0.625 (Cephes), 1 - 2/(exp(2|x|)+1) above. */
INLINE vf vf_tanh(vf x)
{
    vf a = vf_abs(x), s = x * x;
    vf p = -5.70498872745e-3f * s + 2.06390887954e-2f;
    p = p * s - 5.37397155531e-2f;
    p = p * s + 1.33314422036e-1f;
    p = p * s - 3.33332819422e-1f;
    vf small = p * s * x + x;
    vf big = 1.0f - 2.0f / (vf_exp(a + a) + 1.0f);
    vf sign = (vf)((vi)x & (int32_t)0x80000000);
    return vf_select(a < 0.625f, small, (vf)((vi)big | (vi)sign));
}

INLINE vf vf_hard_sigmoid(vf x, float alpha, float beta)
{
    return vf_clamp(alpha * x + beta, vf_set1(0.0f), vf_set1(1.0f));
}
