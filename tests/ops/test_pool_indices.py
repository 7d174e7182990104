from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tinynet import ops


def last(x):
    return np.ascontiguousarray(np.moveaxis(x, 1, -1))


def both(peer, x, **attributes):
    """(values, indices) of one ONNX MaxPool from onnxruntime, NCHW."""
    onnx, ort = pytest.importorskip("onnx"), pytest.importorskip("onnxruntime")
    node = onnx.helper.make_node("MaxPool", ["x"], ["y", "i"], **attributes)
    graph = onnx.helper.make_graph([node], "g", [onnx.helper.make_tensor_value_info(
        "x", onnx.helper.np_dtype_to_tensor_dtype(x.dtype), x.shape)], [onnx.ValueInfoProto(name=n) for n in "yi"])
    model = onnx.helper.make_model(graph, ir_version=9, opset_imports=[onnx.helper.make_opsetid("", 17)])
    return ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"]).run(None, {"x": x})


@settings(max_examples=40, deadline=None)
@given(data=st.data(), rank=st.integers(1, 3), n=st.integers(1, 2), c=st.integers(1, 3), column_major=st.booleans(),
       dtype=st.sampled_from(["float32", "uint8", "int8"]), seed=st.integers(0, 2**32 - 1))
def test_indices_and_values_against_onnxruntime(peer, data, rank, n, c, column_major, dtype, seed):
    column_major &= rank > 1
    kernel, strides, dilations = (tuple(data.draw(st.integers(1, 3)) for _ in range(rank)) for _ in range(3))
    pads = tuple(data.draw(st.integers(0, k - 1)) for k in kernel * 2)
    shape = [max(data.draw(st.integers(1, 6)), d * (k - 1) + 1) for d, k in zip(dilations, kernel, strict=True)]
    # All different: onnxruntime's order among equals is its own.
    x = np.random.default_rng(seed).permutation(n * c * np.prod(shape)).reshape(n, c, *shape)
    x = (x - 3).astype(np.float32) if dtype == "float32" else (x % 128).astype(dtype)
    values, indices = both(peer, x, kernel_shape=kernel, strides=strides, dilations=dilations, pads=pads,
                           storage_order=int(column_major))
    attributes = {"kernel": kernel, "strides": strides, "dilations": dilations, "pads": pads}
    op = ops.make("max_pool_indices", {**attributes, "column_major": column_major})
    (found,) = op.reference(last(x))
    assert op.infer(ops.Spec(last(x).shape, dtype)) == [ops.Spec(found.shape, "int64")] and found.dtype == np.int64
    found = np.moveaxis(found, -1, 1)
    if x.size <= 128 or dtype == "float32":
        assert np.array_equal(found, indices)
    plain = ops.make("max_pool_indices", attributes).reference(last(x))[0]
    assert np.array_equal(x.reshape(-1)[np.moveaxis(plain, -1, 1)], values)
    if rank == 2:
        peer.agree(ops.make("max_pool2d", attributes), [last(x)], last(values))


def test_ties_nan_and_windows_without_pixels():
    x = np.array([3, 5, np.nan, np.nan, 5, 5, -np.inf], np.float32).reshape(1, 7, 1)

    def indices(**attrs):
        op = ops.make("max_pool_indices", {"kernel": (2,), "strides": (1,), "pads": (0, 0), "dilations": (1,), **attrs})
        return op.reference(x)[0].reshape(-1).tolist()

    assert indices() == [1, 2, 2, 3, 4, 5]
    assert indices(kernel=(1,), pads=(1, 0)) == [-1, 0, 1, 2, 3, 4, 5, 6]


@settings(max_examples=30, deadline=None)
@given(data=st.data(), rank=st.integers(1, 3), n=st.integers(1, 2), c=st.integers(1, 3), seed=st.integers(0, 2**32 - 1))
def test_unpool_against_onnxruntime(peer, data, rank, n, c, seed):
    kernel = tuple(data.draw(st.integers(1, 3)) for _ in range(rank))
    shape = tuple(data.draw(st.integers(1, 4)) for _ in range(rank))
    inner = tuple(k * d for k, d in zip(kernel, shape, strict=True))
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((n, c, *shape)).astype(np.float32)
    indices = rng.permutation(n * c * int(np.prod(inner)))[:x.size].reshape(x.shape)
    expected = peer.run("MaxUnpool", [x, indices], kernel_shape=kernel, strides=kernel)
    op = ops.make("max_unpool", {"inner": inner, "size": inner})
    peer.agree(op, [last(x), last(indices)], last(expected))
    larger = tuple(d + 1 for d in inner)
    (grown,) = ops.make("max_unpool", {"inner": inner, "size": larger}).reference(last(x), last(indices))
    assert np.array_equal(grown, np.pad(last(expected), [(0, 0), *[(0, 1)] * rank, (0, 0)]))


def test_unpool_of_a_wrong_index_and_of_one_index_twice():
    op = ops.make("max_unpool", {"inner": (3,), "size": (3,)})
    x = np.array([1, 2], np.float32).reshape(1, 2, 1)
    for bad in (3, -1):
        with pytest.raises(ops.DataError, match=rf"expected indices from 0 to 2, found \[{bad}\]"):
            op.reference(x, np.array([0, bad]).reshape(1, 2, 1))
    assert op.reference(x, np.array([1, 1]).reshape(1, 2, 1))[0].reshape(-1).tolist() == [0, 2, 0]


def test_refusals(peer):
    def op(**attrs):
        return ops.make("max_pool_indices", {"kernel": (2,), "strides": (1,), "pads": (0, 0), "dilations": (1,), **attrs})

    peer.refused(op(), (2, 3), match="x of shape")
    peer.refused(op(kernel=(2, 2)), (1, 4, 3), match="kernel of 1")
    peer.refused(op(kernel=(5,)), (1, 4, 3), match="padded spatial axis 0 of at least 5")
    peer.refused(op(), ops.Spec((1, 4, 3), "int64"), match="dtype among")
    unpool = ops.make("max_unpool", {"inner": (4,), "size": (3,)})
    peer.refused(unpool, ops.Spec((1, 2, 3)), ops.Spec((1, 2, 3), "int64"), match=r"size of at least \[4\]")
    peer.refused(unpool, ops.Spec((1, 2, 3)), ops.Spec((1, 2, 2), "int64"), match="indices of int64")
