"""Source graph + sizes -> layers: what conversion does at once for other networks, done when the sizes are known.

Runs where the network runs: numpy alone, no onnx.  `onnx_open.py` makes source graphs and says when.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from tinynet import layouts
from tinynet.converters.onnx_builder import Builder, Malformed, NeedsValue, Refuse, Value, call, origins, registered
from tinynet.converters.onnx_ops import OPERATORS
from tinynet.converters.passes import run_passes
from tinynet.errors import FormatError, InputError, UnsupportedOpError
from tinynet.graph import Graph, Node, Tensor
from tinynet.ops import make

PREFIX = "onnx."
# What one evaluated constant may hold beyond the size of its own inputs.
MAX_ELEMENTS = 1 << 24


def finish(source: Graph, shapes: Mapping[str, tuple[int, ...]], values: Mapping[str, np.ndarray],
           optimise: bool = True) -> tuple[Graph, list[str]]:
    """(layers, parameters): the network for inputs of these shapes, and the inputs of which it took the values.

    `values` holds an array for every parameter, and for any input whose value is at hand: one that turns out to decide a
    shape becomes a parameter.  Parameters are no inputs of the result.  `optimise=False` leaves the passes out.
    Raises InputError if sizes or values do not fit the network, UnsupportedOpError.
    """
    parameters = list(source.parameters)
    while True:
        walk = _Walk(source, shapes, {name: values[name] for name in parameters})
        try:
            graph = walk.run()
            break
        except NeedsValue as need:
            more = [name for name in origins(walk.graph, need.value.name) if name in values and name not in parameters]
            if not more:
                raise UnsupportedOpError(f"{source.meta.label}: node {walk.node!r}: {need}") from None
            parameters += more
    return (run_passes(graph) if optimise else graph), parameters


class _Walk:
    def __init__(self, source: Graph, shapes: Mapping[str, tuple[int, ...]], parameters: Mapping[str, np.ndarray]):
        self.source = source
        self.graph = Graph(meta=source.meta.replaced())
        self.builder = Builder(self.graph, set(source.tensors), set(source.outputs))
        self.values: dict[str, Value | None] = {}
        self.node = ""
        for name in source.inputs:
            dtype = source.tensors[name].dtype
            if name in parameters:
                array = parameters[name]
                self.values[name] = Value(name, array.shape, dtype, array)
                continue
            self.graph.add(Tensor(name, tuple(shapes[name]), dtype))
            self.graph.inputs.append(name)
            self.values[name] = Value(name, tuple(shapes[name]), dtype)

    def run(self) -> Graph:
        for node in self.source.nodes:
            self.node = node.name
            try:
                self._node(node)
            except NeedsValue:
                raise
            except (Refuse, Malformed) as reason:
                sizes = ", ".join(f"{n} {list(v.shape)}" for n, v in self.values.items() if n in self.source.inputs)
                raise InputError(f"{self.source.meta.label}: with inputs {sizes}: node {node.name!r} "
                                 f"({node.op.removeprefix(PREFIX)}): {reason}") from None
        for name in self.source.outputs:
            self.builder.output(self.values, name, self._value(name), set(self.source.outputs))
        self.builder.counts()
        return self.graph

    def _value(self, name: str) -> Value | None:
        if name not in self.values:
            tensor = self.source.tensors[name]
            data = layouts.unpack(tensor.data, tensor.shape, tensor.dtype, tensor.layout)
            self.values[name] = Value(name, tensor.shape, tensor.dtype, data)
        return self.values[name]

    def _node(self, node: Node) -> None:
        key = node.op.removeprefix(PREFIX)
        operator = registered(key) if key not in OPERATORS or OPERATORS[key].function is None else OPERATORS[key]
        if operator is None and "." in key:
            raise UnsupportedOpError(f"{self.source.meta.label}: operator {key!r} is a custom one that nobody registered: "
                                     "import the module that registers it first (command line: --plugin FILE.py)")
        attributes = dict(node.attrs)
        version, absent, places = (attributes.pop(key, default) for key, default in
                                   (("@version", 0), ("@absent", ()), ("@outputs", tuple(range(len(node.outputs))))))
        tensors = attributes.pop("@tensors", ())
        if operator is None or operator.function is None or version not in operator.versions:
            raise FormatError(f"{self.source.meta.label}: operator {node.op!r} version {version} is unknown to this version "
                              "of tinynet: update tinynet, or convert the model again")
        inputs: list[Value | None] = [self._value(name) for name in node.inputs]
        for key in reversed(tensors):
            attributes[key] = inputs.pop().data
        for position in absent:
            inputs.insert(position, None)
        used = [i in places for i in range(max(places) + 1)]
        if all(v is None or v.known for v in inputs):
            results = self._evaluated(operator, node, version, used, inputs, attributes)
        else:
            self._prepare(self.builder, node, version, used)
            first = len(self.graph.nodes)
            results = call(operator, self.builder, inputs, attributes)
        for position, name in zip(places, node.outputs, strict=True):
            if all(v is None or v.known for v in inputs):
                value = results[position]
                self.values[name] = replace(value, name=name)
            else:
                self.builder.bind(self.values, name, results[position], first)

    @staticmethod
    def _prepare(builder: Builder, node: Node, version: int, used: list[bool]) -> None:
        builder.op_type, builder.version, builder.node_name = node.op.removeprefix(PREFIX), version, node.name
        builder.stem, builder.outputs_used = node.outputs[0], used

    def _evaluated(self, operator: Any, node: Node, version: int, used: list[bool], inputs: list[Value | None],
                   attributes: dict[str, Any]) -> list[Value]:
        """The operator on constants: its layers, run at once."""
        scratch = Builder(Graph(), set(), set())
        self._prepare(scratch, node, version, used)
        results = call(operator, scratch, inputs, attributes)
        graph = scratch.graph
        most = max(MAX_ELEMENTS, 4 * sum(v.data.size for v in inputs if v is not None))
        arrays = {name: t.data for name, t in graph.tensors.items() if t.is_constant}
        for layer in graph.nodes:
            if any(graph.tensors[name].size > most for name in layer.outputs):
                raise Refuse(f"its constant result of {math.prod(graph.tensors[layer.outputs[0]].shape)} elements is too large")
            with np.errstate(all="ignore"), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                made = make(layer.op, layer.attrs).reference(*(arrays[name] for name in layer.inputs))
            arrays.update(zip(layer.outputs, made, strict=True))
        for value in results:
            if value is not None and value.count is not None:
                raise Refuse("how large its result is depends on the data")
        return [v if v is None or v.known else replace(v, data=arrays[v.name]) for v in results]
