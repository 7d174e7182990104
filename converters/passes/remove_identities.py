"""Layers that hand their input on unchanged go, and some kinds become simpler ones.

    reshape / expand to the same shape, full slice, pad of nothing, cast to the same dtype,
    identity transpose, concat of one, 1x1 pooling, resize to the same size          ->  nothing
    reduction over one element                                                       ->  nothing, or a reshape
    x * 1, x / 1, x ** 1, x - 0, integer x + 0                                       ->  x
    relu(relu(x)), clip inside clip                                                  ->  one of them
    gather of equally spaced indices                                                 ->  slice (and reshape)
    expand before what broadcasts anyway                                             ->  nothing

Only where every bit stays: x + 0.0 turns -0.0 into 0.0, which 1 / x can tell apart, so it stays.
"""

from __future__ import annotations

import numpy as np

from tinynet.converters.passes.edit import Editor, has_activation, op_of
from tinynet.graph import Graph, Node
from tinynet.ops import ShapeError

NEUTRAL = {"mul": 1, "div": 1, "pow": 1, "sub": 0, "add": 0}


def apply(graph: Graph) -> int:
    ed = Editor(graph)
    count = 0
    for node in ed.nodes():
        count += _gather(ed, node) or _clamps(ed, node) or _expanded(ed, node)
        if not ed.alive(node):
            continue
        same = _same(ed, node)
        if same is None:
            continue
        out = node.outputs[0]
        if ed.shape(same) != ed.shape(out):
            if node.op != "reshape":
                ed.replace(out, ed.emit("reshape", [same], {"shape": ed.shape(out)}, stem=out))
                count += 1
        elif ed.can_replace(out, same) and not ed.is_constant(same):
            ed.replace(out, same)
            count += 1
    ed.finish()
    return count


def _same(ed: Editor, node: Node) -> str | None:
    """The input whose elements, in the same order, are the output."""
    op, x = op_of(node), node.inputs[0]
    before, after = ed.shape(x), ed.shape(node.outputs[0])
    if node.op in NEUTRAL:
        return _neutral(ed, node)
    if node.op == "slice":
        return x if before == after and all(s > 0 or d == 1 for s, d in zip(op.step, before, strict=True)) else None
    if node.op in ("reshape", "expand", "pad", "concat"):
        return x if before == after and len(node.inputs) == 1 else None
    if node.op == "cast":
        return x if ed.dtype(x) == ed.dtype(node.outputs[0]) else None
    if node.op == "transpose":
        return x if tuple(op.perm) == tuple(range(len(before))) else None
    if node.op in ("max_pool2d", "average_pool2d"):
        return x if before == after and set(op.kernel) == set(op.strides) == {1} and not any(op.pads) else None
    if node.op == "resize":
        return x if before == after and set(op.scales) <= {1.0} and op.mode == "nearest" and not op.roi else None
    if node.op in ("reduce_mean", "reduce_sum", "reduce_prod", "reduce_max", "reduce_min"):
        return x if all(before[a] == 1 for a in op.axes) else None
    return None


def _neutral(ed: Editor, node: Node) -> str | None:
    if has_activation(node):
        return None
    a, b = node.inputs
    for x, other in ((a, b), (b, a))[:2 if node.op in ("mul", "add") else 1]:
        if not ed.is_constant(other) or ed.shape(x) != ed.shape(node.outputs[0]):
            continue
        value = ed.value(other)
        if not (value == NEUTRAL[node.op]).all():
            continue
        if ed.dtype(x) == "float32" and NEUTRAL[node.op] == 0 and (np.signbit(value) == (node.op == "sub")).any():
            continue
        return x
    return None


def _clamps(ed: Editor, node: Node) -> int:
    """clip(clip(x, a, b), c, d) -> clip(x, clip(a, c, d), clip(b, c, d)); relu is clip(0, inf)."""
    if node.op not in ("relu", "clip"):
        return 0
    inner = ed.made_by(node.inputs[0], "relu", "clip")
    if inner is None or ed.only_user(inner.outputs[0]) is None:
        return 0
    kind, attrs = merged_clamps(inner.op, inner.attrs, node.op, node.attrs)
    ed.replace(node.outputs[0], ed.emit(kind, [inner.inputs[0]], attrs, stem=node.outputs[0]))
    return 1


def merged_clamps(first: str, first_attrs: dict, then: str, then_attrs: dict) -> tuple[str, dict[str, float]]:
    """(kind, attributes) of one relu or clip that does both."""
    (a, b), (c, d) = _bounds(first, first_attrs), _bounds(then, then_attrs)
    # min(max(., c), d), as the kind computes it: with c > d the upper bound wins.
    low, high = min(max(a, c), d), min(max(b, c), d)
    if a > b:
        low = high
    if low == 0 and high == np.inf:
        return "relu", {}
    return "clip", {"alpha": low, "beta": high}


def _bounds(kind: str, attrs: dict) -> tuple[float, float]:
    return (0.0, np.inf) if kind == "relu" else (attrs.get("alpha", 0.0), attrs.get("beta", 0.0))


def _expanded(ed: Editor, node: Node) -> int:
    """x / expand(y) -> x / y, where the kind's own broadcasting gives the same shape."""
    op = op_of(node)
    if not op.elementwise or len(node.inputs) < 2:
        return 0
    count = 0
    for i, name in enumerate(node.inputs):
        maker = ed.made_by(name, "expand")
        if maker is None:
            continue
        inputs = [maker.inputs[0] if k == i else other for k, other in enumerate(node.inputs)]
        try:
            same = op.infer(*(ed.spec(n) for n in inputs))[0] == ed.spec(node.outputs[0])
        except ShapeError:
            same = False
        if same:
            ed.set_inputs(node, inputs)
            count += 1
    return count


def _gather(ed: Editor, node: Node) -> int:
    if node.op != "gather" or not ed.is_constant(node.inputs[1]) or ed.is_constant(node.inputs[0]):
        return 0
    index = ed.value(node.inputs[1])
    shape = ed.shape(node.inputs[0])
    axis = op_of(node).axis % len(shape)
    flat = [int(i) for i in index.reshape(-1)]
    step = flat[1] - flat[0] if len(flat) > 1 else 1
    if index.ndim > 1 or not flat or step == 0 or any(b - a != step for a, b in zip(flat, flat[1:], strict=False)):
        return 0
    if min(flat) < 0 or max(flat) >= shape[axis]:
        return 0
    end = max(flat[-1] + step, -1) if step < 0 else min(flat[-1] + step, shape[axis])
    attrs = {"begin": tuple(flat[0] if a == axis else 0 for a in range(len(shape))),
             "end": tuple(end if a == axis else d for a, d in enumerate(shape)),
             "step": tuple(step if a == axis else 1 for a in range(len(shape)))}
    name = ed.emit("slice", [node.inputs[0]], attrs, stem=node.outputs[0])
    if ed.shape(name) != ed.shape(node.outputs[0]):
        name = ed.emit("reshape", [name], {"shape": ed.shape(node.outputs[0])}, stem=node.outputs[0])
    ed.replace(node.outputs[0], name)
    return 1
