"""How the commands print: tables, JSON, colours, progress."""

from __future__ import annotations

import io
import json
import sys
import time

from tinynet.cli import output
from tinynet.cli.progress import Progress


def test_table_and_sizes():
    assert output.table(("a", "bb"), [("x", 10), ("yy\x1b", 5)], numeric=(1,)) == ["a    bb", "x    10", "yy\ufffd   5"]
    assert output.shorten("x" * 48) == "x" * 48
    assert output.shorten("abc" + "-" * 90 + "xyz", 20) == "abc-----...------xyz"
    sizes = [output.size(n) for n in (5, 999, 1000, 14_020_308, 3e9)]
    assert sizes == ["5 B", "999 B", "1.00 kB", "14.02 MB", "3.00 GB"]


def test_json_has_no_nan(capsys):
    output.print_json("x", values=[float("nan"), (1.5, float("inf"))])
    assert json.loads(capsys.readouterr().out) == {"version": 1, "command": "x", "values": [None, [1.5, None]]}


def test_colours_only_on_a_terminal(monkeypatch):
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    assert output.paint("x", "bold", Terminal()) == "\033[1mx\033[0m"
    monkeypatch.setenv("NO_COLOR", "1")
    assert output.paint("x", "bold", Terminal()) == "x"
    monkeypatch.delenv("NO_COLOR")
    assert output.paint("x", "bold", io.StringIO()) == "x"


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_progress_bar_waits_and_wipes_itself(monkeypatch):
    monkeypatch.setattr(sys, "stderr", Terminal())
    now = [10.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    with Progress() as progress:
        progress(0.1, "early")
        assert sys.stderr.getvalue() == ""
        now[0] = 10.6
        progress(0.5, "layout")
        assert f"[{'#' * 15}{'.' * 15}] layout" in sys.stderr.getvalue()
    assert sys.stderr.getvalue().endswith("\r\033[K")


def test_no_progress_bar_without_a_terminal(monkeypatch):
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    monkeypatch.setattr("tinynet.cli.progress.DELAY", -1)
    with Progress() as progress:
        progress(0.5, "layout")
    assert sys.stderr.getvalue() == ""
