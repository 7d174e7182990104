from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import mutually_broadcastable_shapes

from tinynet import ops

INTEGERS = ["int64", "int32", "uint8", "int8"]
shapes = mutually_broadcastable_shapes(num_shapes=2, max_dims=5, min_side=0, max_side=4)


@pytest.mark.parametrize("dtype", [*INTEGERS, "bool"])
@pytest.mark.parametrize("name", ["And", "Or", "Xor"])
@settings(max_examples=10, deadline=None)
@given(shapes=shapes, seed=st.integers(0, 2**32 - 1))
def test_against_onnxruntime(peer, name, dtype, shapes, seed):
    a, b = (peer.integers(seed + i, dtype, *s) for i, s in enumerate(shapes.input_shapes))
    expected = peer.run(name, [a, b]) if dtype == "bool" else peer.run(f"Bitwise{name}", [a, b], opset=18)
    peer.agree(ops.make(f"bitwise_{name.lower()}", {}), [a, b], expected)


@pytest.mark.parametrize("right", [False, True])
@settings(max_examples=20, deadline=None)
@given(shapes=shapes, seed=st.integers(0, 2**32 - 1))
def test_shifts_against_onnxruntime(peer, right, shapes, seed):
    a, b = (peer.integers(seed + i, "uint8", *s) for i, s in enumerate(shapes.input_shapes))
    b = np.asarray(b % 8, np.uint8)
    peer.agree(ops.make("bit_shift", {"right": right}), [a, b],
               peer.run("BitShift", [a, b], direction="RIGHT" if right else "LEFT"))


@pytest.mark.parametrize("dtype", INTEGERS)
def test_shifts_of_every_amount(peer, dtype):
    """Against Python's integers, which have no end."""
    bits = 8 * np.dtype(dtype).itemsize
    amounts = [0, 1, bits // 2, bits - 1, bits, bits + 1, 100] + ([-1, -100] if dtype != "uint8" else [])
    for a in {1, 3, np.iinfo(dtype).max, np.iinfo(dtype).min, (-5 if dtype != "uint8" else 5)}:
        for right in (False, True):
            wanted = []
            for n in amounts:
                beyond = not 0 <= n < bits
                full = (-1 if right and a < 0 else 0) if beyond else int(a) >> n if right else int(a) << n
                full %= 1 << bits
                wanted.append(full - (1 << bits) if full >> bits - 1 and dtype != "uint8" else full)
            peer.agree(ops.make("bit_shift", {"right": right}), [np.full(len(amounts), a, dtype), np.array(amounts, dtype)],
                       np.array(wanted, dtype))


def test_refusals(peer):
    peer.refused(ops.make("bitwise_and", {}), (2,), (2,), match="found float32")
    peer.refused(ops.make("bit_shift", {}), ops.Spec((2,), "bool"), ops.Spec((2,), "bool"), match="found bool")
    peer.refused(ops.make("bitwise_or", {}), ops.Spec((2,), "bool"), ops.Spec((2,), "int8"), match="found int8")
