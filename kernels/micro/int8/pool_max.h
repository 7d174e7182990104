/* Maxima of bytes as they lie, in vectors of what length the target has. */

#if VL > 1
typedef uint8_t b16 __attribute__((vector_size(16)));
typedef uint8_t b16_any __attribute__((vector_size(16), may_alias, aligned(1)));
typedef uint64_t b16_halves __attribute__((vector_size(16)));

INLINE b16 load_16(const uint8_t *p) { return *(const b16_any *)p; }
INLINE void store_16(uint8_t *p, b16 v) { *(b16_any *)p = v; }
INLINE b16 load_8(const uint8_t *p)
{
    uint64_t low;
    memcpy(&low, p, 8);
    return (b16)(b16_halves){low, 0};
}
INLINE void store_8(uint8_t *p, b16 v) { memcpy(p, &(b16_halves){((b16_halves)v)[0]}, 8); }
INLINE b16 load_4(const uint8_t *p)
{
    uint32_t low;
    memcpy(&low, p, 4);
    return (b16)(b16_halves){low, 0};
}
INLINE void store_4(uint8_t *p, b16 v)
{
    uint32_t low = (uint32_t)((b16_halves)v)[0];
    memcpy(p, &low, 4);
}
#if defined(__x86_64__)
INLINE b16 max_16(b16 a, b16 b) { return (b16)_mm_max_epu8((__m128i)a, (__m128i)b); }
#else
INLINE b16 max_16(b16 a, b16 b) { return (b16)vmaxq_u8((uint8x16_t)a, (uint8x16_t)b); }
#endif
#endif
#if VL >= 8
typedef uint8_t b32 __attribute__((vector_size(32)));
typedef uint8_t b32_any __attribute__((vector_size(32), may_alias, aligned(1)));
INLINE b32 load_32(const uint8_t *p) { return *(const b32_any *)p; }
INLINE void store_32(uint8_t *p, b32 v) { *(b32_any *)p = v; }
INLINE b32 max_32(b32 a, b32 b) { return (b32)_mm256_max_epu8((__m256i)a, (__m256i)b); }
#endif
#if VL >= 16
typedef uint8_t b64 __attribute__((vector_size(64)));
typedef uint8_t b64_any __attribute__((vector_size(64), may_alias, aligned(1)));
INLINE b64 load_64(const uint8_t *p) { return *(const b64_any *)p; }
INLINE void store_64(uint8_t *p, b64 v) { *(b64_any *)p = v; }
INLINE b64 max_64(b64 a, b64 b) { return (b64)_mm512_max_epu8((__m512i)a, (__m512i)b); }
#endif
INLINE uint8_t load_1(const uint8_t *p) { return *p; }
INLINE void store_1(uint8_t *p, uint8_t v) { *p = v; }
INLINE uint8_t max_1(uint8_t a, uint8_t b) { return a > b ? a : b; }

/* A run of windows that see `rows` rows and `columns` pixels `step` bytes apart each; windows are `stride` bytes apart. */
typedef struct tn_run {
    const uint8_t *x;
    int64_t x_row, rows, columns, step, stride, windows;
    uint8_t *y;
    int64_t ldy;
    uint8_t flip;
} tn_run;

/* max_run_N: the N channels at `at`.  3x3 windows one or two pixels apart share columns. */
#define MAX_RUN(n, type, load, store, max)                                                                             \
    INLINE type max_column_##n(const uint8_t *x, int64_t x_row, const int ROWS)                                        \
    {                                                                                                                  \
        type m = load(x);                                                                                              \
        UNROLL for (int r = 1; r < ROWS; r++)                                                                          \
            m = max(m, load(x + r * x_row));                                                                           \
        return m;                                                                                                      \
    }                                                                                                                  \
    static void max_run_##n(const tn_run *p, int64_t at)                                                               \
    {                                                                                                                  \
        const uint8_t *x = p->x + at;                                                                                  \
        uint8_t *y = p->y + at;                                                                                        \
        const int64_t row = p->x_row, step = p->step;                                                                  \
        if (p->rows == 2 && p->columns == 2 && p->flip == 0) {                                                         \
            for (int64_t i = 0; i < p->windows; i++, x += p->stride, y += p->ldy)                                      \
                store(y, max(max_column_##n(x, row, 2), max_column_##n(x + step, row, 2)));                            \
        } else if (p->rows == 3 && p->columns == 3 && p->flip == 0 && p->stride == step) {                             \
            type first = max_column_##n(x, row, 3), middle = max_column_##n(x + step, row, 3);                         \
            for (int64_t i = 0; i < p->windows; i++, x += step, y += p->ldy) {                                         \
                const type last = max_column_##n(x + 2 * step, row, 3);                                                \
                store(y, max(max(first, middle), last));                                                               \
                first = middle;                                                                                        \
                middle = last;                                                                                         \
            }                                                                                                          \
        } else if (p->rows == 3 && p->columns == 3 && p->flip == 0 && p->stride == 2 * step) {                         \
            type first = max_column_##n(x, row, 3);                                                                    \
            for (int64_t i = 0; i < p->windows; i++, x += p->stride, y += p->ldy) {                                    \
                const type last = max_column_##n(x + 2 * step, row, 3);                                                \
                store(y, max(max(first, last), max_column_##n(x + step, row, 3)));                                     \
                first = last;                                                                                          \
            }                                                                                                          \
        } else {                                                                                                       \
            const type flip = p->flip - (type){0};                                                                     \
            for (int64_t i = 0; i < p->windows; i++, x += p->stride, y += p->ldy) {                                    \
                type m = {0};                                                                                          \
                for (int64_t r = 0; r < p->rows; r++)                                                                  \
                    for (int64_t k = 0; k < p->columns; k++)                                                           \
                        m = max(m, load(x + r * row + k * step) ^ flip);                                               \
                store(y, m ^ flip);                                                                                    \
            }                                                                                                          \
        }                                                                                                              \
    }
#if VL >= 16
MAX_RUN(64, b64, load_64, store_64, max_64)
#endif
#if VL >= 8
MAX_RUN(32, b32, load_32, store_32, max_32)
#endif
#if VL > 1
MAX_RUN(16, b16, load_16, store_16, max_16)
MAX_RUN(8, b16, load_8, store_8, max_16)
MAX_RUN(4, b16, load_4, store_4, max_16)
#endif
MAX_RUN(1, uint8_t, load_1, store_1, max_1)

/* What is left of the channels is done by vectors that reach back over what is done already. */
static void max_run(const tn_run *p, int64_t channels)
{
    int64_t at = 0;
#if VL >= 16
    for (; at + 64 <= channels; at += 64)
        max_run_64(p, at);
#endif
#if VL >= 8
    for (; at + 32 <= channels; at += 32)
        max_run_32(p, at);
#endif
#if VL > 1
    for (; at < channels && channels >= 16; at += 16)
        max_run_16(p, at + 16 <= channels ? at : channels - 16);
    for (; at < channels && channels >= 8; at += 8)
        max_run_8(p, at + 8 <= channels ? at : channels - 8);
    for (; at < channels && channels >= 4; at += 4)
        max_run_4(p, at + 4 <= channels ? at : channels - 4);
#endif
    for (; at < channels; at++)
        max_run_1(p, at);
}

/* The taps of a window from `start` on that fall inside [0, size): the first one, and how many. */
INLINE void seen(int64_t start, int64_t taps, int64_t dilation, int64_t size, int64_t *first, int64_t *count)
{
    *first = start >= 0 ? 0 : (dilation - 1 - start) / dilation;
    const int64_t inside = start >= size ? 0 : (size - start + dilation - 1) / dilation;
    const int64_t end = inside < taps ? inside : taps;
    *count = end > *first ? end - *first : 0;
}

/* The windows from ox on that see all columns. */
INLINE int64_t whole_windows(const tn_windows *p, int64_t ox)
{
    const int64_t last = p->width - 1 - (p->kw - 1) * p->dilation + p->pad_left;   /* where the last one may start */
    if (ox * p->stride < p->pad_left || last < ox * p->stride)
        return 0;
    const int64_t end = last / p->stride + 1;
    return (end < p->out_width ? end : p->out_width) - ox;
}

static void max_windows(const tn_windows *p, int flip)
{
    tn_run run = {.x_row = p->x_row, .rows = p->rows, .step = p->dilation * p->ldx, .stride = p->stride * p->ldx,
                  .ldy = p->ldy, .flip = (uint8_t)flip};
    for (int64_t ox = 0; ox < p->out_width; ox += run.windows) {
        const int64_t ix = ox * p->stride - p->pad_left;
        int64_t first;
        seen(ix, p->kw, p->dilation, p->width, &first, &run.columns);
        const int64_t whole = run.columns == p->kw ? whole_windows(p, ox) : 0;
        run.windows = whole > 0 ? whole : 1;
        run.x = p->x + (ix + first * p->dilation) * p->ldx;
        run.y = p->y + ox * p->ldy;
        max_run(&run, p->channels);
    }
}

static uint8_t max_of(const uint8_t *x, int64_t n, int flip)
{
    uint8_t m = 0;
    int64_t i = 0;
#if VL > 1
    if (n >= 16) {
        const b16 mask = (uint8_t)flip - (b16){0};
        b16 most = {0};
        for (; i < n; i += 16)
            most = max_16(most, load_16(x + (i + 16 <= n ? i : n - 16)) ^ mask);
        for (int k = 0; k < 16; k++)
            m = max_1(m, most[k]);
        return m ^ (uint8_t)flip;
    }
#endif
    for (; i < n; i++)
        m = max_1(m, x[i] ^ (uint8_t)flip);
    return m ^ (uint8_t)flip;
}
