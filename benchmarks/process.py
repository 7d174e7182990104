"""The parent's end of a worker: start it, ask it, end it."""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import select
import subprocess
import sys
from pathlib import Path
from typing import Any

WORKER = Path(__file__).parent / "worker.py"
OURS = "tinynet"
# Seconds that one answer may take: conversions of large networks are slow, a hanging peer must not stop the others.
PATIENCE = 600


def python_of(engine: str) -> str:
    """BENCH_PYTHON_<ENGINE>, else BENCH_PYTHON for peers, else this python."""
    own = os.environ.get(f"BENCH_PYTHON_{engine.upper()}")
    if own:
        return own
    return (os.environ.get("BENCH_PYTHON") if engine != OURS else None) or sys.executable


def command(engine: str, *arguments: Any) -> list[str]:
    return [python_of(engine), "-P", str(WORKER), *map(str, arguments)]


def limits(engine: str, isa: str) -> dict[str, str] | None:
    """Environment that keeps the engine from using more than an instruction set level; None if nothing does."""
    if engine == OURS:
        return {"TINYNET_ISA": isa} if isa else {}
    return getattr(importlib.import_module(f"benchmarks.engines.{engine}"), "LIMITS", {}).get(isa)


def environment(engine: str, isa: str = "") -> dict[str, str]:
    """Of an engine's processes.  Byte code is kept, as pip keeps that of installed packages: a load compiles no sources."""
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return kept | (limits(engine, isa) or {})


def last_line(log: Path) -> str:
    lines = log.read_text(errors="replace").split("\n") if log.exists() else []
    return next((line.strip()[:200] for line in reversed(lines) if line.strip()), "nothing on stderr")


def prepare(engine: str, model: Path, folder: Path, cache: Path | None = None) -> dict[str, Any]:
    """{"prepared": path}, or {"skip": ...} or {"error": ...}; `cache`: where conversions are kept."""
    log = folder / "prepare.log"
    with log.open("wb") as errors:
        try:
            done = subprocess.run(command(engine, "prepare", engine, model, folder, *([cache] if cache else [])),
                                  env=environment(engine), stdout=subprocess.PIPE, stderr=errors, stdin=subprocess.DEVNULL,
                                  timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            return {"error": f"conversion took more than {PATIENCE} s"}
        except OSError as error:
            return {"skip": f"cannot start its python: {error.strerror}"}
    lines = done.stdout.splitlines()
    if done.returncode or not lines:
        return {"error": f"conversion ended with code {done.returncode}: {last_line(log)}"}
    return json.loads(lines[-1])


class Worker:
    """One engine with one model in a process of its own."""

    def __init__(self, engine: str, prepared: str, threads: int, folder: Path, cpus: tuple[int, ...] = (), isa: str = ""):
        self.log = folder / "serve.log"
        pin = (lambda: os.sched_setaffinity(0, cpus)) if cpus else None
        with self.log.open("wb") as errors:
            self.process = subprocess.Popen(command(engine, "serve", engine, prepared, threads), stdin=subprocess.PIPE,
                                            stdout=subprocess.PIPE, stderr=errors, preexec_fn=pin,
                                            env=environment(engine, isa))
        self.stdin, self.stdout = self.process.stdin, self.process.stdout

    def ask(self, do: str, **values: Any) -> dict[str, Any]:
        """The answer to one request; {"error": ...} if the process died or does not answer."""
        try:
            self.stdin.write(json.dumps({"do": do, **values}).encode() + b"\n")
            self.stdin.flush()
        except BrokenPipeError:
            return self._died(do)
        ready, _, _ = select.select([self.stdout], [], [], PATIENCE)
        if not ready:
            self.process.kill()
            return {"error": f"no answer to {do} within {PATIENCE} s"}
        line = self.stdout.readline()
        return json.loads(line) if line else self._died(do)

    def _died(self, do: str) -> dict[str, Any]:
        return {"error": f"its process ended with code {self.process.wait()} during {do}: {last_line(self.log)}"}

    def close(self) -> None:
        for pipe in (self.stdin, self.stdout):
            # Closing flushes, and a request to a process that has died cannot be.
            with contextlib.suppress(BrokenPipeError):
                pipe.close()
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
