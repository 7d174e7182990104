# depthwise_conv2d: the picture is read in place, padding included; threads share the output rows.
#
# With dilation d and stride 1, the output pixels whose coordinates leave the same remainders modulo d read only input
# pixels of equal remainders: d x d interleaved convolutions without dilation, which the fast kernels do.

cdef enum:
    MIN_BAND = 16       # rows; a band repeats the kernel's height - 1 input rows of the band before

cdef struct DepthwiseParams:
    int64_t batch, height, width, channels, ldx
    int64_t out_height, out_width, ldy
    int64_t kh, kw, stride_h, stride_w, pad_top, pad_left, dilation_h, dilation_w, function
    double lo, hi, alpha, beta


cdef inline int64_t floor_div(int64_t a, int64_t b) noexcept nogil:
    return a // b if a >= 0 else -((b - 1 - a) // b)


cdef void depthwise_rows(tn_depthwise *d, int64_t begin, int64_t end, tn_context *c) noexcept nogil:
    """Output rows [begin, end) in bands whose input stays in L2."""
    cdef int64_t band = max(<int64_t>MIN_BAND, L2_FLOATS // max(<int64_t>1, d.width * d.ldx * d.stride_h))
    while begin < end:
        d.oy0 = begin
        d.oy1 = min(end, begin + band)
        c.micro.depthwise(d)
        begin = d.oy1


cdef void depthwise_phases(const DepthwiseParams *p, const tn_depthwise *whole, tn_context *c) noexcept nogil:
    """One picture with dilation: every pair of remainders in turn, rows of each shared by the threads."""
    cdef int64_t py, px, qy, qx, rows, begin, end
    cdef tn_depthwise d
    for py in range(min(p.dilation_h, p.out_height)):
        for px in range(min(p.dilation_w, p.out_width)):
            d = whole[0]
            # output row oy = a d + py reads input rows d (a + ky - pad) + q
            d.pad_top = -floor_div(py - p.pad_top, p.dilation_h)
            d.pad_left = -floor_div(px - p.pad_left, p.dilation_w)
            qy = py - p.pad_top + d.pad_top * p.dilation_h
            qx = px - p.pad_left + d.pad_left * p.dilation_w
            d.height = max(<int64_t>0, (p.height - qy + p.dilation_h - 1) // p.dilation_h)
            d.width = max(<int64_t>0, (p.width - qx + p.dilation_w - 1) // p.dilation_w)
            d.x = whole.x + qy * whole.x_row + qx * whole.ldx
            d.x_row = whole.x_row * p.dilation_h
            d.ldx = whole.ldx * p.dilation_w
            d.y = whole.y + py * whole.y_row + px * whole.ldy
            d.y_row = whole.y_row * p.dilation_h
            d.ldy = whole.ldy * p.dilation_w
            d.ow = (p.out_width - px + p.dilation_w - 1) // p.dilation_w
            d.dilation_h = 1
            d.dilation_w = 1
            rows = (p.out_height - py + p.dilation_h - 1) // p.dilation_h
            my_part(c, rows, 1, &begin, &end)
            depthwise_rows(&d, begin, end, c)


cdef int depthwise_conv2d_f32(const tn_step *s, tn_context *c) noexcept nogil:
    cdef const DepthwiseParams *p = <const DepthwiseParams *>s.param
    cdef tn_depthwise d
    cdef int64_t begin, end, n, last
    cdef bint phases = (p.dilation_h > 1 or p.dilation_w > 1) and p.stride_h == 1 and p.stride_w == 1
    d.height = p.height
    d.width = p.width
    d.ldx = p.ldx
    d.x_row = p.width * p.ldx
    d.w = floats(s, c, 1)
    d.ldw = p.channels
    d.bias = floats(s, c, 2)
    d.ldy = p.ldy
    d.y_row = p.out_width * p.ldy
    d.ow = p.out_width
    d.kh = p.kh
    d.kw = p.kw
    d.stride_h = p.stride_h
    d.stride_w = p.stride_w
    d.dilation_h = p.dilation_h
    d.dilation_w = p.dilation_w
    d.pad_top = p.pad_top
    d.pad_left = p.pad_left
    d.channels = p.channels
    d.epilogue = epilogue(p.function, p.lo, p.hi, p.alpha, p.beta)
    if phases:
        for n in range(p.batch):
            d.x = floats(s, c, 0) + n * p.height * d.x_row
            d.y = floats(s, c, 3) + n * p.out_height * d.y_row
            depthwise_phases(p, &d, c)
        return 0
    my_part(c, p.batch * p.out_height, 1, &begin, &end)
    while begin < end:
        n = begin // p.out_height
        last = min((n + 1) * p.out_height, end)
        d.x = floats(s, c, 0) + n * p.height * d.x_row
        d.y = floats(s, c, 3) + n * p.out_height * d.y_row
        depthwise_rows(&d, begin - n * p.out_height, last - n * p.out_height, c)
        begin = last
    return 0


_declare("depthwise_conv2d_f32", depthwise_conv2d_f32, sizeof(DepthwiseParams),
         "batch height width channels ldx out_height out_width ldy kh kw stride_h stride_w pad_top pad_left "
         "dilation_h dilation_w function lo* hi* alpha* beta*")
