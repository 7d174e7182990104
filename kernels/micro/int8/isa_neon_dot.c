/* aarch64 with sdot (Cortex-A55, A75 and later). */
#if defined(__aarch64__)
#pragma GCC target("arch=armv8.2-a+dotprod")
#define VL 4
#define HAVE_DOT 1
#define LEVEL neon_dot
#include "table.h"
#else
typedef int tn_empty_int8_neon_dot;
#endif
