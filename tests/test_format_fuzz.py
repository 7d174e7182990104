"""Damaged .tnb files: every outcome is a sound Graph or a FormatError in one line, quickly and in little memory."""

from __future__ import annotations

import random
import struct
import tracemalloc
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tinynet import format as tnb
from tinynet.errors import FormatError
from tinynet.graph import Graph
from tinynet.layouts import nbytes

SEED = (Path(__file__).parent / "golden" / "v1.0-tiny.tnb").read_bytes()
# A Python object per few bytes of file is what reading costs; an allocation that believes a number in the file is
# millions of times more.
MEMORY = 64 * len(SEED)


def assert_sound(graph: Graph, data: bytes) -> None:
    """What everything behind the reader relies on."""
    known = set(graph.inputs) | {t.name for t in graph.tensors.values() if t.is_constant}
    for node in graph.nodes:
        assert known.issuperset(node.inputs) and known.isdisjoint(node.outputs) and node.outputs
        known.update(node.outputs)
    assert known == set(graph.tensors) and known.issuperset(graph.outputs) and graph.outputs
    for tensor in graph.tensors.values():
        assert tensor.size * tnb.DTYPES[tensor.dtype] < 2 ** 40
        if tensor.is_constant:
            assert len(tensor.data) == nbytes(tensor.shape, tensor.dtype, tensor.layout) <= len(data)


def outcome(data: bytes) -> str:
    """"read" or "refused"; any other exception is a failure."""
    try:
        graph = tnb.read(data, "m.tnb")
    except FormatError as error:
        message = str(error)
        assert message.startswith("m.tnb: ") and "\n" not in message and len(message) < 400
        return "refused"
    assert_sound(graph, data)
    return "read"


def outcomes(files: Iterable[bytes]) -> Counter:
    return Counter(map(outcome, files))


def peak(data: bytes) -> int:
    """Bytes allocated at the worst moment of reading.  (Tracing is too slow to do it for every file.)"""
    tracemalloc.start()
    try:
        outcome(data)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def changed(at: int, value: bytes) -> bytes:
    return SEED[:at] + value + SEED[at + len(value):]


def test_truncated_at_every_length():
    count = outcomes(SEED[:n] for n in range(len(SEED)))
    # The padding behind the last blob is all that may be missing.
    assert count["read"] < tnb.ALIGNMENT and sum(count.values()) == len(SEED)


@pytest.mark.parametrize("mask", [0x01, 0x80, 0xff])
def test_every_byte_changed(mask):
    count = outcomes(changed(i, bytes([SEED[i] ^ mask])) for i in range(len(SEED)))
    assert count["read"] and count["refused"] > len(SEED) // 5


@pytest.mark.parametrize("value", [0, 1, 0x7fffffff, 0x80000000, 0xffffffff, len(SEED), len(SEED) // 4])
def test_every_word_replaced(value):
    word = struct.pack("<I", value)
    count = outcomes(changed(i, word) for i in range(0, len(SEED) - 3, 4))
    assert count["refused"] > len(SEED) // 20


def test_a_large_number_in_the_file_allocates_nothing():
    word = struct.pack("<I", 0x00ffffff)
    assert max(peak(changed(i, word)) for i in range(0, len(SEED) - 3, 12)) < MEMORY


def test_words_that_point_anywhere():
    rng = random.Random(1)
    outcomes(changed(4 * rng.randrange(len(SEED) // 4), struct.pack("<I", 4 * rng.randrange(len(SEED) // 4)))
             for _ in range(1000))


def test_many_bits_flipped():
    def files() -> Iterator[bytes]:
        rng = random.Random(2)
        for _ in range(1000):
            data = bytearray(SEED)
            for _ in range(rng.randint(2, 12)):
                data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
            yield bytes(data)

    assert outcomes(files())["refused"] > 500


def test_parts_moved_within_the_file():
    """Valid tables and vectors in the wrong place get deeper than random bytes."""
    def files() -> Iterator[bytes]:
        rng = random.Random(3)
        for _ in range(1000):
            size = 4 * rng.randint(1, 16)
            source, target = (4 * rng.randrange((len(SEED) - size) // 4) for _ in range(2))
            yield changed(target, SEED[source:source + size])

    outcomes(files())


@settings(max_examples=50, deadline=None)
@given(st.binary(max_size=300))
def test_any_bytes(tail):
    outcomes([tail, SEED[:8] + tail, struct.pack("<I", 8) + b"TNB1" + tail])


@pytest.mark.parametrize("list_field", [2, 3, 4, 6])
def test_vectors_that_overlap_cannot_multiply(list_field):
    """Every word of the file starts a vector of 60 words that lead to further vectors."""
    vtable = struct.pack("<10H", 20, 36, *range(4, 36, 4))
    fields = [400 if i in (2, 5, list_field) else 0 for i in range(8)]
    fields[0] = tnb.MAJOR
    data = struct.pack("<I", 28) + b"TNB1" + vtable + struct.pack("<i8I", 20, *fields) + struct.pack("<I", 60) * 20_000
    assert outcome(data) == "refused" and peak(data) < 64 * len(data)
