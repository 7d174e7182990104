"""Geometry for the matrix product kernel that conv2d, dense and conv_transpose2d share (kernels/conv2d.pxi)."""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tinynet.builder import Builder, Operand

    Geometry = tuple[dict[str, Any], tuple[int, ...], int]

# Columns of A multiplied in one go: 512 x 64 weights are 128 kB, half of a small L2 cache.
PART = 512
WHOLE = 768      # up to here one part, without the extra pass over the output
BAND_BYTES = 64 * 1024      # of a padded picture, where it is padded band by band


def run_table(runs: list[tuple[int, int]]) -> tuple[tuple[int, ...], int, int]:
    """(table, parts, columns): the runs cut into parts of about PART columns.

    The table holds per part its first run, number of runs and first column; then all runs as (offset, length).
    """
    columns = sum([length for _, length in runs])
    if columns <= WHOLE:
        return (0, len(runs), 0, *chain.from_iterable(runs)), 1, columns
    parts = -(-columns // PART)
    heads: list[int] = []
    pieces: list[int] = []
    rest = list(reversed(runs))
    column = 0
    for part in range(parts):
        heads += [len(pieces) // 2, 0, column]
        while column < columns * (part + 1) // parts:
            offset, length = rest.pop()
            take = min(length, columns * (part + 1) // parts - column)
            pieces += [offset, take]
            heads[-2] += 1
            column += take
            if take < length:
                rest.append((offset + take, length - take))
    return (*heads, *pieces), parts, columns


def shifted(operand: Operand, floats: int) -> Operand:
    return operand.replaced(offset=operand.offset + 4 * floats)


def geometry(
    *, picture: tuple[int, int, int], ldx: int, channels: int, groups: int, group_out: int, kernel: tuple[int, ...],
    strides: tuple[int, ...], pads: tuple[int, ...], dilations: tuple[int, ...], out: tuple[int, int], ldy: int,
    ld_residual: int, epilogue: dict[str, Any], planar: bool = False, banded: bool = False,
) -> Geometry:
    """(parameters of `conv2d_f32`, its run table, bytes of scratch: of each thread if there are bands, else of all).

    picture: N, H, W; pads: top, left, bottom, right; ld*: floats between pixels.  planar: the picture is NCHW; banded: a
    picture with padding is copied band by band (planar ones always are), each thread in scratch of its own.
    """
    batch, height, width = picture
    padded, band, nbytes = (0, 0), 0, 0
    ld, row = ldx, width * ldx
    if any(pads) or planar:
        # Only what the windows reach: pads at the bottom or right may go unread.
        padded = tuple([(out[i] - 1) * strides[i] + (kernel[i] - 1) * dilations[i] + 1 for i in range(2)])
        ld, row = channels, padded[1] * channels
        nbytes = 4 * batch * padded[0] * row
        if planar or banded:
            reach = (kernel[0] - 1) * dilations[0] + 1
            band = max(1, min(out[0], (BAND_BYTES // (4 * row) - reach) // strides[0] + 1))
            nbytes = 4 * ((band - 1) * strides[0] + reach) * row
    if groups == 1 and dilations[1] == 1 and ld == channels:
        # The taps of one kernel row are neighbours in memory.
        runs = [(ky * dilations[0] * row, kernel[1] * channels) for ky in range(kernel[0])]
    else:
        runs = [(ky * dilations[0] * row + kx * dilations[1] * ld, channels // groups)
                for ky in range(kernel[0]) for kx in range(kernel[1])]
    table, parts, columns = run_table(runs)
    return {
        "batch": batch, "height": height, "width": width, "ldx": ldx, "channels": channels, "groups": groups,
        "group_in": channels // groups, "group_out": group_out, "out_height": out[0], "out_width": out[1], "ldy": ldy,
        "ld_residual": ld_residual, "stride_h": strides[0], "stride_w": strides[1], "pad_top": pads[0], "pad_left": pads[1],
        "padded_height": padded[0], "padded_width": padded[1], "columns": columns, "parts": parts, "planar": int(planar),
        "band": band, **epilogue,
    }, table, nbytes


def rows_geometry(rows: int, columns: int, out: int, ldx: int, ldy: int, epilogue: dict[str, Any],
                  ld_residual: int = 0) -> Geometry:
    """`geometry` of x [rows, columns] times weights [out, columns]."""
    return geometry(picture=(1, 1, rows), ldx=ldx, channels=columns, groups=1, group_out=out, kernel=(1, 1), strides=(1, 1),
                    pads=(0, 0, 0, 0), dilations=(1, 1), out=(1, rows), ldy=ldy, ld_residual=ld_residual, epilogue=epilogue)


def emit_product(b: Builder, *, x: Operand, w: Operand, bias: Operand | None, residual: Operand | None, y: Operand, macs: int,
                 shape: Geometry) -> None:
    """Emit `conv2d_f32`; `shape` is what `geometry` gives."""
    params, table, nbytes = shape
    scratch = b.scratch(nbytes * (b.threads if params["band"] else 1)) if nbytes else None
    b.step("conv2d_f32", [x, w, bias, residual, y, scratch, b.constant(table)], params, macs)
