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
