"""Kernels and the compiled program.  README.md here says how to read and extend them.

The instruction set level is chosen from what the CPU has, or forced by the environment variable TINYNET_ISA.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

from tinynet.errors import UsageError
from tinynet.kernels import engine

ISA_VARIABLE = "TINYNET_ISA"
# Every level of the project on any machine, weakest first: a misspelt name and a level of another CPU get different lines.
KNOWN = ("scalar", "sse2", "sse4.1", "avx2", "avxvnni", "avxvnni_evex", "avx512", "avx512vnni", "neon", "neon_dot")

_forced: list[str] = []


def available(integers: bool = True) -> tuple[str, ...]:
    """Levels that this build and this CPU have, weakest first; without `integers`, those that differ in kernels for floats."""
    return tuple(name for name, usable, floats in engine.levels() if usable and (integers or name == floats))


def isa() -> str:
    """The level in use: forced by `use_isa` or TINYNET_ISA, else the strongest.  UsageError if it cannot be had."""
    name = _forced[-1] if _forced else os.environ.get(ISA_VARIABLE, "")
    if not name:
        return available()[-1]
    if name in available():
        return name
    problem = "this CPU or build lacks it" if name in KNOWN else "there is no such level"
    raise UsageError(f"{ISA_VARIABLE}={name}: {problem}; available here: {', '.join(available())}")


@contextlib.contextmanager
def use_isa(name: str) -> Iterator[None]:
    """Force a level for models that are loaded inside the `with`."""
    _forced.append(name)
    try:
        isa()
        yield
    finally:
        _forced.pop()


def cpu_features() -> dict[str, bool]:
    """Level name -> does this CPU have it, for the levels of this build."""
    return {name: usable for name, usable, _ in engine.levels()}
