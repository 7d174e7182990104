"""The integers behind float32 constants (`Tensor.integers`), kept while constants are rearranged."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tinynet.graph import Integers


def with_steps(values: np.ndarray, scale: np.ndarray, zero: np.ndarray) -> tuple[np.ndarray, Integers]:
    """(the real numbers, what is behind them); scale and zero broadcast to `values`.  The difference wraps in int32."""
    zero = zero.astype(np.int32)
    with np.errstate(all="ignore"):
        real = (values.astype(np.int32) - zero).astype(np.float32)
        real *= scale
    shape = (1,) * values.ndim
    return real, Integers(values, *(a.astype(t).reshape(a.shape or shape) for a, t in ((scale, np.float32), (zero, np.int32))))


def rearranged(integers: Integers | None, function: Callable[[np.ndarray], np.ndarray]) -> Integers | None:
    """What is behind function(constant), for a function that only moves, repeats or drops elements."""
    if integers is None:
        return None
    values = function(integers.values)
    steps = np.broadcast_shapes(integers.scale.shape, integers.zero.shape)
    scales, zeros = (np.broadcast_to(a, steps).reshape(-1) for a in (integers.scale, integers.zero))
    if scales.size == 1:
        one = (1,) * values.ndim
        return Integers(values, scales.reshape(one), zeros.reshape(one))
    # Which scale each element has goes the same way; axes along which it stays the same are dropped.
    which = np.arange(scales.size, dtype=np.uint16 if scales.size <= 1 << 16 else np.int64).reshape(steps)
    which = function(np.broadcast_to(which, integers.values.shape))
    for axis in range(which.ndim):
        first = which.take([0], axis) if which.shape[axis] else which
        if (which == first).all():
            which = first
    return Integers(values, scales[which], zeros[which])
