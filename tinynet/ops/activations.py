"""Element by element: the activations that other kinds can carry, and plain mathematical functions."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import numpy as np

from tinynet.ops.base import Op, Spec, register
from tinynet.ops.checks import need_float, need_inputs, need_name, quiet

ACTIVATIONS = frozenset({
    "none", "relu", "clip", "leaky_relu", "sigmoid", "tanh", "hard_sigmoid", "hard_swish", "silu", "elu",
})

# In the order of `tn_function` in kernels/micro/micro.h.
FUNCTIONS = (
    "none", "relu", "clip", "leaky_relu", "sigmoid", "tanh", "hard_sigmoid", "hard_swish", "silu", "elu",
    "exp", "sqrt", "log", "neg", "abs", "reciprocal", "floor", "ceil", "round", "erf", "softplus", "gelu",
)


def apply_activation(name: str, x: np.ndarray, alpha: float = 0.0, beta: float = 0.0) -> np.ndarray:
    """f(x) in x's dtype, float32.  NaN stays NaN.  `name` is one of ACTIVATIONS."""
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
    raise ValueError(f"expected activation among {', '.join(sorted(ACTIVATIONS))}, found {name!r}")


def clamp_of(name: str, alpha: float, beta: float) -> tuple[float, float]:
    """The bounds that an activation clamps to; infinite where it does not."""
    return {"relu": (0.0, math.inf), "clip": (alpha, beta)}.get(name, (-math.inf, math.inf))


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


class Unary(Op):
    """x, float32 of any shape -> the same shape."""

    elementwise: ClassVar[bool] = True

    def infer(self, *inputs: Spec) -> list[Spec]:
        need_inputs(inputs, 1)
        need_float(inputs)
        return [inputs[0]]

    def compute(self, x: np.ndarray) -> np.ndarray:
        raise NotImplementedError

    def reference(self, *arrays: np.ndarray) -> list[np.ndarray]:
        (x,) = arrays
        with quiet():
            # numpy turns the result of arithmetic on a rank-0 array into a scalar.
            return [np.asarray(self.compute(x), dtype=x.dtype)]

    def strided(self) -> tuple[bool, bool]:
        return True, True

    def inplace(self) -> tuple[int, ...]:
        return (0,)

    def lower(self, builder: Any, node: Any) -> bool:
        x, y = builder.view(node.inputs[0]), builder.view(node.outputs[0])
        rows, columns = (1, x.size) if x.contiguous and y.contiguous else (x.rows, x.row)
        builder.emit("unary_f32", [builder.tensor(x.name), builder.tensor(y.name)], nbytes=16 * x.size,
                     rows=rows, columns=columns, ldx=x.ld, ldy=y.ld, function=FUNCTIONS.index(self.kind),
                     alpha=getattr(self, "alpha", 0.0), beta=getattr(self, "beta", 0.0))
        return True


class Activation(Unary):
    """An activation as a layer of its own; `kind` is its name in ACTIVATIONS."""

    alpha: float = 0.0
    beta: float = 0.0

    def compute(self, x: np.ndarray) -> np.ndarray:
        return apply_activation(self.kind, x, self.alpha, self.beta)


@register
class Relu(Activation):
    """max(x, 0)"""

    kind: ClassVar[str] = "relu"


@register
class Clip(Activation):
    """min(max(x, alpha), beta)"""

    kind: ClassVar[str] = "clip"


@register
class LeakyRelu(Activation):
    """x where x >= 0, else alpha x"""

    kind: ClassVar[str] = "leaky_relu"


@register
class Sigmoid(Activation):
    """1 / (1 + exp(-x))"""

    kind: ClassVar[str] = "sigmoid"


@register
class Tanh(Activation):
    """tanh x"""

    kind: ClassVar[str] = "tanh"


@register
class HardSigmoid(Activation):
    """max(0, min(1, alpha x + beta))"""

    kind: ClassVar[str] = "hard_sigmoid"


@register
class HardSwish(Activation):
    """x max(0, min(1, x/6 + 1/2)), Howard et al. 2019, MobileNetV3"""

    kind: ClassVar[str] = "hard_swish"


@register
class Silu(Activation):
    """x sigmoid(x)"""

    kind: ClassVar[str] = "silu"


@register
class Elu(Activation):
    """x where x >= 0, else alpha (exp(x) - 1)"""

    kind: ClassVar[str] = "elu"


@register
class Exp(Unary):
    """exp x"""

    kind: ClassVar[str] = "exp"

    def compute(self, x: np.ndarray) -> np.ndarray:
        return np.exp(x)


@register
class Sqrt(Unary):
    """Square root; NaN for x < 0"""

    kind: ClassVar[str] = "sqrt"

    def compute(self, x: np.ndarray) -> np.ndarray:
        return np.sqrt(x)


@register
class Log(Unary):
    """Natural logarithm; -inf at 0, NaN for x < 0"""

    kind: ClassVar[str] = "log"

    def compute(self, x: np.ndarray) -> np.ndarray:
        return np.log(x)


@register
class Neg(Unary):
    """-x"""

    kind: ClassVar[str] = "neg"

    def compute(self, x: np.ndarray) -> np.ndarray:
        return np.negative(x)


@register
class Abs(Unary):
    """|x|"""

    kind: ClassVar[str] = "abs"

    def compute(self, x: np.ndarray) -> np.ndarray:
        return np.abs(x)


@register
class Reciprocal(Unary):
    """1 / x"""

    kind: ClassVar[str] = "reciprocal"

    def compute(self, x: np.ndarray) -> np.ndarray:
        return np.float32(1) / x


@register
class Floor(Unary):
    """Largest integer <= x"""

    kind: ClassVar[str] = "floor"

    def compute(self, x: np.ndarray) -> np.ndarray:
        return np.floor(x)


@register
class Ceil(Unary):
    """Smallest integer >= x"""

    kind: ClassVar[str] = "ceil"

    def compute(self, x: np.ndarray) -> np.ndarray:
        return np.ceil(x)


@register
class Round(Unary):
    """Nearest integer, halves to even"""

    kind: ClassVar[str] = "round"

    def compute(self, x: np.ndarray) -> np.ndarray:
        return np.rint(x)


@register
class Softplus(Unary):
    """log(1 + exp(x))"""

    kind: ClassVar[str] = "softplus"

    def compute(self, x: np.ndarray) -> np.ndarray:
        return np.logaddexp(np.float32(0), x)


_ERF_STEP = 1 / 16
_ERF_END = 6.0      # 1 - erf(6) < 2.2e-17


def _erf_table() -> np.ndarray:
    """[97][6]: Taylor coefficients of erf at the multiples of _ERF_STEP, from Hermite polynomials.

    Abramowitz & Stegun 7.1.19: erf^(n+1)(x) = (-1)^n 2/sqrt(pi) H_n(x) exp(-x^2).  Over half a step the next
    term, max |H_5(x) exp(-x^2)| 2/sqrt(pi) / 6! / 32^6, is below 1e-10.
    """
    rows = []
    for i in range(int(_ERF_END / _ERF_STEP) + 1):
        x = i * _ERF_STEP
        hermite = [1.0, 2 * x]
        for n in range(1, 4):
            hermite.append(2 * x * hermite[n] - 2 * n * hermite[n - 1])
        scale = 2 / math.sqrt(math.pi) * math.exp(-x * x)
        rows.append([math.erf(x)] + [(-1) ** n * scale * h / math.factorial(n + 1) for n, h in enumerate(hermite)])
    return np.array(rows)


_ERF = _erf_table()


def erf(x: np.ndarray) -> np.ndarray:
    """The error function in float64, absolute error below 1e-9 and, near 0, as good relatively.  NaN stays NaN."""
    x = np.asarray(x, np.float64)
    magnitude = np.minimum(np.abs(x), _ERF_END)
    index = np.rint(np.where(np.isnan(magnitude), 0, magnitude) / _ERF_STEP).astype(np.intp)
    d = magnitude - index * _ERF_STEP
    value = _ERF[index, 5]
    for term in range(4, -1, -1):
        value = value * d + _ERF[index, term]
    return np.copysign(value, x)


@register
class Erf(Unary):
    """2/sqrt(pi) times the integral of exp(-t^2) from 0 to x"""

    kind: ClassVar[str] = "erf"

    def compute(self, x: np.ndarray) -> np.ndarray:
        return erf(x)


@register
class Gelu(Unary):
    """x (1 + erf(x / sqrt 2)) / 2, Hendrycks & Gimpel 2016, the exact form"""

    kind: ClassVar[str] = "gelu"

    def compute(self, x: np.ndarray) -> np.ndarray:
        return 0.5 * x.astype(np.float64) * (1 + erf(x * math.sqrt(0.5)))
