"""Networks whose sizes are open: dimensions that have names, and inputs whose values decide shapes."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper

import tinynet
from tinynet import format as tnb
from tinynet.converters import convert_bytes
from tinynet.converters.writer import write
from tinynet.errors import FormatError, InputError, LimitError, UsageError
from tinynet.graph import Formula, Tensor
from tinynet.open_model import KEPT_PLANS
from tinynet.sizes import value

RNG = np.random.default_rng(3)
TYPES = {"float32": TensorProto.FLOAT, "int64": TensorProto.INT64}


def proto(nodes, inputs, outputs, opset=18, **constants):
    """`inputs`, `outputs`: name -> [shape], or (dtype, [shape]); None is any shape."""
    def info(name, given):
        dtype, shape = given if isinstance(given, tuple) else ("float32", given)
        return helper.make_tensor_value_info(name, TYPES[dtype], shape)

    graph = helper.make_graph(
        [helper.make_node(kind, ins, outs, **attrs) for kind, ins, outs, attrs in nodes], "net",
        [info(n, s) for n, s in inputs.items()], [info(n, s) for n, s in outputs.items()],
        [onnx.numpy_helper.from_array(np.asarray(a), n) for n, a in constants.items()])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=9)


def classifier(**conv):
    """Convolution, a skip connection, a resize to a shape that the graph computes, a head."""
    return proto(
        [("Conv", ["x", "w"], ["c"], {"pads": [1, 1, 1, 1], "strides": [2, 2], **conv}), ("Relu", ["c"], ["r"], {}),
         ("Conv", ["r", "v"], ["d"], {"pads": [1, 1, 1, 1]}), ("Add", ["r", "d"], ["a"], {}),
         ("MaxPool", ["a"], ["p"], {"kernel_shape": [2, 2], "strides": [2, 2]}),
         ("GlobalAveragePool", ["p"], ["g"], {}), ("Flatten", ["g"], ["f"], {}), ("Gemm", ["f", "m"], ["y"], {}),
         ("Shape", ["p"], ["s"], {}), ("Slice", ["s", "i0", "i1"], ["n"], {}),
         ("Concat", ["n", "rest"], ["target"], {"axis": 0}), ("Reshape", ["p", "target"], ["flat"], {})],
        {"x": ["N", 3, "H", "W"]}, {"y": ["N", 5], "flat": ["N", 7, "L"]},
        w=RNG.standard_normal((7, 3, 3, 3)).astype(np.float32), v=RNG.standard_normal((7, 7, 3, 3)).astype(np.float32),
        m=RNG.standard_normal((7, 5)).astype(np.float32), i0=np.array([0]), i1=np.array([1]), rest=np.array([7, -1]))


def padded():
    """SAME padding depends on the parity of the size: no formula has it."""
    return proto([("Conv", ["x", "w"], ["y"], {"auto_pad": "SAME_UPPER", "strides": [2, 2]})],
                 {"x": ["N", 2, "H", "W"]}, {"y": ["N", 3, "A", "B"]}, w=RNG.standard_normal((3, 2, 3, 3)).astype(np.float32))


def agrees(model, source, feed, tolerance=1e-5):
    expected = onnxruntime.InferenceSession(source.SerializeToString()).run(None, feed)
    found = model.run(feed)
    for (name, array), right in zip(found.items(), expected, strict=True):
        assert array.shape == right.shape and array.dtype == right.dtype, name
        np.testing.assert_allclose(array, right, rtol=tolerance, atol=tolerance * max(1.0, float(np.abs(right).max(initial=0))))


NETWORKS = {"layers": (classifier(), False), "operators": (padded(), True)}
CONVERTED = {name: convert_bytes(source)[0] for name, (source, _) in NETWORKS.items()}


@pytest.mark.parametrize("name", NETWORKS)
@given(n=st.integers(1, 4), h=st.integers(5, 40), w=st.integers(5, 40))
@settings(max_examples=12, deadline=None)
def test_any_size_agrees_with_onnxruntime(name, n, h, w):
    source, stored_operators = NETWORKS[name]
    model = tinynet.load(CONVERTED[name], threads=1)
    assert model.source.source == stored_operators
    agrees(model, source, {"x": RNG.standard_normal((n, source.graph.input[0].type.tensor_type.shape.dim[1].dim_value, h, w),
                                                    dtype=np.float32)})


@pytest.mark.parametrize("name", NETWORKS)
def test_what_an_open_model_says_of_itself(name):
    model = tinynet.load(CONVERTED[name])
    assert model.dims == {"x": ("N", model.inputs[0].shape[1], "H", "W")} and model.inputs[0].shape[0] == 1
    assert model.plan.steps and model.outputs[0].shape[0] == 1
    model.reshape({"x": (2, model.inputs[0].shape[1], 33, 20)})
    assert model.inputs[0].shape[2:] == (33, 20) and model.outputs[0].shape[0] == 2
    assert "[N, " in repr(model)
    assert tinynet.load(CONVERTED[name]).run(np.zeros(model.inputs[0].shape, np.float32))


def test_the_self_test_of_an_open_model_passes():
    from tinynet import selftest

    for data in CONVERTED.values():
        assert 0 <= selftest.check(tinynet.load(data)) < selftest.TOLERANCE


@pytest.mark.parametrize("name", NETWORKS)
def test_sizes_that_do_not_fit(name):
    model = tinynet.load(CONVERTED[name])
    channels = model.inputs[0].shape[1]
    for shape in ((1, channels, 9), (1, channels + 1, 9, 9), (9, 9)):
        with pytest.raises(InputError, match=r"input 'x': expected shape \[N, "):
            model.run(np.zeros(shape, np.float32))
    with pytest.raises(InputError, match="dtype"):
        model.run(np.zeros((1, channels, 9, 9), np.float64))
    if name == "layers":
        with pytest.raises(InputError, match="with inputs x .*: node .*"):
            model.run(np.zeros((1, 3, 1, 1), np.float32))


def test_equal_names_need_equal_sizes():
    source = proto([("Add", ["a", "b"], ["y"], {})], {"a": ["N", "L"], "b": ["N", "L"]}, {"y": ["N", "L"]})
    model = tinynet.load(convert_bytes(source)[0])
    assert model.run({"a": np.ones((2, 3), np.float32), "b": np.ones((2, 3), np.float32)})["y"].shape == (2, 3)
    with pytest.raises(InputError, match=r"'b': expected shape \[N, L\] with N = 2, L = 3, found \[2, 4\]"):
        model.run({"a": np.ones((2, 3), np.float32), "b": np.ones((2, 4), np.float32)})
    assert model.run({"a": np.ones((0, 3), np.float32), "b": np.ones((0, 3), np.float32)})["y"].shape == (0, 3)


def test_plans_are_kept_and_bounded():
    model = tinynet.load(CONVERTED["layers"])
    x = np.ones((1, 3, 16, 16), np.float32)
    first = model.run(x)
    plan = next(iter(model._planned.values()))
    np.testing.assert_array_equal(model.run(x)["y"], first["y"])
    assert list(model._planned.values()) == [plan]
    for size in range(17, 17 + 2 * KEPT_PLANS):
        model.run(np.ones((1, 3, size, size), np.float32))
    assert len(model._planned) == KEPT_PLANS and plan not in model._planned.values()
    model.close()
    with pytest.raises(UsageError, match="closed"):
        model.run(x)


def test_limits_hold_for_every_size():
    model = tinynet.load(CONVERTED["layers"], max_macs=200_000)
    model.run(np.ones((1, 3, 16, 16), np.float32))
    with pytest.raises(LimitError, match="max_macs"):
        model.run(np.ones((1, 3, 64, 64), np.float32))


def test_input_fixes_sizes_and_fixed_models_say_so():
    data, _ = convert_bytes(classifier(), inputs={"x": (2, 3, 17, 19)})
    model = tinynet.load(data)
    assert not model.graph.open and model.inputs[0].shape == (2, 3, 17, 19)
    with pytest.raises(UsageError, match="fixed"):
        model.reshape({"x": (1, 3, 17, 19)})


def test_a_source_graph_needs_no_onnx(tmp_path):
    path = tmp_path / "open.tnb"
    path.write_bytes(CONVERTED["operators"])
    code = ("import sys; sys.modules['onnx'] = None; sys.modules['flatbuffers'] = None; import numpy, tinynet; "
            f"print(tinynet.load({str(path)!r}).run(numpy.ones((1, 2, 7, 9), 'f4'))['y'].shape)")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("(1, 3, 4, 5)\n", "")


# ---- values that decide shapes

X = RNG.standard_normal((2, 3, 4)).astype(np.float32)
SETTINGS = {
    "reshape": ("Reshape", {"s": np.array([4, -1])}, {}),
    "expand": ("Expand", {"s": np.array([5, 1, 3, 1])}, {}),
    "slice": ("Slice", {"a": np.array([1, -1]), "b": np.array([9, 0]), "c": np.array([0, 2]), "d": np.array([1, -2])}, {}),
    "pad": ("Pad", {"p": np.array([1, 0, 2, 0, 1, 0]), "v": np.array(2.5, np.float32)}, {}),
    "unsqueeze": ("Unsqueeze", {"s": np.array([0, -1])}, {}),
    "reduce": ("ReduceSum", {"s": np.array([0, 2])}, {"keepdims": 0}),
    "resize": ("Resize", {"": None, "scales": np.array([1, 1, 2.5], np.float32)}, {"mode": "nearest"}),
}


@pytest.mark.parametrize("name", SETTINGS)
def test_settings_that_arrive_with_the_run(name):
    kind, given, attrs = SETTINGS[name]
    feed = {"x": X, **{n: a for n, a in given.items() if n}}
    source = proto([(kind, ["x", *given], ["t"], attrs), ("Relu", ["t"], ["y"], {})],
                   {n: (a.dtype.name, list(a.shape)) for n, a in feed.items()}, {"y": None})
    agrees(tinynet.load(convert_bytes(source)[0]), source, feed)


def test_other_values_plan_anew_and_wrong_ones_are_refused():
    source = proto([("Reshape", ["x", "s"], ["y"], {})], {"x": [2, 3, 4], "s": ("int64", [2])}, {"y": None})
    model = tinynet.load(convert_bytes(source)[0])
    with pytest.raises(UsageError, match="values of s|shapes of its inputs"):
        assert model.outputs
    for target in ((6, 4), (-1, 8), (24, 1)):
        agrees(model, source, {"x": X, "s": np.array(target)})
    with pytest.raises(InputError, match="cannot take the shape"):
        model.run({"x": X, "s": np.array([5, -1])})
    with pytest.raises(InputError, match="'s' is missing"):
        model.run({"x": X})


def test_a_shape_that_depends_on_data_is_refused():
    source = proto([("Cast", ["x"], ["i"], {"to": TensorProto.INT64}), ("Reshape", ["z", "i"], ["y"], {})],
                   {"x": [5000], "z": [5000]}, {"y": None})
    with pytest.raises(tinynet.TinynetError, match="computed at run time"):
        convert_bytes(source)


# ---- the file

def test_formulas_survive_the_file_and_are_checked():
    graph = tnb.read(CONVERTED["layers"])
    assert graph.formulas and graph.dims == {"x": ("N", 3, "H", "W")}
    node, attribute, position, *_ = graph.formulas[0].values()
    for wrong in (Formula(len(graph.nodes), attribute, position, 1, 1, 0, ()), Formula(node, "none", position, 1, 1, 0, ()),
                  Formula(node, attribute, 99, 1, 1, 0, ()), Formula(node, attribute, position, 1, 0, 0, ())):
        graph.formulas = [wrong]
        with pytest.raises(tinynet.TinynetError, match="formulas"):
            write(graph)
    graph.formulas = [Formula(node, attribute, position, 1, 1, 0, ((graph.outputs[0], 0),))]
    with pytest.raises((FormatError, InputError), match="convert the model again"):
        tinynet.load(write(graph)).run(np.ones((1, 3, 16, 16), np.float32))
    graph.formulas = [Formula(node, attribute, position, 2 ** 62, 1, 0, (("x", 0), ("x", 2)))]
    with pytest.raises((FormatError, InputError), match="extent below"):
        tinynet.load(write(graph)).run(np.ones((2, 3, 16, 16), np.float32))


def test_a_formula_divides_the_product_and_adds_the_offset_last():
    tensors = {"x": Tensor("x", (2, 3, 7), "float32"), "y": Tensor("y", (5,), "float32")}
    assert value(Formula(0, "shape", 0, 3, 4, 0, (("x", 2), ("y", 0))), tensors) == 3 * 7 * 5 // 4
    assert value(Formula(0, "shape", 0, 3, 4, -6, (("x", 2),)), tensors) == 3 * 7 // 4 - 6
    assert value(Formula(0, "shape", 0, 9, 1, 0, ()), tensors) == 9
