# Pooling, reductions, softmax, argmax and local response normalisation.

cdef struct Pool2dParams:
    int64_t average, count_include_pad
    int64_t batch, height, width, channels, ldx, out_height, out_width, ldy
    int64_t kh, kw, stride_h, stride_w, pad_top, pad_left, pad_bottom, pad_right, dilation_h, dilation_w


cdef inline void window(int64_t start, int64_t taps, int64_t dilation, int64_t size, int64_t *first, int64_t *count) noexcept nogil:
    """Taps of a window that fall inside [0, size): the first one's index in the window, and how many."""
    if start >= 0 and start + (taps - 1) * dilation < size:     # nearly all: without the divisions (30 cycles each)
        first[0] = 0
        count[0] = taps
        return
    first[0] = 0 if start >= 0 else (-start + dilation - 1) // dilation
    cdef int64_t end = 0 if start >= size else min(taps, (size - start + dilation - 1) // dilation)
    count[0] = max(<int64_t>0, end - first[0])


cdef int pool2d_f32(const tn_step *s, tn_context *c) noexcept nogil:
    cdef const Pool2dParams *p = <const Pool2dParams *>s.param
    cdef const float *x = floats(s, c, 0)
    cdef float *y = floats(s, c, 1)
    cdef int64_t begin, end, row, n, oy, ox, iy, ix, ky, kx, ny, nx, fy, fx, alike
    # windows up to here lie inside the picture's width, from where they start inside it
    cdef int64_t inside = (p.width + p.pad_left - (p.kw - 1) * p.dilation_w - 1) // p.stride_w + 1
    cdef int64_t counted = 1
    cdef float factor = 1
    my_part(c, p.batch * p.out_height, 1, &begin, &end)
    for row in range(begin, end):
        n = row // p.out_height
        oy = row - n * p.out_height
        iy = oy * p.stride_h - p.pad_top
        window(iy, p.kh, p.dilation_h, p.height, &ky, &ny)
        ox = 0
        while ox < p.out_width:
            ix = ox * p.stride_w - p.pad_left
            window(ix, p.kw, p.dilation_w, p.width, &kx, &nx)
            alike = min(inside, p.out_width) - ox if ix >= 0 and ox < inside else 1
            if p.average:
                fy = ny
                fx = nx
                if p.count_include_pad:
                    window(iy + p.pad_top, p.kh, p.dilation_h, p.pad_top + p.height + p.pad_bottom, &fy, &fy)
                    window(ix + p.pad_left, p.kw, p.dilation_w, p.pad_left + p.width + p.pad_right, &fx, &fx)
                if fy * fx != counted:
                    counted = fy * fx
                    factor = <float>1 / <float>max(<int64_t>1, counted)    # a window where nothing counts gives 0
            c.micro.pool(TN_SUM if p.average else TN_MAX,
                         x + ((n * p.height + iy + ky * p.dilation_h) * p.width + ix + kx * p.dilation_w) * p.ldx,
                         ny, p.dilation_h * p.width * p.ldx, nx, p.dilation_w * p.ldx,
                         y + (row * p.out_width + ox) * p.ldy, p.channels, factor, alike, p.stride_w * p.ldx, p.ldy)
            ox += alike
    return 0


_declare("pool2d_f32", pool2d_f32, sizeof(Pool2dParams),
         "average count_include_pad batch height width channels ldx out_height out_width ldy kh kw stride_h stride_w "
         "pad_top pad_left pad_bottom pad_right dilation_h dilation_w")


# x [outer, n, inner] -> y [outer, inner]; rows of inner values are ldx apart.

cdef struct ReduceParams:
    int64_t reduction, outer, n, inner, ldx, root
    double factor


cdef int reduce_f32(const tn_step *s, tn_context *c) noexcept nogil:
    cdef const ReduceParams *p = <const ReduceParams *>s.param
    cdef const float *x = floats(s, c, 0)
    cdef float *y = floats(s, c, 1)
    cdef int64_t begin = 0, end = p.outer, first = 0, last = p.inner, i
    if p.outer >= c.threads:
        my_part(c, p.outer, 1, &begin, &end)
    else:
        my_part(c, p.inner, 16, &first, &last)
    if first == last:
        return 0
    for i in range(begin, end):
        if p.inner == 1 and p.ldx == 1:
            y[i] = c.micro.reduce(<tn_reduction>p.reduction, x + i * p.n, p.n) * <float>p.factor
        else:
            c.micro.pool(<tn_reduction>p.reduction, x + i * p.n * p.ldx + first, p.n, p.ldx, 1, 0,
                         y + i * p.inner + first, last - first, <float>p.factor, 1, 0, 0)
            if p.root:
                c.micro.unary(TN_SQRT, 0, 0, y + i * p.inner + first, y + i * p.inner + first, last - first)
    if p.root and p.inner == 1 and p.ldx == 1:
        c.micro.unary(TN_SQRT, 0, 0, y + begin, y + begin, end - begin)
    return 0


_declare("reduce_f32", reduce_f32, sizeof(ReduceParams), "reduction outer n inner ldx root factor*")


cdef struct ArgmaxParams:
    int64_t outer, n, inner, last, least


cdef inline int64_t place_of(const float *x, int64_t n, float value, bint last) noexcept nogil:
    """Index of the first (or last) element that is `value`, which may be NaN; there is one."""
    cdef int64_t k = n - 1 if last else 0, step = -1 if last else 1
    if value == value:
        while x[k] != value:
            k += step
    else:
        while x[k] == x[k]:
            k += step
    return k


cdef int argmax_f32(const tn_step *s, tn_context *c) noexcept nogil:
    cdef const ArgmaxParams *p = <const ArgmaxParams *>s.param
    cdef const float *x = floats(s, c, 0)
    cdef int64_t *y = <int64_t *>operand(s, c, 1)
    cdef int64_t begin = 0, end = p.outer, first = 0, last = p.inner, i
    cdef tn_reduction wanted = TN_MIN if p.least else TN_MAX
    if p.outer >= c.threads:
        my_part(c, p.outer, 1, &begin, &end)
    else:
        my_part(c, p.inner, 16, &first, &last)
    if first == last:
        return 0
    for i in range(begin, end):
        if p.inner == 1:
            y[i] = place_of(x + i * p.n, p.n, c.micro.reduce(wanted, x + i * p.n, p.n), p.last)
        else:
            c.micro.argmax(x + i * p.n * p.inner + first, p.n, p.inner, -1 if p.least else 1, p.last,
                           y + i * p.inner + first, last - first)
    return 0


_declare("argmax_f32", argmax_f32, sizeof(ArgmaxParams), "outer n inner last least")


cdef struct LrnParams:
    int64_t rows, channels, ldx, ldy, size, scratch_floats
    double alpha, beta, bias


cdef int lrn_f32(const tn_step *s, tn_context *c) noexcept nogil:
    cdef const LrnParams *p = <const LrnParams *>s.param
    cdef int64_t begin, end, i
    cdef float *squares = floats(s, c, 2) + c.thread * p.scratch_floats
    my_part(c, p.rows, 1, &begin, &end)
    for i in range(begin, end):
        c.micro.lrn(floats(s, c, 0) + i * p.ldx, floats(s, c, 1) + i * p.ldy, p.channels, p.size,
                    <float>(p.alpha / p.size), <float>p.beta, <float>p.bias, squares)
    return 0


_declare("lrn_f32", lrn_f32, sizeof(LrnParams), "rows channels ldx ldy size scratch_floats alpha* beta* bias*")
