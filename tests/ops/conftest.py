"""The oracle of the oracle: single ONNX nodes run by onnxruntime, compared with a kind's infer and reference."""

from __future__ import annotations

import tempfile
from typing import Any

import numpy as np
import pytest

from tinynet import ops


class Peer:
    """Given to tests as a fixture: import-mode=importlib lets test files share no module."""

    def run(self, op_type: str, inputs: list[np.ndarray | None], opset: int = 17, domain: str = "",
            outputs: int = 1, **attributes: Any) -> Any:
        """First output of one ONNX node, or a list of as many as wanted; None stands for an input that is left out."""
        onnx = pytest.importorskip("onnx")
        ort = pytest.importorskip("onnxruntime")
        names = ["" if array is None else f"x{i}" for i, array in enumerate(inputs)]
        results = [f"y{i}" for i in range(outputs)]
        node = onnx.helper.make_node(op_type, names, results, domain=domain, **attributes)
        declared = [onnx.helper.make_tensor_value_info(
            name, onnx.helper.np_dtype_to_tensor_dtype(array.dtype), array.shape)
            for name, array in zip(names, inputs, strict=True) if array is not None]
        graph = onnx.helper.make_graph([node], "g", declared, [onnx.ValueInfoProto(name=y) for y in results])
        model = onnx.helper.make_model(graph, ir_version=9, opset_imports=[onnx.helper.make_opsetid("", opset)])
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
        options.log_severity_level = 4
        session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        found = session.run(None, {n: a for n, a in zip(names, inputs, strict=True) if a is not None})
        return found[0] if outputs == 1 else found

    def graph(self, nodes: list[tuple], feeds: dict[str, np.ndarray], constants: dict[str, Any]) -> np.ndarray:
        """Tensor `y` of a graph with all of onnxruntime's optimisations: nodes (operator, inputs, output, attributes), some
        "com.microsoft.NAME"; dequantize, layer, quantize become one integer operator."""
        onnx = pytest.importorskip("onnx")
        ort = pytest.importorskip("onnxruntime")
        declared = [onnx.helper.make_tensor_value_info(n, onnx.helper.np_dtype_to_tensor_dtype(a.dtype), a.shape)
                    for n, a in feeds.items()]
        made = [onnx.helper.make_node(op.rpartition(".")[2], inputs, [output], domain=op.rpartition(".")[0], **attributes)
                for op, inputs, output, attributes in nodes]
        graph = onnx.helper.make_graph(made, "g", declared, [onnx.ValueInfoProto(name="y")],
                                       [onnx.numpy_helper.from_array(np.asarray(a), n) for n, a in constants.items()])
        domains = [onnx.helper.make_opsetid("", 21), onnx.helper.make_opsetid("com.microsoft", 1)]
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        options.log_severity_level = 4
        model = onnx.helper.make_model(graph, ir_version=10, opset_imports=domains)
        return ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"]).run(None, feeds)[0]

    def quantized(self, layer: str, inputs: list[np.ndarray], steps: list[tuple[float, int]], form: str = "QDQ",
                  **attributes: Any) -> np.ndarray:
        """One layer between integers: `steps` has scale and zero of every input, then of y.  `form`: QDQ, or the domain and
        name of an operator that takes x, scale, zero for every input, then scale and zero of y."""
        dtype = inputs[0].dtype
        constants: dict[str, Any] = {f"s{i}": np.float32(scale) for i, (scale, _) in enumerate(steps)}
        constants |= {f"z{i}": dtype.type(zero) for i, (_, zero) in enumerate(steps)}
        last = len(inputs)
        triples = [[f"x{i}", f"s{i}", f"z{i}"] for i in range(last)]
        if form == "QDQ":
            nodes = [("DequantizeLinear", triple, f"d{i}", {}) for i, triple in enumerate(triples)]
            nodes += [(layer, [f"d{i}" for i in range(last)], "r", attributes),
                      ("QuantizeLinear", ["r", f"s{last}", f"z{last}"], "y", {})]
        else:
            nodes = [(form, [*sum(triples, []), f"s{last}", f"z{last}"], "y", attributes)]
        return self.graph(nodes, {f"x{i}": x for i, x in enumerate(inputs)}, constants)

    def steps_apart(self, found: np.ndarray, expected: np.ndarray, most: float = 0.001) -> None:
        """Integers that are equal but for that share of them, and never off by more than 1."""
        assert found.shape == expected.shape and found.dtype == expected.dtype
        off = np.abs(found.astype(np.int64) - expected)
        bad = off > 0
        assert off.max(initial=0) <= 1 and bad.mean() <= most, (
            f"{bad.mean():.3%} of {off.size} differ, by up to {off.max()}, e.g. {found[bad][:5]} for {expected[bad][:5]}")

    def between(self, op_type: str, x: np.ndarray, x_step: tuple[float, np.ndarray], y_step: tuple[float, np.ndarray],
                opset: int = 17, more: list[np.ndarray | None] | None = None, fused: bool = False, **attributes: Any) -> Any:
        """DequantizeLinear of x by (scale, zero), the operator with `more` inputs, QuantizeLinear, with all optimisations;
        `fused`: it must have become one operator of integers."""
        onnx = pytest.importorskip("onnx")
        ort = pytest.importorskip("onnxruntime")
        constants = {"xs": np.float32(x_step[0]), "xz": x_step[1], "ys": np.float32(y_step[0]), "yz": y_step[1]}
        names = ["" if array is None else f"m{i}" for i, array in enumerate(more or [])]
        constants |= {name: array for name, array in zip(names, more or [], strict=True) if name}
        nodes = [onnx.helper.make_node("DequantizeLinear", ["x", "xs", "xz"], ["real"]),
                 onnx.helper.make_node(op_type, ["real", *names], ["out"], **attributes),
                 onnx.helper.make_node("QuantizeLinear", ["out", "ys", "yz"], ["y"])]
        graph = onnx.helper.make_graph(
            nodes, "g", [onnx.helper.make_tensor_value_info("x", onnx.helper.np_dtype_to_tensor_dtype(x.dtype), x.shape)],
            [onnx.ValueInfoProto(name="y")],
            [onnx.numpy_helper.from_array(np.asarray(array), name) for name, array in constants.items()])
        model = onnx.helper.make_model(graph, ir_version=9, opset_imports=[onnx.helper.make_opsetid("", opset)])
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        options.log_severity_level = 4
        with tempfile.TemporaryDirectory() as folder:
            options.optimized_model_filepath = f"{folder}/model.onnx"
            session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
            kinds = [node.op_type for node in onnx.load(options.optimized_model_filepath).graph.node]
        assert not fused or len(kinds) == 1, kinds
        return session.run(None, {"x": x})[0]

    def agree(self, op: ops.Op, arrays: list[np.ndarray], expected: np.ndarray, atol: Any = 0.0,
              rtol: float = 0.0) -> np.ndarray:
        """`infer` and `reference` match `expected` in shape, dtype and value; atol may be one number per element."""
        specs = op.infer(*(ops.Spec(a.shape, a.dtype.name) for a in arrays))
        assert specs == [ops.Spec(expected.shape, expected.dtype.name)]
        (found,) = op.reference(*arrays)
        assert isinstance(found, np.ndarray)
        assert found.shape == expected.shape and found.dtype == expected.dtype
        same = (found == expected) | ((found != found) & (expected != expected))
        with np.errstate(all="ignore"):
            near = np.abs(found.astype(np.float64) - expected.astype(np.float64)) <= atol + rtol * np.abs(
                expected.astype(np.float64))
        bad = ~(same | near)
        assert not bad.any(), f"{int(bad.sum())} of {bad.size} differ, e.g. {found[bad][:5]} for {expected[bad][:5]}"
        return found

    def refused(self, op: ops.Op, *specs: ops.Spec | tuple, match: str) -> None:
        """`infer` raises a one-line ShapeError of the form 'expected ..., found ...' that matches."""
        with pytest.raises(ops.ShapeError, match=match) as caught:
            op.infer(*(s if isinstance(s, ops.Spec) else ops.Spec(s) for s in specs))
        text = str(caught.value)
        assert text.startswith("expected ") and ", found " in text and "\n" not in text

    def normal(self, seed: int, *shape: int) -> np.ndarray:
        return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)

    def integers(self, seed: int, dtype: str, *shape: int) -> np.ndarray:
        """Over the whole range of the dtype, its ends now and then; of bool: both."""
        rng = np.random.default_rng(seed)
        if dtype == "bool":
            return np.asarray(rng.integers(0, 2, shape)).astype(bool)
        info = np.iinfo(dtype)
        x = rng.integers(info.min, info.max, shape, dtype, endpoint=True)
        return np.asarray(np.where(rng.random(shape) < 0.1, rng.choice([info.min, info.max], shape), x)).astype(dtype)

    def values(self, seed: int, dtype: str, *shape: int) -> np.ndarray:
        """Few different numbers, so that many are equal; of float32 also NaN, infinities and both zeros."""
        chosen = [0, -0.0, 1, 1.5, -1, np.nan, np.inf, -np.inf] if dtype == "float32" else [0, 1] if dtype == "bool" else [
            0, 1, 2, np.iinfo(dtype).min, np.iinfo(dtype).max]
        return np.asarray(np.random.default_rng(seed).choice(np.array(chosen, dtype), shape))

    def nhwc(self, x: np.ndarray) -> np.ndarray:
        return np.ascontiguousarray(x.transpose(0, 2, 3, 1))

    def nchw(self, x: np.ndarray) -> np.ndarray:
        return np.ascontiguousarray(x.transpose(0, 3, 1, 2))

    def sum_bound(self, op: ops.Op, arrays: list[np.ndarray], terms: int) -> np.ndarray:
        """How far two float32 sums of `terms` products may lie apart, whatever their order.

        Higham, Accuracy and Stability of Numerical Algorithms, 3.1: each is within terms * u of the sum of magnitudes,
        u = 2^-24.  The op must be linear (no activation).
        """
        return 2 * terms * 2.0 ** -24 * op.reference(*(np.abs(a) for a in arrays))[0].astype(np.float64)


@pytest.fixture(scope="session")
def peer() -> Peer:
    return Peer()
