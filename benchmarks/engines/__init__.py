"""One small file per engine.

An adapter is a module with:

    PIP                          what to install for it
    OPTIONS                      one line: the settings that matter, for the published tables
    prepare(model, folder)       -> path that `Engine` loads: the .onnx itself, or a file converted into `folder`; runs
                                 in a process of its own, so nothing of it is in the figures
    Engine(prepared, threads)    loads; this is the load time (the package is imported before, by `prepare_import`)
    prepare_import()             imports the package and returns its version
    Engine.bind(inputs)          takes {ONNX input name: array} in the order of the source, wraps them; not timed
    Engine.run()                 one inference up to results that numpy can read; this is what is timed
    Engine.outputs()             -> arrays in the order of the ONNX outputs, or {ONNX output name: array}
    CACHED                       optional, True: `prepare` converts, and what it writes is kept between runs (conversions.py)
    LIMITS                       optional, {instruction set level of tinynet: environment variables that keep the engine's
                                 kernels to it}
    LIMIT_BY_AFFINITY            optional, True: the process may use only `threads` CPUs, set before the import

Numpy, this package's standard-library-only modules and the engine itself are all that may be imported.  `Skip(reason)`
says that an engine cannot run a model.
"""

from __future__ import annotations

NAMES = ("tinynet", "onnxruntime", "openvino", "ncnn", "mnn", "opencv", "litert")


class Skip(Exception):
    """The engine cannot run this model; the text says why in one line."""
