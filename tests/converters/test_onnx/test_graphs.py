"""Input shapes, outputs, names, unsupported and contradictory graphs."""

from __future__ import annotations

import numpy as np
import pytest

from tinynet.errors import FormatError, UnsupportedError, UnsupportedOpError, UsageError


def relu(lab, x=None, **options):
    x = lab.normal(2, 3) if x is None else x
    return lab.model([lab.node("Relu", ["x"])], {"x": x}, **options)


def one_line(caught):
    assert "\n" not in str(caught.value)
    return str(caught.value)


# Input shapes


def test_a_symbolic_first_dimension_becomes_1(lab):
    for first in ("batch", None, -1):
        notes = []
        info = lab.info("x", [first, 3])
        graph = lab.import_(lab.model([lab.node("Relu", ["x"])], {"x": info}), notes=notes)
        assert graph.tensors["x"].shape == graph.tensors["y"].shape == (1, 3)
        assert len(notes) == 1 and "input 'x': dimension 0" in notes[0]


def test_an_input_may_be_empty(lab):
    for shape in ([0, 3], [2, 0, 3]):
        lab.check(lab.model([lab.node("Relu", ["x"])], {"x": lab.info("x", shape)}), {"x": np.zeros(shape, np.float32)})


def test_other_unknown_dimensions_need_an_option(lab):
    nodes = [lab.node("Relu", ["x"]), lab.node("Relu", ["s"], ["t"]), lab.node("Relu", ["k"], ["l"])]
    inputs = {"x": lab.info("x", ["n", 3, "h", "w"]), "s": lab.info("s", [2, None]), "k": lab.info("k", [4])}
    with pytest.raises(UsageError) as caught:
        lab.import_(lab.model(nodes, inputs, ["y", "t", "l"]))
    text = one_line(caught)
    assert "input 'x': dimension 2 ('h'), dimension 3 ('w'); input 's': dimension 1 (unnamed)" in text
    assert text.endswith("--input x=1x3x320x320 --input s=2x320") and "'k'" not in text


def test_input_shapes_are_used(lab):
    notes = []
    model = lab.model([lab.node("Relu", ["x"])], {"x": lab.info("x", ["n", 3, "h", "w"])})
    graph = lab.import_(model, input_shapes={"x": (2, 3, 5, 6)}, notes=notes)
    assert graph.tensors["y"].shape == (2, 3, 5, 6) and notes == []
    x = lab.normal(2, 3, 5, 6)
    lab.check(model, {"x": x}, input_shapes={"x": [2, 3, 5, 6]})


def test_an_unknown_rank_needs_an_option(lab):
    model = lab.model([lab.node("Relu", ["x"])], {"x": lab.info("x", None)})
    with pytest.raises(UsageError, match="input 'x': its rank"):
        lab.import_(model)
    assert lab.import_(model, input_shapes={"x": (4, 2)}).tensors["y"].shape == (4, 2)


def test_a_given_symbol_holds_for_every_input(lab):
    inputs = {name: lab.info(name, ["n", 3]) for name in ("a", "b")}
    model = lab.model([lab.node("Add", ["a", "b"])], inputs)
    graph = lab.import_(model, input_shapes={"a": (5, 3)})
    assert graph.tensors["b"].shape == (5, 3)
    with pytest.raises(UsageError, match="dimension 'n' is 5 in one given input shape and 6 in another"):
        lab.import_(model, input_shapes={"a": (5, 3), "b": (6, 3)})


@pytest.mark.parametrize("shapes,match", [
    ({"z": (1, 3)}, "no input is called 'z'; its inputs are 'x'"), ({"x": (1, 3, 1)}, "declares nx3"),
    ({"x": (1, 4)}, "cannot have the shape 1x4"), ({"x": (0, 3)}, "0x3"), ({"x": ("a", 3)}, "must be numbers")])
def test_input_shapes_that_do_not_fit(lab, shapes, match):
    with pytest.raises(UsageError, match=match) as caught:
        lab.import_(lab.model([lab.node("Relu", ["x"])], {"x": lab.info("x", ["n", 3])}), input_shapes=shapes)
    one_line(caught)


def test_initialisers_among_the_inputs_are_constants(lab):
    x, w = lab.normal(2, 3), lab.normal(3)
    model = lab.model([lab.node("Add", ["x", "w"])], {"x": x, "w": w}, constants={"w": w})
    graph = lab.import_(model)
    assert graph.inputs == ["x"] and graph.tensors["w"].is_constant
    with pytest.raises(UsageError, match="no input is called 'w'"):
        lab.import_(model, input_shapes={"w": (3,)})


def test_inputs_that_are_no_tensors_are_refused(lab):
    info = lab.onnx.helper.make_tensor_sequence_value_info("x", 1, [2])
    with pytest.raises(UnsupportedError, match="input 'x' is a sequence_type"):
        lab.import_(lab.model([lab.node("Identity", ["x"])], {"x": info}))


def test_int_and_bool_inputs_pass(lab):
    x, flags = np.arange(6).reshape(2, 3), np.array([True, False])
    nodes = [lab.node("Transpose", ["x"]), lab.node("Cast", ["f"], ["g"], to=1)]
    lab.check(lab.model(nodes, {"x": x, "f": flags}, ["y", "g"]), {"x": x, "f": flags})


# Outputs


def test_outputs_keep_order_and_names(lab):
    x = lab.normal(2, 3)
    nodes = [lab.node("Relu", ["x"], ["a"]), lab.node("Neg", ["a"], ["b"]), lab.node("Abs", ["b"], ["c"])]
    graph = lab.check(lab.model(nodes, {"x": x}, ["c", "a", "b"]), {"x": x})
    assert graph.outputs == ["c", "a", "b"]


def test_an_output_that_is_an_input(lab):
    x = lab.normal(2, 3)
    nodes = [lab.node("Identity", ["x"]), lab.node("Dropout", ["x"], ["z"])]
    assert lab.kinds(lab.check(lab.model(nodes, {"x": x}, ["y", "z"]), {"x": x})) == ["reshape", "reshape"]
    graph = lab.check(lab.model([lab.node("Relu", ["x"])], {"x": x}, ["x", "y"]), {"x": x})
    assert graph.outputs == ["x", "y"] and lab.kinds(graph) == ["relu"]


def test_an_output_that_is_a_constant(lab):
    x, w = lab.normal(2, 3), lab.normal(3)
    nodes = [lab.node("Add", ["x", "w"]), lab.node("Identity", ["w"], ["v"]), lab.node("Shape", ["x"], ["s"]),
             lab.node("Mul", ["w", "w"], ["m"]), lab.node("Sub", ["x", "m"], ["d"])]
    graph = lab.check(lab.model(nodes, {"x": x}, ["y", "w", "v", "s", "m", "d"], {"w": w}), {"x": x})
    assert not any(graph.tensors[name].is_constant for name in graph.outputs)


def test_outputs_that_are_one_tensor(lab):
    x = lab.normal(2, 3)
    nodes = [lab.node("Relu", ["x"], ["a"]), lab.node("Identity", ["a"], ["b"]), lab.node("Identity", ["a"], ["c"]),
             lab.node("Neg", ["a"], ["d"])]
    lab.check(lab.model(nodes, {"x": x}, ["c", "a", "b", "d"]), {"x": x})
    lab.check(lab.model(nodes, {"x": x}, ["c", "b", "d"]), {"x": x})


def test_names_stay_unique(lab):
    """The file uses the names that the importer would make."""
    x, w = lab.normal(1, 2, 5, 5), lab.normal(2, 2, 3, 3)
    nodes = [lab.node("Conv", ["x", "w"], ["y_to_nhwc"], name="c"),
             lab.node("Relu", ["y_to_nhwc"], ["w_ohwi"], name="c/to_nhwc"),
             lab.node("Conv", ["w_ohwi", "w"], ["y_conv2d"]), lab.node("Relu", ["y_conv2d"], ["y"])]
    graph = lab.check(lab.model(nodes, {"x": x}, constants={"w": w}), {"x": x})
    assert len({node.name for node in graph.nodes}) == len(graph.nodes)
    nodes[1].name = "c"                       # onnxruntime refuses this, the file format does not
    graph = lab.import_(lab.model(nodes, {"x": x}, constants={"w": w}))
    assert len({node.name for node in graph.nodes}) == len(graph.nodes)
    assert set(graph.tensors) == {t.name for t in graph.tensors.values()}


def test_declared_output_shape_and_type(lab):
    model, notes = relu(lab), []
    model.graph.output[0].CopyFrom(lab.info("y", [2, 4]))
    assert lab.import_(model, notes=notes).tensors["y"].shape == (2, 3)
    assert notes == ["output 'y' has the shape [2, 3]; the file declares [2, 4]"]
    model.graph.output[0].CopyFrom(lab.info("y", [2, 3], np.int64))
    with pytest.raises(FormatError, match="output 'y' is declared as"):
        lab.import_(model)


def test_nodes_that_no_output_needs_are_left_out(lab):
    nodes = [lab.node("Relu", ["x"]), lab.node("Unheard", ["x"], ["z"]), lab.node("LSTM", ["z"], ["q"])]
    graph = lab.import_(lab.model(nodes, {"x": lab.normal(2)}))
    assert lab.kinds(graph) == ["relu"] and graph.meta.source_operators == 3


# Unsupported and contradictory graphs


def test_every_unsupported_operator_is_listed_at_once(lab):
    nodes = [lab.node("Foo", ["x"], ["a"], name="f1"), lab.node("Relu", ["a"], ["b"]), lab.node("Foo", ["b"], ["c"]),
             lab.node("Bar", ["x"], ["d"], domain="my.ops"), lab.node("Bernoulli", ["c"], ["e"]),
             lab.node("Softmax", ["x"], ["g"]), 
             lab.node("MaxPool", ["x"], ["h"], kernel_shape=[2, 2], pads=[2, 2, 2, 2]),
             lab.node("Sum", ["b", "c", "d", "e", "g", "h"])]
    model = lab.model(nodes, {"x": lab.normal(1, 1, 4, 4)})
    with pytest.raises(UnsupportedOpError) as caught:
        lab.import_(model, name="big")
    text = one_line(caught)
    assert text.startswith("big: 4 unsupported operators: Foo (ai.onnx, 2 nodes: f1, Foo_2): it is not implemented; "
                           "Bar (my.ops, 1 node: Bar_3): ")
    assert "Bernoulli (ai.onnx, 1 node: Bernoulli_4): it makes random" in text
    assert "MaxPool (ai.onnx, 1 node: MaxPool_6): pads" in text
    assert "what to do: " in text
    assert {name: names for name, (_, names) in caught.value.operators.items()} == {
        "Foo": ["f1", "Foo_2"], "my.ops.Bar": ["Bar_3"], "Bernoulli": ["Bernoulli_4"],
        "MaxPool": ["MaxPool_6"]}


def test_subgraphs_are_unsupported_and_what_feeds_them_is_looked_at(lab):
    branch = lab.onnx.helper.make_graph([lab.node("Relu", ["a"], ["r"])], "branch", [], [lab.info("r", [3])])
    nodes = [lab.node("Foo", ["x"], ["a"]), lab.node("If", ["c"], ["y"], then_branch=branch, else_branch=branch)]
    model = lab.model(nodes, {"x": lab.normal(3), "c": np.array(True)})
    with pytest.raises(UnsupportedOpError) as caught:
        lab.import_(model)
    assert set(caught.value.operators) == {"Foo", "If"} and "control flow" in caught.value.operators["If"][0]


def test_model_local_functions_are_inlined(lab):
    helper = lab.onnx.helper
    opset = [helper.make_opsetid("", 17)]
    body = [lab.node("Sigmoid", ["v"], ["s"]), lab.node("Mul", ["v", "s"], ["w"])]
    function = helper.make_function("local", "Swish", ["v"], ["w"], body, opset)
    x = lab.normal(2, 3)
    model = lab.model([lab.node("Swish", ["x"], domain="local")], {"x": x})
    model.functions.append(function)
    model.opset_import.append(helper.make_opsetid("local", 1))
    assert lab.kinds(lab.check(model, {"x": x})) == ["sigmoid", "mul"]


@pytest.mark.parametrize("nodes,match", [
    ([("Relu", ["nothing"], ["y"], {})], "input 'nothing' is neither"),
    ([("Relu", ["b"], ["y"], {}), ("Relu", ["x"], ["b"], {})], "input 'b' is neither|made by no node"),
    ([("Relu", ["x"], ["y"], {}), ("Neg", ["x"], ["y"], {})], "output 'y' is defined twice"),
    ([("Relu", ["x"], ["x"], {}), ("Relu", ["x"], ["y"], {})], "output 'x' is defined twice"),
    ([("Relu", ["x"], ["z"], {})], "output 'y' is made by no node"),
    ([("Relu", ["x", "x"], ["y"], {})], "has 2 inputs, expected 1 to 1"),
    ([("Add", ["x", ""], ["y"], {})], "input 'B' is left out"),
    ([("Relu", ["x"], ["y", "z"], {})], "has 2 outputs"),
    ([("Relu", ["x"], ["y"], {"alpha": 1.0})], "unknown attribute 'alpha'"),
    ([("LeakyRelu", ["x"], ["y"], {"alpha": 1})], "attribute 'alpha' has the wrong type"),
    ([("Concat", ["x", "x"], ["y"], {})], "attribute 'axis' is missing")])
def test_contradictory_graphs(lab, nodes, match):
    model = lab.model([lab.node(kind, ins, outs, **attrs) for kind, ins, outs, attrs in nodes], {"x": lab.normal(2, 3)})
    with pytest.raises(FormatError, match=match) as caught:
        lab.import_(model)
    one_line(caught)


def test_damaged_initialisers(lab):
    model = lab.model([lab.node("Add", ["x", "w"])], {"x": lab.normal(3)}, constants={"w": lab.normal(3)})
    model.graph.initializer[0].raw_data = b"1234567"
    with pytest.raises(FormatError, match="tensor 'w' of shape \\[3\\] is damaged"):
        lab.import_(model)
    model.graph.initializer[0].data_type = 77
    with pytest.raises(FormatError, match="unknown type 77"):
        lab.import_(model)
    model.graph.initializer.append(model.graph.initializer[0])
    with pytest.raises(FormatError, match="two initialisers"):
        lab.import_(model)


def test_shapes_that_do_not_fit_name_the_node(lab):
    with pytest.raises(UnsupportedOpError, match=r"Add \(ai.onnx, 1 node: Add_0\): expected"):
        lab.import_(lab.model([lab.node("Add", ["x", "z"])], {"x": lab.normal(3), "z": lab.normal(4)}))
