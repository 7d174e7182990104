/* aarch64 baseline. */
#if defined(__aarch64__)
#define VL 4
#define LEVEL neon
#include "table.h"
#else
typedef int tn_empty_int8_neon;
#endif
