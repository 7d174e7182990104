"""Sliding-window geometry of ONNX Conv, ConvTranspose and the pools, and the way of image tensors to NHWC and back."""

from __future__ import annotations

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


def to_image(b: Builder, x: Value) -> Value:
    """[N,C,H,W] -> [N,H,W,C]; [N,C,L] -> [N,1,L,C]."""
    if x.rank == 4:
        return b.transpose(x, (0, 2, 3, 1), "to_nhwc")
    if x.rank == 3:
        n, c, length = x.shape
        return b.reshape(b.transpose(x, (0, 2, 1), "to_nhwc"), (n, 1, length, c), "to_2d")
    if x.rank == 5:
        raise Refuse(f"3-D {b.op_type} (input of shape {list(x.shape)}); 1-D and 2-D are supported")
    raise Refuse(f"{b.op_type} of an input of rank {x.rank}; rank 3 and 4 are supported")


def from_image(b: Builder, y: Value, rank: int) -> Value:
    """The way back of `to_image`."""
    if rank == 4:
        return b.transpose(y, (0, 3, 1, 2), "to_nchw")
    n, _, length, c = y.shape
    return b.transpose(b.reshape(y, (n, length, c), "to_1d"), (0, 2, 1), "to_nchw")


def channels_last(rank: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The permutation that moves axis 1 to the end, and its inverse."""
    return (0, *range(2, rank), 1), (0, rank - 1, *range(1, rank - 1))
