"""`convert --winograd`: weights that are stored transformed."""

from __future__ import annotations

from unittest import mock

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

import tinynet
from tinynet import format as tnb
from tinynet.converters import convert_bytes
from tinynet.converters.writer import write
from tinynet.errors import FormatError

RNG = np.random.default_rng(5)


@pytest.fixture(scope="module")
def source():
    weights = {f"w{i}": RNG.standard_normal((40, 32 if i == 0 else 40, 3, 3)).astype(np.float32) / 20 for i in range(2)}
    graph = helper.make_graph(
        [helper.make_node("Conv", ["x", "w0"], ["a"], pads=[1, 1, 1, 1]),
         helper.make_node("Conv", ["a", "w1"], ["y"], pads=[1, 1, 1, 1])], "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 32, 30, 31])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [onnx.numpy_helper.from_array(a, n) for n, a in weights.items()])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


def kernels_of(model):
    return [step.kernel for step in model.plan.steps if step.node.op == "conv2d"]


@pytest.mark.parametrize("threads", [1, 2])
def test_the_same_numbers_and_nothing_left_to_transform(source, threads):
    plain, _ = convert_bytes(source)
    stored, _ = convert_bytes(source, winograd=True)
    x = RNG.standard_normal((1, 32, 30, 31), dtype=np.float32)
    with tinynet.load(plain, threads=threads) as a, tinynet.load(stored, threads=threads) as b:
        assert kernels_of(a) == kernels_of(b) == ["conv2d_winograd_f32"] * 2
        assert b.memory.constant_bytes < 4096 < a.memory.constant_bytes
        np.testing.assert_array_equal(a.run(x)["y"], b.run(x)["y"])
        assert len(stored) - len(plain) > a.memory.constant_bytes // 2


def test_a_convolution_that_joins_a_pool_is_stored_too(source):
    joined = onnx.ModelProto()
    joined.CopyFrom(source)
    joined.graph.node.append(helper.make_node("MaxPool", ["y"], ["z"], kernel_shape=[2, 2], strides=[2, 2]))
    joined.graph.output[0].name = "z"
    x = RNG.standard_normal((1, 32, 30, 31), dtype=np.float32)
    with mock.patch("tinynet.joins.LEAST_POOLED_BYTES", 0):
        plain, stored = convert_bytes(joined)[0], convert_bytes(joined, winograd=True)[0]
        with tinynet.load(plain) as a, tinynet.load(stored) as b:
            assert "bands" in [step.kernel for step in b.plan.steps]
            assert b.memory.constant_bytes < 4096 < a.memory.constant_bytes
            np.testing.assert_array_equal(a.run(x)["z"], b.run(x)["z"])


def test_direct_convolution_is_still_there(source):
    stored, _ = convert_bytes(source, winograd=True)
    with tinynet.load(stored, winograd=False) as model:
        assert kernels_of(model) == ["conv2d_f32"] * 2


def test_a_table_of_another_size_is_refused(source):
    graph = tnb.read(convert_bytes(source, winograd=True)[0])
    name = next(n for n in graph.tensors if "/winograd" in n)
    tensor = graph.tensors[name]
    for shape in ((tensor.shape[0] - 1, tensor.shape[1]), (tensor.size // 64, 64)):
        graph.tensors[name] = type(tensor)(name, shape, "float32", np.zeros(shape, np.float32))
        with pytest.raises(FormatError, match="transformed weights.*convert the model again"):
            tinynet.load(write(graph))
