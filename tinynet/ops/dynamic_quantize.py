"""Integers whose scale and zero are computed when the network runs: dynamic quantisation."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from tinynet.ops.base import Op, Spec, register
from tinynet.ops.checks import count, need, need_float, need_inputs, need_shape, quiet, refuse


@register
class DynamicQuantize(Op):
    """x float32 of any shape -> y uint8 of its shape, scale float32 [], zero uint8 [] (ONNX DynamicQuantizeLinear-11).

    scale = (max - min) / 255 of x and 0, or 1 where that is 0; zero = clamp(round(-min / scale)); y = clamp(round(x / scale) +
    zero), half to even.  NaN counts for neither bound and becomes 0; nothing is said of the numbers if an infinity is among x.
    """

    kind: ClassVar[str] = "dynamic_quantize"

    def infer(self, *inputs: Spec) -> list[Spec]:
        need_inputs(inputs, 1)
        need_float(inputs)
        return [Spec(inputs[0].shape, "uint8"), Spec(()), Spec((), "uint8")]

    def reference(self, *arrays: np.ndarray) -> list[np.ndarray]:
        (x,) = arrays
        with quiet():
            low, high = np.fmin.reduce(x, None, initial=np.float32(0)), np.fmax.reduce(x, None, initial=np.float32(0))
            scale = np.float32(1) if high == low else (high - low) / np.float32(255)
            zero = np.rint(np.fmax(np.float32(0), np.fmin(np.float32(255), -low / scale)))
            steps = np.fmin(np.fmax(x / scale, -zero), np.float32(255) - zero)
            y = (np.rint(steps) + zero).astype(np.uint8)
        return [y, np.asarray(scale, np.float32), zero.astype(np.uint8)]

    def lower(self, builder: Any, node: Any) -> bool:
        names = (*node.inputs, *node.outputs)
        n = builder.view(names[0]).size
        builder.emit("dynamic_quantize", [builder.tensor(name) for name in names], nbytes=9 * n, n=n)
        return True


@register
class QCorrect(Op):
    """y = acc - zero sums, int32 modulo 2^32: acc int32 [..., O] of uint8 x that was summed with x_zero 0; zero uint8 of one
    element, x's zero; sums int32 [O], of the weights of each output channel."""

    kind: ClassVar[str] = "q_correct"

    def infer(self, *inputs: Spec) -> list[Spec]:
        need_inputs(inputs, 3)
        acc, zero, sums = inputs
        for spec, what, dtype in zip(inputs, ("acc", "zero", "sums"), ("int32", "uint8", "int32"), strict=True):
            if spec.dtype != dtype:
                refuse(f"{what} of dtype {dtype}", spec.dtype)
        need(len(acc.shape) >= 1, "acc of shape [..., O]", acc.shape)
        need(zero.shape in ((), (1,)), "zero of one element", zero.shape)
        need_shape(sums, acc.shape[-1:], "sums")
        return [Spec(acc.shape, "int32")]

    def reference(self, *arrays: np.ndarray) -> list[np.ndarray]:
        acc, zero, sums = arrays
        with quiet():
            return [acc - zero.reshape(()).astype(np.int32) * sums]

    def inplace(self) -> tuple[int, ...]:
        return (0,)

    def lower(self, builder: Any, node: Any) -> bool:
        names, shape = (*node.inputs, *node.outputs), builder.view(node.outputs[0]).shape
        builder.emit("q_correct", [builder.tensor(name) for name in names], nbytes=8 * count(shape),
                     rows=count(shape[:-1]), columns=shape[-1])
        return True
