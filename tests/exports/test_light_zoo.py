"""The `light` networks inside the onnx package: real architectures whose weights are ConstantOfShape nodes.

As they are, every weight is one number and every output too; so they also run with random numbers in place of those.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

import tinynet
from tinynet.converters import convert_bytes

onnxruntime = pytest.importorskip("onnxruntime")
FOLDER = Path(onnx.__file__).parent / "backend" / "test" / "data" / "light"
FILES = sorted(FOLDER.glob("light_*.onnx"))
DAILY = ("light_squeezenet", "light_shufflenet", "light_inception_v1")
pytestmark = pytest.mark.skipif(not FILES, reason="this onnx package has no light networks")
# A dense layer's weights are one ConstantOfShape of more elements than the converter computes from a few bytes.
# Relative to the range of the output.
TOLERANCE = 1e-4


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    long = metafunc.config.getoption("--hypothesis-profile", None) == "long"
    chosen = [path for path in FILES if long or path.stem in DAILY]
    metafunc.parametrize("path", chosen, ids=lambda path: path.stem.removeprefix("light_"))


def with_random_weights(path: Path) -> bytes:
    """The same network with normal weights of the scale that keeps activations alike, and positive numbers per channel."""
    model, rng = onnx.load(path), np.random.default_rng(7)
    shapes = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
    for node in [n for n in model.graph.node if n.op_type == "ConstantOfShape"]:
        shape = tuple(int(d) for d in shapes[node.input[0]])
        fan_in = int(np.prod(shape[1:]))
        weights = rng.uniform(0.5, 1.5, shape) if len(shape) < 2 else rng.standard_normal(shape) * (2 / fan_in) ** 0.5
        model.graph.initializer.append(numpy_helper.from_array(weights.astype(np.float32), node.output[0]))
        model.graph.node.remove(node)
    return model.SerializeToString()


def picture(session) -> dict[str, np.ndarray]:
    (given,) = session.get_inputs()
    return {given.name: np.random.default_rng(1).standard_normal(given.shape, np.float32)}


def test_as_it_is_gives_the_stored_output(path):
    model = tinynet.load(path)
    assert not model.plan.python_steps
    wanted = numpy_helper.to_array(onnx.load_tensor(path.with_name(f"{path.stem}_output_0.pb")))
    (found,) = model.run(np.ones(model.inputs[0].shape, np.float32)).values()
    assert found.shape == wanted.shape and np.abs(found - wanted).max() <= TOLERANCE * np.abs(wanted).max()


def test_with_random_weights_against_onnxruntime(path):
    source = with_random_weights(path)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])
    feed = picture(session)
    (wanted,) = session.run(None, feed)
    model = tinynet.load(convert_bytes(source)[0])
    assert not model.plan.python_steps
    # The source's NCHW is turned at its ends and where a flatten to dense layers meets it, and nowhere else.
    ends = {*model.graph.inputs, *model.graph.outputs}
    assert all(ends & {*n.inputs, *n.outputs} for n in model.graph.nodes if n.op == "transpose")
    (found,) = model.run(feed).values()
    assert np.ptp(wanted) > 0 and np.abs(found - wanted).max() <= TOLERANCE * np.ptp(wanted)
