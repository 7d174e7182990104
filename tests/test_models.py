"""Real networks against their stored outputs, and random-weight architectures against onnxruntime.

The models are not part of the project.  TINYNET_SHARED names the folder that holds them (default: ../shared beside the
checkout), TINYNET_ZOO a folder with networks written by its generate_zoo.py; without them these tests are skipped.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest

import tinynet

pytest.importorskip("onnx")

SHARED = Path(os.environ.get("TINYNET_SHARED", Path(__file__).resolve().parents[2] / "shared"))
ZOO = os.environ.get("TINYNET_ZOO")
# Relative to the output's range.
TOLERANCE = 1e-4

ONNX_FILES = sorted(p for p in (SHARED / "models").glob("*/model*.onnx")
                    if "qdq" not in p.name)
needs_models = pytest.mark.skipif(not ONNX_FILES, reason="no model collection: set TINYNET_SHARED to its folder")


def expected_cases(path: Path) -> list[dict]:
    index = json.loads((path.parent / "expected" / "index.json").read_text())
    # Two spellings of one network, and one set of outputs.
    name = path.name.replace("model_simplified", "model_without_postprocessing")
    return [case for case in index if case["model"] == name and "layers" not in case["file"]]


def compare(outputs: dict[str, np.ndarray], expected: list[np.ndarray]) -> float:
    """Largest difference relative to the output's range; indices of classes count as different or not."""
    worst = 0.0
    for found, wanted in zip(outputs.values(), expected, strict=True):
        assert found.shape == wanted.shape and found.dtype == wanted.dtype
        if np.issubdtype(wanted.dtype, np.integer):
            worst = max(worst, float((found != wanted).mean()))
        else:
            worst = max(worst, float(np.abs(found - wanted).max() / np.ptp(wanted)))
    return worst


@needs_models
@pytest.mark.parametrize("path", ONNX_FILES, ids=lambda p: f"{p.parent.name}-{p.stem}")
def test_stored_outputs(path):
    cases = expected_cases(path)
    assert cases, "index.json names no case for this file"
    with tinynet.load(path) as model:
        assert not model.plan.python_steps
        for case in cases:
            stored = np.load(path.parent / "expected" / case["file"])
            inputs = [stored[f"in{i}"] for i in range(len(model.inputs))]
            wanted = [stored[f"out{i}"] for i in range(len(model.outputs))]
            if inputs[0].shape == model.inputs[0].shape:
                assert compare(model.run(inputs), wanted) < TOLERANCE
                continue
            # Many inputs, stacked on the first axis, each run with batch 1.
            for i in range(len(inputs[0])):
                outputs = model.run([x[i:i + 1].reshape(info.shape)
                                     for x, info in zip(inputs, model.inputs, strict=True)])
                assert compare({k: v.reshape(wanted[0][i:i + 1].shape) for k, v in outputs.items()},
                               [w[i:i + 1] for w in wanted]) < TOLERANCE


@needs_models
def test_file_round_trip_overhead_and_determinism():
    """A .tnb of a MobileNet: <= 3 % + 8 kB over its weights, the same bytes twice, the same results as from memory."""
    from tinynet.converters import convert_bytes

    path = SHARED / "models" / "mobilenet_v2_1.0_224" / "model.onnx"
    data, report = convert_bytes(path)
    assert data == convert_bytes(path)[0]
    model = tinynet.load(data)
    raw = sum(t.size * 4 for t in model.graph.tensors.values() if t.is_constant)
    assert report.file_bytes == len(data) <= raw * 1.03 + 8192
    stored = np.load(path.parent / "expected" / "onnx_cat.npz")
    assert compare(model.run(stored["in0"]), [stored["out0"]]) < TOLERANCE


@needs_models
@pytest.mark.parametrize(("picture", "label"), [
    ("cat.bmp", "Egyptian cat"), ("parrot.jpg", "macaw"), ("grace_hopper.bmp", "military uniform")])
def test_photographs(picture, label, tmp_path):
    pytest.importorskip("PIL")
    folder = SHARED / "models" / "mobilenet_v2_1.0_224"
    target = tmp_path / "mobilenet.tnb"
    tinynet.convert(folder / "model.onnx", target, mean=128, std=128, labels=folder / "labels.txt")
    assert tinynet.load(target)(SHARED / "images" / picture).label == label


ZOO_FILES = sorted(Path(ZOO).glob("*.onnx")) if ZOO else []


@pytest.mark.skipif(not ZOO_FILES, reason="no generated networks: set TINYNET_ZOO to a folder with them")
@pytest.mark.parametrize("path", ZOO_FILES, ids=lambda p: p.stem)
def test_zoo_against_onnxruntime(path):
    runtime = pytest.importorskip("onnxruntime")
    options = runtime.SessionOptions()
    options.intra_op_num_threads = 2
    session = runtime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    model = tinynet.load(path)
    assert not model.plan.python_steps
    assert model.memory.arena_bytes <= model.memory.lower_bound * 1.1
    # What the source declares as NCHW is turned at the ends, and nothing in between.
    ends = {*model.graph.inputs, *model.graph.outputs}
    assert all(ends & {*n.inputs, *n.outputs} for n in model.graph.nodes if n.op == "transpose")
    shuffles = [n.name for n in model.graph.nodes if n.op == "channel_shuffle"]
    assert len(shuffles) == (16 if path.stem.startswith("shufflenet") else 0)
    assert [s.node.name for s in model.plan.steps if s.node.name in shuffles] == shuffles       # one step each
    x = np.random.default_rng(0).standard_normal(model.inputs[0].shape, dtype=np.float32)
    expected = session.run(None, {model.inputs[0].name: x})
    found = model.run(x)
    for name, wanted in zip(found, expected, strict=True):
        if wanted.dtype == np.int64:
            scores = next(v for v in expected if v.dtype != np.int64)
            two = np.sort(np.partition(scores, -2, axis=1)[:, -2:], axis=1)
            unclear = two[:, 1] - two[:, 0] < TOLERANCE * np.abs(scores).max()
            assert (found[name] == wanted)[~unclear.reshape(wanted.shape)].all()
            continue
        # openpose_light is ill-conditioned: onnxruntime itself is 6.5e-5 of the range away from float64.
        limit = 2 * 6.5e-5 if path.stem == "openpose_light" else TOLERANCE
        assert np.abs(found[name] - wanted).max() / np.ptp(wanted) < limit
