"""Timed choices at load: what is asked, and that the plan does as it was told."""

from __future__ import annotations

from unittest import mock

import numpy as np
from nets import Net, normal

from tinynet import reference, tune
from tinynet.model import Model


def network() -> tuple[Net, list[str]]:
    """Two equal 3x3 layers, one of another size, one with a residual, one that Winograd cannot do."""
    net = Net()
    x = net.input(normal(1, 1, 14, 15, 32))
    names = []
    for i, (outs, stride) in enumerate(((32, 1), (32, 1), (48, 1), (16, 2))):
        w, b = net.constant(normal(i, outs, 3, 3, net.shape(x)[3]) / 20), net.constant(normal(i, outs))
        x = net.add("conv2d", x, w, b, pads=(1, 1, 1, 1), strides=(stride, stride))
        names.append(net.graph.nodes[-1].name)
    net.graph.outputs = [x]
    return net, names


def test_each_different_layer_is_timed_once_and_the_plan_obeys():
    net, names = network()
    sizes = iter((4, 2))
    with mock.patch.object(tune, "_fastest", side_effect=lambda *_: next(sizes)) as timed:
        model = Model(net.graph, threads=1, tune=True)
    assert timed.call_count == 2
    used = {s.node.name: s.params.get("size", 0) for s in model.plan.steps}
    assert [used[n] for n in names] == [4, 4, 2, 0]
    expected = reference.run(net.graph, net.feed)
    for name, array in model.run(net.feed).items():
        np.testing.assert_allclose(array, expected[name], rtol=1e-4, atol=1e-4)


def test_the_faster_one_is_chosen():
    net, names = network()
    for fast in (0, 2, 4):
        with mock.patch.object(tune, "_seconds", side_effect=lambda model, *_, fast=fast: float(
                model.plan.steps[0].params.get("size", 0) != fast)):
            assert tune.winograd_sizes(net.graph, None, 1) == dict.fromkeys(names[:3], fast)


def test_real_timings_give_a_choice_for_every_such_layer():
    net, names = network()
    chosen = tune.winograd_sizes(net.graph, None, 1)
    assert list(chosen) == names[:3] and set(chosen.values()) <= {0, 2, 4}


def test_limits_come_before_timing():
    net, _ = network()
    least = Model(net.graph, threads=1, winograd=False).memory.run_bytes
    with mock.patch.object(tune, "_fastest", return_value=4):
        model = Model(net.graph, threads=1, tune=True, max_ram=least)
    assert all(s.kernel == "conv2d_f32" for s in model.plan.steps)
