"""Dynamic quantisation: imported, converted, run natively, and beside onnxruntime bit for bit."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tinynet
from tinynet import reference
from tinynet.converters import convert_bytes
from tinynet.errors import UnsupportedOpError

seeds = st.integers(0, 2 ** 32 - 1)


def exact(lab, model, feeds):
    """The imported graph gives onnxruntime's bits, and so does the file."""
    graph = lab.import_(model)
    expected = lab.ort_run(model, feeds)
    for found in (reference.run(graph, feeds), loaded(model, feeds)):
        for name, array in zip(graph.outputs, expected, strict=True):
            assert (found[name].shape, found[name].dtype) == (array.shape, array.dtype)
            np.testing.assert_array_equal(found[name], array)
    return graph


def loaded(model, feeds):
    with tinynet.load(convert_bytes(model)[0]) as network:
        return network.run(feeds)


def integers(rng, dtype, *shape):
    info = np.iinfo(dtype)
    return rng.integers(info.min, info.max + 1, shape).astype(dtype)


@settings(max_examples=30, deadline=None)
@given(m=st.integers(1, 7), k=st.integers(1, 80), n=st.integers(1, 40), known=st.tuples(*[st.booleans()] * 3),
       x_dtype=st.sampled_from(["uint8", "int8"]), w_dtype=st.sampled_from(["uint8", "int8"]), per_channel=st.booleans(),
       seed=seeds)
def test_matmul_integer(lab, m, k, n, known, x_dtype, w_dtype, per_channel, seed):
    if x_dtype == "int8" and w_dtype == "uint8":
        w_dtype = "int8"                    # onnxruntime has no such product
    rng = np.random.default_rng(seed)
    w_known, x_zero_known, w_zero_known = known
    per_channel = per_channel and w_known and w_zero_known
    arrays = {"x": integers(rng, x_dtype, 2, m, k), "w": integers(rng, w_dtype, k, n), "xz": integers(rng, x_dtype),
              "wz": integers(rng, w_dtype, *((n,) if per_channel else ()))}
    arrays = {name: np.asarray(a) for name, a in arrays.items()}
    constants = {name: arrays.pop(name) for name, is_known in zip(("w", "xz", "wz"), known, strict=True) if is_known}
    model = lab.model([lab.node("MatMulInteger", ["x", "w", "xz", "wz"])], arrays, constants=constants, opset=13)
    graph = exact(lab, model, arrays)
    kinds = [node.op for node in graph.nodes]
    assert ("q_dense" in kinds) == (w_known and w_zero_known)
    assert ("q_correct" in kinds) == ("q_dense" in kinds and not x_zero_known)


@settings(max_examples=30, deadline=None)
@given(c=st.integers(1, 5), o=st.integers(1, 9), group=st.sampled_from([1, 1, 2]), kernel=st.tuples(*[st.integers(1, 3)] * 2),
       stride=st.integers(1, 2), pads=st.lists(st.integers(0, 2), min_size=4, max_size=4), known=st.booleans(), seed=seeds)
def test_conv_integer(lab, c, o, group, kernel, stride, pads, known, seed):
    rng = np.random.default_rng(seed)
    arrays = {"x": integers(rng, "uint8", 2, c * group, 6, 7), "xz": np.asarray(integers(rng, "uint8"))}
    constants = {"w": integers(rng, "uint8", o * group, c, *kernel), "wz": np.asarray(integers(rng, "uint8"))}
    if known:
        constants["xz"] = arrays.pop("xz")
    node = lab.node("ConvInteger", ["x", "w", "xz", "wz"], group=group, strides=[stride] * 2, pads=pads, kernel_shape=kernel)
    exact(lab, lab.model([node], arrays, constants=constants, opset=13), arrays)


def test_zero_points_may_be_absent(lab):
    rng = np.random.default_rng(1)
    x, w = integers(rng, "uint8", 1, 3, 9), integers(rng, "uint8", 4, 3, 3)
    exact(lab, lab.model([lab.node("ConvInteger", ["x", "w"], pads=[1, 1])], {"x": x}, constants={"w": w}, opset=13), {"x": x})
    a, b = integers(rng, "uint8", 5, 6), integers(rng, "uint8", 6, 4)
    exact(lab, lab.model([lab.node("MatMulInteger", ["x", "w"])], {"x": a}, constants={"w": b}, opset=13), {"x": a})


def quantized(lab, nodes, inputs, constants, tmp_path, **options):
    """What onnxruntime's quantize_dynamic makes of a float32 network."""
    quantization = pytest.importorskip("onnxruntime.quantization")
    model = lab.model(nodes, inputs, constants=constants, opset=17)
    source, target = tmp_path / "a.onnx", tmp_path / "b.onnx"
    model = lab.onnx.shape_inference.infer_shapes(model)
    lab.onnx.save(model, source)
    quantization.quantize_dynamic(source, target, **options)
    return lab.onnx.load(target)


@pytest.mark.parametrize("per_channel", [False, True])
@pytest.mark.parametrize("signed", [False, True])
def test_dense_network(lab, tmp_path, per_channel, signed):
    from onnxruntime.quantization import QuantType

    weights = {"w0": lab.normal(40, 50), "w1": lab.normal(50, 30, seed=1), "c1": lab.normal(30, seed=2),
               "w2": lab.normal(30, 7, seed=3)}
    nodes = [lab.node("MatMul", ["x", "w0"], ["a"]), lab.node("Relu", ["a"], ["b"]),
             lab.node("Gemm", ["b", "w1", "c1"], ["c"]), lab.node("Tanh", ["c"], ["d"]), lab.node("MatMul", ["d", "w2"], ["y"])]
    x = lab.normal(6, 40, seed=4)
    model = quantized(lab, nodes, {"x": x}, weights, tmp_path, per_channel=per_channel,
                      weight_type=QuantType.QInt8 if signed else QuantType.QUInt8)
    assert {"DynamicQuantizeLinear", "MatMulInteger"} <= {n.op_type for n in model.graph.node}
    close(lab, model, {"x": x})


@pytest.mark.parametrize("depthwise", [False, True])
def test_convolutions(lab, tmp_path, depthwise):
    weights = {"w0": lab.normal(16, 3, 3, 3), "c0": lab.normal(16, seed=9),
               "w1": lab.normal(16, 1, 3, 3, seed=1) if depthwise else lab.normal(8, 16, 1, 1, seed=1)}
    nodes = [lab.node("Conv", ["x", "w0", "c0"], ["a"], pads=[1, 1, 1, 1], strides=[2, 2]), lab.node("Relu", ["a"], ["b"]),
             lab.node("Conv", ["b", "w1"], ["y"], pads=[1, 1, 1, 1], group=16 if depthwise else 1)]
    x = lab.normal(1, 3, 12, 14, seed=4)
    model = quantized(lab, nodes, {"x": x}, weights, tmp_path)
    assert "ConvInteger" in {n.op_type for n in model.graph.node}
    close(lab, model, {"x": x})


def close(lab, model, feeds):
    """Float32 layers between may round differently in the last place, which moves single integers."""
    expected = lab.ort_run(model, feeds)[0]
    for found in (reference.run(lab.import_(model), feeds)["y"], loaded(model, feeds)["y"]):
        np.testing.assert_allclose(found, expected, rtol=0, atol=0.02 * np.abs(expected).max())
        assert np.mean(found == expected) > 0.2 or np.abs(found - expected).max() < 1e-5 * np.abs(expected).max()


@settings(max_examples=20, deadline=None)
@given(m=st.integers(1, 7), k=st.integers(1, 80), n=st.integers(1, 40), per_channel=st.booleans(), bias=st.booleans(),
       joined=st.booleans(), seed=seeds)
def test_joined_forms(lab, m, k, n, per_channel, bias, joined, seed):
    rng = np.random.default_rng(seed)
    outs = n if per_channel else 1
    constants = {"w": integers(rng, "int8", k, n), "ws": rng.uniform(0.01, 0.1, outs).astype(np.float32),
                 "wz": np.zeros(outs, np.int8), "c": rng.standard_normal(n).astype(np.float32)}
    names = ["ws", "wz", "c" if bias else ""]
    if joined:
        feeds = {"x": rng.standard_normal((m, k)).astype(np.float32)}
        node = lab.node("DynamicQuantizeMatMul", ["x", "w", *names], domain="com.microsoft")
    else:
        feeds = {"x": integers(rng, "uint8", m, k), "xs": np.array(0.03, np.float32), "xz": np.asarray(integers(rng, "uint8"))}
        node = lab.node("MatMulIntegerToFloat", ["x", "w", "xs", "ws", "xz", *names[1:]], domain="com.microsoft")
    model = lab.model([node], feeds, constants=constants, opset=13)
    model.opset_import.append(lab.onnx.helper.make_opsetid("com.microsoft", 1))
    exact(lab, model, feeds)


def test_what_is_refused_says_why(lab):
    rng = np.random.default_rng(1)
    x, w = integers(rng, "uint8", 1, 3, 9, 9), integers(rng, "uint8", 4, 3, 3, 3)
    with pytest.raises(UnsupportedOpError, match="weights that are computed at run time"):
        lab.import_(lab.model([lab.node("ConvInteger", ["x", "w"])], {"x": x, "w": w}, opset=13))
    a, z = integers(rng, "uint8", 5, 6), integers(rng, "uint8", 5)
    with pytest.raises(UnsupportedOpError, match="one is supported there"):
        lab.import_(lab.model([lab.node("MatMulInteger", ["x", "w", "z"])], {"x": a, "z": z}, constants={"w": a.T.copy()},
                              opset=13))
    attention = lab.model([lab.node("QAttention", ["x"], domain="com.microsoft")], {"x": a}, opset=13)
    attention.opset_import.append(lab.onnx.helper.make_opsetid("com.microsoft", 1))
    with pytest.raises(UnsupportedOpError, match="QAttention"):
        lab.import_(attention)


@settings(max_examples=20, deadline=None)
@given(m=st.integers(1, 9), k=st.integers(1, 70), n=st.integers(1, 20), dtype=st.sampled_from(["uint8", "int8"]),
       turned=st.booleans(), spread=st.floats(-1, 1), seed=seeds)
def test_static_product_of_two_tensors(lab, m, k, n, dtype, turned, spread, seed):
    """QDQ around a MatMul of two computed tensors: the bits of onnxruntime's QLinearMatMul."""
    rng = np.random.default_rng(seed)
    feeds = {"a": integers(rng, dtype, 2, m, k), "b": integers(rng, dtype, *((2, n, k) if turned else (2, k, n)))}
    constants = {"sa": np.float32(rng.uniform(0.01, 1)), "sb": np.float32(rng.uniform(0.01, 1))}
    constants["sy"] = np.float32(constants["sa"] * constants["sb"] * np.sqrt(k) * 74 * 10 ** spread)
    constants |= {z: integers(rng, dtype) for z in ("za", "zb", "zy")}
    constants = {name: np.asarray(a) for name, a in constants.items()}
    nodes = [lab.node("DequantizeLinear", ["a", "sa", "za"], ["ra"]), lab.node("DequantizeLinear", ["b", "sb", "zb"], ["rb"]),
             *([lab.node("Transpose", ["rb"], ["rt"], perm=[0, 2, 1])] if turned else []),
             lab.node("MatMul", ["ra", "rt" if turned else "rb"], ["r"]), lab.node("QuantizeLinear", ["r", "sy", "zy"], ["y"])]
    model = lab.model(nodes, feeds, constants=constants, opset=13)
    with tinynet.load(convert_bytes(model)[0]) as network:
        assert "q_matmul" in {step.kernel for step in network.plan.steps} and not network.plan.python_steps
        found = network.run(feeds)["y"]
    joined = lab.node("QLinearMatMul", ["a", "sa", "za", "bt" if turned else "b", "sb", "zb", "sy", "zy"])
    nodes = [*([lab.node("Transpose", ["b"], ["bt"], perm=[0, 2, 1])] if turned else []), joined]
    [expected] = lab.ort_run(lab.model(nodes, feeds, constants=constants, opset=13), feeds)
    np.testing.assert_array_equal(found, expected)
