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

A float32 constant may be stored in fewer bytes; what the kernels read is then made when the plan is:

`float16/ORDER`      its elements in one of the orders above, rounded to IEEE 754 binary16.
`int8/ORDER`         a float32 scale per channel, then the elements in that order as int8: numbers are scale * integer.  The
                     channels are the rows of a panel layout, with those that fill the last panel, or the last axis of a plain
                     one.
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
STORED = ("float16", "int8")


def ohwi_panels(groups: int = 1) -> str:
    return f"ohwi_panels16:{groups}"


def hwoi_panels(groups: int = 1) -> str:
    return f"hwoi_panels16:{groups}"


def ohwi_quads(groups: int = 1, run: int = 1) -> str:
    return f"ohwi_quads16:{groups}:{run}"


def stored(layout: str) -> tuple[str, str]:
    """(storage, order): one of STORED, or "" for constants that lie as they are, and the order of the elements."""
    storage, slash, order = layout.partition("/")
    return (storage, order) if slash and storage in STORED else ("", layout)


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
    storage, order = stored(layout)
    if storage:
        if dtype != "float32" or stored(order)[0]:
            raise FormatError(f"layout {layout!r} does not fit a constant of {dtype}: convert the model again")
        elements = nbytes(shape, dtype, order) // item
        return 2 * elements if storage == "float16" else 4 * channels(shape, order) + elements
    _, groups, rows, columns = _matrix(shape, layout)
    return groups * -(-rows // PANEL) * columns * PANEL * item


def channels(shape: tuple[int, ...], order: str) -> int:
    """How many scales an int8 constant has."""
    if order == PLAIN:
        return shape[-1] if shape else 1
    _, groups, rows, _ = _matrix(shape, order)
    return groups * -(-rows // PANEL) * PANEL


def pack(array: np.ndarray, layout: str) -> np.ndarray:
    """One-dimensional array in the order of `layout`; bytes for those that store fewer."""
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
    storage, order = stored(layout)
    if storage:
        if array.dtype != "float32":
            raise FormatError(f"layout {layout!r} does not fit a constant of {array.dtype}: convert the model again")
        return _shrink(pack(array, order), channels(array.shape, order), storage, order)
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

    storage, order = stored(layout)
    if storage:
        return unpack(expand(data, shape, layout), shape, dtype, order)
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


def expand(data: Any, shape: tuple[int, ...], layout: str) -> np.ndarray:
    """float32 elements in their order from the bytes of a layout that stores fewer; tinynet/builder.py has the fast way."""
    import numpy as np

    storage, order = stored(layout)
    raw = np.frombuffer(data, np.uint8) if not isinstance(data, np.ndarray) else data.reshape(-1).view(np.uint8)
    if storage == "float16":
        return raw.view(np.float16).astype(np.float32)
    many = channels(shape, order)
    if not many:
        return np.zeros(0, np.float32)
    return (by_channel(raw[4 * many:].view(np.int8), many, order) * scales(raw, many, order)).reshape(-1)


def by_channel(flat: np.ndarray, many: int, order: str) -> np.ndarray:
    """[..., channels], panel by panel where there are panels."""
    return flat.reshape(-1, many) if order == PLAIN else flat.reshape(many // PANEL, -1, PANEL)


def scales(raw: np.ndarray, many: int, order: str) -> np.ndarray:
    """The scales at the start of an int8 constant's bytes, shaped to broadcast with `by_channel`."""
    import numpy as np

    found = raw[:4 * many].view(np.float32)
    return found if order == PLAIN else found.reshape(-1, 1, PANEL)


def _shrink(flat: np.ndarray, many: int, storage: str, order: str) -> np.ndarray:
    """Bytes from the float32 elements in their order; the largest number of each channel becomes 127 or -127."""
    import numpy as np

    if storage == "float16":
        return flat.astype(np.float16).view(np.uint8)
    if not many:
        return np.zeros(0, np.uint8)
    rows = by_channel(flat, many, order)
    most = np.abs(rows).max(axis=-2, keepdims=True, initial=0)
    scale = np.maximum(most / np.float32(127), np.float32(1.1754944e-38))
    return np.concatenate([scale.reshape(-1).view(np.uint8), np.rint(rows / scale).astype(np.int8).reshape(-1).view(np.uint8)])
