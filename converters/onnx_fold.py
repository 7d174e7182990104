"""Evaluation of ONNX nodes whose inputs are all known at conversion, bounded before anything is computed."""

from __future__ import annotations

import math
import warnings

import numpy as np
import onnx
from onnx.reference import ReferenceEvaluator

from tinynet.converters.onnx_builder import Malformed, Refuse

# What one folded tensor may hold beyond the size of its own inputs: generous for anchors and grids, and small enough
# that a hostile file cannot make the converter allocate without end.
MAX_ELEMENTS = 1 << 24
# ConstantOfShape takes no memory until a layer wants its elements: some test networks spell all their weights so.
MAX_EQUAL_ELEMENTS = 1 << 27

_BROADCAST = frozenset((
    "Add And Div Equal Expand Greater GreaterOrEqual Less LessOrEqual Max Mean "
    "Min Mod Mul Or Pow Sub Sum Where Xor").split())

_SAME_SIZE = frozenset((
    "Abs ArgMax ArgMin Cast CastLike Ceil Clip Concat Cos CumSum Erf Exp Flatten Floor Gather "
    "GatherElements HardSigmoid HardSwish LeakyRelu Log Neg Not Reciprocal ReduceMax ReduceMean "
    "ReduceMin ReduceProd ReduceSum Relu Reshape Round ScatterElements ScatterND Sigmoid Sign Sin Slice Softplus Split "
    "Sqrt Squeeze Tanh Transpose Trilu Unsqueeze").split())

FOLDABLE = _BROADCAST | _SAME_SIZE | frozenset((
    "Compress ConstantOfShape GatherND Gemm MatMul NonZero OneHot Pad Range ReverseSequence Tile Unique").split())


def fold(node: onnx.NodeProto, opset: int, inputs: dict[str, np.ndarray]) -> list[np.ndarray]:
    """The node's outputs, from the reference implementation of the onnx package.

    Raises Refuse if the result would be too large or the package cannot compute it, Malformed for inputs that no
    implementation could accept.
    """
    arrays = [inputs[name] if name else None for name in node.input]
    elements = _output_elements(node, arrays)
    if node.op_type == "ConstantOfShape" and MAX_ELEMENTS < elements <= MAX_EQUAL_ELEMENTS:
        shape, one = tuple(_counts(arrays[0])), {**inputs, node.input[0]: np.ones(1, np.int64)}
        return [np.broadcast_to(_evaluate(node, opset, one)[0], shape)]
    if elements > max(MAX_ELEMENTS, sum(a.size for a in arrays if a is not None)):
        raise Refuse(f"its constant result of {elements} elements is too large")
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if node.op_type == "Div" and arrays[0].dtype.kind in "iu":
            return [_truncating_division(*arrays)]
        try:
            results = _evaluate(node, opset, inputs)
        except Exception as error:  # noqa: BLE001 (the evaluator raises whatever numpy does)
            raise Refuse(f"its constant inputs cannot be evaluated: {' '.join(str(error).split())}") from None
    return [np.asarray(result) for result in results]


def _evaluate(node: onnx.NodeProto, opset: int, inputs: dict[str, np.ndarray]) -> list[np.ndarray]:
    inside, outside = ([onnx.helper.make_empty_tensor_value_info(name) for name in names if name]
                       for names in (dict.fromkeys(node.input), node.output))
    graph = onnx.helper.make_graph([node], "fold", inside, outside)
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", opset)])
    results = dict(zip((o.name for o in outside), ReferenceEvaluator(model).run(None, inputs), strict=True))
    return [results[name] if name else np.empty(0) for name in node.output]


def _truncating_division(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """C's rule; numpy rounds towards minus infinity."""
    if not b.all():
        raise Malformed("integer division of constants by zero")
    quotient = np.floor_divide(a, b)
    return (quotient + ((quotient < 0) & (quotient * b != a))).astype(a.dtype)


def _output_elements(node: onnx.NodeProto, arrays: list[np.ndarray | None]) -> int:
    """An upper bound of the elements of the largest output."""
    kind = node.op_type
    shapes = [a.shape for a in arrays if a is not None]
    try:
        if kind == "Expand":
            return math.prod(np.broadcast_shapes(arrays[0].shape, tuple(_counts(arrays[1]))))
        if kind == "ConstantOfShape":
            return math.prod(_counts(arrays[0]))
        if kind == "Tile":
            return arrays[0].size * math.prod(_counts(arrays[1]))
        if kind == "Range":
            first, last, step = (a.reshape(-1)[0].item() for a in arrays)
            return max(0, math.ceil((last - first) / step))
        if kind == "OneHot":
            return arrays[0].size * max(1, int(arrays[1].reshape(-1)[0]))
        if kind == "NonZero":
            return arrays[0].size * arrays[0].ndim
        if kind in ("MatMul", "Gemm", "GatherND"):
            return arrays[0].size * arrays[1].size
        if kind == "Gather":
            return arrays[0].size * max(arrays[1].size, 1)
        if kind == "Pad":
            extra = _pad_amounts(node, arrays)
            return math.prod(d + extra for d in arrays[0].shape)
        if kind in _BROADCAST:
            return math.prod(np.broadcast_shapes(*shapes))
    except (ValueError, ZeroDivisionError, OverflowError, IndexError, TypeError, AttributeError) as error:
        raise Malformed(f"its constant inputs do not fit: {' '.join(str(error).split())}") from None
    return sum(math.prod(shape) for shape in shapes)


def _counts(array: np.ndarray) -> list[int]:
    counts = [int(v) for v in array.reshape(-1)]
    if any(n < 0 for n in counts):
        raise ValueError(f"negative extent in {counts}")
    return counts


def _pad_amounts(node: onnx.NodeProto, arrays: list[np.ndarray | None]) -> int:
    if len(arrays) > 1:
        return sum(abs(int(v)) for v in arrays[1].reshape(-1))
    return sum(abs(int(v)) for attribute in node.attribute if attribute.name in ("pads", "paddings")
               for v in attribute.ints)
