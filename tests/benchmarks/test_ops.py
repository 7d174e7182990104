from __future__ import annotations

import numpy as np
import pytest

from benchmarks import ops
from benchmarks.ops import Layer, OpRow
from tinynet import reference
from tinynet.model import Model, random_inputs


@pytest.mark.parametrize("layer", [
    Layer("g", "conv2d", 5, 6, 20), Layer("g", "conv2d", 6, 5, 18, 3, 2), Layer("g", "depthwise_conv2d", 7, 20, 20, 3),
    Layer("g", "depthwise_conv2d", 8, 20, 20, 3, 2), Layer("g", "dense", 1, 30, 20)], ids=lambda layer: layer.label)
def test_one_layer_network_computes_that_layer(layer):
    graph = ops.graph_of(layer)
    model = Model(graph, threads=1)
    x = random_inputs(model)
    np.testing.assert_allclose(model.run(x)["y"], reference.run(graph, x)["y"], rtol=1e-4, atol=1e-4)
    row = ops.measure(layer, "any", 2)
    out = layer.size // layer.stride
    taps = layer.kernel**2 * (1 if layer.kind == "depthwise_conv2d" else layer.channels)
    assert row.macs == out * out * layer.filters * taps
    assert row.bytes == 4 * sum(t.size for t in graph.tensors.values())
    assert row.gflops == pytest.approx(2e-6 * row.macs / row.ms)


def test_layers_are_all_the_1x1_and_depthwise_work_of_mobilenet_v1():
    def macs(group):
        found = [layer for layer in ops.layers() if layer.group == group]
        return sum(layer.count for layer in found), found

    count, pointwise = macs("1x1 MobileNet v1")
    assert count == 13
    # Howard et al. 2017, table 2: 94.86 % of 569 million MACs.
    total = sum(p.count * p.size**2 * p.channels * p.filters for p in pointwise)
    assert total == pytest.approx(0.9486 * 569e6, rel=0.01)
    count, depthwise = macs("depthwise MobileNet v1")
    assert count == 13
    total = sum(d.count * (d.size // d.stride) ** 2 * d.channels * 9 for d in depthwise)
    assert total == pytest.approx(0.0306 * 569e6, rel=0.01)


def test_peak_chain_shares_its_operands():
    model = Model(ops.peak_graph(28, 64, 64), threads=1)
    assert len(model.plan.steps) == ops.PEAK_LAYERS
    assert all(step.macs == 28 * 64 * 64 for step in model.plan.steps)
    assert model.memory.arena_bytes <= 2 * 4 * 28 * 64


def test_group_is_total_work_over_total_time():
    def row(ms, count):
        return OpRow("g", "l", "avx2", "k", count, ms, 10**6, 0, 0.0, 0.0, 0.0)

    [group] = ops.group_rows([row(1.0, 1), row(0.5, 4)], {"avx2": 10.0})
    assert group["gflops"] == pytest.approx(2 * 5 / 3) and group["percent_of_peak"] == pytest.approx(100 / 3)
