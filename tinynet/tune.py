"""Choices that are timed on this machine: direct convolution, or Winograd's with tiles of 2 or 4, for each 3x3 layer.

The cost rule of `ops/winograd.py` was fitted to one machine; this asks the machine at hand.  The two forms round
differently, so a tuned model's float32 results depend on what was faster when it was loaded.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import numpy as np

from tinynet import ops
from tinynet.graph import Graph, Node, Tensor
from tinynet.ops.winograd import SIZES

if TYPE_CHECKING:
    from tinynet.model import Model

# Each candidate runs so long, and at least so often; the fastest run counts: disturbances only ever slow it down.
SECONDS, LEAST_RUNS = 0.004, 5
ROUNDS = 3
# A tile has to be so much faster than direct convolution to be worth the memory of its weights.
GAIN = 1.03


def winograd_sizes(graph: Graph, weight_file: Any, threads: int) -> dict[str, int]:
    """Name of each 3x3 convolution -> outputs per side of its Winograd tiles, 0 for direct convolution.

    Layers of the same sizes are timed once.  Takes some tens of milliseconds for each different layer.
    """
    known: dict[Any, int] = {}
    chosen = {}
    for node in graph.nodes:
        if node.op != "conv2d" or not ops.make(node.op, node.attrs).may_use_winograd(graph.tensors[node.inputs[1]].shape):
            continue
        shapes = tuple(graph.tensors[name].shape for name in (*node.inputs, *node.outputs))
        key = (shapes, len(node.inputs), tuple(sorted((k, repr(v)) for k, v in node.attrs.items())))
        if key not in known:
            known[key] = _fastest(_alone(graph, node), weight_file, threads)
        chosen[node.name] = known[key]
    return chosen


def _alone(graph: Graph, node: Node) -> Graph:
    """The layer as a network of its own; what other layers compute becomes an input."""
    layer = Graph(nodes=[node], outputs=list(node.outputs))
    for name in dict.fromkeys((*node.inputs, *node.outputs)):
        tensor = graph.tensors[name]
        layer.add(tensor if tensor.is_constant else Tensor(name, tensor.shape, tensor.dtype))
        if not tensor.is_constant and name not in node.outputs:
            layer.inputs.append(name)
    return layer


def _fastest(layer: Graph, weight_file: Any, threads: int) -> int:
    from tinynet.model import Model

    models = {size: Model(layer, weight_file, threads, winograd=size) for size in (0, *SIZES)}
    feeds = {name: np.ones(layer.tensors[name].shape, np.float32) for name in layer.inputs}
    outputs = {name: np.empty(layer.tensors[name].shape, np.float32) for name in layer.outputs}
    best = dict.fromkeys(models, float("inf"))
    for _ in range(ROUNDS):
        for size, model in models.items():
            best[size] = min(best[size], _seconds(model, feeds, outputs))
    size = min(SIZES, key=lambda s: best[s])
    return size if best[size] * GAIN < best[0] else 0


def _seconds(model: Model, feeds: dict[str, np.ndarray], outputs: dict[str, np.ndarray]) -> float:
    best, runs, end = float("inf"), 0, time.perf_counter() + SECONDS
    while runs < LEAST_RUNS or time.perf_counter() < end:
        started = time.perf_counter()
        model.run(feeds, outputs)
        best = min(best, time.perf_counter() - started)
        runs += 1
    return best
