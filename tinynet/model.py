"""Model: a plan, and what runs it.

Weights and plan are read-only and shared; each concurrent run has an arena of its own, taken from a small stock.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tinynet import layouts, ops
from tinynet.builder import Limits, Step
from tinynet.errors import FormatError, InputError, LayerError, LimitError, UsageError
from tinynet.graph import DTYPES, Graph, Meta, Tensor
from tinynet.kernels import engine
from tinynet.memory import MemoryMap
from tinynet.plan import Plan, make_plan
from tinynet.record import Record

THREADS_VARIABLE = "TINYNET_NUM_THREADS"
# Contexts kept for the next run; more concurrent runs than this allocate and free theirs.
KEPT_CONTEXTS = 4


class TensorInfo(Record):
    __slots__ = ("name", "shape", "dtype")

    def __init__(self, name: str, shape: tuple[int, ...], dtype: str):
        self.name = name
        self.shape = shape
        self.dtype = dtype


class LayerTime(Record):
    """One row of `Model.profile()`: median milliseconds of one step."""

    __slots__ = ("layer", "op", "kernel", "shape", "ms", "macs")

    def __init__(self, layer: str, op: str, kernel: str, shape: tuple[int, ...], ms: float, macs: int):
        self.layer = layer
        self.op = op
        self.kernel = kernel
        self.shape = shape
        self.ms = ms
        self.macs = macs

    @property
    def gflops(self) -> float:
        """10^9 floating point operations per second, two per MAC; 0 for steps without MACs."""
        return 2e-6 * self.macs / self.ms if self.ms else 0.0


def check_threads(threads: int | None) -> int:
    """`threads`, or the default for None.  UsageError for what is no number from 1 to 64."""
    if threads is not None and (isinstance(threads, bool) or not isinstance(threads, int) or not 1 <= threads <= 64):
        raise UsageError(f"threads: expected a number from 1 to 64, found {threads!r}")
    return threads if threads is not None else default_threads()


def default_threads() -> int:
    """TINYNET_NUM_THREADS, else the CPUs this process may use (affinity and container quota)."""
    text = os.environ.get(THREADS_VARIABLE, "")
    if text:
        if len(text) > 2 or not text.isascii() or not text.isdigit() or not 1 <= int(text) <= 64:
            raise UsageError(f"{THREADS_VARIABLE}={text}: expected a number from 1 to 64")
        return int(text)
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(cpus, _quota(), 64))


def _quota() -> int:
    """Whole CPUs that the container's quota allows (cgroup v2, then v1)."""
    try:
        with open("/sys/fs/cgroup/cpu.max", "rb") as file:
            limit, period = file.read().split()[:2]
        return 64 if limit == b"max" else max(1, int(limit) // int(period))
    except (OSError, ValueError):
        pass
    try:
        with open("/sys/fs/cgroup/cpu/cpu.cfs_quota_us", "rb") as file:
            limit_us = int(file.read())
        with open("/sys/fs/cgroup/cpu/cpu.cfs_period_us", "rb") as file:
            return 64 if limit_us <= 0 else max(1, limit_us // int(file.read()))
    except (OSError, ValueError, ZeroDivisionError):
        return 64


class _Context:
    """The memory of one run."""

    def __init__(self, plan: Plan, weights: Any):
        arena_bytes = plan.memory.arena_bytes
        # One block, which leaves less of its last huge page empty than two would.
        memory = memoryview(engine.Arena(arena_bytes + plan.memory.scratch_bytes))
        self.arena, self.scratch = memory[:arena_bytes], memory[arena_bytes:]
        self.spaces = (self.arena, weights, plan.constants, self.scratch)     # in the order of tinynet.plan


class Model:
    """A network that is ready to run.  Made by `tinynet.load`.

    `inputs`, `outputs`: tuples of TensorInfo(name, shape, dtype), in the order and with the shapes that the source model
    declares.  `meta`: what the file says about itself.  `plan`, `memory`: printable tables of the decisions.
    """

    def __init__(self, graph: Graph, buffer: Any = None, threads: int | None = None,
                 max_ram: int | None = None, max_macs: int | None = None, winograd: int | dict[str, int] = True,
                 tune: bool = False):
        self.threads = check_threads(threads)
        if tune and winograd:
            from tinynet.tune import winograd_sizes

            # Planned once before: what the limits refuse is not timed.
            make_plan(graph, buffer, self.threads, Limits(max_ram, max_macs), False)
            winograd = winograd_sizes(graph, buffer, self.threads)
        self.graph = graph
        self.meta: Meta = graph.meta
        self.plan: Plan = make_plan(graph, buffer, self.threads, Limits(max_ram, max_macs), winograd)
        self._run_threads = self.threads if self.plan.parallel else 1
        self.inputs = tuple(self._info(name) for name in graph.inputs)
        hidden = {count for _, count in graph.counts.values()}
        self.outputs = tuple(self._info(name) for name in graph.outputs if name not in hidden)
        self._weights = buffer if buffer is not None else b""
        self._input_specs = tuple((i.name, i.shape, np.dtype(i.dtype)) for i in self.inputs)
        written = tuple(self._info(name) for name in graph.outputs)
        self._output_specs = tuple((i.name, i.shape, np.dtype(i.dtype)) for i in written)
        self._output_names = tuple(i.name for i in written)
        self._contexts: list[_Context] = []
        self._views: dict[str, tuple[int, tuple[int, ...], np.dtype, int, tuple[int, ...]]] = {}
        self._closed = False
        self._runner = self._make_runner()

    def _make_runner(self) -> Any:
        """What runs the plan without a detour through Python, if it consists of native steps alone."""
        segments = self.plan.segments
        if len(segments) != 1 or segments[0].python is not None or self.graph.counts:
            return None
        return engine.Runner(self.plan.program, segments[0].first, segments[0].last, self._run_threads, self._contexts,
                             self._input_specs, self._output_specs, np.empty, np.ndarray)

    def _info(self, name: str) -> TensorInfo:
        t = self.graph.tensors[name]
        return TensorInfo(name, t.shape, t.dtype)

    @property
    def memory(self) -> MemoryMap:
        return self.plan.memory

    # ---- running

    def run(self, inputs: Any, out: Any = None) -> dict[str, np.ndarray]:
        """Run once.  `inputs`: {name: array}, one array (models with one input), or a list in the order of `self.inputs`.

        Arrays must have the declared shape and dtype (InputError otherwise) and may lie in memory in any way.  Returns
        {name: array} in the declared order; the arrays belong to the caller.  `out`, given in the same forms, is filled
        and returned instead: C-contiguous, writeable arrays.  Safe to call from several threads at once.
        """
        if self._runner is not None:
            named: dict[str, np.ndarray] | None = self._runner.run(inputs, out)
            if named is not None:
                return named
        arrays = self._checked_inputs(inputs)
        if out is None:
            results = self._new_outputs()
            self._execute(arrays, results)
            named = dict(zip(self._output_names, results, strict=True))
            return self._cut(named) if self.graph.counts else named
        if self.graph.counts:
            raise UsageError(f"out: how large {next(iter(self.graph.counts))!r} is depends on the data; run without out")
        pairs = self._targets(out, arrays)
        self._execute(arrays, [target if direct is None else direct for target, direct in pairs])
        for target, direct in pairs:
            if direct is not None:
                target[...] = direct
        return {name: target for name, (target, _) in zip(self._output_names, pairs, strict=True)}

    def _cut(self, named: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """The outputs without the hidden counts, of each as much as its count says."""
        result = {info.name: named[info.name] for info in self.outputs}
        for name, (axis, count) in self.graph.counts.items():
            result[name] = np.ascontiguousarray(np.moveaxis(np.moveaxis(named[name], axis, 0)[:int(named[count])], 0, axis))
        return result

    def reshape(self, shapes: Mapping[str, Any]) -> None:
        """Choose other input sizes: for models that were converted without fixing them.  UsageError otherwise."""
        raise UsageError(f"{self.meta.label}: its sizes are fixed; convert the model again without --input")

    def _new_outputs(self) -> list[np.ndarray]:
        try:
            return [np.empty(shape, dtype) for _, shape, dtype in self._output_specs]
        except (MemoryError, ValueError):    # ValueError: more than a 32-bit processor can address
            raise LimitError(f"{self.meta.label}: cannot allocate {self.memory.output_bytes} bytes for the "
                             "outputs") from None

    def _checked_inputs(self, inputs: Any) -> list[np.ndarray]:
        arrays = self._match(inputs, self.inputs, "input")
        for i, (array, info) in enumerate(zip(arrays, self.inputs, strict=True)):
            self._check(array, info, "input")
            # Aligned: 32-bit ARM refuses to load a float from any other address.
            arrays[i] = np.require(array, info.dtype, "CAE").reshape(info.shape)
        return arrays

    def _match(self, given: Any, infos: tuple[TensorInfo, ...], what: str) -> list[Any]:
        """The given arrays in declared order."""
        if isinstance(given, Mapping):
            unknown = [n for n in given if n not in {i.name for i in infos}]
            missing = [i.name for i in infos if i.name not in given]
            if unknown or missing:
                names = "; the model has " + _listed(infos)
                problem = f"no {what} is called {unknown[0]!r}" if unknown else f"{what} {missing[0]!r} is missing"
                raise InputError(problem + names)
            return [given[i.name] for i in infos]
        if isinstance(given, (list, tuple)):
            if len(given) != len(infos):
                raise InputError(f"expected {len(infos)} {what}s ({_listed(infos)}), found a list of {len(given)}")
            return list(given)
        if len(infos) != 1:
            raise InputError(f"expected {len(infos)} {what}s ({_listed(infos)}), found one array: give a dict or a list")
        return [given]

    def _check(self, array: Any, info: TensorInfo, what: str) -> None:
        if not isinstance(array, np.ndarray):
            raise InputError(f"{what} {info.name!r}: expected a numpy array {info.dtype} {list(info.shape)}, "
                             f"found {type(array).__name__}")
        if array.shape != info.shape:
            raise InputError(f"{what} {info.name!r}: expected shape {list(info.shape)}, found {list(array.shape)}")
        if array.dtype != info.dtype:
            raise InputError(f"{what} {info.name!r}: expected dtype {info.dtype}, found {array.dtype}: "
                             f"convert it with .astype({info.dtype!r})")

    def _targets(self, out: Any, arrays: list[np.ndarray]) -> list[tuple[np.ndarray, np.ndarray | None]]:
        """(array to return, array to write if that is another one) per output."""
        targets = self._match(out, self.outputs, "output")
        results: list[tuple[np.ndarray, np.ndarray | None]] = []
        for n, (target, info) in enumerate(zip(targets, self.outputs, strict=True)):
            self._check(target, info, "output")
            if not target.flags.c_contiguous or not target.flags.writeable:
                raise InputError(f"output {info.name!r}: expected a C-contiguous, writeable array")
            others = arrays + targets[:n]
            shared = any(np.may_share_memory(target, other) for other in others)
            results.append((target, np.empty(info.shape, info.dtype) if shared or not target.flags.aligned else None))
        return results

    def _execute(self, inputs: list[np.ndarray], outputs: list[np.ndarray]) -> None:
        try:
            context = self._contexts.pop()
        except IndexError:
            context = self._new_context()
        spaces = [*context.spaces, *inputs, *outputs]
        for segment in self.plan.segments:
            if segment.python is None:
                self._native_steps(segment.first, segment.last, spaces)
            else:
                self._python_step(segment.python, spaces)
        if len(self._contexts) < KEPT_CONTEXTS and not self._closed:
            self._contexts.append(context)

    def _native_steps(self, first: int, last: int, spaces: Sequence[Any], times: Any = None) -> None:
        try:
            self.plan.program.run(first, last, spaces, self._run_threads, times)
        except engine.StepError as error:
            number, status = error.args
            node = [step for step in self.plan.steps if step.kernel != "python"][number].node
            if "." in node.op:
                raise LayerError(f"{self.meta.label}: node {node.name!r} ({node.op}): its kernel returned status "
                                 f"{status}") from None
            tensors = [self.graph.tensors[name] for name in node.inputs]
            failure = ops.make(node.op, node.attrs).failure(*(ops.Spec(t.shape, t.dtype) for t in tensors))
            raise InputError(f"{self.meta.label}: node {node.name!r} ({node.op}): {failure}") from None

    def _new_context(self) -> _Context:
        if self._closed:
            raise UsageError("this model is closed: load it again")
        try:
            return _Context(self.plan, self._weights)
        except (MemoryError, OverflowError) as error:
            raise LimitError(f"{self.meta.label}: {error}") from None

    def _array(self, name: str, spaces: Sequence[Any]) -> np.ndarray:
        """A tensor of the graph as an array: a view into the run's memory, or a constant in logical order."""
        try:
            space, shape, dtype, offset, strides = self._views[name]
        except KeyError:
            t = self.graph.tensors[name]
            if t.is_constant:
                return layouts.unpack(t.data, t.shape, t.dtype, t.layout)
            if not t.size:
                return np.empty(t.shape, t.dtype)
            space, shape, dtype, offset, strides = self._views[name] = self._view(t)
        return np.ndarray(shape, dtype, spaces[space], offset, strides)

    def _view(self, t: Tensor) -> tuple[int, tuple[int, ...], np.dtype, int, tuple[int, ...]]:
        """Memory space, shape, dtype, byte offset and strides: looked up once, because every numpy step of every run asks."""
        space, offset, ld = self.plan.place(t.name)
        item = DTYPES[t.dtype]
        strides = []
        step = ld * item
        for d in reversed(t.shape[:-1]):
            strides.append(step)
            step *= d
        return space, t.shape, np.dtype(t.dtype), offset, (*reversed(strides), item) if t.shape else ()

    def _python_step(self, step: Step, spaces: Sequence[Any]) -> None:
        arrays = [self._array(name, spaces) for name in step.node.inputs]
        try:
            results = step.op.reference(*arrays)
        except ops.DataError as error:
            raise InputError(f"{self.meta.label}: node {step.node.name!r} ({step.node.op}): {error}") from None
        except ValueError as error:
            raise FormatError(f"{self.meta.label}: node {step.node.name!r} ({step.node.op}): {error}") from None
        except LayerError as error:
            raise LayerError(f"{self.meta.label}: node {step.node.name!r}: {error}") from error.__cause__
        except MemoryError as error:
            raise LimitError(f"{self.meta.label}: node {step.node.name!r} ({step.node.op}): {error}") from None
        for name, result in zip(step.node.outputs, results, strict=True):
            self._array(name, spaces)[...] = result

    # ---- looking

    def profile(self, inputs: Any = None, repeat: int = 20) -> list[LayerTime]:
        """Median time of every step over `repeat` runs; random inputs (seed 0) if none are given."""
        arrays = self._checked_inputs(inputs if inputs is not None else random_inputs(self))
        outputs = [np.empty(i.shape, i.dtype) for i in self.outputs]
        context, plan = self._new_context(), self.plan
        spaces = [*context.spaces, *arrays, *outputs]
        times = np.zeros((repeat, len(plan.steps)), np.int64)
        for row in times:
            at = 0
            for segment in plan.segments:
                if segment.python is None:
                    count = segment.last - segment.first
                    self._native_steps(segment.first, segment.last, spaces, row[at:at + count])
                    at += count
                else:
                    started = time.perf_counter_ns()
                    self._python_step(segment.python, spaces)
                    row[at] = time.perf_counter_ns() - started
                    at += 1
        medians = np.median(times, axis=0) / 1e6
        return [LayerTime(s.node.name, s.node.op, s.kernel, self.graph.tensors[s.node.outputs[0]].shape, float(ms), s.macs)
                for s, ms in zip(plan.steps, medians, strict=True)]

    def run_all(self, inputs: Any) -> dict[str, np.ndarray]:
        """Every tensor that the graph computes, by name, from one run in which no two tensors share memory over time.

        For comparing layer by layer: slow, and it needs as much memory as all activations together.
        """
        if self._closed:
            raise UsageError("this model is closed: load it again")
        graph = self.graph.replaced(outputs=[n for node in self.graph.nodes for n in node.outputs])
        return Model(graph, self._weights, self.threads).run(inputs)

    def __call__(self, image: Any, top: int = 5) -> Any:
        """Run on a picture (path, PIL image, or uint8 array [H, W, 3] or [H, W]), prepared as the file says.

        Returns a `tinynet.tasks` result: a Classification, or RawOutputs for other networks.
        """
        from tinynet.tasks import run_picture

        return run_picture(self, image, top=top)

    def close(self) -> None:
        """Let go of the arenas, of weights built at load and of the file.  Running afterwards is a UsageError."""
        self._closed = True
        self._runner = None
        self._contexts = []         # another one: a run that is still going gives its context back to the old list
        self.plan.constants = None
        if len(self._weights):
            # Views into the file; a graph that was given without one belongs to the caller.
            for tensor in self.graph.tensors.values():
                if tensor.is_constant:
                    tensor.data = b""
        self._weights = b""

    def __enter__(self) -> Model:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def __repr__(self) -> str:
        def text(infos: tuple[TensorInfo, ...]) -> str:
            return ", ".join(f"{i.name} {list(i.shape)}" for i in infos)

        return f"<tinynet.Model {self.meta.name}: {text(self.inputs)} -> {text(self.outputs)}>"


def _listed(infos: tuple[TensorInfo, ...]) -> str:
    return ", ".join(f"{i.name!r} {i.dtype} {list(i.shape)}" for i in infos)


def random_inputs(model: Model, seed: int = 0) -> dict[str, np.ndarray]:
    """Normal floats, integers 0..255 (or 0, 1) otherwise, indices inside what they index: the same for a seed on every
    machine."""
    from tinynet.selftest import index_limits

    limits = index_limits(model.graph)
    rng = np.random.Generator(np.random.PCG64(seed))
    arrays = {}
    for info in model.inputs:
        if info.dtype.startswith("float"):
            arrays[info.name] = rng.standard_normal(info.shape, dtype=np.float32).astype(info.dtype)
        else:
            high = 2 if info.dtype == "bool" else 128 if info.dtype == "int8" else 256
            high = min(high, limits.get(info.name, high))
            arrays[info.name] = rng.integers(0, max(high, 1), info.shape).astype(info.dtype)
    return arrays
