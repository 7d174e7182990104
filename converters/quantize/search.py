"""The settings with the least measured error: equalisation, range method, bias correction, layers that stay float.

Errors are those of the values that the last linear layers hand to the outputs: a softmax would hide or blow up what happens
before it.  All decisions use the calibration samples alone.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tinynet.converters.quantize import calibrate, choose, equalize, kinds
from tinynet.converters.quantize.calibrate import Statistics
from tinynet.converters.quantize.data import Samples
from tinynet.converters.quantize.scheme import Scheme, make_scheme
from tinynet.converters.quantize.simulate import Result, fitting, simulate
from tinynet.graph import Graph, Node
from tinynet.ops import Spec, make

# By default the better of these.  On the networks of `benchmarks quantize`, `percentile` is as good on data like that of
# the calibration and loses up to 5 dB on other data, `entropy` gives up so much of the range that it was never close.
TRIED = ("minmax", "mse")
# Of two settings the simpler one, unless the other is better by so many dB.
BETTER = 0.5
# Samples that settings are compared on.
COMPARED = 8

# Layers are taken back to float until the SQNR is this (a top class survives more noise than boxes), each for so much of it ...
GOOD_ENOUGH = 32.0
GOOD_ENOUGH_FOR_CLASSES = 20.0
WORTH = 0.3
# ... and all together for a small part of the network's work; so many are tried in each round.
MOST_WORK = 0.2
CANDIDATES = 4
ROUNDS = 4

Progress = Callable[[float, str], None]


class Found:
    def __init__(self, graph: Graph, scheme: Scheme, method: str, reasons: dict[str, str]):
        self.graph = graph
        self.scheme = scheme
        self.method = method
        self.reasons = reasons
        self.result = Result()


class _Search:
    def __init__(self, graph: Graph, integer: set[str], reasons: dict[str, str], statistics: dict[str, Statistics],
                 samples: Samples, settings: Any, fixed: dict[str, tuple[float, float]], goal: float, progress: Progress):
        self.goal = goal
        self.graph, self.integer, self.reasons, self.statistics = graph, integer, dict(reasons), statistics
        self.samples, self.settings, self.fixed, self.progress = samples, settings, fixed, progress
        self.few = fitting(graph, samples)
        count = min(COMPARED, len(self.few))
        self.compared = self.few.take(sorted({i * len(self.few) // count for i in range(count)}))
        self.method = settings.method or TRIED[0]

    def quality(self, graph: Graph, statistics: dict[str, Statistics], integer: set[str], method: str) -> float:
        scheme = make_scheme(graph, integer, statistics, method, self.fixed)
        return simulate(graph, scheme, self.compared, correct=True).total

    def run(self) -> Found:
        best = self.quality(self.graph, self.statistics, self.integer, self.method)
        self.progress(0.1, "measuring")
        best = self.equalized(best)
        for method in TRIED if self.settings.method is None else ():
            if method != self.method:
                found = self.quality(self.graph, self.statistics, self.integer, method)
                if found > best + BETTER:
                    best, self.method = found, method
        self.progress(0.6, "measuring")
        self.refine(best)
        self.progress(0.8, "correcting biases")
        found = Found(self.graph, make_scheme(self.graph, self.integer, self.statistics, self.method, self.fixed), self.method,
                      self.reasons)
        found.scheme.shift = self.shift(found.scheme)
        found.result = simulate(self.graph, found.scheme, self.compared)
        return found

    def equalized(self, best: float) -> float:
        graph = equalize.equalize(self.graph, self.statistics)
        if graph is None:
            return best
        statistics = calibrate.calibrate(graph, self.samples, lambda f, what: self.progress(0.1 + 0.3 * f, what))
        found = self.quality(graph, statistics, self.integer, self.method)
        if found <= best + BETTER:
            return best
        self.graph, self.statistics = graph, statistics
        return found

    def shift(self, scheme: Scheme) -> dict[str, Any]:
        """What biases need, if what is right for one half of the samples helps the other half."""
        halves = self.few.take(range(0, len(self.few), 2)), self.few.take(range(1, len(self.few), 2))
        if len(halves[1]):
            plain = simulate(self.graph, scheme, halves[1]).total
            scheme.shift = simulate(self.graph, scheme, halves[0], correct=True).shift
            corrected = simulate(self.graph, scheme, halves[1]).total
            scheme.shift = {}
            if corrected <= plain:
                return {}
        return simulate(self.graph, scheme, self.few, correct=True).shift

    def refine(self, best: float) -> None:
        """Greedy: the layers with the largest error of their own, one after the other, together with what feeds them."""
        work = {n.outputs[0]: _macs(self.graph, n) for n in self.graph.nodes}
        room = MOST_WORK * sum(work.values())
        for number in range(ROUNDS):
            if best >= self.goal:
                return
            self.progress(0.6 + 0.2 * number / ROUNDS, "looking for layers that lose too much")
            scheme = make_scheme(self.graph, self.integer, self.statistics, self.method, self.fixed)
            own = simulate(self.graph, scheme, self.compared.take(range(min(4, len(self.compared)))), own=True).own
            tried = []
            for out in sorted(own, key=lambda name: (own[name], name)):
                together = self.together(out)
                if together < self.integer and sum(work[name] for name in together) <= room:
                    tried.append(together)
                if len(tried) == CANDIDATES:
                    break
            found = [(self.quality(self.graph, self.statistics, self.integer - group, self.method), n)
                     for n, group in enumerate(tried)]
            gain, which = max(found, default=(best, -1))
            if which < 0 or gain < best + WORTH:
                return
            best, group = gain, tried[which]
            room -= sum(work[name] for name in group)
            self.integer = self.integer - group
            self.reasons |= dict.fromkeys(group, choose.ACCURACY)

    def together(self, out: str) -> set[str]:
        """The integer layer that makes `out`, what follows it element by element, and the layers that its input comes from."""
        makers, readers = self.graph.producers(), self.graph.consumers()
        group = {out}
        node = makers.get(kinds.computed(self.graph, makers[out])[0])
        while len(readers[out]) == 1 and kinds.is_unary(self.graph, readers[out][0]):
            out = readers[out][0].outputs[0]
            group.add(out)
        while node is not None:
            group.add(node.outputs[0])
            if kinds.is_linear(node):
                break
            node = makers.get(kinds.computed(self.graph, node)[0]) if kinds.is_unary(self.graph, node) else None
        return group & self.integer


def _macs(graph: Graph, node: Node) -> int:
    specs = [[Spec(graph.tensors[n].shape, graph.tensors[n].dtype) for n in names] for names in (node.inputs, node.outputs)]
    return make(node.op, node.attrs).macs(*specs)


def search(graph: Graph, integer: set[str], reasons: dict[str, str], statistics: dict[str, Statistics], samples: Samples,
           settings: Any, fixed: dict[str, tuple[float, float]], classes: bool, progress: Progress) -> Found:
    """`classes`: the network is a classifier."""
    goal = GOOD_ENOUGH_FOR_CLASSES if classes else GOOD_ENOUGH
    return _Search(graph, integer, reasons, statistics, samples, settings, fixed, goal, progress).run()
