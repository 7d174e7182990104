"""prepare and equalize: the same function, spelled for the quantiser."""

from __future__ import annotations

import numpy as np
import pytest

from tinynet import reference
from tinynet.converters.passes.check import check
from tinynet.converters.quantize import calibrate, data, equalize, prepare
from tinynet.graph import Node, Tensor


def outputs(graph, x):
    return list(reference.run(graph, {graph.inputs[0]: x}).values())


def statistics(graph, arrays):
    return calibrate.calibrate(graph, data.Samples([lambda x=x: {"x": x} for x in arrays]), lambda *_: None)


def test_prepared_has_one_linear_layer_per_node(residual):
    n, y = residual
    graph = n.graph(y)
    assert any(node.op == "conv2d" and len(node.inputs) == 4 for node in graph.nodes)
    before = [(node.op, dict(node.attrs), list(node.inputs)) for node in graph.nodes]
    plain = prepare.prepared(graph)
    check(plain)
    assert before == [(node.op, dict(node.attrs), list(node.inputs)) for node in graph.nodes]
    for node in plain.nodes:
        assert node.op not in prepare.LINEAR or len(node.inputs) == 3
        assert node.attrs.get("activation", "none") in prepare.CLAMPS
    assert {"add", "hard_swish", "leaky_relu"} <= {node.op for node in plain.nodes}
    for x in n.samples(3):
        for a, b in zip(outputs(graph, x), outputs(plain, x), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


def test_a_batch_norm_of_an_image_becomes_a_convolution(net):
    n = net(4, 6, 5)
    n.conv("x", 4, 4)
    graph = n.graph("conv0")
    for name, value in (("scale", np.array([1, -2, 0.5, 0], "f4")), ("shift", np.arange(4, dtype="f4"))):
        graph.add(Tensor(name, (4,), "float32", value))
    y = graph.outputs[0]
    graph.add(Tensor("normal", graph.tensors[graph.nodes[0].outputs[0]].shape))
    image = next(node.outputs[0] for node in graph.nodes if node.op == "conv2d")
    graph.nodes.append(Node("batch_norm", "norm", [image, "scale", "shift"], ["normal"], {"activation": "relu"}))
    graph.tensors["normal"].shape = graph.tensors[image].shape
    graph.outputs = [y, "normal"]
    plain = prepare.prepared(graph)
    check(plain)
    assert [node.op for node in plain.nodes].count("depthwise_conv2d") == 1
    x = n.samples(1)[0]
    np.testing.assert_allclose(outputs(plain, x)[1], outputs(graph, x)[1], rtol=1e-6)


def test_equalisation_changes_nothing_but_the_channels(net):
    n = net(6, 9, 7)
    a = n.op("LeakyRelu", n.conv("x", 6, 12, spread=2), alpha=0.2)
    b = n.op("Relu", n.conv(a, 12, 12, group=12))
    c = n.op("MaxPool", n.conv(b, 12, 12, 1), kernel_shape=[2, 2])
    y = n.conv(n.op("Add", c, n.conv(c, 12, 12)), 12, 3)
    plain = prepare.prepared(n.graph(y))
    arrays = n.samples(6)
    before = statistics(plain, arrays)
    equal = equalize.equalize(plain, before)
    check(equal)
    for x in arrays[:2]:
        np.testing.assert_allclose(outputs(plain, x)[0], outputs(equal, x)[0], rtol=1e-3, atol=1e-4)
    after = statistics(equal, arrays)
    depthwise = next(node for node in plain.nodes if node.op == "depthwise_conv2d")
    name = depthwise.inputs[0]
    spread = [float(s[name].channel.max() / s[name].channel.min()) for s in (before, after)]
    assert spread[0] > 5 and spread[1] < 3


@pytest.mark.parametrize("between", ["Clip", "Sigmoid"])
def test_functions_that_are_not_in_proportion_keep_their_scale(net, between):
    n = net(4, 6, 5)
    a = n.conv("x", 4, 8, spread=2)
    a = n.op("Clip", a, np.float32(0), np.float32(6)) if between == "Clip" else n.op(between, a)
    plain = prepare.prepared(n.graph(n.conv(a, 8, 3)))
    assert equalize.equalize(plain, statistics(plain, n.samples(2))) is None


def test_calibration_finds_ranges_and_refuses_nan(net):
    n = net(3, 5, 4)
    plain = prepare.prepared(n.graph(n.op("Relu", n.conv("x", 3, 4))))
    arrays = n.samples(4)
    found = statistics(plain, arrays)
    wanted = np.concatenate([reference.run(plain, {"x": x}, keep=True)[plain.nodes[-1].outputs[0]] for x in arrays])
    s = found[plain.nodes[-1].outputs[0]]
    assert s.high == pytest.approx(float(wanted.max()), rel=1e-5) and s.counts.sum() == wanted.size
    arrays[2, 0, 1, 1, 1] = np.nan
    with pytest.raises(Exception, match="sample 2: tensor 'x' holds NaN"):
        statistics(plain, arrays)


def test_calibration_in_groups_is_the_same(residual, monkeypatch):
    n, y = residual
    plain = prepare.prepared(n.graph(y))
    arrays = n.samples(3)
    whole = statistics(plain, arrays)
    monkeypatch.setattr(calibrate, "TAP_BYTES", 5000)
    assert len(list(calibrate._groups(plain, calibrate._computed(plain)))) > 3
    parts = statistics(plain, arrays)
    for name, s in whole.items():
        assert (s.low, s.high) == (parts[name].low, parts[name].high) and (s.counts == parts[name].counts).all()
