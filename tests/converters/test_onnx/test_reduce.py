"""Reductions."""

from __future__ import annotations

import numpy as np
import pytest


@pytest.mark.parametrize("kind", ["ReduceMean", "ReduceSum", "ReduceMax", "ReduceMin"])
@pytest.mark.parametrize("axes", [None, [1], [-1], [3, 2], [0, 1, 2, 3]])
@pytest.mark.parametrize("keepdims", [0, 1])
def test_reductions(lab, kind, axes, keepdims):
    x = lab.normal(2, 3, 4, 5)
    attribute = {} if axes is None else {"axes": axes}
    since = 13 if kind == "ReduceSum" else 18
    for opset in (7, 11) if since == 13 else (7, 11, 13):
        if opset >= 11 or not any(a < 0 for a in axes or ()):
            lab.op(kind, x, opset=opset, keepdims=keepdims, **attribute)
    inputs = () if axes is None else (lab.ints(*axes),)
    for opset in (since, 20):
        lab.op(kind, x, *inputs, opset=opset, keepdims=keepdims)


def test_reduction_without_axes(lab):
    x = lab.normal(2, 3)
    assert lab.kinds(lab.op("ReduceSum", x, lab.ints(), opset=13, noop_with_empty_axes=1)) == ["reshape"]
    assert lab.kinds(lab.op("ReduceSum", x, lab.ints(), opset=13)) == ["reduce_sum"]
    assert lab.kinds(lab.op("ReduceMean", x, opset=18, noop_with_empty_axes=1)) == ["reshape"]
    assert "axes computed at run time" in lab.reason("ReduceMean", x, lab.ints(0), opset=18, run=(0, 1))


@pytest.mark.parametrize("opset", [7, 11, 12, 13])
@pytest.mark.parametrize("axis,keepdims", [(0, 1), (1, 0), (2, 1)])
def test_arg_max(lab, opset, axis, keepdims):
    x = np.random.default_rng(0).integers(0, 3, (2, 5, 4)).astype(np.float32)
    lab.op("ArgMax", x, opset=opset, axis=axis, keepdims=keepdims)
    if opset >= 12:
        lab.op("ArgMax", x, opset=opset, axis=axis - 3, keepdims=keepdims, select_last_index=1)


def test_arg_max_defaults(lab):
    lab.op("ArgMax", lab.normal(3, 4))
