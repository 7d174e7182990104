"""Layers one behind the other as one step, which makes a band of output rows at a time: what lies between them stays in cache
and takes no place in the arena ("layer fusion": Alwani et al. 2016; "patch-based" execution: Lin et al. 2021, MCUNetV2)."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from tinynet.builder import ARENA, SCRATCH, Operand, Step, View
from tinynet.graph import DTYPES, Node, Tensor
from tinynet.ops.base import Op, Spec
from tinynet.record import Record

# Kernels that can be parts, and their types in kernels/bands.pxi.
CONV2D, DEPTHWISE, PLAIN = range(3)
TYPES = {"q_conv2d": CONV2D, "q_depthwise_conv2d": DEPTHWISE, "q_table": PLAIN, "quantize": PLAIN, "dequantize": PLAIN,
         "lrn_f32": PLAIN, "quantize_planes": PLAIN, "scale_shift_f32": PLAIN, "unary_f32": PLAIN}
MOST_LAYERS = 8
BAND_BYTES = 160 * 1024     # of the rows between layers that a thread holds, at most
SOME_BYTES = 48 * 1024      # a band of more than BANDS[0] rows takes no more than these
BANDS = (8, 4, 2)           # output rows: as many as the depthwise loops take at a time, a half, a quarter
COLUMNS = ("type", "height", "out_height", "reach", "stride", "pad", "x_row", "x_picture", "y_row", "rows_at", "x", "y",
           "scratch", "param", "per_row")     # struct BandedLayer


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
        windows = [Window.of(op, n, tensors, tensors[n.outputs[0]]) for op, n in self.layers]
        band = best_band(windows)
        table = []
        for i, part in enumerate(parts):
            rows = {"rows_at": scratch, "x_row": row_bytes(views[i], part), "y_row": row_bytes(views[i + 1]),
                    "x_picture": views[i].shape[1] * views[i].strides[1] * DTYPES[views[i].dtype]}
            row = windows[i].as_dict() | rows | _operands(part, places[i:i + 2], views[i + 1])
            table.append([row[column] for column in COLUMNS])
            scratch += buffers(windows, band)[i]
        builder.emit("bands", [places[0], places[-1], builder.scratch(scratch * builder.threads),
                               builder.constant(np.array(table, np.int64))],
                     parts_at=0, layers=len(parts), batch=y.shape[0], band=band, scratch_bytes=scratch)
        step = builder.steps[-1]
        step.parts, step.macs = parts, sum(part.macs for part in parts)
        step.nanoseconds = sum(part.nanoseconds for part in parts)
        return True


class Window(Record):
    """Which rows a layer reads for its output rows, and the bytes of one of these."""

    __slots__ = ("height", "out_height", "reach", "stride", "pad", "row_bytes")

    def __init__(self, height: int, out_height: int, reach: int, stride: int, pad: int, row_bytes: int):
        self.height = height
        self.out_height = out_height
        self.reach = reach
        self.stride = stride
        self.pad = pad
        self.row_bytes = row_bytes

    @staticmethod
    def of(op: Any, node: Node, tensors: dict[str, Tensor], y: Tensor) -> Window:
        """y: what the layer writes."""
        row = y.shape[2] * y.shape[3] * DTYPES[y.dtype]
        if op.kind not in ("q_conv2d", "q_depthwise_conv2d"):
            return Window(y.shape[1], y.shape[1], 1, 1, 0, row)
        x = tensors[node.inputs[0]]
        tall = tensors[node.inputs[1]].shape[1 if op.kind == "q_conv2d" else 0]
        return Window(x.shape[1], y.shape[1], (tall - 1) * op.dilations[0] + 1, op.strides[0], op.pads[0], row)


def row_bytes(view: View, reader: Step | None = None) -> int:
    """From one row of pixels to the next; of a plane, if the reader reads planes."""
    planar = reader is not None and reader.kernel == "quantize_planes"
    return view.strides[2 if planar else 1] * DTYPES[view.dtype]


def buffers(windows: list[Window], band: int) -> list[int]:
    """Bytes that hold what each layer makes for so many output rows of the last, which itself needs none."""
    sizes = [0]
    for reader, writer in zip(windows[:0:-1], windows[-2::-1], strict=True):
        band = min(reader.height, (band - 1) * reader.stride + reader.reach)
        # Products read up to three bytes behind the last pixel.
        sizes.append(-(-(band * writer.row_bytes + 3) // 64) * 64)
    return sizes[::-1]


def best_band(windows: list[Window]) -> int:
    """Output rows: one of BANDS, or more of them, if their buffers are small."""
    def fits(band: int, most: int) -> bool:
        return sum(buffers(windows, band)) <= most

    if all(window.reach == 1 for window in windows):
        return next((n for n in BANDS if fits(n, SOME_BYTES)), 1)
    band = next((n for n in BANDS if fits(n, BAND_BYTES)), 1)
    while band % BANDS[0] == 0 and band < windows[-1].out_height and fits(band + BANDS[0], SOME_BYTES):
        band += BANDS[0]
    return band


def _operands(part: Step, places: list[Operand], y: View) -> dict[str, int]:
    """What the kernel changes of a part's operands and parameters.  x and y leave them: they are other ones in each band."""
    at = [part.operands.index(place) for place in places]
    for i in at:
        part.operands[i] = None
    row = {"type": TYPES[part.kernel], "x": at[0], "y": at[1], "param": 0, "per_row": 0}
    row["scratch"] = next((i for i, o in enumerate(part.operands) if o is not None and o.space == SCRATCH), -1)
    if row["type"] != PLAIN:
        return row
    p = part.params
    if "batch" in p:
        p["batch"] = 1      # The band is of one picture, whatever the layer by itself would do.
    # Contiguous tensors are a single row to some kernels.
    counted = "pixels" if "pixels" in p else "columns" if p["rows"] == 1 and "columns" in p else "rows"
    return row | {"param": list(p).index(counted), "per_row": y.shape[2] * (y.row if counted == "columns" else 1)}
