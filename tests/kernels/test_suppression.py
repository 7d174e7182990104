"""kernels/suppression.pxi against the numpy reference, bit by bit."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nets import Net, seeds

from tinynet import kernels, ops
from tinynet.graph import Node, Tensor


def check(boxes, scores, limit, iou, least, most, centered):
    arrays = [boxes, scores, np.array(limit, np.int64), np.array([iou], np.float32), np.array(least, np.float32)]
    op = ops.make("non_max_suppression", {"most": most, "centered": centered})
    expected = op.reference(*arrays)
    for level in kernels.available(integers=False):
        net = Net()
        names = [net.input(a) for a in arrays]
        for name, spec in zip(("rows", "count"), op.infer(*(ops.Spec(a.shape, a.dtype.name) for a in arrays)), strict=True):
            net.graph.add(Tensor(name, spec.shape, spec.dtype))
        net.graph.nodes.append(Node(op.kind, "nms", names, ["rows", "count"], op.attributes()))
        for threads in (1, 2):
            with kernels.use_isa(level):
                model = net.model("rows", "count", threads=threads)
            assert not model.plan.python_steps
            found = model.run(net.feed)
            assert np.array_equal(found["rows"], expected[0]) and found["count"] == expected[1]


@settings(max_examples=60, deadline=None)
@given(pictures=st.integers(0, 2), classes=st.integers(0, 3), count=st.integers(0, 30), limit=st.integers(-1, 12),
       iou=st.sampled_from([0.0, 0.25, 0.5, 1.0, float("nan")]), least=st.sampled_from([-np.inf, -1.0, 0.0, 0.5, float("nan")]),
       centered=st.booleans(), special=st.booleans(), few=st.booleans(), seed=seeds)
def test_against_the_reference(pictures, classes, count, limit, iou, least, centered, special, few, seed):
    r = np.random.default_rng(seed)
    boxes = (r.integers(0, 12, (pictures, count, 4)) / 4).astype(np.float32)
    scores = (r.integers(-4, 5, (pictures, classes, count)) / 4).astype(np.float32)
    if special:
        for array in (boxes, scores):
            array[r.random(array.shape) < 0.2] = r.choice([np.nan, np.inf, -np.inf, 3e38])
    most = pictures * classes * count
    check(boxes, scores, limit, iou, least, min(most, 5) if few else most, centered)


@pytest.mark.parametrize("centered", [False, True])
def test_many_random_boxes(centered):
    r = np.random.default_rng(7)
    boxes, scores = r.random((1, 900, 4), np.float32), r.random((1, 2, 900), np.float32)
    check(boxes, scores, 60, 0.3, 0.2, 120, centered)
