"""ONNX pools, Resize, Upsample and the depth/space moves: one function each, see `onnx_ops.py`."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tinynet.converters.onnx_builder import Builder, Malformed, Operator, Refuse, Value, integers, normal_axes
from tinynet.converters.onnx_window import Window, flat_pads, from_image, read_window, to_image, two


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


def max_pool(b: Builder, x: Value, *, kernel_shape: list[int], auto_pad: str = "NOTSET", ceil_mode: int = 0,
             dilations: list[int] | None = None, pads: list[int] | None = None, storage_order: int = 0,
             strides: list[int] | None = None) -> Value:
    """storage_order only concerns the second output."""
    if any(b.outputs_used[1:]):
        raise Refuse("its second output (indices) is used")
    window, extra = _pool_window(x, kernel_shape, strides, dilations, pads, auto_pad, ceil_mode)
    end = tuple(e + more for e, more in zip(window.end, extra, strict=True))
    y = b.emit("max_pool2d", to_image(b, x), kernel=two(window.kernel, 1), strides=two(window.strides, 1),
               dilations=two(window.dilations, 1), pads=flat_pads(window.begin, end))
    return from_image(b, y, x.rank)


def average_pool(b: Builder, x: Value, *, kernel_shape: list[int], auto_pad: str = "NOTSET", ceil_mode: int = 0,
                 count_include_pad: int = 0, dilations: list[int] | None = None, pads: list[int] | None = None,
                 strides: list[int] | None = None) -> Value:
    """What ceil_mode adds at the end never counts in the divisor, pads count with count_include_pad."""
    window, extra = _pool_window(x, kernel_shape, strides, dilations, pads, auto_pad, ceil_mode)
    y = b.emit("average_pool2d", to_image(b, x), kernel=two(window.kernel, 1), strides=two(window.strides, 1),
               dilations=two(window.dilations, 1), pads=flat_pads(window.begin, window.end), extra=two(extra, 0),
               count_include_pad=bool(count_include_pad))
    return from_image(b, y, x.rank)


def _global_pool(b: Builder, kind: str, x: Value) -> Value:
    if x.rank < 2:
        raise Malformed(f"input of rank {x.rank}, expected at least 2")
    return b.emit(kind, x, axes=tuple(range(2, x.rank)), keepdims=True) if x.rank > 2 else x


def global_average_pool(b: Builder, x: Value) -> Value:
    return _global_pool(b, "reduce_mean", x)


def global_max_pool(b: Builder, x: Value) -> Value:
    return _global_pool(b, "reduce_max", x)


def _square(b: Builder, x: Value) -> None:
    if x.rank != 4:
        raise Malformed(f"input of rank {x.rank}, expected 4")


def depth_to_space(b: Builder, x: Value, *, blocksize: int, mode: str = "DCR") -> Value:
    _square(b, x)
    if mode not in ("DCR", "CRD"):
        raise Malformed(f"mode {mode!r} is neither DCR nor CRD")
    y = b.emit("depth_to_space", b.transpose(x, (0, 2, 3, 1), "to_nhwc"), block=blocksize, mode=mode.lower())
    return b.transpose(y, (0, 3, 1, 2), "to_nchw")


def space_to_depth(b: Builder, x: Value, *, blocksize: int) -> Value:
    _square(b, x)
    y = b.emit("space_to_depth", b.transpose(x, (0, 2, 3, 1), "to_nhwc"), block=blocksize)
    return b.transpose(y, (0, 3, 1, 2), "to_nchw")


COORDINATES = ("half_pixel", "half_pixel_symmetric", "pytorch_half_pixel", "align_corners", "asymmetric")


def upsample(b: Builder, x: Value, scales_input: Value | None = None, *, scales: list[float] | None = None,
             mode: str = "nearest") -> Value:
    """Asymmetric coordinates, nearest rounds down."""
    if scales is None:
        scales = b.constant_input(scales_input, "scales")
    return _old_resize(b, x, np.asarray(scales, np.float32), mode)


def _old_resize(b: Builder, x: Value, scales: np.ndarray, mode: str) -> Value:
    """Opsets before 11 do not say how nearest rounds.  onnxruntime rounds down where an axis grows and up where it
    shrinks, which we follow."""
    sizes = _sizes_from_scales(x, scales)
    rounding = "floor"
    if mode == "nearest" and (scales < 1).any():
        rounding = "ceil"
        if (scales > 1).any():
            raise Refuse("one axis grows and another shrinks in nearest mode before opset 11; export opset 11 or newer")
    return _emit_resize(b, x, sizes, scales, mode, "asymmetric", rounding)


def resize(b: Builder, x: Value, roi: Value | None = None, scales: Value | None = None, sizes: Value | None = None, *,
           antialias: int = 0, axes: list[int] | None = None, coordinate_transformation_mode: str = "half_pixel",
           cubic_coeff_a: float = -0.75, exclude_outside: int = 0, extrapolation_value: float = 0.0,
           keep_aspect_ratio_policy: str = "stretch", mode: str = "nearest",
           nearest_mode: str = "round_prefer_floor") -> Value:
    """Resize-11 to 19.  The roi, the cubic coefficient and the extrapolation value only matter to modes that are
    refused here.  Resize-10 has the scales as its second input, and nothing but a mode."""
    if b.version == 10:
        return _old_resize(b, x, b.constant_input(roi, "scales"), mode)
    if coordinate_transformation_mode not in COORDINATES:
        raise Refuse(f"coordinate_transformation_mode {coordinate_transformation_mode}")
    if antialias:
        raise Refuse("antialias = 1")
    if exclude_outside:
        raise Refuse("exclude_outside = 1")
    factors = b.constant_input(scales, "scales")
    targets = b.constant_input(sizes, "sizes")
    factors = None if factors is None or not factors.size else factors
    targets = None if targets is None or not targets.size else targets
    if (factors is None) == (targets is None):
        raise Malformed("exactly one of scales and sizes must be given")
    where = normal_axes(range(x.rank) if axes is None else axes, x.rank)
    given = factors if targets is None else targets
    if given.shape != (len(where),):
        raise Malformed(f"scales or sizes of shape {list(given.shape)} for {len(where)} axes")
    if targets is None:
        full = np.ones(x.rank, np.float32)
        full[list(where)] = factors
        out = _sizes_from_scales(x, full)
    else:
        if keep_aspect_ratio_policy != "stretch":
            raise Refuse(f"keep_aspect_ratio_policy {keep_aspect_ratio_policy}")
        out = list(x.shape)
        for axis, size in zip(where, integers(targets, "sizes"), strict=True):
            out[axis] = size
        full = np.array([new / old for new, old in zip(out, x.shape, strict=True)], np.float64)
    return _emit_resize(b, x, out, full, mode, coordinate_transformation_mode, nearest_mode)


def _sizes_from_scales(x: Value, scales: np.ndarray) -> list[int]:
    """floor(size * scale), in float32 as the scales are."""
    if scales.shape != (x.rank,) or not (scales > 0).all() or not np.isfinite(scales).all():
        raise Malformed(f"scales must be {x.rank} positive numbers, found {scales.tolist()}")
    with np.errstate(over="ignore"):
        sizes = np.floor(np.array(x.shape, np.float32) * scales.astype(np.float32))
    if sizes.max(initial=0) >= 2 ** 31:
        raise Malformed(f"scales {scales.tolist()} of shape {list(x.shape)} reach beyond 2**31")
    return [int(size) for size in sizes]


def _emit_resize(b: Builder, x: Value, sizes: list[int], scales: np.ndarray, mode: str, coordinates: str,
                 rounding: str) -> Value:
    """Two spatial axes of a 4-D tensor (NCHW or already NHWC), or the last axis of a 3-D one."""
    if mode not in ("nearest", "linear", "bilinear"):
        raise Refuse(f"mode {mode}")
    if min(sizes) < 1:
        raise Malformed(f"output shape {sizes} is empty")
    changed = {axis for axis in range(x.rank) if sizes[axis] != x.shape[axis] or scales[axis] != 1}
    if not changed:
        return x
    attrs = {"mode": "nearest" if mode == "nearest" else "linear", "coordinates": coordinates, "nearest_mode": rounding}

    def emit(image: Value, height: int | None, width: int) -> Value:
        size = (1 if height is None else sizes[height], sizes[width])
        factor = (1.0 if height is None else float(scales[height]), float(scales[width]))
        return b.emit("resize", image, size=size, scales=factor, **attrs)

    if x.rank == 4 and changed <= {1, 2} and 1 in changed:
        return emit(x, 1, 2)
    if x.rank == 4 and changed <= {2, 3}:
        return from_image(b, emit(to_image(b, x), 2, 3), 4)
    if x.rank == 3 and changed == {2}:
        return from_image(b, emit(to_image(b, x), None, 2), 3)
    raise Refuse(f"it changes axes {sorted(changed)} of a tensor of rank {x.rank}; "
                 "the last two of 4 and the last of 3 are supported")


OPERATORS = {
    "AveragePool": Operator(average_pool, (7, 10, 11, 19, 22)),
    "DepthToSpace": Operator(depth_to_space, (1, 11, 13)),
    "GlobalAveragePool": Operator(global_average_pool, (1, 22)),
    "GlobalMaxPool": Operator(global_max_pool, (1, 22)),
    "MaxPool": Operator(max_pool, (1, 8, 10, 11, 12, 22)),
    "Resize": Operator(resize, (10, 11, 13, 18, 19)),
    "SpaceToDepth": Operator(space_to_depth, (1, 13)),
    "Upsample": Operator(upsample, (7, 9)),
}
