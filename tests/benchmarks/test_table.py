from __future__ import annotations

import json

import pytest

from benchmarks import report, table
from benchmarks.harness import Row, Settings


def rows():
    return [Row("net", "tinynet", "0.1.0 avx2", median_ms=2.0, min_ms=1.9, correct=True, error=1e-6),
            Row("net", "onnxruntime", "1.2.3", median_ms=3.0, min_ms=2.8, ratio=1.5, round_ratio=1.5, correct=True, error=0.0),
            Row("net", "opencv", "5.0", median_ms=1.0, error=0.5),
            Row("net", "litert", problem="there is no .tflite beside the model"),
            Row("big", "tinynet", "0.1.0 avx2", median_ms=100.0, min_ms=99.0, correct=True),
            Row("big", "onnxruntime", "1.2.3", median_ms=90.0, min_ms=89.0, ratio=0.9, correct=True)]


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
    assert "| model, median / minimum in ms | tinynet 0.1.0 | onnxruntime 1.2.3 | opencv 5.0 | best" in text
    assert "| net | **2.00 / 1.90** | 3.00 / 2.80 | wrong | 1.50 (onnxruntime) |\n" in text
    assert "| big | 100 / 99.0 | **90.0 / 89.0** | - | 0.90 (onnxruntime) |" in text
    assert "2 models: geometric mean 1.16, least 0.90 (big, onnxruntime)." in text
    assert "### peers, 2 threads, " in text
    assert ("\n\nNo result that counts:\n\n* opencv, net: wrong\n* litert, net: there is no .tflite beside the model\n") in text
    many = [Row(str(i), "mnn", problem="too new") for i in range(7)]
    assert table.without_result(many) == ["", "No result that counts:", "", "* mnn, 7 models: too new"]
    assert table.without_result(many[:2])[-1] == "* mnn, 0 and 1: too new" and table.without_result([]) == []


def test_what_starting_costs_is_shown_for_one_thread(folder):
    assert "load + first run" not in table.generated(table.load(folder))
    row = Row("net", "tinynet", "0.1.0", 2.0, 1.9, load_ms=4.0, first_ms=2.5, peak_rss_bytes=40 << 20, correct=True)
    report.write_json("b", "peers", report.comparison([row], Settings()))
    text = table.generated(table.load(folder))
    assert "| model, load + first run in ms, peak memory in MiB | tinynet 0.1.0 |\n|---|---|\n| net | 4.00 + 2.50, 40 |" in text


def test_results_with_a_limited_instruction_set_say_who_was_limited(folder):
    peers = [*rows(), Row("net", "openvino", "9", median_ms=8.0, min_ms=8.0, ratio=4.0, round_ratio=4.0, correct=True)]
    report.write_json("b", "peers", report.comparison(peers, Settings(isa="avx2")))
    values = json.loads((folder / "b.json").read_text())
    assert (values["isa"], values["limited"]) == ("avx2", ["opencv", "openvino"])
    text = table.generated(table.load(folder))
    assert "### peers, 1 thread, avx2, " in text
    assert "tinynet was limited to avx2, and so were opencv and openvino; onnxruntime could not be." in text
    assert "Of the limited ones alone: best right peer / tinynet over 1 models: geometric mean 4.00" in text
    report.write_json("b", "peers", report.comparison(peers, Settings(isa="sse2")))
    text = table.generated(table.load(folder))
    assert "limited to sse2, and so were none; onnxruntime, opencv and openvino could not be." in text


def test_a_run_is_continued_only_with_the_same_settings(folder):
    kept = report.read_rows("b", Settings(threads=2))
    assert [(r.model, r.engine, r.ratio) for r in kept] == [(r.model, r.engine, r.ratio) for r in rows()]
    assert report.read_rows("none", Settings()) == []
    with pytest.raises(ValueError, match="threads 2, expected 1"):
        report.read_rows("b", Settings())
    with pytest.raises(ValueError, match="isa '', expected 'avx2'"):
        report.read_rows("b", Settings(threads=2, isa="avx2"))


def test_writing_that_fails_leaves_the_old_results(folder):
    before = (folder / "b.json").read_text()
    with pytest.raises(TypeError):
        report.write_json("b", "peers", {"x": object()})
    assert (folder / "b.json").read_text() == before and [p.name for p in folder.iterdir()] == ["b.json"]


def test_summary_has_a_column_per_precision_and_number_of_threads(folder):
    report.write_json("a", "peers", report.comparison(rows()[:2], Settings()))
    report.write_json("c", "peers", report.comparison(rows(), Settings(isa="avx2")))
    text = table.summary(table.load(folder))
    assert text == ("| best peer / tinynet | float32, 1 thread | float32, 2 threads |\n|---|---|---|\n"
                    "| net | 1.50 (onnxruntime) | 1.50 (onnxruntime) |\n| big |  | 0.90 (onnxruntime) |\n"
                    "| geometric mean | 1.50 | 1.16 |")
    readme = f"a\n{table.SUMMARY_START}\nold\n{table.SUMMARY_END}\nb\n"
    once = table.with_summary(readme, table.load(folder))
    assert text in once and "old" not in once and once.startswith("a\n") and once.endswith("b\n")
    assert table.with_summary("no place", []) == "no place" and table.summary([]) == table.NOTHING


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
    assert once.startswith("above\n") and once.endswith("below\n") and "old" not in once and "**2.00 / 1.90**" in once
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
    text, results = table.README.read_text(), table.load(report.RESULTS.parent / "results")
    assert table.replace_table(text, table.generated(results)) == text
    project = table.PROJECT.read_text()
    assert table.with_quantization(project, results) == project


def test_ops_and_size_sections():
    machine = {"cpu": "CPU", "cpus": 1}
    group = {"group": "1x1", "isa": "avx2", "gops": 50.04, "percent_of_peak": 89.6, "median_percent_of_peak": 81.4,
             "least_percent_of_peak": 70.4, "mac_per_cycle": 14.33, "least_mac_per_cycle": 11.0}
    ops = {"command": "ops", "date": "D", "machine": machine, "threads": 1,
           "peaks_gops": {"float32": {"avx2": 55.8}, "int8": {"avx2": 80.0, "avx512": 90.0}},
           "median_peaks_gops": {"float32": {"avx2": 44.4}, "int8": {"avx2": 70.0, "avx512": 85.0}},
           "groups": [group | {"dtype": "float32"}, group | {"dtype": "int8"}, group | {"dtype": "int8", "isa": "avx512"},
                      group | {"dtype": "int8", "isa": "avx512", "group": "dense"}]}
    size = {"command": "size", "date": "D", "machine": machine, "rows": [{"what": "wheel", "text": "1.00 MB"}]}
    text = table.generated([ops, size])
    assert "### ops, 1 thread, CPU, D\n" in text
    assert "| float32: GOP/s, % of peak / median (least layer), MAC/cycle (least layer) | avx2 |\n" in text
    assert "| 1x1 | 50.0, 90 / 81 (70), 14.3 (11.0) |\n| measured peak / median, GOP/s | 56 / 44 |\n\n" in text
    assert "| dense | - | 50.0, 90 / 81 (70), 14.3 (11.0) |\n| measured peak / median, GOP/s | 80 / 70 | 90 / 85 |" in text
    assert "### size, CPU, D\n" in text and "| wheel | 1.00 MB |" in text


def test_scaling_is_drawn_and_tabled(tmp_path):
    rows = [{"model": name, "engine": engine, "threads": threads, "size": size, "median_ms": size / threads, "min_ms": 1.0,
             "macs": 1000 * size ** 2} for name in ("a", "b") for engine in ("tinynet", "peer") for threads, size in
            ((1, 128), (1, 224), (2, 224))]
    text = table.scaling_table({"rows": rows})
    assert "](results/scaling.png)" in text
    assert "| model, median ms (GFLOP/s) | engine | 128 pixels | 224 pixels | 224, 2 threads |" in text
    assert "| b | peer | 128 (0) | 224 (0) | 112 (1) |" in text
    pytest.importorskip("matplotlib", reason="the plot needs matplotlib")
    from benchmarks import scaling

    scaling.draw(rows, tmp_path / "deep" / "plot.png")
    drawn = (tmp_path / "deep" / "plot.png").read_bytes()
    assert drawn.startswith(b"\x89PNG") and len(drawn) < 100_000


def quantized(model, judged, ours, theirs, **same):
    score = {"agreement": None, "accuracy": None, "boxes": None, "lost": None, **same}
    return {"model": model, "judged": judged, "int8_bytes": 26, "float_bytes": 100,
            "tinynet": {"sqnr": ours, **score}, "onnxruntime": {"sqnr": theirs, **score}}


def test_quantisers_side_by_side():
    rows = [quantized("net/0", 3, 30.04, 20.0, agreement=1.0), quantized("net/1", 4, 25.0, 26.0, agreement=0.75),
            quantized("boxes", 2, 15.0, 12.0, boxes=9, lost=1), quantized("picture", 1, 40.0, 39.5)]
    result = {"version": 1, "command": "quantize", "date": "2026-01-02", "machine": {"cpu": "CPU"}, "rows": rows}
    text = table.generated([result])
    assert "| net | 3 / 4 | 30.0 / 25.0 | 20.0 / 26.0 | 6 of 7 | 6 of 7 | 26.0 % |\n" in text
    assert "| boxes | 2 | 15.0 | 12.0 | 8 of 9 boxes | 8 of 9 boxes | 26.0 % |\n" in text
    assert "| picture | 1 | 40.0 | 39.5 | - | - | 26.0 % |\n\n" in text
    assert "SQNR higher than onnxruntime's in 3 of 4; least gain -1.0 dB." in text
    project = f"above\n{table.QUANTIZED_START}\nold\n{table.QUANTIZED_END}\nbelow\n"
    older = {**result, "date": "2026-01-01", "rows": rows[3:]}
    written = table.with_quantization(project, [result, older])
    assert written.startswith("above\n") and "| boxes |" in written and "old" not in written and written.endswith("below\n")
    assert table.with_quantization("nothing", []) == "nothing"
