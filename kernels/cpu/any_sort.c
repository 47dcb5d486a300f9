/* Sorting, selection of the largest, search in a sorted sequence.
 *
 * Elements become unsigned keys that rise with them (NaN above all, -0 equal to 0), so that one
 * stable sort serves every dtype. In a short line each element counts how many stand before it;
 * longer ones are sorted by their digits (radix sort), by several threads where they are long.
 * Where values alone are asked for, keys are sorted without their positions and turned back; zeros
 * and NaN, several of which share a key, then get their bits in the order of the line. */
#define TIDE_POLLED
#include "cpu.h"
#include "quick.h"

typedef struct {
    uint64_t key;
    int64_t at;
} entry;
typedef struct { /* for keys of at most 32 bits, in lines that are not longer than that */
    uint32_t key, at;
} short_entry;

enum {
    COUNTED = 128,   /* elements of a line in which each counts those before it */
    LISTED = 48,     /* of the largest, which are kept in a list */
    PIECE = 1 << 15, /* elements that one thread has at a time, at least, */
    PIECES = 16,     /* in a line of so many pieces at most */
    DIGIT = 11,      /* bits that a pass sorts by, */
    SHORT_DIGIT = 8, /* in lines of less than MANY elements */
    MANY = 4096
};

/* -- keys -- */

static inline uint32_t float_key(uint32_t bits, uint32_t sign, int32_t infinity) {
    const uint32_t size = bits & (sign - 1), b = size ? bits : 0;
    const uint32_t key = b & sign ? ~b & (2 * sign - 1) : b | sign;
    return (int32_t)size > infinity ? 2 * sign - 1 : key;
}
static inline uint32_t short_key(const void *p, int dtype, int64_t i) {
    switch (dtype) {
    case TIDE_F32: return float_key(((const uint32_t *)p)[i], 0x80000000u, 0x7f800000);
    case TIDE_F16: return float_key(((const uint16_t *)p)[i], 0x8000, 0x7c00);
    case TIDE_BF16: return float_key(((const uint16_t *)p)[i], 0x8000, 0x7f80);
    case TIDE_I32: return ((const uint32_t *)p)[i] ^ 0x80000000u;
    case TIDE_I8: return ((const uint8_t *)p)[i] ^ 0x80u;
    default: return ((const uint8_t *)p)[i];
    }
}
static inline uint64_t long_key(const void *p, int dtype, int64_t i) {
    if (dtype != TIDE_F64 && dtype != TIDE_I64) return short_key(p, dtype, i);
    const uint64_t sign = 1ull << 63, bits = ((const uint64_t *)p)[i];
    if (dtype == TIDE_I64) return bits ^ sign;
    const uint64_t size = bits & (sign - 1), b = size ? bits : 0, key = b & sign ? ~b : b | sign;
    return (int64_t)size > 0x7ff0000000000000 ? UINT64_MAX : key;
}

/* A loop for each dtype D of short or of long keys: the choice stands before the loop. */
#define WITH_D(dtype, ...)  \
    case dtype: {           \
        enum { D = dtype }; \
        __VA_ARGS__;        \
        break;              \
    }
#define EACH_SHORT(...)            \
    WITH_D(TIDE_F32, __VA_ARGS__)  \
    WITH_D(TIDE_F16, __VA_ARGS__)  \
    WITH_D(TIDE_BF16, __VA_ARGS__) \
    WITH_D(TIDE_I32, __VA_ARGS__)  \
    WITH_D(TIDE_I8, __VA_ARGS__)   \
    default: {                     \
        enum { D = TIDE_U8 };      \
        __VA_ARGS__;               \
    }
#define EACH_LONG(...)            \
    WITH_D(TIDE_F64, __VA_ARGS__) \
    WITH_D(TIDE_I64, __VA_ARGS__) \
    EACH_SHORT(__VA_ARGS__)

/* key[n] of the elements of p from `first` on, `step` apart. */
#define KEYS(name, KEY, EACH, key_of)                                                             \
    static void name(const void *p, int dtype, int64_t first, int64_t step, int64_t n,            \
                     KEY *restrict key) {                                                         \
        switch (dtype) {                                                                          \
            EACH(if (step == 1) for (int64_t j = 0; j < n; j++) key[j] = key_of(p, D, first + j); \
                 else for (int64_t j = 0; j < n; j++) key[j] = key_of(p, D, first + j * step))    \
        }                                                                                         \
    }
KEYS(short_keys, uint32_t, EACH_SHORT, short_key)
KEYS(long_keys, uint64_t, EACH_LONG, long_key)

/* The element that has a key: of zeros the positive one, of NaN any. */
static inline uint32_t short_bits(uint32_t key, int dtype) {
    const uint32_t sign = dtype == TIDE_F32 || dtype == TIDE_I32 ? 0x80000000u
        : dtype == TIDE_I8                                       ? 0x80
        : dtype == TIDE_U8                                       ? 0
                                                                 : 0x8000;
    return key & sign || dtype == TIDE_I32 || dtype == TIDE_I8 || dtype == TIDE_U8 ? key ^ sign
                                                                                   : ~key;
}
static inline uint64_t long_bits(uint64_t key, int dtype) {
    const uint64_t sign = 1ull << 63;
    return key & sign || dtype == TIDE_I64 ? key ^ sign : ~key;
}
static inline void put_short(void *p, int dtype, int64_t i, uint32_t bits) {
    if (dtype == TIDE_F32 || dtype == TIDE_I32) ((uint32_t *)p)[i] = bits;
    else if (dtype == TIDE_F16 || dtype == TIDE_BF16) ((uint16_t *)p)[i] = (uint16_t)bits;
    else ((uint8_t *)p)[i] = (uint8_t)bits;
}
static inline void put_long(void *p, int dtype, int64_t i, uint64_t bits) {
    (void)dtype;
    ((uint64_t *)p)[i] = bits;
}
#define VALUES(name, KEY, EACH, bits_of, put)                                         \
    static void name(const KEY *restrict key, int64_t n, void *restrict p, int dtype, \
                     int64_t first, int64_t step) {                                   \
        switch (dtype) {                                                              \
            EACH(if (step == 1) for (int64_t j = 0; j < n; j++)                       \
                     put(p, D, first + j, bits_of(key[j], D));                        \
                 else for (int64_t j = 0; j < n; j++)                                 \
                     put(p, D, first + j * step, bits_of(key[j], D)))                 \
        }                                                                             \
    }
VALUES(short_values, uint32_t, EACH_SHORT, short_bits, put_short)
VALUES(long_values, uint64_t, EACH_LONG, long_bits, put_long)

/* -- one line -- */

typedef struct {
    const void *x;
    void *y; /* elements of x's dtype, or positions from `base` on */
    int64_t base, first, step, n;
    int dtype, width, positions; /* width: bits of a key */
} line;

/* rank[n] of every key: how many are smaller, or equal and stand before it. Both have room for
 * COUNTED elements. */
#define RANKS(name, T)                                                                             \
    static void name(const T *key, int64_t n, T *rank) {                                           \
        typedef T vector __attribute__((vector_size(32)));                                         \
        enum { LANES = 32 / sizeof(T), VECTORS = 4, BLOCK = VECTORS * LANES };                     \
        for (int64_t b = 0; b < n; b += BLOCK) {                                                   \
            vector mine[VECTORS], r[VECTORS], number[VECTORS];                                     \
            memcpy(mine, key + b, sizeof mine);                                                    \
            for (int q = 0; q < VECTORS; q++)                                                      \
                for (int l = 0; l < LANES; l++) r[q][l] = b, number[q][l] = q * LANES + l;         \
            int64_t j = 0;                                                                         \
            for (; j < b; j++) {                                                                   \
                const vector other = key[j] - (vector){0};                                         \
                for (int q = 0; q < VECTORS; q++) r[q] += (vector)(mine[q] < other);               \
            }                                                                                      \
            for (const int64_t end = TIDE_MIN(n, b + BLOCK); j < end; j++) {                       \
                const vector other = key[j] - (vector){0}, at = (T)(j - b) - (vector){0};          \
                for (int q = 0; q < VECTORS; q++)                                                  \
                    r[q] -= (vector)((other < mine[q]) | ((other == mine[q]) & (at < number[q]))); \
            }                                                                                      \
            for (; j < n; j++) {                                                                   \
                const vector other = key[j] - (vector){0};                                         \
                for (int q = 0; q < VECTORS; q++) r[q] -= (vector)(other < mine[q]);               \
            }                                                                                      \
            memcpy(rank + b, r, sizeof r);                                                         \
        }                                                                                          \
    }
RANKS(short_ranks, int32_t)
RANKS(long_ranks, int64_t)

static inline int64_t piece_of(int64_t n) { return TIDE_MAX(PIECE, TIDE_CEIL_DIV(n, PIECES)); }
/* Numbers that by_digits wants for a line of n. */
static int64_t places_of(int64_t n) { return TIDE_CEIL_DIV(n, piece_of(n)) << DIGIT; }

/* A loop over the part of a line that a thread has, with a look whether Ctrl-C came. */
#define EACH_OF_PIECE(i)                                   \
    for (int64_t i = lo, end_; i < hi && !tide_stopped();) \
        for (end_ = TIDE_MIN(hi, i + TIDE_LOOK); i < end_; i++)

/* Sorts n entries by the lowest `width` bits of their keys; `spare` holds as many, `place`
 * places_of(n). Returns where they are then: e or spare. Where Ctrl-C came they are of no use. */
#define BY_DIGITS(name, E, KEY_OF)                                                           \
    static E *name(E *e, E *spare, int64_t n, int width, int64_t *place) {                   \
        const int bits = n < MANY ? SHORT_DIGIT : DIGIT, digits = 1 << bits;                 \
        const int64_t grain = piece_of(n), pieces = TIDE_CEIL_DIV(n, grain);                 \
        for (int shift = 0; shift < width; shift += bits) {                                  \
            int64_t at = 0, most = 0;                                                        \
            TIDE_PARALLEL_FOR (n, grain) {                                                   \
                int64_t *count = place + chunk * digits;                                     \
                memset(count, 0, (size_t)digits * sizeof *count);                            \
                EACH_OF_PIECE(i) count[KEY_OF(e[i]) >> shift & (digits - 1)]++;              \
            }                                                                                \
            if (tide_stopped()) return e; /* places would lead anywhere */                   \
            for (int d = 0; d < digits; d++) {                                               \
                const int64_t before = at;                                                   \
                for (int64_t p = 0; p < pieces; p++) {                                       \
                    const int64_t here = place[p * digits + d];                              \
                    place[p * digits + d] = at;                                              \
                    at += here;                                                              \
                }                                                                            \
                most = TIDE_MAX(most, at - before);                                          \
            }                                                                                \
            if (most == n) continue; /* all of them have this digit */                       \
            TIDE_PARALLEL_FOR (n, grain) {                                                   \
                int64_t *next = place + chunk * digits;                                      \
                EACH_OF_PIECE(i) spare[next[KEY_OF(e[i]) >> shift & (digits - 1)]++] = e[i]; \
            }                                                                                \
            E *const sorted = spare;                                                         \
            spare = e;                                                                       \
            e = sorted;                                                                      \
        }                                                                                    \
        return e;                                                                            \
    }
#define ITSELF(v) (v)
#define ITS_KEY(v) ((v).key)
BY_DIGITS(short_keys_by_digits, uint32_t, ITSELF)
BY_DIGITS(long_keys_by_digits, uint64_t, ITSELF)
BY_DIGITS(short_by_digits, short_entry, ITS_KEY)
BY_DIGITS(long_by_digits, entry, ITS_KEY)

/* Zeros and NaN of a line whose values are sorted, as they follow each other in it. */
#define PUT_SHARED(name, KEY, key_of)                                                    \
    static int64_t name##_first(const KEY *key, int64_t n, KEY least) {                  \
        int64_t l = 0, r = n;                                                            \
        while (l < r) {                                                                  \
            const int64_t m = l + (r - l) / 2;                                           \
            if (key[m] < least) l = m + 1;                                               \
            else r = m;                                                                  \
        }                                                                                \
        return l;                                                                        \
    }                                                                                    \
    static void name(const line *l, const KEY *key) {                                    \
        const KEY zero = (KEY)1 << (l->width - 1), nan = zero - 1 + zero;                \
        int64_t z = name##_first(key, l->n, zero), w = name##_first(key, l->n, nan);     \
        if (w == l->n && (z == w || key[z] != zero)) return;                             \
        TIDE_IN_BLOCKS(j, l->n) {                                                        \
            const int64_t from = l->first + j * l->step;                                 \
            const KEY k = key_of(l->x, l->dtype, from);                                  \
            if (k == zero || k == nan)                                                   \
                memcpy((char *)l->y +                                                    \
                           (l->first + (k == nan ? w++ : z++) * l->step) * l->width / 8, \
                       (const char *)l->x + from * l->width / 8, (size_t)l->width / 8);  \
        }                                                                                \
    }
PUT_SHARED(short_shared, uint32_t, short_key)
PUT_SHARED(long_shared, uint64_t, long_key)

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

/* Keys alone, n of them, with the help of `spare`, behind which are places_of(n) numbers where n is
 * more than COUNTED; returns where they are then. Lines of at most kind_few are counted. */
static uint64_t *long_sorted(uint64_t *key, uint64_t *spare, int64_t n, int width) {
    return long_keys_by_digits(key, spare, n, width, (int64_t *)(void *)(spare + n));
}
enum { long_few = COUNTED };
#if defined(__AVX2__)
static uint32_t *short_sorted(uint32_t *key, uint32_t *spare, int64_t n, int width) {
    if (width == 32 || n <= COUNTED) return quick_sort(key, spare, n);
    return short_keys_by_digits(key, spare, n, width, (int64_t *)(void *)(spare + n));
}
enum { short_few = 32 };
#else
static uint32_t *short_sorted(uint32_t *key, uint32_t *spare, int64_t n, int width) {
    return short_keys_by_digits(key, spare, n, width, (int64_t *)(void *)(spare + n));
}
enum { short_few = COUNTED };
#endif

#define SORT_LINE(kind, KEY, SIGNED, E, AT)                                                     \
    static void kind##_counted(const line *l) {                                                 \
        KEY key[COUNTED];                                                                       \
        SIGNED rank[COUNTED];                                                                   \
        const int64_t n = l->n;                                                                 \
        kind##_keys(l->x, l->dtype, l->first, l->step, n, key);                                 \
        for (int64_t j = 0; j < n; j++) key[j] ^= (KEY)1 << (8 * sizeof(KEY) - 1);              \
        kind##_ranks((const SIGNED *)key, n, rank);                                             \
        if (l->positions) {                                                                     \
            int64_t *y = (int64_t *)l->y + l->first;                                            \
            for (int64_t j = 0; j < n; j++) y[rank[j] * l->step] = tide_wrap_add(j, l->base);   \
            return;                                                                             \
        }                                                                                       \
        switch (l->width / 8) {                                                                 \
            EACH_SIZE(const T *x = (const T *)l->x + l->first; T *y = (T *)l->y + l->first;     \
                      for (int64_t j = 0; j < n; j++) y[rank[j] * l->step] = x[j * l->step])    \
        }                                                                                       \
    }                                                                                           \
    static void kind##_positions(const line *l, E *e) {                                         \
        enum { SOME = 512 };                                                                    \
        const int64_t n = l->n, grain = piece_of(n);                                            \
        TIDE_PARALLEL_FOR (n, grain) {                                                          \
            KEY key[SOME];                                                                      \
            for (int64_t i = lo; i < hi; i += SOME) {                                           \
                const int64_t m = TIDE_MIN(SOME, hi - i);                                       \
                kind##_keys(l->x, l->dtype, l->first + i * l->step, l->step, m, key);           \
                for (int64_t j = 0; j < m; j++) e[i + j] = (E){key[j], (AT)(i + j)};            \
            }                                                                                   \
        }                                                                                       \
        e = kind##_by_digits(e, e + n, n, l->width, (int64_t *)(void *)(e + 2 * n));            \
        TIDE_PARALLEL_FOR (n, grain) {                                                          \
            int64_t *y = (int64_t *)l->y + l->first;                                            \
            EACH_OF_PIECE(j) y[j * l->step] = tide_wrap_add((int64_t)e[j].at, l->base);         \
        }                                                                                       \
    }                                                                                           \
    static void kind##_line(const line *l, KEY *key) {                                          \
        const int64_t n = l->n, grain = piece_of(n);                                            \
        TIDE_PARALLEL_FOR (n, grain)                                                            \
            kind##_keys(l->x, l->dtype, l->first + lo * l->step, l->step, hi - lo, key + lo);   \
        key = kind##_sorted(key, key + n, n, l->width);                                         \
        TIDE_PARALLEL_FOR (n, grain)                                                            \
            kind##_values(key + lo, hi - lo, l->y, l->dtype, l->first + lo * l->step, l->step); \
        if (!tide_stopped()) kind##_shared(l, key);                                             \
    }                                                                                           \
    static void kind##_sort(const line *l, void *room) {                                        \
        KEY near[2 * COUNTED];                                                                  \
        if (l->n <= (l->positions ? COUNTED : kind##_few)) kind##_counted(l);                   \
        else if (l->positions) kind##_positions(l, room);                                       \
        else kind##_line(l, l->n <= COUNTED ? near : room);                                     \
    }
SORT_LINE(short, uint32_t, int32_t, short_entry, uint32_t)
SORT_LINE(long, uint64_t, int64_t, entry, int64_t)

static tide_status sort_lines(tide_kcall *c, int64_t axis, int positions, int64_t base) {
    const tide_buf *x = &c->in[0];
    const tide_along s = tide_along_axis(x, axis);
    const int64_t n = s.n, lines = s.outer * s.inner, grain = tide_even_grain(lines, n, 4096);
    const int width = 8 * (int)tide_dtype_size(x->dtype);
    const int small = width <= 32 && (n <= UINT32_MAX || !positions);
    const size_t each = positions ? small ? sizeof(short_entry) : sizeof(entry) : small ? 4 : 8;
    tide_lanes lanes;
    if (lines * n == 0) return TIDE_OK;
    TIDE_DO(tide_lanes_new(
        c->dev, lines, grain,
        n <= COUNTED ? 1 : 2 * (size_t)n * each + (size_t)places_of(n) * sizeof(int64_t), &lanes));
    TIDE_PARALLEL_FOR (lines, grain) {
        line l = {x->p, c->out[0].p, base, 0, s.inner, n, x->dtype, width, positions};
        void *room = tide_lane(&lanes, share_->slot);
        for (int64_t i = lo; i < hi && !tide_stopped(); i++) {
            l.first = i / s.inner * n * s.inner + i % s.inner;
            if (small) short_sort(&l, room);
            else long_sort(&l, room);
        }
    }
    return TIDE_OK;
}

TIDE_ANY_KERNEL(sort) { return sort_lines(c, ((const tide_sort_attrs *)c->attrs)->axis, 0, 0); }
TIDE_ANY_KERNEL(argsort) {
    const tide_argsort_attrs *a = c->attrs;
    return sort_lines(c, a->axis, 1, a->base);
}

/* -- the largest -- */

/* A key takes its place in a falling list of at most k, of which there are `have`: behind those
 * that are equal. Returns how many there are then. */
static inline int64_t listed(entry *list, int64_t have, int64_t k, uint64_t key, int64_t at) {
    if (have == k && key <= list[k - 1].key) return have;
    int64_t i = have < k ? have++ : k - 1;
    for (; i > 0 && list[i - 1].key < key; i--) list[i] = list[i - 1];
    list[i] = (entry){key, at};
    return have;
}
/* The k largest of n elements of p from `first` on, whose numbers begin at `number`, in falling
 * order; returns how many there are. Most elements are only compared with the last of the list. */
#define LARGEST(name, KEY, keys)                                                               \
    static int64_t name(const void *p, int dtype, int64_t first, int64_t n, int64_t number,    \
                        int64_t k, entry *list) {                                              \
        enum { SOME = 512, TOGETHER = 32 };                                                    \
        int64_t have = 0;                                                                      \
        for (int64_t i = 0; i < n && tide_look_at(i); i += SOME) {                             \
            KEY key[SOME];                                                                     \
            const int64_t m = TIDE_MIN(SOME, n - i);                                           \
            keys(p, dtype, first + i, 1, m, key);                                              \
            for (int64_t j0 = 0; j0 < m; j0 += TOGETHER) {                                     \
                const int64_t end = TIDE_MIN(m, j0 + TOGETHER);                                \
                if (have == k && end == j0 + TOGETHER) {                                       \
                    const KEY least = (KEY)list[k - 1].key;                                    \
                    KEY more = 0;                                                              \
                    for (int64_t j = 0; j < TOGETHER; j++) more |= (KEY)(key[j0 + j] > least); \
                    if (!more) continue;                                                       \
                }                                                                              \
                for (int64_t j = j0; j < end; j++)                                             \
                    have = listed(list, have, k, key[j], number + i + j);                      \
            }                                                                                  \
        }                                                                                      \
        return have;                                                                           \
    }
LARGEST(short_largest, uint32_t, short_keys)
LARGEST(long_largest, uint64_t, long_keys)

static void write_largest(tide_kcall *c, int64_t number, const entry *list) {
    const tide_top_k_attrs *a = c->attrs;
    const tide_buf *x = &c->in[0];
    const int64_t n = x->shape[x->rank - 1], k = a->k, size = (int64_t)tide_dtype_size(x->dtype);
    int64_t *at = (int64_t *)c->out[1].p + number * k;
    TIDE_IN_BLOCKS(j, k) {
        memcpy((char *)c->out[0].p + (number * k + j) * size,
               (const char *)x->p + (number * n + list[j].at) * size, (size_t)size);
        at[j] = tide_wrap_add(list[j].at, a->base);
    }
}
/* Of a short line: each element counts those that are larger. */
static void largest_counted(const void *p, int dtype, int64_t first, int64_t n, entry *list) {
    uint32_t key[COUNTED];
    int32_t rank[COUNTED];
    short_keys(p, dtype, first, 1, n, key);
    for (int64_t j = 0; j < n; j++) key[j] ^= INT32_MAX; /* fall, with a sign */
    short_ranks((const int32_t *)key, n, rank);
    for (int64_t j = 0; j < n; j++) list[rank[j]].at = j;
}
/* By lists, those of the pieces of a long line joined in their order. */
static tide_status list_lines(tide_kcall *c, int64_t lines, int64_t n, int64_t k) {
    const tide_buf *x = &c->in[0];
    const int64_t piece = n > 2 * PIECE ? piece_of(n) : n, pieces = TIDE_CEIL_DIV(n, piece);
    const int small = tide_dtype_size(x->dtype) <= 4;
    entry *lists =
        tide_scratch(c->dev, pieces > 1 ? (size_t)(lines * pieces * k) * sizeof *lists : 1);
    if (!lists) return TIDE_ENOMEM;
    TIDE_PARALLEL_FOR (lines *pieces, tide_even_grain(lines * pieces, piece, 4096)) {
        for (int64_t i = lo; i < hi; i++) {
            const int64_t from = i % pieces * piece, m = TIDE_MIN(piece, n - from);
            entry own[COUNTED], *list = pieces > 1 ? lists + i * k : own;
            if (small && n <= COUNTED && k > 1) {
                largest_counted(x->p, x->dtype, i * n, n, own);
                write_largest(c, i, own);
                continue;
            }
            int64_t have = (small ? short_largest : long_largest)(
                x->p, x->dtype, i / pieces * n + from, m, from, k, list);
            if (pieces == 1 && !tide_stopped()) write_largest(c, i, list);
            for (; pieces > 1 && have < k; have++) list[have].at = -1;
        }
    }
    for (int64_t i = 0; pieces > 1 && i < lines && !tide_stopped(); i++) {
        const entry *list = lists + i * pieces * k;
        entry own[LISTED];
        int64_t have = 0;
        for (int64_t j = 0; j < pieces * k; j++)
            if (list[j].at >= 0) have = listed(own, have, k, list[j].key, list[j].at);
        write_largest(c, i, own);
    }
    return TIDE_OK;
}
TIDE_ANY_KERNEL(top_k) {
    const tide_top_k_attrs *a = c->attrs;
    const tide_buf *x = &c->in[0];
    const int64_t n = x->shape[x->rank - 1], k = a->k, numel = tide_buf_numel(x);
    const int width = 8 * (int)tide_dtype_size(x->dtype);
    if (k == 0 || numel == 0) return TIDE_OK;
    const int64_t lines = numel / n, grain = TIDE_MAX(1, 8192 / n);
    if (k <= LISTED) return list_lines(c, lines, n, k);
    tide_lanes lanes;
    TIDE_DO(tide_lanes_new(c->dev, lines, grain,
                           2 * (size_t)n * sizeof(entry) + (size_t)places_of(n) * sizeof(int64_t),
                           &lanes));
    TIDE_PARALLEL_FOR (lines, grain) {
        entry *e = tide_lane(&lanes, share_->slot);
        int64_t *place = (int64_t *)(void *)(e + 2 * n);
        for (int64_t i = lo; i < hi && !tide_stopped(); i++) {
            TIDE_IN_BLOCKS(j, n) e[j] = (entry){~long_key(x->p, x->dtype, i * n + j), j};
            const entry *sorted = long_by_digits(e, e + n, n, width, place);
            if (!tide_stopped()) write_largest(c, i, sorted);
        }
    }
    return TIDE_OK;
}

/* -- search in a sorted sequence -- */
TIDE_ANY_KERNEL(searchsorted) {
    const tide_searchsorted_attrs *a = c->attrs;
    const tide_buf *s = &c->in[0], *v = &c->in[1];
    int64_t n = tide_buf_numel(s), *y = c->out[0].p;
    TIDE_PARALLEL_FOR (tide_buf_numel(v), 4096) {
        for (int64_t i = lo; i < hi; i++) {
            uint64_t key = long_key(v->p, v->dtype, i);
            int64_t l = 0, r = n;
            while (l < r) {
                int64_t m = l + (r - l) / 2;
                uint64_t at = long_key(s->p, s->dtype, m);
                if (a->side == TIDE_SIDE_right ? at <= key : at < key) l = m + 1;
                else r = m;
            }
            y[i] = tide_wrap_add(l, a->base);
        }
    }
    return TIDE_OK;
}
