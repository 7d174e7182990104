"""The node tests that the onnx package generates, and the tier each of them belongs to."""

from __future__ import annotations

import re
import tomllib
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

# What runs as it is, and what is converted to float32.
RUNTIME = frozenset(("float32", "int64", "int32", "uint8", "int8", "bool"))
NARROWED = frozenset(("float64", "float16", "bfloat16"))
NEWEST_OPSET = 26

BASIC = frozenset((
    "Conv ConvTranspose Gemm MatMul MaxPool AveragePool GlobalAveragePool GlobalMaxPool "
    "Abs Add Sub Mul Div Pow Mod Neg Reciprocal Sqrt Exp Log Erf Sign Floor Ceil Round Min Max Mean Sum "
    "Sin Cos Tan Asin Acos Atan Sinh Cosh Tanh Asinh Acosh Atanh "
    "Relu LeakyRelu PRelu Elu Selu Celu Gelu Mish Swish Softplus Softsign ThresholdedRelu Shrink Clip Sigmoid "
    "HardSigmoid HardSwish "
    "Softmax LogSoftmax Hardmax "
    "BatchNormalization InstanceNormalization LayerNormalization GroupNormalization RMSNormalization LRN "
    "MeanVarianceNormalization LpNormalization "
    "ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum ReduceSumSquare "
    "Concat Split Slice Reshape Flatten Squeeze Unsqueeze Shape Size Identity Transpose Pad Resize Gather Cast CastLike "
    "Equal Greater GreaterOrEqual Less LessOrEqual And Or Not Xor").split())
VISION = BASIC | frozenset((
    "Where GatherElements GatherND ScatterElements ScatterND TopK ArgMax ArgMin CumSum OneHot Tile Expand Trilu SpaceToDepth "
    "DepthToSpace Einsum NonMaxSuppression GridSample LpPool GlobalLpPool MaxUnpool Upsample RNN LSTM GRU Constant "
    "ConstantOfShape Range Dropout").split())
# Every input of these is a setting, so a test whose inputs are all frozen still tests something.
MADE_OF_SETTINGS = frozenset(("ConstantOfShape", "Range"))
TIERS = ("basic", "vision and sequence", "other")


class Case(NamedTuple):
    """One test.  `sets`: (inputs, expected outputs) in the order of the graph's; `dtypes`: those of its inputs and outputs."""

    name: str
    operator: str
    opset: int
    dtypes: tuple[str, ...]
    model: Any
    sets: Sequence[tuple[Sequence[Any], Sequence[Any]]]
    rtol: float
    atol: float

    @property
    def tier(self) -> str:
        """`basic` and `vision and sequence` are what issue trackers of edge devices ask for, in the types that tinynet
        has; another type, a newer opset or another operator is `other`."""
        if self.opset <= NEWEST_OPSET:
            if self.operator in BASIC and RUNTIME.issuperset(self.dtypes):
                return TIERS[0]
            if self.operator in VISION and (RUNTIME | NARROWED).issuperset(self.dtypes):
                return TIERS[1]
        return TIERS[2]


def pinned() -> str:
    """The version of onnx that pyproject.toml names: another one generates other tests."""
    with (Path(__file__).parent.parent / "pyproject.toml").open("rb") as file:
        extras = tomllib.load(file)["project"]["optional-dependencies"]["test"]
    return next(line.partition("==")[2] for line in extras if re.match(r"onnx\s*==", line))


def cases(pattern: str = "") -> list[Case]:
    """The tests whose name contains `pattern`.  ValueError if the installed onnx is not the pinned one."""
    try:
        import onnx
    except ImportError:
        raise ValueError(f"conformance needs onnx: pip install onnx=={pinned()}") from None
    if onnx.__version__ != pinned():
        raise ValueError(f"conformance: expected onnx {pinned()}, whose tests the results are about, found "
                         f"{onnx.__version__}: pip install onnx=={pinned()}")
    from onnx.backend.test.loader import load_model_tests

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tests = load_model_tests(kind="node")
    operators = {test.name: test.model.graph.node[0].op_type for test in tests if len(test.model.graph.node) == 1}
    return [_case(test, operators) for test in tests if pattern in test.name]


def _case(test: Any, operators: dict[str, str]) -> Case:
    import onnx

    graph = test.model.graph
    # A function's body, spelled out: it counts for the function.
    whole = re.sub(r"_expanded(_ver\d+)?$", "", test.name)
    domain = graph.node[-1].domain
    operator = f"{domain}." * (domain not in ("", "ai.onnx")) + operators[whole]
    dtypes = []
    for info in (*graph.input, *graph.output):
        kind = info.type.WhichOneof("value")
        dtypes.append(onnx.TensorProto.DataType.Name(info.type.tensor_type.elem_type).lower() if kind == "tensor_type"
                      else str(kind).removesuffix("_type"))
    names = {"float": "float32", "double": "float64"}
    opset = max((o.version for o in test.model.opset_import if o.domain in ("", "ai.onnx")), default=0)
    return Case(test.name, operator, opset, tuple(sorted({names.get(d, d) for d in dtypes})), test.model, test.data_sets,
                test.rtol, test.atol)
