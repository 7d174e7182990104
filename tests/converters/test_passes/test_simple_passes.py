"""Constant folding, identities, duplicates, chains of moves, matmul, packing, the checker."""

from __future__ import annotations

import copy

import numpy as np
import pytest

from tinynet import layouts, reference
from tinynet.converters.passes import (
    fold_constants,
    matmul_to_dense,
    merge_duplicates,
    merge_moves,
    pack_weights,
    remove_identities,
    run_passes,
)
from tinynet.converters.passes.check import check
from tinynet.errors import TinynetError
from tinynet.graph import Node, Tensor


def test_constants_are_folded_through_several_nodes(net, tools):
    _, rewritten, kinds = tools
    x = net.input(2, 3)
    c = net.op("transpose", net.op("exp", net.weights(3, 2)), perm=(1, 0))
    graph = rewritten(fold_constants.apply, net.graph(net.op("add", x, c)))
    assert kinds(graph) == {"add": 1}
    assert len(graph.tensors) == 3


def test_a_constant_that_would_grow_stays_a_node(net, tools):
    _, rewritten, kinds = tools
    x = net.input(1024, 1024)
    graph = rewritten(fold_constants.apply, net.graph(net.op("add", x, net.op("expand", [2.0], shape=(1024, 1024)))))
    assert kinds(graph) == {"expand": 1, "add": 1}


EXPANDED = {
    "one side": (lambda n, x, y: n.op("div", x, n.op("expand", y, shape=(2, 5))), {"div": 1}),
    "the other": (lambda n, x, y: n.op("sub", n.op("expand", y, shape=(2, 5)), x), {"sub": 1}),
    "to more axes": (lambda n, x, y: n.op("add", n.op("reshape", x, shape=(1, 2, 5)), n.op("expand", y, shape=(1, 2, 5))),
                     {"reshape": 1, "add": 1}),
    "both, and one is needed": (lambda n, x, y: n.op("mul", n.op("expand", y, shape=(2, 3)), n.op("expand", y, shape=(2, 3))),
                                {"expand": 1, "mul": 1}),
    "larger than the other side": (lambda n, x, y: n.op("mul", x, n.op("expand", y, shape=(4, 2, 5))), {"expand": 1, "mul": 1}),
    "of one tensor": (lambda n, x, y: n.op("exp", n.op("expand", y, shape=(2, 5))), {"expand": 1, "exp": 1}),
    "the slopes of a prelu": (lambda n, x, y: n.op("prelu", x, n.op("expand", y, shape=(2, 5))), {"prelu": 1}),
    "what a prelu works on": (lambda n, x, y: n.op("prelu", n.op("expand", y, shape=(2, 5)), x), {"expand": 1, "prelu": 1}),
}


@pytest.mark.parametrize("name", EXPANDED)
def test_what_broadcasts_needs_no_expand(net, tools, name):
    _, rewritten, kinds = tools
    build, left = EXPANDED[name]
    x, y = net.input(2, 5), net.input(2, 1)
    graph = rewritten(remove_identities.apply, net.graph(build(net, x, y)), tolerance=0)
    assert kinds(graph) == left


IDENTITIES = {
    "reshape": (lambda n, x: n.op("reshape", x, shape=(1, 2, 3, 4)), {}),
    "expand": (lambda n, x: n.op("expand", x, shape=(1, 2, 3, 4)), {}),
    "slice": (lambda n, x: n.op("slice", x, begin=(0,) * 4, end=(1, 2, 3, 4), step=(1,) * 4), {}),
    "reversal": (
        lambda n, x: n.op("slice", x, begin=(0, 0, 2, 0), end=(1, 2, -1, 4), step=(1, 1, -1, 1)),
        {"slice": 1},
    ),
    "pad": (lambda n, x: n.op("pad", x, begin=(0,) * 4, end=(0,) * 4), {}),
    "cast": (lambda n, x: n.op("cast", x, to="float32"), {}),
    "transpose": (lambda n, x: n.op("transpose", x, perm=(0, 1, 2, 3)), {}),
    "concat": (lambda n, x: n.op("concat", x, axis=1), {}),
    "pool": (lambda n, x: n.op("max_pool2d", x, kernel=(1, 1)), {}),
    "strided pool": (lambda n, x: n.op("max_pool2d", x, kernel=(1, 1), strides=(2, 2)), {"max_pool2d": 1}),
    "resize": (lambda n, x: n.op("resize", x, size=(2, 3), scales=(1.0, 1.0)), {}),
    "resize without scales": (lambda n, x: n.op("resize", x, size=(2, 3)), {}),
    "resize that moves pixels": (lambda n, x: n.op("resize", x, size=(2, 3), scales=(1.0, 1.3)), {"resize": 1}),
    "crop to the same size": (lambda n, x: n.op("resize", x, size=(2, 3), scales=(1.0, 1.0), coordinates="tf_crop_and_resize",
                                                roi=(0.2, 0.4, 0.8, 0.9)), {"resize": 1}),
    "mean of one": (lambda n, x: n.op("reduce_mean", x, axes=(0,), keepdims=False), {"reshape": 1}),
    "mul 1": (lambda n, x: n.op("mul", np.ones((2, 1, 1)), x), {}),
    "mul 1 that broadcasts": (lambda n, x: n.op("mul", np.ones((5, 2, 1, 1)), x), {"mul": 1}),
    "div 1": (lambda n, x: n.op("div", x, 1.0), {}),
    "1 / x": (lambda n, x: n.op("div", 1.0, x), {"div": 1}),
    "sub 0": (lambda n, x: n.op("sub", x, 0.0), {}),
    "0 - x": (lambda n, x: n.op("sub", 0.0, x), {"sub": 1}),
    "add 0": (lambda n, x: n.op("add", x, 0.0), {"add": 1}),
    "add -0": (lambda n, x: n.op("add", x, -0.0), {}),
    "pow 1": (lambda n, x: n.op("pow", x, 1.0), {}),
    "clip in clip": (lambda n, x: n.op("clip", n.op("relu", x), alpha=-1.0, beta=6.0), {"clip": 1}),
    "relu twice": (lambda n, x: n.op("relu", n.op("relu", x)), {"relu": 1}),
    "gather": (lambda n, x: n.op("gather", x, n.const([0, 2], "int64"), axis=3), {"slice": 1}),
    "gather down": (lambda n, x: n.op("gather", x, n.const([3, 2, 1, 0], "int64"), axis=3), {"slice": 1}),
    "gather scalar": (lambda n, x: n.op("gather", x, n.const(1, "int64"), axis=2), {"slice": 1, "reshape": 1}),
    "gather at random": (lambda n, x: n.op("gather", x, n.const([0, 1, 3], "int64"), axis=3), {"gather": 1}),
    "gather twice the same": (lambda n, x: n.op("gather", x, n.const([1, 1], "int64"), axis=3), {"gather": 1}),
}


@pytest.mark.parametrize("case", IDENTITIES)
def test_identities(net, tools, case):
    _, rewritten, kinds = tools
    make, left = IDENTITIES[case]
    y = net.op("neg", make(net, net.op("neg", net.input(1, 2, 3, 4))))
    graph = rewritten(remove_identities.apply, net.graph(y))
    assert kinds(graph) == {"neg": 2, **left}


def test_signed_zero_survives(net, tools):
    """1 / (x + 0.0) is +inf for x = -0.0."""
    x = net.input(1)
    graph = net.graph(net.op("div", 1.0, net.op("add", x, 0.0)))

    run_passes(graph)
    assert reference.run(graph, {"x": np.array([-0.0], np.float32)})[graph.outputs[0]][0] == np.inf


@pytest.mark.parametrize("output", ["both", "last", "input"])
def test_names_of_outputs_survive(net, tools, output):
    """An identity between two outputs, in front of one, or between an input and an output."""
    _, rewritten, kinds = tools
    x = net.input(2, 3)
    y = x if output == "input" else net.op("relu", x)
    z = net.op("reshape", y, shape=(2, 3))
    w = net.op("neg", y)
    graph = rewritten(remove_identities.apply, net.graph(*([y, z, w] if output == "both" else [z, w])))
    assert kinds(graph)["reshape"] == (output != "last")


def test_duplicates_become_one(net, tools):
    _, rewritten, kinds = tools
    x = net.input(2, 3)
    a = net.op("add", net.op("relu", x), np.ones(3))
    b = net.op("add", net.op("relu", x), np.ones(3))
    graph = rewritten(
        merge_duplicates.apply, net.graph(net.op("mul", a, b), net.op("clip", x, beta=1.0), net.op("clip", x))
    )
    assert kinds(graph) == {"relu": 1, "add": 1, "mul": 1, "clip": 2}


def test_duplicates_that_are_outputs_keep_their_names(net, tools):
    _, rewritten, kinds = tools
    x = net.input(2, 3)
    graph = rewritten(
        merge_duplicates.apply, net.graph(net.op("relu", x), net.op("relu", x), net.op("neg", net.op("relu", x)))
    )
    assert kinds(graph) == {"relu": 2, "neg": 1}


def several_outputs(net, x):
    """values, indices of the two largest along the last axis."""
    values = [net.op("slice", x, begin=(0, 0), end=(2, 2), step=(1, 1)) for _ in range(2)]
    graph = net.graph(*values)
    spec = [("topk", values[:1], "i0"), ("topk", values[1:], "i1")]
    graph.nodes = [Node(kind, index, [x], [*outs, index], {"k": 2}) for kind, outs, index in spec]
    for _, _, index in spec:
        graph.add(Tensor(index, (2, 2), "int64"))
    return graph, values


def test_layers_with_several_outputs_keep_them_all(net, tools):
    _, rewritten, kinds = tools
    graph, values = several_outputs(net, net.input(2, 3))
    graph.add(Tensor("y", (2, 2)))
    graph.nodes.append(Node("reshape", "y", [values[1]], ["y"], {"shape": (2, 2)}))
    graph.outputs = ["y", "i1", "i0", values[0]]
    assert kinds(rewritten(merge_duplicates.apply, graph)) == {"topk": 2, "reshape": 1}
    graph = rewritten(remove_identities.apply, graph)
    assert kinds(graph) == {"topk": 2} and [n.outputs for n in graph.nodes] == [[values[0], "i0"], ["y", "i1"]]


def test_all_outputs_of_constants_are_folded(net, tools):
    _, rewritten, kinds = tools
    graph, values = several_outputs(net, net.const([[1, 5, 3], [2, 4, 6]]))
    for i, name in enumerate((*values, "i0", "i1")):
        graph.add(Tensor(f"y{i}", (2, 2), graph.tensors[name].dtype))
        graph.nodes.append(Node("reshape", f"y{i}", [name], [f"y{i}"], {"shape": (2, 2)}))
    graph.outputs = [f"y{i}" for i in range(4)]
    assert kinds(rewritten(fold_constants.apply, graph)) == {"reshape": 4}


def test_moves_cancel_merge_and_become_views(net, tools):
    _, rewritten, kinds = tools
    x = net.input(1, 4, 5, 6)
    y = net.op("relu", net.to_nhwc(net.to_nchw(x)))
    z = net.op("reshape", net.op("reshape", x, shape=(20, 6)), shape=(2, 60))
    w = net.to_nchw(net.op("reshape", x, shape=(1, 1, 1, 120)))
    graph = rewritten(merge_moves.apply, net.graph(y, net.op("relu", z), net.op("relu", w)))
    assert kinds(graph) == {"relu": 3, "reshape": 2}


def test_a_transpose_that_others_read_is_not_done_twice(net, tools):
    _, rewritten, kinds = tools
    t = net.op("transpose", net.input(3, 4), perm=(1, 0))
    graph = rewritten(
        merge_moves.apply, net.graph(net.op("neg", t), net.op("neg", net.op("reshape", t, shape=(2, 6))))
    )
    assert kinds(graph) == {"transpose": 1, "reshape": 1, "neg": 2}


def test_matmul_with_constant_becomes_dense(net, tools):
    _, rewritten, kinds = tools
    x, y = net.input(2, 5, 3), net.input(2, 4, 6)
    z = net.op("matmul", net.op("matmul", x, net.weights(3, 4)), y)
    assert kinds(rewritten(matmul_to_dense.apply, net.graph(z))) == {"dense": 1, "matmul": 1}


def test_integer_weights_are_packed_in_the_runs_that_kernels_find(net, tools):
    x = net.const(np.zeros((1, 7, 8, 6)), "uint8")

    def layer(kind, x, *shape, **attrs):
        outs = shape[0]
        return net.op(kind, x, net.const(np.ones(shape), "int8"), net.const(np.zeros(outs), "int32"), np.ones(outs), **attrs)

    y = layer("q_conv2d", x, 6, 3, 2, 6)
    y = layer("q_conv2d", y, 6, 2, 3, 2, groups=3)
    y = layer("q_conv2d", y, 6, 2, 2, 6, dilations=(2, 2))
    graph = net.graph(layer("q_dense", y, 5, 6))
    pack_weights.apply(graph)
    assert [graph.tensors[node.inputs[1]].layout for node in graph.nodes] == [
        "ohwi_quads16:1:12", "ohwi_quads16:3:2", "ohwi_quads16:1:6", "ohwi_quads16:1:6"]
    assert pack_weights.apply(graph) == 0


def test_weights_are_packed_and_shared_ones_copied(net, tools):
    _, rewritten, kinds = tools
    x = net.input(1, 4, 4, 8)
    w, b = net.weights(8, 1, 1, 8), net.weights(8)
    y = net.op("conv2d", net.op("conv2d", x, w, b), w, b)
    v = net.weights(8, 1, 1, 4)
    z = net.op("mul", net.op("conv2d", y, v, b, groups=2), net.op("reshape", v, shape=(1, 1, 4, 8)))
    t = net.op("conv_transpose2d", z, net.weights(2, 2, 6, 8), net.weights(6), strides=(2, 2))
    d = net.op("dense", t, net.weights(5, 6), net.weights(5))
    graph = rewritten(pack_weights.apply, net.graph(d))
    found = sorted(graph.tensors[node.inputs[1]].layout for node in graph.nodes if len(node.inputs) == 3)
    assert found == sorted([layouts.ohwi_panels(1)] * 3 + [layouts.ohwi_panels(2), layouts.hwoi_panels(1)])
    assert graph.tensors[w].layout == layouts.ohwi_panels(1)
    assert graph.tensors[v].layout == layouts.PLAIN
    again = copy.deepcopy(graph)
    assert pack_weights.apply(again) == 0


def _break_order(graph):
    graph.nodes.reverse()


def _break_shape(graph):
    graph.tensors[graph.outputs[0]].shape = (3, 2)


def _break_name(graph):
    graph.nodes[1].inputs = ["nowhere"]


def _break_left_over(graph):
    graph.nodes.pop()
    graph.outputs = []


def _break_constant(graph):
    name = next(n for n, t in graph.tensors.items() if t.is_constant)
    graph.tensors[name].data = graph.tensors[name].data[:1]


@pytest.mark.parametrize("damage", [_break_order, _break_shape, _break_name, _break_left_over, _break_constant])
def test_the_checker_finds_damage(net, damage):
    graph = net.graph(net.op("add", net.op("relu", net.input(2, 3)), np.ones(3)))
    check(graph)
    damage(graph)
    with pytest.raises(TinynetError):
        check(graph)
