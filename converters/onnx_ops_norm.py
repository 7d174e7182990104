"""ONNX normalisations: one function each, see `onnx_ops.py` for the calling convention."""

from __future__ import annotations

import math

import numpy as np

from tinynet.converters.onnx_builder import Builder, Malformed, Operator, Refuse, Value, normal_axis
from tinynet.converters.onnx_window import channels_last


def batch_normalization(b: Builder, x: Value, scale: Value, shift: Value, mean: Value, var: Value, *,
                        epsilon: float = 1e-5, momentum: float = 0.9, spatial: int = 1,
                        training_mode: int = 0) -> Value | list[Value]:
    """(x - mean) / sqrt(var + epsilon) * scale + shift, per channel of axis 1; per element of a picture if not `spatial`.

    With training_mode (since 14): mean and variance of x itself, and the running ones, updated, as further outputs."""
    if any(b.outputs_used[1:]) and not training_mode:
        raise Refuse("its mean and variance outputs are used; export the model in eval mode")
    if x.rank < 1:
        raise Malformed("input of rank 0, expected at least 1")
    # The specification: a tensor of rank 1 has one channel.
    shape = x.shape[1:] if not spatial else x.shape[1:2] if x.rank > 1 else (1,)
    for what, value in (("scale", scale), ("bias", shift), ("mean", mean), ("variance", var)):
        if value.shape != shape:
            raise Malformed(f"{what} has shape {list(value.shape)}, expected {list(shape)}")
    if training_mode:
        return _trained_batch_norm(b, x, scale, shift, (mean, var), epsilon, momentum)
    if not spatial or x.rank < 2 or not all(v.known for v in (scale, shift, mean, var)):
        return _computed_batch_norm(b, x, (scale, shift, mean, var), epsilon, bool(spatial) and x.rank > 1)
    arrays = [value.data.astype(np.float64) for value in (scale, shift, mean, var)]
    gain = arrays[0] / np.sqrt(arrays[3] + epsilon)
    offset = arrays[1] - arrays[2] * gain
    there, back = channels_last(x.rank)
    y = b.emit("batch_norm", b.transpose(x, there, "to_nhwc"), b.known(gain.astype(np.float32), f"{b.stem}_scale"),
               b.known(offset.astype(np.float32), f"{b.stem}_shift"))
    return b.transpose(y, back, "to_nchw")


def _computed_batch_norm(b: Builder, x: Value, weights: tuple[Value, ...], epsilon: float, channels: bool) -> Value:
    """Statistics or weights that are computed at run time, or that differ from pixel to pixel."""
    scale, shift, mean, var = weights
    deviation = b.emit("sqrt", b.emit("add", var, b.known(np.float32(epsilon)), part="epsilon"), part="deviation")
    gain = b.emit("div", scale, deviation, part="gain")
    if channels:
        column = (-1, *(1,) * (x.rank - 2))
        gain, shift, mean = (b.reshape(v, (v.shape[0], *column[1:]), part) if not v.known else b.known(v.data.reshape(column))
                             for v, part in ((gain, "gain_column"), (shift, "shift_column"), (mean, "mean_column")))
    centred = b.emit("sub", x, mean, part="centred")
    return b.emit("add", b.emit("mul", centred, gain, part="scaled"), shift)


def _trained_batch_norm(b: Builder, x: Value, scale: Value, shift: Value, running: tuple[Value, Value], epsilon: float,
                        momentum: float) -> list[Value]:
    """Y, running mean, running variance (of the population, BatchNormalization-14)."""
    axes = tuple(i for i in range(x.rank) if i != 1)
    mean = b.emit("reduce_mean", x, axes=axes, part="mean")
    centred = b.emit("sub", x, mean, part="deviations")
    var = b.emit("reduce_mean", b.emit("mul", centred, centred, part="squares"), axes=axes, part="variance")
    found = [b.reshape(v, running[0].shape, part) for v, part in ((mean, "mean_row"), (var, "variance_row"))]
    y = _computed_batch_norm(b, x, (scale, shift, *found), epsilon, x.rank > 1)
    updated = []
    for old, new, used, part in zip(running, found, [*b.outputs_used[1:], False, False], ("mean", "variance"), strict=False):
        if not used:
            updated.append(None)
            continue
        kept, added = (b.emit("mul", v, b.known(np.float32(f)), part=f"{part}_{n}")
                       for v, f, n in ((old, momentum, "kept"), (new, 1 - momentum, "added")))
        updated.append(b.emit("add", kept, added, part=f"running_{part}"))
    return [y, *updated]


def layer_normalization(b: Builder, x: Value, scale: Value, shift: Value | None = None, *, axis: int = -1,
                        epsilon: float = 1e-5, stash_type: int = 1) -> list[Value]:
    """Over all axes from `axis` on, as one; the mean and 1 / deviation outputs are computed apart where they are used."""
    if stash_type != 1:
        raise Refuse(f"stash_type {stash_type}")
    axis = normal_axis(axis, x.rank)
    results = [_over_last_axes(b, "layer_norm", x, [scale, shift], axis, epsilon)]
    if any(b.outputs_used[1:]):
        axes = tuple(range(axis, x.rank))
        mean = b.emit("reduce_mean", x, axes=axes, part="mean")
        centred = b.emit("sub", x, mean, part="centred")
        variance = b.emit("reduce_mean", b.emit("mul", centred, centred, part="squares"), axes=axes, part="variance")
        deviation = b.emit("sqrt", b.emit("add", variance, b.known(np.float32(epsilon)), part="epsilon"), part="deviation")
        results += [mean, b.emit("reciprocal", deviation, part="inverse")]
    return results


def rms_normalization(b: Builder, x: Value, scale: Value, *, axis: int = -1, epsilon: float = 1e-5,
                      stash_type: int = 1) -> Value:
    if stash_type != 1:
        raise Refuse(f"stash_type {stash_type}")
    return _over_last_axes(b, "rms_norm", x, [scale], normal_axis(axis, x.rank), epsilon)


def _over_last_axes(b: Builder, kind: str, x: Value, weights: list[Value | None], axis: int, epsilon: float) -> Value:
    shape = x.shape[axis:]
    n = math.prod(shape)
    if not x.shape or n == 0:
        raise Refuse(f"an input of shape {list(x.shape)}")
    flat = []
    for i, value in enumerate(weights):
        if value is None:
            value = b.known(np.zeros(shape, np.float32), f"{b.stem}_shift")
        try:
            fits = np.broadcast_shapes(value.shape, shape) == shape
        except ValueError:
            fits = False
        if not fits:
            return _broadcast_weights(b, kind, x, weights, axis, epsilon)
        if value.known:
            flat.append(b.known(np.broadcast_to(value.data, shape).reshape(n)))
            continue
        if value.shape != shape:
            value = b.emit("expand", value, shape=shape, part=f"expand{i}")
        flat.append(b.reshape(value, (n,), f"flat{i}"))
    y = b.emit(kind, b.reshape(x, (*x.shape[:axis], n), "rows"), *flat, epsilon=epsilon)
    return b.reshape(y, x.shape, "restore")


def _broadcast_weights(b: Builder, kind: str, x: Value, weights: list[Value | None], axis: int, epsilon: float) -> Value:
    """Scale and bias that also differ along the axes that are not normalised."""
    ones = [b.known(np.full(x.shape[axis:], fill, np.float32)) for fill in (1, 0)[:len(weights)]]
    y = _over_last_axes(b, kind, x, ones, axis, epsilon)
    for step, weight in zip(("mul", "add"), weights, strict=False):
        if weight is not None:
            y = b.emit(step, y, weight, part=step)
    if y.shape != x.shape:
        raise Malformed(f"scale or bias does not broadcast to {list(x.shape)}")
    return y


def instance_normalization(b: Builder, x: Value, scale: Value, shift: Value, *, epsilon: float = 1e-5) -> Value:
    if x.rank < 2:
        raise Malformed(f"input of rank {x.rank}, expected at least 2")
    return _group_norm(b, x, scale, shift, x.shape[1], epsilon)


def group_normalization(b: Builder, x: Value, scale: Value, shift: Value, *, num_groups: int, epsilon: float = 1e-5,
                        stash_type: int = 1) -> Value:
    """Scale and bias have one number per group in version 18, one per channel since 21."""
    if stash_type != 1:
        raise Refuse(f"stash_type {stash_type}")
    if x.rank < 2 or num_groups < 1 or x.shape[1] % num_groups:
        raise Malformed(f"{num_groups} groups of an input of shape {list(x.shape)}")
    if b.version < 21:
        scale, shift = (_per_channel(b, v, num_groups, x.shape[1], part) for v, part in ((scale, "scale"), (shift, "shift")))
    return _group_norm(b, x, scale, shift, num_groups, epsilon)


def _per_channel(b: Builder, value: Value, groups: int, channels: int, part: str) -> Value:
    if value.shape != (groups,):
        raise Malformed(f"{part} has shape {list(value.shape)}, expected [{groups}]")
    if value.known:
        return b.known(np.repeat(value.data, channels // groups), f"{b.stem}_{part}")
    wide = b.emit("expand", b.reshape(value, (groups, 1), f"{part}_column"), shape=(groups, channels // groups),
                  part=f"{part}_expand")
    return b.reshape(wide, (channels,), f"{part}_channels")


def _group_norm(b: Builder, x: Value, scale: Value, shift: Value, groups: int, epsilon: float) -> Value:
    for what, value in (("scale", scale), ("bias", shift)):
        if value.shape != (x.shape[1],):
            raise Malformed(f"{what} has shape {list(value.shape)}, expected [{x.shape[1]}]")
    there, back = channels_last(x.rank)
    y = b.emit("group_norm", b.transpose(x, there, "to_nhwc"), scale, shift, groups=groups, epsilon=epsilon)
    return b.transpose(y, back, "to_nchw")


def lrn(b: Builder, x: Value, *, size: int, alpha: float = 1e-4, beta: float = 0.75, bias: float = 1.0) -> Value:
    """Local response normalisation across the channels of axis 1."""
    if x.rank < 2:
        raise Malformed(f"input of rank {x.rank}, expected at least 2")
    there, back = channels_last(x.rank)
    y = b.emit("lrn", b.transpose(x, there, "to_nhwc"), size=size, alpha=alpha, beta=beta, bias=bias)
    return b.transpose(y, back, "to_nchw")


OPERATORS = {
    "BatchNormalization": Operator(batch_normalization, (7, 9, 14, 15)),
    "GroupNormalization": Operator(group_normalization, (18, 21)),
    "InstanceNormalization": Operator(instance_normalization, (6, 22)),
    "LRN": Operator(lrn, (1, 13)),
    "LayerNormalization": Operator(layer_normalization, (17,)),
    "RMSNormalization": Operator(rms_normalization, (23,)),
}
