"""The tables of README.md, generated from the JSON files in results/."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from benchmarks import report
from benchmarks.harness import Row

README = Path(__file__).parent / "README.md"
START, END = "<!-- results: written by `python -m benchmarks table` -->", "<!-- end of results -->"
NOTHING = "No results are committed yet."


def load(folder: Path) -> list[dict[str, Any]]:
    """Results files by name; ValueError names a file that is none."""
    found = []
    for path in sorted(folder.glob("*.json")):
        values = json.loads(path.read_text())
        if not isinstance(values, dict) or values.get("version") != report.VERSION:
            raise ValueError(f"{path.name}: expected a results file of version {report.VERSION}")
        found.append(values)
    return found


def rows_of(result: dict[str, Any]) -> list[Row]:
    return [Row(**values) for values in result["rows"]]


def cell(row: Row | None, best: bool) -> str:
    if row is None or row.median_ms is None:
        return "-"
    if not row.correct:
        return "wrong"
    text = report.number(row.median_ms)
    if row.ratio is not None:
        text += f" ({row.ratio:.2f})"
    return f"**{text}**" if best else text


def comparison_table(result: dict[str, Any]) -> str:
    """One line per model, one column per engine: median ms (ratio to tinynet); the fastest that is right is bold."""
    rows = rows_of(result)
    engines = [e for e in dict.fromkeys(r.engine for r in rows) if any(r.engine == e and r.median_ms is not None for r in rows)]
    lines = ["| model | " + " | ".join(f"{e} {version(result, e)}" for e in engines) + " |",
             "|---|" + "---|" * len(engines)]
    for model in dict.fromkeys(r.model for r in rows):
        mine = {r.engine: r for r in rows if r.model == model}
        right = {e: r.median_ms for e, r in mine.items() if r.correct and r.median_ms is not None}
        fastest = min(right, key=lambda e: right[e]) if right else None
        lines.append(f"| {model} | " + " | ".join(cell(mine.get(e), e == fastest) for e in engines) + " |")
    return "\n".join([*lines, "", sentence(report.verdict(rows))])


def sentence(text: str) -> str:
    return text[0].upper() + text[1:] + "."


def version(result: dict[str, Any], engine: str) -> str:
    return result["engines"].get(engine, {}).get("version", "").split(" ")[0]


def ops_table(result: dict[str, Any]) -> str:
    lines = ["| layers | ISA | GFLOP/s | % of measured peak |", "|---|---|---|---|"]
    for group in result["groups"]:
        lines.append(f"| {group['group']} | {group['isa']} | {group['gflops']:.1f} | {group['percent_of_peak']:.0f} |")
    return "\n".join(lines)


def size_table(result: dict[str, Any]) -> str:
    lines = ["| what | value |", "|---|---|"]
    return "\n".join(lines + [f"| {row['what']} | {row['text']} |" for row in result["rows"]])


def scaling_table(result: dict[str, Any]) -> str:
    lines = ["| model | threads | size | median ms | GFLOP/s |", "|---|---|---|---|---|"]
    return "\n".join(lines + [
        f"| {r['model']} | {r['threads']} | {r['size']} | {report.number(r['median_ms'])} | "
        f"{2e-6 * r['macs'] / r['median_ms']:.1f} |" for r in result["rows"]])


TABLES = {"models": comparison_table, "peers": comparison_table, "ops": ops_table, "size": size_table, "scaling": scaling_table}


def section(result: dict[str, Any]) -> str:
    machine = result["machine"]
    threads = f"{result['threads']} thread{'s' * (result['threads'] > 1)}" if "threads" in result else ""
    title = ", ".join(filter(None, [result["command"], threads, machine["cpu"], result["date"]]))
    return f"### {title}\n\n{TABLES[result['command']](result)}\n"


def generated(results: Iterable[dict[str, Any]]) -> str:
    sections = "\n".join(map(section, results)) or NOTHING + "\n"
    return f"{START}\n\n{sections}\n{END}"


def replace_table(text: str, table: str) -> str:
    """`text` with what lies between the markers replaced; ValueError if they are missing."""
    before, start, rest = text.partition(START)
    _, end, after = rest.partition(END)
    if not start or not end:
        raise ValueError(f"expected the markers {START!r} and {END!r}")
    return before + table + after


def main(folder: Path = report.RESULTS, readme: Path = README) -> None:
    readme.write_text(replace_table(readme.read_text(), generated(load(folder))))
