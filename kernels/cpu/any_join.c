/* Margins around a tensor, and their gradient. Results are contiguous. */
#define TIDE_POLLED
#include "cpu.h"

/* -- filling -- */
static void fill(char *p, int64_t n, size_t size, const void *value) {
    uint64_t v = 0;
    memcpy(&v, value, size);
    if (v == 0) {
        memset(p, 0, (size_t)n * size);
        return;
    }
    switch (size) {
    case 1: memset(p, (int)v, (size_t)n); break;
    case 2:
        for (int64_t i = 0; i < n; i++) ((uint16_t *)(void *)p)[i] = (uint16_t)v;
        break;
    case 4:
        for (int64_t i = 0; i < n; i++) ((uint32_t *)(void *)p)[i] = (uint32_t)v;
        break;
    default:
        for (int64_t i = 0; i < n; i++) ((uint64_t *)(void *)p)[i] = v;
        break;
    }
}

/* -- pad: per axis, a map from each position of the result to one of the input, -1 for the constant
 * -- */
static int64_t source_of(int mode, int64_t i, int64_t n) {
    if (i >= 0 && i < n) return i;
    if (mode == TIDE_MARGIN_constant || n == 0) return -1;
    if (mode == TIDE_MARGIN_edge) return i < 0 ? 0 : n - 1;
    if (n == 1) return 0;
    const int reflect = mode == TIDE_MARGIN_reflect; /* without the edge, symmetric with it */
    const int64_t period = reflect ? 2 * (n - 1) : 2 * n;
    i = (i % period + period) % period;
    if (i < n) return i;
    return reflect ? period - i : period - 1 - i;
}

typedef struct {
    const tide_buf *x, *y; /* smaller, larger */
    const int64_t *map[TIDE_MAX_RANK];
    size_t size;
    uint64_t value;
} padding;

static tide_status padding_of(padding *p, tide_device *dev, const tide_pairs *width, int mode) {
    int64_t total = 0;
    for (int i = 0; i < p->y->rank; i++) total += p->y->shape[i];
    int64_t *map = tide_scratch(dev, (size_t)(total + 1) * sizeof *map);
    if (!map) return TIDE_ENOMEM;
    for (int i = 0; i < p->y->rank; i++) {
        p->map[i] = map;
        for (int64_t j = 0; j < p->y->shape[i]; j++)
            *map++ = source_of(mode, j - width->v[i][0], p->x->shape[i]);
    }
    p->size = tide_dtype_size(p->y->dtype);
    return TIDE_OK;
}

/* Row `r` of the result (all axes but the last): offset of its source row in elements, -1 if it is
 * all constant. */
static int64_t source_row(const padding *p, int64_t r) {
    int64_t off = 0;
    for (int i = p->y->rank - 2; i >= 0; i--) {
        int64_t s = p->map[i][r % p->y->shape[i]];
        if (s < 0) return -1;
        off += s * p->x->stride[i];
        r /= p->y->shape[i];
    }
    return off;
}

tide_status tide_any_pad(tide_kcall *c);
tide_status tide_any_pad(tide_kcall *c) {
    const tide_pad_attrs *a = c->attrs;
    padding p = {.x = &c->in[0], .y = &c->out[0]};
    int64_t n = tide_buf_numel(p.y);
    if (n == 0) return TIDE_OK;
    int last = p.y->rank - 1;
    if (last < 0) {
        memcpy(p.y->p, p.x->p, tide_dtype_size(p.y->dtype));
        return TIDE_OK;
    }
    TIDE_DO(padding_of(&p, c->dev, &a->pad_width, a->mode));
    tide_value_as(&a->constant_values, p.y->dtype, &p.value);
    int64_t cols = p.y->shape[last], size = (int64_t)p.size, before = a->pad_width.v[last][0],
            middle = p.x->shape[last];
    TIDE_PARALLEL_FOR (n / cols, TIDE_MAX(1, 65536 / cols)) {
        for (int64_t r = lo; r < hi; r++) {
            char *dst = (char *)p.y->p + r * cols * size;
            int64_t off = source_row(&p, r);
            if (off < 0) {
                fill(dst, cols, p.size, &p.value);
                continue;
            }
            const char *src = (const char *)p.x->p + off * size;
            for (int64_t j = 0; j < cols; j++) {
                if (j == before && middle > 0) {
                    memcpy(dst + j * size, src, (size_t)(middle * size));
                    j += middle - 1;
                    continue;
                }
                int64_t s = p.map[last][j];
                memcpy(dst + j * size, s < 0 ? (const char *)&p.value : src + s * size, p.size);
            }
        }
    }
    return TIDE_OK;
}

/* The gradient: every element of dy is added where it came from, in order. */
tide_status tide_any_pad_grad_(tide_kcall *c);
tide_status tide_any_pad_grad_(tide_kcall *c) {
    const tide_pad_grad__attrs *a = c->attrs;
    padding p = {.x = &c->out[0], .y = &c->in[0]};
    memset(p.x->p, 0, (size_t)tide_buf_numel(p.x) * tide_dtype_size(p.x->dtype));
    int64_t n = tide_buf_numel(p.y);
    int last = p.y->rank - 1;
    if (n == 0) return TIDE_OK;
    if (last < 0) {
        memcpy(p.x->p, p.y->p, tide_dtype_size(p.y->dtype));
        return TIDE_OK;
    }
    TIDE_DO(padding_of(&p, c->dev, &a->pad_width, (int)a->mode));
    int64_t cols = p.y->shape[last];
    for (int64_t r = 0; r < n / cols; r++) {
        int64_t off = source_row(&p, r);
        if (off < 0) continue;
        for (int64_t j = 0; j < cols; j++) {
            int64_t s = p.map[last][j];
            if (s < 0) continue;
            if (p.y->dtype == TIDE_F32)
                ((float *)p.x->p)[off + s] += ((const float *)p.y->p)[r * cols + j];
            else ((double *)p.x->p)[off + s] += ((const double *)p.y->p)[r * cols + j];
        }
    }
    return TIDE_OK;
}
