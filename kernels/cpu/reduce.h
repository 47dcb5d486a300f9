/* How a reduction walks its input, shared by the float and the integer kernels.
 *
 * Invariant: every result is made of segments whose limits depend on sizes alone, combined in
 * order, so that its bits do not depend on the number of threads. */
#ifndef TIDE_CPU_REDUCE_H
#define TIDE_CPU_REDUCE_H

#include "cpu.h"
#include "half.h"

enum {
    REDUCE_RUN = 16384, /* elements of a segment along a row */
    REDUCE_ROWS = 256,  /* rows of a segment down a column */
    REDUCE_WIDTH =
        512, /* columns reduced together: their accumulators stay in the first-level cache */
};

/* Axes of the input that stay (k) and that vanish (r), neighbours joined; strides in elements. Each
 * has at least one axis. The result is contiguous over the k axes. */
typedef struct {
    int nk, nr;
    int64_t kshape[TIDE_MAX_RANK], kstride[TIDE_MAX_RANK], rshape[TIDE_MAX_RANK],
        rstride[TIDE_MAX_RANK];
    int64_t kn, rn; /* numbers of results, and of elements in each */
    int from, to;   /* the dtype of the input and of the result where it is half, else 0 */
    const struct reduce_map *map; /* what is done to elements before they are reduced, or NULL */
} reduce_plan;

/* x[0..n) = f(x - centre), of the element type: one centre for all of them, or (step 1) one each,
 * or NULL. `centres`: one for each result, or NULL. */
typedef struct reduce_map {
    void (*run)(const void *ctx, int64_t n, void *x, const void *centre, int step);
    const void *ctx, *centres;
} reduce_map;

/* `axis` as the attribute of a call: n < 0 is all. */
void tide_reduce_plan(const tide_buf *in, const tide_ints *axis, reduce_plan *p);
/* Offset of the i-th index of n axes. */
static inline int64_t reduce_offset(int n, const int64_t *shape, const int64_t *stride, int64_t i) {
    int64_t off = 0;
    for (int k = n - 1; k > 0; k--) {
        off += i % shape[k] * stride[k];
        i /= shape[k];
    }
    return off + i * stride[0];
}

/* The element `off` places behind x, which holds T, or halves. */
#define REDUCE_AT(T, x, half, off) \
    ((half) ? (const T *)(const void *)((const uint16_t *)(const void *)(x) + (off)) : (x) + (off))
/* Result i. */
#define REDUCE_STORE(OUT, y, half, i, v)                                         \
    do {                                                                         \
        if (half) ((uint16_t *)(void *)(y))[i] = tide_to_half(half, (float)(v)); \
        else (y)[i] = (OUT)(v);                                                  \
    } while (0)

#define REDUCE_CENTRE(T, map, result) ((map)->centres ? (const T *)(map)->centres + (result) : NULL)

/* Halves are widened to T as they are read, by REDUCE_WIDEN(dtype, n, from, to) of the including
 * file. Defines `name_run(in, axis, out, dev)`, which reduces elements T through accumulators ACC
 * to results OUT, and name_mapped, which reduces what a map makes of them. identity, step(acc, x),
 * combine(acc, acc), lane type LANE (what a short run of step accumulates in), finish(acc, rn) */
#define REDUCE_LANES 32 /* folded by halves; what is left of a row goes by a quarter of them */
#define DEFINE_REDUCTION(name, T, LANE, ACC, OUT, identity, step, combine, finish) \
    DEFINE_REDUCTION_BY(name##_piece, name, T, LANE, ACC, OUT, identity, step, combine, finish)
/* The same, where `near` reduces the rows of at most REDUCE_SHORT elements that lie as T. */
#define REDUCE_SHORT 1024
#define DEFINE_REDUCTION_BY(near, name, T, LANE, ACC, OUT, identity, step, combine, finish)        \
    static inline ACC name##_fold8(const ACC *a) {                                                 \
        ACC b[4];                                                                                  \
        _Pragma("omp simd") for (int j = 0; j < 4; j++) b[j] = combine(a[j], a[j + 4]);            \
        const ACC c = combine(b[0], b[2]), d = combine(b[1], b[3]);                                \
        return combine(c, d);                                                                      \
    }                                                                                              \
    static ACC name##_piece(const T *x, int64_t n) {                                               \
        ACC acc = identity;                                                                        \
        int64_t i = 0;                                                                             \
        while (n - i >= REDUCE_LANES) {                                                            \
            const int64_t m = TIDE_MIN((n - i) / REDUCE_LANES, 32), end = i + m * REDUCE_LANES;    \
            LANE lane[REDUCE_LANES];                                                               \
            ACC a[REDUCE_LANES / 2], b[REDUCE_LANES / 4];                                          \
            _Pragma("omp simd") for (int j = 0; j < REDUCE_LANES; j++) lane[j] =                   \
                step((LANE)(identity), x[i + j]);                                                  \
            for (i += REDUCE_LANES; i < end; i += REDUCE_LANES) {                                  \
                _Pragma("omp simd") for (int j = 0; j < REDUCE_LANES; j++) lane[j] =               \
                    step(lane[j], x[i + j]);                                                       \
            }                                                                                      \
            _Pragma("omp simd") for (int j = 0; j < REDUCE_LANES / 2; j++) a[j] =                  \
                combine((ACC)lane[j], (ACC)lane[j + REDUCE_LANES / 2]);                            \
            _Pragma("omp simd") for (int j = 0; j < REDUCE_LANES / 4; j++) b[j] =                  \
                combine(a[j], a[j + REDUCE_LANES / 4]);                                            \
            const ACC part = name##_fold8(b);                                                      \
            acc = combine(acc, part);                                                              \
        }                                                                                          \
        if (n - i >= REDUCE_LANES / 4) {                                                           \
            ACC lane[REDUCE_LANES / 4];                                                            \
            _Pragma("omp simd") for (int j = 0; j < REDUCE_LANES / 4; j++) lane[j] =               \
                step((ACC)(identity), x[i + j]);                                                   \
            for (i += REDUCE_LANES / 4; n - i >= REDUCE_LANES / 4; i += REDUCE_LANES / 4) {        \
                _Pragma("omp simd") for (int j = 0; j < REDUCE_LANES / 4; j++) lane[j] =           \
                    step(lane[j], x[i + j]);                                                       \
            }                                                                                      \
            const ACC part = name##_fold8(lane);                                                   \
            acc = combine(acc, part);                                                              \
        }                                                                                          \
        for (; i < n; i++) acc = step(acc, x[i]);                                                  \
        return acc;                                                                                \
    }                                                                                              \
    /* one segment of a row: n elements at `stride` */                                             \
    static ACC name##_segment(const T *x, const reduce_plan *p, int64_t result, int64_t n,         \
                              int64_t stride) {                                                    \
        const int half = p->from;                                                                  \
        const reduce_map *map = p->map;                                                            \
        if (stride == 1 && !half && !map) return name##_piece(x, n);                               \
        T pack[1024];                                                                              \
        ACC acc = identity;                                                                        \
        for (int64_t i = 0; i < n; i += 1024) {                                                    \
            int64_t m = TIDE_MIN(n - i, 1024);                                                     \
            if (half && stride == 1) REDUCE_WIDEN(half, m, REDUCE_AT(T, x, half, i), pack);        \
            else if (half)                                                                         \
                for (int64_t j = 0; j < m; j++)                                                    \
                    pack[j] = (T)tide_from_half(                                                   \
                        half, ((const uint16_t *)(const void *)x)[(i + j) * stride]);              \
            else                                                                                   \
                for (int64_t j = 0; j < m; j++) pack[j] = x[(i + j) * stride];                     \
            if (map) map->run(map->ctx, m, pack, REDUCE_CENTRE(T, map, result), 0);                \
            ACC part = name##_piece(pack, m);                                                      \
            acc = combine(acc, part);                                                              \
        }                                                                                          \
        return acc;                                                                                \
    }                                                                                              \
    /* rows [lo, hi) of `w` neighbouring columns, into acc[w] */                                   \
    static void name##_columns(const T *x, const reduce_plan *p, int64_t result, int64_t lo,       \
                               int64_t hi, int64_t w, ACC *acc) {                                  \
        const reduce_map *map = p->map;                                                            \
        LANE lane[REDUCE_WIDTH];                                                                   \
        T wide[REDUCE_WIDTH];                                                                      \
        for (int64_t j = 0; j < w; j++) acc[j] = identity;                                         \
        while (lo < hi) {                                                                          \
            int64_t end = TIDE_MIN(hi, lo + 32);                                                   \
            for (int64_t j = 0; j < w; j++) lane[j] = identity;                                    \
            for (; lo < end; lo++) {                                                               \
                const T *row =                                                                     \
                    REDUCE_AT(T, x, p->from, reduce_offset(p->nr, p->rshape, p->rstride, lo));     \
                if (p->from) REDUCE_WIDEN(p->from, w, row, wide);                                  \
                else if (map) memcpy(wide, row, (size_t)w * sizeof(T));                            \
                if (map) map->run(map->ctx, w, wide, REDUCE_CENTRE(T, map, result), 1);            \
                if (p->from || map) row = wide;                                                    \
                _Pragma("omp simd") for (int64_t j = 0; j < w; j++) lane[j] =                      \
                    step(lane[j], row[j]);                                                         \
            }                                                                                      \
            for (int64_t j = 0; j < w; j++) acc[j] = combine(acc[j], lane[j]);                     \
        }                                                                                          \
    }                                                                                              \
    static tide_status name##_by_columns(const T *x, const reduce_plan *p, OUT *y,                 \
                                         tide_device *dev) {                                       \
        int64_t inner = p->kshape[p->nk - 1], blocks = TIDE_CEIL_DIV(inner, REDUCE_WIDTH);         \
        int64_t tasks = p->kn / inner * blocks, segs = TIDE_CEIL_DIV(p->rn, REDUCE_ROWS);          \
        int spread = segs > 1 && tasks < 16; /* few results: segments are tasks of their own */    \
        ACC *part = spread                                                                         \
            ? tide_scratch(dev, (size_t)(tasks * segs * REDUCE_WIDTH) * sizeof(ACC))               \
            : NULL;                                                                                \
        if (spread && !part) return TIDE_ENOMEM;                                                   \
        int64_t cost =                                                                             \
            TIDE_MIN(p->rn, spread ? REDUCE_ROWS : p->rn) * TIDE_MIN(inner, REDUCE_WIDTH);         \
        TIDE_PARALLEL_FOR (spread ? tasks *segs : tasks, TIDE_MAX(1, 32768 / TIDE_MAX(cost, 1))) { \
            ACC acc[REDUCE_WIDTH], seg[REDUCE_WIDTH];                                              \
            for (int64_t i = lo; i < hi; i++) {                                                    \
                int64_t task = spread ? i / segs : i, block = task % blocks,                       \
                        at = block * REDUCE_WIDTH;                                                 \
                int64_t w = TIDE_MIN(inner - at, REDUCE_WIDTH),                                    \
                        first = task / blocks * inner + at;                                        \
                const T *base =                                                                    \
                    REDUCE_AT(T, x, p->from, reduce_offset(p->nk, p->kshape, p->kstride, first));  \
                if (spread) {                                                                      \
                    int64_t r = i % segs * REDUCE_ROWS;                                            \
                    name##_columns(base, p, first, r, TIDE_MIN(p->rn, r + REDUCE_ROWS), w,         \
                                   part + i * REDUCE_WIDTH);                                       \
                    continue;                                                                      \
                }                                                                                  \
                for (int64_t j = 0; j < w; j++) acc[j] = identity;                                 \
                for (int64_t r = 0; r < p->rn && !tide_stopped(); r += REDUCE_ROWS) {              \
                    name##_columns(base, p, first, r, TIDE_MIN(p->rn, r + REDUCE_ROWS), w, seg);   \
                    for (int64_t j = 0; j < w; j++) acc[j] = combine(acc[j], seg[j]);              \
                }                                                                                  \
                for (int64_t j = 0; j < w; j++)                                                    \
                    REDUCE_STORE(OUT, y, p->to, first + j, finish(acc[j], p->rn));                 \
            }                                                                                      \
        }                                                                                          \
        for (int64_t task = 0; spread && task < tasks; task++) {                                   \
            int64_t at = task % blocks * REDUCE_WIDTH, w = TIDE_MIN(inner - at, REDUCE_WIDTH);     \
            for (int64_t j = 0; j < w; j++) {                                                      \
                ACC acc = identity;                                                                \
                for (int64_t s = 0; s < segs; s++)                                                 \
                    acc = combine(acc, part[(task * segs + s) * REDUCE_WIDTH + j]);                \
                REDUCE_STORE(OUT, y, p->to, task / blocks * inner + at + j, finish(acc, p->rn));   \
            }                                                                                      \
        }                                                                                          \
        return TIDE_OK;                                                                            \
    }                                                                                              \
    static tide_status name##_by_rows(const T *x, const reduce_plan *p, OUT *y,                    \
                                      tide_device *dev) {                                          \
        int64_t run = p->rshape[p->nr - 1], stride = p->rstride[p->nr - 1], outer = p->rn / run;   \
        int64_t pieces = TIDE_CEIL_DIV(run, REDUCE_RUN), segs = outer * pieces;                    \
        int spread = segs > 1 && p->kn < 8 && p->rn > 2 * REDUCE_RUN;                              \
        ACC *part = spread ? tide_scratch(dev, (size_t)(p->kn * segs) * sizeof(ACC)) : NULL;       \
        if (spread && !part) return TIDE_ENOMEM;                                                   \
        int64_t cost = spread ? TIDE_MIN(run, REDUCE_RUN) : p->rn;                                 \
        if (segs == 1 && run <= REDUCE_SHORT && stride == 1 && !p->from && !p->map) {              \
            TIDE_PARALLEL_FOR (p->kn, TIDE_MAX(1, 65536 / TIDE_MAX(cost, 1))) {                    \
                for (int64_t i = lo; i < hi; i++) {                                                \
                    const int64_t at = reduce_offset(p->nk, p->kshape, p->kstride, i);             \
                    y[i] = (OUT)finish(near(x + at, run), p->rn);                                  \
                }                                                                                  \
            }                                                                                      \
            return TIDE_OK;                                                                        \
        }                                                                                          \
        TIDE_PARALLEL_FOR (spread ? p->kn *segs : p->kn, TIDE_MAX(1, 32768 / TIDE_MAX(cost, 1))) { \
            for (int64_t i = lo; i < hi; i++) {                                                    \
                const T *base =                                                                    \
                    REDUCE_AT(T, x, p->from,                                                       \
                              reduce_offset(p->nk, p->kshape, p->kstride, spread ? i / segs : i)); \
                ACC acc = identity;                                                                \
                for (int64_t s = spread ? i % segs : 0, end = spread ? s + 1 : segs;               \
                     s < end && !tide_stopped(); s++) {                                            \
                    const int64_t q = pieces == 1 ? s : s / pieces,                                \
                                  at = (s - q * pieces) * REDUCE_RUN;                              \
                    const T *row =                                                                 \
                        REDUCE_AT(T, base, p->from,                                                \
                                  (q ? reduce_offset(p->nr - 1, p->rshape, p->rstride, q) : 0) +   \
                                      at * stride);                                                \
                    ACC seg = name##_segment(row, p, spread ? i / segs : i,                        \
                                             TIDE_MIN(run - at, REDUCE_RUN), stride);              \
                    acc = combine(acc, seg);                                                       \
                }                                                                                  \
                if (spread) part[i] = acc;                                                         \
                else REDUCE_STORE(OUT, y, p->to, i, finish(acc, p->rn));                           \
            }                                                                                      \
        }                                                                                          \
        for (int64_t i = 0; spread && i < p->kn; i++) {                                            \
            ACC acc = identity;                                                                    \
            for (int64_t s = 0; s < segs; s++) acc = combine(acc, part[i * segs + s]);             \
            REDUCE_STORE(OUT, y, p->to, i, finish(acc, p->rn));                                    \
        }                                                                                          \
        return TIDE_OK;                                                                            \
    }                                                                                              \
    static tide_status name##_mapped(const tide_buf *in, const tide_ints *axis,                    \
                                     const tide_buf *out, tide_device *dev,                        \
                                     const reduce_map *map) {                                      \
        reduce_plan p;                                                                             \
        OUT *y = out->p;                                                                           \
        tide_reduce_plan(in, axis, &p);                                                            \
        p.map = map;                                                                               \
        p.from = tide_is_half(in->dtype) ? in->dtype : 0;                                          \
        p.to = tide_is_half(out->dtype) ? out->dtype : 0;                                          \
        if (p.kn == 0) return TIDE_OK;                                                             \
        if (p.rn == 0) {                                                                           \
            for (int64_t i = 0; i < p.kn; i++)                                                     \
                REDUCE_STORE(OUT, y, p.to, i, finish((ACC)(identity), p.rn));                      \
            return TIDE_OK;                                                                        \
        }                                                                                          \
        int columns =                                                                              \
            p.kstride[p.nk - 1] == 1 && p.rstride[p.nr - 1] != 1 && p.kshape[p.nk - 1] >= 8;       \
        return columns ? name##_by_columns(in->p, &p, y, dev) : name##_by_rows(in->p, &p, y, dev); \
    }                                                                                              \
    static tide_status name##_run(const tide_buf *in, const tide_ints *axis, const tide_buf *out,  \
                                  tide_device *dev) {                                              \
        return name##_mapped(in, axis, out, dev, NULL);                                            \
    }

#endif
