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

/* Accumulators of row i before the first product, columns from `at` on. */
INLINE vi tile_start(const tile *t, int i, int at)
{
    const vi bias = vi_load(t->bias + at);
    if (__builtin_expect(t->w_zero == NULL, 1))
        return bias;
    return vi_add(bias, vi_mul(vi_load(t->w_zero + at), vi_set1((int32_t)-(uint32_t)t->sums[i])));
}

INLINE int64_t tile_item(const tn_gemm8 *g) { return g->result == TN_UINT8 ? 1 : 4; }

/* Any kind of result, from rows of `columns` sums in memory. */
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

#if VL > 1
#if VL == 16
enum { WIDEST = 4 };
/* `part` bytes of v to y; the mask keeps the rest of memory as it is. */
#define STORE_PART(bits, y, part, v) _mm##bits##_mask_storeu_epi8(y, (__mmask64)-1 >> (64 - (part)), v)

/* One vector of outputs, as rows of which `rows` exist. */
INLINE void tile_store(uint8_t *y, int64_t ldy, vb v, int64_t rows, int64_t n, const int ROWS)
{
    const __m512i x = (__m512i)v;
    if (ROWS == 1) {
        STORE_PART(512, y, n, x);
    } else if (n == 64 / ROWS && ldy == n) {
        STORE_PART(512, y, rows < ROWS ? rows * n : 64, x);
    } else if (ROWS == 2) {
        STORE_PART(256, y, n, _mm512_castsi512_si256(x));
        if (rows > 1)
            STORE_PART(256, y + ldy, n, _mm512_extracti64x4_epi64(x, 1));
    } else {
        STORE_PART(, y, n, _mm512_castsi512_si128(x));
        if (rows > 1)
            STORE_PART(, y + ldy, n, _mm512_extracti32x4_epi32(x, 1));
        if (rows > 2)
            STORE_PART(, y + 2 * ldy, n, _mm512_extracti32x4_epi32(x, 2));
        if (rows > 3)
            STORE_PART(, y + 3 * ldy, n, _mm512_extracti32x4_epi32(x, 3));
    }
}
#else
enum { WIDEST = 1 };

INLINE void tile_store(uint8_t *y, int64_t ldy, vb v, int64_t rows, int64_t n, const int ROWS)
{
    uint8_t bytes[4 * VL];
    memcpy(bytes, &v, sizeof bytes);
    for (int64_t i = 0; i < ROWS && i < rows; i++, y += ldy)
        if (n == 16)
            memcpy(y, bytes + 16 * i, 16);
        else
            for (int64_t k = 0; k < n; k++)
                y[k] = bytes[16 * i + k];
}
#endif

/* What rows of bytes are made with. */
typedef struct narrowing {
    vf multiplier[WIDEST * VECTORS];
    vs zero;
    vb low, high;
} narrowing;

INLINE void narrowing_of(narrowing *to, const tile *t, int vectors)
{
    UNROLL for (int j = 0; j < vectors; j++)
        to->multiplier[j] = vf_load(t->multiplier + j * VL);
    to->zero = (vs)vi_set1(t->g->zero * 0x10001);
    to->low = vb_set1((uint8_t)t->g->low);
    to->high = vb_set1((uint8_t)t->g->high);
}
#else
enum { WIDEST = 1 };
#endif

/* The last part of a tile: uint8 in registers, as many rows together as fill a vector; everything else through memory. */
INLINE void tile_end(const tile *t, const vi *acc, int rows, int panels)
{
    const int vectors = panels * VECTORS;
#if VL > 1
    if (__builtin_expect(t->g->result == TN_UINT8 && t->g->small, 1)) {
        const int ROWS = vectors > 2 ? 1 : 4 / vectors;
        const int64_t ldy = t->g->ldy, n = t->n;
        const int clamped = t->g->low > 0 || t->g->high < 255;
        uint8_t *y = t->y;
        narrowing to;
        narrowing_of(&to, t, vectors);
        UNROLL for (int i = 0; i < rows; i += ROWS, y += ROWS * ldy)
        {
            const int left = (rows - i < ROWS ? rows - i : ROWS) * vectors;
            vi q[4];
            UNROLL for (int j = 0; j < 4; j++)
                if (j < left)
                    q[j] = vf_to_nearest(__builtin_convertvector(acc[i * vectors + j], vf) * to.multiplier[j % vectors]);
                else
                    q[j] = q[j % left];
            vb bytes = vi_pack(q, to.zero);
            if (clamped)
                bytes = vb_min(vb_max(bytes, to.low), to.high);
            tile_store(y, ldy, vb_in_order(bytes), rows - i, n, ROWS);
        }
        return;
    }
#endif
    int32_t sums[8 * WIDEST * 16];
    UNROLL for (int j = 0; j < rows * vectors; j++)
        vi_store(sums + j * VL, acc[j]);
    tile_finish(t, sums, rows, 16 * panels);
}
