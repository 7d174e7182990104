"""Element by element: activations as layers of their own."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from tinynet.ops.activated import FUNCTIONS, apply_activation
from tinynet.ops.base import Op, Spec, register
from tinynet.ops.checks import need, need_inputs, quiet


class Unary(Op):
    """x of any shape -> the same shape and dtype; float32 unless `dtypes` says more."""

    elementwise: ClassVar[bool] = True
    dtypes: ClassVar[tuple[str, ...]] = ("float32",)

    def infer(self, *inputs: Spec) -> list[Spec]:
        need_inputs(inputs, 1)
        need(inputs[0].dtype in self.dtypes, f"x of dtype {' or '.join(self.dtypes)}", inputs[0].dtype)
        return [inputs[0]]

    def compute(self, x: np.ndarray) -> np.ndarray:
        raise NotImplementedError

    def reference(self, *arrays: np.ndarray) -> list[np.ndarray]:
        (x,) = arrays
        with quiet():
            # numpy turns the result of arithmetic on a rank-0 array into a scalar.
            return [np.asarray(self.compute(x), dtype=x.dtype)]

    def strided(self) -> tuple[bool, bool]:
        return True, True

    def inplace(self) -> tuple[int, ...]:
        return (0,)

    def lower(self, builder: Any, node: Any) -> bool:
        x, y = builder.view(node.inputs[0]), builder.view(node.outputs[0])
        if self.kind not in FUNCTIONS or x.dtype != "float32":
            return False
        rows, columns = (1, x.size) if x.contiguous and y.contiguous else (x.rows, x.row)
        builder.emit("unary_f32", [builder.tensor(x.name), builder.tensor(y.name)], nbytes=16 * x.size,
                     rows=rows, columns=columns, ldx=x.ld, ldy=y.ld, function=FUNCTIONS.index(self.kind),
                     **dict(zip(("alpha", "beta"), self.parameters(), strict=True)))
        return True

    def parameters(self) -> tuple[float, float]:
        """What the kernel of this kind knows as alpha and beta."""
        return getattr(self, "alpha", 0.0), getattr(self, "beta", 0.0)


class Activation(Unary):
    """An activation as a layer of its own; `kind` is its name in ACTIVATIONS."""

    alpha: float = 0.0
    beta: float = 0.0

    def compute(self, x: np.ndarray) -> np.ndarray:
        return apply_activation(self.kind, x, self.alpha, self.beta)


@register
class Relu(Activation):
    """max(x, 0)"""

    kind: ClassVar[str] = "relu"


@register
class Clip(Activation):
    """min(max(x, alpha), beta)"""

    kind: ClassVar[str] = "clip"


@register
class LeakyRelu(Activation):
    """x where x >= 0, else alpha x"""

    kind: ClassVar[str] = "leaky_relu"


@register
class Sigmoid(Activation):
    """1 / (1 + exp(-x))"""

    kind: ClassVar[str] = "sigmoid"


@register
class Tanh(Activation):
    """tanh x"""

    kind: ClassVar[str] = "tanh"


@register
class HardSigmoid(Activation):
    """max(0, min(1, alpha x + beta))"""

    kind: ClassVar[str] = "hard_sigmoid"


@register
class HardSwish(Activation):
    """x max(0, min(1, x/6 + 1/2)), Howard et al. 2019, MobileNetV3"""

    kind: ClassVar[str] = "hard_swish"


@register
class Silu(Activation):
    """x sigmoid(x)"""

    kind: ClassVar[str] = "silu"


@register
class Elu(Activation):
    """x where x >= 0, else alpha (exp(x) - 1)"""

    kind: ClassVar[str] = "elu"


@register
class Gelu(Activation):
    """x (1 + erf(x / sqrt 2)) / 2, Hendrycks & Gimpel 2016, the exact form"""

    kind: ClassVar[str] = "gelu"


@register
class GeluTanh(Activation):
    """x (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))) / 2, Hendrycks & Gimpel 2016"""

    kind: ClassVar[str] = "gelu_tanh"


@register
class Mish(Activation):
    """x tanh(log(1 + exp x)), Misra 2019"""

    kind: ClassVar[str] = "mish"


@register
class Softplus(Activation):
    """log(1 + exp x)"""

    kind: ClassVar[str] = "softplus"


@register
class Selu(Unary):
    """gamma x where x >= 0, else gamma alpha (exp x - 1), Klambauer et al. 2017"""

    kind: ClassVar[str] = "selu"
    alpha: float = 1.6732632423543772
    gamma: float = 1.0507009873554805

    def compute(self, x: np.ndarray) -> np.ndarray:
        return np.float32(self.gamma) * apply_activation("elu", x, self.alpha)

    def parameters(self) -> tuple[float, float]:
        return self.alpha, self.gamma


@register
class Celu(Unary):
    """max(x, 0) + min(0, alpha (exp(x / alpha) - 1)), Barron 2017"""

    kind: ClassVar[str] = "celu"
    alpha: float = 1.0

    def compute(self, x: np.ndarray) -> np.ndarray:
        a = np.float32(self.alpha)
        return np.maximum(x, np.float32(0)) + np.minimum(np.float32(0), a * np.expm1(x / a))

    def lower(self, builder: Any, node: Any) -> bool:
        return self.alpha > 0 and super().lower(builder, node)


@register
class Softsign(Unary):
    """x / (1 + |x|); NaN for infinite x, as the formula says"""

    kind: ClassVar[str] = "softsign"

    def compute(self, x: np.ndarray) -> np.ndarray:
        return x / (np.float32(1) + np.abs(x))


@register
class ThresholdedRelu(Unary):
    """x where x > alpha, else 0, also for NaN"""

    kind: ClassVar[str] = "thresholded_relu"
    alpha: float = 1.0

    def compute(self, x: np.ndarray) -> np.ndarray:
        return np.where(x > np.float32(self.alpha), x, np.float32(0))


@register
class Shrink(Unary):
    """x + bias where x < -threshold, x - bias where x > threshold, else 0, also for NaN"""

    kind: ClassVar[str] = "shrink"
    threshold: float = 0.5
    bias: float = 0.0

    def compute(self, x: np.ndarray) -> np.ndarray:
        bias, threshold = np.float32(self.bias), np.float32(self.threshold)
        return np.where(x < -threshold, x + bias, np.where(x > threshold, x - bias, np.float32(0)))

    def parameters(self) -> tuple[float, float]:
        return self.threshold, self.bias
