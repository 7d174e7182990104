"""Quantise an fp32 .tnb file to 8-bit integers, calibrated on typical inputs.

DATA is a folder of typical pictures, an .npz with inputs stacked on axis 0, or a folder of .npy or .npz files; 100 samples
are plenty.  A quarter of them is held back to judge the result with; labels.csv (rows file,class) in the folder, or an
array `labels` in the .npz, lets it be judged by accuracy.  Exit code 1 beyond --max-drop.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from tinynet.cli.arguments import add_plugin, load_plugins
from tinynet.cli.convert import add_int8, check_files, print_report, shown_failure
from tinynet.errors import UsageError


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", metavar="MODEL", help=".tnb file with float32 layers")
    parser.add_argument("data", metavar="DATA", nargs="?", help="what to calibrate on")
    parser.add_argument("--int8", "--data", dest="named", metavar="DATA", help="the same, spelled as in `tinynet convert`")
    parser.add_argument("-o", "--output", metavar="FILE", help="default: MODEL_int8.tnb")
    add_int8(parser)
    add_plugin(parser)
    parser.add_argument("--json", action="store_true", help="print the report as one JSON object")
    parser.add_argument("-q", "--quiet", action="store_true", help="print nothing but errors (and --json)")


def run(args: argparse.Namespace) -> int:
    from tinynet.cli.progress import Progress

    if (args.data is None) == (args.named is None):
        raise UsageError("expected calibration data once: a folder of typical pictures, an .npz, or a folder of .npy or .npz "
                         "files as DATA; ranges of activations cannot be guessed")
    target = args.output or str(Path(args.model).with_name(f"{Path(args.model).stem}_int8.tnb"))
    check_files(args.model, target, ".tnb")
    if args.model.lower().endswith(".onnx"):
        raise UsageError(f"{args.model!r} is no .tnb file: use `tinynet convert {args.model} --int8 DATA`")
    load_plugins(args)
    from tinynet.converters.quantize import quantize

    with shown_failure(args), Progress() as progress:
        report = quantize(args.model, args.named if args.data is None else args.data, target, method=args.method,
                          max_drop=args.max_drop, keep=args.keep, target=args.target, progress=progress)
    print_report(args, "quantize", report)
    return 0
