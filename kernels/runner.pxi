# Runner: what stands around the steps of a small network's run, compiled.

cdef list ready(given, tuple specs, type array_type):
    """The arrays in declared order if all is exactly as it should be, else None.  specs: (name, shape, dtype) each."""
    cdef list arrays = []
    cdef tuple spec
    cdef Py_ssize_t i
    if (len(<dict>given) if type(given) is dict else type(given) is array_type) != len(specs):
        return None
    for i in range(len(specs)):
        spec = <tuple>specs[i]
        array = (<dict>given).get(spec[0]) if type(given) is dict else given
        if type(array) is not array_type or array.dtype is not spec[2] or array.shape != spec[1]:
            return None
        flags = array.flags
        if not (flags.c_contiguous and flags.aligned):
            return None
        arrays.append(array)
    return arrays


cdef int separate(list arrays, Py_ssize_t targets) except -1:
    """Can the targets, the first of the arrays, be written while the others are still read?"""
    cdef Py_buffer views[2]
    cdef Py_ssize_t i, k
    cdef bint apart = True
    for i in range(targets):
        if not arrays[i].flags.writeable:
            return 0
        for k in range(i + 1, len(arrays)):
            PyObject_GetBuffer(arrays[i], &views[0], PyBUF_SIMPLE)
            PyObject_GetBuffer(arrays[k], &views[1], PyBUF_SIMPLE)
            apart = apart and (<char *>views[0].buf + views[0].len <= <char *>views[1].buf
                               or <char *>views[1].buf + views[1].len <= <char *>views[0].buf)
            PyBuffer_Release(&views[0])
            PyBuffer_Release(&views[1])
    return apart


cdef class Runner:
    """All of a run in one call, for networks without numpy steps: small ones take less time than Python around them would."""
    cdef Program program
    cdef list contexts
    cdef tuple inputs, outputs
    cdef object empty
    cdef type array_type
    cdef int64_t first, last
    cdef int threads

    def __cinit__(self, Program program, int64_t first, int64_t last, int threads, list contexts, tuple inputs, tuple outputs,
                  empty, type array_type, /):
        """inputs, outputs: (name, shape, dtype) each; contexts: a stock of the memory of runs; empty: numpy.empty."""
        self.program, self.first, self.last, self.threads, self.contexts = program, first, last, threads, contexts
        self.inputs, self.outputs, self.empty, self.array_type = inputs, outputs, empty, array_type

    def run(self, given, out, /):
        """{name: array}, or None: something is not as declared, no context is left, or a kernel fails.  The caller then takes
        the long way, which says what it is."""
        cdef list arrays = ready(given, self.inputs, self.array_type), results = []
        cdef tuple spec
        cdef dict named = {}
        cdef Py_ssize_t i
        if arrays is None:
            return None
        if out is not None:
            results = ready(out, self.outputs, self.array_type)
            if results is None or not separate(results + arrays, len(results)):
                return None
        try:
            context = self.contexts.pop()
            for i in range(len(self.outputs)):
                spec = <tuple>self.outputs[i]
                if out is None:
                    results.append(self.empty(spec[1], spec[2]))
                named[spec[0]] = results[i]
            self.program.run(self.first, self.last, <list>(list(context.spaces) + arrays + results), self.threads)
        except (IndexError, MemoryError, ValueError, StepError):
            return None
        self.contexts.append(context)
        return named
