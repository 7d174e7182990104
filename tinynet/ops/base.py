"""What a layer kind is: attributes with defaults, shape rule, numpy reference, MAC count, choice of kernel.

A kind is a class whose annotated fields are its attributes, with their defaults:

    @register
    class Softmax(Op):
        '''y = exp(x - max) / sum over `axis`.'''
        kind: ClassVar[str] = "softmax"
        axis: int = -1

    ops.make("softmax", {"axis": 1}).axis == 1

files.py says which file has a kind.

Like a frozen dataclass, but nothing is generated when the module is imported: sixty dataclasses cost a board 50 ms.

The annotations are checked when an op is made from a node, so that a file or a converter cannot smuggle in a
wrong type.  `infer` is the only place that knows a kind's shape rule and refuses what does not fit.
"""

from __future__ import annotations

import math
from functools import lru_cache
from importlib import import_module
from typing import Any, ClassVar

from tinynet.errors import FormatError, UnsupportedOpError
from tinynet.ops.files import FILES
from tinynet.record import Record


class Spec(Record):
    """Shape and dtype of a tensor, e.g. Spec((1, 224, 224, 3), "float32")."""

    __slots__ = ("shape", "dtype")

    def __init__(self, shape: tuple[int, ...], dtype: str = "float32"):
        self.shape = shape
        self.dtype = dtype

    def __eq__(self, other: object) -> bool:
        # Without the detour over `values`: loading compares two for each node.
        return type(other) is Spec and self.shape == other.shape and self.dtype == other.dtype


class ShapeError(ValueError):
    """Raised by `infer`: inputs that do not fit together.  Callers add the node's name."""


class DataError(ValueError):
    """Raised by `reference`: numbers that the kind cannot take, e.g. an index outside.  Callers add the node's name."""


class Op:
    """`fields`: attribute name -> (annotation, default), inherited ones first."""

    kind: ClassVar[str] = ""
    fields: ClassVar[dict[str, tuple[str, Any]]] = {}
    # True where output element i depends on input element i alone (after broadcasting): what the layout pass and
    # the planner's in-place rule rely on.
    elementwise: ClassVar[bool] = False
    # Inputs that must be constants (weights): the plan reads them in their packed layout.
    constant_inputs: ClassVar[tuple[int, ...]] = ()

    def __init_subclass__(cls) -> None:
        own = {name: (annotation, vars(cls)[name]) for name, annotation in vars(cls).get("__annotations__", {}).items()
               if not annotation.startswith("ClassVar")}
        if own or len(cls.__bases__) > 1:
            cls.fields = {n: f for base in reversed(cls.__bases__) for n, f in base.fields.items()} | own

    def __init__(self, **attributes: Any):
        """Attributes by name, of the annotated types (unchecked here: `make` checks); others have their defaults."""
        for name in attributes:
            if name not in self.fields:
                raise TypeError(f"{type(self).__name__} has no attribute {name!r}")
        vars(self).update(attributes)

    def changed(self, **attributes: Any) -> Op:
        """An op like this one, except for these attributes."""
        return type(self)(**{**vars(self), **attributes})

    def attributes(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.fields}

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(f"{type(self).__name__} does not change: make another one")

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and self.attributes() == other.attributes()

    def __hash__(self) -> int:
        return hash((self.kind, *self.attributes().items()))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{k}={v!r}' for k, v in self.attributes().items())})"

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

    def index_limits(self, *inputs: Spec) -> dict[int, int]:
        """Inputs that hold indices -> the extent of what they index: invented inputs stay below it."""
        return {}

    def failure(self, *inputs: Spec) -> str:
        """What it means when a native step of this kind reports a failure: "expected ..., found ..."."""
        return "expected its kernel to succeed, found that it failed"

    def lower(self, builder: Any, node: Any) -> bool:
        """Emit native steps through `builder` (see tinynet/builder.py) and return True; False: run the reference."""
        return False


_REGISTRY: dict[str, type[Op]] = {}
_FILE = {kind: file for file, kinds in FILES.items() for kind in kinds.split()}


def register(cls: type[Op]) -> type[Op]:
    if not cls.kind or cls.kind in _REGISTRY:
        raise ValueError(f"op kind {cls.kind!r} is empty or registered twice")
    _REGISTRY[cls.kind] = cls
    return cls


def replace(cls: type[Op]) -> None:
    """Register a kind of a user (its name has a dot), also in place of an older one."""
    _REGISTRY[cls.kind] = cls


def forget(kind: str) -> None:
    if "." in kind:
        _REGISTRY.pop(kind, None)


def kinds() -> dict[str, type[Op]]:
    """All of them; imports every file."""
    for file in FILES:
        import_module(f"tinynet.ops.{file}")
    return dict(_REGISTRY)


def _find(kind: str) -> type[Op] | None:
    if kind not in _REGISTRY and kind in _FILE:
        import_module(f"tinynet.ops.{_FILE[kind]}")
    return _REGISTRY.get(kind)


_TYPES = {"int": int, "float": (int, float), "bool": bool, "str": str}


@lru_cache(64)
def _form(annotation: str) -> tuple[str, type | tuple[type, ...], bool]:
    """(element type by name, what it may be, is it a tuple)"""
    base = annotation.removeprefix("tuple[").removesuffix(", ...]")
    return base, _TYPES[base], base != annotation


def _coerce(kind: str, name: str, annotation: str, value: Any) -> Any:
    base, types, many = _form(annotation)
    values = value if many else (value,)
    ok = isinstance(values, (list, tuple)) and all([isinstance(v, types) for v in values])
    if not ok or (base != "bool" and any([v is True or v is False for v in values])):
        raise FormatError(f"{kind}: attribute {name!r} expects {annotation}, found {value!r}")
    if base == "float":
        values = [float(v) for v in values]
    return tuple(values) if many else values[0]


def make(kind: str, attrs: dict[str, Any]) -> Op:
    """The op of this kind with these attributes; unknown kinds and attributes and wrong types are refused."""
    cls = _REGISTRY.get(kind) or _find(kind)
    if cls is None and "." in kind:
        raise UnsupportedOpError(f"layer kind {kind[:80]!r} is a custom layer that nobody registered: import the module that "
                                 "calls tinynet.register with this name first (command line: --plugin FILE.py)")
    if cls is None:
        raise UnsupportedOpError(f"layer kind {kind[:80]!r} is unknown to this version of tinynet: "
                                 "update tinynet, or convert the model again")
    values = {}
    for name, value in attrs.items():
        if name not in cls.fields:
            raise FormatError(f"{kind}: unknown attribute {name!r}; it has {', '.join(cls.fields) or 'none'}")
        values[name] = _coerce(kind, name, cls.fields[name][0], value)
    return cls(**values)
