"""No kernel reads or writes past the end of an array: each ends where a page without access rights begins."""

from __future__ import annotations

import ctypes
import mmap
import multiprocessing
import os
import sys

import numpy as np
import pytest
from nets import Net, normal

from tinynet import kernels

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="protects pages with Linux's mprotect")


def guarded(array: np.ndarray) -> np.ndarray:
    """A copy that ends at the end of the last page that may be touched."""
    pages = -(-array.nbytes // mmap.PAGESIZE) + 1
    memory = mmap.mmap(-1, pages * mmap.PAGESIZE)
    start = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mprotect(ctypes.c_void_p(start + (pages - 1) * mmap.PAGESIZE), mmap.PAGESIZE, 0):
        raise OSError(ctypes.get_errno(), "mprotect")
    whole = np.frombuffer(memory, np.uint8, (pages - 1) * mmap.PAGESIZE)
    copy = whole[whole.size - array.nbytes:].view(array.dtype).reshape(array.shape)
    copy[...] = array
    return copy


def layers(c: int) -> list[tuple[Net, str]]:
    """One network per kernel, with `c` channels; the last constant is a vector of floats."""
    made = []

    def add(kind, *shapes, constants=(), **attrs):
        net = Net()
        inputs = [net.input(normal(i, *s)) for i, s in enumerate(shapes)]
        made.append((net, net.add(kind, *inputs, *(net.constant(normal(9, *s)) for s in constants), **attrs)))

    x = (1, 3, 4, c)
    add("conv2d", x, constants=[(c, 2, 2, c), (c,)])
    add("conv2d", x, constants=[(c, 3, 3, c), (c,)], pads=(1, 1, 1, 1))
    add("conv2d", x, constants=[(c, 1, 1, 1), (c,)], groups=c)
    add("dense", (5, c), constants=[(c, c), (c,)])
    add("depthwise_conv2d", x, constants=[(3, 3, c), (c,)], pads=(1, 1, 1, 1))
    add("depthwise_conv2d", x, constants=[(2, 2, c), (c,)], strides=(2, 2))
    add("conv_transpose2d", x, constants=[(2, 2, c, c), (c,)])
    add("matmul", (4, c), (c, 5))
    add("matmul", (4, 5), (5, c))
    add("batch_norm", x, constants=[(c,), (c,)])
    for kind in ("relu", "sigmoid", "tanh", "elu"):
        add(kind, x)
    add("add", x, x)
    add("mul", x, constants=[(c,)])
    add("pow", x, constants=[(c,)])
    add("max_pool2d", x, kernel=(2, 2))
    add("average_pool2d", x, kernel=(3, 3), pads=(1, 1, 1, 1))
    for axes in ((1, 2), (3,), (1,), (0, 1, 2, 3)):
        add("reduce_mean", x, axes=axes)
    for axis in (1, 3):
        add("softmax", x, axis=axis)
        add("argmax", x, axis=axis)
    add("lrn", x, size=5)
    add("resize", x, size=(5, 7), scales=(5 / 3, 7 / 4), mode="linear")
    add("resize", x, size=(5, 7), scales=(5 / 3, 7 / 4))
    add("transpose", x, perm=(0, 3, 1, 2))
    add("transpose", x, perm=(3, 2, 1, 0))
    add("concat", x, x, axis=3)
    add("channel_shuffle", x, groups=c)
    add("pad", x, begin=(0, 0, 0, 1), end=(0, 1, 0, 0))
    return made


def run_all(extents):
    for c in extents:
        for net, y in layers(c):
            feed = {n: guarded(a) for n, a in net.feed.items()}
            last = next((t for t in reversed(net.graph.tensors.values()) if t.is_constant), None)
            if last is not None:
                last.data = guarded(last.data)
            for level in kernels.available(integers=False):
                with kernels.use_isa(level):
                    expected = net.model(y).run(net.feed)[y]
                    model = net.model(y, threads=2, buffer=None if last is None else memoryview(last.data.view(np.uint8)))
                found = model.run(feed, out=[guarded(np.zeros_like(expected))])[y]
                if found.tobytes() != expected.tobytes():
                    print(f"{y} with {c} channels on {level}: other bits", file=sys.stderr)
                    os._exit(1)
    os._exit(0)


@pytest.mark.parametrize("extents", [(1, 3), (7, 8, 9), (15, 16, 17), (33, 70)])
def test_nothing_beyond_the_last_element(extents):
    """In a child, because one float too many ends the process."""
    child = multiprocessing.get_context("fork").Process(target=run_all, args=(extents,))
    child.start()
    child.join(120)
    if child.is_alive():
        child.kill()
        pytest.fail("hangs")
    assert child.exitcode == 0, f"ended with {child.exitcode}"
