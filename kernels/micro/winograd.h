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

/* One vector of channels of a tile whose element (i, j) lies at x + i row + j ld. */
INLINE void input_vector(const float *from, int64_t row, int64_t ld, float *to, int64_t stride, const int SIZE)
{
    enum { E = MAX_E };
    vf half[E][E];
    const int e = SIZE + 2;
    UNROLL for (int j = 0; j < e; j++)
    {
        vf x[E], v[E];
        UNROLL for (int i = 0; i < e; i++)
            x[i] = vf_load(from + i * row + j * ld);
        input_1d(SIZE, x, v);
        UNROLL for (int i = 0; i < e; i++)
            half[i][j] = v[i];
    }
    UNROLL for (int i = 0; i < e; i++)
    {
        vf v[E];
        input_1d(SIZE, half[i], v);
        UNROLL for (int j = 0; j < e; j++)
            vf_store(to + (i * e + j) * stride, v[j]);
    }
}

/* A tile that is not inside the picture, or has few channels, goes through a copy filled up with zeros: a second form of the
   transform would be as large as the first. */
INLINE void input_channels(const tn_winograd_input *t, const int SIZE)
{
    const int e = SIZE + 2, inside = t->y0 == 0 && t->x0 == 0 && t->y1 == e && t->x1 == e && t->channels >= VL;
    vf copy[MAX_E][MAX_E];
    if (!inside)
        memset(copy, 0, sizeof copy);
    for (int64_t c = 0; c < t->channels; c += VL) {
        int64_t at = c, row = t->row, ld = t->ld;
        const float *from = t->x;
        if (inside) {       /* at the end a whole vector again, which begins in what is done already */
            at = c + VL <= t->channels ? c : t->channels - VL;
            from += at;
        } else {
            for (int64_t i = t->y0; i < t->y1; i++)
                for (int64_t j = t->x0; j < t->x1; j++)
                    copy[i][j] = tile_read(t->x + i * t->row + j * t->ld + c, t->channels - c);
            from = (const float *)copy;
            row = MAX_E * VL;
            ld = VL;
        }
        input_vector(from, row, ld, t->v + at, t->stride, SIZE);
    }
}

static void winograd_input(const tn_winograd_input *t, int size)
{
    if (size == 4)
        input_channels(t, 4);
    else
        input_channels(t, 2);
}

/* A tile of outputs, or of what is added to them: element (i, j) at p + i row + j ld. */
typedef struct output_place {
    float *p;
    int64_t row, ld;
} output_place;

/* One vector of channels of a whole tile; added->p may be NULL. */
INLINE void output_vector(const float *m, int64_t stride, vf bias, const output_place *added, const output_place *to, vf lo,
                          vf hi, const int SIZE)
{
    vf half[MAX_SIZE][MAX_E], y[MAX_SIZE * MAX_SIZE];
    const int e = SIZE + 2;
    UNROLL for (int j = 0; j < e; j++)
    {
        vf x[MAX_E], v[MAX_SIZE];
        UNROLL for (int i = 0; i < e; i++)
            x[i] = vf_load(m + (i * e + j) * stride);
        output_1d(SIZE, x, v);
        UNROLL for (int i = 0; i < SIZE; i++)
            half[i][j] = v[i];
    }
    UNROLL for (int i = 0; i < SIZE; i++)
        output_1d(SIZE, half[i], y + i * SIZE);
    UNROLL for (int k = 0; k < SIZE * SIZE; k++)
    {
        y[k] += bias;
        if (added->p)
            y[k] += vf_load(added->p + k / SIZE * added->row + k % SIZE * added->ld);
        y[k] = vf_clamp(y[k], lo, hi);
    }
    UNROLL for (int k = 0; k < SIZE * SIZE; k++)
        vf_store(to->p + k / SIZE * to->row + k % SIZE * to->ld, y[k]);
}

/* A tile that is cut off, or to whose outputs a function is applied, goes through a copy, as the inputs do. */
INLINE void output_channels(const tn_winograd_output *t, const int SIZE)
{
    const int64_t row = SIZE * VL;
    const int function = t->epilogue.function > TN_CLIP, all = t->rows == SIZE && t->columns == SIZE;
    const int again = all && t->channels >= VL && t->residual != t->y;     /* as for inputs; a residual in y would be gone */
    const vf lo = vf_set1(t->epilogue.lo), hi = vf_set1(t->epilogue.hi);
    vf outputs[MAX_SIZE * MAX_SIZE], residuals[MAX_SIZE * MAX_SIZE];
    for (int64_t at = 0; at < t->channels; at += VL) {
        const int64_t c = again && at + VL > t->channels ? t->channels - VL : at, left = t->channels - c;
        const int whole = all && left >= VL;
        output_place to = {t->y + c, t->y_row, t->ldy}, added = {NULL, t->residual_row, t->ld_residual};
        if (t->residual)
            added.p = (float *)t->residual + c;
        if (t->residual && !whole) {
            memset(residuals, 0, sizeof residuals);
            for (int64_t i = 0; i < t->rows; i++)
                for (int64_t j = 0; j < t->columns; j++)
                    residuals[i * SIZE + j] = tile_read(added.p + i * added.row + j * added.ld, left);
            added = (output_place){(float *)residuals, row, VL};
        }
        if (!whole || function)
            to = (output_place){(float *)outputs, row, VL};
        output_vector(t->m + c, t->stride, t->bias ? tile_read(t->bias + c, left) : (vf){0}, &added, &to, lo, hi, SIZE);
        if (whole && !function)
            continue;
        if (function)
            unary(t->epilogue.function, t->epilogue.alpha, t->epilogue.beta, to.p, to.p, SIZE * SIZE * VL);
        for (int64_t i = 0; i < t->rows; i++)
            for (int64_t j = 0; j < t->columns; j++)
                tile_write(t->y + i * t->y_row + j * t->ldy + c, outputs[i * SIZE + j], left);
    }
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
