"""How far a float32 kernel may lie from the numpy reference: the one statement of it, with its derivation.

u = 2^-24 is the unit roundoff of float32, t = 2^-149 its smallest positive number.

Sums.  A sum of n products, in any order, with FMA or without, split in parts or not, differs from the exact one by at
most g(n) S with g(n) = n u / (1 - n u) and S the sum of the magnitudes |a||b| (Higham, Accuracy and Stability of Numerical
Algorithms, 2nd ed., (3.5)); a product that underflows adds at most t.  n counts every rounding on the way of one term: K for a
product of K terms, and one more for each of bias, residual and a factor.  Reference and kernel are both such sums, so
they differ by at most

    2 (g(n) S + n t).

S is what the reference gives for the magnitudes of its arguments, itself a float32 sum: it is divided by 1 - n u once more.

Functions.  y = f(x) computed from an x that is off by at most d lies within L d + e of f(x), where L is f's
steepest slope and e the error of evaluating f: `evaluation` below.  f(x) is the reference in float64, so e is the
kernel's error alone.

Where the exact result is infinite or NaN there is no error to allow: kernel and reference agree exactly.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tinynet import ops
from tinynet.ops.activated import apply_activation

U = 2.0 ** -24
TINY = 2.0 ** -149
BEYOND = 2.0 ** 128      # where float32 becomes infinite


def sums(terms: int, magnitude: Any) -> np.ndarray:
    """Two float32 sums of `terms` terms; `magnitude`: the sum of their magnitudes, from the reference."""
    growth = terms * U / (1 - terms * U)
    return 2 * (growth * np.asarray(magnitude, np.float64) / (1 - terms * U) + terms * TINY)


def slope(name: str, alpha: float) -> float:
    """Largest |f'| of an activation: silu and hard_swish overshoot, sigmoid is flattest."""
    return {"leaky_relu": max(1.0, abs(alpha)), "elu": max(1.0, abs(alpha)), "hard_sigmoid": abs(alpha),
            "sigmoid": 0.25, "hard_swish": 1.5, "silu": 1.1, "gelu": 1.13, "gelu_tanh": 1.13, "mish": 1.09}.get(name, 1.0)


# Relative error of the kernel in units of u, at least twice the ulp of test_functions.py, where each is measured alone.
#   pow       the C library within 1 ulp
#   softmax   exp, the division and a product; its sum is counted by `sums`
_RELATIVE = {"leaky_relu": 1, "exp": 4, "sigmoid": 8, "tanh": 8, "silu": 10, "elu": 4, "erf": 3, "log": 2, "sqrt": 1,
             "reciprocal": 1, "softplus": 6, "pow": 2, "softmax": 7, "mish": 10, "selu": 5, "celu": 5, "softsign": 3, "sin": 3,
             "cos": 3, "shrink": 1}


def evaluation(name: str, x: Any, y: Any, alpha: float = 0.0, beta: float = 0.0) -> np.ndarray:
    """Error of the kernel for y = f(x), y from the reference in float64."""
    x, y = np.abs(np.asarray(x, np.float64)), np.abs(np.asarray(y, np.float64))
    if name == "hard_sigmoid":
        # alpha x + beta matters where it lies in [0, 1]: |alpha x| <= 1 + |beta|, rounded twice.
        return np.full(y.shape, 2 * U * (1 + 2 * abs(beta)))
    if name == "hard_swish":
        # x/6 + 1/2 is off by 2 u where it lies in [0, 1], |x| <= 3; then a product with x.
        return 4 * U * np.maximum(y, np.minimum(x, 3)) + TINY
    relative = _RELATIVE.get(name, 0)
    if name.startswith("gelu"):
        # exp(-z) carries the rounding of z, which is x^2/2 or 2 v: see test_functions.py.
        with np.errstate(over="ignore"):
            relative = np.minimum(10 + (2 * x ** 2 if name == "gelu" else 4 * (1.6 * x + 0.0714 * x ** 3)), 1 / U)
    elif name not in _RELATIVE:
        return np.zeros(y.shape)
    # A denormal inside is off by t whatever its size; silu and mish multiply it by x, which is then below 104, gelu by 14.
    inner = {"silu": 128, "mish": 128, "gelu": 32, "gelu_tanh": 64}.get(name, 2) * TINY
    return np.where(np.isfinite(y), relative * U * y + inner, 0.0)


def activated(name: str, x: np.ndarray, error: np.ndarray, alpha: float = 0.0,
              beta: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """(f(x) in float64, bound of what a kernel gives that computes x within `error` and then f)."""
    x = np.asarray(x, np.float64)
    with np.errstate(all="ignore"):
        x = np.where(np.isinf(x.astype(np.float32)), np.copysign(np.inf, x), x)
        y = np.asarray(apply_activation(name, x, alpha, beta), np.float64)
        bound = 1.001 * slope(name, alpha) * np.broadcast_to(error, x.shape) + evaluation(name, x, y, alpha, beta)
    return y, np.where(np.isfinite(x), bound, 0.0)


def product(op: Any, arrays: list[np.ndarray], terms: int) -> tuple[np.ndarray, np.ndarray]:
    """(expected, bound) of a kind that sums products and ends with an activation, e.g. conv2d.

    `terms`: products per output, bias and residual included.
    """
    settings = {name: v for name, v in op.attributes().items() if name not in ("activation", "alpha", "beta")}
    linear = ops.make(op.kind, settings)
    (x,) = linear.reference(*arrays)
    (magnitude,) = linear.reference(*(np.abs(a) for a in arrays))
    return activated(getattr(op, "activation", "none"), x, sums(terms, magnitude), getattr(op, "alpha", 0.0),
                     getattr(op, "beta", 0.0))


def compare(found: np.ndarray, expected: np.ndarray, bound: Any, where: str) -> None:
    """AssertionError unless |found - expected| <= bound, NaN stands where NaN stands, and infinities agree."""
    assert found.shape == expected.shape, f"{where}: {found.shape}, expected {expected.shape}"
    with np.errstate(all="ignore"):
        f, e = (np.clip(np.asarray(v, np.float64), -BEYOND, BEYOND) for v in (found, expected))
        bound = np.where(np.isnan(bound), 0.0, np.broadcast_to(bound, e.shape))
        good = (np.abs(f - e) <= bound) | (np.isnan(f) & np.isnan(e))
    if not good.all():
        at = tuple(int(i[0]) for i in np.nonzero(~good)) if good.ndim else ()
        raise AssertionError(f"{where}: {int((~good).sum())} of {good.size} differ, first at {at}: found {found[at]!r}, "
                             f"expected {expected[at]!r} +- {bound[at]:.3g}")
