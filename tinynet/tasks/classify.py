"""Outputs of a network -> Classification, or RawOutputs where they are no list of class scores."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from tinynet.errors import InputError, UsageError
from tinynet.tasks.result import Classification, RawOutputs, Result, Score


def interpret(model: Any, outputs: dict[str, np.ndarray], top: int, labels: Sequence[str] | None,
              notes: list[str]) -> Result:
    """`outputs` of `model` as the best `top` classes if they are class scores, else as a summary.

    They are class scores when the network has one floating-point output in which a single dimension differs from 1
    (at least 2 long) and as many labels as that, if any; or when the file says that its task is "classify": then the
    first such output counts.  Raises UsageError (labels of another number) and InputError ("classify" without scores).
    """
    if top < 1:
        raise UsageError(f"top expects at least 1, found {top}")
    name = _scores_output(model, labels)
    if name is None:
        return RawOutputs(outputs, [*notes, *_unused_labels(model, labels)])
    scores = outputs[name].reshape(-1)
    names = list(labels) if labels is not None else list(model.meta.labels)
    return classify(scores, names, top, notes)


def _scores_output(model: Any, labels: Sequence[str] | None) -> str | None:
    """Name of the output that holds class scores, or None."""
    vectors = [info for info in model.outputs if _vector_length(info.shape) and str(info.dtype).startswith("float")]
    declared = model.meta.task == "classify"
    if declared and not vectors:
        shapes = ", ".join(f"{info.name!r} {list(info.shape)}" for info in model.outputs)
        raise InputError(f"the file's task is 'classify', but no output is a list of class scores ({shapes}): "
                         "use model.run, or convert without --task")
    if not vectors or not (declared or len(model.outputs) == 1):
        return None
    length = _vector_length(vectors[0].shape)
    if labels is not None and len(labels) != length:
        raise UsageError(f"output {vectors[0].name!r} has {length} classes, but {len(labels)} labels were given")
    if labels is None and model.meta.labels and len(model.meta.labels) != length:
        if declared:
            raise UsageError(f"output {vectors[0].name!r} has {length} classes, but the file holds "
                             f"{len(model.meta.labels)} labels: give a matching labels file")
        return None
    return vectors[0].name


def _unused_labels(model: Any, labels: Sequence[str] | None) -> list[str]:
    """A note where a person would wonder why no labels are shown; detectors keep theirs for later and need none."""
    if labels is not None:
        return ["labels are not used: the network's output is no list of class scores"]
    length = _vector_length(model.outputs[0].shape) if len(model.outputs) == 1 else 0
    if model.meta.labels and length:
        return [f"the file's {len(model.meta.labels)} labels are not used: output {model.outputs[0].name!r} has "
                f"{length} elements"]
    return []


def _vector_length(shape: Sequence[int]) -> int:
    """n for shapes such as [1, n], [n] and [1, n, 1, 1] with n >= 2, else 0."""
    long = [d for d in shape if d != 1]
    return long[0] if len(long) == 1 and long[0] >= 2 else 0


def classify(scores: np.ndarray, labels: Sequence[str], top: int = 5, notes: Sequence[str] = ()) -> Classification:
    """The `top` best of `scores` [n] (float); `labels` has n names, or none.

    Scores that already are a distribution (none negative, sum within 1e-3 of 1) are shown as they are, others go
    through softmax first.  Equal scores keep the order of their indices; NaN comes last.
    """
    probabilities, applied = as_probabilities(scores)
    notes = list(notes)
    if not np.isfinite(scores).all():
        notes.append("the network's scores hold NaN or infinity")
    order = np.argsort(-probabilities, kind="stable")[:top]
    best = [Score(int(i), labels[i] if labels else str(int(i)), float(probabilities[i])) for i in order]
    return Classification(best, scores, applied, notes)


def as_probabilities(scores: np.ndarray) -> tuple[np.ndarray, bool]:
    """(float64 probabilities [n], whether softmax was needed)."""
    values = scores.astype(np.float64)
    total = values.sum()
    if math.isfinite(total) and values.min() >= 0 and abs(total - 1) <= 1e-3:
        return values, False
    with np.errstate(invalid="ignore"):
        shifted = np.exp(values - values.max())
        return shifted / shifted.sum(), True
