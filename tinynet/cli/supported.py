"""List what converts: ONNX operators with the schema versions that are implemented, and what is refused of them.

An operator that works "on constants" is computed at conversion and cannot run.  Settings are inputs that decide shapes
or layers.  In the limits "..." stands for any value.
"""

from __future__ import annotations

import argparse

from tinynet.cli import output
from tinynet.errors import MissingExtraError


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("operators", nargs="*", metavar="OPERATOR", help="only these")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(args: argparse.Namespace) -> int:
    try:
        from tinynet.converters import supported
    except ImportError as error:
        raise MissingExtraError("onnx", "convert", "listing what converts") from error
    facts = supported.facts()
    wanted = set(args.operators)
    rows = [row for row in facts["operators"] if not wanted or row["name"] in wanted]
    refused = [row for row in facts["refused"] if not wanted or row["name"] in wanted]
    unknown = sorted(wanted - {row["name"] for row in (*rows, *refused)})
    if args.json:
        output.print_json("supported", **{**facts, "operators": rows, "refused": refused, "unknown": unknown})
        return 0
    output.print_table(("operator", "versions", "runs", "settings", "refused"),
                       [(row["name"], ", ".join(map(str, row["versions"])), "yes" if row["runs"] else "on constants",
                         ", ".join(row["settings"]), "; ".join(row["limits"])) for row in rows])
    for row in refused:
        output.show(f"{row['name']}: not supported: {row['reason']}")
    for name in unknown:
        output.show(f"{name}: not supported")
    if not wanted:
        first, last = facts["opsets"]
        runs = sum(row["runs"] for row in rows)
        print()
        print(f"{runs} operators run, {len(rows) - runs} more on constants; {facts['layer_kinds']} layer kinds")
        print(f"opsets {first} to {last}; others where every operator used is at a version listed here")
        print(f"types {', '.join(facts['dtypes'])}; {', '.join(facts['computed_as_float32'])} become float32")
    return 0
