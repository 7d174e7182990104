"""From a float network to an integer file, through the Python API."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import tinynet
from tinynet import format as tnb
from tinynet.cli import quality
from tinynet.converters import convert, convert_bytes
from tinynet.converters.quantize import search
from tinynet.converters.quantize.costs import COSTS
from tinynet.errors import AccuracyError, UsageError

DIGITS = Path(__file__).parents[3] / "examples" / "digits"


@pytest.fixture
def digits(tmp_path):
    """The bundled network as float .tnb, and a folder of its pictures: each one, shifted by up to one pixel."""
    from PIL import Image, ImageChops

    folder = tmp_path / "pictures"
    folder.mkdir()
    rows = ["file,class"]
    for path in sorted((DIGITS / "pictures").glob("*.png")):
        with Image.open(path) as picture:
            for k, shift in enumerate(((0, 0), (8, 0), (0, 8), (-8, 0))):
                ImageChops.offset(picture, *shift).save(folder / f"{path.stem}-{k}.png")
                rows.append(f"{path.stem}-{k}.png,{path.stem[0]}")
    (folder / "labels.csv").write_text("\n".join(rows))
    convert(DIGITS / "digits.onnx", tmp_path / "digits.tnb", mean=0, std=255, labels=DIGITS / "labels.txt")
    return tmp_path


def test_digits_end_to_end(digits):
    source, target = digits / "digits.tnb", digits / "out.tnb"
    report = tinynet.quantize(source, digits / "pictures", target)
    found = tinynet.load(target)
    quality = found.meta.quantization
    assert quality == report.quantization and quality.measure == "accuracy"
    assert quality.judged == 10 and quality.calibrated == 30 and quality.sqnr > 25
    assert quality.float_bytes == source.stat().st_size
    assert target.stat().st_size < 0.4 * quality.float_bytes
    kinds = {node.op for node in found.graph.nodes}
    assert "q_conv2d" in kinds and "conv2d" not in kinds
    real = tinynet.load(source)
    for path in sorted((DIGITS / "pictures").glob("*.png")):
        assert int(real(path).scores.argmax()) == int(found(path).scores.argmax()) == int(path.stem[0])
    assert {node.name for node in found.graph.nodes if node.op.startswith("q_")} <= {layer.name for layer in quality.layers}
    assert report.speedup > 0


def test_same_input_same_bytes_and_both_roads_agree(residual, tmp_path):
    n, y = residual
    model, samples = n.model(y), n.samples(12)
    first, report = convert_bytes(model, int8=list(samples))
    assert first == convert_bytes(model, int8=list(samples))[0]
    assert [layer.sqnr for layer in report.quantization.layers if layer.integer]
    (tmp_path / "float.tnb").write_bytes(convert_bytes(model)[0])
    made = tinynet.quantize(tmp_path / "float.tnb", samples.reshape(12, *n.shape), tmp_path / "int8.tnb")
    assert made.quantization.layers == report.quantization.layers
    x = n.samples(1, seed=9)[0]
    a, b = (tinynet.load(source).run({"x": x})[y] for source in (first, tmp_path / "int8.tnb"))
    assert (a == b).all()
    assert (tinynet.quantize(tmp_path / "float.tnb", list(samples)).output).endswith("float_int8.tnb")


@pytest.mark.parametrize("method", ["minmax", "percentile", "mse", "entropy"])
def test_every_method_gives_a_network_that_runs(residual, method):
    n, y = residual
    data, report = convert_bytes(n.model(y), int8=list(n.samples(8)), method=method)
    assert report.quantization.method == method == tnb.read(data).meta.quantization.method
    assert report.quantization.sqnr > 10


def test_open_sizes_are_fixed_with_a_note(net):
    n = net(3, 8, 8, batch="N")
    y = n.op("Relu", n.conv("x", 3, 4))
    data, report = convert_bytes(n.model(n.conv(y, 4, 2)), int8=list(n.samples(6)))
    assert not tnb.read(data).open and any("int8 fixes the sizes: x 1x3x8x8" in note for note in report.notes)


def test_the_report_says_which_layers_stay_float_for_a_target(net, monkeypatch):
    for target in ("x86-avx2", "arm"):
        monkeypatch.setitem(COSTS[target]["integer"], "winograd", 2 * COSTS[target]["float"]["winograd"])
    n = net(32, 16, 16)
    a = n.op("Relu", n.conv("x", 32, 32))                       # 3x3: the price that was changed
    y = n.conv(n.op("Relu", n.conv(a, 32, 256, 1)), 256, 32, 1)
    model, samples = n.model(y), list(n.samples(8))
    found = {target: convert_bytes(model, int8=samples, target=target) for target in ("any", "x86", "x86-avx2", "arm")}
    for target, (data, report) in found.items():
        layers = tnb.read(data).meta.quantization.layers        # what the file says of itself
        integer = {layer.name: layer.integer for layer in layers if layer.kind == "conv2d"}
        assert list(integer.values()) == [target in ("any", "x86"), True, True], target
        slower = [layer.name for layer in layers if layer.reason == "int8 would be slower"]
        assert [name for name in slower if name in integer] == [name for name, yes in integer.items() if not yes]
        printed = [line for line in report.lines() if line.endswith("int8 would be slower")]
        assert [line.split()[0] for line in printed] == slower and all("float32" in line for line in printed)
        assert any(f"target {target}" in line for line in report.lines())
        # Measured here and now: printed, and no part of the file.
        assert report.speedup > 0 and any(f"{report.speedup:.2f} times float32" in line for line in report.lines())
        assert not any("times float32" in line for line in quality.lines(tnb.read(data).meta.quantization, len(data)))
        assert sum(node.op == "q_conv2d" for node in tnb.read(data).nodes) == sum(integer.values())
    assert found["any"][0] == convert_bytes(model, int8=samples)[0]


def test_max_drop_writes_nothing(residual, tmp_path, monkeypatch):
    n, y = residual
    convert(_saved(n, y, tmp_path), tmp_path / "m.tnb")
    before = (tmp_path / "m.tnb").read_bytes()
    # A scheme that is off: every scale 64 times too large.
    good = search.make_scheme
    monkeypatch.setattr(search, "make_scheme", lambda *args: _coarse(good(*args)))
    with pytest.raises(AccuracyError, match="--max-drop allows 1 %: nothing was written") as caught:
        convert(tmp_path / "m.onnx", tmp_path / "m.tnb", int8=list(n.samples(40)), max_drop=0.01)
    assert caught.value.report.quantized < 0.99 and caught.value.exit_code == 1
    assert (tmp_path / "m.tnb").read_bytes() == before
    monkeypatch.undo()
    report = convert(tmp_path / "m.onnx", tmp_path / "m.tnb", int8=list(n.samples(40)), max_drop=0.5)
    assert report.quantization.quantized >= 0.5


def _coarse(scheme):
    scheme.steps = {name: (scale * 64, zero // 64) for name, (scale, zero) in scheme.steps.items()}
    return scheme


def _saved(n, y, folder):
    import onnx

    onnx.save(n.model(y), folder / "m.onnx")
    return folder / "m.onnx"


def test_layers_that_lose_too_much_stay_float(net, monkeypatch):
    n = net(3, 10, 10, seed=4)
    a = n.op("Clip", n.conv("x", 3, 16), np.float32(0), np.float32(6))
    b = n.conv(a, 16, 16, group=16, spread=3)
    c = n.op("Sigmoid", n.conv(b, 16, 16, 1))
    y = n.conv(n.op("Mul", c, a), 16, 4)
    monkeypatch.setattr(search, "GOOD_ENOUGH", 100.0)
    monkeypatch.setattr(search, "MOST_WORK", 0.9)
    monkeypatch.setattr(search, "WORTH", 0.0)
    refined = convert_bytes(n.model(y), int8=list(n.samples(8)))[1].quantization
    monkeypatch.setattr(search, "ROUNDS", 0)
    plain = convert_bytes(n.model(y), int8=list(n.samples(8)))[1].quantization
    assert any(layer.reason == "int8 loses too much" for layer in refined.layers)
    assert sum(layer.integer for layer in refined.layers) < sum(layer.integer for layer in plain.layers)
    assert refined.sqnr > plain.sqnr


@pytest.mark.parametrize("options, words", [
    ({"method": "best", "int8": []}, "method: expected one of minmax"), ({"target": "mips", "int8": []}, "target"),
    ({"max_drop": 3, "int8": []}, "expected a share from 0 to 1"), ({"max_drop": 0.1}, "belong to int8"),
    ({"keep": ["a"]}, "belong to int8"), ({"int8": []}, "at least one sample"), ({"int8": "random"}, "cannot be guessed"),
    ({"int8": [1], "winograd": True}, "winograd"),
])
def test_options_that_do_not_fit(residual, options, words):
    n, y = residual
    with pytest.raises(UsageError, match=words):
        convert_bytes(n.model(y), **options)


def test_networks_that_cannot_be_quantised(net, residual, tmp_path):
    n, y = residual
    data, _ = convert_bytes(n.model(y), int8=list(n.samples(5)))
    with pytest.raises(UsageError, match="integer layers already"):
        tinynet.quantize(data, list(n.samples(5)), tmp_path / "x.tnb")
    m = net(4)
    with pytest.raises(UsageError, match="no layer gains from int8"):
        convert_bytes(m.model(m.op("Softmax", "x")), int8=list(m.samples(5)))
    with pytest.raises(UsageError, match="no class scores"):
        k = net(3, 8, 8)
        convert_bytes(k.model(k.conv("x", 3, 4)), int8=list(k.samples(5)), max_drop=0.1)
    with pytest.raises(UsageError, match="is the model itself"):
        (tmp_path / "f.tnb").write_bytes(convert_bytes(n.model(y))[0])
        tinynet.quantize(tmp_path / "f.tnb", list(n.samples(5)), tmp_path / "f.tnb")


def test_few_samples_are_said_to_be_few(residual):
    n, y = residual
    notes = convert_bytes(n.model(y), int8=list(n.samples(2)))[1].notes
    assert any("nothing is held back" in note for note in notes)
