"""Show the steps that a model runs as, and where its tensors lie in memory."""

from __future__ import annotations

import argparse

from tinynet.cli import output
from tinynet.cli.arguments import add_plugin, add_sizes, add_threads, load_plugins, sizes


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", metavar="MODEL", help=".tnb or .onnx file")
    add_threads(parser)
    add_sizes(parser)
    add_plugin(parser)


def run(args: argparse.Namespace) -> int:
    import tinynet

    load_plugins(args)
    with tinynet.load(args.model, threads=args.threads) as model:
        if args.inputs:
            model.reshape(sizes(args))
        for text in (str(model.plan), "", str(model.memory)):
            for line in text.split("\n"):
                output.show(line)
    return 0
