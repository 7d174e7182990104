"""Results as text for people and as JSON for the table."""

from __future__ import annotations

import importlib
import json
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks import machine, process, stats
from benchmarks.harness import Row, Settings
from benchmarks.process import OURS

RESULTS = Path(__file__).parent / "results"
VERSION = 1


def path_of(name: str) -> Path:
    """Of a results file.  A bare file name goes to benchmarks/results/."""
    path = Path(name)
    return (RESULTS / name if path.name == name else path).with_suffix(".json")


def write_json(name: str, command: str, values: dict[str, Any]) -> Path:
    """One results file; it is replaced as a whole, so that what ends this program leaves the old one or the new one."""
    path = path_of(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    whole = {"version": VERSION, "command": command, "date": datetime.now(UTC).date().isoformat(),
             "machine": machine.describe(), **values}
    unfinished = path.with_suffix(".unfinished")
    unfinished.write_text(json.dumps(whole, indent=1) + "\n")
    unfinished.replace(path)
    return path


def read_result(name: str, **wanted: Any) -> list[dict[str, Any]]:
    """Rows of a results file, to continue it; none if there is no such file.  ValueError if it was measured otherwise."""
    path = path_of(name)
    if not path.exists():
        return []
    values = json.loads(path.read_text())
    for key, value in wanted.items():
        if values.get(key, "") != value:
            raise ValueError(f"{path.name}: it holds {key} {values.get(key, '')!r}, expected {value!r}: name another file")
    return values["rows"]


def read_rows(name: str, settings: Settings) -> list[Row]:
    """The same of `models` and `peers`."""
    return [Row(**row) for row in read_result(name, threads=settings.threads, isa=settings.isa)]


def comparison(rows: Sequence[Row], settings: Settings) -> dict[str, Any]:
    """The part of the JSON that `models` and `peers` share; README.md documents it."""
    engines = {}
    for row in rows:
        if row.version:
            options = importlib.import_module(f"benchmarks.engines.{row.engine}").OPTIONS
            engines[row.engine] = {"version": row.version, "options": options}
    integers = {row.spread is not None for row in rows if row.error is not None}
    peers = [name for name in engines if name != OURS]
    limited = [name for name in peers if process.limits(name, settings.isa) is not None] if settings.isa else []
    precision = "mixed" if len(integers) == 2 else "int8" if True in integers else "float32"
    return {"precision": precision, "threads": settings.threads, "rounds": settings.rounds, "seconds": settings.seconds,
            "burst_ms": settings.burst_ms, "isa": settings.isa, "limited": limited, "gap_ms": settings.gap,
            "pinned": bool(settings.cpus), "engines": engines, "rows": [row.to_json() for row in rows]}


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


def best_ratios(rows: Iterable[Row]) -> dict[str, tuple[float, str]]:
    """Model -> (smallest ratio, that peer), over the peers that were right, by their medians."""
    best: dict[str, tuple[float, str]] = {}
    for row in rows:
        if row.engine != OURS and row.ratio is not None:
            best[row.model] = min(best.get(row.model, (row.ratio, row.engine)), (row.ratio, row.engine))
    return best


def verdict(rows: Sequence[Row], peers: Sequence[str] | None = None) -> str:
    """In words; `peers`: only these (default: all)."""
    best = best_ratios(row for row in rows if peers is None or row.engine in peers)
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
