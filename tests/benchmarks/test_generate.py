from __future__ import annotations

import math

import numpy as np
import onnx
import onnxruntime
import pytest

import tinynet
from benchmarks import generate, inputs
from tinynet.converters import convert_bytes

SMALL = {"lenet5": 28}
# Published parameter counts; biases stand for the batch norms' parameters here, which are a little more.
PARAMETERS = {"mobilenet_v1": 4.23e6, "mobilenet_v2": 3.50e6, "resnet18": 11.69e6, "squeezenet": 1.235e6,
              "lenet5": 61706, "tiny_yolo": 15.87e6}


@pytest.fixture(scope="module", params=sorted(generate.NETWORKS))
def network(request):
    return request.param, generate.NETWORKS[request.param](SMALL.get(request.param, 64))


def noise(model: onnx.ModelProto, seed: int) -> np.ndarray:
    shape = [d.dim_value for d in model.graph.input[0].type.tensor_type.shape.dim]
    return np.random.default_rng(seed).standard_normal(shape, dtype=np.float32)


def test_network_passes_the_onnx_checker_with_its_declared_shapes(network):
    onnx.checker.check_model(network[1], full_check=True)


def test_tinynet_and_onnxruntime_agree_and_the_scores_depend_on_the_picture(network):
    _, model = network
    session = onnxruntime.InferenceSession(model.SerializeToString())
    ours = tinynet.load(convert_bytes(model)[0], threads=1)
    answers = []
    for seed in (1, 2):
        x = noise(model, seed)
        expected = session.run(None, {"image": x})[0]
        assert inputs.error_of(ours.run(x)["scores"], expected) < 1e-4
        answers.append(expected)
    first, second = answers
    assert np.abs(first - second).max() > 0.01 * (first.max() - first.min())


def test_activations_stay_of_order_one(network):
    _, model = network
    pixels = [o for n in model.graph.node if n.op_type == "Conv" for o in n.output]
    model = onnx.ModelProto.FromString(model.SerializeToString())
    known = {o.name for o in model.graph.output}
    model.graph.output.extend(onnx.helper.make_empty_tensor_value_info(n) for n in pixels if n not in known)
    session = onnxruntime.InferenceSession(model.SerializeToString())
    for name, value in zip(pixels, session.run(pixels, {"image": noise(model, 3)}), strict=True):
        assert 0.2 < value.std() < 5, name


@pytest.mark.parametrize("name", sorted(PARAMETERS))
def test_parameter_count_is_that_of_the_paper(name):
    weights = generate.NETWORKS[name]().graph.initializer
    assert sum(math.prod(w.dims) for w in weights) == pytest.approx(PARAMETERS[name], rel=0.01)


def test_same_bytes_every_time():
    assert generate.lenet5().SerializeToString() == generate.lenet5().SerializeToString()


def test_generated_writes_once_into_the_folder(tmp_path):
    [path] = generate.generated(["lenet5"], tmp_path)
    path.write_bytes(b"kept")
    assert generate.generated(["lenet5"], tmp_path) == [path]
    assert [p.read_bytes() for p in tmp_path.rglob("*.*")] == [b"kept"]
