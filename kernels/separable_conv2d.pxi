# Depthwise convolution and the 1x1 convolution that reads it.  Each thread makes a band of depthwise rows in a buffer of its own
# that stays in L2, and multiplies it at once: the tensor between the two is neither written to memory nor read again.

cdef struct SeparableParams:
    int64_t batch, height, width, channels, ldx, out_height, out_width
    int64_t kh, kw, stride_h, stride_w, pad_top, pad_left, inner_function
    double inner_lo, inner_hi, inner_alpha, inner_beta
    int64_t out_channels, ldy, ld_residual, band, function
    double lo, hi, alpha, beta


cdef int separable_conv2d_f32(const tn_step *s, tn_context *c) noexcept nogil:
    cdef const SeparableParams *p = <const SeparableParams *>s.param
    cdef float *between = floats(s, c, 7) + c.thread * p.band * p.out_width * p.channels
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
    d.ldy = p.channels
    d.y_row = p.out_width * p.channels
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
    my_part(c, p.batch * p.out_height, 1, &begin, &end)
    while begin < end:
        n = begin // p.out_height
        rows = min(min((n + 1) * p.out_height, end) - begin, p.band)
        d.x = floats(s, c, 0) + n * p.height * d.x_row
        d.oy0 = begin - n * p.out_height
        d.oy1 = d.oy0 + rows
        d.y = between - d.oy0 * d.y_row
        c.micro.depthwise(&d)
        q.width = rows * p.out_width
        q.out_width = q.width
        first = begin * p.out_width
        product(&q, between, floats(s, c, 3), floats(s, c, 4),
                NULL if s.space[5] < 0 else floats(s, c, 5) + first * p.ld_residual,
                floats(s, c, 6) + first * p.ldy, parts, 0, q.width, 0, (p.out_channels + TN_PANEL - 1) // TN_PANEL, c)
        begin += rows
    return 0


_declare("separable_conv2d_f32", separable_conv2d_f32, sizeof(SeparableParams),
         "batch height width channels ldx out_height out_width kh kw stride_h stride_w pad_top pad_left inner_function "
         "inner_lo* inner_hi* inner_alpha* inner_beta* out_channels ldy ld_residual band function lo* hi* alpha* beta*")
