/* Products of uint8 activations with int8 weights, exact in int32.

   Levels with a dot product multiply quads of A in place (gemm_dot.h): the tile is that of the float kernel, and a step in K
   is four bytes.  The others copy a few rows of A as int16 first (gemm_pairs.h), unless the weights are known to suit
   pmaddubsw, which adds two products in 16 bits. */
#include "requantize.h"

#if VL > 1 && !HAVE_DOT
#define PACKED_LEVEL 1
#else
#define PACKED_LEVEL 0
#endif
#if PACKED_LEVEL && defined(__x86_64__)
#define BYTE_PAIRS 1
#else
#define BYTE_PAIRS 0
#endif
#if VL == 16 && HAVE_DOT
#define WIDE 1     /* tiles of several panels */
#else
#define WIDE 0
#endif

#if HAVE_DOT && defined(__aarch64__)
enum { SIGNED_ROWS = 1 };
#else
enum { SIGNED_ROWS = 0 };
#endif

/* Panels p0 .. p0 + width - 1 of the product.  Where the last panel has fewer columns, their numbers are copied to `room`, so
   that tiles always read whole panels. */
typedef struct tile_room {
    int32_t bias[WIDEST * 16], w_zero[WIDEST * 16];
    float multiplier[WIDEST * 16];
} tile_room;

INLINE void tile_columns(tile *t, const tn_gemm8 *g, int64_t p0, int64_t width, tile_room *room)
{
    const int64_t at = 16 * p0, rest = g->n - at;
    t->g = g;
    t->b = g->b + p0 * g->quads * 64;
    t->n = rest < 16 * width ? rest : 16 * width;
    t->bias = g->bias + at;
    t->multiplier = g->multiplier + at;
    t->w_zero = g->w_zero ? g->w_zero + at : NULL;
    if (t->n == 16 * width)
        return;
    memset(room, 0, sizeof *room);
    memcpy(room->bias, t->bias, 4 * t->n);
    memcpy(room->multiplier, t->multiplier, 4 * t->n);
    if (t->w_zero)
        t->w_zero = memcpy(room->w_zero, t->w_zero, 4 * t->n);
    t->bias = room->bias;
    t->multiplier = room->multiplier;
}

static int32_t row_sum(const tn_gemm8 *g, const uint8_t *a)
{
    uint32_t sum = 0;
    for (int64_t r = 0; r < g->runs; r++) {
        const uint8_t *x = a + g->run[3 * r];
        int64_t left = g->run[3 * r + 2];
#if defined(__x86_64__)
        __m128i sums = _mm_setzero_si128();
        for (; left >= 16; left -= 16, x += 16)
            sums = _mm_add_epi64(sums, _mm_sad_epu8(_mm_loadu_si128((const __m128i *)x), _mm_setzero_si128()));
        sum += (uint32_t)_mm_cvtsi128_si32(_mm_add_epi64(sums, _mm_unpackhi_epi64(sums, sums)));
#elif defined(__aarch64__)
        for (; left >= 16; left -= 16, x += 16)
            sum += vaddlvq_u8(vld1q_u8(x));
#endif
        for (; left > 0; left--)
            sum += *x++;
    }
    return (int32_t)sum;
}

static void row_sums(const tn_gemm8 *g, int32_t *sums)
{
    for (int64_t i = 0; g->w_zero && i < g->rows; i++)
        sums[i] = row_sum(g, g->a[i]);
}

#if PACKED_LEVEL
#include "gemm_pairs.h"
#else
enum { PACKED_ROWS = 0 };
#endif
#if !PACKED_LEVEL || BYTE_PAIRS
#include "gemm_dot.h"
#endif

static void gemm8(const tn_gemm8 *g)
{
#if BYTE_PAIRS
    if (g->pairs) {
        gemm8_dot(g);
        return;
    }
#endif
#if PACKED_LEVEL
    gemm8_pairs(g);
#else
    gemm8_dot(g);
#endif
}
