"""Pictures of every kind -> the exact input array that Preprocess asks for."""

from __future__ import annotations

import io
from typing import NamedTuple

import numpy as np
import pytest
from PIL import Image

from tinynet.errors import FileError, InputError, MissingExtraError
from tinynet.graph import Preprocess
from tinynet.tasks import pictures


class Info(NamedTuple):
    name: str = "x"
    shape: tuple[int, ...] = (1, 3, 4, 6)
    dtype: str = "float32"


def prepare(image, shape=(1, 3, 4, 6), dtype="float32", **preprocess):
    feed, notes = pictures.prepare(image, [Info(shape=shape, dtype=dtype)], Preprocess(given=True, **preprocess))
    return feed["x"], notes


@pytest.fixture
def pixels():
    return np.random.default_rng(0).integers(0, 256, (4, 6, 3), dtype=np.uint8)


def test_array_of_the_right_size_is_used_as_it_is(pixels):
    array, notes = prepare(pixels)
    assert array.dtype == np.float32 and array.flags.c_contiguous and notes == []
    np.testing.assert_array_equal(array[0], pixels.transpose(2, 0, 1))


def test_channels_last_and_bgr(pixels):
    array, _ = prepare(pixels, (1, 4, 6, 3), color="bgr")
    np.testing.assert_array_equal(array[0], pixels[:, :, ::-1])


def test_mean_and_std_per_channel(pixels):
    array, _ = prepare(pixels, (1, 4, 6, 3), mean=(10.0, 20.0, 30.0), std=(2.0, 4.0, 8.0))
    np.testing.assert_array_equal(array[0], (pixels.astype(np.float32) - [10, 20, 30]) / np.float32([2, 4, 8]))


def test_mean_is_in_the_order_of_the_channels_that_the_network_sees(pixels):
    array, _ = prepare(pixels, (1, 4, 6, 3), color="bgr", mean=(10.0, 20.0, 30.0))
    np.testing.assert_array_equal(array[0, :, :, 0], pixels[:, :, 2] - np.float32(10))


def test_uint8_input_takes_pixels_and_refuses_a_mean(pixels):
    array, _ = prepare(pixels, dtype="uint8")
    assert array.dtype == np.uint8
    np.testing.assert_array_equal(array[0], pixels.transpose(2, 0, 1))
    with pytest.raises(InputError, match="uint8"):
        prepare(pixels, dtype="uint8", mean=(1.0,))


def test_nothing_given_is_noted(pixels):
    _, notes = pictures.prepare(pixels, [Info()], Preprocess())
    assert notes == [pictures.NOT_GIVEN]


@pytest.mark.parametrize("shape", [(1, 1, 4, 6), (1, 4, 6, 1)])
def test_grey_input_from_colour_and_from_grey(pixels, shape):
    grey = np.asarray(Image.fromarray(pixels).convert("L"))
    for source in (pixels, grey, grey[:, :, None], Image.fromarray(grey)):
        array, _ = prepare(source, shape)
        assert array.shape == shape
        np.testing.assert_array_equal(array.reshape(4, 6), grey)


def test_gray_for_three_channels_repeats_the_grey_picture(pixels):
    array, _ = prepare(pixels, color="gray")
    grey = np.asarray(Image.fromarray(pixels).convert("L"))
    for channel in array[0]:
        np.testing.assert_array_equal(channel, grey)


def test_stretch_is_pillow_bilinear():
    source = np.random.default_rng(1).integers(0, 256, (50, 31, 3), dtype=np.uint8)
    array, _ = prepare(source, (1, 4, 6, 3))
    np.testing.assert_array_equal(array[0], np.asarray(Image.fromarray(source).resize((6, 4), Image.BILINEAR)))


def test_crop_takes_the_middle():
    source = np.zeros((4, 12, 3), np.uint8)
    source[:, 3:9] = 200
    array, _ = prepare(source, (1, 4, 6, 3), resize="crop")
    np.testing.assert_array_equal(array, np.full((1, 4, 6, 3), 200, np.float32))


def test_crop_with_a_larger_size_cuts_the_centre_of_it():
    source = np.random.default_rng(2).integers(0, 256, (8, 12, 3), dtype=np.uint8)
    array, _ = prepare(source, (1, 4, 6, 3), resize="crop", size=(8, 12))
    np.testing.assert_array_equal(array[0], source[2:6, 3:9])


def test_letterbox_pads_with_grey():
    array, _ = prepare(np.full((2, 6, 3), 250, np.uint8), (1, 4, 6, 3), resize="letterbox")
    assert (array[0, 1:3] == 250).all()
    assert (array[0, [0, 3]] == pictures.LETTERBOX_GREY).all()


@pytest.mark.parametrize("mode", ["stretch", "crop", "letterbox"])
@pytest.mark.parametrize("size", [(1, 3000), (3000, 1), (1, 1)])
def test_extreme_proportions(mode, size):
    array, _ = prepare(Image.new("RGB", size, (9, 9, 9)), resize=mode)
    assert set(np.unique(array)) <= {9, pictures.LETTERBOX_GREY}


@pytest.mark.parametrize("mode, size", [("stretch", (8, 8)), ("letterbox", (8, 8)), ("crop", (2, 8))])
def test_size_that_does_not_fit_the_input(pixels, mode, size):
    with pytest.raises(InputError, match="convert"):
        prepare(pixels, resize=mode, size=size)


@pytest.mark.parametrize("shape", [(1, 2, 4, 6), (2, 3, 4, 6), (1, 3, 4, 3), (1, 640), (1, 3, 4), (4, 6, 3)])
def test_input_that_takes_no_picture(pixels, shape):
    with pytest.raises(InputError, match=r"\.npy"):
        prepare(pixels, shape)


def test_two_inputs_take_no_picture(pixels):
    with pytest.raises(InputError, match=r"2 \('a', 'b'\).*\.npz"):
        pictures.prepare(pixels, [Info("a"), Info("b")], Preprocess())


@pytest.mark.parametrize("field, values", [("mean", (1.0, 2.0)), ("std", (1.0, 0.0, 1.0)), ("std", (float("nan"),)),
                                           ("mean", (float("inf"),))])
def test_bad_mean_and_std_in_a_file(pixels, field, values):
    with pytest.raises(InputError, match=field):
        prepare(pixels, **{field: values})


@pytest.mark.parametrize("array", [np.zeros((4, 6, 3), np.float32), np.zeros((4, 6, 2), np.uint8),
                                   np.zeros((1, 4, 6, 3), np.uint8), np.zeros((0, 6, 3), np.uint8)])
def test_arrays_that_are_no_picture(array):
    with pytest.raises(InputError, match="array|empty"):
        prepare(array)
    with pytest.raises(InputError, match="found int"):
        prepare(5)


def saved(picture, suffix, tmp_path, **options):
    path = tmp_path / f"picture.{suffix}"
    picture.save(path, **options)
    return path


def test_exif_orientation(tmp_path, pixels):
    exif = Image.Exif()
    exif[0x0112] = 6
    path = saved(Image.fromarray(np.rot90(pixels).copy()), "png", tmp_path, exif=exif)
    array, _ = prepare(path, (1, 4, 6, 3))
    np.testing.assert_array_equal(array[0], pixels)


def test_transparency_is_put_on_white_and_noted(tmp_path):
    picture = Image.new("RGBA", (6, 4), (255, 0, 0, 0))
    picture.putpixel((0, 0), (255, 0, 0, 255))
    array, notes = prepare(saved(picture, "png", tmp_path), (1, 4, 6, 3))
    assert tuple(array[0, 0, 0]) == (255, 0, 0) and (array[0, 1:] == 255).all()
    assert notes == ["transparent pixels are put on white"]


def test_opaque_alpha_is_no_news(tmp_path):
    array, notes = prepare(saved(Image.new("RGBA", (6, 4), (1, 2, 3, 255)), "png", tmp_path), (1, 4, 6, 3))
    assert notes == [] and (array == np.float32([1, 2, 3])).all()


def test_transparent_palette(tmp_path):
    picture = Image.new("P", (6, 4), 1)
    picture.putpalette([0, 0, 0, 10, 20, 30])
    picture.putpixel((2, 2), 0)
    array, _ = prepare(saved(picture, "gif", tmp_path, transparency=0), (1, 4, 6, 3))
    assert tuple(array[0, 0, 0]) == (10, 20, 30) and tuple(array[0, 2, 2]) == (255, 255, 255)


def test_sixteen_bit_grey_is_scaled_not_clipped(tmp_path):
    values = np.array([[0, 257, 32896, 65535, 128, 129]], np.uint16).repeat(4, 0)
    array, _ = prepare(saved(Image.fromarray(values), "png", tmp_path), (1, 1, 4, 6))
    np.testing.assert_array_equal(array[0, 0, 0], [0, 1, 128, 255, 0, 1])


@pytest.mark.parametrize("mode", ["CMYK", "YCbCr", "1", "L", "LA", "HSV"])
def test_other_modes_become_rgb(mode):
    picture = Image.new("RGB", (6, 4), (255, 255, 255)).convert(mode)
    array, _ = prepare(picture, (1, 4, 6, 3))
    assert (array == 255).all()


@pytest.mark.parametrize("picture", [Image.new("F", (6, 4)), Image.new("I", (6, 4), 70000)])
def test_pixels_without_a_defined_range(picture):
    with pytest.raises(InputError, match="range"):
        prepare(picture)


def test_files_that_are_no_picture(tmp_path):
    path = tmp_path / "x.jpg"
    path.write_bytes(b"no picture at all")
    with pytest.raises(InputError, match="not a picture"):
        prepare(path)
    path.write_bytes(b"")
    with pytest.raises(InputError, match="not a picture"):
        prepare(path)
    with pytest.raises(FileError, match="No such file"):
        prepare(tmp_path / "missing.jpg")
    with pytest.raises(FileError, match="directory"):
        prepare(tmp_path)


@pytest.mark.filterwarnings("ignore:::PIL")
@pytest.mark.parametrize("suffix", ["png", "jpg", "bmp", "gif", "webp", "tiff"])
def test_broken_files_never_raise_anything_else(tmp_path, suffix):
    buffer = io.BytesIO()
    noise = np.random.default_rng(3).integers(0, 256, (40, 40, 3), dtype=np.uint8)
    Image.fromarray(noise).save(buffer, {"jpg": "jpeg"}.get(suffix, suffix))
    data = buffer.getvalue()
    path = tmp_path / f"x.{suffix}"
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(InputError):
        prepare(path)
    rng = np.random.default_rng(4)
    outcomes = set()
    for _ in range(40):
        broken = bytearray(data)
        for place in rng.integers(0, min(len(data), 200), 3):
            broken[place] = rng.integers(0, 256)
        path.write_bytes(broken)
        try:
            outcomes.add(prepare(path)[0].shape)
        except InputError as error:
            assert "\n" not in str(error)
            outcomes.add("refused")
    assert outcomes <= {(1, 3, 4, 6), "refused"} and "refused" in outcomes


def test_decompression_bomb(tmp_path, monkeypatch):
    path = saved(Image.new("1", (2000, 2000)), "png", tmp_path)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1_000_000)
    with pytest.raises(InputError, match="bomb"):
        prepare(path)


def test_postscript_never_reaches_an_interpreter(tmp_path):
    path = tmp_path / "x.jpg"
    path.write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\nshowpage\n")
    with pytest.raises(InputError, match="not a picture"):
        prepare(path)


def test_without_pillow(monkeypatch, pixels, tmp_path):
    path = saved(Image.fromarray(pixels), "png", tmp_path)
    monkeypatch.setitem(__import__("sys").modules, "PIL", None)
    for image in (path, np.zeros((9, 9, 3), np.uint8)):
        with pytest.raises(MissingExtraError, match=r'Pillow.*pip install "tinynet-engine\[image\]"'):
            prepare(image)
    assert prepare(pixels)[0].shape == (1, 3, 4, 6)
