"""The tables of README.md, generated from the JSON files in results/, and the list of operators in the project's README.md."""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from benchmarks import report
from benchmarks.harness import Row

README = Path(__file__).parent / "README.md"
START, END = "<!-- results: written by `python -m benchmarks table` -->", "<!-- end of results -->"
PROJECT = Path(__file__).parent.parent / "README.md"
OPERATORS_START = "<!-- operators: written by `python -m benchmarks table` -->"
OPERATORS_END = "<!-- end of operators -->"
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


# Reasons that differ for each test -> what they have in common.  Of an element type, the type is listed, not the operators.
TYPE = re.compile(r"an input is (\w+); expected one of (.*?)(?:, or a float type.*)?")
REASONS = (
    (re.compile(r"an input is an? (?:sequence|optional)_type;.*"), "sequences and optional values are not supported"),
    (re.compile(r"with inputs .*?: node .*?: (.*)"), r"\1"),
    (re.compile(r".*(?:condition|trip count) computed at run time.*"), "control flow has to be known at conversion"),
    (re.compile(r"version \d+ of it \(opset (\d+)\) is not implemented.*"), r"a version that came with opset \1"),
)


def conformance_table(result: dict[str, Any]) -> str:
    """The tiers; then what is not supported, by reason.  The JSON has every test."""
    from benchmarks.conformance import CLASSES

    lines = ["| tests of onnx " + result["onnx"] + " | tests | " + " | ".join(CLASSES) + " |",
             "|---|" + "---|" * (len(CLASSES) + 1)]
    for tier, row in result["tiers"].items():
        lines.append(f"| {tier} | {sum(row.values())} | " + " | ".join(str(row.get(c, 0)) for c in CLASSES) + " |")
    reasons: dict[tuple[str, str], Counter] = {}
    for row in result["rows"]:
        if row["outcome"] in ("refused", "pass-frozen"):
            why, what = reason(row["why"])
            reasons.setdefault((row["outcome"], why), Counter())[what or row["operator"]] += 1
    lines += ["", "| outcome | tests | why | which |", "|---|---|---|---|"]
    for (outcome, why), which in sorted(reasons.items(), key=lambda item: (item[0][0], -item[1].total(), item[0][1])):
        lines.append(f"| {outcome} | {which.total()} | {why} | {_listed(which)} |")
    return "\n".join(lines)


def integers_table(result: dict[str, Any]) -> str:
    """One line for each share and largest difference, with the operators that have them; the JSON has each."""
    groups: dict[tuple[str, int], list[dict[str, Any]]] = {}
    for row in result["rows"]:
        missed = 1 - row["equal"] / row["values"]
        share = "all values equal" if not missed else f"unequal: at most {10.0 ** math.ceil(math.log10(missed) + 2):g} %"
        groups.setdefault((share, row["most"]), []).append(row)
    lines = [f"Beside onnxruntime {result['onnxruntime']}, {result['seeds']} networks for each operator and type:", "",
             "| | steps off, at most | values | operators |", "|---|---|---|---|"]
    for (share, most), rows in sorted(groups.items()):
        types: dict[str, list[str]] = {}
        for row in rows:
            types.setdefault(row["operator"], []).append(row["dtype"])
        every = {name: sum(r["operator"] == name for r in result["rows"]) for name in types}
        names = "; ".join(name if len(mine) == every[name] else f"{name} ({mine[0]})" for name, mine in types.items())
        lines.append(f"| {share} | {most} | {sum(r['values'] for r in rows):,} | {names} |")
    return "\n".join(lines)


def reason(why: str) -> tuple[str, str]:
    """(the reason without what is one test's own, the element type if that is the reason)"""
    why = re.sub(r"^[A-Z]\w*: ", "", why)
    if found := TYPE.fullmatch(why):
        return f"an element type that is none of {found[2]}, nor a float type that becomes float32", found[1]
    for pattern, text in REASONS:
        if found := pattern.fullmatch(why):
            return found.expand(text), ""
    return why, ""


def _listed(which: Counter, most: int = 12) -> str:
    """Names, the most frequent first, with their counts where they are not 1."""
    names = [f"{name} {count}" if count > 1 else name for name, count in sorted(which.items(), key=lambda n: (-n[1], n[0]))]
    return ", ".join(names[:most]) + (f" and {len(names) - most} others" if len(names) > most else "")


TABLES = {"models": comparison_table, "peers": comparison_table, "ops": ops_table, "size": size_table,
          "scaling": scaling_table, "conformance": conformance_table, "integers": integers_table}


def section(result: dict[str, Any]) -> str:
    machine = result["machine"]
    threads = f"{result['threads']} thread{'s' * (result['threads'] > 1)}" if "threads" in result else ""
    precision = result.get("precision", "")
    title = ", ".join(filter(None, [result["command"], precision.replace("float32", ""), threads, machine["cpu"],
                                    result["date"]]))
    return f"### {title}\n\n{TABLES[result['command']](result)}\n"


def generated(results: Iterable[dict[str, Any]]) -> str:
    sections = "\n".join(map(section, results)) or NOTHING + "\n"
    return f"{START}\n\n{sections}\n{END}"


def replace_table(text: str, table: str, start: str = START, end: str = END) -> str:
    """`text` with what lies between the markers, and they, replaced; ValueError if they are missing."""
    before, found_start, rest = text.partition(start)
    _, found_end, after = rest.partition(end)
    if not found_start or not found_end:
        raise ValueError(f"expected the markers {start!r} and {end!r}")
    return before + table + after


def with_operators(text: str) -> str:
    """The project's README with the importer's own list of operators."""
    from tinynet.converters.supported import markdown

    return replace_table(text, f"{OPERATORS_START}\n\n{markdown()}\n\n{OPERATORS_END}", OPERATORS_START, OPERATORS_END)


def main(folder: Path = report.RESULTS, readme: Path = README, project: Path = PROJECT) -> None:
    readme.write_text(replace_table(readme.read_text(), generated(load(folder))))
    project.write_text(with_operators(project.read_text()))
