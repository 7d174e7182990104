"""Arithmetic, activations and reductions."""

from __future__ import annotations

import numpy as np
import pytest

from tinynet.errors import FormatError


@pytest.mark.parametrize("kind,opsets", [
    ("Abs", (7, 13)), ("Neg", (7, 13)), ("Floor", (7, 13)), ("Ceil", (7, 13)), ("Exp", (7, 13)), ("Relu", (7, 13, 14)),
    ("Sigmoid", (7, 13)), ("Tanh", (7, 13)), ("Softplus", (7, 22)), ("Erf", (9, 13)), ("Round", (11, 22)),
    ("HardSwish", (14, 22)), ("HardSigmoid", (7, 22)), ("Elu", (7, 22)), ("LeakyRelu", (7, 16)), ("Gelu", (20,))])
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
    assert "approximate = tanh" in lab.reason("Gelu", x, opset=20, approximate="tanh")
    assert "not implemented" in lab.reason("Mish", x, opset=18)


@pytest.mark.parametrize("kind", ["Add", "Sub", "Mul", "Div"])
@pytest.mark.parametrize("a,b", [((2, 3, 4), (2, 3, 4)), ((2, 3, 4), (4,)), ((3, 1), (2, 1, 4)), ((2, 3), ())])
def test_binary_broadcasting(lab, kind, a, b):
    x, y = lab.normal(*a), lab.normal(*b, seed=1) + np.float32(3)
    for opset in (7, 13, 14):
        for run in ((0,), (1,), (0, 1)):
            lab.op(kind, x, np.asarray(y), opset=opset, run=run)


@pytest.mark.parametrize("dtype", [np.int64, np.int32])
def test_integer_arithmetic(lab, dtype):
    x, y = np.arange(-4, 8, dtype=dtype).reshape(3, 4), np.arange(1, 5, dtype=dtype)
    for kind in ("Add", "Sub", "Mul"):
        lab.op(kind, x, y)
    assert "division at run time" in lab.reason("Div", x, y)


@pytest.mark.parametrize("exponent", [np.float32(2), np.float32(0.5), np.array([1, 2, 3], np.int64),
                                      np.array([1, 2, 3], np.int32), np.float64(3)])
def test_pow(lab, exponent):
    x = np.abs(lab.normal(2, 3)) + np.float32(0.1)
    lab.op("Pow", x, np.asarray(exponent), opset=15)
    if np.asarray(exponent).dtype != np.float64:
        lab.op("Pow", x, np.asarray(exponent), opset=12, run=(0, 1))
    assert "base" in lab.reason("Pow", np.ones(3, np.int64), np.asarray(np.float32(2)))


@pytest.mark.parametrize("kind", ["Max", "Min", "Sum", "Mean"])
@pytest.mark.parametrize("opset", [7, 8, 13])
def test_any_number_of_inputs(lab, kind, opset):
    same = [lab.normal(2, 3, seed=i) for i in range(4)]
    lab.op(kind, same[0], opset=opset)
    lab.op(kind, *same, opset=opset, run=(0, 2, 3))
    if opset >= 8:
        lab.op(kind, same[0], lab.normal(3, seed=8), lab.normal(5, 2, 1, seed=9), opset=opset, run=(0, 2))


@pytest.mark.parametrize("opset", [7, 9, 16])
@pytest.mark.parametrize("slope", [(3, 1, 1), (1,), (5,), (2, 3, 4, 5)])
def test_prelu(lab, opset, slope):
    lab.op("PRelu", lab.normal(2, 3, 4, 5), lab.normal(*slope, seed=1), opset=opset)


def test_prelu_slope_must_fit(lab):
    model, _ = lab.one("PRelu", lab.normal(2, 3), lab.normal(4, 2, 3))
    with pytest.raises(FormatError, match="does not broadcast"):
        lab.import_(model)


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


def test_clip_refusals(lab):
    high = np.asarray(np.float32(1))
    assert "max computed at run time" in lab.reason("Clip", lab.normal(3), None, high, run=(0, 2))


@pytest.mark.parametrize("opset,axis", [(opset, axis) for opset in (7, 11, 13) for axis in (None, 0, 1, 2, -1, -2)
                                        if opset >= 11 or axis is None or axis >= 0])
def test_softmax(lab, opset, axis):
    lab.op("Softmax", lab.normal(2, 3, 4), opset=opset, **({} if axis is None else {"axis": axis}))


def test_softmax_over_everything_before_opset_13(lab):
    graph = lab.op("Softmax", lab.normal(1, 3, 4, 5), opset=11)
    assert lab.kinds(graph) == ["reshape", "softmax", "reshape"]


@pytest.mark.parametrize("kind", ["ReduceMean", "ReduceSum", "ReduceMax", "ReduceMin"])
@pytest.mark.parametrize("axes", [None, [1], [-1], [3, 2], [0, 1, 2, 3]])
@pytest.mark.parametrize("keepdims", [0, 1])
def test_reductions(lab, kind, axes, keepdims):
    x = lab.normal(2, 3, 4, 5)
    attribute = {} if axes is None else {"axes": axes}
    since = 13 if kind == "ReduceSum" else 18
    for opset in (7, 11) if since == 13 else (7, 11, 13):
        if opset >= 11 or not any(a < 0 for a in axes or ()):
            lab.op(kind, x, opset=opset, keepdims=keepdims, **attribute)
    inputs = () if axes is None else (lab.ints(*axes),)
    for opset in (since, 20):
        lab.op(kind, x, *inputs, opset=opset, keepdims=keepdims)


def test_reduction_without_axes(lab):
    x = lab.normal(2, 3)
    assert lab.kinds(lab.op("ReduceSum", x, lab.ints(), opset=13, noop_with_empty_axes=1)) == ["reshape"]
    assert lab.kinds(lab.op("ReduceSum", x, lab.ints(), opset=13)) == ["reduce_sum"]
    assert lab.kinds(lab.op("ReduceMean", x, opset=18, noop_with_empty_axes=1)) == ["reshape"]
    assert "axes computed at run time" in lab.reason("ReduceMean", x, lab.ints(0), opset=18, run=(0, 1))


@pytest.mark.parametrize("opset", [7, 11, 12, 13])
@pytest.mark.parametrize("axis,keepdims", [(0, 1), (1, 0), (2, 1)])
def test_arg_max(lab, opset, axis, keepdims):
    x = np.random.default_rng(0).integers(0, 3, (2, 5, 4)).astype(np.float32)
    lab.op("ArgMax", x, opset=opset, axis=axis, keepdims=keepdims)
    if opset >= 12:
        lab.op("ArgMax", x, opset=opset, axis=axis - 3, keepdims=keepdims, select_last_index=1)


def test_arg_max_defaults(lab):
    lab.op("ArgMax", lab.normal(3, 4))


@pytest.mark.parametrize("opset", [7, 10, 12, 13])
def test_dropout_and_identity_vanish(lab, opset):
    x = lab.normal(2, 3)
    nodes = [lab.node("Identity", ["x"], ["a"]), lab.node("Dropout", ["a"], ["b", "mask"]),
             lab.node("Relu", ["b"], ["c"]), lab.node("Identity", ["c"], ["y"])]
    graph = lab.check(lab.model(nodes, {"x": x}, opset=opset), {"x": x})
    assert lab.kinds(graph) == ["relu"] and graph.nodes[0].outputs == ["y"]


def test_dropout_refusals(lab):
    x = lab.normal(2, 3)
    assert "mask" in lab.reason("Dropout", x, outputs=2)
    assert "training mode" in lab.reason("Dropout", x, np.asarray(np.float32(0.5)), np.asarray(True))
    lab.op("Dropout", x, np.asarray(np.float32(0.5)), np.asarray(False))
