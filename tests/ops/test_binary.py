from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import mutually_broadcastable_shapes

from tinynet import ops
from tinynet.ops.activated import apply_activation

ONNX = {"add": "Add", "sub": "Sub", "mul": "Mul", "div": "Div", "pow": "Pow", "maximum": "Max", "minimum": "Min"}
shapes = mutually_broadcastable_shapes(num_shapes=2, max_dims=4, max_side=5)


@pytest.mark.parametrize("kind", sorted(ONNX))
@settings(max_examples=20, deadline=None)
@given(shapes=shapes, seed=st.integers(0, 2**32 - 1))
def test_floats_against_onnxruntime(peer, kind, shapes, seed):
    arrays = [peer.normal(seed + i, *shape) for i, shape in enumerate(shapes.input_shapes)]
    if kind == "pow":
        arrays[0] = np.asarray(np.abs(arrays[0]))
    # One rounding in IEEE arithmetic, so equal; pow is a library function on both sides.
    peer.agree(ops.make(kind, {}), arrays, peer.run(ONNX[kind], arrays), rtol=1e-6 if kind == "pow" else 0)


@pytest.mark.parametrize("dtype", ["int32", "int64", "uint8", "int8"])
@pytest.mark.parametrize("kind", sorted(set(ONNX) - {"pow"}))
@settings(max_examples=10, deadline=None)
@given(shapes=shapes, seed=st.integers(0, 2**32 - 1))
def test_integers_against_onnxruntime(peer, kind, dtype, shapes, seed):
    """Over the whole range, so that results wrap around."""
    a, b = (peer.integers(seed + i, dtype, *s) for i, s in enumerate(shapes.input_shapes))
    if kind == "div":
        b = np.where((b == 0) | (b == -1), 7, b).astype(dtype)     # the least integer / -1 stops a processor
    peer.agree(ops.make(kind, {}), [a, b], peer.run(ONNX[kind], [a, b]))


@pytest.mark.parametrize("base", ["float32", "int32", "int64"])
@pytest.mark.parametrize("exponent", ["float32", "int32", "int64"])
@settings(max_examples=10, deadline=None)
@given(shapes=shapes, seed=st.integers(0, 2**32 - 1))
def test_powers_of_mixed_types_against_onnxruntime(peer, base, exponent, shapes, seed):
    rng = np.random.default_rng(seed)
    a, b = (np.asarray(rng.integers(low, 7, s)).astype(dtype)
            for low, dtype, s in zip((-6, 0), (base, exponent), shapes.input_shapes, strict=True))
    peer.agree(ops.make("pow", {}), [a, b], peer.run("Pow", [a, b]), rtol=1e-6 if base == "float32" else 0)
    a, b = np.asarray(np.abs(a) + np.ones((), base)), np.asarray(rng.uniform(-3, 3, b.shape)).astype(exponent)
    peer.agree(ops.make("pow", {}), [a, b], peer.run("Pow", [a, b]), rtol=1e-6 if base == "float32" else 0)


@pytest.mark.parametrize("dtype", ["float32", "int32", "int64", "uint8", "int8"])
@pytest.mark.parametrize("fmod", [False, True])
@settings(max_examples=10, deadline=None)
@given(shapes=shapes, seed=st.integers(0, 2**32 - 1))
def test_mod_against_onnxruntime(peer, dtype, fmod, shapes, seed):
    if dtype == "float32":
        if not fmod:
            return
        a, b = (4 * peer.normal(seed + i, *s) for i, s in enumerate(shapes.input_shapes))
    else:
        # onnxruntime's fmod of int64 goes through float64.
        shift = 12 if dtype == "int64" else 0
        a, b = (peer.integers(seed + i, dtype, *s) >> shift for i, s in enumerate(shapes.input_shapes))
        b = np.where((b == 0) | (b == -1), 5, b).astype(dtype)
    a, b = np.asarray(a, dtype), np.asarray(b, dtype)
    peer.agree(ops.make("mod", {"fmod": fmod}), [a, b], peer.run("Mod", [a, b], fmod=int(fmod)))


def test_mod_corners(peer):
    """The sign of zero too; the table of ONNX Mod-28."""
    inf, nan = np.inf, np.nan
    a = np.float32([-7, 7, -7, 0.0, -0.0, inf, 1, 3, -3, nan, 5])
    b = np.float32([3, -3, -3, -2, 2, 2, 0, inf, inf, 1, nan])
    found = peer.agree(ops.make("mod", {}), [a, b], np.float32([2, -2, -1, -0.0, 0, nan, nan, 3, inf, nan, nan]))
    assert np.signbit(found[3:5]).tolist() == [True, False]
    peer.agree(ops.make("mod", {"fmod": True}), [a, b], np.float32([-1, 1, -1, 0, -0.0, nan, nan, 3, -3, nan, nan]))
    for dtype in ("int8", "int64"):
        a, b = np.array([[7, -7, 7, -7, 5, np.iinfo(dtype).min], [3, 3, -3, -3, 0, -1]], dtype)
        peer.agree(ops.make("mod", {}), [a, b], np.array([1, 2, -2, -1, 0, 0], dtype))
        peer.agree(ops.make("mod", {"fmod": True}), [a, b], np.array([1, -1, 1, -1, 0, 0], dtype))


def test_integer_corners(peer):
    a, b = np.array([[7, -7, 7, -7, 6], [2, 2, -2, -2, -3]], np.int64)
    peer.agree(ops.make("div", {}), [a, b], np.array([3, -3, -3, 3, -2], np.int64))
    peer.agree(ops.make("div", {}), [a, b * 0], np.zeros(5, np.int64))
    a, b = np.array([[2, 1, -1, -1, 0, 3, 0], [-1, -3, -2, -3, -1, 39, 0]], np.int64)
    peer.agree(ops.make("pow", {}), [a, b], np.array([0, 1, 1, -1, 0, 3**39, 1], np.int64))
    for dtype in ("int8", "int32"):
        least = np.array([np.iinfo(dtype).min], dtype)
        peer.agree(ops.make("div", {}), [least, np.array([-1], dtype)], least)
        peer.agree(ops.make("mul", {}), [least, np.array([3], dtype)], least)
    peer.agree(ops.make("pow", {}), [np.array([7, -7], np.int32), np.array([20, 21], np.int64)],
               np.array([7**20, -7**21], object).astype(np.int64).astype(np.int32))
    # float32 cannot tell an odd 2^24 + 1 from an even number.
    peer.agree(ops.make("pow", {}), [np.float32([-1, -1]), np.array([2**24 + 1, 2**24])], np.float32([-1, 1]))


@pytest.mark.parametrize("kind", ["maximum", "minimum"])
def test_nan_wins_on_either_side(kind):
    a, b = np.array([[np.nan, 1, 2], [1, np.nan, 3]], np.float32)
    assert np.isnan(ops.make(kind, {}).reference(a, b)[0]).tolist() == [True, True, False]


@pytest.mark.filterwarnings("error")
def test_division_by_zero_is_silent(peer):
    a = np.array([1, -1, 0], np.float32)
    peer.agree(ops.make("div", {}), [a, np.zeros(1, np.float32)], np.array([np.inf, -np.inf, np.nan], np.float32))


@pytest.mark.parametrize("kind", sorted(ONNX))
def test_activation_comes_last(peer, kind):
    arrays = [np.abs(peer.normal(1, 3, 1, 5)), peer.normal(2, 4, 5)]
    plain = ops.make(kind, {}).reference(*arrays)[0]
    peer.agree(ops.make(kind, {"activation": "tanh"}), arrays, apply_activation("tanh", plain))


@settings(max_examples=25, deadline=None)
@given(shape=st.lists(st.integers(1, 5), min_size=1, max_size=4), seed=st.integers(0, 2**32 - 1), data=st.data())
def test_prelu_against_onnxruntime(peer, shape, seed, data):
    kept = data.draw(st.integers(0, len(shape)))
    slope = [data.draw(st.sampled_from([1, d])) for d in shape[kept:]]
    arrays = [peer.normal(seed, *shape), peer.normal(seed + 1, *slope)]
    peer.agree(ops.make("prelu", {}), arrays, peer.run("PRelu", arrays))


def test_prelu_keeps_nan_and_large_slopes(peer):
    x = np.array([np.nan, -2, 2], np.float32)
    peer.agree(ops.make("prelu", {}), [x, np.float32([3.0])], np.array([np.nan, -6, 2], np.float32))


def test_macs():
    specs = [ops.Spec((3, 1)), ops.Spec((1, 5))]
    counted = {kind: ops.make(kind, {}).macs(specs, [ops.Spec((3, 5))]) for kind in (*ONNX, "prelu")}
    assert ops.make("mod", {}).macs(specs, [ops.Spec((3, 5))]) == 0
    assert counted == {"add": 15, "sub": 15, "mul": 15, "div": 15, "pow": 15, "maximum": 0, "minimum": 0, "prelu": 15}


def test_refusals(peer):
    add = ops.make("add", {})
    peer.refused(add, (1,), match="2 inputs, found 1")
    peer.refused(add, (2, 3), (4,), match=r"a shape that broadcasts with \[2, 3\], found \[4\]")
    peer.refused(add, (2,), ops.Spec((2,), "int64"), match="both inputs of dtype float32, found int64")
    peer.refused(add, ops.Spec((2,), "bool"), ops.Spec((2,), "bool"), match="found bool")
    peer.refused(ops.make("pow", {}), (2,), ops.Spec((2,), "bool"), match="exponent of a dtype among .*found bool")
    peer.refused(ops.make("mod", {}), (2,), ops.Spec((2,), "int8"), match="both inputs of dtype float32, found int8")
    peer.refused(ops.make("add", {"activation": "relu"}), ops.Spec((2,), "int64"), ops.Spec((2,), "int64"),
                 match="no activation on int64, found relu")
    peer.refused(ops.make("mul", {"activation": "abs"}), (2,), (2,), match="activation among")
    peer.refused(ops.make("prelu", {}), (2, 1), (3,), match=r"slope that broadcasts to \[2, 1\], found \[3\]")
    peer.refused(ops.make("prelu", {}), ops.Spec((2,), "int64"), (2,), match="float32, found int64")
