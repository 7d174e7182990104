"""kernels/q_elementwise.pxi: the bits of the numpy reference on every level."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nets import SPECIAL, Net, channels, seeds

from tinynet import kernels, ops

zeros = st.one_of(st.integers(0, 255), st.sampled_from([0, 1, 127, 128, 254, 255]))
dtypes = st.sampled_from(["uint8", "int8"])
shapes = st.lists(channels, max_size=4).map(lambda s: tuple([d % 6 for d in s[:-1]] + s[-1:]))
LENGTHS = [1, 3, 4, 5, 15, 16, 17, 31, 32, 33, 63, 64, 65, 127, 128, 129, 200, 1023]
PAIRS = [x.reshape(-1).astype(np.uint8) for x in np.meshgrid(np.arange(256), np.arange(256), indexing="ij")]


def check(kind, attrs, *arrays, strided=False, native=True):
    op = ops.make(kind, attrs)
    (expected,) = op.reference(*arrays)
    net = Net(strided)
    names = [net.constant(a) if i in op.constant_inputs else net.input(a) for i, a in enumerate(arrays)]
    net.agree(net.add(kind, *names, **attrs), expected, native=native)


def bytes_of(seed, dtype, *shape):
    return np.random.default_rng(seed).integers(0, 256, shape).astype(np.uint8).view(dtype)


def float32(x):
    return float(np.float32(x))


# ---- quantize, dequantize

def steps(scale, zero, dtype):
    return {"scale": (float32(scale),), "zero": (zero - (128 if dtype == "int8" else 0),)}


def reals(seed, scale, *shape):
    """Some hundred steps to either side, many of them ties, some special."""
    rng = np.random.default_rng(seed)
    counts = np.where(rng.random(shape) < 0.4, np.round(rng.normal(0, 200, shape)) / 2, rng.normal(0, 120, shape))
    with np.errstate(over="ignore"):
        x = (counts * scale).astype(np.float32)
    return np.where(rng.random(shape) < 0.1, rng.choice(SPECIAL, shape), x)


@settings(max_examples=40, deadline=None)
@given(shape=shapes, dtype=dtypes, exponent=st.one_of(st.floats(-37, 37), st.integers(-9, 3)), power=st.booleans(), zero=zeros,
       strided=st.booleans(), seed=seeds)
def test_quantize(shape, dtype, exponent, power, zero, strided, seed):
    scale = np.float32(2.0 ** round(3 * exponent) if power else 10.0 ** exponent)
    check("quantize", steps(scale, zero, dtype) | {"dtype": dtype}, reals(seed, scale, *shape), strided=strided)


@pytest.mark.parametrize("scale", [1e-30, 0.003, 0.1, 1.0, 7.7, 1e30])
def test_quantize_divides(scale):
    """Ties and their float32 neighbours: a product with 1 / scale would round some of them elsewhere."""
    ties = (np.arange(-300, 300, 0.5) * np.float64(np.float32(scale))).astype(np.float32)
    x = np.concatenate([ties, np.nextafter(ties, np.float32(np.inf)), np.nextafter(ties, np.float32(-np.inf))])
    check("quantize", steps(scale, 128, "uint8"), x)


@settings(max_examples=30, deadline=None)
@given(shape=shapes, dtype=dtypes, exponent=st.floats(-37, 36), zero=zeros, strided=st.booleans(), seed=seeds)
def test_dequantize(shape, dtype, exponent, zero, strided, seed):
    check("dequantize", steps(10.0 ** exponent, zero, dtype), bytes_of(seed, dtype, *shape), strided=strided)


@pytest.mark.parametrize("dtype", ["uint8", "int8"])
@pytest.mark.parametrize("n", LENGTHS)
def test_lengths(n, dtype):
    x = bytes_of(n, dtype, n)
    check("dequantize", steps(0.37, 3, dtype), x)
    check("quantize", steps(0.37, 3, dtype) | {"dtype": dtype}, reals(n, 0.37, n))
    check("q_table", {}, x, bytes_of(n + 1, dtype, 256))
    for kind in ("q_add", "q_mul"):
        check(kind, PLAIN, bytes_of(n, "uint8", n), bytes_of(n + 1, "uint8", n))


@pytest.mark.parametrize("dtype", ["uint8", "int8"])
def test_every_byte(dtype):
    every = np.arange(256, dtype=np.uint8).view(dtype)
    for zero in (0, 1, 128, 255):
        check("dequantize", steps(0.1, zero, dtype), every)


def test_a_scale_per_channel_and_int32_run_in_numpy():
    more = {"scale": (0.125, 0.25), "zero": (3, 4), "axis": 1}
    check("quantize", more, reals(1, 0.1, 5, 2), native=False)
    check("dequantize", more, bytes_of(1, "uint8", 5, 2), strided=True, native=False)
    check("dequantize", {}, np.arange(-5, 5, dtype=np.int32), native=False)


# ---- sums and products

PLAIN = {"a_scale": 0.5, "a_zero": 120, "b_scale": 0.25, "b_zero": 7, "y_scale": 1.0, "y_zero": 31}


def pair(seed, kind, z, low=0, high=255, power=False):
    """Scales of a, b and a y that is a few times wider or narrower than what comes out."""
    a, b, y = np.random.default_rng(seed).normal(0, 1, 3) * 2
    values = [2.0 ** round(v) for v in (a, b, y)] if power else [np.exp(a - 3), np.exp(b - 3), 0]
    if not power:
        values[2] = (np.hypot(*values[:2]) if kind == "q_add" else values[0] * values[1] * 128) * np.exp(y / 2)
    return {f"{n}_scale": float32(s) for n, s in zip("aby", values, strict=True)} | {
        f"{n}_zero": int(v) for n, v in zip("aby", z, strict=True)} | {"low": min(low, high), "high": max(low, high)}


@st.composite
def broadcasts(draw):
    """Two shapes that broadcast, of rank 0 to 5, also of nothing."""
    shape = draw(st.lists(st.sampled_from([1, 2, 3, 5, 17, 33, 70, 0]), max_size=5).filter(lambda s: np.prod(s) < 20000))
    found = []
    for _ in range(2):
        own = [d if draw(st.booleans()) else 1 for d in shape]
        while own and own[0] == 1 and draw(st.booleans()):
            own.pop(0)
        found.append(tuple(own))
    return found


@pytest.mark.parametrize("kind", ["q_add", "q_mul"])
@settings(max_examples=40, deadline=None)
@given(both=broadcasts(), z=st.tuples(zeros, zeros, zeros), low=zeros, high=zeros, clamped=st.booleans(), strided=st.booleans(),
       seed=seeds)
def test_pair(kind, both, z, low, high, clamped, strided, seed):
    attrs = pair(seed, kind, z, *((low, high) if clamped else ()))
    check(kind, attrs, *(bytes_of(seed + i, "uint8", *s) for i, s in enumerate(both)), strided=strided)


@pytest.mark.parametrize("kind", ["q_add", "q_mul"])
@settings(max_examples=8, deadline=None)
@given(z=st.tuples(zeros, zeros, zeros), power=st.booleans(), seed=seeds)
def test_all_pairs(kind, z, power, seed):
    check(kind, pair(seed, kind, z, power=power), *PAIRS)


@pytest.mark.parametrize("kind", ["q_add", "q_mul"])
@pytest.mark.parametrize("y_scale", [0.6, 1.2, 7.0])
def test_every_rounding_counts(kind, y_scale):
    """Many exact results are ties that float32 cannot hold: another order of the sum, or FMA, sends some elsewhere."""
    a_scale, b_scale = (0.1, 0.1) if kind == "q_add" else (0.7, 0.3)
    attrs = {"a_scale": float32(a_scale), "b_scale": float32(b_scale), "y_scale": float32(y_scale), "a_zero": 9, "b_zero": 77,
             "y_zero": 40}
    check(kind, attrs, *PAIRS)
    c, ra, rb = (np.float64(ops.make(kind, attrs).factors()[n]) for n in ("c", "ra", "rb"))
    a, b = (x.astype(np.float64) for x in PAIRS)
    exact = c + b * rb + a * ra if kind == "q_add" else (a - 9) * (b - 77) * ra + c
    ties = np.abs(exact - np.floor(exact) - 0.5) < 1e-4
    assert ties.mean() > 0.005


@pytest.mark.parametrize("kind", ["q_add", "q_mul"])
def test_rows_that_share_a_vector(kind):
    """The vector is repeated for several rows at a time, and again for the next image; around the longest that is."""
    for rows, n in [(7, 3), (40, 24), (3, 512), (3, 513), (1100, 2), (9, 1)]:
        x, other = bytes_of(n, "uint8", 3, rows, n), bytes_of(n + 1, "uint8", 3, 1, n)
        check(kind, PLAIN, x, other)
        check(kind, PLAIN, other, x)
        check(kind, PLAIN, x, other[0, 0])
        check(kind, PLAIN, x, other, strided=True)


@pytest.mark.parametrize("kind", ["q_add", "q_mul"])
def test_forms(kind):
    """A vector for all pixels, one per image (squeeze and excite), a number per pixel, a number; each on either side."""
    x = bytes_of(1, "uint8", 2, 5, 3, 37)
    for shape in [(37,), (2, 1, 1, 37), (2, 5, 3, 1), (5, 1, 1), (), (1,), (2, 5, 3, 37)]:
        other = bytes_of(2, "uint8", *shape)
        check(kind, PLAIN, x, other)
        check(kind, PLAIN, other, x, strided=True)
    check(kind, PLAIN, x[:, :0], x[:, :0])


@pytest.mark.parametrize("kind", ["q_add", "q_mul"])
def test_saturation_up_to_the_bound_and_numpy_beyond(kind):
    most = 20 if kind == "q_add" else 14
    for exponent, native in [(12, True), (most, True), (most + 1, False), (60, False)]:
        attrs = PLAIN | {"a_scale": 1.0, "b_scale": 1.0, "y_scale": 2.0 ** -exponent}
        assert (ops.make(kind, attrs).largest() < 2 ** 30) == native
        check(kind, attrs, *(x[::7] for x in PAIRS), native=native)


@pytest.mark.parametrize("kind", ["q_add", "q_mul"])
def test_result_over_a_dead_input(kind):
    every = np.arange(256, dtype=np.uint8)
    for shape, other, over in [((4, 37), (4, 37), "ab"), ((4, 37), (37,), "a"), ((37,), (4, 37), "b"), ((300,), (1,), "a")]:
        net = Net()
        a, b = (net.add("q_table", net.input(bytes_of(i, "uint8", *s)), net.constant(every[::-1].copy()))
                for i, s in enumerate((shape, other)))
        y = net.add(kind, a, b, **PLAIN)
        end = net.add("q_table", y, net.constant(every ^ 1))
        (expected,) = ops.make(kind, PLAIN).reference(*(255 - bytes_of(i, "uint8", *s) for i, s in enumerate((shape, other))))
        net.agree(end, expected ^ 1)
        places = net.model(end).plan.storage.places
        assert places[y].root in [places[{"a": a, "b": b}[name]].root for name in over]
    net = Net()
    x = net.add("q_table", net.input(bytes_of(1, "uint8", 5, 70)), net.constant(every))
    y = net.add(kind, x, x, **PLAIN)
    (expected,) = ops.make(kind, PLAIN).reference(*[bytes_of(1, "uint8", 5, 70)] * 2)
    net.agree(net.add("q_table", y, net.constant(every)), expected)


def test_more_loops_than_the_kernel_has_run_in_numpy():
    sizes = [tuple(2 if i % 2 == odd else 1 for i in range(9)) for odd in (0, 1)]
    check("q_add", PLAIN, *(bytes_of(i, "uint8", *s) for i, s in enumerate(sizes)), native=False)


# ---- tables

@settings(max_examples=40, deadline=None)
@given(shape=shapes, x_dtype=dtypes, y_dtype=dtypes, strided=st.booleans(), seed=seeds)
def test_table(shape, x_dtype, y_dtype, strided, seed):
    check("q_table", {}, bytes_of(seed, x_dtype, *shape), bytes_of(seed + 1, y_dtype, 256), strided=strided)


def test_every_entry_of_a_table():
    every = np.arange(256, dtype=np.uint8)
    for table in (every, every[::-1].copy(), bytes_of(1, "uint8", 256), np.where(every == 77, 1, 0).astype(np.uint8)):
        check("q_table", {}, np.concatenate([every, every[::-1], bytes_of(2, "uint8", 1000)]), table)


def test_table_over_its_input():
    every = np.arange(256, dtype=np.uint8)
    net = Net()
    x = net.add("q_table", net.input(bytes_of(1, "uint8", 4, 77)), net.constant(every ^ 3))
    y = net.add("q_table", x, net.constant((every * 5).astype(np.uint8)))
    z = net.add("q_table", y, net.constant(every.view(np.int8)))
    net.agree(z, ((bytes_of(1, "uint8", 4, 77) ^ 3) * 5).astype(np.uint8).view(np.int8))
    places = net.model(z).plan.storage.places
    assert places[x].root == places[y].root != places[z].root


# ---- softmax

@settings(max_examples=40, deadline=None)
@given(shape=shapes.filter(lambda s: s and s[-1]), width=st.sampled_from([2, 40, 200]), exponent=st.floats(-4, 2),
       y_scale=st.sampled_from([1 / 256, 1 / 255, 0.004, 0.3, 2.0, 1e-4, 1.2e-38]), y_zero=zeros, strided=st.booleans(),
       seed=seeds)
def test_softmax(shape, width, exponent, y_scale, y_zero, strided, seed):
    x = np.clip(np.random.default_rng(seed).normal(128, width, shape), 0, 255).astype(np.uint8)
    attrs = {"x_scale": float32(10 ** exponent), "y_scale": float32(y_scale), "y_zero": y_zero}
    check("q_softmax", attrs, x, strided=strided)


@pytest.mark.parametrize("n", [*LENGTHS, 5000])
def test_softmax_lengths(n):
    check("q_softmax", {"x_scale": float32(0.03)}, bytes_of(n, "uint8", 1, n))
    check("q_softmax", {"x_scale": float32(0.003)}, bytes_of(n, "uint8", 6, n))


@pytest.mark.parametrize("rows", [1, 5])
def test_softmax_adds_from_first_to_last(rows):
    """1 / 2 of 255 levels is a tie, unless many small numbers were added before two large ones swallow them."""
    x = np.zeros((rows, 2991), np.uint8)
    x[:, :2] = 200
    attrs = {"x_scale": float32(0.0866), "y_scale": float32(1 / 255.5)}
    ends = [ops.make("q_softmax", attrs).reference(row)[0].max() for row in (x, x[:, ::-1])]
    assert ends == [128, 127]
    check("q_softmax", attrs, x)
    check("q_softmax", attrs, np.ascontiguousarray(x[:, ::-1]))


@pytest.mark.parametrize("n, level", [(2, 7), (2, 40), (2, 126), (6, 40), (6, 100), (50, 3), (50, 41), (50, 201)])
def test_softmax_multiplies_before_it_divides(n, level):
    """All equal, each half a step above `level` but for the roundings on the way: levels / sum first ends on the other side."""
    attrs = {"x_scale": 0.5, "y_scale": float32(1 / ((level + 0.5) * n + 0.25))}
    op = ops.make("q_softmax", attrs)
    e = op.exponentials(n)[255]
    total = np.add.accumulate(np.full(n, e))[-1]
    assert np.rint(e * op.levels() / total) != np.rint(e * (op.levels() / total))
    check("q_softmax", attrs, np.full((2, n), 9, np.uint8))


def test_softmax_over_its_input():
    every = np.arange(256, dtype=np.uint8)
    net = Net()
    x = net.add("q_table", net.input(bytes_of(1, "uint8", 7, 99)), net.constant(every))
    y = net.add("q_softmax", x, x_scale=0.03125)
    z = net.add("q_table", y, net.constant(every))
    net.agree(z, ops.make("q_softmax", {"x_scale": 0.03125}).reference(bytes_of(1, "uint8", 7, 99))[0])
    assert net.model(z).plan.storage.places[x].root == net.model(z).plan.storage.places[y].root


# ---- where bytes lie

def test_concat_and_split_of_bytes_cost_nothing():
    """Channels of a concat's output, and parts of it, at their byte offsets; sums and tables write and read them there."""
    every = np.arange(256, dtype=np.uint8)
    a, b = bytes_of(1, "uint8", 3, 5, 7), bytes_of(2, "uint8", 3, 5, 10)
    net = Net()
    x = net.add("q_table", net.input(a), net.constant(every ^ 5))
    y = net.add("q_add", net.input(b), net.input(b), **PLAIN)
    whole = net.add("concat", x, y, axis=2)
    left, right = net.cut(whole, 1, 9), net.cut(whole, 9, 17)
    z = net.add("q_mul", left, right, **PLAIN)
    real = net.add("dequantize", net.cut(whole, 3, 8), scale=(0.5,), zero=(3,))
    values = np.concatenate([a ^ 5, ops.make("q_add", PLAIN).reference(b, b)[0]], 2)
    net.agree(z, ops.make("q_mul", PLAIN).reference(values[..., 1:9], values[..., 9:])[0])
    net.agree(real, (values[..., 3:8] - np.float32(3)) * np.float32(0.5))
    with kernels.use_isa("scalar"):
        plan = net.model(z, real).plan
    assert [s.kernel for s in plan.steps] == ["q_table", "q_add", "q_mul", "dequantize"]
    (base, *_), ld = [plan.place(whole)[1]], plan.place(whole)[2]
    assert ld == 17 and [plan.place(n)[1:] for n in (x, y, left, right)] == [(base + at, 17) for at in (0, 7, 1, 9)]
