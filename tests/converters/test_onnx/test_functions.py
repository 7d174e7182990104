"""Operators that are imported as the definition that the specification gives them."""

from __future__ import annotations

import numpy as np

from tinynet import reference


def test_mean_variance_normalization(lab):
    """Opset 13 and 18 have different bodies; attributes reach the inner nodes, or their defaults do."""
    x = lab.normal(2, 3, 4, 5) * np.float32(3) + np.float32(1)
    for opset in (13, 18):
        for axes in (None, [0, 2, 3], [1]):
            attributes = {} if axes is None else {"axes": axes}
            model, feeds = lab.one("MeanVarianceNormalization", x, opset=opset, **attributes)
            where = tuple(axes or (0, 2, 3))
            expected = (x - x.mean(where, keepdims=True)) / x.std(where, keepdims=True)
            found = reference.run(lab.import_(model), feeds)["y"]
            np.testing.assert_allclose(found, expected, atol=1e-5)


def test_names_stay_apart_and_dead_parts_go(lab):
    """Two calls, and names of the model that look like those of the bodies."""
    x = lab.normal(2, 3, 4, 5)
    nodes = [lab.node("MeanVarianceNormalization", ["x"], ["X_RM"], name="a"), lab.node("Relu", ["X_RM"], ["a/X_RM"], name="b"),
             lab.node("MeanVarianceNormalization", ["a/X_RM"], ["y"], name="a")]
    graph = lab.import_(lab.model(nodes, {"x": x}))
    assert graph.outputs == ["y"]
    found = reference.run(graph, {"x": x})["y"]
    axes = (0, 2, 3)
    z = np.maximum((x - x.mean(axes, keepdims=True)) / x.std(axes, keepdims=True), 0)
    np.testing.assert_allclose(found, (z - z.mean(axes, keepdims=True)) / z.std(axes, keepdims=True), atol=1e-5)


def test_what_is_implemented_wins(lab):
    assert lab.kinds(lab.op("LayerNormalization", lab.normal(2, 5), lab.normal(5, seed=1))) == ["layer_norm"]


def test_version_that_is_not_implemented(lab, monkeypatch):
    """Relu-14 is Max(X, 0)."""
    from tinynet.converters.onnx_ops import OPERATORS
    monkeypatch.setitem(OPERATORS, "Relu", OPERATORS["Relu"]._replace(versions=(6, 13)))
    assert lab.kinds(lab.op("Relu", lab.normal(2, 3), opset=13)) == ["relu"]
    assert "relu" not in lab.kinds(lab.op("Relu", lab.normal(2, 3), opset=18))
