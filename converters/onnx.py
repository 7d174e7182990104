"""ONNX -> Graph.  Reading order: here, `onnx_load.py`, `onnx_builder.py`, `onnx_ops.py` (the table of operators).

One pass over the nodes.  A node whose inputs are all known is evaluated now (`onnx_fold.py`); since shapes are static,
the Shape/Gather/Concat arithmetic of exporters disappears that way.  Every other node calls its operator's function,
which emits IR nodes; their shapes come from the IR's own shape rules, never from the file's annotations.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from tinynet.errors import FormatError, MissingExtraError, UnsupportedOpError

try:
    import onnx
except ImportError as error:
    raise MissingExtraError("onnx", "convert", "reading an ONNX model") from error

from tinynet.converters.integer_constants import rearranged
from tinynet.converters.onnx_builder import (
    Builder,
    Malformed,
    NeedsValue,
    Operator,
    Refuse,
    Value,
    call,
    narrow_array,
    narrow_dtype,
    operator_key,
    origins,
    registered,
)
from tinynet.converters.onnx_control import CONTROL, ControlFlow
from tinynet.converters.onnx_cut import advice, live_nodes, reads
from tinynet.converters.onnx_fold import FOLDABLE, fold
from tinynet.converters.onnx_functions import expand, has_body
from tinynet.converters.onnx_load import (
    MIN_OPSET,
    NARROWED_TYPES,
    TESTED_OPSET,
    Source,
    one_line,
    open_source,
    resolve_inputs,
    tensor_array,
)
from tinynet.converters.onnx_ops import CONTRIBUTED, OPERATORS, REASONS
from tinynet.graph import Graph, Meta, Tensor

# Larger initialisers are read again for each use, so that weights are not held twice.
_CACHED_BYTES = 1 << 20
# These hand constants on in the type that they have.
_HANDED_ON = frozenset(("Constant", "Dropout", "Identity"))
_TYPE_ATTRIBUTES = frozenset(("to", "dtype", "output_dtype", "output_datatype"))
# Inputs after the first of these operators are settings, not weights.
_SETTINGS = frozenset(("Clip", "Dropout", "Pad", "QuantizeLinear", "Resize", "Upsample"))
# Integers that are weights: which inputs of these operators.
_INTEGER_WEIGHTS = {"DequantizeLinear": (0,), "QGemm": (3, 6), "QLinearConv": (3, 8), "QLinearMatMul": (3,)}
# Only move elements of their first input, so that the integers behind a constant go along.
_MOVES = frozenset(("Expand", "Flatten", "Reshape", "Slice", "Squeeze", "Tile", "Transpose", "Unsqueeze"))


def import_onnx(source: Any, *, input_shapes: Mapping[str, Iterable[int]] | None = None,
                constants: Mapping[str, Any] | None = None, outputs: Iterable[str] | None = None,
                notes: list[str] | None = None, name: str | None = None) -> Graph:
    """The graph of an ONNX model (opset 7 to 26; others where every operator used is at an implemented version).

    source        path, bytes or onnx.ModelProto; external data is read from the model's own folder only
    input_shapes  input name -> shape, for dimensions that the model leaves open
    constants     input name -> array: the input is frozen to this value and is no input of the graph
    outputs       names of tensors that become the outputs: the graph is cut there
    notes         remarks for the user are appended here
    name          the model's name; otherwise the file's stem or the graph's name

    Constants are plain numpy arrays; inputs and outputs keep the names, order and shapes that the model declares.
    Raises FileError, FormatError, UsageError (unknown dimensions), UnsupportedError, and UnsupportedOpError, which
    lists every unsupported operator at once.
    """
    notes = [] if notes is None else notes
    return Importer(open_source(source, name, constants, outputs, notes), notes).run(input_shapes or {})


def _shortened(name: str, most: int = 48) -> str:
    """Some exporters write names of several hundred characters; their ends tell more than their middles."""
    return name if len(name) <= most else f"{name[:most // 2 - 2]}...{name[-(most // 2 - 1):]}"


class SettingsError(UnsupportedOpError):
    """All that is missing are the values of small inputs.  `names`: which."""

    def __init__(self, error: UnsupportedOpError, names: list[str]):
        super().__init__(str(error), error.operators, error.outputs)
        self.names = names


class Importer(ControlFlow):
    """One import; `onnx_open.py` has another kind."""

    def __init__(self, source: Source, notes: list[str]):
        self.source = source
        self.proto = source.model.graph
        self.notes = notes
        self.graph = Graph()
        self.values: dict[str, Value | None] = {}          # None: the output of a node that is not supported
        self.initialisers = self._initialisers()
        self.refused: dict[str, tuple[list[str], list[str]]] = {}
        self.settings: dict[str, None] = {}                # inputs whose values would lift refusals ...
        self._only_settings = True                         # ... all of them
        self.refused_nodes: list[int] = []                 # their indices
        self.weights: set[str] = set()
        self.integer_weights: set[str] = set()
        self.live = live_nodes(self.proto)
        self.read = {name for i in self.live for name in reads(self.proto.node[i])}
        self.read.update(output.name for output in self.proto.output)
        reserved = {name for node in self.proto.node for name in (*node.input, *node.output)}
        reserved.update(self.initialisers, (v.name for v in (*self.proto.input, *self.proto.output)))
        self.builder = Builder(self.graph, reserved, {output.name for output in self.proto.output})

    def run(self, overrides: Mapping[str, Iterable[int]]) -> Graph:
        for value in self.inputs(overrides):
            self.graph.add(Tensor(value.name, value.shape, value.dtype))
            self.graph.inputs.append(value.name)
            self.values[value.name] = value
        self._walk()
        for output in self.proto.output:
            self._output(output)
        self.builder.counts()
        self._meta()
        return self.graph

    def inputs(self, overrides: Mapping[str, Iterable[int]]) -> list[Value]:
        """The model's inputs; UsageError for sizes that are neither in the file nor given."""
        return resolve_inputs(self.source, self.initialisers, overrides, self.notes)

    def _walk(self) -> None:
        for index, node in enumerate(self.proto.node):
            if index in self.live:
                self._node(index, node)
        if self.refused:
            error = self._unsupported()
            raise SettingsError(error, list(self.settings)) if self._only_settings else error

    def _initialisers(self) -> dict[str, onnx.TensorProto]:
        found = {tensor.name: tensor for tensor in self.proto.initializer}
        if len(found) != len(self.proto.initializer):
            raise FormatError(f"{self.source.label}: two initialisers have the same name")
        if self.proto.sparse_initializer:
            sparse = self.proto.sparse_initializer[0].values.name
            raise FormatError(f"{self.source.label}: initialiser {sparse!r} is sparse; export it as a dense tensor")
        return found

    # Values

    def _value(self, name: str) -> Value | None:
        if name in self.values:
            return self.values[name]
        if name not in self.initialisers:
            raise Malformed(f"input {name!r} is neither a model input, nor an initialiser, nor made by a node before")
        array = tensor_array(self.initialisers[name], self.source)
        value = Value(name, array.shape, array.dtype.name, array)
        if array.nbytes <= _CACHED_BYTES:
            self.values[name] = value
        return value

    def _bind(self, name: str, value: Value | None, first_node: int) -> None:
        """Make `value` known as `name`; a tensor that the node itself made takes that name in the graph."""
        if not name:
            return
        if name in self.values or name in self.initialisers:
            raise Malformed(f"output {name!r} is defined twice")
        self.builder.bind(self.values, name, value, first_node)

    # Nodes

    def _node(self, index: int, node: onnx.NodeProto) -> None:
        name = node.name or f"{node.op_type}_{index}"
        try:
            self._convert(name, node)
        except Refuse as reason:
            needed = origins(self.graph, reason.value.name) if isinstance(reason, NeedsValue) else []
            self.settings.update(dict.fromkeys(needed))
            self._only_settings = self._only_settings and bool(needed)
            self._refuse(node, name, str(reason))
            self.refused_nodes.append(index)
            self._bind_unknown(node)
        except Malformed as reason:
            raise FormatError(f"{self.source.label}: node {name!r} ({node.op_type}): {reason}") from None

    def _bind_unknown(self, node: onnx.NodeProto) -> None:
        for output in node.output:
            if output:
                self.values.setdefault(output, None)

    def _refuse(self, node: onnx.NodeProto, name: str, reason: str) -> None:
        domain = node.domain or "ai.onnx"
        label = node.op_type if domain == "ai.onnx" else f"{domain}.{node.op_type}"
        reasons, names = self.refused.setdefault(label, ([], []))
        if reason not in reasons:
            reasons.append(reason)
        names.append(name)

    def _convert(self, name: str, node: onnx.NodeProto) -> None:
        operator, schema = self._lookup(node)
        inputs = [self._value(item) if item else None for item in node.input]
        if any(item and value is None for item, value in zip(node.input, inputs, strict=True)):
            self._bind_unknown(node)       # fed by a node that was reported already
            return
        attributes = self._narrow_attributes(node, self._attributes(node, schema))
        if schema is not None:
            _check_arity(node, schema)
        version = schema.since_version if schema is not None else 0
        self._count_weights(node)
        b = self.builder
        b.op_type, b.version = node.op_type, version
        b.node_name, b.stem = name, next(filter(None, node.output))
        b.outputs_used = [bool(output) and output in self.read for output in node.output]
        first_node = len(self.graph.nodes)
        defined = schema is not None and (operator is None or operator.function is None and has_body(schema))
        if defined and not _foldable(node, inputs):
            self._expand(name, node, schema, inputs)
            return
        if node.op_type in CONTROL:
            results = self._control(node, name, inputs, attributes)
            first_node = len(self.graph.nodes)      # what the subgraph made keeps its names
        else:
            results = self._layers(node, name, operator, version, inputs, attributes)
        for output, value in zip(node.output, results, strict=False):
            self._bind(output, value, first_node)

    def _layers(self, node: onnx.NodeProto, name: str, operator: Operator, version: int, inputs: list[Value | None],
                attributes: dict[str, Any]) -> list[Value | None]:
        """The node's outputs: known ones at once, otherwise through the layers that its operator's function emits."""
        if _foldable(node, inputs):
            return self._fold(node, inputs)
        if operator.function is None:
            raise Refuse("its inputs are computed at run time; it is only supported on constants")
        if operator_key(node.domain, node.op_type) not in _HANDED_ON:
            inputs = [self.builder.narrow(value) for value in inputs]
        return call(operator, self.builder, inputs, attributes)

    def _expand(self, name: str, node: onnx.NodeProto, schema: Any, inputs: list[Value | None]) -> None:
        """The nodes of the operator's definition by other operators."""
        call = onnx.NodeProto()
        call.CopyFrom(node)
        call.name = name
        body = expand(call, schema, self.source.opset, inputs, self.builder.reserve)
        if body is None:
            raise Refuse("it is not implemented for these inputs")
        wanted = [onnx.ValueInfoProto(name=output) for output in node.output if output and output in self.read]
        live = live_nodes(onnx.GraphProto(node=body, output=wanted))
        self.read.update(item for index in live for item in reads(body[index]))
        for index in sorted(live):
            self._node(index, body[index])

    def _lookup(self, node: onnx.NodeProto) -> tuple[Operator | None, Any]:
        """The operator (None: only its definition by others is there) and its schema at the model's opset (None: it is the
        user's); Refuse for what is not implemented."""
        key, opset = operator_key(node.domain, node.op_type), self.source.opset
        operator, own = OPERATORS.get(key), registered(key)
        if own is not None and (operator is None or operator.function is None):
            return own, None
        if operator is not None and key in CONTRIBUTED:
            return operator, None
        if node.domain not in ("", "ai.onnx"):
            raise Refuse(f"operators of the domain {node.domain!r} are not supported; tinynet.register adds one")
        try:
            schema = onnx.defs.get_schema(node.op_type, opset)
        except onnx.defs.SchemaError:
            schema = None
        if schema is not None and not schema.deprecated and has_body(schema) and node.op_type not in REASONS and (
                operator is None or schema.since_version not in operator.versions):
            return None, schema
        if operator is None:
            raise Refuse(REASONS.get(node.op_type, "it is not implemented"))
        if schema is None or schema.deprecated and schema.since_version not in operator.versions:
            raise Refuse(f"opset {opset} has no such operator")
        if schema.since_version not in operator.versions:
            raise Refuse(f"version {schema.since_version} of it (opset {opset}) is not implemented; "
                         f"export the model with opset {TESTED_OPSET}")
        return operator, schema

    def _attributes(self, node: onnx.NodeProto, schema: Any) -> dict[str, Any]:
        """Python values by name, checked against the operator's schema if it has one."""
        values: dict[str, Any] = {}
        for attribute in node.attribute:
            expected = schema.attributes.get(attribute.name) if schema is not None else attribute
            if expected is None:
                raise Malformed(f"unknown attribute {attribute.name!r}")
            if attribute.ref_attr_name or schema is not None and int(expected.type.value) != attribute.type:
                raise Malformed(f"attribute {attribute.name!r} has the wrong type")
            values[attribute.name] = self._attribute(attribute)
        for name, expected in (schema.attributes.items() if schema is not None else ()):
            if expected.required and name not in values:
                raise Malformed(f"attribute {name!r} is missing")
        return values

    def _narrow_attributes(self, node: onnx.NodeProto, attributes: dict[str, Any]) -> dict[str, Any]:
        """float32 where an attribute asks for another float type, or holds one; Constant keeps its value for folding."""
        found = dict(attributes)
        for name, value in attributes.items():
            if name in _TYPE_ATTRIBUTES and node.op_type != "BitCast" and value in NARROWED_TYPES:
                found[name] = onnx.TensorProto.FLOAT
                self.builder.narrowed.add(NARROWED_TYPES[value])
            elif isinstance(value, np.ndarray) and node.op_type != "Constant":
                found[name] = narrow_array(value)
        return found

    def _attribute(self, attribute: onnx.AttributeProto) -> Any:
        if attribute.type == onnx.AttributeProto.STRING:
            return bytes(attribute.s).decode("utf-8", "replace")
        if attribute.type == onnx.AttributeProto.STRINGS:
            return [bytes(text).decode("utf-8", "replace") for text in attribute.strings]
        value = onnx.helper.get_attribute_value(attribute)
        if isinstance(value, onnx.TensorProto):
            return tensor_array(value, self.source)
        return list(value) if attribute.type in (onnx.AttributeProto.INTS, onnx.AttributeProto.FLOATS) else value

    def _fold(self, node: onnx.NodeProto, inputs: list[Value | None]) -> list[Value]:
        arrays = {item: v.data for item, v in zip(node.input, inputs, strict=True) if v is not None}
        found = [Value(output, array.shape, array.dtype.name, array)
                 for array, output in zip(fold(node, self.source.opset, arrays), node.output, strict=True)]
        if node.op_type in _MOVES and inputs[0].integers is not None:
            moved = rearranged(inputs[0].integers, lambda a: fold(node, self.source.opset, {**arrays, node.input[0]: a})[0])
            found = [replace(found[0], integers=moved)]
        return found

    def _count_weights(self, node: onnx.NodeProto) -> None:
        names = node.input[:1] if node.op_type in _SETTINGS else node.input
        if node.op_type in _INTEGER_WEIGHTS:
            names = [node.input[i] for i in _INTEGER_WEIGHTS[node.op_type] if i < len(node.input)]
            self.integer_weights.update(name for name in names if name in self.initialisers)
        self.weights.update(name for name in names if name in self.initialisers)

    def _unsupported(self) -> UnsupportedOpError:
        parts = []
        for label, (reasons, names) in self.refused.items():
            domain, _, kind = label.rpartition(".")
            shown = ", ".join(map(_shortened, names[:5])) + (", ..." if len(names) > 5 else "")
            count = f"{len(names)} node{'s' if len(names) > 1 else ''}"
            parts.append(f"{kind} ({domain or 'ai.onnx'}, {count}: {shown}): {' / '.join(reasons)}")
        count = f"{len(parts)} unsupported operator{'s' if len(parts) > 1 else ''}"
        names, hint = advice(self.proto, self.refused_nodes)
        hint = hint or "change or cut these layers before the export, or open an issue with the model"
        text = f"{self.source.label}: {count}: {'; '.join(parts)}; what to do: {hint}"
        return UnsupportedOpError(one_line(text), {label: (" / ".join(reasons), list(nodes))
                                         for label, (reasons, nodes) in self.refused.items()}, names)

    # The end

    def _checked_output(self, name: str) -> Value | None:
        try:
            value = self._value(name)
        except Malformed:
            raise FormatError(f"{self.source.label}: output {name!r} is made by no node") from None
        if name in self.graph.outputs:
            raise FormatError(f"{self.source.label}: output {name!r} is listed twice")
        return value

    def _output(self, output: onnx.ValueInfoProto) -> None:
        value = self._checked_output(output.name)
        self._check_declared(output, value)
        try:
            self.builder.output(self.values, output.name, value, {o.name for o in self.proto.output})
        except Refuse as reason:
            raise FormatError(f"{self.source.label}: output {output.name!r}: {reason}") from None

    def _check_declared(self, output: onnx.ValueInfoProto, value: Value) -> None:
        """The declared type must agree; a declared shape that does not is only an annotation."""
        tensor = output.type.tensor_type
        declared = onnx.TensorProto.FLOAT if tensor.elem_type in NARROWED_TYPES else tensor.elem_type
        if declared and declared != onnx.helper.np_dtype_to_tensor_dtype(np.dtype(narrow_dtype(value.dtype))):
            raise FormatError(f"{self.source.label}: output {output.name!r} is declared as type {tensor.elem_type}, "
                              f"the graph computes {value.dtype}")
        dims = [d.dim_value for d in tensor.shape.dim]
        if tensor.HasField("shape") and (len(dims) != value.rank or any(
                d > 0 and d != size for d, size in zip(dims, value.shape, strict=True))):
            self.notes.append(f"output {output.name!r} has the shape {list(value.shape)}; the file declares "
                              f"{[d if d > 0 else '?' for d in dims]}")

    def _meta(self) -> None:
        if not MIN_OPSET <= self.source.opset <= TESTED_OPSET:
            than = f"newer than {TESTED_OPSET}" if self.source.opset > TESTED_OPSET else f"older than {MIN_OPSET}"
            self.notes.append(f"opset {self.source.opset} is {than}; accepted, because every operator used is at an "
                              "implemented version")
        self._note_narrowed()
        floats = (onnx.TensorProto.FLOAT, *NARROWED_TYPES)
        self.graph.meta = Meta(
            name=self.source.name, source_format="onnx", source_sha256=self.source.sha256,
            source_opset=self.source.opset, source_operators=len(self.proto.node),
            parameters=sum(int(np.prod(t.dims, dtype=np.int64)) for name, t in self.initialisers.items()
                           if name in self.integer_weights or name in self.weights and t.data_type in floats))


    def _note_narrowed(self) -> None:
        """What was computed in another float type, and which inputs and outputs changed theirs."""
        ends = [info for info in (*self.proto.input, *self.proto.output) if info.name not in self.initialisers
                and info.type.tensor_type.elem_type in NARROWED_TYPES]
        types = self.builder.narrowed | {NARROWED_TYPES[info.type.tensor_type.elem_type] for info in ends}
        if types:
            names = ", ".join(repr(_shortened(info.name)) for info in ends[:8]) + ", ..." * (len(ends) > 8)
            self.notes.append(f"{' and '.join(sorted(types))} data becomes float32" + (f", also {names}" if ends else ""))


def _foldable(node: onnx.NodeProto, inputs: list[Value | None]) -> bool:
    return operator_key(node.domain, node.op_type) in FOLDABLE and all(v is None or v.known for v in inputs)


def _check_arity(node: onnx.NodeProto, schema: Any) -> None:
    count = len(node.input)
    if not schema.min_input <= count <= schema.max_input:
        raise Malformed(f"it has {count} inputs, expected {schema.min_input} to {schema.max_input}")
    for i, name in enumerate(node.input):
        formal = schema.inputs[min(i, len(schema.inputs) - 1)]
        # Resize-11 requires a roi and scales; every exporter leaves them out, and later versions allow it.
        if not name and node.op_type != "Resize" and formal.option != onnx.defs.OpSchema.FormalParameterOption.Optional:
            raise Malformed(f"its input {formal.name!r} is left out")
    if not any(node.output) or len(node.output) > schema.max_output:
        raise Malformed(f"it has {len(node.output)} outputs, expected 1 to {schema.max_output}")
