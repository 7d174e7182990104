"""Networks as PyTorch exports them, both ways, at fixed and at open sizes, against onnxruntime and against PyTorch itself."""

from __future__ import annotations

import contextlib
import functools
import io
import logging
import warnings
from collections import Counter

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="exporting networks needs PyTorch: pip install torch onnxscript")
pytest.importorskip("onnxscript", reason="PyTorch's dynamo exporter needs onnxscript")
onnxruntime = pytest.importorskip("onnxruntime")
from networks import NETWORKS  # noqa: E402

import tinynet  # noqa: E402
from tinynet.converters import convert_bytes  # noqa: E402

# Relative to the range of the output.
TOLERANCE = 1e-5
SCRIPT, DYNAMO = "script", "dynamo"
# The dynamo exporter takes seconds, most of all with open sizes, the older one tenths.
DAILY = ((SCRIPT, 13, False), (SCRIPT, 17, True), (SCRIPT, 20, False))
DAILY_OPEN = ("Shuffle", "ViT", "Decoder")
LONG = ((SCRIPT, 11, True), (SCRIPT, 13, True), (SCRIPT, 17, False), (SCRIPT, 18, False), (SCRIPT, 20, True),
        (DYNAMO, 18, False), (DYNAMO, 18, True), (DYNAMO, 20, True), (DYNAMO, 21, False), (DYNAMO, 23, True))
# What the TorchScript exporter writes into the graph as a number even where it is asked to leave it open.
FROZEN = {"TorchEncoder": "length"}


# Steps that copy, the turning of inputs and outputs to and from NCHW included.
COPIES = {
    "Residual": 0, "SqueezeExcitation": 1, "Shuffle": 4, "MobileViT": 3, "ViT": 1, "TorchEncoder": 1, "UNet": 1, "Recurrent": 9,
    "RecurrentStates": 5, "Yolo": 4, "YoloDistribution": 3, "SSD": 0, "Decoder": 0, "Normalised": 0, "Face": 0,
    "SuperResolution": 1, "Audio": 1}
# Networks with open sizes that are stored as operators: they compute a grid or a mask from the size.
STORED = {"Yolo", "Decoder"}


def cases(config: pytest.Config) -> list:
    """Everyday ones, or all with --hypothesis-profile=long."""
    long = config.getoption("--hypothesis-profile", None) == "long"
    return [pytest.param(name, *case, id=f"{name}-{case[0]}-{case[1]}-{'open' if case[2] else 'fixed'}")
            for name in NETWORKS for case in (*DAILY, *(LONG if long else ((DYNAMO, 18, name in DAILY_OPEN),)))]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "opened" in metafunc.fixturenames:
        metafunc.parametrize(("name", "exporter", "opset", "opened"), cases(metafunc.config))


@functools.cache
def network(name: str) -> torch.nn.Module:
    """With random weights and statistics."""
    torch.manual_seed(5)
    net = NETWORKS[name]().eval()
    for module in net.modules():
        if isinstance(module, torch.nn.modules.batchnorm._BatchNorm):
            for tensor, low, high in ((module.running_mean, -.5, .5), (module.running_var, .5, 2), (module.weight, .5, 2),
                                      (module.bias, -.5, .5)):
                torch.nn.init.uniform_(tensor, low, high)
    return net


def arrays(net: torch.nn.Module, sizes: dict[str, int], seed: int = 0) -> list[np.ndarray]:
    """Random arguments at these sizes of the open dimensions."""
    rng, found = np.random.default_rng(seed), []
    for given, axes in zip(net.example, net.axes, strict=True):
        dtype, shape = given if isinstance(given[0], str) else ("float32", given)
        shape = tuple(sizes.get(axes.get(i), d) for i, d in enumerate(shape))
        found.append(rng.standard_normal(shape, np.float32) if dtype == "float32"
                     else rng.integers(0, 11, shape) if dtype == "int64" else rng.random(shape) < 0.8)
    return found


def open_axes(net: torch.nn.Module, exporter: str) -> list[dict[int, str]]:
    """Per argument, the dimensions that can be left open."""
    frozen = FROZEN.get(type(net).__name__) if exporter == SCRIPT else None
    return [{axis: d for axis, d in axes.items() if d != frozen} for axes in net.axes]


def export(name: str, exporter: str, opset: int, opened: bool) -> bytes:
    net = network(name)
    # A batch of 2: the dynamo exporter takes a size of 1 for a fixed one.
    args = tuple(torch.from_numpy(a) for a in arrays(net, {"batch": 2} if opened else {}))
    names, axes = [f"in{i}" for i in range(len(args))], open_axes(net, exporter)
    options = {"opset_version": opset, "input_names": names, "dynamo": exporter == DYNAMO}
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        warnings.simplefilter("ignore")
        logging.disable(logging.ERROR)
        try:
            if exporter == SCRIPT:
                file = io.BytesIO()
                try:
                    torch.onnx.export(net, args, file, **options,
                                      dynamic_axes=dict(zip(names, axes, strict=True)) if opened else None)
                except torch.onnx.errors.UnsupportedOperatorError as error:
                    pytest.skip(f"the exporter cannot: {str(error).splitlines()[0]}")
                return file.getvalue()
            dynamic = tuple(dict.fromkeys(each, torch.export.Dim.DYNAMIC) for each in axes) if opened else None
            return torch.onnx.export(net, args, **options, dynamic_shapes=dynamic,
                                     verbose=False).model_proto.SerializeToString()
        finally:
            logging.disable(logging.NOTSET)


def settings(net: torch.nn.Module, exporter: str, opened: bool) -> list[dict[str, int]]:
    """The example's sizes, and for an open network two more."""
    if not opened:
        return [{}]
    left = {d for axes in open_axes(net, exporter) for d in axes.values()}
    return [{}, *({d: values[k] for d, values in net.sizes.items() if d in left} for k in range(2))]


def near(found: list[np.ndarray], expected: list[np.ndarray], where: str) -> None:
    for array, wanted in zip(found, expected, strict=True):
        assert array.shape == wanted.shape and array.dtype == wanted.dtype, where
        assert np.abs(array - wanted).max() <= TOLERANCE * np.ptp(wanted), where


def test_exported_network(name, exporter, opset, opened):
    net, source = network(name), export(name, exporter, opset, opened)
    model = tinynet.load(convert_bytes(source)[0], threads=1)
    session = onnxruntime.InferenceSession(source, providers=["CPUExecutionProvider"])
    names = [i.name for i in session.get_inputs()]
    for seed, sizes in enumerate(settings(net, exporter, opened)):
        given = arrays(net, sizes, seed)
        found = list(model.run(dict(zip(names, given, strict=True))).values())
        with torch.no_grad():
            right = net(*map(torch.from_numpy, given))
        right = [t.numpy() for t in (right if isinstance(right, tuple) else (right,))]
        near(found, right, f"PyTorch at {sizes}")
        near(found, session.run(None, dict(zip(names, given, strict=True))), f"onnxruntime at {sizes}")
    if opened:
        model.reshape({n: a.shape for n, a in zip(names, arrays(net, {}), strict=True)})
        assert model.source.source == (name in STORED), "stored as operators" if model.source.source else "stored as layers"
    assert not model.plan.python_steps
    copies = Counter(step.kernel for step in model.plan.steps)["copy"]
    assert copies <= COPIES[name], f"{copies} copies:\n{model.plan}"
