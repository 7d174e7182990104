"""Each kernel by itself, beside the fused multiply-add peak that this machine reaches.

A row is a network of one layer, loaded through `Model`; its time is `Model.profile`'s: the clock around that step
inside the program, one thread, median over the repeats, nothing subtracted.  Operands are warm from the run before, in
whatever cache they fit.

The peak is measured, not looked up: independent multiply-adds in registers, nothing else, sampled again after every layer
because clocks move; the largest counts.  So is the bandwidth: numpy's copy between arrays that together are as large as
what a layer reads and writes.  A layer's bound is the slower of the two, arithmetic at the peak or its bytes once at that
bandwidth; `% of bound` is against that, and above 100 where a layer computes less than its MACs (Winograd) or mostly reads.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass

import numpy as np

from benchmarks import report
from benchmarks.harness import progress
from tinynet import kernels
from tinynet.graph import Graph, Node, Tensor
from tinynet.kernels import engine
from tinynet.model import Model

PEAK_TURNS = 20000            # about 0.1 ms
# Working sets whose bandwidth is measured: L2, last-level cache, memory.  In L1 the call of the copy would count for more.
SETS = {"L2": 640 << 10, "L3": 6 << 20, "memory": 128 << 20}


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


@dataclass
class OpRow:
    """`bytes`: input, weights and output once each."""

    group: str
    layer: str
    isa: str
    kernel: str
    count: int
    ms: float
    macs: int
    bytes: int
    gflops: float
    gbytes_per_s: float
    percent_of_peak: float = 0.0
    mac_per_cycle: float = 0.0       # if a cycle is two vector multiply-adds at the peak
    bound: str = ""                  # "FMA", or where the bytes come from
    percent_of_bound: float = 0.0


# Image size, channels, filters, stride and count of MobileNet v1's depthwise + pointwise pairs.
_V1 = [(112, 32, 64, 1, 1), (112, 64, 128, 2, 1), (56, 128, 128, 1, 1), (56, 128, 256, 2, 1), (28, 256, 256, 1, 1),
       (28, 256, 512, 2, 1), (14, 512, 512, 1, 5), (14, 512, 1024, 2, 1), (7, 1024, 1024, 1, 1)]
_RESNET18 = [(56, 64, 64, 1, 4), (56, 64, 128, 2, 1), (28, 128, 128, 1, 3), (28, 128, 256, 2, 1), (14, 256, 256, 1, 3),
             (14, 256, 512, 2, 1), (7, 512, 512, 1, 3)]
# 1x1 convolutions of whole tiles (192 is a multiple of 6 and 8 rows) whose operands fit L2: (K, N).
_L2 = [(128, 64), (128, 256), (256, 64), (256, 128), (256, 256), (512, 64), (512, 128)]
_DEPTHWISE_L2 = [(56, 32), (28, 96), (28, 128), (14, 256), (14, 512), (7, 960)]
_DENSE = [(400, 120), (1024, 1000), (4096, 4096)]


def layers() -> list[Layer]:
    pointwise = [Layer("1x1 MobileNet v1", "conv2d", size // stride, c, n, count=count)
                 for size, c, n, stride, count in _V1]
    depthwise = [Layer("depthwise MobileNet v1", "depthwise_conv2d", size, c, c, 3, stride, count)
                 for size, c, _, stride, count in _V1]
    resnet = [Layer("3x3 ResNet-18", "conv2d", size, c, n, 3, stride, count) for size, c, n, stride, count in _RESNET18]
    pointwise += [Layer("1x1 in L2", "conv2d", 1, k, n, pixels=192) for k, n in _L2]
    depthwise += [Layer("depthwise 3x3 s1 in L2", "depthwise_conv2d", size, c, c, 3) for size, c in _DEPTHWISE_L2]
    return pointwise + resnet + depthwise + [Layer("dense", "dense", 1, k, n) for k, n in _DENSE]


def graph_of(layer: Layer) -> Graph:
    """The network of this one layer; seeded noise as weights."""
    rng = np.random.default_rng(0)
    pad, out = layer.kernel // 2, (layer.size + 2 * (layer.kernel // 2) - layer.kernel) // layer.stride + 1
    shapes = {"dense": ((1, layer.channels), (layer.filters, layer.channels), (1, layer.filters))}
    image = (1, 1, layer.pixels, layer.channels) if layer.pixels else (1, layer.size, layer.size, layer.channels)
    result = (1, 1, layer.pixels, layer.filters) if layer.pixels else (1, out, out, layer.filters)
    shapes["conv2d"] = image, (layer.filters, layer.kernel, layer.kernel, layer.channels), result
    shapes["depthwise_conv2d"] = image, (layer.kernel, layer.kernel, layer.channels), result
    x, w, y = shapes[layer.kind]
    attrs = {} if layer.kind == "dense" else {"strides": (layer.stride,) * 2, "pads": (pad,) * 4}
    graph = Graph(inputs=["x"], outputs=["y"])
    graph.add(Tensor("x", x))
    graph.add(Tensor("w", w, data=rng.standard_normal(w, dtype=np.float32)))
    graph.add(Tensor("b", (layer.filters,), data=rng.standard_normal(layer.filters, dtype=np.float32)))
    graph.add(Tensor("y", y))
    graph.nodes.append(Node(layer.kind, layer.label, ["x", "w", "b"], ["y"], attrs))
    return graph


class Peak:
    """The level's multiply-add peak in registers: the fastest of all samples."""

    def __init__(self, isa: str):
        self.isa, self.gflops = isa, 0.0
        for _ in range(20):
            self.sample()

    def sample(self) -> None:
        started = time.perf_counter_ns()
        operations = engine.multiply_add(self.isa, PEAK_TURNS)
        self.gflops = max(self.gflops, operations / (time.perf_counter_ns() - started))

    @property
    def mac_per_cycle(self) -> int:
        return 2 * engine.vector_floats(self.isa)


def bandwidths(repeat: int) -> dict[str, float]:
    """GB/s read plus written by a copy, per entry of SETS."""
    found = {}
    for name, nbytes in SETS.items():
        x, y = np.ones(nbytes // 8, np.float32), np.zeros(nbytes // 8, np.float32)
        times = []
        for _ in range(repeat):
            started = time.perf_counter_ns()
            for _ in range(max(1, (4 << 20) // nbytes)):
                np.copyto(y, x)
            times.append((time.perf_counter_ns() - started) / max(1, (4 << 20) // nbytes))
        found[name] = nbytes / min(times)
    return found


def judge(row: OpRow, peak: Peak, bandwidth: dict[str, float]) -> None:
    """Fill in what depends on the machine's limits."""
    place = next((name for name, nbytes in SETS.items() if row.bytes <= 3 * nbytes // 2), "memory")
    arithmetic, moving = 2e-6 * row.macs / peak.gflops, 1e-6 * row.bytes / bandwidth[place]
    row.bound = "FMA" if arithmetic >= moving else place
    row.percent_of_peak = 100 * row.gflops / peak.gflops
    row.mac_per_cycle = peak.mac_per_cycle * row.gflops / peak.gflops
    row.percent_of_bound = 100 * max(arithmetic, moving) / row.ms


def measure(layer: Layer, isa: str, repeat: int) -> OpRow:
    graph = graph_of(layer)
    model = Model(graph, threads=1)
    model.profile(repeat=3)
    steps = model.profile(repeat=repeat)
    ms, macs = sum(s.ms for s in steps), sum(s.macs for s in steps)
    moved = sum(4 * t.size for t in graph.tensors.values())
    return OpRow(layer.group, layer.label, isa, "+".join(s.kernel for s in steps), layer.count, ms, macs, moved,
                 2e-6 * macs / ms, 1e-6 * moved / ms)


def group_rows(rows: Iterable[OpRow], peaks: dict[str, float]) -> list[dict[str, object]]:
    """All layers of a group together, each as often as the network has it: total work over total time."""
    totals: dict[tuple[str, str], tuple[int, float]] = {}
    for row in rows:
        macs, ms = totals.get((row.group, row.isa), (0, 0.0))
        totals[row.group, row.isa] = macs + row.count * row.macs, ms + row.count * row.ms
    groups = []
    for (group, isa), (macs, ms) in totals.items():
        gflops = 2e-6 * macs / ms
        groups.append({"group": group, "isa": isa, "gflops": gflops, "percent_of_peak": 100 * gflops / peaks[isa]})
    return groups


def measure_level(isa: str, repeat: int, bandwidth: dict[str, float]) -> tuple[list[OpRow], float]:
    """Rows and peak of one level."""
    rows, peak = [], Peak(isa)
    with kernels.use_isa(isa):
        for layer in layers():
            rows.append(measure(layer, isa, repeat))
            peak.sample()
    for row in rows:
        judge(row, peak, bandwidth)
    return rows, peak.gflops


def main(levels: list[str] | None, repeat: int, json_name: str | None) -> int:
    rows: list[OpRow] = []
    peaks: dict[str, float] = {}
    bandwidth = bandwidths(repeat)
    for isa in levels or kernels.available(integers=False):
        progress(f"{isa} ...")
        found, peaks[isa] = measure_level(isa, repeat, bandwidth)
        rows += found
    header = ("layers", "layer", "ISA", "kernel", "count", "us", "GFLOP/s", "kB", "GB/s", "MAC/cycle", "% of peak", "bound",
              "% of bound")
    print(report.grid(header, [
        (r.group, r.layer, r.isa, r.kernel, str(r.count), report.number(1e3 * r.ms), f"{r.gflops:.1f}",
         f"{r.bytes / 1e3:.0f}", f"{r.gbytes_per_s:.1f}", f"{r.mac_per_cycle:.1f}", f"{r.percent_of_peak:.0f}", r.bound,
         f"{r.percent_of_bound:.0f}") for r in rows], left=4))
    groups = group_rows(rows, peaks)
    print()
    print(report.grid(("layers together", "ISA", "GFLOP/s", "% of peak"),
                      [(g["group"], g["isa"], f"{g['gflops']:.1f}", f"{g['percent_of_peak']:.0f}") for g in groups],
                      left=2))
    print()
    print("measured peak, GFLOP/s: " + ", ".join(f"{isa} {peak:.1f}" for isa, peak in peaks.items()))
    print("measured copy, GB/s: " + ", ".join(f"{name} {rate:.1f}" for name, rate in bandwidth.items()))
    if json_name:
        values = {"threads": 1, "repeat": repeat, "peaks_gflops": peaks, "copy_gbytes_per_s": bandwidth, "groups": groups,
                  "rows": [asdict(row) for row in rows]}
        progress(f"written: {report.write_json(json_name, 'ops', values)}")
    return 0
