/* The same 256-bit code with the EVEX form of vpdpbusd: where a CPU has AVX-512 and not AVX-VNNI, it is what
   tests avxvnni.  Nothing gains by running it, so that only the builds of developers have it (TINYNET_WERROR). */
#if defined(__x86_64__) && defined(TN_TEST_LEVELS)
#pragma GCC target("avx2,fma,avx512f,avx512vl,avx512vnni,prefer-vector-width=256")
#define VL 8
#define HAVE_DOT 1
#define LEVEL avxvnni_evex
#include "table.h"
#else
typedef int tn_empty_int8_avxvnni_evex;
#endif
