/* Depthwise convolution of some output rows.

   For each two vectors of channels, strips of output rows are walked from left to right: a column's vectors, loaded once, are
   added to all the outputs they reach, whose accumulators stay in registers (3 columns of them for 3x3 stride 1, 2 for
   stride 2) and move on by one when a column is complete.  Two vectors, because with 8 floats they are one cache line: where
   pixel strides alias in L1 (from 256 channels on) a line would be gone before its other half is wanted.  Columns outside the
   picture are skipped and rows outside are a vector of zeros: no padded copy, and no other code at the edges. */

/* CLAMP: the epilogue is a clamp only; otherwise also the functions that cost a few instructions. */
INLINE vf depthwise_finish(vf v, vf lo, vf hi, const tn_epilogue *e, const int CLAMP)
{
    v = vf_clamp(v, lo, hi);
    if (CLAMP || e->function <= TN_CLIP)
        return v;
    if (e->function == TN_HARD_SWISH)
        return vf_hard_swish(v);
    if (e->function == TN_LEAKY_RELU)
        return vf_select(v >= 0.0f, v, e->alpha * v);
    return e->function == TN_HARD_SIGMOID ? vf_hard_sigmoid(v, e->alpha, e->beta) : v;
}

/* Functions that depthwise_finish leaves to a second pass. */
INLINE int depthwise_needs_pass(int32_t function)
{
    return function > TN_CLIP && function != TN_LEAKY_RELU && function != TN_HARD_SIGMOID && function != TN_HARD_SWISH;
}

INLINE vf depthwise_read(const float *p, int64_t part) { return part ? vf_load_part(p, part) : vf_load(p); }

/* Output rows of a strip. */
#if VL == 1 || (VL == 4 && defined(__x86_64__))
#define DEPTHWISE_ROWS 1    /* a multiply-add is two instructions there: a second row would gain nothing */
#else
#define DEPTHWISE_ROWS 2
#endif

static const float depthwise_zeros[2 * VL];

/* How many of a vector's channels exist, 0: all.  With AVX-512 a mask in either case, which costs nothing there. */
#if VL == 16
typedef __mmask16 depthwise_part;
INLINE depthwise_part depthwise_first(int64_t n) { return (__mmask16)(n < VL ? (1u << (n > 0 ? n : 0)) - 1 : 0xffff); }
INLINE vf depthwise_load(const float *p, depthwise_part part) { return (vf)_mm512_maskz_loadu_ps(part, p); }
INLINE void depthwise_store(float *p, vf v, depthwise_part part) { _mm512_mask_storeu_ps(p, part, (__m512)v); }
#else
typedef int64_t depthwise_part;
INLINE depthwise_part depthwise_first(int64_t n) { return n; }
INLINE vf depthwise_load(const float *p, depthwise_part part) { return depthwise_read(p, part); }
INLINE void depthwise_store(float *p, vf v, depthwise_part part)
{
    if (part)
        vf_store_part(p, v, part);
    else
        vf_store(p, v);
}
#endif

typedef struct depthwise_strip {
    vf w[25][2], bias[2], lo, hi;
    depthwise_part part[2];
    vf acc[5][DEPTHWISE_ROWS][2];   /* outputs that are not complete, the newest column first */
    const float *x[5 + 2];          /* input rows, at the next column */
    int64_t step[5 + 2];            /* floats to the column behind it; 0 in rows of zeros */
    float *y[DEPTHWISE_ROWS];
    int64_t ldy, early;             /* columns that lie left of the outputs and are overwritten by the next ones */
} depthwise_strip;

INLINE void depthwise_weights(depthwise_strip *t, const tn_depthwise *d, int64_t c, const int K, const int V)
{
    t->lo = vf_set1(d->epilogue.lo);
    t->hi = vf_set1(d->epilogue.hi);
    UNROLL for (int u = 0; u < V; u++) {
        t->bias[u] = depthwise_load(d->bias + c + u * VL, t->part[u]);
        UNROLL for (int k = 0; k < K * K; k++)
            t->w[k][u] = depthwise_load(d->w + k * d->ldw + c + u * VL, t->part[u]);
    }
}

/* Vector u of the next input column; it meets tap a S - back of the accumulators a. */
INLINE void depthwise_column(depthwise_strip *t, const int u, const int K, const int S, const int R, const int back)
{
    UNROLL for (int k = 0; k < (R - 1) * S + K; k++)
    {
        const vf v = depthwise_load(t->x[k] + u * VL, t->part[u]);
        UNROLL for (int a = 0; a <= (K - 1) / S; a++)
            UNROLL for (int r = 0; r < R; r++)
            {
                const int ky = k - r * S, kx = a * S - back;
                if (ky >= 0 && ky < K && kx >= 0)
                    t->acc[a][r][u] += v * t->w[ky * K + kx][u];
            }
    }
}

/* Vector u of the oldest output column is complete.  Before the other vector begins: it can have the registers. */
INLINE void depthwise_complete(depthwise_strip *t, const int u, const tn_epilogue *e, const int oldest, const int R,
                               const int CLAMP)
{
    UNROLL for (int r = R - 1; r >= 0; r--)
    {
        depthwise_store(t->y[r] + u * VL, depthwise_finish(t->acc[oldest][r][u], t->lo, t->hi, e, CLAMP), t->part[u]);
        UNROLL for (int a = oldest; a > 0; a--)
            t->acc[a][r][u] = t->acc[a - 1][r][u];
        t->acc[0][r][u] = t->bias[u];
    }
}

INLINE void depthwise_next_input(depthwise_strip *t, const int rows)
{
    UNROLL for (int k = 0; k < rows; k++)
        t->x[k] += t->step[k];
}

INLINE void depthwise_next_output(depthwise_strip *t, const int R)
{
    const int64_t step = --t->early < 0 ? t->ldy : 0;
    UNROLL for (int r = 0; r < R; r++)
        t->y[r] += step;
}

/* Output rows oy .. oy + R - 1, as far as they exist, of V vectors of channels from c on. */
INLINE void depthwise_walk(depthwise_strip *t, const tn_depthwise *d, int64_t c, int64_t oy, const int K, const int S,
                           const int R, const int V, const int CLAMP)
{
    const int oldest = (K - 1) / S, ROWS = (R - 1) * S + K;
    /* left, right: columns of the padded picture.  height: input rows that only rows beyond oy1 read may not be in memory. */
    const int64_t left = d->pad_left, right = left + d->width, used = (d->ow - 1) * S + K;
    const int64_t rows = (d->oy1 - 1) * S - d->pad_top + K, height = rows < d->height ? rows : d->height;
    const int64_t iy = oy * S - d->pad_top;
    const float *x = d->x + iy * d->x_row + c;
    UNROLL for (int k = 0; k < ROWS; k++, x += d->x_row)
    {
        const int inside = iy + k >= 0 && iy + k < height;
        t->x[k] = inside ? x : depthwise_zeros;
        t->step[k] = inside ? d->ldx : 0;
    }
    UNROLL for (int r = 0; r < R; r++)
    {
        /* a row that does not exist goes where the first one goes next */
        t->y[r] = d->y + (oy + r < d->oy1 ? oy + r : oy) * d->y_row + c;
        UNROLL for (int u = 0; u < V; u++)
            UNROLL for (int a = 0; a <= oldest; a++)
                t->acc[a][r][u] = t->bias[u];
    }
    t->ldy = d->ldy;
    t->early = oldest - (left + S - 1) / S;
    const float *const end = t->y[0] + d->ow * d->ldy;
    int64_t columns = (right < used ? right : used) - left;
    int odd = left % S;
    while (columns > 0) {
        if (odd) {
            UNROLL for (int u = 0; u < V; u++)
                depthwise_column(t, u, K, S, R, 1);
            depthwise_next_input(t, ROWS);
            if (--columns == 0)
                break;
        }
        odd = S - 1;
        UNROLL for (int u = 0; u < V; u++)
        {
            depthwise_column(t, u, K, S, R, 0);
            depthwise_complete(t, u, &d->epilogue, oldest, R, CLAMP);
        }
        depthwise_next_input(t, ROWS);
        depthwise_next_output(t, R);
        columns--;
    }
    while (t->y[0] < end) {
        UNROLL for (int u = 0; u < V; u++)
            depthwise_complete(t, u, &d->epilogue, oldest, R, CLAMP);
        depthwise_next_output(t, R);
    }
}

/* V vectors of channels from c on, or fewer.  Without masks the last block begins early enough to be whole; NARROW: there are
   fewer channels than one vector has. */
INLINE void depthwise_block(const tn_depthwise *d, int64_t c, const int K, const int S, const int R, const int V,
                            const int CLAMP, const int NARROW)
{
    depthwise_strip t;
    const int masked = VL == 16 || NARROW;
    if (!masked && c + V * VL > d->channels)
        c = d->channels - V * VL;
    UNROLL for (int u = 0; u < V; u++)
        t.part[u] = masked ? depthwise_first(d->channels - c - u * VL) : 0;
    depthwise_weights(&t, d, c, K, V);
    for (int64_t oy = d->oy0; oy < d->oy1; oy += R)
        depthwise_walk(&t, d, c, oy, K, S, R, V, CLAMP);
}

INLINE void depthwise_blocks(const tn_depthwise *d, void (*rest)(const tn_depthwise *, int64_t), const int K, const int S,
                             const int R, const int CLAMP)
{
    int64_t c = 0;
    for (; d->channels - c > VL && (VL == 16 || d->channels >= 2 * VL); c += 2 * VL)
        depthwise_block(d, c, K, S, R, 2, CLAMP, 0);
    for (; c < d->channels; c += VL)
        rest(d, c);
}

#define DEFINE_DEPTHWISE(K, S, R)                                                                              \
    static __attribute__((noinline)) void depthwise_##K##x##K##_s##S##_rest(const tn_depthwise *d, int64_t c)  \
    {                                                                                                          \
        depthwise_block(d, c, K, S, DEPTHWISE_ROWS, 1, 0, 0);                                                  \
    }                                                                                                          \
    static __attribute__((noinline)) void depthwise_##K##x##K##_s##S##_narrow(const tn_depthwise *d)           \
    {                                                                                                          \
        if (d->channels > 0)                                                                                   \
            depthwise_block(d, 0, K, S, 1, 1, 0, 1);                                                           \
    }                                                                                                          \
    static __attribute__((noinline)) void depthwise_##K##x##K##_s##S##_clamp(const tn_depthwise *d)            \
    {                                                                                                          \
        depthwise_blocks(d, depthwise_##K##x##K##_s##S##_rest, K, S, R, 1);                                    \
    }                                                                                                          \
    static __attribute__((noinline)) void depthwise_##K##x##K##_s##S##_any(const tn_depthwise *d)              \
    {                                                                                                          \
        depthwise_blocks(d, depthwise_##K##x##K##_s##S##_rest, K, S, R, 0);                                    \
    }                                                                                                          \
    static void depthwise_##K##x##K##_s##S(const tn_depthwise *d)                                              \
    {                                                                                                          \
        if (VL > 1 && VL < 16 && d->channels < VL)                                                             \
            depthwise_##K##x##K##_s##S##_narrow(d);                                                            \
        else if (d->epilogue.function <= TN_CLIP)                                                              \
            depthwise_##K##x##K##_s##S##_clamp(d);                                                             \
        else                                                                                                   \
            depthwise_##K##x##K##_s##S##_any(d);                                                               \
    }

/* 5x5: a second row would need more registers than there are. */
DEFINE_DEPTHWISE(3, 1, DEPTHWISE_ROWS)
DEFINE_DEPTHWISE(3, 2, DEPTHWISE_ROWS)
DEFINE_DEPTHWISE(5, 1, 1)
DEFINE_DEPTHWISE(5, 2, 1)

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
    const int plain = d->dilation_h == 1 && d->dilation_w == 1 && d->stride_w == s && d->kh == d->kw && (s == 1 || s == 2) &&
                      d->pad_left < d->kw && d->ow > 0;
    if (plain && d->kh == 3 && s == 1)
        depthwise_3x3_s1(d);
    else if (plain && d->kh == 3)
        depthwise_3x3_s2(d);
    else if (plain && d->kh == 5 && s == 1)
        depthwise_5x5_s1(d);
    else if (plain && d->kh == 5)
        depthwise_5x5_s2(d);
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
