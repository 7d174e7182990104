"""The command line: one module per command, imported when its command is asked for.

A command module has `configure(parser)`, which adds its arguments, and `run(args) -> exit code`.  It prints results
on stdout and everything else on stderr, and raises the errors of `tinynet/errors.py`.
"""

from __future__ import annotations

import argparse
import importlib
from typing import NoReturn

from tinynet.errors import UsageError

COMMANDS = {
    "convert": "make a .tnb file from an ONNX model",
    "quantize": "make an 8-bit model of a .tnb file",
    "run": "run a model on pictures",
    "inspect": "show what a .tnb file holds",
    "plan": "show the steps and the memory map of a model",
    "bench": "measure how fast a model runs here",
    "compare": "compare a .tnb file with its ONNX model, through onnxruntime",
    "supported": "list the ONNX operators that convert, and their limits",
    "doctor": "show processor, kernels, threads and versions",
}

EPILOG = """exit codes: 0 ok, 1 comparison failed or --max-drop exceeded, 2 usage or missing package,
3 file missing, corrupt or not writable, 4 unsupported model, 5 limit exceeded, 6 bad input data,
70 internal error, 130 interrupted"""


class Parser(argparse.ArgumentParser):
    """argparse, with its errors as UsageError: one line and exit code 2 like all others."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message}; see {self.prog} --help")


class Version(argparse.Action):
    """--version, without a look at the version until it is asked for."""

    def __call__(self, parser, namespace, values, option_string=None):
        print(f"tinynet {version()}")
        parser.exit()


def version() -> str:
    import tinynet

    return tinynet.__version__


def dispatch(argv: list[str]) -> int:
    """Parse `argv` and run its command; returns the exit code.  Raises UsageError, or SystemExit after --help."""
    name = next((word for word in argv if not word.startswith("-")), "")
    args = build_parser(name).parse_args(argv)
    return args.run(args)


def build_parser(command: str = "") -> Parser:
    """The parser, in which only `command` has its arguments; the other commands are known by name."""
    parser = Parser(prog="tinynet", description="Run neural networks on CPU-only boards.", epilog=EPILOG,
                    formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False)
    parser.add_argument("-V", "--version", action=Version, nargs=0, help="print the version and exit")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True, parser_class=Parser)
    for name, summary in COMMANDS.items():
        sub = commands.add_parser(name, help=summary, description=summary[0].upper() + summary[1:] + ".",
                                  allow_abbrev=False, formatter_class=argparse.RawDescriptionHelpFormatter)
        if name == command:
            module = importlib.import_module(f"tinynet.cli.{name}")
            sub.description = module.__doc__
            module.configure(sub)
            sub.set_defaults(run=module.run)
    if command and command not in COMMANDS:
        parser.error(_unknown(command))
    return parser


def _unknown(command: str) -> str:
    import difflib

    close = difflib.get_close_matches(command, COMMANDS, n=1)
    if close:
        return f"unknown command {command!r}, did you mean {close[0]!r}?"
    if command.lower().endswith((".tnb", ".onnx")):
        return f"unknown command {command!r}, did you mean 'tinynet run {command} IMAGE'?"
    return f"unknown command {command!r}, expected one of {', '.join(COMMANDS)}"
