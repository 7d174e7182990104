"""From the raw maps of Yolo-Fastest and FastestDet to boxes, and which of a float network's boxes another one lacks."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

ANCHORS = np.array([(12, 18), (37, 49), (52, 132), (115, 73), (119, 199), (242, 238)], np.float64)


class Box(NamedTuple):
    """Corners relative to the picture."""

    score: float
    kind: int
    left: float
    top: float
    right: float
    bottom: float


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x.astype(np.float64)))


def yolo_fastest(outputs: list[np.ndarray], size: int = 320) -> list[Box]:
    """Two maps [1, 3 (5 + classes), h, w]; Darknet's [yolo] layer."""
    boxes = []
    for raw, anchors in zip(outputs, (ANCHORS[3:], ANCHORS[:3]), strict=True):
        h, w = raw.shape[-2:]
        maps = raw.reshape(3, -1, h, w)
        for anchor, found in zip(anchors, maps, strict=True):
            scores = sigmoid(found[4]) * sigmoid(found[5:])
            for kind, y, x in np.argwhere(scores > 0.1):
                cx, cy = (x + sigmoid(found[0, y, x])) / w, (y + sigmoid(found[1, y, x])) / h
                bw, bh = np.exp(found[2:4, y, x].astype(np.float64)) * anchor / size / 2
                boxes.append(Box(float(scores[kind, y, x]), int(kind), cx - bw, cy - bh, cx + bw, cy + bh))
    return suppressed(boxes)


def fastestdet(outputs: list[np.ndarray]) -> list[Box]:
    """One map [1, 5 + classes, h, w]: objectness, offsets, sizes, class scores."""
    found = outputs[0][0].astype(np.float64)
    h, w = found.shape[1:]
    kinds = found[5:].argmax(axis=0)
    scores = found[0] ** 0.6 * found[5:].max(axis=0) ** 0.4
    boxes = []
    for y, x in np.argwhere(scores > 0.1):
        cx, cy = (x + np.tanh(found[1, y, x])) / w, (y + np.tanh(found[2, y, x])) / h
        bw, bh = sigmoid(found[3:5, y, x]) / 2
        boxes.append(Box(float(scores[y, x]), int(kinds[y, x]), cx - bw, cy - bh, cx + bw, cy + bh))
    return suppressed(boxes)


DECODERS = {"yolo-fastest-1.1": yolo_fastest, "fastestdet": fastestdet}


def overlap(a: Box, b: Box) -> float:
    """Intersection over union."""
    width = min(a.right, b.right) - max(a.left, b.left)
    height = min(a.bottom, b.bottom) - max(a.top, b.top)
    if width <= 0 or height <= 0:
        return 0.0
    areas = [(box.right - box.left) * (box.bottom - box.top) for box in (a, b)]
    return width * height / (sum(areas) - width * height)


def suppressed(boxes: list[Box], most: float = 0.45) -> list[Box]:
    """Per class, without boxes that lie over a better one."""
    kept: list[Box] = []
    for box in sorted(boxes, reverse=True):
        if all(box.kind != other.kind or overlap(box, other) <= most for other in kept):
            kept.append(box)
    return kept


def lost(real: list[Box], found: list[Box], above: float = 0.5, score: float = 0.4, iou: float = 0.8) -> list[Box]:
    """The boxes of `real` with a score above `above` that `found` lacks: same class, IoU of at least `iou`, `score`."""
    return [box for box in real if box.score > above
            and not any(other.kind == box.kind and other.score >= score and overlap(box, other) >= iou for other in found)]
