"""Time against input size and against threads, as a plot: cost must grow as the work grows.

Every size has a network of its own, written by `generate.py`, and every engine a process for each.  For each number of threads
all of them take turns, round after round (harness.py); shown are medians.
"""

from __future__ import annotations

import io
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks import harness, report
from benchmarks.harness import progress
from benchmarks.process import OURS

NETWORKS = ("mobilenet_v2", "resnet18")
SIZES = (128, 160, 192, 224, 256, 320, 384, 448, 512)
# Threads are compared at this size.
USUAL_SIZE = 224
PLOT = report.RESULTS / "scaling.png"


def macs_of(model: Path) -> int:
    import tinynet
    from tinynet.converters import convert_bytes

    return tinynet.load(convert_bytes(model)[0], threads=1).plan.macs


def measure(name: str, engines: Sequence[str], settings: harness.Settings, sizes: Sequence[int],
            folder: Path) -> list[dict[str, Any]]:
    """One row per engine and size: median and minimum of one run in ms, MACs.  Engines that are wrong or fail have none."""
    import onnx

    from benchmarks.generate import NETWORKS as GENERATORS

    sessions = {}
    rows = []
    try:
        for size in sizes:
            model = folder / f"{name}-{size}.onnx"
            if not model.exists():
                onnx.save(GENERATORS[name](size), model)
            own = folder / f"{name}-{size}-{settings.threads}"
            own.mkdir()
            sessions[size] = harness.Session(model, engines, settings, own)
            sessions[size].start_all()
        every = {(e, size): s.workers[e] for size, s in sessions.items() for e in engines if s.rows[e].correct}
        bursts, _ = harness.interleave(every, settings)
        for size, session in sessions.items():
            harness.fill_rows(session.rows, {e: bursts[e, size] for e in engines if (e, size) in bursts})
            macs = macs_of(session.model)
            rows += [{"model": name, "engine": e, "threads": settings.threads, "size": size, "median_ms": row.median_ms,
                      "min_ms": row.min_ms, "macs": macs} for e, row in session.rows.items() if row.median_ms is not None]
    finally:
        for session in sessions.values():
            session.close()
    return rows


def draw(rows: list[dict[str, Any]], path: Path) -> None:
    """A row of panels per network: time against size on one thread, speed against threads.  ValueError without matplotlib."""
    try:
        import matplotlib
    except ImportError:
        raise ValueError("the plot needs matplotlib: pip install matplotlib") from None
    matplotlib.use("Agg")
    from matplotlib import pyplot
    from PIL import Image

    names = list(dict.fromkeys(r["model"] for r in rows))
    engines = list(dict.fromkeys(r["engine"] for r in rows))
    figure, panels = pyplot.subplots(len(names), 2, figsize=(10, 3.9 * len(names)), layout="constrained", squeeze=False,
                                     gridspec_kw={"width_ratios": (2, 1)})
    for (by_size, by_threads), name in zip(panels, names, strict=True):
        mine = [r for r in rows if r["model"] == name]
        _draw_sizes(by_size, name, [r for r in mine if r["threads"] == 1], engines)
        _draw_threads(by_threads, name, [r for r in mine if r["size"] == USUAL_SIZE], engines)
        for panel in (by_size, by_threads):
            panel.grid(alpha=0.3)
            panel.set_axisbelow(True)
            panel.legend(fontsize=8, loc="upper left" if panel is by_size else "upper right")
    path.parent.mkdir(parents=True, exist_ok=True)
    drawn = io.BytesIO()
    figure.savefig(drawn, dpi=100)
    pyplot.close(figure)
    # A palette makes the file a third as large; Pillow comes with matplotlib.
    Image.open(drawn).convert("RGB").quantize(64).save(path, optimize=True)


def _draw_sizes(panel: Any, name: str, rows: list[dict[str, Any]], engines: list[str]) -> None:
    for number, engine in enumerate(engines):
        own = [r for r in rows if r["engine"] == engine]
        panel.plot([r["size"] for r in own], [r["median_ms"] for r in own], "o-", color=f"C{number}", label=engine)
    ours = [r for r in rows if r["engine"] == engines[0]]
    usual = next(r for r in ours if r["size"] == USUAL_SIZE)
    panel.plot([r["size"] for r in ours], [usual["median_ms"] * r["macs"] / usual["macs"] for r in ours], "--", color="0.3",
               label=f"in proportion to the multiply-adds\n(through {engines[0]} at {USUAL_SIZE})")
    sizes = sorted({r["size"] for r in rows})
    panel.set(xlabel="height = width of the input [pixels]", ylabel="time of one run, median [ms]", title=f"{name}, one thread",
              xticks=sizes, ylim=(0, None))


def _draw_threads(panel: Any, name: str, rows: list[dict[str, Any]], engines: list[str]) -> None:
    """Bars of the time, with the factor to one thread; a dash in each where that time divided by the threads would be."""
    counts = sorted({r["threads"] for r in rows})
    width = 0.8 / len(engines)
    for number, engine in enumerate(engines):
        own = {r["threads"]: r["median_ms"] for r in rows if r["engine"] == engine}
        places = {c: c + (number - (len(engines) - 1) / 2) * width for c in counts if c in own}
        bars = panel.bar(list(places.values()), [own[c] for c in places], width, color=f"C{number}")
        if 1 in own:
            panel.bar_label(bars, [f"{own[1] / own[c]:.2f} x" for c in places], fontsize=8)
            for c, x in places.items():
                panel.plot([x - 0.4 * width, x + 0.4 * width], [own[1] / c] * 2, "k-", linewidth=2)
    panel.plot([], [], "k-", linewidth=2, label="time on one thread / threads")
    most = max(r["median_ms"] for r in rows)
    panel.set(xlabel="threads", ylabel="time of one run, median [ms]", xticks=counts, ylim=(0, 1.25 * most),
              title=f"{name}, {USUAL_SIZE} x {USUAL_SIZE} pixels")


def main(rounds: int, json_name: str | None, path: Path, engines: Sequence[str] = (OURS, harness.REFERENCE)) -> int:
    from benchmarks import conversions, machine

    rows = []
    with tempfile.TemporaryDirectory(prefix="tinynet-scaling-") as folder:
        for name in NETWORKS:
            for threads in range(1, machine.describe()["cpus"] + 1):
                progress(f"{name}, {threads} thread{'s' * (threads > 1)} ...")
                settings = harness.Settings(threads, rounds, seconds=60.0, cache=conversions.default_folder())
                rows += measure(name, engines, settings, SIZES if threads == 1 else (USUAL_SIZE,), Path(folder))
    header = ("model", "engine", "threads", "size", "median ms", "min ms", "MMAC", "GFLOP/s")
    print(report.grid(header, [(r["model"], r["engine"], str(r["threads"]), str(r["size"]), report.number(r["median_ms"]),
                                report.number(r["min_ms"]), f"{r['macs'] / 1e6:.0f}",
                                f"{2e-6 * r['macs'] / r['median_ms']:.1f}") for r in rows], left=2))
    draw(rows, path)
    progress(f"drawn: {path}")
    if json_name:
        progress(f"written: {report.write_json(json_name, 'scaling', {'rounds': rounds, 'rows': rows})}")
    return 0
