/* Optimizer steps over a list of parameters in one parallel region, in place.
 *
 * All parameters are laid end to end and the whole is cut every few thousand elements. A sparse
 * gradient (ids, values) is first summed per row, in order. A row whose gradient was never other
 * than zero has zero slots and does not move, so only the rows that were ever in a batch are
 * visited (`touched`), and the result is the dense rule's; rules whose slots do not move under a
 * zero gradient visit the batch's rows alone. Decay moves every row, so with it every row is
 * visited. A gradient that came as two factors is made piece by piece, and each piece moves its
 * piece of the parameter. */
#include "cpu.h"
#include "gemm.h"
#include "labels.h"

enum {
    CHUNK = 16384, /* of the sums of squares */
    STEP = 4096,   /* of a step: small, so that both threads end together */
    PACK = 1024,
    LANES = 64 / sizeof(REAL), /* the widest vector's */
    MAX_SLOTS = 3
};

/* Every step op's attributes begin with these (OPTIM_ARGS). */
typedef struct {
    double learning_rate, weight_decay, grad_scale, clipnorm, global_clipnorm, clipvalue;
} common;

typedef struct {
    REAL scale, limit, decay, k[6];
    int flag;
} knobs;
/* One run of a parameter: p, its gradient g and its slots, n elements each. */
typedef void (*rule)(const knobs *, int64_t n, REAL *restrict p, const REAL *restrict g,
                     REAL *const *slot);

typedef enum { DENSE, FACTORS, ROWS_TOUCHED, ROWS_ALL, ROWS_BATCH } visit;
typedef struct {
    REAL *p, *slot[MAX_SLOTS];
    const tide_buf *g;
    uint8_t *touched;
    int64_t first, size, d; /* place in the whole, elements to visit, elements of a row */
    visit how;
    int packed;           /* the dense gradient is contiguous */
    int later;            /* rows outside of the batch make this step later */
    int64_t rows, unique; /* rows of the table; sparse: rows of the batch */
    int64_t *ids;         /* [unique] */
    REAL *sums;           /* [unique, d]; FACTORS: the right one, packed, or NULL */
    int32_t *place;       /* places in `ids` and `sums` by a hash of the row; -1: free */
    int shift;            /* 2^(64 - shift) of them, at least twice the batch's rows */
    REAL scale;
} item;

/* -- sparse gradients -- */

/* Where `place` has the row, or would have it. What a step costs does not hang on the table's
 * size, so there is no list of all rows. */
static int32_t *place_of(const item *it, int64_t row) {
    const uint64_t last = (UINT64_C(1) << (64 - it->shift)) - 1;
    uint64_t h = (uint64_t)row * UINT64_C(0x9E3779B97F4A7C15) >> it->shift;
    while (it->place[h] >= 0 && it->ids[it->place[h]] != row) h = (h + 1) & last;
    return &it->place[h];
}

/* Sums the values of each row, in order of appearance. */
static tide_status sum_rows(tide_device *dev, item *it) {
    const tide_sparse *s = it->g->p;
    const int64_t n = s->ids.shape[0], d = it->d, *ids = s->ids.p;
    const REAL *v = s->values.p;
    it->shift = 63;
    while (it->shift > 33 && (INT64_C(1) << (64 - it->shift)) < 2 * n) it->shift--;
    const size_t places = (size_t)1 << (64 - it->shift);
    it->place = tide_scratch(dev, places * sizeof *it->place);
    it->ids = tide_scratch(dev, (size_t)n * sizeof *it->ids);
    it->sums = tide_scratch(dev, (size_t)(n * d) * sizeof *it->sums);
    if (!it->place || !it->ids || !it->sums) return TIDE_ENOMEM;
    memset(it->place, 0xff, places * sizeof *it->place);
    it->unique = 0;
    for (int64_t i = 0; i < n; i++) {
        int32_t *place = place_of(it, ids[i]);
        if (*place < 0) {
            it->ids[it->unique] = ids[i];
            memcpy(it->sums + it->unique * d, v + i * d, (size_t)d * sizeof(REAL));
            *place = (int32_t)it->unique++;
        } else {
            REAL *sum = it->sums + *place * d;
            for (int64_t j = 0; j < d; j++) sum[j] += v[i * d + j];
        }
    }
    return TIDE_OK;
}

/* -- dense gradients of any strides -- */

static void pack(const tide_buf *b, int64_t first, int64_t n, REAL *out) {
    int64_t at[TIDE_MAX_RANK], rest = first, offset = 0;
    for (int k = b->rank - 1; k >= 0; k--)
        at[k] = rest % b->shape[k], rest /= b->shape[k], offset += at[k] * b->stride[k];
    const REAL *x = b->p;
    for (int64_t i = 0; i < n; i++) {
        out[i] = x[offset];
        for (int k = b->rank - 1; k >= 0; k--) {
            offset += b->stride[k];
            if (++at[k] < b->shape[k]) break;
            offset -= b->shape[k] * b->stride[k], at[k] = 0;
        }
    }
}

/* -- walking the whole -- */

static int item_at(const item *items, int n, int64_t i) { /* the last that begins at or before i */
    int lo = 0, hi = n - 1;
    while (lo < hi) {
        const int mid = (lo + hi + 1) / 2;
        if (items[mid].first <= i) lo = mid;
        else hi = mid - 1;
    }
    return lo;
}

/* A run of any length and place has the same bits: what fills no vector is moved in one that is
 * filled up, for products that are added are rounded otherwise one by one. */
static void run_rule(rule f, const knobs *k, const item *it, int64_t at, int64_t n, const REAL *g) {
    const int64_t rest = n % LANES, whole = n - rest;
    REAL *slot[MAX_SLOTS];
    for (int s = 0; s < MAX_SLOTS; s++) slot[s] = it->slot[s] ? it->slot[s] + at : NULL;
    if (whole) f(k, whole, it->p + at, g, slot);
    if (!rest) return;
    REAL p[LANES], d[LANES], room[MAX_SLOTS][LANES], *own[MAX_SLOTS];
    const size_t bytes = (size_t)rest * sizeof(REAL);
    for (int64_t i = rest; i < LANES; i++) p[i] = d[i] = 1;
    memcpy(p, it->p + at + whole, bytes), memcpy(d, g + whole, bytes);
    for (int s = 0; s < MAX_SLOTS; s++) {
        own[s] = slot[s] ? room[s] : NULL;
        for (int64_t i = rest; i < LANES; i++) room[s][i] = 1;
        if (slot[s]) memcpy(room[s], slot[s] + whole, bytes);
    }
    f(k, LANES, p, d, own);
    memcpy(it->p + at + whole, p, bytes);
    for (int s = 0; s < MAX_SLOTS; s++)
        if (slot[s]) memcpy(slot[s] + whole, room[s], bytes);
}

static void visit_dense(rule f, const knobs *k, const item *it, int64_t a, int64_t b) {
    if (it->packed) {
        run_rule(f, k, it, a, b - a, (const REAL *)it->g->p + a);
        return;
    }
    REAL buffer[PACK];
    for (int64_t i = a; i < b; i += PACK) {
        const int64_t n = TIDE_MIN(PACK, b - i);
        pack(it->g, i, n, buffer);
        run_rule(f, k, it, i, n, buffer);
    }
}

/* -- gradients that are products, which nobody made -- */

static tide_gemm product_of(const item *it) {
    const tide_sparse *pair = it->g->p;
    const tide_buf *a = &pair->ids, *b = &pair->values;
    return (tide_gemm){.m = a->shape[0],
                       .n = b->shape[1],
                       .k = b->shape[0],
                       .a = a->p,
                       .ars = a->stride[0],
                       .acs = a->stride[1],
                       .b = b->p,
                       .brs = b->stride[0],
                       .bcs = b->stride[1],
                       .packed = it->sums};
}

typedef struct {
    rule f;
    const knobs *k;
    const item *it;
    int64_t n; /* columns */
} mover;
static void move_piece(const void *arg, int64_t i0, int64_t i1, int64_t j0, int64_t j1,
                       const REAL *c, int64_t ldc) {
    const mover *m = arg;
    for (int64_t i = i0; i < i1; i++)
        run_rule(m->f, m->k, m->it, i * m->n + j0, j1 - j0, c + (i - i0) * ldc);
}

/* Each piece of the product moves its piece of the parameter while it is in the cache. */
static void visit_factors(rule f, const knobs *k, const item *it) {
    const tide_gemm g = product_of(it);
    const mover m = {f, k, it, g.n};
    K(gemm_take)(&g, move_piece, &m);
}

/* The first touched row from r on, or `end`. */
static int64_t next_touched(const uint8_t *touched, int64_t r, int64_t end) {
    for (uint64_t eight; r + 8 <= end; r += 8) {
        memcpy(&eight, touched + r, 8);
        if (eight) break;
    }
    while (r < end && !touched[r]) r++;
    return r;
}

static void visit_rows(rule f, const knobs *k, const item *it, int64_t a, int64_t b) {
    static const REAL zeros[PACK];
    const int64_t d = it->d;
    for (int64_t i = a; i < b;) { /* a chunk may begin and end inside a row */
        if (it->how == ROWS_TOUCHED && !it->touched[i / d]) {
            i = TIDE_MIN(b, next_touched(it->touched, i / d + 1, TIDE_CEIL_DIV(b, d)) * d);
            continue;
        }
        const int64_t r = i / d, end = TIDE_MIN(b, (r + 1) * d),
                      row = it->how == ROWS_BATCH ? it->ids[r] : r;
        const int64_t place = it->how == ROWS_BATCH ? r : *place_of(it, r), shift = i - r * d;
        if (place >= 0) run_rule(f, k, it, row * d + shift, end - i, it->sums + place * d + shift);
        else
            for (int64_t j = 0; j < end - i; j += PACK)
                run_rule(f, k, it, row * d + shift + j, TIDE_MIN(PACK, end - i - j), zeros);
        i = end;
    }
}

/* Sum of squares of each item's gradient, over pieces combined in order. */
static double squares(const item *it) {
    const int64_t n = it->how == DENSE ? it->size : it->unique * it->d;
    const REAL *g = it->how == DENSE ? it->g->p : it->sums;
    double total = 0;
    if (it->how == DENSE && !it->packed) {
        REAL buffer[PACK];
        for (int64_t i = 0; i < n; i += PACK) {
            const int64_t m = TIDE_MIN(PACK, n - i);
            pack(it->g, i, m, buffer);
            for (int64_t j = 0; j < m; j++) total += (double)buffer[j] * (double)buffer[j];
        }
        return total;
    }
    enum { PIECES = 64 };
    double part[PIECES];
    const int64_t grain = TIDE_MAX(CHUNK, TIDE_CEIL_DIV(n, PIECES));
    TIDE_PARALLEL_FOR (n, grain) {
        double sum = 0;
        for (int64_t i0 = lo; i0 < hi; i0 += 256) {
            REAL s = 0;
#pragma omp simd reduction(+ : s)
            for (int64_t i = i0; i < TIDE_MIN(i0 + 256, hi); i++) s += g[i] * g[i];
            sum += (double)s;
        }
        part[chunk] = sum;
    }
    for (int64_t i = 0; i < TIDE_CEIL_DIV(n, grain); i++) total += part[i];
    return total;
}

/* Whether the loss is bad whose step this would be; the number of the step. */
static int is_bad(const tide_kcall *c) {
    const REAL *guard = c->in[0].p;
    return guard && guard[1] != 0;
}
static double number_of(const tide_kcall *c, int64_t step) {
    const REAL *guard = c->in[0].p;
    return (double)step - (guard ? (double)guard[0] : 0);
}

/* The guard, then lists: params, grads, nslots slots, touched. `zero_moves`: slots change under a
 * zero gradient. `lag`, if not 0: rows outside of the batch make this step later, and those in it
 * are marked as having made it (see src/lag.c). */
static tide_status step(tide_kcall *c, int nslots, int zero_moves, int64_t lag, knobs k, rule f) {
    const common *at = c->attrs;
    const int n = c->nlist;
    const tide_buf *params = c->in + 1, *grads = params + n, *touched = params + (2 + nslots) * n;
    if (is_bad(c)) return TIDE_OK;
    item *items = tide_scratch(c->dev, (size_t)n * sizeof *items);
    if (!items) return TIDE_ENOMEM;
    k.decay = (REAL)(at->learning_rate * at->weight_decay);
    k.limit = at->clipvalue > 0 ? (REAL)at->clipvalue : (REAL)INFINITY;

    int count = 0;
    int64_t total = 0;
    for (int i = 0; i < n; i++) {
        const int64_t size = tide_buf_numel(&params[i]);
        if (!grads[i].p || size == 0) continue;
        item *it = &items[count++];
        *it = (item){.p = params[i].p,
                     .g = &grads[i],
                     .touched = touched[i].p,
                     .first = total,
                     .size = size,
                     .scale = 1};
        for (int s = 0; s < nslots; s++) it->slot[s] = params[(2 + s) * n + i].p;
        if (grads[i].rank == TIDE_SPARSE_RANK) {
            it->rows = params[i].shape[0], it->d = size / it->rows;
            TIDE_DO(sum_rows(c->dev, it));
            it->later = lag && it->touched && size >= TIDE_LAG_LEAST;
            it->how = it->later                                         ? ROWS_BATCH
                : at->weight_decay != 0 || (zero_moves && !it->touched) ? ROWS_ALL
                : zero_moves                                            ? ROWS_TOUCHED
                                                                        : ROWS_BATCH;
            if (it->how == ROWS_BATCH) it->size = it->unique * it->d;
        } else if (grads[i].rank == TIDE_PRODUCT_RANK) {
            const tide_gemm g = product_of(it);
            it->how = FACTORS, it->rows = params[i].shape[0], it->size = 0;
            if (!K(pack_pays)(&g)) continue;
            it->sums = tide_scratch(c->dev, (size_t)K(packed_size)(g.k, g.n) * sizeof(REAL));
            if (!it->sums) return TIDE_ENOMEM;
            K(pack_b)(&g, it->sums);
        } else {
            it->rows = params[i].shape[0];
            it->packed = tide_buf_contiguous(&grads[i]);
        }
        total += it->size;
    }
    for (int i = 0; i < count; i++) { /* from here on nothing fails */
        const item *it = &items[i];
        if (!it->touched) continue;
        if (it->how <= FACTORS) memset(it->touched, 1, (size_t)it->rows); /* later: sparse */
        else
            for (int64_t u = 0; u < it->unique; u++)
                it->touched[it->ids[u]] = (uint8_t)(it->later ? lag + 1 : 1);
    }
    if (at->clipnorm > 0 || at->global_clipnorm > 0) {
        double all = 0;
        for (int i = 0; i < count; i++) {
            const double s = squares(&items[i]) * at->grad_scale * at->grad_scale;
            all += s;
            if (at->clipnorm > 0)
                items[i].scale = (REAL)(at->clipnorm / TIDE_MAX(sqrt(s), at->clipnorm));
        }
        if (!(at->clipnorm > 0))
            for (int i = 0; i < count; i++)
                items[i].scale =
                    (REAL)(at->global_clipnorm / TIDE_MAX(sqrt(all), at->global_clipnorm));
    }
    TIDE_PARALLEL_FOR (total, total <= 2 * STEP ? total : STEP) {
        for (int64_t i = lo, j = item_at(items, count, lo); i < hi; j++) {
            const item *it = &items[j];
            const int64_t a = i - it->first, b = TIDE_MIN(hi - it->first, it->size);
            knobs own = k;
            own.scale = (REAL)at->grad_scale * it->scale;
            if (b > a) (it->how == DENSE ? visit_dense : visit_rows)(f, &own, it, a, b);
            i = it->first + TIDE_MAX(a, b);
        }
    }
    k.scale = (REAL)at->grad_scale;
    for (int i = 0; i < count; i++)
        if (items[i].how == FACTORS) visit_factors(f, &k, &items[i]);
    return TIDE_OK;
}

/* The gradient as the rule sees it. */
static inline REAL seen(const knobs *k, REAL g) {
    g *= k->scale;
    g = g > k->limit ? k->limit : g;
    return g < -k->limit ? -k->limit : g;
}
#define EACH _Pragma("omp simd") for (int64_t i = 0; i < n; i++)
#define RULE(name)                                                                        \
    static void name(const knobs *k, int64_t n, REAL *restrict p, const REAL *restrict g, \
                     REAL *const *slot)
#define SLOT(name, at) REAL *restrict name = slot[at]
#define DECAYED(i) (p[i] - p[i] * k->decay)

/* -- the rules, as Keras has them -- */

RULE(sgd_plain) { /* k: lr */
    (void)slot;
    EACH p[i] = DECAYED(i) - k->k[0] * seen(k, g[i]);
}
RULE(sgd_momentum) { /* k: lr, momentum; flag: nesterov */
    SLOT(m, 0);
    if (k->flag) {
        EACH {
            const REAL s = k->k[0] * seen(k, g[i]), v = m[i] * k->k[1] - s;
            m[i] = v;
            p[i] = DECAYED(i) + (v * k->k[1] - s);
        }
    } else {
        EACH {
            const REAL v = m[i] * k->k[1] - k->k[0] * seen(k, g[i]);
            m[i] = v;
            p[i] = DECAYED(i) + v;
        }
    }
}
TIDE_KERNEL(sgd_step_) {
    const tide_sgd_step__attrs *at = c->attrs;
    const knobs k = {.k = {(REAL)at->learning_rate, (REAL)at->momentum}, .flag = at->nesterov};
    return step(c, 1, at->momentum != 0, 0, k, at->momentum != 0 ? sgd_momentum : sgd_plain);
}

RULE(adam) { /* k: alpha, 1 - b1, 1 - b2, epsilon */
    SLOT(m, 0);
    SLOT(v, 1);
    EACH {
        const REAL x = seen(k, g[i]);
        const REAL mi = m[i] + (x - m[i]) * k->k[1], vi = v[i] + (x * x - v[i]) * k->k[2];
        m[i] = mi, v[i] = vi;
        p[i] = DECAYED(i) - k->k[0] * mi / (T_SQRT(vi) + k->k[3]);
    }
}
RULE(adam_largest) {
    SLOT(m, 0);
    SLOT(v, 1);
    SLOT(h, 2);
    EACH {
        const REAL x = seen(k, g[i]);
        const REAL mi = m[i] + (x - m[i]) * k->k[1], vi = v[i] + (x * x - v[i]) * k->k[2],
                   hi = h[i] > vi ? h[i] : vi;
        m[i] = mi, v[i] = vi, h[i] = hi;
        p[i] = DECAYED(i) - k->k[0] * mi / (T_SQRT(hi) + k->k[3]);
    }
}
TIDE_KERNEL(adam_step_) {
    const tide_adam_step__attrs *at = c->attrs;
    const double t = number_of(c, at->step),
                 alpha =
                     at->learning_rate * sqrt(1 - pow(at->beta_2, t)) / (1 - pow(at->beta_1, t));
    const knobs k = {
        .k = {(REAL)alpha, (REAL)(1 - at->beta_1), (REAL)(1 - at->beta_2), (REAL)at->epsilon}};
    return step(c, 3, 1, at->lag_, k, at->amsgrad ? adam_largest : adam);
}

/* The steps that a row missed, all in registers, gradient 0. */
static void catch_up(int64_t d, REAL *p, REAL *m, REAL *v, const tide_adam_lag__attrs *at,
                     int64_t from) {
    const REAL k1 = (REAL)(1 - at->beta_1), k2 = (REAL)(1 - at->beta_2), eps = (REAL)at->epsilon;
    enum { WIDE = 16 };
    for (int64_t j = 0; j < d; j += WIDE) {
        const size_t bytes = (size_t)TIDE_MIN(WIDE, d - j) * sizeof(REAL);
        REAL P[WIDE] = {0}, M[WIDE] = {0}, V[WIDE];
        for (int l = 0; l < WIDE; l++) V[l] = 1; /* lanes beyond the row divide by something */
        memcpy(P, p + j, bytes), memcpy(M, m + j, bytes), memcpy(V, v + j, bytes);
        for (int64_t s = from; s < at->alpha.n; s++) {
            const REAL alpha = (REAL)at->alpha.v[s];
#pragma omp simd
            for (int l = 0; l < WIDE; l++) {
                const REAL mi = M[l] + (0 - M[l]) * k1, vi = V[l] + (0 - V[l]) * k2;
                M[l] = mi, V[l] = vi;
                P[l] -= alpha * mi / (T_SQRT(vi) + eps);
            }
        }
        memcpy(p + j, P, bytes), memcpy(m + j, M, bytes), memcpy(v + j, V, bytes);
    }
}

TIDE_KERNEL(adam_lag_) { /* p, m, v, touched, ids */
    const tide_adam_lag__attrs *at = c->attrs;
    const int64_t rows = c->in[0].shape[0], n = at->alpha.n,
                  d = rows ? tide_buf_numel(&c->in[0]) / rows : 0;
    REAL *p = c->in[0].p, *m = c->in[1].p, *v = c->in[2].p;
    uint8_t *touched = c->in[3].p;
    if (!c->in[4].p) { /* all, and the steps will be forgotten */
        TIDE_PARALLEL_FOR (rows, TIDE_MAX(1, 4096 / (d + 1))) {
            for (int64_t r = next_touched(touched, lo, hi); r < hi;
                 r = next_touched(touched, r + 1, hi)) {
                catch_up(d, p + r * d, m + r * d, v + r * d, at, touched[r] - 1);
                touched[r] = 1;
            }
        }
        return TIDE_OK;
    }
    const int64_t count = tide_buf_numel(&c->in[4]);
    struct late {
        int64_t row, from;
    } *late = tide_scratch(c->dev, (size_t)(count + 1) * sizeof *late);
    int64_t found = 0;
    if (!late) return TIDE_ENOMEM;
    for (int64_t i = 0; i < count; i++) { /* an id that is out of range is the reader's to report */
        const int64_t r = tide_label_from(&c->in[4], i, at->base);
        if (r < 0 || r >= rows || touched[r] == 0 || touched[r] - 1 == n) continue;
        late[found++] = (struct late){r, touched[r] - 1};
        touched[r] = (uint8_t)(n + 1);
    }
    TIDE_PARALLEL_FOR (found, TIDE_MAX(1, 4096 / (d * TIDE_MAX(1, n / 2) + 1))) {
        for (int64_t i = lo; i < hi; i++) {
            const int64_t r = late[i].row * d;
            catch_up(d, p + r, m + r, v + r, at, late[i].from);
        }
    }
    return TIDE_OK;
}

RULE(rmsprop) { /* k: lr, rho, 1 - rho, epsilon, momentum; flag: centered */
    SLOT(v, 0);
    SLOT(m, 1);
    SLOT(a, 2);
    for (int64_t i = 0; i < n; i++) {
        const REAL x = seen(k, g[i]), vi = v[i] * k->k[1] + x * x * k->k[2];
        REAL size = vi + k->k[3];
        v[i] = vi;
        if (k->flag) {
            const REAL ai = a[i] * k->k[1] + x * k->k[2];
            a[i] = ai, size -= ai * ai;
        }
        REAL s = k->k[0] * x / T_SQRT(size);
        if (k->k[4] != 0) s += k->k[4] * m[i], m[i] = s;
        p[i] = DECAYED(i) - s;
    }
}
RULE(rmsprop_plain) {
    SLOT(v, 0);
    EACH {
        const REAL x = seen(k, g[i]), vi = v[i] * k->k[1] + x * x * k->k[2];
        v[i] = vi;
        p[i] = DECAYED(i) - k->k[0] * x / T_SQRT(vi + k->k[3]);
    }
}
TIDE_KERNEL(rmsprop_step_) {
    const tide_rmsprop_step__attrs *at = c->attrs;
    const knobs k = {.k = {(REAL)at->learning_rate, (REAL)at->rho, (REAL)(1 - at->rho),
                           (REAL)at->epsilon, (REAL)at->momentum},
                     .flag = at->centered};
    return step(c, 3, 1, 0, k, at->centered || at->momentum != 0 ? rmsprop : rmsprop_plain);
}

RULE(adagrad) { /* k: lr, epsilon */
    SLOT(a, 0);
    EACH {
        const REAL x = seen(k, g[i]), ai = a[i] + x * x;
        a[i] = ai;
        p[i] = DECAYED(i) - k->k[0] * x / T_SQRT(ai + k->k[1]);
    }
}
TIDE_KERNEL(adagrad_step_) {
    const tide_adagrad_step__attrs *at = c->attrs;
    return step(c, 1, 0, 0, (knobs){.k = {(REAL)at->learning_rate, (REAL)at->epsilon}}, adagrad);
}

RULE(adamax) { /* k: lr / (1 - b1^t), 1 - b1, b2, epsilon */
    SLOT(m, 0);
    SLOT(u, 1);
    EACH {
        const REAL x = seen(k, g[i]), mi = m[i] + (x - m[i]) * k->k[1], b = k->k[2] * u[i],
                   s = T_ABS(x), ui = b > s ? b : s;
        m[i] = mi, u[i] = ui;
        p[i] = DECAYED(i) - k->k[0] * mi / (ui + k->k[3]);
    }
}
TIDE_KERNEL(adamax_step_) {
    const tide_adamax_step__attrs *at = c->attrs;
    const double alpha = at->learning_rate / (1 - pow(at->beta_1, number_of(c, at->step)));
    return step(
        c, 2, 1, 0,
        (knobs){.k = {(REAL)alpha, (REAL)(1 - at->beta_1), (REAL)at->beta_2, (REAL)at->epsilon}},
        adamax);
}

RULE(nadam) { /* k: share of m, share of g, 1 - b1, 1 - b2, 1 / (1 - b2^t), epsilon; the learning
                 rate is in the shares */
    SLOT(m, 0);
    SLOT(v, 1);
    EACH {
        const REAL x = seen(k, g[i]), mi = m[i] + (x - m[i]) * k->k[2],
                   vi = v[i] + (x * x - v[i]) * k->k[3];
        m[i] = mi, v[i] = vi;
        p[i] = DECAYED(i) - (k->k[0] * mi + k->k[1] * x) / (T_SQRT(vi * k->k[4]) + k->k[5]);
    }
}
TIDE_KERNEL(nadam_step_) {
    const tide_nadam_step__attrs *at = c->attrs;
    const double t = number_of(c, at->step), u = at->beta_1 * (1 - 0.5 * pow(0.96, t)),
                 next = at->beta_1 * (1 - 0.5 * pow(0.96, t + 1));
    const double of_m = at->learning_rate * next / (1 - at->u_product * next),
                 of_g = at->learning_rate * (1 - u) / (1 - at->u_product);
    const knobs k = {.k = {(REAL)of_m, (REAL)of_g, (REAL)(1 - at->beta_1), (REAL)(1 - at->beta_2),
                           (REAL)(1 / (1 - pow(at->beta_2, t))), (REAL)at->epsilon}};
    return step(c, 2, 1, 0, k, nadam);
}

RULE(adadelta) { /* k: lr, rho, 1 - rho, epsilon */
    SLOT(a, 0);
    SLOT(d, 1);
    EACH {
        const REAL x = seen(k, g[i]), ai = k->k[1] * a[i] + k->k[2] * x * x;
        const REAL s = T_SQRT(d[i] + k->k[3]) * x / T_SQRT(ai + k->k[3]);
        a[i] = ai, d[i] = k->k[1] * d[i] + k->k[2] * s * s;
        p[i] = DECAYED(i) - k->k[0] * s;
    }
}
TIDE_KERNEL(adadelta_step_) {
    const tide_adadelta_step__attrs *at = c->attrs;
    return step(c, 2, 1, 0,
                (knobs){.k = {(REAL)at->learning_rate, (REAL)at->rho, (REAL)(1 - at->rho),
                              (REAL)at->epsilon}},
                adadelta);
}

RULE(lion) { /* k: lr, b1, 1 - b1, b2, 1 - b2 */
    SLOT(m, 0);
    EACH {
        const REAL x = seen(k, g[i]), s = m[i] * k->k[1] + x * k->k[2];
        m[i] = m[i] * k->k[3] + x * k->k[4];
        p[i] = DECAYED(i) - k->k[0] * (s > 0 ? 1 : s < 0 ? -1 : s);
    }
}
TIDE_KERNEL(lion_step_) {
    const tide_lion_step__attrs *at = c->attrs;
    const knobs k = {.k = {(REAL)at->learning_rate, (REAL)at->beta_1, (REAL)(1 - at->beta_1),
                           (REAL)at->beta_2, (REAL)(1 - at->beta_2)}};
    return step(c, 1, 1, 0, k, lion);
}

/* -- other list ops -- */

/* y[j] = a y[j] + b x[j] over two lists; x may be sparse or have any strides. */
static tide_status mix(tide_kcall *c, const tide_buf *lists, REAL a, REAL b) {
    const int n = c->nlist;
    for (int i = 0; i < n; i++) {
        const tide_buf *y = &lists[i], *x = &lists[n + i];
        REAL *yp = y->p;
        const int64_t size = tide_buf_numel(y);
        if (!x->p || !size) continue;
        if (x->rank == TIDE_SPARSE_RANK) {
            const tide_sparse *s = x->p;
            const int64_t d = size / y->shape[0], *ids = s->ids.p;
            const REAL *v = s->values.p;
            if (a != 1)
                for (int64_t j = 0; j < size; j++) yp[j] *= a;
            for (int64_t r = 0; r < s->ids.shape[0]; r++)
                for (int64_t j = 0; j < d; j++) yp[ids[r] * d + j] += b * v[r * d + j];
            continue;
        }
        const int packed = tide_buf_contiguous(x);
        TIDE_PARALLEL_FOR (size, 32768) {
            REAL buffer[PACK];
            for (int64_t j = lo; j < hi; j += PACK) {
                const int64_t m = TIDE_MIN(PACK, hi - j);
                const REAL *xp = (const REAL *)x->p + j;
                if (!packed) pack(x, j, m, buffer), xp = buffer;
                for (int64_t l = 0; l < m; l++) yp[j + l] = a * yp[j + l] + b * xp[l];
            }
        }
    }
    return TIDE_OK;
}
TIDE_KERNEL(ema_step_) { /* guard, averages, params */
    const tide_ema_step__attrs *at = c->attrs;
    const double stays = number_of(c, at->step) <= 1 ? 0 : at->momentum;
    return is_bad(c) ? TIDE_OK : mix(c, c->in + 1, (REAL)stays, (REAL)(1 - stays));
}
TIDE_KERNEL(accumulate_step_) { /* sums, grads */
    return mix(c, c->in, 1, (REAL)((const tide_accumulate_step__attrs *)c->attrs)->scale);
}

TIDE_KERNEL(global_norm_) {
    const int n = c->nlist;
    double total = 0;
    for (int i = 0; i < n; i++) {
        item it = {.g = &c->in[i]};
        if (c->in[i].rank == TIDE_SPARSE_RANK) {
            const tide_sparse *s = c->in[i].p;
            if (!s->ids.shape[0]) continue;
            it.how = ROWS_BATCH, it.d = tide_buf_numel(&s->values) / s->ids.shape[0];
            for (int64_t r = 0; r < s->ids.shape[0]; r++)
                it.rows = TIDE_MAX(it.rows, ((const int64_t *)s->ids.p)[r] + 1);
            TIDE_DO(sum_rows(c->dev, &it));
        } else {
            it.size = tide_buf_numel(&c->in[i]), it.packed = tide_buf_contiguous(&c->in[i]);
        }
        total += squares(&it);
    }
    *(REAL *)c->out[0].p = (REAL)sqrt(total);
    return TIDE_OK;
}
