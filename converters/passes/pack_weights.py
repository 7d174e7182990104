"""Weights in the order that the kernels read in place (`tinynet/layouts.py`), once, at conversion.

    conv2d w, dense w     ->  ohwi_panels(groups)
    conv_transpose2d w    ->  hwoi_panels(groups)
    everything else       ->  plain

The logical shape stays.  A constant that two layers want in different orders is stored twice.
"""

from __future__ import annotations

from tinynet import layouts
from tinynet.converters.passes.edit import Editor, op_of
from tinynet.graph import Graph, Tensor


def apply(graph: Graph) -> int:
    ed = Editor(graph)
    wishes: dict[str, dict[str, list]] = {}             # constant -> layout -> nodes that read it as weights
    for node in ed.nodes():
        if node.op in ("conv2d", "dense"):
            layout = layouts.ohwi_panels(op_of(node).groups if node.op == "conv2d" else 1)
        elif node.op == "conv_transpose2d":
            layout = layouts.hwoi_panels(op_of(node).groups)
        else:
            continue
        wishes.setdefault(node.inputs[1], {}).setdefault(layout, []).append(node)
    count = 0
    for name, by_layout in wishes.items():
        tensor = graph.tensors[name]
        readers = sum(len(nodes) for nodes in by_layout.values())
        # Another role (a bias, an addend, an output) keeps the plain copy under the old name.
        shared = len(by_layout) > 1 or len(ed.users[name]) != readers or name in ed.outputs
        for layout, nodes in by_layout.items():
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
            for node in nodes:
                ed.set_inputs(node, [copy if i == 1 else n for i, n in enumerate(node.inputs)])
    ed.finish()
    return count
