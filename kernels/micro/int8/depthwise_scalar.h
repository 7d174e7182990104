/* Depthwise convolution of uint8 by int8, one number at a time. */
enum { DW_CHANNELS = 16 };

/* acc += x (w - zero); all 16, or n of them. */
INLINE void dw_tap(uint32_t *acc, const uint8_t *x, const int8_t *w, const int32_t *zero, int64_t n)
{
    if (n == DW_CHANNELS)
        for (int i = 0; i < DW_CHANNELS; i++)
            acc[i] += (uint32_t)(x[i] * (w[i] - zero[i]));
    else
        for (int64_t i = 0; i < n; i++)
            acc[i] += (uint32_t)(x[i] * (w[i] - zero[i]));
}

static void dw_pixel(const tn_q_depthwise *d, int64_t oy, int64_t ox, int64_t c, int64_t n, const int32_t *zero)
{
    const int64_t iy = oy * d->stride_h - d->pad_top, ix = ox * d->stride_w - d->pad_left, at = oy * d->y_row + ox * d->ldy + c;
    const float least = (float)(d->low - d->y_zero), most = (float)(d->high - d->y_zero);
    uint32_t acc[DW_CHANNELS];
    uint8_t outside[DW_CHANNELS];
    memset(outside, d->x_zero, sizeof outside);
    memcpy(acc, d->bias + c, 4 * (size_t)n);
    for (int64_t ky = 0; ky < d->kh; ky++)
        for (int64_t kx = 0; kx < d->kw; kx++) {
            const int64_t y = iy + ky * d->dilation_h, x = ix + kx * d->dilation_w;
            const int inside = y >= 0 && y < d->height && x >= 0 && x < d->width;
            const uint8_t *from = inside ? d->x + y * d->x_row + x * d->ldx + c : outside;
            dw_tap(acc, from, d->w + (ky * d->kw + kx) * d->channels + c, zero, n);
        }
    for (int64_t i = 0; i < n; i++) {
        const float real = (float)(int32_t)acc[i] * d->multiplier[c + i];
        const float clamped = real > least ? real < most ? real : most : least;
        if (d->result == TN_UINT8)
            ((uint8_t *)d->y)[at + i] = (uint8_t)(lrintf(clamped) + d->y_zero);
        else
            memcpy(d->y + 4 * (at + i), d->result == TN_INT32 ? (const void *)&acc[i] : (const void *)&real, 4);
    }
}

static void q_depthwise(const tn_q_depthwise *d)
{
    for (int64_t c = 0; c < d->channels; c += DW_CHANNELS) {
        const int64_t n = d->channels - c < DW_CHANNELS ? d->channels - c : DW_CHANNELS;
        int32_t zero[DW_CHANNELS] = {0};
        if (d->w_zero)
            memcpy(zero, d->w_zero + c, 4 * (size_t)n);
        for (int64_t oy = d->oy0; oy < d->oy1; oy++)
            for (int64_t ox = 0; ox < d->ow; ox++)
                dw_pixel(d, oy, ox, c, n, zero);
    }
}

