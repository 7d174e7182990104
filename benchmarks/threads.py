"""tinynet on several threads beside itself on one: both take turns in one process, network after network."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from benchmarks import harness, inputs, report, stats, worker
from benchmarks.engines import tinynet as adapter
from benchmarks.harness import progress

REGION_SECONDS = 0.3


class Local:
    """What the harness asks (harness.Asks), answered in this process."""

    def __init__(self, prepared: Path, threads: int):
        self.server = worker.Server(adapter, prepared, threads)

    def ask(self, do: str, **values: Any) -> dict[str, Any]:
        return worker.answer(getattr(self.server, do), **values)


def measure(model: Path, settings: harness.Settings) -> dict[str, Any]:
    """The row of one network.  EngineFailed if it does not run; inputs.Unusable."""
    names, arrays, _ = inputs.make_inputs(model)
    with tempfile.TemporaryDirectory(prefix="tinynet-threads-") as temporary:
        folder = Path(temporary)
        given = folder / "inputs.npz"
        np.savez(given, **{f"in{i}": a for i, a in enumerate(arrays)})
        prepared = adapter.prepare(model, folder)
        workers = {"one": Local(prepared, 1), "many": Local(prepared, settings.threads)}
        for local in workers.values():
            harness.checked(local.ask("load"))
            harness.checked(local.ask("first", inputs=str(given), names=names))
        bursts, failed = harness.interleave(workers, settings)
        for reason in failed.values():
            raise harness.EngineFailed(reason)
        one, many = (local.server.engine.outputs() for local in workers.values())
        for local in workers.values():
            local.server.engine.model.close()
    same = all(np.array_equal(a, b, equal_nan=a.dtype.kind == "f") for a, b in zip(one, many, strict=True))
    return row_of(harness.label(model), bursts["one"], bursts["many"], same)


def row_of(name: str, one: Sequence[stats.Burst], many: Sequence[stats.Burst], same: bool) -> dict[str, Any]:
    rounds = stats.usable_rounds([one, many])
    alone, shared = stats.summarize(one, rounds), stats.summarize(many, rounds)
    return {"model": name, "one_median_ms": alone.median_ms, "one_min_ms": alone.min_ms, "many_median_ms": shared.median_ms,
            "many_min_ms": shared.min_ms, "speedup": stats.round_ratio(one, many, rounds),
            "min_speedup": alone.min_ms / shared.min_ms, "same": same, "rounds_used": len(rounds)}


def cells(row: dict[str, Any]) -> list[str]:
    times = [" / ".join(report.number(row[f"{which}_{key}_ms"]) for key in ("median", "min")) for which in ("one", "many")]
    return [row["model"], *times, f"{row['speedup']:.2f}" + ("" if row["same"] else ", WRONG"), f"{row['min_speedup']:.2f}"]


def header(threads: int) -> list[str]:
    return ["model, median / minimum in ms", "1 thread", f"{threads} threads", "speed-up by round", "of the minima"]


def verdict(rows: Sequence[dict[str, Any]]) -> str:
    words = []
    for key, name in (("speedup", "by round"), ("min_speedup", "of the minima")):
        least = min(rows, key=lambda row: row[key])
        mean = stats.geometric_mean([row[key] for row in rows])
        words.append(f"{name}: geometric mean {mean:.2f}, least {least[key]:.2f} ({least['model']})")
    return f"speed-up over {len(rows)} models {'; '.join(words)}"


def region(threads: int) -> dict[str, float | None]:
    """What it costs to hand a step to the threads and to wait for them, in microseconds: that of steps that do nothing."""
    from tinynet.kernels import engine

    costs, end = [], time.perf_counter() + REGION_SECONDS
    while time.perf_counter() < end:
        nanoseconds, shared = engine.empty_regions(threads, 100)
        if shared == 100:   # where a thread was late, regions ran without it
            costs.append(nanoseconds / 100 / 1e3)
    return {"region_us": median(costs) if costs else None, "region_min_us": min(costs, default=None)}


def region_sentence(values: dict[str, Any]) -> str:
    if values["region_us"] is None:
        return "threads were always late for steps that do nothing"
    return (f"a step that does nothing, on {values['threads']} threads: {values['region_us']:.2f} us, "
            f"least {values['region_min_us']:.2f}")


def main(models: Sequence[Path], settings: harness.Settings, json_name: str | None, resume: bool) -> int:
    values = {"precision": inputs.precision_of(models), "threads": settings.threads, "rounds": settings.rounds,
              "seconds": settings.seconds} | region(settings.threads)
    rows = report.read_result(json_name, threads=settings.threads) if json_name and resume else []
    known = {row["model"] for row in rows}
    for model in models:
        name = harness.label(model)
        if name in known:
            continue
        progress(f"{name} ...")
        try:
            rows.append(measure(model.resolve(), settings))
        except harness.EngineFailed as error:
            progress(f"    no result: {error}")
            continue
        if json_name:
            report.write_json(json_name, "threads", values | {"rows": rows})
    if json_name:
        report.write_json(json_name, "threads", values | {"rows": rows})
    print(report.grid(header(settings.threads), list(map(cells, rows))))
    if rows:
        print(verdict(rows))
    print(region_sentence(values))
    done = {row["model"] for row in rows if row["same"]}
    return 0 if done >= set(map(harness.label, models)) else 1
