from __future__ import annotations

import numpy as np
import pytest

from benchmarks import ops
from benchmarks.ops import Layer, OpRow
from tinynet import kernels, reference
from tinynet.kernels import engine
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


@pytest.mark.parametrize("isa", kernels.available(integers=False))
def test_peak_counts_every_multiply_add(isa):
    lanes = engine.vector_floats(isa)
    assert engine.multiply_add(isa, 7) == 7 * engine.multiply_add(isa, 1) > 0
    assert engine.multiply_add(isa, 1) % (2 * lanes) == 0
    peak = ops.Peak(isa)
    before = peak.gflops
    peak.sample()
    assert peak.gflops >= before > 0


def test_unknown_level_is_an_error():
    with pytest.raises(ValueError, match="'avx9' is not available"):
        engine.multiply_add("avx9", 1)
    with pytest.raises(ValueError, match="'avx9' is not available"):
        engine.vector_floats("avx9")


def test_bound_is_the_slower_of_arithmetic_and_bytes():
    class Peak:
        gflops, mac_per_cycle = 100.0, 32

    bandwidth = {"L2": 50.0, "L3": 20.0, "memory": 10.0}

    def judged(macs, nbytes, ms):
        row = OpRow("g", "l", "any", "k", 1, ms, macs, nbytes, 2e-6 * macs / ms, 1e-6 * nbytes / ms)
        ops.judge(row, Peak, bandwidth)
        return row.bound, row.percent_of_bound, row.percent_of_peak, row.mac_per_cycle

    # 50 million MACs are 1 ms at the peak.
    assert judged(50_000_000, 100_000, 2.0) == ("FMA", pytest.approx(50), pytest.approx(50), pytest.approx(16))
    assert judged(1_000_000, 500_000, 0.02)[:2] == ("FMA", pytest.approx(100))
    assert judged(100_000, 500_000, 0.02)[:2] == ("L2", pytest.approx(50))
    assert judged(100_000, 2_000_000, 0.1)[:2] == ("L3", pytest.approx(100))
    assert judged(100_000, 100_000_000, 20.0)[:2] == ("memory", pytest.approx(50))


def test_group_is_total_work_over_total_time():
    def row(ms, count):
        return OpRow("g", "l", "avx2", "k", count, ms, 10**6, 0, 0.0, 0.0, 0.0)

    [group] = ops.group_rows([row(1.0, 1), row(0.5, 4)], {"avx2": 10.0})
    assert group["gflops"] == pytest.approx(2 * 5 / 3) and group["percent_of_peak"] == pytest.approx(100 / 3)
