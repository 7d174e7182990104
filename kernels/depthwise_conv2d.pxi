# depthwise_conv2d: the picture is read in place, padding included; threads share the output rows.

cdef enum:
    MAX_KERNEL_ROWS = 64

cdef struct DepthwiseParams:
    int64_t batch, height, width, channels, ldx
    int64_t out_height, out_width, ldy
    int64_t kh, kw, stride_h, stride_w, pad_top, pad_left, dilation_h, dilation_w, function
    double lo, hi, alpha, beta

cdef float[16] ZEROS
memset(ZEROS, 0, sizeof(ZEROS))


cdef int depthwise_conv2d_f32(const tn_step *s, tn_context *c) noexcept nogil:
    cdef const DepthwiseParams *p = <const DepthwiseParams *>s.param
    cdef const float *x = floats(s, c, 0)
    cdef float *y = floats(s, c, 3)
    cdef const float *rows[MAX_KERNEL_ROWS]
    cdef int64_t steps[MAX_KERNEL_ROWS]
    cdef tn_depthwise_row d
    cdef int64_t begin, end, row, n, oy, iy, ky
    d.x = rows
    d.step = steps
    d.w = floats(s, c, 1)
    d.ldw = p.channels
    d.bias = floats(s, c, 2)
    d.ldy = p.ldy
    d.kh = p.kh
    d.kw = p.kw
    d.stride = p.stride_w
    d.dilation = p.dilation_w
    d.pad_left = p.pad_left
    d.width = p.width
    d.ow = p.out_width
    d.channels = p.channels
    d.epilogue = epilogue(p.function, p.lo, p.hi, p.alpha, p.beta)
    my_part(c, p.batch * p.out_height, 1, &begin, &end)
    for row in range(begin, end):
        n = row // p.out_height
        oy = row - n * p.out_height
        for ky in range(p.kh):
            iy = oy * p.stride_h - p.pad_top + ky * p.dilation_h
            if 0 <= iy < p.height:
                rows[ky] = x + (n * p.height + iy) * p.width * p.ldx
                steps[ky] = p.ldx
            else:
                rows[ky] = ZEROS
                steps[ky] = 0
        d.y = y + row * p.out_width * p.ldy
        c.micro.depthwise_row(&d)
    return 0


_declare("depthwise_conv2d_f32", depthwise_conv2d_f32, sizeof(DepthwiseParams),
         "batch height width channels ldx out_height out_width ldy kh kw stride_h stride_w pad_top pad_left "
         "dilation_h dilation_w function lo* hi* alpha* beta*")
