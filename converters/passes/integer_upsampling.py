"""Transposed convolutions whose windows lie side by side become convolutions of single pixels, which have integer layers.

    dequantize(x), conv_transpose2d (kernel = strides = k x k, no pads)
        ->  dequantize(x), conv2d 1x1 with k k O channels, depth_to_space

Every output pixel is one tap of one input pixel, so that the sums are the same.
"""

from __future__ import annotations

import numpy as np

from tinynet.converters.passes.edit import Editor, op_of
from tinynet.converters.passes.integer_moves import dequantized
from tinynet.graph import Graph, Node

ACTIVATION = ("activation", "alpha", "beta")


def apply(graph: Graph) -> int:
    ed = Editor(graph)
    count = sum([_side_by_side(ed, node) for node in ed.nodes() if node.op == "conv_transpose2d" and ed.alive(node)])
    ed.finish()
    return count


def _side_by_side(ed: Editor, node: Node) -> int:
    op, (x, w, b) = op_of(node), node.inputs
    kh, kw, outs, channels = ed.shape(w)
    if dequantized(ed, x) is None or ed.graph.tensors[w].integers is None or kh != kw or op.strides != (kh, kw) \
            or any((*op.pads, *op.output_padding)) or op.dilations != (1, 1) or op.groups != 1:
        return 0
    out = node.outputs[0]
    weights = ed.rearranged(w, lambda a: a.reshape(kh * kw * outs, 1, 1, channels), f"{w}/pixels")
    bias = ed.rearranged(b, lambda a: np.tile(a, kh * kw), f"{b}/pixels")
    attrs = {name: value for name, value in node.attrs.items() if name in ACTIVATION}
    pixels = ed.emit("conv2d", [x, weights, bias], attrs, stem=f"{out}/pixels")
    ed.replace(out, ed.emit("depth_to_space", [pixels], {"block": kh}, stem=out))
    return 1
