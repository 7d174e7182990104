# softmax(alpha q k) v, a block of rows at a time: its scores stay in the cache between the two products.

cdef struct AttentionParams:
    int64_t batch, m, k, n, d                       # q [m, k], k [k, n], v [n, d]
    int64_t q_row, k_row, k_column, v_row, v_column, y_row
    int64_t k_parts, n_parts, n_table               # the second table of runs begins at entry n_table
    int64_t block, scratch_floats
    double alpha


cdef inline MatmulParams half_of(int64_t m, int64_t k, int64_t n, int64_t a_row, int64_t b_row, int64_t b_column,
                                 int64_t y_row, int64_t parts, double alpha) noexcept nogil:
    cdef MatmulParams p
    memset(&p, 0, sizeof(p))
    p.m = m
    p.k = k
    p.n = n
    p.a_row = a_row
    p.a_column = 1
    p.b_row = b_row
    p.b_column = b_column
    p.y_row = y_row
    p.parts = parts
    p.alpha = alpha
    return p


cdef int attention_f32(const tn_step *s, tn_context *c) noexcept nogil:
    cdef const AttentionParams *p = <const AttentionParams *>s.param
    cdef const int64_t *starts = integers(s, c, 5)  # per matrix: where it begins in q, k, v and y, floats
    cdef const int64_t *runs = integers(s, c, 6)
    cdef MatmulParams left = half_of(p.m, p.k, p.n, p.q_row, p.k_row, p.k_column, p.n, p.k_parts, p.alpha)
    cdef MatmulParams right = half_of(p.m, p.n, p.d, p.n, p.v_row, p.v_column, p.y_row, p.n_parts, 1)
    cdef Conv2dParams first = plain_product(&left), second = plain_product(&right)
    cdef int64_t n_panels = (p.n + TN_PANEL - 1) // TN_PANEL, d_panels = (p.d + TN_PANEL - 1) // TN_PANEL
    cdef bint own = p.batch > 1 and (p.batch % c.threads == 0 or p.batch >= 4 * c.threads)
    cdef float *keys = floats(s, c, 4) + (c.thread * p.scratch_floats if own else 0)
    cdef float *values = keys + n_panels * TN_PANEL * p.k
    cdef float *scores = floats(s, c, 4) + c.thread * p.scratch_floats + TN_PANEL * (n_panels * p.k + d_panels * p.n)
    cdef int64_t begin = 0, end = p.batch, key_begin = 0, key_end = n_panels, value_begin = 0, value_end = d_panels
    cdef int64_t row_begin = 0, row_end = p.m, i, j, row, count
    if own:
        my_part(c, p.batch, 1, &begin, &end)
    else:
        my_part(c, n_panels, 1, &key_begin, &key_end)
        my_part(c, d_panels, 1, &value_begin, &value_end)
        my_part(c, p.m, 8, &row_begin, &row_end)
    for i in range(begin, end):
        if not own and i > 0:
            tn_barrier(c.team)                      # nobody still reads what is packed
        for j in range(key_begin, key_end):
            pack_panel(&left, floats(s, c, 1) + starts[4 * i + 1], keys + j * TN_PANEL * p.k, j * TN_PANEL, c)
        for j in range(value_begin, value_end):
            pack_panel(&right, floats(s, c, 2) + starts[4 * i + 2], values + j * TN_PANEL * p.n, j * TN_PANEL, c)
        if not own:
            tn_barrier(c.team)
        row = row_begin
        while row < row_end:
            count = min(p.block, row_end - row)
            product(&first, floats(s, c, 0) + starts[4 * i] + row * p.q_row, keys, NULL, NULL, scores, runs, 0, count, 0,
                    n_panels, c)
            c.micro.softmax(scores, scores, count, p.n, 1, 0)
            product(&second, scores, values, NULL, NULL, floats(s, c, 3) + starts[4 * i + 3] + row * p.y_row,
                    runs + p.n_table, 0, count, 0, d_panels, c)
            row += count
    return 0


_declare("attention_f32", attention_f32, sizeof(AttentionParams),
         "batch m k n d q_row k_row k_column v_row v_column y_row k_parts n_parts n_table block scratch_floats alpha*")
