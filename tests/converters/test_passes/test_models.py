"""Real networks: nothing between layers is left to transpose, and what can be fused is."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from tinynet import reference
from tinynet.converters.onnx import import_onnx
from tinynet.converters.passes import run_passes
from tinynet.converters.passes.check import check

MODELS = Path(__file__).resolve().parents[4] / "shared" / "models"
ZOO = Path(os.environ.get("TINYNET_ZOO", "/nonexistent"))

MOBILE = {"conv2d", "depthwise_conv2d"}
HEAD = {"reduce_mean", "reshape", "dense"}
FACES = MOBILE | {"concat", "reshape", "softmax"}
# Model -> (kinds that are left besides transpose, transposes at inputs and outputs, residual additions fused).
EXPECTED = {
    "fastestdet/model": (MOBILE | {"max_pool2d", "concat", "slice", "resize", "average_pool2d", "softmax"}, 2, 1),
    "mlperf_tiny_ic/model": ({"conv2d", "average_pool2d", "reshape", "dense", "softmax"}, 0, 3),
    "mlperf_tiny_kws/model": (MOBILE | {"average_pool2d", "reshape", "dense", "softmax"}, 0, 0),
    "mobilenet_v2_1.0_224/model": (MOBILE | {"average_pool2d", "reshape", "softmax"}, 1, 10),
    "super_resolution/model": ({"conv2d", "depth_to_space", "reshape"}, 0, 0),
    "tinymaix_cifar10/model": ({"conv2d", "reshape", "dense", "softmax"}, 0, 0),
    "tinymaix_mbnet128_0.25/model": (MOBILE | {"reduce_mean", "reshape", "softmax"}, 0, 0),
    "tinymaix_mnist/model": ({"conv2d", "reduce_mean", "reshape", "dense", "softmax"}, 0, 0),
    "tinymaix_mnist_resnet/model": ({"conv2d", "reshape", "dense", "softmax"}, 0, 1),
    "ulfg_slim_320/model": (FACES | {"slice", "mul", "add", "exp", "div", "sub"}, 1, 0),
    "ulfg_slim_320/model_simplified": (FACES, 1, 0),
    "ulfg_slim_320/model_without_postprocessing": (FACES, 1, 0),
    "yolo-fastest-1.1/model": (MOBILE | {"max_pool2d", "concat", "resize"}, 3, 18),
}
EXPECTED_ZOO = {
    "alexnet": ({"conv2d", "lrn", "max_pool2d", "reshape", "dense", "softmax"}, 1, 0),
    "conv1d_ae": ({"conv2d", "conv_transpose2d", "reshape"}, 0, 0),
    "deeplab_lite": (MOBILE | {"reduce_mean", "resize", "concat", "argmax"}, 2, 6),
    "densenet121": (HEAD | {"conv2d", "max_pool2d", "batch_norm", "concat", "average_pool2d"}, 1, 0),
    "efficientnet_lite0": (MOBILE | HEAD | {"softmax"}, 1, 9),
    "espcn_x3": ({"conv2d", "depth_to_space", "reshape"}, 0, 0),
    "googlenet": ({"conv2d", "max_pool2d", "lrn", "concat", "average_pool2d", "reshape", "dense", "softmax"}, 1, 0),
    "hourglass_ae": ({"conv2d", "prelu", "resize", "add"}, 2, 0),
    "lenet5": ({"conv2d", "average_pool2d", "reshape", "dense", "softmax"}, 0, 0),
    "mobilenet_v1_0.25": (MOBILE | HEAD | {"softmax"}, 1, 0),
    "mobilenet_v2": (MOBILE | HEAD | {"softmax"}, 1, 10),
    "mobilenet_v3_small": (MOBILE | HEAD | {"mul"}, 1, 6),
    "mobilenet_v3_small_decomposed": (MOBILE | HEAD | {"mul"}, 1, 6),
    "openpose_light": (MOBILE | {"add", "concat"}, 3, 0),
    "resnet18": (HEAD | {"conv2d", "max_pool2d"}, 1, 8),
    "resnet50": (HEAD | {"conv2d", "max_pool2d"}, 1, 16),
    "shufflenet_v2_x1.0": (
        MOBILE | {"max_pool2d", "concat", "channel_shuffle", "slice", "reduce_mean", "dense"},
        1,
        0,
    ),
    "squeezenet1.1": ({"conv2d", "max_pool2d", "concat", "reduce_mean", "reshape", "softmax"}, 1, 0),
    "tiny_yolo_v2": ({"conv2d", "max_pool2d"}, 2, 0),
    "unet_small": ({"conv2d", "max_pool2d", "conv_transpose2d", "concat", "reshape"}, 1, 0),
    "vgg16": ({"conv2d", "max_pool2d", "reshape", "dense", "softmax"}, 1, 0),
    "yolov3_tiny": ({"conv2d", "max_pool2d", "resize", "concat"}, 3, 0),
}
# Large ones: the numpy reference would take seconds each, and smaller relatives cover what they are made of.
STRUCTURE_ONLY = {"vgg16", "alexnet", "resnet50", "tiny_yolo_v2", "yolov3_tiny", "googlenet", "densenet121"}


def rewrite(path, expected, tolerance, values=True):
    if not path.exists():
        pytest.skip(f"{path.name} is not here")
    kinds, transposes, residuals = expected
    graph = import_onnx(path)
    rng = np.random.default_rng(7)
    inputs = {n: rng.standard_normal(graph.tensors[n].shape).astype(np.float32) for n in graph.inputs}
    want = reference.run(graph, inputs) if values else {}
    run_passes(graph)
    check(graph)
    left = Counter(node.op for node in graph.nodes)
    assert set(left) - {"transpose"} == kinds
    assert left["transpose"] == transposes
    for node in graph.nodes:
        if node.op == "transpose":
            assert node.inputs[0] in graph.inputs or node.outputs[0] in graph.outputs
    assert sum(node.op in ("conv2d", "dense") and len(node.inputs) == 4 for node in graph.nodes) == residuals
    for name, found in (reference.run(graph, inputs) if values else {}).items():
        scale = float(np.abs(want[name]).max())
        if want[name].dtype == np.float32:
            assert float(np.abs(found - want[name]).max()) <= tolerance * scale, name
        else:
            assert (found != want[name]).mean() < 1e-3, name


@pytest.mark.parametrize("model", EXPECTED)
def test_models(model):
    rewrite(MODELS / f"{model}.onnx", EXPECTED[model], 1e-5)


@pytest.mark.parametrize("model", EXPECTED_ZOO)
def test_zoo(model):
    if not ZOO.is_dir():
        pytest.skip("TINYNET_ZOO names no folder of generated networks")
    rewrite(ZOO / f"{model}.onnx", EXPECTED_ZOO[model], 1e-4, values=model not in STRUCTURE_ONLY)
