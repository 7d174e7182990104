/* Depthwise convolution of a strip of output rows.

   For each block of VL channels and each tile of PIXELS output columns, the input is walked downwards once: a row's
   vectors, loaded once, are added to all the output rows they reach, whose accumulators stay in registers (3 of them for
   3x3 stride 1, 2 for stride 2) and move up by one when a row is complete.  Reading every input line only once per tile
   also makes the kernel indifferent to pixel strides that alias in L1 (512 channels: 2 KiB), which cost one that reads
   three rows for every output row most of its speed.  Rows and columns outside the picture are skipped: no padded copy. */

/* CLAMP: the epilogue is a clamp only; otherwise also the functions that cost a few instructions. */
INLINE vf depthwise_finish(vf v, vf lo, vf hi, const tn_epilogue *e, const int CLAMP)
{
    v = vf_clamp(v, lo, hi);
    if (CLAMP)
        return v;
    switch (e->function) {
    case TN_LEAKY_RELU: return vf_select(v >= 0.0f, v, e->alpha * v);
    case TN_HARD_SIGMOID: return vf_hard_sigmoid(v, e->alpha, e->beta);
    case TN_HARD_SWISH: return vf_hard_swish(v);
    default: return v;
    }
}

/* Functions that depthwise_finish leaves to a second pass. */
INLINE int depthwise_needs_pass(int32_t function)
{
    return function > TN_CLIP && function != TN_LEAKY_RELU && function != TN_HARD_SIGMOID && function != TN_HARD_SWISH;
}

INLINE vf depthwise_read(const float *p, int64_t part) { return part ? vf_load_part(p, part) : vf_load(p); }

static const float depthwise_zeros[VL];

/* Output columns [ox, ox + PIXELS).  EDGE: only as many of them as exist, and input columns outside are read as zeros. */
INLINE void depthwise_tile(const tn_depthwise *d, int64_t c, int64_t part, int64_t ox, const int KH, const int KW, const int S,
                           const int PIXELS, const int EDGE, const int CLAMP)
{
    enum { MOST_ROWS = 5, MOST_PIXELS = 4, MOST_TAPS = 25, MOST_COLUMNS = 11 };
    vf acc[MOST_ROWS][MOST_PIXELS], w[MOST_TAPS];
    const int ROWS = (KH + S - 1) / S, COLUMNS = (PIXELS - 1) * S + KW;
    const vf bias = depthwise_read(d->bias + c, part), lo = vf_set1(d->epilogue.lo), hi = vf_set1(d->epilogue.hi);
    const int64_t ix0 = ox * S - d->pad_left, height = d->height, ldx = d->ldx, oy0 = d->oy0, oy1 = d->oy1, ldy = d->ldy;
    const int64_t x_row = d->x_row, pixels = EDGE && d->ow - ox < PIXELS ? d->ow - ox : PIXELS;
    const float *column[MOST_COLUMNS];
    int64_t step[MOST_COLUMNS];
    if (EDGE)
        for (int j = 0; j < COLUMNS; j++) {
            const int inside = ix0 + j >= 0 && ix0 + j < d->width;
            column[j] = inside ? d->x + (ix0 + j) * ldx + c : depthwise_zeros;
            step[j] = inside ? x_row : 0;
        }
    UNROLL for (int k = 0; k < KH * KW; k++)
        w[k] = depthwise_read(d->w + k * d->ldw + c, part);
    UNROLL for (int a = 0; a < ROWS; a++)
        UNROLL for (int p = 0; p < PIXELS; p++)
            acc[a][p] = bias;
    const float *x = d->x + (oy0 * S - d->pad_top) * x_row + ix0 * ldx + c;
    float *y = d->y + (oy0 - (KH - 1) / S) * d->y_row + ox * ldy + c;
    for (int64_t top = oy0; top < oy1 + (KH - 1) / S; top++, y += d->y_row) {
        /* padded rows top*S .. top*S + S-1: the first taps of output row `top`, later taps of the rows above it */
        UNROLL for (int q = 0; q < S; q++, x += x_row)
        {
            const int64_t iy = top * S + q - d->pad_top;
            if (q == 0) {
                UNROLL for (int a = ROWS - 1; a > 0; a--)
                    UNROLL for (int p = 0; p < PIXELS; p++)
                        acc[a][p] = acc[a - 1][p];
                UNROLL for (int p = 0; p < PIXELS; p++)
                    acc[0][p] = bias;
            }
            if (iy >= 0 && iy < height) {
                UNROLL for (int j = 0; j < COLUMNS; j++)
                {
                    const vf v = depthwise_read(EDGE ? column[j] + iy * step[j] : x + j * ldx, part);
                    UNROLL for (int a = 0; a < ROWS; a++)
                        UNROLL for (int p = 0; p < PIXELS; p++)
                        {
                            const int ky = q + a * S, kx = j - p * S;
                            if (ky < KH && kx >= 0 && kx < KW)
                                acc[a][p] += v * w[ky * KW + kx];
                        }
                }
            }
            if ((KH - 1 - q) % S == 0 && top - (KH - 1 - q) / S >= oy0 && top - (KH - 1 - q) / S < oy1) {
                const int a = (KH - 1 - q) / S;
                float *to = y + ((KH - 1) / S - a) * d->y_row;
                UNROLL for (int p = 0; p < PIXELS; p++)
                {
                    if (EDGE && p >= pixels)
                        continue;
                    const vf v = depthwise_finish(acc[a][p], lo, hi, &d->epilogue, CLAMP);
                    if (part)
                        vf_store_part(to + p * ldy, v, part);
                    else
                        vf_store(to + p * ldy, v);
                }
            }
        }
    }
}

/* `last`: the channels behind the whole vectors. */
INLINE void depthwise_walk(const tn_depthwise *d, void (*last)(const tn_depthwise *, int64_t, int64_t), const int KH, const int KW,
                           const int S, const int PIXELS, const int CLAMP)
{
    for (int64_t c = 0; c < d->channels; c += VL) {
        const int64_t part = d->channels - c < VL ? d->channels - c : 0;
        for (int64_t ox = 0; ox < d->ow; ox += PIXELS) {
            const int64_t ix0 = ox * S - d->pad_left;
            if (part)
                last(d, c, ox);
            else if (ox + PIXELS > d->ow || ix0 < 0 || ix0 + (PIXELS - 1) * S + KW > d->width)
                depthwise_tile(d, c, 0, ox, KH, KW, S, PIXELS, 1, CLAMP);
            else
                depthwise_tile(d, c, 0, ox, KH, KW, S, PIXELS, 0, CLAMP);
        }
    }
}

#define DEFINE_DEPTHWISE(K, S, PIXELS)                                                                         \
    static __attribute__((noinline)) void depthwise_##K##x##K##_s##S##_last(const tn_depthwise *d, int64_t c,  \
                                                                            int64_t ox)                        \
    {                                                                                                          \
        depthwise_tile(d, c, d->channels - c, ox, K, K, S, PIXELS, 1, 0);                                      \
    }                                                                                                          \
    static __attribute__((noinline)) void depthwise_##K##x##K##_s##S##_clamp(const tn_depthwise *d)            \
    {                                                                                                          \
        depthwise_walk(d, depthwise_##K##x##K##_s##S##_last, K, K, S, PIXELS, 1);                              \
    }                                                                                                          \
    static __attribute__((noinline)) void depthwise_##K##x##K##_s##S##_any(const tn_depthwise *d)              \
    {                                                                                                          \
        depthwise_walk(d, depthwise_##K##x##K##_s##S##_last, K, K, S, PIXELS, 0);                              \
    }

DEFINE_DEPTHWISE(3, 1, 4)
DEFINE_DEPTHWISE(3, 2, 4)
/* With 16 registers, five rows of accumulators leave room for two columns. */
DEFINE_DEPTHWISE(5, 1, (VL == 16 ? 4 : 2))
DEFINE_DEPTHWISE(5, 2, (VL == 16 ? 4 : 2))

/* Any kernel, stride and dilation: pixel by pixel. */
static __attribute__((noinline)) void depthwise_any(const tn_depthwise *d)
{
    for (int64_t oy = d->oy0; oy < d->oy1; oy++)
        for (int64_t ox = 0; ox < d->ow; ox++)
            for (int64_t c = 0; c < d->channels; c += VL) {
                const int64_t part = d->channels - c < VL ? d->channels - c : 0;
                vf acc = depthwise_read(d->bias + c, part);
                for (int64_t ky = 0; ky < d->kh; ky++) {
                    const int64_t iy = oy * d->stride_h - d->pad_top + ky * d->dilation_h;
                    if (iy < 0 || iy >= d->height)
                        continue;
                    for (int64_t kx = 0; kx < d->kw; kx++) {
                        const int64_t ix = ox * d->stride_w - d->pad_left + kx * d->dilation_w;
                        if (ix < 0 || ix >= d->width)
                            continue;
                        acc += depthwise_read(d->x + iy * d->x_row + ix * d->ldx + c, part) *
                               depthwise_read(d->w + (ky * d->kw + kx) * d->ldw + c, part);
                    }
                }
                acc = depthwise_finish(acc, vf_set1(d->epilogue.lo), vf_set1(d->epilogue.hi), &d->epilogue, 0);
                if (part)
                    vf_store_part(d->y + oy * d->y_row + ox * d->ldy + c, acc, part);
                else
                    vf_store(d->y + oy * d->y_row + ox * d->ldy + c, acc);
            }
}

static void depthwise(const tn_depthwise *d)
{
    const int64_t s = d->stride_h;
    const int plain = d->dilation_h == 1 && d->dilation_w == 1 && d->stride_w == s && d->kh == d->kw && (s == 1 || s == 2);
    const int clamp = d->epilogue.function <= TN_CLIP;
    if (plain && d->kh == 3 && s == 1)
        (clamp ? depthwise_3x3_s1_clamp : depthwise_3x3_s1_any)(d);
    else if (plain && d->kh == 3)
        (clamp ? depthwise_3x3_s2_clamp : depthwise_3x3_s2_any)(d);
    else if (plain && d->kh == 5 && s == 1)
        (clamp ? depthwise_5x5_s1_clamp : depthwise_5x5_s1_any)(d);
    else if (plain && d->kh == 5)
        (clamp ? depthwise_5x5_s2_clamp : depthwise_5x5_s2_any)(d);
    else
        depthwise_any(d);
    if (depthwise_needs_pass(d->epilogue.function))
        for (int64_t oy = d->oy0; oy < d->oy1; oy++) {
            float *y = d->y + oy * d->y_row;
            const int64_t together = d->ldy == d->channels ? d->ow : 1;
            for (int64_t ox = 0; ox < d->ow; ox += together)
                unary(d->epilogue.function, d->epilogue.alpha, d->epilogue.beta, y + ox * d->ldy, y + ox * d->ldy,
                      together * d->channels);
        }
}
