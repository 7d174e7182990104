"""dequantize, float32 layers, quantize become integer layers, with the same integers."""

from __future__ import annotations

import copy

import numpy as np
import pytest

from tinynet import reference
from tinynet.converters.integer_constants import rearranged, with_steps
from tinynet.converters.passes import integers, run_passes
from tinynet.converters.passes.check import check
from tinynet.graph import Integers


def s(value):
    """A scale: float32."""
    return (float(np.float32(value)),)


STEP = {"scale": s(0.05), "zero": (100,)}
OTHER = {"scale": s(0.03), "zero": (20,)}


def made(net, tools, y, apply=integers.apply, off=1):
    """The graph after the pass: well formed, and its integers at most `off` from what the float layers give."""
    graph = net.graph(*(y if isinstance(y, tuple) else (y,)))
    check(graph)
    rng = np.random.default_rng(5)
    feeds = {}
    for name in graph.inputs:
        tensor = graph.tensors[name]
        if tensor.dtype == "float32":
            feeds[name] = (3 * rng.standard_normal(tensor.shape)).astype(np.float32)
        else:
            info = np.iinfo(tensor.dtype)
            feeds[name] = rng.integers(info.min, info.max + 1, tensor.shape).astype(tensor.dtype)
    wanted = reference.run(copy.deepcopy(graph), feeds)
    apply(graph)
    check(graph)
    for name, found in reference.run(graph, feeds).items():
        assert (found.shape, found.dtype) == (wanted[name].shape, wanted[name].dtype)
        if found.dtype.kind == "f":
            np.testing.assert_allclose(found, wanted[name], rtol=0, atol=1e-3 * np.abs(wanted[name]).max())
        else:
            difference = np.abs(found.astype(np.int64) - wanted[name])
            assert difference.max(initial=0) <= off and (difference == 0).mean() >= 0.98
    return graph, dict(tools[2](graph))


def real(net, *shape, dtype="uint8", step=STEP):
    return net.op("dequantize", net.input(*shape, dtype=dtype), **step)


def constant(net, values, scale, zero):
    """A float32 constant that stands for integers."""
    name = net.const(np.zeros(values.shape))
    tensor = net._graph.tensors[name]
    tensor.data, tensor.integers = with_steps(values, np.asarray(scale, np.float32), np.asarray(zero))
    return name


def weights(net, *shape, axis=0, low=-127, dtype=np.int8):
    values = net.rng.integers(low, low + 255, shape).astype(dtype)
    along = tuple(-1 if i == axis else 1 for i in range(len(shape)))
    return constant(net, values, np.linspace(0.002, 0.01, shape[axis]).reshape(along), np.zeros(1))


def layer(net, x, kind, bias=True, **attrs):
    c = net.shape(x)[-1]
    outs = {"conv2d": 6, "depthwise_conv2d": c, "dense": 6}[kind]
    w = weights(net, *{"conv2d": (6, 3, 3, c), "depthwise_conv2d": (3, 3, c), "dense": (6, c)}[kind],
                axis=2 if kind == "depthwise_conv2d" else 0)
    b = net.weights(outs) if bias else net.const(np.zeros(outs))
    return net.op(kind, x, w, b, **attrs)


KINDS = {"conv2d": "q_conv2d", "depthwise_conv2d": "q_depthwise_conv2d", "dense": "q_dense"}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("activation", [{}, {"activation": "relu"}, {"activation": "clip", "alpha": -0.4, "beta": 1.3},
                                        {"activation": "clip", "alpha": 1.0, "beta": -1.0}])
def test_layers(net, tools, kind, activation):
    x = real(net, 2, 7, 6, 5)
    _, kinds = made(net, tools, net.op("quantize", layer(net, x, kind, **activation), **OTHER))
    assert kinds == {KINDS[kind]: 1}


def test_an_activation_that_is_no_clamp_stays_float(net, tools):
    y = layer(net, real(net, 2, 7, 6, 5), "conv2d", activation="sigmoid")
    _, kinds = made(net, tools, net.op("quantize", y, scale=s(1 / 256)))
    assert kinds == {"q_conv2d": 1, "sigmoid": 1, "quantize": 1}


def test_a_result_that_others_read_is_float(net, tools):
    y = layer(net, real(net, 2, 7, 6, 5), "dense", activation="relu")
    graph, kinds = made(net, tools, (net.op("quantize", y, **OTHER), net.op("exp", y)))
    assert kinds == {"q_dense": 1, "relu": 1, "quantize": 1, "exp": 1}
    assert next(n for n in graph.nodes if n.op == "q_dense").attrs["dtype"] == "float32"


@pytest.mark.parametrize("why", ["weights", "scales", "residual", "input"])
def test_layers_that_stay(net, tools, why):
    x = real(net, 2, 7, 6, 5, step={"scale": s(0.05) * 5, "zero": (3,) * 5, "axis": 3} if why == "input" else STEP)
    w = net.weights(6, 3, 3, 5) if why == "weights" else weights(net, 6, 3, 3, 5, axis=3 if why == "scales" else 0)
    more = [net.input(2, 5, 4, 6)] if why == "residual" else []
    _, kinds = made(net, tools, net.op("quantize", net.op("conv2d", x, w, net.weights(6), *more), **OTHER))
    assert kinds["conv2d"] == 1 and "q_conv2d" not in kinds


def test_weights_whose_zero_does_not_fit_keep_it(net, tools):
    values = np.concatenate([np.full(20, 255), np.zeros(20), net.rng.integers(0, 256, 20)]).astype(np.uint8).reshape(6, 10)
    for zero, inputs in ((131, 5), (128, 4)):
        fresh = tools[0]()
        w = constant(fresh, values, [[0.01]], [[zero]])
        y = fresh.op("dense", real(fresh, 3, 10), w, fresh.weights(6))
        graph, kinds = made(fresh, tools, fresh.op("quantize", y, **OTHER))
        assert kinds == {"q_dense": 1} and len(graph.nodes[0].inputs) == inputs


def test_bias_of_integers_is_exact(net, tools):
    """Its scale may be rounded otherwise; 2^24 and more has no float32."""
    x, w = real(net, 1, 4), weights(net, 2, 4)
    scale = np.float32(0.05) * net._graph.tensors[w].integers.scale.reshape(-1)
    b = constant(net, np.array([(1 << 24) + 1, -5], np.int32), np.nextafter(scale, np.float32(1)), [0])
    graph = net.graph(net.op("dense", x, w, b))
    integers.apply(graph)
    node, = graph.nodes
    found = graph.tensors[node.inputs[2]].data + 100 * graph.tensors[node.inputs[1]].data.astype(np.int64).sum(1)
    assert found.tolist() == [(1 << 24) + 1, -5]


def test_a_bias_of_another_scale_is_rounded(net, tools):
    x, w = real(net, 1, 4), weights(net, 2, 4)
    b = constant(net, np.array([100, -50], np.int32), [0.5, 0.25], [0])
    made(net, tools, net.op("quantize", net.op("dense", x, w, b), scale=s(1.0), zero=(100,)))


def test_a_bias_that_does_not_fit_int32_leaves_the_layer(net, tools):
    x, w = real(net, 1, 4), weights(net, 2, 4)
    _, kinds = made(net, tools, net.op("quantize", net.op("dense", x, w, net.const([1e9, 0])), **OTHER))
    assert "dense" in kinds


@pytest.mark.parametrize("kind", ["add", "mul"])
def test_pairs(net, tools, kind):
    a, b = real(net, 2, 5, 6), real(net, 5, 6, step=OTHER)
    _, kinds = made(net, tools, net.op("quantize", net.op(kind, a, b, activation="relu"), scale=s(0.0813), zero=(9,)))
    assert kinds == {f"q_{kind}": 1}
    net = tools[0]()
    c = constant(net, net.rng.integers(-128, 128, (5, 6)).astype(np.int8), [[0.02]], [[3]])
    _, kinds = made(net, tools, net.op("quantize", net.op(kind, real(net, 2, 5, 6), c), scale=s(0.0813), zero=(9,)))
    assert kinds == {f"q_{kind}": 1}


@pytest.mark.parametrize("axis, scale, kind", [(-1, 1 / 256, "q_softmax"), (2, 1 / 200, "q_softmax"), (1, 1 / 256, "softmax"),
                                               (-1, 1 / 50, "softmax")])
def test_softmax(net, tools, axis, scale, kind):
    y = net.op("softmax", real(net, 3, 4, 5), axis=axis)
    _, kinds = made(net, tools, net.op("quantize", y, scale=s(scale), zero=(3,)))
    assert kind in kinds and ("dequantize" in kinds) == (kind == "softmax")


AVERAGES = [("average_pool2d", {"kernel": (2, 3), "strides": (2, 1), "pads": (1, 0, 0, 1)}, "q_average_pool2d"),
            ("reduce_mean", {"axes": (1, 2)}, "q_global_average_pool"),
            ("reduce_mean", {"axes": (1, 2), "keepdims": False}, "q_global_average_pool"),
            ("resize", {"size": (7, 9), "scales": (7 / 4, 9 / 5), "mode": "linear", "coordinates": "half_pixel"}, "q_resize")]


@pytest.mark.parametrize("dtype", ["uint8", "int8"])
@pytest.mark.parametrize("kind, attrs, wanted", AVERAGES, ids=lambda v: v if isinstance(v, str) else "")
def test_averages(net, tools, kind, attrs, wanted, dtype):
    from tinynet import ops

    if wanted not in ops.kinds():
        pytest.skip(f"no layer kind {wanted}")
    shift = 128 if dtype == "int8" else 0
    x = real(net, 2, 4, 5, 70, dtype=dtype, step={**STEP, "zero": (100 - shift,)})
    y = net.op("quantize", net.op(kind, x, **attrs), scale=s(0.0413), zero=(90 - shift,), dtype=dtype)
    _, kinds = made(net, tools, y)
    assert kinds == ({wanted: 1, "q_table": 2} if shift else {wanted: 1})


@pytest.mark.parametrize("kind, attrs", [("reduce_mean", {"axes": (1,)}), ("reduce_mean", {"axes": (1, 2, 3)}), (
    "resize", {"size": (7, 9), "scales": (7 / 4, 9 / 5), "mode": "cubic", "coordinates": "half_pixel"})])
def test_averages_that_stay(net, tools, kind, attrs):
    _, kinds = made(net, tools, net.op("quantize", net.op(kind, real(net, 2, 4, 5, 6), **attrs), **OTHER))
    assert kinds == {"dequantize": 1, kind: 1, "quantize": 1}


def test_chains_of_functions_are_one_table(net, tools):
    x = real(net, 3, 4, 5)
    y = net.op("mul", net.op("sigmoid", net.op("add", x, 1.5)), x)
    y = net.op("clip", net.op("tanh", net.op("sub", 2.0, y)), alpha=-0.5, beta=0.75)
    graph, kinds = made(net, tools, net.op("quantize", y, scale=s(0.01), zero=(60,)), off=0)
    assert kinds == {"q_table": 1} and graph.tensors[graph.nodes[0].inputs[1]].shape == (256,)


@pytest.mark.parametrize("near", ["two tensors", "channels", "broadcast", "larger"])
def test_what_is_no_function_of_one_variable(net, tools, near):
    x = real(net, 3, 1, 5)
    other = {"two tensors": real(net, 3, 1, 5), "channels": net.weights(5), "larger": net.const(np.ones((3, 4, 5))),
             "broadcast": net.op("exp", real(net, 3, 4, 5))}[near]
    _, kinds = made(net, tools, net.op("quantize", net.op("exp", net.op("maximum", x, other)), scale=s(1.0)), off=0)
    assert "q_table" not in kinds


def test_another_scale_is_a_table_and_the_same_one_nothing(net, tools):
    x = real(net, 3, 4)
    other = net.op("quantize", x, **OTHER)
    graph, kinds = made(net, tools, (other, net.op("reshape", net.op("quantize", x, **STEP), shape=(4, 3))), off=0)
    assert kinds == {"q_table": 1, "reshape": 1}


def test_a_table_that_clamps_joins_the_layer(net, tools):
    y = net.op("dequantize", net.op("quantize", layer(net, real(net, 2, 4), "dense"), **OTHER), **OTHER)
    graph, kinds = made(net, tools, net.op("quantize", net.op("relu", y), **OTHER))
    assert kinds == {"q_dense": 1} and graph.nodes[0].attrs["low"] == 20
    net = tools[0]()
    y = net.op("dequantize", net.op("quantize", layer(net, real(net, 2, 4), "dense"), **OTHER), **OTHER)
    _, kinds = made(net, tools, net.op("quantize", net.op("leaky_relu", y, alpha=0.1), **OTHER))
    assert kinds == {"q_dense": 1, "q_table": 1}


def test_a_table_keeps_its_order_when_data_is_permuted(net, tools):
    x = net.op("q_table", net.to_nhwc(net.input(2, 16, 3, 4, dtype="uint8")), net.const(np.arange(256)[::-1], "uint8"))
    _, kinds = made(net, tools, net.to_nchw(x), run_passes, off=0)
    assert kinds == {"q_table": 1}


def test_equal_numbers_with_and_without_integers_stay_apart(net, tools):
    w = weights(net, 6, 4)
    plain = net.const(net._graph.tensors[w].data)
    ys = [net.op("dense", x, each, net.const(np.zeros(6)))
          for x, each in ((net.op("exp", net.input(3, 4)), plain), (real(net, 3, 4), w))]
    _, kinds = made(net, tools, (ys[0], net.op("quantize", ys[1], **OTHER)), run_passes)
    assert kinds == {"exp": 1, "dense": 1, "q_dense": 1}


MOVES = [("reshape", {"shape": (2, 90)}), ("transpose", {"perm": (0, 3, 1, 2)}),
         ("max_pool2d", {"kernel": (2, 2), "strides": (1, 1)}),
         ("slice", {"begin": (0, 1, 0, 0), "end": (2, 3, 5, 6), "step": (1, 1, 2, 1)}),
         ("pad", {"begin": (0, 1, 0, 0), "end": (0, 0, 1, 0)}), ("reduce_max", {"axes": (1, 2)}),
         ("resize", {"size": (6, 10), "scales": (2.0, 2.0), "coordinates": "asymmetric", "nearest_mode": "floor"}),
         ("channel_shuffle", {"groups": 2}), ("expand", {"shape": (2, 3, 5, 6)})]


@pytest.mark.parametrize("kind, attrs", MOVES, ids=lambda v: v if isinstance(v, str) else "")
def test_moves_work_on_bytes(net, tools, kind, attrs):
    y = net.op(kind, real(net, 2, 3, 5, 6), **attrs)
    _, kinds = made(net, tools, (net.op("quantize", y, **STEP), net.op("exp", y)), off=0)
    assert kinds == {kind: 1, "dequantize": 1, "exp": 1}


@pytest.mark.parametrize("kind, attrs", MOVES, ids=lambda v: v if isinstance(v, str) else "")
def test_quantize_rises_above_moves(net, tools, kind, attrs):
    y = layer(net, real(net, 2, 5, 7, 4), "conv2d", bias=False)
    _, kinds = made(net, tools, net.op("quantize", net.op(kind, y, **attrs), **OTHER))
    assert kinds == {kind: 1, "q_conv2d": 1}


def test_a_pad_with_what_is_no_integer_stays(net, tools):
    y = net.op("pad", real(net, 3, 4), begin=(0, 1), end=(1, 0), value=0.033)
    graph, _ = made(net, tools, net.op("neg", y))
    assert [node.op for node in graph.nodes] == ["dequantize", "pad", "neg"]


def test_an_empty_window_stays(net, tools):
    y = net.op("max_pool2d", real(net, 1, 4, 4, 2), kernel=(1, 1), strides=(1, 1), pads=(1, 1, 1, 1))
    graph = net.graph(net.op("exp", y))
    integers.apply(graph)
    assert [node.op for node in graph.nodes] == ["dequantize", "max_pool2d", "exp"]


@pytest.mark.parametrize("same", [True, False])
def test_concat(net, tools, same):
    parts = [real(net, 2, 3), real(net, 2, 4, step=STEP if same else OTHER)]
    _, kinds = made(net, tools, net.op("quantize", net.op("concat", *parts, axis=1), **STEP), off=0)
    assert kinds == ({"concat": 1} if same else {"concat": 1, "q_table": 1})


def test_largest_is_found_among_bytes(net, tools):
    _, kinds = made(net, tools, net.op("argmax", real(net, 3, 9), axis=1), off=0)
    assert kinds == {"argmax": 1}


def test_int8_lives_at_the_ends_only(net, tools):
    step = {"scale": s(0.05), "zero": (-28,)}
    x = net.op("dequantize", net.op("reshape", net.input(2, 7, 6, 5, dtype="int8"), shape=(2, 6, 7, 5)), **step)
    q = net.op("quantize", layer(net, x, "conv2d"), **step, dtype="int8")
    padded = net.op("pad", q, begin=(0, 0, 1, 0), end=(0, 1, 0, 0), value=-28.0)
    y = net.op("quantize", net.op("exp", net.op("dequantize", padded, **step)), scale=s(0.1), zero=(-128,), dtype="int8")
    graph, kinds = made(net, tools, (y, q))
    assert kinds == {"q_table": 3, "reshape": 1, "q_conv2d": 1, "pad": 1}
    assert all(graph.tensors[n.outputs[0]].dtype == "uint8" or n.outputs[0] in graph.outputs for n in graph.nodes)


def test_int8_that_nothing_dequantises_is_left_alone(net, tools):
    _, kinds = made(net, tools, net.op("reshape", net.input(2, 3, dtype="int8"), shape=(6,)), off=0)
    assert kinds == {"reshape": 1}


def test_fake_quantisation_between_float_layers_stays(net, tools):
    x = net.input(3, 4)
    y = net.op("exp", net.op("dequantize", net.op("quantize", net.op("tanh", x), scale=s(0.1)), scale=s(0.1)))
    _, kinds = made(net, tools, y)
    assert kinds == {"tanh": 1, "quantize": 1, "dequantize": 1, "exp": 1}


def test_a_residual_block_in_nchw(net, tools):
    """As exporters write it: the whole pipeline, int8 at both ends, one dequantize for each reader."""
    step = {"scale": s(0.05), "zero": (3,)}
    x = net.input(1, 8, 6, 5, dtype="int8")

    def back(q):
        return net.op("dequantize", q, **step)

    def conv(x):
        y = net.op("conv2d", net.to_nhwc(x), weights(net, 8, 3, 3, 8), net.weights(8), pads=(1, 1, 1, 1))
        return net.to_nchw(y)

    first = net.op("quantize", net.op("relu", conv(back(x))), **step, dtype="int8")
    second = net.op("quantize", conv(back(first)), **step, dtype="int8")
    total = net.op("quantize", net.op("relu", net.op("add", back(second), back(first))), **step, dtype="int8")
    y = net.op("quantize", net.op("max_pool2d", net.to_nhwc(back(total)), kernel=(2, 2), strides=(2, 2)), **step, dtype="int8")
    _, kinds = made(net, tools, y, run_passes, off=2)
    assert kinds == {"q_table": 2, "transpose": 1, "q_conv2d": 2, "q_add": 1, "max_pool2d": 1}


def test_a_sum_without_quantize_between_keeps_the_layer_of_integers(net, tools):
    """conv, add, quantize: float fusion would take the integers away."""
    x, other = real(net, 1, 6, 5, 8), real(net, 1, 4, 3, 6, step=OTHER)
    y = net.op("relu", net.op("add", layer(net, x, "conv2d"), other))
    _, kinds = made(net, tools, net.op("quantize", y, **OTHER), run_passes)
    assert kinds == {"q_conv2d": 1, "dequantize": 1, "add": 1, "quantize": 1}


def test_pads_in_front_of_a_layer_of_integers(net, tools):
    x = net.op("pad", real(net, 1, 6, 5, 8), begin=(0, 1, 0, 0), end=(0, 0, 2, 0))
    x = net.op("dequantize", net.op("quantize", x, **STEP), **STEP)
    graph, kinds = made(net, tools, net.op("quantize", layer(net, x, "conv2d"), **OTHER), run_passes)
    assert kinds == {"q_conv2d": 1} and graph.nodes[0].attrs["pads"] == (1, 0, 0, 2)


def test_bias_by_add_behind_a_matrix_product(net, tools):
    """As tf2onnx writes it; the add's constant stands for int32."""
    w = weights(net, 9, 6, axis=1)
    b = constant(net, net.rng.integers(-900, 900, 6).astype(np.int32),
                 np.float32(0.05) * net._graph.tensors[w].integers.scale.reshape(-1), [0])
    y = net.op("quantize", net.op("add", net.op("matmul", real(net, 3, 9), w), b), **OTHER)
    _, kinds = made(net, tools, y, run_passes)
    assert kinds == {"q_dense": 1}


def test_rearranged_integers():
    values = np.arange(24, dtype=np.int8).reshape(2, 3, 4)
    real, held = with_steps(values, np.linspace(1, 2, 3, dtype=np.float32).reshape(1, 3, 1), np.zeros((1, 3, 1)))
    for function in (np.transpose, lambda a: a.reshape(6, 4), lambda a: a[:, 1:2], lambda a: a[:, :0], np.ravel):
        moved = rearranged(held, function)
        np.testing.assert_array_equal((moved.values - moved.zero).astype(np.float32) * moved.scale, function(real))
        assert moved.scale.ndim == moved.values.ndim
    assert rearranged(held, np.transpose).scale.shape == (1, 3, 1)
    assert rearranged(held, lambda a: a[:, 1:2]).scale.shape == (1, 1, 1)
    assert rearranged(None, np.transpose) is None and isinstance(held, Integers)


@pytest.mark.parametrize("quantized", [True, False])
def test_products_of_two_tensors(net, tools, quantized):
    y = net.op("matmul", real(net, 2, 5, 9), real(net, 2, 7, 9, step={"scale": s(0.01), "zero": (3,)}), perm_b=(0, 2, 1))
    y = net.op("quantize", y, **OTHER) if quantized else y
    graph, kinds = made(net, tools, y)
    assert kinds == {"q_matmul": 1}
    (node,) = graph.nodes
    assert (node.attrs["perm_b"], node.attrs["a_zero"], node.attrs["b_zero"]) == ((0, 2, 1), 100, 3)
    assert node.attrs.get("dtype", "uint8") == ("uint8" if quantized else "float32")


def test_products_that_stay(net, tools):
    """With a factor, of one tensor of integers alone, of more numbers than an int32 holds."""
    factor = net.op("matmul", real(net, 5, 9), real(net, 9, 7), alpha=0.5)
    alone = net.op("matmul", real(net, 5, 9), net.input(9, 7))
    long = net.op("matmul", real(net, 1, 40_000), real(net, 40_000, 1))
    _, kinds = made(net, tools, (factor, alone, long))
    assert kinds["matmul"] == 3 and "q_matmul" not in kinds


@pytest.mark.parametrize("axis", [None, 2])
@pytest.mark.parametrize("activation", [{}, {"activation": "relu"}])
def test_transposed_convolutions_whose_windows_lie_side_by_side(net, tools, axis, activation):
    x = real(net, 2, 3, 5, 8)
    shape = (2, 2, 7, 8)
    w = weights(net, *shape, axis=axis) if axis is not None else constant(
        net, net.rng.integers(-127, 128, shape).astype(np.int8), 0.005, 0)
    y = net.op("quantize", net.op("conv_transpose2d", x, w, net.weights(7), strides=(2, 2), **activation), **OTHER)
    _, kinds = made(net, tools, y)
    assert kinds == {"q_conv2d": 1, "depth_to_space": 1}


@pytest.mark.parametrize("attrs", [{"strides": (1, 1)}, {"strides": (2, 2), "pads": (1, 0, 0, 0)},
                                   {"strides": (2, 2), "output_padding": (1, 0)}, {"strides": (2, 2), "groups": 2},
                                   {"strides": (2, 2), "dilations": (2, 1)}])
def test_other_transposed_convolutions_stay(net, tools, attrs):
    w = weights(net, 2, 2, 6, 8 // attrs.get("groups", 1), axis=2)
    y = net.op("conv_transpose2d", real(net, 2, 3, 5, 8), w, net.weights(6), **attrs)
    _, kinds = made(net, tools, net.op("quantize", y, **OTHER))
    assert kinds == {"dequantize": 1, "conv_transpose2d": 1, "quantize": 1}
