"""ONNX pools of any number of spatial axes: one function each, see `onnx_ops.py`."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from tinynet.converters.onnx_builder import Builder, Malformed, Operator, Refuse, Value, integers
from tinynet.converters.onnx_window import Window, by_planes, from_channels_last, read_window, to_channels_last


def _pool_window(x: Value, kernel_shape: Sequence[int], strides: Sequence[int] | None,
                 dilations: Sequence[int] | None, pads: Sequence[int] | None, auto_pad: str,
                 ceil_mode: int) -> tuple[Window, tuple[int, ...]]:
    """The window with explicit pads, and the rows at the end that only ceil_mode reaches.

    A last window that would start in the padding at the end is left out (MaxPool-22 and AveragePool-22 say so, and
    engines did before)."""
    spatial = x.shape[2:]
    window = read_window(spatial, kernel_shape, strides, dilations, pads, auto_pad)
    if any(p >= s for p, s in zip(window.begin + window.end, window.span * 2, strict=True)):
        raise Refuse(f"pads {list(window.begin + window.end)} are not smaller than the kernel {list(window.span)}")
    zero = (0,) * len(spatial)
    if not ceil_mode or auto_pad in ("SAME_UPPER", "SAME_LOWER"):
        return window, zero
    ends, extras = [], []
    for size, s, span, begin, end in zip(spatial, window.strides, window.span, window.begin, window.end, strict=True):
        count = -(-(size + begin + end - span) // s) + 1
        if (count - 1) * s >= size + begin:
            count -= 1
        reach = max((count - 1) * s + span - size - begin, 0)
        ends.append(min(end, reach))
        extras.append(reach - ends[-1])
    return Window(window.kernel, window.strides, window.dilations, window.begin, tuple(ends)), tuple(extras)


def _longer(window: Window, extra: Sequence[int]) -> tuple[int, ...]:
    """Begins and ends of the pads, with what ceil_mode adds."""
    return (*window.begin, *(e + more for e, more in zip(window.end, extra, strict=True)))


def _settings(window: Window, pads: Sequence[int]) -> dict[str, tuple[Sequence[int], int]]:
    return {"kernel": (window.kernel, 1), "strides": (window.strides, 1), "dilations": (window.dilations, 1),
            "pads": (pads, 0)}


def max_pool(b: Builder, x: Value, *, kernel_shape: list[int], auto_pad: str = "NOTSET", ceil_mode: int = 0,
             dilations: list[int] | None = None, pads: list[int] | None = None, storage_order: int = 0,
             strides: list[int] | None = None) -> Value | list[Value]:
    """A maximum over a box is one over its rows, then one over its columns.  storage_order only concerns the second
    output, the indices."""
    window, extra = _pool_window(x, kernel_shape, strides, dilations, pads, auto_pad, ceil_mode)
    image, around = to_channels_last(b, x), _longer(window, extra)
    y = from_channels_last(b, by_planes(b, "max_pool2d", image, _settings(window, around)))
    if not any(b.outputs_used[1:]):
        return y
    indices = b.emit("max_pool_indices", image, part="indices", kernel=window.kernel, strides=window.strides, pads=around,
                     dilations=window.dilations, column_major=bool(storage_order))
    return [y, from_channels_last(b, indices)]


def average_pool(b: Builder, x: Value, *, kernel_shape: list[int], auto_pad: str = "NOTSET", ceil_mode: int = 0,
                 count_include_pad: int = 0, dilations: list[int] | None = None, pads: list[int] | None = None,
                 strides: list[int] | None = None) -> Value:
    """What ceil_mode adds at the end never counts in the divisor, pads count with count_include_pad."""
    window, extra = _pool_window(x, kernel_shape, strides, dilations, pads, auto_pad, ceil_mode)
    settings = _settings(window, window.begin + window.end) | {"extra": (extra, 0)}
    return from_channels_last(b, by_planes(b, "average_pool2d", to_channels_last(b, x), settings,
                                           count_include_pad=bool(count_include_pad)))


def _power(b: Builder, x: Value, p: float, part: str) -> Value:
    """|x|^p, or x^(1/p) of a sum of such, for p below 1."""
    if p == 2:
        return b.emit("mul", x, x, part=part)
    if p == 0.5:
        return b.emit("sqrt", x, part=part)
    if p >= 1:
        x = b.emit("abs", x, part=f"{part}_abs")
    return x if p == 1 else b.emit("pow", x, b.known(np.float32(p)), part=part)


def _norm_power(p: float) -> float:
    if not p >= 1 or not math.isfinite(p):
        raise Refuse(f"p = {p:g}; numbers from 1 on are supported")
    return float(p)


def lp_pool(b: Builder, x: Value, *, kernel_shape: list[int], auto_pad: str = "NOTSET", ceil_mode: int = 0,
            dilations: list[int] | None = None, p: float = 2, pads: list[int] | None = None,
            strides: list[int] | None = None) -> Value:
    """(sum |x|^p)^(1/p): the sum is an average in which every place counts, times their number."""
    p = _norm_power(p)
    window, extra = _pool_window(x, kernel_shape, strides, dilations, pads, auto_pad, ceil_mode)
    y = by_planes(b, "average_pool2d", to_channels_last(b, _power(b, x, p, "power")),
                  _settings(window, _longer(window, extra)), count_include_pad=True)
    y = b.emit("mul", y, b.known(np.float32(math.prod(window.kernel))), part="sum")
    return from_channels_last(b, y if p == 1 else _power(b, y, 1 / p, "root"))


def _global_pool(b: Builder, kind: str, x: Value) -> Value:
    if x.rank < 2:
        raise Malformed(f"input of rank {x.rank}, expected at least 2")
    return b.emit(kind, x, axes=tuple(range(2, x.rank)), keepdims=True) if x.rank > 2 else x


def global_average_pool(b: Builder, x: Value) -> Value:
    return _global_pool(b, "reduce_mean", x)


def global_max_pool(b: Builder, x: Value) -> Value:
    return _global_pool(b, "reduce_max", x)


def global_lp_pool(b: Builder, x: Value, *, p: float = 2) -> Value:
    p = _norm_power(p)
    y = _global_pool(b, "reduce_sum", _power(b, x, p, "power"))
    return y if p == 1 else _power(b, y, 1 / p, "root")


def max_unpool(b: Builder, x: Value, indices: Value, output_shape: Value | None = None, *, kernel_shape: list[int],
               pads: list[int] | None = None, strides: list[int] | None = None) -> Value:
    """Indices count in the tensor that kernel, strides and pads alone would give; a larger output_shape adds zeros at the
    end of its axes (as the specification's own test has it)."""
    window = read_window(x.shape[2:], kernel_shape, strides, None, pads, "NOTSET")
    inner = tuple((d - 1) * s - begin - end + k for d, s, begin, end, k in zip(
        x.shape[2:], window.strides, window.begin, window.end, window.kernel, strict=True))
    wanted = b.constant_input(output_shape, "output_shape")
    size = inner
    if wanted is not None:
        size = integers(wanted, "output_shape")
        if size[:2] != x.shape[:2]:
            raise Malformed(f"output_shape {list(size)} does not begin with {list(x.shape[:2])}")
        size = size[2:]
    y = b.emit("max_unpool", to_channels_last(b, x), to_channels_last(b, indices), inner=inner, size=size)
    return from_channels_last(b, y)


OPERATORS = {
    "AveragePool": Operator(average_pool, (7, 10, 11, 19, 22)),
    "GlobalAveragePool": Operator(global_average_pool, (1, 22)),
    "GlobalLpPool": Operator(global_lp_pool, (1, 2, 22)),
    "GlobalMaxPool": Operator(global_max_pool, (1, 22)),
    "LpPool": Operator(lp_pool, (2, 11, 18, 22)),
    "MaxPool": Operator(max_pool, (1, 8, 10, 11, 12, 22)),
    "MaxUnpool": Operator(max_unpool, (9, 11, 22)),
}
