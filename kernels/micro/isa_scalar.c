/* One float at a time: the meaning of the other tables, and the fallback on any CPU. */
#if defined(__x86_64__)
#pragma GCC optimize("Os")   /* every x86-64 CPU has SSE2: here this is only what tests compare with */
#define UNROLL
#endif
#define VL 1
#define LEVEL scalar
#include "table.h"
