"""Weights in fewer bytes (`tinynet/layouts.py`), for files that are small: after `pack_weights`, and only where asked for.

    float16    constants are rounded to 11 bits
    int8       weights of convolutions, dense and recurrent layers are integers times a scale per output channel;
               other large constants, such as tables that are gathered from, are float16

Computing stays float32.  What is small, or would lose more than rounding does (numbers beyond float16's range), stays as it is.
"""

from __future__ import annotations

import numpy as np

from tinynet import layouts
from tinynet.converters.passes.edit import op_of
from tinynet.graph import Graph
from tinynet.ops import Op
from tinynet.ops.recurrent import Recurrent

# Fewer elements save nothing worth a rounding: biases and the like.
LEAST_ELEMENTS = 1024
# Root of the mean square of what float16 rounds off, relative to that of the numbers; below 2^-11 where none is denormal.
MOST_NOISE = 2.0 ** -10
_WEIGHTS = ("conv2d", "depthwise_conv2d", "conv_transpose2d", "dense")


def apply(graph: Graph, storage: str) -> dict[str, int]:
    """Rewrites constants in place, also of a graph that was read from a file.  `storage`: float16 or int8.  Returns how many
    elements are stored as float32, float16, int8."""
    users = graph.consumers()
    counts = dict.fromkeys(("float32", *layouts.STORED), 0)
    for name, tensor in graph.tensors.items():
        if not tensor.is_constant or tensor.dtype != "float32":
            continue
        kept, order = layouts.stored(tensor.layout)
        if not kept and users[name] and name not in graph.outputs:
            array = layouts.unpack(tensor.data, tensor.shape, tensor.dtype, order)
            kept = _storage(array, [(op_of(node), node.inputs.index(name)) for node in users[name]], storage)
            if kept:
                tensor.layout = f"{kept}/{order}"
                tensor.data = memoryview(layouts.pack(array, tensor.layout))
        counts[kept or "float32"] += tensor.size
    return counts


def _storage(array: np.ndarray, readers: list[tuple[Op, int]], storage: str) -> str:
    """float16 or int8; "" for a constant that stays."""
    if array.ndim < 2 or array.size < LEAST_ELEMENTS or not np.isfinite(array).all():
        return ""
    if storage == "int8" and all([position in _weights(op) for op, position in readers]):
        return "int8"
    with np.errstate(over="ignore"):
        noise = array.astype(np.float16).astype(np.float64) - array
    return "float16" if np.square(noise).mean() <= MOST_NOISE ** 2 * np.square(array.astype(np.float64)).mean() else ""


def _weights(op: Op) -> tuple[int, ...]:
    """The inputs of a layer whose channels have scales of their own."""
    return (1, 2) if isinstance(op, Recurrent) else (1,) if op.kind in _WEIGHTS else ()
