"""Graph -> Plan: every decision that can be made before the first run.

    check     each node's shapes and dtypes against its kind's rule; sizes and MACs are computed here, never believed
    storage   which tensors share memory (storage.py)
    lower     each kind emits its native steps, or none: then its numpy reference runs as a `python` step
    memory    lifetimes -> offsets in one arena (memory.py)
    compile   steps -> the Program that one call runs without the GIL

A plan is read-only and shared by concurrent runs.  `print(plan)` shows it as a table.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from tinynet import joins, kernels, layouts, memory, ops
from tinynet.errors import FormatError, LimitError, UnsupportedError, UnsupportedOpError
from tinynet.flatbuffer import show
from tinynet.graph import DTYPES, Graph, Node
from tinynet.kernels import engine
from tinynet.record import Record
from tinynet.storage import Storage, row_length

# More scratch memory than any machine has; offsets into less never overflow 64 bits.
MOST_SCRATCH = 2 ** 46

# Memory spaces of a program.  Graph inputs, then graph outputs, follow from IO on.
ARENA, WEIGHTS, CONSTANTS, SCRATCH, IO = range(5)
# What is left of the program's table of spaces (MAX_SPACES in kernels/program.pxi).
MOST_TENSORS = 4096 - IO

# A step is split over threads if one thread would need longer than this; a barrier costs about 0.2 us, and a thread that
# has to be woken a good deal more.
SPLIT_NANOSECONDS = 4000
# A run calls its threads at all only if there is this many times as much to split: sleeping ones take tens of
# microseconds to come.
WAKE_SPLITS = 25
# Rough speeds for that decision only: what one core does per nanosecond.
MACS_PER_NANOSECOND = 20.0
BYTES_PER_NANOSECOND = 8.0


class Operand(NamedTuple):
    space: int
    offset: int              # bytes; for a tensor in the arena: relative to its owner
    root: str = ""           # owner, for space ARENA before the offsets are known


class View(Record):
    """A tensor as a kernel sees it: rows of the last axis, `ld` elements apart."""

    __slots__ = ("name", "shape", "dtype", "ld")

    def __init__(self, name: str, shape: tuple[int, ...], dtype: str, ld: int):
        self.name = name
        self.shape = shape
        self.dtype = dtype
        self.ld = ld

    @property
    def row(self) -> int:
        return row_length(self.shape)

    @property
    def rows(self) -> int:
        return math.prod(self.shape[:-1])

    @property
    def size(self) -> int:
        return math.prod(self.shape)

    @property
    def contiguous(self) -> bool:
        return self.rows <= 1 or self.ld == self.row

    @property
    def strides(self) -> tuple[int, ...]:
        """Elements per step along each axis."""
        if not self.shape:
            return ()
        out = [1]
        step = self.ld
        for d in reversed(self.shape[:-1]):
            out.append(step)
            step *= d
        return tuple(reversed(out))


class Blob(Record):
    """A constant made by the plan; `fill` writes its bytes into an array."""

    __slots__ = ("nbytes", "fill")

    def __init__(self, nbytes: int, fill: Callable[[np.ndarray], None]):
        self.nbytes = nbytes
        self.fill = fill


class Step(Record):
    """One row of the plan.  `kernel` is the native kernel's name, or `python` for the numpy reference of `op`."""

    __slots__ = ("node", "kernel", "operands", "params", "parallel", "macs", "op")

    def __init__(self, node: Node, kernel: str, operands: list[Operand | None], params: dict[str, Any],
                 parallel: bool = False, macs: int = 0, op: Any = None):
        self.node = node
        self.kernel = kernel
        self.operands = operands
        self.params = params
        self.parallel = parallel
        self.macs = macs
        self.op = op


class Limits(Record):
    """What the caller allows one run; checked before anything of that size is made.

    `ram`: bytes besides weights and inputs.  `macs`: multiply-accumulates, and as many elements compared or moved by layers
    that have none.
    """

    __slots__ = ("ram", "macs")

    def __init__(self, ram: int | None = None, macs: int | None = None):
        self.ram = ram
        self.macs = macs

    def check_ram(self, graph: Graph, need: int, least: str = "") -> None:
        if self.ram is not None and need > self.ram:
            raise LimitError(f"{graph.meta.label}: one run needs {least}{need} bytes of memory, "
                             f"max_ram allows {self.ram}")

    def check_macs(self, graph: Graph, need: int, what: str = "MACs") -> None:
        if self.macs is not None and need > self.macs:
            raise LimitError(f"{graph.meta.label}: one run needs {need} {what}, max_macs allows {self.macs}")


class Builder:
    """What `Op.lower` talks to."""

    def __init__(self, graph: Graph, storage: Storage, weight_file: Any, threads: int, limits: Limits | None = None,
                 winograd: int | dict[str, int] = True):
        self.graph = graph
        self.limits = limits or Limits()
        self.storage = storage
        self.threads = threads
        self.winograd = winograd
        self.steps: list[Step] = []
        self.scratch_bytes = 0
        self.parallel_nanoseconds = 0.0
        self.blobs: list[Blob] = []
        self.constant_bytes = 0
        self._weight_file = engine.span(weight_file) if weight_file is not None else (0, 0)
        self._cache: dict[Any, Operand] = {}
        self._node: Node | None = None
        self._node_scratch = 0

    def begin(self, node: Node) -> None:
        self._node, self._node_scratch = node, 0

    @property
    def node_name(self) -> str:
        """Of the layer that is being lowered."""
        return self._node.name if self._node is not None else ""

    # ---- operands

    def view(self, name: str) -> View:
        t = self.graph.tensors[name]
        place = self.storage.places.get(name)
        return View(name, t.shape, t.dtype, place.ld if place else row_length(t.shape))

    def tensor(self, name: str) -> Operand:
        """A tensor that is computed, or a constant in logical order."""
        if self.graph.tensors[name].is_constant:
            return self.weights(name, layouts.PLAIN)
        place = self.storage.places[name]
        return Operand(ARENA, place.offset * DTYPES[self.graph.tensors[name].dtype], place.root)

    def weights(self, name: str, layout: str) -> Operand:
        """A constant in the order that the kernel reads: in place in the file, or packed now if it lies otherwise."""
        key = (name, layout)
        found = self._cache.get(key)
        if found is None:
            t = self.graph.tensors[name]
            found = self._in_file(t.data) if t.layout == layout else None
            found = self._cache[key] = found or self._append(self.packed(name, layout))
        return found

    def packed(self, name: str, layout: str) -> np.ndarray:
        """A constant's elements in that order; a view of the file if they lie so."""
        t = self.graph.tensors[name]
        if t.layout == layout:
            return t.data.reshape(-1) if isinstance(t.data, np.ndarray) else np.frombuffer(t.data, t.dtype)
        self.reserve(layouts.nbytes(t.shape, t.dtype, layout))
        return layouts.pack(layouts.unpack(t.data, t.shape, t.dtype, t.layout), layout)

    def _in_file(self, data: Any) -> Operand | None:
        start, size = self._weight_file
        if not size or (isinstance(data, np.ndarray) and not data.flags.c_contiguous):
            return None
        address, nbytes = engine.span(data)
        return Operand(WEIGHTS, address - start) if nbytes and 0 <= address - start <= size - nbytes else None

    def reserve(self, nbytes: int) -> None:
        """To be called before a large table is made.  LimitError if the caller does not allow so much."""
        self.limits.check_ram(self.graph, self.constant_bytes + nbytes, "at least ")

    def _append(self, array: np.ndarray) -> Operand:
        flat = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
        return self._place(flat.nbytes, lambda target: np.copyto(target, flat))

    def _place(self, nbytes: int, fill: Callable[[np.ndarray], None]) -> Operand:
        operand = Operand(CONSTANTS, self.constant_bytes)
        self.blobs.append(Blob(nbytes, fill))
        self.constant_bytes += memory.align(nbytes)
        return operand

    def built(self, key: Any, nbytes: int, fill: Callable[[np.ndarray], None]) -> Operand:
        """Weights in a form that the file does not have, written by `fill` once the whole plan is known; once per key."""
        if key not in self._cache:
            self._cache[key] = self._place(nbytes, fill)
        return self._cache[key]

    def constant(self, array: np.ndarray) -> Operand:
        """A table made by the plan, e.g. the runs of a convolution; equal ones are stored once."""
        key = (array.dtype.str, array.tobytes())
        if key not in self._cache:
            self._cache[key] = self._append(array)
        return self._cache[key]

    def scratch(self, nbytes: int) -> Operand:
        """Memory that lives until the node's last step."""
        if nbytes > MOST_SCRATCH:
            raise LimitError(f"{self.graph.meta.label}: node {self._node.name!r} needs {nbytes} bytes of scratch "
                             "memory, which no machine has")
        operand = Operand(SCRATCH, self._node_scratch)
        self._node_scratch += memory.align(nbytes)
        self.scratch_bytes = max(self.scratch_bytes, self._node_scratch)
        return operand

    def in_place(self, inner: View, outer: View, offset: int) -> bool:
        """Does `inner` already lie in `outer`'s memory, `offset` elements from its start?"""
        places = self.storage.places
        if inner.name not in places or outer.name not in places:
            return False
        a, b = places[inner.name], places[outer.name]
        return a.root == b.root and a.offset == b.offset + offset and all(
            s == t for d, s, t in zip(inner.shape, inner.strides, outer.strides, strict=True) if d > 1)

    # ---- steps

    def emit(self, kernel: str, operands: list[Operand | None], macs: int = 0, nbytes: int = 0, **params: Any) -> None:
        """Append a step.  `macs` and `nbytes` (read and written) say whether it is worth more than one thread."""
        nanoseconds = macs / MACS_PER_NANOSECOND + nbytes / BYTES_PER_NANOSECOND
        assert self._node is not None
        parallel = nanoseconds > SPLIT_NANOSECONDS
        self.parallel_nanoseconds += nanoseconds if parallel else 0
        self.steps.append(Step(self._node, kernel, operands, params, parallel, macs))

    @staticmethod
    def collapse(shape: tuple[int, ...], strides: tuple[tuple[int, ...], ...]) -> list[tuple[int, tuple[int, ...]]]:
        """[(extent, stride per tensor)] without axes of extent 1, and with axes merged that all tensors walk as one."""
        dims: list[tuple[int, tuple[int, ...]]] = []
        for extent, steps in zip(shape, zip(*strides, strict=True), strict=True):
            if extent == 1:
                continue
            if dims and all(outer == inner * extent for outer, inner in zip(dims[-1][1], steps, strict=True)):
                dims[-1] = (dims[-1][0] * extent, steps)
            else:
                dims.append((extent, steps))
        return dims

    def copy(self, x: View, y: View, shape: tuple[int, ...], x_strides: tuple[int, ...], y_strides: tuple[int, ...],
             x_offset: int = 0, y_offset: int = 0, source: Operand | None = None) -> bool:
        """y[y_offset + i . y_strides] = x[x_offset + i . x_strides] for every index i of `shape`; elements.  False, and
        nothing emitted, if that takes more loops than the kernel has.  `source`: where x lies, if not in a tensor."""
        item = DTYPES[x.dtype]
        if not math.prod(shape):
            return True
        dims = self.collapse(shape, (x_strides, y_strides))
        # Fastest in y last; then, if x is not fastest there too, what is fastest in x just before it.
        dims.sort(key=lambda d: -abs(d[1][1]))
        wide = self._widen(dims, item)
        kind = {(1, 1): 0, (0, 1): 3}.get(dims[-1][1], 2) if dims else 2
        if kind == 2 and dims and dims[-1][1][1] == 1:
            fast = [i for i, d in enumerate(dims[:-1]) if d[1][0] == 1]
            if fast:
                moved = dims.pop(fast[0])
                dims.insert(len(dims) - 1, moved)
                kind = 1
        while len(dims) < 6:
            dims.insert(0, (1, (0, 0)))
        if len(dims) > 6:
            return False
        params = {"item": wide, "kind": kind}
        for i, (extent, (sx, sy)) in enumerate(dims):
            params |= {f"shape{i}": extent, f"x{i}": sx, f"y{i}": sy}
        source, target = source or self.tensor(x.name), self.tensor(y.name)
        self.emit("copy", [source._replace(offset=source.offset + x_offset * item),
                           target._replace(offset=target.offset + y_offset * item)],
                  nbytes=2 * item * math.prod(shape) * (1 if kind == 0 else 4), **params)
        return True

    @staticmethod
    def _widen(dims: list[tuple[int, tuple[int, ...]]], item: int) -> int:
        """Short runs of elements that stay together become one element of up to 16 bytes, whose size is returned."""
        if len(dims) < 2 or dims[-1][1] != (1, 1):
            return item
        run = dims[-1][0]
        if run * item not in (2, 4, 8, 16) or any(s % run for _, strides in dims[:-1] for s in strides):
            return item
        dims[:] = [(extent, tuple(s // run for s in strides)) for extent, strides in dims[:-1]]
        return run * item


class Segment(Record):
    """Native steps first .. last of the program, or one python step."""

    __slots__ = ("first", "last", "python")

    def __init__(self, first: int = 0, last: int = 0, python: Step | None = None):
        self.first = first
        self.last = last
        self.python = python


class Plan:
    def __init__(self, graph: Graph, steps: list[Step], program: Any, memory: memory.MemoryMap, constants: Any,
                 storage: Storage, bases: dict[str, tuple[int, int]], macs: int, isa: str):
        self.graph = graph
        self.steps = steps
        self.segments: list[Segment] = []
        self.program = program
        self.memory = memory
        self.constants = constants
        self.storage = storage
        self.bases = bases                  # owner of memory -> (space, byte offset)
        self.macs = macs
        self.isa = isa

    @property
    def parallel(self) -> bool:
        """Is any step split over threads?"""
        return any(step.parallel for step in self.steps)

    @property
    def python_steps(self) -> list[str]:
        return [s.node.name for s in self.steps if s.kernel == "python"]

    def place(self, name: str) -> tuple[int, int, int]:
        """(space, byte offset, ld) of a computed tensor."""
        place = self.storage.places[name]
        space, base = self.bases[place.root]
        return space, base + place.offset * DTYPES[self.graph.tensors[name].dtype], place.ld

    def __str__(self) -> str:
        lines = [f"{'step':>4}  {'kernel':<22} {'split':<5} {'MMAC':>9}  {'output':<20} {'at':>10}  layer"]
        for i, s in enumerate(self.steps):
            out = s.node.outputs[0]
            where = "output"
            if out in self.storage.places:
                space, offset, _ = self.place(out)
                where = str(offset) if space == ARENA else "input" if space - IO < len(self.graph.inputs) else "output"
            shape = "x".join(map(str, self.graph.tensors[out].shape))
            lines.append(f"{i:>4}  {s.kernel:<22} {'yes' if s.parallel else 'no':<5} {s.macs / 1e6:>9.3f}  "
                         f"{shape:<20} {where:>10}  {s.node.name}")
        return "\n".join(lines)


def check_graph(graph: Graph) -> tuple[list[ops.Op], list[int], int]:
    """The op of every node, its MACs, and the elements that nodes without MACs compare or move; FormatError or
    UnsupportedOpError naming the node otherwise."""
    operators, macs, moved = [], [], 0
    spec_of = {name: ops.Spec(t.shape, t.dtype) for name, t in graph.tensors.items()}
    for node in graph.nodes:
        try:
            op = ops.make(node.op, node.attrs)
            specs = [spec_of[n] for n in node.inputs]
            found = op.infer(*specs)
            declared = [spec_of[n] for n in node.outputs]
            if found != declared:
                raise ops.ShapeError(f"expected output {found[0].dtype} {list(found[0].shape)}, found "
                                     f"{[f'{s.dtype} {list(s.shape)}' for s in declared]}")
            for i in op.constant_inputs:
                if i < len(node.inputs) and not graph.tensors[node.inputs[i]].is_constant:
                    raise ops.ShapeError(f"expected input {i} to be a constant, found the computed {node.inputs[i]!r}")
        except UnsupportedOpError as error:
            raise UnsupportedOpError(f"{_where(graph, node)}: {error}", error.operators) from None
        except (FormatError, ops.ShapeError) as error:
            text = str(error)
            # An attribute of the file may hold a million numbers.
            text = text if len(text) <= 500 else f"{text[:240]} ... {text[-240:]}"
            raise FormatError(f"{_where(graph, node)}: {text}; convert the model again") from None
        operators.append(op)
        macs.append(op.macs(specs, found))
        moved += 0 if macs[-1] else op.moved(specs, found)
    return operators, macs, moved


def _where(graph: Graph, node: Node) -> str:
    return f"{graph.meta.label}: node {show(node.name)} ({node.op if node.op.isidentifier() else show(node.op)})"


def make_plan(graph: Graph, weight_file: Any = None, threads: int = 1, limits: Limits | None = None,
              winograd: int | dict[str, int] = True) -> Plan:
    """Plan a graph.  `weight_file`: the buffer that its constants are views of, or None if they are arrays of their own.
    `winograd`: let each 3x3 convolution choose, False: never, 2 or 4: tiles of that size wherever they can be used;
    never, if `limits` does not allow the memory for it; a dictionary: as it says for each layer's name.

    Raises FormatError (a node contradicts its kind's rule), UnsupportedOpError (unknown kind) and LimitError.
    """
    limits = limits or Limits()
    if len(graph.inputs) + len(graph.outputs) > MOST_TENSORS:
        raise UnsupportedError(f"{graph.meta.label}: expected at most {MOST_TENSORS} inputs and outputs together, "
                               f"found {len(graph.inputs) + len(graph.outputs)}")
    operators, macs, moved = check_graph(graph)
    limits.check_macs(graph, sum(macs))
    limits.check_macs(graph, moved, "elements moved or compared")
    try:
        try:
            return _lower(graph, operators, macs, weight_file, threads, limits, winograd)
        except LimitError:
            if not winograd or limits.ram is None:
                raise
            return _lower(graph, operators, macs, weight_file, threads, limits, False)
    except MemoryError as error:
        if isinstance(error, LimitError):
            raise
        raise LimitError(f"{graph.meta.label}: its plan does not fit into memory") from None


def _lower(graph: Graph, operators: list[ops.Op], macs: list[int], weight_file: Any, threads: int, limits: Limits,
           winograd: int | dict[str, int]) -> Plan:
    graph, operators, macs = joins.join(graph, operators, macs)
    storage = Storage(graph, operators)
    arena, bases = _arena(graph, storage)
    limits.check_ram(graph, arena.arena_bytes + arena.output_bytes, "at least ")
    builder = Builder(graph, storage, weight_file, threads, limits, winograd)
    for node, op, node_macs in zip(graph.nodes, operators, macs, strict=True):
        builder.begin(node)
        before = len(builder.steps)
        if all(math.prod(graph.tensors[n].shape) == 0 for n in node.outputs):
            continue
        if not op.lower(builder, node):
            del builder.steps[before:]
            builder.steps.append(Step(node, "python", [], {}, macs=node_macs, op=op))
        elif len(builder.steps) > before:
            made = builder.steps[before:]
            largest = max(made, key=lambda s: s.macs)
            for step in made:
                step.macs = node_macs if step is largest else 0
    _copy_unclaimed_outputs(graph, builder, storage)
    if builder.parallel_nanoseconds < WAKE_SPLITS * SPLIT_NANOSECONDS:
        for step in builder.steps:
            step.parallel = False
    arena.scratch_bytes, arena.constant_bytes = builder.scratch_bytes, builder.constant_bytes
    limits.check_ram(graph, arena.run_bytes)
    return _compile(graph, builder, storage, arena, bases, sum(macs))


def _arena(graph: Graph, storage: Storage) -> tuple[memory.MemoryMap, dict[str, tuple[int, int]]]:
    """The memory map of the activations, and (space, byte offset) of every owner of memory."""
    bases = {root: (IO + i, 0) for i, root in enumerate(graph.inputs)}
    bases |= {root: (IO + len(graph.inputs) + i, 0) for root, i in storage.output_roots.items()}
    roots = [root for root in storage.first if root not in bases]
    arena = memory.plan([memory.Block(r, storage.nbytes(r), storage.first[r], storage.last[r]) for r in roots])
    arena.weight_bytes = sum(memoryview(t.data).nbytes for t in graph.tensors.values() if t.data is not None)
    arena.output_bytes = sum(graph.tensors[n].size * DTYPES[graph.tensors[n].dtype] for n in graph.outputs)
    bases |= {root: (ARENA, offset) for root, offset in zip(roots, arena.offsets, strict=True)}
    return arena, bases


def _copy_unclaimed_outputs(graph: Graph, builder: Builder, storage: Storage) -> None:
    """An output that is a view, an input, or shares its owner with another output is copied at the end."""
    claimed = set(storage.output_roots.values())
    for i, name in enumerate(graph.outputs):
        if i in claimed:
            continue
        builder.begin(Node("copy", f"output {name}", [name], [name]))
        x = builder.view(name)
        y = View(name, x.shape, x.dtype, row_length(x.shape))
        builder.copy(x, y, x.shape, x.strides, y.strides)
        if builder.steps and builder.steps[-1].node.name == f"output {name}":
            step = builder.steps[-1]
            step.operands[1] = Operand(IO + len(graph.inputs) + i, 0)


def _compile(graph: Graph, builder: Builder, storage: Storage, arena: memory.MemoryMap,
             bases: dict[str, tuple[int, int]], macs: int) -> Plan:
    constants = engine.Arena(builder.constant_bytes)
    whole = np.frombuffer(constants, np.uint8)
    at = 0
    for blob in builder.blobs:
        blob.fill(whole[at:at + blob.nbytes])
        at += memory.align(blob.nbytes)
    level = kernels.isa()
    program = engine.Program(level)
    plan = Plan(graph, builder.steps, program, arena, constants, storage, bases, macs, level)
    for step in builder.steps:
        if step.kernel == "python":
            plan.segments.append(Segment(python=step))
            continue
        places = [o and _resolve(bases, o) for o in step.operands]
        number = program.add(step.kernel, places, step.params, step.parallel)
        if plan.segments and plan.segments[-1].python is None:
            plan.segments[-1].last = number + 1
        else:
            plan.segments.append(Segment(number, number + 1))
    return plan


def _resolve(bases: dict[str, tuple[int, int]], operand: Operand) -> tuple[int, int]:
    if not operand.root:
        return operand.space, operand.offset
    space, base = bases[operand.root]
    return space, base + operand.offset
