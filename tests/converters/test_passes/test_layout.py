from __future__ import annotations

import pytest

from tinynet.converters.passes import layout, run_passes
from tinynet.converters.passes.layout import transposed_bytes


def places(graph):
    """Kinds around each transpose that is left: (what makes its input, what reads its output)."""
    maker = {n.outputs[0]: n.op for n in graph.nodes}
    readers = {}
    for node in graph.nodes:
        for name in node.inputs:
            readers.setdefault(name, node.op)
    return sorted(
        (maker.get(n.inputs[0], "input"), readers.get(n.outputs[0], "output"))
        for n in graph.nodes
        if n.op == "transpose"
    )


ENDS = [("conv2d", "output"), ("input", "conv2d")]
BETWEEN = {
    "unary": lambda n, x: n.op("erf", x),
    "constant": lambda n, x: n.op("pow", n.op("abs", x), n.weights(6, 1, 1, low=1.0)),
    "constant of lower rank": lambda n, x: n.op("mul", x, n.weights(8)),
    "full constant": lambda n, x: n.op("maximum", x, n.weights(1, 6, 8, 8)),
    "prelu": lambda n, x: n.op("prelu", x, n.weights(6, 1, 1)),
    "concat of channels": lambda n, x: n.op("concat", x, n.op("sqrt", n.op("abs", x)), axis=1),
    "concat of rows": lambda n, x: n.op("concat", x, n.weights(1, 6, 2, 8), axis=2),
    "slice": lambda n, x: n.op("slice", x, begin=(0, 1, 7, 0), end=(1, 5, -1, 8), step=(1, 2, -1, 1)),
    "pad": lambda n, x: n.op("pad", x, begin=(0, 1, 0, 2), end=(0, 0, 3, 0), mode="edge"),
    "softmax": lambda n, x: n.op("softmax", x, axis=1),
    "softmax from behind": lambda n, x: n.op("softmax", x, axis=-3),
    "squeeze and excite": lambda n, x: n.op(
        "mul", x, n.op("sigmoid", n.conv_nchw(n.op("reduce_mean", x, axes=(2, 3)), 6))
    ),
    "squeeze and excite, dense": lambda n, x: n.op(
        "mul",
        x,
        n.op(
            "reshape",
            n.op(
                "sigmoid",
                n.op("dense", n.op("reduce_mean", x, axes=(2, 3), keepdims=False), n.weights(6, 6), n.weights(6)),
            ),
            shape=(1, 6, 1, 1),
        ),
    ),
    "spatial gate": lambda n, x: n.op("mul", x, n.op("sigmoid", n.op("reduce_max", x, axes=(1,)))),
    "expand": lambda n, x: n.op("add", x, n.op("expand", n.op("reduce_mean", x, axes=(2, 3)), shape=(1, 6, 8, 8))),
    "reshape that splits channels": lambda n, x: n.op(
        "reshape", n.op("softmax", n.op("reshape", x, shape=(1, 2, 3, 8, 8)), axis=2), shape=(1, 6, 8, 8)
    ),
    "reshape that joins pixels": lambda n, x: n.op(
        "reshape", n.op("softmax", n.op("reshape", x, shape=(1, 6, 64)), axis=1), shape=(1, 6, 8, 8)
    ),
    "one number": lambda n, x: n.op(
        "mul", x, n.op("reshape", n.op("reduce_max", x, axes=(0, 1, 2, 3), keepdims=False), shape=(1, 1, 1, 1))),
    "one number and back": lambda n, x: n.op("mul", x, n.op("reshape", n.op("sqrt", n.op("reshape", n.op(
        "abs", n.op("reduce_max", x, axes=(0, 1, 2, 3))), shape=())), shape=(1, 1, 1, 1))),
    "cubic resize": lambda n, x: n.op("resize", n.op("resize", x, axes=(2, 3), size=(4, 5), scales=(0.5, 0.625), mode="cubic"),
                                      axes=(2, 3), size=(8, 8), scales=(2.0, 1.6), mode="cubic"),
    "resize of channels and rows": lambda n, x: n.op(
        "resize", x, axes=(1, 2), size=(6, 8), scales=(1.5, 0.75), mode="cubic", coordinates="tf_crop_and_resize",
        roi=(0.1, 0.0, 0.9, 0.5)),
    "gather": lambda n, x: n.op("gather", x, n.const([4, 0, 1, 1, 5, 2], "int64"), axis=1),
    "swapped rows and columns": lambda n, x: n.op(
        "transpose", n.op("softmax", n.op("transpose", x, perm=(0, 3, 2, 1)), axis=3), perm=(0, 3, 2, 1)
    ),
    "residual around": lambda n, x: n.op(
        "add", x, n.op("relu", n.conv_nchw(n.op("tanh", x), 6, 3, pads=(1, 1, 1, 1)))
    ),
}


@pytest.mark.parametrize("case", BETWEEN)
def test_no_transpose_is_left_between_convolutions(net, tools, case):
    _, rewritten, kinds = tools
    x = net.conv_nchw(net.input(1, 3, 8, 8), 6)
    graph = rewritten(layout.apply, net.graph(net.conv_nchw(BETWEEN[case](net, x), 5)))
    assert places(graph) == ENDS


@pytest.mark.parametrize(
    "kind, extra",
    [
        ("reduce_mean", {"axes": (2, 3)}),
        ("reduce_sum", {"axes": (1,)}),
        ("argmax", {"axis": 1}),
        ("argmax", {"axis": 3}),
        ("reduce_max", {"axes": (1, 2, 3)}),
    ],
)
@pytest.mark.parametrize("keepdims", [True, False])
def test_reductions_at_the_end(net, tools, kind, extra, keepdims):
    """What is left to transpose behind a reduction is smaller than in front of it, or nothing."""
    _, rewritten, kinds = tools
    x = net.conv_nchw(net.input(2, 3, 8, 6), 7)
    graph = net.graph(net.op(kind, x, keepdims=keepdims, **extra))
    after = rewritten(layout.apply, graph)
    inner = transposed_bytes(graph) - transposed_bytes(after)
    assert inner >= 4 * 2 * 7 * 8 * 6 - 8 * 2 * 7 * 8


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("between", ["nothing", "relu", "batch_norm", "constant"])
def test_flatten_before_dense_reorders_the_weights(net, tools, batch, between):
    _, rewritten, kinds = tools
    x = net.op("reshape", net.op("relu", net.conv_nchw(net.input(batch, 3, 4, 5), 6)), shape=(batch, 120))
    x = {
        "nothing": lambda: x,
        "relu": lambda: net.op("tanh", x),
        "constant": lambda: net.op("mul", x, net.weights(120)),
        "batch_norm": lambda: net.op("batch_norm", x, net.weights(120), net.weights(120)),
    }[between]()
    ys = [net.op("dense", x, net.weights(7, 120), net.weights(7)) for _ in range(2)]
    graph = rewritten(layout.apply, net.graph(*ys))
    assert places(graph) == [("input", "conv2d")]


def test_flatten_that_is_also_an_output_keeps_its_order(net, tools):
    _, rewritten, kinds = tools
    x = net.op("reshape", net.conv_nchw(net.input(1, 3, 4, 5), 6), shape=(1, 120))
    graph = rewritten(layout.apply, net.graph(net.op("dense", x, net.weights(7, 120), net.weights(7)), x))
    assert places(graph) == [("conv2d", "reshape"), ("input", "conv2d")]


def test_a_transpose_sinks_so_that_an_activation_can_be_fused(net, tools):
    _, rewritten, kinds = tools
    y = net.op("relu", net.conv_nchw(net.op("div", net.input(1, 3, 8, 8), 255.0), 6))
    graph = rewritten(run_passes, net.graph(y))
    assert [n.op for n in graph.nodes] == ["transpose", "conv2d", "transpose"]


def test_a_detection_head_keeps_one_transpose_behind_its_activation(net, tools):
    """YOLO: [N, A K, H, W] -> [N, A, K, H, W] -> [N, A, H, W, K], sigmoid; the sigmoid joins the convolution."""
    _, rewritten, kinds = tools
    x = net.op("reshape", net.conv_nchw(net.input(1, 3, 8, 8), 21), shape=(1, 3, 7, 8, 8))
    graph = rewritten(run_passes, net.graph(net.op("sigmoid", net.op("transpose", x, perm=(0, 1, 3, 4, 2)))))
    assert [n.op for n in graph.nodes] == ["transpose", "conv2d", "reshape", "transpose"]
    assert graph.nodes[1].attrs["activation"] == "sigmoid"


def test_input_normalisation_joins_the_first_convolution(net, tools):
    _, rewritten, kinds = tools
    x = net.op("div", net.op("sub", net.input(1, 3, 8, 8), net.weights(3, 1, 1)), net.weights(3, 1, 1, low=0.5))
    graph = rewritten(run_passes, net.graph(net.conv_nchw(x, 6, 3)))
    assert kinds(graph) == {"transpose": 2, "conv2d": 1}


def test_a_region_where_permuting_costs_more_is_left_alone(net, tools):
    """One small image tensor meets three large ones that arrive, and leave, in the source's order."""
    _, rewritten, kinds = tools
    small = net.conv_nchw(net.input(1, 3, 1, 8), 6)
    large = [net.input(1, 6, 8, 8) for _ in range(3)]
    y = net.op("add", small, large[0])
    for x in large[1:]:
        y = net.op("mul", y, x)
    graph = net.graph(y)
    after = rewritten(layout.apply, graph)
    assert places(after) == [("conv2d", "add"), ("input", "conv2d")]
    assert transposed_bytes(after) == transposed_bytes(graph)


def test_heads_that_are_permuted_by_the_source_cost_nothing(net, tools):
    """SSD: NCHW -> NHWC -> [N, boxes, 4], joined over scales."""
    _, rewritten, kinds = tools
    x = net.conv_nchw(net.input(1, 3, 8, 8), 6, 3)
    heads = []
    for _ in range(2):
        head = net.op("transpose", net.conv_nchw(x, 12), perm=(0, 2, 3, 1))
        heads.append(net.op("reshape", head, shape=(1, 108, 4)))
        x = net.op("relu", x)
    graph = rewritten(run_passes, net.graph(net.op("softmax", net.op("concat", *heads, axis=1), axis=2)))
    assert places(graph) == [("input", "conv2d")]


def test_one_dimensional_convolutions(net, tools):
    _, rewritten, kinds = tools

    def conv1d(x, out, **attrs):
        n, c, length = net.shape(x)
        y = net.op("reshape", net.op("transpose", x, perm=(0, 2, 1)), shape=(n, 1, length, c))
        y = net.op("conv2d", y, net.weights(out, 1, 3, c), net.weights(out), **attrs)
        return net.op("transpose", net.op("reshape", y, shape=(n, *net.shape(y)[2:])), perm=(0, 2, 1))

    x = net.input(2, 3, 40)
    y = net.op("relu", conv1d(net.op("pad", x, begin=(0, 0, 2), end=(0, 0, 0)), 4))
    y = net.op("add", y, conv1d(y, 4, pads=(0, 1, 0, 1)))
    y = net.op("leaky_relu", net.op("mul", y, net.weights(4, 1)), alpha=0.1)
    graph = rewritten(run_passes, net.graph(net.op("reduce_mean", y, axes=(2,), keepdims=False)))
    assert kinds(graph)["transpose"] == 1 and kinds(graph)["conv2d"] == 2
    assert {"relu", "pad", "add", "mul", "leaky_relu"}.isdisjoint(kinds(graph))


def test_outputs_in_both_orders(net, tools):
    _, rewritten, kinds = tools
    y = net.conv(net.to_nhwc(net.input(1, 3, 8, 8)), 6)
    nchw = net.op("relu", net.to_nchw(y))
    graph = rewritten(run_passes, net.graph(nchw, net.op("relu", y), net.op("transpose", nchw, perm=(0, 2, 3, 1))))
    assert kinds(graph)["transpose"] == 2


def test_attention_like_products_stay_right(net, tools):
    _, rewritten, kinds = tools
    x = net.input(1, 6, 8)
    q, k, v = (
        net.op(
            "transpose",
            net.op("reshape", net.op("dense", x, net.weights(8, 8), net.weights(8)), shape=(1, 6, 2, 4)),
            perm=(0, 2, 1, 3),
        )
        for _ in range(3)
    )
    scores = net.op("softmax", net.op("div", net.op("matmul", q, net.op("transpose", k, perm=(0, 1, 3, 2))), 2.0))
    y = net.op("reshape", net.op("transpose", net.op("matmul", scores, v), perm=(0, 2, 1, 3)), shape=(1, 6, 8))
    graph = rewritten(run_passes, net.graph(net.op("dense", y, net.weights(8, 8), net.weights(8))))
    assert kinds(graph)["transpose"] == 0 and kinds(graph)["attention"] == 1
