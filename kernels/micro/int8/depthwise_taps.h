/* Any kernel, four taps at a time in the order of the window: see depthwise.h. */

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

/* Few channels, without gaps between pixels: with stride 1 along the row, as many pixels as a block has room for are what
   one pixel of that many channels would be. */
INLINE int dw_is_flat(const tn_q_depthwise *d)
{
    return d->channels < 16 && 2 * d->channels <= DW_BLOCK && d->stride_w == 1 && d->ldx == d->channels &&
           d->ldy == d->channels && !d->w_zero && d->result == TN_UINT8;
}

/* Where the taps of byte 0 of an output row lie, and whether they move with it (all bits) or are outside of the picture. */
typedef struct dw_taps {
    const uint8_t **from;
    int64_t *moves;
} dw_taps;

static void dw_flat_taps(const dw_block *b, int64_t oy, int64_t quads, dw_taps *taps)
{
    const tn_q_depthwise *d = b->d;
    for (int64_t t = 0, ky = 0, kx = 0; t < 4 * quads; t++) {
        const int64_t iy = oy * d->stride_h - d->pad_top + ky * d->dilation_h;
        const int inside = ky < d->kh && iy >= 0 && iy < d->height;
        const int64_t at = iy * d->x_row + (kx * d->dilation_w - d->pad_left) * d->channels;
        taps->from[t] = inside ? (const uint8_t *)((uintptr_t)d->x + (uintptr_t)at) : (const uint8_t *)&b->outside;
        taps->moves[t] = -(int64_t)inside;
        kx = kx + 1 < d->kw ? kx + 1 : 0;
        ky += kx == 0;
    }
}

/* The taps of byte `at` where some of them lie before or behind their row: copies of what there is. */
static __attribute__((noinline)) void dw_flat_edge(const dw_block *b, int64_t at, int64_t quads, const dw_taps *taps,
                                                   const uint8_t **from, uint8_t *copies)
{
    const tn_q_depthwise *d = b->d;
    const int64_t bytes = d->width * d->channels;
    for (int64_t t = 0, kx = 0; t < 4 * quads; t++, copies += DW_BLOCK) {
        const int64_t begin = at + (kx * d->dilation_w - d->pad_left) * d->channels;
        const int64_t first = begin < 0 ? -begin : 0, last = bytes - begin < DW_BLOCK ? bytes - begin : DW_BLOCK;
        kx = kx + 1 < d->kw ? kx + 1 : 0;
        from[t] = (const uint8_t *)((uintptr_t)taps->from[t] + (uintptr_t)(at & taps->moves[t]));
        if (!taps->moves[t] || (first == 0 && last == DW_BLOCK))
            continue;
        memcpy(copies, &b->outside, DW_BLOCK);
        if (first < last)
            memcpy(copies + first, from[t] + first, (size_t)(last - first));
        from[t] = copies;
    }
}

/* One block of outputs. */
INLINE vb dw_flat_block(const dw_block *b, const uint8_t *const *from, const int64_t *moves, int64_t at, const vi *w,
                        int64_t quads)
{
    enum { STEP = DW_DOT ? 4 : 8 };
    vi acc[4];
    UNROLL for (int k = 0; k < 4; k++)
        acc[k] = b->bias[k];
    for (int64_t q = 0; q < quads; q++, from += 4, moves += 4, w += STEP) {
        vb tap[4];
        vi quad[4], x[8];
        UNROLL for (int i = 0; i < 4; i++)
            tap[i] = *(const vb_any *)((uintptr_t)from[i] + (uintptr_t)(at & moves[i]));
        dw_interleave(tap, quad);
        dw_data(quad, x, DW_DOT);
        UNROLL for (int k = 0; k < 4; k++)
            acc[k] = dw_multiply(acc[k], x + k * (STEP / 4), w + k * (STEP / 4), 3, DW_DOT);
    }
    return dw_narrow(b, acc);
}

/* b: a block of one pixel as wide as several. */
static __attribute__((noinline)) void dw_flat(dw_block *b)
{
    enum { STEP = DW_DOT ? 4 : 8 };
    const tn_q_depthwise *d = b->d;
    const int64_t count = d->kh * d->kw, quads = (count + 3) / 4;
    vi *w = (vi *)d->scratch;
    int8_t rows[4][DW_BLOCK];
    int32_t bias[DW_BLOCK];
    float multiplier[DW_BLOCK];
    const int8_t *tap[4] = {rows[0], rows[1], rows[2], rows[3]};
    for (int64_t i = 0; i < DW_BLOCK; i++) {
        bias[i] = d->bias[i % d->channels];
        multiplier[i] = d->multiplier[i % d->channels];
    }
    dw_numbers(b, bias, multiplier);
    for (int64_t q = 0; q < quads; q++) {
        for (int64_t t = 0; t < 4; t++)
            for (int64_t i = 0; i < DW_BLOCK; i++)
                rows[t][i] = 4 * q + t < count ? d->w[(4 * q + t) * d->channels + i % d->channels] : 0;
        dw_pack_weights(b, tap, DW_DOT, w + q * STEP);
    }
    dw_correct_bias(b, w, quads, STEP);
    dw_taps taps = {(const uint8_t **)(w + quads * STEP), NULL};
    const uint8_t **edge = taps.from + 4 * quads;
    taps.moves = (int64_t *)(edge + 4 * quads);
    uint8_t *copies = (uint8_t *)(taps.moves + 4 * quads);
    const int64_t width = DW_BLOCK / d->channels * d->channels, all = d->ow * d->channels;
    const int64_t before = d->pad_left * d->channels, bytes = d->width * d->channels;
    const int64_t behind = (d->kw - 1) * d->dilation_w * d->channels - before + DW_BLOCK;
    for (int64_t oy = d->oy0; oy < d->oy1; oy++) {
        dw_flat_taps(b, oy, quads, &taps);
        for (int64_t at = 0; at < all; at += width) {
            const int inside = at >= before && at + behind <= bytes;
            uint8_t *const to = (uint8_t *)d->y + oy * d->y_row + at;
            if (!inside)
                dw_flat_edge(b, at, quads, &taps, edge, copies);
            const vb y = dw_flat_block(b, inside ? taps.from : edge, taps.moves, inside ? at : 0, w, quads);
            if (width == DW_BLOCK && at + width <= all) {
                vb_store(to, y);
            } else {
                uint8_t part[DW_BLOCK];
                vb_store(part, y);
                memcpy(to, part, (size_t)(all - at < width ? all - at : width));
            }
        }
    }
}
