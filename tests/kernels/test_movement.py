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
from tinynet.ops.pad import MODES
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
    for level, threads in itertools.product(kernels.available(integers=False), (1, 2)):
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


@pytest.mark.parametrize("rows, columns", [(15, 16), (17, 33), (64, 65), (1, 40), (40, 1), (100, 3), (3, 100), (4, 4), (5, 7),
                                           (8, 5), (9, 130), (27, 6), (16, 3), (33, 3), (31, 4), (12, 2)])
def test_transpose_of_blocks(rows, columns):
    check("transpose", [with_specials(1, rows, columns)], {"perm": (1, 0)})
    check("transpose", [with_specials(1, 2, rows, columns, 3)], {"perm": (0, 2, 1, 3)})
    check("transpose", [with_specials(1, 2, rows, columns)], {"perm": (2, 1, 0)}, strided=True)
    check("transpose", [with_specials(1, rows, columns)], {"perm": (1, 0)}, strided=True)


@pytest.mark.parametrize("dtype", ["uint8", "int8", "bool", "float16", "int64"])
@pytest.mark.parametrize("rows, columns", [(16, 16), (15, 17), (17, 31), (33, 65), (2, 50), (50, 3), (4, 19), (1, 9), (40, 16)])
def test_transpose_of_blocks_of_other_sizes(dtype, rows, columns):
    x = np.random.default_rng(rows).integers(0, 2 if dtype == "bool" else 127, (2, rows, columns)).astype(dtype)
    check("transpose", [x], {"perm": (0, 2, 1)})
    check("transpose", [x], {"perm": (2, 0, 1)})


@pytest.mark.parametrize("dtype, run", [("uint8", 2), ("uint8", 4), ("uint8", 8), ("uint8", 16), ("float16", 2), ("float32", 2),
                                        ("float32", 4), ("int64", 2), ("float32", 3), ("uint8", 5)])
def test_short_runs_move_as_one(dtype, run):
    """2 to 16 bytes that stay together are one element to the kernel, where the distances allow."""
    x = np.random.default_rng(1).integers(0, 127, (3, 5, 2, 7, run)).astype(dtype)
    check("transpose", [x], {"perm": (0, 1, 3, 2, 4)})
    check("transpose", [x], {"perm": (3, 2, 1, 0, 4)})
    check("slice", [x], {"begin": (0, 0, 1, 0, 0), "end": (3, 5, 2, 7, run), "step": (2, 1, 1, 3, 1)})
    check("expand", [x[:, :, :1]], {"shape": (3, 5, 6, 7, run)})
    check("concat", [x, x[..., :1], x], {"axis": 4})


@pytest.mark.parametrize("dtype", sorted(DTYPES))
@pytest.mark.parametrize("length", [1, 2, 3, 15, 16, 17, 64, 1000, 5000])
def test_one_element_repeated(dtype, length):
    check("expand", [numbers(dtype, 3, 1)], {"shape": (2, 3, length)})


@pytest.mark.parametrize("length", [*range(1, 20), 31, 32, 33, 47, 48, 49, 63, 64, 65, 66, 127, 128, 129])
def test_rows_of_every_length(length):
    """The short rows are not memcpy's."""
    x = np.random.default_rng(length).integers(0, 256, (7, 3, length)).astype(np.uint8)
    check("transpose", [x], {"perm": (1, 0, 2)})
    check("gather", [x, np.array([[2, 0], [-1, 1]])], {"axis": 1})


@settings(max_examples=40, deadline=None)
@given(data=st.data(), shape=st.lists(st.sampled_from([1, 2, 3, 5, 18]), min_size=1, max_size=4),
       dtype=st.sampled_from(sorted(DTYPES)),
       picks=st.lists(st.sampled_from([0, 1, 2, 5]), max_size=2), kind=st.sampled_from(["int64", "int32"]),
       strided=st.booleans(), seed=seeds)
def test_gather(data, shape, dtype, picks, kind, strided, seed):
    axis = data.draw(st.integers(-len(shape), len(shape) - 1))
    r = np.random.default_rng(seed)
    x = r.integers(0, 2, shape).astype(dtype) if dtype != "float32" else with_specials(seed, *shape)
    check("gather", [x, np.asarray(r.integers(-shape[axis], shape[axis], picks), kind)], {"axis": axis}, strided)


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


@pytest.mark.parametrize("mode", MODES)
@settings(max_examples=20, deadline=None)
@given(data=st.data(), shape=st.lists(st.sampled_from([1, 2, 5, 17]), min_size=1, max_size=4),
       dtype=st.sampled_from(sorted(DTYPES)), strided=st.booleans(), seed=seeds)
def test_pad_in_every_mode(mode, data, shape, dtype, strided, seed):
    most = [d - 1 if mode == "reflect" else 2 * d + 2 for d in shape]
    widths = [tuple(data.draw(st.integers(0, m)) for m in most) for _ in range(2)]
    x = np.random.default_rng(seed).integers(0, 100, shape).astype(dtype)
    attrs = {"begin": widths[0], "end": widths[1], "mode": mode}
    check("pad", [x], {**attrs, "value": 1.0}, strided)
    if mode == "constant":
        check("pad", [x, np.array(1).astype(dtype)], attrs, strided)


def test_pad_many_times_around_runs_in_numpy():
    check("pad", [numbers("float32", 2, 3)], {"begin": (0, 100), "end": (0, 0), "mode": "wrap"}, native=False)


@settings(max_examples=30, deadline=None)
@given(data=st.data(), shape=st.lists(st.sampled_from([0, 1, 2, 5, 17]), max_size=5),
       value=st.sampled_from([0.0, -1.5, float("nan"), float("inf")]), strided=st.booleans(), seed=seeds)
def test_pad(data, shape, value, strided, seed):
    widths = [tuple(data.draw(st.integers(0, 4)) for _ in shape) for _ in range(2)]
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
    image = with_specials(seed, n, h * block, w * block, c)
    check("space_to_depth", [image], {"block": block, "mode": mode}, strided)
    check("space_to_depth", [(image > 0)], {"block": block, "mode": mode})


@settings(max_examples=25, deadline=None)
@given(lead=st.lists(st.integers(0, 5), max_size=3), groups=st.integers(1, 7), each=channels, strided=st.booleans(), seed=seeds)
def test_channel_shuffle(lead, groups, each, strided, seed):
    check("channel_shuffle", [with_specials(seed, *lead, groups * each)], {"groups": groups}, strided)


@pytest.mark.parametrize("each", [1, 3, 4, 5, 7, 8, 9, 15, 16, 17, 29, 32, 58])
def test_channel_shuffle_in_two_groups(each):
    for strided in (False, True):
        check("channel_shuffle", [with_specials(each, 2, 3, 2 * each)], {"groups": 2}, strided)


@pytest.mark.parametrize("groups, each", [(2, 58), (3, 5), (8, 2)])
def test_a_channel_shuffle_is_one_copy_by_two_dimensional_transposes(groups, each):
    net = Net()
    (step,) = net.model(net.add("channel_shuffle", net.input(normal(0, 1, 4, 5, groups * each)), groups=groups)).plan.steps
    assert (step.kernel, step.params["kind"]) == ("copy", 1)


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


@pytest.mark.parametrize("dtype", ["uint8", "int8"])
@pytest.mark.parametrize("n", [2, 3])
@pytest.mark.parametrize("columns", [1, 2, 5, 15, 16, 17, 31, 32, 33, 50, 64, 79])
def test_bytes_side_by_side(dtype, n, columns):
    """The planes of a picture, and the halves of a channel shuffle, both ways."""
    x = np.random.default_rng(columns).integers(0, 127, (2, n, columns)).astype(dtype)
    check("transpose", [x], {"perm": (0, 2, 1)})
    check("transpose", [np.ascontiguousarray(x.transpose(0, 2, 1))], {"perm": (0, 2, 1)})
    check("channel_shuffle", [x.reshape(2, 1, n * columns)], {"groups": n}, strided=True)
    check("channel_shuffle", [x.reshape(2, 1, n * columns)], {"groups": columns}, strided=True)


@pytest.mark.parametrize("channels", [1, 2, 3, 4, 5, 7, 8, 16, 19, 64, 128])
@pytest.mark.parametrize("dtype", ["uint8", "int8", "int64"])
@pytest.mark.parametrize("size", [(14, 10), (7, 9), (2, 17), (13, 5)])
def test_nearest_resize_of_every_size_of_pixel(dtype, channels, size):
    """Rows that are repeated are copied whole, unless they lie apart."""
    x = np.random.default_rng(channels).integers(0, 127, (2, 7, 5, channels)).astype(dtype)
    attrs = {"size": size, "scales": (size[0] / 7, size[1] / 5)}
    for strided in (False, True):
        check("resize", [x], attrs, strided)


@pytest.mark.parametrize("dtype", ["uint8", "int8", "float32", "int64"])
def test_nearest_resize_along_other_axes(dtype):
    x = np.random.default_rng(1).integers(0, 127, (2, 4, 5, 3, 6)).astype(dtype)
    for axes, size in [((1,), (7,)), ((0, 3), (5, 2)), ((2, 3, 4), (4, 5, 9)), ((4,), (11,)), ((1, 2), (8, 10))]:
        attrs = {"axes": axes, "size": size, "scales": tuple(s / x.shape[a] for a, s in zip(axes, size, strict=True))}
        check("resize", [x], attrs)


@pytest.mark.parametrize("dtype", ["uint8", "int8"])
@pytest.mark.parametrize("kind, attrs", [
    ("depth_to_space", {"block": 3}), ("depth_to_space", {"block": 2}), ("depth_to_space", {"block": 2, "mode": "crd"}),
    ("space_to_depth", {"block": 2}), ("space_to_depth", {"block": 3, "mode": "crd"}),
    ("pad", {"begin": (0, 1, 2, 0), "end": (0, 2, 1, 0), "value": 97.0}),
    ("pad", {"begin": (0, 1, 2, 3), "end": (0, 2, 1, 1), "mode": "edge"}),
    ("slice", {"begin": (0, 1, 0, 5), "end": (2, 6, 6, 30), "step": (1, 2, 1, 1)})])
def test_bytes_of_channels_inside_a_wider_tensor(dtype, kind, attrs):
    x = np.random.default_rng(1).integers(0, 127, (2, 6, 6, 36)).astype(dtype)
    for strided in (False, True):
        check(kind, [x], attrs, strided)


def test_bytes_of_a_concat_lie_where_they_are_made():
    """Pools write into the output of concat, and read from a part of it: no step copies."""
    x = np.random.default_rng(1).integers(0, 255, (1, 9, 8, 13)).astype(np.uint8)
    net = Net()
    first = net.add("max_pool2d", net.input(x), kernel=(2, 2))
    second = net.add("q_average_pool2d", net.input(x), kernel=(2, 2))
    both = net.add("concat", first, second, axis=3)
    shown = [net.add("max_pool2d", both, kernel=(2, 1)),
             net.add("q_resize", net.cut(both, 5, 20), size=(9, 9), scales=(1.0, 1.0)),
             net.add("q_global_average_pool", net.cut(both, 13, 26)),
             net.add("resize", net.cut(both, 1, 8), size=(16, 14), scales=(2.0, 2.0))]
    model = net.model(*shown)
    assert [step.kernel for step in model.plan.steps] == ["pool2d_u8", "pool2d_u8", "pool2d_u8", "resize_u8", "mean_u8",
                                                          "resize_nearest"]
    expected = net.reference(*shown)
    found = model.run(net.feed)
    assert all(np.array_equal(found[name], expected[name]) for name in shown)
