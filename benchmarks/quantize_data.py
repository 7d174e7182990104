"""Trained networks with real inputs for the quantiser: what it is calibrated on, and what it is judged on, which is never the
same picture.

The networks and pictures are not part of the project: TINYNET_SHARED names their folder (default: ../shared beside the
checkout).  There are 14 photographs; each one gives six calibration samples: itself, mirrored, and four crops, every other
mirrored.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

SHARED = Path(os.environ.get("TINYNET_SHARED", Path(__file__).resolve().parents[2] / "shared"))
CROPS = 4


class Case(NamedTuple):
    """A network, arrays of its input to calibrate with, others to judge with, and the classes of these, if known."""

    name: str
    model: Path
    calibrate: list[np.ndarray]
    judge: list[np.ndarray]
    labels: list[int] | None = None


class Photographs(NamedTuple):
    """height, width; mean and std of (v - mean) / std; mode RGB, BGR or Y; channels last."""

    height: int
    width: int
    mean: float = 0.0
    std: float = 255.0
    mode: str = "RGB"
    last: bool = False

    def array(self, picture) -> np.ndarray:
        from PIL import Image

        picture = picture.resize((self.width, self.height), Image.Resampling.BILINEAR)
        pixels = np.asarray(picture.convert("YCbCr"))[:, :, :1] if self.mode == "Y" else np.asarray(picture)
        if self.mode == "BGR":
            pixels = pixels[:, :, ::-1]
        values = (pixels.astype(np.float32) - np.float32(self.mean)) / np.float32(self.std)
        return np.ascontiguousarray((values if self.last else values.transpose(2, 0, 1))[None])


def names() -> list[str]:
    return sorted(p.name for p in (SHARED / "images").glob("*.*")) if (SHARED / "images").is_dir() else []


def opened(name: str):
    from PIL import Image

    with Image.open(SHARED / "images" / name) as picture:
        return picture.convert("RGB")


def varied(name: str) -> Iterator:
    """The picture, its mirror image, and crops of 60 to 90 % of its sides, at places that its name decides."""
    from PIL import Image

    picture = opened(name)
    yield picture
    yield picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    rng = np.random.default_rng(list(name.encode()))
    for number in range(CROPS):
        share = rng.uniform(0.6, 0.9)
        w, h = int(picture.width * share), int(picture.height * share)
        x, y = int(rng.integers(picture.width - w + 1)), int(rng.integers(picture.height - h + 1))
        crop = picture.crop((x, y, x + w, y + h))
        yield crop.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if number % 2 else crop


def photographs(how: Photographs, judged: list[str]) -> tuple[list[np.ndarray], list[np.ndarray]]:
    others = [name for name in names() if name not in judged]
    return ([how.array(picture) for name in others for picture in varied(name)], [how.array(opened(name)) for name in judged])


def stored(model: str, file: str) -> np.ndarray:
    with np.load(SHARED / "models" / model / "expected" / file) as arrays:
        return arrays["in0"]


def singles(stack: np.ndarray) -> list[np.ndarray]:
    return [stack[i:i + 1] for i in range(len(stack))]


def listed(model: str, file: str) -> list[int] | None:
    import json

    index = json.loads((SHARED / "models" / model / "expected" / "index.json").read_text())
    rows = [row["labels"] for row in index if "labels" in row and (row["file"] == file or row["file"].endswith("_200.npz"))]
    return rows[0] if rows else None


def halves(model: str, file: str) -> Iterator[tuple[str, list, list, list[int] | None]]:
    """Every sample is judged once, by a network that was calibrated on the other half."""
    every, labels = singles(stored(model, file)), listed(model, file)
    for k in (0, 1):
        yield f"/{k}", every[1 - k::2], every[k::2], None if labels is None else labels[k::2]


def folds(how: Photographs) -> Iterator[tuple[str, list, list, None]]:
    for k in (0, 1):
        yield f"/{k}", *photographs(how, names()[k::2]), None


def fixed(how: Photographs, *judged: str) -> Callable[[], Iterator]:
    return lambda: iter([("", *photographs(how, list(judged)), None)])


def cifar(model: str, std: float) -> Iterator[tuple[str, list, list, list[int] | None]]:
    how = Photographs(32, 32, std=std, last=True)
    yield "", photographs(how, [])[0], singles(stored(model, "onnx_6.npz")), listed(model, "onnx_6.npz")


DETECTED = ("dog.jpg", "person.jpg")
NETWORKS: dict[str, Callable[[], Iterator]] = {
    "mlperf_tiny_kws": lambda: halves("mlperf_tiny_kws", "onnx_200.npz"),
    "tinymaix_mnist": lambda: halves("tinymaix_mnist", "onnx_100.npz"),
    "tinymaix_mnist_resnet": lambda: halves("tinymaix_mnist_resnet", "onnx_100.npz"),
    "tinymaix_cifar10": lambda: cifar("tinymaix_cifar10", 255.0),
    "mlperf_tiny_ic": lambda: cifar("mlperf_tiny_ic", 1.0),
    "tinymaix_mbnet128_0.25": lambda: folds(Photographs(128, 128, last=True)),
    "mobilenet_v2_1.0_224": lambda: folds(Photographs(224, 224, 128, 128)),
    "yolo-fastest-1.1": fixed(Photographs(320, 320), *DETECTED, "horses.jpg"),
    "fastestdet": fixed(Photographs(352, 352, mode="BGR"), *DETECTED, "street_3.jpg"),
    "ulfg_slim_320": fixed(Photographs(240, 320, 127, 128), "faces_2.jpg", "faces_24.jpg", "grace_hopper.bmp"),
    "super_resolution": fixed(Photographs(224, 224, mode="Y"), "super-res-input.jpg", "parrot.jpg"),
}


def cases(chosen: list[str]) -> Iterator[Case]:
    for name, make in NETWORKS.items():
        model = SHARED / "models" / name / "model.onnx"
        if model.exists() and (not chosen or name in chosen):
            for suffix, calibrate, judge, labels in make():
                yield Case(name + suffix, model, calibrate, judge, labels)
