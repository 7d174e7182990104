"""The conformance run tells right from wrong; and the tests of onnx give no wrong value and no crash."""

from __future__ import annotations

import os
import time
from collections import Counter

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")
pytest.importorskip("flatbuffers")

from benchmarks import conformance, conformance_cases, table  # noqa: E402
from benchmarks.conformance import judge, run_all  # noqa: E402
from benchmarks.conformance_cases import Case  # noqa: E402

if onnx.__version__ != conformance_cases.pinned():
    pytest.skip(f"the conformance tests are those of onnx {conformance_cases.pinned()}", allow_module_level=True)

X = np.array([[-1.5, 2.0, 3.25]], np.float32)


def case(operator="Neg", inputs=(X,), outputs=(-X,), name="test", opset=13, **attributes):
    helper = onnx.helper

    def infos(stem, arrays):
        return [helper.make_tensor_value_info(f"{stem}{i}", helper.np_dtype_to_tensor_dtype(a.dtype), a.shape)
                for i, a in enumerate(arrays)]

    ins, outs = infos("x", inputs), infos("y", outputs)
    node = helper.make_node(operator, [i.name for i in ins], [o.name for o in outs], **attributes)
    model = helper.make_model(helper.make_graph([node], name, ins, outs), ir_version=9,
                              opset_imports=[helper.make_opsetid("", opset)])
    dtypes = tuple(sorted({str(a.dtype) for a in (*inputs, *outputs)}))
    return Case(name, operator, opset, dtypes, model, [(inputs, outputs)], 1e-3, 1e-7)


def test_right_and_wrong_values():
    assert judge(case()) == ("test", "pass", "", ())
    almost = -X.copy()
    almost[0, 1] *= 1.002
    assert judge(case(outputs=(almost,))).outcome == "wrong"
    assert "1 / 3" in judge(case(outputs=(almost,))).reason
    nan = -X.copy()
    nan[0, 0] = np.nan
    assert judge(case(outputs=(nan,))).outcome == "wrong"


def test_a_wrong_shape_or_type_is_wrong():
    pair = case()
    shape = pair._replace(sets=[((X,), (-X[0],))])        # would broadcast
    assert judge(shape).outcome == "wrong" and "[3], found [1, 3]" in judge(shape).reason
    dtype = pair._replace(sets=[((X,), (-X.astype(np.int64),))])
    assert "expected dtype int64" in judge(dtype).reason


def test_refusals_and_frozen_inputs():
    assert judge(case("NoSuchOperator")).outcome == "refused"
    target = np.array([3, 1], np.int64)
    reshape = case("Reshape", (X, target), (X.reshape(3, 1),))
    assert conformance.attempt(reshape, ("x1",)) == ("test", "pass", "", ("x1",))
    found = judge(reshape)
    assert found.outcome == "pass" or found.outcome == "pass-frozen" and found.frozen == ("x1",)
    assert list(conformance.freezes(reshape)) == [("x1",), ("x0",)]        # never all of them
    assert list(conformance.freezes(case("Range", (X, X), (X,)))) == [("x0", "x1")]
    assert list(conformance._subsets(("a", "b", "c"))) == [("c",), ("b",), ("a",), ("c", "b"), ("c", "a"), ("b", "a")]


def test_narrower_floats_are_counted_apart():
    exact = X.astype(np.float64)
    assert judge(case(inputs=(exact,), outputs=(-exact,))).outcome == "float32 of"
    assert judge(case(inputs=(exact,), outputs=(-1.01 * exact,))).outcome == "wrong"
    half = np.array([60000, -70000, 1], np.float32).astype(np.float16)
    assert np.isinf(half[1])                                # what overflows in the test's type does so here
    assert judge(case("Add", (half, half), (half + half,), opset=14)).outcome == "float32 of"


@pytest.mark.parametrize("fault", ["raise", "exit", "internal"])
def test_crashes_are_found_and_the_rest_still_runs(monkeypatch, fault):
    convert = conformance._convert

    def broken(test, constants):
        if test.name == "bad":
            if fault == "exit":
                os._exit(11)
            raise KeyError("x") if fault == "raise" else conformance.TinynetError("the converter made no sense")
        return convert(test, constants)

    monkeypatch.setattr(conformance, "_convert", broken)
    results = run_all([case(name=n) for n in ("a", "b", "bad", "c", "d")], 2)
    assert [r.name for r in results] == ["a", "b", "bad", "c", "d"]
    assert [r.outcome for r in results] == ["pass", "pass", "crash", "pass", "pass"]


def test_a_test_that_never_ends_is_a_crash(monkeypatch):
    monkeypatch.setattr(conformance, "_convert", lambda *_: time.sleep(60))
    monkeypatch.setattr(conformance, "PATIENCE", 0.2)
    result, = run_all([case()], 1)
    assert result.outcome == "crash" and "0.2 s" in result.reason


def test_tiers():
    assert case().tier == "basic"
    assert case(inputs=(X.astype(np.float16),)).tier == "vision and sequence"
    assert case("LSTM").tier == "vision and sequence"
    assert case("LSTM", inputs=(X.astype(np.uint16),)).tier == "other"
    assert case("Neg", opset=27).tier == case("StringConcat").tier == "other"
    assert conformance_cases.BASIC < conformance_cases.VISION
    known = {schema.name for schema in onnx.defs.get_all_schemas_with_history()}
    assert known >= conformance_cases.VISION


def test_another_version_of_onnx_is_refused(monkeypatch):
    monkeypatch.setattr(onnx, "__version__", "0.0.1")
    with pytest.raises(ValueError, match="pip install onnx=="):
        conformance_cases.cases()


def test_results_for_people_and_as_json(monkeypatch, capsys, tmp_path):
    tests = [case(name="a"), case(name="b", outputs=(X,)), case("NoSuchOperator", name="c")]
    monkeypatch.setattr(conformance, "cases", lambda pattern: tests)
    assert conformance.main("", 1, str(tmp_path / "c.json")) == 1
    assert "wrong  b: y0" in capsys.readouterr().out
    values = table.load(tmp_path)[0]
    assert values["tiers"]["basic"] == {"pass": 1, "wrong": 1} and values["tests"] == 3
    assert [row["test"] for row in values["rows"]] == ["b", "c"]
    text = table.section(values)
    assert "| basic | 2 | 1 |" in text and "NoSuchOperator" in text
    tests = tests[:1]
    assert conformance.main("", 1, None) == 0


def test_the_table_gives_reasons_not_tests():
    rows = [("Add", "an input is int16; expected one of float32, bool, or a float type that becomes float32: export ..."),
            ("Mul", "an input is int16; expected one of float32, bool, or a float type that becomes float32: export ..."),
            ("Neg", "an input is string; expected one of float32, bool, or a float type that becomes float32: export ..."),
            ("Loop", "If: its condition computed at run time (a tensor); control flow ..."),
            ("If", "its trip count computed at run time"),
            ("Odd", "with inputs x [3]: node 'Odd_0' (Odd): no such mode")]
    values = {"onnx": "1", "tiers": {"other": {"refused": 6}}, "rows": [
        {"operator": name, "outcome": "refused", "why": why} for name, why in rows] + [
        {"operator": "Abs", "outcome": "float32 of", "why": ""}]}
    types = "an element type that is none of float32, bool, nor a float type that becomes float32"
    assert table.conformance_table(values).splitlines()[-3:] == [
        f"| refused | 3 | {types} | int16 2, string |",
        "| refused | 2 | control flow has to be known at conversion | If, Loop |",
        "| refused | 1 | no such mode | Odd |"]


def test_every_test_of_onnx_is_right_or_refused(request):
    """All of them with --hypothesis-profile=long; every day the basic tier, and one in four of the others."""
    tests = conformance_cases.cases()
    assert len(tests) > 1800
    if request.config.getoption("--hypothesis-profile", None) != "long":
        others = [t for t in tests if t.tier != "basic"]
        tests = [t for t in tests if t.tier == "basic"] + others[::4]
    results = run_all(tests, 2)
    failed = [f"{r.outcome}: {r.name}: {r.reason}" for r in results if r.outcome in conformance.FAILURES]
    assert not failed
    found = Counter(r.outcome for r in results)
    assert found["pass"] > len(tests) / 4, found
