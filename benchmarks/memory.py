"""What a run needs: the arena beside its lower bound, and what comes on top, as `tinynet plan` prints it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks import harness, inputs, report
from benchmarks.harness import progress

# Key of a row -> heading; bytes.
COLUMNS = {"arena_bytes": "arena", "lower_bound": "its lower bound", "scratch_bytes": "scratch",
           "constant_bytes": "built at load", "output_bytes": "outputs", "run_bytes": "sum: least max_ram",
           "weight_bytes": "weights, mapped"}


def measure(model: Path, threads: int) -> dict[str, Any]:
    """The row of one network."""
    import tinynet
    from tinynet.converters import convert_bytes

    shapes = {name: shape for name, (shape, _) in inputs.model_io(model)[0].items()}
    with tinynet.load(convert_bytes(model, inputs=shapes)[0], threads=threads) as loaded:
        found = {key: getattr(loaded.memory, key) for key in COLUMNS}
    return {"model": harness.label(model), **found}


def over(row: dict[str, Any]) -> float:
    """Per cent of the arena above its lower bound."""
    return 100 * (row["arena_bytes"] / row["lower_bound"] - 1) if row["lower_bound"] else 0.0


def cells(row: dict[str, Any]) -> list[str]:
    kilo = [report.number(row[key] / 1e3) for key in COLUMNS]
    return [row["model"], kilo[0], f"{kilo[1]} (+{over(row):.1f} %)", *kilo[2:]]


def header() -> list[str]:
    return ["model, kB", *COLUMNS.values()]


def verdict(rows: Sequence[dict[str, Any]]) -> str:
    most = max(rows, key=over)
    return f"arena over {len(rows)} models at most {over(most):.1f} % above its lower bound ({most['model']})"


def main(models: Sequence[Path], threads: int, json_name: str | None) -> int:
    rows = []
    for model in models:
        progress(f"{harness.label(model)} ...")
        rows.append(measure(model, threads))
    print(report.grid(header(), list(map(cells, rows))))
    print(verdict(rows))
    if json_name:
        values = {"precision": inputs.precision_of(models), "threads": threads, "rows": rows}
        progress(f"written: {report.write_json(json_name, 'memory', values)}")
    return 0
