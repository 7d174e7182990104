"""Convert the digits network and run it on the pictures beside it: `make demo`.

    python examples/demo.py [--build DIR] [PICTURE...]

One line per picture on stdout: file, digit, probability, right or wrong.  Exit code 1 if any is wrong; the true
digit is the first character of the picture's name.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import tinynet
import tinynet.converters
from tinynet.errors import TinynetError

HERE = Path(__file__).resolve().parent
DIGITS = HERE / "digits"


def demo(pictures: list[Path], build: Path) -> bool:
    """Convert into `build`, run every picture, print its line; True if all digits are right."""
    build.mkdir(parents=True, exist_ok=True)
    target = build / "digits.tnb"
    tinynet.converters.convert(DIGITS / "digits.onnx", target, mean=0.0, std=255.0, color="gray",
                               labels=DIGITS / "labels.txt")
    right = 0
    with tinynet.load(target) as model:
        for picture in pictures:
            _, label, probability = model(picture).top[0]
            correct = label == picture.name[0]
            right += correct
            print(f"{picture.name:10} {label}  {probability:.4f}  {'right' if correct else 'WRONG'}")
    print(f"{right} of {len(pictures)} right", file=sys.stderr)
    return right == len(pictures)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Convert the digits network and run it on pictures.")
    parser.add_argument("pictures", nargs="*", type=Path, metavar="PICTURE",
                        help="pictures named after their digit, such as 3_0.png (default: the bundled ones)")
    parser.add_argument("--build", type=Path, default=HERE.parent / "build" / "demo", metavar="DIR",
                        help="folder for digits.tnb (default: build/demo)")
    args = parser.parse_args(argv)
    pictures = args.pictures or sorted((DIGITS / "pictures").glob("*.png"))
    if not pictures:
        parser.error("no pictures: expected PNG files in examples/digits/pictures or as arguments")
    try:
        return 0 if demo(pictures, args.build) else 1
    except TinynetError as error:
        print(f"demo: {error}", file=sys.stderr)
        return error.exit_code


if __name__ == "__main__":
    sys.exit(main())
