"""ONNX -> source graph: networks whose sizes stay open until they run.

Two things keep a network open: dimensions that the model names instead of fixing them, and settings (a reshape's target,
a slice's bounds) that arrive as inputs.  Then the operators themselves are stored, checked as far as they can be, and
`finish.py` turns them into layers for the sizes and values of a run.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import onnx

from tinynet.converters.finish import PREFIX
from tinynet.converters.onnx import Importer
from tinynet.converters.onnx_builder import Refuse, Value, operator_key
from tinynet.converters.onnx_load import Source, fixed_dims
from tinynet.errors import UsageError
from tinynet.graph import Graph, Node, Tensor

# Sizes tried, in this order, for the open dimensions of a picture and of anything else, until the network takes them.
PICTURE_SIZES = (224, 256, 320, 64)
OTHER_SIZES = (16, 64, 128, 1)


class Opener(Importer):
    """Collects operators where `Importer` makes layers."""

    def run(self, overrides: Mapping[str, Iterable[int]]) -> Graph:
        self.graph.source = True
        for name, (dtype, dims) in fixed_dims(self.source, self.initialisers, overrides).items():
            if dims is None:
                raise UsageError(f"{self.source.label}: input {name!r}: its rank is unknown; give its shape, for example "
                                 f"--input {name}=1x3x320x320")
            self.graph.add(Tensor(name, tuple(d if isinstance(d, int) else 0 for d in dims), dtype))
            self.graph.inputs.append(name)
            self.values[name] = Value(name, (), dtype)
            if any(isinstance(d, str) for d in dims):
                self.graph.dims[name] = tuple(dims)
        self._walk()
        for output in self.proto.output:
            self._output(output)
        self._meta()
        return self.graph

    def _output(self, output: onnx.ValueInfoProto) -> None:
        name = output.name
        value = self._checked_output(name)
        if value.known or value.name != name:
            self.graph.add(Tensor(name, (), value.dtype))
            self.graph.nodes.append(Node(f"{PREFIX}Identity", f"output_{name}", [self.builder.materialise(value)], [name],
                                         {"@version": 13}))
        self.graph.outputs.append(name)

    def _layers(self, node: onnx.NodeProto, name: str, operator: Any, version: int, inputs: list[Value | None],
                attributes: dict[str, Any]) -> list[Value | None]:
        """Store the operator; a constant stays one."""
        key = operator_key(node.domain, node.op_type)
        if key == "Constant":
            return super()._layers(node, name, operator, version, inputs, attributes)
        if operator.function is None:
            raise Refuse("its inputs are computed at run time; it is only supported on constants")
        names = [self.builder.materialise(v) for v in inputs if v is not None]
        attrs = {key: value for key, value in attributes.items() if not isinstance(value, np.ndarray)}
        attrs["@version"] = version
        if None in inputs:
            attrs["@absent"] = tuple(i for i, v in enumerate(inputs) if v is None)
        tensors = {key: value for key, value in attributes.items() if isinstance(value, np.ndarray)}
        if tensors:
            attrs["@tensors"] = tuple(tensors)
            names += [self.builder.materialise(self.builder.known(array, f"{name}_{key}")) for key, array in tensors.items()]
        places = tuple(i for i, used in enumerate(self.builder.outputs_used) if used)
        if places != tuple(range(len(places))):
            attrs["@outputs"] = places
        made = [self.graph.add(Tensor(node.output[i], (), "float32")).name for i in places]
        self.graph.nodes.append(Node(f"{PREFIX}{key}", name, names, made, attrs))
        return [Value(node.output[i], (), "float32") if i in places else None for i in range(len(node.output))]

    def _expand(self, name: str, node: onnx.NodeProto, schema: Any, inputs: list[Value | None]) -> None:
        if schema.has_context_dependent_function:
            raise Refuse("its definition depends on shapes that stay open; fix them at conversion")
        super()._expand(name, node, schema, inputs)


def open_dims(source: Source, overrides: Mapping[str, Iterable[int]]) -> dict[str, tuple]:
    """Inputs with dimensions that nothing fixes -> their dimensions."""
    found = fixed_dims(source, (tensor.name for tensor in source.model.graph.initializer), overrides)
    return {name: tuple(dims) for name, (_, dims) in found.items() if any(isinstance(d, str) for d in dims or ())}


def default_sizes(dims: Mapping[str, tuple[int | str, ...]]) -> Iterator[dict[str, int]]:
    """Sizes by dimension name worth trying: 1 for the first dimension, usual ones for the others."""
    for picture, other in zip(PICTURE_SIZES, OTHER_SIZES, strict=True):
        sizes: dict[str, int] = {}
        for name, extents in dims.items():
            for axis, d in enumerate(extents):
                if isinstance(d, str):
                    key = d if d != "?" else f"{name}.{axis}"
                    spatial = len(extents) == 4 and (axis in (1, 2) if extents[3] in (1, 3) else axis in (2, 3))
                    sizes.setdefault(key, 1 if axis == 0 else picture if spatial else other)
        yield sizes


def with_sizes(dims: tuple[int | str, ...], name: str, sizes: Mapping[str, int]) -> tuple[int, ...]:
    return tuple(d if isinstance(d, int) else sizes[d if d != "?" else f"{name}.{axis}"] for axis, d in enumerate(dims))
