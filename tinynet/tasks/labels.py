"""Labels files: one name per line, line number = class index."""

from __future__ import annotations

from typing import Any

from tinynet.errors import FileError

LIMIT = 16 << 20


def read_labels(path: Any) -> list[str]:
    """The lines of a UTF-8 text file, stripped; empty lines at the end do not count, others do.  Raises FileError."""
    try:
        with open(path, "rb") as file:
            data = file.read(LIMIT + 1)
    except OSError as error:
        raise FileError(f"cannot read labels file {str(path)!r}: {error.strerror or error}") from error
    if len(data) > LIMIT:
        raise FileError(f"labels file {str(path)!r} is larger than {LIMIT >> 20} MiB: expected one name per line")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise FileError(f"labels file {str(path)!r} is not UTF-8 text (byte {error.start}): "
                        "save it as UTF-8") from error
    lines = [line.strip() for line in text.split("\n")]
    while lines and not lines[-1]:
        lines.pop()
    if not lines:
        raise FileError(f"labels file {str(path)!r} is empty: expected one name per line")
    return lines
