"""tinynet itself, from a .tnb file: the public `run`, results in arrays of the caller."""

from __future__ import annotations

from pathlib import Path

import numpy as np

PIP = "tinynet-engine[convert]"
OPTIONS = "run(), .tnb file"


def prepare(model: Path, folder: Path) -> Path:
    import tinynet
    from benchmarks.inputs import model_io

    target = folder / (model.stem + ".tnb")
    tinynet.convert(model, target, inputs={name: shape for name, (shape, _) in model_io(model)[0].items()})
    return target


def prepare_import() -> str:
    import tinynet
    import tinynet.model
    from tinynet import kernels

    return f"{tinynet.__version__} {kernels.isa()}"


class Engine:
    def __init__(self, prepared: Path, threads: int):
        import tinynet

        self.model = tinynet.load(prepared, threads=threads)

    def bind(self, inputs: dict[str, np.ndarray]) -> None:
        self.inputs = inputs

    def run(self) -> None:
        self.results = self.model.run(self.inputs)

    def outputs(self) -> list[np.ndarray]:
        return list(self.results.values())
