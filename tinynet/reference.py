"""Runs a graph in numpy, one layer after the other: the meaning of a model, and the oracle for the kernels.

Slow and simple on purpose.  Every node's inputs and outputs are checked against the shapes the graph declares.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np

from tinynet import layouts, ops
from tinynet.errors import FormatError, InputError, UnsupportedOpError
from tinynet.graph import Graph, Node, Tensor


def run(graph: Graph, inputs: dict[str, Any], keep: bool = False) -> dict[str, np.ndarray]:
    """The graph's outputs by name, or with `keep` every tensor (constants in logical order).

    `inputs` maps each input's name to an array of exactly its shape and dtype, InputError otherwise.  FormatError
    if the graph contradicts itself, UnsupportedOpError for an unknown kind, InputError for numbers
    that a kind cannot take; these name the node.
    """
    values = _checked_inputs(graph, inputs)
    left = Counter(name for node in graph.nodes for name in node.inputs)
    left.update(graph.outputs)
    for node in graph.nodes:
        arrays = [_value(graph, values, name, node) for name in node.inputs]
        for name, array in zip(node.outputs, _compute(graph, node, arrays), strict=True):
            values[name] = array
        for name in node.inputs:
            left[name] -= 1
            if not left[name] and not keep:
                values.pop(name, None)
    if keep:
        for name, tensor in graph.tensors.items():
            if tensor.is_constant:
                values[name] = _constant(tensor)
        return values
    return {name: np.array(_value(graph, values, name, None)) for name in graph.outputs}


def _checked_inputs(graph: Graph, inputs: dict[str, Any]) -> dict[str, np.ndarray]:
    unknown = sorted(set(inputs) - set(graph.inputs))
    if unknown:
        raise InputError(f"input {unknown[0]!r}: expected only {', '.join(graph.inputs)}, found one more: remove it")
    values = {}
    for name in graph.inputs:
        tensor = graph.tensors[name]
        expected = f"{tensor.dtype} {list(tensor.shape)}"
        if name not in inputs:
            raise InputError(f"input {name!r}: expected {expected}, found nothing")
        array = np.asarray(inputs[name])
        if array.shape != tensor.shape or array.dtype != tensor.dtype:
            raise InputError(f"input {name!r}: expected {expected}, found {array.dtype} {list(array.shape)}")
        values[name] = array
    return values


def _constant(tensor: Tensor) -> np.ndarray:
    expected = layouts.nbytes(tensor.shape, tensor.dtype, tensor.layout)
    found = memoryview(tensor.data).nbytes
    if found != expected:
        raise FormatError(f"constant {tensor.name!r}: expected {expected} bytes, found {found}")
    return layouts.unpack(tensor.data, tensor.shape, tensor.dtype, tensor.layout)


def _value(graph: Graph, values: dict[str, np.ndarray], name: str, node: Node | None) -> np.ndarray:
    if name in values:
        return values[name]
    tensor = graph.tensors.get(name)
    if tensor is None or not tensor.is_constant:
        where = f"node {node.name!r} ({node.op})" if node else "output"
        raise FormatError(f"{where}: expected tensor {name!r} to be an input, a constant or computed before, "
                          f"found {'none of these' if tensor else 'no such tensor'}")
    return _constant(tensor)


def _compute(graph: Graph, node: Node, arrays: list[np.ndarray]) -> list[np.ndarray]:
    where = f"node {node.name!r} ({node.op})"
    try:
        op = ops.make(node.op, node.attrs)
        specs = op.infer(*(ops.Spec(a.shape, a.dtype.name) for a in arrays))
        if len(specs) != len(node.outputs):
            raise ops.ShapeError(f"expected {len(specs)} outputs, found {len(node.outputs)}")
        for name, spec in zip(node.outputs, specs, strict=True):
            tensor = graph.tensors.get(name)
            if tensor is None:
                raise ops.ShapeError(f"expected output {name!r} among the tensors, found no such tensor")
            if (tensor.shape, tensor.dtype) != tuple(spec):
                raise ops.ShapeError(f"expected output {name!r} of {spec.dtype} {list(spec.shape)}, "
                                     f"found {tensor.dtype} {list(tensor.shape)} in the graph")
        results = op.reference(*arrays)
    except ops.DataError as error:
        raise InputError(f"{where}: {error}") from error
    except UnsupportedOpError as error:
        raise UnsupportedOpError(f"{where}: {error}", error.operators) from error
    except (FormatError, ops.ShapeError) as error:
        raise FormatError(f"{where}: {error}") from error
    for name, spec, array in zip(node.outputs, specs, results, strict=True):
        if ops.Spec(array.shape, array.dtype.name) != spec:
            raise RuntimeError(f"{where}: reference of {name!r} gives {array.dtype} {list(array.shape)}, "
                               f"infer says {spec.dtype} {list(spec.shape)}")
    return results
