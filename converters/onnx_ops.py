"""Every ONNX operator that the importer knows, and the schema versions whose meaning it implements.

A function is called as `function(builder, *inputs, **attributes)`: inputs are `Value`s, None where an optional one is
left out; attributes have the specification's names, and its defaults where a node does not give them.  It returns the
first output, or a list.  `None` for the function: the operator only works where all its inputs are known at conversion.

A version is the opset in which the operator last changed (`onnx.defs.get_schema(name, opset).since_version`).  An
operator at a version that is not listed is reported as unsupported: a new opset may have changed its meaning.  The
versions 21 to 25 of the shape operators (SHAPE_TYPES), and 22 of most others, only add data types.

Each family of operators is a file with a table `OPERATORS` of its own at its end.
"""

from __future__ import annotations

from tinynet.converters import onnx_ops_binary as binary
from tinynet.converters import onnx_ops_convolution as convolution
from tinynet.converters import onnx_ops_dynamic as dynamic
from tinynet.converters import onnx_ops_einsum as einsum
from tinynet.converters import onnx_ops_image as image
from tinynet.converters import onnx_ops_index as index
from tinynet.converters import onnx_ops_math as math
from tinynet.converters import onnx_ops_matrix as matrix
from tinynet.converters import onnx_ops_move as move
from tinynet.converters import onnx_ops_norm as norm
from tinynet.converters import onnx_ops_pool as pool
from tinynet.converters import onnx_ops_quantized as quantized
from tinynet.converters import onnx_ops_recurrent as recurrent
from tinynet.converters import onnx_ops_reduce as reduce
from tinynet.converters import onnx_ops_resize as resize
from tinynet.converters.onnx_builder import SHAPE_TYPES, Operator

# Decided at conversion (onnx_control.py): these need the importer, not a function.
_CONTROL = {kind: Operator(None, (1, 11, 13, 16, 19, *SHAPE_TYPES)) for kind in ("If", "Loop")}
_FAMILIES = (
    binary,
    convolution,
    dynamic,
    einsum,
    image,
    index,
    math,
    matrix,
    move,
    norm,
    pool,
    quantized,
    recurrent,
    reduce,
    resize,
)
OPERATORS: dict[str, Operator] = dict(sorted(
    (_CONTROL | {kind: entry for family in _FAMILIES for kind, entry in family.OPERATORS.items()}).items()))
# Those of other domains, which have no schema here.
CONTRIBUTED = frozenset(kind for kind in OPERATORS if "." in kind)

_SUBGRAPHS = "it runs a subgraph; export the model so that its control flow is resolved"
_RANDOM = "it makes random numbers at run time"
_SEQUENCE = "sequences and optional values are not supported"

# Why an operator that is in no table above is refused, where there is more to say than that it is unknown.
REASONS: dict[str, str] = {
    **dict.fromkeys(("Scan", "SequenceMap"), _SUBGRAPHS),
    **dict.fromkeys(("Bernoulli", "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform",
                     "RandomUniformLike"), _RANDOM),
    **dict.fromkeys(("ConcatFromSequence", "Optional", "OptionalGetElement", "OptionalHasElement", "SequenceAt",
                     "SequenceConstruct", "SequenceEmpty", "SequenceErase", "SequenceInsert", "SequenceLength",
                     "SplitToSequence"), _SEQUENCE),
}
