"""Group normalisation as exporters spell it: instance normalisation of [N, G, L]."""

from __future__ import annotations

import pytest

from tinynet.converters.passes import group_norms, run_passes


def spelled(net, x, groups, order=(0, 2, 1)):
    """reshape, instance normalisation as the importer writes it, reshape."""
    shape = net.shape(x)
    y = net.op("reshape", x, shape=(shape[0], groups, 24 * 35 // groups))
    y = net.op("group_norm", net.op("transpose", y, perm=order), net.weights(groups), net.weights(groups), groups=groups)
    return net.op("reshape", net.op("transpose", y, perm=order), shape=shape)


@pytest.mark.parametrize("groups", [1, 4, 24])
def test_it_is_normalised_where_it_lies(net, tools, groups):
    _, rewritten, kinds = tools
    x = net.input(2, 24, 5, 7)
    graph = rewritten(group_norms.apply, net.graph(spelled(net, x, groups)))
    assert kinds(graph) == {"transpose": 2, "group_norm": 1}
    (norm,) = (n for n in graph.nodes if n.op == "group_norm")
    assert graph.tensors[norm.inputs[0]].shape == (2, 5, 7, 24) and norm.attrs["groups"] == groups


def test_between_convolutions_nothing_is_transposed(net, tools):
    _, rewritten, kinds = tools
    x = net.conv_nchw(net.to_nchw(net.input(2, 5, 7, 3)), 24)
    y = net.op("mul", spelled(net, x, 4), net.weights(24, 1, 1))
    graph = rewritten(run_passes, net.graph(net.to_nhwc(net.conv_nchw(net.op("relu", y), 6))))
    assert "transpose" not in kinds(graph) and kinds(graph)["group_norm"] == 1


@pytest.mark.parametrize("case", ["groups across pixels", "every fourth channel", "read between", "kept apart"])
def test_what_is_no_group_normalisation_stays(net, tools, case):
    _, rewritten, kinds = tools
    x = net.input(2, 24, 5, 7)
    if case == "groups across pixels":            # 7 does not divide 24 channels: each column has pieces of several
        graph = net.graph(spelled(net, x, 7))
    elif case == "every fourth channel":
        y = net.op("transpose", net.op("reshape", x, shape=(2, 6, 4, 35)), perm=(0, 1, 3, 2))
        y = net.op("group_norm", net.op("reshape", y, shape=(2, 210, 4)), net.weights(4), net.weights(4), groups=4)
        y = net.op("transpose", net.op("reshape", y, shape=(2, 6, 35, 4)), perm=(0, 1, 3, 2))
        graph = net.graph(net.op("reshape", y, shape=(2, 24, 5, 7)))
    else:
        y = net.op("transpose", net.op("reshape", x, shape=(2, 4, 210)), perm=(0, 2, 1))
        y = net.op("group_norm", y, net.weights(4), net.weights(4), groups=4)
        back = net.op("reshape", net.op("transpose", y, perm=(0, 2, 1)), shape=(2, 24, 5, 7))
        graph = net.graph(back, net.op("exp", y)) if case == "read between" else net.graph(net.op("exp", y))
    count = kinds(graph)
    assert kinds(rewritten(group_norms.apply, graph)) == count
