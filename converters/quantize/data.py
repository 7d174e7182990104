"""Calibration data: a folder of pictures, an .npz, a folder of .npy or .npz files, or arrays -> one sample after the other.

    pictures    prepared as the model's file says; `labels.csv` beside them (file,class) gives the right answers
    .npz        arrays by input name, stacked on axis 0; an array `labels` gives the right answers
    folder      of .npy or .npz files, one sample each
    in Python   also a list of what `Model.run` takes: dictionaries, or arrays for networks with one input

A part of the samples is held back and only used to judge the result: which ones depends on their number alone.
"""

from __future__ import annotations

import csv
import os
import zlib
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tinynet.errors import FileError, InputError, TinynetError, UsageError
from tinynet.tasks import ARRAY_SUFFIXES, arrays

PICTURES = (".avif", ".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")
LABELS = "labels.csv"
HELD_BACK = 4                   # one in so many is judged with
ENOUGH = 32                     # below that, a note
MOST_CALIBRATING, MOST_JUDGING = 512, 1024
CACHE_BYTES = 256 << 20

Feed = dict[str, np.ndarray]


class Samples:
    """`len(samples)`, `samples[i]` -> {input: array}, `samples.labels` -> classes or None.  Read when asked for, and kept while
    there is room."""

    def __init__(self, readers: Sequence[Callable[[], Feed]], labels: Sequence[int] | None = None):
        self._readers = list(readers)
        self.labels = None if labels is None else list(labels)
        self._kept: dict[int, Feed] = {}
        self._room = CACHE_BYTES

    def __len__(self) -> int:
        return len(self._readers)

    def __getitem__(self, index: int) -> Feed:
        if index not in self._kept:
            feed = self._readers[index]()
            self._room -= sum(array.nbytes for array in feed.values())
            if self._room < 0:
                return feed
            self._kept[index] = feed
        return self._kept[index]

    def take(self, indices: Iterable[int]) -> Samples:
        indices = list(indices)
        return Samples([self._readers[i] for i in indices], None if self.labels is None else [self.labels[i] for i in indices])


def split(samples: Samples, notes: list[str]) -> tuple[Samples, Samples]:
    """(to calibrate with, held back to judge with).  Fewer than `HELD_BACK` samples serve as both."""
    count = len(samples)
    order = sorted(range(count), key=lambda i: (zlib.crc32(b"%d" % i), i))
    judging = order[:min(count // HELD_BACK, MOST_JUDGING)]
    calibrating = order[count // HELD_BACK:][:MOST_CALIBRATING]
    if not judging:
        notes.append(f"only {count} sample{'s' if count > 1 else ''}: nothing is held back, the result is judged on what it "
                     "was calibrated with, which flatters it; give 100 or more")
        return samples, samples
    if count < ENOUGH:
        notes.append(f"only {count} samples ({len(judging)} of them held back to judge with): give 100 or more")
    elif len(calibrating) + len(judging) < count:
        notes.append(f"{len(calibrating)} of the {count} samples calibrate, {len(judging)} judge, the others are not used")
    return samples.take(sorted(calibrating)), samples.take(sorted(judging))


def read(data: Any, model: Any) -> Samples:
    """The samples in `data` for a Model.  Raises FileError, InputError, UsageError with what to do."""
    if isinstance(data, (str, os.PathLike)):
        return _from_path(os.fspath(data), model)
    if isinstance(data, dict):
        return _stacked({str(name): np.asarray(array) for name, array in data.items()}, model, "data")
    if isinstance(data, np.ndarray):
        return _stacked({model.inputs[0].name: data}, model, "data")
    if data is None or not isinstance(data, Iterable):
        raise UsageError(f"data: expected a folder, an .npz file, arrays or a list of samples, found {type(data).__name__}")
    feeds = []
    for number, item in enumerate(data):
        named = item if isinstance(item, dict) else {model.inputs[0].name: np.asarray(item)}
        feeds.append(_checked(named, model, f"data: sample {number}"))
    return _not_empty(Samples([lambda feed=feed: feed for feed in feeds]), "data")


def _from_path(path: str, model: Any) -> Samples:
    if not os.path.exists(path):
        if path.lower() in ("random", "noise", "none", "zeros"):
            raise UsageError(f"--int8 {path}: ranges of activations cannot be guessed, and noise has others than real inputs; "
                             "give a folder of typical pictures, or an .npz with typical inputs (100 are plenty)")
        raise FileError(f"cannot read the calibration data {path!r}: no such file or folder")
    if os.path.isdir(path):
        return _from_folder(Path(path), model)
    if path.lower().endswith(".npz"):
        return _from_npz(path, model)
    raise UsageError(f"the calibration data {path!r}: expected a folder of pictures, a folder of .npy or .npz files, or an "
                     ".npz file")


def _not_empty(samples: Samples, where: str) -> Samples:
    if not len(samples):
        raise UsageError(f"{where}: expected at least one sample, found none")
    return samples


def _from_folder(folder: Path, model: Any) -> Samples:
    try:
        files = sorted(p for p in folder.rglob("*") if p.is_file() and not p.name.startswith("."))
    except OSError as error:
        raise FileError(f"cannot read the folder {str(folder)!r}: {error.strerror or error}") from None
    pictures = [p for p in files if p.suffix.lower() in PICTURES]
    stored = [p for p in files if p.suffix.lower() in ARRAY_SUFFIXES]
    if pictures and stored:
        raise UsageError(f"{str(folder)!r} holds pictures ({pictures[0].name}) and arrays ({stored[0].name}): expected one "
                         "kind")
    if not pictures and not stored:
        raise UsageError(f"{str(folder)!r} holds no pictures ({', '.join(PICTURES)}) and no .npy or .npz files")
    if stored:
        return Samples([lambda p=p: arrays.load(p, model.inputs) for p in stored])
    from tinynet.tasks.pictures import prepare

    table = folder / LABELS
    labels = _labels(table, folder, model) if table.exists() else None
    if labels is not None:
        missing = [p for p in pictures if p not in labels]
        if missing:
            raise UsageError(f"{str(table)!r} has no row for {missing[0].relative_to(folder).as_posix()!r}: expected one per "
                             "picture")
    return Samples([lambda p=p: prepare(p, model.inputs, model.meta.preprocess)[0] for p in pictures],
                   None if labels is None else [labels[p] for p in pictures])


def _labels(table: Path, folder: Path, model: Any) -> dict[Path, int]:
    """Picture -> class, from rows file,class; the class is its number or its name in the model's labels."""
    try:
        with open(table, newline="", encoding="utf-8-sig") as file:
            rows = [[cell.strip() for cell in row] for row in csv.reader(file) if row and not row[0].startswith("#")]
    except OSError as error:
        raise FileError(f"cannot read {str(table)!r}: {error.strerror or error}") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{str(table)!r} is no table of file,class: {error}") from None
    if rows and rows[0] == ["file", "class"]:
        rows = rows[1:]
    names = {name: i for i, name in reversed(list(enumerate(model.meta.labels)))}
    labels = {}
    for number, row in enumerate(rows, 1):
        text = row[1] if len(row) == 2 else ""
        if not (text.isdecimal() or text in names):
            raise InputError(f"{str(table)!r}: row {number}: expected file,class with a class number or one of the model's "
                             f"labels, found {','.join(row)[:80]!r}")
        labels[folder / row[0]] = names[text] if text in names else int(text)
    return labels


def _from_npz(path: str, model: Any) -> Samples:
    try:
        with np.load(path, allow_pickle=False) as file:
            found = {name: file[name] for name in file.files}
    except (OSError, EOFError, ValueError, zlib.error, NotImplementedError, RuntimeError) as error:
        raise InputError(f"{path!r} is not a readable .npz file: {error}") from None
    except Exception as error:      # zipfile.BadZipFile and what broken archives raise besides
        raise InputError(f"{path!r} is not a readable .npz file: {type(error).__name__}: {error}") from None
    return _stacked(found, model, repr(path))


def _stacked(found: dict[str, np.ndarray], model: Any, where: str) -> Samples:
    """Arrays with one more axis than the inputs, or with more entries along an axis 0 that is 1."""
    labels = found.get("labels") if "labels" not in [i.name for i in model.inputs] else None
    others = [name for name in found if labels is None or name != "labels"]
    names = arrays._match(where, others, model.inputs)
    stacks: dict[str, np.ndarray] = {}
    for info, name in zip(model.inputs, names, strict=True):
        array, shape = found[name], tuple(info.shape)
        if array.dtype != np.dtype(info.dtype) and not (info.dtype == "float32" and array.dtype.kind == "f"):
            raise InputError(f"{where}: input {info.name!r} expects {info.dtype}, found {array.dtype} {list(array.shape)}: "
                             "convert it to what the network is fed with")
        if array.shape[1:] == shape:
            stacks[info.name] = array
        elif len(shape) >= 1 and array.shape[1:] == shape[1:] and array.ndim == len(shape) and shape[0] and \
                not array.shape[0] % shape[0]:
            stacks[info.name] = array.reshape(-1, *shape)
        else:
            raise InputError(f"{where}: input {info.name!r} expects samples {list(shape)} stacked on axis 0, found "
                             f"{list(array.shape)}")
    counts = {name: len(array) for name, array in stacks.items()}
    if len(set(counts.values())) > 1:
        raise InputError(f"{where}: expected as many samples of every input, found {counts}")
    count = next(iter(counts.values()))
    if labels is not None and (labels.shape != (count,) or labels.dtype.kind not in "iu"):
        raise InputError(f"{where}: labels: expected {count} integers, found {labels.dtype} {list(labels.shape)}")

    def reader(i: int) -> Callable[[], Feed]:
        return lambda: {info.name: np.ascontiguousarray(stacks[info.name][i], info.dtype) for info in model.inputs}

    return _not_empty(Samples([reader(i) for i in range(count)], None if labels is None else [int(v) for v in labels]), where)


def _checked(named: dict[str, Any], model: Any, where: str) -> Feed:
    try:
        return dict(zip([i.name for i in model.inputs], model._checked_inputs(dict(named)), strict=True))
    except TinynetError as error:
        raise InputError(f"{where}: {error}") from None
