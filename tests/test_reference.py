from __future__ import annotations

import numpy as np
import pytest

from tinynet import layouts, reference
from tinynet.errors import FormatError, InputError, UnsupportedOpError
from tinynet.graph import Graph, Node, Tensor


def normal(seed, *shape):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


@pytest.fixture
def graph():
    """x -> conv2d -> relu -> y, with the convolution's packed weights, and the sum of its output with itself."""
    g = Graph(inputs=["x"], outputs=["y", "twice"])
    w = normal(1, 6, 3, 3, 2)
    layout = layouts.ohwi_panels(2)
    g.add(Tensor("x", (1, 5, 6, 4)))
    g.add(Tensor("w", w.shape, data=layouts.pack(w, layout), layout=layout))
    g.add(Tensor("b", (6,), data=normal(2, 6).tobytes()))
    for name in ("c", "y", "twice"):
        g.add(Tensor(name, (1, 3, 4, 6)))
    g.nodes = [Node("conv2d", "conv_1", ["x", "w", "b"], ["c"], {"groups": 2}),
               Node("relu", "relu_1", ["c"], ["y"]), Node("add", "add_1", ["c", "c"], ["twice"])]
    return g


def test_runs_packed_constants_and_buffers(graph):
    x = normal(3, 1, 5, 6, 4)
    kept = reference.run(graph, {"x": x}, keep=True)
    assert set(kept) == set(graph.tensors)
    assert np.array_equal(kept["w"], normal(1, 6, 3, 3, 2)) and np.array_equal(kept["b"], normal(2, 6))
    # One output element by its definition: row 2, column 1, channel 4 (group 1, which reads channels 2 and 3).
    expected = (x[0, 2:5, 1:4, 2:].astype(np.float64) * kept["w"][4]).sum() + kept["b"][4]
    assert kept["c"][0, 2, 1, 4] == pytest.approx(expected, abs=1e-5)
    outputs = reference.run(graph, {"x": x})
    assert list(outputs) == ["y", "twice"]
    assert np.array_equal(outputs["y"], np.maximum(kept["c"], 0))
    assert np.array_equal(outputs["twice"], kept["c"] * 2)


def test_outputs_are_the_callers(graph):
    graph.nodes, graph.outputs = [Node("reshape", "r", ["x"], ["flat"], {"shape": (120,)})], ["flat", "x", "b"]
    graph.add(Tensor("flat", (120,)))
    x = normal(3, 1, 5, 6, 4)
    before = x.copy()
    for array in reference.run(graph, {"x": x}).values():
        array[...] = 9
    assert np.array_equal(x, before)
    assert np.array_equal(reference.run(graph, {"x": x})["b"], normal(2, 6))


@pytest.mark.parametrize("inputs, text", [
    ({}, r"input 'x': expected float32 \[1, 5, 6, 4\], found nothing"),
    ({"x": np.zeros((1, 5, 6, 4))}, r"input 'x': expected float32 .*, found float64 \[1, 5, 6, 4\]"),
    ({"x": np.zeros((5, 6, 4), np.float32)}, r"input 'x': .*found float32 \[5, 6, 4\]"),
    ({"x": np.zeros((1, 5, 6, 4), np.float32), "z": 1}, "input 'z': expected only x"),
])
def test_refuses_wrong_inputs(graph, inputs, text):
    with pytest.raises(InputError, match=text):
        reference.run(graph, inputs)


def change(**to):
    def apply(graph):
        for name, value in to.items():
            setattr(graph.nodes[0], name, value)
    return apply


def declare(name, **to):
    def apply(graph):
        for key, value in to.items():
            setattr(graph.tensors[name], key, value)
    return apply


@pytest.mark.parametrize("spoil, error, text", [
    (change(op="conv9d"), UnsupportedOpError, r"node 'conv_1' \(conv9d\): layer kind 'conv9d' is unknown"),
    (change(attrs={"stride": 1}), FormatError, r"node 'conv_1' \(conv2d\): conv2d: unknown attribute 'stride'"),
    (change(attrs={}), FormatError, r"node 'conv_1' \(conv2d\): expected w of 4 input channels per group, found"),
    (change(inputs=["x", "w"]), FormatError, r"node 'conv_1' \(conv2d\): expected 3 to 4 inputs, found 2"),
    (change(inputs=["x", "w", "y"]), FormatError, r"node 'conv_1' \(conv2d\): expected tensor 'y' to be an input"),
    (change(inputs=["x", "w", "q"]), FormatError, "found no such tensor"),
    (change(outputs=["c", "y"]), FormatError, "expected 1 outputs, found 2"),
    (change(outputs=["q"]), FormatError, r"node 'conv_1' \(conv2d\): expected output 'q' among the tensors"),
    (declare("c", shape=(1, 3, 4, 7)), FormatError,
     r"node 'conv_1' \(conv2d\): expected output 'c' of float32 \[1, 3, 4, 6\], found float32 \[1, 3, 4, 7\]"),
    (declare("c", dtype="int64"), FormatError, r"found int64 \[1, 3, 4, 6\] in the graph"),
    (declare("b", data=b"123"), FormatError, r"constant 'b': expected 24 bytes, found 3"),
    (declare("w", layout="plain"), FormatError, "constant 'w': expected 432 bytes, found"),
    (declare("w", layout="nchw"), FormatError, "unknown layout 'nchw'"),
])
def test_errors_name_the_node(graph, spoil, error, text):
    spoil(graph)
    with pytest.raises(error, match=text) as caught:
        reference.run(graph, {"x": normal(3, 1, 5, 6, 4)})
    assert "\n" not in str(caught.value)


def test_an_output_that_nothing_computes(graph):
    graph.nodes.pop()
    with pytest.raises(FormatError, match="output: expected tensor 'twice' to be an input"):
        reference.run(graph, {"x": normal(3, 1, 5, 6, 4)})
