"""Cross-layer equalisation (Nagel et al., ICCV 2019, section 4.1): channels of the tensors between linear layers get ranges
that are alike, so that one scale suits them all.

    conv2d(x, w, b, relu) -> y -> depthwise_conv2d(y, v)
    conv2d(x, w / s, b / s, relu) -> y / s -> depthwise_conv2d(y / s, s v)          s > 0, one per channel of y

The same function, since relu(y / s) = relu(y) / s, and so for leaky_relu, pools and sums: all tensors that are connected
through such layers take the same s.  w keeps its precision, having one scale per output channel.  So does v where each channel
has a filter of its own, and all channels get the same range.  Where v mixes the channels a large s costs precision there:
then s is the square root of how much wider the channel is than the widest one, divided by how large its weights are beside the
largest.  Whether it helps is measured (search.py).
"""

from __future__ import annotations

import numpy as np

from tinynet.converters.quantize import kinds
from tinynet.converters.quantize.calibrate import Statistics
from tinynet.graph import Graph, Node, Tensor

# Beyond that a channel is next to nothing, and its bias would be too large in steps.
MOST = 64.0
# Each output channel depends on the same input channel alone, and in proportion.
THROUGH = ("relu", "leaky_relu", "max_pool2d", "average_pool2d", "resize", "add")


class _Stretch:
    """Tensors that take the same factors, and the linear layers around them."""

    def __init__(self) -> None:
        self.tensors: list[str] = []
        self.before: list[Node] = []
        self.after: list[Node] = []


def equalize(graph: Graph, statistics: dict[str, Statistics]) -> Graph | None:
    """An equalised copy, or None where no layers allow it.  `statistics` do not hold for it."""
    copy = Graph(dict(graph.tensors), [], list(graph.inputs), list(graph.outputs), graph.meta, counts=dict(graph.counts))
    copy.nodes = [Node(n.op, n.name, list(n.inputs), list(n.outputs), dict(n.attrs), n.macs) for n in graph.nodes]
    changed = False
    for stretch in _stretches(copy):
        factors = _factors(copy, stretch, statistics)
        if factors.min() < 0.95:
            _scale(copy, stretch, factors)
            changed = True
    return copy if changed else None


def _through(graph: Graph, node: Node) -> bool:
    return (node.op in THROUGH and node.attrs.get("activation", "none") in ("none", "relu")
            and len(kinds.computed(graph, node)) == len(node.inputs))


def _stretches(graph: Graph) -> list[_Stretch]:
    makers, readers = graph.producers(), graph.consumers()
    seen: set[str] = set()
    found = []
    for start in makers:
        if start in seen:
            continue
        stretch, waiting, fits = _Stretch(), [start], True
        seen.add(start)
        while waiting:
            name = waiting.pop()
            stretch.tensors.append(name)
            maker = makers.get(name)
            near: list[str] = []
            if maker is None or name in graph.outputs:
                fits = False
            elif _through(graph, maker):
                near += maker.inputs
            elif kinds.is_linear(maker) and maker.attrs.get("activation", "none") in ("none", "relu"):
                stretch.before.append(maker)
            else:
                fits = False
            for reader in readers[name]:
                if _through(graph, reader):
                    near += reader.outputs
                elif kinds.is_linear(reader) and graph.tensors[reader.inputs[1]].shape[-1] == graph.tensors[name].shape[-1]:
                    stretch.after.append(reader)
                else:
                    fits = False
            new = [n for n in dict.fromkeys(near) if n not in seen]
            seen.update(new)
            waiting += new
        if fits and stretch.before and stretch.after:
            found.append(stretch)
    return found


def _factors(graph: Graph, stretch: _Stretch, statistics: dict[str, Statistics]) -> np.ndarray:
    logs = []
    for name in stretch.tensors:
        channel = statistics[name].channel.astype(np.float64)
        logs.append(np.log(np.maximum(channel / max(channel.max(), 1e-30), 1e-6)))
    factors = np.exp(np.mean(logs, axis=0))
    mixing = [node for node in stretch.after if node.op != "depthwise_conv2d"]
    if mixing:
        shares = []
        for node in mixing:
            w = np.abs(np.asarray(graph.tensors[node.inputs[1]].data, np.float64))
            rows = w.reshape(w.shape[0], -1, w.shape[-1])
            shares.append((rows / np.maximum(rows.max(axis=(1, 2), keepdims=True), 1e-30)).max(axis=(0, 1)))
        factors = np.sqrt(factors / np.maximum(np.max(shares, axis=0), 1e-6))
    return np.maximum(factors / factors.max(), 1 / MOST).astype(np.float32)


def _scale(graph: Graph, stretch: _Stretch, factors: np.ndarray) -> None:
    for node in stretch.before:
        w, b = (np.asarray(graph.tensors[name].data) for name in node.inputs[1:3])
        own = factors if node.op == "depthwise_conv2d" else factors.reshape(-1, *(1,) * (w.ndim - 1))
        _replace(graph, node, 1, w / own)
        _replace(graph, node, 2, b / factors)
    for node in stretch.after:
        _replace(graph, node, 1, np.asarray(graph.tensors[node.inputs[1]].data) * factors)


def _replace(graph: Graph, node: Node, place: int, data: np.ndarray) -> None:
    name = graph.unique(f"{node.inputs[place]}/equal")
    graph.add(Tensor(name, data.shape, "float32", np.ascontiguousarray(data, np.float32)))
    node.inputs[place] = name
