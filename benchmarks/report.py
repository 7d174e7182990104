"""Results as text for people and as JSON for the table."""

from __future__ import annotations

import importlib
import json
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks import machine, stats
from benchmarks.harness import Row, Settings
from benchmarks.process import OURS

RESULTS = Path(__file__).parent / "results"
VERSION = 1


def write_json(name: str, command: str, values: dict[str, Any]) -> Path:
    """One results file.  A bare file name goes to benchmarks/results/."""
    path = Path(name)
    if path.name == name:
        path = RESULTS / name
    path = path.with_suffix(".json")
    path.parent.mkdir(parents=True, exist_ok=True)
    whole = {"version": VERSION, "command": command, "date": datetime.now(UTC).date().isoformat(),
             "machine": machine.describe(), **values}
    path.write_text(json.dumps(whole, indent=1) + "\n")
    return path


def comparison(rows: Sequence[Row], settings: Settings) -> dict[str, Any]:
    """The part of the JSON that `models` and `peers` share; README.md documents it."""
    engines = {}
    for row in rows:
        if row.version:
            options = importlib.import_module(f"benchmarks.engines.{row.engine}").OPTIONS
            engines[row.engine] = {"version": row.version, "options": options}
    integers = {row.spread is not None for row in rows if row.error is not None}
    precision = "mixed" if len(integers) == 2 else "int8" if True in integers else "float32"
    return {"precision": precision, "threads": settings.threads, "rounds": settings.rounds, "burst_ms": settings.burst_ms,
            "gap_ms": settings.gap, "pinned": bool(settings.cpus), "engines": engines,
            "rows": [row.to_json() for row in rows]}


def grid(header: Sequence[str], lines: Sequence[Sequence[str]], left: int = 1) -> str:
    """Columns padded to their widest cell; the first `left` of them to the left."""
    widths = [max(len(line[i]) for line in [header, *lines]) for i in range(len(header))]

    def text(cells: Sequence[str]) -> str:
        padded = (c.ljust(w) if i < left else c.rjust(w) for i, (c, w) in enumerate(zip(cells, widths, strict=True)))
        return "  ".join(padded).rstrip()

    return "\n".join([text(header), *map(text, lines)])


def number(value: float | None, digits: int = 3) -> str:
    """Three significant digits, without an exponent."""
    if value is None:
        return "-"
    if value >= 100:
        return f"{value:.0f}"
    return f"{value:.{max(0, digits - (len(str(int(value))) if value >= 1 else 0))}f}"


HEADER = ("model", "engine", "median ms", "min ms", "ratio", "by round", "load ms", "first ms", "RSS MiB", "error")


def row_cells(row: Row) -> list[str]:
    error = "-" if row.error is None else f"{row.error:.0e}"
    if row.error is not None and not row.correct:
        error = f"WRONG {error}"
    rss = None if row.peak_rss_bytes is None else row.peak_rss_bytes / 2**20
    return [row.model, row.engine, *map(number, (row.median_ms, row.min_ms, row.ratio, row.round_ratio, row.load_ms,
                                                  row.first_ms, rss)), error]


def best_ratios(rows: Sequence[Row]) -> dict[str, tuple[float, str]]:
    """Model -> (smallest ratio, that peer), over the peers that were right, by their medians."""
    best: dict[str, tuple[float, str]] = {}
    for row in rows:
        if row.engine != OURS and row.ratio is not None:
            best[row.model] = min(best.get(row.model, (row.ratio, row.engine)), (row.ratio, row.engine))
    return best


def verdict(rows: Sequence[Row]) -> str:
    best = best_ratios(rows)
    if not best:
        return "no model has a right answer from tinynet and from a peer"
    mean = stats.geometric_mean([ratio for ratio, _ in best.values()])
    worst = min(best, key=lambda name: best[name])
    return (f"best right peer / tinynet over {len(best)} models: geometric mean {mean:.2f}, "
            f"least {best[worst][0]:.2f} ({worst}, {best[worst][1]})")


def text(rows: Sequence[Row]) -> str:
    """All rows, then what went wrong, then the verdict."""
    lines = [grid(HEADER, [row_cells(row) for row in rows if not row.problem], left=2)]
    lines += [f"no result: {row.model}, {row.engine}: {row.problem}" for row in rows if row.problem]
    return "\n".join([*lines, verdict(rows)])
