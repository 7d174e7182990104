# Products of two computed tensors of bytes: b is packed into panels as the run goes, then multiplied as in q_conv2d.

cdef struct QMatmulParams:
    int64_t batch, m, k, n
    int64_t a_row, a_column, b_row, b_column, y_row
    int64_t result, a_zero, b_zero, y_zero, low, high, small
    int64_t quads, copies, scratch_bytes      # copies: rows of a are copied, to whole quads
    double multiplier


cdef void q_pack_b(const QMatmulParams *p, const uint8_t *b, int8_t *to, int32_t *bias, int64_t a_zero, int64_t b_zero,
                   int32_t signed) noexcept nogil:
    """[panels][quads][16][4] int8, 128 less than b; bias: what a's zero adds to each column."""
    cdef int64_t panels = (p.n + TN_PANEL - 1) // TN_PANEL
    cdef int64_t panel, quad, j, i, row, column
    cdef int32_t total[16]
    cdef int8_t w
    for panel in range(panels):
        memset(total, 0, sizeof(total))
        for quad in range(p.quads):
            for j in range(TN_PANEL):
                column = panel * TN_PANEL + j
                for i in range(4):
                    row = 4 * quad + i
                    w = 0
                    if row < p.k and column < p.n:
                        w = <int8_t>(b[row * p.b_row + column * p.b_column] ^ 128)
                    to[i] = w
                    total[j] += w
                to += 4
        for j in range(min(<int64_t>TN_PANEL, p.n - panel * TN_PANEL)):
            # In int64 first: a product of zeros and sums may leave int32, their sum modulo 2^32 may not.
            bias[panel * TN_PANEL + j] = <int32_t>(
                (128 * total[j] if signed else 0) - a_zero * (total[j] - p.k * (b_zero - 128)))


cdef int q_matmul(const tn_step *s, tn_context *c) noexcept nogil:
    cdef const QMatmulParams *p = <const QMatmulParams *>s.param
    cdef const int64_t *starts = <const int64_t *>operand(s, c, 4)
    cdef const uint8_t *rows[TN_BLOCK_ROWS]
    cdef tn_gemm8 gemm
    cdef int64_t panels = (p.n + TN_PANEL - 1) // TN_PANEL, item = 1 if p.result == TN_UINT8 else 4
    cdef int64_t a_zero = p.a_zero, b_zero = p.b_zero, width = panels * TN_PANEL
    cdef char *scratch = operand(s, c, 3) + c.thread * p.scratch_bytes
    cdef int8_t *packed = <int8_t *>scratch
    cdef int32_t *bias = <int32_t *>(packed + width * p.quads * 4)
    cdef float *multiplier = <float *>(bias + width)
    cdef int32_t *w_zero = <int32_t *>(multiplier + width)
    cdef uint8_t *copy = <uint8_t *>(w_zero + width)
    cdef int64_t run[3]
    cdef int64_t begin, end, at, matrix, last, i, k, made = -1
    cdef const uint8_t *a
    if s.space[5] >= 0:
        a_zero = (<const uint8_t *>operand(s, c, 5))[0]
        b_zero = (<const uint8_t *>operand(s, c, 6))[0]
    run[0] = 0
    run[1] = p.quads
    run[2] = p.k
    for i in range(width):
        multiplier[i] = <float>p.multiplier
        w_zero[i] = <int32_t>(b_zero - 128)
    gemm.a = rows
    gemm.run = run
    gemm.runs = 1
    gemm.quads = p.quads
    gemm.b = packed
    gemm.panels = panels
    gemm.n = p.n
    gemm.bias = bias
    gemm.multiplier = multiplier
    gemm.w_zero = w_zero if b_zero != 128 else NULL
    gemm.ldy = p.y_row
    gemm.packed = copy + (p.copies * p.quads * 4 + 63) // 64 * 64
    gemm.result = <int32_t>p.result
    gemm.zero = <int32_t>p.y_zero
    gemm.low = <int32_t>p.low
    gemm.high = <int32_t>p.high
    gemm.small = <int32_t>p.small
    gemm.pairs = 0
    my_part(c, p.batch * p.m, 6, &begin, &end)
    while begin < end:
        matrix = begin // p.m
        if matrix != made:
            q_pack_b(p, <const uint8_t *>operand(s, c, 1) + starts[3 * matrix + 1], packed, bias, a_zero, b_zero,
                     c.int8.gemm8_signed)
            made = matrix
        at = begin - matrix * p.m
        last = min(min(p.m, at + end - begin), at + (p.copies if p.copies else TN_BLOCK_ROWS))
        gemm.rows = last - at
        a = <const uint8_t *>operand(s, c, 0) + starts[3 * matrix] + at * p.a_row
        for i in range(gemm.rows):
            rows[i] = a + i * p.a_row
            if p.copies:
                for k in range(p.k):
                    copy[i * p.quads * 4 + k] = rows[i][k * p.a_column]
                memset(copy + i * p.quads * 4 + p.k, 0, p.quads * 4 - p.k)
                rows[i] = copy + i * p.quads * 4
        gemm.y = operand(s, c, 2) + (starts[3 * matrix + 2] + at * p.y_row) * item
        c.int8.gemm8(&gemm)
        begin += gemm.rows
    return 0


_declare("q_matmul", q_matmul, sizeof(QMatmulParams),
         "batch m k n a_row a_column b_row b_column y_row result a_zero b_zero y_zero low high small quads copies scratch_bytes "
         " multiplier*")
