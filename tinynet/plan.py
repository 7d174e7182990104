"""Graph -> Plan: every decision that can be made before the first run.

    check     each node's shapes and dtypes against its kind's rule; sizes and MACs are computed here, never believed
    storage   which tensors share memory (storage.py)
    lower     each kind emits its native steps (builder.py), or none: then its numpy reference runs as a `python` step
    memory    lifetimes -> offsets in one arena (memory.py)
    compile   steps -> the Program that one call runs without the GIL

A plan is read-only and shared by concurrent runs.  `print(plan)` shows it as a table.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tinynet import joins, kernels, memory, ops
from tinynet.builder import ARENA, IO, Builder, Limits, Operand, Step, View
from tinynet.errors import FormatError, LimitError, UnsupportedError, UnsupportedOpError
from tinynet.flatbuffer import show
from tinynet.graph import DTYPES, Graph, Node
from tinynet.kernels import engine
from tinynet.record import Record
from tinynet.storage import Storage, row_length

# What is left of the program's table of spaces (MAX_SPACES in kernels/program.pxi).
MOST_TENSORS = 4096 - IO

# A step is split over threads if one thread would need longer than this.
SPLIT_NANOSECONDS = 4000
# What calling the threads for a step costs, of that (0.4 us), and how much shorter n threads make it, if they are two
# that share a core.
REGION = 0.1
SAVED = 1 / 3
# Threads are called at all only where there is this many times as much to split, and a run becomes so much shorter: on less,
# a neighbour on the second core costs more than the core brings.
LEAST_SPLITS = 50
LEAST_GAIN = 0.15
# A step waits for threads that have not come yet for this part of its own time, and then runs without them.
PATIENCE = 0.25


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
    # Layers that are alike share their attributes' values in the file, in memory, and here their op, which never changes.
    made: dict[tuple[Any, ...], ops.Op] = {}
    for node in graph.nodes:
        try:
            key = (node.op, *node.attrs, *map(id, node.attrs.values()))
            op = made.get(key) or made.setdefault(key, ops.make(node.op, node.attrs))
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
        if all([0 in graph.tensors[n].shape for n in node.outputs]):
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
    _split(builder.steps)
    arena.scratch_bytes, arena.constant_bytes = builder.scratch_bytes, builder.constant_bytes
    limits.check_ram(graph, arena.run_bytes)
    return _compile(graph, builder, storage, arena, bases, sum(macs))


def _split(steps: list[Step]) -> None:
    """Which steps run on all threads."""
    long = [step for step in steps if step.nanoseconds > SPLIT_NANOSECONDS]
    worth, whole = sum([step.nanoseconds for step in long]), sum([step.nanoseconds for step in steps])
    saved = SAVED * worth - REGION * SPLIT_NANOSECONDS * len(long)
    if worth >= LEAST_SPLITS * SPLIT_NANOSECONDS and saved >= LEAST_GAIN * whole:
        for step in long:
            step.parallel = True


def _arena(graph: Graph, storage: Storage) -> tuple[memory.MemoryMap, dict[str, tuple[int, int]]]:
    """The memory map of the activations, and (space, byte offset) of every owner of memory."""
    bases = {root: (IO + i, 0) for i, root in enumerate(graph.inputs)}
    bases |= {root: (IO + len(graph.inputs) + i, 0) for root, i in storage.output_roots.items()}
    roots = [root for root in storage.first if root not in bases]
    arena = memory.plan([memory.Block(r, storage.nbytes(r), storage.first[r], storage.last[r]) for r in roots])
    arena.weight_bytes = sum([memoryview(t.data).nbytes for t in graph.tensors.values() if t.data is not None])
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
    parts: list[Step] = []      # behind all steps that run by themselves
    native = sum(step.kernel != "python" for step in builder.steps)
    for step in builder.steps:
        if step.kernel == "python":
            plan.segments.append(Segment(python=step))
            continue
        if step.parts:
            step.params["parts_at"] = native + len(parts) - program.count
            parts += step.parts
        number = _add(program, step, bases)
        if plan.segments and plan.segments[-1].python is None:
            plan.segments[-1].last = number + 1
        else:
            plan.segments.append(Segment(number, number + 1))
    for part in parts:
        _add(program, part, bases)
    return plan


def _add(program: Any, step: Step, bases: dict[str, tuple[int, int]]) -> int:
    places = [o and _resolve(bases, o) for o in step.operands]
    patience = int(min(step.nanoseconds * PATIENCE, 1e12)) + 1 if step.parallel else 0
    number: int = program.add(step.kernel, places, step.params, patience)
    return number


def _resolve(bases: dict[str, tuple[int, int]], operand: Operand) -> tuple[int, int]:
    if not operand.root:
        return operand.space, operand.offset
    space, base = bases[operand.root]
    return space, base + operand.offset
