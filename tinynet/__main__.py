"""`tinynet` and `python -m tinynet`."""

from __future__ import annotations

import os
import sys

from tinynet.errors import FileError, TinynetError

INTERNAL_ERROR = 70
INTERRUPTED = 130
# What a shell reports for a program that SIGPIPE ended (128 + 13): `tinynet inspect model.tnb | head -1` is no failure.
BROKEN_PIPE = 141


def main(argv: list[str] | None = None) -> int:
    """Run one command line and return its exit code (see `tinynet/errors.py`); raises nothing."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:          # closed by the shell: `tinynet ... >&-`
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115  (stays open until the process ends)
    try:
        code = _run(sys.argv[1:] if argv is None else argv)
        sys.stdout.flush()
        return code
    except BrokenPipeError:
        _silence_stdout()
        return BROKEN_PIPE
    except KeyboardInterrupt:
        return _fail("interrupted", INTERRUPTED)
    except TinynetError as error:
        return _fail(str(error), error.exit_code)
    except MemoryError:
        return _fail("out of memory", 5)
    except Exception as error:
        hint = "" if os.environ.get("TINYNET_DEBUG") else " (set TINYNET_DEBUG=1 for the traceback)"
        return _fail(f"internal error: {type(error).__name__}: {error}{hint}", INTERNAL_ERROR)


def _run(argv: list[str]) -> int:
    from tinynet import cli

    for stream in (sys.stdout, sys.stderr):
        # A label in Greek on an ASCII terminal, or a file name that is no UTF-8, must not end the program.
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    try:
        return cli.dispatch(argv)
    except SystemExit as exit_:
        return exit_.code if isinstance(exit_.code, int) else 0
    except OSError as error:
        # Files are reported by whoever opens them; without a file name it was a write to a stream.
        if isinstance(error, (TinynetError, BrokenPipeError)) or error.filename is not None:
            raise
        _silence_stdout()
        raise FileError(f"cannot write the results: {error.strerror or error}") from error


def _fail(message: str, code: int) -> int:
    if os.environ.get("TINYNET_DEBUG"):
        import traceback

        traceback.print_exc()
    try:
        from tinynet.cli import output

        output.error(message)
    except OSError:
        _silence_stdout()
    return code


def _silence_stdout() -> None:
    """Drop what is still buffered: the interpreter would complain about it at exit."""
    try:
        target = sys.stdout.fileno()
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, target)
        os.close(null)
    except (OSError, ValueError):
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115  (stays open until the process ends)


if __name__ == "__main__":
    sys.exit(main())
