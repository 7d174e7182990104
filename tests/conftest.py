"""`bounds` and `nets` in tests/kernels are imported by name; import-mode=importlib puts no test folder on the path.

`--hypothesis-profile=long`: twenty times the examples, also for tests that state their number; `few`: at most three, for
processors that are emulated.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, settings

sys.path.insert(0, str(Path(__file__).parent / "kernels"))

TIMES, FEW = 20, 3
settings.register_profile("long", max_examples=TIMES * settings.default.max_examples, deadline=None)
# To look for a simpler example takes minutes where a processor is emulated.
SLOW = {"suppress_health_check": list(HealthCheck), "phases": (Phase.explicit, Phase.reuse, Phase.generate)}
settings.register_profile("few", max_examples=FEW, deadline=None, **SLOW)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    profile = config.getoption("--hypothesis-profile", None)
    if profile not in ("long", "few"):
        return
    tests = {getattr(item.obj, "__func__", item.obj) for item in items if isinstance(item, pytest.Function)}
    for test in tests:
        # A profile does not reach tests decorated with @settings, and a second @settings is refused.
        stated = getattr(test, "_hypothesis_internal_use_settings", None)
        if stated is not None and profile == "few":
            test._hypothesis_internal_use_settings = settings(stated, max_examples=min(FEW, stated.max_examples), **SLOW)
        elif stated is not None and stated.max_examples < settings.default.max_examples:
            test._hypothesis_internal_use_settings = settings(stated, max_examples=TIMES * stated.max_examples)
