from __future__ import annotations

import numpy as np
import pytest
from nets import Net, dense_of, normal

from tinynet import kernels, layouts
from tinynet.builder import Builder, View
from tinynet.errors import FormatError, UnsupportedOpError
from tinynet.plan import LEAST_SPLITS, make_plan


def convolution(net, x, outs, **attrs):
    c = net.shape(x)[-1]
    w, b = net.constant(normal(1, outs, 3, 3, c)), net.constant(normal(2, outs))
    return net.add("conv2d", x, w, b, pads=(1, 1, 1, 1), **attrs)


@pytest.fixture
def net():
    """x -> conv_a -> conv_b -> y"""
    net = Net()
    y = convolution(net, convolution(net, net.input(normal(0, 1, 8, 8, 4)), 16), 6)
    net.graph.outputs = [y]
    return net


def test_table_names_every_layer(net):
    lines = str(net.model().plan).splitlines()
    assert lines[0].split() == ["step", "kernel", "split", "MMAC", "output", "at", "layer"]
    assert [line.split()[-1] for line in lines[1:]] == [n.name for n in net.graph.nodes]
    assert lines[1].split()[:6] == ["0", "conv2d_f32", "yes", "0.037", "1x8x8x16", "0"]
    assert lines[2].split()[5] == "output"


def test_macs_are_those_of_the_layers(net):
    plan = net.model().plan
    assert [s.macs for s in plan.steps] == [8 * 8 * 16 * 9 * 4, 8 * 8 * 6 * 9 * 16]
    assert plan.macs == sum(s.macs for s in plan.steps)


def test_macs_count_once_for_layers_of_several_steps():
    net = Net()
    y = net.add("conv_transpose2d", net.input(normal(0, 1, 3, 3, 4)), net.constant(normal(1, 2, 2, 6, 2)),
                net.constant(normal(2, 6)), groups=2)
    plan = net.model(y).plan
    assert [s.kernel for s in plan.steps] == ["conv2d_f32", "col2im_f32"] * 2
    assert sum(s.macs for s in plan.steps) == plan.macs == 3 * 3 * 4 * 2 * 2 * 3


def test_only_long_steps_of_networks_worth_calling_threads_for_are_split():
    for splits, split in [(0, False), (4, False), (LEAST_SPLITS / 1.1, False), (LEAST_SPLITS * 1.1, True)]:
        assert [s.parallel for s in make_plan(dense_of(splits).graph).steps] == [split]


@pytest.mark.parametrize("others, split", [(10, True), (800, False)])
def test_no_step_is_split_where_most_of_the_time_goes_into_short_ones(others, split):
    net = dense_of(2 * LEAST_SPLITS)
    x = net.input(normal(3, 1900))
    for _ in range(others):
        x = net.add("neg", x)
    net.graph.outputs.append(x)
    assert [s.parallel for s in make_plan(net.graph).steps] == [split] + others * [False]


def test_python_steps_are_named_and_stand_between_native_ones():
    net = Net()
    x = net.add("relu", net.input(normal(0, 4, 3)))
    y = net.add("trilu", x)
    z = net.add("neg", y)
    model = net.model(z)
    assert model.plan.python_steps == [y]
    segments = [(s.first, s.last, s.python is not None) for s in model.plan.segments]
    assert segments == [(0, 1, False), (0, 0, True), (1, 2, False)]
    assert np.array_equal(model.run(net.feed)[z], net.reference(z)[z])


def test_level_is_fixed_when_the_plan_is_made(net):
    for level in kernels.available(integers=False):
        with kernels.use_isa(level):
            plan = make_plan(net.graph)
        assert plan.isa == level == plan.program.isa


def test_constants_in_the_kernels_layout_are_read_in_place(net):
    """Packed weights lie in the file; nothing but tables is built at load."""
    plain = make_plan(net.graph).memory
    file = bytearray(64)
    for tensor in net.graph.tensors.values():
        if tensor.is_constant:
            layout = layouts.ohwi_panels() if len(tensor.shape) == 4 else layouts.PLAIN
            tensor.layout, tensor.data = layout, (len(file), layouts.pack(tensor.data, layout).tobytes())
            file += tensor.data[1] + bytes(-len(tensor.data[1]) % 64)
    buffer = memoryview(bytes(file))
    for tensor in net.graph.tensors.values():
        if tensor.is_constant:
            tensor.data = buffer[tensor.data[0]:tensor.data[0] + len(tensor.data[1])]
    mapped = make_plan(net.graph, buffer).memory
    weights = 4 * (9 * 4 * 16 + 9 * 16 * 16) + 4 * (16 + 6)
    assert mapped.weight_bytes == weights
    assert mapped.constant_bytes < 500 and plain.constant_bytes >= weights


def test_equal_tables_are_stored_once():
    net = Net()
    x = net.input(normal(0, 1, 8, 8, 4))
    one = convolution(net, x, 4)
    alone = net.model(one).plan.memory.constant_bytes
    w, b = net.graph.nodes[0].inputs[1:]
    two = net.add("conv2d", one, w, b, pads=(1, 1, 1, 1))
    assert net.model(two).plan.memory.constant_bytes == alone


@pytest.mark.parametrize("spoil, error, text", [
    (lambda g: setattr(g.nodes[0], "op", "conv9d"), UnsupportedOpError, "'conv2d0' .conv9d.: layer kind 'conv9d' is unknown"),
    (lambda g: g.nodes[0].attrs.update(stride=1), FormatError, "'conv2d0' .conv2d.: conv2d: unknown attribute 'stride'"),
    (lambda g: setattr(g.tensors["conv2d0"], "shape", (1, 8, 8, 17)), FormatError,
     r"expected output float32 \[1, 8, 8, 16\], found"),
    (lambda g: g.nodes[0].inputs.pop(), FormatError, "expected 3 to 4 inputs, found 2; convert the model again"),
    (lambda g: setattr(g.tensors[g.nodes[0].inputs[2]], "data", None), FormatError, "expected input 2 to be a constant"),
])
def test_contradictions_name_the_node(net, spoil, error, text):
    spoil(net.graph)
    with pytest.raises(error, match=text) as caught:
        make_plan(net.graph)
    assert "\n" not in str(caught.value)


def test_collapse_merges_axes_that_all_tensors_walk_as_one():
    assert Builder.collapse((2, 3, 4), ((12, 4, 1), (12, 4, 1))) == [(24, (1, 1))]
    assert Builder.collapse((2, 3, 4), ((12, 4, 1), (24, 8, 1))) == [(6, (4, 8)), (4, (1, 1))]
    assert Builder.collapse((2, 1, 4), ((12, 99, 1), (4, 7, 1))) == [(2, (12, 4)), (4, (1, 1))]
    assert Builder.collapse((1, 1), ((5, 1), (5, 1))) == []
    assert Builder.collapse((3, 4), ((0, 1), (4, 1))) == [(3, (0, 4)), (4, (1, 1))]


def test_views_know_their_strides():
    v = View("v", (2, 3, 4), "float32", 10)
    assert (v.row, v.rows, v.size, v.strides, v.contiguous) == (4, 6, 24, (30, 10, 1), False)
    assert View("v", (1, 1, 4), "float32", 10).contiguous
    assert (View("v", (), "float32", 1).strides, View("v", (), "float32", 1).rows) == ((), 1)


def test_a_constant_output_prints():
    net = Net()
    x = net.add("relu", net.input(normal(0, 2)))
    c = net.constant(normal(1, 3))
    model = net.model(x, c)
    assert len(str(model.plan).splitlines()) == 3
    assert np.array_equal(model.run(net.feed)[c], normal(1, 3))


def test_moves_of_more_axes_than_the_kernel_has_loops():
    """Seven axes that no two tensors walk as one."""
    net = Net()
    x = normal(0, 2, 3, 2, 2, 2, 2, 2)
    y = net.add("transpose", net.input(x), perm=(6, 5, 4, 3, 2, 1, 0))
    assert np.array_equal(net.model(y).run(net.feed)[y], x.transpose())
