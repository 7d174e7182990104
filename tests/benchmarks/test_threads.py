from __future__ import annotations

import json

import numpy as np
import pytest

from benchmarks import __main__ as main
from benchmarks import generate, report, table, threads, worker
from benchmarks.harness import EngineFailed, Settings
from benchmarks.stats import Burst


def test_speed_up_is_one_thread_over_many_within_a_round():
    one = [Burst([4.0, 6.0]), Burst([40.0, 40.0]), Burst([3.0, 5.0])]
    many = [Burst([2.0, 3.0]), Burst([20.0, 20.0]), Burst([2.0, 2.0])]
    row = threads.row_of("net", one, many, True)
    assert (row["one_median_ms"], row["one_min_ms"], row["many_median_ms"], row["many_min_ms"]) == (5.5, 3.0, 2.5, 2.0)
    assert (row["speedup"], row["min_speedup"], row["rounds_used"]) == (2.0, 1.5, 3)


def test_networks_take_turns_with_themselves(tmp_path, capsys):
    [model] = generate.generated(["lenet5"], tmp_path)
    results = tmp_path / "t.json"
    assert threads.main([model], Settings(2, rounds=2, burst_ms=1.0, gap_ms=0.0), str(results), resume=False) == 0
    values = json.loads(results.read_text())
    [row] = values["rows"]
    assert (values["command"], values["threads"], values["precision"]) == ("threads", 2, "float32")
    assert row["model"] == "lenet5" and row["same"] and row["rounds_used"] == 2
    assert 0 < row["one_min_ms"] <= row["one_median_ms"] and row["speedup"] > 0
    assert "speed-up over 1 models by round" in capsys.readouterr().out


def test_each_side_has_its_number_of_threads_and_other_bits_are_wrong(tmp_path, monkeypatch):
    [model] = generate.generated(["lenet5"], tmp_path)
    counts = []

    def outputs(engine):
        counts.append(engine.model.threads)
        return [np.array([np.nan, len(counts)], np.float32)]

    monkeypatch.setattr(threads.adapter.Engine, "outputs", outputs)
    row = threads.measure(model, Settings(3, rounds=1, burst_ms=1.0, gap_ms=0.0))
    assert counts == [1, 3] and not row["same"] and "WRONG" in threads.cells(row)[3]


def test_network_that_fails_is_said_and_the_others_go_on(tmp_path, monkeypatch, capsys):
    [model] = generate.generated(["lenet5"], tmp_path)
    bad = tmp_path / "bad.onnx"
    bad.write_bytes(model.read_bytes())
    run = worker.Server.load

    def load(self):
        if self.prepared.stem == "bad":
            raise RuntimeError("no memory")
        return run(self)

    monkeypatch.setattr(worker.Server, "load", load)
    with pytest.raises(EngineFailed, match="no memory"):
        threads.measure(bad, Settings(2))
    assert threads.main([bad, model], Settings(2, rounds=1, burst_ms=1.0, gap_ms=0.0), None, resume=False) == 1
    caught = capsys.readouterr()
    assert "lenet5" in caught.out and "no result: RuntimeError: no memory" in caught.err


def test_a_run_is_continued(tmp_path, monkeypatch):
    models = [tmp_path / "a.onnx", tmp_path / "b.onnx"]
    for model in models:
        model.touch()
    measured = []

    def measure(model, settings):
        measured.append(model.stem)
        return threads.row_of(model.stem, [Burst([2.0])], [Burst([1.0])], True)

    monkeypatch.setattr(threads, "measure", measure)
    monkeypatch.setattr(threads.inputs, "precision_of", lambda models: "int8")

    def run(*arguments):
        return main.run(main.parser().parse_args(["threads", *map(str, arguments), "--json", str(tmp_path / "t.json")]))

    assert run(models[0]) == 0 and run("--zoo", tmp_path, "--resume") == 0
    assert measured == ["a", "b"]
    assert [row["model"] for row in json.loads((tmp_path / "t.json").read_text())["rows"]] == ["a", "b"]
    with pytest.raises(ValueError, match="holds threads 2, expected 3"):
        run(models[0], "--threads", 3, "--resume")
    with pytest.raises(main.UsageError, match="at least 2"):
        run(models[0], "--threads", 1)
    with pytest.raises(main.UsageError, match="need --json"):
        main.run(main.parser().parse_args(["threads", "--resume"]))


def test_table(tmp_path, monkeypatch):
    rows = [threads.row_of(name, [Burst([2.0])], [Burst([ms])], True) for name, ms in (("a", 1.0), ("b", 4.0))]
    path = report.write_json(str(tmp_path / "t"), "threads", {"precision": "int8", "threads": 2, "rows": rows, "region_us": 0.3,
                                                                     "region_min_us": 0.25})
    text = table.section(json.loads(path.read_text()))
    assert text.startswith("### threads, int8, 2 threads, ")
    assert "| model, median / minimum in ms | 1 thread | 2 threads | speed-up by round | of the minima |" in text
    assert "| a | 2.00 / 2.00 | 1.00 / 1.00 | 2.00 | 2.00 |\n| b | 2.00 / 2.00 | 4.00 / 4.00 | 0.50 | 0.50 |" in text
    assert "Speed-up over 2 models by round: geometric mean 1.00, least 0.50 (b); of the minima: " in text
    assert "A step that does nothing, on 2 threads: 0.30 us, least 0.25." in text
