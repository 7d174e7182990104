"""The file: loading, external data, opsets, damage."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys

import numpy as np
import pytest

from tinynet import reference
from tinynet.errors import FileError, FormatError, TinynetError, UnsupportedError, UnsupportedOpError, UsageError


def relu(lab, x=None, **options):
    x = lab.normal(2, 3) if x is None else x
    return lab.model([lab.node("Relu", ["x"])], {"x": x}, **options)


def one_line(caught):
    assert "\n" not in str(caught.value)
    return str(caught.value)


# The file


def test_path_bytes_and_proto_give_the_same_graph(lab, tmp_path):
    model = relu(lab, opset=13)
    data = model.SerializeToString(deterministic=True)
    path = tmp_path / "small.onnx"
    path.write_bytes(data)
    graphs = [lab.import_(path), lab.import_(str(path)), lab.import_(data), lab.import_(model)]
    assert [g.meta.name for g in graphs] == ["small", "small", "net", "net"]
    assert len({repr((g.nodes, g.tensors, g.inputs, g.outputs)) for g in graphs}) == 1
    assert {g.meta.source_sha256 for g in graphs} == {hashlib.sha256(data).hexdigest()}
    meta = lab.import_(data, name="other").meta
    assert (meta.name, meta.source_format, meta.source_opset, meta.source_operators) == ("other", "onnx", 13, 1)


def test_parameters_count_float_initialisers_once(lab):
    nodes = [lab.node("Gemm", ["x", "w", "b"], ["a"]), lab.node("Gemm", ["a", "w", "b"], ["c"]),
             lab.node("Clip", ["c", "low"], ["d"]), lab.node("Reshape", ["d", "shape"], ["y"])]
    constants = {"w": lab.normal(3, 3), "b": lab.normal(3), "low": np.asarray(np.float32(0)), "shape": lab.ints(-1),
                 "unused": lab.normal(100)}
    assert lab.import_(lab.model(nodes, {"x": lab.normal(2, 3)}, constants=constants)).meta.parameters == 12


def test_missing_file(lab, tmp_path):
    with pytest.raises(FileError, match="No such file") as caught:
        lab.import_(tmp_path / "none.onnx")
    assert not isinstance(caught.value, FormatError) and "none.onnx" in one_line(caught)
    with pytest.raises(FileError, match="directory"):
        lab.import_(tmp_path)


@pytest.mark.parametrize("data", [b"", b"GIF89a" + bytes(50), b"\x08\x09", bytes(100), b"\xff" * 40])
def test_not_an_onnx_file(lab, data):
    with pytest.raises(FormatError, match="not an ONNX file") as caught:
        lab.import_(data)
    one_line(caught)


def test_truncated_files_never_convert(lab):
    data = relu(lab, opset=13).SerializeToString()
    for length in range(len(data)):
        with pytest.raises((FormatError, UnsupportedError)):
            lab.import_(data[:length])


def test_names_that_are_no_text(lab):
    data = relu(lab).SerializeToString().replace(b"Relu", b"R\xff\xfeu")
    with pytest.raises(FormatError, match="no UTF-8 text"):
        lab.import_(data)


def test_line_breaks_in_names_do_not_reach_messages(lab):
    model = lab.model([lab.node("Foo", ["x"], name="a\nb")], {"x": lab.info("x", [1, "h"])}, name="two\nlines")
    with pytest.raises(UsageError) as caught:
        lab.import_(model)
    one_line(caught)
    with pytest.raises(UnsupportedOpError) as caught:
        lab.import_(model, input_shapes={"x": (1, 2)})
    assert one_line(caught).startswith("two lines: 1 unsupported operator: Foo (ai.onnx, 1 node: a b)")


def test_damaged_bytes_give_the_projects_errors_only(lab):
    """One byte of a small file changed at a time."""
    x, w = lab.normal(1, 2, 4, 4), lab.normal(2, 2, 1, 1)
    nodes = [lab.node("Conv", ["x", "w"], ["a"], pads=[0, 0, 0, 0]),
             lab.node("Resize", ["a", "", "s"], ["b"], mode="linear"), lab.node("Reshape", ["b", "t"])]
    constants = {"w": w, "s": np.array([1, 1, 2, 2], np.float32), "t": lab.ints(0, -1)}
    data = lab.model(nodes, {"x": x}, constants=constants).SerializeToString()
    outcomes = set()
    for position in range(len(data)):
        for value in (0, 255, data[position] ^ 1, data[position] ^ 64):
            try:
                lab.import_(data[:position] + bytes([value]) + data[position + 1:])
                outcomes.add("converted")
            except TinynetError as error:
                assert "\n" not in str(error)
                outcomes.add(type(error))
    assert outcomes > {"converted", FormatError, UnsupportedOpError}


def test_wrong_source_type(lab):
    with pytest.raises(UsageError, match="found int"):
        lab.import_(3)


# External data


def external(lab, tmp_path, location="weights.bin", **entries):
    """A Gemm whose weight [3, 2] lies in `location`."""
    model = lab.model([lab.node("Gemm", ["x", "w"])], {"x": lab.normal(4, 3)}, constants={"w": lab.normal(3, 2)})
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = lab.onnx.TensorProto.EXTERNAL
    for key, value in {"location": location, **entries}.items():
        entry = tensor.external_data.add()
        entry.key, entry.value = key, str(value)
    path = tmp_path / "model.onnx"
    path.write_bytes(model.SerializeToString())
    return path


def test_external_data(lab, tmp_path):
    w, x = lab.normal(3, 2, seed=5), lab.normal(4, 3)
    (tmp_path / "weights.bin").write_bytes(bytes(8) + w.tobytes() + bytes(3))
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "w").write_bytes(w.tobytes())
    for location, entries in (("weights.bin", {"offset": 8, "length": 24}), ("sub/w", {}), ("./sub/w", {"offset": 0})):
        graph = lab.import_(external(lab, tmp_path, location, **entries))
        np.testing.assert_allclose(reference.run(graph, {"x": x})["y"], x @ w, rtol=1e-5)


def test_external_data_as_the_onnx_package_writes_it(lab, tmp_path):
    x, w = lab.normal(4, 300), lab.normal(300, 20)
    model = lab.model([lab.node("MatMul", ["x", "w"])], {"x": x}, constants={"w": w})
    lab.onnx.save(model, tmp_path / "m.onnx", save_as_external_data=True, location="m.onnx.data", size_threshold=0)
    assert lab.onnx.load(tmp_path / "m.onnx", load_external_data=False).graph.initializer[0].external_data
    graph = lab.import_(tmp_path / "m.onnx")
    np.testing.assert_allclose(reference.run(graph, {"x": x})["y"], x @ w, atol=1e-4)


@pytest.mark.parametrize("location", ["../secret", "sub/../../secret", "/etc/passwd", "..\\secret", "C:\\secret", "",
                                      "\\secret"])
def test_external_data_outside_the_folder_is_refused(lab, tmp_path, location):
    folder = tmp_path / "folder"
    folder.mkdir()
    (tmp_path / "secret").write_bytes(lab.normal(3, 2).tobytes())
    with pytest.raises(FileError, match="not inside the model's folder") as caught:
        lab.import_(external(lab, folder, location))
    one_line(caught)


@pytest.mark.parametrize("location", ["link", "dir/secret"])
def test_external_data_through_a_link_out_of_the_folder_is_refused(lab, tmp_path, location):
    folder = tmp_path / "folder"
    folder.mkdir()
    (tmp_path / "secret").write_bytes(lab.normal(3, 2).tobytes())
    os.symlink(tmp_path / "secret", folder / "link")
    os.symlink(tmp_path, folder / "dir")
    with pytest.raises(FileError, match="link out of the model's folder"):
        lab.import_(external(lab, folder, location))


def test_external_data_through_a_link_inside_the_folder(lab, tmp_path):
    (tmp_path / "blob").write_bytes(lab.normal(3, 2).tobytes())
    os.symlink("blob", tmp_path / "weights.bin")
    assert lab.import_(external(lab, tmp_path)).meta.parameters == 6


@pytest.mark.parametrize("entries,match", [
    ({"length": 20}, "expected 24 bytes"), ({"offset": 4}, "past the end"), ({"offset": -4}, "offset -4"),
    ({"offset": "x"}, "must be numbers"), ({"length": 2 ** 60}, "expected 24 bytes")])
def test_external_data_that_does_not_fit(lab, tmp_path, entries, match):
    (tmp_path / "weights.bin").write_bytes(lab.normal(3, 2).tobytes())
    with pytest.raises(FormatError, match=match):
        lab.import_(external(lab, tmp_path, **entries))


def test_external_data_that_is_missing(lab, tmp_path):
    path = external(lab, tmp_path)
    with pytest.raises(FileError, match="'weights.bin' is missing beside the model"):
        lab.import_(path)
    with pytest.raises(FileError, match="give the path of the model"):
        lab.import_(path.read_bytes())


# Opsets


@pytest.mark.parametrize("opset", range(7, 22))
def test_every_supported_opset(lab, opset):
    notes = []
    x = lab.normal(2, 3)
    lab.check(relu(lab, x, opset=opset), {"x": x}, notes=notes)
    assert notes == []


def test_older_opsets_are_accepted_with_a_note(lab):
    notes = []
    x = lab.normal(2, 3)
    lab.check(relu(lab, x, opset=6), {"x": x}, notes=notes)
    assert len(notes) == 1 and "opset 6 is older than 7" in notes[0]
    scale = [lab.normal(2)] * 4
    assert "version 6 of it (opset 6)" in lab.reason("BatchNormalization", lab.normal(1, 2, 3, 3), *scale, opset=6)
    model = relu(lab)
    del model.opset_import[:]
    model.ir_version = 1
    with pytest.raises(UnsupportedError, match="IR version 1 without an operator set"):
        lab.import_(model)


def test_newer_opsets_are_accepted_with_a_note(lab):
    notes = []
    x = lab.normal(2, 3)
    lab.check(relu(lab, x, opset=26), {"x": x}, notes=notes)
    assert not notes
    assert lab.import_(relu(lab, x, opset=27), notes=notes).nodes
    assert len(notes) == 1 and "opset 27 is newer than 26" in notes[0]


def test_an_operator_at_an_unknown_version_is_unsupported(lab, monkeypatch):
    from tinynet.converters.onnx_ops import OPERATORS
    monkeypatch.setitem(OPERATORS, "Tanh", OPERATORS["Tanh"]._replace(versions=(6,)))
    assert lab.import_(lab.one("Tanh", lab.normal(2, 3), opset=12)[0]).nodes
    with pytest.raises(UnsupportedOpError, match=r"Tanh \(ai.onnx, 1 node: Tanh_0\): version 13 of it \(opset 24\)"):
        lab.import_(lab.one("Tanh", lab.normal(2, 3), opset=24)[0])


def test_an_opset_from_the_future(lab):
    with pytest.raises(UnsupportedError, match="opset 999 is newer than the installed onnx package knows"):
        lab.import_(relu(lab, opset=999))


def test_every_version_in_the_table_exists(lab):
    from tinynet.converters.onnx_ops import OPERATORS
    known = {}
    for schema in lab.onnx.defs.get_all_schemas_with_history():
        if not schema.domain:
            known.setdefault(schema.name, set()).add(schema.since_version)
    newest = lab.onnx.defs.onnx_opset_version()
    for kind, operator in OPERATORS.items():
        if "." in kind:                     # of another domain
            continue
        assert {v for v in operator.versions if v <= newest} <= known[kind], kind
        schemas = [lab.onnx.defs.get_schema(kind, opset) for opset in range(max(7, min(known[kind])), 27)]
        assert {s.since_version for s in schemas if not s.deprecated} <= set(operator.versions), kind


def test_an_operator_that_the_opset_lacks(lab):
    assert "opset 10 has no such operator" in lab.reason("Upsample", lab.normal(1, 1, 2, 2), lab.normal(4), opset=10)
    assert "opset 13 has no such operator" in lab.reason("HardSwish", lab.normal(2), opset=13)


def test_an_unused_domain_may_be_imported(lab):
    model = relu(lab)
    model.opset_import.append(lab.onnx.helper.make_opsetid("ai.onnx.ml", 2))
    assert lab.import_(model).nodes
    model.opset_import.append(lab.onnx.helper.make_opsetid("ai.onnx", 16))
    with pytest.raises(FormatError, match="opsets \\[16, 17\\] at once"):
        lab.import_(model)


def test_without_the_onnx_package_the_pip_command_is_named():
    code = ("import sys; sys.modules['onnx'] = None\n"
            "from tinynet.errors import MissingExtraError\n"
            "try:\n    import tinynet.converters.onnx\n"
            "except MissingExtraError as error:\n    print(error)")
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert 'pip install "tinynet-engine[convert]"' in found.stdout
