/* K x K with the same stride S in both directions, column by column: see depthwise.h. */

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
