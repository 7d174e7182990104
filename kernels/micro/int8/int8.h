/* The inner loops of the integer layers, as one table per instruction set, as micro.h has them for floats.

   Every function gives the same bits on every instruction set: sums are int32 modulo 2^32, an output costs one float32
   multiplication, a clamp, a rounding half to even.  The files of the tables are compiled without contraction to FMA; where one
   is meant (sums of two tensors) every instruction set computes it. */
#ifndef TINYNET_INT8_H
#define TINYNET_INT8_H

#include <stdint.h>

/* 32-bit ARM whose CPU may have NEON, for gcc, which compiles single files for it. */
#if defined(__arm__) && defined(__linux__) && !defined(__clang__) && __ARM_ARCH >= 7 && defined(__ARM_PCS_VFP)
#define TN_NEON_32 1
#endif

/* What the sum or product of two tensors of bytes is made of: v = (c + b rb) + a ra, or (a - a_zero) (b - b_zero) ra + c, every
   operation rounded, but a ra and its sum once; |v| < 2^31; y = v rounded half to even, within [low, high]. */
typedef struct tn_q_pair {
    float ra, rb, c;
    int32_t a_zero, b_zero, low, high;
} tn_q_pair;

enum { TN_BLOCK_ROWS = 384 };  /* rows that one tn_gemm8 may have */

/* What a layer of integer sums writes: round(acc multiplier) + zero within [low, high], acc multiplier, or acc. */
typedef enum tn_result { TN_UINT8, TN_FLOAT32, TN_INT32 } tn_result;

/* acc = A B - (row sums of A) w_zero + bias in int32 modulo 2^32, and what `result` makes of it (ops/q_conv2d.py).
   Row i of A is a list of runs: run r is run[3r+2] consecutive bytes at a[i] + run[3r], read as run[3r+1] quads of four, so
   that up to three bytes behind a run are read as well (and meet weights that are zero). */
typedef struct tn_gemm8 {
    const uint8_t *const *a;   /* [rows] */
    int64_t rows;              /* at most TN_BLOCK_ROWS */
    const int64_t *run;        /* [runs][3] offset, quads, bytes */
    int64_t runs, quads;       /* quads: of all runs together */
    const int8_t *b;           /* [panels][quads][16][4] */
    int64_t panels, n;         /* columns that exist, more than 16 (panels - 1) */
    const int32_t *bias;       /* [n] */
    const float *multiplier;   /* [n] */
    const int32_t *w_zero;     /* [n], or NULL */
    void *y;                   /* [rows] rows, ldy elements apart */
    int64_t ldy;
    void *packed;              /* 8 gemm8_packed_rows bytes per quad, for levels that copy rows of A */
    int32_t result, zero, low, high;
    int32_t small;             /* every multiplier is below 1, so that rounding the product cannot overflow an int32 */
    int32_t pairs;             /* no two products of neighbouring weights can overflow an int16: see gemm_dot.h */
} tn_gemm8;

/* Output rows oy0 .. oy1-1 of a depthwise convolution of one picture. */
typedef struct tn_q_depthwise {
    const uint8_t *x;          /* [height] rows, x_row apart, of [width] pixels, ldx apart; elsewhere x_zero */
    int64_t height, width, ldx, x_row;
    const int8_t *w;           /* [kh][kw][channels] */
    const int32_t *w_zero;     /* [channels], or NULL; w - w_zero fits into 16 bits */
    const int32_t *bias;       /* [channels], and so is multiplier */
    const float *multiplier;
    char *y;                   /* [oh] rows, y_row apart, of [ow] pixels, ldy apart, in elements */
    int64_t ldy, y_row, ow, oy0, oy1;
    int64_t kh, kw, stride_h, stride_w, dilation_h, dilation_w, pad_top, pad_left, channels;
    int32_t x_zero, y_zero, low, high;
    int32_t result;            /* tn_result */
    char *scratch;             /* 1 KiB for every 4 taps or part of them, 64-byte aligned */
} tn_q_depthwise;
/* The windows of one row of outputs: pixels of `channels` bytes, `ldx` apart, in rows `x_row` apart. */
typedef struct tn_windows {
    const uint8_t *x;          /* the first row that the windows see, column 0 */
    int64_t x_row, ldx, rows, width;
    int64_t kw, stride, dilation, pad_left, pad_right; /* along the row */
    uint8_t *y;
    int64_t ldy, out_width, channels;
} tn_windows;

/* What an average is made of: sum of x_scale (x - x_zero), over the count, over y_scale, plus y_zero, rounded, plus shift. */
typedef struct tn_average {
    float x_scale, y_scale;
    int32_t x_zero, y_zero, shift;
    int64_t counted_rows;      /* 0: only pixels count, else the pads right and left too */
} tn_average;

/* One row of a linear resize from two rows of reals: y = round((sum of four products) / y_scale) + y_zero. */
typedef struct tn_bilinear {
    const float *low, *high;
    const int64_t *column;     /* [2][out_width]: where the left and the right pixel begin, floats */
    const float *part;         /* [2][out_width]: weights of the left and of the right pixel */
    float part_low, part_high, y_scale;
    int32_t y_zero;
    uint8_t *y;
    int64_t ldy, out_width, channels;
} tn_bilinear;

/* Inputs of one tile of a Winograd convolution: pixel (y, x) exists where y0 <= y < y1, x0 <= x < x1.
   Element (y, x) of the transformed tile goes to matrix E y + x: v[stride (E y + x) + c], channels padded to whole vectors. */
typedef struct tn_q_winograd_input {
    const uint8_t *x;          /* pixel (0, 0), existing or not; rows `row` apart, pixels `ld` */
    int64_t row, ld, y0, y1, x0, x1, channels;
    const uint8_t *outside;    /* [channels], of pixels that do not exist */
    int16_t *v;
    int64_t stride;
} tn_q_winograd_input;

/* Outputs of one tile: m[stride (E y + x) + c] -> the first rows x columns of the tile. */
typedef struct tn_q_winograd_output {
    const int32_t *m;
    int64_t stride;
    const int32_t *bias;       /* [channels] */
    const float *multiplier;   /* [channels] */
    void *y;                   /* rows y_row apart, pixels ldy, in elements */
    int64_t y_row, ldy, rows, columns, channels;
    int32_t result, zero, low, high, small; /* as in tn_gemm8 */
} tn_q_winograd_output;

typedef struct tn_int8 {
    /* n turns of multiply-accumulates in registers, for measuring the peak; returns how many were done */
    int64_t (*multiply_add)(int64_t n);
    /* y = (x / scale clamped, rounded half to even) + zero, NaN 0, within 0..255; x = ((y ^ flip) - zero) scale.  int8 is uint8
       with its highest bit flipped (0x80; else 0), zero then 128 more. */
    void (*quantize)(const float *x, uint8_t *y, int64_t n, float scale, int32_t zero, int32_t flip);
    void (*dequantize)(const uint8_t *x, float *y, int64_t n, float scale, int32_t zero, int32_t flip);
    /* A step of 0 repeats the first element.  y may be a or b. */
    void (*add)(const tn_q_pair *p, const uint8_t *a, int step_a, const uint8_t *b, int step_b, uint8_t *y, int64_t n);
    void (*mul)(const tn_q_pair *p, const uint8_t *a, int step_a, const uint8_t *b, int step_b, uint8_t *y, int64_t n);
    /* y = table[x], 256 entries; y may be x */
    void (*lookup)(const uint8_t *x, uint8_t *y, int64_t n, const uint8_t *table);
    /* y = e levels / (sum of e) + zero for the n numbers of every row, e = table[255 - (largest of the row - x)], the sum from
       first to last; y may be x */
    void (*softmax)(const uint8_t *x, int64_t ldx, uint8_t *y, int64_t ldy, int64_t rows, int64_t n, const float *table,
                    float levels, int32_t zero);
    int32_t gemm8_packed_rows;     /* rows of A that gemm8 copies before it multiplies them; 0: it reads them in place */
    int32_t gemm8_signed;          /* gemm8 takes activations as x - 128: its bias has to hold 128 times the sum of w */
    int32_t gemm8_byte_pairs;      /* gemm8 is faster if `pairs` says so */
    void (*gemm8)(const tn_gemm8 *g);
    void (*depthwise)(const tn_q_depthwise *d);
    /* max of x ^ flip, ^ flip: flip 0 is the maximum of uint8, 0x80 of int8; 0xff the minimum of uint8, 0x7f of int8 */
    void (*max_windows)(const tn_windows *p, int flip);
    uint8_t (*max_of)(const uint8_t *x, int64_t n, int flip);
    void (*average_windows)(const tn_windows *p, const tn_average *average);
    /* y[c] = round((sum of n x's, ld apart, + bias) multiplier) + zero for channels c; n at most 2^31 / 255 */
    void (*mean)(const uint8_t *x, int64_t ld, int64_t n, int64_t channels, int32_t bias, float multiplier, int32_t zero,
                 uint8_t *y);
    void (*bilinear)(const tn_bilinear *p);
    /* y[n i + j] = x[j ldx + i] for i < columns, and back: y[j ldy + i] = x[n i + j]; n is 2 or 3 */
    void (*interleave)(const uint8_t *x, int64_t ldx, int n, uint8_t *y, int64_t columns);
    void (*deinterleave)(const uint8_t *x, int n, uint8_t *y, int64_t ldy, int64_t columns);
    /* Winograd's transforms for tiles of 2x2 or 4x4 outputs, and c [rows][16 panels] = a [rows][4 quads] b [panels][quads][64] of
       what they give; NULL on levels with a dot product, which gain nothing.  Weights only on "scalar": one panel
       [3 rows][row_quads][16][4] -> matrices `stride` apart, each [quads][64] in the order of winograd_product; the largest
       sum of weights of one sign that an output has. */
    void (*winograd_input)(const tn_q_winograd_input *t, int size);
    void (*winograd_product)(const int16_t *a, int64_t lda, int64_t rows, const int16_t *b, int64_t quads, int64_t panels,
                             int32_t *c);
    void (*winograd_output)(const tn_q_winograd_output *t, int size);
    void (*winograd_weights)(const int8_t *w, int64_t row_quads, int64_t channels, int16_t *u, int64_t stride, int size);
    int64_t (*winograd_reach)(const int8_t *w, int64_t panels, int64_t quads);
} tn_int8;

/* Table of a level by name ("avx2"), or NULL if this build or this CPU lacks it. */
const tn_int8 *tn_int8_find(const char *name);

#endif
