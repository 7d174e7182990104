# q_conv2d and q_dense: products of bytes (micro/int8/gemm.h), geometry as in conv2d.pxi.
#
# Rows of A are read in place where they can be: no padding, kernel rows without gaps, no bytes behind the tensor that are
# not ours.  Otherwise a thread copies what its next output rows read, padded with x's zero, to scratch of its own.
# Work is split over output rows, or over weight panels where there are more of these.

cdef enum:
    QBLOCK_BYTES = 262144       # of A that a block of rows reads, while the weights go by

cdef struct QConv2dParams:
    int64_t batch, height, width, ldx, channels
    int64_t groups, group_in, group_out
    int64_t out_height, out_width, ldy
    int64_t stride_h, stride_w, pad_top, pad_left, padded_height, padded_width
    int64_t runs, quads, band, by_panels, copy_bytes, scratch_bytes
    int64_t result, x_zero, y_zero, low, high, small, pairs


cdef void q_pad_rows(const QConv2dParams *p, const uint8_t *x, uint8_t *to, int64_t begin, int64_t end) noexcept nogil:
    """Rows [begin, end) of all padded pictures of the batch, one after the other."""
    cdef int64_t row, n, iy, i
    cdef int64_t row_bytes = p.padded_width * p.channels
    # A stride can jump over pixels and even over what is left of the padding.
    cdef int64_t empty = min(p.pad_left, p.padded_width), used = min(p.width, p.padded_width - empty)
    cdef int64_t left = empty * p.channels, middle = used * p.channels
    cdef const uint8_t *source
    for row in range(begin, end):
        n = row // p.padded_height
        iy = row - n * p.padded_height - p.pad_top
        if iy < 0 or iy >= p.height:
            memset(to, <int>p.x_zero, row_bytes)
        else:
            source = x + (n * p.height + iy) * p.width * p.ldx
            memset(to, <int>p.x_zero, left)
            if p.ldx == p.channels:
                memcpy(to + left, source, middle)
            else:
                for i in range(used):
                    memcpy(to + left + i * p.channels, source + i * p.ldx, p.channels)
            memset(to + left + middle, <int>p.x_zero, row_bytes - left - middle)
        to += row_bytes


cdef void q_row_addresses(const QConv2dParams *p, const uint8_t *x, int64_t first, int64_t count,
                          const uint8_t **rows) noexcept nogil:
    """Address of the window's corner for output pixels first .. first + count - 1."""
    cdef int64_t height = p.padded_height if p.padded_height else p.height
    cdef int64_t width = p.padded_width if p.padded_height else p.width
    cdef int64_t ld = p.channels if p.padded_height else p.ldx
    cdef int64_t ox = first % p.out_width
    cdef int64_t oy = first // p.out_width % p.out_height
    cdef int64_t n = first // (p.out_width * p.out_height)
    cdef int64_t i, here
    cdef const uint8_t *at
    while count > 0:
        at = x + ((n * height + oy * p.stride_h) * width + ox * p.stride_w) * ld
        here = min(count, p.out_width - ox)
        for i in range(here):
            rows[i] = at
            at += p.stride_w * ld
        rows += here
        count -= here
        ox = 0
        oy += 1
        if oy == p.out_height:
            oy = 0
            n += 1


cdef struct QOperands:
    const int8_t *w
    const int32_t *bias
    const float *multiplier
    const int32_t *w_zero
    const int64_t *run
    uint8_t *copy       # scratch of this thread: padded rows, and what levels that copy rows of A need
    char *packed


cdef void q_product(const QConv2dParams *p, const QOperands *o, const uint8_t *x, char *y, int64_t row_begin, int64_t row_end,
                    int64_t panel_begin, int64_t panel_end, tn_context *c) noexcept nogil:
    """Output pixels [row_begin, row_end), panels [panel_begin, panel_end) of all groups' panels counted together.  x: the
    picture as windows see it."""
    cdef const uint8_t *rows[TN_BLOCK_ROWS]
    cdef tn_gemm8 gemm
    cdef int64_t panels = (p.group_out + TN_PANEL - 1) // TN_PANEL
    cdef int64_t item = 1 if p.result == TN_UINT8 else 4
    cdef int64_t pixel = p.channels * p.stride_h * p.stride_w
    cdef int64_t block = max(<int64_t>48, min(<int64_t>TN_BLOCK_ROWS, QBLOCK_BYTES // max(<int64_t>1, pixel)) // 24 * 24)
    cdef int64_t blocks = (row_end - row_begin + block - 1) // block
    cdef int64_t g, at, m0, p0, p1, column
    gemm.a = rows
    gemm.run = o.run
    gemm.runs = p.runs
    gemm.quads = p.quads
    gemm.ldy = p.ldy
    gemm.packed = o.packed
    gemm.result = <int32_t>p.result
    gemm.zero = <int32_t>p.y_zero
    gemm.low = <int32_t>p.low
    gemm.high = <int32_t>p.high
    gemm.small = <int32_t>p.small
    gemm.pairs = <int32_t>p.pairs
    for at in range(blocks):
        m0 = row_begin + even_share(row_end - row_begin, blocks, at)
        gemm.rows = row_begin + even_share(row_end - row_begin, blocks, at + 1) - m0
        for g in range(panel_begin // panels, (panel_end + panels - 1) // panels):
            p0 = max(<int64_t>0, panel_begin - g * panels)
            p1 = min(panels, panel_end - g * panels)
            column = g * p.group_out + p0 * TN_PANEL
            q_row_addresses(p, x + g * p.group_in, m0, gemm.rows, rows)
            gemm.b = o.w + (g * panels + p0) * p.quads * 4 * TN_PANEL
            gemm.panels = p1 - p0
            gemm.n = min(p1 * TN_PANEL, p.group_out) - p0 * TN_PANEL
            gemm.bias = o.bias + column
            gemm.multiplier = o.multiplier + column
            gemm.w_zero = NULL if o.w_zero == NULL else o.w_zero + column
            gemm.y = y + (m0 * p.ldy + column) * item
            c.int8.gemm8(&gemm)


cdef void q_bands(const QConv2dParams *p, const QOperands *o, const uint8_t *x, char *y, int64_t begin, int64_t end,
                  int64_t panel_begin, int64_t panel_end, tn_context *c) noexcept nogil:
    """Output rows [begin, end) of the batch through padded copies of a few rows at a time; y: where row `begin` lies."""
    cdef int64_t reach = p.padded_height - (p.out_height - 1) * p.stride_h     # input rows under one output row
    cdef int64_t item = 1 if p.result == TN_UINT8 else 4
    cdef int64_t n, rows, first
    cdef QConv2dParams q = p[0]
    while begin < end:
        n = begin // p.out_height
        rows = min(min((n + 1) * p.out_height, end) - begin, p.band)
        first = n * p.padded_height + (begin - n * p.out_height) * p.stride_h
        q.padded_height = (rows - 1) * p.stride_h + reach
        q.out_height = rows
        q_pad_rows(p, x, o.copy, first, first + q.padded_height)
        q_product(&q, o, o.copy, y, 0, rows * p.out_width, panel_begin, panel_end, c)
        y += rows * p.out_width * p.ldy * item
        begin += rows


cdef void q_operands(const tn_step *s, tn_context *c, QOperands *o) noexcept nogil:
    """Those of a q_conv2d step that are the same for all its rows."""
    cdef const QConv2dParams *p = <const QConv2dParams *>s.param
    cdef char *scratch = operand(s, c, 6)
    o.w = <const int8_t *>operand(s, c, 1)
    o.bias = <const int32_t *>operand(s, c, 2)
    o.multiplier = <const float *>operand(s, c, 3)
    o.w_zero = <const int32_t *>operand(s, c, 4)
    o.run = integers(s, c, 7)
    o.copy = NULL if scratch == NULL else <uint8_t *>scratch + c.thread * p.scratch_bytes
    o.packed = NULL if scratch == NULL else <char *>o.copy + p.copy_bytes


cdef int q_conv2d(const tn_step *s, tn_context *c) noexcept nogil:
    cdef const QConv2dParams *p = <const QConv2dParams *>s.param
    cdef const uint8_t *x = <const uint8_t *>operand(s, c, 0)
    cdef char *y = operand(s, c, 5)
    cdef QOperands o
    cdef int64_t item = 1 if p.result == TN_UINT8 else 4
    cdef int64_t rows = p.batch * p.out_height, begin = 0, end
    cdef int64_t panels = (p.group_out + TN_PANEL - 1) // TN_PANEL * p.groups, panel_begin = 0, panel_end = panels
    q_operands(s, c, &o)
    end = rows if p.padded_height else rows * p.out_width
    if p.by_panels:
        my_part(c, panels, 1, &panel_begin, &panel_end)
    elif p.padded_height:
        my_part(c, rows, 1, &begin, &end)
    else:
        my_part(c, rows * p.out_width, 6, &begin, &end)
    if begin >= end or panel_begin >= panel_end:
        return 0
    if p.padded_height:
        q_bands(p, &o, x, y + begin * p.out_width * p.ldy * item, begin, end, panel_begin, panel_end, c)
    else:
        q_product(p, &o, x, y, begin, end, panel_begin, panel_end, c)
    return 0


_declare("q_conv2d", q_conv2d, sizeof(QConv2dParams),
         "batch height width ldx channels groups group_in group_out out_height out_width ldy "
         "stride_h stride_w pad_top pad_left padded_height padded_width runs quads band by_panels copy_bytes scratch_bytes "
         "result x_zero y_zero low high small pairs")


def int8_level(str isa, /) -> tuple:
    """What a product of bytes wants to know: (rows of A that it copies, 8 bytes per quad; does it take activations as
    x - 128, so that its bias has to make up for it; is it faster if no two products can overflow an int16)."""
    name = isa.encode()
    cdef const tn_int8 *table = tn_int8_find(name)
    return table.gemm8_packed_rows, table.gemm8_signed != 0, table.gemm8_byte_pairs != 0
