/* Rows by position: embedding tables and their gradients, and the gather of a batch from a data
 * set. */
#define TIDE_POLLED
#include "cpu.h"
#include "half.h"
#include "labels.h"

static int64_t row_size(const tide_buf *b) { /* elements of one row */
    int64_t n = 1;
    for (int i = 1; i < b->rank; i++) n *= b->shape[i];
    return n;
}

/* Positions of n rows in scratch, checked; NULL with *status set. */
static int64_t *positions(tide_kcall *c, int in, int64_t base, int64_t rows, int64_t n,
                          tide_status *status) {
    int64_t *at = tide_scratch(c->dev, (size_t)(n + 1) * sizeof *at);
    *status = at ? tide_read_labels(c, in, base, rows, TIDE_NONE, NULL, n, at) : TIDE_ENOMEM;
    return *status == TIDE_OK ? at : NULL;
}

static void copy_rows(const char *x, const int64_t *at, int64_t n, size_t bytes, char *y) {
    TIDE_PARALLEL_FOR (n, tide_even_grain(n, (int64_t)bytes, 49152)) {
        for (int64_t i = lo; i < hi; i++)
            memcpy(y + (size_t)i * bytes, x + (size_t)at[i] * bytes, bytes);
    }
}

TIDE_ANY_KERNEL(embedding) { /* table, ids */
    const tide_embedding_attrs *a = c->attrs;
    const int64_t n = tide_buf_numel(&c->in[1]);
    tide_status s;
    const int64_t *at = positions(c, 1, a->base, c->in[0].shape[0], n, &s);
    if (at)
        copy_rows(c->in[0].p, at, n, (size_t)row_size(&c->in[0]) * tide_dtype_size(c->in[0].dtype),
                  c->out[0].p);
    return s;
}

TIDE_ANY_KERNEL(embedding_ids_) { /* ids */
    const tide_embedding_ids__attrs *a = c->attrs;
    int64_t *y = c->out[0].p;
    for (int64_t i = 0; i < c->out[0].shape[0]; i++) y[i] = tide_label_from(&c->in[0], i, a->base);
    return TIDE_OK;
}

/* Each thread owns a range of columns or of rows of the table, and adds in the order of the ids. */
#define ADD_ROWS(T)                                                                              \
    do {                                                                                         \
        const T *g = c->in[0].p;                                                                 \
        T *y = c->out[0].p;                                                                      \
        TIDE_PARALLEL_FOR (a->rows, TIDE_MAX(TIDE_CEIL_DIV(a->rows, 8), 262144 / (d + 1) + 1)) { \
            memset(y + lo * d, 0, (size_t)((hi - lo) * d) * sizeof(T));                          \
            for (int64_t i = 0; i < n; i++)                                                      \
                if (at[i] >= lo && at[i] < hi)                                                   \
                    for (int64_t j = 0; j < d; j++) y[at[i] * d + j] += g[i * d + j];            \
        }                                                                                        \
    } while (0)

TIDE_ANY_KERNEL(embedding_grad_) { /* dy, ids */
    const tide_embedding_grad__attrs *a = c->attrs;
    const int64_t n = tide_buf_numel(&c->in[1]), d = row_size(&c->out[0]);
    tide_status s;
    const int64_t *at = positions(c, 1, a->base, a->rows, n, &s);
    if (!at) return s;
    if (tide_is_half(c->in[0].dtype)) {
        const tide_along table = {1, a->rows, d};
        memset(c->out[0].p, 0, (size_t)(a->rows * d) * sizeof(uint16_t));
        return tide_half_combine(c->dev, TIDE_REDUCTION_add, &table, at, n, c->in[0].dtype,
                                 c->in[0].p, c->out[0].p);
    }
    if (c->in[0].dtype == TIDE_F32) ADD_ROWS(float);
    else if (c->in[0].dtype == TIDE_F64) ADD_ROWS(double);
    else return TIDE_DECLINE;
    return TIDE_OK;
}

/* Rows are added in the order of the ids. */
#define SUM_ROWS(T)                                                            \
    do {                                                                       \
        const T *g = s->values.p;                                              \
        T *y = c->out[0].p;                                                    \
        for (int64_t i = 0; i < n; i++)                                        \
            for (int64_t j = 0; j < d; j++) y[ids[i] * d + j] += g[i * d + j]; \
    } while (0)

TIDE_ANY_KERNEL(densify_) { /* ids and rows */
    const tide_sparse *s = c->in[0].p;
    const int64_t *ids = s->ids.p, n = s->ids.shape[0], d = row_size(&c->out[0]);
    const int dtype = c->out[0].dtype;
    if (dtype != TIDE_F32 && dtype != TIDE_F64 && !tide_is_half(dtype)) return TIDE_DECLINE;
    memset(c->out[0].p, 0, (size_t)tide_buf_numel(&c->out[0]) * tide_dtype_size(dtype));
    if (tide_is_half(dtype)) {
        const tide_along table = {1, c->out[0].shape[0], d};
        return tide_half_combine(c->dev, TIDE_REDUCTION_add, &table, ids, n, dtype, s->values.p,
                                 c->out[0].p);
    }
    if (c->out[0].dtype == TIDE_F32) SUM_ROWS(float);
    else SUM_ROWS(double);
    return TIDE_OK;
}

#define SCALED_ROWS(FROM, TO)                                                     \
    do {                                                                          \
        const FROM *x = c->in[0].p;                                               \
        TO *y = c->out[0].p;                                                      \
        const TO scale = (TO)(isnan(a->scale) ? 1 : a->scale),                    \
                 offset = (TO)(isnan(a->offset) ? 0 : a->offset);                 \
        TIDE_PARALLEL_FOR (n, tide_even_grain(n, d, 16384)) {                     \
            for (int64_t i = lo; i < hi; i++) {                                   \
                const FROM *r = x + at[i] * d;                                    \
                TO *o = y + i * d;                                                \
                for (int64_t j = 0; j < d; j++) o[j] = (TO)r[j] * scale + offset; \
            }                                                                     \
        }                                                                         \
    } while (0)
#define SCALED_FROM(FROM)                                          \
    do {                                                           \
        if (c->out[0].dtype == TIDE_F32) SCALED_ROWS(FROM, float); \
        else SCALED_ROWS(FROM, double);                            \
        return TIDE_OK;                                            \
    } while (0)

TIDE_ANY_KERNEL(batch_gather) { /* x, order */
    const tide_batch_gather_attrs *a = c->attrs;
    const int64_t n = a->count, d = row_size(&c->in[0]);
    int64_t *at = tide_scratch(c->dev, (size_t)(n + 1) * sizeof *at);
    if (!at) return TIDE_ENOMEM;
    for (int64_t i = 0; i < n; i++) { /* only the part of order that is asked for is read */
        const int64_t k = tide_wrap_add(tide_wrap_sub(a->first, a->base), i);
        at[i] = tide_label_from(&c->in[1], k, a->base);
        if (at[i] < 0 || at[i] >= c->in[0].shape[0])
            return tide_bad_label(c, 1, k, a->base, c->in[0].shape[0]);
    }
    if (c->in[0].dtype == c->out[0].dtype && isnan(a->scale) && isnan(a->offset)) {
        copy_rows(c->in[0].p, at, n, (size_t)d * tide_dtype_size(c->in[0].dtype), c->out[0].p);
        return TIDE_OK;
    }
    switch (c->in[0].dtype) {
    case TIDE_U8:
    case TIDE_BOOL: SCALED_FROM(uint8_t);
    case TIDE_I8: SCALED_FROM(int8_t);
    case TIDE_I32: SCALED_FROM(int32_t);
    case TIDE_I64: SCALED_FROM(int64_t);
    case TIDE_F32: SCALED_FROM(float);
    case TIDE_F64: SCALED_FROM(double);
    default: return TIDE_DECLINE;
    }
}
