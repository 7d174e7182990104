"""Einsum, whatever the equation."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tinynet import reference
from tinynet.errors import FormatError


def arrays(lab, equation, sizes, ellipsis=((), (), ())):
    terms = equation.replace(" ", "").split("->")[0].split(",")
    shapes = []
    for term, hidden in zip(terms, ellipsis, strict=False):
        before, dots, after = term.partition("...")
        shapes.append((*(sizes[c] for c in before), *(hidden if dots else ()), *(sizes[c] for c in after)))
    return [np.asarray(lab.normal(*shape, seed=i)) for i, shape in enumerate(shapes)]


SIZES = {"i": 2, "j": 3, "k": 4, "l": 5, "b": 6, "h": 7, "q": 2, "d": 3, "e": 4, "A": 3, "a": 5}


@pytest.mark.parametrize("equation", [
    "ij,jk->ik", "ij,jk", "ij,kj->ik", "ij,jk->ki", "bij,bjk->bik", "bhqd,bhkd->bhqk", "bqhd,bkhd->bhqk", "bhqk,bkhd->bqhd",
    "bld,hde->bhle", "ij->ji", "ij->", "ij->i", "ij->j", "ij", "i,i->", "i,j->ij", "i,j->ji", "ij,ij->ij", "ij,ij->",
    "ij,i->ij", "ijk,jk->i", "ij,jk,kl->il", "ij,ik,il->jkl", "a,A->Aa", "i j , j k -> i k", "b,ij->bij", "ijk,k->kij"])
def test_equations(lab, equation):
    lab.op("Einsum", *(inputs := arrays(lab, equation, SIZES)), run=range(len(inputs)), equation=equation)


@pytest.mark.parametrize("equation", ["ii->i", "ii->", "ii", "bii->bi", "ibi->b", "iji->ij", "iii->i", "bii,bi->b",
                                      "iij,jk->ik"])
def test_diagonals(lab, equation):
    sizes = dict.fromkeys("ibjk", 3) | {"b": 4, "j": 5}
    inputs = arrays(lab, equation, sizes)
    model, feeds = lab.one("Einsum", *inputs, run=range(len(inputs)), equation=equation)
    found = reference.run(lab.import_(model), feeds)["y"]
    np.testing.assert_allclose(found, np.einsum(equation, *inputs), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("equation,hidden", [
    ("...ij,...jk->...ik", ((2, 3), (2, 3))), ("...ij,jk->...ik", ((2, 3), ())), ("...ij,...jk", ((6,), (1,))),
    ("...ij,...jk->...ik", ((1, 3), (4, 1))), ("i...->...i", ((2, 3),)), ("i...j->...", ((2,),)),
    ("...,...->...", ((2, 3), (2, 1))), ("b...d,...d->b...", ((2,), (2,))), ("...ij->...ji", ((),)), ("a,A", ((), ()))])
def test_ellipsis(lab, equation, hidden):
    inputs = arrays(lab, equation, SIZES, hidden)
    model, feeds = lab.one("Einsum", *inputs, run=range(len(inputs)), equation=equation)
    found = reference.run(lab.import_(model), feeds)["y"]
    np.testing.assert_allclose(found, np.einsum(equation, *inputs), rtol=1e-5, atol=1e-5)


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_any_equation(lab, data):
    """Extents 1 among them, labels repeated, operands of rank 0."""
    sizes = {c: data.draw(st.sampled_from([1, 2, 3, 4])) for c in "abcde"}
    terms = data.draw(st.lists(st.text("abcde", max_size=4), min_size=1, max_size=3))
    used = sorted(set("".join(terms)))
    result = "".join(data.draw(st.permutations(used)))[:data.draw(st.integers(0, len(used)))]
    equation = ",".join(terms) + data.draw(st.sampled_from(["", "->" + result]))
    inputs = arrays(lab, equation, sizes)
    if data.draw(st.booleans()):
        inputs = [np.asarray(np.round(3 * x)).astype(np.int64) for x in inputs]
    model, feeds = lab.one("Einsum", *inputs, run=range(len(inputs)), equation=equation)
    found = reference.run(lab.import_(model), feeds)["y"]
    expected = np.einsum(equation, *inputs)
    assert (found.shape, found.dtype) == (np.shape(expected), inputs[0].dtype)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


def test_matrix_products_are_matmul(lab):
    graph = lab.op("Einsum", *arrays(lab, "bhqd,bhkd->bhqk", SIZES), run=(0, 1), equation="bhqd,bhkd->bhqk")
    assert lab.kinds(graph) == ["reshape", "transpose", "reshape", "matmul", "reshape"]
    assert lab.kinds(lab.op("Einsum", *arrays(lab, "ij,jk->ik", SIZES), run=(0, 1), equation="ij,jk->ik")) == ["matmul"]


@pytest.mark.parametrize("equation,shapes,reason", [
    ("ij,jk->ik", [(2, 3)], "2 terms for 1 inputs"), ("i1->i", [(2, 3)], "is no term"), ("i......", [(2,)], "is no term"),
    ("ij->ii", [(2, 3)], "names an axis twice"), ("ij->k", [(2, 3)], "that no input has"),
    ("ijk->i", [(2, 3)], "for an input of rank 2"), ("i->i", [(2, 3)], "for an input of rank 2"),
    ("ij,jk", [(2, 3), (4, 5)], "the extents 3 and 4"), ("ii->i", [(2, 3)], "the extents 2 and 3")])
def test_malformed(lab, equation, shapes, reason):
    model, _ = lab.one("Einsum", *(lab.normal(*s) for s in shapes), run=range(len(shapes)), equation=equation)
    with pytest.raises(FormatError, match=reason):
        lab.import_(model)


def test_refusals(lab):
    assert "sums over its ellipsis" in lab.reason("Einsum", lab.normal(2, 3), equation="...->")
