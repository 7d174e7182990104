/* The levels of this build, weakest first, and whether this CPU has them.  `__builtin_cpu_supports` includes the operating
   system's part (XSAVE of the wide registers). */
#include <stddef.h>
#include <string.h>
#include "micro.h"

extern const tn_micro tn_micro_scalar;
#if defined(__x86_64__)
extern const tn_micro tn_micro_sse2, tn_micro_avx2, tn_micro_avx512;

static int has_avx2(void) { return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"); }
static int has_avx512(void)
{
    return has_avx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
           __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq");
}
#elif defined(__aarch64__)
extern const tn_micro tn_micro_neon;
#endif

static int always(void) { return 1; }

static const struct {
    const tn_micro *table;
    int (*usable)(void);
} levels[] = {
    {&tn_micro_scalar, always},
#if defined(__x86_64__)
    {&tn_micro_sse2, always},
    {&tn_micro_avx2, has_avx2},
    {&tn_micro_avx512, has_avx512},
#elif defined(__aarch64__)
    {&tn_micro_neon, always},
#endif
};

enum { LEVELS = sizeof levels / sizeof levels[0] };

const char *tn_micro_level(int i, int *usable)
{
    if (i < 0 || i >= LEVELS)
        return NULL;
    *usable = levels[i].usable();
    return levels[i].table->name;
}

const tn_micro *tn_micro_find(const char *name)
{
    for (int i = 0; i < LEVELS; i++)
        if (strcmp(levels[i].table->name, name) == 0)
            return levels[i].usable() ? levels[i].table : NULL;
    return NULL;
}
