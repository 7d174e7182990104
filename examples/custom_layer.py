"""A layer that tinynet does not have, written in Python: in numpy, and as a kernel compiled by Numba.

    python examples/custom_layer.py

A network holds the operator Smooth of the domain com.example, a leaky integrator along the last axis as audio networks have
it (y[t] = (1 - s) y[t - 1] + s x[t], the smoother of PCEN: Wang et al. 2017).  It is converted and run twice: with the layer
as a numpy step, and with a kernel that the network's program calls as it calls its own.
"""

from __future__ import annotations

import sys
import time

import numpy as np

import tinynet
from tinynet.custom import KERNEL_SIGNATURE


def smooth(x: np.ndarray, s: float) -> np.ndarray:
    """The layer's meaning; x has the axes of the source.  The shape rule is the default: the output is like the input."""
    y = np.empty_like(x)
    state = np.zeros(x.shape[:-1], np.float32)
    for t in range(x.shape[-1]):
        state += np.float32(s) * (x[..., t] - state)
        y[..., t] = state
    return y


def register(kernel: object = None) -> None:
    """The kind's name goes into the file; the ONNX operator with the same attributes becomes it."""
    tinynet.register("example.smooth", attributes={"s": 0.1}, onnx=("com.example", "Smooth"), kernel=kernel)(smooth)


def numba_kernel() -> object:
    """The same as a C function.  tensors: inputs, then outputs; shapes[0] is the first one's rank, its extents follow."""
    import numba

    @numba.cfunc(KERNEL_SIGNATURE)
    def kernel(tensors, shapes, attributes):
        rank = shapes[0]
        steps = shapes[rank]
        rows = 1
        for axis in range(rank - 1):
            rows *= shapes[1 + axis]
        s = np.float32(attributes[0])
        if not 0 < s <= 1:
            return 1                    # becomes a LayerError; a `raise` would only print
        x = numba.carray(tensors[0], (rows, steps), np.float32)
        y = numba.carray(tensors[1], (rows, steps), np.float32)
        for row in range(rows):
            state = np.float32(0)
            for t in range(steps):
                state += s * (x[row, t] - state)
                y[row, t] = state
        return 0

    return kernel


def network(channels: int = 16, size: int = 96):
    """Convolution, Smooth, convolution; seeded random weights."""
    from onnx import TensorProto, helper, numpy_helper

    rng = np.random.default_rng(0)
    weights = {name: rng.standard_normal((channels, inputs, 3, 3), np.float32) / np.float32(inputs)
               for name, inputs in (("w1", 3), ("w2", channels))}
    nodes = [helper.make_node("Conv", ["image", "w1"], ["a"], pads=[1] * 4),
             helper.make_node("Smooth", ["a"], ["b"], name="smooth", domain="com.example", s=0.2),
             helper.make_node("Conv", ["b", "w2"], ["features"], pads=[1] * 4)]
    graph = helper.make_graph(
        nodes, "smooth", [helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, size, size])],
        [helper.make_tensor_value_info("features", TensorProto.FLOAT, [1, channels, size, size])],
        [numpy_helper.from_array(array, name) for name, array in weights.items()])
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("com.example", 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8)


def measured(data: bytes, image: np.ndarray) -> tuple[np.ndarray, float, str]:
    """(output, the layer's milliseconds, what ran it)"""
    with tinynet.load(data, threads=1) as model:
        output = model.run(image)["features"]
        row = next(row for row in model.profile(image, repeat=30) if row.op == "example.smooth")
    return output, row.ms, row.kernel


def main() -> int:
    from tinynet.converters import convert_bytes

    register()
    data, _ = convert_bytes(network())
    image = np.random.default_rng(1).standard_normal((1, 3, 96, 96), np.float32)
    expected, numpy_ms, kernel = measured(data, image)
    print(f"numpy  {numpy_ms:.3f} ms  (step `{kernel}`)")
    try:
        started = time.perf_counter()
        compiled = numba_kernel()
    except ImportError:
        print('numba  not installed: pip install "tinynet-engine[numba]"')
        return 0
    print(f"numba  compiled in {time.perf_counter() - started:.1f} s")
    register(compiled)                  # the same name: the same file now runs the kernel
    found, numba_ms, kernel = measured(data, image)
    error = float(np.abs(found - expected).max())
    print(f"numba  {numba_ms:.3f} ms  (step `{kernel}`), {numpy_ms / numba_ms:.1f} times as fast, "
          f"largest difference {error:.1e}")
    return 0 if error < 1e-4 else 1


if __name__ == "__main__":
    sys.exit(main())
