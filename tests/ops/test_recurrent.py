"""Shape rules of the recurrent kinds; their values are compared with onnxruntime's in tests/converters/test_onnx."""

from __future__ import annotations

import numpy as np
import pytest

from tinynet import ops

FORWARD = {"activations": ("tanh",), "alphas": (0.0,), "betas": (0.0,)}
# T 5, B 3, I 4, H 6
SHAPES = [(5, 3, 4), (6, 4), (6, 6), (1, 12), (3,), (1, 3, 6)]


def specs(**changed):
    return [ops.Spec(changed.get(f"i{k}", s), "int32" if k == 4 else "float32") for k, s in enumerate(SHAPES)]


def test_shapes_and_macs():
    rnn = ops.make("rnn", FORWARD)
    outs = rnn.infer(*specs())
    assert outs == [ops.Spec((5, 3, 6)), ops.Spec((1, 3, 6))]
    assert rnn.macs(specs(), outs) == 5 * 3 * 6 * (4 + 6)
    lstm = ops.make("lstm", {"direction": "bidirectional", **{k: v * 6 for k, v in FORWARD.items()}})
    inputs = [ops.Spec(s) for s in ((5, 3, 4), (48, 4), (48, 6), (2, 48))]
    inputs += [ops.Spec((3,), "int32"), ops.Spec((2, 3, 6)), ops.Spec((2, 3, 6)), ops.Spec((2, 18))]
    assert lstm.infer(*inputs) == [ops.Spec((5, 3, 12)), ops.Spec((2, 3, 6)), ops.Spec((2, 3, 6))]


@pytest.mark.parametrize("changed, match", [
    ({"i0": (5, 3)}, r"x of shape \[T, B, I\], found \[5, 3\]"), ({"i1": (6, 5)}, r"w float32 \[6, 4\]"),
    ({"i2": (7, 6)}, r"r float32 \[6, 6\]"), ({"i3": (1, 6)}, r"b float32 \[1, 12\]"), ({"i4": (5,)}, r"lengths int32 \[3\]"),
    ({"i5": (3, 6)}, r"initial_h float32 \[1, 3, 6\]")])
def test_refusals_of_shapes(peer, changed, match):
    peer.refused(ops.make("rnn", FORWARD), *specs(**changed), match=match)


def test_refusals_of_attributes(peer):
    for attrs, match in [({"activations": ("gelu",)}, "activation among"), ({"direction": "up"}, "direction among"),
                         ({"clip": -1.0}, "clip of 0 or more"), ({"clip": float("nan")}, "clip of 0 or more"),
                         ({"alphas": ()}, "1 alphas, found 0")]:
        peer.refused(ops.make("rnn", FORWARD | attrs), *specs(), match=match)
    peer.refused(ops.make("rnn", FORWARD), *specs()[:5], match="6 inputs, found 5")


@pytest.mark.parametrize("bad", [6, -1])
def test_a_length_outside_the_sequence_is_refused(bad):
    arrays = [np.zeros(s, np.float32) for s in SHAPES]
    arrays[4] = np.array([5, bad, 0], np.int32)
    with pytest.raises(ops.DataError, match=f"lengths between 0 and 5, found {bad}"):
        ops.make("rnn", FORWARD).reference(*arrays)
