"""Normalisations spelled in arithmetic, as exporters do, and what only looks like one."""

from __future__ import annotations

import pytest

from tinynet.converters.passes import normalizations, run_passes


def spelled(net, x, axis, square="pow", inverse="div", twice=False, centre=True):
    mean = net.op("reduce_mean", x, axes=(axis,))
    d = net.op("sub", x, mean) if centre else x
    again = net.op("sub", x, mean) if twice and centre else d
    variance = net.op("reduce_mean", net.op("pow", d, 2.0) if square == "pow" else net.op("mul", d, d), axes=(axis,))
    deviation = net.op("sqrt", net.op("add", variance, 1e-3))
    if inverse == "div":
        return net.op("div", again, deviation)
    return net.op("mul", again, net.op("reciprocal", deviation) if inverse == "reciprocal" else net.op("div", 1.0, deviation))


@pytest.mark.parametrize("square", ["pow", "mul"])
@pytest.mark.parametrize("inverse", ["div", "reciprocal", "one over"])
@pytest.mark.parametrize("twice", [False, True])
@pytest.mark.parametrize("centre", [False, True])
def test_spellings(net, tools, square, inverse, twice, centre):
    _, rewritten, kinds = tools
    y = spelled(net, net.input(2, 3, 7), 2, square, inverse, twice, centre)
    y = net.op("mul", y, net.weights(7))
    if centre:
        y = net.op("add", net.weights(7), y)
    graph = rewritten(normalizations.apply, net.graph(y))
    assert kinds(graph) == {"layer_norm" if centre else "rms_norm": 1}
    assert graph.nodes[0].attrs["epsilon"] == pytest.approx(1e-3)


def test_channels_of_a_picture(net, tools):
    """ConvNeXt normalises axis 1: one transpose on each side, which the layout pass moves."""
    _, rewritten, kinds = tools
    y = net.op("add", net.op("mul", spelled(net, net.input(1, 6, 4, 5), 1), net.weights(6, 1, 1)), net.weights(6, 1, 1))
    graph = rewritten(normalizations.apply, net.graph(y))
    assert kinds(graph) == {"transpose": 2, "layer_norm": 1, "mul": 1, "add": 1}
    net2 = tools[0]()
    x = net2.conv_nchw(net2.input(1, 3, 4, 5), 6)
    y = net2.op("add", net2.op("mul", spelled(net2, x, 1), net2.weights(6, 1, 1)), net2.weights(6, 1, 1))
    graph = rewritten(run_passes, net2.graph(net2.conv_nchw(y, 7)))
    assert kinds(graph) == {"transpose": 2, "conv2d": 2, "layer_norm": 1}


@pytest.mark.parametrize("change", ["other axis", "power 3", "other tensor", "activation", "all axes", "no epsilon"])
def test_what_only_looks_like_one(net, tools, change):
    _, rewritten, kinds = tools
    x = net.input(3, 5, 5)
    mean = net.op("reduce_mean", x, axes=(1,) if change == "other axis" else (2,))
    d = net.op("sub", x, mean, **({"activation": "relu"} if change == "activation" else {}))
    square = net.op("pow", net.op("abs", d), 3.0) if change == "power 3" else net.op("mul", d, d)
    variance = net.op("reduce_mean", square, axes=(1, 2) if change == "all axes" else (2,))
    deviation = net.op("sqrt", variance if change == "no epsilon" else net.op("add", variance, 0.1))
    y = net.op("div", net.input(3, 5, 5) if change == "other tensor" else d, deviation)
    found = kinds(rewritten(normalizations.apply, net.graph(y)))
    assert not found["layer_norm"]
    assert found["rms_norm"] == (change in ("other axis", "activation"))       # of d, which is what stands there
    assert found["div"] == 1 - found["rms_norm"]


def test_weights_that_do_not_join(net, tools):
    _, rewritten, kinds = tools
    w = [net.weights(7) for _ in range(2)]
    y = net.op("layer_norm", net.input(2, 3, 7), *w)
    others = [net.op("mul", y, net.weights(3, 1)), net.op("add", y, net.weights(2, 3, 7)), net.op("mul", y, net.input(7))]
    graph = net.graph(*others)
    assert kinds(rewritten(normalizations.apply, graph)) == kinds(graph)
    net2 = tools[0]()
    y = net2.op("rms_norm", net2.input(2, 7), net2.weights(7))
    assert kinds(rewritten(normalizations.apply, net2.graph(net2.op("add", y, net2.weights(7))))) == {"rms_norm": 1, "add": 1}


def test_weights_join_group_norm(net, tools):
    _, rewritten, kinds = tools
    y = net.op("group_norm", net.input(2, 3, 6), net.weights(6), net.weights(6), groups=2)
    y = net.op("add", net.op("mul", net.weights(6), y), net.weights(1))
    assert kinds(rewritten(normalizations.apply, net.graph(y))) == {"group_norm": 1}


def test_layout_moves_a_transpose_past_rows(net, tools):
    """Of computed weights, too: they stay as they are."""
    _, rewritten, kinds = tools
    x = net.op("transpose", net.input(2, 3, 4, 7), perm=(1, 2, 0, 3))
    y = net.op("layer_norm", x, net.op("neg", net.input(7)), net.weights(7))
    graph = rewritten(run_passes, net.graph(net.op("relu", net.op("transpose", y, perm=(2, 0, 1, 3)))))
    assert kinds(graph)["transpose"] == 0
