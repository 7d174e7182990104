"""tinynet inspect, plan and bench, and the documentation of all JSON fields"""

from __future__ import annotations

import json
import os

import pytest

from tinynet import cli
from tinynet.cli import bench


def test_inspect(run, model):
    code, out, err = run("inspect", model, "--layers")
    assert code == 0 and err == ""
    assert "3: red; green; blue" in out and "opset 13" in out and "picture" in out and "conv2d" in out


def test_inspect_json(run, model):
    facts = json.loads(run("inspect", model, "--json")[1])
    assert facts["file_bytes"] == model.stat().st_size and facts["labels"] == ["red", "green", "blue"]
    assert facts["inputs"] == [{"name": "picture", "shape": [1, 3, 8, 8], "dtype": "float32"}]
    assert facts["source"]["operators"] == 5 and facts["preprocess"]["given"] is True
    assert sum(layer["macs"] for layer in facts["layers"]) == facts["macs"] >= 3 * 3 * 9 * 64


def test_inspect_onnx_says_convert(fails, folder):
    fails(3, "tinynet convert", "inspect", folder / "colours.onnx")


def test_inspect_hides_control_characters(run, folder, tmp_path):
    (tmp_path / "l.txt").write_text("a\x1b]0;evil\x07\nb\nc\n")
    run("convert", folder / "colours.onnx", "-o", tmp_path / "x.tnb", "--labels", tmp_path / "l.txt")
    for command in (["inspect", tmp_path / "x.tnb"], ["run", tmp_path / "x.tnb", folder / "red.png"]):
        code, out, err = run(*command)
        assert code == 0 and "evil" in out and "\x1b" not in out + err


def test_plan(run, model):
    code, out, err = run("plan", model)
    assert code == 0 and err == "" and "conv2d" in out and "arena" in out.lower()


def test_bench(run, model):
    code, out, err = run("bench", model, "--runs", "7", "--threads", "1", "--profile", "--json")
    facts = json.loads(out)
    assert code == 0 and facts["runs"] == 7 and facts["threads"] == 1
    assert 0 < facts["min_ms"] <= facts["median_ms"] <= facts["p90_ms"]
    assert sum(layer["share"] for layer in facts["layers"]) == pytest.approx(1)
    assert any(layer["kind"] == "conv2d" and layer["macs"] > 0 and not layer["python"] for layer in facts["layers"])
    code, out, err = run("bench", model, "--seconds", "0.05", "--profile")
    assert code == 0 and "median" in out and "conv2d" in out


def test_statistics():
    assert bench.statistics([3.0, 1.0, 2.0]) == {"runs": 3, "median_ms": 2.0, "p90_ms": 3.0, "min_ms": 1.0}
    assert bench.statistics(list(range(1, 11))) == {"runs": 10, "median_ms": 5.5, "p90_ms": 9, "min_ms": 1}


def test_json_fields_are_documented(run, folder, model, tmp_path):
    """Every field that a command prints stands in tinynet/cli/README.md."""
    readme = (os.path.join(os.path.dirname(cli.__file__), "README.md"))
    with open(readme, encoding="utf-8") as file:
        text = file.read()
    commands = (["convert", folder / "colours.onnx", "-o", tmp_path / "x.tnb"], ["run", model, folder / "red.png"],
                ["inspect", model], ["bench", model, "--runs", "2", "--profile"],
                ["compare", model, folder / "colours.onnx", "--layers"], ["doctor"])
    for command in commands:
        facts = json.loads(run(*command, "--json")[1])
        assert [name for name in facts if f"`{name}`" not in text] == []
        row = next(line for line in text.splitlines() if line.startswith(f"| `{command[0]}` | `"))
        assert [name for name in facts if f"`{name}`" not in row and name not in ("version", "command")] == []
