"""Our quantiser beside onnxruntime's: the same float network, the same calibration data, judged on other inputs.

onnxruntime: quant_pre_process, then quantize_static with its defaults (QDQ, MinMax) but int8 weights per channel.  Error is
measured against the float network, by the engine that runs the quantised one: SQNR of each output in dB, mean over them.
"""

from __future__ import annotations

import logging
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmarks import detections, report
from benchmarks.harness import progress
from benchmarks.quantize_data import NETWORKS, Case, cases


class Score(NamedTuple):
    """`sqnr` dB; `agreement`: share of the same top class, `accuracy`; `lost`: boxes above 0.5 not found again, of `boxes`."""

    sqnr: float
    agreement: float | None
    accuracy: float | None
    lost: int | None
    boxes: int | None


def sqnr(real: list[list[np.ndarray]], found: list[list[np.ndarray]]) -> float:
    values = []
    for k in range(len(real[0])):
        a = np.concatenate([row[k].reshape(-1) for row in real]).astype(np.float64)
        b = np.concatenate([row[k].reshape(-1) for row in found]).astype(np.float64)
        values.append(10 * np.log10((a @ a) / max((a - b) @ (a - b), 1e-30)))
    return float(np.mean(values))


def score(case: Case, real: list[list[np.ndarray]], found: list[list[np.ndarray]]) -> Score:
    agreement = accuracy = lost = boxes = None
    decode = detections.DECODERS.get(case.name)
    if decode:
        pairs = [(decode(a), decode(b)) for a, b in zip(real, found, strict=True)]
        lost = sum(len(detections.lost(*pair)) for pair in pairs)
        boxes = sum(box.score > 0.5 for wanted, _ in pairs for box in wanted)
    elif len(real[0]) == 1 and real[0][0].size < 2000:
        tops = [(int(a[0].argmax()), int(b[0].argmax())) for a, b in zip(real, found, strict=True)]
        agreement = float(np.mean([a == b for a, b in tops]))
        if case.labels is not None:
            accuracy = float(np.mean([b == label for (_, b), label in zip(tops, case.labels, strict=True)]))
    return Score(sqnr(real, found), agreement, accuracy, lost, boxes)


def onnxruntime_int8(case: Case, folder: Path) -> bytes:
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Reader(CalibrationDataReader):
        def __init__(self) -> None:
            self.rows = iter(case.calibrate)

        def get_next(self) -> dict[str, np.ndarray] | None:
            row = next(self.rows, None)
            return None if row is None else {name: row}

    import onnx
    import onnx.version_converter

    source = onnx.load(case.model)
    name = source.graph.input[0].name
    if source.opset_import[0].version < 13:     # the first whose QuantizeLinear has scales per channel
        source = onnx.version_converter.convert_version(source, 13)
    newer, prepared, quantised = folder / "newer.onnx", folder / "prepared.onnx", folder / "int8.onnx"
    onnx.save(source, newer)
    logging.disable(logging.WARNING)
    quant_pre_process(newer, prepared, skip_symbolic_shape=True)
    quantize_static(prepared, quantised, Reader(), quant_format=QuantFormat.QDQ, per_channel=True,
                    activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8)
    logging.disable(logging.NOTSET)
    return quantised.read_bytes()


def run_onnxruntime(model: Any, inputs: list[np.ndarray]) -> list[list[np.ndarray]]:
    import onnxruntime

    onnxruntime.set_default_logger_severity(3)
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return [session.run(None, {name: x}) for x in inputs]


def run_tinynet(data: bytes, inputs: list[np.ndarray]) -> list[list[np.ndarray]]:
    import tinynet

    model = tinynet.load(data)
    return [list(model.run({model.inputs[0].name: x}).values()) for x in inputs]


def bench(case: Case, method: str | None) -> dict[str, Any]:
    """One network: {"model", "calibrated", "judged", "tinynet": Score, "onnxruntime": Score, "method", ...}"""
    import onnx

    from tinynet.converters import convert_bytes

    info = onnx.load(case.model).graph.input[0]
    shapes = {info.name: case.judge[0].shape}
    data, made = convert_bytes(case.model, inputs=shapes, int8=case.calibrate, method=method)
    real = run_onnxruntime(str(case.model), case.judge)
    ours = score(case, real, run_tinynet(data, case.judge))
    float_score = score(case, real, real)
    with tempfile.TemporaryDirectory(prefix="tinynet-quantize-") as folder:
        theirs = score(case, real, run_onnxruntime(onnxruntime_int8(case, Path(folder)), case.judge))
    found = made.quantization
    return {"model": case.name, "calibrated": len(case.calibrate), "judged": len(case.judge), "method": found.method,
            "float_accuracy": float_score.accuracy, "tinynet": ours._asdict(), "onnxruntime": theirs._asdict(),
            "float_bytes": found.float_bytes, "int8_bytes": len(data), "seconds": made.seconds,
            "float_layers": [layer.name for layer in found.layers if not layer.integer]}


def percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f} %"


def cells(row: dict[str, Any]) -> list[str]:
    ours, theirs = row["tinynet"], row["onnxruntime"]
    same = [percent(s["agreement"]) if s["boxes"] is None else f"{s['boxes'] - s['lost']}/{s['boxes']}"
            for s in (ours, theirs)]
    accuracy = [percent(v) for v in (row["float_accuracy"], ours["accuracy"], theirs["accuracy"])]
    quality = [f"{ours['sqnr']:.1f}", f"{theirs['sqnr']:.1f}", f"{ours['sqnr'] - theirs['sqnr']:+.1f}"]
    size = f"{100 * row['int8_bytes'] / row['float_bytes']:.1f} %"
    return [row["model"], str(row["judged"]), *quality, *same, *accuracy, size, row["method"], f"{row['seconds']:.1f}"]


HEADER = ("model", "judged on", "SQNR dB", "ORT's", "gain", "same", "ORT's", "accuracy fp32", "int8", "ORT's",
          "size", "method", "s")


def main(chosen: list[str], method: str | None, json_name: str | None) -> int:
    unknown = [name for name in chosen if name not in NETWORKS]
    if unknown:
        raise ValueError(f"there is no network {unknown[0]!r}; known: {', '.join(NETWORKS)}")
    rows = []
    for case in cases(chosen):
        progress(f"{case.name} ...")
        rows.append(bench(case, method))
    if not rows:
        raise ValueError("no network is there: TINYNET_SHARED names their folder")
    print(report.grid(HEADER, [cells(row) for row in rows], left=1))
    gains = [row["tinynet"]["sqnr"] - row["onnxruntime"]["sqnr"] for row in rows]
    higher = sum(gain > 0 for gain in gains)
    print(f"SQNR higher than onnxruntime's on {higher} of {len(gains)}, least gain {min(gains):+.1f} dB")
    if json_name:
        progress(f"written: {report.write_json(json_name, 'quantize', {'rows': rows})}")
    return 0
