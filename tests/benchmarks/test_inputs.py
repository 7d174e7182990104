from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from benchmarks import inputs


def save(path, shape=(1, 3), kind=TensorProto.FLOAT):
    value = helper.make_tensor_value_info("x", kind, shape)
    out = helper.make_tensor_value_info("y", kind, shape)
    graph = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "g", [value], [out])
    onnx.save(helper.make_model(graph), path)
    return path


def test_error_is_relative_to_the_range_of_what_is_expected():
    expected = np.array([100.0, 110.0], np.float32)
    assert inputs.error_of(np.array([100.0, 110.5], np.float32), expected) == pytest.approx(0.05)


def test_error_of_integers_is_the_share_that_differs():
    assert inputs.error_of(np.array([1, 2, 3, 4]), np.array([1, 2, 3, 9])) == 0.25


def test_noise_is_relative_to_the_deviation_of_what_is_expected():
    expected = np.array([[100, 120], [100, 120]], np.uint8)              # deviation 10
    assert inputs.noise_of(expected + np.uint8(1), expected) == pytest.approx(0.1)
    assert inputs.noise_of(expected.T.reshape(-1), expected) == pytest.approx(np.sqrt(2))
    assert inputs.noise_of(expected[0], expected) == inputs.noise_of(expected * np.nan, expected) == float("inf")


def test_nudged_inputs_stay_within_half_a_step():
    rng = np.random.default_rng(0)
    real, bytes_, index = rng.normal(size=1000).astype(np.float32), rng.integers(-128, 128, 1000).astype(np.int8), np.arange(9)
    moved = inputs.nudge([real, bytes_, index])
    assert [m.dtype for m in moved] == [np.float32, np.int8, np.int64] and np.array_equal(moved[2], index)
    difference = np.abs(moved[0] - real)
    assert 0.9 * np.ptp(real) / 510 < difference.max() <= np.ptp(real) / 509
    assert 0.05 < np.mean(moved[1] != bytes_) < 0.15 and np.abs(moved[1].astype(int) - bytes_).max() == 1


def test_8_bit_inputs_are_all_of_8_bits_and_other_integers_0_or_1(tmp_path):
    for kind, low, high in [(TensorProto.INT8, -128, 127), (TensorProto.UINT8, 0, 255), (TensorProto.INT64, 0, 1)]:
        [array] = inputs.make_inputs(save(tmp_path / "m.onnx", (1, 5000), kind))[1]
        assert (array.min(), array.max()) == (low, high)


def test_quantized_models_are_known_by_their_operators(tmp_path):
    path = save(tmp_path / "m.onnx")
    assert not inputs.is_quantized(path)
    model = onnx.load(path)
    for kind in ("DequantizeLinear", "QLinearAdd", "MatMulInteger"):
        model.graph.node[0].op_type = kind
        onnx.save(model, path)
        assert inputs.is_quantized(path)


def test_missing_batch_axis_and_nhwc_are_turned():
    expected = np.arange(24, dtype=np.float32).reshape(1, 2, 3, 4)
    assert inputs.error_of(expected[0], expected) == 0
    assert inputs.error_of(np.moveaxis(expected, 1, -1), expected) == 0


@pytest.mark.parametrize("found", [np.zeros(3, np.float32), np.array([0, np.nan], np.float32),
                                   np.array([0, np.inf], np.float32)])
def test_other_sizes_and_nan_are_infinitely_wrong(found):
    assert inputs.error_of(found, np.array([0, 1], np.float32)) == float("inf")


def test_outputs_in_another_order_are_told_by_their_sizes():
    small, large = np.zeros(2, np.float32), np.ones(3, np.float32)
    assert inputs.worst_error([large, small], [small, large]) == 0
    assert inputs.worst_error([small + 1, small], [small, small + 1]) == 1


def test_missing_output_is_infinitely_wrong():
    assert inputs.worst_error([], [np.zeros(2, np.float32)]) == float("inf")


def test_open_batch_becomes_one_and_noise_is_the_same_every_time(tmp_path):
    path = save(tmp_path / "m.onnx", ("batch", 3))
    (names, [first], outputs), (_, [second], _) = inputs.make_inputs(path), inputs.make_inputs(path)
    assert (names, outputs, first.shape, first.dtype) == (["x"], ["y"], (1, 3), np.float32)
    assert np.array_equal(first, second)


def test_arrays_beside_the_model_are_used_if_they_fit(tmp_path):
    path = save(tmp_path / "m.onnx")
    np.savez(tmp_path / "m.npz", in0=np.full((1, 3), 7, np.float32))
    assert inputs.make_inputs(path)[1][0].tolist() == [[7, 7, 7]]
    np.savez(tmp_path / "m.npz", in0=np.full((1, 4), 7, np.float32))
    assert inputs.make_inputs(path)[1][0].shape == (1, 3)


def test_open_dimensions_and_garbage_are_refused(tmp_path):
    with pytest.raises(inputs.Unusable, match="open dimensions"):
        inputs.make_inputs(save(tmp_path / "m.onnx", (1, "n")))
    (tmp_path / "bad.onnx").write_bytes(b"not a model")
    with pytest.raises(inputs.Unusable, match="bad.onnx"):
        inputs.make_inputs(tmp_path / "bad.onnx")


def test_outputs_are_ordered_by_name_where_the_engine_knows_names(tmp_path):
    np.savez(tmp_path / "o.npz", out0=np.array(0), out1=np.array(1))
    assert [int(a) for a in inputs.read_outputs(tmp_path / "o.npz", ["b", "a"], ["a", "b"])] == [1, 0]
    assert [int(a) for a in inputs.read_outputs(tmp_path / "o.npz", None, ["a", "b"])] == [0, 1]
