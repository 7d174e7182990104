"""A convolution, a depthwise and a 1x1 one as one step: small integers, whose sums are exact, against the layers in numpy."""

from __future__ import annotations

from unittest import mock

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nets import splitting
from test_separable_conv2d import CHANNELS, EXACT

from tinynet import kernels, reference
from tinynet.graph import Graph, Node, Tensor
from tinynet.model import Model


def extent(size: int, k: int, stride: int, before: int, after: int) -> int:
    return (size + before + after - k) // stride + 1


class Chain:
    """[transpose,] conv2d, depthwise_conv2d [, 1x1 conv2d]; `x` of the first is `i` channels, `c` and `o` follow."""

    def __init__(self, size=(1, 7, 9), i=3, c=8, o=5, first=(1, 1), k=3, stride=1, pads=(1, 1, 1, 1), planar=False,
                 pointwise=True, residual=False, activations=({}, {}, {}), seed=0):
        self.rng = np.random.default_rng(seed)
        fk, fs = first
        n, h, w = size
        fp = fk // 2
        middle = n, extent(h, fk, fs, fp, fp), extent(w, fk, fs, fp, fp), c
        out = n, extent(middle[1], k, stride, pads[0], pads[2]), extent(middle[2], k, stride, pads[1], pads[3])
        self.possible = min(*middle, *out) >= 1
        if not self.possible:
            return
        self.graph = graph = Graph(inputs=["x"], outputs=["y" if pointwise else "z"])
        graph.add(Tensor("x", (n, i, h, w) if planar else (n, h, w, i)))
        if planar:
            graph.add(Tensor("t", (n, h, w, i)))
            graph.nodes.append(Node("transpose", "t", ["x"], ["t"], {"perm": (0, 2, 3, 1)}))
        graph.add(Tensor("m", middle))
        graph.add(Tensor("z", (*out, c)))
        for name, shape in {"wf": (c, fk, fk, i), "bf": (c,), "wd": (k, k, c), "bd": (c,)}.items():
            graph.add(Tensor(name, shape, data=self.whole(*shape)))
        graph.nodes += [
            Node("conv2d", "first", ["t" if planar else "x", "wf", "bf"], ["m"],
                 {"strides": (fs, fs), "pads": (fp,) * 4, **activations[0]}),
            Node("depthwise_conv2d", "dw", ["m", "wd", "bd"], ["z"],
                 {"strides": (stride, stride), "pads": pads, **activations[1]}),
        ]
        if pointwise:
            graph.add(Tensor("y", (*out, o)))
            for name, shape in {"w": (o, 1, 1, c), "b": (o,)}.items():
                graph.add(Tensor(name, shape, data=self.whole(*shape)))
            if residual:
                graph.inputs.append("r")
                graph.add(Tensor("r", (*out, o)))
            graph.nodes.append(Node("conv2d", "pw", ["z", "w", "b"] + ["r"] * residual, ["y"], activations[2]))

    def whole(self, *shape: int) -> np.ndarray:
        return self.rng.integers(-3, 4, shape).astype(np.float32)

    def inputs(self) -> dict[str, np.ndarray]:
        return {name: self.whole(*self.graph.tensors[name].shape) for name in self.graph.inputs}


def steps(model: Model) -> list[str]:
    return [s.kernel for s in model.plan.steps]


@settings(max_examples=60, deadline=None)
@given(size=st.tuples(st.integers(1, 2), st.integers(1, 13), st.integers(1, 14)), i=st.integers(1, 20), c=CHANNELS, o=CHANNELS,
       first=st.sampled_from([(1, 1), (1, 2), (3, 1), (3, 2), (5, 2)]), k=st.sampled_from([1, 2, 3, 5]),
       stride=st.integers(1, 2), pads=st.tuples(*[st.integers(0, 2)] * 4), planar=st.booleans(), pointwise=st.booleans(),
       residual=st.booleans(), activations=st.tuples(EXACT, EXACT, EXACT), band=st.sampled_from([1, 3000, 9000, 1 << 20]),
       seed=st.integers(0, 99))
def test_one_step_equals_the_layers(band, **shape):
    if shape["planar"]:
        shape["i"] = 1 + shape["i"] % 4
    elif shape["first"][0] > 1:
        shape["first"] = (1, shape["first"][1])
    chain = Chain(**shape)
    if not chain.possible:
        return
    inputs = chain.inputs()
    (name,) = chain.graph.outputs
    expected = reference.run(chain.graph, inputs)[name]
    with mock.patch("tinynet.ops.inverted_bottleneck.LEAST_BYTES", 0), splitting(), \
            mock.patch("tinynet.ops.separable_conv2d.FIRST_BAND_BYTES", band), \
            mock.patch("tinynet.ops.matrix_product.BAND_BYTES", band):
        for level in kernels.available(integers=False):
            for threads in (1, 2, 3):
                with kernels.use_isa(level):
                    model = Model(chain.graph, threads=threads)
                assert steps(model) == ["separable_conv2d_f32"]
                assert [s.node.op for s in model.plan.steps] == ["inverted_bottleneck"]
                assert model.plan.macs == sum(s.macs for s in model.plan.steps)
                np.testing.assert_array_equal(model.run(inputs)[name], expected)


@settings(max_examples=40, deadline=None)
@given(n=st.integers(1, 2), h=st.integers(1, 19), w=st.integers(1, 40), i=st.integers(1, 4), o=CHANNELS, k=st.integers(1, 5),
       strides=st.tuples(st.integers(1, 3), st.integers(1, 3)), pads=st.tuples(*[st.integers(0, 2)] * 4),
       dilations=st.tuples(st.integers(1, 2), st.integers(1, 2)), activation=EXACT, band=st.sampled_from([1, 3000, 1 << 20]),
       seed=st.integers(0, 99))
def test_convolution_reads_planes(n, h, w, i, o, k, strides, pads, dilations, activation, band, seed):
    rng = np.random.default_rng(seed)
    oh, ow = ((d + pads[a] + pads[a + 2] - (k - 1) * dilations[a] - 1) // strides[a] + 1 for a, d in enumerate((h, w)))
    if min(oh, ow) < 1:
        return
    graph = Graph(inputs=["x"], outputs=["y"])
    for name, shape in {"x": (n, i, h, w), "t": (n, h, w, i), "y": (n, oh, ow, o)}.items():
        graph.add(Tensor(name, shape))
    for name, shape in {"w": (o, k, k, i), "b": (o,)}.items():
        graph.add(Tensor(name, shape, data=rng.integers(-3, 4, shape).astype(np.float32)))
    graph.nodes = [Node("transpose", "t", ["x"], ["t"], {"perm": (0, 2, 3, 1)}),
                   Node("conv2d", "c", ["t", "w", "b"], ["y"],
                        {"strides": strides, "pads": pads, "dilations": dilations, **activation})]
    inputs = {"x": rng.integers(-3, 4, (n, i, h, w)).astype(np.float32)}
    expected = reference.run(graph, inputs)["y"]
    with splitting(), mock.patch("tinynet.ops.matrix_product.BAND_BYTES", band):
        for level in kernels.available(integers=False):
            for threads in (1, 2, 3):
                with kernels.use_isa(level):
                    model = Model(graph, threads=threads)
                assert steps(model) == ["conv2d_f32"] and model.plan.steps[0].node.inputs[0] == "x"
                np.testing.assert_array_equal(model.run(inputs)["y"], expected)


@pytest.mark.parametrize("change", ["output", "two readers", "dilation", "groups", "first residual", "3x3", "small"])
def test_layers_that_stay_apart(change):
    chain = Chain(first=(3, 1) if change == "3x3" else (1, 1), i=4, c=8)
    graph = chain.graph
    if change == "output":
        graph.outputs.append("m")
    elif change == "two readers":
        graph.add(Tensor("u", graph.tensors["m"].shape))
        graph.nodes.append(Node("relu", "u", ["m"], ["u"]))
        graph.outputs.append("u")
    elif change == "dilation":
        graph.nodes[1].attrs |= {"dilations": (2, 2), "pads": (2, 2, 2, 2)}
    elif change == "groups":
        graph.nodes[0].attrs["groups"] = 2
        graph.add(Tensor("wf2", (8, 1, 1, 2), data=chain.whole(8, 1, 1, 2)))
        graph.nodes[0].inputs[1] = "wf2"
    elif change == "first residual":
        graph.inputs.append("r")
        graph.add(Tensor("r", graph.tensors["m"].shape))
        graph.nodes[0].inputs.append("r")
    inputs = chain.inputs()
    with mock.patch("tinynet.ops.inverted_bottleneck.LEAST_BYTES", 1 << 20 if change == "small" else 0):
        model = Model(graph, threads=1)
    assert "inverted_bottleneck" not in [s.node.op for s in model.plan.steps]
    for name, found in model.run(inputs).items():
        np.testing.assert_array_equal(found, reference.run(graph, inputs)[name])


def test_a_pointwise_layer_joins_the_larger_tensor():
    """first, dw, wide 1x1, dw: the 1x1 goes with the depthwise layer behind it."""
    chain = Chain(size=(1, 8, 8), i=4, c=8, o=32, pointwise=True)
    graph = chain.graph
    graph.add(Tensor("wd2", (3, 3, 32), data=chain.whole(3, 3, 32)))
    graph.add(Tensor("bd2", (32,), data=chain.whole(32)))
    graph.add(Tensor("v", (1, 8, 8, 32)))
    graph.nodes.append(Node("depthwise_conv2d", "dw2", ["y", "wd2", "bd2"], ["v"], {"pads": (1, 1, 1, 1)}))
    graph.outputs = ["v"]
    inputs = chain.inputs()
    with mock.patch("tinynet.ops.inverted_bottleneck.LEAST_BYTES", 0):
        model = Model(graph, threads=2)
    assert [s.node.name for s in model.plan.steps] == ["dw", "dw2"]
    np.testing.assert_array_equal(model.run(inputs)["v"], reference.run(graph, inputs)["v"])


def test_residual_that_is_also_the_input():
    """The rows that later bands read again must not be overwritten by the result."""
    chain = Chain(size=(1, 20, 6), i=5, c=8, o=5)
    graph = chain.graph
    graph.nodes[-1].inputs.append("h")
    graph.add(Tensor("h", graph.tensors["x"].shape))
    graph.nodes.insert(0, Node("relu", "h", ["x"], ["h"]))
    graph.nodes[1].inputs[0] = "h"
    inputs = chain.inputs()
    with mock.patch("tinynet.ops.inverted_bottleneck.LEAST_BYTES", 0), splitting(), \
            mock.patch("tinynet.ops.separable_conv2d.FIRST_BAND_BYTES", 1):
        for threads in (1, 2, 3):
            model = Model(graph, threads=threads)
            assert model.plan.steps[-1].node.op == "inverted_bottleneck"
            np.testing.assert_array_equal(model.run(inputs)["y"], reference.run(graph, inputs)["y"])
