"""Time against input size and against threads, as a plot: cost must grow as the work grows.

The generated networks are converted with open sizes, so one file runs at every size.  For each number of threads all
sizes take turns, round after round; shown are medians, and what the smallest size predicts if time grew with the
multiply-accumulates.
"""

from __future__ import annotations

import time
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks import report
from benchmarks.harness import progress

NETWORKS = ("mobilenet_v2", "resnet18")
SIZES = (128, 160, 192, 224, 256, 320, 384, 448, 512)
# Threads are compared at this size.
USUAL_SIZE = 224
PLOT = report.RESULTS / "scaling.png"


def open_model(name: str, threads: int) -> Any:
    """The network with any height and width."""
    import onnx

    import tinynet
    from benchmarks.generate import generated
    from tinynet.converters import convert_bytes

    model = onnx.load(generated([name])[0])
    for axis in (2, 3):
        model.graph.input[0].type.tensor_type.shape.dim[axis].dim_param = "height" if axis == 2 else "width"
    return tinynet.load(convert_bytes(model)[0], threads=threads)


def measure(name: str, threads: int, sizes: tuple[int, ...], rounds: int) -> list[dict[str, Any]]:
    """One row per size: median and minimum of one run in ms, MACs."""
    from tinynet.model import random_inputs

    models = []
    for size in sizes:
        model = open_model(name, threads)
        shape = model.inputs[0].shape
        model.reshape({model.inputs[0].name: (1, shape[1], size, size)})
        models.append((model, random_inputs(model)))
    times: dict[int, list[float]] = {size: [] for size in sizes}
    for turn in range(rounds + 1):
        for size, (model, feed) in zip(sizes, models, strict=True):
            model.run(feed)
            started = time.perf_counter()
            model.run(feed)
            if turn:
                times[size].append(1e3 * (time.perf_counter() - started))
    return [{"model": name, "threads": threads, "size": size, "median_ms": median(times[size]), "min_ms": min(times[size]),
             "macs": model.plan.macs} for size, (model, _) in zip(sizes, models, strict=True)]


def draw(rows: list[dict[str, Any]], path: Path) -> None:
    """Two panels: time against size on one thread, speed against threads at one size.  ValueError without matplotlib."""
    try:
        import matplotlib
    except ImportError:
        raise ValueError("the plot needs matplotlib: pip install matplotlib") from None
    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, (by_size, by_threads) = pyplot.subplots(1, 2, figsize=(11, 4.4), layout="constrained")
    most = 1
    for number, name in enumerate(dict.fromkeys(r["model"] for r in rows)):
        single = [r for r in rows if r["model"] == name and r["threads"] == 1]
        sizes = [r["size"] for r in single]
        by_size.plot(sizes, [r["median_ms"] for r in single], "o-", color=f"C{number}", label=name)
        per_mac = single[0]["median_ms"] / single[0]["macs"]
        by_size.plot(sizes, [per_mac * r["macs"] for r in single], ":", color=f"C{number}", label=f"{name}, as its MACs grow")
        usual = [r for r in rows if r["model"] == name and r["size"] == USUAL_SIZE]
        by_threads.plot([r["threads"] for r in usual], [usual[0]["median_ms"] / r["median_ms"] for r in usual], "o-",
                        color=f"C{number}", label=name)
        most = max(most, *(r["threads"] for r in usual))
    by_threads.plot([1, most], [1, most], ":", color="0.5", label="ideal")
    by_size.set(xlabel="height and width of the input", ylabel="median of one run, ms", title="one thread", ylim=(0, None))
    by_threads.set(xlabel="threads", ylabel="times as fast as one thread", xticks=range(1, most + 1),
                   title=f"{USUAL_SIZE} x {USUAL_SIZE}", ylim=(0, None))
    for panel in (by_size, by_threads):
        panel.grid(alpha=0.3)
        panel.legend(fontsize=8)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)


def main(rounds: int, json_name: str | None, path: Path) -> int:
    from benchmarks import machine

    rows = []
    for name in NETWORKS:
        for threads in range(1, machine.describe()["cpus"] + 1):
            progress(f"{name}, {threads} thread{'s' * (threads > 1)} ...")
            rows += measure(name, threads, SIZES if threads == 1 else (USUAL_SIZE,), rounds)
    header = ("model", "threads", "size", "median ms", "min ms", "MMAC", "GFLOP/s")
    print(report.grid(header, [(r["model"], str(r["threads"]), str(r["size"]), report.number(r["median_ms"]),
                                report.number(r["min_ms"]), f"{r['macs'] / 1e6:.0f}",
                                f"{2e-6 * r['macs'] / r['median_ms']:.1f}") for r in rows]))
    draw(rows, path)
    progress(f"drawn: {path}")
    if json_name:
        progress(f"written: {report.write_json(json_name, 'scaling', {'rounds': rounds, 'rows': rows})}")
    return 0
