/* The vector vocabulary of the integer tables.  The including file defines VL (32-bit lanes per vector: 1, 4, 8 or 16), says
   with HAVE_DOT (vpdpbusd, sdot) what the target has beyond its vector length, and has chosen the target. */
#include <math.h>
#include <string.h>
#if defined(__x86_64__)
#include <immintrin.h>
#elif defined(__ARM_NEON)
#include <arm_neon.h>
#endif
#if defined(__ARM_NEON) && defined(__arm__)
#include "neon32.h"
#endif

#define INLINE static inline __attribute__((always_inline))
#ifndef UNROLL
#define UNROLL _Pragma("GCC unroll 32")
#endif

typedef int32_t vi __attribute__((vector_size(4 * VL)));
typedef float vf __attribute__((vector_size(4 * VL)));
typedef int32_t vi_any __attribute__((vector_size(4 * VL), aligned(1), may_alias));
typedef float vf_any __attribute__((vector_size(4 * VL), aligned(1), may_alias));

INLINE vi vi_load(const void *p) { return *(const vi_any *)p; }
INLINE void vi_store(void *p, vi v) { *(vi_any *)p = v; }
INLINE vf vf_load(const void *p) { return *(const vf_any *)p; }
INLINE vi vi_set1(int32_t x) { return x - (vi){0}; }
INLINE vf vf_set1(float x) { return x - (vf){0}; }

/* acc + the four products of unsigned bytes of a with signed bytes of b, per lane. */
#if HAVE_DOT && defined(__x86_64__)
#ifndef DOT
#define DOT "vpdpbusd"
#endif
/* As an instruction and not as the intrinsic: gcc 12 moves accumulators to memory and back around that. */
INLINE vi vi_dot(vi acc, vi a, vi b)
{
#if defined(__AVX512VL__)
    __asm__(DOT " %2, %1, %0" : "+v"(acc) : "v"(a), "v"(b));
#else
    __asm__(DOT " %2, %1, %0" : "+x"(acc) : "x"(a), "x"(b));
#endif
    return acc;
}
#endif
