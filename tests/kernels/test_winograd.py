"""kernels/winograd.pxi and its choice in tinynet/ops/winograd.py.

The bound.  With the transforms as matrices (B' x B for the inputs, G w G' for the weights, A' m A for the outputs), the
computed outputs differ from the exact ones by at most g(n) S, where S is what the same formula gives for the magnitudes of
matrices, inputs and weights, plus |bias| + |residual|, and n counts the roundings on the way of one term:

    4 per axis in the input transform (a rounded constant, a product, two sums)           8
    1 for the weights, which are transformed in float64 and rounded once; 1 for float64   2
    one per channel                                                                       C
    5 per axis in the output transform (a rounded constant, a product, three sums)       10
    bias and residual                                                                     2

(Higham, Accuracy and Stability of Numerical Algorithms, 2nd ed., (3.5); Barabasz et al. 2020, arXiv 1803.10986.)  It allows for
the worst case of every rounding.  What really happens is measured at the end: beside direct convolution, the root mean
square error of F(2,3) is 0.6 to 0.75 times as large, of F(4,3) 1.8 to 2.4 times.
"""

from __future__ import annotations

from unittest import mock

import bounds
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nets import Net, channels, normal, seeds

from tinynet import kernels, ops
from tinynet.errors import LimitError
from tinynet.kernels import engine
from tinynet.ops import winograd
from tinynet.ops.activated import ACTIVATIONS

HALF, TWO = 2 ** -0.5, 2 ** 0.5
# size -> (A', G, B')
MATRICES = {
    2: ([[1, 1, 1, 0], [0, 1, -1, 1]],
        [[1, 0, 0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0, 0, 1]],
        [[1, 0, -1, 0], [0, 1, 1, 0], [0, -1, 1, 0], [0, -1, 0, 1]]),
    4: ([[1, 1, 1, 1, 1, 0], [0, HALF, -HALF, TWO, -TWO, 0], [0, 0.5, 0.5, 2, 2, 0],
         [0, HALF / 2, -HALF / 2, 2 * TWO, -2 * TWO, 1]],
        [[1, 0, 0], [-2 / 3, -2 / 3 * HALF, -1 / 3], [-2 / 3, 2 / 3 * HALF, -1 / 3],
         [1 / 6, TWO / 6, 1 / 3], [1 / 6, -TWO / 6, 1 / 3], [0, 0, 1]],
        [[1, 0, -2.5, 0, 1, 0], [0, -TWO, -2, HALF, 1, 0], [0, TWO, -2, -HALF, 1, 0],
         [0, -HALF, -0.5, TWO, 1, 0], [0, HALF, -0.5, -TWO, 1, 0], [0, 1, 0, -2.5, 0, 1]]),
}
sizes = st.sampled_from(winograd.SIZES)
pads = st.tuples(*[st.integers(0, 2)] * 4)


def tiled(size, x, w, padding, magnitudes=False):
    """Convolution without bias in float64, through the matrices or through their magnitudes."""
    a, g, b = (np.array(m, np.float64) for m in MATRICES[size])
    x, w = x.astype(np.float64), w.astype(np.float64)
    if magnitudes:
        a, g, b, x, w = (np.abs(v) for v in (a, g, b, x, w))
    n, height, width, _ = x.shape
    oh, ow = height + padding[0] + padding[2] - 2, width + padding[1] + padding[3] - 2
    down, across = winograd.tile_counts(size, (oh, ow))
    x = np.pad(x, ((0, 0), (padding[0], padding[2] + size), (padding[1], padding[3] + size), (0, 0)))
    u = np.einsum("ij,ojkc,lk->ilco", g, w, g)
    y = np.zeros((n, down * size, across * size, w.shape[0]))
    for ty in range(down):
        for tx in range(across):
            tile = x[:, ty * size:ty * size + size + 2, tx * size:tx * size + size + 2]
            v = np.einsum("ij,njkc,lk->nilc", b, tile, b)
            m = np.einsum("nilc,ilco->nilo", v, u)
            y[:, ty * size:(ty + 1) * size, tx * size:(tx + 1) * size] = np.einsum("ij,njko,lk->nilo", a, m, a)
    return y[:, :oh, :ow]


def expectation(size, arrays, padding, attrs):
    """(expected, bound) of the kernel."""
    x, w, b, *residual = arrays
    exact, magnitude = tiled(size, x, w, padding) + b, tiled(size, x, w, padding, True) + np.abs(b)
    for r in residual:
        exact, magnitude = exact + r, magnitude + np.abs(r)
    terms = x.shape[3] + 22
    error = terms * bounds.U / (1 - terms * bounds.U) * magnitude
    return bounds.activated(attrs.get("activation", "none"), exact, error, attrs.get("alpha", 0.0), attrs.get("beta", 0.0))


class WinogradNet(Net):
    """Every 3x3 convolution in tiles of `size`."""

    def __init__(self, size, strided=False):
        super().__init__(strided)
        self.size = size

    def model(self, *outputs, **more):
        model = super().model(*outputs, winograd=self.size, **more)
        used = [s.params["size"] for s in model.plan.steps if s.kernel == "conv2d_winograd_f32"]
        assert used == [self.size], model.plan
        return model


def conv(seed, size, n, picture, padding, ins, outs, residual="", strided=False, **attrs):
    net = WinogradNet(size, strided)
    picture = tuple(max(e, 3 - padding[i] - padding[i + 2]) for i, e in enumerate(picture))
    arrays = [normal(seed, n, *picture, ins), normal(seed + 1, outs, 3, 3, ins), normal(seed + 2, outs)]
    inputs = [net.input(arrays[0]), net.constant(arrays[1]), net.constant(arrays[2])]
    if residual:
        shape = (n, picture[0] + padding[0] + padding[2] - 2, picture[1] + padding[1] + padding[3] - 2, outs)
        arrays.append(normal(seed + 3, *shape))
        inputs.append(net.add("neg", net.input(-arrays[3])) if residual == "dies" else net.input(arrays[3]))
    expected, bound = expectation(size, arrays, padding, attrs)
    net.agree(net.add("conv2d", *inputs, pads=padding, **attrs), expected, bound)


@settings(max_examples=40, deadline=None)
@given(size=sizes, n=st.integers(1, 2), picture=st.tuples(st.integers(1, 14), st.integers(1, 14)), padding=pads, ins=channels,
       outs=channels, residual=st.sampled_from(["", "kept", "dies"]), strided=st.booleans(),
       activation=st.sampled_from(sorted(ACTIVATIONS)), seed=seeds)
def test_winograd(size, n, picture, padding, ins, outs, residual, strided, activation, seed):
    conv(seed, size, n, picture, padding, ins, outs, residual, strided, activation=activation, alpha=-0.75, beta=1.5)


@pytest.mark.parametrize("size", winograd.SIZES)
@pytest.mark.parametrize("activation", sorted(ACTIVATIONS))
def test_every_activation_on_whole_and_cut_tiles(size, activation):
    conv(1, size, 1, (9, 10), (1, 1, 1, 1), 7, 21, "kept", activation=activation, alpha=-0.4, beta=0.9)


@pytest.mark.parametrize("size", winograd.SIZES)
@pytest.mark.parametrize("residual", ["", "kept", "dies"])
@pytest.mark.parametrize("ins, outs", [(24, 25), (5, 18), (17, 3)])
def test_tiles_inside_the_picture_whose_last_vector_is_not_full(size, residual, ins, outs):
    conv(ins, size, 1, (14, 13), (1, 1, 1, 1), ins, outs, residual, activation="leaky_relu", alpha=0.3)


@pytest.mark.parametrize("size", winograd.SIZES)
@pytest.mark.parametrize("outs", [16, 70, 130])
def test_many_bands_and_blocks(size, outs):
    with mock.patch.object(winograd, "BAND_BYTES", 1):
        conv(outs, size, 2, (33, 21), (1, 1, 1, 1), 18, outs, "dies")


@pytest.mark.parametrize("size", winograd.SIZES)
def test_bands_whose_inputs_are_shared(size):
    net = WinogradNet(size)
    arrays = [normal(1, 1, 9, 20, 3), normal(2, 900, 3, 3, 3), normal(3, 900)]
    with mock.patch.object(winograd, "BAND_BYTES", 1):
        y = net.add("conv2d", net.input(arrays[0]), net.constant(arrays[1]), net.constant(arrays[2]), pads=(1, 1, 1, 1))
        step = net.model(y, threads=3).plan.steps[0]
        assert step.params["shared"] and step.params["band"] < step.params["tiles_y"] * step.params["tiles_x"]
        net.agree(y, *expectation(size, arrays, (1, 1, 1, 1), {}))


@pytest.mark.parametrize("size", winograd.SIZES)
@pytest.mark.parametrize("padding", [(5, 0, 0, 7), (0, 9, 3, 0), (8, 8, 8, 8)])
def test_pads_beyond_a_tile(size, padding):
    conv(1, size, 1, (3, 2), padding, 5, 6)


@pytest.mark.parametrize("size", winograd.SIZES)
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_is_not_finite_stays_in_its_tiles(size, value):
    """Where direct convolution gives no finite number, neither do tiles; they may spread it, but only within the tile."""
    net = WinogradNet(size)
    x, w, b = normal(1, 1, 12, 12, 5), normal(2, 6, 3, 3, 5), normal(3, 6)
    x[0, 5, 6, 2] = value
    (direct,) = ops.make("conv2d", {"pads": (1, 1, 1, 1)}).reference(x, w, b)
    calm = x.copy()
    calm[0, 5, 6, 2] = 0
    expected, bound = expectation(size, [calm, w, b], (1, 1, 1, 1), {})
    y = net.add("conv2d", net.input(x), net.constant(w), net.constant(b), pads=(1, 1, 1, 1))
    for level in kernels.available(integers=False):
        with kernels.use_isa(level):
            found = net.model(y).run(net.feed)[y]
        lost = ~np.isfinite(found)
        assert lost[~np.isfinite(direct)].all()
        # Output (oy, ox) reads rows oy - 1 to oy + 1: the tiles that hold outputs 4 .. 6 and 5 .. 7.
        down, across = ([i // size * size <= last and (i // size + 1) * size > first for i in range(12)] for first, last in
                        ((4, 6), (5, 7)))
        near = np.outer(down, across)[None, :, :, None]
        bounds.compare(np.where(near, 0, found), np.where(near, 0, expected), bound, level)


@pytest.mark.parametrize("kernel, attrs", [
    ((3, 3), {"strides": (2, 1)}), ((3, 3), {"dilations": (1, 2)}), ((3, 3), {"groups": 2}), ((3, 1), {}), ((5, 5), {})])
def test_other_convolutions_stay_direct(kernel, attrs):
    net = Net()
    w = normal(2, 32, *kernel, 32 // attrs.get("groups", 1))
    y = net.add("conv2d", net.input(normal(1, 1, 40, 40, 32)), net.constant(w), net.constant(normal(3, 32)), **attrs)
    assert [s.kernel for s in net.model(y, winograd=4).plan.steps] == ["conv2d_f32"]


# ---- weights

@pytest.mark.parametrize("size", winograd.SIZES)
@pytest.mark.parametrize("threads", [1, 2, 3])
def test_weights_are_rounded_once(size, threads):
    panels, ins, block = 3, 5, 2
    g, e = np.array(MATRICES[size][1]), size + 2
    w = normal(1, panels, 3, 3, ins, 16)
    exact = np.einsum("ij,pjkcx,lk->pilcx", g, w.astype(np.float64), g).reshape(panels, e * e, ins, 16)
    expected = np.concatenate([exact[:block].swapaxes(0, 1).reshape(-1), exact[block:].swapaxes(0, 1).reshape(-1)])
    for level in kernels.available(integers=False):
        found = np.full(expected.size, np.nan, np.float32)
        engine.winograd_weights(level, w, found, panels, ins, size, block, threads)
        # Half a unit in the last place, and what float64 is off where terms cancel.
        allowed = 0.5 * np.spacing(np.abs(expected).astype(np.float32)).astype(np.float64) + 1e-14
        bounds.compare(found, expected, allowed, level)


@pytest.mark.parametrize("level, size, block, length", [
    ("nonsense", 4, 1, 0), ("scalar", 3, 1, 0), ("scalar", 4, 0, 0), ("scalar", 4, 1, 4)])
def test_weights_refuse_what_does_not_fit(level, size, block, length):
    with pytest.raises(ValueError):
        engine.winograd_weights(level, normal(1, 9 * 16), np.zeros(36 * 16 + length, np.float32), 1, 1, size, block, 1)


# ---- choice

@pytest.mark.parametrize("out, ins, outs, expected", [
    ((56, 56), 64, 64, 4), ((28, 28), 128, 128, 4), ((14, 14), 256, 256, 2), ((7, 7), 512, 512, 2),      # ResNet-18
    ((208, 208), 16, 32, 4), ((13, 13), 512, 1024, 2),                                                      # Tiny YOLO v2
    ((256, 256), 16, 16, 4), ((224, 224), 3, 64, 0), ((112, 112), 8, 8, 0), ((1, 1), 256, 256, 0), ((3, 3), 64, 64, 0),
])
def test_choice(out, ins, outs, expected):
    assert winograd.choose_size(1, out, ins, outs) == expected


@given(rows=st.integers(1, 300), columns=st.integers(1, 300), ins=st.integers(1, 600), outs=st.integers(1, 600),
       batch=st.integers(1, 9))
def test_choice_pays(rows, columns, ins, outs, batch):
    """What is chosen saves multiplications, and a larger batch never turns it off."""
    size = winograd.choose_size(batch, (rows, columns), ins, outs)
    if size:
        down, across = winograd.tile_counts(size, (rows, columns))
        assert winograd.matrices(size) * down * across < 9 * rows * columns
        assert winograd.choose_size(batch + 1, (rows, columns), ins, outs)


@given(tiles=st.integers(1, 10 ** 5), panels=st.integers(1, 100), threads=st.integers(1, 64), ins=st.integers(1, 2000))
def test_bands_and_blocks_fit_the_kernel(tiles, panels, threads, ins):
    weight_bytes = 4 * 36 * panels * 16 * ins
    band = winograd.choose_band(tiles, 4 * 36 * (ins + 64), weight_bytes)
    assert 1 <= band <= min(tiles, winograd.MAX_BAND)
    block = winograd.choose_block(panels, threads if winograd.share_inputs(tiles, panels, threads) else 1)
    assert 1 <= block <= winograd.BLOCK


def one_layer():
    net = Net()
    w, b = net.constant(normal(2, 32, 3, 3, 32)), net.constant(normal(3, 32))
    return net, net.add("conv2d", net.input(normal(1, 1, 40, 40, 32)), w, b, pads=(1, 1, 1, 1))


def test_switched_off():
    net, y = one_layer()
    assert net.model(y).plan.steps[0].kernel == "conv2d_winograd_f32"
    assert net.model(y, winograd=False).plan.steps[0].kernel == "conv2d_f32"


def test_max_ram_counts_transformed_weights_and_does_without_them():
    net, y = one_layer()
    tiles, direct = net.model(y), net.model(y, winograd=False)
    need = [m.memory.run_bytes for m in (tiles, direct)]
    assert tiles.memory.constant_bytes >= 4 * 36 * 32 * 32 and need[0] > need[1]
    assert net.model(y, max_ram=need[0]).plan.steps[0].kernel == "conv2d_winograd_f32"
    assert net.model(y, max_ram=need[1]).plan.steps[0].kernel == "conv2d_f32"
    with pytest.raises(LimitError):
        net.model(y, max_ram=need[1] - 1)


# ---- accuracy

@pytest.mark.parametrize("ins", [16, 64, 256])
@pytest.mark.parametrize("size, times", [(2, 1.2), (4, 3.0)])
def test_accuracy_beside_direct_convolution(ins, size, times):
    """Root mean square error on normal inputs, relative to direct convolution: measured 0.59 to 0.75 and 1.8 to 2.4."""
    net = Net()
    x, w, b = normal(1, 1, 16, 16, ins), normal(2, 32, 3, 3, ins), np.zeros(32, np.float32)
    exact = tiled(size, x, w, (1, 1, 1, 1))
    y = net.add("conv2d", net.input(x), net.constant(w), net.constant(b), pads=(1, 1, 1, 1))
    for level in kernels.available(integers=False):
        with kernels.use_isa(level):
            errors = [np.sqrt(np.mean((net.model(y, winograd=s).run(net.feed)[y] - exact) ** 2)) for s in (False, size)]
        assert errors[1] <= times * errors[0], f"{level}: {errors[1] / errors[0]:.2f}"
