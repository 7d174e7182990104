"""kernels/recurrent.pxi: rnn, gru and lstm against the reference in float64."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nets import Net, normal, seeds

from tinynet import ops
from tinynet.graph import Node
from tinynet.ops.recurrent import DIRECTIONS, FUNCTIONS

KINDS = ("rnn", "gru", "lstm")


def weights(kind, t, n, i, h, d, seed, lengths):
    """Inputs of the kind.  Recurrent weights are so small that a step does not amplify an error: every row of r sums up to
    less than 1/4 in magnitude."""
    gates = ops.kinds()[kind].gates
    r = normal(seed + 2, d * gates * h, h)
    arrays = [normal(seed, t, n, i), normal(seed + 1, d * gates * h, i) / np.float32(i),
              r / (5 * np.abs(r).sum(1, keepdims=True) + np.float32(0.1)), normal(seed + 3, d, 2 * gates * h) / 4,
              np.array(lengths, np.int32), normal(seed + 4, d, n, h)]
    if kind == "lstm":
        arrays += [normal(seed + 5, d, n, h), normal(seed + 6, d, 3 * h) / 8]
    return [a if a.dtype == np.int32 else a.astype(np.float32) for a in arrays]


def check(kind, arrays, attrs, computed=(0,)):
    """`computed`: inputs that are fed; the others are constants.

    Bound: one step is off by sums of I + H + 4 terms below 8 in magnitude and by functions within 16 u; what earlier steps were
    off by comes back with a factor below 1 + 1/4, and T <= 6.  Lengths and padding leave exact zeros.
    """
    op = ops.make(kind, attrs)
    expected = op.reference(*(a.astype(np.float64) if a.dtype == np.float32 else a for a in arrays))
    terms = arrays[0].shape[2] + arrays[2].shape[1] + 4
    bound = (terms * 8 + 16) * 2.0 ** -24 * sum(1.25 ** k for k in range(arrays[0].shape[0] + 1))
    for which, want in enumerate(expected):
        net = Net()
        names = [net.input(a) if k in computed else net.constant(a) for k, a in enumerate(arrays)]
        specs = op.infer(*(ops.Spec(a.shape, a.dtype.name) for a in arrays))
        outs = [net._tensor(f"out{k}", s.shape, s.dtype) for k, s in enumerate(specs)]
        net.graph.nodes.append(Node(kind, kind, names, outs, attrs))
        net.agree(outs[which], want, np.maximum(1, np.abs(want)) * bound)


@settings(max_examples=25, deadline=None)
@given(data=st.data(), kind=st.sampled_from(KINDS), direction=st.sampled_from(DIRECTIONS), t=st.integers(0, 5),
       n=st.sampled_from([1, 1, 2, 3, 7]), i=st.sampled_from([1, 5, 17]), h=st.sampled_from([1, 3, 15, 16, 17, 33, 49]),
       seed=seeds)
def test_cells(data, kind, direction, t, n, i, h, seed):
    d = 2 if direction == "bidirectional" else 1
    count = d * ops.kinds()[kind].functions
    # Bounded functions with slope 1 at most, so that the bound above holds.
    names = [data.draw(st.sampled_from(["sigmoid", "tanh", "softsign", "hard_sigmoid", "scaled_tanh"])) for _ in range(count)]
    attrs = {"direction": direction, "activations": tuple(names), "clip": data.draw(st.sampled_from([0.0, 0.5])),
             "alphas": tuple(0.25 + 0.125 * k for k in range(count)), "betas": tuple(0.5 - 0.0625 * k for k in range(count))}
    if kind == "gru":
        attrs["linear_before_reset"] = data.draw(st.booleans())
    if kind == "lstm":
        attrs["input_forget"] = data.draw(st.booleans())
    lengths = data.draw(st.lists(st.integers(0, t), min_size=n, max_size=n)) if data.draw(st.booleans()) else [t] * n
    arrays = weights(kind, t, n, i, h, d, seed, lengths)
    if kind == "lstm" and data.draw(st.booleans()):
        arrays[7][:] = 0
    check(kind, arrays, attrs, data.draw(st.sampled_from([(0,), (0, 4), (0, 4, 5)])))


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("h", [1, 16, 21])
def test_every_function(name, h):
    """One step of an rnn, inputs on both sides of every kink, and what is not finite."""
    x = np.linspace(-3, 3, 2 * h).reshape(1, 2, h).astype(np.float32)
    x[0, 0, 0] = np.nan
    arrays = [x, np.eye(h, dtype=np.float32), np.zeros((h, h), np.float32), np.zeros((1, 2 * h), np.float32),
              np.array([1, 1], np.int32), np.zeros((1, 2, h), np.float32)]
    x[0, 0, 1:] = np.linspace(-3, 3, h - 1)
    arrays[1] = np.zeros((h, h), np.float32)
    arrays[1][np.arange(h), np.arange(h)] = 1
    if h > 1:      # NaN times 0 would spread
        x[0, 0, 0] = -2
    check("rnn", arrays, {"activations": (name,), "alphas": (0.75,), "betas": (0.25,)})


@pytest.mark.parametrize("kind", KINDS)
def test_nan_stays_in_its_row(kind):
    op = {"activations": ("sigmoid", "tanh", "tanh")[-ops.kinds()[kind].functions:], "clip": 2.0}
    op |= {"alphas": (0.0,) * len(op["activations"]), "betas": (0.0,) * len(op["activations"])}
    arrays = weights(kind, 3, 2, 4, 18, 1, 1, [3, 2])
    arrays[0][0, 0, 2] = np.nan
    check(kind, arrays, op)
    assert np.isnan(ops.make(kind, op).reference(*arrays)[0]).any(2).tolist() == [[True, False]] * 3


@pytest.mark.parametrize("kind", KINDS)
def test_weights_computed_at_run_time_run_in_numpy(kind):
    op = {"activations": ("tanh",) * ops.kinds()[kind].functions}
    op |= {"alphas": (0.0,) * len(op["activations"]), "betas": (0.0,) * len(op["activations"])}
    arrays = weights(kind, 3, 2, 4, 5, 1, 1, [3, 2])
    net = Net()
    names = [net.input(a) for a in arrays]
    specs = ops.make(kind, op).infer(*(ops.Spec(a.shape, a.dtype.name) for a in arrays))
    outs = [net._tensor(f"out{k}", s.shape, s.dtype) for k, s in enumerate(specs)]
    net.graph.nodes.append(Node(kind, kind, names, outs, op))
    net.agree(outs[0], ops.make(kind, op).reference(*arrays)[0], 1e-6, native=False)
