from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np
import pytest

import tinynet
from benchmarks import size


def test_networks_start_in_turns_and_the_first_round_does_not_count(monkeypatch):
    asked = []

    def run(command):
        asked.append(command[-1])
        return f"[{len(asked)}, 2.0, 3.0]\n"

    monkeypatch.setattr(size, "run", run)
    times = size.network_starts(Path("python"), {"a": Path("a.tnb"), "b": Path("b.tnb")}, 2)
    assert asked == ["a.tnb", "b.tnb"] * 3
    assert times == {"a": [(3, 2.0, 3.0), (5, 2.0, 3.0)], "b": [(4, 2.0, 3.0), (6, 2.0, 3.0)]}


def test_rows_are_medians_and_minima_over_the_processes():
    rows = size.network_rows({"net": [(5.0, 1.0, 2.0), (1.0, 9.0, 3.0), (3.0, 3.0, 1.0)],
                              "lenet5": [(1.0, 1.0, 0.025)], "one_step": [(1.0, 1.0, 0.004), (9.0, 9.0, 0.006)]})
    found = {row["what"]: (row["value"], row["least"], row["unit"], row["text"]) for row in rows}
    assert found["load, net"] == (3.0, 1.0, "ms", "3.0 ms, least 1.0")
    assert found["first run, net"][:2] == (3.0, 1.0)
    assert found["load + first run, net"][:2] == (6.0, 6.0)             # within a process: 6, 10, 6
    assert found["run, net"][:3] == (2.0, 1.0, "ms")
    assert found["run, lenet5"] == (25.0, 25.0, "us", "25.0 us, least 25.0")
    assert found["run() of one addition of 4 numbers"][:3] == (pytest.approx(5.0), pytest.approx(4.0), "us")
    assert not any("one_step" in what for what in found)


def test_a_network_is_started_in_a_process(tmp_path, monkeypatch):
    monkeypatch.setattr(size, "clean_environment", lambda: dict(os.environ))       # the tinynet that is tested
    model = tmp_path / "m.tnb"
    tinynet.convert(size.one_step(tmp_path / "m.onnx"), model)
    assert tinynet.load(model).run(np.array([[1, 2, 3, 4]], np.float32))["y"].tolist() == [[2.0, 3.0, 4.0, 5.0]]
    [(load, first, usual)] = size.network_starts(Path(sys.executable), {"one_step": model}, 1)["one_step"]
    assert min(load, first, usual) > 0


def test_no_source_tree_is_found_by_what_is_measured(monkeypatch, tmp_path):
    (tmp_path / "only_here.py").touch()
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")]))
    with pytest.raises(ValueError, match="No module named 'only_here'"):
        size.run([sys.executable, "-c", "import only_here"])
