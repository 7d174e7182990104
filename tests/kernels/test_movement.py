"""kernels/movement.pxi: the strided copy behind transpose, slice, concat, pad, ..., and resize."""

from __future__ import annotations

import itertools

import bounds
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nets import Net, channels, normal, seeds, with_specials

from tinynet import kernels, ops
from tinynet.graph import DTYPES
from tinynet.ops.resize import COORDINATES, NEAREST_MODES


def numbers(dtype, *shape):
    """All different as far as the dtype can tell."""
    return (np.arange(np.prod(shape, dtype=int)) % (2 if dtype == "bool" else 127)).reshape(shape).astype(dtype)


def check(kind, arrays, attrs, strided=False, native=True):
    (expected,) = ops.make(kind, attrs).reference(*arrays)
    net = Net(strided)
    net.agree(net.add(kind, *(net.input(a) for a in arrays), **attrs), expected, native=native)


@pytest.mark.parametrize("rank", [0, 1, 2, 3, 4, 5, 6])
def test_transpose_by_every_permutation(rank):
    x = np.arange(np.prod((2, 3, 4, 5, 6, 7)[:rank], dtype=int), dtype=np.float32).reshape((2, 3, 4, 5, 6, 7)[:rank])
    net = Net()
    name = net.input(x)
    outputs = {net.add("transpose", name, perm=p): p for p in itertools.permutations(range(rank))}
    for level, threads in itertools.product(kernels.available(), (1, 2)):
        with kernels.use_isa(level):
            found = net.model(*outputs, threads=threads).run(net.feed)
        for output, perm in outputs.items():
            assert np.array_equal(found[output], x.transpose(perm)), (perm, level, threads)


@pytest.mark.parametrize("dtype", sorted(DTYPES))
def test_every_dtype_moves(dtype):
    x = numbers(dtype, 3, 5, 7)
    check("transpose", [x], {"perm": (2, 0, 1)})
    check("transpose", [x], {"perm": (0, 2, 1)})
    check("slice", [x], {"begin": (2, 4, 6), "end": (-1, 0, 0), "step": (-1, -2, -3)})
    check("slice", [x], {"begin": (0, 1, 1), "end": (3, 4, 7), "step": (2, 1, 2)})
    check("concat", [x, x[:, :2]], {"axis": 1})
    check("concat", [x, x[:, :, :2]], {"axis": 2})
    check("expand", [x[:, :1, :1]], {"shape": (2, 3, 5, 7)})
    check("reshape", [x], {"shape": (15, 7)})


@pytest.mark.parametrize("rows, columns", [(15, 16), (17, 33), (64, 65), (1, 40), (40, 1), (100, 3)])
def test_transpose_of_blocks(rows, columns):
    check("transpose", [with_specials(1, rows, columns)], {"perm": (1, 0)})
    check("transpose", [with_specials(1, 2, rows, columns, 3)], {"perm": (0, 2, 1, 3)})
    check("transpose", [with_specials(1, 2, rows, columns)], {"perm": (2, 1, 0)}, strided=True)


@st.composite
def slices(draw, shape):
    begin, end, step = [], [], []
    for d in shape:
        s = draw(st.sampled_from([1, 1, 2, 3, -1, -2]))
        b = draw(st.integers(0, d - 1))
        e = draw(st.integers(b, d)) if s > 0 else draw(st.integers(-1, b))
        begin.append(b), end.append(e), step.append(s)
    return {"begin": tuple(begin), "end": tuple(end), "step": tuple(step)}


@settings(max_examples=40, deadline=None)
@given(data=st.data(), shape=st.lists(st.sampled_from([1, 2, 3, 5, 18]), max_size=5), strided=st.booleans(), seed=seeds)
def test_slice(data, shape, strided, seed):
    check("slice", [with_specials(seed, *shape)], data.draw(slices(shape)), strided)


@settings(max_examples=30, deadline=None)
@given(data=st.data(), shape=st.lists(st.sampled_from([1, 2, 3, 5, 18]), min_size=1, max_size=4),
       extents=st.lists(st.integers(0, 20), min_size=1, max_size=4), strided=st.booleans(), seed=seeds)
def test_concat(data, shape, extents, strided, seed):
    axis = data.draw(st.integers(0, len(shape) - 1))
    arrays = [with_specials(seed + i, *shape[:axis], e, *shape[axis + 1:]) for i, e in enumerate(extents)]
    check("concat", arrays, {"axis": axis}, strided)


@settings(max_examples=30, deadline=None)
@given(data=st.data(), shape=st.lists(st.sampled_from([0, 1, 2, 5, 17]), max_size=5),
       value=st.sampled_from([0.0, -1.5, float("nan"), float("inf")]), strided=st.booleans(), seed=seeds)
def test_pad(data, shape, value, strided, seed):
    widths = [tuple(data.draw(st.integers(0, 4)) for _ in shape) for _ in range(2)]
    # The fill takes the whole tensor: the output cannot lie inside another one.
    check("pad", [with_specials(seed, *shape)], {"begin": widths[0], "end": widths[1], "value": value}, strided)


@settings(max_examples=30, deadline=None)
@given(data=st.data(), shape=st.lists(st.sampled_from([1, 2, 3, 17]), max_size=5), strided=st.booleans(), seed=seeds)
def test_expand(data, shape, strided, seed):
    small = [d if data.draw(st.booleans()) else 1 for d in shape]
    lead = data.draw(st.integers(0, len(small)))
    if any(d != 1 for d in small[:lead]):
        lead = 0
    check("expand", [with_specials(seed, *small[lead:])], {"shape": tuple(shape)}, strided)


@settings(max_examples=25, deadline=None)
@given(n=st.integers(0, 2), h=st.integers(1, 4), w=st.integers(1, 5), block=st.integers(1, 4), c=st.integers(1, 17),
       mode=st.sampled_from(["dcr", "crd"]), strided=st.booleans(), seed=seeds)
def test_depth_to_space_and_back(n, h, w, block, c, mode, strided, seed):
    check("depth_to_space", [with_specials(seed, n, h, w, c * block * block)], {"block": block, "mode": mode}, strided)
    check("space_to_depth", [with_specials(seed, n, h * block, w * block, c)], {"block": block}, strided)


@settings(max_examples=25, deadline=None)
@given(lead=st.lists(st.integers(0, 5), max_size=3), groups=st.integers(1, 7), each=channels, strided=st.booleans(), seed=seeds)
def test_channel_shuffle(lead, groups, each, strided, seed):
    check("channel_shuffle", [with_specials(seed, *lead, groups * each)], {"groups": groups}, strided)


@settings(max_examples=40, deadline=None)
@given(n=st.integers(0, 2), extents=st.tuples(st.integers(1, 9), st.integers(1, 9)), c=channels,
       size=st.tuples(st.integers(1, 14), st.integers(1, 14)), mode=st.sampled_from(["nearest", "linear"]),
       coordinates=st.sampled_from(COORDINATES), nearest=st.sampled_from(NEAREST_MODES),
       strided=st.booleans(), seed=seeds)
def test_resize(n, extents, c, size, mode, coordinates, nearest, strided, seed):
    attrs = {"size": size, "scales": tuple(s / e for s, e in zip(size, extents, strict=True)), "mode": mode,
             "coordinates": coordinates, "nearest_mode": nearest}
    op, x = ops.make("resize", attrs), normal(seed, n, *extents, c)
    net = Net(strided)
    bound = 0.0 if mode == "nearest" else bounds.sums(4, op.reference(np.abs(x))[0])
    net.agree(net.add("resize", net.input(x), **attrs), op.reference(x)[0], bound)


@pytest.mark.parametrize("mode", ["nearest", "linear"])
def test_resize_keeps_nan_and_infinity(mode):
    x = with_specials(3, 1, 6, 5, 19, share=0.3)
    x[np.abs(x) > 1e30] = np.inf      # products of the largest numbers would overflow in one order of summation only
    attrs = {"size": (9, 8), "scales": (1.5, 1.6), "mode": mode}
    op = ops.make("resize", attrs)
    with np.errstate(all="ignore"):
        bound = 0.0 if mode == "nearest" else bounds.sums(4, op.reference(np.abs(x))[0])
        bound = np.where(np.isfinite(bound), bound, 0)
    net = Net()
    net.agree(net.add("resize", net.input(x), **attrs), op.reference(x)[0], bound)
