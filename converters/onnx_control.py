"""Control flow of ONNX that conversion decides: the branch of an If whose condition is known, the iterations of a Loop
whose number is known.  The subgraph's nodes become nodes of the graph under names of their own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx

from tinynet.converters.onnx_builder import Builder, Malformed, Refuse, Value
from tinynet.converters.onnx_cut import live_nodes, reads
from tinynet.converters.onnx_load import Source

CONTROL = frozenset(("If", "Loop"))
# Nodes that all loops of a model together may become.
MOST_UNROLLED = 20000


def subgraphs(node: onnx.NodeProto) -> list[onnx.GraphProto]:
    return [graph for a in node.attribute for graph in ((a.g, *a.graphs) if a.HasField("g") else a.graphs)]


def rename(node: onnx.NodeProto, names: Mapping[str, str]) -> None:
    """Also inside its subgraphs, for what these do not define themselves."""
    node.input[:] = [names.get(name, name) for name in node.input]
    node.output[:] = [names.get(name, name) for name in node.output]
    for graph in subgraphs(node):
        own = {item.name for item in (*graph.input, *graph.initializer)} | {o for inner in graph.node for o in inner.output}
        outer = {name: new for name, new in names.items() if name not in own}
        for inner in graph.node:
            rename(inner, outer)
        for output in graph.output:
            output.name = outer.get(output.name, output.name)


class ControlFlow:
    """The part of an importer that walks into subgraphs."""

    source: Source
    builder: Builder
    values: dict[str, Value | None]
    initialisers: dict[str, onnx.TensorProto]
    read: set[str]
    unrolled: int = 0

    def _node(self, index: int, node: onnx.NodeProto) -> None:
        raise NotImplementedError

    def _value(self, name: str) -> Value | None:
        raise NotImplementedError

    def _control(self, node: onnx.NodeProto, name: str, inputs: list[Value | None],
                 attributes: dict[str, Any]) -> list[Value | None]:
        """The values of the node's outputs."""
        if node.op_type == "If":
            taken = _scalar(inputs[0], "its condition")
            graph = attributes["then_branch" if taken else "else_branch"]
            results = self._inlined(graph, [], name, self._adopted(graph, name))
        else:
            results = self._loop(name, inputs, attributes["body"])
        if len(results) < len(node.output):
            raise Malformed(f"its subgraph has {len(results)} outputs for the node's {len(node.output)}")
        return results

    def _adopted(self, graph: onnx.GraphProto, scope: str) -> dict[str, str]:
        """The subgraph's initialisers become the graph's; old name -> new name."""
        names = {}
        for tensor in graph.initializer:
            names[tensor.name] = self.builder.reserve(f"{scope}/{tensor.name}")
            copy = onnx.TensorProto()
            copy.CopyFrom(tensor)
            copy.name = names[tensor.name]
            self.initialisers[copy.name] = copy
        if graph.sparse_initializer:
            raise Refuse("a sparse initialiser in its subgraph")
        return names

    def _inlined(self, graph: onnx.GraphProto, arguments: list[Value | None], scope: str,
                 adopted: Mapping[str, str]) -> list[Value | None]:
        """The values of the subgraph's outputs for these inputs."""
        if len(graph.input) != len(arguments):
            raise Malformed(f"its subgraph has {len(graph.input)} inputs, expected {len(arguments)}")
        names = dict(adopted)
        for item, value in zip(graph.input, arguments, strict=True):
            names[item.name] = self.builder.reserve(f"{scope}/{item.name}")
            self.values[names[item.name]] = value
        for inner in graph.node:
            names.update((o, self.builder.reserve(f"{scope}/{o}")) for o in inner.output if o)
        nodes = []
        for index in sorted(live_nodes(graph)):
            copy = onnx.NodeProto()
            copy.CopyFrom(graph.node[index])
            rename(copy, names)
            copy.name = f"{scope}/{copy.name or f'{copy.op_type}_{index}'}"
            nodes.append(copy)
        outputs = [names.get(output.name, output.name) for output in graph.output]
        self._walk_nodes(nodes, outputs)
        return [self._value(name) for name in outputs]

    def _walk_nodes(self, nodes: list[onnx.NodeProto], outputs: list[str]) -> None:
        self.read.update(outputs, *(reads(node) for node in nodes))
        for index, node in enumerate(nodes):
            self._node(index, node)

    def _loop(self, scope: str, inputs: list[Value | None], body: onnx.GraphProto) -> list[Value | None]:
        """Every iteration anew, until the trip count or the condition ends it."""
        trips = None if inputs[0] is None else _scalar(inputs[0], "its trip count")
        going = inputs[1] is None or bool(_scalar(inputs[1], "its condition"))
        carried, adopted = list(inputs[2:]), self._adopted(body, scope)
        collected: list[list[Value | None]] = [[] for _ in body.output[1 + len(carried):]]
        done = 0
        while going and (trips is None or done < trips):
            self.unrolled += max(1, len(body.node))
            if self.unrolled > MOST_UNROLLED:
                raise Refuse(f"its iterations would be more than {MOST_UNROLLED} nodes")
            start = [self.builder.known(np.array(done), f"{scope}_iteration"),
                     self.builder.known(np.array(True), f"{scope}_condition")]
            condition, *results = self._inlined(body, start + carried, f"{scope}/{done}", adopted)
            if condition is None or len(results) < len(carried):
                return [None] * (len(carried) + len(collected))
            going, carried = bool(_scalar(condition, "its condition")), results[:len(carried)]
            for column, value in zip(collected, results[len(carried):], strict=True):
                column.append(value)
            done += 1
        return carried + [self._stacked(column, f"{scope}/stack{i}") for i, column in enumerate(collected)]

    def _stacked(self, column: list[Value | None], scope: str) -> Value | None:
        """One value per iteration -> all of them along a new first axis."""
        if not column:
            raise Refuse("it never runs, so that the shape of what it collects is not known")
        if None in column:
            return None
        nodes, parts = [], []
        axes = self.builder.reserve(f"{scope}/axes")
        self.values[axes] = Value(axes, (1,), "int64", np.zeros(1, np.int64))
        for i, value in enumerate(column):
            item, part = self.builder.reserve(f"{scope}/item{i}"), self.builder.reserve(f"{scope}/part{i}")
            self.values[item] = value
            parts.append(part)
            nodes.append(onnx.helper.make_node("Unsqueeze", [item], [part], f"{scope}/unsqueeze{i}", axes=[0])
                         if self.source.opset < 13 else
                         onnx.helper.make_node("Unsqueeze", [item, axes], [part], f"{scope}/unsqueeze{i}"))
        whole = self.builder.reserve(f"{scope}/all")
        nodes.append(onnx.helper.make_node("Concat", parts, [whole], f"{scope}/concat", axis=0))
        self._walk_nodes(nodes, [whole])
        return self._value(whole)


def _scalar(value: Value, what: str) -> Any:
    if not value.known:
        raise Refuse(f"{what} computed at run time (tensor {value.name!r}); control flow has to be known at conversion")
    if value.data.size != 1:
        raise Malformed(f"{what} has the shape {list(value.shape)}, expected one element")
    return value.data.reshape(()).item()
