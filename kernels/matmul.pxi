# Product of two tensors that are both computed at run time, any strides: per matrix, b is packed into panels in scratch
# memory and multiplied like weights; a is read in place where its columns are neighbours in memory, and copied otherwise.
#
# Many matrices: each thread takes whole ones and packs into scratch of its own.  Few: all threads pack, wait, and split
# the rows of the output, or its columns if it has few rows.

cdef struct MatmulParams:
    int64_t batch, m, k, n
    int64_t a_row, a_column, b_row, b_column, y_row     # floats from one row or column to the next
    int64_t parts, packed_floats
    double alpha


cdef void pack_panel(const MatmulParams *p, const float *b, float *panel, int64_t column, tn_context *c) noexcept nogil:
    """Columns column .. column + 15 of alpha b, [k][16]; columns that b does not have are zero."""
    cdef int64_t i, j, used = min(<int64_t>TN_PANEL, p.n - column)
    cdef float alpha = <float>p.alpha
    cdef tn_epilogue none = epilogue(0, -INF, INF, 0, 0)
    b += column * p.b_column
    if used < TN_PANEL:
        memset(panel, 0, p.k * TN_PANEL * sizeof(float))
    if p.b_column == 1:
        for i in range(p.k):
            memcpy(panel + i * TN_PANEL, b + i * p.b_row, used * sizeof(float))
    elif p.b_row == 1:
        c.micro.transpose(b, p.b_column, panel, TN_PANEL, used, p.k)
    else:
        for i in range(p.k):
            for j in range(used):
                panel[i * TN_PANEL + j] = b[i * p.b_row + j * p.b_column]
    if p.alpha != 1:
        c.micro.binary(TN_MUL, panel, 1, &alpha, 0, panel, p.k * TN_PANEL, &none)


cdef void copy_left_rows(const MatmulParams *p, const float *a, float *rows, int64_t begin, int64_t end,
                    tn_context *c) noexcept nogil:
    """Rows begin .. end of a, as [m][k]."""
    cdef int64_t i, j
    if p.a_row == 1:
        c.micro.transpose(a + begin, p.a_column, rows + begin * p.k, p.k, p.k, end - begin)
        return
    for i in range(begin, end):
        for j in range(p.k):
            rows[i * p.k + j] = a[i * p.a_row + j * p.a_column]


cdef inline Conv2dParams plain_product(const MatmulParams *p) noexcept nogil:
    """One matrix as `product` (conv2d.pxi) wants it: m pixels in a row, k channels."""
    cdef Conv2dParams q
    memset(&q, 0, sizeof(q))
    q.batch = q.height = q.out_height = q.groups = q.stride_h = q.stride_w = 1
    q.width = q.out_width = p.m
    q.ldx = p.a_row if p.a_column == 1 else p.k
    q.channels = q.group_in = q.columns = p.k
    q.group_out = p.n
    q.ldy = p.y_row
    q.parts = p.parts
    q.lo = -INF
    q.hi = INF
    return q


cdef int matmul_f32(const tn_step *s, tn_context *c) noexcept nogil:
    cdef const MatmulParams *p = <const MatmulParams *>s.param
    cdef const int64_t *starts = integers(s, c, 4)      # per matrix: where it begins in a, b and y, floats
    cdef const int64_t *runs = integers(s, c, 5)
    cdef int64_t panels = (p.n + TN_PANEL - 1) // TN_PANEL, copied = 0 if p.a_column == 1 else p.m * p.k
    cdef bint own = p.batch > 1 and (p.batch % c.threads == 0 or p.batch >= 4 * c.threads)
    cdef float *packed = floats(s, c, 3) + (c.thread * p.packed_floats if own else 0)
    cdef float *rows = packed + panels * TN_PANEL * p.k
    cdef Conv2dParams q = plain_product(p)
    cdef const float *a
    cdef const float *b
    cdef const float *packed_from = NULL
    cdef int64_t first = 0, last = p.batch, i, j
    cdef int64_t pack_begin = 0, pack_end = panels, copy_begin = 0, copy_end = p.m
    cdef int64_t row_begin = 0, row_end = p.m, panel_begin = 0, panel_end = panels
    if own:
        my_part(c, p.batch, 1, &first, &last)
    else:
        my_part(c, panels, 1, &pack_begin, &pack_end)
        my_part(c, p.m, 16, &copy_begin, &copy_end)
        if p.m >= 24 * c.threads:
            my_part(c, p.m, 6, &row_begin, &row_end)
        else:
            my_part(c, panels, 1, &panel_begin, &panel_end)
    for i in range(first, last):
        a = floats(s, c, 0) + starts[3 * i]
        b = floats(s, c, 1) + starts[3 * i + 1]
        if not own and i > 0:
            tn_barrier(c.team)          # nobody still reads what is packed
        if b != packed_from:
            for j in range(pack_begin, pack_end):
                pack_panel(p, b, packed + j * TN_PANEL * p.k, j * TN_PANEL, c)
            packed_from = b
        if copied:
            copy_left_rows(p, a, rows, copy_begin, copy_end, c)
            a = rows
        if not own:
            tn_barrier(c.team)
        if row_begin < row_end and panel_begin < panel_end:
            product(&q, a, packed, NULL, NULL, floats(s, c, 2) + starts[3 * i + 2], runs, row_begin, row_end, panel_begin,
                    panel_end, c)
    return 0


_declare("matmul_f32", matmul_f32, sizeof(MatmulParams),
         "batch m k n a_row a_column b_row b_column y_row parts packed_floats alpha*")
