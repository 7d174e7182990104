"""What goes wrong outside: files, arguments, disks, missing packages.  One line on stderr, the documented exit code.

Damage that the checksum does not catch first (`verify=False`) and hostile graphs run in processes of their own
(hostile.py): a crash there is a failure here.
"""

from __future__ import annotations

import os
import random
import stat
import subprocess
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

import tinynet
from tinynet.__main__ import main
from tinynet.errors import FormatError, LimitError, TinynetError

onnx = pytest.importorskip("onnx")
Image = pytest.importorskip("PIL.Image")

HERE = Path(__file__).parent
DIGITS = HERE.parent / "examples" / "digits"
PICTURE = DIGITS / "pictures" / "3_0.png"
PREVIOUS = b"the previous file"


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The bytes of a sound file."""
    target = tmp_path_factory.mktemp("robustness") / "digits.tnb"
    assert main(["convert", str(DIGITS / "digits.onnx"), "-o", str(target), "--mean", "0", "--std", "255", "-q"]) == 0
    return target.read_bytes()


@pytest.fixture
def fails(capfd, tmp_path, monkeypatch):
    """fails(code, text, *words): in the folder tmp_path, the command ends with `code` and one line that holds `text`."""
    monkeypatch.chdir(tmp_path)

    def call(code: int, text: str, *words: object) -> None:
        found = main([str(word) for word in words])
        out, err = capfd.readouterr()
        assert (found, out) == (code, ""), err
        assert err.startswith("tinynet: ") and err.endswith("\n") and err.count("\n") == 1 and text in err
        assert "Traceback" not in err and "internal error" not in err and len(err) < 600
    return call


def network(*nodes, inputs=("x",), outputs=("y",), shape=(1, 3, 4, 4), opset=13, **weights) -> bytes:
    helper = onnx.helper
    graph = helper.make_graph(
        list(nodes), "net", [helper.make_tensor_value_info(n, 1, shape) for n in inputs],
        [helper.make_tensor_value_info(n, 1, None) for n in outputs],
        [onnx.numpy_helper.from_array(a, n) for n, a in weights.items()])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=9).SerializeToString()


# ---- model files

READERS = [["run", "m.tnb", PICTURE], ["inspect", "m.tnb"], ["plan", "m.tnb"], ["bench", "m.tnb", "--seconds", "0.01"],
           ["compare", "m.tnb", DIGITS / "digits.onnx"]]


@pytest.mark.parametrize("words", READERS, ids=lambda w: w[0])
def test_no_model_file(fails, words, whole):
    damaged = {
        "empty": (b"", "found 0 bytes"),
        "short": (whole[:11], "found 11 bytes"),
        "truncated": (whole[:-100], "corrupt"),
        "half": (whole[:len(whole) // 2], "corrupt"),
        "wrong magic": (whole[:4] + b"GGUF" + whole[8:], "identifier TNB1"),
        "older magic": (whole[:4] + b"TNB0" + whole[8:], "identifier TNB1"),
        "onnx": ((DIGITS / "digits.onnx").read_bytes(), "identifier TNB1"),
        "zeros": (bytes(len(whole)), "identifier TNB1"),
    }
    fails(3, "m.tnb: expected a readable file, found: No such file or directory", *words)
    for data, text in damaged.values():
        Path("m.tnb").write_bytes(data)
        fails(3, text, *words)
    Path("m.tnb").unlink()
    Path("m.tnb").mkdir()
    fails(3, "folder", *words)


@pytest.mark.parametrize("words", [w for w in READERS if w[0] != "inspect"], ids=lambda w: w[0])
def test_one_flipped_bit_by_command(fails, words, whole):
    for at in (len(whole) // 3, len(whole) // 2):
        Path("m.tnb").write_bytes(flipped(whole, 8 * at))
        fails(3, "m.tnb: expected the checksum that the file was written with", *words)


def flipped(data: bytes, bit: int) -> bytes:
    changed = bytearray(data)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


def test_every_flipped_bit_of_the_description_is_noticed(whole):
    """Also those that hide the checksum itself.  Weights lie in front of the description's last part, and behind."""
    blobs = [bytes(t.data) for t in tinynet.load(whole).graph.tensors.values() if t.is_constant]
    weights = {i for blob in blobs if len(blob) > 256 for i in range(whole.find(blob), whole.find(blob) + len(blob))}
    rest = [i for i in range(len(whole)) if i not in weights]
    assert 1000 < len(rest) < 20000
    bits = [8 * i + (5 * i + k) % 8 for i in rest for k in range(2)]
    bits += [8 * i + k for i in rest[:200] + rest[-400:] for k in range(8)]
    for bit in bits:
        with pytest.raises(FormatError):
            tinynet.load(flipped(whole, bit))


def test_random_flipped_bits_are_noticed(whole):
    r = random.Random(1)
    for _ in range(400):
        with pytest.raises(FormatError):
            tinynet.load(flipped(whole, r.randrange(8 * len(whole))))


def test_a_file_without_a_checksum_is_refused(whole):
    """One changed bit in a vtable hides the field: 0 in its place is no permission."""
    hidden = [data for bit in range(8 * 200) if hides_checksum(data := flipped(whole, bit))]
    assert hidden
    for data in hidden:
        with pytest.raises(FormatError, match="expected a checksum, found none"):
            tinynet.load(data)


def hides_checksum(data: bytes) -> bool:
    from tinynet import format as tnb

    try:
        tnb.read(data)
        return not tnb.has_checksum(data)
    except TinynetError:
        return False


@pytest.mark.parametrize("cut", [1, 7, 8, 63, 64, 65, 1000])
def test_truncated_by_a_little(whole, cut):
    """Zeros behind the last weight are padding; a file without some of them still says all that it said."""
    def outputs(data: bytes) -> dict:
        model = tinynet.load(data)
        return model.run([np.ones(i.shape, i.dtype) for i in model.inputs])

    if cut < 64 and not any(whole[-cut:]):
        assert {k: v.tobytes() for k, v in outputs(whole[:-cut]).items()} == {k: v.tobytes() for k, v in outputs(whole).items()}
    else:
        with pytest.raises(FormatError):
            tinynet.load(whole[:-cut])


# ---- what must not take the test process with it

def apart(*words: object, progress: Path) -> dict[str, int]:
    """hostile.py in a process of its own: its counts."""
    done = subprocess.run([sys.executable, HERE / "hostile.py", *map(str, words)], capture_output=True, text=True, timeout=300,
                          env={**os.environ, "PROGRESS": str(progress)})
    assert done.returncode == 0, f"{progress.read_text()}: {done.returncode}\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}"
    assert done.stderr == ""
    return {key: int(value) for key, value in (word.split("=") for word in done.stdout.replace("not written", "none").split())}


def test_hostile_graphs(tmp_path, batches):
    for batch in range(batches):
        count = apart("graphs", 1000 * batch, 1000 * batch + 1000, progress=tmp_path / "at")
        assert count["ran"] > 400 and count["FormatError"] > 100 and count["LimitError"] > 10, count


def test_changed_bytes_without_a_checksum(tmp_path, batches):
    for batch in range(batches):
        count = apart("bytes", 2000 * batch, 2000 * batch + 2000, progress=tmp_path / "at")
        assert count["ran"] > 400 and count["FormatError"] > 800, count


def test_long_chains(tmp_path):
    assert apart("chains", progress=tmp_path / "at") == {"ran": 7, "FormatError": 1, "UnsupportedError": 1}


def single(kind: str, x_shape: tuple[int, ...], *weights: np.ndarray, **attrs: object) -> bytes:
    """A file of one layer of one input."""
    from tinynet import ops
    from tinynet.converters.writer import write
    from tinynet.graph import Graph, Node, Tensor

    graph = Graph(inputs=["x"], outputs=["y"])
    graph.meta.name = "hostile"
    graph.add(Tensor("x", x_shape))
    for i, w in enumerate(weights):
        graph.add(Tensor(f"w{i}", w.shape, "float32", w))
    op = ops.make(kind, attrs)
    graph.add(Tensor("y", *op.infer(*(ops.Spec(t.shape) for t in graph.tensors.values()))[0]))
    graph.nodes.append(Node(kind, "n", ["x", *(f"w{i}" for i in range(len(weights)))], ["y"], attrs))
    return write(graph)


TAPS = np.ones((1, 2, 2, 1), np.float32), np.ones(1, np.float32)
FAR = 2 ** 31 - 1
RAM, MACS = {"max_ram": 64 << 20}, {"max_macs": 10 ** 8}
OVER_THE_LIMIT = {
    "output": ("expand", (1,), (), {"shape": (2 ** 30,)}, RAM, "at least 4294967296 bytes of memory, max_ram"),
    "table": ("resize", (1, 1, 1, 1), (), {"size": (2 ** 30, 1), "scales": (1.0, 1.0)}, RAM, "max_ram allows 67108864"),
    "scratch": ("conv2d", (1, 3, 3, 1), TAPS, {"pads": (FAR, 1, FAR, 1), "strides": (FAR, 1), "dilations": (FAR, 1)},
                RAM, "max_ram allows 67108864"),
    "scratch beyond 64 bits": ("conv2d", (1, 3, 3, 1), TAPS,
                               {"pads": (FAR,) * 4, "strides": (FAR, FAR), "dilations": (FAR, FAR)}, {}, "no machine has"),
    "macs": ("average_pool2d", (1, 1000, 1000, 1), (), {"kernel": (500, 500)}, MACS,
             "62750250000 MACs, max_macs allows 100000000"),
    "comparisons": ("max_pool2d", (1, 1000, 1000, 1), (), {"kernel": (500, 500)}, MACS,
                    "62750250000 elements moved or compared"),
    "moves": ("transpose", (10 ** 5, 10 ** 4), (), {"perm": (1, 0)}, MACS, "2000000000 elements moved or compared"),
}


@pytest.mark.parametrize("name", OVER_THE_LIMIT)
def test_limits_are_checked_before_anything_is_made(name):
    kind, shape, weights, attrs, limits, text = OVER_THE_LIMIT[name]
    data = single(kind, shape, *weights, **attrs)
    tracemalloc.start()
    try:
        with pytest.raises(LimitError, match=text):
            tinynet.load(data, **limits)
        assert tracemalloc.get_traced_memory()[1] < 4 << 20
    finally:
        tracemalloc.stop()


def test_pads_beyond_all_pixels():
    """A stride that jumps over the picture, and windows that see nothing but padding."""
    model = tinynet.load(single("conv2d", (1, 1, 1, 1), *TAPS, pads=(0, 10, 1, 0), strides=(1, 100)))
    assert model.run(np.ones((1, 1, 1, 1), np.float32))["y"].tolist() == [[[[1.0]]]]


@pytest.fixture
def batches():
    """More of them with --hypothesis-profile=long."""
    from hypothesis import settings

    return max(1, settings.default.max_examples // 100)


# ---- pictures and arrays

@pytest.fixture
def model(whole, tmp_path):
    path = tmp_path / "m.tnb"
    path.write_bytes(whole)
    return path


def test_no_picture(fails, model, whole):
    for name, data in (("text.png", b"no picture"), ("empty.jpg", b""), ("model.png", whole),
                       ("cut.png", PICTURE.read_bytes()[:60]), ("two\nlines.png", b"x")):
        Path(name).write_bytes(data)
        fails(6, name.partition("\n")[0], "run", model, name)
    fails(3, "none.png", "run", model, "none.png")
    fails(3, "cannot read picture", "run", model, ".")


def test_raw_inputs_that_do_not_fit(fails, model):
    name = tinynet.load(model).inputs[0].name
    x = np.zeros(tinynet.load(model).inputs[0].shape, np.float32)
    for array, text in ((x[0], "[1, 1, 8, 8]"), (x.astype(np.float64), "float64"), (x.astype(np.int8), "int8"),
                        (x[:, :, :0], "[1, 1, 0, 8]")):
        np.save("x.npy", array)
        fails(6, text, "run", model, "x.npy")
    np.savez("x.npz", one=x, another=x)
    fails(6, repr(name), "run", model, "x.npz")
    np.save("x.npy", np.array([{"an": "object"}]), allow_pickle=True)
    fails(6, "x.npy", "run", model, "x.npy")
    for bad in ("x.npy", "x.npz"):
        Path(bad).write_bytes(b"no array")
        fails(6, bad, "run", model, bad)


# ---- convert

def test_unwritable_output(fails, tmp_path):
    source = DIGITS / "digits.onnx"
    fails(3, "no folder", "convert", source, "-o", tmp_path / "none" / "x.tnb")
    fails(3, "folder", "convert", source, "-o", tmp_path)
    (tmp_path / "file").write_bytes(b"")
    fails(3, "no folder", "convert", source, "-o", tmp_path / "file" / "x.tnb")
    long = "n" * 300 + ".tnb"
    fails(3, "cannot write", "convert", source, "-o", tmp_path / long)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_folder_without_permission(fails, tmp_path):
    folder = tmp_path / "locked"
    folder.mkdir()
    folder.chmod(stat.S_IRUSR | stat.S_IXUSR)
    try:
        fails(3, "not writable", "convert", DIGITS / "digits.onnx", "-o", folder / "x.tnb")
    finally:
        folder.chmod(stat.S_IRWXU)


def test_every_unsupported_operator_is_listed_once(fails, tmp_path):
    node = onnx.helper.make_node
    (tmp_path / "net.onnx").write_bytes(network(
        node("Bernoulli", ["x"], ["a"], "first"), node("Relu", ["x"], ["r"]), node("Bernoulli", ["r"], ["b"], "second"),
        node("Det", ["x"], ["c"], "third"), node("Multinomial", ["r"], ["y"], "fourth"), outputs=("a", "b", "c", "y")))
    fails(4, "3 unsupported operators", "convert", "net.onnx", "-o", "out.tnb")
    fails(4, "Bernoulli (ai.onnx, 2 nodes: first, second)", "convert", "net.onnx")
    fails(4, "Det (ai.onnx, 1 node: third)", "run", "net.onnx", PICTURE)
    fails(4, "Multinomial (ai.onnx, 1 node: fourth)", "bench", "net.onnx", "--seconds", "0.01")
    assert [p.name for p in tmp_path.iterdir()] == ["net.onnx"]


BROKEN_SOURCES = {
    "empty": (lambda good: b"", 3), "text": (lambda good: b"this is no protobuf\n" * 9, 3), "cut": (lambda good: good[:-40], 3),
    "picture": (lambda good: PICTURE.read_bytes(), 3),
    "unsupported": (lambda good: network(onnx.helper.make_node("Bernoulli", ["x"], ["y"])), 4),
    "unknown rank": (lambda good: network(onnx.helper.make_node("Relu", ["x"], ["y"]), shape=None), 2),
    "reads nothing": (lambda good: network(onnx.helper.make_node("Relu", ["z"], ["y"])), 3),
    "contradiction": (lambda good: network(
        onnx.helper.make_node("Conv", ["x", "w"], ["y"]), w=np.zeros((2, 5, 1, 1), np.float32)), 3),
    "newer opset": (lambda good: network(onnx.helper.make_node("Relu", ["x"], ["y"]), opset=999), 4),
}


@pytest.mark.parametrize("name", BROKEN_SOURCES)
def test_a_failed_convert_leaves_the_previous_file_alone(fails, tmp_path, name):
    make, code = BROKEN_SOURCES[name]
    (tmp_path / "net.onnx").write_bytes(make((DIGITS / "digits.onnx").read_bytes()))
    (tmp_path / "out.tnb").write_bytes(PREVIOUS)
    fails(code, "net.onnx" if code != 2 else "--input", "convert", "net.onnx", "-o", "out.tnb")
    assert (tmp_path / "out.tnb").read_bytes() == PREVIOUS
    assert sorted(p.name for p in tmp_path.iterdir()) == ["net.onnx", "out.tnb"]


@pytest.mark.parametrize("broken", ["write", "flush", "replace"])
def test_a_disk_that_fails_leaves_the_previous_file_alone(fails, tmp_path, monkeypatch, broken):
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    (tmp_path / "out.tnb").write_bytes(PREVIOUS)
    if broken == "replace":
        monkeypatch.setattr(os, "replace", full)
    else:
        monkeypatch.setattr(os, "fsync" if broken == "flush" else "chmod", full)
    fails(3, "cannot write 'out.tnb': No space left on device", "convert", DIGITS / "digits.onnx", "-o", "out.tnb")
    assert (tmp_path / "out.tnb").read_bytes() == PREVIOUS
    assert [p.name for p in tmp_path.iterdir()] == ["out.tnb"]


def test_an_interrupted_convert_leaves_nothing_behind(capfd, tmp_path, monkeypatch):
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    (tmp_path / "out.tnb").write_bytes(PREVIOUS)
    monkeypatch.setattr(os, "replace", interrupted)
    assert main(["convert", str(DIGITS / "digits.onnx"), "-o", str(tmp_path / "out.tnb")]) == 130
    assert capfd.readouterr().err.endswith("tinynet: interrupted\n")
    assert [p.name for p in tmp_path.iterdir()] == ["out.tnb"] and (tmp_path / "out.tnb").read_bytes() == PREVIOUS


# ---- extras that are not installed

@pytest.mark.parametrize("package, words, extra", [
    ("onnx", ["convert", DIGITS / "digits.onnx", "-o", "x.tnb"], "convert"),
    ("flatbuffers", ["convert", DIGITS / "digits.onnx", "-o", "x.tnb"], "convert"),
    ("onnx", ["run", DIGITS / "digits.onnx", PICTURE], "convert"),
    ("PIL", ["run", "m.tnb", PICTURE], "image"),
    ("onnxruntime", ["compare", "m.tnb", DIGITS / "digits.onnx"], "bench"),
], ids=["onnx", "flatbuffers", "run an .onnx", "Pillow", "onnxruntime"])
def test_missing_extras(model, package, words, extra):
    """A process of its own, in which the package cannot be found."""
    code = f"""
import sys
sys.modules[{package!r}] = None
from tinynet.__main__ import main
sys.exit(main({[str(word) for word in words]!r}))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, cwd=model.parent)
    assert (done.returncode, done.stdout) == (2, ""), done.stderr
    assert done.stderr.startswith("tinynet: ") and done.stderr.count("\n") == 1
    assert f'pip install "tinynet-engine[{extra}]"' in done.stderr
