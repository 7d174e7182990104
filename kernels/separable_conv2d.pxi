# Depthwise convolution and the 1x1 convolution that reads it.  Each thread makes a band of depthwise rows in a buffer of its own
# that stays in L2, and multiplies it at once: the tensor between the two is neither written to memory nor read again.
#
# In an inverted bottleneck the convolution before them joins in: its output rows for one band are a second buffer, of which
# the rows that the next band reads again are kept.  Without a 1x1 convolution (no weights) the depthwise rows are the output.

cdef struct SeparableParams:
    int64_t batch, height, width, channels, ldx, out_height, out_width
    int64_t kh, kw, stride_h, stride_w, pad_top, pad_left, inner_function
    double inner_lo, inner_hi, inner_alpha, inner_beta
    int64_t out_channels, ldy, ld_residual, band, scratch, padded, function
    double lo, hi, alpha, beta


# The output rows [begin, end) of the first convolution that one thread holds, counted through all pictures.
cdef struct Expanded:
    int64_t begin, end
    float *rows


cdef void expand(const tn_step *s, tn_context *c, const SeparableParams *p, Expanded *e, int64_t begin, int64_t end,
                 float *padded) noexcept nogil:
    """Hold the rows [begin, end); those that are held already are moved and not computed again."""
    cdef const Conv2dParams *first = <const Conv2dParams *>integers(s, c, 10)
    cdef int64_t row = p.width * p.channels, kept = max(<int64_t>0, min(e.end, end) - begin) if begin >= e.begin else 0
    memmove(e.rows, e.rows + (begin - e.begin) * row, kept * row * sizeof(float))
    e.begin = begin
    e.end = end
    conv2d_rows(first, floats(s, c, 0), floats(s, c, 8), floats(s, c, 9), NULL, e.rows + kept * row, padded, integers(s, c, 11),
                begin + kept, end, c)


cdef int separable_conv2d_f32(const tn_step *s, tn_context *c) noexcept nogil:
    cdef const SeparableParams *p = <const SeparableParams *>s.param
    cdef float *between = floats(s, c, 7) + c.thread * p.scratch
    cdef bint expands = s.space[8] >= 0
    cdef int64_t top, bottom
    cdef Expanded e
    cdef tn_depthwise d
    cdef Conv2dParams q
    cdef int64_t parts[5]
    cdef int64_t begin, end, n, rows, first
    memset(&q, 0, sizeof(q))
    d.height = p.height
    d.width = p.width
    d.ldx = p.ldx
    d.x_row = p.width * p.ldx
    d.w = floats(s, c, 1)
    d.ldw = p.channels
    d.bias = floats(s, c, 2)
    d.ldy = p.channels if s.space[3] >= 0 else p.ldy
    d.y_row = p.out_width * d.ldy
    d.ow = p.out_width
    d.kh = p.kh
    d.kw = p.kw
    d.stride_h = p.stride_h
    d.stride_w = p.stride_w
    d.dilation_h = 1
    d.dilation_w = 1
    d.pad_top = p.pad_top
    d.pad_left = p.pad_left
    d.channels = p.channels
    d.epilogue = epilogue(p.inner_function, p.inner_lo, p.inner_hi, p.inner_alpha, p.inner_beta)
    parts[0] = 0
    parts[1] = 1
    parts[2] = 0
    parts[3] = 0
    parts[4] = p.channels
    q.batch = 1
    q.height = 1
    q.out_height = 1
    q.ldx = p.channels
    q.channels = p.channels
    q.groups = 1
    q.group_in = p.channels
    q.group_out = p.out_channels
    q.stride_h = 1
    q.stride_w = 1
    q.columns = p.channels
    q.parts = 1
    q.ldy = p.ldy
    q.ld_residual = p.ld_residual
    q.function = p.function
    q.lo = p.lo
    q.hi = p.hi
    q.alpha = p.alpha
    q.beta = p.beta
    e.begin = e.end = 0
    e.rows = between + p.band * p.out_width * p.channels
    my_part(c, p.batch * p.out_height, 1, &begin, &end)
    while begin < end:
        n = begin // p.out_height
        rows = min(min((n + 1) * p.out_height, end) - begin, p.band)
        d.x = floats(s, c, 0) + n * p.height * d.x_row
        d.oy0 = begin - n * p.out_height
        d.oy1 = d.oy0 + rows
        first = begin * p.out_width
        d.y = (floats(s, c, 6) + first * p.ldy if s.space[3] < 0 else between) - d.oy0 * d.y_row
        if expands:
            top = max(<int64_t>0, min(d.oy0 * p.stride_h - p.pad_top, p.height))
            bottom = max(top, min(p.height, (d.oy1 - 1) * p.stride_h - p.pad_top + p.kh))
            expand(s, c, p, &e, n * p.height + top, n * p.height + bottom, between + p.padded)
            d.x = e.rows - top * d.x_row
        c.micro.depthwise(&d)
        begin += rows
        if s.space[3] < 0:
            continue
        q.width = rows * p.out_width
        q.out_width = q.width
        product(&q, between, floats(s, c, 3), floats(s, c, 4),
                NULL if s.space[5] < 0 else floats(s, c, 5) + first * p.ld_residual,
                floats(s, c, 6) + first * p.ldy, parts, 0, q.width, 0, (p.out_channels + TN_PANEL - 1) // TN_PANEL, c)
    return 0


_declare("separable_conv2d_f32", separable_conv2d_f32, sizeof(SeparableParams),
         "batch height width channels ldx out_height out_width kh kw stride_h stride_w pad_top pad_left inner_function "
         "inner_lo* inner_hi* inner_alpha* inner_beta* out_channels ldy ld_residual band scratch padded function lo* hi* alpha* beta*")
