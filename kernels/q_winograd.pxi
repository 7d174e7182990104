# q_conv2d with a 3x3 kernel and stride 1 through Winograd's transforms (micro/int8/winograd.h), on levels without a dot product.
#
# The bits are those of q_conv2d.  Bands, blocks, threads are those of winograd.pxi; transformed inputs and weights are int16,
# products int32.  Weights: [block of panels][E*E][panel][quads][64], quads of channels.

cdef struct QWinogradParams:
    int64_t batch, height, width, ldx, channels
    int64_t out_height, out_width, out_channels, ldy
    int64_t pad_top, pad_left
    int64_t size, tiles_y, tiles_x     # a tile is size x size outputs
    int64_t band, block, shared        # tiles; panels; do threads share a band's inputs?
    int64_t ldv, stride_v, stride_m    # transformed inputs and products: elements per tile, per matrix
    int64_t result, x_zero, y_zero, low, high, small, outside_bytes


cdef void q_winograd_inputs(const QWinogradParams *p, const uint8_t *x, int64_t first, int64_t begin, int64_t end, int16_t *v,
                            const uint8_t *outside, tn_context *c) noexcept nogil:
    """Tiles [begin, end) into the matrices of the band that starts with tile `first`."""
    cdef tn_q_winograd_input t
    cdef int64_t i, n, y, xx
    t.row = p.width * p.ldx
    t.ld = p.ldx
    t.channels = p.channels
    t.stride = p.stride_v
    t.outside = outside
    for i in range(begin, end):
        n = i // (p.tiles_y * p.tiles_x)
        y = i // p.tiles_x % p.tiles_y * p.size - p.pad_top
        xx = i % p.tiles_x * p.size - p.pad_left
        t.x = x + ((n * p.height + y) * p.width + xx) * p.ldx
        t.y0 = max(<int64_t>0, -y)
        t.x0 = max(<int64_t>0, -xx)
        t.y1 = min(p.size + 2, p.height - y)
        t.x1 = min(p.size + 2, p.width - xx)
        t.v = v + (i - first) * p.ldv
        c.int8.winograd_input(&t, <int>p.size)


cdef void q_winograd_outputs(const QWinogradParams *p, const int32_t *m, int64_t begin, int64_t end, int64_t panel, int64_t panels,
                             const int32_t *bias, const float *multiplier, char *y, tn_context *c) noexcept nogil:
    """Tiles [begin, end), output channels of `panels` panels from `panel` on."""
    cdef tn_q_winograd_output t
    cdef int64_t i, n, oy, ox, first = panel * TN_PANEL, item = 1 if p.result == TN_UINT8 else 4
    t.stride = p.stride_m
    t.bias = bias + first
    t.multiplier = multiplier + first
    t.y_row = p.out_width * p.ldy
    t.ldy = p.ldy
    t.channels = min(panels * TN_PANEL, p.out_channels - first)
    t.result = <int32_t>p.result
    t.zero = <int32_t>p.y_zero
    t.low = <int32_t>p.low
    t.high = <int32_t>p.high
    t.small = <int32_t>p.small
    for i in range(begin, end):
        n = i // (p.tiles_y * p.tiles_x)
        oy = i // p.tiles_x % p.tiles_y * p.size
        ox = i % p.tiles_x * p.size
        t.rows = min(p.size, p.out_height - oy)
        t.columns = min(p.size, p.out_width - ox)
        t.m = m + (i - begin) * panels * TN_PANEL
        t.y = y + (((n * p.out_height + oy) * p.out_width + ox) * p.ldy + first) * item
        c.int8.winograd_output(&t, <int>p.size)


cdef int q_conv2d_winograd(const tn_step *s, tn_context *c) noexcept nogil:
    cdef const QWinogradParams *p = <const QWinogradParams *>s.param
    cdef const uint8_t *x = <const uint8_t *>operand(s, c, 0)
    cdef const int16_t *w = <const int16_t *>operand(s, c, 1)
    cdef const int16_t *mine_w
    cdef int64_t matrices = (p.size + 2) * (p.size + 2), quads = (p.channels + 3) // 4
    cdef int64_t panels = (p.out_channels + TN_PANEL - 1) // TN_PANEL, blocks = (panels + p.block - 1) // p.block
    cdef int64_t begin = 0, end = p.batch * p.tiles_y * p.tiles_x, block_begin = 0, block_end = blocks
    cdef int64_t bands, band, first, last, mine, mine_end, block, panel, count, e
    cdef uint8_t *outside = <uint8_t *>operand(s, c, 5) + c.thread * p.outside_bytes
    cdef int16_t *v = <int16_t *>(operand(s, c, 5) + c.threads * p.outside_bytes)
    cdef int32_t *m
    memset(outside, <int>p.x_zero, p.channels)
    if p.shared:
        m = <int32_t *>(v + matrices * p.stride_v) + c.thread * matrices * p.stride_m
        my_part(c, blocks, 1, &block_begin, &block_end)
    else:
        v += c.thread * matrices * (p.stride_v + 2 * p.stride_m)
        m = <int32_t *>(v + matrices * p.stride_v)
        my_part(c, end, 1, &begin, &end)
    bands = (end - begin + p.band - 1) // p.band
    for band in range(bands):
        first = begin + even_share(end - begin, bands, band)
        last = begin + even_share(end - begin, bands, band + 1)
        mine = first
        mine_end = last
        if p.shared:
            my_part(c, last - first, 1, &mine, &mine_end)
            mine += first
            mine_end += first
        q_winograd_inputs(p, x, first, mine, mine_end, v, outside, c)
        if p.shared:
            tn_barrier(c.team)
        for block in range(block_begin, block_end):
            panel = block * p.block
            count = min(p.block, panels - panel)
            for e in range(matrices):
                mine_w = w + (panel * matrices + e * count) * quads * 4 * TN_PANEL
                c.int8.winograd_product(v + e * p.stride_v, p.ldv, last - first, mine_w, quads, count, m + e * p.stride_m)
            q_winograd_outputs(p, m, first, last, panel, count, <const int32_t *>operand(s, c, 2), floats(s, c, 3),
                               operand(s, c, 4), c)
        if p.shared:
            tn_barrier(c.team)      # before the next band's inputs overwrite these
    return 0


_declare("q_conv2d_winograd", q_conv2d_winograd, sizeof(QWinogradParams),
         "batch height width ldx channels out_height out_width out_channels ldy pad_top pad_left "
         "size tiles_y tiles_x band block shared ldv stride_v stride_m result x_zero y_zero low high small outside_bytes")


cdef struct QWinogradWeights:
    const int8_t *source        # [panels][3][row quads][16][4]
    int16_t *target
    int64_t panels, channels, block
    int size
    const tn_int8 *table


cdef void q_winograd_weights_job(void *argument, int thread, int threads, tn_team *team) noexcept nogil:
    cdef const QWinogradWeights *j = <const QWinogradWeights *>argument
    cdef tn_context c
    cdef int64_t matrices = (j.size + 2) * (j.size + 2), matrix = (j.channels + 3) // 4 * 4 * TN_PANEL
    cdef int64_t row_quads = (3 * j.channels + 3) // 4
    cdef int64_t panel, end, first, wide
    c.thread = thread
    c.threads = threads
    my_part(&c, j.panels, 1, &panel, &end)
    for panel in range(panel, end):
        first = panel // j.block * j.block
        wide = min(j.block, j.panels - first)
        j.table.winograd_weights(j.source + panel * 3 * row_quads * 4 * TN_PANEL, row_quads, j.channels,
                                 j.target + (first * matrices + panel - first) * matrix, wide * matrix, j.size)


def has_q_winograd(str isa, /) -> bool:
    """Does that level have the transforms of q_conv2d_winograd?"""
    name = isa.encode()
    return tn_int8_find(name).winograd_input != NULL


def q_winograd_weights(source, target, int64_t panels, int64_t channels, int size, int64_t block, int threads, /):
    """Transform 3x3 weights.  source: int8 [panels][3][quads of 3 channels][16][4], as q_conv2d reads them; target, written:
    int16 [E*E * panels * quads of channels * 64] in the order of q_conv2d_winograd for tiles of size x size (2 or 4) and blocks
    of that many panels.  ValueError if a buffer has another length."""
    cdef Bytes s = Bytes(source, PyBUF_SIMPLE), t = Bytes(target, PyBUF_WRITABLE)
    cdef QWinogradWeights job
    if size not in (2, 4) or block < 1:
        raise ValueError(f"no Winograd weights for size {size}, block {block}")
    job.table = tn_int8_find(b"scalar")
    if (s.view.len != panels * 3 * ((3 * channels + 3) // 4) * 4 * TN_PANEL
            or t.view.len != 2 * (size + 2) * (size + 2) * panels * ((channels + 3) // 4) * 4 * TN_PANEL):
        raise ValueError(f"{panels} panels of {channels} channels from {s.view.len} into {t.view.len} bytes")
    job.source = <const int8_t *>s.view.buf
    job.target = <int16_t *>t.view.buf
    job.panels = panels
    job.channels = channels
    job.block = block
    job.size = size
    with nogil:
        tn_run_job(q_winograd_weights_job, &job, threads)


def q_winograd_reach(source, int64_t panels, /) -> int:
    """The largest sum of weights of one sign that an output has; source: int8 [panels][quads][16][4]."""
    cdef Bytes s = Bytes(source, PyBUF_SIMPLE)
    cdef int64_t most
    if panels < 1 or s.view.len % (4 * TN_PANEL * panels):
        raise ValueError(f"{panels} panels in {s.view.len} bytes")
    with nogil:
        most = tn_int8_find(b"scalar").winograd_reach(<const int8_t *>s.view.buf, panels, s.view.len // (4 * TN_PANEL * panels))
    return most
