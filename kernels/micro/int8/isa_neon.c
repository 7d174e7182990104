/* aarch64 baseline; on 32-bit ARM, where it is an option of the CPU, the integer table alone. */
#include "int8.h"
#if defined(TN_NEON_32)
#pragma GCC target("fpu=neon")
#endif
#if defined(__aarch64__) || defined(TN_NEON_32)
#define VL 4
#define LEVEL neon
#include "table.h"
#else
typedef int tn_empty_int8_neon;
#endif
