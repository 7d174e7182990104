"""Random ONNX networks that grow node by node: the generator of `test_random_graphs.py`.

Every extent of a tensor is likely to differ from the others, so that a swapped axis is a wrong shape or a wrong number.
A method `any_NAME`, `rankN_NAME` or `image_NAME` adds a few nodes to a float32 tensor of any rank, of rank N, of rank 3 or 4,
or none where they do not fit.  What computes on other types is in `typed_networks.py`.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx
from hypothesis import strategies as st

MOST_TERMS = 300
MOST_ELEMENTS = 3000
OPSETS = (11, 13, 17, 18, 21)

UNARY = ("Relu", "Sigmoid", "Tanh", "HardSwish", "Elu", "Softplus", "Abs", "Neg", "Erf", "HardSigmoid", "LeakyRelu", "Clip",
         "Exp", "Sqrt", "Silu", "Identity", "Dropout", "Relu6", "HardSwishSpelled", "Gelu")
# Their results have the type of their operands, and are exact where those are.
MOVES = {"Concat", "Expand", "Flatten", "Gather", "Pad", "Reshape", "Slice", "Split", "Squeeze", "Tile", "Transpose",
         "Unsqueeze"}
# "exact" is float32 too: small multiples of 1/8, which every engine must agree on to the last bit.
FLOATS = ("float32", "exact")


class Net:
    """A model that grows.  `shapes` and `dtypes` hold every tensor that is computed, `bounds` the largest magnitude of those
    that are exact."""

    def __init__(self, draw: Callable) -> None:
        self.draw = draw
        self.opset = draw(st.sampled_from(OPSETS))
        self.rng = np.random.default_rng(draw(st.integers(0, 2 ** 16)))
        self.nodes: list[Any] = []
        self.constants: dict[str, np.ndarray] = {}
        self.inputs: dict[str, np.ndarray] = {}
        self.shapes: dict[str, tuple[int, ...]] = {}
        self.dtypes: dict[str, str] = {}
        self.bounds: dict[str, int] = {}
        self.used: set[str] = set()
        self.indices: dict[str, tuple[str, int, int]] = {}       # ArgMax output -> its input, axis, keepdims

    # ---- drawing

    def number(self, low: int, high: int) -> int:
        return self.draw(st.integers(low, high))

    def choose(self, options: Sequence[Any]) -> Any:
        return self.draw(st.sampled_from(list(options)))

    def maybe(self) -> bool:
        return self.draw(st.booleans())

    def tensor(self, fits: Callable[[tuple[int, ...]], bool] = lambda shape: True,
               dtypes: Sequence[str] = FLOATS) -> str | None:
        """A tensor drawn among those whose shape and type fit, the latest first."""
        names = [name for name, shape in reversed(self.shapes.items()) if self.dtypes[name] in dtypes and fits(shape)]
        return self.choose(names) if names else None

    # ---- building

    def weight(self, *shape: int, terms: int = 1) -> str:
        return self.constant((self.rng.standard_normal(shape) / math.sqrt(terms)).astype(np.float32))

    def constant(self, array: np.ndarray) -> str:
        name = f"c{len(self.constants)}"
        self.constants[name] = np.asarray(array)
        return name

    def integers(self, values: Sequence[int]) -> str:
        return self.constant(np.array(values, np.int64))

    def input(self, *shape: int) -> str:
        assert self.small(shape), shape
        name = f"in{len(self.inputs)}"
        self.inputs[name] = self.rng.standard_normal(shape).astype(np.float32)
        self.shapes[name], self.dtypes[name] = shape, "float32"
        return name

    def op(self, kind: str, inputs: Sequence[str], *shapes: tuple[int, ...], dtypes: Sequence[str] = (),
           bound: int | None = None, **attributes: Any) -> str:
        """The first output.  Without `dtypes` what moves keeps its type, and all else is float32.  Who adds a node sees to it
        that its outputs are `small`: so is every tensor, and at least its own shape broadcasts with it."""
        assert self.small(*shapes), f"{kind} makes {shapes}"
        outputs = [f"t{len(self.shapes) + i}" for i in range(len(shapes))]
        self.nodes.append(onnx.helper.make_node(kind, list(inputs), outputs, name=f"{kind}_{len(self.nodes)}", **attributes))
        self.used.update(inputs)
        self.shapes.update(zip(outputs, shapes, strict=True))
        if not dtypes:
            types = {self.dtypes.get(name, "float32") for name in (inputs if kind == "Concat" else inputs[:1])}
            dtypes = [types.pop() if kind in MOVES and len(types) == 1 else "float32"] * len(shapes)
        self.dtypes.update(zip(outputs, dtypes, strict=True))
        most = max((self.bounds.get(name, 0) for name in inputs), default=0) if bound is None else bound
        self.bounds.update(dict.fromkeys(outputs, max(most, 2 if kind == "Pad" else 0)))
        return outputs[0]

    def small(self, *shapes: Sequence[int]) -> bool:
        return all(math.prod(shape) <= MOST_ELEMENTS and all(d >= 1 for d in shape) for shape in shapes)

    def broadcasts(self, shape: tuple[int, ...]) -> Callable[[tuple[int, ...]], bool]:
        def fits(other: tuple[int, ...]) -> bool:
            with contextlib.suppress(ValueError):
                return self.small(np.broadcast_shapes(shape, other))
            return False
        return fits

    # ---- what grows

    def step(self) -> None:
        x = self.tensor()
        assert x is not None
        self.step_from(x)

    def step_from(self, x: str) -> None:
        kinds = ["any_unary", *(name for name in dir(self) if name.startswith("any_")), "any_unary"]
        kinds += [name for name in dir(self) if name.startswith(f"rank{len(self.shapes[x])}_")] * 2
        if len(self.shapes[x]) in (3, 4):
            kinds += [name for name in dir(self) if name.startswith("image_")] * 2
        getattr(self, self.choose(kinds))(x, self.shapes[x])

    def window(self, spatial: Sequence[int], kernel: Sequence[int],
               pads_below_kernel: bool) -> tuple[dict[str, Any], list[int]]:
        """(attributes, output extents) of a sliding window; extents below 1 where it does not fit."""
        n = len(spatial)
        strides = [self.choose((1, 1, 2, 3)) for _ in range(n)]
        dilations = [self.choose((1, 1, 1, 2)) for _ in range(n)]
        reach = [(k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True)]
        # onnxruntime refuses SAME_* with negative padding in pools.
        unit = dilations == [1] * n and not (pads_below_kernel and any(s > k for s, k in zip(strides, kernel, strict=True)))
        if self.number(0, 5) == 0 and unit:
            mode = self.choose(("SAME_UPPER", "SAME_LOWER", "VALID"))
            free = [r - 1 if mode == "VALID" else 0 for r in reach]
            out = [-(-(d - f) // s) for d, f, s in zip(spatial, free, strides, strict=True)]
            return {"strides": strides, "auto_pad": mode}, out
        if pads_below_kernel:
            # A dilated window may lie between the pixels, where engines differ in what the maximum of nothing is.
            most = [k - 1 if dilations == [1] * n else 0 for k in kernel]
        else:
            most = [3] * n
        pads = [self.number(0, m) for m in most * 2] if self.maybe() else [min(r // 2, m) for r, m in
                                                                         zip(reach, most, strict=True)] * 2
        out = [(d + pads[i] + pads[i + n] - reach[i]) // strides[i] + 1 if d + pads[i] + pads[i + n] >= reach[i] else 0
               for i, d in enumerate(spatial)]
        return {"strides": strides, "pads": pads, "dilations": dilations}, out

    def image_conv(self, x: str, shape: tuple[int, ...]) -> None:
        n, c, *spatial = shape
        group = self.choose([g for g in (1, 1, 2, 3, c) if c % g == 0])
        out = group * self.number(1, 3) if group > 1 else self.choose((1, 3, 5, 8, 16, 17, 24))
        kernel = [self.choose((1, 1, 2, 3, 3, 5)) for _ in spatial]
        attributes, extents = self.window(spatial, kernel, False)
        terms = c // group * math.prod(kernel)
        if terms > MOST_TERMS or not self.small((n, out, *extents)):
            return
        inputs = [x, self.weight(out, c // group, *kernel, terms=terms)] + ([self.weight(out)] if self.maybe() else [])
        self.op("Conv", inputs, (n, out, *extents), group=group, kernel_shape=kernel, **attributes)

    def image_conv_transpose(self, x: str, shape: tuple[int, ...]) -> None:
        n, c, *spatial = shape
        group = self.choose([g for g in (1, 1, 2, 3) if c % g == 0])
        each = self.number(1, 6)
        kernel = [self.number(1, 4) for _ in spatial]
        strides = [self.number(1, 3) for _ in spatial]
        dilations = [self.choose((1, 1, 2)) for _ in spatial]
        full = [(d - 1) * s + (k - 1) * q + 1 for d, s, k, q in zip(spatial, strides, kernel, dilations, strict=True)]
        pads = [self.number(0, min(2, (f - 1) // 2)) for f in full * 2]
        more = [self.number(0, s - 1) for s in strides]
        m = len(spatial)
        extents = [full[i] - pads[i] - pads[i + m] + more[i] for i in range(m)]
        terms = c // group * math.prod(kernel)
        if terms > MOST_TERMS or not self.small((n, each * group, *extents)):
            return
        inputs = [x, self.weight(c, each, *kernel, terms=c // group)] + ([self.weight(each * group)] if self.maybe() else [])
        self.op("ConvTranspose", inputs, (n, each * group, *extents), group=group, kernel_shape=kernel, strides=strides,
                dilations=dilations, pads=pads, output_padding=more)

    def image_batch_norm(self, x: str, shape: tuple[int, ...]) -> None:
        c = shape[1]
        variance = self.constant((self.rng.random(c) + 0.5).astype(np.float32))
        self.op("BatchNormalization", [x, self.weight(c), self.weight(c), self.weight(c), variance], shape, epsilon=1e-3)

    rank2_batch_norm = image_batch_norm

    def image_pool(self, x: str, shape: tuple[int, ...]) -> None:
        n, c, *spatial = shape
        kernel = [self.number(1, 3) for _ in spatial]
        kind = self.choose(("MaxPool", "AveragePool"))
        attributes, extents = self.window(spatial, kernel, True)
        if kind == "AveragePool":
            # onnxruntime knows no dilation before opset 19.
            if attributes.pop("dilations", [1] * len(spatial)) != [1] * len(spatial):
                return
            attributes["count_include_pad"] = self.number(0, 1)
        up = self.ceil_extents(spatial, kernel, attributes)
        if up and attributes.get("dilations", [1] * len(spatial)) == [1] * len(spatial) and self.maybe():
            extents = up
            attributes["ceil_mode"] = 1
        if self.small((n, c, *extents)):
            self.op(kind, [x], (n, c, *extents), kernel_shape=kernel, **attributes)

    @staticmethod
    def ceil_extents(spatial: Sequence[int], kernel: Sequence[int], attributes: dict[str, Any]) -> list[int] | None:
        """None where a last window would start in the padding: versions of the operator differ in what they do."""
        pads, n = attributes.get("pads"), len(spatial)
        if pads is None:
            return None
        out = []
        for i, d in enumerate(spatial):
            s, room = attributes["strides"][i], d + pads[i] + pads[i + n] - kernel[i]
            out.append(-(-room // s) + 1)
            if room < 0 or (out[-1] - 1) * s >= d + pads[i]:
                return None
        return out

    def image_global_pool(self, x: str, shape: tuple[int, ...]) -> None:
        self.op(self.choose(("GlobalAveragePool", "GlobalMaxPool")), [x], shape[:2] + (1,) * (len(shape) - 2))

    def image_squeeze_and_excite(self, x: str, shape: tuple[int, ...]) -> None:
        ones = (1,) * (len(shape) - 2)
        c, middle = shape[1], self.number(1, 4)
        y = self.op("GlobalAveragePool", [x], shape[:2] + ones)
        y = self.op("Conv", [y, self.weight(middle, c, *ones, terms=c), self.weight(middle)], (shape[0], middle, *ones))
        y = self.op("Relu", [y], (shape[0], middle, *ones))
        y = self.op("Conv", [y, self.weight(c, middle, *ones, terms=middle)], (shape[0], c, *ones))
        y = self.op(self.choose(("Sigmoid", "HardSigmoid")), [y], (shape[0], c, *ones))
        self.op("Mul", [x, y] if self.maybe() else [y, x], shape)

    def rank4_inverted_bottleneck(self, x: str, shape: tuple[int, ...]) -> None:
        n, c, h, w = shape
        wide = c * self.number(1, 3)
        if not self.small((n, wide, h, w)) or c > 64:
            return
        y = self.op("Conv", [x, self.weight(wide, c, 1, 1, terms=c), self.weight(wide)], (n, wide, h, w))
        y = self.op("Clip", [y, self.constant(np.float32(0)), self.constant(np.float32(6))], (n, wide, h, w))
        filters = self.weight(wide, 1, 3, 3, terms=9)
        y = self.op("Conv", [y, filters, self.weight(wide)], (n, wide, h, w), group=wide, pads=[1] * 4)
        y = self.op("Relu", [y], (n, wide, h, w))
        y = self.op("Conv", [y, self.weight(c, wide, 1, 1, terms=wide)], shape)
        self.op("Add", [x, y] if self.maybe() else [y, x], shape)

    def rank4_resize(self, x: str, shape: tuple[int, ...]) -> None:
        factors = [self.choose((0.5, 1.0, 1.5, 2.0, 3.0)) for _ in range(2)]
        whole = all(d * f == int(d * f) for d, f in zip(shape[2:], factors, strict=True))
        out = (*shape[:2], *(int(math.floor(np.float32(d) * np.float32(f))) for d, f in zip(shape[2:], factors, strict=True)))
        if not self.small(out):
            return
        mode = self.choose(("nearest", "linear"))
        # Where size * scale is a fraction, onnxruntime aligns the corners of what it rounds to, the specification does not.
        attributes = {"mode": mode, "coordinate_transformation_mode": self.choose(
            ("half_pixel", "asymmetric", "pytorch_half_pixel", *(["align_corners"] if whole else [])))}
        if mode == "nearest":
            # Where a coordinate falls on a border between pixels, float32 rounding decides: only exact cases.
            attributes |= {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
        scales = self.constant(np.array([1, 1, *factors], np.float32))
        self.op("Resize", [x, "", scales] if self.opset >= 13 else [x, self.weight(0), scales], out, **attributes)

    def rank4_depth_to_space(self, x: str, shape: tuple[int, ...]) -> None:
        n, c, h, w = shape
        block = self.choose((2, 3))
        if c % (block * block) == 0:
            self.op("DepthToSpace", [x], (n, c // block ** 2, h * block, w * block), blocksize=block,
                    mode=self.choose(("DCR", "CRD")))
        elif h % block == 0 and w % block == 0:
            self.op("SpaceToDepth", [x], (n, c * block ** 2, h // block, w // block), blocksize=block)

    def rank4_lrn(self, x: str, shape: tuple[int, ...]) -> None:
        self.op("LRN", [x], shape, size=self.choose((1, 3, 5)), alpha=0.1, beta=0.75, bias=1.0)

    def rank4_channel_shuffle(self, x: str, shape: tuple[int, ...]) -> None:
        n, c, h, w = shape
        groups = self.choose([g for g in (2, 3, 4, c) if c % g == 0])
        y = self.reshape_to(x, (n, groups, c // groups, h, w))
        y = self.op("Transpose", [y], (n, c // groups, groups, h, w), perm=[0, 2, 1, 3, 4])
        self.reshape_to(y, shape)

    def rank2_gemm(self, x: str, shape: tuple[int, ...]) -> None:
        m, k = shape
        n = self.choose((1, 4, 10, 16, 17, 33))
        if k > MOST_TERMS:
            return
        transposed = self.number(0, 1)
        w = self.weight(*((n, k) if transposed else (k, n)), terms=k)
        bias = [self.weight(*self.choose(((n,), (1, n), (m, 1), (m, n), (1,))))] if self.maybe() else []
        self.op("Gemm", [x, w, *bias], (m, n), transB=transposed, alpha=self.choose((1.0, 0.5)), beta=self.choose((1.0, 2.0)))

    def any_linear(self, x: str, shape: tuple[int, ...]) -> None:
        n = self.choose((1, 3, 16, 18))
        if len(shape) < 2 or shape[-1] > MOST_TERMS or not self.small((*shape[:-1], n)):
            return
        y = self.op("MatMul", [x, self.weight(shape[-1], n, terms=shape[-1])], (*shape[:-1], n))
        if self.maybe():
            self.op("Add", [y, self.weight(n)] if self.maybe() else [self.weight(n), y], (*shape[:-1], n))

    def any_attention(self, x: str, shape: tuple[int, ...]) -> None:
        if len(shape) < 2 or shape[-1] > MOST_TERMS or not self.small((*shape[:-1], shape[-2])):
            return
        order = [*range(len(shape) - 2), len(shape) - 1, len(shape) - 2]
        turned = self.op("Transpose", [x], tuple(shape[i] for i in order), perm=order)
        y = self.op("MatMul", [x, turned], (*shape[:-1], shape[-2]))
        y = self.op("Mul", [y, self.constant(np.float32(1 / shape[-1]))], (*shape[:-1], shape[-2]))
        y = self.op("Softmax", [y], (*shape[:-1], shape[-2]), axis=-1 if self.opset >= 13 else len(shape) - 1)
        self.op("MatMul", [y, x], shape)

    def any_unary(self, x: str, shape: tuple[int, ...]) -> None:
        kind = self.choose(UNARY)
        constant = self.constant
        if kind == "Silu":
            self.op("Mul", [x, self.op("Sigmoid", [x], shape)], shape)
        elif kind == "HardSwish" and self.opset < 14 or kind == "HardSwishSpelled":
            y = self.op("Add", [x, constant(np.float32(3))], shape)
            y = self.op("Clip", [y, constant(np.float32(0)), constant(np.float32(6))], shape)
            y = self.op("Div", [y, constant(np.float32(6))], shape)
            self.op("Mul", [x, y], shape)
        elif kind == "Gelu":
            y = self.op("Erf", [self.op("Div", [x, constant(np.float32(2 ** 0.5))], shape)], shape)
            y = self.op("Mul", [x, self.op("Add", [y, constant(np.float32(1))], shape)], shape)
            self.op("Mul", [y, constant(np.float32(0.5))], shape)
        elif kind == "Exp":
            self.op("Exp", [self.op("Tanh", [x], shape)], shape)
        elif kind == "Sqrt":
            y = self.op("Add", [self.op("Abs", [x], shape), constant(np.float32(1))], shape)
            self.op(self.choose(("Sqrt", "Reciprocal", "Log")), [y], shape)
        elif kind == "Relu6":
            self.op("Clip", [x, constant(np.float32(0)), constant(np.float32(6))], shape)
        elif kind == "Clip":
            self.op("Clip", [x, self.choose(("", constant(np.float32(-0.5)))), constant(np.float32(1.5))], shape)
        else:
            attributes = {"LeakyRelu": {"alpha": 0.1}, "Elu": {"alpha": 0.7}, "HardSigmoid": {"alpha": 0.3, "beta": 0.4}}
            self.op(kind, [x], shape, **attributes.get(kind, {}))

    def any_prelu(self, x: str, shape: tuple[int, ...]) -> None:
        if len(shape) >= 2:
            self.op("PRelu", [x, self.weight(shape[1], *(1,) * (len(shape) - 2))], shape)

    def any_constant_operand(self, x: str, shape: tuple[int, ...]) -> None:
        """x (op) constant: a scalar, per channel, full, or one that makes x larger."""
        kind = self.choose(("Add", "Sub", "Mul", "Div", "Max", "Min"))
        own = list(shape[self.number(0, len(shape)):])
        own = [d if self.maybe() else 1 for d in own]
        array = self.rng.standard_normal(own).astype(np.float32)
        swapped = self.maybe()
        if kind == "Div":
            array, swapped = np.sign(array) * (np.abs(array) + 1), False
        names = [x, self.constant(array)]
        self.op(kind, names[::-1] if swapped else names, shape)

    def any_two_operands(self, x: str, shape: tuple[int, ...]) -> None:
        y = self.tensor(self.broadcasts(shape))
        assert y is not None
        out = np.broadcast_shapes(shape, self.shapes[y])
        kind = self.choose(("Add", "Add", "Sub", "Mul", "Max", "Min", "Div", "Sum"))
        if kind == "Mul":
            y = self.op("Sigmoid", [y], self.shapes[y])
        elif kind == "Div":
            y = self.op("Exp", [self.op("Tanh", [y], self.shapes[y])], self.shapes[y])
        pair = [x, y] if kind == "Div" or self.maybe() else [y, x]
        y = self.op(kind, pair, out)
        if self.maybe():
            self.op("Relu", [y], out)

    def any_concat(self, x: str, shape: tuple[int, ...]) -> None:
        if not shape:
            return
        axis = self.number(0, len(shape) - 1)

        def fits(other: tuple[int, ...]) -> bool:
            return len(other) == len(shape) and other[:axis] == shape[:axis] and other[axis + 1:] == shape[axis + 1:]

        dtype = self.dtypes[x]
        names = [x, *(self.tensor(fits, FLOATS if dtype in FLOATS else (dtype,)) for _ in range(self.number(1, 2)))]
        if dtype in FLOATS and self.number(0, 4) == 0:
            names.append(self.weight(*shape))
        names = self.draw(st.permutations(names))
        total = sum(self.shapes[n][axis] if n in self.shapes else shape[axis] for n in names)
        out = (*shape[:axis], total, *shape[axis + 1:])
        if self.small(out):
            self.op("Concat", names, out, axis=self.choose((axis, axis - len(shape))))

    def any_split(self, x: str, shape: tuple[int, ...]) -> None:
        axes = [i for i, d in enumerate(shape) if d >= 2]
        if not axes:
            return
        axis = self.choose(axes)
        first = self.number(1, shape[axis] - 1)
        sizes = [first, shape[axis] - first]
        if sizes[1] > 1 and self.maybe():
            sizes[1:] = [1, sizes[1] - 1]
        shapes = [(*shape[:axis], s, *shape[axis + 1:]) for s in sizes]
        if self.opset < 13:
            self.op("Split", [x], *shapes, axis=axis, split=sizes)
        else:
            self.op("Split", [x, self.integers(sizes)], *shapes, axis=axis)

    def any_slice(self, x: str, shape: tuple[int, ...]) -> None:
        axes = [i for i in range(len(shape)) if self.maybe()]
        if not axes:
            return
        starts, ends, steps, out = [], [], [], list(shape)
        for axis in axes:
            d = shape[axis]
            step = self.choose((1, 1, 1, 2, -1, -2))
            first, last = sorted((self.number(0, d - 1), self.number(0, d - 1)))
            start, end = (first, last + 1) if step > 0 else (last, first - 1 if first else -d - 1)
            out[axis] = len(range(start, last + 1 if step > 0 else first - 1, step))
            starts.append(start)
            ends.append(end)
            steps.append(step)
        self.op("Slice", [x, *(self.integers(v) for v in (starts, ends, axes, steps))], tuple(out))

    def any_pad(self, x: str, shape: tuple[int, ...]) -> None:
        mode = self.choose(("constant", "constant", "edge", "reflect"))
        most = [min(2, d - 1) if mode == "reflect" else 2 for d in shape]
        spatial = self.maybe() and len(shape) == 4
        pads = [0 if spatial and i % 4 < 2 else self.number(0, m) for i, m in enumerate(most + most)]
        out = tuple(d + a + b for d, a, b in zip(shape, pads[:len(shape)], pads[len(shape):], strict=True))
        if shape and self.small(out):
            inputs = [x, self.integers(pads)]
            if mode == "constant" and self.dtypes[x] in FLOATS and self.maybe():
                inputs.append(self.constant(np.float32(self.choose((0.0, 0.0, 1.5, -1.0)))))
            self.op("Pad", inputs, out, mode=mode)

    def any_transpose(self, x: str, shape: tuple[int, ...]) -> None:
        perm = self.choose(((0, 2, 3, 1), (0, 3, 1, 2))) if len(shape) == 4 and self.maybe() else self.draw(
            st.permutations(range(len(shape))))
        if shape:
            self.op("Transpose", [x], tuple(shape[p] for p in perm), perm=list(perm))

    def reshape_to(self, x: str, shape: tuple[int, ...]) -> str:
        return self.op("Reshape", [x, self.integers(shape)], shape)

    def any_reshape(self, x: str, shape: tuple[int, ...]) -> None:
        """Merge neighbouring axes, or split one, or put a 1 in, or take one out."""
        at = self.number(0, max(len(shape) - 1, 0))
        kind = self.choose(("merge", "split", "flatten", "unsqueeze", "squeeze", "line"))
        if kind == "merge" and at + 1 < len(shape):
            self.reshape_to(x, (*shape[:at], shape[at] * shape[at + 1], *shape[at + 2:]))
        elif kind == "split" and shape and len(shape) < 5:
            divisor = self.choose([q for q in range(1, shape[at] + 1) if shape[at] % q == 0])
            self.reshape_to(x, (*shape[:at], divisor, shape[at] // divisor, *shape[at + 1:]))
        elif kind == "flatten":
            self.op("Flatten", [x], (math.prod(shape[:at]), math.prod(shape[at:])), axis=at)
        elif kind == "unsqueeze" and len(shape) < 5:
            axes = ([x, self.integers([at])], {}) if self.opset >= 13 else ([x], {"axes": [at]})
            self.op("Unsqueeze", axes[0], (*shape[:at], 1, *shape[at:]), **axes[1])
        elif kind == "squeeze" and 1 in shape:
            at = shape.index(1)
            axes = ([x, self.integers([at])], {}) if self.opset >= 13 else ([x], {"axes": [at]})
            self.op("Squeeze", axes[0], shape[:at] + shape[at + 1:], **axes[1])
        elif kind == "line":
            self.reshape_to(x, (math.prod(shape),))

    def any_softmax(self, x: str, shape: tuple[int, ...]) -> None:
        if shape:
            self.op("Softmax", [x], shape, axis=self.number(0, len(shape) - 1))

    def any_reduce(self, x: str, shape: tuple[int, ...]) -> None:
        axes = [i for i in range(len(shape)) if self.maybe()]
        kind = self.choose(("ReduceMean", "ReduceMean", "ReduceMax", "ReduceMin", "ReduceSum"))
        if not axes or kind == "ReduceSum" and math.prod(shape[a] for a in axes) > 8:
            return
        keep = self.number(0, 1)
        out = tuple(1 if i in axes else d for i, d in enumerate(shape) if keep or i not in axes)
        if self.opset >= 18 or kind == "ReduceSum" and self.opset >= 13:
            self.op(kind, [x, self.integers(axes)], out, keepdims=keep)
        else:
            self.op(kind, [x], out, axes=axes, keepdims=keep)

    def any_argmax(self, x: str, shape: tuple[int, ...]) -> None:
        if not shape or len(self.indices) == 2:
            return
        axis, keep = self.number(0, len(shape) - 1), self.number(0, 1)
        name = f"index{len(self.indices)}"
        self.nodes.append(onnx.helper.make_node("ArgMax", [x], [name], axis=axis, keepdims=keep))
        self.indices[name] = (x, axis, keep)

    # ---- the end

    def model(self) -> Any:
        """Everything that nobody reads is an output, and a few other tensors too."""
        computed = [name for name in self.shapes if name not in self.inputs]
        outputs = [name for name in computed if name not in self.used or name in {x for x, *_ in self.indices.values()}]
        if computed and self.maybe():
            outputs.append(self.choose(computed))
        if self.number(0, 9) == 0:
            outputs.append(self.choose(list(self.inputs)))
        outputs = list(dict.fromkeys([*outputs, *(x for x, *_ in self.indices.values()), *self.indices]))
        outputs = outputs or list(self.inputs)[:1]
        helper, kind = onnx.helper, onnx.TensorProto
        types = {"bool": kind.BOOL, "int32": kind.INT32, "int64": kind.INT64} | dict.fromkeys(FLOATS, kind.FLOAT)
        infos = [helper.make_tensor_value_info(n, types[self.dtypes[n]], a.shape) for n, a in self.inputs.items()]
        results = [helper.make_tensor_value_info(n, types[self.dtypes.get(n, "int64")], None) for n in outputs]
        weights = [onnx.numpy_helper.from_array(a, n) for n, a in self.constants.items()]
        graph = helper.make_graph(self.nodes, "random", infos, results, weights)
        return helper.make_model(graph, ir_version=9, opset_imports=[helper.make_opsetid("", self.opset)])
