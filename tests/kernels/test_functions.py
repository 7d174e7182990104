"""kernels/micro/functions.h: every function over the whole line against float64, in units in the last place (ulp).

The limits are those of the table in kernels/README.md.
"""

from __future__ import annotations

import functools
import math
import re
from pathlib import Path

import numpy as np
import pytest
from nets import SPECIAL, Net

from tinynet import kernels


@functools.cache
def line() -> np.ndarray:
    """Every sign and exponent, denormals too, with 96 mantissas each; densely where functions bend; the special values."""
    rng = np.random.default_rng(0)
    heads = np.arange(512, dtype=np.uint32)[:, None] << 23
    edges = [0, 1, 2, 0x400000, 0x7ffffe, 0x7fffff]
    bits = np.concatenate([heads | rng.integers(0, 1 << 23, (512, 90), np.uint32), heads | np.array(edges, np.uint32)], 1)
    dense = [rng.uniform(-r, r, n) for r, n in ((1, 20000), (6, 30000), (110, 30000))]
    parts = [SPECIAL, bits.reshape(-1).view(np.float32), *dense]
    return np.concatenate([p.astype(np.float32) for p in parts])


def logistic(x):
    e = np.exp(-np.abs(x))
    return np.where(x < 0, e, 1) / (1 + e)


def each(function):
    return lambda x: np.array([function(v) for v in x.tolist()])


def normal(x):
    return 0.5 * each(math.erfc)(x * -math.sqrt(0.5))


def mish(x):
    """Without cancellation: tanh(log(1 + e)) = e (e + 2) / (e (e + 2) + 2)."""
    e = np.exp(np.minimum(x, 40))
    return x * (e * (e + 2) / (e * (e + 2) + 2))


def elu(x, alpha, slope):
    return np.where(x < 0, alpha * np.expm1(np.minimum(x * slope, 0)), x)


ALPHA, GAMMA = (float(np.float32(v)) for v in (1.6732632423543772, 1.0507009873554805))
CELU = float(np.float32(0.7))
# kind -> (attributes, meaning in float64)
EXACT = {
    "exp": ({}, np.exp), "log": ({}, np.log), "sigmoid": ({}, logistic), "tanh": ({}, np.tanh), "erf": ({}, each(math.erf)),
    "gelu": ({}, lambda x: x * normal(x)),
    "gelu_tanh": ({}, lambda x: x * logistic(2 * math.sqrt(2 / math.pi) * (x + 0.044715 * x ** 3))),
    "softplus": ({}, lambda x: np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))), "mish": ({}, mish),
    "silu": ({}, lambda x: x * logistic(x)), "sqrt": ({}, np.sqrt), "reciprocal": ({}, lambda x: 1 / x),
    "sin": ({}, each(lambda v: math.sin(v) if math.isfinite(v) else math.nan)),
    "cos": ({}, each(lambda v: math.cos(v) if math.isfinite(v) else math.nan)),
    "elu": ({"alpha": 1.0}, lambda x: elu(x, 1.0, 1.0)),
    "selu": ({}, lambda x: GAMMA * elu(x, ALPHA, 1.0)),
    "celu": ({"alpha": 0.7}, lambda x: elu(x, CELU, 1 / CELU)),
    "softsign": ({}, lambda x: x / (1 + np.abs(x))),
    "hard_swish": ({}, lambda x: x * np.clip(x / 6 + 0.5, 0, 1)),
    "floor": ({}, np.floor), "ceil": ({}, np.ceil), "round": ({}, np.rint), "abs": ({}, np.abs), "neg": ({}, np.negative),
    "sign": ({}, np.sign),
}


def ulps(found: np.ndarray, exact: np.ndarray) -> np.ndarray:
    """Error in units in the last place of the exact result; infinite where NaN or infinity stands on one side only."""
    with np.errstate(all="ignore"):
        nearest = exact.astype(np.float32)
        unit = np.spacing(np.abs(np.where(np.isfinite(nearest), nearest, np.float32(2e38)))).astype(np.float64)
        error = np.abs(found.astype(np.float64) - exact) / unit
    same = (found == nearest) | (np.isnan(found) & np.isnan(nearest))
    return np.where(same, np.where(np.isfinite(error), error, 0),
                    np.where(np.isfinite(found) & ~np.isnan(nearest), error, np.inf))


# Largest error in ulp, on every instruction set; the table in kernels/README.md says the same.
LIMIT = {
    "exp": 1.1, "log": 0.9, "sigmoid": 2.8, "tanh": 2.8, "erf": 1.5, "softplus": 2.2, "sqrt": 0.5, "reciprocal": 0.5,
    "sin": 1.5, "cos": 1.5, "elu": 1.5, "selu": 2.5, "celu": 2.5, "softsign": 1.5, "hard_swish": 2.5,
    "floor": 0.0, "ceil": 0.0, "round": 0.0, "abs": 0.0, "neg": 0.0, "sign": 0.0,
    # exp(-z) is a denormal number below -87.3: then it is off by half of one, times x.
    "silu": lambda x: np.where(x < -87.3, np.abs(x), 3.5), "mish": lambda x: np.where(x < -87.3, np.abs(x), 4.5),
    # exp(-z) carries the rounding of z; gelu: z = x^2/2, rounded twice; gelu_tanh: z = 2 v, rounded four times.
    "gelu": lambda x: 5.0 + np.where(x < 0, x * x, 0),
    "gelu_tanh": lambda x: 3.5 + np.where(x < 0, 2 * np.abs(1.6 * x + 0.0714 * x ** 3), 0),
}


@pytest.mark.parametrize("level", kernels.available(integers=False))
@pytest.mark.parametrize("kind", EXACT)
def test_error_in_ulps(kind, level):
    attributes, meaning = EXACT[kind]
    x = line()
    with np.errstate(all="ignore"):
        exact = np.asarray(meaning(x.astype(np.float64)))
        limit = LIMIT[kind](x.astype(np.float64)) if callable(LIMIT[kind]) else LIMIT[kind]
    net = Net()
    y = net.add(kind, net.input(x), **attributes)
    with kernels.use_isa(level):
        found = net.model(y).run(net.feed)[y]
    error = ulps(found, exact)
    worst = int(np.argmax(error - limit))
    assert (error <= limit).all(), f"{error[worst]:.2f} ulp at {x[worst]!r}: {found[worst]!r}, exact {exact[worst]!r}"
    if kind != "sign":
        # -0 stays -0: a later division must see the sign.
        wrong = (exact == 0) & (np.signbit(found) != np.signbit(exact)) & (x == 0)
        assert not wrong.any(), f"sign of zero at {x[wrong][:3]}"


@pytest.mark.parametrize("kind", ["sin", "cos"])
def test_trigonometric_range(kind):
    """Multiples of pi/2, where the reduction cancels most, up to its range and beyond, where the C library takes over."""
    n = np.arange(-6000, 6000)
    near = (n * (math.pi / 2)).astype(np.float32)
    beside = [np.nextafter(near, np.float32(end)) for end in (-9e9, 9e9)]
    x = np.concatenate([near, *beside, np.float32([8192, 8193, 1e30])])
    exact = EXACT[kind][1](x.astype(np.float64))
    for level in kernels.available(integers=False):
        net = Net()
        y = net.add(kind, net.input(x))
        with kernels.use_isa(level):
            assert ulps(net.model(y).run(net.feed)[y], exact).max() <= LIMIT[kind]


@pytest.mark.parametrize("alpha", [-0.7, 0.0, 1e-40, 3e38])
def test_celu_of_odd_alphas(alpha):
    """Where alpha is not positive, and exp(x / alpha) grows without end, numpy takes over."""
    x = np.float32([-3, -1, -0.0, 0, 1, 3, 50, -50, np.nan])
    net = Net()
    y = net.add("celu", net.input(x), alpha=alpha)
    (expected,) = net.reference(y).values()
    net.agree(y, expected, np.abs(expected) * 2.0 ** -22 if alpha > 1 else 2.0 ** -22, native=alpha > 0)


def test_the_readme_says_the_same():
    text = (Path(__file__).parents[2] / "kernels" / "README.md").read_text()
    stated = {kind: float(limit) for names, limit in re.findall(r"^\| ((?:`\w+` ?)+)\| ([\d.]+) \|", text, re.M)
              for kind in re.findall(r"`(\w+)`", names)}
    assert stated == {kind: limit for kind, limit in LIMIT.items() if not callable(limit)}
