"""The tables of README.md, from the JSON files in results/; in the project's README.md a short one and the operators."""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from benchmarks import report, stats
from benchmarks.harness import Row
from benchmarks.process import OURS

README = Path(__file__).parent / "README.md"
START, END = "<!-- results: written by `python -m benchmarks table` -->", "<!-- end of results -->"
PROJECT = Path(__file__).parent.parent / "README.md"
OPERATORS_START = "<!-- operators: written by `python -m benchmarks table` -->"
OPERATORS_END = "<!-- end of operators -->"
SUMMARY_START = "<!-- speed: written by `python -m benchmarks table` -->"
SUMMARY_END = "<!-- end of speed -->"
QUANTIZED_START = "<!-- quantisation: written by `python -m benchmarks table` -->"
QUANTIZED_END = "<!-- end of quantisation -->"
QUANTIZERS = ("tinynet", "onnxruntime")
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
    """Median / minimum in ms."""
    if row is None or row.median_ms is None:
        return "-"
    if not row.correct:
        return "wrong"
    text = f"{report.number(row.median_ms)} / {report.number(row.min_ms)}"
    return f"**{text}**" if best else text


def start_cell(row: Row | None) -> str:
    """Load + first run in ms, peak memory in MiB."""
    if row is None or row.load_ms is None or row.first_ms is None or row.peak_rss_bytes is None:
        return "-"
    return f"{report.number(row.load_ms)} + {report.number(row.first_ms)}, {row.peak_rss_bytes / 2**20:.0f}"


def comparison_table(result: dict[str, Any]) -> str:
    """One line per model, one column per engine; on one thread also what starting costs.  The fastest that is right is bold."""
    rows = rows_of(result)
    engines = [e for e in dict.fromkeys(r.engine for r in rows) if any(r.engine == e and r.median_ms is not None for r in rows)]
    heads = [f"{e} {version(result, e)}" for e in engines]
    by_model = {m: {r.engine: r for r in rows if r.model == m} for m in dict.fromkeys(r.model for r in rows)}
    best = report.best_ratios(rows)
    lines = [heading(["model, median / minimum in ms", *heads, "best right peer / tinynet"])]
    for model, mine in by_model.items():
        right = {e: r.median_ms for e, r in mine.items() if r.correct and r.median_ms is not None}
        fastest = min(right, key=lambda e: right[e]) if right else None
        ratio = f"{best[model][0]:.2f} ({best[model][1]})" if model in best else "-"
        lines.append(line([model, *(cell(mine.get(e), e == fastest) for e in engines), ratio]))
    lines += ["", sentence(report.verdict(rows)), *limited(result, rows), *without_result(rows)]
    if result["threads"] == 1 and not result.get("isa"):
        lines += ["", heading(["model, load + first run in ms, peak memory in MiB", *heads])]
        lines += [line([model, *(start_cell(mine.get(e)) for e in engines)]) for model, mine in by_model.items()]
    return "\n".join(lines)


def without_result(rows: Iterable[Row], most: int = 6) -> list[str]:
    """Who was wrong or did not run, on what, and why."""
    found: dict[tuple[str, str], list[str]] = {}
    for row in rows:
        if row.problem or not row.correct:
            found.setdefault((row.engine, row.problem or "wrong"), []).append(row.model)
    lines = [f"* {engine}, {_names(models) if len(models) <= most else f'{len(models)} models'}: {why}"
             for (engine, why), models in found.items()]
    return ["", "No result that counts:", "", *lines] if lines else []


def limited(result: dict[str, Any], rows: list[Row]) -> list[str]:
    """Which peers were kept to the instruction set, and how tinynet compares with those."""
    isa = result.get("isa")
    if not isa:
        return []
    free = [e for e in result["engines"] if e not in (*result["limited"], OURS)]
    text = f"tinynet was limited to {isa}, and so were {_names(result['limited'])}; {_names(free)} could not be."
    alone = [f"Of the limited ones alone: {report.verdict(rows, result['limited'])}."] if result["limited"] else []
    return ["", text, *alone]


def _names(names: Iterable[str]) -> str:
    *most, last = list(names) or ["none"]
    return f"{', '.join(most)} and {last}" if most else last


def line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def heading(cells: list[str]) -> str:
    return line(cells) + "\n|" + "---|" * len(cells)


def sentence(text: str) -> str:
    return text[0].upper() + text[1:] + "."


def version(result: dict[str, Any], engine: str) -> str:
    return result["engines"].get(engine, {}).get("version", "").split(" ")[0]


def ops_table(result: dict[str, Any]) -> str:
    """One table per element type: a line per group of layers, a column per level."""
    parts = []
    for dtype in dict.fromkeys(g["dtype"] for g in result["groups"]):
        own = {(g["group"], g["isa"]): g for g in result["groups"] if g["dtype"] == dtype}
        levels = list(dict.fromkeys(isa for _, isa in own))
        parts.append(heading([f"{dtype}: GOP/s, % of peak / median (least layer), MAC/cycle (least layer)", *levels]))
        names = dict.fromkeys(group for group, _ in own)
        parts += [line([group, *(ops_cell(own.get((group, isa))) for isa in levels)]) for group in names]
        peaks, medians = (result[key][dtype] for key in ("peaks_gops", "median_peaks_gops"))
        parts += [line(["measured peak / median, GOP/s", *(f"{peaks[isa]:.0f} / {medians[isa]:.0f}" for isa in levels)]), ""]
    return "\n".join(parts[:-1])


def ops_cell(group: dict[str, Any] | None) -> str:
    if group is None:
        return "-"
    return (f"{report.number(group['gops'])}, {group['percent_of_peak']:.0f} / {group['median_percent_of_peak']:.0f} "
            f"({group['least_percent_of_peak']:.0f}), "
            f"{report.number(group['mac_per_cycle'])} ({report.number(group['least_mac_per_cycle'])})")


def size_table(result: dict[str, Any]) -> str:
    lines = ["| what | value |", "|---|---|"]
    return "\n".join(lines + [f"| {row['what']} | {row['text']} |" for row in result["rows"]])


def threads_table(result: dict[str, Any]) -> str:
    from benchmarks import threads

    rows = result["rows"]
    lines = [heading(threads.header(result["threads"])), *(line(threads.cells(row)) for row in rows)]
    return "\n".join([*lines, "", sentence(threads.verdict(rows)), sentence(threads.region_sentence(result))])


def memory_table(result: dict[str, Any]) -> str:
    from benchmarks import memory

    rows = result["rows"]
    lines = [heading(memory.header()), *(line(memory.cells(row)) for row in rows)]
    return "\n".join([*lines, "", sentence(memory.verdict(rows))])


def scaling_table(result: dict[str, Any]) -> str:
    """Median ms and GFLOP/s: a line per network and engine, a column per size or number of threads; above it the plot."""
    rows = result["rows"]
    columns = sorted({(r["threads"], r["size"]) for r in rows})
    names = [f"{size} pixels" if threads == 1 else f"{size}, {threads} threads" for threads, size in columns]
    lines = ["![time against input size and against threads](results/scaling.png)", "",
             heading(["model, median ms (GFLOP/s)", "engine", *names])]
    for model, engine in dict.fromkeys((r["model"], r["engine"]) for r in rows):
        own = {(r["threads"], r["size"]): r for r in rows if (r["model"], r["engine"]) == (model, engine)}
        lines.append(line([model, engine, *(scaling_cell(own.get(key)) for key in columns)]))
    return "\n".join(lines)


def scaling_cell(row: dict[str, Any] | None) -> str:
    return "-" if row is None else f"{report.number(row['median_ms'])} ({2e-6 * row['macs'] / row['median_ms']:.0f})"


def quantize_table(result: dict[str, Any]) -> str:
    """One line per network; parts of its data that were judged apart (name/0, name/1) share it."""
    lines = ["| network | judged on | output SQNR in dB | onnxruntime's | same top class or boxes | onnxruntime's | file |",
             "|---|---|---|---|---|---|---|"]
    rows = result["rows"]
    for name in dict.fromkeys(row["model"].split("/")[0] for row in rows):
        parts = [row for row in rows if row["model"].split("/")[0] == name]
        cells = [" / ".join(str(row["judged"]) for row in parts)]
        cells += [" / ".join(f"{row[engine]['sqnr']:.1f}" for row in parts) for engine in QUANTIZERS]
        cells += [same(parts, engine) for engine in QUANTIZERS]
        cells.append(f"{100 * sum(r['int8_bytes'] for r in parts) / sum(r['float_bytes'] for r in parts):.1f} %")
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    gains = [row["tinynet"]["sqnr"] - row["onnxruntime"]["sqnr"] for row in rows]
    return "\n".join([*lines, "", f"SQNR higher than onnxruntime's in {sum(gain > 0 for gain in gains)} of {len(gains)}; least "
                                  f"gain {min(gains):+.1f} dB."])


def same(parts: list[dict[str, Any]], engine: str) -> str:
    """How many results are those of the float network: boxes, or top classes, or - where it has neither."""
    scores = [(row["judged"], row[engine]) for row in parts]
    if all(score["boxes"] is not None for _, score in scores):
        return f"{sum(s['boxes'] - s['lost'] for _, s in scores)} of {sum(s['boxes'] for _, s in scores)} boxes"
    if all(score["agreement"] is not None for _, score in scores):
        return f"{round(sum(n * s['agreement'] for n, s in scores))} of {sum(n for n, _ in scores)}"
    return "-"


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


TABLES = {"models": comparison_table, "peers": comparison_table, "threads": threads_table, "memory": memory_table,
          "ops": ops_table, "size": size_table,
          "scaling": scaling_table, "conformance": conformance_table, "quantize": quantize_table, "integers": integers_table}


def section(result: dict[str, Any]) -> str:
    machine = result["machine"]
    threads = f"{result['threads']} thread{'s' * (result['threads'] > 1)}" if "threads" in result else ""
    precision = result.get("precision", "")
    title = ", ".join(filter(None, [result["command"], precision.replace("float32", ""), threads, result.get("isa"),
                                    machine["cpu"], result["date"]]))
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


def summary(results: Iterable[dict[str, Any]]) -> str:
    """One line per model: best right peer / tinynet of every `peers` result without a limit of the instruction set."""
    columns: dict[tuple[str, int], dict[str, tuple[float, str]]] = {}
    for result in results:
        if result["command"] == "peers" and not result.get("isa"):
            if best := report.best_ratios(rows_of(result)):
                columns.setdefault((result.get("precision", "float32"), result["threads"]), {}).update(best)
    order = sorted(columns)
    names = [f"{precision}, {threads} thread{'s' * (threads > 1)}" for precision, threads in order]
    lines = [heading(["best peer / tinynet", *names])]
    for model in dict.fromkeys(m for key in order for m in columns[key]):
        found = [columns[key].get(model) for key in order]
        lines.append(line([model, *(f"{f[0]:.2f} ({f[1]})" if f else "" for f in found)]))
    means = [stats.geometric_mean([ratio for ratio, _ in columns[key].values()]) for key in order]
    lines.append(line(["geometric mean", *(f"{mean:.2f}" for mean in means)]))
    return "\n".join(lines) if order else NOTHING


def with_summary(text: str, results: Iterable[dict[str, Any]]) -> str:
    """The project's README with the short table, if it has a place for it."""
    if SUMMARY_START not in text:
        return text
    return replace_table(text, f"{SUMMARY_START}\n\n{summary(results)}\n\n{SUMMARY_END}", SUMMARY_START, SUMMARY_END)


def with_operators(text: str) -> str:
    """The project's README with the importer's own list of operators."""
    from tinynet.converters.supported import markdown

    return replace_table(text, f"{OPERATORS_START}\n\n{markdown()}\n\n{OPERATORS_END}", OPERATORS_START, OPERATORS_END)


def with_quantization(text: str, results: Iterable[dict[str, Any]]) -> str:
    """The project's README with the newest results of `quantize`, if there are any."""
    found = sorted((r for r in results if r["command"] == "quantize"), key=lambda r: r["date"])
    if not found:
        return text
    table = f"{QUANTIZED_START}\n\n{quantize_table(found[-1])}\n\n{QUANTIZED_END}"
    return replace_table(text, table, QUANTIZED_START, QUANTIZED_END)


def main(folder: Path = report.RESULTS, readme: Path = README, project: Path = PROJECT) -> None:
    results = load(folder)
    readme.write_text(replace_table(readme.read_text(), generated(results)))
    text = with_operators(project.read_text())
    project.write_text(with_quantization(with_summary(text, results), results))
