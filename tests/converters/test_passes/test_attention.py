"""Products of computed tensors: transposes, factors and softmax join them."""

from __future__ import annotations

import pytest

from tinynet.converters.passes import fuse_attention, fuse_matmul, run_passes


def both(graph):
    return fuse_matmul.apply(graph) + fuse_attention.apply(graph)


def heads(net, tools, scale="after", how="mul"):
    """[B, S, H, D] inputs as exporters write them."""
    q, k, v = (net.input(2, n, 3, 4) for n in (5, 6, 6))
    q, v = (net.op("transpose", x, perm=(0, 2, 1, 3)) for x in (q, v))
    k = net.op("transpose", net.op("transpose", k, perm=(0, 2, 1, 3)), perm=(0, 1, 3, 2))
    factor = 0.5 if how == "mul" else 2.0
    if scale == "before":
        q, k = net.op(how, q, factor), net.op(how, k, factor)
    s = net.op("matmul", q, k)
    if scale == "after":
        s = net.op(how, s, factor)
    y = net.op("transpose", net.op("matmul", net.op("softmax", s), v), perm=(0, 2, 1, 3))
    return net.graph(net.op("reshape", y, shape=(2, 5, 12)))


@pytest.mark.parametrize("scale", ["before", "after", "nowhere"])
@pytest.mark.parametrize("how", ["mul", "div"])
def test_attention_of_heads(net, tools, scale, how):
    _, rewritten, kinds = tools
    graph = rewritten(both, heads(net, tools, scale, how))
    assert kinds(graph) == {"attention": 1, "reshape": 1}
    (node,) = [n for n in graph.nodes if n.op == "attention"]
    assert node.attrs.get("alpha", 1.0) == {"before": 0.25, "after": 0.5, "nowhere": 1.0}[scale]
    assert node.attrs["perm_k"] == (0, 2, 3, 1) and node.attrs["perm_y"] == (0, 2, 1, 3)


def test_all_passes_together(net, tools):
    _, rewritten, kinds = tools
    assert kinds(rewritten(run_passes, heads(net, tools))) == {"attention": 1, "reshape": 1}


def test_the_constant_may_stand_first(net, tools):
    _, rewritten, kinds = tools
    y = net.op("mul", 0.5, net.op("matmul", net.input(2, 3), net.input(3, 4)))
    assert kinds(rewritten(fuse_matmul.apply, net.graph(y))) == {"matmul": 1}


@pytest.mark.parametrize("build", [
    lambda net, a, b: net.op("matmul", net.op("transpose", a, perm=(1, 0)), b),              # a's columns would lie apart
    lambda net, a, b: net.op("transpose", net.op("matmul", a, b), perm=(1, 0)),              # and the result's
    lambda net, a, b: net.op("mul", net.op("matmul", a, b), [1.0, 2.0, 3.0, 4.0]),           # no single factor
    lambda net, a, b: net.op("mul", net.op("matmul", a, b), [[[2.0]]]),                      # that changes the rank
    lambda net, a, b: net.op("div", 2.0, net.op("matmul", a, b)), lambda net, a, b: net.op("div", net.op("matmul", a, b), 0.0),
    lambda net, a, b: net.op("mul", net.op("matmul", a, b), 2.0, activation="relu")])
def test_what_stays(net, tools, build):
    _, rewritten, kinds = tools
    a, b = net.input(4, 4), net.input(4, 4)
    graph = net.graph(build(net, a, b))
    if any(n.op == "div" for n in graph.nodes):
        assert fuse_matmul.apply(graph) == 0         # infinities: nothing to compare
    else:
        assert kinds(rewritten(fuse_matmul.apply, graph)) == kinds(graph)


def test_what_others_read_stays(net, tools):
    _, rewritten, kinds = tools
    k = net.op("transpose", net.input(2, 6, 4), perm=(0, 2, 1))
    s = net.op("matmul", net.input(2, 5, 4), k)
    p = net.op("softmax", net.op("mul", s, 0.5))
    graph = rewritten(both, net.graph(net.op("matmul", p, net.input(2, 6, 3)), s, net.op("neg", k)))
    assert kinds(graph) == {"transpose": 1, "matmul": 2, "mul": 1, "softmax": 1, "neg": 1}
    net2 = tools[0]()
    p = net2.op("softmax", net2.op("matmul", net2.input(2, 5, 4), net2.input(2, 4, 6)), axis=1)
    assert kinds(rewritten(both, net2.graph(net2.op("matmul", p, net2.input(2, 6, 3)))))["attention"] == 0


def test_integers_have_no_factor(net, tools):
    _, rewritten, kinds = tools
    y = net.op("matmul", net.input(3, 4, dtype="int64"), net.input(4, 5, dtype="int64"))
    graph = net.graph(net.op("mul", y, net.const(3, "int64")))
    assert kinds(rewritten(both, graph)) == {"matmul": 1, "mul": 1}
