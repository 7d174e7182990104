from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tinynet import ops
from tinynet.ops.activations import ACTIVATIONS, apply_activation, erf

# kind -> (ONNX operator, opset, tinynet attributes, ONNX attributes)
ONNX = {
    "relu": ("Relu", 17, {}, {}),
    "leaky_relu": ("LeakyRelu", 17, {"alpha": 0.3}, {"alpha": 0.3}),
    "sigmoid": ("Sigmoid", 17, {}, {}),
    "tanh": ("Tanh", 17, {}, {}),
    "hard_sigmoid": ("HardSigmoid", 17, {"alpha": 0.2, "beta": 0.5}, {}),
    "hard_swish": ("HardSwish", 17, {}, {}),
    "elu": ("Elu", 17, {"alpha": 1.5}, {"alpha": 1.5}),
    "exp": ("Exp", 17, {}, {}),
    "sqrt": ("Sqrt", 17, {}, {}),
    "log": ("Log", 17, {}, {}),
    "neg": ("Neg", 17, {}, {}),
    "abs": ("Abs", 17, {}, {}),
    "reciprocal": ("Reciprocal", 17, {}, {}),
    "floor": ("Floor", 17, {}, {}),
    "ceil": ("Ceil", 17, {}, {}),
    "round": ("Round", 17, {}, {}),
    "erf": ("Erf", 17, {}, {}),
    "softplus": ("Softplus", 17, {}, {}),
    "gelu": ("Gelu", 20, {}, {}),
}

# Meaning by Python's float64 functions, one number at a time.
MEANING = {
    "relu": lambda x: max(x, 0.0),
    "clip": lambda x: min(max(x, -0.5), 2.0),
    "leaky_relu": lambda x: x if x >= 0 else -0.5 * x,
    "sigmoid": lambda x: 1 / (1 + math.exp(-x)) if x >= 0 else math.exp(x) / (1 + math.exp(x)),
    "tanh": math.tanh,
    "hard_sigmoid": lambda x: max(0.0, min(1.0, -0.5 * x + 2.0)),
    "hard_swish": lambda x: x * max(0.0, min(1.0, x / 6 + 0.5)),
    "silu": lambda x: x / (1 + math.exp(-x)) if x >= 0 else x * math.exp(x) / (1 + math.exp(x)),
    "elu": lambda x: x if x >= 0 else -0.5 * math.expm1(x),
    "exp": math.exp,
    "sqrt": lambda x: math.sqrt(x) if x >= 0 else math.nan,
    "log": lambda x: math.log(x) if x > 0 else (-math.inf if x == 0 else math.nan),
    "neg": lambda x: -x,
    "abs": abs,
    "reciprocal": lambda x: 1 / x if x else math.copysign(math.inf, x),
    "floor": math.floor,
    "ceil": math.ceil,
    "round": round,
    "erf": math.erf,
    "softplus": lambda x: max(x, 0.0) + math.log1p(math.exp(-abs(x))),
    "gelu": lambda x: 0.5 * x * (1 + math.erf(x * math.sqrt(0.5))),
}
# alpha = -0.5 also tells alpha x from max(x, alpha x).
ALPHA_BETA = {"alpha": -0.5, "beta": 2.0}

arrays = hnp.arrays(np.float32, hnp.array_shapes(min_dims=0, max_dims=4, min_side=1, max_side=7),
                    elements=st.floats(-60, 60, width=32))


def make(kind):
    return ops.make(kind, ALPHA_BETA if kind in ACTIVATIONS else {})


@pytest.mark.parametrize("kind", sorted(ONNX))
@settings(max_examples=20, deadline=None)
@given(x=arrays)
def test_against_onnxruntime(peer, kind, x):
    operator, opset, attrs, onnx_attrs = ONNX[kind]
    expected = peer.run(operator, [x], opset=opset, **onnx_attrs)
    # onnxruntime's vector approximations (sigmoid is cut at +-18) are good to about 4 units in the last place of 1.
    peer.agree(ops.make(kind, attrs), [x], expected, atol=5e-7, rtol=1e-6)


@pytest.mark.parametrize("kind", sorted(MEANING))
@settings(max_examples=20, deadline=None)
@given(x=arrays)
def test_against_the_definition(peer, kind, x):
    with np.errstate(over="ignore"):
        expected = np.array([MEANING[kind](float(v)) for v in x.reshape(-1)]).astype(np.float32).reshape(x.shape)
    # Each formula rounds at most five times; 1e-38 is where float32 stops being relative.
    peer.agree(make(kind), [x], expected, atol=1e-9 * np.maximum(1, np.abs(x)), rtol=6 * 2.0 ** -23)


def test_the_lists_are_complete():
    unary = {kind for kind, cls in ops.kinds().items() if cls.__module__.endswith(".activations")}
    assert unary == set(MEANING)
    assert ACTIVATIONS - {"none"} <= unary


@settings(max_examples=25, deadline=None)
@given(x=hnp.arrays(np.float32, (5, 7), elements=st.floats(width=32)), low=st.floats(-3, 3, width=32),
       high=st.floats(-3, 3, width=32))
def test_clip_against_onnxruntime(peer, x, low, high):
    x = x[~np.isnan(x)]
    low, high = sorted((low, high))
    expected = peer.run("Clip", [x, np.array(low, np.float32), np.array(high, np.float32)])
    peer.agree(ops.make("clip", {"alpha": low, "beta": high}), [x], expected)


@settings(max_examples=25, deadline=None)
@given(x=hnp.arrays(np.float32, (3, 5), elements=st.floats(-60, 60, width=32)))
def test_silu_against_onnxruntime(peer, x):
    expected = x * peer.run("Sigmoid", [x])
    peer.agree(ops.make("silu", {}), [x], expected, atol=5e-7 * np.maximum(1, np.abs(x)))


@pytest.mark.parametrize("kind", sorted(MEANING))
def test_nan_passes_through(kind):
    x = np.array([1, np.nan, 2, np.nan], np.float32)
    assert np.isnan(make(kind).reference(x)[0]).tolist() == [False, True, False, True]


LIMITS = {       # f(-inf), f(inf); alpha = -0.5, beta = 2
    "relu": (0, np.inf), "clip": (-0.5, 2), "leaky_relu": (np.inf, np.inf), "sigmoid": (0, 1), "tanh": (-1, 1),
    "hard_sigmoid": (1, 0), "hard_swish": (np.nan, np.inf), "silu": (np.nan, np.inf), "elu": (0.5, np.inf),
    "exp": (0, np.inf), "sqrt": (np.nan, np.inf), "log": (np.nan, np.inf), "neg": (np.inf, -np.inf),
    "abs": (np.inf, np.inf), "reciprocal": (0, 0), "floor": (-np.inf, np.inf), "ceil": (-np.inf, np.inf),
    "round": (-np.inf, np.inf), "erf": (-1, 1), "softplus": (0, np.inf), "gelu": (np.nan, np.inf),
}


@pytest.mark.parametrize("kind", sorted(MEANING))
@pytest.mark.filterwarnings("error")
def test_infinities_and_silence(peer, kind):
    peer.agree(make(kind), [np.array([-np.inf, np.inf], np.float32)], np.array(LIMITS[kind], np.float32))
    make(kind).reference(np.array([-3e38, -1, 0, 1e-45, 3e38], np.float32))


def test_erf_in_float64():
    x = np.concatenate([np.linspace(-7, 7, 20001), 10.0 ** np.arange(-300, 3)])
    exact = np.array([math.erf(v) for v in x])
    error = np.abs(erf(x) - exact)
    assert error.max() < 1e-9
    assert (error <= 1e-9 * np.abs(exact)).all()


def test_unknown_activation_is_an_error():
    with pytest.raises(ValueError, match="expected activation among .*found 'swish'"):
        apply_activation("swish", np.zeros(1, np.float32))


def test_refusals(peer):
    relu = ops.make("relu", {})
    peer.refused(relu, match="1 inputs, found 0")
    peer.refused(relu, (1,), (1,), match="1 inputs, found 2")
    peer.refused(relu, ops.Spec((1,), "int64"), match="float32, found int64")
    peer.refused(relu, ops.Spec((1,), "complex64"), match="a dtype among")


def test_macs_are_not_counted():
    assert ops.make("exp", {}).macs([ops.Spec((5,))], [ops.Spec((5,))]) == 0
