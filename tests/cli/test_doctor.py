"""tinynet doctor"""

from __future__ import annotations

import json
import os

from tinynet.cli import doctor


def test_doctor(run):
    code, out, err = run("doctor", "--json")
    facts = json.loads(out)
    assert code == 0 and facts["self_check"]["ok"], facts["self_check"]
    assert facts["kernels"]["isa"] in facts["kernels"]["available"] and facts["threads"]["default"] >= 1
    code, out, err = run("doctor")
    assert code == 0 and err == "" and "self check ok" in out


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
