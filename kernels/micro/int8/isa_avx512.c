/* AVX-512 without a dot product (Skylake-X). */
#if defined(__x86_64__)
#pragma GCC target("avx512f,avx512vl,avx512bw,avx512dq,avx2,fma,prefer-vector-width=512")
#define VL 16
#define LEVEL avx512
#include "table.h"
#else
typedef int tn_empty_int8_avx512;
#endif
