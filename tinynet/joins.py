"""Layers that run as one step: choices of kernels and not of meaning, hence made by the plan and not in the file.

    transpose of an NCHW input, conv2d         -> conv2d that reads planes
    depthwise_conv2d, 1x1 conv2d               -> separable_conv2d, where the tensor between them would leave L2
    conv2d, depthwise_conv2d [, 1x1 conv2d]    -> inverted_bottleneck, where the tensor between the first two would
"""

from __future__ import annotations

import math

from tinynet import ops
from tinynet.graph import Graph, Node
from tinynet.ops import conv2d, depthwise_conv2d, inverted_bottleneck, separable_conv2d  # noqa: F401  (the kinds joined here)

# Channels of a picture that are put together pixel by pixel as it is padded.
MOST_PLANES = 4


class Chains:
    """A graph's nodes by what they make and who reads that."""

    def __init__(self, graph: Graph, operators: list[ops.Op], macs: list[int]):
        self.graph, self.operators, self.macs = graph, operators, macs
        self.readers = graph.consumers()
        self.maker = {name: i for i, node in enumerate(graph.nodes) for name in node.outputs}
        self.place = {id(node): i for i, node in enumerate(graph.nodes)}
        self.outputs = set(graph.outputs)
        # Node -> (op, node) that takes its place; None: it went into another one.
        self.changed: dict[int, tuple[ops.Op, Node] | None] = {}

    def reader(self, i: int) -> int | None:
        """The only node that reads node i's output, which nobody else wants, as its first input alone."""
        name = self.graph.nodes[i].outputs[0]
        readers = self.readers.get(name, [])
        if name in self.outputs or len(readers) != 1 or readers[0].inputs[0] != name or readers[0].inputs.count(name) > 1:
            return None
        return self.place[id(readers[0])]

    def shape(self, name: str) -> tuple[int, ...]:
        return self.graph.tensors[name].shape

    def nbytes(self, name: str) -> int:
        return 4 * self.graph.tensors[name].size

    def put(self, gone: list[int], i: int, op: ops.Op, node: Node) -> None:
        for j in gone:
            self.changed[j] = None
            self.macs[i] += self.macs[j]
        self.operators[i] = op
        self.changed[i] = op, node

    def result(self) -> tuple[Graph, list[ops.Op], list[int]]:
        if not self.changed:
            return self.graph, self.operators, self.macs
        kept = [i for i in range(len(self.graph.nodes)) if self.changed.get(i, True) is not None]
        nodes = [self.changed[i][1] if i in self.changed else self.graph.nodes[i] for i in kept]
        gone = {name for i, new in self.changed.items() if new is None for name in self.graph.nodes[i].outputs}
        tensors = {name: t for name, t in self.graph.tensors.items() if name not in gone}
        return (self.graph.replaced(nodes=nodes, tensors=tensors), [self.operators[i] for i in kept],
                [self.macs[i] for i in kept])


def join(graph: Graph, operators: list[ops.Op], macs: list[int]) -> tuple[Graph, list[ops.Op], list[int]]:
    """The graph with joined layers, their ops and MACs; the given one is not changed."""
    if not any(node.op == "depthwise_conv2d" or node.op == "transpose" for node in graph.nodes):
        return graph, operators, macs
    chains = Chains(graph, list(operators), list(macs))
    for i, node in enumerate(graph.nodes):
        if node.op == "transpose":
            _planar(chains, i)
    for i, node in enumerate(graph.nodes):
        if node.op == "depthwise_conv2d":
            _separable(chains, i)
    return chains.result()


def _planar(chains: Chains, i: int) -> None:
    node, j = chains.graph.nodes[i], chains.reader(i)
    if j is None or chains.operators[i].perm != (0, 2, 3, 1) or node.inputs[0] not in chains.graph.inputs:
        return
    conv, op = chains.graph.nodes[j], chains.operators[j]
    if op.kind != "conv2d" or op.groups != 1 or chains.shape(conv.inputs[1])[3] > MOST_PLANES:
        return
    op = ops.make("conv2d", op.attributes() | {"planar": True})
    chains.put([i], j, op, Node(op.kind, conv.name, [node.inputs[0], *conv.inputs[1:]], conv.outputs))


def _separable(chains: Chains, i: int) -> None:
    """The depthwise convolution i with the 1x1 one behind it, and perhaps with the convolution before it."""
    node, inner = chains.graph.nodes[i], chains.operators[i]
    if inner.dilations != (1, 1):
        return
    first, j = _first(chains, i), _pointwise(chains, i)
    small = chains.nbytes(node.outputs[0]) < separable_conv2d.LEAST_BYTES
    if first is None and (j is None or small):
        return
    attributes = {"strides": inner.strides, "pads": inner.pads, "inner_activation": inner.activation,
                  "inner_alpha": inner.alpha, "inner_beta": inner.beta}
    last, inputs, gone = node, list(node.inputs), []
    if j is not None:
        last, op = chains.graph.nodes[j], chains.operators[j]
        attributes |= {"activation": op.activation, "alpha": op.alpha, "beta": op.beta}
        inputs += last.inputs[1:]
        gone = [i]
    kind = "separable_conv2d"
    if first is not None:
        before, op = chains.changed.get(first) or (None, chains.graph.nodes[first]), chains.operators[first]
        attributes |= {f"first_{name}": getattr(op, name)
                       for name in ("strides", "pads", "planar", "activation", "alpha", "beta")}
        inputs = [*before[1].inputs, *inputs[1:]]
        gone.append(first)
        kind = "inverted_bottleneck"
    chains.put(gone, i if j is None else j, ops.make(kind, attributes), Node(kind, last.name, inputs, last.outputs))


def _pointwise(chains: Chains, i: int) -> int | None:
    """The 1x1 convolution that alone reads the depthwise one i, if it can join it and has nothing better to join."""
    j = chains.reader(i)
    if j is None or j in chains.changed:
        return None
    node, op = chains.graph.nodes[j], chains.operators[j]
    w = chains.shape(node.inputs[1]) if op.kind == "conv2d" else ()
    if (w[1:3] != (1, 1) or op.groups != 1 or op.strides != (1, 1) or op.pads != (0, 0, 0, 0)
            or w[3] > separable_conv2d.MOST_CHANNELS or 4 * w[0] * w[3] > separable_conv2d.MOST_WEIGHT_BYTES):
        return None
    next_one = chains.reader(j)
    if (next_one is not None and chains.operators[next_one].kind == "depthwise_conv2d" and _first(chains, next_one) == j
            and chains.nbytes(node.outputs[0]) > chains.nbytes(node.inputs[0])):
        return None     # the depthwise layer behind it saves more
    return j


def _first(chains: Chains, i: int) -> int | None:
    """The convolution whose output the depthwise one i alone reads, if it can and should join in."""
    name = chains.graph.nodes[i].inputs[0]
    first = chains.maker.get(name)
    if (first is None or chains.changed.get(first, True) is None or chains.reader(first) != i
            or chains.operators[i].dilations != (1, 1) or chains.nbytes(name) < inverted_bottleneck.LEAST_BYTES):
        return None
    node, op = chains.graph.nodes[first], chains.operators[first]
    if op.kind != "conv2d" or op.groups != 1 or op.dilations != (1, 1) or len(node.inputs) != 3:
        return None
    w = chains.shape(node.inputs[1])
    light = w[0] <= separable_conv2d.MOST_CHANNELS and 4 * math.prod(w) <= separable_conv2d.MOST_WEIGHT_BYTES
    return first if light and (op.planar or w[1:3] == (1, 1)) else None
