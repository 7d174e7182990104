"""The command line of `peers`: which models, and how a run is continued.  The engines are not started."""

from __future__ import annotations

import json

import pytest

from benchmarks import __main__ as main
from benchmarks import engines, harness, process
from benchmarks.harness import Row


@pytest.fixture
def measured(monkeypatch):
    """Labels of the models in the order in which they were measured; "bad" is one where the program is ended."""
    found = []

    def bench_model(model, names, settings):
        if model.stem == "bad":
            raise KeyboardInterrupt
        found.append(model.stem)
        return [Row(model.stem, "tinynet", "1", median_ms=float(len(found)), min_ms=1.0, correct=True, error=0.0)]

    monkeypatch.setattr(harness, "bench_model", bench_model)
    return found


def run(*arguments):
    return main.run(main.parser().parse_args(["peers", *map(str, arguments)]))


def zoo(folder, *names):
    folder.mkdir(exist_ok=True)
    for name in names:
        (folder / f"{name}.onnx").touch()
    return folder


def rows(path):
    return {row["model"]: row["median_ms"] for row in json.loads(path.read_text())["rows"]}


def test_a_zoo_that_was_stopped_is_continued(tmp_path, measured):
    results = tmp_path / "r.json"
    folder = zoo(tmp_path / "zoo", "a", "bad", "c")
    with pytest.raises(KeyboardInterrupt):
        run("--zoo", folder, "--json", results, "--resume")
    assert rows(results) == {"a": 1.0}                      # what was finished is kept
    (folder / "bad.onnx").unlink()
    assert run("--zoo", folder, "--json", results, "--resume") == 0
    assert measured == ["a", "c"] and rows(results) == {"a": 1.0, "c": 2.0}


def test_one_model_is_measured_again_and_the_others_stay(tmp_path, measured):
    results = tmp_path / "r.json"
    folder = zoo(tmp_path / "zoo", "a", "b")
    run("--zoo", folder, "--json", results)
    run(folder / "a.onnx", "--json", results, "--update")
    assert rows(results) == {"b": 2.0, "a": 3.0}
    run(folder / "b.onnx", "--json", results)
    assert rows(results) == {"b": 4.0}


def test_usage(tmp_path, measured):
    model = zoo(tmp_path / "zoo", "a") / "a.onnx"
    for arguments, message in [
            ([], "expected models"), (["--zoo", tmp_path], "there is no .onnx"), ([tmp_path / "none.onnx"], "no such file"),
            ([model, "--resume"], "need --json"),
            ([model, model], "2 models are called 'a'"), ([model, "--engines", "tinynet,none"], "no adapter 'none'")]:
        with pytest.raises(main.UsageError, match=message):
            run(*arguments)
    run(model, "--json", tmp_path / "r.json")
    with pytest.raises(ValueError, match="threads 1, expected 2"):
        run(model, "--json", tmp_path / "r.json", "--threads", 2, "--update")
    assert measured == ["a"]


def test_limits_of_the_instruction_set():
    assert process.limits("tinynet", "avx2") == {"TINYNET_ISA": "avx2"} and process.limits("tinynet", "") == {}
    assert process.limits("openvino", "avx2") == {"ONEDNN_MAX_CPU_ISA": "AVX2"}
    assert {e for e in engines.NAMES if process.limits(e, "avx2") is None} == {"onnxruntime", "ncnn", "mnn", "litert"}
    assert process.limits("openvino", "") is None


def test_environment_of_engines(monkeypatch):
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    monkeypatch.setenv("KEPT", "1")
    found = process.environment("openvino", "avx2")
    assert "PYTHONDONTWRITEBYTECODE" not in found and (found["KEPT"], found["ONEDNN_MAX_CPU_ISA"]) == ("1", "AVX2")
    assert process.environment("mnn", "avx2").keys() == found.keys() - {"ONEDNN_MAX_CPU_ISA"}
