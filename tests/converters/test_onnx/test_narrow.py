"""float16, float64 and bfloat16 models become float32; other types are refused."""

from __future__ import annotations

import numpy as np
import pytest

from tinynet import reference
from tinynet.errors import UnsupportedError, UnsupportedOpError

NARROWED = ("float16", "float64", "bfloat16")


def typed(name):
    ml_dtypes = pytest.importorskip("ml_dtypes")
    return np.dtype(ml_dtypes.bfloat16 if name == "bfloat16" else name)


@pytest.mark.parametrize("name", NARROWED)
def test_a_model_of_another_float_type(lab, name):
    """Inputs, weights, a Constant node and outputs; the values are those of the source's constants, in float32."""
    dtype = typed(name)
    x, w, k = lab.normal(2, 3), lab.normal(3, 4, seed=1).astype(dtype), np.array(0.1, dtype)
    nodes = [lab.node("Constant", [], ["k"], value=lab.onnx.numpy_helper.from_array(k)),
             lab.node("MatMul", ["x", "w"], ["m"]), lab.node("Mul", ["m", "k"])]
    model = lab.model(nodes, {"x": x.astype(dtype)}, constants={"w": w})
    model.graph.output[0].CopyFrom(lab.info("y", [2, 4], dtype))
    notes = []
    graph = lab.import_(model, notes=notes)
    assert {t.dtype for t in graph.tensors.values()} == {"float32"}
    assert notes == [f"{name} data becomes float32, also 'x', 'y'"] and graph.meta.parameters == 12
    expected = x.astype(np.float64) @ w.astype(np.float64) * np.float64(k)
    np.testing.assert_allclose(reference.run(graph, {"x": x})["y"], expected, rtol=1e-5, atol=1e-6)


def test_float32_models_say_nothing(lab):
    notes = []
    lab.import_(lab.model([lab.node("Relu", ["x"])], {"x": lab.normal(2)}), notes=notes)
    assert notes == []


@pytest.mark.parametrize("operator", ["Cast", "CastLike"])
def test_casts_at_run_time(lab, operator):
    """Mixed precision: float16 in the middle of a float32 model."""
    x = lab.normal(2, 3)
    half = lab.onnx.TensorProto.FLOAT16
    cast = (lab.node("Cast", ["x"], ["h"], to=half) if operator == "Cast" else lab.node("CastLike", ["x", "k"], ["h"]))
    nodes = [cast, lab.node("Mul", ["h", "k"], ["m"]), lab.node("Cast", ["m"], to=1)]
    notes = []
    graph = lab.import_(lab.model(nodes, {"x": x}, constants={"k": np.array([3], np.float16)}), notes=notes)
    np.testing.assert_array_equal(reference.run(graph, {"x": x})["y"], 3 * x)
    assert notes == ["float16 data becomes float32"]


def test_constants_are_folded_in_their_own_type(lab):
    """2^24 + 1 is no float32, and 0.1 + 0.2 in float16 is not the rounded sum of float32."""
    big, half = np.array([2.0 ** 24 + 1]), np.array([0.1, 0.2], np.float16)
    nodes = [lab.node("Cast", ["big"], ["n"], to=7), lab.node("Identity", ["h"], ["i"]), lab.node("Add", ["i", "i"], ["s"]),
             lab.node("Add", ["x", "n"]), lab.node("Mul", ["f", "s"], ["z"])]
    model = lab.model(nodes, {"x": lab.ints(1), "f": lab.normal(2)}, ["y", "z"], {"big": big, "h": half})
    found = reference.run(lab.import_(model), {"x": lab.ints(1), "f": np.ones(2, np.float32)})
    assert found["y"][0] == 2 ** 24 + 2
    np.testing.assert_array_equal(found["z"], (half + half).astype(np.float32))


def test_a_constant_output(lab):
    model = lab.model([lab.node("Relu", ["x"]), lab.node("Identity", ["d"], ["z"])], {"x": lab.normal(2)}, ["y", "z"],
                      {"d": np.array([1.5, 1e300])})
    found = reference.run(lab.import_(model), {"x": lab.normal(2)})["z"]
    assert found.dtype == np.float32 and found.tolist() == [1.5, np.inf]


@pytest.mark.parametrize("name", NARROWED)
def test_external_data(lab, tmp_path, name):
    w = lab.normal(3, 2).astype(typed(name))
    model = lab.model([lab.node("MatMul", ["x", "w"])], {"x": lab.normal(1, 3)}, constants={"w": w})
    lab.onnx.save(model, tmp_path / "m.onnx", save_as_external_data=True, location="w.bin", size_threshold=0)
    assert (tmp_path / "w.bin").exists()
    x = lab.normal(1, 3)
    np.testing.assert_allclose(reference.run(lab.import_(tmp_path / "m.onnx"), {"x": x})["y"], x @ w.astype(np.float32),
                               rtol=1e-5)


@pytest.mark.parametrize("kind,name", [("INT16", "int16"), ("UINT16", "uint16"), ("UINT32", "uint32"), ("UINT64", "uint64"),
                                       ("FLOAT8E4M3FN", "float8e4m3fn"), ("STRING", "string"), ("COMPLEX64", "complex64"),
                                       ("INT4", "int4")])
def test_inputs_of_other_types_are_refused(lab, kind, name):
    number = lab.onnx.TensorProto.DataType.Value(kind)
    info = lab.onnx.helper.make_tensor_value_info("x", number, [2])
    with pytest.raises(UnsupportedError, match=f"input 'x' is {name}; expected one of float32.*export the model") as caught:
        lab.import_(lab.model([lab.node("Identity", ["x"])], {"x": info}))
    assert caught.value.exit_code == 4 and "\n" not in str(caught.value)
    with pytest.raises(UnsupportedOpError, match="Cast .*at run time"):
        lab.import_(lab.model([lab.node("Cast", ["x"], to=number)], {"x": lab.normal(2)}, opset=21))


def test_constants_of_other_types_are_refused_where_they_would_run(lab):
    assert "uint16 data at run time" in lab.reason("Concat", np.ones(2, np.float32), np.ones(2, np.uint16), axis=0)
