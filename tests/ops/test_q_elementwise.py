"""Sums, products and tables of integers against onnxruntime with all its optimisations: all pairs of 8-bit numbers."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tinynet import ops

seeds = st.integers(0, 2 ** 32 - 1)
zeros = st.one_of(st.integers(0, 255), st.sampled_from([0, 1, 127, 128, 254, 255]))
PAIRS = [x.reshape(-1).astype(np.uint8) for x in np.meshgrid(np.arange(256), np.arange(256), indexing="ij")]
KINDS = {"q_add": ("Add", "com.microsoft.QLinearAdd"), "q_mul": ("Mul", "com.microsoft.QLinearMul")}


def made(kind, steps, **more):
    values = {f"{name}_{what}": value for name, step in zip("aby", steps, strict=True)
              for what, value in zip(("scale", "zero"), (float(np.float32(step[0])), step[1]), strict=True)}
    return ops.make(kind, values | more)


def signed(x):
    return (x ^ 0x80).view(np.int8)


def both(peer, kind, steps, form, dtype, arrays=PAIRS):
    """(reference, onnxruntime) of these uint8; for int8 onnxruntime sees both lowered by 128."""
    layer, name = KINDS[kind]
    (found,) = made(kind, steps).reference(*arrays)
    form = "QDQ" if form == "QDQ" else name
    if dtype == "uint8":
        return found, peer.quantized(layer, arrays, steps, form)
    return signed(found), peer.quantized(layer, [signed(a) for a in arrays], [(s, z - 128) for s, z in steps], form)


def scales(kind, seed, spread):
    """Of a, b and a y that is wider or up to 400 times narrower than what comes out; factors with all their bits.

    Where y is 100,000 times narrower, what is left of two large terms is rounding error in onnxruntime as well as here.
    """
    rng = np.random.default_rng(seed)
    a, b = np.exp(rng.normal(-4, 1, 2))
    real = math.hypot(a, b) if kind == "q_add" else a * b * 128
    return [float(np.float32(s)) for s in (a, b, real * math.exp(max(-6.0, rng.normal(0, spread))))]


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=30, deadline=None)
@given(form=st.sampled_from(["QDQ", "QOperator"]), dtype=st.sampled_from(["uint8", "int8"]), seed=seeds,
       spread=st.sampled_from([0.5, 2.0, 6.0]), z=st.tuples(zeros, zeros, zeros))
def test_all_pairs_against_onnxruntime(peer, kind, form, dtype, seed, spread, z):
    peer.steps_apart(*both(peer, kind, list(zip(scales(kind, seed, spread), z, strict=True)), form, dtype))


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=20, deadline=None)
@given(dtype=st.sampled_from(["uint8", "int8"]), powers=st.tuples(*[st.integers(-9, 0)] * 3), z=st.tuples(zeros, zeros, zeros))
def test_ties_go_where_onnxruntimes_go(peer, kind, dtype, powers, z):
    """Powers of two are exact: every second sum may lie between two results."""
    peer.steps_apart(*both(peer, kind, [(2.0 ** p, zero) for p, zero in zip(powers, z, strict=True)], "QDQ", dtype), most=0)


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=20, deadline=None)
@given(dtype=st.sampled_from(["uint8", "int8"]), tenths=st.tuples(*[st.integers(1, 60)] * 3), z=st.tuples(zeros, zeros, zeros))
def test_decimal_scales_are_never_off_by_more_than_one(peer, kind, dtype, tenths, z):
    """Where a tenth of the exact results are ties that float32 cannot hold, rounding errors decide, theirs and ours."""
    peer.steps_apart(*both(peer, kind, [(t / 10, zero) for t, zero in zip(tenths, z, strict=True)], "QDQ", dtype), most=1)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("a, b", [((2, 3, 5), (5,)), ((2, 3, 5), (3, 1)), ((2, 1, 1, 7), (2, 3, 4, 7)), ((), (3,)),
                                  ((4, 1), (1, 6)), ((), ())])
def test_broadcasting(peer, kind, a, b):
    arrays = [peer.integers(i, "uint8", *shape) for i, shape in enumerate((a, b))]
    found, expected = both(peer, kind, [(0.021, 7), (0.017, 200), (0.03, 90)], "QOperator", "uint8", arrays)
    peer.steps_apart(found, expected, most=0)
    op = made(kind, [(0.021, 7), (0.017, 200), (0.03, 90)])
    assert op.infer(ops.Spec(a, "uint8"), ops.Spec(b, "uint8")) == [ops.Spec(expected.shape, "uint8")]


@pytest.mark.parametrize("kind", KINDS)
def test_low_and_high_are_an_activation(peer, kind):
    steps = [(0.02, 100), (0.03, 120), (0.04, 110)]
    (free,) = made(kind, steps).reference(*PAIRS)
    (found,) = made(kind, steps, low=110, high=130).reference(*PAIRS)
    assert (found == np.clip(free, 110, 130)).all() and (free < 110).any() and (free > 130).any()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("tiny", [1e-6, 1e-20, 1e-33])
def test_scales_so_different_that_everything_saturates(kind, tiny):
    """onnxruntime gives 0 for what int32 cannot hold."""
    steps = [(0.5, 100), (0.5, 120), (tiny, 128)]
    (found,) = made(kind, steps).reference(*PAIRS)
    a, b = PAIRS[0].astype(int) - 100, PAIRS[1].astype(int) - 120
    real = a + b if kind == "q_add" else a * b
    if tiny > 1e-30:
        # Sums that cancel leave rounding errors of terms that large.
        clear = np.abs(real) > 0 if kind == "q_mul" else np.abs(real) > 1
        assert (found == np.where(real > 0, 255, 0))[clear].all()
    assert set(found.tolist()) <= {0, 128, 255} or kind == "q_add"


@pytest.mark.parametrize("kind", KINDS)
def test_refusals(peer, kind):
    good = [(0.1, 1)] * 3
    u8 = ops.Spec((3,), "uint8")
    peer.refused(made(kind, good), u8, match="2 inputs, found 1")
    peer.refused(made(kind, good), u8, ops.Spec((3,)), match="dtype uint8, found float32")
    peer.refused(made(kind, good), u8, ops.Spec((2,), "uint8"), match="broadcast")
    peer.refused(made(kind, [(0.1, 256), *good[1:]]), u8, u8, match="a_zero between 0 and 255, found 256")
    peer.refused(made(kind, [*good[1:], (-1.0, 0)]), u8, u8, match="y_scale, a positive normal float32, found -1")
    peer.refused(made(kind, good, low=9, high=8), u8, u8, match="low <= high")
    peer.refused(made(kind, [(3e38, 0), (3e38, 0), (1e-38 * 2, 0)]), u8, u8, match="ratio a float32 can hold")


# ---- tables

UNARY = {"sigmoid": ("Sigmoid", "com.microsoft.QLinearSigmoid", {}, {}),
         "leaky_relu": ("LeakyRelu", "com.microsoft.QLinearLeakyRelu", {"alpha": 0.1}, {"alpha": 0.1}),
         "hard_swish": ("HardSwish", "", {}, {}), "tanh": ("Tanh", "", {}, {}), "exp": ("Exp", "", {}, {}),
         "hard_sigmoid": ("HardSigmoid", "", {"alpha": 0.2, "beta": 0.5}, {"alpha": 0.2, "beta": 0.5})}


def table_of(kind, attributes, steps, dtype):
    """What a network of float layers gives for each of the 256 integers, in the order of their bits."""
    every = np.arange(256, dtype=np.uint8).view(dtype)
    (x_scale, x_zero), (y_scale, y_zero) = ((float(np.float32(s)), z) for s, z in steps)
    (real,) = ops.make("dequantize", {"scale": (x_scale,), "zero": (x_zero,)}).reference(every)
    (real,) = ops.make(kind, attributes).reference(real)
    return ops.make("quantize", {"scale": (y_scale,), "zero": (y_zero,), "dtype": dtype}).reference(real)[0]


@pytest.mark.parametrize("kind", UNARY)
@settings(max_examples=15, deadline=None)
@given(form=st.sampled_from(["QDQ", "QOperator"]), dtype=st.sampled_from(["uint8", "int8"]), seed=seeds,
       z=st.tuples(zeros, zeros))
def test_table_against_onnxruntime(peer, kind, form, dtype, seed, z):
    layer, name, ours, theirs = UNARY[kind]
    shift = 0 if dtype == "uint8" else 128
    steps = [(s, zero - shift) for s, zero in zip(np.exp(np.random.default_rng(seed).normal(-4, 1, 2)), z, strict=True)]
    x = peer.integers(seed, dtype, 7, 311)
    expected = peer.quantized(layer, [x], steps, name if form == "QOperator" and name else "QDQ", **theirs)
    table = table_of(kind, ours, steps, dtype)
    op = ops.make("q_table", {})
    assert op.infer(ops.Spec(x.shape, dtype), ops.Spec((256,), dtype)) == [ops.Spec(x.shape, dtype)]
    # One of 256 entries that is off by one is 0.4 % of the values.
    peer.steps_apart(op.reference(x, table)[0], expected, most=1 / 256 * 2)


def test_table_counts_int8_by_its_bits(peer):
    table = np.arange(256, dtype=np.uint8) ^ 0x80
    op = ops.make("q_table", {})
    x = peer.integers(1, "int8", 3, 5)
    (found,) = op.reference(x, table)
    assert found.dtype == np.uint8 and (found == x.astype(int) + 128).all()
    (back,) = op.reference(found, table.view(np.int8))
    assert back.dtype == np.int8 and (back == x).all()
    assert op.reference(np.asarray(np.uint8(3)), table)[0].shape == ()


def test_table_refusals(peer):
    op, u8 = ops.make("q_table", {}), ops.Spec((256,), "uint8")
    peer.refused(op, ops.Spec((3,)), u8, match="dtype among int8, uint8, found 'float32'")
    peer.refused(op, u8, ops.Spec((255,), "uint8"), match=r"table of shape \[256\]")
    peer.refused(op, u8, match="2 inputs, found 1")
