from __future__ import annotations

import platform

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


@pytest.mark.parametrize("to", ["int64", "int32", "uint8", "int8", "bool"])
@pytest.mark.filterwarnings("error")
def test_floats_that_integers_cannot_hold(to):
    """What x86 makes of them, here spelled in Python's integers."""
    x = np.array([np.nan, np.inf, -np.inf, 3e9, -3e9, 1e20, -1e20, 2.0 ** 31, -2.0 ** 31, 2.0 ** 63, -2.0 ** 63, 2147483520,
                  300.7, -300.7, 255.5, 256, -1.5, 128, -129], np.float32)
    bits = 64 if to == "int64" else 32
    def one(v):
        if to == "bool":
            return True
        whole = int(v) if abs(v) < np.inf and -2 ** (bits - 1) <= int(v) < 2 ** (bits - 1) else -2 ** (bits - 1)
        if to == "uint8":
            return whole % 256
        return (whole + 128) % 256 - 128 if to == "int8" else whole
    assert ops.make("cast", {"to": to}).reference(x)[0].tolist() == [one(v) for v in x.tolist()]


@pytest.mark.parametrize("to", ["int64", "int32", "uint8", "int8"])
def test_numbers_out_of_range_against_onnxruntime(peer, to):
    onnx = pytest.importorskip("onnx")
    if platform.machine() != "x86_64":
        pytest.skip("onnxruntime leaves this to the processor")
    x = np.array([np.nan, np.inf, -np.inf, 3e9, -3e9, 1e20, 300.7, -300.7, 256, -129], np.float32)
    expected = peer.run("Cast", [x], to=onnx.helper.np_dtype_to_tensor_dtype(np.dtype(to)))
    peer.agree(ops.make("cast", {"to": to}), [x], expected)


def test_refusals(peer):
    peer.refused(ops.make("cast", {"to": "complex64"}), (2,), match="to among .*found 'complex64'")
    peer.refused(ops.make("cast", {}), (2,), (2,), match="1 inputs, found 2")
