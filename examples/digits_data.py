"""The handwritten digits of scikit-learn as the digits network sees them: grey pixels 0..255, and a fixed split.

1797 pictures of 8x8 pixels with values 0..16 (Alpaydin and Kaynak, "Optical Recognition of Handwritten Digits",
UCI repository, 1998; the part that ships inside scikit-learn).  Bright ink on a dark ground.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

SPLIT_SEED = 20
HELD_OUT_SHARE = 0.25
PICTURE_SCALE = 8


def to_pixels(values: np.ndarray) -> np.ndarray:
    """Values 0..16, any shape -> grey pixels 0..255, uint8, the numbers that a picture file stores."""
    return np.rint(np.asarray(values) * (255.0 / 16.0)).astype(np.uint8)


def to_input(pixels: np.ndarray) -> np.ndarray:
    """Pixels [N, 8, 8] uint8 -> network input [N, 1, 8, 8] float32 in 0..1 (mean 0, std 255)."""
    return (pixels.astype(np.float32) / np.float32(255.0))[:, None]


def load_split() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """(training pixels [N, 8, 8] uint8, training digits [N] int64, held-out pixels, held-out digits).

    The same split on every machine and for every training seed: stratified, `HELD_OUT_SHARE` held out.
    Raises ImportError without scikit-learn.
    """
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    digits = load_digits()
    train_x, held_x, train_y, held_y = train_test_split(
        to_pixels(digits.images), digits.target.astype(np.int64),
        test_size=HELD_OUT_SHARE, random_state=SPLIT_SEED, stratify=digits.target)
    return train_x, train_y, held_x, held_y


def to_picture(pixels: np.ndarray):
    """Pixels [8, 8] uint8 -> Pillow picture 64x64, each pixel a square, large enough to look at."""
    from PIL import Image

    square = np.ones((PICTURE_SCALE, PICTURE_SCALE), np.uint8)
    return Image.fromarray(np.kron(pixels, square))


def from_picture(picture, resample: str = "BILINEAR") -> np.ndarray:
    """Pillow picture of any size -> pixels [8, 8] uint8, shrunk with the named Pillow filter."""
    from PIL import Image

    return np.asarray(picture.convert("L").resize((8, 8), Image.Resampling[resample]))


def read_picture(path: Path, resample: str = "BILINEAR") -> np.ndarray:
    """Picture file -> pixels [8, 8] uint8, as `from_picture`."""
    from PIL import Image

    with Image.open(path) as picture:
        return from_picture(picture, resample)


def probabilities(model: bytes, pixels: np.ndarray) -> np.ndarray:
    """What onnxruntime computes: ONNX bytes, pixels [N, 8, 8] uint8 -> [N, 10] float32, one run per picture."""
    import onnxruntime

    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    rows = [session.run(["probability"], {"image": x[None]})[0][0] for x in to_input(pixels)]
    return np.stack(rows)
