"""Layer kinds, one file per kind or close family.  README.md beside this file is the table of their meaning."""

from tinynet.ops import (  # noqa: F401  (importing a file registers its kinds)
    activations,
    batch_norm,
    binary,
    cast,
    concat,
    conv2d,
    conv_transpose2d,
    dense,
    depth_to_space,
    depthwise_conv2d,
    gather,
    grid_sample,
    im2col,
    lrn,
    matmul,
    pool2d,
    pool_indices,
    reduce,
    resize,
    roi,
    separable_conv2d,
    shape_ops,
    softmax,
    transpose,
)
from tinynet.ops.base import Op, ShapeError, Spec, kinds, make, register  # noqa: F401
