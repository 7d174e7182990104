"""`tinynet convert --int8`, `tinynet quantize`, and what `inspect` shows of it."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest

DIGITS = Path(__file__).parents[2] / "examples" / "digits"
OPTIONS = ("--mean", "0", "--std", "255", "-q")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """digits.tnb in float, and pixels.npz with 24 inputs and their labels."""
    from PIL import Image

    from tinynet.__main__ import main

    folder = tmp_path_factory.mktemp("quantize")
    assert main(["convert", str(DIGITS / "digits.onnx"), "-o", str(folder / "digits.tnb"), *OPTIONS]) == 0
    rows, labels = [], []
    for path in sorted((DIGITS / "pictures").glob("*.png"))[:10]:
        with Image.open(path) as picture:
            pixels = np.asarray(picture.convert("L").resize((8, 8)), np.float32) / 255
        rows += [pixels, 0.9 * pixels, 0.8 * pixels]
        labels += [int(path.stem[0])] * 3
    np.savez(folder / "pixels.npz", image=np.array(rows, np.float32)[:, None], labels=np.array(labels))
    return folder


def test_quantize_prints_the_report_and_inspect_shows_it(made, run, tmp_path):
    target = tmp_path / "int8.tnb"
    code, out, err = run("quantize", made / "digits.tnb", made / "pixels.npz", "-o", target)
    assert code == 0
    for words in ("SQNR dB", "why float", "conv2d", "int8 layers", "accuracy", "size", "times float32"):
        assert words in out
    code, shown, _ = run("inspect", target)
    assert "output SQNR" in shown and "accuracy" in shown and "times float32" not in shown and "why float" not in shown
    assert "why float" in run("inspect", target, "--layers")[1]


def test_json_has_the_same_numbers_everywhere(made, run, tmp_path):
    target = tmp_path / "int8.tnb"
    told = json.loads(run("quantize", made / "digits.tnb", made / "pixels.npz", "-o", target, "--json")[1])
    assert told["command"] == "quantize" and told["speedup"] > 0
    seen = json.loads(run("inspect", target, "--json")[1])["quantization"]
    assert seen == told["quantization"]
    assert seen["measure"] == "accuracy" and seen["judged"] == 7 and seen["calibrated"] == 23
    assert seen["file_bytes"] == target.stat().st_size and seen["float_bytes"] == (made / "digits.tnb").stat().st_size
    assert json.loads(run("inspect", made / "digits.tnb", "--json")[1])["quantization"] is None


def test_all_spellings_give_the_same_bytes(made, run, tmp_path):
    found = []
    for words in (["DATA"], ["--data", "DATA"], ["--int8", "DATA"]):
        words = [str(made / "pixels.npz") if w == "DATA" else w for w in words]
        target = tmp_path / f"{len(found)}.tnb"
        assert run("quantize", made / "digits.tnb", *words, "--minmax", "-o", target, "-q")[0] == 0
        found.append(target.read_bytes())
    assert found[0] == found[1] == found[2]
    words = ("--int8", made / "pixels.npz", "--minmax", "-o", tmp_path / "c.tnb", *OPTIONS)
    assert run("convert", DIGITS / "digits.onnx", *words)[0] == 0
    import tinynet

    x = np.load(made / "pixels.npz")["image"][:1]
    outputs = [next(iter(tinynet.load(path).run({"image": x}).values())) for path in (tmp_path / "0.tnb", tmp_path / "c.tnb")]
    assert (outputs[0] == outputs[1]).all()


def test_inspect_shows_it_without_numpy(made, run, python, tmp_path):
    target = tmp_path / "int8.tnb"
    assert run("quantize", made / "digits.tnb", made / "pixels.npz", "-o", target, "-q")[0] == 0
    code = ("import sys; sys.modules['numpy'] = None\nfrom tinynet.__main__ import main\n"
            "sys.exit(main(['inspect', sys.argv[1]]))")
    done = python("-c", code, target, env=dict(os.environ))
    assert done.returncode == 0 and "output SQNR" in done.stdout, done.stderr


def test_max_drop_leaves_the_old_file_and_shows_the_layers(made, run, tmp_path, monkeypatch):
    from tinynet.converters.quantize import judge

    target = tmp_path / "int8.tnb"
    target.write_bytes(b"old")
    monkeypatch.setattr(judge.Verdict, "drop", property(lambda self: 0.25))
    code, out, err = run("quantize", made / "digits.tnb", made / "pixels.npz", "-o", target, "--max-drop", "20%")
    assert code == 1 and "int8 loses 25.00 %" in err and "--max-drop allows 20 %: nothing was written" in err
    assert "SQNR dB" in out and target.read_bytes() == b"old" and len(list(tmp_path.iterdir())) == 1
    assert run("quantize", made / "digits.tnb", made / "pixels.npz", "-o", target, "--max-drop", "0.3", "-q")[0] == 0


def test_mistakes(made, fails, tmp_path):
    model, target = made / "digits.tnb", tmp_path / "x.tnb"
    data = made / "pixels.npz"
    fails(2, "ranges of activations cannot be guessed", "quantize", model, "random", "-o", target)
    fails(2, "ranges of activations cannot be guessed", "convert", DIGITS / "digits.onnx", "--int8", "random", "-o", target)
    fails(2, "expected calibration data once", "quantize", model, "-o", target)
    fails(2, "expected calibration data once", "quantize", model, data, "--data", data, "-o", target)
    fails(3, "no such file or folder", "quantize", model, tmp_path / "nowhere", "-o", target)
    fails(2, "holds no pictures", "quantize", model, tmp_path, "-o", target)
    fails(2, "expected a share such as 1%", "quantize", model, data, "--max-drop", "many")
    fails(2, "expected a share such as 1%", "quantize", model, data, "--max-drop", "1")
    fails(2, "not allowed with", "quantize", model, data, "--mse", "--minmax")
    fails(2, "belong to int8", "convert", DIGITS / "digits.onnx", "--mse", "-o", target)
    fails(2, "no layer is called 'nothing'", "quantize", model, data, "--keep", "nothing", "-o", target)
    fails(2, "use `tinynet convert", "quantize", DIGITS / "digits.onnx", data, "-o", target)
    fails(2, "is the model itself", "quantize", model, data, "-o", model)
    np.savez(tmp_path / "bad.npz", image=np.zeros((3, 1, 9, 9), np.float32))
    fails(6, "stacked on axis 0, found [3, 1, 9, 9]", "quantize", model, tmp_path / "bad.npz", "-o",
          target)
    assert not target.exists()


def test_too_few_samples_are_said(made, run, tmp_path):
    np.savez(tmp_path / "few.npz", image=np.load(made / "pixels.npz")["image"][:2])
    code, _, err = run("quantize", made / "digits.tnb", tmp_path / "few.npz", "-o", tmp_path / "x.tnb")
    assert code == 0 and "only 2 samples: nothing is held back" in err
