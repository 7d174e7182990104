# Non-maximum suppression: which boxes of a detector stay.

cdef extern from "suppression.h":
    ctypedef struct tn_box:
        pass
    ctypedef struct tn_candidate:
        pass
    tn_box tn_corners(const float *p, int64_t centered) nogil
    int64_t tn_choose(const tn_box *boxes, const float *scores, int64_t n, int64_t limit, float overlap, float least,
                      int64_t most, tn_candidate *heap, tn_box *chosen, int64_t picture, int64_t group,
                      int64_t *rows) nogil


cdef struct SuppressionParams:
    int64_t pictures, classes, boxes, most, centered


cdef int suppression(const tn_step *s, tn_context *c) noexcept nogil:
    """Operands: boxes, scores, limit, overlap, least; rows, count; scratch for 2 boxes and a candidate per box."""
    cdef const SuppressionParams *p = <const SuppressionParams *>s.param
    cdef const float *boxes = floats(s, c, 0)
    cdef const float *scores = floats(s, c, 1)
    cdef int64_t limit = integers(s, c, 2)[0]
    cdef float overlap = floats(s, c, 3)[0], least = floats(s, c, 4)[0]
    cdef int64_t *rows = <int64_t *>operand(s, c, 5)
    cdef tn_box *corners = <tn_box *>operand(s, c, 7)
    cdef tn_box *chosen = corners + p.boxes
    cdef tn_candidate *heap = <tn_candidate *>(chosen + p.boxes)
    cdef int64_t n, group, i, found = 0
    if c.thread:
        return 0
    for n in range(p.pictures):
        for i in range(p.boxes):
            corners[i] = tn_corners(boxes + 4 * (n * p.boxes + i), p.centered)
        for group in range(p.classes):
            found += tn_choose(corners, scores + (n * p.classes + group) * p.boxes, p.boxes, limit, overlap, least,
                               p.most - found, heap, chosen, n, group, rows + 3 * found)
    memset(rows + 3 * found, 0, 24 * (p.most - found))
    (<int64_t *>operand(s, c, 6))[0] = found
    return 0


_declare("suppression", suppression, sizeof(SuppressionParams), "pictures classes boxes most centered")
