"""Depthwise and 1x1 convolution as one step: small integers, whose sums are exact, against the two layers in numpy."""

from __future__ import annotations

from unittest import mock

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nets import splitting

from tinynet import kernels, reference
from tinynet.graph import Graph, Node, Tensor
from tinynet.model import Model

CHANNELS = st.one_of(st.integers(1, 40), st.sampled_from([15, 16, 17, 63, 64, 65]))


def pair(size, c, o, k, stride, pads, inner, outer, residual, seed) -> tuple[Graph, dict[str, np.ndarray]]:
    rng = np.random.default_rng(seed)

    def whole(*shape):
        return rng.integers(-3, 4, shape).astype(np.float32)

    oh, ow = ((d + pads[i] + pads[i + 2] - k) // stride + 1 for i, d in enumerate(size[1:]))
    graph = Graph(inputs=["x"], outputs=["y"])
    shapes = {"x": (*size, c), "middle": (size[0], oh, ow, c), "y": (size[0], oh, ow, o), "residual": (size[0], oh, ow, o)}
    for name in ("x", "middle", "y") + (("residual",) if residual else ()):
        graph.add(Tensor(name, shapes[name]))
    for name, shape in {"wd": (k, k, c), "bd": (c,), "w": (o, 1, 1, c), "b": (o,)}.items():
        graph.add(Tensor(name, shape, data=whole(*shape)))
    if residual:
        graph.inputs.append("residual")
    graph.nodes = [
        Node("depthwise_conv2d", "dw", ["x", "wd", "bd"], ["middle"], {"strides": (stride, stride), "pads": pads, **inner}),
        Node("conv2d", "pw", ["middle", "w", "b"] + (["residual"] if residual else []), ["y"], outer),
    ]
    return graph, {name: whole(*graph.tensors[name].shape) for name in graph.inputs}


EXACT = st.sampled_from([{}, {"activation": "relu"}, {"activation": "clip", "alpha": -2.0, "beta": 6.0},
                         {"activation": "leaky_relu", "alpha": 0.5}])


@settings(max_examples=40, deadline=None)
@given(size=st.tuples(st.integers(1, 2), st.integers(1, 13), st.integers(1, 14)), c=CHANNELS, o=CHANNELS,
       k=st.sampled_from([1, 2, 3, 5]), stride=st.integers(1, 2), pads=st.tuples(*[st.integers(0, 2)] * 4),
       inner=EXACT, outer=EXACT, residual=st.booleans(), band=st.sampled_from([1, 5000, 160 * 1024]), seed=st.integers(0, 99))
def test_one_step_equals_two_layers(size, c, o, k, stride, pads, inner, outer, residual, band, seed):
    if any(d + pads[i] + pads[i + 2] < k for i, d in enumerate(size[1:])):
        return
    graph, inputs = pair(size, c, o, k, stride, pads, inner, outer, residual, seed)
    expected = reference.run(graph, inputs)["y"]
    with mock.patch("tinynet.ops.separable_conv2d.LEAST_BYTES", 0), splitting(), \
            mock.patch("tinynet.ops.separable_conv2d.BAND_BYTES", band):
        for level in kernels.available(integers=False):
            for threads in (1, 2, 3):
                with kernels.use_isa(level):
                    model = Model(graph, threads=threads)
                assert [s.kernel for s in model.plan.steps] == ["separable_conv2d_f32"]
                assert model.plan.macs == sum(s.macs for s in model.plan.steps)
                np.testing.assert_array_equal(model.run(inputs)["y"], expected)


@pytest.mark.parametrize("change", ["output", "two readers", "dilation", "padding", "small", "heavy"])
def test_pairs_that_stay_two_layers(change):
    graph, inputs = pair((1, 6, 7), 8, 9, 3, 1, (1, 1, 1, 1), {}, {}, False, 0)
    limits = {"LEAST_BYTES": 0, "MOST_WEIGHT_BYTES": 1 << 20}
    if change == "output":
        graph.outputs.append("middle")
    elif change == "two readers":
        graph.add(Tensor("z", graph.tensors["middle"].shape))
        graph.nodes.append(Node("relu", "z", ["middle"], ["z"]))
        graph.outputs.append("z")
    elif change == "dilation":
        graph.nodes[0].attrs |= {"dilations": (2, 2), "pads": (2, 2, 2, 2)}
    elif change == "padding":
        graph.nodes[1].attrs |= {"pads": (1, 0, 0, 0)}
        graph.tensors["y"].shape = (1, 7, 7, 9)
    elif change == "small":
        limits["LEAST_BYTES"] = 1 << 20
    else:
        limits["MOST_WEIGHT_BYTES"] = 8
    with mock.patch.multiple("tinynet.ops.separable_conv2d", **limits):
        model = Model(graph, threads=1)
    assert "separable_conv2d_f32" not in [s.kernel for s in model.plan.steps]
    for name, found in model.run(inputs).items():
        np.testing.assert_array_equal(found, reference.run(graph, inputs)[name])
