"""Reductions over axes.  Global pooling of images is a reduction over axes (1, 2)."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from tinynet.graph import DTYPES
from tinynet.ops.base import Op, Spec, register
from tinynet.ops.checks import FLIPS, NUMERIC, count, need, need_axis, need_inputs, quiet

# In the order of `tn_reduction` in kernels/micro/micro.h.
REDUCTIONS = ("max", "min", "sum", "sum_abs", "sum_square")


def _reduced(shape: tuple[int, ...], axes: tuple[int, ...], keepdims: bool) -> tuple[int, ...]:
    return tuple(1 if i in axes else d for i, d in enumerate(shape) if keepdims or i not in axes)


class Reduce(Op):
    """x, reduced over `axes`: at least one, non-negative, sorted, none twice.

    float32 in float64, rounded once at the end; integers wrap around.  A set without elements gives the neutral element.
    """

    dtypes: ClassVar[tuple[str, ...]] = ("float32", "int64", "int32")
    # Of `tn_reduction` in kernels/micro/micro.h: for the first run of axes, for the others.
    native: ClassVar[tuple[str, str]] = ("", "")
    root: ClassVar[bool] = False      # the square root of what comes out
    axes: tuple[int, ...] = ()
    keepdims: bool = True

    def infer(self, *inputs: Spec) -> list[Spec]:
        need_inputs(inputs, 1)
        x, axes = inputs[0], self.axes
        need(x.dtype in self.dtypes, f"a dtype among {', '.join(self.dtypes)}", x.dtype)
        need(len(axes) >= 1 and list(axes) == sorted(set(axes)) and axes[0] >= 0 and axes[-1] < len(x.shape),
             f"axes sorted, different, between 0 and {len(x.shape) - 1}, at least one", axes)
        return [Spec(_reduced(x.shape, axes, self.keepdims), x.dtype)]

    def compute(self, x: np.ndarray, **over: Any) -> np.ndarray:
        """x float64, or of its own dtype if that is none of floats; `over`: axis and keepdims."""
        raise NotImplementedError

    def reference(self, *arrays: np.ndarray) -> list[np.ndarray]:
        (x,) = arrays
        exact = x.astype(np.float64) if x.dtype == np.float32 else x
        with quiet():
            return [np.asarray(self.compute(exact, axis=self.axes, keepdims=self.keepdims)).astype(x.dtype)]

    def strided(self) -> tuple[bool, bool]:
        # Rows that lie apart are fine where whole rows are combined: pooling of images over H and W.
        return len(self.axes) >= 1 and self.axes == tuple(range(self.axes[0], self.axes[0] + len(self.axes))), False

    def lower(self, builder: Any, node: Any) -> bool:
        """One step per run of neighbouring axes, the innermost first."""
        x = builder.view(node.inputs[0])
        if not self.native[0] or not x.size or not (x.dtype == "float32" or (self.native[0], x.dtype) in FLIPS):
            return False
        if not x.contiguous and self.axes[-1] != len(x.shape) - 2:
            return False
        groups: list[tuple[int, bool]] = []      # (extent, reduced?), neighbours of one sort merged
        for axis, extent in enumerate(x.shape):
            reduced = axis in self.axes
            if groups and groups[-1][1] == reduced:
                groups[-1] = (groups[-1][0] * extent, reduced)
            else:
                groups.append((extent, reduced))
        source, ld = builder.tensor(x.name), x.ld
        for run in range(sum(reduced for _, reduced in groups)):
            at = max(i for i, (_, reduced) in enumerate(groups) if reduced)
            extents = [extent for extent, _ in groups]
            outer, n, inner = count(extents[:at]), extents[at], count(extents[at + 1:])
            del groups[at]
            last = not any(reduced for _, reduced in groups)
            target = builder.tensor(node.outputs[0]) if last else builder.scratch(DTYPES[x.dtype] * outer * inner)
            extents = {"outer": outer, "n": n, "inner": inner, "ldx": ld if run == 0 and not x.contiguous else inner}
            nbytes = DTYPES[x.dtype] * outer * n * inner
            if x.dtype == "float32":
                builder.emit("reduce_f32", [source, target], nbytes=nbytes,
                             reduction=REDUCTIONS.index(self.native[min(run, 1)]), root=self.root and last,
                             factor=1.0 / n if self.kind == "reduce_mean" else 1.0, **extents)
            else:
                builder.emit("reduce_u8", [source, target], nbytes=nbytes, flip=FLIPS[self.native[0], x.dtype], **extents)
            source = target
        return True


class Total(Reduce):
    """A reduction that adds."""

    def macs(self, inputs: list[Spec], outputs: list[Spec]) -> int:
        return count(inputs[0].shape)


@register
class ReduceMean(Total):
    """Arithmetic mean; of integers truncated towards zero.  NaN, or 0 for integers, of nothing"""

    kind: ClassVar[str] = "reduce_mean"
    native: ClassVar[tuple[str, str]] = ("sum", "sum")

    def compute(self, x: np.ndarray, **over: Any) -> np.ndarray:
        n = count([x.shape[a] for a in self.axes])
        total = x.sum(dtype=x.dtype, **over)
        if x.dtype.kind == "f":
            return total / n
        return total // max(n, 1) + ((total < 0) & (total % max(n, 1) != 0))


@register
class ReduceSum(Total):
    """Sum; 0 of nothing"""

    kind: ClassVar[str] = "reduce_sum"
    native: ClassVar[tuple[str, str]] = ("sum", "sum")

    def compute(self, x: np.ndarray, **over: Any) -> np.ndarray:
        return x.sum(dtype=x.dtype, **over)


@register
class ReduceProd(Reduce):
    """Product; 1 of nothing"""

    kind: ClassVar[str] = "reduce_prod"

    def compute(self, x: np.ndarray, **over: Any) -> np.ndarray:
        return x.prod(dtype=x.dtype, **over)


@register
class ReduceL1(Total):
    """Sum of magnitudes"""

    kind: ClassVar[str] = "reduce_l1"
    native: ClassVar[tuple[str, str]] = ("sum_abs", "sum")

    def compute(self, x: np.ndarray, **over: Any) -> np.ndarray:
        return np.abs(x).sum(dtype=x.dtype, **over)


@register
class ReduceL2(Total):
    """Square root of the sum of squares; of integers truncated"""

    kind: ClassVar[str] = "reduce_l2"
    native: ClassVar[tuple[str, str]] = ("sum_square", "sum")
    root: ClassVar[bool] = True

    def compute(self, x: np.ndarray, **over: Any) -> np.ndarray:
        return np.sqrt((x * x).sum(dtype=x.dtype, **over))


@register
class ReduceSumSquare(Total):
    """Sum of squares"""

    kind: ClassVar[str] = "reduce_sum_square"
    native: ClassVar[tuple[str, str]] = ("sum_square", "sum")

    def compute(self, x: np.ndarray, **over: Any) -> np.ndarray:
        return (x * x).sum(dtype=x.dtype, **over)


@register
class ReduceLogSumExp(Reduce):
    """log of the sum of exp, from differences to the largest: nothing overflows; -inf of nothing"""

    kind: ClassVar[str] = "reduce_log_sum_exp"
    dtypes: ClassVar[tuple[str, ...]] = ("float32",)

    def compute(self, x: np.ndarray, **over: Any) -> np.ndarray:
        top = x.max(axis=self.axes, keepdims=True, initial=-np.inf)
        # A set of -inf alone, and one with inf or NaN in it, has no finite difference: exp is right without.
        top = np.where(np.isfinite(top), top, 0.0)
        y = np.log(np.exp(x - top).sum(axis=self.axes, keepdims=True)) + top
        return y if self.keepdims else np.squeeze(y, self.axes)


class Extreme(Reduce):
    """A reduction that compares; NaN if any is."""

    dtypes: ClassVar[tuple[str, ...]] = (*NUMERIC, "bool")

    def reference(self, *arrays: np.ndarray) -> list[np.ndarray]:
        (x,) = arrays
        return [np.asarray(self.compute(x, axis=self.axes, keepdims=self.keepdims), x.dtype)]


@register
class ReduceMax(Extreme):
    """Maximum, of bool: any; of nothing -inf, the least integer, False"""

    kind: ClassVar[str] = "reduce_max"
    native: ClassVar[tuple[str, str]] = ("max", "max")

    def compute(self, x: np.ndarray, **over: Any) -> np.ndarray:
        return x.max(initial=_ends(x.dtype)[0], **over)


@register
class ReduceMin(Extreme):
    """Minimum, of bool: all; of nothing inf, the largest integer, True"""

    kind: ClassVar[str] = "reduce_min"
    native: ClassVar[tuple[str, str]] = ("min", "min")

    def compute(self, x: np.ndarray, **over: Any) -> np.ndarray:
        return x.min(initial=_ends(x.dtype)[1], **over)


def _ends(dtype: np.dtype) -> tuple[Any, Any]:
    """What every value of the dtype is at least, and at most."""
    if dtype.kind in "fb":
        return (-np.inf, np.inf) if dtype.kind == "f" else (False, True)
    return np.iinfo(dtype).min, np.iinfo(dtype).max


class Arg(Op):
    """int64 index along `axis`, the first of equals or, with `select_last_index`, the last.

    x of any numeric dtype; NaN counts as what is looked for.
    """

    least: ClassVar[bool] = False
    axis: int = 0
    keepdims: bool = True
    select_last_index: bool = False

    def infer(self, *inputs: Spec) -> list[Spec]:
        need_inputs(inputs, 1)
        shape, dtype = inputs[0]
        need(dtype in NUMERIC, f"a dtype among {', '.join(NUMERIC)}", dtype)
        axis = need_axis(self.axis, len(shape))
        need(shape[axis] >= 1, "at least one element along the axis", shape)
        return [Spec(_reduced(shape, (axis,), self.keepdims), "int64")]

    def reference(self, *arrays: np.ndarray) -> list[np.ndarray]:
        (x,) = arrays
        find = np.argmin if self.least else np.argmax
        if self.select_last_index:
            index = x.shape[self.axis] - 1 - find(np.flip(x, self.axis), axis=self.axis, keepdims=self.keepdims)
        else:
            index = find(x, axis=self.axis, keepdims=self.keepdims)
        return [np.asarray(index, np.int64)]

    def lower(self, builder: Any, node: Any) -> bool:
        x = builder.view(node.inputs[0])
        flip = FLIPS.get(("min" if self.least else "max", x.dtype))
        if x.dtype != "float32" and flip is None:
            return False
        axis = self.axis % len(x.shape)
        kernel, how = ("argmax_f32", {"least": self.least}) if flip is None else ("argmax_u8", {"flip": flip})
        builder.emit(kernel, [builder.tensor(x.name), builder.tensor(node.outputs[0])], nbytes=16 * x.size,
                     outer=count(x.shape[:axis]), n=x.shape[axis], inner=count(x.shape[axis + 1:]),
                     last=self.select_last_index, **how)
        return True


@register
class Argmax(Arg):
    """Where the largest element is"""

    kind: ClassVar[str] = "argmax"


@register
class Argmin(Arg):
    """Where the smallest element is"""

    kind: ClassVar[str] = "argmin"
    least: ClassVar[bool] = True
