"""Recurrent layers: one or two directions over a sequence, ONNX's equations (RNN, GRU, LSTM of opset 7 to 22).

Shapes: T steps, B rows in the batch, I inputs, H hidden units, D directions (1, or 2 for `bidirectional`), G gates.
All kinds take

    x [T, B, I], w [D G H, I], r [D G H, H], b [D, 2 G H] (of w, then of r), lengths [B] int32, initial_h [D, B, H]

and give y [T, B, D H] and the last state y_h [D, B, H].  Row n of the batch ends after lengths[n] steps, 0 to T (DataError
otherwise): y is zero from there on, the backward direction begins there; a row without any step has last states of zero.
Rows of w and r: direction, then gate, then unit.
"""

from __future__ import annotations

import math
from typing import Any, ClassVar

import numpy as np

from tinynet import layouts
from tinynet.ops.base import DataError, Op, Spec, register
from tinynet.ops.checks import need, need_name, quiet
from tinynet.ops.matrix_product import emit_product, rows_geometry

# In the order of `tn_gate_function` in kernels/micro/micro.h.
FUNCTIONS = ("sigmoid", "tanh", "relu", "affine", "leaky_relu", "thresholded_relu", "scaled_tanh", "hard_sigmoid", "elu",
             "softsign", "softplus")
DIRECTIONS = ("forward", "reverse", "bidirectional")


def apply_gate(name: str, x: np.ndarray, alpha: float, beta: float) -> np.ndarray:
    """One of FUNCTIONS, in x's dtype.  affine: alpha x + beta; scaled_tanh: alpha tanh(beta x); thresholded_relu: x above
    alpha, else 0; the others as everywhere."""
    a, b = x.dtype.type(alpha), x.dtype.type(beta)
    return {
        "sigmoid": lambda: 1 / (1 + np.exp(-x)), "tanh": lambda: np.tanh(x), "relu": lambda: np.maximum(x, 0),
        "affine": lambda: a * x + b, "leaky_relu": lambda: np.where(x < 0, a * x, x),
        "thresholded_relu": lambda: np.where(x <= a, x.dtype.type(0), x), "scaled_tanh": lambda: a * np.tanh(b * x),
        "hard_sigmoid": lambda: np.maximum(0, np.minimum(1, a * x + b)),
        "elu": lambda: np.where(x < 0, a * np.expm1(np.minimum(x, 0)), x),
        "softsign": lambda: x / (1 + np.abs(x)), "softplus": lambda: np.logaddexp(x, 0),
    }[name]()


class Recurrent(Op):
    """`activations`, `alphas`, `betas`: per direction one entry per function of the cell.  `clip`: sums of the gates are
    clamped to [-clip, clip] before their functions (0: not)."""

    gates: ClassVar[int] = 1
    functions: ClassVar[int] = 1
    states: ClassVar[int] = 1
    direction: str = "forward"
    activations: tuple[str, ...] = ()
    alphas: tuple[float, ...] = ()
    betas: tuple[float, ...] = ()
    clip: float = 0.0

    @property
    def directions(self) -> int:
        return 2 if self.direction == "bidirectional" else 1

    def sizes(self, inputs: Any) -> tuple[int, int, int, int]:
        """T, B, I, H."""
        (t, n, i), h = inputs[0].shape, inputs[2].shape[1]
        return t, n, i, h

    def infer(self, *inputs: Spec) -> list[Spec]:
        expected = 5 + self.states + (self.kind == "lstm")
        need(len(inputs) == expected, f"{expected} inputs", len(inputs))
        need_name("direction", self.direction, DIRECTIONS)
        for name in self.activations:
            need_name("activation", name, FUNCTIONS)
        for what, values in (("activations", self.activations), ("alphas", self.alphas), ("betas", self.betas)):
            need(len(values) == self.directions * self.functions, f"{self.directions * self.functions} {what}", len(values))
        need(0 <= self.clip < math.inf, "clip of 0 or more", self.clip)
        need(len(inputs[0].shape) == 3, "x of shape [T, B, I]", inputs[0].shape)
        need(len(inputs[2].shape) == 2, "r of shape [D G H, H]", inputs[2].shape)
        t, n, i, h = self.sizes(inputs)
        d, rows = self.directions, self.directions * self.gates * h
        shapes = {"x": (t, n, i), "w": (rows, i), "r": (rows, h), "b": (d, 2 * self.gates * h), "lengths": (n,),
                  "initial_h": (d, n, h), "initial_c": (d, n, h), "peepholes": (d, 3 * h)}
        for (name, shape), spec in zip(shapes.items(), inputs, strict=False):
            dtype = "int32" if name == "lengths" else "float32"
            need(spec == Spec(shape, dtype), f"{name} {dtype} {list(shape)}", f"{spec.dtype} {list(spec.shape)}")
        return [Spec((t, n, d * h)), *[Spec((d, n, h))] * self.states]

    def macs(self, inputs: list[Spec], outputs: list[Spec]) -> int:
        t, n, i, h = self.sizes(inputs)
        return t * n * self.directions * self.gates * h * (i + h)

    # ---- the meaning

    def reference(self, *arrays: np.ndarray) -> list[np.ndarray]:
        x, w, r, b, lengths = arrays[:5]
        t, n, _, h = self.sizes(arrays)
        d, dtype = self.directions, x.dtype
        if lengths.size and not 0 <= lengths.min() <= lengths.max() <= t:
            raise DataError(f"expected lengths between 0 and {t}, found {lengths[(lengths < 0) | (lengths > t)][0]}")
        y = np.zeros((t, n, d, h), dtype)
        states = [np.array(a, dtype) for a in arrays[5:5 + self.states]]
        with quiet():
            projected = (x.reshape(t * n, x.shape[2]) @ w.T).reshape(t, n, d, self.gates, h)
        for k in range(d):
            bias = b[k].reshape(2, self.gates, h)
            weights = r.reshape(d, self.gates, h, h)[k]
            more = arrays[7][k].reshape(3, h) if self.kind == "lstm" else None
            for step in range(t):
                on = np.flatnonzero(step < lengths)
                if not on.size:
                    break
                at = lengths[on] - 1 - step if self.direction == "reverse" or k == 1 else np.full(on.size, step)
                with quiet():
                    new = self.cell(k, projected[at, on, k], weights, bias, more, [s[k, on] for s in states])
                for state, value in zip(states, new, strict=True):
                    state[k, on] = value
                y[at, on, k] = new[0]
        for state in states:
            state[:, lengths == 0] = 0
        return [y.reshape(t, n, d * h), *states]

    def cell(self, k: int, x: np.ndarray, r: np.ndarray, b: np.ndarray, more: Any, states: list) -> list[np.ndarray]:
        """One step in direction k: new states from x [B, G, H] (input times w), r [G, H, H], b [2, G, H]."""
        raise NotImplementedError

    def function(self, k: int, i: int, x: np.ndarray, clipped: bool = True) -> np.ndarray:
        at = k * self.functions + i
        if self.clip and clipped:
            x = np.clip(x, x.dtype.type(-self.clip), x.dtype.type(self.clip))
        return apply_gate(self.activations[at], x, self.alphas[at], self.betas[at]).astype(x.dtype)

    def index_limits(self, *inputs: Spec) -> dict[int, int]:
        return {4: inputs[0].shape[0] + 1}

    def failure(self, *inputs: Spec) -> str:
        return f"expected lengths between 0 and {inputs[0].shape[0]}, found another one"

    # ---- the kernel

    def lower(self, builder: Any, node: Any) -> bool:
        tensors = builder.graph.tensors
        x, *states = (builder.view(node.inputs[i]) for i in (0, *range(5, 5 + self.states)))
        y, *ends = (builder.view(n) for n in node.outputs)
        t, n, i, h = self.sizes([tensors[name] for name in node.inputs])
        if not (i and h) or not all(tensors[name].is_constant for name in (*node.inputs[1:4], *node.inputs[7:])):
            return False
        d, g = self.directions, self.gates
        lengths = node.inputs[4]
        whole = tensors[lengths].is_constant and (builder.packed(lengths, layouts.PLAIN) == t).all()
        for state, end in zip(states, ends, strict=True):
            builder.copy(state, end, state.shape, state.strides, end.strides)
        b = np.array(builder.packed(node.inputs[3], layouts.PLAIN)).reshape(d, 2, g, h)
        extra = self._extra(builder, node, b)
        bias = b.sum(1, dtype=np.float32)
        projected = builder.scratch(4 * t * n * d * g * h)
        if t * n:
            plain = {"function": 0, "lo": -math.inf, "hi": math.inf, "alpha": 0.0, "beta": 0.0}
            emit_product(
                builder, x=builder.tensor(x.name), w=builder.weights(node.inputs[1], layouts.ohwi_panels()),
                bias=builder.constant(bias.reshape(-1)), residual=None, y=projected,
                macs=t * n * d * g * h * i, shape=rows_geometry(t * n, i, d * g * h, x.ld, d * g * h, plain))
        padded = -(-h // layouts.PANEL) * layouts.PANEL
        builder.emit(
            "recurrent_f32", [
                projected, builder.weights(node.inputs[2], layouts.ohwi_panels(d * g)),
                None if extra is None else builder.constant(extra),
                None if whole else builder.tensor(lengths),
                builder.tensor(y.name), *(builder.tensor(end.name) for end in (ends * 2)[:2]),
                builder.scratch(4 * d * n * g * padded)],
            macs=t * n * d * g * h * h, cell=("rnn", "gru", "lstm").index(self.kind), steps=t, batch=n, directions=d,
            reverse=self.direction == "reverse", hidden=h, gates=g, linked=self._linked(),
            clip=self.clip or math.inf, **self._functions())
        return True

    def _linked(self) -> bool:
        return False

    def _extra(self, builder: Any, node: Any, b: np.ndarray) -> np.ndarray | None:
        """The kernel's third operand; takes from b [D, 2, G, H] what must not be added to the projection."""
        return None

    def _functions(self) -> dict[str, Any]:
        params: dict[str, Any] = {}
        for k in range(2):
            for i in range(3):
                at = k * self.functions + i if k < self.directions and i < self.functions else 0
                params[f"function{3 * k + i}"] = FUNCTIONS.index(self.activations[at])
                params[f"alpha{3 * k + i}"], params[f"beta{3 * k + i}"] = self.alphas[at], self.betas[at]
        return params


@register
class Rnn(Recurrent):
    """h = f(x w + h r + b)."""

    kind: ClassVar[str] = "rnn"

    def cell(self, k, x, r, b, more, states):
        (h,) = states
        return [self.function(k, 0, x[:, 0] + h @ r[0].T + (b[0, 0] + b[1, 0]))]


@register
class Gru(Recurrent):
    """Gates z (update), r (reset), h (new): H = (1 - z) g(new) + z H; functions f (z, r), g.

    `linear_before_reset`: new = x w + r (H r + b), otherwise x w + (r H) r + b.
    """

    kind: ClassVar[str] = "gru"
    gates: ClassVar[int] = 3
    functions: ClassVar[int] = 2
    linear_before_reset: bool = False

    def cell(self, k, x, r, b, more, states):
        (h,) = states
        z, reset = (self.function(k, 0, x[:, i] + h @ r[i].T + (b[0, i] + b[1, i])) for i in range(2))
        if self.linear_before_reset:
            new = (x[:, 2] + b[0, 2]) + reset * (h @ r[2].T + b[1, 2])
        else:
            new = x[:, 2] + (reset * h) @ r[2].T + (b[0, 2] + b[1, 2])
        return [(1 - z) * self.function(k, 1, new) + z * h]

    def _linked(self) -> bool:
        return self.linear_before_reset

    def _extra(self, builder: Any, node: Any, b: np.ndarray) -> np.ndarray | None:
        if not self.linear_before_reset:
            return None
        extra = b[:, 1, 2].copy()
        b[:, 1, 2] = 0
        return extra


@register
class Lstm(Recurrent):
    """Gates i, o, f, c: C = f(f) C + f(i) g(c), H = f(o) h(C); functions f, g, h.

    Two more inputs: initial_c [D, B, H] and peepholes [D, 3 H] (of i, o, f; i and f see the old C, o the new one); one more
    output: the last C.  `input_forget`: f(f) is 1 - f(i).  C is not clipped before h, as in onnxruntime.
    """

    kind: ClassVar[str] = "lstm"
    gates: ClassVar[int] = 4
    functions: ClassVar[int] = 3
    states: ClassVar[int] = 2
    input_forget: bool = False

    def cell(self, k, x, r, b, more, states):
        h, c = states
        i, o, f, new = (x[:, j] + h @ r[j].T + (b[0, j] + b[1, j]) for j in range(4))
        i = self.function(k, 0, i + more[0] * c)
        f = 1 - i if self.input_forget else self.function(k, 0, f + more[2] * c)
        c = f * c + i * self.function(k, 1, new)
        return [self.function(k, 0, o + more[1] * c) * self.function(k, 2, c, clipped=False), c]

    def _linked(self) -> bool:
        return self.input_forget

    def _extra(self, builder: Any, node: Any, b: np.ndarray) -> np.ndarray | None:
        peepholes = np.array(builder.packed(node.inputs[7], layouts.PLAIN))
        return peepholes if peepholes.any() else None

