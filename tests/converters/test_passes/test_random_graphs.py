"""Random graphs, written the way an importer of NCHW models writes them, through all passes, checked after each."""

from __future__ import annotations

import copy
import cProfile

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tinynet import reference
from tinynet.converters.passes import PASSES, pack_weights, run_passes
from tinynet.converters.passes.check import check


class Drawn:
    """A graph that grows: every step draws a kind and operands among the tensors of rank 4 made so far."""

    def __init__(self, net, data):
        self.net, self.data = net, data
        self.pool = [net.input(data.draw(st.integers(1, 2)), data.draw(st.integers(1, 4)), 6, 5)]
        self.others: list[str] = []

    def draw(self, strategy):
        return self.data.draw(strategy)

    def one(self):
        return self.draw(st.sampled_from(self.pool))

    def step(self):
        kind = self.draw(st.sampled_from([name for name in dir(self) if name.startswith("add_")]))
        made = getattr(self, kind)(self.one())
        if made is not None:
            (self.pool if len(self.net.shape(made)) == 4 else self.others).append(made)

    def add_conv(self, x):
        return self.net.conv_nchw(x, self.draw(st.integers(1, 4)), self.draw(st.integers(1, 3)), pads=(1, 1, 1, 1))

    def add_depthwise(self, x):
        c = self.net.shape(x)[1]
        return self.net.to_nchw(
            self.net.op("depthwise_conv2d", self.net.to_nhwc(x), self.net.weights(1, 1, c), self.net.weights(c))
        )

    def add_batch_norm(self, x):
        c = self.net.shape(x)[1]
        return self.net.to_nchw(
            self.net.op("batch_norm", self.net.to_nhwc(x), self.net.weights(c), self.net.weights(c))
        )

    def add_pool(self, x):
        return self.net.to_nchw(self.net.op("max_pool2d", self.net.to_nhwc(x), kernel=(2, 2), pads=(1, 1, 0, 0)))

    def add_unary(self, x):
        return self.net.op(self.draw(st.sampled_from(["relu", "tanh", "hard_swish", "neg"])), x)

    def add_binary(self, x):
        y = self.one()
        if self.net.shape(x) == self.net.shape(y):
            return self.net.op(self.draw(st.sampled_from(["add", "sub", "maximum"])), x, y)
        return self.net.op(
            "mul", x, self.net.weights(*self.draw(st.sampled_from([(1,), (self.net.shape(x)[1], 1, 1)])))
        )

    def add_gate(self, x):
        axes = self.draw(st.sampled_from([(2, 3), (1,), (3,)]))
        return self.net.op("mul", x, self.net.op("sigmoid", self.net.op("reduce_mean", x, axes=axes)))

    def add_concat(self, x):
        axis = self.draw(st.integers(1, 3))
        y = self.one()
        fits = all(
            a == b for i, (a, b) in enumerate(zip(self.net.shape(x), self.net.shape(y), strict=True)) if i != axis
        )
        return self.net.op("concat", x, y if fits else x, axis=axis) if self.net.shape(x)[axis] < 12 else None

    def add_slice(self, x):
        shape = self.net.shape(x)
        begin = tuple(self.draw(st.integers(0, d - 1)) for d in shape)
        step = tuple(self.draw(st.sampled_from([1, 1, 2, -1])) for _ in shape)
        end = tuple(d if s > 0 else -1 for d, s in zip(shape, step, strict=True))
        return self.net.op("slice", x, begin=begin, end=end, step=step)

    def add_pad(self, x):
        begin = (0, *(self.draw(st.integers(0, 1)) for _ in range(3)))
        return self.net.op(
            "pad", x, begin=begin, end=(0, 0, 1, 0), mode=self.draw(st.sampled_from(["constant", "edge"]))
        )

    def add_softmax(self, x):
        return self.net.op("softmax", x, axis=self.draw(st.integers(-4, 3)))

    def add_transpose(self, x):
        return self.net.op("transpose", x, perm=(0, *self.draw(st.permutations((1, 2, 3)))))

    def add_shuffle(self, x):
        n, c, h, w = self.net.shape(x)
        if c % 2:
            return None
        y = self.net.op("transpose", self.net.op("reshape", x, shape=(n, 2, c // 2, h, w)), perm=(0, 2, 1, 3, 4))
        return self.net.op("reshape", y, shape=(n, c, h, w))

    def add_joined(self, x):
        n, c, h, w = self.net.shape(x)
        return self.net.op(
            "reshape",
            self.net.op("softmax", self.net.op("reshape", x, shape=(n, c, h * w)), axis=1),
            shape=(n, c, h, w),
        )

    def add_swapped(self, x):
        n, c, h, w = self.net.shape(x)
        return self.net.op("reshape", x, shape=(n, h, w, c))

    def add_flat(self, x):
        shape = self.net.shape(x)
        size = int(np.prod(shape[1:]))
        y = self.net.op(
            self.draw(st.sampled_from(["relu", "abs"])), self.net.op("reshape", x, shape=(shape[0], size))
        )
        return self.net.op("dense", y, self.net.weights(3, size), self.net.weights(3))

    def add_reduced(self, x):
        return self.net.op("reduce_max", x, axes=(self.draw(st.integers(0, 3)),), keepdims=False)


@settings(
    max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(st.data())
def test_every_pass_keeps_the_values(tools, data):
    net_class, _, _ = tools
    drawn = Drawn(net_class(), data)
    for _ in range(data.draw(st.integers(2, 12))):
        drawn.step()
    found = drawn.pool[1:] + drawn.others
    if not found:
        return
    outputs = data.draw(st.lists(st.sampled_from(found), min_size=1, max_size=3, unique=True))
    graph = drawn.net.graph(*outputs)
    graph.inputs = [name for name in graph.inputs if name in graph.tensors]
    rng = np.random.default_rng(0)
    inputs = {name: rng.standard_normal(graph.tensors[name].shape).astype(np.float32) for name in graph.inputs}
    want = reference.run(graph, inputs)
    for name, apply in [*PASSES.items(), *PASSES.items(), ("pack weights", pack_weights.apply)]:
        apply(graph)
        check(graph)
        assert set(graph.outputs) == set(want), name
        for output, value in reference.run(graph, inputs).items():
            scale = max(float(np.abs(want[output]).max(initial=0)), 1e-3)
            np.testing.assert_allclose(
                value, want[output], rtol=0, atol=1e-5 * scale, err_msg=f"{output} after {name}"
            )


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(st.data())
def test_running_again_changes_nothing_and_names_are_the_same(tools, data):
    """The rounds end by themselves, and converting twice gives the same graph."""
    net_class, _, _ = tools
    drawn = Drawn(net_class(), data)
    for _ in range(data.draw(st.integers(2, 12))):
        drawn.step()
    graph = drawn.net.graph(drawn.pool[-1])
    twin = copy.deepcopy(graph)
    log: list[tuple[str, int]] = []
    run_passes(graph, lambda name, changes: log.append((name, changes)))
    assert not any(changes for _, changes in log[-len(PASSES) - 1 : -1])
    run_passes(twin)
    assert [(n.op, n.name, n.inputs, n.attrs) for n in graph.nodes] == [
        (n.op, n.name, n.inputs, n.attrs) for n in twin.nodes
    ]


def test_work_grows_linearly_with_the_nodes(tools):
    """Four times the nodes cost about four times the function calls: a count, which no other load disturbs."""
    net_class, _, _ = tools

    def calls(blocks):
        net = net_class()
        x = net.input(1, 3, 8, 8)
        y = net.conv_nchw(x, 8)
        for _ in range(blocks):
            z = net.op("relu", net.conv_nchw(y, 8, 3, pads=(1, 1, 1, 1)))
            y = net.op("relu", net.op("add", y, net.conv_nchw(z, 8)))
        graph = net.graph(y)
        profile = cProfile.Profile()
        profile.runcall(run_passes, graph)
        return sum(entry.callcount for entry in profile.getstats()), graph

    small, _ = calls(15)
    large, graph = calls(60)
    assert {node.op for node in graph.nodes} == {"conv2d", "transpose"}
    assert large < 6 * small
