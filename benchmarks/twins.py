"""8-bit twins of float32 ONNX networks, made by onnxruntime's static quantiser.

Per-channel int8 weights, activations calibrated (minimum and maximum) on the array beside the network (NAME.npz, see
`inputs.py`) and noise of its mean and spread.  Calibration on noise says nothing about accuracy: twins are for speed, and
for comparing engines with each other on the same integers.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.inputs import make_inputs

FORMATS = ("qdq", "qoperator")
SAMPLES = 8


def samples(model: Path, count: int = SAMPLES) -> Iterator[dict[str, np.ndarray]]:
    names, arrays, _ = make_inputs(model)
    rng = np.random.default_rng(1)
    yield dict(zip(names, arrays, strict=True))
    for _ in range(count - 1):
        yield {name: rng.normal(a.mean(), a.std(), a.shape).astype(a.dtype) if a.dtype.kind == "f" else rng.permuted(a)
               for name, a in zip(names, arrays, strict=True)}


def make_twin(model: Path, target: Path, form: str = "qdq", activations: str = "uint8", per_channel: bool = True,
              reduce_range: bool = False, calibration: Sequence[dict[str, np.ndarray]] | None = None) -> Path:
    """Write the 8-bit network; `activations` uint8 or int8.  Weights are int8, and symmetric."""
    from onnxruntime import quantization as q

    with tempfile.TemporaryDirectory() as folder:
        prepared = Path(folder) / "prepared.onnx"
        q.quant_pre_process(str(model), str(prepared), skip_symbolic_shape=True)
        q.quantize_static(
            str(prepared), str(target), _Reader(calibration or samples(model)), per_channel=per_channel,
            reduce_range=reduce_range, quant_format=q.QuantFormat.QDQ if form == "qdq" else q.QuantFormat.QOperator,
            weight_type=q.QuantType.QInt8, activation_type=q.QuantType.QUInt8 if activations == "uint8" else q.QuantType.QInt8)
    return target


class _Reader:
    """What quantize_static asks for samples."""

    def __init__(self, calibration: Any):
        self._left = iter(calibration)

    def get_next(self) -> dict[str, np.ndarray] | None:
        return next(self._left, None)


def main(models: Sequence[Path], out: Path, form: str, activations: str) -> int:
    out.mkdir(parents=True, exist_ok=True)
    for model in models:
        print(make_twin(model, out / f"{model.stem}.{form}.onnx", form, activations), flush=True)
    return 0
