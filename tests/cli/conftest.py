"""A real small network behind the command line, and `run`, which is one command in this process."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from tinynet.__main__ import main


def _colour_network(path, *, batch=1, size=8, scores="scores", extra=()):
    """ONNX network that tells the strongest colour: 3x3 mean per channel, relu, global mean, Gemm."""
    weights = np.zeros((3, 3, 3, 3), np.float32)
    weights[range(3), range(3)] = 1 / 9
    nodes = [
        helper.make_node("Conv", ["picture", "w", "b"], ["conv"], "first", pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["conv"], ["relu"], "second"),
        helper.make_node("GlobalAveragePool", ["relu"], ["pool"], "third"),
        helper.make_node("Flatten", ["pool"], ["flat"], "fourth"),
        helper.make_node("Gemm", ["flat", "m"], [scores], "fifth", transB=1),
        *extra,
    ]
    constants = {"w": weights, "b": np.zeros(3, np.float32), "m": 0.05 * np.eye(3, dtype=np.float32)}
    graph = helper.make_graph(
        nodes, "colours",
        [helper.make_tensor_value_info("picture", TensorProto.FLOAT, [batch, 3, size, size])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, [batch, 3])],
        [numpy_helper.from_array(array, name) for name, array in constants.items()])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), path)
    return path


@pytest.fixture
def colour_network():
    return _colour_network


@pytest.fixture
def run(capsys):
    """run("inspect", path, ...) -> (exit code, stdout, stderr)"""
    def call(*argv):
        code = main([str(word) for word in argv])
        captured = capsys.readouterr()
        return code, captured.out, captured.err
    return call


@pytest.fixture
def fails(run):
    """fails(code, text, *argv): the command ends with `code`, one line on stderr with `text`, nothing on stdout."""
    def call(code, text, *argv):
        found, out, err = run(*argv)
        assert found == code, err
        assert text in err and err.startswith("tinynet: ") and err.count("\n") == 1
        assert out == ""
    return call


@pytest.fixture
def python():
    """python("-m", "tinynet", ...): the same in a process of its own, as subprocess.CompletedProcess."""
    def call(*argv, **kwargs):
        return subprocess.run([sys.executable, *argv], capture_output=True, text=True, timeout=60, **kwargs)
    return call


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    """colours.onnx, labels.txt, colours.tnb made from them by the command, red.png, green.png."""
    folder = tmp_path_factory.mktemp("cli")
    _colour_network(folder / "colours.onnx")
    (folder / "labels.txt").write_text("red\ngreen\nblue\n")
    Image.new("RGB", (20, 10), (255, 0, 10)).save(folder / "red.png")
    Image.new("RGB", (5, 5), (0, 200, 0)).save(folder / "green.png")
    assert main(["convert", str(folder / "colours.onnx"), "--labels", str(folder / "labels.txt"), "--mean", "0",
                 "--std", "1", "-q"]) == 0
    return folder


@pytest.fixture(scope="session")
def model(folder):
    return folder / "colours.tnb"
