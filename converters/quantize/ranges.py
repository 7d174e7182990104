"""From what a tensor's numbers are to the range that 8 bits shall cover, and from there to scale and zero point.

Every method reads a histogram of `BINS` equal bins between the smallest and the largest value seen.

    minmax      everything that was seen
    percentile  all but a ten-thousandth of the values at either end
    mse         the range whose rounding and clipping errors, squared, are least together
    entropy     the range whose quantised distribution is nearest to the real one (Kullback-Leibler divergence; Migacz,
                "8-bit inference with TensorRT", 2017)
"""

from __future__ import annotations

import numpy as np

BINS = 2048
LEVELS = 255                    # steps between the lowest and the highest of 256 integers
OUTSIDE = 1e-4                  # share of the values that `percentile` gives up at either end
# Shares of the way from the middle of the distribution to its ends that mse and entropy try.
SHARES = np.linspace(0.2, 1.0, 33)

Range = tuple[float, float]


def minmax(counts: np.ndarray, low: float, high: float) -> Range:
    return low, high


def percentile(counts: np.ndarray, low: float, high: float) -> Range:
    total = np.cumsum(counts, dtype=np.float64)
    if not total[-1]:
        return low, high
    width = (high - low) / len(counts)
    first = int(np.searchsorted(total, OUTSIDE * total[-1], side="right"))
    last = int(np.searchsorted(total, (1 - OUTSIDE) * total[-1], side="left"))
    return low + first * width, low + (min(last, len(counts) - 1) + 1) * width


def mse(counts: np.ndarray, low: float, high: float) -> Range:
    centres, weights = _centres(counts, low, high)
    width = (high - low) / len(counts)

    def error(range_: Range) -> float:
        scale, zero = steps(*range_)
        integers = np.clip(np.rint(centres / scale) + zero, 0, LEVELS)
        inside = (integers > 0) & (integers < LEVELS)
        gap = (integers - zero) * scale - centres
        # The numbers of a bin lie evenly in it; where it is hardly narrower than a step, its centre says nothing.
        rounding = gap * gap + width * width / 12 if 2 * width < scale else scale * scale / 12
        return float((weights * np.where(inside, rounding, np.maximum(gap * gap, scale * scale / 12))).sum())

    return _search(error, low, high)


def entropy(counts: np.ndarray, low: float, high: float) -> Range:
    centres, weights = _centres(counts, low, high)
    width = (high - low) / len(counts)
    total = weights.sum()

    def divergence(range_: Range) -> float:
        scale, zero = steps(*range_)
        least, most = -zero * scale, (LEVELS - zero) * scale
        kept = (centres >= least - width) & (centres <= most + width)
        p = np.where(kept, weights, 0.0)
        places = np.flatnonzero(kept)
        if not len(places):
            return np.inf
        p[places[0]] += weights[:places[0]].sum()
        p[places[-1]] += weights[places[-1] + 1:].sum()
        step = np.clip(np.rint(centres / scale) + zero, 0, LEVELS).astype(np.int64)
        used = kept & (weights > 0)
        mass = np.bincount(step[used], weights[used], LEVELS + 1)
        bins = np.bincount(step[used], minlength=LEVELS + 1)
        q = np.where(used, (mass / np.maximum(bins, 1))[step], 0.0)
        p, q = p / total, q / max(q.sum(), 1e-30)
        at = p > 0
        return float((p[at] * np.log(p[at] / np.maximum(q[at], 1e-12))).sum())

    return _search(divergence, low, high)


METHODS = {"minmax": minmax, "percentile": percentile, "mse": mse, "entropy": entropy}


def _centres(counts: np.ndarray, low: float, high: float) -> tuple[np.ndarray, np.ndarray]:
    width = (high - low) / len(counts)
    return low + (np.arange(len(counts)) + 0.5) * width, counts.astype(np.float64)


def _search(error, low: float, high: float) -> Range:
    """The best share of either end: the one, then the other, until nothing changes.  A side without values stays."""
    best = (min(low, 0.0), max(high, 0.0))
    found = error(best)
    for _ in range(3):
        before = best
        for share in SHARES:
            for side in (0, 1):
                tried = (low * share, best[1]) if side == 0 else (best[0], high * share)
                tried = (min(tried[0], 0.0), max(tried[1], 0.0))
                if tried[0] == tried[1]:
                    continue
                cost = error(tried)
                if cost < found:
                    best, found = tried, cost
        if best == before:
            break
    return best


def steps(low: float, high: float) -> tuple[float, int]:
    """(scale, zero) of uint8 for the real numbers from low to high and 0, which every layer pads with; float32 arithmetic
    decides nothing here, the scale is rounded to float32 once."""
    low, high = min(float(low), 0.0), max(float(high), 0.0)
    scale = float(np.float32((high - low) / LEVELS))
    if not scale >= 1e-30:
        return 1.0, 0
    return scale, int(min(max(round(-low / scale), 0), LEVELS))


def rounded(x: np.ndarray, scale: float, zero: int) -> np.ndarray:
    """The real numbers that are left of x after `quantize` and `dequantize`; float32."""
    q = np.rint(np.divide(x, np.float32(scale), dtype=np.float32))
    np.clip(q, np.float32(-zero), np.float32(LEVELS - zero), out=q)
    q *= np.float32(scale)
    return q
