/* What the depthwise kernels work on: blocks of 4 VL bytes, which are as many channels of one pixel, or fewer channels of
   2 or 4 pixels (streams).  Four such vectors are interleaved to quads: 4 vectors whose 32-bit lanes hold one channel each,
   four of its taps in the four bytes.  Lane i of a 128-bit part L of quad vector k is channel 16 L + 4 k + i of the block;
   vi_pack undoes exactly that order. */

#if HAVE_DOT
enum { DW_DOT = 1 };
#else
enum { DW_DOT = 0 };
#endif
enum { DW_BLOCK = 4 * VL, DW_STREAMS = VL / 4 };

typedef uint16_t vh __attribute__((vector_size(4 * VL)));
typedef uint8_t dw_piece __attribute__((vector_size(16)));
typedef uint8_t dw_piece_any __attribute__((vector_size(16), aligned(1), may_alias));
typedef uint64_t dw_pair __attribute__((vector_size(16)));

#if VL == 16
typedef uint8_t dw_half __attribute__((vector_size(32)));
typedef uint8_t dw_half_any __attribute__((vector_size(32), aligned(1), may_alias));
#endif

/* a and b interleaved, in each 128-bit part: bytes or pairs of bytes, of the lower or the upper half. */
#if defined(__x86_64__)
INLINE vb dw_zip_low(vb a, vb b) { return (vb)X86(unpacklo_epi8, (x86_register)a, (x86_register)b); }
INLINE vb dw_zip_high(vb a, vb b) { return (vb)X86(unpackhi_epi8, (x86_register)a, (x86_register)b); }
INLINE vi dw_zip_pairs_low(vb a, vb b) { return (vi)X86(unpacklo_epi16, (x86_register)a, (x86_register)b); }
INLINE vi dw_zip_pairs_high(vb a, vb b) { return (vi)X86(unpackhi_epi16, (x86_register)a, (x86_register)b); }
#else
INLINE vb dw_zip_low(vb a, vb b) { return (vb)vzip1q_u8((uint8x16_t)a, (uint8x16_t)b); }
INLINE vb dw_zip_high(vb a, vb b) { return (vb)vzip2q_u8((uint8x16_t)a, (uint8x16_t)b); }
INLINE vi dw_zip_pairs_low(vb a, vb b) { return (vi)vzip1q_u16((uint16x8_t)a, (uint16x8_t)b); }
INLINE vi dw_zip_pairs_high(vb a, vb b) { return (vi)vzip2q_u16((uint16x8_t)a, (uint16x8_t)b); }
#endif

INLINE void dw_interleave(const vb *tap, vi *quad)
{
    const vb low01 = dw_zip_low(tap[0], tap[1]), high01 = dw_zip_high(tap[0], tap[1]);
    const vb low23 = dw_zip_low(tap[2], tap[3]), high23 = dw_zip_high(tap[2], tap[3]);
    quad[0] = dw_zip_pairs_low(low01, low23);
    quad[1] = dw_zip_pairs_high(low01, low23);
    quad[2] = dw_zip_pairs_low(high01, high23);
    quad[3] = dw_zip_pairs_high(high01, high23);
}

/* acc + products of the four unsigned bytes of x and signed bytes of w; on ARM x comes with its top bits flipped, which the
   bias makes good. */
#if HAVE_DOT && defined(__x86_64__)
INLINE vi dw_dot(vi acc, vi x, const vi *w)
{
    /* Weights come from memory: all registers are for sums and data. */
#if defined(__AVX512VL__)
    __asm__(DOT " %2, %1, %0" : "+v"(acc) : "v"(x), "m"(*w));
#else
    __asm__(DOT " %2, %1, %0" : "+x"(acc) : "x"(x), "m"(*w));
#endif
    return acc;
}
#elif HAVE_DOT
INLINE vi dw_dot(vi acc, vi x, const vi *w) { return (vi)vdotq_s32((int32x4_t)acc, (int8x16_t)x, (int8x16_t)*w); }
#else
INLINE vi dw_dot(vi acc, vi x, const vi *w) { return acc + (x & *w); /* not called */ }
#endif

/* The value is there now, in a register: what made it is neither delayed nor mixed with what follows, which would make the
   compiler keep all that it was made of. */
#if defined(__x86_64__) && defined(__AVX512VL__)
#define DW_DONE(v) __asm__ volatile("" : "+v"(v))
#elif defined(__x86_64__)
#define DW_DONE(v) __asm__ volatile("" : "+x"(v))
#else
#define DW_DONE(v) __asm__ volatile("" : "+w"(v))
#endif

/* The sums of the two products of 16-bit numbers in each lane. */
#if defined(__x86_64__)
INLINE vi dw_madd(vi a, vi b) { return (vi)X86(madd_epi16, (x86_register)a, (x86_register)b); }
#else
INLINE vi dw_madd(vi a, vi b)
{
    const int32x4_t low = vmull_s16(vget_low_s16((int16x8_t)a), vget_low_s16((int16x8_t)b));
    return (vi)vpaddq_s32(low, vmull_high_s16((int16x8_t)a, (int16x8_t)b));
}
#endif

/* Quads as the products read them.  With a dot product as they are; else as 16-bit numbers, taps (0, 2), then (1, 3). */
INLINE void dw_data(const vi *quad, vi *x, const int DOT_PRODUCT)
{
    UNROLL for (int k = 0; k < 4; k++) {
        if (DOT_PRODUCT) {
#if defined(__x86_64__)
            x[k] = quad[k];
#else
            x[k] = quad[k] ^ (int32_t)0x80808080;
#endif
        } else {
            x[2 * k] = quad[k] & 0x00ff00ff;
            x[2 * k + 1] = (vi)((vh)quad[k] >> 8);
        }
    }
}

/* PAIRS: which of the two pairs of taps there are, 1 for (0, 2), 2 for (1, 3). */
INLINE vi dw_multiply(vi acc, const vi *x, const vi *w, const int PAIRS, const int DOT_PRODUCT)
{
    if (DOT_PRODUCT)
        return dw_dot(acc, x[0], w);
    if (PAIRS & 1)
        acc = (vi)((vu)acc + (vu)dw_madd(x[0], w[0]));
    return PAIRS & 2 ? (vi)((vu)acc + (vu)dw_madd(x[1], w[1])) : acc;
}

/* n <= 8 bytes, as the low ones of a number. */
INLINE uint64_t dw_read(const uint8_t *p, int64_t n)
{
    uint64_t eight;
    uint32_t low, high;
    uint16_t first, last;
    if (n >= 8) {
        memcpy(&eight, p, 8);
        return eight;
    }
    if (n >= 4) {
        memcpy(&low, p, 4);
        memcpy(&high, p + n - 4, 4);
        return low | (uint64_t)high << 8 * (n - 4);
    }
    if (n >= 2) {
        memcpy(&first, p, 2);
        memcpy(&last, p + n - 2, 2);
        return first | (uint64_t)last << 8 * (n - 2);
    }
    return n > 0 ? *p : 0;
}

INLINE void dw_write(uint8_t *p, uint64_t bytes, int64_t n)
{
    const uint32_t low = (uint32_t)bytes, high = (uint32_t)(n >= 4 ? bytes >> 8 * (n - 4) : 0);
    if (n >= 8)
        memcpy(p, &bytes, 8);
    else if (n >= 4) {
        memcpy(p, &low, 4);
        memcpy(p + n - 4, &high, 4);
    } else
        for (int64_t i = 0; i < n; i++)
            p[i] = (uint8_t)(bytes >> 8 * i);
}

/* 16 bytes, or n < 16 and zeros. */
INLINE dw_piece dw_read_piece(const uint8_t *p, int64_t n)
{
    if (n >= 16)
        return *(const dw_piece_any *)p;
    return (dw_piece)(dw_pair){dw_read(p, n), dw_read(p + 8, n - 8)};
}

INLINE void dw_write_piece(uint8_t *p, dw_piece v, int64_t n)
{
    if (n >= 16)
        *(dw_piece_any *)p = v;
    else {
        dw_write(p, ((dw_pair)v)[0], n);
        dw_write(p + 8, ((dw_pair)v)[1], n - 8);
    }
}

/* `width` bytes (4 VL, 2 VL, ... 16) at each of the streams' addresses p[0], p[stride], p[2 stride] ... */
INLINE vb dw_load(const uint8_t *const *p, const int stride, int width)
{
    if (width == DW_BLOCK)
        return *(const vb_any *)p[0];
#if VL == 16
    if (width == 32)
        return (vb)_mm512_inserti64x4(_mm512_castsi256_si512((__m256i) * (const dw_half_any *)p[0]),
                                      (__m256i) * (const dw_half_any *)p[stride], 1);
    __m512i v = _mm512_castsi128_si512((__m128i)dw_read_piece(p[0], 16));
    v = _mm512_inserti32x4(v, (__m128i)dw_read_piece(p[stride], 16), 1);
    v = _mm512_inserti32x4(v, (__m128i)dw_read_piece(p[2 * stride], 16), 2);
    return (vb)_mm512_inserti32x4(v, (__m128i)dw_read_piece(p[3 * stride], 16), 3);
#elif VL == 8
    return (vb)_mm256_inserti128_si256(_mm256_castsi128_si256((__m128i)dw_read_piece(p[0], 16)),
                                       (__m128i)dw_read_piece(p[stride], 16), 1);
#else
    (void)stride;
    return *(const vb_any *)p[0];
#endif
}

/* The same where only n < 16 channels exist. */
static __attribute__((noinline)) vb dw_load_part(const uint8_t *const *p, int stride, int64_t n)
{
    dw_piece part[VL / 4];
    vb v;
    for (int s = 0; s < VL / 4; s++)
        part[s] = dw_read_piece(p[s * stride], n);
    memcpy(&v, part, sizeof v);
    return v;
}

/* Stream s to y + s stride, for the first `streams` > 0 of them. */
INLINE void dw_save(uint8_t *y, int64_t stride, vb v, int64_t streams, int width)
{
    if (width == DW_BLOCK)
        *(vb_any *)y = v;
#if VL == 16
    else if (width == 32) {
        *(dw_half_any *)y = (dw_half)_mm512_castsi512_si256((__m512i)v);
        if (streams > 1)
            *(dw_half_any *)(y + stride) = (dw_half)_mm512_extracti64x4_epi64((__m512i)v, 1);
    }
#endif
#if VL > 4
    else {
        dw_piece part[VL / 4];
        memcpy(part, &v, sizeof v);
        for (int64_t s = 0; s < streams; s++)
            *(dw_piece_any *)(y + s * stride) = part[s];
    }
#endif
    (void)streams, (void)stride;
}

static __attribute__((noinline)) void dw_save_part(uint8_t *y, int64_t stride, vb v, int64_t streams, int64_t n)
{
    dw_piece part[VL / 4];
    memcpy(part, &v, sizeof v);
    for (int64_t s = 0; s < streams; s++)
        dw_write_piece(y + s * stride, part[s], n);
}

/* `most`, or x where that is less; what NaN gives is rounded to the lowest int32. */
INLINE vf dw_at_most(vf most, vf x)
{
#if VL == 16
    return (vf)_mm512_min_ps((__m512)most, (__m512)x);
#elif VL == 8
    return (vf)_mm256_min_ps((__m256)most, (__m256)x);
#elif defined(__x86_64__)
    return (vf)_mm_min_ps((__m128)most, (__m128)x);
#else
    return (vf)vminnmq_f32(vmaxnmq_f32((float32x4_t)x, vdupq_n_f32(-2147483648.0f)), (float32x4_t)most);
#endif
}
