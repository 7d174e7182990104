"""What a result says about the machine it was measured on; never its name."""

from __future__ import annotations

import os
import platform
from typing import Any


def cpu_model() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as file:
            found = {k.strip().lower(): v.strip() for k, _, v in (line.partition(":") for line in file)}
    except OSError:
        found = {}
    return found.get("model name") or found.get("hardware") or found.get("model") or platform.machine()


def describe() -> dict[str, Any]:
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {"cpu": cpu_model(), "cpus": cpus, "architecture": platform.machine(), "system": platform.system(),
            "python": platform.python_version()}
