"""What an installation weighs, and what starting costs.

The source tree is copied without anything that was built in it, a wheel is built from the copy, and installed into a
new virtual environment that only has numpy: an editable install would start slower and hide files that are missing.
Start-up is the wall time of whole processes, one after the other in turns, so that what disturbs one disturbs all.
So are load and first run of networks: each in a new process, on one thread, with the imports done before.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import venv
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks import report
from benchmarks.harness import progress
from benchmarks.process import environment

ROOT = Path(__file__).parent.parent
LEFT_OUT = shutil.ignore_patterns(".*", "build", "dist", "*.egg-info", "*.so", "__pycache__", "tests", "benchmarks")

# Programs whose start is measured; differences to the first are what counts.
STARTS = {
    "import numpy": "import numpy",
    "import tinynet": "import numpy, tinynet",
    "import tinynet.model": "import numpy, tinynet.model",
}
# Networks that start in new processes; of the last, a single small step, a run is all that `run` adds to the kernels.
STARTED = ("mobilenet_v2", "resnet18", "lenet5", "one_step")
START = """
import json, sys, time, numpy, tinynet.model
clock = time.perf_counter
started = clock()
m = tinynet.load(sys.argv[1], threads=1)
loaded = clock()
x = numpy.ones(m.inputs[0].shape, 'float32')
first = clock()
m.run(x)
ran = clock()
times = []
while len(times) < 20 or clock() < ran + 0.2:
    before = clock()
    m.run(x)
    times.append(clock() - before)
print(json.dumps([1e3 * (loaded - started), 1e3 * (ran - first), 1e3 * sorted(times)[len(times) // 2]]))
"""
RUN = "import sys, numpy, tinynet\nm = tinynet.load(sys.argv[1])\n" \
      "x = numpy.ones(m.inputs[0].shape, 'float32')\nfor _ in range(3): m.run(x)\n"
REPORT_MEMORY = "\nprint([l for l in open('/proc/self/status') if l.startswith('VmHWM')][0].split()[1])"


def install(folder: Path) -> tuple[Path, Path]:
    """(wheel, python of an environment that has it)."""
    copy = folder / "source"
    shutil.copytree(ROOT, copy, ignore=LEFT_OUT)
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "-q"]
    run([*pip, "wheel", "--no-deps", "-w", str(folder / "wheel"), str(copy)])
    wheel = next((folder / "wheel").glob("*.whl"))
    venv.create(folder / "venv", with_pip=False)
    python = folder / "venv" / "bin" / "python"
    run([*pip, "--python", str(python), "install", str(wheel)])
    return wheel, python


def clean_environment() -> dict[str, str]:
    """In which no source tree is found."""
    return {name: value for name, value in environment("tinynet").items() if name != "PYTHONPATH"}


def run(command: list[str]) -> str:
    """Its stdout, run where no source tree is in sight; ValueError with stderr's last line if it fails."""
    done = subprocess.run(command, capture_output=True, text=True, cwd=tempfile.gettempdir(), env=clean_environment())
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if line.strip()]
        raise ValueError(f"{' '.join(command[1:5])} failed: {lines[-1] if lines else done.returncode}")
    return done.stdout


def installed_bytes(python: Path) -> tuple[int, int]:
    """(bytes of the package's files, of them byte code that pip compiled)."""
    package = Path(run([str(python), "-c", "import tinynet; print(tinynet.__path__[0])"]).strip())
    files = [p for p in package.rglob("*") if p.is_file()]
    return sum(p.stat().st_size for p in files), sum(p.stat().st_size for p in files if p.suffix == ".pyc")


def start_seconds(python: Path, code: str) -> float:
    started = time.perf_counter()
    subprocess.run([str(python), "-c", code], check=True, cwd=tempfile.gettempdir(), env=clean_environment())
    return time.perf_counter() - started


def start_times(python: Path, rounds: int) -> dict[str, list[float]]:
    """Milliseconds per start of each of STARTS, round after round."""
    times: dict[str, list[float]] = {name: [] for name in STARTS}
    for _ in range(rounds + 1):
        for name, code in STARTS.items():
            times[name].append(1e3 * start_seconds(python, code))
    return {name: values[1:] for name, values in times.items()}     # the first round reads the files from disk


def over_first(times: dict[str, list[float]]) -> dict[str, float]:
    """Median over the rounds of the difference to the first program in the same round."""
    names = list(times)
    return {name: median(t - base for t, base in zip(times[name], times[names[0]], strict=True)) for name in names[1:]}


def peak_rss(python: Path, code: str, *arguments: str) -> int:
    return 1024 * int(run([str(python), "-c", code + REPORT_MEMORY, *arguments]))


def network_starts(python: Path, paths: dict[str, Path], rounds: int) -> dict[str, list[tuple[float, float, float]]]:
    """Milliseconds of load, first run, and median run after that: one entry per process, the networks in turns."""
    times: dict[str, list[tuple[float, float, float]]] = {name: [] for name in paths}
    for _ in range(rounds + 1):
        for name, path in paths.items():
            times[name].append(tuple(json.loads(run([str(python), "-c", START, str(path)]))))
    return {name: values[1:] for name, values in times.items()}


def network_rows(times: dict[str, list[tuple[float, float, float]]]) -> list[dict[str, Any]]:
    rows = []
    for name, found in times.items():
        load, first, usual = (list(column) for column in zip(*found, strict=True))
        if name != "one_step":
            both = [a + b for a, b in zip(load, first, strict=True)]
            rows += [row(f"{what}, {name}", median(values), "ms", min(values))
                     for what, values in (("load", load), ("first run", first), ("load + first run", both))]
        if name in ("lenet5", "one_step"):
            usual, unit = [1e3 * ms for ms in usual], "us"
        else:
            unit = "ms"
        what = "run() of one addition of 4 numbers" if name == "one_step" else f"run, {name}"
        rows.append(row(what, median(usual), unit, min(usual)))
    return rows


def one_step(path: Path) -> Path:
    """A network that adds 1 to 4 numbers."""
    import onnx
    from onnx import TensorProto, helper

    x, y = (helper.make_tensor_value_info(n, TensorProto.FLOAT, (1, 4)) for n in "xy")
    one = helper.make_tensor("one", TensorProto.FLOAT, (1,), [1.0])
    graph = helper.make_graph([helper.make_node("Add", ["x", "one"], ["y"])], path.stem, [x], [y], [one])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=9), path)
    return path


def example_models(folder: Path) -> dict[str, Path]:
    """.tnb files of the networks that are run, converted by the running tinynet."""
    import tinynet
    from benchmarks.generate import generated

    sources = [*generated([name for name in STARTED if name != "one_step"]), one_step(folder / "one_step.onnx"),
               ROOT / "examples" / "digits" / "digits.onnx"]
    paths = {source.stem: folder / f"{source.stem}.tnb" for source in sources}
    for source in sources:
        tinynet.convert(source, paths[source.stem])
    return paths


def row(what: str, value: float, unit: str, least: float | None = None) -> dict[str, Any]:
    """`least`: of what `value` is the median of."""
    shown = {"bytes": f"{value / 1e6:.2f} MB", "rss": f"{value / 2**20:.1f} MiB"}.get(unit, f"{value:.1f} {unit}")
    if least is not None:
        shown += f", least {least:.1f}"
    found = {"what": what, "value": value, "unit": "bytes" if unit == "rss" else unit, "text": shown}
    return found if least is None else found | {"least": least}


def collect(folder: Path, rounds: int) -> list[dict[str, Any]]:
    progress("building the wheel ...")
    wheel, python = install(folder)
    total, compiled = installed_bytes(python)
    rows = [row("wheel", os.path.getsize(wheel), "bytes"), row("installed", total - compiled, "bytes"),
            row("byte code that pip adds", compiled, "bytes")]
    progress("starting processes ...")
    times = start_times(python, rounds)
    rows.append(row("start of python + import numpy", median(times["import numpy"]), "ms"))
    rows += [row(f"{name}, over import numpy", ms, "ms") for name, ms in over_first(times).items()]
    rows += [row(f"peak memory, {name}", peak_rss(python, code), "rss") for name, code in STARTS.items()]
    models = example_models(folder)
    rows += [row(f"peak memory, run {name}", peak_rss(python, RUN, str(models[name])), "rss")
             for name in ("mobilenet_v2", "digits")]
    progress("starting networks ...")
    return rows + network_rows(network_starts(python, {name: models[name] for name in STARTED}, rounds))


def main(rounds: int, json_name: str | None) -> int:
    with tempfile.TemporaryDirectory(prefix="tinynet-size-") as folder:
        rows = collect(Path(folder), rounds)
    print(report.grid(("what", "value"), [(r["what"], r["text"]) for r in rows], left=2))
    if json_name:
        progress(f"written: {report.write_json(json_name, 'size', {'rounds': rounds, 'rows': rows})}")
    return 0
