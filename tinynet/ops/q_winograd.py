"""Winograd's minimal filtering for 3x3 convolutions of bytes with stride 1, exact: when, and how it is cut into bands.

The arithmetic is in kernels/micro/int8/winograd.h, the bands in kernels/q_winograd.pxi.  For levels without a dot product,
whose multiplications are the bottleneck; the bits are those of the direct product, so that this is a choice of speed alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tinynet import kernels, layouts
from tinynet.kernels import engine
from tinynet.layouts import PANEL, QUAD
from tinynet.ops.requantized import RESULTS
from tinynet.ops.winograd import SIZES, choose_band, choose_block, matrices, share_inputs, tile_counts

if TYPE_CHECKING:
    from tinynet.builder import Builder, View

# The kernel gets sums times 2^HEADROOM modulo 2^32, and shifts: they have to be smaller than 2^31 / 2^HEADROOM.
HEADROOM = {2: 2, 4: 6}
# Costs beside the product, in MACs of 16 bits: per transformed input, per transformed output, per weight that is read.
INPUT, OUTPUT, WEIGHT = 6, 13, 8
DIRECT = 1.2             # a MAC of the direct product, which has weights of 8 bits to widen
GAIN = 1.1               # less is not worth the memory


def fits(size: int, reach: int) -> bool:
    """Are sums exact?  reach: the most that the weights of one sign sum to; x is at most 255."""
    return 255 * reach < 1 << 31 - HEADROOM[size]


def costs(batch: int, out: tuple[int, int], channels: int, outs: int) -> dict[int, float]:
    """Size of tile -> estimated time, direct convolution under 0, in MACs of a 16-bit product that runs at full speed."""
    outs = -(-outs // PANEL) * PANEL
    found = {0: DIRECT * 9.0 * channels * outs * (batch * out[0] * out[1] + WEIGHT / 2)}
    for size in SIZES:
        down, across = tile_counts(size, out)
        transforms = INPUT * channels + OUTPUT * outs
        found[size] = matrices(size) * (batch * down * across * (channels * outs + transforms) + WEIGHT * channels * outs)
    return found


def choose_size(b: Builder, op: Any, node: Any, x: View, y: View) -> int:
    """Outputs per side of a tile for a q_conv2d, 4 or 2, or 0 for the direct product."""
    outs, *kernel, channels = b.graph.tensors[node.inputs[1]].shape
    if (kernel != [3, 3] or op.strides != (1, 1) or op.dilations != (1, 1) or op.groups != 1 or len(node.inputs) == 5
            or not b.winograd or not x.size or not y.size or not engine.has_q_winograd(kernels.isa())):
        return 0
    found = costs(y.shape[0], y.shape[1:3], channels, outs)
    if b.winograd in SIZES:
        sizes = [b.winograd]
    else:
        sizes = sorted((s for s in SIZES if found[s] * GAIN < found[0]), key=lambda s: found[s])
    if not sizes:
        return 0
    w = b.packed(node.inputs[1], op.weight_layout((outs, 3, 3, channels)))
    reach = engine.q_winograd_reach(w, -(-outs // PANEL))
    return next((size for size in sizes if fits(size, reach)), 0)


def emit_q_winograd(b: Builder, op: Any, node: Any, size: int, x: View, y: View) -> None:
    """Emit `q_conv2d_winograd`."""
    batch, height, width, channels = x.shape
    outs = y.shape[3]
    tiles = tile_counts(size, y.shape[1:3])
    total = batch * tiles[0] * tiles[1]
    panels = -(-outs // PANEL)
    shared = share_inputs(total, panels, b.threads)
    block = choose_block(panels, b.threads if shared else 1)
    # Whole vectors of the widest level; rows a multiple of 2 KiB apart would meet in a few sets of L1, as would matrices.
    ldv = -(-channels // 32) * 32
    ldv += 32 if ldv % 1024 == 0 else 0
    ldm = block * PANEL
    weight_bytes = 2 * matrices(size) * panels * PANEL * -(-channels // QUAD) * QUAD
    band = choose_band(total, matrices(size) * (2 * ldv + 4 * ldm), weight_bytes)
    stride_v, stride_m = _odd_lines(band * ldv, 32), _odd_lines(band * ldm, 16)
    outside_bytes = -(-channels // 64) * 64
    inputs = 1 if shared else b.threads
    scratch = b.threads * outside_bytes + matrices(size) * (2 * stride_v * inputs + 4 * stride_m * b.threads)
    weights = node.inputs[1]
    layout = op.weight_layout(b.graph.tensors[weights].shape)
    u = b.built(
        (weights, "int16", size, block), weight_bytes,
        lambda target: engine.q_winograd_weights(b.packed(weights, layout), target, panels, channels, size, block, b.threads))
    multiplier = b.packed(node.inputs[3], layouts.PLAIN)
    b.emit(
        "q_conv2d_winograd",
        [b.tensor(x.name), u, b.tensor(node.inputs[2]), b.tensor(node.inputs[3]), b.tensor(y.name), b.scratch(scratch)],
        macs=y.size * 9 * channels // 4, batch=batch, height=height, width=width, ldx=x.ld, channels=channels,
        out_height=y.shape[1], out_width=y.shape[2], out_channels=outs, ldy=y.ld, pad_top=op.pads[0], pad_left=op.pads[1],
        size=size, tiles_y=tiles[0], tiles_x=tiles[1], band=band, block=block, shared=shared, ldv=ldv, stride_v=stride_v,
        stride_m=stride_m, result=RESULTS.index(op.dtype), x_zero=op.x_zero, y_zero=op.y_zero, low=op.low, high=op.high,
        small=bool((np.abs(multiplier) < 1).all()), outside_bytes=outside_bytes,
    )


def _odd_lines(elements: int, line: int) -> int:
    """At least so many elements, an odd number of cache lines of `line` each."""
    return (-(-elements // line) | 1) * line
