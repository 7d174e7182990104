"""tinynet doctor"""

from __future__ import annotations

import json
import os

import pytest

from tinynet import format, selftest
from tinynet.cli import doctor
from tinynet.converters.writer import write


def test_doctor(run):
    code, out, err = run("doctor", "--json")
    facts = json.loads(out)
    assert code == 0 and facts["self_check"]["ok"], facts["self_check"]
    assert facts["kernels"]["isa"] in facts["kernels"]["available"] and facts["threads"]["default"] >= 1
    code, out, err = run("doctor")
    assert code == 0 and err == "" and "self check ok" in out


@pytest.fixture
def altered(model, tmp_path):
    """altered(index, value): the model's file with another record of its self-test"""
    def call(index, value):
        graph = format.read(model.read_bytes(), "colours")
        graph.meta = graph.meta.replaced(selftest_index=index, selftest_value=value)
        (tmp_path / "altered.tnb").write_bytes(write(graph))
        return tmp_path / "altered.tnb"
    return call


def test_doctor_runs_the_self_test_of_a_model(run, model, altered):
    code, out, err = run("doctor", model, "--json")
    check = json.loads(out)["model_check"]
    assert code == 0 and err == "" and check["ok"] is True and check["model"] == str(model)
    assert check["relative_difference"] <= check["tolerance"] == selftest.TOLERANCE
    assert json.loads(run("doctor", "--json")[1])["model_check"] is None

    meta = format.read(model.read_bytes(), "colours").meta
    index, value = list(meta.selftest_index), list(meta.selftest_value)
    off = selftest.TOLERANCE * max(map(abs, value))
    code, out, err = run("doctor", altered(index, [value[0] + 0.5 * off, *value[1:]]))
    assert code == 0 and "model      ok: " in out
    wrong = altered(index, [value[0] + 2 * off, *value[1:]])
    code, out, err = run("doctor", wrong)
    assert code == 1 and err == "" and "model      FAILED: " in out and "relative difference 2.0e-03" in out
    code, out, err = run("doctor", wrong, "--json")
    assert code == 1 and json.loads(out)["model_check"]["ok"] is False


def test_doctor_says_that_a_model_has_no_self_test(run, altered):
    path = altered([], [])
    code, out, err = run("doctor", path)
    assert code == 0 and "model      not tested: the file carries no self-test" in out
    check = json.loads(run("doctor", path, "--json")[1])["model_check"]
    assert check["ok"] is None and check["relative_difference"] is None


def test_doctor_refuses_what_is_no_tnb_file(fails, folder):
    fails(2, "tinynet convert", "doctor", folder / "colours.onnx")
    fails(3, "missing.tnb", "doctor", folder / "missing.tnb")
    fails(3, "red.png", "doctor", folder / "red.png")


def test_doctor_survives_an_unknown_level(python):
    done = python("-m", "tinynet", "doctor", env={**os.environ, "TINYNET_ISA": "mmx"})
    assert done.returncode == 2 and "mmx" in done.stdout and "FAILED" in done.stdout and "Traceback" not in done.stderr


def test_doctor_reads_linux_files(tmp_path):
    assert doctor.cgroup_quota(str(tmp_path)) is None
    (tmp_path / "cpu.max").write_text("150000 100000\n")
    assert doctor.cgroup_quota(str(tmp_path)) == 1.5
    (tmp_path / "cpu.max").write_text("max 100000\n")
    assert doctor.cgroup_quota(str(tmp_path)) is None
    (tmp_path / "cpu.max").unlink()
    (tmp_path / "cpu").mkdir()
    (tmp_path / "cpu" / "cpu.cfs_quota_us").write_text("50000")
    (tmp_path / "cpu" / "cpu.cfs_period_us").write_text("100000")
    assert doctor.cgroup_quota(str(tmp_path)) == 0.5
    (tmp_path / "cpuinfo").write_text("processor : 0\nModel\t: Raspberry Pi 4\n")
    assert doctor.cpu_model(str(tmp_path / "cpuinfo")) == "Raspberry Pi 4"
    assert doctor.cpu_features(str(tmp_path / "cpuinfo")) == []
    (tmp_path / "cpuinfo").write_text("processor : 0\nFeatures : fp asimd evtstrm asimddp cpuid\nflags :\n")
    assert doctor.cpu_features(str(tmp_path / "cpuinfo")) == ["asimd", "asimddp"]
    assert doctor.cpu_features(str(tmp_path / "missing")) == []
