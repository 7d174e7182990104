"""A small graph builder and the rule that every pass has to keep: the same graph, computed differently."""

from __future__ import annotations

import copy
from collections import Counter

import numpy as np
import pytest

from tinynet import reference
from tinynet.converters.passes.check import check
from tinynet.converters.passes.edit import Editor
from tinynet.graph import Graph, Tensor


class Net:
    """net.op("relu", x) returns the name of the result; net.graph(y) closes the graph."""

    def __init__(self, seed: int = 0):
        self._graph = Graph()
        self._ed = Editor(self._graph)
        self.rng = np.random.default_rng(seed)

    def input(self, *shape: int, dtype: str = "float32") -> str:
        name = self._ed.unique("x")
        self._graph.add(Tensor(name, tuple(shape), dtype))
        self._ed.users[name] = []
        self._graph.inputs.append(name)
        return name

    def const(self, value, dtype: str = "float32") -> str:
        return self._ed.constant(np.asarray(value, dtype), "c")

    def weights(self, *shape: int, low: float | None = None, high: float = 1.0) -> str:
        value = self.rng.standard_normal(shape) if low is None else self.rng.uniform(low, high, shape)
        return self.const(value)

    def op(self, kind: str, *inputs, **attrs) -> str:
        names = [i if isinstance(i, str) else self.const(i) for i in inputs]
        return self._ed.emit(kind, names, attrs, stem=kind)

    def shape(self, name: str) -> tuple[int, ...]:
        return self._graph.tensors[name].shape

    def to_nhwc(self, x: str) -> str:
        rank = len(self.shape(x))
        return self.op("transpose", x, perm=(0, *range(2, rank), 1))

    def to_nchw(self, x: str) -> str:
        rank = len(self.shape(x))
        return self.op("transpose", x, perm=(0, rank - 1, *range(1, rank - 1)))

    def conv(self, x: str, out: int, kernel: int = 1, **attrs) -> str:
        """conv2d on NHWC."""
        c = self.shape(x)[3] // attrs.get("groups", 1)
        return self.op("conv2d", x, self.weights(out, kernel, kernel, c), self.weights(out), **attrs)

    def conv_nchw(self, x: str, out: int, kernel: int = 1, **attrs) -> str:
        """conv2d as an importer of NCHW models writes it."""
        return self.to_nchw(self.conv(self.to_nhwc(x), out, kernel, **attrs))

    def graph(self, *outputs: str) -> Graph:
        self._graph.outputs = list(outputs)
        self._ed.outputs = set(outputs)
        self._ed.finish()
        return self._graph


def kinds(graph: Graph) -> Counter:
    return Counter(node.op for node in graph.nodes)


def draw_inputs(graph: Graph, seed: int = 1) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {
        name: (3 * rng.standard_normal(graph.tensors[name].shape)).astype(graph.tensors[name].dtype)
        for name in graph.inputs
    }


def rewritten(apply, graph: Graph, tolerance: float = 1e-5) -> Graph:
    """`graph` after the pass, checked: well formed before and after, same interface, same values."""
    check(graph)
    inputs = draw_inputs(graph)
    expected = reference.run(graph, inputs)
    result = copy.deepcopy(graph)
    apply(result)
    check(result)
    assert result.inputs == graph.inputs and result.outputs == graph.outputs
    found = reference.run(result, inputs)
    for name, want in expected.items():
        assert found[name].shape == want.shape and found[name].dtype == want.dtype
        scale = max(float(np.abs(want).max(initial=0)), 1e-30)
        np.testing.assert_allclose(found[name], want, rtol=0, atol=tolerance * scale, err_msg=name)
    return result


@pytest.fixture
def net():
    return Net()


@pytest.fixture
def tools():
    """(Net, rewritten, kinds): for tests that build many graphs."""
    return Net, rewritten, kinds
