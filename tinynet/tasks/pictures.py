"""A picture -> the network's input array, as `Preprocess` says.

Order of steps: upright (EXIF orientation), flat (transparency over white), 8 bits, RGB or grey, resized (Pillow
BILINEAR, which averages when it shrinks), colour order, (v - mean) / std in float32, then NCHW or NHWC by the
input's shape.

resize modes (h x w is the input, s = `Preprocess.size`, or h x w when empty):
    stretch     the whole picture becomes h x w; its proportions change.
    crop        the picture is scaled until it just covers s, the middle h x w of that is used.  With s larger than the
                input this is the usual "short side 256, centre crop 224" of ImageNet networks.
    letterbox   the whole picture is scaled to fit into h x w and centred on grey 114.

An input with one channel gets the grey picture whatever the colour order; `gray` with three channels repeats it.
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from tinynet.errors import FileError, InputError, MissingExtraError
from tinynet.graph import Preprocess

LETTERBOX_GREY = 114
# What Pillow registers at once, and the rest of the picture formats.  Formats that start other programs (EPS) and
# containers of documents are left out: pictures come from strangers.
COMMON_FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM")
OTHER_FORMATS = ("AVIF", "ICO", "JPEG2000", "MPO", "PCX", "QOI", "SGI", "TGA", "TIFF", "WEBP")

NOT_GIVEN = "no --mean/--std were given at conversion: pixel values 0..255 are fed as they are"


class Frame(NamedTuple):
    """What the input's shape says: channels first or last, and the size."""

    first: bool
    channels: int
    height: int
    width: int


def prepare(image: Any, inputs: Sequence[Any], preprocess: Preprocess) -> tuple[dict[str, np.ndarray], list[str]]:
    """({input name: array}, notes) for a network with one picture input.

    `image` is a path, a PIL picture or a uint8 array (see `tinynet.tasks.run_picture`).  Raises FileError,
    InputError, MissingExtraError.
    """
    if len(inputs) != 1:
        names = ", ".join(repr(info.name) for info in inputs)
        raise InputError(f"a picture can feed one input, this network has {len(inputs)} ({names}): "
                         "give an .npz file with these names")
    info = inputs[0]
    frame = picture_frame(info)
    notes = [] if preprocess.given else [NOT_GIVEN]
    pixels = _pixels(image, frame, preprocess, notes)
    return {info.name: _to_input(pixels, frame, info, preprocess)}, notes


def picture_frame(info: Any) -> Frame:
    """Frame of an input [1,C,H,W] or [1,H,W,C] with C 1 or 3; InputError for every other shape and dtype."""
    shape = tuple(info.shape)
    first = len(shape) == 4 and shape[1] in (1, 3)
    last = len(shape) == 4 and shape[3] in (1, 3)
    if first == last or shape[0] != 1 or str(info.dtype) not in ("float32", "uint8"):
        raise InputError(f"input {info.name!r} is {info.dtype} {list(shape)}; a picture needs float32 or uint8 "
                         "[1,C,H,W] or [1,H,W,C] with C 1 or 3: give a .npy file")
    return Frame(True, *shape[1:]) if first else Frame(False, shape[3], shape[1], shape[2])


def _to_input(pixels: np.ndarray, frame: Frame, info: Any, preprocess: Preprocess) -> np.ndarray:
    """uint8 [H,W,C] -> array of the input's shape and dtype."""
    if preprocess.color == "bgr" and frame.channels == 3:
        pixels = pixels[:, :, ::-1]
    mean, std = (_per_channel(what, getattr(preprocess, what), frame, info) for what in ("mean", "std"))
    if str(info.dtype) == "float32":
        values = (pixels.astype(np.float32) - mean) / std
    elif (mean == 0).all() and (std == 1).all():
        values = pixels
    else:
        raise InputError(f"input {info.name!r} is uint8 and takes pixel values as they are, but the file holds a mean "
                         "and std: convert without --mean and --std")
    if frame.first:
        values = values.transpose(2, 0, 1)
    return np.ascontiguousarray(values[np.newaxis])


def _per_channel(what: str, values: Sequence[float], frame: Frame, info: Any) -> np.ndarray:
    if len(values) not in (1, frame.channels):
        raise InputError(f"the file holds {len(values)} values of {what}, input {info.name!r} has {frame.channels} "
                         f"channels: convert again with 1 or {frame.channels} values")
    if not all(math.isfinite(value) and (value or what == "mean") for value in values):
        raise InputError(f"the file holds {what} {list(values)}: expected finite numbers, std not 0; convert again")
    return np.asarray(values, np.float32)


def _pixels(image: Any, frame: Frame, preprocess: Preprocess, notes: list[str]) -> np.ndarray:
    """The picture as uint8 [H,W,C] of the frame's size; RGB or grey."""
    mode = "L" if frame.channels == 1 or preprocess.color == "gray" else "RGB"
    if isinstance(image, np.ndarray):
        image = _checked_array(image)
        ready = (frame.height, frame.width, 1 if mode == "L" else 3)
        if image.shape == ready and not _resized_anyway(frame, preprocess):
            return _repeat(image, frame)
    Image = _pillow()
    if isinstance(image, np.ndarray):
        picture = Image.fromarray(image[:, :, 0] if image.shape[2] == 1 else image)
    elif isinstance(image, Image.Image):
        picture = image
    elif isinstance(image, (str, os.PathLike)):
        return _repeat(_from_file(image, mode, frame, preprocess, notes), frame)
    else:
        raise InputError(f"a picture is a path, a PIL picture or a uint8 array, found {type(image).__name__}")
    return _repeat(_finish(picture, "the picture", mode, frame, preprocess, notes), frame)


def _repeat(pixels: np.ndarray, frame: Frame) -> np.ndarray:
    return np.repeat(pixels, 3, axis=2) if pixels.shape[2] < frame.channels else pixels


def _resized_anyway(frame: Frame, preprocess: Preprocess) -> bool:
    return bool(preprocess.size) and tuple(preprocess.size) != (frame.height, frame.width)


def _checked_array(array: np.ndarray) -> np.ndarray:
    if array.dtype != np.uint8 or array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] not in (1, 3, 4)):
        raise InputError("a picture as array is uint8 [H,W], [H,W,1], [H,W,3] or [H,W,4], "
                         f"found {array.dtype} {list(array.shape)}")
    if 0 in array.shape:
        raise InputError(f"the picture is empty: {list(array.shape)}")
    return array[:, :, np.newaxis] if array.ndim == 2 else array


def _pillow() -> Any:
    try:
        from PIL import Image
    except ImportError as error:
        raise MissingExtraError("Pillow", "image", "reading pictures") from error
    return Image


def _from_file(path: Any, mode: str, frame: Frame, preprocess: Preprocess, notes: list[str]) -> np.ndarray:
    where = os.fsdecode(path)
    Image = _pillow()
    try:
        with open(where, "rb") as file, _identify(Image, file, where) as picture:
            return _finish(picture, repr(where), mode, frame, preprocess, notes)
    except OSError as error:
        if isinstance(error, FileError):
            raise
        raise FileError(f"cannot read picture {where!r}: {error.strerror or error}") from error


def _identify(Image: Any, file: Any, where: str) -> Any:
    for formats in (COMMON_FORMATS, OTHER_FORMATS):
        if formats is OTHER_FORMATS:
            Image.init()
            formats = [name for name in formats if name in Image.OPEN]
        try:
            return Image.open(file, formats=formats)
        except Image.UnidentifiedImageError:
            file.seek(0)
        except MemoryError:
            raise
        except Exception as error:
            # Decoders of broken files raise anything: SyntaxError, struct.error, DecompressionBombError, ...
            raise InputError(f"{where!r} cannot be read as a picture: {error}") from error
    raise InputError(f"{where!r} is not a picture that Pillow can read")


def _finish(picture: Any, where: str, mode: str, frame: Frame, preprocess: Preprocess, notes: list[str]) -> np.ndarray:
    """PIL picture -> uint8 [H,W,1] or [H,W,3] of the frame's size."""
    try:
        picture = _upright(picture, where, notes)
        picture = _eight_bits(picture, where)
        picture = _flat(picture, notes)
        if picture.mode != mode:
            picture = picture.convert(mode)
        resized = _resize(picture, frame, preprocess)
        return np.asarray(resized, np.uint8).reshape(frame.height, frame.width, -1)
    except (InputError, MemoryError):
        raise
    except Exception as error:
        raise InputError(f"{where} cannot be decoded: {error}") from error


def _upright(picture: Any, where: str, notes: list[str]) -> Any:
    from PIL import ImageOps

    picture.load()
    try:
        return ImageOps.exif_transpose(picture)
    except Exception:
        # Broken EXIF data says nothing about the pixels, which were decoded above.
        notes.append(f"{where}: unreadable EXIF data, orientation ignored")
        return picture


def _eight_bits(picture: Any, where: str) -> Any:
    """16-bit grey scaled to 8 bits (Pillow's own conversion clips instead); other modes as they are."""
    if picture.mode == "F":
        raise InputError(f"{where} has floating-point pixels, whose range is not defined: save it with 8 or 16 bits")
    if not picture.mode.startswith("I"):
        return picture
    values = np.asarray(picture).astype(np.int64)
    if values.min() < 0 or values.max() > 65535:
        raise InputError(f"{where} has 32-bit pixels, whose range is not defined: save it with 8 or 16 bits")
    return _pillow().fromarray(((values + 128) // 257).astype(np.uint8))


def _flat(picture: Any, notes: list[str]) -> Any:
    """Transparency over white; a note says so."""
    if picture.mode not in ("RGBA", "LA", "PA", "La", "RGBa") and "transparency" not in picture.info:
        return picture
    rgba = picture.convert("RGBA")
    if rgba.getextrema()[3][0] == 255:
        return rgba.convert("RGB")
    notes.append("transparent pixels are put on white")
    white = _pillow().new("RGBA", rgba.size, "white")
    white.alpha_composite(rgba)
    return white.convert("RGB")


def _resize(picture: Any, frame: Frame, preprocess: Preprocess) -> Any:
    """The picture at the frame's size (see the head of this file).  Memory stays bounded by the frame."""
    Image = _pillow()
    bilinear = Image.Resampling.BILINEAR
    width, height = picture.size
    target = (frame.width, frame.height)
    cover = tuple(preprocess.size) or (frame.height, frame.width)
    if preprocess.resize == "crop":
        if cover[0] < frame.height or cover[1] < frame.width:
            raise InputError(f"the file resizes to {cover[0]}x{cover[1]}, smaller than the network's input "
                             f"{frame.height}x{frame.width}: convert with another --size")
        scale = max(cover[0] / height, cover[1] / width)
        w, h = min(width, frame.width / scale), min(height, frame.height / scale)
        left, top = (width - w) / 2, (height - h) / 2
        return picture.resize(target, bilinear, box=(left, top, left + w, top + h))
    if cover != (frame.height, frame.width):
        raise InputError(f"the file resizes to {cover[0]}x{cover[1]}, the network's input is "
                         f"{frame.height}x{frame.width}: convert without --size, or with --resize-mode crop")
    if preprocess.resize == "letterbox":
        scale = min(frame.height / height, frame.width / width)
        fitted = max(1, round(width * scale)), max(1, round(height * scale))
        grey = Image.new(picture.mode, target, LETTERBOX_GREY if picture.mode == "L" else (LETTERBOX_GREY,) * 3)
        grey.paste(picture.resize(fitted, bilinear), ((target[0] - fitted[0]) // 2, (target[1] - fitted[1]) // 2))
        return grey
    return picture if picture.size == target else picture.resize(target, bilinear)
