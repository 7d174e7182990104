"""Reductions."""

from __future__ import annotations

import numpy as np
import pytest

from tinynet import reference
from tinynet.errors import FormatError

KINDS = ["ReduceMean", "ReduceSum", "ReduceMax", "ReduceMin", "ReduceProd", "ReduceL1", "ReduceL2", "ReduceSumSquare",
         "ReduceLogSum", "ReduceLogSumExp"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("axes", [None, [1], [-1], [3, 2], [0, 1, 2, 3]])
@pytest.mark.parametrize("keepdims", [0, 1])
def test_reductions(lab, kind, axes, keepdims):
    x = lab.normal(2, 3, 4, 5)
    x = np.abs(x) + np.float32(0.5) if kind in ("ReduceLogSum", "ReduceProd") else x
    attribute = {} if axes is None else {"axes": axes}
    since = 13 if kind == "ReduceSum" else 18
    for opset in (7, 11) if since == 13 else (7, 11, 13):
        if opset >= 11 or not any(a < 0 for a in axes or ()):
            lab.op(kind, x, opset=opset, keepdims=keepdims, **attribute)
    inputs = () if axes is None else (lab.ints(*axes),)
    for opset in (since, 20):
        lab.op(kind, x, *inputs, opset=opset, keepdims=keepdims)


@pytest.mark.parametrize("kind", KINDS)
def test_reductions_of_integers(lab, kind):
    x = np.arange(1, 13, dtype=np.int32).reshape(3, 4)
    if kind.startswith("ReduceLog"):
        assert "int32" in lab.reason(kind, x, lab.ints(1), opset=18)
    else:
        lab.op(kind, x, lab.ints(1), opset=18, keepdims=0)
    if kind in ("ReduceMax", "ReduceMin"):
        lab.op(kind, x % 3 == 0, lab.ints(1), opset=20, keepdims=0)


def test_reduction_without_axes(lab):
    x = lab.normal(2, 3)
    assert lab.kinds(lab.op("ReduceSum", x, lab.ints(), opset=13, noop_with_empty_axes=1)) == ["reshape"]
    assert lab.kinds(lab.op("ReduceSum", x, lab.ints(), opset=13)) == ["reduce_sum"]
    assert lab.kinds(lab.op("ReduceMean", x, opset=18, noop_with_empty_axes=1)) == ["reshape"]
    assert "axes computed at run time" in lab.reason("ReduceMean", x, lab.ints(0), opset=18, run=(0, 1))


@pytest.mark.parametrize("kind", KINDS)
def test_every_element_is_a_set_without_axes_or_dimensions(lab, kind):
    """What does not add is still done: the absolute value, the square, the logarithm.  Judged by the onnx package, because
    onnxruntime returns the input."""
    x = np.abs(lab.normal(2, 3))
    model, feeds = lab.one(kind, x, lab.ints(), opset=18, noop_with_empty_axes=1)
    (expected,) = lab.onnx.reference.ReferenceEvaluator(model).run(None, feeds)
    graph = lab.import_(model)
    np.testing.assert_allclose(reference.run(graph, feeds)["y"], expected, rtol=1e-6, atol=1e-6)
    lab.op(kind, np.asarray(np.float32(2.5)), opset=18)
    lab.op(kind, np.asarray(np.float32(2.5)), opset=13, keepdims=0)


@pytest.mark.parametrize("opset", [7, 11, 12, 13])
@pytest.mark.parametrize("axis,keepdims", [(0, 1), (1, 0), (2, 1)])
def test_arg_max(lab, opset, axis, keepdims):
    x = np.random.default_rng(0).integers(0, 3, (2, 5, 4)).astype(np.float32)
    for kind in ("ArgMax", "ArgMin"):
        lab.op(kind, x, opset=opset, axis=axis, keepdims=keepdims)
        if opset >= 12:
            lab.op(kind, x, opset=opset, axis=axis - 3, keepdims=keepdims, select_last_index=1)


def test_arg_max_defaults(lab):
    lab.op("ArgMax", lab.normal(3, 4))


@pytest.mark.parametrize("kind,opset", [("CumSum", 11), ("CumSum", 14), ("CumProd", 26)])
@pytest.mark.parametrize("axis", [0, -1])
def test_cumulation(lab, kind, opset, axis):
    for exclusive, reverse in [(0, 0), (0, 1), (1, 0), (1, 1)]:
        lab.op(kind, lab.normal(3, 4), np.asarray(axis), opset=opset, exclusive=exclusive, reverse=reverse)
    lab.op(kind, np.arange(12).reshape(3, 4), np.asarray(axis, np.int32), opset=opset)
    assert "axis computed at run time" in lab.reason(kind, lab.normal(3), np.asarray(0), opset=opset, run=(0, 1))
    model, _ = lab.one(kind, lab.normal(3), lab.ints(0, 0), opset=opset)
    with pytest.raises(FormatError, match="axis must be one number, found 2"):
        lab.import_(model)


@pytest.mark.parametrize("largest", [0, 1])
def test_top_k(lab, largest):
    x = np.round(lab.normal(3, 7, 4))
    lab.op("TopK", x[:, :, 0], opset=7, outputs=2, k=3)
    lab.op("TopK", x, lab.ints(3), opset=10, outputs=2, axis=1)
    for opset in (11, 24):
        lab.op("TopK", x, lab.ints(2), opset=opset, outputs=2, largest=largest)
        lab.op("TopK", (10 * x).astype(np.int64), lab.ints(7), opset=opset, outputs=2, largest=largest, axis=-2)
    model, _ = lab.one("TopK", x, lab.ints(5), outputs=2)
    with pytest.raises(FormatError, match="K = 5 of 4 elements along axis 2"):
        lab.import_(model)


@pytest.mark.parametrize("p", [1, 2])
@pytest.mark.parametrize("axis", [-1, 1])
def test_lp_normalization(lab, p, axis):
    x = lab.normal(2, 3, 4)
    for opset in (7, 22):
        lab.op("LpNormalization", x, opset=opset, p=p, axis=axis)
    x[0, 1], x[1, :, 2] = 0, 0
    graph = lab.import_(lab.one("LpNormalization", x, p=p, axis=axis)[0])
    assert not reference.run(graph, {"x0": x})["y"][x == 0].any()


@pytest.mark.parametrize("axes", [None, [0, 2, 3], [-1], [1, 2]])
def test_mean_variance_normalization(lab, axes):
    for opset in (9, 13):
        lab.op("MeanVarianceNormalization", 3 + lab.normal(2, 3, 4, 5), opset=opset, **({} if axes is None else {"axes": axes}))
