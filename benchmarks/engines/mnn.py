"""MNN through its session interface."""

from __future__ import annotations

from pathlib import Path

import numpy as np

PIP = "MNN (in a virtual environment of its own; name its python in BENCH_PYTHON_MNN)"
OPTIONS = "precision high"
CACHED = True


def prepare(model: Path, folder: Path) -> Path:
    # MNN.tools.mnnconvert would do, but importing it runs `pip install` in a shell and reports the conversion to a
    # server; this is the function that it calls.  Recurrent layers as loops over subgraphs would not run in a session.
    import _tools
    import MNN  # noqa: F401  loads the library that _tools needs

    from benchmarks.engines import Skip

    target = folder / (model.stem + ".mnn")
    _tools.mnnconvert(["mnnconvert", "-f", "ONNX", "--modelFile", str(model), "--MNNModel", str(target),
                       "--bizCode", "x", "--useOriginRNNImpl"])
    if not target.exists():
        raise Skip("MNN's converter refused the model")
    return target


def prepare_import() -> str:
    import MNN

    return MNN.version()


class Engine:
    def __init__(self, prepared: Path, threads: int):
        import MNN

        self.net = MNN.Interpreter(str(prepared))
        self.session = self.net.createSession({"backend": "CPU", "numThread": threads, "precision": "high"})

    def bind(self, inputs: dict[str, np.ndarray]) -> None:
        import MNN

        from benchmarks.engines import Skip

        caffe = MNN.Tensor_DimensionType_Caffe
        kinds = {"float32": MNN.Halide_Type_Float, "int32": MNN.Halide_Type_Int, "uint8": MNN.Halide_Type_Uint8}
        slots = self.net.getSessionInputAll(self.session)
        if any(str(a.dtype) not in kinds for a in inputs.values()):
            raise Skip(f"the MNN adapter knows inputs of {', '.join(kinds)}")
        self.arrays = {name: np.ascontiguousarray(a) for name, a in inputs.items()}
        self.pairs = [(slots[name], MNN.Tensor(a.shape, kinds[str(a.dtype)], a, caffe))
                      for name, a in self.arrays.items()]
        self.targets = {}
        for name, source in self.net.getSessionOutputAll(self.session).items():
            kind, shape = source.getDataType(), source.getShape()
            dtype = next(name for name, value in kinds.items() if value == kind)
            self.targets[name] = source, MNN.Tensor(shape, kind, np.zeros(shape, dtype), caffe)

    def run(self) -> None:
        # MNN's inputs lie in memory that a run may overwrite, so filling them is a part of every run.
        for slot, tensor in self.pairs:
            slot.copyFrom(tensor)
        self.net.runSession(self.session)
        for source, target in self.targets.values():
            source.copyToHostTensor(target)

    def outputs(self) -> dict[str, np.ndarray]:
        return {name: np.array(target.getNumpyData()) for name, (_, target) in self.targets.items()}
