"""The float network with taps: what the numbers of every activation are like, over all calibration samples.

Two walks over the samples: the first finds the smallest and largest value of each tensor (and of each channel), the
second counts `BINS` bins between them.  The taps are extra outputs of a copy of the graph, in as many copies as keep the
tapped tensors below `TAP_BYTES`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from tinynet.converters.quantize.data import Samples
from tinynet.converters.quantize.ranges import BINS
from tinynet.errors import InputError
from tinynet.graph import Graph
from tinynet.model import Model

TAP_BYTES = 256 << 20

Progress = Callable[[float, str], None]


class Statistics:
    """Of one tensor: `low`, `high`, the histogram `counts` between them, and the largest magnitude of each channel."""

    def __init__(self, channels: int):
        self.low = np.inf
        self.high = -np.inf
        self.channel = np.zeros(channels, np.float32)
        self.counts = np.zeros(BINS, np.int64)

    def widen(self, x: np.ndarray) -> None:
        rows = x.reshape(-1, len(self.channel))
        low, high = rows.min(axis=0), rows.max(axis=0)
        # numpy's, which keep a NaN
        self.low, self.high = float(np.minimum(self.low, low.min())), float(np.maximum(self.high, high.max()))
        np.maximum(self.channel, np.maximum(np.abs(low), np.abs(high)), out=self.channel)

    def count(self, x: np.ndarray) -> None:
        width = (self.high - self.low) / BINS
        if width > 0:
            places = ((x.reshape(-1) - np.float32(self.low)) * np.float32(1 / width)).astype(np.int32)
            np.clip(places, 0, BINS - 1, out=places)
            self.counts += np.bincount(places, minlength=BINS)


def calibrate(graph: Graph, samples: Samples, progress: Progress) -> dict[str, Statistics]:
    """Tensor -> its statistics, of every float32 tensor that is computed or fed.  InputError for NaN and infinities."""
    names = [name for name in _computed(graph) if graph.tensors[name].dtype == "float32" and graph.tensors[name].size]
    found = {name: Statistics((graph.tensors[name].shape or (1,))[-1]) for name in names}
    groups = list(_groups(graph, names))
    total, done = 2 * len(groups) * len(samples), 0
    models = [(group, Model(_tapped(graph, group), winograd=False)) for group in groups]
    for walk, method in enumerate((Statistics.widen, Statistics.count)):
        for i in range(len(samples)):
            feed = samples[i]
            for group, model in models:
                values = {**feed, **model.run(feed)}
                for name in group:
                    method(found[name], values[name])
                    if not walk and not np.isfinite(found[name].low + found[name].high):
                        raise InputError(f"sample {i}: tensor {name!r} holds NaN or infinity: calibrate with other inputs")
                done += 1
                progress(done / total, f"calibrating, sample {i + 1} of {len(samples)}")
    return found


def _computed(graph: Graph) -> list[str]:
    return [*graph.inputs, *(name for node in graph.nodes for name in node.outputs)]


def _groups(graph: Graph, names: list[str]) -> Iterator[list[str]]:
    group: list[str] = []
    room = TAP_BYTES
    for name in names:
        nbytes = 4 * graph.tensors[name].size
        if group and nbytes > room:
            yield group
            group, room = [], TAP_BYTES
        group.append(name)
        room -= nbytes
    if group:
        yield group


def _tapped(graph: Graph, group: list[str]) -> Graph:
    taps = [name for name in group if name not in graph.inputs]
    copy = Graph(dict(graph.tensors), list(graph.nodes), list(graph.inputs), taps or graph.outputs[:1], graph.meta)
    return copy
