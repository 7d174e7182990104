/* Weights that a file stores in fewer bytes become float32: the inner loops of stored.pxi.

Plain loops: this runs once, at load, and any instruction set is near the speed of memory.  gcc 12 vectorises them from -O3 on. */
#ifndef TN_STORED_H
#define TN_STORED_H
#include <stdint.h>
#include <string.h>

#if defined(__GNUC__) && !defined(__clang__)
#define TN_VECTORISE __attribute__((optimize("O3")))
#else
#define TN_VECTORISE
#endif

/* IEEE 754 half to float32, exactly.  The exponent grows by 127 - 15; infinity and NaN get the highest one.  A denormal half
   m 2^-24 is the difference of two normal floats, 2^-14 (1 + m 2^-10) - 2^-14: denormal operands would be a hundred times slower. */
TN_VECTORISE static void tn_widen(const uint16_t *restrict x, float *restrict y, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        uint32_t half = x[i], exponent = half & 0x7c00, bits = (half & 0x7fff) << 13, denormal = bits + (113u << 23);
        float f;
        memcpy(&f, &denormal, sizeof f);
        f -= 0x1p-14f;
        memcpy(&denormal, &f, sizeof f);
        bits = exponent == 0 ? denormal : bits + ((exponent == 0x7c00 ? 224u : 112u) << 23);
        bits |= (half & 0x8000) << 16;
        memcpy(&y[i], &bits, sizeof f);
    }
}

/* [rows][16] int8 times the 16 scales. */
TN_VECTORISE static void tn_scale_rows(const int8_t *restrict x, const float *restrict scale, float *restrict y, int64_t rows)
{
    float s[16];
    memcpy(s, scale, sizeof s);
    for (; rows > 0; rows--, x += 16, y += 16)
        for (int i = 0; i < 16; i++)
            y[i] = (float)x[i] * s[i];
}
#endif
