"""Small ONNX models, imported and run by the numpy reference, beside onnxruntime without its optimisations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from tinynet import reference
from tinynet.graph import Graph


class Lab:
    """Given to tests as a fixture: import-mode=importlib lets test files share no module."""

    def __init__(self) -> None:
        self.onnx = pytest.importorskip("onnx")
        self.ort = pytest.importorskip("onnxruntime")

    def normal(self, *shape: int, seed: int = 0) -> np.ndarray:
        return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)

    def ints(self, *values: int) -> np.ndarray:
        return np.array(values, np.int64)

    def node(self, op_type: str, inputs: Sequence[str], outputs: Sequence[str] = ("y",), **attributes: Any) -> Any:
        return self.onnx.helper.make_node(op_type, list(inputs), list(outputs), **attributes)

    def info(self, name: str, shape: Sequence | None, dtype: Any = np.float32) -> Any:
        kind = self.onnx.helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
        return self.onnx.helper.make_tensor_value_info(name, kind, shape)

    def model(self, nodes: Sequence, inputs: dict[str, Any], outputs: Sequence[str] = ("y",),
              constants: dict[str, np.ndarray] | None = None, opset: int = 17, name: str = "net") -> Any:
        """`inputs`: name -> array, whose shape and dtype are declared, or a ready ValueInfoProto."""
        helper = self.onnx.helper
        infos = [self.info(n, a.shape, a.dtype) if isinstance(a, np.ndarray) else a for n, a in inputs.items()]
        weights = [self.onnx.numpy_helper.from_array(a, n) for n, a in (constants or {}).items()]
        results = [self.onnx.ValueInfoProto(name=o) for o in outputs]
        graph = helper.make_graph(list(nodes), name, infos, results, weights)
        domains = [helper.make_opsetid(domain, 1) for domain in sorted({n.domain for n in nodes} - {""})]
        return helper.make_model(graph, ir_version=9, opset_imports=[helper.make_opsetid("", opset), *domains])

    def import_(self, model: Any, **options: Any) -> Graph:
        from tinynet.converters.onnx import import_onnx
        return import_onnx(model, **options)

    def ort_run(self, model: Any, feeds: dict[str, np.ndarray], optimised: bool = False) -> list[np.ndarray]:
        """`optimised`: with all rewrites, which make integer operators of QDQ models."""
        options = self.ort.SessionOptions()
        options.intra_op_num_threads = 1
        level = self.ort.GraphOptimizationLevel
        options.graph_optimization_level = level.ORT_ENABLE_ALL if optimised else level.ORT_DISABLE_ALL
        options.log_severity_level = 4
        session = self.ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        return session.run(None, feeds)

    def check(self, model: Any, feeds: dict[str, np.ndarray], tol: float = 1e-5, **options: Any) -> Graph:
        """The imported graph gives onnxruntime's shapes, types and values (within tol of the output's range)."""
        graph = self.import_(model, **options)
        assert graph.inputs == list(feeds) and graph.outputs == [o.name for o in model.graph.output]
        found = reference.run(graph, feeds)
        for name, expected in zip(graph.outputs, self.ort_run(model, feeds), strict=True):
            got = found[name]
            assert (got.shape, got.dtype) == (expected.shape, expected.dtype), name
            if expected.dtype.kind != "f":
                np.testing.assert_array_equal(got, expected)
            else:
                scale = np.abs(expected[np.isfinite(expected)]).max(initial=0) or 1.0
                np.testing.assert_allclose(got, expected, rtol=0, atol=tol * scale)
        return graph

    def op(self, op_type: str, *inputs: np.ndarray | None, opset: int = 17, run: Sequence[int] = (0,),
           outputs: int = 1, **attributes: Any) -> Graph:
        """`check` for one node: the inputs at `run` are fed, the others are initialisers, None is left out."""
        model, feeds = self.one(op_type, *inputs, opset=opset, run=run, outputs=outputs, **attributes)
        return self.check(model, feeds)

    def one(self, op_type: str, *inputs: np.ndarray | None, opset: int = 17, run: Sequence[int] = (0,),
            outputs: int = 1, **attributes: Any) -> tuple[Any, dict[str, np.ndarray]]:
        names = ["" if a is None else f"x{i}" for i, a in enumerate(inputs)]
        feeds = {f"x{i}": inputs[i] for i in run}
        constants = {n: a for i, (n, a) in enumerate(zip(names, inputs, strict=True)) if n and i not in run}
        results = ["y"] if outputs == 1 else [f"y{i}" for i in range(outputs)]
        return self.model([self.node(op_type, names, results, **attributes)], feeds, results, constants, opset), feeds

    def reason(self, op_type: str, *inputs: np.ndarray | None, **options: Any) -> str:
        """Why this node is unsupported."""
        from tinynet.errors import UnsupportedOpError
        model, _ = self.one(op_type, *inputs, **options)
        with pytest.raises(UnsupportedOpError) as caught:
            self.import_(model)
        assert "\n" not in str(caught.value)
        (reason, names), = caught.value.operators.values()
        assert names == [f"{op_type}_0"]
        return reason

    def kinds(self, graph: Graph) -> list[str]:
        return [node.op for node in graph.nodes]


@pytest.fixture(scope="session")
def lab() -> Lab:
    return Lab()
