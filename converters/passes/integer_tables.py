"""A function of one 8-bit variable is a table of its 256 values.

    before:  dequantize(x), sigmoid(), mul with what was dequantized, quantize          (any layers element by element)
    after:   q_table(x)                                          table[i] = what these layers give for i

    q_table(q_table(x))                     ->  one q_table
    q_table that changes nothing            ->  nothing
    q_conv2d, q_table that only clamps      ->  q_conv2d with other `low` and `high`
"""

from __future__ import annotations

import numpy as np

from tinynet.converters.passes.edit import Editor, op_of
from tinynet.converters.passes.integer_moves import one_step
from tinynet.graph import Graph, Node

EVERY = np.arange(256, dtype=np.uint8)
CLAMPING = ("q_conv2d", "q_depthwise_conv2d", "q_dense", "q_add", "q_mul")


def apply(graph: Graph) -> int:
    ed = Editor(graph)
    count = 0
    for node in ed.nodes():
        if not ed.alive(node):
            continue
        if node.op == "quantize" and one_step(node) is not None:
            count += _tabulate(ed, node)
        elif node.op == "q_table":
            count += _nothing(ed, node) or _join(ed, node) or _clamp(ed, node)
    ed.finish()
    return count


def _tabulate(ed: Editor, node: Node) -> int:
    walk = _Walk(ed, ed.shape(node.outputs[0]))
    real = walk.values(node.inputs[0])
    if real is None or walk.root is None:
        return 0
    table, = op_of(node).reference(real)
    ed.replace(node.outputs[0], table_of(ed, walk.root, table, node.outputs[0]))
    return 1


def table_of(ed: Editor, x: str, table: np.ndarray, stem: str) -> str:
    return ed.emit("q_table", [x, ed.constant(table, f"{stem}/table")], stem=stem)


class _Walk:
    """What a tensor holds for each value of the one 8-bit tensor, `root`, that it depends on."""

    def __init__(self, ed: Editor, shape: tuple[int, ...]):
        self.ed = ed
        self.shape = shape
        self.root: str | None = None
        self.known: dict[str, np.ndarray | None] = {}

    def values(self, name: str) -> np.ndarray | None:
        """256 values, or one for a constant whose elements are all equal; None for anything else."""
        stack = [name]
        while stack:                        # chains may be longer than Python's stack
            top = stack[-1]
            waiting = [n for n in self._needs(top) if n not in self.known]
            if waiting:
                stack += waiting
                continue
            stack.pop()
            if top not in self.known:
                self.known[top] = self._compute(top)
        return self.known[name]

    def _needs(self, name: str) -> list[str]:
        node = self.ed.producer.get(name)
        if node is None or name in self.known or not self._goes_through(node):
            return []
        return node.inputs

    def _goes_through(self, node: Node) -> bool:
        if len(node.outputs) != 1:
            return False
        ed, op = self.ed, op_of(node)
        if node.op == "q_table":
            return ed.dtype(node.inputs[0]) == "uint8"
        return (op.elementwise or node.op == "batch_norm") and "." not in node.op and ed.dtype(node.outputs[0]) == "float32"

    def _compute(self, name: str) -> np.ndarray | None:
        ed = self.ed
        if ed.is_constant(name):
            value = ed.value(name)
            return value.reshape(-1)[0] if value.size and (value == value.reshape(-1)[0]).all() else None
        if ed.shape(name) != self.shape:
            return None
        node = ed.producer.get(name)
        if node is not None and self._goes_through(node):
            return self._through(node)
        if ed.dtype(name) != "uint8" or self.root not in (None, name):
            return None
        self.root = name
        return EVERY

    def _through(self, node: Node) -> np.ndarray | None:
        if node.op == "q_table":
            x = self.known[node.inputs[0]]
            return None if x is None else self.ed.value(node.inputs[1])[x]
        inputs = [self.known[n] for n in node.inputs]
        if any(i is None for i in inputs) or all(np.ndim(i) == 0 for i in inputs):
            return None
        made = np.asarray(op_of(node).reference(*(np.asarray(i) for i in inputs))[0])
        return made if made.shape == (256,) else None


def _nothing(ed: Editor, node: Node) -> int:
    x, out = node.inputs[0], node.outputs[0]
    same = ed.dtype(x) == ed.dtype(out) and (ed.value(node.inputs[1]).view(np.uint8) == EVERY).all()
    if not same or not ed.can_replace(out, x):
        return 0
    ed.replace(out, x)
    return 1


def _join(ed: Editor, node: Node) -> int:
    inner = ed.made_by(node.inputs[0], "q_table")
    if inner is None:
        return 0
    first, second = (ed.value(n.inputs[1]) for n in (inner, node))
    out = node.outputs[0]
    ed.replace(out, table_of(ed, inner.inputs[0], second[first.view(np.uint8)], out))
    return 1


def _clamp(ed: Editor, node: Node) -> int:
    layer = ed.made_by(node.inputs[0], *CLAMPING)
    table = ed.value(node.inputs[1])
    if layer is None or ed.only_user(layer.outputs[0]) is None or {table.dtype.name, ed.dtype(layer.outputs[0])} != {"uint8"}:
        return 0
    least, most = int(table.min()), int(table.max())
    op = op_of(layer)
    reached = slice(op.low, op.high + 1)
    if (table[reached] != np.clip(EVERY, least, most)[reached]).any():
        return 0
    low, high = (int(np.clip(v, least, most)) for v in (op.low, op.high))
    out = node.outputs[0]
    ed.replace(out, ed.emit(layer.op, layer.inputs, {**layer.attrs, "low": low, "high": high}, stem=out))
    return 1
