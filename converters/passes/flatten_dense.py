"""A flatten between an image and a dense layer reads the image as it lies; the dense weights are reordered instead.

    before:  x [N,H,W,C], transpose(0,3,1,2), reshape [N, C H W], dense(w)
    after:   x [N,H,W,C], reshape [N, H W C], dense(w')            w'[o, (h,w,c)] = w[o, (c,h,w)]

Not a pass of its own: the layout pass asks `plan` when a permuted tensor runs into such a reshape.  Between the two
may stand what works element by element, and constants along the last axis, which are reordered too.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from tinynet.converters.passes.edit import Editor, op_of
from tinynet.graph import Node


@dataclass
class Plan:
    split: tuple[int, ...]                       # dimensions that the last axis is made of
    perm: tuple[int, ...]                        # their new order
    weights: list[tuple[Node, int]]              # (node, which input): constants whose last axis is reordered

    def permute_weights(self, ed: Editor) -> None:
        for node, position in self.weights:
            inputs = list(node.inputs)
            inputs[position] = ed.rearranged(inputs[position], self.moved, f"{inputs[position]}/moved")
            ed.set_inputs(node, inputs)

    def moved(self, value: np.ndarray) -> np.ndarray:
        lead = value.ndim - 1
        parts = value.reshape(*value.shape[:-1], *self.split)
        return parts.transpose(*range(lead), *(lead + p for p in self.perm)).reshape(value.shape)


def plan(ed: Editor, node: Node, perm: tuple[int, ...]) -> Plan | None:
    """For `node` = reshape(x) -> [..., K] where x is to lie as x.transpose(perm): None unless everything that reads the
    result can be reordered along K, and the other dimensions keep their place."""
    shape, target = ed.shape(node.inputs[0]), ed.shape(node.outputs[0])
    if len(target) < 2 or math.prod(target) == 0:
        return None
    first = len(shape)
    while first > 0 and math.prod(shape[first:]) < target[-1]:
        first -= 1
    if math.prod(shape[first:]) != target[-1] or tuple(perm[:first]) != tuple(range(first)):
        return None
    weights: list[tuple[Node, int]] = []
    if not _collect(ed, node.outputs[0], weights):
        return None
    return Plan(tuple(shape[first:]), tuple(p - first for p in perm[first:]), weights)


def _collect(ed: Editor, name: str, weights: list[tuple[Node, int]]) -> bool:
    if name in ed.outputs or not ed.users[name]:
        return False
    for user in ed.users[name]:
        if user.op == "dense" and name not in user.inputs[1:]:
            weights.append((user, 1))
            continue
        if user.op == "batch_norm":
            weights += [(user, 1), (user, 2)]
        elif op_of(user).elementwise:
            for i, other in enumerate(user.inputs):
                if other == name or i in op_of(user).constant_inputs:
                    continue
                if not ed.is_constant(other) or math.prod(ed.shape(other)[:-1]) != 1:
                    return False
                if math.prod(ed.shape(other)) != 1:
                    weights.append((user, i))
        else:
            return False
        if ed.shape(user.outputs[0]) != ed.shape(name) or not _collect(ed, user.outputs[0], weights):
            return False
    return True
