/* One output row of a depthwise convolution.

   Channel blocks are the outer loop, so that the kh*kw weight vectors of a block stay in registers along the row, and
   neighbouring output pixels share their input loads.  Rows above and below the picture come as pointers to zeros with
   step 0; columns left and right of it are cut off pixel by pixel. */

/* Pixels [ox0, ox1) of one channel block whose windows lie inside the row.  Constant kh, kw, stride unroll to straight code. */
INLINE int64_t depthwise_inside(const tn_depthwise_row *d, int64_t c, int64_t part, int64_t ox0, int64_t ox1, const int KH,
                                const int KW, const int S, const int PIXELS)
{
    vf w[25], acc[8], in[16];
    const vf bias = part ? vf_load_part(d->bias + c, part) : vf_load(d->bias + c);
    const vf lo = vf_set1(d->epilogue.lo), hi = vf_set1(d->epilogue.hi);
    UNROLL for (int k = 0; k < KH * KW; k++)
        w[k] = part ? vf_load_part(d->w + k * d->ldw + c, part) : vf_load(d->w + k * d->ldw + c);
    int64_t ox = ox0;
    for (; ox + PIXELS <= ox1; ox += PIXELS) {
        UNROLL for (int p = 0; p < PIXELS; p++)
            acc[p] = bias;
        UNROLL for (int ky = 0; ky < KH; ky++)
        {
            const float *x = d->x[ky] + (ox * S - d->pad_left) * d->step[ky] + (d->step[ky] ? c : 0);
            UNROLL for (int j = 0; j < (PIXELS - 1) * S + KW; j++)
                in[j] = part ? vf_load_part(x + j * d->step[ky], part) : vf_load(x + j * d->step[ky]);
            UNROLL for (int kx = 0; kx < KW; kx++)
                UNROLL for (int p = 0; p < PIXELS; p++)
                    acc[p] += in[p * S + kx] * w[ky * KW + kx];
        }
        UNROLL for (int p = 0; p < PIXELS; p++)
        {
            vf v = vf_clamp(acc[p], lo, hi);
            if (part)
                vf_store_part(d->y + (ox + p) * d->ldy + c, v, part);
            else
                vf_store(d->y + (ox + p) * d->ldy + c, v);
        }
    }
    return ox;
}

static void depthwise_pixel(const tn_depthwise_row *d, int64_t c, int64_t part, int64_t ox)
{
    const int64_t x0 = ox * d->stride - d->pad_left;
    vf acc = part ? vf_load_part(d->bias + c, part) : vf_load(d->bias + c);
    for (int64_t ky = 0; ky < d->kh; ky++)
        for (int64_t kx = 0; kx < d->kw; kx++) {
            const int64_t ix = x0 + kx * d->dilation;
            if (ix < 0 || ix >= d->width)
                continue;
            const float *x = d->x[ky] + ix * d->step[ky] + (d->step[ky] ? c : 0), *w = d->w + (ky * d->kw + kx) * d->ldw + c;
            acc += part ? vf_load_part(x, part) * vf_load_part(w, part) : vf_load(x) * vf_load(w);
        }
    acc = vf_clamp(acc, vf_set1(d->epilogue.lo), vf_set1(d->epilogue.hi));
    if (part)
        vf_store_part(d->y + ox * d->ldy + c, acc, part);
    else
        vf_store(d->y + ox * d->ldy + c, acc);
}

INLINE int64_t depthwise_block(const tn_depthwise_row *d, int64_t c, int64_t part, int64_t ox0, int64_t ox1)
{
    if (d->dilation != 1)
        return ox0;
    if (d->kh == 3 && d->kw == 3 && d->stride == 1) {
        ox0 = depthwise_inside(d, c, part, ox0, ox1, 3, 3, 1, 4);
        return depthwise_inside(d, c, part, ox0, ox1, 3, 3, 1, 1);
    }
    if (d->kh == 3 && d->kw == 3 && d->stride == 2) {
        ox0 = depthwise_inside(d, c, part, ox0, ox1, 3, 3, 2, 2);
        return depthwise_inside(d, c, part, ox0, ox1, 3, 3, 2, 1);
    }
    if (d->kh == 5 && d->kw == 5 && d->stride == 1) {
        ox0 = depthwise_inside(d, c, part, ox0, ox1, 5, 5, 1, 4);
        return depthwise_inside(d, c, part, ox0, ox1, 5, 5, 1, 1);
    }
    if (d->kh == 5 && d->kw == 5 && d->stride == 2) {
        ox0 = depthwise_inside(d, c, part, ox0, ox1, 5, 5, 2, 2);
        return depthwise_inside(d, c, part, ox0, ox1, 5, 5, 2, 1);
    }
    return ox0;
}

static void depthwise_row(const tn_depthwise_row *d)
{
    /* ox0: first pixel whose window starts inside; ox1: one past the last whose window ends inside */
    int64_t ox0 = (d->pad_left + d->stride - 1) / d->stride;
    const int64_t room = d->width - ((d->kw - 1) * d->dilation + 1) + d->pad_left;
    int64_t ox1 = room < 0 ? 0 : room / d->stride + 1;
    if (ox0 > d->ow)
        ox0 = d->ow;
    if (ox1 > d->ow)
        ox1 = d->ow;
    for (int64_t c = 0; c < d->channels; c += VL) {
        const int64_t part = d->channels - c < VL ? d->channels - c : 0;
        int64_t ox = 0;
        for (; ox < ox0; ox++)
            depthwise_pixel(d, c, part, ox);
        if (ox < ox1)
            ox = part ? depthwise_block(d, c, part, ox, ox1) : depthwise_block(d, c, 0, ox, ox1);
        for (; ox < d->ow; ox++)
            depthwise_pixel(d, c, part, ox);
    }
    if (d->epilogue.function > TN_CLIP)
        for (int64_t ox = 0; ox < d->ow; ox++)
            unary(d->epilogue.function, d->epilogue.alpha, d->epilogue.beta, d->y + ox * d->ldy, d->y + ox * d->ldy, d->channels);
}
