"""python -m benchmarks COMMAND"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections import Counter
from pathlib import Path

from benchmarks import engines


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(prog="python -m benchmarks", description="What is measured: benchmarks/README.md.")
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    models = commands.add_parser("models", help="tinynet beside onnxruntime (default: the generated networks)")
    models.add_argument("models", nargs="*", type=Path, metavar="MODEL.onnx")
    peers = commands.add_parser("peers", help="tinynet beside every engine that is installed")
    peers.add_argument("models", nargs="*", type=Path, metavar="MODEL.onnx")
    peers.add_argument("--engines", default=",".join(engines.NAMES), help="comma-separated (default: %(default)s)")
    threads = commands.add_parser("threads", help="tinynet on several threads beside itself on one")
    threads.add_argument("models", nargs="*", type=Path, metavar="MODEL.onnx")
    memory = commands.add_parser("memory", help="what a run needs: arena, its lower bound, the rest")
    memory.add_argument("models", nargs="*", type=Path, metavar="MODEL.onnx")
    for many in (peers, threads, memory):
        many.add_argument("--zoo", type=Path, metavar="FOLDER", help="every .onnx file of a folder, by name")
    for command, default in ((models, 1), (peers, 1), (threads, 2), (memory, 1)):
        command.add_argument("--threads", type=int, default=default, metavar="N", help="default: %(default)s")
    for command in (models, peers, threads):
        command.add_argument("--rounds", type=int, default=30, metavar="R", help="at most (default: %(default)s)")
        command.add_argument("--seconds", type=float, default=15.0, metavar="S",
                             help="fewer rounds for a model that would take longer (default: %(default)s)")
        command.add_argument("--resume", action="store_true", help="models that are in the JSON file are not measured again")
    for comparison in (models, peers):
        comparison.add_argument("--burst-ms", type=float, default=20.0, help="length of a burst (at least 3 runs)")
        comparison.add_argument("--gap-ms", type=float, help="pause before a burst (default: 0, with threads 30)")
        comparison.add_argument("--pin", default="", metavar="CPUS", help="CPUs for every engine, such as 1 or 0,1")
        comparison.add_argument("--isa", default=os.environ.get("TINYNET_ISA", ""), metavar="LEVEL",
                                help="instruction set level of tinynet, and of the peers that can be limited to it")
        comparison.add_argument("--cache", type=Path, metavar="FOLDER", help="of converted models (default: the user's)")
        comparison.add_argument("--update", action="store_true", help="other models that are in the JSON file stay there")
    ops = commands.add_parser("ops", help="kernels against the measured FMA peak")
    ops.add_argument("--isa", action="append", metavar="LEVEL", help="repeatable (default: every level of this CPU)")
    ops.add_argument("--seconds", type=float, default=10.0, metavar="S", help="for each level and type (default: %(default)s)")
    size = commands.add_parser("size", help="wheel, installed files, memory; time of import, load and first run")
    size.add_argument("--rounds", type=int, default=31, metavar="R", help="processes of each (default: %(default)s)")
    scaling = commands.add_parser("scaling", help="time against input size and threads, as a plot")
    scaling.add_argument("--rounds", type=int, default=15, metavar="R")
    scaling.add_argument("--engines", default="tinynet,onnxruntime", help="tinynet first (default: %(default)s)")
    scaling.add_argument("--plot", type=Path, metavar="FILE.png", help="default: benchmarks/results/scaling.png")
    conformance = commands.add_parser("conformance", help="the onnx package's own tests of every operator")
    conformance.add_argument("--filter", default="", metavar="TEXT", help="only tests whose name contains TEXT")
    conformance.add_argument("--jobs", type=int, default=2, metavar="N", help="processes (default: %(default)s)")
    quantize = commands.add_parser("quantize", help="error of int8 networks, beside those of onnxruntime's quantiser")
    quantize.add_argument("models", nargs="*", metavar="NAME", help="default: all that are there")
    quantize.add_argument("--method", choices=("minmax", "percentile", "mse", "entropy"), help="default: the best, per network")
    integers = commands.add_parser("integers", help="every integer operator, value by value, beside onnxruntime")
    integers.add_argument("--filter", default="", metavar="TEXT", help="only operators whose name contains TEXT")
    integers.add_argument("--seeds", type=int, default=20, metavar="N", help="networks for each (default: %(default)s)")
    for command in (models, peers, threads, memory, ops, size, scaling, conformance, quantize, integers):
        command.add_argument("--json", metavar="FILE", help="also write JSON; a bare name goes to benchmarks/results/")
    commands.add_parser("table", help="regenerate the tables in benchmarks/README.md")
    generate = commands.add_parser("generate", help="write the generated networks and print their paths")
    generate.add_argument("names", nargs="*", metavar="NAME")
    twins = commands.add_parser("twins", help="8-bit twins of float32 networks, by onnxruntime's static quantiser")
    twins.add_argument("models", nargs="+", type=Path, metavar="MODEL.onnx")
    twins.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="NAME.qdq.onnx is written there")
    twins.add_argument("--format", choices=("qdq", "qoperator"), default="qdq")
    twins.add_argument("--activations", choices=("uint8", "int8"), default="uint8")
    return top


def default_models() -> list[Path]:
    from benchmarks.generate import generated

    digits = Path(__file__).parent.parent / "examples" / "digits" / "digits.onnx"
    return [*generated(), *([digits] if digits.exists() else [])]


def models_of(args: argparse.Namespace) -> list[Path]:
    """The models that the arguments name.  Raises UsageError."""
    from benchmarks.harness import label

    models = list(args.models)
    if getattr(args, "zoo", None):
        models += sorted(args.zoo.glob("*.onnx"))
        if not models:
            raise UsageError(f"{args.zoo}: there is no .onnx file")
    if not models and args.command == "peers":
        raise UsageError("peers: expected models, or a folder of them with --zoo")
    for model in models:
        if not model.exists():
            raise UsageError(f"{model}: no such file")
    for name, count in Counter(map(label, models)).items():
        if count > 1:
            raise UsageError(f"{count} models are called {name!r}: measure them into files of their own")
    return models or default_models()


def engine_names(args: argparse.Namespace) -> list[str]:
    names = args.engines.split(",")
    unknown = [n for n in names if n not in engines.NAMES]
    if unknown:
        raise UsageError(f"--engines: there is no adapter {unknown[0]!r}; known: {', '.join(engines.NAMES)}")
    return names


def need_json(args: argparse.Namespace) -> None:
    if not args.json and (args.resume or getattr(args, "update", False)):
        raise UsageError("--resume and --update need --json")


def compare(args: argparse.Namespace) -> int:
    """`models` and `peers`.  1 if tinynet is wrong, or does not run, on a model."""
    from benchmarks import conversions, harness, report
    from benchmarks.inputs import Unusable

    names = engine_names(args) if args.command == "peers" else ["tinynet", "onnxruntime"]
    need_json(args)
    cpus = tuple(int(c) for c in args.pin.split(",")) if args.pin else ()
    settings = harness.Settings(args.threads, args.rounds, args.seconds, args.burst_ms, args.gap_ms, cpus, args.isa,
                                args.cache or conversions.default_folder())
    models = models_of(args)
    rows = report.read_rows(args.json, settings) if args.resume or args.update else []
    known = {row.model for row in rows} if args.resume else set()
    started = time.monotonic()
    for number, model in enumerate(models, 1):
        name = harness.label(model)
        if name in known:
            continue
        harness.progress(f"[{number}/{len(models)}, {time.monotonic() - started:.0f} s] {name} ...")
        try:
            found = harness.bench_model(model.resolve(), names, settings)
        except Unusable as error:
            raise UsageError(str(error)) from None
        rows = [row for row in rows if row.model != name] + found
        harness.progress(f"    {found[0].rounds_used} rounds used, {report.verdict(found)}")
        if args.json:
            report.write_json(args.json, args.command, report.comparison(rows, settings))
    print(report.text(rows))
    if args.json:
        harness.progress(f"written: {report.path_of(args.json)}")
    return 0 if all(row.correct and not row.problem for row in rows if row.engine == "tinynet") else 1


class UsageError(Exception):
    pass


def run(args: argparse.Namespace) -> int:
    if args.command in ("models", "peers"):
        return compare(args)
    if args.command == "threads":
        from benchmarks import harness, threads

        if args.threads < 2:
            raise UsageError(f"--threads {args.threads}: expected at least 2, to compare with one")
        need_json(args)
        settings = harness.Settings(args.threads, args.rounds, args.seconds)
        return threads.main(models_of(args), settings, args.json, args.resume)
    if args.command == "memory":
        from benchmarks import memory

        return memory.main(models_of(args), args.threads, args.json)
    if args.command == "ops":
        from benchmarks import ops

        return ops.main(args.isa, args.seconds, args.json)
    if args.command == "size":
        from benchmarks import size

        return size.main(args.rounds, args.json)
    if args.command == "scaling":
        from benchmarks import scaling

        return scaling.main(args.rounds, args.json, args.plot or scaling.PLOT, engine_names(args))
    if args.command == "conformance":
        from benchmarks import conformance

        return conformance.main(args.filter, max(1, args.jobs), args.json)
    if args.command == "quantize":
        from benchmarks import quantize

        return quantize.main(args.models, args.method, args.json)
    if args.command == "integers":
        from benchmarks import integers

        return integers.main(args.filter, args.seeds, args.json)
    if args.command == "table":
        from benchmarks import table

        table.main()
        return 0
    if args.command == "twins":
        from benchmarks import twins

        missing = [m for m in args.models if not m.exists()]
        if missing:
            raise UsageError(f"{missing[0]}: no such file")
        return twins.main(args.models, args.out, args.format, args.activations)
    from benchmarks import generate

    wrong = [n for n in args.names if n not in generate.NETWORKS]
    if wrong:
        raise UsageError(f"there is no network {wrong[0]!r}; known: {', '.join(generate.NETWORKS)}")
    print("\n".join(map(str, generate.generated(args.names))))
    return 0


def main() -> int:
    args = parser().parse_args()
    try:
        return run(args)
    except (UsageError, ValueError) as error:
        print(f"benchmarks: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
