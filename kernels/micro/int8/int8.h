/* The inner loops of the integer layers, as one table per instruction set, as micro.h has them for floats.

   Every function gives the same bits on every instruction set: sums are int32 modulo 2^32, an output costs one float32
   multiplication, a clamp, a rounding half to even.  The files of the tables are compiled without contraction to FMA. */
#ifndef TINYNET_INT8_H
#define TINYNET_INT8_H

#include <stdint.h>

typedef struct tn_int8 {
    /* n turns of multiply-accumulates in registers, for measuring the peak; returns how many were done */
    int64_t (*multiply_add)(int64_t n);
} tn_int8;

/* Table of a level by name ("avx2"), or NULL if this build or this CPU lacks it. */
const tn_int8 *tn_int8_find(const char *name);

#endif
