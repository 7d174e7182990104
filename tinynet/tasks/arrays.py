"""Inputs from .npy and .npz files, for networks that do not take pictures.

The header of every array is checked against the network's input before its data is read, so a file cannot ask for
more memory than the network itself; pickled objects are refused.
"""

from __future__ import annotations

import os
import zipfile
import zlib
from collections.abc import Sequence
from typing import IO, Any

import numpy as np

from tinynet.errors import FileError, InputError


def load(path: Any, inputs: Sequence[Any]) -> dict[str, np.ndarray]:
    """Input name -> array from a .npy (networks with one input) or .npz file.

    The arrays of an .npz go by the inputs' names, or else `in0`, `in1`, ... in the order of the inputs, or else, when
    it holds exactly as many arrays as the network has inputs, by their order.  `inputs` has name, shape and dtype.
    Raises FileError (missing, unreadable) and InputError (not such a file, wrong names, shape or dtype).
    """
    where = os.fsdecode(path)
    try:
        if where.lower().endswith(".npz"):
            return _load_npz(where, inputs)
        if len(inputs) != 1:
            raise InputError(f"{where!r} holds one array, but the network has {len(inputs)} inputs "
                             f"({_names(inputs)}): give an .npz file with these names")
        with open(where, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            return {inputs[0].name: _read_array(file, size, where, inputs[0])}
    except OSError as error:
        if isinstance(error, FileError):
            raise
        raise FileError(f"cannot read {where!r}: {error.strerror or error}") from error


def _names(inputs: Sequence[Any]) -> str:
    return ", ".join(repr(info.name) for info in inputs)


def _load_npz(where: str, inputs: Sequence[Any]) -> dict[str, np.ndarray]:
    try:
        with zipfile.ZipFile(where) as archive:
            members = {name.removesuffix(".npy"): name for name in archive.namelist()}
            keys = _match(where, list(members), inputs)
            feed = {}
            for info, key in zip(inputs, keys, strict=True):
                member = archive.getinfo(members[key])
                with archive.open(member) as file:
                    feed[info.name] = _read_array(file, member.file_size, f"{where}:{key}", info)
            return feed
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError, zlib.error) as error:
        raise InputError(f"{where!r} is not a readable .npz file: {error}") from error


def _match(where: str, found: list[str], inputs: Sequence[Any]) -> list[str]:
    by_name = [info.name for info in inputs]
    by_number = [f"in{i}" for i in range(len(inputs))]
    for keys in (by_name, by_number):
        if all(key in found for key in keys):
            return keys
    if len(found) == len(inputs):
        return found
    shown = ", ".join(repr(name) for name in found[:8]) + (", ..." if len(found) > 8 else "")
    raise InputError(f"{where!r} holds {shown or 'no arrays'}, expected {_names(inputs)}: "
                     "name the arrays like the inputs")


def _read_array(file: IO[bytes], size: int, where: str, info: Any) -> np.ndarray:
    """The array of `info`'s shape and dtype at the start of `file`, a .npy stream of `size` bytes."""
    try:
        version = np.lib.format.read_magic(file)
        if version not in ((1, 0), (2, 0), (3, 0)):
            raise ValueError(f"unknown version {version} of the format")
        header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, fortran_order, dtype = header(file)
    except (ValueError, SyntaxError, EOFError) as error:
        raise InputError(f"{where!r} is not a .npy array: {error}") from error
    if tuple(shape) != tuple(info.shape) or dtype != np.dtype(info.dtype):
        raise InputError(f"{where!r}: input {info.name!r} expects {info.dtype} {list(info.shape)}, "
                         f"found {dtype} {list(shape)}")
    wanted = dtype.itemsize * int(np.prod(shape, dtype=np.int64))
    data = file.read(wanted) if wanted <= size else b""
    if len(data) != wanted:
        raise InputError(f"{where!r} is cut short: its header promises {wanted} bytes of data")
    flat = np.frombuffer(data, dtype)
    array = flat.reshape(shape[::-1]).T if fortran_order else flat.reshape(shape)
    return np.ascontiguousarray(array, dtype=info.dtype).reshape(shape)
