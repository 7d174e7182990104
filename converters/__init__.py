"""Conversion: another framework's model file -> one .tnb file.  Needs the extra [convert].  README.md says how it works.

    import tinynet
    report = tinynet.convert("mobilenet.onnx", "mobilenet.tnb", mean=128, std=128, labels="labels.txt")
"""

from __future__ import annotations

import contextlib
import os
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping
from itertools import chain
from pathlib import Path
from typing import Any

from tinynet import __version__
from tinynet.converters.report import Report
from tinynet.errors import (
    FileError,
    FormatError,
    InputError,
    MissingExtraError,
    TinynetError,
    UnsupportedError,
    UnsupportedOpError,
    UsageError,
)
from tinynet.graph import Graph, Preprocess

Progress = Callable[[float, str], None]
RESIZE_MODES = ("stretch", "crop", "letterbox")
COLORS = ("rgb", "bgr", "gray")
TASKS = ("", "classify")
WEIGHTS = {"fp16": "float16", "int8": "int8"}
SELFTEST_SEED = 1


def convert(source: str | os.PathLike, output: str | os.PathLike | None = None, **options: Any) -> Report:
    """Convert a model file and write `output` (default: the source's name with .tnb).

    The options are those of `convert_bytes`.  The file is written beside its place and renamed when it is complete, so
    a failure leaves an older file as it was.  Raises FileError if `output` cannot be written, and all that
    `convert_bytes` raises.
    """
    started = time.perf_counter()
    path = Path(output) if output is not None else Path(source).with_suffix(".tnb")
    if os.path.exists(path) and os.path.exists(source) and os.path.samefile(path, source):
        raise UsageError(f"the output {str(path)!r} is the model itself: choose another name")
    data, report = convert_bytes(source, **options)
    write_atomically(path, data)
    report.output = str(path)
    report.seconds = time.perf_counter() - started
    return report


def convert_bytes(
    source: Any, *, inputs: Mapping[str, Iterable[int]] | None = None, constants: Mapping[str, Any] | None = None,
    outputs: Iterable[str] | None = None,
    mean: float | Iterable[float] | None = None, std: float | Iterable[float] | None = None,
    size: Iterable[int] | None = None, resize_mode: str | None = None, color: str | None = None,
    labels: str | os.PathLike | Iterable[str] | None = None, task: str | None = None, winograd: bool = False,
    int8: Any = None, method: str | None = None, max_drop: float | None = None, keep: Iterable[str] = (), target: str = "any",
    weights: str | None = None, progress: Progress | None = None,
) -> tuple[bytes, Report]:
    """Convert a model (path, bytes or onnx.ModelProto) and return the .tnb file's bytes and a Report.

    inputs       input name -> shape, fixes dimensions that the model leaves open; the others stay open (see Model.reshape)
    constants    input name -> array: freezes an input to this value; the file then has no such input
    outputs      names of tensors inside the graph: it is cut there, and they are its outputs
    mean, std    a pixel value v in 0..255 becomes (v - mean) / std: one number, or one per channel
    size         (height, width) that pictures are resized to, where the model's input does not say
    resize_mode  stretch, crop or letterbox;  color: rgb, bgr or gray
    labels       class names: a text file with one per line, or the names
    task         "classify", or None to guess from the outputs
    winograd     store the weights that Winograd's algorithm needs, transformed, beside the others: faster to load, larger
    int8         calibration data: quantises the network, as do method, max_drop, keep, target; see tinynet.quantize
    weights      store them in half of the bytes, "fp16", or a quarter, "int8", with a scale per output channel; computing stays
                 float32 (layers of 8-bit integers are another thing)
    progress     called as progress(fraction done, stage)

    The same model and options give the same bytes.  Raises FileError, FormatError, UnsupportedError,
    UnsupportedOpError (lists every unsupported operator), UsageError, LimitError (above 2 GiB), AccuracyError (max_drop).
    """
    started = time.perf_counter()
    _need("onnx", "reading an ONNX model")
    _need("flatbuffers", "writing a .tnb file")
    from tinynet.converters.onnx_load import open_source
    from tinynet.converters.passes import PASSES

    quantiser = _quantiser(int8, method, max_drop, keep, target, winograd)
    stages = len(PASSES) + 4
    share = 1.0 if int8 is None else 0.1        # of the time, before calibration starts
    done = [0]

    def step(name: str, _changes: int = 0) -> None:
        done[0] = min(done[0] + 1, stages - 1)
        if progress is not None:
            progress(share * done[0] / stages, name)

    if weights is not None and weights not in WEIGHTS:
        raise UsageError(f"weights: expected one of {', '.join(WEIGHTS)}, found {weights!r}")
    if weights and (winograd or int8 is not None):
        raise UsageError("weights are for networks of float32 layers, with neither winograd nor int8: choose one")
    notes: list[str] = []
    step("reading")
    opened = open_source(source, None, constants, outputs, notes)
    graph, model = _network(opened, inputs or {}, notes, step)
    if quantiser is not None:
        graph = _fixed(graph, lambda shapes: _network(opened, {**(inputs or {}), **shapes}, [], step)[0], notes)
    if weights:
        model = _store(graph, model, weights, notes)
    _describe(graph, notes, mean, std, size, resize_mode, color, labels, task)
    name = str(source) if isinstance(source, (str, os.PathLike)) else graph.meta.name
    if quantiser is None:
        data, report = finished(graph, name, notes, step, winograd, model)
    else:
        from tinynet.converters.quantize import quantized
        from tinynet.converters.writer import write

        show = progress or (lambda fraction, what: None)
        graph, speedup = quantized(graph, int8, quantiser, notes, lambda f, what: show(share + 0.85 * f, what),
                                   len(write(graph)))
        data, report = finished(graph, name, notes, lambda what: show(0.97, what))
        report.speedup = speedup
    if progress is not None:
        progress(1.0, "done")
    report.seconds = time.perf_counter() - started
    return data, report


def finished(graph: Graph, name: str, notes: list[str], step: Callable[[str], None], winograd: bool = False,
             model: Any = None) -> tuple[bytes, Report]:
    """A graph that is ready but for what is measured with a Model of it (there is none where values decide shapes): the file's
    bytes and the Report; `name` of the source."""
    from tinynet import selftest
    from tinynet.converters.writer import write
    from tinynet.model import Model
    from tinynet.plan import check_graph

    step("planning")
    if model is None and not graph.open:
        model = Model(graph)
    if model is not None:
        plan = model.plan
        graph.meta.macs, graph.meta.arena_bytes = plan.macs, plan.memory.arena_bytes
        if not graph.source:
            for node, macs in zip(graph.nodes, check_graph(graph)[1], strict=True):
                node.macs = macs
        if plan.python_steps:
            notes.append(f"these layers have no native kernel and run in numpy: {', '.join(plan.python_steps)}")
        step("recording the self-test")
        try:
            graph.meta.selftest_index, graph.meta.selftest_value = selftest.record(model, SELFTEST_SEED)
            graph.meta.selftest_seed = SELFTEST_SEED
        except (FormatError, InputError) as error:
            # Indices among the inputs: drawn numbers point nowhere.
            notes.append(f"no self-test is recorded, its inputs do not fit: {error}")
        if winograd:
            _store_transformed(graph, model)
    step("writing")
    data = write(graph)
    return data, Report(
        source=name, operators_before=graph.meta.source_operators, operators_after=len((model.graph if model else graph).nodes),
        file_bytes=len(data), parameters=graph.meta.parameters, macs=graph.meta.macs, arena_bytes=graph.meta.arena_bytes,
        notes=notes, inputs={n: list(graph.dims.get(n, graph.tensors[n].shape)) for n in graph.inputs},
        outputs={i.name: list(i.shape) for i in model.outputs} if model else {n: ["?"] for n in graph.outputs},
        quantization=graph.meta.quantization,
    )


def _quantiser(int8: Any, method: str | None, max_drop: float | None, keep: Iterable[str], target: str, winograd: bool) -> Any:
    """Settings of the quantisation; None if there shall be none."""
    if int8 is None:
        if method is not None or max_drop is not None or list(keep) or target != "any":
            raise UsageError("method, max_drop, keep and target belong to int8: give calibration data, such as a folder of "
                             "pictures")
        return None
    if winograd:
        raise UsageError("winograd stores transformed float weights: expected this or int8, found both")
    from tinynet.converters.quantize import Settings

    return Settings(method, max_drop, keep, target)


def _fixed(graph: Graph, again: Callable[[dict[str, Any]], Graph], notes: list[str]) -> Graph:
    """The network for its default sizes: integers are calibrated for one size."""
    if graph.source and not graph.dims:
        raise UsageError("int8: values that only a run has decide shapes in this network; fix them with --constant")
    if not graph.open:
        return graph
    shapes = {name: graph.tensors[name].shape for name in graph.dims}
    notes[:] = [text for text in notes if not text.startswith("open sizes")]
    notes.append("int8 fixes the sizes: " + ", ".join(f"{name} {'x'.join(map(str, shape))}" for name, shape in shapes.items())
                 + "; --input chooses others")
    return again(shapes)


def _store(graph: Graph, model: Any, weights: str, notes: list[str]) -> Any:
    """The model of the same graph with weights in fewer bytes."""
    from tinynet.converters.passes import store_weights
    from tinynet.model import Model
    from tinynet.open_model import OpenModel

    if graph.source:
        raise UnsupportedError(f"{graph.meta.label}: weights cannot be stored as {weights} where layers are chosen when the "
                               "model runs: fix sizes with --input and settings with --constant")
    counts = store_weights.apply(graph, WEIGHTS[weights])
    notes.append("weights in the file: " + ", ".join(f"{count:,} as {storage}" for storage, count in counts.items() if count))
    return OpenModel(graph) if isinstance(model, OpenModel) else Model(graph)


def _store_transformed(graph: Graph, model: Any) -> None:
    """What the planner would transform at load, for networks that are stored as layers."""
    from tinynet.ops.winograd import stored_name, transformed

    for step in chain.from_iterable([step, *step.parts] for step in model.plan.steps) if not graph.source else ():
        size = step.params.get("size") if step.kernel == "conv2d_winograd_f32" else None
        if size and stored_name(step.node.inputs[1], size) not in graph.tensors:
            graph.add(transformed(graph, step.node, size))


def _network(opened: Any, inputs: Mapping[str, Iterable[int]], notes: list[str],
             step: Callable[..., None]) -> tuple[Graph, Any]:
    """(graph for the file, a Model of it); no Model where values that only a run has decide the shapes."""
    from tinynet.converters.onnx import Importer, SettingsError
    from tinynet.converters.onnx_open import Opener, default_sizes, open_dims, with_sizes
    from tinynet.converters.passes import run_passes
    from tinynet.model import Model
    from tinynet.open_model import OpenModel

    dims = open_dims(opened, inputs)
    failure: TinynetError | None = None
    for sizes in default_sizes(dims):
        shapes = {**inputs, **{name: with_sizes(extents, name, sizes) for name, extents in dims.items()}}
        remarks: list[str] = []
        try:
            graph = Importer(opened, remarks).run(shapes)
        except SettingsError as error:
            graph = Opener(opened, notes).run(inputs)
            graph.parameters = error.names
            notes.append(f"the values of {', '.join(error.names)} decide shapes: layers are chosen when the model runs; "
                         "fix them with --constant for a faster start")
            return graph, None
        except (UnsupportedOpError, FormatError) as error:
            failure = failure or error
            continue
        notes += remarks
        if not dims:
            run_passes(graph, step)
            return graph, Model(graph)
        graph = _general(opened, inputs, dims, shapes) or Opener(opened, []).run(inputs)
        for name in dims:
            graph.tensors[name].shape = tuple(shapes[name])
        graph.dims = dims
        named = dict.fromkeys(d for extents in dims.values() for d in extents if isinstance(d, str))
        notes.append(f"open sizes: {', '.join('unnamed' if d == '?' else d for d in named)}; "
                     + ", ".join(f"{name} is {'x'.join(map(str, shapes[name]))} by default" for name in dims)
                     + "; --input fixes them")
        return graph, OpenModel(graph)
    if not dims:
        raise failure
    given = " ".join(f"--input {name}={'x'.join(str(d) if isinstance(d, int) else 'SIZE' for d in extents)}"
                     for name, extents in dims.items())
    raise type(failure)(f"{failure}; none of the sizes tried fits: give them, as {given}",
                        *([failure.operators, failure.outputs] if isinstance(failure, UnsupportedOpError) else []))


def _general(opened: Any, inputs: Mapping[str, Iterable[int]], dims: dict[str, tuple], default: dict[str, Any]) -> Graph | None:
    """Layers that take any of the open sizes, if the network has such a form."""
    from tinynet.converters.onnx import Importer
    from tinynet.converters.onnx_open import with_sizes
    from tinynet.converters.open_sizes import general

    fixed = {v.name: v.shape for v in Importer(opened, []).inputs(default)}
    return general(
        lambda each: Importer(opened, []).run(each), dims,
        lambda sizes: {**fixed, **inputs, **{name: with_sizes(extents, name, sizes) for name, extents in dims.items()}},
        {**fixed, **default})


def register_onnx(domain: str, operator: str) -> Callable[[Callable], Callable]:
    """A decorator that makes `function(builder, *inputs, **attributes)` the converter of an ONNX operator that tinynet lacks;
    see tinynet.custom.register_onnx."""
    from tinynet.custom import register_onnx

    return register_onnx(domain, operator)


def write_atomically(target: Path, data: bytes) -> None:
    """Write through a temporary file in the same folder.  FileError if that is impossible; `target` is then untouched."""
    if os.path.exists(target) and not os.path.isfile(target):
        raise FileError(f"cannot write {str(target)!r}: expected a file, found a folder or a device")
    temporary = None
    try:
        with tempfile.NamedTemporaryFile(dir=target.parent, prefix=f".{target.name}.", delete=False) as file:
            temporary = file.name
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        mask = os.umask(0)
        os.umask(mask)
        os.chmod(temporary, 0o666 & ~mask)
        os.replace(temporary, target)
        temporary = None
    except OSError as error:
        raise FileError(f"cannot write {str(target)!r}: {error.strerror or error}") from None
    finally:
        if temporary is not None:
            with contextlib.suppress(OSError):
                os.unlink(temporary)


def _need(package: str, purpose: str) -> None:
    import importlib

    try:
        importlib.import_module(package)
    except ImportError as error:
        raise MissingExtraError(package, "convert", purpose) from error


def _describe(graph: Graph, notes: list[str], mean: Any, std: Any, size: Any, resize_mode: str | None,
              color: str | None, labels: Any, task: str | None) -> None:
    """Fill in what the file says about itself beyond the source model."""
    meta = graph.meta
    meta.converter = f"tinynet {__version__}"
    meta.preprocess = _preprocess(mean, std, size, resize_mode, color)
    if not meta.preprocess.given and _takes_pictures(graph):
        notes.append("no --mean and --std were given: `run` will feed pixel values 0..255 as they are; "
                     "look up what the network was trained with")
    if isinstance(labels, (str, os.PathLike)):
        from tinynet.tasks.labels import read_labels

        labels = read_labels(labels)
    meta.labels = [str(label) for label in labels or ()]
    if (task or "") not in TASKS:
        raise UsageError(f"task: expected one of {', '.join(TASKS[1:])}, found {task!r}")
    meta.task = task or ""


def _takes_pictures(graph: Graph) -> bool:
    """One input that could be a picture: [1, C, H, W] or [1, H, W, C] with 1 or 3 channels."""
    if len(graph.inputs) != 1:
        return False
    shape = graph.tensors[graph.inputs[0]].shape
    return len(shape) == 4 and (shape[1] in (1, 3) or shape[3] in (1, 3))


def _preprocess(mean: Any, std: Any, size: Any, resize_mode: str | None, color: str | None) -> Preprocess:
    p = Preprocess()
    for name, value, choices in (("resize_mode", resize_mode, RESIZE_MODES), ("color", color, COLORS)):
        if value is not None and value not in choices:
            raise UsageError(f"{name}: expected one of {', '.join(choices)}, found {value!r}")
    p.resize, p.color = resize_mode or p.resize, color or p.color
    p.mean, p.std = _numbers("mean", mean, p.mean), _numbers("std", std, p.std)
    if 0.0 in p.std:
        raise UsageError("std: expected numbers other than 0, it divides")
    channels = 1 if p.color == "gray" else 3
    for name, values in (("mean", p.mean), ("std", p.std)):
        if len(values) not in (1, channels):
            raise UsageError(f"{name}: expected 1 or {channels} numbers for color {p.color}, found {len(values)}")
    p.size = tuple(int(v) for v in size) if size is not None else ()
    if p.size and (len(p.size) != 2 or min(p.size) < 1):
        raise UsageError(f"size: expected (height, width), found {p.size}")
    p.given = mean is not None or std is not None
    return p


def _numbers(name: str, value: Any, default: tuple[float, ...]) -> tuple[float, ...]:
    if value is None:
        return default
    try:
        values = tuple(float(v) for v in value) if isinstance(value, Iterable) else (float(value),)
    except (TypeError, ValueError):
        raise UsageError(f"{name}: expected a number or numbers, found {value!r}") from None
    if not values or not all(abs(v) < float("inf") for v in values):
        raise UsageError(f"{name}: expected finite numbers, found {value!r}")
    return values
