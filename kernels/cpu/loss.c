/* Cross-entropies, the accuracies of metrics.
 *
 * Along the class axis every tensor is (outer, n, inner); an example is (o, l) and has number o *
 * inner + l. The forward leaves one statistic per example, log(sum(exp(logits - their largest))) or
 * sum(p), from which the gradient needs one more pass. Probabilities as in Keras: q = p / sum(p),
 * clipped to 1e-7 .. 1 - 1e-7; beyond the limits the gradient is 0. */
#include "cpu.h"
#include "half.h"
#include "labels.h"
#include "rows.h"

static const REAL LEAST = (REAL)1e-7, MOST = (REAL)(1 - 1e-7);
static inline REAL clipped(REAL q) { return q < LEAST ? LEAST : q > MOST ? MOST : q; }
static inline int inside(REAL q) { return q >= LEAST && q <= MOST; }

static inline int64_t element(rows a, int64_t example) {
    return example / a.inner * a.n * a.inner + example % a.inner;
}

/* stat[outer * inner] of x; of logits also the largest, top[outer * inner] */
static void statistic(rows a, const REAL *x, int from_logits, REAL *top, REAL *stat) {
    if (a.inner == 1) {
        TIDE_PARALLEL_FOR (a.outer, rows_grain(a)) {
            if (from_logits) rows_lse(a.n, lo, hi, x, top, stat);
            else
                for (int64_t r = lo; r < hi; r++) stat[r] = row_total(a.n, x + r * a.n);
        }
        return;
    }
    TIDE_PARALLEL_FOR (a.outer *a.tiles, TIDE_MAX(1, PIECE / (a.n * TILE))) {
        for (int64_t t = lo; t < hi; t++) {
            const int64_t base = tile_base(a, t), w = tile_width(a, t);
            const int64_t first = t / a.tiles * a.inner + t % a.tiles * TILE;
            REAL *z = stat + first;
            if (from_logits) tile_lse(a, x + base, w, top + first, z);
            else {
                for (int64_t l = 0; l < w; l++) z[l] = 0;
                TIDE_IN_BLOCKS(i, a.n)
                for (int64_t l = 0; l < w; l++) z[l] += x[base + i * a.inner + l];
            }
        }
    }
}

/* y = x - log(sum(exp(x))) of a row whose statistic is z */
static inline void less_lse(int64_t n, const REAL *x, REAL z, REAL *y) {
    const REAL top = row_max(n, x);
    TIDE_IN_BLOCKS(i, n) y[i] = (x[i] - top) - z;
}
/* The largest logit of the example at x. */
static inline REAL largest(rows a, const REAL *x) {
    REAL m;
    tile_max(a, x, 1, &m);
    return m;
}

/* loss = lse - x[label], or -log q[label]; label < 0: 0 */
static void losses_of(rows a, const REAL *x, const int64_t *label, int from_logits, REAL *loss,
                      REAL *stat) {
    statistic(a, x, from_logits, loss, stat); /* the largest logits stand in loss first */
    for (int64_t i = 0; i < a.outer * a.inner; i++) {
        if (label[i] < 0) {
            loss[i] = 0;
            continue;
        }
        const REAL v = x[element(a, i) + label[i] * a.inner];
        loss[i] = from_logits ? (loss[i] - v) + stat[i] : -T_LOG(clipped(v / stat[i]));
    }
}

#if REAL_IS_FLOAT
/* The same for a logits or probabilities in half, widened some rows at a time. */
static tide_status half_losses(tide_kcall *c, rows a, const int64_t *label, int from_logits,
                               REAL *loss, REAL *stat) {
    const int64_t row = a.n * a.inner, grain = TIDE_MAX(1, 2 * PIECE / row);
    const uint16_t *x = c->in[0].p;
    const int dtype = c->in[0].dtype;
    tide_lanes lanes;
    TIDE_DO(tide_lanes_new(c->dev, a.outer, grain, (size_t)(grain * row) * sizeof(REAL), &lanes));
    TIDE_PARALLEL_FOR (a.outer, grain) {
        REAL *wide = tide_lane(&lanes, share_->slot);
        rows part = a;
        part.outer = hi - lo;
        K(widen)(dtype, (hi - lo) * row, x + lo * row, wide);
        losses_of(part, wide, label + lo * a.inner, from_logits, loss + lo * a.inner,
                  stat + lo * a.inner);
    }
    return TIDE_OK;
}
#else
#define half_losses(c, a, label, from_logits, loss, stat) TIDE_DECLINE
#endif

TIDE_KERNEL(sparse_cross_entropy_) { /* output, target, weight -> loss, stat */
    const tide_sparse_cross_entropy__attrs *at = c->attrs;
    const rows a = rows_around(&c->in[0], at->axis);
    const int64_t n = a.outer * a.inner;
    const int half = tide_is_half(c->out[0].dtype) ? c->out[0].dtype : 0;
    REAL *loss = c->out[0].p, *stat = c->out[1].p;
    if (!n) return TIDE_OK;
    int64_t *label = tide_scratch(c->dev, (size_t)n * sizeof *label);
    if (half) loss = tide_scratch(c->dev, (size_t)n * sizeof *loss);
    if (!label || !loss) return TIDE_ENOMEM;
    TIDE_DO(tide_read_labels(c, 1, at->base, a.n, at->ignore_class, &c->in[2], n, label));
    if (!a.n) { /* every example is skipped, else its label were out of range */
        for (int64_t i = 0; i < n; i++) loss[i] = stat[i] = 0;
    } else if (half) {
        TIDE_DO(half_losses(c, a, label, at->from_logits, loss, stat));
    } else {
        losses_of(a, c->in[0].p, label, at->from_logits, loss, stat);
    }
    for (int64_t i = 0; i < n && c->in[2].p; i++)
        if (label[i] >= 0) loss[i] *= (REAL)tide_number_at(&c->in[2], i);
#if REAL_IS_FLOAT
    if (half) K(narrow)(half, n, loss, c->out[0].p);
#endif
    return TIDE_OK;
}

/* logits: dx = g (exp(x - lse) - 1[label]); probabilities, q inside its limits: dp = g (1 / S -
 * 1[label] / p), S = sum p */
TIDE_KERNEL(sparse_cross_entropy_grad_) { /* dy, output, target, stat, weight */
    const tide_sparse_cross_entropy_grad__attrs *at = c->attrs;
    const rows a = rows_around(&c->in[1], at->axis);
    const int64_t n = a.outer * a.inner;
    const REAL *dy = c->in[0].p, *x = c->in[1].p, *stat = c->in[3].p, *weight = c->in[4].p;
    REAL *dx = c->out[0].p;
    if (!n || !a.n) return TIDE_OK;
    TIDE_PARALLEL_FOR (n, rows_grain(a)) {
        if (at->from_logits && a.inner == 1) {
            for (int64_t r = lo; r < hi; r++) less_lse(a.n, x + r * a.n, stat[r], dx + r * a.n);
            REAL *const own = dx + lo * a.n;
            exp_less((hi - lo) * a.n, own, 0, own);
        }
        for (int64_t r = lo; r < hi; r++) {
            const int64_t raw = tide_label_at(&c->in[2], r),
                          label = tide_label_from(&c->in[2], r, at->base), base = element(a, r);
            const int skip = (at->ignore_class != TIDE_NONE && raw == at->ignore_class) ||
                (weight && weight[r] == 0);
            const REAL g = weight ? dy[r] * weight[r] : dy[r], z = stat[r],
                       top = at->from_logits && a.inner > 1 ? largest(a, x + base) : 0;
            if (skip || label < 0 || label >= a.n) {
                TIDE_IN_BLOCKS(i, a.n) dx[base + i * a.inner] = 0;
            } else if (at->from_logits) {
                if (a.inner == 1) TIDE_IN_BLOCKS(i, a.n) dx[base + i] *= g;
                else TIDE_IN_BLOCKS(i, a.n)
                dx[base + i * a.inner] = g * T_EXP((x[base + i * a.inner] - top) - z);
                dx[base + label * a.inner] -= g;
            } else {
                const REAL p = x[base + label * a.inner], f = inside(p / z) ? g : 0;
                TIDE_IN_BLOCKS(i, a.n) dx[base + i * a.inner] = f / z;
                dx[base + label * a.inner] -= f == 0 ? 0 : f / p;
            }
        }
    }
    return TIDE_OK;
}

/* t = target (1 - s) + s / n; loss = lse sum(t) - sum(t x), or -sum(t log q) */
TIDE_KERNEL(cross_entropy_) { /* output, target -> loss, stat */
    const tide_cross_entropy__attrs *at = c->attrs;
    const rows a = rows_around(&c->in[0], at->axis);
    const int64_t n = a.outer * a.inner;
    const REAL *x = c->in[0].p, *t = c->in[1].p, s = (REAL)at->label_smoothing, keep = 1 - s,
               add = a.n ? s / (REAL)a.n : 0;
    REAL *loss = c->out[0].p, *stat = c->out[1].p;
    if (!n || !a.n) {
        for (int64_t i = 0; i < n; i++) loss[i] = stat[i] = 0;
        return TIDE_OK;
    }
    statistic(a, x, at->from_logits, loss, stat); /* the largest logits stand in loss first */
    TIDE_PARALLEL_FOR (n, rows_grain(a)) {
        for (int64_t r = lo; r < hi; r++) {
            const int64_t base = element(a, r), step = a.inner;
            const REAL z = stat[r], top = loss[r];
            double e = 0;
            if (at->from_logits) TIDE_IN_BLOCKS(i, a.n) {
                    const REAL w = t[base + i * step] * keep + add;
                    /* 0 * inf where a logit is -inf */
                    e += w == 0 ? 0 : (double)(w * ((top - x[base + i * step]) + z));
                }
            else TIDE_IN_BLOCKS(i, a.n)
            e -= (double)((t[base + i * step] * keep + add) *
                          T_LOG(clipped(x[base + i * step] / z)));
            loss[r] = (REAL)e;
        }
    }
    return TIDE_OK;
}

/* logits: dx = g (exp(x - lse) sum(t) - t); probabilities: with u_i = t_i where q_i is inside its
 * limits, else 0: dp_i = g (sum(u) / S - u_i / p_i) */
TIDE_KERNEL(cross_entropy_grad_) { /* dy, output, target, stat */
    const tide_cross_entropy_grad__attrs *at = c->attrs;
    const rows a = rows_around(&c->in[1], at->axis);
    const int64_t n = a.outer * a.inner;
    const REAL *dy = c->in[0].p, *x = c->in[1].p, *t = c->in[2].p, *stat = c->in[3].p;
    const REAL s = (REAL)at->label_smoothing, keep = 1 - s, add = a.n ? s / (REAL)a.n : 0;
    REAL *dx = c->out[0].p;
    if (!n || !a.n) return TIDE_OK;
    TIDE_PARALLEL_FOR (n, rows_grain(a)) {
        if (at->from_logits && a.inner == 1) {
            for (int64_t r = lo; r < hi; r++) less_lse(a.n, x + r * a.n, stat[r], dx + r * a.n);
            REAL *const own = dx + lo * a.n;
            exp_less((hi - lo) * a.n, own, 0, own);
        }
        for (int64_t r = lo; r < hi; r++) {
            const int64_t base = element(a, r), step = a.inner;
            const REAL g = dy[r], z = stat[r],
                       top = at->from_logits && a.inner > 1 ? largest(a, x + base) : 0;
            REAL sum = 0;
            if (at->from_logits) {
                TIDE_IN_BLOCKS(i, a.n) sum += t[base + i * step] * keep + add;
                TIDE_IN_BLOCKS(i, a.n) {
                    const int64_t k = base + i * step;
                    const REAL p = step == 1 ? dx[k] : T_EXP((x[k] - top) - z);
                    dx[k] = g * (p * sum - (t[k] * keep + add));
                }
            } else {
                TIDE_IN_BLOCKS(i, a.n)
                sum += inside(x[base + i * step] / z) ? t[base + i * step] * keep + add : 0;
                TIDE_IN_BLOCKS(i, a.n) {
                    const int64_t k = base + i * step;
                    dx[k] = g * (sum / z - (inside(x[k] / z) ? (t[k] * keep + add) / x[k] : 0));
                }
            }
        }
    }
    return TIDE_OK;
}

/* logits: max(x, 0) - x t + log(1 + exp(-|x|)) */
static void bce_logits(int64_t n, const REAL *t, const REAL *x, REAL *y) {
#pragma omp simd
    for (int64_t i = 0; i < n; i++)
        y[i] = (x[i] > 0 ? x[i] : 0) - x[i] * t[i] + T_LOG1P(T_EXP(-T_ABS(x[i])));
}
static void bce_probabilities(int64_t n, const REAL *t, const REAL *x, REAL *y) {
#pragma omp simd
    for (int64_t i = 0; i < n; i++) {
        REAL p = x[i] < LEAST ? LEAST : x[i];
        p = p > MOST ? MOST : p;
        y[i] = -(t[i] * T_LOG(p) + (1 - t[i]) * T_LOG(1 - p));
    }
}
TIDE_KERNEL(binary_crossentropy) { /* target, output */
    const tide_binary_crossentropy_attrs *at = c->attrs;
    const REAL *t = c->in[0].p, *x = c->in[1].p;
    REAL *y = c->out[0].p;
    TIDE_PARALLEL_FOR (tide_buf_numel(&c->out[0]), 8192) {
        (at->from_logits ? bce_logits : bce_probabilities)(hi - lo, t + lo, x + lo, y + lo);
    }
    return TIDE_OK;
}

/* logits: dy (sigmoid(x) - t); probabilities: dy (p - t) / (p (1 - p)) inside the limits */
TIDE_KERNEL(binary_crossentropy_grad_) { /* dy, target, output */
    const tide_binary_crossentropy_grad__attrs *at = c->attrs;
    const REAL *dy = c->in[0].p, *t = c->in[1].p, *x = c->in[2].p;
    REAL *dx = c->out[0].p;
    TIDE_PARALLEL_FOR (tide_buf_numel(&c->out[0]), 16384) {
        if (at->from_logits) {
#pragma omp simd
            for (int64_t i = lo; i < hi; i++) dx[i] = dy[i] * (T_SIGMOID(x[i]) - t[i]);
        } else {
#pragma omp simd
            for (int64_t i = lo; i < hi; i++) {
                const REAL d = dy[i] * (x[i] - t[i]) / (x[i] * (1 - x[i]));
                dx[i] = (x[i] < LEAST) | (x[i] > MOST) ? 0 : d;
            }
        }
    }
    return TIDE_OK;
}

/* loss = sum((x - t)^2) / n over rows of n */
TIDE_KERNEL(squared_error_) { /* output, target */
    const tide_buf *b = &c->in[0];
    const int64_t n = b->shape[b->rank - 1], m = tide_buf_numel(&c->out[0]);
    const REAL *x = b->p, *t = c->in[1].p;
    REAL *y = c->out[0].p;
    TIDE_PARALLEL_FOR (m, tide_even_grain(m, n, 32768)) {
        if (n == 1) {
#pragma omp simd
            for (int64_t i = lo; i < hi; i++) y[i] = (x[i] - t[i]) * (x[i] - t[i]);
        }
        for (int64_t r = lo; r < hi && n != 1; r++) {
            double sum = 0;
            const REAL *xr = x + r * n, *tr = t + r * n;
            TIDE_SIMD_IN_BLOCKS(i, n, reduction(+ : sum)) {
                const double e = (double)(xr[i] - tr[i]);
                sum += e * e;
            }
            y[r] = (REAL)(sum / (double)n);
        }
    }
    return TIDE_OK;
}

/* dx = g (x - t) */
static void scaled_difference(int64_t n, REAL g, const REAL *x, const REAL *t, REAL *dx) {
    TIDE_SIMD_IN_BLOCKS(i, n, ) dx[i] = g * (x[i] - t[i]);
}
/* g = 2 dy / n, dy one number per row, or one for all of them */
TIDE_KERNEL(squared_error_grad_) { /* dy, output, target */
    const tide_buf *b = &c->in[1];
    const int64_t n = b->shape[b->rank - 1], all = tide_buf_numel(b), m = tide_buf_numel(&c->in[0]);
    const REAL *dy = c->in[0].p, *x = b->p, *t = c->in[2].p, share = 2 / (REAL)n;
    REAL *dx = c->out[0].p;
    if (m == 1) {
        TIDE_PARALLEL_FOR (all, tide_even_grain(all, 1, 32768)) {
            scaled_difference(hi - lo, dy[0] * share, x + lo, t + lo, dx + lo);
        }
        return TIDE_OK;
    }
    TIDE_PARALLEL_FOR (m, tide_even_grain(m, n, 32768)) {
        if (n == 1) {
#pragma omp simd
            for (int64_t i = lo; i < hi; i++) dx[i] = dy[i] * share * (x[i] - t[i]);
        } else {
            for (int64_t r = lo, i = lo * n; r < hi; r++, i += n)
                scaled_difference(n, dy[r] * share, x + i, t + i, dx + i);
        }
    }
    return TIDE_OK;
}

/* Place of the largest element, the first of equals; of a row with NaN the first NaN. */
static int64_t place_of_max(int64_t n, int64_t step, const REAL *x) {
    int64_t at = 0;
    for (int64_t i = 1; i < n; i++) {
        const REAL v = x[i * step], m = x[at * step];
        if (v > m || (v != v && m == m)) at = i;
    }
    return at;
}

TIDE_KERNEL(sparse_accuracy_) { /* output, target */
    const tide_sparse_accuracy__attrs *at = c->attrs;
    const rows a = rows_around(&c->in[0], at->axis);
    const REAL *x = c->in[0].p;
    REAL *y = c->out[0].p;
    TIDE_PARALLEL_FOR (a.outer *a.inner, TIDE_MAX(1, 4 * PIECE / (a.n + 1))) {
        for (int64_t r = lo; r < hi; r++)
            y[r] = a.n &&
                place_of_max(a.n, a.inner, x + element(a, r)) ==
                    tide_label_from(&c->in[1], r, at->base);
    }
    return TIDE_OK;
}

TIDE_KERNEL(categorical_accuracy_) { /* output, target */
    const tide_categorical_accuracy__attrs *at = c->attrs;
    const rows a = rows_around(&c->in[0], at->axis);
    const REAL *t = c->in[1].p, *x = c->in[0].p;
    REAL *y = c->out[0].p;
    TIDE_PARALLEL_FOR (a.outer *a.inner, TIDE_MAX(1, 2 * PIECE / (a.n + 1))) {
        for (int64_t r = lo; r < hi; r++) {
            const int64_t base = element(a, r);
            y[r] =
                a.n && place_of_max(a.n, a.inner, x + base) == place_of_max(a.n, a.inner, t + base);
        }
    }
    return TIDE_OK;
}

TIDE_KERNEL(top_k_accuracy_) { /* output, target */
    const tide_top_k_accuracy__attrs *at = c->attrs;
    const rows a = rows_around(&c->in[0], c->in[0].rank - 1);
    const REAL *x = c->in[0].p;
    REAL *y = c->out[0].p;
    TIDE_PARALLEL_FOR (a.outer, TIDE_MAX(1, 4 * PIECE / (a.n + 1))) {
        for (int64_t r = lo; r < hi; r++) {
            const int64_t label = tide_label_from(&c->in[1], r, at->base);
            int64_t larger = 0;
            if (label < 0 || label >= a.n) {
                y[r] = 0;
                continue;
            }
            const REAL v = x[r * a.n + label];
            TIDE_IN_BLOCKS(i, a.n) larger += !(x[r * a.n + i] <= v);
            y[r] = larger < at->k;
        }
    }
    return TIDE_OK;
}
