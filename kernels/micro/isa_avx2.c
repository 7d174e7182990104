/* AVX2 with FMA (Haswell, Zen and later).  setuptools has no flags per file, hence the pragma; it must stand before any header. */
#if defined(__x86_64__)
#pragma GCC target("avx2,fma")
#define VL 8
#define LEVEL avx2
#include "table.h"
#else
typedef int tn_empty_avx2;
#endif
