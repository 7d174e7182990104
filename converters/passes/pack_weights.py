"""Weights in the order that the kernels read in place (`tinynet/layouts.py`), once, at conversion.

    conv2d w, dense w     ->  ohwi_panels(groups)
    conv_transpose2d w    ->  hwoi_panels(groups)
    q_conv2d w, q_dense w ->  ohwi_quads(groups, run)
    rnn, gru, lstm w, r   ->  ohwi_panels(1), ohwi_panels(gates of all directions)
    everything else       ->  plain

The logical shape stays.  A constant that two layers want in different orders is stored twice.
"""

from __future__ import annotations

from tinynet import layouts
from tinynet.converters.passes.edit import Editor, op_of
from tinynet.graph import Graph, Node, Tensor
from tinynet.ops.recurrent import Recurrent


def _wishes(graph: Graph, node: Node) -> dict[int, str]:
    """Input -> the layout that the kernels read it in."""
    op = op_of(node)
    if node.op in ("q_conv2d", "q_dense"):
        return {1: op.weight_layout(graph.tensors[node.inputs[1]].shape)}
    if node.op in ("conv2d", "dense"):
        return {1: layouts.ohwi_panels(op.groups if node.op == "conv2d" else 1)}
    if node.op == "conv_transpose2d":
        return {1: layouts.hwoi_panels(op.groups)}
    if isinstance(op, Recurrent):
        return {1: layouts.ohwi_panels(), 2: layouts.ohwi_panels(op.directions * op.gates)}
    return {}


def apply(graph: Graph) -> int:
    ed = Editor(graph)
    # constant -> layout -> (node that reads it as weights, at which input)
    wishes: dict[str, dict[str, list[tuple[Node, int]]]] = {}
    for node in ed.nodes():
        for position, layout in _wishes(graph, node).items():
            if ed.is_constant(node.inputs[position]):
                wishes.setdefault(node.inputs[position], {}).setdefault(layout, []).append((node, position))
    count = 0
    for name, by_layout in wishes.items():
        tensor = graph.tensors[name]
        readers = sum(len(places) for places in by_layout.values())
        # Another role (a bias, an addend, an output) keeps the plain copy under the old name.
        shared = len(by_layout) > 1 or len(ed.users[name]) != readers or name in ed.outputs
        for layout, places in by_layout.items():
            if tensor.layout == layout and not shared:
                continue
            packed = layouts.pack(ed.value(name), layout)
            count += 1
            if not shared:
                tensor.data, tensor.layout = packed, layout
                continue
            copy = ed.unique(f"{name}/packed")
            graph.add(Tensor(copy, tensor.shape, tensor.dtype, packed, layout))
            ed.users[copy] = []
            for node, position in places:
                ed.set_inputs(node, [copy if i == position else n for i, n in enumerate(node.inputs)])
    ed.finish()
    return count
