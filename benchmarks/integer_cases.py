"""Networks of one integer operator each, in the two forms that 8-bit ONNX models have, with data that fills its range."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

TYPES = (np.uint8, np.int8)
IMAGE = (1, 24, 60, 71)


class Scheme(NamedTuple):
    scale: np.ndarray
    zero: np.ndarray


class Network:
    """Nodes, constants and inputs of one network; `dtype` is that of its activations."""

    def __init__(self, rng: np.random.Generator, dtype: type, opset: int = 17):
        self.rng, self.dtype, self.opset = rng, dtype, opset
        self.nodes: list[Any] = []
        self.constants: dict[str, np.ndarray] = {}
        self.feeds: dict[str, np.ndarray] = {}
        self.outputs: list[str] = []

    # Data

    def scheme(self, low: float = 0.01, high: float = 0.05) -> Scheme:
        """A scale, and a zero point in the middle half of the type's range."""
        info = np.iinfo(self.dtype)
        return Scheme(np.float32(self.rng.uniform(low, high)), self.dtype(self.rng.integers(info.min + 64, info.max - 63)))

    def covering(self, deviation: float, lowest: float | None = None) -> Scheme:
        """For values of this deviation about 0, of which some saturate; or for values from `lowest` on."""
        info = np.iinfo(self.dtype)
        zero = info.min + 128 + self.rng.integers(-20, 20) if lowest is None else info.min - round(lowest / deviation * 42)
        return Scheme(np.float32(deviation / 42), self.dtype(np.clip(zero, info.min, info.max)))

    def integers(self, *shape: int, dtype: type | None = None) -> np.ndarray:
        info = np.iinfo(dtype or self.dtype)
        return self.rng.integers(info.min, info.max + 1, shape).astype(dtype or self.dtype)

    def input(self, *shape: int) -> str:
        self.feeds[f"x{len(self.feeds)}"] = self.integers(*shape)
        return f"x{len(self.feeds) - 1}"

    def weights(self, *shape: int, axis: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """int8 weights, a scale for each entry of an axis, zeros."""
        scale = self.rng.uniform(0.002, 0.01, shape[axis]).astype(np.float32)
        return np.maximum(self.integers(*shape, dtype=np.int8), -127), scale, np.zeros(shape[axis], np.int8)

    # Nodes

    def node(self, kind: str, *inputs: Any, domain: str = "", more: tuple[str, ...] = (), **attributes: Any) -> str:
        from onnx import helper

        names = []
        for value in inputs:
            if value is None or isinstance(value, str):
                names.append(value or "")
            else:
                names.append(f"c{len(self.constants)}")
                self.constants[names[-1]] = np.asarray(value)
        self.nodes.append(helper.make_node(kind, names, [f"t{len(self.nodes)}", *more], domain=domain, **attributes))
        return f"t{len(self.nodes) - 1}"

    def real(self, x: str, scheme: Scheme) -> str:
        return self.node("DequantizeLinear", x, *scheme)

    def quantized(self, y: str, scheme: Scheme) -> None:
        self.outputs.append(self.node("QuantizeLinear", y, *scheme))

    def model(self) -> Any:
        from onnx import TensorProto, helper, numpy_helper

        type_of = helper.np_dtype_to_tensor_dtype
        graph = helper.make_graph(
            self.nodes, "one_operator",
            [helper.make_tensor_value_info(n, type_of(a.dtype), a.shape) for n, a in self.feeds.items()],
            [helper.make_tensor_value_info(n, TensorProto.UNDEFINED, None) for n in self.outputs],
            [numpy_helper.from_array(a, n) for n, a in self.constants.items()])
        for output in graph.output:
            output.ClearField("type")
        opsets = [helper.make_opsetid("", self.opset), helper.make_opsetid("com.microsoft", 1)]
        return helper.make_model(graph, opset_imports=opsets, ir_version=8)


# Float operators between DequantizeLinear and QuantizeLinear


def _convolution(m: Network, outs: int, per_group: int, size: int, group: int = 1, relu: bool = False, kind: str = "Conv",
                 shape: tuple[int, ...] = IMAGE, **attributes: Any) -> None:
    x = m.scheme()
    filters = (outs, per_group) if kind == "Conv" else (shape[1], outs)
    w, w_scale, w_zero = m.weights(*filters, size, size, axis=0 if kind == "Conv" else 1)
    bias = m.rng.integers(-9999, 9999, outs).astype(np.int32)
    y = m.node(kind, m.real(m.input(*shape), x),
               m.node("DequantizeLinear", w, w_scale, w_zero, axis=0 if kind == "Conv" else 1),
               m.node("DequantizeLinear", bias, x.scale * w_scale, np.zeros(outs, np.int32), axis=0), group=group, **attributes)
    deviation = x.scale * float(w_scale.mean()) * 73 * 90 * math.sqrt(per_group * size * size)
    m.quantized(m.node("Relu", y) if relu else y, m.covering(deviation, 0.0 if relu else None))


def conv(*arguments: Any, **attributes: Any) -> Callable[[Network], None]:
    return lambda m: _convolution(m, *arguments, **attributes)


def _gemm(m: Network) -> None:
    x = m.scheme()
    w, scale, zero = m.weights(70, 200)
    bias = m.rng.integers(-9999, 9999, 70).astype(np.int32)
    y = m.node("Gemm", m.real(m.input(300, 200), x), m.node("DequantizeLinear", w, scale, zero, axis=0),
               m.node("DequantizeLinear", bias, x.scale * scale, np.zeros(70, np.int32), axis=0), transB=1)
    m.quantized(y, m.covering(x.scale * float(scale.mean()) * 73 * 90 * 14))


def _matmul(m: Network) -> None:
    x = m.scheme()
    w, scale, zero = m.weights(200, 70, axis=1)
    y = m.node("MatMul", m.real(m.input(300, 200), x), m.node("DequantizeLinear", w, scale, zero, axis=1))
    m.quantized(y, m.covering(x.scale * float(scale.mean()) * 73 * 90 * 14))


def _matmul_of_two(m: Network) -> None:
    a, b = m.scheme(), m.scheme()
    y = m.node("MatMul", m.real(m.input(4, 100, 60), a), m.real(m.input(4, 60, 50), b))
    m.quantized(y, m.covering(a.scale * b.scale * 73 * 73 * 8))


def of_two(kind: str, relu: bool = False) -> Callable[[Network], None]:
    def build(m: Network) -> None:
        a, b = m.scheme(), m.scheme()
        y = m.node(kind, m.real(m.input(*IMAGE), a), m.real(m.input(*IMAGE), b))
        deviation = 73 * math.hypot(a.scale, b.scale) if kind != "Mul" else 73 * 90 * a.scale * b.scale
        m.quantized(m.node("Relu", y) if relu else y, m.covering(deviation, 0.0 if relu else None))
    return build


def of_one(kind: str, output: tuple[float, float], *more: Any, same: bool = False, shape: tuple[int, ...] = IMAGE,
           opset: int = 17, **attributes: Any) -> Callable[[Network], None]:
    """A function of one tensor whose results lie between the two numbers; `same`: with its input's scale and zero."""
    def build(m: Network) -> None:
        m.opset = opset
        x, info = m.scheme(), np.iinfo(m.dtype)
        y = m.node(kind, m.real(m.input(*shape), x), *more, **attributes)
        scale = (output[1] - output[0]) / 255
        m.quantized(y, x if same else Scheme(np.float32(scale), m.dtype(np.clip(info.min - round(output[0] / scale), info.min,
                                                                                info.max))))
    return build


def _silu(m: Network) -> None:
    x, info = m.scheme(), np.iinfo(m.dtype)
    value = m.real(m.input(*IMAGE), x)
    unit = Scheme(np.float32(1 / 256), m.dtype(info.min))
    s = m.node("DequantizeLinear", m.node("QuantizeLinear", m.node("Sigmoid", value), *unit), *unit)
    m.quantized(m.node("Mul", value, s), Scheme(np.float32(0.03), m.dtype(info.min + 10)))


def _concat(m: Network) -> None:
    parts = [m.real(m.input(*IMAGE), m.scheme()) for _ in range(3)]
    m.quantized(m.node("Concat", *parts, axis=1), m.scheme())


def _again(m: Network) -> None:
    m.quantized(m.real(m.input(*IMAGE), m.scheme()), m.scheme())


def _quantize(m: Network) -> None:
    s = m.scheme()
    m.feeds["x0"] = m.rng.normal(0, 60 * s.scale, IMAGE).astype(np.float32)
    m.quantized("x0", s)


# Operators on integers


def _qlinear_conv(m: Network, group: int) -> None:
    x = m.scheme()
    w, scale, zero = m.weights(24, 24 // group, 3, 3)
    y = m.covering(x.scale * float(scale.mean()) * 73 * 90 * math.sqrt(9 * 24 / group))
    bias = m.rng.integers(-9999, 9999, 24).astype(np.int32)
    m.outputs.append(m.node("QLinearConv", m.input(*IMAGE), *x, w, scale, zero, *y, bias, group=group, pads=[1, 1, 1, 1]))


def _qlinear_matmul(m: Network) -> None:
    x = m.scheme()
    w, scale, zero = m.weights(200, 70, axis=1)
    m.outputs.append(m.node("QLinearMatMul", m.input(300, 200), *x, w, scale, zero,
                            *m.covering(x.scale * float(scale.mean()) * 73 * 90 * 14)))


def _integer_conv(m: Network) -> None:
    w, _, _ = m.weights(24, 24, 3, 3)
    m.outputs.append(m.node("ConvInteger", m.input(*IMAGE), w, m.scheme().zero, np.int8(0)))


def _integer_matmul(m: Network) -> None:
    w, _, _ = m.weights(200, 70)
    m.outputs.append(m.node("MatMulInteger", m.input(300, 200), w, m.scheme().zero, np.int8(0)))


def _dynamic(m: Network) -> None:
    m.feeds["x0"] = m.rng.normal(0.3, 2, IMAGE).astype(np.float32)
    m.outputs.append(m.node("DynamicQuantizeLinear", "x0", more=("scale", "zero")))


def contributed(kind: str, inputs: int, shape: tuple[int, ...] = IMAGE, shrink: float = 1.0,
                **attributes: Any) -> Callable[[Network], None]:
    """An operator of com.microsoft with (tensor, scale, zero) for each input, then those of the result, which `shrink`s."""
    def build(m: Network) -> None:
        a, b = m.scheme(), m.scheme()
        deviation = 73 * (math.hypot(a.scale, b.scale) if kind == "QLinearAdd" else 90 * a.scale * b.scale
                          if kind == "QLinearMul" else a.scale)
        tensors = [v for s in (a, b)[:inputs] for v in (m.input(*shape), *s)]
        m.outputs.append(m.node(kind, *tensors, *m.covering(shrink * deviation), domain="com.microsoft", **attributes))
    return build


def _qlinear_concat(m: Network) -> None:
    m.outputs.append(m.node("QLinearConcat", *m.scheme(), m.input(*IMAGE), *m.scheme(), m.input(*IMAGE), *m.scheme(), axis=1,
                            domain="com.microsoft"))


def to_unit(kind: str, shape: tuple[int, ...] = IMAGE, **attributes: Any) -> Callable[[Network], None]:
    def build(m: Network) -> None:
        unit = Scheme(np.float32(1 / 256), m.dtype(np.iinfo(m.dtype).min))
        m.outputs.append(m.node(kind, m.input(*shape), *m.scheme(), *unit, domain="com.microsoft", **attributes))
    return build


def _qgemm(m: Network) -> None:
    x = m.scheme()
    w, scale, zero = m.weights(70, 200)
    m.outputs.append(m.node("QGemm", m.input(300, 200), *x, w, scale, zero, m.rng.integers(-9999, 9999, 70).astype(np.int32),
                            *m.covering(x.scale * float(scale.mean()) * 73 * 90 * 14), transB=1, domain="com.microsoft"))


def _qlinear_where(m: Network) -> None:
    m.feeds["c"] = m.rng.random(IMAGE) < 0.5
    m.outputs.append(m.node("QLinearWhere", "c", m.input(*IMAGE), *m.scheme(), m.input(*IMAGE), *m.scheme(), *m.scheme(),
                            domain="com.microsoft"))


HALF = np.array([1, 1, 0.5, 0.5], np.float32)
TWICE = np.array([1, 1, 2, 2], np.float32)
SAME = [1, 1, 1, 1]
QDQ: dict[str, Callable[[Network], None]] = {
    "QuantizeLinear": _quantize,
    "DequantizeLinear, QuantizeLinear": _again,
    "Conv 1x1": conv(40, 24, 1),
    "Conv 3x3": conv(24, 24, 3, pads=SAME),
    "Conv 3x3, Relu": conv(24, 24, 3, relu=True, pads=SAME),
    "Conv 5x5, 3 channels, stride 2": conv(40, 3, 5, shape=(1, 3, 120, 131), pads=[2, 2, 2, 2], strides=[2, 2]),
    "Conv 3x3, groups": conv(24, 8, 3, 3, pads=SAME),
    "Conv 3x3, depthwise": conv(24, 1, 3, 24, pads=SAME),
    "Conv 5x5, depthwise, stride 2": conv(24, 1, 5, 24, pads=[2, 2, 2, 2], strides=[2, 2]),
    "ConvTranspose 2x2, stride 2": conv(12, 24, 2, kind="ConvTranspose", strides=[2, 2]),
    "ConvTranspose 3x3, stride 2": conv(12, 24, 3, kind="ConvTranspose", strides=[2, 2]),
    "Gemm": _gemm, "MatMul": _matmul, "MatMul of two tensors": _matmul_of_two,
    "Add": of_two("Add"), "Add, Relu": of_two("Add", relu=True), "Sub": of_two("Sub"), "Mul": of_two("Mul"), "Concat": _concat,
    "MaxPool": of_one("MaxPool", (-4, 4), same=True, kernel_shape=[3, 3], strides=[2, 2]),
    "AveragePool": of_one("AveragePool", (-4, 4), kernel_shape=[3, 3], pads=SAME),
    "GlobalAveragePool": of_one("GlobalAveragePool", (-2, 2), shape=(4, 500, 9, 11)),
    "ReduceMean": of_one("ReduceMean", (-2, 2), shape=(4, 500, 9, 11), axes=[2, 3], keepdims=0),
    "Resize, nearest": of_one("Resize", (-4, 4), None, TWICE, same=True, mode="nearest"),
    "Resize, linear": of_one("Resize", (-4, 4), None, TWICE, same=True, mode="linear"),
    "Resize to half, linear": of_one("Resize", (-4, 4), None, HALF, mode="linear"),
    "Pad": of_one("Pad", (-4, 4), np.array([0, 0, 1, 2, 0, 0, 2, 1]), same=True),
    "Relu": of_one("Relu", (0, 4)), "Clip": of_one("Clip", (0, 6), np.float32(0), np.float32(6)),
    "LeakyRelu": of_one("LeakyRelu", (-1, 4), alpha=0.1), "Sigmoid": of_one("Sigmoid", (0, 1)), "Tanh": of_one("Tanh", (-1, 1)),
    "HardSigmoid": of_one("HardSigmoid", (0, 1)), "HardSwish": of_one("HardSwish", (-0.4, 4)), "Elu": of_one("Elu", (-1, 4)),
    "Gelu": of_one("Gelu", (-0.2, 4), opset=20), "Mul by its Sigmoid": _silu,
    "Softmax": of_one("Softmax", (0, 1), shape=(6000, 40), axis=-1),
}
QOPERATOR: dict[str, Callable[[Network], None]] = {
    "QLinearConv": lambda m: _qlinear_conv(m, 1), "QLinearConv, depthwise": lambda m: _qlinear_conv(m, 24),
    "QLinearMatMul": _qlinear_matmul, "ConvInteger": _integer_conv, "MatMulInteger": _integer_matmul,
    "DynamicQuantizeLinear": _dynamic,
    "QLinearAdd": contributed("QLinearAdd", 2), "QLinearMul": contributed("QLinearMul", 2), "QLinearConcat": _qlinear_concat,
    "QLinearSigmoid": to_unit("QLinearSigmoid"), "QLinearLeakyRelu": contributed("QLinearLeakyRelu", 1, alpha=0.2),
    "QLinearSoftmax": to_unit("QLinearSoftmax", (6000, 40), axis=1, opset=13),
    "QLinearGlobalAveragePool": contributed("QLinearGlobalAveragePool", 1, (4, 500, 9, 11), 0.15),
    "QLinearAveragePool": contributed("QLinearAveragePool", 1, shrink=0.5, kernel_shape=[3, 3], pads=SAME), "QGemm": _qgemm,
    "QLinearWhere": _qlinear_where,
}


class Case(NamedTuple):
    name: str
    dtype: type
    build: Callable[[Network], None]

    def network(self, seed: int) -> Network:
        network = Network(np.random.default_rng(seed), self.dtype)
        self.build(network)
        return network


def cases() -> Iterator[Case]:
    for name, build in (QDQ | QOPERATOR).items():
        for dtype in TYPES:
            if not (name in ("ConvInteger", "DynamicQuantizeLinear") and dtype is np.int8):   # which onnxruntime lacks
                yield Case(name, dtype, build)
