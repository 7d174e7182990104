/* From sums to outputs.  With integer ends, clamp(round(x)) is round(clamp(x)): rounded values may be clamped by the
   saturation of narrowing, as long as the conversion to int32 is not left: then 2^31 and more become negative on x86. */
enum { VECTORS = 16 / VL };

typedef uint32_t vu __attribute__((vector_size(4 * VL)));

INLINE vi vi_add(vi a, vi b) { return (vi)((vu)a + (vu)b); }
INLINE vi vi_mul(vi a, vi b) { return (vi)((vu)a * (vu)b); }

/* What a tile needs besides its rows: columns of one to four panels. */
typedef struct tile {
    const uint8_t *const *a;       /* rows of A, or */
    const void *packed;            /* the copy of them */
    const int32_t *sums;           /* of A's rows, if there is a w_zero */
    const int8_t *b;
    const int32_t *bias, *w_zero;  /* whole panels, as multiplier */
    const float *multiplier;
    uint8_t *y;
    int64_t n;
    const tn_gemm8 *g;
} tile;

/* Accumulators of row i before the first product, columns from `at` on.  The empty asm makes every row load the bias anew:
   loads are free here, and moves between registers would take the multipliers' ports. */
INLINE vi tile_start(const tile *t, int i, int at)
{
    const int32_t *from = t->bias;
    __asm__("" : "+r"(from));
    const vi bias = vi_load(from + at);
    return __builtin_expect(t->w_zero != NULL, 0) ? vi_add(bias, vi_mul(vi_load(t->w_zero + at), vi_set1((int32_t)-(uint32_t)t->sums[i]))) : bias;
}

INLINE int64_t tile_item(const tn_gemm8 *g) { return g->result == TN_UINT8 ? 1 : 4; }

/* Any kind of result, from sums in memory. */
static __attribute__((noinline)) void tile_finish(const tile *t, const int32_t *acc, int64_t rows, int64_t columns)
{
    const tn_gemm8 *g = t->g;
    const vf least = vf_set1((float)(g->low - g->zero)), most = vf_set1((float)(g->high - g->zero));
    for (int64_t i = 0; i < rows; i++, acc += columns)
        for (int64_t j = 0; j < columns && j < t->n; j += VL) {
            const int64_t left = t->n - j < VL ? t->n - j : VL;
            vi sum = vi_load(acc + j);
            const vf real = __builtin_convertvector(sum, vf) * vf_load(t->multiplier + j);
            uint8_t *y = t->y + (i * g->ldy + j) * tile_item(g);
            if (g->result == TN_INT32) {
                memcpy(y, &sum, 4 * left);
            } else if (g->result == TN_FLOAT32) {
                memcpy(y, &real, 4 * left);
            } else {
                sum = vf_to_nearest(vf_within(real, least, most)) + vi_set1(g->zero);
                for (int64_t k = 0; k < left; k++)
                    y[k] = (uint8_t)sum[k];
            }
        }
}

/* What a row of bytes is made with: held in registers while rows are written. */
typedef struct narrowing {
#if VL == 16
    __m512i zero, low, high;
#elif defined(__x86_64__)
    __m128i zero, low, high;
#elif VL > 1
    int16x8_t zero;
    uint8x16_t low, high;
#endif
    uint64_t mask;                 /* of columns that exist */
} narrowing;

#if VL == 16
enum { WIDEST = 4 };

INLINE narrowing narrowing_of(const tile *t)
{
    return (narrowing){_mm512_set1_epi32(t->g->zero * 0x10001), _mm512_set1_epi32((int)(t->g->low * 0x1010101u)),
                       _mm512_set1_epi32((int)(t->g->high * 0x1010101u)), ~0ull >> (64 - t->n)};
}

INLINE void tile_row(uint8_t *y, const vi *acc, const vf *multiplier, int panels, const narrowing *to)
{
    const __m512i order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
    __m512i q[4];
    UNROLL for (int p = 0; p < 4; p++)
        q[p] = p < panels ? (__m512i)vf_to_nearest(__builtin_convertvector(acc[p], vf) * multiplier[p]) : q[0];
    q[0] = _mm512_adds_epi16(_mm512_packs_epi32(q[0], q[1]), to->zero);
    q[1] = panels > 2 ? _mm512_adds_epi16(_mm512_packs_epi32(q[2], q[3]), to->zero) : q[0];
    q[0] = _mm512_min_epu8(_mm512_max_epu8(_mm512_packus_epi16(q[0], q[1]), to->low), to->high);
    _mm512_mask_storeu_epi8(y, to->mask, _mm512_permutexvar_epi32(order, q[0]));
}
#elif VL > 1
enum { WIDEST = 1 };

INLINE narrowing narrowing_of(const tile *t)
{
    const tn_gemm8 *g = t->g;
#if defined(__x86_64__)
    return (narrowing){_mm_set1_epi16((short)g->zero), _mm_set1_epi8((char)g->low), _mm_set1_epi8((char)g->high),
                       ~0ull >> (64 - t->n)};
#else
    return (narrowing){vdupq_n_s16((int16_t)g->zero), vdupq_n_u8((uint8_t)g->low), vdupq_n_u8((uint8_t)g->high),
                       ~0ull >> (64 - t->n)};
#endif
}

INLINE void tile_row(uint8_t *y, const vi *acc, const vf *multiplier, int panels, const narrowing *to)
{
    vi q[VECTORS];
    (void)panels;
    UNROLL for (int j = 0; j < VECTORS; j++)
        q[j] = vf_to_nearest(__builtin_convertvector(acc[j], vf) * multiplier[j]);
#if defined(__x86_64__)
#if VL == 8
    const __m256i pair = _mm256_permute4x64_epi64(_mm256_packs_epi32((__m256i)q[0], (__m256i)q[1]), 0xd8);
    const __m128i first = _mm256_castsi256_si128(pair), second = _mm256_extracti128_si256(pair, 1);
#else
    const __m128i first = _mm_packs_epi32((__m128i)q[0], (__m128i)q[1]), second = _mm_packs_epi32((__m128i)q[2], (__m128i)q[3]);
#endif
    __m128i bytes = _mm_packus_epi16(_mm_adds_epi16(first, to->zero), _mm_adds_epi16(second, to->zero));
    bytes = _mm_min_epu8(_mm_max_epu8(bytes, to->low), to->high);
#else
    const int16x8_t first = vcombine_s16(vqmovn_s32((int32x4_t)q[0]), vqmovn_s32((int32x4_t)q[1]));
    const int16x8_t second = vcombine_s16(vqmovn_s32((int32x4_t)q[2]), vqmovn_s32((int32x4_t)q[3]));
    uint8x16_t bytes = vcombine_u8(vqmovun_s16(vqaddq_s16(first, to->zero)), vqmovun_s16(vqaddq_s16(second, to->zero)));
    bytes = vminq_u8(vmaxq_u8(bytes, to->low), to->high);
#endif
    if (to->mask == 0xffff) {
        memcpy(y, &bytes, 16);
    } else {
        uint8_t part[16];
        memcpy(part, &bytes, 16);
        for (int k = 0; to->mask >> k & 1; k++)
            y[k] = part[k];
    }
}
#else
enum { WIDEST = 1 };
#endif

/* The last part of a tile: uint8 in registers, everything else through memory. */
INLINE void tile_end(const tile *t, const vi *acc, int rows, int panels)
{
    const int vectors = panels * VECTORS;
#if VL > 1
    if (__builtin_expect(t->g->result == TN_UINT8 && t->g->small, 1)) {
        vf multiplier[WIDEST * VECTORS];
        const narrowing to = narrowing_of(t);
        uint8_t *y = t->y;
        const int64_t ldy = t->g->ldy;
        UNROLL for (int j = 0; j < vectors; j++)
            multiplier[j] = vf_load(t->multiplier + j * VL);
        UNROLL for (int i = 0; i < rows; i++, y += ldy)
            tile_row(y, acc + i * vectors, multiplier, panels, &to);
        return;
    }
#endif
    int32_t sums[8 * WIDEST * 16];
    UNROLL for (int j = 0; j < rows * vectors; j++)
        vi_store(sums + j * VL, acc[j]);
    tile_finish(t, sums, rows, 16 * panels);
}
