"""What the ONNX importer supports, read from its own table and source: `tinynet supported` and the README show it.

An operator's limits are the texts with which its function refuses a node, so they cannot fall behind the code.
"""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Callable
from typing import Any, NamedTuple

from tinynet import ops
from tinynet.converters.onnx_builder import NARROWED_DTYPES, RUNTIME_DTYPES
from tinynet.converters.onnx_load import MIN_OPSET, TESTED_OPSET
from tinynet.converters.onnx_ops import OPERATORS, REASONS


class Row(NamedTuple):
    """`versions`: the schema versions whose meaning is implemented.  `runs`: False where it only works on constants.
    `settings`: inputs that decide shapes or the choice of layers.  `limits`: what is refused; "..." stands for a value."""

    name: str
    versions: tuple[int, ...]
    runs: bool
    settings: tuple[str, ...]
    limits: tuple[str, ...]


def operators() -> list[Row]:
    rows = []
    for name, operator in OPERATORS.items():
        settings, limits = texts(operator.function) if operator.function else ((), ())
        rows.append(Row(name, operator.versions, operator.function is not None, settings, limits))
    return rows


def facts() -> dict[str, Any]:
    """What `tinynet supported --json` prints."""
    return {"opsets": [MIN_OPSET, TESTED_OPSET], "dtypes": list(RUNTIME_DTYPES), "computed_as_float32": list(NARROWED_DTYPES),
            "layer_kinds": len(ops.kinds()), "operators": [row._asdict() for row in operators()],
            "refused": [{"name": name, "reason": reason} for name, reason in sorted(REASONS.items()) if name not in OPERATORS]}


def texts(function: Callable) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """(what it wants as constants, texts of its refusals), of a function and the importer's functions that it calls."""
    settings: dict[str, None] = {}
    limits: dict[str, None] = {}
    pending, seen = [function], {function}
    while pending:
        current = pending.pop(0)
        tree = ast.parse(textwrap.dedent(inspect.getsource(current)))
        for node in ast.walk(tree):
            if not isinstance(node, ast.Call):
                continue
            called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if called == "constant_input" and len(node.args) == 2:
                settings[_text(node.args[1]).replace("...", "parameters")] = None
            elif called == "Refuse" and node.args:
                limits[_text(node.args[0])] = None
        for name in {n.id for n in ast.walk(tree) if isinstance(n, ast.Name)}:
            other = getattr(current, "__globals__", {}).get(name)
            if inspect.isfunction(other) and other not in seen and other.__module__.startswith("tinynet.converters.onnx_") \
                    and other.__module__ != "tinynet.converters.onnx_builder":
                seen.add(other)
                pending.append(other)
    return tuple(sorted(settings)), tuple(sorted(limits))


def _text(node: ast.expr) -> str:
    """A literal text; what is filled in when it is raised becomes "..."."""
    if isinstance(node, ast.JoinedStr):
        return "".join(_text(part) for part in node.values)
    if isinstance(node, ast.Constant):
        return str(node.value)
    if isinstance(node, ast.IfExp):
        return f"{_text(node.body)} / {_text(node.orelse)}"
    return "..."


def markdown() -> str:
    """The part of the README between its markers: two lists of names, and what is refused of the first."""
    rows = operators()
    alike: dict[tuple[str, str], list[str]] = {}
    for row in rows:
        limits = "; ".join(_cell(text) for text in row.limits if text.strip(". "))
        alike.setdefault((", ".join(row.settings), limits), []).append(row.name)
    runs, folded = ([row.name for row in rows if row.runs == wanted] for wanted in (True, False))
    parts = ["These operators run:", _wrapped(runs),
             "These work where their inputs are known at conversion, which is what shape arithmetic needs:", _wrapped(folded),
             "Limits (`...` stands for any value; settings must be constants, or known when the network is planned):",
             "\n".join(["| operator | settings | refused |", "|---|---|---|",
                        *(f"| {', '.join(names)} | {settings} | {limits} |"
                          for (settings, limits), names in alike.items() if settings or limits)])]
    return "\n\n".join(part for part in parts if part)


def _wrapped(names: list[str]) -> str:
    return "\n".join(textwrap.wrap(", ".join(names), 120, break_long_words=False)) or "none"


def _cell(text: str) -> str:
    return text.replace("|", "/")
