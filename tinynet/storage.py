"""Which tensors share memory: views, concat and split without copies, results written over dead inputs.

Every tensor either owns memory or lies inside a parent:

    range      a run of consecutive elements of the parent (reshape; slice or concat along the first axis that counts)
    channels   the same rows, a part of each row (slice or concat along the last axis): rows are then `ld` elements
               apart, more than they are long.  Only kinds that say so in `strided()` read or write such rows.

Following the parents of a tensor gives its `Place`: the owner, where in it, and the distance between rows.
"""

from __future__ import annotations

import math
from collections import Counter

from tinynet.graph import DTYPES, Graph, Node
from tinynet.ops import Op
from tinynet.record import Record

# Tensors that move into a concat's output together; following more of them costs time that grows with their square.
MOST_MOVED = 200


class Place(Record):
    __slots__ = ("root", "offset", "ld")

    def __init__(self, root: str, offset: int, ld: int):
        self.root = root
        self.offset = offset        # elements
        self.ld = ld                # elements from one row (last axis) to the next


class Link(Record):
    __slots__ = ("parent", "offset", "channels")

    def __init__(self, parent: str, offset: int, channels: bool):
        self.parent = parent
        self.offset = offset        # elements of the parent counted as if it were contiguous (range), or channels
        self.channels = channels


def row_length(shape: tuple[int, ...]) -> int:
    return shape[-1] if shape else 1


class Storage:
    """`places[name]` for every tensor of the graph that is not a constant; `output_roots` maps an owner to the number
    of the graph output whose memory it is; `first` and `last` are the steps at which an owner lives."""

    def __init__(self, graph: Graph, operators: list[Op]):
        self.graph = graph
        self.ops = operators
        self.shape = {name: t.shape for name, t in graph.tensors.items()}
        self.links: dict[str, Link] = {}
        self.children: dict[str, list[str]] = {}
        self._resolved: dict[str, Place] = {}
        self._dead: dict[str, float] = {}        # owner that has children -> last use of them all
        self._outputs = set(graph.outputs)
        self.uses: dict[str, list[int]] = {name: [] for name in graph.tensors}
        self.made: dict[str, int] = {}
        for i, node in enumerate(graph.nodes):
            for name in node.inputs:
                self.uses[name].append(i)
            for name in node.outputs:
                self.made[name] = i
        self.fixed = set(graph.inputs) | set(graph.outputs) | {n for n, t in graph.tensors.items() if t.is_constant}
        for i, node in enumerate(graph.nodes):
            if node.op == "reshape":
                self._link_reshape(node)
            elif node.op == "slice":
                self._link_slice(i, node)
        for i, node in enumerate(graph.nodes):
            if node.op == "concat":
                self._link_concat(i, node)
        self._write_over_dead_inputs()
        self.places = {n: self._resolve(n) for n, t in graph.tensors.items() if not t.is_constant}
        self._claim_outputs()
        self._measure_lives()

    # ---- views

    def _add_link(self, child: str, link: Link) -> None:
        """`child` has owned its memory so far."""
        for member in self._family(child):
            self._resolved.pop(member, None)
        root = self._resolve(link.parent).root
        self._dead[root] = max(self._dead.get(root, self._death(root)), self._dead.get(child, self._death(child)))
        self.links[child] = link
        self.children.setdefault(link.parent, []).append(child)

    def _link_reshape(self, node: Node) -> None:
        x, y = node.inputs[0], node.outputs[0]
        if not self.graph.tensors[x].is_constant and self._may_view(x, y):
            self._add_link(y, Link(x, 0, False))

    def _may_view(self, x: str, y: str) -> bool:
        """Can y be consecutive elements of x?  If x's rows lie apart, y must have the same rows and patient readers."""
        row = row_length(self.shape[x])
        if self._resolve(x).ld == row or math.prod(self.shape[x][:-1]) <= 1:
            return True
        return row_length(self.shape[y]) == row and self._reads_rows(y)

    def _link_slice(self, i: int, node: Node) -> None:
        x, y, op = node.inputs[0], node.outputs[0], self.ops[i]
        shape = self.shape[x]
        if y in self.fixed or self.graph.tensors[x].is_constant or not math.prod(self.shape[y]):
            return
        if any(s != 1 for s, d in zip(op.step, self.shape[y], strict=True) if d > 1):
            return
        cut = [k for k, d in enumerate(shape) if self.shape[y][k] != d]
        if not cut:
            return
        if math.prod(shape[:cut[-1]]) == 1:
            if self._may_view(x, y):
                self._add_link(y, Link(x, op.begin[cut[-1]] * math.prod(shape[cut[-1] + 1:]), False))
        elif cut == [len(shape) - 1] and self._reads_rows(y):
            self._add_link(y, Link(x, op.begin[-1], True))

    def _link_concat(self, i: int, node: Node) -> None:
        y, axis = node.outputs[0], self.ops[i].axis
        shape = self.shape[y]
        along_rows = math.prod(shape[:axis]) == 1
        if not along_rows and axis != len(shape) - 1:
            return
        at = 0
        times = Counter(node.inputs)
        for x in node.inputs:
            owner = x
            while along_rows and owner in self.links and self._same_size(owner, self.links[owner].parent):
                owner = self.links[owner].parent
            if self._may_move(owner, times, along_rows):
                self._add_link(owner, Link(y, at * math.prod(shape[axis + 1:]), not along_rows))
            at += self.shape[x][axis]

    def _same_size(self, a: str, b: str) -> bool:
        return math.prod(self.shape[a]) == math.prod(self.shape[b])

    def _may_move(self, x: str, times: Counter[str], along_rows: bool) -> bool:
        """May x, which owns its memory so far, live inside the output of a concat that names its inputs so many `times`?"""
        if x in self.fixed or x in self.links or x not in self.made or not math.prod(self.shape[x]):
            return False
        family = self._family(x, MOST_MOVED)
        if len(family) > MOST_MOVED:
            return False
        if sum(times[name] for name in family) != 1 or any(name in self.fixed for name in family):
            return False
        if along_rows:
            return True
        writers = [name for name in family if not self._is_view(name)]
        return all(self.ops[self.made[name]].strided()[1] for name in writers) and self._reads_rows(x)

    def _is_view(self, x: str) -> bool:
        """Is x part of what it is made from, so that nobody writes it?"""
        return x in self.links and self.links[x].parent in self.graph.nodes[self.made[x]].inputs

    def _family(self, x: str, most: float = math.inf) -> set[str]:
        """x and all that lies in it; not all of it if that is more than `most`."""
        found, queue = {x}, [x]
        while queue and len(found) <= most:
            for child in self.children.get(queue.pop(), ()):
                found.add(child)
                queue.append(child)
        return found

    def _reads_rows(self, x: str) -> bool:
        """Could everybody who reads x do so if its rows lay further apart than they are long?"""
        queue = [x]
        while queue:
            x = queue.pop()
            children = self.children.get(x, ())
            row = row_length(self.shape[x])
            if x in self._outputs or not all(self.links[c].channels or row_length(self.shape[c]) == row for c in children):
                return False
            linked = {self.made[c] for c in children if c in self.made}
            if not all(i in linked or self.ops[i].strided()[0] for i in self.uses[x]):
                return False
            queue.extend(children)
        return True

    # ---- places

    def _resolve(self, name: str) -> Place:
        """Follows the parents, in a loop: a chain of views may be longer than Python's stack."""
        found = self._resolved.get(name)
        if found is not None:
            return found
        chain = [name]
        while chain[-1] not in self._resolved and chain[-1] in self.links:
            chain.append(self.links[chain[-1]].parent)
        for member in reversed(chain):
            if member not in self._resolved:
                self._resolved[member] = self._place(member)
        return self._resolved[name]

    def _place(self, name: str) -> Place:
        """Of a tensor whose parent is resolved."""
        link = self.links.get(name)
        row = row_length(self.shape[name])
        if link is None:
            return Place(name, 0, row)
        parent = self._resolved[link.parent]
        if link.channels:
            return Place(parent.root, parent.offset + link.offset, parent.ld)
        if row == row_length(self.shape[link.parent]) and row:
            return Place(parent.root, parent.offset + link.offset // row * parent.ld, parent.ld)
        return Place(parent.root, parent.offset + link.offset, row)

    def _root_death(self, name: str) -> float:
        root = self._resolve(name).root
        return self._dead.get(root, self._death(root))

    def _death(self, name: str) -> float:
        if name in self.fixed:
            return math.inf
        return max(self.uses[name], default=self.made.get(name, 0))

    def _write_over_dead_inputs(self) -> None:
        for i, node in enumerate(self.graph.nodes):
            y = node.outputs[0]
            if y in self.links or y in self._outputs or not math.prod(self.shape[y]):
                continue
            for k in self.ops[i].inplace():
                if k < len(node.inputs) and self._may_overwrite(i, node, node.inputs[k]):
                    self._add_link(y, Link(node.inputs[k], 0, False))
                    break

    def _may_overwrite(self, i: int, node: Node, x: str) -> bool:
        y, tensors = node.outputs[0], self.graph.tensors
        if tensors[x].is_constant or self.shape[x] != self.shape[y] or tensors[x].dtype != tensors[y].dtype:
            return False
        place = self._resolve(x)
        if place.root in self.fixed or self._root_death(x) != i:
            return False
        if place.ld != row_length(self.shape[x]) and not (self.ops[i].strided()[1] and self._reads_rows(y)):
            return False
        if node.inputs.count(x) > 1 and not self.ops[i].elementwise:
            return False
        return all(name == x or tensors[name].is_constant or self._resolve(name).root != place.root
                   for name in node.inputs)

    # ---- outputs and lives

    def _claim_outputs(self) -> None:
        """A graph output that fills its owner is written into the caller's array directly."""
        self.output_roots: dict[str, int] = {}
        for i, name in enumerate(self.graph.outputs):
            place = self.places.get(name)
            if (place is not None and place.root not in self.graph.inputs and place.root not in self.output_roots
                    and self._same_size(name, place.root) and self.contiguous(name)):
                self.output_roots[place.root] = i

    def contiguous(self, name: str) -> bool:
        rows = math.prod(self.shape[name][:-1])
        return rows <= 1 or self.places[name].ld == row_length(self.shape[name])

    def _measure_lives(self) -> None:
        self.first: dict[str, int] = {}
        self.last: dict[str, int] = {}
        for name, place in self.places.items():
            born = self.made.get(name, 0)
            end = len(self.graph.nodes) if name in self._outputs else max([born, *self.uses[name]])
            self.first[place.root] = min(born, self.first.get(place.root, born))
            self.last[place.root] = max(end, self.last.get(place.root, end))

    def nbytes(self, root: str) -> int:
        return math.prod(self.shape[root]) * DTYPES[self.graph.tensors[root].dtype]
