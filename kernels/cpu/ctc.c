/* CTC: the forward-backward lattice of Graves et al. 2006 over the labels with blanks between them,
 * in logarithms. */
#include "cpu.h"
#include "labels.h"
#include "rows.h"

static inline double log_add(double a, double b) {
    if (a < b) {
        const double v = a;
        a = b, b = v;
    }
    return b == -INFINITY ? a : a + log1p(exp(b - a));
}

/* One sequence: T steps of C logits, L labels given as channels. alpha: T * (2 L + 1), beta: 2 * (2
 * L + 1), z: 2 T. */
static REAL sequence(int64_t T, int64_t C, int64_t L, int64_t blank, const REAL *x,
                     const int64_t *label, double *alpha, double *beta, REAL *z, REAL *dx) {
    const int64_t S = 2 * L + 1;
    const REAL *m = z + T;
    rows_lse(C, 0, T, x, z + T, z);
#define CHANNEL(s) ((s) % 2 ? label[(s) / 2] : blank)
#define LOGP(t, s) ((double)((x[(t)*C + CHANNEL(s)] - m[t]) - z[t]))
#define SKIPS(s) \
    ((s) % 2 && (s) > 1 && label[(s) / 2] != label[(s) / 2 - 1]) /* from s - 2, over the blank */
    for (int64_t i = 0; i < T * S; i++) alpha[i] = -INFINITY;
    if (T == 0) return L == 0 ? 0 : (REAL)INFINITY;
    alpha[0] = LOGP(0, 0);
    if (S > 1) alpha[1] = LOGP(0, 1);
    for (int64_t t = 1; t < T && !tide_stopped(); t++) {
        const double *a = alpha + (t - 1) * S;
        for (int64_t s = 0; s < S; s++) {
            double v = a[s];
            if (s > 0) v = log_add(v, a[s - 1]);
            if (SKIPS(s)) v = log_add(v, a[s - 2]);
            alpha[t * S + s] = v == -INFINITY ? v : v + LOGP(t, s);
        }
    }
    const double *last = alpha + (T - 1) * S;
    const double total = S > 1 ? log_add(last[S - 1], last[S - 2]) : last[S - 1];
    if (!(total > -INFINITY)) { /* no path is long enough */
        for (int64_t i = 0; i < T * C; i++) dx[i] = 0;
        return total != total ? (REAL)NAN : (REAL)INFINITY;
    }
    for (int64_t t = 0; t < T; t++)
        for (int64_t k = 0; k < C; k++) dx[t * C + k] = T_EXP((x[t * C + k] - m[t]) - z[t]);
    double *now = beta, *next = beta + S;
    for (int64_t t = T - 1; t >= 0 && !tide_stopped();
         t--) { /* now[s]: log probability of the rest after step t from s */
        for (int64_t s = 0; s < S; s++) {
            if (t == T - 1) {
                now[s] = s >= S - 2 ? 0 : -INFINITY;
            } else {
                double v = next[s] == -INFINITY ? next[s] : next[s] + LOGP(t + 1, s);
                if (s + 1 < S && next[s + 1] != -INFINITY)
                    v = log_add(v, next[s + 1] + LOGP(t + 1, s + 1));
                if (s + 2 < S && SKIPS(s + 2) && next[s + 2] != -INFINITY)
                    v = log_add(v, next[s + 2] + LOGP(t + 1, s + 2));
                now[s] = v;
            }
            const double share = alpha[t * S + s] + now[s] - total;
            if (share > -745) dx[t * C + CHANNEL(s)] -= (REAL)exp(share);
        }
        double *swap = now;
        now = next, next = swap;
    }
    return (REAL)-total;
}

TIDE_KERNEL(
    ctc_) { /* output, target, target_length, output_length -> loss, gradient of the logits */
    const tide_ctc__attrs *at = c->attrs;
    const int64_t N = c->in[0].shape[0], T = c->in[0].shape[1], C = c->in[0].shape[2],
                  L = c->in[1].shape[1];
    const REAL *x = c->in[0].p;
    REAL *loss = c->out[0].p, *dx = c->out[1].p;
    if (N == 0) return TIDE_OK;
    int64_t *labels = tide_scratch(c->dev, (size_t)(N * L) * sizeof *labels);
    if (!labels) return TIDE_ENOMEM;
    for (int64_t n = 0; n < N; n++) {
        const int64_t l = tide_label_at(&c->in[2], n), t = tide_label_at(&c->in[3], n);
        if (l < 0 || l > L) return tide_bad_label(c, 2, n, 0, L + 1);
        if (t < 0 || t > T) return tide_bad_label(c, 3, n, 0, T + 1);
        for (int64_t i = 0; i < l; i++) {
            const int64_t v = tide_label_at(&c->in[1], n * L + i);
            if (v < 1 || v > C - 1) return tide_bad_label(c, 1, n * L + i, 1, C - 1);
            labels[n * L + i] = v - 1 < at->mask_index ? v - 1 : v;
        }
    }
    const int64_t S = 2 * L + 1; /* alpha (T, S), beta (2, S), z (2 T) */
    tide_lanes lanes;
    TIDE_DO(tide_lanes_new(c->dev, N, 1, (size_t)((T + 2) * S + 2 * T) * sizeof(double), &lanes));
    TIDE_PARALLEL_FOR (N, 1) {
        double *alpha = tide_lane(&lanes, share_->slot), *beta = alpha + T * S;
        REAL *z = (REAL *)(beta + 2 * S);
        for (int64_t n = lo; n < hi; n++) {
            const int64_t l = tide_label_at(&c->in[2], n), t = tide_label_at(&c->in[3], n);
            REAL *d = dx + n * T * C;
            loss[n] =
                sequence(t, C, l, at->mask_index, x + n * T * C, labels + n * L, alpha, beta, z, d);
            for (int64_t i = t * C; i < T * C; i++) d[i] = 0;
        }
    }
    return TIDE_OK;
}
