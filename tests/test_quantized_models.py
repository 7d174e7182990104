"""Whole 8-bit networks: real ones against their stored outputs, and small ones that onnxruntime's static quantiser makes.

The real ones are not part of the project, see test_models.py; TINYNET_ZOO8 names a folder with twins of generated networks
(python -m benchmarks twins).
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest

import tinynet

onnx = pytest.importorskip("onnx")

SHARED = Path(os.environ.get("TINYNET_SHARED", Path(__file__).resolve().parents[2] / "shared"))
ZOO8 = os.environ.get("TINYNET_ZOO8")
QDQ_FILES = sorted((SHARED / "models").glob("*/model_qdq.onnx"))
needs_models = pytest.mark.skipif(not QDQ_FILES, reason="no 8-bit models: set TINYNET_SHARED to the folder of the collection")
MOST_INPUTS = 20


def left_over(model):
    """Conversions between float32 and integers."""
    return sum(node.op in ("quantize", "dequantize") for node in model.graph.nodes)


def cases(path):
    index = json.loads((path.parent / "expected" / "index.json").read_text())
    return [case for case in index if case["model"] == path.name]


@needs_models
@pytest.mark.parametrize("path", QDQ_FILES, ids=lambda p: p.parent.name)
def test_stored_outputs(path):
    """As near to onnxruntime as it is to itself without its optimisations (`spread`; without one: to the bit)."""
    from tinynet.converters import convert_bytes

    assert cases(path)
    shape = np.load(path.parent / "expected" / cases(path)[0]["file"])["in0"].shape
    name = onnx.load(path).graph.input[0].name
    data, _ = convert_bytes(path, inputs={name: (1, *shape[1:])})
    with tinynet.load(data) as model:
        assert left_over(model) <= 2
        for case in cases(path):
            stored = np.load(path.parent / "expected" / case["file"])
            limit = max(case.get("spread", {}).get("ort_no_optimisation", [0]))
            for x, wanted in list(zip(stored["in0"], stored["out0"], strict=True))[:MOST_INPUTS]:
                found = next(iter(model.run(x[None]).values()))[0]
                off = np.abs(found.astype(int) - wanted).max()
                assert off <= limit
                assert found.argmax() == wanted.argmax() or wanted[found.argmax()] == wanted.max()


class Small:
    """A network with a stem, depthwise and pointwise layers, a residual sum, a concat and a classifier, as a float32 model."""

    def __init__(self, activation="Relu"):
        self.rng = np.random.default_rng(7)
        self.nodes, self.weights = [], []
        x = self.act("Relu", self.conv("x", 3, 16, 3, stride=2))
        y = self.act(activation, self.conv(x, 16, 16, 3, group=16))
        y = self.act("Relu", self.node("Add", self.conv(y, 16, 16, 1), x))
        a, b = self.act("Relu", self.conv(y, 16, 8, 1)), self.act(activation, self.conv(y, 16, 8, 3))
        y = self.node("MaxPool", self.node("Concat", a, b, axis=1), kernel_shape=[2, 2], strides=[2, 2])
        y = self.node("Flatten", self.node("GlobalAveragePool", self.conv(y, 16, 24, 1)))
        w, b = self.weight(10, 24, fan=24), self.weight(10, fan=4)
        self.nodes.append(onnx.helper.make_node("Gemm", [y, w, b], ["scores"], name="classifier", transB=1))

    def weight(self, *shape, fan):
        name = f"w{len(self.weights)}"
        array = (self.rng.standard_normal(shape) * np.sqrt(2 / fan)).astype(np.float32)
        self.weights.append(onnx.numpy_helper.from_array(array, name))
        return name

    def node(self, kind, *inputs, **attributes):
        out = f"t{len(self.nodes)}"
        self.nodes.append(onnx.helper.make_node(kind, list(inputs), [out], name=f"{kind}_{len(self.nodes)}", **attributes))
        return out

    def act(self, kind, x):
        if kind == "SiLU":
            return self.node("Mul", x, self.node("Sigmoid", x))
        return self.node(kind, x, **({"alpha": 0.1} if kind == "LeakyRelu" else {}))

    def conv(self, x, channels, outs, kernel, stride=1, group=1):
        fan = channels // group * kernel ** 2
        return self.node("Conv", x, self.weight(outs, channels // group, kernel, kernel, fan=fan), self.weight(outs, fan=50),
                         pads=[kernel // 2] * 4, strides=[stride, stride], group=group)

    def save(self, path):
        info = onnx.helper.make_tensor_value_info
        graph = onnx.helper.make_graph(self.nodes, "small", [info("x", 1, [1, 3, 24, 20])], [info("scores", 1, [1, 10])],
                                       self.weights)
        onnx.save(onnx.helper.make_model(graph, ir_version=9, opset_imports=[onnx.helper.make_opsetid("", 17)]), path)
        return path


def runtime(path, feeds):
    session = pytest.importorskip("onnxruntime").InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return session.run(None, feeds)


def agree(path, seeds=range(8), most_steps=2):
    """The model; its outputs are within two steps of onnxruntime's, the same class wherever it is clear."""
    model = tinynet.load(path)
    info, = model.inputs
    for seed in seeds:
        x = np.random.default_rng(seed).standard_normal(info.shape).astype(np.float32)
        wanted, = runtime(path, {info.name: x})
        found = model.run(x)[model.outputs[0].name]
        levels = np.unique(wanted)
        step = np.diff(levels).min()
        assert np.abs(found - wanted).max() <= most_steps * step * 1.01
        second, first = np.sort(wanted.reshape(-1))[-2:]
        assert found.argmax() == wanted.argmax() or first - second <= most_steps * step
    return model


@pytest.mark.parametrize("form", ["qdq", "qoperator"])
@pytest.mark.parametrize("activations", ["uint8", "int8"])
@pytest.mark.parametrize("options", [{}, {"per_channel": False}, {"reduce_range": True}], ids=str)
def test_small_networks_of_the_static_quantiser(tmp_path, form, activations, options):
    pytest.importorskip("onnxruntime.quantization")
    from benchmarks.twins import make_twin

    source = Small().save(tmp_path / "small.onnx")
    model = agree(make_twin(source, tmp_path / "twin.onnx", form, activations, **options))
    kinds = {node.op for node in model.graph.nodes}
    assert {"q_conv2d", "q_depthwise_conv2d", "q_add", "q_dense", "max_pool2d", "concat"} <= kinds
    assert not {"conv2d", "depthwise_conv2d", "dense", "add"} & kinds
    # At the ends, and around the mean.
    assert left_over(model) <= 4


@pytest.mark.parametrize("activation", ["LeakyRelu", "SiLU", "HardSwish", "Clip"])
def test_small_networks_with_other_activations(tmp_path, activation):
    pytest.importorskip("onnxruntime.quantization")
    from benchmarks.twins import make_twin

    model = agree(make_twin(Small(activation).save(tmp_path / "small.onnx"), tmp_path / "twin.onnx"))
    assert left_over(model) <= 4 and "q_table" in {node.op for node in model.graph.nodes}


TWINS = sorted(Path(ZOO8).glob("*.onnx")) if ZOO8 else []


@pytest.mark.skipif(not TWINS, reason="no 8-bit twins: set TINYNET_ZOO8 to a folder with them")
@pytest.mark.parametrize("path", TWINS, ids=lambda p: p.stem)
def test_twins_of_the_zoo(path):
    """Not further from onnxruntime than it is from itself without its optimisations, where these networks of random weights
    make the most of every rounding; between integer layers nothing is converted."""
    from benchmarks.inputs import make_inputs

    ort = pytest.importorskip("onnxruntime")
    names, arrays, _ = make_inputs(path)
    feeds = dict(zip(names, arrays, strict=True))
    results = []
    for level in (ort.GraphOptimizationLevel.ORT_ENABLE_ALL, ort.GraphOptimizationLevel.ORT_DISABLE_ALL):
        options = ort.SessionOptions()
        options.graph_optimization_level = level
        results.append(ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"]).run(None, feeds))
    found = list(tinynet.load(path).run(feeds).values())
    for got, wanted, other in zip(found, *results, strict=True):
        if wanted.dtype.kind != "f":
            assert (got != wanted).mean() <= max((other != wanted).mean(), 1e-3)
            continue
        scale = np.linalg.norm(wanted)
        assert np.linalg.norm(got - wanted) <= max(2 * np.linalg.norm(other - wanted), 1e-5 * scale)
