from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tinynet import ops
from tinynet.graph import DTYPES


@settings(max_examples=40, deadline=None)
@given(shape=st.lists(st.integers(1, 5), min_size=2, max_size=4), batch_first=st.booleans(), data=st.data(),
       seed=st.integers(0, 2**32 - 1))
def test_against_onnxruntime(peer, shape, batch_first, data, seed):
    batch, time = (0, 1) if batch_first else (1, 0)
    x = peer.normal(seed, *shape)
    lengths = np.array([data.draw(st.integers(1, shape[time])) for _ in range(shape[batch])])
    attrs = {"batch_axis": batch, "time_axis": time}
    peer.agree(ops.make("reverse_sequence", attrs), [x, lengths], peer.run("ReverseSequence", [x, lengths], **attrs))


@pytest.mark.parametrize("dtype", sorted(DTYPES))
def test_every_dtype_and_other_axes(peer, dtype):
    x = np.array([[[0, 1, 1], [1, 0, 0]]]).astype(dtype)
    peer.agree(ops.make("reverse_sequence", {"batch_axis": 1, "time_axis": -1}), [x, np.array([2, 0])],
               np.array([[[1, 0, 1], [1, 0, 0]]]).astype(dtype))


@pytest.mark.parametrize("lengths", [[4, 1], [1, -1]])
def test_lengths_outside_are_refused(lengths):
    with pytest.raises(ops.DataError, match=r"expected lengths between 0 and 3, found \["):
        ops.make("reverse_sequence", {}).reference(np.zeros((3, 2)), np.array(lengths))


def test_refusals(peer):
    ints = ops.Spec((3,), "int64")
    peer.refused(ops.make("reverse_sequence", {}), (3,), ints, match="x of rank >= 2")
    peer.refused(ops.make("reverse_sequence", {"batch_axis": 0}), (3, 3), ints, match="batch_axis and time_axis that differ")
    peer.refused(ops.make("reverse_sequence", {}), (3, 2), ints, match=r"int64 lengths of shape \[2\], found int64 \[3\]")
    peer.refused(ops.make("reverse_sequence", {}), (2, 3), (3,), match="int64 lengths")
