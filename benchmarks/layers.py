"""The layers that `ops` measures, each as a network of its own, in float32 and in 8-bit integers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tinynet.graph import Graph, Node, Tensor

DTYPES = ("float32", "int8")


@dataclass(frozen=True)
class Layer:
    """One layer on an image of size x size pixels (of `pixels` in one row, if given); a dense layer has size 1."""

    group: str
    kind: str
    size: int
    channels: int
    filters: int
    kernel: int = 1
    stride: int = 1
    count: int = 1               # how often the network has it: its weight in the group's total
    pixels: int = 0

    @property
    def label(self) -> str:
        if self.kind == "dense":
            return f"{self.channels} -> {self.filters}"
        if self.pixels:
            return f"{self.pixels} pixels x {self.channels} -> {self.filters}"
        return f"{self.size}x{self.size}x{self.channels} -> {self.filters}, {self.kernel}x{self.kernel} s{self.stride}"


# Image size, channels, filters, stride and count of MobileNet v1's depthwise + pointwise pairs.
_V1 = [(112, 32, 64, 1, 1), (112, 64, 128, 2, 1), (56, 128, 128, 1, 1), (56, 128, 256, 2, 1), (28, 256, 256, 1, 1),
       (28, 256, 512, 2, 1), (14, 512, 512, 1, 5), (14, 512, 1024, 2, 1), (7, 1024, 1024, 1, 1)]
_RESNET18 = [(56, 64, 64, 1, 4), (56, 64, 128, 2, 1), (28, 128, 128, 1, 3), (28, 128, 256, 2, 1), (14, 256, 256, 1, 3),
             (14, 256, 512, 2, 1), (7, 512, 512, 1, 3)]
# 1x1 convolutions of whole tiles (192 is a multiple of 6 and 8 rows) whose operands fit L2: (K, N).
_L2 = [(128, 64), (128, 256), (256, 64), (256, 128), (256, 256), (512, 64), (512, 128)]
# 8-bit operands are a quarter as large, and a register holds four times as many of them: K from 256 on.
_L2_INT8 = [(256, 64), (256, 256), (512, 128), (512, 512), (1024, 256)]
_DEPTHWISE_L2 = [(56, 32), (28, 96), (28, 128), (14, 256), (14, 512), (7, 960)]
_DENSE = [(400, 120), (1024, 1000), (4096, 4096)]


def layers(dtype: str = "float32") -> list[Layer]:
    pointwise = [Layer("1x1 MobileNet v1", "conv2d", size // stride, c, n, count=count)
                 for size, c, n, stride, count in _V1]
    depthwise = [Layer("depthwise MobileNet v1", "depthwise_conv2d", size, c, c, 3, stride, count)
                 for size, c, _, stride, count in _V1]
    resnet = [Layer("3x3 ResNet-18", "conv2d", size, c, n, 3, stride, count) for size, c, n, stride, count in _RESNET18]
    pointwise += [Layer("1x1 in L2", "conv2d", 1, k, n, pixels=192)
                  for k, n in (_L2_INT8 if dtype == "int8" else _L2)]
    depthwise += [Layer("depthwise 3x3 s1 in L2", "depthwise_conv2d", size, c, c, 3) for size, c in _DEPTHWISE_L2]
    return pointwise + resnet + depthwise + [Layer("dense", "dense", 1, k, n) for k, n in _DENSE]


def graph_of(layer: Layer, dtype: str = "float32") -> Graph:
    """The network of this one layer; seeded noise as weights.  int8: activations are uint8, and sums scaled to their range."""
    rng = np.random.default_rng(0)
    x, w, y = shapes_of(layer)
    pad = layer.kernel // 2
    attrs = {} if layer.kind == "dense" else {"strides": (layer.stride,) * 2, "pads": (pad,) * 4}
    graph = Graph(inputs=["x"], outputs=["y"])
    outs = layer.filters
    if dtype == "int8":
        taps = int(np.prod(w)) // outs
        constants = {"w": rng.integers(-127, 128, w).astype(np.int8), "b": rng.integers(-9999, 9999, outs).astype(np.int32),
                     "multiplier": np.full(outs, 1 / (127 * 3 * np.sqrt(taps)), np.float32)}
        kind, activation, attrs = "q_" + layer.kind, "uint8", attrs | {"x_zero": 128, "y_zero": 128}
    else:
        constants = {"w": rng.standard_normal(w, dtype=np.float32), "b": rng.standard_normal(outs, dtype=np.float32)}
        kind, activation = layer.kind, "float32"
    graph.add(Tensor("x", x, activation))
    for name, data in constants.items():
        graph.add(Tensor(name, data.shape, str(data.dtype), data=data))
    graph.add(Tensor("y", y, activation))
    graph.nodes.append(Node(kind, layer.label, ["x", *constants], ["y"], attrs))
    return graph


def shapes_of(layer: Layer) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]:
    """Of input, weights and output."""
    if layer.kind == "dense":
        return (1, layer.channels), (layer.filters, layer.channels), (1, layer.filters)
    out = (layer.size + 2 * (layer.kernel // 2) - layer.kernel) // layer.stride + 1
    image = (1, 1, layer.pixels, layer.channels) if layer.pixels else (1, layer.size, layer.size, layer.channels)
    result = (1, 1, layer.pixels, layer.filters) if layer.pixels else (1, out, out, layer.filters)
    window = (layer.kernel, layer.kernel, layer.channels)
    return image, window if layer.kind == "depthwise_conv2d" else (layer.filters, *window), result
