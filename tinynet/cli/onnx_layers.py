"""The tensors inside an ONNX model, for `tinynet compare --layers`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from itertools import permutations
from typing import Any

from tinynet.errors import FileError, MissingExtraError

# What the converter appends to the name of an ONNX tensor when a value moves to another layout or a layer is rebuilt.
# The kinds listed here are those in which one layer is the whole ONNX operator.
_SUFFIX = re.compile(r"(/moved|/flat|_[0-9]+|_(conv2d|depthwise_conv2d|conv_transpose2d|dense|max_pool2d|average_pool2d"
                     r"|lrn|resize|depth_to_space|space_to_depth|batch_norm|softmax))$")


def with_all_outputs(path: str, wanted: Iterable[str]) -> tuple[bytes, dict[str, list[str]]]:
    """(serialised model in which the tensors of `wanted` are outputs, our tensor name -> what it may be called there).

    Names that the ONNX model does not compute are left out.  Raises FileError, MissingExtraError.
    """
    try:
        import onnx
    except ImportError as error:
        raise MissingExtraError("onnx", "convert", "comparing layers") from error
    try:
        proto = onnx.load(path)
    except Exception as error:
        raise FileError(f"cannot read {path!r} as an ONNX model: {error}") from error
    computed = {name for node in proto.graph.node for name in node.output if name}
    names = {name: partners for name in wanted if (partners := possible_names(name, computed))}
    present = {info.name for info in proto.graph.output}
    for partner in dict.fromkeys(partner for partners in names.values() for partner in partners):
        if partner not in present:
            proto.graph.output.append(onnx.ValueInfoProto(name=partner))
    return proto.SerializeToString(), names


def possible_names(name: str, computed: set[str]) -> list[str]:
    """The names in `computed` that `name` was made from, the longest first: `y_conv2d/moved_1` may be `y`."""
    found = []
    while True:
        if name in computed:
            found.append(name)
        match = _SUFFIX.search(name)
        if match is None or match.start() == 0:
            return found
        name = name[:match.start()]


def matching(ours: Any, theirs: Any) -> Iterator[Any]:
    """Our tensor in every order of its dimensions that has the shape of theirs, the present one first.

    The converter is free to move dimensions (NCHW to NHWC, transposes that cancel) and to drop or add those of size 1.
    """
    bare, target = ours.squeeze(), theirs.squeeze().shape
    orders = permutations(range(bare.ndim)) if bare.ndim <= 4 else [tuple(range(bare.ndim))]
    for order in orders:
        moved = bare.transpose(order)
        if moved.shape == target:
            yield moved.reshape(theirs.shape)
