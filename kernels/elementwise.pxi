# Functions of one and two tensors, softmax, and the per-channel scale and shift.

from libc.math cimport INFINITY as INF

cdef struct UnaryParams:
    int64_t rows, columns, ldx, ldy, function
    double alpha, beta


cdef int unary_f32(const tn_step *s, tn_context *c) noexcept nogil:
    cdef const UnaryParams *p = <const UnaryParams *>s.param
    cdef const float *x = floats(s, c, 0)
    cdef float *y = floats(s, c, 1)
    cdef int64_t begin, end, row
    if p.rows == 1:
        my_part(c, p.columns, 64, &begin, &end)
        c.micro.unary(<tn_function>p.function, <float>p.alpha, <float>p.beta, x + begin, y + begin, end - begin)
        return 0
    my_part(c, p.rows, 1, &begin, &end)
    for row in range(begin, end):
        c.micro.unary(<tn_function>p.function, <float>p.alpha, <float>p.beta, x + row * p.ldx, y + row * p.ldy, p.columns)
    return 0


_declare("unary_f32", unary_f32, sizeof(UnaryParams), "rows columns ldx ldy function alpha* beta*")


# Broadcasting is strides of zero; the last dimension's stride is 0 or 1 for both inputs and 1 for the output.

cdef enum:
    REPEATED = 512      # floats of a short row's copies

cdef struct BinaryParams:
    int64_t function
    int64_t shape[6]
    int64_t stride_x[6]
    int64_t stride_y[6]
    int64_t stride_z[6]
    int64_t activation
    double lo, hi, alpha, beta


cdef int binary_f32(const tn_step *s, tn_context *c) noexcept nogil:
    cdef const BinaryParams *p = <const BinaryParams *>s.param
    cdef const float *x = floats(s, c, 0)
    cdef const float *y = floats(s, c, 1)
    cdef float *z = floats(s, c, 2)
    cdef tn_epilogue e = epilogue(p.activation, p.lo, p.hi, p.alpha, p.beta)
    cdef int64_t row = p.shape[5], outer = p.shape[0] * p.shape[1] * p.shape[2] * p.shape[3] * p.shape[4]
    cdef int64_t begin = 0, end = outer, first = 0, last = row
    cdef int64_t i, d, rest, at, ox, oy, oz, n = 1
    cdef float copies[REPEATED]
    cdef const float *repeated = NULL
    # Of two short rows, one of which is the same for all neighbours (a factor per channel): many rows at a time.
    cdef bint short_x = p.stride_x[4] == 0 and p.stride_x[5] == 1 and p.stride_y[4] == row and p.stride_y[5] == 1
    cdef bint short_y = p.stride_y[4] == 0 and p.stride_y[5] == 1 and p.stride_x[4] == row and p.stride_x[5] == 1
    cdef int64_t together = REPEATED // row if (short_x or short_y) and 0 < row and p.stride_z[4] == row else 1
    if outer < 2 * c.threads:
        my_part(c, row, 64, &first, &last)
        together = 1
    else:
        my_part(c, outer, 1, &begin, &end)
    i = begin
    while i < end:
        rest = i
        ox = oy = oz = 0
        for d in range(4, -1, -1):
            if p.shape[d] > 1:
                at = rest % p.shape[d]
                rest //= p.shape[d]
                ox += at * p.stride_x[d]
                oy += at * p.stride_y[d]
                oz += at * p.stride_z[d]
        if together > 1:
            n = min(min(together, end - i), p.shape[4] - i % p.shape[4])
            if repeated != (x + ox if short_x else y + oy):
                repeated = x + ox if short_x else y + oy
                for d in range(min(together, end - begin)):
                    memcpy(copies + d * row, repeated, row * sizeof(float))
            c.micro.binary(<tn_binary>p.function, <const float *>copies if short_x else x + ox, 1,
                           y + oy if short_x else <const float *>copies, 1, z + oz, n * row, &e)
        else:
            c.micro.binary(<tn_binary>p.function, x + ox + first * p.stride_x[5], p.stride_x[5] != 0,
                           y + oy + first * p.stride_y[5], p.stride_y[5] != 0, z + oz + first, last - first, &e)
        i += n
    return 0


_declare("binary_f32", binary_f32, sizeof(BinaryParams),
         "function shape0 shape1 shape2 shape3 shape4 shape5 x0 x1 x2 x3 x4 x5 y0 y1 y2 y3 y4 y5 z0 z1 z2 z3 z4 z5 "
         "activation lo* hi* alpha* beta*")


cdef struct ScaleShiftParams:
    int64_t rows, channels, ldx, ldy, function
    double lo, hi, alpha, beta


cdef int scale_shift_f32(const tn_step *s, tn_context *c) noexcept nogil:
    cdef const ScaleShiftParams *p = <const ScaleShiftParams *>s.param
    cdef tn_epilogue e = epilogue(p.function, p.lo, p.hi, p.alpha, p.beta)
    cdef int64_t begin, end, row
    my_part(c, p.rows, 1, &begin, &end)
    for row in range(begin, end):
        c.micro.scale_shift(floats(s, c, 0) + row * p.ldx, floats(s, c, 1), floats(s, c, 2),
                            floats(s, c, 3) + row * p.ldy, p.channels, &e)
    return 0


_declare("scale_shift_f32", scale_shift_f32, sizeof(ScaleShiftParams),
         "rows channels ldx ldy function lo* hi* alpha* beta*")


# x [outer, n, inner], along n; long rows of a few are not split: their sum is one number.

cdef struct SoftmaxParams:
    int64_t outer, n, inner, log


cdef int softmax_f32(const tn_step *s, tn_context *c) noexcept nogil:
    cdef const SoftmaxParams *p = <const SoftmaxParams *>s.param
    cdef int64_t begin, end, row = p.n * p.inner
    my_part(c, p.outer, 1, &begin, &end)
    c.micro.softmax(floats(s, c, 0) + begin * row, floats(s, c, 1) + begin * row, end - begin, p.n, p.inner, <int>p.log)
    return 0


_declare("softmax_f32", softmax_f32, sizeof(SoftmaxParams), "outer n inner log")
