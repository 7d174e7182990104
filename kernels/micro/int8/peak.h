/* What the instruction set can do at most: independent multiply-accumulates in registers. */
#if VL == 1
typedef uint32_t peak_lanes;
#else
typedef vi peak_lanes;
#endif
#if HAVE_DOT
enum { PEAK_PRODUCTS = 4 * VL };
#elif VL > 1 && defined(__x86_64__)
enum { PEAK_PRODUCTS = 2 * VL };
#else
enum { PEAK_PRODUCTS = VL };
#endif

INLINE peak_lanes peak_step(peak_lanes acc, peak_lanes a, peak_lanes b)
{
#if HAVE_DOT && defined(__x86_64__)
    return vi_dot(acc, a, b);
#elif HAVE_DOT
    return (vi)vdotq_s32((int32x4_t)acc, (int8x16_t)a, (int8x16_t)b);
#elif VL == 16
    return acc + (vi)_mm512_madd_epi16((__m512i)a, (__m512i)b);
#elif VL == 8
    return acc + (vi)_mm256_madd_epi16((__m256i)a, (__m256i)b);
#elif VL == 4 && defined(__x86_64__)
    return acc + (vi)_mm_madd_epi16((__m128i)a, (__m128i)b);
#elif VL == 4
    return (vi)vmlal_s16((int32x4_t)acc, vget_low_s16((int16x8_t)a), vget_low_s16((int16x8_t)b));
#else
    return acc + a * b;
#endif
}

/* The empty asm makes the compiler forget what it knows: otherwise it would multiply once, before the loop. */
#if defined(__AVX512F__)
#define FORGET(x) __asm__ volatile("" : "+v"(x))
#elif defined(__x86_64__) && VL > 1
#define FORGET(x) __asm__ volatile("" : "+x"(x))
#elif defined(__ARM_NEON) && VL > 1
#define FORGET(x) __asm__ volatile("" : "+w"(x))
#else
#define FORGET(x) __asm__ volatile("" : "+r"(x))
#endif

static __attribute__((noinline)) int64_t multiply_add(int64_t n)
{
    enum { CHAINS = VL == 1 ? 8 : 12 };
    const peak_lanes zero = {0};
    peak_lanes acc[CHAINS], a = zero + 0x01020304, b = zero + 0x01ff01ff, total = zero;
    UNROLL for (int j = 0; j < CHAINS; j++)
        acc[j] = zero;
    for (int64_t i = 0; i < n; i++)
        UNROLL for (int j = 0; j < CHAINS; j++)
        {
            FORGET(a);
            acc[j] = peak_step(acc[j], a, b);
            FORGET(acc[j]);
        }
    UNROLL for (int j = 0; j < CHAINS; j++)
        total ^= acc[j];
    FORGET(total);
    return n * CHAINS * PEAK_PRODUCTS;
}
