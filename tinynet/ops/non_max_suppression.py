"""Choice of boxes that do not overlap much."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from tinynet.ops.base import Op, Spec, register
from tinynet.ops.checks import need, need_float, need_inputs, quiet
from tinynet.ops.select import COUNT, filled

FLOAT = np.float32


@register
class NonMaxSuppression(Op):
    """boxes [N,B,4], scores [N,C,B], max_output (int64), iou_threshold, score_threshold (float32), the last three of one
    element -> int64 [most, 3] rows (picture, class, box), zeros after the `count` that were chosen, and that count.

    Per picture and class the box with the highest score (the first of equal ones) is taken, all that overlap it by more
    than iou_threshold go, and so on, up to max_output times and `most` rows in all.  Only boxes with a score above
    score_threshold take part (-inf: all).  A box is y1, x1, y2, x2 (opposite corners in any order), or centre x, y, width,
    height if `centered`; one without area overlaps nothing.  (ONNX NonMaxSuppression.)
    """

    kind: ClassVar[str] = "non_max_suppression"
    centered: bool = False
    most: int = 0

    def infer(self, *inputs: Spec) -> list[Spec]:
        need_inputs(inputs, 5)
        boxes, scores, limit, iou, least = inputs
        need_float((boxes, scores))
        need(len(boxes.shape) == 3 and boxes.shape[2] == 4, "boxes of shape [N, B, 4]", boxes.shape)
        n, b, _ = boxes.shape
        need(len(scores.shape) == 3 and (scores.shape[0], scores.shape[2]) == (n, b), f"scores of shape [{n}, C, {b}]",
             scores.shape)
        for name, spec, dtype in (("max_output", limit, "int64"), ("iou_threshold", iou, "float32"),
                                  ("score_threshold", least, "float32")):
            need(spec.dtype == dtype and spec.shape in ((), (1,)), f"{name} of one {dtype}",
                 f"{spec.dtype} {list(spec.shape)}")
        need(0 <= self.most <= n * scores.shape[1] * b, f"most between 0 and {n * scores.shape[1] * b}", self.most)
        return [Spec((self.most, 3), "int64"), COUNT]

    def reference(self, *arrays: np.ndarray) -> list[np.ndarray]:
        boxes, scores, limit, iou, least = arrays
        limit, iou, least = int(limit.reshape(())), FLOAT(iou.reshape(())), FLOAT(least.reshape(()))
        found = [np.zeros((0, 3), np.int64)]
        with quiet():
            for picture in range(boxes.shape[0]):
                corners = self.corners(boxes[picture])
                for group, values in enumerate(scores[picture]):
                    chosen = choose(corners, values, limit, iou, least)
                    rows = np.full((len(chosen), 3), (picture, group, 0), np.int64)
                    rows[:, 2] = chosen
                    found.append(rows)
        rows = np.concatenate(found)[:self.most]
        return [filled(rows, self.most), np.array(len(rows), np.int64)]

    def corners(self, boxes: np.ndarray) -> np.ndarray:
        """[5, B]: the lower and higher end along both axes, and the area."""
        if self.centered:
            half = boxes[:, 2:] / FLOAT(2)
            low, high = boxes[:, :2] - half, boxes[:, :2] + half
        else:
            low, high = np.minimum(boxes[:, :2], boxes[:, 2:]), np.maximum(boxes[:, :2], boxes[:, 2:])
        extents = high - low
        return np.array([low[:, 0], low[:, 1], high[:, 0], high[:, 1], extents[:, 0] * extents[:, 1]], FLOAT)

    def lower(self, builder: Any, node: Any) -> bool:
        n, c, b = builder.view(node.inputs[1]).shape
        # Two boxes of five floats and one candidate (score, number) for every box.
        operands = [*(builder.tensor(name) for name in (*node.inputs, *node.outputs)), builder.scratch(48 * b)]
        builder.emit("suppression", operands, pictures=n, classes=c, boxes=b, most=self.most, centered=self.centered)
        return b < 2 ** 31


def choose(corners: np.ndarray, scores: np.ndarray, limit: int, iou: Any, least: Any) -> list[int]:
    """Numbers of the chosen boxes of one class, best first."""
    left = np.arange(scores.size) if least == -np.inf else np.flatnonzero(scores > least)
    left = left[np.argsort(-scores[left], kind="stable")]
    part = corners[:, left]
    chosen: list[int] = []
    while left.size and len(chosen) < limit:
        chosen.append(int(left[0]))
        best, part, left = part[:, :1], part[:, 1:], left[1:]
        low, high = np.maximum(best[:2], part[:2]), np.minimum(best[2:4], part[2:4])
        shared = np.prod(np.maximum(high - low, FLOAT(0)), axis=0)
        union = best[4] + part[4] - shared
        gone = (shared > 0) & (best[4] > 0) & (part[4] > 0) & (union > 0) & (shared / union > iou)
        if gone.any():
            left, part = left[~gone], part[:, ~gone]
    return chosen
