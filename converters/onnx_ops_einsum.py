"""ONNX Einsum in terms of transpose, reshape, matmul, mul and reduce_sum; see `onnx_ops.py` for the calling convention.

Operands are combined from left to right.  Labels of two operands are of four sorts: kept ones that both have (batch), summed
ones that both have (contracted), and those that only the left or only the right one has:

    left [batch, left, contracted] x right [batch, contracted, right]  ->  [batch, left, right]

A label that a single operand has and nobody asks for is summed there at once; axes of extent 1 broadcast, so they are left
out until the end.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from typing import NamedTuple

from tinynet.converters.onnx_builder import Builder, Malformed, Operator, Refuse, Value


class Term(NamedTuple):
    """An operand and the label of each of its axes."""

    value: Value
    labels: tuple[str, ...]

    def extent(self, label: str) -> int:
        return self.value.shape[self.labels.index(label)]


def einsum(b: Builder, *inputs: Value, equation: str) -> Value:
    terms, output = _parse(equation, [x.rank for x in inputs])
    extents = _extents(inputs, terms)
    operands = [_single(b, Term(x, labels)) for x, labels in zip(inputs, terms, strict=True)]
    left = operands.pop(0)
    while True:
        left = _summed(b, left, {*output}.union(*(right.labels for right in operands)))
        if not operands:
            break
        right = operands.pop(0)
        kept = {*output}.union(*(term.labels for term in operands))
        left = _product(b, left, _summed(b, right, kept | {*left.labels}), kept, output)
    y = _ordered(b, left, [label for label in output if label in left.labels])
    return b.reshape(y, tuple(extents[label] for label in output), "result")


def _parse(equation: str, ranks: list[int]) -> tuple[list[tuple[str, ...]], tuple[str, ...]]:
    """Labels of every operand's axes, and of the result's.  Axes under an ellipsis are called .0, .1, ..., counted from the
    last one, so that operands of different rank broadcast."""
    left, arrow, right = equation.replace(" ", "").partition("->")
    texts = left.split(",")
    for text in (*texts, right):
        if not re.fullmatch(r"[A-Za-z]*(\.\.\.)?[A-Za-z]*", text):
            raise Malformed(f"equation {equation!r}: {text!r} is no term")
    if len(texts) != len(ranks):
        raise Malformed(f"equation {equation!r} has {len(texts)} terms for {len(ranks)} inputs")
    hidden = [rank - len(text.replace("...", "")) for text, rank in zip(texts, ranks, strict=True)]
    for text, rank, more in zip(texts, ranks, hidden, strict=True):
        if more < 0 or more and "..." not in text:
            raise Malformed(f"equation {equation!r}: term {text!r} for an input of rank {rank}")
    most = max(hidden)

    def labels(text: str, more: int) -> tuple[str, ...]:
        before, dots, after = text.partition("...")
        return (*before, *(f".{i}" for i in reversed(range(more if dots else 0))), *after)

    terms = [labels(text, more) for text, more in zip(texts, hidden, strict=True)]
    times = Counter(label for term in terms for label in term)
    if not arrow:
        return terms, (*labels("...", most), *sorted(k for k, n in times.items() if n == 1 and k[0] != "."))
    result = labels(right, most)
    if len(set(result)) != len(result) or not set(result) <= times.keys():
        raise Malformed(f"equation {equation!r}: the result names an axis twice, or one that no input has")
    if most and "..." not in right:
        raise Refuse(f"equation {equation!r} sums over its ellipsis")
    return terms, result


def _extents(inputs: tuple[Value, ...], terms: list[tuple[str, ...]]) -> dict[str, int]:
    extents: dict[str, int] = {}
    for x, labels in zip(inputs, terms, strict=True):
        for label, extent in zip(labels, x.shape, strict=True):
            known = extents.setdefault(label, extent)
            if known == 1:
                extents[label] = extent
            elif extent not in (1, known):
                raise Malformed(f"axis {label!r} has the extents {known} and {extent}")
    return extents


def _single(b: Builder, term: Term) -> Term:
    """Without axes of extent 1, and with every label once: of a repeated one the diagonal is taken."""
    value, labels = term
    for label in [k for k, n in Counter(labels).items() if n > 1]:
        while labels.count(label) > 1:
            first, second = [i for i, k in enumerate(labels) if k == label][:2]
            others = [i for i in range(len(labels)) if i not in (first, second)]
            n = value.shape[first]
            if value.shape[second] != n:
                raise Malformed(f"the diagonal of axes {label!r} of the extents {n} and {value.shape[second]}")
            value = b.transpose(value, (*others, first, second), "diagonal")
            value = b.reshape(value, (*value.shape[:-2], n * n), "diagonal")
            value = b.emit("slice", value, begin=(0,) * value.rank, end=value.shape, part="diagonal",
                           step=(*(1 for _ in others), n + 1))
            labels = (*(labels[i] for i in others), label)
    kept = [i for i, extent in enumerate(value.shape) if extent != 1]
    return Term(b.reshape(value, tuple(value.shape[i] for i in kept), "squeeze"), tuple(labels[i] for i in kept))


def _summed(b: Builder, term: Term, kept: set[str]) -> Term:
    """Summed over the labels that are not in `kept`."""
    axes = tuple(i for i, label in enumerate(term.labels) if label not in kept)
    if not axes:
        return term
    return Term(b.emit("reduce_sum", term.value, axes=axes, keepdims=False, part="sum"),
                tuple(label for label in term.labels if label in kept))


def _ordered(b: Builder, term: Term, labels: list[str]) -> Value:
    return b.transpose(term.value, tuple(term.labels.index(label) for label in labels), "transpose")


def _product(b: Builder, a: Term, c: Term, kept: set[str], output: tuple[str, ...]) -> Term:
    """Multiplied, and summed over what both have and is not in `kept`."""
    both = [label for label in a.labels if label in c.labels]
    batch = [label for label in both if label in kept]
    contracted = [label for label in both if label not in kept]
    only_a, only_c = ([label for label in p.labels if label not in q.labels] for p, q in ((a, c), (c, a)))
    if only_a and only_c and only_a[0] in output and only_c[0] in output and output.index(only_c[0]) < output.index(only_a[0]):
        a, c, only_a, only_c = c, a, only_c, only_a
    if not contracted or a.value.dtype != "float32":
        return _broadcast_product(b, a, c, batch, only_a, only_c, contracted)

    def size(labels: list[str], term: Term) -> int:
        return math.prod(term.extent(label) for label in labels)

    front = (size(batch, a),) if batch else ()
    k = size(contracted, a)
    x = b.reshape(_ordered(b, a, batch + only_a + contracted), (*front, size(only_a, a), k), "left")
    y = b.reshape(_ordered(b, c, batch + contracted + only_c), (*front, k, size(only_c, c)), "right")
    shape = (*(a.extent(label) for label in batch + only_a), *(c.extent(label) for label in only_c))
    return Term(b.reshape(b.emit("matmul", x, y), shape, "product"), (*batch, *only_a, *only_c))


def _broadcast_product(b: Builder, a: Term, c: Term, batch: list[str], only_a: list[str], only_c: list[str],
                       contracted: list[str]) -> Term:
    """Element by element: nothing is summed, or the numbers are integers, which have no matmul."""
    labels = batch + only_a + only_c + contracted
    x, y = (b.reshape(_ordered(b, term, [label for label in labels if label in term.labels]),
                      tuple(term.extent(label) if label in term.labels else 1 for label in labels), part)
            for term, part in ((a, "left"), (c, "right")))
    return _summed(b, Term(b.emit("mul", x, y), tuple(labels)), {*batch, *only_a, *only_c})


OPERATORS = {"Einsum": Operator(einsum, (12, 28))}
