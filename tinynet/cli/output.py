"""How the commands print: tables, sizes, colours, JSON.  No numpy."""

from __future__ import annotations

import json
import math
import os
import sys
from collections.abc import Iterable, Sequence
from typing import Any, TextIO

JSON_VERSION = 1
_STYLES = {"bold": "1", "dim": "2", "red": "31", "green": "32", "yellow": "33"}


def print_json(command: str, **fields: Any) -> None:
    """One object on stdout: {"version": 1, "command": ..., fields}; see README.md in this folder."""
    print(json.dumps(_finite({"version": JSON_VERSION, "command": command, **fields}), indent=2, allow_nan=False))


def _finite(value: Any) -> Any:
    """NaN and infinities become null: JSON has no such numbers."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    return value


def note(message: str) -> None:
    """One line on stderr that is no error."""
    sys.stdout.flush()
    print(paint(f"note: {clean(message)}", "yellow", sys.stderr), file=sys.stderr)


def show(line: str = "") -> None:
    print(clean(line))


def clean(text: str) -> str:
    """Without control characters: names and labels come from files of strangers, and a terminal obeys them."""
    return text if text.isprintable() else "".join(c if c.isprintable() or c == "\n" else "\ufffd" for c in text)


def shorten(name: str, length: int = 48) -> str:
    """`name` with its middle left out where it is too long for a table; some exporters write 300 characters."""
    if len(name) <= length:
        return name
    tail = length // 2 - 1
    return f"{name[:length - tail - 3]}...{name[-tail:]}"


def has_colors(stream: TextIO) -> bool:
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def paint(text: str, style: str, stream: TextIO | None = None) -> str:
    """`text` in a style if `stream` (default stdout) is a terminal that wants it."""
    return f"\033[{_STYLES[style]}m{text}\033[0m" if has_colors(stream or sys.stdout) else text


def table(header: Sequence[str], rows: Iterable[Sequence[Any]], numeric: Iterable[int] = ()) -> list[str]:
    """Lines with aligned columns, no trailing blanks; the columns in `numeric` are aligned to the right."""
    cells = [[clean(str(cell)) for cell in row] for row in (header, *rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(header))]
    right = set(numeric)
    return ["  ".join(cell.rjust(width) if i in right else cell.ljust(width)
                      for i, (cell, width) in enumerate(zip(row, widths, strict=True))).rstrip() for row in cells]


def print_table(header: Sequence[str], rows: Iterable[Sequence[Any]], numeric: Iterable[int] = ()) -> None:
    first, *rest = table(header, rows, numeric)
    print(paint(first, "bold"))
    for line in rest:
        print(line)


def size(count: float) -> str:
    """Bytes for people: 14.02 MB (decimal units, as file managers show them)."""
    for unit in ("B", "kB", "MB"):
        if count < 1000:
            return f"{count} B" if unit == "B" else f"{count:.2f} {unit}"
        count /= 1000
    return f"{count:.2f} GB"


def shape(dims: Sequence[int | str] | None) -> str:
    if dims is None:
        return "open"
    return "x".join(map(str, dims)) or "scalar"


def error(message: str) -> None:
    """One line on stderr about a failure that does not end the command."""
    sys.stdout.flush()
    print(f"tinynet: {' '.join(clean(message).split())}", file=sys.stderr)
