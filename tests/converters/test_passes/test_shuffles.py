from __future__ import annotations

import pytest

from tinynet.converters.passes import run_passes, shuffles


def spelled(net, x, first, perm, last):
    return net.op("reshape", net.op("transpose", net.op("reshape", x, shape=first), perm=perm), shape=last)


PIXEL = {
    "crd NCHW": ((1, 12, 4, 5), (1, 3, 2, 2, 4, 5), (0, 1, 4, 2, 5, 3), (1, 3, 8, 10), "crd"),
    "crd NCHW one channel": ((1, 4, 4, 5), (1, 1, 2, 2, 4, 5), (0, 1, 4, 2, 5, 3), (1, 1, 8, 10), None),
    "dcr NCHW": ((2, 12, 4, 5), (2, 2, 2, 3, 4, 5), (0, 3, 4, 1, 5, 2), (2, 3, 8, 10), "dcr"),
    "batch in the way": ((2, 12, 4, 5), (2, 3, 2, 2, 4, 5), (0, 1, 4, 2, 5, 3), (2, 3, 8, 10), "crd"),
    "batch joined": ((2, 12, 4, 5), (6, 2, 2, 4, 5), (0, 3, 1, 4, 2), (2, 3, 8, 10), "crd"),
    "dcr NHWC": ((1, 4, 5, 12), (1, 4, 5, 2, 2, 3), (0, 1, 3, 2, 4, 5), (1, 8, 10, 3), "dcr"),
    "crd NHWC": ((1, 4, 5, 12), (1, 4, 5, 3, 2, 2), (0, 1, 4, 2, 5, 3), (1, 8, 10, 3), "crd"),
}


@pytest.mark.parametrize("case", PIXEL)
def test_pixel_shuffle(net, tools, case):
    _, rewritten, kinds = tools
    shape, first, perm, last, mode = PIXEL[case]
    graph = rewritten(shuffles.apply, net.graph(net.op("relu", spelled(net, net.input(*shape), first, perm, last))))
    assert kinds(graph)["depth_to_space"] == 1 and "reshape" not in kinds(graph)
    if mode:
        assert next(n for n in graph.nodes if n.op == "depth_to_space").attrs["mode"] == mode


def test_something_like_a_pixel_shuffle_stays(net, tools):
    _, rewritten, kinds = tools
    x = net.input(1, 12, 4, 4)
    graph = rewritten(
        shuffles.apply, net.graph(spelled(net, x, (1, 3, 2, 2, 4, 4), (0, 1, 5, 2, 4, 3), (1, 3, 8, 8)))
    )
    assert kinds(graph) == {"reshape": 2, "transpose": 1}


def test_space_to_depth(net, tools):
    _, rewritten, kinds = tools
    x = net.input(2, 3, 4, 6)
    y = spelled(net, x, (2, 3, 2, 2, 3, 2), (0, 3, 5, 1, 2, 4), (2, 12, 2, 3))
    assert kinds(rewritten(shuffles.apply, net.graph(y)))["space_to_depth"] == 1


CHANNEL = {
    "NCHW": ((1, 12, 4, 5), (1, 3, 4, 4, 5), (0, 2, 1, 3, 4), 2),
    "NCHW in three dimensions": ((1, 12, 4, 5), (3, 4, 20), (1, 0, 2), 2),
    "batch": ((2, 12, 4, 5), (2, 3, 4, 4, 5), (0, 2, 1, 3, 4), 2),
    "NHWC": ((1, 4, 5, 12), (1, 4, 5, 3, 4), (0, 1, 2, 4, 3), 0),
    "vector": ((2, 12), (2, 3, 4), (0, 2, 1), 0),
}


@pytest.mark.parametrize("case", CHANNEL)
def test_channel_shuffle(net, tools, case):
    _, rewritten, kinds = tools
    shape, first, perm, transposes = CHANNEL[case]
    graph = rewritten(shuffles.apply, net.graph(spelled(net, net.input(*shape), first, perm, shape)))
    assert kinds(graph) == {"channel_shuffle": 1, **({"transpose": transposes} if transposes else {})}
    assert next(n for n in graph.nodes if n.op == "channel_shuffle").attrs["groups"] == 3


def test_a_shuffle_that_others_look_into_stays(net, tools):
    _, rewritten, kinds = tools
    middle = net.op(
        "transpose", net.op("reshape", net.input(1, 6, 4, 4), shape=(1, 2, 3, 4, 4)), perm=(0, 2, 1, 3, 4)
    )
    graph = rewritten(shuffles.apply, net.graph(net.op("reshape", middle, shape=(1, 6, 4, 4)), middle))
    assert "channel_shuffle" not in kinds(graph)


@pytest.mark.parametrize("take, step", [("odd", 2), ("half", 1)])
def test_halves_of_a_shuffle_are_slices(net, tools, take, step):
    """FastestDet: [C/2, 2] transposed and one index taken; or [2, C/2] without a real transpose."""
    _, rewritten, kinds = tools
    x = net.conv_nchw(net.input(1, 3, 6, 6), 8)
    if take == "odd":
        y = spelled(net, x, (4, 2, 36), (1, 0, 2), (2, 1, 4, 6, 6))
    else:
        y = spelled(net, x, (2, 4, 36), (0, 2, 1), (2, 36, 4))
    rank = len(net.shape(y))
    parts = []
    for j in (0, 1):
        part = net.op("slice", y, begin=(j,) + (0,) * (rank - 1), end=(j + 1, *net.shape(y)[1:]), step=(1,) * rank)
        if take == "half":
            part = net.op("transpose", net.op("reshape", part, shape=(1, 36, 4)), perm=(0, 2, 1))
        parts.append(net.op("reshape", part, shape=(1, 4, 6, 6)))
    graph = rewritten(run_passes, net.graph(net.conv_nchw(parts[0], 4), net.conv_nchw(parts[1], 4)))
    assert kinds(graph)["transpose"] == 3  # input and outputs of the graph
    slices = [node for node in graph.nodes if node.op == "slice"]
    assert [node.attrs["step"] for node in slices] == [(1, 1, 1, step)] * 2
