from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tinynet import ops
from tinynet.ops.activated import ACTIVATIONS, apply_activation

# kind -> (ONNX operator, opset, tinynet attributes, ONNX attributes)
ONNX = {
    "relu": ("Relu", 17, {}, {}),
    "leaky_relu": ("LeakyRelu", 17, {"alpha": 0.3}, {"alpha": 0.3}),
    "sigmoid": ("Sigmoid", 17, {}, {}),
    "tanh": ("Tanh", 17, {}, {}),
    "hard_sigmoid": ("HardSigmoid", 17, {"alpha": 0.2, "beta": 0.5}, {}),
    "hard_swish": ("HardSwish", 17, {}, {}),
    "elu": ("Elu", 17, {"alpha": 1.5}, {"alpha": 1.5}),
    "selu": ("Selu", 17, {}, {}),
    "celu": ("Celu", 17, {"alpha": 0.7}, {"alpha": 0.7}),
    "softsign": ("Softsign", 17, {}, {}),
    "thresholded_relu": ("ThresholdedRelu", 17, {"alpha": 0.7}, {"alpha": 0.7}),
    "shrink": ("Shrink", 17, {"threshold": 0.7, "bias": 0.3}, {"lambd": 0.7, "bias": 0.3}),
    "mish": ("Mish", 18, {}, {}),
    "gelu_tanh": ("Gelu", 20, {}, {"approximate": "tanh"}),
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
    "selu": lambda x: 1.0507009873554805 * (x if x >= 0 else 1.6732632423543772 * math.expm1(x)),
    "celu": lambda x: x if x >= 0 else 2.0 * math.expm1(x / 2.0),
    "softsign": lambda x: x / (1 + abs(x)),
    "thresholded_relu": lambda x: x if x > 0.5 else 0.0,
    "shrink": lambda x: x + 0.25 if x < -0.5 else x - 0.25 if x > 0.5 else 0.0,
    "mish": lambda x: x * math.tanh(max(x, 0.0) + math.log1p(math.exp(-abs(x)))),
    "gelu_tanh": lambda x: 0.5 * x * (1 + math.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x ** 3))),
    "softplus": lambda x: max(x, 0.0) + math.log1p(math.exp(-abs(x))),
    "gelu": lambda x: 0.5 * x * (1 + math.erf(x * math.sqrt(0.5))),
}
# alpha = -0.5 also tells alpha x from max(x, alpha x).
ALPHA_BETA = {"alpha": -0.5, "beta": 2.0}

arrays = hnp.arrays(np.float32, hnp.array_shapes(min_dims=0, max_dims=4, min_side=1, max_side=7),
                    elements=st.floats(-60, 60, width=32))


ATTRIBUTES = {"celu": {"alpha": 2.0}, "thresholded_relu": {"alpha": 0.5}, "shrink": {"threshold": 0.5, "bias": 0.25}}


def make(kind):
    return ops.make(kind, ALPHA_BETA if kind in ACTIVATIONS else ATTRIBUTES.get(kind, {}))


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
def test_nan_passes_through(peer, kind):
    x = np.array([1, np.nan, 2, np.nan], np.float32)
    passes = kind not in ("thresholded_relu", "shrink")
    assert np.isnan(make(kind).reference(x)[0]).tolist() == [False, passes, False, passes]
    if not passes:
        operator, opset, _, onnx_attrs = ONNX[kind]
        assert not np.isnan(peer.run(operator, [x], opset=opset, **onnx_attrs)).any()


LIMITS = {       # f(-inf), f(inf); alpha = -0.5, beta = 2
    "relu": (0, np.inf), "clip": (-0.5, 2), "leaky_relu": (np.inf, np.inf), "sigmoid": (0, 1), "tanh": (-1, 1),
    "hard_sigmoid": (1, 0), "hard_swish": (np.nan, np.inf), "silu": (np.nan, np.inf), "elu": (0.5, np.inf),
    "selu": (-1.7580993, np.inf), "celu": (-2, np.inf), "softsign": (np.nan, np.nan), "thresholded_relu": (0, np.inf),
    "shrink": (-np.inf, np.inf), "softplus": (0, np.inf), "mish": (np.nan, np.inf), "gelu": (np.nan, np.inf),
    "gelu_tanh": (np.nan, np.inf),
}


@pytest.mark.parametrize("kind", sorted(MEANING))
@pytest.mark.filterwarnings("error")
def test_infinities_and_silence(peer, kind):
    peer.agree(make(kind), [np.array([-np.inf, np.inf], np.float32)], np.array(LIMITS[kind], np.float32))
    make(kind).reference(np.array([-3e38, -1, 0, 1e-45, 3e38], np.float32))


def test_unknown_activation_is_an_error():
    with pytest.raises(ValueError, match="expected activation among .*found 'swish'"):
        apply_activation("swish", np.zeros(1, np.float32))


def test_refusals(peer):
    relu = ops.make("relu", {})
    peer.refused(relu, match="1 inputs, found 0")
    peer.refused(relu, (1,), (1,), match="1 inputs, found 2")
    peer.refused(relu, ops.Spec((1,), "int64"), match="float32, found int64")
    peer.refused(relu, ops.Spec((1,), "complex64"), match="a dtype among")
