/* AVX-512 with vpdpbusd (Ice Lake, Zen 4 and later). */
#if defined(__x86_64__)
#pragma GCC target("avx512f,avx512vl,avx512bw,avx512dq,avx512vnni,avx2,fma,prefer-vector-width=512")
#define VL 16
#define HAVE_DOT 1
#define LEVEL avx512vnni
#include "table.h"
#else
typedef int tn_empty_int8_avx512vnni;
#endif
