from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tinynet import ops


def run(boxes, scores, limit=9, iou=0.5, least=-np.inf, most=None, centered=False):
    """The chosen rows; the rest is zeros."""
    most = scores.shape[0] * scores.shape[1] * min(limit, scores.shape[2]) if most is None else most
    op = ops.make("non_max_suppression", {"most": most, "centered": centered})
    arrays = [boxes, scores, np.array(limit), np.array([iou], np.float32), np.array(least, np.float32)]
    rows, count = op.reference(*arrays)
    assert op.infer(*(ops.Spec(a.shape, a.dtype.name) for a in arrays)) == [ops.Spec((most, 3), "int64"), ops.Spec((), "int64")]
    assert (rows.shape, rows.dtype, count.shape, count.dtype) == ((most, 3), np.int64, (), np.int64)
    assert not rows[int(count):].any()
    return rows[:int(count)]


@pytest.mark.parametrize("centered", [False, True])
@settings(max_examples=50, deadline=None)
@given(pictures=st.integers(1, 2), classes=st.integers(1, 3), count=st.integers(1, 30), limit=st.integers(0, 12),
       iou=st.sampled_from([0.0, 0.25, 0.5, 1.0]), least=st.sampled_from([-1.0, 0.0, 0.5, 2.0]), seed=st.integers(0, 2**32 - 1))
def test_against_onnxruntime(peer, centered, pictures, classes, count, limit, iou, least, seed):
    r = np.random.default_rng(seed)
    # Multiples of 1/4: many equal scores, overlaps of exactly a threshold, flipped corners, boxes without area.
    boxes = (r.integers(0, 12, (pictures, count, 4)) / 4).astype(np.float32)
    scores = (r.integers(-4, 5, (pictures, classes, count)) / 4).astype(np.float32)
    expected = peer.run("NonMaxSuppression", [boxes, scores, np.array([limit]), np.array([iou], np.float32),
                                              np.array([least], np.float32)], center_point_box=int(centered))
    found = run(boxes, scores, limit, iou, least, centered=centered)
    assert np.array_equal(found, expected.reshape(-1, 3))


def test_many_random_boxes_against_onnxruntime(peer):
    r = np.random.default_rng(7)
    corner = r.random((2, 700, 2), np.float32)
    boxes = np.concatenate([corner, corner + r.random((2, 700, 2), np.float32) / 4], 2)
    scores = r.random((2, 3, 700), np.float32)
    expected = peer.run("NonMaxSuppression", [boxes, scores, np.array([50]), np.array([0.3], np.float32),
                                              np.array([0.2], np.float32)])
    assert np.array_equal(run(boxes, scores, 50, 0.3, 0.2), expected)


def test_without_a_threshold_all_take_part(peer):
    boxes = np.arange(12, dtype=np.float32).reshape(1, 3, 4)
    scores = np.array([[[-np.inf, 1, -5]]], np.float32)
    assert run(boxes, scores).tolist() == [[0, 0, 1], [0, 0, 2], [0, 0, 0]]


def test_nan_and_infinity_stop_nothing():
    boxes = np.array([[[np.nan, 0, 1, 1], [0, 0, np.inf, np.inf], [0, 0, 1, 1]]], np.float32)
    rows = run(boxes, np.array([[[0.5, np.nan, 0.7]]], np.float32), least=0.0)
    assert rows.tolist() == [[0, 0, 2], [0, 0, 0]]


def test_no_more_than_most():
    boxes = np.arange(12, dtype=np.float32).reshape(1, 3, 4)
    assert run(boxes, np.array([[[1, 2, 3]]], np.float32), most=2).tolist() == [[0, 0, 2], [0, 0, 1]]
    assert run(boxes[:, :0], np.zeros((1, 2, 0), np.float32)).tolist() == []


def test_refusals(peer):
    op = ops.make("non_max_suppression", {"most": 99})
    rest = ops.Spec((), "int64"), ops.Spec(()), ops.Spec((1,))
    peer.refused(op, (1, 3, 4), (1, 2, 3), *rest, match="most between 0 and 6, found 99")
    peer.refused(op, (1, 3, 5), (1, 2, 3), *rest, match="boxes of shape .N, B, 4.")
    peer.refused(op, (1, 3, 4), (1, 2, 4), *rest, match="scores of shape .1, C, 3.")
    peer.refused(op, (1, 3, 4), (1, 2, 3), *rest[:2], match="5 inputs, found 4")
    peer.refused(op, (1, 3, 4), (1, 2, 3), ops.Spec((2,), "int64"), *rest[1:], match="max_output of one int64, found int64 .2.")
    peer.refused(op, (1, 3, 4), (1, 2, 3), rest[0], ops.Spec((), "int32"), rest[2], match="iou_threshold of one float32")
