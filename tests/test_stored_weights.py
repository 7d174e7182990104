"""Weights that the file holds as float16 or int8: `convert --weights`."""

from __future__ import annotations

import json

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper

import tinynet
from tinynet import format as tnb
from tinynet import layouts, reference
from tinynet.__main__ import main
from tinynet.converters import convert_bytes
from tinynet.converters.passes import store_weights
from tinynet.converters.writer import write
from tinynet.errors import FormatError, LimitError, UnsupportedError, UsageError
from tinynet.graph import Graph, Node, Tensor
from tinynet.kernels import engine

RNG = np.random.default_rng(7)
ORDERS = [("plain", (3, 5, 7)), ("plain", (4, 0)), ("plain", (0, 4)), ("plain", ()), ("ohwi_panels16:1", (33, 3, 1, 5)),
          ("ohwi_panels16:3", (33, 3, 1, 5)), ("ohwi_panels16:1", (7, 9)), ("hwoi_panels16:2", (2, 3, 10, 4)),
          ("ohwi_panels16:1", (0, 4)), ("ohwi_panels16:1", (4, 0))]


@pytest.mark.parametrize("order, shape", ORDERS)
@pytest.mark.parametrize("storage", layouts.STORED)
def test_round_trip(storage, order, shape):
    array = (RNG.standard_normal(shape) * RNG.uniform(0.01, 100, shape[-1:])).astype(np.float32)
    layout = f"{storage}/{order}"
    data = layouts.pack(array, layout)
    assert data.nbytes == layouts.nbytes(shape, "float32", layout)
    found = layouts.unpack(memoryview(data), shape, "float32", layout)
    assert found.shape == shape and found.dtype == np.float32
    if storage == "float16":
        np.testing.assert_array_equal(found, array.astype(np.float16))
    elif array.size:
        # Channels: the last axis of a plain array; rows of hwoi are (ky, kx, o), of ohwi o.
        axes = range(array.ndim)
        rows = tuple(axes[:-1] if order == "plain" else axes[3:] if order.startswith("hwoi") else axes[1:])
        most = np.abs(array).max(rows, keepdims=True)
        assert (np.abs(found - array) <= most / 253).all()
        assert (np.abs(found).max(rows, keepdims=True) >= most * np.float32(0.9999999)).all()


def test_every_half_is_widened_exactly():
    halfs = np.arange(65536, dtype=np.uint16)
    for first, last in [(0, 65536), (3, 40), (31744, 31745), (5, 5)]:
        part = halfs[first:last]
        wide = np.empty(len(part), np.float32)
        engine.expand_weights(part.view(np.uint8), wide.view(np.uint8), 0, len(part), 2)
        expected = part.view(np.float16).astype(np.float32)
        np.testing.assert_array_equal(np.isnan(wide), np.isnan(expected))
        number = ~np.isnan(expected)
        np.testing.assert_array_equal(wide.view(np.uint32)[number], expected.view(np.uint32)[number])


@settings(max_examples=30, deadline=None)
@given(panels=st.integers(1, 5), columns=st.integers(0, 70), threads=st.integers(1, 3), seed=st.integers(0, 9))
def test_panels_are_scaled_as_the_layout_says(panels, columns, threads, seed):
    rng = np.random.default_rng(seed)
    shape = (panels * 16 - int(rng.integers(0, 16)), columns)
    raw = np.concatenate([rng.standard_normal(panels * 16).astype(np.float32).view(np.uint8),
                          rng.integers(0, 256, panels * columns * 16).astype(np.uint8)])
    wide = np.empty(panels * columns * 16, np.float32)
    engine.expand_weights(raw, wide.view(np.uint8), panels, columns, threads)
    np.testing.assert_array_equal(wide, layouts.expand(raw, shape, "int8/ohwi_panels16:1"))
    with pytest.raises(ValueError, match="bytes"):
        engine.expand_weights(raw[1:], wide.view(np.uint8), panels, columns, threads)


def tensor(name, shape):
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)


def network(batch=1, size=18):
    """Every layer kind with weights, among them a convolution through Winograd, and a table that is gathered from."""
    shapes = {"conv": (32, 16, 3, 3), "wide": (64, 32, 3, 3), "deep": (64, 1, 5, 5), "up": (64, 12, 2, 2), "dense": (300, 40),
              "r_w": (1, 4 * 24, 40), "r_r": (1, 4 * 24, 24), "table": (30, 40), "first": (16, 3, 3, 3)}
    weights = {n: (RNG.standard_normal(s) / np.sqrt(np.prod(s[1:]))).astype(np.float32) for n, s in shapes.items()}
    nodes = [helper.make_node("Conv", ["x", "first"], ["a0"], pads=[1, 1, 1, 1], strides=[2, 2]),
             helper.make_node("Conv", ["a0", "conv"], ["a"], pads=[1, 1, 1, 1]),
             helper.make_node("Relu", ["a"], ["a1"]),
             helper.make_node("Conv", ["a1", "wide"], ["b"], pads=[1, 1, 1, 1]),
             helper.make_node("Conv", ["b", "deep"], ["c"], pads=[2, 2, 2, 2], group=64),
             helper.make_node("ConvTranspose", ["c", "up"], ["d"], strides=[2, 2]),
             helper.make_node("AveragePool", ["d"], ["e"], kernel_shape=[3, 3], strides=[3, 3]),
             helper.make_node("ReduceMean", ["e"], ["m"], axes=[2, 3], keepdims=0),
             helper.make_node("Concat", ["m"] * 25, ["wide_m"], axis=1),
             helper.make_node("Gemm", ["wide_m", "dense"], ["f"]),
             helper.make_node("Gather", ["table", "indices"], ["g"]),
             helper.make_node("Add", ["f", "g"], ["h"]),
             helper.make_node("LSTM", ["h", "r_w", "r_r"], ["", "y"], hidden_size=24)]
    inputs = [tensor("x", [batch, 3, size, size]), helper.make_tensor_value_info("indices", TensorProto.INT64, [2, 1])]
    graph = helper.make_graph(nodes, "net", inputs, [tensor("y", None), tensor("b", None)],
                              [onnx.numpy_helper.from_array(a, n) for n, a in weights.items()])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=9)


SAME = network()


def given_inputs(batch, size):
    return {"x": RNG.standard_normal((batch, 3, size, size), dtype=np.float32), "indices": np.array([[3], [7]])}


@pytest.mark.parametrize("winograd", [True, False])
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("weights", ["fp16", "int8"])
def test_a_network_computes_with_the_rounded_weights(weights, threads, winograd):
    source = network(size=40)
    plain, _ = convert_bytes(source)
    small, report = convert_bytes(source, weights=weights)
    assert len(small) < (0.56 if weights == "fp16" else 0.35) * len(plain)
    graph = tnb.read(small)
    storages = {layouts.stored(t.layout)[0] for t in graph.tensors.values() if t.is_constant}
    assert storages == {"fp16": {"", "float16"}, "int8": {"", "float16", "int8"}}[weights]
    assert any(note.startswith("weights in the file: ") for note in report.notes)
    for t in graph.tensors.values():
        if t.is_constant:
            t.data, t.layout = layouts.unpack(t.data, t.shape, t.dtype, t.layout), "plain"
    x = given_inputs(1, 40)
    with tinynet.load(small, threads=threads, winograd=winograd) as model, tinynet.load(plain) as exact:
        found, loose = model.run(x), exact.run(x)
        assert winograd == any("winograd" in s.kernel for s in model.plan.steps)
    with tinynet.load(write(graph), threads=threads, winograd=winograd) as model:
        expected = model.run(x)
    for name in found:
        np.testing.assert_array_equal(found[name], expected[name])
        noise = np.abs(found[name] - loose[name]).max() / np.abs(loose[name]).max()
        assert 0 < noise < (0.005 if weights == "fp16" else 0.1)


def test_reference_reads_them_too():
    graph = tnb.read(convert_bytes(network(), weights="int8")[0])
    x = given_inputs(1, 18)
    expected = reference.run(graph, x)
    with tinynet.load(write(graph)) as model:
        found = model.run(x)
    for name in found:
        np.testing.assert_allclose(found[name], expected[name], atol=2e-5)


def stored(array, storage, kind="dense", readers=1):
    """The layout of a dense layer's weights after store_weights, and the counts."""
    graph = Graph(inputs=["x"], outputs=["y0"])
    graph.add(Tensor("x", (1, array.shape[-1])))
    graph.add(Tensor("w", array.shape, "float32", array))
    graph.add(Tensor("b", array.shape[:1], "float32", np.zeros(array.shape[:1], np.float32)))
    for i in range(readers):
        graph.add(Tensor(f"y{i}", (1, array.shape[0])))
        graph.nodes.append(Node("dense", f"n{i}", ["x", "w", "b"], [f"y{i}"]))
    if kind == "add":
        graph.add(Tensor("z", array.shape))
        graph.nodes.append(Node("add", "sum", ["w", "w"], ["z"]))
    return store_weights.apply(graph, storage), graph.tensors["w"].layout


def test_what_is_small_or_does_not_fit_stays():
    array = RNG.standard_normal((40, 50)).astype(np.float32)
    assert stored(array, "float16") == ({"float32": 40, "float16": 2000, "int8": 0}, "float16/plain")
    assert stored(array, "int8") == ({"float32": 40, "float16": 0, "int8": 2000}, "int8/plain")
    assert stored(array, "int8", "add")[1] == "float16/plain"
    assert stored(array[:20], "int8")[1] == "plain"
    assert stored(array * 1e5, "float16")[1] == "plain" and stored(array * 1e5, "int8")[1] == "int8/plain"
    assert stored(array * 1e-6, "float16")[1] == "plain" and stored(array * 1e-6, "int8")[1] == "int8/plain"
    array[3, 4] = np.inf
    assert stored(array, "int8")[1] == stored(array, "float16")[1] == "plain"


def test_a_channel_of_zeros_and_one_of_the_smallest_numbers():
    array = np.zeros((40, 50), np.float32)
    array[:, 0], array[:, 1] = np.linspace(-1, 1, 40), 1e-45
    found = layouts.unpack(layouts.pack(array, "int8/plain"), (40, 50), "float32", "int8/plain")
    assert not found[:, 2:].any() and np.abs(found[:, 0] - array[:, 0]).max() < 1 / 253 and not found[:, 1].any()


def test_a_file_is_shrunk_again_and_nothing_changes():
    graph = tnb.read(convert_bytes(SAME)[0])
    store_weights.apply(graph, "int8")
    once = write(graph)
    with tinynet.load(once) as a, tinynet.load(convert_bytes(SAME, weights="int8")[0]) as b:
        x = given_inputs(1, 18)
        for found, expected in zip(a.run(x).values(), b.run(x).values(), strict=True):
            np.testing.assert_array_equal(found, expected)
    assert store_weights.apply(graph, "float16")["int8"] > 0 and write(graph) == once


def test_open_sizes(tmp_path):
    with tinynet.load(convert_bytes(network("n", "s"), weights="int8")[0]) as model:
        for n, s in ((1, 20), (2, 26)):
            assert [o.shape[0] for o in model.run(given_inputs(n, s)).values()][1] == n


def test_layers_that_are_chosen_at_run_time_are_refused():
    node = helper.make_node("Conv", ["x", "w"], ["y"], auto_pad="SAME_UPPER", strides=[2, 2])
    weights = onnx.numpy_helper.from_array(np.ones((40, 3, 3, 3), np.float32), "w")
    graph = helper.make_graph([node], "net", [tensor("x", [1, 3, "h", "w"])], [tensor("y", None)], [weights])
    source = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=9)
    with pytest.raises(UnsupportedError, match="cannot be stored as int8 .* --input") as found:
        convert_bytes(source, weights="int8")
    assert "\n" not in str(found.value)
    convert_bytes(source, weights="int8", inputs={"x": (1, 3, 9, 9)})


def test_usage():
    with pytest.raises(UsageError, match="weights: expected one of fp16, int8, found 'int4'"):
        convert_bytes(network(), weights="int4")
    for other in ({"winograd": True}, {"int8": np.zeros((1, 3, 18, 18), np.float32)}):
        with pytest.raises(UsageError, match="choose one"):
            convert_bytes(network(), weights="int8", **other)


@pytest.mark.parametrize("layout, message", [
    ("float16/ohwi_panels99:1", "unknown layout"), ("float16/float16/plain", "does not fit"),
    ("float15/plain", "unknown layout"), ("int8/hwoi_panels16:1", "does not fit")])
def test_other_layouts_are_refused(layout, message):
    with pytest.raises(FormatError, match=message):
        layouts.nbytes((4, 4), "float32", layout)
    with pytest.raises(FormatError, match="does not fit a constant of int32"):
        layouts.nbytes((4, 4), "int32", "int8/plain")


def test_command_line(capsys, tmp_path):
    def run(*argv):
        code = main([str(word) for word in argv])
        return (code, *capsys.readouterr())

    onnx.save(network(), tmp_path / "net.onnx")
    code, _, err = run("convert", tmp_path / "net.onnx", "-o", tmp_path / "net.tnb", "--weights", "int8")
    assert code == 0 and "weights in the file: " in err
    code, out, _ = run("inspect", tmp_path / "net.tnb")
    assert code == 0 and ", 1,200 as float16" in out
    code, out, _ = run("inspect", tmp_path / "net.tnb", "--json")
    described = json.loads(out)
    assert described["stored"]["float16"] == 1200 and described["stored"]["int8"] > 40000
    dense = next(layer for layer in described["layers"] if layer["kind"] == "conv2d" and layer["parameters"] > 18000)
    assert dense["weight_bytes"] == 64 * 9 * 32 + 64 * 4 + 64 * 4


def test_max_ram_counts_what_is_expanded():
    data = convert_bytes(network(), weights="int8")[0]
    with tinynet.load(data) as model:
        need = model.memory.constant_bytes
    assert need > 2 * len(data)
    with pytest.raises(LimitError):
        tinynet.load(data, max_ram=need // 2)
