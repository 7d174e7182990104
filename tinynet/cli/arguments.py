"""Argument types that several commands share."""

from __future__ import annotations

import argparse
import os
import re

from tinynet.errors import FileError, TinynetError, UsageError


def positive(text: str) -> int:
    """An integer of at least 1."""
    try:
        value = int(text)
    except ValueError:
        value = 0
    if value < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number of at least 1, found {text!r}")
    return value


def positive_number(text: str) -> float:
    """A finite number above 0."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"expected a number above 0, found {text!r}")
    return value


def add_threads(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--threads", type=positive, metavar="N",
                        help="default: TINYNET_NUM_THREADS, else the CPUs that this process may use")


def named_shape(text: str) -> tuple[str, tuple[int, ...]]:
    """NAME=1x3x320x320 -> (NAME, (1, 3, 320, 320)); commas work too."""
    name, equals, dims = text.rpartition("=")
    if not equals or not name or not re.fullmatch(r"[1-9][0-9]{0,9}([x,][1-9][0-9]{0,9})*", dims, re.ASCII):
        raise argparse.ArgumentTypeError(f"expected NAME=1x3x320x320 with dimensions of at least 1, found {text!r}")
    return name, tuple(int(d) for d in re.split("[x,]", dims))


def add_sizes(parser: argparse.ArgumentParser, text: str = "shape of an input whose size is open; may be repeated") -> None:
    parser.add_argument("--input", dest="inputs", action="append", type=named_shape, default=[], metavar="NAME=DIMS", help=text)


def sizes(args: argparse.Namespace) -> dict[str, tuple[int, ...]]:
    """Input name -> shape.  UsageError for a name that is given twice."""
    shapes = dict(args.inputs)
    if len(shapes) != len(args.inputs):
        raise UsageError("--input names the same input twice")
    return shapes


def add_plugin(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--plugin", dest="plugins", action="append", default=[], metavar="FILE.py",
                        help="Python file to run first, which registers custom layers; may be repeated")


def load_plugins(args: argparse.Namespace) -> None:
    """Run the files in their order.  Raises FileError, UsageError."""
    import importlib.util

    for number, path in enumerate(args.plugins):
        if not os.path.isfile(path) or not path.endswith(".py"):
            raise FileError(f"cannot read the plugin {path!r}: expected a Python file that exists")
        spec = importlib.util.spec_from_file_location(f"tinynet_plugin_{number}", path)
        try:
            spec.loader.exec_module(importlib.util.module_from_spec(spec))
        except TinynetError:
            raise
        except Exception as error:
            raise UsageError(f"the plugin {path!r} failed: {type(error).__name__}: {error}") from error
