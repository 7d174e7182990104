"""The README is run: its console blocks, its Python block, and its list of operators."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("onnx")
pytest.importorskip("PIL")

# `benchmarks` is not installed; it is found from the repository's root.
sys.path.append(str(Path(__file__).resolve().parents[1]))
ROOT = Path(__file__).resolve().parents[1]
TEXT = (ROOT / "README.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", TEXT, re.S)


def commands() -> list[tuple[str, list[str]]]:
    """(command, the lines shown under it) of every console block, in order."""
    found: list[tuple[str, list[str]]] = []
    for line in "".join(blocks("console")).splitlines():
        if line.startswith("$ "):
            found.append((line[2:], []))
        else:
            found[-1][1].append(line)
    return found


def shown_matches(shown: str, printed: str) -> bool:
    """`...` in a shown line stands for anything; other text must be printed just so."""
    return re.fullmatch(re.escape(shown).replace(re.escape("..."), ".*"), printed) is not None


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("readme")
    (folder / "examples").symlink_to(ROOT / "examples")
    return folder


def test_console_blocks_do_what_they_show(folder):
    assert {c.split()[1] for c, _ in commands()} >= {"convert", "run", "inspect", "bench", "compare"}
    for command, shown in commands():
        words = shlex.split(command)
        assert words[0] == "tinynet"
        done = subprocess.run([sys.executable, "-m", *words], cwd=folder, capture_output=True, text=True, timeout=300)
        if "onnxruntime" in done.stderr and done.returncode == 2:
            continue    # compare without the package that it compares with
        assert done.returncode == 0, done.stderr
        printed = done.stdout.splitlines()
        for line in shown:
            if line != "...":
                assert any(shown_matches(line, p) for p in printed), f"{command}: {line!r} not in {done.stdout}"


def test_python_block_runs(folder):
    (code,) = blocks("python")
    subprocess.run([sys.executable, "-m", "tinynet", "convert", "examples/digits/digits.onnx", "-o", "digits.tnb",
                    "--std", "255", "--color", "gray", "-q"], cwd=folder, check=True, timeout=300)
    done = subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert "(1, 10)" in done.stdout and "GFLOP/s" in done.stdout


def test_list_of_operators_is_the_importers():
    from benchmarks import table

    assert table.with_operators(TEXT) == TEXT, "run: python -m benchmarks table"


def test_every_folder_is_on_the_map_and_every_target_exists():
    for name in ("kernels", "converters", "tests", "benchmarks", "examples", "tinynet/ops", "tinynet/tasks", "tinynet/cli"):
        assert f"`{name}/`" in TEXT and (ROOT / name).is_dir()
    makefile = (ROOT / "Makefile").read_text()
    for target in re.findall(r"make ([a-z0-9-]+)", TEXT):
        assert re.search(rf"^{target}:", makefile, re.M), target
    for path in re.findall(r"\]\(([^)]+)\)", TEXT):
        assert (ROOT / path).exists(), path
