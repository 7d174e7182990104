"""Functions of two and more tensors."""

from __future__ import annotations

import numpy as np
import pytest

from tinynet.errors import FormatError


@pytest.mark.parametrize("kind", ["Add", "Sub", "Mul", "Div"])
@pytest.mark.parametrize("a,b", [((2, 3, 4), (2, 3, 4)), ((2, 3, 4), (4,)), ((3, 1), (2, 1, 4)), ((2, 3), ())])
def test_binary_broadcasting(lab, kind, a, b):
    x, y = lab.normal(*a), lab.normal(*b, seed=1) + np.float32(3)
    for opset in (7, 13, 14):
        for run in ((0,), (1,), (0, 1)):
            lab.op(kind, x, np.asarray(y), opset=opset, run=run)


@pytest.mark.parametrize("dtype", [np.int64, np.int32, np.uint8, np.int8])
def test_integer_arithmetic(lab, dtype):
    x, y = np.arange(-4, 8).astype(dtype).reshape(3, 4), np.arange(1, 5, dtype=dtype)
    for kind in ("Add", "Sub", "Mul", "Div", "Mod", "Max", "Min"):
        lab.op(kind, x, y)
        lab.op(kind, x, y, run=(0, 1))
    lab.op("Mod", x, y, run=(0, 1), fmod=1)


@pytest.mark.parametrize("exponent", [np.float32(2), np.float32(0.5), np.array([1, 2, 3], np.int64),
                                      np.array([1, 2, 3], np.int32), np.float64(3)])
def test_pow(lab, exponent):
    x = np.abs(lab.normal(2, 3)) + np.float32(0.1)
    graph = lab.op("Pow", x, np.asarray(exponent), opset=15)
    assert all(graph.tensors[name].dtype == "float32" for name in graph.nodes[0].inputs)
    if np.asarray(exponent).dtype != np.float64:
        lab.op("Pow", x, np.asarray(exponent), opset=12, run=(0, 1))
        lab.op("Pow", np.array([[4, 9, 1]]), np.asarray(exponent), opset=12, run=(0, 1))


def test_an_exponent_that_float32_cannot_hold_stays_an_integer(lab):
    graph = lab.op("Pow", np.float32([-1, -1]), np.array([2**24 + 1, 2**24 + 2]), opset=15)
    assert graph.tensors[graph.nodes[0].inputs[1]].dtype == "int64"


def test_mod_of_floats(lab):
    x, y = 3 * lab.normal(4, 5), lab.normal(5, seed=1)
    for opset in (10, 13):
        lab.op("Mod", x, y, run=(0, 1), opset=opset, fmod=1)
    model, _ = lab.one("Mod", x, y, run=(0, 1))
    with pytest.raises(FormatError, match="floating point operands need fmod = 1"):
        lab.import_(model)


@pytest.mark.parametrize("kind,opsets", [("Equal", (7, 11, 13, 19)), ("Greater", (7, 9, 13)), ("Less", (7, 9, 13)),
                                         ("GreaterOrEqual", (12, 16)), ("LessOrEqual", (12, 16))])
def test_comparison(lab, kind, opsets):
    rng = np.random.default_rng(0)
    for opset in opsets:
        early = (np.int64, np.int32) if kind == "Equal" else (np.float32,)
        for dtype in (np.float32, np.int64, np.int32) if opset >= 11 else early:
            x, y = (rng.integers(-2, 3, shape).astype(dtype) for shape in ((4, 5), (3, 1, 5)))
            if dtype == np.float32:
                x[1, 2] = np.nan
            lab.op(kind, x, y, run=(0, 1), opset=opset)
            lab.op(kind, x, y, run=(1,), opset=opset)


@pytest.mark.parametrize("kind", ["And", "Or", "Xor"])
def test_logic(lab, kind):
    x, y = (np.random.default_rng(i).integers(0, 2, shape).astype(bool) for i, shape in enumerate([(4, 5), (3, 1, 5)]))
    lab.op(kind, x, y, run=(0, 1), opset=7)
    model, _ = lab.one(kind, x.astype(np.uint8), y.astype(np.uint8), run=(0, 1))
    with pytest.raises(FormatError, match="operand of type uint8, expected bool"):
        lab.import_(model)


def test_bits(lab):
    x, y = (np.random.default_rng(i).integers(-99, 99, shape).astype(np.int32) for i, shape in enumerate([(4, 5), (3, 1, 5)]))
    for kind in ("BitwiseAnd", "BitwiseOr", "BitwiseXor"):
        lab.op(kind, x, y, run=(0, 1), opset=18)
    for direction in ("LEFT", "RIGHT"):
        lab.op("BitShift", x.astype(np.uint8), (abs(y) % 8).astype(np.uint8), run=(0, 1), opset=11, direction=direction)
    model, _ = lab.one("BitShift", x.astype(np.uint8), y.astype(np.uint8), run=(0, 1), direction="UP")
    with pytest.raises(FormatError, match="direction 'UP', expected LEFT or RIGHT"):
        lab.import_(model)


@pytest.mark.parametrize("opset", [9, 16])
@pytest.mark.parametrize("dtype", [np.float32, np.int64, np.int32, np.uint8])
def test_where(lab, opset, dtype):
    condition = np.array([[True], [False], [True]])
    x, y = (10 * lab.normal(2, 1, 4)).astype(dtype), np.asarray(dtype(7))
    lab.op("Where", condition, x, y, run=(0, 1), opset=opset)
    lab.op("Where", condition, x, y, run=(1, 2), opset=opset)
    model, _ = lab.one("Where", condition.astype(np.int64), x, y)
    with pytest.raises(FormatError, match="condition of type int64, expected bool"):
        lab.import_(model)


def test_an_attention_mask(lab):
    """Scores where both a mask of keys and the triangle allow it, -inf elsewhere; softmax over keys."""
    scores, keys = lab.normal(2, 3, 6, 6), np.arange(12).reshape(2, 1, 1, 6)
    constants = {"rows": lab.ints(*range(6)).reshape(6, 1), "columns": lab.ints(*range(6)), "limit": np.asarray(8),
                 "low": np.asarray(np.float32(-np.inf))}
    nodes = [lab.node("GreaterOrEqual", ["rows", "columns"], ["triangle"]), lab.node("Less", ["keys", "limit"], ["valid"]),
             lab.node("And", ["triangle", "valid"], ["mask"]), lab.node("Where", ["mask", "scores", "low"], ["masked"]),
             lab.node("Softmax", ["masked"], axis=-1)]
    feeds = {"scores": scores, "keys": keys % 11}
    lab.check(lab.model(nodes, feeds, constants=constants), feeds)


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


@pytest.mark.parametrize("dtype", [np.int32, np.int64])
def test_prelu_of_integers(lab, dtype):
    lab.op("PRelu", np.arange(-6, 6, dtype=dtype).reshape(3, 4), np.array([[2], [-3], [5]], dtype), opset=16)


def test_prelu_slope_must_fit(lab):
    model, _ = lab.one("PRelu", lab.normal(2, 3), lab.normal(4, 2, 3))
    with pytest.raises(FormatError, match="does not broadcast"):
        lab.import_(model)
