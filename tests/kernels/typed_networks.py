"""What random networks compute on int64, bool and exact float32 beside what `random_networks.py` does on float32.

Only exact tensors are compared, rounded, sorted or cast: float32 inputs of multiples of 1/8 and what keeps them so, so that no
rounding error decides on which side of a border a number falls.  A method `typed_NAME` takes a tensor of any such type.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from hypothesis import strategies as st
from random_networks import FLOATS, Net

# Exact floats stay below the first, so that they do not dwarf the rest of a network; int64 below the second.
MOST_FLOAT, MOST_INT = 4, 2 ** 20
EXACT = ("exact", "int64", "bool")
MOVING = ("any_concat", "any_split", "any_slice", "any_transpose", "any_reshape", "any_gather", "any_expand", "any_tile")


class TypedNet(Net):
    def typed_input(self, dtype: str, *shape: int) -> str:
        name = self.input(*shape)
        values = {"exact": self.rng.integers(-8, 9, shape) / 8, "int64": self.rng.integers(-9, 10, shape),
                  "bool": self.rng.integers(0, 2, shape)}[dtype]
        self.inputs[name] = np.asarray(values, self.numpy_type(dtype))
        self.dtypes[name], self.bounds[name] = dtype, {"exact": 1, "int64": 9, "bool": 1}[dtype]
        return name

    @staticmethod
    def numpy_type(dtype: str) -> type:
        return {"exact": np.float32, "float32": np.float32, "int64": np.int64, "bool": np.bool_}[dtype]

    def step(self) -> None:
        x = self.tensor(dtypes=(*FLOATS, "int64", "bool"))
        assert x is not None
        dtype, shape = self.dtypes[x], self.shapes[x]
        if dtype == "float32" or dtype == "exact" and self.maybe():
            self.step_from(x)
            return
        typed = [name for name in dir(self) if name.startswith("typed_") and name != "typed_input"]
        getattr(self, self.choose([*typed, *typed, *MOVING]))(x, shape)

    def bounded(self, x: str, most: int = MOST_FLOAT) -> str:
        """x, or what a remainder or clipping leaves of it."""
        if self.bounds[x] <= most:
            return x
        shape = self.shapes[x]
        if self.dtypes[x] == "int64":
            inputs = [x, self.constant(np.array(most + 1, np.int64))]
            return self.op("Mod", inputs, shape, dtypes=["int64"], bound=most)
        limits = [self.constant(np.float32(-most)), self.constant(np.float32(most))]
        return self.op("Clip", [x, *limits], shape, dtypes=["exact"], bound=most)

    def exact_constant(self, dtype: str, *shape: int) -> str:
        low, high = (0, 2) if dtype == "bool" else (-3, 4)
        name = self.constant((self.rng.integers(low, high, shape) / (8 if dtype == "exact" else 1)).astype(
            self.numpy_type(dtype)))
        self.bounds[name] = 3
        return name

    def partner(self, x: str) -> tuple[str, tuple[int, ...]]:
        """Another tensor of the type of x, or a constant, that broadcasts; and the shape that both make."""
        dtype, shape = self.dtypes[x], self.shapes[x]
        if self.number(0, 2) == 0:
            own = [d if self.maybe() else 1 for d in shape[self.number(0, len(shape)):]]
            return self.exact_constant(dtype, *own), shape

        y = self.tensor(self.broadcasts(shape), (dtype,)) or x
        return y, np.broadcast_shapes(shape, self.shapes[y])

    # ---- what grows

    def typed_binary(self, x: str, shape: tuple[int, ...]) -> None:
        y, out = self.partner(x)
        dtype = self.dtypes[x]
        if dtype == "bool":
            kinds = ["And", "Or", "Xor"]
        else:
            kinds = ["Add", "Sub", *(["Max", "Min"] if self.opset >= 13 or dtype == "exact" else []),
                     *(["Mul"] if dtype == "int64" else [])]
        kind = self.choose(kinds)
        a, b = self.bounds[x], self.bounds[y]
        bound = {"Mul": a * b, "Add": a + b, "Sub": a + b}.get(kind, max(a, b))
        pair = [x, y] if self.maybe() else [y, x]
        result = self.op(kind, pair, out, dtypes=[dtype], bound=bound)
        self.bounded(result, MOST_FLOAT if dtype == "exact" else MOST_INT)

    def typed_divide(self, x: str, shape: tuple[int, ...]) -> None:
        """Towards zero, with the sign of the dividend or of the divisor; a divisor of either sign, never 0."""
        if self.dtypes[x] != "int64":
            return
        own = [d if self.maybe() else 1 for d in shape[self.number(0, len(shape)):]]
        divisors = self.constant(np.asarray(self.rng.choice([-7, -3, -2, 2, 3, 5], own), np.int64))
        kind = self.choose(("Div", "Mod", "Mod"))
        fmod = {"fmod": self.number(0, 1)} if kind == "Mod" else {}
        self.op(kind, [x, divisors], shape, dtypes=["int64"], **fmod)

    def typed_unary(self, x: str, shape: tuple[int, ...]) -> None:
        dtype = self.dtypes[x]
        kinds = {"bool": ["Not"], "int64": ["Neg", "Abs", "Sign"],
                 "exact": ["Neg", "Abs", "Sign", "Floor", "Ceil", "Round", "Relu"]}[dtype]
        kind = self.choose(kinds)
        self.op(kind, [x], shape, dtypes=[dtype], bound=max(self.bounds[x], 1))

    def typed_clip(self, x: str, shape: tuple[int, ...]) -> None:
        if self.dtypes[x] == "bool" or self.opset < 13 and self.dtypes[x] == "int64":
            return
        kind = self.numpy_type(self.dtypes[x])
        limits = [self.constant(np.array(v, kind)) for v in (-1, 2)]
        limits = self.choose(([limits[0]], limits, ["", limits[1]]))
        self.op("Clip", [x, *limits], shape, dtypes=[self.dtypes[x]], bound=max(self.bounds[x], 2))

    def typed_compare(self, x: str, shape: tuple[int, ...]) -> None:
        y, out = self.partner(x)
        kinds = ["Equal"] if self.dtypes[x] == "bool" else ["Equal", "Less", "Greater"]
        if self.dtypes[x] != "bool" and self.opset >= 13:
            kinds += ["LessOrEqual", "GreaterOrEqual"]
        self.op(self.choose(kinds), [x, y] if self.maybe() else [y, x], out, dtypes=["bool"], bound=1)

    def typed_where(self, x: str, shape: tuple[int, ...]) -> None:
        """One side, or the condition, is x; of two floats one may be approximate."""
        if self.dtypes[x] == "bool":
            y = self.tensor(self.broadcasts(shape), (*FLOATS, "int64"))
            if y is None:
                return
            condition = x
        else:
            condition, y = self.tensor(self.broadcasts(shape), ("bool",)), x
            if condition is None:
                return
        both = np.broadcast_shapes(self.shapes[condition], self.shapes[y])
        same = FLOATS if self.dtypes[y] in FLOATS else ("int64",)
        z = self.tensor(self.broadcasts(both), same)
        if z is None or self.maybe():
            z = self.exact_constant("int64" if same == ("int64",) else "exact", *both[len(both) // 2:])
        out = np.broadcast_shapes(both, self.shapes.get(z, ()))
        exact = self.dtypes.get(z, self.dtypes[y]) == self.dtypes[y]
        sides = [y, z] if self.maybe() else [z, y]
        self.op("Where", [condition, *sides], out, dtypes=[self.dtypes[y] if exact else "float32"])

    def typed_cast(self, x: str, shape: tuple[int, ...]) -> None:
        target = self.choose([t for t in EXACT if t != self.dtypes[x]])
        source = self.bounded(x) if target == "exact" else x
        number = {"exact": 1, "int64": 7, "bool": 9}[target]
        if self.dtypes[x] != "bool" and self.number(0, 3) == 0:
            source = self.op("Cast", [source], shape, dtypes=["int32"], to=6)
        self.op("Cast", [source], shape, dtypes=[target], bound=1 if target == "bool" else self.bounds[source], to=number)

    def typed_reduce(self, x: str, shape: tuple[int, ...]) -> None:
        axes = [i for i in range(len(shape)) if self.maybe()]
        kind = self.choose(("ReduceSum", "ReduceMax", "ReduceMin"))
        if not axes or self.dtypes[x] == "bool":
            return
        keep, bound = self.number(0, 1), self.bounds[x]
        out = tuple(1 if i in axes else d for i, d in enumerate(shape) if keep or i not in axes)
        if kind == "ReduceSum":
            bound *= math.prod(shape[a] for a in axes)
        by_input = self.opset >= 18 or kind == "ReduceSum" and self.opset >= 13
        inputs, more = ([x, self.integers(axes)], {}) if by_input else ([x], {"axes": axes})
        y = self.op(kind, inputs, out, dtypes=[self.dtypes[x]], bound=bound, keepdims=keep, **more)
        self.bounded(y, MOST_FLOAT if self.dtypes[x] == "exact" else MOST_INT)

    def typed_arg(self, x: str, shape: tuple[int, ...]) -> None:
        if self.dtypes[x] != "exact" or not shape:
            return
        axis, keep = self.number(0, len(shape) - 1), self.number(0, 1)
        out = tuple(1 if i == axis else d for i, d in enumerate(shape) if keep or i != axis)
        self.op(self.choose(("ArgMax", "ArgMin")), [x], out, dtypes=["int64"], bound=shape[axis], axis=axis, keepdims=keep)

    def typed_topk(self, x: str, shape: tuple[int, ...]) -> None:
        if self.dtypes[x] == "bool" or not shape:
            return
        axis = self.number(0, len(shape) - 1)
        k = self.number(1, shape[axis])
        out = (*shape[:axis], k, *shape[axis + 1:])
        self.op("TopK", [x, self.integers([k])], out, out, dtypes=[self.dtypes[x], "int64"],
                bound=max(self.bounds[x], shape[axis]), axis=axis, largest=self.number(0, 1))

    def typed_cumsum(self, x: str, shape: tuple[int, ...]) -> None:
        if self.dtypes[x] == "bool" or not shape:
            return
        axis = self.number(0, len(shape) - 1)
        y = self.op("CumSum", [x, self.constant(np.array(axis, np.int64))], shape, dtypes=[self.dtypes[x]],
                    bound=self.bounds[x] * shape[axis], exclusive=self.number(0, 1), reverse=self.number(0, 1))
        self.bounded(y, MOST_FLOAT if self.dtypes[x] == "exact" else MOST_INT)

    def typed_index(self, x: str, shape: tuple[int, ...]) -> None:
        """Computed numbers as the indices into another tensor."""
        other = self.tensor(lambda s: len(s) > 0 and self.small((*s, *shape)), (*FLOATS, "int64", "bool"))
        if self.dtypes[x] != "int64" or other is None:
            return
        size = self.shapes[other]
        axis = self.number(0, len(size) - 1)
        indices = self.op("Mod", [x, self.constant(np.array(size[axis], np.int64))], shape, dtypes=["int64"],
                          bound=size[axis])
        # What is picked is no larger for where it is picked from.
        out = (*size[:axis], *shape, *size[axis + 1:])
        self.op("Gather", [other, indices], out, bound=self.bounds.get(other, 0), axis=axis)

    def typed_pad(self, x: str, shape: tuple[int, ...]) -> None:
        if self.opset >= 13:
            self.any_pad(x, shape)

    def typed_max_pool(self, x: str, shape: tuple[int, ...]) -> None:
        if self.dtypes[x] == "exact" and len(shape) == 4 and min(shape[2:]) >= 2:
            out = (*shape[:2], shape[2] - 1, shape[3] // 2)
            self.op("MaxPool", [x], out, dtypes=["exact"], kernel_shape=[2, 2], strides=[1, 2])

    def any_gather(self, x: str, shape: tuple[int, ...]) -> None:
        if not shape:
            return
        axis = self.number(0, len(shape) - 1)
        count = self.number(0, 3)
        chosen = [self.number(-shape[axis], shape[axis] - 1) for _ in range(max(count, 1))]
        out = (*shape[:axis], *([count] if count else []), *shape[axis + 1:])
        if self.small(out):
            indices = self.integers(chosen) if count else self.constant(np.array(chosen[0]))
            self.op("Gather", [x, indices], out, axis=axis)

    def any_expand(self, x: str, shape: tuple[int, ...]) -> None:
        out = tuple(self.number(2, 3) if d == 1 and self.maybe() else d for d in shape)
        if len(shape) < 4 and self.maybe():
            out = (2, *out)
        if self.small(out):
            self.op("Expand", [x, self.integers(out)], out)

    def any_tile(self, x: str, shape: tuple[int, ...]) -> None:
        repeats = [self.choose((1, 1, 2, 3)) for _ in shape]
        out = tuple(d * r for d, r in zip(shape, repeats, strict=True))
        if shape and self.small(out):
            self.op("Tile", [x, self.integers(repeats)], out)

    def any_layer_norm(self, x: str, shape: tuple[int, ...]) -> None:
        axis = self.number(0, max(len(shape) - 1, 0))
        # Few elements may be nearly equal, and their difference is what remains.
        if self.opset < 17 or math.prod(shape[axis:]) < 4:
            return
        inputs = [x, *(self.weight(*shape[axis:]) for _ in range(self.number(1, 2)))]
        self.op("LayerNormalization", inputs, shape, axis=self.choose((axis, axis - len(shape))), epsilon=1e-1)


@st.composite
def networks(draw: Callable) -> TypedNet:
    """10 to 40 nodes.  Inputs are float32, and often exact ones of other types."""
    net = TypedNet(draw)
    for _ in range(draw(st.sampled_from((1, 1, 2, 3)))):
        rank = draw(st.sampled_from((4, 4, 4, 4, 3, 2, 2, 1)))
        n, c = draw(st.sampled_from((1, 1, 2))), draw(st.sampled_from((1, 2, 3, 4, 6, 8, 12, 16, 18, 20, 33)))
        shape = (n, c, draw(st.integers(3, 9)), draw(st.integers(2, 8)))[:rank] if rank > 1 else (c,)
        shape = shape if net.small(shape) else (1, *shape[1:])
        dtype = draw(st.sampled_from(("float32", *EXACT, "exact")))
        if dtype == "float32":
            net.input(*shape)
        else:
            net.typed_input(dtype, *shape)
    # Seldom fewer than 10, but a failure shrinks to as few as it needs.
    wanted = draw(st.integers(10 if draw(st.integers(0, 999)) else 1, 37))
    for _ in range(9 * wanted):
        if len(net.nodes) >= wanted:
            break
        net.step()
    return net
