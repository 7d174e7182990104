"""tinynet compare"""

from __future__ import annotations

import json
import sys

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from tinynet.cli import compare, onnx_layers


def test_compare(run, folder, model):
    code, out, err = run("compare", model, folder / "colours.onnx", "--layers", "--json")
    facts = json.loads(out)
    assert code == 0 and facts["ok"] and facts["first_diverging"] is None and facts["layers"]
    assert facts["outputs"][0]["relative"] < 1e-6


def test_compare_finds_the_layer(run, folder, model, tmp_path):
    proto = onnx.load(folder / "colours.onnx")
    matrix = next(t for t in proto.graph.initializer if t.name == "m")
    values = numpy_helper.to_array(matrix).copy()
    values[0] += 0.01
    matrix.CopyFrom(numpy_helper.from_array(values, "m"))
    onnx.save(proto, tmp_path / "other.onnx")
    code, out, err = run("compare", model, tmp_path / "other.onnx", "--layers", "--json")
    facts = json.loads(out)
    assert code == 1 and facts["first_diverging"] == next(
        row["name"] for row in facts["layers"] if row["tensor"] == "scores")
    assert [row["ok"] for row in facts["layers"]][0] is True
    assert run("compare", model, tmp_path / "other.onnx", "--tolerance", "10")[0] == 0
    code, out, err = run("compare", model, tmp_path / "other.onnx", "--layers")
    assert code == 1 and "first diverging layer" in out and "FAILED" in out


def test_names_of_tensors_in_the_source():
    computed = {"y", "conv_12", "conv", "758"}
    assert onnx_layers.possible_names("y_conv2d/moved_1", computed) == ["y"]
    assert onnx_layers.possible_names("conv_12_1", computed) == ["conv_12", "conv"]
    assert onnx_layers.possible_names("y/moved/flat_1", computed) == ["y"]
    assert onnx_layers.possible_names("758", computed) == ["758"]
    assert onnx_layers.possible_names("y_to_nhwc", computed) == []
    assert onnx_layers.possible_names("_1", computed) == []


def test_orders_of_a_tensor():
    def orders(shape, target):
        array = np.arange(np.prod(shape)).reshape(shape)
        return array, list(onnx_layers.matching(array, np.empty(target)))

    nhwc, found = orders((1, 4, 5, 3), (1, 3, 4, 5))
    assert len(found) == 1 and (found[0] == nhwc.transpose(0, 3, 1, 2)).all()
    square, found = orders((1, 4, 4, 3), (1, 4, 4, 3))
    assert len(found) == 2 and (found[0] == square).all() and (found[1] == square.transpose(0, 2, 1, 3)).all()
    assert orders((1, 1, 9, 7), (1, 7, 9))[1][0].shape == (1, 7, 9)
    assert orders((1, 4, 5), (1, 4, 6))[1] == [] and len(orders((2, 3, 4, 5, 6), (2, 3, 4, 5, 6))[1]) == 1


def test_compare_knows_a_reordered_flatten(run, tmp_path):
    """The converter flattens NHWC and permutes the weights behind it; a wrong value in there must still be found."""
    rng = np.random.default_rng(0)
    graph = helper.make_graph(
        [helper.make_node("Conv", ["x", "w"], ["conv"]), helper.make_node("Flatten", ["conv"], ["flat"]),
         helper.make_node("Gemm", ["flat", "m"], ["y"], transB=1)], "flatten",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 5, 6])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 4])],
        [numpy_helper.from_array(rng.standard_normal((2, 3, 2, 2), dtype=np.float32), "w"),
         numpy_helper.from_array(rng.standard_normal((4, 40), dtype=np.float32), "m")])
    source = tmp_path / "flatten.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), source)
    code, out, _ = run("compare", source, source, "--layers")
    assert code == 0 and "all 2 comparable layers agree" in out
    a = np.float32([[3, 1, 2]])
    assert compare.reordered(a, a[:, ::-1], 1e-4) and not compare.reordered(a, a + 0.01, 1e-4)


def test_compare_input_data(run, fails, folder, model, tmp_path):
    np.savez(tmp_path / "x.npz", in0=np.ones((1, 3, 8, 8), np.float32))
    code, out, _ = run("compare", model, folder / "colours.onnx", "--input-data", tmp_path / "x.npz")
    assert code == 0 and "equal within 0.0001" in out
    fails(2, "--input-data", "compare", model, folder / "colours.onnx", "--input-data", tmp_path / "x.png")
    fails(3, "no such file", "compare", model, tmp_path / "none.onnx")


def test_compare_without_onnxruntime(fails, folder, model, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    fails(2, "pip install onnxruntime", "compare", model, folder / "colours.onnx")


@pytest.mark.parametrize("ours, theirs, ok", [
    ([1.0, 2.0], [1.0, 2.00005], True), ([1.0, 2.0], [1.0, 2.0002], False),
    ([1.0, np.nan], [1.0, np.nan], True), ([1.0, np.nan], [1.0, 2.0], False), ([1.0, 2.0], [1.0, np.nan], False),
    ([np.inf, 1.0], [np.inf, 1.0], True), ([-np.inf, 1.0], [np.inf, 1.0], False), ([5.0, 5.0], [5.0, 5.0], True),
    ([0.0, 0.0], [0.0, 0.0], True), ([np.nan, np.nan], [np.nan, np.nan], True), ([], [], True),
])
def test_difference(ours, theirs, ok):
    row = compare.difference(np.array(ours, np.float32), np.array(theirs, np.float32), 1e-4)
    assert row["ok"] is ok and bool(row["reason"]) is not ok


def test_difference_of_integers_and_shapes():
    assert compare.difference(np.array([1, 2]), np.array([1, 2]), 1)["ok"]
    row = compare.difference(np.array([1, 3]), np.array([1, 2]), 1)
    assert not row["ok"] and row["differing"] == 1
    assert "onnxruntime has" in compare.difference(np.zeros(2), np.zeros(3), 1)["reason"]
