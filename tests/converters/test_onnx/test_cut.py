"""Graphs cut at named tensors, and the advice where to cut; the three shapes of an unsupported network."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tinynet import reference
from tinynet.converters.onnx_cut import MOST_TENSORS, _separate
from tinynet.errors import UnsupportedOpError, UsageError


def chain(lab):
    """x -> a -> b -> y, with k added on the way to y."""
    nodes = [lab.node("Relu", ["x"], ["a"], name="first"), lab.node("Neg", ["a"], ["b"], name="second"),
             lab.node("Add", ["b", "k"], name="third")]
    return lab.model(nodes, {"x": lab.normal(2, 3), "k": lab.normal(3)})


def test_cut(lab):
    x, model = lab.normal(2, 3), chain(lab)
    before, notes = model.SerializeToString(), []
    graph = lab.import_(model, outputs=["b", "a"], notes=notes)
    assert model.SerializeToString() == before, "the caller's model changed"
    assert (graph.inputs, graph.outputs) == (["x"], ["b", "a"])
    found = reference.run(graph, {"x": x})
    np.testing.assert_array_equal(found["a"], np.maximum(x, 0))
    np.testing.assert_array_equal(found["b"], -np.maximum(x, 0))
    assert notes == ["cut at 'b', 'a': 1 of 3 nodes are left out", "nothing reads the inputs 'k' any more"]
    assert lab.import_(before, outputs="y").outputs == ["y"]


@pytest.mark.parametrize("names,match", [
    (["aa"], "no tensor is called 'aa'; did you mean 'a'"), (["second"], "did you mean 'b'"),
    (["qqqq"], "no tensor is called 'qqqq'; its nodes compute 3 tensors"), (["x"], "'x', which is an input or a constant"),
    (["a", "a"], "once each"), ([], "found none")])
def test_names_that_cannot_be_cut_at(lab, names, match):
    with pytest.raises(UsageError, match=match) as caught:
        lab.import_(chain(lab), outputs=names)
    assert "\n" not in str(caught.value)


# Unsupported networks: one message, exit code 4


def refused(lab, nodes, inputs, outputs=("y",), constants=None):
    model = lab.model(nodes, inputs, outputs, constants)
    with pytest.raises(UnsupportedOpError) as caught:
        lab.import_(model)
    assert caught.value.exit_code == 4 and "\n" not in str(caught.value)
    return caught.value, model


def test_every_shape_of_failure_is_in_one_message(lab):
    nodes = [lab.node("Fancy", ["x"], ["a"], name="n1", domain="com.acme"), lab.node("NoSuchThing", ["x"], ["b"], name="n2"),
             lab.node("MaxPool", ["x"], ["c"], name="n3", kernel_shape=[2, 2], pads=[2, 2, 2, 2]),
             lab.node("Relu", ["x"], ["d"]), lab.node("Fancy", ["d"], ["e"], name="n4", domain="com.acme"),
             lab.node("Sum", ["a", "b", "c", "e"])]
    error, _ = refused(lab, nodes, {"x": lab.normal(1, 2, 4, 4)})
    text = str(error)
    assert "net: 3 unsupported operators: Fancy (com.acme, 2 nodes: n1, n4): operators of the domain 'com.acme'" in text
    assert "NoSuchThing (ai.onnx, 1 node: n2): it is not implemented" in text
    assert "MaxPool (ai.onnx, 1 node: n3): pads" in text
    assert set(error.operators) == {"com.acme.Fancy", "NoSuchThing", "MaxPool"}
    assert "change or cut these layers before the export" in text and error.outputs == []


# Where to cut


def detector(lab, classes=5, levels=3):
    """Heads of an SSD on several levels, softmax, decoded boxes, one NonMaxSuppression per class, as exporters write it."""
    nodes, constants = [], {"split": lab.ints(2, 2), "shape": lab.ints(1, -1, 4), "sshape": lab.ints(1, -1, classes),
                            "var": np.float32([0.1]), "anchors": lab.normal(1, 3 * 4 * 4 * levels, 2)}
    feature = "x"
    for level in range(levels):
        for head, channels in (("box", 12), ("cls", 3 * classes)):
            constants[f"{head}{level}_w"] = lab.normal(channels, 2, 3, 3) / 10
        constants[f"w{level}"] = lab.normal(2, 2, 3, 3) / 10
        nodes.append(lab.node("Conv", [feature, f"w{level}"], [f"f{level}"], pads=[1] * 4))
        feature = f"f{level}"
        for head, shape in (("box", "shape"), ("cls", "sshape")):
            nodes += [lab.node("Conv", [feature, f"{head}{level}_w"], [f"{head}{level}"], pads=[1] * 4),
                      lab.node("Transpose", [f"{head}{level}"], [f"{head}{level}_t"], perm=[0, 2, 3, 1]),
                      lab.node("Reshape", [f"{head}{level}_t", shape], [f"{head}{level}_r"])]
    nodes += [lab.node("Concat", [f"box{i}_r" for i in range(levels)], ["offsets"], axis=1),
              lab.node("Concat", [f"cls{i}_r" for i in range(levels)], ["logits"], axis=1),
              lab.node("Softmax", ["logits"], ["scores"]), lab.node("Split", ["offsets", "split"], ["dxy", "dwh"], axis=2),
              lab.node("Mul", ["dxy", "var"], ["sxy"]), lab.node("Add", ["sxy", "anchors"], ["xy"]),
              lab.node("Exp", ["dwh"], ["wh"]), lab.node("Concat", ["xy", "wh"], ["boxes"], axis=2),
              lab.node("Transpose", ["scores"], ["by_class"], perm=[0, 2, 1])]
    made = []
    for c in range(classes):
        constants[f"c{c}"] = lab.ints(c)
        nodes += [lab.node("Gather", ["by_class", f"c{c}"], [f"s{c}"], axis=1),
                  lab.node("UnknownSuppression", ["boxes", f"s{c}"], [f"k{c}"]),
                  lab.node("NonMaxSuppression", ["boxes", f"k{c}"], [f"i{c}"])]
        made.append(f"i{c}")
    nodes.append(lab.node("Concat", made, ["picked"], axis=0))
    return nodes, {"x": lab.normal(1, 2, 4, 4)}, constants


def test_a_detection_tail_is_cut_off(lab):
    nodes, inputs, constants = detector(lab)
    error, model = refused(lab, nodes, inputs, ["picked"], constants)
    assert error.outputs == ["boxes", "by_class"]
    assert "what to do: cut the network before them with --outputs boxes,by_class (leaves out a detection tail of 11 nodes " \
           "with NonMaxSuppression)" in str(error)
    found = lab.import_(model, outputs=error.outputs)
    x = inputs["x"]
    expected = lab.ort_run(lab.model(nodes[:-16], inputs, error.outputs, constants), {"x": x})
    for name, array in zip(error.outputs, expected, strict=True):
        np.testing.assert_allclose(reference.run(found, {"x": x})[name], array, atol=1e-5)


def test_two_stages_keep_the_first(lab):
    """Features go to the first stage and to the pooling of the second: both ends are named, and nothing before them."""
    constants = {"w": lab.normal(2, 2, 1, 1), "v": lab.normal(4, 2, 1, 1), "shape": lab.ints(-1, 4), "fc": lab.normal(98, 3),
                 "batch": lab.ints(*[0] * 16), "flat": lab.ints(0, -1)}
    nodes = [lab.node("Conv", ["x", "w"], ["f"]), lab.node("Relu", ["f"], ["features"]),
             lab.node("Conv", ["features", "v"], ["rpn"]), lab.node("Transpose", ["rpn"], ["t"], perm=[0, 2, 3, 1]),
             lab.node("Reshape", ["t", "shape"], ["proposals"]), lab.node("NoFilter", ["proposals"], ["kept"]),
             lab.node("RoiAlign", ["features", "kept", "batch"], ["rois"], output_height=7, output_width=7),
             lab.node("Reshape", ["rois", "flat"], ["r"]), lab.node("MatMul", ["r", "fc"], ["y"])]
    error, _ = refused(lab, nodes, {"x": lab.normal(1, 2, 4, 4)}, ["y"], constants)
    assert error.outputs == ["features", "proposals"] and "with RoiAlign" in str(error)


def test_outputs_that_are_right_stay(lab):
    nodes = [lab.node("MatMul", ["x", "w"], ["m"]), lab.node("Neg", ["m"], ["good"]), lab.node("Foo", ["m"], ["bad"])]
    error, _ = refused(lab, nodes, {"x": lab.normal(2, 3)}, ["good", "bad"], {"w": lab.normal(3, 2)})
    assert error.outputs == ["m", "good"]


def test_no_advice_where_nothing_would_be_left(lab):
    nodes = [lab.node("Foo", ["x"], ["a"]), lab.node("MatMul", ["a", "w"])]
    error, _ = refused(lab, nodes, {"x": lab.normal(2, 3)}, constants={"w": lab.normal(3, 2)})
    assert error.outputs == [] and "open an issue" in str(error)


def separated(edges, sources, sinks, names):
    """No path from a source to a sink avoids `names`."""
    pending, seen = [s for s in sources if s not in names], set()
    while pending:
        name = pending.pop()
        if name in sinks:
            return False
        if name not in seen:
            seen.add(name)
            pending += [n for n in edges.get(name, []) if n not in names]
    return True


@settings(max_examples=50, deadline=None)
@given(st.data())
def test_the_cut_is_a_smallest_one(data):
    """Against every smaller set, on small graphs."""
    count = data.draw(st.integers(2, 8))
    names = [f"t{i}" for i in range(count)]
    edges = {a: [b for b in names[i + 1:] if data.draw(st.booleans())] for i, a in enumerate(names)}
    sources = [n for n in names if data.draw(st.booleans())]
    sinks = {n for n in names if data.draw(st.booleans())}
    found = _separate(edges, sources, sinks)
    assert len(set(found)) == len(found) and separated(edges, sources, sinks, found)
    for fewer in itertools.combinations(names, max(0, len(found) - 1)):
        assert not found or not separated(edges, sources, sinks, fewer)


def test_too_many_tensors_are_no_advice():
    names = [f"t{i}" for i in range(MOST_TENSORS + 1)]
    assert _separate({}, names, set(names)) is None
    assert sorted(_separate({}, names[1:], set(names))) == sorted(names[1:])
