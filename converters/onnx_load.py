"""From a path, bytes or ModelProto to a model with its constants, its opset and static input shapes."""

from __future__ import annotations

import hashlib
import math
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from google.protobuf.message import DecodeError

from tinynet.converters.onnx_builder import RUNTIME_DTYPES, Value, narrow_dtype
from tinynet.converters.onnx_cut import cut
from tinynet.errors import FileError, FormatError, UnsupportedError, UsageError

MIN_OPSET, TESTED_OPSET = 7, 26
# Tensor types that are computed as float32 -> their names.
NARROWED_TYPES = {onnx.TensorProto.FLOAT16: "float16", onnx.TensorProto.DOUBLE: "float64",
                  onnx.TensorProto.BFLOAT16: "bfloat16"}


@dataclass
class Source:
    """A parsed model.  `label` is what messages call it, `folder` where external data may lie (None: nowhere)."""

    model: onnx.ModelProto
    label: str
    name: str
    folder: str | None
    sha256: str
    opset: int


def open_source(source: Any, name: str | None, constants: Mapping[str, Any] | None = None,
                outputs: Iterable[str] | None = None, notes: list[str] | None = None) -> Source:
    """`constants`: inputs that become constants.  `outputs`: tensors that become the outputs.  FileError for a missing file,
    FormatError for what is no ONNX model, UnsupportedError for its opset, UsageError for constants and outputs that do not
    fit the model."""
    folder = None
    if isinstance(source, onnx.ModelProto):
        data = source.SerializeToString(deterministic=True)
        model = onnx.ModelProto.FromString(data) if constants or outputs is not None else source
        label = name or model.graph.name or "model"
    elif isinstance(source, (bytes, bytearray, memoryview)):
        data = bytes(source)
        label = name or "model"
        model = _parse(data, label)
    elif isinstance(source, (str, os.PathLike)):
        label = os.fspath(source)
        folder = os.path.dirname(label) or "."
        try:
            data = Path(source).read_bytes()
        except OSError as error:
            raise FileError(f"{label}: cannot be read: {error.strerror or error}") from None
        name = name or Path(source).stem
        model = _parse(data, label)
    else:
        raise UsageError(f"a model is a path, bytes or an onnx.ModelProto, found {type(source).__name__}")
    sha256 = hashlib.sha256(data).hexdigest()
    opset = _opset(model, label)
    if model.functions:
        model = _inline(model, label)
    if not all(isinstance(text, str) for text in _names(model.graph)):
        raise FormatError(f"{label}: damaged: a name in it is no UTF-8 text; export or download it again")
    opened = Source(model, one_line(label), name or model.graph.name or "model", folder, sha256, opset)
    _freeze(opened, constants or {})
    if outputs is not None:
        cut_notes = cut(model.graph, outputs, opened.label)
        if notes is not None:
            notes += cut_notes
    return opened


def _parse(data: bytes, label: str) -> onnx.ModelProto:
    try:
        model = onnx.ModelProto.FromString(data)
    except DecodeError:
        raise FormatError(f"{label}: not an ONNX file, or damaged: expected a protobuf ModelProto, found "
                          f"{len(data)} bytes that do not parse; export or download it again") from None
    if not model.ir_version or not model.HasField("graph") or not model.graph.output:
        raise FormatError(f"{label}: not an ONNX file: expected a model with a graph and outputs, found none in "
                          f"{len(data)} bytes; export or download it again")
    return model


def _names(graph: onnx.GraphProto) -> Iterable[Any]:
    """Every text of the graph that the importer looks at; protobuf gives bytes where it is not UTF-8."""
    yield graph.name
    for node in graph.node:
        yield from (node.op_type, node.domain, node.name, *node.input, *node.output)
        yield from (attribute.name for attribute in node.attribute)
    yield from (tensor.name for tensor in graph.initializer)
    for info in (*graph.input, *graph.output):
        yield info.name
        yield from (dim.dim_param for dim in info.type.tensor_type.shape.dim)


def _opset(model: onnx.ModelProto, label: str) -> int:
    versions = [entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")]
    if not versions and all(node.domain not in ("", "ai.onnx") for node in model.graph.node):
        return TESTED_OPSET
    if not versions:
        raise UnsupportedError(f"{label}: IR version {model.ir_version} without an operator set (opset); expected "
                               f"opset {MIN_OPSET} to {TESTED_OPSET}: export the model again with a newer exporter")
    opset, newest = max(versions), onnx.defs.onnx_opset_version()
    if len(set(versions)) > 1:
        raise FormatError(f"{label}: imports opsets {sorted(set(versions))} at once; expected one")
    if opset > newest:
        raise UnsupportedError(f"{label}: opset {opset} is newer than the installed onnx package knows ({newest}): "
                               f"update it, or export the model with opset {TESTED_OPSET}")
    return opset


def _inline(model: onnx.ModelProto, label: str) -> onnx.ModelProto:
    """Functions that the model defines itself become plain nodes."""
    from onnx import inliner
    try:
        return inliner.inline_local_functions(model)
    except Exception as error:  # noqa: BLE001 (a C++ exception without a type of its own)
        raise FormatError(f"{label}: its local functions cannot be inlined: {one_line(error)}") from None


def one_line(text: object) -> str:
    """Names in a file may hold line breaks, messages may not."""
    return " ".join(str(text).split())


def tensor_array(tensor: onnx.TensorProto, source: Source) -> np.ndarray:
    """A tensor's data, from the file or from external data in the model's folder."""
    where = f"{source.label}: tensor {tensor.name!r}"
    try:
        dtype = onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type)
    except KeyError:
        raise FormatError(f"{where} has the unknown type {tensor.data_type}") from None
    if any(d < 0 for d in tensor.dims):
        raise FormatError(f"{where} has the shape {list(tensor.dims)}")
    if tensor.data_location == onnx.TensorProto.EXTERNAL:
        return _external_array(tensor, dtype, source, where)
    try:
        return onnx.numpy_helper.to_array(tensor)
    except Exception as error:  # noqa: BLE001 (damaged data fails in numpy in many ways)
        raise FormatError(f"{where} of shape {list(tensor.dims)} is damaged: {one_line(error)}") from None


def _external_array(tensor: onnx.TensorProto, dtype: np.dtype, source: Source, where: str) -> np.ndarray:
    entries = {entry.key: entry.value for entry in tensor.external_data}
    path = _external_path(entries.get("location", ""), source, where)
    count = math.prod(tensor.dims)
    try:
        offset = int(entries.get("offset") or 0)
        length = int(entries.get("length") or count * dtype.itemsize)
    except ValueError:
        raise FormatError(f"{where}: offset and length of its external data must be numbers") from None
    if tensor.data_type in (onnx.TensorProto.INT4, onnx.TensorProto.UINT4) or dtype.hasobject:
        raise UnsupportedError(f"{where}: external data of type {dtype.name}")
    if length != count * dtype.itemsize or offset < 0:
        raise FormatError(f"{where}: expected {count * dtype.itemsize} bytes for shape {list(tensor.dims)}, found "
                          f"length {length} at offset {offset}")
    try:
        if offset + length > os.stat(path).st_size:
            raise FormatError(f"{where}: bytes {offset} to {offset + length} are past the end of its external data "
                              f"{entries['location']!r} ({os.stat(path).st_size} bytes)")
        return np.fromfile(path, dtype.newbyteorder("<"), count, offset=offset).astype(dtype, copy=False).reshape(
            tuple(tensor.dims))
    except FormatError:
        raise
    except OSError as error:
        raise FileError(f"{where}: its external data cannot be read: {error.strerror or error}") from None


def _external_path(location: str, source: Source, where: str) -> str:
    """A regular file in the model's own folder, also after symbolic links are followed."""
    if source.folder is None:
        raise FileError(f"{where}: its data lies in the external file {location!r}, which bytes and ModelProto cannot "
                        "point to; give the path of the model")
    parts = re.split(r"[/\\]", location)
    if not location or os.path.isabs(location) or parts[0] == "" or ":" in parts[0] or ".." in parts:
        raise FileError(f"{where}: external data {location!r} is not inside the model's folder; refused")
    folder = os.path.realpath(source.folder)
    path = os.path.realpath(os.path.join(folder, location))
    if os.path.commonpath((folder, path)) != folder:
        raise FileError(f"{where}: external data {location!r} is a link out of the model's folder; refused")
    if not os.path.isfile(path):
        raise FileError(f"{where}: external data file {location!r} is missing beside the model")
    return path


def resolve_inputs(source: Source, constants: Iterable[str], overrides: Mapping[str, Iterable[int]],
                   notes: list[str]) -> list[Value]:
    """The model's inputs with static shapes.

    A symbolic first dimension becomes 1 with a note; a symbol that an override fixes has that value everywhere.
    UsageError names every other unknown dimension at once, and overrides that do not fit.
    """
    found = fixed_dims(source, constants, overrides)
    shapes: dict[str, tuple[int, ...]] = {}
    missing: dict[str, tuple[list[str], list[int | str]]] = {}
    for name, (_, dims) in found.items():
        if dims is None:
            missing[name] = (["its rank"], [1, 3, 320, 320])
        else:
            shape = list(dims)
            if shape and isinstance(shape[0], str):
                notes.append(f"input {name!r}: dimension 0 ({_symbol(shape[0])}) becomes 1")
                shape[0] = 1
            unknown = [i for i, d in enumerate(shape) if isinstance(d, str)]
            if unknown:
                missing[name] = ([f"dimension {i} ({_symbol(shape[i])})" for i in unknown], shape)
            shapes[name] = tuple(shape)
    if missing:
        raise UsageError(_missing_text(missing, source))
    return [Value(name, shapes[name], dtype) for name, (dtype, _) in found.items()]


def fixed_dims(source: Source, constants: Iterable[str],
               overrides: Mapping[str, Iterable[int]]) -> dict[str, tuple[str, list[int | str] | None]]:
    """Input -> (dtype, dimensions): what the model declares with what the overrides fix; None for an unknown rank."""
    constants = set(constants)
    infos = [info for info in source.model.graph.input if info.name not in constants]
    declared = {info.name: _declared(info, source) for info in infos}
    if len(declared) != len(infos):
        raise FormatError(f"{source.label}: two inputs have the same name")
    given = _check_overrides(overrides, declared, source)
    symbols = _symbol_values(given, declared, source)
    found = {}
    for name, (dtype, dims) in declared.items():
        if name in given:
            dims = list(given[name])
        elif dims is not None:
            dims = [symbols.get(d, d) if isinstance(d, str) else d for d in dims]
        found[name] = (dtype, dims)
    return found


def _freeze(source: Source, constants: Mapping[str, Any]) -> None:
    """Make inputs initialisers, in place.  UsageError for an unknown name, or a value that does not fit."""
    graph = source.model.graph
    infos = {info.name: info for info in graph.input}
    for name, given in constants.items():
        if name not in infos:
            raise UsageError(f"{source.label}: no input is called {name!r}; its inputs are "
                             f"{', '.join(map(repr, infos)) or 'none'}")
        dtype, dims = _declared(infos[name], source)
        array = _given_array(given, source, name)
        where = f"{source.label}: the constant for input {name!r}"
        if dims is not None and (len(dims) != array.ndim or any(
                d != s for d, s in zip(dims, array.shape, strict=True) if not isinstance(d, str))):
            raise UsageError(f"{where} has the shape {_times(array.shape)}; the model declares {_times(dims)}")
        # A value typed on a command line has no type of its own: floats may be rounded, integers must fit.
        if not array.size:
            array = array.astype(dtype)
        both_integers = array.dtype.kind in "iu" and np.dtype(dtype).kind in "iu"
        if not both_integers and not np.can_cast(array.dtype, dtype, "same_kind"):
            raise UsageError(f"{where} is {array.dtype}; expected {dtype}")
        data = array.astype(dtype)
        if both_integers and not np.array_equal(data, array):
            raise UsageError(f"{where} does not fit into {dtype}")
        graph.input.remove(infos[name])
        for default in [tensor for tensor in graph.initializer if tensor.name == name]:
            graph.initializer.remove(default)
        graph.initializer.append(onnx.numpy_helper.from_array(data, name))


def _given_array(given: Any, source: Source, name: str) -> np.ndarray:
    try:
        return np.asarray(given)
    except ValueError:
        raise UsageError(f"{source.label}: the constant for input {name!r} is no array of numbers") from None


def _declared(info: onnx.ValueInfoProto, source: Source) -> tuple[str, list[int | str] | None]:
    """(dtype, dims); an unknown dimension is its symbol, '?' if it has none; None for an unknown rank."""
    where = f"{source.label}: input {info.name!r}"
    if info.type.WhichOneof("value") != "tensor_type":
        raise UnsupportedError(f"{where} is a {info.type.WhichOneof('value') or 'value without a type'}; "
                               "expected a tensor")
    tensor = info.type.tensor_type
    try:
        dtype = narrow_dtype(onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type).name)
    except KeyError:
        raise FormatError(f"{where} has the unknown type {tensor.elem_type}") from None
    if dtype not in RUNTIME_DTYPES:
        found = onnx.TensorProto.DataType.Name(tensor.elem_type).lower()
        raise UnsupportedError(f"{where} is {found}; expected one of {', '.join(RUNTIME_DTYPES)}, or a float type that "
                               "becomes float32: export the model as float32")
    if not tensor.HasField("shape"):
        return dtype, None
    return dtype, [d.dim_value if d.HasField("dim_value") and d.dim_value >= 0 else d.dim_param or "?"
                   for d in tensor.shape.dim]


def _symbol(dim: str) -> str:
    return "unnamed" if dim == "?" else repr(dim)


def _check_overrides(overrides: Mapping[str, Iterable[int]], declared: dict[str, tuple[str, list[int | str] | None]],
                     source: Source) -> dict[str, tuple[int, ...]]:
    result = {}
    for name, shape in overrides.items():
        if name not in declared:
            raise UsageError(f"{source.label}: no input is called {name!r}; its inputs are "
                             f"{', '.join(map(repr, declared)) or 'none'}")
        try:
            shape = tuple(int(d) for d in shape)
        except (TypeError, ValueError):
            raise UsageError(f"{source.label}: the shape of input {name!r} must be numbers, found {shape!r}") from None
        dims = declared[name][1]
        fits = dims is None or len(dims) == len(shape) and all(
            isinstance(d, str) or d == s for d, s in zip(dims, shape, strict=True))
        if not fits or min(shape, default=1) < 1:
            raise UsageError(f"{source.label}: input {name!r} cannot have the shape {_times(shape)}; the model "
                             f"declares {_times(dims or ())}")
        result[name] = shape
    return result


def _symbol_values(given: dict[str, tuple[int, ...]], declared: dict[str, tuple[str, list[int | str] | None]],
                   source: Source) -> dict[str, int]:
    values: dict[str, int] = {}
    for name, shape in given.items():
        for symbol, size in zip(declared[name][1] or (), shape, strict=False):
            if isinstance(symbol, str) and symbol != "?" and values.setdefault(symbol, size) != size:
                raise UsageError(f"{source.label}: the dimension {symbol!r} is {values[symbol]} in one given input "
                                 f"shape and {size} in another")
    return values


def _times(shape: Iterable[int | str]) -> str:
    return "x".join(str(d) for d in shape) or "scalar"


def _missing_text(missing: dict[str, tuple[list[str], list[int | str]]], source: Source) -> str:
    what = "; ".join(f"input {name!r}: {', '.join(dims)}" for name, (dims, _) in missing.items())
    options = " ".join(f"--input {name}={_times(_suggestion(shape))}" for name, (_, shape) in missing.items())
    return one_line(f"{source.label}: unknown sizes: {what}; give them, for example {options}")


def _suggestion(shape: list[int | str]) -> list[int]:
    """Known dimensions stay; unknown ones of a picture become 3 channels of 320 x 320."""
    picture = {1: 3, 2: 320, 3: 320} if len(shape) == 4 and shape[3] not in (1, 3, 4) else {1: 320, 2: 320}
    return [d if isinstance(d, int) else picture.get(i, 1) for i, d in enumerate(shape)]
