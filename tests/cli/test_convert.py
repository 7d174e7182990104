"""tinynet convert"""

from __future__ import annotations

import argparse
import io
import json
import os
import sys

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

import tinynet
from tinynet.__main__ import main
from tinynet.cli import arguments, convert
from tinynet.errors import UsageError


def test_shapes_and_numbers():
    assert arguments.named_shape("a=b=1x3x320x320") == ("a=b", (1, 3, 320, 320))
    assert arguments.named_shape("x=1,3") == ("x", (1, 3))
    assert convert.height_width("224x320") == (224, 320)
    assert convert.numbers("--mean", ["1,2.5", "-3"]) == (1, 2.5, -3)
    assert convert.numbers("--mean", ["1, 2,"]) == (1, 2)
    assert convert.numbers("--mean", None) is None
    with pytest.raises(UsageError):
        convert.numbers("--mean", ["1,x"])


def test_convert_reports(run, folder, tmp_path):
    target = tmp_path / "out.tnb"
    code, out, err = run("convert", folder / "colours.onnx", "-o", target)
    assert code == 0 and target.stat().st_size > 0 and out
    assert "operators" in out


def test_convert_shows_its_progress_on_a_terminal(folder, tmp_path, monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    monkeypatch.setattr("tinynet.cli.progress.DELAY", -1)
    monkeypatch.setattr(sys, "stderr", Terminal())
    code = main(["convert", str(folder / "colours.onnx"), "-o", str(tmp_path / "out.tnb")])
    assert code == 0 and "] reading" in sys.stderr.getvalue() and f"[{'#' * 30}] done" in sys.stderr.getvalue()


def test_convert_json(run, folder, tmp_path):
    target = tmp_path / "out.tnb"
    code, out, err = run("convert", folder / "colours.onnx", "-o", target, "--json")
    report = json.loads(out)
    assert code == 0 and (report["version"], report["command"]) == (1, "convert")
    assert report["operators_before"] == 5 and report["file_bytes"] == target.stat().st_size
    assert set(report) == {"version", "command", "source", "output", "operators_before", "operators_after",
                           "file_bytes", "parameters", "macs", "arena_bytes", "seconds", "inputs", "outputs", "notes"}


def test_convert_quiet(run, folder, tmp_path):
    assert run("convert", folder / "colours.onnx", "-o", tmp_path / "out.tnb", "-q") == (0, "", "")


def test_convert_files(fails, folder, tmp_path):
    source = folder / "colours.onnx"
    fails(3, "no such file", "convert", tmp_path / "missing.onnx")
    fails(3, "it is a folder", "convert", tmp_path)
    fails(3, "no folder", "convert", source, "-o", tmp_path / "none" / "x.tnb")
    fails(3, "it is a folder", "convert", source, "-o", tmp_path)
    fails(2, "the model itself", "convert", source, "-o", source)
    fails(3, "labels", "convert", source, "--labels", tmp_path / "missing.txt", "-o", tmp_path / "x.tnb")
    assert list(tmp_path.iterdir()) == []


def test_convert_never_replaces_a_device(fails, folder, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    fails(3, "device or pipe", "convert", folder / "colours.onnx", "-o", tmp_path / "pipe")
    assert (tmp_path / "pipe").is_fifo()


def test_failed_convert_keeps_the_previous_output(fails, colour_network, tmp_path):
    target = tmp_path / "out.tnb"
    target.write_bytes(b"previous")
    odd = helper.make_node("NoSuchOperator", ["raw"], ["scores"], "odd")
    bad = colour_network(tmp_path / "bad.onnx", scores="raw", extra=[odd])
    fails(4, "NoSuchOperator", "convert", bad, "-o", target)
    (tmp_path / "broken.onnx").write_bytes(b"\x08\x07 no protobuf")
    fails(3, "broken.onnx", "convert", tmp_path / "broken.onnx", "-o", target)
    assert target.read_bytes() == b"previous"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["bad.onnx", "broken.onnx", "out.tnb"]


def test_convert_with_shape(run, fails, colour_network, tmp_path):
    source = colour_network(tmp_path / "any.onnx", batch="N", size="side")
    assert run("convert", source, "-q")[0] == 0
    code, out, _ = run("inspect", tmp_path / "any.tnb", "--json")
    assert json.loads(out)["inputs"] == [{"name": "picture", "shape": ["N", 3, "side", "side"], "dtype": "float32"}]
    assert run("convert", source, "--input", "picture=1x3x16x16", "-q")[0] == 0
    code, out, _ = run("inspect", tmp_path / "any.tnb", "--json")
    assert json.loads(out)["inputs"] == [{"name": "picture", "shape": [1, 3, 16, 16], "dtype": "float32"}]


def test_constants_on_the_command_line():
    assert convert.named_value("a=3") == ("a", 3)
    assert convert.named_value("a=1,-1") == ("a", [1, -1])
    assert convert.named_value("a=[[1,2],[3,4]]") == ("a", [[1, 2], [3, 4]])
    assert convert.named_value("a=true") == ("a", True)
    for text in ("a", "=3", "a=", "a=x", "a=1,x"):
        with pytest.raises(argparse.ArgumentTypeError):
            convert.named_value(text)


def reshape_network(path):
    infos = [helper.make_tensor_value_info("x", TensorProto.FLOAT, [2, 6]),
             helper.make_tensor_value_info("target", TensorProto.INT64, [2])]
    graph = helper.make_graph([helper.make_node("Reshape", ["x", "target"], ["y"])], "net", infos,
                              [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), path)
    return path


def test_convert_with_constants(run, fails, tmp_path):
    source, target = reshape_network(tmp_path / "net.onnx"), tmp_path / "net.tnb"
    np.save(tmp_path / "target.npy", np.array([3, 4]))
    (tmp_path / "text.npy").write_text("no array")
    for value in ("3,4", "[3,-1]", tmp_path / "target.npy"):
        code, out, err = run("convert", source, "-o", target, "--constant", f"target={value}", "--json")
        assert code == 0, err
        report = json.loads(out)
        assert (report["inputs"], report["outputs"]) == ({"x": [2, 6]}, {"y": [3, 4]})
    with tinynet.load(target) as model:
        x = np.arange(12, dtype=np.float32).reshape(2, 6)
        np.testing.assert_array_equal(model.run(x)["y"], x.reshape(3, 4))
    fails(2, "no input is called 'aim'", "convert", source, "-o", target, "--constant", "aim=3,4")
    fails(2, "twice", "convert", source, "-o", target, "--constant", "x=1", "--constant", "x=2")
    fails(3, "No such file", "convert", source, "-o", target, "--constant", f"target={tmp_path / 'none.npy'}")
    fails(6, "not a .npy array", "convert", source, "-o", target, "--constant", f"target={tmp_path / 'text.npy'}")


def test_convert_cut_at_tensors(run, fails, colour_network, tmp_path):
    source = colour_network(tmp_path / "net.onnx", extra=[helper.make_node("TextEncoder", ["fine"], ["scores"])], scores="fine")
    target = tmp_path / "net.tnb"
    fails(4, "1 unsupported operator: TextEncoder (ai.onnx, 1 node: TextEncoder_5): it is not implemented; what to do: cut "
          "the network before them with --outputs fine (leaves out 1 node)", "convert", source, "-o", target)
    code, out, err = run("convert", source, "-o", target, "--outputs", "fine,pool", "--json")
    assert code == 0 and json.loads(out)["outputs"] == {"fine": [1, 3], "pool": [1, 3, 1, 1]}
    assert "note: cut at 'fine', 'pool': 1 of 6 nodes are left out" in err
    fails(2, "no tensor is called 'pol'; did you mean 'pool'", "convert", source, "-o", target, "--outputs", "pol")
    fails(2, "expected NAME", "convert", source, "-o", target, "--outputs", ",")
