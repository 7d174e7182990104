"""Each kernel by itself, beside the fused multiply-add peak that this machine reaches.

A row is a network of one layer, loaded through `Model`; its time is `Model.profile`'s: the clock around that step
inside the program, one thread, median over the repeats, nothing subtracted.  Operands are warm from the run before, in
whatever cache they fit.

The peak is measured, not looked up: a chain of equal 1x1 convolutions that all read the same input and weights and
write the same place, so that the register tile works out of L1, or, with the longer sums, has its weights in L2 where
the tile's few loads per FMA do not wait.  Short sums fit L1 but spend more on the tile's prologue and epilogue; which
wins depends on the machine, and the fastest counts.  It is a lower bound of the real peak.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from statistics import median

import numpy as np

from benchmarks import report
from benchmarks.harness import progress
from tinynet import kernels
from tinynet.graph import Graph, Node, Tensor
from tinynet.model import Model

# (pixels, K, N) of the peak's layers: whole tiles at every level.  The first two fit a 32 KiB L1.
PEAK_SHAPES = [(28, 64, 64), (28, 80, 48), (28, 128, 64), (28, 256, 64), (28, 256, 96), (28, 512, 64)]
PEAK_LAYERS = 32


@dataclass(frozen=True)
class Layer:
    """One layer on an image of size x size pixels; a dense layer has size 1."""

    group: str
    kind: str
    size: int
    channels: int
    filters: int
    kernel: int = 1
    stride: int = 1
    count: int = 1               # how often the network has it: its weight in the group's total

    @property
    def label(self) -> str:
        if self.kind == "dense":
            return f"{self.channels} -> {self.filters}"
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
    percent_of_peak: float


# Image size, channels, filters, stride and count of MobileNet v1's depthwise + pointwise pairs.
_V1 = [(112, 32, 64, 1, 1), (112, 64, 128, 2, 1), (56, 128, 128, 1, 1), (56, 128, 256, 2, 1), (28, 256, 256, 1, 1),
       (28, 256, 512, 2, 1), (14, 512, 512, 1, 5), (14, 512, 1024, 2, 1), (7, 1024, 1024, 1, 1)]
_RESNET18 = [(56, 64, 64, 1, 4), (56, 64, 128, 2, 1), (28, 128, 128, 1, 3), (28, 128, 256, 2, 1), (14, 256, 256, 1, 3),
             (14, 256, 512, 2, 1), (7, 512, 512, 1, 3)]
_DENSE = [(400, 120), (1024, 1000), (4096, 4096)]


def layers() -> list[Layer]:
    pointwise = [Layer("1x1 MobileNet v1", "conv2d", size // stride, c, n, count=count)
                 for size, c, n, stride, count in _V1]
    depthwise = [Layer("depthwise MobileNet v1", "depthwise_conv2d", size, c, c, 3, stride, count)
                 for size, c, _, stride, count in _V1]
    resnet = [Layer("3x3 ResNet-18", "conv2d", size, c, n, 3, stride, count) for size, c, n, stride, count in _RESNET18]
    return pointwise + resnet + depthwise + [Layer("dense", "dense", 1, k, n) for k, n in _DENSE]


def graph_of(layer: Layer) -> Graph:
    """The network of this one layer; seeded noise as weights."""
    rng = np.random.default_rng(0)
    pad, out = layer.kernel // 2, (layer.size + 2 * (layer.kernel // 2) - layer.kernel) // layer.stride + 1
    shapes = {"dense": ((1, layer.channels), (layer.filters, layer.channels), (1, layer.filters))}
    image = (1, layer.size, layer.size, layer.channels)
    result = (1, out, out, layer.filters)
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


def peak_graph(pixels: int, k: int, n: int) -> Graph:
    """PEAK_LAYERS equal 1x1 convolutions of one input; all outputs but the last are dead, so they share memory."""
    rng = np.random.default_rng(0)
    graph = Graph(inputs=["x"], outputs=[f"y{PEAK_LAYERS - 1}"])
    graph.add(Tensor("x", (1, 1, pixels, k)))
    graph.add(Tensor("w", (n, 1, 1, k), data=rng.standard_normal((n, 1, 1, k), dtype=np.float32)))
    graph.add(Tensor("b", (n,), data=np.zeros(n, np.float32)))
    for i in range(PEAK_LAYERS):
        graph.add(Tensor(f"y{i}", (1, 1, pixels, n)))
        graph.nodes.append(Node("conv2d", f"peak{i}", ["x", "w", "b"], [f"y{i}"]))
    return graph


class Peak:
    """The level's FMA peak: the fastest chain of PEAK_SHAPES, sampled again whenever `sample` is called."""

    def __init__(self, repeat: int):
        self.gflops = 0.0
        self.repeat = repeat
        self.models = [Model(peak_graph(*shape), threads=1) for shape in PEAK_SHAPES]
        rates = [self.sample(model) for model in self.models]
        self.best = self.models[rates.index(max(rates))]

    def sample(self, model: Model | None = None) -> float:
        steps = (model or self.best).profile(repeat=self.repeat)
        rate = 2e-6 * steps[0].macs / median(step.ms for step in steps)
        self.gflops = max(self.gflops, rate)
        return rate


def measure(layer: Layer, isa: str, repeat: int) -> OpRow:
    graph = graph_of(layer)
    model = Model(graph, threads=1)
    model.profile(repeat=3)
    steps = model.profile(repeat=repeat)
    ms, macs = sum(s.ms for s in steps), sum(s.macs for s in steps)
    moved = sum(4 * t.size for t in graph.tensors.values())
    return OpRow(layer.group, layer.label, isa, "+".join(s.kernel for s in steps), layer.count, ms, macs, moved,
                 2e-6 * macs / ms, 1e-6 * moved / ms, 0.0)


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


def measure_level(isa: str, repeat: int) -> tuple[list[OpRow], float]:
    """Rows and peak of one level.  Clocks move, so the peak is sampled after every layer, and the largest counts."""
    rows = []
    with kernels.use_isa(isa):
        peak = Peak(repeat)
        for layer in layers():
            rows.append(measure(layer, isa, repeat))
            peak.sample()
    for row in rows:
        row.percent_of_peak = 100 * row.gflops / peak.gflops
    return rows, peak.gflops


def main(levels: list[str] | None, repeat: int, json_name: str | None) -> int:
    rows: list[OpRow] = []
    peaks: dict[str, float] = {}
    for isa in levels or kernels.available():
        progress(f"{isa} ...")
        found, peaks[isa] = measure_level(isa, repeat)
        rows += found
    header = ("layers", "layer", "ISA", "kernel", "count", "us", "GFLOP/s", "kB", "GB/s", "% of peak")
    print(report.grid(header, [
        (r.group, r.layer, r.isa, r.kernel, str(r.count), report.number(1e3 * r.ms), f"{r.gflops:.1f}",
         f"{r.bytes / 1e3:.0f}", f"{r.gbytes_per_s:.1f}", f"{r.percent_of_peak:.0f}") for r in rows], left=4))
    groups = group_rows(rows, peaks)
    print()
    print(report.grid(("layers together", "ISA", "GFLOP/s", "% of peak"),
                      [(g["group"], g["isa"], f"{g['gflops']:.1f}", f"{g['percent_of_peak']:.0f}") for g in groups],
                      left=2))
    print()
    print("measured peak, GFLOP/s: " + ", ".join(f"{isa} {peak:.1f}" for isa, peak in peaks.items()))
    if json_name:
        values = {"threads": 1, "repeat": repeat, "peaks_gflops": peaks, "groups": groups,
                  "rows": [asdict(row) for row in rows]}
        progress(f"written: {report.write_json(json_name, 'ops', values)}")
    return 0
