"""What integers can compute: the layer kinds, which of their tensors share a scale, and ranges that are known beforehand.

    linear    sums of products with constant weights: own scale of the output
    moving    every output element is an element of an input, or a padding zero: one scale for all
    mixing    averages and interpolations, sums and products of two tensors, softmax: own scale of the output
    unary     functions of one element: a table of 256 entries
"""

from __future__ import annotations

import math

from tinynet import ops
from tinynet.converters.quantize.prepare import CLAMPS, LINEAR
from tinynet.graph import Graph, Node
from tinynet.ops.activated import ACTIVATIONS
from tinynet.ops.quantize import MOST_PRODUCTS

MOVING = ("max_pool2d", "reshape", "transpose", "slice", "pad", "expand", "depth_to_space", "space_to_depth",
          "channel_shuffle", "resize", "concat")
# Float kind -> the integer kind that computes it, where that is another one.
MIXING = {"add": "q_add", "mul": "q_mul", "average_pool2d": "q_average_pool2d", "reduce_mean": "q_global_average_pool",
          "resize": "q_resize", "softmax": "q_softmax"}
PARTS = ("add", *ACTIVATIONS)     # what prepare.py splits off
FUNCTIONS = ("selu", "celu", "softsign", "exp", "erf", "neg", "abs")
# Outside of these a function is flat to less than half a step of its result: nothing is lost where its input is cut off.
USEFUL = {"relu": (0.0, math.inf), "hard_swish": (-3.0, math.inf), "sigmoid": (-8.0, 8.0), "tanh": (-4.0, 4.0),
          "silu": (-8.0, math.inf), "gelu": (-4.0, math.inf), "gelu_tanh": (-4.0, math.inf), "mish": (-8.0, math.inf),
          "elu": (-6.0, math.inf), "softplus": (-8.0, math.inf)}
KNOWN = {"sigmoid": (0.0, 1.0), "hard_sigmoid": (0.0, 1.0), "softmax": (0.0, 1.0), "tanh": (-1.0, 1.0)}


def computed(graph: Graph, node: Node) -> list[str]:
    """The inputs that are no constants."""
    return [name for name in node.inputs if not graph.tensors[name].is_constant]


def is_linear(node: Node) -> bool:
    return node.op in LINEAR


def is_moving(graph: Graph, node: Node) -> bool:
    if node.op == "resize":
        return node.attrs.get("mode", "nearest") == "nearest"
    if node.op == "pad":
        # Zero is the one number that every scale has exactly.
        return len(node.inputs) == 1 and (node.attrs.get("mode", "constant") != "constant" or not node.attrs.get("value", 0.0))
    return node.op in MOVING


def is_unary(graph: Graph, node: Node) -> bool:
    return node.op in ACTIVATIONS or node.op in FUNCTIONS


def can_be_integer(graph: Graph, node: Node) -> bool:
    """Is there an integer kind that computes this node, for these shapes?"""
    read = computed(graph, node)
    if not read or any(graph.tensors[name].dtype != "float32" for name in (*read, *node.outputs)):
        return False
    if is_linear(node):
        w = graph.tensors[node.inputs[1]]
        products = w.shape[0] * w.shape[1] if node.op == "depthwise_conv2d" else math.prod(w.shape[1:])
        return (len(read) == 1 and w.is_constant and products <= MOST_PRODUCTS and not node.attrs.get("planar")
                and node.attrs.get("activation", "none") in CLAMPS)
    if is_moving(graph, node):
        return len(read) == len(node.inputs)
    if is_unary(graph, node):
        return len(read) == len(node.inputs) == 1
    if MIXING.get(node.op) not in ops.kinds() or node.attrs.get("activation", "none") not in CLAMPS:
        return False
    if node.op in ("add", "mul"):
        return len(read) == 2
    if node.op == "reduce_mean":
        return tuple(node.attrs.get("axes", ())) == (1, 2) and len(graph.tensors[read[0]].shape) == 4
    if node.op == "resize":
        return (node.attrs.get("mode") == "linear" and tuple(node.attrs.get("axes", (1, 2))) == (1, 2)
                and not node.attrs.get("antialias"))
    return len(read) == 1


def known_range(graph: Graph, node: Node) -> tuple[float, float]:
    """Where the node's results lie, whatever its inputs."""
    low, high = KNOWN.get(node.op, (-math.inf, math.inf))
    kind = node.op if node.op in ("relu", "clip") else node.attrs.get("activation", "none")
    if kind == "relu":
        low = 0.0
    elif kind == "clip":
        low, high = node.attrs.get("alpha", 0.0), node.attrs.get("beta", 0.0)
    return low, high


def useful_range(node: Node) -> tuple[float, float]:
    """Where it matters to this reader what its input is."""
    if node.op == "hard_sigmoid":
        alpha, beta = node.attrs.get("alpha", 0.0), node.attrs.get("beta", 0.0)
        return (-beta / alpha, (1 - beta) / alpha) if alpha > 0 else (-math.inf, math.inf)
    if node.op == "clip":
        return node.attrs.get("alpha", 0.0), node.attrs.get("beta", 0.0)
    return USEFUL.get(node.op, (-math.inf, math.inf))


def tail(graph: Graph) -> set[str]:
    """Names of the nodes behind the last linear layers: what prepares the outputs, and gains nothing from integers."""
    heavy: set[str] = set()
    tail_nodes: set[str] = set()
    for node in reversed(graph.nodes):
        before = is_linear(node) or any(name in heavy for name in node.outputs)
        if before:
            heavy.update(computed(graph, node))
        else:
            tail_nodes.add(node.outputs[0])
    return tail_nodes
