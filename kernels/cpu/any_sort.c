/* Sorting, selection of the largest, search in a sorted sequence.
 *
 * Elements become unsigned keys that rise with them (NaN above all, -0 equal to 0), so that one
 * stable sort serves every dtype: insertion for short lines, radix by 8 or 11 bits for long ones.
 */
#define TIDE_POLLED
#include "cpu.h"

typedef struct {
    uint64_t key;
    int64_t at;
} entry;
typedef struct { /* for keys of at most 32 bits, in lines that are not longer than that */
    uint32_t key, at;
} short_entry;

enum { SHORT = 48 };

static inline uint64_t float_key(uint64_t bits, uint64_t sign) {
    if (bits == sign) bits = 0;
    return bits & sign ? ~bits & (2 * sign - 1) : bits | sign;
}
static inline uint64_t key_as(const void *p, int dtype, int64_t i) {
    uint64_t u = 0;
    switch (dtype) {
    case TIDE_F32: {
        float v = ((const float *)p)[i];
        uint32_t b;
        memcpy(&b, &v, 4);
        return v != v ? UINT32_MAX : float_key(b, 0x80000000u);
    }
    case TIDE_F64: {
        double v = ((const double *)p)[i];
        memcpy(&u, &v, 8);
        if (v != v) return UINT64_MAX;
        if (u == 1ull << 63) u = 0;
        return u >> 63 ? ~u : u | 1ull << 63;
    }
    case TIDE_F16:
    case TIDE_BF16: {
        const uint16_t b = ((const uint16_t *)p)[i];
        const int nan = (b & 0x7fff) > (dtype == TIDE_F16 ? 0x7c00 : 0x7f80);
        return nan ? UINT16_MAX : float_key(b, 0x8000);
    }
    case TIDE_I64: return (uint64_t)((const int64_t *)p)[i] ^ 1ull << 63;
    case TIDE_I32: return (uint32_t)((const int32_t *)p)[i] ^ 0x80000000u;
    case TIDE_I8: return (uint8_t)((const int8_t *)p)[i] ^ 0x80u;
    default: return ((const uint8_t *)p)[i];
    }
}

static uint64_t key_of(const tide_buf *x, int64_t i) { return key_as(x->p, x->dtype, i); }

/* A loop for each dtype D, or each size of an element T: the choice stands before the loop. */
#define WITH_D(dtype, ...)  \
    case dtype: {           \
        enum { D = dtype }; \
        __VA_ARGS__;        \
        break;              \
    }
#define EACH_DTYPE(...)            \
    WITH_D(TIDE_F32, __VA_ARGS__)  \
    WITH_D(TIDE_F64, __VA_ARGS__)  \
    WITH_D(TIDE_F16, __VA_ARGS__)  \
    WITH_D(TIDE_BF16, __VA_ARGS__) \
    WITH_D(TIDE_I64, __VA_ARGS__)  \
    WITH_D(TIDE_I32, __VA_ARGS__)  \
    WITH_D(TIDE_I8, __VA_ARGS__)   \
    default: {                     \
        enum { D = TIDE_U8 };      \
        __VA_ARGS__;               \
    }
#define WITH_T(size, type, ...) \
    case size: {                \
        typedef type T;         \
        __VA_ARGS__;            \
        break;                  \
    }
#define EACH_SIZE(...)               \
    WITH_T(1, uint8_t, __VA_ARGS__)  \
    WITH_T(2, uint16_t, __VA_ARGS__) \
    WITH_T(4, uint32_t, __VA_ARGS__) \
    default: {                       \
        typedef uint64_t T;          \
        __VA_ARGS__;                 \
    }

/* Sorts e[n] by the lowest `width` bits of its keys; `spare` holds as many. Where Ctrl-C came, what
 * is in e is of no use. */
#define SORT_ENTRIES(name, E)                                                                 \
    static void name(E *e, E *spare, int64_t n, int width) {                                  \
        enum { MOST = 11 };                                                                   \
        if (n <= SHORT) {                                                                     \
            for (int64_t i = 1; i < n; i++) {                                                 \
                E v = e[i];                                                                   \
                int64_t j = i;                                                                \
                for (; j > 0 && e[j - 1].key > v.key; j--) e[j] = e[j - 1];                   \
                e[j] = v;                                                                     \
            }                                                                                 \
            return;                                                                           \
        }                                                                                     \
        const int bits = n < 4096 ? 8 : MOST, buckets = 1 << bits;                            \
        E *from = e, *to = spare;                                                             \
        for (int shift = 0; shift < width; shift += bits) {                                   \
            int64_t first[1 << MOST], at = 0, most = 0;                                       \
            for (int k = 0; k < buckets; k++) first[k] = 0;                                   \
            TIDE_IN_BLOCKS(i, n) first[from[i].key >> shift & (buckets - 1)]++;               \
            if (tide_stopped()) return;                                                       \
            for (int k = 0; k < buckets; k++) {                                               \
                const int64_t here = first[k];                                                \
                most = TIDE_MAX(most, here);                                                  \
                first[k] = at;                                                                \
                at += here;                                                                   \
            }                                                                                 \
            if (most == n) continue; /* all of them have this digit */                        \
            TIDE_IN_BLOCKS(i, n) to[first[from[i].key >> shift & (buckets - 1)]++] = from[i]; \
            E *swap = from;                                                                   \
            from = to;                                                                        \
            to = swap;                                                                        \
        }                                                                                     \
        if (from != e) memcpy(e, from, (size_t)n * sizeof *e);                                \
    }
SORT_ENTRIES(sort_entries, entry)
SORT_ENTRIES(sort_shorts, short_entry)

/* Every line along the axis sorted, its elements or its positions written. */
#define SORT_LINE(name, E, KEY, AT, sort)                                                    \
    static void name(const tide_buf *x, E *e, const tide_along *s, int64_t first, int width, \
                     int positions, int64_t base, void *out) {                               \
        const size_t size = tide_dtype_size(x->dtype);                                       \
        const int64_t n = s->n, step = s->inner;                                             \
        switch (x->dtype) {                                                                  \
            EACH_DTYPE(TIDE_IN_BLOCKS(j, n) e[j] =                                           \
                           ((E){(KEY)key_as(x->p, D, first + j * step), (AT)j}))             \
        }                                                                                    \
        sort(e, e + n, n, width);                                                            \
        if (tide_stopped()) return;                                                          \
        if (positions) {                                                                     \
            int64_t *y = (int64_t *)out + first;                                             \
            TIDE_IN_BLOCKS(j, n) y[j * step] = tide_wrap_add((int64_t)e[j].at, base);        \
            return;                                                                          \
        }                                                                                    \
        switch (size) {                                                                      \
            EACH_SIZE(TIDE_IN_BLOCKS(j, n)((T *)out)[first + j * step] =                     \
                          ((const T *)x->p)[first + (int64_t)e[j].at * step])                \
        }                                                                                    \
    }
SORT_LINE(sort_line, entry, uint64_t, int64_t, sort_entries)
SORT_LINE(sort_short_line, short_entry, uint32_t, uint32_t, sort_shorts)

static tide_status sort_lines(tide_kcall *c, int64_t axis, int positions, int64_t base) {
    const tide_buf *x = &c->in[0];
    const tide_along s = tide_along_axis(x, axis);
    const int width = 8 * (int)tide_dtype_size(x->dtype);
    if (s.outer * s.inner * s.n == 0) return TIDE_OK;
    const int small = width <= 32 && s.n <= UINT32_MAX;
    const size_t each = small ? sizeof(short_entry) : sizeof(entry);
    const int64_t lines = s.outer * s.inner, grain = TIDE_MAX(1, 8192 / s.n);
    tide_lanes lanes;
    TIDE_DO(tide_lanes_new(c->dev, lines, grain, 2 * (size_t)s.n * each, &lanes));
    TIDE_PARALLEL_FOR (lines, grain) {
        void *e = tide_lane(&lanes, share_->slot);
        for (int64_t i = lo; i < hi && !tide_stopped(); i++) {
            const int64_t first = i / s.inner * s.n * s.inner + i % s.inner;
            if (small) sort_short_line(x, e, &s, first, width, positions, base, c->out[0].p);
            else sort_line(x, e, &s, first, width, positions, base, c->out[0].p);
        }
    }
    return TIDE_OK;
}

TIDE_ANY_KERNEL(sort) { return sort_lines(c, ((const tide_sort_attrs *)c->attrs)->axis, 0, 0); }
TIDE_ANY_KERNEL(argsort) {
    const tide_argsort_attrs *a = c->attrs;
    return sort_lines(c, a->axis, 1, a->base);
}

/* The k largest of a line in falling order: kept in a short list, or by sorting all where k is
 * large. */
TIDE_ANY_KERNEL(top_k) {
    const tide_top_k_attrs *a = c->attrs;
    const tide_buf *x = &c->in[0];
    int64_t n = x->shape[x->rank - 1], k = a->k, size = (int64_t)tide_dtype_size(x->dtype);
    if (k == 0 || tide_buf_numel(x) == 0) return TIDE_OK;
    int64_t lines = tide_buf_numel(x) / n;
    const int64_t grain = TIDE_MAX(1, 8192 / n);
    tide_lanes lanes;
    TIDE_DO(tide_lanes_new(c->dev, lines, grain, (size_t)(k <= SHORT ? k : 2 * n) * sizeof(entry),
                           &lanes));
    TIDE_PARALLEL_FOR (lines, grain) {
        entry *e = tide_lane(&lanes, share_->slot);
        for (int64_t i = lo; i < hi; i++) {
            if (k <= SHORT) {
                int64_t have = 0;
                TIDE_IN_BLOCKS(j, n) {
                    uint64_t key = ~key_of(x, i * n + j);
                    if (have == k && key >= e[k - 1].key) continue;
                    int64_t at = have < k ? have++ : k - 1;
                    for (; at > 0 && e[at - 1].key > key; at--) e[at] = e[at - 1];
                    e[at] = (entry){key, j};
                }
            } else {
                TIDE_IN_BLOCKS(j, n) e[j] = (entry){~key_of(x, i * n + j), j};
                sort_entries(e, e + n, n, 8 * (int)size);
            }
            if (tide_stopped()) break;
            TIDE_IN_BLOCKS(j, k) {
                memcpy((char *)c->out[0].p + (i * k + j) * size,
                       (const char *)x->p + (i * n + e[j].at) * size, (size_t)size);
                ((int64_t *)c->out[1].p)[i * k + j] = tide_wrap_add(e[j].at, a->base);
            }
        }
    }
    return TIDE_OK;
}

TIDE_ANY_KERNEL(searchsorted) {
    const tide_searchsorted_attrs *a = c->attrs;
    const tide_buf *s = &c->in[0], *v = &c->in[1];
    int64_t n = tide_buf_numel(s), *y = c->out[0].p;
    TIDE_PARALLEL_FOR (tide_buf_numel(v), 4096) {
        for (int64_t i = lo; i < hi; i++) {
            uint64_t key = key_of(v, i);
            int64_t l = 0, r = n;
            while (l < r) {
                int64_t m = l + (r - l) / 2;
                uint64_t at = key_of(s, m);
                if (a->side == TIDE_SIDE_right ? at <= key : at < key) l = m + 1;
                else r = m;
            }
            y[i] = tide_wrap_add(l, a->base);
        }
    }
    return TIDE_OK;
}
