"""The sum at the end of a residual block joins the convolution (or dense layer) that feeds it.

    before:  y = conv2d(x, w, b)      add(y, other)
    after:   conv2d(x, w, b, other)

y must have no activation, no residual yet and no other reader, and both sides the same shape.  Where both sides are
such layers, the one that runs later takes the other as its residual.  `other` cannot depend on y, since the sum is
y's only reader, so there is always an order; `finish()` finds it.  Layers that will compute on integers stay alone.
"""

from __future__ import annotations

from tinynet.converters.passes.edit import Editor, has_activation, is_integer_layer
from tinynet.graph import Graph


def apply(graph: Graph) -> int:
    ed = Editor(graph)
    order = {id(node): i for i, node in enumerate(ed.nodes())}
    count = 0
    for node in ed.nodes():
        if node.op != "add":
            continue
        a, b = node.inputs
        candidates = []
        for name, other in ((a, b), (b, a)):
            layer = ed.made_by(name, "conv2d", "dense")
            if layer is None or ed.only_user(name) is None or has_activation(layer) or len(layer.inputs) != 3:
                continue
            if ed.shape(name) == ed.shape(other) and not is_integer_layer(ed, layer):
                candidates.append((order.get(id(layer), len(order)), layer, other))
        if not candidates:
            continue
        _, layer, other = max(candidates, key=lambda c: c[0])
        out = node.outputs[0]
        attrs = {**layer.attrs, **node.attrs}
        ed.replace(out, ed.emit(layer.op, [*layer.inputs, other], attrs, stem=out))
        count += 1
    ed.finish()
    return count
