/* Margins around a tensor, and their gradient. Results are contiguous. */
#define TIDE_POLLED
#include "cpu.h"
#include "half.h"

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

TIDE_ANY_KERNEL(pad) {
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

/* -- its gradient: each element of dx is the sum of those of dy that were read from it, in order --
 */

/* Along one axis: the positions of dy that stand for position i of dx, rising, are list[first[i]]
 * to list[first[i + 1] - 1]. */
typedef struct {
    int64_t *first, *list;
} readers;
static tide_status readers_of(tide_device *dev, int mode, int64_t before, int64_t n, int64_t many,
                              readers *r) {
    r->first = tide_scratch(dev, (size_t)(n + 2 + many) * sizeof *r->first);
    if (!r->first) return TIDE_ENOMEM;
    int64_t *at = r->first + 1; /* the next place of each position, which ends as its last */
    r->list = at + n + 1;
    memset(r->first, 0, (size_t)(n + 2) * sizeof *r->first);
    for (int64_t j = 0; j < many; j++) at[source_of(mode, j - before, n) + 1]++;
    for (int64_t i = 0; i < n; i++) at[i + 1] += at[i];
    for (int64_t j = 0; j < many; j++) r->list[at[source_of(mode, j - before, n)]++] = j;
    return TIDE_OK;
}

/* sum[i] += what stands for position i + from of the last axis in a line of dy. */
#define ADD_LINE(name, T, ACC, read)                                                         \
    static void name(int dtype, const void *line, const readers *r, int64_t from, int64_t n, \
                     void *to) {                                                             \
        const T *x = line;                                                                   \
        ACC *sum = to;                                                                       \
        (void)dtype;                                                                         \
        for (int64_t i = 0; i < n; i++)                                                      \
            for (int64_t k = r->first[from + i]; k < r->first[from + i + 1]; k++)            \
                sum[i] += read(x[r->list[k]]);                                               \
    }
#define AS_IT_IS(v) (v)
#define WIDENED(v) tide_from_half(dtype, v)
ADD_LINE(add_float, float, float, AS_IT_IS)
ADD_LINE(add_double, double, double, AS_IT_IS)
ADD_LINE(add_half, uint16_t, float, WIDENED)

/* Steps to the next combination of readers of the leading axes, whose positions in dx are `at`; 0
 * after the last. */
static int next_readers(const readers *r, const int64_t *at, int axes, int64_t *which) {
    for (int i = axes - 1; i >= 0; i--) {
        if (++which[i] < r[i].first[at[i] + 1] - r[i].first[at[i]]) return 1;
        which[i] = 0;
    }
    return 0;
}

TIDE_ANY_KERNEL(pad_grad_) {
    enum { WIDTH = 1024 };
    const tide_pad_grad__attrs *a = c->attrs;
    const tide_buf *dy = &c->in[0], *dx = &c->out[0];
    const int last = dx->rank - 1, half = tide_is_half(dx->dtype);
    const int64_t size = (int64_t)tide_dtype_size(dx->dtype);
    readers r[TIDE_MAX_RANK];
    if (tide_buf_numel(dx) == 0) return TIDE_OK;
    if (last < 0) {
        memcpy(dx->p, dy->p, (size_t)size);
        return TIDE_OK;
    }
    for (int i = 0; i <= last; i++)
        TIDE_DO(readers_of(c->dev, (int)a->mode, a->pad_width.v[i][0], dx->shape[i], dy->shape[i],
                           &r[i]));
    const int64_t cols = dx->shape[last], blocks = TIDE_CEIL_DIV(cols, WIDTH);
    void (*const add)(int, const void *, const readers *, int64_t, int64_t, void *) = half
        ? add_half
        : dx->dtype == TIDE_F32 ? add_float
                                : add_double;
    TIDE_PARALLEL_FOR (tide_buf_numel(dx) / cols * blocks,
                       TIDE_MAX(1, 16384 / TIDE_MIN(cols, WIDTH))) {
        _Alignas(64) double room[WIDTH];
        for (int64_t block = lo; block < hi; block++) {
            const int64_t from = block % blocks * WIDTH, n = TIDE_MIN(cols - from, WIDTH);
            int64_t at[TIDE_MAX_RANK], which[TIDE_MAX_RANK] = {0}, row = block / blocks;
            char *to = (char *)dx->p + (row * cols + from) * size;
            void *sum = half ? (void *)room : to;
            memset(sum, 0, (size_t)n * (half ? sizeof(float) : (size_t)size));
            for (int i = last - 1; i >= 0; i--) at[i] = row % dx->shape[i], row /= dx->shape[i];
            do {
                int64_t line = 0;
                for (int i = 0; i < last; i++)
                    line += r[i].list[r[i].first[at[i]] + which[i]] * dy->stride[i];
                add(dx->dtype, (const char *)dy->p + line * size, &r[last], from, n, sum);
            } while (next_readers(r, at, last, which));
            if (half) tide_half->narrow(dx->dtype, n, sum, (uint16_t *)(void *)to);
        }
    }
    return TIDE_OK;
}
