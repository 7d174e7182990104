"""What is known at conversion leaves no node behind, and has the value that onnxruntime computes."""

from __future__ import annotations

import numpy as np
import pytest

from tinynet.errors import FormatError, UnsupportedOpError


def folded(lab, kind, *inputs, opset=17, outputs=1, **attributes):
    """A node on constants alone: only the reshape that names the output is left, and the value agrees."""
    x = np.ones(1, np.float32)
    names = [f"c{i}" for i in range(len(inputs))]
    results = ["y"] if outputs == 1 else [f"y{i}" for i in range(outputs)]
    nodes = [lab.node(kind, names, results, **attributes), lab.node("Relu", ["x"], ["z"])]
    model = lab.model(nodes, {"x": x}, ["z", *results], dict(zip(names, inputs, strict=True)), opset)
    graph = lab.check(model, {"x": x})
    assert lab.kinds(graph) == ["relu"] + ["reshape"] * outputs


UNARY = ["Abs", "Neg", "Floor", "Ceil", "Exp", "Sigmoid", "Tanh", "Relu", "LeakyRelu", "Softplus", "Erf", "Round",
         "Sign", "Sin", "Cos", "HardSigmoid", "HardSwish"]


@pytest.mark.parametrize("kind", UNARY)
def test_unary(lab, kind):
    folded(lab, kind, 2 * lab.normal(3, 5))


@pytest.mark.parametrize("kind,opset", [("Add", 7), ("Sub", 7), ("Mul", 7), ("Div", 7), ("Add", 13), ("Sub", 13),
                                        ("Mul", 13), ("Div", 13), ("Max", 13), ("Min", 13)])
@pytest.mark.parametrize("dtype", [np.float32, np.int64, np.int32])
def test_arithmetic(lab, kind, opset, dtype):
    folded(lab, kind, np.array([[-7], [7], [8]], dtype), np.array([2, -2, 3], dtype), opset=opset)


def test_other_arithmetic(lab):
    a, b = np.array([5, -5, 7, -8]), np.array([3, 3, -3, 4])
    folded(lab, "Mod", a, b)
    folded(lab, "Mod", a.astype(np.float32), b.astype(np.float32), fmod=1)
    folded(lab, "Pow", np.array([2, 3, -2]), np.array([3, 2, 3]))
    folded(lab, "Pow", np.array([2.0, 3.0], np.float32), np.array([3, 2]))
    folded(lab, "Sqrt", np.array([4, 2], np.float32))
    folded(lab, "Sum", *(lab.normal(2, seed=i) for i in range(3)))
    folded(lab, "Mean", *(lab.normal(2, seed=i) for i in range(3)))
    folded(lab, "Clip", a, np.asarray(-4), np.asarray(6))
    folded(lab, "MatMul", lab.normal(2, 3), lab.normal(3, 4))
    folded(lab, "Gemm", lab.normal(2, 3), lab.normal(4, 3), lab.normal(4), transB=1, alpha=0.5, beta=2.0)


@pytest.mark.parametrize("kind", ["Equal", "Less", "Greater", "LessOrEqual", "GreaterOrEqual"])
def test_comparisons(lab, kind):
    folded(lab, kind, lab.ints(1, 2, 3), lab.ints(2))


def test_logic_and_where(lab):
    a, b = np.array([True, True, False]), np.array([True, False, False])
    for kind in ("And", "Or", "Xor"):
        folded(lab, kind, a, b)
    folded(lab, "Not", a)
    folded(lab, "Where", a, lab.ints(1, 2, 3), lab.ints(-1))


def test_moves(lab):
    x = np.arange(24).reshape(2, 3, 4)
    folded(lab, "Reshape", x, lab.ints(0, -1))
    folded(lab, "Transpose", x, perm=[2, 0, 1])
    folded(lab, "Flatten", x)
    folded(lab, "Squeeze", x[None], lab.ints(0))
    folded(lab, "Squeeze", x[None], opset=11, axes=[0])
    folded(lab, "Unsqueeze", x, lab.ints(0, -1))
    folded(lab, "Unsqueeze", x, opset=9, axes=[0, 2])
    folded(lab, "Concat", x, x, axis=-1)
    folded(lab, "Slice", x, lab.ints(-1), lab.ints(-100), lab.ints(1), lab.ints(-2))
    folded(lab, "Slice", x, opset=9, starts=[1], ends=[3], axes=[2])
    folded(lab, "Split", x, lab.ints(1, 3), outputs=2, axis=2)
    folded(lab, "Split", x, opset=11, outputs=2, axis=2)
    folded(lab, "Split", x, opset=18, outputs=2, axis=1, num_outputs=2)
    folded(lab, "Gather", x, lab.ints(0, -1), axis=1)
    folded(lab, "GatherElements", x, np.zeros((1, 3, 4), np.int64))
    folded(lab, "Expand", x[:, :1], lab.ints(3, 1))
    folded(lab, "Tile", x, lab.ints(2, 1, 2))
    folded(lab, "Pad", x, lab.ints(1, 0, 0, 0, 0, 2), np.asarray(5))
    folded(lab, "Trilu", x, upper=0)
    folded(lab, "CumSum", x.astype(np.float32), np.asarray(1), exclusive=1)
    folded(lab, "ScatterND", x, np.array([[1, 0]]), np.array([[9, 9, 9, 9]]))
    folded(lab, "ScatterElements", x, np.array([[[2]]]), np.array([[[9]]]), axis=2)


def test_reductions(lab):
    x = lab.normal(2, 3, 4)
    for kind in ("ReduceMean", "ReduceMax", "ReduceMin", "ReduceProd"):
        folded(lab, kind, x, axes=[1], keepdims=0)
        folded(lab, kind, x, lab.ints(-1), opset=18)
    folded(lab, "ReduceSum", x, lab.ints(0, 2), keepdims=0)
    folded(lab, "ReduceProd", lab.ints(2, 3, 4), keepdims=0)
    folded(lab, "ArgMax", x, axis=1)
    folded(lab, "ArgMin", x, axis=2, keepdims=0)


def test_makers(lab):
    value = lab.onnx.helper.make_tensor("v", lab.onnx.TensorProto.INT64, [1], [7])
    folded(lab, "ConstantOfShape", lab.ints(2, 3), value=value)
    folded(lab, "ConstantOfShape", lab.ints(2), opset=9)
    folded(lab, "Range", np.asarray(1), np.asarray(9), np.asarray(3))
    folded(lab, "Range", *(np.asarray(v, np.float32) for v in (3, 0, -0.5)))
    for to in ("FLOAT", "INT64", "BOOL", "INT32"):
        folded(lab, "Cast", np.array([-1.5, 0, 2.7], np.float32), to=getattr(lab.onnx.TensorProto, to))


@pytest.mark.parametrize("opset,attribute", [
    (7, {"value": np.array([[1.5, 2]], np.float32)}), (12, {"value_float": 2.5}), (12, {"value_floats": [1.0, 2.0]}),
    (13, {"value_int": 3}), (21, {"value_ints": [1, 2, 3]}), (13, {"value": np.array(4.0, np.float32)})])
def test_constant(lab, opset, attribute):
    x = np.ones(1, np.float32)
    attribute = {name: lab.onnx.numpy_helper.from_array(v) if isinstance(v, np.ndarray) else v
                 for name, v in attribute.items()}
    nodes = [lab.node("Constant", [], ["y"], **attribute), lab.node("Relu", ["x"], ["z"])]
    lab.check(lab.model(nodes, {"x": x}, ["y", "z"], opset=opset), {"x": x})


def test_shape_arithmetic_of_exporters_leaves_one_reshape(lab):
    """x.view(x.size(0), -1, x.size(1) * 2) as PyTorch's exporters spell it."""
    x = lab.normal(2, 4, 6)
    nodes = [
        lab.node("Shape", ["x"], ["s"]), lab.node("Gather", ["s", "zero"], ["n"]), lab.node("Shape", ["x"], ["s2"]),
        lab.node("Gather", ["s2", "one"], ["c"]), lab.node("Mul", ["c", "two"], ["c2"]),
        lab.node("Unsqueeze", ["n", "axis"], ["n1"]), lab.node("Unsqueeze", ["c2", "axis"], ["c1"]),
        lab.node("Concat", ["n1", "rest", "c1"], ["t"], axis=0), lab.node("Reshape", ["x", "t"], ["y"])]
    constants = {"zero": np.asarray(0), "one": np.asarray(1), "two": np.asarray(2), "axis": lab.ints(0),
                 "rest": lab.ints(-1)}
    graph = lab.check(lab.model(nodes, {"x": x}, constants=constants), {"x": x})
    assert lab.kinds(graph) == ["reshape"] and graph.nodes[0].attrs == {"shape": (2, 3, 8)}
    assert not any(t.is_constant for t in graph.tensors.values())


def test_expand_with_where_and_constant_of_shape(lab):
    """torch.expand(-1, 3): ConstantOfShape, Mul, Equal, Where."""
    x = lab.normal(4, 1)
    nodes = [lab.node("ConstantOfShape", ["rank"], ["ones"], value=lab.onnx.helper.make_tensor("v", 7, [1], [1])),
             lab.node("Mul", ["ones", "minus"], ["m"]), lab.node("Equal", ["target", "m"], ["e"]),
             lab.node("Where", ["e", "ones", "target"], ["t"]), lab.node("Expand", ["x", "t"], ["y"])]
    constants = {"rank": lab.ints(2), "minus": np.asarray(-1), "target": lab.ints(-1, 3)}
    assert lab.kinds(lab.check(lab.model(nodes, {"x": x}, constants=constants), {"x": x})) == ["expand"]


def test_float64_constants_may_feed_folding(lab):
    x = lab.normal(3)
    nodes = [lab.node("Mul", ["d", "d"], ["e"]), lab.node("Cast", ["e"], ["f"], to=1), lab.node("Add", ["x", "f"])]
    lab.check(lab.model(nodes, {"x": x}, constants={"d": np.array([1.5, 2.5, 3.5])}), {"x": x})


def test_folded_weights_reach_conv(lab):
    x, w = lab.normal(1, 2, 5, 5), lab.normal(2, 3, 3, 3, seed=1)
    nodes = [lab.node("Transpose", ["w"], ["t"], perm=[1, 0, 2, 3]), lab.node("Mul", ["t", "half"], ["h"]),
             lab.node("Conv", ["x", "h"], ["y"])]
    constants = {"w": w, "half": np.asarray(np.float32(0.5))}
    assert len(lab.check(lab.model(nodes, {"x": x}, constants=constants), {"x": x}).nodes) == 3


@pytest.mark.parametrize("kind,inputs", [
    ("ConstantOfShape", [[2 ** 20, 2 ** 20]]), ("Expand", [[1], [2 ** 40]]), ("Tile", [[1, 2], [2 ** 40]]),
    ("Range", [0, 2 ** 50, 1]), ("Pad", [[1], [2 ** 40, 0]])])
def test_a_small_file_cannot_make_a_huge_constant(lab, kind, inputs):
    model = lab.model([lab.node(kind, [f"c{i}" for i in range(len(inputs))]), lab.node("Relu", ["x"], ["z"])],
                      {"x": lab.normal(1)}, ["y", "z"], {f"c{i}": np.asarray(v) for i, v in enumerate(inputs)})
    with pytest.raises(UnsupportedOpError, match="elements is too large"):
        lab.import_(model)


@pytest.mark.parametrize("kind,inputs,match", [
    ("Div", [[1, 2], [1, 0]], "division of constants by zero"), ("Add", [[1, 2], [1, 2, 3]], "do not fit"),
    ("ConstantOfShape", [[-1]], "negative extent"), ("Range", [0, 5, 0], "do not fit")])
def test_contradictions_between_constants(lab, kind, inputs, match):
    model = lab.model([lab.node(kind, [f"c{i}" for i in range(len(inputs))]), lab.node("Relu", ["x"], ["z"])],
                      {"x": lab.normal(1)}, ["y", "z"], {f"c{i}": np.asarray(v) for i, v in enumerate(inputs)})
    with pytest.raises(FormatError, match=match):
        lab.import_(model)


def test_random_numbers_are_never_folded(lab):
    nodes = [lab.node("RandomNormal", [], ["r"], shape=[3]), lab.node("Add", ["x", "r"])]
    model = lab.model(nodes, {"x": lab.normal(3)})
    with pytest.raises(UnsupportedOpError, match="random numbers"):
        lab.import_(model)
