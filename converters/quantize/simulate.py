"""The quantised network in float32 beside the original, layer after layer over the same samples.

Integer layers are simulated: rounded weights, inputs and outputs, sums in float32.  Because both networks are at the same
layer for all samples, a layer's systematic error (the mean of what its sums are off by, per channel, all that came before
included) is known when it is computed, and goes into its bias before anything behind it is (bias correction: Nagel et al.,
"Data-Free Quantization Through Weight Equalization and Bias Correction", ICCV 2019, section 4.2, from data).
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np

from tinynet.converters.quantize import kinds
from tinynet.converters.quantize.data import Samples
from tinynet.converters.quantize.kinds import computed, is_linear
from tinynet.converters.quantize.prepare import activation, without
from tinynet.converters.quantize.ranges import rounded
from tinynet.converters.quantize.scheme import Scheme
from tinynet.graph import Graph, Node, Tensor
from tinynet.model import Model

ROOM_BYTES = 768 << 20          # for the activations of both networks that are alive
MOST_SAMPLES = 32

Arrays = list[np.ndarray]


def sqnr(signal: float, noise: float) -> float:
    """Signal to quantisation noise in dB, from sums of squares: at most 200."""
    return 200.0 if noise <= signal * 1e-20 else float(10 * np.log10(max(signal, 1e-300) / noise))


def noise(real: Arrays, found: Arrays) -> tuple[float, float]:
    """(sum of real^2, sum of (real - found)^2) over all samples."""
    return sum(power(x) for x in real), sum(power(x - y) for x, y in zip(real, found, strict=True))


def power(x: np.ndarray) -> float:
    """Sum of squares; not through BLAS, whose result depends on the number of threads."""
    return float(np.square(x, dtype=np.float32).sum(dtype=np.float64))


class Layer:
    """One node, ready to run alone on arrays; constants may be replaced."""

    def __init__(self, graph: Graph, node: Node, constants: dict[int, np.ndarray] | None = None,
                 attrs: dict[str, Any] | None = None):
        small = Graph(inputs=[], outputs=list(node.outputs))
        self._positions = []
        names = []
        for i, name in enumerate(node.inputs):
            tensor = graph.tensors[name]
            data = (constants or {}).get(i, tensor.data)
            names.append(f"in{i}")
            small.add(Tensor(names[-1], tensor.shape, tensor.dtype, data))
            if data is None:
                small.inputs.append(names[-1])
                self._positions.append(i)
        for name in node.outputs:
            small.add(Tensor(name, graph.tensors[name].shape, graph.tensors[name].dtype))
        small.nodes = [Node(node.op, node.name, names, list(node.outputs), node.attrs if attrs is None else attrs)]
        self._names = [graph.tensors[name] for name in node.inputs]
        self._model = Model(small, winograd=False)

    def __call__(self, arrays: Arrays) -> Arrays:
        """Values of the inputs that are no constants -> outputs."""
        return list(self._model.run(dict(zip(self._model.graph.inputs, arrays, strict=True))).values())


class Result:
    """`layers`: node's output -> SQNR in dB of what it computes; `ends`: of what the last linear layers hand on to the
    outputs (a softmax would hide or blow up what happens before it); `shift`: linear layer's output -> what its bias needs."""

    def __init__(self) -> None:
        self.layers: dict[str, float] = {}
        self.own: dict[str, float] = {}
        self.ends: dict[str, float] = {}
        self.shift: dict[str, np.ndarray] = {}

    @property
    def total(self) -> float:
        """Mean of `ends`, in dB."""
        return float(np.mean(list(self.ends.values()))) if self.ends else 200.0


def fitting(graph: Graph, samples: Samples) -> Samples:
    """As many samples as there is room for, spread over all."""
    left = Counter(name for node in graph.nodes for name in node.inputs)
    left.update(graph.outputs)
    size = {name: 4 * t.size for name, t in graph.tensors.items() if not t.is_constant}
    alive = peak = sum(size[name] for name in graph.inputs)
    for node in graph.nodes:
        alive += sum(size[name] for name in node.outputs)
        peak = max(peak, alive)
        for name in node.inputs:
            left[name] -= 1
            alive -= size.get(name, 0) if not left[name] else 0
    # Both networks, and the rounded inputs.
    count = int(max(1, min(len(samples), MOST_SAMPLES, ROOM_BYTES // max(1, 3 * peak))))
    return samples.take(sorted({int(i) for i in np.linspace(0, len(samples) - 1, count)}))


def ends(graph: Graph) -> set[str]:
    """What the nodes behind the last linear layers read; without linear layers the outputs."""
    tail = kinds.tail(graph)
    front = {name for node in graph.nodes if node.outputs[0] not in tail for name in node.outputs}
    read = {name for node in graph.nodes if node.outputs[0] in tail for name in node.inputs} | set(graph.outputs)
    return {name for name in (read & front or graph.outputs) if graph.tensors[name].dtype == "float32"}


def simulate(graph: Graph, scheme: Scheme, samples: Samples, correct: bool = False, own: bool = False,
             progress: Any = None) -> Result:
    """Run both networks.  `correct`: compute `shift` and go on with it; `own`: also each linear layer's SQNR when all before
    it is exact."""
    return _Run(graph, scheme, samples, correct, own).run(progress)


class _Run:
    def __init__(self, graph: Graph, scheme: Scheme, samples: Samples, correct: bool, own: bool):
        self.graph, self.scheme, self.correct, self.own = graph, scheme, correct, own
        feeds = [samples[i] for i in range(len(samples))]
        self.real: dict[str, Arrays] = {name: [feed[name] for feed in feeds] for name in graph.inputs}
        # What integer layers make is rounded here, what float layers make is not.
        self.found: dict[str, Arrays] = dict(self.real)
        self.result = Result()
        self.ends = ends(graph)

    def run(self, progress: Any) -> Result:
        left = Counter(name for node in self.graph.nodes for name in node.inputs)
        left.update(self.graph.outputs)
        for number, node in enumerate(self.graph.nodes):
            if progress is not None:
                progress(number / len(self.graph.nodes), f"measuring {node.name}")
            self._step(node)
            for name in node.inputs:
                left[name] -= 1
                if not left[name]:
                    self.real.pop(name, None)
                    self.found.pop(name, None)
        return self.result

    def _step(self, node: Node) -> None:
        names = computed(self.graph, node)
        real = list(zip(*(self.real[name] for name in names), strict=True))
        if node.outputs[0] in self.scheme.integer:
            found = list(zip(*(self._rounded(name, self.scheme.read_steps(node, name)) for name in names), strict=True))
            if is_linear(node):
                self._linear(node, real, found)
                return
        else:
            found = list(zip(*(self.found[name] for name in names), strict=True))
        layer = Layer(self.graph, node)
        same = all(a is b for x, y in zip(real, found, strict=True) for a, b in zip(x, y, strict=True))
        ours = [layer(list(x)) for x in real]
        theirs = ours if same else [layer(list(x)) for x in found]
        self._keep(node, list(zip(*ours, strict=True)), list(zip(*theirs, strict=True)))

    def _rounded(self, name: str, steps: tuple[float, int]) -> Arrays:
        values = self.found[name]
        made = self.scheme.made_steps(name)
        return values if made == steps else [rounded(x, *steps) for x in values]

    def _linear(self, node: Node, real: list, found: list) -> None:
        out = node.outputs[0]
        bare = without(node.attrs)
        layer = Layer(self.graph, node, attrs=bare)
        weights, _ = self.scheme.weights(self.graph, node)
        integer = Layer(self.graph, node, {1: weights}, bare)
        ours = [layer(list(x))[0] for x in real]
        theirs = [integer(list(x))[0] for x in found]
        shift = self.scheme.shift.get(out)
        if self.correct:
            axes = tuple(range(ours[0].ndim - 1))
            shift = np.mean([np.mean(a - b, axis=axes, dtype=np.float64) for a, b in zip(ours, theirs, strict=True)], axis=0)
            shift = shift.astype(np.float32)
            self.result.shift[out] = shift
        if shift is not None:
            theirs = [x + shift for x in theirs]
        if self.own:
            inputs = [rounded(x[0], *self.scheme.read_steps(node, node.inputs[0])) for x in real]
            alone = [integer([x])[0] for x in inputs]
            steps = self.scheme.made_steps(out)
            if steps is not None:
                act = _activation(self.graph, node)
                pair = [act(x) for x in ours], [rounded(act(x), *steps) for x in alone]
                self.result.own[out] = sqnr(*noise(*pair))
            else:
                self.result.own[out] = sqnr(*noise(ours, alone))
        act = _activation(self.graph, node)
        self._keep(node, [[act(x) for x in ours]], [[act(x) for x in theirs]])

    def _keep(self, node: Node, real: list, found: list) -> None:
        for name, ours, theirs in zip(node.outputs, real, found, strict=True):
            ours, theirs = list(ours), list(theirs)
            steps = self.scheme.made_steps(name)
            if steps is not None:
                theirs = [rounded(x, *steps) for x in theirs]
            self.real[name], self.found[name] = ours, theirs
        for name in node.outputs:
            if name in self.ends:
                self.result.ends[name] = sqnr(*noise(self.real[name], self.found[name]))
        first = node.outputs[0]
        if first in self.scheme.integer and self.graph.tensors[first].dtype == "float32":
            self.result.layers[first] = sqnr(*noise(self.real[first], self.found[first]))


def _activation(graph: Graph, node: Node) -> Any:
    attrs = activation(node.attrs)
    kind = attrs.pop("activation", "none")
    if kind == "none":
        return lambda x: x
    low, high = (0.0, np.inf) if kind == "relu" else (attrs.get("alpha", 0.0), attrs.get("beta", 0.0))
    return lambda x: np.clip(x, np.float32(low), np.float32(high))
