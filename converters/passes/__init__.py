"""Rewrites from what the source says to what the kernels want, one file each.  `converters/README.md` explains them.

Every pass is a function `apply(graph) -> int` (how much it changed) that keeps what the graph computes, up to
float32 rounding where its text says so.  They run in rounds until a round changes nothing; every pass makes
something smaller (nodes, moved bytes, things left to fold) and none undoes another's work, so few rounds are needed,
and `MAX_ROUNDS` bounds them.
"""

from __future__ import annotations

from collections.abc import Callable

from tinynet.converters.passes import (
    activations,
    fold_affine,
    fold_constants,
    fold_pads,
    fuse_activation,
    fuse_attention,
    fuse_matmul,
    fuse_residual,
    group_norms,
    integer_moves,
    integers,
    layout,
    matmul_to_dense,
    merge_duplicates,
    merge_moves,
    normalizations,
    pack_weights,
    remove_identities,
    shuffles,
    sink_reshapes,
    split_dense,
)
from tinynet.graph import Graph

Pass = Callable[[Graph], int]

# Order matters: patterns are recognised while they are spelled as in the source, transposes go before what they
# separate is fused, residuals are fused before activations (conv, add, relu).
PASSES: dict[str, Pass] = {
    "fold constants": fold_constants.apply,
    "remove identities": remove_identities.apply,
    "merge duplicates": merge_duplicates.apply,
    "move integers": integer_moves.apply,
    "recognise shuffles": shuffles.apply,
    "recognise normalizations": normalizations.apply,
    "recognise group norms": group_norms.apply,
    "recognise activations": activations.apply,
    "merge moves": merge_moves.apply,
    "matmul to dense": matmul_to_dense.apply,
    "choose layout": layout.apply,
    "sink reshapes": sink_reshapes.apply,
    "shorten moves": merge_moves.apply,
    "fold pads": fold_pads.apply,
    "fold affine": fold_affine.apply,
    "split dense": split_dense.apply,
    "fuse matmul": fuse_matmul.apply,
    "fuse attention": fuse_attention.apply,
    "fuse residuals": fuse_residual.apply,
    "fuse activations": fuse_activation.apply,
}
MAX_ROUNDS = 8


def run_passes(graph: Graph, progress: Callable[[str, int], None] | None = None) -> Graph:
    """Rewrites `graph` in place and returns it, weights packed.

    `progress(name, changes)` is called after each pass.  Raises what `tinynet.ops` raises on a graph that is not well
    formed (`check.check` says what is wrong with it).
    """
    def run(name: str, apply: Pass) -> int:
        changes = apply(graph)
        if progress is not None:
            progress(name, changes)
        return changes

    def settle() -> None:
        for _ in range(MAX_ROUNDS):
            if not sum([run(name, apply) for name, apply in PASSES.items()]):
                break

    settle()
    if run("integers", integers.apply):
        settle()
    run("pack weights", pack_weights.apply)
    return graph
