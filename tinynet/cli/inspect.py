"""Show what a .tnb file holds: inputs, outputs, layers, sizes, labels, where it came from.

Works without numpy; the weights are only read for the checksum.
"""

from __future__ import annotations

import argparse
from typing import Any

from tinynet import layouts
from tinynet.cli import output, quality
from tinynet.errors import FormatError
from tinynet.graph import DTYPES, Graph, Meta, Node


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", metavar="MODEL", help=".tnb file")
    parser.add_argument("--layers", action="store_true", help="also the table of layers")
    parser.add_argument("--json", action="store_true", help="print one JSON object (always with the layers)")


def run(args: argparse.Namespace) -> int:
    from tinynet import format as tnb

    buffer, name = tnb.open_buffer(args.model)
    try:
        graph = tnb.read(buffer, name)
        tnb.verify(buffer, name)
        version = "{}.{}".format(*tnb.version(buffer, name))
    except FormatError as error:
        if args.model.lower().endswith(".onnx"):
            raise FormatError(f"{args.model!r} is no .tnb file: run `tinynet convert {args.model}` first") from error
        raise
    if args.json:
        output.print_json("inspect", **describe(graph, args.model, len(memoryview(buffer)), version))
    else:
        _print(graph, args.model, len(memoryview(buffer)), version, args.layers)
    return 0


def describe(graph: Graph, path: str, file_bytes: int, version: str) -> dict[str, Any]:
    """The fields of the JSON object; README.md in this folder documents them."""
    meta = graph.meta
    return {
        "model": path,
        "name": meta.name,
        "format": version,
        "file_bytes": file_bytes,
        "weight_bytes": weight_bytes(graph),
        "stored": stored(graph),
        "parameters": meta.parameters,
        "macs": meta.macs,
        "arena_bytes": meta.arena_bytes,
        "inputs": [_tensor(graph, name) for name in graph.inputs],
        "outputs": [_tensor(graph, name) for name in graph.outputs],
        "task": meta.task,
        "labels": list(meta.labels),
        "preprocess": preprocess(meta),
        "source": {"format": meta.source_format, "sha256": meta.source_sha256, "opset": meta.source_opset,
                   "operators": meta.source_operators, "converter": meta.converter},
        "quantization": meta.quantization and quality.describe(meta.quantization, file_bytes),
        "layers": [_layer(graph, node) for node in graph.nodes],
    }


def preprocess(meta: Meta) -> dict[str, Any]:
    p = meta.preprocess
    return {"given": p.given, "resize": p.resize, "color": p.color, "mean": list(p.mean), "std": list(p.std),
            "size": list(p.size)}


def weight_bytes(graph: Graph) -> int:
    """Bytes of the constants as they lie in the file, shared ones counted once per use."""
    return sum(len(memoryview(t.data).cast("B")) for t in graph.tensors.values() if t.is_constant and t.size)


def stored(graph: Graph) -> dict[str, int]:
    """{"float16", "int8": elements of float32 constants that the file holds so}; empty where all lie as they are."""
    counts: dict[str, int] = {}
    for t in graph.tensors.values():
        storage = layouts.stored(t.layout)[0]
        if storage and t.is_constant:
            counts[storage] = counts.get(storage, 0) + t.size
    return counts


def _tensor(graph: Graph, name: str) -> dict[str, Any]:
    tensor = graph.tensors[name]
    return {"name": name, "shape": _shape(graph, name), "dtype": tensor.dtype}


def _shape(graph: Graph, name: str) -> list[int | str] | None:
    """Numbers, and names of dimensions that are open; None where the file does not know."""
    if graph.source and name not in graph.inputs and not graph.tensors[name].is_constant:
        return None
    return list(graph.dims.get(name, graph.tensors[name].shape))


def _layer(graph: Graph, node: Node) -> dict[str, Any]:
    constants = [graph.tensors[name] for name in node.inputs if graph.tensors[name].is_constant]
    return {
        "name": node.name, "kind": node.op, "attributes": dict(node.attrs),
        "inputs": [name for name in node.inputs if not graph.tensors[name].is_constant],
        "outputs": [_tensor(graph, name) for name in node.outputs],
        "parameters": sum(t.size for t in constants), "macs": node.macs,
        "weight_bytes": sum(len(memoryview(t.data).cast("B")) if layouts.stored(t.layout)[0] and t.size
                            else t.size * DTYPES[t.dtype] for t in constants),
    }


def _print(graph: Graph, path: str, file_bytes: int, version: str, layers: bool) -> None:
    meta = graph.meta
    facts = [
        ("file", f"{path}  {output.size(file_bytes)}"),
        ("format", f"tnb {version}, checksum right"),
        ("name", meta.name),
        ("weights", ", ".join([f"{meta.parameters:,} parameters", f"{output.size(weight_bytes(graph))} as stored",
                               *(f"{count:,} as {storage}" for storage, count in stored(graph).items())])),
        ("work", f"{meta.macs:,} multiply-accumulates"),
        ("layers", _kinds(graph)),
        ("memory", f"{output.size(meta.arena_bytes)} arena" if meta.arena_bytes else ""),
        ("task", meta.task or "guessed from the outputs"),
        ("labels", _labels(meta.labels)),
        ("pictures", _pictures(meta, [graph.tensors[name].shape for name in graph.inputs])),
        ("source", _source(meta)),
        ("converter", meta.converter),
    ]
    for key, value in facts:
        if value:
            print(f"{output.paint(f'{key:<10}', 'bold')} {output.clean(value)}")
    for title, names in (("inputs", graph.inputs), ("outputs", graph.outputs)):
        rows = [(t.name, t.dtype, output.shape(_shape(graph, t.name))) for t in (graph.tensors[name] for name in names)]
        print()
        output.print_table((title, "dtype", "shape"), rows)
    if meta.quantization is not None:
        print()
        for line in quality.lines(meta.quantization, file_bytes, layers=layers):
            output.show(line)
    if layers:
        print()
        rows, titles = _rows(graph), ("#", "layer", "kind", "output", "scale, zero", "parameters", "MACs")
        shown = [i for i, title in enumerate(titles) if title != "scale, zero" or any(row[i] for row in rows)]
        numeric = [i for i, column in enumerate(shown) if titles[column] in ("#", "parameters", "MACs")]
        output.print_table([titles[i] for i in shown], [[row[i] for i in shown] for row in rows], numeric=numeric)


def _rows(graph: Graph) -> list[tuple]:
    rows = []
    for number, node in enumerate(graph.nodes):
        layer = _layer(graph, node)
        shapes = " ".join(output.shape(out["shape"]) + ("" if out["dtype"] == "float32" else f" {out['dtype']}")
                          for out in layer["outputs"])
        activation = node.attrs.get("activation", "none")
        kind = node.op if activation == "none" else f"{node.op}+{activation}"
        name = output.shorten(node.name or node.outputs[0])
        rows.append((number, name, kind, shapes, _steps(node), f"{layer['parameters']:,}", f"{node.macs:,}"))
    return rows


def _steps(node: Node) -> str:
    """What the layer's own attributes say of the scale and zero of its integers."""
    attrs = node.attrs
    if node.op in ("quantize", "dequantize"):
        scales, zeros = attrs.get("scale", (1.0,)), attrs.get("zero", (0,))
        return f"{scales[0]:.4g}, {zeros[0]}" if len(scales) == 1 else f"{len(scales)} of each"
    if node.op.startswith("q_") and attrs.get("dtype", "uint8") == "uint8" and ("y_zero" in attrs or "y_scale" in attrs):
        return f"{attrs['y_scale']:.4g}, {attrs.get('y_zero', 0)}" if "y_scale" in attrs else f"zero {attrs.get('y_zero', 0)}"
    return ""


def _kinds(graph: Graph) -> str:
    counts: dict[str, int] = {}
    for node in graph.nodes:
        counts[node.op] = counts.get(node.op, 0) + 1
    ordered = sorted(counts.items(), key=lambda item: -item[1])
    return f"{len(graph.nodes)}: {', '.join(f'{count} {kind}' for kind, count in ordered)}"


def _labels(labels: list[str]) -> str:
    if not labels:
        return "none"
    return f"{len(labels)}: {'; '.join(map(output.shorten, labels[:3]))}{'; ...' if len(labels) > 3 else ''}"


def _pictures(meta: Meta, shapes: list[tuple[int, ...]]) -> str:
    """How pictures are prepared; nothing where no input could be one."""
    p = meta.preprocess
    if not (p.given or any(len(shape) == 4 and {shape[1], shape[3]} & {1, 3} for shape in shapes)):
        return ""
    size = f" to {p.size[0]}x{p.size[1]}" if len(p.size) == 2 else ""
    mean, std = (", ".join(f"{v:g}" for v in values) for values in (p.mean, p.std))
    values = f"(v - [{mean}]) / [{std}]" if p.given else "pixel values 0..255 as they are (no mean and std were given)"
    return f"{p.resize}{size}, {p.color}, {values}"


def _source(meta: Meta) -> str:
    if not meta.source_format:
        return ""
    return (f"{meta.source_format} opset {meta.source_opset}, {meta.source_operators} operators, "
            f"sha256 {meta.source_sha256[:16]}")
