from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tinynet import ops
from tinynet.graph import DTYPES


@pytest.mark.parametrize("source", sorted(DTYPES))
@settings(max_examples=20, deadline=None)
@given(to=st.sampled_from(sorted(DTYPES)), shape=st.lists(st.integers(1, 5), min_size=1, max_size=4),
       seed=st.integers(0, 2**32 - 1))
def test_against_onnxruntime(peer, source, to, shape, seed):
    onnx = pytest.importorskip("onnx")
    x = np.random.default_rng(seed).uniform(0, 100, shape).astype(source)
    expected = peer.run("Cast", [x], to=onnx.helper.np_dtype_to_tensor_dtype(np.dtype(to)))
    peer.agree(ops.make("cast", {"to": to}), [x], expected)


@pytest.mark.filterwarnings("error")
def test_truncation_and_truth(peer):
    x = np.array([-2.7, -0.5, 0, 0.5, 2.7, np.nan], np.float32)
    peer.agree(ops.make("cast", {"to": "int64"}), [x[:5]], np.array([-2, 0, 0, 0, 2]))
    peer.agree(ops.make("cast", {"to": "bool"}), [x], np.array([True, True, False, True, True, True]))
    assert ops.make("cast", {"to": "int32"}).reference(x)[0].dtype == np.int32


def test_refusals(peer):
    peer.refused(ops.make("cast", {"to": "complex64"}), (2,), match="to among .*found 'complex64'")
    peer.refused(ops.make("cast", {}), (2,), (2,), match="1 inputs, found 2")
