"""Random quantised networks: the whole pipeline keeps them well formed, and their integers."""

from __future__ import annotations

import copy

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tinynet import reference
from tinynet.converters.integer_constants import with_steps
from tinynet.converters.passes import run_passes
from tinynet.converters.passes.check import check

LAYERS = ("conv", "depthwise", "add", "mul", "concat", "sigmoid", "relu", "leaky_relu", "max_pool", "average_pool", "mean",
          "slice", "shuffle", "nothing")


class Drawn:
    """A network in NCHW, as an importer of QDQ models makes it: each layer between dequantize and quantize."""

    def __init__(self, draw, net):
        self.draw, self.net = draw, net
        self.signed = draw(st.booleans())
        self.done = []                                # (integers, their step)
        shape = tuple(draw(st.integers(1, most)) for most in (2, 6, 7, 7))
        self.done.append((net.input(*shape, dtype="int8" if self.signed else "uint8"), self.step()))

    def step(self):
        scale, zero = self.draw(st.sampled_from([0.0217, 0.0471, 0.1033])), self.draw(st.sampled_from([0, 7, 128, 255]))
        return {"scale": (float(np.float32(scale)),), "zero": (zero - 128 * self.signed,)}

    def real(self, shape=None):
        able = [d for d in self.done if shape is None or self.net.shape(d[0]) == shape]
        integers, step = able[self.draw(st.integers(0, len(able) - 1))]
        return self.net.op("dequantize", integers, **step)

    def quantized(self, y, step=None):
        step = step or self.step()
        dtype = "int8" if self.signed else "uint8"
        self.done.append((self.net.op("quantize", y, **step, dtype=dtype), step))

    def weights(self, *shape, axis):
        name = self.net.const(np.zeros(shape))
        tensor = self.net._graph.tensors[name]
        values = self.net.rng.integers(-128, 128, shape).astype(np.int8)
        scale = np.linspace(0.002, 0.009, shape[axis], dtype=np.float32)
        along = tuple(-1 if i == axis else 1 for i in range(len(shape)))
        tensor.data, tensor.integers = with_steps(values, scale.reshape(along), np.zeros((1,) * len(shape)))
        return name

    def layer(self, kind):
        net, x = self.net, self.real()
        n, c, h, w = net.shape(x)
        image = net.to_nhwc(x)
        if kind in ("conv", "depthwise"):
            outs, k = (self.draw(st.integers(1, 5)), 3) if kind == "conv" else (c, 3)
            weights = self.weights(outs, k, k, c, axis=0) if kind == "conv" else self.weights(k, k, c, axis=2)
            stride = self.draw(st.integers(1, 2))
            y = net.op("conv2d" if kind == "conv" else "depthwise_conv2d", image, weights, net.const(np.zeros(outs)),
                       strides=(stride, stride), pads=(1, 1, 1, 1))
            y = net.to_nchw(y)
            self.quantized(net.op("relu", y) if self.draw(st.booleans()) else y)
        elif kind in ("add", "mul"):
            self.quantized(net.op(kind, x, self.real((n, c, h, w))))
        elif kind == "concat":
            self.quantized(net.op("concat", x, self.real((n, c, h, w)), axis=self.draw(st.integers(1, 3))))
        elif kind in ("sigmoid", "relu", "leaky_relu"):
            self.quantized(net.op(kind, x, **({"alpha": 0.25} if kind == "leaky_relu" else {})))
        elif kind in ("max_pool", "average_pool"):
            pads = (1, 1, 1, 1) if self.draw(st.booleans()) else (0, 0, 1, 1)
            y = net.op(f"{kind}2d", image, kernel=(2, 2), strides=(1, 1), pads=pads)
            self.quantized(net.to_nchw(y), None if self.draw(st.booleans()) else self.done[0][1])
        elif kind == "mean":
            self.quantized(net.op("reduce_mean", x, axes=(2, 3), keepdims=True))
        elif kind == "slice":
            self.quantized(net.op("slice", x, begin=(0, 0, 0, 0), end=(n, (c + 1) // 2, h, w), step=(1, 1, 1, 1)))
        elif kind == "shuffle":
            y = net.op("reshape", net.op("transpose", x, perm=(0, 1, 3, 2)), shape=(n, c, h, w))
            self.quantized(y)
        else:
            self.quantized(x)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(data=st.data())
def test_random_quantised_networks(tools, data):
    net = tools[0](data.draw(st.integers(0, 3)))
    drawn = Drawn(data.draw, net)
    layers = data.draw(st.lists(st.sampled_from(LAYERS), min_size=1, max_size=7))
    for kind in layers:
        drawn.layer(kind)
    ends = [drawn.done[-1][0]]
    if data.draw(st.booleans()):
        ends.append(drawn.real())
    graph = net.graph(*ends)
    wanted_graph = copy.deepcopy(graph)
    check(graph)
    run_passes(graph)
    check(graph)
    feeds = {name: net.rng.integers(-128, 128, graph.tensors[name].shape).astype(np.int8).view(graph.tensors[name].dtype)
             for name in graph.inputs}
    wanted, found = reference.run(wanted_graph, feeds), reference.run(graph, feeds)
    for name, want in wanted.items():
        got = found[name]
        assert (got.shape, got.dtype) == (want.shape, want.dtype)
        # A rounding that falls the other way in one layer is a few steps some layers on; the largest step is 0.1033.
        off = np.abs(got.astype(np.float64) - want)
        assert off.max(initial=0) <= (3 if want.dtype.kind != "f" else 3 * 0.1034)
        # These add an odd zero before they round halves to even, as onnxruntime does, and halves can be frequent.
        halves = {"add", "mul", "average_pool", "mean"} & set(layers)
        assert halves or off.size < 20 or (off < 0.02).mean() > 0.9


def test_transposes_stay_at_the_ends(tools):
    """Between integer layers nothing is turned, reshaped or converted."""
    net = tools[0]()
    step = {"scale": (float(np.float32(0.05)),), "zero": (3,)}
    x = net.op("quantize", net.input(1, 4, 6, 5), **step)
    for _ in range(3):
        values = net.rng.integers(-128, 128, (4, 3, 3, 4)).astype(np.int8)
        w = net.const(np.zeros(values.shape))
        tensor = net._graph.tensors[w]
        tensor.data, tensor.integers = with_steps(values, np.full((1, 1, 1, 1), 0.004, np.float32), np.zeros((1, 1, 1, 1)))
        y = net.op("conv2d", net.to_nhwc(net.op("dequantize", x, **step)), w, net.const(np.zeros(4)), pads=(1, 1, 1, 1))
        x = net.op("quantize", net.op("relu", net.to_nchw(y)), **step)
    graph = net.graph(net.op("dequantize", x, **step))
    run_passes(graph)
    assert [node.op for node in graph.nodes] == ["quantize", "transpose", *["q_conv2d"] * 3, "transpose", "dequantize"]
