/* Uniform and normal numbers, and the distributions made of them; see philox.h for which word
 * serves which element. */
#include "cpu.h"
#include "philox.h"
#include "pieces.h"
#include "rows.h"

/* -- uniform words of one group: float32 takes 64 elements, float64 32 -- */

enum { PER_GROUP = REAL_IS_F32 ? 64 : 32 };

/* u[PER_GROUP] in [0, 1) */
static void uniform_group(tide_rng rng, int64_t group, REAL *u) {
    uint32_t w[TIDE_PHILOX_GROUP];
    tide_philox_group(rng, (uint64_t)group, w);
#if REAL_IS_F32
    for (int l = 0; l < 64; l++) u[l] = (REAL)(w[l] >> 8) * (REAL)0x1p-24;
#else
    for (int l = 0; l < 16; l++) {
        u[l] = (REAL)tide_unit53(w[l], w[16 + l]);
        u[16 + l] = (REAL)tide_unit53(w[32 + l], w[48 + l]);
    }
#endif
}

/* Calls for each group: `z` holds its numbers, out[i ... i + n) takes them. */
#define EACH_GROUP(n)                                             \
    TIDE_PARALLEL_FOR (TIDE_CEIL_DIV(n, (int64_t)PER_GROUP), 256) \
        for (int64_t g = lo; g < hi; g++)

static void put(const REAL *z, const tide_buf *y, int64_t n, int64_t g) {
    const int64_t i = g * PER_GROUP, m = TIDE_MIN((int64_t)PER_GROUP, n - i);
    if (tide_is_half(y->dtype)) piece_write(y, i, m, z);
    else memcpy((REAL *)y->p + i, z, (size_t)m * sizeof(REAL));
}

TIDE_KERNEL(random_uniform) {
    const tide_random_uniform_attrs *at = c->attrs;
    const int64_t n = tide_buf_numel(&c->out[0]);
    const REAL low = (REAL)at->minval, high = (REAL)at->maxval,
               span = (REAL)(at->maxval - at->minval);
    const tide_buf *y = &c->out[0];
    EACH_GROUP(n) {
        REAL u[64];
        uniform_group(at->rng, g, u);
        for (int l = 0; l < PER_GROUP; l++) {
            const REAL v = low + u[l] * span;
            u[l] = v >= high && low < high ? low : v; /* rounding may reach the excluded limit */
        }
        put(u, y, n, g);
    }
    return TIDE_OK;
}

/* Box and Muller (1958): element l of the first half of a group gives the radius, its partner in
 * the second the angle. */
TIDE_KERNEL(random_normal) {
    const tide_random_normal_attrs *at = c->attrs;
    const int64_t n = tide_buf_numel(&c->out[0]);
    const REAL mean = (REAL)at->mean, dev = (REAL)at->stddev;
    const tide_buf *y = &c->out[0];
    EACH_GROUP(n) {
        REAL u[64], z[64];
        uniform_group(at->rng, g, u);
        enum { HALF = PER_GROUP / 2 };
#pragma omp simd
        for (int l = 0; l < HALF; l++) {
            const REAL r = T_SQRT((REAL)-2 * T_LOG(1 - u[l])),
                       a = (REAL)6.283185307179586476925 * u[HALF + l];
            z[l] = mean + dev * (r * FN(cos)(a));
            z[HALF + l] = mean +
                dev *
                    (r *
                     FN(cos)(a -
                             (REAL)1.5707963267948966192)); /* a sin would join the cos as sincos,
                                                               which has no vector form */
        }
        put(z, y, n, g);
    }
    return TIDE_OK;
}

/* sqrt(2) erfinv(v), |v| < 0.955: Giles (2010), central branch in REAL, then one Newton step
 * through erf. */
static REAL normal_quantile(REAL v) {
    REAL w = -T_LOG((1 - v) * (1 + v)) - (REAL)2.5;
    REAL p = (REAL)2.81022636e-08;
    p = (REAL)3.43273939e-07 + p * w;
    p = (REAL)-3.5233877e-06 + p * w;
    p = (REAL)-4.39150654e-06 + p * w;
    p = (REAL)0.00021858087 + p * w;
    p = (REAL)-0.00125372503 + p * w;
    p = (REAL)-0.00417768164 + p * w;
    p = (REAL)0.246640727 + p * w;
    p = (REAL)1.50140941 + p * w;
    const REAL z = p * v;
    const REAL step = (FN(erf)(z) - v) * (REAL)0.88622692545275801365 * T_EXP(z * z);
    return (z - step) * (REAL)1.41421356237309504880;
}

TIDE_KERNEL(random_truncated_normal) {
    const tide_random_truncated_normal_attrs *at = c->attrs;
    const int64_t n = tide_buf_numel(&c->out[0]);
    const REAL mean = (REAL)at->mean, dev = (REAL)at->stddev,
               edge = (REAL)0.95449973610364158559943; /* erf(sqrt 2) */
    const tide_buf *y = &c->out[0];
    EACH_GROUP(n) {
        REAL u[64];
        uniform_group(at->rng, g, u);
#pragma omp simd
        for (int l = 0; l < PER_GROUP; l++) {
            REAL z = normal_quantile((2 * u[l] - 1) * edge);
            z = z < -2 ? -2 : z;
            z = z > 2 ? 2 : z;
            u[l] = mean + dev * z;
        }
        put(u, y, n, g);
    }
    return TIDE_OK;
}

/* -- rejection methods: each element has words of its own, four per attempt -- */

typedef struct {
    tide_rng rng;
    uint64_t block;
    uint32_t attempt;
    int have;
    uint32_t w[4];
} source;
static double draw(source *s) { /* (0, 1) */
    if (s->have < 2) tide_philox_block(s->rng, s->block, ++s->attempt, s->w), s->have = 4;
    s->have -= 2;
    return tide_unit53(s->w[s->have], s->w[s->have + 1]) + 0x1p-54;
}
static double draw_normal(source *s) {
    const double r = sqrt(-2 * log(draw(s)));
    return r * cos(6.283185307179586476925 * draw(s));
}

/* Marsaglia and Tsang (2000); below 1 by Gamma(a) = Gamma(a + 1) U^(1/a). */
static double draw_gamma(source *s, double a) {
    if (!(a > 0) || isinf(a)) return a >= 0 ? a : NAN;
    double boost = 1;
    if (a < 1) boost = pow(draw(s), 1 / a), a += 1;
    const double d = a - 1.0 / 3, k = 1 / sqrt(9 * d);
    for (;;) {
        const double x = draw_normal(s), t = 1 + k * x;
        if (t <= 0) continue;
        const double v = t * t * t;
        if (log(draw(s)) < 0.5 * x * x + d - d * v + d * log(v)) return boost * d * v;
    }
}

/* Hormann (1993), BTRS, from 10 expected successes on; below, waiting times. */
static double draw_binomial(source *s, double n, double p) {
    if (!(n >= 0) || isinf(n) || !(p >= 0 && p <= 1)) return NAN;
    n = floor(n);
    if (p > 0.5) return n - draw_binomial(s, n, 1 - p);
    if (n == 0 || p == 0) return 0;
    if (n * p < 10) {
        const double q = log1p(-p);
        double k = 0, at = 0;
        for (;; k++) {
            at += floor(log(draw(s)) / q) + 1;
            if (at > n) return k;
        }
    }
    const double dev = sqrt(n * p * (1 - p)), b = 1.15 + 2.53 * dev,
                 a = -0.0873 + 0.0248 * b + 0.01 * p, center = n * p + 0.5;
    const double top = 0.92 - 4.2 / b, alpha = (2.83 + 5.1 / b) * dev, m = floor((n + 1) * p);
    for (;;) {
        const double u = draw(s) - 0.5, v = draw(s), us = 0.5 - fabs(u),
                     k = floor((2 * a / us + b) * u + center);
        if (us >= 0.07 && v <= top) return k;
        if (k < 0 || k > n) continue;
        const double left = log(v * alpha / (a / (us * us) + b));
        const double right = (m + 0.5) * log((m + 1) / (p / (1 - p) * (n - m + 1))) +
            (n + 1) * log((n - m + 1) / (n - k + 1)) +
            (k + 0.5) * log(p / (1 - p) * (n - k + 1) / (k + 1)) +
            (1 / (12 * (m + 1)) + 1 / (12 * (n - m + 1)) - 1 / (12 * (k + 1)) -
             1 / (12 * (n - k + 1)));
        if (left <= right) return k;
    }
}

/* Where element i of out reads a parameter that broadcasts to it. */
static int64_t broadcast_at(const tide_buf *out, const tide_buf *x, int64_t i) {
    int64_t at = 0;
    for (int k = out->rank - 1, j = x->rank - 1; j >= 0; k--, j--) {
        const int64_t d = i % out->shape[k];
        if (x->shape[j] != 1) at += d * x->stride[j];
        i /= out->shape[k];
    }
    return at;
}

#define EACH_DRAW(RNG)                           \
    const tide_buf *o = &c->out[0], *in = c->in; \
    REAL *y = o->p;                              \
    TIDE_PARALLEL_FOR (tide_buf_numel(o), 512)   \
        for (int64_t i = lo; i < hi; i++)        \
            for (source s = {.rng = RNG, .block = (uint64_t)i}, *once = &s; once; once = NULL)
#define PARAM(k) ((double)((const REAL *)in[k].p)[broadcast_at(o, &in[k], i)])

TIDE_KERNEL(random_gamma_) {
    const tide_random_gamma__attrs *at = c->attrs;
    EACH_DRAW(at->rng)
    y[i] = (REAL)draw_gamma(&s, PARAM(0));
    return TIDE_OK;
}
TIDE_KERNEL(random_beta_) {
    const tide_random_beta__attrs *at = c->attrs;
    EACH_DRAW(at->rng) {
        const double a = draw_gamma(&s, PARAM(0)), b = draw_gamma(&s, PARAM(1));
        y[i] = (REAL)(a / (a + b));
    }
    return TIDE_OK;
}
TIDE_KERNEL(random_binomial_) {
    const tide_random_binomial__attrs *at = c->attrs;
    EACH_DRAW(at->rng)
    y[i] = (REAL)draw_binomial(&s, PARAM(0), PARAM(1));
    return TIDE_OK;
}

/* -- classes: the place where the running sum of exp(logit - max) passes u times the whole -- */

static void store_int(const tide_buf *b, int64_t i, int64_t v) {
    switch (b->dtype) {
    case TIDE_I64: ((int64_t *)b->p)[i] = v; break;
    case TIDE_I32: ((int32_t *)b->p)[i] = (int32_t)v; break;
    case TIDE_U8: ((uint8_t *)b->p)[i] = (uint8_t)v; break;
    case TIDE_I8: ((int8_t *)b->p)[i] = (int8_t)v; break;
    case TIDE_F32: ((float *)b->p)[i] = (float)v; break;
    case TIDE_F64: ((double *)b->p)[i] = (double)v; break;
    default: break;
    }
}

TIDE_KERNEL(random_categorical) {
    const tide_random_categorical_attrs *at = c->attrs;
    const int64_t N = c->in[0].shape[0], C = c->in[0].shape[1], S = at->num_samples;
    const REAL *x = c->in[0].p;
    if (!(c->out[0].dtype <= TIDE_I8)) return TIDE_DECLINE;
    if (!N || !S) return TIDE_OK;
    const int64_t grain = TIDE_MAX(1, 4096 / (C + S));
    tide_lanes lanes;
    TIDE_DO(tide_lanes_new(c->dev, N, grain, (size_t)C * sizeof(double), &lanes));
    TIDE_PARALLEL_FOR (N, grain) {
        double *w = tide_lane(&lanes, share_->slot);
        for (int64_t r = lo; r < hi; r++) {
            const REAL *xr = x + r * C;
            const double m = (double)row_max(C, xr);
            double total = 0;
            for (int64_t k = 0; k < C; k++) w[k] = total += exp((double)xr[k] - m);
            for (int64_t j = 0; j < S; j++) {
                uint32_t word[4];
                tide_philox_block(at->rng, (uint64_t)(r * S + j), 0, word);
                const double u = tide_unit53(word[0], word[1]) * total;
                int64_t first = 0, last = C - 1;
                while (first < last) {
                    const int64_t mid = (first + last) / 2;
                    if (w[mid] > u) last = mid;
                    else first = mid + 1;
                }
                store_int(&c->out[0], r * S + j, (int64_t)((uint64_t)first + (uint64_t)at->base));
            }
        }
    }
    return TIDE_OK;
}

/* -- dropout: the mask is made from counters where it is used, forward and backward, and never
 * stored -- */

/* An element stays if its word is below keep * 2^32. */
static uint64_t limit_of(double rate) { return (uint64_t)((1 - rate) * 4294967296.0 + 0.5); }

/* y = x * scale + shift where the element stays, else `zero`. */
typedef struct {
    REAL scale, shift, zero;
    uint64_t limit;
} rule;

static void masked_group(const rule *k, const uint32_t *w, int64_t n, const REAL *x, REAL *y) {
    const uint32_t last = (uint32_t)(k->limit - 1); /* limit is at least 1 here */
#pragma omp simd
    for (int64_t i = 0; i < n; i++) y[i] = w[i] <= last ? x[i] * k->scale + k->shift : k->zero;
}

static tide_status masked(tide_kcall *c, const tide_ints *noise, tide_rng rng, rule k) {
    enum { GROUP = TIDE_PHILOX_GROUP };
    const tide_buf *b = &c->in[0], *out = &c->out[0];
    const int64_t n = tide_buf_numel(b);
    if (k.limit == 0) {
        TIDE_PARALLEL_FOR (TIDE_CEIL_DIV(n, GROUP), 1024) {
            for (int64_t g = lo; g < hi; g++) {
                REAL room[GROUP];
                const int64_t i = g * GROUP, m = TIDE_MIN(GROUP, n - i);
                REAL *y = piece_room(out, i, room);
                for (int64_t j = 0; j < m; j++) y[j] = k.zero;
                piece_write(out, i, m, y);
            }
        }
        return TIDE_OK;
    }
    if (noise->n < 0) {
        TIDE_PARALLEL_FOR (TIDE_CEIL_DIV(n, GROUP), 256) {
            for (int64_t g = lo; g < hi; g++) {
                uint32_t w[GROUP];
                REAL in[GROUP], room[GROUP];
                tide_philox_group(rng, (uint64_t)g, w);
                const int64_t i = g * GROUP, m = TIDE_MIN(GROUP, n - i);
                const REAL *x = piece_read(b, i, m, in);
                REAL *y = piece_room(out, i, room);
                if (m == GROUP) masked_group(&k, w, GROUP, x, y);
                else masked_group(&k, w, m, x, y);
                piece_write(out, i, m, y);
            }
        }
        return TIDE_OK;
    }
    int64_t step[TIDE_MAX_RANK], size = 1; /* of the mask, 0 along axes it repeats over */
    for (int i = b->rank - 1; i >= 0; i--) {
        const int64_t d = noise->v[i] < 0 ? b->shape[i] : noise->v[i];
        step[i] = d == 1 ? 0 : size;
        size *= d;
    }
    const int64_t inner = b->rank ? b->shape[b->rank - 1] : 1;
    TIDE_PARALLEL_FOR (inner ? n / inner : 0, TIDE_MAX(1, 8192 / (inner + 1))) {
        int64_t have = -1;
        uint32_t w[GROUP];
        for (int64_t r = lo; r < hi; r++) {
            int64_t at = 0, rest = r;
            for (int i = b->rank - 2; i >= 0; i--)
                at += rest % b->shape[i] * step[i], rest /= b->shape[i];
            for (int64_t j0 = 0; j0 < inner; j0 += GROUP) {
                REAL in[GROUP], room[GROUP];
                const int64_t some = TIDE_MIN(GROUP, inner - j0), first = r * inner + j0;
                const REAL *x = piece_read(b, first, some, in);
                REAL *y = piece_room(out, first, room);
                for (int64_t j = 0; j < some; j++) {
                    const int64_t m = at + (b->rank ? (j0 + j) * step[b->rank - 1] : 0),
                                  group = m / GROUP;
                    if (group != have) tide_philox_group(rng, (uint64_t)group, w), have = group;
                    masked_group(&k, w + m % GROUP, 1, x + j, y + j);
                }
                piece_write(out, first, some, y);
            }
        }
    }
    return TIDE_OK;
}

TIDE_KERNEL(dropout) {
    const tide_dropout_attrs *at = c->attrs;
    return masked(c, &at->noise_shape, at->rng,
                  (rule){.scale = (REAL)(1 / (1 - at->rate)),
                         .zero = 0,
                         .limit = at->rate >= 1 ? 0 : limit_of(at->rate)});
}

/* a (x or -alpha scale) + b: mean and variance of standardized inputs stay what they are. */
TIDE_KERNEL(alpha_dropout) {
    const tide_alpha_dropout_attrs *at = c->attrs;
    const double p = -1.6732632423543772848170429916717 * 1.0507009873554804934193349852946,
                 rate = at->rate;
    const double a = rate >= 1 ? 0 : 1 / sqrt((1 - rate) * (1 + rate * p * p)), b = -a * p * rate;
    const rule k = {.scale = (REAL)a,
                    .shift = (REAL)b,
                    .zero = (REAL)(a * p + b),
                    .limit = rate >= 1 ? 0 : limit_of(rate)};
    return masked(c, &at->noise_shape, at->rng, k);
}
