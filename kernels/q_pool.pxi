# Pools and reductions of 8-bit tensors, and the linear resize of quantised ones.

from libc.string cimport memchr

cdef struct BytePoolParams:
    int64_t average, count_include_pad, flip
    int64_t batch, height, width, channels, ldx, out_height, out_width, ldy
    int64_t kh, kw, stride_h, stride_w, pad_top, pad_left, pad_bottom, pad_right, dilation_h, dilation_w
    int64_t x_zero, y_zero, shift
    double x_scale, y_scale


cdef int pool2d_u8(const tn_step *s, tn_context *c) noexcept nogil:
    cdef const BytePoolParams *p = <const BytePoolParams *>s.param
    cdef const uint8_t *x = <const uint8_t *>operand(s, c, 0)
    cdef uint8_t *y = <uint8_t *>operand(s, c, 1)
    cdef int64_t begin, end, row, n, oy, iy, ky, first
    cdef tn_windows w
    cdef tn_average a
    w.x_row = p.dilation_h * p.width * p.ldx
    w.ldx = p.ldx
    w.width = p.width
    w.kw = p.kw
    w.stride = p.stride_w
    w.dilation = p.dilation_w
    w.pad_left = p.pad_left
    w.pad_right = p.pad_right
    w.ldy = p.ldy
    w.out_width = p.out_width
    w.channels = p.channels
    a.x_scale = <float>p.x_scale
    a.y_scale = <float>p.y_scale
    a.x_zero = <int32_t>p.x_zero
    a.y_zero = <int32_t>(p.y_zero - p.shift)
    a.shift = <int32_t>p.shift
    a.counted_rows = 0
    my_part(c, p.batch * p.out_height, 1, &begin, &end)
    for row in range(begin, end):
        n = row // p.out_height
        oy = row - n * p.out_height
        iy = oy * p.stride_h - p.pad_top
        window(iy, p.kh, p.dilation_h, p.height, &ky, &w.rows)
        w.x = x + (n * p.height + iy + ky * p.dilation_h) * p.width * p.ldx
        w.y = y + row * p.out_width * p.ldy
        if p.average:
            if p.count_include_pad:
                window(iy + p.pad_top, p.kh, p.dilation_h, p.pad_top + p.height + p.pad_bottom, &first, &a.counted_rows)
            c.int8.average_windows(&w, &a)
        else:
            c.int8.max_windows(&w, <int>p.flip)
    return 0


_declare("pool2d_u8", pool2d_u8, sizeof(BytePoolParams),
         "average count_include_pad flip batch height width channels ldx out_height out_width ldy kh kw stride_h stride_w "
         "pad_top pad_left pad_bottom pad_right dilation_h dilation_w x_zero y_zero shift x_scale* y_scale*")


# x [outer, n, channels] -> y [outer, channels]; rows of channels are ldx, ldy apart.

cdef struct MeanParams:
    int64_t outer, n, channels, ldx, ldy, x_zero, y_zero
    double multiplier


cdef int mean_u8(const tn_step *s, tn_context *c) noexcept nogil:
    cdef const MeanParams *p = <const MeanParams *>s.param
    cdef const uint8_t *x = <const uint8_t *>operand(s, c, 0)
    cdef uint8_t *y = <uint8_t *>operand(s, c, 1)
    cdef int64_t begin = 0, end = p.outer, first = 0, last = p.channels, i
    if p.outer >= c.threads:
        my_part(c, p.outer, 1, &begin, &end)
    else:
        my_part(c, p.channels, 64, &first, &last)
    if first == last:
        return 0
    for i in range(begin, end):
        c.int8.mean(x + i * p.n * p.ldx + first, p.ldx, p.n, last - first, <int32_t>(-p.x_zero * p.n), <float>p.multiplier,
                    <int32_t>p.y_zero, y + i * p.ldy + first)
    return 0


_declare("mean_u8", mean_u8, sizeof(MeanParams), "outer n channels ldx ldy x_zero y_zero multiplier*")


# Maximum (see max_windows in int8.h for `flip`): x [outer, n, inner] -> y [outer, inner]; rows of inner values are ldx apart.

cdef struct ByteReduceParams:
    int64_t flip, outer, n, inner, ldx


cdef int reduce_u8(const tn_step *s, tn_context *c) noexcept nogil:
    cdef const ByteReduceParams *p = <const ByteReduceParams *>s.param
    cdef const uint8_t *x = <const uint8_t *>operand(s, c, 0)
    cdef uint8_t *y = <uint8_t *>operand(s, c, 1)
    cdef int64_t begin = 0, end = p.outer, first = 0, last = p.inner, i
    cdef tn_windows w
    if p.outer >= c.threads:
        my_part(c, p.outer, 1, &begin, &end)
    else:
        my_part(c, p.inner, 64, &first, &last)
    if first == last:
        return 0
    memset(&w, 0, sizeof(w))
    w.x_row = p.ldx
    w.rows = p.n
    w.width = w.kw = w.stride = w.dilation = w.out_width = 1
    w.channels = last - first
    for i in range(begin, end):
        if p.inner == 1 and p.ldx == 1:
            y[i] = c.int8.max_of(x + i * p.n, p.n, <int>p.flip)
        else:
            w.x = x + i * p.n * p.ldx + first
            w.y = y + i * p.inner + first
            c.int8.max_windows(&w, <int>p.flip)
    return 0


_declare("reduce_u8", reduce_u8, sizeof(ByteReduceParams), "flip outer n inner ldx")


cdef struct ByteArgmaxParams:
    int64_t flip, outer, n, inner, last


cdef inline int64_t byte_place(const uint8_t *x, int64_t n, uint8_t value, bint last) noexcept nogil:
    """Index of the first (or last) byte that is `value`; there is one."""
    if not last:
        return <const uint8_t *>memchr(x, value, <size_t>n) - x
    n -= 1
    while x[n] != value:
        n -= 1
    return n


cdef int argmax_u8(const tn_step *s, tn_context *c) noexcept nogil:
    cdef const ByteArgmaxParams *p = <const ByteArgmaxParams *>s.param
    cdef const uint8_t *x = <const uint8_t *>operand(s, c, 0)
    cdef int64_t *y = <int64_t *>operand(s, c, 1)
    cdef int64_t begin, end, i, j, k
    cdef int32_t found, best, flip = <int32_t>p.flip
    my_part(c, p.outer, 1, &begin, &end)
    x += begin * p.n * p.inner
    y += begin * p.inner
    for i in range(begin, end):
        if p.inner == 1:
            y[0] = byte_place(x, p.n, c.int8.max_of(x, p.n, flip), p.last)
        else:
            memset(y, 0, <size_t>p.inner * sizeof(int64_t))
            for k in range(1, p.n):
                for j in range(p.inner):
                    found = x[k * p.inner + j] ^ flip
                    best = x[y[j] * p.inner + j] ^ flip
                    if found > best or (p.last and found == best):
                        y[j] = k
        x += p.n * p.inner
        y += p.inner
    return 0


_declare("argmax_u8", argmax_u8, sizeof(ByteArgmaxParams), "flip outer n inner last")


# linear resize: the two rows of x that make a row of y lie in scratch memory as reals, and stay for the next one.

cdef struct ByteResizeParams:
    int64_t batch, height, width, channels, ldx, out_height, out_width, ldy
    int64_t scratch_floats      # of one row of reals
    int64_t x_zero, y_zero
    double x_scale, y_scale


cdef void row_of_reals(const ByteResizeParams *p, const uint8_t *x, float *y, tn_context *c) noexcept nogil:
    cdef int64_t i
    if p.ldx == p.channels:
        c.int8.dequantize(x, y, p.width * p.channels, <float>p.x_scale, <int32_t>p.x_zero, 0)
        return
    for i in range(p.width):
        c.int8.dequantize(x + i * p.ldx, y + i * p.channels, p.channels, <float>p.x_scale, <int32_t>p.x_zero, 0)


cdef int resize_u8(const tn_step *s, tn_context *c) noexcept nogil:
    cdef const ByteResizeParams *p = <const ByteResizeParams *>s.param
    cdef const uint8_t *x = <const uint8_t *>operand(s, c, 0)
    cdef uint8_t *y = <uint8_t *>operand(s, c, 1)
    cdef const int64_t *index = integers(s, c, 2)   # rows: low, high; columns: left, right, in floats
    cdef const float *part = floats(s, c, 3)        # of the low row, of the high row; of the left, of the right column
    cdef float *reals = floats(s, c, 4) + 2 * c.thread * p.scratch_floats
    cdef int64_t begin, end, row, n, oy, at, slot
    cdef int64_t[2] held
    cdef int64_t[2] wanted
    cdef tn_bilinear b
    held[0] = held[1] = -1
    b.column = index + 2 * p.out_height
    b.part = part + 2 * p.out_height
    b.y_scale = <float>p.y_scale
    b.y_zero = <int32_t>p.y_zero
    b.ldy = p.ldy
    b.out_width = p.out_width
    b.channels = p.channels
    my_part(c, p.batch * p.out_height, 1, &begin, &end)
    for row in range(begin, end):
        n = row // p.out_height
        oy = row - n * p.out_height
        wanted[0] = n * p.height + index[oy]
        wanted[1] = n * p.height + index[p.out_height + oy]
        for at in range(2):
            if wanted[at] != held[0] and wanted[at] != held[1]:
                slot = 1 if held[0] == wanted[0] or held[0] == wanted[1] else 0
                held[slot] = wanted[at]
                row_of_reals(p, x + wanted[at] * p.width * p.ldx, reals + slot * p.scratch_floats, c)
        b.low = reals + (0 if held[0] == wanted[0] else p.scratch_floats)
        b.high = reals + (0 if held[0] == wanted[1] else p.scratch_floats)
        b.part_low = part[oy]
        b.part_high = part[p.out_height + oy]
        b.y = y + row * p.out_width * p.ldy
        c.int8.bilinear(&b)
    return 0


_declare("resize_u8", resize_u8, sizeof(ByteResizeParams),
         "batch height width channels ldx out_height out_width ldy scratch_floats x_zero y_zero x_scale* y_scale*")
