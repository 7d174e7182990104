"""Layers that run as one step: choices of kernels and not of meaning, hence made by the plan and not in the file.

    transpose of an NCHW input, conv2d         -> conv2d that reads planes
    depthwise_conv2d, 1x1 conv2d               -> separable_conv2d, where the tensor between them would leave L2
    conv2d, depthwise_conv2d [, 1x1 conv2d]    -> inverted_bottleneck, where the tensor between the first two would
    quantize, transpose of an NCHW picture     -> quantize that reads planes
    the same of integers, with tables between  -> bands (bands.py), from a size on that counts for the arena
    dequantize, lrn or batch_norm, quantize    -> bands
    conv2d, lrn or batch_norm, a pool          -> bands, where the tensor before the pool would leave L2
    q_conv2d, tables, a pool                   -> bands

Integer layers gain little time by it (their tensors are a quarter as large), but most of the memory of a run.  So do pools:
the first convolutions of a network write its largest tensors, of which a pool leaves a quarter.
"""

from __future__ import annotations

import math

from tinynet import bands, ops
from tinynet.graph import DTYPES, Graph, Node
from tinynet.ops import conv2d, depthwise_conv2d, inverted_bottleneck, separable_conv2d  # noqa: F401  (the kinds joined here)

# Channels of a picture that are put together pixel by pixel as it is padded.
MOST_PLANES = 4
# Integer layers run band by band from what size of a tensor between two of them on, with what weights at most, which every
# band reads again, and if so many output rows at least find place.
LEAST_BYTES = 144 * 1024
MOST_WEIGHT_BYTES = 256 * 1024
LEAST_BAND = 4
# Layers of floats that may stand between dequantize and quantize.
FLOATS = ("lrn", "batch_norm")
# A pool joins what makes its input where the tensor between them would leave L2 (of integers: LEAST_BYTES), and a convolution
# of so many weights at most, which every band reads again.
LEAST_POOLED_BYTES = 1 << 20
MOST_POOLED_WEIGHTS = 256 * 1024
# Kinds without which nothing joins.
JOINING = {"depthwise_conv2d", "transpose", "q_depthwise_conv2d", "quantize", *bands.POOLS}


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

    def node(self, i: int) -> Node:
        """As it is by now."""
        return (self.changed.get(i) or (None, self.graph.nodes[i]))[1]

    def shape(self, name: str) -> tuple[int, ...]:
        return self.graph.tensors[name].shape

    def nbytes(self, name: str) -> int:
        return DTYPES[self.graph.tensors[name].dtype] * self.graph.tensors[name].size

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
    if not any(node.op in JOINING for node in graph.nodes):
        return graph, operators, macs
    chains = Chains(graph, list(operators), list(macs))
    for i, node in enumerate(graph.nodes):
        if node.op == "transpose":
            _planar(chains, i)
            _planes(chains, i)
        elif node.op == "dequantize":
            _islands(chains, i)
    for i, node in enumerate(graph.nodes):
        if node.op == "depthwise_conv2d":
            _separable(chains, i)
        elif node.op in bands.POOLS:
            _pooled(chains, i)
    _bands(chains)
    return chains.result()


def _planar(chains: Chains, i: int) -> None:
    node, j = chains.graph.nodes[i], chains.reader(i)
    if j is None or chains.operators[i].perm != (0, 2, 3, 1) or node.inputs[0] not in chains.graph.inputs:
        return
    conv, op = chains.graph.nodes[j], chains.operators[j]
    if op.kind != "conv2d" or op.groups != 1 or chains.shape(conv.inputs[1])[3] > MOST_PLANES:
        return
    op = op.changed(planar=True)
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
    kind: type[ops.Op] = separable_conv2d.SeparableConv2d
    if first is not None:
        before, op = chains.changed.get(first) or (None, chains.graph.nodes[first]), chains.operators[first]
        attributes |= {f"first_{name}": getattr(op, name)
                       for name in ("strides", "pads", "planar", "activation", "alpha", "beta")}
        inputs = [*before[1].inputs, *inputs[1:]]
        gone.append(first)
        kind = inverted_bottleneck.InvertedBottleneck
    chains.put(gone, i if j is None else j, kind(**attributes), Node(kind.kind, last.name, inputs, last.outputs))


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


def _pooled(chains: Chains, i: int) -> None:
    """The pool i, what treats each pixel by itself before it, and the convolution before that."""
    chain = [i]
    while len(chain) < bands.MOST_LAYERS:
        j = chains.maker.get(chains.node(chain[0]).inputs[0])
        if j is None or chains.reader(j) != chain[0] or chains.changed.get(j, True) is None:
            break
        kind = chains.node(j).op
        if kind in (*FLOATS, "q_table") or (kind in ("conv2d", "q_conv2d") and _light(chains, j)):
            chain.insert(0, j)
        if kind not in (*FLOATS, "q_table"):
            break
    y = chains.graph.tensors[chains.graph.nodes[i].outputs[0]]
    least = LEAST_POOLED_BYTES if y.dtype == "float32" else LEAST_BYTES
    if any(chains.nbytes(chains.node(k).outputs[0]) >= least for k in chain[:-1]):
        _put_bands(chains, chain)


def _light(chains: Chains, j: int) -> bool:
    """Can the convolution j run band by band, and are its weights small?"""
    node = chains.node(j)
    w = chains.shape(node.inputs[1])
    # Winograd's weights are four times as many.
    weights = math.prod(w) * (4 if w[1:3] == (3, 3) else 1)
    return weights <= MOST_POOLED_WEIGHTS and (len(node.inputs) == 3 or node.op == "q_conv2d")


def _planes(chains: Chains, i: int) -> None:
    """The transpose i of a picture's bytes goes into the layer that quantizes it."""
    node, first = chains.graph.nodes[i], chains.maker.get(chains.graph.nodes[i].inputs[0])
    if first is None or chains.reader(first) != i or chains.operators[i].perm != (0, 2, 3, 1):
        return
    before, op = chains.graph.nodes[first], chains.operators[first]
    if op.kind != "quantize" or op.dtype != "uint8" or len(op.scale) > 1 or chains.shape(node.outputs[0])[3] > MOST_PLANES:
        return
    op = op.changed(planar=True)
    chains.put([first], i, op, Node(op.kind, node.name, before.inputs, node.outputs))


def _islands(chains: Chains, i: int) -> None:
    """dequantize i, layers of floats that treat each pixel by itself, quantize."""
    chain = [i]
    while chain[-1] == i or chains.graph.nodes[chain[-1]].op in FLOATS:
        j = chains.reader(chain[-1])
        if j is None or len(chain) == bands.MOST_LAYERS:
            return
        chain.append(j)
    nodes = [chains.graph.nodes[k] for k in chain]
    if (nodes[-1].op == "quantize" and len(chain) > 2 and len(chains.shape(nodes[0].inputs[0])) == 4
            and all(len(chains.operators[k].scale) == 1 for k in (i, chain[-1]))
            and chains.nbytes(nodes[0].outputs[0]) >= LEAST_BYTES):
        _put_bands(chains, chain)


def _bands(chains: Chains) -> None:
    """Chains of integer layers around a depthwise convolution, joined from the largest tensor between two of them on while
    what a thread then holds fits its share of a cache.  One such convolution each: its rows are made several at a time, and
    two behind each other would need many."""
    chain_of: dict[int, list[int]] = {}
    edges = [(chains.nbytes(chains.node(i).outputs[0]), i, chains.reader(i)) for i in range(len(chains.graph.nodes))
             if _banded(chains, i)]
    for size, i, j in sorted(edges, key=lambda edge: (-edge[0], edge[1])):
        if size < LEAST_BYTES or j is None or not _banded(chains, j) or not _reads_rows(chains, j):
            continue
        joined = chain_of.get(i, [i]) + chain_of.get(j, [j])
        if _fits(chains, joined):
            chain_of |= dict.fromkeys(joined, joined)
    for chain in {chain[0]: chain for chain in chain_of.values()}.values():
        if any(chains.node(k).op == "q_depthwise_conv2d" for k in chain):
            _put_bands(chains, chain)


def _banded(chains: Chains, i: int) -> bool:
    """Can layer i run band by band, and is nothing lost?"""
    if chains.changed.get(i, True) is None:
        return False
    node, op = chains.node(i), chains.operators[i]
    if len(chains.shape(node.outputs[0])) != 4:
        return False
    if node.op == "q_conv2d":
        w = chains.shape(node.inputs[1])
        return op.groups == 1 and (w[1:3] == (1, 1) or w[3] <= MOST_PLANES)
    if node.op == "q_depthwise_conv2d":
        return len(node.inputs) == 4
    return node.op == "q_table" or (node.op == "quantize" and op.planar)


def _reads_rows(chains: Chains, j: int) -> bool:
    """May layer j come behind another one?  A larger kernel only behind the picture."""
    node = chains.node(j)
    if node.op == "q_conv2d" and chains.shape(node.inputs[1])[1:3] != (1, 1):
        return chains.node(chains.maker[node.inputs[0]]).op == "quantize"
    return node.op != "quantize"


def _fits(chains: Chains, chain: list[int]) -> bool:
    tensors, nodes = chains.graph.tensors, [chains.node(k) for k in chain]
    if len(chain) > bands.MOST_LAYERS or [node.op for node in nodes].count("q_depthwise_conv2d") > 1:
        return False
    windows = [bands.Window.of(chains.operators[k], node, tensors, tensors[node.outputs[0]], 1)
               for k, node in zip(chain, nodes, strict=True)]
    weights = sum([tensors[node.inputs[1]].size for node in nodes if node.op == "q_conv2d"])
    return sum(bands.buffers(windows, LEAST_BAND)) <= bands.BAND_BYTES and weights <= MOST_WEIGHT_BYTES


def _put_bands(chains: Chains, chain: list[int]) -> None:
    nodes = [chains.node(k) for k in chain]
    between = tuple([chains.graph.tensors[node.outputs[0]] for node in nodes[:-1]])
    op = bands.Bands(layers=tuple([(chains.operators[k], node) for k, node in zip(chain, nodes, strict=True)]), between=between)
    inputs = [nodes[0].inputs[0], *(name for node in nodes for name in node.inputs[1:])]
    chains.put(chain[:-1], chain[-1], op, Node(op.kind, nodes[-1].name, inputs, nodes[-1].outputs))
