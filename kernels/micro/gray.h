/* Convolution of one channel with few filters: vectors along the picture's row.  A tile of the matrix product would use as
   many lanes as there are filters. */

enum { GRAY_VECTORS = VL == 16 ? 2 : 1 };    /* 8 filters' accumulators stay in registers */

/* GRAY_VECTORS vectors of pixels, `step` apart; whole ones, or as far as pixels are `left` in the row. */
INLINE void gray_pixels(const tn_gray *t, int64_t at, int64_t step, int64_t left, const int n, const int whole)
{
    vf acc[TN_GRAY_FILTERS][GRAY_VECTORS];
    tile_part part[GRAY_VECTORS];
    const float *w = t->w;
    UNROLL for (int v = 0; v < GRAY_VECTORS; v++)
        part[v] = tile_part_of(left - v * VL);
    UNROLL for (int i = 0; i < n; i++)
        UNROLL for (int v = 0; v < GRAY_VECTORS; v++)
            acc[i][v] = vf_set1(t->bias ? t->bias[i] : 0.0f);
    for (int64_t r = 0; r < t->runs; r++) {
        const float *x = t->x + at + t->run[2 * r];
        for (int64_t k = 0; k < t->run[2 * r + 1]; k++, x++, w += TN_PANEL)
            UNROLL for (int v = 0; v < GRAY_VECTORS; v++)
            {
                const vf pixels = whole ? vf_load(x + v * step) : tile_read_part(x + v * step, part[v], left - v * VL);
                UNROLL for (int i = 0; i < n; i++)
                    acc[i][v] += pixels * vf_set1(w[i]);
            }
    }
    const vf lo = vf_set1(t->lo), hi = vf_set1(t->hi);
    UNROLL for (int i = 0; i < n; i++)
        UNROLL for (int v = 0; v < GRAY_VECTORS; v++)
        {
            float *y = t->y + i * t->ldy + at + v * step;
            const vf value = vf_clamp(acc[i][v], lo, hi);
            if (whole)
                vf_store(y, value);
            else
                tile_write_part(y, value, part[v]);
        }
}

INLINE void gray_row(const tn_gray *t, const int n)
{
    enum { ALL = GRAY_VECTORS * VL };
    const int64_t step = t->pixels >= ALL ? VL : t->pixels - VL, last = t->pixels > ALL ? t->pixels - ALL : 0;
    if (t->pixels < VL)
        gray_pixels(t, 0, VL, t->pixels, n, 0);
    else                            /* at the end whole vectors again, which begin in what is done already */
        for (int64_t at = 0; at < t->pixels; at += ALL)
            gray_pixels(t, at < last ? at : last, step, 0, n, 1);
}

static void gray(const tn_gray *t)
{
    switch (t->filters) {
    case 1: gray_row(t, 1); break;
    case 2: gray_row(t, 2); break;
    case 3: gray_row(t, 3); break;
    case 4: gray_row(t, 4); break;
    case 5: gray_row(t, 5); break;
    case 6: gray_row(t, 6); break;
    case 7: gray_row(t, 7); break;
    default: gray_row(t, 8); break;
    }
}
