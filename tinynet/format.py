"""The board's reader of .tnb files: buffer -> Graph, weights as views into the buffer.  No numpy, no flatbuffers.

`model.fbs` beside this file is the specification and lists what is checked; `flatbuffer.py` keeps every access inside
the buffer.
"""

from __future__ import annotations

import os
import stat
from math import prod
from struct import unpack_from
from typing import Any

from tinynet.errors import FileError, FormatError
from tinynet.flatbuffer import CORRUPT, FlatBuffer, TableType, show
from tinynet.graph import DTYPES, Formula, Graph, LayerQuality, Meta, Node, Preprocess, Quantization, Tensor
from tinynet.layouts import PLAIN, nbytes

IDENTIFIER = b"TNB1"
MAJOR, MINOR = 1, 2
ALIGNMENT = 64                    # of a blob, counted from the start of the file
MAX_FILE_BYTES = 2 ** 31          # distances inside a FlatBuffer are signed 32-bit numbers
MAX_TENSOR_BYTES = 2 ** 40
MAX_RANK = 32                     # what numpy 1.x holds
DTYPE_NAMES = ("float32", "int64", "int32", "uint8", "int8", "bool", "float16", "float64")
ATTRIBUTE_TYPES = ("int", "float", "bool", "string", "ints", "floats", "bools", "strings")

_MIN_FILE_BYTES = 12
_SHARED_BYTES = 32 << 20          # of a checksum that is worth waking threads: 2 ms

MODEL = TableType("model", "HHooooooQBooo")
BLOB = TableType("blob", "o")
TENSOR = TableType("tensor", "ooBioo", (0, 0, 0, -1, 0, 0))
ATTRIBUTE = TableType("attribute", "oBqdoooo")
NODE = TableType("node", "oooooQ")
PREPROCESS = TableType("preprocess", "ooooo?")
FORMULA = TableType("formula", "IoIqqqo", (0, 0, 0, 1, 1, 0, 0))
COUNT = TableType("count", "III")
METADATA = TableType("metadata", "ooooooIoQQQQQooo")
QUANTIZATION = TableType("quantization", "ooIIodddQo")
LAYER_QUALITY = TableType("layer quality", "oo?do")


class _Reader(FlatBuffer):
    """The meaning: tables of model.fbs -> Graph."""

    def graph(self) -> Graph:
        root = self._root()
        (major, minor, tensors, nodes, inputs, outputs, blobs, metadata, _, stage, parameters, counts,
         formulas) = self.table(root, MODEL)
        if major != MAJOR:
            raise self.bad(f"format version {MAJOR}", f"{major}.{minor}",
                           ": update tinynet" if major > MAJOR else CORRUPT)
        self._attributes: dict[int, tuple[str, Any]] = {}
        self._blobs = [self._blob(data) for data, in self.tables(self.offsets(blobs, "the list of blobs"), BLOB)]
        if stage > 1:
            raise self.bad("a known stage", stage, ": update tinynet, or convert the model again")
        graph = Graph(source=stage == 1)
        self._dims: dict[str, tuple[int | str, ...]] = {}
        table = graph.tensors
        for fields in self.tables(self.offsets(tensors, "the list of tensors"), TENSOR):
            tensor = self._tensor(*fields)
            if not tensor.name or tensor.name in table:
                raise self.bad("tensor names that are unique and not empty", show(tensor.name))
            table[tensor.name] = tensor
        self._names = list(table)
        self._ready = bytearray(t.data is not None for t in table.values())
        graph.inputs = self._produce(self.numbers(inputs, "I", "the graph's inputs"), "the graph's inputs")
        graph.nodes = [self._node(*fields) for fields in self.tables(self.offsets(nodes, "the list of nodes"), NODE)]
        graph.outputs = self._consume(self.numbers(outputs, "I", "the graph's outputs"), "the graph's outputs")
        if not outputs or not graph.outputs or len(set(graph.outputs)) < len(graph.outputs):
            raise self.bad("at least one graph output and none twice", show(graph.outputs))
        never = self._ready.find(0)
        if never >= 0:
            raise self.bad("every tensor to be an input, a constant or a node's output", show(self._names[never]))
        if metadata:
            graph.meta = self._meta(metadata)
        self._open(graph, parameters, counts, formulas)
        return graph

    def _open(self, graph: Graph, parameters: int, counts: int, formulas: int) -> None:
        """What only networks have whose sizes are chosen at run time."""
        graph.dims = self._dims
        strange = [name for name in self._dims if name not in graph.inputs]
        graph.parameters = [self._names[i] for i in self.indices(parameters, len(self._names), "the parameters")]
        strange += [name for name in graph.parameters if name not in graph.inputs]
        if strange:
            raise self.bad("open sizes and parameters of graph inputs alone", show(strange[0]))
        for at in self.offsets(counts, "the list of counts") if counts else ():
            output, axis, count = self.table(at, COUNT)
            names = [self._names[i] if i < len(self._names) else "" for i in (output, count)]
            tensor = graph.tensors.get(names[1])
            if (names[0] not in graph.outputs or names[1] not in graph.outputs[1:] or names[0] in graph.counts
                    or not graph.source and (axis >= len(graph.tensors[names[0]].shape) or tensor.shape != ()
                                             or tensor.dtype != "int64")):
                raise self.bad("counts that are int64 scalars among the outputs", show(names))
            graph.counts[names[0]] = (axis, names[1])
        hidden = list(dict.fromkeys(count for _, count in graph.counts.values()))
        if graph.outputs[len(graph.outputs) - len(hidden):] != hidden or len(hidden) >= len(graph.outputs):
            raise self.bad("counts as the last outputs", show(hidden))
        graph.formulas = [self._formula(at, graph) for at in self.offsets(formulas, "the list of formulas")] if formulas else []

    def _formula(self, at: int, graph: Graph) -> Formula:
        node, attribute_at, position, multiplier, divisor, offset, factors_at = self.table(at, FORMULA)
        attribute = self.text(attribute_at, "a formula's attribute")
        factors = self.numbers(factors_at, "I", "a formula's factors")
        values = graph.nodes[node].attrs.get(attribute) if node < len(graph.nodes) else None
        if not isinstance(values, tuple) or position >= len(values) or not isinstance(values[position], int):
            raise self.bad("formulas of integers that nodes have", show((node, attribute, position)))
        if divisor < 1 or len(factors) % 2 or len(factors) > 2 * MAX_RANK or any(i >= len(self._names) for i in factors[::2]):
            raise self.bad("formulas with a positive divisor and tensors that exist", show((divisor, factors)))
        pairs = tuple((self._names[i], axis) for i, axis in zip(factors[::2], factors[1::2], strict=True))
        return Formula(node, attribute, position, multiplier, divisor, offset, pairs)

    def indices(self, at: int, limit: int, what: str) -> tuple[int, ...]:
        found = self.numbers(at, "I", what)
        if any(i >= limit for i in found):
            raise self.bad(f"tensor numbers below {limit} in {what}", max(found))
        return found

    def _root(self) -> int:
        if self.size < _MIN_FILE_BYTES:
            raise self.bad(f"at least {_MIN_FILE_BYTES} bytes", f"{self.size} bytes")
        found = bytes(self.data[4:8])
        if found != IDENTIFIER:
            if found[:3] == IDENTIFIER[:3]:
                raise self.bad("the identifier TNB1", show(found), ": update tinynet, or convert the model again")
            raise self.bad("a .tnb file (identifier TNB1 at byte 4)", show(found),
                           ": give a file that `tinynet convert` wrote")
        if self.size > MAX_FILE_BYTES:
            raise self.bad(f"at most {MAX_FILE_BYTES} bytes", f"{self.size} bytes")
        return unpack_from("<I", self.data)[0]

    def _blob(self, data: int) -> tuple[int, int]:
        start, count = self.vector(data, 1, "a blob")
        if start % ALIGNMENT:
            raise self.bad(f"blobs at multiples of {ALIGNMENT} bytes", f"one at {start}")
        return start, count

    def _tensor(self, name_at: int, shape_at: int, dtype_code: int, blob: int, layout_at: int, dims_at: int) -> Tensor:
        name = self.text(name_at, "a tensor's name")
        shape = self.numbers(shape_at, "I", "a tensor's shape")
        if dtype_code >= len(DTYPE_NAMES):
            raise self.bad(f"a known dtype of tensor {show(name)}", f"number {dtype_code}",
                           ": update tinynet, or convert the model again")
        dtype = DTYPE_NAMES[dtype_code]
        if len(shape) > MAX_RANK:
            raise self.bad(f"at most {MAX_RANK} dimensions of tensor {show(name)}", len(shape))
        if prod(filter(None, shape)) * DTYPES[dtype] >= MAX_TENSOR_BYTES:
            raise self.bad(f"tensor {show(name)} smaller than 2^40 bytes", f"shape {list(shape)}")
        if dims_at:
            names = self.texts(dims_at, "a tensor's dimensions")
            if blob != -1 or len(names) != len(shape) or not any(names):
                raise self.bad(f"a name or nothing for each dimension of input {show(name)}", show(names))
            self._dims[name] = tuple(text or size for text, size in zip(names, shape, strict=True))
        if blob == -1:
            return Tensor(name, shape, dtype)
        layout = self.text(layout_at, "a tensor's layout") if layout_at else PLAIN
        return Tensor(name, shape, dtype, self._constant(name, shape, dtype, blob, layout), layout)

    def _constant(self, name: str, shape: tuple[int, ...], dtype: str, blob: int, layout: str) -> memoryview:
        if not 0 <= blob < len(self._blobs):
            raise self.bad(f"a blob number below {len(self._blobs)} in tensor {show(name)}", blob)
        if len(layout) > 60:
            raise self.bad(f"a known layout of tensor {show(name)}", show(layout))
        try:
            wanted = nbytes(shape, dtype, layout)
        except FormatError as error:
            raise FormatError(f"{self.name}: tensor {show(name)}: {error}") from None
        start, count = self._blobs[blob]
        if count != wanted:
            raise self.bad(f"{wanted} bytes for tensor {show(name)}", f"a blob of {count} bytes")
        data = self.data[start:start + count]
        if dtype == "bool" and bytes(data).strip(b"\0\1"):
            raise self.bad(f"bytes 0 and 1 in bool tensor {show(name)}", "others")
        return data

    def _node(self, op_at: int, name_at: int, inputs: int, outputs: int, attributes: int, macs: int) -> Node:
        op, name = self.text(op_at, "a node's kind"), self.text(name_at, "a node's name")
        if not op or not outputs:
            raise self.bad("nodes with a kind and an output", f"a node {show(name)} without")
        consumed = self._consume(self.numbers(inputs, "I", "a node's inputs"), name)
        produced = self._produce(self.numbers(outputs, "I", "a node's outputs"), name)
        if not produced:
            raise self.bad(f"an output of node {show(name)}", "none")
        attrs: dict[str, Any] = {}
        for place in self.offsets(attributes, "a node's attributes") if attributes else ():
            found = self._attributes.get(place)
            if found is None:
                found = self._attributes[place] = self._attribute(place)
            if not found[0] or found[0] in attrs:
                raise self.bad(f"attribute names of node {show(name)} that are unique and not empty", show(found[0]))
            attrs[found[0]] = found[1]
        return Node(op, name, consumed, produced, attrs, macs)

    def _consume(self, indices: tuple[int, ...], what: str) -> list[str]:
        """Names of tensors that exist and have a value by now."""
        names, ready, result = self._names, self._ready, []
        for i in indices:
            if i >= len(names):
                raise self.bad(f"tensor numbers below {len(names)} in {show(what)}", i)
            if not ready[i]:
                raise self.bad(f"{show(what)} to read what was computed before", show(names[i]))
            result.append(names[i])
        return result

    def _produce(self, indices: tuple[int, ...], what: str) -> list[str]:
        """Names of tensors that get their value here and nowhere else."""
        names, ready, result = self._names, self._ready, []
        for i in indices:
            if i >= len(names):
                raise self.bad(f"tensor numbers below {len(names)} in {show(what)}", i)
            if ready[i]:
                raise self.bad(f"{show(what)} to set tensors that have no value yet", show(names[i]))
            ready[i] = 1
            result.append(names[i])
        return result

    def _attribute(self, at: int) -> tuple[str, Any]:
        name_at, type_code, i, f, s, ints, floats, strings = self.table(at, ATTRIBUTE)
        name = self.text(name_at, "an attribute's name")
        if type_code >= len(ATTRIBUTE_TYPES):
            raise self.bad(f"a known type of attribute {show(name)}", f"number {type_code}",
                           ": update tinynet, or convert the model again")
        kind = ATTRIBUTE_TYPES[type_code]
        what = "an attribute's value"
        if kind in ("int", "bool"):
            values: tuple = (i,)
        elif kind in ("ints", "bools"):
            values = self.numbers(ints, "q", what)
        elif kind in ("float", "floats"):
            values = (f,) if kind == "float" else self.numbers(floats, "d", what)
        else:
            values = (self.text(s, what),) if kind == "string" else tuple(self.texts(strings, what))
        if kind in ("bool", "bools"):
            if any(v not in (0, 1) for v in values):
                raise self.bad(f"0 or 1 in attribute {show(name)}", show(values))
            values = tuple(v == 1 for v in values)
        return name, values if kind.endswith("s") else values[0]

    def _meta(self, at: int) -> Meta:
        (name, task, preprocess, labels, source_format, sha256, opset, converter, operators, parameters, macs,
         arena, seed, index, value, quantization) = self.table(at, METADATA)
        what = "a metadata text"
        return Meta(
            name=self.text(name, what), task=self.text(task, what),
            preprocess=self._preprocess(preprocess) if preprocess else Preprocess(),
            labels=self.texts(labels, "the labels"), source_format=self.text(source_format, what),
            source_sha256=self.text(sha256, what), source_opset=opset, converter=self.text(converter, what),
            source_operators=operators, parameters=parameters, macs=macs, arena_bytes=arena, selftest_seed=seed,
            selftest_index=list(self.numbers(index, "Q", "the self-test")),
            selftest_value=list(self.numbers(value, "d", "the self-test")),
            quantization=self._quantization(quantization) if quantization else None)

    def _quantization(self, at: int) -> Quantization:
        method, target, calibrated, judged, measure, real, quantized, sqnr, float_bytes, layers = self.table(at, QUANTIZATION)
        what = "a text about the quantisation"
        rows = []
        for place in self.offsets(layers, "the quantised layers") if layers else ():
            name, kind, integer, quality, reason = self.table(place, LAYER_QUALITY)
            rows.append(LayerQuality(self.text(name, what), self.text(kind, what), bool(integer), float(quality),
                                     self.text(reason, what)))
        return Quantization(self.text(method, what), self.text(target, what), calibrated, judged, self.text(measure, what),
                            float(real), float(quantized), float(sqnr), float_bytes, rows)

    def _preprocess(self, at: int) -> Preprocess:
        resize, color, mean, std, size, given = self.table(at, PREPROCESS)
        what, default = "the pre-processing", Preprocess()
        return Preprocess(
            resize=self.text(resize, what) or default.resize, color=self.text(color, what) or default.color,
            mean=self.numbers(mean, "d", what) if mean else default.mean,
            std=self.numbers(std, "d", what) if std else default.std,
            size=self.numbers(size, "I", what), given=bool(given))


def read(buffer: Any, name: str = "model.tnb") -> Graph:
    """The network in `buffer` (bytes, memoryview or mmap; it must stay unchanged while the graph is in use).

    Constants hold memoryview slices of `buffer` in the order of their layout, nothing is copied.  `name` stands at
    the start of every error.  Raises FormatError for anything that model.fbs does not allow.  What operators and
    attributes mean, and whether shapes agree with them, is checked by whoever plans the graph.
    """
    return _Reader(buffer, name).graph()


def has_checksum(buffer: Any, name: str = "model.tnb") -> bool:
    """Does the file carry a checksum?  Raises FormatError like `read`."""
    reader = _Reader(buffer, name)
    return reader.table(reader._root(), MODEL)[8] != 0


def version(buffer: Any, name: str = "model.tnb") -> tuple[int, int]:
    """(major, minor) of the format.  Raises FormatError like `read`."""
    reader = _Reader(buffer, name)
    major, minor, *_ = reader.table(reader._root(), MODEL)
    return major, minor


def verify(buffer: Any, name: str = "model.tnb", threads: int = 1) -> None:
    """Read the whole file and compare its checksum, as fast as memory can be read.  FormatError if a bit has changed.

    A file without a checksum is refused too: one changed bit is enough to hide the field.
    """
    if not has_checksum(buffer, name):
        raise FormatError(f"{name}: expected a checksum, found none{CORRUPT}, or load it with verify=False")
    from tinynet.kernels import engine

    if engine.sum_words(buffer, threads if len(buffer) >= _SHARED_BYTES else 1):
        raise FormatError(f"{name}: expected the checksum that the file was written with, found another one{CORRUPT}")


def open_buffer(path_or_bytes: str | os.PathLike | bytes | memoryview, mmap: bool = True) -> tuple[Any, str]:
    """(buffer, name for errors) of a file or of bytes in memory.

    A file is mapped read-only: pages are loaded when used and shared between processes.  Truncating a mapped file
    kills the process that reads it (SIGBUS); `mmap=False` reads it into memory instead.
    Raises FileError for what is no readable file, FormatError for one that is too short or too long for a .tnb.
    """
    if isinstance(path_or_bytes, (bytes, bytearray, memoryview)):
        return _aligned(path_or_bytes), "<bytes>"
    name = os.fspath(path_or_bytes)
    try:
        with open(_regular_file(name), "rb") as file:
            size = os.fstat(file.fileno()).st_size
            if not _MIN_FILE_BYTES <= size <= MAX_FILE_BYTES:
                raise FormatError(f"{name}: expected a .tnb file of {_MIN_FILE_BYTES} bytes to 2 GiB, "
                                  f"found {size} bytes{CORRUPT}")
            if not mmap:
                return file.read(), name
            from tinynet.kernels import engine

            return engine.Mapping(file.fileno(), size), name
    except FileError:
        raise
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise FileError(f"{name}: expected a readable file, found: {reason}; check the path") from None


def _aligned(buffer: bytes | bytearray | memoryview) -> bytes | bytearray | memoryview:
    """The buffer, or a copy where the numbers in it would not lie at multiples of their size."""
    from tinynet.kernels import engine

    contiguous = not isinstance(buffer, memoryview) or buffer.c_contiguous
    return bytes(buffer) if not contiguous or engine.span(buffer)[0] % 8 else buffer


def _regular_file(name: str) -> str:
    """`name` itself; opening a pipe would wait for ever and a device has no end."""
    mode = os.stat(name).st_mode
    if not stat.S_ISREG(mode):
        raise FileError(f"{name}: expected a file, found a {'folder' if stat.S_ISDIR(mode) else 'device or pipe'}; "
                        "check the path")
    return name
