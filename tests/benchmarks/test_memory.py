from __future__ import annotations

import json

import numpy as np

import tinynet
from benchmarks import __main__ as main
from benchmarks import generate, memory, table


def test_figures_are_those_of_the_plan(tmp_path, capsys):
    [model] = generate.generated(["lenet5"], tmp_path)
    results = tmp_path / "m.json"
    assert main.run(main.parser().parse_args(["memory", str(model), "--threads", "2", "--json", str(results)])) == 0
    values = json.loads(results.read_text())
    [row] = values["rows"]
    tinynet.convert(model, tmp_path / "m.tnb")
    with tinynet.load(tmp_path / "m.tnb", threads=2) as loaded:
        assert row == {"model": "lenet5", **{key: getattr(loaded.memory, key) for key in memory.COLUMNS}}
    assert row["arena_bytes"] >= row["lower_bound"] > 0
    assert row["run_bytes"] == sum(row[key] for key in ("arena_bytes", "scratch_bytes", "constant_bytes", "output_bytes"))
    # The sum is what max_ram has to allow.
    tinynet.load(tmp_path / "m.tnb", threads=2, max_ram=row["run_bytes"]).run(np.zeros((1, 1, 28, 28), np.float32))
    assert (values["command"], values["precision"], values["threads"]) == ("memory", "float32", 2)
    assert "arena over 1 models at most" in capsys.readouterr().out


def test_table():
    row = dict.fromkeys(memory.COLUMNS, 2000) | {"model": "a", "arena_bytes": 11_000, "lower_bound": 10_000}
    rows = [row, {**row, "model": "b", "arena_bytes": 10_000}, dict.fromkeys(memory.COLUMNS, 0) | {"model": "none"}]
    text = table.section({"command": "memory", "machine": {"cpu": "CPU"}, "date": "D", "precision": "int8", "threads": 1,
                          "rows": rows})
    assert text.startswith("### memory, int8, 1 thread, CPU, D\n\n| model, kB | arena | its lower bound | scratch | ")
    assert "| a | 11.0 | 10.0 (+10.0 %) | 2.00 | 2.00 | 2.00 | 2.00 | 2.00 |\n| b | 10.0 | 10.0 (+0.0 %) |" in text
    assert "Arena over 3 models at most 10.0 % above its lower bound (a)." in text
