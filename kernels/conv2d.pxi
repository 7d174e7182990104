# conv2d, dense and everything else that is a matrix product with packed weights.
#
# Rows of A are output pixels.  Row m of A is not copied: it is the list of runs (kernel rows) at the address of
# its window's corner, read in place by the register tile.  Padding is made as a copy of the picture with zeros around it
# in scratch memory, whole, or (`band`) a few output rows' worth at a time by the thread that reads it; 1x1 and unpadded
# convolutions read the input itself.  A planar (NCHW) picture becomes NHWC in that copy.
#
# Loops, outermost first: group, block of rows (its part of A stays in L2), part of K (the weights of one tile column
# stay in L2), tile column (up to four panels), tile row.

cdef enum:
    BLOCK_ROWS = 384
    L2_FLOATS = 65536       # a quarter of a 1 MiB L2
    GRAY_PIXELS = 128       # of a row whose filters' results lie side by side before they are put together
    BLOCK_FLOATS = 131072   # a block of rows; every block reads all weights again, so rather large than exact

cdef struct Conv2dParams:
    int64_t batch, height, width, ldx, channels
    int64_t groups, group_in, group_out
    int64_t out_height, out_width, ldy, ld_residual
    int64_t stride_h, stride_w, pad_top, pad_left, padded_height, padded_width
    int64_t columns, parts, planar, band, function
    double lo, hi, alpha, beta


cdef void pad_rows(const Conv2dParams *p, const float *x, float *to, int64_t begin, int64_t end,
                   tn_context *c) noexcept nogil:
    """Rows [begin, end) of all padded pictures of the batch, one after the other."""
    cdef int64_t row, n, iy, i
    cdef int64_t row_floats = p.padded_width * p.channels
    # A stride can jump over pixels and even over what is left of the padding.
    cdef int64_t empty = min(p.pad_left, p.padded_width), used = min(p.width, p.padded_width - empty)
    cdef int64_t left = empty * p.channels
    cdef const float *source
    n = begin // p.padded_height
    iy = begin - n * p.padded_height - p.pad_top - 1
    for row in range(begin, end):
        iy += 1
        if iy == p.padded_height - p.pad_top:
            iy = -p.pad_top
            n += 1
        if iy < 0 or iy >= p.height:
            memset(to, 0, row_floats * sizeof(float))
            to += row_floats
            continue
        memset(to, 0, left * sizeof(float))
        to += left
        if p.planar:
            source = x + (n * p.channels * p.height + iy) * p.width
            c.micro.transpose(source, p.height * p.width, to, p.channels, p.channels, used)
        else:
            source = x + (n * p.height + iy) * p.width * p.ldx
            if p.ldx == p.channels:
                memcpy(to, source, used * p.channels * sizeof(float))
            else:
                for i in range(used):
                    memcpy(to + i * p.channels, source + i * p.ldx, p.channels * sizeof(float))
        to += used * p.channels
        memset(to, 0, (row_floats - left - used * p.channels) * sizeof(float))
        to += row_floats - left - used * p.channels


cdef inline int64_t even_share(int64_t total, int64_t pieces, int64_t i) noexcept nogil:
    """Start of piece i when `total` is cut into `pieces` that differ by one at most."""
    return total * i // pieces


cdef void row_addresses(const Conv2dParams *p, const float *x, int64_t first, int64_t count,
                        const float **rows) noexcept nogil:
    """Address of the window's corner for output pixels first .. first + count - 1."""
    cdef int64_t height = p.padded_height if p.padded_height else p.height
    cdef int64_t width = p.padded_width if p.padded_height else p.width
    cdef int64_t ld = p.channels if p.padded_height else p.ldx
    cdef int64_t ox = first % p.out_width
    cdef int64_t oy = first // p.out_width % p.out_height
    cdef int64_t n = first // (p.out_width * p.out_height)
    cdef int64_t i = 0, end
    cdef const float *at
    while i < count:
        at = x + ((n * height + oy * p.stride_h) * width + ox * p.stride_w) * ld
        end = min(count, i + p.out_width - ox)
        while i < end:
            rows[i] = at
            at += p.stride_w * ld
            i += 1
        ox = 0
        oy += 1
        if oy == p.out_height:
            oy = 0
            n += 1


cdef inline int64_t widest_tile(const tn_micro *micro) noexcept nogil:
    cdef int64_t panels = TN_MAX_PANELS
    while micro.max_rows[panels] == 0:
        panels -= 1
    return panels


cdef void activate(const Conv2dParams *p, tn_context *c, float *y, int64_t rows, int64_t panel_begin,
                   int64_t panel_end) noexcept nogil:
    """The activation beyond a clamp, on rows that are still in the cache; contiguous rows in one go."""
    cdef int64_t first = panel_begin * TN_PANEL, last = min(panel_end * TN_PANEL, p.group_out), i
    if last - first == p.ldy:
        c.micro.unary(<tn_function>p.function, <float>p.alpha, <float>p.beta, y, y, rows * p.ldy)
        return
    for i in range(rows):
        c.micro.unary(<tn_function>p.function, <float>p.alpha, <float>p.beta, y + i * p.ldy + first,
                      y + i * p.ldy + first, last - first)


cdef void gray_product(const Conv2dParams *p, const float *x, const float *w, const float *bias, float *y, const int64_t *parts,
                       int64_t row_begin, int64_t row_end, tn_context *c) noexcept nogil:
    """`product` of a picture of one channel with few filters at stride 1, row by row."""
    cdef float results[TN_GRAY_FILTERS * GRAY_PIXELS]
    cdef tn_gray t
    cdef int64_t m = row_begin, first = row_begin
    # walked along: a division for each row takes as long as a quarter of a row of 28 pixels
    cdef int64_t height = p.padded_height if p.padded_height else p.height
    cdef int64_t width = p.padded_width if p.padded_height else p.width
    cdef int64_t ox = m % p.out_width, oy = m // p.out_width % p.out_height
    cdef const float *row = x + (m // (p.out_width * p.out_height) * height + oy * p.stride_h) * width
    t.run = parts + 3
    t.runs = parts[1]
    t.w = w
    t.bias = bias
    t.y = results
    t.ldy = GRAY_PIXELS
    t.filters = p.group_out
    t.lo = <float>p.lo
    t.hi = <float>p.hi
    while m < row_end:
        t.x = row + ox
        t.pixels = min(min(p.out_width - ox, row_end - m), GRAY_PIXELS)
        c.micro.gray(&t)
        c.micro.transpose(results, GRAY_PIXELS, y + m * p.ldy, p.ldy, p.group_out, t.pixels)
        m += t.pixels
        ox += t.pixels
        if ox == p.out_width:
            ox = 0
            oy += 1
            row += p.stride_h * width
            if oy == p.out_height:
                oy = 0
                row += (height - p.out_height * p.stride_h) * width
        if p.function > TN_CLIP and (m - first >= BLOCK_ROWS or m == row_end):
            activate(p, c, y + first * p.ldy, m - first, 0, 1)
            first = m


cdef void product(const Conv2dParams *p, const float *x, const float *w, const float *bias, const float *residual, float *y,
                  const int64_t *parts, int64_t row_begin, int64_t row_end, int64_t panel_begin, int64_t panel_end,
                  tn_context *c) noexcept nogil:
    """Output pixels [row_begin, row_end), panels [panel_begin, panel_end) of every group.  x: the picture as windows see it."""
    cdef const int64_t *runs = parts + 3 * p.parts  # parts: per part first run, runs, first k; then the runs
    cdef const float *rows[BLOCK_ROWS]
    cdef tn_tile tile
    cdef int64_t panels = (p.group_out + TN_PANEL - 1) // TN_PANEL
    cdef int64_t block = max(48, min(BLOCK_ROWS, BLOCK_FLOATS // max(<int64_t>1, p.columns) // 24 * 24))
    cdef int64_t blocks = (row_end - row_begin + block - 1) // block, at
    cdef int64_t widest = widest_tile(c.micro)
    cdef bint stream = panels * TN_PANEL * p.columns > 3 * L2_FLOATS // 2    # weights do not stay in L2
    cdef const float *ahead
    cdef int64_t g, m0, count, part, column, columns, p0, p1, piece, pieces, height, taller, i0, i1
    if (p.channels == 1 and p.group_out <= TN_GRAY_FILTERS and p.stride_w == 1 and p.parts == 1 and residual == NULL
            and (p.padded_height or p.ldx == 1)):
        gray_product(p, x, w, bias, y, parts, row_begin, row_end, c)
        return
    tile.lo = <float>p.lo
    tile.hi = <float>p.hi
    tile.panel_stride = p.columns * TN_PANEL
    tile.ldc = p.ldy
    tile.ld_residual = p.ld_residual
    columns = (panel_end - panel_begin + widest - 1) // widest
    for g in range(p.groups):
        for at in range(blocks):
            m0 = row_begin + even_share(row_end - row_begin, blocks, at)
            count = row_begin + even_share(row_end - row_begin, blocks, at + 1) - m0
            row_addresses(p, x + g * p.group_in, m0, count, rows)
            for part in range(p.parts):
                tile.run = runs + 2 * parts[3 * part]
                tile.runs = parts[3 * part + 1]
                tile.accumulate = part > 0
                tile.last = part == p.parts - 1
                for column in range(columns):
                    p0 = panel_begin + even_share(panel_end - panel_begin, columns, column)
                    p1 = panel_begin + even_share(panel_end - panel_begin, columns, column + 1)
                    tile.b = w + ((g * panels + p0) * p.columns + parts[3 * part + 2]) * TN_PANEL
                    ahead = NULL
                    if stream:
                        # what this thread multiplies with next: the next tile column, or the first one of the next part
                        ahead = tile.b + (p1 - p0) * tile.panel_stride
                        if column == columns - 1:
                            ahead = w + ((g * panels + panel_begin) * p.columns
                                         + parts[3 * ((part + 1) % p.parts) + 2]) * TN_PANEL
                    tile.n = min(p1 * TN_PANEL, p.group_out) - p0 * TN_PANEL
                    tile.bias = NULL if bias == NULL else bias + g * p.group_out + p0 * TN_PANEL
                    pieces = (count + c.micro.max_rows[p1 - p0] - 1) // c.micro.max_rows[p1 - p0]
                    # pieces that differ by one row at most, without a division (40 cycles) per tile
                    height = count // pieces
                    taller = count - height * pieces
                    i1 = 0
                    for piece in range(pieces):
                        i0 = i1
                        i1 += height + (piece < taller)
                        tile.a = rows + i0
                        tile.prefetch = ahead if stream and piece < p1 - p0 else NULL
                        ahead += tile.panel_stride
                        tile.c = y + (m0 + i0) * p.ldy + g * p.group_out + p0 * TN_PANEL
                        tile.residual = NULL if residual == NULL else (
                            residual + (m0 + i0) * p.ld_residual + g * p.group_out + p0 * TN_PANEL)
                        c.micro.gemm_tile(&tile, <int>(i1 - i0), <int>(p1 - p0))
            if p.function > TN_CLIP:
                activate(p, c, y + m0 * p.ldy + g * p.group_out, count, panel_begin, panel_end)


cdef void conv2d_rows(const Conv2dParams *p, const float *x, const float *w, const float *bias, const float *residual, float *y,
                      float *padded, const int64_t *parts, int64_t begin, int64_t end, tn_context *c) noexcept nogil:
    """Output rows [begin, end) of the batch, into y (and from residual), where row `begin` lies.  padded: scratch of this
    thread alone for `band` output rows, if the convolution has padding."""
    cdef int64_t panels = (p.group_out + TN_PANEL - 1) // TN_PANEL
    cdef int64_t reach = p.padded_height - (p.out_height - 1) * p.stride_h     # input rows under one output row
    cdef int64_t n, rows, first
    cdef Conv2dParams q = p[0]
    if not p.padded_height:
        first = begin * p.out_width
        product(p, x, w, bias, NULL if residual == NULL else residual - first * p.ld_residual, y - first * p.ldy, parts,
                first, end * p.out_width, 0, panels, c)
        return
    while begin < end:
        n = begin // p.out_height
        rows = min(min((n + 1) * p.out_height, end) - begin, p.band)
        first = n * p.padded_height + (begin - n * p.out_height) * p.stride_h
        q.padded_height = (rows - 1) * p.stride_h + reach
        q.out_height = rows
        pad_rows(p, x, padded, first, first + q.padded_height, c)
        product(&q, padded, w, bias, residual, y, parts, 0, rows * p.out_width, 0, panels, c)
        y += rows * p.out_width * p.ldy
        if residual != NULL:
            residual += rows * p.out_width * p.ld_residual
        begin += rows


cdef int conv2d_f32(const tn_step *s, tn_context *c) noexcept nogil:
    cdef const Conv2dParams *p = <const Conv2dParams *>s.param
    cdef const float *x = floats(s, c, 0)
    cdef const float *residual = floats(s, c, 3)
    cdef int64_t total = p.batch * p.out_height * p.out_width
    cdef int64_t panels = (p.group_out + TN_PANEL - 1) // TN_PANEL
    cdef int64_t row_begin = 0, row_end = total, panel_begin = 0, panel_end = panels
    if p.band:
        my_part(c, p.batch * p.out_height, 1, &row_begin, &row_end)
        conv2d_rows(p, x, floats(s, c, 1), floats(s, c, 2),
                    NULL if residual == NULL else residual + row_begin * p.out_width * p.ld_residual,
                    floats(s, c, 4) + row_begin * p.out_width * p.ldy,
                    floats(s, c, 5) + c.thread * ((p.band - 1) * p.stride_h + p.padded_height
                                                  - (p.out_height - 1) * p.stride_h) * p.padded_width * p.channels,
                    integers(s, c, 6), row_begin, row_end, c)
        return 0
    if p.padded_height:
        my_part(c, p.batch * p.padded_height, 1, &row_begin, &row_end)
        pad_rows(p, x, floats(s, c, 5) + row_begin * p.padded_width * p.channels, row_begin, row_end, c)
        x = floats(s, c, 5)
        row_begin = 0
        row_end = total
        tn_barrier(c.team)
    if total >= 24 * c.threads:
        my_part(c, total, 6, &row_begin, &row_end)
    else:
        my_part(c, panels, 1, &panel_begin, &panel_end)
    if panel_begin < panel_end:
        product(p, x, floats(s, c, 1), floats(s, c, 2), residual, floats(s, c, 4), integers(s, c, 6),
                row_begin, row_end, panel_begin, panel_end, c)
    return 0


_declare("conv2d_f32", conv2d_f32, sizeof(Conv2dParams),
         "batch height width ldx channels groups group_in group_out out_height out_width ldy ld_residual "
         "stride_h stride_w pad_top pad_left padded_height padded_width columns parts planar band function "
         "lo* hi* alpha* beta*")


# conv_transpose2d, second half: the matrix product has made, for every input pixel, the kh*kw*O values that it adds to
# the output; each output pixel gathers the few that reach it.

cdef struct Col2imParams:
    int64_t batch, height, width, channels, kh, kw
    int64_t out_height, out_width, ldy
    int64_t stride_h, stride_w, pad_top, pad_left, dilation_h, dilation_w, function
    double lo, hi, alpha, beta


cdef void add_columns(const Col2imParams *p, const float *columns, const float *bias, float *y, int64_t begin, int64_t end,
                      tn_context *c) noexcept nogil:
    """Pixels [begin, end) of one output row: what one row of taps adds.  columns: of its first input pixel; bias: what the sums
    begin with, or NULL if they have begun."""
    cdef tn_epilogue none = epilogue(0, -INF, INF, 0, 0)
    # Without dilation every stride_w-th tap reaches a pixel, from input pixels one before the other.
    cdef bint dense = p.dilation_w == 1
    cdef int64_t step = p.stride_w if dense else 1, first = (begin + p.pad_left) % p.stride_w if dense else 0
    cdef int64_t last = (begin + p.pad_left) // p.stride_w, pixel = p.kh * p.kw * p.channels
    cdef int64_t ox, kx, ix, at
    cdef const float *sum
    cdef float *to = y + begin * p.ldy
    for ox in range(begin, end):
        sum = to if bias == NULL else bias
        ix = last + 1
        kx = first
        while kx < p.kw:
            if dense:
                ix -= 1
            else:
                at = ox + p.pad_left - kx * p.dilation_w
                ix = -1 if at % p.stride_w else at // p.stride_w
            if 0 <= ix < p.width:
                c.micro.binary(TN_ADD, sum, 1, columns + ix * pixel + kx * p.channels, 1, to, p.channels, &none)
                sum = to
            kx += step
        if sum == bias:
            memcpy(to, bias, p.channels * sizeof(float))
        to += p.ldy
        first += dense
        if first == p.stride_w and dense:
            first = 0
            last += 1


cdef int col2im_f32(const tn_step *s, tn_context *c) noexcept nogil:
    cdef const Col2imParams *p = <const Col2imParams *>s.param
    cdef const float *columns = floats(s, c, 0)
    cdef const float *bias = floats(s, c, 1)
    cdef float *y = floats(s, c, 2)
    cdef int64_t begin, end, row, n, oy, ky, iy, first, past
    cdef bint started
    my_part(c, p.batch * p.out_height * p.out_width, 1, &begin, &end)
    if begin == end:
        return 0
    for row in range(begin // p.out_width, (end - 1) // p.out_width + 1):
        n = row // p.out_height
        oy = row - n * p.out_height
        first = max(begin - row * p.out_width, 0)
        past = min(end - row * p.out_width, p.out_width)
        started = False
        for ky in range(p.kh):
            iy = oy + p.pad_top - ky * p.dilation_h
            if iy >= 0 and iy % p.stride_h == 0 and iy // p.stride_h < p.height:
                add_columns(p, columns + ((n * p.height + iy // p.stride_h) * p.width * p.kh + ky) * p.kw * p.channels,
                            NULL if started else bias, y + row * p.out_width * p.ldy, first, past, c)
                started = True
        if not started:
            for ky in range(first, past):
                memcpy(y + (row * p.out_width + ky) * p.ldy, bias, p.channels * sizeof(float))
    first = (end - begin) * p.channels if p.ldy == p.channels else p.channels
    for row in range(begin, begin + 1 if p.ldy == p.channels else end):
        c.micro.unary(<tn_function>TN_CLIP, <float>p.lo, <float>p.hi, y + row * p.ldy, y + row * p.ldy, first)
        if p.function > TN_CLIP:
            c.micro.unary(<tn_function>p.function, <float>p.alpha, <float>p.beta, y + row * p.ldy, y + row * p.ldy, first)
    return 0


_declare("col2im_f32", col2im_f32, sizeof(Col2imParams),
         "batch height width channels kh kw out_height out_width ldy stride_h stride_w pad_top pad_left "
         "dilation_h dilation_w function lo* hi* alpha* beta*")
