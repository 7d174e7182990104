"""LiteRT (TensorFlow Lite) with XNNPACK, for models that have a .tflite file of the same name beside the .onnx.

For NAME_qdq.onnx and NAME.qdq.onnx that is NAME_int8.tflite, or NAME.tflite if it takes integers.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

PIP = "ai-edge-litert"
OPTIONS = "XNNPACK delegate, the .tflite beside the model"


def prepare(model: Path, folder: Path) -> Path:
    from benchmarks.engines import Skip

    stem = model.stem.removesuffix(".qdq").removesuffix("_qdq")
    names = [f"{stem}.tflite"] if stem == model.stem else [f"{stem}_int8.tflite", f"{stem}.tflite"]
    for name in names:
        if model.with_name(name).exists():
            return model.with_name(name)
    raise Skip("there is no .tflite beside the model")


def prepare_import() -> str:
    from importlib.metadata import version

    import ai_edge_litert.interpreter  # noqa: F401

    return version("ai-edge-litert")


class Engine:
    def __init__(self, prepared: Path, threads: int):
        from ai_edge_litert.interpreter import Interpreter

        self.net = Interpreter(model_path=str(prepared), num_threads=threads)
        self.net.allocate_tensors()

    def bind(self, inputs: dict[str, np.ndarray]) -> None:
        """Pictures are NHWC here: an array that only fits that way is turned."""
        from benchmarks.engines import Skip

        for array, info in zip(inputs.values(), self.net.get_input_details(), strict=True):
            if info["dtype"] != array.dtype:
                raise Skip(f"the .tflite beside the model takes {info['dtype'].__name__}, the model {array.dtype}")
            shape = tuple(info["shape"])
            if array.shape != shape:
                turned = np.moveaxis(array, 1, -1)
                array = turned if turned.shape == shape else array.reshape(shape)
            self.net.set_tensor(info["index"], np.ascontiguousarray(array))

    def run(self) -> None:
        self.net.invoke()

    def outputs(self) -> list[np.ndarray]:
        return [self.net.get_tensor(info["index"]) for info in self.net.get_output_details()]
