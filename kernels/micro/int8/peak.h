/* What the instruction set can do at most: independent multiply-accumulates in registers. */
static __attribute__((noinline)) int64_t multiply_add(int64_t n)
{
    enum { CHAINS = 12 };
    vi acc[CHAINS] = {{0}}, a = vi_set1(0x01020304), b = vi_set1(0x01ff01ff);
    for (int64_t i = 0; i < n; i++) {
        __asm__ volatile("" : : : "memory");
        UNROLL for (int j = 0; j < CHAINS; j++) {
#if HAVE_DOT && defined(__x86_64__)
            acc[j] = vi_dot(acc[j], a, b);
#elif VL == 16
            acc[j] += (vi)_mm512_madd_epi16((__m512i)a, (__m512i)b);
#elif VL == 8
            acc[j] += (vi)_mm256_madd_epi16((__m256i)a, (__m256i)b);
#elif VL == 4 && defined(__x86_64__)
            acc[j] += (vi)_mm_madd_epi16((__m128i)a, (__m128i)b);
#else
            acc[j] += a * b;
#endif
        }
#if defined(__x86_64__) && VL > 1
        UNROLL for (int j = 0; j < CHAINS; j++)
            __asm__ volatile("" : "+x"(acc[j]));
#endif
    }
    vi total = {0};
    UNROLL for (int j = 0; j < CHAINS; j++)
        total ^= acc[j];
    volatile int32_t kept = total[0];
    (void)kept;
#if HAVE_DOT && defined(__x86_64__)
    return n * CHAINS * VL * 4;
#elif defined(__x86_64__) && VL > 1
    return n * CHAINS * VL * 2;
#else
    return n * CHAINS * VL;
#endif
}
