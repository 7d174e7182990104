/* Between bytes and vectors of 32-bit lanes: BLOCK bytes are one vector of bytes, and four vectors of integers or floats. */
#define BLOCK (4 * VL)

#if VL == 1
/* One integer: gcc takes vectors of four bytes apart through memory, byte by byte. */
typedef uint32_t vb;
typedef uint32_t vb_any __attribute__((aligned(1), may_alias));
INLINE vb vb_set1(uint8_t x) { return 0x01010101u * x; }
#else
typedef uint8_t vb __attribute__((vector_size(BLOCK)));
typedef uint8_t vb_any __attribute__((vector_size(BLOCK), aligned(1), may_alias));
INLINE vb vb_set1(uint8_t x) { return x - (vb){0}; }
#endif

INLINE vb vb_load(const uint8_t *p) { return *(const vb_any *)p; }
INLINE void vb_store(uint8_t *p, vb v) { *(vb_any *)p = v; }
INLINE void vf_store(float *p, vf v) { *(vf_any *)p = v; }

/* Unsigned; the larger and the smaller of two. */
#if VL == 16
INLINE vb vb_max(vb a, vb b) { return (vb)_mm512_max_epu8((__m512i)a, (__m512i)b); }
INLINE vb vb_min(vb a, vb b) { return (vb)_mm512_min_epu8((__m512i)a, (__m512i)b); }
#elif VL == 8
INLINE vb vb_max(vb a, vb b) { return (vb)_mm256_max_epu8((__m256i)a, (__m256i)b); }
INLINE vb vb_min(vb a, vb b) { return (vb)_mm256_min_epu8((__m256i)a, (__m256i)b); }
#elif VL == 4 && defined(__x86_64__)
INLINE vb vb_max(vb a, vb b) { return (vb)_mm_max_epu8((__m128i)a, (__m128i)b); }
INLINE vb vb_min(vb a, vb b) { return (vb)_mm_min_epu8((__m128i)a, (__m128i)b); }
#elif VL == 4 && defined(__ARM_NEON)
INLINE vb vb_max(vb a, vb b) { return (vb)vmaxq_u8((uint8x16_t)a, (uint8x16_t)b); }
INLINE vb vb_min(vb a, vb b) { return (vb)vminq_u8((uint8x16_t)a, (uint8x16_t)b); }
#elif VL > 1
INLINE vb vb_max(vb a, vb b)
{
    const vb larger = (vb)(a > b);
    return (a & larger) | (b & ~larger);
}
INLINE vb vb_min(vb a, vb b) { return ~vb_max(~a, ~b); }
#endif

/* part < BLOCK bytes, into and out of an array of BLOCK bytes; the rest is not touched. */
INLINE void copy_in(uint8_t *block, const uint8_t *p, int64_t part)
{
#if VL == 16
    _mm512_storeu_si512(block, _mm512_maskz_loadu_epi8(((__mmask64)1 << part) - 1, p));
#else
    memcpy(block, p, (size_t)part);
#endif
}
INLINE void copy_out(uint8_t *p, const uint8_t *block, int64_t part)
{
#if VL == 16
    _mm512_mask_storeu_epi8(p, ((__mmask64)1 << part) - 1, _mm512_loadu_si512(block));
#else
    memcpy(p, block, (size_t)part);
#endif
}

/* BLOCK bytes as integers. */
INLINE void vi_widen(const uint8_t *p, vi w[4])
{
#if VL == 16
    UNROLL for (int k = 0; k < 4; k++)
        w[k] = (vi)_mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)(p + 16 * k)));
#elif VL == 8
    UNROLL for (int k = 0; k < 4; k++)
        w[k] = (vi)_mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)(p + 8 * k)));
#elif VL == 4 && defined(__x86_64__)
    UNROLL for (int k = 0; k < 4; k++)
        w[k] = (vi)_mm_cvtepu8_epi32(_mm_loadu_si32(p + 4 * k));
#elif VL == 4 && defined(__ARM_NEON)
    const uint8x16_t x = vld1q_u8(p);
    const uint16x8_t low = vmovl_u8(vget_low_u8(x)), high = vmovl_high_u8(x);
    w[0] = (vi)vmovl_u16(vget_low_u16(low));
    w[1] = (vi)vmovl_high_u16(low);
    w[2] = (vi)vmovl_u16(vget_low_u16(high));
    w[3] = (vi)vmovl_high_u16(high);
#else
    UNROLL for (int k = 0; k < 4; k++)
        UNROLL for (int i = 0; i < VL; i++)
            w[k][i] = p[k * VL + i];
#endif
}

#if VL > 1
typedef int16_t vs __attribute__((vector_size(BLOCK)));

/* Integers plus 16-bit numbers as bytes, every step saturating.  Packing works on each 128-bit part by itself: vb_in_order
   puts the bytes into the order of the integers. */
#if defined(__x86_64__)
#if VL == 16
#define X86(op, ...) _mm512_##op(__VA_ARGS__)
typedef __m512i x86_register;
#elif VL == 8
#define X86(op, ...) _mm256_##op(__VA_ARGS__)
typedef __m256i x86_register;
#else
#define X86(op, ...) _mm_##op(__VA_ARGS__)
typedef __m128i x86_register;
#endif
INLINE vb vi_pack(const vi w[4], vs plus)
{
    const x86_register low = X86(packs_epi32, (x86_register)w[0], (x86_register)w[1]);
    const x86_register high = X86(packs_epi32, (x86_register)w[2], (x86_register)w[3]);
    return (vb)X86(packus_epi16, X86(adds_epi16, low, (x86_register)plus), X86(adds_epi16, high, (x86_register)plus));
}
#else
INLINE vb vi_pack(const vi w[4], vs plus)
{
    const int16x8_t low = vqmovn_high_s32(vqmovn_s32((int32x4_t)w[0]), (int32x4_t)w[1]);
    const int16x8_t high = vqmovn_high_s32(vqmovn_s32((int32x4_t)w[2]), (int32x4_t)w[3]);
    return (vb)vqmovun_high_s16(vqmovun_s16(vqaddq_s16(low, (int16x8_t)plus)), vqaddq_s16(high, (int16x8_t)plus));
}
#endif

INLINE vb vb_in_order(vb v)
{
#if VL == 16
    return (vb)_mm512_permutexvar_epi32(_mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15), (__m512i)v);
#elif VL == 8
    return (vb)_mm256_permutevar8x32_epi32((__m256i)v, _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
#else
    return v;
#endif
}

/* Integers as bytes; those outside of 0..255 become the nearest of these. */
INLINE vb vi_narrow(const vi w[4]) { return vb_in_order(vi_pack(w, (vs){0})); }
#endif

/* Integers as bytes; those outside of low..high, each a byte repeated, become the nearest of these. */
INLINE vb vi_narrow_within(const vi w[4], vb low, vb high)
{
#if VL == 1
    const int32_t least = low & 255, most = high & 255;
    vb v = 0;
    UNROLL for (int k = 0; k < 4; k++) {
        /* Without branches, which nobody could predict. */
        const int32_t over = (w[k][0] - least) & ~((w[k][0] - least) >> 31), under = most - least - over;
        v |= (vb)(most - (under & ~(under >> 31))) << 8 * k;
    }
    return v;
#else
    return vb_min(vb_max(vi_narrow(w), low), high);
#endif
}

INLINE vf vf_of(vi v) { return __builtin_convertvector(v, vf); }

/* Half to even; |v| < 2^31. */
INLINE vi vf_to_nearest(vf v)
{
#if VL == 16
    return (vi)_mm512_cvtps_epi32((__m512)v);
#elif VL == 8
    return (vi)_mm256_cvtps_epi32((__m256)v);
#elif VL == 4 && defined(__x86_64__)
    return (vi)_mm_cvtps_epi32((__m128)v);
#elif VL == 4 && defined(__ARM_NEON)
    return (vi)vcvtnq_s32_f32((float32x4_t)v);
#else
    vi w;
    for (int i = 0; i < VL; i++)
        w[i] = (int32_t)lrintf(v[i]);
    return w;
#endif
}

/* v within [low, high]; NaN becomes low. */
INLINE vf vf_within(vf v, vf low, vf high)
{
#if VL == 16
    return (vf)_mm512_min_ps(_mm512_max_ps((__m512)v, (__m512)low), (__m512)high);
#elif VL == 8
    return (vf)_mm256_min_ps(_mm256_max_ps((__m256)v, (__m256)low), (__m256)high);
#elif VL == 4 && defined(__x86_64__)
    return (vf)_mm_min_ps(_mm_max_ps((__m128)v, (__m128)low), (__m128)high);
#elif VL == 4 && defined(__ARM_NEON)
    return (vf)vminnmq_f32(vmaxnmq_f32((float32x4_t)v, (float32x4_t)low), (float32x4_t)high);
#else
    UNROLL for (int i = 0; i < VL; i++) {
        v[i] = v[i] > low[i] ? v[i] : low[i];
        v[i] = v[i] < high[i] ? v[i] : high[i];
    }
    return v;
#endif
}
