/* The tile of levels that multiply four bytes by four bytes in one instruction, and of scalar code; rows are read in place.

   Heights leave room for a row of weights and one quad of A: AVX-512 (32 registers) 6 rows x 4 panels (24 + 4 + 1), 8 x 3,
   8 x 2, 8 x 1; 256 bits (16 registers) 6 x 1 (12 + 2 + 1); NEON 5 x 1 (20 + 4 + 5); scalar 1 x 1.  One more where the dot
   product is three instructions: there 6 x 1, SSE 2 x 1 (8 + 4 + 1 + 1). */
#if WIDE
static const int max_rows[] = {0, 8, 8, 8, 6};
#elif VL >= 8
static const int max_rows[] = {0, 6};
#elif HAVE_DOT
static const int max_rows[] = {0, 5};
#elif VL == 4
static const int max_rows[] = {0, 2};
#else
static const int max_rows[] = {0, 1};
#endif
enum { TURN = VL >= 8 ? 4 : 1, DOT_WIDEST = WIDE ? WIDEST : 1 };

#if defined(__x86_64__) && VL > 1 && !HAVE_DOT
/* The same in three instructions.  The first one adds two products in an int16 and saturates: exact for weights whose pairs
   have positive parts of at most 128 together and negative ones of at least -128, as 255 * 128 = 32640. */
static const int16_t ones[2 * VL] __attribute__((aligned(64))) = {[0 ... 2 * VL - 1] = 1};

INLINE vi vi_dot(vi acc, vi a, vi b)
{
    vi both;
#if VL == 16
    __asm__("vpmaddubsw %3, %2, %1\n\tvpmaddwd %4, %1, %1\n\tvpaddd %1, %0, %0"
            : "+v"(acc), "=&v"(both) : "v"(a), "v"(b), "m"(*(const vi_any *)ones));
#elif VL == 8
    __asm__("vpmaddubsw %3, %2, %1\n\tvpmaddwd %4, %1, %1\n\tvpaddd %1, %0, %0"
            : "+x"(acc), "=&x"(both) : "x"(a), "x"(b), "m"(*(const vi_any *)ones));
#else
    __asm__("movdqa %2, %1\n\tpmaddubsw %3, %1\n\tpmaddwd %4, %1\n\tpaddd %1, %0"
            : "+x"(acc), "=&x"(both) : "x"(a), "x"(b), "m"(*(const vi_any *)ones));
#endif
    return acc;
}
#endif

#if defined(__x86_64__) && VL > 1
#if WIDE
/* The quad at a[k + at] times one row of each panel.  As one piece: gcc would advance an address for every row, and copy
   accumulators around to free registers. */
#define ROW_ASM(products, ...)                                                                     \
    __asm__("vpbroadcastd %c[at](%[a],%[k]), %[x]" products                                        \
            : [x] "=&v"(x), __VA_ARGS__ [a] "r"(a), [k] "r"(k), [at] "i"(at))
#define PRODUCT(j) "\n\t" DOT " %[r" #j "], %[x], %[c" #j "]"
INLINE void dot_row(vi *acc, const uint8_t *a, int64_t k, const int at, const vi *row, const int P)
{
    vi x;
    if (P == 1)
        ROW_ASM(PRODUCT(0), [c0] "+v"(acc[0]) : [r0] "v"(row[0]),);
    else if (P == 2)
        ROW_ASM(PRODUCT(0) PRODUCT(1), [c0] "+v"(acc[0]), [c1] "+v"(acc[1]) : [r0] "v"(row[0]), [r1] "v"(row[1]),);
    else if (P == 3)
        ROW_ASM(PRODUCT(0) PRODUCT(1) PRODUCT(2), [c0] "+v"(acc[0]), [c1] "+v"(acc[1]), [c2] "+v"(acc[2])
                : [r0] "v"(row[0]), [r1] "v"(row[1]), [r2] "v"(row[2]),);
    else
        ROW_ASM(PRODUCT(0) PRODUCT(1) PRODUCT(2) PRODUCT(3), [c0] "+v"(acc[0]), [c1] "+v"(acc[1]), [c2] "+v"(acc[2]),
                [c3] "+v"(acc[3]) : [r0] "v"(row[0]), [r1] "v"(row[1]), [r2] "v"(row[2]), [r3] "v"(row[3]),);
}
#else
INLINE void dot_row(vi *acc, const uint8_t *a, int64_t k, const int at, const vi *row, const int P)
{
    int32_t quad;
    memcpy(&quad, a + k + at, 4);
    const vi x = vi_set1(quad);
    UNROLL for (int j = 0; j < P * VECTORS; j++)
        acc[j] = vi_dot(acc[j], x, row[j]);
}
#endif

/* One quad of K: rows of A at a[i] + k, rows of panel p at b + p panel. */
#define TILE_STEP(M, P, u)                                                                         \
    do {                                                                                           \
        vi row[P * VECTORS];                                                                       \
        UNROLL for (int p = 0; p < P; p++)                                                         \
            UNROLL for (int j = 0; j < VECTORS; j++)                                               \
                row[p * VECTORS + j] = vi_load(b + (p == 3 ? panel3 : p * panel) + 64 * (u) + 4 * VL * j); \
        UNROLL for (int i = 0; i < M; i++)                                                         \
            dot_row(acc[i], a[i], k, 4 * (u), row, P);                                             \
    } while (0)

/* The empty asm keeps gcc from walking with an address for every panel. */
#define TILE_ADVANCE(quads)                                                                        \
    b += 64 * (quads);                                                                             \
    __asm__("" : "+r"(b), "+r"(panel), "+r"(panel3));

#define TILE_RUN(M, P)                                                                             \
    for (; q >= TURN; q -= TURN, k += 4 * TURN) {                                                  \
        UNROLL for (int u = 0; u < TURN; u++)                                                      \
            TILE_STEP(M, P, u);                                                                    \
        TILE_ADVANCE(TURN)                                                                         \
    }                                                                                              \
    for (; q > 0; q--, k += 4) {                                                                   \
        TILE_STEP(M, P, 0);                                                                        \
        TILE_ADVANCE(1)                                                                            \
    }

#elif VL == 4
#define TILE_QUAD(M, x, u, DOT)                                                                    \
    do {                                                                                           \
        int8x16_t row[VECTORS];                                                                    \
        UNROLL for (int j = 0; j < VECTORS; j++)                                                   \
            row[j] = vld1q_s8(b + 64 * (u) + 16 * j);                                           \
        UNROLL for (int i = 0; i < M; i++)                                                         \
            UNROLL for (int j = 0; j < VECTORS; j++)                                               \
                acc[i][j] = (vi)DOT;                                                               \
    } while (0)

#define TILE_RUN(M, P)                                                                             \
    const uint8x16_t flip = vdupq_n_u8(0x80);                                                      \
    int8x16_t x[M];                                                                                \
    for (; q >= 4; q -= 4, k += 16, b += 256) {                                                 \
        UNROLL for (int i = 0; i < M; i++)                                                         \
            x[i] = vreinterpretq_s8_u8(veorq_u8(vld1q_u8(a[i] + k), flip));                        \
        TILE_QUAD(M, x, 0, vdotq_laneq_s32((int32x4_t)acc[i][j], row[j], x[i], 0));                \
        TILE_QUAD(M, x, 1, vdotq_laneq_s32((int32x4_t)acc[i][j], row[j], x[i], 1));                \
        TILE_QUAD(M, x, 2, vdotq_laneq_s32((int32x4_t)acc[i][j], row[j], x[i], 2));                \
        TILE_QUAD(M, x, 3, vdotq_laneq_s32((int32x4_t)acc[i][j], row[j], x[i], 3));                \
    }                                                                                              \
    for (; q > 0; q--, k += 4, b += 64) {                                                       \
        UNROLL for (int i = 0; i < M; i++)                                                         \
        {                                                                                          \
            uint32_t quad;                                                                         \
            memcpy(&quad, a[i] + k, 4);                                                            \
            x[i] = vreinterpretq_s8_u8(veorq_u8(vreinterpretq_u8_u32(vdupq_n_u32(quad)), flip));   \
        }                                                                                          \
        TILE_QUAD(M, x, 0, vdotq_s32((int32x4_t)acc[i][j], row[j], x[i]));                         \
    }

#else
#define TILE_RUN(M, P)                                                                             \
    for (; q > 0; q--, k += 4, b += 64) {                                                       \
        const int32_t x0 = a[0][k], x1 = a[0][k + 1], x2 = a[0][k + 2], x3 = a[0][k + 3];          \
        UNROLL for (int j = 0; j < 16; j++)                                                        \
            acc[0][j] = vi_add(acc[0][j], vi_set1(x0 * b[4 * j] + x1 * b[4 * j + 1] +        \
                                                  x2 * b[4 * j + 2] + x3 * b[4 * j + 3]));   \
    }
#endif

/* `count` tiles, one below the other. */
#define DEFINE_TILE(M, P)                                                                          \
    static __attribute__((noinline)) void tile_##M##x##P(tile *t, int64_t count)                   \
    {                                                                                              \
        int64_t panel = t->g->quads * 64, panel3 = 3 * panel;                                      \
        const int64_t *const runs = t->g->run, *const end = runs + 3 * t->g->runs;                 \
        for (; count > 0; count--) {                                                               \
            vi acc[M][P * VECTORS];                                                                \
            const uint8_t *a[M];                                                                   \
            const int8_t *b = t->b;                                                                \
            UNROLL for (int i = 0; i < M; i++)                                                     \
            {                                                                                      \
                a[i] = t->a[i];                                                                    \
                UNROLL for (int j = 0; j < P * VECTORS; j++)                                       \
                    acc[i][j] = tile_start(t, i, j * VL);                                          \
            }                                                                                      \
            for (const int64_t *run = runs; run < end; run += 3) {                                 \
                int64_t k = run[0], q = run[1];                                                    \
                TILE_RUN(M, P)                                                                     \
            }                                                                                      \
            tile_end(t, acc[0], M, P);                                                             \
            t->a += M;                                                                             \
            t->sums += M;                                                                          \
            t->y += M * t->g->ldy * tile_item(t->g);                                               \
        }                                                                                          \
        (void)panel3;                                                                              \
    }

DEFINE_TILE(1, 1)
#if VL > 1
DEFINE_TILE(2, 1)
#endif
#if VL >= 8 || HAVE_DOT
DEFINE_TILE(3, 1) DEFINE_TILE(4, 1) DEFINE_TILE(5, 1)
#endif
#if VL >= 8
DEFINE_TILE(6, 1)
#endif
#if WIDE
DEFINE_TILE(7, 1) DEFINE_TILE(8, 1)
DEFINE_TILE(1, 2) DEFINE_TILE(2, 2) DEFINE_TILE(3, 2) DEFINE_TILE(4, 2)
DEFINE_TILE(5, 2) DEFINE_TILE(6, 2) DEFINE_TILE(7, 2) DEFINE_TILE(8, 2)
DEFINE_TILE(1, 3) DEFINE_TILE(2, 3) DEFINE_TILE(3, 3) DEFINE_TILE(4, 3)
DEFINE_TILE(5, 3) DEFINE_TILE(6, 3) DEFINE_TILE(7, 3) DEFINE_TILE(8, 3)
DEFINE_TILE(1, 4) DEFINE_TILE(2, 4) DEFINE_TILE(3, 4) DEFINE_TILE(4, 4) DEFINE_TILE(5, 4) DEFINE_TILE(6, 4)
#endif

static void (*const dot_tiles[][8])(tile *, int64_t) = {
#if WIDE
    {tile_1x1, tile_2x1, tile_3x1, tile_4x1, tile_5x1, tile_6x1, tile_7x1, tile_8x1},
    {tile_1x2, tile_2x2, tile_3x2, tile_4x2, tile_5x2, tile_6x2, tile_7x2, tile_8x2},
    {tile_1x3, tile_2x3, tile_3x3, tile_4x3, tile_5x3, tile_6x3, tile_7x3, tile_8x3},
    {tile_1x4, tile_2x4, tile_3x4, tile_4x4, tile_5x4, tile_6x4},
#elif VL >= 8
    {tile_1x1, tile_2x1, tile_3x1, tile_4x1, tile_5x1, tile_6x1},
#elif HAVE_DOT
    {tile_1x1, tile_2x1, tile_3x1, tile_4x1, tile_5x1},
#elif VL == 4
    {tile_1x1, tile_2x1},
#else
    {tile_1x1},
#endif
};

/* Tile columns outside, so that their weights stay in L1 or L2 while rows go by; columns and rows in pieces that differ by
   one at most. */
static void gemm8_dot(const tn_gemm8 *g)
{
    int32_t sums[TN_BLOCK_ROWS];
    tile_room room;
    tile t;
    const int64_t columns = (g->panels + DOT_WIDEST - 1) / DOT_WIDEST;
    row_sums(g, sums);
    for (int64_t column = 0; column < columns; column++) {
        const int64_t p0 = g->panels * column / columns, width = g->panels * (column + 1) / columns - p0;
        tile_columns(&t, g, p0, width, &room);
        const int64_t pieces = (g->rows + max_rows[width] - 1) / max_rows[width];
        const int64_t height = g->rows / pieces, taller = g->rows - height * pieces;
        t.a = g->a;
        t.sums = sums;
        t.y = (uint8_t *)g->y + 16 * p0 * tile_item(g);
        if (taller)
            dot_tiles[width - 1][height](&t, taller);
        if (height)
            dot_tiles[width - 1][height - 1](&t, pieces - taller);
    }
}
