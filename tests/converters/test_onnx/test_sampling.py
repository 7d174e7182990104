"""GridSample, AffineGrid, regions of interest, Col2Im, CenterCropPad."""

from __future__ import annotations

import numpy as np
import pytest

from tinynet.errors import FormatError


@pytest.mark.parametrize("opset, mode", [
    (16, "bilinear"), (16, "nearest"), (16, "bicubic"), (20, "linear"), (20, "cubic"), (22, "nearest"), (16, None), (20, None)])
@pytest.mark.parametrize("padding", ["zeros", "border", "reflection"])
def test_grid_sample(lab, opset, mode, padding):
    grid = np.random.default_rng(1).uniform(-1.4, 1.4, (2, 3, 4, 2)).astype(np.float32)
    more = {"mode": mode} if mode else {}
    graph = lab.op("GridSample", lab.normal(2, 3, 6, 5), grid, opset=opset, run=(0, 1), padding_mode=padding,
                   align_corners=1, **more)
    assert lab.kinds(graph) == ["transpose", "grid_sample", "transpose"]


def test_grid_sample_names_of_another_version(lab):
    model, _ = lab.one("GridSample", lab.normal(1, 1, 3, 3), lab.normal(1, 2, 2, 2), opset=20, mode="bilinear")
    with pytest.raises(FormatError, match="'bilinear' is none of linear, nearest, cubic"):
        lab.import_(model)


@pytest.mark.parametrize("size", [(2, 3, 4, 5), (1, 2, 3, 4, 5)])
@pytest.mark.parametrize("align", [0, 1])
def test_affine_grid(lab, size, align):
    rank = len(size) - 2
    lab.op("AffineGrid", lab.normal(size[0], rank, rank + 1), lab.ints(*size), opset=20, align_corners=align)


def test_affine_grid_contradictions(lab):
    model, _ = lab.one("AffineGrid", lab.normal(1, 2, 3), lab.ints(1, 3, 4, 5, 6), opset=20)
    with pytest.raises(FormatError, match="does not fit size"):
        lab.import_(model)
    assert "places are supported" in lab.reason("AffineGrid", lab.normal(1, 2, 3), lab.ints(1, 1, 1 << 15, 1 << 15), opset=20)


@pytest.mark.parametrize("opset", [10, 16])
@pytest.mark.parametrize("mode", ["avg", "max"])
def test_roi_align(lab, opset, mode):
    rois = np.array([[0, 1, 5, 6], [2, 2, 2.5, 8], [-3, 0, 20, 4]], np.float32)
    lab.op("RoiAlign", lab.normal(2, 3, 8, 9), rois, lab.ints(0, 1, 1), opset=opset, run=(0, 1, 2), mode=mode, output_height=2,
           output_width=3, spatial_scale=0.7)


def test_max_roi_pool(lab):
    rois = np.array([[0, 0, 1, 5, 6], [1, 2, 2, 2.5, 8], [1, -3, 0, 20, 4]], np.float32)
    lab.op("MaxRoiPool", lab.normal(2, 3, 8, 9), rois, run=(0, 1), pooled_shape=[2, 3], spatial_scale=0.7)


def test_max_unpool_with_an_output_shape(lab):
    from tinynet import reference
    x, indices = lab.normal(1, 1, 2, 2), np.array([[[[5, 7], [13, 15]]]])
    lab.op("MaxUnpool", x, indices, lab.ints(1, 1, 4, 4), run=(0, 1), kernel_shape=[2, 2], strides=[2, 2])
    # Larger than kernel and strides give: onnxruntime counts the indices in the larger one, the specification's test does not.
    model, feeds = lab.one("MaxUnpool", x, indices, lab.ints(1, 1, 5, 5), run=(0, 1), kernel_shape=[2, 2], strides=[2, 2])
    expected = np.zeros((1, 1, 5, 5), np.float32)
    expected[..., 1:4:2, 1:4:2] = x
    np.testing.assert_array_equal(reference.run(lab.import_(model), feeds)["y"], expected)
    model, _ = lab.one("MaxUnpool", x, indices, lab.ints(1, 2, 4, 4), run=(0, 1), kernel_shape=[2, 2], strides=[2, 2])
    with pytest.raises(FormatError, match="does not begin with"):
        lab.import_(model)


@pytest.mark.parametrize("attributes", [{}, {"strides": [2, 1]}, {"pads": [1, 0, 0, 1]}, {"dilations": [1, 2]}])
def test_col2im(lab, attributes):
    from numpy.lib.stride_tricks import sliding_window_view
    strides, pads = attributes.get("strides", [1, 1]), attributes.get("pads", [0] * 4)
    dilations = attributes.get("dilations", [1, 1])
    spans = [dilations[0] + 1, 2 * dilations[1] + 1]
    padded = np.zeros((6 + pads[0] + pads[2], 7 + pads[1] + pads[3]))
    places = sliding_window_view(padded, spans)[::strides[0], ::strides[1]].shape[:2]
    lab.op("Col2Im", lab.normal(2, 18, places[0] * places[1]), lab.ints(6, 7), lab.ints(2, 3), opset=18, **attributes)


@pytest.mark.parametrize("dims", [1, 3])
def test_col2im_of_one_and_three_axes(lab, dims):
    image, block = (5, 4, 6)[:dims], (2, 3, 2)[:dims]
    places = int(np.prod([d - k + 1 for d, k in zip(image, block, strict=True)]))
    lab.op("Col2Im", lab.normal(1, 3 * int(np.prod(block)), places), lab.ints(*image), lab.ints(*block), opset=18)


def test_col2im_contradictions(lab):
    model, _ = lab.one("Col2Im", lab.normal(1, 6, 5), lab.ints(4, 4), lab.ints(2, 3), opset=18)
    with pytest.raises(FormatError, match="does not hold"):
        lab.import_(model)


@pytest.mark.parametrize("shape, axes", [
    ((4, 9, 3), None), ((7, 2, 6), None), ((3, 8), [2, 0]), ((9,), [-2]), ((5, 6, 7), None)])
@pytest.mark.parametrize("dtype", [np.float32, np.int64])
def test_center_crop_pad(lab, shape, axes, dtype):
    x = (lab.normal(5, 6, 7) * 9).astype(dtype)
    lab.op("CenterCropPad", x, lab.ints(*shape), opset=18, **({"axes": axes} if axes else {}))


def test_a_model_whose_inputs_are_indices_converts(lab):
    """Random numbers name images that do not exist: such a file has no self-test."""
    import tinynet
    from tinynet.converters import convert_bytes
    x, rois = lab.normal(1, 3, 8, 9), np.array([[0, 1, 5, 6]], np.float32)
    model, feeds = lab.one("RoiAlign", x, rois, lab.ints(0), opset=16, run=(0, 1, 2), output_height=2, output_width=3)
    data, report = convert_bytes(model)
    assert any("no self-test is recorded" in note and "expected images from 0 to 0" in note for note in report.notes)
    ready = tinynet.load(data)
    np.testing.assert_allclose(ready.run(feeds)["y"], lab.ort_run(model, feeds)[0], atol=1e-5)
    assert tinynet.selftest.check(ready) is None
    with pytest.raises(tinynet.errors.TinynetError, match=r"expected images from 0 to 0, found \[7\]"):
        ready.run({**feeds, "x2": lab.ints(7)})
