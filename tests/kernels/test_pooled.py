"""Pools that run band by band with what is before them (tinynet/joins.py, kernels/bands.pxi): bit for bit what the same layers
give one by one on the same instruction set, and what numpy gives."""

from __future__ import annotations

from contextlib import contextmanager
from unittest import mock

import numpy as np
import pytest
from bounds import compare
from hypothesis import given, reject, settings
from hypothesis import strategies as st
from nets import THREADS, Net, channels, normal, seeds, with_non_finite
from test_bands import Layers, numbers
from test_winograd import expectation

from tinynet import bands, kernels, ops
from tinynet.errors import LimitError

room = st.sampled_from([1, 3000, 20_000, 1 << 20])
sizes = st.tuples(st.integers(1, 2), st.integers(1, 29), st.integers(1, 17))
pairs = st.tuples(st.integers(1, 3), st.integers(1, 3))
pads = st.tuples(*[st.integers(0, 3)] * 4)


@contextmanager
def pooled(rows=1 << 20, least=0):
    """Pools join from that size of a tensor on; rows: bytes that a band may take."""
    with mock.patch.multiple("tinynet.joins", LEAST_POOLED_BYTES=least, LEAST_BYTES=least), \
            mock.patch("tinynet.bands.POOLED_BYTES", rows):
        yield


def apart():
    return mock.patch("tinynet.joins._pooled", lambda chains, i: None)


def exact_numbers(seed, *shape):
    return np.random.default_rng(seed).integers(-3, 4, shape).astype(np.float32)


def pool_of(draw):
    """Kind and attributes of any pool."""
    kind = draw(st.sampled_from(["max_pool2d", "max_pool2d", "average_pool2d"]))
    attrs = {"kernel": draw(pairs), "strides": draw(pairs), "pads": draw(pads),
             "dilations": draw(st.sampled_from([(1, 1), (2, 1), (1, 3)]))}
    if kind == "average_pool2d":
        attrs |= {"count_include_pad": draw(st.booleans()), "extra": draw(st.tuples(st.integers(0, 1), st.integers(0, 2)))}
    return kind, attrs


def conv_of(draw, ins):
    """(planar, shape of the weights, attributes) of any convolution."""
    groups = draw(st.sampled_from([g for g in (1, 1, 2, 3) if ins % g == 0]))
    kernel, outs = draw(st.sampled_from([(1, 1), (3, 3), (3, 3), (5, 2), (2, 3)])), draw(channels)
    attrs = {"groups": groups, "pads": draw(pads), "activation": draw(st.sampled_from(["none", "relu", "silu"]))}
    if kernel != (3, 3) or draw(st.booleans()):
        attrs |= {"strides": draw(pairs), "dilations": draw(st.sampled_from([(1, 1), (2, 1), (1, 2)]))}
    return groups == 1 and ins <= 4 and draw(st.booleans()), (-(-outs // groups) * groups, *kernel, ins // groups), attrs


def build(draw, array, strided=False):
    """A convolution or none, layers that treat each pixel by itself, a pool."""
    n, h, w = draw(sizes)
    first = draw(st.sampled_from(["conv2d", "conv2d", "lrn"]))
    ins, seed = draw(channels), draw(seeds)
    net = Net(strided)
    try:
        if first == "conv2d":
            planar, shape, attrs = conv_of(draw, ins)
            if planar:
                net.strided = False
                x = net.add("transpose", net.input(array(seed, n, ins, h, w)), perm=(0, 2, 3, 1))
            else:
                x = net.input(array(seed, n, h, w, ins))
            x = net.add("conv2d", x, net.constant(array(seed + 1, *shape)), net.constant(array(seed + 2, shape[0])), **attrs)
        else:
            x = net.add("lrn", net.add("neg", net.input(array(seed, n, h, w, ins))), size=3, alpha=0.5)
        if draw(st.booleans()):
            c = net.shape(x)[3]
            x = net.add("batch_norm", x, net.constant(array(seed + 3, c)), net.constant(array(seed + 4, c)))
        kind, attrs = pool_of(draw)
        x = net.add(kind, x, **attrs)
    except ops.ShapeError:
        reject()
    if strided:
        x = net.add("concat", net.add("neg", net.input(array(seed, *net.shape(x)[:3], 3))), x, axis=3)
    return net, x


@settings(max_examples=60, deadline=None)
@given(data=st.data(), special=st.booleans(), strided=st.booleans(), winograd=st.sampled_from([False, 2, 4]), rows=room)
def test_as_one_by_one(data, special, strided, winograd, rows):
    net, name = build(data.draw, with_non_finite if special else normal, strided)
    for level in kernels.available(integers=False):
        with kernels.use_isa(level), apart():
            expected = net.model(name, winograd=winograd).run(net.feed)[name]
        for threads in THREADS:
            with kernels.use_isa(level), pooled(rows):
                model = net.model(name, threads=threads, winograd=winograd)
            assert "bands" in [step.kernel for step in model.plan.steps] and not model.plan.python_steps
            assert model.run(net.feed)[name].tobytes() == expected.tobytes(), (level, threads)


@settings(max_examples=40, deadline=None)
@given(data=st.data(), rows=room)
def test_as_numpy(data, rows):
    """Small integers, whose sums are exact."""
    net, name = build(data.draw, exact_numbers)
    kinds = [(node.op, node.attrs.get("activation")) for node in net.graph.nodes]
    if any(kind in ("lrn", "average_pool2d") or activation == "silu" for kind, activation in kinds):
        reject()
    with pooled(rows), mock.patch("tinynet.ops.winograd.GAIN", 1e9):
        net.agree(name, net.reference(name)[name])


@settings(max_examples=40, deadline=None)
@given(size=st.sampled_from([2, 4]), n=st.integers(1, 2), hw=st.tuples(st.integers(3, 31), st.integers(3, 23)), ins=channels,
       outs=channels, pad=pads, pool=st.tuples(pairs, pairs), rows=room, seed=seeds)
def test_tiles(size, n, hw, ins, outs, pad, pool, rows, seed):
    """Bands cut no tile: the same bits.  Beside numpy a maximum is off by no more than the largest error in its window."""
    arrays = normal(seed, n, *hw, ins), normal(seed + 1, outs, 3, 3, ins), normal(seed + 2, outs)
    conv, attrs = {"pads": pad}, {"kernel": pool[0], "strides": pool[1]}
    if any(d + pad[i] + pad[i + 2] - 2 < pool[0][i] for i, d in enumerate(hw)):
        reject()
    expected, bound = expectation(size, arrays, pad, conv)
    net = Net()
    name = net.add("conv2d", net.input(arrays[0]), *map(net.constant, arrays[1:]), **conv)
    name = net.add("max_pool2d", name, **attrs)
    expected, bound = windows_max(expected, pool), windows_max(np.broadcast_to(bound, expected.shape), pool)
    for level in kernels.available(integers=False):
        with kernels.use_isa(level), apart():
            alone = net.model(name, winograd=size).run(net.feed)[name]
        compare(alone, expected, bound, level)
        for threads in THREADS:
            with kernels.use_isa(level), pooled(rows):
                model = net.model(name, threads=threads, winograd=size)
            assert [part.kernel for part in model.plan.steps[0].parts] == ["conv2d_winograd_f32", "pool2d_f32"]
            assert model.run(net.feed)[name].tobytes() == alone.tobytes(), (level, threads)


def windows_max(x, pool):
    (kh, kw), (sh, sw) = pool
    return np.lib.stride_tricks.sliding_window_view(x, (kh, kw), (1, 2)).max((-2, -1))[:, ::sh, ::sw]


@settings(max_examples=40, deadline=None)
@given(n=st.integers(1, 2), hw=st.tuples(st.integers(1, 29), st.integers(1, 13)), ins=channels, outs=channels,
       tables=st.integers(0, 2), side=st.sampled_from([(1, 1), (3, 3), (3, 3), (2, 5)]), stride=pairs, pad=pads,
       pool=st.tuples(pairs, pairs, pads), winograd=st.sampled_from([False, 2, 4]), strided=st.booleans(), rows=room,
       seed=seeds)
def test_integers(n, hw, ins, outs, tables, side, stride, pad, pool, winograd, strided, rows, seed):
    net = Layers(numbers(np.random.default_rng(seed), (n, *hw, ins), "uint8", "noise"), seed, strided)
    try:
        net.conv("q_conv2d", (outs, *side, ins), 77, pads=pad, strides=(1, 1) if winograd else stride)
        for _ in range(tables):
            net.table()
        net.then("max_pool2d", kernel=pool[0], strides=pool[1], pads=pool[2])
    except ops.ShapeError:
        reject()
    for level in kernels.available():
        for threads in THREADS:
            with kernels.use_isa(level), pooled(rows):
                model = net.model(net.name, threads=threads, winograd=winograd)
            assert "bands" in [step.kernel for step in model.plan.steps]
            np.testing.assert_array_equal(model.run(net.feed)[net.name], net.value, f"{level}, {threads} threads")


def chain(size=(1, 24, 20), ins=8, outs=16, side=3, residual=False):
    net = Net()
    x = net.input(normal(0, *size, ins))
    more = [net.input(normal(3, *size, outs))] if residual else []
    net.middle = net.add("conv2d", x, net.constant(normal(1, outs, side, side, ins)), net.constant(normal(2, outs)), *more,
                         pads=(side // 2,) * 4)
    return net, net.add("max_pool2d", net.middle, kernel=(2, 2), strides=(2, 2))


@pytest.mark.parametrize("change", ["output", "skip connection", "residual", "small", "heavy"])
def test_layers_that_stay_apart(change):
    net, name = chain(residual=change == "residual")
    outputs, least, most = [name], 0, 1 << 20
    if change == "output":
        outputs.append(net.middle)
    elif change == "skip connection":
        outputs.append(net.add("neg", net.middle))
    elif change == "small":
        least = 4 * 24 * 20 * 16 + 1
    elif change == "heavy":
        most = 4 * 16 * 9 * 8 - 1
    expected = net.reference(*outputs)
    with pooled(least=least), mock.patch("tinynet.joins.MOST_POOLED_WEIGHTS", most):
        model = net.model(*outputs)
    assert "bands" not in [step.kernel for step in model.plan.steps]
    for found, value in model.run(net.feed).items():
        np.testing.assert_allclose(value, expected[found], atol=1e-4)


def test_the_arena_shrinks_and_each_threads_buffers_count():
    net, name = chain(size=(1, 96, 64))
    net.graph.outputs = [net.add("neg", name)]
    between, after = 4 * 96 * 64 * 16, 4 * 48 * 32 * 16
    with apart():
        alone = net.model(winograd=False).plan.memory
    assert alone.arena_bytes == alone.lower_bound == between + after
    with pooled(rows=1):        # two rows at a time are the least that a 2x2 window reads
        memory = [net.model(threads=n, winograd=False).plan.memory for n in (1, 2, 3)]
        assert all(m.arena_bytes == m.lower_bound == after for m in memory)
        assert all(m.scratch_bytes == n * memory[0].scratch_bytes for n, m in zip((1, 2, 3), memory, strict=True))
        assert memory[0].scratch_bytes >= 2 * 64 * 16 * 4
        with pytest.raises(LimitError, match="max_ram"):
            net.model(threads=3, winograd=False, max_ram=memory[2].run_bytes - 1)
        assert net.model(threads=3, winograd=False, max_ram=memory[2].run_bytes).plan.steps[0].kernel == "bands"


@pytest.mark.parametrize("pool, band, rows", [
    # kernel, stride, pad above -> rows of the convolution that a thread holds
    ((2, 2, 0), 4, 8),      # two rows of tiles
    ((3, 2, 0), 4, 12),     # 9 rows from the first of a tile on: three
    ((3, 2, 1), 4, 12),     # 9 rows, of which the first is the last of a tile
    ((3, 2, 1), 6, 16),
    ((2, 1, 0), 4, 8),      # 5 rows
    ((3, 3, 0), 4, 12),
])
def test_buffers_hold_whole_tiles(pool, band, rows):
    tall, stride, pad = pool
    windows = [bands.Window(64, 64, 3, 1, 1, 4, 1000), bands.Window(64, 64 // stride, tall, stride, pad, 1, 500)]
    assert bands.grain_of(windows) == (2 if stride == 2 else 4)
    assert bands.buffers(windows, band) == [-(-(rows * 1000 + 3) // 64) * 64, 0]


@settings(max_examples=200, deadline=None)
@given(unit=st.sampled_from([2, 4]), middle=st.tuples(st.integers(1, 3), st.integers(1, 3), st.integers(0, 2)),
       pool=st.tuples(st.integers(1, 4), st.integers(1, 4), st.integers(0, 3)), height=st.integers(1, 40),
       grains=st.integers(1, 4))
def test_whatever_a_band_reads_fits(unit, middle, pool, height, grains):
    """The rows of tiles that bands hold, wherever they begin, if they keep what the band before them read."""
    after = (height + 2 * middle[2] - middle[0]) // middle[1] + 1
    last = (after + 2 * pool[2] - pool[0]) // pool[1] + 1
    if min(after, last) < 1:
        reject()
    windows = [bands.Window(height, height, 3, 1, 1, unit, 64), bands.Window(height, after, *middle, 1, 64),
               bands.Window(after, last, *pool, 1, 64)]
    grain = bands.grain_of(windows)
    most = bands.buffers(windows, grains * grain)[0] // 64
    for begin in range(0, last, grain):
        top, bottom = begin, min(last, begin + grains * grain)
        for window in windows[:0:-1]:
            top = min(window.height, max(0, top * window.stride - window.pad))
            bottom = max(top, min(window.height, (bottom - 1) * window.stride - window.pad + window.reach))
        assert min(height, -(-bottom // unit) * unit) - top // unit * unit <= most
