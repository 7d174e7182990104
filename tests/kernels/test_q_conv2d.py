"""kernels/q_conv2d.pxi: q_conv2d and q_dense, bit for bit."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nets import Net, channels, seeds

from tinynet import layouts, ops
from tinynet.ops.q_product import fits_pairs
from tinynet.ops.quantize import MOST_PRODUCTS

kernels = st.tuples(st.integers(1, 5), st.integers(1, 6))
pairs = st.tuples(st.integers(1, 3), st.integers(1, 3))
pads = st.tuples(*[st.integers(0, 6)] * 4)
zeros = st.sampled_from([0, 1, 77, 128, 254, 255])
dtypes = st.sampled_from(["uint8", "uint8", "float32", "int32"])
# What x and w are made of: noise, the ends of the range, one end.
data = st.sampled_from(["noise", "ends", "least", "most"])


class Bytes(Net):
    """Strided like its base, for uint8: inputs are channels inside wider tensors, and so is what `agree` looks at."""

    def input(self, array):
        if not self.strided or not array.size or not array.ndim:
            return super().input(array)
        filler = np.full((*array.shape[:-1], 5), 99, array.dtype)
        name = self._input(np.concatenate([filler[..., :1], array, filler[..., 1:]], -1))
        # computed, so that it lies in the arena
        name = self.add("maximum", name, name)
        return self.cut(name, 1, 1 + array.shape[-1])

    def model(self, *outputs, **more):
        return super().model(*outputs, winograd=False, **more)

    def agree(self, name, expected, bound=0.0, native=True):
        if not self.strided or not expected.size or not expected.ndim:
            super().agree(name, expected)
            return
        sides = [self._input(np.full((*expected.shape[:-1], n), 7, expected.dtype)) for n in (2, 1)]
        sides = [self.add("maximum", s, s) for s in sides]
        shown = self.add("concat", sides[0], name, sides[1], axis=expected.ndim - 1)
        left, right = (np.full((*expected.shape[:-1], n), 7, expected.dtype) for n in (2, 1))
        self.strided = False
        super().agree(shown, np.concatenate([left, expected, right], -1), native=False)


def numbers(rng, shape, dtype, kind):
    low, high = (0, 255) if dtype == "uint8" else (-128, 127)
    if kind == "noise":
        return rng.integers(low, high + 1, shape).astype(dtype)
    if kind == "ends":
        return rng.choice([low, high], shape).astype(dtype)
    return np.full(shape, low if kind == "least" else high, dtype)


def parameters(rng, w, attrs, w_zero, extreme=False):
    """b, multiplier and w_zero of a layer, such that outputs are spread over the range."""
    outs, products = w.shape[0], int(np.prod(w.shape[1:]))
    zero = rng.integers(-128, 128, outs).astype(np.int32) if w_zero else np.zeros(outs, np.int32)
    sums = w.reshape(outs, products).sum(1, dtype=np.int64) - zero * np.int64(products)
    noise = rng.integers(-3000, 3000, outs) if not extreme else rng.integers(-2 ** 31, 2 ** 31, outs)
    b = (noise - attrs.get("x_zero", 0) * sums).astype(np.int32)
    spread = 75 * 70 * np.sqrt(max(1, products))
    multiplier = (rng.uniform(0.1, 2, outs) * 80 / spread).astype(np.float32)
    if extreme:
        multiplier = rng.choice(np.array([0, 1e-45, 1e-6, 0.999, 1, 1.5, 3e38], np.float32), outs)
    return [b, multiplier, zero] if w_zero else [b, multiplier]


def check(kind, x, w, attrs, w_zero=False, strided=False, seed=0, extreme=False):
    rng = np.random.default_rng(seed)
    arrays = [x, w, *parameters(rng, w, attrs, w_zero, extreme)]
    net = Bytes(strided)
    inputs = [net.input(x), *(net.constant(a) for a in arrays[1:])]
    (expected,) = ops.make(kind, attrs).reference(*arrays)
    net.agree(net.add(kind, *inputs, **attrs), expected)


def conv(seed, n, size, kernel, ins, outs, groups=1, kinds=("noise", "noise"), w_zero=False, strided=False, extreme=False,
         seven=False, **attrs):
    """seven: weights from -64 to 64, for which some levels have a faster product."""
    rng = np.random.default_rng(seed)
    # At least one window fits.
    padding, dilations = attrs.get("pads", (0,) * 4), attrs.get("dilations", (1, 1))
    size = tuple(max(1, e, d * (k - 1) + 1 - a - b) for e, k, d, a, b in
                 zip(size, kernel, dilations, padding[:2], padding[2:], strict=True))
    x = numbers(rng, (n, *size, ins * groups), "uint8", kinds[0])
    w = numbers(rng, (outs * groups, *kernel, ins), "int8", kinds[1])
    if seven:
        w = (w >> 1) + (w == 127).astype(np.int8)
    check("q_conv2d", x, w, {"groups": groups, **attrs}, w_zero, strided, seed, extreme)


@settings(max_examples=40, deadline=None)
@given(n=st.integers(1, 2), size=st.tuples(st.integers(1, 9), st.integers(1, 10)), kernel=kernels, strides=pairs,
       dilations=pairs, padding=pads, groups=st.integers(1, 3), ins=st.integers(1, 20), outs=channels, x_zero=zeros,
       y_zero=zeros, kinds=st.tuples(data, data), w_zero=st.booleans(), dtype=dtypes, strided=st.booleans(),
       seven=st.booleans(), seed=seeds)
def test_conv2d(n, size, kernel, strides, dilations, padding, groups, ins, outs, x_zero, y_zero, kinds, w_zero, dtype,
                strided, seven, seed):
    conv(seed, n, size, kernel, ins, outs, groups, kinds, w_zero, strided, seven=seven, strides=strides, pads=padding,
         dilations=dilations, x_zero=x_zero, y_zero=y_zero, dtype=dtype)


@settings(max_examples=25, deadline=None)
@given(n=st.integers(1, 2), size=st.tuples(st.integers(1, 13), st.integers(1, 9)), ins=channels, outs=channels,
       strides=pairs, strided=st.booleans(), w_zero=st.booleans(), y_zero=zeros, seed=seeds)
def test_pointwise(n, size, ins, outs, strides, strided, w_zero, y_zero, seed):
    conv(seed, n, size, (1, 1), ins, outs, strides=strides, strided=strided, w_zero=w_zero, y_zero=y_zero)


@settings(max_examples=25, deadline=None)
@given(lead=st.lists(st.integers(1, 7), max_size=3), ins=channels, outs=channels, dtype=dtypes, strided=st.booleans(),
       w_zero=st.booleans(), y_zero=zeros, seed=seeds)
def test_dense(lead, ins, outs, dtype, strided, w_zero, y_zero, seed):
    rng = np.random.default_rng(seed)
    check("q_dense", numbers(rng, (*lead, ins), "uint8", "noise"), numbers(rng, (outs, ins), "int8", "noise"),
          {"dtype": dtype, "y_zero": y_zero}, w_zero, strided, seed)


@settings(max_examples=20, deadline=None)
@given(low=st.integers(0, 255), high=st.integers(0, 255), y_zero=zeros, dtype=dtypes, seed=seeds)
def test_clamps_and_multipliers_of_every_size(low, high, y_zero, dtype, seed):
    conv(seed, 1, (5, 6), (1, 1), 9, 37, w_zero=True, extreme=True, low=min(low, high), high=max(low, high), y_zero=y_zero,
         dtype=dtype)


@pytest.mark.parametrize("outs", [1, 16, 17, 32, 48, 64, 65, 80, 130])
@pytest.mark.parametrize("rows", [1, 5, 6, 7, 8, 9, 23, 25, 50])
@pytest.mark.parametrize("seven", [False, True])
def test_every_tile(rows, outs, seven):
    conv(rows, 1, (1, rows), (1, 1), 21, outs, y_zero=100, w_zero=outs % 3 == 0, seven=seven)


@pytest.mark.parametrize("pair, fits", [((127, 1), True), ((127, 2), False), ((-128, 127), True), ((-64, -64), True),
                                        ((-64, -65), False), ((64, 64), True), ((-1, -128), False), ((0, 127), True)])
@pytest.mark.parametrize("at", [0, 2])
def test_pairs_of_weights_that_fit_16_bits(pair, fits, at):
    """Beyond them a saturating product would be wrong, at them it is not; x is as large as can be."""
    w = np.zeros((7, 8), np.int8)
    w[3, at:at + 2] = pair
    assert fits_pairs(layouts.pack(w, layouts.ohwi_quads(1, 8))) == fits
    check("q_dense", np.full((3, 8), 255, np.uint8), w, {"dtype": "int32"})
    large = np.zeros((1, 1 << 17), np.int8)
    large[0, -2:] = pair
    assert fits_pairs(large.reshape(-1)) == fits


@pytest.mark.parametrize("x, w", [("most", "least"), ("most", "most"), ("most", "ends")])
@pytest.mark.parametrize("dtype", ["uint8", "int32"])
def test_saturating_data(x, w, dtype):
    conv(1, 1, (6, 7), (3, 3), 70, 33, kinds=(x, w), dtype=dtype)


@pytest.mark.parametrize("x, w", [("most", "least"), ("most", "most")])
@pytest.mark.parametrize("w_zero", [False, True])
def test_as_many_products_as_an_int32_holds(x, w, w_zero):
    rng = np.random.default_rng(5)
    check("q_dense", numbers(rng, (3, MOST_PRODUCTS), "uint8", x), numbers(rng, (17, MOST_PRODUCTS), "int8", w),
          {"dtype": "int32"}, w_zero)


@pytest.mark.parametrize("padding, strides", [
    ((0, 5, 0, 0), (1, 10)), ((9, 9, 9, 9), (4, 7)), ((0, 0, 6, 6), (1, 1)), ((5, 0, 0, 0), (10, 1)), ((7, 6, 0, 1), (3, 2))])
@pytest.mark.parametrize("kernel, dilations", [((1, 1), (1, 1)), ((2, 3), (2, 1))])
def test_pads_larger_than_the_kernel(padding, strides, kernel, dilations):
    conv(3, 2, (2, 1), kernel, 3, 5, pads=padding, strides=strides, dilations=dilations, x_zero=255)
    conv(4, 2, (2, 1), kernel, 3, 5, groups=2, pads=padding, strides=strides, dilations=dilations, strided=True, x_zero=200)


@pytest.mark.parametrize("kernel, dilations, groups", [((3, 2), (1, 1), 1), ((1, 4), (1, 1), 1), ((3, 1), (1, 1), 1),
                                                       ((2, 3), (1, 2), 1), ((3, 3), (1, 1), 2)])
@pytest.mark.parametrize("ins", [4, 7])
def test_rows_that_lie_apart_without_padding(kernel, dilations, groups, ins):
    """Kernel rows whose pixels are not neighbours in memory are copied, single taps are read in place."""
    conv(6, 2, (6, 7), kernel, ins, 18, groups, strided=True, dilations=dilations, y_zero=7)


def test_pictures_larger_than_a_band_and_a_block():
    conv(1, 2, (37, 45), (3, 5), 67, 18, pads=(1, 2, 1, 2), x_zero=3)
    conv(2, 1, (41, 43), (1, 1), 33, 70, y_zero=9, low=9)


@pytest.mark.parametrize("outs", [1, 3, 16, 20])
def test_more_groups_than_threads_share(outs):
    conv(7, 1, (2, 3), (3, 3), 1, outs, groups=7, pads=(1,) * 4, x_zero=11)


@pytest.mark.parametrize("ins", [0, 1, 2, 3, 2048, 4609])
@pytest.mark.parametrize("rows", [1, 2, 31])
def test_dense_without_and_with_many_columns(rows, ins):
    rng = np.random.default_rng(3)
    check("q_dense", numbers(rng, (rows, ins), "uint8", "noise"), numbers(rng, (133, ins), "int8", "noise"), {"y_zero": 5})


@pytest.mark.parametrize("shape, outs", [((0, 5), 3), ((4, 5), 0), ((2, 0, 5), 3)])
def test_dense_of_nothing(shape, outs):
    check("q_dense", np.zeros(shape, np.uint8), np.zeros((outs, 5), np.int8), {})


def test_conv2d_of_no_pictures():
    conv(1, 0, (4, 5), (3, 3), 2, 3)
