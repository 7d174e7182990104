"""Which layers become integers, what shares a scale, what the simulation says about it."""

from __future__ import annotations

import copy

import numpy as np
import pytest

from tinynet import reference
from tinynet.converters.passes.check import check
from tinynet.converters.quantize import calibrate, choose, data, emit, integer_graph, prepare, simulate
from tinynet.converters.quantize.costs import COSTS
from tinynet.converters.quantize.scheme import make_scheme, rounded_weights
from tinynet.errors import UsageError


class Ready:
    """A network with its statistics."""

    def __init__(self, n, *outputs, target="any", keep=(), count=8):
        self.graph = prepare.prepared(n.graph(*outputs))
        self.arrays = n.samples(count)
        self.samples = data.Samples([lambda x=x: {"x": x} for x in self.arrays])
        self.statistics = calibrate.calibrate(self.graph, self.samples, lambda *_: None)
        self.integer, self.reasons = choose.choose(self.graph, self.statistics, target, keep)

    def scheme(self, method="minmax", integer=None):
        return make_scheme(self.graph, self.integer if integer is None else integer, self.statistics, method)

    def kinds(self):
        return {node.op for node in self.graph.nodes if node.outputs[0] in self.integer}


def test_the_tail_stays_float_and_the_last_layer_is_not_rounded(residual):
    ready = Ready(*residual)
    assert {"conv2d", "depthwise_conv2d", "leaky_relu", "add", "hard_swish", "dense"} <= ready.kinds()
    softmax = ready.graph.nodes[-1]
    assert softmax.op == "softmax" and ready.reasons[softmax.outputs[0]] == choose.TAIL
    scheme = ready.scheme()
    assert scheme.made_steps(softmax.inputs[0]) is None
    assert all(scheme.made_steps(node.outputs[0]) for node in ready.graph.nodes if node.op in ("conv2d", "add"))


def test_keep_names_a_layer_with_all_its_parts(residual):
    n, y = residual
    name = next(node.name for node in n.graph(y).nodes if node.attrs.get("activation") == "hard_swish")
    kept = Ready(n, y, keep=[name])
    reasons = {node.op: kept.reasons.get(node.outputs[0]) for node in kept.graph.nodes if node.name.startswith(name)}
    assert reasons == dict.fromkeys(("conv2d", "add", "hard_swish"), choose.KEPT)
    with pytest.raises(UsageError, match="no layer is called 'nothing'"):
        Ready(n, y, keep=["nothing"])


def test_targets_differ_and_are_known(net, monkeypatch):
    monkeypatch.setitem(COSTS["arm"]["integer"], "winograd", 2 * COSTS["arm"]["float"]["winograd"])
    n = net(32, 12, 12)
    y = n.conv(n.op("Relu", n.conv("x", 32, 32)), 32, 32)
    for target in ("x86", "x86-avx2", "any"):
        assert "conv2d" in Ready(n, y, target=target).kinds()
    ready = Ready(n, y, target="arm")
    assert "conv2d" not in ready.kinds()
    assert {ready.reasons[node.outputs[0]] for node in ready.graph.nodes if node.op == "conv2d"} == {choose.SLOWER}
    with pytest.raises(UsageError, match="target"):
        Ready(n, y, target="mips")


def test_what_moves_shares_one_scale_and_a_range_is_known(net):
    n = net(3, 8, 8)
    a = n.op("Clip", n.conv("x", 3, 8), np.float32(0), np.float32(1.5))
    b = n.op("MaxPool", a, kernel_shape=[2, 2], strides=[2, 2])
    c = n.op("Resize", b, "", np.array([1, 1, 2, 2], "f4"), mode="nearest")
    ready = Ready(n, n.conv(c, 8, 4))
    scheme = ready.scheme()
    names = {node.op: node.outputs[0] for node in ready.graph.nodes if node.op in ("max_pool2d", "resize")}
    first = next(node for node in ready.graph.nodes if node.op == "conv2d")
    steps = {scheme.steps[name] for name in (*names.values(), first.outputs[0])}
    assert len(steps) == 1
    scale, zero = steps.pop()
    assert zero == 0 and scale * 255 <= 1.5 + 1e-6


def test_boxes_and_scores_never_share_a_scale(net):
    n = net(4, 8, 8)
    a = n.op("Relu", n.conv("x", 4, 8))
    boxes = n.op("Mul", n.conv(a, 8, 4), np.float32(300))
    scores = n.op("Sigmoid", n.conv(a, 8, 4))
    joined = n.op("Concat", boxes, scores, axis=1)
    ready = Ready(n, joined)
    concat = next(node for node in ready.graph.nodes if node.op == "concat")
    assert concat.outputs[0] not in ready.integer
    # Behind it a transpose and another layer: still not one scale.
    m = net(4, 8, 8)
    a = m.op("Relu", m.conv("x", 4, 8))
    joined = m.op("Concat", m.op("Mul", m.conv(a, 8, 4), np.float32(300)), m.op("Sigmoid", m.conv(a, 8, 4)), axis=1)
    sliced = m.op("Slice", joined, np.array([2]), np.array([7]), np.array([1]))
    ready = Ready(m, m.conv(sliced, 5, 3))
    concat = next(node for node in ready.graph.nodes if node.op == "concat")
    assert ready.reasons.get(concat.outputs[0]) == choose.RANGES


def test_weights_are_symmetric_per_channel_and_biases_fit():
    rng = np.random.default_rng(0)
    w = rng.standard_normal((5, 3, 3, 4)).astype("float32") * np.array([1, 10, 1e-3, 0, 1e-38], "f4").reshape(-1, 1, 1, 1)
    b = np.array([0, 1, 1e6, 5, 0], "float32")
    real, integers = rounded_weights(w, b, False, 0.02)
    assert integers.values.dtype == np.int8 and integers.scale.shape == (5, 1, 1, 1) and not integers.zero.any()
    assert (np.abs(integers.values[:2]).max(axis=(1, 2, 3)) == 127).all() and integers.values.min() >= -127
    assert (real == integers.values.astype("f4") * integers.scale).all()
    assert (np.abs(w - real)[:2].max(axis=(1, 2, 3)) <= 0.501 * integers.scale[:2, 0, 0, 0]).all()
    assert (np.abs(b / (0.02 * integers.scale.reshape(-1))) < 2.0 ** 30 * 1.001).all()
    real, integers = rounded_weights(w.transpose(1, 2, 3, 0), b, True, 0.02)
    assert integers.scale.shape == (1, 1, 1, 5)


def test_the_simulation_is_what_the_integers_compute(residual):
    ready = Ready(*residual)
    scheme = ready.scheme("mse")
    scheme.shift = simulate.simulate(ready.graph, scheme, ready.samples, correct=True).shift
    said = simulate.simulate(ready.graph, scheme, ready.samples).ends
    spelled, integers = emit.emit(ready.graph, scheme), integer_graph(ready.graph, scheme)
    check(spelled)
    check(integers)
    assert {"q_conv2d", "q_depthwise_conv2d", "q_add", "q_table"} <= {node.op for node in integers.nodes}
    end = next(iter(said))
    for graph in (spelled, integers):
        twin = copy.copy(graph)
        wanted, found = [], []
        for x in ready.arrays:
            wanted += [reference.run(ready.graph, {"x": x}, keep=True)[end]]
            found += [reference.run(twin, {"x": x}, keep=True)[end]] if end in twin.tensors else []
        if found:
            assert simulate.sqnr(*simulate.noise(wanted, found)) == pytest.approx(said[end], abs=0.5)
    names = {node.name for node in ready.graph.nodes}
    assert all(node.name in names for node in integers.nodes if node.op in ("q_conv2d", "q_depthwise_conv2d", "q_add"))


def test_bias_correction_takes_the_systematic_error_away(net):
    n = net(3, 8, 8, seed=5)
    y = n.conv(n.op("Relu", n.conv("x", 3, 8, spread=2)), 8, 6)
    ready = Ready(n, y, count=16)
    scheme = ready.scheme()

    def mean_error():
        graph = emit.emit(ready.graph, scheme)
        gaps = [reference.run(graph, {"x": x})[y] - reference.run(ready.graph, {"x": x})[y] for x in ready.arrays]
        return float(np.abs(np.mean(gaps, axis=(0, 1, 3, 4))).max())

    before = mean_error()
    scheme.shift = simulate.simulate(ready.graph, scheme, ready.samples, correct=True).shift
    assert mean_error() < 0.1 * before


def test_a_concat_in_float_is_right_when_its_inputs_are_integers(net):
    n = net(4, 6, 6)
    a = n.op("Relu", n.conv("x", 4, 8))
    both = n.op("Concat", a, n.op("Relu", n.conv(a, 8, 8)), axis=1)
    ready = Ready(n, n.conv(both, 16, 4))
    integers = integer_graph(ready.graph, ready.scheme())
    check(integers)
    x = ready.arrays[0]
    a, b = (next(iter(reference.run(g, {"x": x}).values())) for g in (ready.graph, integers))
    assert simulate.sqnr(*simulate.noise([a], [b])) > 25
