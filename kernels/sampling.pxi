# Images read between their pixels: resize along any axes, grid_sample.

from libc.math cimport floorf, rintf

# resize, one axis per step: every output row is a weighted sum of input rows, which a table made by the plan names.

cdef struct ResampleParams:
    int64_t outer, extent, out, inner, taps


cdef int resample_f32(const tn_step *s, tn_context *c) noexcept nogil:
    cdef const ResampleParams *p = <const ResampleParams *>s.param
    cdef const int64_t *offset = integers(s, c, 2)  # [out][taps]: where the row begins, floats
    cdef const float *weight = floats(s, c, 3)      # [out][taps]
    cdef int64_t begin, end, i, at
    my_part(c, p.outer * p.out, 1, &begin, &end)
    for i in range(begin, end):
        at = i % p.out * p.taps
        c.micro.blend(floats(s, c, 0) + i // p.out * p.extent * p.inner, offset + at, weight + at, p.taps,
                      floats(s, c, 1) + i * p.inner, p.inner)
    return 0


_declare("resample_f32", resample_f32, sizeof(ResampleParams), "outer extent out inner taps")


cdef struct GridParams:
    int64_t batch, height, width, channels, ldx, pixels, ldy
    int64_t taps                # per axis: 1 nearest, 2 linear, 4 cubic
    int64_t padding             # 0 zeros, 1 border, 2 reflection
    int64_t align_corners


cdef enum:
    ZEROS = 0
    BORDER = 1
    MOST_TAPS = 4

cdef float FAR = 1073741824.0   # farther outside than any pixel; NaN lies there too


cdef inline float reflected(float x, float low, float high) noexcept nogil:
    cdef float span = high - low, beyond = max(low - x, x - high), times, rest
    if not beyond > 0:
        return x
    times = floorf(beyond / span) if span > 0 else 0
    rest = beyond - times * span if span > 0 else 0
    if (x < low) == (times - 2 * floorf(times / 2) == 0):
        return low + rest
    return high - rest


cdef inline int64_t reflected_pixel(int64_t i, int64_t extent, bint align) noexcept nogil:
    cdef int64_t period = max(2 * extent - 2, <int64_t>1) if align else 2 * extent
    if extent == 1:
        return 0
    i %= period
    if i < 0:
        i += period
    return min(i, period - i if align else period - 1 - i)


cdef inline void cubic_weights(float part, float *weight) noexcept nogil:
    """Keys 1981, a = -3/4."""
    cdef double a = -0.75, d
    cdef int i
    for i in range(4):
        d = part - <double>(i - 1)
        d = -d if d < 0 else d
        weight[i] = <float>(((a + 2) * d - (a + 3)) * d * d + 1 if d <= 1 else
                            (((a * d - 5 * a) * d + 8 * a) * d - 4 * a if d < 2 else 0))


cdef inline int64_t around(const GridParams *p, float place, int64_t extent, int64_t *pixel, float *weight) noexcept nogil:
    """The pixels that a place between -1 and 1 reads along one axis, and their weights; how many."""
    cdef float length = <float>extent, x, low
    cdef int64_t first, i, at, count = 0
    cdef float all_weights[MOST_TAPS]
    x = (place + 1) / 2 * (length - 1) if p.align_corners else ((place + 1) * length - 1) / 2
    if not x >= -FAR:
        x = -FAR
    x = min(x, FAR)
    if p.taps == 1:
        x = rintf(x)
    if p.padding != ZEROS and p.padding != BORDER:
        x = reflected(x, 0, length - 1) if p.align_corners else reflected(x, -0.5, length - <float>0.5)
    low = rintf(x) if p.taps == 1 else floorf(x)
    first = <int64_t>low
    if p.taps == 1:
        all_weights[0] = 1
    elif p.taps == 2:
        all_weights[0] = 1 - (x - low)
        all_weights[1] = x - low
    else:
        first -= 1
        cubic_weights(x - low, all_weights)
    for i in range(p.taps):
        at = first + i
        if p.padding == BORDER:
            at = max(<int64_t>0, min(at, extent - 1))
        elif p.padding != ZEROS:
            at = reflected_pixel(at, extent, p.align_corners)
        elif at < 0 or at >= extent:
            continue
        pixel[count] = at
        weight[count] = all_weights[i]
        count += 1
    return count


cdef int grid_sample_f32(const tn_step *s, tn_context *c) noexcept nogil:
    cdef const GridParams *p = <const GridParams *>s.param
    cdef const float *grid = floats(s, c, 1)        # [batch * pixels]: column, row
    cdef int64_t begin, end, i, ny, nx, j, k, n
    cdef int64_t row[MOST_TAPS]
    cdef int64_t column[MOST_TAPS]
    cdef float of_row[MOST_TAPS]
    cdef float of_column[MOST_TAPS]
    cdef int64_t offset[MOST_TAPS * MOST_TAPS]
    cdef float weight[MOST_TAPS * MOST_TAPS]
    my_part(c, p.batch * p.pixels, 1, &begin, &end)
    for i in range(begin, end):
        nx = around(p, grid[2 * i], p.width, column, of_column)
        ny = around(p, grid[2 * i + 1], p.height, row, of_row)
        n = 0
        for j in range(ny):
            for k in range(nx):
                offset[n] = (row[j] * p.width + column[k]) * p.ldx
                weight[n] = of_row[j] * of_column[k]
                n += 1
        c.micro.blend(floats(s, c, 0) + i // p.pixels * p.height * p.width * p.ldx, offset, weight, n,
                      floats(s, c, 2) + i * p.ldy, p.channels)
    return 0


_declare("grid_sample_f32", grid_sample_f32, sizeof(GridParams),
         "batch height width channels ldx pixels ldy taps padding align_corners")
