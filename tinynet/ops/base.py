"""What a layer kind is: attributes with defaults, shape rule, numpy reference, MAC count, choice of kernel.

A kind is a frozen dataclass whose fields are its attributes:

    @register
    @dataclass(frozen=True)
    class Softmax(Op):
        '''y = exp(x - max) / sum over `axis`.'''
        kind: ClassVar[str] = "softmax"
        axis: int = -1

The annotations are checked when an op is made from a node, so that a file or a converter cannot smuggle in a
wrong type.  `infer` is the only place that knows a kind's shape rule and refuses what does not fit.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

from tinynet.errors import FormatError, UnsupportedOpError


class Spec(NamedTuple):
    """Shape and dtype of a tensor, e.g. Spec((1, 224, 224, 3), "float32")."""

    shape: tuple[int, ...]
    dtype: str = "float32"


class ShapeError(ValueError):
    """Raised by `infer`: inputs that do not fit together.  Callers add the node's name."""


@dataclass(frozen=True)
class Op:
    kind: ClassVar[str] = ""
    # True where output element i depends on input element i alone (after broadcasting): what the layout pass and
    # the planner's in-place rule rely on.
    elementwise: ClassVar[bool] = False
    # Inputs that must be constants (weights): the plan reads them in their packed layout.
    constant_inputs: ClassVar[tuple[int, ...]] = ()

    def infer(self, *inputs: Spec) -> list[Spec]:
        """Shapes and dtypes of the outputs.  Raises ShapeError."""
        raise NotImplementedError

    def reference(self, *arrays: Any) -> list[Any]:
        """The meaning, in numpy, from arrays with the shapes that `infer` accepts (weights in logical order)."""
        raise NotImplementedError

    def macs(self, inputs: list[Spec], outputs: list[Spec]) -> int:
        """Multiply-accumulates; 0 for kinds that only move or compare data."""
        return 0

    def moved(self, inputs: list[Spec], outputs: list[Spec]) -> int:
        """Elements read and written: what a kind without MACs costs."""
        return sum(math.prod(spec.shape) for spec in (*inputs, *outputs))

    def strided(self) -> tuple[bool, bool]:
        """Can the kernel read inputs, write outputs, whose rows (last axis) lie further apart than they are long?"""
        return False, False

    def inplace(self) -> tuple[int, ...]:
        """Inputs whose memory the output may take over, element for element, if nobody needs them afterwards."""
        return ()

    def lower(self, builder: Any, node: Any) -> bool:
        """Emit native steps through `builder` (see tinynet/plan.py) and return True; False: run the reference."""
        return False


_REGISTRY: dict[str, type[Op]] = {}


def register(cls: type[Op]) -> type[Op]:
    if not cls.kind or cls.kind in _REGISTRY:
        raise ValueError(f"op kind {cls.kind!r} is empty or registered twice")
    _REGISTRY[cls.kind] = cls
    return cls


def kinds() -> dict[str, type[Op]]:
    return dict(_REGISTRY)


def _coerce(kind: str, name: str, annotation: str, value: Any) -> Any:
    scalar = {"int": int, "float": (int, float), "bool": bool, "str": str}
    base = annotation.removeprefix("tuple[").removesuffix(", ...]")
    ok = scalar[base]

    def one(v: Any) -> Any:
        if not isinstance(v, ok) or (isinstance(v, bool) and base != "bool"):
            raise FormatError(f"{kind}: attribute {name!r} expects {annotation}, found {value!r}")
        return float(v) if base == "float" else v

    if annotation.startswith("tuple["):
        if not isinstance(value, (list, tuple)):
            raise FormatError(f"{kind}: attribute {name!r} expects {annotation}, found {value!r}")
        return tuple(one(v) for v in value)
    return one(value)


def make(kind: str, attrs: dict[str, Any]) -> Op:
    """The op of this kind with these attributes; unknown kinds and attributes and wrong types are refused."""
    cls = _REGISTRY.get(kind)
    if cls is None:
        raise UnsupportedOpError(f"layer kind {kind[:80]!r} is unknown to this version of tinynet: "
                                 "update tinynet, or convert the model again")
    fields = {f.name: f for f in dataclasses.fields(cls)}
    values = {}
    for name, value in attrs.items():
        if name not in fields:
            raise FormatError(f"{kind}: unknown attribute {name!r}; it has {', '.join(fields) or 'none'}")
        values[name] = _coerce(kind, name, str(fields[name].type), value)
    return cls(**values)
