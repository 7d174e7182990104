"""What layers cost: picoseconds per multiply-accumulate of linear kinds, per element of the others and of changing between
float32 and integers.  Fixed, so that the same input gives the same file on every machine.

x86: one core with AVX-VNNI or AVX-512-VNNI (N100 and later).  x86-avx2: one core with AVX2 alone.  arm: one core of armv8.0,
without the dot product.  `winograd`: 3x3 convolutions that take fewer products in float.  Only ratios within a table matter.

Both x86 tables were compared with the times of layers on one core with AVX-512-VNNI, with and without TINYNET_ISA=avx2 (22
Nov 2026, kernels of that day; float32 and integers in turns): MobileNet v1, ResNet-18, SqueezeNet and Tiny YOLO v2, with AVX2
also MobileNet v2.  Picoseconds per product there, float32 : integers; the clock was not steady, so that a network's own ratio
says more than the ends of these ranges:

                        VNNI                                  AVX2
    1x1                 19-27 : 5-8                           31-55 : 25-60
    3x3 (Winograd)      17-77 : 6-24                          11-25 : 8-18 (the fast clock; integers have Winograd's form too)
    3x3, stride 2       17-77 : 6-24                          31-38 : 24-26 (the fast clock)
    depthwise           219 : 43                              187-258 : 86-152
    dense               357-407 : 89-101                      402-446 : 127-149

Without VNNI the prices of `mixing` and `moving` in float32, and of `convert`, are estimates.

arm has been computed, not measured: from the throughput of the instructions (8 float32 products or 11 of 8 bits in a cycle)
at the share of it that kernels reach; `winograd` of integers by the same saving of products as with AVX2.
"""

COSTS = {
    "x86": {
        "float": {"conv2d": 17, "winograd": 13, "depthwise_conv2d": 150, "dense": 300,
                  "mixing": 250, "unary": 400, "moving": 250},
        "integer": {"conv2d": 5, "winograd": 5, "depthwise_conv2d": 32, "dense": 80, "mixing": 120, "unary": 80, "moving": 65},
        "convert": 120,
    },
    "x86-avx2": {
        "float": {"conv2d": 40, "winograd": 35, "depthwise_conv2d": 190, "dense": 400,
                  "mixing": 350, "unary": 500, "moving": 350},
        "integer": {"conv2d": 25, "winograd": 25, "depthwise_conv2d": 90, "dense": 130, "mixing": 290, "unary": 250,
                    "moving": 65},
        "convert": 400,
    },
    "arm": {
        "float": {"conv2d": 70, "winograd": 35, "depthwise_conv2d": 160, "dense": 600,
                  "mixing": 900, "unary": 1600, "moving": 900},
        "integer": {"conv2d": 52, "winograd": 26, "depthwise_conv2d": 110, "dense": 160, "mixing": 500, "unary": 300,
                    "moving": 230},
        "convert": 500,
    },
}
