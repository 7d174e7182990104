"""Functions of one tensor."""

from __future__ import annotations

import numpy as np
import pytest

from tinynet import reference
from tinynet.errors import FormatError


@pytest.mark.parametrize("kind,opsets", [
    ("Abs", (7, 13)), ("Neg", (7, 13)), ("Floor", (7, 13)), ("Ceil", (7, 13)), ("Exp", (7, 13)), ("Relu", (7, 13, 14)),
    ("Sigmoid", (7, 13)), ("Tanh", (7, 13)), ("Softplus", (7, 22)), ("Erf", (9, 13)), ("Round", (11, 22)),
    ("HardSwish", (14, 22)), ("HardSigmoid", (7, 22)), ("Elu", (7, 22)), ("LeakyRelu", (7, 16)), ("Gelu", (20,)),
    ("Selu", (7, 22)), ("Celu", (12,)), ("Softsign", (7, 22)), ("Mish", (18, 22)), ("ThresholdedRelu", (10, 22)),
    ("Shrink", (9,)), ("Sign", (9, 13)), ("Sin", (7, 22)), ("Cos", (7, 22)), ("Tan", (7, 22)), ("Atan", (7, 22)),
    ("Sinh", (9, 22)), ("Cosh", (9, 22)), ("Asinh", (9, 22)), ("IsNaN", (9, 13, 20)), ("IsInf", (10, 20))])
def test_unary(lab, kind, opsets):
    x = np.concatenate([4 * lab.normal(2, 30), np.array([[-0.5, 0.5, 1.5, 2.5, -1.5, 0.0]] * 2, np.float32)], axis=1)
    for opset in opsets:
        lab.op(kind, x, opset=opset)


@pytest.mark.parametrize("kind", ["Sqrt", "Log", "Reciprocal"])
@pytest.mark.parametrize("opset", [7, 17])
def test_unary_of_positive_numbers(lab, kind, opset):
    lab.op(kind, np.abs(lab.normal(3, 20)) + np.float32(0.01), opset=opset)


def test_activation_attributes(lab):
    x = 3 * lab.normal(4, 25)
    lab.op("LeakyRelu", x, alpha=0.3)
    lab.op("Elu", x, alpha=0.7)
    lab.op("HardSigmoid", x, alpha=0.1, beta=0.4)
    lab.op("Selu", x, alpha=1.2, gamma=0.9)
    lab.op("Celu", x, alpha=0.6)
    lab.op("ThresholdedRelu", x, alpha=0.6)
    lab.op("Shrink", x, lambd=0.8, bias=0.3)
    for detect in ({"detect_negative": 0}, {"detect_positive": 0}):
        lab.op("IsInf", np.array([np.inf, -np.inf, np.nan, 1], np.float32), **detect)
    assert lab.kinds(lab.op("Gelu", x, opset=20, approximate="tanh")) == ["gelu_tanh"]
    model, _ = lab.one("Gelu", x, opset=20, approximate="sigmoid")
    with pytest.raises(FormatError, match="approximate is 'sigmoid'"):
        lab.import_(model)


@pytest.mark.parametrize("alpha", [1.0, 1.702])
def test_swish(lab, alpha):
    """Not in onnxruntime: x sigmoid(alpha x) by float64."""
    x = 3 * lab.normal(4, 25)
    model, feeds = lab.one("Swish", x, opset=24, **({} if alpha == 1 else {"alpha": alpha}))
    graph = lab.import_(model)
    assert lab.kinds(graph) == (["silu"] if alpha == 1 else ["mul", "sigmoid", "mul"])
    wide = x.astype(np.float64)
    np.testing.assert_allclose(reference.run(graph, feeds)["y"], wide / (1 + np.exp(-alpha * wide)), rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("kind,low,high", [("Asin", -1, 1), ("Acos", -1, 1), ("Atanh", -0.99, 0.99), ("Acosh", 1, 9)])
def test_unary_of_a_range(lab, kind, low, high):
    for opset in (9, 22):
        lab.op(kind, np.linspace(low, high, 30, dtype=np.float32).reshape(5, 6), opset=opset)


@pytest.mark.parametrize("dtype", [np.int64, np.int32, np.int8])
def test_integers_of_one_tensor(lab, dtype):
    x = np.array([[-128, -7, 0], [1, 5, 127]], dtype)
    for kind, opset in (("Neg", 13), ("Abs", 13), ("Sign", 13), ("BitwiseNot", 18)):
        lab.op(kind, x, opset=opset)
    lab.op("BitwiseNot", x.astype(np.uint8), opset=18)


def test_not(lab):
    lab.op("Not", np.array([[True, False], [False, False]]))


@pytest.mark.parametrize("dtype", [np.int64, np.int32])
def test_activations_of_integers(lab, dtype):
    """Integers go through maximum and minimum, exactly: 2^53 + 1 is no float64."""
    x = np.array([[-9, -1, 0], [1, 5, 99]], dtype)
    model, feeds = lab.one("Relu", x, opset=14)         # onnxruntime: int32 only
    assert np.array_equal(reference.run(lab.import_(model), feeds)["y"], np.maximum(x, 0))
    lab.op("Clip", x, np.array(-2, dtype), np.array(7, dtype), opset=12)
    lab.op("Clip", x, None, np.array(7, dtype), opset=12)
    lab.op("PRelu", x, np.array([2, -3, 4], dtype), opset=16)
    if dtype == np.int64:
        big = np.array([2 ** 53 + 1, 2 ** 53 + 3])
        model, feeds = lab.one("Clip", big, np.array(2 ** 53 + 2), opset=12)
        assert reference.run(lab.import_(model), feeds)["y"].tolist() == [2 ** 53 + 2, 2 ** 53 + 3]


@pytest.mark.parametrize("attributes,kind", [
    ({"min": -0.5, "max": 0.75}, "clip"), ({"min": -0.5}, "clip"), ({"max": 0.5}, "clip"), ({"min": 0.0}, "relu"),
    ({"min": 0.0, "max": 3.4028234663852886e38}, "relu"), ({}, "reshape")])
def test_clip_by_attributes(lab, attributes, kind):
    assert lab.kinds(lab.op("Clip", lab.normal(4, 9), opset=7, **attributes)) == [kind]


@pytest.mark.parametrize("low,high,kind", [(0, 6, "clip"), (None, 0.5, "clip"), (-0.5, None, "clip"), (0, None, "relu"),
                                           (None, None, "reshape"), (0.5, -0.5, "clip")])
@pytest.mark.parametrize("opset", [11, 12, 13])
def test_clip_by_inputs(lab, low, high, kind, opset):
    bounds = [None if v is None else np.asarray(v, np.float32) for v in (low, high)]
    assert lab.kinds(lab.op("Clip", lab.normal(4, 9), *bounds, opset=opset)) == [kind]


@pytest.mark.parametrize("run", [(0, 1), (0, 2), (0, 1, 2)])
@pytest.mark.parametrize("shape", [(), (1,)])
def test_clip_by_bounds_of_run_time(lab, run, shape):
    low, high = np.full(shape, -0.5, np.float32), np.full(shape, 0.75, np.float32)
    if shape:       # onnxruntime insists on scalars
        model, feeds = lab.one("Clip", lab.normal(4, 9), low, high, run=run)
        assert np.array_equal(reference.run(lab.import_(model), feeds)["y"], feeds["x0"].clip(-0.5, 0.75))
        return
    lab.op("Clip", lab.normal(4, 9), low, high, run=run)
    lab.op("Clip", lab.normal(4, 9), high, low, run=run)
    lab.op("Clip", np.asarray(lab.normal(1)[0]), low, high, run=run)


def test_clip_refusals(lab):
    model, _ = lab.one("Clip", lab.normal(3), lab.normal(2))
    with pytest.raises(FormatError, match="min must be a scalar"):
        lab.import_(model)
    model, _ = lab.one("Clip", lab.normal(3), np.asarray(1))
    with pytest.raises(FormatError, match="different types float32 and int64"):
        lab.import_(model)


@pytest.mark.parametrize("opset,axis", [(opset, axis) for opset in (7, 11, 13) for axis in (None, 0, 1, 2, -1, -2)
                                        if opset >= 11 or axis is None or axis >= 0])
@pytest.mark.parametrize("kind", ["Softmax", "LogSoftmax", "Hardmax"])
def test_softmax(lab, kind, opset, axis):
    lab.op(kind, lab.normal(2, 3, 4), opset=opset, **({} if axis is None else {"axis": axis}))


def test_softmax_over_everything_before_opset_13(lab):
    graph = lab.op("Softmax", lab.normal(1, 3, 4, 5), opset=11)
    assert lab.kinds(graph) == ["reshape", "softmax", "reshape"]


@pytest.mark.parametrize("opset", [7, 10, 12, 13])
def test_dropout_and_identity_vanish(lab, opset):
    x = lab.normal(2, 3)
    nodes = [lab.node("Identity", ["x"], ["a"]), lab.node("Dropout", ["a"], ["b", "mask"]),
             lab.node("Relu", ["b"], ["c"]), lab.node("Identity", ["c"], ["y"])]
    graph = lab.check(lab.model(nodes, {"x": x}, opset=opset), {"x": x})
    assert lab.kinds(graph) == ["relu"] and graph.nodes[0].outputs == ["y"]


@pytest.mark.parametrize("opset", [7, 10, 12, 13, 22])
def test_dropout_mask(lab, opset):
    x = lab.normal(2, 3)
    lab.op("Dropout", x, opset=opset, outputs=2)


def test_dropout_refusals(lab):
    x = lab.normal(2, 3)
    assert "training mode" in lab.reason("Dropout", x, np.asarray(np.float32(0.5)), np.asarray(True))
    assert "training mode" in lab.reason("Dropout", x, None, np.asarray(True))
    lab.op("Dropout", x, np.asarray(np.float32(0.5)), np.asarray(False))
    lab.op("Dropout", x, np.asarray(np.float32(0)), np.asarray(True), outputs=2)
