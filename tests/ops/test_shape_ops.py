from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tinynet import ops
from tinynet.graph import DTYPES

shapes = st.lists(st.integers(1, 6), min_size=1, max_size=4)
seeds = st.integers(0, 2**32 - 1)


def indices(*values):
    return np.array(values, np.int64)


@settings(max_examples=60, deadline=None)
@given(shape=shapes, data=st.data(), seed=seeds)
def test_slice_against_onnxruntime(peer, shape, data, seed):
    x = peer.normal(seed, *shape)
    bound = st.integers(-9, 9)
    starts, ends = ([data.draw(bound) for _ in shape] for _ in range(2))
    steps = [data.draw(st.sampled_from([1, 2, 3, -1, -2, -3])) for _ in shape]
    expected = peer.run("Slice", [x, indices(*starts), indices(*ends), indices(*range(len(shape))), indices(*steps)])
    begin, end = [], []
    for b, e, s, d in zip(starts, ends, steps, shape, strict=True):
        # The clamping of ONNX Slice-13, which is not Python's: a negative step starts at 0 even if b < -d.
        b, e = (v + d if v < 0 else v for v in (b, e))
        first = min(max(b, 0), d - 1 if s < 0 else d)
        last = min(max(e, -1 if s < 0 else 0), d)
        # Where nothing is left the slice may begin at d, which the kind does not take.
        begin.append(min(first, d - 1))
        end.append(last if first < d else d - 1)
    op = ops.make("slice", {"begin": begin, "end": end, "step": steps})
    peer.agree(op, [x], expected)


def test_slice_backwards_past_the_start(peer):
    x = np.arange(10, dtype=np.int32).reshape(2, 5)
    op = ops.make("slice", {"begin": (1, 4), "end": (-1, -1), "step": (-1, -2)})
    peer.agree(op, [x], np.array([[9, 7, 5], [4, 2, 0]], np.int32))


def test_slice_refusals(peer):
    def op(begin, end, step):
        return ops.make("slice", {"begin": begin, "end": end, "step": step})

    peer.refused(op((0,), (2, 2), (1, 1)), (3, 4), match="begin of 2 integers")
    peer.refused(op((0, 0), (2,), (1, 1)), (3, 4), match="end of 2 integers")
    peer.refused(op((0, 0), (2, 2), (1, 1, 1)), (3, 4), match="step of 2 integers")
    peer.refused(op((0, 0), (2, 2), (1, 0)), (3, 4), match="step other than 0")
    peer.refused(op((3, 0), (3, 2), (1, 1)), (3, 4), match="begin between 0 and 2, found 3")
    peer.refused(op((0, -1), (2, 2), (1, 1)), (3, 4), match="begin between 0 and 3, found -1")
    peer.refused(op((0, 0), (2, 5), (1, 1)), (3, 4), match="end between 0 and 4 for step 1, found 5")
    peer.refused(op((0, 0), (2, -1), (1, 1)), (3, 4), match="end between 0 and 4 for step 1, found -1")
    peer.refused(op((0, 3), (2, -2), (1, -1)), (3, 4), match="end between -1 and 4 for step -1, found -2")


@settings(max_examples=25, deadline=None)
@given(shape=shapes, seed=seeds, data=st.data())
def test_reshape_against_onnxruntime(peer, shape, seed, data):
    x = peer.normal(seed, *shape)
    factors = [d for d in data.draw(st.permutations(shape)) if d > 1]
    cut = data.draw(st.integers(0, len(factors)))
    new = (math.prod(factors[:cut]), 1, *factors[cut:])
    peer.agree(ops.make("reshape", {"shape": new}), [x], peer.run("Reshape", [x, indices(*new)]))


def test_reshape_to_and_from_rank_0(peer):
    x = np.ones((1, 1), np.int8)
    peer.agree(ops.make("reshape", {"shape": ()}), [x], x.reshape(()))
    peer.agree(ops.make("reshape", {"shape": (1, 1)}), [x.reshape(())], x)


def test_reshape_refusals(peer):
    peer.refused(ops.make("reshape", {"shape": (2, 4)}), (2, 3), match=r"of 6 elements, as in \[2, 3\], found \[2, 4\]")
    peer.refused(ops.make("reshape", {"shape": (2, -1)}), (2, 3), match="without negative extents")
    peer.refused(ops.make("reshape", {"shape": (-2, -3)}), (2, 3), match="without negative extents")


@settings(max_examples=25, deadline=None)
@given(shape=shapes, more=st.lists(st.integers(1, 3), max_size=2), seed=seeds, data=st.data())
def test_expand_against_onnxruntime(peer, shape, more, seed, data):
    x = peer.normal(seed, *(data.draw(st.sampled_from([1, d])) for d in shape))
    new = (*more, *shape)
    peer.agree(ops.make("expand", {"shape": new}), [x], peer.run("Expand", [x, indices(*new)]))


def test_expand_refusals(peer):
    peer.refused(ops.make("expand", {"shape": (2, 4)}), (2, 3), match=r"broadcasts with \[2, 3\], found \[2, 4\]")
    peer.refused(ops.make("expand", {"shape": (2, 1)}), (2, 3), match=r"that \[2, 3\] broadcasts to, found \[2, 1\]")
    peer.refused(ops.make("expand", {"shape": (3,)}), (2, 3), match="broadcasts to")
    peer.refused(ops.make("expand", {"shape": (-1, 3)}), (2, 3), match="without negative extents")


@pytest.mark.parametrize("dtype", sorted(DTYPES))
@pytest.mark.parametrize("kind, attrs, expected", [
    ("slice", {"begin": (1, 2), "end": (-1, -1), "step": (-1, -2)}, [[1, 0], [1, 1]]),
    ("reshape", {"shape": (3, 2)}, [[1, 0], [1, 0], [1, 1]]),
    ("expand", {"shape": (1, 2, 3)}, [[[1, 0, 1], [0, 1, 1]]]),
    ("transpose", {"perm": (1, 0)}, [[1, 0], [0, 1], [1, 1]]),
])
def test_every_dtype(peer, kind, attrs, expected, dtype):
    x = np.array([[1, 0, 1], [0, 1, 1]]).astype(dtype)
    peer.agree(ops.make(kind, attrs), [x], np.array(expected).astype(dtype))


@pytest.mark.parametrize("shape", [(0, 3), (3, 0)])
def test_slice_of_an_empty_axis_is_empty(shape):
    """begin 0, end -1, step -1 is all of an axis with elements and nothing of one without."""
    op = ops.make("slice", {"begin": (0, 0), "end": (-1, -1), "step": (-1, -1)})
    expected = tuple(min(d, 1) for d in shape)
    assert op.infer(ops.Spec(shape)) == [ops.Spec(expected)]
    assert op.reference(np.zeros(shape, np.float32))[0].shape == expected
