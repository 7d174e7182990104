"""A progress bar on stderr: only on a terminal, and only once the work has taken half a second."""

from __future__ import annotations

import sys
import time

DELAY = 0.5
WIDTH = 30


class Progress:
    """Called with (fraction done 0..1, what is being done) as work goes on; `close` wipes the bar."""

    def __init__(self) -> None:
        self._start = time.monotonic()
        self._on = sys.stderr.isatty()
        self._drawn = False

    def __call__(self, fraction: float, what: str) -> None:
        if not self._on or time.monotonic() - self._start < DELAY:
            return
        filled = round(WIDTH * min(1.0, max(0.0, fraction)))
        sys.stderr.write(f"\r\033[K[{'#' * filled}{'.' * (WIDTH - filled)}] {what[:40]}")
        sys.stderr.flush()
        self._drawn = True

    def close(self) -> None:
        if self._drawn:
            sys.stderr.write("\r\033[K")
            sys.stderr.flush()
            self._drawn = False

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()
