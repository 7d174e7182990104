"""tinynet run, and `model(image)` behind it"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from PIL import Image

import tinynet


def test_run_names_the_colours(run, folder, model):
    code, out, err = run("run", model, folder / "red.png", folder / "green.png", "--top", "2")
    assert code == 0 and err == ""
    lines = out.splitlines()
    assert lines[0].endswith("red.png") and lines[1].split()[1:] == ["%", "red"]
    assert lines[3].endswith("green.png") and lines[4].split()[1:] == ["%", "green"] and len(lines) == 6


def test_run_json(run, folder, model):
    code, out, err = run("run", model, folder / "red.png", "--json")
    result = json.loads(out)
    assert code == 0 and (result["version"], result["command"]) == (1, "run")
    entry = result["results"][0]
    assert entry["task"] == "classify" and entry["softmax_applied"] is True
    assert [score["label"] for score in entry["top"]] == ["red", "blue", "green"]
    assert sum(score["probability"] for score in entry["top"]) == pytest.approx(1)


def test_run_labels(run, fails, folder, model, tmp_path):
    (tmp_path / "l.txt").write_text("rot\ngr\u00fcn\nblau\n", encoding="utf-8")
    code, out, _ = run("run", model, folder / "green.png", "--labels", tmp_path / "l.txt", "--top", "1")
    assert code == 0 and out.splitlines()[1].endswith("%  gr\u00fcn")
    (tmp_path / "l.txt").write_text("a\nb\n")
    fails(2, "3 classes, but 2 labels", "run", model, folder / "green.png", "--labels", tmp_path / "l.txt")


def test_run_notes_that_nothing_was_given(run, folder, tmp_path):
    run("convert", folder / "colours.onnx", "-o", tmp_path / "plain.tnb")
    code, out, err = run("run", tmp_path / "plain.tnb", folder / "red.png", folder / "green.png")
    assert code == 0 and err.count("0..255") == 1 and err.startswith("note: ")
    assert "  0\n" in out


def test_run_goes_on_after_a_bad_picture(run, fails, folder, model, tmp_path):
    (tmp_path / "bad.png").write_text("no picture")
    pictures = tmp_path / "bad.png", tmp_path / "none.png", folder / "red.png"
    code, out, err = run("run", model, *pictures, "--json")
    results = json.loads(out)["results"]
    assert code == 6 and err.count("\n") == 2 and "not a picture" in err
    assert "not a picture" in results[0]["error"] and results[2]["top"][0]["label"] == "red"
    fails(3, "none.png", "run", model, tmp_path / "none.png")


def test_run_raw_arrays(run, fails, model, tmp_path):
    array = np.zeros((1, 3, 8, 8), np.float32)
    array[:, 2] = 9
    np.save(tmp_path / "x.npy", array)
    code, out, err = run("run", model, tmp_path / "x.npy", "--top", "1")
    assert code == 0 and err == "" and out.splitlines()[1].endswith("blue")
    np.save(tmp_path / "x.npy", array[:, :2])
    fails(6, "expects float32 [1, 3, 8, 8], found float32 [1, 2, 8, 8]", "run", model, tmp_path / "x.npy")


def test_run_summarises_other_outputs(run, folder, tmp_path):
    source = tmp_path / "map.onnx"
    graph = helper.make_graph(
        [helper.make_node("Relu", ["x"], ["y"])], "map",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 4, 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 3, 4, 4])])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), source)
    assert run("convert", source, "-q")[0] == 0
    code, out, err = run("run", tmp_path / "map.tnb", folder / "red.png")
    assert code == 0
    assert out.splitlines()[2].split() == ["y", "1x3x4x4", "0", "255", "[0,", "0,", "0,", "0]"]


def test_run_onnx_directly(run, folder):
    code, out, err = run("run", folder / "colours.onnx", folder / "green.png", "--top", "1")
    assert code == 0 and out.splitlines()[1].split()[-1] == "1"


def test_model_call(folder, model):
    with tinynet.load(model) as network:
        for picture in (folder / "red.png", str(folder / "red.png"), Image.open(folder / "red.png"),
                        np.full((8, 8, 3), (9, 0, 0), np.uint8)):
            result = network(picture, top=2)
            assert result.label == "red" and len(result.top) == 2 and "red" in str(result)


def test_models_that_are_none(fails, folder, tmp_path):
    broken = tmp_path / "broken.tnb"
    for command in (["run", "MODEL", folder / "red.png"], ["inspect", "MODEL"], ["plan", "MODEL"], ["bench", "MODEL"]):
        words = [broken if word == "MODEL" else word for word in command]
        broken.unlink(missing_ok=True)
        fails(3, "broken.tnb", *words)
        for data in (b"", b"no model" * 100, (folder / "colours.tnb").read_bytes()[:-700]):
            broken.write_bytes(data)
            fails(3, "broken.tnb", *words)


def test_the_bundled_digits(run, tmp_path):
    digits = Path(__file__).resolve().parents[2] / "examples" / "digits"
    code, _, err = run("convert", digits / "digits.onnx", "-o", tmp_path / "d.tnb", "--mean", "0",
                       "--std", "255", "--color", "gray", "--labels", digits / "labels.txt")
    assert code == 0, err
    pictures = sorted((digits / "pictures").glob("*.png"))
    code, out, err = run("run", tmp_path / "d.tnb", *pictures, "--json")
    assert code == 0 and err == ""
    assert [entry["top"][0]["label"] for entry in json.loads(out)["results"]] == [p.name[0] for p in pictures]
    code, out, err = run("compare", tmp_path / "d.tnb", digits / "digits.onnx", "--layers")
    assert code == 0 and "comparable layers agree" in out, out
