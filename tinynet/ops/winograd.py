"""Winograd's minimal filtering for 3x3 convolutions with stride 1: when, in which tiles, and how it is cut into bands.

Lavin & Gray 2015, arXiv 1509.09308; the kernel is kernels/winograd.pxi.  Everything here is arithmetic on sizes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tinynet import kernels, layouts
from tinynet.errors import FormatError
from tinynet.flatbuffer import show
from tinynet.graph import Graph, Node, Tensor
from tinynet.kernels import engine
from tinynet.layouts import PANEL

if TYPE_CHECKING:
    from tinynet.builder import Builder, Operand, View

SIZES = (4, 2)           # outputs per side of a tile: F(4,3), F(2,3)
BLOCK = 4                # panels of output channels whose products are transformed together
BAND_BYTES = 512 * 1024  # of a band's transformed inputs and products: half of a 1 MiB L2
# Costs beside the product, in MACs: per transformed input, per transformed output, per weight that is read.
INPUT, OUTPUT, WEIGHT = 15, 20, 14
GAIN = 1.1               # less is not worth the memory
LARGE_WEIGHTS = 1 << 20  # beyond L2: each pass over them costs
MAX_BAND = 256           # BAND_TILES of the kernel


def tile_counts(size: int, out: tuple[int, int]) -> tuple[int, int]:
    return -(-out[0] // size), -(-out[1] // size)


def matrices(size: int) -> int:
    return (size + 2) ** 2


def costs(batch: int, out: tuple[int, int], channels: int, outs: int) -> dict[int, float]:
    """Size of tile -> estimated time, direct convolution under 0, in MACs of a matrix product that runs at full speed.

    Fitted to one AVX-512 core with 1 MiB of L2 and 11 GB/s, between 16 and 1024 channels and 7 and 256 pixels a side.
    """
    outs = -(-outs // PANEL) * PANEL
    found = {0: 9.0 * channels * outs * (batch * out[0] * out[1] + WEIGHT)}
    for size in SIZES:
        down, across = tile_counts(size, out)
        transforms = INPUT * channels + OUTPUT * outs
        found[size] = matrices(size) * (batch * down * across * (channels * outs + transforms) + WEIGHT * channels * outs)
    return found


def choose_size(batch: int, out: tuple[int, int], channels: int, outs: int) -> int:
    """Outputs per side of a tile, 4 or 2, or 0 for direct convolution.

    Tiles of 4 win on large pictures, tiles of 2 where the picture is small and the weights are large, direct convolution
    with few channels, or where the transformed weights would take longer to read than the MACs that they save.
    """
    found = costs(batch, out, channels, outs)
    best = min(SIZES, key=lambda size: found[size])
    return best if found[best] * GAIN < found[0] else 0


def choose_band(tiles: int, tile_bytes: int, weight_bytes: int) -> int:
    """Tiles per band: what L2 holds, but enough of them to make a pass over large weights worth it."""
    return min(max(BAND_BYTES // tile_bytes, 12 if weight_bytes <= LARGE_WEIGHTS else 48, 1), MAX_BAND, tiles)


def share_inputs(tiles: int, panels: int, threads: int) -> bool:
    """Should threads split the output channels of each band, and not the bands?

    Then they pass each other the transformed inputs, [tiles][channels], instead of each reading all weights,
    [outputs][channels].
    """
    return threads > 1 and panels >= threads and panels * PANEL > 4 * tiles


def choose_block(panels: int, threads: int) -> int:
    """Panels per block, at most BLOCK, so that every thread gets as many blocks."""
    rounds = -(-panels // (BLOCK * threads))
    return -(-panels // (rounds * threads))


def stored_name(weights: str, size: int) -> str:
    """The tensor that holds these weights transformed for tiles of `size`, if the file has it: float32 [..., block]."""
    return f"{weights}/winograd{size}"


def transformed(graph: Graph, node: Node, size: int) -> Tensor:
    """The weights of a conv2d as `emit_winograd` wants them; for the converter to store."""
    tensor = graph.tensors[node.inputs[1]]
    outs, _, _, channels = tensor.shape
    panels = -(-outs // PANEL)
    block = choose_block(panels, 1)
    logical = layouts.unpack(tensor.data, tensor.shape, tensor.dtype, tensor.layout)
    data = np.empty((matrices(size) * panels * PANEL * channels // block, block), np.float32)
    engine.winograd_weights(kernels.isa(), layouts.pack(logical, "ohwi_panels16:1"), data.reshape(-1).view(np.uint8), panels,
                            channels, size, block, 1)
    return Tensor(stored_name(tensor.name, size), data.shape, "float32", data)


def emit_winograd(b: Builder, *, size: int, x: View, weights: str, bias: Operand, residual: View | None, y: View,
                  pads: tuple[int, ...], epilogue: dict[str, Any], macs: int) -> None:
    """Emit `conv2d_winograd_f32`.  pads: top, left, bottom, right."""
    batch, height, width, channels = x.shape
    outs = y.shape[3]
    tiles = tile_counts(size, y.shape[1:3])
    total = batch * tiles[0] * tiles[1]
    panels = -(-outs // PANEL)
    shared = share_inputs(total, panels, b.threads)
    stored = b.graph.tensors.get(stored_name(weights, size))
    block = stored.shape[-1] if stored else choose_block(panels, b.threads if shared else 1)
    # Rows a multiple of 2 KiB apart would meet in a few sets of L1, and so would matrices a multiple of 4 KiB apart.
    ldv = -(-channels // PANEL) * PANEL
    ldv += PANEL if ldv % 512 == 0 else 0
    ldm = block * PANEL
    weight_bytes = 4 * matrices(size) * panels * PANEL * channels
    band = choose_band(total, 4 * matrices(size) * (ldv + ldm), weight_bytes)
    stride_v, stride_m = (_odd_lines(band * ld) for ld in (ldv, ldm))
    floats = matrices(size) * (stride_v + stride_m * b.threads if shared else (stride_v + stride_m) * b.threads)
    if stored:
        if stored.dtype != "float32" or stored.size != weight_bytes // 4 or not 1 <= block <= BLOCK:
            raise FormatError(f"{b.graph.meta.label}: tensor {show(stored.name)}: expected {weight_bytes} bytes of transformed "
                              f"weights, found {stored.dtype} {list(stored.shape)}; convert the model again")
        u = b.weights(stored.name, layouts.PLAIN)
    else:
        u = b.built(
            (weights, size, block), weight_bytes,
            lambda target: engine.winograd_weights(kernels.isa(), b.packed(weights, "ohwi_panels16:1"), target, panels,
                                                   channels, size, block, b.threads))
    b.step(
        "conv2d_winograd_f32",
        [b.tensor(x.name), u, bias, b.tensor(residual.name) if residual else None, b.tensor(y.name), b.scratch(4 * floats)],
        {"batch": batch, "height": height, "width": width, "ldx": x.ld, "channels": channels,
         "out_height": y.shape[1], "out_width": y.shape[2], "out_channels": outs, "ldy": y.ld,
         "ld_residual": residual.ld if residual else 0, "pad_top": pads[0], "pad_left": pads[1],
         "size": size, "tiles_y": tiles[0], "tiles_x": tiles[1], "band": band, "block": block, "shared": shared,
         "ldv": ldv, "stride_v": stride_v, "stride_m": stride_m, **epilogue},
        macs,
    )


def _odd_lines(floats: int) -> int:
    """At least so many floats, an odd number of cache lines."""
    return (-(-floats // 16) | 1) * 16
