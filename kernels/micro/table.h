/* Everything of one instruction set.  The including file has chosen the target, VL, and LEVEL (avx2) with its name. */
#include "micro.h"
#include "vec.h"
#include "functions.h"
#include "elementwise.h"
#include "compare.h"
#include "reduce.h"
#include "softmax.h"
#include "gemm.h"
#include "gray.h"
#include "recurrent.h"
#include "normalization.h"
#include "depthwise.h"
#include "winograd.h"
#include "transpose.h"

#define TABLE_NAME_(level) tn_micro_##level
#define TABLE_NAME(level) TABLE_NAME_(level)
#define TEXT_(level) #level
#define TEXT(level) TEXT_(level)

const tn_micro TABLE_NAME(LEVEL) = {
    .name = TEXT(LEVEL),
    .vector_floats = VL,
    .multiply_add = multiply_add,
    .max_rows = MAX_ROWS,
    .gemm_tile = gemm_tile,
    .gray = gray,
    .depthwise = depthwise,
    .unary = unary,
    .binary = binary,
    .compare = compare,
    .select = select_words,
    .scale_shift = scale_shift,
    .pool = pool,
    .reduce = reduce,
    .argmax = argmax,
    .softmax = softmax,
    .bilinear = bilinear,
    .blend = blend,
    .lrn = lrn,
    .transpose = transpose,
    .transpose_bytes = transpose_bytes,
    .gemv = gemv,
    .rnn_cell = rnn_cell,
    .lstm_cell = lstm_cell,
    .gru_gates = gru_gates,
    .gru_state = gru_state,
    .normalize_row = normalize_row,
    .normalize_channels = normalize_channels,
    .squares = squares,
    .winograd_input = winograd_input,
    .winograd_output = winograd_output,
    .winograd_weights = winograd_weights,
};
