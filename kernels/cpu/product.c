/* Products of matrices of any float dtype, one or a batch of them, broadcast.
 *
 * Halves are multiplied and summed in float32, two of bfloat16 by the CPU's instructions for that
 * where it has them (bf16.c). Else a product of up to TIDE_FEW_ROWS rows reads b as it
 * is stored, while it is packed; larger ones are cut along the axis whose remaining operand is the
 * smallest, and each slice is widened for itself, so that the work space stays bounded by that
 * operand and some megabytes. Slices depend on sizes alone. */
#include "gemm.h"
#include "half.h"

enum {
    RUN = 65536,     /* elements that a thread converts at once */
    SMALL = 4096,    /* elements that stay in the cache */
    SLICE = 1 << 20, /* floats widened at once */
    LEAST = 192      /* rows, columns or steps of a slice: engines pack their operands anew */
};

/* Elements from the start of a and of b to the i-th of their matrices. */
static void place_of(const tide_batch *t, int64_t i, int64_t *ao, int64_t *bo) {
    *ao = *bo = 0;
    for (int d = t->rank - 1; d >= 0; d--) {
        *ao += i % t->extent[d] * t->as[d], *bo += i % t->extent[d] * t->bs[d];
        i /= t->extent[d];
    }
}

/* `n` elements behind p, which holds `half` or REAL. */
static const void *behind(const void *p, int half, int64_t n) {
    return half ? (const void *)((const uint16_t *)p + n) : (const void *)((const REAL *)p + n);
}

/* Product i of the batch as one of its own. */
static tide_gemm one_of(const tide_gemm *g, int64_t i) {
    tide_gemm one = *g;
    int64_t ao, bo;
    place_of(g->batch, i, &ao, &bo);
    one.batch = NULL;
    one.a = behind(g->a, g->a_half, ao);
    one.b = behind(g->b, g->b_half, bo);
    one.c = (void *)(uintptr_t)behind(g->c, g->c_half, i * g->m * g->n);
    return one;
}

/* Large products are parallel inside, many small ones side by side: the grain, or 0. */
static int64_t side_by_side(const tide_gemm *g, int64_t batch) {
    const double work = (double)g->m * (double)g->n * ((double)g->k + 1) + 1;
    const int64_t grain = TIDE_MAX(1, (int64_t)((1 << 18) / work));
    const int inside = batch <= grain || (work > 1 << 22 && batch < 16) || tide_num_threads() == 1;
    return inside ? 0 : grain;
}

/* How a product is cut, and where its operands stand as floats. */
typedef struct {
    int axis;                     /* 0: rows, 1: columns, 2: steps of the sum */
    int64_t some;                 /* of a slice */
    int packed;                   /* b is read as it is stored */
    int64_t room_a, room_b, room; /* floats: of a, of a and b, of all three */
    const REAL *a, *b;            /* what all products of a batch share, widened; else NULL */
} plan;

#if REAL_IS_FLOAT
static int64_t rounded(int64_t n) { return (n + 15) & ~(int64_t)15; }

/* A matrix of halves as float32, its rows or, where those lie side by side, its columns one after
 * the other; strides become those of the copy. */
static const REAL *widen_matrix(int dtype, int64_t rows, int64_t cols, const uint16_t *x,
                                int64_t *rs, int64_t *cs, REAL *to) {
    const int turned = *rs == 1 && *cs != 1;
    const int64_t n = turned ? rows : cols, lines = turned ? cols : rows, step = turned ? *cs : *rs,
                  apart = turned ? *rs : *cs;
    *rs = turned ? 1 : cols, *cs = turned ? rows : 1;
    if (apart == 1 && step == n) {
        if (lines * n <= RUN) K(widen)(dtype, lines * n, x, to);
        else
            TIDE_PARALLEL_FOR (lines *n, RUN) { K(widen)(dtype, hi - lo, x + lo, to + lo); }
        return to;
    }
    TIDE_PARALLEL_FOR (lines, TIDE_MAX(1, RUN / TIDE_MAX(n, 1))) {
        for (int64_t i = lo; i < hi; i++) {
            if (apart == 1) K(widen)(dtype, n, x + i * step, to + i * n);
            for (int64_t j = 0; j < n && apart != 1; j++)
                to[i * n + j] = tide_from_half(dtype, x[i * step + j * apart]);
        }
    }
    return to;
}

static void narrow_matrix(int dtype, int64_t rows, int64_t cols, const REAL *x, uint16_t *y,
                          int64_t ld) {
    if (ld == cols && rows * cols <= RUN) {
        K(narrow)(dtype, rows * cols, x, y);
        return;
    }
    TIDE_PARALLEL_FOR (rows, TIDE_MAX(1, RUN / TIDE_MAX(cols, 1))) {
        if (ld == cols) K(narrow)(dtype, (hi - lo) * cols, x + lo * cols, y + lo * ld);
        for (int64_t i = lo; i < hi && ld != cols; i++)
            K(narrow)(dtype, cols, x + i * cols, y + i * ld);
    }
}

static plan plan_of(const tide_gemm *g, int whole) {
    plan p = {.packed = g->b_half && g->m <= TIDE_FEW_ROWS && g->k * g->n > SMALL};
    const int64_t na = g->a_half ? g->m * g->k : 0, nb = g->b_half && !p.packed ? g->k * g->n : 0,
                  nc = g->c_half ? g->m * g->n : 0, all = na + nb + nc;
    const int64_t extent[3] = {g->m, g->n, g->k}, stays[3] = {nb, na, nc};
    p.some = g->m;
    if (all > SLICE && !whole) {
        for (int d = 1; d < 3; d++)
            if (stays[d] < stays[p.axis]) p.axis = d;
        const int64_t n = extent[p.axis], each = TIDE_MAX(1, (all - stays[p.axis]) / n),
                      count = TIDE_CEIL_DIV(n, TIDE_MAX(LEAST, SLICE / each));
        p.some = TIDE_MIN(n, rounded(TIDE_CEIL_DIV(n, count)));
    }
    const int64_t n = TIDE_MAX(extent[p.axis], 1);
    p.room_a = rounded(p.axis == 1 ? na : na / n * p.some);
    p.room_b = p.room_a + rounded(p.axis == 0 ? nb : nb / n * p.some);
    p.room = p.room_b + rounded(p.axis == 2 ? nc : nc / n * p.some);
    return p;
}

/* One product, in slices. */
static void in_slices(const plan *p, const tide_gemm *g, const REAL *bias, int act, REAL *room) {
    const int axis = p->axis;
    const int64_t extent = axis == 0 ? g->m : axis == 1 ? g->n : g->k;
    REAL *own_b = room + p->room_a, *own_c = room + p->room_b;
    tide_gemm part = *g;
    part.a_half = part.c_half = 0;
    if (!p->packed) part.b_half = 0;
    for (int64_t lo = 0; lo < TIDE_MAX(extent, 1) && !tide_stopped(); lo += p->some) {
        const int64_t some = TIDE_MIN(p->some, extent - lo);
        const int64_t a0 = lo *
            (axis == 0       ? g->ars
                 : axis == 2 ? g->acs
                             : 0),
                      b0 = lo *
            (axis == 1       ? g->bcs
                 : axis == 2 ? g->brs
                             : 0),
                      c0 = axis == 0 ? lo * g->ldc
            : axis == 1              ? lo
                                     : 0;
        *(axis == 0 ? &part.m : axis == 1 ? &part.n : &part.k) = some;
        if (!g->a_half) part.a = behind(g->a, 0, a0);
        else if (p->a) part.a = p->a + a0;
        else if (axis != 1 || lo == 0) {
            part.ars = g->ars, part.acs = g->acs;
            part.a = widen_matrix(g->a_half, part.m, part.k, behind(g->a, g->a_half, a0), &part.ars,
                                  &part.acs, room);
        }
        if (!g->b_half || p->packed) part.b = behind(g->b, g->b_half, b0);
        else if (p->b) part.b = p->b + b0;
        else if (axis != 0 || lo == 0) {
            part.brs = g->brs, part.bcs = g->bcs;
            part.b = widen_matrix(g->b_half, part.k, part.n, behind(g->b, g->b_half, b0), &part.brs,
                                  &part.bcs, own_b);
        }
        part.c = g->c_half ? own_c : (void *)((REAL *)g->c + c0);
        if (g->c_half) part.ldc = part.n;
        if (axis == 2) {
            part.accumulate = g->accumulate || lo > 0;
            K(gemm)(&part);
            continue;
        }
        K(gemm_act)(&part, bias && axis == 1 ? bias + lo : bias, act);
        if (g->c_half)
            narrow_matrix(g->c_half, part.m, part.n, part.c, (uint16_t *)g->c + c0, g->ldc);
    }
    if (axis != 2 || tide_stopped()) return; /* part.c may not be set yet */
    K(bias_act)(g->m, g->n, part.c, part.ldc, bias, act);
    if (g->c_half) narrow_matrix(g->c_half, g->m, g->n, part.c, g->c, g->ldc);
}
static int has_halves(const tide_gemm *g) { return g->a_half || g->b_half || g->c_half; }

/* What all products of a batch share is widened once. */
static tide_status widen_shared(tide_device *dev, tide_gemm *g, plan *p) {
    int a = g->a_half != 0, b = g->b_half && !p->packed;
    for (int d = 0; d < g->batch->rank; d++) a &= g->batch->as[d] == 0, b &= g->batch->bs[d] == 0;
    if (!a && !b) return TIDE_OK;
    const int64_t na = a ? rounded(g->m * g->k) : 0, nb = b ? rounded(g->k * g->n) : 0;
    REAL *at = tide_scratch(dev, (size_t)(na + nb) * sizeof *at);
    if (!at) return TIDE_ENOMEM;
    if (a) p->a = widen_matrix(g->a_half, g->m, g->k, g->a, &g->ars, &g->acs, at);
    if (b) p->b = widen_matrix(g->b_half, g->k, g->n, g->b, &g->brs, &g->bcs, at + na);
    return TIDE_OK;
}
#else
static plan plan_of(const tide_gemm *g, int whole) {
    (void)g, (void)whole;
    return (plan){0};
}
#define in_slices(p, g, bias, act, room) ((void)(p), (void)(room))
#define has_halves(g) 0
#define widen_shared(dev, g, p) TIDE_OK
#endif

static void some_products(const plan *p, const tide_gemm *g, int64_t lo, int64_t hi, REAL *room) {
    for (int64_t i = lo; i < hi; i++) {
        const tide_gemm one = one_of(g, i);
        if (has_halves(g)) in_slices(p, &one, NULL, TIDE_ACTIVATION_linear, room);
        else K(gemm)(&one);
    }
}

tide_status K(product)(tide_device *dev, const tide_gemm *all, const REAL *bias, int act) {
    tide_gemm g = *all;
    if (g.m == 0 || g.n == 0) return TIDE_OK;
    if (!g.batch && !has_halves(&g)) {
        REAL *packed = K(pack_pays)(&g)
            ? tide_scratch(dev, (size_t)K(packed_size)(g.k, g.n) * sizeof *packed)
            : NULL;
        if (packed) K(pack_b)(&g, packed), g.packed = packed;
        K(gemm_act)(&g, bias, act);
        return TIDE_OK;
    }
    int64_t batch = 1;
    for (int d = 0; g.batch && d < g.batch->rank; d++) batch *= g.batch->extent[d];
    if (K(bf16_serves)(&g)) return K(bf16_product)(dev, &g, bias, act, batch, one_of);
    const int64_t grain = g.batch ? side_by_side(&g, batch) : 0;
    plan p = plan_of(&g, grain != 0);
    if (g.batch && batch > 1) TIDE_DO(widen_shared(dev, &g, &p));
    tide_lanes lanes = {0};
    if (has_halves(&g))
        TIDE_DO(tide_lanes_new(dev, grain ? batch : 1, TIDE_MAX(grain, 1),
                               (size_t)(p.room + 16) * sizeof(REAL), &lanes));
    if (!g.batch) {
        in_slices(&p, &g, bias, act, tide_lane(&lanes, 0));
        return TIDE_OK;
    }
    if (!grain) {
        some_products(&p, &g, 0, batch, lanes.at ? tide_lane(&lanes, 0) : NULL);
        return TIDE_OK;
    }
    const tide_gemm_hook *hook = tide_gemm_now;
    TIDE_PARALLEL_FOR (batch, grain) {
        const tide_gemm_hook *outer = tide_gemm_now;
        tide_gemm_now = hook;
        some_products(&p, &g, lo, hi, lanes.at ? tide_lane(&lanes, share_->slot) : NULL);
        tide_gemm_now = outer;
    }
    return TIDE_OK;
}
