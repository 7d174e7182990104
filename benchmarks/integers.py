"""Every integer operator beside onnxruntime, both fed the same integers: the share of equal values, the largest difference.

onnxruntime runs with all of its optimisations.  Its integer products are exact where the processor has VNNI; on others they
may saturate, and then it is not the judge of anything: the command says so.
"""

from __future__ import annotations

import sys
from typing import NamedTuple

import numpy as np

from benchmarks.integer_cases import Case, cases

# What an operator must reach.
SHARE, STEPS = 0.999, 1


class Result(NamedTuple):
    operator: str
    dtype: str
    values: int
    equal: int
    most: int

    @property
    def good(self) -> bool:
        return self.most <= STEPS and self.equal >= SHARE * self.values


def compare(case: Case, seed: int) -> tuple[int, int, int]:
    """(values, equal ones, largest difference) of a network with scales, zero points and data drawn from a seed."""
    import onnxruntime

    import tinynet
    from tinynet.converters import convert_bytes

    network = case.network(seed)
    model = network.model()
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    wanted = session.run(None, network.feeds)[0]
    with tinynet.load(convert_bytes(model)[0], threads=1) as mine:
        found = mine.run(network.feeds)[network.outputs[0]]
    if (found.shape, found.dtype) != (wanted.shape, wanted.dtype):
        raise ValueError(f"{case.name}: {found.dtype}{found.shape}; expected {wanted.dtype}{wanted.shape}")
    off = np.abs(found.astype(np.int64) - wanted)
    return off.size, int((off == 0).sum()), int(off.max(initial=0))


def judge(case: Case, seeds: int) -> Result:
    found = np.array([compare(case, seed) for seed in range(seeds)])
    return Result(case.name, np.dtype(case.dtype).name, int(found[:, 0].sum()), int(found[:, 1].sum()), int(found[:, 2].max()))


def cells(result: Result) -> list[str]:
    return [result.operator, result.dtype, f"{result.values:,}", f"{100 * result.equal / result.values:.4f}", str(result.most)]


HEADER = ("operator", "type", "values", "equal, %", "largest difference")


def main(pattern: str, seeds: int, json_name: str | None) -> int:
    """1 if an operator differs in more than one value of a thousand, or by more than one step."""
    from benchmarks.report import grid, write_json
    from tinynet import kernels

    results = []
    for case in cases():
        if pattern.lower() in case.name.lower():
            results.append(judge(case, seeds))
            print(f"{case.name}, {results[-1].dtype}", file=sys.stderr)
    print(grid(HEADER, [cells(r) for r in results], left=2))
    bad = [r for r in results if not r.good]
    print(f"{len(results) - len(bad)} of {len(results)}: {100 * SHARE:.1f} % of values equal or more, none off by over 1")
    if not any("vnni" in level for level in kernels.available()):
        print("this processor has no VNNI: onnxruntime's own products may saturate here")
    if json_name:
        import onnxruntime

        values = {"onnxruntime": onnxruntime.__version__, "seeds": seeds, "rows": [r._asdict() for r in results]}
        print(f"written: {write_json(json_name, 'integers', values)}", file=sys.stderr)
    return 1 if bad else 0
