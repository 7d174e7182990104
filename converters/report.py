"""What a conversion did, for people and as JSON."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from typing import Any

from tinynet.cli import quality
from tinynet.graph import Quantization


def megabytes(n: int) -> str:
    return f"{n / 1e6:.2f} MB" if n >= 100_000 else f"{n / 1e3:.1f} kB"


@dataclass
class Report:
    """`arena_bytes`: peak memory of the activations in one run; `macs`: multiply-accumulates of one run; `quantization`: what
    int8 cost, `speedup`: how many times faster than in float32 it ran here."""

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
    quantization: Quantization | None = None
    speedup: float | None = None

    def to_json(self) -> dict[str, Any]:
        fields = {"version": 1, "command": "convert", **asdict(replace(self, quantization=None))}
        del fields["quantization"], fields["speedup"]
        if self.quantization is not None:
            fields |= {"quantization": quality.describe(self.quantization, self.file_bytes), "speedup": self.speedup}
        return fields

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
        lines = [f"{label:<11} {text}" for label, text in rows]
        if self.quantization is not None:
            lines += ["", *quality.lines(self.quantization, self.file_bytes, self.speedup)]
        return lines
