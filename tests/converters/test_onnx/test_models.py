"""The real networks of the shared folder: imported and run by the reference, beside their stored outputs."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest

from tinynet import reference
from tinynet.errors import UnsupportedError

SHARED = Path(os.environ.get("TINYNET_SHARED") or Path(__file__).resolve().parents[3].parent / "shared") / "models"
MODELS = ["fastestdet", "mlperf_tiny_ic", "mlperf_tiny_kws", "mobilenet_v2_1.0_224", "super_resolution",
          "tinymaix_cifar10", "tinymaix_mbnet128_0.25", "tinymaix_mnist", "tinymaix_mnist_resnet", "ulfg_slim_320",
          "yolo-fastest-1.1"]

pytestmark = pytest.mark.skipif(not SHARED.is_dir(), reason="no shared models: set TINYNET_SHARED to the folder that "
                                "holds models/")


def run_case(lab, folder, file, case):
    """Largest error of any output, in units of that output's range."""
    graph = lab.import_(folder / file)
    with np.load(folder / "expected" / case["file"]) as arrays:
        feeds = {name: arrays[f"in{i}"][:1].reshape(graph.tensors[name].shape) for i, name in enumerate(graph.inputs)}
        expected = [arrays[f"out{i}"] for i in range(len(graph.outputs))]
    found = reference.run(graph, feeds)
    return max(np.abs(found[name] - array[:1].reshape(found[name].shape)).max() / np.ptp(array)
               for name, array in zip(graph.outputs, expected, strict=True))


@pytest.mark.parametrize("name", MODELS)
def test_first_expected_case(lab, name):
    cases = json.loads((SHARED / name / "expected" / "index.json").read_text())
    first = next(case for case in cases if case["model"] == "model.onnx")
    assert run_case(lab, SHARED / name, "model.onnx", first) <= 1e-4


@pytest.mark.parametrize("file", ["model_without_postprocessing.onnx", "model_simplified.onnx"])
def test_variants_of_the_face_detector(lab, file):
    folder = SHARED / "ulfg_slim_320"
    cases = json.loads((folder / "expected" / "index.json").read_text())
    first = next(case for case in cases if case["model"] == "model_without_postprocessing.onnx")
    assert run_case(lab, folder, file, first) <= 1e-4


def test_a_file_of_ir_version_1(lab):
    with pytest.raises(UnsupportedError, match="IR version 1 without an operator set"):
        lab.import_(SHARED / "super_resolution" / "original_ir1.onnx")
