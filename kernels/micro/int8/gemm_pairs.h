/* The tile of levels that multiply 16-bit numbers at best.

   A few rows of A are copied as int16, tile by tile, [quads][rows][4]: once for all panels.  x86: the copy's order is
   (k0, k2), (k1, k3), which is how the bytes of a quad of weights become int16 in place by shifts, and pmaddwd adds two exact
   products.  NEON: in order; vld4 takes the quads of weights apart. */
#if VL == 16
enum { TALLEST = 8 };
#elif VL == 8
enum { TALLEST = 6 };
#elif defined(__x86_64__) || defined(__arm__)
enum { TALLEST = 2 };
#else
enum { TALLEST = 4 };
#endif
/* Rows that are copied together: four tiles, eight of low ones. */
enum { PACKED_ROWS = TALLEST > 2 ? 4 * TALLEST : 8 * TALLEST };

static void pack_rows(const tn_gemm8 *g, const uint8_t *const *a, int64_t rows, void *packed)
{
    for (int64_t i = 0; i < rows; i++) {
        uint8_t *to = (uint8_t *)packed + 8 * i;
        for (int64_t r = 0; r < g->runs; r++) {
            const uint8_t *x = a[i] + g->run[3 * r];
            int64_t q = g->run[3 * r + 1];
#if defined(__x86_64__)
            for (; q >= 4; q -= 4, x += 16, to += 32 * rows) {
                const __m128i bytes = _mm_loadu_si128((const __m128i *)x);
                const __m128i even = _mm_and_si128(bytes, _mm_set1_epi16(0xff)), odd = _mm_srli_epi16(bytes, 8);
                const __m128i low = _mm_unpacklo_epi32(even, odd), high = _mm_unpackhi_epi32(even, odd);
                _mm_storel_epi64((__m128i *)to, low);
                _mm_storel_epi64((__m128i *)(to + 8 * rows), _mm_unpackhi_epi64(low, low));
                _mm_storel_epi64((__m128i *)(to + 16 * rows), high);
                _mm_storel_epi64((__m128i *)(to + 24 * rows), _mm_unpackhi_epi64(high, high));
            }
            if (q >= 2) {
                const __m128i bytes = _mm_loadl_epi64((const __m128i *)x);
                const __m128i even = _mm_and_si128(bytes, _mm_set1_epi16(0xff)), odd = _mm_srli_epi16(bytes, 8);
                const __m128i both = _mm_unpacklo_epi32(even, odd);
                _mm_storel_epi64((__m128i *)to, both);
                _mm_storel_epi64((__m128i *)(to + 8 * rows), _mm_unpackhi_epi64(both, both));
                q -= 2, x += 8, to += 16 * rows;
            }
            if (q > 0) {
                uint32_t bytes;
                memcpy(&bytes, x, 4);
                const uint64_t pairs = (uint64_t)(bytes >> 8 & 0xff00ff) << 32 | (bytes & 0xff00ff);
                memcpy(to, &pairs, 8);
                to += 8 * rows;
            }
#else
            for (; q > 0; q--, x += 4, to += 8 * rows) {
                uint32_t bytes;
                memcpy(&bytes, x, 4);
                vst1_u16((uint16_t *)to, vget_low_u16(vmovl_u8(vcreate_u8(bytes))));
            }
#endif
        }
    }
}

#if defined(__x86_64__)
#if VL == 16
#define EVEN(w) ((vi)_mm512_srai_epi16(_mm512_slli_epi16((__m512i)(w), 8), 8))
#define ODD(w) ((vi)_mm512_srai_epi16((__m512i)(w), 8))
#elif VL == 8
#define EVEN(w) ((vi)_mm256_srai_epi16(_mm256_slli_epi16((__m256i)(w), 8), 8))
#define ODD(w) ((vi)_mm256_srai_epi16((__m256i)(w), 8))
#else
#define EVEN(w) ((vi)_mm_srai_epi16(_mm_slli_epi16((__m128i)(w), 8), 8))
#define ODD(w) ((vi)_mm_srai_epi16((__m128i)(w), 8))
#endif

/* acc + the sum of two products of int16 per lane, as one piece: gcc would make all products of a step first and add them
   later, for which there are not enough registers. */
INLINE vi pairs_add(vi acc, vi x, vi w)
{
    vi both;
#if VL == 16
    __asm__("vpmaddwd %3, %2, %1\n\tvpaddd %1, %0, %0" : "+v"(acc), "=&v"(both) : "v"(x), "v"(w));
#elif VL == 8
    __asm__("vpmaddwd %3, %2, %1\n\tvpaddd %1, %0, %0" : "+x"(acc), "=&x"(both) : "x"(x), "x"(w));
#else
    __asm__("movdqa %2, %1\n\tpmaddwd %3, %1\n\tpaddd %1, %0" : "+x"(acc), "=&x"(both) : "x"(x), "x"(w));
#endif
    return acc;
}

/* One pair of each quad; the weights are loaded for each of the two, which costs less than keeping them. */
#define PAIR_STEP(M, half, PART)                                                                   \
    do {                                                                                           \
        vi w[VECTORS];                                                                             \
        UNROLL for (int j = 0; j < VECTORS; j++)                                                   \
            w[j] = PART(vi_load(b + 4 * VL * j));                                                  \
        UNROLL for (int i = 0; i < M; i++)                                                         \
        {                                                                                          \
            const vi x = vi_set1(a[2 * i + (half)]);                                               \
            UNROLL for (int j = 0; j < VECTORS; j++)                                               \
                acc[i][j] = pairs_add(acc[i][j], x, w[j]);                                             \
        }                                                                                          \
    } while (0)

#define QUAD_STEP(M)                                                                               \
    PAIR_STEP(M, 0, EVEN);                                                                         \
    PAIR_STEP(M, 1, ODD);
#else
#define LANE_STEP(M, k)                                                                            \
    do {                                                                                           \
        const int16x8_t low = vmovl_s8(vget_low_s8(w.val[k])), high = vmovl_high_s8(w.val[k]);     \
        UNROLL for (int i = 0; i < M; i++)                                                         \
        {                                                                                          \
            const int16x4_t x = vld1_s16((const int16_t *)a + 4 * i);                              \
            acc[i][0] = (vi)vmlal_lane_s16((int32x4_t)acc[i][0], vget_low_s16(low), x, k);         \
            acc[i][1] = (vi)vmlal_high_lane_s16((int32x4_t)acc[i][1], low, x, k);                  \
            acc[i][2] = (vi)vmlal_lane_s16((int32x4_t)acc[i][2], vget_low_s16(high), x, k);        \
            acc[i][3] = (vi)vmlal_high_lane_s16((int32x4_t)acc[i][3], high, x, k);                 \
        }                                                                                          \
    } while (0)

#define QUAD_STEP(M)                                                                               \
    const int8x16x4_t w = vld4q_s8(b);                                                             \
    LANE_STEP(M, 0);                                                                               \
    LANE_STEP(M, 1);                                                                               \
    LANE_STEP(M, 2);                                                                               \
    LANE_STEP(M, 3);
#endif

#define DEFINE_PAIR_TILE(M)                                                                             \
    static __attribute__((noinline)) void pair_tile_##M(const tile *t)                                  \
    {                                                                                              \
        vi acc[M][VECTORS];                                                                        \
        const int32_t *a = t->packed;                                                              \
        const int8_t *b = t->b, *const end = b + t->g->quads * 64;                                 \
        UNROLL for (int i = 0; i < M; i++)                                                         \
            UNROLL for (int j = 0; j < VECTORS; j++)                                               \
                acc[i][j] = tile_start(t, i, j * VL);                                              \
        for (; b < end; b += 64, a += 2 * M) {                                                     \
            QUAD_STEP(M)                                                                           \
        }                                                                                          \
        tile_end(t, acc[0], M, 1);                                                                 \
    }

DEFINE_PAIR_TILE(1) DEFINE_PAIR_TILE(2)
#if VL >= 8 || defined(__aarch64__)
DEFINE_PAIR_TILE(3) DEFINE_PAIR_TILE(4)
#endif
#if VL >= 8
DEFINE_PAIR_TILE(5) DEFINE_PAIR_TILE(6)
#endif
#if VL == 16
DEFINE_PAIR_TILE(7) DEFINE_PAIR_TILE(8)
#endif

static void (*const pair_tiles[TALLEST])(const tile *) = {
#if VL == 16
    pair_tile_1, pair_tile_2, pair_tile_3, pair_tile_4, pair_tile_5, pair_tile_6, pair_tile_7, pair_tile_8,
#elif VL == 8
    pair_tile_1, pair_tile_2, pair_tile_3, pair_tile_4, pair_tile_5, pair_tile_6,
#elif defined(__x86_64__) || defined(__arm__)
    pair_tile_1, pair_tile_2,
#else
    pair_tile_1, pair_tile_2, pair_tile_3, pair_tile_4,
#endif
};

/* A few tiles of rows outside, panels next: a panel comes from memory once for all these rows. */
static void gemm8_pairs(const tn_gemm8 *g)
{
    enum { TILES = PACKED_ROWS / TALLEST };
    int32_t sums[TN_BLOCK_ROWS];
    int64_t first[TILES + 1];
    tile_room room;
    tile t;
    row_sums(g, sums);
    for (int64_t begin = 0; begin < g->rows; begin += PACKED_ROWS) {
        const int64_t count = g->rows - begin < PACKED_ROWS ? g->rows - begin : PACKED_ROWS;
        const int64_t pieces = (count + TALLEST - 1) / TALLEST;
        for (int64_t i = 0; i <= pieces; i++)
            first[i] = count * i / pieces;
        for (int64_t i = 0; i < pieces; i++)
            pack_rows(g, g->a + begin + first[i], first[i + 1] - first[i], (uint8_t *)g->packed + 8 * g->quads * first[i]);
        for (int64_t p = 0; p < g->panels; p++) {
            tile_columns(&t, g, p, 1, &room);
            for (int64_t i = 0; i < pieces; i++) {
                t.packed = (const uint8_t *)g->packed + 8 * g->quads * first[i];
                t.sums = sums + begin + first[i];
                t.y = (uint8_t *)g->y + ((begin + first[i]) * g->ldy + 16 * p) * tile_item(g);
                pair_tiles[first[i + 1] - first[i] - 1](&t);
            }
        }
    }
}
