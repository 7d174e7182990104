"""Normalisations: constant and computed weights, every axis, statistics as outputs."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tinynet import reference
from tinynet.errors import FormatError


@pytest.mark.parametrize("opset,extra", [(7, {}), (9, {}), (14, {"training_mode": 0}), (15, {}), (17, {})])
@pytest.mark.parametrize("shape", [(2, 3, 4, 5), (2, 3), (2, 3, 6), (1, 3, 2, 2, 2)])
def test_batch_normalization(lab, opset, extra, shape):
    channel = [lab.normal(3, seed=i) for i in range(3)] + [np.abs(lab.normal(3, seed=3)) + np.float32(0.1)]
    lab.op("BatchNormalization", lab.normal(*shape, seed=4), *channel, opset=opset, epsilon=1e-3, **extra)


@pytest.mark.parametrize("shape", [(2, 3, 4, 5), (2, 3), (2, 3, 6)])
@pytest.mark.parametrize("run", [(0, 1), (0, 4), (0, 1, 2, 3, 4), (3,)])
def test_batch_normalization_with_computed_weights(lab, shape, run):
    channel = [lab.normal(3, seed=i) for i in range(3)] + [np.abs(lab.normal(3, seed=3)) + np.float32(0.1)]
    lab.op("BatchNormalization", lab.normal(*shape, seed=4), *channel, run=run, epsilon=1e-3)


def test_batch_normalization_per_element(lab):
    """spatial = 0 of opset 7."""
    element = [lab.normal(3, 4, 5, seed=i) for i in range(3)] + [np.abs(lab.normal(3, 4, 5, seed=3)) + np.float32(0.1)]
    x = lab.normal(2, 3, 4, 5, seed=4)
    for run in ((0,), (0, 1, 3)):
        model, feeds = lab.one("BatchNormalization", x, *element, opset=7, spatial=0, run=run)
        scale, shift, mean, var = element
        expected = (x - mean) / np.sqrt(var + np.float32(1e-5)) * scale + shift
        np.testing.assert_allclose(reference.run(lab.import_(model), feeds)["y"], expected, atol=1e-5)


@pytest.mark.parametrize("shape", [(2, 3, 4, 5), (7, 3), (2, 3, 6)])
@pytest.mark.parametrize("run", [(0,), (0, 1, 2, 3, 4)])
def test_batch_normalization_in_training(lab, shape, run):
    """Statistics of the input itself, and the running ones."""
    channel = [lab.normal(3, seed=i) for i in range(3)] + [np.abs(lab.normal(3, seed=3)) + np.float32(0.1)]
    x = lab.normal(*shape, seed=4)
    model, feeds = lab.one("BatchNormalization", x, *channel, opset=15, run=run, outputs=3, training_mode=1, momentum=0.7)
    axes = tuple(i for i in range(x.ndim) if i != 1)
    mean, var = x.mean(axes), x.var(axes)
    column = (3, *(1,) * (x.ndim - 2))
    y = (x - mean.reshape(column)) / np.sqrt(var + 1e-5).reshape(column)
    y = y * channel[0].reshape(column) + channel[1].reshape(column)
    found = reference.run(lab.import_(model), feeds)
    for got, right in zip(found.values(), (y, 0.7 * channel[2] + 0.3 * mean, 0.7 * channel[3] + 0.3 * var), strict=True):
        np.testing.assert_allclose(got, right, atol=2e-5)


def test_batch_normalization_refusals(lab):
    channel = [lab.normal(3, seed=i) for i in range(4)]
    assert "mean and variance outputs" in lab.reason("BatchNormalization", lab.normal(1, 3, 2, 2), *channel, opset=9, outputs=3)
    model, _ = lab.one("BatchNormalization", lab.normal(1, 3, 2, 2), *channel[:3], lab.normal(2))
    with pytest.raises(FormatError, match=r"variance has shape \[2\], expected \[3\]"):
        lab.import_(model)


@settings(max_examples=20, deadline=None)
@given(data=st.data(), shape=st.lists(st.integers(1, 6), min_size=1, max_size=4), epsilon=st.sampled_from([1e-5, 1e-2]),
       seed=st.integers(0, 99))
def test_layer_normalization(lab, data, shape, epsilon, seed):
    axis = data.draw(st.integers(-len(shape), len(shape) - 1))
    weights = [lab.normal(*shape[axis:], seed=seed + 1), lab.normal(*shape[axis:], seed=seed + 2)]
    weights = weights[:data.draw(st.integers(1, 2))]
    run = data.draw(st.sampled_from([(0,), (0, 1), tuple(range(1 + len(weights)))]))
    lab.op("LayerNormalization", lab.normal(*shape, seed=seed), *weights, run=run, axis=axis, epsilon=epsilon,
           outputs=data.draw(st.sampled_from([1, 3])))


def test_layer_normalization_with_weights_that_broadcast(lab):
    x = lab.normal(2, 3, 4, 5)
    for shape in ((5,), (1, 5), (4, 1), (1, 1), (4, 5), (3, 1, 5), (2, 1, 4, 5)):
        for run in ((0,), (0, 1)):
            weights = lab.normal(*shape, seed=1), lab.normal(*shape, seed=2)
            model, feeds = lab.one("LayerNormalization", x, *weights, run=run, axis=2)
            mean, std = x.mean((2, 3), keepdims=True), np.sqrt(x.var((2, 3), keepdims=True) + 1e-5)
            expected = (x - mean) / std * weights[0] + weights[1]
            np.testing.assert_allclose(reference.run(lab.import_(model), feeds)["y"], expected, atol=1e-5)


@pytest.mark.parametrize("axis", [-1, 1, 0])
def test_rms_normalization(lab, axis):
    x, scale = lab.normal(2, 3, 5), lab.normal(*(2, 3, 5)[axis:], seed=1)
    axes = tuple(range(axis % 3, 3))
    expected = x / np.sqrt((x * x).mean(axes, keepdims=True) + 1e-3) * scale
    for run in ((0,), (0, 1)):
        model, feeds = lab.one("RMSNormalization", x, scale, opset=23, run=run, axis=axis, epsilon=1e-3)
        graph = lab.import_(model)
        assert "rms_norm" in lab.kinds(graph)
        np.testing.assert_allclose(reference.run(graph, feeds)["y"], expected, atol=1e-5)


@pytest.mark.parametrize("shape", [(2, 3, 4, 5), (1, 4, 7), (2, 3, 2, 3, 2)])
@pytest.mark.parametrize("opset", [7, 17, 22])
def test_instance_normalization(lab, shape, opset):
    x, weights = lab.normal(*shape), [lab.normal(shape[1], seed=i) for i in (1, 2)]
    for run in ((0,), (0, 2)):
        lab.op("InstanceNormalization", x, *weights, opset=opset, run=run, epsilon=1e-3)


@pytest.mark.parametrize("opset", [18, 21])
@pytest.mark.parametrize("groups", [1, 2, 3, 6])
@pytest.mark.parametrize("shape", [(2, 6, 4, 5), (1, 6, 7)])
def test_group_normalization(lab, opset, groups, shape):
    """Weights per group in version 18, per channel since 21."""
    x, count = lab.normal(*shape), groups if opset == 18 else 6
    weights = [lab.normal(count, seed=i) for i in (1, 2)]
    split = x.reshape(shape[0], groups, -1)
    y = (split - split.mean(2, keepdims=True)) / np.sqrt(split.var(2, keepdims=True) + 1e-3)
    scale, shift = (np.repeat(w, 6 // count).reshape(-1, *[1] * (len(shape) - 2)) for w in weights)
    for run in ((0,), (0, 1, 2)):
        model, feeds = lab.one("GroupNormalization", x, *weights, opset=opset, run=run, num_groups=groups, epsilon=1e-3)
        found = reference.run(lab.import_(model), feeds)["y"]
        np.testing.assert_allclose(found, y.reshape(shape) * scale + shift, atol=1e-5)


def test_what_is_refused(lab):
    x, w = lab.normal(2, 6, 4), lab.normal(6, seed=1)
    assert "stash_type" in lab.reason("LayerNormalization", x, lab.normal(4), stash_type=10)
    for op, inputs, extra, text in [("GroupNormalization", (x, w, w), {"num_groups": 4}, "4 groups"),
                                    ("GroupNormalization", (x, w[:2], w), {"num_groups": 3}, "scale has shape"),
                                    ("InstanceNormalization", (x, w, w[:3]), {}, "bias has shape")]:
        model, _ = lab.one(op, *inputs, opset=21, **extra)
        with pytest.raises(FormatError, match=text):
            lab.import_(model)
