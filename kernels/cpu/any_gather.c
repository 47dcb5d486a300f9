/* Elements taken from, and put at, positions that a tensor names.
 *
 * Invariant: a position out of range is found before anything is read or written with it, and
 * reported through `bad`. Several contributions to one place are added in the order of the
 * positions, whatever the number of threads. */
#define TIDE_POLLED
#include "cpu.h"
#include "half.h"

static tide_status refuse(tide_kcall *c, int in, int64_t pos, int64_t value, int64_t lo,
                          int64_t hi) {
    c->bad = (tide_bad){.in = in, .pos = pos, .value = value, .lo = lo, .hi = hi};
    return TIDE_EINDEX;
}

/* 0-based position, or -1; negative numbers count from the end. */
static inline int64_t resolve(int64_t v, int64_t base, int64_t n) {
    int64_t i = v < 0 ? v + n : tide_wrap_sub(v, base);
    return i >= 0 && i < n ? i : -1;
}

/* r[i] = resolve(v[i]); whether all are within. */
#define RESOLVE(T)                                                                           \
    static int resolve_##T(const T *v, int64_t count, int64_t base, int64_t n, int64_t *r) { \
        int64_t out = 0;                                                                     \
        _Pragma("omp simd reduction(| : out)") for (int64_t i = 0; i < count; i++) {         \
            const int64_t w = (int64_t)v[i], k = w < 0 ? w + n : tide_wrap_sub(w, base);     \
            r[i] = k;                                                                        \
            out |= (k < 0) | (k >= n);                                                       \
        }                                                                                    \
        return !out;                                                                         \
    }
RESOLVE(int64_t)
RESOLVE(int32_t)
RESOLVE(int8_t)
RESOLVE(uint8_t)

static int resolve_run(const tide_buf *b, int64_t first, int64_t count, int64_t base, int64_t n,
                       int64_t *r) {
    switch (b->dtype) {
    case TIDE_I64: return resolve_int64_t((const int64_t *)b->p + first, count, base, n, r);
    case TIDE_I32: return resolve_int32_t((const int32_t *)b->p + first, count, base, n, r);
    case TIDE_I8: return resolve_int8_t((const int8_t *)b->p + first, count, base, n, r);
    default: return resolve_uint8_t((const uint8_t *)b->p + first, count, base, n, r);
    }
}

/* Names the first position of input `in` that is out of range. */
static tide_status refuse_first(tide_kcall *c, int in, int64_t base, int64_t n) {
    int64_t i = 0;
    while (resolve(tide_int_at(&c->in[in], i), base, n) >= 0) i++;
    return refuse(c, in, i, tide_int_at(&c->in[in], i), base, tide_wrap_add(n - 1, base));
}
/* Positions of input `in`, resolved, into work space. */
static tide_status resolve_all(tide_kcall *c, int in, int64_t base, int64_t n, int64_t **out) {
    const tide_buf *b = &c->in[in];
    const int64_t count = tide_buf_numel(b);
    int64_t *r = *out = tide_scratch(c->dev, (size_t)(count + 1) * sizeof *r);
    int wrong = 0;
    if (!r) return TIDE_ENOMEM;
    TIDE_PARALLEL_FOR (count, 1 << 15) {
        if (!resolve_run(b, lo, hi - lo, base, n, r + lo))
            __atomic_store_n(&wrong, 1, __ATOMIC_RELAXED);
    }
    if (tide_stopped()) return TIDE_EINTERRUPT;
    return wrong ? refuse_first(c, in, base, n) : TIDE_OK;
}

/* dst[i] += src[i] in a dtype; bools are joined. */
static void add_into(int dtype, void *dst, const void *src, int64_t n) {
#define ADD(T)                                                                                \
    for (int64_t i = 0; i < n; i++) ((T *)dst)[i] = (T)(((T *)dst)[i] + ((const T *)src)[i]); \
    break
    switch (dtype) {
    case TIDE_F32: ADD(float);
    case TIDE_F64: ADD(double);
    case TIDE_I64: ADD(uint64_t);
    case TIDE_I32: ADD(uint32_t);
    case TIDE_BOOL:
        for (int64_t i = 0; i < n; i++) ((uint8_t *)dst)[i] |= ((const uint8_t *)src)[i];
        break;
    default: ADD(uint8_t);
    }
#undef ADD
}

/* -- take -- */
/* n runs of `run` bytes, from places of src. */
static void take_runs(char *dst, const char *src, const int64_t *at, int64_t n, int64_t run) {
#define TAKE(T)                                                                                    \
    for (int64_t i = 0; i < n; i++) ((T *)(void *)dst)[i] = ((const T *)(const void *)src)[at[i]]; \
    break
    switch (run) {
    case 1: TAKE(uint8_t);
    case 2: TAKE(uint16_t);
    case 4: TAKE(uint32_t);
    case 8: TAKE(uint64_t);
    default:
        for (int64_t i = 0; i < n; i++) memcpy(dst + i * run, src + at[i] * run, (size_t)run);
    }
#undef TAKE
}

enum { SOME = 512 }; /* positions that are resolved together, on their way */

TIDE_ANY_KERNEL(take) {
    const tide_take_attrs *a = c->attrs;
    const tide_buf *x = &c->in[0], *ix = &c->in[1];
    tide_along s = tide_along_axis(x, a->axis);
    const int64_t size = (int64_t)tide_dtype_size(x->dtype), m = tide_buf_numel(ix),
                  run = s.inner * size, grain = TIDE_MAX(1, 65536 / TIDE_MAX(run, 1));
    const char *src = x->p;
    char *dst = c->out[0].p;
    int64_t *all = NULL;
    int wrong = 0;
    if (s.outer == 1) {
        TIDE_PARALLEL_FOR (m, grain) {
            int64_t at[SOME];
            for (int64_t i = lo; i < hi; i += SOME) {
                const int64_t n = TIDE_MIN(SOME, hi - i);
                if (resolve_run(ix, i, n, a->base, s.n, at))
                    take_runs(dst + i * run, src, at, n, run);
                else __atomic_store_n(&wrong, 1, __ATOMIC_RELAXED);
            }
        }
        return wrong ? refuse_first(c, 1, a->base, s.n) : TIDE_OK;
    }
    TIDE_DO(resolve_all(c, 1, a->base, s.n, &all));
    TIDE_PARALLEL_FOR (s.outer *m, grain) {
        for (int64_t i = lo, n; i < hi; i += n) {
            const int64_t o = i / m, k = i - o * m;
            n = TIDE_MIN(hi - i, m - k);
            take_runs(dst + i * run, src + o * s.n * run, all + k, n, run);
        }
    }
    return TIDE_OK;
}

/* y[at[k]] += v[k], `run` elements each, for the places from `first` to `last`, in order. Single
 * elements lie anywhere in memory: they are fetched some steps ahead. */
static void add_rows(int dtype, char *y, const int64_t *at, int64_t m, int64_t run, const char *v,
                     int64_t first, int64_t last) {
    enum { AHEAD = 16 };
    const int64_t size = (int64_t)tide_dtype_size(dtype);
#define ADD_ONES(T, op)                                                      \
    TIDE_IN_BLOCKS(k, m) {                                                   \
        __builtin_prefetch((T *)(void *)y + at[TIDE_MIN(k + AHEAD, m - 1)]); \
        T *to = (T *)(void *)y + at[k];                                      \
        *to = (T)(*to op((const T *)(const void *)v)[k]);                    \
    }                                                                        \
    return
    if (run == 1 && first == 0) switch (dtype) {
        case TIDE_F32: ADD_ONES(float, +);
        case TIDE_F64: ADD_ONES(double, +);
        case TIDE_I64: ADD_ONES(uint64_t, +);
        case TIDE_I32: ADD_ONES(uint32_t, +);
        case TIDE_BOOL: ADD_ONES(uint8_t, |);
        default: ADD_ONES(uint8_t, +);
        }
#undef ADD_ONES
    TIDE_IN_BLOCKS(k, m)
    if (at[k] >= first && at[k] < last)
        add_into(dtype, y + at[k] * run * size, v + k * run * size, run);
}
/* Zeros y, of `places` times `run` elements, and adds the m rows of v to it. Threads have places of
 * their own, so that each place keeps its order. */
static void sum_rows(int dtype, char *y, int64_t places, const int64_t *at, int64_t m, int64_t run,
                     const char *v) {
    enum { PARTS = 16, WORK = 1 << 15 };
    const int64_t bytes = run * (int64_t)tide_dtype_size(dtype);
    if (bytes == 0 || places == 0) return;
    const int64_t parts = run < 16 ? 1 : TIDE_MIN(PARTS, 1 + m * run / WORK),
                  part = TIDE_CEIL_DIV(places, parts);
    if (part == places)
        TIDE_PARALLEL_FOR (places *bytes, 1 << 20) memset(y + lo, 0, (size_t)(hi - lo));
    if (tide_stopped()) return;
    TIDE_PARALLEL_FOR (places, part) {
        if (part < places) memset(y + lo * bytes, 0, (size_t)((hi - lo) * bytes));
        add_rows(dtype, y, at, m, run, v, lo, hi);
    }
}

TIDE_ANY_KERNEL(take_grad_) {
    enum { WIDTH = 256 };
    const tide_take_grad__attrs *a = c->attrs;
    const tide_buf *dy = &c->in[0], *dx = &c->out[0];
    tide_along s = tide_along_axis(dx, a->axis);
    int64_t m = tide_buf_numel(&c->in[1]), size = (int64_t)tide_dtype_size(dx->dtype), *at = NULL;
    TIDE_DO(resolve_all(c, 1, a->base, s.n, &at));
    if (s.outer == 1 && !tide_is_half(dx->dtype)) {
        sum_rows(dx->dtype, dx->p, s.n, at, m, s.inner, dy->p);
        return TIDE_OK;
    }
    tide_zero(dx->p, (size_t)(tide_buf_numel(dx) * size));
    if (tide_is_half(dx->dtype))
        return tide_half_combine(c->dev, TIDE_REDUCTION_add, &s, at, m, dx->dtype, dy->p, dx->p);
    int64_t blocks = TIDE_CEIL_DIV(
        s.inner, WIDTH); /* threads split the inner axis: each place keeps its order */
    TIDE_PARALLEL_FOR (s.outer *blocks,
                       TIDE_MAX(1, 65536 / TIDE_MAX(m * TIDE_MIN(s.inner, WIDTH), 1))) {
        for (int64_t i = lo; i < hi; i++) {
            int64_t o = i / blocks, j = i % blocks * WIDTH, w = TIDE_MIN(s.inner - j, WIDTH);
            TIDE_IN_BLOCKS(k, m)
            add_into(dx->dtype, (char *)dx->p + ((o * s.n + at[k]) * s.inner + j) * size,
                     (const char *)dy->p + ((o * m + k) * s.inner + j) * size, w);
        }
    }
    return TIDE_OK;
}

/* -- take_along_ -- */
/* n elements of neighbouring columns, each from a row of its own. */
static void take_columns(char *dst, const char *src, const int64_t *at, int64_t n, int64_t inner,
                         int64_t size) {
#define TAKE(T)                                                                    \
    for (int64_t i = 0; i < n; i++)                                                \
        ((T *)(void *)dst)[i] = ((const T *)(const void *)src)[at[i] * inner + i]; \
    break
    switch (size) {
    case 1: TAKE(uint8_t);
    case 2: TAKE(uint16_t);
    case 4: TAKE(uint32_t);
    default: TAKE(uint64_t);
    }
#undef TAKE
}
TIDE_ANY_KERNEL(take_along_) {
    const tide_take_along__attrs *a = c->attrs;
    const tide_buf *x = &c->in[0], *y = &c->out[0];
    tide_along s = tide_along_axis(x, a->axis), t = tide_along_axis(y, a->axis);
    const int64_t size = (int64_t)tide_dtype_size(x->dtype),
                  line = t.inner == 1 ? t.n : t.inner; /* elements before the source changes */
    int wrong = 0;
    TIDE_PARALLEL_FOR (t.outer *t.n *t.inner, 16384) {
        int64_t at[SOME];
        for (int64_t i = lo, n; i < hi; i += n) {
            const int64_t row = i / line, from = i - row * line,
                          o = t.inner == 1 ? row : row / TIDE_MAX(t.n, 1);
            const char *src = (const char *)x->p + o * s.n * s.inner * size;
            char *dst = (char *)y->p + i * size;
            n = TIDE_MIN(TIDE_MIN(hi - i, line - from), SOME);
            if (!resolve_run(&c->in[1], i, n, a->base, s.n, at))
                __atomic_store_n(&wrong, 1, __ATOMIC_RELAXED);
            else if (t.inner == 1) take_runs(dst, src, at, n, size);
            else take_columns(dst, src + from * size, at, n, s.inner, size);
        }
    }
    return wrong ? refuse_first(c, 1, a->base, s.n) : TIDE_OK;
}

TIDE_ANY_KERNEL(take_along_grad_) {
    const tide_take_along_grad__attrs *a = c->attrs;
    const tide_buf *dy = &c->in[0], *dx = &c->out[0];
    tide_along s = tide_along_axis(dx, a->axis), t = tide_along_axis(dy, a->axis);
    int64_t size = (int64_t)tide_dtype_size(dx->dtype), *at = NULL;
    TIDE_DO(resolve_all(c, 1, a->base, s.n, &at));
    if (tide_is_half(dx->dtype))
        return tide_half_add_along(c->dev, &s, at, t.n, dx->dtype, dy->p, dx->p);
    tide_zero(dx->p, (size_t)(tide_buf_numel(dx) * size));
    TIDE_PARALLEL_FOR (t.outer, TIDE_MAX(1, 16384 / TIDE_MAX(t.n * t.inner, 1))) {
        for (int64_t o = lo; o < hi; o++)
            for (int64_t k = 0; k < t.n; k++)
                for (int64_t j = 0, i = (o * t.n + k) * t.inner; j < t.inner; j++, i++)
                    add_into(dx->dtype, (char *)dx->p + ((o * s.n + at[i]) * s.inner + j) * size,
                             (const char *)dy->p + i * size, 1);
    }
    return TIDE_OK;
}

/* -- positions spelt out over the leading axes -- */

/* Number of the part that row r of `in` names among the leading k axes of `shape`; -1 after filling
 * `bad`. */
static int64_t part_number(tide_kcall *c, int in, int64_t r, int64_t k, const int64_t *shape,
                           int64_t base) {
    int64_t flat = 0;
    for (int64_t j = 0; j < k; j++) {
        int64_t v = tide_int_at(&c->in[in], r * k + j), i = resolve(v, base, shape[j]);
        if (i < 0) {
            refuse(c, in, r * k + j, v, base, tide_wrap_add(shape[j] - 1, base));
            return -1;
        }
        flat = flat * shape[j] + i;
    }
    return flat;
}
static int64_t product(const int64_t *shape, int64_t from, int64_t to) {
    int64_t n = 1;
    for (int64_t i = from; i < to; i++) n *= shape[i];
    return n;
}

/* part_number of all rows of `in`, in work space. */
static tide_status part_numbers(tide_kcall *c, int in, int64_t rows, int64_t k,
                                const int64_t *shape, int64_t base, int64_t **out) {
    if (k == 1) return resolve_all(c, in, base, shape[0], out);
    int64_t *at = *out = tide_scratch(c->dev, (size_t)(rows + 1) * sizeof *at);
    if (!at) return TIDE_ENOMEM;
    TIDE_IN_BLOCKS(r, rows)
    if ((at[r] = part_number(c, in, r, k, shape, base)) < 0) return TIDE_EINDEX;
    return tide_stopped() ? TIDE_EINTERRUPT : TIDE_OK;
}

TIDE_ANY_KERNEL(gather_nd) {
    const tide_gather_nd_attrs *a = c->attrs;
    const tide_buf *x = &c->in[0], *ix = &c->in[1];
    int64_t k = ix->shape[ix->rank - 1], rows = product(ix->shape, 0, ix->rank - 1);
    int64_t run = product(x->shape, k, x->rank) * (int64_t)tide_dtype_size(x->dtype);
    int64_t *at;
    TIDE_DO(part_numbers(c, 1, rows, k, x->shape, a->base, &at));
    TIDE_PARALLEL_FOR (rows, TIDE_MAX(1, 65536 / TIDE_MAX(run, 1)))
        take_runs((char *)c->out[0].p + lo * run, x->p, at + lo, hi - lo, run);
    return TIDE_OK;
}

TIDE_ANY_KERNEL(scatter) {
    const tide_scatter_attrs *a = c->attrs;
    const tide_buf *ix = &c->in[0], *v = &c->in[1], *y = &c->out[0];
    const int64_t k = ix->shape[ix->rank - 1], rows = product(ix->shape, 0, ix->rank - 1),
                  places = product(y->shape, 0, k), run = product(y->shape, k, y->rank);
    int64_t *at;
    TIDE_DO(part_numbers(c, 0, rows, k, y->shape, a->base, &at));
    if (tide_is_half(y->dtype)) {
        const tide_along s = {1, places, run};
        tide_zero(y->p, (size_t)tide_buf_numel(y) * tide_dtype_size(y->dtype));
        return tide_half_combine(c->dev, TIDE_REDUCTION_add, &s, at, rows, y->dtype, v->p, y->p);
    }
    sum_rows(y->dtype, y->p, places, at, rows, run, v->p);
    return TIDE_OK;
}

/* dst = dst and src combined by a reduction of scatter_update. */
static void combine_into(int how, int dtype, void *dst, const void *src, int64_t n) {
#define COMBINE(T, N)                                                             \
    for (int64_t i = 0; i < n; i++) {                                             \
        T *d = (T *)dst + i, s = ((const T *)src)[i];                             \
        if (how == TIDE_REDUCTION_mul) *d = (T)((N)*d * (N)s);                    \
        else if (s != s || (how == TIDE_REDUCTION_max ? s > *d : s < *d)) *d = s; \
    }                                                                             \
    break
    if (how == TIDE_REDUCTION_add) {
        add_into(dtype, dst, src, n);
        return;
    }
    switch (dtype) {
    case TIDE_F32: COMBINE(float, float);
    case TIDE_F64: COMBINE(double, double);
    case TIDE_I64: COMBINE(int64_t, uint64_t);
    case TIDE_I32: COMBINE(int32_t, uint32_t);
    case TIDE_I8: COMBINE(int8_t, uint32_t);
    default: COMBINE(uint8_t, uint32_t);
    }
#undef COMBINE
}

TIDE_ANY_KERNEL(scatter_update) {
    const tide_scatter_update_attrs *a = c->attrs;
    const tide_buf *x = &c->in[0], *ix = &c->in[1], *v = &c->in[2], *y = &c->out[0];
    int64_t k = ix->shape[ix->rank - 1], rows = product(ix->shape, 0, ix->rank - 1);
    int64_t size = (int64_t)tide_dtype_size(y->dtype), run = product(y->shape, k, y->rank) * size;
    int64_t *at;
    TIDE_DO(part_numbers(c, 1, rows, k, y->shape, a->base, &at));
    TIDE_PARALLEL_FOR (tide_buf_numel(y) * size, 1 << 20)
        memcpy((char *)y->p + lo, (const char *)x->p + lo, (size_t)(hi - lo));
    if (a->reduction && tide_is_half(y->dtype)) {
        const tide_along s = {1, product(y->shape, 0, k), run / size};
        return tide_half_combine(c->dev, a->reduction, &s, at, rows, y->dtype, v->p, y->p);
    }
    TIDE_IN_BLOCKS(r, rows) {
        char *to = (char *)y->p + at[r] * run;
        const char *from = (const char *)v->p + r * run;
        if (a->reduction) combine_into(a->reduction, y->dtype, to, from, run / size);
        else memcpy(to, from, (size_t)run);
    }
    return TIDE_OK;
}

/* -- one_hot: the new axis lies between outer and inner positions of x -- */
static void put_one(int dtype, void *p, int64_t i) {
    switch (dtype) {
    case TIDE_F32: ((float *)p)[i] = 1; break;
    case TIDE_F64: ((double *)p)[i] = 1; break;
    case TIDE_I64: ((int64_t *)p)[i] = 1; break;
    case TIDE_I32: ((int32_t *)p)[i] = 1; break;
    case TIDE_F16: ((uint16_t *)p)[i] = 0x3c00; break;
    case TIDE_BF16: ((uint16_t *)p)[i] = 0x3f80; break;
    default: ((uint8_t *)p)[i] = 1; break;
    }
}
TIDE_ANY_KERNEL(one_hot) {
    const tide_one_hot_attrs *a = c->attrs;
    const tide_buf *y = &c->out[0];
    tide_along s = tide_along_axis(y, a->axis);
    tide_zero(y->p, (size_t)tide_buf_numel(y) * tide_dtype_size(y->dtype));
    TIDE_IN_BLOCKS(i, s.outer * s.inner) {
        int64_t v = tide_int_at(&c->in[0], i), k = tide_wrap_sub(v, a->base);
        if (k < -1 || k >= s.n) return refuse(c, 0, i, v, a->base, tide_wrap_add(s.n - 1, a->base));
        if (k >= 0) put_one(y->dtype, y->p, (i / s.inner * s.n + k) * s.inner + i % s.inner);
    }
    return TIDE_OK;
}

/* -- nonzero -- */
static int is_true(const tide_buf *x, int64_t i) {
    switch (x->dtype) {
    case TIDE_F32: return ((const float *)x->p)[i] != 0;
    case TIDE_F64: return ((const double *)x->p)[i] != 0;
    case TIDE_F16:
    case TIDE_BF16: return (((const uint16_t *)x->p)[i] & 0x7fff) != 0;
    default: return tide_int_at(x, i) != 0;
    }
}
TIDE_ANY_KERNEL(flatnonzero) {
    const tide_flatnonzero_attrs *a = c->attrs;
    int64_t n = tide_buf_numel(&c->in[0]), *y = c->out[0].p;
    TIDE_IN_BLOCKS(i, n)
    if (is_true(&c->in[0], i)) *y++ = tide_wrap_add(i, a->base);
    return TIDE_OK;
}
TIDE_ANY_KERNEL(nonzero_) {
    const tide_nonzero__attrs *a = c->attrs;
    const tide_buf *x = &c->in[0];
    int64_t n = tide_buf_numel(x), *y = c->out[0].p;
    TIDE_IN_BLOCKS(i, n) {
        if (!is_true(x, i)) continue;
        int64_t rest = i;
        for (int k = x->rank - 1; k >= 0; rest /= x->shape[k], k--)
            y[k] = tide_wrap_add(rest % x->shape[k], a->base);
        y += x->rank;
    }
    return TIDE_OK;
}

/* -- bincount: weights of halves are summed in float32 -- */
TIDE_ANY_KERNEL(bincount) {
    const tide_bincount_attrs *a = c->attrs;
    const tide_buf *x = &c->in[0], *w = &c->in[1], *y = &c->out[0];
    const int64_t n = tide_buf_numel(x), places = tide_buf_numel(y);
    const int half = tide_is_half(y->dtype);
    const size_t size = half ? sizeof(float) : tide_dtype_size(y->dtype);
    char *sums = half ? tide_scratch(c->dev, (size_t)(places + 1) * size) : y->p;
    if (half && !sums) return TIDE_ENOMEM;
    tide_zero(sums, (size_t)places * size);
    TIDE_IN_BLOCKS(i, n) {
        const int64_t k = tide_wrap_sub(tide_int_at(x, i), a->base);
        if (k < 0 || k >= places) return refuse(c, 0, i, tide_int_at(x, i), a->base, INT64_MAX);
        if (half)
            ((float *)(void *)sums)[k] += tide_from_half(w->dtype, ((const uint16_t *)w->p)[i]);
        else if (w->p && w->dtype == y->dtype)
            add_into(y->dtype, sums + k * (int64_t)size, (const char *)w->p + i * (int64_t)size, 1);
        else /* narrow weights sum as int32 */
            ((uint32_t *)(void *)sums)[k] += w->p ? (uint32_t)tide_int_at(w, i) : 1;
    }
    if (half) tide_half->narrow(y->dtype, places, (const float *)(void *)sums, y->p);
    return TIDE_OK;
}
