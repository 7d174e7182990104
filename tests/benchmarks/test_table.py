from __future__ import annotations

import json

import pytest

from benchmarks import report, table
from benchmarks.harness import Row, Settings


def rows():
    return [Row("net", "tinynet", "0.1.0 avx2", median_ms=2.0, min_ms=1.9, correct=True, error=1e-6),
            Row("net", "onnxruntime", "1.2.3", median_ms=3.0, ratio=1.5, round_ratio=1.5, correct=True, error=0.0),
            Row("net", "opencv", "5.0", median_ms=1.0, error=0.5),
            Row("net", "litert", problem="there is no .tflite beside the model"),
            Row("big", "tinynet", "0.1.0 avx2", median_ms=100.0, correct=True),
            Row("big", "onnxruntime", "1.2.3", median_ms=90.0, ratio=0.9, correct=True)]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(report, "RESULTS", tmp_path / "results")
    report.write_json("b", "peers", report.comparison(rows(), Settings(threads=2)))
    return tmp_path / "results"


def test_json_holds_what_the_readme_promises(folder):
    values = json.loads((folder / "b.json").read_text())
    assert (values["version"], values["command"], values["threads"]) == (1, "peers", 2)
    assert set(values["machine"]) == {"cpu", "cpus", "architecture", "system", "python"}
    assert set(values["engines"]) == {"tinynet", "onnxruntime", "opencv"}
    readme = table.README.read_text()
    assert all(key in readme for key in [*values, *values["rows"][0]])


def test_a_path_is_written_where_it_says(folder, tmp_path):
    path = report.write_json(str(tmp_path / "elsewhere" / "x.json"), "size", {})
    assert path == tmp_path / "elsewhere" / "x.json" and path.exists()


def test_comparison_table(folder):
    text = table.generated(table.load(folder))
    assert "| model | tinynet 0.1.0 | onnxruntime 1.2.3 | opencv 5.0 |\n" in text
    assert "| net | **2.00** | 3.00 (1.50) | wrong |\n" in text
    assert "| big | 100 | **90.0 (0.90)** | - |" in text
    assert "2 models: geometric mean 1.16, least 0.90 (big, onnxruntime)." in text
    assert "### peers, 2 threads, " in text


def test_8_bit_results_say_so(folder):
    report.write_json("c", "peers", report.comparison([Row("net", "tinynet", median_ms=1.0, error=0.01, spread=0.02,
                                                            correct=True)], Settings()))
    text = table.generated(table.load(folder))
    assert "### peers, int8, 1 thread, " in text and "### peers, 2 threads, " in text


def test_table_replaces_only_what_lies_between_the_markers(folder, tmp_path):
    readme = tmp_path / "README.md"
    readme.write_text(f"above\n{table.START}\nold\n{table.END}\nbelow\n")
    project = tmp_path / "project.md"
    project.write_text(f"above\n{table.OPERATORS_START}\nold\n{table.OPERATORS_END}\nbelow\n")
    table.main(folder, readme, project)
    assert project.read_text().startswith("above\n") and "ConvInteger, ConvTranspose" in project.read_text()
    assert "\nold\n" not in project.read_text()
    once = readme.read_text()
    assert once.startswith("above\n") and once.endswith("below\n") and "old" not in once and "**2.00**" in once
    table.main(folder, readme, project)
    assert readme.read_text() == once


def test_no_results_are_said_to_be_none(tmp_path):
    assert table.NOTHING in table.generated(table.load(tmp_path))


def test_readme_without_markers_and_foreign_json_are_refused(tmp_path):
    with pytest.raises(ValueError, match="markers"):
        table.replace_table("nothing here", "x")
    (tmp_path / "other.json").write_text("[]")
    with pytest.raises(ValueError, match=r"other\.json"):
        table.load(tmp_path)


def test_committed_readme_is_what_the_committed_results_give():
    text = table.README.read_text()
    assert table.replace_table(text, table.generated(table.load(report.RESULTS.parent / "results"))) == text


def test_ops_and_size_sections():
    machine = {"cpu": "CPU", "cpus": 1}
    ops = {"command": "ops", "date": "D", "machine": machine, "threads": 1,
           "groups": [{"group": "1x1", "isa": "avx2", "gflops": 50.04, "percent_of_peak": 89.6}]}
    size = {"command": "size", "date": "D", "machine": machine, "rows": [{"what": "wheel", "text": "1.00 MB"}]}
    text = table.generated([ops, size])
    assert "### ops, 1 thread, CPU, D\n" in text and "| 1x1 | avx2 | 50.0 | 90 |" in text
    assert "### size, CPU, D\n" in text and "| wheel | 1.00 MB |" in text


def test_scaling_is_drawn_and_tabled(tmp_path):
    pytest.importorskip("matplotlib", reason="the plot needs matplotlib")
    from benchmarks import scaling

    rows = [{"model": name, "threads": threads, "size": size, "median_ms": size / threads, "min_ms": 1.0, "macs": size ** 2}
            for name in ("a", "b") for threads in (1, 2) for size in ((128, scaling.USUAL_SIZE) if threads == 1 else
                                                                     (scaling.USUAL_SIZE,))]
    scaling.draw(rows, tmp_path / "deep" / "plot.png")
    assert (tmp_path / "deep" / "plot.png").read_bytes().startswith(b"\x89PNG")
    assert "| a | 2 | 224 | 112 | 0.0 |" in table.scaling_table({"rows": rows})
