/* The vector vocabulary.  VL floats per vector; the including file defines VL (1, 4, 8 or 16) and has chosen the target.
   GCC vector extensions carry the arithmetic; intrinsics stand only where the extensions have no good spelling.
   Contraction to FMA is on for these files (gcc's default): fp32 tiles want it. */
#include <math.h>
#include <string.h>
#if defined(__x86_64__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

#define INLINE static inline __attribute__((always_inline))
#ifndef UNROLL
#define UNROLL _Pragma("GCC unroll 32")
#endif
/* For functions whose unrolled loops are long chains of dependent instructions: gcc then mixes the chains before it gives
   out registers, which x86 compilers do not do by default.  Register tiles lose by it. */
#if defined(__GNUC__) && !defined(__clang__)
#define INTERLEAVED __attribute__((optimize("schedule-insns")))
#else
#define INTERLEAVED
#endif

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
/* Functions of their own: without masks they take more bytes than most kernels around them, and only ends of rows call them. */
static __attribute__((noinline, unused)) vf vf_load_part(const float *p, int64_t n)
{
    vf v = {0};
    for (int64_t i = 0; i < n && i < VL; i++)
        v[i] = p[i];
    return v;
}
static __attribute__((noinline, unused)) void vf_store_part(float *p, vf v, int64_t n)
{
    for (int64_t i = 0; i < n && i < VL; i++)
        p[i] = v[i];
}
#endif

/* The first n <= VL lanes of v, elsewhere `other`. */
#if VL == 16
INLINE vf vf_first(vf v, int64_t n, vf other)
{
    return (vf)_mm512_mask_mov_ps((__m512)other, (__mmask16)((1u << n) - 1), (__m512)v);
}
#elif VL == 8
INLINE vf vf_first(vf v, int64_t n, vf other)
{
    return (vf)_mm256_blendv_ps((__m256)other, (__m256)v, (__m256)vf_mask(n));
}
#else
INLINE vf vf_first(vf v, int64_t n, vf other)
{
    for (int64_t i = 0; i < VL; i++)
        v[i] = i < n ? v[i] : other[i];
    return v;
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
/* NaN keeps its sign: arithmetic on two equal NaN does not depend on which of them the compiler puts first. */
INLINE vf vf_minus_abs(vf x) { return vf_min(-x, x); }
/* Nearest integer, ties to even; |x| < 2^22. */
INLINE vf vf_round_small(vf x) { return (x + 12582912.0f) - 12582912.0f; }
/* 2^n for an integer-valued n in [-126, 127]. */
INLINE vf vf_pow2(vf n) { return (vf)((__builtin_convertvector(n, vi) + 127) << 23); }
/* The sign of x on a y that is not negative where x is not. */
INLINE vf vf_with_sign(vf y, vf x) { return (vf)((vi)y | ((vi)x & (int32_t)0x80000000)); }

/* p 2^n for an integer-valued n in [-252, 254], rounded once where the result is denormal and p is in [1/2, 2]. */
#if VL == 16
INLINE vf vf_scale(vf p, vf n) { return (vf)_mm512_scalef_ps((__m512)p, (__m512)n); }
#else
INLINE vf vf_scale(vf p, vf n)
{
    vf half = vf_round_small(n * 0.5f);   /* two factors: 2^n alone would overflow at 128 and lose denormals */
    return p * vf_pow2(half) * vf_pow2(n - half);
}
#endif

/* 0, 1, 2, ... */
#if VL == 16
#define LANES (vi){0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}
#elif VL == 8
#define LANES (vi){0, 1, 2, 3, 4, 5, 6, 7}
#elif VL == 4
#define LANES (vi){0, 1, 2, 3}
#else
#define LANES (vi){0}
#endif

/* The sum, and the largest, of all lanes, in every lane. */
INLINE vf vf_sum_lanes(vf v)
{
    UNROLL for (int w = VL / 2; w; w /= 2)
        v += __builtin_shuffle(v, LANES ^ w);
    return v;
}
INLINE vf vf_max_lanes(vf v)
{
    UNROLL for (int w = VL / 2; w; w /= 2)
        v = vf_max(v, __builtin_shuffle(v, LANES ^ w));
    return v;
}

/* Is the mask set anywhere? */
#if VL == 16
INLINE int vi_any(vi mask) { return _mm512_movepi32_mask((__m512i)mask) != 0; }
#elif VL == 8
INLINE int vi_any(vi mask) { return _mm256_movemask_ps((__m256)mask) != 0; }
#elif VL == 4 && defined(__x86_64__)
INLINE int vi_any(vi mask) { return _mm_movemask_ps((__m128)mask) != 0; }
#else
INLINE int vi_any(vi mask)
{
    int32_t any = 0;
    for (int i = 0; i < VL; i++)
        any |= mask[i];
    return any != 0;
}
#endif

#if VL == 16
INLINE vf vf_sqrt(vf x) { return (vf)_mm512_sqrt_ps((__m512)x); }
INLINE vf vf_floor(vf x) { return (vf)_mm512_roundscale_ps((__m512)x, _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC); }
INLINE vf vf_ceil(vf x) { return (vf)_mm512_roundscale_ps((__m512)x, _MM_FROUND_TO_POS_INF | _MM_FROUND_NO_EXC); }
INLINE vf vf_round(vf x) { return (vf)_mm512_roundscale_ps((__m512)x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
#elif VL == 8
INLINE vf vf_sqrt(vf x) { return (vf)_mm256_sqrt_ps((__m256)x); }
INLINE vf vf_floor(vf x) { return (vf)_mm256_round_ps((__m256)x, _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC); }
INLINE vf vf_ceil(vf x) { return (vf)_mm256_round_ps((__m256)x, _MM_FROUND_TO_POS_INF | _MM_FROUND_NO_EXC); }
INLINE vf vf_round(vf x) { return (vf)_mm256_round_ps((__m256)x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
#elif VL == 4 && defined(__aarch64__)
INLINE vf vf_sqrt(vf x) { return (vf)vsqrtq_f32((float32x4_t)x); }
INLINE vf vf_floor(vf x) { return (vf)vrndmq_f32((float32x4_t)x); }
INLINE vf vf_ceil(vf x) { return (vf)vrndpq_f32((float32x4_t)x); }
INLINE vf vf_round(vf x) { return (vf)vrndnq_f32((float32x4_t)x); }
#else
#if VL == 4
INLINE vf vf_sqrt(vf x) { return (vf)_mm_sqrt_ps((__m128)x); }
#else
INLINE vf vf_sqrt(vf x) { return (vf){sqrtf(x[0])}; }
#endif
/* Through int32; beyond 2^23 every float is an integer.  The sign is kept on zeros. */
INLINE vf vf_keep_integers(vf y, vf x) { return vf_select(vf_abs(x) < 8388608.0f, vf_with_sign(y, x), x); }
INLINE vf vf_towards_zero(vf x)
{
    return __builtin_convertvector(__builtin_convertvector(vf_select(vf_abs(x) < 8388608.0f, x, vf_set1(0.0f)), vi), vf);
}
INLINE vf vf_floor(vf x)
{
    vf t = vf_towards_zero(x);
    return vf_keep_integers(t - vf_select(t > x, vf_set1(1.0f), vf_set1(0.0f)), x);
}
INLINE vf vf_ceil(vf x)
{
    vf t = vf_towards_zero(x);
    return vf_keep_integers(t + vf_select(t < x, vf_set1(1.0f), vf_set1(0.0f)), x);
}
INLINE vf vf_round(vf x)
{
    vf a = vf_abs(x);
    return vf_keep_integers((a + 8388608.0f) - 8388608.0f, x);
}
#endif
