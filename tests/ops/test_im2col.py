from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tinynet import ops

pairs = st.tuples(st.integers(1, 3), st.integers(1, 3))


@settings(max_examples=30, deadline=None)
@given(n=st.integers(1, 2), more=pairs, kernel=pairs, strides=pairs, dilations=pairs, groups=st.integers(1, 3),
       each=st.integers(1, 3), dtype=st.sampled_from(["float32", "int64", "uint8"]))
def test_im2col_reads_every_tap(n, more, kernel, strides, dilations, groups, each, dtype):
    h, w = (d * (k - 1) + m for d, k, m in zip(dilations, kernel, more, strict=True))
    x = (np.arange(n * h * w * groups * each) % 251).astype(dtype).reshape(n, h, w, groups * each)
    op = ops.make("im2col2d", {"kernel": kernel, "strides": strides, "dilations": dilations, "groups": groups})
    (y,) = op.reference(x)
    assert op.infer(ops.Spec(x.shape, dtype)) == [ops.Spec(y.shape, dtype)] and y.dtype == dtype
    oh, ow = y.shape[1:3]
    assert (oh, ow) == tuple((m - 1) // s + 1 for m, s in zip(more, strides, strict=True))
    y = y.reshape(n, oh, ow, groups, *kernel, each)
    for b, i, j, g, ky, kx, c in np.ndindex(y.shape):
        assert y[b, i, j, g, ky, kx, c] == x[b, i * strides[0] + ky * dilations[0], j * strides[1] + kx * dilations[1],
                                             g * each + c]


@settings(max_examples=40, deadline=None)
@given(data=st.data(), n=st.integers(1, 2), h=st.integers(1, 4), w=st.integers(1, 4), kernel=pairs, strides=pairs,
       dilations=pairs, pads=st.tuples(st.integers(0, 3), st.integers(0, 3)), c=st.integers(1, 3))
def test_col2im_adds_every_tap_where_it_belongs(data, n, h, w, kernel, strides, dilations, pads, c):
    size = data.draw(st.tuples(st.integers(1, 12), st.integers(1, 12)))
    x = np.random.default_rng(h * 7 + w).integers(-9, 9, (n, h, w, *kernel, c)).astype(np.float32)
    op = ops.make("col2im2d", {"size": size, "kernel": kernel, "strides": strides, "dilations": dilations, "pads": pads})
    expected = np.zeros((n, *size, c), np.float32)
    for b, i, j, ky, kx in np.ndindex(x.shape[:-1]):
        row, column = i * strides[0] + ky * dilations[0] - pads[0], j * strides[1] + kx * dilations[1] - pads[1]
        if 0 <= row < size[0] and 0 <= column < size[1]:
            expected[b, row, column] += x[b, i, j, ky, kx]
    flat = x.reshape(n, h, w, -1)
    assert op.infer(ops.Spec(flat.shape)) == [ops.Spec(expected.shape)]
    assert np.array_equal(op.reference(flat)[0], expected)
    assert op.macs([ops.Spec(flat.shape)], [ops.Spec(expected.shape)]) == flat.size


@pytest.mark.parametrize("attributes", [
    {}, {"strides": [2, 1]}, {"pads": [1, 0, 0, 1]}, {"dilations": [1, 2]}, {"strides": [2, 2], "pads": [1, 1, 1, 1]}])
def test_col2im_against_onnxruntime(peer, attributes):
    image, block = (6, 7), (2, 3)
    strides, pads = attributes.get("strides", [1, 1]), attributes.get("pads", [0] * 4)
    dilations = attributes.get("dilations", [1, 1])
    places = [(image[i] + pads[i] + pads[i + 2] - dilations[i] * (block[i] - 1) - 1) // strides[i] + 1 for i in range(2)]
    x = peer.normal(1, 2, 3 * 6, places[0] * places[1])
    expected = peer.nhwc(peer.run("Col2Im", [x, np.array(image), np.array(block)], opset=18, **attributes))
    columns = x.reshape(2, 3, *block, *places).transpose(0, 4, 5, 2, 3, 1).reshape(2, *places, 18)
    op = ops.make("col2im2d", {"size": image, "kernel": block, "strides": strides, "dilations": dilations, "pads": pads[:2]})
    peer.agree(op, [np.ascontiguousarray(columns)], expected, atol=6 * 2.0 ** -22)


def test_refusals(peer):
    def im2col(**attrs):
        return ops.make("im2col2d", {"kernel": (2, 2), **attrs})

    def col2im(**attrs):
        return ops.make("col2im2d", {"kernel": (2, 2), "size": (3, 3), **attrs})

    peer.refused(im2col(), (4, 5, 3), match="x of shape")
    peer.refused(im2col(kernel=(5, 1)), (1, 4, 5, 3), match="padded height of at least 5")
    peer.refused(im2col(groups=2), (1, 4, 5, 3), match="groups that divide the 3")
    peer.refused(col2im(), (1, 2, 2, 6), match="channels divisible by the 4")
    peer.refused(col2im(size=(0, 3)), (1, 2, 2, 4), match="size of 2")
    peer.refused(col2im(strides=(1, 0)), (1, 2, 2, 4), match="strides of 2")
    peer.refused(col2im(), ops.Spec((1, 2, 2, 4), "int64"), match="float32")
