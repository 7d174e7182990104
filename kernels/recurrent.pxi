# rnn, gru and lstm.  The input's part of every gate is a matrix product over all steps, made before; what is left per step is
# state times recurrent weights, and the gates.  Directions and rows of the batch are independent: threads share them.

cdef enum:
    RNN_CELL, GRU_CELL, LSTM_CELL

cdef struct RecurrentParams:
    int64_t cell, steps, batch, directions, reverse, hidden, gates, linked
    double clip
    int64_t function[6]                                 # three per direction
    double alpha[6]
    double beta[6]


cdef void state_product(const RecurrentParams *p, const float *h, int64_t ldh, const float *r, float *z, int64_t rows,
                        int64_t first_gate, int64_t last_gate, tn_context *c) noexcept nogil:
    """Gates first_gate .. last_gate - 1 of `rows` rows: state times recurrent weights."""
    cdef int64_t per_gate = (p.hidden + TN_PANEL - 1) // TN_PANEL, row = p.gates * per_gate * TN_PANEL
    cdef int64_t panel = p.hidden * TN_PANEL, widest = widest_tile(c.micro)
    cdef int64_t begin = first_gate * per_gate, end = last_gate * per_gate, columns, column, p0, p1, i, j, height
    cdef const float *at[TN_MAX_ROWS]
    cdef int64_t run[2]
    cdef tn_tile tile
    if p.batch == 1:
        c.micro.gemv(h, p.hidden, r + begin * panel, panel, end - begin, z + begin * TN_PANEL)
        return
    memset(&tile, 0, sizeof(tile))
    run[0] = 0
    run[1] = p.hidden
    tile.run = run
    tile.runs = 1
    tile.panel_stride = panel
    tile.a = at
    tile.ldc = row
    columns = (end - begin + widest - 1) // widest
    for column in range(columns):
        p0 = begin + even_share(end - begin, columns, column)
        p1 = begin + even_share(end - begin, columns, column + 1)
        tile.b = r + p0 * panel
        tile.n = (p1 - p0) * TN_PANEL
        i = 0
        while i < rows:
            height = min(<int64_t>c.micro.max_rows[p1 - p0], rows - i)
            for j in range(height):
                at[j] = h + (i + j) * ldh
            tile.c = z + i * row + p0 * TN_PANEL
            c.micro.gemm_tile(&tile, <int>height, <int>(p1 - p0))
            i += height


cdef void run_direction(const tn_step *s, tn_context *c, int64_t d, int64_t begin, int64_t end) noexcept nogil:
    """All steps of rows begin .. end - 1 of the batch, in direction d."""
    cdef const RecurrentParams *p = <const RecurrentParams *>s.param
    cdef int64_t padded = (p.hidden + TN_PANEL - 1) // TN_PANEL * TN_PANEL, row = p.gates * padded, hidden = p.hidden
    cdef const float *x = floats(s, c, 0)               # [steps, batch, directions, gates, hidden]
    cdef const float *r = floats(s, c, 1) + d * row * hidden
    cdef const int32_t *lengths = <const int32_t *>operand(s, c, 3)
    cdef float *y = floats(s, c, 4)                     # [steps, batch, directions, hidden]
    cdef float *h = floats(s, c, 5) + d * p.batch * hidden
    cdef float *state = floats(s, c, 6)
    cdef float *z = floats(s, c, 7) + d * p.batch * row
    cdef bint backwards = p.reverse != 0 or d == 1
    cdef int64_t step, b, g, t
    cdef tn_cell cell
    memset(&cell, 0, sizeof(cell))
    cell.hidden = hidden
    cell.padded = padded
    cell.clip = <float>p.clip
    cell.linked = <int32_t>p.linked
    if floats(s, c, 2) != NULL:
        cell.weights = floats(s, c, 2) + d * (3 * hidden if p.cell == LSTM_CELL else hidden)
    for g in range(3):
        cell.gate[g].function = <int32_t>p.function[3 * d + g]
        cell.gate[g].alpha = <float>p.alpha[3 * d + g]
        cell.gate[g].beta = <float>p.beta[3 * d + g]
    for b in range(begin, end):
        if step_of(p, lengths, b, 0, backwards) < 0:    # a row without any step
            memset(h + b * hidden, 0, hidden * sizeof(float))
            if p.cell == LSTM_CELL:
                memset(state + (d * p.batch + b) * hidden, 0, hidden * sizeof(float))
    for step in range(p.steps):
        # gates that need the state as it is; a GRU that resets before the product has its last one below
        g = 2 if p.cell == GRU_CELL and not p.linked else p.gates
        state_product(p, h + begin * hidden, hidden, r, z + begin * row, end - begin, 0, g, c)
        if p.cell == GRU_CELL:
            for b in range(begin, end):
                t = step_of(p, lengths, b, step, backwards)
                if t >= 0:
                    cell.x = x + ((t * p.batch + b) * p.directions + d) * p.gates * hidden
                    cell.z = z + b * row
                    cell.h = h + b * hidden
                    c.micro.gru_gates(&cell)
            if g == 2:
                state_product(p, z + begin * row + padded, row, r, z + begin * row, end - begin, 2, 3, c)
        for b in range(begin, end):
            t = step_of(p, lengths, b, step, backwards)
            if t < 0:                                   # past the end of this row's sequence
                memset(y + ((step * p.batch + b) * p.directions + d) * hidden, 0, hidden * sizeof(float))
                continue
            cell.x = x + ((t * p.batch + b) * p.directions + d) * p.gates * hidden
            cell.z = z + b * row
            cell.h = h + b * hidden
            cell.y = y + ((t * p.batch + b) * p.directions + d) * hidden
            if p.cell == LSTM_CELL:
                cell.c = state + (d * p.batch + b) * hidden
                c.micro.lstm_cell(&cell)
            elif p.cell == GRU_CELL:
                c.micro.gru_state(&cell)
            else:
                c.micro.rnn_cell(&cell)


cdef inline int64_t step_of(const RecurrentParams *p, const int32_t *lengths, int64_t b, int64_t step,
                            bint backwards) noexcept nogil:
    """The time step that row b works on in its step `step`, or -1 if its sequence is over."""
    cdef int64_t length = p.steps if lengths == NULL else lengths[b]
    if step >= length:
        return -1
    return length - 1 - step if backwards else step


cdef int recurrent_f32(const tn_step *s, tn_context *c) noexcept nogil:
    """A length outside the sequence stops the run."""
    cdef const RecurrentParams *p = <const RecurrentParams *>s.param
    cdef const int32_t *lengths = <const int32_t *>operand(s, c, 3)
    cdef int64_t begin, end, d, first, last
    if lengths != NULL:
        for d in range(p.batch):
            if lengths[d] < 0 or lengths[d] > p.steps:
                return 1
    my_part(c, p.directions * p.batch, 1, &begin, &end)
    for d in range(p.directions):
        first = max(begin - d * p.batch, <int64_t>0)
        last = min(end - d * p.batch, p.batch)
        if first < last:
            run_direction(s, c, d, first, last)
    return 0


_declare("recurrent_f32", recurrent_f32, sizeof(RecurrentParams),
         "cell steps batch directions reverse hidden gates linked clip* "
         "function0 function1 function2 function3 function4 function5 "
         "alpha0* alpha1* alpha2* alpha3* alpha4* alpha5* beta0* beta1* beta2* beta3* beta4* beta5*")
