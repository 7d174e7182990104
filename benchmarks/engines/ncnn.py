"""ncnn, converted by pnnx; everything that would make it less than fp32 is off."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np

PIP = "ncnn pnnx onnx"
OPTIONS = "pnnx fp16=0; fp16, bf16 and int8 options off, light mode"
CACHED = True
OFF = ("use_fp16_packed", "use_fp16_storage", "use_fp16_arithmetic", "use_bf16_storage", "use_bf16_packed",
       "use_int8_inference", "use_int8_packed", "use_int8_storage", "use_int8_arithmetic", "use_vulkan_compute")


def prepare(model: Path, folder: Path) -> Path:
    import onnx
    import pnnx

    from benchmarks.engines import Skip
    from benchmarks.inputs import is_quantized

    if is_quantized(model):
        raise Skip("the wheel has neither ncnn2table nor ncnn2int8, which make ncnn's 8-bit form")
    source = folder / (model.stem + ".onnx")
    source.symlink_to(model.resolve())      # pnnx writes its files beside the model
    graph = onnx.load(model, load_external_data=False).graph
    weights = {w.name for w in graph.initializer}
    kinds = {onnx.TensorProto.FLOAT: "f32", onnx.TensorProto.INT64: "i64", onnx.TensorProto.INT32: "i32"}
    shapes = []
    for value in graph.input:
        if value.name not in weights:
            tensor = value.type.tensor_type
            sizes = ",".join(str(d.dim_value or 1) for d in tensor.shape.dim)
            shapes.append(f"[{sizes}]{kinds.get(tensor.elem_type, 'f32')}")
    done = subprocess.run([pnnx.EXEC_PATH, source.name, "inputshape=" + ",".join(shapes), "fp16=0"], cwd=folder,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    target = folder / (model.stem + ".ncnn.param")
    if done.returncode or not target.exists():
        raise Skip(f"pnnx failed with exit code {done.returncode}: {done.stdout.strip().splitlines()[-1:]}")
    for file in folder.iterdir():           # pnnx's own forms hold the weights twice more
        if file.name not in (target.name, target.with_suffix(".bin").name):
            file.unlink()
    return target


def prepare_import() -> str:
    import ncnn

    return ncnn.__version__


class Engine:
    def __init__(self, prepared: Path, threads: int):
        import ncnn

        from benchmarks.engines import Skip

        self.net = ncnn.Net()
        self.net.opt.num_threads = threads
        self.net.opt.lightmode = True
        for option in OFF:
            if hasattr(self.net.opt, option):
                setattr(self.net.opt, option, False)
        if self.net.load_param(str(prepared)) or self.net.load_model(str(prepared.with_suffix(".bin"))):
            raise Skip("ncnn cannot load what pnnx wrote (a layer that ncnn lacks)")

    def bind(self, inputs: dict[str, np.ndarray]) -> None:
        import ncnn

        # ncnn has no batch axis.  The clone gives the matrix memory of ncnn's own, aligned as it likes it.
        arrays = [np.ascontiguousarray(a[0] if a.ndim > 1 and a.shape[0] == 1 else a) for a in inputs.values()]
        self.inputs = [ncnn.Mat(a).clone() for a in arrays]

    def run(self) -> None:
        extractor = self.net.create_extractor()
        for i, mat in enumerate(self.inputs):
            extractor.input(f"in{i}", mat)
        self.results = [extractor.extract(name)[1] for name in sorted_names(self.net.output_names())]

    def outputs(self) -> list[np.ndarray]:
        return [np.array(mat) for mat in self.results]


def sorted_names(names: list[str]) -> list[str]:
    """pnnx calls the outputs out0, out1, ... in the order of the source; the net lists them in any order."""
    return sorted(names, key=lambda n: int(n[3:]))
