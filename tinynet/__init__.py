"""tinynet: run a neural network on a CPU-only board.

    import tinynet
    model = tinynet.load("mobilenet.tnb")
    print(model("photo.jpg"))                  # a result for people
    outputs = model.run({"input": array})      # arrays

Importing is cheap: numpy and the engine are loaded by the first `load` or `convert`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"
__all__ = ["Model", "TinynetError", "__version__", "convert", "load", "quantize", "register"]

if TYPE_CHECKING:
    from tinynet.converters import convert
    from tinynet.converters.quantize import quantize
    from tinynet.custom import register
    from tinynet.errors import TinynetError
    from tinynet.model import Model


def load(source: Any, threads: int | None = None, max_ram: int | None = None, max_macs: int | None = None,
         mmap: bool = True, verify: bool = True, winograd: bool = True, tune: bool = False) -> Model:
    """A Model from a `.tnb` file (path or bytes), or from an `.onnx` path, which is converted in memory.

    threads: how many a run may use; default TINYNET_NUM_THREADS, else the CPUs that the process may use.
    max_ram: bytes that one run may need besides the weights and its inputs; max_macs: multiply-accumulates, and
    likewise elements moved or compared by layers that multiply nothing.  LimitError beyond, before anything is allocated.
    mmap: map the file (pages are shared between processes, and read when they are needed) or, with False, read it: a
    mapped file that somebody shortens while it is in use ends the process with SIGBUS.
    winograd: let 3x3 convolutions that gain from it use Winograd's algorithm, which takes memory for transformed weights (not
    if max_ram forbids it) and rounds a little differently.
    tune: time Winograd's algorithm against direct convolution for each such layer, on this machine, while loading (tens of
    milliseconds for each different layer).  float32 results then depend on which was faster.
    verify: read the whole file once and compare its checksum; False loads huge files lazily.

    Raises FileError (missing, unreadable), FormatError (corrupt), UnsupportedOpError, LimitError, UsageError.
    """
    import os

    from tinynet import format
    from tinynet.model import Model, check_threads

    threads = check_threads(threads)
    if isinstance(source, (str, os.PathLike)) and os.fspath(source).endswith(".onnx"):
        from tinynet.converters import convert_bytes

        source, _ = convert_bytes(source)
    buffer, name = format.open_buffer(source, mmap=mmap)
    graph = format.read(buffer, name)
    if verify:
        format.verify(buffer, name, threads)
    if graph.open:
        from tinynet.open_model import OpenModel

        return OpenModel(graph, buffer, threads, max_ram, max_macs, winograd, tune)
    return Model(graph, buffer, threads, max_ram, max_macs, winograd, tune)


def __getattr__(name: str) -> Any:
    # PEP 562: names that need numpy or onnx are imported when they are first used.
    if name == "convert":
        from tinynet.converters import convert

        return convert
    if name == "quantize":
        from tinynet.converters.quantize import quantize

        return quantize
    if name == "Model":
        from tinynet.model import Model

        return Model
    if name == "TinynetError":
        from tinynet.errors import TinynetError

        return TinynetError
    if name == "register":
        from tinynet.custom import register

        return register
    raise AttributeError(f"module 'tinynet' has no attribute {name!r}")
