"""The settings with the least measured error: range method, bias correction, layers that stay float.

Errors are those of the values that the last linear layers hand to the outputs: a softmax would hide or blow up what happens
before it.  All decisions use the calibration samples alone.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tinynet.converters.quantize.calibrate import Statistics
from tinynet.converters.quantize.data import Samples
from tinynet.converters.quantize.scheme import Scheme, make_scheme
from tinynet.converters.quantize.simulate import Result, fitting, simulate
from tinynet.graph import Graph

# By default the best of these; `entropy`, which gives up most of the range, never came close to them.
TRIED = ("minmax", "percentile", "mse")

Progress = Callable[[float, str], None]


class Found:
    def __init__(self, graph: Graph, scheme: Scheme, result: Result, method: str, reasons: dict[str, str]):
        self.graph = graph
        self.scheme = scheme
        self.result = result
        self.method = method
        self.reasons = reasons


def search(graph: Graph, integer: set[str], reasons: dict[str, str], statistics: dict[str, Statistics], samples: Samples,
           settings: Any, fixed: dict[str, tuple[float, float]], progress: Progress) -> Found:
    few = fitting(graph, samples)
    best: tuple[float, str, Scheme] | None = None
    methods = [settings.method] if settings.method else TRIED
    for number, method in enumerate(methods):
        scheme = make_scheme(graph, integer, statistics, method, fixed)
        if len(methods) > 1:
            part = lambda f, what, n=number: progress((n + f) / (len(methods) + 2), what)  # noqa: E731
            quality = simulate(graph, scheme, few, correct=True, progress=part).total
        else:
            quality = 0.0
        if best is None or quality > best[0] + 0.05:
            best = quality, method, scheme
    _, method, scheme = best
    result = simulate(graph, scheme, few, correct=True)
    scheme.shift = result.shift
    return Found(graph, scheme, result, method, reasons)
