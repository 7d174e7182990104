# Layers that users write: a C function whose address the plan was given (tinynet/custom.py says how it is called).

ctypedef int32_t (*custom_function)(void **tensors, const int64_t *shapes, const double *attributes) noexcept nogil


cdef struct CustomParams:
    int64_t address
    int64_t tensors


cdef int custom(const tn_step *s, tn_context *c) noexcept nogil:
    """Operands: the tensors, then a table of 8 shape numbers per tensor with the attributes behind it.  Never split."""
    cdef const CustomParams *p = <const CustomParams *>s.param
    cdef void *tensors[8]
    cdef const int64_t *table = integers(s, c, <int>p.tensors)
    cdef int64_t i
    if c.thread:
        return 0
    for i in range(p.tensors):
        tensors[i] = operand(s, c, <int>i)
    return (<custom_function><size_t>p.address)(tensors, table, <const double *>(table + 8 * p.tensors))


_declare("custom", custom, sizeof(CustomParams), "address tensors")
