"""What goes into the engines, and whether what comes out is right."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np

# Operators of 8-bit networks: QDQ, the integer forms, onnxruntime's own ("QLinearAdd", "DynamicQuantizeMatMul", ...).
INTEGER_OPERATORS = ("QuantizeLinear", "DequantizeLinear", "QLinear", "DynamicQuantize", "ConvInteger", "MatMulInteger")


class Unusable(Exception):
    """The model cannot be benchmarked; one line."""


def read_graph(model: Path) -> Any:
    """The onnx.GraphProto.  Raises Unusable."""
    import onnx

    try:
        return onnx.load(model, load_external_data=False).graph
    except Exception as error:
        raise Unusable(f"{model.name}: not a readable ONNX file ({type(error).__name__})") from None


def is_quantized(model: Path) -> bool:
    """Does it compute with 8-bit integers?"""
    return any(node.op_type.startswith(INTEGER_OPERATORS) for node in read_graph(model).node)


def precision_of(models: Iterable[Path]) -> str:
    """float32, int8, or mixed."""
    found = {is_quantized(model) for model in models}
    return "mixed" if len(found) == 2 else "int8" if True in found else "float32"


def model_io(model: Path) -> tuple[dict[str, tuple[tuple[int, ...], np.dtype]], list[str]]:
    """({input name: (shape, dtype)}, [output name]) of an ONNX file, in its order.  An open batch dimension is 1."""
    import onnx

    graph = read_graph(model)
    weights = {w.name for w in graph.initializer}
    inputs = {}
    for value in graph.input:
        if value.name in weights:
            continue
        tensor = value.type.tensor_type
        shape = [d.dim_value for d in tensor.shape.dim]
        if 0 in shape[1:]:
            raise Unusable(f"{model.name}: input {value.name!r} has open dimensions {shape}: expected a static shape")
        dtype = np.dtype(onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type))
        inputs[value.name] = tuple(d or 1 for d in shape), dtype
    return inputs, [o.name for o in graph.output]


def make_inputs(model: Path, seed: int = 0) -> tuple[list[str], list[np.ndarray], list[str]]:
    """(input names, arrays, output names).  Arrays in0, in1, ... of the .npz beside the model, else noise (seed 0)."""
    inputs, outputs = model_io(model)
    beside = model.with_suffix(".npz")
    if beside.exists():
        with np.load(beside) as file:
            arrays = [file[f"in{i}"] for i in range(len(inputs)) if f"in{i}" in file.files]
        if [(a.shape, a.dtype) for a in arrays] == list(inputs.values()):
            return list(inputs), arrays, outputs
    rng = np.random.default_rng(seed)
    return list(inputs), [noise(rng, shape, dtype) for shape, dtype in inputs.values()], outputs


def noise(rng: np.random.Generator, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """Normal numbers; any 8-bit integers; 0 and 1 of wider ones, which may be indices."""
    if dtype.kind == "f":
        return rng.standard_normal(shape).astype(dtype)
    low, high = (np.iinfo(dtype).min, np.iinfo(dtype).max) if dtype.kind in "iu" and dtype.itemsize == 1 else (0, 1)
    return rng.integers(low, high, shape, endpoint=True).astype(dtype)


def nudge(arrays: list[np.ndarray], seed: int = 1) -> list[np.ndarray]:
    """Moved by less than 8 bits tell apart: floats by up to half a 255th of their range, a tenth of 8-bit integers by 1."""
    rng = np.random.default_rng(seed)
    moved = []
    for array in arrays:
        if array.dtype.kind == "f" and array.size:
            step = np.ptp(array) / 255
            array = (array + rng.uniform(-step / 2, step / 2, array.shape)).astype(array.dtype)
        elif array.dtype.kind in "iu" and array.dtype.itemsize == 1:
            bounds = np.iinfo(array.dtype)
            steps = rng.choice([-1, 0, 1], array.shape, p=[0.05, 0.9, 0.05])
            array = np.clip(array + steps, bounds.min, bounds.max).astype(array.dtype)
        moved.append(array)
    return moved


def in_order(found: np.ndarray, expected: np.ndarray) -> np.ndarray:
    """Engines drop the batch axis or keep pictures NHWC: `found`, of the size of `expected`, turned to its shape."""
    if found.shape == expected.shape:
        return found
    turned = np.moveaxis(found, -1, 1) if found.ndim > 2 else found
    return turned if turned.shape == expected.shape else found.reshape(expected.shape)


def error_of(found: np.ndarray, expected: np.ndarray) -> float:
    """Largest difference relative to the range of `expected`; for integers the share of elements that differ.

    Infinite if sizes differ or something is not a number.
    """
    if found.size != expected.size:
        return float("inf")
    found = in_order(found, expected)
    if expected.dtype.kind not in "fc":
        return float(np.mean(found != expected)) if expected.size else 0.0
    if not expected.size:
        return 0.0
    wide = expected.astype(np.float64)
    worst = np.abs(found.astype(np.float64) - wide).max()
    span = wide.max() - wide.min() or np.abs(wide).max() or 1.0
    return float(worst / span) if np.isfinite(worst) else float("inf")


def noise_of(found: np.ndarray, expected: np.ndarray) -> float:
    """Root of the mean square of the difference, relative to that of `expected` around its mean: 0.1 is an SQNR of 20 dB.

    The measure for 8-bit networks, where one rounding that falls the other way moves a result by a whole step.
    """
    if found.size != expected.size:
        return float("inf")
    if not expected.size:
        return 0.0
    wide = expected.astype(np.float64)
    worst = np.sqrt(np.mean((in_order(found, expected).astype(np.float64) - wide) ** 2))
    scale = wide.std() or np.abs(wide).max() or 1.0
    return float(worst / scale) if np.isfinite(worst) else float("inf")


def read_outputs(path: Path, found_names: list[str] | None, names: list[str]) -> list[np.ndarray]:
    """Arrays of a worker's outputs file in the model's order."""
    with np.load(path) as file:
        arrays = [file[f"out{i}"] for i in range(len(file.files))]
    if found_names is None or set(found_names) != set(names):
        return arrays
    return [arrays[found_names.index(name)] for name in names]


def worst_error(found: list[np.ndarray], expected: list[np.ndarray],
                measure: Callable[[np.ndarray, np.ndarray], float] = error_of) -> float:
    """Largest `measure` over the outputs.  Where only their sizes can say which is which, they do."""
    if len(found) != len(expected):
        return float("inf")
    sizes = {f.size: f for f in found}
    if len(sizes) == len(found) and set(sizes) == {e.size for e in expected}:
        found = [sizes[e.size] for e in expected]
    return max(measure(f, e) for f, e in zip(found, expected, strict=True))
