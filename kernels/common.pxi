# What every kernel file uses: the C structures, operands by number, the split of work over threads.

from cpython.buffer cimport PyBUF_SIMPLE, PyBUF_WRITABLE, PyBuffer_Release, PyObject_GetBuffer, Py_buffer
from libc.stdint cimport int8_t, int16_t, int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t, uintptr_t
from libc.string cimport memcpy, memmove, memset

cdef extern from *:
    """
    /* No contraction to FMA, which aarch64 has everywhere and x86-64 not: the same bits on both. */
    #if defined(__clang__)
    #pragma STDC FP_CONTRACT OFF
    #else
    #pragma GCC optimize("fp-contract=off")
    #endif
    """

cdef extern from "step.h":
    enum: TN_MAX_OPERANDS
    enum: TN_MAX_PARAMS
    enum: TN_PANEL
    enum: TN_MAX_PANELS
    enum: TN_MAX_ROWS
    enum: TN_GRAY_FILTERS
    enum: TN_CLIP
    ctypedef enum tn_function:
        TN_NONE
        TN_SQRT
    ctypedef enum tn_binary:
        TN_ADD
        TN_MUL
    ctypedef enum tn_reduction:
        TN_MAX
        TN_MIN
        TN_SUM
    ctypedef enum tn_comparison:
        TN_EQUAL
    ctypedef struct tn_team:
        pass
    ctypedef struct tn_epilogue:
        float lo, hi, alpha, beta
        int32_t function
    ctypedef struct tn_tile:
        const float **a
        const int64_t *run
        int64_t runs
        const float *b
        int64_t panel_stride
        const float *prefetch
        const float *bias
        const float *residual
        int64_t ld_residual
        float *c
        int64_t ldc
        int64_t n
        int32_t accumulate
        int32_t last
        float lo, hi
    ctypedef struct tn_gray:
        const float *x
        const int64_t *run
        int64_t runs
        const float *w
        const float *bias
        float *y
        int64_t ldy, filters, pixels
        float lo, hi
    ctypedef struct tn_depthwise:
        const float *x
        int64_t height, width, ldx, x_row
        const float *w
        int64_t ldw
        const float *bias
        float *y
        int64_t ldy, y_row, ow, oy0, oy1
        int64_t kh, kw, stride_h, stride_w, dilation_h, dilation_w, pad_top, pad_left, channels
        tn_epilogue epilogue
    ctypedef struct tn_winograd_input:
        const float *x
        int64_t row, ld, y0, y1, x0, x1, channels
        float *v
        int64_t stride
    ctypedef struct tn_winograd_output:
        const float *m
        int64_t stride
        const float *bias
        const float *residual
        int64_t residual_row, ld_residual
        float *y
        int64_t y_row, ldy, rows, columns, channels
        tn_epilogue epilogue
    ctypedef struct tn_gate:
        int32_t function
        float alpha, beta
    ctypedef struct tn_cell:
        int64_t hidden, padded
        const float *x
        float *z
        float *h
        float *c
        float *y
        const float *weights
        float clip
        int32_t linked
        tn_gate gate[3]
    ctypedef struct tn_micro:
        const char *name
        int32_t vector_floats
        int64_t (*multiply_add)(int64_t) noexcept nogil
        int32_t max_rows[5]
        void (*gemm_tile)(const tn_tile *, int, int) noexcept nogil
        void (*gray)(const tn_gray *) noexcept nogil
        void (*depthwise)(const tn_depthwise *) noexcept nogil
        void (*unary)(tn_function, float, float, const float *, float *, int64_t) noexcept nogil
        void (*binary)(tn_binary, const float *, int, const float *, int, float *, int64_t,
                       const tn_epilogue *) noexcept nogil
        void (*compare)(tn_comparison, const float *, int, const float *, int, uint8_t *, int64_t) noexcept nogil
        void (*select)(const uint8_t *, int, const int32_t *, int, const int32_t *, int, int32_t *, int64_t) noexcept nogil
        void (*scale_shift)(const float *, const float *, const float *, float *, int64_t,
                            const tn_epilogue *) noexcept nogil
        void (*pool)(tn_reduction, const float *, int64_t, int64_t, int64_t, int64_t, float *, int64_t,
                     float, int64_t, int64_t, int64_t) noexcept nogil
        float (*reduce)(tn_reduction, const float *, int64_t) noexcept nogil
        void (*argmax)(const float *, int64_t, int64_t, float, int, int64_t *, int64_t) noexcept nogil
        void (*softmax)(const float *, float *, int64_t, int64_t, int64_t, int) noexcept nogil
        void (*bilinear)(const float *, const float *, const float *, const float *, float, float, float *,
                         int64_t) noexcept nogil
        void (*blend)(const float *, const int64_t *, const float *, int64_t, float *, int64_t) noexcept nogil
        void (*lrn)(const float *, float *, int64_t, int64_t, float, float, float, float *) noexcept nogil
        void (*transpose)(const float *, int64_t, float *, int64_t, int64_t, int64_t) noexcept nogil
        void (*transpose_bytes)(const uint8_t *, int64_t, uint8_t *, int64_t, int64_t, int64_t) noexcept nogil
        void (*gemv)(const float *, int64_t, const float *, int64_t, int64_t, float *) noexcept nogil
        void (*rnn_cell)(const tn_cell *) noexcept nogil
        void (*lstm_cell)(const tn_cell *) noexcept nogil
        void (*gru_gates)(const tn_cell *) noexcept nogil
        void (*gru_state)(const tn_cell *) noexcept nogil
        void (*normalize_row)(const float *, const float *, const float *, float *, int64_t, float, int) noexcept nogil
        void (*normalize_channels)(const float *, const float *, const float *, const float *, float *, int64_t) noexcept nogil
        void (*squares)(const float *, int64_t, int64_t, const float *, float *, int64_t) noexcept nogil
        void (*winograd_input)(const tn_winograd_input *, int) noexcept nogil
        void (*winograd_output)(const tn_winograd_output *, int) noexcept nogil
        void (*winograd_weights)(const float *, int64_t, float *, int64_t, int64_t, int) noexcept nogil
    ctypedef struct tn_q_pair:
        float ra, rb, c
        int32_t a_zero, b_zero, low, high
    enum: TN_BLOCK_ROWS
    enum: TN_UINT8
    ctypedef struct tn_gemm8:
        const uint8_t **a
        int64_t rows
        const int64_t *run
        int64_t runs, quads
        const int8_t *b
        int64_t panels, n
        const int32_t *bias
        const float *multiplier
        const int32_t *w_zero
        void *y
        int64_t ldy
        void *packed
        int32_t result, zero, low, high, small, pairs
    ctypedef struct tn_q_depthwise:
        const uint8_t *x
        int64_t height, width, ldx, x_row
        const int8_t *w
        const int32_t *w_zero
        const int32_t *bias
        const float *multiplier
        char *y
        int64_t ldy, y_row, ow, oy0, oy1
        int64_t kh, kw, stride_h, stride_w, dilation_h, dilation_w, pad_top, pad_left, channels
        int32_t x_zero, y_zero, low, high, result
        char *scratch
    ctypedef struct tn_windows:
        const uint8_t *x
        int64_t x_row, ldx, rows, width, kw, stride, dilation, pad_left, pad_right
        uint8_t *y
        int64_t ldy, out_width, channels
    ctypedef struct tn_average:
        float x_scale, y_scale
        int32_t x_zero, y_zero, shift
        int64_t counted_rows
    ctypedef struct tn_bilinear:
        const float *low
        const float *high
        const int64_t *column
        const float *part
        float part_low, part_high, y_scale
        int32_t y_zero
        uint8_t *y
        int64_t ldy, out_width, channels
    ctypedef struct tn_q_winograd_input:
        const uint8_t *x
        int64_t row, ld, y0, y1, x0, x1, channels
        const uint8_t *outside
        int16_t *v
        int64_t stride
    ctypedef struct tn_q_winograd_output:
        const int32_t *m
        int64_t stride
        const int32_t *bias
        const float *multiplier
        void *y
        int64_t y_row, ldy, rows, columns, channels
        int32_t result, zero, low, high, small
    ctypedef struct tn_int8:
        int64_t (*multiply_add)(int64_t) noexcept nogil
        void (*quantize)(const float *, uint8_t *, int64_t, float, int32_t, int32_t) noexcept nogil
        void (*dequantize)(const uint8_t *, float *, int64_t, float, int32_t, int32_t) noexcept nogil
        void (*add)(const tn_q_pair *, const uint8_t *, int, const uint8_t *, int, uint8_t *, int64_t) noexcept nogil
        void (*mul)(const tn_q_pair *, const uint8_t *, int, const uint8_t *, int, uint8_t *, int64_t) noexcept nogil
        void (*lookup)(const uint8_t *, uint8_t *, int64_t, const uint8_t *) noexcept nogil
        void (*softmax)(const uint8_t *, int64_t, uint8_t *, int64_t, int64_t, int64_t, const float *, float,
                        int32_t) noexcept nogil
        int32_t gemm8_packed_rows
        int32_t gemm8_signed
        int32_t gemm8_byte_pairs
        void (*gemm8)(const tn_gemm8 *) noexcept nogil
        void (*depthwise)(const tn_q_depthwise *) noexcept nogil
        void (*max_windows)(const tn_windows *, int) noexcept nogil
        uint8_t (*max_of)(const uint8_t *, int64_t, int) noexcept nogil
        void (*average_windows)(const tn_windows *, const tn_average *) noexcept nogil
        void (*mean)(const uint8_t *, int64_t, int64_t, int64_t, int32_t, float, int32_t, uint8_t *) noexcept nogil
        void (*bilinear)(const tn_bilinear *) noexcept nogil
        void (*interleave)(const uint8_t *, int64_t, int, uint8_t *, int64_t) noexcept nogil
        void (*deinterleave)(const uint8_t *, int, uint8_t *, int64_t, int64_t) noexcept nogil
        void (*winograd_input)(const tn_q_winograd_input *, int) noexcept nogil
        void (*winograd_product)(const int16_t *, int64_t, int64_t, const int16_t *, int64_t, int64_t, int32_t *) noexcept nogil
        void (*winograd_output)(const tn_q_winograd_output *, int) noexcept nogil
        void (*winograd_weights)(const int8_t *, int64_t, int64_t, int16_t *, int64_t, int) noexcept nogil
        int64_t (*winograd_reach)(const int8_t *, int64_t, int64_t) noexcept nogil
    ctypedef struct tn_context:
        char **base
        const tn_micro *micro
        const tn_int8 *int8
        int thread, threads
        tn_team *team
    ctypedef struct tn_step
    ctypedef int (*tn_kernel)(const tn_step *, tn_context *) noexcept nogil
    ctypedef struct tn_step:
        tn_kernel kernel
        int64_t patience
        int32_t space[12]
        int64_t offset[12]
        int64_t param[40]
    const tn_micro *tn_micro_find(const char *name) nogil
    const tn_int8 *tn_int8_find(const char *name) nogil
    const char *tn_level(int i, int *usable, const char **floats) nogil
    ctypedef void (*tn_job)(void *, int, int, tn_team *) noexcept nogil
    int tn_call_crew(int threads, int64_t patience) nogil
    void tn_region(tn_job job, void *argument, int64_t patience) nogil
    void tn_dismiss_crew() nogil
    tn_team *tn_team_of_one() nogil
    void tn_run_job(tn_job job, void *argument, int threads) nogil
    void tn_barrier(tn_team *team) nogil


cdef class Bytes:
    """A buffer of another object, contiguous, held as long as this lives."""
    cdef Py_buffer view

    def __cinit__(self, buffer, int flags, /):
        PyObject_GetBuffer(buffer, &self.view, flags)

    def __dealloc__(self):
        PyBuffer_Release(&self.view)


# name -> (address of the kernel, bytes and names of its parameters); what `_parameters` made of the names
cdef dict _KERNELS = {}
cdef dict _PARAMETERS = {}


cdef int _declare(str name, tn_kernel kernel, Py_ssize_t size, str params) except -1:
    """Parameters are the fields of the kernel's struct in order; a trailing * marks a double."""
    _KERNELS[name] = (<size_t>kernel, size, params)
    return 0


cdef tuple _parameters(str kernel):
    """(name, is it a double?) of each parameter, taken apart when a network first uses the kernel: an import has no use for
    them."""
    cdef tuple found = _PARAMETERS.get(kernel)
    if found is None:
        _, size, params = _KERNELS[kernel]
        found = tuple([(name.rstrip("*"), name.endswith("*")) for name in params.split()])
        if size != 8 * len(found) or len(found) > TN_MAX_PARAMS:
            raise SystemError(f"kernel {kernel}: {len(found)} names for {size // 8} parameters")
        _PARAMETERS[kernel] = found
    return found


cdef inline char *operand(const tn_step *s, tn_context *c, int i) noexcept nogil:
    return NULL if s.space[i] < 0 else c.base[s.space[i]] + s.offset[i]


cdef inline float *floats(const tn_step *s, tn_context *c, int i) noexcept nogil:
    return <float *>operand(s, c, i)


cdef inline const int64_t *integers(const tn_step *s, tn_context *c, int i) noexcept nogil:
    return <const int64_t *>operand(s, c, i)


cdef inline void my_part(tn_context *c, int64_t total, int64_t unit, int64_t *begin, int64_t *end) noexcept nogil:
    """This thread's share of range(total), cut at multiples of `unit`."""
    cdef int64_t units = (total + unit - 1) // unit
    begin[0] = min(total, units * c.thread // c.threads * unit)
    end[0] = min(total, units * (c.thread + 1) // c.threads * unit)


cdef inline tn_epilogue epilogue(int64_t function, double lo, double hi, double alpha, double beta) noexcept nogil:
    cdef tn_epilogue e
    e.function = <int32_t>function
    e.lo = <float>lo
    e.hi = <float>hi
    e.alpha = <float>alpha
    e.beta = <float>beta
    return e
