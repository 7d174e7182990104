"""kernels/conv2d.pxi: conv2d, dense, matmul and conv_transpose2d."""

from __future__ import annotations

import bounds
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nets import Net, channels, normal, seeds, with_non_finite

from tinynet import ops
from tinynet.ops.activated import ACTIVATIONS

names = st.sampled_from(sorted(ACTIVATIONS))
kernels = st.tuples(st.integers(1, 7), st.integers(1, 7))
pairs = st.tuples(st.integers(1, 3), st.integers(1, 3))
pads = st.tuples(*[st.integers(0, 8)] * 4)


def extents(wanted, kernel, dilations, padding):
    """At least one window fits."""
    return tuple(max(1, e, d * (k - 1) + 1 - a - b) for e, k, d, a, b in
                 zip(wanted, kernel, dilations, padding[:2], padding[2:], strict=True))


def run(kind, arrays, attrs, terms, strided=False, residual=None):
    """All constants but the first array and the residual."""
    net = Net(strided)
    op = ops.make(kind, attrs)
    inputs = [net.input(arrays[0]), *(net.constant(a) for a in arrays[1:])]
    if residual is not None:
        arrays = [*arrays, residual]
        inputs.append(net.input(residual))
    expected, bound = bounds.product(op, arrays, terms)
    net.agree(net.add(kind, *inputs, **attrs), expected, bound)


def conv(seed, n, size, kernel, ins, outs, groups=1, residual=False, strided=False, make=normal, **attrs):
    x = make(seed, n, *size, ins * groups)
    w, b = normal(seed + 1, outs * groups, *kernel, ins), normal(seed + 2, outs * groups)
    attrs["groups"] = groups
    (spec,) = ops.make("conv2d", attrs).infer(*(ops.Spec(a.shape) for a in (x, w, b)))
    run("conv2d", [x, w, b], attrs, ins * kernel[0] * kernel[1] + 2, strided,
        make(seed + 3, *spec.shape) if residual else None)


@settings(max_examples=30, deadline=None)
@given(n=st.integers(1, 2), size=st.tuples(st.integers(1, 10), st.integers(1, 11)), kernel=kernels, strides=pairs,
       dilations=pairs, padding=pads, groups=st.integers(1, 3), ins=st.integers(1, 20), outs=channels,
       residual=st.booleans(), strided=st.booleans(), activation=names, seed=seeds)
def test_conv2d(n, size, kernel, strides, dilations, padding, groups, ins, outs, residual, strided, activation, seed):
    conv(seed, n, extents(size, kernel, dilations, padding), kernel, ins, outs, groups, residual, strided,
         strides=strides, pads=padding, dilations=dilations, activation=activation, alpha=-0.75, beta=1.5)


@pytest.mark.parametrize("outs", range(1, 10))
@settings(max_examples=5, deadline=None)
@given(n=st.integers(1, 2), size=st.tuples(st.integers(1, 5), st.sampled_from([1, 3, 7, 9, 17, 31, 33, 40, 150])),
       kernel=kernels, down=st.integers(1, 2), dilations=pairs, padding=pads, strided=st.booleans(), activation=names,
       seed=seeds)
def test_one_channel_with_few_filters(outs, n, size, kernel, down, dilations, padding, strided, activation, seed):
    """Goes along rows: lengths around whole vectors, and longer than what is kept of a row."""
    conv(seed, n, extents(size, kernel, dilations, padding), kernel, 1, outs, strided=strided, strides=(down, 1), pads=padding,
         dilations=dilations, activation=activation, alpha=-0.75, beta=1.5)


@settings(max_examples=25, deadline=None)
@given(n=st.integers(1, 2), size=st.tuples(st.integers(1, 13), st.integers(1, 9)), ins=channels, outs=channels,
       strides=pairs, residual=st.booleans(), strided=st.booleans(), seed=seeds)
def test_pointwise(n, size, ins, outs, strides, residual, strided, seed):
    conv(seed, n, size, (1, 1), ins, outs, residual=residual, strided=strided, strides=strides)


@pytest.mark.parametrize("ins, kernel", [(767, (1, 1)), (768, (1, 1)), (769, (1, 1)), (1537, (1, 1)), (86, (3, 3)),
                                         (33, (5, 7))])
@pytest.mark.parametrize("padding, residual, strided", [((0, 0, 0, 0), True, False), ((1, 2, 2, 1), False, True)])
def test_products_longer_than_one_part(ins, kernel, padding, residual, strided):
    conv(ins, 1, (7, 9), kernel, ins, 19, residual=residual, strided=strided, pads=padding, activation="relu")


@pytest.mark.parametrize("outs", [1, 16, 17, 32, 48, 64, 65, 80, 130])
@pytest.mark.parametrize("rows", [1, 5, 6, 7, 8, 9, 23, 25, 50])
def test_every_tile(rows, outs):
    conv(rows, 1, (1, rows), (1, 1), 5, outs, residual=True, activation="relu")


@pytest.mark.parametrize("activation", sorted(ACTIVATIONS))
@pytest.mark.parametrize("strided", [False, True])
def test_activation_after_the_last_part(activation, strided):
    conv(5, 1, (4, 5), (1, 1), 1600, 21, residual=True, strided=strided, activation=activation, alpha=-0.4, beta=0.9)


@pytest.mark.parametrize("padding, strides", [
    ((0, 5, 0, 0), (1, 10)), ((9, 9, 9, 9), (4, 7)), ((0, 0, 6, 6), (1, 1)), ((5, 0, 0, 0), (10, 1)), ((7, 6, 0, 1), (3, 2))])
@pytest.mark.parametrize("kernel, dilations", [((1, 1), (1, 1)), ((2, 3), (2, 1))])
def test_pads_larger_than_the_kernel(padding, strides, kernel, dilations):
    conv(3, 2, extents((2, 1), kernel, dilations, padding), kernel, 3, 5, pads=padding, strides=strides, dilations=dilations)
    conv(4, 2, extents((2, 1), kernel, dilations, padding), kernel, 3, 5, groups=2, pads=padding, strides=strides,
         dilations=dilations, strided=True)


@settings(max_examples=20, deadline=None)
@given(kernel=kernels, padding=pads, ins=st.integers(1, 9), outs=channels, residual=st.booleans(), seed=seeds,
       activation=st.sampled_from(["none", "relu", "clip", "leaky_relu", "sigmoid"]))
def test_nan_and_infinity_pass(kernel, padding, ins, outs, residual, seed, activation):
    conv(seed, 1, extents((6, 7), kernel, (1, 1), padding), kernel, ins, outs, residual=residual, make=with_non_finite,
         pads=padding, activation=activation, alpha=-0.75, beta=1.5)


@settings(max_examples=25, deadline=None)
@given(lead=st.lists(st.integers(1, 7), max_size=3), ins=channels, outs=channels, residual=st.booleans(),
       activation=names, strided=st.booleans(), seed=seeds)
def test_dense(lead, ins, outs, residual, activation, strided, seed):
    run("dense", [normal(seed, *lead, ins), normal(seed + 1, outs, ins), normal(seed + 2, outs)],
        {"activation": activation, "alpha": -0.5, "beta": 0.5}, ins + 2, strided,
        normal(seed + 3, *lead, outs) if residual else None)


@pytest.mark.parametrize("ins", [0, 769, 2048])
@pytest.mark.parametrize("rows", [1, 2, 31])
def test_dense_without_and_with_many_columns(rows, ins):
    run("dense", [normal(1, rows, ins), normal(2, 37, ins), normal(3, 37)], {"activation": "relu"}, ins + 2,
        residual=normal(4, rows, 37))


@pytest.mark.parametrize("shape, outs", [((0, 5), 3), ((4, 5), 0), ((2, 0, 5), 3)])
def test_dense_of_nothing(shape, outs):
    run("dense", [normal(1, *shape), normal(2, outs, 5), normal(3, outs)], {}, 7)


def test_conv2d_of_no_pictures():
    conv(1, 0, (5, 5), (3, 3), 4, 6, pads=(1, 1, 1, 1), residual=True)


@pytest.mark.parametrize("kind, attrs", [("conv2d", {}), ("dense", {})])
def test_residual_is_the_input(kind, attrs):
    """The result must not be written over an input that is also the residual: other tiles still read it."""
    net = Net()
    x = normal(1, 1, 5, 5, 140)
    w = normal(2, 140, 1, 1, 140) if kind == "conv2d" else normal(2, 140, 140)
    b = normal(3, 140)
    t = net.add("neg", net.input(-x))
    expected, bound = bounds.product(ops.make(kind, attrs), [x, w, b, x], 142)
    y = net.add(kind, t, net.constant(w), net.constant(b), t)
    net.agree(net.add("neg", y), -expected, bound)


def matmul(a, b):
    net = Net()
    expected, bound = bounds.product(ops.make("matmul", {}), [a, b], a.shape[-1])
    net.agree(net.add("matmul", net.input(a), net.input(b)), expected, bound, native=a.shape[-1] > 0)


@settings(max_examples=25, deadline=None)
@given(m=st.integers(1, 20), k=channels, n=channels, seed=seeds,
       batches=st.sampled_from([((), ()), ((2,), (2,)), ((3,), ()), ((), (3,)), ((2, 1), (3,)), ((1, 3), (2, 1)),
                                ((2, 3), (2, 3))]))
def test_matmul(m, k, n, seed, batches):
    matmul(normal(seed, *batches[0], m, k), normal(seed + 1, *batches[1], k, n))


@pytest.mark.parametrize("m, k, n", [(1, 1, 1), (1, 900, 1), (3, 0, 4), (0, 3, 4), (3, 4, 0), (50, 3, 130)])
def test_matmul_extents(m, k, n):
    matmul(normal(1, 2, m, k), normal(2, 2, k, n))


def test_matmul_nan_and_infinity_pass():
    matmul(with_non_finite(1, 9, 20), normal(2, 20, 33))
    matmul(normal(1, 9, 20), with_non_finite(2, 20, 33))


def transposed(seed, n, size, kernel, ins, outs, groups=1, strided=False, **attrs):
    x, w = normal(seed, n, *size, ins * groups), normal(seed + 1, *kernel, outs * groups, ins)
    run("conv_transpose2d", [x, w, normal(seed + 2, outs * groups)], attrs | {"groups": groups},
        ins * kernel[0] * kernel[1] + 1, strided)


@settings(max_examples=30, deadline=None)
@given(n=st.integers(1, 2), size=st.tuples(st.integers(1, 6), st.integers(1, 7)),
       kernel=st.tuples(st.integers(1, 5), st.integers(1, 5)), strides=pairs, dilations=pairs,
       padding=st.tuples(*[st.integers(0, 4)] * 4), extra=st.tuples(st.integers(0, 3), st.integers(0, 3)),
       groups=st.integers(1, 3), ins=st.integers(1, 20), outs=st.integers(1, 20), strided=st.booleans(), activation=names,
       seed=seeds)
def test_conv_transpose2d(n, size, kernel, strides, dilations, padding, extra, groups, ins, outs, strided, activation, seed):
    full = [(size[i] - 1) * strides[i] + (kernel[i] - 1) * dilations[i] + 1 + extra[i] for i in range(2)]
    cut = tuple(min(padding[i], full[i % 2] - 1 if i < 2 else full[i % 2] - 1 - min(padding[i - 2], full[i % 2] - 1))
                for i in range(4))
    transposed(seed, n, size, kernel, ins, outs, groups, strided, strides=strides, pads=cut, dilations=dilations,
               output_padding=extra, activation=activation, alpha=-0.5, beta=0.5)


def test_conv_transpose2d_with_many_channels():
    transposed(1, 1, (3, 4), (2, 2), 800, 5, strides=(2, 2))
    transposed(2, 0, (3, 4), (2, 2), 8, 5)
