"""Networks whose sizes are chosen at run time: one plan per set of input shapes, made when it is first needed."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

import numpy as np

from tinynet.errors import InputError, UsageError
from tinynet.graph import Graph
from tinynet.memory import MemoryMap
from tinynet.model import LayerTime, Model, TensorInfo, check_threads
from tinynet.plan import Plan

# Plans kept, with what they built from the weights; the one used longest ago goes first.
KEPT_PLANS = 4


class OpenModel(Model):
    """A Model that takes inputs of any size which its dimensions allow.

    `dims`: input name -> dimensions, a name where the size is free.  `inputs`, `outputs`, `plan`, `memory`, `graph` are
    those of the sizes last chosen by `reshape`, at first the file's default sizes.  `run` takes any sizes; the first run of
    each plans anew, which takes milliseconds.  UsageError where sizes are needed and the file has no default.
    """

    def __init__(self, graph: Graph, buffer: Any = None, threads: int | None = None,
                 max_ram: int | None = None, max_macs: int | None = None, winograd: int = True,
                 tune: bool = False):
        self.source, self.meta = graph, graph.meta
        self.threads = check_threads(threads)
        self.dims = {name: graph.dims.get(name, graph.tensors[name].shape) for name in graph.inputs}
        self._options = (buffer, self.threads, max_ram, max_macs, winograd, tune)
        self._parameters = list(graph.parameters)
        self._planned: OrderedDict[Any, Model] = OrderedDict()
        self._lock = threading.Lock()
        self._chosen: Model | None = None
        self._closed = False

    # ---- sizes

    def reshape(self, shapes: Mapping[str, Any]) -> None:
        """Choose the sizes that `inputs`, `plan` and the rest talk about.  `shapes`: input name -> shape; inputs that are
        not named keep theirs.  InputError if the network does not take them."""
        unknown = [name for name in shapes if name not in self.dims]
        if unknown:
            raise InputError(f"no input is called {unknown[0]!r}; the model has {', '.join(self.dims)}")
        now = {i.name: i.shape for i in self._chosen.inputs} if self._chosen else {}
        wanted = {name: tuple(int(d) for d in shapes.get(name, now.get(name, self.source.tensors[name].shape)))
                  for name in self.dims}
        if self._parameters:
            raise UsageError(f"{self.meta.label}: the values of {', '.join(self._parameters)} decide its sizes: run it")
        self._chosen = self._model(wanted, {})

    def _default(self) -> Model:
        if self._chosen is None:
            shapes = {name: self.source.tensors[name].shape for name in self.dims}
            if self._parameters or any(0 in shape and name in self.source.dims for name, shape in shapes.items()):
                what = f"the values of {', '.join(self._parameters)}" if self._parameters else "the shapes of its inputs"
                raise UsageError(f"{self.meta.label}: {what} decide its sizes: run it, or call reshape, first")
            self._chosen = self._model(shapes, {})
        return self._chosen

    def _model(self, shapes: dict[str, tuple[int, ...]], values: dict[str, np.ndarray]) -> Model:
        """The network for these sizes; `values`: every input array, of which parameters are read."""
        self._check_shapes(shapes)
        if self._closed:
            raise UsageError("this model is closed: load it again")
        with self._lock:
            key = self._key(shapes, values)
            model = self._planned.get(key)
            if model is None:
                model = Model(self._static(shapes, values), *self._options)
                self._planned[self._key(shapes, values)] = model
                while len(self._planned) > KEPT_PLANS:
                    self._planned.popitem(last=False)
            else:
                self._planned.move_to_end(key)
        return model

    def _static(self, shapes: dict[str, tuple[int, ...]], values: dict[str, np.ndarray]) -> Graph:
        if not self.source.source:
            from tinynet.sizes import resize

            return resize(self.source, shapes)
        from tinynet.converters.finish import finish

        graph, self._parameters = finish(self.source, shapes, values)
        return graph

    def _key(self, shapes: dict[str, tuple[int, ...]], values: dict[str, np.ndarray]) -> Any:
        return tuple(shapes.values()), tuple(values[name].tobytes() for name in self._parameters if name in values)

    def _check_shapes(self, shapes: dict[str, tuple[int, ...]]) -> None:
        sizes: dict[str, int] = {}
        for name, dims in self.dims.items():
            shape = shapes[name]
            fits = len(shape) == len(dims) and min(shape, default=0) >= 0 and all(
                size == d if isinstance(d, int) else d == "?" or sizes.setdefault(d, size) == size
                for d, size in zip(dims, shape, strict=True))
            if not fits:
                known = ", ".join(f"{d} = {size}" for d, size in sizes.items())
                raise InputError(f"input {name!r}: expected shape {_text(dims)}{f' with {known}' if known else ''}, "
                                 f"found {list(shape)}")

    # ---- what a Model has

    @property
    def graph(self) -> Graph:
        return self._default().graph

    @property
    def inputs(self) -> tuple[TensorInfo, ...]:
        """With the default or chosen sizes; 0 stands for a size that has no default."""
        if self._chosen and not self._parameters:
            return self._chosen.inputs
        return tuple(TensorInfo(n, self.source.tensors[n].shape, self.source.tensors[n].dtype) for n in self.source.inputs)

    @property
    def outputs(self) -> tuple[TensorInfo, ...]:
        return self._default().outputs

    @property
    def plan(self) -> Plan:
        return self._default().plan

    @property
    def memory(self) -> MemoryMap:
        return self._default().memory

    def run(self, inputs: Any, out: Any = None) -> dict[str, np.ndarray]:
        """As `Model.run`, with inputs of any shape that `dims` allows.  InputError for sizes that the network does not take."""
        infos = tuple(TensorInfo(n, (), self.source.tensors[n].dtype) for n in self.source.inputs)
        arrays = dict(zip(self.source.inputs, self._match(inputs, infos, "input"), strict=True))
        for info in infos:
            array = arrays[info.name]
            self._check(array, info.replaced(shape=getattr(array, "shape", ())), "input")
        model = self._model({name: array.shape for name, array in arrays.items()}, arrays)
        return model.run({i.name: arrays[i.name] for i in model.inputs}, out)

    def profile(self, inputs: Any = None, repeat: int = 20) -> list[LayerTime]:
        return self._default().profile(inputs, repeat)

    def run_all(self, inputs: Any) -> dict[str, np.ndarray]:
        return self._default().run_all(inputs)

    def close(self) -> None:
        self._closed = True
        with self._lock:
            for model in self._planned.values():
                model.close()
            self._planned.clear()
        self._chosen = None

    def __repr__(self) -> str:
        return f"<tinynet.Model {self.meta.name}: {', '.join(f'{n} {_text(d)}' for n, d in self.dims.items())}>"


def _text(dims: tuple[int | str, ...]) -> str:
    return "[" + ", ".join(map(str, dims)) + "]"
