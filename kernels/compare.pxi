# Comparison of two tensors, and choice between two by a third.

# Of up to six loops: broadcasting is strides of zero; the last dimension's stride is 0 or 1 for inputs and 1 for the output.

cdef inline void walk(int64_t i, const int64_t *shape, const int64_t *strides, int tensors, int64_t *offsets) noexcept nogil:
    """Offsets of the i-th row of every tensor; strides [tensors][6]."""
    cdef int64_t at
    cdef int d, t
    for t in range(tensors):
        offsets[t] = 0
    for d in range(4, -1, -1):
        if shape[d] > 1:
            at = i % shape[d]
            i //= shape[d]
            for t in range(tensors):
                offsets[t] += at * strides[6 * t + d]


cdef inline void my_loops(tn_context *c, const int64_t *shape, int64_t *begin, int64_t *end, int64_t *first, int64_t *last) noexcept nogil:
    """This thread's rows, or its part of every row where there are few."""
    cdef int64_t outer = shape[0] * shape[1] * shape[2] * shape[3] * shape[4]
    begin[0] = first[0] = 0
    end[0] = outer
    last[0] = shape[5]
    if outer < 2 * c.threads:
        my_part(c, shape[5], 64, first, last)
    else:
        my_part(c, outer, 1, begin, end)


cdef struct CompareParams:
    int64_t function
    int64_t shape[6]
    int64_t strides[18]


cdef int compare_f32(const tn_step *s, tn_context *c) noexcept nogil:
    cdef const CompareParams *p = <const CompareParams *>s.param
    cdef const float *x = floats(s, c, 0)
    cdef const float *y = floats(s, c, 1)
    cdef uint8_t *z = <uint8_t *>operand(s, c, 2)
    cdef int64_t begin, end, first, last, i
    cdef int64_t o[3]
    cdef int sx = p.strides[5], sy = p.strides[11]
    my_loops(c, p.shape, &begin, &end, &first, &last)
    for i in range(begin, end):
        walk(i, p.shape, p.strides, 3, o)
        c.micro.compare(<tn_comparison>p.function, x + o[0] + first * sx, sx, y + o[1] + first * sy, sy, z + o[2] + first,
                        last - first)
    return 0


_declare("compare_f32", compare_f32, sizeof(CompareParams),
         "function shape0 shape1 shape2 shape3 shape4 shape5 x0 x1 x2 x3 x4 x5 y0 y1 y2 y3 y4 y5 z0 z1 z2 z3 z4 z5")


cdef struct WhereParams:
    int64_t item
    int64_t shape[6]
    int64_t strides[24]


cdef int where(const tn_step *s, tn_context *c) noexcept nogil:
    cdef const WhereParams *p = <const WhereParams *>s.param
    cdef const uint8_t *mask
    cdef char *x
    cdef char *y
    cdef char *z
    cdef int64_t begin, end, first, last, i, k, bits
    cdef int64_t o[4]
    cdef int sm = p.strides[5], sx = p.strides[11], sy = p.strides[17]
    my_loops(c, p.shape, &begin, &end, &first, &last)
    for i in range(begin, end):
        walk(i, p.shape, p.strides, 4, o)
        mask = <const uint8_t *>operand(s, c, 0) + o[0] + first * sm
        x = operand(s, c, 1) + (o[1] + first * sx) * p.item
        y = operand(s, c, 2) + (o[2] + first * sy) * p.item
        z = operand(s, c, 3) + (o[3] + first) * p.item
        if p.item == 4:
            c.micro.select(mask, sm, <const int32_t *>x, sx, <const int32_t *>y, sy, <int32_t *>z, last - first)
        elif p.item == 8:
            for k in range(last - first):
                bits = -<int64_t>mask[k * sm]      # no branch: masks are hard to predict
                (<int64_t *>z)[k] = ((<int64_t *>x)[k * sx] & bits) | ((<int64_t *>y)[k * sy] & ~bits)
        else:
            for k in range(last - first):
                z[k] = x[k * sx] if mask[k * sm] else y[k * sy]
    return 0


_declare("where", where, sizeof(WhereParams),
         "item shape0 shape1 shape2 shape3 shape4 shape5 x0 x1 x2 x3 x4 x5 y0 y1 y2 y3 y4 y5 z0 z1 z2 z3 z4 z5 "
         "w0 w1 w2 w3 w4 w5")
