"""Small float networks with weights that are worth quantising, and inputs for them."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from tinynet.converters.onnx import Importer
from tinynet.converters.onnx_load import open_source
from tinynet.converters.passes import run_passes


class Net:
    """net.op("Conv", x, w) -> name; net.model(y) -> onnx.ModelProto; net.graph(y) -> Graph after all passes."""

    def __init__(self, *shape: int, seed: int = 0, batch: int | str = 1):
        self.rng = np.random.default_rng(seed)
        self.shape = shape
        self.nodes, self.constants, self.x = [], {}, "x"
        self._input = helper.make_tensor_value_info("x", TensorProto.FLOAT, [batch, *shape])

    def constant(self, array) -> str:
        name = f"c{len(self.constants)}"
        self.constants[name] = np.asarray(array)
        return name

    def op(self, kind: str, *inputs, **attributes) -> str:
        names = [i if isinstance(i, str) else self.constant(i) for i in inputs]
        out = f"{kind.lower()}{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, names, [out], name=out, **attributes))
        return out

    def conv(self, x: str, inside: int, outside: int, kernel: int = 3, spread: float = 0.0, **attributes) -> str:
        """`spread`: decades between the weights of the channels."""
        groups = attributes.get("group", 1)
        w = self.rng.standard_normal((outside, inside // groups, kernel, kernel)) / np.sqrt(inside // groups * kernel ** 2)
        w *= 10 ** self.rng.uniform(-spread, 0, (outside, 1, 1, 1))
        b = self.rng.standard_normal(outside) * 0.1
        return self.op("Conv", x, w.astype("float32"), b.astype("float32"), pads=[kernel // 2] * 4, **attributes)

    def dense(self, x: str, inside: int, outside: int) -> str:
        w = self.rng.standard_normal((outside, inside)).astype("float32") / np.float32(np.sqrt(inside))
        return self.op("Gemm", x, w, np.zeros(outside, "float32"), transB=1)

    def model(self, *outputs: str) -> onnx.ModelProto:
        infos = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs]
        graph = helper.make_graph(self.nodes, "small", [self._input], infos,
                                  [numpy_helper.from_array(v, k) for k, v in self.constants.items()])
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        return onnx.shape_inference.infer_shapes(model)

    def graph(self, *outputs: str):
        notes: list[str] = []
        return run_passes(Importer(open_source(self.model(*outputs), None, None, None, notes), notes).run({}))

    def samples(self, count: int, seed: int = 1) -> np.ndarray:
        """[count, 1, ...]: smooth noise between 0 and 1, another brightness each."""
        rng = np.random.default_rng(seed)
        x = rng.random((count, 1, *self.shape)) * rng.uniform(0.3, 1, (count, 1, *(1,) * len(self.shape)))
        return x.astype("float32")


@pytest.fixture
def net():
    return Net


@pytest.fixture
def residual(net):
    """conv, depthwise, a sum, two activations that are no clamps, average, dense, softmax -> (Net, output)"""
    n = net(3, 12, 10)
    a = n.op("Relu", n.conv("x", 3, 16, strides=[2, 2]))
    b = n.op("LeakyRelu", n.conv(a, 16, 16, group=16), alpha=0.1)
    c = n.conv(b, 16, 16, 1)
    d = n.op("HardSwish", n.op("Add", a, c))
    e = n.op("Flatten", n.op("GlobalAveragePool", d))
    return n, n.op("Softmax", n.dense(e, 16, 5))
