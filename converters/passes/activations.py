"""Activations that the source spells in arithmetic become one layer of their kind.

    maximum(x, 0); clip(x, 0, inf)                    ->  relu
    minimum / maximum(x, constant)                    ->  clip
    maximum(x, a x), 0 <= a <= 1; prelu(x, equal a)   ->  leaky_relu(a)
    clip(x + c, lo, hi) s,  lo s = 0, hi s = 1        ->  hard_sigmoid(s, c s)
    clip(a x + b, 0, 1)                               ->  hard_sigmoid(a, b)
    x clip(x + 3, 0, 6) / 6,  x hard_sigmoid(x)       ->  hard_swish
    x sigmoid(x)                                      ->  silu
    x / (1 + abs x)                                   ->  softsign
    where(x > 20, x, softplus(x))                     ->  softplus
    x tanh(softplus(x))                               ->  mish
    x (1 + erf(x / sqrt 2)) / 2                       ->  gelu
    x (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))) / 2   ->  gelu_tanh; also with x (1 + 0.044715 x^2) inside

A product is first taken apart into its constant and its other factors, whatever the order and the mixture of mul and
div, so that one rule covers all spellings.  Constants are compared to a relative 1e-6 (they come as float32).
"""

from __future__ import annotations

import math

from tinynet.converters.passes.edit import Editor, has_activation
from tinynet.graph import Graph, Node

FLOAT32_MAX = 3.4028234e38


def apply(graph: Graph) -> int:
    ed = Editor(graph)
    count = 0
    for node in ed.nodes():
        count += _clamp(ed, node) or _slope(ed, node) or _softsign(ed, node) or _softplus(ed, node)
    for node in reversed(ed.nodes()):                    # the outermost product first
        if ed.alive(node) and node.op in ("mul", "div", "clip"):
            count += _product(ed, node) if node.op != "clip" else _affine_clip(ed, node)
    ed.finish()
    return count


def _close(a: float, b: float) -> bool:
    return math.isclose(a, b, rel_tol=1e-6, abs_tol=1e-12)


def _become(ed: Editor, node: Node, kind: str, x: str, alpha: float = 0.0, beta: float = 0.0) -> int:
    attrs = {k: v for k, v in (("alpha", alpha), ("beta", beta)) if v}
    ed.replace(node.outputs[0], ed.emit(kind, [x], attrs, stem=node.outputs[0]))
    return 1


def _with_constant(ed: Editor, node: Node) -> tuple[str, float] | None:
    """(x, c) of a binary node with one scalar constant that does not change x's shape; x may be on either side."""
    if has_activation(node) or ed.dtype(node.outputs[0]) != "float32":
        return None
    a, b = node.inputs
    for x, other in ((a, b), (b, a)):
        c = ed.scalar(other)
        if c is not None and not ed.is_constant(x) and ed.shape(x) == ed.shape(node.outputs[0]):
            return x, c
    return None


def _clamp(ed: Editor, node: Node) -> int:
    if node.op in ("maximum", "minimum"):
        found = _with_constant(ed, node)
        if found is None or math.isnan(found[1]):
            return 0
        x, c = found
        low, high = (c, math.inf) if node.op == "maximum" else (-math.inf, c)
    elif node.op == "clip":
        x, low, high = node.inputs[0], node.attrs.get("alpha", 0.0), node.attrs.get("beta", 0.0)
    else:
        return 0
    if low == 0 and high >= FLOAT32_MAX:
        return _become(ed, node, "relu", x)
    if node.op == "clip":
        return 0
    return _become(ed, node, "clip", x, low, high)


def _slope(ed: Editor, node: Node) -> int:
    if node.op == "prelu" and ed.is_constant(node.inputs[1]):
        slope = ed.value(node.inputs[1]).reshape(-1)
        if slope.size and (slope == slope[0]).all():
            return _become(ed, node, "leaky_relu", node.inputs[0], float(slope[0]))
    if node.op != "maximum" or has_activation(node):
        return 0
    for x, scaled in (node.inputs, reversed(node.inputs)):
        product = ed.made_by(scaled, "mul")
        found = _with_constant(ed, product) if product else None
        if found and found[0] == x and 0 <= found[1] <= 1:
            return _become(ed, node, "leaky_relu", x, found[1])
    return 0


def _softsign(ed: Editor, node: Node) -> int:
    below = ed.made_by(node.inputs[1], "add") if node.op == "div" and not has_activation(node) else None
    found = _with_constant(ed, below) if below else None
    magnitude = ed.made_by(found[0], "abs") if found and found[1] == 1 else None
    if magnitude is None or magnitude.inputs[0] != node.inputs[0]:
        return 0
    return _become(ed, node, "softsign", node.inputs[0])


def _softplus(ed: Editor, node: Node) -> int:
    """where(x > c, x, softplus(x)): from 17 on both are the same float32 number."""
    if node.op != "where":
        return 0
    condition, x, other = node.inputs
    above, smooth = ed.made_by(condition, "greater", "greater_or_equal"), ed.made_by(other, "softplus")
    if above is None or smooth is None or above.inputs[0] != x or smooth.inputs[0] != x:
        return 0
    bound = ed.scalar(above.inputs[1])
    return _become(ed, node, "softplus", x) if bound is not None and bound >= 17 and ed.shape(x) == ed.shape(
        node.outputs[0]) else 0


def _factors(ed: Editor, node: Node) -> tuple[float, list[str]]:
    """The product that ends at `node`: its constant, and the other factors.  What is divided by no constant is one."""
    constant, names = 1.0, []
    todo = [(node, True)]
    while todo:
        product, outermost = todo.pop()
        one_user = outermost or ed.only_user(product.outputs[0]) is not None
        found = _with_constant(ed, product)
        divisor_first = product.op == "div" and found is not None and found[0] != product.inputs[0]
        if not one_user or has_activation(product) or divisor_first or product.op == "div" and not found:
            names.append(product.outputs[0])
            continue
        if found:
            constant = constant * found[1] if product.op == "mul" else constant / found[1] if found[1] else math.nan
        for name in [found[0]] if found else product.inputs:
            inner = ed.made_by(name, "mul", "div")
            if inner is None:
                names.append(name)
            else:
                todo.append((inner, False))
    return constant, names


def _product(ed: Editor, node: Node) -> int:
    constant, names = _factors(ed, node)
    if len(names) == 1:
        return _hard_sigmoid(ed, node, constant, names[0])
    if len(names) != 2:
        return 0
    for x, gate in (names, reversed(names)):
        maker = ed.producer.get(gate)
        if maker is None or ed.shape(x) != ed.shape(node.outputs[0]):
            continue
        if maker.op == "sigmoid" and maker.inputs[0] == x and _close(constant, 1):
            return _become(ed, node, "silu", x)
        if _is_gate(ed, maker, x, constant):
            return _become(ed, node, "hard_swish", x)
        if _close(constant, 1) and _is_mish_gate(ed, maker, x):
            return _become(ed, node, "mish", x)
        if _close(constant, 0.5) and _is_gelu_gate(ed, maker, x):
            return _become(ed, node, "gelu", x)
        if _close(constant, 0.5) and _is_gelu_tanh_gate(ed, maker, x):
            return _become(ed, node, "gelu_tanh", x)
    return 0


def _is_gate(ed: Editor, maker: Node, x: str, constant: float) -> bool:
    """Is constant * maker(x) == clip(x / 6 + 1/2, 0, 1)?"""
    alpha, beta = maker.attrs.get("alpha", 0.0), maker.attrs.get("beta", 0.0)
    if maker.op == "hard_sigmoid":
        return maker.inputs[0] == x and _close(constant, 1) and _close(alpha, 1 / 6) and _close(beta, 0.5)
    shifted = ed.made_by(maker.inputs[0], "add") if maker.op == "clip" else None
    found = _with_constant(ed, shifted) if shifted else None
    return (found is not None and found[0] == x and _close(found[1], 3) and alpha == 0 and _close(beta, 6)
            and _close(constant, 1 / 6))


def _is_mish_gate(ed: Editor, maker: Node, x: str) -> bool:
    softplus = ed.made_by(maker.inputs[0], "softplus") if maker.op == "tanh" else None
    return softplus is not None and softplus.inputs[0] == x


def _one_plus(ed: Editor, maker: Node, kind: str) -> Node | None:
    """The product p, if `maker` is 1 + kind(p)."""
    found = _with_constant(ed, maker) if maker.op == "add" else None
    function = ed.made_by(found[0], kind) if found and _close(found[1], 1) else None
    return ed.made_by(function.inputs[0], "mul", "div") if function else None


def _is_gelu_gate(ed: Editor, maker: Node, x: str) -> bool:
    inner = _one_plus(ed, maker, "erf")
    if inner is None:
        return False
    constant, names = _factors(ed, inner)
    return names == [x] and _close(constant, math.sqrt(0.5))


def _is_gelu_tanh_gate(ed: Editor, maker: Node, x: str) -> bool:
    inner = _one_plus(ed, maker, "tanh")
    if inner is None:
        return False
    constant, names = _factors(ed, inner)
    if not _close(constant, math.sqrt(2 / math.pi)):
        return False
    if len(names) == 2 and x in names:
        names.remove(x)
        curve = ed.made_by(names[0], "add")
        found = _with_constant(ed, curve) if curve else None
        return found is not None and _close(found[1], 1) and _is_power(ed, found[0], x, 2)
    curve = ed.made_by(names[0], "add") if len(names) == 1 else None
    if curve is None or has_activation(curve):
        return False
    return any(a == x and _is_power(ed, b, x, 3) for a, b in (curve.inputs, reversed(curve.inputs)))


def _is_power(ed: Editor, name: str, x: str, exponent: int) -> bool:
    """Is the tensor 0.044715 x^exponent, as a product or with pow?"""
    product = ed.made_by(name, "mul", "div")
    if product is None:
        return False
    constant, names = _factors(ed, product)
    power = ed.made_by(names[0], "pow") if len(names) == 1 else None
    if power is not None and not has_activation(power):
        names = [x] * exponent if power.inputs[0] == x and ed.scalar(power.inputs[1]) == exponent else []
    return _close(constant, 0.044715) and names == [x] * exponent


def _hard_sigmoid(ed: Editor, node: Node, constant: float, name: str) -> int:
    clip = ed.made_by(name, "clip")
    shifted = ed.made_by(clip.inputs[0], "add") if clip else None
    found = _with_constant(ed, shifted) if shifted else None
    if found is None or ed.shape(name) != ed.shape(node.outputs[0]):
        return 0
    if clip.attrs.get("alpha", 0.0) != 0 or not _close(clip.attrs.get("beta", 0.0) * constant, 1):
        return 0
    return _become(ed, node, "hard_sigmoid", found[0], constant, found[1] * constant)


def _affine_clip(ed: Editor, node: Node) -> int:
    """clip(a x + b, 0, 1), the factor or the summand may be missing, but not both."""
    if node.attrs.get("alpha", 0.0) != 0 or node.attrs.get("beta", 0.0) != 1 or has_activation(node):
        return 0
    x, a, b = node.inputs[0], 1.0, 0.0
    for kinds in (("add", "sub"), ("mul", "div")):
        maker = ed.made_by(x, *kinds)
        found = _with_constant(ed, maker) if maker else None
        if found is None or maker.op in ("sub", "div") and maker.inputs[0] != found[0] or found[1] == 0:
            continue
        if ed.only_user(x) is None:
            continue
        x = found[0]
        if kinds[0] == "add":
            b = found[1] if maker.op == "add" else -found[1]
        else:
            a = found[1] if maker.op == "mul" else 1 / found[1]
    return _become(ed, node, "hard_sigmoid", x, a, b) if x != node.inputs[0] else 0
