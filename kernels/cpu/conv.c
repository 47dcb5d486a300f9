/* Convolutions over three spatial axes, channels last: im2col and a product, tile by tile, where
 * nothing better serves (winograd.c, depthwise.c, direct.c).
 *
 *   y[n,o,f] = sum over taps t, channels c of x[n, o*stride - lo + t*dil, c] w[t,c,f]
 * so with cols (o; t,c) the patches of x:  y = cols w,  dw = cols^T dy;  and dx gathers dy through
 * the taps that reach it. Tiles depend on sizes alone: results have equal bits for any number of
 * threads. */
#include "../fold.h"
#include "../geometry.h"
#include "depthwise.h"
#include "direct.h"
#include "gemm.h"
#include "winograd.h"

enum { TILE_BYTES = 1 << 20 }; /* of patches at once: in the second-level cache of two cores */

static inline int64_t volume(const int64_t *e) { return e[0] * e[1] * e[2]; }

/* Row `o` of an image's result as three positions. */
static inline void unrank(int64_t o, const int64_t *ext, int64_t *at) {
    at[2] = o % ext[2], o /= ext[2];
    at[1] = o % ext[1];
    at[0] = o / ext[1];
}

/* rows [r0, r1) of the patches of x, channels [c0, c0+cn): (rows, taps, cn) */
static void im2col(const tide_geometry *g, const REAL *x, int64_t c0, int64_t cn, int64_t r0,
                   int64_t r1, REAL *cols) {
    int64_t per = volume(g->out), width = volume(g->k) * cn;
    TIDE_PARALLEL_FOR (r1 - r0, TIDE_MAX(1, 16384 / TIDE_MAX(width, 1))) {
        for (int64_t r = lo; r < hi; r++) {
            int64_t o[3], n = (r0 + r) / per;
            unrank((r0 + r) % per, g->out, o);
            REAL *to = cols + r * width;
            for (int64_t a = 0; a < g->k[0]; a++) {
                int64_t z = o[0] * g->stride[0] - g->lo[0] + a * g->dil[0];
                for (int64_t b = 0; b < g->k[1]; b++) {
                    int64_t y = o[1] * g->stride[1] - g->lo[1] + b * g->dil[1];
                    int64_t xx = o[2] * g->stride[2] - g->lo[2];
                    if (z < 0 || z >= g->in[0] || y < 0 || y >= g->in[1]) {
                        memset(to, 0, (size_t)(g->k[2] * cn) * sizeof(REAL));
                        to += g->k[2] * cn;
                        continue;
                    }
                    const REAL *row =
                        x + (((n * g->in[0] + z) * g->in[1] + y) * g->in[2]) * g->c + c0;
                    if (cn == g->c && g->dil[2] == 1 && xx >= 0 &&
                        xx + g->k[2] <= g->in[2]) { /* neighbours lie together */
                        memcpy(to, row + xx * g->c, (size_t)(g->k[2] * cn) * sizeof(REAL));
                        to += g->k[2] * cn;
                        continue;
                    }
                    for (int64_t e = 0; e < g->k[2]; e++, xx += g->dil[2], to += cn) {
                        if (xx < 0 || xx >= g->in[2]) memset(to, 0, (size_t)cn * sizeof(REAL));
                        else memcpy(to, row + xx * g->c, (size_t)cn * sizeof(REAL));
                    }
                }
            }
        }
    }
}

/* A 1x1 convolution reads x as it lies. */
static int pointwise(const tide_geometry *g) {
    for (int d = 0; d < 3; d++)
        if (g->k[d] != 1 || g->stride[d] != 1 || g->lo[d] != 0 || g->in[d] != g->out[d]) return 0;
    return 1;
}

static int64_t tile_rows(int64_t rows, int64_t width) {
    return TIDE_MIN(rows, TIDE_MAX(64, TILE_BYTES / TIDE_MAX(1, width * (int64_t)sizeof(REAL))));
}

/* Position of the result that reads input position `i` through tap `t`; -1: none. */
static inline int64_t reader(const tide_geometry *g, int d, int64_t i, int64_t t) {
    int64_t at = i + g->lo[d] - t * g->dil[d];
    if (at < 0 || at % g->stride[d]) return -1;
    at /= g->stride[d];
    return at < g->out[d] ? at : -1;
}

/* -- the convolution -- */
tide_status K(conv)(tide_kcall *c);
tide_status K(conv)(tide_kcall *c) {
    const tide_conv_attrs *at = c->attrs;
    const tide_buf *x = &c->in[0], *w = &c->in[1], *y = &c->out[0];
    tide_geometry g = tide_conv_geometry(x->rank, x->shape, y->shape, w->shape, &at->strides,
                                         &at->dilation_rate, &at->pads, at->groups);
    int64_t rows = g.n * volume(g.out), cg = g.c / g.groups, fg = g.f / g.groups,
            width = volume(g.k) * cg;
    if (rows * g.f == 0) return TIDE_OK;
    if (K(winograd_serves)(&g)) {
        const int relu = at->activation == TIDE_ACTIVATION_relu;
        TIDE_DO(K(winograd)(c->dev, &g, x->p, w, c->in[2].p, relu, y->p));
        if (!relu) K(bias_act)(rows, g.f, y->p, g.f, NULL, at->activation);
        return TIDE_OK;
    }
    if (tide_is_depthwise(&g)) {
        K(depthwise)(&g, x->p, w->p, c->in[2].p, at->activation, y->p);
        return TIDE_OK;
    }
    const int direct = pointwise(&g);
    const int bare = !c->in[2].p && at->activation == TIDE_ACTIVATION_linear;
    if ((!direct || !bare || K(direct_fills)(fg)) && K(direct_serves)(&g))
        return K(direct)(c->dev, &g, x->p, w, c->in[2].p, at->activation, y->p);
    const int64_t tile = direct ? rows : tile_rows(rows, width);
    REAL *cols = direct ? NULL : tide_scratch(c->dev, (size_t)(tile * width) * sizeof *cols);
    if (!direct && !cols) return TIDE_ENOMEM;
    for (int64_t r = 0; r < rows && !tide_stopped(); r += tile)
        for (int64_t q = 0; q < g.groups; q++) {
            int64_t n = TIDE_MIN(tile, rows - r);
            tide_gemm p = {.m = n,
                           .n = fg,
                           .k = width,
                           .a = cols,
                           .ars = width,
                           .acs = 1,
                           .b = (const REAL *)w->p + q * fg,
                           .brs = g.f,
                           .bcs = 1,
                           .c = (REAL *)y->p + r * g.f + q * fg,
                           .ldc = g.f};
            if (direct) p.a = (const REAL *)x->p + r * g.c + q * cg, p.ars = g.c;
            else im2col(&g, x->p, q * cg, cg, r, r + n, cols);
            if (g.groups == 1) K(gemm_act)(&p, c->in[2].p, at->activation);
            else K(gemm)(&p);
        }
    if (g.groups > 1) K(bias_act)(rows, g.f, y->p, g.f, c->in[2].p, at->activation);
    return TIDE_OK;
}

/* conv_norm_: with the normalization in the kernel */
TIDE_KERNEL(conv_norm_) {
    tide_folded f;
    TIDE_DO(tide_fold(c, &f));
    const tide_status s = K(conv)(&f.call);
    tide_keep_done(f.kept);
    return s;
}

/* One residue class of dx's positions modulo the stride: the taps that reach it form a small
 * convolution of stride 1. */
typedef struct {
    int64_t first[3], count[3]; /* positions first + i*stride */
    int64_t tap[3], taps[3], step[3];
} phase;

static phase phase_of(const tide_geometry *g, const int64_t *residue) {
    phase p;
    for (int d = 0; d < 3; d++) {
        const tide_axis a = tide_axis_back(g, d, residue[d]);
        const int64_t s = g->stride[d];
        p.first[d] = residue[d];
        p.count[d] = residue[d] < g->in[d] ? TIDE_CEIL_DIV(g->in[d] - residue[d], s) : 0;
        p.tap[d] = a.tap, p.taps[d] = a.n, p.step[d] = a.step;
    }
    return p;
}

/* rows [r0, r1) of the phase's positions: what of dy each tap reads, zeros where none: (rows, taps,
 * fg) */
static void gather_dy(const tide_geometry *g, const phase *ph, const REAL *dy, int64_t f0,
                      int64_t fg, int64_t r0, int64_t r1, REAL *cols) {
    int64_t per = volume(ph->count), width = volume(ph->taps) * fg;
    TIDE_PARALLEL_FOR (r1 - r0, TIDE_MAX(1, 16384 / TIDE_MAX(width, 1))) {
        for (int64_t r = lo; r < hi; r++) {
            int64_t i[3], n = (r0 + r) / per;
            unrank((r0 + r) % per, ph->count, i);
            for (int d = 0; d < 3; d++) i[d] = ph->first[d] + i[d] * g->stride[d];
            REAL *to = cols + r * width;
            for (int64_t a = 0; a < ph->taps[0]; a++)
                for (int64_t b = 0; b < ph->taps[1]; b++)
                    for (int64_t e = 0; e < ph->taps[2]; e++, to += fg) {
                        int64_t z = reader(g, 0, i[0], ph->tap[0] + a * ph->step[0]),
                                y = reader(g, 1, i[1], ph->tap[1] + b * ph->step[1]),
                                x = reader(g, 2, i[2], ph->tap[2] + e * ph->step[2]);
                        if (z < 0 || y < 0 || x < 0) memset(to, 0, (size_t)fg * sizeof(REAL));
                        else
                            memcpy(to,
                                   dy +
                                       (((n * g->out[0] + z) * g->out[1] + y) * g->out[2] + x) *
                                           g->f +
                                       f0,
                                   (size_t)fg * sizeof(REAL));
                    }
        }
    }
}

/* the taps of one phase and group as a matrix (taps, fg; cg) */
static void turn_kernel(const tide_geometry *g, const phase *ph, const REAL *w, int64_t f0,
                        int64_t fg, int64_t cg, REAL *out) {
    for (int64_t a = 0; a < ph->taps[0]; a++)
        for (int64_t b = 0; b < ph->taps[1]; b++)
            for (int64_t e = 0; e < ph->taps[2]; e++, out += fg * cg) {
                int64_t t =
                    ((ph->tap[0] + a * ph->step[0]) * g->k[1] + ph->tap[1] + b * ph->step[1]) *
                        g->k[2] +
                    ph->tap[2] + e * ph->step[2];
                for (int64_t f = 0; f < fg; f++)
                    for (int64_t c = 0; c < cg; c++)
                        out[f * cg + c] = w[(t * cg + c) * g->f + f0 + f];
            }
}

static void scatter_phase(const tide_geometry *g, const phase *ph, const REAL *from, int64_t c0,
                          int64_t cg, int64_t r0, int64_t r1, REAL *dx) {
    int64_t per = volume(ph->count);
    TIDE_PARALLEL_FOR (r1 - r0, TIDE_MAX(1, 16384 / TIDE_MAX(cg, 1))) {
        for (int64_t r = lo; r < hi; r++) {
            int64_t i[3], n = (r0 + r) / per;
            unrank((r0 + r) % per, ph->count, i);
            for (int d = 0; d < 3; d++) i[d] = ph->first[d] + i[d] * g->stride[d];
            memcpy(dx + (((n * g->in[0] + i[0]) * g->in[1] + i[1]) * g->in[2] + i[2]) * g->c + c0,
                   from + r * cg, (size_t)cg * sizeof(REAL));
        }
    }
}

static tide_status full_grad_x(tide_kcall *c, const tide_geometry *g, const REAL *dy, const REAL *w,
                               REAL *dx) {
    int64_t cg = g->c / g->groups, fg = g->f / g->groups, most = volume(g->k) * fg,
            all = g->n * volume(g->in);
    int single = g->stride[0] == 1 && g->stride[1] == 1 && g->stride[2] == 1;
    int64_t tile = tile_rows(all, most);
    REAL *cols = tide_scratch(c->dev, (size_t)(tile * most) * sizeof *cols),
         *turned = tide_scratch(c->dev, (size_t)(most * cg) * sizeof *turned),
         *part = single ? NULL : tide_scratch(c->dev, (size_t)(tile * cg) * sizeof *part);
    if (!cols || !turned || (!single && !part)) return TIDE_ENOMEM;
    int64_t res[3], last[3]; /* residues, and how many of them have positions */
    for (int d = 0; d < 3; d++) last[d] = TIDE_MIN(g->stride[d], g->in[d]);
    for (res[0] = 0; res[0] < last[0]; res[0]++)
        for (res[1] = 0; res[1] < last[1] && !tide_stopped(); res[1]++)
            for (res[2] = 0; res[2] < last[2]; res[2]++)
                for (int64_t q = 0; q < g->groups; q++) {
                    phase ph = phase_of(g, res);
                    int64_t rows = g->n * volume(ph.count), width = volume(ph.taps) * fg;
                    if (rows == 0) continue;
                    turn_kernel(g, &ph, w, q * fg, fg, cg, turned);
                    for (int64_t r = 0; r < rows && !tide_stopped(); r += tile) {
                        int64_t n = TIDE_MIN(tile, rows - r);
                        gather_dy(g, &ph, dy, q * fg, fg, r, r + n, cols);
                        tide_gemm p = {.m = n,
                                       .n = cg,
                                       .k = width,
                                       .a = cols,
                                       .ars = width,
                                       .acs = 1,
                                       .b = turned,
                                       .brs = cg,
                                       .bcs = 1,
                                       .c = single ? dx + r * g->c + q * cg : part,
                                       .ldc = single ? g->c : cg};
                        K(gemm)(&p);
                        if (!single) scatter_phase(g, &ph, part, q * cg, cg, r, r + n, dx);
                    }
                }
    return TIDE_OK;
}

/* Adds what a row of positions gives through every tap to the image they read. */
static void add_taps(const tide_geometry *g, const REAL *from, int64_t ld, int64_t o0, int64_t o1,
                     REAL *to) {
    const int64_t c = g->c, s = g->stride[2];
    for (int64_t a = 0; a < g->k[0]; a++)
        for (int64_t b = 0; b < g->k[1]; b++) {
            const int64_t z = o0 * g->stride[0] - g->lo[0] + a * g->dil[0],
                          y = o1 * g->stride[1] - g->lo[1] + b * g->dil[1];
            if (z < 0 || z >= g->in[0] || y < 0 || y >= g->in[1]) continue;
            REAL *row = to + (z * g->in[1] + y) * g->in[2] * c;
            for (int64_t e = 0; e < g->k[2]; e++) {
                const int64_t x = e * g->dil[2] - g->lo[2]; /* of position 0 */
                const int64_t first = x < 0 ? (-x + s - 1) / s : 0,
                              end = TIDE_MIN(g->out[2],
                                             x < g->in[2] ? (g->in[2] - 1 - x) / s + 1 : 0);
                const REAL *restrict tap = from + ((a * g->k[1] + b) * g->k[2] + e) * c;
                REAL *restrict at = row + x * c;
                if (c == 1)
                    for (int64_t o = first; o < end; o++) at[o * s] += tap[o * ld];
                else
                    for (int64_t o = first; o < end; o++)
                        for (int64_t i = 0; i < c; i++) at[o * s * c + i] += tap[o * ld + i];
            }
        }
}

/* Few channels of x: small products give what positions of dy add through each tap, (positions;
 * t,c), and each image gathers its own. Columns go up to whole vectors. */
static tide_status thin_grad_x(tide_kcall *c, const tide_geometry *g, const REAL *dy, const REAL *w,
                               REAL *dx) {
    enum { ROWS = 96 }; /* of a product: the largest that opens no parallel region */
    const int64_t width = volume(g->k) * g->c, ld = TIDE_CEIL_DIV(width, 16) * 16,
                  across = g->out[2], down = g->out[0] * g->out[1];
    const int64_t lines = TIDE_MAX(1, ROWS / across),
                  grain = TIDE_MAX(1, 65536 / TIDE_MAX(1, down * across * ld));
    REAL *turned = tide_scratch(c->dev, (size_t)(g->f * ld) * sizeof *turned);
    tide_lanes lanes;
    if (!turned) return TIDE_ENOMEM;
    TIDE_DO(tide_lanes_new(c->dev, g->n, grain,
                           (size_t)(TIDE_MAX(ROWS, across) * ld) * sizeof(REAL), &lanes));
    memset(turned, 0, (size_t)(g->f * ld) * sizeof(REAL));
    for (int64_t i = 0; i < width; i++)
        for (int64_t f = 0; f < g->f; f++) turned[f * ld + i] = w[i * g->f + f];
    TIDE_PARALLEL_FOR (g->n, grain) {
        const tide_gemm_hook *outer = tide_gemm_now;
        tide_gemm_now = NULL; /* libraries make a copy of each operand */
        REAL *parts = tide_lane(&lanes, share_->slot);
        for (int64_t n = lo; n < hi; n++) {
            REAL *to = dx + n * volume(g->in) * g->c;
            memset(to, 0, (size_t)(volume(g->in) * g->c) * sizeof(REAL));
            for (int64_t r = 0; r < down && !tide_stopped(); r += lines) {
                const int64_t some = TIDE_MIN(lines, down - r), m = some * across;
                const REAL *from = dy + (n * down + r) * across * g->f;
                for (int64_t i = 0; i < m; i += ROWS) {
                    tide_gemm p = {.m = TIDE_MIN(ROWS, m - i),
                                   .n = ld,
                                   .k = g->f,
                                   .a = from + i * g->f,
                                   .ars = g->f,
                                   .acs = 1,
                                   .b = turned,
                                   .brs = ld,
                                   .bcs = 1,
                                   .c = parts + i * ld,
                                   .ldc = ld};
                    K(gemm)(&p);
                }
                for (int64_t i = 0; i < some; i++)
                    add_taps(g, parts + i * across * ld, ld, (r + i) / g->out[1],
                             (r + i) % g->out[1], to);
            }
        }
        tide_gemm_now = outer;
    }
    return TIDE_OK;
}

tide_status K(conv_grad_x)(tide_kcall *c);
tide_status K(conv_grad_x)(tide_kcall *c) {
    const tide_conv_grad_x_attrs *at = c->attrs;
    const tide_buf *dy = &c->in[0], *w = &c->in[1], *dx = &c->out[0];
    tide_geometry g = tide_conv_geometry(dx->rank, dx->shape, dy->shape, w->shape, &at->strides,
                                         &at->dilation_rate, &at->pads, at->groups);
    int64_t rows = g.n * volume(g.in);
    if (rows * g.c == 0) return TIDE_OK;
    if (K(winograd_serves)(&g)) {
        TIDE_DO(K(winograd_grad_x)(c->dev, &g, dy->p, w->p, dx->p));
    } else if (tide_is_depthwise(&g)) {
        K(depthwise_grad_x)(&g, dy->p, w->p, dx->p);
    } else if (tide_thin_grad_x(&g)) {
        TIDE_DO(thin_grad_x(c, &g, dy->p, w->p, dx->p));
    } else if (pointwise(&g) && !(K(direct_fills)(g.c / g.groups) && K(direct_serves)(&g))) {
        int64_t cg = g.c / g.groups, fg = g.f / g.groups;
        for (int64_t q = 0; q < g.groups; q++) {
            tide_gemm p = {.m = rows,
                           .n = cg,
                           .k = fg,
                           .a = (const REAL *)dy->p + q * fg,
                           .ars = g.f,
                           .acs = 1,
                           .b = (const REAL *)w->p + q * fg,
                           .brs = 1,
                           .bcs = g.f,
                           .c = (REAL *)dx->p + q * cg,
                           .ldc = g.c};
            K(gemm)(&p);
        }
    } else if (K(direct_serves)(&g)) {
        TIDE_DO(K(direct_grad_x)(c->dev, &g, dy->p, w, dx->p));
    } else {
        TIDE_DO(full_grad_x(c, &g, dy->p, w->p, dx->p));
    }
    K(bias_act)(rows, g.c, dx->p, g.c, c->in[2].p, at->activation);
    return TIDE_OK;
}

tide_status K(conv_grad_kernel)(tide_kcall *c);
tide_status K(conv_grad_kernel)(tide_kcall *c) {
    const tide_conv_grad_kernel_attrs *at = c->attrs;
    const tide_buf *x = &c->in[0], *dy = &c->in[1], *dw = &c->out[0];
    tide_geometry g = tide_conv_geometry(x->rank, x->shape, dy->shape, dw->shape, &at->strides,
                                         &at->dilation_rate, &at->pads, at->groups);
    int64_t rows = g.n * volume(g.out), cg = g.c / g.groups, fg = g.f / g.groups,
            width = volume(g.k) * cg;
    int direct = pointwise(&g);
    int64_t tile = direct ? rows : tile_rows(rows, width);
    if (at->bias) TIDE_DO(K(colsum)(c->dev, rows, g.f, dy->p, c->out[1].p));
    if (K(winograd_serves)(&g)) return K(winograd_grad_kernel)(c->dev, &g, x->p, dy->p, dw->p);
    if (tide_is_depthwise(&g)) return K(depthwise_grad_kernel)(c->dev, &g, x->p, dy->p, dw->p);
    if ((!direct || K(direct_fills)(fg)) && rows > 0 && K(direct_serves)(&g))
        return K(direct_grad_kernel)(c->dev, &g, x->p, dy->p, dw->p);
    REAL *work = tide_scratch(c->dev, (size_t)(direct ? 0 : tile * width) * sizeof *work);
    if (!work) return TIDE_ENOMEM;
    if (rows == 0) {
        memset(dw->p, 0, (size_t)(width * g.f) * sizeof(REAL));
    } else {
        for (int64_t r = 0; r < rows && !tide_stopped(); r += tile)
            for (int64_t q = 0; q < g.groups; q++) {
                int64_t n = TIDE_MIN(tile, rows - r);
                tide_gemm p = {.m = width,
                               .n = fg,
                               .k = n,
                               .a = work,
                               .ars = 1,
                               .acs = width,
                               .b = (const REAL *)dy->p + r * g.f + q * fg,
                               .brs = g.f,
                               .bcs = 1,
                               .c = (REAL *)dw->p + q * fg,
                               .ldc = g.f,
                               .accumulate = r > 0};
                if (direct) p.a = (const REAL *)x->p + r * g.c + q * cg, p.acs = g.c;
                else im2col(&g, x->p, q * cg, cg, r, r + n, work);
                K(gemm)(&p);
            }
    }
    return TIDE_OK;
}

/* -- 1x1 convolutions of halves: the linear layer of their pixels, whose products read halves.
 * Others decline, and the launch widens. -- */

tide_status K(linear)(tide_kcall *), K(linear_grad)(tide_kcall *);

static int of_pixels(int rank, const int64_t *x, const tide_buf *y, const tide_buf *w,
                     const tide_ints *strides, const tide_ints *dilation, const tide_pairs *pads,
                     int64_t groups) {
    const tide_geometry g =
        tide_conv_geometry(rank, x, y->shape, w->shape, strides, dilation, pads, groups);
    return pointwise(&g) && groups == 1 && tide_buf_numel(y) > 0 && tide_buf_numel(w) > 0;
}
/* A kernel (1, ..., in, out) as a matrix. */
static tide_buf matrix_of(const tide_buf *w) {
    tide_buf m = *w;
    m.rank = 2, m.shape[0] = w->shape[w->rank - 2], m.shape[1] = w->shape[w->rank - 1];
    m.stride[0] = m.shape[1], m.stride[1] = 1;
    return m;
}

tide_status K(conv_halves)(tide_kcall *c);
tide_status K(conv_halves)(tide_kcall *c) {
    const tide_conv_attrs *at = c->attrs;
    if (!of_pixels(c->in[0].rank, c->in[0].shape, &c->out[0], &c->in[1], &at->strides,
                   &at->dilation_rate, &at->pads, at->groups))
        return TIDE_DECLINE;
    tide_kcall part = *c;
    tide_buf in[3] = {c->in[0], matrix_of(&c->in[1]), c->in[2]};
    part.attrs = &(tide_linear_attrs){.activation = at->activation};
    part.in = in, part.nin = 3, part.op = TIDE_OP_linear;
    return K(linear)(&part);
}

/* x, or its shape, and w, or its: what `needs` says of linear_grad. */
static tide_status grad_of_pixels(tide_kcall *c, const tide_buf *x, const tide_buf *w,
                                  const tide_buf *dy, int needs) {
    tide_kcall part = *c;
    tide_buf in[4] = {*x, matrix_of(w), *dy, *dy}, out[3] = {{0}};
    if (needs & 1) out[0] = c->out[0];
    else out[1] = matrix_of(&c->out[0]);
    if (needs & 4) out[2] = c->out[1];
    part.attrs = &(tide_linear_grad_attrs){.activation = TIDE_ACTIVATION_linear, .needs = needs};
    part.in = in, part.nin = 4, part.out = out, part.nout = 3, part.op = TIDE_OP_linear_grad;
    return K(linear_grad)(&part);
}

tide_status K(conv_grad_x_halves)(tide_kcall *c);
tide_status K(conv_grad_x_halves)(tide_kcall *c) {
    const tide_conv_grad_x_attrs *at = c->attrs;
    const tide_buf *dy = &c->in[0], *w = &c->in[1], *dx = &c->out[0];
    if (c->in[2].p || at->activation ||
        !of_pixels(dx->rank, dx->shape, dy, w, &at->strides, &at->dilation_rate, &at->pads,
                   at->groups))
        return TIDE_DECLINE;
    return grad_of_pixels(c, dx, w, dy, 1);
}

tide_status K(conv_grad_kernel_halves)(tide_kcall *c);
tide_status K(conv_grad_kernel_halves)(tide_kcall *c) {
    const tide_conv_grad_kernel_attrs *at = c->attrs;
    const tide_buf *x = &c->in[0], *dy = &c->in[1], *dw = &c->out[0];
    if (!of_pixels(x->rank, x->shape, dy, dw, &at->strides, &at->dilation_rate, &at->pads,
                   at->groups))
        return TIDE_DECLINE;
    return grad_of_pixels(c, x, dw, dy, 2 | (at->bias ? 4 : 0));
}
