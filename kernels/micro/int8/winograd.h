/* Winograd convolution of bytes, 3x3 with stride 1, exact (Lavin & Gray 2015, arXiv 1509.09308; micro/winograd.h for floats).

   A tile of SIZE x SIZE outputs needs E x E inputs, E = SIZE + 2: Y = A' [(G w G') . (B' x B)] A.  F(2,3) has the points 0, 1,
   -1, F(4,3) those and 2, -2: B and A are integers then, and G is one but for a factor per row, which is left out of the weights
   and made up for behind the products.  There, along one axis, 2 Y comes out for F(2,3), and for F(4,3) 24 Y (row 0), 12 Y (row 1)
   and 6 Y (rows 2 and 3).

   Everything is arithmetic modulo 2^32, where 9 = 3 * 3 has an inverse, so that only powers of two must be shifted out: at most
   HEADROOM bits, which are the sum's own as long as |sum of x w| < 2^31 / 2^HEADROOM for every output.  ops/q_winograd.py looks
   at the weights and takes the direct product where that may fail.  x is taken as it is, with x_zero around the picture: the bias
   holds -x_zero * sum of w already.

   Both factors fit an int16.  Transformed bytes: the positive and the negative numbers of a row of B' sum to 5 and 5, 2 and 8 or 3
   and 3, so that 255 (8 * 8 + 2 * 2) = 17340 is the most; transformed weights: 128 * 7 * 7 = 6272. */
#define HEADROOM(SIZE) ((SIZE) == 4 ? 6 : 2)

enum { MOST_SIZE = 4, MOST_E = MOST_SIZE + 2, LANES = 2 * VL };

typedef int16_t vs __attribute__((vector_size(4 * VL)));
typedef int16_t vs_any __attribute__((vector_size(4 * VL), aligned(2), may_alias));

INLINE vs vs_widen(const uint8_t *x)
{
#if VL == 16
    return (vs)_mm512_cvtepu8_epi16(_mm256_loadu_si256((const __m256i *)x));
#elif VL == 8
    return (vs)_mm256_cvtepu8_epi16(_mm_loadu_si128((const __m128i *)x));
#elif VL == 4 && defined(__x86_64__)
    return (vs)_mm_unpacklo_epi8(_mm_loadl_epi64((const __m128i *)x), _mm_setzero_si128());
#elif VL == 4
    return (vs)vmovl_u8(vld1_u8(x));
#else
    return (vs){x[0], x[1]};
#endif
}

/* v = B' x */
INLINE void bytes_1d(const int SIZE, const vs *x, vs *v)
{
    if (SIZE == 2) {
        v[0] = x[0] - x[2];
        v[1] = x[1] + x[2];
        v[2] = x[2] - x[1];
        v[3] = x[3] - x[1];
        return;
    }
    const vs even1 = x[4] - (x[2] << 2), odd1 = x[3] - (x[1] << 2);
    const vs even2 = x[4] - x[2], odd2 = (x[3] - x[1]) << 1;
    v[0] = ((x[0] - x[2]) << 2) + even2;
    v[1] = even1 + odd1;
    v[2] = even1 - odd1;
    v[3] = even2 + odd2;
    v[4] = even2 - odd2;
    v[5] = ((x[1] - x[3]) << 2) + (x[5] - x[3]);
}

INLINE void bytes_tile(const tn_q_winograd_input *t, const int SIZE)
{
    const int e = SIZE + 2;
    const uint8_t *at[MOST_E * MOST_E];
    uint8_t part[MOST_E * MOST_E][LANES];
    vs half[MOST_E][MOST_E];
    for (int i = 0; i < e; i++)
        for (int j = 0; j < e; j++)
            at[i * e + j] = i >= t->y0 && i < t->y1 && j >= t->x0 && j < t->x1 ? t->x + i * t->row + j * t->ld : t->outside;
    for (int64_t c = 0; c < t->channels; c += LANES) {
        int64_t from = c;
        if (t->channels - c < LANES) {
            for (int k = 0; k < e * e; k++)
                at[k] = memcpy(part[k], at[k] + c, (size_t)(t->channels - c));
            from = 0;
        }
        for (int j = 0; j < e; j++) {
            vs x[MOST_E], v[MOST_E];
            UNROLL for (int i = 0; i < e; i++)
                x[i] = vs_widen(at[i * e + j] + from);
            bytes_1d(SIZE, x, v);
            UNROLL for (int i = 0; i < e; i++)
                half[i][j] = v[i];
        }
        for (int i = 0; i < e; i++) {
            vs v[MOST_E];
            bytes_1d(SIZE, half[i], v);
            UNROLL for (int j = 0; j < e; j++)
                *(vs_any *)(t->v + (i * e + j) * t->stride + c) = v[j];
        }
    }
}

static void winograd_input(const tn_q_winograd_input *t, int size)
{
    if (size == 4)
        bytes_tile(t, 4);
    else
        bytes_tile(t, 2);
}

/* M rows of A [pairs][2] times one panel of weights: pmaddwd takes pairs side by side, NEON lanes one after the other. */
#if defined(__x86_64__) && VL > 1
INLINE vi pair_load(const int16_t *a)
{
    int32_t x;
    memcpy(&x, a, 4);
    return vi_set1(x);
}

#define DEFINE_SHORT_TILE(M)                                                                       \
    static __attribute__((noinline)) void short_tile_##M(const int16_t *a, int64_t lda, const int16_t *b, int64_t quads, \
                                                         int32_t *c, int64_t ldc)                  \
    {                                                                                              \
        vi acc[M][VECTORS] = {{{0}}};                                                              \
        for (; quads > 0; quads--, a += 4, b += 64)                                                \
            UNROLL for (int u = 0; u < 2; u++)                                                     \
            {                                                                                      \
                vi w[VECTORS];                                                                     \
                UNROLL for (int j = 0; j < VECTORS; j++)                                           \
                    w[j] = vi_load(b + 32 * u + LANES * j);                                        \
                UNROLL for (int i = 0; i < M; i++)                                                 \
                {                                                                                  \
                    const vi x = pair_load(a + i * lda + 2 * u);                \
                    UNROLL for (int j = 0; j < VECTORS; j++)                                       \
                        acc[i][j] = pairs_add(acc[i][j], x, w[j]);                                 \
                }                                                                                  \
            }                                                                                      \
        UNROLL for (int i = 0; i < M; i++)                                                         \
            UNROLL for (int j = 0; j < VECTORS; j++)                                               \
                vi_store(c + i * ldc + j * VL, acc[i][j]);                                         \
    }
#elif VL == 4
#define SHORT_LANE(M, k)                                                                           \
    do {                                                                                           \
        const int16x8_t low = vld1q_s16(b + 16 * (k)), high = vld1q_s16(b + 16 * (k) + 8);         \
        UNROLL for (int i = 0; i < M; i++)                                                         \
        {                                                                                          \
            acc[i][0] = vmlal_lane_s16(acc[i][0], vget_low_s16(low), x[i], k);                     \
            acc[i][1] = vmlal_high_lane_s16(acc[i][1], low, x[i], k);                              \
            acc[i][2] = vmlal_lane_s16(acc[i][2], vget_low_s16(high), x[i], k);                    \
            acc[i][3] = vmlal_high_lane_s16(acc[i][3], high, x[i], k);                             \
        }                                                                                          \
    } while (0)

#define DEFINE_SHORT_TILE(M)                                                                       \
    static __attribute__((noinline)) void short_tile_##M(const int16_t *a, int64_t lda, const int16_t *b, int64_t quads, \
                                                         int32_t *c, int64_t ldc)                  \
    {                                                                                              \
        int32x4_t acc[M][VECTORS];                                                                 \
        UNROLL for (int i = 0; i < M * VECTORS; i++)                                               \
            acc[i / VECTORS][i % VECTORS] = vdupq_n_s32(0);                                        \
        for (; quads > 0; quads--, a += 4, b += 64) {                                              \
            int16x4_t x[M];                                                                        \
            UNROLL for (int i = 0; i < M; i++)                                                     \
                x[i] = vld1_s16(a + i * lda);                                                      \
            SHORT_LANE(M, 0);                                                                      \
            SHORT_LANE(M, 1);                                                                      \
            SHORT_LANE(M, 2);                                                                      \
            SHORT_LANE(M, 3);                                                                      \
        }                                                                                          \
        UNROLL for (int i = 0; i < M; i++)                                                         \
            UNROLL for (int j = 0; j < VECTORS; j++)                                               \
                vst1q_s32(c + i * ldc + 4 * j, acc[i][j]);                                         \
    }
#else
#define DEFINE_SHORT_TILE(M)                                                                       \
    static void short_tile_##M(const int16_t *a, int64_t lda, const int16_t *b, int64_t quads, int32_t *c, int64_t ldc) \
    {                                                                                              \
        uint32_t acc[16] = {0};                                                              \
        (void)lda, (void)ldc;                                                                      \
        for (int64_t k = 0; k < 4 * quads; k++)                                                    \
            for (int o = 0; o < 16; o++)                                                     \
                acc[o] += (uint32_t)(a[k] * b[SHORT_WEIGHT(k, o)]);                                \
        memcpy(c, acc, sizeof acc);                                                                \
    }
#endif

/* Where weight k of output o lies in a panel [quads][64]. */
#if defined(__x86_64__)
#define SHORT_WEIGHT(k, o) ((k) / 2 * 32 + 2 * (o) + (k) % 2)
#else
#define SHORT_WEIGHT(k, o) ((k) * 16 + (o))
#endif

#if VL == 1
enum { SHORT_ROWS = 1 };
DEFINE_SHORT_TILE(1)
#else
enum { SHORT_ROWS = TALLEST };
DEFINE_SHORT_TILE(1) DEFINE_SHORT_TILE(2)
#endif
#if VL >= 8 || defined(__aarch64__)
#if VL > 1
DEFINE_SHORT_TILE(3) DEFINE_SHORT_TILE(4)
#endif
#endif
#if VL >= 8
DEFINE_SHORT_TILE(5) DEFINE_SHORT_TILE(6)
#endif
#if VL == 16
DEFINE_SHORT_TILE(7) DEFINE_SHORT_TILE(8)
#endif

typedef void short_tile(const int16_t *a, int64_t lda, const int16_t *b, int64_t quads, int32_t *c, int64_t ldc);
static short_tile *const short_tiles[SHORT_ROWS] = {
    short_tile_1,
#if VL > 1
    short_tile_2,
#endif
#if VL > 1 && (VL >= 8 || defined(__aarch64__))
    short_tile_3, short_tile_4,
#endif
#if VL >= 8
    short_tile_5, short_tile_6,
#endif
#if VL == 16
    short_tile_7, short_tile_8,
#endif
};

/* c [rows][16 panels] = a [rows][4 quads] times b [panels][quads][64]: a panel of weights stays in L1 while rows go by. */
static void winograd_product(const int16_t *a, int64_t lda, int64_t rows, const int16_t *b, int64_t quads, int64_t panels,
                             int32_t *c)
{
    const int64_t pieces = (rows + SHORT_ROWS - 1) / SHORT_ROWS, ldc = 16 * panels;
    for (int64_t p = 0; p < panels; p++, b += 64 * quads)
        for (int64_t piece = 0, i = 0, end; piece < pieces; piece++, i = end) {
            end = rows * (piece + 1) / pieces;
            short_tiles[end - i - 1](a + i * lda, lda, b, quads, c + i * ldc + 16 * p, ldc);
        }
}

/* y = A' m */
INLINE void sums_1d(const int SIZE, const vi *m, vi *y)
{
    const vi sum1 = vi_add(m[1], m[2]), difference1 = (vi)((vu)m[1] - (vu)m[2]);
    if (SIZE == 2) {
        y[0] = vi_add(vi_add(m[0], m[0]), sum1);
        y[1] = vi_add(difference1, vi_add(m[3], m[3]));
        return;
    }
    const vi sum2 = vi_add(m[3], m[4]), difference2 = (vi)((vu)m[3] - (vu)m[4]);
    y[0] = (vi)(6 * (vu)m[0] - 4 * (vu)sum1 + (vu)sum2);
    y[1] = (vi)((vu)difference2 - 2 * (vu)difference1);
    y[2] = (vi)((vu)sum2 - (vu)sum1);
    y[3] = (vi)(2 * (vu)difference2 - (vu)difference1 + 6 * (vu)m[5]);
}

/* 1 / 9 modulo 2^32, times what rows and columns lack to 2^HEADROOM. */
#define NINTH 0x38e38e39u
static const uint32_t missing[4][4] = {{NINTH, 2 * NINTH, 4 * NINTH, 4 * NINTH}, {2 * NINTH, 4 * NINTH, 8 * NINTH, 8 * NINTH},
                                       {4 * NINTH, 8 * NINTH, 16 * NINTH, 16 * NINTH},
                                       {4 * NINTH, 8 * NINTH, 16 * NINTH, 16 * NINTH}};

/* Sixteen channels from t->m on: sums [SIZE][SIZE][16], bias contained. */
INLINE void sums_tile(const int32_t *m, int64_t stride, const int32_t *bias, int32_t *sums, const int SIZE)
{
    const int e = SIZE + 2;
    vi half[MOST_SIZE][MOST_E];
    for (int64_t c = 0; c < 16; c += VL) {
        for (int j = 0; j < e; j++) {
            vi x[MOST_E], v[MOST_SIZE];
            UNROLL for (int i = 0; i < e; i++)
                x[i] = vi_load(m + (i * e + j) * stride + c);
            sums_1d(SIZE, x, v);
            UNROLL for (int i = 0; i < SIZE; i++)
                half[i][j] = v[i];
        }
        const vi b = vi_load(bias + c);
        for (int i = 0; i < SIZE; i++) {
            vi y[MOST_SIZE];
            sums_1d(SIZE, half[i], y);
            UNROLL for (int j = 0; j < SIZE; j++)
            {
                const vi shifted = SIZE == 4 ? vi_mul(y[j], vi_set1((int32_t)missing[i][j])) : y[j];
                vi_store(sums + 16 * (i * SIZE + j) + c, vi_add(shifted >> HEADROOM(SIZE), b));
            }
        }
    }
}

INLINE void pixels(const tile *t, const int32_t *sums, const int COUNT)
{
    vi acc[4 * VECTORS];
    UNROLL for (int k = 0; k < COUNT * VECTORS; k++)
        acc[k] = vi_load(sums + k * VL);
    tile_end(t, acc, COUNT, 1);
}

static void winograd_output(const tn_q_winograd_output *o, int size)
{
    tn_gemm8 g;
    tile t;
    tile_room room;
    int32_t sums[MOST_SIZE * MOST_SIZE * 16];
    memset(&g, 0, sizeof g);
    g.n = o->channels;
    g.bias = o->bias;
    g.multiplier = o->multiplier;
    g.ldy = o->ldy;
    g.result = o->result;
    g.small = o->small;
    g.zero = o->zero;
    g.low = o->low;
    g.high = o->high;
    for (int64_t p = 0; 16 * p < o->channels; p++) {
        tile_columns(&t, &g, p, 1, &room);
        if (size == 4)
            sums_tile(o->m + 16 * p, o->stride, t.bias, sums, 4);
        else
            sums_tile(o->m + 16 * p, o->stride, t.bias, sums, 2);
        for (int64_t i = 0; i < o->rows; i++) {
            const int32_t *row = sums + 16 * size * i;
            t.y = (uint8_t *)o->y + (i * o->y_row + 16 * p) * tile_item(&g);
            if (o->columns == 4) {
                pixels(&t, row, 4);
                continue;
            }
            for (int64_t j = 0; j < o->columns; j++, t.y += o->ldy * tile_item(&g))
                pixels(&t, row + 16 * j, 1);
        }
    }
}

/* Weights are transformed once, by the scalar table for all. */
#if VL == 1
INLINE void weights_1d(const int SIZE, const int16_t (*w)[32], int step, int16_t (*u)[32])
{
    for (int k = 0; k < 32; k++) {
        const int16_t a = w[0][k], b = w[step][k], c = w[2 * step][k];
        const int16_t even1 = (int16_t)(a + c), even2 = (int16_t)(a + 4 * c), odd2 = (int16_t)(2 * b);
        u[0][k] = a;
        u[1][k] = (int16_t)(even1 + b);
        u[2][k] = (int16_t)(even1 - b);
        if (SIZE == 4) {
            u[3][k] = (int16_t)(even2 + odd2);
            u[4][k] = (int16_t)(even2 - odd2);
        }
        u[SIZE + 1][k] = c;
    }
}

/* One panel: w [3 rows][row_quads][16][4] -> u, E*E matrices `stride` apart, each [quads][64]. */
static void winograd_weights(const int8_t *w, int64_t row_quads, int64_t channels, int16_t *u, int64_t stride, int size)
{
    int16_t taps[9][32], half[3][MOST_E][32], whole[MOST_E][32];
    for (int64_t k = 0; k < (channels + 3) / 4 * 4; k += 2, u += 32) {
        for (int tap = 0; tap < 9; tap++)
            for (int64_t c = k; c < k + 2; c++) {
                const int64_t at = tap % 3 * channels + c;
                const int8_t *from = w + (tap / 3 * row_quads + at / 4) * 64 + at % 4;
                for (int o = 0; o < 16; o++)
                    taps[tap][SHORT_WEIGHT(c - k, o)] = c < channels ? from[4 * o] : 0;
            }
        for (int j = 0; j < 3; j++)
            if (size == 4)
                weights_1d(4, taps + j, 3, half[j]);
            else
                weights_1d(2, taps + j, 3, half[j]);
        for (int i = 0; i < size + 2; i++) {
            if (size == 4)
                weights_1d(4, half[0] + i, MOST_E, whole);
            else
                weights_1d(2, half[0] + i, MOST_E, whole);
            for (int j = 0; j < size + 2; j++)
                memcpy(u + (i * (size + 2) + j) * stride, whole[j], sizeof whole[j]);
        }
    }
}

/* The largest sum of weights of one sign that an output has; w: [panels][quads][16][4]. */
static int64_t winograd_reach(const int8_t *w, int64_t panels, int64_t quads)
{
    int64_t most = 0;
    for (int64_t p = 0; p < panels; p++, w += 64 * quads)
        for (int o = 0; o < 16; o++) {
            int64_t sum = 0, size = 0;
            for (int64_t q = 0; q < quads; q++)
                for (int l = 0; l < 4; l++) {
                    const int32_t v = w[64 * q + 4 * o + l];
                    sum += v;
                    size += v < 0 ? -v : v;
                }
            const int64_t reach = (size + (sum < 0 ? -sum : sum)) / 2;
            most = reach > most ? reach : most;
        }
    return most;
}
#endif
