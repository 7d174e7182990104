"""Zero padding in front of a convolution or pooling becomes its `pads`.

    before:  pad(x, top 0, left 0, bottom 1, right 1), conv2d(pads 0,0,0,0)
    after:   conv2d(x, pads 0,0,1,1)

conv2d, depthwise_conv2d: padding with 0, of integers with their zero.  average_pool2d: padding with 0, as
`count_include_pad`, unless it has pads of its own that do not count.  max_pool2d: only padding with -inf, because its own
padding never wins.  A reshape between the two may insert a dimension of size 1 (1-D convolutions).
"""

from __future__ import annotations

import math

from tinynet.converters.passes.edit import Editor, op_of
from tinynet.graph import Graph, Node

PADDING = {"conv2d": 0.0, "depthwise_conv2d": 0.0, "average_pool2d": 0.0, "max_pool2d": -math.inf}


def apply(graph: Graph) -> int:
    ed = Editor(graph)
    count = 0
    for node in ed.nodes():
        found = _padding(ed, node)
        if found is None:
            continue
        source, pads = found
        attrs = _merged(ed, node, pads)
        if attrs is None:
            continue
        ed.set_inputs(node, [source, *node.inputs[1:]])
        node.attrs = attrs
        count += 1
    ed.finish()
    return count


def _padding(ed: Editor, node: Node) -> tuple[str, tuple[int, ...]] | None:
    """(x without padding, [N,H,W,C]; top, left, bottom, right) in front of this window kind."""
    if node.op in ("q_conv2d", "q_depthwise_conv2d"):
        wanted, dtype = op_of(node).x_zero, "uint8"
    else:
        wanted, dtype = PADDING.get(node.op), "float32"
    if wanted is None:
        return None
    reshape = ed.made_by(node.inputs[0], "reshape")
    pad = ed.made_by(reshape.inputs[0] if reshape else node.inputs[0], "pad")
    if pad is None or ed.dtype(pad.inputs[0]) != dtype:
        return None
    op = op_of(pad)
    if op.mode != "constant" or op.value != wanted or len(pad.inputs) > 1:
        return None
    begin, end, shape = op.begin, op.end, ed.shape(pad.inputs[0])
    if reshape is not None:
        target = ed.shape(reshape.outputs[0])
        place = next((a for a in (1, 2) if len(shape) == 3 and target[:a] + target[a + 1:] == ed.shape(pad.outputs[0])
                      and target[a] == 1), None)
        if place is None:
            return None
        begin, end, shape = ((*v[:place], fill, *v[place:]) for v, fill in ((begin, 0), (end, 0), (shape, 1)))
    if begin[0] or begin[3] or end[0] or end[3]:
        return None
    source = pad.inputs[0]
    if reshape is not None:
        source = ed.emit("reshape", [source], {"shape": shape}, stem=f"{source}/image")
    return source, (begin[1], begin[2], end[1], end[2])


def _merged(ed: Editor, node: Node, pads: tuple[int, ...]) -> dict | None:
    op = op_of(node)
    attrs = {**node.attrs, "pads": tuple(a + b for a, b in zip(op.pads, pads, strict=True))}
    if node.op == "average_pool2d":
        if any(op.pads) and not op.count_include_pad:
            return None
        attrs["count_include_pad"] = True
    if node.op in ("average_pool2d", "max_pool2d"):
        reach = [d * (k - 1) + 1 for k, d in zip(op.kernel, op.dilations, strict=True)]
        if any(p >= reach[i % 2] for i, p in enumerate(attrs["pads"])):
            return None
    return attrs
