"""How a constant lies in the file: the orders that the kernels read in place.

`plain`              C order of the logical shape.
`ohwi_panels16:G`    conv2d weights [O, kh, kw, I] (I = C/G) and, with G = 1, dense weights [N, K].  Each of the G
                     groups is a matrix of O/G rows and K = kh*kw*I columns, stored as [G][ceil(rows/16)][K][16]: a
                     panel holds 16 output channels, and a kernel that walks along K reads it front to back.
`hwoi_panels16:G`    conv_transpose2d weights [kh, kw, O, I].  Rows of group g's matrix are (ky, kx, o), o in the
                     group, its columns are i: [G][ceil(kh*kw*(O/G)/16)][I][16].

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
PLAIN = "plain"


def ohwi_panels(groups: int = 1) -> str:
    return f"ohwi_panels16:{groups}"


def hwoi_panels(groups: int = 1) -> str:
    return f"hwoi_panels16:{groups}"


@lru_cache(64)
def _parse(layout: str) -> tuple[str, int]:
    """(family, groups); 0 groups if their number is not written as Python does."""
    family, _, text = layout.partition(":")
    # Layouts are compared as strings, so a number has one spelling; nor is int() asked to read a megabyte.
    groups = int(text) if len(text) <= 10 and text.isdecimal() else 0
    return family, groups if text == str(groups) else 0


def _matrix(shape: tuple[int, ...], layout: str) -> tuple[str, int, int, int]:
    """(family, groups, rows per group, columns) of a panel layout; FormatError if it does not fit the shape."""
    family, groups = _parse(layout)
    if family in ("ohwi_panels16", "hwoi_panels16"):
        if family == "ohwi_panels16" and len(shape) >= 1 and groups and shape[0] % groups == 0:
            return family, groups, shape[0] // groups, math.prod(shape[1:])
        if family == "hwoi_panels16" and len(shape) == 4 and groups and shape[2] % groups == 0:
            return family, groups, shape[0] * shape[1] * (shape[2] // groups), shape[3]
        raise FormatError(f"layout {layout!r} does not fit a constant of shape {list(shape)}: convert the model again")
    raise FormatError(f"unknown layout {layout!r}: update tinynet, or convert the model again")


def nbytes(shape: tuple[int, ...], dtype: str, layout: str = PLAIN) -> int:
    """Exact size of the blob.  FormatError if the layout is unknown or does not fit the shape."""
    item = DTYPES[dtype]
    if layout == PLAIN:
        return math.prod(shape) * item
    _, groups, rows, columns = _matrix(shape, layout)
    return groups * -(-rows // PANEL) * columns * PANEL * item


def pack(array: np.ndarray, layout: str) -> np.ndarray:
    """One-dimensional array in the order of `layout`."""
    import numpy as np

    if layout == PLAIN:
        return np.ascontiguousarray(array).reshape(-1)
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
    family, groups, rows, columns = _matrix(shape, layout)
    panels = -(-rows // PANEL)
    padded = flat.reshape(groups, panels, columns, PANEL).swapaxes(2, 3).reshape(groups, panels * PANEL, columns)
    matrix = padded[:, :rows]
    if family == "hwoi_panels16":
        kh, kw, out, i = shape
        return np.ascontiguousarray(
            matrix.reshape(groups, kh, kw, out // groups, i).transpose(1, 2, 0, 3, 4)).reshape(shape)
    return np.ascontiguousarray(matrix).reshape(shape)
