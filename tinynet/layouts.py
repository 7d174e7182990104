"""How a constant lies in the file: the orders that the kernels read in place.

`plain`              C order of the logical shape.
`ohwi_panels16:G`    conv2d weights [O, kh, kw, I] (I = C/G) and, with G = 1, dense weights [N, K].  Each of the G
                     groups is a matrix of O/G rows and K = kh*kw*I columns, stored as [G][ceil(rows/16)][K][16]: a
                     panel holds 16 output channels, and a kernel that walks along K reads it front to back.
`hwoi_panels16:G`    conv_transpose2d weights [kh, kw, O, I].  Rows of group g's matrix are (ky, kx, o), o in the
                     group, its columns are i: [G][ceil(kh*kw*(O/G)/16)][I][16].
`ohwi_quads16:G:RUN` q_conv2d and q_dense weights, int8: each of the G groups is the same matrix as in ohwi_panels16, its K
                     columns in runs of RUN that the kernel finds side by side in memory (kernel rows of kw*I, or taps of I
                     if pixels of a kernel row lie apart).  Each run is filled up with zeros to whole quads of four; stored
                     as [G][ceil(rows/16)][quads][16][4].

Missing rows of the last panel are zero.  One layout serves every instruction set: wide kernels walk several panels at
once.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from tinynet.errors import FormatError
from tinynet.graph import DTYPES

if TYPE_CHECKING:  # reading a file needs `nbytes` alone, and reading a file must not import numpy
    import numpy as np

PANEL = 16
QUAD = 4
PLAIN = "plain"


def ohwi_panels(groups: int = 1) -> str:
    return f"ohwi_panels16:{groups}"


def hwoi_panels(groups: int = 1) -> str:
    return f"hwoi_panels16:{groups}"


def ohwi_quads(groups: int = 1, run: int = 1) -> str:
    return f"ohwi_quads16:{groups}:{run}"


@lru_cache(64)
def _parse(layout: str) -> tuple[str, tuple[int, ...]]:
    """(family, its numbers); 0 for a number that is not written as Python does."""
    family, *numbers = layout.split(":", 3)
    # Layouts are compared as strings, so a number has one spelling; nor is int() asked to read a megabyte.
    values = [int(n) if len(n) <= 10 and n.isdecimal() else 0 for n in numbers]
    return family, tuple([v if n == str(v) else 0 for n, v in zip(numbers, values, strict=True)])


def _misfit(shape: tuple[int, ...], layout: str) -> FormatError:
    return FormatError(f"layout {layout!r} does not fit a constant of shape {list(shape)}: convert the model again")


def _quads(shape: tuple[int, ...], layout: str) -> tuple[int, int, int, int, int] | None:
    """(groups, rows per group, runs, columns per run, quads per run) of a layout in quads; None: it is another one."""
    family, numbers = _parse(layout)
    if family != "ohwi_quads16":
        return None
    if len(numbers) != 2 or 0 in numbers or not shape or shape[0] % numbers[0] or math.prod(shape[1:]) % numbers[1]:
        raise _misfit(shape, layout)
    groups, run = numbers
    return groups, shape[0] // groups, math.prod(shape[1:]) // run, run, -(-run // QUAD)


def _matrix(shape: tuple[int, ...], layout: str) -> tuple[str, int, int, int]:
    """(family, groups, rows per group, columns) of a panel layout; FormatError if it does not fit the shape."""
    family, numbers = _parse(layout)
    if family in ("ohwi_panels16", "hwoi_panels16"):
        groups = numbers[0] if len(numbers) == 1 else 0
        if family == "ohwi_panels16" and len(shape) >= 1 and groups and shape[0] % groups == 0:
            return family, groups, shape[0] // groups, math.prod(shape[1:])
        if family == "hwoi_panels16" and len(shape) == 4 and groups and shape[2] % groups == 0:
            return family, groups, shape[0] * shape[1] * (shape[2] // groups), shape[3]
        raise _misfit(shape, layout)
    raise FormatError(f"unknown layout {layout!r}: update tinynet, or convert the model again")


def nbytes(shape: tuple[int, ...], dtype: str, layout: str = PLAIN) -> int:
    """Exact size of the blob.  FormatError if the layout is unknown or does not fit the shape."""
    item = DTYPES[dtype]
    if layout == PLAIN:
        return math.prod(shape) * item
    found = _quads(shape, layout)
    if found:
        groups, rows, runs, _, quads = found
        return groups * -(-rows // PANEL) * PANEL * runs * quads * QUAD * item
    _, groups, rows, columns = _matrix(shape, layout)
    return groups * -(-rows // PANEL) * columns * PANEL * item


def pack(array: np.ndarray, layout: str) -> np.ndarray:
    """One-dimensional array in the order of `layout`."""
    import numpy as np

    if layout == PLAIN:
        return np.ascontiguousarray(array).reshape(-1)
    found = _quads(array.shape, layout)
    if found:
        groups, rows, runs, run, quads = found
        panels = -(-rows // PANEL)
        padded = np.zeros((groups, panels * PANEL, runs, quads * QUAD), array.dtype)
        padded[:, :rows, :, :run] = array.reshape(groups, rows, runs, run)
        panelled = padded.reshape(groups, panels, PANEL, runs * quads, QUAD)
        return np.ascontiguousarray(panelled.swapaxes(2, 3)).reshape(-1)
    family, groups, rows, columns = _matrix(array.shape, layout)
    if family == "hwoi_panels16":
        kh, kw, out, i = array.shape
        array = array.reshape(kh, kw, groups, out // groups, i).transpose(2, 0, 1, 3, 4)
    panels = -(-rows // PANEL)
    padded = np.zeros((groups, panels * PANEL, columns), array.dtype)
    padded[:, :rows] = array.reshape(groups, rows, columns)
    return np.ascontiguousarray(padded.reshape(groups, panels, PANEL, columns).swapaxes(2, 3)).reshape(-1)


def unpack(data: Any, shape: tuple[int, ...], dtype: str, layout: str = PLAIN) -> np.ndarray:
    """The logical array from a blob (any buffer or array).  A view where the layout is plain."""
    import numpy as np

    flat = np.frombuffer(data, dtype) if not isinstance(data, np.ndarray) else data.reshape(-1)
    if layout == PLAIN:
        return flat.reshape(shape)
    found = _quads(shape, layout)
    if found:
        groups, rows, runs, run, quads = found
        panels = -(-rows // PANEL)
        padded = flat.reshape(groups, panels, runs * quads, PANEL, QUAD).swapaxes(2, 3)
        padded = padded.reshape(groups, panels * PANEL, runs, quads * QUAD)
        return np.ascontiguousarray(padded[:, :rows, :, :run]).reshape(shape)
    family, groups, rows, columns = _matrix(shape, layout)
    panels = -(-rows // PANEL)
    padded = flat.reshape(groups, panels, columns, PANEL).swapaxes(2, 3).reshape(groups, panels * PANEL, columns)
    matrix = padded[:, :rows]
    if family == "hwoi_panels16":
        kh, kw, out, i = shape
        return np.ascontiguousarray(
            matrix.reshape(groups, kh, kw, out // groups, i).transpose(1, 2, 0, 3, 4)).reshape(shape)
    return np.ascontiguousarray(matrix).reshape(shape)
