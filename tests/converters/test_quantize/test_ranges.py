from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tinynet import ops
from tinynet.converters.quantize.ranges import BINS, METHODS, rounded, steps


def histogram(x: np.ndarray) -> tuple[np.ndarray, float, float]:
    low, high = float(x.min()), float(x.max())
    return np.histogram(x, BINS, (low, high))[0], low, high


def error(x: np.ndarray, range_: tuple[float, float]) -> float:
    return float(np.square(x - rounded(x, *steps(*range_)), dtype=np.float64).mean())


numbers = st.floats(-1e6, 1e6, width=32)


@settings(max_examples=60, deadline=None)
@given(numbers, numbers)
def test_steps_cover_the_range_and_hold_zero(a, b):
    low, high = min(a, b), max(a, b)
    scale, zero = steps(low, high)
    assert 0 <= zero <= 255 and scale == float(np.float32(scale)) and scale >= 1.2e-38
    if high - low > 1e-20:
        ends = rounded(np.array([low, high, 0], np.float32), scale, zero)
        assert np.abs(ends - [low, high, 0]).max() <= 0.51 * scale * (1 + 1e-5)
        assert ends[2] == 0


def test_a_tensor_of_zeros_has_a_scale():
    assert steps(0.0, 0.0) == (1.0, 0)
    assert (rounded(np.zeros(3, np.float32), *steps(0.0, 0.0)) == 0).all()


@settings(max_examples=40, deadline=None)
@given(st.lists(st.floats(-1e3, 1e3, width=32), min_size=1, max_size=40), numbers, numbers)
def test_rounded_is_quantize_and_dequantize(values, a, b):
    x = np.array(values, np.float32)
    scale, zero = steps(min(a, b), max(a, b))
    q = ops.make("quantize", {"scale": (scale,), "zero": (zero,)}).reference(x)[0]
    real = ops.make("dequantize", {"scale": (scale,), "zero": (zero,)}).reference(q)[0]
    assert (rounded(x, scale, zero) == real).all()


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("kind", ["normal", "relu", "outlier", "constant", "negative"])
def test_ranges_lie_inside_what_was_seen(method, kind):
    x = np.random.default_rng(3).standard_normal(20_000).astype(np.float32)
    x = {"normal": x, "relu": np.maximum(x, 0), "outlier": np.append(x, np.float32(60)), "constant": np.full(9, 2, np.float32),
         "negative": -np.abs(x)}[kind]
    counts, low, high = histogram(x)
    found = METHODS[method](counts, low, high)
    width = (high - low) / BINS
    assert math.isfinite(found[0] + found[1]) and found[0] <= found[1]
    assert min(low, 0) - width <= found[0] and found[1] <= max(high, 0) + width


def test_minmax_keeps_everything_and_percentile_all_but_the_rarest():
    x = np.append(np.random.default_rng(1).uniform(-1, 1, 50_000), [90.0, -70.0]).astype(np.float32)
    counts, low, high = histogram(x)
    assert METHODS["minmax"](counts, low, high) == (-70.0, 90.0)
    found = METHODS["percentile"](counts, low, high)
    assert -1.3 < found[0] < -0.8 and 0.8 < found[1] < 1.3


@pytest.mark.parametrize("x", [
    np.append(np.random.default_rng(2).standard_normal(50_000), [60.0, -9.0]), np.random.default_rng(3).standard_t(3, 50_000),
    np.random.default_rng(4).uniform(-1, 3, 50_000)], ids=["outlier", "heavy", "even"])
def test_mse_finds_what_trying_everything_finds(x):
    x = x.astype(np.float32)
    counts, low, high = histogram(x)
    every = [error(x, (low * a, high * b)) for a in np.linspace(0.2, 1, 17) for b in np.linspace(0.2, 1, 17)]
    assert error(x, METHODS["mse"](counts, low, high)) <= 1.05 * min(every)


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2 ** 31), st.floats(2.0, 6))
def test_mse_is_not_worse_than_minmax(seed, tail):
    # With still heavier tails nearly everything lies in the few bins around 0, which then say too little.
    x = np.random.default_rng(seed).standard_t(tail, 20_000).astype(np.float32)
    found = METHODS["mse"](*histogram(x))
    assert error(x, found) <= 1.02 * error(x, (float(x.min()), float(x.max())))
