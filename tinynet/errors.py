"""Every error that tinynet raises on purpose, and the exit code the command line gives it.

    TinynetError                       70  internal error, when raised as itself
    +-- UsageError                      2  the command or call is put together wrongly
    |   +-- MissingExtraError           2  an optional package is not installed; the text holds the pip command
    +-- FileError                       3  missing, unreadable, not writable
    |   +-- FormatError                 3  the file is corrupt, or no .tnb file, or of an unknown version
    +-- UnsupportedError                4  the model asks for something that tinynet does not do
    |   +-- UnsupportedOpError          4  lists every unsupported operator at once
    +-- LimitError                      5  max_ram, max_macs or the 2 GiB of the format
    +-- InputError                      6  data given to a ready model: name, shape, dtype, not a picture
    +-- LayerError                      6  a custom layer failed on its data
    +-- AccuracyError                   1  quantised, the network loses more than the caller allows

Each message is one line: where (file, node, tensor), what was expected, what was found, what to do.
Exit code 1: a comparison ran and failed.  130 is an interrupt (Ctrl-C).
"""


class TinynetError(Exception):
    exit_code = 70


class UsageError(TinynetError, ValueError):
    exit_code = 2


class MissingExtraError(UsageError, ImportError):
    def __init__(self, package: str, extra: str, purpose: str):
        super().__init__(f"{purpose} needs {package}, which is not installed: "
                         f'pip install "tinynet-engine[{extra}]"')


class FileError(TinynetError, OSError):
    exit_code = 3


class FormatError(FileError, ValueError):
    pass


class UnsupportedError(TinynetError, NotImplementedError):
    exit_code = 4


class UnsupportedOpError(UnsupportedError):
    """`operators` maps the name of each unsupported operator to (reason, [node names]).  `outputs`: tensors at which the
    network could be cut before all of them, if there are such."""

    def __init__(self, message: str, operators: dict | None = None, outputs: list[str] | None = None):
        super().__init__(message)
        self.operators = operators or {}
        self.outputs = outputs or []


class LimitError(TinynetError, MemoryError):
    exit_code = 5


class InputError(TinynetError, ValueError):
    exit_code = 6


class LayerError(TinynetError, RuntimeError):
    exit_code = 6


class AccuracyError(TinynetError, ValueError):
    """`report`: the Quantization that was measured."""

    exit_code = 1

    def __init__(self, message: str, report: object = None):
        super().__init__(message)
        self.report = report
