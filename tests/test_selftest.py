"""Inputs invented for the self-test, profiles and benchmarks."""

from __future__ import annotations

import numpy as np
import pytest
from nets import Net

from tinynet import selftest
from tinynet.model import random_inputs


def embedding(rows, function=None):
    """An embedding of `rows` rows read at token ids, which are moved about before."""
    net = Net()
    ids = net.input(np.zeros((2, 3, 2), np.int64))
    table = net.constant(np.arange(rows * 4, dtype=np.float32).reshape(rows, 4))
    x = net.add("cast", net.add("reshape", net.cut(ids, 1, 3, axis=1), shape=(8,)), to="int32")
    x = net.add("concat", x, x, axis=0)
    return net, ids, net.add("gather", table, function(net, x) if function else x)


@pytest.mark.parametrize("rows", [1, 3, 300])
def test_indices_stay_inside_what_they_index(rows):
    net, ids, y = embedding(rows)
    model = net.model(y)
    assert selftest.index_limits(net.graph)[ids] == rows
    for found in (selftest.inputs(model, 1)[ids], random_inputs(model)[ids]):
        assert found.dtype == np.int64 and found.min() >= 0 and found.max() < rows
        assert rows == 1 or len(set(found.reshape(-1).tolist())) > 1
        model.run({ids: found})


def test_the_narrowest_of_several_counts():
    net, ids, y = embedding(30)
    lengths = net.cut(net.add("reshape", ids, shape=(12,)), 0, 2)
    z = net.add("reverse_sequence", net.input(np.zeros((5, 2), np.float32)), lengths)
    assert selftest.index_limits(net.graph)[ids] == 6       # lengths of 0 to 5
    net.model(y, z).run(random_inputs(net.model(y, z)))


def test_other_inputs_are_as_they_were():
    net = Net()
    x = net.input(np.zeros((4, 50), np.int64))
    model = net.model(net.add("add", x, x))
    assert not selftest.index_limits(net.graph)
    for found in (selftest.inputs(model, 1)[x], random_inputs(model)[x]):
        assert found.min() >= 0 and 200 < found.max() < 256


def test_a_network_that_does_not_take_invented_numbers_converts():
    """Its indices are computed: nobody can tell which inputs make them valid."""
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("flatbuffers")
    from tinynet.converters import convert_bytes
    helper = onnx.helper
    nodes = [helper.make_node("Mul", ["x", "x"], ["i"]), helper.make_node("Gather", ["table", "i"], ["y"])]
    table = onnx.numpy_helper.from_array(np.arange(6, dtype=np.float32).reshape(3, 2), "table")
    info = helper.make_tensor_value_info("x", onnx.TensorProto.INT64, [9])
    graph = helper.make_graph(nodes, "g", [info], [onnx.ValueInfoProto(name="y")], [table])
    model = helper.make_model(graph, ir_version=9, opset_imports=[helper.make_opsetid("", 17)])
    _, report = convert_bytes(model)
    assert any(note.startswith("no self-test is recorded, ") and "between -3 and 2" in note for note in report.notes)
