"""Attention as exporters spell it costs no copies: queries, keys and values come apart, transposes and factors are absorbed."""

from __future__ import annotations

import numpy as np
import pytest

from tinynet.converters.passes import fuse_matmul, run_passes, split_dense

N, L, H, D = 2, 7, 3, 4


def projected(net, *readers, width=36, **attrs):
    """dense(x) and slices of 12 columns each; `readers`: what is made of each slice."""
    x = net.input(N, L, 5)
    y = net.op("dense", x, net.weights(width, 5), net.weights(width), **attrs)
    cuts = [net.op("slice", y, begin=(0, 0, 12 * i), end=(N, L, 12 * i + 12), step=(1, 1, 1)) for i in range(len(readers))]
    return [read(cut) for read, cut in zip(readers, cuts, strict=True)]


def heads(net):
    return lambda name: net.op("reshape", name, shape=(N, L, H, D))


def test_a_dense_layer_is_split_into_what_is_made_of_it(net, tools):
    _, rewritten, kinds = tools
    outs = projected(net, heads(net), lambda n: net.op("transpose", n, perm=(0, 2, 1)), heads(net))
    graph = rewritten(split_dense.apply, net.graph(*outs))
    assert kinds(graph) == {"dense": 3, "reshape": 2, "transpose": 1}


@pytest.mark.parametrize("case", ["read in place", "one part", "activation", "overlap", "whole", "rows"])
def test_dense_layers_that_stay_whole(net, tools, case):
    _, rewritten, kinds = tools
    if case == "rows":
        y = net.op("dense", net.input(N, L, 5), net.weights(12, 5), net.weights(12))
        cuts = [net.op("slice", y, begin=(0, a, 0), end=(N, b, 12), step=(1, 1, 1)) for a, b in ((0, 3), (3, 7))]
        outs = [net.op("reshape", c, shape=(N, net.shape(c)[1], H, D)) for c in cuts]
    elif case == "overlap":
        y = net.op("dense", net.input(N, L, 5), net.weights(20, 5), net.weights(20))
        cuts = [net.op("slice", y, begin=(0, 0, a), end=(N, L, a + 12), step=(1, 1, 1)) for a in (0, 8)]
        outs = [heads(net)(c) for c in cuts]
    elif case == "whole":
        x = net.input(N, L, 5)
        y = net.op("dense", x, net.weights(24, 5), net.weights(24))
        cuts = [net.op("slice", y, begin=(0, 0, a), end=(N, L, a + 12), step=(1, 1, 1)) for a in (0, 12)]
        outs = [heads(net)(c) for c in cuts] + [net.op("exp", y)]
    else:
        readers = {"read in place": (heads(net), lambda n: net.op("exp", n)), "one part": (heads(net),),
                   "activation": (heads(net), heads(net))}[case]
        outs = projected(net, *readers, **({"activation": "relu"} if case == "activation" else {}))
    graph = rewritten(split_dense.apply, net.graph(*outs))
    assert kinds(graph)["dense"] == 1


def keys(net, k, scale):
    """[N, L, D H] -> [N, H, D, L] as scaled_dot_product_attention is exported after moves are shortened."""
    k = net.op("mul", net.op("transpose", k, perm=(0, 2, 1)), np.float32(scale))
    return net.op("reshape", k, shape=(N, H, D, L))


def test_a_factor_and_a_transpose_reach_the_product_through_a_reshape(net, tools):
    _, rewritten, kinds = tools
    q, k = net.input(N, H, L, D), net.input(N, L, H * D)
    graph = rewritten(fuse_matmul.apply, net.graph(net.op("matmul", q, keys(net, k, 0.5))))
    assert kinds(graph) == {"reshape": 1, "matmul": 1}
    (product,) = (n for n in graph.nodes if n.op == "matmul")
    assert product.attrs == {"perm_b": (0, 2, 3, 1), "alpha": 0.5}


@pytest.mark.parametrize("read", ["scaled", "operand"])
def test_what_others_read_stays_before_the_reshape(net, tools, read):
    _, rewritten, kinds = tools
    q, k = net.input(N, H, L, D), net.input(N, L, H * D)
    scaled = net.op("mul", net.op("transpose", k, perm=(0, 2, 1)), np.float32(2))
    operand = net.op("reshape", scaled, shape=(N, H, D, L))
    other = net.op("exp", scaled if read == "scaled" else operand)
    graph = rewritten(fuse_matmul.apply, net.graph(net.op("matmul", q, operand), other))
    assert kinds(graph) == {"transpose": 1, "mul": 1, "reshape": 1, "matmul": 1, "exp": 1}


def test_a_whole_block_moves_nothing(net, tools):
    """Projection, heads, scaled products on both sides, softmax, heads joined again."""
    _, rewritten, kinds = tools

    def turned(name):
        return net.op("transpose", net.op("reshape", name, shape=(N, L, H, D)), perm=(0, 2, 1, 3))

    q, k, v = projected(net, turned, lambda n: keys(net, n, 0.5), turned)
    p = net.op("softmax", net.op("matmul", net.op("mul", q, np.float32(0.7)), k), axis=-1)
    y = net.op("reshape", net.op("transpose", net.op("matmul", p, v), perm=(0, 2, 1, 3)), shape=(N, L, H * D))
    graph = rewritten(run_passes, net.graph(net.op("dense", y, net.weights(6, 12), net.weights(6))))
    assert set(kinds(graph)) == {"dense", "reshape", "attention"} and kinds(graph)["dense"] == 4
    (attention,) = (n for n in graph.nodes if n.op == "attention")
    assert attention.attrs["alpha"] == pytest.approx(0.35)
