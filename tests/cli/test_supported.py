"""tinynet supported"""

from __future__ import annotations

import json

from tinynet import ops
from tinynet.converters.onnx_builder import Refuse
from tinynet.converters.onnx_ops import OPERATORS
from tinynet.converters.supported import texts


def helper(value):
    raise Refuse(f"size {value} is odd")


def function(b, x, axes, *, mode):
    b.constant_input(axes, "axes")
    if mode:
        raise Refuse("mode a" if mode else "mode b")
    return helper(x)



def test_limits_are_read_from_the_functions():
    helper.__module__ = function.__module__ = "tinynet.converters.onnx_ops_test"
    assert texts(function) == (("axes",), ("mode a / mode b", "size ... is odd"))


def test_supported_json(run):
    code, out, _ = run("supported", "--json")
    facts = json.loads(out)
    assert code == 0 and [row["name"] for row in facts["operators"]] == list(OPERATORS)
    assert facts["layer_kinds"] == len(ops.kinds()) and facts["opsets"][0] == 7
    resize = next(row for row in facts["operators"] if row["name"] == "Resize")
    assert resize["runs"] and 13 in resize["versions"] and "scales" in resize["settings"] and resize["limits"]
    assert not {row["name"] for row in facts["refused"]} & set(OPERATORS)


def test_supported_for_people(run):
    code, out, _ = run("supported")
    assert code == 0 and "float64, bfloat16 become float32" in out and len(out.splitlines()) > len(OPERATORS)


def test_one_operator(run):
    code, out, _ = run("supported", "Reshape", "Foo", "Scan")
    assert code == 0 and "  shape" in out and "Foo: not supported\n" in out
    assert "Scan: not supported: it runs a subgraph" in out
    assert json.loads(run("supported", "Foo", "--json")[1])["unknown"] == ["Foo"]
