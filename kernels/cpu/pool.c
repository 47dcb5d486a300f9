/* Pooling over three spatial axes, channels last: windows are walked position by position, channels
 * side by side.
 *
 * A window lies inside x (padding neither wins nor counts). Gradients of maxima find the window's
 * first element that equals the result again, instead of keeping its place. Each image and block of
 * channels is written by one thread, in order. */
#include "../geometry.h"
#include "cpu.h"

enum { BLOCK = 256 }; /* channels at once */

typedef struct {
    tide_geometry g;
    int adaptive;
} pool;

/* x, y: shapes of the larger and the smaller tensor. The attributes are the same in every pooling
 * op. */
static pool pool_of(int rank, const int64_t *x, const int64_t *y, const tide_ints *size,
                    const tide_ints *strides, int same, const tide_ints *output) {
    pool p = {.adaptive = output->n > 0,
              .g = {.nd = rank - 2,
                    .n = x[0],
                    .c = x[rank - 1],
                    .in = {1, 1, 1},
                    .k = {1, 1, 1},
                    .out = {1, 1, 1},
                    .stride = {1, 1, 1}}};
    for (int i = 0; i < p.g.nd; i++) {
        int d = 3 - p.g.nd + i;
        p.g.in[d] = x[1 + i], p.g.out[d] = y[1 + i];
        if (p.adaptive) continue;
        p.g.k[d] = size->v[i], p.g.stride[d] = strides->v[i];
        int64_t over = (p.g.out[d] - 1) * p.g.stride[d] + p.g.k[d] - p.g.in[d];
        if (same && over > 0) p.g.lo[d] = over / 2;
    }
    return p;
}
#define POOL_OF(x, y, at)                                                        \
    pool_of((x)->rank, (x)->shape, (y)->shape, &(at)->pool_size, &(at)->strides, \
            (at)->padding == TIDE_PADDING_same, &(at)->output_size_)

typedef struct {
    int64_t first[3], last[3];
} window;
static inline window window_at(const pool *p, int64_t o) {
    window w;
    for (int d = 2; d >= 0; d--) {
        tide_pool_window(p->g.in[d], p->g.out[d], p->g.k[d], p->g.stride[d], p->g.lo[d],
                         p->adaptive, o % p->g.out[d], &w.first[d], &w.last[d]);
        o /= p->g.out[d];
    }
    return w;
}
static inline int64_t outs(const pool *p) { return p->g.out[0] * p->g.out[1] * p->g.out[2]; }
static inline int64_t ins(const pool *p) { return p->g.in[0] * p->g.in[1] * p->g.in[2]; }
static inline int64_t count(const window *w) {
    return (w->last[0] - w->first[0]) * (w->last[1] - w->first[1]) * (w->last[2] - w->first[2]);
}
static inline int64_t place(const pool *p, int64_t a, int64_t b, int64_t e) {
    return ((a * p->g.in[1] + b) * p->g.in[2] + e) * p->g.c;
}

/* Runs BODY for every position of window `w` of image `n`; `at` is its first channel's offset in x.
 */
#define EACH(p, w, n, at)                                                                         \
    for (int64_t a_ = (w).first[0], image_ = (n)*ins(p) * (p)->g.c; a_ < (w).last[0]; a_++)       \
        for (int64_t b_ = (w).first[1]; b_ < (w).last[1]; b_++)                                   \
            for (int64_t e_ = (w).first[2], at = image_ + place(p, a_, b_, e_); e_ < (w).last[2]; \
                 e_++, at += (p)->g.c)

/* Does no position lie in two windows? *whole: does every one lie in one? */
static int disjoint(const pool *p, int *whole) {
    int apart = !p->adaptive;
    *whole = apart;
    for (int d = 0; d < 3; d++) {
        apart &= p->g.stride[d] >= p->g.k[d];
        *whole &= p->g.stride[d] == p->g.k[d] && p->g.out[d] * p->g.k[d] >= p->g.in[d];
    }
    return apart;
}

static inline int64_t grain_of(const pool *p) {
    int64_t work = p->g.c *
        (p->adaptive ? TIDE_CEIL_DIV(ins(p), TIDE_MAX(outs(p), 1))
                     : p->g.k[0] * p->g.k[1] * p->g.k[2]);
    return TIDE_MAX(1, 32768 / TIDE_MAX(work, 1));
}

/* to (c) = maxima over a window of the image x. Two positions side by side along the last axis are
 * taken at once, and two such pairs where the window has two rows: a window of 2 x 2 is one pass.
 */
static inline void max_of_window(const pool *p, const window *w, const REAL *x, REAL *to) {
    const int64_t nc = p->g.c, wide = w->last[2] - w->first[2], row = p->g.in[2] * nc;
    int started = 0;
    for (int64_t a = w->first[0]; a < w->last[0]; a++)
        for (int64_t b = w->first[1]; b < w->last[1];) {
            const REAL *v = x + place(p, a, b, w->first[2]);
            if (!started && wide == 2 && b + 2 <= w->last[1]) {
#pragma omp simd
                for (int64_t i = 0; i < nc; i++)
                    to[i] = t_max(t_max(v[i], v[nc + i]), t_max(v[row + i], v[row + nc + i]));
                b += 2;
            } else {
                int64_t e = 0;
                if (!started && wide > 1) {
#pragma omp simd
                    for (int64_t i = 0; i < nc; i++) to[i] = t_max(v[i], v[nc + i]);
                    e = 2;
                } else if (!started) {
                    memcpy(to, v, (size_t)nc * sizeof(REAL));
                    e = 1;
                }
                for (; e + 2 <= wide; e += 2)
#pragma omp simd
                    for (int64_t i = 0; i < nc; i++)
                        to[i] = t_max(to[i], t_max(v[e * nc + i], v[(e + 1) * nc + i]));
                if (e < wide)
#pragma omp simd
                    for (int64_t i = 0; i < nc; i++) to[i] = t_max(to[i], v[e * nc + i]);
                b++;
            }
            started = 1;
        }
}

tide_status K(max_pool)(tide_kcall *c);
tide_status K(max_pool)(tide_kcall *c) {
    const tide_max_pool_attrs *at = c->attrs;
    pool p = POOL_OF(&c->in[0], &c->out[0], at);
    const REAL *x = c->in[0].p;
    REAL *y = c->out[0].p;
    int64_t per = outs(&p), nc = p.g.c, line = p.g.out[2], lines = line && nc ? per / line : 0;
    TIDE_PARALLEL_FOR (p.g.n *lines, TIDE_CEIL_DIV(grain_of(&p), TIDE_MAX(line, 1))) {
        for (int64_t r = lo; r < hi;
             r++) { /* a line of windows: they differ along the last axis only */
            window w = window_at(&p, r % lines * line);
            for (int64_t o = 0; o < line; o++) {
                if (o > 0)
                    tide_pool_window(p.g.in[2], line, p.g.k[2], p.g.stride[2], p.g.lo[2],
                                     p.adaptive, o, &w.first[2], &w.last[2]);
                max_of_window(&p, &w, x + r / lines * ins(&p) * nc, y + (r * line + o) * nc);
            }
        }
    }
    return TIDE_OK;
}

static inline int equal(REAL x, REAL y) { return x == y || x != x; } /* a NaN wins its window */

tide_status K(max_pool_grad)(tide_kcall *c);
tide_status K(max_pool_grad)(tide_kcall *c) {
    const tide_max_pool_grad_attrs *at = c->attrs;
    pool p = POOL_OF(&c->in[1], &c->in[0], at);
    const REAL *dy = c->in[0].p, *x = c->in[1].p, *y = c->in[2].p;
    REAL *dx = c->out[0].p;
    int64_t per = outs(&p), nc = p.g.c, blocks = TIDE_CEIL_DIV(nc, BLOCK),
            work = ins(&p) * TIDE_MIN(nc, BLOCK);
    int whole, apart = disjoint(&p, &whole);
    TIDE_PARALLEL_FOR (p.g.n *blocks, TIDE_MAX(1, 32768 / TIDE_MAX(work, 1))) {
        REAL rest[BLOCK];
        for (int64_t t = lo; t < hi; t++) {
            int64_t n = t / blocks, c0 = t % blocks * BLOCK, cn = TIDE_MIN(BLOCK, nc - c0);
            for (int64_t i = 0; i < ins(&p) && !whole; i++)
                memset(dx + (n * ins(&p) + i) * nc + c0, 0, (size_t)cn * sizeof(REAL));
            for (int64_t o = 0; o < per; o++) {
                window w = window_at(&p, o);
                int64_t r = (n * per + o) * nc + c0;
                const REAL *restrict yr = y + r;
                memcpy(rest, dy + r, (size_t)cn * sizeof(REAL)); /* what no element has taken yet */
                EACH(&p, w, n, from) {
                    const REAL *restrict v = x + from + c0;
                    REAL *restrict to = dx + from + c0;
                    if (apart)
                        for (int64_t i = 0; i < cn; i++) {
                            to[i] = equal(v[i], yr[i]) ? rest[i] : 0;
                            rest[i] = equal(v[i], yr[i]) ? 0 : rest[i];
                        }
                    else
                        for (int64_t i = 0; i < cn; i++) {
                            to[i] += equal(v[i], yr[i]) ? rest[i] : 0;
                            rest[i] = equal(v[i], yr[i]) ? 0 : rest[i];
                        }
                }
            }
        }
    }
    return TIDE_OK;
}

tide_status K(max_pool_pick)(tide_kcall *c);
tide_status K(max_pool_pick)(tide_kcall *c) {
    const tide_max_pool_pick_attrs *at = c->attrs;
    pool p = POOL_OF(&c->in[1], &c->in[2], at);
    const REAL *g = c->in[0].p, *x = c->in[1].p, *y = c->in[2].p;
    REAL *out = c->out[0].p;
    int64_t per = outs(&p), nc = p.g.c;
    TIDE_PARALLEL_FOR (p.g.n *per, grain_of(&p)) {
        REAL open[BLOCK];
        for (int64_t r = lo; r < hi; r++) {
            window w = window_at(&p, r % per);
            for (int64_t c0 = 0; c0 < nc; c0 += BLOCK) {
                int64_t cn = TIDE_MIN(BLOCK, nc - c0);
                const REAL *restrict yr = y + r * nc + c0;
                REAL *restrict to = out + r * nc + c0;
                for (int64_t i = 0; i < cn; i++) open[i] = 1, to[i] = 0;
                EACH(&p, w, r / per, from) {
                    const REAL *restrict v = x + from + c0, *restrict gr = g + from + c0;
                    for (int64_t i = 0; i < cn; i++) {
                        int hit = equal(v[i], yr[i]);
                        to[i] = hit && open[i] != 0 ? gr[i] : to[i];
                        open[i] = hit ? 0 : open[i];
                    }
                }
            }
        }
    }
    return TIDE_OK;
}

tide_status K(average_pool)(tide_kcall *c);
tide_status K(average_pool)(tide_kcall *c) {
    const tide_average_pool_attrs *at = c->attrs;
    pool p = POOL_OF(&c->in[0], &c->out[0], at);
    const REAL *x = c->in[0].p;
    REAL *y = c->out[0].p;
    int64_t per = outs(&p), nc = p.g.c;
    TIDE_PARALLEL_FOR (p.g.n *per, grain_of(&p)) {
        for (int64_t r = lo; r < hi; r++) {
            window w = window_at(&p, r % per);
            REAL *restrict to = y + r * nc;
            memset(to, 0, (size_t)nc * sizeof(REAL));
            EACH(&p, w, r / per, from) {
                const REAL *restrict v = x + from;
                for (int64_t i = 0; i < nc; i++) to[i] += v[i];
            }
            REAL scale = 1 / (REAL)count(&w);
            for (int64_t i = 0; i < nc; i++) to[i] *= scale;
        }
    }
    return TIDE_OK;
}

tide_status K(average_pool_grad)(tide_kcall *c);
tide_status K(average_pool_grad)(tide_kcall *c) {
    const tide_average_pool_grad_attrs *at = c->attrs;
    pool p = POOL_OF(&c->out[0], &c->in[0], at);
    const REAL *dy = c->in[0].p;
    REAL *dx = c->out[0].p;
    int64_t per = outs(&p), nc = p.g.c, blocks = TIDE_CEIL_DIV(nc, BLOCK),
            work = ins(&p) * TIDE_MIN(nc, BLOCK);
    TIDE_PARALLEL_FOR (p.g.n *blocks, TIDE_MAX(1, 32768 / TIDE_MAX(work, 1))) {
        for (int64_t t = lo; t < hi; t++) {
            int64_t n = t / blocks, c0 = t % blocks * BLOCK, cn = TIDE_MIN(BLOCK, nc - c0);
            for (int64_t i = 0; i < ins(&p); i++)
                memset(dx + (n * ins(&p) + i) * nc + c0, 0, (size_t)cn * sizeof(REAL));
            for (int64_t o = 0; o < per; o++) {
                window w = window_at(&p, o);
                REAL scale = 1 / (REAL)count(&w);
                const REAL *restrict from = dy + (n * per + o) * nc + c0;
                EACH(&p, w, n, to) {
                    REAL *restrict d = dx + to + c0;
                    for (int64_t i = 0; i < cn; i++) d[i] += from[i] * scale;
                }
            }
        }
    }
    return TIDE_OK;
}
