# Integer layers that treat elements one by one, and softmax of integers.

cdef inline uint8_t *bytes_of(const tn_step *s, tn_context *c, int i) noexcept nogil:
    return <uint8_t *>operand(s, c, i)


# Rows of `columns` elements, `ldx` and `ldy` apart; contiguous tensors are a single row.

cdef struct StepsParams:
    int64_t rows, columns, ldx, ldy, zero, flip
    double scale


cdef inline void rows_and_columns(tn_context *c, int64_t rows, int64_t columns, int64_t *part) noexcept nogil:
    """This thread's rows part[0] .. part[1], of them elements part[2] .. part[3]."""
    part[0] = part[2] = 0
    part[1] = rows
    part[3] = columns
    if rows == 1:
        my_part(c, columns, 64, part + 2, part + 3)
    else:
        my_part(c, rows, 1, part, part + 1)


cdef int quantize(const tn_step *s, tn_context *c) noexcept nogil:
    cdef const StepsParams *p = <const StepsParams *>s.param
    cdef const float *x = floats(s, c, 0)
    cdef uint8_t *y = bytes_of(s, c, 1)
    cdef int64_t part[4]
    cdef int64_t row
    rows_and_columns(c, p.rows, p.columns, part)
    for row in range(part[0], part[1]):
        c.int8.quantize(x + row * p.ldx + part[2], y + row * p.ldy + part[2], part[3] - part[2], <float>p.scale,
                        <int32_t>p.zero, <int32_t>p.flip)
    return 0


cdef int dequantize(const tn_step *s, tn_context *c) noexcept nogil:
    cdef const StepsParams *p = <const StepsParams *>s.param
    cdef const uint8_t *x = bytes_of(s, c, 0)
    cdef float *y = floats(s, c, 1)
    cdef int64_t part[4]
    cdef int64_t row
    rows_and_columns(c, p.rows, p.columns, part)
    for row in range(part[0], part[1]):
        c.int8.dequantize(x + row * p.ldx + part[2], y + row * p.ldy + part[2], part[3] - part[2], <float>p.scale,
                          <int32_t>p.zero, <int32_t>p.flip)
    return 0


_declare("quantize", quantize, sizeof(StepsParams), "rows columns ldx ldy zero flip scale*")
_declare("dequantize", dequantize, sizeof(StepsParams), "rows columns ldx ldy zero flip scale*")


# quantize of planes into pixels: x [batch, channels, plane], y [batch, pixels, channels].

cdef enum:
    MOST_PLANES = 4
    PLANES_TILE = 512       # pixels at a time

cdef struct PlanesParams:
    int64_t batch, pixels, channels, plane, zero, flip
    double scale


cdef int quantize_planes(const tn_step *s, tn_context *c) noexcept nogil:
    cdef const PlanesParams *p = <const PlanesParams *>s.param
    cdef const float *x
    cdef uint8_t *y
    cdef uint8_t together[MOST_PLANES * PLANES_TILE]
    cdef int64_t begin, end, n, at, i, k, count
    my_part(c, p.pixels, 64, &begin, &end)
    for n in range(p.batch):
        at = begin
        while at < end:
            count = min(<int64_t>PLANES_TILE, end - at)
            x = floats(s, c, 0) + n * p.channels * p.plane + at
            y = bytes_of(s, c, 1) + (n * p.pixels + at) * p.channels
            for k in range(p.channels):
                c.int8.quantize(x + k * p.plane, together + k * PLANES_TILE, count, <float>p.scale, <int32_t>p.zero,
                                <int32_t>p.flip)
            if p.channels == 2 or p.channels == 3:
                c.int8.interleave(together, PLANES_TILE, <int>p.channels, y, count)
            else:
                for i in range(count):
                    for k in range(p.channels):
                        y[i * p.channels + k] = together[k * PLANES_TILE + i]
            at += count
    return 0


_declare("quantize_planes", quantize_planes, sizeof(PlanesParams), "batch pixels channels plane zero flip scale*")


cdef enum:
    TABLE_BYTES = 4096      # of short rows that are looked up in one go


cdef struct TableParams:
    int64_t rows, columns, ldx, ldy


cdef int q_table(const tn_step *s, tn_context *c) noexcept nogil:
    cdef const TableParams *p = <const TableParams *>s.param
    cdef const uint8_t *x = bytes_of(s, c, 0)
    cdef const uint8_t *table = bytes_of(s, c, 1)
    cdef uint8_t *y = bytes_of(s, c, 2)
    cdef uint8_t together[TABLE_BYTES]
    cdef int64_t part[4]
    cdef int64_t row, rows
    rows_and_columns(c, p.rows, p.columns, part)
    if p.rows > 1 and p.columns <= TABLE_BYTES // 8:
        row = part[0]
        while row < part[1]:
            rows = min(TABLE_BYTES // p.columns, part[1] - row)
            if p.ldx == p.columns:
                c.int8.lookup(x + row * p.ldx, together, rows * p.columns, table)
            else:
                tn_rows(<char *>together, p.columns, <const char *>x + row * p.ldx, p.ldx, p.columns, rows)
                c.int8.lookup(together, together, rows * p.columns, table)
            tn_rows(<char *>y + row * p.ldy, p.ldy, <const char *>together, p.columns, p.columns, rows)
            row += rows
        return 0
    for row in range(part[0], part[1]):
        c.int8.lookup(x + row * p.ldx + part[2], y + row * p.ldy + part[2], part[3] - part[2], table)
    return 0


_declare("q_table", q_table, sizeof(TableParams), "rows columns ldx ldy")


# Broadcasting is strides of zero; the last dimension's stride is 0 or 1 for both inputs and 1 for the output.  A short vector
# that all rows of contiguous tensors share (channels of pixels) is repeated in an array, so that several rows are one.

cdef enum:
    TILE = 1024

cdef struct PairParams:
    int64_t shape[6]
    int64_t stride_a[6]
    int64_t stride_b[6]
    int64_t stride_y[6]
    int64_t a_zero, b_zero, low, high
    double ra, rb, c


ctypedef void (*pair_kernel)(const tn_q_pair *, const uint8_t *, int, const uint8_t *, int, uint8_t *, int64_t) noexcept nogil


cdef inline bint shared(const PairParams *p, const int64_t *whole, const int64_t *vector) noexcept nogil:
    """Do all rows along dimension 4 share one vector, short enough, while the other tensor and the output are contiguous?"""
    cdef int64_t n = p.shape[5]
    return (1 < n <= TILE // 2 and p.shape[4] > 1 and vector[4] == 0 and vector[5] == 1 and whole[4] == n and whole[5] == 1
            and p.stride_y[4] == n)


cdef inline void repeat(uint8_t *tile, const uint8_t *x, int64_t n, int64_t repeats) noexcept nogil:
    cdef int64_t i
    for i in range(repeats):
        memcpy(tile + i * n, x, n)


cdef inline void pairs(const tn_step *s, tn_context *c, pair_kernel kernel) noexcept nogil:
    cdef const PairParams *p = <const PairParams *>s.param
    cdef const uint8_t *a = bytes_of(s, c, 0)
    cdef const uint8_t *b = bytes_of(s, c, 1)
    cdef uint8_t *y = bytes_of(s, c, 2)
    cdef tn_q_pair pair
    cdef int64_t outer = p.shape[0] * p.shape[1] * p.shape[2] * p.shape[3] * p.shape[4]
    cdef int64_t begin = 0, end = outer, first = 0, last = p.shape[5]
    cdef int64_t i, d, rest, at, oa, ob, oy, run, n = p.shape[5], repeats = 1, tiled = -1
    cdef uint8_t tile[TILE]
    pair.ra, pair.rb, pair.c = <float>p.ra, <float>p.rb, <float>p.c
    pair.a_zero, pair.b_zero = <int32_t>p.a_zero, <int32_t>p.b_zero
    pair.low, pair.high = <int32_t>p.low, <int32_t>p.high
    if outer < 2 * c.threads:
        my_part(c, p.shape[5], 64, &first, &last)
    else:
        my_part(c, outer, 1, &begin, &end)
        if shared(p, p.stride_a, p.stride_b) or shared(p, p.stride_b, p.stride_a):
            repeats = min(TILE // n, p.shape[4])
    i = begin
    while i < end:
        run = min(repeats, min(p.shape[4] - i % p.shape[4], end - i))
        rest = i
        oa = ob = oy = 0
        for d in range(4, -1, -1):
            if p.shape[d] > 1:
                at = rest % p.shape[d]
                rest //= p.shape[d]
                oa += at * p.stride_a[d]
                ob += at * p.stride_b[d]
                oy += at * p.stride_y[d]
        if repeats == 1:
            kernel(&pair, a + oa + first * p.stride_a[5], p.stride_a[5] != 0, b + ob + first * p.stride_b[5],
                   p.stride_b[5] != 0, y + oy + first, last - first)
        elif p.stride_b[4] == 0:
            if tiled != ob:
                repeat(tile, b + ob, n, repeats)
                tiled = ob
            kernel(&pair, a + oa, 1, tile, 1, y + oy, run * n)
        else:
            if tiled != oa:
                repeat(tile, a + oa, n, repeats)
                tiled = oa
            kernel(&pair, tile, 1, b + ob, 1, y + oy, run * n)
        i += run


cdef int q_add(const tn_step *s, tn_context *c) noexcept nogil:
    pairs(s, c, c.int8.add)
    return 0


cdef int q_mul(const tn_step *s, tn_context *c) noexcept nogil:
    pairs(s, c, c.int8.mul)
    return 0


_PAIR = ("shape0 shape1 shape2 shape3 shape4 shape5 x0 x1 x2 x3 x4 x5 y0 y1 y2 y3 y4 y5 z0 z1 z2 z3 z4 z5 "
         "a_zero b_zero low high ra* rb* c*")
_declare("q_add", q_add, sizeof(PairParams), _PAIR)
_declare("q_mul", q_mul, sizeof(PairParams), _PAIR)


# Rows of n numbers; a row is not split: its sum is one number.

cdef struct QSoftmaxParams:
    int64_t rows, columns, ldx, ldy, zero
    double levels


cdef int q_softmax(const tn_step *s, tn_context *c) noexcept nogil:
    cdef const QSoftmaxParams *p = <const QSoftmaxParams *>s.param
    cdef int64_t begin, end
    my_part(c, p.rows, 1, &begin, &end)
    c.int8.softmax(bytes_of(s, c, 0) + begin * p.ldx, p.ldx, bytes_of(s, c, 2) + begin * p.ldy, p.ldy, end - begin, p.columns,
                   floats(s, c, 1), <float>p.levels, <int32_t>p.zero)
    return 0


_declare("q_softmax", q_softmax, sizeof(QSoftmaxParams), "rows columns ldx ldy zero levels*")
