"""kernels/bands.pxi: layers that run a band of rows at a time, bit for bit against the layers one by one in numpy."""

from __future__ import annotations

from contextlib import contextmanager
from unittest import mock

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from nets import Net, channels, normal, seeds
from test_q_conv2d import numbers, parameters

from tinynet import kernels, ops

zeros = st.sampled_from([0, 1, 77, 128, 254, 255])
data = st.sampled_from(["noise", "ends", "least", "most"])
bands = st.sampled_from([(1, (8, 4, 2)), (1 << 20, (8, 4, 2)), (1 << 20, (2,)), (1 << 20, (1,)), (1 << 20, (3,))])


@contextmanager
def joined(rows=(1 << 20, (2,))):
    """Everything that can be joined is; rows: bytes that a band may take, and its numbers of rows."""
    with mock.patch.multiple("tinynet.joins", LEAST_BYTES=0, LEAST_BAND=0), \
            mock.patch.multiple("tinynet.bands", BAND_BYTES=rows[0], BANDS=rows[1], SOME_BYTES=0), \
            mock.patch("tinynet.joins._fits", lambda chains, chain: one_depthwise(chains, chain)):
        yield


def one_depthwise(chains, chain):
    return sum(chains.node(k).op == "q_depthwise_conv2d" for k in chain) <= 1


class Layers(Net):
    """Layers one behind the other, with what numpy says of each."""

    def __init__(self, x, seed, strided=False):
        super().__init__(strided)
        self.rng = np.random.default_rng(seed)
        self.name, self.value, self.zero = self.input(x), x, 0

    def then(self, kind, *constants, **attrs):
        self.name = self.add(kind, self.name, *(self.constant(a) for a in constants), **attrs)
        (self.value,) = ops.make(kind, attrs).reference(self.value, *constants)

    def conv(self, kind, shape, zero, kinds="noise", **attrs):
        w = numbers(self.rng, shape, "int8", kinds)
        by_channel = w if kind == "q_conv2d" else np.moveaxis(w, -1, 0)
        attrs |= {"x_zero": self.zero, "y_zero": zero}
        b, multiplier = parameters(self.rng, by_channel, attrs, False)
        self.then(kind, w, b, multiplier, **attrs)
        self.zero = zero

    def table(self):
        self.then("q_table", self.rng.permutation(256).astype(np.uint8))

    def check(self, rows, kernel=("bands",)):
        """The same on every level and thread count, and as steps of those kernels."""
        with joined(rows):
            self.graph.outputs = [self.name]
            kinds = [step.kernel for step in self.model(threads=2).plan.steps]
            if not self.strided:
                assert kinds == list(kernel)
            assert "bands" in kinds
            self.agree(self.name, self.value)


sizes = st.tuples(st.integers(1, 19), st.integers(1, 11))


@settings(max_examples=40, deadline=None)
@given(n=st.integers(1, 2), size=sizes, ins=channels, middle=channels, outs=channels, first=st.booleans(), last=st.booleans(),
       tables=st.integers(0, 3), side=st.sampled_from([1, 2, 3, 5]), stride=st.integers(1, 3),
       pads=st.tuples(*[st.integers(0, 3)] * 4), dilation=st.integers(1, 2), first_stride=st.integers(1, 2),
       zero=st.tuples(zeros, zeros, zeros), kind=st.tuples(data, data), strided=st.booleans(), rows=bands, seed=seeds)
def test_around_a_depthwise_convolution(n, size, ins, middle, outs, first, last, tables, side, stride, pads, dilation,
                                        first_stride, zero, kind, strided, rows, seed):
    if not first and not last:
        first = True
    net = Layers(numbers(np.random.default_rng(seed), (n, *size, ins), "uint8", kind[0]), seed, strided)
    if first:
        net.conv("q_conv2d", (middle, 1, 1, ins), zero[0], kind[1], strides=(first_stride, first_stride))
        if tables & 1:
            net.table()
    reach = (side - 1) * dilation + 1
    if any(d + pads[i] + pads[i + 2] < reach for i, d in enumerate(net.value.shape[1:3])):
        return
    c = net.value.shape[3]
    net.conv("q_depthwise_conv2d", (side, side, c), zero[1], kind[1], strides=(stride, stride), pads=pads,
             dilations=(dilation, dilation))
    if last:
        if tables & 2:
            net.table()
        net.conv("q_conv2d", (outs, 1, 1, c), zero[2], kind[1])
    net.check(rows)


@settings(max_examples=40, deadline=None)
@given(n=st.integers(1, 2), size=st.tuples(st.integers(3, 23), st.integers(3, 17)), ins=st.integers(1, 4), middle=channels,
       outs=channels, side=st.sampled_from([1, 3, 5]), stride=st.integers(1, 2), pads=st.tuples(*[st.integers(1, 2)] * 4),
       planar=st.booleans(), last=st.booleans(), zero=st.tuples(zeros, zeros, zeros, zeros), rows=bands, seed=seeds)
@example(n=2, size=(14, 6), ins=1, middle=1, outs=1, side=1, stride=1, pads=(1, 1, 1, 1), planar=True, last=False,
         zero=(0, 0, 0, 0), rows=(1 << 20, (8, 4, 2)), seed=0)      # bands of two pictures that lie in planes
def test_from_the_picture_on(n, size, ins, middle, outs, side, stride, pads, planar, last, zero, rows, seed):
    x = normal(seed, n, ins, *size) * np.float32(40) if planar else numbers(np.random.default_rng(seed), (n, *size, ins),
                                                                            "uint8", "noise")
    net = Layers(x, seed)
    if planar:
        net.then("quantize", scale=(0.25,), zero=(zero[3],))
        net.then("transpose", perm=(0, 2, 3, 1))
        net.zero = zero[3]
    net.conv("q_conv2d", (middle, side, side, ins), zero[0], strides=(stride, stride), pads=pads)
    net.conv("q_depthwise_conv2d", (3, 3, middle), zero[1], pads=(1, 1, 1, 1))
    if last:
        net.conv("q_conv2d", (outs, 1, 1, middle), zero[2])
    net.check(rows)


@settings(max_examples=30, deadline=None)
@given(n=st.integers(1, 2), size=sizes, c=channels, lrn=st.booleans(), norm=st.booleans(), strided=st.booleans(), rows=bands,
       seed=seeds)
def test_floats_between_integers(n, size, c, lrn, norm, strided, rows, seed):
    """Against the same layers one by one on the same instruction set, whose floats differ from numpy's."""
    net = Layers(np.random.default_rng(seed).integers(0, 256, (n, *size, c)).astype(np.uint8), seed, strided)
    net.then("dequantize", scale=(0.03125,), zero=(7,))
    if lrn:
        net.then("lrn", size=5, alpha=0.5, beta=0.75, bias=1.0)
    if norm or not lrn:
        net.then("batch_norm", normal(seed, c), normal(seed + 1, c), activation="relu")
    net.then("quantize", scale=(0.015625,), zero=(11,))
    net.graph.outputs = [net.name]
    for level in kernels.available():
        with kernels.use_isa(level):
            apart = net.model(threads=1, split=True).run(net.feed)[net.name]
            for threads in (1, 2, 3):
                with joined(rows):
                    together = net.model(threads=threads)
                assert "bands" in [step.kernel for step in together.plan.steps]
                np.testing.assert_array_equal(together.run(net.feed)[net.name], apart)


@settings(max_examples=25, deadline=None)
@given(n=st.integers(1, 3), c=st.integers(1, 4), size=st.tuples(st.integers(1, 37), st.integers(1, 40)), zero=zeros,
       scale=st.sampled_from([0.03125, 1.0, 0.0173]), seed=seeds)
def test_planes_become_pixels(n, c, size, zero, scale, seed):
    net = Layers(normal(seed, n, c, *size), seed)
    net.then("quantize", scale=(float(np.float32(scale)),), zero=(zero,))
    net.then("transpose", perm=(0, 2, 3, 1))
    net.graph.outputs = [net.name]
    assert [step.kernel for step in net.model().plan.steps] == ["quantize_planes"]
    net.agree(net.name, net.value)


def chain(seed=0, size=(1, 9, 10), c=8, dilation=1, groups=1, side=1, zeros=False):
    net = Layers(np.random.default_rng(seed).integers(0, 256, (*size, c)).astype(np.uint8), seed)
    net.conv("q_conv2d", (c, side, side, c // groups), 3, groups=groups, pads=(side // 2,) * 4)
    net.middle = net.name
    net.conv("q_depthwise_conv2d", (3, 3, c), 9, pads=(dilation,) * 4, dilations=(dilation, dilation))
    if zeros:
        net.graph.nodes[-1].inputs.append(net.constant(np.full(c, 40_000, np.int32)))
        (net.value,) = net.reference(net.name).values()
    return net


@pytest.mark.parametrize("change", ["output", "two readers", "groups", "3x3", "small", "heavy", "wide", "zeros of weights"])
def test_layers_that_stay_apart(change):
    net = chain(groups=2 if change == "groups" else 1, side=3 if change == "3x3" else 1, zeros=change == "zeros of weights")
    outputs, limits, room = [net.name], {"LEAST_BYTES": 0}, 1 << 20
    if change == "output":
        outputs.append(net.middle)
    elif change == "two readers":
        outputs.append(net.add("q_table", net.middle, net.constant(np.arange(256, dtype=np.uint8)[::-1].copy())))
    elif change == "small":
        limits["LEAST_BYTES"] = 721
    elif change == "heavy":
        limits["MOST_WEIGHT_BYTES"] = 63
    elif change == "wide":
        room = 100
    expected = net.reference(*outputs)
    with mock.patch.multiple("tinynet.joins", **limits), mock.patch("tinynet.bands.BAND_BYTES", room):
        model = net.model(*outputs)
    assert "bands" not in [step.kernel for step in model.plan.steps]
    for name, found in model.run(net.feed).items():
        np.testing.assert_array_equal(found, expected[name])


def test_the_tensors_between_take_no_place_in_the_arena():
    net = chain(size=(1, 40, 40), c=32)
    net.table()
    net.table()
    apart = net.model(net.name).plan
    with joined((1 << 20, (2,))):
        together = net.model(net.name).plan
    assert [s.kernel for s in together.steps] == ["bands"]
    assert apart.memory.arena_bytes >= 2 * 40 * 40 * 32 and together.memory.arena_bytes == 0
    assert together.macs == apart.macs == sum(s.macs for s in together.steps)
