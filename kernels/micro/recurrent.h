/* Recurrent layers: one row times packed weights, and what one step does with the sums of its gates. */

/* y[16 p + j] = sum over i < k of x[i] b[p panel_stride + 16 i + j].  P panels at once; with few of them S steps in K have
   accumulators of their own, so that an FMA does not wait for the one before it. */
#define DEFINE_GEMV(P, S)                                                                                  \
    static __attribute__((noinline)) void gemv_##P(const float *x, int64_t k, const float *b,              \
                                                   int64_t panel_stride, float *y)                         \
    {                                                                                                      \
        vf acc[S][P * VECTORS];                                                                            \
        UNROLL for (int s = 0; s < S; s++)                                                                 \
            UNROLL for (int j = 0; j < P * VECTORS; j++)                                                   \
                acc[s][j] = (vf){0};                                                                       \
        int64_t i = 0;                                                                                     \
        for (; i + S <= k; i += S)                                                                         \
            UNROLL for (int s = 0; s < S; s++)                                                             \
            {                                                                                              \
                const vf v = vf_set1(x[i + s]);                                                            \
                UNROLL for (int p = 0; p < P; p++)                                                         \
                    UNROLL for (int j = 0; j < VECTORS; j++)                                               \
                        acc[s][p * VECTORS + j] +=                                                         \
                            v * vf_load(b + p * panel_stride + (i + s) * TN_PANEL + j * VL);               \
            }                                                                                              \
        for (; i < k; i++)                                                                                 \
            UNROLL for (int p = 0; p < P; p++)                                                             \
                UNROLL for (int j = 0; j < VECTORS; j++)                                                   \
                    acc[0][p * VECTORS + j] +=                                                             \
                        vf_set1(x[i]) * vf_load(b + p * panel_stride + i * TN_PANEL + j * VL);             \
        UNROLL for (int j = 0; j < P * VECTORS; j++)                                                       \
        {                                                                                                  \
            UNROLL for (int s = 1; s < S; s++)                                                             \
                acc[0][j] += acc[s][j];                                                                    \
            vf_store(y + j * VL, acc[0][j]);                                                               \
        }                                                                                                  \
    }

typedef void (*gemv_function)(const float *, int64_t, const float *, int64_t, float *);
#if VL == 16
DEFINE_GEMV(1, 4) DEFINE_GEMV(2, 4) DEFINE_GEMV(3, 3) DEFINE_GEMV(4, 2)
DEFINE_GEMV(5, 2) DEFINE_GEMV(6, 2) DEFINE_GEMV(7, 2) DEFINE_GEMV(8, 1)
static const gemv_function gemvs[] = {gemv_1, gemv_2, gemv_3, gemv_4, gemv_5, gemv_6, gemv_7, gemv_8};
#elif VL == 8
DEFINE_GEMV(1, 4) DEFINE_GEMV(2, 2) DEFINE_GEMV(3, 2) DEFINE_GEMV(4, 1)
static const gemv_function gemvs[] = {gemv_1, gemv_2, gemv_3, gemv_4};
#elif VL == 4
DEFINE_GEMV(1, 2) DEFINE_GEMV(2, 1)
static const gemv_function gemvs[] = {gemv_1, gemv_2};
#else
DEFINE_GEMV(1, 1)
static const gemv_function gemvs[] = {gemv_1};
#endif

static void gemv(const float *x, int64_t k, const float *b, int64_t panel_stride, int64_t panels, float *y)
{
    const int64_t most = (int64_t)(sizeof gemvs / sizeof *gemvs), pieces = (panels + most - 1) / most;
    for (int64_t i = 0; i < pieces; i++) {
        const int64_t first = panels * i / pieces, last = panels * (i + 1) / pieces;
        gemvs[last - first - 1](x, k, b + first * panel_stride, panel_stride, y + first * TN_PANEL);
    }
}

/* log(1 + e^x), lane by lane through the C library: rare. */
static __attribute__((noinline)) void softplus_lanes(float *v)
{
    for (int i = 0; i < VL; i++)
        v[i] = v[i] > 0.0f ? v[i] + log1pf(expf(-v[i])) : log1pf(expf(v[i]));
}

/* What hardly any network has, once for all cells: inlined everywhere it would be most of their code. */
static __attribute__((noinline)) vf gate_rare(const tn_gate *g, vf x)
{
    const float alpha = g->alpha, beta = g->beta;
    switch (g->function) {
    case TN_GATE_AFFINE: return alpha * x + beta;
    case TN_GATE_LEAKY_RELU: return vf_select(x >= 0.0f, x, alpha * x);
    case TN_GATE_THRESHOLDED_RELU: return vf_select(x <= alpha, vf_set1(0.0f), x);
    case TN_GATE_SCALED_TANH: return alpha * vf_tanh(beta * x);
    case TN_GATE_ELU: return vf_select(x > 0.0f, x, alpha * vf_expm1(x));
    case TN_GATE_SOFTSIGN: return x / (1.0f + vf_abs(x));
    case TN_GATE_SOFTPLUS: {
        float lanes[VL];
        vf_store(lanes, x);
        softplus_lanes(lanes);
        return vf_load(lanes);
    }
    }
    return x;
}

INLINE vf gate(const tn_gate *g, vf x)
{
    switch (g->function) {
    case TN_GATE_SIGMOID: return vf_sigmoid(x);
    case TN_GATE_TANH: return vf_tanh(x);
    case TN_GATE_RELU: return vf_max(vf_set1(0.0f), x);
    case TN_GATE_HARD_SIGMOID: return vf_hard_sigmoid(x, g->alpha, g->beta);
    }
    return gate_rare(g, x);
}

/* Sum of gate `g` of hidden units j .. j + left - 1. */
#define SUM(g) (tile_read(c->x + (g) * c->hidden + j, left) + vf_load(c->z + (g) * c->padded + j))
#define CLIPPED(v) vf_clamp((v), -clip, clip)

static void rnn_cell(const tn_cell *c)
{
    const vf clip = vf_set1(c->clip);
    for (int64_t j = 0, left = c->hidden; left > 0; j += VL, left -= VL) {
        const vf h = gate(&c->gate[0], CLIPPED(SUM(0)));
        tile_write(c->h + j, h, left);
        tile_write(c->y + j, h, left);
    }
}

static void lstm_cell(const tn_cell *c)
{
    const vf clip = vf_set1(c->clip);
    for (int64_t j = 0, left = c->hidden; left > 0; j += VL, left -= VL) {
        const vf before = tile_read(c->c + j, left);
        vf in = SUM(0), out = SUM(1), forget = SUM(2);
        if (c->weights) {
            in += tile_read(c->weights + j, left) * before;
            forget += tile_read(c->weights + 2 * c->hidden + j, left) * before;
        }
        in = gate(&c->gate[0], CLIPPED(in));
        forget = c->linked ? 1.0f - in : gate(&c->gate[0], CLIPPED(forget));
        const vf state = forget * before + in * gate(&c->gate[1], CLIPPED(SUM(3)));
        if (c->weights)
            out += tile_read(c->weights + c->hidden + j, left) * state;
        const vf h = gate(&c->gate[0], CLIPPED(out)) * gate(&c->gate[2], state);
        tile_write(c->c + j, state, left);
        tile_write(c->h + j, h, left);
        tile_write(c->y + j, h, left);
    }
}

/* Update and reset gates.  z keeps the first; then, linear before reset, the reset product in gate 2, otherwise what that
   product is made from, r h, in gate 1. */
static void gru_gates(const tn_cell *c)
{
    const vf clip = vf_set1(c->clip);
    for (int64_t j = 0, left = c->hidden; left > 0; j += VL, left -= VL) {
        vf_store(c->z + j, gate(&c->gate[0], CLIPPED(SUM(0))));
        const vf reset = gate(&c->gate[0], CLIPPED(SUM(1)));
        if (c->linked)
            vf_store(c->z + 2 * c->padded + j,
                     reset * (vf_load(c->z + 2 * c->padded + j) + tile_read(c->weights + j, left)));
        else
            vf_store(c->z + c->padded + j, reset * tile_read(c->h + j, left));
    }
}

static void gru_state(const tn_cell *c)
{
    const vf clip = vf_set1(c->clip);
    for (int64_t j = 0, left = c->hidden; left > 0; j += VL, left -= VL) {
        const vf update = vf_load(c->z + j);
        const vf h = (1.0f - update) * gate(&c->gate[1], CLIPPED(SUM(2))) + update * tile_read(c->h + j, left);
        tile_write(c->h + j, h, left);
        tile_write(c->y + j, h, left);
    }
}
#undef SUM
#undef CLIPPED
