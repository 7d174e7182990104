"""What a layer's `lower` talks to: it places the operands of kernels and collects the steps of a plan."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from tinynet import layouts, memory
from tinynet.errors import LimitError
from tinynet.graph import DTYPES, Graph, Node, Tensor
from tinynet.kernels import engine
from tinynet.record import Record
from tinynet.storage import Storage, row_length

# More scratch memory than any machine has; offsets into less never overflow 64 bits.
MOST_SCRATCH = 2 ** 46

# Memory spaces of a program.  Graph inputs, then graph outputs, follow from IO on.
ARENA, WEIGHTS, CONSTANTS, SCRATCH, IO = range(5)

# Rough speeds, only to decide whether a step is worth splitting over threads: what one core does per nanosecond.
MACS_PER_NANOSECOND = 20.0
BYTES_PER_NANOSECOND = 8.0


class Operand(Record):
    __slots__ = ("space", "offset", "root")

    def __init__(self, space: int, offset: int, root: str = ""):
        self.space = space
        self.offset = offset        # bytes; for a tensor in the arena: relative to its owner
        self.root = root            # owner, for space ARENA before the offsets are known


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

    __slots__ = ("node", "kernel", "operands", "params", "nanoseconds", "parallel", "macs", "op", "parts")

    def __init__(self, node: Node, kernel: str, operands: list[Operand | None], params: dict[str, Any],
                 nanoseconds: float = 0.0, macs: int = 0, op: Any = None, parts: list[Step] | None = None):
        self.node = node
        self.kernel = kernel
        self.operands = operands
        self.params = params
        self.nanoseconds = nanoseconds      # a rough guess for one core; 0 for numpy steps
        self.parallel = False               # decided once the whole plan is known
        self.macs = macs
        self.op = op
        self.parts = parts or []            # steps that this one's kernel runs, with parameter `parts_at`


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
        # Tensors between layers that run as one step (bands.py): they have no place of their own.
        self.between: dict[str, Tensor] = {}
        self.scratch_bytes = 0
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
        t = self.between.get(name) or self.graph.tensors[name]
        place = self.storage.places.get(name)
        return View(name, t.shape, t.dtype, place.ld if place else row_length(t.shape))

    def tensor(self, name: str) -> Operand:
        """A tensor that is computed, or a constant in logical order."""
        place = self.storage.places.get(name)
        if place is not None:
            return Operand(ARENA, place.offset * DTYPES[self.graph.tensors[name].dtype], place.root)
        return Operand(ARENA, 0, name) if name in self.between else self.weights(name, layouts.PLAIN)

    def weights(self, name: str, layout: str) -> Operand:
        """A constant in the order that the kernel reads: in place in the file, or packed now if it lies otherwise."""
        key = (name, layout)
        found = self._cache.get(key)
        if found is None:
            t = self.graph.tensors[name]
            if t.layout == layout:
                found = self._in_file(t.data)
            elif t.layout.partition("/")[2] == layout:      # stored in fewer bytes
                nbytes = layouts.nbytes(t.shape, t.dtype, layout)
                self.reserve(nbytes)
                found = self._place(nbytes, lambda target: self._expand(t, target))
            found = self._cache[key] = found or self._append(self.packed(name, layout))
        return found

    def _expand(self, t: Tensor, target: np.ndarray) -> None:
        """Write float32 weights that the file stores in fewer bytes."""
        storage, order = layouts.stored(t.layout)
        if storage == "int8" and order == layouts.PLAIN:
            np.copyto(target.view(np.float32), layouts.expand(t.data, t.shape, t.layout))
            return
        panels = layouts.channels(t.shape, order) // layouts.PANEL if storage == "int8" else 0
        columns = target.nbytes // (4 * layouts.PANEL * panels or 4)
        engine.expand_weights(t.data, target, panels, columns, self.threads)

    def packed(self, name: str, layout: str) -> np.ndarray:
        """A constant's elements in that order; a view of the file if they lie so."""
        t = self.graph.tensors[name]
        if t.layout == layout:
            return t.data.reshape(-1) if isinstance(t.data, np.ndarray) else np.frombuffer(t.data, t.dtype)
        self.reserve(layouts.nbytes(t.shape, t.dtype, layout))
        storage, order = layouts.stored(t.layout)
        if storage and order == layout:
            flat = np.empty(layouts.nbytes(t.shape, t.dtype, layout), np.uint8)
            self._expand(t, flat)
            return flat.view(np.float32)
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

    def constant(self, values: np.ndarray | tuple[int, ...]) -> Operand:
        """A table made by the plan, e.g. the runs of a convolution (a tuple: int64); equal ones are stored once."""
        key = values if isinstance(values, tuple) else (values.dtype.str, values.tobytes())
        if key not in self._cache:
            self._cache[key] = self._append(np.array(values, np.int64) if key is values else values)
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
        self.step(kernel, operands, params, macs, nbytes)

    def step(self, kernel: str, operands: list[Operand | None], params: dict[str, Any], macs: int = 0, nbytes: int = 0) -> None:
        """`emit` for the kinds that networks have dozens of: passing twenty parameters by name takes longer than lowering."""
        assert self._node is not None
        nanoseconds = macs / MACS_PER_NANOSECOND + nbytes / BYTES_PER_NANOSECOND
        self.steps.append(Step(self._node, kernel, operands, params, nanoseconds, macs))

    def parts(self, layers: tuple[tuple[Any, Node], ...], between: dict[str, Tensor]) -> tuple[list[Step], int]:
        """The steps of layers that run as parts of a single one, with the scratch, at its start, that one thread needs for any
        of them.  `between`: tensors from one to the next, by name.  No steps if a layer takes more than one, or none."""
        first, start, most = len(self.steps), self._node_scratch, 0
        before = self.threads, self._node
        self.threads, self.between = 1, between
        for op, node in layers:
            self._node = node
            lowered = op.lower(self, node)
            most, self._node_scratch = max(most, self._node_scratch - start), start
            if not lowered:
                break
        self.threads, self._node = before
        self.between = {}
        steps = self.steps[first:]
        del self.steps[first:]
        return steps if [step.node for step in steps] == [node for _, node in layers] else [], most

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
        self.emit("copy", [source.replaced(offset=source.offset + x_offset * item),
                           target.replaced(offset=target.offset + y_offset * item)],
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
