"""Operators that only move data."""

from __future__ import annotations

import numpy as np
import pytest

from tinynet import reference
from tinynet.errors import FormatError


def format_error(lab, match, *args, **options):
    model, _ = lab.one(*args, **options)
    with pytest.raises(FormatError, match=match):
        lab.import_(model)


@pytest.mark.parametrize("opset", [7, 13, 14, 21, 23])
@pytest.mark.parametrize("target,shape", [((6, 4), (6, 4)), ((0, -1), (2, 12)), ((-1,), (24,)),
                                          ((0, 0, 2, 2), (2, 3, 2, 2)), ((1, 2, 3, 4), (1, 2, 3, 4)),
                                          ((2, 3, 4), (2, 3, 4))])
def test_reshape(lab, opset, target, shape):
    graph = lab.op("Reshape", lab.normal(2, 3, 4), lab.ints(*target), opset=opset)
    assert graph.tensors["y"].shape == shape


def test_reshape_allowzero_and_errors(lab):
    x = lab.normal(2, 3, 4)
    lab.op("Reshape", x, lab.ints(4, 6), opset=14, allowzero=1)
    format_error(lab, "cannot take the shape \\[0, 24\\]", "Reshape", x, lab.ints(0, 24), opset=14, allowzero=1)
    format_error(lab, "cannot take the shape", "Reshape", x, lab.ints(5, -1))
    format_error(lab, "cannot take the shape", "Reshape", x, lab.ints(-1, -1))
    format_error(lab, "copies a dimension", "Reshape", x, lab.ints(2, 3, 4, 0))
    format_error(lab, "1-D integer", "Reshape", x, lab.normal(2))
    assert "shape computed at run time" in lab.reason("Reshape", x, lab.ints(-1), run=(0, 1))


@pytest.mark.parametrize("opset", [7, 9, 11, 13, 21])
def test_flatten(lab, opset):
    for axis in (None, 0, 1, 3, 4) + ((-1, -3) if opset >= 11 else ()):
        lab.op("Flatten", lab.normal(2, 3, 4, 5), opset=opset, **({} if axis is None else {"axis": axis}))
    lab.op("Flatten", lab.normal(4), opset=opset, axis=0)


def test_squeeze_and_unsqueeze(lab):
    x, y = lab.normal(1, 3, 1, 4), lab.normal(3, 4)
    for opset in (7, 11):
        lab.op("Squeeze", x, opset=opset)
        lab.op("Squeeze", x, opset=opset, axes=[2])
        lab.op("Unsqueeze", y, opset=opset, axes=[0, 3])
    lab.op("Squeeze", x, opset=11, axes=[-2, 0])
    lab.op("Unsqueeze", y, opset=11, axes=[-1])
    for opset in (13, 21, 23):
        lab.op("Squeeze", x, opset=opset)
        lab.op("Squeeze", x, lab.ints(0, -2), opset=opset)
        lab.op("Unsqueeze", y, lab.ints(1, -1), opset=opset)
    format_error(lab, "are not all 1", "Squeeze", x, lab.ints(1))
    format_error(lab, "outside a tensor of rank", "Squeeze", x, lab.ints(4))
    format_error(lab, "twice", "Unsqueeze", y, lab.ints(0, 0))


@pytest.mark.parametrize("opset", [8, 13])
@pytest.mark.parametrize("shape,target", [((3, 1), (2, 3, 4)), ((3, 4), (1, 1)), ((1, 4), (3, 1)), ((), (2, 2))])
def test_expand(lab, opset, shape, target):
    lab.op("Expand", np.asarray(lab.normal(*shape)), lab.ints(*target), opset=opset)


def test_expand_error(lab):
    format_error(lab, "does not broadcast", "Expand", lab.normal(3, 4), lab.ints(2, 4))


@pytest.mark.parametrize("opset", [7, 13])
@pytest.mark.parametrize("shape,repeats,kinds", [
    ((2, 3), (1, 1), ["reshape"]), ((2, 3), (1, 2), ["reshape", "expand", "reshape"]), ((1, 3), (4, 1), ["expand"]),
    ((2, 1, 3), (2, 5, 3), ["reshape", "expand", "reshape"]), ((2, 3), (0, 2), ["reshape", "expand", "reshape"]),
    ((2, 3, 4, 5), (2, 1, 3, 2), ["reshape", "expand", "reshape"])])
def test_tile(lab, opset, shape, repeats, kinds):
    assert lab.kinds(lab.op("Tile", lab.normal(*shape), lab.ints(*repeats), opset=opset)) == kinds
    lab.op("Tile", np.arange(np.prod(shape)).reshape(shape), lab.ints(*repeats), opset=opset)


def test_tile_errors(lab):
    format_error(lab, "repeats \\[2\\] for an input of rank 2", "Tile", lab.normal(3, 4), lab.ints(2))
    format_error(lab, "repeats \\[2, -1\\]", "Tile", lab.normal(3, 4), lab.ints(2, -1))
    assert "repeats computed at run time" in lab.reason("Tile", lab.normal(2, 3), lab.ints(1, 2), run=(0, 1))


@pytest.mark.parametrize("opset", [7, 13, 21])
def test_transpose(lab, opset):
    lab.op("Transpose", lab.normal(2, 3, 4), opset=opset)
    lab.op("Transpose", lab.normal(2, 3, 4), opset=opset, perm=[1, 2, 0])
    format_error(lab, "does not order the axes", "Transpose", lab.normal(2, 3, 4), opset=opset, perm=[0, 0, 1])


@pytest.mark.parametrize("opset", [7, 11, 13])
def test_concat(lab, opset):
    parts = [lab.normal(2, n, 3, seed=n) for n in (1, 4, 2)]
    lab.op("Concat", *parts, opset=opset, run=(0, 2), axis=1)
    if opset >= 11:
        lab.op("Concat", *parts, opset=opset, run=(0, 1, 2), axis=-2)
    lab.op("Concat", parts[0], opset=opset, axis=0)
    lab.op("Concat", lab.ints(1, 2), lab.ints(3), opset=opset, axis=0)
    assert "expected" in lab.reason("Concat", parts[0], lab.normal(2, 1, 4), opset=opset, run=(0, 1), axis=1)


SLICES = [([1], [3], [0], None), ([0, 1], [100, -1], [0, 2], None), ([-3], [-1], [2], None),
          ([1, 0, 2], [4, 3, 6], None, None), ([0], [6], [2], [2]), ([1], [100], [2], [3]),
          ([-1], [-100], [2], [-1]), ([4], [0], [2], [-2]),
          ([5, 0], [-2 ** 63, 2 ** 63 - 1], [2, 0], [-2, 3]), ([100], [-100], [0], [-1]), ([0], [-1], [-1], None)]


@pytest.mark.parametrize("starts,ends,axes,steps", SLICES)
def test_slice(lab, starts, ends, axes, steps):
    x = lab.normal(4, 3, 6)
    optional = {"axes": axes} if axes else {}
    if steps is None and not any(a < 0 for a in axes or ()):
        lab.op("Slice", x, opset=7, starts=starts, ends=ends, **optional)
    inputs = [lab.ints(*starts), lab.ints(*ends), None if axes is None else lab.ints(*axes),
              None if steps is None else lab.ints(*steps)]
    for opset in (10, 11, 13):
        lab.op("Slice", x, *inputs, opset=opset)
    lab.op("Slice", x, *(i if i is None else np.clip(i, -2 ** 31, 2 ** 31 - 1).astype(np.int32) for i in inputs))


@pytest.mark.parametrize("start,end,step", [(2, 2, 1), (9, 12, 1), (3, 1, 1), (0, 3, -1), (4, 9, 2)])
def test_slice_of_nothing(lab, start, end, step):
    for x in (lab.normal(4, 3), np.arange(12).reshape(4, 3)):
        assert lab.op("Slice", x, lab.ints(start), lab.ints(end), lab.ints(0), lab.ints(step)).tensors["y"].shape == (0, 3)


def test_slice_errors(lab):
    x = lab.normal(4, 3)
    assert "starts computed at run time" in lab.reason("Slice", x, lab.ints(0), lab.ints(2), run=(0, 1))
    format_error(lab, "do not fit", "Slice", x, lab.ints(0), lab.ints(2), lab.ints(0), lab.ints(0))
    format_error(lab, "do not fit", "Slice", x, lab.ints(0), lab.ints(2, 3))
    format_error(lab, "twice", "Slice", x, lab.ints(0, 0), lab.ints(2, 3), lab.ints(0, -2))


def test_split(lab):
    x = lab.normal(2, 6, 5)
    for opset in (7, 11):
        lab.op("Split", x, opset=opset, outputs=3, axis=1)
        lab.op("Split", x, opset=opset, outputs=3, axis=1, split=[1, 3, 2])
    for opset in (13, 18):
        lab.op("Split", x, lab.ints(1, 5), opset=opset, outputs=2, axis=-2)
    lab.op("Split", x, opset=13, outputs=2, axis=1)
    lab.op("Split", x, opset=18, outputs=3, axis=2, num_outputs=3)
    model, feeds = lab.one("Split", lab.normal(4), opset=18, outputs=3, num_outputs=3)      # onnxruntime refuses this
    found = reference.run(lab.import_(model), feeds)
    assert [y.tolist() for y in found.values()] == [feeds["x0"][:2].tolist(), feeds["x0"][2:].tolist(), []]
    lab.op("Split", x, lab.ints(0, 6, 0), opset=13, outputs=3, axis=1)
    format_error(lab, "cannot be split", "Split", x, opset=13, outputs=2, axis=2)
    format_error(lab, "do not add up", "Split", x, lab.ints(1, 2), opset=13, outputs=2)


def test_split_leaves_out_what_nobody_reads(lab):
    x = lab.normal(2, 6)
    for names in (["a", "b", "c"], ["a", "", "c"]):
        nodes = [lab.node("Split", ["x"], names, axis=1), lab.node("Relu", ["a"])]
        assert lab.kinds(lab.import_(lab.model(nodes, {"x": x}, opset=13))) == ["slice", "relu"]


PADS = [[1, 0, 2, 3, 1, 0], [0, 0, 2, 0, 0, 1], [0, 2, 0, 0, 0, 0], [-1, 0, 2, 1, -1, 0], [0, -1, -1, -2, 0, 0]]


@pytest.mark.parametrize("mode", ["constant", "reflect", "edge", "wrap"])
@pytest.mark.parametrize("pads", PADS)
def test_pad(lab, mode, pads):
    x = lab.normal(4, 3, 5)
    if mode != "wrap":
        lab.op("Pad", x, opset=7, mode=mode, pads=pads, **({"value": 1.5} if mode == "constant" else {}))
    value = np.asarray(np.float32(-2.5))
    for opset in (19, 21) if mode == "wrap" else (11, 13, 18, 19, 21):
        lab.op("Pad", x, lab.ints(*pads), opset=opset, mode=mode)
        lab.op("Pad", x, lab.ints(*pads), value, opset=opset, mode=mode)


def test_pad_other_forms(lab):
    x = lab.normal(4, 3, 5)
    lab.op("Pad", x, lab.ints(-1, 2, 0, 3, -1, -2), np.asarray(np.float32(7)))
    lab.op("Pad", x, lab.ints(1, 2), None, lab.ints(-1), opset=18, mode="edge")
    lab.op("Pad", x, lab.ints(1, 2, 0, 1), np.asarray(np.float32(3)), lab.ints(2, 0), opset=19)
    lab.op("Pad", x, lab.ints(9, 0, 0, 9, 4, 7), opset=19, mode="wrap")
    assert lab.kinds(lab.op("Pad", x, lab.ints(0, 0, 0, 0, 0, 0))) == ["reshape"]
    assert lab.op("Pad", lab.normal(4, 3), lab.ints(-2, 0, -2, 1)).tensors["y"].shape == (0, 4)


@pytest.mark.parametrize("value", [-7, 2 ** 53 + 1, 2 ** 63 - 1, -2 ** 63])
def test_pad_with_integers_is_exact(lab, value):
    x = np.arange(6).reshape(2, 3)
    lab.op("Pad", x, lab.ints(1, 0, 0, 1), np.asarray(value))
    lab.op("Pad", x, lab.ints(1, 0, 0, 1), np.array([value]), run=(0, 2))


@pytest.mark.parametrize("dtype,value", [("int32", -2 ** 31), ("uint8", 255), ("int8", -128), ("bool", True)])
def test_pad_of_other_dtypes(lab, dtype, value):
    lab.op("Pad", np.ones((2, 3), dtype), lab.ints(1, 0, 0, 1), np.asarray(value, dtype))


def test_pad_errors(lab):
    x = lab.normal(4, 3)
    format_error(lab, "mode 'wrap'", "Pad", x, lab.ints(1, 1, 1, 1), opset=18, mode="wrap")
    assert "pads computed at run time" in lab.reason("Pad", x, lab.ints(1, 1, 1, 1), run=(0, 1))
    assert "reach beyond" in lab.reason("Pad", x, lab.ints(4, 0, 0, 0), mode="reflect")
    assert "reach beyond" in lab.reason("Pad", x, lab.ints(3, 0, -1, 0), mode="reflect")
    format_error(lab, "cut more than there is", "Pad", x, lab.ints(-2, 0, -3, 0))
    format_error(lab, "constant_value must be a float32 scalar", "Pad", x, lab.ints(1, 1, 1, 1), np.asarray(np.int64(1)))
    format_error(lab, "pads \\[1, 1\\] for 2 axes", "Pad", x, lab.ints(1, 1))


@pytest.mark.parametrize("opset", [7, 9, 13, 19, 21, 23])
def test_cast(lab, opset):
    kinds = lab.onnx.TensorProto
    x = np.array([[-1.7, 0.0, 1.2, 100.9]], np.float32)
    for to in (kinds.INT64, kinds.INT32, kinds.BOOL):
        lab.op("Cast", x, opset=opset, to=to)
    lab.op("Cast", np.abs(x), opset=opset, to=kinds.UINT8)
    lab.op("Cast", lab.ints(1, 0, -3), opset=opset, to=kinds.FLOAT)
    assert lab.kinds(lab.op("Cast", x, opset=opset, to=kinds.FLOAT)) == ["reshape"]
    assert "cast to uint16 at run time" in lab.reason("Cast", x, opset=opset, to=kinds.UINT16)


def test_cast_like(lab):
    lab.op("CastLike", lab.ints(1, 2), lab.normal(1), opset=15)


@pytest.mark.parametrize("opset", [7, 15, 21])
def test_shape_and_size_are_constants(lab, opset):
    x = lab.normal(2, 3, 5)
    assert lab.kinds(lab.op("Shape", x, opset=opset)) == ["reshape"]
    lab.op("Size", x, opset=opset)
    if opset >= 15:
        for start, end in ((1, None), (-2, -1), (0, 100), (-9, 2)):
            lab.op("Shape", x, opset=opset, start=start, **({} if end is None else {"end": end}))
