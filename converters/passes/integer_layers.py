"""Layers of sums and products between integers.

    dequantize(x), conv2d / depthwise_conv2d / dense (w, b), relu or clip, quantize
        ->  q_conv2d / q_depthwise_conv2d / q_dense (x, w, b', multiplier), the activation as `low` and `high`
    the same without quantize    ->  the same with dtype float32, and the activation after it
    dequantize(x), dequantize(y), add / mul, relu or clip, quantize    ->  q_add, q_mul
    dequantize(x), dequantize(y), matmul, with or without quantize     ->  q_matmul
    dequantize(x), softmax along the last axis, quantize               ->  q_softmax

b' = b - x_zero * sum of (w - w_zero), multiplier = x_scale * w_scale / y_scale.  A bias of real numbers becomes
round(b / (x_scale * w_scale)), as in onnxruntime.  Exact: clamping before or after a quantize, which grows with its input,
is the same.  Where a sum could leave int32 the layer stays as it is.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from tinynet.converters.passes.edit import Editor, op_of
from tinynet.converters.passes.integer_moves import dequantized, one_step
from tinynet.graph import Graph, Integers, Node
from tinynet.ops import ShapeError, Spec, make

# Kind -> (kind of integers, axis of w that the output channels are on)
LAYERS = {"conv2d": ("q_conv2d", 0), "depthwise_conv2d": ("q_depthwise_conv2d", 2), "dense": ("q_dense", 0)}
PAIRS = {"add": "q_add", "mul": "q_mul"}
CLAMPS = ("none", "relu", "clip")
ACTIVATION = ("activation", "alpha", "beta")
# q_softmax counts whole levels: with few of them what is lost is worth more than a table of exponentials.
FEWEST_LEVELS = 100
# How far a bias's scale may be from x_scale * w_scale, relatively, and still be it: converters compute it in other orders.
SAME_SCALE = 1e-6


class Target(NamedTuple):
    """The quantize that follows: its output, scale, zero, and the clamp that it and the activation are together."""

    name: str
    scale: float
    zero: int
    low: int
    high: int


def apply(graph: Graph) -> int:
    ed = Editor(graph)
    count = 0
    for node in ed.nodes():
        if not ed.alive(node):
            continue
        if node.op in LAYERS:
            count += _layer(ed, node)
        elif node.op in PAIRS:
            count += _pair(ed, node)
        elif node.op == "matmul":
            count += _product(ed, node)
        elif node.op == "softmax":
            count += _softmax(ed, node)
    ed.finish()
    return count


def target(ed: Editor, node: Node) -> Target | None:
    """The quantize to uint8 that alone reads a layer's result, if the layer's activation is a clamp."""
    follower = ed.only_user(node.outputs[0])
    step = one_step(follower) if follower is not None and follower.op == "quantize" else None
    kind = node.attrs.get("activation", "none")
    if step is None or ed.dtype(follower.outputs[0]) != "uint8" or kind not in CLAMPS:
        return None
    bounds = {"none": (-np.inf, np.inf), "relu": (0, np.inf)}.get(
        kind, (node.attrs.get("alpha", 0.0), node.attrs.get("beta", 0.0)))
    low, high = op_of(follower).reference(np.array(bounds, np.float32))[0]
    if kind == "clip" and bounds[0] > bounds[1]:
        low = high
    return Target(follower.outputs[0], *step, int(low), int(high))


def _layer(ed: Editor, node: Node) -> int:
    x = dequantized(ed, node.inputs[0])
    integers = ed.graph.tensors[node.inputs[1]].integers
    if x is None or integers is None or len(node.inputs) != 3 or not ed.is_constant(node.inputs[2]):
        return 0
    kind, axis = LAYERS[node.op]
    source, x_scale, x_zero = x
    after = target(ed, node)
    outs = ed.shape(node.inputs[2])[0]
    weights = signed_weights(integers, axis, outs)
    if weights is None:
        return 0
    w, w_zero, w_scale = weights
    b = _bias(ed, node.inputs[2], w, w_zero, axis, x_zero, np.float32(x_scale) * w_scale)
    multiplier = np.float32(x_scale) * w_scale
    if after is not None:
        multiplier = multiplier / np.float32(after.scale)
    if b is None or not np.isfinite(multiplier).all():
        return 0
    attrs: dict[str, Any] = {k: v for k, v in node.attrs.items() if k not in ACTIVATION}
    attrs["x_zero"] = x_zero
    out = node.outputs[0]
    if after is not None:
        out = after.name
        attrs.update(y_zero=after.zero, low=after.low, high=after.high)
    else:
        attrs["dtype"] = "float32"
    arrays = [w, b, multiplier.astype(np.float32)] + ([w_zero] if w_zero is not None else [])
    made = _emit(ed, kind, source, arrays, [node.inputs[1], node.inputs[2], f"{out}/multiplier", f"{out}/w_zero"], attrs, out)
    if made is None:
        return 0
    activation = node.attrs.get("activation", "none")
    if after is None and activation != "none":
        made = ed.emit(activation, [made], {k: v for k, v in node.attrs.items() if k in ("alpha", "beta")}, stem=out)
    ed.replace(out, made)
    return 1


def _emit(ed: Editor, kind: str, x: str, arrays: list[np.ndarray], stems: list[str], attrs: dict[str, Any],
          stem: str) -> str | None:
    try:
        make(kind, attrs).infer(ed.spec(x), *(Spec(a.shape, str(a.dtype)) for a in arrays))
    except ShapeError:                      # more products than an int32 holds
        return None
    names = [ed.constant(array, f"{name}/integers" if i < 2 else name)
             for i, (array, name) in enumerate(zip(arrays, stems, strict=False))]
    return ed.emit(kind, [x, *names], attrs, stem=stem)


def signed_weights(integers: Integers, axis: int, outs: int) -> tuple[np.ndarray, np.ndarray | None, np.ndarray] | None:
    """(w int8, w_zero int32 [outs] or None, w_scale float32 [outs]); None where an axis other than `axis` has scales.

    Weights that fit int8 without their zero need none."""
    values = integers.values
    if values.dtype not in (np.uint8, np.int8):
        return None
    steps = []
    for array in (integers.scale, integers.zero):
        if any(d != 1 for i, d in enumerate(array.shape) if i != axis):
            return None
        steps.append(np.broadcast_to(array.reshape(-1), (outs,)))
    scale, zero = steps[0].astype(np.float32), steps[1].astype(np.int32)
    along = tuple(-1 if i == axis else 1 for i in range(values.ndim))
    centred = values.astype(np.int16) - zero.astype(np.int16).reshape(along)
    if values.size == 0 or centred.min() >= -128 and centred.max() <= 127:
        return centred.astype(np.int8), None, scale
    shift = 128 if values.dtype == np.uint8 else 0
    return (values.astype(np.int16) - shift).astype(np.int8), zero - np.int32(shift), scale


def _bias(ed: Editor, name: str, w: np.ndarray, w_zero: np.ndarray | None, axis: int, x_zero: int,
          scale: np.ndarray) -> np.ndarray | None:
    """int32 [O]: the bias in steps of `scale`, and what x_zero adds; None if it does not fit."""
    others = tuple(i for i in range(w.ndim) if i != axis)
    total = w.sum(others, dtype=np.int64)
    if w_zero is not None:
        total = total - w_zero.astype(np.int64) * (w.size // max(len(w_zero), 1))
    b = _bias_integers(ed.graph.tensors[name].integers, ed.value(name), scale)
    if b is None:
        return None
    b = b - x_zero * total
    info = np.iinfo(np.int32)
    return b.astype(np.int32) if not b.size or b.min() >= info.min and b.max() <= info.max else None


def _bias_integers(integers: Integers | None, real: np.ndarray, scale: np.ndarray) -> np.ndarray | None:
    if integers is not None:
        held = np.broadcast_to(integers.scale, real.shape).astype(np.float64)
        if not integers.zero.any() and (np.abs(held - scale) <= SAME_SCALE * np.abs(held)).all():
            return integers.values.astype(np.int64)
    with np.errstate(all="ignore"):
        steps = np.rint(real.astype(np.float32) / scale)
        steps = np.where((real == 0) & (scale == 0), 0, steps)
    return steps.astype(np.int64) if (np.abs(steps) < 2 ** 31).all() else None


def _pair(ed: Editor, node: Node) -> int:
    after = target(ed, node)
    if after is None:
        return 0
    sides = [_side(ed, name) for name in node.inputs]
    if any(side is None for side in sides):
        return 0
    attrs: dict[str, Any] = {"y_scale": after.scale, "y_zero": after.zero, "low": after.low, "high": after.high}
    names = []
    for letter, (source, scale, zero) in zip("ab", sides, strict=True):
        attrs |= {f"{letter}_scale": scale, f"{letter}_zero": zero}
        names.append(source if isinstance(source, str) else ed.constant(source, f"{after.name}/{letter}"))
    ed.replace(after.name, ed.emit(PAIRS[node.op], names, attrs, stem=after.name))
    return 1


def _product(ed: Editor, node: Node) -> int:
    sides = [dequantized(ed, name) for name in node.inputs]
    if None in sides or op_of(node).alpha != 1:
        return 0
    (a, a_scale, a_zero), (b, b_scale, b_zero) = sides
    after = target(ed, node)
    attrs = {**node.attrs, "a_zero": a_zero, "b_zero": b_zero}
    attrs.pop("alpha", None)
    multiplier, out = np.float32(a_scale) * np.float32(b_scale), node.outputs[0]
    if after is None:
        attrs["dtype"] = "float32"
    else:
        multiplier, out = multiplier / np.float32(after.scale), after.name
        attrs.update(y_zero=after.zero, low=after.low, high=after.high)
    attrs["multiplier"] = float(multiplier)
    try:
        make("q_matmul", attrs).infer(ed.spec(a), ed.spec(b))
    except ShapeError:                      # more products than an int32 holds, or a scale beyond float32
        return 0
    ed.replace(out, ed.emit("q_matmul", [a, b], attrs, stem=out))
    return 1


def _side(ed: Editor, name: str) -> tuple[Any, float, int] | None:
    """(integers, scale, zero) of an operand: a tensor's name, or the array of a constant, of uint8."""
    if not ed.is_constant(name):
        return dequantized(ed, name)
    integers = ed.graph.tensors[name].integers
    if integers is None or (integers.scale.size, integers.zero.size) != (1, 1) or integers.values.dtype.itemsize != 1:
        return None
    shift = 128 if integers.values.dtype == np.int8 else 0
    values = (integers.values.astype(np.int16) + shift).astype(np.uint8)
    return values, float(integers.scale.reshape(-1)[0]), int(integers.zero.reshape(-1)[0]) + shift


def _softmax(ed: Editor, node: Node) -> int:
    x, after = dequantized(ed, node.inputs[0]), target(ed, node)
    rank = len(ed.shape(node.inputs[0]))
    if x is None or after is None or op_of(node).axis % rank != rank - 1 or after.scale * FEWEST_LEVELS > 1:
        return 0
    attrs = {"x_scale": x[1], "y_scale": after.scale, "y_zero": after.zero}
    ed.replace(after.name, ed.emit("q_softmax", [x[0]], attrs, stem=after.name))
    return 1
