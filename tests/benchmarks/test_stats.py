from __future__ import annotations

import pytest

from benchmarks import report, size, stats
from benchmarks.harness import Row
from benchmarks.stats import Burst


def test_quiet_rounds_are_used_alone_when_there_are_enough():
    calm, disturbed = Burst([1.0]), Burst([9.0], switches=2)
    ours, peer = [calm] * 8, [calm, disturbed, calm, calm, disturbed, calm, calm, disturbed]
    assert stats.usable_rounds([ours, peer]) == [0, 2, 3, 5, 6]


def test_all_rounds_are_used_when_few_are_quiet():
    rounds = [Burst([1.0], switches=int(i != 3)) for i in range(6)]
    assert stats.usable_rounds([rounds]) == [0, 1, 2, 3, 4, 5]


def test_only_rounds_that_every_engine_finished_are_used():
    assert stats.usable_rounds([[Burst([1.0])] * 4, [Burst([1.0])] * 2]) == [0, 1]


def test_summary_is_over_all_runs_of_the_given_rounds():
    bursts = [Burst([4.0, 2.0]), Burst([100.0]), Burst([3.0, 5.0, 1.0])]
    assert stats.summarize(bursts, [0, 2]) == (3.0, 1.0, 5)


def test_round_ratio_cancels_what_slows_both():
    ours = [Burst([1.0]), Burst([10.0]), Burst([2.0])]
    peer = [Burst([2.0]), Burst([20.0]), Burst([4.0])]
    assert stats.round_ratio(peer, ours, [0, 1, 2]) == 2.0


@pytest.mark.parametrize(("ms", "runs"), [(0.1, 200), (30.0, 3), (9.9, 3), (4.0, 5), (1e-9, 2000), (0.0, 2000)])
def test_a_burst_fills_its_time_within_limits(ms, runs):
    assert stats.runs_per_burst(ms, 20.0) == runs


def test_geometric_mean():
    assert stats.geometric_mean([0.5, 2.0, 8.0]) == pytest.approx(2.0)


def test_start_times_are_compared_within_a_round():
    times = {"base": [100.0, 200.0, 110.0], "more": [105.0, 206.0, 117.0]}
    assert size.over_first(times) == {"more": 6.0}


def test_best_peer_leaves_out_those_without_a_ratio():
    rows = [Row("net", "tinynet"), Row("net", "slow", ratio=3.0), Row("net", "fast", ratio=1.5), Row("net", "wrong")]
    assert report.best_ratios(rows) == {"net": (1.5, "fast")}
    assert "geometric mean 1.50" in report.verdict(rows)


def test_text_shows_wrong_rows_and_reasons():
    rows = [Row("net", "tinynet", median_ms=1.0, correct=True, error=1e-6), Row("net", "bad", median_ms=1.0, error=0.5),
            Row("net", "absent", problem="not installed")]
    lines = report.text(rows).splitlines()
    assert len(lines) == 5 and lines[2].endswith("WRONG 5e-01") and "WRONG" not in lines[1]
    assert lines[3] == "no result: net, absent: not installed"


def test_verdict_without_any_ratio_says_so():
    assert "no model" in report.verdict([Row("net", "tinynet")])


@pytest.mark.parametrize(("value", "text"), [(None, "-"), (0.0293, "0.029"), (1.234, "1.23"), (12.34, "12.3"),
                                             (123.4, "123"), (0.7, "0.700")])
def test_numbers_have_three_significant_digits(value, text):
    assert report.number(value) == text
