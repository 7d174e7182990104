from __future__ import annotations

import numpy as np
import pytest

from benchmarks import layers, ops
from benchmarks.layers import Layer
from benchmarks.ops import OpRow
from tinynet import kernels, reference
from tinynet.kernels import engine
from tinynet.model import Model, random_inputs


@pytest.mark.parametrize("dtype", layers.DTYPES)
@pytest.mark.parametrize("layer", [
    Layer("g", "conv2d", 5, 6, 20), Layer("g", "conv2d", 6, 5, 18, 3, 2), Layer("g", "depthwise_conv2d", 7, 20, 20, 3),
    Layer("g", "depthwise_conv2d", 8, 20, 20, 3, 2), Layer("g", "dense", 1, 30, 20),
    Layer("g", "conv2d", 1, 9, 20, pixels=7)], ids=lambda layer: layer.label)
def test_one_layer_network_computes_that_layer(layer, dtype):
    graph = layers.graph_of(layer, dtype)
    model = Model(graph, threads=1)
    x = random_inputs(model)
    tolerance = 0 if dtype == "int8" else 1e-4
    y = model.run(x)["y"]
    np.testing.assert_allclose(y, reference.run(graph, x)["y"], rtol=tolerance, atol=tolerance)
    assert len(np.unique(y)) > 15                           # 8-bit sums are neither all zero nor all clamped
    [row], peak = ops.measure_level("scalar", 0.0, dtype, [layer])
    out = layer.pixels or (layer.size // layer.stride) ** 2
    taps = layer.kernel**2 * (1 if layer.kind == "depthwise_conv2d" else layer.channels)
    assert row.macs == out * layer.filters * taps
    width = {"float32": 4, "int8": 1}[dtype]
    constants = 4 * layer.filters * (2 if dtype == "int8" else 1)
    x, w, y = (int(np.prod(s)) for s in layers.shapes_of(layer))
    assert row.bytes == width * (x + w + y) + constants
    assert row.gops == pytest.approx(2e-6 * row.macs / row.min_ms) and 0 < row.min_ms <= row.median_ms
    assert row.percent_of_peak == pytest.approx(100 * row.gops / peak.best.gops) and row.mac_per_cycle > 0
    assert row.kernel.startswith("q_") == (dtype == "int8")
    assert len(peak.samples) >= 20 + 2 * ops.LEAST_ROUNDS


class Script:
    """In the place of a peak or a layer: gives what is next."""

    def __init__(self, *values):
        self.values, self.turns = iter(values), []

    def sample(self):
        return ops.Sample(next(self.values), 1.0)

    def burst(self):
        return next(self.values)


def test_a_burst_is_held_against_the_better_peak_beside_it():
    peak = Script(10.0, 8.0, 9.0, 3.0, 4.0, 5.0)
    timed = [Script(1.0, 4.0), Script(2.0, 6.0)]
    for _ in range(2):
        ops.measure_round(timed, peak)
    assert [one.turns for one in timed] == [[(1.0, 10.0), (4.0, 4.0)], [(2.0, 9.0), (6.0, 5.0)]]


def test_fastest_burst_against_fastest_peak_and_median_of_the_shares():
    timed = ops.Timed(Layer("g", "conv2d", 5, 6, 20), "float32")     # 3000 multiply-adds
    timed.turns = [(0.003, 4.0), (0.002, 10.0), (0.004, 2.0)]        # 2, 3 and 1.5 GOP/s: 50, 30 and 75 %
    row = timed.row("avx2", ops.Sample(12.0, 0.5))
    assert (row.min_ms, row.median_ms, row.gops) == (0.002, 0.003, pytest.approx(3))
    assert (row.percent_of_peak, row.median_percent_of_peak) == (pytest.approx(25), pytest.approx(50))
    assert row.mac_per_cycle == pytest.approx(3.0)
    assert (row.group, row.layer, row.isa) == ("g", timed.layer.label, "avx2")


@pytest.mark.parametrize("dtype", layers.DTYPES)
def test_layers_are_all_the_1x1_and_depthwise_work_of_mobilenet_v1(dtype):
    def macs(group):
        found = [layer for layer in layers.layers(dtype) if layer.group == group]
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


@pytest.mark.parametrize(("dtype", "least"), [("float32", 128), ("int8", 256)])
def test_layers_in_l2_are_whole_tiles_that_fit(dtype, least):
    found = [layer for layer in layers.layers(dtype) if layer.group == "1x1 in L2"]
    assert len(found) > 4
    for layer in found:
        assert layer.channels >= least and layer.filters % 64 == 0 and layer.pixels % 48 == 0
        assert sum(t.size for t in layers.graph_of(layer, dtype).tensors.values()) * (4 if dtype == "float32" else 1) <= 1 << 20


@pytest.mark.parametrize("isa", kernels.available(integers=False))
def test_peak_counts_every_multiply_add(isa):
    lanes = engine.vector_floats(isa)
    assert engine.multiply_add(isa, 7) == 7 * engine.multiply_add(isa, 1) > 0
    assert engine.multiply_add(isa, 1) % (2 * lanes) == 0
    peak = ops.Peak(isa)
    before = peak.best.gops
    gops, cycles = peak.sample()
    assert peak.best.gops == max(before, gops) and cycles == pytest.approx(gops / (4 * lanes))
    peak.samples = [ops.Sample(1.0, 6.0), ops.Sample(7.0, 2.0), ops.Sample(3.0, 3.0)]
    assert (peak.best, peak.median_gops) == ((7.0, 6.0), 3.0)


@pytest.mark.parametrize("isa", kernels.available())
def test_peak_of_integers_counts_multiply_accumulates(isa):
    assert engine.multiply_add_int8(isa, 7) == 7 * engine.multiply_add_int8(isa, 1) > 0
    assert ops.Peak(isa, "int8").best.gops > 0


def test_unknown_level_is_an_error():
    with pytest.raises(ValueError, match="'avx9' is not available"):
        engine.multiply_add("avx9", 1)
    with pytest.raises(ValueError, match="'avx9' is not available"):
        engine.vector_floats("avx9")


def row_of(macs, nbytes, ms, peak=100.0, group="g", count=1):
    gops = 2e-6 * macs / ms
    return OpRow("float32", group, "l", "avx2", "k", count, ms, 2 * ms, macs, nbytes, gops, 1e-6 * nbytes / ms,
                 100 * gops / peak, 50 * gops / peak, gops)


def test_bound_is_the_slower_of_arithmetic_and_bytes():
    bandwidth = {"L2": 50.0, "L3": 20.0, "memory": 10.0}

    def judged(macs, nbytes, ms):
        row = row_of(macs, nbytes, ms)
        ops.judge(row, bandwidth, 100.0)
        return row.bound, pytest.approx(row.percent_of_bound)

    # 50 million MACs are 1 ms at the peak.
    assert judged(50_000_000, 100_000, 2.0) == ("peak", 50)
    assert judged(1_000_000, 500_000, 0.02) == ("peak", 100)
    assert judged(100_000, 500_000, 0.02) == ("L2", 50)
    assert judged(100_000, 2_000_000, 0.1) == ("L3", 100)
    assert judged(100_000, 100_000_000, 20.0) == ("memory", 50)


def test_group_is_total_work_over_total_time():
    rows = [row_of(10**6, 0, 1.0, 10.0), row_of(10**6, 0, 0.5, 10.0, count=4), row_of(10**6, 0, 1.0, group="other")]
    group, other = ops.group_rows(rows)
    assert group["gops"] == pytest.approx(2 * 5 / 3) and group["percent_of_peak"] == pytest.approx(100 / 3)
    assert group["median_percent_of_peak"] == pytest.approx(50 / 3)
    assert group["least_percent_of_peak"] == pytest.approx(20) and group["least_mac_per_cycle"] == pytest.approx(2)
    assert (other["group"], other["gops"]) == ("other", 2.0)
