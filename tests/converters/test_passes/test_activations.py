from __future__ import annotations

import numpy as np
import pytest

from tinynet import reference
from tinynet.converters.passes import activations

ROOT, BETA, KAPPA = float(np.sqrt(2)), float(np.sqrt(2 / np.pi)), 0.044715
SPELLINGS = {
    "hard_swish": [
        lambda n, x: n.op("div", n.op("mul", x, n.op("clip", n.op("add", x, 3.0), beta=6.0)), 6.0),
        lambda n, x: n.op("mul", n.op("mul", n.op("clip", n.op("add", 3.0, x), beta=6.0), x), 1 / 6),
        lambda n, x: n.op("mul", n.op("div", n.op("clip", n.op("add", x, 3.0), beta=6.0), 6.0), x),
        lambda n, x: n.op("mul", x, n.op("mul", [[1 / 6]], n.op("clip", n.op("add", x, [3.0]), beta=6.0))),
        lambda n, x: n.op("mul", n.op("div", x, 6.0), n.op("clip", n.op("add", x, 3.0), beta=6.0)),
        lambda n, x: n.op("mul", x, n.op("hard_sigmoid", x, alpha=1 / 6, beta=0.5)),
    ],
    "hard_sigmoid": [
        lambda n, x: n.op("div", n.op("clip", n.op("add", x, 3.0), beta=6.0), 6.0),
        lambda n, x: n.op("mul", n.op("clip", n.op("add", x, 2.5), beta=5.0), 0.2),
        lambda n, x: n.op("clip", n.op("add", n.op("mul", x, 0.2), 0.5), beta=1.0),
        lambda n, x: n.op("clip", n.op("sub", n.op("div", x, 4.0), -0.5), beta=1.0),
    ],
    "silu": [lambda n, x: n.op("mul", x, n.op("sigmoid", x)), lambda n, x: n.op("mul", n.op("sigmoid", x), x)],
    "gelu": [
        lambda n, x: n.op("mul", n.op("mul", x, 0.5), n.op("add", n.op("erf", n.op("div", x, ROOT)), 1.0)),
        lambda n, x: n.op("mul", n.op("mul", x, n.op("add", 1.0, n.op("erf", n.op("mul", x, 1 / ROOT)))), 0.5),
        lambda n, x: n.op("mul", 0.5, n.op("mul", n.op("add", n.op("erf", n.op("div", x, ROOT)), 1.0), x)),
        lambda n, x: n.op("div", n.op("mul", x, n.op("add", n.op("erf", n.op("div", x, ROOT)), 1.0)), 2.0),
    ],
    "softsign": [
        lambda n, x: n.op("div", x, n.op("add", n.op("abs", x), 1.0)),
        lambda n, x: n.op("div", x, n.op("add", 1.0, n.op("abs", x))),
    ],
    "softplus": [lambda n, x: n.op("where", n.op("greater", x, 20.0), x, n.op("softplus", x))],
    "mish": [
        lambda n, x: n.op("mul", x, n.op("tanh", n.op("softplus", x))),
        lambda n, x: n.op("mul", n.op("tanh", n.op("softplus", x)), x),
    ],
    "gelu_tanh": [       # TorchScript's exporter, torch.export's, the usual formula in Python, its factored form
        lambda n, x: n.op("mul", 0.5, n.op("mul", x, n.op("add", 1.0, n.op("tanh", n.op("mul", BETA, n.op(
            "add", x, n.op("mul", KAPPA, n.op("mul", x, n.op("mul", x, x))))))))),
        lambda n, x: n.op("mul", 0.5, n.op("mul", x, n.op("add", n.op("tanh", n.op("mul", BETA, n.op(
            "add", x, n.op("mul", KAPPA, n.op("pow", x, 3.0))))), 1.0))),
        lambda n, x: n.op("mul", n.op("mul", x, 0.5), n.op("add", n.op("tanh", n.op("mul", n.op(
            "add", n.op("mul", n.op("mul", n.op("mul", x, x), x), KAPPA), x), BETA)), 1.0)),
        lambda n, x: n.op("mul", n.op("mul", 0.5, x), n.op("add", 1.0, n.op("tanh", n.op("mul", n.op("mul", x, BETA), n.op(
            "add", 1.0, n.op("mul", n.op("mul", KAPPA, x), x)))))),
    ],
    "relu": [
        lambda n, x: n.op("maximum", x, 0.0),
        lambda n, x: n.op("maximum", [0.0], x),
        lambda n, x: n.op("clip", x, beta=np.inf),
        lambda n, x: n.op("clip", x, beta=3.4028234663852886e38),
    ],
    "clip": [lambda n, x: n.op("minimum", x, 6.0), lambda n, x: n.op("maximum", x, -1.0)],
    "leaky_relu": [
        lambda n, x: n.op("maximum", x, n.op("mul", x, 0.1)),
        lambda n, x: n.op("maximum", n.op("mul", 0.1, x), x),
        lambda n, x: n.op("prelu", x, np.full((3, 1, 1), 0.25)),
    ],
}


@pytest.mark.parametrize("kind, spelling", [(k, i) for k, v in SPELLINGS.items() for i in range(len(v))])
def test_spellings(net, tools, kind, spelling):
    _, rewritten, kinds = tools
    graph = rewritten(activations.apply, net.graph(SPELLINGS[kind][spelling](net, net.input(2, 3, 4, 5))))
    assert kinds(graph) == {kind: 1}


OTHERS = {
    "wrong shift": lambda n, x, y: n.op("mul", x, n.op("clip", n.op("add", x, 2.0), beta=6.0)),
    "wrong factor": lambda n, x, y: n.op("div", n.op("mul", x, n.op("clip", n.op("add", x, 3.0), beta=6.0)), 5.0),
    "another x": lambda n, x, y: n.op("mul", y, n.op("sigmoid", x)),
    "twice silu": lambda n, x, y: n.op("mul", 2.0, n.op("mul", x, n.op("clip", x, beta=6.0))),
    "fast gelu": lambda n, x, y: n.op("mul", x, n.op("sigmoid", n.op("mul", x, 1.702))),
    "softsign of another": lambda n, x, y: n.op("div", y, n.op("add", n.op("abs", x), 1.0)),
    "softsign upside down": lambda n, x, y: n.op("div", n.op("add", n.op("abs", x), 1.0), x),
    "wide softsign": lambda n, x, y: n.op("div", x, n.op("add", n.op("abs", x), 2.0)),
    "softplus that ends at 1": lambda n, x, y: n.op("where", n.op("greater", x, 1.0), x, n.op("softplus", x)),
    "softplus where another is large": lambda n, x, y: n.op("where", n.op("greater", y, 20.0), x, n.op("softplus", x)),
    "softplus where x is small": lambda n, x, y: n.op("where", n.op("greater", 20.0, x), x, n.op("softplus", x)),
    "mish of another": lambda n, x, y: n.op("mul", y, n.op("tanh", n.op("softplus", x))),
    "mish of twice as much": lambda n, x, y: n.op("mul", x, n.op("tanh", n.op("softplus", n.op("mul", 2.0, x)))),
    "gelu with another power": lambda n, x, y: n.op("mul", 0.5, n.op("mul", x, n.op("add", n.op("tanh", n.op(
        "mul", BETA, n.op("add", x, n.op("mul", KAPPA, n.op("pow", x, 2.0))))), 1.0))),
    "gelu with another factor": lambda n, x, y: n.op("mul", 0.5, n.op("mul", x, n.op("add", n.op("tanh", n.op(
        "mul", BETA, n.op("add", x, n.op("mul", 0.05, n.op("mul", x, n.op("mul", x, x)))))), 1.0))),
    "gelu with another summand": lambda n, x, y: n.op("mul", 0.5, n.op("mul", x, n.op("add", n.op("tanh", n.op(
        "mul", BETA, n.op("add", y, n.op("mul", KAPPA, n.op("pow", x, 3.0))))), 1.0))),
    "gelu with another scale": lambda n, x, y: n.op("mul", 0.5, n.op("mul", x, n.op("add", n.op("tanh", n.op(
        "mul", 0.8, n.op("add", x, n.op("mul", KAPPA, n.op("pow", x, 3.0))))), 1.0))),
    "steep slope": lambda n, x, y: n.op("maximum", x, n.op("mul", x, 1.5)),
    "negative slope": lambda n, x, y: n.op("maximum", x, n.op("mul", x, -0.5)),
    "per channel slopes": lambda n, x, y: n.op("prelu", x, [[[0.1]], [[0.2]], [[0.3]]]),
    "divided by the gate": lambda n, x, y: n.op("div", x, n.op("clip", n.op("add", x, 3.0), alpha=1.0, beta=6.0)),
    "constant over product": lambda n, x, y: n.op("div", 1 / 6, n.op("mul", n.op("exp", x), n.op("sigmoid", x))),
    "gelu with divided erf": lambda n, x, y: n.op(
        "mul", n.op("mul", x, 0.5), n.op("add", n.op("erf", n.op("div", ROOT, x)), 1.0)
    ),
}


@pytest.mark.parametrize("case", OTHERS)
def test_near_misses_stay(net, tools, case):
    _, rewritten, kinds = tools
    graph = net.graph(OTHERS[case](net, net.input(2, 3, 4, 5), net.input(2, 3, 4, 5)))
    before = kinds(graph)
    assert kinds(rewritten(activations.apply, graph)) == before


def test_a_gate_that_others_read_stays_for_them(net, tools):
    _, rewritten, kinds = tools
    x = net.input(2, 3)
    gate = net.op("sigmoid", x)
    graph = rewritten(activations.apply, net.graph(net.op("mul", x, gate), net.op("neg", gate)))
    assert kinds(graph) == {"silu": 1, "sigmoid": 1, "neg": 1}


def test_a_constant_that_enlarges_x_is_no_activation(net, tools):
    _, rewritten, kinds = tools
    x = net.input(3)
    graph = rewritten(activations.apply, net.graph(net.op("maximum", x, [[0.0]])))
    assert kinds(graph) == {"maximum": 1}


def test_nan_stays(net):
    x = net.input(2)
    graph = net.graph(net.op("maximum", x, 0.0), net.op("minimum", net.op("maximum", x, 0.0), 6.0))
    activations.apply(graph)
    for value in reference.run(graph, {"x": np.array([np.nan, 9], np.float32)}).values():
        assert np.isnan(value[0]) and value[1] in (6, 9)
