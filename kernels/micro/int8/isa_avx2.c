/* AVX2 without a dot product: exact sums through 16-bit products. */
#if defined(__x86_64__)
#pragma GCC target("avx2,fma")
#define VL 8
#define LEVEL avx2
#include "table.h"
#else
typedef int tn_empty_int8_avx2;
#endif
