"""tinynet.load: from where, what it maps, and what it imports."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import tinynet
from tinynet import kernels, selftest
from tinynet.builder import WEIGHTS
from tinynet.errors import FileError, FormatError
from tinynet.kernels import engine
from tinynet.model import Model

pytest.importorskip("onnx")

DIGITS = Path(__file__).resolve().parents[1] / "examples" / "digits"
SOURCE = DIGITS / "digits.onnx"


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    target = tmp_path_factory.mktemp("load") / "digits.tnb"
    tinynet.convert(SOURCE, target, mean=0, std=255, color="gray", labels=DIGITS / "labels.txt")
    return target


@pytest.fixture(scope="module")
def x(path):
    return selftest.inputs(tinynet.load(path), 5)


@pytest.fixture(scope="module")
def expected(path, x):
    import onnxruntime

    session = onnxruntime.InferenceSession(SOURCE, providers=["CPUExecutionProvider"])
    return dict(zip([o.name for o in session.get_outputs()], session.run(None, x), strict=True))


def assert_works(model: Model, x: dict, expected: dict) -> None:
    found = model.run(x)
    assert list(found) == list(expected)
    for name, wanted in expected.items():
        assert np.abs(found[name] - wanted).max() <= 1e-5 * np.abs(wanted).max()


# ---- from where

@pytest.mark.parametrize("form", [str, Path, Path.read_bytes, lambda p: bytearray(p.read_bytes()),
                                  lambda p: memoryview(p.read_bytes()), lambda p: memoryview(b"odd" + p.read_bytes())[3:]],
                         ids=["str", "Path", "bytes", "bytearray", "memoryview", "unaligned"])
@pytest.mark.parametrize("options", [{}, {"mmap": False}, {"verify": False}], ids=str)
def test_sources(path, x, expected, form, options):
    assert_works(tinynet.load(form(path), **options), x, expected)


@pytest.mark.parametrize("form", [str, Path])
def test_onnx_is_converted_in_memory(form, x, expected, tmp_path):
    source = tmp_path / "digits.onnx"
    shutil.copy(SOURCE, source)
    assert_works(tinynet.load(form(source)), x, expected)
    assert [p.name for p in tmp_path.iterdir()] == ["digits.onnx"]


def test_weights_are_aligned(path):
    """32-bit ARM refuses to load a float from an odd address."""
    model = tinynet.load(memoryview(b"odd" + path.read_bytes())[3:])
    assert engine.span(model._weights)[0] % 8 == 0


def test_mapped_or_read(path):
    assert isinstance(tinynet.load(path)._weights, engine.Mapping)
    assert isinstance(tinynet.load(path, mmap=False)._weights, bytes)


@pytest.mark.parametrize("options", [{}, {"mmap": False}], ids=str)
def test_the_file_may_go_once_it_is_loaded(path, x, expected, tmp_path, options):
    copy = tmp_path / "copy.tnb"
    shutil.copy(path, copy)
    model = tinynet.load(copy, **options)
    copy.unlink()
    assert_works(model, x, expected)


def test_replacing_a_mapped_file_by_convert_leaves_the_loaded_model(path, x, expected, tmp_path):
    copy = tmp_path / "copy.tnb"
    shutil.copy(path, copy)
    model = tinynet.load(copy)
    tinynet.convert(SOURCE, copy)
    assert_works(model, x, expected)


def test_verify_reads_every_byte(path):
    data = bytearray(path.read_bytes())
    weights = next(t for t in tinynet.load(bytes(data)).graph.tensors.values() if t.is_constant and t.size > 1000)
    data[data.find(bytes(weights.data)) + 5] ^= 1
    tinynet.load(bytes(data), verify=False)
    with pytest.raises(FormatError, match="checksum"):
        tinynet.load(bytes(data))


@pytest.mark.parametrize("name", ["none.tnb", "none.onnx", "."])
def test_no_such_file(name, tmp_path):
    with pytest.raises(FileError) as caught:
        tinynet.load(tmp_path / name)
    assert "\n" not in str(caught.value) and str(tmp_path) in str(caught.value)


# ---- what it keeps

@pytest.mark.parametrize("options", [{}, {"mmap": False}], ids=str)
def test_weights_stay_where_the_file_has_them(path, options):
    model = tinynet.load(path, **options)
    buffer = np.frombuffer(model._weights, np.uint8)
    begin = buffer.ctypes.data
    sizes = 0
    for tensor in (t for t in model.graph.tensors.values() if t.is_constant):
        view = np.frombuffer(tensor.data, np.uint8)
        sizes += view.nbytes
        assert begin <= view.ctypes.data and view.ctypes.data + view.nbytes <= begin + buffer.nbytes
        assert not view.flags.writeable
    # Kernels read the weights there as well: what the plan builds is tables.
    assert model.memory.weight_bytes == sizes > 20 * model.memory.constant_bytes
    used = {name for step in model.plan.steps for name in step.node.inputs if model.graph.tensors[name].is_constant}
    in_file = {place.offset for step in model.plan.steps for place in step.operands if place and place.space == WEIGHTS}
    assert in_file == {np.frombuffer(model.graph.tensors[name].data, np.uint8).ctypes.data - begin for name in used}


def test_converting_twice_gives_identical_bytes(path, tmp_path):
    again = tmp_path / "other name.tnb"
    tinynet.convert(str(SOURCE), str(again), mean=0, std=255, color="gray", labels=DIGITS / "labels.txt")
    assert again.read_bytes() == path.read_bytes()


def test_conversion_does_not_depend_on_the_process(path, tmp_path):
    """Sets and dicts of strings have another order under another hash seed."""
    options = f"mean=0, std=255, color='gray', labels={str(DIGITS / 'labels.txt')!r}"
    code = f"import tinynet; tinynet.convert({str(SOURCE)!r}, 'd.tnb', {options})"
    for seed in ("1", "2"):
        done = python(code, cwd=tmp_path, env={"PYTHONHASHSEED": seed, "TINYNET_NUM_THREADS": "1"})
        assert done.returncode == 0, done.stderr
        assert (tmp_path / "d.tnb").read_bytes() == path.read_bytes()


@pytest.mark.parametrize("isa", kernels.available(integers=False))
def test_self_test(path, isa):
    with kernels.use_isa(isa):
        model = tinynet.load(path, threads=2)
    assert model.plan.isa == isa
    difference = selftest.check(model)
    assert difference is not None and difference < 1e-5


def test_self_test_notices_other_weights(path):
    data = bytearray(path.read_bytes())
    weights = next(t for t in tinynet.load(bytes(data)).graph.tensors.values() if t.is_constant and t.size > 1000)
    at = data.find(bytes(weights.data))
    flat = np.frombuffer(data, np.float32, 64, at).copy() * 2
    data[at:at + flat.nbytes] = flat.tobytes()
    assert selftest.check(tinynet.load(bytes(data), verify=False)) > selftest.TOLERANCE


# ---- what it imports

def python(code: str, *, blocked: tuple[str, ...] = (), cwd: Path | None = None, env: dict | None = None):
    """A process of its own in which the `blocked` packages cannot be imported."""
    head = f"import sys\nfor name in {blocked!r}: sys.modules[name] = None\n"
    return subprocess.run([sys.executable, "-c", head + code], capture_output=True, text=True, timeout=120, cwd=cwd,
                          env={**os.environ, **(env or {})})


def command(words: list[str], **options):
    return python(f"from tinynet.__main__ import main; sys.exit(main({words!r}))", **options)


def test_import_is_cheap():
    """`import tinynet` loads one module of its own and nothing large."""
    done = python("before = set(sys.modules); import tinynet; print(*(set(sys.modules) - before))")
    new = set(done.stdout.split())
    assert {name for name in new if name.startswith("tinynet")} == {"tinynet"}
    assert {name.partition(".")[0] for name in new} <= {"tinynet", "__future__", "typing", "_typing", "collections"}


@pytest.mark.parametrize("words", [["--help"], ["--version"], ["inspect", "MODEL"], ["inspect", "MODEL", "--json"],
                                   ["run", "--help"], ["convert", "--help"]], ids=" ".join)
def test_commands_without_numpy(path, words):
    words = [str(path) if word == "MODEL" else word for word in words]
    done = command(words, blocked=("numpy", "onnx", "flatbuffers", "PIL"))
    assert (done.returncode, done.stderr) == (0, "") and done.stdout


def test_inspect_shows_what_is_there(path):
    done = command(["inspect", str(path), "--json"], blocked=("numpy",))
    shown = json.loads(done.stdout)
    model = tinynet.load(path)
    assert [i["name"] for i in shown["inputs"]] == [i.name for i in model.inputs]


def test_the_board_needs_numpy_alone(path, x, expected, tmp_path):
    """Neither the converter's packages nor Pillow; nor is anything else of tinynet's extras looked for."""
    np.savez(tmp_path / "x.npz", **x)
    code = (f"import numpy as np, tinynet\nmodel = tinynet.load({str(path)!r})\n"
            "np.savez('y.npz', **model.run(dict(np.load('x.npz'))))\n"
            "assert not any(m.startswith('tinynet.converters') for m in sys.modules)\n")
    done = python(code, blocked=("onnx", "flatbuffers", "PIL", "google", "onnxruntime", "numba"), cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    found = np.load(tmp_path / "y.npz")
    for name, wanted in expected.items():
        assert np.abs(found[name] - wanted).max() <= 1e-5 * np.abs(wanted).max()


def test_the_board_shows_raw_arrays_by_command(path, x, tmp_path):
    np.savez(tmp_path / "x.npz", **x)
    done = command(["run", str(path), "x.npz"], blocked=("onnx", "flatbuffers", "PIL"), cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "") and "x.npz" in done.stdout


def test_an_arena_that_cannot_be_had_is_a_memory_error():
    with pytest.raises(MemoryError):
        engine.Arena(2 ** 62)


def converted() -> bytes:
    from tinynet.converters import convert_bytes

    return convert_bytes(DIGITS / "digits.onnx")[0]


def test_inspect_notices_a_changed_weight_without_numpy(tmp_path):
    from tinynet import format as tnb

    data = bytearray(converted())
    data[-100] ^= 4
    path = tmp_path / "changed.tnb"
    path.write_bytes(data)
    code = ("import sys; sys.modules['numpy'] = None; from tinynet.__main__ import main; "
            f"sys.exit(main(['inspect', {str(path)!r}]))")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 3 and done.stderr.count("\n") == 1 and "checksum" in done.stderr
    assert tnb.version(bytes(data)) == (tnb.MAJOR, tnb.MINOR)


def test_close_lets_go_of_the_file(tmp_path):
    path = tmp_path / "digits.tnb"
    path.write_bytes(converted())
    model = tinynet.load(path)
    model.run(np.zeros((1, 1, 8, 8), np.float32))
    maps = Path("/proc/self/maps")
    if not maps.exists():
        pytest.skip("no /proc/self/maps on this system")
    assert str(path) in maps.read_text()
    model.close()
    assert str(path) not in maps.read_text()
