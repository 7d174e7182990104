"""An activation joins the layer that feeds it.

    before:  y = conv2d(x, w, b)     clip(y, 0, 6)
    after:   conv2d(x, w, b, activation clip, alpha 0, beta 6)

The layer must have no other reader and no activation yet; a relu or clip after a fused relu or clip becomes one clip.
"""

from __future__ import annotations

from tinynet.converters.passes.edit import Editor
from tinynet.converters.passes.remove_identities import merged_clamps
from tinynet.graph import Graph
from tinynet.ops.activated import ACTIVATIONS

CARRIERS = ("conv2d", "depthwise_conv2d", "conv_transpose2d", "dense", "batch_norm", "add", "sub", "mul", "div", "pow",
            "maximum", "minimum")
CLAMPS = ("relu", "clip")


def apply(graph: Graph) -> int:
    ed = Editor(graph)
    count = 0
    for node in ed.nodes():
        if node.op not in ACTIVATIONS:
            continue
        y = node.inputs[0]
        layer = ed.made_by(y, *CARRIERS)
        if layer is None or ed.only_user(y) is None:
            continue
        kind, attrs = node.op, node.attrs
        present = layer.attrs.get("activation", "none")
        if present in CLAMPS and kind in CLAMPS:
            kind, attrs = merged_clamps(present, layer.attrs, kind, attrs)
        elif present != "none":
            continue
        kept = {k: v for k, v in layer.attrs.items() if k not in ("activation", "alpha", "beta")}
        out = node.outputs[0]
        name = ed.emit(layer.op, layer.inputs, {**kept, "activation": kind, **attrs}, stem=out)
        ed.replace(out, name)
        count += 1
    ed.finish()
    return count
