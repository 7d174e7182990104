/* Inner loops of data movement: they know bytes, not numbers.  Nothing here needs more than what every target has. */
#ifndef TINYNET_MOVEMENT_H
#define TINYNET_MOVEMENT_H

#include <stdint.h>
#include <string.h>

/* memcpy of n bytes, without its call for short ones: two (or four) loads that may overlap, then as many stores. */
static inline void tn_move(char *y, const char *x, int64_t n)
{
    typedef struct { char bytes[16]; } chunk;
#define TN_ENDS(type)                                                                                                  \
    do {                                                                                                               \
        type first, last;                                                                                              \
        memcpy(&first, x, sizeof first);                                                                               \
        memcpy(&last, x + n - (int64_t)sizeof last, sizeof last);                                                      \
        memcpy(y, &first, sizeof first);                                                                               \
        memcpy(y + n - (int64_t)sizeof last, &last, sizeof last);                                                      \
    } while (0)
    if (n > 64) {
        memcpy(y, x, (size_t)n);
    } else if (n > 32) {
        chunk a, b, c, d;
        memcpy(&a, x, 16);
        memcpy(&b, x + 16, 16);
        memcpy(&c, x + n - 32, 16);
        memcpy(&d, x + n - 16, 16);
        memcpy(y, &a, 16);
        memcpy(y + 16, &b, 16);
        memcpy(y + n - 32, &c, 16);
        memcpy(y + n - 16, &d, 16);
    } else if (n >= 16) {
        TN_ENDS(chunk);
    } else if (n >= 8) {
        TN_ENDS(uint64_t);
    } else if (n >= 4) {
        TN_ENDS(uint32_t);
    } else if (n >= 2) {
        TN_ENDS(uint16_t);
    } else if (n == 1) {
        *y = *x;
    }
#undef TN_ENDS
}

/* `rows` rows of n bytes.  Short ones that fill y are copied in one piece that is too long: what it writes too much, the next
   row writes again; the last row is exact. */
static inline void tn_rows(char *y, int64_t y_step, const char *x, int64_t x_step, int64_t n, int64_t rows)
{
#define TN_PIECES(type)                                                                                                \
    for (; rows > 1; rows--, x += x_step, y += n) {                                                                    \
        type piece;                                                                                                    \
        memcpy(&piece, x, sizeof piece);                                                                               \
        memcpy(y, &piece, sizeof piece);                                                                               \
    }
    typedef struct { char bytes[16]; } chunk;
    if (y_step == n && x_step >= n && n > 2 && n < 16) {
        if (n < 4)
            TN_PIECES(uint32_t)
        else if (n < 8)
            TN_PIECES(uint64_t)
        else
            TN_PIECES(chunk)
    }
    if (n == 16)
        for (; rows > 0; rows--, x += x_step, y += y_step)
            memcpy(y, x, 16);
    for (; rows > 0; rows--, x += x_step, y += y_step)
        tn_move(y, x, n);
#undef TN_PIECES
}

/* count copies of one element of `item` bytes: what is there already is copied behind itself. */
static inline void tn_repeat(char *y, const char *x, int64_t item, int64_t count)
{
    const int64_t total = item * count;
    if (total <= 0)
        return;
    memcpy(y, x, (size_t)item);
    for (int64_t done = item; done < total;) {
        /* no more than what stays in L1 */
        const int64_t whole = 4096 / item * item, most = done < whole ? done : whole;
        const int64_t n = total - done < most ? total - done : most;
        memcpy(y + done, y, (size_t)n);
        done += n;
    }
}

/* Elements by their size alone, at any address. */
typedef uint8_t tn_item1 __attribute__((may_alias));
typedef uint16_t tn_item2 __attribute__((may_alias, aligned(1)));
typedef uint32_t tn_item4 __attribute__((may_alias, aligned(1)));
typedef uint64_t tn_item8 __attribute__((may_alias, aligned(1)));
typedef uint32_t tn_item16 __attribute__((vector_size(16), may_alias, aligned(1)));

/* Runs `loop(type)` for elements of `item` bytes. */
#define TN_BY_ITEM(item, loop)                                                                                         \
    do {                                                                                                               \
        switch (item) {                                                                                                \
        case 1: loop(tn_item1); break;                                                                                 \
        case 2: loop(tn_item2); break;                                                                                 \
        case 4: loop(tn_item4); break;                                                                                 \
        case 8: loop(tn_item8); break;                                                                                 \
        default: loop(tn_item16);                                                                                      \
        }                                                                                                              \
    } while (0)

/* y[i y_step] = x[i x_step], elements */
static inline void tn_stride(char *y, int64_t y_step, const char *x, int64_t x_step, int64_t item, int64_t n)
{
#define TN_LOOP(type)                                                                                                  \
    for (int64_t i = 0; i < n; i++)                                                                                    \
        ((type *)y)[i * y_step] = ((const type *)x)[i * x_step]
    TN_BY_ITEM(item, TN_LOOP);
#undef TN_LOOP
}

/* y[j ldy + i] = x[i ldx + j] for i < rows, j < columns, elements: the short side of a picture (its channels) is unrolled,
   other shapes go in blocks of which both sides stay in L1. */
static inline void tn_transpose(char *y, int64_t ldy, const char *x, int64_t ldx, int64_t item, int64_t rows, int64_t columns)
{
#define TN_ROWS(type, n)                                                                                               \
    if (rows == n) {                                                                                                   \
        for (int64_t j = 0; j < columns; j++)                                                                          \
            _Pragma("GCC unroll 4") for (int i = 0; i < n; i++)                                                        \
                ((type *)y)[j * ldy + i] = ((const type *)x)[i * ldx + j];                                             \
        return;                                                                                                        \
    }
#define TN_COLUMNS(type, n)                                                                                            \
    if (columns == n) {                                                                                                \
        for (int64_t i = 0; i < rows; i++)                                                                             \
            _Pragma("GCC unroll 4") for (int j = 0; j < n; j++)                                                        \
                ((type *)y)[j * ldy + i] = ((const type *)x)[i * ldx + j];                                             \
        return;                                                                                                        \
    }
#define TN_LOOP(type)                                                                                                  \
    TN_ROWS(type, 2) TN_ROWS(type, 3) TN_ROWS(type, 4) TN_COLUMNS(type, 2) TN_COLUMNS(type, 3) TN_COLUMNS(type, 4)     \
    for (int64_t i0 = 0; i0 < rows; i0 += 16)                                                                          \
        for (int64_t j0 = 0; j0 < columns; j0 += 16)                                                                   \
            for (int64_t j = j0; j < columns && j < j0 + 16; j++)                                                      \
                for (int64_t i = i0; i < rows && i < i0 + 16; i++)                                                     \
                    ((type *)y)[j * ldy + i] = ((const type *)x)[i * ldx + j]
    TN_BY_ITEM(item, TN_LOOP);
#undef TN_LOOP
#undef TN_ROWS
#undef TN_COLUMNS
}

/* y[t] = x[index[t]], rows of `row` bytes, for t < n; negative indices count from the end of the `extent` rows.  Returns 1 if
   one lies outside, for which nothing is read. */
static inline int tn_gather(char *y, const char *x, const void *index, int64_t index_item, int64_t extent, int64_t row, int64_t n)
{
    int status = 0;
#define TN_PICK(move)                                                                                                  \
    for (int64_t t = 0; t < n; t++) {                                                                                  \
        int64_t at = index_item == 8 ? ((const int64_t *)index)[t] : ((const int32_t *)index)[t];                      \
        at += at < 0 ? extent : 0;                                                                                     \
        if (at < 0 || at >= extent)                                                                                    \
            status = 1;                                                                                                \
        else                                                                                                           \
            move;                                                                                                      \
    }
#define TN_LOOP(type) TN_PICK(((type *)y)[t] = ((const type *)x)[at])
    if (row == 1 || row == 2 || row == 4 || row == 8 || row == 16)
        TN_BY_ITEM(row, TN_LOOP);
    else
        TN_PICK(tn_move(y + t * row, x + at * row, row))
#undef TN_LOOP
#undef TN_PICK
    return status;
}

#endif
