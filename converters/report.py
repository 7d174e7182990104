"""What a conversion did, for people and as JSON."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any


def megabytes(n: int) -> str:
    return f"{n / 1e6:.2f} MB" if n >= 100_000 else f"{n / 1e3:.1f} kB"


@dataclass
class Report:
    """`arena_bytes`: peak memory of the activations in one run; `macs`: multiply-accumulates of one run."""

    source: str
    output: str = ""
    operators_before: int = 0
    operators_after: int = 0
    file_bytes: int = 0
    parameters: int = 0
    macs: int = 0
    arena_bytes: int = 0
    seconds: float = 0.0
    inputs: dict[str, list[int]] = field(default_factory=dict)
    outputs: dict[str, list[int]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        return {"version": 1, "command": "convert", **asdict(self)}

    def lines(self) -> list[str]:
        def shapes(tensors: dict[str, list[int]]) -> str:
            return ", ".join(f"{name} {'x'.join(map(str, shape)) or 'scalar'}" for name, shape in tensors.items())

        rows = [
            ("converted", f"{self.source} -> {self.output}" if self.output else self.source),
            ("inputs", shapes(self.inputs)),
            ("outputs", shapes(self.outputs)),
            ("operators", f"{self.operators_before} -> {self.operators_after}"),
            ("file", megabytes(self.file_bytes)),
            ("parameters", f"{self.parameters:,}"),
            ("MACs", f"{self.macs:,}"),
            ("peak arena", megabytes(self.arena_bytes)),
            ("time", f"{self.seconds:.2f} s"),
        ]
        return [f"{label:<11} {text}" for label, text in rows]
