"""Each kernel by itself, beside the multiply-add peak that this machine reaches, in float32 and in 8-bit integers.

A row is a network of one layer, loaded through `Model`; its time is `Model.profile`'s: the clock around that step
inside the program, one thread, median over the repeats, nothing subtracted.  Operands are warm from the run before, in
whatever cache they fit.

The peaks are measured, not looked up: independent multiply-adds in registers, nothing else, before and after every turn of a
layer's repeats, because clocks move; of the turns, the one with the median share of its own peak counts.  The bandwidth is
that of numpy's copy between arrays that together are as large as what a layer reads and writes.  A layer's bound is the slower
of the two, arithmetic at the peak or its bytes once at that bandwidth; `% of bound` is against that, and above 100 where a
layer computes less than its MACs (Winograd) or mostly reads.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass

import numpy as np

from benchmarks import report
from benchmarks.harness import progress
from benchmarks.layers import DTYPES, Layer, graph_of, layers
from tinynet import kernels
from tinynet.kernels import engine
from tinynet.model import Model

PEAK_TURNS = 20000            # about 0.1 ms
# Working sets whose bandwidth is measured: L2, last-level cache, memory.  In L1 the call of the copy would count for more.
SETS = {"L2": 640 << 10, "L3": 6 << 20, "memory": 128 << 20}
TURNS = 7                     # of a layer's repeats
SECONDS = 0.25                # for one layer, where fewer than `--repeat` runs take that long: the slow levels


@dataclass
class OpRow:
    """`bytes`: input, weights and output once each.  `gops`: 10^9 operations a second, two for each multiply-accumulate."""

    dtype: str
    group: str
    layer: str
    isa: str
    kernel: str
    count: int
    ms: float
    macs: int
    bytes: int
    gops: float
    gbytes_per_s: float
    peak_gops: float                 # at that time
    percent_of_peak: float
    mac_per_cycle: float             # if a cycle is two vector multiply-adds of float32 at their peak
    bound: str = ""                  # "peak", or where the bytes come from
    percent_of_bound: float = 0.0


class Peak:
    """A level's multiply-add peak in registers.  int8: where there is no dot product of bytes, the multiply-adds are those
    of 16-bit integers, as in the kernels."""

    def __init__(self, isa: str, dtype: str = "float32"):
        self.isa, self.dtype, self.gops = isa, dtype, 0.0
        self._vector = engine.vector_floats(isa)
        for _ in range(20):
            self.sample()

    def sample(self) -> tuple[float, float]:
        """(10^9 operations a second, 10^9 cycles a second) now; `gops` keeps the fastest."""
        floats = max(self._rate(engine.multiply_add) for _ in range(3))
        gops = floats if self.dtype == "float32" else max(2 * self._rate(engine.multiply_add_int8) for _ in range(3))
        self.gops = max(self.gops, gops)
        return gops, floats / (4 * self._vector)

    def _rate(self, function: Callable[[str, int], int]) -> float:
        started = time.perf_counter_ns()
        return function(self.isa, PEAK_TURNS) / (time.perf_counter_ns() - started)


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


def judge(row: OpRow, bandwidth: dict[str, float]) -> None:
    """Fill in what depends on the bandwidth."""
    place = next((name for name, nbytes in SETS.items() if row.bytes <= 3 * nbytes // 2), "memory")
    arithmetic, moving = 2e-6 * row.macs / row.peak_gops, 1e-6 * row.bytes / bandwidth[place]
    row.bound = "peak" if arithmetic >= moving else place
    row.percent_of_bound = 100 * max(arithmetic, moving) / row.ms


def measure(layer: Layer, peak: Peak, repeat: int) -> OpRow:
    graph = graph_of(layer, peak.dtype)
    model = Model(graph, threads=1)
    warm = sum(s.ms for s in model.profile(repeat=3))
    once = max(1, min(repeat, int(1e3 * SECONDS / warm)) // TURNS)
    turns = []
    before = peak.sample()
    for _ in range(TURNS):
        steps = model.profile(repeat=once)
        after = peak.sample()
        turns.append((sum(s.ms for s in steps), *map(max, before, after)))
        before = after
    ms, peak_gops, cycles = sorted(turns, key=lambda turn: turn[0] * turn[1])[TURNS // 2]
    macs = sum(s.macs for s in steps)
    moved = sum(t.size * np.dtype(t.dtype).itemsize for t in graph.tensors.values())
    gops = 2e-6 * macs / ms
    kernel = "+".join(s.kernel for s in steps)
    return OpRow(peak.dtype, layer.group, layer.label, peak.isa, kernel, layer.count, ms, macs, moved, gops,
                 1e-6 * moved / ms, peak_gops, 100 * gops / peak_gops, gops / 2 / cycles)


def group_rows(rows: Iterable[OpRow]) -> list[dict[str, object]]:
    """All layers of a group together, each as often as the network has it: total work over total time; and its least layer."""
    groups: dict[tuple[str, str, str], list[OpRow]] = {}
    for row in rows:
        groups.setdefault((row.dtype, row.group, row.isa), []).append(row)
    return [{"dtype": dtype, "group": group, "isa": isa, **{
        name: sum(r.count * r.ms * getattr(r, name) for r in own) / sum(r.count * r.ms for r in own)
        for name in ("gops", "percent_of_peak", "mac_per_cycle")}, **{
        f"least_{name}": min(getattr(r, name) for r in own) for name in ("percent_of_peak", "mac_per_cycle")}}
        for (dtype, group, isa), own in groups.items()]


def measure_level(isa: str, repeat: int, bandwidth: dict[str, float], dtype: str = "float32") -> tuple[list[OpRow], float]:
    """Rows and peak of one level."""
    rows, peak = [], Peak(isa, dtype)
    with kernels.use_isa(isa):
        for layer in layers(dtype):
            rows.append(measure(layer, peak, repeat))
            judge(rows[-1], bandwidth)
    return rows, peak.gops


def print_rows(rows: list[OpRow], groups: list[dict[str, object]]) -> None:
    header = ("type", "layers", "layer", "ISA", "kernel", "count", "us", "GOP/s", "kB", "GB/s", "MAC/cycle", "% of peak",
              "bound", "% of bound")
    print(report.grid(header, [
        (r.dtype, r.group, r.layer, r.isa, r.kernel, str(r.count), report.number(1e3 * r.ms), f"{r.gops:.1f}",
         f"{r.bytes / 1e3:.0f}", f"{r.gbytes_per_s:.1f}", f"{r.mac_per_cycle:.1f}", f"{r.percent_of_peak:.0f}", r.bound,
         f"{r.percent_of_bound:.0f}") for r in rows], left=5))
    print()
    keys = ("gops", "percent_of_peak", "least_percent_of_peak", "mac_per_cycle", "least_mac_per_cycle")
    print(report.grid(("type", "layers together", "ISA", "GOP/s", "% of peak", "least layer", "MAC/cycle", "least layer"),
                      [(g["dtype"], g["group"], g["isa"], *(f"{g[key]:.1f}" for key in keys)) for g in groups], left=3))
    print()


def main(levels: list[str] | None, repeat: int, json_name: str | None) -> int:
    rows: list[OpRow] = []
    peaks: dict[str, dict[str, float]] = {}
    bandwidth = bandwidths(repeat)
    for dtype in DTYPES:
        peaks[dtype] = {}
        for isa in levels or kernels.available(integers=dtype == "int8"):
            progress(f"{dtype}, {isa} ...")
            found, peaks[dtype][isa] = measure_level(isa, repeat, bandwidth, dtype)
            rows += found
    groups = group_rows(rows)
    print_rows(rows, groups)
    for dtype, found in peaks.items():
        print(f"measured peak, {dtype}, GOP/s: " + ", ".join(f"{isa} {peak:.1f}" for isa, peak in found.items()))
    print("measured copy, GB/s: " + ", ".join(f"{name} {rate:.1f}" for name, rate in bandwidth.items()))
    if json_name:
        values = {"threads": 1, "repeat": repeat, "peaks_gops": peaks, "copy_gbytes_per_s": bandwidth, "groups": groups,
                  "rows": [asdict(row) for row in rows]}
        progress(f"written: {report.write_json(json_name, 'ops', values)}")
    return 0
