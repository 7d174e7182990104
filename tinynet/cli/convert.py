"""Convert an ONNX model to a .tnb file.

Pixel values 0..255 become inputs as (v - mean) / std; without --mean and --std they are fed as they are.
Resize modes: stretch (the whole picture, proportions change), crop (the picture covers --size, its middle is used),
letterbox (the whole picture fits inside, on grey 114).

--int8 DATA quantises the network: DATA is a folder of typical pictures, an .npz with inputs stacked on axis 0, or a folder
of .npy or .npz files, 100 samples are plenty.  A quarter of them is held back to judge the result with; labels.csv (rows
file,class) in the folder, or an array `labels` in the .npz, lets it be judged by accuracy.  Exit code 1 beyond --max-drop.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tinynet.cli import output
from tinynet.cli.arguments import add_plugin, add_sizes, load_plugins, sizes
from tinynet.errors import AccuracyError, FileError, InputError, UsageError


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", metavar="MODEL", help=".onnx file")
    parser.add_argument("-o", "--output", metavar="FILE", help="default: MODEL with the ending .tnb")
    add_sizes(parser, "fixes the shape of an input, for example data=1x3x320x320; may be repeated")
    add_plugin(parser)
    parser.add_argument("--constant", dest="constants", action="append", type=named_value, default=[],
                        metavar="NAME=VALUE", help="freeze an input: a number, numbers such as 1,-1 or [[1,2],[3,4]], or "
                        "FILE.npy; may be repeated")
    parser.add_argument("--outputs", type=names, metavar="NAME,...", help="cut the network at these tensors, which become "
                        "its outputs")
    parser.add_argument("--mean", nargs="+", metavar="V", help="mean of the pixel values: one number, or one per "
                        "channel, separated by blanks or commas")
    parser.add_argument("--std", nargs="+", metavar="V", help="their standard deviation, likewise")
    parser.add_argument("--size", type=height_width, metavar="HxW", help="size that pictures are resized to "
                        "(default: that of the input)")
    parser.add_argument("--resize-mode", choices=("stretch", "crop", "letterbox"), help="default: stretch")
    parser.add_argument("--color", choices=("rgb", "bgr", "gray"), help="order of the channels (default: rgb)")
    parser.add_argument("--labels", metavar="FILE", help="class names, one per line, stored in the file")
    parser.add_argument("--task", choices=("classify",), help="what the outputs mean, where it cannot be guessed")
    parser.add_argument("--winograd", action="store_true", help="store what 3x3 convolutions transform at load: the file "
                        "grows, loading takes less time")
    parser.add_argument("--int8", metavar="DATA", help="quantise, calibrated on this data")
    add_int8(parser)
    parser.add_argument("--weights", choices=("fp16", "int8"), help="store weights in half or a quarter of the bytes; they are "
                        "float32 again once the model is loaded")
    parser.add_argument("--json", action="store_true", help="print the report as one JSON object")
    parser.add_argument("-q", "--quiet", action="store_true", help="print nothing but errors (and --json)")


def add_int8(parser: argparse.ArgumentParser) -> None:
    """What `convert --int8` and `quantize` share."""
    methods = parser.add_mutually_exclusive_group()
    for method, text in (("minmax", "everything that was seen"), ("percentile", "all but 0.01 %% at either end"),
                         ("mse", "least squared error"), ("entropy", "least Kullback-Leibler divergence")):
        methods.add_argument(f"--{method}", dest="method", action="store_const", const=method,
                             help=f"ranges of activations: {text} (default: the better of minmax and mse)")
    parser.add_argument("--max-drop", type=share, metavar="P%", help="write nothing if more than this is lost on the data held "
                        "back, of the top classes or, with labels, of the accuracy")
    parser.add_argument("--keep", nargs="+", action="extend", default=[], metavar="LAYER", help="layers that stay float32")
    parser.add_argument("--target", choices=("any", "x86", "x86-avx2", "arm"), default="any", help="layers that "
                        "int8 would slow down there stay float32; x86: with VNNI, x86-avx2: without (default: any, those that "
                        "it would slow down everywhere)")


def share(text: str) -> float:
    """1% or 0.01 -> 0.01."""
    percent = text.endswith("%")
    try:
        value = float(text.removesuffix("%")) / (100 if percent else 1)
    except ValueError:
        value = -1.0
    if not 0 <= value < 1:
        raise argparse.ArgumentTypeError(f"expected a share such as 1% or 0.01, found {text!r}")
    return value


def names(text: str) -> list[str]:
    found = [name for name in text.split(",") if name]
    if not found:
        raise argparse.ArgumentTypeError(f"expected NAME,..., found {text!r}")
    return found


def named_value(text: str) -> tuple[str, Any]:
    """NAME=3, NAME=1,-1, NAME=[[1,2],[3,4]], NAME=true -> (NAME, number or nested lists); NAME=FILE.npy -> (NAME, path)."""
    name, equals, value = text.partition("=")
    if not equals or not name or not value:
        raise argparse.ArgumentTypeError(f"expected NAME=VALUE or NAME=FILE.npy, found {text!r}")
    if value.endswith(".npy"):
        return name, Path(value)
    try:
        return name, json.loads(f"[{value}]" if "," in value and not value.startswith("[") else value)
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected NAME=VALUE with a number, numbers such as 1,-1 or [[1,2],[3,4]], or "
                                         f"a file ending with .npy, found {text!r}") from None


def height_width(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"([1-9][0-9]{0,5})[x,]([1-9][0-9]{0,5})", text, re.ASCII)
    if not match:
        raise argparse.ArgumentTypeError(f"expected HEIGHTxWIDTH such as 224x224, found {text!r}")
    return int(match[1]), int(match[2])


def numbers(option: str, words: list[str] | None) -> tuple[float, ...] | None:
    """["1,2", "3"] -> (1.0, 2.0, 3.0); None stays None."""
    if words is None:
        return None
    values = []
    for word in re.split("[,\\s]+", " ".join(words).strip(", ")):
        try:
            values.append(float(word))
        except ValueError:
            raise UsageError(f"{option} expects numbers, found {word!r} (MODEL goes before {option}, "
                             f"or join the values by commas)") from None
    return tuple(values)


def run(args: argparse.Namespace) -> int:
    from tinynet.cli.progress import Progress

    target = args.output or str(Path(args.model).with_suffix(".tnb"))
    options = _options(args)
    check_files(args.model, target)
    load_plugins(args)
    from tinynet import converters

    with shown_failure(args), Progress() as progress:
        report = converters.convert(args.model, target, **options, progress=progress)
    print_report(args, "convert", report)
    return 0


def print_report(args: argparse.Namespace, command: str, report: Any) -> None:
    if not args.quiet:
        for line in report.notes:
            output.note(line)
    if args.json:
        fields = report.to_json()
        output.print_json(command, **{k: v for k, v in fields.items() if k not in ("version", "command")})
    elif not args.quiet:
        for line in report.lines():
            output.show(line)


@contextlib.contextmanager
def shown_failure(args: argparse.Namespace) -> Iterator[None]:
    """--max-drop: people want to see which layers lost so much."""
    try:
        yield
    except AccuracyError as error:
        if not (args.quiet or args.json):
            from tinynet.cli import quality

            for line in quality.lines(error.report, 0):
                output.show(line)
        raise


def _options(args: argparse.Namespace) -> dict[str, Any]:
    shapes = sizes(args)
    constants = {name: read_array(value) if isinstance(value, Path) else value for name, value in args.constants}
    if len(constants) != len(args.constants):
        raise UsageError("--constant names the same input twice")
    labels = None
    if args.labels:
        from tinynet.tasks.labels import read_labels

        labels = read_labels(args.labels)
    return {"inputs": shapes or None, "constants": constants or None, "outputs": args.outputs,
            "mean": numbers("--mean", args.mean), "std": numbers("--std", args.std), "size": args.size,
            "resize_mode": args.resize_mode, "color": args.color, "labels": labels, "task": args.task,
            "winograd": args.winograd, "int8": args.int8, "method": args.method, "max_drop": args.max_drop, "keep": args.keep,
            "target": args.target, "weights": args.weights}


def read_array(path: Path) -> Any:
    """The array in a .npy file.  Raises FileError, InputError."""
    import numpy as np

    try:
        return np.load(path, allow_pickle=False)
    except OSError as error:
        raise FileError(f"cannot read {str(path)!r}: {error.strerror or error}") from None
    except (ValueError, EOFError) as error:
        raise InputError(f"{str(path)!r} is not a .npy array: {error}") from None


def check_files(source: str, target: str, kind: str = ".onnx") -> None:
    """What can be told about both files before the work starts.  Raises FileError, UsageError."""
    if not os.path.exists(source):
        raise FileError(f"cannot read {source!r}: no such file")
    if os.path.isdir(source):
        raise FileError(f"cannot read {source!r}: it is a folder, expected a{'n' * (kind == '.onnx')} {kind} file")
    if os.path.exists(target) and os.path.samefile(source, target):
        raise UsageError(f"the output {target!r} is the model itself: choose another name with -o")
    folder = os.path.dirname(target) or "."
    if os.path.isdir(target):
        raise FileError(f"cannot write {target!r}: it is a folder")
    if os.path.exists(target) and not os.path.isfile(target):
        # The finished file takes the place of the old one, which would do away with /dev/null.
        raise FileError(f"cannot write {target!r}: it is a device or pipe, expected a file")
    if not os.path.isdir(folder):
        raise FileError(f"cannot write {target!r}: there is no folder {folder!r}")
    if not os.access(folder, os.W_OK):
        raise FileError(f"cannot write {target!r}: the folder {folder!r} is not writable")
