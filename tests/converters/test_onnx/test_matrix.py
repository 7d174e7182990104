"""MatMul and Gemm."""

from __future__ import annotations

import numpy as np
import pytest

from tinynet import reference
from tinynet.errors import FormatError


@pytest.mark.parametrize("opset", [7, 9, 11, 13])
@pytest.mark.parametrize("trans_a", [0, 1])
@pytest.mark.parametrize("trans_b", [0, 1])
@pytest.mark.parametrize("c_shape,kinds", [((5,), 1), ((1, 5), 1), ((1,), 1), ((3, 1), 2), ((3, 5), 2)])
def test_gemm_constant_b(lab, opset, trans_a, trans_b, c_shape, kinds):
    a, b = lab.normal(*((4, 3) if trans_a else (3, 4))), lab.normal(*((5, 4) if trans_b else (4, 5)), seed=1)
    graph = lab.op("Gemm", a, b, lab.normal(*c_shape, seed=2), opset=opset, transA=trans_a, transB=trans_b,
                   alpha=0.5, beta=-2.0)
    assert len(graph.nodes) == kinds + trans_a and "dense" in lab.kinds(graph)


def test_gemm_other_forms(lab):
    a, b, c = lab.normal(3, 4), lab.normal(4, 5, seed=1), lab.normal(3, 5, seed=2)
    lab.op("Gemm", a, b)
    lab.op("Gemm", a, b, np.float32(3))
    lab.op("Gemm", a, b, c, run=(0, 2), beta=0.5)
    lab.op("Gemm", a, b, c, run=(0, 1, 2), alpha=2.0, beta=0.5)
    lab.op("Gemm", a, b.T.copy(), run=(0, 1), transB=1)
    lab.op("Gemm", a, b, c, run=(1,), alpha=2.0)


def test_gemm_square_weight_read_both_ways(lab):
    x, w = lab.normal(2, 4), lab.normal(4, 4, seed=1)
    nodes = [lab.node("Gemm", ["x", "w"], ["a"], transB=1), lab.node("Gemm", ["a", "w"], ["b"]),
             lab.node("Gemm", ["b", "w"], ["c"], alpha=2.0), lab.node("Gemm", ["c", "w"], ["y"], alpha=2.0, transB=1)]
    lab.check(lab.model(nodes, {"x": x}, constants={"w": w}), {"x": x})


@pytest.mark.parametrize("opset", [7, 9, 13])
@pytest.mark.parametrize("a,b", [((3, 4), (4, 5)), ((2, 3, 4), (4, 5)), ((4,), (4, 5)), ((3, 4), (4,)), ((4,), (4,)),
                                 ((2, 3, 4), (4,)), ((2, 3, 4), (2, 4, 5)), ((4,), (2, 4, 5)),
                                 ((2, 1, 3, 4), (3, 4, 2))])
def test_matmul(lab, opset, a, b):
    x, y = lab.normal(*a), lab.normal(*b, seed=1)
    for run in ((0,), (1,), (0, 1)):
        graph = lab.op("MatMul", x, y, opset=opset, run=run)
        assert ("dense" in lab.kinds(graph)) == (run == (0,) and len(b) <= 2)


@pytest.mark.parametrize("run", [(0,), (1,), (0, 1)])
@pytest.mark.parametrize("dtype", [np.int32, np.int64])
@pytest.mark.parametrize("a,b", [((3, 4), (4, 5)), ((4,), (2, 4, 5)), ((2, 1, 3, 4), (3, 4, 2))])
def test_matmul_of_integers(lab, dtype, run, a, b):
    """Products wrap around, as in numpy."""
    rng = np.random.default_rng(1)
    info = np.iinfo(dtype)
    x, y = (rng.integers(info.min, info.max, shape, dtype) for shape in (a, b))
    model, feeds = lab.one("MatMul", x, y, run=run)
    np.testing.assert_array_equal(reference.run(lab.import_(model), feeds)["y"], np.matmul(x, y))


@pytest.mark.parametrize("trans_a", [0, 1])
@pytest.mark.parametrize("trans_b", [0, 1])
@pytest.mark.parametrize("c_shape", [None, (), (5,), (3, 1), (1, 5), (3, 5)])
def test_gemm_of_integers(lab, trans_a, trans_b, c_shape):
    rng = np.random.default_rng(1)
    a, b = (rng.integers(-9, 9, s).astype(np.int32) for s in ((3, 4), (4, 5)))
    c = None if c_shape is None else np.asarray(rng.integers(-9, 9, c_shape), np.int32)
    expected = a @ b + (0 if c is None else c)
    a, b = (a.T.copy() if trans_a else a), (b.T.copy() if trans_b else b)
    model, feeds = lab.one("Gemm", *([a, b] if c is None else [a, b, c]), run=(0, 1), transA=trans_a, transB=trans_b)
    np.testing.assert_array_equal(reference.run(lab.import_(model), feeds)["y"], expected)
    assert "alpha 0.5" in lab.reason("Gemm", a, b, run=(0, 1), transA=trans_a, transB=trans_b, alpha=0.5)


@pytest.mark.parametrize("c_shape", [(), (1,), (5,), (1, 5), (3, 1), (1, 1), (3, 5)])
@pytest.mark.parametrize("run", [(0, 2), (0, 1, 2), (1, 2), (2,)])
def test_gemm_with_computed_c(lab, c_shape, run):
    a, b = lab.normal(4, 3), lab.normal(4, 5, seed=1)
    lab.op("Gemm", a, b, np.asarray(lab.normal(*c_shape, seed=2)), run=run, transA=1, alpha=0.5, beta=3.0)


def test_what_does_not_fit(lab):
    x = lab.normal(3, 4)
    for op, inputs, text in [("MatMul", (x, lab.normal(3, 4)), "do not fit"),
                             ("MatMul", (x, np.array(1, np.float32)), "one axis"),
                             ("Gemm", (x, x), "does not fit"),
                             ("Gemm", (x, lab.normal(4, 2), lab.normal(2, 3, 2)), "does not broadcast"),
                             ("Gemm", (lab.normal(2, 3, 4), x), "must be matrices")]:
        model, _ = lab.one(op, *inputs, run=(0, 1))
        with pytest.raises(FormatError, match=text):
            lab.import_(model)
