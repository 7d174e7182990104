"""If and Loop that conversion decides."""

from __future__ import annotations

import numpy as np
import pytest

from tinynet import reference
from tinynet.errors import FormatError, UnsupportedOpError


def graph(lab, nodes, inputs=(), outputs=("y",), constants=None):
    helper = lab.onnx.helper
    kinds = {"i": helper.make_tensor_value_info("i", lab.onnx.TensorProto.INT64, []),
             "c": helper.make_tensor_value_info("c", lab.onnx.TensorProto.BOOL, [])}

    def infos(names):
        return [kinds.get(n) or lab.info(n, None) if n in inputs else lab.onnx.ValueInfoProto(name=n) for n in names]

    weights = [lab.onnx.numpy_helper.from_array(a, n) for n, a in (constants or {}).items()]
    return helper.make_graph(nodes, "body", infos(inputs), infos(outputs), weights)


def conditional(lab, condition, run=(), **branches):
    """x -> If -> y with neighbours whose names the branches use as well."""
    x, one = lab.normal(2, 3), np.ones(3, np.float32)
    then = graph(lab, [lab.node("Relu", ["x"], ["t"]), lab.node("Add", ["t", "w"], ["u"])], outputs=["u"], constants={"w": one})
    other = graph(lab, [lab.node("Neg", ["before"], ["t"])], outputs=["t"])
    nodes = [lab.node("Exp", ["x"], ["before"]),
             lab.node("If", ["c"], ["r"], **{"then_branch": then, "else_branch": other, **branches}),
             lab.node("Mul", ["r", "before"], ["y"])]
    return lab.model(nodes, {"x": x, **({"c": condition} if run else {})}, constants={} if run else {"c": condition}), {"x": x}


@pytest.mark.parametrize("condition,kinds", [(True, ["exp", "relu", "add", "mul"]), (False, ["exp", "neg", "mul"])])
def test_the_branch_of_a_known_condition(lab, condition, kinds):
    for value in (np.array(condition), np.array([condition])):
        model, feeds = conditional(lab, value)
        assert lab.kinds(lab.check(model, feeds)) == kinds


def test_a_condition_computed_from_shapes(lab):
    """What torch.onnx writes for `if x.shape[0] == 2`."""
    x = lab.normal(2, 3)
    then, other = (graph(lab, [lab.node(kind, ["x"], ["t"])], outputs=["t"]) for kind in ("Relu", "Neg"))
    nodes = [lab.node("Shape", ["x"], ["s"]), lab.node("Gather", ["s", "zero"], ["n"]), lab.node("Equal", ["n", "two"], ["c"]),
             lab.node("If", ["c"], ["y"], then_branch=then, else_branch=other)]
    model = lab.model(nodes, {"x": x}, constants={"zero": np.array(0), "two": np.array(2)})
    assert lab.kinds(lab.check(model, {"x": x})) == ["relu"]


def test_branches_inside_branches_and_outputs_named_twice(lab):
    x = lab.normal(2, 3)
    inner = [graph(lab, [lab.node(kind, ["t"], ["v"])], outputs=["v"]) for kind in ("Exp", "Neg")]
    branch = lab.node("If", ["no"], ["u"], then_branch=inner[0], else_branch=inner[1])
    kept = lab.node("Identity", ["x"], ["z"])
    nodes = [lab.node("Relu", ["x"], ["t"]), branch, kept]
    outer = graph(lab, nodes, outputs=["u", "t", "z"])
    feeds, constants = {"x": x}, {"yes": np.array(True), "no": np.array(False)}
    node = lab.node("If", ["yes"], ["a", "b", "c"], then_branch=outer, else_branch=outer)
    lab.check(lab.model([node], feeds, ["a", "b", "c"], constants), feeds)
    # onnxruntime 1.31 leaves the second of two outputs with one name unwritten
    twice = graph(lab, nodes, outputs=["u", "z", "u"])
    node = lab.node("If", ["yes"], ["a", "b", "c"], then_branch=twice, else_branch=twice)
    found = reference.run(lab.import_(lab.model([node], feeds, ["a", "b", "c"], constants)), feeds)
    assert [v.tolist() for v in found.values()] == [v.tolist() for v in (-np.maximum(x, 0), x, -np.maximum(x, 0))]


def test_a_condition_at_run_time_is_refused(lab):
    model, _ = conditional(lab, np.array(True), run=(1,))
    with pytest.raises(UnsupportedOpError, match="its condition computed at run time"):
        lab.import_(model)


def test_operators_in_a_branch_are_reported_by_name(lab):
    bad = graph(lab, [lab.node("Multinomial", ["x"], ["t"])], outputs=["t"])
    model, _ = conditional(lab, np.array(True), then_branch=bad)
    with pytest.raises(UnsupportedOpError, match=r"Multinomial \(ai.onnx, 1 node: If_1/Multinomial_0\): it makes random"):
        lab.import_(model)
    model, _ = conditional(lab, np.array(True), then_branch=graph(lab, [], ["q"], ["q"]))
    with pytest.raises(FormatError, match="its subgraph has 1 inputs, expected 0"):
        lab.import_(model)
    model, _ = conditional(lab, np.array(True), then_branch=graph(lab, [], [], []))
    with pytest.raises(FormatError, match="its subgraph has 0 outputs for the node's 1"):
        lab.import_(model)


def loop(lab, trips, condition, body, opset=17):
    x = lab.normal(2, 3)
    constants = {k: v for k, v in (("m", trips), ("c", condition)) if v is not None}
    names = ["m" if trips is not None else "", "c" if condition is not None else "", "x"]
    nodes = [lab.node("Loop", names, ["y", "all"], body=body)]
    return lab.model(nodes, {"x": x}, ["y", "all"], constants, opset), {"x": x}


def counting(lab, last=99):
    """v = relu(v) + i w as long as i < last."""
    return graph(lab, [lab.node("Cast", ["i"], ["f"], to=1), lab.node("Mul", ["f", "w"], ["p"]), lab.node("Relu", ["v"], ["r"]),
                       lab.node("Add", ["r", "p"], ["next"]), lab.node("Less", ["i", "last"], ["on"])],
                 ["i", "c", "v"], ["on", "next", "p"], {"w": np.array([1, 2, 3], np.float32), "last": np.array(last)})


@pytest.mark.parametrize("opset", [11, 13, 17, 21])
def test_a_known_number_of_iterations(lab, opset):
    for trips, condition, last in ((3, None, 99), (3, True, 99), (1, None, 0), (None, True, 2), (9, True, 1)):
        arrays = [None if v is None else np.array(v) for v in (trips, condition)]
        model, feeds = loop(lab, *arrays, counting(lab, last), opset)
        lab.check(model, feeds)


def test_loops_that_are_refused(lab):
    model, _ = loop(lab, np.array(0), None, counting(lab))
    with pytest.raises(UnsupportedOpError, match="it never runs"):
        lab.import_(model)
    model, _ = loop(lab, np.array(10 ** 9), None, counting(lab, 10 ** 12))
    with pytest.raises(UnsupportedOpError, match="its iterations would be more than 20000 nodes"):
        lab.import_(model)
    endless = graph(lab, [lab.node("Relu", ["v"], ["next"]), lab.node("Exp", ["v"], ["p"]),
                          lab.node("ReduceSum", ["p"], ["q"], keepdims=0), lab.node("Cast", ["q"], ["on"], to=9)],
                    ["i", "c", "v"], ["on", "next", "p"])
    model, _ = loop(lab, None, np.array(True), endless)
    with pytest.raises(UnsupportedOpError, match="its condition computed at run time"):
        lab.import_(model)
    node = lab.node("Loop", ["m", "", "x"], ["y", "all"], body=counting(lab))
    model = lab.model([node], {"m": np.array(3), "x": lab.normal(2, 3)}, ["y", "all"])
    with pytest.raises(UnsupportedOpError, match="its trip count computed at run time"):
        lab.import_(model)
