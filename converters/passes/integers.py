"""Float32 layers between integers become layers of integers.  Runs when the other passes are done: all is channels-last.

    before:  dequantize(x), conv2d(w, b) with w, b that stand for integers, quantize
    after:   q_conv2d(x, w, b, multiplier)

Steps, until nothing changes:

    integer_averages    means of pixels
    integer_signs       int8 becomes uint8
    integer_upsampling  transposed convolutions whose windows lie side by side become convolutions of single pixels
    integer_moves       dequantize sinks below what only moves or compares, quantize rises above it, and where they meet they go
    integer_tables      functions of one 8-bit variable become tables, tables are joined
    integer_layers      sums of products, sums and products of two tensors

What is left is float32 between quantize and dequantize, and means the same.
"""

from __future__ import annotations

from tinynet.converters.passes import (
    integer_averages,
    integer_layers,
    integer_moves,
    integer_signs,
    integer_tables,
    integer_upsampling,
    merge_duplicates,
)
from tinynet.graph import Graph

STEPS = (integer_averages.apply, integer_signs.apply, merge_duplicates.apply, integer_upsampling.apply, integer_moves.apply,
         integer_tables.apply, integer_layers.apply)
MAX_ROUNDS = 100


def apply(graph: Graph) -> int:
    count = 0
    for _ in range(MAX_ROUNDS):
        if not any(node.op in ("quantize", "dequantize", "q_table") for node in graph.nodes):
            break
        changes = sum([step(graph) for step in STEPS])
        if not changes:
            break
        count += changes
    return count
