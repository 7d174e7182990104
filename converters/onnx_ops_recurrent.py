"""ONNX RNN, GRU and LSTM: one function each, see `onnx_ops.py` for the calling convention."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tinynet.converters.onnx_builder import Builder, Malformed, Operator, Refuse, Value

# ONNX name in lower case -> (kind's name, default alpha, default beta); None: the function has no such parameter; NEEDED: it
# has no default, since no ONNX operator of that name has one.
NEEDED = math.nan
FUNCTIONS: dict[str, tuple[str, float | None, float | None]] = {
    "affine": ("affine", NEEDED, NEEDED), "elu": ("elu", 1.0, None), "hardsigmoid": ("hard_sigmoid", 0.2, 0.5),
    "leakyrelu": ("leaky_relu", 0.01, None), "relu": ("relu", None, None), "scaledtanh": ("scaled_tanh", NEEDED, NEEDED),
    "sigmoid": ("sigmoid", None, None), "softplus": ("softplus", None, None), "softsign": ("softsign", None, None),
    "tanh": ("tanh", None, None), "thresholdedrelu": ("thresholded_relu", 1.0, None),
}


def _activations(names: list[str], alphas: list[float], betas: list[float]) -> dict[str, Any]:
    """The lists of parameters are consumed in the order of the functions, by those that have such a parameter."""
    found: dict[str, Any] = {"activations": [], "alphas": [], "betas": []}
    left = {"alphas": list(alphas), "betas": list(betas)}
    for name in names:
        if name.lower() not in FUNCTIONS:
            raise Malformed(f"activation {name!r} is unknown; expected one of {', '.join(sorted(FUNCTIONS))}")
        kind, *defaults = FUNCTIONS[name.lower()]
        found["activations"].append(kind)
        for key, default in zip(left, defaults, strict=True):
            value = default if default is None or not left[key] else left[key].pop(0)
            if value is NEEDED:
                raise Malformed(f"activation {name} needs a number in activation_{key.removesuffix('s')}")
            found[key].append(0.0 if value is None else float(value))
    return found


def _recurrent(b: Builder, kind: str, gates: int, defaults: list[str], x: Value, w: Value, r: Value, bias: Value | None,
               lengths: Value | None, initial: list[Value | None], *, hidden_size: int | None, direction: str,
               activations: list[str] | None, activation_alpha: list[float], activation_beta: list[float],
               clip: float | None, layout: int, peepholes: Value | None = None, **attrs: Any) -> list[Value]:
    d = 2 if direction == "bidirectional" else 1
    if x.rank != 3 or w.rank != 3 or r.rank != 3:
        raise Malformed(f"X, W and R must have rank 3, found shapes {list(x.shape)}, {list(w.shape)}, {list(r.shape)}")
    hidden = r.shape[2]
    if w.shape != (d, gates * hidden, x.shape[2]) or r.shape != (d, gates * hidden, hidden):
        raise Malformed(f"X, W and R of shapes {list(x.shape)}, {list(w.shape)}, {list(r.shape)} do not fit "
                        f"(direction {direction})")
    if hidden_size is not None and hidden_size != hidden:
        raise Malformed(f"hidden_size {hidden_size} does not fit R of shape {list(r.shape)}")
    if layout:
        x = b.transpose(x, (1, 0, 2), "time_major")
    steps, batch, _ = x.shape
    inputs = [x, _matrix(b, w, "w"), _matrix(b, r, "r"), _or_zeros(b, bias, (d, 2 * gates * hidden), "bias")]
    if lengths is not None and lengths.known and not ((lengths.data >= 0) & (lengths.data <= steps)).all():
        raise Malformed(f"sequence_lens must lie between 0 and {steps}, found {lengths.data.reshape(-1).tolist()[:8]}")
    inputs.append(b.known(np.full(batch, steps, np.int32), f"{b.stem}_lengths") if lengths is None else lengths)
    for state in initial:
        if state is not None and layout:
            state = b.transpose(state, (1, 0, 2), "initial") if not state.known else b.known(
                np.ascontiguousarray(state.data.transpose(1, 0, 2)))
        inputs.append(_or_zeros(b, state, (d, batch, hidden), "initial"))
    if kind == "lstm":
        inputs.append(_or_zeros(b, peepholes, (d, 3 * hidden), "peepholes"))
    if clip is not None and clip < 0:
        raise Malformed(f"clip {clip} is negative")
    if clip == 0:
        raise Refuse("clip = 0")
    attrs |= _activations(activations or defaults * d, activation_alpha, activation_beta)
    if len(attrs["activations"]) != d * len(defaults):
        raise Malformed(f"{len(attrs['activations'])} activations, expected {d * len(defaults)}")
    y, *last = b.emit_all(kind, *inputs, direction=direction, clip=clip or 0.0, **attrs)
    y = b.reshape(y, (steps, batch, d, hidden), "directions")
    y = b.transpose(y, (1, 0, 2, 3) if layout else (0, 2, 1, 3), "y")
    return [y, *(b.transpose(state, (1, 0, 2), "state") if layout else state for state in last)]


def _matrix(b: Builder, w: Value, part: str) -> Value:
    shape = (w.shape[0] * w.shape[1], w.shape[2])
    return b.derived(w, "matrix", lambda a: a.reshape(shape)) if w.known else b.reshape(w, shape, part)


def _or_zeros(b: Builder, value: Value | None, shape: tuple[int, ...], part: str) -> Value:
    if value is None:
        return b.known(np.zeros(shape, np.float32), f"{b.stem}_{part}")
    if value.shape != shape:
        raise Malformed(f"{part} has shape {list(value.shape)}, expected {list(shape)}")
    return value


def rnn(b: Builder, x: Value, w: Value, r: Value, bias: Value | None = None, lengths: Value | None = None,
        initial_h: Value | None = None, *, hidden_size: int | None = None, direction: str = "forward",
        activations: list[str] | None = None, activation_alpha: list[float] = (), activation_beta: list[float] = (),
        clip: float | None = None, layout: int = 0) -> list[Value]:
    return _recurrent(b, "rnn", 1, ["Tanh"], x, w, r, bias, lengths, [initial_h], hidden_size=hidden_size,
                      direction=direction, activations=activations, activation_alpha=activation_alpha,
                      activation_beta=activation_beta, clip=clip, layout=layout)


def gru(b: Builder, x: Value, w: Value, r: Value, bias: Value | None = None, lengths: Value | None = None,
        initial_h: Value | None = None, *, hidden_size: int | None = None, direction: str = "forward",
        activations: list[str] | None = None, activation_alpha: list[float] = (), activation_beta: list[float] = (),
        clip: float | None = None, layout: int = 0, linear_before_reset: int = 0) -> list[Value]:
    return _recurrent(b, "gru", 3, ["Sigmoid", "Tanh"], x, w, r, bias, lengths, [initial_h], hidden_size=hidden_size,
                      direction=direction, activations=activations, activation_alpha=activation_alpha,
                      activation_beta=activation_beta, clip=clip, layout=layout,
                      linear_before_reset=bool(linear_before_reset))


def lstm(b: Builder, x: Value, w: Value, r: Value, bias: Value | None = None, lengths: Value | None = None,
         initial_h: Value | None = None, initial_c: Value | None = None, peepholes: Value | None = None, *,
         hidden_size: int | None = None, direction: str = "forward", activations: list[str] | None = None,
         activation_alpha: list[float] = (), activation_beta: list[float] = (), clip: float | None = None, layout: int = 0,
         input_forget: int = 0) -> list[Value]:
    return _recurrent(b, "lstm", 4, ["Sigmoid", "Tanh", "Tanh"], x, w, r, bias, lengths, [initial_h, initial_c],
                      hidden_size=hidden_size, direction=direction, activations=activations,
                      activation_alpha=activation_alpha, activation_beta=activation_beta, clip=clip, layout=layout,
                      input_forget=bool(input_forget), peepholes=peepholes)


OPERATORS = {
    "GRU": Operator(gru, (7, 14, 22)),
    "LSTM": Operator(lstm, (7, 14, 22)),
    "RNN": Operator(rnn, (7, 14, 22)),
}
