"""The process that one engine runs in.  Run by path, with that engine's python:

    python -P worker.py prepare ENGINE MODEL FOLDER [CACHE]  converts; the last line of stdout is a JSON object
    python -P worker.py serve ENGINE PREPARED THREADS        obeys one JSON line after another, answers each with one

Requests of `serve`, in this order:
    {"do": "load"}                          -> {"ms", "import_ms", "version"}
    {"do": "first", "inputs": "x.npz", "names": [...]}  -> {"ms"}: binds the file's in0, in1, ... and runs once
    {"do": "burst", "runs": n, "warm": m}   -> {"ms": [n numbers], "switches"}: m runs that nobody times, then n
    {"do": "outputs", "to": "y.npz"}        -> {"names"}: writes what the last run gave as out0, out1, ...; names is
                                               null if the engine does not know them: they are in the model's order
    {"do": "memory"}                        -> {"peak_rss_bytes"}
Any answer may be {"skip": reason} or {"error": text} instead.  End of input ends the process.
"""

from __future__ import annotations

import importlib
import json
import os
import resource
import sys
import time
from pathlib import Path
from typing import Any, TextIO


def private_stdout() -> TextIO:
    """The real stdout; what libraries print goes to stderr from now on."""
    stream = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    return stream


def peak_rss_bytes() -> int:
    """High-water mark of this program; ru_maxrss would start at what the parent had when it forked."""
    with open("/proc/self/status", encoding="ascii") as file:
        for line in file:
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


class Server:
    def __init__(self, adapter: Any, prepared: Path, threads: int):
        self.adapter = adapter
        self.prepared = prepared
        self.threads = threads
        self.engine: Any = None

    def load(self) -> dict[str, Any]:
        started = time.perf_counter()
        version = self.adapter.prepare_import()
        imported = time.perf_counter()
        self.engine = self.adapter.Engine(self.prepared, self.threads)
        done = time.perf_counter()
        return {"ms": 1e3 * (done - imported), "import_ms": 1e3 * (imported - started), "version": version}

    def first(self, inputs: str, names: list[str]) -> dict[str, Any]:
        import numpy as np

        with np.load(inputs) as arrays:
            self.engine.bind({name: arrays[f"in{i}"] for i, name in enumerate(names)})
        started = time.perf_counter()
        self.engine.run()
        return {"ms": 1e3 * (time.perf_counter() - started)}

    def burst(self, runs: int, warm: int) -> dict[str, Any]:
        run, clock = self.engine.run, time.perf_counter_ns
        for _ in range(warm):
            run()
        before = resource.getrusage(resource.RUSAGE_SELF).ru_nivcsw
        times = [0] * runs
        for i in range(runs):
            started = clock()
            run()
            times[i] = clock() - started
        after = resource.getrusage(resource.RUSAGE_SELF).ru_nivcsw
        return {"ms": [t / 1e6 for t in times], "switches": after - before}

    def outputs(self, to: str) -> dict[str, Any]:
        import numpy as np

        results = self.engine.outputs()
        names = list(results) if isinstance(results, dict) else None
        arrays = list(results.values()) if isinstance(results, dict) else results
        np.savez(to, **{f"out{i}": array for i, array in enumerate(arrays)})
        return {"names": names}

    def memory(self) -> dict[str, Any]:
        return {"peak_rss_bytes": peak_rss_bytes()}


def answer(function: Any, *arguments: Any, **options: Any) -> dict[str, Any]:
    """The function's result, or what went wrong in one line."""
    from benchmarks.engines import Skip

    try:
        return function(*arguments, **options)
    except Skip as reason:
        return {"skip": str(reason)}
    except ModuleNotFoundError as error:
        return {"skip": f"not installed (no module {error.name!r})", "missing": True}
    except Exception as error:  # a peer may raise anything: it is reported, and the others go on
        return {"error": " ".join(f"{type(error).__name__}: {error}".split())[:300]}


def limit_cpus(threads: int) -> None:
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])


def main(arguments: list[str]) -> None:
    # Last, so that an installed tinynet is found before the source tree.
    sys.path.append(str(Path(__file__).resolve().parent.parent))
    stream = private_stdout()
    command, name, path, last, *cache = arguments
    adapter = importlib.import_module(f"benchmarks.engines.{name}")

    def reply(values: dict[str, Any]) -> None:
        if values.pop("missing", False):
            values["skip"] += f": pip install {adapter.PIP}"
        stream.write(json.dumps(values) + "\n")
        stream.flush()

    if command == "prepare":
        from benchmarks import conversions

        reply(answer(conversions.prepare, adapter, Path(path), Path(last), Path(cache[0]) if cache else None))
        return
    threads = int(last)
    if getattr(adapter, "LIMIT_BY_AFFINITY", False):
        limit_cpus(threads)
    server = Server(adapter, Path(path), threads)
    for line in sys.stdin:
        request = json.loads(line)
        reply(answer(getattr(server, request.pop("do")), **request))


if __name__ == "__main__":
    main(sys.argv[1:])
