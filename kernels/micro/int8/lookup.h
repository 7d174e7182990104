/* y = table[x] for 256 bytes of table. */

#if VL == 16
/* The table is 128 pairs in four registers: vpermi2w finds a pair by bits 1 to 6 of x, bit 7 says in which two registers, bit 0
   which of the pair.  Words hold two bytes of x; `odd` is about the upper one, whose result stays in the upper half. */
INLINE __m512i lookup_pairs(const __m512i table[4], __m512i x, const int ODD)
{
    const __m512i at = _mm512_srli_epi16(x, ODD ? 9 : 1);
    const __m512i low = _mm512_permutex2var_epi16(table[0], at, table[1]);
    const __m512i high = _mm512_permutex2var_epi16(table[2], at, table[3]);
    const __mmask32 upper = ODD ? _mm512_movepi16_mask(x) : _mm512_test_epi16_mask(x, _mm512_set1_epi16(0x80));
    const __m512i found = _mm512_mask_blend_epi16(upper, low, high), eight = _mm512_set1_epi16(8);
    return ODD ? _mm512_sllv_epi16(found, _mm512_andnot_si512(_mm512_srli_epi16(x, 5), eight))
               : _mm512_srlv_epi16(found, _mm512_and_si512(_mm512_slli_epi16(x, 3), eight));
}

INLINE int64_t lookup_blocks(const uint8_t *x, uint8_t *y, int64_t n, const uint8_t *table)
{
    __m512i t[4];
    int64_t i = 0;
    UNROLL for (int k = 0; k < 4; k++)
        t[k] = _mm512_loadu_si512(table + 64 * k);
    for (; i + 64 <= n; i += 64) {
        const __m512i v = _mm512_loadu_si512(x + i);
        const __m512i even = lookup_pairs(t, v, 0), odd = lookup_pairs(t, v, 1);
        _mm512_storeu_si512(y + i, _mm512_mask_blend_epi8(0xaaaaaaaaaaaaaaaa, even, odd));
    }
    return i;
}
#elif VL == 8
/* pshufb reads 16 entries and gives 0 where bit 7 of the index is set.  x, lowered by 16 k with saturation, is negative below
   entry 16 k; differences (exclusive or) of neighbouring sixteenths add up to the right one.  Entries from 128 on likewise. */
INLINE int64_t lookup_blocks(const uint8_t *x, uint8_t *y, int64_t n, const uint8_t *table)
{
    __m256i t[16];
    int64_t i = 0;
    if (n < 64)
        return 0;
    for (int k = 0; k < 16; k++) {
        t[k] = _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)(table + 16 * k)));
        if (k % 8)
            t[k] = _mm256_xor_si256(t[k], _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)(table + 16 * k - 16))));
    }
    for (; i + 64 <= n; i += 64) {
        const __m256i sixteen = _mm256_set1_epi8(16), top = _mm256_set1_epi8(-128);
        __m256i v[2], w[2], found[2];
        UNROLL for (int j = 0; j < 2; j++) {
            v[j] = _mm256_loadu_si256((const __m256i *)(x + i + 32 * j));
            w[j] = _mm256_xor_si256(v[j], top);
            found[j] = _mm256_xor_si256(_mm256_shuffle_epi8(t[0], v[j]), _mm256_shuffle_epi8(t[8], w[j]));
        }
        UNROLL for (int k = 1; k < 8; k++)
            UNROLL for (int j = 0; j < 2; j++) {
                v[j] = _mm256_subs_epi8(v[j], sixteen);
                w[j] = _mm256_subs_epi8(w[j], sixteen);
                found[j] = _mm256_xor_si256(found[j], _mm256_shuffle_epi8(t[k], v[j]));
                found[j] = _mm256_xor_si256(found[j], _mm256_shuffle_epi8(t[8 + k], w[j]));
            }
        UNROLL for (int j = 0; j < 2; j++)
            _mm256_storeu_si256((__m256i *)(y + i + 32 * j), found[j]);
    }
    return i;
}
#elif VL == 4 && defined(__aarch64__)
INLINE int64_t lookup_blocks(const uint8_t *x, uint8_t *y, int64_t n, const uint8_t *table)
{
    uint8x16x4_t t[4];
    int64_t i = 0;
    if (n < 16)
        return 0;
    UNROLL for (int k = 0; k < 4; k++)
        t[k] = vld1q_u8_x4(table + 64 * k);
    for (; i + 16 <= n; i += 16) {
        uint8x16_t v = vld1q_u8(x + i), found = vqtbl4q_u8(t[0], v);
        UNROLL for (int k = 1; k < 4; k++) {
            v = vsubq_u8(v, vdupq_n_u8(64));
            found = vqtbx4q_u8(found, t[k], v);
        }
        vst1q_u8(y + i, found);
    }
    return i;
}
#else
#define lookup_blocks(x, y, n, table) 0
#endif

static void lookup(const uint8_t *x, uint8_t *y, int64_t n, const uint8_t *table)
{
    for (int64_t i = lookup_blocks(x, y, n, table); i < n; i++)
        y[i] = table[x[i]];
}
