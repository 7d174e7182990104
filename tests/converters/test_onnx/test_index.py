"""Operators that select or place data by numbers that are data themselves."""

from __future__ import annotations

import numpy as np
import pytest

from tinynet import reference
from tinynet.errors import FormatError, UnsupportedOpError


def format_error(lab, match, *args, **options):
    model, _ = lab.one(*args, **options)
    with pytest.raises(FormatError, match=match):
        lab.import_(model)


def shortened(graph, feeds):
    """The graph's outputs, those whose length the data decide cut to it."""
    found = reference.run(graph, feeds)
    counts = {name for _, name in graph.counts.values()}
    for name, (axis, count) in graph.counts.items():
        found[name] = found[name][(slice(None),) * axis + (slice(int(found[count])),)]
    return [found[name] for name in graph.outputs if name not in counts]


def check(lab, op_type, *inputs, outputs=1, opset=17, run=None, **attributes):
    """As lab.op, for outputs whose length the data decide."""
    run = [i for i, a in enumerate(inputs) if a is not None] if run is None else run
    model, feeds = lab.one(op_type, *inputs, opset=opset, run=run, outputs=outputs, **attributes)
    graph = lab.import_(model)
    for found, expected in zip(shortened(graph, feeds), lab.ort_run(model, feeds), strict=True):
        assert (found.shape, found.dtype) == (expected.shape, expected.dtype)
        np.testing.assert_array_equal(found, expected)
    return graph


@pytest.mark.parametrize("indices,axis,kinds", [
    (np.asarray(1), 0, ["slice", "reshape"]), (np.asarray(-1), 2, ["slice", "reshape"]),
    (np.array([0, 2, -1]), 1, ["gather"]), (np.array([[1, 0], [3, 3]], np.int32), -1, ["gather"]),
    (np.array([2]), 0, ["gather"])])
def test_gather(lab, indices, axis, kinds):
    for opset in (7, 11, 13):
        if opset >= 11 or (axis >= 0 and (indices >= 0).all()):
            assert lab.kinds(lab.op("Gather", lab.normal(3, 4, 5), indices, opset=opset, axis=axis)) == kinds


def test_gather_errors(lab):
    format_error(lab, "index 0 to 3 is outside axis 0", "Gather", lab.normal(3, 4), lab.ints(0, 3))
    format_error(lab, "index -4 to 0 is outside axis 0", "Gather", lab.normal(3, 4), lab.ints(0, -4))
    format_error(lab, "indices of type float32", "Gather", lab.normal(3, 4), lab.normal(2), run=(1,))


@pytest.mark.parametrize("opset", [7, 11, 13, 21])
@pytest.mark.parametrize("kind", [np.int64, np.int32])
def test_gather_by_computed_indices(lab, opset, kind):
    x = lab.normal(5, 3, 4)
    for axis, picks in ((0, [[4, 0, 2]]), (1, [0, 2]), (2, 3)):
        indices = np.array(picks, kind)
        if opset >= 11:
            indices = np.where(indices == 2, -1, indices).astype(kind)
        for run in ((0, 1), (1,)):
            assert lab.kinds(lab.op("Gather", x, indices, opset=opset, run=run, axis=axis)) == ["gather"]


@pytest.mark.parametrize("run", [(0,), (0, 1), (1,)])
def test_gather_elements_and_nd(lab, run):
    x = lab.normal(3, 4, 5)
    for opset in (11, 13):
        lab.op("GatherElements", x, np.array([[[0, -1, 2]], [[1, 1, -3]]]), opset=opset, run=run, axis=0)
        lab.op("GatherElements", x, np.array([[[0, -5]]], np.int32), opset=opset, run=run, axis=-1)
        lab.op("GatherND", x, np.array([[0, -1], [2, 3]]), opset=opset, run=run)
    for batch_dims in (0, 1):
        lab.op("GatherND", x, np.array([[1], [-2], [0]]), opset=12, run=run, batch_dims=batch_dims)


@pytest.mark.parametrize("opset,reductions", [(11, [None]), (13, [None]), (16, ["none", "add", "mul"]),
                                              (18, ["add", "mul", "max", "min"])])
def test_scatter(lab, opset, reductions):
    x, updates = lab.normal(4, 3), lab.normal(2, 3, seed=1)
    for reduction in reductions:
        attributes = {} if reduction is None else {"reduction": reduction}
        for run in ((0, 1, 2), (0,), (2,)):
            lab.op("ScatterElements", x, np.array([[0, 1, -1], [3, 0, 2]]), updates, opset=opset, run=run, **attributes)
            lab.op("ScatterND", x, np.array([[0], [-1]]), updates, opset=opset, run=run, **attributes)


def test_old_scatter(lab):
    for opset in (9, 10):
        lab.op("Scatter", lab.normal(4, 3), np.array([[0, 1, 2]]), lab.normal(1, 3), opset=opset, run=(0, 1, 2))
        lab.op("Scatter", lab.normal(4, 3), np.array([[0, 2]], np.int32), lab.normal(1, 2), opset=opset, axis=1)
    assert lab.reason("Scatter", lab.normal(4, 3), np.array([[0, 1, 2]]), lab.normal(1, 3), opset=11) == \
        "opset 11 has no such operator"


def test_one_hot(lab):
    indices, values = np.array([[2, -1], [7, 0]]), np.array([0.5, 2], np.float32)
    for opset in (9, 11):
        lab.op("OneHot", indices, np.array(4), values, opset=opset)
        lab.op("OneHot", indices, np.array([4]), values, opset=opset, run=(0, 2), axis=0)
        lab.op("OneHot", indices, np.array(4), values, opset=opset, axis=-2)
    assert "depth computed at run time" in lab.reason("OneHot", indices, np.array(4), values, run=(0, 1))
    format_error(lab, "depth must be one number", "OneHot", indices, np.array([4, 4]), values)


def test_trilu(lab):
    x = lab.normal(2, 3, 4)
    lab.op("Trilu", x, opset=14)
    for k in (-9, -1, 0, 2):
        lab.op("Trilu", x, np.array(k), opset=14, upper=0)
        lab.op("Trilu", np.arange(12).reshape(3, 4), np.array(k), opset=14)
    assert "k computed at run time" in lab.reason("Trilu", x, np.array(1), run=(0, 1))


def test_reverse_sequence(lab):
    x = lab.normal(4, 3, 2)
    lab.op("ReverseSequence", x, lab.ints(1, 4, 2), opset=10)
    lab.op("ReverseSequence", x, lab.ints(1, 3, 2, 3), opset=10, run=(0, 1), batch_axis=0, time_axis=1)


def test_constants(lab):
    for opset in (9, 20, 21):
        graph = lab.op("ConstantOfShape", lab.ints(2, 0, 3), opset=opset, run=())
        assert lab.kinds(graph) == ["reshape"]
    for values in ((0, 7, 2), (5, -4, -3), (1, 1, 1), (3, 1, 1)):
        lab.op("Range", *(np.array(v) for v in values), opset=11, run=())
        lab.op("Range", *(np.array(v, np.float32) for v in values), opset=11, run=())
    x = lab.normal(3, 4)
    for opset in (9, 22):
        lab.op("EyeLike", x, opset=opset, k=1)
        lab.op("EyeLike", x, opset=opset, k=-2, dtype=7)
    format_error(lab, "rank 1", "EyeLike", lab.normal(3), opset=9)
    assert "shape computed at run time" in lab.reason("ConstantOfShape", lab.ints(2), opset=9)


@pytest.mark.parametrize("opset", [9, 11])
def test_compress(lab, opset):
    x, condition = lab.normal(4, 3), np.array([True, False, True])
    for axis in (0, 1, None) + ((-1,) if opset >= 11 else ()):
        attributes = {} if axis is None else {"axis": axis}
        check(lab, "Compress", x, condition, opset=opset, **attributes)
        assert "gather" in lab.kinds(check(lab, "Compress", x, condition, opset=opset, run=(0,), **attributes))
    format_error(lab, "condition of shape .4. for axis 1", "Compress", x, np.ones(4, bool), opset=opset, run=(0, 1), axis=1)


@pytest.mark.parametrize("opset", [9, 13])
def test_non_zero(lab, opset):
    ints = np.array([[1, 0, 2], [0, 0, 3]])
    for x in (ints, np.zeros((2, 3), np.float32), np.array(4.0, np.float32), np.array([True, False])):
        check(lab, "NonZero", x, opset=opset)


def test_unique(lab):
    x = np.array([[2, 1, 2], [2, 1, 2], [0, 1, 0]], np.float32)
    for attributes in ({}, {"sorted": 0}, {"axis": 0}, {"axis": -1, "sorted": 0}):
        check(lab, "Unique", x, opset=11, outputs=4, **attributes)


def test_what_reads_a_result_of_unknown_length(lab):
    """It may be transposed and cast; what depends on its length is refused."""
    x = np.array([[1, 0, 2], [0, 0, 3]])
    nodes = [lab.node("NonZero", ["x"], ["a"]), lab.node("Transpose", ["a"], ["b"]), lab.node("Cast", ["b"], ["y"], to=6)]
    model = lab.model(nodes, {"x": x})
    (found,), (expected,) = shortened(lab.import_(model), {"x": x}), lab.ort_run(model, {"x": x})
    np.testing.assert_array_equal(found, expected)
    for kind in ("Shape", "Size", "EyeLike", "Squeeze", "ReduceSum"):
        nodes = [lab.node("NonZero", ["x"], ["i"]), lab.node("Cast", ["i"], ["a"], to=1), lab.node(kind, ["a"])]
        model = lab.model(nodes, {"x": x})
        with pytest.raises(UnsupportedOpError, match="depends on the data"):
            lab.import_(model)


@pytest.mark.parametrize("center", [0, 1])
@pytest.mark.parametrize("run", [(0, 1), (0, 1, 2, 3, 4), (1, 2)])
def test_non_max_suppression(lab, center, run):
    r = np.random.default_rng(1)
    boxes, scores = r.random((2, 9, 4), np.float32), r.random((2, 3, 9), np.float32)
    for opset in (10, 11):
        graph = check(lab, "NonMaxSuppression", boxes, scores, np.array([4]), np.array([0.3], np.float32),
                      np.array([0.2], np.float32), opset=opset, run=run, center_point_box=center)
        assert graph.tensors["y"].shape == (2 * 3 * (9 if 2 in run else 4), 3)


def test_non_max_suppression_with_inputs_left_out(lab):
    boxes, scores = np.arange(12, dtype=np.float32).reshape(1, 3, 4), np.array([[[-5, 2, 3]]], np.float32)
    check(lab, "NonMaxSuppression", boxes, scores, run=(0, 1))
    check(lab, "NonMaxSuppression", boxes, scores, np.array([9]), run=(0, 1))
    check(lab, "NonMaxSuppression", boxes, scores, np.array([9]), None, np.array([0], np.float32), run=(0, 1))


def test_what_is_known_is_evaluated(lab):
    """Exporters find places with NonZero of a constant."""
    mask = np.array([[1, 0, 1, 1]])
    nodes = [lab.node("NonZero", ["m"], ["a"]), lab.node("Transpose", ["a"], ["b"]), lab.node("Shape", ["b"], ["s"]),
             lab.node("ConstantOfShape", ["s"], ["c"]), lab.node("Add", ["x", "c"], ["y"])]
    x = lab.normal(3, 2)
    assert lab.kinds(lab.check(lab.model(nodes, {"x": x}, constants={"m": mask}), {"x": x})) == ["add"]
