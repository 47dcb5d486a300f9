/* Reductions of integers and bools, truth reductions and positions of extremes for every
 * dtype. */
#define TIDE_POLLED
#include "reduce.h"

/* Of float alone: no other reduction meets halves. */
#define REDUCE_WIDEN(dtype, n, from, to) \
    tide_half->widen(dtype, n, (const void *)(from), (float *)(void *)(to))

/* -- integers: sums wrap at 64 bits -- */
#define ADD(a, x) ((int64_t)((uint64_t)(a) + (uint64_t)(x)))
#define MUL(a, x) ((int64_t)((uint64_t)(a) * (uint64_t)(x)))
#define MAXI(a, x) ((a) > (x) ? (a) : (x))
#define MINI(a, x) ((a) < (x) ? (a) : (x))
#define OR(a, x) ((a) | ((x) != 0))
#define AND(a, x) ((a) & ((x) != 0))
#define KEEP(a, n) (a)

#define WIDE_SUMS(T, tag)                                                          \
    DEFINE_REDUCTION(sum64_##tag, T, int64_t, int64_t, int64_t, 0, ADD, ADD, KEEP) \
    DEFINE_REDUCTION(prod64_##tag, T, int64_t, int64_t, int64_t, 1, MUL, MUL, KEEP)
#define SUMS(T, tag)                                                               \
    WIDE_SUMS(T, tag)                                                              \
    DEFINE_REDUCTION(sum32_##tag, T, int64_t, int64_t, int32_t, 0, ADD, ADD, KEEP) \
    DEFINE_REDUCTION(prod32_##tag, T, int64_t, int64_t, int32_t, 1, MUL, MUL, KEEP)
WIDE_SUMS(int64_t, i64)
SUMS(int32_t, i32)
SUMS(uint8_t, u8)
SUMS(int8_t, i8)
#define EXTREMES(T, tag, least, most)                                \
    DEFINE_REDUCTION(max_##tag, T, T, T, T, least, MAXI, MAXI, KEEP) \
    DEFINE_REDUCTION(min_##tag, T, T, T, T, most, MINI, MINI, KEEP)
EXTREMES(int64_t, i64, INT64_MIN, INT64_MAX)
EXTREMES(int32_t, i32, INT32_MIN, INT32_MAX)
EXTREMES(uint8_t, u8, 0, UINT8_MAX)
EXTREMES(int8_t, i8, INT8_MIN, INT8_MAX)

#define INT_SUM(name, prefix)                                             \
    TIDE_INT_KERNEL(name) {                                               \
        const tide_##name##_attrs *a = c->attrs;                          \
        const tide_buf *x = &c->in[0];                                    \
        const tide_buf *y = &c->out[0];                                   \
        int wide = c->out[0].dtype == TIDE_I64;                           \
        switch (x->dtype) {                                               \
        case TIDE_I64: return prefix##64_i64_run(x, &a->axis, y, c->dev); \
        case TIDE_I32:                                                    \
            return wide ? prefix##64_i32_run(x, &a->axis, y, c->dev)      \
                        : prefix##32_i32_run(x, &a->axis, y, c->dev);     \
        case TIDE_I8:                                                     \
            return wide ? prefix##64_i8_run(x, &a->axis, y, c->dev)       \
                        : prefix##32_i8_run(x, &a->axis, y, c->dev);      \
        default:                                                          \
            return wide ? prefix##64_u8_run(x, &a->axis, y, c->dev)       \
                        : prefix##32_u8_run(x, &a->axis, y, c->dev);      \
        }                                                                 \
    }
INT_SUM(sum, sum)
INT_SUM(prod, prod)

#define INT_EXTREME(name)                                                      \
    TIDE_INT_KERNEL(name) {                                                    \
        const tide_##name##_attrs *a = c->attrs;                               \
        const tide_buf *x = &c->in[0];                                         \
        switch (x->dtype) {                                                    \
        case TIDE_I64: return name##_i64_run(x, &a->axis, &c->out[0], c->dev); \
        case TIDE_I32: return name##_i32_run(x, &a->axis, &c->out[0], c->dev); \
        case TIDE_I8: return name##_i8_run(x, &a->axis, &c->out[0], c->dev);   \
        default: return name##_u8_run(x, &a->axis, &c->out[0], c->dev);        \
        }                                                                      \
    }
INT_EXTREME(max)
INT_EXTREME(min)

#define TRUTHS(T, tag)                                                         \
    DEFINE_REDUCTION(any_##tag, T, uint8_t, uint8_t, uint8_t, 0, OR, OR, KEEP) \
    DEFINE_REDUCTION(all_##tag, T, uint8_t, uint8_t, uint8_t, 1, AND, AND, KEEP)
TRUTHS(float, f32)
TRUTHS(double, f64)
TRUTHS(int64_t, i64)
TRUTHS(int32_t, i32)
TRUTHS(uint8_t, u8)
#define TRUTH(name)                                                            \
    TIDE_ANY_KERNEL(name) {                                                    \
        const tide_##name##_attrs *a = c->attrs;                               \
        const tide_buf *x = &c->in[0];                                         \
        switch (x->dtype) {                                                    \
        case TIDE_F16:                                                         \
        case TIDE_BF16:                                                        \
        case TIDE_F32: return name##_f32_run(x, &a->axis, &c->out[0], c->dev); \
        case TIDE_F64: return name##_f64_run(x, &a->axis, &c->out[0], c->dev); \
        case TIDE_I64: return name##_i64_run(x, &a->axis, &c->out[0], c->dev); \
        case TIDE_I32: return name##_i32_run(x, &a->axis, &c->out[0], c->dev); \
        default: return name##_u8_run(x, &a->axis, &c->out[0], c->dev);        \
        }                                                                      \
    }
TRUTH(any)
TRUTH(all)

/* -- positions of extremes -- */

/* Position of the first extreme; a NaN is more extreme than any number. Along a row, stretches are
 * asked for their extremes in lanes, and the best of them for its place; across columns, as many
 * lines as fit the cache go together. The elements S are seen as T by READ(x, n, room), which may
 * bring n of them into `room`. I: an integer as wide as T. */
/* The one that comes before the other; a NaN before any number. */
#define PREFER(before, a, b) (before(a, b) | ((a) != (a)) ? (a) : (b))
#define POSITION(S, T, I, tag, before, READ)                                               \
    static T tag##_best(const T *x, int64_t n) {                                           \
        enum { LANES = 32 };                                                               \
        T best = x[0], lane[LANES];                                                        \
        if (n < LANES) {                                                                   \
            for (int64_t j = 1; j < n; j++) best = PREFER(before, x[j], best);             \
            return best;                                                                   \
        }                                                                                  \
        _Pragma("omp simd") for (int k = 0; k < LANES; k++) lane[k] = x[k];                \
        for (int64_t j = LANES; j < n; j += LANES) { /* the last steps back to end at n */ \
            const T *v = x + TIDE_MIN(j, n - LANES);                                       \
            _Pragma("omp simd") for (int k = 0; k < LANES; k++) lane[k] =                  \
                PREFER(before, v[k], lane[k]);                                             \
        }                                                                                  \
        _Pragma("omp simd") for (int k = 0; k < 16; k++) lane[k] =                         \
            PREFER(before, lane[k + 16], lane[k]);                                         \
        _Pragma("omp simd") for (int k = 0; k < 8; k++) lane[k] =                          \
            PREFER(before, lane[k + 8], lane[k]);                                          \
        best = lane[0];                                                                    \
        for (int k = 1; k < 8; k++) best = PREFER(before, lane[k], best);                  \
        return best;                                                                       \
    }                                                                                      \
    /* A short row of T: each lane notes its best and the step at which it came. */        \
    static int64_t tag##_short(const T *x, int64_t n) {                                    \
        typedef T some __attribute__((vector_size(32)));                                   \
        typedef I whole __attribute__((vector_size(32)));                                  \
        enum { LANES = 32 / sizeof(T) };                                                   \
        some v, best;                                                                      \
        memcpy(&best, x, sizeof best);                                                     \
        whole at = {0}, nan = (whole)(best != best);                                       \
        I step = 0;                                                                        \
        for (int64_t j = LANES; j < n; j += LANES) { /* the last steps back to end at n */ \
            memcpy(&v, x + TIDE_MIN(j, n - LANES), sizeof v);                              \
            step++;                                                                        \
            const whole more = (whole)before(v, best);                                     \
            best = (some)(((whole)v & more) | ((whole)best & ~more));                      \
            at = (((whole){0} + step) & more) | (at & ~more);                              \
            nan |= (whole)(v != v);                                                        \
        }                                                                                  \
        I any = 0;                                                                         \
        for (int k = 0; k < LANES; k++) any |= nan[k];                                     \
        if (any) return -1;                                                                \
        T top = best[0];                                                                   \
        int64_t from = at[0] == step ? n - LANES : at[0] * (int64_t)LANES;                 \
        for (int k = 1; k < LANES; k++) {                                                  \
            const int64_t here = (at[k] == step ? n - LANES : at[k] * (int64_t)LANES) + k; \
            const int take = before(best[k], top) | ((best[k] == top) & (here < from));    \
            top = take ? best[k] : top;                                                    \
            from = take ? here : from;                                                     \
        }                                                                                  \
        return from;                                                                       \
    }                                                                                      \
    static int64_t tag##_row(const S *x, int64_t n) {                                      \
        enum { SOME = 4096, BLOCK = 32 };                                                  \
        T room[SOME], best = 0;                                                            \
        int64_t from = -1;                                                                 \
        if (n >= 32 / (int64_t)sizeof(T) && n <= 64 * 32 / (int64_t)sizeof(T)) {           \
            const int64_t at = tag##_short(READ(x, n, room), n);                           \
            if (at >= 0) return at;                                                        \
        }                                                                                  \
        for (int64_t j = 0; j < n; j += SOME) {                                            \
            const int64_t m = TIDE_MIN(SOME, n - j);                                       \
            T w = tag##_best(READ(x + j, m, room), m);                                     \
            if (from < 0 || before(w, best) || w != w) best = w, from = j;                 \
            if (w != w) break;                                                             \
        }                                                                                  \
        const int64_t m = TIDE_MIN(SOME, n - from);                                        \
        const T *v = READ(x + from, m, room);                                              \
        const int nan = best != best;                                                      \
        int64_t k = 0;                                                                     \
        for (; k + BLOCK <= m; k += BLOCK) {                                               \
            I hit = 0;                                                                     \
            if (nan)                                                                       \
                for (int q = 0; q < BLOCK; q++) hit |= (I)(v[k + q] != v[k + q]);          \
            else                                                                           \
                for (int q = 0; q < BLOCK; q++) hit |= (I)(v[k + q] == best);              \
            if (hit) break;                                                                \
        }                                                                                  \
        while (nan ? v[k] == v[k] : v[k] != best) k++;                                     \
        return from + k;                                                                   \
    }                                                                                      \
    static void tag(const void *px, tide_along s, int64_t base, int64_t *y) {              \
        enum { WIDTH = 256, STRETCH = 100 }; /* a position within a stretch fits I */      \
        const S *x = px;                                                                   \
        if (s.inner == 1) {                                                                \
            TIDE_PARALLEL_FOR (s.outer, TIDE_MAX(1, 32768 / TIDE_MAX(s.n, 1)))             \
                for (int64_t i = lo; i < hi; i++)                                          \
                    y[i] = tide_wrap_add(tag##_row(x + i * s.n, s.n), base);               \
            return;                                                                        \
        }                                                                                  \
        int64_t blocks = TIDE_CEIL_DIV(s.inner, WIDTH);                                    \
        TIDE_PARALLEL_FOR (s.outer *blocks,                                                \
                           TIDE_MAX(1, 16384 / (s.n * TIDE_MIN(s.inner, WIDTH) + 1))) {    \
            for (int64_t i = lo; i < hi; i++) {                                            \
                int64_t c0 = i % blocks * WIDTH, w = TIDE_MIN(s.inner - c0, WIDTH);        \
                const S *v = x + i / blocks * s.n * s.inner + c0;                          \
                T best[WIDTH], room[WIDTH];                                                \
                I at[WIDTH];                                                               \
                int64_t *out = y + i / blocks * s.inner + c0;                              \
                const T *top = READ(v, w, room);                                           \
                for (int64_t k = 0; k < w; k++) best[k] = top[k], out[k] = base;           \
                for (int64_t j0 = 0; j0 < s.n; j0 += STRETCH) {                            \
                    for (int64_t k = 0; k < w; k++) at[k] = -1;                            \
                    for (int64_t j = j0; j < TIDE_MIN(s.n, j0 + STRETCH); j++) {           \
                        const T *row = READ(v + j * s.inner, w, room);                     \
                        I number = (I)(j - j0);                                            \
                        _Pragma("omp simd") for (int64_t k = 0; k < w; k++) {              \
                            T q = row[k], p = best[k];                                     \
                            int take = (before(q, p) | (q != q)) & (p == p);               \
                            best[k] = take ? q : p;                                        \
                            at[k] = take ? number : at[k];                                 \
                        }                                                                  \
                    }                                                                      \
                    for (int64_t k = 0; k < w; k++)                                        \
                        if (at[k] >= 0) out[k] = tide_wrap_add(j0 + at[k], base);          \
                }                                                                          \
            }                                                                              \
        }                                                                                  \
    }
#define GREATER(a, b) ((a) > (b))
#define SMALLER(a, b) ((a) < (b))
#define AS_IT_IS(x, n, room) ((void)(n), (void)(room), (x))
#define POSITIONS(T, I, tag)                           \
    POSITION(T, T, I, argmax_##tag, GREATER, AS_IT_IS) \
    POSITION(T, T, I, argmin_##tag, SMALLER, AS_IT_IS)
POSITIONS(float, int32_t, f32)
POSITIONS(double, int64_t, f64)
POSITIONS(int64_t, int64_t, i64)
POSITIONS(int32_t, int32_t, i32)
POSITIONS(int8_t, int8_t, i8)
POSITIONS(uint8_t, int8_t, u8)

/* Halves as whole numbers in the same order, equal zeros equal; those of a magnitude above that of
 * infinity are NaN, and become `nan`, which no number is. */
static const int16_t *half_keys(const uint16_t *x, int64_t n, int16_t infinity, int16_t nan,
                                int16_t *room) {
    _Pragma("omp simd") for (int64_t i = 0; i < n; i++) { /* in 16 bits: all of a vector's lanes */
        const int16_t u = (int16_t)x[i], size = u & 0x7fff, sign = (int16_t)(u >> 15);
        const int16_t key = (int16_t)((size ^ sign) - sign);
        room[i] = size > infinity ? nan : key;
    }
    return room;
}
#define MAX_F16(x, n, room) half_keys(x, n, 0x7c00, INT16_MAX, room)
#define MIN_F16(x, n, room) half_keys(x, n, 0x7c00, INT16_MIN, room)
#define MAX_BF16(x, n, room) half_keys(x, n, 0x7f80, INT16_MAX, room)
#define MIN_BF16(x, n, room) half_keys(x, n, 0x7f80, INT16_MIN, room)
POSITION(uint16_t, int16_t, int16_t, argmax_f16, GREATER, MAX_F16)
POSITION(uint16_t, int16_t, int16_t, argmin_f16, SMALLER, MIN_F16)
POSITION(uint16_t, int16_t, int16_t, argmax_bf16, GREATER, MAX_BF16)
POSITION(uint16_t, int16_t, int16_t, argmin_bf16, SMALLER, MIN_BF16)

#define ARG(name)                                             \
    TIDE_ANY_KERNEL(name) {                                   \
        const tide_##name##_attrs *a = c->attrs;              \
        tide_along s = tide_along_axis(&c->in[0], a->axis);   \
        void *x = c->in[0].p, *y = c->out[0].p;               \
        switch (c->in[0].dtype) {                             \
        case TIDE_F32: name##_f32(x, s, a->base, y); break;   \
        case TIDE_F64: name##_f64(x, s, a->base, y); break;   \
        case TIDE_F16: name##_f16(x, s, a->base, y); break;   \
        case TIDE_BF16: name##_bf16(x, s, a->base, y); break; \
        case TIDE_I64: name##_i64(x, s, a->base, y); break;   \
        case TIDE_I32: name##_i32(x, s, a->base, y); break;   \
        case TIDE_I8: name##_i8(x, s, a->base, y); break;     \
        default: name##_u8(x, s, a->base, y); break;          \
        }                                                     \
        return TIDE_OK;                                       \
    }
ARG(argmax)
ARG(argmin)

/* -- running sums and products of integers: the output is int32 or int64 -- */
#define CUMULATIVE(name, start, step)                                               \
    TIDE_INT_KERNEL(name) {                                                         \
        const tide_##name##_attrs *a = c->attrs;                                    \
        tide_along s = tide_along_axis(&c->in[0], a->axis);                         \
        for (int64_t i = 0; i < s.outer * s.inner; i++) {                           \
            int64_t acc = start, at = i / s.inner * s.n * s.inner + i % s.inner;    \
            TIDE_IN_BLOCKS(j, s.n) {                                                \
                int64_t k = at + (a->reverse_ ? s.n - 1 - j : j) * s.inner;         \
                acc = step(acc, tide_int_at(&c->in[0], k));                         \
                if (c->out[0].dtype == TIDE_I64) ((int64_t *)c->out[0].p)[k] = acc; \
                else ((int32_t *)c->out[0].p)[k] = (int32_t)acc;                    \
            }                                                                       \
        }                                                                           \
        return TIDE_OK;                                                             \
    }
CUMULATIVE(cumsum, 0, ADD)
CUMULATIVE(cumprod, 1, MUL)
