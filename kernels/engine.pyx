# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""The compiled half: kernels, and the program that runs a network's steps in one call without the GIL.

Layers are in the included files, one per family; their register tiles are C (micro/).  See README.md here."""

include "common.pxi"
include "elementwise.pxi"
include "q_elementwise.pxi"
include "compare.pxi"
include "conv2d.pxi"
include "matmul.pxi"
include "attention.pxi"
include "recurrent.pxi"
include "winograd.pxi"
include "depthwise_conv2d.pxi"
include "separable_conv2d.pxi"
include "reduce.pxi"
include "normalization.pxi"
include "movement.pxi"
include "sampling.pxi"
include "suppression.pxi"
include "custom.pxi"
include "q_conv2d.pxi"
include "program.pxi"
