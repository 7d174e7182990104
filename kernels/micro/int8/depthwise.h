/* Depthwise convolution of uint8 by int8 in exact sums.

   Four taps of a channel are one 32-bit lane (depthwise_block.h), so that a dot product, or two products of pairs, takes
   them at once.  Two ways to choose the four:
   - 3x3 and 5x5: four rows of one column.  A column, interleaved once, serves every output pixel that its window reaches,
     and with stride 1 two output rows: the weights of the second are those of the first moved down by one row.
   - any other kernel: four taps in the order of the window;
   - fewer than 16 channels with stride 1: the same, with pixels that lie side by side as the channels of one.
   Rows and columns outside the picture are read from a block of zero points: no padded copy. */
#if VL == 1
#include "depthwise_scalar.h"
#else
#include "depthwise_block.h"

/* The compiler would gather addresses in vectors, only to take them out again one by one. */
#if !defined(__clang__)
#pragma GCC push_options
#pragma GCC optimize("no-tree-vectorize")
#endif

/* A block of channels, and what stays for all its pixels. */
typedef struct dw_block {
    const tn_q_depthwise *d;
    int64_t c, streams, part;            /* first channel; pixels in a vector; channels that exist if fewer than 16, else 16 */
    int width;                           /* channels of each pixel */
    int small, clamped;                  /* no product can leave int32; not all of 0..255 may be written */
    vi bias[4];
    vf multiplier[4], most;
    vs zero;
    vb low, high, outside;               /* outside: what is read beyond the picture */
} dw_block;

INLINE vb dw_read_block(const dw_block *b, const uint8_t *const *p, const int stride)
{
    return b->part == 16 ? dw_load(p, stride, b->width) : dw_load_part(p, stride, b->part);
}

/* Four numbers of `from` per 128-bit part in quad order, the same for every stream. */
static __attribute__((noinline)) void dw_spread(const dw_block *b, const void *from, void *to)
{
    for (int k = 0; k < 4; k++)
        for (int part = 0; part < VL / 4; part++) {
            const int channel = 16 * part % b->width + 4 * k;
            const int32_t *number = (const int32_t *)from + b->c + channel;
            int32_t four[4] = {0};
            if (b->part == 16)
                memcpy(four, number, 16);
            else
                for (int i = 0; i < 4 && channel + i < b->part; i++)
                    four[i] = number[i];
            memcpy((char *)to + 4 * VL * k + 16 * part, four, 16);
        }
}

/* Bias and multipliers of a block. */
static void dw_numbers(dw_block *b, const void *bias, const void *multiplier)
{
    vi large = {0};
    int32_t any[VL];
    dw_spread(b, bias, b->bias);
    dw_spread(b, multiplier, b->multiplier);
    UNROLL for (int k = 0; k < 4; k++)
        large |= ((vi)b->multiplier[k] & 0x7fffffff) >= 0x3f800000;      /* 1 and more, NaN */
    memcpy(any, &large, sizeof any);
    b->small = 1;
    for (int i = 0; i < VL; i++)
        b->small &= !any[i];
}

/* Weights of four taps (NULL: there is none, its weight is 0), as dw_multiply reads them. */
static __attribute__((noinline)) void dw_pack_weights(const dw_block *b, const int8_t *const *tap, const int DOT_PRODUCT, vi *w)
{
    vb rows[4];
    vi quad[4], zero[4] = {{0}};
    for (int i = 0; i < 4; i++) {
        const uint8_t *from = (const uint8_t *)(tap[i] ? tap[i] + b->c : b->d->w + b->c);
        const uint8_t *same[4] = {from, from, from, from};      /* for every stream */
        rows[i] = dw_read_block(b, same, 1);
        if (!tap[i])
            rows[i] ^= rows[i];
    }
    dw_interleave(rows, quad);
    if (DOT_PRODUCT) {
        memcpy(w, quad, sizeof quad);
        return;
    }
    if (b->d->w_zero)
        dw_spread(b, b->d->w_zero, zero);
    const vi even = vi_set1((tap[0] ? 0xffff : 0) | (tap[2] ? -0x10000 : 0));
    const vi odd = vi_set1((tap[1] ? 0xffff : 0) | (tap[3] ? -0x10000 : 0));
    for (int k = 0; k < 4; k++) {
        const vs both = (vs)((zero[k] & 0xffff) | (vi)((vu)zero[k] << 16));
        w[2 * k] = (vi)(((vs)((vh)quad[k] << 8) >> 8) - both) & even;
        w[2 * k + 1] = (vi)(((vs)quad[k] >> 8) - both) & odd;
    }
}

/* ARM's dot product reads x - 128: the bias gets 128 times the weights of `quads` quads, one every `step` vectors. */
INLINE void dw_correct_bias(dw_block *b, const vi *w, int64_t quads, int64_t step)
{
#if HAVE_DOT && !defined(__x86_64__)
    for (int64_t q = 0; q < quads; q++)
        for (int k = 0; k < 4; k++)
            b->bias[k] -= dw_dot((vi){0}, vi_set1((int32_t)0x80808080), w + q * step + k);
#endif
    (void)b, (void)w, (void)quads, (void)step;
}

/* Sums, or sums times multipliers, in 4 bytes each. */
static __attribute__((noinline)) void dw_finish_wide(const dw_block *b, const vi *acc, int64_t at, int64_t stride,
                                                     int64_t streams)
{
    const size_t n = (size_t)(b->part < 16 ? b->part : b->width);
    uint32_t all[DW_BLOCK];
    for (int k = 0; k < 4; k++) {
        const vf real = __builtin_convertvector(acc[k], vf) * b->multiplier[k];
        const vi v = b->d->result == TN_FLOAT32 ? (vi)real : acc[k];
        for (int part = 0; part < VL / 4; part++)
            memcpy(all + 16 * part + 4 * k, (const char *)&v + 16 * part, 16);
    }
    for (int64_t s = 0; s < streams; s++)
        memcpy(b->d->y + 4 * (at + s * stride), all + s * b->width, 4 * n);
}

/* The sums of a block as bytes. */
INLINE vb dw_narrow(const dw_block *b, const vi *acc)
{
    vf real[4];
    vi q[4];
    UNROLL for (int k = 0; k < 4; k++)
        real[k] = __builtin_convertvector(acc[k], vf) * b->multiplier[k];
    if (__builtin_expect(!b->small, 0))
        UNROLL for (int k = 0; k < 4; k++)
            real[k] = dw_at_most(b->most, real[k]);
    UNROLL for (int k = 0; k < 4; k++)
        q[k] = vf_to_nearest(real[k]);
    const vb bytes = vi_pack(q, b->zero);
    return b->clamped ? vb_min(vb_max(bytes, b->low), b->high) : bytes;
}

/* The sums of a block become outputs: stream s at element at + s stride of y, for the first `streams` > 0 of them. */
INLINE void dw_finish(const dw_block *b, const vi *acc, int64_t at, int64_t stride, int64_t streams)
{
    if (b->d->result != TN_UINT8) {
        vi kept[4];      /* acc itself stays in registers */
        memcpy(kept, acc, sizeof kept);
        dw_finish_wide(b, kept, at, stride, streams);
        return;
    }
    const vb bytes = dw_narrow(b, acc);
    if (b->part == 16)
        dw_save((uint8_t *)b->d->y + at, stride, bytes, streams, b->width);
    else
        dw_save_part((uint8_t *)b->d->y + at, stride, bytes, streams, b->part);
}

#include "depthwise_rows.h"
#include "depthwise_taps.h"

static void q_depthwise(const tn_q_depthwise *d)
{
    const int64_t s = d->stride_h;
    const int plain = d->dilation_h == 1 && d->dilation_w == 1 && d->stride_w == s && d->kh == d->kw && (s == 1 || s == 2);
    void (*walk)(dw_block *) = dw_any_pairs;
    if (!DW_DOT || !d->w_zero) {
#if HAVE_DOT
        walk = dw_any_dot;
#endif
        if (plain && d->kh == 3)
            walk = s == 1 ? dw_3x3_s1 : dw_3x3_s2;
        else if (plain && d->kh == 5)
            walk = s == 1 ? dw_5x5_s1 : dw_5x5_s2;
    }
    dw_block b = {.d = d, .part = d->channels < 16 ? d->channels : 16};
    b.most = vf_set1((float)(d->high - d->y_zero));
    b.clamped = d->low > 0 || d->high < 255;
    b.zero = (vs)vi_set1(d->y_zero * 0x10001);
    b.low = vb_set1((uint8_t)d->low);
    b.high = vb_set1((uint8_t)d->high);
    b.outside = vb_set1((uint8_t)d->x_zero);
    if (dw_is_flat(d)) {
        b.part = 16;
        b.streams = 1;
        b.width = DW_BLOCK;
        dw_flat(&b);
        return;
    }
    for (int64_t c = 0; c < d->channels; c += b.width) {
        /* The widest block that is full; the last 16 channels reach back into those that are done. */
        const int64_t left = d->channels - c;
        b.width = DW_BLOCK;
        while (b.width > 16 && b.width > left)
            b.width /= 2;
        b.c = left < 16 && c ? d->channels - 16 : c;
        b.streams = DW_BLOCK / b.width;
        dw_numbers(&b, d->bias, d->multiplier);
        walk(&b);
    }
}

#if !defined(__clang__)
#pragma GCC pop_options
#endif
#endif
