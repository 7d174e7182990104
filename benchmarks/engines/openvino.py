"""OpenVINO's CPU plugin.  Without the precision hint it takes bfloat16 by itself where the CPU has it.

The hint is about what is left in floating point: layers between QuantizeLinear and DequantizeLinear run as integers whatever
it says, if their weights are symmetric.  `integer_layers` counts them.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

PIP = "openvino"
OPTIONS = "INFERENCE_PRECISION_HINT f32, LATENCY, one stream, IR file"
CACHED = True
# oneDNN's layers; a few of the plugin's own, such as softmax, have no switch in release builds.
LIMITS = {"avx2": {"ONEDNN_MAX_CPU_ISA": "AVX2"}}


def prepare(model: Path, folder: Path) -> Path:
    import openvino

    target = folder / (model.stem + ".xml")
    network = openvino.convert_model(str(model))
    # Open batch dimensions are 1, as the inputs have them: layers of open sizes run slower.
    network.reshape({port: openvino.PartialShape([d if d.is_static else 1 for d in port.get_partial_shape()])
                     for port in network.inputs})
    openvino.save_model(network, str(target), compress_to_fp16=False)
    return target


def prepare_import() -> str:
    import openvino

    return openvino.__version__.split("-")[0]


class Engine:
    def __init__(self, prepared: Path, threads: int):
        import openvino

        self.compiled = openvino.Core().compile_model(str(prepared), "CPU", {
            "INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": threads, "NUM_STREAMS": 1,
            "PERFORMANCE_HINT": "LATENCY"})
        self.request = self.compiled.create_infer_request()

    def bind(self, inputs: dict[str, np.ndarray]) -> None:
        import openvino

        self.arrays = inputs
        for name, array in inputs.items():
            self.request.set_tensor(name, openvino.Tensor(array, shared_memory=True))

    def run(self) -> None:
        self.request.infer()

    def integer_layers(self) -> tuple[int, int]:
        """(convolutions and dense layers that run as integers, all of them)."""
        layers = [layer.get_rt_info() for layer in self.compiled.get_runtime_model().get_ops()]
        chosen = [info["primitiveType"].astype(str) for info in layers
                  if info["layerType"].astype(str) in ("Convolution", "FullyConnected", "MatMul")]
        return sum(kind.lower().endswith("_i8") for kind in chosen), len(chosen)

    def outputs(self) -> list[np.ndarray]:
        return [np.array(self.request.get_output_tensor(i).data) for i in range(len(self.compiled.outputs))]
