/* Non-maximum suppression.  Products and sums round one by one, so that a threshold is met or missed as in the reference. */
#ifndef TINYNET_SUPPRESSION_H
#define TINYNET_SUPPRESSION_H

#include <math.h>
#include <stdint.h>
#include <string.h>

#if defined(__GNUC__) && !defined(__clang__)
#define TN_ROUNDED __attribute__((optimize("fp-contract=off")))
#else
#pragma STDC FP_CONTRACT OFF
#define TN_ROUNDED
#endif

typedef struct { float low[2], high[2], area; } tn_box;
typedef struct { float score; int32_t box; } tn_candidate;

/* NaN if either is. */
static inline float tn_least(float a, float b) { return a < b || a != a ? a : b; }
static inline float tn_most(float a, float b) { return a > b || a != a ? a : b; }

static inline TN_ROUNDED tn_box tn_corners(const float *p, int64_t centered)
{
    tn_box b;
    for (int i = 0; i < 2; i++) {
        b.low[i] = centered ? p[i] - p[i + 2] / 2 : tn_least(p[i], p[i + 2]);
        b.high[i] = centered ? p[i] + p[i + 2] / 2 : tn_most(p[i], p[i + 2]);
    }
    b.area = (b.high[0] - b.low[0]) * (b.high[1] - b.low[1]);
    return b;
}

static inline TN_ROUNDED int tn_overlap(const tn_box *a, const tn_box *b, float threshold)
{
    float extent[2];
    for (int i = 0; i < 2; i++)
        extent[i] = tn_most(tn_least(a->high[i], b->high[i]) - tn_most(a->low[i], b->low[i]), 0.0f);
    const float shared = extent[0] * extent[1], together = a->area + b->area - shared;
    return shared > 0 && a->area > 0 && b->area > 0 && together > 0 && shared / together > threshold;
}

/* Higher scores first, NaN last, of equal ones the first box. */
static inline int tn_before(tn_candidate a, tn_candidate b)
{
    if (a.score > b.score || (b.score != b.score && a.score == a.score))
        return 1;
    return (a.score == b.score || (a.score != a.score && b.score != b.score)) && a.box < b.box;
}

static inline void tn_sift(tn_candidate *heap, int64_t n, int64_t i)
{
    const tn_candidate moved = heap[i];
    for (int64_t child = 2 * i + 1; child < n; child = 2 * i + 1) {
        if (child + 1 < n && tn_before(heap[child + 1], heap[child]))
            child++;
        if (!tn_before(heap[child], moved))
            break;
        heap[i] = heap[child];
        i = child;
    }
    heap[i] = moved;
}

/* Boxes of one class into rows (picture, class, box), at most `most`; returns how many. */
static inline int64_t tn_choose(const tn_box *boxes, const float *scores, int64_t n, int64_t limit, float overlap, float least,
                                int64_t most, tn_candidate *heap, tn_box *chosen, int64_t picture, int64_t group, int64_t *rows)
{
    int64_t left = 0, found = 0;
    for (int64_t i = 0; i < n; i++)
        if (least == -INFINITY || scores[i] > least)
            heap[left++] = (tn_candidate){scores[i], (int32_t)i};
    for (int64_t i = left / 2 - 1; i >= 0; i--)
        tn_sift(heap, left, i);
    while (left && found < limit && found < most) {
        const tn_candidate best = heap[0];
        const tn_box *box = &boxes[best.box];
        int64_t i = 0;
        heap[0] = heap[--left];
        if (left)
            tn_sift(heap, left, 0);
        while (i < found && !tn_overlap(&chosen[i], box, overlap))
            i++;
        if (i < found)
            continue;
        chosen[found] = *box;
        rows[3 * found] = picture;
        rows[3 * found + 1] = group;
        rows[3 * found + 2] = best.box;
        found++;
    }
    return found;
}

#endif
