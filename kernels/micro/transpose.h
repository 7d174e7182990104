/* Transposition of matrices: the inner loop of every change of layout. */

/* Few long rows (the planes of a picture), or few columns: the short side is unrolled. */
INLINE void transpose_planes(const float *x, int64_t ldx, float *y, int64_t ldy, const int ROWS, int64_t columns)
{
    for (int64_t j = 0; j < columns; j++)
        UNROLL for (int i = 0; i < ROWS; i++)
            y[j * ldy + i] = x[i * ldx + j];
}

INLINE void transpose_pixels(const float *x, int64_t ldx, float *y, int64_t ldy, int64_t rows, const int COLUMNS)
{
    for (int64_t i = 0; i < rows; i++)
        UNROLL for (int j = 0; j < COLUMNS; j++)
            y[j * ldy + i] = x[i * ldx + j];
}

typedef float f4 __attribute__((vector_size(16)));
typedef float f4_any __attribute__((vector_size(16), aligned(4), may_alias));
typedef int32_t i4 __attribute__((vector_size(16)));

INLINE void transpose_4x4(const float *x, int64_t ldx, float *y, int64_t ldy, const int COLUMNS)
{
    const f4 a = *(const f4_any *)x, b = *(const f4_any *)(x + ldx);
    const f4 c = *(const f4_any *)(x + 2 * ldx), d = *(const f4_any *)(x + 3 * ldx);
    const f4 ab0 = __builtin_shuffle(a, b, (i4){0, 4, 1, 5}), ab1 = __builtin_shuffle(a, b, (i4){2, 6, 3, 7});
    const f4 cd0 = __builtin_shuffle(c, d, (i4){0, 4, 1, 5}), cd1 = __builtin_shuffle(c, d, (i4){2, 6, 3, 7});
    *(f4_any *)y = __builtin_shuffle(ab0, cd0, (i4){0, 1, 4, 5});
    *(f4_any *)(y + ldy) = __builtin_shuffle(ab0, cd0, (i4){2, 3, 6, 7});
    *(f4_any *)(y + 2 * ldy) = __builtin_shuffle(ab1, cd1, (i4){0, 1, 4, 5});
    if (COLUMNS == 4)
        *(f4_any *)(y + 3 * ldy) = __builtin_shuffle(ab1, cd1, (i4){2, 3, 6, 7});
}

/* 8 rows x 4 columns (16 x 4 below): each vector holds the same four columns of rows i, i + 4, ..., so that a transpose inside
   each 128-bit lane gives 8 (16) consecutive elements of four output rows. */
#if VL >= 8
INLINE __m256 rows_of_8(const float *x, int64_t ldx)
{
    return _mm256_insertf128_ps(_mm256_castps128_ps256(_mm_loadu_ps(x)), _mm_loadu_ps(x + 4 * ldx), 1);
}

INLINE void transpose_8x4(const float *x, int64_t ldx, float *y, int64_t ldy, const int COLUMNS)
{
    const __m256 a = rows_of_8(x, ldx), b = rows_of_8(x + ldx, ldx);
    const __m256 c = rows_of_8(x + 2 * ldx, ldx), d = rows_of_8(x + 3 * ldx, ldx);
    const __m256 ab0 = _mm256_unpacklo_ps(a, b), ab1 = _mm256_unpackhi_ps(a, b);
    const __m256 cd0 = _mm256_unpacklo_ps(c, d), cd1 = _mm256_unpackhi_ps(c, d);
    _mm256_storeu_ps(y, _mm256_shuffle_ps(ab0, cd0, 0x44));
    _mm256_storeu_ps(y + ldy, _mm256_shuffle_ps(ab0, cd0, 0xee));
    _mm256_storeu_ps(y + 2 * ldy, _mm256_shuffle_ps(ab1, cd1, 0x44));
    if (COLUMNS == 4)
        _mm256_storeu_ps(y + 3 * ldy, _mm256_shuffle_ps(ab1, cd1, 0xee));
}
#endif
#if VL == 16
INLINE __m512 rows_of_16(const float *x, int64_t ldx)
{
    return _mm512_insertf32x8(_mm512_castps256_ps512(rows_of_8(x, ldx)), rows_of_8(x + 8 * ldx, ldx), 1);
}

INLINE void transpose_16x4(const float *x, int64_t ldx, float *y, int64_t ldy, const int COLUMNS)
{
    const __m512 a = rows_of_16(x, ldx), b = rows_of_16(x + ldx, ldx);
    const __m512 c = rows_of_16(x + 2 * ldx, ldx), d = rows_of_16(x + 3 * ldx, ldx);
    const __m512 ab0 = _mm512_unpacklo_ps(a, b), ab1 = _mm512_unpackhi_ps(a, b);
    const __m512 cd0 = _mm512_unpacklo_ps(c, d), cd1 = _mm512_unpackhi_ps(c, d);
    _mm512_storeu_ps(y, _mm512_shuffle_ps(ab0, cd0, 0x44));
    _mm512_storeu_ps(y + ldy, _mm512_shuffle_ps(ab0, cd0, 0xee));
    _mm512_storeu_ps(y + 2 * ldy, _mm512_shuffle_ps(ab1, cd1, 0x44));
    if (COLUMNS == 4)
        _mm512_storeu_ps(y + 3 * ldy, _mm512_shuffle_ps(ab1, cd1, 0xee));
}
#endif

/* Four columns of 16 rows, of which the first COLUMNS (3 or 4) are stored: a whole cache line of each output row. */
INLINE void transpose_strip(const float *x, int64_t ldx, float *y, int64_t ldy, const int COLUMNS)
{
#if VL == 16
    transpose_16x4(x, ldx, y, ldy, COLUMNS);
#elif VL == 8
    transpose_8x4(x, ldx, y, ldy, COLUMNS);
    transpose_8x4(x + 8 * ldx, ldx, y + 8, ldy, COLUMNS);
#else
    for (int i = 0; i < 16; i += 4)
        transpose_4x4(x + i * ldx, ldx, y + i, ldy, COLUMNS);
#endif
}

#if VL > 1
/* Three planes -> pixels of three channels, VL pixels at a time: what comes first in every network that takes NCHW pictures. */
static void interleave_3(const float *x, int64_t ldx, float *y, int64_t columns)
{
    vi first[3], second[3];     /* planes 0 and 1 into their places of output vector v, then plane 2 between them */
    UNROLL for (int v = 0; v < 3; v++)
        UNROLL for (int e = 0; e < VL; e++)
        {
            const int pixel = (v * VL + e) / 3, channel = (v * VL + e) % 3;
            first[v][e] = channel == 1 ? VL + pixel : pixel;
            second[v][e] = channel == 2 ? VL + pixel : e;
        }
    int64_t j = 0;
    for (; j + VL <= columns; j += VL) {
        const vf a = vf_load(x + j), b = vf_load(x + ldx + j), c = vf_load(x + 2 * ldx + j);
        UNROLL for (int v = 0; v < 3; v++)
            vf_store(y + 3 * j + v * VL, __builtin_shuffle(__builtin_shuffle(a, b, first[v]), c, second[v]));
    }
    transpose_planes(x + j, ldx, y + 3 * j, 3, 3, columns - j);
}
#endif

#if VL > 1
/* Two rows -> pairs, at least VL of them: the shuffle of channels in two groups. */
static void interleave_2(const float *x, int64_t ldx, float *y, int64_t columns)
{
    vi low, high;
    UNROLL for (int e = 0; e < VL; e++)
    {
        low[e] = e / 2 + e % 2 * VL;
        high[e] = VL / 2 + e / 2 + e % 2 * VL;
    }
    for (int64_t j = 0; j < columns; j += VL) {
        const int64_t at = j + VL <= columns ? j : columns - VL;
        const vf a = vf_load(x + at), b = vf_load(x + ldx + at);
        vf_store(y + 2 * at, __builtin_shuffle(a, b, low));
        vf_store(y + 2 * at + VL, __builtin_shuffle(a, b, high));
    }
}
#endif

/* [rows][columns] -> [columns][rows], 16 rows at a time, so that lines of y are written whole.  What is left of rows and
   columns is done by strips that reach back over what is done already. */
static void transpose(const float *x, int64_t ldx, float *y, int64_t ldy, int64_t rows, int64_t columns)
{
#if VL > 1
    if (rows == 3 && ldy == 3) {
        interleave_3(x, ldx, y, columns);
        return;
    }
    if (rows == 2 && ldy == 2 && columns >= VL) {
        interleave_2(x, ldx, y, columns);
        return;
    }
#endif
    switch (rows) {
    case 1: transpose_planes(x, ldx, y, ldy, 1, columns); return;
    case 2: transpose_planes(x, ldx, y, ldy, 2, columns); return;
    case 3: transpose_planes(x, ldx, y, ldy, 3, columns); return;
    }
    switch (columns) {
    case 1: transpose_pixels(x, ldx, y, ldy, rows, 1); return;
    case 2: transpose_pixels(x, ldx, y, ldy, rows, 2); return;
    }
    int64_t i = 0;
    if (columns == 3) {
        /* The fourth element of a row's load is not its own: the last row of all has to be another function's. */
        for (; i + 16 < rows; i += 16)
            transpose_strip(x + i * ldx, ldx, y + i, ldy, 3);
        transpose_pixels(x + i * ldx, ldx, y + i, ldy, rows - i, 3);
        return;
    }
    for (int64_t j0 = 0; j0 < columns; j0 += 64)
        for (i = 0; i + 16 <= rows; i += 16)
            for (int64_t j = j0; j < columns && j < j0 + 64; j += 4) {
                const int64_t at = j + 4 <= columns ? j : columns - 4;
                transpose_strip(x + i * ldx + at, ldx, y + at * ldy + i, ldy, 4);
            }
#if VL >= 8
    for (; i + 8 <= rows; i += 8)
        for (int64_t j = 0; j < columns; j += 4) {
            const int64_t at = j + 4 <= columns ? j : columns - 4;
            transpose_8x4(x + i * ldx + at, ldx, y + at * ldy + i, ldy, 4);
        }
#endif
    for (; i < rows; i += 4) {
        const int64_t from = i + 4 <= rows ? i : rows - 4;
        for (int64_t j = 0; j < columns; j += 4) {
            const int64_t at = j + 4 <= columns ? j : columns - 4;
            transpose_4x4(x + from * ldx + at, ldx, y + at * ldy + from, ldy, 4);
        }
    }
}

typedef uint8_t b16 __attribute__((vector_size(16)));
typedef uint8_t b16_any __attribute__((vector_size(16), may_alias, aligned(1)));

/* 16 x 16 bytes: four rounds, each of which interleaves row i with row i + 8. */
INLINE void transpose_16x16(const uint8_t *x, int64_t ldx, uint8_t *y, int64_t ldy)
{
    b16 a[16], b[16];
#define ROUND(from, to)                                                                                             \
    UNROLL for (int i = 0; i < 8; i++) {                                                              \
        to[2 * i] = __builtin_shuffle(from[i], from[i + 8],                                                            \
                                      (b16){0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23});               \
        to[2 * i + 1] = __builtin_shuffle(from[i], from[i + 8],                                                        \
                                          (b16){8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31});     \
    }
    UNROLL for (int i = 0; i < 16; i++)
        a[i] = *(const b16_any *)(x + i * ldx);
    ROUND(a, b)
    ROUND(b, a)
    ROUND(a, b)
    ROUND(b, a)
#undef ROUND
    UNROLL for (int i = 0; i < 16; i++)
        *(b16_any *)(y + i * ldy) = a[i];
}

/* The same for bytes; rows and columns are at least 16. */
static void transpose_bytes(const uint8_t *x, int64_t ldx, uint8_t *y, int64_t ldy, int64_t rows, int64_t columns)
{
    for (int64_t i = 0; i < rows; i += 16)
        for (int64_t j = 0; j < columns; j += 16) {
            const int64_t u = i + 16 <= rows ? i : rows - 16, v = j + 16 <= columns ? j : columns - 16;
            transpose_16x16(x + u * ldx + v, ldx, y + v * ldy + u, ldy);
        }
}
