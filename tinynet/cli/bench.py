"""Measure how fast a model runs on this machine: load, first run, then repeated runs on random inputs.

Stops after --runs runs, or else after --seconds seconds (at least 5 runs).  --profile adds the time per layer;
steps that fall back to numpy show the kernel `python`.
"""

from __future__ import annotations

import argparse
from time import perf_counter
from typing import Any

from tinynet.cli import output
from tinynet.cli.arguments import add_plugin, add_sizes, add_threads, load_plugins, positive, positive_number, sizes

DEFAULT_SECONDS = 2.0
LEAST_RUNS = 5
PROFILE_REPEAT = 10


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", metavar="MODEL", help=".tnb or .onnx file")
    add_threads(parser)
    add_sizes(parser)
    parser.add_argument("--tune", action="store_true", help="time Winograd against direct convolution layer by layer while "
                        "loading; results then depend a little on what was faster")
    add_plugin(parser)
    parser.add_argument("--runs", type=positive, metavar="N", help="how many runs to time, whatever they take")
    parser.add_argument("--seconds", type=positive_number, metavar="S",
                        help=f"how long to measure without --runs (default {DEFAULT_SECONDS:g})")
    parser.add_argument("--profile", action="store_true", help="add the time per layer")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(args: argparse.Namespace) -> int:
    # Imported here so that "load" does not count the imports.
    import tinynet
    from tinynet.model import random_inputs

    load_plugins(args)
    start = perf_counter()
    model = tinynet.load(args.model, threads=args.threads, tune=args.tune)
    if args.inputs:
        model.reshape(sizes(args))
    load_ms = (perf_counter() - start) * 1e3
    with model:
        feed = random_inputs(model)
        times = measure(lambda: model.run(feed), args.runs, args.seconds or DEFAULT_SECONDS)
        layers = profile_rows(model, feed) if args.profile else None
        facts = {
            "model": args.model, "tinynet": tinynet.__version__, "isa": _isa(), "threads": model.threads,
            "load_ms": load_ms, "first_run_ms": times[0], **statistics(times[1:]), "macs": model.plan.macs,
        }
    facts["gflops"] = 2e-6 * facts["macs"] / facts["median_ms"] if facts["median_ms"] else 0.0
    if args.json:
        output.print_json("bench", **facts, **({"layers": layers} if layers is not None else {}))
        return 0
    _print(facts)
    if layers is not None:
        print()
        _print_layers(layers)
    return 0


def measure(call: Any, runs: int | None, seconds: float) -> list[float]:
    """Milliseconds of the first call and then of `runs` calls, or of as many as fit into `seconds`."""
    times: list[float] = []
    begin = perf_counter()
    while True:
        start = perf_counter()
        call()
        end = perf_counter()
        times.append((end - start) * 1e3)
        if len(times) == 1:
            begin = end
        if (len(times) > runs) if runs else (len(times) > LEAST_RUNS and end - begin >= seconds):
            return times


def statistics(times: list[float]) -> dict[str, Any]:
    ordered = sorted(times)
    n = len(ordered)
    median = ordered[n // 2] if n % 2 else (ordered[n // 2 - 1] + ordered[n // 2]) / 2
    # Nearest rank: the smallest time that 90 % of the runs do not exceed.
    return {"runs": n, "median_ms": median, "p90_ms": ordered[-(-9 * n // 10) - 1], "min_ms": ordered[0]}


def _isa() -> str:
    from tinynet import kernels

    return kernels.isa()


def profile_rows(model: Any, feed: dict[str, Any]) -> list[dict[str, Any]]:
    """Per step: name, kind, kernel, shape, ms, macs, gflops, python (True where numpy does the work), share."""
    rows: list[dict[str, Any]] = []
    for row in model.profile(feed, repeat=PROFILE_REPEAT):
        rows.append({"name": row.layer, "kind": row.op, "kernel": row.kernel, "shape": list(row.shape), "ms": row.ms,
                     "macs": row.macs, "gflops": row.gflops, "python": row.kernel == "python"})
    total = sum(row["ms"] for row in rows) or 1.0
    for row in rows:
        row["share"] = row["ms"] / total
    return rows


def _print(facts: dict[str, Any]) -> None:
    output.show(f"{facts['model']}: {facts['isa']}, {facts['threads']} thread{'s' if facts['threads'] != 1 else ''}")
    rows = [("load", facts["load_ms"]), ("first run", facts["first_run_ms"]), ("median", facts["median_ms"]),
            ("p90", facts["p90_ms"]), ("min", facts["min_ms"])]
    for line in output.table(("", f"ms ({facts['runs']} runs)"), [(key, f"{ms:.3f}") for key, ms in rows], (1,)):
        print(line)
    print(f"{facts['macs']:,} multiply-accumulates, {facts['gflops']:.1f} GFLOP/s at the median")


def _print_layers(layers: list[dict[str, Any]]) -> None:
    rows = [(i, output.shorten(row["name"]), row["kind"], row["kernel"], output.shape(row["shape"]), f"{row['ms']:.4f}",
             f"{row['share'] * 100:.1f}", f"{row['macs']:,}", f"{row['gflops']:.1f}" if row["macs"] else "")
            for i, row in enumerate(layers)]
    header = ("#", "layer", "kind", "kernel", "output", "ms", "%", "MACs", "GFLOP/s")
    output.print_table(header, rows, numeric=(0, 5, 6, 7, 8))
    slow = [row["name"] for row in layers if row["python"]]
    if slow:
        output.note(f"{len(slow)} steps fall back to numpy (kernel `python`): {', '.join(slow)}")
