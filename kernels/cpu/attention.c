/* Attention in tiles, without the matrix of scores (Rabe and Staats 2021; Dao et al. 2022), and its
 * gradients.
 *
 * Forward, a tile of queries walks over tiles of keys and keeps, per query, the largest score so
 * far and the sum of exponentials below it; what it has summed is scaled when a larger score comes.
 * `lse`, log(sum exp(scores)), is all that the gradient needs to make a tile of weights again; it
 * is inf where a query sees nothing, whose result is the mean of all values. Chunks depend on the
 * shapes alone, and each writes what no other does.
 *
 * What dropout leaves of a tile is drawn from the counters of its places, forward and backward, and
 * never stored; the sum of exponentials is that of all weights. */
#include "gemm.h"
#include "philox.h"

enum { ROWS = 64, COLS = 128 };

typedef struct {
    int64_t B, T, S, H, G, W, V; /* q (B, T, H, W), k (B, S, G, W), v (B, S, G, V) */
    const REAL *q, *k, *v, *bias;
    const uint8_t *mask;
    int64_t bias_by[4],
        mask_by[4]; /* strides over (B, H, T, S), 0 where an extent stands for all */
    int64_t window; /* 0: none */
    int64_t offset; /* place of the first query among the keys */
    int causal, drops;
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
    a.q = in[0].p, a.k = in[1].p, a.v = in[2].p, a.bias = in[3].p;
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

/* Scores of queries [i0, i0 + n) and keys [j0, j0 + m): s (n, COLS), -inf where hidden. `seen`:
 * which queries see a key. `capped`: optional, what the cap made of them, before the bias. */
static void scores(const heads *a, int64_t b, int64_t h, int64_t i0, int64_t n, int64_t j0,
                   int64_t m, REAL *s, uint8_t *seen, REAL *capped) {
    product(n, m, a->W, a->q + query_at(a, b, i0, h) * a->W, a->H * a->W, 1,
            a->k + key_at(a, b, j0, h / (a->H / a->G)) * a->W, 1, a->G * a->W, s, COLS, 0);
    for (int64_t r = 0; r < n; r++) {
        REAL *restrict row = s + r * COLS;
        const int64_t i = i0 + r;
        for (int64_t j = 0; j < m; j++) row[j] *= a->scale;
        if (a->cap) {
            for (int64_t j = 0; j < m; j++) row[j] = a->cap * T_TANH(row[j] / a->cap);
            if (capped) memcpy(capped + r * COLS, row, (size_t)m * sizeof(REAL));
        }
        if (a->bias) {
            const REAL *p = a->bias + b * a->bias_by[0] + h * a->bias_by[1] + i * a->bias_by[2] +
                j0 * a->bias_by[3];
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

/* Takes a tile of scores in: they become weights below the largest so far. */
static void take_in(int64_t m, int64_t V, REAL *restrict s, REAL *top, REAL *sum,
                    REAL *restrict out) {
    REAL most = *top, total = 0;
#pragma omp simd reduction(max : most)
    for (int64_t j = 0; j < m; j++) most = s[j] > most ? s[j] : most;
    const REAL base = most == -INFINITY ? 0 : most;
    const REAL kept = *top == -INFINITY ? 0 : FN(exp)(*top - base);
    for (int64_t j = 0; j < m; j++) s[j] = T_EXP(s[j] - base);
#pragma omp simd reduction(+ : total)
    for (int64_t j = 0; j < m; j++) total += s[j];
    *sum = *sum * kept + total;
    if (kept != 1)
        for (int64_t k = 0; k < V; k++) out[k] *= kept;
    *top = most;
}

static void forward_tile(const heads *a, int64_t b, int64_t h, int64_t i0, int64_t n, REAL *work,
                         REAL *y, REAL *lse) {
    const int64_t V = a->V, g = h / (a->H / a->G);
    REAL *s = work, *out = s + ROWS * COLS, top[ROWS], sum[ROWS];
    uint8_t seen[ROWS] = {0};
    for (int64_t r = 0; r < n; r++) top[r] = -INFINITY, sum[r] = 0;
    memset(out, 0, (size_t)(n * V) * sizeof(REAL));
    int64_t from, to;
    reach(a, i0, n, &from, &to);
    for (int64_t j0 = from; j0 < to && !tide_stopped(); j0 += COLS) {
        const int64_t m = TIDE_MIN((int64_t)COLS, to - j0);
        scores(a, b, h, i0, n, j0, m, s, seen, NULL);
        for (int64_t r = 0; r < n; r++) {
            REAL *restrict row = s + r * COLS;
            take_in(m, V, row, top + r, sum + r, out + r * V);
            if (!a->drops) continue;
            REAL keep[COLS];
            draw(a, b, h, i0 + r, j0, m, keep);
            for (int64_t j = 0; j < m; j++) row[j] *= keep[j];
        }
        product(n, V, m, s, COLS, 1, a->v + key_at(a, b, j0, g) * V, a->G * V, 1, out, V, 1);
    }
    for (int64_t r = 0; r < n; r++) {
        REAL *restrict to_y = y + query_at(a, b, i0 + r, h) * V;
        const REAL *restrict row = out + r * V;
        REAL *stat = lse + (b * a->H + h) * a->T + i0 + r;
        if (seen[r]) {
            for (int64_t k = 0; k < V; k++) to_y[k] = row[k] / sum[r];
            *stat = (top[r] == -INFINITY ? 0 : top[r]) + FN(log)(sum[r]);
            continue;
        }
        memset(to_y, 0, (size_t)V * sizeof(REAL));
        for (int64_t j = 0; j < a->S && !a->drops; j++) {
            const REAL *restrict v = a->v + key_at(a, b, j, g) * V;
            for (int64_t k = 0; k < V; k++) to_y[k] += v[k];
        }
        for (int64_t k = 0; k < V; k++) to_y[k] /= (REAL)a->S;
        *stat = INFINITY;
    }
}

TIDE_KERNEL(attention_) { /* query, key, value, bias, mask -> y, lse */
    const tide_attention__attrs *at = c->attrs;
    const heads a = HEADS(c->in, at);
    REAL *y = c->out[0].p, *lse = c->out[1].p;
    const int64_t tiles = TIDE_CEIL_DIV(a.T, (int64_t)ROWS), all = a.B * a.H * tiles;
    tide_lanes lanes;
    TIDE_DO(tide_lanes_new(c->dev, all, 1, (size_t)(ROWS * (COLS + a.V)) * sizeof(REAL), &lanes));
    TIDE_PARALLEL_FOR (all, 1) {
        for (int64_t t = lo; t < hi; t++) {
            const int64_t i0 = t % tiles * ROWS, h = t / tiles % a.H, b = t / tiles / a.H;
            forward_tile(&a, b, h, i0, TIDE_MIN((int64_t)ROWS, a.T - i0),
                         tide_lane(&lanes, share_->slot), y, lse);
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
    const REAL *y, *lse, *dy;
    REAL *dq, *dk, *dv, *dbias; /* dbias (B, H, T, S) or NULL */
} way;

static void backward_tile(const heads *a, const way *w, int64_t b, int64_t h, int64_t i0, int64_t n,
                          REAL *work) {
    const int64_t W = a->W, V = a->V, g = h / (a->H / a->G);
    const int64_t at = query_at(a, b, i0, h), stat = (b * a->H + h) * a->T + i0;
    REAL *s = work, *ds = s + ROWS * COLS, *capped = ds + ROWS * COLS, *keep = capped + ROWS * COLS;
    REAL D[ROWS];
    uint8_t seen[ROWS] = {0};
    int64_t from, to;
    for (int64_t r = 0; r < n; r++) {
        const REAL *restrict dy = w->dy + (at + r * a->H) * V, *restrict y = w->y + (dy - w->dy);
        D[r] = 0;
        for (int64_t k = 0; k < V; k++) D[r] += dy[k] * y[k];
        for (int64_t j = 0; w->lse[stat + r] == INFINITY && !a->drops && j < a->S; j++) {
            REAL *restrict dv = w->dv + key_at(a, b, j, g) * V;
            for (int64_t k = 0; k < V; k++) dv[k] += dy[k] / (REAL)a->S;
        }
    }
    reach(a, i0, n, &from, &to);
    for (int64_t j0 = from; j0 < to && !tide_stopped(); j0 += COLS) {
        const int64_t m = TIDE_MIN((int64_t)COLS, to - j0), key = key_at(a, b, j0, g);
        scores(a, b, h, i0, n, j0, m, s, seen, capped);
        for (int64_t r = 0; r < n; r++) {
            REAL *restrict row = s + r * COLS;
            const REAL base = w->lse[stat + r];
            for (int64_t j = 0; j < m; j++) row[j] = T_EXP(row[j] - base);
        }
        const REAL *acting = s;
        if (a->drops) { /* ds holds what acts of the weights until it takes its own */
            for (int64_t r = 0; r < n; r++) {
                REAL *restrict k = keep + r * COLS, *restrict d = ds + r * COLS;
                draw(a, b, h, i0 + r, j0, m, k);
                for (int64_t j = 0; j < m; j++) d[j] = s[r * COLS + j] * k[j];
            }
            acting = ds;
        }
        product(m, V, n, acting, 1, COLS, w->dy + at * V, a->H * V, 1, w->dv + key * V, a->G * V,
                1);
        product(n, m, V, w->dy + at * V, a->H * V, 1, a->v + key * V, 1, a->G * V, ds, COLS, 0);
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
        product(n, W, m, ds, COLS, 1, a->k + key * W, a->G * W, 1, w->dq + at * W, a->H * W, 1);
        product(m, W, n, ds, 1, COLS, a->q + at * W, a->H * W, 1, w->dk + key * W, a->G * W, 1);
    }
}

/* query, key, value, bias, mask, y, lse, dy -> dquery, dkey, dvalue, dbias. A chunk is all queries
 * of one head of key and value, one after the other. */
TIDE_KERNEL(attention_grad_) {
    const tide_attention_grad__attrs *at = c->attrs;
    const heads a = HEADS(c->in, at);
    const way w = {.y = c->in[5].p,
                   .lse = c->in[6].p,
                   .dy = c->in[7].p,
                   .dq = c->out[0].p,
                   .dk = c->out[1].p,
                   .dv = c->out[2].p,
                   .dbias = at->biased ? c->out[3].p : NULL};
    for (int i = 0; i < 4; i++)
        if (c->out[i].p) memset(c->out[i].p, 0, (size_t)tide_buf_numel(&c->out[i]) * sizeof(REAL));
    tide_lanes lanes;
    TIDE_DO(tide_lanes_new(c->dev, a.B * a.G, 1, (size_t)(4 * ROWS * COLS) * sizeof(REAL), &lanes));
    TIDE_PARALLEL_FOR (a.B *a.G, 1) {
        for (int64_t t = lo; t < hi; t++) {
            const int64_t b = t / a.G, each = a.H / a.G, first = t % a.G * each;
            for (int64_t h = first; h < first + each; h++)
                for (int64_t i0 = 0; i0 < a.T; i0 += ROWS)
                    backward_tile(&a, &w, b, h, i0, TIDE_MIN((int64_t)ROWS, a.T - i0),
                                  tide_lane(&lanes, share_->slot));
        }
    }
    return TIDE_OK;
}
