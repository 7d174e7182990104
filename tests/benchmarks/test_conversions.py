from __future__ import annotations

import types

import pytest

from benchmarks import conversions, engines


@pytest.fixture
def adapter():
    """One that converts by copying, counts, and refuses empty models."""
    module = types.ModuleType("benchmarks.engines.copying")
    module.PIP, module.CACHED, module.calls = "numpy (or so)", True, 0

    def prepare(model, folder):
        module.calls += 1
        if not model.read_bytes():
            raise engines.Skip("empty")
        target = folder / (model.stem + ".copy")
        target.write_bytes(model.read_bytes())
        return target

    module.prepare = prepare
    return module


def test_a_model_is_converted_once(adapter, tmp_path):
    model, cache = tmp_path / "net.onnx", tmp_path / "cache"
    model.write_bytes(b"weights")
    replies = [conversions.prepare(adapter, model, tmp_path, cache) for _ in range(2)]
    assert adapter.calls == 1 and replies[0] == replies[1]
    with open(replies[0]["prepared"], "rb") as file:
        assert file.read() == b"weights"
    assert [p.name for p in (cache / "copying").iterdir()] == [f"net-{conversions.key(adapter, model)}"]


def test_what_a_conversion_depends_on_makes_another_entry(adapter, tmp_path, monkeypatch):
    model = tmp_path / "net.onnx"
    model.write_bytes(b"weights")
    keys = {conversions.key(adapter, model)}
    model.write_bytes(b"others")
    keys.add(conversions.key(adapter, model))
    monkeypatch.setattr(conversions, "version", lambda package: f"next {package}")
    keys.add(conversions.key(adapter, model))
    adapter.prepare = lambda model, folder: model
    keys.add(conversions.key(adapter, model))
    assert len(keys) == 4


def test_refusals_are_kept_and_crashes_are_not(adapter, tmp_path):
    model, cache = tmp_path / "net.onnx", tmp_path / "cache"
    model.write_bytes(b"")
    for _ in range(2):
        assert conversions.prepare(adapter, model, tmp_path, cache) == {"skip": "empty"}
    assert adapter.calls == 1
    adapter.prepare = lambda model, folder: 1 // 0
    for folder in ("first", "second"):
        (tmp_path / folder).mkdir()
        with pytest.raises(ZeroDivisionError):
            conversions.prepare(adapter, model, tmp_path / folder, cache)
    assert len(list((cache / "copying").iterdir())) == 1


@pytest.mark.parametrize(("cached", "cache"), [(True, False), (False, True)])
def test_without_a_cache_everything_goes_into_the_folder(adapter, tmp_path, cached, cache):
    model = tmp_path / "net.onnx"
    model.write_bytes(b"weights")
    adapter.CACHED = cached
    for _ in range(2):
        reply = conversions.prepare(adapter, model, tmp_path, tmp_path / "cache" if cache else None)
        assert reply == {"prepared": str(tmp_path / "net.copy")}
    assert adapter.calls == 2 and not (tmp_path / "cache").exists()


def test_a_package_that_is_missing_is_named(adapter, tmp_path):
    model = tmp_path / "net.onnx"
    model.write_bytes(b"weights")
    adapter.PIP = "no-such-package"
    with pytest.raises(ModuleNotFoundError) as caught:
        conversions.prepare(adapter, model, tmp_path, tmp_path / "cache")
    assert caught.value.name == "no-such-package"
