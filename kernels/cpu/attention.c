/* Attention in tiles, without the matrix of scores (Rabe and Staats 2021; Dao et al. 2022), and its
 * gradients.
 *
 * Forward, a tile of queries walks over tiles of keys and keeps, per query, the largest score so
 * far and the sum of exponentials below it; what it has summed is scaled when a larger score comes.
 * `lse`, log(sum exp(scores)), is all that the gradient needs to make a tile of weights again; it
 * is inf where a query sees nothing, whose result is the mean of all values. Chunks depend on the
 * shapes alone, and each writes what no other does.
 *
 * Halves are widened a tile at a time; gradients of keys and values are summed in float32, those of
 * one head per thread, and narrowed when it is done.
 *
 * What dropout leaves of a tile is drawn from the counters of its places, forward and backward, and
 * never stored; the sum of exponentials is that of all weights. */
#include "gemm.h"
#include "philox.h"
#include "pieces.h"

enum { ROWS = 64, COLS = 128 };

typedef struct {
    int64_t B, T, S, H, G, W, V;      /* q (B, T, H, W), k (B, S, G, W), v (B, S, G, V) */
    const tide_buf *q, *k, *v, *bias; /* bias: NULL without one */
    const uint8_t *mask;
    int64_t bias_by[4],
        mask_by[4]; /* strides over (B, H, T, S), 0 where an extent stands for all */
    int64_t window; /* 0: none */
    int64_t offset; /* place of the first query among the keys */
    int causal, drops;
    int half;        /* q, k, v and bias are stored in halves */
    REAL scale, cap; /* cap 0: none */
    REAL kept;       /* factor of the weights that are not dropped */
    uint64_t limit;  /* a weight stays if its word is below */
    tide_rng rng;
} heads;

static void strides(const tide_buf *x, int64_t *by) {
    int64_t step = 1;
    for (int i = 3; x->p && i >= 0; i--) {
        by[i] = x->shape[i] == 1 ? 0 : step;
        step *= x->shape[i];
    }
}

#define HEADS(in, at)                                                            \
    heads_of(in,                                                                 \
             (heads){.window = (at)->window,                                     \
                     .offset = (at)->offset,                                     \
                     .causal = (at)->causal,                                     \
                     .drops = (at)->rate > 0,                                    \
                     .scale = (REAL)(at)->scale,                                 \
                     .cap = (REAL)(at)->cap,                                     \
                     .kept = (REAL)((at)->rate < 1 ? 1 / (1 - (at)->rate) : 0),  \
                     .limit = (uint64_t)((1 - (at)->rate) * 4294967296.0 + 0.5), \
                     .rng = (at)->rng})

static heads heads_of(const tide_buf *in, heads a) {
    a.B = in[0].shape[0], a.T = in[0].shape[1];
    a.S = in[1].shape[1];
    a.H = in[0].shape[2], a.G = in[1].shape[2];
    a.W = in[0].shape[3], a.V = in[2].shape[3];
    a.q = &in[0], a.k = &in[1], a.v = &in[2], a.bias = in[3].p ? &in[3] : NULL;
    a.half = tide_is_half(in[0].dtype);
    a.mask = in[4].p;
    strides(&in[3], a.bias_by);
    strides(&in[4], a.mask_by);
    return a;
}

static int64_t query_at(const heads *a, int64_t b, int64_t i, int64_t h) {
    return (b * a->T + i) * a->H + h;
}
static int64_t key_at(const heads *a, int64_t b, int64_t j, int64_t g) {
    return (b * a->S + j) * a->G + g;
}

/* A matrix whose rows lie `step` elements apart. */
typedef struct {
    const REAL *p;
    int64_t step;
} rows;

/* n rows of `width` elements, `step` apart, from element `at` of b on: as they lie, or in `room`.
 */
static rows rows_of(const tide_buf *b, int64_t at, int64_t n, int64_t step, int64_t width,
                    REAL *room) {
    if (!tide_is_half(b->dtype)) return (rows){(const REAL *)b->p + at, step};
    for (int64_t r = 0; r < n; r++) piece_read(b, at + r * step, width, room + r * width);
    return (rows){room, width};
}
static rows queries(const heads *a, int64_t b, int64_t i, int64_t h, int64_t n, REAL *room) {
    return rows_of(a->q, query_at(a, b, i, h) * a->W, n, a->H * a->W, a->W, room);
}
static rows keys(const heads *a, int64_t b, int64_t j, int64_t g, int64_t n, REAL *room) {
    return rows_of(a->k, key_at(a, b, j, g) * a->W, n, a->G * a->W, a->W, room);
}
static rows values(const heads *a, int64_t b, int64_t j, int64_t g, int64_t n, REAL *room) {
    return rows_of(a->v, key_at(a, b, j, g) * a->V, n, a->G * a->V, a->V, room);
}

/* The keys that queries [i, i + n) may see by their places. */
static void reach(const heads *a, int64_t i, int64_t n, int64_t *from, int64_t *to) {
    *from = 0, *to = a->S;
    i += a->offset;
    if (a->causal) *to = TIDE_MIN(*to, i + n);
    if (a->window) {
        *from = TIDE_MAX(*from, i - a->window + 1);
        *to = TIDE_MIN(*to, i + n - 1 + a->window);
    }
}

static void product(int64_t m, int64_t n, int64_t k, const REAL *x, int64_t xrs, int64_t xcs,
                    const REAL *y, int64_t yrs, int64_t ycs, REAL *out, int64_t ld, int add) {
    tide_gemm g = {.m = m,
                   .n = n,
                   .k = k,
                   .a = x,
                   .ars = xrs,
                   .acs = xcs,
                   .b = y,
                   .brs = yrs,
                   .bcs = ycs,
                   .c = out,
                   .ldc = ld,
                   .accumulate = add};
    K(gemm)(&g);
}

/* Scores of queries q, [i0, i0 + n), and keys k, [j0, j0 + m): s (n, COLS), -inf where hidden.
 * `seen`: which queries see a key. `capped`: optional, what the cap made of them, before the bias.
 */
static void scores(const heads *a, rows q, rows k, int64_t b, int64_t h, int64_t i0, int64_t n,
                   int64_t j0, int64_t m, REAL *s, uint8_t *seen, REAL *capped) {
    product(n, m, a->W, q.p, q.step, 1, k.p, 1, k.step, s, COLS, 0);
    for (int64_t r = 0; r < n; r++) {
        REAL *restrict row = s + r * COLS;
        const int64_t i = i0 + r;
        for (int64_t j = 0; j < m; j++) row[j] *= a->scale;
        if (a->cap) {
            for (int64_t j = 0; j < m; j++) row[j] = a->cap * T_TANH(row[j] / a->cap);
            if (capped) memcpy(capped + r * COLS, row, (size_t)m * sizeof(REAL));
        }
        if (a->bias) {
            REAL room[COLS];
            const int64_t at =
                b * a->bias_by[0] + h * a->bias_by[1] + i * a->bias_by[2] + j0 * a->bias_by[3];
            const REAL *p = piece_read(a->bias, at, a->bias_by[3] ? m : 1, room);
            for (int64_t j = 0; j < m; j++) row[j] += p[j * a->bias_by[3]];
        }
        const int64_t place = i + a->offset - j0;
        int64_t from = 0, to = m;
        if (a->causal) to = TIDE_MIN(to, place + 1);
        if (a->window) {
            from = TIDE_MAX(from, place - a->window + 1);
            to = TIDE_MIN(to, place + a->window);
        }
        to = TIDE_MAX(to, 0), from = TIDE_MIN(from, m);
        for (int64_t j = 0; j < from; j++) row[j] = -INFINITY;
        for (int64_t j = to; j < m; j++) row[j] = -INFINITY;
        if (a->mask) {
            const uint8_t *p = a->mask + b * a->mask_by[0] + h * a->mask_by[1] + i * a->mask_by[2] +
                j0 * a->mask_by[3];
            for (int64_t j = from; j < to; j++) {
                const int there = p[j * a->mask_by[3]] != 0;
                row[j] = there ? row[j] : -INFINITY;
                seen[r] |= (uint8_t)there;
            }
        } else {
            seen[r] |= from < to;
        }
    }
}

/* What dropout makes of the weights of query i and keys [j0, j0 + m): factors, 0 or `kept`. */
static void draw(const heads *a, int64_t b, int64_t h, int64_t i, int64_t j0, int64_t m,
                 REAL *restrict keep) {
    const int64_t first = ((b * a->H + h) * a->T + i) * a->S + j0;
    const uint32_t last = (uint32_t)(a->limit - 1);
    const REAL kept = a->limit ? a->kept : 0;
    uint32_t w[TIDE_PHILOX_GROUP];
    for (int64_t j = 0; j < m;) {
        const int64_t at = (first + j) % TIDE_PHILOX_GROUP,
                      n = TIDE_MIN((int64_t)TIDE_PHILOX_GROUP - at, m - j);
        tide_philox_group(a->rng, (uint64_t)((first + j) / TIDE_PHILOX_GROUP), w);
        for (int64_t l = 0; l < n; l++) keep[j + l] = w[at + l] <= last ? kept : 0;
        j += n;
    }
}

/* -- forward -- */

/* s = exp(s - base), and the sum of that. What is hidden is -inf, for which libm's exp of vectors
 * calls the one of numbers. */
static REAL weights_below(int64_t n, REAL base, REAL *restrict s) {
    REAL total = 0;
#ifdef TIDE_EIGHTS
    tide_f8 sums = {0};
    int64_t j = 0;
    for (; j + 8 <= n; j += 8) {
        const tide_f8 v = tide_exp8(tide_f8_load(s + j) - base);
        tide_f8_store(s + j, v);
        sums += v;
    }
    if (j < n) {
        REAL last[8] = {0};
        const size_t rest = (size_t)(n - j) * sizeof *s;
        memcpy(last, s + j, rest);
        tide_f8_store(last, tide_exp8(tide_f8_load(last) - base));
        memcpy(s + j, last, rest);
        for (; j < n; j++) total += s[j];
    }
    for (int l = 0; l < 4; l++) total += sums[l] + sums[l + 4];
#else
    for (int64_t j = 0; j < n; j++) s[j] = T_EXP(s[j] - base);
#pragma omp simd reduction(+ : total)
    for (int64_t j = 0; j < n; j++) total += s[j];
#endif
    return total;
}

/* Takes a tile of scores in: they become weights below the largest so far. Each pass goes over all
 * rows, which do not wait for each other as the passes over one would. */
static void take_in(int64_t n, int64_t m, int64_t V, REAL *s, REAL *top, REAL *sum, REAL *out) {
    REAL kept[ROWS];
    for (int64_t r = 0; r < n; r++) {
        const REAL *restrict row = s + r * COLS;
        REAL most = top[r];
#pragma omp simd reduction(max : most)
        for (int64_t j = 0; j < m; j++) most = row[j] > most ? row[j] : most;
        kept[r] = top[r] == -INFINITY ? 0 : top[r] == most ? 1 : FN(exp)(top[r] - most);
        top[r] = most;
    }
    for (int64_t r = 0; r < n; r++)
        sum[r] =
            sum[r] * kept[r] + weights_below(m, top[r] == -INFINITY ? 0 : top[r], s + r * COLS);
    for (int64_t r = 0; r < n; r++)
        for (int64_t k = 0; k < V && kept[r] != 1; k++) out[r * V + k] *= kept[r];
}

/* REALs of a lane: scores, what is summed, and room for tiles of halves. */
static int64_t forward_room(const heads *a) {
    return ROWS * (COLS + a->V) + (a->half ? ROWS * a->W + COLS * (a->W + a->V) + a->V : 0);
}

static void forward_tile(const heads *a, int64_t b, int64_t h, int64_t i0, int64_t n, REAL *work,
                         const tide_buf *y, REAL *lse) {
    const int64_t V = a->V, g = h / (a->H / a->G);
    REAL *s = work, *out = s + ROWS * COLS, top[ROWS], sum[ROWS];
    REAL *q_room = out + ROWS * V, *k_room = q_room + ROWS * a->W, *v_room = k_room + COLS * a->W,
         *y_room = v_room + COLS * V;
    uint8_t seen[ROWS] = {0};
    for (int64_t r = 0; r < n; r++) top[r] = -INFINITY, sum[r] = 0;
    memset(out, 0, (size_t)(n * V) * sizeof(REAL));
    const rows q = queries(a, b, i0, h, n, q_room);
    int64_t from, to;
    reach(a, i0, n, &from, &to);
    for (int64_t j0 = from; j0 < to && !tide_stopped(); j0 += COLS) {
        const int64_t m = TIDE_MIN((int64_t)COLS, to - j0);
        scores(a, q, keys(a, b, j0, g, m, k_room), b, h, i0, n, j0, m, s, seen, NULL);
        take_in(n, m, V, s, top, sum, out);
        for (int64_t r = 0; r < n && a->drops; r++) {
            REAL keep[COLS], *restrict row = s + r * COLS;
            draw(a, b, h, i0 + r, j0, m, keep);
            for (int64_t j = 0; j < m; j++) row[j] *= keep[j];
        }
        const rows v = values(a, b, j0, g, m, v_room);
        product(n, V, m, s, COLS, 1, v.p, v.step, 1, out, V, 1);
    }
    for (int64_t r = 0; r < n; r++) {
        const int64_t at = query_at(a, b, i0 + r, h) * V;
        REAL *restrict to_y = piece_room(y, at, y_room);
        const REAL *restrict row = out + r * V;
        REAL *stat = lse + (b * a->H + h) * a->T + i0 + r;
        if (seen[r]) {
            for (int64_t k = 0; k < V; k++) to_y[k] = row[k] / sum[r];
            *stat = (top[r] == -INFINITY ? 0 : top[r]) + FN(log)(sum[r]);
        } else {
            memset(to_y, 0, (size_t)V * sizeof(REAL));
            for (int64_t j = 0; j < a->S && !a->drops; j++) {
                const REAL *restrict v = values(a, b, j, g, 1, v_room).p;
                for (int64_t k = 0; k < V; k++) to_y[k] += v[k];
            }
            for (int64_t k = 0; k < V; k++) to_y[k] /= (REAL)a->S;
            *stat = INFINITY;
        }
        piece_write(y, at, V, to_y);
    }
}

TIDE_KERNEL(attention_) { /* query, key, value, bias, mask -> y, lse */
    const tide_attention__attrs *at = c->attrs;
    const heads a = HEADS(c->in, at);
    REAL *lse = c->out[1].p;
    const int64_t tiles = TIDE_CEIL_DIV(a.T, (int64_t)ROWS), all = a.B * a.H * tiles;
    tide_lanes lanes;
    TIDE_DO(tide_lanes_new(c->dev, all, 1, (size_t)forward_room(&a) * sizeof(REAL), &lanes));
    TIDE_PARALLEL_FOR (all, 1) {
        for (int64_t t = lo; t < hi; t++) {
            const int64_t i0 = t % tiles * ROWS, h = t / tiles % a.H, b = t / tiles / a.H;
            forward_tile(&a, b, h, i0, TIDE_MIN((int64_t)ROWS, a.T - i0),
                         tide_lane(&lanes, share_->slot), &c->out[0], lse);
        }
    }
    return TIDE_OK;
}

/* -- backward --
 *
 * With P = exp(scores - lse), D = sum(dy y) per query, M what dropout makes of the weights: dv =
 * (P M)' dy, dscores = P (M (dy v') - D), from which dq = scale dscores k and dk = scale dscores'
 * q. */

typedef struct {
    const tide_buf *y, *dy, *dq, *dk, *dv;
    const REAL *lse;
    REAL *dbias; /* (B, H, T, S) or NULL */
} way;

/* Where the gradients of one head of key and value are summed: in place, or in room of a lane. */
typedef struct {
    REAL *dk, *dv;
    int64_t k_step, v_step; /* of a key, of a value */
} sums;

/* REALs of a lane: four tiles of scores, and for halves room for tiles and for the sums. */
static int64_t backward_room(const heads *a) {
    const int64_t each = a->W + a->V;
    return 4 * ROWS * COLS +
        (a->half ? (ROWS + COLS) * each + ROWS * a->W + a->V + a->S * each : 0);
}

static void backward_tile(const heads *a, const way *w, const sums *to_kv, int64_t b, int64_t h,
                          int64_t i0, int64_t n, REAL *work) {
    const int64_t W = a->W, V = a->V, g = h / (a->H / a->G);
    const int64_t at = query_at(a, b, i0, h), stat = (b * a->H + h) * a->T + i0;
    REAL *s = work, *ds = s + ROWS * COLS, *capped = ds + ROWS * COLS, *keep = capped + ROWS * COLS;
    REAL *q_room = keep + ROWS * COLS, *dy_room = q_room + ROWS * W, *k_room = dy_room + ROWS * V,
         *v_room = k_room + COLS * W, *dq_room = v_room + COLS * V, *y_room = dq_room + ROWS * W;
    REAL D[ROWS];
    uint8_t seen[ROWS] = {0};
    const rows q = queries(a, b, i0, h, n, q_room);
    const rows dy = rows_of(w->dy, at * V, n, a->H * V, V, dy_room);
    REAL *dq = piece_room(w->dq, at * W, dq_room);
    const int64_t dq_step = a->half ? W : a->H * W;
    if (a->half) memset(dq, 0, (size_t)(n * W) * sizeof(REAL));
    int64_t from, to;
    for (int64_t r = 0; r < n; r++) {
        const REAL *restrict d = dy.p + r * dy.step,
                             *restrict y = piece_read(w->y, (at + r * a->H) * V, V, y_room);
        D[r] = 0;
        for (int64_t k = 0; k < V; k++) D[r] += d[k] * y[k];
        for (int64_t j = 0; w->lse[stat + r] == INFINITY && !a->drops && j < a->S; j++) {
            REAL *restrict dv = to_kv->dv + j * to_kv->v_step;
            for (int64_t k = 0; k < V; k++) dv[k] += d[k] / (REAL)a->S;
        }
    }
    reach(a, i0, n, &from, &to);
    for (int64_t j0 = from; j0 < to && !tide_stopped(); j0 += COLS) {
        const int64_t m = TIDE_MIN((int64_t)COLS, to - j0);
        const rows k = keys(a, b, j0, g, m, k_room), v = values(a, b, j0, g, m, v_room);
        scores(a, q, k, b, h, i0, n, j0, m, s, seen, capped);
        for (int64_t r = 0; r < n; r++) weights_below(m, w->lse[stat + r], s + r * COLS);
        const REAL *acting = s;
        if (a->drops) { /* ds holds what acts of the weights until it takes its own */
            for (int64_t r = 0; r < n; r++) {
                REAL *restrict kept = keep + r * COLS, *restrict d = ds + r * COLS;
                draw(a, b, h, i0 + r, j0, m, kept);
                for (int64_t j = 0; j < m; j++) d[j] = s[r * COLS + j] * kept[j];
            }
            acting = ds;
        }
        product(m, V, n, acting, 1, COLS, dy.p, dy.step, 1, to_kv->dv + j0 * to_kv->v_step,
                to_kv->v_step, 1);
        product(n, m, V, dy.p, dy.step, 1, v.p, 1, v.step, ds, COLS, 0);
        for (int64_t r = 0; r < n; r++) {
            REAL *restrict d = ds + r * COLS;
            const REAL *restrict p = s + r * COLS, *restrict t = capped + r * COLS;
            for (int64_t j = 0; j < m && a->drops; j++) d[j] *= keep[r * COLS + j];
            for (int64_t j = 0; j < m; j++) d[j] = p[j] * (d[j] - D[r]);
            if (w->dbias) memcpy(w->dbias + (stat + r) * a->S + j0, d, (size_t)m * sizeof(REAL));
            if (a->cap)
                for (int64_t j = 0; j < m; j++) d[j] *= 1 - (t[j] / a->cap) * (t[j] / a->cap);
            for (int64_t j = 0; j < m; j++) d[j] *= a->scale;
        }
        product(n, W, m, ds, COLS, 1, k.p, k.step, 1, dq, dq_step, 1);
        product(m, W, n, ds, 1, COLS, q.p, q.step, 1, to_kv->dk + j0 * to_kv->k_step, to_kv->k_step,
                1);
    }
    for (int64_t r = 0; r < n; r++) piece_write(w->dq, (at + r * a->H) * W, W, dq + r * dq_step);
}

/* All queries of head g of key and value, one head of queries after the other. */
static void backward_head(const heads *a, const way *w, int64_t b, int64_t g, REAL *work) {
    const int64_t W = a->W, V = a->V, each = a->H / a->G, at = key_at(a, b, 0, g);
    sums to;
    if (a->half) {
        REAL *room = work + backward_room(a) - a->S * (W + V);
        to = (sums){.dk = room, .dv = room + a->S * W, .k_step = W, .v_step = V};
        memset(room, 0, (size_t)(a->S * (W + V)) * sizeof(REAL));
    } else {
        to = (sums){.dk = (REAL *)w->dk->p + at * W,
                    .dv = (REAL *)w->dv->p + at * V,
                    .k_step = a->G * W,
                    .v_step = a->G * V};
    }
    for (int64_t h = g * each; h < (g + 1) * each; h++)
        for (int64_t i0 = 0; i0 < a->T; i0 += ROWS)
            backward_tile(a, w, &to, b, h, i0, TIDE_MIN((int64_t)ROWS, a->T - i0), work);
    for (int64_t j = 0; j < a->S; j++) {
        piece_write(w->dk, key_at(a, b, j, g) * W, W, to.dk + j * to.k_step);
        piece_write(w->dv, key_at(a, b, j, g) * V, V, to.dv + j * to.v_step);
    }
}

/* query, key, value, bias, mask, y, lse, dy -> dquery, dkey, dvalue, dbias */
TIDE_KERNEL(attention_grad_) {
    const tide_attention_grad__attrs *at = c->attrs;
    const heads a = HEADS(c->in, at);
    const way w = {.y = &c->in[5],
                   .lse = c->in[6].p,
                   .dy = &c->in[7],
                   .dq = &c->out[0],
                   .dk = &c->out[1],
                   .dv = &c->out[2],
                   .dbias = at->biased ? c->out[3].p : NULL};
    for (int i = a.half ? 3 : 0; i < 4; i++)
        if (c->out[i].p) memset(c->out[i].p, 0, (size_t)tide_buf_numel(&c->out[i]) * sizeof(REAL));
    tide_lanes lanes;
    TIDE_DO(tide_lanes_new(c->dev, a.B * a.G, 1, (size_t)backward_room(&a) * sizeof(REAL), &lanes));
    TIDE_PARALLEL_FOR (a.B *a.G, 1) {
        for (int64_t t = lo; t < hi; t++)
            backward_head(&a, &w, t / a.G, t % a.G, tide_lane(&lanes, share_->slot));
    }
    return TIDE_OK;
}
