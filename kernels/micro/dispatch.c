/* The levels of this build, weakest first, and whether this CPU has them.  A level is a table for floats, one for integers,
   and what a dot product changes in that.  `__builtin_cpu_supports` includes the operating system's part (XSAVE of the wide
   registers). */
#include <stddef.h>
#include <string.h>
#if defined(__x86_64__)
#include <cpuid.h>
#elif defined(__linux__)
#include <sys/auxv.h>
#endif
#include "micro.h"
#include "int8/int8.h"

extern const tn_micro tn_micro_scalar;
extern const tn_int8 tn_int8_scalar;
#if defined(__x86_64__)
extern const tn_micro tn_micro_sse2, tn_micro_avx2, tn_micro_avx512;
extern const tn_int8 tn_int8_sse41, tn_int8_avx2, tn_int8_avxvnni, tn_int8_avx512, tn_int8_avx512vnni;
#if defined(TN_TEST_LEVELS)
extern const tn_int8 tn_int8_avxvnni_evex;
#endif

static int has_sse41(void) { return __builtin_cpu_supports("sse4.1") != 0; }
static int has_avx2(void) { return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"); }
static int has_avx512(void)
{
    return has_avx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
           __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq");
}
static int has_avx512vnni(void) { return has_avx512() && __builtin_cpu_supports("avx512vnni"); }
/* CPUID leaf 7, subleaf 1: AVX-VNNI is bit 4 of EAX; gcc 12's __builtin_cpu_supports does not know it. */
static int has_avxvnni(void)
{
    unsigned a, b, c, d;
    return has_avx2() && __get_cpuid_count(7, 1, &a, &b, &c, &d) && (a >> 4 & 1);
}
#elif defined(__aarch64__)
extern const tn_micro tn_micro_neon;
extern const tn_int8 tn_int8_neon, tn_int8_neon_dot;
#if defined(__linux__)
static int has_neon_dot(void) { return (getauxval(AT_HWCAP) >> 20 & 1) != 0; } /* HWCAP_ASIMDDP */
#else
static int has_neon_dot(void) { return 1; } /* every 64-bit Apple CPU since 2019 */
#endif
#elif defined(TN_NEON_32)
extern const tn_int8 tn_int8_neon;
static int has_neon(void) { return (getauxval(AT_HWCAP) >> 12 & 1) != 0; } /* HWCAP_NEON */
#endif

static int always(void) { return 1; }

static const struct {
    const char *name;
    const tn_micro *floats;
    const tn_int8 *integers;
    const tn_int8 *dot;
    int (*usable)(void);
} levels[] = {
    {"scalar", &tn_micro_scalar, &tn_int8_scalar, NULL, always},
#if defined(__x86_64__)
    {"sse2", &tn_micro_sse2, &tn_int8_scalar, NULL, always}, /* bytes want SSE4.1, as every such CPU since 2008 has */
    {"sse4.1", &tn_micro_sse2, &tn_int8_sse41, NULL, has_sse41},
    {"avx2", &tn_micro_avx2, &tn_int8_avx2, NULL, has_avx2},
    {"avxvnni", &tn_micro_avx2, &tn_int8_avx2, &tn_int8_avxvnni, has_avxvnni},
#if defined(TN_TEST_LEVELS)
    {"avxvnni_evex", &tn_micro_avx2, &tn_int8_avx2, &tn_int8_avxvnni_evex, has_avx512vnni},
#endif
    {"avx512", &tn_micro_avx512, &tn_int8_avx512, NULL, has_avx512},
    {"avx512vnni", &tn_micro_avx512, &tn_int8_avx512, &tn_int8_avx512vnni, has_avx512vnni},
#elif defined(__aarch64__)
    {"neon", &tn_micro_neon, &tn_int8_neon, NULL, always},
    {"neon_dot", &tn_micro_neon, &tn_int8_neon, &tn_int8_neon_dot, has_neon_dot},
#elif defined(TN_NEON_32)
    {"neon", &tn_micro_scalar, &tn_int8_neon, NULL, has_neon}, /* NEON takes denormals for zeros: not for floats */
#endif
};

enum { LEVELS = sizeof levels / sizeof levels[0] };

const char *tn_level(int i, int *usable, const char **floats)
{
    if (i < 0 || i >= LEVELS)
        return NULL;
    *usable = levels[i].usable();
    *floats = levels[i].floats->name;
    return levels[i].name;
}

static int find(const char *name)
{
    for (int i = 0; i < LEVELS; i++)
        if (strcmp(levels[i].name, name) == 0)
            return levels[i].usable() ? i : -1;
    return -1;
}

const tn_micro *tn_micro_find(const char *name)
{
    int i = find(name);
    return i < 0 ? NULL : levels[i].floats;
}

const tn_int8 *tn_int8_find(const char *name)
{
    static tn_int8 joined[LEVELS];
    const int i = find(name);
    if (i < 0 || !levels[i].dot)
        return i < 0 ? NULL : levels[i].integers;
    const tn_int8 *dot = levels[i].dot;
    joined[i] = *levels[i].integers;
    joined[i].multiply_add = dot->multiply_add;
    joined[i].gemm8_packed_rows = dot->gemm8_packed_rows;
    joined[i].gemm8_signed = dot->gemm8_signed;
    joined[i].gemm8_byte_pairs = dot->gemm8_byte_pairs;
    joined[i].gemm8 = dot->gemm8;
    joined[i].depthwise = dot->depthwise;
    joined[i].winograd_input = NULL;    /* of words: slower than the dot product of bytes */
    joined[i].winograd_product = NULL;
    joined[i].winograd_output = NULL;
    return &joined[i];
}
