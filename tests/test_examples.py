"""The bundled digits example: the committed files say what they are, and the demo tells right from wrong."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"
DIGITS = EXAMPLES / "digits"
MODEL = DIGITS / "digits.onnx"
PICTURES = sorted((DIGITS / "pictures").glob("*.png"))


def load_script(name: str):
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def data():
    return load_script("digits_data")


@pytest.fixture(scope="module")
def report():
    return json.loads((DIGITS / "accuracy.json").read_text())


def test_model_is_small_and_whole():
    onnx = pytest.importorskip("onnx")
    assert MODEL.stat().st_size <= 150_000
    model = onnx.load(MODEL, load_external_data=False)
    onnx.checker.check_model(model, full_check=True)
    assert all(t.data_location == onnx.TensorProto.DEFAULT for t in model.graph.initializer)

    def shape(value):
        return value.name, [d.dim_value for d in value.type.tensor_type.shape.dim]

    assert [shape(v) for v in model.graph.input] == [("image", [1, 1, 8, 8])]
    assert [shape(v) for v in model.graph.output] == [("probability", [1, 10])]


def test_model_exercises_the_engine():
    onnx = pytest.importorskip("onnx")
    model = onnx.load(MODEL)
    kinds = {node.op_type for node in model.graph.node}
    assert kinds >= {"Conv", "BatchNormalization", "Relu", "Add", "MaxPool", "ReduceMean", "Gemm", "Softmax"}
    groups = [a.i for n in model.graph.node if n.op_type == "Conv" for a in n.attribute if a.name == "group"]
    assert max(groups) > 1, "no depthwise convolution"


def test_model_tells_nothing_about_the_machine_that_made_it():
    onnx = pytest.importorskip("onnx")
    model = onnx.load(MODEL)
    nodes = list(model.graph.node)
    assert not model.metadata_props and not model.graph.metadata_props
    assert not [n.name for n in nodes if n.metadata_props or n.doc_string]
    assert b".py" not in MODEL.read_bytes()


def test_accuracy_file(report):
    assert report["accuracy"] >= 0.97
    assert report["accuracy_bilinear"] >= 0.97
    assert report["accuracy"] == round(report["right"] / report["held_out"], 6)
    assert report["bytes"] == MODEL.stat().st_size, "digits.onnx and accuracy.json are of different trainings"
    assert "/" not in json.dumps(report)


def test_readme_says_what_was_measured(report):
    text = (EXAMPLES / "README.md").read_text()
    for right, accuracy in (("right", "accuracy"), ("right_bilinear", "accuracy_bilinear")):
        assert f"| {report[right]} of {report['held_out']} | {100 * report[accuracy]:.1f} % |" in text


def test_labels():
    assert (DIGITS / "labels.txt").read_text().split() == list("0123456789")


def test_there_is_a_picture_of_every_digit():
    assert {p.name[0] for p in PICTURES} == set("0123456789")


@pytest.mark.parametrize("resample", ["BILINEAR", "BOX"])
@pytest.mark.parametrize("picture", PICTURES, ids=lambda p: p.stem)
def test_picture_is_read_right(data, picture, resample):
    pytest.importorskip("onnxruntime")
    pytest.importorskip("PIL")
    pixels = data.read_picture(picture, resample)
    probability = data.probabilities(MODEL.read_bytes(), pixels[None])[0]
    assert probability.sum() == pytest.approx(1, abs=1e-5)
    assert probability.argmax() == int(picture.name[0])


def test_pictures_are_the_first_held_out_digits(data):
    pytest.importorskip("sklearn")
    pytest.importorskip("PIL")
    _, _, held_x, held_y = data.load_split()
    for picture in PICTURES:
        first = np.flatnonzero(held_y == int(picture.name[0]))[0]
        np.testing.assert_array_equal(data.read_picture(picture, "BOX"), held_x[first])


def test_split_is_disjoint_and_complete(data):
    pytest.importorskip("sklearn")
    train_x, train_y, held_x, held_y = data.load_split()
    assert len(train_x) == len(train_y) == 1347 and len(held_x) == len(held_y) == 450
    assert not {x.tobytes() for x in train_x} & {x.tobytes() for x in held_x}
    assert held_x.dtype == np.uint8 and held_x.max() == 255


def test_held_out_accuracy_is_what_the_file_says(data, report):
    pytest.importorskip("sklearn")
    pytest.importorskip("onnxruntime")
    _, _, held_x, held_y = data.load_split()
    right = int((data.probabilities(MODEL.read_bytes(), held_x).argmax(1) == held_y).sum())
    assert (right, len(held_y)) == (report["right"], report["held_out"])


class StandInModel:
    """Answers 3 to every picture, as `tinynet.load` would."""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        return None

    def __call__(self, picture):
        return SimpleNamespace(top=[(3, "3", 0.75), (8, "8", 0.25)])


def test_demo_ends_with_1_when_a_digit_is_wrong(tmp_path, monkeypatch, capsys):
    script = load_script("demo")
    calls = []
    monkeypatch.setattr(script.tinynet.converters, "convert", lambda *a, **k: calls.append(k), raising=False)
    monkeypatch.setattr(script.tinynet, "load", lambda path: StandInModel(), raising=False)
    folder = ["--build", str(tmp_path / "new")]
    assert script.main([*folder, "3_0.png"]) == 0
    assert capsys.readouterr().out == "3_0.png    3  0.7500  right\n"
    assert script.main([*folder, "3_0.png", "4_0.png"]) == 1
    assert capsys.readouterr().out.splitlines()[1] == "4_0.png    3  0.7500  WRONG"
    assert calls[0]["std"] == 255.0 and calls[0]["color"] == "gray"


def test_demo_end_to_end(tmp_path):
    converters = pytest.importorskip("tinynet.converters")
    if not hasattr(converters, "convert"):
        pytest.skip("tinynet.converters.convert does not exist yet")
    done = subprocess.run([sys.executable, str(EXAMPLES / "demo.py"), "--build", str(tmp_path)],
                          capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) == len(PICTURES) and all(line.endswith("right") for line in lines)
    assert (tmp_path / "digits.tnb").stat().st_size > 0


def test_custom_layer_in_numpy_and_numba():
    pytest.importorskip("onnx")
    pytest.importorskip("numba", reason='numba is not installed: pip install "tinynet-engine[numba]"')
    done = subprocess.run([sys.executable, str(EXAMPLES / "custom_layer.py")], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].endswith("ms  (step `python`)") and "(step `custom`)" in lines[2] and "times as fast" in lines[2]


def test_custom_layer_says_when_numba_is_missing(monkeypatch, capsys):
    pytest.importorskip("onnx")
    from tinynet import custom

    script = load_script("custom_layer")
    monkeypatch.setitem(sys.modules, "numba", None)
    try:
        assert script.main() == 0
    finally:
        custom.unregister("example.smooth")
    assert 'pip install "tinynet-engine[numba]"' in capsys.readouterr().out
