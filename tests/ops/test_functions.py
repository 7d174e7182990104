from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tinynet import ops
from tinynet.ops.functions import INTEGERS

# kind -> (ONNX operator, meaning by Python's float64 functions, where it is tried)
LINE = (-60.0, 60.0)
FUNCTIONS = {
    "exp": ("Exp", math.exp, LINE), "sqrt": ("Sqrt", math.sqrt, (0.0, 60.0)), "log": ("Log", math.log, (2.0 ** -126, 60.0)),
    "neg": ("Neg", lambda x: -x, LINE), "abs": ("Abs", abs, LINE),
    "sign": ("Sign", lambda x: (x > 0) - (x < 0), LINE), "floor": ("Floor", math.floor, LINE),
    "ceil": ("Ceil", math.ceil, LINE), "round": ("Round", round, LINE),
    "reciprocal": ("Reciprocal", lambda x: 1 / x, (2.0 ** -10, 60.0)),
    "erf": ("Erf", math.erf, LINE), "sin": ("Sin", math.sin, LINE), "cos": ("Cos", math.cos, LINE),
    "tan": ("Tan", math.tan, (-1.5, 1.5)), "asin": ("Asin", math.asin, (-1.0, 1.0)), "acos": ("Acos", math.acos, (-1.0, 1.0)),
    "atan": ("Atan", math.atan, LINE), "sinh": ("Sinh", math.sinh, LINE), "cosh": ("Cosh", math.cosh, LINE),
    "asinh": ("Asinh", math.asinh, LINE), "acosh": ("Acosh", math.acosh, (1.0, 60.0)),
    "atanh": ("Atanh", math.atanh, (-1 + 2.0 ** -24, 1 - 2.0 ** -24)),
}
OTHERS = {"is_nan", "is_inf", "logical_not", "bitwise_not"}
shapes = hnp.array_shapes(min_dims=0, max_dims=4, min_side=1, max_side=7)


def numbers(data, low, high):
    return data.draw(hnp.arrays(np.float32, shapes, elements=st.floats(low, high, width=32)))


@pytest.mark.parametrize("kind", FUNCTIONS)
@settings(max_examples=20, deadline=None)
@given(data=st.data())
def test_against_onnxruntime_and_the_definition(peer, kind, data):
    operator, meaning, (low, high) = FUNCTIONS[kind]
    x = numbers(data, low, high)
    # onnxruntime's vector approximations are good to a few units in the last place of 1.
    peer.agree(ops.make(kind, {}), [x], peer.run(operator, [x]), atol=5e-7, rtol=1e-6)
    expected = np.array([meaning(float(v)) for v in x.reshape(-1)]).astype(np.float32).reshape(x.shape)
    peer.agree(ops.make(kind, {}), [x], expected, atol=2.0 ** -149, rtol=4 * 2.0 ** -23)


def test_the_lists_are_complete():
    assert {k for k, cls in ops.kinds().items() if cls.__module__.endswith(".functions")} == set(FUNCTIONS) | OTHERS


LIMITS = {       # f(-inf), f(inf), f(nan)
    "exp": (0, np.inf), "sqrt": (np.nan, np.inf), "log": (np.nan, np.inf), "neg": (np.inf, -np.inf), "abs": (np.inf, np.inf),
    "sign": (-1, 1), "reciprocal": (0, 0), "floor": (-np.inf, np.inf), "ceil": (-np.inf, np.inf), "round": (-np.inf, np.inf),
    "erf": (-1, 1), "sin": (np.nan, np.nan), "cos": (np.nan, np.nan), "tan": (np.nan, np.nan), "asin": (np.nan, np.nan),
    "acos": (np.nan, np.nan), "atan": (-math.pi / 2, math.pi / 2), "sinh": (-np.inf, np.inf), "cosh": (np.inf, np.inf),
    "asinh": (-np.inf, np.inf), "acosh": (np.nan, np.inf), "atanh": (np.nan, np.nan),
}


@pytest.mark.parametrize("kind", FUNCTIONS)
@pytest.mark.filterwarnings("error")
def test_infinities_and_silence(peer, kind):
    expected = np.array([*LIMITS[kind], np.nan], np.float32)
    peer.agree(ops.make(kind, {}), [np.array([-np.inf, np.inf, np.nan], np.float32)], expected)
    ops.make(kind, {}).reference(np.array([-3e38, -1, 0, 1e-45, 3e38], np.float32))


@pytest.mark.parametrize("dtype", INTEGERS)
@pytest.mark.parametrize("kind", ["neg", "abs", "sign"])
def test_integers_against_onnxruntime(peer, kind, dtype):
    ends = np.iinfo(dtype)
    x = np.array([ends.min, ends.min + 1, 0, 1, 7, ends.max], dtype)
    if (kind, dtype) == ("neg", "uint8"):
        peer.refused(ops.make(kind, {}), ops.Spec(x.shape, dtype), match="found uint8")
        return
    peer.agree(ops.make(kind, {}), [x], peer.run(FUNCTIONS[kind][0], [x]))


@pytest.mark.parametrize("dtype", INTEGERS)
def test_bitwise_not(peer, dtype):
    ends = np.iinfo(dtype)
    x = np.array([[ends.min, 0, 1], [7, ends.max - 1, ends.max]], dtype)
    peer.agree(ops.make("bitwise_not", {}), [x], peer.run("BitwiseNot", [x], opset=18))


def test_logical_not(peer):
    x = np.array([[True, False, False]])
    peer.agree(ops.make("logical_not", {}), [x], peer.run("Not", [x]))
    peer.agree(ops.make("logical_not", {}), [np.array(True)], np.array(False))


@pytest.mark.parametrize("negative", [False, True])
@pytest.mark.parametrize("positive", [False, True])
def test_questions(peer, negative, positive):
    x = np.array([[-np.inf, np.inf, np.nan], [0, -3e38, 1e-45]], np.float32)
    peer.agree(ops.make("is_nan", {}), [x], peer.run("IsNaN", [x]))
    expected = peer.run("IsInf", [x], detect_negative=int(negative), detect_positive=int(positive))
    peer.agree(ops.make("is_inf", {"negative": negative, "positive": positive}), [x], expected)
    peer.agree(ops.make("is_nan", {}), [np.float32(np.nan).reshape(())], np.array(True))


def test_refusals(peer):
    for kind, dtype in (("exp", "int64"), ("neg", "bool"), ("logical_not", "uint8"), ("bitwise_not", "float32"),
                        ("is_nan", "int32"), ("is_inf", "bool")):
        peer.refused(ops.make(kind, {}), ops.Spec((2,), dtype), match=f"dtype .*found {dtype}")
        peer.refused(ops.make(kind, {}), (1,), (1,), match="1 inputs, found 2")


def test_macs_are_not_counted():
    assert ops.make("exp", {}).macs([ops.Spec((5,))], [ops.Spec((5,))]) == 0
