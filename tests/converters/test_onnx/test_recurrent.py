"""RNN, GRU and LSTM in every form that onnxruntime runs; what it lacks (layout 1) against the time-major form."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tinynet import reference
from tinynet.errors import FormatError

CELLS = {"RNN": (1, 1), "GRU": (3, 2), "LSTM": (4, 3)}          # gates, functions
# (name, has alpha, has beta): those that stay bounded or grow slowly.
FUNCTIONS = [("Tanh", 0, 0), ("Sigmoid", 0, 0), ("Relu", 0, 0), ("Affine", 1, 1), ("LeakyRelu", 1, 0),
             ("ThresholdedRelu", 1, 0), ("ScaledTanh", 1, 1), ("HardSigmoid", 1, 1), ("Elu", 1, 0),
             ("Softsign", 0, 0), ("Softplus", 0, 0)]


def arrays(lab, cell, t, n, i, h, d, seed=0, lengths=None, skip=()):
    """All inputs of the operator, in its order; None for those whose name is in `skip`."""
    gates = CELLS[cell][0]
    found = {
        "x": lab.normal(t, n, i, seed=seed), "w": 0.4 * lab.normal(d, gates * h, i, seed=seed + 1),
        "r": 0.4 * lab.normal(d, gates * h, h, seed=seed + 2), "b": lab.normal(d, 2 * gates * h, seed=seed + 3),
        "lengths": np.full(n, t, np.int32) if lengths is None else np.array(lengths, np.int32),
        "h": lab.normal(d, n, h, seed=seed + 4), "c": lab.normal(d, n, h, seed=seed + 5),
        "p": lab.normal(d, 3 * h, seed=seed + 6)}
    names = list(found) if cell == "LSTM" else list(found)[:6]
    return [None if name in skip else np.asarray(found[name], np.int32 if name == "lengths" else np.float32) for name in names]


@settings(max_examples=30, deadline=None)
@given(data=st.data(), cell=st.sampled_from(list(CELLS)), direction=st.sampled_from(["forward", "reverse", "bidirectional"]),
       t=st.integers(1, 4), n=st.integers(1, 4), i=st.integers(1, 7), h=st.integers(1, 9), opset=st.sampled_from([7, 14, 22]),
       seed=st.integers(0, 999))
def test_against_onnxruntime(lab, data, cell, direction, t, n, i, h, opset, seed):
    d = 2 if direction == "bidirectional" else 1
    skip = data.draw(st.sets(st.sampled_from(["b", "lengths", "h", "c", "p"])))
    lengths = data.draw(st.lists(st.integers(1, t), min_size=n, max_size=n))
    inputs = arrays(lab, cell, t, n, i, h, d, seed, lengths, skip)
    attributes = {"hidden_size": h, "direction": direction}
    if data.draw(st.booleans()):
        chosen = [data.draw(st.sampled_from(FUNCTIONS)) for _ in range(d * CELLS[cell][1])]
        attributes["activations"] = [name for name, _, _ in chosen]
        # Affine, ScaledTanh have no defaults; onnxruntime's for ThresholdedRelu is not the specification's
        if {"Affine", "ScaledTanh", "ThresholdedRelu"} & set(attributes["activations"]) or data.draw(st.booleans()):
            attributes["activation_alpha"] = [0.25 + 0.125 * k for k in range(sum(a for _, a, _ in chosen))]
            attributes["activation_beta"] = [0.75 - 0.125 * k for k in range(sum(b for _, _, b in chosen))]
    if data.draw(st.booleans()):
        attributes["clip"] = 0.75
    if cell == "GRU":
        attributes["linear_before_reset"] = data.draw(st.integers(0, 1))
    if cell == "LSTM":
        attributes["input_forget"] = data.draw(st.integers(0, 1))
    run = [k for k, a in enumerate(inputs) if a is not None and (k == 0 or data.draw(st.booleans()))]
    lab.op(cell, *inputs, opset=opset, run=run, outputs=3 if cell == "LSTM" else 2,
           **{k: v for k, v in attributes.items() if v != []})


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
def test_batch_first(lab, cell, direction):
    """Layout 1 is layout 0 with batch and time exchanged, in x, y and the states."""
    d = 2 if direction == "bidirectional" else 1
    inputs = arrays(lab, cell, 5, 3, 4, 7, d, lengths=[5, 2, 4])
    outputs = 3 if cell == "LSTM" else 2
    plain, feeds = lab.one(cell, *inputs, run=(0, 5), outputs=outputs, hidden_size=7, direction=direction)
    expected = lab.ort_run(plain, feeds)
    swapped = [a if k not in (0, 5, 6) else np.ascontiguousarray(a.swapaxes(0, 1)) for k, a in enumerate(inputs)]
    model, feeds = lab.one(cell, *swapped, run=(0, 5), outputs=outputs, opset=14, hidden_size=7, direction=direction, layout=1)
    found = reference.run(lab.import_(model), feeds)
    np.testing.assert_allclose(found["y0"], expected[0].transpose(2, 0, 1, 3), atol=1e-6)
    for name, state in list(zip(found, expected, strict=True))[1:]:
        np.testing.assert_allclose(found[name], state.swapaxes(0, 1), atol=1e-6)


@pytest.mark.parametrize("cell", CELLS)
def test_rows_without_any_step_and_outputs_left_out(lab, cell):
    inputs = arrays(lab, cell, 3, 3, 4, 5, 1, lengths=[0, 3, 1])
    lab.op(cell, *inputs, run=(0, 4), outputs=2, hidden_size=5)
    x, w, r = inputs[:3]
    node = lab.node(cell, ["x", "w", "r"], ["", "h"], hidden_size=5)
    lab.check(lab.model([node], {"x": x}, ["h"], {"w": w, "r": r}), {"x": x})


def test_functions_without_parameters_of_their_own(lab):
    """Parameters go to the functions that have some; names are compared without case."""
    inputs = arrays(lab, "LSTM", 3, 2, 4, 5, 2)
    lab.op("LSTM", *inputs, outputs=3, hidden_size=5, direction="bidirectional", activation_alpha=[0.3, 0.1],
           activation_beta=[0.4], activations=["sigmoid", "LEAKYRELU", "tanh", "HardSigmoid", "Tanh", "Softsign"])
    lab.op("RNN", *arrays(lab, "RNN", 3, 2, 4, 5, 1), outputs=2, hidden_size=5, activations=["Elu"])


@pytest.mark.parametrize("changes, text", [
    ({"activations": ["Cosine"]}, "activation 'Cosine' is unknown"),
    ({"activations": ["Tanh", "Tanh"]}, "2 activations, expected 1"),
    ({"activations": ["Affine"]}, "Affine needs a number in activation_alpha"),
    ({"activations": ["ScaledTanh"], "activation_alpha": [1.0]}, "needs a number in activation_beta"),
    ({"hidden_size": 6}, "hidden_size 6 does not fit"), ({"direction": "bidirectional"}, "do not fit"),
    ({"clip": -1.0}, "negative")])
def test_what_contradicts_the_specification(lab, changes, text):
    model, _ = lab.one("RNN", *arrays(lab, "RNN", 3, 2, 4, 5, 1), **({"hidden_size": 5} | changes))
    with pytest.raises(FormatError, match=text):
        lab.import_(model)


def test_lengths_beyond_the_sequence(lab):
    model, _ = lab.one("RNN", *arrays(lab, "RNN", 3, 2, 4, 5, 1, lengths=[3, 4]), hidden_size=5)
    with pytest.raises(FormatError, match=r"sequence_lens must lie between 0 and 3, found \[3, 4\]"):
        lab.import_(model)
