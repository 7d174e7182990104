"""Convolutions and pools of one to three spatial axes, and convolutions whose weights are computed."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tinynet.errors import FormatError

POOLS = ["MaxPool", "AveragePool", "LpPool"]


def window(draw, rank, pads=True):
    kernel, strides, dilations = (draw(st.lists(st.integers(1, 3), min_size=rank, max_size=rank)) for _ in range(3))
    begin_end = [draw(st.integers(0, k - 1)) if pads else 0 for k in kernel * 2]
    extents = [d * (k - 1) + draw(st.integers(1, 5)) for d, k in zip(dilations, kernel, strict=True)]
    return extents, {"kernel_shape": kernel, "strides": strides, "dilations": dilations, "pads": begin_end}


@settings(max_examples=40, deadline=None)
@given(data=st.data(), rank=st.integers(1, 3), group=st.integers(1, 3), ins=st.integers(1, 2), outs=st.integers(1, 2),
       run=st.sampled_from([(0,), (0, 1), (0, 2), (0, 1, 2)]), bias=st.booleans())
def test_conv(lab, data, rank, group, ins, outs, run, bias):
    extents, attributes = window(data.draw, rank)
    x, w, b = (lab.normal(*shape, seed=i) for i, shape in enumerate((
        (2, group * ins, *extents), (group * outs, ins, *attributes["kernel_shape"]), (group * outs,))))
    inputs = (x, w, b) if bias else (x, w)
    lab.op("Conv", *inputs, opset=11, run=[i for i in run if i < len(inputs)], group=group, **attributes)


@settings(max_examples=40, deadline=None)
@given(data=st.data(), rank=st.integers(1, 3), group=st.integers(1, 3), ins=st.integers(1, 2), outs=st.integers(1, 2),
       run=st.sampled_from([(0,), (0, 1), (0, 2), (0, 1, 2)]))
def test_conv_transpose(lab, data, rank, group, ins, outs, run):
    _, attributes = window(data.draw, rank, pads=False)
    extents = [data.draw(st.integers(2, 4)) for _ in range(rank)]
    attributes["output_padding"] = [data.draw(st.integers(0, s - 1)) for s in attributes["strides"]]
    attributes["pads"] = [data.draw(st.integers(0, 1)) for _ in range(2 * rank)]
    size = [(e - 1) * s + d * (k - 1) + 1 + o - p - q for e, s, d, k, o, p, q in zip(
        extents, attributes["strides"], attributes["dilations"], attributes["kernel_shape"], attributes["output_padding"],
        attributes["pads"][:rank], attributes["pads"][rank:], strict=True)]
    if min(size) < 1:
        attributes["pads"] = [0] * (2 * rank)
    x, w, b = (lab.normal(*shape, seed=i) for i, shape in enumerate((
        (2, group * ins, *extents), (group * ins, outs, *attributes["kernel_shape"]), (group * outs,))))
    lab.op("ConvTranspose", x, w, b, opset=11, run=run, group=group, **attributes)


@pytest.mark.parametrize("auto_pad", ["SAME_UPPER", "SAME_LOWER", "VALID"])
@pytest.mark.parametrize("rank", [1, 2, 3])
def test_auto_pad(lab, auto_pad, rank):
    extents, strides = (7, 6, 5)[:rank], (2, 3, 1)[:rank]
    w = lab.normal(3, 2, *(3, 3, 4)[:rank], seed=1)
    lab.op("Conv", lab.normal(1, 2, *extents), w, auto_pad=auto_pad, strides=strides)
    transposed = np.ascontiguousarray(w.swapaxes(0, 1))
    lab.op("ConvTranspose", lab.normal(1, 2, *extents), transposed, auto_pad=auto_pad, strides=strides)
    for kind in POOLS:
        lab.op(kind, lab.normal(1, 2, *extents), auto_pad=auto_pad, strides=strides, kernel_shape=w.shape[2:])


def test_output_shape_of_volumes(lab):
    for auto_pad in ("NOTSET", "SAME_UPPER", "SAME_LOWER"):
        lab.op("ConvTranspose", lab.normal(1, 2, 3, 4, 3), lab.normal(2, 3, 3, 2, 4, seed=1), strides=[2, 2, 2],
               output_shape=[6, 9, 7], auto_pad=auto_pad)


@pytest.mark.parametrize("kind", POOLS)
@settings(max_examples=30, deadline=None)
@given(data=st.data(), rank=st.integers(1, 3), ceil=st.integers(0, 1), include=st.integers(0, 1), p=st.integers(1, 3))
def test_pools(lab, kind, data, rank, ceil, include, p):
    extents, attributes = window(data.draw, rank)
    if kind == "LpPool":
        # onnxruntime's own LpPool forgets the pads in a volume with dilations
        attributes |= {"p": p, "dilations": [1] * rank}
    elif kind == "AveragePool":
        attributes["count_include_pad"] = include
    lab.op(kind, lab.normal(2, 3, *extents) - (5 if kind == "MaxPool" else 0), opset=19, ceil_mode=ceil, **attributes)


@pytest.mark.parametrize("rank", [1, 2, 3])
@pytest.mark.parametrize("p", [1, 2, 3])
def test_global_lp_pool(lab, rank, p):
    lab.op("GlobalLpPool", lab.normal(2, 3, *(4, 5, 6)[:rank]), p=p)


@pytest.mark.parametrize("rank", [1, 2, 3])
@pytest.mark.parametrize("order", [0, 1])
def test_max_pool_with_indices(lab, rank, order):
    if order and rank == 1:
        return
    x = np.random.default_rng(rank).permutation(2 * 3 * 7 ** rank).reshape(2, 3, *[7] * rank).astype(np.float32)
    lab.op("MaxPool", x, outputs=2, kernel_shape=[3] * rank, strides=[2] * rank, pads=[1] * 2 * rank, storage_order=order)
    model = lab.model([lab.node("MaxPool", ["x"], ["y", "i"], kernel_shape=[2] * rank, strides=[2] * rank),
                       lab.node("MaxUnpool", ["y", "i"], ["z"], kernel_shape=[2] * rank, strides=[2] * rank)],
                      {"x": x[(..., *[slice(6)] * rank)]}, ["z"])
    lab.check(model, {"x": np.ascontiguousarray(x[(..., *[slice(6)] * rank)])})


@pytest.mark.parametrize("dtype", [np.uint8, np.int8])
def test_max_pool_of_bytes(lab, dtype):
    x = np.random.default_rng(1).integers(-128, 128, (1, 2, 6, 7)).astype(dtype)
    lab.op("MaxPool", x, kernel_shape=[3, 2], pads=[1, 1, 1, 0], strides=[2, 1])


@pytest.mark.parametrize("run", [(0, 2), (0, 1, 2), (0, 1, 2, 3, 4)])
@pytest.mark.parametrize("group, parts", [(1, 1), (2, 1), (1, 2), (2, 4)])
def test_deform_conv(lab, run, group, parts):
    x, w, offset = lab.normal(2, 4, 6, 5), lab.normal(6, 4 // group, 3, 2, seed=1), lab.normal(2, parts * 12, 3, 4, seed=2)
    bias, mask = lab.normal(6, seed=3), lab.normal(2, parts * 6, 3, 4, seed=4)
    inputs = (x, w, offset, bias, mask) if len(run) == 5 else (x, w, offset)
    lab.op("DeformConv", *inputs, opset=19, run=run, group=group, offset_group=parts, strides=[2, 1], pads=[1, 0, 0, 0],
           dilations=[1, 1])


def test_contradictions(lab):
    x = lab.normal(1, 2, 5, 5, 5)
    for inputs, attributes, match in (
            ((x, lab.normal(3, 2, 3, 3)), {}, "rank 4, the input has rank 5"),
            ((x, lab.normal(2, 2, 3, 3, 3)), {"pads": [4] * 6}, "output of extents")):
        model, _ = lab.one("ConvTranspose" if attributes else "Conv", *inputs, **attributes)
        with pytest.raises(FormatError, match=match):
            lab.import_(model)
    model, _ = lab.one("Conv", lab.normal(1, 2, 2, 5, 5), lab.normal(2, 1, 3, 3, 3), group=2)
    with pytest.raises(FormatError, match="padded depth of 2"):
        lab.import_(model)
    assert "at least 3" in lab.reason("Conv", lab.normal(1, 2, 2, 5, 5), lab.normal(2, 2, 3, 3, 3))


NETS = {
    "volumes": (5, [("Conv", "wb", {"pads": [1] * 6}), ("Relu", "", {}), ("MaxPool", "", {"kernel_shape": [2, 2, 2]}),
                    ("AveragePool", "", {"kernel_shape": [1, 2, 3]}), ("ConvTranspose", "tb", {"strides": [1, 2, 2]}),
                    ("Conv", "wb", {})]),
    "signals": (3, [("Conv", "wb", {"pads": [1, 1]}), ("Relu", "", {}), ("MaxPool", "", {"kernel_shape": [2], "strides": [2]}),
                    ("LpPool", "", {"kernel_shape": [2]}), ("ConvTranspose", "tb", {"strides": [2]}), ("Conv", "wb", {})]),
}


@pytest.mark.parametrize("name", NETS)
def test_no_transpose_survives_between_layers(lab, name):
    """And every step is native."""
    import tinynet
    from tinynet.converters import convert_bytes
    rank, layers = NETS[name]
    x, nodes, constants, last = lab.normal(1, 4, *[9] * (rank - 2)), [], {}, "x"
    for i, (kind, inputs, attributes) in enumerate(layers):
        names = [f"{what}{i}" for what in inputs]
        for what in names:
            constants[what] = lab.normal(*((4,) if what[0] == "b" else (4, 4, *[3] * (rank - 2))), seed=i)
        nodes.append(lab.node(kind, [last, *names], [f"y{i}"], **attributes))
        last = f"y{i}"
    model = lab.model(nodes, {"x": x}, [last], constants)
    ready = tinynet.load(convert_bytes(model)[0])
    steps = [(step.node.op, step.kernel) for step in ready.plan.steps]
    assert [op for op, _ in steps].count("transpose") == 2 and steps[0][0] == steps[-1][0] == "transpose"
    assert not ready.plan.python_steps
    expected, = lab.ort_run(model, {"x": x})
    np.testing.assert_allclose(ready.run(x)[last], expected, rtol=0, atol=1e-5 * np.abs(expected).max())
