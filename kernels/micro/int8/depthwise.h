/* Depthwise convolution of uint8 by int8 in exact sums.

   Four taps of a channel are one 32-bit lane (depthwise_block.h), so that a dot product, or two products of pairs, takes
   them at once.  Two ways to choose the four:
   - 3x3 and 5x5: four rows of one column.  A column, interleaved once, serves every output pixel that its window reaches,
     and with stride 1 two output rows: the weights of the second are those of the first moved down by one row.
   - any other kernel: four taps in the order of the window.
   Rows and columns outside the picture are read from a block of zero points: no padded copy. */
#if VL == 1

enum { DW_CHANNELS = 16 };

/* acc += x (w - zero); all 16, or n of them. */
INLINE void dw_tap(uint32_t *acc, const uint8_t *x, const int8_t *w, const int32_t *zero, int64_t n)
{
    if (n == DW_CHANNELS)
        for (int i = 0; i < DW_CHANNELS; i++)
            acc[i] += (uint32_t)(x[i] * (w[i] - zero[i]));
    else
        for (int64_t i = 0; i < n; i++)
            acc[i] += (uint32_t)(x[i] * (w[i] - zero[i]));
}

static void dw_pixel(const tn_q_depthwise *d, int64_t oy, int64_t ox, int64_t c, int64_t n, const int32_t *zero)
{
    const int64_t iy = oy * d->stride_h - d->pad_top, ix = ox * d->stride_w - d->pad_left, at = oy * d->y_row + ox * d->ldy + c;
    const float least = (float)(d->low - d->y_zero), most = (float)(d->high - d->y_zero);
    uint32_t acc[DW_CHANNELS];
    uint8_t outside[DW_CHANNELS];
    memset(outside, d->x_zero, sizeof outside);
    memcpy(acc, d->bias + c, 4 * (size_t)n);
    for (int64_t ky = 0; ky < d->kh; ky++)
        for (int64_t kx = 0; kx < d->kw; kx++) {
            const int64_t y = iy + ky * d->dilation_h, x = ix + kx * d->dilation_w;
            const int inside = y >= 0 && y < d->height && x >= 0 && x < d->width;
            const uint8_t *from = inside ? d->x + y * d->x_row + x * d->ldx + c : outside;
            dw_tap(acc, from, d->w + (ky * d->kw + kx) * d->channels + c, zero, n);
        }
    for (int64_t i = 0; i < n; i++) {
        const float real = (float)(int32_t)acc[i] * d->multiplier[c + i];
        const float clamped = real > least ? real < most ? real : most : least;
        if (d->result == TN_UINT8)
            ((uint8_t *)d->y)[at + i] = (uint8_t)(lrintf(clamped) + d->y_zero);
        else
            memcpy(d->y + 4 * (at + i), d->result == TN_INT32 ? (const void *)&acc[i] : (const void *)&real, 4);
    }
}

static void q_depthwise(const tn_q_depthwise *d)
{
    for (int64_t c = 0; c < d->channels; c += DW_CHANNELS) {
        const int64_t n = d->channels - c < DW_CHANNELS ? d->channels - c : DW_CHANNELS;
        int32_t zero[DW_CHANNELS] = {0};
        if (d->w_zero)
            memcpy(zero, d->w_zero + c, 4 * (size_t)n);
        for (int64_t oy = d->oy0; oy < d->oy1; oy++)
            for (int64_t ox = 0; ox < d->ow; ox++)
                dw_pixel(d, oy, ox, c, n, zero);
    }
}

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
    vi bias[4];
    vf multiplier[4], most;
    vs zero;
    vb low, outside;                     /* outside: what is read beyond the picture */
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

/* The sums of a block become outputs: stream s at element at + s stride of y, for the first `streams` > 0 of them. */
INLINE void dw_finish(const dw_block *b, const vi *acc, int64_t at, int64_t stride, int64_t streams)
{
    if (b->d->result != TN_UINT8) {
        vi kept[4];      /* acc itself stays in registers */
        memcpy(kept, acc, sizeof kept);
        dw_finish_wide(b, kept, at, stride, streams);
        return;
    }
    vi q[4];
    UNROLL for (int k = 0; k < 4; k++)
        q[k] = vf_to_nearest(dw_at_most(b->most, __builtin_convertvector(acc[k], vf) * b->multiplier[k]));
    const vb bytes = dw_pack(q, b->zero, b->low);
    if (b->part == 16)
        dw_save((uint8_t *)b->d->y + at, stride, bytes, streams, b->width);
    else
        dw_save_part((uint8_t *)b->d->y + at, stride, bytes, streams, b->part);
}

/* Input rows of which an output row, or several, are made. */
typedef struct dw_input {
    const uint8_t *row[16];      /* column 0, or a block of zero points; row r of stream s is row[s apart + r] */
    int64_t inside[16];          /* all bits for a row of the picture, 0 for the block */
    int64_t width, apart, used;  /* columns of the picture, rows from one stream to the next, rows of a window */
} dw_input;

/* Quads of input rows r .. r+3, columns [first, last) (outside the picture too), `column` vectors from one to the next. */
static __attribute__((noinline)) void dw_fill(const dw_block *b, const dw_input *in, int64_t r, int64_t first, int64_t last,
                                              vi *to, int64_t column)
{
    enum { STEP = DW_DOT ? 4 : 8 };
    const uint8_t *p[4][DW_STREAMS];
    int64_t mask[4][DW_STREAMS];
    vb tap[4] = {b->outside, b->outside, b->outside, b->outside};
    vi quad[4], outside[STEP];
    dw_interleave(tap, quad);
    dw_data(quad, outside, DW_DOT);
    for (; first < last && first < 0; first++, to += column)
        memcpy(to, outside, sizeof outside);
    for (int i = 0; i < 4; i++)
        for (int64_t s = 0; s < b->streams; s++) {
            const int64_t from = s * in->apart + (r + i < in->used ? r + i : r);
            mask[i][s] = in->inside[from];
            p[i][s] = in->row[from] + (first * b->d->ldx & mask[i][s]);
        }
    const int64_t end = last < in->width ? last : in->width;
    if (b->width == DW_BLOCK && b->part == 16) {
        const uint8_t *p0 = p[0][0], *p1 = p[1][0], *p2 = p[2][0], *p3 = p[3][0];
        const int64_t ldx = b->d->ldx;
        const int64_t s0 = ldx & mask[0][0], s1 = ldx & mask[1][0], s2 = ldx & mask[2][0], s3 = ldx & mask[3][0];
        for (; first < end; first++, to += column, p0 += s0, p1 += s1, p2 += s2, p3 += s3) {
            const vb four[4] = {*(const vb_any *)p0, *(const vb_any *)p1, *(const vb_any *)p2, *(const vb_any *)p3};
            dw_interleave(four, quad);
            dw_data(quad, to, DW_DOT);
        }
    } else
        for (int64_t at = 0; first < end; first++, to += column, at += b->d->ldx) {
            const uint8_t *from[4][DW_STREAMS];
            for (int64_t s = 0; s < b->streams; s++)
                UNROLL for (int i = 0; i < 4; i++)
                    from[i][s] = p[i][s] + (at & mask[i][s]);
            UNROLL for (int i = 0; i < 4; i++)
                tap[i] = dw_read_block(b, from[i], 1);
            dw_interleave(tap, quad);
            dw_data(quad, to, DW_DOT);
        }
    for (; first < last; first++, to += column)
        memcpy(to, outside, sizeof outside);
}

/* n output columns of R rows from the quads of their input; row a of stream s at element y[a] + s stride, as far as stream
   s < count[a]. */
INLINE void dw_sums(const dw_block *b, const vi *x, const vi *w, int64_t n, int64_t *y, int64_t stride, const int64_t *count,
                    const int K, const int S, const int R)
{
    const int QUADS = ((R - 1) * S + K + 3) / 4, STEP = DW_DOT ? 4 : 8;
    const int64_t ldy = b->d->ldy;
    for (int64_t i = 0; i < n; i++, x += S * QUADS * STEP) {
        vi acc[2][4];
        __asm__("" : "+r"(x));      /* one base address, not one for every vector */
        UNROLL for (int k = 0; k < 4; k++)
        {
            UNROLL for (int a = 0; a < R; a++)
                acc[a][k] = b->bias[k];
            UNROLL for (int j = 0; j < K * QUADS; j++)
                UNROLL for (int a = 0; a < R; a++)
                {
                    const int ky = 4 * (j % QUADS) - a * S, from = (DW_DOT ? 1 : 2) * k;
                    const int PAIRS = (ky + 2 >= 0 && ky < K ? 1 : 0) | (ky + 3 >= 0 && ky + 1 < K ? 2 : 0);
                    acc[a][k] = dw_multiply(acc[a][k], x + j * STEP + from, w + (j * R + a) * STEP + from, PAIRS, DW_DOT);
                }
            UNROLL for (int a = 0; a < R; a++)
                DW_DONE(acc[a][k]);
        }
        UNROLL for (int a = 0; a < R; a++)
            if (count[a]) {
                dw_finish(b, acc[a], y[a], stride, count[a]);
                y[a] += ldy;
            }
    }
}

/* Output rows [oy, oy + R streams), as many of them as exist, K x K with stride S: in tiles of columns. */
INLINE void dw_rows(const dw_block *b, int64_t oy, const vi *w, const int K, const int S, const int R)
{
    enum { TILE = 14 };
    const int QUADS = ((R - 1) * S + K + 3) / 4, STEP = DW_DOT ? 4 : 8, COLUMN = QUADS * STEP, KEPT = K - S;
    const tn_q_depthwise *d = b->d;
    const int64_t stride = R * d->y_row;
    dw_input in = {.width = d->width, .apart = R * S, .used = (R - 1) * S + K};
    int64_t y[2], count[2];
    vi columns[(TILE * 2 + 3) * 2 * (DW_DOT ? 4 : 8)];
    for (int64_t i = 0; i < (R * b->streams - 1) * S + K; i++) {
        const int64_t iy = oy * S - d->pad_top + i;
        const int inside = iy >= 0 && iy < d->height;
        in.row[i] = inside ? d->x + iy * d->x_row + b->c : (const uint8_t *)&b->outside;
        in.inside[i] = -(int64_t)inside;
    }
    for (int a = 0; a < R; a++) {
        const int64_t left = (d->oy1 - oy - a + R - 1) / R;
        count[a] = d->oy1 <= oy + a ? 0 : left < b->streams ? left : b->streams;
        y[a] = (oy + a) * d->y_row + b->c;
    }
    int64_t next = -d->pad_left;
    for (int64_t ox = 0; ox < d->ow; ox += TILE) {
        const int64_t n = d->ow - ox < TILE ? d->ow - ox : TILE, last = (ox + n - 1) * S - d->pad_left + K;
        const int64_t kept = ox ? KEPT : 0;
        if (kept)
            memcpy(columns, columns + TILE * S * COLUMN, sizeof(vi) * (size_t)(KEPT * COLUMN));
        for (int g = 0; g < QUADS; g++)
            dw_fill(b, &in, 4 * g, next, last, columns + kept * COLUMN + g * STEP, COLUMN);
        next = last;
        dw_sums(b, columns, w, n, y, stride, count, K, S, R);
    }
}

INLINE void dw_walk(dw_block *b, const int K, const int S, const int R)
{
    const int QUADS = ((R - 1) * S + K + 3) / 4, STEP = DW_DOT ? 4 : 8;
    const tn_q_depthwise *d = b->d;
    vi w[5 * 2 * 2 * (DW_DOT ? 4 : 8)];
    for (int i = 0; i < K * QUADS; i++)
        for (int a = 0; a < R; a++) {
            const int8_t *tap[4];
            for (int j = 0; j < 4; j++) {
                const int ky = 4 * (i % QUADS) + j - a * S;
                tap[j] = ky >= 0 && ky < K ? d->w + (ky * K + i / QUADS) * d->channels : NULL;
            }
            dw_pack_weights(b, tap, DW_DOT, w + (i * R + a) * STEP);
        }
    dw_correct_bias(b, w, K * QUADS, R * STEP);
    for (int64_t oy = d->oy0; oy < d->oy1; oy += R * b->streams)
        dw_rows(b, oy, w, K, S, R);
}

static __attribute__((noinline)) void dw_3x3_s1(dw_block *b) { dw_walk(b, 3, 1, 2); }
static __attribute__((noinline)) void dw_3x3_s2(dw_block *b) { dw_walk(b, 3, 2, 1); }
static __attribute__((noinline)) void dw_5x5_s1(dw_block *b) { dw_walk(b, 5, 1, 2); }
static __attribute__((noinline)) void dw_5x5_s2(dw_block *b) { dw_walk(b, 5, 2, 1); }

/* Where the taps of output pixel (oy, ox) lie: *base + table[tap]. */
INLINE void dw_locate(const dw_block *b, int64_t oy, int64_t ox, const int64_t *offset, int64_t *own, uintptr_t *base,
                      const int64_t **table)
{
    const tn_q_depthwise *d = b->d;
    const int64_t iy = oy * d->stride_h - d->pad_top, ix = ox * d->stride_w - d->pad_left;
    const uintptr_t place = (uintptr_t)d->x + (uintptr_t)(iy * d->x_row + ix * d->ldx + b->c);
    if (iy >= 0 && ix >= 0 && iy + (d->kh - 1) * d->dilation_h < d->height && ix + (d->kw - 1) * d->dilation_w < d->width) {
        *base = place;
        *table = offset;
        return;
    }
    for (int64_t ky = 0, t = 0; ky < d->kh; ky++)
        for (int64_t kx = 0; kx < d->kw; kx++, t++) {
            const int64_t y = iy + ky * d->dilation_h, x = ix + kx * d->dilation_w;
            const int inside = y >= 0 && y < d->height && x >= 0 && x < d->width;
            own[t] = (int64_t)(inside ? place + (uintptr_t)offset[t] : (uintptr_t)&b->outside);
        }
    *base = 0;
    *table = own;
}

/* Any kernel, stride and dilation: pixel by pixel, four taps at a time.  The last taps, which do not exist, read the first. */
INLINE void dw_any(dw_block *b, const int DOT_PRODUCT)
{
    const tn_q_depthwise *d = b->d;
    const int64_t taps = d->kh * d->kw, quads = (taps + 3) / 4, streams = b->streams, step = DOT_PRODUCT ? 4 : 8;
    vi *w = (vi *)d->scratch;
    int64_t *offset = (int64_t *)(w + quads * step), *own = offset + 4 * quads;
    for (int64_t t = 0; t < 4 * quads; t++)
        offset[t] = t < taps ? t / d->kw * d->dilation_h * d->x_row + t % d->kw * d->dilation_w * d->ldx : 0;
    for (int64_t t = 0; t < 4 * quads * streams; t++)
        own[t] = (int64_t)(uintptr_t)&b->outside;
    for (int64_t q = 0; q < quads; q++) {
        const int8_t *tap[4];
        for (int64_t i = 0; i < 4; i++)
            tap[i] = 4 * q + i < taps ? d->w + (4 * q + i) * d->channels : NULL;
        dw_pack_weights(b, tap, DOT_PRODUCT, w + q * step);
    }
    if (DOT_PRODUCT)
        dw_correct_bias(b, w, quads, step);
    for (int64_t oy = d->oy0; oy < d->oy1; oy++)
        for (int64_t ox = 0; ox < d->ow; ox += streams) {
            const int64_t count = d->ow - ox < streams ? d->ow - ox : streams;
            uintptr_t base[DW_STREAMS];
            const int64_t *table[DW_STREAMS];
            vi acc[4];
            dw_locate(b, oy, ox, offset, own, &base[0], &table[0]);
            for (int s = 1; s < DW_STREAMS && s < streams; s++)
                dw_locate(b, oy, s < count ? ox + s : ox, offset, own + s * 4 * quads, &base[s], &table[s]);
            UNROLL for (int k = 0; k < 4; k++)
                acc[k] = b->bias[k];
            for (int64_t q = 0; q < quads; q++) {
                const uint8_t *from[4][DW_STREAMS];
                vb tap[4];
                vi quad[4], x[8];
                UNROLL for (int i = 0; i < 4; i++)
                    from[i][0] = (const uint8_t *)(base[0] + (uintptr_t)table[0][4 * q + i]);
                for (int s = 1; s < DW_STREAMS && s < streams; s++)
                    UNROLL for (int i = 0; i < 4; i++)
                        from[i][s] = (const uint8_t *)(base[s] + (uintptr_t)table[s][4 * q + i]);
                UNROLL for (int i = 0; i < 4; i++)
                    tap[i] = dw_read_block(b, from[i], 1);
                dw_interleave(tap, quad);
                dw_data(quad, x, DOT_PRODUCT);
                UNROLL for (int k = 0; k < 4; k++)
                    acc[k] = dw_multiply(acc[k], x + k * (step / 4), w + q * step + k * (step / 4), 3, DOT_PRODUCT);
            }
            dw_finish(b, acc, oy * d->y_row + ox * d->ldy + b->c, d->ldy, count);
        }
}

static __attribute__((noinline)) void dw_any_pairs(dw_block *b) { dw_any(b, 0); }
#if HAVE_DOT
static __attribute__((noinline)) void dw_any_dot(dw_block *b) { dw_any(b, 1); }
#endif

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
    b.zero = (vs)vi_set1(d->y_zero * 0x10001);
    memset(&b.low, d->low, sizeof b.low);
    memset(&b.outside, d->x_zero, sizeof b.outside);
    for (int64_t c = 0; c < d->channels; c += b.width) {
        /* The widest block that is full; the last 16 channels reach back into those that are done. */
        const int64_t left = d->channels - c;
        b.width = DW_BLOCK;
        while (b.width > 16 && b.width > left)
            b.width /= 2;
        b.c = left < 16 && c ? d->channels - 16 : c;
        b.streams = DW_BLOCK / b.width;
        dw_spread(&b, d->bias, b.bias);
        dw_spread(&b, d->multiplier, b.multiplier);
        walk(&b);
    }
}
#if !defined(__clang__)
#pragma GCC pop_options
#endif
#endif
