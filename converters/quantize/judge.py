"""How much of the float network is left, on samples that nothing was chosen by."""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from tinynet.converters.quantize.data import Samples
from tinynet.converters.quantize.simulate import power, sqnr
from tinynet.tasks.classify import _scores_output

TIMED_SECONDS = 0.5
LEAST_TURNS, MOST_TURNS = 4, 200


class Verdict:
    """`outputs`: output -> SQNR in dB.  For networks with class scores `agreement`: share of the samples with the same top
    class; with labels `accuracy` (float network, quantised network).  None where there is no such thing."""

    def __init__(self) -> None:
        self.samples = 0
        self.outputs: dict[str, float] = {}
        self.agreement: float | None = None
        self.accuracy: tuple[float, float] | None = None

    @property
    def sqnr(self) -> float:
        return float(np.mean(list(self.outputs.values()))) if self.outputs else 200.0

    @property
    def drop(self) -> float | None:
        """What --max-drop limits."""
        if self.accuracy is not None:
            return self.accuracy[0] - self.accuracy[1]
        return None if self.agreement is None else 1 - self.agreement


def scores_output(model: Any) -> str | None:
    """The output that holds class scores."""
    return _scores_output(model, None)


def judge(real: Any, found: Any, samples: Samples, progress: Any = None) -> Verdict:
    """Compare two Models of the same network."""
    verdict = Verdict()
    verdict.samples = len(samples)
    scores = scores_output(real)
    signal = dict.fromkeys([i.name for i in real.outputs if i.dtype.startswith("float")], 0.0)
    noise = dict(signal)
    tops = []
    for i in range(len(samples)):
        if progress is not None:
            progress(i / len(samples), f"judging, sample {i + 1} of {len(samples)}")
        ours, theirs = real.run(samples[i]), found.run(samples[i])
        for name in signal:
            signal[name] += power(ours[name])
            noise[name] += power(ours[name] - theirs[name])
        if scores is not None:
            tops.append((int(ours[scores].argmax()), int(theirs[scores].argmax())))
    verdict.outputs = {name: sqnr(signal[name], noise[name]) for name in signal}
    if tops:
        verdict.agreement = float(np.mean([a == b for a, b in tops]))
        if samples.labels is not None:
            right = [(a == label, b == label) for (a, b), label in zip(tops, samples.labels, strict=True)]
            verdict.accuracy = tuple(float(np.mean([pair[k] for pair in right])) for k in (0, 1))
    return verdict


def speedup(real: Any, found: Any, feed: dict[str, np.ndarray]) -> float:
    """How many times faster `found` is: least times of runs in turns, so that what disturbs one disturbs both."""
    least = [float("inf")] * 2
    started = time.perf_counter()
    for turn in range(1, MOST_TURNS + 1):
        for i, model in enumerate((real, found)):
            start = time.perf_counter()
            model.run(feed)
            least[i] = min(least[i], time.perf_counter() - start)
        if turn >= LEAST_TURNS and time.perf_counter() - started > TIMED_SECONDS:
            break
    return least[0] / least[1]
