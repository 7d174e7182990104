"""`benchmarks integers`: its judgement, and the operators themselves with one network each."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks import integers
from benchmarks.integer_cases import cases
from benchmarks.table import integers_table
from tinynet import kernels

CASES = {f"{case.name}-{np.dtype(case.dtype).name}": case for case in cases()}


@pytest.mark.skipif(not any("vnni" in level for level in kernels.available()), reason="onnxruntime may saturate without VNNI")
@pytest.mark.parametrize("name", CASES)
def test_every_integer_operator(name):
    assert integers.judge(CASES[name], 1).good


def test_the_results_fill_their_range():
    """Networks whose results all saturated would agree with anything."""
    import onnxruntime

    for case in CASES.values():
        network = case.network(1)
        session = onnxruntime.InferenceSession(network.model().SerializeToString(), providers=["CPUExecutionProvider"])
        found = session.run(None, network.feeds)[0]
        assert len(np.unique(found)) >= 60, case.name


def test_what_is_good_enough():
    assert integers.Result("Add", "uint8", 10_000, 9_990, 1).good
    assert not integers.Result("Add", "uint8", 10_000, 9_989, 1).good
    assert not integers.Result("Add", "uint8", 10_000, 9_999, 2).good


def test_the_table_groups_operators():
    rows = [integers.Result("Add", "uint8", 1000, 1000, 0), integers.Result("Add", "int8", 1000, 1000, 0),
            integers.Result("Conv", "uint8", 1000, 1000, 0), integers.Result("Conv", "int8", 1_000_000, 999_991, 1)]
    text = integers_table({"onnxruntime": "1", "seeds": 3, "rows": [r._asdict() for r in rows]})
    assert "| all values equal | 0 | 3,000 | Add; Conv (uint8) |" in text
    assert "| unequal: at most 0.001 % | 1 | 1,000,000 | Conv (int8) |" in text
