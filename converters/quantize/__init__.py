"""Post-training quantisation: a float network and some of its inputs -> the same network in 8-bit integers.

    import tinynet
    tinynet.convert("model.onnx", "model.tnb", int8="pictures/", mean=128, std=128)
    tinynet.quantize("model.tnb", "pictures/", "model_int8.tnb", max_drop=0.01)

    data.py       calibration data -> samples; a part is held back
    prepare.py    the graph with one linear layer per node
    calibrate.py  the float network with taps: ranges and histograms of all activations
    equalize.py   channels of neighbouring layers brought to the same range
    choose.py     which layers gain from integers; which lose too much
    ranges.py     histogram -> range -> scale and zero point
    scheme.py     what shares a scale; the weights' integers
    simulate.py   both networks in step: errors per layer, bias correction
    emit.py       the graph with quantize and dequantize, which passes/integers.py makes integer layers of
    judge.py      the finished network beside the float one, on the samples held back
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from tinynet.errors import AccuracyError, UsageError
from tinynet.graph import Graph, LayerQuality, Quantization

Progress = Callable[[float, str], None]
_COPY = re.compile(r"_\d+$")
_MADE = re.compile(r"(/(q|raw|rounded|real|integers)(_\d+)?)+$")


class Settings:
    """method: one of ranges.METHODS, or None for the best of all on this network.  max_drop: a share, or None.  keep: names of
    layers that stay float.  target: any, x86 (with VNNI), x86-avx2 or arm."""

    def __init__(self, method: str | None = None, max_drop: float | None = None, keep: Iterable[str] = (), target: str = "any"):
        from tinynet.converters.quantize.choose import TARGETS
        from tinynet.converters.quantize.ranges import METHODS

        if method is not None and method not in METHODS:
            raise UsageError(f"method: expected one of {', '.join(METHODS)}, found {method!r}")
        if target not in TARGETS:
            raise UsageError(f"target: expected one of {', '.join(TARGETS)}, found {target!r}")
        if max_drop is not None and not (isinstance(max_drop, (int, float)) and 0 <= max_drop < 1):
            raise UsageError(f"max_drop: expected a share from 0 to 1, such as 0.01 for 1 %, found {max_drop!r}")
        self.method = method
        self.max_drop = max_drop
        self.keep = [keep] if isinstance(keep, str) else list(keep)
        self.target = target


def quantize(source: str | os.PathLike | bytes, data: Any, output: str | os.PathLike | None = None, *,
             method: str | None = None, max_drop: float | None = None, keep: Iterable[str] = (), target: str = "any",
             progress: Progress | None = None) -> Any:
    """Quantise an fp32 .tnb file (path or bytes) and write `output` (default: NAME_int8.tnb beside it); returns the Report.

    data      what to calibrate with: a folder of pictures, an .npz, a folder of .npy or .npz files, or arrays; see `data.py`
    method    minmax, percentile, mse or entropy: how ranges are chosen; default: the one with the least error on this network
    max_drop  largest loss of top-1 agreement with the float network (of accuracy, where the data has labels), as a share
    keep      names of layers that stay float
    target    any, x86 (with VNNI), x86-avx2 or arm: layers that int8 would slow down there stay float

    The file is replaced only when all is done.  Raises AccuracyError beyond max_drop, FileError, FormatError, InputError,
    UsageError.
    """
    from tinynet.converters import write_atomically

    started = time.perf_counter()
    if output is None:
        if not isinstance(source, (str, os.PathLike)):
            raise UsageError("output: expected a file name, since the model has none")
        output = Path(source).with_name(f"{Path(source).stem}_int8.tnb")
    target_file = Path(output)
    if isinstance(source, (str, os.PathLike)) and os.path.exists(target_file) and os.path.exists(source) \
            and os.path.samefile(target_file, source):
        raise UsageError(f"the output {str(target_file)!r} is the model itself: choose another name")
    bytes_, report = quantize_bytes(source, data, Settings(method, max_drop, keep, target), progress)
    write_atomically(target_file, bytes_)
    report.output = str(target_file)
    report.seconds = time.perf_counter() - started
    return report


def quantize_bytes(source: str | os.PathLike | bytes, data: Any, settings: Settings,
                   progress: Progress | None = None) -> tuple[bytes, Any]:
    """The .tnb file's bytes and a Report."""
    from tinynet import format as tnb
    from tinynet.converters import finished

    buffer, name = tnb.open_buffer(source)
    graph = tnb.read(buffer, name)
    tnb.verify(buffer, name)
    if graph.open:
        raise UsageError(f"{name}: its sizes are open: convert the model again with --input NAME=DIMS, then quantise it")
    notes: list[str] = []
    show = progress or (lambda fraction, what: None)
    size = len(memoryview(buffer))
    network, speedup = quantized(graph, data, settings, notes, lambda f, what: show(0.95 * f, what), size)
    file, report = finished(network, name, notes, lambda what: show(0.97, what))
    report.speedup = speedup
    show(1.0, "done")
    return file, report


def quantized(graph: Graph, data: Any, settings: Settings, notes: list[str], progress: Progress,
              float_bytes: int) -> tuple[Graph, float]:
    """(integer graph with `meta.quantization`, how many times faster it ran here).  `float_bytes`: size of the float file.
    AccuracyError beyond settings.max_drop."""
    from tinynet.converters.quantize import calibrate, choose, judge, kinds, prepare, search
    from tinynet.converters.quantize import data as samples_of
    from tinynet.model import Model

    if any(node.op in ("quantize", "dequantize") or node.op.startswith("q_") for node in graph.nodes):
        raise UsageError(f"{graph.meta.label}: it has integer layers already: start from the float model")
    real = Model(graph)
    if settings.max_drop is not None and judge.scores_output(real) is None:
        raise UsageError("--max-drop limits the loss of a classifier's top class, and this network has no class scores: leave "
                         "it out and look at the SQNR in the report")
    calibrating, judging = samples_of.split(samples_of.read(data, real), notes)
    plain = prepare.prepared(graph)
    statistics = calibrate.calibrate(plain, calibrating, lambda f, what: progress(0.4 * f, what))
    integer, reasons = choose.choose(plain, statistics, settings.target, settings.keep)
    if not any(kinds.is_linear(node) and node.outputs[0] in integer for node in plain.nodes):
        raise UsageError(f"{graph.meta.label}: no layer gains from int8: {', '.join(sorted(set(reasons.values())))}")
    found = search.search(plain, integer, reasons, statistics, calibrating, settings, _known_inputs(graph),
                          judge.scores_output(real) is not None, lambda f, what: progress(0.4 + 0.45 * f, what))
    network = integer_graph(found.graph, found.scheme)
    theirs = Model(network)
    verdict = judge.judge(real, theirs, judging, lambda f, what: progress(0.85 + 0.15 * f, what))
    speedup = judge.speedup(Model(graph, threads=1), Model(network, threads=1), judging[0])
    network.meta.quantization = _record(found, verdict, settings, len(calibrating), float_bytes)
    if verdict.drop is not None and settings.max_drop is not None and verdict.drop > settings.max_drop + 1e-12:
        raise AccuracyError(f"int8 loses {100 * verdict.drop:.2f} % of the top classes of {verdict.samples} held-back samples, "
                            f"--max-drop allows {100 * settings.max_drop:g} %: nothing was written; give more data, or --keep "
                            "the layers with the lowest SQNR", network.meta.quantization)
    return network, speedup


def integer_graph(graph: Graph, scheme: Any) -> Graph:
    """Integer layers, packed."""
    from tinynet.converters.passes import integers, pack_weights
    from tinynet.converters.quantize.emit import emit

    network = emit(graph, scheme)
    integers.apply(network)
    pack_weights.apply(network)
    names = {node.outputs[0]: node.name for node in graph.nodes}
    for node in network.nodes:
        # quantize and dequantize went, and left their names behind: X/q, X/raw, X/q_1/real, X_1, ...
        source = _MADE.sub("", node.outputs[0])
        if node.op not in ("quantize", "dequantize"):
            node.name = next((names[s] for s in (node.outputs[0], source, _COPY.sub("", source)) if s in names), node.name)
    return network


def _known_inputs(graph: Graph) -> dict[str, tuple[float, float]]:
    """Range of a picture's pixels after mean and std."""
    p = graph.meta.preprocess
    if not p.given or len(graph.inputs) != 1 or not all(p.std) or len({len(p.mean), len(p.std)} - {1}) > 1:
        return {}
    count = max(len(p.mean), len(p.std))
    mean, std = ((*values, *values * 2)[:count] for values in (p.mean, p.std))
    ends = [(v - m) / s for m, s in zip(mean, std, strict=True) for v in (0.0, 255.0)]
    return {graph.inputs[0]: (min(ends), max(ends))}


def _record(found: Any, verdict: Any, settings: Settings, calibrated: int, float_bytes: int) -> Quantization:
    layers = []
    for node in found.graph.nodes:
        out = node.outputs[0]
        integer = out in found.scheme.integer
        layers.append(LayerQuality(node.name, node.op, integer, round(found.result.layers.get(out, 0.0), 2) if integer else 0.0,
                                   found.reasons.get(out, "")))
    measure, real, ours = "", 0.0, 0.0
    if verdict.accuracy is not None:
        measure, (real, ours) = "accuracy", verdict.accuracy
    elif verdict.agreement is not None:
        measure, real, ours = "top-1 agreement", 1.0, verdict.agreement
    return Quantization(method=found.method, target=settings.target, calibrated=calibrated, judged=verdict.samples,
                        measure=measure, real=real, quantized=ours, sqnr=round(verdict.sqnr, 2), float_bytes=float_bytes,
                        layers=layers)
