/* Winograd convolution, 3x3 with stride 1: the three transforms (Lavin & Gray 2015, arXiv 1509.09308).

   A tile of SIZE x SIZE outputs needs E x E inputs, E = SIZE + 2.  Y = A' [(G w G') . (B' x B)] A: each of the E*E products of
   the middle is a matrix product over all tiles.  Along one axis the matrices follow from E - 1 points and infinity:
   F(2,3): 0, 1, -1.  F(4,3): 0, +-sqrt(1/2), +-sqrt(2), whose products of powers stay near 1, so that the rounding error is half of
   what 0, +-1, +-2 give (the choice of ncnn).  Vectors run along channels; element (i, j) of a tile goes to matrix i*E + j. */

#define ROOT_HALF 0.70710678118654752440
#define ROOT_TWO 1.41421356237309504880

enum { MAX_SIZE = 4, MAX_E = MAX_SIZE + 2 };

/* v = B' x */
INLINE void input_1d(const int SIZE, const vf *x, vf *v)
{
    if (SIZE == 2) {
        v[0] = x[0] - x[2];
        v[1] = x[1] + x[2];
        v[2] = x[2] - x[1];
        v[3] = x[3] - x[1];
        return;
    }
    const vf even1 = x[4] - 2.0f * x[2], odd1 = x[3] - 2.0f * x[1];
    const vf even2 = x[4] - 0.5f * x[2], odd2 = x[3] - 0.5f * x[1];
    v[0] = x[0] + (x[4] - 2.5f * x[2]);
    v[1] = even1 + (float)ROOT_HALF * odd1;
    v[2] = even1 - (float)ROOT_HALF * odd1;
    v[3] = even2 + (float)ROOT_TWO * odd2;
    v[4] = even2 - (float)ROOT_TWO * odd2;
    v[5] = x[1] + (x[5] - 2.5f * x[3]);
}

/* y = A' m */
INLINE void output_1d(const int SIZE, const vf *m, vf *y)
{
    const vf sum1 = m[1] + m[2], difference1 = m[1] - m[2];
    if (SIZE == 2) {
        y[0] = m[0] + sum1;
        y[1] = difference1 + m[3];
        return;
    }
    const vf sum2 = m[3] + m[4], difference2 = m[3] - m[4];
    y[0] = m[0] + (sum1 + sum2);
    y[1] = (float)ROOT_HALF * difference1 + (float)ROOT_TWO * difference2;
    y[2] = 0.5f * sum1 + 2.0f * sum2;
    y[3] = (float)(0.5 * ROOT_HALF) * difference1 + ((float)(2 * ROOT_TWO) * difference2 + m[5]);
}

/* WHOLE: the tile lies inside the picture and there is a full vector of channels. */
INLINE void input_tile(const tn_winograd_input *t, int64_t c, const int SIZE, const int WHOLE)
{
    enum { E = MAX_E };
    vf half[E][E];
    const int e = SIZE + 2;
    UNROLL for (int j = 0; j < e; j++)
    {
        vf x[E], v[E];
        UNROLL for (int i = 0; i < e; i++)
        {
            const float *p = t->x + i * t->row + j * t->ld + c;
            if (WHOLE)
                x[i] = vf_load(p);
            else
                x[i] = i >= t->y0 && i < t->y1 && j >= t->x0 && j < t->x1 ? tile_read(p, t->channels - c) : (vf){0};
        }
        input_1d(SIZE, x, v);
        UNROLL for (int i = 0; i < e; i++)
            half[i][j] = v[i];
    }
    UNROLL for (int i = 0; i < e; i++)
    {
        vf v[E];
        input_1d(SIZE, half[i], v);
        UNROLL for (int j = 0; j < e; j++)
            vf_store(t->v + (i * e + j) * t->stride + c, v[j]);
    }
}

INLINE void input_channels(const tn_winograd_input *t, const int SIZE)
{
    const int inside = t->y0 == 0 && t->x0 == 0 && t->y1 == SIZE + 2 && t->x1 == SIZE + 2;
    int64_t c = 0;
    if (inside && t->channels >= VL)    /* at the end a whole vector again, which begins in what is done already */
        for (; c < t->channels; c += VL)
            input_tile(t, c + VL <= t->channels ? c : t->channels - VL, SIZE, 1);
    for (; c < t->channels; c += VL)
        input_tile(t, c, SIZE, 0);
}

static void winograd_input(const tn_winograd_input *t, int size)
{
    if (size == 4)
        input_channels(t, 4);
    else
        input_channels(t, 2);
}

/* WHOLE: every output exists, and there is a full vector of channels. */
INLINE void output_tile(const tn_winograd_output *t, int64_t c, const int SIZE, const int WHOLE)
{
    vf half[MAX_SIZE][MAX_E], y[MAX_SIZE * MAX_SIZE];
    const int e = SIZE + 2;
    const int64_t left = WHOLE ? VL : t->channels - c;
    const vf lo = vf_set1(t->epilogue.lo), hi = vf_set1(t->epilogue.hi);
    const vf bias = t->bias ? tile_read(t->bias + c, left) : (vf){0};
    UNROLL for (int j = 0; j < e; j++)
    {
        vf m[MAX_E], v[MAX_SIZE];
        UNROLL for (int i = 0; i < e; i++)
            m[i] = vf_load(t->m + (i * e + j) * t->stride + c);
        output_1d(SIZE, m, v);
        UNROLL for (int i = 0; i < SIZE; i++)
            half[i][j] = v[i];
    }
    UNROLL for (int i = 0; i < SIZE; i++)
    {
        vf *row = y + i * SIZE;
        output_1d(SIZE, half[i], row);
        UNROLL for (int j = 0; j < SIZE; j++)
        {
            row[j] += bias;
            if (t->residual && (WHOLE || (i < t->rows && j < t->columns)))
                row[j] += tile_read(t->residual + i * t->residual_row + j * t->ld_residual + c, left);
            row[j] = vf_clamp(row[j], lo, hi);
        }
    }
    if (WHOLE && t->epilogue.function <= TN_CLIP) {
        UNROLL for (int i = 0; i < SIZE * SIZE; i++)
            vf_store(t->y + i / SIZE * t->y_row + i % SIZE * t->ldy + c, y[i]);
        return;
    }
    vf z[MAX_SIZE * MAX_SIZE];      /* not y, which can stay in registers above */
    UNROLL for (int i = 0; i < SIZE * SIZE; i++)
        z[i] = y[i];
    if (t->epilogue.function > TN_CLIP)
        unary(t->epilogue.function, t->epilogue.alpha, t->epilogue.beta, (const float *)z, (float *)z, SIZE * SIZE * VL);
    for (int i = 0; i < (WHOLE ? SIZE : t->rows); i++)
        for (int j = 0; j < (WHOLE ? SIZE : t->columns); j++)
            tile_write(t->y + i * t->y_row + j * t->ldy + c, z[i * SIZE + j], left);
}

INLINE void output_channels(const tn_winograd_output *t, const int SIZE)
{
    int64_t c = 0;
    const int again = t->channels >= VL && t->residual != t->y;     /* as for inputs; a residual in y would be gone */
    if (t->rows == SIZE && t->columns == SIZE)
        for (; c + VL <= t->channels || (again && c < t->channels); c += VL)
            output_tile(t, c + VL <= t->channels ? c : t->channels - VL, SIZE, 1);
    for (; c < t->channels; c += VL)
        output_tile(t, c, SIZE, 0);
}

static void winograd_output(const tn_winograd_output *t, int size)
{
    if (size == 4)
        output_channels(t, 4);
    else
        output_channels(t, 2);
}

/* Weights are transformed once, in float64, and rounded once: half a vector at a time. */
enum { HALF = VL > 1 ? VL / 2 : 1 };
typedef double vd __attribute__((vector_size(8 * HALF)));
typedef float vh __attribute__((vector_size(4 * HALF)));
typedef float vh_any __attribute__((vector_size(4 * HALF), aligned(4), may_alias));

/* u = G w */
INLINE void weights_1d(const int SIZE, const vd *w, vd *u)
{
    if (SIZE == 2) {
        const vd even = 0.5 * (w[0] + w[2]), odd = 0.5 * w[1];
        u[0] = w[0];
        u[1] = even + odd;
        u[2] = even - odd;
        u[3] = w[2];
        return;
    }
    const vd even1 = (-2.0 / 3) * w[0] + (-1.0 / 3) * w[2], odd1 = (-2.0 / 3 * ROOT_HALF) * w[1];
    const vd even2 = (1.0 / 6) * w[0] + (1.0 / 3) * w[2], odd2 = (1.0 / 6 * ROOT_TWO) * w[1];
    u[0] = w[0];
    u[1] = even1 + odd1;
    u[2] = even1 - odd1;
    u[3] = even2 + odd2;
    u[4] = even2 - odd2;
    u[5] = w[2];
}

INLINE void weights_row(const float *w, int64_t tap, float *u, int64_t stride, const int SIZE)
{
    const int e = SIZE + 2;
    vd half[MAX_E][3];
    UNROLL for (int j = 0; j < 3; j++)
    {
        vd x[3], v[MAX_E];
        UNROLL for (int i = 0; i < 3; i++)
            x[i] = __builtin_convertvector(*(const vh_any *)(w + (3 * i + j) * tap), vd);
        weights_1d(SIZE, x, v);
        UNROLL for (int i = 0; i < e; i++)
            half[i][j] = v[i];
    }
    UNROLL for (int i = 0; i < e; i++)
    {
        vd v[MAX_E];
        weights_1d(SIZE, half[i], v);
        UNROLL for (int j = 0; j < e; j++)
            *(vh_any *)(u + (i * e + j) * stride) = __builtin_convertvector(v[j], vh);
    }
}

/* Neighbouring matrices lie a multiple of 4 KiB apart and would meet in a few sets of L1: a chunk of all of them is made in a
   small buffer whose strides do not, and then copied. */
static void winograd_weights(const float *w, int64_t tap, float *u, int64_t stride, int64_t n, int size)
{
    enum { CHUNK = 256, STEP = CHUNK + TN_PANEL };
    float chunk[MAX_E * MAX_E * STEP] __attribute__((aligned(64)));
    for (int64_t first = 0; first < n; first += CHUNK) {
        const int64_t count = n - first < CHUNK ? n - first : CHUNK;
        if (size == 4)
            for (int64_t i = 0; i < count; i += HALF)
                weights_row(w + first + i, tap, chunk + i, STEP, 4);
        else
            for (int64_t i = 0; i < count; i += HALF)
                weights_row(w + first + i, tap, chunk + i, STEP, 2);
        for (int e = 0; e < (size + 2) * (size + 2); e++)
            memcpy(u + e * stride + first, chunk + e * STEP, (size_t)count * sizeof(float));
    }
}
