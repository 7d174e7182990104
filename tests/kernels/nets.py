"""Small networks built by hand, and one way to run them on every instruction set level and thread count."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any
from unittest import mock

import bounds
import numpy as np
from hypothesis import strategies as st

from tinynet import kernels, ops, reference
from tinynet.builder import MACS_PER_NANOSECOND
from tinynet.graph import Graph, Node, Tensor
from tinynet.model import Model
from tinynet.plan import SPLIT_NANOSECONDS

THREADS = (1, 2, 3)
# Dtypes of which there are kernels that read and write rows that lie apart.
STRIDED = ("float32", "uint8", "int8")
SPECIAL = np.array([0.0, -0.0, np.nan, np.inf, -np.inf, 1e-45, -1e-40, 1.1754944e-38, 3.4028235e38, -3.4028235e38, 1.0, -1.0,
                    0.5, -2.5, 3.0, -3.0, 88.7, -88.0, 104.5, -104.0], np.float32)

# Either side of every vector length, panel and tile width; odd numbers between.
channels = st.one_of(st.integers(1, 20), st.sampled_from([15, 16, 17, 31, 32, 33, 47, 48, 49, 63, 64, 65, 70]))
seeds = st.integers(0, 2 ** 32 - 1)


def normal(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape, np.float32)


def with_specials(seed: int, *shape: int, share: float = 0.1) -> np.ndarray:
    """Normal numbers among which some are NaN, infinite, denormal, huge."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal(shape, np.float32) * np.float32(4)
    return np.where(rng.random(shape) < share, rng.choice(SPECIAL, shape), x).astype(np.float32)


def with_non_finite(seed: int, *shape: int) -> np.ndarray:
    """Normal numbers and one each of NaN, inf and -inf at random places."""
    x = normal(seed, *shape)
    places = np.random.default_rng(seed).integers(0, x.size, 3)
    x.reshape(-1)[places] = [np.nan, np.inf, -np.inf]
    return x


@contextlib.contextmanager
def splitting(everything: bool = True) -> Iterator[None]:
    """Plans made inside give every step to all threads, however small it is, and wait until they have come; or no step."""
    with mock.patch("tinynet.plan.SPLIT_NANOSECONDS", -1 if everything else 10 ** 9), mock.patch("tinynet.plan.PATIENCE", 1e9):
        yield


class Net:
    """A graph in the making, and the arrays that are fed to it.

    `strided`: inputs of dtypes among STRIDED are channels inside wider tensors, and so is what `agree` looks at, wherever the
    kind can.
    """

    def __init__(self, strided: bool = False):
        self.graph = Graph()
        self.feed: dict[str, np.ndarray] = {}
        self.strided = strided

    def input(self, array: np.ndarray) -> str:
        if self.strided and array.ndim and array.size and array.dtype.name in STRIDED:
            # Five more channels, three in what `agree` shows: no two row lengths are equal by chance.
            filler = np.full((*array.shape[:-1], 5), 1e9 if array.dtype == np.float32 else 99, array.dtype)
            name = self._input(np.concatenate([filler[..., :1], array, filler[..., 1:]], -1))
            return self.cut(name, 1, 1 + array.shape[-1])
        return self._input(array)

    def _input(self, array: np.ndarray) -> str:
        name = self._tensor(f"in{len(self.graph.inputs)}", array.shape, array.dtype.name)
        self.graph.inputs.append(name)
        self.feed[name] = array
        return name

    def _tensor(self, name: str, shape: tuple[int, ...], dtype: str, data: Any = None) -> str:
        return self.graph.add(Tensor(name, tuple(shape), dtype, data)).name

    def shape(self, name: str) -> tuple[int, ...]:
        return self.graph.tensors[name].shape

    def constant(self, array: np.ndarray) -> str:
        return self._tensor(f"c{len(self.graph.tensors)}", array.shape, array.dtype.name, array)

    def add(self, kind: str, *inputs: str, **attrs: Any) -> str:
        tensors = self.graph.tensors
        (spec,) = ops.make(kind, attrs).infer(*(ops.Spec(tensors[n].shape, tensors[n].dtype) for n in inputs))
        name = self._tensor(f"{kind}{len(self.graph.nodes)}", spec.shape, spec.dtype)
        self.graph.nodes.append(Node(kind, name, list(inputs), [name], attrs))
        return name

    def cut(self, name: str, first: int, last: int, axis: int = -1) -> str:
        """The slice [first, last) of one axis."""
        shape = self.shape(name)
        begin, end = [0] * len(shape), list(shape)
        begin[axis], end[axis] = first, last
        return self.add("slice", name, begin=tuple(begin), end=tuple(end), step=(1,) * len(shape))

    def _negative(self, x: str) -> str:
        """-x, modulo 256 if these are bytes, by a native kernel."""
        dtype = self.graph.tensors[x].dtype
        if dtype == "float32":
            return self.add("neg", x)
        return self.add("q_table", x, self.constant((-np.arange(256)).astype(np.uint8).view(dtype)))

    def model(self, *outputs: str, threads: int = 1, split: bool = True, **more: Any) -> Model:
        """split: give every step to all threads, however small it is."""
        if outputs:
            self.graph.outputs = list(outputs)
        with splitting(split):
            return Model(self.graph, threads=threads, **more)

    def reference(self, *outputs: str) -> dict[str, np.ndarray]:
        self.graph.outputs = list(outputs)
        return reference.run(self.graph, self.feed)

    def agree(self, name: str, expected: np.ndarray, bound: Any = 0.0, native: bool = True) -> None:
        """Tensor `name` is `expected` on every level and thread count, with the same bits for every thread count."""
        shown, left, dtype = name, 0, self.graph.tensors[name].dtype
        if self.strided and expected.ndim and expected.size and dtype in STRIDED:
            left, before = 2, len(self.graph.nodes)
            sides = [self._negative(self._input(np.full((*expected.shape[:-1], n), 7, dtype))) for n in (left, 1)]
            # They are there when `name` is written.
            self.graph.nodes = self.graph.nodes[before:] + self.graph.nodes[:before]
            shown = self.add("concat", sides[0], name, sides[1], axis=expected.ndim - 1)
        integers = any(t.dtype in ("uint8", "int8") for t in self.graph.tensors.values())
        for level in kernels.available(integers):
            first = None
            for threads in THREADS:
                where = f"{name} on {level} with {threads} threads"
                with kernels.use_isa(level):
                    model = self.model(shown, threads=threads)
                assert not (native and model.plan.python_steps), f"{where}: runs in numpy"
                found = model.run(self.feed)[shown]
                if left:
                    found, sides = found[..., left:-1], np.delete(found, np.s_[left:-1], -1)
                    assert (sides == np.array(-7).astype(dtype)).all(), f"{where}: neighbours overwritten"
                bounds.compare(found, expected, bound, where)
                first = found if first is None else first
                assert found.tobytes() == first.tobytes(), f"{where}: other bits than one thread"


def dense_of(splits: float) -> Net:
    """One step that takes one thread about so many times SPLIT_NANOSECONDS."""
    net = Net()
    rows = max(1, int(splits * MACS_PER_NANOSECOND * SPLIT_NANOSECONDS / 64 / 64))
    net.graph.outputs = [net.add("dense", net.input(normal(0, rows, 64)), net.constant(normal(1, 64, 64)),
                                 net.constant(normal(2, 64)))]
    return net
