"""Quantised models against onnxruntime with all its optimisations, operator by operator."""

from __future__ import annotations

import numpy as np
import pytest

from tinynet import reference
from tinynet.converters.passes import run_passes
from tinynet.errors import FormatError, UnsupportedOpError

TYPES = (np.uint8, np.int8)


def integers(dtype, *shape, seed=0):
    info = np.iinfo(dtype)
    return np.random.default_rng(seed).integers(info.min, info.max + 1, shape).astype(dtype)


def scalar(value, dtype=np.float32):
    return np.array(value, dtype)


class Model:
    """Nodes and constants of a small quantised model, and the judgement of what we make of it."""

    def __init__(self, lab, opset=17):
        self.lab, self.opset = lab, opset
        self.nodes, self.constants, self.feeds = [], {}, {}

    def constant(self, array):
        name = f"c{len(self.constants)}"
        self.constants[name] = np.asarray(array)
        return name

    def input(self, array):
        name = f"x{len(self.feeds)}"
        self.feeds[name] = array
        return name

    def node(self, kind, *inputs, domain="", **attributes):
        names = [i if isinstance(i, str) else "" if i is None else self.constant(i) for i in inputs]
        out = f"t{len(self.nodes)}"
        self.nodes.append(self.lab.node(kind, names, [out], domain=domain, **attributes))
        return out

    def real(self, x, scale, zero, **attributes):
        return self.node("DequantizeLinear", x, scale, zero, **attributes)

    def quantized(self, y, scale, zero):
        return self.node("QuantizeLinear", y, scalar(scale), zero)

    def judge(self, *outputs, least_equal=0.999):
        """Equal to onnxruntime in all but a few values, and never more than one step off.  The kinds of layers."""
        model = self.lab.model(self.nodes, self.feeds, outputs, self.constants, self.opset)
        model.ir_version = 8
        graph = run_passes(self.lab.import_(model))
        found = reference.run(graph, self.feeds)
        for name, wanted in zip(outputs, self.lab.ort_run(model, self.feeds, optimised=True), strict=True):
            got = found[name]
            assert (got.shape, got.dtype) == (wanted.shape, wanted.dtype)
            if wanted.dtype.kind == "f":
                np.testing.assert_allclose(got, wanted, rtol=0, atol=2e-5 * np.abs(wanted).max())
                continue
            off = np.abs(got.astype(np.int64) - wanted)
            assert off.max(initial=0) <= 1 and (off == 0).mean() >= least_equal
        return self.lab.kinds(graph)


def integer_kinds(kinds):
    """Nothing is computed in float32."""
    return not {"quantize", "dequantize"} & set(kinds)


# QuantizeLinear and DequantizeLinear


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("opset", [10, 11, 13, 19, 21, 23])
def test_quantize_and_back(lab, opset, dtype):
    """Halves, both ends and beyond, and the zero."""
    x = np.concatenate([np.arange(-300, 301) * np.float32(0.25), lab.normal(200) * 50]).astype(np.float32)
    m = Model(lab, opset)
    q = m.quantized(m.input(x), 0.5, dtype(np.iinfo(dtype).max - 100))
    assert m.judge(q, m.real(q, scalar(0.5), dtype(np.iinfo(dtype).max - 100)), least_equal=1)


@pytest.mark.parametrize("axis", [0, 1, -1])
@pytest.mark.parametrize("opset", [13, 21])
def test_one_scale_per_entry_of_an_axis(lab, opset, axis):
    x = lab.normal(3, 4, 5) * 20
    count = x.shape[axis]
    scale = np.linspace(0.1, 0.4, count).astype(np.float32)
    zero = np.arange(count).astype(np.int8) - 1
    m = Model(lab, opset)
    q = m.node("QuantizeLinear", m.input(x), scale, zero, axis=axis)
    m.judge(q, m.real(q, scale, zero, axis=axis), least_equal=1)


def test_without_a_zero_point_and_of_int32(lab):
    m = Model(lab)
    q = m.node("QuantizeLinear", m.input(lab.normal(50) * 9), scalar(0.25))
    m.judge(q, m.node("DequantizeLinear", m.input(np.array([-(1 << 31), 3, (1 << 31) - 1], np.int32)), scalar(0.5)))
    x = np.arange(-90, 90, dtype=np.int32)                  # which onnxruntime does not take
    model, feeds = lab.one("QuantizeLinear", x, scalar(0.5), np.int8(3))
    np.testing.assert_array_equal(reference.run(lab.import_(model), feeds)["y"], np.clip(x * 2 + 3, -128, 127))


def test_attributes_of_opset_21_and_later(lab):
    m = Model(lab, 21)
    m.judge(m.node("QuantizeLinear", m.input(lab.normal(50) * 90), scalar(0.25), output_dtype=3, saturate=0), least_equal=1)
    x = lab.normal(4, 5) * 9
    model, feeds = lab.one("QuantizeLinear", x, scalar(0.25), np.uint8(7), opset=25, precision=1, output_dtype=2)
    from onnx.reference import ReferenceEvaluator

    np.testing.assert_array_equal(reference.run(lab.import_(model), feeds)["y"], ReferenceEvaluator(model).run(None, feeds)[0])


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("count", [1, 4])
def test_scale_and_zero_computed_at_run_time(lab, dtype, count):
    scale = np.linspace(0.1, 0.3, count).astype(np.float32)[0 if count == 1 else slice(None)]
    zero = np.arange(count).astype(dtype)[0 if count == 1 else slice(None)]
    m = Model(lab)
    q = m.node("QuantizeLinear", m.input(lab.normal(3, 4) * 9), m.input(np.asarray(scale)), m.input(np.asarray(zero)))
    m.judge(q, m.node("DequantizeLinear", q, "x1", "x2"), least_equal=1)


def test_constants_know_their_integers_behind_moves(lab):
    """Quantised in the graph, transposed, reshaped: what a layer reads still stands for integers."""
    m = Model(lab)
    scale = np.linspace(0.01, 0.04, 6).astype(np.float32)
    w = m.node("DequantizeLinear", m.node("QuantizeLinear", lab.normal(4, 6), scale, np.zeros(6, np.int8), axis=1), scale,
               np.zeros(6, np.int8), axis=1)
    w = m.node("Transpose", m.node("Reshape", w, lab.ints(2, 2, 6)), perm=[2, 1, 0])
    graph = lab.import_(lab.model([*m.nodes, lab.node("Mul", ["x", w])], {"x": lab.normal(6, 2, 2)}, constants=m.constants))
    held = next(t for t in graph.tensors.values() if t.integers is not None)
    found = held.integers
    assert found.scale.shape == found.zero.shape == (6, 1, 1) and found.values.dtype == np.int8
    np.testing.assert_array_equal(found.scale.reshape(-1), scale)
    np.testing.assert_array_equal((found.values - found.zero).astype(np.float32) * found.scale, held.data)


@pytest.mark.parametrize("attributes, zero, text", [
    ({"output_dtype": 5}, None, "int16 integers; uint8, int8 are supported"),
    ({}, np.uint16(0), "uint16"),
    ({"block_size": 2}, np.zeros((2, 4), np.uint8), "blocked quantisation"),
])
def test_refused_forms(lab, attributes, zero, text):
    scale = np.ones((2, 4), np.float32) if "block_size" in attributes else scalar(1)
    assert text in lab.reason("QuantizeLinear", lab.normal(4, 4), scale, zero, opset=21, **attributes)


@pytest.mark.parametrize("dtype", ["int4", "uint4", "float8_e4m3fn"])
def test_refused_types(lab, dtype):
    ml_dtypes = pytest.importorskip("ml_dtypes")
    w = np.ones((4, 4)).astype(getattr(ml_dtypes, dtype))
    m = Model(lab, 21)
    y = m.node("Mul", m.input(lab.normal(4, 4)), m.node("DequantizeLinear", w, scalar(1)))
    model = lab.model(m.nodes, m.feeds, [y], m.constants, 21)
    with pytest.raises(UnsupportedOpError, match=f"{dtype} integers; uint8, int8, int32 are supported") as caught:
        lab.import_(model)
    assert "\n" not in str(caught.value)


def test_malformed(lab):
    for wrong in ((scalar(1), np.zeros(3, np.uint8)), (np.ones(3, np.float32), np.zeros(3, np.uint8))):
        model, _ = lab.one("QuantizeLinear", lab.normal(2, 4), *wrong)
        with pytest.raises(FormatError, match="scale"):
            lab.import_(model)


# Layers between DequantizeLinear and QuantizeLinear


def conv_model(lab, dtype, w, bias="int32", reduced=False, channels=6, group=1, activation=None, zero=None, **attributes):
    m = Model(lab)
    info = np.iinfo(dtype)
    x_zero = dtype(info.min + 77 if zero is None else zero)
    x = m.real(m.input(integers(dtype, 2, channels, 9, 8)), scalar(0.02), x_zero)
    outs = w.shape[0]
    per_channel = w.dtype == np.int8
    w_scale = np.linspace(0.002, 0.01, outs).astype(np.float32) if per_channel else scalar(0.004)
    w_zero = np.zeros(outs, np.int8) if per_channel else np.uint8(131)
    weights = m.real(w, w_scale, w_zero, axis=0)
    b_scale = np.float32(0.02) * w_scale
    rng = np.random.default_rng(3)
    if bias == "int32":
        b = m.real(rng.integers(-3000, 3000, outs).astype(np.int32), b_scale, np.zeros(b_scale.shape, np.int32), axis=0)
    else:
        b = m.constant(rng.standard_normal(outs).astype(np.float32)) if bias == "float" else None
    y = m.node("Conv", x, weights, *([b] if b else []), group=group, **attributes)
    if activation:
        y = m.node(activation, y, *([scalar(0), scalar(1.5)] if activation == "Clip" else []))
    return m, m.quantized(y, 0.03 if activation != "Clip" else 0.007, dtype(info.min + (0 if activation else 90)))


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("w_dtype", TYPES)
@pytest.mark.parametrize("bias", ["int32", "float", None])
def test_conv(lab, dtype, w_dtype, bias):
    m, q = conv_model(lab, dtype, integers(w_dtype, 5, 6, 3, 3, seed=1), bias, pads=[1, 1, 1, 1], strides=[2, 1])
    kinds = m.judge(q)
    assert integer_kinds(kinds) and "q_conv2d" in kinds


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("activation", ["Relu", "Clip"])
def test_conv_with_activation(lab, dtype, activation):
    m, q = conv_model(lab, dtype, integers(np.int8, 5, 6, 1, 1, seed=1), activation=activation)
    assert integer_kinds(m.judge(q))


@pytest.mark.parametrize("w_dtype", TYPES)
@pytest.mark.parametrize("group", [2, 6])
def test_grouped_conv(lab, w_dtype, group):
    m, q = conv_model(lab, np.uint8, integers(w_dtype, 6, 6 // group, 3, 3, seed=1), group=group, dilations=[2, 1])
    kinds = m.judge(q)
    assert integer_kinds(kinds) and ("q_depthwise_conv2d" if group == 6 else "q_conv2d") in kinds


@pytest.mark.parametrize("zero", [0, 255])
def test_conv_with_zero_at_an_end(lab, zero):
    m, q = conv_model(lab, np.uint8, integers(np.int8, 5, 6, 3, 3, seed=1), zero=zero, pads=[2, 1, 0, 1])
    assert integer_kinds(m.judge(q))


def test_conv_that_a_float_layer_follows(lab):
    m, _ = conv_model(lab, np.uint8, integers(np.int8, 5, 6, 3, 3, seed=1))
    y = m.nodes[-2].output[0]
    m.nodes.pop()
    assert m.judge(m.node("Softmax", y, axis=1)).count("q_conv2d") == 1


def test_conv_of_one_axis(lab):
    m = Model(lab)
    x = m.real(m.input(integers(np.uint8, 2, 4, 11)), scalar(0.05), np.uint8(9))
    w = m.real(integers(np.int8, 3, 4, 3, seed=1), scalar(0.01), np.int8(0))
    kinds = m.judge(m.quantized(m.node("Conv", x, w), 0.02, np.uint8(100)))
    assert integer_kinds(kinds) and "q_conv2d" in kinds


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("trans", [0, 1])
@pytest.mark.parametrize("per_column", [False, True])
def test_gemm_and_matmul(lab, dtype, trans, per_column):
    w = integers(np.int8, *((7, 20) if trans else (20, 7)), seed=1)
    scale = np.linspace(0.002, 0.01, 7).astype(np.float32) if per_column else scalar(0.005)
    zero = np.zeros(scale.shape, np.int8)
    m = Model(lab)
    x = m.real(m.input(integers(dtype, 5, 20)), scalar(0.02), dtype(11))
    weights = m.real(w, scale, zero, axis=0 if trans else 1)
    bias = m.real(np.arange(-300, 400, 100).astype(np.int32), np.float32(0.02) * scale, np.zeros(scale.shape, np.int32), axis=0)
    outs = [m.quantized(m.node("Gemm", x, weights, bias, transB=trans), 0.02, dtype(20))]
    if not trans:
        outs.append(m.quantized(m.node("MatMul", x, weights), 0.02, dtype(20)))
    kinds = m.judge(*outs)           # 35 values: one may be off
    assert integer_kinds(kinds) and kinds.count("q_dense") == len(outs)
    graph = lab.import_(lab.model(m.nodes, m.feeds, outs, m.constants))
    gemm = next(node for node in graph.nodes if node.op == "dense")
    assert all(graph.tensors[name].integers is not None for name in gemm.inputs[1:])


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("kind", ["Add", "Mul"])
def test_add_and_mul(lab, dtype, kind):
    m = Model(lab)
    a = m.real(m.input(integers(dtype, 3, 40, 50)), scalar(0.031), dtype(3))
    b = m.real(m.input(integers(dtype, 40, 50, seed=1)), scalar(0.017), dtype(100))
    # With such round scales some sums lie on a half, and their rounding depends on that of the steps before.
    kinds = m.judge(m.quantized(m.node("Relu", m.node(kind, a, b)), 0.05, dtype(np.iinfo(dtype).min + 20)), least_equal=0.995)
    assert integer_kinds(kinds) and {"q_add", "q_mul"} & set(kinds)


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("kind, attributes", [
    ("Sigmoid", {}), ("Tanh", {}), ("LeakyRelu", {"alpha": 0.1}), ("HardSwish", {}), ("Relu", {}), ("Identity", {}),
    ("HardSigmoid", {}), ("Elu", {})])
def test_functions_of_one_variable_are_tables(lab, dtype, kind, attributes):
    m = Model(lab)
    x = m.real(m.input(np.arange(256, dtype=np.uint8).view(dtype).reshape(1, 16, 16)), scalar(0.06), dtype(40))
    kinds = m.judge(m.quantized(m.node(kind, x, **attributes), 0.011, dtype(5)))
    assert kinds == ["q_table"]


def test_silu_with_a_quantised_sigmoid_is_one_table(lab):
    m = Model(lab)
    x = m.real(m.input(np.arange(256, dtype=np.uint8)), scalar(0.06), np.uint8(100))
    s = m.real(m.quantized(m.node("Sigmoid", x), 1 / 256, np.uint8(0)), scalar(1 / 256), np.uint8(0))
    kinds = m.judge(m.quantized(m.node("Mul", x, s), 0.05, np.uint8(10)), least_equal=0.996)    # 1 of 256 lies on a half
    assert kinds == ["q_table"]


@pytest.mark.parametrize("same", [True, False])
def test_concat(lab, same):
    m = Model(lab)
    steps = [(0.02, 10), (0.02, 10)] if same else [(0.02, 10), (0.05, 90)]
    parts = [m.real(m.input(integers(np.uint8, 1, c, 4, 5, seed=c)), scalar(s), np.uint8(z))
             for c, (s, z) in zip((3, 5), steps, strict=True)]
    kinds = m.judge(m.quantized(m.node("Concat", *parts, axis=1), 0.02, np.uint8(10)))
    assert integer_kinds(kinds) and kinds.count("q_table") == (0 if same else 1)


def test_moves_work_on_bytes(lab):
    m = Model(lab)
    x = m.real(m.input(integers(np.int8, 1, 8, 6, 6)), scalar(0.02), np.int8(10))
    y = m.node("Transpose", m.node("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2]), perm=[0, 2, 3, 1])
    y = m.node("Slice", m.node("Reshape", y, lab.ints(3, 24)), lab.ints(1), lab.ints(20), lab.ints(1), lab.ints(3))
    y = m.node("Pad", y, lab.ints(0, 1, 1, 0))
    kinds = m.judge(m.quantized(y, 0.02, np.int8(10)), least_equal=1)
    assert integer_kinds(kinds) and {"max_pool2d", "pad"} <= set(kinds)


def test_average_pools_resize_and_softmax(lab):
    m = Model(lab)
    x = m.real(m.input(integers(np.uint8, 1, 8, 6, 6)), scalar(0.02), np.uint8(10))
    outs = [m.quantized(m.node("AveragePool", x, kernel_shape=[3, 3], pads=[1, 1, 1, 1]), 0.02, np.uint8(10)),
            m.quantized(m.node("GlobalAveragePool", x), 0.011, np.uint8(3)),
            m.quantized(m.node("Softmax", x, axis=1), 1 / 256, np.uint8(0))]
    m.judge(*outs)


# Operators on integers


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("w_dtype", TYPES)
@pytest.mark.parametrize("group", [1, 6])
def test_qlinear_conv(lab, dtype, w_dtype, group):
    if dtype == np.int8 and w_dtype == np.uint8:
        pytest.skip("onnxruntime has no such kernel")
    outs = 6
    scale = np.linspace(0.002, 0.01, outs).astype(np.float32) if w_dtype == np.int8 else scalar(0.004)
    zero = np.zeros(outs, np.int8) if w_dtype == np.int8 else np.uint8(131)
    m = Model(lab)
    bias = np.random.default_rng(3).integers(-3000, 3000, outs).astype(np.int32)
    q = m.node("QLinearConv", m.input(integers(dtype, 2, 6, 9, 8)), scalar(0.02), dtype(55),
               integers(w_dtype, outs, 6 // group, 3, 3, seed=1), scale, zero, scalar(0.03), dtype(70), bias, group=group,
               pads=[1, 0, 1, 0])
    assert integer_kinds(m.judge(q))


@pytest.mark.parametrize("dtype", TYPES)
def test_qlinear_matmul(lab, dtype):
    m = Model(lab)
    q = m.node("QLinearMatMul", m.input(integers(dtype, 3, 9, 20)), scalar(0.02), dtype(9), integers(np.int8, 20, 7, seed=1),
               np.linspace(0.002, 0.01, 7).astype(np.float32), np.zeros(7, np.int8), scalar(0.02), dtype(20))
    kinds = m.judge(q)
    assert integer_kinds(kinds) and "q_dense" in kinds


def contributed(m, kind, *inputs, **attributes):
    return m.node(kind, *inputs, domain="com.microsoft", **attributes)


@pytest.mark.parametrize("dtype", TYPES)
def test_operators_of_com_microsoft(lab, dtype):
    m = Model(lab)
    x, y = m.input(integers(dtype, 1, 6, 40, 50)), m.input(integers(dtype, 1, 6, 40, 50, seed=1))
    one, other, out = (scalar(0.031), dtype(20)), (scalar(0.053), dtype(7)), (scalar(0.067), dtype(30))
    outs = [contributed(m, "QLinearAdd", x, *one, y, *other, *out), contributed(m, "QLinearMul", x, *one, y, *other, *out),
            contributed(m, "QLinearConcat", *out, x, *one, y, *other, axis=1),
            contributed(m, "QLinearSigmoid", x, *one, scalar(1 / 256), dtype(np.iinfo(dtype).min)),
            contributed(m, "QLinearLeakyRelu", x, *one, *out, alpha=0.2),
            contributed(m, "QLinearGlobalAveragePool", x, *one, *out),
            contributed(m, "QLinearAveragePool", x, *one, *out, kernel_shape=[2, 3], strides=[2, 1])]
    m.judge(*outs)


@pytest.mark.parametrize("opset, axis", [(13, 2), (12, 1)])
def test_qlinear_softmax(lab, opset, axis):
    m = Model(lab)
    m.judge(contributed(m, "QLinearSoftmax", m.input(integers(np.uint8, 3, 4, 10)), scalar(0.03), np.uint8(20), scalar(1 / 256),
                        np.uint8(0), axis=axis, opset=opset))


@pytest.mark.parametrize("quantised", [True, False])
def test_qgemm(lab, quantised):
    m = Model(lab)
    out = (scalar(0.02), np.uint8(20)) if quantised else ()
    q = contributed(m, "QGemm", m.input(integers(np.uint8, 5, 20)), scalar(0.02), np.uint8(9), integers(np.int8, 7, 20, seed=1),
                    np.linspace(0.002, 0.01, 7).astype(np.float32), np.zeros(7, np.int8),
                    np.arange(-300, 400, 100).astype(np.int32), *out, transB=1, alpha=0.5)
    kinds = m.judge(q)
    assert "q_dense" in kinds and integer_kinds(kinds)


def test_qlinear_where_and_reduce_mean(lab):
    m = Model(lab)
    x, y = m.input(integers(np.uint8, 4, 30)), m.input(integers(np.uint8, 4, 30, seed=1))
    condition = m.input(integers(np.uint8, 4, 30, seed=2) > 100)
    m.judge(contributed(m, "QLinearWhere", condition, x, scalar(0.03), np.uint8(20), y, scalar(0.05), np.uint8(7), scalar(0.06),
                        np.uint8(30)))


def test_an_operator_of_com_microsoft_with_another_attribute_is_refused(lab):
    m = Model(lab)
    q = contributed(m, "QLinearAdd", m.input(integers(np.uint8, 4)), scalar(1), np.uint8(0), "x0", scalar(1), np.uint8(0),
                    scalar(1), np.uint8(0), slope=1)
    with pytest.raises(FormatError, match="slope"):
        lab.import_(lab.model(m.nodes, m.feeds, [q], m.constants))
