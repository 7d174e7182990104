"""Operators with weights, and the normalisations."""

from __future__ import annotations

import numpy as np
import pytest

from tinynet import reference
from tinynet.errors import FormatError


@pytest.mark.parametrize("opset", [7, 11, 17, 22])
def test_conv_plain_with_and_without_bias(lab, opset):
    x, w = lab.normal(2, 3, 9, 7), lab.normal(5, 3, 3, 2, seed=1)
    graph = lab.op("Conv", x, w, lab.normal(5, seed=2), opset=opset)
    assert lab.kinds(graph) == ["transpose", "conv2d", "transpose"]
    assert [node.name for node in graph.nodes] == ["Conv_0/to_nhwc", "Conv_0", "Conv_0/to_nchw"]
    lab.op("Conv", x, w, opset=opset)


@pytest.mark.parametrize("attributes", [
    {"pads": [1, 0, 2, 3]}, {"strides": [2, 3]}, {"dilations": [2, 3], "pads": [2, 3, 2, 3]},
    {"auto_pad": "SAME_UPPER", "strides": [2, 2]}, {"auto_pad": "SAME_LOWER", "strides": [2, 2]},
    {"auto_pad": "VALID", "strides": [3, 2]}, {"kernel_shape": [4, 3], "pads": [3, 2, 0, 0]},
])
def test_conv_geometry(lab, attributes):
    lab.op("Conv", lab.normal(1, 4, 11, 10), lab.normal(6, 4, 4, 3, seed=1), lab.normal(6, seed=2), **attributes)


@pytest.mark.parametrize("auto_pad,pads", [("SAME_UPPER", [2, 2, 3, 2]), ("SAME_LOWER", [3, 2, 2, 2])])
def test_conv_same_with_dilations(lab, auto_pad, pads):
    """onnxruntime refuses this; the same with explicit pads it does not."""
    x, w = lab.normal(1, 2, 12, 10), lab.normal(3, 2, 2, 3, seed=1)
    same, feeds = lab.one("Conv", x, w, auto_pad=auto_pad, dilations=[5, 2])
    explicit, _ = lab.one("Conv", x, w, pads=pads, dilations=[5, 2])
    graph = lab.import_(same)
    np.testing.assert_allclose(reference.run(graph, feeds)["y"], lab.ort_run(explicit, feeds)[0], atol=1e-5)


def test_conv_same_with_stride_larger_than_kernel(lab):
    lab.op("Conv", lab.normal(1, 2, 5, 4), lab.normal(3, 2, 1, 1, seed=1), auto_pad="SAME_UPPER", strides=[3, 3])


@pytest.mark.parametrize("channels,outputs,group,kind", [
    (6, 6, 6, "depthwise_conv2d"), (6, 12, 6, "conv2d"), (6, 9, 3, "conv2d"), (4, 2, 2, "conv2d"), (1, 1, 1, "conv2d")])
def test_conv_groups(lab, channels, outputs, group, kind):
    graph = lab.op("Conv", lab.normal(1, channels, 8, 7), lab.normal(outputs, channels // group, 3, 2, seed=1),
                   lab.normal(outputs, seed=2), group=group, pads=[1, 0, 1, 1], strides=[2, 1], dilations=[1, 2])
    assert kind in lab.kinds(graph)


@pytest.mark.parametrize("attributes", [{}, {"pads": [2, 1]}, {"strides": [2], "dilations": [2]},
                                        {"auto_pad": "SAME_LOWER", "strides": [2]}, {"group": 2}])
def test_conv_1d(lab, attributes):
    group = attributes.get("group", 1)
    x, w = lab.normal(2, 4, 12), lab.normal(6, 4 // group, 4, seed=1)
    graph = lab.op("Conv", x, w, lab.normal(6, seed=2), **attributes)
    assert lab.kinds(graph) == ["transpose", "reshape", "conv2d", "reshape", "transpose"]


def test_conv_shared_weights_are_held_once(lab):
    x, w = lab.normal(1, 3, 6, 6), lab.normal(3, 3, 3, 3, seed=1)
    nodes = [lab.node("Conv", ["x", "w"], ["a"], pads=[1] * 4), lab.node("Conv", ["a", "w"], ["y"])]
    graph = lab.check(lab.model(nodes, {"x": x}, constants={"w": w}), {"x": x})
    assert sum(t.size == w.size for t in graph.tensors.values() if t.is_constant) == 1


def test_conv_refusals(lab):
    x, w = lab.normal(1, 2, 5, 5), lab.normal(3, 2, 3, 3)
    assert "negative pads" in lab.reason("Conv", x, w, pads=[-1, 0, 0, 0])


@pytest.mark.parametrize("w_shape,b_shape,attributes,match", [
    ((3, 4, 3, 3), (3,), {}, "does not fit 2 channels"), ((3, 2, 3, 3), (4,), {}, "expected \\[3\\]"),
    ((3, 2, 3, 3), (3,), {"kernel_shape": [2, 2]}, "kernel_shape"),
    ((3, 2, 3, 3), (3,), {"strides": [0, 1]}, "strides"),
    ((3, 2, 3, 3), (3,), {"group": 2}, "group 2"), ((3, 2, 3), (3,), {}, "rank"),
    ((3, 2, 3, 3), (3,), {"pads": [1, 1]}, "pads must hold 4"), ((3, 2, 3, 3), (3,), {"auto_pad": "X"}, "auto_pad")])
def test_conv_contradictions_are_format_errors(lab, w_shape, b_shape, attributes, match):
    model, _ = lab.one("Conv", lab.normal(1, 2, 5, 5), lab.normal(*w_shape), lab.normal(*b_shape), **attributes)
    with pytest.raises(FormatError, match=match) as caught:
        lab.import_(model)
    assert "node 'Conv_0' (Conv)" in str(caught.value)


@pytest.mark.parametrize("opset", [7, 11, 17, 22])
@pytest.mark.parametrize("attributes", [
    {}, {"strides": [2, 3]}, {"strides": [2, 2], "pads": [1, 0, 2, 1], "output_padding": [1, 0]},
    {"dilations": [2, 1], "pads": [1, 1, 1, 1]}, {"group": 2, "strides": [2, 2]}])
def test_conv_transpose(lab, attributes, opset):
    graph = lab.op("ConvTranspose", lab.normal(1, 4, 5, 4), lab.normal(4, 3, 3, 4, seed=1),
                   lab.normal(3 * attributes.get("group", 1), seed=2), opset=opset, **attributes)
    assert lab.kinds(graph) == ["transpose", "conv_transpose2d", "transpose"]


@pytest.mark.parametrize("auto_pad", ["SAME_UPPER", "SAME_LOWER", "VALID"])
@pytest.mark.parametrize("kernel", [2, 3, 4])
def test_conv_transpose_auto_pad(lab, auto_pad, kernel):
    lab.op("ConvTranspose", lab.normal(1, 2, 5, 4), lab.normal(2, 3, kernel, kernel, seed=1), auto_pad=auto_pad,
           strides=[2, 2])


@pytest.mark.parametrize("auto_pad", ["NOTSET", "SAME_UPPER", "SAME_LOWER"])
@pytest.mark.parametrize("shape", [[10, 8], [9, 8], [11, 9], [12, 10]])
def test_conv_transpose_output_shape(lab, auto_pad, shape):
    lab.op("ConvTranspose", lab.normal(1, 2, 5, 4), lab.normal(2, 3, 3, 3, seed=1), lab.normal(3), auto_pad=auto_pad,
           strides=[2, 2], output_shape=shape)


@pytest.mark.parametrize("attributes", [{}, {"strides": [2], "pads": [1, 2]}, {"strides": [3], "output_padding": [1]}])
def test_conv_transpose_1d(lab, attributes):
    lab.op("ConvTranspose", lab.normal(1, 4, 6), lab.normal(4, 3, 4, seed=1), lab.normal(3, seed=2), **attributes)


@pytest.mark.parametrize("size", [1, 3, 5])
def test_lrn(lab, size):
    lab.op("LRN", lab.normal(2, 6, 3, 4), size=size, alpha=0.3, beta=0.6, bias=1.5)


def test_lrn_defaults(lab):
    lab.op("LRN", 30 * lab.normal(1, 7, 3, 4), size=5, opset=7)


def test_lrn_even_size(lab):
    """onnxruntime refuses this; the window reaches further towards the end (LRN-13)."""
    x = lab.normal(1, 6, 2, 2)
    model, feeds = lab.one("LRN", x, size=2, alpha=0.3, beta=0.6, bias=1.5)
    squares = np.concatenate([x ** 2, np.zeros((1, 1, 2, 2), np.float32)], axis=1)
    expected = x / (1.5 + 0.3 / 2 * (squares[:, :-1] + squares[:, 1:])) ** 0.6
    np.testing.assert_allclose(reference.run(lab.import_(model), feeds)["y"], expected, rtol=1e-5)
