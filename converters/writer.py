"""Graph -> .tnb bytes, as `tinynet/model.fbs` specifies them.  `tinynet/format.py` reads them back.

A FlatBuffer is built from its end to its start.  Blobs are written first and in reverse order of use, so that the file
begins with the description (one or two pages to map for `inspect`) and the weights follow in the order of execution.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from numbers import Integral, Real
from typing import Any

import flatbuffers
import numpy as np

from tinynet.converters import _schema
from tinynet.converters._schema import (
    Attribute,
    Blob,
    Count,
    Formula,
    LayerQuality,
    Metadata,
    Model,
    Preprocess,
    Quantization,
)
from tinynet.converters._schema import Node as NodeTable
from tinynet.converters._schema import Tensor as TensorTable
from tinynet.errors import FormatError, LimitError, TinynetError
from tinynet.format import (
    ALIGNMENT,
    ATTRIBUTE_TYPES,
    DTYPE_NAMES,
    IDENTIFIER,
    MAJOR,
    MAX_FILE_BYTES,
    MINOR,
    read,
)
from tinynet.graph import Graph, Meta, Node, Tensor
from tinynet.layouts import PLAIN, nbytes
from tinynet.ops.winograd import SIZES, stored_name

# What the builder starts with besides the blobs, per tensor and node; too little only costs one doubling.
_DESCRIPTION_BYTES = 300
# Place of the ninth field, Model.checksum, in the vtable: two bytes each after a head of four.
_CHECKSUM_SLOT = 4 + 2 * 8


def write(graph: Graph) -> bytes:
    """The graph as a .tnb file; the same graph gives the same bytes.

    A constant's `data` is a numpy array of the tensor's dtype in the order of its layout (any shape: its C order
    counts), or a buffer of exactly `nbytes` bytes.  Equal constants are stored once; tensors that neither a node nor
    the graph's inputs or outputs name are left out.  Attribute tuples and lists come back as tuples.
    Raises LimitError above 2 GiB, TinynetError for a graph that no reader would accept (a fault of the converter).
    """
    tensors = _used(graph)
    constants = [tensor for tensor in tensors.values() if tensor.is_constant]
    total = sum(_size(tensor) + ALIGNMENT for tensor in constants)
    total += _DESCRIPTION_BYTES * (len(tensors) + len(graph.nodes) + 10)
    total += sum(len(label) + 12 for label in graph.meta.labels)
    if total > MAX_FILE_BYTES:
        raise LimitError(f"{graph.meta.name or 'the model'}: expected at most 2 GiB, which is what a .tnb file holds, "
                         f"found {total} bytes of weights: convert a smaller network")
    builder = _Writer(total)
    blobs, numbers = builder.blobs(constants)
    try:
        root = builder.model(graph, tensors, blobs, numbers)
        builder.Finish(root, file_identifier=IDENTIFIER)
    except flatbuffers.builder.BuilderSizeError:
        raise LimitError(f"{graph.meta.name or 'the model'}: expected at most 2 GiB, found more: "
                         "convert a smaller network") from None
    data = _with_checksum(memoryview(builder.Bytes)[builder.Head():])
    try:
        read(data, "the converted model")
    except FormatError as error:
        raise TinynetError(f"the converter made a graph that cannot be stored: {error}") from None
    return data


def _with_checksum(data: memoryview) -> bytes:
    """Set Model.checksum, written as 1 so that it has a place, so that all 64-bit words add up to 0."""
    table = Model.GetRootAs(data)._tab
    at = table.Pos + table.Offset(_CHECKSUM_SLOT)
    data[at:at + 8] = bytes(8)
    whole = len(data) // 8 * 8
    total = int(np.frombuffer(data, "<u8", whole // 8).sum(dtype=np.uint64)) + int.from_bytes(data[whole:], "little")
    data[at:at + 8] = (-total % 2 ** 64).to_bytes(8, "little")
    return bytes(data)


def _used(graph: Graph) -> dict[str, Tensor]:
    """Tensors that anything refers to, in order of first use."""
    names: dict[str, None] = {}
    for node in graph.nodes:
        names.update(dict.fromkeys([*node.inputs, *node.outputs]))
    names.update(dict.fromkeys([*graph.inputs, *graph.outputs]))
    # Transformed weights: no node names them, the planner looks for them by their name.
    names.update(dict.fromkeys(stored_name(name, size) for name in list(names) for size in SIZES
                               if stored_name(name, size) in graph.tensors))
    missing = [name for name in names if name not in graph.tensors]
    if missing:
        raise TinynetError(f"the converter made a graph that cannot be stored: no tensor is named {missing[0]!r}")
    for name in names:
        if graph.tensors[name].name != name:
            raise TinynetError(f"the converter made a graph that cannot be stored: {name!r} is listed for tensor "
                               f"{graph.tensors[name].name!r}")
    return {name: graph.tensors[name] for name in names}


def _size(tensor: Tensor) -> int:
    if tensor.dtype not in DTYPE_NAMES:
        raise TinynetError(f"tensor {tensor.name!r}: expected one of {', '.join(DTYPE_NAMES)}, found {tensor.dtype!r}")
    return nbytes(tensor.shape, tensor.dtype, tensor.layout)


def _bytes(tensor: Tensor) -> memoryview:
    """The constant's bytes, little-endian."""
    data = tensor.data
    if isinstance(data, np.ndarray):
        if data.dtype != np.dtype(tensor.dtype):
            raise TinynetError(f"tensor {tensor.name!r}: expected data of {tensor.dtype}, found {data.dtype}")
        data = np.ascontiguousarray(data, data.dtype.newbyteorder("<")).reshape(-1).view(np.uint8)
    view = memoryview(data).cast("B")
    if len(view) != _size(tensor):
        raise TinynetError(f"tensor {tensor.name!r}: expected {_size(tensor)} bytes for shape {list(tensor.shape)} in "
                           f"layout {tensor.layout}, found {len(view)}")
    return view


def _typed(value: Any) -> tuple[str, Any]:
    """(type of model.fbs, plain Python value) of an attribute; TypeError for what a file cannot hold."""
    if isinstance(value, (list, tuple)):
        kinds = {_typed(v)[0] for v in value} or {"int"}
        if kinds == {"int", "float"}:
            kinds = {"float"}
            value = [float(v) for v in value]
        if len(kinds) > 1 or any(kind.endswith("s") for kind in kinds):
            raise TypeError(f"expected values of one scalar type, found {value!r}")
        return f"{kinds.pop()}s", tuple(_typed(v)[1] for v in value)
    if isinstance(value, (bool, np.bool_)):
        return "bool", bool(value)
    if isinstance(value, str):
        return "string", value
    if isinstance(value, Integral):
        if not -2 ** 63 <= value < 2 ** 63:
            raise TypeError(f"expected a 64-bit integer, found {value!r}")
        return "int", int(value)
    if isinstance(value, Real):
        return "float", float(value)
    raise TypeError(f"expected numbers, texts, or a tuple of them, found {value!r}")


class _Writer(flatbuffers.Builder):
    """The builder with what model.fbs needs: shared strings, vectors and attributes; absent empty objects (None)."""

    def __init__(self, size: int):
        super().__init__(size)
        self._vectors: dict[tuple, int] = {}
        self._attributes: dict[tuple, int] = {}

    def text(self, value: str) -> int | None:
        return self.CreateSharedString(value) if value else None

    def numbers(self, values: Iterable, width: int, prepend: Callable, force: bool = False) -> int | None:
        """A vector of scalars of `width` bytes; None if it is empty, unless `force`d."""
        values = tuple(values)
        if not values and not force:
            return None
        # repr: 0.0 and -0.0 are equal but not the same.
        key = (prepend.__name__, repr(values))
        if key not in self._vectors:
            self.StartVector(width, len(values), width)
            for value in reversed(values):
                prepend(value)
            self._vectors[key] = self.EndVector()
        return self._vectors[key]

    def indices(self, values: Iterable[int]) -> int | None:
        return self.numbers(values, 4, self.PrependUint32)

    def doubles(self, values: Iterable[float], force: bool = False) -> int | None:
        return self.numbers(map(float, values), 8, self.PrependFloat64, force)

    def offsets(self, values: Iterable[int]) -> int | None:
        values = tuple(values)
        if not values:
            return None
        self.StartVector(4, len(values), 4)
        for value in reversed(values):
            self.PrependUOffsetTRelative(value)
        return self.EndVector()

    def texts(self, values: Iterable[str]) -> int | None:
        return self.offsets([self.CreateSharedString(value) for value in values])

    def table(self, table: type, **fields: Any) -> int:
        """A table of a generated class; fields that are None are absent."""
        kind = table.__name__
        getattr(_schema, f"{kind}Start")(self)
        for name, value in fields.items():
            if value is not None:
                try:
                    getattr(_schema, f"{kind}Add{name}")(self, value)
                except TypeError as error:
                    raise TinynetError(f"{kind} cannot be stored: {name}: {error}") from None
        return getattr(_schema, f"{kind}End")(self)

    def blobs(self, constants: list[Tensor]) -> tuple[int | None, dict[str, int]]:
        """(vector of blobs, tensor name -> number of its blob)."""
        sizes: dict[tuple, int] = {}
        for tensor in constants:
            key = (tensor.dtype, tensor.layout, _size(tensor))
            sizes[key] = sizes.get(key, 0) + 1
        distinct: dict[tuple, int] = {}
        stored: list[Tensor] = []
        numbers: dict[str, int] = {}
        for tensor in constants:
            key = (tensor.dtype, tensor.layout, _size(tensor))
            # Only blobs of equal size can be equal; the others need no digest.
            digest = hashlib.sha256(_bytes(tensor)).digest() if sizes[key] > 1 else b""
            numbers[tensor.name] = distinct.setdefault((*key, digest), len(stored))
            if numbers[tensor.name] == len(stored):
                stored.append(tensor)
        vectors = [self._blob(_bytes(tensor)) for tensor in reversed(stored)]
        tables = [self.table(Blob, Data=vector) for vector in reversed(vectors)]
        return self.offsets(tables), numbers

    def _blob(self, data: memoryview) -> int:
        # Generated code and CreateByteVector ignore force_align, and prepending byte by byte takes minutes.
        self.StartVector(1, len(data), ALIGNMENT)
        self.head -= len(data)
        memoryview(self.Bytes)[self.head:self.head + len(data)] = data
        return self.EndVector()

    def attribute(self, node: Node, name: str, value: Any) -> int:
        try:
            kind, values = _typed(value)
        except TypeError as error:
            raise TinynetError(f"node {node.name!r} ({node.op}): attribute {name!r}: {error}") from None
        key = (name, kind, repr(values))
        if key not in self._attributes:
            self._attributes[key] = self._attribute(name, kind, values)
        return self._attributes[key]

    def _attribute(self, name: str, kind: str, values: Any) -> int:
        if kind in ("int", "bool"):
            field, stored = "I", values
        elif kind == "float":
            field, stored = "F", values
        elif kind == "string":
            field, stored = "S", self.text(values)
        elif kind in ("ints", "bools"):
            field, stored = "Ints", self.numbers(map(int, values), 8, self.PrependInt64)
        elif kind == "floats":
            field, stored = "Floats", self.doubles(values)
        else:
            field, stored = "Strings", self.texts(values)
        text = self.CreateSharedString(name)
        # -0.0 equals the default 0.0 and would be left out.
        self.ForceDefaults(kind == "float")
        table = self.table(Attribute, Name=text, **{field: stored}, Type=ATTRIBUTE_TYPES.index(kind))
        self.ForceDefaults(False)
        return table

    def node(self, node: Node, index: dict[str, int]) -> int:
        attributes = self.offsets([self.attribute(node, name, value) for name, value in node.attrs.items()])
        outputs = self.indices(index[name] for name in node.outputs)
        inputs = self.indices(index[name] for name in node.inputs)
        op, name = self.text(node.op), self.text(node.name)
        return self.table(NodeTable, Macs=node.macs, Op=op, Name=name, Inputs=inputs, Outputs=outputs,
                          Attributes=attributes)

    def tensor(self, tensor: Tensor, numbers: dict[str, int], dims: tuple[int | str, ...] = ()) -> int:
        largest = max(tensor.shape, default=0)
        if min(tensor.shape, default=0) < 0 or largest >= 2 ** 32:
            raise LimitError(f"tensor {tensor.name!r}: expected dimensions from 0 to 4294967295, found "
                             f"{list(tensor.shape)}")
        name, shape = self.CreateSharedString(tensor.name), self.indices(tensor.shape)
        layout = self.text(tensor.layout) if tensor.is_constant and tensor.layout != PLAIN else None
        names = self.offsets([self.CreateSharedString(d if isinstance(d, str) else "") for d in dims])
        return self.table(TensorTable, Name=name, Shape=shape, Dims=names, Blob=numbers.get(tensor.name), Layout=layout,
                          Dtype=DTYPE_NAMES.index(tensor.dtype))

    def formula(self, f: Any, index: dict[str, int]) -> int:
        attribute = self.CreateSharedString(f.attribute)
        factors = self.indices(number for name, axis in f.factors for number in (index[name], axis))
        return self.table(Formula, Node=f.node, Attribute=attribute, Position=f.position, Multiplier=f.multiplier,
                          Divisor=f.divisor, Offset=f.offset, Factors=factors)

    def metadata(self, meta: Meta) -> int:
        given = meta.preprocess
        preprocess = self.table(
            Preprocess, Resize=self.text(given.resize), Color=self.text(given.color),
            Mean=self.doubles(given.mean, True), Std=self.doubles(given.std, True), Size=self.indices(given.size),
            Given=given.given)
        quantization = self.quantization(meta.quantization) if meta.quantization is not None else None
        return self.table(
            Metadata, SourceOperators=meta.source_operators, Parameters=meta.parameters, Macs=meta.macs,
            ArenaBytes=meta.arena_bytes, SelftestSeed=meta.selftest_seed, SourceOpset=meta.source_opset,
            Name=self.text(meta.name), Task=self.text(meta.task), Preprocess=preprocess,
            Labels=self.texts(meta.labels), SourceFormat=self.text(meta.source_format),
            SourceSha256=self.text(meta.source_sha256), Converter=self.text(meta.converter),
            SelftestIndex=self.numbers(meta.selftest_index, 8, self.PrependUint64),
            SelftestValue=self.doubles(meta.selftest_value), Quantization=quantization)

    def quantization(self, found: Any) -> int:
        rows = [self.table(LayerQuality, Sqnr=layer.sqnr, Name=self.text(layer.name), Kind=self.text(layer.kind),
                           Reason=self.text(layer.reason), Integer=layer.integer) for layer in found.layers]
        return self.table(
            Quantization, Real=found.real, Quantized=found.quantized, Sqnr=found.sqnr, FloatBytes=found.float_bytes,
            Method=self.text(found.method), Target=self.text(found.target), Calibrated=found.calibrated, Judged=found.judged,
            Measure=self.text(found.measure), Layers=self.offsets(rows))

    def model(self, graph: Graph, tensors: dict[str, Tensor], blobs: int | None, numbers: dict[str, int]) -> int:
        index = {name: i for i, name in enumerate(tensors)}
        metadata = self.metadata(graph.meta)
        nodes = self.offsets([self.node(node, index) for node in graph.nodes])
        listed = self.offsets([self.tensor(tensor, numbers, graph.dims.get(name, ())) for name, tensor in tensors.items()])
        counts = self.offsets([self.table(Count, Output=index[name], Axis=axis, Count=index[count])
                               for name, (axis, count) in graph.counts.items()])
        formulas = self.offsets([self.formula(formula, index) for formula in graph.formulas])
        parameters = self.indices(index[name] for name in graph.parameters)
        outputs = self.indices(index[name] for name in graph.outputs)
        inputs = self.indices(index[name] for name in graph.inputs)
        return self.table(Model, Tensors=listed, Nodes=nodes, Inputs=inputs, Outputs=outputs, Blobs=blobs,
                          Metadata=metadata, VersionMajor=MAJOR, VersionMinor=MINOR, Checksum=1,
                          Stage=int(graph.source), Parameters=parameters, Counts=counts, Formulas=formulas)
