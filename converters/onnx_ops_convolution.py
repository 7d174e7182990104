"""ONNX convolutions of any number of spatial axes, and Col2Im: one function each, see `onnx_ops.py`.

With constant weights, 1-D and 2-D ones are kinds of their own, and a 3-D Conv is a conv2d of which each input pixel
holds the pixels of all depths that the window sees.  Everything else is taken apart: windows side by side (im2col2d) and
a matrix product, or a matrix product and its columns added up (col2im2d).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from tinynet.converters.onnx_builder import Builder, Malformed, Operator, Value, integers
from tinynet.converters.onnx_window import (
    Window,
    by_planes,
    flat_pads,
    from_channels_last,
    from_image,
    planes,
    read_window,
    split_pads,
    to_channels_last,
    to_image,
    two,
)


def _check(b: Builder, x: Value, w: Value, bias: Value | None, group: int, kernel_shape: list[int] | None,
           outputs: int) -> None:
    """What Conv and ConvTranspose share."""
    if x.rank < 3:
        raise Malformed(f"input of rank {x.rank}, expected at least 3")
    if w.rank != x.rank:
        raise Malformed(f"weight {w.name!r} has rank {w.rank}, the input has rank {x.rank}")
    if kernel_shape is not None and tuple(kernel_shape) != w.shape[2:]:
        raise Malformed(f"kernel_shape {list(kernel_shape)} does not match weight {w.name!r} of shape {list(w.shape)}")
    if group < 1 or outputs % group or x.shape[1] % group:
        raise Malformed(f"group {group} does not divide {x.shape[1]} input and {outputs} output channels")
    if bias is not None and bias.shape != (outputs,):
        raise Malformed(f"bias {bias.name!r} has shape {list(bias.shape)}, expected [{outputs}]")


def _split_bias(b: Builder, bias: Value | None, outputs: int) -> tuple[Value, Value | None]:
    """(constant bias of a layer, what is left to add)."""
    if bias is not None and bias.known:
        return bias, None
    return b.known(np.zeros(outputs, np.float32), f"{b.stem}_bias"), bias


def _plus(b: Builder, y: Value, bias: Value | None) -> Value:
    return y if bias is None else b.emit("add", y, bias, part="bias")


def conv(b: Builder, x: Value, w: Value, bias: Value | None = None, *, auto_pad: str = "NOTSET",
         dilations: list[int] | None = None, group: int = 1, kernel_shape: list[int] | None = None,
         pads: list[int] | None = None, strides: list[int] | None = None) -> Value:
    """Weights [O, C/g, k1, ...]; 1-D runs as a picture of height 1."""
    outputs = w.shape[0] if w.rank else 0
    _check(b, x, w, bias, group, kernel_shape, outputs)
    if w.shape[1] * group != x.shape[1]:
        raise Malformed(f"weight {w.name!r} of shape {list(w.shape)}, group {group}, does not fit {x.shape[1]} channels")
    window = read_window(x.shape[2:], w.shape[2:], strides, dilations, pads, auto_pad)
    if not w.known:
        return _conv_product(b, x, w, bias, window, group)
    first, later = _split_bias(b, bias, outputs)
    if x.rank > 4:
        make = _depthwise_volume if x.rank == 5 and 1 < group == x.shape[1] == outputs else _conv_volume
        return from_channels_last(b, _plus(b, make(b, x, w, first, window, group), later))
    y = _conv_image(b, to_image(b, x), w, first, window, group)
    return from_image(b, _plus(b, y, later), x.rank)


def _conv_image(b: Builder, image: Value, w: Value, bias: Value, window: Window, group: int) -> Value:
    outputs, channels = w.shape[0], image.shape[-1]
    kh, kw = two(window.kernel, 1)
    attrs = {"strides": two(window.strides, 1), "dilations": two(window.dilations, 1),
             "pads": flat_pads(window.begin, window.end)}
    if group > 1 and group == channels == outputs:
        weights = b.derived(w, "hwc", lambda a: np.ascontiguousarray(a.reshape(channels, kh, kw).transpose(1, 2, 0)))
        return b.emit("depthwise_conv2d", image, weights, bias, **attrs)
    weights = b.derived(w, "ohwi", lambda a: np.ascontiguousarray(
        a.reshape(outputs, -1, kh, kw).transpose(0, 2, 3, 1)))
    return b.emit("conv2d", image, weights, bias, groups=group, **attrs)


def _conv_volume(b: Builder, x: Value, w: Value, bias: Value, window: Window, group: int) -> Value:
    """[N, O1, ..., O]: conv2d along the last two axes of pixels that hold what the window sees along the others."""
    n, outputs = x.rank - 2, w.shape[0]
    lead = n - 2
    volume = _padded(b, to_channels_last(b, x), (*window.begin[:lead], 0, 0), (*window.end[:lead], 0, 0))
    volume = _unfold(b, volume, Window((*window.kernel[:lead], 1, 1), (*window.strides[:lead], 1, 1),
                                       (*window.dilations[:lead], 1, 1), (0,) * n, (0,) * n), group)
    weights = b.derived(w, "ohwdi", lambda a: np.ascontiguousarray(
        a.transpose(0, n, n + 1, *range(2, n), 1).reshape(outputs, *a.shape[n:], -1)))
    plane = Window(*(v[lead:] for v in (window.kernel, window.strides, window.dilations, window.begin, window.end)))
    images = b.reshape(volume, (math.prod(volume.shape[:lead + 1]), *volume.shape[lead + 1:]), "as_images")
    y = b.emit("conv2d", images, weights, bias, groups=group, strides=plane.strides, dilations=plane.dilations,
               pads=flat_pads(plane.begin, plane.end))
    return b.reshape(y, (*volume.shape[:lead + 1], *y.shape[1:]), "as_volume")


def _depthwise_volume(b: Builder, x: Value, w: Value, bias: Value, window: Window, group: int) -> Value:
    """[N, OD, OH, OW, C]: the sum of depthwise convolutions of images, one per depth that the window sees."""
    volume = _padded(b, to_channels_last(b, x), (window.begin[0], 0, 0), (window.end[0], 0, 0))
    n, depth, height, width, channels = volume.shape
    deep = (depth - window.span[0]) // window.strides[0] + 1
    if deep < 1:
        raise Malformed(f"a padded depth of {depth} is smaller than the window, {window.span[0]}")
    total = None
    for t in range(window.kernel[0]):
        first = t * window.dilations[0]
        part = b.emit("slice", volume, part=f"depth{t}", begin=(0, first, 0, 0, 0), step=(1, window.strides[0], 1, 1, 1),
                      end=(n, first + (deep - 1) * window.strides[0] + 1, height, width, channels))
        weights = b.derived(w, f"hwc{t}", lambda a, t=t: np.ascontiguousarray(a[:, 0, t].transpose(1, 2, 0)))
        y = b.emit("depthwise_conv2d", b.reshape(part, (n * deep, height, width, channels), "as_images"), weights,
                   b.known(np.zeros(channels, np.float32)) if t else bias, strides=window.strides[1:],
                   dilations=window.dilations[1:], pads=flat_pads(window.begin[1:], window.end[1:]))
        total = y if total is None else b.emit("add", total, y, part=f"sum{t}")
    return b.reshape(total, (n, deep, *total.shape[1:]), "as_volume")


def _padded(b: Builder, x: Value, begin: Sequence[int], end: Sequence[int]) -> Value:
    if not any((*begin, *end)):
        return x
    return b.emit("pad", x, part="pad", begin=(0, *begin, 0), end=(0, *end, 0))


def _unfold(b: Builder, x: Value, window: Window, group: int) -> Value:
    """x [N, D1, ..., C], padded -> [N, O1, ..., group k1 ... kn C/group]: the windows, side by side."""
    return by_planes(b, "im2col2d", x, {"kernel": (window.kernel, 1), "strides": (window.strides, 1),
                                        "dilations": (window.dilations, 1)}, groups=group)


def overlap_add(b: Builder, x: Value, window: Window, size: Sequence[int]) -> Value:
    """x [N, D1, ..., taps C] -> [N, *size, C]: the way back of `_unfold`.  Taps: those of the last two axes, then of the
    other axes from the last to the first; `size`, and what lies before `window.begin`, is cut off."""
    return by_planes(b, "col2im2d", x, {"size": (size, None), "kernel": (window.kernel, 1), "strides": (window.strides, 1),
                                        "dilations": (window.dilations, 1), "pads": (window.begin, 0)})


def _conv_product(b: Builder, x: Value, w: Value, bias: Value | None, window: Window, group: int) -> Value:
    """With weights that are computed at run time."""
    outputs, each = w.shape[0], w.shape[0] // group
    columns = _unfold(b, _padded(b, to_channels_last(b, x), window.begin, window.end), window, group)
    # [O, C/g, k1, ...] -> [g, K, O/g], K in the order of the columns
    w = b.transpose(b.reshape(w, (group, each, *w.shape[1:]), "groups"), (0, *range(3, w.rank + 1), 2, 1), "gko")
    matrix = b.reshape(w, (group, math.prod(w.shape[1:-1]), each), "matrix")
    y = _grouped_product(b, columns, matrix)
    return from_channels_last(b, _plus(b, b.reshape(y, (*columns.shape[:-1], outputs), "as_volume"), bias))


def _grouped_product(b: Builder, x: Value, matrix: Value) -> Value:
    """x [..., g K] times a matrix [g, K, M] per group -> [pixels, g M]."""
    group, k, m = matrix.shape
    pixels = math.prod(x.shape[:-1])
    if group == 1:
        return b.emit("matmul", b.reshape(x, (pixels, k), "rows"), b.reshape(matrix, (k, m), "columns"))
    rows = b.transpose(b.reshape(x, (pixels, group, k), "rows"), (1, 0, 2), "by_group")
    y = b.transpose(b.emit("matmul", rows, matrix), (1, 0, 2), "by_pixel")
    return b.reshape(y, (pixels, group * m), "join")


def conv_transpose(b: Builder, x: Value, w: Value, bias: Value | None = None, *, auto_pad: str = "NOTSET",
                   dilations: list[int] | None = None, group: int = 1, kernel_shape: list[int] | None = None,
                   output_padding: list[int] | None = None, output_shape: list[int] | None = None,
                   pads: list[int] | None = None, strides: list[int] | None = None) -> Value:
    """Weights [C, O/g, k1, ...]."""
    outputs = w.shape[1] * group if w.rank > 1 else 0
    _check(b, x, w, bias, group, kernel_shape, outputs)
    channels, n = x.shape[1], x.rank - 2
    if w.shape[0] != channels:
        raise Malformed(f"weight {w.name!r} of shape {list(w.shape)} does not fit {channels} channels")
    extra = tuple(output_padding or (0,) * n)
    if len(extra) != n or min(extra) < 0:
        raise Malformed(f"output_padding must hold {n} numbers >= 0, found {list(extra)}")
    window = read_window(x.shape[2:], w.shape[2:], strides, dilations, None, "NOTSET")
    begin, end, extra = _transpose_pads(x.shape[2:], window, extra, pads, auto_pad, output_shape)
    window = Window(window.kernel, window.strides, window.dilations, begin, end)
    if not w.known or x.rank > 4:
        return _conv_transpose_product(b, x, w, bias, window, extra, group)
    first, later = _split_bias(b, bias, outputs)
    kh, kw = two(window.kernel, 1)
    weights = b.derived(w, f"hwoi{group}", lambda a: np.ascontiguousarray(
        a.reshape(group, channels // group, outputs // group, kh, kw).transpose(3, 4, 0, 2, 1)
        .reshape(kh, kw, outputs, channels // group)))
    y = b.emit("conv_transpose2d", to_image(b, x), weights, first, strides=two(window.strides, 1),
               dilations=two(window.dilations, 1), pads=flat_pads(begin, end),
               output_padding=two(extra, 0), groups=group)
    return from_image(b, _plus(b, y, later), x.rank)


def _conv_transpose_product(b: Builder, x: Value, w: Value, bias: Value | None, window: Window, extra: tuple[int, ...],
                            group: int) -> Value:
    """A matrix product says what each pixel adds to all places of its window; the sums of these are the output."""
    n, each = x.rank - 2, w.shape[1]
    size = [(d - 1) * s + span + more - begin - end for d, s, span, more, begin, end in zip(
        x.shape[2:], window.strides, window.span, extra, window.begin, window.end, strict=True)]
    if min(size) < 1:
        raise Malformed(f"pads leave an output of extents {size}")
    # [C, O/g, k1, ...] -> [g, C/g, taps O/g], taps as overlap_add wants them
    taps = [3 + axis for axes in planes(n) for axis in axes]
    w = b.transpose(b.reshape(w, (group, w.shape[0] // group, each, *w.shape[2:]), "groups"), (0, 1, *taps, 2), "gck")
    matrix = b.reshape(w, (group, w.shape[1], math.prod(w.shape[2:])), "matrix")
    image = to_channels_last(b, x)
    y = _grouped_product(b, image, matrix)
    if group > 1:
        parts = b.reshape(y, (y.shape[0], group, math.prod(window.kernel), each), "parts")
        y = b.transpose(parts, (0, 2, 1, 3), "taps_first")
    y = b.reshape(y, (*image.shape[:-1], math.prod(window.kernel) * group * each), "columns")
    return from_channels_last(b, _plus(b, overlap_add(b, y, window, size), bias))


def _transpose_pads(spatial: tuple[int, ...], window: Window, extra: tuple[int, ...], pads: list[int] | None,
                    auto_pad: str, output_shape: list[int] | None) -> tuple[tuple[int, ...], ...]:
    """(begin, end, output_padding) of a ConvTranspose.  With a wanted output size the surplus is cut: the larger
    half at the end for SAME_UPPER, at the beginning otherwise (ConvTranspose-11, the formula under `pads`)."""
    n = len(spatial)
    if output_shape is None:
        if auto_pad in ("NOTSET", ""):
            return *split_pads(pads, n), extra
        if auto_pad == "VALID":
            return (0,) * n, (0,) * n, extra
        if auto_pad not in ("SAME_UPPER", "SAME_LOWER"):
            raise Malformed(f"auto_pad {auto_pad!r} is none of NOTSET, SAME_UPPER, SAME_LOWER, VALID")
        output_shape = [size * s for size, s in zip(spatial, window.strides, strict=True)]
    output_shape = output_shape[2:] if len(output_shape) == n + 2 else output_shape
    if len(output_shape) != n:
        raise Malformed(f"output_shape must hold {n} numbers, found {list(output_shape)}")
    begin, end, more = [], [], []
    for size, s, span, pad, wanted in zip(spatial, window.strides, window.span, extra, output_shape, strict=True):
        total = (size - 1) * s + pad + span - wanted
        small = max(total, 0) // 2
        begin.append(small if auto_pad == "SAME_UPPER" else max(total, 0) - small)
        end.append(max(total, 0) - begin[-1])
        more.append(pad + max(-total, 0))
    return tuple(begin), tuple(end), tuple(more)


def deform_conv(b: Builder, x: Value, w: Value, offset: Value, bias: Value | None = None, mask: Value | None = None, *,
                dilations: list[int] | None = None, group: int = 1, kernel_shape: list[int] | None = None,
                offset_group: int = 1, pads: list[int] | None = None, strides: list[int] | None = None) -> Value:
    """The moved windows side by side, then a convolution of 1x1."""
    outputs = w.shape[0] if w.rank else 0
    _check(b, x, w, bias, group, kernel_shape, outputs)
    if x.rank != 4 or w.shape[1] * group != x.shape[1]:
        raise Malformed(f"weight {w.name!r} of shape {list(w.shape)}, group {group}, does not fit an input of shape "
                        f"{list(x.shape)}; two spatial axes are supported")
    window = read_window(x.shape[2:], w.shape[2:], strides, dilations, pads, "NOTSET")
    places = [to_image(b, v) for v in (offset, mask) if v is not None]
    columns = b.emit("deform_im2col2d", to_image(b, x), *places, part="columns", kernel=window.kernel,
                     strides=window.strides, dilations=window.dilations, pads=flat_pads(window.begin, window.end),
                     groups=group, parts=offset_group)
    first, later = _split_bias(b, bias, outputs)
    if w.known:
        weights = b.derived(w, "o11k", lambda a: np.ascontiguousarray(a.transpose(0, 2, 3, 1)).reshape(outputs, 1, 1, -1))
        y = b.emit("conv2d", columns, weights, first, groups=group)
    else:
        parts = b.reshape(w, (group, outputs // group, *w.shape[1:]), "groups")
        matrix = b.reshape(b.transpose(parts, (0, 3, 4, 2, 1), "gko"), (group, math.prod(w.shape[1:]), outputs // group),
                           "matrix")
        y = b.reshape(_grouped_product(b, columns, matrix), (*columns.shape[:-1], outputs), "as_image")
        later = bias
    return from_image(b, _plus(b, y, later), 4)


def col2im(b: Builder, x: Value, image_shape: Value, block_shape: Value, *, dilations: list[int] | None = None,
           pads: list[int] | None = None, strides: list[int] | None = None) -> Value:
    """x [N, C * block, L]: L blocks, added up in an image."""
    image = integers(b.constant_input(image_shape, "image_shape"), "image_shape")
    block = integers(b.constant_input(block_shape, "block_shape"), "block_shape")
    n = len(image)
    window = read_window(image, block, strides, dilations, pads, "NOTSET")
    places = tuple((d + begin + end - span) // s + 1 for d, begin, end, span, s in zip(
        image, window.begin, window.end, window.span, window.strides, strict=True))
    if x.rank != 3 or min(places, default=0) < 1 or x.shape[2] != math.prod(places) or x.shape[1] % math.prod(block):
        raise Malformed(f"input of shape {list(x.shape)} does not hold {list(places)} blocks of {list(block)}")
    channels = x.shape[1] // math.prod(block)
    parts = b.reshape(x, (x.shape[0], channels, *block, *places), "blocks")
    # Per place: the taps of the last two axes, then of the others from the last to the first, then channels.
    taps = [2 + a for a in (*range(max(n - 2, 0), n), *range(n - 3, -1, -1))]
    parts = b.transpose(parts, (0, *range(2 + n, 2 + 2 * n), *taps, 1), "to_nhwc")
    return from_channels_last(b, overlap_add(b, b.reshape(parts, (x.shape[0], *places, x.shape[1]),
                                                          "columns"), window, image))


OPERATORS = {
    "Col2Im": Operator(col2im, (18,)),
    "Conv": Operator(conv, (1, 11, 22)),
    "ConvTranspose": Operator(conv_transpose, (1, 11, 22)),
    "DeformConv": Operator(deform_conv, (19, 22)),
}
