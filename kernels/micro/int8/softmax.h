/* Softmax of rows of bytes through a table of exponentials. */

static uint8_t largest_byte(const uint8_t *x, int64_t n)
{
    uint8_t most = 0;
    int64_t i = 0;
#if VL > 1
    uint8_t block[BLOCK];
    vb v = vb_set1(0);
    for (; i + BLOCK <= n; i += BLOCK)
        v = vb_max(v, vb_load(x + i));
    vb_store(block, v);
    for (int k = 0; k < BLOCK; k++)
        most = block[k] > most ? block[k] : most;
#endif
    for (; i < n; i++)
        most = x[i] > most ? x[i] : most;
    return most;
}

static void softmax_row(const uint8_t *x, uint8_t *y, int64_t n, const float *e, float sum, float levels, int32_t zero)
{
    const vf factor = vf_set1(levels), total = vf_set1(sum), most = vf_set1((float)(255 - zero)), least = vf_set1(0.0f);
    for (int64_t i = 0; i < n; i += BLOCK) {
        const int64_t part = n - i < BLOCK ? n - i : BLOCK;
        float found[BLOCK] = {0};
        uint8_t block[BLOCK];
        vi w[4];
        for (int64_t k = 0; k < part; k++)
            found[k] = e[x[i + k]];
        UNROLL for (int k = 0; k < 4; k++)
            w[k] = vf_to_nearest(vf_within(vf_load(found + k * VL) * factor / total, least, most)) + vi_set1(zero);
        vb_store(block, vi_narrow_within(w, vb_set1(0), vb_set1(255)));
        memcpy(y + i, block, (size_t)part);
    }
}

/* Sums add from first to last, each waiting for the one before: four rows at a time. */
static void softmax(const uint8_t *x, int64_t ldx, uint8_t *y, int64_t ldy, int64_t rows, int64_t n, const float *table,
                    float levels, int32_t zero)
{
    for (int64_t r = 0; r < rows; r += 4) {
        const int64_t some = rows - r < 4 ? rows - r : 4;
        const float *e[4];
        const uint8_t *from[4];
        float sum[4] = {0.0f, 0.0f, 0.0f, 0.0f};
        for (int64_t j = 0; j < 4; j++) {
            from[j] = x + (r + (j < some ? j : 0)) * ldx;
            e[j] = table + 255 - (j < some ? largest_byte(from[j], n) : 255);
        }
        if (some == 1)
            for (int64_t i = 0; i < n; i++)
                sum[0] += e[0][from[0][i]];
        else
            for (int64_t i = 0; i < n; i++)
                UNROLL for (int j = 0; j < 4; j++)
                    sum[j] += e[j][from[j][i]];
        for (int64_t j = 0; j < some; j++)
            softmax_row(from[j], y + (r + j) * ldy, n, e[j], sum[j], levels, zero);
    }
}
