/* Triangles and diagonals of the last two axes. Results are contiguous. */
#define TIDE_POLLED
#include "cpu.h"

static tide_status triangle(const tide_buf *x, const tide_buf *y, int64_t k, int lower) {
    int64_t n = tide_buf_numel(x), size = (int64_t)tide_dtype_size(x->dtype);
    if (n == 0) return TIDE_OK;
    int64_t cols = x->shape[x->rank - 1], rows = x->shape[x->rank - 2];
    k = TIDE_MIN(TIDE_MAX(k, -rows - 1), cols + 1);
    TIDE_PARALLEL_FOR (n / cols, TIDE_MAX(1, 65536 / cols)) {
        for (int64_t r = lo; r < hi; r++) {
            int64_t edge = r % rows + k +
                lower; /* the first column above (lower) or on (upper) the diagonal */
            edge = TIDE_MIN(TIDE_MAX(edge, 0), cols);
            const char *src = (const char *)x->p + r * cols * size;
            char *dst = (char *)y->p + r * cols * size;
            size_t left = (size_t)(edge * size), right = (size_t)((cols - edge) * size);
            if (lower) memcpy(dst, src, left), memset(dst + left, 0, right);
            else memset(dst, 0, left), memcpy(dst + left, src + left, right);
        }
    }
    return TIDE_OK;
}
TIDE_ANY_KERNEL(tril) {
    return triangle(&c->in[0], &c->out[0], ((const tide_tril_attrs *)c->attrs)->k, 1);
}
TIDE_ANY_KERNEL(triu) {
    return triangle(&c->in[0], &c->out[0], ((const tide_triu_attrs *)c->attrs)->k, 0);
}

/* Zeros with the last axis of x on a diagonal of the last two axes. */
TIDE_ANY_KERNEL(diag_embed_) {
    const tide_diag_embed__attrs *a = c->attrs;
    const tide_buf *x = &c->in[0], *y = &c->out[0];
    size_t size = tide_dtype_size(x->dtype);
    memset(y->p, 0, (size_t)tide_buf_numel(y) * size);
    int64_t total = tide_buf_numel(x), n = x->shape[x->rank - 1];
    int64_t cols = y->shape[y->rank - 1], plane = cols * y->shape[y->rank - 2];
    if (total == 0) return TIDE_OK; /* the diagonal may lie anywhere */
    int64_t first = a->offset >= 0 ? a->offset : -a->offset * cols;
    for (int64_t i = 0; i < total; i++)
        memcpy((char *)y->p + (i / n * plane + first + i % n * (cols + 1)) * (int64_t)size,
               (const char *)x->p + i * (int64_t)size, size);
    return TIDE_OK;
}
