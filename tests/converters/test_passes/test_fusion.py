"""Pads, affine maps, residuals, activations and reshapes between layers."""

from __future__ import annotations

import numpy as np
import pytest

from tinynet.converters.passes import (
    fold_affine,
    fold_pads,
    fuse_activation,
    fuse_residual,
    run_passes,
    sink_reshapes,
)


def padded(net, x, amount=(1, 2, 0, 1), value=0.0, mode="constant"):
    top, left, bottom, right = amount
    return net.op("pad", x, begin=(0, top, left, 0), end=(0, bottom, right, 0), value=value, mode=mode)


PADS = {
    "conv2d": (lambda n, x: n.conv(padded(n, x), 5, 3, strides=(2, 1), pads=(1, 0, 0, 0)), {"conv2d": 1}),
    "depthwise": (
        lambda n, x: n.op("depthwise_conv2d", padded(n, x), n.weights(3, 3, 4), n.weights(4)),
        {"depthwise_conv2d": 1},
    ),
    "average": (lambda n, x: n.op("average_pool2d", padded(n, x), kernel=(3, 3)), {"average_pool2d": 1}),
    "average, ceil": (
        lambda n, x: n.op("average_pool2d", padded(n, x), kernel=(3, 3), strides=(2, 2), extra=(1, 1)),
        {"average_pool2d": 1},
    ),
    "average, counted pads": (
        lambda n, x: n.op(
            "average_pool2d", padded(n, x, (0, 0, 1, 1)), kernel=(3, 3), pads=(1, 1, 0, 0), count_include_pad=True
        ),
        {"average_pool2d": 1},
    ),
    "average, own pads": (
        lambda n, x: n.op("average_pool2d", padded(n, x), kernel=(3, 3), pads=(1, 1, 1, 1)),
        {"pad": 1, "average_pool2d": 1},
    ),
    "average, window in the pads": (
        lambda n, x: n.op("average_pool2d", padded(n, x, (3, 0, 0, 0)), kernel=(3, 3)),
        {"pad": 1, "average_pool2d": 1},
    ),
    "max, zeros": (
        lambda n, x: n.op("max_pool2d", padded(n, n.op("neg", n.op("abs", x))), kernel=(3, 3)),
        {"neg": 1, "abs": 1, "pad": 1, "max_pool2d": 1},
    ),
    "max, -inf": (lambda n, x: n.op("max_pool2d", padded(n, x, value=-np.inf), kernel=(3, 3)), {"max_pool2d": 1}),
    "value 1": (lambda n, x: n.conv(padded(n, x, value=1.0), 5, 3), {"pad": 1, "conv2d": 1}),
    "reflect": (lambda n, x: n.conv(padded(n, x, mode="reflect"), 5, 3), {"pad": 1, "conv2d": 1}),
    "channels": (
        lambda n, x: n.conv(n.op("pad", x, begin=(0, 0, 0, 1), end=(0,) * 4), 5, 3),
        {"pad": 1, "conv2d": 1},
    ),
}


@pytest.mark.parametrize("case", PADS)
def test_pads(net, tools, case):
    _, rewritten, kinds = tools
    make, left = PADS[case]
    assert kinds(rewritten(fold_pads.apply, net.graph(make(net, net.input(2, 6, 7, 4))))) == left


def test_pad_of_a_1d_convolution(net, tools):
    _, rewritten, kinds = tools
    x = net.op("pad", net.input(1, 9, 4), begin=(0, 2, 0), end=(0, 0, 0))
    y = net.op("conv2d", net.op("reshape", x, shape=(1, 1, 11, 4)), net.weights(5, 1, 3, 4), net.weights(5))
    graph = rewritten(fold_pads.apply, net.graph(y))
    assert kinds(graph) == {"reshape": 1, "conv2d": 1}
    assert graph.nodes[1].attrs["pads"] == (0, 2, 0, 0)


LAYERS = {
    "conv2d": lambda n, x, **a: n.conv(x, 6, 3, **a),
    "grouped": lambda n, x, **a: n.conv(x, 6, 3, groups=2, **a),
    "depthwise_conv2d": lambda n, x, **a: n.op("depthwise_conv2d", x, n.weights(3, 3, 4), n.weights(4), **a),
    "conv_transpose2d": lambda n, x, **a: n.op(
        "conv_transpose2d", x, n.weights(2, 2, 6, 4), n.weights(6), strides=(2, 2), **a
    ),
    "grouped transposed": lambda n, x, **a: n.op(
        "conv_transpose2d", x, n.weights(3, 3, 6, 2), n.weights(6), groups=2, **a
    ),
    "dense": lambda n, x, **a: n.op("dense", x, n.weights(6, 4), n.weights(6), **a),
}


def affine(net, y):
    c = net.shape(y)[-1]
    y = net.op("mul", net.op("batch_norm", y, net.weights(c), net.weights(c)), net.weights(1, 1, c))
    y = net.op("sub", 2.0, net.op("div", net.op("add", net.weights(c), y), net.weights(c, low=0.5, high=2.0)))
    return net.op("sub", y, net.weights(1, 1, 1, c))


@pytest.mark.parametrize("layer", LAYERS)
def test_affine_after_a_layer(net, tools, layer):
    _, rewritten, kinds = tools
    y = net.op("relu", affine(net, LAYERS[layer](net, net.input(2, 5, 6, 4))))
    graph = rewritten(fold_affine.apply, net.graph(y))
    assert sum(kinds(graph).values()) == 2


@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("shift", [True, False])
def test_affine_before_a_layer(net, tools, layer, shift):
    _, rewritten, kinds = tools
    x = net.input(2, 5, 6, 4)
    x = affine(net, x) if shift else net.op("mul", net.op("div", x, 3.0), net.weights(4))
    graph = rewritten(fold_affine.apply, net.graph(LAYERS[layer](net, x)))
    stays = shift and "trans" in layer  # the border of a transposed convolution sees fewer taps
    assert sum(kinds(graph).values()) == 1 + stays and kinds(graph)["batch_norm"] == stays


@pytest.mark.parametrize("shift", [True, False])
def test_affine_before_a_padded_convolution(net, tools, shift):
    """Only without a shift: the padding is zero after the map, not before."""
    _, rewritten, kinds = tools
    x = net.op("div", net.input(2, 5, 6, 4), 58.0)
    x = net.op("sub", x, net.weights(4)) if shift else x
    graph = rewritten(fold_affine.apply, net.graph(net.conv(x, 6, 3, pads=(1, 1, 1, 1))))
    assert kinds(graph) == {"conv2d": 1, **({"batch_norm": 1} if shift else {})}


AFFINE_STAYS = {
    "activation between": lambda n, x: n.op(
        "batch_norm", n.conv(x, 4, activation="relu"), n.weights(4), n.weights(4)
    ),
    "two readers": lambda n, x: n.op(
        "concat", *(lambda y: (y, n.op("batch_norm", y, n.weights(4), n.weights(4))))(n.conv(x, 4)), axis=3
    ),
    "along another axis": lambda n, x: n.op("mul", n.conv(x, 4), n.weights(6, 1)),
    "two run-time inputs": lambda n, x: n.op("mul", n.conv(x, 4), x),
    "constant over x": lambda n, x: n.op("div", 1.0, n.conv(x, 4)),
    "overflow": lambda n, x: n.op("mul", n.op("mul", n.conv(x, 4), 1e30), 1e30),
}


@pytest.mark.parametrize("case", AFFINE_STAYS)
def test_affine_stays(net, tools, case):
    _, rewritten, kinds = tools
    graph = net.graph(AFFINE_STAYS[case](net, net.input(2, 6, 6, 4)))
    before = kinds(graph)
    if case == "overflow":  # inf where the values overflow: compare kinds only
        fold_affine.apply(graph)
        assert kinds(graph) == before
    else:
        assert kinds(rewritten(fold_affine.apply, graph)) == before


def test_lone_affine_maps_become_batch_norm(net, tools):
    _, rewritten, kinds = tools
    x = net.input(2, 5, 6, 4)
    per_channel = net.op("relu", net.op("mul", x, net.weights(4)))
    merged = net.op("relu", net.op("add", net.op("mul", x, 2.0), 1.0))
    scalar = net.op("relu", net.op("mul", x, 2.0))
    graph = rewritten(fold_affine.apply, net.graph(per_channel, merged, scalar))
    assert kinds(graph) == {"batch_norm": 2, "mul": 1, "relu": 3}


def test_affine_run_keeps_its_last_activation(net, tools):
    _, rewritten, kinds = tools
    y = net.op(
        "add", net.op("mul", net.conv(net.input(1, 4, 4, 3), 4), net.weights(4)), net.weights(4), activation="relu"
    )
    z = net.op("mul", y, net.weights(4))
    graph = rewritten(fold_affine.apply, net.graph(z))
    assert [(n.op, n.attrs.get("activation", "none")) for n in graph.nodes] == [
        ("conv2d", "relu"),
        ("batch_norm", "none"),
    ]


def test_shared_weights_are_folded_apart(net, tools):
    _, rewritten, kinds = tools
    x, w, b = net.input(1, 4, 4, 3), net.weights(5, 1, 1, 3), net.weights(5)
    ys = [net.op("batch_norm", net.op("conv2d", x, w, b), net.weights(5), net.weights(5)) for _ in range(2)]
    graph = rewritten(fold_affine.apply, net.graph(*ys))
    assert kinds(graph) == {"conv2d": 2}


def test_residual(net, tools):
    _, rewritten, kinds = tools
    x = net.input(1, 4, 4, 3)
    y = net.op("relu", net.op("add", net.conv(net.conv(x, 3), 3), x))
    graph = rewritten(run_passes, net.graph(net.op("neg", y)))
    assert [(n.op, len(n.inputs), n.attrs.get("activation")) for n in graph.nodes[:2]] == [
        ("conv2d", 3, None),
        ("conv2d", 4, "relu"),
    ]


def test_residual_of_two_layers_goes_to_the_later_one(net, tools):
    _, rewritten, kinds = tools
    x = net.input(1, 4, 4, 3)
    late = net.conv(net.op("tanh", net.conv(x, 3)), 5)
    short = net.conv(x, 5)
    graph = rewritten(fuse_residual.apply, net.graph(net.op("add", late, short)))
    assert kinds(graph) == {"conv2d": 3, "tanh": 1}
    assert len(graph.nodes[-1].inputs) == 4


def test_residual_that_is_computed_later_moves_the_layer(net, tools):
    _, rewritten, kinds = tools
    x = net.input(2, 6)
    y = net.op("dense", x, net.weights(6, 6), net.weights(6))
    other = net.op("tanh", net.op("exp", net.op("sigmoid", x)))
    graph = rewritten(fuse_residual.apply, net.graph(net.op("add", other, y, activation="relu")))
    assert [n.op for n in graph.nodes] == ["sigmoid", "exp", "tanh", "dense"]
    assert graph.nodes[-1].attrs == {"activation": "relu"}


RESIDUAL_STAYS = {
    "broadcast": lambda n, x: n.op("add", n.conv(x, 3), n.op("reduce_mean", x, axes=(1, 2))),
    "enlarged": lambda n, x: n.op("add", x, n.conv(n.op("reduce_max", x, axes=(1, 2)), 3)),
    "with itself": lambda n, x: (lambda y: n.op("add", y, y))(n.conv(x, 3)),
    "activation first": lambda n, x: n.op("add", n.conv(x, 3, activation="relu"), x),
    "depthwise": lambda n, x: n.op("add", n.op("depthwise_conv2d", x, n.weights(1, 1, 3), n.weights(3)), x),
}


@pytest.mark.parametrize("case", RESIDUAL_STAYS)
def test_residual_stays(net, tools, case):
    _, rewritten, kinds = tools
    graph = rewritten(fuse_residual.apply, net.graph(RESIDUAL_STAYS[case](net, net.input(1, 4, 4, 3))))
    assert kinds(graph)["add"] == 1


CARRIERS = {
    **LAYERS,
    "batch_norm": lambda n, x, **a: n.op("batch_norm", x, n.weights(4), n.weights(4), **a),
    "add": lambda n, x, **a: n.op("add", x, n.op("neg", x), **a),
    "div": lambda n, x, **a: n.op("div", x, 2.0, **a),
}
ACTIVATIONS = {
    "relu": {},
    "clip": {"alpha": -1.0, "beta": 2.0},
    "leaky_relu": {"alpha": 0.1},
    "sigmoid": {},
    "tanh": {},
    "hard_sigmoid": {"alpha": 0.2, "beta": 0.4},
    "hard_swish": {},
    "silu": {},
    "elu": {"alpha": 0.7},
}


@pytest.mark.parametrize("carrier", CARRIERS)
def test_activation_joins_every_carrier(net, tools, carrier):
    _, rewritten, kinds = tools
    y = CARRIERS[carrier](net, net.input(2, 5, 6, 4))
    graph = rewritten(fuse_activation.apply, net.graph(net.op("clip", y, alpha=-1.0, beta=2.0)))
    assert "clip" not in kinds(graph) and graph.nodes[-1].attrs["beta"] == 2.0


@pytest.mark.parametrize("kind", ACTIVATIONS)
def test_every_activation_is_fused(net, tools, kind):
    _, rewritten, kinds = tools
    y = net.op(kind, net.conv(net.input(1, 4, 4, 3), 4), **ACTIVATIONS[kind])
    graph = rewritten(fuse_activation.apply, net.graph(y))
    assert [n.attrs for n in graph.nodes] == [{"activation": kind, **ACTIVATIONS[kind]}]


def test_clamps_merge_and_others_do_not(net, tools):
    _, rewritten, kinds = tools
    x = net.input(1, 4, 4, 3)
    merged = net.op("clip", net.op("relu", net.conv(x, 4)), alpha=-2.0, beta=6.0)
    apart = net.op("relu", net.op("tanh", net.conv(x, 4)))
    graph = rewritten(fuse_activation.apply, net.graph(merged, apart))
    assert kinds(graph) == {"conv2d": 2, "relu": 1}
    assert graph.nodes[0].attrs == {"activation": "clip", "alpha": 0.0, "beta": 6.0}


@pytest.mark.parametrize(
    "first, then",
    [((-1.0, 2.0), (3.0, 4.0)), ((3.0, 4.0), (-1.0, 2.0)), ((0.0, 5.0), (-1.0, 3.0)), ((2.0, -2.0), (-5.0, 5.0))],
)
def test_clip_of_clip(net, tools, first, then):
    """Disjoint, nested, crossed and upside-down bounds."""
    _, rewritten, kinds = tools
    y = net.op("clip", net.conv(net.input(1, 4, 4, 3), 4), alpha=first[0], beta=first[1])
    y = net.op("clip", y, alpha=then[0], beta=then[1])
    assert kinds(rewritten(fuse_activation.apply, net.graph(y))) == {"conv2d": 1}


def test_what_others_read_is_not_fused(net, tools):
    _, rewritten, kinds = tools
    y = net.conv(net.input(1, 4, 4, 3), 4)
    graph = rewritten(fuse_activation.apply, net.graph(net.op("relu", y), y))
    assert kinds(graph) == {"conv2d": 1, "relu": 1}


def test_reshape_sinks_below_what_can_be_fused(net, tools):
    _, rewritten, kinds = tools
    x = net.input(1, 1, 8, 4)
    y = net.op(
        "relu",
        net.op("batch_norm", net.op("reshape", net.conv(x, 6), shape=(1, 8, 6)), net.weights(6), net.weights(6)),
    )
    z = net.op(
        "add", net.op("reshape", net.conv(x, 6), shape=(1, 8, 6)), net.op("reshape", net.conv(x, 6), shape=(1, 8, 6))
    )
    graph = rewritten(run_passes, net.graph(y, z))
    assert kinds(graph) == {"conv2d": 3, "reshape": 2}


@pytest.mark.parametrize("case", ["last axis", "operand", "dtype"])
def test_reshape_stays_above(net, tools, case):
    _, rewritten, kinds = tools
    y = net.op("reshape", net.op("neg", net.input(1, 6, 8, 4)), shape=(1, 48, 4) if case == "operand" else (1, 6, 32))
    z = {
        "last axis": lambda: net.op("batch_norm", y, net.weights(32), net.weights(32)),
        "operand": lambda: net.op("mul", y, net.weights(48, 1)),
        "dtype": lambda: net.op("cast", y, to="int64"),
    }[case]()
    graph = net.graph(z)
    before = [node.op for node in graph.nodes]
    assert [node.op for node in rewritten(sink_reshapes.apply, graph).nodes] == before
