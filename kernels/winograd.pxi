# conv2d with a 3x3 kernel and stride 1 through Winograd's transforms (micro/winograd.h).
#
# Tiles are taken a band at a time.  A band's inputs are transformed into E*E matrices [tiles][channels]; then, for a block of
# output channels, each matrix is multiplied by its weights and the E*E products are transformed into output
# pixels, with bias, residual and activation.  Band and block are small enough that both stay in L2.
#
# Threads take bands of their own and meet nowhere, or, where weights are large and tiles few, share the inputs of one
# band and take blocks of output channels, so that each reads a part of the weights.  Every tile is computed alike
# wherever it falls, so results do not depend on the split.
#
# Weights: [block of panels][E*E][panel][channels][16].

cdef enum:
    BAND_TILES = 256

cdef struct WinogradParams:
    int64_t batch, height, width, ldx, channels
    int64_t out_height, out_width, out_channels, ldy, ld_residual
    int64_t pad_top, pad_left
    int64_t size, tiles_y, tiles_x     # a tile is size x size outputs
    int64_t band, block, shared        # tiles; panels; do threads share a band's inputs?
    int64_t ldv, stride_v, stride_m    # transformed inputs and products: floats per tile, per matrix
    int64_t function
    double lo, hi, alpha, beta


cdef void winograd_inputs(const WinogradParams *p, const float *x, int64_t first, int64_t begin, int64_t end, float *v,
                          tn_context *c) noexcept nogil:
    """Tiles [begin, end) into the matrices of the band that starts with tile `first`."""
    cdef tn_winograd_input t
    cdef int64_t i, n, ty, tx, y, xx
    t.row = p.width * p.ldx
    t.ld = p.ldx
    t.channels = p.channels
    t.stride = p.stride_v
    for i in range(begin, end):
        n = i // (p.tiles_y * p.tiles_x)
        ty = i // p.tiles_x % p.tiles_y
        tx = i % p.tiles_x
        y = ty * p.size - p.pad_top
        xx = tx * p.size - p.pad_left
        t.x = x + ((n * p.height + y) * p.width + xx) * p.ldx
        t.y0 = max(<int64_t>0, -y)
        t.x0 = max(<int64_t>0, -xx)
        t.y1 = min(p.size + 2, p.height - y)
        t.x1 = min(p.size + 2, p.width - xx)
        t.v = v + (i - first) * p.ldv
        c.micro.winograd_input(&t, <int>p.size)


cdef void winograd_products(const WinogradParams *p, const float *w, const float *const *rows, int64_t count, int64_t panels,
                            float *m, tn_context *c) noexcept nogil:
    """All matrices of one block: [count][channels] times [channels][16 panels]."""
    cdef tn_tile tile
    cdef int64_t run[2]
    cdef int64_t e, column, p0, p1, piece, pieces, height, taller, i0, i1
    cdef int64_t widest = min(panels, widest_tile(c.micro)), columns = (panels + widest - 1) // widest
    # Weights lie in the order they are used, so while one column of tiles is multiplied, its tiles fetch the next.
    cdef int64_t column_floats
    tile.run = run
    tile.runs = 1
    tile.panel_stride = p.channels * TN_PANEL
    tile.bias = NULL
    tile.residual = NULL
    tile.ldc = panels * TN_PANEL
    tile.accumulate = 0
    tile.last = 0
    run[1] = p.channels
    for e in range((p.size + 2) * (p.size + 2)):
        run[0] = e * p.stride_v
        for column in range(columns):
            p0 = even_share(panels, columns, column)
            p1 = even_share(panels, columns, column + 1)
            tile.b = w + (e * panels + p0) * p.channels * TN_PANEL
            tile.n = (p1 - p0) * TN_PANEL
            column_floats = (p1 - p0) * p.channels * TN_PANEL
            pieces = (count + c.micro.max_rows[p1 - p0] - 1) // c.micro.max_rows[p1 - p0]
            height = count // pieces
            taller = count - height * pieces
            i1 = 0
            for piece in range(pieces):
                i0 = i1
                i1 += height + (piece < taller)
                tile.a = <const float **>rows + i0
                tile.prefetch = tile.b + column_floats + piece * tile.panel_stride
                if tile.prefetch >= tile.b + 2 * column_floats:
                    tile.prefetch = NULL
                tile.c = m + e * p.stride_m + i0 * tile.ldc + p0 * TN_PANEL
                c.micro.gemm_tile(&tile, <int>(i1 - i0), <int>(p1 - p0))


cdef void winograd_outputs(const WinogradParams *p, const float *m, int64_t begin, int64_t end, int64_t panel, int64_t panels,
                           const float *bias, const float *residual, float *y, tn_context *c) noexcept nogil:
    """Tiles [begin, end), output channels of `panels` panels from `panel` on."""
    cdef tn_winograd_output t
    cdef int64_t i, n, oy, ox, at, first = panel * TN_PANEL
    t.stride = p.stride_m
    t.bias = NULL if bias == NULL else bias + first
    t.residual = NULL
    t.residual_row = p.out_width * p.ld_residual
    t.ld_residual = p.ld_residual
    t.y_row = p.out_width * p.ldy
    t.ldy = p.ldy
    t.channels = min(panels * TN_PANEL, p.out_channels - first)
    t.epilogue = epilogue(p.function, p.lo, p.hi, p.alpha, p.beta)
    for i in range(begin, end):
        n = i // (p.tiles_y * p.tiles_x)
        oy = i // p.tiles_x % p.tiles_y * p.size
        ox = i % p.tiles_x * p.size
        at = (n * p.out_height + oy) * p.out_width + ox
        t.rows = min(p.size, p.out_height - oy)
        t.columns = min(p.size, p.out_width - ox)
        t.m = m + (i - begin) * panels * TN_PANEL
        t.y = y + at * p.ldy + first
        if residual != NULL:
            t.residual = residual + at * p.ld_residual + first
        c.micro.winograd_output(&t, <int>p.size)


cdef int conv2d_winograd_f32(const tn_step *s, tn_context *c) noexcept nogil:
    cdef const WinogradParams *p = <const WinogradParams *>s.param
    cdef const float *w = floats(s, c, 1)
    cdef const float *rows[BAND_TILES]
    cdef int64_t matrices = (p.size + 2) * (p.size + 2)
    cdef int64_t panels = (p.out_channels + TN_PANEL - 1) // TN_PANEL, blocks = (panels + p.block - 1) // p.block
    cdef int64_t begin = 0, end = p.batch * p.tiles_y * p.tiles_x, block_begin = 0, block_end = blocks
    cdef int64_t bands, band, first, last, mine, mine_end, block, panel, count, i
    cdef float *v = floats(s, c, 5)
    cdef float *m = v + matrices * p.stride_v
    if p.shared:
        m += c.thread * matrices * p.stride_m
        my_part(c, blocks, 1, &block_begin, &block_end)
    else:
        v += c.thread * matrices * (p.stride_v + p.stride_m)
        m += c.thread * matrices * (p.stride_v + p.stride_m)
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
        winograd_inputs(p, floats(s, c, 0), first, mine, mine_end, v, c)
        if p.shared:
            tn_barrier(c.team)
        for i in range(last - first):
            rows[i] = v + i * p.ldv
        for block in range(block_begin, block_end):
            panel = block * p.block
            count = min(p.block, panels - panel)
            winograd_products(p, w + panel * matrices * p.channels * TN_PANEL, rows, last - first, count, m, c)
            winograd_outputs(p, m, first, last, panel, count, floats(s, c, 2), floats(s, c, 3), floats(s, c, 4), c)
        if p.shared:
            tn_barrier(c.team)      # before the next band's inputs overwrite these
    return 0


_declare("conv2d_winograd_f32", conv2d_winograd_f32, sizeof(WinogradParams),
         "batch height width ldx channels out_height out_width out_channels ldy ld_residual pad_top pad_left "
         "size tiles_y tiles_x band block shared ldv stride_v stride_m function lo* hi* alpha* beta*")


cdef struct WinogradWeights:
    const float *source         # [panels][9][channels][16]
    float *target
    int64_t panels, channels, block
    int size
    const tn_micro *micro


cdef void winograd_weights_job(void *argument, int thread, int threads, tn_team *team) noexcept nogil:
    cdef const WinogradWeights *j = <const WinogradWeights *>argument
    cdef tn_context c
    cdef int64_t matrices = (j.size + 2) * (j.size + 2), matrix = j.channels * TN_PANEL
    cdef int64_t row, end, panel, channel, count, first, wide
    c.thread = thread
    c.threads = threads
    my_part(&c, j.panels * j.channels, 1, &row, &end)
    while row < end:
        panel = row // j.channels
        channel = row - panel * j.channels
        count = min(end - row, j.channels - channel)
        first = panel // j.block * j.block
        wide = min(j.block, j.panels - first)
        j.micro.winograd_weights(j.source + panel * 9 * matrix + channel * TN_PANEL, matrix,
                                 j.target + (first * matrices + panel - first) * matrix + channel * TN_PANEL, wide * matrix,
                                 count * TN_PANEL, j.size)
        row += count


def winograd_weights(str isa, source, target, int64_t panels, int64_t channels, int size, int64_t block, int threads, /):
    """Transform 3x3 weights.  source: float32 [panels][9][channels][16]; target, written: [E*E * panels * channels * 16] in the
    order of conv2d_winograd_f32 for tiles of size x size (2 or 4) and blocks of that many panels.  ValueError if a
    buffer has another length."""
    cdef Bytes s = Bytes(source, PyBUF_SIMPLE), t = Bytes(target, PyBUF_WRITABLE)
    cdef WinogradWeights job
    job.micro = tn_micro_find(isa.encode())
    if job.micro == NULL or size not in (2, 4) or block < 1:
        raise ValueError(f"no Winograd weights for level {isa!r}, size {size}, block {block}")
    if s.view.len != 4 * panels * channels * 9 * TN_PANEL or t.view.len != s.view.len // 9 * (size + 2) * (size + 2):
        raise ValueError(f"{panels} panels of {channels} channels from {s.view.len} into {t.view.len} bytes")
    job.source = <const float *>s.view.buf
    job.target = <float *>t.view.buf
    job.panels = panels
    job.channels = channels
    job.block = block
    job.size = size
    with nogil:
        tn_run_job(winograd_weights_job, &job, threads)
