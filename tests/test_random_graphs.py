"""Random small ONNX networks through everything: convert -> bytes -> load -> run, beside onnxruntime.

Hypothesis draws a graph node by node; every extent of a tensor is likely to differ from the others, so that a swapped
axis is a wrong shape or a wrong number.  A failure prints the shrunk network as text (`onnx.printer`).  The everyday run
draws a few hundred networks, `--hypothesis-profile=long` more than 10,000 of 10 to 40 nodes.
"""

from __future__ import annotations

import contextlib
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, note, settings
from hypothesis import strategies as st
from nets import splitting
from random_networks import Net
from typed_networks import networks

import tinynet
from tinynet import format as tnb
from tinynet import kernels, reference

onnx = pytest.importorskip("onnx")
ort = pytest.importorskip("onnxruntime")

# Relative to the output's range, the bound that real networks are held to.  Every layer here multiplies its operands'
# relative error by its condition number and adds at most g(n) = n u of its own (n terms per sum, u = 2^-24; Higham, Accuracy
# and Stability of Numerical Algorithms, 3.1).  n <= MOST_TERMS + 2, at most 20 layers follow one another, and both sides round:
# 2 * 20 * 302 * 2^-24 = 7.2e-4 if no two errors ever had opposite signs; they are a random walk, sqrt(n) for n: 4.2e-5.
# What is left to 1e-4 is for the condition: weights are scaled so that values stay of order 1, and what a difference of two
# nearly equal tensors leaves is measured by them (`MOST_CANCELLED`).
TOLERANCE = 1e-4
# An output whose range is below this part of the largest value in the network is what two nearly equal values left of
# each other: it is compared relative to that part.
MOST_CANCELLED = 1e-2
# Of ten networks nine have 10 nodes or more.  The everyday run draws the same ones each time, the long one new ones.
LONG = settings.get_current_profile_name() == "long"
EXAMPLES = 11_500 if LONG else 300


def runtime(model: Any, feeds: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """onnxruntime's outputs, and every float32 tensor on the way under the name "" as its largest magnitude."""
    whole = onnx.ModelProto()
    whole.CopyFrom(model)
    outputs = [o.name for o in model.graph.output]
    inner = [o for node in model.graph.node for o in node.output if o not in outputs]
    whole.graph.output.extend(onnx.ValueInfoProto(name=name) for name in inner)
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = ort.InferenceSession(whole.SerializeToString(), options, providers=["CPUExecutionProvider"])
    results = session.run(None, feeds)
    largest = max((float(np.abs(r).max()) for r in results if r.dtype == np.float32 and r.size), default=0.0)
    return dict(zip(outputs, results[:len(outputs)], strict=True)) | {"": np.array(largest)}


def check(net: Net, found: dict[str, np.ndarray], expected: dict[str, np.ndarray], what: str) -> None:
    floor = MOST_CANCELLED * float(expected[""])
    assert list(found) == [n for n in expected if n], what
    for name, value in found.items():
        wanted = expected[name]
        assert (value.shape, value.dtype) == (wanted.shape, wanted.dtype), f"{what}: {name}"
        limit = TOLERANCE * max(float(np.abs(wanted).max(initial=0)) if wanted.dtype == np.float32 else 0.0, floor)
        if name in net.indices:
            # Of nearly equal values either may win.
            x, axis, keep = net.indices[name]
            index = value if keep else np.expand_dims(value, axis)
            chosen = np.take_along_axis(expected[x], index, axis)
            limit = TOLERANCE * max(float(np.abs(expected[x]).max()), floor)
            assert (chosen >= expected[x].max(axis, keepdims=True) - 2 * limit).all(), f"{what}: {name}"
        elif net.dtypes[name] != "float32":
            assert np.array_equal(value, wanted), f"{what}: {name}"
        else:
            worst = float(np.abs(value - wanted).max(initial=0))
            assert worst <= limit, f"{what}: {name}: {worst} > {limit}"


def poison(model: Any) -> None:
    """NaN all over the memory that a run must set before it reads it."""
    for context in model._contexts:
        for arena in (context.arena, context.scratch):
            np.frombuffer(arena, np.uint8)[:] = 0xff


@settings(deadline=None, max_examples=EXAMPLES, derandomize=not LONG, suppress_health_check=list(HealthCheck),
          phases=(Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink))
@given(networks(), st.sampled_from(kernels.available(integers=False)), st.booleans())
def test_pipeline_against_onnxruntime(net: Net, isa: str, split: bool):
    from tinynet.converters import convert_bytes

    model = net.model()
    note(onnx.printer.to_text(model))
    expected = runtime(model, net.inputs)
    data, _ = convert_bytes(model)
    check(net, reference.run(tnb.read(data), net.inputs), expected, "numpy reference")
    alone = tinynet.load(data, threads=1)
    first = alone.run(net.inputs)
    check(net, first, expected, "one thread")
    poison(alone)
    for name, value in alone.run(net.inputs).items():
        assert value.tobytes() == first[name].tobytes(), f"second run: {name}"
    # Layers this small are not worth a second thread: split them all the same.
    with kernels.use_isa(isa), splitting() if split else contextlib.nullcontext():
        both = tinynet.load(data, threads=2)
    check(net, both.run(net.inputs), expected, f"two threads, {isa}")
