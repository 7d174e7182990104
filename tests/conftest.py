"""`bounds` and `nets` in tests/kernels are imported by name; import-mode=importlib puts no test folder on the path.

`--hypothesis-profile=long`: twenty times the examples, also for tests that state their number.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from hypothesis import settings

sys.path.insert(0, str(Path(__file__).parent / "kernels"))

TIMES = 20
settings.register_profile("long", max_examples=TIMES * settings.default.max_examples, deadline=None)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--hypothesis-profile", None) != "long":
        return
    tests = {getattr(item.obj, "__func__", item.obj) for item in items if isinstance(item, pytest.Function)}
    for test in tests:
        # A profile does not reach tests decorated with @settings, and a second @settings is refused.
        stated = getattr(test, "_hypothesis_internal_use_settings", None)
        if stated is not None and stated.max_examples < settings.default.max_examples:
            test._hypothesis_internal_use_settings = settings(stated, max_examples=TIMES * stated.max_examples)
