"""The description of a network: plain data, no behaviour of layers, no numpy import.

A `Graph` is a list of `Node`s in execution order over named `Tensor`s.  What a node means is said by the class
of its kind in `tinynet/ops`.  Shapes are static, except in a source graph: see `Graph.dims`.
"""

from __future__ import annotations

from typing import Any

from tinynet.record import Record

DTYPES = {"float32": 4, "int64": 8, "int32": 4, "uint8": 1, "int8": 1, "bool": 1, "float16": 2, "float64": 8}


class Integers(Record):
    """Where the numbers of a float32 constant come from: (values - zero) scale, exactly.  Arrays: values uint8, int8 or
    int32 of the constant's shape; scale float32 and zero int32 of its rank, with extent 1 along the axes that share them."""

    __slots__ = ("values", "scale", "zero")

    def __init__(self, values: Any, scale: Any, zero: Any):
        self.values = values
        self.scale = scale
        self.zero = zero


class Tensor(Record):
    """One value.  `data` is None for what is computed at run time; a constant holds a numpy array, or, straight
    from a file, any buffer of `nbytes` bytes in the order that `layout` names (see `tinynet/layouts.py`).
    `integers`: during conversion only, and lost by every rewrite that makes other numbers."""

    __slots__ = ("name", "shape", "dtype", "data", "layout", "integers")

    def __init__(self, name: str, shape: tuple[int, ...], dtype: str = "float32", data: Any = None, layout: str = "plain",
                 integers: Integers | None = None):
        self.name = name
        self.shape = shape
        self.dtype = dtype
        self.data = data
        self.layout = layout
        self.integers = integers

    @property
    def size(self) -> int:
        n = 1
        for d in self.shape:
            n *= d
        return n

    @property
    def is_constant(self) -> bool:
        return self.data is not None


class Node(Record):
    """One layer: `op` is the kind (a name in `tinynet.ops`), `attrs` only holds what differs from the defaults."""

    __slots__ = ("op", "name", "inputs", "outputs", "attrs", "macs")

    def __init__(self, op: str, name: str, inputs: list[str], outputs: list[str], attrs: dict[str, Any] | None = None,
                 macs: int = 0):
        self.op = op
        self.name = name
        self.inputs = inputs
        self.outputs = outputs
        self.attrs = {} if attrs is None else attrs
        self.macs = macs


class Preprocess(Record):
    """How a picture becomes the input tensor: resize, colour order, then (v - mean) / std on pixel values 0..255."""

    __slots__ = ("resize", "color", "mean", "std", "size", "given")

    def __init__(self, resize: str = "stretch", color: str = "rgb", mean: tuple[float, ...] = (0.0,),
                 std: tuple[float, ...] = (1.0,), size: tuple[int, ...] = (), given: bool = False):
        self.resize = resize         # stretch | crop (resize the short side, cut the centre) | letterbox
        self.color = color           # rgb | bgr | gray
        self.mean = mean
        self.std = std
        self.size = size             # (height, width); empty: taken from the model's input
        self.given = given           # False: nothing was said at conversion, these are the defaults


class LayerQuality(Record):
    """Of one layer in the report of a quantisation.  `sqnr`: of its result, in dB, with everything before it quantised;
    `reason`: why the layer stays float."""

    __slots__ = ("name", "kind", "integer", "sqnr", "reason")

    def __init__(self, name: str = "", kind: str = "", integer: bool = False, sqnr: float = 0.0, reason: str = ""):
        self.name = name
        self.kind = kind
        self.integer = integer
        self.sqnr = sqnr
        self.reason = reason


class Quantization(Record):
    """The report of a quantisation.  `measure`: "accuracy", "top-1 agreement" or "" of the `judged` samples that were held
    back: `real` is the float network's, `quantized` this one's; `sqnr`: of the outputs, in dB, on the same samples."""

    __slots__ = ("method", "target", "calibrated", "judged", "measure", "real", "quantized", "sqnr", "float_bytes", "layers")

    def __init__(self, method: str = "", target: str = "", calibrated: int = 0, judged: int = 0, measure: str = "",
                 real: float = 0.0, quantized: float = 0.0, sqnr: float = 0.0, float_bytes: int = 0,
                 layers: list[LayerQuality] | None = None):
        self.method = method                           # minmax | percentile | mse | entropy
        self.target = target                           # any | x86 | x86-avx2 | arm
        self.calibrated = calibrated                   # samples
        self.judged = judged
        self.measure = measure
        self.real = real
        self.quantized = quantized
        self.sqnr = sqnr
        self.float_bytes = float_bytes                 # of the file before
        self.layers = layers or []


class Meta(Record):
    """What the file says about itself.  Nothing here changes what `run` computes."""

    __slots__ = ("name", "task", "preprocess", "labels", "source_format", "source_sha256", "source_opset", "converter",
                 "source_operators", "parameters", "macs", "arena_bytes", "selftest_seed", "selftest_index", "selftest_value",
                 "quantization")

    def __init__(self, name: str = "", task: str = "", preprocess: Preprocess | None = None,
                 labels: list[str] | None = None, source_format: str = "", source_sha256: str = "", source_opset: int = 0,
                 converter: str = "", source_operators: int = 0, parameters: int = 0, macs: int = 0, arena_bytes: int = 0,
                 selftest_seed: int = 0, selftest_index: list[int] | None = None, selftest_value: list[float] | None = None,
                 quantization: Quantization | None = None):
        self.name = name
        self.task = task                               # "classify" | "" (raw outputs)
        self.preprocess = preprocess or Preprocess()
        self.labels = labels or []
        self.source_format = source_format             # "onnx"
        self.source_sha256 = source_sha256
        self.source_opset = source_opset
        self.converter = converter                     # "tinynet 0.1.0"
        self.source_operators = source_operators       # nodes in the source, before any rewrite
        self.parameters = parameters
        self.macs = macs
        self.arena_bytes = arena_bytes
        self.selftest_seed = selftest_seed             # input generator's seed; see tinynet/selftest.py
        self.selftest_index = selftest_index or []
        self.selftest_value = selftest_value or []
        self.quantization = quantization

    @property
    def label(self) -> str:
        """`name` for the start of a message, on one line whatever the file says; "model" if there is none."""
        return "".join(c if c.isprintable() else "\ufffd" for c in self.name[:200]) or "model"


class Formula(Record):
    """Element `position` of the integers `attribute` of node number `node`, where sizes are open:
    multiplier * d1 * d2 * ... // divisor + offset, each d the extent of a (tensor, axis)."""

    __slots__ = ("node", "attribute", "position", "multiplier", "divisor", "offset", "factors")

    def __init__(self, node: int, attribute: str, position: int, multiplier: int, divisor: int, offset: int,
                 factors: tuple[tuple[str, int], ...]):
        self.node = node
        self.attribute = attribute
        self.position = position
        self.multiplier = multiplier
        self.divisor = divisor
        self.offset = offset
        self.factors = factors


class Graph(Record):
    __slots__ = ("tensors", "nodes", "inputs", "outputs", "meta", "dims", "formulas", "source", "parameters", "counts")

    def __init__(self, tensors: dict[str, Tensor] | None = None, nodes: list[Node] | None = None,
                 inputs: list[str] | None = None, outputs: list[str] | None = None, meta: Meta | None = None,
                 dims: dict[str, tuple[int | str, ...]] | None = None, formulas: list[Formula] | None = None,
                 source: bool = False, parameters: list[str] | None = None, counts: dict[str, tuple[int, str]] | None = None):
        self.tensors = {} if tensors is None else tensors
        self.nodes = [] if nodes is None else nodes
        self.inputs = [] if inputs is None else inputs
        self.outputs = [] if outputs is None else outputs
        self.meta = Meta() if meta is None else meta
        # Open networks: input -> its dimensions, a name where the size is chosen at run time (equal names, equal sizes; "?"
        # stands for itself alone).  The tensors' shapes then hold default sizes, or 0 where there is none.
        self.dims = {} if dims is None else dims
        self.formulas = [] if formulas is None else formulas
        # True: nodes are ONNX operators (op "onnx.Conv") on computed tensors whose shape and dtype say nothing yet; sizes and
        # the values of `parameters` turn it into layers (converters/finish.py).
        self.source = source
        self.parameters = [] if parameters is None else parameters      # inputs whose values decide shapes
        # output -> (axis, int64 scalar): only so many entries of that axis count; the scalars are the last outputs
        self.counts = {} if counts is None else counts

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
