# Data movement: one strided copy serves concat, slice, pad, expand, tile, transpose, depth_to_space and channel_shuffle.

cdef extern from "movement.h":
    void tn_move(char *y, const char *x, int64_t n) nogil
    void tn_rows(char *y, int64_t y_step, const char *x, int64_t x_step, int64_t n, int64_t rows) nogil
    void tn_repeat(char *y, const char *x, int64_t item, int64_t count) nogil
    void tn_stride(char *y, int64_t y_step, const char *x, int64_t x_step, int64_t item, int64_t n) nogil
    void tn_transpose(char *y, int64_t ldy, const char *x, int64_t ldx, int64_t item, int64_t rows, int64_t columns) nogil
    int tn_gather(char *y, const char *x, const void *index, int64_t index_item, int64_t extent, int64_t row,
                  int64_t n) nogil


cdef struct CopyParams:
    int64_t item                # bytes of an element: 1, 2, 4, 8 or 16
    int64_t kind                # of the last two dimensions: 0 contiguous rows, 1 a 2-D transpose, 2 anything, 3 one element per row
    int64_t shape[6]
    int64_t stride_x[6]         # elements
    int64_t stride_y[6]


cdef inline void copy_rows(const CopyParams *p, const char *x, char *y, int64_t rows) noexcept nogil:
    cdef int64_t i, x_step = p.stride_x[4] * p.item, y_step = p.stride_y[4] * p.item, length = p.shape[5] * p.item
    if p.kind == 0:
        tn_rows(y, y_step, x, x_step, length, rows)
        return
    for i in range(rows):
        if p.kind == 3:
            tn_repeat(y, x, p.item, p.shape[5])
        else:
            tn_stride(y, p.stride_y[5], x, p.stride_x[5], p.item, p.shape[5])
        x += x_step
        y += y_step


cdef inline void copy_transposed(const CopyParams *p, const char *x, char *y, int64_t rows, tn_context *c) noexcept nogil:
    """Dimension 4 is contiguous in x, dimension 5 in y."""
    if p.item == 4:
        c.micro.transpose(<const float *>x, p.stride_x[5], <float *>y, p.stride_y[4], p.shape[5], rows)
    elif p.item == 1 and 2 <= p.shape[5] <= 3 and p.stride_y[4] == p.shape[5]:
        c.int8.interleave(<const uint8_t *>x, p.stride_x[5], <int>p.shape[5], <uint8_t *>y, rows)
    elif p.item == 1 and 2 <= rows <= 3 and p.stride_x[5] == rows:
        c.int8.deinterleave(<const uint8_t *>x, <int>rows, <uint8_t *>y, p.stride_y[4], p.shape[5])
    elif p.item == 1 and rows >= 16 and p.shape[5] >= 16:
        c.micro.transpose_bytes(<const uint8_t *>x, p.stride_x[5], <uint8_t *>y, p.stride_y[4], p.shape[5], rows)
    else:
        tn_transpose(y, p.stride_y[4], x, p.stride_x[5], p.item, p.shape[5], rows)


cdef int copy(const tn_step *s, tn_context *c) noexcept nogil:
    cdef const CopyParams *p = <const CopyParams *>s.param
    cdef const char *x = operand(s, c, 0)
    cdef char *y = operand(s, c, 1)
    cdef int64_t outer = p.shape[0] * p.shape[1] * p.shape[2] * p.shape[3]
    cdef int64_t begin = 0, end = outer, first = 0, last = p.shape[4]
    cdef int64_t at[4]
    cdef int64_t i, d, rest, ox, oy
    if outer < 2 * c.threads:
        my_part(c, p.shape[4], 16, &first, &last)
    else:
        my_part(c, outer, 1, &begin, &end)
    ox = first * p.stride_x[4]
    oy = first * p.stride_y[4]
    rest = begin
    for d in range(3, -1, -1):
        at[d] = rest % p.shape[d]
        rest //= p.shape[d]
        ox += at[d] * p.stride_x[d]
        oy += at[d] * p.stride_y[d]
    for i in range(begin, end):
        if p.kind == 1:
            copy_transposed(p, x + ox * p.item, y + oy * p.item, last - first, c)
        else:
            copy_rows(p, x + ox * p.item, y + oy * p.item, last - first)
        for d in range(3, -1, -1):
            at[d] += 1
            ox += p.stride_x[d]
            oy += p.stride_y[d]
            if at[d] < p.shape[d]:
                break
            at[d] = 0
            ox -= p.shape[d] * p.stride_x[d]
            oy -= p.shape[d] * p.stride_y[d]
    return 0


_declare("copy", copy, sizeof(CopyParams),
         "item kind shape0 shape1 shape2 shape3 shape4 shape5 x0 x1 x2 x3 x4 x5 y0 y1 y2 y3 y4 y5")


cdef struct GatherParams:
    int64_t outer, extent       # x is [outer][extent] rows
    int64_t row                 # bytes
    int64_t picks               # y is [outer][picks] rows
    int64_t index_item          # bytes of an index: 4 or 8


cdef int gather(const tn_step *s, tn_context *c) noexcept nogil:
    """An index outside the axis stops the run; nothing is read for it."""
    cdef const GatherParams *p = <const GatherParams *>s.param
    cdef const char *x = operand(s, c, 0)
    cdef const char *indices = operand(s, c, 1)
    cdef char *y = operand(s, c, 2)
    cdef int64_t begin, end, block, pick, n
    cdef int status = 0
    my_part(c, p.outer * p.picks, 1, &begin, &end)
    while begin < end:
        block = begin // p.picks
        pick = begin - block * p.picks
        n = min(end - begin, p.picks - pick)
        status |= tn_gather(y + begin * p.row, x + block * p.extent * p.row, indices + pick * p.index_item, p.index_item,
                            p.extent, p.row, n)
        begin += n
    return status


_declare("gather", gather, sizeof(GatherParams), "outer extent row picks index_item")


# resize: source rows and columns come from tables made by the plan.

cdef struct NearestParams:
    int64_t batch, height, width, out_height, out_width
    int64_t pixel, ldx, ldy     # bytes


cdef int resize_nearest(const tn_step *s, tn_context *c) noexcept nogil:
    cdef const NearestParams *p = <const NearestParams *>s.param
    cdef const char *x = operand(s, c, 0)
    cdef char *y = operand(s, c, 1)
    cdef const int64_t *rows = integers(s, c, 2)
    cdef const int64_t *columns = rows + p.out_height
    cdef int64_t begin, end, row, n, oy, ox
    cdef const char *source
    my_part(c, p.batch * p.out_height, 1, &begin, &end)
    y += begin * p.out_width * p.ldy
    for row in range(begin, end):
        n = row // p.out_height
        oy = row - n * p.out_height
        if p.ldy == p.pixel and row > begin and oy > 0 and rows[oy] == rows[oy - 1]:
            memcpy(y, y - p.out_width * p.ldy, p.out_width * p.ldy)
            y += p.out_width * p.ldy
            continue
        source = x + (n * p.height + rows[oy]) * p.width * p.ldx
        for ox in range(p.out_width):
            tn_move(y, source + columns[ox] * p.ldx, p.pixel)
            y += p.ldy
    return 0


_declare("resize_nearest", resize_nearest, sizeof(NearestParams), "batch height width out_height out_width pixel ldx ldy")


cdef struct ResizeParams:
    int64_t batch, height, width, channels, ldx, out_height, out_width, ldy


cdef int resize_f32(const tn_step *s, tn_context *c) noexcept nogil:
    """Linear."""
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
            c.micro.bilinear(low + column[ox] * p.ldx, low + column[p.out_width + ox] * p.ldx,
                             high + column[ox] * p.ldx, high + column[p.out_width + ox] * p.ldx,
                             weight[p.out_height + ox], weight[oy], y + (row * p.out_width + ox) * p.ldy, p.channels)
    return 0


_declare("resize_f32", resize_f32, sizeof(ResizeParams), "batch height width channels ldx out_height out_width ldy")
