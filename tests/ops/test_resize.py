from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tinynet import ops
from tinynet.ops.resize import COORDINATES, NEAREST_MODES

MODES = [("nearest", nearest) for nearest in NEAREST_MODES] + [("linear", "round_prefer_floor")]
# Extents with scales; those whose product is whole.
AXES = [(n, scale) for n in range(2, 10) for scale in (0.5, 0.6, 0.75, 1.0, 1.3, 1.5, 2.0, 2.6, 3.0, 4.0)]
WHOLE = [(n, scale) for n, scale in AXES if float(np.float32(n) * np.float32(scale)).is_integer()]


def check(peer, x, mode, coordinates, nearest, scales=None, size=None):
    n, h, w, c = x.shape
    attributes = {"mode": mode, "coordinate_transformation_mode": coordinates, "nearest_mode": nearest}
    if size is None:
        inputs = [peer.nchw(x), None, np.array([1, 1, *scales], np.float32)]
    else:
        inputs, scales = [peer.nchw(x), None, None, np.array([n, c, *size], np.int64)], ()
    expected = peer.nhwc(peer.run("Resize", inputs, opset=19, **attributes))
    op = ops.make("resize", {"size": expected.shape[1:3], "scales": scales, "mode": mode, "coordinates": coordinates,
                             "nearest_mode": nearest})
    # Linear: the coordinates are a few roundings of numbers up to the extent, and the weights inherit their error.
    bound = 4 * max(h, w) * 2.0 ** -23 * np.abs(x).max() * 2 if mode == "linear" else 0
    peer.agree(op, [x], expected, atol=bound)
    macs = op.macs([ops.Spec(x.shape)], [ops.Spec(expected.shape)])
    assert macs == (4 * expected.size if mode == "linear" else 0)


@pytest.mark.parametrize("mode, nearest", MODES)
@pytest.mark.parametrize("coordinates", COORDINATES)
@settings(max_examples=15, deadline=None)
@given(n=st.integers(1, 2), h=st.integers(1, 9), w=st.integers(1, 9), c=st.integers(1, 3), oh=st.integers(1, 20),
       ow=st.integers(1, 20), seed=st.integers(0, 2**32 - 1))
def test_to_a_size_against_onnxruntime(peer, mode, nearest, coordinates, n, h, w, c, oh, ow, seed):
    check(peer, peer.normal(seed, n, h, w, c), mode, coordinates, nearest, size=(oh, ow))


@pytest.mark.parametrize("mode, nearest", MODES)
@pytest.mark.parametrize("coordinates", COORDINATES)
@settings(max_examples=15, deadline=None)
@given(data=st.data(), seed=st.integers(0, 2**32 - 1))
def test_by_scales_against_onnxruntime(peer, mode, nearest, coordinates, data, seed):
    # With align_corners onnxruntime takes whole lengths where the specification has fractions: see the test below.
    axes = st.sampled_from(WHOLE if coordinates == "align_corners" else AXES)
    (h, scale_h), (w, scale_w) = data.draw(axes), data.draw(axes)
    scales = scale_h, scale_w
    # It also copies where the extents stay the same, even by a scale like 1.3, which moves the coordinates.
    assume(scales == (1, 1) or tuple(np.floor(np.float32(scales) * np.float32((h, w)))) != (h, w))
    check(peer, peer.normal(seed, 1, h, w, 2), mode, coordinates, nearest, scales=scales)


@pytest.mark.parametrize("nearest, expected", [("round_prefer_floor", 14), ("round_prefer_ceil", 15)])
def test_a_tie_that_float32_misses_is_a_tie(peer, nearest, expected):
    # (4 + 1/2) 20/6 - 1/2 = 14.5; with the scale 6/20 rounded to float32 it comes out as 14.499999.
    x = np.arange(20, dtype=np.float32).reshape(1, 1, 20, 1)
    check(peer, x, "nearest", "half_pixel", nearest, size=(1, 6))
    op = ops.make("resize", {"size": (1, 6), "scales": (1.0, float(np.float32(6) / np.float32(20))),
                             "nearest_mode": nearest})
    assert op.source(1, 20)[4] < 14.5
    assert op.nearest(1, 20)[4] == expected


def test_nan_stays_where_it_is():
    x = np.array([1, np.nan, 2], np.float32).reshape(1, 1, 3, 1)
    (y,) = ops.make("resize", {"size": (1, 6), "scales": (1.0, 2.0), "coordinates": "asymmetric",
                               "nearest_mode": "floor"}).reference(x)
    assert np.isnan(y.reshape(-1)).tolist() == [False, False, True, True, False, False]


def test_refusals(peer):
    def op(**attrs):
        return ops.make("resize", {"size": (4, 6), "scales": (2.0, 2.0), **attrs})

    peer.refused(ops.make("resize", {}), (1, 2, 3, 4), match="size of 2 integers >= 1")
    peer.refused(op(), (2, 3), match=r"axes in order, each once, between 0 and 1, found \[1, 2\]")
    for bad in ((2, 1), (1, 1), (-1, 1), ()):
        peer.refused(op(axes=bad), (1, 2, 3, 4), match="axes in order")
    peer.refused(op(), (1, 0, 3, 4), match="at least one pixel along axes")
    peer.refused(op(size=(0, 3)), (1, 2, 3, 4), match="size of 2")
    peer.refused(op(scales=(2.0,)), (1, 2, 3, 4), match="scales of 2 positive numbers")
    for bad in (0.0, -1.0, float("nan"), float("inf")):
        peer.refused(op(scales=(2.0, bad)), (1, 2, 3, 4), match="scales of 2 positive numbers")
    peer.refused(op(mode="area"), (1, 2, 3, 4), match="mode among cubic, linear, nearest, found 'area'")
    peer.refused(op(coordinates="tf_half_pixel_for_nn"), (1, 2, 3, 4), match="coordinates among")
    peer.refused(op(coordinates="tf_crop_and_resize"), (1, 2, 3, 4), match="roi of 4 numbers")
    peer.refused(op(roi=(0.0, 0.0, 1.0, 1.0)), (1, 2, 3, 4), match="roi of 0 numbers")
    peer.refused(op(cubic_coeff=float("nan")), (1, 2, 3, 4), match="finite cubic_coeff")
    for scale in (0.19, 1e-9, 1e-320):
        peer.refused(op(mode="linear", antialias=True, scales=(scale, 1.0)), (1, 2, 3, 4), match="below one pixel")
    peer.refused(op(nearest_mode="round"), (1, 2, 3, 4), match="nearest_mode among")
    peer.refused(op(mode="linear"), ops.Spec((1, 2, 3, 4), "uint8"), match="float32 except in mode nearest")


def evaluate(x, scales=None, sizes=None, roi=None, opset=19, **attributes):
    """The specification's own implementation."""
    onnx = pytest.importorskip("onnx")
    from onnx.reference import ReferenceEvaluator
    given = {"x": x, "roi": roi, "scales": scales, "sizes": sizes}
    node = onnx.helper.make_node("Resize", [n if v is not None else "" for n, v in given.items()], ["y"], **attributes)
    feeds = {n: v for n, v in given.items() if v is not None}
    graph = onnx.helper.make_graph([node], "g", [onnx.helper.make_empty_tensor_value_info(n) for n in feeds],
                                   [onnx.helper.make_empty_tensor_value_info("y")])
    return ReferenceEvaluator(onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", opset)])).run(
        None, feeds)[0]


def general(x, axes, size, scales, **attrs):
    op = ops.make("resize", {"axes": axes, "size": size, "scales": scales, **attrs})
    (y,) = op.reference(x)
    assert op.infer(ops.Spec(x.shape, x.dtype.name)) == [ops.Spec(y.shape, x.dtype.name)]
    return y


def close(found, expected, x):
    # Coordinates are off by a few roundings of numbers up to the extent, and the filter's slope is below 2.
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, rtol=0, atol=64 * max(x.shape) * 2.0 ** -23 * np.abs(x).max())


@pytest.mark.parametrize("size", [(3,), (4,)])
def test_align_corners_by_a_scale_that_gives_a_fraction(size):
    """0.6 x 4 = 2.4 pixels: the last one of x lies at 1.4, as in the specification's test of this name."""
    x = np.arange(1, 9, dtype=np.float32).reshape(1, 1, 2, 4)
    scales = np.array([1, 1, .6, .6], np.float32)
    expected = evaluate(x, scales, mode="linear", coordinate_transformation_mode="align_corners")
    found = general(x, (2, 3), expected.shape[2:], (.6, .6), mode="linear", coordinates="align_corners")
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    assert expected.reshape(-1)[1] == pytest.approx(3.142857)


@pytest.mark.parametrize("coordinates", ["asymmetric", "half_pixel", "align_corners", "half_pixel_symmetric"])
@settings(max_examples=15, deadline=None)
@given(h=st.integers(2, 9), w=st.integers(2, 9), oh=st.integers(1, 20), ow=st.integers(2, 20), exclude=st.booleans(),
       a=st.sampled_from([-0.75, -0.5, -1.0]), seed=st.integers(0, 2**32 - 1))
def test_cubic_against_onnxruntime(peer, coordinates, h, w, oh, ow, exclude, a, seed):
    x = peer.normal(seed, 2, 2, h, w)
    expected = peer.run("Resize", [x, None, None, np.array([2, 2, oh, ow])], opset=19, mode="cubic", cubic_coeff_a=a,
                        coordinate_transformation_mode=coordinates, exclude_outside=int(exclude))
    if (oh, ow) == (h, w):
        return
    close(general(x, (2, 3), (oh, ow), (oh / h, ow / w), mode="cubic", coordinates=coordinates, cubic_coeff=a,
                  exclude_outside=exclude), expected, x)


@pytest.mark.parametrize("mode", ["linear", "cubic"])
@settings(max_examples=15, deadline=None)
@given(h=st.integers(2, 12), w=st.integers(2, 12), oh=st.integers(1, 14), ow=st.integers(1, 14), exclude=st.booleans(),
       seed=st.integers(0, 2**32 - 1))
def test_antialias_against_the_specification(peer, mode, h, w, oh, ow, exclude, seed):
    x = peer.normal(seed, 1, 2, h, w)
    expected = evaluate(x, sizes=np.array([1, 2, oh, ow]), mode=mode, antialias=1, exclude_outside=int(exclude))
    found = general(x, (2, 3), (oh, ow), (oh / h, ow / w), mode=mode, antialias=True, exclude_outside=exclude)
    # The evaluator takes the wrong neighbours where rounding alone keeps a coordinate from being a pixel.
    clear = [np.flatnonzero(((2 * np.arange(o) + 1) * e - o) % (2 * o) != 0) for o, e in ((oh, h), (ow, w))]
    keep = np.ix_([0], [0, 1], *clear)
    close(found[keep], expected[keep], x)


@pytest.mark.parametrize("mode", ["linear", "cubic"])
def test_antialias_against_onnxruntime(peer, mode):
    """Which leaves out what lies outside whether asked to or not."""
    x = peer.normal(3, 1, 2, 17, 23)
    expected = peer.run("Resize", [x, None, None, np.array([1, 2, 5, 9])], opset=19, mode=mode, antialias=1,
                        exclude_outside=1)
    close(general(x, (2, 3), (5, 9), (5 / 17, 9 / 23), mode=mode, antialias=True, exclude_outside=True), expected, x)


@pytest.mark.parametrize("mode", ["nearest", "linear", "cubic"])
@settings(max_examples=15, deadline=None)
@given(h=st.integers(2, 9), w=st.integers(2, 9), oh=st.integers(1, 12), ow=st.integers(1, 12), seed=st.integers(0, 2**32 - 1))
def test_crop_and_resize_against_onnxruntime(peer, mode, h, w, oh, ow, seed):
    x = peer.normal(seed, 1, 2, h, w)
    corners = np.random.default_rng(seed).uniform(-.2, 1.2, (2, 2)).astype(np.float32)
    roi = np.array([0, 0, *corners[0], 1, 1, *corners[1]], np.float32)
    expected = peer.run("Resize", [x, roi, None, np.array([1, 2, oh, ow])], opset=19, mode=mode, extrapolation_value=7.5,
                        coordinate_transformation_mode="tf_crop_and_resize")
    assume(oh != h and ow != w)           # onnxruntime takes an axis of the same length as it is
    found = general(x, (2, 3), (oh, ow), (oh / h, ow / w), mode=mode, coordinates="tf_crop_and_resize",
                    roi=tuple(map(float, corners.reshape(-1))), extrapolation=7.5)
    op = ops.make("resize", {"axes": (2, 3), "size": (oh, ow), "scales": (oh / h, ow / w), "coordinates": "tf_crop_and_resize",
                             "roi": tuple(map(float, corners.reshape(-1)))})
    sources = [op.source(i, e) for i, e in enumerate((h, w))]
    # Where a coordinate lies within rounding of an edge or of a tie, either answer is right.
    clear = [np.abs(s * 2 - np.rint(s * 2)) > 1e-4 for s in sources]
    keep = np.ix_([0], [0, 1], np.flatnonzero(clear[0]), np.flatnonzero(clear[1]))
    close(found[keep], expected[keep], x)


@pytest.mark.parametrize("rank", [1, 2, 3, 5])
@pytest.mark.parametrize("mode", ["nearest", "linear", "cubic"])
def test_any_axes_of_any_rank_against_the_specification(peer, rank, mode):
    shape = (3, 4, 5, 2, 6)[:rank]
    for axes in {(rank - 1,), tuple(range(rank)), tuple(range(0, rank, 2))}:
        x = peer.normal(rank, *shape)
        sizes = [2 * shape[a] + 1 for a in axes]
        expected = evaluate(x, sizes=np.array(sizes), mode=mode, axes=list(axes))
        close(general(x, axes, tuple(sizes), tuple(s / shape[a] for s, a in zip(sizes, axes, strict=True)), mode=mode),
              expected, x)


@pytest.mark.parametrize("dtype", ["uint8", "int8", "int64", "bool"])
def test_nearest_of_every_dtype(dtype):
    x = (np.arange(24) % (2 if dtype == "bool" else 24)).astype(dtype).reshape(1, 4, 6, 1)
    y = general(x, (1, 2), (8, 3), (2.0, .5), coordinates="asymmetric", nearest_mode="floor")
    assert y.dtype == dtype and np.array_equal(y, x.repeat(2, 1)[:, :, ::2])


def test_scales_that_only_a_damaged_file_has():
    """Coordinates overflow; no pixel outside of x is read."""
    x = np.arange(12, dtype=np.float32).reshape(1, 3, 4, 1)
    for mode in ("nearest", "linear", "cubic"):
        for coordinates in COORDINATES:
            for scale in (1e-50, 1e-40, 1e-30, .25, 1e30, 1e300):
                y = general(x, (1, 2), (5, 6), (scale, scale), mode=mode, coordinates=coordinates)
                assert np.isfinite(y).all() and y.min() >= -8 and y.max() <= 20


def test_corners_stay_aligned_where_a_scale_is_rounded():
    """The last pixel of the output is the last of x, for every size and extent: not one rounding before it."""
    for extent in range(1, 60):
        for size in range(2, 60):
            for scales in ((), (1.0, float(np.float32(size / extent)))):
                op = ops.make("resize", {"size": (1, size), "scales": scales, "nearest_mode": "floor",
                                         "coordinates": "align_corners"})
                index = op.nearest(1, extent)
                assert (index[0], index[-1]) == (0, extent - 1), (extent, size, scales)
