"""Scheme -> graph: float layers with `quantize` and `dequantize` between them, constants with the integers behind them.

    x -> quantize -> dequantize -> conv2d(., w, b) -> quantize -> dequantize -> y

`passes/integers.py` makes integer layers of it, as of any quantised model that is imported.
"""

from __future__ import annotations

import numpy as np

from tinynet.converters.quantize import kinds
from tinynet.converters.quantize.scheme import Scheme, Steps
from tinynet.graph import Graph, Integers, Node, Tensor


def emit(graph: Graph, scheme: Scheme) -> Graph:
    """A new graph; what a tensor of `graph` stands for keeps its name."""
    out = Graph(inputs=list(graph.inputs), outputs=list(graph.outputs), meta=graph.meta, counts=dict(graph.counts))
    for tensor in graph.tensors.values():
        out.add(Tensor(tensor.name, tensor.shape, tensor.dtype, tensor.data))
    writer = _Writer(out, scheme)
    for node in graph.nodes:
        writer.node(graph, node)
    used = {*out.inputs, *out.outputs, *(n for node in out.nodes for n in (*node.inputs, *node.outputs))}
    out.tensors = {name: tensor for name, tensor in out.tensors.items() if name in used}
    return out


class _Writer:
    def __init__(self, graph: Graph, scheme: Scheme):
        self.graph, self.scheme = graph, scheme
        self._rounded: dict[tuple[str, Steps], str] = {}

    def node(self, source: Graph, node: Node) -> None:
        integer = node.outputs[0] in self.scheme.integer
        copy = Node(node.op, node.name, list(node.inputs), list(node.outputs), dict(node.attrs), node.macs)
        if integer:
            for i, name in enumerate(node.inputs):
                if not source.tensors[name].is_constant:
                    copy.inputs[i] = self.rounded(name, self.scheme.read_steps(node, name))
            if kinds.is_linear(node):
                self.constants(source, node, copy)
        steps = self.scheme.made_steps(node.outputs[0]) if integer else None
        if steps is None:
            self.graph.nodes.append(copy)
            return
        # What others read keeps the name, the sum before it is rounded gets another one.
        name = node.outputs[0]
        copy.outputs = [self.tensor(f"{name}/raw", name, "float32")]
        self.graph.nodes.append(copy)
        self.round(copy.outputs[0], steps, name, name)
        self._rounded[name, steps] = name

    def tensor(self, stem: str, like: str, dtype: str) -> str:
        name = self.graph.unique(stem)
        self.graph.add(Tensor(name, self.graph.tensors[like].shape, dtype))
        return name

    def round(self, x: str, steps: Steps, stem: str, y: str) -> None:
        """x -> quantize -> dequantize -> y"""
        integers = self.tensor(f"{stem}/q", x, "uint8")
        attrs = {"scale": (steps[0],), "zero": (steps[1],)}
        self.graph.nodes.append(Node("quantize", integers, [x], [integers], dict(attrs)))
        self.graph.nodes.append(Node("dequantize", f"{integers}/real", [integers], [y], dict(attrs)))

    def rounded(self, name: str, steps: Steps) -> str:
        """`name` as an integer layer reads it."""
        key = name, steps
        if key not in self._rounded:
            self._rounded[key] = self.tensor(f"{name}/rounded", name, "float32")
            self.round(name, steps, name, self._rounded[key])
        return self._rounded[key]

    def constants(self, source: Graph, node: Node, copy: Node) -> None:
        weights, integers = self.scheme.weights(source, node)
        bias = np.asarray(source.tensors[node.inputs[2]].data, np.float32)
        shift = self.scheme.shift.get(node.outputs[0])
        bias = bias if shift is None else bias + shift
        x_scale = np.float32(self.scheme.steps[node.inputs[0]][0])
        scale = (x_scale * integers.scale.reshape(-1)).astype(np.float32)
        values = np.rint(bias.astype(np.float64) / scale).astype(np.int64).astype(np.int32)
        copy.inputs[1] = self.constant(node.inputs[1], weights, integers)
        copy.inputs[2] = self.constant(node.inputs[2], values.astype(np.float32) * scale,
                                       Integers(values, scale, np.zeros(scale.shape, np.int32)))

    def constant(self, stem: str, data: np.ndarray, integers: Integers) -> str:
        name = self.graph.unique(f"{stem}/int8" if integers.values.dtype == np.int8 else f"{stem}/int32")
        self.graph.add(Tensor(name, data.shape, "float32", data, integers=integers))
        return name
