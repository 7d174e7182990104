"""Let the data lie in the order that the kernels want: move transposes to where they cost least, mostly to nowhere.

    before:  conv2d, transpose(NHWC->NCHW), relu, concat(axis 1), transpose(NCHW->NHWC), conv2d
    after:   conv2d, relu, concat(axis 3), conv2d

Around a transpose lies a *region*: nodes that do not care about the order of dimensions (`layout_rules.py`), joined
by the tensors between them.  Each node of a region may stay as it is, or work on permuted data.  Two that disagree
need a transpose of the tensor between them, which costs its bytes; a transpose that is already there, at the border,
costs nothing to one of the answers.  The cheapest answer for the whole region is a minimum cut, and is applied only
if it is cheaper than what is there.  Prices are (bytes and a little for each transpose, nodes, nodes off the
channels-last side), compared in this order.

Termination: a region is changed when (price of all transposes, number of moves) of the graph falls, which can happen
finitely often; at equal price, for the sake of fusion, only if some node works channels-last that this rule never
moved there before.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from tinynet.converters.passes import flatten_dense, merge_moves, moves
from tinynet.converters.passes.edit import Editor, op_of
from tinynet.converters.passes.layout_rules import Flip, Perm, flip
from tinynet.converters.passes.mincut import Cut
from tinynet.graph import DTYPES, Graph, Node
from tinynet.ops import Spec

BYTE, NODE = 1 << 24, 1 << 12      # prices: one byte moved, one node more (1: one node off the channels-last side)
STEP_BYTES = 4096                  # what it costs that a transpose is a step at all, in bytes moved
MAX_SWEEPS = 30
FLIP, SOURCE, BORDER, FLATTEN = range(4)        # the roles that a node can have in a region
IMAGE_KINDS = {"conv2d", "depthwise_conv2d", "conv_transpose2d", "max_pool2d", "average_pool2d", "resize",
               "depth_to_space", "space_to_depth", "channel_shuffle", "batch_norm", "dense", "lrn",
               "im2col2d", "col2im2d", "deform_im2col2d", "max_pool_indices", "max_unpool", "grid_sample", "roi_align",
               "max_roi_pool", "layer_norm", "group_norm"}


def apply(graph: Graph) -> int:
    count = 0
    favoured: set[int] = set()         # nodes that a tie has moved to the channels-last side
    keep_alive: list[Node] = []        # so that no id in `favoured` is used again
    for _ in range(MAX_SWEEPS):
        changed = _sweep(graph, favoured, keep_alive)
        if not changed:
            break
        count += changed
        merge_moves.apply(graph)
    return count


def _sweep(graph: Graph, favoured: set[int], keep_alive: list[Node]) -> int:
    ed = Editor(graph)
    seen: set[tuple[str, Perm]] = set()
    count = 0
    for node in ed.nodes():
        if node.op != "transpose" or not ed.alive(node):
            continue
        for below in (True, False):
            if not ed.alive(node) or not ed.users[node.outputs[0]] and node.outputs[0] not in ed.outputs:
                continue
            perm = tuple(node.attrs["perm"])
            tensor, wish = (node.outputs[0], moves.inverse(perm)) if below else (node.inputs[0], perm)
            if (tensor, wish) in seen or ed.is_constant(tensor):
                continue
            region = _Region(ed)
            region.grow(tensor, wish)
            seen.update(region.perms.items())
            wanted = _comes_from_image(ed, node) if below else _goes_to_image(ed, node)
            yes = region.solve(wanted, favoured)
            if yes:
                if wanted:
                    keep_alive += [flipped for flipped, _ in region.flips.values()]
                    favoured.update(key for role, key in yes if role == FLIP)
                region.rewrite(yes)
                count += 1
    ed.finish()
    return count


def _comes_from_image(ed: Editor, node: Node) -> bool:
    """Does the data come from an image kind, perhaps through reshapes?  Then what follows may be fused into it."""
    maker = ed.producer.get(node.inputs[0])
    while maker is not None and maker.op == "reshape":
        maker = ed.producer.get(maker.inputs[0])
    return maker is not None and maker.op in IMAGE_KINDS


def _goes_to_image(ed: Editor, node: Node) -> bool:
    """A transpose to channels-last for an image kind, which what is in front of it may be folded into."""
    perm = tuple(node.attrs["perm"])
    if perm != (0, *range(2, len(perm)), 1):
        return False
    todo = list(ed.users[node.outputs[0]])
    while todo:
        user = todo.pop()
        if user.op == "reshape":
            todo += ed.users[user.outputs[0]]
        elif user.op in IMAGE_KINDS:
            return True
    return False


@dataclass
class _Region:
    ed: Editor
    perms: dict[str, Perm] = field(default_factory=dict)                  # tensor -> how it would lie instead
    flips: dict[int, tuple[Node, Flip]] = field(default_factory=dict)
    borders: dict[int, tuple[Node, str, Perm]] = field(default_factory=dict)     # transposes that read a tensor of ours
    sources: dict[int, tuple[Node, str, Perm]] = field(default_factory=dict)     # transposes that make one
    flattens: dict[int, tuple[Node, flatten_dense.Plan]] = field(default_factory=dict)
    fixed: dict[int, Node] = field(default_factory=dict)

    # ---- finding the region
    def grow(self, tensor: str, perm: Perm) -> None:
        self.perms[tensor] = perm
        todo = [tensor]
        while todo:
            name = todo.pop()
            maker = self.ed.producer.get(name)
            if maker is not None:
                todo += self._join(maker, -1, name)
            for user in self.ed.users[name]:
                todo += self._join(user, user.inputs.index(name), name)

    def _join(self, node: Node, position: int, name: str) -> list[str]:
        """Take a neighbour in; returns tensors that have become part of the region with it."""
        perm, key = self.perms[name], id(node)
        if node.op == "transpose":
            q = tuple(node.attrs["perm"])
            # A transpose between two tensors of one region plays the part that it was found in first; in the other
            # it is fixed.
            if position < 0 and key not in self.borders:
                self.sources[key] = node, name, tuple(q[p] for p in perm)
            elif position >= 0 and key not in self.sources:
                self.borders[key] = node, name, tuple(perm.index(p) for p in q)
            return []
        if key in self.flips or key in self.flattens or key in self.fixed:
            return []
        change = flip(self.ed, node, position, perm)
        new = None if change is None else self._agree(node, change)
        if new is None:
            plan = flatten_dense.plan(self.ed, node, perm) if position == 0 and node.op == "reshape" else None
            if plan is not None:
                self.flattens[key] = node, plan
            else:
                self.fixed[key] = node
            return []
        self.flips[key] = node, change
        self.perms.update(new)
        return list(new)

    def _agree(self, node: Node, change: Flip) -> dict[str, Perm] | None:
        """Tensors that join together with this node; None if one of them already has another permutation."""
        new: dict[str, Perm] = {}
        pairs = [(node.outputs[0], change.output)]
        pairs += [(name, perm) for name, perm in zip(node.inputs, change.inputs, strict=True) if self._tied(name, perm)]
        for name, perm in pairs:
            if self.perms.get(name, new.get(name, perm)) != perm:
                return None
            if name not in self.perms:
                if _is_identity(perm):
                    continue
                new[name] = perm
        return new

    def _tied(self, name: str, perm: Perm | None) -> bool:
        """Is this input part of the region?  A constant is permuted now, one of lower rank gets a reshape of its own.
        """
        return perm is not None and not self.ed.is_constant(name) and len(perm) == len(self.ed.shape(name))

    # ---- prices
    def _bytes(self, name: str) -> int:
        return math.prod(self.ed.shape(name)) * DTYPES[self.ed.dtype(name)]

    def _price(self, name: str, shape: tuple[int, ...], perm: Perm) -> int:
        if _is_identity(perm):
            return 0
        return NODE + (0 if moves.transposed(shape, perm).is_view else BYTE * (STEP_BYTES + self._bytes(name)))

    def _own_price(self, node: Node, change: Flip) -> int:
        """Reshape and transpose of run-time inputs of lower rank, needed if this node is permuted."""
        price = 0
        for name, perm in zip(node.inputs, change.inputs, strict=True):
            if perm is not None and not self._tied(name, perm) and not self.ed.is_constant(name):
                price += self._price(name, _padded(self.ed.shape(name), len(perm)), perm)
        return price

    def solve(self, wanted: bool, favoured: set[int]) -> set[tuple[int, int]]:
        """(role, id) of the nodes that should work on permuted data; empty if that is no better than what is there."""
        cut, var = Cut(), {}
        today = 0
        for key, (node, change) in self.flips.items():
            off_side = int(wanted and key not in favoured)
            var[FLIP, key] = cut.variable(no=off_side, yes=self._own_price(node, change))
            today += off_side
        for role, found in ((SOURCE, self.sources), (BORDER, self.borders)):
            for key, (node, name, merged) in found.items():
                source = node.inputs[0]
                shape = self.ed.shape(source)
                now = self._price(source, shape, tuple(node.attrs["perm"]))
                if role == BORDER:
                    shape = tuple(shape[p] for p in self.perms[name])
                var[role, key] = cut.variable(no=now, yes=self._price(source, shape, merged))
                today += now
        for key in self.flattens:
            var[FLATTEN, key] = cut.variable()
        for name, perm in self.perms.items():
            maker = self._variable(var, self.ed.producer.get(name), SOURCE)
            readers = {self._variable(var, user, BORDER) for user in self.ed.users[name]}
            readers |= {0} if name in self.ed.outputs else set()
            cut.disagree(maker, sorted(readers), self._price(name, self.ed.shape(name), perm))
        price, yes = cut.solve()
        return {which for which, v in var.items() if v in yes} if price < today else set()

    @staticmethod
    def _variable(var: dict[tuple[int, int], int], node: Node | None, move_role: int) -> int:
        """The variable that speaks for this node beside a tensor; 0, always no, for what is fixed."""
        roles = (move_role,) if node is not None and node.op == "transpose" else (FLIP, FLATTEN)
        return next((var[role, id(node)] for role in roles if (role, id(node)) in var), 0)

    # ---- rewriting
    def rewrite(self, yes: set[tuple[int, int]]) -> None:
        ed = self.ed
        other: dict[str, str] = {}                                        # tensor -> the same data, permuted
        orphans: list[str] = []
        for key, (node, name, merged) in self.sources.items():
            if (SOURCE, key) in yes:
                other[name] = self._transpose(node.inputs[0], merged, name)
        flipped = [self.flips[key] for key in self.flips if (FLIP, key) in yes]
        for node, change in flipped:
            name = node.outputs[0]
            if not _is_identity(change.output):
                shape = tuple(ed.shape(name)[p] for p in change.output)
                other[name] = ed.unique(f"{name}/moved")
                ed.set_output(node, other[name], Spec(shape, ed.dtype(name)))
                orphans.append(name)
        for node, change in flipped:
            ed.set_inputs(node, [self._permuted(n, p, other) for n, p in zip(node.inputs, change.inputs, strict=True)])
            node.attrs = {**node.attrs, **change.attrs}
        for key, (node, plan) in self.flattens.items():
            if (FLATTEN, key) in yes:
                ed.set_inputs(node, [self._permuted(node.inputs[0], self.perms[node.inputs[0]], other)])
                plan.permute_weights(ed)
        for name in orphans:
            if ed.users[name] or name in ed.outputs:
                ed.emit("transpose", [other[name]], {"perm": moves.inverse(self.perms[name])}, stem=name, output=name)
        for key, (node, name, merged) in self.borders.items():
            if (BORDER, key) in yes:
                old = node.outputs[0]
                new = self._transpose(self._permuted(name, self.perms[name], other), merged, old)
                ed.replace(old, new)
                if new not in ed.graph.tensors:        # it took the name of an output of the graph
                    other = {k: old if v == new else v for k, v in other.items()}

    def _transpose(self, name: str, perm: Perm, stem: str) -> str:
        if _is_identity(perm):
            return name
        return self.ed.emit("transpose", [name], {"perm": perm}, stem=f"{stem}/transposed")

    def _permuted(self, name: str, perm: Perm | None, other: dict[str, str]) -> str:
        ed = self.ed
        if perm is None or _is_identity(perm):
            return name
        if ed.is_constant(name):
            full = _padded(ed.shape(name), len(perm))
            return ed.rearranged(name, lambda a: a.reshape(full).transpose(perm), f"{name}/moved")
        if not self._tied(name, perm):
            full = ed.emit("reshape", [name], {"shape": _padded(ed.shape(name), len(perm))}, stem=f"{name}/full")
            return self._transpose(full, perm, name)
        if name not in other:
            other[name] = self._transpose(name, perm, name)
        return other[name]


def _is_identity(perm: Perm) -> bool:
    return tuple(perm) == tuple(range(len(perm)))


def _padded(shape: tuple[int, ...], rank: int) -> tuple[int, ...]:
    return (1,) * (rank - len(shape)) + tuple(shape)


def transposed_bytes(graph: Graph) -> int:
    """Bytes that all transposes of the graph move: what this pass makes small."""
    total = 0
    for node in graph.nodes:
        if node.op == "transpose":
            tensor = graph.tensors[node.inputs[0]]
            if not moves.transposed(tensor.shape, op_of(node).perm).is_view:
                total += tensor.size * DTYPES[tensor.dtype]
    return total
