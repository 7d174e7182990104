/* Pools and linear resize of bytes. */
#include "pool_max.h"

/* ---- reals: one byte per 32-bit lane */

INLINE vi widen(const uint8_t *p)
{
#if VL == 16
    return (vi)_mm512_cvtepu8_epi32((__m128i)load_16(p));
#elif VL == 8
    return (vi)_mm256_cvtepu8_epi32((__m128i)load_8(p));
#elif VL == 4 && defined(__x86_64__)
    return (vi)_mm_cvtepu8_epi32((__m128i)load_4(p));
#elif VL == 4
    return (vi)vmovl_u16(vget_low_u16(vmovl_u8(vget_low_u8((uint8x16_t)load_4(p)))));
#else
    return (vi){*p};
#endif
}

/* Of lanes between 0 and 255 */
INLINE void store_narrow(uint8_t *p, vi v)
{
#if VL == 16
    _mm_storeu_si128((__m128i *)p, _mm512_cvtepi32_epi8((__m512i)v));
#elif VL == 8
    const __m128i words = _mm_packs_epi32(_mm256_castsi256_si128((__m256i)v), _mm256_extracti128_si256((__m256i)v, 1));
    store_8(p, (b16)_mm_packus_epi16(words, words));
#elif VL == 4 && defined(__x86_64__)
    const __m128i words = _mm_packs_epi32((__m128i)v, (__m128i)v);
    store_4(p, (b16)_mm_packus_epi16(words, words));
#elif VL == 4
    const uint16x4_t words = vmovn_u32((uint32x4_t)v);
    store_4(p, (b16)vcombine_u8(vmovn_u16(vcombine_u16(words, words)), vdup_n_u8(0)));
#else
    *p = (uint8_t)v[0];
#endif
}

/* The same of the first n < VL bytes. */
INLINE vi widen_part(const uint8_t *p, int64_t n)
{
    uint8_t bytes[VL > 1 ? VL : 4] = {0};
    for (int64_t i = 0; i < n; i++)
        bytes[i] = p[i];
    return widen(bytes);
}

INLINE void store_narrow_part(uint8_t *p, vi v, int64_t n)
{
    uint8_t bytes[VL > 1 ? VL : 4];
    store_narrow(bytes, v);
    for (int64_t i = 0; i < n; i++)
        p[i] = bytes[i];
}

/* v clamped, NaN to `least`; rounded half to even */
INLINE vi rounded(vf v, vf least, vf most) { return vf_to_nearest(vf_within(v, least, most)); }

INLINE vf real_of(vi x, vi zero, vf scale) { return __builtin_convertvector(x - zero, vf) * scale; }

/* V vectors of channels; with `part` (and V = 1) only so many channels, fewer than a vector has. */
INLINE void average_pixel(const uint8_t *x, int64_t x_row, int64_t rows, int64_t step, int64_t columns, float count,
                          const tn_average *a, uint8_t *y, const int V, int64_t part)
{
    vf sum[V];
    UNROLL for (int v = 0; v < V; v++)
        sum[v] = (vf){0};
    const vi zero = vi_set1(a->x_zero);
    const vf scale = vf_set1(a->x_scale);
    for (int64_t r = 0; r < rows; r++)
        for (int64_t k = 0; k < columns; k++) {
            const uint8_t *at = x + r * x_row + k * step;
            UNROLL for (int v = 0; v < V; v++)
                sum[v] += real_of(part ? widen_part(at, part) : widen(at + v * VL), zero, scale);
        }
    const vf least = vf_set1((float)-a->shift), most = vf_set1((float)(255 - a->shift));
    UNROLL for (int v = 0; v < V; v++) {
        const vf real = sum[v] / vf_set1(count) / vf_set1(a->y_scale) + vf_set1((float)a->y_zero);
        const vi result = rounded(real, least, most) + vi_set1(a->shift);
        if (part)
            store_narrow_part(y, result, part);
        else
            store_narrow(y + v * VL, result);
    }
}

static void average_windows(const tn_windows *p, const tn_average *a)
{
    const int64_t step = p->dilation * p->ldx, channels = p->channels;
    for (int64_t ox = 0; ox < p->out_width; ox++) {
        const int64_t ix = ox * p->stride - p->pad_left;
        int64_t first, columns, at, counted;
        seen(ix, p->kw, p->dilation, p->width, &first, &columns);
        const uint8_t *x = p->x + (ix + first * p->dilation) * p->ldx;
        uint8_t *y = p->y + ox * p->ldy;
        if (a->counted_rows)
            seen(ix + p->pad_left, p->kw, p->dilation, p->pad_left + p->width + p->pad_right, &at, &counted);
        else
            counted = columns;
        const int64_t count = counted * (a->counted_rows ? a->counted_rows : p->rows);
        const float divisor = (float)(count > 0 ? count : 1);      /* a window where nothing counts gives 0 */
        if (channels < VL) {
            average_pixel(x, p->x_row, p->rows, step, columns, divisor, a, y, 1, channels);
            continue;
        }
        for (at = 0; at + 4 * VL <= channels; at += 4 * VL)
            average_pixel(x + at, p->x_row, p->rows, step, columns, divisor, a, y + at, 4, 0);
        for (; at < channels; at += VL) {
            const int64_t back = at + VL <= channels ? at : channels - VL;
            average_pixel(x + back, p->x_row, p->rows, step, columns, divisor, a, y + back, 1, 0);
        }
    }
}

/* ---- the mean over whole images */

#if VL > 1
typedef uint16_t vh __attribute__((vector_size(4 * VL)));

/* 4 VL V channels.  Of a 16-bit lane, which holds two channels, one sum takes both (modulo 2^16), the other the high one;
   256 bytes do not fill 16 bits.  The result needs no reordering: byte k of a 32-bit lane stays there. */
INLINE void mean_vectors(const uint8_t *x, int64_t ld, int64_t n, int32_t bias, float multiplier, int32_t zero, uint8_t *y,
                         const int V)
{
    vi total[V][4];
    UNROLL for (int v = 0; v < V; v++)
        UNROLL for (int k = 0; k < 4; k++)
            total[v][k] = vi_set1(bias);
    while (n > 0) {
        vh both[V], high[V];
        UNROLL for (int v = 0; v < V; v++)
            both[v] = high[v] = (vh){0};
        const int64_t rows = n < 256 ? n : 256;
        for (int64_t r = 0; r < rows; r++, x += ld)
            UNROLL for (int v = 0; v < V; v++) {
                const vh pair = (vh)vi_load(x + v * 4 * VL);
                both[v] += pair;
                high[v] += pair >> 8;
            }
        n -= rows;
        UNROLL for (int v = 0; v < V; v++) {
            const vi even = (vi)(both[v] - (high[v] << 8)), odd = (vi)high[v];
            const vi low = vi_set1(0xffff);
            total[v][0] += even & low;
            total[v][1] += odd & low;
            total[v][2] += (even >> 16) & low;
            total[v][3] += (odd >> 16) & low;
        }
    }
    const vf least = vf_set1((float)-zero), most = vf_set1((float)(255 - zero));
    UNROLL for (int v = 0; v < V; v++) {
        vi bytes = {0};
        UNROLL for (int k = 0; k < 4; k++)
            bytes |= (rounded(__builtin_convertvector(total[v][k], vf) * vf_set1(multiplier), least, most) + vi_set1(zero)) << 8 * k;
        vi_store(y + v * 4 * VL, bytes);
    }
}
#endif

static void mean(const uint8_t *x, int64_t ld, int64_t n, int64_t channels, int32_t bias, float multiplier, int32_t zero,
                 uint8_t *y)
{
    int64_t at = 0;
#if VL > 1
    for (; at + 16 * VL <= channels; at += 16 * VL)
        mean_vectors(x + at, ld, n, bias, multiplier, zero, y + at, 4);
    for (; at < channels && channels >= 4 * VL; at += 4 * VL) {
        const int64_t back = at + 4 * VL <= channels ? at : channels - 4 * VL;
        mean_vectors(x + back, ld, n, bias, multiplier, zero, y + back, 1);
    }
#endif
    const float least = (float)-zero, most = (float)(255 - zero);
    for (; at < channels; at++) {
        int32_t sum = bias;
        for (int64_t r = 0; r < n; r++)
            sum += x[r * ld + at];
        const float real = (float)sum * multiplier, above = real > least ? real : least;
        y[at] = (uint8_t)(lrintf(above < most ? above : most) + zero);
    }
}

/* ---- linear resize */

static void bilinear(const tn_bilinear *p)
{
    const vf least = vf_set1((float)-p->y_zero), most = vf_set1((float)(255 - p->y_zero));
    const vf y_scale = vf_set1(p->y_scale);
    const vi y_zero = vi_set1(p->y_zero);
    for (int64_t ox = 0; ox < p->out_width; ox++) {
        const int64_t left = p->column[ox], right = p->column[p->out_width + ox];
        const float part_left = p->part[ox], part_right = p->part[p->out_width + ox];
        const vf w0 = vf_set1(part_left * p->part_low), w1 = vf_set1(part_right * p->part_low);
        const vf w2 = vf_set1(part_left * p->part_high), w3 = vf_set1(part_right * p->part_high);
        uint8_t *y = p->y + ox * p->ldy;
        for (int64_t at = 0; at < p->channels; at += VL) {
            /* The rows of reals have room for a whole vector behind them. */
            const int64_t c = at + VL <= p->channels || at == 0 ? at : p->channels - VL;
            vf sum = w0 * vf_load(p->low + left + c);
            sum += w1 * vf_load(p->low + right + c);
            sum += w2 * vf_load(p->high + left + c);
            sum += w3 * vf_load(p->high + right + c);
            const vi result = rounded(sum / y_scale, least, most) + y_zero;
            if (p->channels >= VL)
                store_narrow(y + c, result);
            else
                store_narrow_part(y, result, p->channels);
        }
    }
}
