"""Sliding-window geometry of ONNX Conv, ConvTranspose and the pools, and the way of image tensors to NHWC and back."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from tinynet.converters.onnx_builder import Builder, Malformed, Refuse, Value


@dataclass(frozen=True)
class Window:
    """Per spatial axis.  `span` is the extent of a dilated kernel."""

    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    begin: tuple[int, ...]
    end: tuple[int, ...]

    @property
    def span(self) -> tuple[int, ...]:
        return tuple((k - 1) * d + 1 for k, d in zip(self.kernel, self.dilations, strict=True))


def flat_pads(begin: Sequence[int], end: Sequence[int]) -> tuple[int, ...]:
    """top, left, bottom, right; a 1-D window gets a height of 1."""
    return (*two(begin, 0), *two(end, 0))


def two(values: Sequence[int], fill: int) -> tuple[int, ...]:
    return tuple(values) if len(values) == 2 else (fill, *values)


def read_window(spatial: Sequence[int], kernel: Sequence[int], strides: Sequence[int] | None,
                dilations: Sequence[int] | None, pads: Sequence[int] | None, auto_pad: str) -> Window:
    """Attributes with the defaults of the specification; SAME_* and VALID become explicit pads."""
    n = len(spatial)
    kernel = tuple(kernel)
    strides = tuple(strides or (1,) * n)
    dilations = tuple(dilations or (1,) * n)
    for name, values in (("kernel_shape", kernel), ("strides", strides), ("dilations", dilations)):
        if len(values) != n or min(values) < 1:
            raise Malformed(f"{name} must hold {n} positive numbers, found {list(values)}")
    begin = end = (0,) * n
    if auto_pad in ("SAME_UPPER", "SAME_LOWER"):
        begin, end = _same_pads(spatial, kernel, strides, dilations, lower=auto_pad == "SAME_LOWER")
    elif auto_pad in ("NOTSET", ""):
        begin, end = split_pads(pads, n)
    elif auto_pad != "VALID":
        raise Malformed(f"auto_pad {auto_pad!r} is none of NOTSET, SAME_UPPER, SAME_LOWER, VALID")
    return Window(kernel, strides, dilations, begin, end)


def split_pads(pads: Sequence[int] | None, n: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    pads = tuple(pads or (0,) * (2 * n))
    if len(pads) != 2 * n:
        raise Malformed(f"pads must hold {2 * n} numbers, found {list(pads)}")
    if min(pads) < 0:
        raise Refuse(f"negative pads {list(pads)}")
    return pads[:n], pads[n:]


def _same_pads(spatial: Sequence[int], kernel: Sequence[int], strides: Sequence[int], dilations: Sequence[int],
               lower: bool) -> tuple[tuple[int, ...], tuple[int, ...]]:
    begin, end = [], []
    for size, k, s, d in zip(spatial, kernel, strides, dilations, strict=True):
        total = max((-(-size // s) - 1) * s + (k - 1) * d + 1 - size, 0)
        small = total // 2
        begin.append(total - small if lower else small)
        end.append(small if lower else total - small)
    return tuple(begin), tuple(end)


def to_channels_last(b: Builder, x: Value) -> Value:
    """[N,C,D1,...] -> [N,D1,...,C]."""
    if x.rank < 3:
        raise Malformed(f"input of rank {x.rank}, expected at least 3")
    return b.transpose(x, channels_last(x.rank)[0], "to_nhwc")


def from_channels_last(b: Builder, y: Value) -> Value:
    return b.transpose(y, channels_last(y.rank)[1], "to_nchw")


def to_image(b: Builder, x: Value) -> Value:
    """[N,C,H,W] -> [N,H,W,C]; [N,C,L] -> [N,1,L,C]."""
    y = to_channels_last(b, x)
    if x.rank == 3:
        n, length, c = y.shape
        y = b.reshape(y, (n, 1, length, c), "to_2d")
    return y


def from_image(b: Builder, y: Value, rank: int) -> Value:
    """The way back of `to_image`."""
    if rank == 3:
        n, _, length, c = y.shape
        y = b.reshape(y, (n, length, c), "to_1d")
    return from_channels_last(b, y)


def channels_last(rank: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The permutation that moves axis 1 to the end, and its inverse."""
    return (0, *range(2, rank), 1), (0, rank - 1, *range(1, rank - 1))


@dataclass(frozen=True)
class Plane:
    """Spatial axes that an image kind works on in one go: two, or one with a second that has a window of 1."""

    axes: tuple[int, ...]
    shape: tuple[int, ...]          # [N, H, W, C] to reshape to

    def pick(self, values: Sequence[int], fill: int | None) -> tuple[int, int]:
        """Height and width of a setting that is given per spatial axis; `fill` (None: its extent) for an axis that is none."""
        if len(self.axes) == 2:
            return values[self.axes[0]], values[self.axes[1]]
        other = 2 if len(values) > 1 else 1
        pair = (values[self.axes[0]], self.shape[other] if fill is None else fill)
        return pair if other == 2 else pair[::-1]


def planes(spatial: int) -> list[tuple[int, ...]]:
    """Windows over any number of spatial axes, taken apart: the last two at once, then one by one to the first."""
    return [tuple(range(max(spatial - 2, 0), spatial)), *((i,) for i in range(spatial - 3, -1, -1))]


def plane(x: Value, axes: tuple[int, ...]) -> Plane:
    """How x [N, D1, ..., C] is seen as images for these axes: axes before join N, those behind join the width."""
    spatial, first = x.shape[1:-1], axes[0]
    batch = x.shape[0] * math.prod(spatial[:first])
    if len(axes) == 2:
        return Plane(axes, (batch, *spatial[first:], x.shape[-1]))
    if len(spatial) == 1:
        return Plane(axes, (batch, 1, spatial[0], x.shape[-1]))
    return Plane(axes, (batch, spatial[first], math.prod(spatial[first + 1:]), x.shape[-1]))


def by_planes(b: Builder, kind: str, x: Value, settings: dict[str, tuple[Sequence[int], int | None]],
              **more: object) -> Value:
    """x [N, D1, ..., C] through an image kind, plane by plane.  `settings`: name -> (values per spatial axis, the value that
    leaves an axis alone, None: its extent); those of pads hold all begins and then, if there are any, all ends."""
    n = x.rank - 2
    for axes in planes(n):
        if all(v == (x.shape[1 + axis] if fill is None else fill)
               for values, fill in settings.values() for axis in axes for v in values[axis::n]):
            continue
        view = plane(x, axes)
        attrs = {name: sum((view.pick(values[i:i + n], fill) for i in range(0, len(values), n)), ())
                 for name, (values, fill) in settings.items()}
        y = b.emit(kind, b.reshape(x, view.shape, "as_image"), **attrs, **more)
        made = y.shape[1:3] if len(axes) == 2 else y.shape[2:3] if n == 1 else y.shape[1:2]
        spatial = (*x.shape[1:1 + axes[0]], *made, *x.shape[1 + axes[0] + len(axes):-1])
        x = b.reshape(y, (x.shape[0], *spatial, y.shape[-1]), "as_volume")
    return x
