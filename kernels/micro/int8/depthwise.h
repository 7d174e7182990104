/* Depthwise convolution of uint8 by int8 in exact sums.

   Four taps of a channel are one 32-bit lane (depthwise_block.h), so that a dot product, or two products of pairs, takes
   them at once.  Two ways to choose the four:
   - 3x3 and 5x5: four rows of one column.  A column, interleaved once, serves every output pixel that its window reaches,
     and with stride 1 two output rows: the weights of the second are those of the first moved down by one row.
   - any other kernel: four taps in the order of the window.
   Rows and columns outside the picture are read from a block of zero points: no padded copy. */
#if VL == 1

static void q_depthwise(const tn_q_depthwise *d)
{
    enum { CHANNELS = 16 };
    for (int64_t oy = d->oy0; oy < d->oy1; oy++)
        for (int64_t ox = 0; ox < d->ow; ox++)
            for (int64_t c = 0; c < d->channels; c += CHANNELS) {
                const int64_t n = d->channels - c < CHANNELS ? d->channels - c : CHANNELS, at = oy * d->y_row + ox * d->ldy + c;
                uint32_t acc[CHANNELS];
                int32_t zero[CHANNELS] = {0};
                for (int64_t i = 0; i < n; i++) {
                    acc[i] = (uint32_t)d->bias[c + i];
                    zero[i] = d->w_zero ? d->w_zero[c + i] : 0;
                }
                for (int64_t ky = 0; ky < d->kh; ky++)
                    for (int64_t kx = 0; kx < d->kw; kx++) {
                        const int64_t iy = oy * d->stride_h - d->pad_top + ky * d->dilation_h;
                        const int64_t ix = ox * d->stride_w - d->pad_left + kx * d->dilation_w;
                        const int inside = iy >= 0 && iy < d->height && ix >= 0 && ix < d->width;
                        const uint8_t *x = d->x + (inside ? iy * d->x_row + ix * d->ldx + c : 0);
                        const int8_t *w = d->w + (ky * d->kw + kx) * d->channels + c;
                        for (int64_t i = 0; i < n; i++)
                            acc[i] += (uint32_t)((inside ? x[i] : d->x_zero) * (w[i] - zero[i]));
                    }
                for (int64_t i = 0; i < n; i++) {
                    const float least = (float)(d->low - d->y_zero), most = (float)(d->high - d->y_zero);
                    const float real = (float)(int32_t)acc[i] * d->multiplier[c + i];
                    if (d->result == TN_Q_INT32)
                        ((int32_t *)d->y)[at + i] = (int32_t)acc[i];
                    else if (d->result == TN_Q_FLOAT32)
                        ((float *)d->y)[at + i] = real;
                    else
                        ((uint8_t *)d->y)[at + i] = (uint8_t)(lrintf(real > least ? real < most ? real : most : least) + d->y_zero);
                }
            }
}

#else
#include "depthwise_block.h"

/* A block of channels, and what stays for all its pixels. */
typedef struct dw_block {
    const tn_q_depthwise *d;
    int64_t c, streams, part;            /* first channel; pixels in a vector; channels that exist if fewer than 16, else 16 */
    int width;                           /* channels of each pixel */
    vi bias[4];
    vf multiplier[4];
    uint8_t outside[DW_BLOCK];
} dw_block;

/* Four numbers of `from` per 128-bit part in quad order, the same for every stream. */
INLINE void dw_spread(const dw_block *b, const void *from, void *to)
{
    for (int64_t k = 0; k < 4; k++)
        for (int64_t part = 0; part < VL / 4; part++) {
            const int64_t channel = 16 * part % b->width + 4 * k, n = b->part - channel;
            char *place = (char *)to + 4 * VL * k + 16 * part;
            memset(place, 0, 16);
            memcpy(place, (const char *)from + 4 * (b->c + channel), b->part == 16 || n >= 4 ? 16 : n > 0 ? 4 * (size_t)n : 0);
        }
}

/* Weights of four taps (NULL: there is none, its weight is 0), as dw_multiply reads them. */
static __attribute__((noinline)) void dw_pack_weights(const dw_block *b, const int8_t *const *tap, const int DOT_PRODUCT, vi *w)
{
    vb rows[4];
    vi quad[4], zero[4] = {{0}};
    for (int i = 0; i < 4; i++) {
        const uint8_t *from = (const uint8_t *)(tap[i] ? tap[i] + b->c : b->d->w + b->c);
        const uint8_t *same[4] = {from, from, from, from};      /* every stream */
        rows[i] = dw_load(same, b->width, b->part);
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
static __attribute__((noinline)) void dw_finish_wide(const dw_block *b, const vi *acc, const int64_t *at, int64_t streams)
{
    const size_t n = (size_t)(b->part < 16 ? b->part : b->width);
    uint32_t all[DW_BLOCK];
    for (int k = 0; k < 4; k++) {
        const vf real = __builtin_convertvector(acc[k], vf) * b->multiplier[k];
        for (int part = 0; part < VL / 4; part++)
            memcpy(all + 16 * part + 4 * k, (b->d->result == TN_Q_FLOAT32 ? (const char *)&real : (const char *)&acc[k]) + 16 * part, 16);
    }
    for (int64_t s = 0; s < streams; s++)
        memcpy(b->d->y + 4 * at[s], all + s * b->width, 4 * n);
}

/* The sums of a block become outputs: stream s at y + at[s], for the first `streams` of them.  FULL: one, a whole block. */
INLINE void dw_finish(const dw_block *b, const vi *acc, const int64_t *at, int64_t streams, const int FULL)
{
    const tn_q_depthwise *d = b->d;
    if (d->result != TN_Q_UINT8) {
        vi kept[4];
        memcpy(kept, acc, sizeof kept);
        dw_finish_wide(b, kept, at, streams);
        return;
    }
    const vf most = vf_set1((float)(d->high - d->y_zero));
    vi q[4];
    UNROLL for (int k = 0; k < 4; k++)
        q[k] = dw_round(dw_at_most(most, __builtin_convertvector(acc[k], vf) * b->multiplier[k]));
    const vb bytes = dw_pack(q, (vs)vi_set1(d->y_zero * 0x10001), (vb)vi_set1(d->low * 0x1010101));
    if (FULL) {
        if (streams)
            *(vb_any *)(d->y + at[0]) = bytes;
    } else
        dw_save((uint8_t *)d->y, at, bytes, streams, b->width, b->part);
}

/* Output rows [oy, oy + R streams), as many of them as exist, K x K with stride S. */
INLINE void dw_rows(const dw_block *b, int64_t oy, const vi *w, const int K, const int S, const int R, const int FULL)
{
    enum { MOST_VECTORS = DW_DOT ? 8 : 16, MOST_COLUMNS = 16, MOST_ROWS = 12 };
    const int ROWS = (R - 1) * S + K, QUADS = (ROWS + 3) / 4, STEP = DW_DOT ? 4 : 8, COLUMN = QUADS * STEP;
    const tn_q_depthwise *d = b->d;
    const int MOST = FULL ? 1 : DW_STREAMS;
    const int64_t streams = FULL ? 1 : b->streams, ldx = d->ldx, width = d->width;
    const uint8_t *row[MOST_ROWS];
    int64_t step[MOST_ROWS], at[2][DW_STREAMS], count[2];
    vi columns[MOST_COLUMNS * MOST_VECTORS];
    for (int64_t i = 0; i < (R * MOST - 1) * S + K; i++) {
        const int64_t iy = oy * S - d->pad_top + i;
        const int inside = iy >= 0 && iy < d->height;
        row[i] = inside ? d->x + iy * d->x_row + b->c : b->outside;
        step[i] = inside ? ldx : 0;
    }
    for (int a = 0; a < R; a++) {
        const int64_t left = d->oy1 - oy - a;
        count[a] = left <= 0 ? 0 : (left + R - 1) / R < streams ? (left + R - 1) / R : streams;
        for (int s = 0; s < MOST; s++)
            at[a][s] = (oy + s * R + a) * d->y_row + b->c;
    }
    /* The window's columns lie in columns[first ...]; `next` is the input column to be read. */
    int64_t first = 0, next = -d->pad_left;
    vi *to = columns;
    for (int64_t ox = 0; ox < d->ow; ox++) {
        if (first + K > MOST_COLUMNS) {
            memcpy(columns, columns + first * COLUMN, sizeof(vi) * (size_t)((K - S) * COLUMN));
            to = columns + (K - S) * COLUMN;
            first = 0;
        }
        for (int64_t last = ox * S - d->pad_left + K; next < last; next++, to += COLUMN) {
            const int inside = next >= 0 && next < width;
            UNROLL for (int g = 0; g < QUADS; g++)
            {
                const uint8_t *from[4][DW_STREAMS];
                vb tap[4];
                vi quad[4];
                UNROLL for (int i = 0; i < 4; i++)
                    UNROLL for (int s = 0; s < MOST; s++)
                    {
                        const int r = s * R * S + (4 * g + i < ROWS ? 4 * g + i : 4 * g);
                        from[i][s] = inside ? row[r] + next * step[r] : b->outside;
                    }
                if (FULL)
                    UNROLL for (int i = 0; i < 4; i++)
                        tap[i] = *(const vb_any *)from[i][0];
                else
                    dw_load_four((const uint8_t *const (*)[DW_STREAMS])from, b->width, b->part, tap);
                dw_interleave(tap, quad);
                dw_data(quad, to + g * STEP, DW_DOT);
            }
        }
        const vi *x = columns + first * COLUMN;
        vi acc[2][4];
        UNROLL for (int k = 0; k < 4; k++)
        {
            UNROLL for (int a = 0; a < R; a++)
                acc[a][k] = b->bias[k];
            UNROLL for (int i = 0; i < K * QUADS; i++)
                UNROLL for (int a = 0; a < R; a++)
                    acc[a][k] = dw_multiply(acc[a][k], x + i * STEP, w + (i * R + a) * STEP, k, DW_DOT);
        }
        UNROLL for (int a = 0; a < R; a++)
        {
            dw_finish(b, acc[a], at[a], count[a], FULL);
            UNROLL for (int s = 0; s < MOST; s++)
                at[a][s] += d->ldy;
        }
        first += S;
    }
}

INLINE void dw_walk(dw_block *b, const int K, const int S, const int R)
{
    enum { MOST_WEIGHTS = 5 * 2 * 2 * (DW_DOT ? 4 : 8) };
    const int ROWS = (R - 1) * S + K, QUADS = (ROWS + 3) / 4, STEP = DW_DOT ? 4 : 8;
    const tn_q_depthwise *d = b->d;
    vi w[MOST_WEIGHTS];
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
        if (b->width == DW_BLOCK && b->part == 16)
            dw_rows(b, oy, w, K, S, R, 1);
        else
            dw_rows(b, oy, w, K, S, R, 0);
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
            own[t] = (int64_t)(inside ? place + (uintptr_t)offset[t] : (uintptr_t)b->outside);
        }
    *base = 0;
    *table = own;
}

INLINE void dw_pixels(const dw_block *b, int64_t quads, const vi *w, const int64_t *offset, int64_t *own, const int DOT_PRODUCT,
                      const int FULL)
{
    const tn_q_depthwise *d = b->d;
    const int MOST = FULL ? 1 : DW_STREAMS;
    const int64_t streams = FULL ? 1 : b->streams;
    for (int64_t oy = d->oy0; oy < d->oy1; oy++)
        for (int64_t ox = 0; ox < d->ow; ox += streams) {
            const int64_t count = d->ow - ox < streams ? d->ow - ox : streams;
            uintptr_t base[DW_STREAMS];
            const int64_t *table[DW_STREAMS];
            int64_t at[DW_STREAMS];
            vi acc[4];
            dw_locate(b, oy, ox, offset, own, &base[0], &table[0]);
            at[0] = oy * d->y_row + ox * d->ldy + b->c;
            for (int s = 1; s < MOST; s++) {
                at[s] = at[s - 1] + d->ldy;
                base[s] = base[0];
                table[s] = table[0];
                if (s < count)
                    dw_locate(b, oy, ox + s, offset, own + s * 4 * quads, &base[s], &table[s]);
            }
            memcpy(acc, b->bias, sizeof acc);
            for (int64_t q = 0; q < quads; q++) {
                const uint8_t *from[4][DW_STREAMS];
                vb tap[4];
                vi quad[4], x[8];
                UNROLL for (int i = 0; i < 4; i++)
                    UNROLL for (int s = 0; s < MOST; s++)
                        from[i][s] = (const uint8_t *)(base[s] + (uintptr_t)table[s][4 * q + i]);
                if (FULL)
                    UNROLL for (int i = 0; i < 4; i++)
                        tap[i] = *(const vb_any *)from[i][0];
                else
                    dw_load_four((const uint8_t *const (*)[DW_STREAMS])from, b->width, b->part, tap);
                dw_interleave(tap, quad);
                dw_data(quad, x, DOT_PRODUCT);
                UNROLL for (int k = 0; k < 4; k++)
                    acc[k] = dw_multiply(acc[k], x, w + q * (DOT_PRODUCT ? 4 : 8), k, DOT_PRODUCT);
            }
            dw_finish(b, acc, at, count, FULL);
        }
}

/* Any kernel, stride and dilation: pixel by pixel, four taps at a time.  The last taps, which do not exist, read the first. */
INLINE void dw_any(dw_block *b, const int DOT_PRODUCT)
{
    const tn_q_depthwise *d = b->d;
    const int64_t taps = d->kh * d->kw, quads = (taps + 3) / 4, step = DOT_PRODUCT ? 4 : 8;
    vi *w = (vi *)d->scratch;
    int64_t *offset = (int64_t *)(w + quads * step), *own = offset + 4 * quads;
    for (int64_t t = 0; t < 4 * quads; t++)
        offset[t] = t < taps ? t / d->kw * d->dilation_h * d->x_row + t % d->kw * d->dilation_w * d->ldx : 0;
    for (int64_t t = 0; t < 16 * quads; t++)
        own[t] = (int64_t)(uintptr_t)b->outside;
    for (int64_t q = 0; q < quads; q++) {
        const int8_t *tap[4];
        for (int64_t i = 0; i < 4; i++)
            tap[i] = 4 * q + i < taps ? d->w + (4 * q + i) * d->channels : NULL;
        dw_pack_weights(b, tap, DOT_PRODUCT, w + q * step);
    }
    if (DOT_PRODUCT)
        dw_correct_bias(b, w, quads, step);
    if (b->width == DW_BLOCK && b->part == 16)
        dw_pixels(b, quads, w, offset, own, DOT_PRODUCT, 1);
    else
        dw_pixels(b, quads, w, offset, own, DOT_PRODUCT, 0);
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
    dw_block b = {.d = d};
    memset(b.outside, d->x_zero, sizeof b.outside);
    for (int64_t c = 0; c < d->channels; c += b.width) {
        /* The widest block that is full; the last 16 channels reach back into those that are done. */
        const int64_t left = d->channels - c;
        b.width = DW_BLOCK;
        while (b.width > 16 && b.width > left)
            b.width /= 2;
        b.c = left < 16 && c ? d->channels - 16 : c;
        b.part = d->channels < 16 ? d->channels : 16;
        b.streams = DW_BLOCK / b.width;
        dw_spread(&b, d->bias, b.bias);
        dw_spread(&b, d->multiplier, b.multiplier);
        walk(&b);
    }
}
#endif
