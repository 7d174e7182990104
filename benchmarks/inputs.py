"""What goes into the engines, and whether what comes out is right."""

from __future__ import annotations

from pathlib import Path

import numpy as np


class Unusable(Exception):
    """The model cannot be benchmarked; one line."""


def model_io(model: Path) -> tuple[dict[str, tuple[tuple[int, ...], np.dtype]], list[str]]:
    """({input name: (shape, dtype)}, [output name]) of an ONNX file, in its order.  An open batch dimension is 1."""
    import onnx

    try:
        graph = onnx.load(model, load_external_data=False).graph
    except Exception as error:
        raise Unusable(f"{model.name}: not a readable ONNX file ({type(error).__name__})") from None
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
    arrays = [rng.standard_normal(shape).astype(dtype) if dtype.kind == "f" else rng.integers(0, 2, shape).astype(dtype)
              for shape, dtype in inputs.values()]
    return list(inputs), arrays, outputs


def error_of(found: np.ndarray, expected: np.ndarray) -> float:
    """Largest difference relative to the range of `expected`; for integers the share of elements that differ.

    Engines drop the batch axis or keep pictures NHWC: an array that has the right elements in such an order is turned.
    Infinite if sizes differ or something is not a number.
    """
    if found.size != expected.size:
        return float("inf")
    if found.shape != expected.shape:
        turned = np.moveaxis(found, -1, 1) if found.ndim > 2 else found
        found = turned if turned.shape == expected.shape else found.reshape(expected.shape)
    if expected.dtype.kind not in "fc":
        return float(np.mean(found != expected)) if expected.size else 0.0
    if not expected.size:
        return 0.0
    wide = expected.astype(np.float64)
    worst = np.abs(found.astype(np.float64) - wide).max()
    span = wide.max() - wide.min() or np.abs(wide).max() or 1.0
    return float(worst / span) if np.isfinite(worst) else float("inf")


def read_outputs(path: Path, found_names: list[str] | None, names: list[str]) -> list[np.ndarray]:
    """Arrays of a worker's outputs file in the model's order."""
    with np.load(path) as file:
        arrays = [file[f"out{i}"] for i in range(len(file.files))]
    if found_names is None or set(found_names) != set(names):
        return arrays
    return [arrays[found_names.index(name)] for name in names]


def worst_error(found: list[np.ndarray], expected: list[np.ndarray]) -> float:
    """Largest `error_of` over the outputs.  Where only their sizes can say which is which, they do."""
    if len(found) != len(expected):
        return float("inf")
    sizes = {f.size: f for f in found}
    if len(sizes) == len(found) and set(sizes) == {e.size for e in expected}:
        found = [sizes[e.size] for e in expected]
    return max(error_of(f, e) for f, e in zip(found, expected, strict=True))
