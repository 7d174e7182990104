"""Activations that layers of many kinds end with; as layers of their own they are in activations.py."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from tinynet.ops.base import Op
from tinynet.ops.checks import need_name, quiet

ACTIVATIONS = frozenset({
    "none", "relu", "clip", "leaky_relu", "sigmoid", "tanh", "hard_sigmoid", "hard_swish", "silu", "elu", "gelu", "gelu_tanh",
    "mish", "softplus",
})

# In the order of `tn_function` in kernels/micro/micro.h.
FUNCTIONS = (
    "none", "relu", "clip", "leaky_relu", "sigmoid", "tanh", "hard_sigmoid", "hard_swish", "silu", "elu",
    "exp", "sqrt", "log", "neg", "abs", "reciprocal", "floor", "ceil", "round", "erf", "softplus", "gelu",
    "gelu_tanh", "mish", "selu", "celu", "softsign", "thresholded_relu", "shrink", "sin", "cos", "sign",
)


def each(function: Callable[[float], float], x: np.ndarray) -> np.ndarray:
    """A function of the math module on every element, in float64: numpy has no erf."""
    x = np.asarray(x)
    return np.fromiter(map(function, x.reshape(-1).tolist()), np.float64, x.size).reshape(x.shape)


def apply_activation(name: str, x: np.ndarray, alpha: float = 0.0, beta: float = 0.0) -> np.ndarray:
    """f(x) in x's dtype, a float.  NaN stays NaN.  `name` is one of ACTIVATIONS."""
    with quiet():
        a, b, one = np.float32(alpha), np.float32(beta), np.float32(1)
        if name == "none":
            return x
        if name == "relu":
            return np.maximum(x, np.float32(0))
        if name == "clip":
            return np.minimum(np.maximum(x, a), b)
        if name == "leaky_relu":
            return np.where(x < 0, a * x, x)
        if name == "sigmoid":
            return one / (one + np.exp(-x))
        if name == "tanh":
            return np.tanh(x)
        if name == "hard_sigmoid":
            return np.maximum(np.float32(0), np.minimum(one, a * x + b))
        if name == "hard_swish":
            return x * np.maximum(np.float32(0), np.minimum(one, x / np.float32(6) + np.float32(0.5)))
        if name == "silu":
            return x * (one / (one + np.exp(-x)))
        if name == "elu":
            return np.where(x < 0, a * np.expm1(np.minimum(x, np.float32(0))), x)
        # In float64, where nothing that cancels is lost.
        z = np.asarray(x, np.float64)
        y = None
        if name == "gelu":
            y = 0.5 * z * each(math.erfc, z * -math.sqrt(0.5))
        elif name == "gelu_tanh":
            y = z / (1 + np.exp(-2 * math.sqrt(2 / math.pi) * (z + 0.044715 * z * z * z)))
        elif name == "mish":
            y = z * np.tanh(np.logaddexp(0, z))
        elif name == "softplus":
            y = np.logaddexp(0, z)
        if y is not None:
            return np.asarray(y, x.dtype)
    raise ValueError(f"expected activation among {', '.join(sorted(ACTIVATIONS))}, found {name!r}")


def clamp_of(name: str, alpha: float, beta: float) -> tuple[float, float]:
    """The bounds that an activation clamps to; infinite where it does not."""
    if name == "clip":
        return alpha, beta
    return 0.0 if name == "relu" else -math.inf, math.inf


class Activated(Op):
    """Attributes of a kind that ends with y = f(y)."""

    activation: str = "none"
    alpha: float = 0.0
    beta: float = 0.0

    def check_activation(self) -> None:
        need_name("activation", self.activation, ACTIVATIONS)

    def activate(self, y: np.ndarray) -> np.ndarray:
        return apply_activation(self.activation, y, self.alpha, self.beta)

    def epilogue(self) -> dict[str, Any]:
        """The activation as kernel parameters: a clamp to [lo, hi] and a function."""
        lo, hi = clamp_of(self.activation, self.alpha, self.beta)
        return {"function": FUNCTIONS.index(self.activation), "lo": lo, "hi": hi, "alpha": self.alpha, "beta": self.beta}
