# q_depthwise_conv2d: threads share the output rows; each reads them in bands, all channels of a band before the next.

cdef enum:
    Q_BAND_BYTES = 256 << 10      # of input: with the output it stays in L2 while the blocks of channels are walked
    Q_SCRATCH = 1024              # bytes for every four taps

cdef struct QDepthwiseParams:
    int64_t batch, height, width, channels, ldx
    int64_t out_height, out_width, ldy
    int64_t kh, kw, stride_h, stride_w, pad_top, pad_left, dilation_h, dilation_w
    int64_t x_zero, y_zero, low, high, result


cdef void q_depthwise_of(const tn_step *s, tn_context *c, tn_q_depthwise *d) noexcept nogil:
    """All but x, y and the output rows."""
    cdef const QDepthwiseParams *p = <const QDepthwiseParams *>s.param
    d.height = p.height
    d.width = p.width
    d.ldx = p.ldx
    d.x_row = p.width * p.ldx
    d.w = <const int8_t *>operand(s, c, 1)
    d.bias = <const int32_t *>operand(s, c, 2)
    d.multiplier = floats(s, c, 3)
    d.w_zero = <const int32_t *>operand(s, c, 4)
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
    d.x_zero = <int32_t>p.x_zero
    d.y_zero = <int32_t>p.y_zero
    d.low = <int32_t>p.low
    d.high = <int32_t>p.high
    d.result = <int32_t>p.result
    d.scratch = operand(s, c, 6) + c.thread * (Q_SCRATCH * ((p.kh * p.kw + 3) // 4))


cdef int q_depthwise_conv2d(const tn_step *s, tn_context *c) noexcept nogil:
    """Operands: x, w, b, multiplier, w_zero or none, y, scratch of Q_SCRATCH bytes per thread and four taps."""
    cdef const QDepthwiseParams *p = <const QDepthwiseParams *>s.param
    cdef tn_q_depthwise d
    cdef int64_t begin, end, n, row, last, item = 1 if p.result == TN_UINT8 else 4
    cdef int64_t band = max(<int64_t>MIN_BAND, Q_BAND_BYTES // max(<int64_t>1, p.width * p.ldx * p.stride_h))
    q_depthwise_of(s, c, &d)
    my_part(c, p.batch * p.out_height, 1, &begin, &end)
    while begin < end:
        n = begin // p.out_height
        row = begin - n * p.out_height
        last = min(min(p.out_height, row + band), row + end - begin)
        d.x = <const uint8_t *>operand(s, c, 0) + n * p.height * d.x_row
        d.y = operand(s, c, 5) + item * n * p.out_height * d.y_row
        d.oy0 = row
        d.oy1 = last
        c.int8.depthwise(&d)
        begin += last - row
    return 0


_declare("q_depthwise_conv2d", q_depthwise_conv2d, sizeof(QDepthwiseParams),
         "batch height width channels ldx out_height out_width ldy kh kw stride_h stride_w pad_top pad_left "
         "dilation_h dilation_w x_zero y_zero low high result")
