"""The harness with engines that are scripts, then once with real processes.  Nothing here looks at a clock."""

from __future__ import annotations

import json
import subprocess

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from benchmarks import engines, generate, harness, process
from benchmarks import worker as worker_module
from benchmarks.harness import Row, Settings
from benchmarks.stats import Burst


class Fake:
    """Answers bursts with a constant time; notes every call in a list that all fakes share."""

    def __init__(self, name, calls, ms, dies_at=None):
        self.name, self.calls, self.ms, self.dies_at, self.bursts = name, calls, ms, dies_at, 0

    def ask(self, do, **values):
        self.calls.append((self.name, values["runs"], values["warm"]))
        self.bursts += 1
        if self.bursts == self.dies_at:
            return {"error": "gone"}
        return {"ms": [self.ms] * values["runs"], "switches": 0}


def test_bursts_alternate_and_each_fills_its_time():
    calls = []
    workers = {"a": Fake("a", calls, 1.0), "b": Fake("b", calls, 5.0)}
    bursts, failed = harness.interleave(workers, Settings(rounds=2), sleep=lambda s: None)
    assert calls == [("a", 3, 7), ("b", 3, 7), *[("a", 20, 1), ("b", 4, 1)] * 2]
    assert {name: [len(b.ms) for b in own] for name, own in bursts.items()} == {"a": [20, 20], "b": [4, 4]}
    assert not failed


@pytest.mark.parametrize("dies_at", [1, 3])
def test_engine_that_dies_is_dropped_and_the_others_go_on(dies_at):
    calls = []
    workers = {"a": Fake("a", calls, 1.0), "b": Fake("b", calls, 1.0, dies_at)}
    bursts, failed = harness.interleave(workers, Settings(rounds=3), sleep=lambda s: None)
    assert (list(bursts), len(bursts["a"]), failed) == (["a"], 3, {"b": "gone"})
    assert sum(name == "b" for name, *_ in calls) == dies_at


def test_there_is_a_pause_before_each_burst_only_with_threads():
    for threads, pause in [(1, 0.0), (2, 0.03)]:
        pauses = []
        harness.interleave({"a": Fake("a", [], 1.0)}, Settings(threads=threads, rounds=1), sleep=pauses.append)
        assert pauses == [pause, pause]


def test_rounds_are_fewer_where_they_would_take_too_long():
    for ms, seconds, rounds in [(1.0, 15.0, 30), (100.0, 12.0, 30), (100.0, 8.0, 20), (1000.0, 8.0, harness.LEAST_ROUNDS)]:
        calls = []
        harness.interleave({"a": Fake("a", calls, ms)}, Settings(seconds=seconds), sleep=lambda s: None)
        assert len(calls) == rounds + 1, ms


def rows_with(**correct):
    return {name: Row("net", name, correct=right) for name, right in correct.items()}


def test_ratio_is_peer_over_tinynet():
    rows = rows_with(tinynet=True, peer=True)
    harness.fill_rows(rows, {"tinynet": [Burst([2.0])] * 3, "peer": [Burst([3.0])] * 3})
    assert (rows["peer"].ratio, rows["peer"].round_ratio, rows["tinynet"].ratio) == (1.5, 1.5, None)
    assert (rows["peer"].median_ms, rows["peer"].runs, rows["peer"].rounds_used) == (3.0, 3, 3)


@pytest.mark.parametrize("right", [{"tinynet": True, "peer": False}, {"tinynet": False, "peer": True}])
def test_wrong_engines_get_no_ratio(right):
    rows = rows_with(**right)
    harness.fill_rows(rows, {"tinynet": [Burst([2.0])], "peer": [Burst([1.0])]})
    assert rows["peer"].ratio is None and rows["peer"].median_ms == 1.0


def test_judge_compares_with_onnxruntime():
    good = np.array([0.0, 1.0], np.float32)
    rows = rows_with(tinynet=False, coarse=False, wrong=False, absent=False)
    harness.judge(rows, {"tinynet": [good], "coarse": [good + 0.005], "wrong": [good + 0.05], "onnxruntime": [good]})
    assert [rows[n].correct for n in rows] == [True, True, False, False]
    assert rows["wrong"].error == pytest.approx(0.05, rel=1e-4) and rows["absent"].error is None


def test_engine_that_is_right_only_at_first_is_wrong():
    good = np.array([0.0, 1.0], np.float32)
    rows = rows_with(peer=False)
    for answer in (good, good + 1, good):
        harness.judge(rows, {"peer": [answer], "onnxruntime": [good]})
    assert not rows["peer"].correct and rows["peer"].error == 1


def test_tinynet_is_held_to_a_tighter_bound_than_peers():
    good = np.array([0.0, 1.0], np.float32)
    rows = rows_with(tinynet=False)
    harness.judge(rows, {"tinynet": [good + 0.005], "onnxruntime": [good]})
    assert not rows["tinynet"].correct


def test_judge_of_8_bit_networks_measures_noise():
    good = np.array([0.0, 1.0, 0.0, 1.0], np.float32)                   # deviation 0.5
    results = {"tinynet": [good + 0.04], "noisy": [good + 0.06], "unrelated": [1 - good], "onnxruntime": [good]}
    for spread, right in [(0.0, [True, False, False]), (0.07, [True, True, False]), (5.0, [True, True, False])]:
        rows = rows_with(tinynet=False, noisy=False, unrelated=False)
        harness.judge(rows, results, spread)
        assert [rows[n].correct for n in rows] == right
        assert {row.spread for row in rows.values()} == {spread}
        assert rows["noisy"].error == pytest.approx(0.12, rel=1e-5)


def qdq_network(path):
    """Two convolutions with 8-bit inputs, weights (per channel) and outputs."""
    rng = np.random.default_rng(0)
    nodes, constants = [], [numpy_helper.from_array(np.array(v, t), n) for n, v, t in (
        ("s", 0.02, np.float32), ("z", 128, np.uint8), ("z0", 0, np.uint8), ("si", 4e-4, np.float32))]

    def qdq(name, zero):
        nodes.extend([helper.make_node("QuantizeLinear", [name, "s", zero], [name + "_q"]),
                      helper.make_node("DequantizeLinear", [name + "_q", "s", zero], [name + "_d"])])
        return name + "_d"

    x = qdq("x", "z")
    for i, channels in enumerate((3, 8)):
        constants += [numpy_helper.from_array(a, f"{n}{i}") for n, a in (
            ("w", rng.integers(-127, 128, (8, channels, 3, 3)).astype(np.int8)),
            ("ws", rng.uniform(1e-3, 2e-3, 8).astype(np.float32)), ("wz", np.zeros(8, np.int8)))]
        nodes.extend([helper.make_node("DequantizeLinear", [f"w{i}", f"ws{i}", f"wz{i}"], [f"w{i}_d"], axis=0),
                      helper.make_node("Conv", [x, f"w{i}_d"], [f"c{i}"], pads=[1, 1, 1, 1]),
                      helper.make_node("Relu", [f"c{i}"], [f"r{i}"])])
        x = qdq(f"r{i}", "z0")
    tensors = [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in (("x", (1, 3, 12, 12)), (x, (1, 8, 12, 12)))]
    model = helper.make_model(helper.make_graph(nodes, "qdq", tensors[:1], tensors[1:], constants),
                              opset_imports=[helper.make_opsetid("", 13)], ir_version=9)
    onnx.checker.check_model(model)
    onnx.save(model, path)
    return path


def test_8_bit_network_through_real_processes(tmp_path):
    model = qdq_network(tmp_path / "net.qdq.onnx")
    (tmp_path / "net_int8.tflite").write_bytes(b"")
    [peer, ncnn, litert] = harness.bench_model(model, ["onnxruntime", "ncnn", "litert"], Settings(rounds=1, burst_ms=1.0))
    assert (peer.model, peer.correct, peer.error) == ("net", True, 0) and 0 < peer.spread < 0.1
    assert ncnn.problem.startswith(("the wheel has neither ncnn2table", "not installed", "cannot start"))
    assert litert.problem and "there is no .tflite" not in litert.problem


def test_openvino_runs_8_bit_networks_with_integer_kernels(tmp_path):
    code = ("import sys; from pathlib import Path; sys.path.append(sys.argv[1]); from benchmarks.engines import openvino as o\n"
            "print(*o.Engine(o.prepare(Path(sys.argv[2]), Path(sys.argv[3])), 1).integer_layers())")
    done = subprocess.run([process.python_of("openvino"), "-c", code, str(process.WORKER.parents[1]),
                           str(qdq_network(tmp_path / "net.qdq.onnx")), str(tmp_path)], capture_output=True, text=True)
    if "No module named" in done.stderr:
        pytest.skip("openvino is not installed")
    assert done.stdout.split() == ["2", "2"], done.stderr


def test_published_problems_name_no_folder(tmp_path):
    text = harness.without_folders(f"Error: {tmp_path}/m.onnx: bad, see /scratch/x/log", tmp_path, "/scratch/x")
    assert text == "Error: m.onnx: bad, see log"


def test_judge_without_onnxruntime_calls_nothing_right():
    rows = rows_with(tinynet=False)
    harness.judge(rows, {"tinynet": [np.zeros(2)]})
    assert not rows["tinynet"].correct and "onnxruntime" in rows["tinynet"].problem


def test_infinite_error_is_null_in_json():
    text = json.dumps(Row("net", "peer", error=float("inf")).to_json(), allow_nan=False)
    assert json.loads(text)["error"] is None


def test_models_called_model_take_the_folders_name(tmp_path):
    assert harness.label(tmp_path / "net" / "model.onnx") == "net"
    assert harness.label(tmp_path / "net" / "model_qdq.onnx") == "net"
    assert harness.label(tmp_path / "net" / "other.onnx") == "other"
    assert harness.label(tmp_path / "net" / "other.qdq.onnx") == "other"


def test_python_of_an_engine(monkeypatch):
    for name in ("BENCH_PYTHON", "BENCH_PYTHON_MNN", "BENCH_PYTHON_TINYNET"):
        monkeypatch.delenv(name, raising=False)
    default = process.python_of("mnn")
    monkeypatch.setenv("BENCH_PYTHON", "peers")
    assert (process.python_of("mnn"), process.python_of("tinynet")) == ("peers", default)
    monkeypatch.setenv("BENCH_PYTHON_MNN", "own")
    assert process.python_of("mnn") == "own"


def test_real_processes_agree_on_a_network(tmp_path):
    [model] = generate.generated(["lenet5"], tmp_path)
    rows = harness.bench_model(model, ["tinynet", "onnxruntime", "litert"], Settings(rounds=2, burst_ms=1.0))
    ours, peer, absent = rows
    assert [r.problem for r in (ours, peer)] == ["", ""]
    assert ours.correct and peer.correct and ours.error < 1e-4 and peer.error == 0
    assert peer.ratio > 0 and peer.round_ratio > 0 and ours.runs >= 6
    assert min(ours.load_ms, ours.first_ms, ours.import_ms, ours.min_ms) > 0
    assert 5e6 < ours.peak_rss_bytes < 1e9
    assert absent.problem == "there is no .tflite beside the model" and absent.median_ms is None


@pytest.mark.parametrize("engine", [e for e in engines.NAMES if e not in ("tinynet", "onnxruntime", "litert")])
def test_each_installed_peer_is_right(engine, tmp_path):
    [model] = generate.generated(["lenet5"], tmp_path)
    [row] = harness.bench_model(model, [engine], Settings(rounds=1, burst_ms=1.0))
    if row.problem.startswith(("not installed", "cannot start")):
        pytest.skip(row.problem)
    assert (row.problem, row.correct) == ("", True)
    assert row.error < 1e-3 and row.version


def test_reference_runs_even_if_it_is_not_among_the_engines(tmp_path):
    [model] = generate.generated(["lenet5"], tmp_path)
    [row] = harness.bench_model(model, ["tinynet"], Settings(rounds=1, burst_ms=1.0))
    assert row.correct and row.ratio is None


def test_worker_that_dies_is_reported_with_its_last_words(tmp_path, monkeypatch):
    script = tmp_path / "worker.py"
    script.write_text("import sys\nsys.stdin.readline()\nprint('out of luck', file=sys.stderr)\nsys.exit(3)\n")
    monkeypatch.setattr(process, "WORKER", script)
    worker = process.Worker("tinynet", "x", 1, tmp_path)
    assert worker.ask("load") == {"error": "its process ended with code 3 during load: out of luck"}
    assert "code 3" in worker.ask("burst", runs=1, warm=0)["error"]
    worker.close()


def test_worker_that_hangs_is_ended(tmp_path, monkeypatch):
    script = tmp_path / "worker.py"
    script.write_text("import time\ntime.sleep(600)\n")
    monkeypatch.setattr(process, "WORKER", script)
    monkeypatch.setattr(process, "PATIENCE", 0.1)
    worker = process.Worker("tinynet", "x", 1, tmp_path)
    assert worker.ask("load") == {"error": "no answer to load within 0.1 s"}
    assert "ended with code -9" in worker.ask("burst", runs=1, warm=0)["error"]
    worker.close()


BAD_PEER = """
import json, os, signal, sys
import numpy as np
fault, command, model = sys.argv[1], sys.argv[2], sys.argv[4]
if command == "prepare":
    print(json.dumps({"prepared": model}))
    sys.exit(4 if fault == "conversion" else 0)
for line in sys.stdin:
    asked = json.loads(line)
    do = asked["do"]
    if do == fault:
        os.kill(os.getpid(), signal.SIGSEGV)
    if do == "outputs":
        value = np.array([None] * 10) if fault == "objects" else np.full(10, np.nan, np.float32)
        np.savez(asked["to"], out0=value)
    times = [1.0] * asked.get("runs", 0) if do == "burst" else 1.0
    print(json.dumps({"ms": times, "import_ms": 1.0, "version": "9", "switches": 0, "names": None, "peak_rss_bytes": 1}),
          flush=True)
"""


@pytest.mark.parametrize(("fault", "problem"), [
    ("conversion", "conversion ended with code 4"), ("load", "its process ended with code -11 during load"),
    ("first", "code -11 during first"), ("burst", "code -11 during burst"), ("memory", "code -11 during memory"),
    ("objects", "its outputs are no arrays of numbers"), ("wrong", "")])
def test_peer_that_crashes_or_is_wrong_is_a_row_and_the_others_go_on(fault, problem, tmp_path, monkeypatch):
    script = tmp_path / "peer.py"
    script.write_text(BAD_PEER)
    usual = process.command
    monkeypatch.setattr(process, "command", lambda engine, *rest: [process.python_of("tinynet"), str(script), fault,
                                                                   *map(str, rest)] if engine == "opencv" else
                        usual(engine, *rest))
    [model] = generate.generated(["lenet5"], tmp_path)
    ours, bad = harness.bench_model(model, ["tinynet", "opencv"], Settings(rounds=1, burst_ms=1.0))
    assert ours.correct and not ours.problem and ours.median_ms > 0
    assert problem in bad.problem and bool(bad.problem) == bool(problem)
    assert not bad.correct and bad.ratio is None and (fault != "wrong" or bad.error == float("inf"))


def test_missing_python_is_a_skip(tmp_path, monkeypatch):
    monkeypatch.setattr(process, "command", lambda *a: ["/nonexistent/python"])
    assert "cannot start" in process.prepare("mnn", tmp_path / "m.onnx", tmp_path)["skip"]


def test_missing_package_is_a_skip():
    def absent():
        import no_such_engine  # noqa: F401

    assert worker_module.answer(absent) == {
        "skip": "not installed (no module 'no_such_engine')", "missing": True}


def test_what_a_peer_raises_becomes_one_line():
    def broken():
        raise RuntimeError("first\nsecond")

    assert worker_module.answer(broken) == {"error": "RuntimeError: first second"}


def test_what_libraries_print_does_not_disturb_the_protocol():
    code = ("import os, sys; sys.path.append(sys.argv[1]); from benchmarks.worker import private_stdout\n"
            "stream = private_stdout(); os.write(1, b'noise'); print('noise'); stream.write('answer'); stream.flush()")
    done = subprocess.run([process.python_of("tinynet"), "-c", code, str(process.WORKER.parents[1])],
                          capture_output=True, text=True)
    assert done.stdout == "answer" and done.stderr.count("noise") == 2
