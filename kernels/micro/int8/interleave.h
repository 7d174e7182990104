/* Bytes of two or three rows put side by side, and taken apart: channel shuffle, and pictures between NCHW and NHWC.
   Sixteen columns at a time; the last sixteen reach back over what is done already. */

#if defined(__x86_64__) && VL > 1
/* Where byte e of output vector v of three comes from in row j of a picture of 16 pixels, and the way back; 0x80: from
   another one. */
INLINE __m128i picks(const int v, const int j, const int BACK)
{
    b16 at;
    UNROLL for (int e = 0; e < 16; e++)
        if (BACK) /* byte e of row j, out of vector v */
            at[e] = (3 * e + j) / 16 == v ? (3 * e + j) % 16 : 0x80;
        else
            at[e] = (16 * v + e) % 3 == j ? (16 * v + e) / 3 : 0x80;
    return (__m128i)at;
}
#endif

static void interleave(const uint8_t *x, int64_t ldx, int n, uint8_t *y, int64_t columns)
{
    int64_t i = 0;
    const uint8_t *x1 = x + ldx, *x2 = x1 + ldx;
    if (n == 2) {
#if VL > 1
        for (; i < columns && columns >= 16; i += 16) {
            i = i + 16 <= columns ? i : columns - 16;
            const b16 a = load_16(x + i), b = load_16(x1 + i);
            store_16(y + 2 * i, __builtin_shuffle(a, b, (b16){0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23}));
            store_16(y + 2 * i + 16,
                     __builtin_shuffle(a, b, (b16){8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31}));
        }
#endif
        for (; i < columns; i++) {
            y[2 * i] = x[i];
            y[2 * i + 1] = x1[i];
        }
        return;
    }
#if defined(__x86_64__) && VL > 1
    for (; i < columns && columns >= 16; i += 16) {
        i = i + 16 <= columns ? i : columns - 16;
        const __m128i a = (__m128i)load_16(x + i), b = (__m128i)load_16(x1 + i), c = (__m128i)load_16(x2 + i);
        UNROLL for (int v = 0; v < 3; v++)
            store_16(y + 3 * i + 16 * v, (b16)_mm_or_si128(_mm_or_si128(_mm_shuffle_epi8(a, picks(v, 0, 0)),
                                                                        _mm_shuffle_epi8(b, picks(v, 1, 0))),
                                                           _mm_shuffle_epi8(c, picks(v, 2, 0))));
    }
#elif defined(__ARM_NEON) && VL > 1
    for (; i < columns && columns >= 16; i += 16) {
        i = i + 16 <= columns ? i : columns - 16;
        vst3q_u8(y + 3 * i, (uint8x16x3_t){{vld1q_u8(x + i), vld1q_u8(x1 + i), vld1q_u8(x2 + i)}});
    }
#endif
    for (; i < columns; i++) {
        y[3 * i] = x[i];
        y[3 * i + 1] = x1[i];
        y[3 * i + 2] = x2[i];
    }
}

static void deinterleave(const uint8_t *x, int n, uint8_t *y, int64_t ldy, int64_t columns)
{
    int64_t i = 0;
    uint8_t *y1 = y + ldy, *y2 = y1 + ldy;
    if (n == 2) {
#if VL > 1
        for (; i < columns && columns >= 16; i += 16) {
            i = i + 16 <= columns ? i : columns - 16;
            const b16 a = load_16(x + 2 * i), b = load_16(x + 2 * i + 16);
            store_16(y + i, __builtin_shuffle(a, b, (b16){0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30}));
            store_16(y1 + i, __builtin_shuffle(a, b, (b16){1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31}));
        }
#endif
        for (; i < columns; i++) {
            y[i] = x[2 * i];
            y1[i] = x[2 * i + 1];
        }
        return;
    }
#if defined(__x86_64__) && VL > 1
    for (; i < columns && columns >= 16; i += 16) {
        i = i + 16 <= columns ? i : columns - 16;
        const __m128i a = (__m128i)load_16(x + 3 * i), b = (__m128i)load_16(x + 3 * i + 16);
        const __m128i c = (__m128i)load_16(x + 3 * i + 32);
        uint8_t *rows[3] = {y, y1, y2};
        UNROLL for (int j = 0; j < 3; j++)
            store_16(rows[j] + i, (b16)_mm_or_si128(_mm_or_si128(_mm_shuffle_epi8(a, picks(0, j, 1)),
                                                                 _mm_shuffle_epi8(b, picks(1, j, 1))),
                                                    _mm_shuffle_epi8(c, picks(2, j, 1))));
    }
#elif defined(__ARM_NEON) && VL > 1
    for (; i < columns && columns >= 16; i += 16) {
        i = i + 16 <= columns ? i : columns - 16;
        const uint8x16x3_t rows = vld3q_u8(x + 3 * i);
        vst1q_u8(y + i, rows.val[0]);
        vst1q_u8(y1 + i, rows.val[1]);
        vst1q_u8(y2 + i, rows.val[2]);
    }
#endif
    for (; i < columns; i++) {
        y[i] = x[3 * i];
        y1[i] = x[3 * i + 1];
        y2[i] = x[3 * i + 2];
    }
}
