"""The .tnb format: writer and reader against each other, the flatbuffers package, the schema and a stored file."""

from __future__ import annotations

import contextlib
import json
import math
import random
import re
import shutil
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tinynet import format as tnb
from tinynet.converters import _schema, writer
from tinynet.converters._schema import Attribute, Blob, Count, Formula, Metadata, Model, Preprocess
from tinynet.converters._schema import Node as NodeTable
from tinynet.converters._schema import Tensor as TensorTable
from tinynet.errors import FileError, FormatError, LimitError, TinynetError
from tinynet.graph import Graph, LayerQuality, Meta, Node, Quantization, Tensor
from tinynet.graph import Preprocess as Prep
from tinynet.kernels import engine
from tinynet.layouts import hwoi_panels, nbytes, ohwi_panels, ohwi_quads, pack, unpack

SCHEMA = Path(__file__).parents[1] / "tinynet" / "model.fbs"
GOLDEN = Path(__file__).parent / "golden"


def golden_v1_0() -> Graph:
    """What tests/golden/v1.0-tiny.tnb holds.  Frozen with that file: a new version gets a new file and function."""
    g = Graph(inputs=["image", "scale"], outputs=["y", "index"])
    g.meta = Meta(
        name="tiny", task="classify", labels=["zero", "eins", "\u4e8c", "", "zero"], source_format="onnx",
        source_sha256="ab" * 32, source_opset=17, converter="tinynet 0.1.0", source_operators=9, parameters=123,
        macs=2 ** 40, arena_bytes=4096, selftest_seed=2 ** 64 - 1, selftest_index=[0, 2 ** 33],
        selftest_value=[0.1, -math.inf],
        preprocess=Prep("crop", "bgr", (0.485, 1.5, -2.0), (1.0, 2.0, 1e-300), (32, 48), True))
    weights = np.arange(5 * 1 * 2 * 3, dtype="float32").reshape(5, 1, 2, 3)
    up = -np.arange(2 * 1 * 2 * 5, dtype="float32").reshape(2, 1, 2, 5)
    for tensor in (
        Tensor("image", (1, 4, 4, 3)), Tensor("scale", ()),
        Tensor("w", (5, 1, 2, 3), "float32", pack(weights, ohwi_panels(1)), ohwi_panels(1)),
        Tensor("w2", (2, 1, 2, 5), "float32", pack(up, hwoi_panels(1)), hwoi_panels(1)),
        Tensor("b", (5,), "float32", np.linspace(-1, 1, 5, dtype="float32")),
        Tensor("none", (0, 3), "int32", np.zeros((0, 3), "int32")),
        Tensor("flag", (2,), "bool", np.array([True, False])),
        Tensor("big", (1,), "int64", np.array([-2 ** 63])),
        Tensor("bytes", (3,), "uint8", np.array([0, 128, 255], "uint8")),
        Tensor("half", (2,), "float16", np.array([1.5, np.inf], "float16")),
        Tensor("a", (1, 4, 3, 5)), Tensor("y", (1, 8, 3, 2)), Tensor("index", (1,), "int64"),
    ):
        g.add(tensor)
    g.nodes = [
        Node("conv2d", "first", ["image", "w", "b"], ["a"], {
            "strides": (1, 1), "activation": "clip", "alpha": -0.0, "beta": math.inf, "groups": 1, "flag": True,
            "off": False, "texts": ("x", "", "y"), "flags": (True, False), "floats": (0.1, -0.0, 5e-324),
            "lowest": -2 ** 63, "highest": 2 ** 63 - 1, "nothing": (), "empty": "", "zero": 0, "nul": "a\0b"}, 17),
        Node("conv_transpose2d", "", ["a", "w2"], ["y"], {"strides": (1, 1), "groups": 1}),
        Node("custom", "last", ["none", "flag", "big", "bytes", "half", "scale", "y"], ["index"], macs=2 ** 63),
    ]
    return g


def content(graph: Graph) -> dict:
    """Everything in a graph, comparable: constants as bytes, numbers by repr (1, 1.0, True and -0.0 differ)."""
    def text(value):
        return repr(value)

    return {
        "tensors": {name: (t.name, t.shape, t.dtype, t.layout,
                           t.data.tobytes() if hasattr(t.data, "tobytes") else t.data)
                    for name, t in graph.tensors.items()},
        "nodes": [(n.op, n.name, n.inputs, n.outputs, {k: text(v) for k, v in n.attrs.items()}, n.macs)
                  for n in graph.nodes],
        "inputs": graph.inputs, "outputs": graph.outputs, "meta": text(graph.meta),
    }


def through_flatbuffers(data: bytes) -> Graph:
    """The oracle: the same file through the flatbuffers package and the generated classes."""
    def text(value: bytes | None) -> str:
        return (value or b"").decode()

    def many(table, field: str) -> list:
        return [getattr(table, field)(i) for i in range(getattr(table, f"{field}Length")())]

    root = Model.GetRootAs(data)
    assert Model.ModelBufferHasIdentifier(data, 0)
    assert (root.VersionMajor(), root.VersionMinor()) == (1, 2)
    graph = Graph()
    for t in many(root, "Tensors"):
        blob = None if t.Blob() < 0 else root.Blobs(t.Blob())
        raw = None if blob is None else b"" if blob.DataIsNone() else bytes(memoryview(blob.DataAsNumpy()))
        graph.add(Tensor(text(t.Name()), tuple(many(t, "Shape")), tnb.DTYPE_NAMES[t.Dtype()], raw,
                         text(t.Layout()) or "plain"))
    names = list(graph.tensors)
    for n in many(root, "Nodes"):
        attrs = {}
        for a in many(n, "Attributes"):
            kind = tnb.ATTRIBUTE_TYPES[a.Type()]
            attrs[text(a.Name())] = {
                "int": lambda a: a.I(), "bool": lambda a: bool(a.I()), "float": lambda a: a.F(),
                "string": lambda a: text(a.S()), "ints": lambda a: tuple(many(a, "Ints")),
                "bools": lambda a: tuple(map(bool, many(a, "Ints"))), "floats": lambda a: tuple(many(a, "Floats")),
                "strings": lambda a: tuple(map(text, many(a, "Strings")))}[kind](a)
        graph.nodes.append(Node(text(n.Op()), text(n.Name()), [names[i] for i in many(n, "Inputs")],
                                [names[i] for i in many(n, "Outputs")], attrs, n.Macs()))
    graph.inputs = [names[i] for i in many(root, "Inputs")]
    graph.outputs = [names[i] for i in many(root, "Outputs")]
    m = root.Metadata()
    p = m.Preprocess()
    graph.meta = Meta(
        text(m.Name()), text(m.Task()),
        Prep(text(p.Resize()), text(p.Color()), tuple(many(p, "Mean")), tuple(many(p, "Std")),
             tuple(many(p, "Size")), p.Given()),
        [text(v) for v in many(m, "Labels")], text(m.SourceFormat()), text(m.SourceSha256()), m.SourceOpset(),
        text(m.Converter()), m.SourceOperators(), m.Parameters(), m.Macs(), m.ArenaBytes(), m.SelftestSeed(),
        many(m, "SelftestIndex"), many(m, "SelftestValue"))
    q = m.Quantization()
    if q is not None:
        graph.meta.quantization = Quantization(
            text(q.Method()), text(q.Target()), q.Calibrated(), q.Judged(), text(q.Measure()), q.Real(), q.Quantized(),
            q.Sqnr(), q.FloatBytes(), [LayerQuality(text(layer.Name()), text(layer.Kind()), layer.Integer(), layer.Sqnr(),
                                                    text(layer.Reason())) for layer in many(q, "Layers")])
    return graph


def chain(*nodes: Node, constants: dict[str, np.ndarray] | None = None, outputs: tuple[str, ...] = ("y",)) -> Graph:
    """A graph of float vectors: input x, the nodes, what they name."""
    g = Graph(inputs=["x"], outputs=list(outputs), nodes=list(nodes))
    g.add(Tensor("x", (4,)))
    for name, value in (constants or {}).items():
        g.add(Tensor(name, value.shape, str(value.dtype), value))
    for name in [name for node in nodes for name in (*node.inputs, *node.outputs)] + list(outputs):
        if name not in g.tensors:
            g.add(Tensor(name, (4,)))
    return g


def patched(data: bytes, at: int, code: str, value: int | float) -> bytes:
    copy = bytearray(data)
    struct.pack_into("<" + code, copy, at, value)
    return bytes(copy)


def field_at(table, number: int) -> int:
    """Position of a field in the file, from the generated class."""
    place = table._tab.Offset(4 + 2 * number)
    assert place
    return table._tab.Pos + place


def elements_at(table, number: int) -> int:
    """Position of the first element of a vector field."""
    return table._tab.Vector(table._tab.Offset(4 + 2 * number))


# -- round trip ------------------------------------------------------------------------------------------------------

def test_round_trip_of_everything_a_graph_can_hold():
    graph = golden_v1_0()
    assert content(tnb.read(writer.write(graph))) == content(graph)


def quantised() -> Graph:
    """The same with a report of its quantisation."""
    graph = golden_v1_0()
    graph.meta.quantization = Quantization(
        "mse", "arm", 2 ** 32 - 1, 7, "accuracy", 0.9375, 0.5, -3.25, 2 ** 40,
        [LayerQuality("first", "conv2d", True, 41.5), LayerQuality("", "softmax", False, 0.0, "no integer kind"),
         LayerQuality()])
    return graph


def test_the_report_of_a_quantisation_survives():
    graph = quantised()
    data = writer.write(graph)
    assert content(tnb.read(data)) == content(graph) == content(through_flatbuffers(data))
    assert tnb.version(data) == (1, 2)
    graph.meta.quantization = Quantization()
    assert content(tnb.read(writer.write(graph))) == content(graph)


def test_every_byte_of_a_damaged_report_is_refused_or_read():
    data = writer.write(quantised())
    end = data.find(b"no integer kind") + 200
    for at in range(8, end, 3):
        with contextlib.suppress(FormatError):
            tnb.read(patched(data, at, "B", 255 - data[at]))


def test_the_flatbuffers_package_reads_the_same():
    graph = golden_v1_0()
    assert content(through_flatbuffers(writer.write(graph))) == content(graph)


def test_constants_are_views_into_the_buffer():
    data = bytearray(writer.write(golden_v1_0()))
    bias = tnb.read(data).tensors["b"].data
    assert isinstance(bias, memoryview) and bias.readonly
    start = data.find(bytes(bias))
    data[start:start + 4] = struct.pack("<f", 42.0)
    assert unpack(bias, (5,), "float32")[0] == 42.0


def test_packed_weights_unpack_to_the_logical_array():
    tensors = tnb.read(writer.write(golden_v1_0())).tensors
    for name, sign in (("w", 1), ("w2", -1)):
        t = tensors[name]
        logical = unpack(t.data, t.shape, t.dtype, t.layout)
        np.testing.assert_array_equal(logical.reshape(-1), sign * np.arange(t.size, dtype="float32"))


@pytest.mark.parametrize("shape, groups, run", [
    ((5, 3, 2, 7), 1, 14), ((5, 3, 2, 7), 1, 7), ((34, 2, 2, 3), 2, 3), ((6, 1, 1, 8), 3, 8), ((4, 9), 1, 9), ((3, 0), 1, 1)])
def test_weights_in_quads(shape, groups, run):
    """The formula of model.fbs, element by element."""
    layout = ohwi_quads(groups, run)
    w = np.random.default_rng(1).integers(-128, 128, shape).astype(np.int8)
    packed = pack(w, layout)
    assert packed.nbytes == nbytes(shape, "int8", layout)
    assert np.array_equal(unpack(packed, shape, "int8", layout), w)
    rows, columns = shape[0] // groups, w[0].size
    matrix, expected = w.reshape(groups, rows, columns), []
    for g, p, r, q, j, i in np.ndindex(groups, -(-rows // 16), columns // run, -(-run // 4), 16, 4):
        inside = p * 16 + j < rows and 4 * q + i < run
        expected.append(matrix[g, p * 16 + j, r * run + 4 * q + i] if inside else 0)
    assert packed.tolist() == expected


@pytest.mark.parametrize("numbers", ["1", "1:4", "1:7:1", "5:7", "0:6", "1:06", "1:0", "+1:6", ":6", "1:"])
def test_layouts_in_quads_that_do_not_fit(numbers):
    with pytest.raises(FormatError, match="does not fit"):
        nbytes((3, 2, 1, 3), "int8", f"ohwi_quads16:{numbers}")


def test_empty_constants_unpack():
    t = tnb.read(writer.write(golden_v1_0())).tensors["none"]
    assert unpack(t.data, t.shape, t.dtype).shape == (0, 3)


def test_nan_and_mixed_numbers_survive():
    graph = chain(Node("op", "", ["x"], ["y"], {"nan": math.nan, "mixed": [1, 2.5], "np": np.float32(0.1),
                                                "np_int": np.int64(3), "np_bool": np.bool_(True)}))
    attrs = tnb.read(writer.write(graph)).nodes[0].attrs
    assert math.isnan(attrs["nan"]) and attrs["mixed"] == (1.0, 2.5) and attrs["np"] == float(np.float32(0.1))
    assert type(attrs["np_int"]) is int and attrs["np_int"] == 3 and attrs["np_bool"] is True


def test_what_nothing_refers_to_is_left_out():
    graph = chain(Node("op", "", ["x"], ["y"]), constants={"dead": np.ones(1000, "float32")})
    data = writer.write(graph)
    assert set(tnb.read(data).tensors) == {"x", "y"} and len(data) < 1000


def test_writing_what_was_read_gives_the_same_bytes():
    data = writer.write(golden_v1_0())
    assert data == writer.write(golden_v1_0()) == writer.write(tnb.read(data))


names = st.text(st.characters(codec="utf-8"), max_size=8)
scalars = [st.integers(-2 ** 63, 2 ** 63 - 1), st.floats(allow_nan=False), st.booleans(), names]
attributes = st.dictionaries(names.filter(len), st.one_of(*scalars, *(st.lists(s, max_size=4).map(tuple)
                                                                      for s in scalars)), max_size=5)


@st.composite
def graphs(draw) -> Graph:
    """Any network that the format allows; the operators need not exist."""
    g = Graph()
    free = iter(draw(st.lists(names.filter(len), unique=True, min_size=24, max_size=24)))
    shapes = st.lists(st.integers(0, 5), max_size=4).map(tuple)
    dtypes = st.sampled_from(tnb.DTYPE_NAMES)
    for _ in range(draw(st.integers(1, 3))):
        g.inputs.append(g.add(Tensor(next(free), draw(shapes), draw(dtypes))).name)
    unused = []
    for _ in range(draw(st.integers(0, 4))):
        shape, dtype = draw(shapes), draw(dtypes)
        raw = draw(st.binary(min_size=nbytes(shape, dtype), max_size=nbytes(shape, dtype)))
        raw = bytes(b & 1 for b in raw) if dtype == "bool" else raw
        unused.append(g.add(Tensor(next(free), shape, dtype, raw)).name)
    for _ in range(draw(st.integers(0, 5))):
        inputs = draw(st.lists(st.sampled_from(list(g.tensors)), max_size=3)) + unused
        unused = []
        outputs = [g.add(Tensor(next(free), draw(shapes), draw(dtypes))).name for _ in range(draw(st.integers(1, 2)))]
        g.nodes.append(Node(draw(names.filter(len)), draw(names), inputs, outputs, draw(attributes),
                            draw(st.integers(0, 2 ** 64 - 1))))
    g.outputs = draw(st.lists(st.sampled_from(list(g.tensors)), unique=True, min_size=1, max_size=3))
    g.outputs += [name for name in unused if name not in g.outputs]
    g.meta.labels = draw(st.lists(names, max_size=4))
    g.meta.preprocess.mean = tuple(draw(st.lists(st.floats(allow_nan=False), max_size=3)))
    return g


@settings(max_examples=40, deadline=None)
@given(graphs())
def test_any_graph_survives_and_the_oracle_agrees(graph):
    data = writer.write(graph)
    assert content(tnb.read(data)) == content(graph)
    assert content(through_flatbuffers(data)) == content(graph)


# -- what the writer promises ----------------------------------------------------------------------------------------

@pytest.mark.parametrize("extra", range(0, 70, 7))
def test_blobs_are_aligned_in_order_of_use_and_shared(extra):
    rng = np.random.default_rng(extra)
    values = {f"c{i}": rng.normal(size=i * 11 + extra + 1).astype("float32") for i in range(6)}
    values["twin"] = values["c3"].copy()
    values["other_dtype"] = values["c3"].view("int32")
    order = ["c5", "c0", "twin", "c3", "c1", "other_dtype", "c4", "c2"]
    graph = chain(Node("op", "n" * extra, ["x", *order], ["y"]), constants=values)
    data = writer.write(graph)
    root = Model.GetRootAs(data)
    starts = {t.Name().decode(): elements_at(root.Blobs(t.Blob()), 0)
              for t in map(root.Tensors, range(root.TensorsLength())) if t.Blob() >= 0}
    assert all(start % 64 == 0 for start in starts.values())
    assert starts["twin"] == starts["c3"] != starts["other_dtype"] and root.BlobsLength() == 7
    assert [starts[name] for name in order] == sorted(starts[name] for name in order)
    assert content(tnb.read(data)) == content(graph)


def test_overhead_of_a_network_of_mobilenet_size():
    constants, nodes, last = {}, [], "x"
    for i in range(120):
        constants[f"features.{i}.conv.0.weight"] = np.full((160, 1, 1, 160), i, "float32")
        constants[f"features.{i}.conv.0.bias"] = np.full((160,), i, "float32")
        out = "y" if i == 119 else f"/features/features.{i}/conv/conv.0/Conv_output_0"
        nodes.append(Node("conv2d", f"/features/features.{i}/conv/conv.0/Conv", [last, *list(constants)[-2:]], [out], {
            "strides": (2, 2), "pads": (i, 1, 1, 1), "activation": "clip", "beta": 6.0}, i * 10 ** 6))
        last = out
    raw = sum(value.nbytes for value in constants.values())
    overhead = len(writer.write(chain(*nodes, constants=constants))) - raw
    assert overhead <= 0.01 * raw + 8192 < 0.03 * raw + 8192


def test_more_than_two_gigabytes_is_refused_before_the_data_is_touched():
    graph = chain(Node("op", "", ["x", "c"], ["y"]))
    graph.tensors["c"] = Tensor("c", (2 ** 29,), "float32", object())
    with pytest.raises(LimitError, match="at most 2 GiB.*found 2147[0-9]+ bytes"):
        writer.write(graph)


@pytest.mark.parametrize("attrs, words", [
    ({"v": None}, "attribute 'v'"), ({"v": (1, "a")}, "one scalar type"), ({"v": ((1,), (2,))}, "one scalar type"),
    ({"v": 2 ** 63}, "64-bit"), ({"v": (True, 1)}, "one scalar type"), ({"": 1}, "unique and not empty"),
])
def test_attributes_that_no_file_holds(attrs, words):
    with pytest.raises(TinynetError, match=words):
        writer.write(chain(Node("op", "n", ["x"], ["y"], attrs)))


@pytest.mark.parametrize("tensor, words", [
    (Tensor("c", (2,), "float32", np.zeros(2, "float64")), "expected data of float32, found float64"),
    (Tensor("c", (3,), "float32", np.zeros(2, "float32")), "expected 12 bytes"),
    (Tensor("c", (3,), "complex64", b""), "found 'complex64'"),
    (Tensor("c", (2,), "bool", b"\0\2"), "0 and 1"),
    (Tensor("c", (4, 2), "float32", bytes(32), "ohwi_panels16:3"), "does not fit"),
    (Tensor("c", (2 ** 32,), "uint8"), "4294967295"),
    (Tensor("other", (2,)), "listed for tensor 'other'"),
])
def test_tensors_that_no_file_holds(tensor, words):
    graph = chain(Node("op", "n", ["x", "c"], ["y"]))
    graph.tensors["c"] = tensor
    with pytest.raises(TinynetError, match=words):
        writer.write(graph)


@pytest.mark.parametrize("damage, words", [
    (lambda g: setattr(g.meta, "parameters", -1), "Parameters"), (lambda g: setattr(g.nodes[0], "macs", -1), "Macs"),
    (lambda g: g.nodes[0].inputs.append("nowhere"), "no tensor is named 'nowhere'"),
])
def test_numbers_and_names_that_no_file_holds(damage, words):
    graph = golden_v1_0()
    damage(graph)
    with pytest.raises(TinynetError, match=words):
        writer.write(graph)


# -- what the reader checks ------------------------------------------------------------------------------------------

ORDER = {
    "used before computed": (chain(Node("op", "a", ["z"], ["y"]), Node("op", "b", ["x"], ["z"])), "computed before"),
    "computed twice": (chain(Node("op", "a", ["x"], ["y"]), Node("op", "b", ["x"], ["y"])), "no value yet"),
    "input overwritten": (chain(Node("op", "a", ["x"], ["x"])), "computed before|no value yet"),
    "constant overwritten": (chain(Node("op", "a", ["x"], ["c"]), outputs=("c",),
                                   constants={"c": np.zeros(1, "uint8")}), "no value yet"),
    "reads its own output": (chain(Node("op", "a", ["y"], ["y"])), "computed before"),
    "output never computed": (chain(Node("op", "a", ["x"], ["y"]), outputs=("y", "z")), "computed before"),
    "output twice": (chain(Node("op", "a", ["x"], ["y"]), outputs=("y", "y")), "none twice"),
    "no output": (chain(Node("op", "a", ["x"], ["y"]), outputs=()), "at least one graph output"),
    "node without output": (chain(Node("op", "a", ["x"], []), outputs=("x",)), "an output"),
    "node without kind": (chain(Node("", "a", ["x"], ["y"])), "kind"),
}


@pytest.mark.parametrize("case", ORDER)
def test_order_of_nodes(case, monkeypatch):
    graph, words = ORDER[case]
    with pytest.raises(TinynetError, match="cannot be stored"):
        writer.write(graph)
    monkeypatch.setattr(writer, "read", lambda data, name: None)
    with pytest.raises(FormatError, match=words) as caught:
        tnb.read(writer.write(graph), "m.tnb")
    message = str(caught.value)
    assert message.startswith("m.tnb: expected ") and "\n" not in message
    assert message.endswith("; the file is corrupt: convert the model again")


def test_graph_input_listed_twice(monkeypatch):
    monkeypatch.setattr(writer, "read", lambda data, name: None)
    graph = chain(Node("op", "a", ["x"], ["y"]))
    graph.inputs = ["x", "x"]
    with pytest.raises(FormatError, match="no value yet"):
        tnb.read(writer.write(graph))


def patches() -> dict[str, tuple[bytes, str]]:
    data = writer.write(golden_v1_0())
    root = Model.GetRootAs(data)
    tensors = {t.Name().decode(): t for t in map(root.Tensors, range(root.TensorsLength()))}
    w, node, attribute = tensors["w"], root.Nodes(0), root.Nodes(0).Attributes(0)
    flags = root.Nodes(0).Attributes(5)
    blob = root.Blobs(w.Blob())
    index = elements_at(root.Nodes(1), 2)
    shape = elements_at(tensors["image"], 1)
    bools = elements_at(root.Blobs(tensors["flag"].Blob()), 0)
    update, corrupt = "update tinynet", "the file is corrupt: convert the model again$"
    name = data.index(b"none\0")
    first_data = struct.unpack_from("<I", data, field_at(blob, 0))[0]
    return {
        "newer major": (patched(data, field_at(root, 0), "H", 2), f"format version 1, found 2.{tnb.MINOR}: update tinynet"),
        "major 0": (patched(data, field_at(root, 0), "H", 0), f"version 1, found 0.{tnb.MINOR}; " + corrupt),
        "identifier of another version": (patched(data, 7, "B", ord("2")), "TNB2.*update"),
        "another file": (b"\x89PNG\r\n\x1a\n" + data[8:], r"identifier TNB1.*tinynet convert"),
        "unknown dtype": (patched(data, field_at(tensors["big"], 2), "B", 99), update),
        "unknown attribute type": (patched(data, field_at(attribute, 1), "B", 8), update),
        "unknown layout": (data.replace(b"ohwi_panels16:1", b"ohwi_panels99:1"), "tensor 'w': unknown layout.*update"),
        "layout with wrong groups": (data.replace(b"ohwi_panels16:1", b"ohwi_panels16:3"), "does not fit"),
        "layout with odd spelling": (data.replace(b"ohwi_panels16:1", b"ohwi_panels16:+"), "does not fit"),
        "blob too far": (patched(data, field_at(w, 3), "i", 10 ** 6), "a blob number below"),
        "blob negative": (patched(data, field_at(w, 3), "i", -2), "a blob number below"),
        "blob of another size": (patched(data, field_at(w, 3), "i", tensors["b"].Blob()), "384 bytes for tensor 'w'"),
        "blob not aligned": (patched(data, field_at(blob, 0), "I", first_data + 4), "multiples of 64"),
        "bool of 2": (patched(data, bools, "B", 2), "0 and 1"),
        "bool attribute of 2": (patched(data, field_at(flags, 2), "q", 2), "0 or 1"),
        "tensor number too far": (patched(data, index, "I", root.TensorsLength()), "tensor numbers below"),
        "too large a tensor": (patched(data, shape, "Q", 2 ** 63 - 1), "smaller than 2.40 bytes"),
        "too large but for a zero": (patched(patched(data, shape, "Q", 2 ** 63 - 1), shape + 8, "I", 0),
                                     "smaller than 2.40 bytes"),
        "name twice": (data.replace(b"none\0", b"half\0"), "unique and not empty, found 'half'"),
        "no UTF-8": (patched(data, name, "B", 0xff), "UTF-8"),
        "text without end": (patched(data, name + 4, "B", 1), "zero byte"),
        "vector too long": (patched(data, shape - 4, "I", 2 ** 32 - 1), "inside the file"),
        "vtable outside": (patched(data, node._tab.Pos, "i", -2 ** 31), "vtable of a node inside"),
        "vtable of odd size": (patched(data, node._tab.Pos - struct.unpack_from("<i", data, node._tab.Pos)[0], "H", 7),
                               "vtable of a"),
        "root outside": (patched(data, 0, "I", 2 ** 32 - 4), "a model table inside"),
        "root not aligned": (patched(data, 0, "I", struct.unpack_from("<I", data)[0] + 2), "a model table inside"),
        "empty": (b"", "found 0 bytes"),
        "short": (data[:11], "found 11 bytes"),
    }


PATCHES = patches()


@pytest.mark.parametrize("case", PATCHES)
def test_one_thing_wrong(case):
    data, words = PATCHES[case]
    with pytest.raises(FormatError, match=words) as caught:
        tnb.read(data, "m.tnb")
    message = str(caught.value)
    assert message.startswith("m.tnb: ") and "\n" not in message and len(message) < 300


def test_newer_minor_is_read():
    """A later 1.x may set version_minor and add fields at the end of any table."""
    builder = writer._Writer(1000)
    builder.StartObject(4)
    unknown = builder.EndObject()
    text = builder.CreateString("y")
    builder.StartObject(9)
    builder.PrependUOffsetTRelativeSlot(0, text, 0)
    builder.PrependInt64Slot(7, 12345, 0)
    builder.PrependUOffsetTRelativeSlot(8, unknown, 0)
    tensors = builder.offsets([builder.EndObject()])
    output = builder.indices([0])
    builder.StartObject(12)
    builder.PrependUint16Slot(0, 1, 0)
    builder.PrependUint16Slot(1, 7, 0)
    builder.PrependUOffsetTRelativeSlot(2, tensors, 0)
    builder.PrependUOffsetTRelativeSlot(4, output, 0)
    builder.PrependUOffsetTRelativeSlot(5, output, 0)
    builder.PrependFloat64Slot(10, 1.5, 0.0)
    builder.Finish(builder.EndObject(), file_identifier=b"TNB1")
    graph = tnb.read(bytes(builder.Output()))
    assert (graph.inputs, graph.outputs, graph.meta) == (["y"], ["y"], Meta())


def test_shared_parts_cannot_make_a_small_file_large():
    """400 nodes that share one list of 400 attributes would make 160 000 from 40 kB."""
    builder = writer._Writer(100_000)
    shared = builder.offsets([builder.table(Attribute, Name=builder.CreateString(f"a{i}")) for i in range(400)])
    op = builder.CreateString("op")
    listed = [builder.table(TensorTable, Name=builder.CreateString(f"t{i}")) for i in range(401)]
    nodes = [builder.table(NodeTable, Op=op, Inputs=builder.indices([0]), Outputs=builder.indices([i + 1]),
                           Attributes=shared) for i in range(400)]
    root = builder.table(Model, VersionMajor=1, Tensors=builder.offsets(listed), Nodes=builder.offsets(nodes),
                         Inputs=builder.indices([0]), Outputs=builder.indices([1]))
    builder.Finish(root, file_identifier=b"TNB1")
    with pytest.raises(FormatError, match="parts that lie over each other"):
        tnb.read(bytes(builder.Output()))


# -- files -----------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("mapped", [True, False])
def test_open_buffer(tmp_path, mapped):
    path = tmp_path / "m.tnb"
    path.write_bytes(writer.write(golden_v1_0()))
    buffer, name = tnb.open_buffer(path, mmap=mapped)
    assert name == str(path) and (type(buffer) is not bytes) == mapped
    assert content(tnb.read(buffer, name)) == content(golden_v1_0())


def test_open_buffer_takes_bytes():
    data = writer.write(golden_v1_0())
    assert tnb.open_buffer(data) == (data, "<bytes>")


def test_files_that_cannot_be_opened(tmp_path):
    (tmp_path / "empty.tnb").touch()
    with pytest.raises(FormatError, match="empty.tnb: expected .* found 0 bytes"):
        tnb.open_buffer(tmp_path / "empty.tnb")
    for path, words in ((tmp_path / "none.tnb", "No such file"), (tmp_path, "found a folder"),
                        ("/dev/zero", "device or pipe"), ("a\0b", "null")):
        with pytest.raises(FileError, match=words) as caught:
            tnb.open_buffer(path)
        assert not isinstance(caught.value, FormatError) and caught.value.exit_code == 3


def test_golden_file_of_1_0():
    path = GOLDEN / "v1.0-tiny.tnb"
    data = path.read_bytes()
    assert len(data) < 4096
    assert content(tnb.read(data)) == content(golden_v1_0())


@pytest.mark.parametrize("size", [0, 1, 7, 8, 9, 127, 128, 129, 136, 4096, 40003])
@pytest.mark.parametrize("threads", [1, 3])
def test_checksum_is_the_sum_of_words(size, threads):
    data = random.Random(size).randbytes(size + 3)
    for start in (0, 3):                                # of no alignment, too
        part = data[start:start + size]
        words = (int.from_bytes(part[i:i + 8], "little") for i in range(0, size, 8))
        assert engine.sum_words(memoryview(data)[start:start + size], threads) == sum(words) % 2 ** 64


def test_reading_imports_neither_numpy_nor_flatbuffers():
    code = ("import sys, tinynet.format as f; g = f.read(*f.open_buffer(sys.argv[1])); assert g.nodes\n"
            "assert not {'numpy', 'flatbuffers', 'tinynet.ops'} & set(sys.modules)")
    subprocess.run([sys.executable, "-c", code, str(GOLDEN / "v1.0-tiny.tnb")], check=True)


# -- schema ----------------------------------------------------------------------------------------------------------

TABLES = {"Blob": (Blob, tnb.BLOB), "Tensor": (TensorTable, tnb.TENSOR), "Attribute": (Attribute, tnb.ATTRIBUTE),
          "Node": (NodeTable, tnb.NODE), "Preprocess": (Preprocess, tnb.PREPROCESS),
          "Metadata": (Metadata, tnb.METADATA), "Formula": (Formula, tnb.FORMULA), "Count": (Count, tnb.COUNT),
          "Model": (Model, tnb.MODEL)}
SCALARS = {"uint16": "H", "uint32": "I", "int32": "i", "int64": "q", "uint64": "Q", "double": "d", "bool": "?",
           "DType": "B", "AttributeType": "B", "Stage": "B"}


@pytest.mark.parametrize("table", TABLES)
def test_schema_reader_and_generated_code_agree(table):
    body = re.search(rf"^table {table} \{{(.*?)^\}}", SCHEMA.read_text(), re.S | re.M).group(1)
    fields = re.findall(r"^\s*(\w+):\s*(\[?\w+\]?)", body, re.M)
    generated, reader = TABLES[table]
    assert generated.__name__ == table
    assert reader.fields == "".join(SCALARS.get(kind, "o") for _, kind in fields)
    source = Path(_schema.__file__).read_text()
    added = re.findall(rf"^def {table}Add(\w+)\(.*?Slot\((\d+),", source, re.M)
    assert added == [("".join(part.title() for part in name.split("_")), str(i))
                     for i, (name, _) in enumerate(fields)]


def test_enums_of_schema_and_reader_agree():
    text = SCHEMA.read_text()
    for enum, known in (("DType", tnb.DTYPE_NAMES), ("AttributeType", tnb.ATTRIBUTE_TYPES)):
        body = re.search(rf"enum {enum} : ubyte \{{(.*?)\}}", text).group(1)
        values = [(name.lower(), int(number)) for name, number in re.findall(r"(\w+) = (\d+)", body)]
        assert values == [(name, i) for i, name in enumerate(known)]


@pytest.mark.skipif(not shutil.which("flatc"), reason="flatc is not installed")
def test_stock_flatc_reads_the_file(tmp_path):
    subprocess.run(["flatc", "--json", "--strict-json", "--raw-binary", "-o", str(tmp_path), str(SCHEMA), "--",
                    str(GOLDEN / "v1.0-tiny.tnb")], check=True)
    text = (tmp_path / "v1.0-tiny.json").read_text()
    model = json.loads(re.sub(r"(?<=[ \[])-?inf\b", "null", text))
    assert [t["name"] for t in model["tensors"]] == list(tnb.read((GOLDEN / "v1.0-tiny.tnb").read_bytes()).tensors)
    assert model["metadata"]["labels"] == golden_v1_0().meta.labels
