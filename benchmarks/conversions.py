"""Converted models, kept between runs: pnnx and MNN take minutes for a large network, and give the same files every time.

An entry is a folder CACHE/ENGINE/STEM-KEY with what the converter wrote and `reply.json`; KEY is a digest of the model's
bytes, of the adapter's `prepare` and of the versions of its packages.  It appears complete or not at all.
Standard library only: workers import this.
"""

from __future__ import annotations

import hashlib
import inspect
import json
import os
import shutil
import tempfile
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any


def default_folder() -> Path:
    """Of the user, so that it outlives the working tree."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "tinynet-benchmarks"


def key(adapter: Any, model: Path) -> str:
    """Raises ModuleNotFoundError if a package of the adapter is not installed."""
    digest = hashlib.sha256(inspect.getsource(adapter.prepare).encode())
    for package in adapter.PIP.split(" (")[0].split():
        try:
            digest.update(f"{package} {version(package)}\n".encode())
        except PackageNotFoundError:
            raise ModuleNotFoundError(name=package) from None
    with model.open("rb") as file:
        digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()[:20]


def prepare(adapter: Any, model: Path, folder: Path, cache: Path | None) -> dict[str, str]:
    """{"prepared": path} or {"skip": reason}; from the cache if the adapter says CACHED, else converted into `folder`.

    Conversion is always done in `folder`, which the caller removes: some converters end the process.
    """
    from benchmarks.engines import Skip

    if cache is None or not getattr(adapter, "CACHED", False):
        return {"prepared": str(adapter.prepare(model, folder))}
    own = cache / adapter.__name__.rpartition(".")[2]
    entry = own / f"{model.stem}-{key(adapter, model)}"
    if not entry.exists():
        work = folder / "converted"
        work.mkdir()
        try:
            reply = {"prepared": str(adapter.prepare(model, work).relative_to(work))}
        except Skip as reason:
            reply = {"skip": str(reason)}
        (work / "reply.json").write_text(json.dumps(reply))
        own.mkdir(parents=True, exist_ok=True)
        unfinished = Path(tempfile.mkdtemp(prefix="unfinished-", dir=own))
        try:
            shutil.copytree(work, unfinished, symlinks=True, dirs_exist_ok=True)
            if not entry.exists():      # another run may have been faster
                unfinished.rename(entry)
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)
        shutil.rmtree(work)
    reply = json.loads((entry / "reply.json").read_text())
    return {"prepared": str(entry / reply["prepared"])} if "prepared" in reply else reply
