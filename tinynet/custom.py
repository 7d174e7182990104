"""Layers written in Python by users of tinynet.

    @tinynet.register("acme.snake", attributes={"alpha": 1.0}, onnx=("com.acme", "Snake"))
    def snake(x, alpha):
        return x + np.sin(alpha * x) ** 2 / alpha

The name is stored in the file; whoever loads it registers the same name first.  The function is the layer's meaning and runs
as a numpy step.  A C function, for example a Numba cfunc, may take its place at run time: see `KERNEL_SIGNATURE`.

A kernel is `int32_t kernel(void **tensors, const int64_t *shapes, const double *attributes)`:

    tensors      the inputs' and then the outputs' data: C-contiguous, in the source's axis order, of the dtypes that the
                 shape rule knows.  Inputs must not be written; at most MOST_TENSORS together.
    shapes       8 numbers per tensor, in the same order: shapes[8 * t] is the rank, shapes[8 * t + 1 + d] the extent of axis d
    attributes   in the order of their declaration: numbers and bools as they are, a tuple as its length and its elements
    returns      0, or a status that ends the run: LayerError names the layer and the number

It is called without the GIL on one of the program's threads, possibly by several runs at once, and must not call Python.  An
exception inside a Numba cfunc only prints, and the run goes on with what the outputs held: return a status instead.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import numpy as np

from tinynet.errors import FormatError, LayerError, UnsupportedError, UsageError
from tinynet.graph import DTYPES
from tinynet.ops import base
from tinynet.ops.base import Op, ShapeError, Spec

# For numba.cfunc: @numba.cfunc(tinynet.custom.KERNEL_SIGNATURE)
KERNEL_SIGNATURE = "int32(CPointer(voidptr), CPointer(int64), CPointer(float64))"
MOST_TENSORS = 7
MOST_RANK = 7
_NAME = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)+", re.ASCII)
_ANNOTATIONS = {bool: "bool", int: "int", float: "float", str: "str"}
# ONNX operator, behind its domain if that is not ONNX's own -> function of the importer.
ONNX_OPERATORS: dict[str, Callable] = {}
# A plan holds a kernel's address only, so kernels live as long as the process.
_KERNELS: list[Any] = []


def register(kind: str, *, attributes: Mapping[str, Any] | None = None, infer: Callable | None = None, kernel: Any = None,
             elementwise: bool = False, onnx: tuple[str, str] | None = None) -> Callable[[Callable], Callable]:
    """A decorator that makes `function(*arrays, **attributes) -> array, or a tuple of arrays` the layer kind `kind`.

    kind         two or more names with dots between them, such as "acme.snake"; registering it again replaces it
    attributes   name -> default; its type (bool, int, float, str, or a tuple of one of them, not empty) is the attribute's
    infer        infer(*inputs, **attributes) -> output, or a list of outputs: inputs are Spec(shape, dtype), an output is a
                 Spec or a shape (then the dtype is the first input's).  Raise ShapeError, or any exception, for what does
                 not fit.  Default: the output is like the first input.
    kernel       a Numba CFunc of KERNEL_SIGNATURE, or the address of such a C function
    elementwise  each output element depends on input elements at its own place alone (after broadcasting).  The arrays may
                 then come in another axis order than the source's, which saves transposes.
    onnx         (domain, operator) of ONNX that becomes this layer: inputs, outputs and attributes correspond one to one.
                 `tinynet.converters.register_onnx` is for all other cases.

    The function must only depend on its arguments: the converter computes it once where they are constants.
    UsageError for arguments that do not fit.
    """
    if not isinstance(kind, str) or not _NAME.fullmatch(kind):
        raise UsageError(f"register: expected a name such as 'acme.snake', found {kind!r}")
    fields = {name: (_annotation(kind, name, default), default) for name, default in (attributes or {}).items()}
    address = _address(kind, kernel)
    if address and any(annotation == "str" or annotation == "tuple[str, ...]" for annotation, _ in fields.values()):
        raise UsageError(f"register {kind!r}: a kernel gets numbers, so no attribute may be a text")

    def decorate(function: Callable) -> Callable:
        if not callable(function):
            raise UsageError(f"register {kind!r}: expected a function, found {type(function).__name__}")
        members = {name: default for name, (_, default) in fields.items()}
        cls = type("Custom", (Custom,), {
            **members, "__annotations__": {name: annotation for name, (annotation, _) in fields.items()},
            "__doc__": function.__doc__ or kind, "kind": kind, "elementwise": elementwise, "function": staticmethod(function),
            "rule": staticmethod(infer or (lambda first, *_, **__: first)), "address": address})
        base.replace(cls)
        if onnx is not None:
            register_onnx(*onnx)(_same(kind, list(fields)))
        return function

    return decorate


def register_onnx(domain: str, operator: str) -> Callable[[Callable], Callable]:
    """A decorator: `function(builder, *inputs, **attributes) -> value, or a list of values` converts an ONNX operator.

    It is called as the functions of `converters/onnx_ops*.py` are: inputs are Values (None where one is left out), attributes
    those that the node gives, and `builder.emit("acme.snake", x, alpha=2.0)` appends a layer, registered or built in.  `Refuse`
    from tinynet.converters.onnx_builder says what is not supported.  An operator that tinynet runs itself stays as it is.
    """
    def decorate(function: Callable) -> Callable:
        ONNX_OPERATORS[operator if domain in ("", "ai.onnx") else f"{domain}.{operator}"] = function
        return function
    return decorate


def unregister(kind: str) -> None:
    """Forget a kind and the ONNX operator that was registered with it; models that were loaded keep it."""
    base.forget(kind)
    for key in [key for key, function in ONNX_OPERATORS.items() if getattr(function, "kind", None) == kind]:
        del ONNX_OPERATORS[key]


class Custom(Op):
    """A registered layer."""

    function: ClassVar[Callable]
    rule: ClassVar[Callable]
    address: ClassVar[int] = 0

    def infer(self, *inputs: Spec) -> list[Spec]:
        try:
            found = self.rule(*inputs, **self.attributes())
            found = found if isinstance(found, list) else [found]
            specs = [s if isinstance(s, Spec) else Spec(tuple(int(d) for d in s), inputs[0].dtype) for s in found]
        except ShapeError:
            raise
        except Exception as error:
            raise ShapeError(f"its shape rule does not take these inputs: {type(error).__name__}: {error}") from None
        for spec in specs:
            if spec.dtype not in DTYPES or min(spec.shape, default=0) < 0:
                raise ShapeError(f"its shape rule gives {spec.dtype!r} {list(spec.shape)}")
        return specs

    def reference(self, *arrays: Any) -> list[Any]:
        expected = self.infer(*(Spec(a.shape, a.dtype.name) for a in arrays))
        try:
            found = self.function(*arrays, **self.attributes())
        except Exception as error:
            raise LayerError(f"custom layer {self.kind!r}: {type(error).__name__}: {error}") from error
        found = [np.asarray(a) for a in (found if isinstance(found, (tuple, list)) else [found])]
        got = [Spec(a.shape, a.dtype.name) for a in found]
        if got != expected:
            raise LayerError(f"custom layer {self.kind!r}: expected {_shown(expected)} by its shape rule, the function gives "
                             f"{_shown(got)}")
        return found

    def lower(self, builder: Any, node: Any) -> bool:
        names = [*node.inputs, *node.outputs]
        views = [builder.view(name) for name in names]
        if not self.address:
            return False
        if len(names) > MOST_TENSORS or any(len(v.shape) > MOST_RANK for v in views):
            raise UnsupportedError(f"custom layer {self.kind!r}: a kernel takes at most {MOST_TENSORS} tensors of rank "
                                   f"{MOST_RANK} or less; register it without a kernel")
        shapes = np.zeros((len(views), 8), np.int64)
        for row, view in zip(shapes, views, strict=True):
            row[0], row[1:1 + len(view.shape)] = len(view.shape), view.shape
        numbers = np.array(self._numbers(), np.float64)
        table = np.concatenate([shapes.reshape(-1), numbers.view(np.int64)])
        builder.emit("custom", [*map(builder.tensor, names), builder.constant(table)], address=self.address, tensors=len(names))
        return True

    def _numbers(self) -> list[float]:
        numbers: list[float] = []
        for name, value in self.attributes().items():
            if self.fields[name][0].startswith("tuple"):
                numbers += [len(value), *value]
            else:
                numbers.append(value)
        return numbers


def _shown(specs: list[Spec]) -> str:
    return ", ".join(f"{s.dtype} {list(s.shape)}" for s in specs)


def _annotation(kind: str, name: str, default: Any) -> str:
    inner = default[0] if isinstance(default, tuple) and default else default
    annotation = _ANNOTATIONS.get(type(inner))
    if annotation is None or not str(name).isidentifier() or hasattr(Op, name) or name in ("function", "rule", "address"):
        raise UsageError(f"register {kind!r}: attribute {name!r} = {default!r}: expected a name that no method has, and a "
                         "bool, int, float, str or tuple of one of them as default")
    return f"tuple[{annotation}, ...]" if isinstance(default, tuple) else annotation


def _address(kind: str, kernel: Any) -> int:
    if kernel is None:
        return 0
    _KERNELS.append(kernel)
    address = kernel if isinstance(kernel, int) else getattr(kernel, "address", None)
    typed = getattr(kernel, "ctypes", None)
    if not isinstance(address, int) or isinstance(address, bool) or not 0 < address < 2 ** 63:
        raise UsageError(f"register {kind!r}: the kernel must be a Numba CFunc or the address of a C function, "
                         f"found {type(kernel).__name__}")
    if typed is not None and [typed.restype, *typed.argtypes] != _signature():
        raise UsageError(f"register {kind!r}: the kernel must have the signature {KERNEL_SIGNATURE}")
    return address


def _signature() -> list[Any]:
    """KERNEL_SIGNATURE as ctypes has it."""
    from ctypes import POINTER, c_double, c_int32, c_int64, c_void_p

    return [c_int32, POINTER(c_void_p), POINTER(c_int64), POINTER(c_double)]


def _same(kind: str, attributes: list[str]) -> Callable:
    """The importer's function for an operator that is the layer."""
    def function(b: Any, *inputs: Any, **given: Any) -> list[Any]:
        from tinynet.converters.onnx_builder import Refuse

        unknown = [name for name in given if name not in attributes]
        if unknown:
            raise Refuse(f"the registered layer {kind!r} has no attribute {unknown[0]!r}")
        if None in inputs:
            raise Refuse(f"the registered layer {kind!r} needs all inputs, one is left out")
        try:
            return b.emit_all(kind, *inputs, **given)
        except FormatError as error:
            raise Refuse(str(error)) from None
    function.kind = kind
    return function
