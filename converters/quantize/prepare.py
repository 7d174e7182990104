"""A float graph as the quantiser wants it: plain weights, one linear layer per node, activations that integers can hold.

    conv2d(x, w, b, residual, f)  ->  conv2d(x, w, b), add(., residual, f)
    conv2d(x, w, b, silu)         ->  conv2d(x, w, b), silu           (relu and clip stay: they are limits of the integers)
    batch_norm(x) of an image     ->  depthwise_conv2d of 1x1

The weights may come packed, from a file; tensors that no node names (transformed weights) are left out.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tinynet import layouts
from tinynet.converters.passes.edit import Editor
from tinynet.graph import Graph, Node, Tensor

CLAMPS = ("none", "relu", "clip")
LINEAR = ("conv2d", "depthwise_conv2d", "dense")
_ACTIVATION = ("activation", "alpha", "beta")


def prepared(graph: Graph) -> Graph:
    """A copy that shares no node and no constant with `graph`; same inputs, outputs and values up to rounding."""
    used = {*graph.inputs, *graph.outputs, *(n for node in graph.nodes for n in (*node.inputs, *node.outputs))}
    copy = Graph(inputs=list(graph.inputs), outputs=list(graph.outputs), meta=graph.meta, counts=dict(graph.counts))
    for name, tensor in graph.tensors.items():
        if name in used:
            data = tensor.data
            if tensor.is_constant:
                data = np.array(layouts.unpack(data, tensor.shape, tensor.dtype, tensor.layout))
            copy.add(Tensor(name, tensor.shape, tensor.dtype, data))
    copy.nodes = [Node(n.op, n.name, list(n.inputs), list(n.outputs), dict(n.attrs), n.macs) for n in graph.nodes]
    ed = Editor(copy)
    for node in ed.nodes():
        if node.op == "batch_norm" and len(ed.shape(node.inputs[0])) == 4:
            node = _as_convolution(ed, node)
        if node.op in LINEAR and len(node.inputs) == 4:
            node = _without_residual(ed, node)
        if node.attrs.get("activation", "none") not in CLAMPS:
            _without_activation(ed, node)
    ed.finish()
    return copy


def without(attrs: dict[str, Any]) -> dict[str, Any]:
    """Attributes but for the activation."""
    return {k: v for k, v in attrs.items() if k not in _ACTIVATION}


def activation(attrs: dict[str, Any]) -> dict[str, Any]:
    return {k: attrs[k] for k in _ACTIVATION if k in attrs}


def _last(ed: Editor, node: Node, before: str, kind: str, inputs: list[str], attrs: dict[str, Any]) -> Node:
    """`kind` of `before` takes the place of `node`, whose output keeps its name."""
    out = node.outputs[0]
    name = ed.emit(kind, inputs, attrs, stem=out)
    made = ed.producer[name]
    ed.replace(out, name)
    ed.producer[before].name = node.name
    made.name = f"{node.name}/{kind}"
    return made


def _as_convolution(ed: Editor, node: Node) -> Node:
    x, scale, shift = node.inputs
    weights = ed.constant(ed.value(scale).reshape(1, 1, -1), f"{scale}/filter")
    out = node.outputs[0]
    name = ed.emit("depthwise_conv2d", [x, weights, shift], dict(node.attrs), stem=out)
    made = ed.producer[name]
    made.name = node.name
    ed.replace(out, name)
    return made


def _without_residual(ed: Editor, node: Node) -> Node:
    inner = ed.emit(node.op, node.inputs[:3], without(node.attrs), stem=f"{node.outputs[0]}/sum")
    return _last(ed, node, inner, "add", [inner, node.inputs[3]], activation(node.attrs))


def _without_activation(ed: Editor, node: Node) -> None:
    inner = ed.emit(node.op, node.inputs, without(node.attrs), stem=f"{node.outputs[0]}/linear")
    attrs = {k: v for k, v in node.attrs.items() if k in ("alpha", "beta")}
    _last(ed, node, inner, node.attrs["activation"], [inner], attrs)
