# Data movement: one strided copy serves concat, slice, pad, expand, transpose, depth_to_space and channel_shuffle.

cdef struct CopyParams:
    int64_t item                # bytes of an element: 1, 2, 4 or 8
    int64_t kind                # of the last two dimensions: 0 contiguous rows, 1 a 2-D transpose, 2 anything
    int64_t shape[6]
    int64_t stride_x[6]         # elements
    int64_t stride_y[6]


cdef inline void copy_rows(const CopyParams *p, const char *x, char *y, int64_t first, int64_t last) noexcept nogil:
    cdef int64_t i, j
    if p.kind == 0:
        for i in range(first, last):
            memcpy(y + i * p.stride_y[4] * p.item, x + i * p.stride_x[4] * p.item, p.shape[5] * p.item)
        return
    x += first * p.stride_x[4] * p.item
    y += first * p.stride_y[4] * p.item
    for i in range(last - first):
        if p.item == 4:
            for j in range(p.shape[5]):
                (<int32_t *>y)[i * p.stride_y[4] + j * p.stride_y[5]] = (<const int32_t *>x)[i * p.stride_x[4] + j * p.stride_x[5]]
        elif p.item == 8:
            for j in range(p.shape[5]):
                (<int64_t *>y)[i * p.stride_y[4] + j * p.stride_y[5]] = (<const int64_t *>x)[i * p.stride_x[4] + j * p.stride_x[5]]
        elif p.item == 2:
            for j in range(p.shape[5]):
                (<int16_t *>y)[i * p.stride_y[4] + j * p.stride_y[5]] = (<const int16_t *>x)[i * p.stride_x[4] + j * p.stride_x[5]]
        else:
            for j in range(p.shape[5]):
                (<uint8_t *>y)[i * p.stride_y[4] + j * p.stride_y[5]] = (<const uint8_t *>x)[i * p.stride_x[4] + j * p.stride_x[5]]


cdef int copy(const tn_step *s, tn_context *c) noexcept nogil:
    cdef const CopyParams *p = <const CopyParams *>s.param
    cdef const char *x = operand(s, c, 0)
    cdef char *y = operand(s, c, 1)
    cdef int64_t outer = p.shape[0] * p.shape[1] * p.shape[2] * p.shape[3]
    cdef int64_t begin = 0, end = outer, first = 0, last = p.shape[4]
    cdef int64_t i, d, rest, at, ox, oy
    if outer < 2 * c.threads:
        my_part(c, p.shape[4], 16, &first, &last)
    else:
        my_part(c, outer, 1, &begin, &end)
    for i in range(begin, end):
        rest = i
        ox = oy = 0
        for d in range(3, -1, -1):
            if p.shape[d] > 1:
                at = rest % p.shape[d]
                rest //= p.shape[d]
                ox += at * p.stride_x[d]
                oy += at * p.stride_y[d]
        if p.kind == 1:
            # dimension 4 is contiguous in x, dimension 5 in y
            c.micro.transpose(<const float *>x + ox + first, p.stride_x[5], <float *>y + oy + first * p.stride_y[4],
                              p.stride_y[4], p.shape[5], last - first)
        else:
            copy_rows(p, x + ox * p.item, y + oy * p.item, first, last)
    return 0


_declare("copy", copy, sizeof(CopyParams),
         "item kind shape0 shape1 shape2 shape3 shape4 shape5 x0 x1 x2 x3 x4 x5 y0 y1 y2 y3 y4 y5")


cdef struct FillParams:
    int64_t count
    double value


cdef int fill_f32(const tn_step *s, tn_context *c) noexcept nogil:
    cdef const FillParams *p = <const FillParams *>s.param
    cdef float *y = floats(s, c, 0)
    cdef float value = <float>p.value
    cdef int64_t begin, end, i
    my_part(c, p.count, 64, &begin, &end)
    for i in range(begin, end):
        y[i] = value
    return 0


_declare("fill_f32", fill_f32, sizeof(FillParams), "count value*")


# resize: source rows and columns come from tables made by the plan.

cdef struct ResizeParams:
    int64_t linear, batch, height, width, channels, ldx, out_height, out_width, ldy


cdef int resize_f32(const tn_step *s, tn_context *c) noexcept nogil:
    cdef const ResizeParams *p = <const ResizeParams *>s.param
    cdef const float *x = floats(s, c, 0)
    cdef float *y = floats(s, c, 1)
    cdef const int64_t *index = integers(s, c, 2)   # rows: low, high; columns: low, high
    cdef const float *weight = floats(s, c, 3)      # of the high row, of the high column
    cdef const int64_t *column = index + 2 * p.out_height
    cdef int64_t begin, end, row, n, oy, ox
    cdef const float *low
    cdef const float *high
    my_part(c, p.batch * p.out_height, 1, &begin, &end)
    for row in range(begin, end):
        n = row // p.out_height
        oy = row - n * p.out_height
        low = x + (n * p.height + index[oy]) * p.width * p.ldx
        high = x + (n * p.height + index[p.out_height + oy]) * p.width * p.ldx
        for ox in range(p.out_width):
            if p.linear:
                c.micro.bilinear(low + column[ox] * p.ldx, low + column[p.out_width + ox] * p.ldx,
                                 high + column[ox] * p.ldx, high + column[p.out_width + ox] * p.ldx,
                                 weight[p.out_height + ox], weight[oy], y + (row * p.out_width + ox) * p.ldy, p.channels)
            else:
                memcpy(y + (row * p.out_width + ox) * p.ldy, low + column[ox] * p.ldx, p.channels * sizeof(float))
    return 0


_declare("resize_f32", resize_f32, sizeof(ResizeParams),
         "linear batch height width channels ldx out_height out_width ldy")
