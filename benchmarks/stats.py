"""What is computed from the timed bursts.  No engine, no clock: plain numbers in, plain numbers out."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from statistics import median
from typing import NamedTuple

# A wrong network is not a fast network.  Bounds of the error relative to the range of onnxruntime's output.  Peers get
# more room than tinynet: their coarser approximations still count as a result to beat, a broken network is off by 1.
OUR_ERROR_LIMIT = 1e-3
PEER_ERROR_LIMIT = 1e-2
# The bound for 8-bit networks is on noise relative to the signal (20 dB).  Where an answer moves by more when the inputs
# move by less than a step of 8 bits, twice that is allowed: engines differ in roundings.  Unrelated answers are off by 1.4.
INTEGER_NOISE_LIMIT = 0.1
SPREAD_ALLOWANCE = 2.0
MOST_INTEGER_NOISE = 1.0
# Rounds without involuntary context switches are used alone if there are this many of them.
ENOUGH_QUIET = 5


def error_limit(ours: bool, spread: float | None = None) -> float:
    """The error up to which an answer is right; `spread`: that of an 8-bit network."""
    if spread is not None:
        return min(MOST_INTEGER_NOISE, max(INTEGER_NOISE_LIMIT, SPREAD_ALLOWANCE * spread))
    return OUR_ERROR_LIMIT if ours else PEER_ERROR_LIMIT


class Burst(NamedTuple):
    """Milliseconds of each run of one engine in one round; switches: how often the process lost its CPU meanwhile."""

    ms: list[float]
    switches: int = 0


class Summary(NamedTuple):
    median_ms: float
    min_ms: float
    runs: int


def usable_rounds(engines: Sequence[Sequence[Burst]]) -> list[int]:
    """Indices of the rounds to use: those in which no engine was interrupted, or all of them if those are too few.

    A round is dropped for every engine at once, so that what remains was still measured side by side.
    """
    rounds = range(min(len(bursts) for bursts in engines))
    quiet = [r for r in rounds if not any(bursts[r].switches for bursts in engines)]
    return quiet if len(quiet) >= ENOUGH_QUIET else list(rounds)


def summarize(bursts: Sequence[Burst], rounds: Iterable[int]) -> Summary:
    times = [t for r in rounds for t in bursts[r].ms]
    return Summary(median(times), min(times), len(times))


def round_ratio(peer: Sequence[Burst], ours: Sequence[Burst], rounds: Iterable[int]) -> float:
    """Median over the rounds of (peer's median / our median) within the round: slow drifts of the machine cancel."""
    return median(median(peer[r].ms) / median(ours[r].ms) for r in rounds)


def geometric_mean(values: Sequence[float]) -> float:
    return math.exp(sum(map(math.log, values)) / len(values))


def runs_per_burst(ms: float, burst_ms: float, least: int = 3, most: int = 2000) -> int:
    """How many runs fill `burst_ms`, if one takes `ms`."""
    return max(least, min(most, math.ceil(burst_ms / max(ms, 1e-6))))


def rounds_within(most: int, least: int, seconds: float, round_ms: float) -> int:
    """How many rounds of that length fit, at most `most`; at least `least` unless `most` is less."""
    return min(most, max(least, int(1e3 * seconds / max(round_ms, 1e-6))))
