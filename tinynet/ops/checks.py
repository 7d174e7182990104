"""What the shape rules of several kinds share: one-line refusals and the arithmetic of sliding windows.

Everything here works on Python integers, so that no shape in a hostile file overflows or allocates.  What every node
of a file passes through puts its message together only when it refuses: loading waits for it.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from tinynet.graph import DTYPES
from tinynet.ops.base import DataError, ShapeError, Spec

NUMERIC = ("float32", "int64", "int32", "uint8", "int8")

# See max_windows in kernels/micro/int8/int8.h.
FLIPS = {("max", "uint8"): 0, ("max", "int8"): 0x80, ("min", "uint8"): 0xff, ("min", "int8"): 0x7f}

# NaN, inf and overflow are legal data, never a reason for a line on stderr.
quiet = functools.partial(np.errstate, all="ignore")


def refuse(expected: str, found: Any) -> None:
    found = list(found) if isinstance(found, tuple) else found
    raise ShapeError(f"expected {expected}, found {found}")


def need(condition: bool, expected: str, found: Any) -> None:
    if not condition:
        refuse(expected, found)


def need_data(condition: bool, expected: str, found: Any) -> None:
    """The same for the numbers of a run: what `reference` cannot take."""
    if not condition:
        raise DataError(f"expected {expected}, found {found}")


def need_inputs(inputs: Sequence[Spec], least: int, most: int | None = None) -> None:
    most = least if most is None else most
    if not least <= len(inputs) <= most:
        refuse(f"{least if least == most else f'{least} to {most}'} inputs", len(inputs))
    for spec in inputs:
        if spec.dtype not in DTYPES:
            refuse(f"a dtype among {', '.join(DTYPES)}", spec.dtype)


def need_float(inputs: Sequence[Spec]) -> None:
    for position, spec in enumerate(inputs):
        if spec.dtype != "float32":
            refuse(f"input {position} of dtype float32", spec.dtype)


def need_shape(spec: Spec, shape: tuple[int, ...], what: str) -> None:
    if spec.shape != shape:
        refuse(f"{what} of shape {list(shape)}", spec.shape)


def need_nhwc(spec: Spec, what: str = "x") -> tuple[int, int, int, int]:
    """The four extents; height, width and channels are at least 1."""
    shape = spec.shape
    if len(shape) != 4 or min(shape[1:]) < 1:
        refuse(f"{what} of shape [N, H, W, C]", shape)
    return shape


# Of strides, pads, kernels and the like: sums and products of two of them fit into the kernels' 64 bits.
MOST = 2 ** 31 - 1


def need_tuple(name: str, values: tuple[int, ...], count: int, least: int) -> None:
    if len(values) != count or min(values, default=least) < least:
        refuse(f"{name} of {count} integers >= {least}", values)
    if max(values, default=least) > MOST:
        refuse(f"{name} of integers <= {MOST}", values)


def need_axis(axis: int, rank: int) -> int:
    """`axis` counted from the front; -1 is the last one."""
    need(-rank <= axis < rank, f"axis between {-rank} and {rank - 1}", axis)
    return axis % rank


def need_name(what: str, name: str, names: Sequence[str] | frozenset[str]) -> None:
    if name not in names:
        refuse(f"{what} among {', '.join(sorted(names))}", repr(name))


def broadcast(a: tuple[int, ...], b: tuple[int, ...]) -> tuple[int, ...]:
    """numpy's broadcast of two shapes."""
    rank = max(len(a), len(b))
    left, right = (1,) * (rank - len(a)) + a, (1,) * (rank - len(b)) + b
    need(all(p == q or 1 in (p, q) for p, q in zip(left, right, strict=True)),
         f"a shape that broadcasts with {list(a)}", b)
    return tuple(q if p == 1 else p for p, q in zip(left, right, strict=True))


def count(shape: Sequence[int]) -> int:
    return math.prod(shape)


@functools.lru_cache(64)
def _need_window(kernel: tuple[int, ...], strides: tuple[int, ...], pads: tuple[int, ...], dilations: tuple[int, ...],
                 extra: tuple[int, ...]) -> None:
    """Cached: a network has few different windows."""
    need_tuple("kernel", kernel, 2, 1)
    need_tuple("strides", strides, 2, 1)
    need_tuple("pads", pads, 4, 0)
    need_tuple("dilations", dilations, 2, 1)
    need_tuple("extra", extra, 2, 0)


def window_extents(
    extents: tuple[int, int],
    kernel: tuple[int, ...],
    strides: tuple[int, ...],
    pads: tuple[int, ...],
    dilations: tuple[int, ...],
    extra: tuple[int, ...] = (0, 0),
) -> tuple[int, int]:
    """(OH, OW) of a window over `extents` padded by top, left, bottom, right, and by `extra` bottom, right."""
    _need_window(kernel, strides, pads, dilations, extra)
    out = []
    for i in range(2):
        padded = extents[i] + pads[i] + pads[i + 2] + extra[i]
        reach = dilations[i] * (kernel[i] - 1) + 1
        if padded < reach:
            refuse(f"a padded {('height', 'width')[i]} of at least {reach} (the window)", padded)
        out.append((padded - reach) // strides[i] + 1)
    return out[0], out[1]


def padded(x: np.ndarray, pads: Sequence[int], value: float) -> np.ndarray:
    """x [N, H, W, C] with `value` around it; x itself where there is nothing to add."""
    top, left, bottom, right = pads
    if not any(pads):
        return x
    n, h, w, c = x.shape
    result = np.full((n, top + h + bottom, left + w + right, c), value, x.dtype)
    result[:, top:top + h, left:left + w] = x
    return result


def tap(x: np.ndarray, ky: int, kx: int, out: tuple[int, int], strides: Sequence[int],
        dilations: Sequence[int]) -> np.ndarray:
    """View of padded x: what tap (ky, kx) of every window reads, [N, OH, OW, C]."""
    y0, x0 = ky * dilations[0], kx * dilations[1]
    return x[:, y0:y0 + (out[0] - 1) * strides[0] + 1:strides[0], x0:x0 + (out[1] - 1) * strides[1] + 1:strides[1]]
