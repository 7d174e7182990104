"""What `model(image)` returns.  Every result prints itself (`str`), turns itself into JSON (`to_json`) and carries
`notes`: lines about how the answer came about that a person should see once.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np


def _number(value: Any) -> Any:
    """A plain Python number for JSON; None for NaN and infinities, which JSON does not have."""
    value = value.item() if hasattr(value, "item") else value
    return None if isinstance(value, float) and not math.isfinite(value) else value


class Score(NamedTuple):
    """One class: its index in the output, its name (the index as text where there are no labels), 0..1."""

    index: int
    label: str
    probability: float


class Result:
    """Base of all results; `task` names the kind."""

    task = ""
    notes: list[str]

    def lines(self) -> list[str]:
        raise NotImplementedError

    def to_json(self) -> dict[str, Any]:
        raise NotImplementedError

    def __str__(self) -> str:
        return "\n".join(self.lines())


@dataclass
class Classification(Result):
    """The best classes, most probable first.

    `softmax_applied` is True where the network gave raw scores; `scores` is its whole output as float array [n],
    untouched.
    """

    top: list[Score]
    scores: np.ndarray
    softmax_applied: bool = False
    notes: list[str] = field(default_factory=list)
    task = "classify"

    @property
    def label(self) -> str:
        return self.top[0].label

    @property
    def index(self) -> int:
        return self.top[0].index

    @property
    def probability(self) -> float:
        return self.top[0].probability

    def lines(self) -> list[str]:
        return [f"{score.probability * 100:7.2f} %  {score.label}" for score in self.top]

    def __repr__(self) -> str:
        return f"<Classification {self.label!r} {self.probability:.4f}>"

    def to_json(self) -> dict[str, Any]:
        return {
            "task": self.task,
            "softmax_applied": self.softmax_applied,
            "top": [{"index": s.index, "label": s.label, "probability": _number(s.probability)} for s in self.top],
        }


@dataclass
class RawOutputs(Result):
    """The outputs of a network whose task tinynet does not interpret: name -> array, in the network's order."""

    outputs: dict[str, np.ndarray]
    notes: list[str] = field(default_factory=list)
    task = ""

    def summary(self) -> list[dict[str, Any]]:
        """Per output: name, shape, dtype, min, max and argmax (index along each axis) of the elements, NaN aside."""
        return [_summarise(name, array) for name, array in self.outputs.items()]

    def lines(self) -> list[str]:
        rows = [("output", "shape", "min", "max", "argmax")]
        for row in self.summary():
            nan = f"  ({row['nan']} NaN)" if row["nan"] else ""
            rows.append((row["name"], "x".join(map(str, row["shape"])) or "scalar", _short(row["min"]),
                         _short(row["max"]), _position(row["argmax"]) + nan))
        return _columns(rows)

    def __repr__(self) -> str:
        return f"<RawOutputs {', '.join(f'{n} {list(a.shape)}' for n, a in self.outputs.items())}>"

    def to_json(self) -> dict[str, Any]:
        return {"task": self.task, "outputs": self.summary()}


def _summarise(name: str, array: np.ndarray) -> dict[str, Any]:
    row: dict[str, Any] = {"name": name, "shape": list(array.shape), "dtype": str(array.dtype),
                           "min": None, "max": None, "argmax": None, "nan": 0}
    nan = np.isnan(array) if array.dtype.kind == "f" else np.zeros(array.shape, bool)
    row["nan"] = int(nan.sum())
    if array.size > row["nan"]:
        flat = array.reshape(-1)
        best = int(np.nanargmax(flat) if row["nan"] else flat.argmax())
        row["argmax"] = [int(i) for i in np.unravel_index(best, array.shape)]
        row["max"] = _number(flat[best])
        row["min"] = _number(np.nanmin(flat) if row["nan"] else flat.min())
    return row


def _short(value: Any) -> str:
    return "-" if value is None else f"{value:.6g}" if isinstance(value, float) else str(value)


def _position(index: Sequence[int] | None) -> str:
    return "-" if index is None else "[" + ", ".join(map(str, index)) + "]"


def _columns(rows: Sequence[tuple[str, ...]]) -> list[str]:
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
