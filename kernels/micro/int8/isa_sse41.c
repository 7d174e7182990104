/* SSE4.1 (Penryn, Bonnell-class Atoms and later). */
#if defined(__x86_64__)
#pragma GCC target("sse4.1")
#define VL 4
#define LEVEL sse41
#include "table.h"
#else
typedef int tn_empty_int8_sse41;
#endif
