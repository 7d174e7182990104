"""Is this graph well formed?  Run after every pass in the tests, and once by whoever builds a graph by hand."""

from __future__ import annotations

import math

import numpy as np

from tinynet import layouts
from tinynet.errors import TinynetError
from tinynet.graph import Graph
from tinynet.ops import ShapeError, Spec, make


def check(graph: Graph) -> None:
    """Execution order is topological, every tensor has the shape and dtype that `infer` says, no name dangles,
    constants have as many bytes as their layout needs.  Raises TinynetError with the first thing that is wrong."""
    for key, tensor in graph.tensors.items():
        if key != tensor.name:
            raise TinynetError(f"tensor {tensor.name!r}: expected to be filed under its own name, found {key!r}")
        if tensor.is_constant:
            _check_constant(graph, key)
    known = {name for name, tensor in graph.tensors.items() if tensor.is_constant}
    for name in graph.inputs:
        if name not in graph.tensors or name in known:
            raise TinynetError(f"input {name!r}: expected a tensor without data, found none")
        known.add(name)
    for node in graph.nodes:
        for name in node.inputs:
            if name not in known:
                raise TinynetError(f"node {node.name!r}: input {name!r} is not known where it is read")
        for name in node.outputs:
            if name in known or name not in graph.tensors:
                raise TinynetError(f"node {node.name!r}: output {name!r} is made twice or has no tensor")
        try:
            specs = make(node.op, node.attrs).infer(*(_spec(graph, name) for name in node.inputs))
        except ShapeError as error:
            raise TinynetError(f"node {node.name!r} ({node.op}): {error}") from error
        if [tuple(spec) for spec in specs] != [tuple(_spec(graph, name)) for name in node.outputs]:
            raise TinynetError(f"node {node.name!r} ({node.op}): expected outputs {specs}, "
                               f"found {[_spec(graph, name) for name in node.outputs]}")
        known.update(node.outputs)
    for name in graph.outputs:
        if name not in known:
            raise TinynetError(f"output {name!r}: nothing makes it")
    left_over = graph.tensors.keys() - known
    if left_over:
        raise TinynetError(f"tensor {sorted(left_over)[0]!r}: nothing makes it")


def _spec(graph: Graph, name: str) -> Spec:
    tensor = graph.tensors[name]
    return Spec(tensor.shape, tensor.dtype)


def _check_constant(graph: Graph, name: str) -> None:
    tensor = graph.tensors[name]
    data = np.asarray(tensor.data)
    if tensor.layout == layouts.PLAIN and data.dtype == tensor.dtype and data.size == math.prod(tensor.shape):
        return
    if data.nbytes != layouts.nbytes(tensor.shape, tensor.dtype, tensor.layout):
        raise TinynetError(f"constant {name!r}: expected {tensor.dtype} {list(tensor.shape)} in layout "
                           f"{tensor.layout}, found {data.nbytes} bytes of {data.dtype}")
