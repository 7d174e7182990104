"""Each kernel by itself, beside the multiply-add peak that this machine reaches, in float32 and in 8-bit integers.

A row is a network of one layer, loaded through `Model`; its time is `Model.profile`'s: the clock around that step
inside the program, one thread, nothing subtracted.  Operands are warm from the run before, in whatever cache they fit.

All layers of a level take turns, round after round: a burst of one layer (median over its repeats), then the peak, which is
measured, not looked up: independent multiply-adds in registers, nothing else.  Clocks and neighbours change within seconds,
so two figures are made of the rounds.  `percent_of_peak` is the fastest burst of all against the fastest peak of all: that
state returns from run to run, and as the peak is measured oftener than any layer, the share is rather too low than too high.
`median_percent_of_peak` is the median over the rounds of the burst against the better of the peaks before and after it.

The bandwidth is that of numpy's copy between arrays that together are as large as what a layer reads and writes.  A layer's
bound is the slower of the two, arithmetic at the peak or its bytes once at that bandwidth; `% of bound` is against that, and
above 100 where a layer computes less than its MACs (Winograd) or mostly reads.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from statistics import median
from typing import NamedTuple

import numpy as np

from benchmarks import report, stats
from benchmarks.harness import progress
from benchmarks.layers import DTYPES, Layer, graph_of, layers
from tinynet import kernels
from tinynet.kernels import engine
from tinynet.model import Model, random_inputs

PEAK_TURNS = 20000            # about 0.1 ms
# Working sets whose bandwidth is measured: L2, last-level cache, memory.  In L1 the call of the copy would count for more.
SETS = {"L2": 640 << 10, "L3": 6 << 20, "memory": 128 << 20}
BURST_MS = 2.0                # short beside the changes of the clock
LEAST_ROUNDS, MOST_ROUNDS = 5, 100


@dataclass
class OpRow:
    """`bytes`: input, weights and output once each.  `gops`: 10^9 operations a second, two for each multiply-accumulate.
    Of the fastest burst, except for what says median."""

    dtype: str
    group: str
    layer: str
    isa: str
    kernel: str
    count: int
    min_ms: float
    median_ms: float
    macs: int
    bytes: int
    gops: float
    gbytes_per_s: float
    percent_of_peak: float
    median_percent_of_peak: float
    mac_per_cycle: float             # if a cycle is two vector multiply-adds of float32 at their peak
    bound: str = ""                  # "peak", or where the bytes come from
    percent_of_bound: float = 0.0


class Sample(NamedTuple):
    """10^9 operations, and cycles, a second at one moment."""

    gops: float
    cycles: float


class Peak:
    """A level's multiply-add peak in registers.  int8: where there is no dot product of bytes, the multiply-adds are those
    of 16-bit integers, as in the kernels."""

    def __init__(self, isa: str, dtype: str = "float32"):
        self.isa, self.dtype = isa, dtype
        self._vector = engine.vector_floats(isa)
        self.samples: list[Sample] = []
        for _ in range(20):
            self.sample()

    def sample(self) -> Sample:
        """Now."""
        floats = max(self._rate(engine.multiply_add) for _ in range(3))
        gops = floats if self.dtype == "float32" else max(2 * self._rate(engine.multiply_add_int8) for _ in range(3))
        self.samples.append(Sample(gops, floats / (4 * self._vector)))
        return self.samples[-1]

    @property
    def best(self) -> Sample:
        """The fastest so far."""
        return Sample(*map(max, *self.samples))

    @property
    def median_gops(self) -> float:
        return median(sample.gops for sample in self.samples)

    def _rate(self, function: Callable[[str, int], int]) -> float:
        started = time.perf_counter_ns()
        return function(self.isa, PEAK_TURNS) / (time.perf_counter_ns() - started)


def bandwidths(repeat: int = 8) -> dict[str, float]:
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


def judge(row: OpRow, bandwidth: dict[str, float], peak_gops: float) -> None:
    """Fill in what depends on the bandwidth."""
    place = next((name for name, nbytes in SETS.items() if row.bytes <= 3 * nbytes // 2), "memory")
    arithmetic, moving = 2e-6 * row.macs / peak_gops, 1e-6 * row.bytes / bandwidth[place]
    row.bound = "peak" if arithmetic >= moving else place
    row.percent_of_bound = 100 * max(arithmetic, moving) / row.min_ms


class Timed:
    """A layer's network at the level that is in use, and the bursts so far: (ms of a run, the better peak beside it)."""

    def __init__(self, layer: Layer, dtype: str):
        self.layer, self.dtype = layer, dtype
        self.graph = graph_of(layer, dtype)
        self.model = Model(self.graph, threads=1)
        self.inputs = random_inputs(self.model)
        self.turns: list[tuple[float, float]] = []
        self.repeat = 3
        self.warm_ms = self.burst()
        self.repeat = stats.runs_per_burst(self.warm_ms, BURST_MS, least=2, most=100)

    def burst(self) -> float:
        return sum(step.ms for step in self.model.profile(self.inputs, self.repeat))

    def row(self, isa: str, best: Sample) -> OpRow:
        steps = self.model.profile(self.inputs, 1)
        macs = sum(s.macs for s in steps)
        moved = sum(t.size * np.dtype(t.dtype).itemsize for t in self.graph.tensors.values())
        times = [ms for ms, _ in self.turns]
        gops = 2e-6 * macs / min(times)
        beside = median(2e-6 * macs / ms / peak for ms, peak in self.turns)
        return OpRow(self.dtype, self.layer.group, self.layer.label, isa, "+".join(s.kernel for s in steps), self.layer.count,
                     min(times), median(times), macs, moved, gops, 1e-6 * moved / min(times), 100 * gops / best.gops,
                     100 * beside, gops / 2 / best.cycles)


def measure_round(timed: Iterable[Timed], peak: Peak) -> None:
    """One burst of each, and the peak between them."""
    before = peak.sample()
    for one in timed:
        ms = one.burst()
        after = peak.sample()
        one.turns.append((ms, max(before.gops, after.gops)))
        before = after


def group_rows(rows: Iterable[OpRow]) -> list[dict[str, object]]:
    """All layers of a group together, each as often as the network has it: total work over total time; and its least layer."""
    groups: dict[tuple[str, str, str], list[OpRow]] = {}
    for row in rows:
        groups.setdefault((row.dtype, row.group, row.isa), []).append(row)
    return [{"dtype": dtype, "group": group, "isa": isa, **{
        name: sum(r.count * r.min_ms * getattr(r, name) for r in own) / sum(r.count * r.min_ms for r in own)
        for name in ("gops", "percent_of_peak", "mac_per_cycle")},
        "median_percent_of_peak": sum(r.count * r.median_ms * r.median_percent_of_peak for r in own)
        / sum(r.count * r.median_ms for r in own), **{
        f"least_{name}": min(getattr(r, name) for r in own) for name in ("percent_of_peak", "mac_per_cycle")}}
        for (dtype, group, isa), own in groups.items()]


def measure_level(isa: str, seconds: float, dtype: str, measured: Iterable[Layer]) -> tuple[list[OpRow], Peak]:
    """Rows, without what `judge` adds, and the peak of one level; at least LEAST_ROUNDS rounds, whatever they take."""
    with kernels.use_isa(isa):
        timed = [Timed(layer, dtype) for layer in measured]
    peak = Peak(isa, dtype)
    round_ms = sum(1 + one.repeat * one.warm_ms for one in timed)      # a peak takes less than a millisecond
    for _ in range(stats.rounds_within(MOST_ROUNDS, LEAST_ROUNDS, seconds, round_ms)):
        measure_round(timed, peak)
    return [one.row(isa, peak.best) for one in timed], peak


def print_rows(rows: list[OpRow], groups: list[dict[str, object]]) -> None:
    header = ("type", "layers", "layer", "ISA", "kernel", "count", "min us", "median us", "GOP/s", "kB", "GB/s", "MAC/cycle",
              "% of peak", "median", "bound", "% of bound")
    print(report.grid(header, [
        (r.dtype, r.group, r.layer, r.isa, r.kernel, str(r.count), report.number(1e3 * r.min_ms),
         report.number(1e3 * r.median_ms), f"{r.gops:.1f}", f"{r.bytes / 1e3:.0f}", f"{r.gbytes_per_s:.1f}",
         f"{r.mac_per_cycle:.1f}", f"{r.percent_of_peak:.0f}", f"{r.median_percent_of_peak:.0f}", r.bound,
         f"{r.percent_of_bound:.0f}") for r in rows], left=5))
    print()
    keys = ("gops", "percent_of_peak", "median_percent_of_peak", "least_percent_of_peak", "mac_per_cycle",
            "least_mac_per_cycle")
    print(report.grid(("type", "layers together", "ISA", "GOP/s", "% of peak", "median", "least layer", "MAC/cycle",
                       "least layer"),
                      [(g["dtype"], g["group"], g["isa"], *(f"{g[key]:.1f}" for key in keys)) for g in groups], left=3))
    print()


def main(levels: list[str] | None, seconds: float, json_name: str | None) -> int:
    rows: list[OpRow] = []
    peaks: dict[str, dict[str, Peak]] = {dtype: {} for dtype in DTYPES}
    bandwidth = dict.fromkeys(SETS, 0.0)
    for dtype in DTYPES:
        for isa in levels or kernels.available(integers=dtype == "int8"):
            progress(f"{dtype}, {isa} ...")
            bandwidth = {place: max(rate, bandwidth[place]) for place, rate in bandwidths().items()}
            found, peaks[dtype][isa] = measure_level(isa, seconds, dtype, layers(dtype))
            rows += found
    for row in rows:
        judge(row, bandwidth, peaks[row.dtype][row.isa].best.gops)
    groups = group_rows(rows)
    print_rows(rows, groups)
    for dtype, found in peaks.items():
        print(f"peak, {dtype}, GOP/s, fastest (median): " + ", ".join(
            f"{isa} {peak.best.gops:.1f} ({peak.median_gops:.1f})" for isa, peak in found.items()))
    print("copy, GB/s, fastest: " + ", ".join(f"{name} {rate:.1f}" for name, rate in bandwidth.items()))
    if json_name:
        values = {"threads": 1, "seconds": seconds,
                  "peaks_gops": {t: {isa: p.best.gops for isa, p in found.items()} for t, found in peaks.items()},
                  "median_peaks_gops": {t: {isa: p.median_gops for isa, p in found.items()} for t, found in peaks.items()},
                  "copy_gbytes_per_s": bandwidth, "groups": groups, "rows": [asdict(row) for row in rows]}
        progress(f"written: {report.write_json(json_name, 'ops', values)}")
    return 0
