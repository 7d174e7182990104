"""Run a model on pictures and print what they show.

A model that classifies prints the best classes with their probability; for other outputs name, shape, minimum,
maximum and the position of the maximum are printed.  Files ending with .npy or .npz are fed as raw inputs.
A picture that cannot be read is reported on stderr, the others still run, and the exit code is that of the first
failure.  An .onnx model is converted in memory first.
"""

from __future__ import annotations

import argparse
import warnings
from typing import Any

from tinynet.cli import output
from tinynet.cli.arguments import add_plugin, add_sizes, add_threads, load_plugins, positive, sizes
from tinynet.errors import FileError, InputError


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", metavar="MODEL", help=".tnb or .onnx file")
    parser.add_argument("images", metavar="IMAGE", nargs="+", help="picture, or .npy/.npz with the raw inputs")
    parser.add_argument("--top", type=positive, default=5, metavar="N", help="how many classes to print (default 5)")
    parser.add_argument("--labels", metavar="FILE", help="class names, one per line, instead of those in the model")
    add_threads(parser)
    add_sizes(parser)
    parser.add_argument("--tune", action="store_true", help="time Winograd against direct convolution layer by layer while "
                        "loading; results then depend a little on what was faster")
    add_plugin(parser)
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(args: argparse.Namespace) -> int:
    import tinynet
    from tinynet.tasks.labels import read_labels

    labels = read_labels(args.labels) if args.labels else None
    entries: list[dict[str, Any]] = []
    notes: dict[str, None] = {}
    code = 0
    load_plugins(args)
    with tinynet.load(args.model, threads=args.threads, tune=args.tune) as model, warnings.catch_warnings():
        # Pillow warns about large pictures and odd metadata long before it refuses; what matters becomes a note.
        warnings.simplefilter("ignore")
        if args.inputs:
            model.reshape(sizes(args))
        for image in args.images:
            entry, failure = _one(model, image, args, labels, notes)
            entries.append(entry)
            code = code or failure
    if args.json:
        output.print_json("run", model=args.model, results=entries, notes=list(notes))
    return code


def _one(model: Any, image: str, args: argparse.Namespace, labels: list[str] | None,
         notes: dict[str, None]) -> tuple[dict[str, Any], int]:
    """(JSON entry, exit code) of one picture; prints its lines unless JSON is wanted, and new notes."""
    from tinynet.tasks import run_picture

    try:
        result = run_picture(model, image, top=args.top, labels=labels)
    except (InputError, FileError) as error:
        output.error(str(error))
        return {"image": image, "error": str(error)}, error.exit_code
    for line in result.notes:
        if line not in notes:
            notes[line] = None
            output.note(line)
    if not args.json:
        print(output.paint(output.clean(image), "bold"))
        for line in result.lines():
            output.show(line)
    return {"image": image, **result.to_json()}, 0


