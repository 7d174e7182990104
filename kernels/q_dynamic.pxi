# Dynamic quantisation: integers whose scale and zero are those of the data.

from libc.math cimport fmaxf, fminf, rintf

cdef enum:
    LANES = 16


cdef void range_of(const float *x, int64_t n, float *low, float *high) noexcept nogil:
    """The least and greatest of 0 and n numbers; NaN is neither.  In lanes, which the compiler makes a vector of."""
    cdef float least[LANES]
    cdef float most[LANES]
    cdef int64_t i = 0
    cdef int j
    for j in range(LANES):
        least[j] = most[j] = 0
    while i + LANES <= n:
        for j in range(LANES):
            least[j] = x[i + j] if x[i + j] < least[j] else least[j]
            most[j] = x[i + j] if x[i + j] > most[j] else most[j]
        i += LANES
    while i < n:
        least[0] = fminf(least[0], x[i])
        most[0] = fmaxf(most[0], x[i])
        i += 1
    low[0] = high[0] = 0
    for j in range(LANES):
        low[0] = fminf(low[0], least[j])
        high[0] = fmaxf(high[0], most[j])


cdef struct DynamicParams:
    int64_t n


cdef int dynamic_quantize(const tn_step *s, tn_context *c) noexcept nogil:
    """Every thread looks for the range itself, which takes less time than waiting for another's, and converts its part."""
    cdef const DynamicParams *p = <const DynamicParams *>s.param
    cdef const float *x = floats(s, c, 0)
    cdef int64_t begin, end
    cdef float low, high, scale, zero
    range_of(x, p.n, &low, &high)
    scale = <float>1 if high == low else (high - low) / <float>255
    zero = rintf(fmaxf(<float>0, fminf(<float>255, -low / scale)))
    my_part(c, p.n, 64, &begin, &end)
    c.int8.quantize(x + begin, bytes_of(s, c, 1) + begin, end - begin, scale, <int32_t>zero, 0)
    if c.thread == 0:
        floats(s, c, 2)[0] = scale
        bytes_of(s, c, 3)[0] = <uint8_t>zero
    return 0


_declare("dynamic_quantize", dynamic_quantize, sizeof(DynamicParams), "n")


cdef struct CorrectParams:
    int64_t rows, columns


cdef int q_correct(const tn_step *s, tn_context *c) noexcept nogil:
    cdef const CorrectParams *p = <const CorrectParams *>s.param
    cdef const uint32_t *x = <const uint32_t *>operand(s, c, 0)
    cdef uint32_t zero = bytes_of(s, c, 1)[0]
    cdef const uint32_t *sums = <const uint32_t *>operand(s, c, 2)
    cdef uint32_t *y = <uint32_t *>operand(s, c, 3)
    cdef int64_t begin, end, row, i
    my_part(c, p.rows, 1, &begin, &end)
    for row in range(begin, end):
        for i in range(p.columns):
            y[row * p.columns + i] = x[row * p.columns + i] - zero * sums[i]
    return 0


_declare("q_correct", q_correct, sizeof(CorrectParams), "rows columns")
