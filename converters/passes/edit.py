"""Editing a graph: who makes and who reads each tensor, kept up to date while nodes come and go.

Every rewrite works through an `Editor`: built once per pass (linear), changed in constant time per edit, and closed
by `finish()`, which sorts the nodes, drops what nobody reads and forgets unused tensors.  `emit`, `replace` and
`set_output` are for kinds with one output; a kind with several stays as it is.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tinynet import layouts
from tinynet.converters.integer_constants import rearranged
from tinynet.graph import Graph, Node, Tensor
from tinynet.ops import Op, Spec, make


class Editor:
    def __init__(self, graph: Graph):
        self.graph = graph
        self.outputs = set(graph.outputs)
        self.producer: dict[str, Node] = graph.producers()
        self.users: dict[str, list[Node]] = graph.consumers()
        self._nodes = list(graph.nodes)
        self._alive = {id(node) for node in graph.nodes}
        # Place in execution order.  A new node has the place of the one that it replaces, or runs when first needed.
        self._place = {id(node): i for i, node in enumerate(graph.nodes)}
        self._counters: dict[str, int] = {}

    # ---- looking
    def nodes(self) -> list[Node]:
        """The nodes that existed when the pass began, in execution order (a copy: edit while walking)."""
        return list(self._nodes)

    def alive(self, node: Node) -> bool:
        return id(node) in self._alive

    def shape(self, name: str) -> tuple[int, ...]:
        return self.graph.tensors[name].shape

    def dtype(self, name: str) -> str:
        return self.graph.tensors[name].dtype

    def spec(self, name: str) -> Spec:
        tensor = self.graph.tensors[name]
        return Spec(tensor.shape, tensor.dtype)

    def is_constant(self, name: str) -> bool:
        return self.graph.tensors[name].is_constant

    def value(self, name: str) -> np.ndarray:
        """A constant as an array in logical order."""
        t = self.graph.tensors[name]
        return layouts.unpack(np.asarray(t.data), t.shape, t.dtype, t.layout)

    def scalar(self, name: str) -> float | None:
        """The value of a float constant with one element; None for everything else."""
        t = self.graph.tensors[name]
        if not t.is_constant or t.size != 1 or t.dtype != "float32":
            return None
        return float(self.value(name).reshape(-1)[0])

    def made_by(self, name: str, *kinds: str) -> Node | None:
        """The node that makes this tensor, if it is of one of these kinds."""
        node = self.producer.get(name)
        return node if node is not None and node.op in kinds else None

    def only_user(self, name: str) -> Node | None:
        """The one node that reads this tensor, once, when it is no output of the graph."""
        users = self.users[name]
        return users[0] if len(users) == 1 and name not in self.outputs else None

    # ---- changing
    def unique(self, stem: str) -> str:
        if stem not in self.graph.tensors:
            return stem
        n = self._counters.get(stem, 1)
        while f"{stem}_{n}" in self.graph.tensors:
            n += 1
        self._counters[stem] = n + 1
        return f"{stem}_{n}"

    def constant(self, array: np.ndarray, stem: str) -> str:
        name = self.unique(stem)
        array = np.ascontiguousarray(array).reshape(array.shape)
        self.graph.add(Tensor(name, tuple(int(d) for d in array.shape), str(array.dtype), array))
        self.users[name] = []
        return name

    def rearranged(self, name: str, function: Callable[[np.ndarray], np.ndarray], stem: str) -> str:
        """A new constant: function(constant `name`).  The function only moves, repeats or drops elements, so that the integers
        behind them go along."""
        made = self.constant(function(self.value(name)), stem)
        self.graph.tensors[made].integers = rearranged(self.graph.tensors[name].integers, function)
        return made

    def emit(self, op: str, inputs: list[str], attrs: dict[str, Any] | None = None, *, stem: str,
             output: str | None = None) -> str:
        """A new node; returns the name of its output.  `output` names a tensor that has lost its producer."""
        attrs = attrs or {}
        spec = make(op, attrs).infer(*(self.spec(name) for name in inputs))[0]
        if output is None:
            output = self.unique(stem)
            self.graph.add(Tensor(output, spec.shape, spec.dtype))
            self.users[output] = []
        node = Node(op, output, list(inputs), [output], attrs)
        self._nodes.append(node)
        self._alive.add(id(node))
        self.producer[output] = node
        for name in inputs:
            self.users[name].append(node)
        return output

    def set_inputs(self, node: Node, inputs: list[str]) -> None:
        for name in node.inputs:
            self._forget(name, node)
        node.inputs = list(inputs)
        for name in node.inputs:
            self.users[name].append(node)

    def set_output(self, node: Node, name: str, spec: Spec) -> None:
        """Let `node` make a new tensor instead; its old output is left without a producer."""
        del self.producer[node.outputs[0]]
        self.graph.add(Tensor(name, spec.shape, spec.dtype))
        self.users[name] = []
        node.outputs = [name]
        self.producer[name] = node

    def remove(self, node: Node) -> None:
        for name in node.inputs:
            self._forget(name, node)
        for name in node.outputs:
            if self.producer.get(name) is node:
                del self.producer[name]
        self._alive.discard(id(node))

    def can_replace(self, old: str, new: str) -> bool:
        """False where both names must stay: `old` is an output of the graph and `new` cannot take its name."""
        return old not in self.outputs or (new in self.producer and new not in self.outputs)

    def replace(self, old: str, new: str) -> None:
        """Everyone who reads `old` reads `new`; the node that made `old` goes.  Outputs of the graph keep their names.
        """
        place = self._place.get(id(self.producer[old]))
        self.remove(self.producer[old])
        if place is not None and new in self.producer:
            self._place.setdefault(id(self.producer[new]), place)
        for node in list(self.users[old]):
            self.set_inputs(node, [new if name == old else name for name in node.inputs])
        if old not in self.outputs:
            return
        if not self.can_replace(old, new):
            self.emit("reshape", [new], {"shape": self.shape(new)}, stem=old, output=old)
            return
        maker = self.producer.pop(new)
        maker.outputs = [old if name == new else name for name in maker.outputs]
        self.producer[old] = maker
        self.graph.tensors[old].shape = self.shape(new)
        for node in list(self.users[new]):
            self.set_inputs(node, [old if name == new else name for name in node.inputs])
        del self.graph.tensors[new]
        del self.users[new]

    def _forget(self, name: str, node: Node) -> None:
        users = self.users[name]
        for i, user in enumerate(users):
            if user is node:
                del users[i]
                return

    def finish(self) -> None:
        """Execution order (as close to the old one as dependencies allow), without dead nodes and unused tensors."""
        graph = self.graph
        needed: set[int] = set()
        stack = [self.producer[name] for name in graph.outputs if name in self.producer]
        while stack:
            node = stack.pop()
            if id(node) not in needed:
                needed.add(id(node))
                stack += self._makers(node)
        last = len(self._nodes)
        ordered: list[Node] = []
        done: set[int] = set()
        for root in sorted(self._nodes, key=lambda node: self._place.get(id(node), last)):
            stack = [root] if id(root) in needed else []
            while stack:
                node = stack[-1]
                waiting = [maker for maker in self._makers(node) if id(maker) not in done]
                if waiting and id(node) not in done:
                    stack += reversed(waiting)
                    continue
                stack.pop()
                if id(node) not in done:
                    done.add(id(node))
                    ordered.append(node)
        graph.nodes = ordered
        used = {*graph.inputs, *graph.outputs, *(n for node in ordered for n in (*node.inputs, *node.outputs))}
        graph.tensors = {name: t for name, t in graph.tensors.items() if name in used}

    def _makers(self, node: Node) -> list[Node]:
        return [self.producer[name] for name in node.inputs if name in self.producer]


def op_of(node: Node) -> Op:
    return make(node.op, node.attrs)


def has_activation(node: Node) -> bool:
    return node.attrs.get("activation", "none") != "none"


def is_integer_layer(ed: Editor, node: Node) -> bool:
    """Is this a float32 layer of integers with weights of integers, for the pass `integers`?"""
    return (ed.graph.tensors[node.inputs[1]].integers is not None
            and ed.made_by(node.inputs[0], "dequantize") is not None)
