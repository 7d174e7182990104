/* The inner loops every layer is made of, as one table per instruction set.

   The signature of each function is written here once.  `table.h` fills a table for the instruction set that the including
   file was compiled for; `dispatch.c` lists the tables, weakest first.  All pointers may be unaligned. */
#ifndef TINYNET_MICRO_H
#define TINYNET_MICRO_H

#include <stdint.h>

enum { TN_PANEL = 16,      /* output channels per weight panel, the same on every instruction set */
       TN_MAX_PANELS = 4,  /* panels that one register tile may span */
       TN_MAX_ROWS = 8,    /* rows (pixels) of the tallest register tile */
       TN_GRAY_FILTERS = 8 };  /* of a convolution of one channel that goes along rows */

/* Functions of one variable.  Up to TN_CLIP they are a clamp to [alpha, beta], which every kernel applies in registers. */
typedef enum tn_function {
    TN_NONE, TN_RELU, TN_CLIP,
    TN_LEAKY_RELU, TN_SIGMOID, TN_TANH, TN_HARD_SIGMOID, TN_HARD_SWISH, TN_SILU, TN_ELU,
    TN_EXP, TN_SQRT, TN_LOG, TN_NEG, TN_ABS, TN_RECIPROCAL, TN_FLOOR, TN_CEIL, TN_ROUND, TN_ERF, TN_SOFTPLUS, TN_GELU,
    TN_GELU_TANH, TN_MISH, TN_SELU, TN_CELU, TN_SOFTSIGN, TN_THRESHOLDED_RELU, TN_SHRINK, TN_SIN, TN_COS, TN_SIGN
} tn_function;

typedef enum tn_binary { TN_ADD, TN_SUB, TN_MUL, TN_DIV, TN_POW, TN_MAXIMUM, TN_MINIMUM, TN_PRELU } tn_binary;
typedef enum tn_reduction { TN_MAX, TN_MIN, TN_SUM, TN_SUM_ABS, TN_SUM_SQUARE } tn_reduction;
typedef enum tn_comparison { TN_EQUAL, TN_GREATER, TN_GREATER_EQUAL } tn_comparison;

/* What follows an accumulator: clamp to [lo, hi] (infinite: none), then `function` if it is beyond TN_CLIP. */
typedef struct tn_epilogue {
    float lo, hi, alpha, beta;
    int32_t function;
} tn_epilogue;

/* One register tile of C = clamp(A B + bias + residual): m rows of A by up to TN_MAX_PANELS panels of B.
   Row i of A is a list of runs: run r is run[2r+1] consecutive floats at a[i] + run[2r]; the runs together are K long.
   That one form serves dense layers, 1x1 and KxK convolution (kernel rows are runs), dilation and groups. */
typedef struct tn_tile {
    const float *const *a;     /* [m] row bases */
    const int64_t *run;        /* [runs][2] offset, length */
    int64_t runs;
    const float *b;            /* first panel at this K: [K][16] */
    int64_t panel_stride;      /* floats from one panel to the next */
    const float *prefetch;     /* weights that later tiles read, to be brought into L2 meanwhile, 16 per step in K, or NULL */
    const float *bias;         /* [n], or NULL */
    const float *residual;     /* [m] rows, ld_residual apart, or NULL; may be c itself */
    int64_t ld_residual;
    float *c;                  /* [m] rows, ldc apart */
    int64_t ldc;
    int64_t n;                 /* columns that exist, <= 16 panels */
    int32_t accumulate;        /* start from c (an earlier part of K) and not from bias + residual */
    int32_t last;              /* the last part of K: clamp to [lo, hi] */
    float lo, hi;
} tn_tile;

/* Some neighbouring pixels of one output row of a convolution of one channel, at stride 1. */
typedef struct tn_gray {
    const float *x;            /* corner of the first pixel's window */
    const int64_t *run;        /* [runs][2] offset, length: as in tn_tile */
    int64_t runs;
    const float *w;            /* one panel: [K][16] */
    const float *bias;         /* [filters], or NULL */
    float *y;                  /* [filters] rows of pixels, ldy apart */
    int64_t ldy, filters, pixels;
    float lo, hi;
} tn_gray;

/* Output rows oy0 .. oy1-1 of a depthwise convolution of one picture. */
typedef struct tn_depthwise {
    const float *x;            /* [height] rows, x_row apart, of [width] pixels, ldx apart */
    int64_t height, width, ldx, x_row;
    const float *w;            /* [kh][kw][ldw] */
    int64_t ldw;
    const float *bias;         /* [channels] */
    float *y;                  /* [oh] rows, y_row apart, of [ow] pixels, ldy apart */
    int64_t ldy, y_row, ow, oy0, oy1;
    int64_t kh, kw, stride_h, stride_w, dilation_h, dilation_w, pad_top, pad_left, channels;
    tn_epilogue epilogue;
} tn_depthwise;

/* The inputs of one Winograd tile (winograd.h), all channels, into (size+2)^2 matrices. */
typedef struct tn_winograd_input {
    const float *x;            /* where the tile's first pixel would lie; it may lie outside the picture */
    int64_t row, ld;           /* floats from one picture row to the next, from one pixel to the next */
    int64_t y0, y1, x0, x1;    /* rows and columns of the tile that are in the picture; the others are zero */
    int64_t channels;
    float *v;                  /* [channels, rounded up to 16] in matrix 0 */
    int64_t stride;            /* floats from one matrix to the next */
} tn_winograd_input;

/* size x size output pixels from the (size+2)^2 products. */
typedef struct tn_winograd_output {
    const float *m;            /* [channels, rounded up to 16] in matrix 0 */
    int64_t stride;
    const float *bias;         /* [channels], or NULL */
    const float *residual;     /* or NULL; may be y itself */
    int64_t residual_row, ld_residual;
    float *y;
    int64_t y_row, ldy;
    int64_t rows, columns;     /* of the tile that exist */
    int64_t channels;
    tn_epilogue epilogue;
} tn_winograd_output;

/* Activations of recurrent layers (ONNX's list); f(x) takes alpha and beta where it has parameters. */
typedef enum tn_gate_function {
    TN_GATE_SIGMOID, TN_GATE_TANH, TN_GATE_RELU, TN_GATE_AFFINE, TN_GATE_LEAKY_RELU, TN_GATE_THRESHOLDED_RELU,
    TN_GATE_SCALED_TANH, TN_GATE_HARD_SIGMOID, TN_GATE_ELU, TN_GATE_SOFTSIGN, TN_GATE_SOFTPLUS
} tn_gate_function;

typedef struct tn_gate {
    int32_t function;
    float alpha, beta;
} tn_gate;

/* One row of one step of a recurrent layer (recurrent.h). */
typedef struct tn_cell {
    int64_t hidden;            /* units; in x, gate g starts at g hidden */
    int64_t padded;            /* the same rounded up to whole panels; in z, gate g starts at g padded */
    const float *x;            /* input times weights, biases included */
    float *z;                  /* state times recurrent weights */
    float *h, *c, *y;          /* state, cell state (LSTM), the step's output */
    const float *weights;      /* LSTM: peepholes i, o, f or NULL; GRU that is linear before reset: bias of the reset product */
    float clip;                /* sums are clamped to [-clip, clip] */
    int32_t linked;            /* LSTM: forget = 1 - input; GRU: linear before reset */
    tn_gate gate[3];
} tn_cell;

typedef struct tn_micro {
    const char *name;
    int32_t vector_floats;
    /* For benchmarks: n turns of independent multiply-adds in registers; returns the floating-point operations done. */
    int64_t (*multiply_add)(int64_t n);
    int32_t max_rows[TN_MAX_PANELS + 1];   /* [panels] tallest tile of that width; 0: there is none */
    void (*gemm_tile)(const tn_tile *tile, int m, int panels);
    void (*gray)(const tn_gray *t);
    void (*depthwise)(const tn_depthwise *d);
    /* y[i] = f(x[i]); x may be y */
    void (*unary)(tn_function f, float alpha, float beta, const float *x, float *y, int64_t n);
    /* z[i] = f(x[i * step_x], y[i * step_y]), steps 0 or 1, then the epilogue */
    void (*binary)(tn_binary f, const float *x, int step_x, const float *y, int step_y, float *z, int64_t n,
                   const tn_epilogue *e);
    /* z[i] = f(x[i * step_x], y[i * step_y]), 1 or 0, steps 0 or 1 */
    void (*compare)(tn_comparison f, const float *x, int step_x, const float *y, int step_y, uint8_t *z, int64_t n);
    /* z[i] = mask[i * step_mask] ? x[i * step_x] : y[i * step_y], 4 bytes each, whatever they mean; mask 0 or 1, steps 0 or 1;
       z may be x or y */
    void (*select)(const uint8_t *mask, int step_mask, const int32_t *x, int step_x, const int32_t *y, int step_y, int32_t *z,
                   int64_t n);
    /* y[i] = f(x[i] scale[i] + shift[i]) */
    void (*scale_shift)(const float *x, const float *scale, const float *shift, float *y, int64_t n, const tn_epilogue *e);
    /* y[c] = reduction over i < ny, j < nx of x[i*ld_y + j*ld_x + c], times `factor`; and so for as many `windows`, in x and
       y so many floats apart */
    void (*pool)(tn_reduction r, const float *x, int64_t ny, int64_t ld_y, int64_t nx, int64_t ld_x,
                 float *y, int64_t channels, float factor, int64_t windows, int64_t x_step, int64_t y_step);
    /* reduction of n consecutive floats */
    float (*reduce)(tn_reduction r, const float *x, int64_t n);
    /* y[j] = the k < n for which sign * x[k*ld + j] is largest, the first of equals or the last; NaN is larger than all */
    void (*argmax)(const float *x, int64_t n, int64_t ld, float sign, int last, int64_t *y, int64_t columns);
    /* softmax, or its logarithm, of x [rows, n, inner] along n */
    void (*softmax)(const float *x, float *y, int64_t rows, int64_t n, int64_t inner, int log);
    /* y[c] = (a[c] (1-fx) + b[c] fx) (1-fy) + (c_[c] (1-fx) + d[c] fx) fy */
    void (*bilinear)(const float *a, const float *b, const float *c, const float *d, float fx, float fy, float *y, int64_t n);
    /* y[c] = sum over i < taps of x[offset[i] + c] weight[i] */
    void (*blend)(const float *x, const int64_t *offset, const float *weight, int64_t taps, float *y, int64_t n);
    /* y[c] = x[c] / (bias + alpha * sum over the window of x^2)^power; `squares` holds channels + size floats of scratch */
    void (*lrn)(const float *x, float *y, int64_t channels, int64_t size, float alpha, float power, float bias, float *squares);
    /* y[j*ldy + i] = x[i*ldx + j] for i < rows, j < columns */
    void (*transpose)(const float *x, int64_t ldx, float *y, int64_t ldy, int64_t rows, int64_t columns);
    /* the same for bytes; rows and columns are at least 16 */
    void (*transpose_bytes)(const uint8_t *x, int64_t ldx, uint8_t *y, int64_t ldy, int64_t rows, int64_t columns);
    /* y[16 p + j] = sum over i < k of x[i] b[p panel_stride + 16 i + j], p < panels */
    void (*gemv)(const float *x, int64_t k, const float *b, int64_t panel_stride, int64_t panels, float *y);
    void (*rnn_cell)(const tn_cell *cell);
    void (*lstm_cell)(const tn_cell *cell);
    void (*gru_gates)(const tn_cell *cell);
    void (*gru_state)(const tn_cell *cell);
    /* y = (x - mean) / sqrt(mean of (x - mean)^2 + epsilon) scale + shift over n floats; center 0: mean is 0; shift may be NULL */
    void (*normalize_row)(const float *x, const float *scale, const float *shift, float *y, int64_t n, float epsilon, int center);
    /* y[c] = (x[c] - mean[c]) gain[c] + shift[c] */
    void (*normalize_channels)(const float *x, const float *mean, const float *gain, const float *shift, float *y, int64_t n);
    /* y[c] = sum over i < rows of (x[i ld + c] - mean[c])^2 */
    void (*squares)(const float *x, int64_t rows, int64_t ld, const float *mean, float *y, int64_t channels);
    void (*winograd_input)(const tn_winograd_input *tile, int size);
    void (*winograd_output)(const tn_winograd_output *tile, int size);
    /* n weights (a multiple of 16): tap (ky, kx) at w + (3 ky + kx) tap -> matrix e at u + e stride */
    void (*winograd_weights)(const float *w, int64_t tap, float *u, int64_t stride, int64_t n, int size);
} tn_micro;

/* Table of a level by name ("avx2"), or NULL if this build or this CPU lacks it. */
const tn_micro *tn_micro_find(const char *name);
/* Name of the i-th level of this build, weakest first, or NULL past the end; *usable: this CPU has it; *floats: name of the
   level whose table of floats it has. */
const char *tn_level(int i, int *usable, const char **floats);

#endif
