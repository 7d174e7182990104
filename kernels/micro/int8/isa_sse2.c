/* x86-64 baseline. */
#if defined(__x86_64__)
#define VL 4
#define LEVEL sse2
#include "table.h"
#else
typedef int tn_empty_int8_sse2;
#endif
