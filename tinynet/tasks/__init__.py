"""From a picture to an answer: what happens before and after `Model.run`.

    pictures.py   path, PIL picture or uint8 pixels -> input array (resize, colour order, mean and std)
    arrays.py     .npy and .npz files -> input arrays
    classify.py   scores -> the k best labels with probabilities
    result.py     what a call returns: Classification, RawOutputs
    labels.py     labels file -> list (no numpy)

Importing this package imports neither numpy nor Pillow; calling it does.
"""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tinynet.tasks.result import Result

ARRAY_SUFFIXES = (".npy", ".npz")


def run_picture(model: Any, image: Any, top: int = 5, labels: Sequence[str] | None = None) -> Result:
    """Run `model` on one picture and say what it shows; this is what `model(image)` does.

    image    path of a picture (str or PathLike), a PIL picture, or a uint8 array [H,W], [H,W,1], [H,W,3] (RGB) or
             [H,W,4] (RGBA).  A path that ends with .npy or .npz holds the inputs themselves and skips pre-processing.
    top      how many classes to keep, at least 1.
    labels   names of the classes instead of those in the file.

    Raises FileError (file missing), InputError (no picture, does not fit the input), MissingExtraError (Pillow),
    UsageError (`labels` of the wrong length, `top` below 1).
    """
    from tinynet.tasks import arrays, classify, pictures

    if isinstance(image, (str, PathLike)) and str(image).lower().endswith(ARRAY_SUFFIXES):
        feed, notes = arrays.load(image, model.inputs), []
    else:
        feed, notes = pictures.prepare(image, model.inputs, model.meta.preprocess)
    return classify.interpret(model, model.run(feed), top, labels, notes)
