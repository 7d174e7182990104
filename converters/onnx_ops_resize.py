"""ONNX Resize and Upsample, see `onnx_ops.py`."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinynet.converters.onnx_builder import Builder, Malformed, Operator, Refuse, Value, integers, normal_axes
from tinynet.converters.onnx_window import from_image, to_image

COORDINATES = ("half_pixel", "half_pixel_symmetric", "pytorch_half_pixel", "align_corners", "asymmetric", "tf_crop_and_resize")
MODES = {"nearest": "nearest", "linear": "linear", "bilinear": "linear", "cubic": "cubic"}
POLICIES = {"not_larger": min, "not_smaller": max}


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
    attrs = {"mode": _known_mode(mode), "coordinates": "asymmetric"}
    if mode != "nearest":
        return _emit_resize(b, x, sizes, scales, attrs)
    for rounding, these in (("floor", scales >= 1), ("ceil", scales < 1)):
        now = [size if this else old for size, old, this in zip(sizes, x.shape, these, strict=True)]
        x = _emit_resize(b, x, now, np.where(these, scales, np.float32(1)), {**attrs, "nearest_mode": rounding})
    return x


def _known_mode(mode: str) -> str:
    if mode not in MODES:
        raise Malformed(f"mode {mode!r} is none of nearest, linear, cubic")
    return MODES[mode]


def resize(b: Builder, x: Value, roi: Value | None = None, scales: Value | None = None, sizes: Value | None = None, *,
           antialias: int = 0, axes: list[int] | None = None, coordinate_transformation_mode: str = "half_pixel",
           cubic_coeff_a: float = -0.75, exclude_outside: int = 0, extrapolation_value: float = 0.0,
           keep_aspect_ratio_policy: str = "stretch", mode: str = "nearest",
           nearest_mode: str = "round_prefer_floor") -> Value:
    """Resize-11 to 19.  Resize-10 has the scales as its second input, and nothing but a mode."""
    if b.version == 10:
        return _old_resize(b, x, b.constant_input(roi, "scales"), mode)
    if coordinate_transformation_mode not in COORDINATES:
        # tf_half_pixel_for_nn (opset 11 alone) among them
        raise Refuse(f"coordinate_transformation_mode {coordinate_transformation_mode}")
    factors, targets = (None if a is None or not a.size else a for a in (
        b.constant_input(scales, "scales"), b.constant_input(sizes, "sizes")))
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
        out, full = _sizes(x, where, integers(targets, "sizes"), keep_aspect_ratio_policy)
    attrs: dict[str, Any] = {"mode": _known_mode(mode), "coordinates": coordinate_transformation_mode}
    if mode == "nearest":
        attrs["nearest_mode"] = nearest_mode
    elif mode == "cubic":
        attrs |= {"cubic_coeff": float(cubic_coeff_a), "exclude_outside": bool(exclude_outside)}
    if antialias and mode != "nearest":
        attrs |= {"antialias": True, "exclude_outside": bool(exclude_outside)}
    if coordinate_transformation_mode == "tf_crop_and_resize":
        attrs["extrapolation"] = float(extrapolation_value)
        return _emit_resize(b, x, out, full, attrs, _region(b, x, roi, where))
    return _emit_resize(b, x, out, full, attrs)


def _sizes(x: Value, where: tuple[int, ...], targets: tuple[int, ...], policy: str) -> tuple[list[int], np.ndarray | None]:
    """Output shape and scales; one scale for all axes, and sizes rounded half up, unless the policy is to stretch: then each
    scale follows from the sizes (None)."""
    if policy not in (*POLICIES, "stretch"):
        raise Malformed(f"keep_aspect_ratio_policy {policy!r} is none of stretch, not_larger, not_smaller")
    if min(targets) < 1 or min(x.shape) < 1:
        raise Malformed(f"sizes {list(targets)} of an input of shape {list(x.shape)}: both must be positive")
    out = list(x.shape)
    for axis, size in zip(where, targets, strict=True):
        out[axis] = size
    if policy == "stretch":
        return out, None
    scale = POLICIES[policy](size / x.shape[axis] for axis, size in zip(where, targets, strict=True))
    full = np.ones(x.rank, np.float64)
    for axis in where:
        out[axis], full[axis] = int(scale * x.shape[axis] + 0.5), scale
    return out, full


def _region(b: Builder, x: Value, roi: Value | None, where: tuple[int, ...]) -> np.ndarray:
    """[2, rank]: begins and ends per axis, 0 and 1 where none is given."""
    given = b.constant_input(roi, "roi")
    if given is None or given.shape != (2 * len(where),):
        raise Malformed(f"tf_crop_and_resize wants a roi of {2 * len(where)} numbers, "
                        f"found {'none' if given is None else given.tolist()[:16]}")
    region = np.array([[0.0], [1.0]]).repeat(x.rank, 1)
    region[:, list(where)] = given.reshape(2, -1)
    return region


def _sizes_from_scales(x: Value, scales: np.ndarray) -> list[int]:
    """floor(size * scale), in float32 as the scales are."""
    if scales.shape != (x.rank,) or not (scales > 0).all() or not np.isfinite(scales).all():
        raise Malformed(f"scales must be {x.rank} positive numbers, found {scales.tolist()}")
    with np.errstate(over="ignore"):
        sizes = np.floor(np.array(x.shape, np.float32) * scales.astype(np.float32))
    if sizes.max(initial=0) >= 2 ** 31:
        raise Malformed(f"scales {scales.tolist()} of shape {list(x.shape)} reach beyond 2**31")
    return [int(size) for size in sizes]


def _emit_resize(b: Builder, x: Value, sizes: list[int], scales: np.ndarray | None, attrs: dict[str, Any],
                 region: np.ndarray | None = None) -> Value:
    """Pictures, NCHW or already NHWC, and 1-D signals go to NHWC, where two pixels per axis at most make one; everything
    else is resized where it lies."""
    if min(sizes) < 1:
        raise Malformed(f"output shape {sizes} is empty")
    if x.dtype in ("uint8", "int8") and attrs["mode"] == "linear" and not attrs.get("antialias"):
        # The specification leaves the rounding open; onnxruntime interpolates in float32 and cuts the fraction off.
        real = _emit_resize(b, b.emit("cast", x, to="float32", part="real"), sizes, scales, attrs, region)
        return b.emit("cast", real, to=x.dtype, part="integers")
    changed = [axis for axis in range(x.rank) if sizes[axis] != x.shape[axis] or scales is not None and scales[axis] != 1
               or region is not None and tuple(region[:, axis]) != (0, 1)]
    if not changed:
        return x

    def emit(image: Value, axes: list[int], at: tuple[int, ...]) -> Value:
        """`axes` of x (None: of size 1) lie at the axes `at` of the image."""
        more = {} if region is None else {"roi": tuple(float(region[end, a]) for end in (0, 1) for a in axes)}
        if scales is not None:
            more["scales"] = tuple(1.0 if a is None else float(scales[a]) for a in axes)
        return b.emit("resize", image, axes=at, size=tuple(1 if a is None else sizes[a] for a in axes), **attrs, **more)

    if attrs["mode"] == "cubic" or "antialias" in attrs or region is not None or x.dtype != "float32":
        return emit(x, changed, tuple(changed))
    if x.rank == 4 and set(changed) <= {1, 2} and 1 in changed:
        return emit(x, [1, 2], (1, 2))
    if x.rank == 4 and set(changed) <= {2, 3}:
        return from_image(b, emit(to_image(b, x), [2, 3], (1, 2)), 4)
    if x.rank == 3 and changed == [2]:
        return from_image(b, emit(to_image(b, x), [None, 2], (1, 2)), 3)
    return emit(x, changed, tuple(changed))


OPERATORS = {
    "Resize": Operator(resize, (10, 11, 13, 18, 19)),
    "Upsample": Operator(upsample, (7, 9)),
}
