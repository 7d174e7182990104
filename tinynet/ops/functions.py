"""Element by element: plain mathematical functions, and questions about single numbers."""

from __future__ import annotations

import math
from typing import ClassVar

import numpy as np

from tinynet.ops.activated import each
from tinynet.ops.activations import Unary
from tinynet.ops.base import Op, Spec, register
from tinynet.ops.checks import need_float, need_inputs

INTEGERS = ("int64", "int32", "uint8", "int8")


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
    """-x; an integer without a negative stays"""

    kind: ClassVar[str] = "neg"
    dtypes: ClassVar[tuple[str, ...]] = ("float32", "int64", "int32", "int8")

    def compute(self, x: np.ndarray) -> np.ndarray:
        return np.negative(x)


@register
class Abs(Unary):
    """|x|; an integer without a negative stays"""

    kind: ClassVar[str] = "abs"
    dtypes: ClassVar[tuple[str, ...]] = ("float32", *INTEGERS)

    def compute(self, x: np.ndarray) -> np.ndarray:
        return np.abs(x)


@register
class Sign(Unary):
    """1, -1 or 0; NaN stays"""

    kind: ClassVar[str] = "sign"
    dtypes: ClassVar[tuple[str, ...]] = ("float32", *INTEGERS)

    def compute(self, x: np.ndarray) -> np.ndarray:
        return np.sign(x)


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
class Erf(Unary):
    """2/sqrt(pi) times the integral of exp(-t^2) from 0 to x"""

    kind: ClassVar[str] = "erf"

    def compute(self, x: np.ndarray) -> np.ndarray:
        return each(math.erf, x)


@register
class Sin(Unary):
    """Sine, x in radians; NaN for infinite x"""

    kind: ClassVar[str] = "sin"

    def compute(self, x: np.ndarray) -> np.ndarray:
        return np.sin(x)


@register
class Cos(Unary):
    """Cosine, x in radians; NaN for infinite x"""

    kind: ClassVar[str] = "cos"

    def compute(self, x: np.ndarray) -> np.ndarray:
        return np.cos(x)


@register
class Tan(Unary):
    """Tangent, x in radians; NaN for infinite x"""

    kind: ClassVar[str] = "tan"

    def compute(self, x: np.ndarray) -> np.ndarray:
        return np.tan(x)


@register
class Asin(Unary):
    """Inverse sine; NaN outside [-1, 1]"""

    kind: ClassVar[str] = "asin"

    def compute(self, x: np.ndarray) -> np.ndarray:
        return np.arcsin(x)


@register
class Acos(Unary):
    """Inverse cosine; NaN outside [-1, 1]"""

    kind: ClassVar[str] = "acos"

    def compute(self, x: np.ndarray) -> np.ndarray:
        return np.arccos(x)


@register
class Atan(Unary):
    """Inverse tangent"""

    kind: ClassVar[str] = "atan"

    def compute(self, x: np.ndarray) -> np.ndarray:
        return np.arctan(x)


@register
class Sinh(Unary):
    """Hyperbolic sine"""

    kind: ClassVar[str] = "sinh"

    def compute(self, x: np.ndarray) -> np.ndarray:
        return np.sinh(x)


@register
class Cosh(Unary):
    """Hyperbolic cosine"""

    kind: ClassVar[str] = "cosh"

    def compute(self, x: np.ndarray) -> np.ndarray:
        return np.cosh(x)


@register
class Asinh(Unary):
    """Inverse hyperbolic sine"""

    kind: ClassVar[str] = "asinh"

    def compute(self, x: np.ndarray) -> np.ndarray:
        return np.arcsinh(x)


@register
class Acosh(Unary):
    """Inverse hyperbolic cosine; NaN for x < 1"""

    kind: ClassVar[str] = "acosh"

    def compute(self, x: np.ndarray) -> np.ndarray:
        return np.arccosh(x)


@register
class Atanh(Unary):
    """Inverse hyperbolic tangent; NaN outside [-1, 1]"""

    kind: ClassVar[str] = "atanh"

    def compute(self, x: np.ndarray) -> np.ndarray:
        return np.arctanh(x)


@register
class LogicalNot(Unary):
    """not x, of bool"""

    kind: ClassVar[str] = "logical_not"
    dtypes: ClassVar[tuple[str, ...]] = ("bool",)

    def compute(self, x: np.ndarray) -> np.ndarray:
        return np.logical_not(x)


@register
class BitwiseNot(Unary):
    """Every bit of an integer inverted"""

    kind: ClassVar[str] = "bitwise_not"
    dtypes: ClassVar[tuple[str, ...]] = INTEGERS

    def compute(self, x: np.ndarray) -> np.ndarray:
        return np.invert(x)


class Predicate(Op):
    """x, float32 of any shape -> bool of the same shape."""

    elementwise: ClassVar[bool] = True

    def infer(self, *inputs: Spec) -> list[Spec]:
        need_inputs(inputs, 1)
        need_float(inputs)
        return [Spec(inputs[0].shape, "bool")]


@register
class IsNan(Predicate):
    """Is x not a number?"""

    kind: ClassVar[str] = "is_nan"

    def reference(self, *arrays: np.ndarray) -> list[np.ndarray]:
        return [np.asarray(np.isnan(arrays[0]))]


@register
class IsInf(Predicate):
    """Is x infinite, of a sign that is asked for?"""

    kind: ClassVar[str] = "is_inf"
    negative: bool = True
    positive: bool = True

    def reference(self, *arrays: np.ndarray) -> list[np.ndarray]:
        (x,) = arrays
        return [np.asarray((x == np.inf) & self.positive | (x == -np.inf) & self.negative)]
