"""Geometry for the product of bytes that q_conv2d and q_dense share (kernels/q_conv2d.pxi)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from tinynet import kernels, layouts
from tinynet.kernels import engine
from tinynet.ops.requantized import RESULTS

if TYPE_CHECKING:
    from tinynet.builder import Builder, Operand, View

BAND_BYTES = 64 * 1024      # of a padded picture that a thread copies at a time
PART_BYTES = 16 * 1024      # the same as a part of a step that goes band by band itself


def run_length(w: tuple[int, ...], groups: int, dilation: int) -> int:
    """Bytes that lie side by side in an NHWC picture without gaps between pixels, for weights [O, kh, kw, C/groups]."""
    return w[2] * w[3] if groups == 1 and dilation == 1 else w[3]


def run_table(kernel: tuple[int, ...], dilations: tuple[int, ...], row: int, ld: int, channels: int, run: int) -> np.ndarray:
    """[runs, 3]: offset, quads, bytes.  row, ld: bytes between rows and between pixels; channels: of a group."""
    table = [(ky * dilations[0] * row + kx * dilations[1] * ld, -(-run // layouts.QUAD), run)
             for ky in range(kernel[0]) for kx in range(kernel[1] * channels // run)]
    return np.array(table, np.int64).reshape(-1, 3)


def may_read_behind(b: Builder, x: View) -> bool:
    """Does x lie in memory of the engine's own, where bytes behind it may be read?"""
    if x.name in b.between:
        return True
    if b.graph.tensors[x.name].is_constant:
        return False
    root = b.storage.places[x.name].root
    return root not in b.graph.inputs and root not in b.storage.output_roots


def emit_q_product(
    b: Builder, op: Any, node: Any, *, picture: tuple[int, ...], x: View, channels: int, w: tuple[int, ...],
    kernel: tuple[int, ...], out: tuple[int, ...], y: View, groups: int, strides: tuple[int, ...], pads: tuple[int, ...],
    dilations: tuple[int, ...],
) -> None:
    """Emit `q_conv2d` for a Requantized op whose weights are, or can be seen as, [O, kh, kw, C/groups].

    picture: N, H, W; out: OH, OW; pads: top, left, bottom, right.
    """
    packed_rows, signed, byte_pairs = engine.int8_level(kernels.isa())
    layout = op.weight_layout(b.graph.tensors[node.inputs[1]].shape)
    pairs = byte_pairs and fits_pairs(b.packed(node.inputs[1], layout))
    run = max(1, run_length(w, groups, dilations[1]))
    gaps = x.ld != channels and run != channels // groups
    padded, band, copy_bytes = (0, 0), 0, 0
    ld, row = x.ld, picture[2] * x.ld
    if any(pads) or gaps or (run % layouts.QUAD and not may_read_behind(b, x)):
        # Only what the windows reach: pads at the bottom or right may go unread.
        padded = tuple((out[i] - 1) * strides[i] + (kernel[i] - 1) * dilations[i] + 1 for i in range(2))
        ld, row = channels, padded[1] * channels
        reach = (kernel[0] - 1) * dilations[0] + 1
        band = max(1, min(out[0], ((PART_BYTES if b.between else BAND_BYTES) // max(1, row) - reach) // strides[0] + 1))
        copy_bytes = -(-(((band - 1) * strides[0] + reach) * row + layouts.QUAD) // 64) * 64
    table = run_table(kernel, dilations, row, ld, channels // groups, run)
    quads = int(table[:, 1].sum())
    scratch_bytes = copy_bytes + (0 if pairs else -(-8 * quads * packed_rows // 64) * 64)
    multiplier = b.packed(node.inputs[3], layouts.PLAIN)
    pixels, panels = picture[0] * out[0] * out[1], groups * -(-(w[0] // groups) // layouts.PANEL)
    b.emit(
        "q_conv2d",
        [b.tensor(x.name), b.weights(node.inputs[1], layout), bias_of(b, node, signed), b.tensor(node.inputs[3]),
         b.tensor(node.inputs[4]) if len(node.inputs) == 5 else None, b.tensor(y.name),
         b.scratch(scratch_bytes * b.threads) if scratch_bytes else None, b.constant(table)],
        macs=y.size * math.prod(w[1:]) // 4,     # the speed of a dot product instruction
        batch=picture[0], height=picture[1], width=picture[2], ldx=x.ld, channels=channels, groups=groups,
        group_in=channels // groups, group_out=w[0] // groups, out_height=out[0], out_width=out[1], ldy=y.ld,
        stride_h=strides[0], stride_w=strides[1], pad_top=pads[0], pad_left=pads[1], padded_height=padded[0],
        padded_width=padded[1], runs=len(table), quads=quads, band=band,
        by_panels=by_panels(b.threads, pixels, panels, quads, channels * picture[0] * picture[1] * picture[2]),
        copy_bytes=copy_bytes, scratch_bytes=scratch_bytes, result=RESULTS.index(op.dtype), x_zero=op.x_zero,
        y_zero=op.y_zero, low=op.low, high=op.high, small=bool((np.abs(multiplier) < 1).all()), pairs=pairs,
    )


def by_panels(threads: int, pixels: int, panels: int, quads: int, picture: int) -> bool:
    """Split weights over threads, and not pixels?  Where they are the larger part, so that each core reads its own."""
    return pixels < 24 * threads or (panels >= 4 * threads and panels * quads * layouts.PANEL * layouts.QUAD > picture)


def fits_pairs(packed: np.ndarray) -> bool:
    """Do neighbours in each quad have positive parts of at most 128 together, and negative ones of at least -128?  Then two
    products of them with uint8 fit an int16.  Weights of seven bits always do."""
    for part in np.split(packed, range(1 << 16, packed.size, 1 << 16)):     # mostly the first part says no
        two = part.reshape(-1, 2).astype(np.int16)
        if np.maximum(two, 0).sum(1).max(initial=0) > 128 or np.minimum(two, 0).sum(1).min(initial=0) < -128:
            return False
    return True


def bias_of(b: Builder, node: Any, signed: bool) -> Operand:
    """The bias, plus 128 times the sum of the weights where activations are multiplied as x - 128."""
    if not signed:
        return b.tensor(node.inputs[2])
    name = node.inputs[1]
    t = b.graph.tensors[name]

    def fill(target: np.ndarray) -> None:
        w = layouts.unpack(t.data, t.shape, t.dtype, t.layout).reshape(t.shape[0], -1)
        total = b.packed(node.inputs[2], layouts.PLAIN) + 128 * w.sum(1, dtype=np.int64)
        target.view(np.int32)[:] = total.astype(np.int32)

    return b.built((node.inputs[2], "signed", name), 4 * t.shape[0], fill)
