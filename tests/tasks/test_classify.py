"""Outputs -> Classification or RawOutputs, and what these print."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import pytest

from tinynet import tasks
from tinynet.errors import FileError, InputError, UsageError
from tinynet.graph import Meta, Preprocess
from tinynet.tasks import classify
from tinynet.tasks.labels import read_labels
from tinynet.tasks.result import Classification, RawOutputs


class Info(NamedTuple):
    name: str
    shape: tuple[int, ...]
    dtype: str = "float32"


@dataclass
class Fake:
    """What `run_picture` needs of a Model; `run` returns the given arrays and keeps what it was fed."""

    values: dict[str, np.ndarray]
    meta: Meta = field(default_factory=Meta)
    inputs: tuple[Info, ...] = (Info("x", (1, 2, 2, 3)),)

    @property
    def outputs(self):
        return tuple(Info(name, array.shape, str(array.dtype)) for name, array in self.values.items())

    def run(self, feed):
        self.fed = feed
        return self.values


def scores(*values, shape=None):
    array = np.array(values, np.float32)
    return array.reshape(shape or (1, -1))


PICTURE = np.zeros((2, 2, 3), np.uint8)


def test_a_distribution_is_shown_as_it_is():
    result = tasks.run_picture(Fake({"y": scores(0.1, 0.7, 0.2)}), PICTURE, top=2, labels=["a", "b", "c"])
    assert isinstance(result, Classification) and not result.softmax_applied
    assert [(s.index, s.label) for s in result.top] == [(1, "b"), (2, "c")]
    assert (result.index, result.label, result.probability) == (1, "b", pytest.approx(0.7))
    assert str(result) == "  70.00 %  b\n  20.00 %  c"
    assert result.to_json()["softmax_applied"] is False


@pytest.mark.parametrize("shape", [(1, 3), (3,), (1, 3, 1, 1), (1, 1, 1, 3)])
def test_raw_scores_go_through_softmax(shape):
    result = tasks.run_picture(Fake({"y": scores(1, 3, 2, shape=shape)}), PICTURE)
    expected = np.exp([3.0, 2, 1]) / np.exp([3.0, 2, 1]).sum()
    assert result.softmax_applied and result.to_json()["softmax_applied"] is True
    np.testing.assert_allclose([s.probability for s in result.top], expected, rtol=1e-12)
    assert [s.label for s in result.top] == ["1", "2", "0"]


@pytest.mark.parametrize("values, applied", [((0.5, 0.5008), False), ((0.5, 0.502), True), ((-1e-6, 1.0), True),
                                             ((0.0, 1.0), False), ((1000.0, 0.0), True)])
def test_when_softmax_is_needed(values, applied):
    probabilities, found = classify.as_probabilities(np.array(values, np.float32))
    assert found is applied
    assert probabilities.sum() == pytest.approx(1, abs=1e-3)


def test_equal_scores_keep_their_order_and_nan_comes_last():
    result = classify.classify(scores(0.25, 0.25, 0.25, 0.25).reshape(-1), [], 4)
    assert [s.index for s in result.top] == [0, 1, 2, 3]
    broken = classify.classify(np.array([1.0, np.nan, 2.0], np.float32), [], 3)
    assert broken.notes == ["the network's scores hold NaN or infinity"]
    assert json.loads(json.dumps(broken.to_json(), allow_nan=False))["top"][0]["probability"] is None


def test_labels_of_another_number():
    with pytest.raises(UsageError, match="3 classes, but 2 labels"):
        tasks.run_picture(Fake({"y": scores(1, 2, 3)}), PICTURE, labels=["a", "b"])
    with pytest.raises(UsageError, match="top"):
        tasks.run_picture(Fake({"y": scores(1, 2, 3)}), PICTURE, top=0)


def test_labels_in_the_file():
    fake = Fake({"y": scores(1, 2, 3)}, Meta(labels=["a", "b", "c"]))
    assert tasks.run_picture(fake, PICTURE).label == "c"
    assert tasks.run_picture(fake, PICTURE, labels=["d", "e", "f"]).label == "f"
    other = Fake({"y": scores(1, 2, 3)}, Meta(labels=["a"] * 80))
    result = tasks.run_picture(other, PICTURE)
    assert isinstance(result, RawOutputs)
    assert result.notes[-1] == "the file's 80 labels are not used: output 'y' has 3 elements"
    other.meta.task = "classify"
    with pytest.raises(UsageError, match="3 classes.*80 labels"):
        tasks.run_picture(other, PICTURE)


def test_two_outputs_are_raw_unless_the_file_says_classify():
    fake = Fake({"map": scores(*range(8), shape=(1, 2, 2, 2)), "y": scores(1, 2)})
    assert isinstance(tasks.run_picture(fake, PICTURE), RawOutputs)
    fake.meta.task = "classify"
    assert tasks.run_picture(fake, PICTURE).index == 1
    with pytest.raises(InputError, match="task is 'classify'"):
        tasks.run_picture(Fake({"map": scores(*range(8), shape=(1, 2, 2, 2))}, Meta(task="classify")), PICTURE)


@pytest.mark.parametrize("array", [np.zeros((1, 1), np.float32), np.zeros((1, 4), np.int64), np.float32(3).reshape(()),
                                   np.zeros((2, 3), np.float32)])
def test_what_is_no_list_of_scores(array):
    result = tasks.run_picture(Fake({"y": array}), PICTURE, labels=["a"])
    assert isinstance(result, RawOutputs)
    assert result.notes[-1].startswith("labels are not used")


def test_raw_outputs_are_summarised():
    values = scores(5, np.nan, -2, 7.5, shape=(1, 2, 2))
    result = RawOutputs({"map": values, "index": np.array([3], np.int64), "nothing": np.full((2,), np.nan, np.float32)})
    rows = result.to_json()["outputs"]
    assert rows[0] == {"name": "map", "shape": [1, 2, 2], "dtype": "float32", "min": -2.0, "max": 7.5,
                       "argmax": [0, 1, 1], "nan": 1}
    assert rows[1]["max"] == 3 and isinstance(rows[1]["max"], int)
    assert rows[2]["max"] is None and rows[2]["nan"] == 2
    assert str(result).splitlines()[1].split() == ["map", "1x2x2", "-2", "7.5", "[0,", "1,", "1]", "(1", "NaN)"]


def test_infinite_maximum_is_null_in_json():
    row = RawOutputs({"y": np.array([1, math.inf], np.float32)}).to_json()["outputs"][0]
    assert row["max"] is None and row["argmax"] == [1]


def test_the_picture_reaches_the_network_and_notes_come_back():
    fake = Fake({"y": scores(1, 2)}, Meta(preprocess=Preprocess(mean=(1.0,), given=True)))
    result = tasks.run_picture(fake, PICTURE)
    np.testing.assert_array_equal(fake.fed["x"], np.full((1, 2, 2, 3), -1, np.float32))
    assert result.notes == []
    fake.meta.preprocess.given = False
    assert "0..255" in tasks.run_picture(fake, PICTURE).notes[0]


def test_npy_skips_preprocessing(tmp_path):
    np.save(tmp_path / "x.npy", np.full((1, 2, 2, 3), 7, np.float32))
    fake = Fake({"y": scores(1, 2)})
    for path in (tmp_path / "x.npy", str(tmp_path / "x.npy")):
        assert tasks.run_picture(fake, path).notes == []
        assert (fake.fed["x"] == 7).all()


def test_read_labels(tmp_path):
    path = tmp_path / "labels.txt"
    path.write_bytes("\ufeffcat, \u732b\r\n\r\n dog \n\n\n".encode())
    assert read_labels(path) == ["cat, \u732b", "", "dog"]
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(FileError, match="not UTF-8"):
        read_labels(path)
    path.write_bytes(b"\n\n")
    with pytest.raises(FileError, match="empty"):
        read_labels(path)
    with pytest.raises(FileError, match="No such file"):
        read_labels(tmp_path / "missing.txt")
