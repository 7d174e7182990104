"""onnxruntime, CPU provider, all graph optimisations; its thread pool may spin, as by default."""

from __future__ import annotations

from pathlib import Path

import numpy as np

PIP = "onnxruntime"
OPTIONS = "ORT_ENABLE_ALL, inter_op 1, spinning as by default"


def prepare(model: Path, folder: Path) -> Path:
    return model


def prepare_import() -> str:
    import onnxruntime

    return onnxruntime.__version__


class Engine:
    def __init__(self, prepared: Path, threads: int):
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
        options.log_severity_level = 3
        self.session = onnxruntime.InferenceSession(str(prepared), options, providers=["CPUExecutionProvider"])
        self.names = [o.name for o in self.session.get_outputs()]

    def bind(self, inputs: dict[str, np.ndarray]) -> None:
        self.feeds = inputs

    def run(self) -> None:
        self.results = self.session.run(self.names, self.feeds)

    def outputs(self) -> list[np.ndarray]:
        return self.results
