from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from tinynet import ops


@settings(max_examples=25, deadline=None)
@given(perm=st.integers(1, 5).flatmap(lambda rank: st.permutations(range(rank))), seed=st.integers(0, 2**32 - 1))
def test_against_onnxruntime(peer, perm, seed):
    x = peer.normal(seed, *(2, 3, 4, 5, 6)[:len(perm)])
    peer.agree(ops.make("transpose", {"perm": perm}), [x], peer.run("Transpose", [x], perm=perm))


def test_refusals(peer):
    for perm in ((), (0,), (0, 0), (0, 2), (-1, 0), (0, 1, 2)):
        peer.refused(ops.make("transpose", {"perm": perm}), (2, 3), match="perm that orders 2 axes, found")
