"""What layers cost: picoseconds per multiply-accumulate of linear kinds, per element of the others and of changing between
float32 and integers.  Fixed, so that the same input gives the same file on every machine.

x86: one core with AVX-VNNI or AVX-512-VNNI.  arm: one core of armv8.0, without the dot product.  From the throughput of the
instructions (per cycle, 8 float32 products or 11 of 8 bits on arm, 32 and 128 on x86), at the share of it that kernels
reach; `winograd`: 3x3 convolutions that take fewer products in float.  Only ratios matter.
"""

COSTS = {
    "x86": {
        "float": {"conv2d": 17, "winograd": 9, "depthwise_conv2d": 45, "dense": 300,
                  "mixing": 250, "unary": 400, "moving": 250},
        "integer": {"conv2d": 5, "depthwise_conv2d": 14, "dense": 80, "mixing": 120, "unary": 80, "moving": 65},
        "convert": 120,
    },
    "arm": {
        "float": {"conv2d": 70, "winograd": 35, "depthwise_conv2d": 160, "dense": 600,
                  "mixing": 900, "unary": 1600, "moving": 900},
        "integer": {"conv2d": 52, "depthwise_conv2d": 110, "dense": 160, "mixing": 500, "unary": 300, "moving": 230},
        "convert": 500,
    },
}
