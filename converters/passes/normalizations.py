"""Layer normalisation that the source spells in arithmetic becomes layer_norm; likewise rms_norm.

    m = mean(x), d = x - m, v = mean(d^2), y = d / sqrt(v + e)          ->  layer_norm(x, 1, 0)
    v = mean(x^2), y = x / sqrt(v + e)                                  ->  rms_norm(x, 1)
    layer_norm(x, s, b) c + a,  c and a constants along the last axis   ->  layer_norm(x, s c, b c + a)

Means over the last axis, or over one other axis: then a transpose stands on both sides.  The square may be spelled pow, mul
or the product with 1 / sqrt, and the subtraction may stand in the graph twice.
"""

from __future__ import annotations

import numpy as np

from tinynet.converters.passes.edit import Editor, has_activation
from tinynet.graph import Graph, Node


def apply(graph: Graph) -> int:
    ed = Editor(graph)
    count = 0
    for node in ed.nodes():
        if ed.alive(node) and node.op in ("div", "mul") and not has_activation(node):
            count += _recognise(ed, node)
    for node in ed.nodes():
        if ed.alive(node) and node.op in ("mul", "add"):
            count += _weights(ed, node)
    ed.finish()
    return count


def _recognise(ed: Editor, node: Node) -> int:
    for d, other in (node.inputs, reversed(node.inputs)) if node.op == "mul" else (node.inputs,):
        root = _root(ed, other, node.op)
        found = _variance(ed, root) if root is not None else None
        if found is None:
            continue
        squared, axis, epsilon = found
        if not (squared == d or _same_centred(ed, squared, d)) or ed.shape(node.outputs[0]) != ed.shape(d):
            continue
        x = _centred(ed, d, axis)
        _emit(ed, node, "rms_norm" if x is None else "layer_norm", d if x is None else x, axis, epsilon)
        return 1
    return 0


def _root(ed: Editor, name: str, how: str) -> Node | None:
    """The sqrt that a quotient is divided by, or that a product is multiplied with the reciprocal of."""
    if how == "div":
        return ed.made_by(name, "sqrt")
    inverse = ed.made_by(name, "reciprocal", "div")
    if inverse is None or inverse.op == "div" and (ed.scalar(inverse.inputs[0]) != 1 or has_activation(inverse)):
        return None
    return ed.made_by(inverse.inputs[-1], "sqrt")


def _variance(ed: Editor, root: Node) -> tuple[str, int, float] | None:
    """(d, axis, e) of sqrt(mean(d^2) + e)."""
    total = ed.made_by(root.inputs[0], "add")
    if total is None or has_activation(total):
        return None
    for name, other in (total.inputs, reversed(total.inputs)):
        mean, epsilon = ed.made_by(name, "reduce_mean"), ed.scalar(other)
        if mean is None or epsilon is None or epsilon < 0 or ed.shape(total.outputs[0]) != ed.shape(name):
            continue
        square, axis = ed.made_by(mean.inputs[0], "pow", "mul"), _axis(mean)
        if square is None or axis is None or has_activation(square):
            continue
        d, power = square.inputs
        if square.op == "mul" and d == power or square.op == "pow" and ed.scalar(power) == 2 and (
                ed.shape(d) == ed.shape(mean.inputs[0])):
            return d, axis, epsilon
    return None


def _axis(mean: Node) -> int | None:
    axes = mean.attrs["axes"]
    return axes[0] if len(axes) == 1 and mean.attrs.get("keepdims", True) else None


def _centred(ed: Editor, d: str, axis: int) -> str | None:
    """x if d is x - mean(x)."""
    difference = ed.made_by(d, "sub")
    mean = ed.made_by(difference.inputs[1], "reduce_mean") if difference is not None else None
    if mean is None or has_activation(difference) or mean.inputs[0] != difference.inputs[0] or _axis(mean) != axis:
        return None
    return difference.inputs[0]


def _same_centred(ed: Editor, a: str, b: str) -> bool:
    """Two differences of the same operands."""
    first, second = (ed.made_by(name, "sub") for name in (a, b))
    return first is not None and second is not None and first.inputs == second.inputs and first.attrs == second.attrs


def _emit(ed: Editor, node: Node, kind: str, x: str, axis: int, epsilon: float) -> None:
    y, shape = node.outputs[0], ed.shape(x)
    rank, channels = len(shape), shape[axis]
    weights = [ed.constant(np.full(channels, fill, np.float32), f"{y}/{name}")
               for fill, name in ((1, "scale"), (0, "shift"))[:2 if kind == "layer_norm" else 1]]
    there = (*(i for i in range(rank) if i != axis), axis)
    back = tuple(int(i) for i in np.argsort(there))
    if axis != rank - 1:
        x = ed.emit("transpose", [x], {"perm": there}, stem=f"{y}/channels_last")
    made = ed.emit(kind, [x, *weights], {"epsilon": float(epsilon)}, stem=y)
    if axis != rank - 1:
        made = ed.emit("transpose", [made], {"perm": back}, stem=f"{y}/back")
    ed.replace(y, made)


def _weights(ed: Editor, node: Node) -> int:
    """A factor or a summand per channel joins the normalisation that alone feeds it."""
    for x, other in (node.inputs, reversed(node.inputs)):
        norm = ed.made_by(x, "layer_norm", "rms_norm", "group_norm")
        if norm is None or has_activation(node) or not ed.is_constant(other) or ed.only_user(x) is None:
            continue
        constants = norm.inputs[1:]
        c, channels = ed.value(other), ed.shape(x)[-1:]
        if not all(ed.is_constant(name) for name in constants) or ed.shape(node.outputs[0]) != ed.shape(x):
            continue
        if c.size not in (1, *c.shape[-1:]) or node.op == "add" and norm.op == "rms_norm":
            continue
        c = np.broadcast_to(c.reshape(-1), channels).astype(np.float64)
        values = [ed.value(name).astype(np.float64) for name in constants]
        values = [v * c for v in values] if node.op == "mul" else [values[0], values[1] + c]
        y = node.outputs[0]
        names = [ed.constant(v.astype(np.float32), f"{y}/weights") for v in values]
        ed.replace(y, ed.emit(norm.op, [norm.inputs[0], *names], norm.attrs, stem=y))
        return 1
    return 0
