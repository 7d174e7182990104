""".npy and .npz files as inputs."""

from __future__ import annotations

import struct
import zipfile
from typing import NamedTuple

import numpy as np
import pytest

from tinynet.errors import FileError, InputError
from tinynet.tasks import arrays


class Info(NamedTuple):
    name: str
    shape: tuple[int, ...]
    dtype: str = "float32"


X = Info("x", (2, 3))
Y = Info("y", (4,), "int64")
VALUES = np.arange(6, dtype=np.float32).reshape(2, 3)
COUNTS = np.arange(4)


def test_npy(tmp_path):
    np.save(tmp_path / "a.npy", VALUES)
    np.testing.assert_array_equal(arrays.load(tmp_path / "a.npy", [X])["x"], VALUES)


def test_fortran_order(tmp_path):
    np.save(tmp_path / "a.npy", np.asfortranarray(VALUES))
    array = arrays.load(tmp_path / "a.npy", [X])["x"]
    np.testing.assert_array_equal(array, VALUES)
    assert array.flags.c_contiguous


@pytest.mark.parametrize("keys", [("y", "x"), ("in1", "in0")])
@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_npz_by_name(tmp_path, keys, save):
    save(tmp_path / "a.npz", **{keys[0]: COUNTS, keys[1]: VALUES, "out0": VALUES})
    feed = arrays.load(tmp_path / "a.npz", [X, Y])
    np.testing.assert_array_equal(feed["x"], VALUES)
    np.testing.assert_array_equal(feed["y"], COUNTS)


def test_npz_by_order(tmp_path):
    np.savez(tmp_path / "a.npz", VALUES, COUNTS)
    feed = arrays.load(tmp_path / "a.npz", [X, Y])
    assert list(feed) == ["x", "y"] and feed["y"].dtype == np.int64


def test_names_that_do_not_match(tmp_path):
    np.savez(tmp_path / "a.npz", a=VALUES, b=VALUES, c=VALUES)
    with pytest.raises(InputError, match="'a', 'b', 'c', expected 'x', 'y'"):
        arrays.load(tmp_path / "a.npz", [X, Y])


def test_one_array_for_two_inputs(tmp_path):
    np.save(tmp_path / "a.npy", VALUES)
    with pytest.raises(InputError, match=r"2 inputs \('x', 'y'\)"):
        arrays.load(tmp_path / "a.npy", [X, Y])


@pytest.mark.parametrize("array", [VALUES.T.copy(), VALUES.astype(np.float64), VALUES.astype(">f4"),
                                   np.array([None, 1]), np.array("text")])
def test_wrong_shape_and_dtype(tmp_path, array):
    np.save(tmp_path / "a.npy", array, allow_pickle=True)
    with pytest.raises(InputError, match=r"'x' expects float32 \[2, 3\], found"):
        arrays.load(tmp_path / "a.npy", [X])


def test_broken_files(tmp_path):
    path = tmp_path / "a.npy"
    np.save(path, VALUES)
    whole = path.read_bytes()
    path.write_bytes(whole[:-1])
    with pytest.raises(InputError, match="cut short"):
        arrays.load(path, [X])
    for data in (b"", b"\x93NUMPY", whole[:20], b"\x93NUMPY\x09\x09" + whole[8:], b"x" * 200):
        path.write_bytes(data)
        with pytest.raises(InputError, match="not a .npy array"):
            arrays.load(path, [X])
    with pytest.raises(FileError, match="No such file"):
        arrays.load(tmp_path / "missing.npy", [X])
    with pytest.raises(FileError, match="No such file"):
        arrays.load(tmp_path / "missing.npz", [X])


def test_broken_zip(tmp_path):
    path = tmp_path / "a.npz"
    path.write_bytes(b"PK no zip")
    with pytest.raises(InputError, match="readable .npz"):
        arrays.load(path, [X])
    np.savez_compressed(path, x=VALUES)
    data = bytearray(path.read_bytes())
    data[60:75] = b"\xff" * 15
    path.write_bytes(data)
    with pytest.raises(InputError):
        arrays.load(path, [X])


def test_a_header_cannot_ask_for_more_than_the_input(tmp_path):
    header = b"{'descr': '<f4', 'fortran_order': False, 'shape': (1000000000000,)}"
    blob = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header
    with zipfile.ZipFile(tmp_path / "a.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x.npy", blob)
    with pytest.raises(InputError, match="1000000000000"):
        arrays.load(tmp_path / "a.npz", [X])
