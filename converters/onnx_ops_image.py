"""ONNX operators that read images at computed places, cut them, or move values between channels and places: one function
each, see `onnx_ops.py`."""

from __future__ import annotations

import math

import numpy as np

from tinynet.converters.onnx_builder import Builder, Malformed, Operator, Refuse, Value, integers, normal_axes
from tinynet.converters.onnx_window import from_channels_last, to_channels_last

# A grid of more places would make the file grow without end.
MOST_PLACES = 1 << 24


def _square(b: Builder, x: Value) -> None:
    if x.rank != 4:
        raise Malformed(f"input of rank {x.rank}, expected 4")


def depth_to_space(b: Builder, x: Value, *, blocksize: int, mode: str = "DCR") -> Value:
    _square(b, x)
    if mode not in ("DCR", "CRD"):
        raise Malformed(f"mode {mode!r} is neither DCR nor CRD")
    y = b.emit("depth_to_space", b.transpose(x, (0, 2, 3, 1), "to_nhwc"), block=blocksize, mode=mode.lower())
    return b.transpose(y, (0, 3, 1, 2), "to_nchw")


def space_to_depth(b: Builder, x: Value, *, blocksize: int, mode: str = "DCR") -> Value:
    _square(b, x)
    if mode not in ("DCR", "CRD"):
        raise Malformed(f"mode {mode!r} is neither DCR nor CRD")
    y = b.emit("space_to_depth", b.transpose(x, (0, 2, 3, 1), "to_nhwc"), block=blocksize, mode=mode.lower())
    return b.transpose(y, (0, 3, 1, 2), "to_nchw")


def grid_sample(b: Builder, x: Value, grid: Value, *, align_corners: int = 0, mode: str | None = None,
                padding_mode: str = "zeros") -> Value:
    """Version 16 calls linear and cubic bilinear and bicubic."""
    names = ("bilinear", "nearest", "bicubic") if b.version == 16 else ("linear", "nearest", "cubic")
    mode = mode or names[0]
    if mode not in names or padding_mode not in ("zeros", "border", "reflection"):
        raise Malformed(f"mode {mode!r} is none of {', '.join(names)}, or padding_mode {padding_mode!r} none of "
                        "zeros, border, reflection")
    y = b.emit("grid_sample", to_channels_last(b, x), grid, mode=mode.removeprefix("bi"), padding=padding_mode,
               align_corners=bool(align_corners))
    return from_channels_last(b, y)


def affine_grid(b: Builder, theta: Value, size: Value, *, align_corners: int = 0) -> Value:
    """The places of all pixels, from -1 to 1 and with a 1 behind, times theta [N, rank, rank + 1]."""
    shape = integers(b.constant_input(size, "size"), "size")
    spatial = shape[2:]
    rank = len(spatial)
    if rank not in (2, 3) or theta.shape != (shape[0], rank, rank + 1):
        raise Malformed(f"theta of shape {list(theta.shape)} does not fit size {list(shape)}")
    if min(shape) < 1 or math.prod(spatial) > MOST_PLACES:
        raise Refuse(f"a grid of size {list(shape)}; 1 to {MOST_PLACES} places are supported")
    axes = [-1 + np.arange(d) * (2 / max(d - 1, 1)) if align_corners else -1 + (2 * np.arange(d) + 1) / d for d in spatial]
    places = [axis.reshape(-1) for axis in reversed(np.meshgrid(*axes, indexing="ij"))]
    base = np.stack([*places, np.ones(math.prod(spatial))], 1).astype(np.float32)
    grid = b.emit("matmul", b.known(base, f"{b.stem}_places"), b.transpose(theta, (0, 2, 1), "transpose_theta"))
    return b.reshape(grid, (shape[0], *spatial, rank), "grid")


def roi_align(b: Builder, x: Value, rois: Value, images: Value, *, coordinate_transformation_mode: str | None = None,
              mode: str = "avg", output_height: int = 1, output_width: int = 1, sampling_ratio: int = 0,
              spatial_scale: float = 1.0) -> Value:
    """Version 10 has no half pixels."""
    coordinates = coordinate_transformation_mode or ("output_half_pixel" if b.version == 10 else "half_pixel")
    if coordinates not in ("half_pixel", "output_half_pixel"):
        raise Malformed(f"coordinate_transformation_mode {coordinates!r} is neither half_pixel nor output_half_pixel")
    y = b.emit("roi_align", to_channels_last(b, x), rois, images, size=(output_height, output_width), mode=mode,
               samples=max(sampling_ratio, 0), scale=float(spatial_scale), half_pixel=coordinates == "half_pixel")
    return from_channels_last(b, y)


def max_roi_pool(b: Builder, x: Value, rois: Value, *, pooled_shape: list[int], spatial_scale: float = 1.0) -> Value:
    return from_channels_last(b, b.emit("max_roi_pool", to_channels_last(b, x), rois, size=tuple(pooled_shape),
                                        scale=float(spatial_scale)))


def center_crop_pad(b: Builder, x: Value, shape: Value, *, axes: list[int] | None = None) -> Value:
    """Cut or add as much at both ends; where that is odd, one more at the end."""
    where = normal_axes(range(x.rank) if axes is None else axes, x.rank)
    sizes = integers(b.constant_input(shape, "shape"), "shape")
    if len(sizes) != len(where) or min(sizes, default=1) < 0:
        raise Malformed(f"shape {list(sizes)} for {len(where)} axes")
    begin, end, before, after = [0] * x.rank, list(x.shape), [0] * x.rank, [0] * x.rank
    for axis, size in zip(where, sizes, strict=True):
        spare = x.shape[axis] - size
        if spare > 0:
            begin[axis], end[axis] = spare // 2, spare // 2 + size
        else:
            before[axis], after[axis] = -spare // 2, -spare - (-spare // 2)
    if end != list(x.shape) or any(begin):
        x = b.emit("slice", x, part="crop", begin=tuple(begin), end=tuple(end), step=(1,) * x.rank)
    return b.emit("pad", x, begin=tuple(before), end=tuple(after)) if any((*before, *after)) else x


OPERATORS = {
    "AffineGrid": Operator(affine_grid, (20,)),
    "CenterCropPad": Operator(center_crop_pad, (18,)),
    "DepthToSpace": Operator(depth_to_space, (1, 11, 13, 28)),
    "GridSample": Operator(grid_sample, (16, 20, 22)),
    "MaxRoiPool": Operator(max_roi_pool, (1, 22)),
    "RoiAlign": Operator(roi_align, (10, 16, 22)),
    "SpaceToDepth": Operator(space_to_depth, (1, 13, 28)),
}
