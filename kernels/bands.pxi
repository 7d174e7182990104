# Layers that run as one step, a band of output rows at a time: what lies between them is in buffers of each thread's own and
# stays in its cache.  Rows that the next band reads again are kept and not computed again.
#
# The layers are steps of their own behind the last one of the program (`parts_at` steps behind this one), lowered as ever;
# here they get other addresses and fewer rows.

cdef enum:
    MOST_BANDED = 8
    BAND_CONV2D = 0
    BAND_DEPTHWISE = 1
    BAND_PLAIN = 2      # each row by itself; the kernel counts them, or elements, in one parameter
    BAND_PRODUCT = 3    # conv2d of floats
    BAND_WINDOWS = 4    # some rows are a picture of their own to the kernel, whose padding above is less by what lies there

cdef struct BandsParams:
    int64_t parts_at, layers, batch, band
    int64_t grain       # output rows: bands begin at multiples of it
    int64_t scratch_bytes

# Rows of pixels; `unit`: output rows that are made together, from a multiple of it on (Winograd's tiles); `rows_at`: of what
# the layer writes in the thread's scratch (not the last one, which writes y).
cdef struct BandedLayer:
    int64_t type, height, out_height, reach, stride, pad, unit, x_row, x_picture, y_row, rows_at
    int64_t x, y, scratch                   # numbers of operands; scratch: -1 if there is none
    int64_t param, per_row                  # of BAND_PLAIN: number of a parameter, what it counts of each row
    int64_t pad_at, units_at                # of BAND_WINDOWS: `param` is out_height, these are pad_top and rows of units

# Rows [begin, end) of a picture that a thread holds, of which it makes those from `fresh` on in this band.
cdef struct Held:
    int64_t begin, fresh, end


cdef void band_layer(tn_step *part, const BandedLayer *l, const char *x, char *y, int64_t begin, int64_t end,
                     tn_context *c) noexcept nogil:
    """Output rows [begin, end) of a picture; x: its row 0 (rows that are not read need not be there); y: row `begin`."""
    cdef const QConv2dParams *p = <const QConv2dParams *>part.param
    cdef int64_t item, panels, first = begin
    cdef QOperands o
    cdef tn_q_depthwise d
    if l.type == BAND_CONV2D:
        q_operands(part, c, &o)
        panels = (p.group_out + TN_PANEL - 1) // TN_PANEL * p.groups
        if p.padded_height:
            q_bands(p, &o, <const uint8_t *>x, y, begin, end, 0, panels, c)
        else:
            item = 1 if p.result == TN_UINT8 else 4
            q_product(p, &o, <const uint8_t *>x, y - begin * p.out_width * p.ldy * item, begin * p.out_width,
                      end * p.out_width, 0, panels, c)
    elif l.type == BAND_DEPTHWISE:
        q_depthwise_of(part, c, &d)
        d.x = <const uint8_t *>x
        d.y = y - begin * l.y_row
        d.oy0 = begin
        d.oy1 = end
        c.int8.depthwise(&d)
    elif l.type == BAND_PRODUCT:
        conv2d_rows(<const Conv2dParams *>part.param, <const float *>x, floats(part, c, 1), floats(part, c, 2), NULL, <float *>y,
                    floats(part, c, 5), integers(part, c, 6), begin, end, c)
    else:
        part.param[l.param] = (end - begin) * l.per_row
        if l.type == BAND_WINDOWS:
            first = 0
            part.param[l.pad_at] = l.pad - begin * l.stride
            if l.unit > 1:
                part.param[l.units_at] = (end - begin + l.unit - 1) // l.unit
        part.space[l.x] = part.space[l.y] = 0
        part.offset[l.x] = <int64_t><uintptr_t>x + first * l.x_row - <int64_t><uintptr_t>c.base[0]
        part.offset[l.y] = <int64_t><uintptr_t>y - <int64_t><uintptr_t>c.base[0]
        part.kernel(part, c)


cdef void band_rows(const BandedLayer *layers, int64_t count, Held *held, char *scratch, int64_t begin, int64_t end) noexcept nogil:
    """What each layer has to hold and to make for the last one's output rows [begin, end)."""
    cdef int64_t i, kept
    cdef char *rows
    for i in range(count - 1, -1, -1):
        end = min(layers[i].out_height, (end + layers[i].unit - 1) // layers[i].unit * layers[i].unit)
        if i == count - 1:
            kept = 0
        else:
            kept = max(<int64_t>0, min(held[i].end, end) - begin)
            if kept == 0 and begin < end:
                begin -= begin % layers[i].unit
            elif kept:
                rows = scratch + layers[i].rows_at
                memmove(rows, rows + (begin - held[i].begin) * layers[i].y_row, kept * layers[i].y_row)
        held[i].begin = begin
        held[i].fresh = begin + kept
        held[i].end = end
        begin = max(<int64_t>0, min(layers[i].height, held[i].fresh * layers[i].stride - layers[i].pad))
        end = max(begin, min(layers[i].height, (end - 1) * layers[i].stride - layers[i].pad + layers[i].reach))
        if held[i].fresh == held[i].end:      # all is there, in the layers before too
            for i in range(i):
                held[i].fresh = held[i].end
            return


cdef void band_share(const BandsParams *p, int64_t height, tn_context *c, int64_t *begin, int64_t *end) noexcept nogil:
    """This thread's output rows of the batch."""
    cdef int64_t grains = (height + p.grain - 1) // p.grain
    my_part(c, p.batch * grains, 1, begin, end)
    begin[0] = begin[0] // grains * height + begin[0] % grains * p.grain
    end[0] = end[0] // grains * height + end[0] % grains * p.grain


cdef int bands(const tn_step *s, tn_context *c) noexcept nogil:
    """Operands: x, y, scratch of all threads, a BandedLayer for each layer."""
    cdef const BandsParams *p = <const BandsParams *>s.param
    cdef const BandedLayer *layers = <const BandedLayer *>operand(s, c, 3)
    cdef char *scratch = operand(s, c, 2) + c.thread * p.scratch_bytes
    cdef tn_step parts[MOST_BANDED]
    cdef tn_context alone = c[0]      # as the parts see it, with scratch of this thread
    cdef const char *x
    cdef char *y
    cdef const BandedLayer *final = layers + p.layers - 1
    cdef Held held[MOST_BANDED]
    cdef int64_t begin, end, n, row, last, i, picture = -1
    band_share(p, final.out_height, c, &begin, &end)
    memcpy(parts, s + p.parts_at, p.layers * sizeof(tn_step))
    for i in range(p.layers):
        if layers[i].scratch >= 0:
            parts[i].offset[layers[i].scratch] += c.thread * p.scratch_bytes
    alone.thread = 0
    alone.threads = 1
    while begin < end:
        n = begin // final.out_height
        row = begin - n * final.out_height
        last = min(min(final.out_height, row + p.band), row + end - begin)
        if n != picture:
            memset(held, 0, sizeof(held))
            picture = n
        band_rows(layers, p.layers, held, scratch, row, last)
        for i in range(p.layers):
            if i == 0:
                x = operand(s, c, 0) + n * layers[0].x_picture
            else:
                x = scratch + layers[i - 1].rows_at - held[i - 1].begin * layers[i].x_row
            y = operand(s, c, 1) + begin * final.y_row
            if i < p.layers - 1:
                y = scratch + layers[i].rows_at + (held[i].fresh - held[i].begin) * layers[i].y_row
            if held[i].fresh < held[i].end:
                band_layer(parts + i, layers + i, x, y, held[i].fresh, held[i].end, &alone)
        begin += last - row
    return 0


_declare("bands", bands, sizeof(BandsParams), "parts_at layers batch band grain scratch_bytes")
