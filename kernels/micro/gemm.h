/* The register tile of matrix multiplication, for every height up to the table's max_rows and width in panels.

   The accumulators of an MxP tile are M * P * (16/VL) vectors and must all stay in registers; each step in K loads the
   P panel rows once and broadcasts one value per row of A.  With a 4-cycle FMA and two FMA ports, eight or more
   accumulators are needed to keep the ports busy.  Max heights: AVX-512 (32 registers) 6 rows x 4 panels (24 + 4 + 1),
   8 x 3, 8 x 2, 8 x 1; AVX2 (16 registers) 6 x 1 panel (12 + 2 + 1); NEON (32) 6 x 1 (24 + 4 + 1); SSE2 (16) 3 x 1;
   scalar 1 x 1 (16 accumulators: as many as there are registers). */

enum { VECTORS = TN_PANEL / VL };

#if VL == 16
#define MAX_ROWS {0, 8, 8, 8, 6}
#elif VL == 8
#define MAX_ROWS {0, 6, 0, 0, 0}
#elif VL == 4 && defined(__aarch64__)
#define MAX_ROWS {0, 6, 0, 0, 0}
#elif VL == 4
#define MAX_ROWS {0, 3, 0, 0, 0}
#else
#define MAX_ROWS {0, 1, 0, 0, 0}
#endif

/* Steps in K per turn of the loop.  The tile's FMAs leave few issue slots: AVX2 spends 20 of 24 on FMAs and loads alone. */
enum { TURN = VL >= 8 ? 4 : 1 };

INLINE vf tile_read(const float *p, int64_t left)
{
    return left >= VL ? vf_load(p) : left > 0 ? vf_load_part(p, left) : (vf){0};
}

INLINE void tile_write(float *p, vf v, int64_t left)
{
    if (left >= VL)
        vf_store(p, v);
    else if (left > 0)
        vf_store_part(p, v, left);
}

/* The same for many rows, which share a mask.  AVX2 has no register that could hold it through the loop, and reads without. */
#if VL == 16
typedef __mmask16 tile_part;
INLINE tile_part tile_part_of(int64_t left) { return (__mmask16)(left >= VL ? 0xffff : left > 0 ? (1u << left) - 1 : 0); }
INLINE vf tile_read_part(const float *p, tile_part part, int64_t left)
{
    (void)left;
    return (vf)_mm512_maskz_loadu_ps(part, p);
}
INLINE void tile_write_part(float *p, vf v, tile_part part) { _mm512_mask_storeu_ps(p, part, (__m512)v); }
#elif VL == 8
typedef __m256i tile_part;
INLINE tile_part tile_part_of(int64_t left) { return vf_mask(left); }
INLINE vf tile_read_part(const float *p, tile_part part, int64_t left)
{
    (void)part;
    return tile_read(p, left);
}
INLINE void tile_write_part(float *p, vf v, tile_part part) { _mm256_maskstore_ps(p, part, (__m256)v); }
#else
typedef int64_t tile_part;
INLINE tile_part tile_part_of(int64_t left) { return left; }
INLINE vf tile_read_part(const float *p, tile_part part, int64_t left)
{
    (void)part;
    return tile_read(p, left);
}
INLINE void tile_write_part(float *p, vf v, tile_part left) { tile_write(p, v, left); }
#endif

/* The order of a step is that of the source: with 16 registers gcc spills two of the 15 that an AVX2 tile needs when it may
   put a sum into the register of a factor, and with 32 it gathers the prefetches of four steps in one place, where they wait
   for each other: a tenth of the speed each. */
#if VL >= 8
#define TILE_FMA(acc, x, y) __asm__ volatile("vfmadd231ps %2, %1, %0" : "+v"(acc) : "v"(x), "v"(y))
#else
#define TILE_FMA(acc, x, y) acc += x * y
#endif

/* Rows of a panel that are read this many steps later come into L1.  Where several panels are read, page by page at the same
   place, the processor does not see it coming: 92 to 95 % of the peak instead of 98 to 99 where they come from L2. */
#if VL == 16
#define TILE_NEAR(row) __asm__ volatile("prefetcht0 %0" : : "m"((row)[NEAR_STEPS * TN_PANEL]))
enum { NEAR_STEPS = 8 };
#else
#define TILE_NEAR(row) (void)0
#endif

/* One step in K at k, `at` floats into the panels: columns of A at a[i][k], rows of the panels at b[p] + at. */
#define TILE_STEP(M, P, k, at)                                                                             \
    do {                                                                                                   \
        vf row[P * VECTORS];                                                                               \
        UNROLL for (int p = 0; p < P; p++)                                                                 \
        {                                                                                                  \
            UNROLL for (int j = 0; j < VECTORS; j++)                                                       \
                row[p * VECTORS + j] = vf_load(b[p] + (at) + j * VL);                                      \
            TILE_NEAR(b[p] + (at));                                                                        \
        }                                                                                                  \
        UNROLL for (int i = 0; i < M; i++)                                                                 \
        {                                                                                                  \
            const vf x = vf_set1(a[i][k]);                                                                 \
            UNROLL for (int j = 0; j < P * VECTORS; j++)                                                   \
                TILE_FMA(acc[i][j], x, row[j]);                                                            \
        }                                                                                                  \
    } while (0)

/* The empty asm keeps gcc from replacing P walking pointers by TURN * P offsets, more than there are registers. */
#define TILE_ADVANCE(P, steps)                                                                             \
    UNROLL for (int p = 0; p < P; p++)                                                                     \
    {                                                                                                      \
        b[p] += (steps) * TN_PANEL;                                                                        \
        __asm__("" : "+r"(b[p]));                                                                          \
    }

#define DEFINE_TILE(M, P)                                                                                             \
    static __attribute__((noinline)) void tile_##M##x##P(const tn_tile *t)                                            \
    {                                                                                                                 \
        vf acc[M][P * VECTORS];                                                                                       \
        const float *a[M];                                                                                            \
        const int whole = t->n >= P * TN_PANEL;                                                                       \
        UNROLL for (int i = 0; i < M; i++)                                                                            \
            a[i] = t->a[i];                                                                                           \
        tile_part part[P * VECTORS] = {0};                                                                            \
        UNROLL for (int j = 0; VL == 16 && j < P * VECTORS; j++)                                                      \
            part[j] = tile_part_of(t->n - j * VL);                                                                    \
        if (t->accumulate) {                                                                                          \
            UNROLL for (int i = 0; i < M; i++)                                                                        \
                UNROLL for (int j = 0; j < P * VECTORS; j++)                                                          \
                    acc[i][j] = whole && VL < 16 ? vf_load(t->c + i * t->ldc + j * VL)                                \
                                                 : tile_read_part(t->c + i * t->ldc + j * VL, part[j], t->n - j * VL);\
        } else {                                                                                                      \
            UNROLL for (int j = 0; j < P * VECTORS; j++)                                                              \
            {                                                                                                         \
                const vf bias = t->bias ? tile_read_part(t->bias + j * VL, part[j], t->n - j * VL) : (vf){0};         \
                UNROLL for (int i = 0; i < M; i++)                                                                    \
                    acc[i][j] = bias;                                                                                 \
            }                                                                                                         \
            if (t->residual)                                                                                          \
                UNROLL for (int i = 0; i < M; i++)                                                                    \
                    UNROLL for (int j = 0; j < P * VECTORS; j++)                                                      \
                        acc[i][j] += tile_read_part(t->residual + i * t->ld_residual + j * VL, part[j], t->n - j * VL);\
        }                                                                                                             \
        const float *b[P], *ahead = t->prefetch;                                                                      \
        UNROLL for (int p = 0; p < P; p++)                                                                            \
            b[p] = t->b + p * t->panel_stride;                                                                        \
        for (int64_t r = 0; r < t->runs; r++) {                                                                       \
            int64_t k = t->run[2 * r];                                                                                \
            const int64_t end = k + t->run[2 * r + 1], turns = end - (TURN - 1);                                      \
            if (VL == 16 && P == 1) { /* what is broadcast is used once: an operand of the FMA, if its row's pointer walks */ \
                const float *at[M];                                                                                   \
                UNROLL for (int i = 0; i < M; i++)                                                                    \
                    at[i] = a[i] + k;                                                                                 \
                for (; k + 1 < end; k += 2) {                                                                         \
                    if (ahead) {                                                                                      \
                        __builtin_prefetch(ahead, 0, 2);                                                              \
                        __builtin_prefetch(ahead + TN_PANEL, 0, 2);                                                   \
                        ahead += 2 * TN_PANEL;                                                                        \
                    }                                                                                                 \
                    UNROLL for (int u = 0; u < 2; u++)                                                                \
                        UNROLL for (int i = 0; i < M; i++)                                                            \
                            acc[i][0] += vf_load(b[0] + u * TN_PANEL) * vf_set1(at[i][u]);                            \
                    TILE_ADVANCE(P, 2)                                                                                \
                    UNROLL for (int i = 0; i < M; i++)                                                                \
                    {                                                                                                 \
                        at[i] += 2;                                                                                   \
                        __asm__("" : "+r"(at[i]));                                                                    \
                    }                                                                                                 \
                }                                                                                                     \
                if (k < end) {                                                                                        \
                    UNROLL for (int i = 0; i < M; i++)                                                                \
                        acc[i][0] += vf_load(b[0]) * vf_set1(*at[i]);                                                 \
                    TILE_ADVANCE(P, 1)                                                                                \
                }                                                                                                     \
                continue;                                                                                             \
            }                                                                                                         \
            if (ahead)                                                                                                \
                for (; k < turns; k += TURN, ahead += TURN * TN_PANEL) {                                              \
                    UNROLL for (int u = 0; u < TURN; u++)                                                             \
                    {                                                                                                 \
                        __builtin_prefetch(ahead + u * TN_PANEL, 0, 2);                                               \
                        TILE_STEP(M, P, k + u, u * TN_PANEL);                                                         \
                    }                                                                                                 \
                    TILE_ADVANCE(P, TURN)                                                                             \
                }                                                                                                     \
            else                                                                                                      \
                for (; k < turns; k += TURN) {                                                                        \
                    UNROLL for (int u = 0; u < TURN; u++)                                                             \
                        TILE_STEP(M, P, k + u, u * TN_PANEL);                                                         \
                    TILE_ADVANCE(P, TURN)                                                                             \
                }                                                                                                     \
            for (; TURN > 1 && k < end; k++) {                                                                        \
                TILE_STEP(M, P, k, 0);                                                                                \
                TILE_ADVANCE(P, 1)                                                                                    \
            }                                                                                                         \
        }                                                                                                             \
        const vf lo = vf_set1(t->last ? t->lo : -INFINITY);                                                           \
        const vf hi = vf_set1(t->last ? t->hi : INFINITY);                                                            \
        float *c = t->c;                                                                                              \
        const int64_t ldc = t->ldc, n = t->n;                                                                         \
        if (whole) {                                                                                                  \
            UNROLL for (int i = 0; i < M; i++, c += ldc)                                                              \
                UNROLL for (int j = 0; j < P * VECTORS; j++)                                                          \
                    vf_store(c + j * VL, vf_clamp(acc[i][j], lo, hi));                                                \
            return;                                                                                                   \
        }                                                                                                             \
        UNROLL for (int j = 0; VL < 16 && j < P * VECTORS; j++)                                                       \
            part[j] = tile_part_of(n - j * VL);                                                                       \
        UNROLL for (int i = 0; i < M; i++, c += ldc)                                                                  \
            UNROLL for (int j = 0; j < P * VECTORS; j++)                                                              \
                tile_write_part(c + j * VL, vf_clamp(acc[i][j], lo, hi), part[j]);                                    \
    }

DEFINE_TILE(1, 1)
#if VL > 1
DEFINE_TILE(2, 1) DEFINE_TILE(3, 1)
#endif
#if VL >= 8 || (VL == 4 && defined(__aarch64__))
DEFINE_TILE(4, 1) DEFINE_TILE(5, 1) DEFINE_TILE(6, 1)
#endif
#if VL == 16
DEFINE_TILE(7, 1) DEFINE_TILE(8, 1)
DEFINE_TILE(1, 2) DEFINE_TILE(2, 2) DEFINE_TILE(3, 2) DEFINE_TILE(4, 2)
DEFINE_TILE(5, 2) DEFINE_TILE(6, 2) DEFINE_TILE(7, 2) DEFINE_TILE(8, 2)
DEFINE_TILE(1, 3) DEFINE_TILE(2, 3) DEFINE_TILE(3, 3) DEFINE_TILE(4, 3)
DEFINE_TILE(5, 3) DEFINE_TILE(6, 3) DEFINE_TILE(7, 3) DEFINE_TILE(8, 3)
DEFINE_TILE(1, 4) DEFINE_TILE(2, 4) DEFINE_TILE(3, 4) DEFINE_TILE(4, 4) DEFINE_TILE(5, 4) DEFINE_TILE(6, 4)
#endif

typedef void (*tile_function)(const tn_tile *);
static const tile_function tiles[TN_MAX_PANELS][TN_MAX_ROWS] = {
#if VL == 16
    {tile_1x1, tile_2x1, tile_3x1, tile_4x1, tile_5x1, tile_6x1, tile_7x1, tile_8x1},
    {tile_1x2, tile_2x2, tile_3x2, tile_4x2, tile_5x2, tile_6x2, tile_7x2, tile_8x2},
    {tile_1x3, tile_2x3, tile_3x3, tile_4x3, tile_5x3, tile_6x3, tile_7x3, tile_8x3},
    {tile_1x4, tile_2x4, tile_3x4, tile_4x4, tile_5x4, tile_6x4},
#elif VL == 8 || (VL == 4 && defined(__aarch64__))
    {tile_1x1, tile_2x1, tile_3x1, tile_4x1, tile_5x1, tile_6x1},
#elif VL == 4
    {tile_1x1, tile_2x1, tile_3x1},
#else
    {tile_1x1},
#endif
};

static void gemm_tile(const tn_tile *tile, int m, int panels)
{
    tiles[panels - 1][m - 1](tile);
}

/* As many chains as hide the latency of a multiply-add (4 or 5 cycles, two ports) and fit the registers.  They start from
   values that a compiler does not know: it would see that one from 2 stays 2, and not compute it. */
static __attribute__((noinline)) int64_t multiply_add(int64_t n)
{
    enum { CHAINS = VL == 1 ? 8 : 12 };
    vf acc[CHAINS];
    const vf x = vf_set1(0.5f), y = vf_set1(1.0f);
    UNROLL for (int i = 0; i < CHAINS; i++)
        acc[i] = vf_set1((float)(n + i));
    for (int64_t k = 0; k < n; k++)
        UNROLL for (int i = 0; i < CHAINS; i++)
            acc[i] = acc[i] * x + y;
    float sum = 0;
    UNROLL for (int i = 0; i < CHAINS; i++)
        sum += acc[i][0];
    return sum > -1.0f ? n * CHAINS * VL * 2 : 0;
}
