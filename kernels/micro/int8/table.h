/* Everything of one instruction set.  The including file has chosen the target, VL, HAVE_..., and LEVEL with its name. */
#if defined(__clang__)
#pragma STDC FP_CONTRACT OFF
#else
#pragma GCC optimize("fp-contract=off")
#endif
#include "int8.h"
#include "vec.h"
#include "peak.h"
#include "bytes.h"
#include "gemm.h"
#include "depthwise.h"
#if !HAVE_DOT
#include "winograd.h"
#include "elementwise.h"
#include "lookup.h"
#include "softmax.h"
#include "pool.h"
#include "interleave.h"
#endif

#define TABLE_NAME_(level) tn_int8_##level
#define TABLE_NAME(level) TABLE_NAME_(level)

/* What depends on the dot product stands first: a level with one has only that, and dispatch.c gives it the rest of the level
   without.  Nothing is built twice. */
const tn_int8 TABLE_NAME(LEVEL) = {
    .multiply_add = multiply_add,
    .gemm8_packed_rows = PACKED_ROWS,
    .gemm8_signed = SIGNED_ROWS,
    .gemm8_byte_pairs = BYTE_PAIRS,
    .gemm8 = gemm8,
    .depthwise = q_depthwise,
#if !HAVE_DOT
    .quantize = quantize,
    .dequantize = dequantize,
    .add = add,
    .mul = mul,
    .lookup = lookup,
    .softmax = softmax,
    .max_windows = max_windows,
    .max_of = max_of,
    .average_windows = average_windows,
    .mean = mean,
    .bilinear = bilinear,
    .interleave = interleave,
    .deinterleave = deinterleave,
    .winograd_input = winograd_input,
    .winograd_product = winograd_product,
    .winograd_output = winograd_output,
#if VL == 1
    .winograd_weights = winograd_weights,
    .winograd_reach = winograd_reach,
#endif
#endif
};
