"""What was decided: which layers compute in integers, and the scale and zero point of every tensor that becomes integers."""

from __future__ import annotations

import numpy as np

from tinynet.converters.quantize import kinds
from tinynet.converters.quantize.calibrate import Statistics
from tinynet.converters.quantize.ranges import METHODS, steps
from tinynet.graph import Graph, Integers, Node

# Largest ratio of the ranges of tensors that share a scale in a concat that no linear layer reads: 2 of the 8 bits.
MOST_APART = 4.0
WEIGHT_LEVELS = 127
# An int32 bias beyond this leaves no room for the sum.
MOST_BIAS = 2.0 ** 30

Steps = tuple[float, int]


class Scheme:
    """`integer`: names of the first outputs of the layers that compute in integers.  `steps`: tensor -> (scale, zero).
    `shift`: linear layer's output -> what its bias gets besides."""

    def __init__(self, integer: set[str], steps_of: dict[str, Steps], makers: dict[str, Node], plain: set[str]):
        self.integer = integer
        self.steps = steps_of
        self.shift: dict[str, np.ndarray] = {}
        self._makers = makers
        self._plain = plain
        self._weights: dict[str, tuple[np.ndarray, Integers]] = {}

    def made_steps(self, name: str) -> Steps | None:
        """How `name` is rounded when it is made: not at all by float layers, nor by linear layers that only float ones read."""
        maker = self._makers.get(name)
        if maker is None or maker.outputs[0] not in self.integer or name in self._plain:
            return None
        return self.steps[name]

    def read_steps(self, node: Node, name: str) -> Steps:
        """How an integer layer wants its input: moving layers in the scale of their output."""
        return self.steps[node.outputs[0]] if node.op == "concat" else self.steps[name]

    def weights(self, graph: Graph, node: Node) -> tuple[np.ndarray, Integers]:
        """(rounded float32 weights, their integers) of an integer linear layer: symmetric, one scale per output channel."""
        key = node.outputs[0]
        if key not in self._weights:
            w, b = (np.asarray(graph.tensors[name].data) for name in node.inputs[1:3])
            self._weights[key] = rounded_weights(w, b, node.op == "depthwise_conv2d", self.steps[node.inputs[0]][0])
        return self._weights[key]


def rounded_weights(w: np.ndarray, b: np.ndarray, last: bool, x_scale: float) -> tuple[np.ndarray, Integers]:
    """Output channels on the last axis (depthwise) or on the first."""
    axes = tuple(range(w.ndim - 1)) if last else tuple(range(1, w.ndim))
    scale = np.abs(w).max(axis=axes).astype(np.float64) / WEIGHT_LEVELS
    scale = np.maximum(scale, np.abs(b.astype(np.float64)) / (x_scale * MOST_BIAS))
    # Nothing but zeros, or next to it: any scale will do whose products are normal numbers.
    scale = np.where(scale * x_scale > 1e-30, scale, max(1e-6, 1e-24 / x_scale)).astype(np.float32)
    scale = scale.reshape((1,) * (w.ndim - 1) + (-1,) if last else (-1,) + (1,) * (w.ndim - 1))
    integers = np.clip(np.rint(w / scale), -WEIGHT_LEVELS, WEIGHT_LEVELS).astype(np.int8)
    return integers.astype(np.float32) * scale, Integers(integers, scale, np.zeros(scale.shape, np.int32))


class _Groups:
    """Tensors that share a scale (union-find)."""

    def __init__(self) -> None:
        self.parent: dict[str, str] = {}

    def find(self, name: str) -> str:
        while self.parent.get(name, name) != name:
            name = self.parent[name]
        return name

    def join(self, a: str, b: str) -> None:
        self.parent[self.find(a)] = self.find(b)


def make_scheme(graph: Graph, integer: set[str], statistics: dict[str, Statistics], method: str,
                fixed: dict[str, tuple[float, float]] | None = None) -> Scheme:
    """`fixed`: graph inputs whose range is known."""
    makers = graph.producers()
    readers = graph.consumers()
    groups = _Groups()
    for node in graph.nodes:
        if node.outputs[0] not in integer or not kinds.is_moving(graph, node):
            continue
        for name in kinds.computed(graph, node):
            if node.op != "concat" or _may_join(graph, node, name, statistics, readers):
                groups.join(name, node.outputs[0])
    quantised, plain = set(), set()
    for node in graph.nodes:
        if node.outputs[0] in integer:
            quantised.update(kinds.computed(graph, node))
            out = node.outputs[0]
            if kinds.is_linear(node) and not any(n.outputs[0] in integer for n in readers[out]):
                plain.add(out)
            else:
                quantised.add(out)
    ranges: dict[str, tuple[float, float]] = {}
    for name in sorted(quantised):
        low, high = _range(graph, name, statistics, method, makers, readers, fixed or {})
        root = groups.find(name)
        before = ranges.get(root, (0.0, 0.0))
        ranges[root] = min(before[0], low), max(before[1], high)
    return Scheme(integer, {name: steps(*ranges[groups.find(name)]) for name in quantised}, makers, plain)


def _may_join(graph: Graph, node: Node, name: str, statistics: dict[str, Statistics], readers: dict[str, list[Node]]) -> bool:
    """May an input of a concat be made in the scale of its output?  If others read it too, only if that costs them little."""
    if len(readers[name]) == 1:
        return True
    span, own = (statistics[n].high - statistics[n].low for n in (node.outputs[0], name))
    return span <= 1.25 * own


def _range(graph: Graph, name: str, statistics: dict[str, Statistics], method: str, makers: dict[str, Node],
           readers: dict[str, list[Node]], fixed: dict[str, tuple[float, float]]) -> tuple[float, float]:
    if name in fixed:
        return fixed[name]
    found = statistics[name]
    maker = makers.get(name)
    if maker is not None and maker.op in kinds.KNOWN and maker.op != "tanh":
        return kinds.KNOWN[maker.op]
    low, high = METHODS[method](found.counts, found.low, found.high)
    bounds = [kinds.known_range(graph, maker)] if maker is not None else []
    wanted = [kinds.useful_range(node) for node in readers[name]]
    if wanted and name not in graph.outputs:
        bounds.append((min(w[0] for w in wanted), max(w[1] for w in wanted)))
    for least, most in bounds:
        low, high = max(low, least), min(high, most)
    return low, high
