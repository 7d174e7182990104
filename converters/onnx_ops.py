"""Every ONNX operator that the importer knows, and the schema versions whose meaning it implements.

A function is called as `function(builder, *inputs, **attributes)`: inputs are `Value`s, None where an optional one is
left out; attributes have the specification's names, and its defaults where a node does not give them.  It returns the
first output, or a list.  `None` for the function: the operator only works where all its inputs are known at conversion.

A version is the opset in which the operator last changed (`onnx.defs.get_schema(name, opset).since_version`).  An
operator at a version that is not listed is reported as unsupported: a new opset may have changed its meaning.  The
versions 21 to 25 of the shape operators, and 22 of most others, only add data types.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from tinynet.converters import onnx_ops_conv as conv
from tinynet.converters import onnx_ops_image as image
from tinynet.converters import onnx_ops_math as math
from tinynet.converters import onnx_ops_move as move


class Operator(NamedTuple):
    function: Callable | None
    versions: tuple[int, ...]


_TYPES = (21, 23, 24, 25)

OPERATORS: dict[str, Operator] = {
    "Abs": Operator(math.unary("abs"), (6, 13)),
    "Add": Operator(math.binary("add"), (7, 13, 14)),
    "And": Operator(None, (7,)),
    "ArgMax": Operator(math.arg_max, (1, 11, 12, 13)),
    "ArgMin": Operator(None, (1, 11, 12, 13)),
    "AveragePool": Operator(image.average_pool, (7, 10, 11, 19, 22)),
    "BatchNormalization": Operator(conv.batch_normalization, (7, 9, 14, 15)),
    "Cast": Operator(move.cast, (6, 9, 13, 19, *_TYPES)),
    "CastLike": Operator(move.cast_like, (15, 19, *_TYPES)),
    "Ceil": Operator(math.unary("ceil"), (6, 13)),
    "Clip": Operator(math.clip, (6, 11, 12, 13)),
    "Concat": Operator(move.concat, (4, 11, 13)),
    "Constant": Operator(move.constant, (1, 9, 11, 12, 13, 19, *_TYPES)),
    "ConstantOfShape": Operator(None, (9, 20, *_TYPES)),
    "Conv": Operator(conv.conv, (1, 11, 22)),
    "ConvTranspose": Operator(conv.conv_transpose, (1, 11, 22)),
    "Cos": Operator(None, (7, 22)),
    "CumSum": Operator(None, (11, 14)),
    "DepthToSpace": Operator(image.depth_to_space, (1, 11, 13)),
    "Div": Operator(math.div, (7, 13, 14)),
    "Dropout": Operator(math.dropout, (7, 10, 12, 13, 22)),
    "Elu": Operator(math.elu, (6, 22)),
    "Equal": Operator(None, (7, 11, 13, 19)),
    "Erf": Operator(math.unary("erf"), (9, 13)),
    "Exp": Operator(math.unary("exp"), (6, 13)),
    "Expand": Operator(move.expand, (8, 13)),
    "Flatten": Operator(move.flatten, (1, 9, 11, 13, *_TYPES)),
    "Floor": Operator(math.unary("floor"), (6, 13)),
    "Gather": Operator(move.gather, (1, 11, 13)),
    "GatherElements": Operator(None, (11, 13)),
    "Gelu": Operator(math.gelu, (20,)),
    "Gemm": Operator(conv.gemm, (7, 9, 11, 13)),
    "GlobalAveragePool": Operator(image.global_average_pool, (1, 22)),
    "GlobalMaxPool": Operator(image.global_max_pool, (1, 22)),
    "Greater": Operator(None, (7, 9, 13)),
    "GreaterOrEqual": Operator(None, (12, 16)),
    "HardSigmoid": Operator(math.hard_sigmoid, (6, 22)),
    "HardSwish": Operator(math.unary("hard_swish"), (14, 22)),
    "Identity": Operator(math.identity, (1, 13, 14, 16, 19, *_TYPES)),
    "LRN": Operator(conv.lrn, (1, 13)),
    "LeakyRelu": Operator(math.leaky_relu, (6, 16)),
    "Less": Operator(None, (7, 9, 13)),
    "LessOrEqual": Operator(None, (12, 16)),
    "Log": Operator(math.unary("log"), (6, 13)),
    "MatMul": Operator(conv.matmul, (1, 9, 13)),
    "Max": Operator(math.chain("maximum"), (6, 8, 12, 13)),
    "MaxPool": Operator(image.max_pool, (1, 8, 10, 11, 12, 22)),
    "Mean": Operator(math.mean, (6, 8, 13)),
    "Min": Operator(math.chain("minimum"), (6, 8, 12, 13)),
    "Mod": Operator(None, (10, 13)),
    "Mul": Operator(math.binary("mul"), (7, 13, 14)),
    "Neg": Operator(math.unary("neg"), (6, 13)),
    "Not": Operator(None, (1,)),
    "Or": Operator(None, (7,)),
    "PRelu": Operator(math.prelu, (7, 9, 16)),
    "Pad": Operator(move.pad, (2, 11, 13, 18, 19, *_TYPES)),
    "Pow": Operator(math.pow_, (7, 12, 13, 15)),
    "Range": Operator(None, (11,)),
    "Reciprocal": Operator(math.unary("reciprocal"), (6, 13)),
    "ReduceMax": Operator(math.reduction("reduce_max"), (1, 11, 12, 13, 18, 20)),
    "ReduceMean": Operator(math.reduction("reduce_mean"), (1, 11, 13, 18)),
    "ReduceMin": Operator(math.reduction("reduce_min"), (1, 11, 12, 13, 18, 20)),
    "ReduceProd": Operator(None, (1, 11, 13, 18)),
    "ReduceSum": Operator(math.reduction("reduce_sum"), (1, 11, 13)),
    "Relu": Operator(math.unary("relu"), (6, 13, 14)),
    "Reshape": Operator(move.reshape, (5, 13, 14, 19, *_TYPES)),
    "Resize": Operator(image.resize, (10, 11, 13, 18, 19)),
    "Round": Operator(math.unary("round"), (11, 22)),
    "ScatterElements": Operator(None, (11, 13, 16, 18)),
    "ScatterND": Operator(None, (11, 13, 16, 18)),
    "Shape": Operator(move.shape, (1, 13, 15, 19, *_TYPES)),
    "Sigmoid": Operator(math.unary("sigmoid"), (6, 13)),
    "Sign": Operator(None, (9, 13)),
    "Sin": Operator(None, (7, 22)),
    "Size": Operator(move.size, (1, 13, 19, *_TYPES)),
    "Slice": Operator(move.slice_, (1, 10, 11, 13)),
    "Softmax": Operator(math.softmax, (1, 11, 13)),
    "Softplus": Operator(math.unary("softplus"), (1, 22)),
    "SpaceToDepth": Operator(image.space_to_depth, (1, 13)),
    "Split": Operator(move.split, (2, 11, 13, 18)),
    "Sqrt": Operator(math.unary("sqrt"), (6, 13)),
    "Squeeze": Operator(move.squeeze, (1, 11, 13, *_TYPES)),
    "Sub": Operator(math.binary("sub"), (7, 13, 14)),
    "Sum": Operator(math.chain("add"), (6, 8, 13)),
    "Tanh": Operator(math.unary("tanh"), (6, 13)),
    "Tile": Operator(move.tile, (6, 13)),
    "Transpose": Operator(move.transpose, (1, 13, *_TYPES)),
    "Trilu": Operator(None, (14,)),
    "Unsqueeze": Operator(move.unsqueeze, (1, 11, 13, *_TYPES)),
    "Upsample": Operator(image.upsample, (7, 9)),
    "Where": Operator(None, (9, 16)),
    "Xor": Operator(None, (7,)),
}

_SUBGRAPHS = "it runs a subgraph; export the model so that its control flow is resolved"
_RECURRENT = "recurrent layers are not supported"
_QUANTIZED = "8-bit ONNX models are not supported; convert the float32 model"
_RANDOM = "it makes random numbers at run time"
_SEQUENCE = "sequences and optional values are not supported"

# Why an operator that is in no table above is refused, where there is more to say than that it is unknown.
REASONS: dict[str, str] = {
    **dict.fromkeys(("If", "Loop", "Scan", "SequenceMap"), _SUBGRAPHS),
    **dict.fromkeys(("GRU", "LSTM", "RNN"), _RECURRENT),
    **dict.fromkeys(("ConvInteger", "DequantizeLinear", "DynamicQuantizeLinear", "MatMulInteger", "QLinearConv",
                     "QLinearMatMul", "QuantizeLinear"), _QUANTIZED),
    **dict.fromkeys(("Bernoulli", "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform",
                     "RandomUniformLike"), _RANDOM),
    **dict.fromkeys(("ConcatFromSequence", "Optional", "OptionalGetElement", "OptionalHasElement", "SequenceAt",
                     "SequenceConstruct", "SequenceEmpty", "SequenceErase", "SequenceInsert", "SequenceLength",
                     "SplitToSequence"), _SEQUENCE),
}
