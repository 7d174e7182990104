"""Which file of this folder has which layer kinds: a file is imported when one of its kinds is first asked for.

A network has a dozen kinds, and fifty small imports cost a board more than the plan.
"""

from __future__ import annotations

FILES = {
    "activations": (
        "relu clip leaky_relu sigmoid tanh hard_sigmoid hard_swish silu elu gelu gelu_tanh mish softplus selu "
        "celu softsign thresholded_relu shrink"),
    "attention": "attention",
    "batch_norm": "batch_norm",
    "binary": "add sub mul div pow maximum minimum mod prelu",
    "bitwise": "bitwise_and bitwise_or bitwise_xor bit_shift",
    "cast": "cast",
    "compare": "equal greater greater_equal where",
    "concat": "concat",
    "conv2d": "conv2d dense",
    "conv_transpose2d": "conv_transpose2d",
    "cumulate": "cumsum cumprod",
    "depth_to_space": "depth_to_space space_to_depth channel_shuffle",
    "depthwise_conv2d": "depthwise_conv2d",
    "dynamic_quantize": "dynamic_quantize q_correct",
    "functions": (
        "exp sqrt log neg abs sign reciprocal floor ceil round erf sin cos tan asin acos atan sinh cosh asinh "
        "acosh atanh logical_not bitwise_not is_nan is_inf"),
    "gather": "gather gather_elements gather_nd",
    "grid_sample": "grid_sample deform_im2col2d",
    "im2col": "im2col2d col2im2d",
    "inverted_bottleneck": "inverted_bottleneck",
    "lrn": "lrn",
    "matmul": "matmul",
    "non_max_suppression": "non_max_suppression",
    "normalization": "layer_norm rms_norm group_norm",
    "one_hot": "one_hot",
    "pad": "pad",
    "pool2d": "max_pool2d average_pool2d",
    "pool_indices": "max_pool_indices max_unpool",
    "q_conv2d": "q_conv2d q_dense",
    "q_depthwise_conv2d": "q_depthwise_conv2d",
    "q_elementwise": "q_add q_mul q_table",
    "q_matmul": "q_matmul",
    "q_pool2d": "q_global_average_pool q_average_pool2d",
    "q_resize": "q_resize",
    "q_softmax": "q_softmax",
    "quantize": "quantize dequantize",
    "recurrent": "rnn gru lstm",
    "reduce": (
        "reduce_mean reduce_sum reduce_prod reduce_l1 reduce_l2 reduce_sum_square reduce_log_sum_exp "
        "reduce_max reduce_min argmax argmin"),
    "resize": "resize",
    "reverse_sequence": "reverse_sequence",
    "roi": "roi_align max_roi_pool",
    "scatter": "scatter_elements scatter_nd",
    "select": "compress non_zero unique",
    "separable_conv2d": "separable_conv2d",
    "shape_ops": "slice reshape expand transpose",
    "softmax": "softmax log_softmax hardmax",
    "topk": "topk",
    "trilu": "trilu",
}
