# Normalisation over the last axis, and over groups of channels of pictures.

from libc.math cimport sqrt

cdef struct NormalizeParams:
    int64_t rows, channels, ldx, ldy, center
    double epsilon


cdef int normalize_f32(const tn_step *s, tn_context *c) noexcept nogil:
    cdef const NormalizeParams *p = <const NormalizeParams *>s.param
    cdef int64_t begin, end, row
    my_part(c, p.rows, 1, &begin, &end)
    for row in range(begin, end):
        c.micro.normalize_row(floats(s, c, 0) + row * p.ldx, floats(s, c, 1), floats(s, c, 2), floats(s, c, 3) + row * p.ldy,
                              p.channels, <float>p.epsilon, <int>p.center)
    return 0


_declare("normalize_f32", normalize_f32, sizeof(NormalizeParams), "rows channels ldx ldy center epsilon*")


# x [batch, pixels, channels]: mean and variance of every group of channels over all pixels of a picture.  Threads take whole
# groups, so that no sum depends on how many there are.

cdef struct GroupNormParams:
    int64_t batch, pixels, channels, ldx, ldy, groups
    double epsilon


cdef void group_mean(const float *sums, float *means, int64_t groups, int64_t per, int64_t pixels) noexcept nogil:
    """The mean of a group's values for each of its channels, from the sums per channel."""
    cdef int64_t g, i
    cdef double total
    for g in range(groups):
        total = 0
        for i in range(per):
            total += sums[g * per + i]
        for i in range(per):
            means[g * per + i] = <float>(total / (<double>pixels * per))


cdef int group_norm_f32(const tn_step *s, tn_context *c) noexcept nogil:
    cdef const GroupNormParams *p = <const GroupNormParams *>s.param
    cdef int64_t per = p.channels // p.groups, begin, end, n, first, last, i, j, count, at, unit = 1
    cdef float *mean
    cdef float *factor
    cdef const float *x
    cdef float *y
    while unit < 16 and per * unit < 16:                # neighbours in one cache line to one thread
        unit *= 2
    my_part(c, p.batch * p.groups, unit, &begin, &end)
    for n in range(p.batch):
        first = max(begin - n * p.groups, <int64_t>0) * per
        last = min(end - n * p.groups, p.groups) * per
        if first >= last:
            continue
        count = last - first
        mean = floats(s, c, 4) + n * 2 * p.channels + first
        factor = mean + p.channels
        x = floats(s, c, 0) + n * p.pixels * p.ldx + first
        y = floats(s, c, 3) + n * p.pixels * p.ldy + first
        c.micro.pool(TN_SUM, x, p.pixels, p.ldx, 1, 0, factor, count, 1, 1, 0, 0)
        group_mean(factor, mean, count // per, per, p.pixels)
        c.micro.squares(x, p.pixels, p.ldx, mean, factor, count)
        group_mean(factor, factor, count // per, per, p.pixels)
        for i in range(count):
            factor[i] = <float>(floats(s, c, 1)[first + i] / sqrt(factor[i] + p.epsilon))
        for j in range(p.pixels):
            c.micro.normalize_channels(x + j * p.ldx, mean, factor, floats(s, c, 2) + first, y + j * p.ldy, count)
    return 0


_declare("group_norm_f32", group_norm_f32, sizeof(GroupNormParams), "batch pixels channels ldx ldy groups epsilon*")
