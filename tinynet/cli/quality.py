"""The report of a quantisation as text and as JSON: `convert`, `quantize` and `inspect` show it.  No numpy."""

from __future__ import annotations

from typing import Any

from tinynet.cli import output
from tinynet.graph import Quantization


def describe(found: Quantization, file_bytes: int) -> dict[str, Any]:
    """JSON fields; README.md in this folder documents them."""
    return {
        "method": found.method, "target": found.target, "calibrated": found.calibrated, "judged": found.judged,
        "measure": found.measure or None, "float": found.real if found.measure else None,
        "int8": found.quantized if found.measure else None, "sqnr_db": found.sqnr, "float_bytes": found.float_bytes,
        "file_bytes": file_bytes,
        "layers": [{"name": layer.name, "kind": layer.kind, "integer": layer.integer, "reason": layer.reason or None,
                    "sqnr_db": layer.sqnr if layer.integer else None} for layer in found.layers],
    }


def lines(found: Quantization, file_bytes: int, speedup: float | None = None, layers: bool = True) -> list[str]:
    """The table of layers, if wanted, and what it comes to."""
    rows = [(output.shorten(layer.name), layer.kind, "int8" if layer.integer else "float32",
             f"{layer.sqnr:.1f}" if layer.integer else "", layer.reason) for layer in found.layers]
    table = [*output.table(("layer", "kind", "computes in", "SQNR dB", "why float"), rows, numeric=(3,)), ""] if layers else []
    return table + [f"{label:<11} {text}" for label, text in _facts(found, file_bytes, speedup)]


def _facts(found: Quantization, file_bytes: int, speedup: float | None) -> list[tuple[str, str]]:
    integer = sum(layer.integer for layer in found.layers)
    facts = [("int8 layers", f"{integer} of {len(found.layers)}"),
             ("calibrated", f"on {found.calibrated} samples, ranges by {found.method}, target {found.target}")]
    judged = f"on {found.judged} samples held back"
    if found.measure == "accuracy":
        facts.append(("accuracy", f"{100 * found.real:.2f} % -> {100 * found.quantized:.2f} % {judged}"))
    elif found.measure:
        facts.append(("agreement", f"{100 * found.quantized:.2f} % same top class as float32 {judged}"))
    facts.append(("output SQNR", f"{found.sqnr:.1f} dB {judged}"))
    if found.float_bytes:
        facts.append(("size", f"{output.size(found.float_bytes)} -> {output.size(file_bytes)} "
                              f"({100 * file_bytes / found.float_bytes:.1f} %)"))
    if speedup is not None:
        facts.append(("speed", f"{speedup:.2f} times float32 on one thread, here and now"))
    return facts
