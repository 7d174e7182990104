"""The table in tinynet/ops/README.md is the vocabulary: code and table name the same kinds and attributes."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tinynet import ops
from tinynet.errors import FormatError, UnsupportedOpError
from tinynet.ops.files import FILES

README = Path(__file__).parents[2] / "tinynet" / "ops" / "README.md"


def table():
    """(kinds of a row, its attributes cell), one per row."""
    rows = [line.split("|") for line in README.read_text(encoding="utf-8").splitlines() if line.startswith("| `")]
    return [(re.findall(r"`(\w+)`", row[1]), row[3]) for row in rows]


def test_table_and_code_name_the_same_kinds():
    named = [kind for names, _ in table() for kind in names]
    assert sorted(named) == sorted(ops.kinds())


def test_files_are_imported_for_the_kinds_that_they_have():
    found = {}
    for kind, cls in ops.kinds().items():
        found.setdefault(cls.__module__.removeprefix("tinynet.ops."), set()).add(kind)
    assert found == {file: set(kinds.split()) for file, kinds in FILES.items()}
    registers = {p.stem for p in README.parent.glob("*.py") if "@register\n" in p.read_text(encoding="utf-8")}
    assert registers == {*FILES, "base"}


def test_a_network_imports_the_files_of_its_kinds_alone():
    code = ("import sys; from tinynet import ops; ops.make('lstm', {}); ops.make('add', {}); "
            "print(*[m for m in sys.modules if m.startswith('tinynet.ops.')])")
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert "tinynet.ops.recurrent" in found and "tinynet.ops.binary" in found
    assert "tinynet.ops.conv2d" not in found and "tinynet.ops.gather" not in found


def test_table_names_every_attribute():
    for names, cell in table():
        for kind in names:
            fields = set(ops.kinds()[kind].fields)
            missing = {f for f in fields if not re.search(rf"\b{f}\b", cell)}
            assert not missing, f"{kind}: the table's row lacks {missing}"


def test_every_kind_is_documented_and_named_like_its_class():
    for kind, cls in ops.kinds().items():
        assert cls.__name__.lower() == kind.replace("_", "")
        assert cls.__doc__ and not cls.__doc__.startswith(f"{cls.__name__}(")


def test_weights_are_constant_inputs():
    constant = {kind: cls.constant_inputs for kind, cls in ops.kinds().items() if cls.constant_inputs}
    pair = (1, 2)
    assert constant == {"conv2d": pair, "depthwise_conv2d": pair, "conv_transpose2d": pair, "dense": pair,
                        "batch_norm": pair, "separable_conv2d": (1, 2, 3, 4),
                        "inverted_bottleneck": (1, 2, 3, 4, 5, 6), "q_table": (1,),
                        **dict.fromkeys(("q_conv2d", "q_depthwise_conv2d", "q_dense"), (1, 2, 3, 4))}


def test_make_refuses_what_it_does_not_know():
    with pytest.raises(UnsupportedOpError, match="'conv9d' is unknown"):
        ops.make("conv9d", {})
    with pytest.raises(FormatError, match="conv2d: unknown attribute 'stride'; it has .*strides"):
        ops.make("conv2d", {"stride": (1, 1)})
    with pytest.raises(FormatError, match="relu: unknown attribute"):
        ops.make("exp", {}) and ops.make("relu", {"axis": 1})


@pytest.mark.parametrize("kind, attrs", [
    ("conv2d", {"groups": 1.0}), ("conv2d", {"groups": True}), ("conv2d", {"strides": 1}),
    ("conv2d", {"strides": (1, "1")}), ("softmax", {"axis": None}), ("cast", {"to": 1}),
    ("argmax", {"keepdims": 1}), ("resize", {"scales": (True, 1.0)}), ("clip", {"alpha": "0"}),
])
def test_make_refuses_wrong_types(kind, attrs):
    with pytest.raises(FormatError, match=f"{kind}: attribute '{next(iter(attrs))}' expects"):
        ops.make(kind, attrs)


def test_make_turns_lists_and_integers_into_the_declared_types():
    op = ops.make("resize", {"size": [2, 3], "scales": [1, 2]})
    assert op.size == (2, 3) and op.scales == (1.0, 2.0) and type(op.scales[0]) is float
