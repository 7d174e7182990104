"""Shared memory between tensors: results stay right, whatever shares what, and the typical cases do share."""

from __future__ import annotations

import bounds
import numpy as np
import pytest
from drawn import LAYERS, LIMIT, Maker, integers, layer, matmul, vector
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from nets import Net, normal, seeds

from tinynet import reference


def check(net: Net, *outputs: str, threads: int = 1) -> None:
    """Two runs of one model on different inputs, memory poisoned before each, against the reference."""
    model = net.model(*outputs, threads=threads)
    for turn in range(2):
        feed = {n: a if turn == 0 else np.negative(a[::-1] if a.ndim else a, out=np.empty_like(a)) for n, a in net.feed.items()}
        context = model._new_context()
        for arena in (context.arena, context.scratch):
            if arena.nbytes:
                np.frombuffer(arena, np.uint8)[:] = 255          # float32 NaN
        model._contexts.append(context)
        out = {i.name: np.full(i.shape, 77, i.dtype) for i in model.outputs}
        before = {n: a.copy() for n, a in feed.items()}
        found = model.run(feed, out=out)
        for name, expected in reference.run(net.graph, feed).items():
            assert np.array_equal(found[name], expected), f"run {turn}: {name} differs\n{model.plan}"
        for name, array in before.items():
            assert np.array_equal(feed[name], array), f"run {turn}: input {name} was written to\n{model.plan}"


def copies(net: Net, *outputs: str) -> list[str]:
    return [step.node.name for step in net.model(*outputs).plan.steps if step.kernel == "copy"]


@settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(data=st.data(), count=st.integers(1, 12), threads=st.sampled_from([1, 1, 1, 2]))
def test_any_graph(data, count, threads):
    maker = Maker(data)
    for _ in range(count):
        made = getattr(maker, data.draw(st.sampled_from(LAYERS)))()
        if made is not None:
            maker.tensors.append(made)
    used = {n for node in maker.net.graph.nodes for n in node.inputs}
    leaves = [n for n in maker.tensors if n not in used]
    extra = data.draw(st.lists(st.sampled_from(maker.tensors), max_size=2))
    check(maker.net, *dict.fromkeys([*leaves, *extra]), threads=threads)


# ---- each way to go wrong, alone

@pytest.fixture
def net():
    return Net()


def start(net, *shape, seed=0):
    """A tensor that is computed, so that its memory may be shared."""
    return net.add("neg", net.input(integers(seed, *shape)))


def test_reshape_of_channels_is_a_copy(net):
    part = net.cut(start(net, 1, 4, 4, 6), 2, 5)
    check(net, net.add("neg", net.add("reshape", part, shape=(48,))))


def test_reshape_of_channels_then_concat(net):
    part = net.cut(start(net, 1, 4, 4, 6), 2, 5)
    flat = net.add("reshape", part, shape=(48,))
    check(net, net.add("concat", flat, net.add("reshape", start(net, 1, 2, 2), shape=(4,)), axis=0))


def test_reshape_of_channels_that_keeps_rows(net):
    part = net.cut(start(net, 1, 4, 4, 6), 2, 5)
    check(net, matmul(net, net.add("reshape", part, shape=(16, 3)), 5))


@pytest.mark.parametrize("reader", [lambda net, x: matmul(net, x, 2), lambda net, x: layer(net, x, 2)])
def test_rows_of_channels(net, reader):
    part = net.cut(start(net, 1, 4, 4, 6), 2, 5)
    check(net, reader(net, net.cut(part, 1, 3, axis=1)))


@pytest.mark.parametrize("writer", [
    lambda net, x: matmul(net, x, 4),
    lambda net, x: net.add("pad", x, begin=(0,) * 4, end=(0, 1, 0, 0), value=5.0)])
def test_concat_of_rows_inside_a_concat_of_channels(net, writer):
    first = writer(net, start(net, 1, 2, 3, 4))
    rows = net.add("concat", first, start(net, 1, 1, 3, 4, seed=1), axis=1)
    check(net, net.add("concat", rows, start(net, *net.shape(rows)[:3], 2, seed=2), axis=3))


def test_softmax_inside_two_concats(net):
    x = normal(1, 1, 2, 3, 4)
    rows = net.add("concat", net.add("softmax", net.add("neg", net.input(-x))), start(net, 1, 1, 3, 4), axis=1)
    y = net.add("concat", rows, start(net, 1, 3, 3, 2), axis=3)
    expected = net.reference(y)[y]
    bound = np.zeros(expected.shape)
    bound[:, :2, :, :4] = bounds.evaluation("softmax", x, expected[:, :2, :, :4]) + bounds.sums(4, expected[:, :2, :, :4])
    net.agree(y, expected, bound)


def test_reshaped_constant_in_a_concat(net):
    fixed = net.add("reshape", net.constant(integers(1, 2, 6)), shape=(3, 4))
    check(net, net.add("concat", fixed, start(net, 2, 4), axis=0))


@pytest.mark.parametrize("kernel", [1, 3])
def test_residual_is_the_input_too(net, kernel):
    x = start(net, 1, 3, 3, 90)
    check(net, net.add("neg", layer(net, x, 90, 0, x, kernel)))


def test_residual_is_a_view_of_the_input(net):
    x = start(net, 1, 3, 3, 8)
    check(net, net.add("neg", layer(net, net.cut(x, 0, 4), 4, 0, net.cut(x, 4, 8))))


def test_residual_needed_later(net):
    x = start(net, 1, 3, 3, 8)
    y = layer(net, x, 8, 0, x)
    z = layer(net, y, 8, 1, x)
    check(net, net.add("add", z, x, **LIMIT), y)


def test_same_tensor_twice(net):
    x = start(net, 1, 2, 3, 4)
    check(net, net.add("concat", x, x, axis=3), net.add("concat", x, x, axis=1), net.add("add", x, x))


def test_two_concats_of_one_tensor(net):
    a, b = start(net, 1, 2, 3, 4), start(net, 1, 2, 3, 2, seed=1)
    one = net.add("concat", a, b, axis=3)
    two = net.add("concat", b, a, axis=3)
    check(net, net.add("sub", one, two), net.add("concat", one, a, axis=3))


def test_slices_of_a_concat(net):
    whole = net.add("concat", start(net, 1, 2, 3, 4), start(net, 1, 2, 3, 3, seed=1), axis=3)
    left, middle = net.cut(whole, 0, 4), net.cut(whole, 3, 6)
    check(net, net.add("neg", left), net.add("neg", middle), net.add("concat", middle, left, axis=3))


def test_written_over_while_a_view_is_read(net):
    x = start(net, 1, 4, 4, 4)
    part = net.cut(x, 1, 3)
    y = net.add("abs", x)
    check(net, net.add("add", net.cut(y, 0, 2), part))


def test_outputs_that_are_views_inputs_and_constants(net):
    x = net.input(integers(0, 1, 4, 6))
    y = net.add("neg", x)
    flat, part, c = net.add("reshape", y, shape=(24,)), net.cut(y, 1, 3, axis=1), net.constant(integers(1, 5))
    check(net, flat, y, part, x, c, net.add("reshape", x, shape=(6, 4)), net.cut(x, 0, 2, axis=1))


def test_output_that_is_used_again(net):
    x = start(net, 1, 2, 3, 4)
    y = net.add("abs", x)
    check(net, x, y, net.add("concat", x, y, axis=3), net.add("abs", y))


# ---- what must not cost a copy

def test_fire_module_without_copies(net):
    """SqueezeNet: two convolutions write next to each other."""
    x = layer(net, start(net, 1, 6, 6, 8), 4)
    y = net.add("concat", layer(net, x, 8), layer(net, x, 8, 1, kernel=3), axis=3)
    y = layer(net, net.add("max_pool2d", y, kernel=(3, 3), strides=(2, 2)), 3)
    assert copies(net, y) == []
    check(net, y)


def test_inception_without_copies(net):
    x = start(net, 1, 6, 6, 8)
    branches = [layer(net, x, 5), layer(net, layer(net, x, 3), 7, kernel=3),
                net.add("max_pool2d", x, kernel=(3, 3), pads=(1, 1, 1, 1)),
                net.add("relu", net.add("batch_norm", x, vector(net, x), vector(net, x)))]
    y = layer(net, net.add("concat", *branches, axis=3), 4)
    assert copies(net, y) == []
    check(net, y)


def test_dense_block_without_copies(net):
    """DenseNet: every layer reads the concatenation of all before it."""
    x = start(net, 1, 5, 5, 6)
    for i in range(4):
        normed = net.add("relu", net.add("batch_norm", x, vector(net, x), vector(net, x)))
        x = net.add("concat", x, layer(net, normed, 3, i, kernel=3), axis=3)
    y = layer(net, x, 4)
    assert copies(net, y) == []
    check(net, y)


def test_shuffle_unit_copies_only_to_shuffle(net):
    """ShuffleNet v2: split, half through three convolutions, concat, shuffle."""
    x = start(net, 1, 4, 4, 8)
    half = layer(net, net.cut(x, 4, 8), 4)
    half = net.add("depthwise_conv2d", half, net.constant(integers(1, 3, 3, 4)), vector(net, half), pads=(1, 1, 1, 1), **LIMIT)
    joined = net.add("concat", net.add("relu", net.cut(x, 0, 4)), layer(net, half, 4, 2), axis=3)
    y = layer(net, net.add("channel_shuffle", joined, groups=2), 4)
    kinds = [s.node.op for s in net.model(y).plan.steps if s.kernel == "copy"]
    assert kinds == ["channel_shuffle"]
    check(net, y)


def test_split_of_a_picture_by_rows_and_flatten_without_copies(net):
    x = start(net, 1, 4, 4, 6)
    y = matmul(net, net.add("reshape", net.cut(x, 1, 3, axis=1), shape=(1, 48)), 3)
    assert copies(net, y) == []
    check(net, y)


def test_detection_heads_without_copies(net):
    """SSD: convolutions of different extents are flattened and joined along the anchors."""
    heads = [net.add("reshape", layer(net, start(net, 1, s, s, 4, seed=s), 8, s), shape=(1, s * s * 2, 4)) for s in (4, 2, 1)]
    y = net.add("concat", *heads, axis=1)
    assert copies(net, y) == []
    check(net, y)


def test_elementwise_layers_run_in_place(net):
    x = layer(net, start(net, 1, 8, 8, 16), 16)
    other = layer(net, x, 16)
    y = net.add("add", x, other)
    y = net.add("relu", net.add("batch_norm", y, vector(net, y), vector(net, y)))
    y = layer(net, net.add("sigmoid", y), 4)
    places = net.model(y).plan.storage.places
    owners = {places[name].root for name in places if net.shape(name)[-1] == 16 and name not in net.graph.inputs}
    assert len(owners) == 3, "the start, and one for each convolution; the rest is written over them"


def test_residual_is_written_over(net):
    x = layer(net, start(net, 1, 8, 8, 16), 16)
    y = layer(net, layer(net, x, 16), 16, 1, x)
    z = layer(net, y, 4)
    places = net.model(z).plan.storage.places
    assert places[y].root == places[x].root
    check(net, z)


def test_output_is_written_into_the_callers_array(net):
    y = net.add("relu", layer(net, net.input(integers(0, 1, 4, 4, 4)), 4))
    flat = net.add("reshape", y, shape=(1, 64))
    model = net.model(flat)
    assert copies(net, flat) == [] and model.memory.arena_bytes == 0


def test_zero_extents(net):
    x = net.input(np.zeros((0, 3), np.float32))
    y = net.add("concat", x, start(net, 2, 3), x, axis=0)
    check(net, net.add("reshape", x, shape=(3, 0)), y, net.add("relu", x))


@settings(max_examples=10, deadline=None)
@given(seed=seeds)
def test_numbers(seed):
    net = Net()
    x = net.add("neg", net.input(integers(seed)))
    check(net, net.add("reshape", x, shape=(1, 1)), x, net.add("add", x, x), net.add("transpose", x, perm=()))
