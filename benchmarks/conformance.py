"""Every node test of the onnx package: convert -> .tnb bytes -> load -> run, against the outputs that the test expects.

    pass          right, with every input of the test fed when the model runs
    float32 of    the same for a float16, bfloat16 or float64 test, computed in float32 and compared to its type's precision
    pass-frozen   right, but only with inputs frozen to the test's values at conversion
    refused       an error of tinynet's own that says what is not supported
    wrong         another value, shape or type than expected
    crash         any other exception, the end of the process, or no answer in time

Exit code 1 for any wrong value or crash.
"""

from __future__ import annotations

import itertools
import multiprocessing
import re
import sys
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from benchmarks.conformance_cases import MADE_OF_SETTINGS, TIERS, Case, cases
from tinynet.errors import FormatError, TinynetError

CLASSES = ("pass", "float32 of", "pass-frozen", "refused", "wrong", "crash")
FAILURES = ("wrong", "crash")
# Seconds that one test may take.
PATIENCE = 200
# Two units in the last place of a test that is computed in float32 here.
PRECISION = {"float16": 2.0 ** -9, "bfloat16": 2.0 ** -6}
MOST_FREEZES = 24
MOST_KEPT = 3


class Result(NamedTuple):
    name: str
    outcome: str
    reason: str = ""
    frozen: tuple[str, ...] = ()


# One test


def judge(case: Case) -> Result:
    """Run one test; a refusal is tried again with inputs frozen, as few as will do."""
    first = attempt(case, ())
    if first.outcome != "refused":
        return first
    for frozen in freezes(case):
        again = attempt(case, frozen)
        if again.outcome in FAILURES:
            return again
        if again.outcome == "refused":
            continue
        for fewer in itertools.islice(_subsets(frozen), MOST_FREEZES):
            if attempt(case, fewer).outcome in ("pass", "float32 of"):
                frozen = fewer
                break
        return Result(case.name, "pass-frozen", first.reason, frozen)
    return first


def freezes(case: Case) -> Iterator[tuple[str, ...]]:
    """The largest sets of inputs to freeze: all but one, the first one to begin with; all, if all are settings."""
    names = [info.name for info in case.model.graph.input]
    if case.operator in MADE_OF_SETTINGS:
        yield tuple(names)
    elif len(names) > 1:
        yield from (tuple(n for n in names if n != kept) for kept in names[:MOST_KEPT])


def _subsets(names: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    """Smaller sets, the smallest first."""
    return (chosen for count in range(1, len(names)) for chosen in itertools.combinations(reversed(names), count))


def attempt(case: Case, frozen: Sequence[str]) -> Result:
    """`frozen` inputs have the test's first values when the model is converted."""
    stage = "convert"
    try:
        names = [info.name for info in case.model.graph.input]
        first = dict(zip(names, map(array_of, case.sets[0][0]), strict=True))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model = _convert(case, {name: first[name] for name in frozen})
            stage = "run"
            outcome = "pass"
            with model:
                for inputs, outputs in case.sets:
                    fed = dict(zip(names, map(array_of, inputs), strict=True))
                    found = model.run({i.name: narrowed(fed[i.name]) for i in model.inputs})
                    for info, expected in zip(case.model.graph.output, outputs, strict=True):
                        problem, exact = difference(found[info.name], array_of(expected), case)
                        if problem:
                            return Result(case.name, "wrong", f"{info.name}: {problem}", tuple(frozen))
                        outcome = outcome if exact else "float32 of"
        if any(str(a.dtype) in (*PRECISION, "float64") for a in first.values() if isinstance(a, np.ndarray)):
            outcome = "float32 of"
        return Result(case.name, outcome, "", tuple(frozen))
    except TinynetError as error:
        # An internal error, and a file of our own making that we call damaged, are faults.
        clear = error.exit_code != 70 and (stage == "convert" or not isinstance(error, FormatError))
        text = str(error) if clear else f"{type(error).__name__}: {error}"
        return Result(case.name, "refused" if clear else "crash", text, tuple(frozen))
    except Exception as error:  # noqa: BLE001 (what a crash raises is not known)
        return Result(case.name, "crash", f"{stage}: {type(error).__name__}: {error}", tuple(frozen))


def _convert(case: Case, constants: dict[str, Any]) -> Any:
    import tinynet
    from tinynet.converters import convert_bytes

    return tinynet.load(convert_bytes(case.model, constants=constants)[0], threads=1)


def array_of(value: Any) -> Any:
    """A test's value as an array; sequences and absent values stay what they are."""
    import onnx

    if isinstance(value, onnx.TensorProto):
        return onnx.numpy_helper.to_array(value)
    return np.asarray(value) if isinstance(value, (np.ndarray, np.generic, int, float, bool)) else value


def narrowed(value: Any) -> Any:
    """What is fed for a test's input: float32 for the other floats."""
    kind = str(value.dtype) if isinstance(value, np.ndarray) else ""
    return value.astype(np.float32) if kind in PRECISION or kind == "float64" else value


def difference(found: np.ndarray, expected: Any, case: Case) -> tuple[str, bool]:
    """(what differs or nothing, whether the types are the test's own)."""
    if not isinstance(expected, np.ndarray):
        return f"expected a {type(expected).__name__}", True
    kind = str(expected.dtype)
    exact = kind not in PRECISION and kind != "float64"
    wanted = kind if exact else "float32"
    if str(found.dtype) != wanted:
        return f"expected dtype {wanted}, found {found.dtype}", exact
    if found.shape != expected.shape:
        return f"expected shape {list(expected.shape)}, found {list(found.shape)}", exact
    rtol = max(case.rtol, PRECISION.get(kind, 0))
    if kind in PRECISION:
        # Rounded as the test's type rounds it, so that what overflows there does so here.
        with np.errstate(over="ignore"):
            found, expected = found.astype(expected.dtype).astype(np.float32), expected.astype(np.float32)
    try:
        np.testing.assert_allclose(found, expected, rtol=rtol, atol=case.atol)
    except AssertionError as error:
        lines = [line.strip() for line in str(error).splitlines() if "ismatch" in line or "difference" in line]
        return "; ".join(lines) or "values differ", exact
    return "", exact


# All of them


def run_all(tests: Sequence[Case], jobs: int) -> list[Result]:
    """One result per test, from `jobs` processes: one that dies or hangs costs the test that it was at."""
    context = multiprocessing.get_context("fork")
    queues = [list(range(i, len(tests), jobs)) for i in range(jobs)]
    results: dict[int, Result] = {}
    workers = [_start(context, tests, queue) for queue in queues]
    while workers:
        for i, (process, pipe, queue) in enumerate(workers):
            text = ""
            try:
                if pipe.poll(PATIENCE):
                    index, result = pipe.recv()
                    results[index] = result
                    queue.remove(index)
                else:
                    text = f"no result in {PATIENCE} s"
            except EOFError:
                process.join()
                text = f"the process ended with code {process.exitcode}"
            if text and queue:
                results[queue[0]] = Result(tests[queue[0]].name, "crash", text)
                del queue[0]
            if text or not queue:
                process.kill()
                process.join()
                pipe.close()
                workers[i] = _start(context, tests, queue) if queue else None
        workers = [worker for worker in workers if worker]
    return [results[i] for i in range(len(tests))]


def _start(context: Any, tests: Sequence[Case], queue: list[int]) -> tuple[Any, Any, list[int]]:
    here, there = context.Pipe(duplex=False)
    process = context.Process(target=_work, args=(tests, list(queue), there), daemon=True)
    process.start()
    there.close()
    return process, here, queue


def _work(tests: Sequence[Case], queue: Iterable[int], pipe: Any) -> None:
    for index in queue:
        pipe.send((index, judge(tests[index])))


# What is printed and stored


def counts(tests: Sequence[Case], results: Sequence[Result]) -> dict[str, dict[str, Counter]]:
    """Tier -> operator -> how often each class."""
    table: dict[str, dict[str, Counter]] = {tier: {} for tier in TIERS}
    for case, result in zip(tests, results, strict=True):
        table[case.tier].setdefault(case.operator, Counter())[result.outcome] += 1
    return table


def _cells(name: str, row: Counter) -> list[str]:
    total = sum(row.values())
    right = row["pass"] + row["float32 of"]
    return [name, str(total), *(str(row[c] or "-") for c in CLASSES), f"{100 * right / total:.1f}" if total else "-"]


def text(tests: Sequence[Case], results: Sequence[Result]) -> str:
    """A table per tier with a row per operator, the tiers' sums, and every failure."""
    from benchmarks.report import grid

    header = ["", "tests", *CLASSES, "right %"]
    table = counts(tests, results)
    sums = {tier: sum(rows.values(), Counter()) for tier, rows in table.items()}
    parts = [grid([tier, *header[1:]], [_cells(name, row) for name, row in sorted(rows.items())])
             for tier, rows in table.items() if rows]
    parts.append(grid(header, [_cells(tier, row) for tier, row in sums.items()]
                      + [_cells("all", sum(sums.values(), Counter()))]))
    failed = [f"{r.outcome}  {r.name}: {' '.join(r.reason.split())[:200]}" for r in results if r.outcome in FAILURES]
    return "\n\n".join([*parts, "\n".join(failed) or "no wrong value, no crash"])


def values(tests: Sequence[Case], results: Sequence[Result]) -> dict[str, Any]:
    """The part of the JSON that is about conformance: counts, and every test that is no plain pass."""
    import onnx

    table = counts(tests, results)
    return {
        "onnx": onnx.__version__, "tests": len(tests),
        "tiers": {tier: dict(sum(rows.values(), Counter())) for tier, rows in table.items()},
        "operators": {tier: {name: dict(row) for name, row in sorted(rows.items())} for tier, rows in table.items()},
        "rows": [{"test": r.name, "operator": c.operator, "tier": c.tier, "opset": c.opset, "dtypes": list(c.dtypes),
                  "outcome": r.outcome, "frozen": list(r.frozen), "why": why(r, c)}
                 for c, r in zip(tests, results, strict=True) if r.outcome != "pass"],
    }


def why(result: Result, case: Case) -> str:
    """The reason without what is the test's own: its name, the operator's, its nodes, the standing advice."""
    line = " ".join(result.reason.split())
    line = line.removeprefix(f"{case.model.graph.name}: ").partition("; what to do:")[0]
    line = re.sub(r"^\d+ unsupported operators?: ", "", line)
    line = re.sub(r" \([\w.]+, \d+ nodes?: [^)]*\)", "", line).removeprefix(f"{case.operator}: ")
    return re.sub(r"(input|output|tensor) '[^']*'", r"an \1", line).replace("an tensor", "a tensor").replace("|", "/")[:200]


def main(pattern: str, jobs: int, json_name: str | None) -> int:
    print("loading the tests ...", file=sys.stderr)
    tests = cases(pattern)
    if not tests:
        raise ValueError(f"no test's name contains {pattern!r}")
    results = run_all(tests, min(jobs, len(tests)))
    print(text(tests, results))
    if json_name:
        from benchmarks.report import write_json

        print(f"written: {write_json(json_name, 'conformance', values(tests, results))}", file=sys.stderr)
    return 1 if any(r.outcome in FAILURES for r in results) else 0
