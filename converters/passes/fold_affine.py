"""y = x scale + shift per channel joins the convolution or dense layer beside it.

    before:  conv2d(x, w, b), batch_norm(scale, shift), mul(c)
    after:   conv2d(x, w', b')          w'[o] = c scale[o] w[o]        b' = c (b scale + shift)

    before:  batch_norm(scale, shift), conv2d(x, w, b)       no padding, or shift = 0
    after:   conv2d(x, w', b')          w'[o,..,i] = w[o,..,i] scale[i]     b'[o] = b[o] + sum w[o,..,i] shift[i]

batch_norm and mul, add, sub, div by constants along the last axis are all such maps; a run of them is composed
first, in float64, and rounded to float32 once.  A run that finds no layer becomes one batch_norm.  Weights that stand for
integers (Tensor.integers) are not changed.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tinynet.converters.passes.edit import Editor, has_activation, op_of
from tinynet.graph import Graph, Node

LAYERS = ("conv2d", "depthwise_conv2d", "conv_transpose2d", "dense")
MAX_CHANNELS = 1 << 16          # a batch_norm made from scalars holds two vectors of this length at most


@dataclass
class Affine:
    scale: np.ndarray            # float64, scalar or [C]
    shift: np.ndarray

    def then(self, other: Affine) -> Affine:
        return Affine(self.scale * other.scale, self.shift * other.scale + other.shift)


def apply(graph: Graph) -> int:
    ed = Editor(graph)
    count = 0
    for node in ed.nodes():
        if not ed.alive(node) or _parse(ed, node) is None or _continues(ed, node):
            continue
        run, total = _run(ed, node)
        count += (_into_layer_before(ed, run, total) or _into_layer_after(ed, run, total)
                  or _into_batch_norm(ed, run, total))
    ed.finish()
    return count


def _parse(ed: Editor, node: Node) -> tuple[str, Affine] | None:
    """(x, the map) if this node, before its activation, is one."""
    if node.op == "batch_norm":
        return node.inputs[0], Affine(*(ed.value(name).astype(np.float64) for name in node.inputs[1:]))
    if node.op not in ("mul", "add", "sub", "div") or ed.dtype(node.outputs[0]) != "float32":
        return None
    a, b = node.inputs
    if ed.is_constant(a) == ed.is_constant(b) or node.op == "div" and ed.is_constant(a):
        return None
    x, name = (b, a) if ed.is_constant(a) else (a, b)
    shape = ed.shape(x)
    c = ed.value(name).astype(np.float64)
    if ed.shape(node.outputs[0]) != shape or not shape or c.size not in (1, *c.shape[-1:]):
        return None
    c = c.reshape(-1) if c.size > 1 else c.reshape(())
    one, zero = np.float64(1), np.float64(0)
    with np.errstate(all="ignore"):
        found = {"mul": lambda: Affine(c, zero), "div": lambda: Affine(one / c, zero), "add": lambda: Affine(one, c),
                 "sub": lambda: Affine(-one, c) if x == b else Affine(one, -c)}[node.op]()
    return (x, found) if _finite(found.scale, found.shift) else None


def _finite(*arrays: np.ndarray) -> bool:
    with np.errstate(all="ignore"):
        return all(np.isfinite(np.asarray(a).astype(np.float32)).all() for a in arrays)


def _continues(ed: Editor, node: Node) -> bool:
    """Is this the second or a later part of a run?"""
    x = _parse(ed, node)[0]
    maker = ed.producer.get(x)
    return (maker is not None and ed.only_user(x) is node and not has_activation(maker)
            and _parse(ed, maker) is not None)


def _run(ed: Editor, node: Node) -> tuple[list[Node], Affine]:
    run, total = [node], _parse(ed, node)[1]
    while not has_activation(run[-1]):
        user = ed.only_user(run[-1].outputs[0])
        found = _parse(ed, user) if user is not None else None
        if found is None:
            break
        run.append(user)
        total = total.then(found[1])
    return run, total


def _into_layer_before(ed: Editor, run: list[Node], total: Affine) -> int:
    x = _parse(ed, run[0])[0]
    layer = ed.made_by(x, *LAYERS)
    if layer is None or ed.only_user(x) is None or has_activation(layer) or len(layer.inputs) != 3:
        return 0
    if ed.graph.tensors[layer.inputs[1]].integers is not None:
        return _into_bias(ed, layer, run, total)
    w, b = (ed.value(name).astype(np.float64) for name in layer.inputs[1:])
    along = {"conv2d": (-1, 1, 1, 1), "dense": (-1, 1), "depthwise_conv2d": (1, 1, -1),
             "conv_transpose2d": (1, 1, -1, 1)}
    scale, shift = (np.broadcast_to(v, b.shape) for v in (total.scale, total.shift))
    return _replace_layer(ed, layer, w * scale.reshape(along[layer.op]), b * scale + shift, run)


def _into_bias(ed: Editor, layer: Node, run: list[Node], total: Affine) -> int:
    """Weights of integers stay: only a sum joins them; one with nothing takes the integers behind it along."""
    w, b = layer.inputs[1:]
    if (total.scale != 1).any():
        return 0
    outs = ed.shape(b)
    summand = next((name for name in run[0].inputs if ed.is_constant(name)), None)
    if len(run) == 1 and run[0].op == "add" and not ed.value(b).any():
        bias = ed.rearranged(summand, lambda a: np.broadcast_to(a.reshape(-1), outs).copy(), f"{b}/folded")
    else:
        bias = ed.constant((ed.value(b) + total.shift).astype(np.float32), f"{b}/folded")
    return _with_weights(ed, layer, w, bias, run)


def _into_layer_after(ed: Editor, run: list[Node], total: Affine) -> int:
    x, y = _parse(ed, run[0])[0], run[-1].outputs[0]
    layer = ed.only_user(y)
    if layer is None or layer.op not in LAYERS or layer.inputs[0] != y or has_activation(run[-1]):
        return 0
    if ed.graph.tensors[layer.inputs[1]].integers is not None:
        return 0
    if total.shift.any() and (layer.op == "conv_transpose2d" or layer.op != "dense" and any(op_of(layer).pads)):
        return 0
    w, b = (ed.value(name).astype(np.float64) for name in layer.inputs[1:3])
    channels = ed.shape(x)[-1]
    scale, shift = (np.broadcast_to(v, (channels,)) for v in (total.scale, total.shift))
    if layer.op == "depthwise_conv2d":
        return _replace_layer(ed, layer, w * scale, b + (w * shift).sum((0, 1)), run, x)
    if layer.op == "dense":
        return _replace_layer(ed, layer, w * scale, b + w @ shift, run, x)
    groups = op_of(layer).groups
    scale, shift = (v.reshape(groups, -1) for v in (scale, shift))
    outs = len(b) // groups
    scale, shift = np.repeat(scale, outs, 0), np.repeat(shift, outs, 0)           # [O, C / groups]
    if layer.op == "conv_transpose2d":
        return _replace_layer(ed, layer, w * scale, b, run, x)
    b = b + (w * shift[:, None, None]).sum((1, 2, 3))
    return _replace_layer(ed, layer, w * scale[:, None, None], b, run, x)


def _replace_layer(ed: Editor, layer: Node, w: np.ndarray, b: np.ndarray, run: list[Node], x: str | None = None) -> int:
    """The layer with new weights, and the run gone: above the layer if `x` (what the run read) is given, else below."""
    if not _finite(w, b):
        return 0
    weights = ed.constant(w.astype(np.float32), f"{layer.inputs[1]}/folded")
    bias = ed.constant(b.astype(np.float32), f"{layer.inputs[2]}/folded")
    return _with_weights(ed, layer, weights, bias, run, x)


def _with_weights(ed: Editor, layer: Node, weights: str, bias: str, run: list[Node], x: str | None = None) -> int:
    old = layer.outputs[0] if x is not None else run[-1].outputs[0]
    attrs = dict(layer.attrs)
    if x is None:
        attrs.update({k: v for k, v in run[-1].attrs.items() if k in ("activation", "alpha", "beta")})
    inputs = [x or layer.inputs[0], weights, bias, *layer.inputs[3:]]
    ed.replace(old, ed.emit(layer.op, inputs, attrs, stem=old))
    return len(run)


def _into_batch_norm(ed: Editor, run: list[Node], total: Affine) -> int:
    x, y = _parse(ed, run[0])[0], run[-1].outputs[0]
    channels = ed.shape(x)[-1]
    scalar = total.scale.ndim == 0 and total.shift.ndim == 0
    if len(run) == 1 and (scalar or run[0].op == "batch_norm") or scalar and channels > MAX_CHANNELS:
        return 0
    if not _finite(total.scale, total.shift):
        return 0
    scale, shift = (np.broadcast_to(v, (channels,)).astype(np.float32) for v in (total.scale, total.shift))
    attrs = {k: v for k, v in run[-1].attrs.items() if k in ("activation", "alpha", "beta")}
    names = [ed.constant(v, f"{y}/{n}") for v, n in ((scale, "scale"), (shift, "shift"))]
    ed.replace(y, ed.emit("batch_norm", [x, *names], attrs, stem=y))
    return len(run)
