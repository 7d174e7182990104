"""OpenCV's dnn module, engine chosen by itself.  setNumThreads(1) crashes OpenCV 5, so threads are CPUs to run on."""

from __future__ import annotations

from pathlib import Path

import numpy as np

PIP = "opencv-python-headless"
OPTIONS = "ENGINE_AUTO; threads limited by CPU affinity"
LIMIT_BY_AFFINITY = True
LIMITS = {"avx2": {"OPENCV_CPU_DISABLE": "AVX512-SKX,AVX512-ICL"}}


def prepare(model: Path, folder: Path) -> Path:
    return model


def prepare_import() -> str:
    import cv2

    return cv2.__version__


class Engine:
    def __init__(self, prepared: Path, threads: int):
        import cv2

        self.net = cv2.dnn.readNetFromONNX(str(prepared))
        self.names = list(self.net.getUnconnectedOutLayersNames())

    def bind(self, inputs: dict[str, np.ndarray]) -> None:
        self.inputs = inputs

    def run(self) -> None:
        for name, array in self.inputs.items():
            self.net.setInput(array, name)
        self.results = self.net.forward(self.names)

    def outputs(self) -> dict[str, np.ndarray]:
        return {name: np.asarray(result) for name, result in zip(self.names, self.results, strict=True)}
