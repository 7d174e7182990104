"""The description of a network: plain data, no behaviour of layers, no numpy import.

A `Graph` is a list of `Node`s in execution order over named `Tensor`s.  What a node means is said by the class
of its kind in `tinynet/ops`.  Shapes are static, except in a source graph: see `Graph.dims`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

DTYPES = {"float32": 4, "int64": 8, "int32": 4, "uint8": 1, "int8": 1, "bool": 1, "float16": 2, "float64": 8}


@dataclass
class Tensor:
    """One value.  `data` is None for what is computed at run time; a constant holds a numpy array, or, straight
    from a file, any buffer of `nbytes` bytes in the order that `layout` names (see `tinynet/layouts.py`)."""

    name: str
    shape: tuple[int, ...]
    dtype: str = "float32"
    data: Any = None
    layout: str = "plain"

    @property
    def size(self) -> int:
        n = 1
        for d in self.shape:
            n *= d
        return n

    @property
    def is_constant(self) -> bool:
        return self.data is not None


@dataclass
class Node:
    """One layer: `op` is the kind (a name in `tinynet.ops`), `attrs` only holds what differs from the defaults."""

    op: str
    name: str
    inputs: list[str]
    outputs: list[str]
    attrs: dict[str, Any] = field(default_factory=dict)
    macs: int = 0


@dataclass
class Preprocess:
    """How a picture becomes the input tensor: resize, colour order, then (v - mean) / std on pixel values 0..255."""

    resize: str = "stretch"          # stretch | crop (resize the short side, cut the centre) | letterbox
    color: str = "rgb"               # rgb | bgr | gray
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)
    size: tuple[int, ...] = ()       # (height, width); empty: taken from the model's input
    given: bool = False              # False: nothing was said at conversion, these are the defaults


@dataclass
class Meta:
    """What the file says about itself.  Nothing here changes what `run` computes."""

    name: str = ""
    task: str = ""                                     # "classify" | "" (raw outputs)
    preprocess: Preprocess = field(default_factory=Preprocess)
    labels: list[str] = field(default_factory=list)
    source_format: str = ""                            # "onnx"
    source_sha256: str = ""
    source_opset: int = 0
    converter: str = ""                                # "tinynet 0.1.0"
    source_operators: int = 0                          # nodes in the source, before any rewrite
    parameters: int = 0
    macs: int = 0
    arena_bytes: int = 0
    selftest_seed: int = 0                             # input generator's seed; see tinynet/selftest.py
    selftest_index: list[int] = field(default_factory=list)
    selftest_value: list[float] = field(default_factory=list)

    @property
    def label(self) -> str:
        """`name` for the start of a message, on one line whatever the file says; "model" if there is none."""
        return "".join(c if c.isprintable() else "\ufffd" for c in self.name[:200]) or "model"


class Formula(NamedTuple):
    """Element `position` of the integers `attribute` of node number `node`, where sizes are open:
    multiplier * d1 * d2 * ... // divisor + offset, each d the extent of a (tensor, axis)."""

    node: int
    attribute: str
    position: int
    multiplier: int
    divisor: int
    offset: int
    factors: tuple[tuple[str, int], ...]


@dataclass
class Graph:
    tensors: dict[str, Tensor] = field(default_factory=dict)
    nodes: list[Node] = field(default_factory=list)
    inputs: list[str] = field(default_factory=list)
    outputs: list[str] = field(default_factory=list)
    meta: Meta = field(default_factory=Meta)
    # Open networks: input -> its dimensions, a name where the size is chosen at run time (equal names, equal sizes; "?"
    # stands for itself alone).  The tensors' shapes then hold default sizes, or 0 where there is none.
    dims: dict[str, tuple[int | str, ...]] = field(default_factory=dict)
    formulas: list[Formula] = field(default_factory=list)
    # True: nodes are ONNX operators (op "onnx.Conv") on computed tensors whose shape and dtype say nothing yet; sizes and
    # the values of `parameters` turn it into layers (converters/finish.py).
    source: bool = False
    parameters: list[str] = field(default_factory=list)      # inputs whose values decide shapes
    # output -> (axis, int64 scalar): only so many entries of that axis count; the scalars are the last outputs
    counts: dict[str, tuple[int, str]] = field(default_factory=dict)

    @property
    def open(self) -> bool:
        """Are there sizes that the run decides?"""
        return self.source or bool(self.dims)

    def add(self, tensor: Tensor) -> Tensor:
        if tensor.name in self.tensors:
            raise ValueError(f"tensor {tensor.name!r} is defined twice")
        self.tensors[tensor.name] = tensor
        return tensor

    def unique(self, stem: str) -> str:
        """`stem`, or `stem_1`, `stem_2`, ... : a name that no tensor has yet."""
        if stem not in self.tensors:
            return stem
        n = 1
        while f"{stem}_{n}" in self.tensors:
            n += 1
        return f"{stem}_{n}"

    def producers(self) -> dict[str, Node]:
        return {out: node for node in self.nodes for out in node.outputs}

    def consumers(self) -> dict[str, list[Node]]:
        """Tensor name -> nodes that read it, once per use."""
        uses: dict[str, list[Node]] = {name: [] for name in self.tensors}
        for node in self.nodes:
            for name in node.inputs:
                uses[name].append(node)
        return uses
