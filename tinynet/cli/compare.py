"""Compare a model's outputs with those of its ONNX source in onnxruntime, on the same input.

Per output: the largest absolute difference, and the same relative to the range (max - min) of onnxruntime's output,
which --tolerance limits.  Integer outputs must be equal.  NaN and infinities must stand in the same places.
--layers also compares every tensor that both networks compute, and names the first layer that is off.
Exit code 1 when anything is above the tolerance.
"""

from __future__ import annotations

import argparse
from typing import Any

from tinynet.cli import output
from tinynet.cli.arguments import add_threads, positive_number
from tinynet.errors import FileError, InputError, MissingExtraError, UsageError

COMPARISON_FAILED = 1


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", metavar="MODEL.tnb", help=".tnb file (an .onnx file is converted in memory)")
    parser.add_argument("source", metavar="MODEL.onnx", help="the model it was made from")
    parser.add_argument("--layers", action="store_true", help="find the first layer that differs")
    parser.add_argument("--tolerance", type=positive_number, default=1e-4, metavar="T",
                        help="largest difference relative to the output's range (default 1e-4)")
    parser.add_argument("--input-data", metavar="FILE",
                        help=".npz or .npy with the inputs (default: random, fixed seed)")
    add_threads(parser)
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(args: argparse.Namespace) -> int:
    runtime = _onnxruntime()
    import tinynet
    from tinynet.model import random_inputs

    with tinynet.load(args.model, threads=args.threads) as model:
        if args.input_data:
            feed = _input_data(args.input_data, model)
        else:
            feed = random_inputs(model)
        ours = model.run(feed)
        session = open_session(runtime, args.source)
        theirs = run_session(session, feed)
        rows = compare_outputs(ours, theirs, args.tolerance)
        layers = layer_rows(runtime, model, args.source, feed, args.tolerance) if args.layers else None
    ok = all(row["ok"] for row in rows)
    first = next((row for row in layers if not row["ok"]), None) if layers is not None else None
    if args.json:
        extra = {} if layers is None else {"layers": layers, "first_diverging": first and first["name"]}
        output.print_json("compare", model=args.model, source=args.source, tolerance=args.tolerance, ok=ok,
                          outputs=rows, **extra)
    else:
        _print(rows, layers, first, args.tolerance, ok)
    return 0 if ok else COMPARISON_FAILED


def _onnxruntime() -> Any:
    try:
        import onnxruntime
    except ImportError as error:
        missing = MissingExtraError("onnxruntime", "bench", "comparing with the ONNX model")
        missing.args = (f"{missing.args[0]} (or: pip install onnxruntime)",)
        raise missing from error
    onnxruntime.set_default_logger_severity(4)
    return onnxruntime


def _input_data(path: str, model: Any) -> dict[str, Any]:
    from tinynet.tasks import ARRAY_SUFFIXES, arrays

    if not path.lower().endswith(ARRAY_SUFFIXES):
        raise UsageError(f"--input-data expects an .npz or .npy file, found {path!r}")
    return arrays.load(path, model.inputs)


def open_session(runtime: Any, source: Any) -> Any:
    """onnxruntime session of a path or of the bytes of a model.  Raises FileError."""
    import os

    if isinstance(source, str) and not os.path.isfile(source):
        raise FileError(f"cannot read {source!r}: no such file")
    options = runtime.SessionOptions()
    options.log_severity_level = 4
    try:
        return runtime.InferenceSession(source, options, providers=["CPUExecutionProvider"])
    except Exception as error:
        name = repr(source) if isinstance(source, str) else "the model with its layers as outputs"
        raise FileError(f"onnxruntime cannot load {name}: {error}") from error


def run_session(session: Any, feed: dict[str, Any]) -> dict[str, Any]:
    """Output name -> array.  Inputs go by name, or by order where the names differ."""
    names = [info.name for info in session.get_inputs()]
    if len(names) != len(feed):
        raise InputError(f"the models differ: onnxruntime's has {len(names)} inputs, tinynet's {len(feed)}")
    if set(names) != set(feed):
        feed = dict(zip(names, feed.values(), strict=True))
    try:
        values = session.run(None, feed)
    except Exception as error:
        raise InputError(f"onnxruntime cannot run the model on this input: {error}") from error
    return dict(zip((info.name for info in session.get_outputs()), values, strict=True))


def compare_outputs(ours: dict[str, Any], theirs: dict[str, Any], tolerance: float) -> list[dict[str, Any]]:
    """One row per output of `theirs`; outputs go by name, or by order where the names differ."""
    if len(ours) != len(theirs):
        raise InputError(f"the models differ: onnxruntime's has {len(theirs)} outputs, tinynet's {len(ours)}")
    if set(ours) != set(theirs):
        ours = dict(zip(theirs, ours.values(), strict=True))
    return [{"name": name, **difference(ours[name], theirs[name], tolerance)} for name in theirs]


def difference(ours: Any, theirs: Any, tolerance: float) -> dict[str, Any]:
    """{"shape", "max_abs", "relative", "differing", "ok", "reason"}: how far `ours` is from `theirs`.

    `relative` is max_abs over the range of the finite values of `theirs` (over their magnitude where the range is 0).
    """
    import numpy as np

    row: dict[str, Any] = {"shape": list(theirs.shape), "max_abs": None, "relative": None, "differing": 0,
                           "ok": False, "reason": ""}
    if ours.shape != theirs.shape or ours.dtype != theirs.dtype:
        row["reason"] = f"found {ours.dtype} {list(ours.shape)}, onnxruntime has {theirs.dtype} {list(theirs.shape)}"
        return row
    integer = theirs.dtype.kind != "f"
    a, b = ours.astype(np.float64), theirs.astype(np.float64)
    finite = np.isfinite(b)
    same = np.where(finite, np.isfinite(a), (a == b) | (np.isnan(a) & np.isnan(b)))
    if not same.all():
        row["differing"] = int((~same).sum())
        row["reason"] = f"{row['differing']} elements are NaN or infinite on one side only"
        return row
    gap = np.abs(a[finite] - b[finite])
    row["max_abs"] = float(gap.max(initial=0.0))
    scale = float(np.ptp(b[finite]) or np.abs(b[finite]).max()) if gap.size else 1.0
    row["relative"] = row["max_abs"] / (scale or 1.0)
    row["differing"] = int((gap > (0 if integer else tolerance * (scale or 1.0))).sum())
    row["ok"] = row["differing"] == 0
    if not row["ok"]:
        row["reason"] = "integers differ" if integer else "above the tolerance"
    return row


def layer_rows(runtime: Any, model: Any, source: str, feed: dict[str, Any], tolerance: float) -> list[dict[str, Any]]:
    """One row per tensor that both networks compute, in the order in which ours computes them."""
    from tinynet.cli.onnx_layers import matching, with_all_outputs

    ours = model.run_all(feed)
    wanted = [name for node in model.graph.nodes for name in node.outputs if name in ours]
    bytes_, names = with_all_outputs(source, wanted)
    theirs = run_session(open_session(runtime, bytes_), feed)
    nodes = model.graph.producers()
    rows = []
    for name in wanted:
        pairs = [{"tensor": partner, **difference(array, theirs[partner], tolerance)}
                 for partner in names.get(name, ()) for array in matching(ours[name], theirs[partner])]
        if pairs:
            # Names can be ambiguous and square tensors fit in several orders; a wrong pair is never close by accident.
            best = min(pairs, key=lambda row: (not row["ok"], row["relative"] is None, row["relative"] or 0.0))
            node = nodes[name]
            moved = node.op == "reshape" and not best["ok"] and reordered(ours[name], theirs[best["tensor"]], tolerance)
            if not moved:
                rows.append({"name": node.name or name, "kind": node.op, **best})
    return rows


def reordered(ours: Any, theirs: Any, tolerance: float) -> bool:
    """Are these the same values in another order?  The converter flattens NHWC and permutes the next layer's weights
    to match, so such a tensor has no partner."""
    import numpy as np

    return difference(np.sort(ours, axis=None), np.sort(theirs, axis=None), tolerance)["ok"]


def _print(rows: list[dict[str, Any]], layers: list[dict[str, Any]] | None, first: dict[str, Any] | None,
           tolerance: float, ok: bool) -> None:
    if layers is not None:
        output.print_table(("layer", "kind", "shape", "max abs", "relative", ""),
                           [(output.shorten(row["name"]), row["kind"], *_cells(row)) for row in layers], numeric=(3, 4))
        if first:
            output.show(f"first diverging layer: {first['name']} ({first['kind']}), tensor {first['tensor']}")
        else:
            print(f"all {len(layers)} comparable layers agree")
        print()
    output.print_table(("output", "shape", "max abs", "relative", ""), [(row["name"], *_cells(row)) for row in rows],
                       numeric=(2, 3))
    verdict = output.paint("equal within", "green") if ok else output.paint("NOT equal within", "red")
    print(f"{verdict} {tolerance:g} of the range")


def _cells(row: dict[str, Any]) -> tuple[str, str, str, str]:
    numbers = ("-" if row[key] is None else f"{row[key]:.3g}" for key in ("max_abs", "relative"))
    return (output.shape(row["shape"]), *numbers, "ok" if row["ok"] else f"FAILED: {row['reason']}")
