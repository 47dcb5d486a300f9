/* Reads positions, labels and ids of any dtype, and finds the first that is out of range. */
#ifndef TIDE_LABELS_H
#define TIDE_LABELS_H

#include "half.h"

static inline int64_t tide_whole_float(float v) {
    return v >= -0x1p62f && v <= 0x1p62f && (float)(int64_t)v == v ? (int64_t)v : INT64_MIN;
}
/* Element i of a contiguous buffer as an integer; a float that is not whole gives INT64_MIN, which
 * is in no range. */
static inline int64_t tide_label_at(const tide_buf *b, int64_t i) {
    switch (b->dtype) {
    case TIDE_I64: return ((const int64_t *)b->p)[i];
    case TIDE_I32: return ((const int32_t *)b->p)[i];
    case TIDE_U8:
    case TIDE_BOOL: return ((const uint8_t *)b->p)[i];
    case TIDE_I8: return ((const int8_t *)b->p)[i];
    case TIDE_F32: return tide_whole_float(((const float *)b->p)[i]);
    case TIDE_F16:
    case TIDE_BF16: return tide_whole_float(tide_from_half(b->dtype, ((const uint16_t *)b->p)[i]));
    case TIDE_F64: {
        double v = ((const double *)b->p)[i];
        return v >= -0x1p62 && v <= 0x1p62 && (double)(int64_t)v == v ? (int64_t)v : INT64_MIN;
    }
    default: return INT64_MIN;
    }
}

/* Likewise counted from 0; -1 for what is below the base or not whole. */
static inline int64_t tide_label_from(const tide_buf *b, int64_t i, int64_t base) {
    int64_t v;
    if (__builtin_sub_overflow(tide_label_at(b, i), base, &v) || v < 0) return -1;
    return v;
}

static inline double tide_number_at(const tide_buf *b, int64_t i) {
    switch (b->dtype) {
    case TIDE_F32: return ((const float *)b->p)[i];
    case TIDE_F64: return ((const double *)b->p)[i];
    case TIDE_F16:
    case TIDE_BF16: return tide_from_half(b->dtype, ((const uint16_t *)b->p)[i]);
    default: return (double)tide_label_at(b, i);
    }
}

/* Entry `pos` of input `in` is none of the `count` numbers from `base` on. */
static inline tide_status tide_bad_label(tide_kcall *c, int in, int64_t pos, int64_t base,
                                         int64_t count) {
    const int64_t last = (int64_t)((uint64_t)base + (uint64_t)count - 1);
    c->bad = (tide_bad){
        .in = in, .pos = pos, .value = tide_label_at(&c->in[in], pos), .lo = base, .hi = last};
    return TIDE_EINDEX;
}

/* Writes the n labels of input `in`, counted from 0, to out; fails at the first outside base ..
 * base + count - 1. Where skip(i) holds (weight 0, or the label equals `ignore`), out gets -1 and
 * the label is not checked. */
static inline tide_status tide_read_labels(tide_kcall *c, int in, int64_t base, int64_t count,
                                           int64_t ignore, const tide_buf *weight, int64_t n,
                                           int64_t *out) {
    const tide_buf *b = &c->in[in];
    for (int64_t i = 0; i < n; i++) {
        const int64_t raw = tide_label_at(b, i), v = tide_label_from(b, i, base);
        if ((ignore != TIDE_NONE && raw == ignore) ||
            (weight && weight->p && tide_number_at(weight, i) == 0)) {
            out[i] = -1;
            continue;
        }
        if (v < 0 || v >= count) return tide_bad_label(c, in, i, base, count);
        out[i] = v;
    }
    return TIDE_OK;
}

#endif
