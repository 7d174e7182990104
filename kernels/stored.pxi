# Weights that the file stores as float16 or int8 (layouts.py) become float32 at load.

cdef extern from "stored.h":
    void tn_widen(const uint16_t *x, float *y, int64_t n) nogil
    void tn_scale_rows(const int8_t *x, const float *scale, float *y, int64_t rows) nogil

cdef struct Expand:
    const char *source
    const float *scale          # NULL: halfs
    float *target
    int64_t panels
    int64_t columns


cdef void expand_job(void *argument, int thread, int threads, tn_team *team) noexcept nogil:
    cdef const Expand *j = <const Expand *>argument
    cdef tn_context c
    cdef int64_t row, end, panel, count
    c.thread = thread
    c.threads = threads
    if j.scale == NULL:
        my_part(&c, j.columns, TN_PANEL, &row, &end)
        tn_widen(<const uint16_t *>j.source + row, j.target + row, end - row)
        return
    my_part(&c, j.panels * j.columns, 1, &row, &end)
    while row < end:
        panel = row // j.columns
        count = min(end - row, (panel + 1) * j.columns - row)
        tn_scale_rows(<const int8_t *>j.source + row * TN_PANEL, j.scale + panel * TN_PANEL, j.target + row * TN_PANEL, count)
        row += count


def expand_weights(source, target, int64_t panels, int64_t columns, int threads, /):
    """Write float32 into `target`.  panels 0: source is float16 [columns], target float32 [columns].  Else source is float32
    [panels][16], the scales, then int8 [panels][columns][16], and target float32 [panels][columns][16].  ValueError if a
    buffer has another length."""
    cdef Bytes s = Bytes(source, PyBUF_SIMPLE), t = Bytes(target, PyBUF_WRITABLE)
    cdef Expand job
    cdef int64_t elements = panels * columns * TN_PANEL if panels else columns
    if s.view.len != (4 * panels * TN_PANEL + elements if panels else 2 * elements) or t.view.len != 4 * elements:
        raise ValueError(f"{panels} panels of {columns} columns from {s.view.len} into {t.view.len} bytes")
    job.source = <const char *>s.view.buf + 4 * panels * TN_PANEL
    job.scale = <const float *>s.view.buf if panels else NULL
    job.target = <float *>t.view.buf
    job.panels = panels
    job.columns = columns
    with nogil:
        tn_run_job(expand_job, &job, threads)
