"""Inputs frozen to a value at conversion."""

from __future__ import annotations

import numpy as np
import pytest

from tinynet import reference
from tinynet.errors import UsageError


def reshaping(lab, target=(2,)):
    return lab.model([lab.node("Reshape", ["x", "t"], ["r"]), lab.node("Mul", ["r", "k"])],
                     {"x": lab.normal(3, 4), "t": lab.info("t", target, np.int64), "k": lab.normal(1)})


def test_frozen_inputs_are_constants(lab):
    x, k = lab.normal(3, 4), np.array([2], np.float32)
    graph = lab.import_(reshaping(lab), constants={"t": lab.ints(4, -1), "k": k})
    assert graph.inputs == ["x"]
    np.testing.assert_array_equal(reference.run(graph, {"x": x})["y"], 2 * x.reshape(4, 3))


def test_a_frozen_input_may_have_open_dimensions(lab):
    graph = lab.import_(reshaping(lab, ["n"]), constants={"t": [2, 6]}, input_shapes={"k": (1,)})
    assert graph.inputs == ["x", "k"] and graph.tensors["y"].shape == (2, 6)


def test_a_frozen_input_beats_its_default(lab):
    model = lab.model([lab.node("Mul", ["x", "k"])], {"x": lab.normal(3), "k": lab.normal(1)},
                      constants={"k": np.array([5], np.float32)})
    graph = lab.import_(model, constants={"k": [2]})
    np.testing.assert_array_equal(reference.run(graph, {"x": np.ones(3, np.float32)})["y"], [2, 2, 2])


@pytest.mark.parametrize("constants,match", [
    ({"tt": [1]}, "no input is called 'tt'; its inputs are 'x', 't', 'k'"),
    ({"t": [[4, 3]]}, "has the shape 1x2; the model declares 2"),
    ({"t": [1, 2, 3]}, "has the shape 3"),
    ({"t": [2.0, 6.0]}, "is float64; expected int64"),
    ({"k": np.array([1 + 2j])}, "is complex128; expected float32"),
    ({"t": ["a", "b"]}, "expected int64"),
    ({"t": [[1], [2, 3]]}, "no array"),
])
def test_values_that_do_not_fit(lab, constants, match):
    with pytest.raises(UsageError, match=match) as caught:
        lab.import_(reshaping(lab), constants=constants)
    assert "\n" not in str(caught.value)


def test_numbers_that_are_too_large_for_the_input(lab):
    model = lab.model([lab.node("Add", ["x", "k"])], {"x": np.zeros(1, np.int32), "k": np.zeros(1, np.int32)})
    with pytest.raises(UsageError, match="does not fit into int32"):
        lab.import_(model, constants={"k": [1 << 40]})


def test_an_empty_list_fits_every_type(lab):
    model = lab.model([lab.node("Reshape", ["x", "t"])], {"x": lab.normal(1), "t": lab.info("t", [0], np.int64)})
    assert lab.import_(model, constants={"t": []}).tensors["y"].shape == ()
