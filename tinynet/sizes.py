"""Other input sizes for a network that is stored as layers: formulas -> attributes, shapes inferred anew."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tinynet import ops
from tinynet.errors import FormatError, InputError
from tinynet.graph import Formula, Graph, Node, Tensor

# Beyond this an extent is no size of anything.
MOST_EXTENT = 2 ** 40


def resize(graph: Graph, shapes: Mapping[str, tuple[int, ...]]) -> Graph:
    """The same layers and constants for inputs of these shapes.  InputError if the network does not take them."""
    formulas: dict[int, list[Formula]] = {}
    for formula in graph.formulas:
        formulas.setdefault(formula.node, []).append(formula)
    tensors = {name: t for name, t in graph.tensors.items() if t.is_constant}
    for name in graph.inputs:
        tensors[name] = Tensor(name, tuple(shapes[name]), graph.tensors[name].dtype)
    nodes = []
    for number, node in enumerate(graph.nodes):
        try:
            attrs = _attributes(node, formulas[number], tensors) if number in formulas else node.attrs
            specs = ops.make(node.op, attrs).infer(*(ops.Spec(tensors[n].shape, tensors[n].dtype) for n in node.inputs))
        except (ops.ShapeError, FormatError) as error:
            sizes = ", ".join(f"{name} {list(shapes[name])}" for name in graph.inputs)
            raise InputError(f"{graph.meta.label}: with inputs {sizes}: node {node.name!r} ({node.op}): {error}") from None
        nodes.append(Node(node.op, node.name, node.inputs, node.outputs, attrs, 0))
        for name, spec in zip(node.outputs, specs, strict=True):
            tensors[name] = Tensor(name, tuple(spec.shape), spec.dtype)
    return Graph(tensors, nodes, graph.inputs, graph.outputs, graph.meta, counts=graph.counts)


def _attributes(node: Node, formulas: list[Formula], tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    attrs = dict(node.attrs)
    for formula in formulas:
        values = list(attrs[formula.attribute])
        values[formula.position] = value(formula, tensors)
        attrs[formula.attribute] = tuple(values)
    return attrs


def value(formula: Formula, tensors: Mapping[str, Tensor]) -> int:
    """What the formula gives for these tensors."""
    product = formula.multiplier
    for name, axis in formula.factors:
        if name not in tensors or axis >= len(tensors[name].shape):
            raise FormatError(f"expected axis {axis} of a tensor that is known by then, found {name!r}; "
                              "convert the model again")
        product *= tensors[name].shape[axis]
        if abs(product) > MOST_EXTENT:
            raise FormatError(f"expected an extent below {MOST_EXTENT} for {formula.attribute}, found {product}")
    return product // formula.divisor + formula.offset
