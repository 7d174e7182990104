"""Several engines on one model, interleaved: A B C A B C ..., each in its own process."""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from benchmarks import inputs, process, stats
from benchmarks.process import OURS
from benchmarks.stats import Burst

REFERENCE = "onnxruntime"
LEAST_ROUNDS = 7


@dataclass(frozen=True)
class Settings:
    threads: int = 1
    rounds: int = 30                     # at most
    seconds: float = 15.0                # for one model: fewer rounds, but at least LEAST_ROUNDS, where more would take longer
    burst_ms: float = 20.0
    gap_ms: float | None = None          # None: no gap with one thread, else 30 ms: until pools have stopped spinning
    cpus: tuple[int, ...] = ()           # empty: nothing is pinned
    isa: str = ""                        # instruction set level for tinynet, and for the peers that can be limited to it
    cache: Path | None = None            # where converted models are kept

    @property
    def gap(self) -> float:
        return (0.0 if self.threads == 1 else 30.0) if self.gap_ms is None else self.gap_ms


@dataclass
class Row:
    """One engine on one model; what could not be had is None."""

    model: str
    engine: str
    version: str = ""
    median_ms: float | None = None
    min_ms: float | None = None
    ratio: float | None = None           # peer's median / our median; above 1: tinynet is faster
    round_ratio: float | None = None     # median of the ratios within each round
    load_ms: float | None = None
    first_ms: float | None = None
    import_ms: float | None = None
    peak_rss_bytes: int | None = None
    error: float | None = None           # relative to the range of onnxruntime's output; 8-bit networks: noise to signal
    spread: float | None = None          # 8-bit networks: the error of onnxruntime itself on inputs that are moved a little
    correct: bool = False
    runs: int = 0
    rounds_used: int = 0
    problem: str = ""                    # why there are no figures

    def to_json(self) -> dict[str, Any]:
        values = asdict(self)
        for key in ("error", "spread"):
            if values[key] is not None and not np.isfinite(values[key]):
                values[key] = None
        return values


class Asks(Protocol):
    def ask(self, do: str, **values: Any) -> dict[str, Any]: ...


class EngineFailed(Exception):
    pass


def checked(reply: dict[str, Any]) -> dict[str, Any]:
    for key in ("skip", "error"):
        if key in reply:
            raise EngineFailed(reply[key])
    return reply


def interleave(workers: dict[str, Asks], settings: Settings, sleep: Callable[[float], None] = time.sleep,
               ) -> tuple[dict[str, list[Burst]], dict[str, str]]:
    """Bursts per engine, one per round, and {engine: reason} for those that failed meanwhile (they are dropped)."""
    bursts: dict[str, list[Burst]] = {name: [] for name in workers}
    failed: dict[str, str] = {}
    runs: dict[str, int] = {}
    round_ms = 0.0

    def burst(name: str, count: int, warm: int) -> Burst | None:
        if name in failed:
            return None
        sleep(settings.gap / 1e3)
        try:
            reply = checked(workers[name].ask("burst", runs=count, warm=warm))
        except EngineFailed as error:
            failed[name] = str(error)
            return None
        return Burst(reply["ms"], reply["switches"])

    for name in workers:
        warmed = burst(name, 3, 7)
        if warmed:
            runs[name] = stats.runs_per_burst(min(warmed.ms), settings.burst_ms)
            round_ms += settings.gap + (runs[name] + 1) * min(warmed.ms)
    for _ in range(stats.rounds_within(settings.rounds, LEAST_ROUNDS, settings.seconds, round_ms)):
        for name in workers:
            one = burst(name, runs.get(name, 0), 1)
            if one:
                bursts[name].append(one)
    return {name: b for name, b in bursts.items() if name not in failed}, failed


def fill_rows(rows: dict[str, Row], bursts: dict[str, list[Burst]]) -> None:
    """Write what the bursts say into the rows."""
    if not bursts:
        return
    rounds = stats.usable_rounds(list(bursts.values()))
    for name, own in bursts.items():
        summary = stats.summarize(own, rounds)
        row = rows[name]
        row.median_ms, row.min_ms, row.runs = summary
        row.rounds_used = len(rounds)
        if OURS in bursts and name != OURS and row.correct and rows[OURS].correct:
            row.ratio = summary.median_ms / stats.summarize(bursts[OURS], rounds).median_ms
            row.round_ratio = stats.round_ratio(own, bursts[OURS], rounds)


def start(engine: str, model: Path, folder: Path, settings: Settings) -> process.Worker:
    folder.mkdir()
    prepared = checked(process.prepare(engine, model, folder, settings.cache))["prepared"]
    return process.Worker(engine, prepared, settings.threads, folder, settings.cpus, settings.isa)


def first_answer(worker: Asks, row: Row, folder: Path, given: Path, names: list[str], outputs: list[str],
                 ) -> list[np.ndarray]:
    """Load, run once, and return the outputs; times go into the row."""
    loaded = checked(worker.ask("load"))
    row.version, row.load_ms, row.import_ms = loaded["version"], loaded["ms"], loaded["import_ms"]
    row.first_ms = checked(worker.ask("first", inputs=str(given), names=names))["ms"]
    return read(worker, folder, outputs)


def read(worker: Asks, folder: Path, outputs: list[str]) -> list[np.ndarray]:
    """What the last run gave, in the model's order."""
    written = folder / "outputs.npz"
    reply = checked(worker.ask("outputs", to=str(written)))
    try:
        return inputs.read_outputs(written, reply["names"], outputs)
    except ValueError as error:     # no numbers: numpy would have to unpickle objects
        raise EngineFailed(f"its outputs are no arrays of numbers ({error})") from None


def label(model: Path) -> str:
    """What a row calls the model: its file's name, or its folder's where the file is just called model.onnx."""
    stem = model.stem.removesuffix(".qdq").removesuffix("_qdq")
    return model.resolve().parent.name if stem == "model" else stem


def without_folders(text: str, *folders: str | Path) -> str:
    """What an engine says about a model, fit to be published."""
    for folder in folders:
        text = text.replace(f"{folder}/", "")
    return text


class Session:
    """The engines' processes for one model, and what is known about them so far."""

    def __init__(self, model: Path, engines: Sequence[str], settings: Settings, folder: Path):
        self.model, self.settings, self.folder = model, settings, folder
        self.names, arrays, self.outputs = inputs.make_inputs(model)
        self.quantized = inputs.is_quantized(model)
        self.spread: float | None = None
        self.rows = {name: Row(label(model), name) for name in engines}
        self.workers: dict[str, process.Worker] = {}
        self.results: dict[str, list[np.ndarray]] = {}
        self.given, self.nudged = folder / "inputs.npz", folder / "nudged.npz"
        for path, values in ((self.given, arrays), (self.nudged, inputs.nudge(arrays))):
            np.savez(path, **{f"in{i}": a for i, a in enumerate(values)})

    def fail(self, name: str, reason: object) -> None:
        if name in self.rows:
            self.rows[name].problem = without_folders(str(reason), self.model.parent, self.folder)

    def start_all(self) -> None:
        """Convert, load and run each engine once; onnxruntime too, which says what is right."""
        for name in dict.fromkeys([*self.rows, REFERENCE]):
            row = self.rows.get(name, Row("", name))
            folder = self.folder / name
            try:
                self.workers[name] = start(name, self.model, folder, self.settings)
                self.results[name] = first_answer(self.workers[name], row, folder, self.given, self.names, self.outputs)
            except EngineFailed as error:
                self.fail(name, error)
        if self.quantized and REFERENCE in self.results:
            try:
                self.spread = self.measure_spread(self.workers[REFERENCE])
            except EngineFailed as error:
                self.fail(REFERENCE, error)
                del self.results[REFERENCE]
        judge(self.rows, self.results, self.spread)
        if REFERENCE in self.workers and REFERENCE not in self.rows:
            self.workers.pop(REFERENCE).close()

    def measure_spread(self, reference: Asks) -> float:
        """How far the reference's answer moves with its inputs; it then has the inputs that were given again."""
        checked(reference.ask("first", inputs=str(self.nudged), names=self.names))
        moved = read(reference, self.folder / REFERENCE, self.outputs)
        checked(reference.ask("first", inputs=str(self.given), names=self.names))
        return inputs.worst_error(moved, self.results[REFERENCE], inputs.noise_of)

    def time_all(self) -> None:
        running = {name: self.workers[name] for name in self.rows if name in self.results}
        bursts, failed = interleave(running, self.settings)
        # Outputs once more after the last burst: a peer was met whose answers change from run to run.
        for name in list(bursts):
            try:
                self.results[name] = read(self.workers[name], self.folder / name, self.outputs)
                self.rows[name].peak_rss_bytes = checked(self.workers[name].ask("memory"))["peak_rss_bytes"]
            except EngineFailed as error:
                failed[name] = str(error)
                del bursts[name]
        judge(self.rows, self.results, self.spread)
        fill_rows(self.rows, bursts)
        for name, reason in failed.items():
            self.fail(name, reason)

    def close(self) -> None:
        for worker in self.workers.values():
            worker.close()


def bench_model(model: Path, engines: Sequence[str], settings: Settings) -> list[Row]:
    """One row per engine, in the order given.  Raises `inputs.Unusable`."""
    with tempfile.TemporaryDirectory(prefix="tinynet-bench-") as temporary:
        session = Session(model, engines, settings, Path(temporary))
        try:
            session.start_all()
            session.time_all()
        finally:
            session.close()
    return list(session.rows.values())


def judge(rows: dict[str, Row], results: dict[str, list[np.ndarray]], spread: float | None = None) -> None:
    """Compare each engine's outputs with onnxruntime's; the worst error of all calls counts.

    `results`: the engines that answered.  `spread`: that of an 8-bit network.
    Without onnxruntime's answer, nothing counts as right.
    """
    if REFERENCE not in results:
        for name in rows.keys() & results.keys():
            rows[name].problem = f"{REFERENCE} did not run, so nothing says whether this is right"
        return
    measure = inputs.error_of if spread is None else inputs.noise_of
    for name in rows.keys() & results.keys():
        row = rows[name]
        row.spread = spread
        row.error = max(row.error or 0.0, inputs.worst_error(results[name], results[REFERENCE], measure))
        row.correct = row.error <= stats.error_limit(name == OURS, spread)


def progress(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
