"""Pools, Resize, Upsample and the depth/space moves."""

from __future__ import annotations

import numpy as np
import pytest

from tinynet import reference
from tinynet.errors import FormatError

POOL_ATTRIBUTES = [
    {}, {"strides": [2, 3]}, {"strides": [2, 2], "pads": [1, 0, 2, 1]},
    {"strides": [2, 2], "auto_pad": "SAME_UPPER"}, {"strides": [2, 2], "auto_pad": "SAME_LOWER"},
    {"auto_pad": "SAME_UPPER"}, {"auto_pad": "SAME_LOWER"}, {"strides": [3, 3], "auto_pad": "VALID"}]
CEIL_ATTRIBUTES = [
    {"strides": [2, 2]}, {"strides": [2, 3], "pads": [1, 1, 1, 1]}, {"strides": [4, 4]},
    {"strides": [3, 2], "pads": [0, 1, 2, 0]}, {"strides": [2, 2], "pads": [2, 1, 2, 1]}, {"strides": [1, 1]}]


@pytest.mark.parametrize("attributes", POOL_ATTRIBUTES)
@pytest.mark.parametrize("opset", [7, 8, 10, 12, 17, 22])
def test_max_pool(lab, attributes, opset):
    graph = lab.op("MaxPool", lab.normal(2, 3, 11, 10) - 5, opset=opset, kernel_shape=[3, 2], **attributes)
    assert lab.kinds(graph) == ["transpose", "max_pool2d", "transpose"]


@pytest.mark.parametrize("attributes", CEIL_ATTRIBUTES + [{"dilations": [2, 3], "strides": [2, 2]}])
@pytest.mark.parametrize("height", [9, 10, 11, 12])
def test_max_pool_ceil_mode(lab, attributes, height):
    lab.op("MaxPool", lab.normal(1, 2, height, 11) - 5, kernel_shape=[3, 2], ceil_mode=1, **attributes)


def test_max_pool_other_forms(lab):
    lab.op("MaxPool", lab.normal(1, 2, 9), kernel_shape=[3], strides=[2], pads=[1, 1])
    lab.op("MaxPool", lab.normal(1, 2, 9, 9), kernel_shape=[3, 3], dilations=[2, 2], storage_order=1)
    model = lab.model([lab.node("MaxPool", ["x"], ["y", "unused"], kernel_shape=[2, 2])], {"x": lab.normal(1, 1, 4, 4)})
    lab.check(model, {"x": lab.normal(1, 1, 4, 4)})


def test_pool_refusals(lab):
    x = lab.normal(1, 2, 6, 6)
    assert "not smaller than the kernel" in lab.reason("AveragePool", x, kernel_shape=[2, 2], pads=[2, 0, 0, 0])
    assert "p = 0" in lab.reason("LpPool", x, kernel_shape=[2, 2], p=0)
    model, _ = lab.one("MaxPool", x, kernel_shape=[2])
    with pytest.raises(FormatError, match="kernel_shape must hold 2"):
        lab.import_(model)
    model, _ = lab.one("MaxPool", x)
    with pytest.raises(FormatError, match="attribute 'kernel_shape' is missing"):
        lab.import_(model)


@pytest.mark.parametrize("attributes", POOL_ATTRIBUTES)
@pytest.mark.parametrize("include", [0, 1])
@pytest.mark.parametrize("opset", [7, 10, 17, 19, 22])
def test_average_pool(lab, attributes, include, opset):
    lab.op("AveragePool", lab.normal(2, 3, 11, 10), opset=opset, kernel_shape=[3, 2], count_include_pad=include,
           **attributes)


@pytest.mark.parametrize("attributes", CEIL_ATTRIBUTES)
@pytest.mark.parametrize("height", [9, 10, 11, 12])
@pytest.mark.parametrize("include", [0, 1])
@pytest.mark.parametrize("opset", [11, 19, 22])
def test_average_pool_ceil_mode(lab, attributes, height, include, opset):
    lab.op("AveragePool", lab.normal(1, 2, height, 11), opset=opset, kernel_shape=[3, 2], count_include_pad=include,
           ceil_mode=1, **attributes)


def test_average_pool_other_forms(lab):
    lab.op("AveragePool", lab.normal(1, 2, 9), kernel_shape=[3], strides=[2], pads=[1, 1])
    lab.op("AveragePool", lab.normal(1, 2, 9, 9), kernel_shape=[2, 3], dilations=[2, 3], opset=19, pads=[1, 1, 1, 2])


@pytest.mark.parametrize("shape", [(2, 3, 5, 4), (1, 3, 7), (1, 2, 3, 4, 5)])
@pytest.mark.parametrize("kind,expected", [("GlobalAveragePool", "reduce_mean"), ("GlobalMaxPool", "reduce_max")])
def test_global_pools(lab, kind, expected, shape):
    assert lab.kinds(lab.op(kind, lab.normal(*shape))) == [expected]


@pytest.mark.parametrize("opset,modes", [(7, [None]), (11, ["DCR", "CRD"]), (17, [None, "DCR", "CRD"])])
def test_depth_to_space(lab, opset, modes):
    for mode in modes:
        lab.op("DepthToSpace", lab.normal(2, 18, 2, 4), opset=opset, blocksize=3, **({"mode": mode} if mode else {}))


@pytest.mark.parametrize("opset", [7, 13])
def test_space_to_depth(lab, opset):
    lab.op("SpaceToDepth", lab.normal(2, 3, 4, 6), opset=opset, blocksize=2)


@pytest.mark.parametrize("mode", ["nearest", "linear"])
@pytest.mark.parametrize("scales", [(2, 2), (3, 1), (1.5, 2.5)])
def test_upsample(lab, mode, scales):
    x, full = lab.normal(1, 2, 5, 6), [1.0, 1.0, *map(float, scales)]
    lab.op("Upsample", x, opset=7, mode=mode, scales=full)
    lab.op("Upsample", x, np.array(full, np.float32), opset=9, mode=mode)


@pytest.mark.parametrize("mode", ["nearest", "linear"])
@pytest.mark.parametrize("scales", [(2, 3), (1.5, 2.5), (0.5, 0.5), (0.6, 0.7), (0.4, 1)])
def test_resize_10(lab, mode, scales):
    lab.op("Resize", lab.normal(1, 2, 7, 9), np.array([1, 1, *scales], np.float32), opset=10, mode=mode)


COORDINATES = ["half_pixel", "pytorch_half_pixel", "align_corners", "asymmetric"]


@pytest.mark.parametrize("opset,coordinates", [
    *((opset, name) for opset in (11, 13, 18, 19) for name in COORDINATES), (19, "half_pixel_symmetric")])
@pytest.mark.parametrize("given", [("scales", (2, 3)), ("scales", (1.3, 0.6)), ("scales", (9 / 7, 0.6)), ("sizes", (9, 4)),
                                   ("sizes", (14, 1))])
def test_resize_linear(lab, opset, coordinates, given):
    empty = np.zeros(0, np.float32) if opset == 11 else None     # onnxruntime insists on a roi there
    inputs = (empty, np.array([1, 1, *given[1]], np.float32)) if given[0] == "scales" else (
        empty, empty, lab.ints(1, 2, *given[1]))
    if given == ("scales", (1.3, 0.6)) and coordinates == "align_corners":
        return          # lengths with a fraction: tests/ops/test_resize.py
    graph = lab.op("Resize", lab.normal(1, 2, 7, 5), *inputs, opset=opset, mode="linear", cubic_coeff_a=-0.5,
                   coordinate_transformation_mode=coordinates)
    assert lab.kinds(graph) == ["transpose", "resize", "transpose"]


@pytest.mark.parametrize("coordinates", COORDINATES)
@pytest.mark.parametrize("rounding", ["round_prefer_floor", "round_prefer_ceil", "floor", "ceil"])
@pytest.mark.parametrize("sizes", [(14, 15), (9, 4), (3, 10)])
def test_resize_nearest(lab, coordinates, rounding, sizes):
    lab.op("Resize", lab.normal(1, 2, 7, 5), None, None, lab.ints(1, 2, *sizes), mode="nearest",
           coordinate_transformation_mode=coordinates, nearest_mode=rounding)


@pytest.mark.parametrize("dtype", [np.uint8, np.int8])
@pytest.mark.parametrize("coordinates", ["half_pixel", "align_corners", "asymmetric"])
@pytest.mark.parametrize("sizes", [(14, 10), (16, 9), (5, 21)])
def test_resize_linear_of_bytes(lab, dtype, coordinates, sizes):
    """Cut off, not rounded: what is a whole number but for an error of float32 may fall to either side."""
    x = np.random.default_rng(3).integers(0, 256, (1, 20, 7, 9)).astype(np.uint8).view(dtype)
    model, feeds = lab.one("Resize", x, None, None, lab.ints(1, 20, *sizes), mode="linear",
                           coordinate_transformation_mode=coordinates)
    (wanted,), (found,) = lab.ort_run(model, feeds, optimised=True), reference.run(lab.import_(model), feeds).values()
    assert found.dtype == dtype
    model, _ = lab.one("Resize", x.astype(np.float32), None, None, lab.ints(1, 20, *sizes), mode="linear",
                       coordinate_transformation_mode=coordinates)
    (real,) = lab.ort_run(model, {name: a.astype(np.float32) for name, a in feeds.items()}, optimised=True)
    whole = np.abs(real - np.rint(real)) < 1e-4
    assert np.array_equal(found[~whole], wanted[~whole]) and np.abs(found.astype(int) - wanted).max() <= 1


def test_resize_11_without_the_roi_it_requires(lab):
    x, scales = lab.normal(1, 2, 3, 4), np.array([1, 1, 2, 2], np.float32)
    model, feeds = lab.one("Resize", x, None, scales, opset=11)
    newer, _ = lab.one("Resize", x, None, scales, opset=13)
    np.testing.assert_array_equal(reference.run(lab.import_(model), feeds)["y"], lab.ort_run(newer, feeds)[0])


def test_resize_other_forms(lab):
    x, roi = lab.normal(2, 3, 6), np.zeros(0, np.float32)
    lab.op("Resize", x, roi, np.array([1, 1, 2.5], np.float32), opset=11, mode="linear")
    lab.op("Resize", x, None, None, lab.ints(4), opset=18, mode="nearest", axes=[2])
    square = lab.normal(1, 4, 6, 3)
    lab.op("Resize", square, None, np.array([2.0, 3.0], np.float32), opset=18, mode="linear", axes=[-1, -2])
    assert lab.op("Resize", square, None, np.ones(4, np.float32)).nodes[0].op == "reshape"   # only renames the output
    graph = lab.op("Resize", square, None, np.array([1, 2, 2, 1], np.float32), mode="nearest",
                   coordinate_transformation_mode="asymmetric", nearest_mode="floor")
    assert lab.kinds(graph) == ["resize"]


def test_resize_refusals(lab):
    x, scales = lab.normal(1, 2, 6, 6), np.array([1, 1, 2, 2], np.float32)
    assert "tf_half_pixel_for_nn" in lab.reason("Resize", x, np.zeros(0, np.float32), scales, opset=11,
                                                coordinate_transformation_mode="tf_half_pixel_for_nn")
    assert "float32 except in mode nearest" in lab.reason("Resize", x.astype(np.uint8), None, scales, mode="cubic")


@pytest.mark.parametrize("opset", [11, 13, 18, 19])
@pytest.mark.parametrize("exclude", [0, 1])
def test_resize_cubic(lab, opset, exclude):
    empty = np.zeros(0, np.float32) if opset == 11 else None
    graph = lab.op("Resize", lab.normal(1, 2, 7, 5), empty, np.array([1, 1, 2, .7], np.float32), opset=opset, mode="cubic",
                   cubic_coeff_a=-0.5, exclude_outside=exclude)
    assert lab.kinds(graph) == ["resize"]


@pytest.mark.parametrize("mode", ["linear", "cubic"])
def test_resize_antialias(lab, mode):
    lab.op("Resize", lab.normal(1, 2, 17, 15), None, None, lab.ints(1, 2, 7, 20), opset=18, mode=mode, antialias=1,
           exclude_outside=1)


@pytest.mark.parametrize("policy", ["not_larger", "not_smaller"])
@pytest.mark.parametrize("axes", [[2, 3], [3, 2]])     # onnxruntime forgets negative ones here
def test_resize_keeps_the_aspect_ratio(lab, policy, axes):
    for mode in ("nearest", "linear"):
        lab.op("Resize", lab.normal(1, 2, 7, 5), None, None, lab.ints(17, 8), opset=18, mode=mode, axes=axes,
               keep_aspect_ratio_policy=policy)


@pytest.mark.parametrize("mode", ["nearest", "linear"])
def test_resize_of_other_axes(lab, mode):
    lab.op("Resize", lab.normal(1, 3, 4, 5), None, np.array([1, 2, 2, 2], np.float32), mode="nearest")
    lab.op("Resize", lab.normal(2, 3, 4, 5, 6), None, np.array([1, 1, 2, 1.5, .5], np.float32), mode=mode)
    lab.op("Resize", lab.normal(7, 6), None, np.array([2, .5], np.float32), mode=mode)
    bytes_ = np.arange(48, dtype=np.uint8).reshape(1, 2, 4, 6)
    lab.op("Resize", bytes_, None, np.array([1, 1, 2, 2], np.float32), mode="nearest")
    lab.op("Resize", lab.normal(1, 2, 7, 9), np.array([1, 1, 2, .7], np.float32), opset=10, mode=mode)


def test_resize_crops(lab):
    roi, x = np.array([0, 0, .2, -.1, 1, 1, .7, 1.3], np.float32), lab.normal(1, 2, 7, 5)
    for mode in ("nearest", "linear"):
        lab.op("Resize", x, roi, None, lab.ints(1, 2, 4, 9), mode=mode, coordinate_transformation_mode="tf_crop_and_resize",
               extrapolation_value=5.0)
        lab.op("Resize", x, roi[[2, 3, 6, 7]], None, lab.ints(4, 9), opset=18, mode=mode, axes=[2, 3],
               coordinate_transformation_mode="tf_crop_and_resize")
    model, _ = lab.one("Resize", x, roi[:4], None, lab.ints(1, 2, 4, 9), coordinate_transformation_mode="tf_crop_and_resize")
    with pytest.raises(FormatError, match="wants a roi of 8 numbers"):
        lab.import_(model)


@pytest.mark.parametrize("inputs,match", [
    ((None, None, None), "exactly one of scales and sizes"), ((None, np.ones(3, np.float32)), "for 4 axes"),
    ((None, np.array([1, 1, -1, 1], np.float32)), "positive"),
    ((None, np.array([1, 1, 1e38, 1], np.float32)), "beyond"),
    ((None, np.array([1, 1, .1, 1], np.float32)), "empty")])
def test_resize_contradictions(lab, inputs, match):
    model, _ = lab.one("Resize", lab.normal(1, 2, 6, 6), *inputs)
    with pytest.raises(FormatError, match=match):
        lab.import_(model)


def test_pixel_shuffle_spelled_with_reshape_and_transpose(lab):
    x = lab.normal(1, 8, 3, 5)
    nodes = [lab.node("Reshape", ["x", "s"], ["a"]), lab.node("Transpose", ["a"], ["b"], perm=[0, 1, 4, 2, 5, 3]),
             lab.node("Reshape", ["b", "t"], ["y"])]
    constants = {"s": lab.ints(1, 2, 2, 2, 3, 5), "t": lab.ints(1, 2, 6, 10)}
    graph = lab.check(lab.model(nodes, {"x": x}, constants=constants), {"x": x})
    assert reference.run(graph, {"x": x})["y"].shape == (1, 2, 6, 10)
