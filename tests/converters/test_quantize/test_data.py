from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from tinynet.converters.quantize import data
from tinynet.errors import FileError, InputError, UsageError
from tinynet.graph import Meta, Preprocess
from tinynet.model import TensorInfo


class Takes:
    """What `data.read` needs of a Model."""

    def __init__(self, *inputs: TensorInfo, labels: list[str] | None = None):
        self.inputs = inputs
        self.meta = Meta(labels=labels, preprocess=Preprocess(mean=(10.0,), std=(2.0,), given=True))

    def _checked_inputs(self, named):
        from tinynet.model import Model

        return Model._checked_inputs(self, named)

    _match = property(lambda self: lambda *args: __import__("tinynet.model").model.Model._match(self, *args))
    _check = property(lambda self: lambda *args: __import__("tinynet.model").model.Model._check(self, *args))


@pytest.fixture
def pictures():
    return Takes(TensorInfo("image", (1, 3, 4, 6), "float32"), labels=["cat", "dog", "cat"])


@pytest.fixture
def vectors():
    return Takes(TensorInfo("a", (1, 3), "float32"), TensorInfo("n", (2,), "int64"))


def painted(folder, count):
    folder.mkdir(exist_ok=True)
    for i in range(count):
        Image.new("RGB", (6, 4), (10 * i, 20, 30)).save(folder / f"{i}.png")
    return folder


def test_pictures_are_prepared_as_the_model_says(tmp_path, pictures):
    samples = data.read(painted(tmp_path, 3), pictures)
    assert len(samples) == 3 and samples.labels is None
    assert samples[2]["image"].shape == (1, 3, 4, 6)
    assert (samples[2]["image"][0, :, 1, 1] == [5, 5, 10]).all()


def test_labels_by_number_and_by_name(tmp_path, pictures):
    painted(tmp_path, 3)
    (tmp_path / "labels.csv").write_text("file,class\n0.png,1\n1.png,cat\n\n2.png, dog\n")
    assert data.read(tmp_path, pictures).labels == [1, 0, 1]


@pytest.mark.parametrize("text, words", [
    ("0.png,1\n", "no row for '1.png'"), ("0.png,bird\n1.png,1\n", "row 1: expected file,class"), ("0.png\n", "row 1"),
    ("0.png,-1\n1.png,0\n", "row 1")])
def test_labels_that_say_nothing(tmp_path, pictures, text, words):
    painted(tmp_path, 2)
    (tmp_path / "labels.csv").write_text(text)
    with pytest.raises((UsageError, InputError), match=words):
        data.read(tmp_path, pictures)


def test_npz_stacked_on_axis_0(tmp_path, vectors):
    a = np.arange(15, dtype=np.float32).reshape(5, 3)
    n = np.arange(10).reshape(5, 2)
    np.savez(tmp_path / "in.npz", a=a, n=n, labels=np.array([1, 0, 2, 1, 1]))
    samples = data.read(str(tmp_path / "in.npz"), vectors)
    assert len(samples) == 5 and samples.labels == [1, 0, 2, 1, 1]
    assert (samples[3]["a"] == a[3:4]).all() and (samples[3]["n"] == n[3]).all()
    np.savez(tmp_path / "in.npz", in0=a[:, None], in1=n)
    assert (data.read(tmp_path / "in.npz", vectors)[4]["a"] == a[4:]).all()


@pytest.mark.parametrize("arrays, words", [
    ({"a": np.zeros((4, 2), "f4"), "n": np.zeros((4, 2), "i8")}, r"samples \[1, 3\] stacked on axis 0, found \[4, 2\]"),
    ({"a": np.zeros((4, 3), "u1"), "n": np.zeros((4, 2), "i8")}, "expects float32, found uint8"),
    ({"a": np.zeros((4, 3), "f4"), "n": np.zeros((3, 2), "i8")}, "as many samples of every input"),
    ({"a": np.zeros((4, 3), "f4")}, "name the arrays like the inputs"),
    ({"a": np.zeros((4, 3), "f4"), "n": np.zeros((4, 2), "i8"), "labels": np.zeros(3, int)}, "labels: expected 4 integers"),
    ({"a": np.zeros((0, 3), "f4"), "n": np.zeros((0, 2), "i8")}, "at least one sample"),
])
def test_npz_that_does_not_fit(tmp_path, vectors, arrays, words):
    np.savez(tmp_path / "in.npz", **arrays)
    with pytest.raises((InputError, UsageError), match=words):
        data.read(tmp_path / "in.npz", vectors)


def test_a_folder_of_arrays(tmp_path, pictures):
    for i in range(3):
        np.save(tmp_path / f"{i}.npy", np.full((1, 3, 4, 6), i, np.float32))
    samples = data.read(tmp_path, pictures)
    assert [float(samples[i]["image"].max()) for i in range(3)] == [0, 1, 2]
    np.save(tmp_path / "2.npy", np.zeros((3, 4, 6), np.float32))
    with pytest.raises(InputError, match=r"found float32 \[3, 4, 6\]"):
        data.read(tmp_path, pictures)[2]
    painted(tmp_path, 1)
    with pytest.raises(UsageError, match="expected one kind"):
        data.read(tmp_path, pictures)


def test_data_that_is_none(tmp_path, pictures):
    with pytest.raises(UsageError, match="noise has others than real inputs"):
        data.read("random", pictures)
    with pytest.raises(FileError, match="no such file or folder"):
        data.read(tmp_path / "nothing", pictures)
    with pytest.raises(UsageError, match="holds no pictures"):
        data.read(tmp_path, pictures)
    (tmp_path / "x.txt").write_text("x")
    with pytest.raises(UsageError, match="expected a folder"):
        data.read(tmp_path / "x.txt", pictures)
    (tmp_path / "x.npz").write_bytes(b"PK\3\4 nonsense")
    with pytest.raises(InputError, match="not a readable .npz"):
        data.read(tmp_path / "x.npz", pictures)
    for nothing in (None, 3, []):
        with pytest.raises(UsageError):
            data.read(nothing, pictures)


def test_arrays_from_python(vectors):
    feeds = [{"a": np.full((1, 3), i, np.float32), "n": np.zeros(2, np.int64)} for i in range(4)]
    assert float(data.read(feeds, vectors)[3]["a"][0, 0]) == 3
    with pytest.raises(InputError, match="sample 1.*'n' is missing"):
        data.read([feeds[0], {"a": feeds[0]["a"]}], vectors)


@pytest.mark.parametrize("count, judged", [(1, 0), (3, 0), (4, 1), (40, 10), (6000, 1024)])
def test_the_split_holds_back_a_quarter_and_never_moves(count, judged):
    made = []
    samples = data.Samples([lambda i=i: {"i": np.array(i)} for i in range(count)], list(range(count)))
    for _ in range(2):
        notes: list[str] = []
        calibrating, judging = data.split(samples, notes)
        made.append((calibrating.labels, judging.labels, notes))
    assert made[0] == made[1]
    assert (len(notes) == 0) == (count == 40)
    if not judged:
        assert len(calibrating) == len(judging) == count and "nothing is held back" in notes[0]
        return
    assert len(judging) == judged and not set(calibrating.labels) & set(judging.labels)
    assert len(calibrating) == min(512, count - count // 4)
    assert int(judging[0]["i"]) == judging.labels[0]
