"""Which sizes are tried before a network with open sizes is stored as layers, and what the layers then refuse."""

from __future__ import annotations

import numpy as np
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

import tinynet
from tinynet.converters import convert_bytes
from tinynet.converters.open_sizes import UNITS, between, samples
from tinynet.errors import InputError

RNG = np.random.default_rng(4)
DIMS = {"x": ("N", 3, "H", "W"), "y": ("N", "L")}


def proto(nodes, outputs, shape=("N", 3, "H", "W"), **constants):
    graph = helper.make_graph(
        [helper.make_node(kind, ins, outs, **attrs) for kind, ins, outs, attrs in nodes], "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs],
        [numpy_helper.from_array(np.asarray(a), n) for n, a in constants.items()])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


def weights(*shape):
    return RNG.standard_normal(shape).astype(np.float32)


def halved_and_joined(halvings):
    """Max pools and a doubling back for each, joined with what they began with: multiples of 2 ** halvings alone."""
    nodes, name = [("Conv", ["x", "w"], ["a0"], {})], "a0"
    for i in range(halvings):
        nodes.append(("MaxPool", [name], [f"a{i + 1}"], {"kernel_shape": [2, 2], "strides": [2, 2]}))
        name = f"a{i + 1}"
    for i in range(halvings):
        nodes.append(("Resize", [name, "", "twice"], [f"b{i}"],
                      {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}))
        name = f"b{i}"
    nodes.append(("Concat", ["a0", name], ["out"], {"axis": 1}))
    return proto(nodes, ["out"], w=weights(4, 3, 1, 1), twice=np.array([1, 1, 2, 2], np.float32))


def folded(then):
    """Space to depth takes even sizes alone; what follows sees any."""
    return proto([("SpaceToDepth", ["x"], ["s"], {"blocksize": 2}), *then], ["out"], w=weights(5, 12, 3, 3))


def agree(model, source, height, width, batch=2):
    x = weights(batch, 3, height, width)
    (wanted,) = onnxruntime.InferenceSession(source.SerializeToString()).run(None, {"x": x})
    (found,) = model.run({"x": x}).values()
    assert found.shape == wanted.shape
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-5 * np.abs(wanted).max())


@pytest.mark.parametrize("halvings", [1, 3, 5, 6])
def test_multiples_of_a_power_of_two_are_layers(halvings):
    source, unit = halved_and_joined(halvings), 2 ** halvings
    model = tinynet.load(convert_bytes(source)[0])
    assert not model.source.source and model.source.formulas is not None
    for height, width in ((unit, 3 * unit), (2 * unit, 2 * unit), (5 * unit, unit)):
        agree(model, source, height, width)
    for height, width in ((unit + 1, unit), (unit, 2 * unit + unit // 2), (3 * unit - 1, unit)):
        with pytest.raises(InputError, match="with inputs x"):
            model.run(np.zeros((1, 3, height, width), np.float32))


def test_layers_that_are_the_same_for_each_multiple():
    source = folded([("Conv", ["s", "w"], ["out"], {"pads": [1, 1, 1, 1], "strides": [2, 2]})])
    model = tinynet.load(convert_bytes(source)[0])
    assert not model.source.source
    for height, width in ((2, 4), (6, 10), (38, 44)):
        agree(model, source, height, width)


def test_padding_that_depends_on_parity_stays_an_operator_whatever_the_unit():
    """All multiples of 4 would have the same pads, and multiples of 2 others: those may not be taken for the same."""
    source = folded([("Conv", ["s", "w"], ["out"], {"auto_pad": "SAME_UPPER", "strides": [2, 2]})])
    model = tinynet.load(convert_bytes(source)[0])
    assert model.source.source
    for height, width in ((2, 4), (6, 10), (8, 12)):
        agree(model, source, height, width)


@pytest.mark.parametrize(("kernel", "strides"), [((1, 3), (1, 2)), ((3, 1), (2, 1)), ((1, 5), (1, 3)), ((5, 1), (4, 1))])
def test_padding_that_depends_on_one_side_alone(kernel, strides):
    source = proto([("Conv", ["x", "w"], ["out"], {"auto_pad": "SAME_UPPER", "strides": strides})], ["out"],
                   w=weights(5, 3, *kernel))
    model = tinynet.load(convert_bytes(source)[0])
    for height, width in ((8, 9), (9, 8), (10, 11), (11, 10)):
        agree(model, source, height, width)


def test_a_size_between_multiples_that_gives_other_layers_keeps_the_operators():
    """A reshape to [-1, 3, 8, 8] takes 8 x 8 patches, and also 4 x 16 pixels; SAME padding then depends on the rest."""
    source = proto([("Reshape", ["x", "patches"], ["p"], {}), ("ReduceMean", ["p", "all"], ["m"], {}),
                    ("Conv", ["x", "w"], ["c"], {"auto_pad": "SAME_UPPER", "strides": [2, 2]}),
                    ("Add", ["c", "m"], ["out"], {})],
                   ["out"], w=weights(4, 3, 3, 3), patches=np.array([-1, 3, 8, 8]), all=np.array([0, 1, 2, 3]))
    model = tinynet.load(convert_bytes(source)[0])
    for height, width in ((8, 8), (16, 24), (64, 3), (5, 64)):
        agree(model, source, height, width)


@pytest.mark.parametrize("mode", ["nearest", "linear", "cubic"])
def test_upsampling_to_the_size_of_another_tensor_is_layers(mode):
    """As F.interpolate(y, size=x.shape[2:]) is exported: odd sizes too, by a scale that no formula has."""
    source = proto([("Conv", ["x", "w"], ["small"], {"strides": [2, 3], "pads": [1, 1, 1, 1]}), ("Shape", ["x"], ["s"], {}),
                    ("Shape", ["small"], ["t"], {}), ("Slice", ["t", "zero", "two"], ["nc"], {}),
                    ("Slice", ["s", "two", "four"], ["hw"], {}), ("Concat", ["nc", "hw"], ["sizes"], {"axis": 0}),
                    ("Resize", ["small", "", "", "sizes"], ["up"], {"mode": mode, "nearest_mode": "floor"}),
                    ("Concat", ["x", "up"], ["out"], {"axis": 1})], ["out"],
                   w=weights(4, 3, 3, 3), zero=np.array([0]), two=np.array([2]), four=np.array([4]))
    model = tinynet.load(convert_bytes(source)[0])
    assert not model.source.source
    for height, width in ((8, 8), (17, 24), (31, 20), (5, 64)):
        agree(model, source, height, width)


def test_a_network_that_needs_a_least_size_is_layers():
    source = proto([("Conv", ["x", "w"], ["a"], {"strides": [2, 2]}), ("MaxPool", ["a"], ["out"], {"kernel_shape": [60, 60]})],
                   ["out"], w=weights(4, 3, 9, 9))
    model = tinynet.load(convert_bytes(source)[0])
    assert not model.source.source
    for height, width in ((127, 128), (150, 201)):
        agree(model, source, height, width, 1)


def test_a_constant_for_each_picture_of_a_batch_is_stored_once():
    """A class token is expanded to the batch, which only the run knows; the same numbers however large it is."""
    token = weights(1, 3, 1, 5)
    source = proto([("Shape", ["x"], ["s"], {}), ("Slice", ["s", "zero", "one"], ["n"], {}),
                    ("Concat", ["n", "rest"], ["target"], {"axis": 0}), ("Expand", ["token", "target"], ["t"], {}),
                    ("Concat", ["t", "x"], ["out"], {"axis": 2})], ["out"], shape=("N", 3, 4, 5),
                   zero=np.array([0]), one=np.array([1]), rest=np.array([3, 1, 5]), token=token)
    model = tinynet.load(convert_bytes(source)[0])
    assert not model.source.source
    assert [t.shape for t in model.source.tensors.values() if t.is_constant] == [token.shape]
    for batch in (1, 2, 7):
        agree(model, source, 4, 5, batch)


def test_numbers_that_differ_along_an_open_axis_keep_the_operators():
    """0, 1, 2, ... is no slice that repeats."""
    source = proto([("Shape", ["x"], ["s"], {}), ("Gather", ["s", "two"], ["h"], {}),
                    ("Range", ["zero", "h", "one"], ["r"], {}), ("Cast", ["r"], ["f"], {"to": TensorProto.FLOAT}),
                    ("Reshape", ["f", "column"], ["c"], {}), ("Add", ["x", "c"], ["out"], {})], ["out"],
                   zero=np.array(0), one=np.array(1), two=np.array(2), column=np.array([-1, 1]))
    model = tinynet.load(convert_bytes(source)[0])
    assert model.source.source
    for height, width in ((4, 5), (9, 2)):
        agree(model, source, height, width)


@pytest.mark.parametrize("padding", ["NOTSET", "SAME_UPPER"])
def test_remarks_of_the_importer_come_once_whether_layers_or_operators_are_stored(padding):
    source = proto([("Cast", ["x"], ["half"], {"to": TensorProto.FLOAT16}),
                    ("Cast", ["half"], ["a"], {"to": TensorProto.FLOAT}),
                    ("Conv", ["a", "w"], ["out"], {"auto_pad": padding, "strides": [2, 2]})], ["out"], w=weights(4, 3, 3, 3))
    data, report = convert_bytes(source)
    assert tinynet.load(data).source.source == (padding != "NOTSET")
    assert report.notes.count("float16 data becomes float32") == 1


@pytest.mark.parametrize("unit", UNITS)
def test_samples_have_little_in_common(unit):
    every = list(samples(DIMS, unit))
    for name, least in (("N", 1), ("H", 97), ("W", 97), ("L", 7)):
        step = 1 if name == "N" else unit
        multiples = [sizes[name] // step for sizes in every]
        assert all(sizes[name] % step == 0 and sizes[name] >= least for sizes in every)
        assert len(set(multiples)) == 4 and len({m % 2 for m in multiples}) == 2
    for a, b in (("H", "W"), ("H", "L")):
        assert len({sizes[a] - sizes[b] for sizes in every}) > 1 and len({sizes[a] / sizes[b] for sizes in every}) > 1


def test_sizes_between_are_no_multiples():
    assert not list(between(DIMS, 1))
    found = list(between(DIMS, 8))
    assert {sizes["H"] % 8 for sizes in found} == {0, 1, 2, 4, 6, 7} and all(sizes["N"] == 2 for sizes in found)
    assert all(sorted(sizes[d] % 8 == 0 for d in "HWL") == [False, True, True] for sizes in found)
