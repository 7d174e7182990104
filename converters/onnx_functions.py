"""Operators that the ONNX specification defines by others: the body of such a function in place of its node.

What the importer implements itself wins; this is for the rest (Attention, RotaryEmbedding, MeanVarianceNormalization, ...).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx

from tinynet.converters.onnx_builder import Value
from tinynet.converters.onnx_control import rename


def has_body(schema: onnx.defs.OpSchema) -> bool:
    return schema.has_function or schema.has_context_dependent_function


def expand(node: onnx.NodeProto, schema: onnx.defs.OpSchema, opset: int, inputs: list[Value | None],
           unique: Callable[[str], str]) -> list[onnx.NodeProto] | None:
    """The nodes of the function's body at this opset, in order, with the names of the call; None if it has no body for
    these inputs.  `unique` makes a name that the model does not have from a wish."""
    body = _body(node, schema, opset, inputs)
    if body is None:
        return None
    given = {attribute.name: attribute for attribute in node.attribute}
    for name, declared in schema.attributes.items():
        if name not in given and declared.default_value.name:
            given[name] = declared.default_value
    given |= {attribute.name: attribute for attribute in body.attribute_proto if attribute.name not in given}
    names = {"": ""}
    for formal, actual in ((body.input, node.input), (body.output, node.output)):
        names |= dict.fromkeys(formal, "") | dict(zip(formal, actual, strict=False))
    for output in body.output:
        names[output] = names[output] or unique(f"{node.name}/{output}")
    return [_bound(inner, given, names, f"{node.name}/{inner.op_type}_{i}", unique) for i, inner in enumerate(body.node)]


def _body(node: onnx.NodeProto, schema: onnx.defs.OpSchema, opset: int,
          inputs: list[Value | None]) -> onnx.FunctionProto | None:
    if schema.has_function:
        data = schema.get_function_with_opset_version(opset)
    else:
        types = [_type(value) for value in inputs]
        data = schema.get_context_dependent_function_with_opset_version(opset, node.SerializeToString(), types)
    body = onnx.FunctionProto.FromString(data) if data else None
    return body if body is not None and body.node else None


def _type(value: Value | None) -> bytes:
    if value is None:
        return b""
    kind = onnx.helper.np_dtype_to_tensor_dtype(np.dtype(value.dtype))
    return onnx.helper.make_tensor_type_proto(kind, value.shape).SerializeToString()


def _bound(inner: onnx.NodeProto, given: dict[str, onnx.AttributeProto], names: dict[str, str], name: str,
           unique: Callable[[str], str]) -> onnx.NodeProto:
    """A node of the body with the caller's names and attributes; `names` grows by what it makes."""
    bound = onnx.NodeProto()
    bound.CopyFrom(inner)
    bound.name = name
    for output in inner.output:
        if output not in names:
            names[output] = unique(f"{name.rpartition('/')[0]}/{output}")
    del bound.attribute[:]
    for attribute in inner.attribute:
        if not attribute.ref_attr_name:
            bound.attribute.append(attribute)
        elif attribute.ref_attr_name in given:
            value = onnx.AttributeProto()
            value.CopyFrom(given[attribute.ref_attr_name])
            value.name = attribute.name
            bound.attribute.append(value)
    rename(bound, names)
    return bound
