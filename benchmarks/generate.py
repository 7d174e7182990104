"""Networks for the benchmarks: classic architectures with seeded random weights, written as ONNX files.

Weights are He-normal, scaled by a running estimate of what arrives at each layer, so that activations stay O(1)
however deep the network is and the scores depend on the input.  The scores mean nothing: nothing is trained here.
Batch 1, float32, NCHW, opset 17; a convolution carries a bias, as networks that were exported for inference do.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from statistics import NormalDist
from typing import Any, NamedTuple

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

CACHE = Path(__file__).parent / ".cache"
OPSET, IR = 17, 8
# Part of the cached files' names: raise it when a network below changes.
REVISION = 1

# Quantiles of the standard normal distribution: through these, an activation's effect on mean and variance is computed.
_NORMAL = np.array([NormalDist().inv_cdf((i + 0.5) / 512) for i in range(512)])


class Value(NamedTuple):
    """A tensor while the network is built; mean and variance are estimates over everything in it."""

    name: str
    channels: int
    size: int = 1
    mean: float = 0.0
    variance: float = 1.0


class Network:
    """Collects nodes and weights.  Layers take a Value and return one; images are square."""

    def __init__(self, name: str, channels: int, size: int):
        self.name = name
        self.rng = np.random.default_rng(sum(map(ord, name)))
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []
        self.input = Value("image", channels, size)

    def _node(self, op: str, inputs: list[str], **attributes: Any) -> str:
        output = f"t{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, inputs, [output], name=f"{op.lower()}_{len(self.nodes)}", **attributes))
        return output

    def _constant(self, array: np.ndarray) -> str:
        name = f"w{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(array, name))
        return name

    def _filter(self, shape: tuple[int, ...], variance: float, gain: float) -> tuple[str, str]:
        """Names of weights and bias that turn inputs of this variance into outputs of variance gain**2.

        A filter's weights sum to zero where it is large: a common offset of all its inputs (the mean after ReLU) would
        otherwise grow from layer to layer until the scores no longer depend on the picture.
        """
        w = self.rng.standard_normal(shape).astype(np.float32)
        fan_in = w[0].size
        if fan_in > 32:
            w -= w.mean(axis=tuple(range(1, w.ndim)), keepdims=True)
        w *= np.float32(gain / np.sqrt(fan_in * variance))
        bias = (0.2 * gain * self.rng.standard_normal(shape[0])).astype(np.float32)
        return self._constant(w), self._constant(bias)

    def conv(self, x: Value, channels: int, kernel: int = 1, stride: int = 1, pad: int | None = None, groups: int = 1,
             act: str = "", gain: float = 1.0) -> Value:
        pad = kernel // 2 if pad is None else pad
        w, b = self._filter((channels, x.channels // groups, kernel, kernel), x.variance, gain)
        name = self._node("Conv", [x.name, w, b], kernel_shape=[kernel] * 2, strides=[stride] * 2, pads=[pad] * 4,
                          group=groups)
        out = Value(name, channels, (x.size + 2 * pad - kernel) // stride + 1, 0.0, gain * gain)
        return self.activation(out, act)

    def dense(self, x: Value, units: int, act: str = "") -> Value:
        w, b = self._filter((units, x.channels), x.variance, 1.0)
        return self.activation(Value(self._node("Gemm", [x.name, w, b], transB=1), units), act)

    def activation(self, x: Value, act: str) -> Value:
        if not act:
            return x
        sample = x.mean + np.sqrt(x.variance) * _NORMAL
        if act == "relu":
            name, sample = self._node("Relu", [x.name]), np.maximum(sample, 0)
        elif act == "relu6":
            low, high = (self._constant(np.float32(v)) for v in (0, 6))
            name, sample = self._node("Clip", [x.name, low, high]), np.clip(sample, 0, 6)
        elif act == "leaky":
            name, sample = self._node("LeakyRelu", [x.name], alpha=0.1), np.where(sample < 0, 0.1 * sample, sample)
        else:
            name, sample = self._node("Tanh", [x.name]), np.tanh(sample)
        return x._replace(name=name, mean=float(sample.mean()), variance=float(sample.var()))

    def max_pool(self, x: Value, kernel: int, stride: int, pads: tuple[int, int] = (0, 0)) -> Value:
        """`pads`: rows and columns before, and after."""
        name = self._node("MaxPool", [x.name], kernel_shape=[kernel] * 2, strides=[stride] * 2,
                          pads=[pads[0], pads[0], pads[1], pads[1]])
        return x._replace(name=name, size=(x.size + sum(pads) - kernel) // stride + 1)

    def average_pool(self, x: Value, kernel: int) -> Value:
        name = self._node("AveragePool", [x.name], kernel_shape=[kernel] * 2, strides=[kernel] * 2)
        return x._replace(name=name, size=x.size // kernel, variance=x.variance / kernel)

    def global_average(self, x: Value) -> Value:
        flat = self.flatten(x._replace(name=self._node("GlobalAveragePool", [x.name]), size=1))
        # Offsets of whole channels stay (less than half of the variance here); the rest averages out over the pixels.
        return flat._replace(variance=x.variance * (0.4 + 1 / x.size**2))

    def flatten(self, x: Value) -> Value:
        return x._replace(name=self._node("Flatten", [x.name], axis=1), channels=x.channels * x.size**2, size=1)

    def concat(self, *parts: Value) -> Value:
        name = self._node("Concat", [p.name for p in parts], axis=1)
        n = len(parts)
        return Value(name, sum(p.channels for p in parts), parts[0].size, sum(p.mean for p in parts) / n,
                     sum(p.variance for p in parts) / n)

    def add(self, a: Value, b: Value, act: str = "") -> Value:
        name = self._node("Add", [a.name, b.name])
        return self.activation(a._replace(name=name, mean=a.mean + b.mean, variance=a.variance + b.variance), act)

    def softmax(self, x: Value) -> Value:
        return x._replace(name=self._node("Softmax", [x.name], axis=-1))

    def model(self, output: Value) -> onnx.ModelProto:
        self.nodes[-1].output[0] = "scores"
        x, float32 = self.input, TensorProto.FLOAT
        shape = [1, output.channels] if output.size == 1 else [1, output.channels, output.size, output.size]
        graph = helper.make_graph(
            self.nodes, self.name, [helper.make_tensor_value_info(x.name, float32, [1, x.channels, x.size, x.size])],
            [helper.make_tensor_value_info("scores", float32, shape)], self.weights)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR)


def mobilenet_v1(size: int = 224) -> onnx.ModelProto:
    """Howard et al. 2017, width 1.0."""
    net = Network("mobilenet_v1", 3, size)
    x = net.conv(net.input, 32, 3, 2, act="relu6")
    for channels, stride in [(64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), *[(512, 1)] * 5, (1024, 2),
                             (1024, 1)]:
        x = net.conv(x, x.channels, 3, stride, groups=x.channels, act="relu6")
        x = net.conv(x, channels, act="relu6")
    return net.model(net.softmax(net.dense(net.global_average(x), 1000)))


def mobilenet_v2(size: int = 224) -> onnx.ModelProto:
    """Sandler et al. 2018, width 1.0."""
    net = Network("mobilenet_v2", 3, size)
    x = net.conv(net.input, 32, 3, 2, act="relu6")
    for expand, channels, repeats, first_stride in [(1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2),
                                                    (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1)]:
        for i in range(repeats):
            stride = first_stride if i == 0 else 1
            y = net.conv(x, x.channels * expand, act="relu6") if expand > 1 else x
            y = net.conv(y, y.channels, 3, stride, groups=y.channels, act="relu6")
            residual = stride == 1 and x.channels == channels
            y = net.conv(y, channels, gain=0.5 if residual else 1.0)
            x = net.add(x, y) if residual else y
    x = net.conv(x, 1280, act="relu6")
    return net.model(net.softmax(net.dense(net.global_average(x), 1000)))


def resnet18(size: int = 224) -> onnx.ModelProto:
    """He et al. 2015."""
    net = Network("resnet18", 3, size)
    x = net.max_pool(net.conv(net.input, 64, 7, 2, act="relu"), 3, 2, (1, 1))
    for channels, first_stride in [(64, 1), (128, 2), (256, 2), (512, 2)]:
        for stride in (first_stride, 1):
            y = net.conv(x, channels, 3, stride, act="relu")
            y = net.conv(y, channels, 3, gain=0.5)
            x = net.conv(x, channels, 1, stride) if x.channels != channels else x
            x = net.add(x, y, "relu")
    return net.model(net.dense(net.global_average(x), 1000))


def squeezenet(size: int = 224) -> onnx.ModelProto:
    """Iandola et al. 2016, version 1.1."""
    net = Network("squeezenet", 3, size)
    x = net.max_pool(net.conv(net.input, 64, 3, 2, pad=0, act="relu"), 3, 2)
    for squeeze, expand, pool in [(16, 64, 0), (16, 64, 1), (32, 128, 0), (32, 128, 1), (48, 192, 0), (48, 192, 0),
                                  (64, 256, 0), (64, 256, 0)]:
        s = net.conv(x, squeeze, act="relu")
        x = net.concat(net.conv(s, expand, act="relu"), net.conv(s, expand, 3, act="relu"))
        x = net.max_pool(x, 3, 2) if pool else x
    return net.model(net.softmax(net.global_average(net.conv(x, 1000, act="relu"))))


def lenet5(size: int = 28) -> onnx.ModelProto:
    """LeCun et al. 1998, for 28x28 pictures; all connections of the second convolution."""
    net = Network("lenet5", 1, size)
    x = net.average_pool(net.conv(net.input, 6, 5, act="tanh"), 2)
    x = net.average_pool(net.conv(x, 16, 5, pad=0, act="tanh"), 2)
    x = net.dense(net.dense(net.flatten(x), 120, "tanh"), 84, "tanh")
    return net.model(net.softmax(net.dense(x, 10)))


def tiny_yolo(size: int = 416) -> onnx.ModelProto:
    """Tiny YOLO v2 style detector: Redmon & Farhadi 2016, 5 boxes of 20 classes per cell, raw outputs."""
    net = Network("tiny_yolo", 3, size)
    x = net.input
    for channels in (16, 32, 64, 128, 256):
        x = net.max_pool(net.conv(x, channels, 3, act="leaky"), 2, 2)
    x = net.max_pool(net.conv(x, 512, 3, act="leaky"), 2, 1, (0, 1))
    for channels in (1024, 1024):
        x = net.conv(x, channels, 3, act="leaky")
    return net.model(net.conv(x, 125))


NETWORKS: dict[str, Callable[..., onnx.ModelProto]] = {
    f.__name__: f for f in (mobilenet_v1, mobilenet_v2, resnet18, squeezenet, lenet5, tiny_yolo)}


def generated(names: list[str] | None = None, folder: Path = CACHE) -> list[Path]:
    """Paths of the networks' files (all of them, or these), written now where they are missing."""
    paths = []
    for name in names or NETWORKS:
        path = folder / f"r{REVISION}" / f"{name}.onnx"
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file:
                file.write(NETWORKS[name]().SerializeToString())
            os.replace(file.name, path)
        paths.append(path)
    return paths
