"""The IR side of the ONNX importer: values, node emission, names, known constants.

Operator functions (`onnx_ops*.py`) see a `Builder` and `Value`s; they never touch protobuf.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from tinynet.converters.integer_constants import rearranged
from tinynet.custom import ONNX_OPERATORS
from tinynet.graph import Graph, Integers, Node, Tensor
from tinynet.ops import ShapeError, Spec, make

# TensorProto.DataType -> name; source graphs are finished where there is no onnx package to ask.
ONNX_DTYPES = dict(enumerate((
    "float32 uint8 int8 uint16 int16 int32 int64 string bool float16 float64 uint32 uint64 complex64 complex128 bfloat16 "
    "float8_e4m3fn float8_e4m3fnuz float8_e5m2 float8_e5m2fnuz uint4 int4 float4_e2m1fn float8_e8m0fnu uint2 int2").split(), 1))
RUNTIME_DTYPES = ("float32", "int64", "int32", "uint8", "int8", "bool")
# Computed as float32.  Constants keep their type until a layer reads them, so that folding has the source's precision.
NARROWED_DTYPES = ("float16", "float64", "bfloat16")

# Versions of the operators about shapes that only add data types.
SHAPE_TYPES = (21, 23, 24, 25)


# Inputs with more elements than this are data: their values decide no shapes.
MOST_SETTING_ELEMENTS = 4096


class Operator(NamedTuple):
    """`function` of an ONNX operator (None: only where all inputs are known at conversion) and the schema versions that it
    implements."""

    function: Callable | None
    versions: tuple[int, ...]


def operator_key(domain: str, op_type: str) -> str:
    """What an operator is called in tables and source graphs: its name, behind its domain where that is not ONNX's own."""
    return op_type if domain in ("", "ai.onnx") else f"{domain}.{op_type}"


def registered(key: str) -> Operator | None:
    """An operator that the user brought (tinynet.register, tinynet.converters.register_onnx)."""
    function = ONNX_OPERATORS.get(key)
    return None if function is None else Operator(function, (0,))


class Refuse(Exception):
    """The node asks for something that the IR cannot express.  The importer collects these and reports them at once."""


class NeedsValue(Refuse):
    """A setting is computed at run time: whoever knows the inputs' values can go on.  `value`: the tensor in question."""

    def __init__(self, value: Value, what: str):
        super().__init__(f"{what} computed at run time (tensor {value.name!r}); only constants are supported there")
        self.value = value


class Malformed(Exception):
    """The node contradicts the ONNX specification.  Becomes a FormatError that names the node."""


@dataclass(frozen=True, eq=False)
class Value:
    """One ONNX value: a tensor of the graph, or, with `data`, a constant that is known at conversion.

    `name` is the tensor's name in the graph; a known value enters the graph under it when a node first reads it.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    data: np.ndarray | None = None
    # Name of an int64 scalar: how many entries the run finds, where the size of the result depends on the data; the
    # shape is then the largest possible one.  `count_axis`: the axis that is cut.
    count: str | None = None
    count_axis: int = 0
    # What is behind a known float32 value.
    integers: Integers | None = None

    @property
    def known(self) -> bool:
        return self.data is not None

    @property
    def rank(self) -> int:
        return len(self.shape)


def narrow_dtype(dtype: str) -> str:
    """The type that a tensor of the source has here."""
    return "float32" if dtype in NARROWED_DTYPES else dtype


def narrow_array(array: np.ndarray) -> np.ndarray:
    """`array` itself, or as float32 if its type is one of NARROWED_DTYPES; what is too large becomes infinite."""
    if array.dtype.name not in NARROWED_DTYPES:
        return array
    with np.errstate(over="ignore"):
        return array.astype(np.float32)


def _plain(value: Any) -> Any:
    """Attributes are checked by exact Python type, numpy scalars are not ints."""
    if isinstance(value, (list, tuple, np.ndarray)):
        return tuple(_plain(v) for v in value)
    return value.item() if isinstance(value, np.generic) else value


class Builder:
    """Collects IR nodes for one ONNX node after another.

    The importer sets `op_type`, `version` (the schema version of the current operator), `node_name`, `stem` (name of
    the node's first output) and `outputs_used` before it calls an operator function.
    """

    def __init__(self, graph: Graph, reserved: set[str], outputs: set[str]):
        """`reserved` holds every name of the ONNX file, `outputs` those of its outputs, which no constant may take."""
        self.graph = graph
        self.op_type = ""
        self.version = 0
        self.node_name = ""
        self.stem = ""
        self.outputs_used: list[bool] = []
        self._reserved = reserved
        self._outputs = outputs
        self._counters: dict[str, int] = {}
        self._node_names: set[str] = set()
        self._constants: dict[str, tuple[np.ndarray, str]] = {}
        self._derived: dict[tuple[str, str], Value] = {}
        self.narrowed: set[str] = set()                    # types of the source that became float32

    def fresh(self, stem: str) -> str:
        """A tensor name that neither the graph nor the ONNX file uses."""
        return self._unused(stem, lambda name: name in self._reserved or name in self.graph.tensors)

    def _unused(self, stem: str, taken: Callable[[str], bool]) -> str:
        name, count = stem, self._counters.get(stem, 0)
        while taken(name):
            count += 1
            name = f"{stem}_{count}"
        self._counters[stem] = count
        return name

    def reserve(self, stem: str) -> str:
        """As `fresh`; nobody else gets this name."""
        name = self.fresh(stem)
        self._reserved.add(name)
        return name

    def known(self, array: np.ndarray, stem: str | None = None) -> Value:
        """A constant that the operator function computed."""
        array = np.asarray(array)
        name = self.reserve(stem or f"{self.stem}_const")
        return Value(name, array.shape, array.dtype.name, array)

    def derived(self, value: Value, tag: str, function: Callable[[np.ndarray], np.ndarray], moves: bool = True) -> Value:
        """`function` of a known value, shared by every node that asks for the same `tag` of it.  `moves`: it only moves,
        repeats or drops elements, so that the integers behind them go along."""
        key = (value.name, tag)
        if key not in self._derived:
            made = self.known(function(value.data), f"{value.name}_{tag}")
            self._derived[key] = replace(made, integers=rearranged(value.integers, function) if moves else None)
        return self._derived[key]

    def narrow(self, value: Value | None) -> Value | None:
        """A known value of another float type as float32; others as they are."""
        if value is None or value.dtype not in NARROWED_DTYPES:
            return value
        self.narrowed.add(value.dtype)
        return replace(value, dtype="float32", data=narrow_array(value.data))

    def emit(self, kind: str, *inputs: Value, part: str = "", **attrs: Any) -> Value:
        """Append a node with one output and return that.  `part` is appended to the node's name: the node that carries
        the meaning of the ONNX operator has none.

        Raises Refuse if the kind's shape rule refuses the inputs, or if an input's dtype exists only while folding.
        """
        out, = self.emit_all(kind, *inputs, part=part, **attrs)
        return out

    def emit_all(self, kind: str, *inputs: Value, part: str = "", **attrs: Any) -> list[Value]:
        """As `emit`, for kinds with several outputs: all of them, in the kind's order."""
        inputs = tuple(map(self.narrow, inputs))
        for value in inputs:
            if value.dtype not in RUNTIME_DTYPES:
                raise Refuse(f"{value.dtype} data at run time (tensor {value.name!r}); export the model as float32")
        op = make(kind, {name: _plain(value) for name, value in attrs.items()})
        try:
            specs = op.infer(*(Spec(v.shape, v.dtype) for v in inputs))
        except ShapeError as error:
            raise Refuse(str(error)) from None
        changed = {name: value for name, value in op.attributes().items() if value != op.fields[name][1]}
        label = f"{self.node_name}/{part}" if part else self.node_name
        label = self._unused(label, self._node_names.__contains__)
        self._node_names.add(label)
        count, axis = self._counted(op, inputs)
        outs = [self.graph.add(Tensor(self.fresh(f"{self.stem}_{part or kind}"), tuple(s.shape), s.dtype)) for s in specs]
        self.graph.nodes.append(Node(kind, label, [self.materialise(v) for v in inputs], [o.name for o in outs], changed))
        return [Value(o.name, o.shape, o.dtype, count=count, count_axis=axis) for o in outs]

    def _counted(self, op: Any, inputs: Sequence[Value]) -> tuple[str | None, int]:
        """(count, axis) of the result: an input of which only so many entries count may be moved or mapped, no more."""
        counted = [v for v in inputs if v.count is not None]
        if not counted:
            return None, 0
        axis = counted[0].count_axis
        if len(inputs) > 1 or not (op.elementwise or op.kind in ("cast", "transpose")):
            raise Refuse(f"how large its input {counted[0].name!r} is depends on the data")
        return counted[0].count, op.perm.index(axis) if op.kind == "transpose" else axis

    def materialise(self, value: Value) -> str:
        """The name of the value's tensor in the graph; a known value becomes a constant there."""
        if not value.known:
            return value.name
        held = self._constants.get(value.name)
        if held is None:
            value = self.narrow(value)
            data = np.asarray(value.data, order="C")
            tensor_name = value.name
            if tensor_name in self.graph.tensors or tensor_name in self._outputs:
                tensor_name = self.fresh(f"{value.name}_const")
            self.graph.add(Tensor(tensor_name, value.shape, value.dtype, data, integers=value.integers))
            held = self._constants[value.name] = (data, tensor_name)
        return held[1]

    def reshape(self, x: Value, shape: tuple[int, ...], part: str = "") -> Value:
        """`x` itself when nothing changes."""
        shape = tuple(int(d) for d in shape)
        return x if x.shape == shape else self.emit("reshape", x, shape=shape, part=part)

    def transpose(self, x: Value, perm: tuple[int, ...], part: str = "") -> Value:
        """`x` itself when nothing changes."""
        return x if perm == tuple(range(len(perm))) else self.emit("transpose", x, perm=perm, part=part)

    def rename(self, old: str, new: str, first_node: int) -> None:
        """Give a tensor that nodes from index `first_node` on produced its name in the source."""
        tensors = self.graph.tensors
        tensor = tensors.pop(old)
        tensor.name = new
        tensors[new] = tensor
        for node in self.graph.nodes[first_node:]:
            node.inputs = [new if name == old else name for name in node.inputs]
            node.outputs = [new if name == old else name for name in node.outputs]

    def bind(self, values: dict[str, Value | None], name: str, value: Value | None, first_node: int) -> None:
        """Make `value` known as `name`; a tensor that nodes from `first_node` on made takes that name in the graph."""
        made = {out for node in self.graph.nodes[first_node:] for out in node.outputs}
        if value is not None and not value.known and value.name in made:
            self.rename(value.name, name, first_node)
            value = replace(value, name=name)
        values[name] = value

    def output(self, values: dict[str, Value | None], name: str, value: Value, outputs: set[str]) -> None:
        """Append a graph output; one that is a constant, a model input or another name of a tensor is made first."""
        if value.known or value.name != name:
            self._rename_output(values, name, value, outputs)
        if value.count is not None:
            self.graph.counts[name] = (value.count_axis, value.count)
        self.graph.outputs.append(name)

    def counts(self) -> None:
        """After the last output: what their counts are read from follows as hidden outputs."""
        hidden = dict.fromkeys(count for _, count in self.graph.counts.values())
        self.graph.outputs += [name for name in hidden if name not in self.graph.outputs]

    def _rename_output(self, values: dict[str, Value | None], name: str, value: Value, outputs: set[str]) -> None:
        if not value.known and value.name not in self.graph.inputs and value.name not in outputs:
            self.rename(value.name, name, 0)
            for key, held in values.items():
                if held is not None and held.name == value.name and not held.known:
                    values[key] = replace(value, name=name)
            return
        self.op_type, self.node_name, self.stem = "output", f"output_{name}", name
        if value.known:
            value = self.known(value.data, f"{name}_value")
        made = self.emit("reshape", value, shape=value.shape)
        self.rename(made.name, name, len(self.graph.nodes) - 1)

    def constant_input(self, value: Value | None, what: str) -> np.ndarray | None:
        """The array of an input that must be known now; Refuse where it is computed at run time."""
        if value is None:
            return None
        if not value.known:
            raise NeedsValue(value, what)
        return value.data


def call(operator: Operator, b: Builder, inputs: Sequence[Value | None], attributes: dict[str, Any]) -> list[Value | None]:
    """What the operator's function makes of them; Malformed if the node has other inputs or attributes than it takes."""
    try:
        inspect.signature(operator.function).bind(b, *inputs, **attributes)
    except TypeError as error:
        raise Malformed(str(error)) from None
    results = operator.function(b, *inputs, **attributes)
    return results if isinstance(results, list) else [results]


def origins(graph: Graph, name: str) -> list[str]:
    """The inputs that a tensor is computed from, if all are small enough to be settings (targets, axes, scales); else none."""
    makers, found, pending = graph.producers(), [], [name]
    while pending:
        name = pending.pop()
        if name in makers:
            pending += makers[name].inputs
        elif name in graph.inputs and name not in found:
            if graph.tensors[name].size > MOST_SETTING_ELEMENTS:
                return []
            found.append(name)
    return found


def normal_axis(axis: int, rank: int, last: int | None = None) -> int:
    """The non-negative axis; `last` is the largest allowed value (default rank - 1)."""
    last = rank - 1 if last is None else last
    if not -rank <= axis <= last:
        raise Malformed(f"axis {axis} is outside a tensor of rank {rank}")
    return axis + rank if axis < 0 else axis


def normal_axes(axes: Any, rank: int) -> tuple[int, ...]:
    """Non-negative, in the order given; a repeated axis is refused."""
    result = tuple(normal_axis(int(axis), rank) for axis in axes)
    if len(set(result)) != len(result):
        raise Malformed(f"axes {[int(a) for a in axes]} name one axis twice")
    return result


def integers(array: np.ndarray, what: str) -> tuple[int, ...]:
    """A 1-D (or scalar) integer array as Python ints."""
    if array.dtype.kind not in "iu" or array.ndim > 1:
        raise Malformed(f"{what} must be a 1-D integer tensor, found {array.dtype.name} of shape {list(array.shape)}")
    return tuple(int(v) for v in array.reshape(-1))
