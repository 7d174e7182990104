"""Layers one behind the other as one step, which makes a band of output rows at a time: what lies between them stays in cache
and takes no place in the arena ("layer fusion": Alwani et al. 2016; "patch-based" execution: Lin et al. 2021, MCUNetV2)."""

from __future__ import annotations

from math import gcd
from typing import Any, ClassVar

import numpy as np

from tinynet.builder import ARENA, SCRATCH, Operand, Step, View
from tinynet.graph import DTYPES, Node, Tensor
from tinynet.kernels import engine
from tinynet.ops.base import Op, Spec
from tinynet.record import Record

# Kernels that can be parts, and their types in kernels/bands.pxi.
CONV2D, DEPTHWISE, PLAIN, PRODUCT, WINDOWS = range(5)
TYPES = {"q_conv2d": CONV2D, "q_depthwise_conv2d": DEPTHWISE, "q_table": PLAIN, "quantize": PLAIN, "dequantize": PLAIN,
         "lrn_f32": PLAIN, "quantize_planes": PLAIN, "scale_shift_f32": PLAIN, "unary_f32": PLAIN,
         "conv2d_f32": PRODUCT, "conv2d_winograd_f32": WINDOWS, "q_conv2d_winograd": WINDOWS, "pool2d_f32": WINDOWS,
         "pool2d_u8": WINDOWS}
POOLS = ("max_pool2d", "average_pool2d")
# Layers whose rows read several: the axis of their weights that says how many.
HEIGHT = {"conv2d": 1, "q_conv2d": 1, "q_depthwise_conv2d": 0} | dict.fromkeys(POOLS)
MOST_LAYERS = 8
BAND_BYTES = 160 * 1024     # of the rows between layers that a thread holds, at most
SOME_BYTES = 48 * 1024      # a band of more than BANDS[0] rows takes no more than these
POOLED_BYTES = 256 * 1024   # the same before a pool of floats: a quarter of a 1 MiB L2, which holds transformed inputs too
BANDS = (8, 4, 2)           # output rows: as many as the depthwise loops take at a time, a half, a quarter
COLUMNS = ("type", "height", "out_height", "reach", "stride", "pad", "unit", "x_row", "x_picture", "y_row", "rows_at", "x",
           "y", "scratch", "param", "per_row", "pad_at", "units_at")     # struct BandedLayer


class Bands(Op):
    """layers[-1](... layers[0](x)): the first input of each layer is the output of the one before it, all others are
    constants, all these tensors are [N, H, W, C].  Inputs: x, then the constants layer by layer.

    Made by the plan (joins.py) and never found in a file, hence not registered.
    """

    kind: ClassVar[str] = "bands"
    layers: tuple[tuple[Op, Node], ...] = ()
    between: tuple[Tensor, ...] = ()

    def infer(self, *inputs: Spec) -> list[Spec]:
        x, rest = [inputs[0]], iter(inputs[1:])
        for op, node in self.layers:
            x = op.infer(*x, *[next(rest) for _ in node.inputs[1:]])
        return x

    def reference(self, *arrays: np.ndarray) -> list[np.ndarray]:
        x, rest = [arrays[0]], iter(arrays[1:])
        for op, node in self.layers:
            x = op.reference(*x, *[next(rest) for _ in node.inputs[1:]])
        return x

    def strided(self) -> tuple[bool, bool]:
        return self.layers[0][0].strided()[0], self.layers[-1][0].strided()[1]

    def lower(self, builder: Any, node: Any) -> bool:
        x, y = builder.view(node.inputs[0]), builder.view(node.outputs[0])
        parts, scratch = builder.parts(self.layers, {t.name: t for t in self.between})
        if not parts or not all(part.kernel in TYPES for part in parts):
            return False
        views = [x, *(View(t.name, t.shape, t.dtype, t.shape[3]) for t in self.between), y]
        places = [builder.tensor(x.name), *(Operand(ARENA, 0, t.name) for t in self.between), builder.tensor(y.name)]
        tensors = builder.graph.tensors | {t.name: t for t in self.between}
        windows = [Window.of(op, n, tensors, tensors[n.outputs[0]], part.params.get("size", 1))
                   for (op, n), part in zip(self.layers, parts, strict=True)]
        grain = grain_of(windows)
        if self.layers[-1][0].kind in POOLS:
            share = -(-y.shape[0] * y.shape[1] // builder.threads)
            band = pooled_band(windows, grain, share, POOLED_BYTES * DTYPES[y.dtype] // 4)
        else:
            band = best_band(windows, grain)
        table = []
        for i, part in enumerate(parts):
            rows = {"rows_at": scratch, "x_row": row_bytes(views[i], part), "y_row": row_bytes(views[i + 1]),
                    "x_picture": views[i].shape[1] * views[i].strides[1] * DTYPES[views[i].dtype]}
            row = windows[i].as_dict() | rows | _operands(part, places[i:i + 2], views[i + 1])
            table.append([row[column] for column in COLUMNS])
            scratch += buffers(windows, band)[i]
        builder.emit("bands", [places[0], places[-1], builder.scratch(scratch * builder.threads),
                               builder.constant(np.array(table, np.int64))],
                     parts_at=0, layers=len(parts), batch=y.shape[0], band=band, grain=grain, scratch_bytes=scratch)
        step = builder.steps[-1]
        step.parts, step.macs = parts, sum(part.macs for part in parts)
        step.nanoseconds = sum(part.nanoseconds for part in parts)
        return True


class Window(Record):
    """Which rows a layer reads for its output rows, and the bytes of one of these."""

    __slots__ = ("height", "out_height", "reach", "stride", "pad", "unit", "row_bytes")

    def __init__(self, height: int, out_height: int, reach: int, stride: int, pad: int, unit: int, row_bytes: int):
        self.height = height
        self.out_height = out_height
        self.reach = reach
        self.stride = stride
        self.pad = pad
        self.unit = unit
        self.row_bytes = row_bytes

    @staticmethod
    def of(op: Any, node: Node, tensors: dict[str, Tensor], y: Tensor, unit: int) -> Window:
        """y: what the layer writes; unit: rows that it makes together."""
        row = y.shape[2] * y.shape[3] * DTYPES[y.dtype]
        if op.kind not in HEIGHT:
            return Window(y.shape[1], y.shape[1], 1, 1, 0, 1, row)
        x, axis = tensors[node.inputs[0]].shape, HEIGHT[op.kind]
        tall = op.kernel[0] if axis is None else tensors[node.inputs[1]].shape[axis]
        height = x[2 if getattr(op, "planar", False) else 1]
        return Window(height, y.shape[1], (tall - 1) * op.dilations[0] + 1, op.strides[0], op.pads[0], unit, row)


def row_bytes(view: View, reader: Step | None = None) -> int:
    """From one row of pixels to the next; of a plane, if the reader reads planes."""
    planar = reader is not None and reader.kernel == "quantize_planes"
    return view.strides[2 if planar else 1] * DTYPES[view.dtype]


def buffers(windows: list[Window], band: int) -> list[int]:
    """Bytes that hold what each layer makes for so many output rows of the last, which itself needs none."""
    sizes = [0]
    # Bands begin at multiples of `step` less `off`.
    step, off = grain_of(windows), 0
    for reader, writer in zip(windows[:0:-1], windows[-2::-1], strict=True):
        step, off = step * reader.stride, off * reader.stride + reader.pad
        common = gcd(step, writer.unit)
        begins = range(-off % common, writer.unit, common)      # within a unit
        band = min(reader.height, (band - 1) * reader.stride + reader.reach)
        band = min(reader.height, max([-(-(begin + band) // writer.unit) * writer.unit for begin in begins]))
        if writer.unit > 1:
            step, off = writer.unit, 0
        # Products read up to three bytes behind the last pixel.
        sizes.append(-(-(band * writer.row_bytes + 3) // 64) * 64)
    return sizes[::-1]


def grain_of(windows: list[Window]) -> int:
    """Output rows of the last layer, at multiples of which bands begin: then those of units begin at multiples of these, or
    reach into the unit before them for what a window reads there."""
    grain, step = 1, 1
    for window in reversed(windows):
        grain = max(grain, window.unit // gcd(window.unit, step))
        step *= window.stride
    return grain


def pooled_band(windows: list[Window], grain: int, share: int, most: int) -> int:
    """Output rows of a pool: as many as a thread makes and as so many bytes of buffers allow, at least `grain`."""
    band = grain
    while band < min(share, windows[-1].out_height) and sum(buffers(windows, band + grain)) <= most:
        band += grain
    return band


def best_band(windows: list[Window], grain: int) -> int:
    """Output rows: one of BANDS, or more of them, if their buffers are small; multiples of `grain`."""
    def fits(band: int, most: int) -> bool:
        return sum(buffers(windows, band)) <= most

    if all(window.reach == 1 for window in windows):
        return next((n for n in BANDS if fits(n, SOME_BYTES)), 1)
    band = next((n for n in BANDS if n % grain == 0 and fits(n, BAND_BYTES)), grain)
    while band % BANDS[0] == 0 and band < windows[-1].out_height and fits(band + BANDS[0], SOME_BYTES):
        band += BANDS[0]
    return band


def _operands(part: Step, places: list[Operand], y: View) -> dict[str, int]:
    """What the kernel changes of a part's operands and parameters.  x and y leave them: they are other ones in each band."""
    at = [part.operands.index(place) for place in places]
    for i in at:
        part.operands[i] = None
    row = {"type": TYPES[part.kernel], "x": at[0], "y": at[1], "param": 0, "per_row": 0, "pad_at": 0, "units_at": 0}
    row["scratch"] = next((i for i, o in enumerate(part.operands) if o is not None and o.space == SCRATCH), -1)
    p = part.params
    if row["type"] not in (PLAIN, WINDOWS):
        return row
    if "batch" in p:
        p["batch"] = 1      # The band is of one picture, whatever the layer by itself would do.
    if row["type"] == WINDOWS:
        row |= {"pad_at": engine.parameter(part.kernel, "pad_top"), "param": engine.parameter(part.kernel, "out_height")}
        return row | {"per_row": 1, "units_at": engine.parameter(part.kernel, "tiles_y") if "tiles_y" in p else 0}
    # Contiguous tensors are a single row to some kernels.
    counted = "pixels" if "pixels" in p else "columns" if p["rows"] == 1 and "columns" in p else "rows"
    row["param"] = engine.parameter(part.kernel, counted)
    return row | {"per_row": y.shape[2] * (y.row if counted == "columns" else 1)}
