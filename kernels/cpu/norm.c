/* Batch and layer normalization.
 *
 * Statistics of channels-last data are gathered in blocks of rows: sums of x - k and (x - k)^2 with
 * k the block's first row, in REAL for 32 rows and in double beyond, then joined in order by Chan's
 * formula, so a large mean costs no digits and the bits do not depend on threads. Few channels are
 * handled as rows of several positions, to fill the vectors. */
#include "pieces.h"

enum { LANES = 64, FLUSH = 32 };
#define EACH_LANE _Pragma("omp simd") for (int64_t l = 0; l < n; l++)

/* (outer, C, inner) around the feature axis */
typedef struct {
    int64_t outer, C, inner;
} layout;
static layout layout_of(const tide_buf *x, int64_t axis) {
    layout a = {1, x->shape[axis], 1};
    for (int i = 0; i < axis; i++) a.outer *= x->shape[i];
    for (int i = (int)axis + 1; i < x->rank; i++) a.inner *= x->shape[i];
    return a;
}

/* How a matrix of M rows and C columns is cut: LANES columns at a time, `pack` rows seen as one
 * row. */
typedef struct {
    int64_t rows, blocks, tiles, pack, grain;
} cut;
static cut cut_of(int64_t M, int64_t C) {
    cut k;
    k.tiles = TIDE_CEIL_DIV(C, LANES);
    k.pack = C < LANES ? LANES / C : 1;
    k.rows = TIDE_MAX(TIDE_CEIL_DIV(32768, C), TIDE_CEIL_DIV(M, 128));
    k.rows = TIDE_CEIL_DIV(k.rows, k.pack) * k.pack;
    k.blocks = TIDE_CEIL_DIV(M, k.rows);
    k.grain = TIDE_MAX(
        1,
        16384 / (TIDE_MIN(k.rows, M) * TIDE_MIN(C, LANES) + 1)); /* jobs worth a thread's start */
    return k;
}

/* What relu or relu6 lets through of a gradient, found from x again: reading the result would be a
 * pass over memory more. z = (x - mean) slope + offset, as the forward pass rounds it. */
typedef struct {
    const REAL *slope, *offset; /* slope NULL: all */
    REAL most;                  /* NaN: no upper limit */
} gate;
static gate gate_of(int act, const REAL *slope, const REAL *offset) {
    if (act == TIDE_ACTIVATION_linear) return (gate){0};
    return (gate){slope, offset, act == TIDE_ACTIVATION_relu6 ? 6 : (REAL)NAN};
}
#define OPEN(z, most) ((z) > 0 && !((z) >= (most)))

/* Sums over rows r0..r1 of columns c0..c0+w. With `dy`: S = sum dy, Q = sum dy (x - k), of what the
 * gate lets through; without: S = sum (x - k), Q = sum (x - k)^2. k and the gate have one entry per
 * lane. */
static void column_sums(int64_t C, int64_t r0, int64_t r1, int64_t c0, int64_t w, int64_t pack,
                        const tide_buf *x, const tide_buf *dy, gate open, const REAL *k, double *S,
                        double *Q) {
    double sd[LANES], qd[LANES];
    REAL s[LANES], q[LANES], wide[2][LANES];
    const REAL *slope = open.slope, *offset = open.offset, most = open.most;
    const int64_t lanes = w * pack;
    for (int64_t l = 0; l < lanes; l++) sd[l] = qd[l] = 0;
    for (int64_t r = r0; r < r1;) {
        for (int64_t l = 0; l < lanes; l++) s[l] = q[l] = 0;
        for (int f = 0; f < FLUSH && r < r1; f++, r += pack) {
            const int64_t n = TIDE_MIN(pack, r1 - r) * w;
            const REAL *xr = piece_read(x, r * C + c0, n, wide[0]);
            if (!dy) {
                EACH_LANE {
                    REAL d = xr[l] - k[l];
                    s[l] += d, q[l] += d * d;
                }
            } else if (!slope) {
                const REAL *g = piece_read(dy, r * C + c0, n, wide[1]);
                EACH_LANE s[l] += g[l], q[l] += g[l] * (xr[l] - k[l]);
            } else {
                const REAL *g = piece_read(dy, r * C + c0, n, wide[1]);
                EACH_LANE {
                    const REAL v = xr[l] - k[l], z = v * slope[l] + offset[l],
                               d = OPEN(z, most) ? g[l] : 0;
                    s[l] += d, q[l] += d * v;
                }
            }
        }
        for (int64_t l = 0; l < lanes; l++) sd[l] += (double)s[l], qd[l] += (double)q[l];
    }
    for (int64_t c = 0; c < w; c++) {
        S[c] = Q[c] = 0;
        for (int64_t p = 0; p < pack; p++) S[c] += sd[p * w + c], Q[c] += qd[p * w + c];
    }
}

/* Likewise for one run of n elements of one channel, from element `at` on; the gate is that
 * channel's. */
static void run_sums(int64_t at, int64_t n, const tide_buf *x, const tide_buf *dy, gate open,
                     REAL k, double *S, double *Q) {
    enum { RUN = 2048 };
    double sd = 0, qd = 0;
    REAL wide[2][RUN];
    const int gated = open.slope != NULL;
    const REAL slope = gated ? *open.slope : 0, offset = gated ? *open.offset : 0, most = open.most;
    for (int64_t i0 = 0; i0 < n && tide_look_at(i0); i0 += RUN) {
        const int64_t m = TIDE_MIN(RUN, n - i0);
        const REAL *v = piece_read(x, at + i0, m, wide[0]);
        REAL s = 0, q = 0;
        if (!dy) {
#pragma omp simd reduction(+ : s, q)
            for (int64_t i = 0; i < m; i++) {
                REAL d = v[i] - k;
                s += d, q += d * d;
            }
        } else {
            const REAL *g = piece_read(dy, at + i0, m, wide[1]);
#pragma omp simd reduction(+ : s, q)
            for (int64_t i = 0; i < m; i++) {
                const REAL u = v[i] - k, z = u * slope + offset,
                           d = !gated || OPEN(z, most) ? g[i] : 0;
                s += d, q += d * u;
            }
        }
        sd += (double)s, qd += (double)q;
    }
    *S = sd, *Q = qd;
}

/* mean[C] and M2[C] (sum of squared deviations) of x. work: 2 * blocks * C doubles. */
static void statistics(layout a, cut k, const tide_buf *x, double *mean, double *m2, double *work) {
    const int64_t C = a.C, M = a.outer;
    if (a.inner != 1) {
        TIDE_PARALLEL_FOR (C, TIDE_MAX(1, 32768 / (a.outer * a.inner + 1))) {
            for (int64_t c = lo; c < hi; c++) {
                double n = 0, m = 0, v = 0;
                for (int64_t o = 0; o < a.outer; o++) {
                    const int64_t at = (o * C + c) * a.inner;
                    REAL one;
                    const REAL first = *piece_read(x, at, 1, &one);
                    double S, Q, nb = (double)a.inner;
                    run_sums(at, a.inner, x, NULL, (gate){0}, first, &S, &Q);
                    double mb = (double)first + S / nb, d = mb - m, t = n + nb;
                    v += Q - S * S / nb + d * d * n * nb / t, m += d * nb / t, n = t;
                }
                mean[c] = m, m2[c] = v;
            }
        }
        return;
    }
    TIDE_PARALLEL_FOR (k.blocks *k.tiles, k.grain) {
        for (int64_t job = lo; job < hi; job++) {
            const int64_t b = job / k.tiles, c0 = job % k.tiles * LANES,
                          w = TIDE_MIN(LANES, C - c0);
            const int64_t r0 = b * k.rows, r1 = TIDE_MIN(r0 + k.rows, M);
            REAL shift[LANES], wide[LANES];
            double S[LANES], Q[LANES];
            const REAL *row = piece_read(x, r0 * C + c0, w, wide);
            for (int64_t l = 0; l < w * k.pack; l++) shift[l] = row[l % w];
            column_sums(C, r0, r1, c0, w, k.pack, x, NULL, (gate){0}, shift, S, Q);
            for (int64_t c = 0; c < w; c++) {
                const double n = (double)(r1 - r0);
                work[(2 * b) * C + c0 + c] = (double)shift[c] + S[c] / n;
                work[(2 * b + 1) * C + c0 + c] = Q[c] - S[c] * S[c] / n;
            }
        }
    }
    for (int64_t c = 0; c < C; c++) mean[c] = m2[c] = 0;
    for (int64_t b = 0; b < k.blocks; b++) {
        const double n = (double)(b * k.rows),
                     nb = (double)(TIDE_MIN((b + 1) * k.rows, M) - b * k.rows), t = n + nb;
        for (int64_t c = 0; c < C; c++) {
            double d = work[2 * b * C + c] - mean[c];
            m2[c] += TIDE_MAX(work[(2 * b + 1) * C + c], 0) + d * d * n * nb / t;
            mean[c] += d * nb / t;
        }
    }
}

/* max(v, 0), then at most `most`, if that is a number; NaN stays. */
static inline REAL clipped(REAL v, REAL most) {
    v = v < 0 ? 0 : v;
    return v > most ? most : v;
}

/* y = (x - mean) * slope + offset per channel, then relu or relu6 if asked. */
static void affine(layout a, const REAL *x, const REAL *mean, const REAL *slope, const REAL *offset,
                   int act, REAL *y) {
    const int64_t C = a.C, M = a.outer;
    const int clip = act != TIDE_ACTIVATION_linear;
    const REAL most = act == TIDE_ACTIVATION_relu6 ? 6 : (REAL)NAN;
    if (a.inner != 1) {
        TIDE_PARALLEL_FOR (M *C, TIDE_MAX(1, 32768 / a.inner)) {
            for (int64_t r = lo; r < hi; r++) {
                const int64_t c = r % C;
                const REAL m = mean[c], s = slope[c], b = offset[c], *xr = x + r * a.inner;
                REAL *yr = y + r * a.inner;
                TIDE_IN_BLOCKS(i, a.inner) {
                    const REAL v = (xr[i] - m) * s + b;
                    yr[i] = clip ? clipped(v, most) : v;
                }
            }
        }
        return;
    }
    const int64_t pack = C < LANES ? LANES / C : 1,
                  grain = TIDE_CEIL_DIV(TIDE_MAX(1, 32768 / C), pack) * pack;
    TIDE_PARALLEL_FOR (M, grain) {
        REAL m_[LANES], s_[LANES], b_[LANES];
        const REAL *m = mean, *s = slope, *b = offset;
        if (pack > 1) {
            for (int64_t l = 0; l < pack * C; l++)
                m_[l] = mean[l % C], s_[l] = slope[l % C], b_[l] = offset[l % C];
            m = m_, s = s_, b = b_;
        }
        for (int64_t r = lo; r < hi; r += pack) {
            const int64_t n = TIDE_MIN(pack, hi - r) * C;
            const REAL *xr = x + r * C;
            REAL *yr = y + r * C;
            if (clip) EACH_LANE yr[l] = clipped((xr[l] - m[l]) * s[l] + b[l], most);
            else EACH_LANE yr[l] = (xr[l] - m[l]) * s[l] + b[l];
        }
    }
}

/* f maps rows of (C, inner) elements of one or two operands to such rows; halves are widened some
 * rows at a time, and f writes its result over the first of them. */
typedef void (*map_rows)(layout a, const REAL *const *in, const void *arg, REAL *out);
static tide_status map(tide_device *dev, layout a, const tide_buf *const *in, const tide_buf *out,
                       map_rows f, const void *arg) {
    const int64_t row = a.C * a.inner;
    const REAL *at[2] = {0};
    if (!tide_is_half(out->dtype)) {
        for (int k = 0; k < 2; k++) at[k] = in[k] ? in[k]->p : NULL;
        f(a, at, arg, out->p);
        return TIDE_OK;
    }
    const int64_t grain = TIDE_MAX(1, 8192 / row);
    tide_lanes lanes;
    TIDE_DO(tide_lanes_new(dev, a.outer, grain,
                           (size_t)((1 + !!in[1]) * grain * row) * sizeof(REAL), &lanes));
    TIDE_PARALLEL_FOR (a.outer, grain) {
        REAL *wide = tide_lane(&lanes, share_->slot);
        const REAL *some[2] = {0};
        const int64_t n = (hi - lo) * row;
        layout part = a;
        part.outer = hi - lo;
        for (int k = 0; k < 2; k++)
            if (in[k]) some[k] = piece_read(in[k], lo * row, n, wide + k * n);
        f(part, some, arg, wide);
        piece_write(out, lo * row, n, wide);
    }
    return TIDE_OK;
}

typedef struct {
    const REAL *mean, *slope, *offset;
    int act;
} affinity;
static void affine_rows(layout a, const REAL *const *in, const void *arg, REAL *out) {
    const affinity *w = arg;
    affine(a, in[0], w->mean, w->slope, w->offset, w->act, out);
}

TIDE_KERNEL(batch_normalization) { /* x, mean, variance, offset, scale */
    const tide_batch_normalization_attrs *at = c->attrs;
    const layout a = layout_of(&c->in[0], at->axis);
    if (!tide_buf_numel(&c->in[0])) return TIDE_OK;
    REAL *w = tide_scratch(c->dev, 6 * (size_t)a.C * sizeof(REAL));
    if (!w) return TIDE_ENOMEM;
    const REAL *v[4] = {0}; /* mean, variance, offset, scale */
    for (int i = 0; i < 4; i++)
        if (c->in[1 + i].p) v[i] = piece_read(&c->in[1 + i], 0, a.C, w + (2 + i) * a.C);
    for (int64_t i = 0; i < a.C; i++) {
        w[i] = (v[3] ? v[3][i] : 1) / T_SQRT(v[1][i] + (REAL)at->epsilon);
        w[a.C + i] = v[2] ? v[2][i] : 0;
    }
    return map(
        c->dev, a, (const tide_buf *[2]){&c->in[0]}, &c->out[0], affine_rows,
        &(affinity){v[0], w, w + a.C, at->relu ? TIDE_ACTIVATION_relu : TIDE_ACTIVATION_linear});
}

/* From the variance as it is stored: the gradient finds the same bits. */
static REAL slope_of(const REAL *scale, int64_t i, REAL variance, double epsilon) {
    return (REAL)((scale ? (double)scale[i] : 1) / sqrt((double)variance + epsilon));
}

TIDE_KERNEL(
    batch_norm_train_) { /* x, scale, offset, moving_mean, moving_variance -> y, mean, variance */
    const tide_batch_norm_train__attrs *at = c->attrs;
    const layout a = layout_of(&c->in[0], at->axis);
    const int64_t C = a.C, count = a.outer * a.inner;
    if (!tide_buf_numel(&c->in[0])) {
        memset(c->out[1].p, 0, (size_t)C * sizeof(REAL)),
            memset(c->out[2].p, 0, (size_t)C * sizeof(REAL));
        return TIDE_OK;
    }
    const cut k = cut_of(a.outer, C);
    double *w = tide_scratch(
        c->dev, (size_t)((a.inner == 1 ? 2 * k.blocks : 0) + 5) * (size_t)C * sizeof(double));
    if (!w) return TIDE_ENOMEM;
    double *mean = w, *m2 = w + C;
    REAL *slope = (REAL *)(w + 2 * C), *shift, *mean_out = c->out[1].p, *var_out = c->out[2].p;
    const REAL *scale = c->in[1].p, *offset = c->in[2].p;
    if (scale) scale = piece_read(&c->in[1], 0, C, (REAL *)(w + 3 * C));
    if (offset) offset = piece_read(&c->in[2], 0, C, (REAL *)(w + 4 * C));
    statistics(a, k, &c->in[0], mean, m2, w + 5 * C);
    shift =
        (REAL *)m2; /* REAL is no wider than double and m2[i] is read before shift[i] is written */
    REAL *moving_mean = c->in[3].p, *moving_var = c->in[4].p;
    const REAL keep = (REAL)at->momentum, take = (REAL)(1 - at->momentum);
    for (int64_t i = 0; i < C; i++) {
        const double var = m2[i] / (double)count;
        mean_out[i] = (REAL)mean[i], var_out[i] = (REAL)var;
        moving_mean[i] = moving_mean[i] * keep + mean_out[i] * take;
        moving_var[i] = moving_var[i] * keep + var_out[i] * take;
        slope[i] = slope_of(scale, i, var_out[i], at->epsilon);
        shift[i] = offset ? offset[i] : 0;
    }
    return map(c->dev, a, (const tide_buf *[2]){&c->in[0]}, &c->out[0], affine_rows,
               &(affinity){mean_out, slope, shift, at->activation});
}

/* With r = 1 / sqrt(variance + eps), x^ = (x - mean) r and n elements per channel:
 * doffset = sum dy, dscale = sum dy x^, dx = scale r (dy - doffset / n - x^ dscale / n)
 *                                          = p dy + q (x - mean) + t; dy is 0 where the gate, with
 * p as its slope, is shut. */
typedef struct {
    const REAL *mean, *p, *q, *t;
    gate open;
} slopes;
static void batch_dx(layout a, const REAL *const *in, const void *arg, REAL *dx) { /* x, dy */
    const slopes *w = arg;
    const REAL *x = in[0], *dy = in[1], most = w->open.most;
    const int gated = w->open.slope != NULL;
    const int64_t C = a.C, M = a.outer;
    if (a.inner != 1) {
        TIDE_PARALLEL_FOR (M *C, TIDE_MAX(1, 32768 / a.inner)) {
            for (int64_t r = lo; r < hi; r++) {
                const REAL m = w->mean[r % C], p = w->p[r % C], q = w->q[r % C], t = w->t[r % C],
                           b = gated ? w->open.offset[r % C] : 0;
                const int64_t at0 = r * a.inner;
                const REAL *xr = x + at0, *g = dy + at0;
                REAL *d = dx + at0;
                TIDE_IN_BLOCKS(i, a.inner) {
                    const REAL u = xr[i] - m, z = u * p + b;
                    d[i] = p * (!gated || OPEN(z, most) ? g[i] : 0) + (q * u + t);
                }
            }
        }
        return;
    }
    const int64_t pack = C < LANES ? LANES / C : 1,
                  grain = TIDE_CEIL_DIV(TIDE_MAX(1, 32768 / C), pack) * pack;
    TIDE_PARALLEL_FOR (M, grain) {
        REAL m_[LANES], p_[LANES], q_[LANES], t_[LANES], b_[LANES];
        const REAL *m = w->mean, *p = w->p, *q = w->q, *t = w->t, *b = w->open.offset;
        if (pack > 1) {
            for (int64_t l = 0; l < pack * C; l++)
                m_[l] = m[l % C], p_[l] = p[l % C], q_[l] = q[l % C], t_[l] = t[l % C],
                b_[l] = gated ? b[l % C] : 0;
            m = m_, p = p_, q = q_, t = t_, b = b_;
        }
        for (int64_t r = lo; r < hi; r += pack) {
            const int64_t n = TIDE_MIN(pack, hi - r) * C, at0 = r * C;
            const REAL *xr = x + at0, *g = dy + at0;
            REAL *d = dx + at0;
            if (!gated) EACH_LANE d[l] = p[l] * g[l] + (q[l] * (xr[l] - m[l]) + t[l]);
            else EACH_LANE {
                    const REAL u = xr[l] - m[l], z = u * p[l] + b[l];
                    d[l] = p[l] * (OPEN(z, most) ? g[l] : 0) + (q[l] * u + t[l]);
                }
        }
    }
}

/* S = sum dy, Q = sum dy (x - mean) of each channel. work: 2 * blocks * C doubles. */
static void gradient_sums(layout a, cut k, const tide_buf *x, const tide_buf *dy, gate open,
                          const REAL *mean, double *S, double *Q, double *work) {
    const int64_t C = a.C, M = a.outer;
    if (a.inner != 1) {
        TIDE_PARALLEL_FOR (C, TIDE_MAX(1, 32768 / (M * a.inner + 1))) {
            for (int64_t ch = lo; ch < hi; ch++) {
                S[ch] = Q[ch] = 0;
                for (int64_t o = 0; o < M; o++) {
                    double s, q;
                    gate own = open;
                    if (own.slope) own.slope += ch, own.offset += ch;
                    run_sums((o * C + ch) * a.inner, a.inner, x, dy, own, mean[ch], &s, &q);
                    S[ch] += s, Q[ch] += q;
                }
            }
        }
        return;
    }
    TIDE_PARALLEL_FOR (k.blocks *k.tiles, k.grain) {
        for (int64_t job = lo; job < hi; job++) {
            const int64_t b = job / k.tiles, c0 = job % k.tiles * LANES,
                          n = TIDE_MIN(LANES, C - c0);
            REAL shift[LANES], slope[LANES], offset[LANES];
            gate own = open;
            for (int64_t l = 0; l < n * k.pack; l++) shift[l] = mean[c0 + l % n];
            if (open.slope) own.slope = slope, own.offset = offset;
            for (int64_t l = 0; l < n * k.pack && open.slope; l++)
                slope[l] = open.slope[c0 + l % n], offset[l] = open.offset[c0 + l % n];
            column_sums(C, b * k.rows, TIDE_MIN((b + 1) * k.rows, M), c0, n, k.pack, x, dy, own,
                        shift, work + 2 * b * C + c0, work + (2 * b + 1) * C + c0);
        }
    }
    for (int64_t i = 0; i < C; i++) S[i] = Q[i] = 0;
    for (int64_t b = 0; b < k.blocks; b++)
        for (int64_t i = 0; i < C; i++)
            S[i] += work[2 * b * C + i], Q[i] += work[(2 * b + 1) * C + i];
}

TIDE_KERNEL(batch_norm_grad_) { /* dy, x, mean, variance, scale, offset -> dx, dscale, doffset */
    const tide_batch_norm_grad__attrs *at = c->attrs;
    const tide_buf *dy = &c->in[0], *x = &c->in[1];
    const layout a = layout_of(x, at->axis);
    const int64_t C = a.C;
    REAL *dscale = c->out[1].p, *doffset = c->out[2].p;
    if (!tide_buf_numel(x)) {
        memset(dscale, 0, (size_t)C * sizeof(REAL)), memset(doffset, 0, (size_t)C * sizeof(REAL));
        return TIDE_OK;
    }
    const cut k = cut_of(a.outer, C);
    double *w = tide_scratch(
        c->dev, (size_t)((a.inner == 1 ? 2 * k.blocks : 0) + 7) * (size_t)C * sizeof(double));
    if (!w) return TIDE_ENOMEM;
    const REAL *mean = c->in[2].p, *var = c->in[3].p, *scale = c->in[4].p, *offset = c->in[5].p;
    if (scale) scale = piece_read(&c->in[4], 0, C, (REAL *)(w + 5 * C));
    if (offset) offset = piece_read(&c->in[5], 0, C, (REAL *)(w + 6 * C));
    else offset = memset(w + 6 * C, 0, (size_t)C * sizeof(REAL));
    double *S = w, *Q = w + C;
    REAL *p = (REAL *)(w + 2 * C), *q = (REAL *)(w + 3 * C), *t = (REAL *)(w + 4 * C);
    for (int64_t i = 0; i < C; i++) p[i] = slope_of(scale, i, var[i], at->epsilon);
    const gate open = gate_of(at->activation, p, offset);
    gradient_sums(a, k, x, dy, open, mean, S, Q, w + 7 * C);
    const double inv_n = 1.0 / ((double)a.outer * (double)a.inner);
    for (int64_t i = 0; i < C; i++) {
        const double r = 1 / sqrt((double)var[i] + at->epsilon),
                     sr = (scale ? (double)scale[i] : 1) * r;
        doffset[i] = (REAL)S[i], dscale[i] = (REAL)(Q[i] * r);
        q[i] = (REAL)(-sr * r * r * Q[i] * inv_n), t[i] = (REAL)(-sr * S[i] * inv_n);
    }
    return map(c->dev, a, (const tide_buf *[2]){x, dy}, &c->out[0], batch_dx,
               &(slopes){mean, p, q, t, open});
}

/* -- rows of D elements -- */

static REAL row_sum(int64_t D, const REAL *x) {
    double total = 0;
    for (int64_t i0 = 0; i0 < D && tide_look_at(i0); i0 += 1024) {
        REAL s = 0;
#pragma omp simd reduction(+ : s)
        for (int64_t i = i0; i < TIDE_MIN(i0 + 1024, D); i++) s += x[i];
        total += (double)s;
    }
    return (REAL)(total / (double)D);
}
static double row_squares(int64_t D, const REAL *x, REAL mean) { /* mean of (x - mean)^2 */
    double total = 0;
    for (int64_t i0 = 0; i0 < D && tide_look_at(i0); i0 += 1024) {
        REAL s = 0;
#pragma omp simd reduction(+ : s)
        for (int64_t i = i0; i < TIDE_MIN(i0 + 1024, D); i++) s += (x[i] - mean) * (x[i] - mean);
        total += (double)s;
    }
    return total / (double)D;
}

static void rows_of(const tide_buf *x, int64_t axes, int64_t *R, int64_t *D) {
    *R = *D = 1;
    for (int i = 0; i < x->rank; i++) *(i < x->rank - axes ? R : D) *= x->shape[i];
}

TIDE_KERNEL(layer_norm_) { /* x, gamma, beta -> y, mean, rstd */
    const tide_layer_norm__attrs *at = c->attrs;
    int64_t R, D;
    rows_of(&c->in[0], at->axes, &R, &D);
    const REAL *x = c->in[0].p, *gamma = c->in[1].p, *beta = c->in[2].p;
    REAL *y = c->out[0].p, *mean = c->out[1].p, *rstd = c->out[2].p;
    if (!R || !D) {
        for (int64_t r = 0; r < R; r++) mean[r] = rstd[r] = 0;
        return TIDE_OK;
    }
    TIDE_PARALLEL_FOR (R, TIDE_MAX(1, 16384 / D)) {
        for (int64_t r = lo; r < hi; r++) {
            const REAL *xr = x + r * D, m = at->rms ? 0 : row_sum(D, xr);
            const REAL s = (REAL)(1 / sqrt(row_squares(D, xr, m) + at->epsilon));
            REAL *yr = y + r * D;
            mean[r] = m, rstd[r] = s;
            if (gamma && beta) TIDE_IN_BLOCKS(i, D) yr[i] = (xr[i] - m) * s * gamma[i] + beta[i];
            else if (gamma) TIDE_IN_BLOCKS(i, D) yr[i] = (xr[i] - m) * s * gamma[i];
            else TIDE_IN_BLOCKS(i, D) yr[i] = (xr[i] - m) * s + (beta ? beta[i] : 0);
        }
    }
    return TIDE_OK;
}

/* With x^ = (x - mean) rstd and g = dy gamma: dx = rstd (g - mean(g) - x^ mean(g x^)), without
 * mean(g) for rms; dgamma = sum over rows of dy x^, dbeta = sum of dy. To dg and db is added. */
static void layer_row(int64_t D, const REAL *g, const REAL *x, REAL m, REAL s, const REAL *gamma,
                      int rms, REAL *d, REAL *dg, REAL *db) {
    REAL s1 = 0, s2 = 0;
    TIDE_SIMD_IN_BLOCKS(i, D, reduction(+ : s1, s2)) {
        const REAL h = (x[i] - m) * s, v = gamma ? g[i] * gamma[i] : g[i];
        dg[i] += g[i] * h, db[i] += g[i];
        s1 += v, s2 += v * h;
    }
    const REAL a = rms ? 0 : s1 / (REAL)D, q = s2 / (REAL)D;
    if (gamma) TIDE_IN_BLOCKS(i, D) d[i] = s * (g[i] * gamma[i] - a - (x[i] - m) * s * q);
    else TIDE_IN_BLOCKS(i, D) d[i] = s * (g[i] - a - (x[i] - m) * s * q);
}

TIDE_KERNEL(layer_norm_grad_) { /* dy, x, mean, rstd, gamma -> dx, dgamma, dbeta */
    const tide_layer_norm_grad__attrs *at = c->attrs;
    int64_t R, D;
    rows_of(&c->in[1], at->axes, &R, &D);
    const tide_buf *dy = &c->in[0], *x = &c->in[1], *dx = &c->out[0];
    const int half = tide_is_half(dx->dtype);
    const REAL *mean = c->in[2].p, *rstd = c->in[3].p, *gamma = c->in[4].p;
    REAL *sums[2] = {c->out[1].p, c->out[2].p}; /* dgamma, dbeta */
    const int64_t rows = TIDE_MAX(FLUSH, TIDE_CEIL_DIV(R, 64)), blocks = TIDE_CEIL_DIV(R, rows),
                  grain = TIDE_MAX(1, 8192 / (rows * D + 1));
    REAL *part = tide_scratch(c->dev, (size_t)(blocks * 2 * D + 1) * sizeof(REAL));
    tide_lanes lanes = {NULL, 0};
    if (!part) return TIDE_ENOMEM;
    if (half) { /* gamma and its gradient in float32; rows of dy, x and dx for each thread */
        REAL *wide = tide_scratch(c->dev, (size_t)(3 * D + 1) * sizeof *wide);
        if (!wide) return TIDE_ENOMEM;
        if (gamma) gamma = piece_read(&c->in[4], 0, D, wide);
        sums[0] = wide + D, sums[1] = wide + 2 * D;
        TIDE_DO(tide_lanes_new(c->dev, blocks, grain, (size_t)(3 * D + 1) * sizeof(REAL), &lanes));
    }
    TIDE_PARALLEL_FOR (D > 0 ? blocks : 0, grain) {
        REAL *own = half ? tide_lane(&lanes, share_->slot) : part;
        for (int64_t b = lo; b < hi; b++) {
            REAL *dg = part + 2 * b * D, *db = dg + D;
            tide_zero(dg, 2 * (size_t)D * sizeof(REAL));
            for (int64_t r = b * rows; r < TIDE_MIN((b + 1) * rows, R); r++) {
                REAL *d = half ? own + 2 * D : (REAL *)dx->p + r * D;
                layer_row(D, piece_read(dy, r * D, D, own), piece_read(x, r * D, D, own + D),
                          mean[r], rstd[r], gamma, at->rms, d, dg, db);
                if (half) piece_write(dx, r * D, D, d);
            }
        }
    }
    TIDE_PARALLEL_FOR (D, TIDE_MAX(64, 32768 / TIDE_MAX(blocks, 1))) {
        for (int64_t i = lo; i < hi; i++) {
            double g = 0, b = 0;
            for (int64_t k = 0; k < blocks; k++)
                g += (double)part[2 * k * D + i], b += (double)part[(2 * k + 1) * D + i];
            sums[0][i] = (REAL)g, sums[1][i] = (REAL)b;
        }
    }
    for (int k = 0; k < 2 && half; k++) piece_write(&c->out[1 + k], 0, D, sums[k]);
    return TIDE_OK;
}
