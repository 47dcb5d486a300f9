/* Convolutions of each channel by kernels of its own: w (k..., 1, C M), channel f of y reads
 * channel f / M of x.
 *
 *   y[o, f] = sum over taps t of x[o*stride - lo + t*dil, f / M] w[t, f]
 *
 * Positions of a line that lie side by side are made together, a vector of channels at a time: sums
 * stay in registers, and what neighbours share is read once. The gradient of x is the same sum over
 * dy, with the taps that reach a position in reverse; positions that lie a stride apart are reached
 * by the same taps and make a line. Pieces of dw depend on sizes alone: results have equal bits for
 * any number of threads. */
#include "depthwise.h"

#include "clip.h"
#include "gemm.h"

#if defined(__AVX512F__)
enum { DEEP = 64 / sizeof(REAL) };
#elif defined(__AVX__)
enum { DEEP = 32 / sizeof(REAL) };
#else
enum { DEEP = 16 / sizeof(REAL) };
#endif
enum {
    MANY = 4,   /* positions side by side */
    TAPS = 4,   /* of the kernel's gradient at once, for VECS vectors of channels */
    VECS = 2,   /* which fill a line of the cache */
    PIECES = 16 /* partial sums of dw, of PIECE positions at least */
};
#define PIECE 256
typedef REAL some
    __attribute__((vector_size(DEEP * sizeof(REAL)), aligned(sizeof(REAL)), may_alias));
#define INLINE static inline __attribute__((always_inline))
#define AT(p) (*(const some *)(p))
#define PUT(p) (*(some *)(p))

/* -- sums over taps -- */

/* How many taps there are along each axis, and what lies between two of them in what is read and in
 * the kernel. */
typedef struct {
    int64_t n[3], x[3], w[3];
    const REAL *bias; /* NULL: none */
    clip clip;
} walk;
/* Channels at a position of what is read and of the result. One of them is M times the other. */
typedef struct {
    int64_t in, out;
} channels;

/* `groups` times `many` results, `vecs` vectors of channels at a time. `next` lies between what
 * they read, `out` between them. Known at compile time where they are not 0: `tall`, the lines
 * of taps, and `across`, those of the last axis; `joined`, the taps that `next` is. Returns the
 * channels that were done. */
INLINE int64_t sums(int many, int vecs, int tall, int across, int joined, const walk *t, int64_t C,
                    int64_t done, int64_t groups, const REAL *x, int64_t next, const REAL *w,
                    REAL *y, int64_t out) {
    const int64_t n = across ? across : t->n[2], leap = t->x[2], rows = tall ? 1 : t->n[0],
                  lines = tall ? tall : t->n[1], far = t->x[0], down = t->x[1], w0 = t->w[0],
                  w1 = t->w[1], w2 = t->w[2];
    const REAL *bias = t->bias;
    const clip bounds = t->clip;
    int64_t c0 = done;
    for (int64_t g = 0; g < groups; g++, x += many * next, y += many * out)
        for (c0 = done; c0 + (vecs - 1) * DEEP < C; c0 += vecs * DEEP) {
            const int64_t c = TIDE_MIN(c0, C - vecs * DEEP); /* the last ones reach back */
            some s[MANY];
#pragma GCC unroll 4
            for (int v = 0; v < vecs; v++) {
                const some first = bias ? AT(bias + c + v * DEEP) : (some){0};
#pragma GCC unroll 4
                for (int q = 0; q < many; q++) s[v * many + q] = first;
            }
            for (int64_t a = 0; a < rows; a++)
#pragma GCC unroll 3
                for (int64_t b = 0; b < lines; b++) {
                    const REAL *row = x + c + a * far + b * down, *tap = w + c + a * w0 + b * w1;
#pragma GCC unroll 5
                    for (int64_t e = 0; e < n; e++, tap += w2) {
#pragma GCC unroll 4
                        for (int v = 0; v < vecs; v++) {
                            const some k = AT(tap + v * DEEP);
#pragma GCC unroll 4
                            for (int q = 0; q < many; q++)
                                s[v * many + q] += AT((joined ? row + (e + q * joined) * leap
                                                              : row + e * leap + q * next) +
                                                      v * DEEP) *
                                    k;
                        }
                    }
                }
#pragma GCC unroll 4
            for (int v = 0; v < vecs; v++)
#pragma GCC unroll 4
                for (int q = 0; q < many; q++) {
                    some r = s[v * many + q];
                    if (bounds.on) r = CLIPPED(some, r, bounds.most);
                    PUT(y + q * out + c + v * DEEP) = r;
                }
        }
    return c0;
}
static void some_sums(int many, int64_t groups, const walk *t, int64_t C, const REAL *x,
                      int64_t next, const REAL *w, REAL *y, int64_t out) {
    const int64_t joined = next == t->x[2] ? 1 : next == 2 * t->x[2] ? 2 : 0, n = t->n[2];
    const int square = n == 3 && t->n[1] == 3 && t->n[0] == 1;
#define SUMS(many, vecs, across, joined) SUMS_OF(many, vecs, 0, across, joined)
#define SUMS_OF(many, vecs, tall, across, joined) \
    sums(many, vecs, tall, across, joined, t, C, done, groups, x, next, w, y, out)
    int64_t done = 0;
    if (many == MANY) {
        if (square && joined == 1) SUMS_OF(MANY, 1, 3, 3, 1);
        else if (square && joined == 2) SUMS_OF(MANY, 1, 3, 3, 2);
        else if (n == 3 && joined == 1) SUMS(MANY, 1, 3, 1);
        else if (n == 3 && joined == 2) SUMS(MANY, 1, 3, 2);
        else if (n == 2 && joined == 1) SUMS(MANY, 1, 2, 1);
        else if (n == 1) SUMS(MANY, 1, 1, 0);
        else if (n == 5 && joined == 1) SUMS(MANY, 1, 5, 1);
        else SUMS(MANY, 1, 0, 0);
    } else if (many == 2) {
        if (C >= 2 * DEEP) done = SUMS(2, 2, 0, 0);
        SUMS(2, 1, 0, 0);
    } else {
        if (C >= 4 * DEEP) done = SUMS(1, 4, 0, 0);
        SUMS(1, 1, 0, 0);
    }
#undef SUMS
#undef SUMS_OF
}

/* One result of any channels. */
static void any_sums(const walk *t, channels c, const REAL *x, const REAL *w, REAL *restrict y) {
    const int64_t m = TIDE_MAX(c.in, c.out) / TIDE_MIN(c.in, c.out);
    memset(y, 0, (size_t)c.out * sizeof(REAL));
    for (int64_t a = 0; a < t->n[0]; a++)
        for (int64_t b = 0; b < t->n[1]; b++)
            for (int64_t e = 0; e < t->n[2]; e++) {
                const REAL *row = x + a * t->x[0] + b * t->x[1] + e * t->x[2],
                           *tap = w + a * t->w[0] + b * t->w[1] + e * t->w[2];
                if (m == 1)
                    for (int64_t i = 0; i < c.in; i++) y[i] += row[i] * tap[i];
                else if (c.in < c.out)
                    for (int64_t i = 0; i < c.in; i++)
                        for (int64_t j = 0; j < m; j++) y[i * m + j] += row[i] * tap[i * m + j];
                else
                    for (int64_t i = 0; i < c.out; i++)
                        for (int64_t j = 0; j < m; j++) y[i] += row[i * m + j] * tap[i * m + j];
            }
}

static int is_deep(channels c) { return c.in == c.out && c.in >= DEEP; }

/* `count` results, `out` apart; x: position 0 of the line that they read, w: the first tap. */
static void line(const tide_axis *l, walk *t, channels c, const REAL *x, const REAL *w,
                 int64_t count, REAL *y, int64_t out) {
    const int deep = is_deep(c);
    int64_t first, last, from, to;
    tide_inner_positions(l, 0, l->n, count, &first, &last);
    for (int64_t q = 0, many, groups; q < count; q += groups * many) {
        const int64_t left = q >= first && deep ? last - q : 0;
        many = left >= MANY ? MANY : left >= 2 ? 2 : 1, groups = TIDE_MAX(1, left / MANY);
        tide_taps_inside(l, q, &from, &to);
        t->n[2] = to - from;
        const REAL *at = x + (l->at + q * l->hop + from * l->leap) * c.in,
                   *tap = w + from * t->w[2];
        if (deep) some_sums((int)many, groups, t, c.in, at, l->hop * c.in, tap, y + q * out, out);
        else any_sums(t, c, at, tap, y + q * out);
    }
}

static int64_t volume(const int64_t *e) { return e[0] * e[1] * e[2]; }

/* Lines are cut into parts, of which a thread takes some at once. */
typedef struct {
    int64_t count, parts, grain; /* positions of a part, parts of a line, parts at once */
} cuts;
static cuts cuts_of(const tide_geometry *g, int64_t lines, int64_t positions) {
    const int64_t work = 131072, each = TIDE_MAX(1, g->f * volume(g->k));
    cuts c = {.count = TIDE_MAX(16 * MANY, work / each)};
    c.parts = TIDE_MAX(1, TIDE_CEIL_DIV(positions, c.count));
    c.count = TIDE_CEIL_DIV(positions, c.parts);
    c.grain = tide_even_grain(lines * c.parts, c.count * each, work);
    return c;
}
/* The axis from position `first` on. */
static tide_axis from_there(tide_axis a, int64_t first) {
    a.at += first * a.hop;
    return a;
}

void K(depthwise)(const tide_geometry *g, const REAL *x, const REAL *w, const REAL *bias, int act,
                  REAL *y) {
    const int64_t C = g->c, F = g->f, row = g->in[2] * C;
    const int deep = is_deep((channels){C, F});
    clip bounds;
    const int clips = clip_of(act, &bounds);
    const tide_axis l[3] = {tide_axis_of(g, 0), tide_axis_of(g, 1), tide_axis_of(g, 2)};
    const cuts cut = cuts_of(g, g->n * g->out[0] * g->out[1], g->out[2]);
    TIDE_PARALLEL_FOR (g->n * g->out[0] * g->out[1] * cut.parts, cut.grain) {
        for (int64_t i = lo; i < hi; i++) {
            const int64_t r = i / cut.parts, first = i % cut.parts * cut.count,
                          count = TIDE_MIN(cut.count, g->out[2] - first);
            const tide_axis across = from_there(l[2], first);
            const int64_t o[2] = {r / g->out[1] % g->out[0], r % g->out[1]},
                          n = r / g->out[1] / g->out[0];
            int64_t from[2], to[2], at[2];
            for (int d = 0; d < 2; d++) {
                tide_taps_inside(&l[d], o[d], &from[d], &to[d]);
                at[d] = l[d].at + o[d] * l[d].hop + from[d] * l[d].leap;
            }
            walk t = {{to[0] - from[0], to[1] - from[1], 0},
                      {g->dil[0] * g->in[1] * row, g->dil[1] * row, g->dil[2] * C},
                      {g->k[1] * g->k[2] * F, g->k[2] * F, F},
                      deep ? bias : NULL,
                      bounds};
            REAL *to_line = y + (r * g->out[2] + first) * F;
            line(&across, &t, (channels){C, F},
                 x + ((n * g->in[0] + at[0]) * g->in[1] + at[1]) * row,
                 w + (from[0] * g->k[1] + from[1]) * g->k[2] * F, count, to_line, F);
            if (deep ? !clips : bias || act != TIDE_ACTIVATION_linear)
                K(bias_act_rows)(0, count, F, to_line, F, deep ? NULL : bias, act);
        }
    }
}

void K(depthwise_grad_x)(const tide_geometry *g, const REAL *dy, const REAL *w, REAL *dx) {
    const int64_t C = g->c, F = g->f, row = g->out[2] * F, s = g->stride[2];
    const int64_t tap[3] = {g->k[1] * g->k[2] * F, g->k[2] * F, F};
    const cuts cut = cuts_of(g, g->n * g->in[0] * g->in[1], TIDE_CEIL_DIV(g->in[2], s));
    TIDE_PARALLEL_FOR (g->n * g->in[0] * g->in[1] * cut.parts, cut.grain) {
        for (int64_t k = lo; k < hi; k++) {
            const int64_t r = k / cut.parts, begin = k % cut.parts * cut.count;
            const int64_t i[2] = {r / g->in[1] % g->in[0], r % g->in[1]},
                          n = r / g->in[1] / g->in[0];
            int64_t at[2];
            const REAL *first = w;
            walk t = {{0}, {0}, {0}, NULL, {0, 0}};
            for (int d = 0; d < 2; d++) {
                const tide_axis a = tide_axis_back(g, d, i[d]);
                int64_t from, to;
                tide_taps_inside(&a, 0, &from, &to);
                at[d] = a.at + from * a.leap;
                first += (a.tap + from * a.step) * tap[d];
                t.n[d] = to - from, t.w[d] = a.step * tap[d];
                t.x[d] = a.leap * row * (d == 0 ? g->out[1] : 1);
            }
            const REAL *from = dy + ((n * g->out[0] + at[0]) * g->out[1] + at[1]) * row;
            REAL *to = dx + r * g->in[2] * C;
            for (int64_t j = 0; j < TIDE_MIN(s, g->in[2]); j++) {
                const tide_axis a = from_there(tide_axis_back(g, 2, j), begin);
                t.x[2] = a.leap * F, t.w[2] = a.step * F;
                line(&a, &t, (channels){F, C}, from, first + a.tap * F,
                     TIDE_MIN(cut.count, TIDE_CEIL_DIV(g->in[2] - j, s) - begin),
                     to + (j + begin * s) * C, s * C);
            }
        }
    }
}

/* -- the kernel's gradient -- */

/* What positions o..end-1 of a line give for `taps` taps from e0 on and `vecs` vectors of channels;
 * `inner`: all these taps read something there. */
INLINE void add_positions(int taps, int vecs, int inner, some (*s)[VECS], const tide_axis *l,
                          int64_t e0, int64_t o, int64_t end, const REAL *x, const REAL *dy,
                          int64_t C) {
    const int64_t hop = l->hop, leap = l->leap, extent = l->extent;
    int64_t at = l->at + o * hop + e0 * leap;
    for (; o < end; o++, at += hop) {
#pragma GCC unroll 2
        for (int v = 0; v < vecs; v++) {
            const some d = AT(dy + o * C + v * DEEP);
#pragma GCC unroll 4
            for (int e = 0; e < taps; e++)
                if (inner || (at + e * leap >= 0 && at + e * leap < extent))
                    s[e][v] += d * AT(x + (at + e * leap) * C + v * DEEP);
        }
    }
}
/* To the sums of these taps is added what a line gives; to the last vector without the first `skip`
 * channels. Positions first..last-1 are inner ones. */
INLINE void products(int taps, int vecs, const tide_axis *l, int64_t e0, int64_t first,
                     int64_t last, int64_t count, const REAL *x, const REAL *dy, int64_t C,
                     REAL *sum, int64_t skip) {
    some s[TAPS][VECS];
#pragma GCC unroll 4
    for (int e = 0; e < taps; e++)
#pragma GCC unroll 2
        for (int v = 0; v < vecs; v++) s[e][v] = (some){0};
    add_positions(taps, vecs, 0, s, l, e0, 0, first, x, dy, C);
    add_positions(taps, vecs, 1, s, l, e0, first, last, x, dy, C);
    add_positions(taps, vecs, 0, s, l, e0, last, count, x, dy, C);
#pragma GCC unroll 4
    for (int e = 0; e < taps; e++)
#pragma GCC unroll 2
        for (int v = 0; v < vecs; v++) {
            if (!skip) PUT(sum + e * C + v * DEEP) += s[e][v];
            else
                for (int64_t i = skip; i < DEEP; i++) sum[e * C + i] += s[e][v][i];
        }
}

/* What a line of dy and one of x give for the taps of the last axis. */
static void line_products(const tide_axis *l, int64_t count, int64_t C, const REAL *x,
                          const REAL *dy, REAL *sum) {
    for (int64_t e0 = 0; e0 < l->n; e0 += TAPS) {
        const int taps = (int)TIDE_MIN(TAPS, l->n - e0);
        int64_t first, last, c = 0;
        tide_inner_positions(l, e0, e0 + taps, count, &first, &last);
#define SOME(taps, vecs, c, skip) \
    products(taps, vecs, l, e0, first, last, count, x + (c), dy + (c), C, sum + e0 * C + (c), skip)
        for (; c + VECS * DEEP <= C; c += VECS * DEEP) switch (taps) {
            case 1: SOME(1, VECS, c, 0); break;
            case 2: SOME(2, VECS, c, 0); break;
            case 3: SOME(3, VECS, c, 0); break;
            default: SOME(4, VECS, c, 0);
            }
        for (int64_t skip; c < C; c += DEEP) {
            skip = TIDE_MAX(0, c + DEEP - C);
            switch (taps) {
            case 1: SOME(1, 1, c - skip, skip); break;
            case 2: SOME(2, 1, c - skip, skip); break;
            case 3: SOME(3, 1, c - skip, skip); break;
            default: SOME(4, 1, c - skip, skip);
            }
        }
#undef SOME
    }
}
static void any_products(const tide_axis *l, int64_t count, int64_t C, int64_t F, const REAL *x,
                         const REAL *dy, REAL *sum) {
    const int64_t m = F / C;
    for (int64_t o = 0; o < count; o++, dy += F) {
        int64_t from, to;
        tide_taps_inside(l, o, &from, &to);
        for (int64_t e = from; e < to; e++) {
            const REAL *row = x + (l->at + o * l->hop + e * l->leap) * C;
            REAL *restrict tap = sum + e * F;
            for (int64_t i = 0; i < C; i++)
                for (int64_t j = 0; j < m; j++) tap[i * m + j] += row[i] * dy[i * m + j];
        }
    }
}

tide_status K(depthwise_grad_kernel)(tide_device *dev, const tide_geometry *g, const REAL *x,
                                     const REAL *dy, REAL *dw) {
    const int64_t C = g->c, F = g->f, row = g->in[2] * C, size = volume(g->k) * F,
                  lines = g->n * g->out[0] * g->out[1];
    const cuts cut = cuts_of(g, lines, g->out[2]);
    const int64_t all = lines * cut.parts,
                  piece = TIDE_MAX(TIDE_CEIL_DIV(PIECE, TIDE_MAX(1, cut.count)),
                                   TIDE_CEIL_DIV(all, PIECES)),
                  pieces = TIDE_CEIL_DIV(all, piece);
    const tide_axis l[3] = {tide_axis_of(g, 0), tide_axis_of(g, 1), tide_axis_of(g, 2)};
    REAL *work = tide_scratch(dev, (size_t)(pieces * size) * sizeof *work);
    if (!work) return TIDE_ENOMEM;
    TIDE_PARALLEL_FOR (all, piece) {
        REAL *sum = work + chunk * size;
        memset(sum, 0, (size_t)size * sizeof(REAL));
        for (int64_t i = lo; i < hi && !tide_stopped(); i++) {
            const int64_t r = i / cut.parts, first = i % cut.parts * cut.count,
                          count = TIDE_MIN(cut.count, g->out[2] - first);
            const tide_axis across = from_there(l[2], first);
            const int64_t o[2] = {r / g->out[1] % g->out[0], r % g->out[1]},
                          n = r / g->out[1] / g->out[0];
            int64_t from[2], to[2];
            for (int d = 0; d < 2; d++) tide_taps_inside(&l[d], o[d], &from[d], &to[d]);
            for (int64_t a = from[0]; a < to[0]; a++)
                for (int64_t b = from[1]; b < to[1]; b++) {
                    const int64_t z = l[0].at + o[0] * l[0].hop + a * l[0].leap,
                                  v = l[1].at + o[1] * l[1].hop + b * l[1].leap;
                    const REAL *from_x = x + ((n * g->in[0] + z) * g->in[1] + v) * row,
                               *from_dy = dy + (r * g->out[2] + first) * F;
                    REAL *tap = sum + (a * g->k[1] + b) * g->k[2] * F;
                    if (F == C && C >= DEEP) line_products(&across, count, C, from_x, from_dy, tap);
                    else any_products(&across, count, C, F, from_x, from_dy, tap);
                }
        }
    }
    memset(dw, 0, (size_t)size * sizeof(REAL));
    for (int64_t p = 0; p < pieces; p++)
        for (int64_t i = 0; i < size; i++) dw[i] += work[p * size + i];
    return TIDE_OK;
}
