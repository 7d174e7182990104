"""`tinynet` as a whole: parsing, help, exit codes, pipes and signals."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest

from tinynet import cli
from tinynet.errors import UsageError


def test_help_names_every_command(run):
    code, out, err = run("--help")
    assert code == 0 and err == ""
    assert all(f"\n    {name} " in out for name in cli.COMMANDS)


@pytest.mark.parametrize("command", cli.COMMANDS)
def test_help_of_a_command(run, command):
    code, out, err = run(command, "--help")
    assert code == 0 and err == "" and out.startswith(f"usage: tinynet {command}")


@pytest.mark.parametrize("words", [["--help"], ["--version"], ["inspect", "--help"], ["inspect", "MODEL"]])
def test_without_numpy(python, model, words):
    words = [str(model) if word == "MODEL" else word for word in words]
    code = ("import sys; sys.modules['numpy'] = None\n"
            f"from tinynet.__main__ import main; sys.exit(main({words!r}))")
    done = python("-c", code)
    assert done.returncode == 0 and done.stderr == "" and done.stdout


def test_version(run):
    import tinynet

    assert run("--version") == (0, f"tinynet {tinynet.__version__}\n", "")


@pytest.mark.parametrize("words, text", [
    ([], "COMMAND"), (["rnu"], "did you mean 'run'?"), (["xyz"], "expected one of convert, quantize, run"),
    (["x.tnb"], "tinynet run x.tnb IMAGE"), (["run"], "MODEL, IMAGE"), (["run", "m", "i", "--top", "0"], "at least 1"),
    (["run", "m", "i", "--top", "many"], "'many'"), (["bench", "m", "--seconds", "-1"], "expected"),
    (["convert", "m.onnx", "--input", "x"], "NAME=1x3x320x320"),
    (["convert", "m.onnx", "--input", "x=1x0"], "at least 1"),
    (["convert", "m.onnx", "--size", "224"], "HEIGHTxWIDTH"), (["convert", "m.onnx", "--color", "cmyk"], "cmyk"),
    (["convert", "m.onnx", "--mean", "1", "b"], "--mean expects numbers, found 'b'"),
    (["convert", "m.onnx", "--input", "x=1", "--input", "x=2"], "twice"), (["inspect", "m", "--what"], "--what"),
])
def test_usage_errors(fails, words, text):
    fails(2, text, *words)


def test_main_never_raises(run, fails, monkeypatch):
    def ends(error, code, text):
        def broken(argv):
            raise error
        monkeypatch.setattr(cli, "dispatch", broken)
        fails(code, text, "doctor")

    ends(RuntimeError("one\ntwo"), 70, "internal error: RuntimeError: one two (set TINYNET_DEBUG=1 for the traceback)")
    ends(MemoryError(), 5, "out of memory")
    ends(KeyboardInterrupt(), 130, "interrupted")
    ends(UsageError("bad \x1b[31m word"), 2, "bad \ufffd[31m word")
    ends(OSError(28, "No space left on device"), 3, "cannot write the results: No space left on device")
    monkeypatch.setenv("TINYNET_DEBUG", "1")
    code, _, err = run("doctor")
    assert code == 3 and "Traceback" in err


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_full_disk(model):
    with open("/dev/full", "w") as full:
        done = subprocess.run([sys.executable, "-m", "tinynet", "inspect", model], stdout=full, stderr=subprocess.PIPE,
                              text=True, timeout=60)
    assert done.returncode == 3 and done.stderr == "tinynet: cannot write the results: No space left on device\n"


def test_reader_of_the_pipe_goes_away(model):
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "w") as pipe:
        done = subprocess.run([sys.executable, "-m", "tinynet", "inspect", model, "--json"], stdout=pipe,
                              stderr=subprocess.PIPE, text=True, timeout=60)
    assert done.returncode == 141 and done.stderr == ""


def test_closed_streams(model):
    for closed in (">&-", "2>&-", ">&- 2>&-"):
        command = f'"{sys.executable}" -m tinynet inspect "{model}" {closed}'
        done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, timeout=60)
        assert done.returncode == 0 and done.stderr == ""


def test_bad_environment(python, folder, model):
    for name, value in (("TINYNET_NUM_THREADS", "many"), ("TINYNET_ISA", "mmx")):
        done = python("-m", "tinynet", "run", model, folder / "red.png", env={**os.environ, name: value})
        assert done.returncode == 2 and f"{name}={value}" in done.stderr and done.stderr.count("\n") == 1


def test_interrupt(model):
    process = subprocess.Popen([sys.executable, "-m", "tinynet", "bench", str(model), "--seconds", "50"],
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                               # A shell's background jobs, and their children, ignore the signal otherwise.
                               preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))
    time.sleep(2)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert (process.returncode, out, err) == (130, "", "tinynet: interrupted\n")
