/* Convolutions over one or two axes without a matrix of patches.
 *
 * A band of results, some lines or a part of one, reads a frame of x: x itself, or where windows
 * reach over its borders a copy with zeros around. Windows lie in the frame at offsets, so that a
 * register tile multiplies any positions by the kernel, which is packed once into panels of NR
 * columns:
 *
 *   y[p, f] = sum over k of frame[place(p) + inside(k)] w[k, f]      k: (row, column, channel)
 *
 * The gradient of x is the same with the taps that reach a position, for each residue of positions
 * modulo the strides; that of the kernel walks the positions of a band instead of k. Bands and the
 * pieces of dw depend on sizes alone: results have equal bits for any number of threads. */
#include "direct.h"

#include "../keep.h"
#include "clip.h"
#include "gemm.h"
#include "registers.h"

#if defined(__AVX512F__)
#define VB 64
#elif defined(__AVX__)
#define VB 32
#else
#define VB 16
#endif
typedef REAL vec __attribute__((vector_size(VB), aligned(sizeof(REAL)), may_alias));
enum {
    VL = VB / sizeof(REAL),
    NR = 2 * VL,
    MR = 6,      /* rows of two vectors: 12 accumulators, 2 loads, 1 broadcast of 16 registers */
    THIN_MR = 8, /* of one: an accumulator waits four cycles for itself, and two go at once */
    LEAST = 96,  /* positions of a band: they share the reading of the kernel */
    MOST = 4096, /* and at most */
    NEAR = 4096, /* elements of panels that stay in the first-level cache beside windows */
    SHORT = 4,   /* channels up to which each element of a window is looked up */
    FRAME_BYTES = 4 * TIDE_DIRECT_REACH,
    PIECES = 16, /* partial sums of dw */
    PIECE_ELEMENTS = 1 << 22,
    FORM = 0x64697265, /* tells packed kernels from what others keep */
};
#define BAND_WORK 5e5     /* multiplications, */
#define SECOND_THREAD 4e5 /* and from so many on there are two bands */
#define INLINE static inline __attribute__((always_inline))

/* One convolution of many images: windows of `c` of an image's `all` channels. */
typedef struct {
    tide_axis down, across;
    int64_t lines, count, c, all, f; /* results: lines, positions of a line, channels */
    int64_t width;                   /* elements of a window */
    clip clip;                       /* of the results */
} task;

/* What lies where in y: of image, line, position. */
typedef struct {
    int64_t image, line, step;
} places;

/* How results are cut: bands of `lines` lines, or of `count` positions of one. */
typedef struct {
    int64_t lines, count, down, across, positions;
    size_t frame; /* elements of a copy */
} bands;

static int64_t span(const tide_axis *a, int64_t positions) {
    return (positions - 1) * a->hop + (a->n - 1) * a->leap + 1;
}

static bands bands_of(const task *t, int64_t images) {
    const double each = (double)(t->width * t->f);
    bands b = {.count = t->count, .lines = 1};
    const int64_t wanted = TIDE_MIN(MOST, TIDE_MAX(LEAST, (int64_t)(BAND_WORK / (each + 1)))),
                  room = FRAME_BYTES / (int64_t)sizeof(REAL) / t->c, rows = span(&t->down, 1),
                  fits = (room / rows - span(&t->across, 1)) / t->across.hop + 1;
    if (wanted < t->count || fits < t->count) {
        b.count = TIDE_MIN(t->count, TIDE_MAX(1, TIDE_MIN(wanted, fits)));
    } else {
        const int64_t most = (room / span(&t->across, t->count) - rows) / t->down.hop + 1;
        b.lines = TIDE_MIN(TIDE_CEIL_DIV(wanted, t->count), TIDE_MIN(most, t->lines));
    }
    b.down = TIDE_CEIL_DIV(t->lines, b.lines), b.across = TIDE_CEIL_DIV(t->count, b.count);
    const int64_t many = images * b.down * b.across;
    if (many % 2 && (many > 1 || each * (double)(t->lines * t->count) > SECOND_THREAD)) {
        if (t->lines > b.down) b.down++; /* an even number of bands for two threads */
        else b.across++;
    }
    /* evenly; whole lines may leave the last ones nothing, and those are none */
    b.lines = TIDE_CEIL_DIV(t->lines, b.down), b.count = TIDE_CEIL_DIV(t->count, b.across);
    b.down = TIDE_CEIL_DIV(t->lines, b.lines), b.across = TIDE_CEIL_DIV(t->count, b.count);
    b.positions = b.lines * b.count;
    b.frame = (size_t)(span(&t->down, b.lines) * span(&t->across, b.count) * t->c);
    return b;
}
static int64_t band_grain(const task *t, const bands *b) {
    return TIDE_MAX(1,
                    (int64_t)(SECOND_THREAD / 2 / ((double)(b->positions * t->width * t->f) + 1)));
}

/* A band: its first line and position, how many of both. */
typedef struct {
    int64_t image, line, at, lines, count;
} band;
static band band_at(const task *t, const bands *b, int64_t i) {
    band r = {.at = i % b->across * b->count};
    i /= b->across;
    r.line = i % b->down * b->lines, r.image = i / b->down;
    r.lines = TIDE_MIN(b->lines, t->lines - r.line), r.count = TIDE_MIN(b->count, t->count - r.at);
    return r;
}

/* What windows are cut from: elements to the next line and the next position. */
typedef struct {
    const REAL *at;
    int64_t line, step;
} frame;
static frame frame_of(const task *t, const band *b, const REAL *x, REAL *room) {
    const int64_t C = t->c, all = t->all, H = t->down.extent, W = t->across.extent,
                  y0 = t->down.at + b->line * t->down.hop, rows = span(&t->down, b->lines),
                  x0 = t->across.at + b->at * t->across.hop, cols = span(&t->across, b->count);
    if (y0 >= 0 && y0 + rows <= H && x0 >= 0 && x0 + cols <= W)
        return (frame){x + (y0 * W + x0) * all, W * all, all};
    const int64_t left = TIDE_MIN(cols, TIDE_MAX(0, -x0)),
                  inside = TIDE_MAX(0, TIDE_MIN(W - x0, cols) - left);
    for (int64_t i = 0; i < rows; i++) {
        REAL *to = room + i * cols * C;
        const int64_t y = y0 + i, some = y >= 0 && y < H ? inside : 0;
        const REAL *from = x + (y * W + x0 + left) * all;
        memset(to, 0, (size_t)(some ? left * C : cols * C) * sizeof(REAL));
        if (!some) continue;
        to += left * C;
        if (C == all) memcpy(to, from, (size_t)(some * C) * sizeof(REAL));
        else
            for (int64_t j = 0; j < some; j++)
                memcpy(to + j * C, from + j * all, (size_t)C * sizeof(REAL));
        memset(to + some * C, 0, (size_t)((cols - left - some) * C) * sizeof(REAL));
    }
    return (frame){room, cols * C, C};
}

/* Where in a frame the windows of a band lie, and the elements of a window in that one; where the
 * results go. */
typedef struct {
    int64_t *at, *inside, *to;        /* NULL: not wanted */
    int64_t line, step, lines, count; /* of the frame and the band that they are of */
} offsets;
static void offsets_of(const task *t, const band *b, const frame *f, const places *p, offsets *o) {
    if (o->line == f->line && o->step == f->step && o->lines == b->lines && o->count == b->count)
        return; /* as in the band before */
    o->line = f->line, o->step = f->step, o->lines = b->lines, o->count = b->count;
    for (int64_t i = 0, k = 0; i < b->lines; i++)
        for (int64_t j = 0; j < b->count; j++, k++) {
            o->at[k] = i * t->down.hop * f->line + j * t->across.hop * f->step;
            if (o->to) o->to[k] = i * p->line + j * p->step;
        }
    int64_t *to = o->inside;
    if (!to) return;
    for (int64_t r = 0; r < t->down.n; r++)
        for (int64_t e = 0; e < t->across.n; e++)
            for (int64_t i = 0; i < t->c; i++)
                *to++ = r * t->down.leap * f->line + e * t->across.leap * f->step + i;
}

/* -- y -- */

/* The kernel as panels (columns / NR; width, NR), zeros beyond the last column: element (row,
 * column, i; j) lies at taps (row, column) + i * is + j * js. */
static void pack(const task *t, const REAL *w, int64_t row, int64_t column, int64_t is, int64_t js,
                 REAL *to) {
    for (int64_t j0 = 0; j0 < t->f; j0 += NR) {
        const int64_t n = TIDE_MIN(NR, t->f - j0);
        for (int64_t r = 0; r < t->down.n; r++)
            for (int64_t e = 0; e < t->across.n; e++) {
                const REAL *from = w + (t->down.tap + r * t->down.step) * row +
                    (t->across.tap + e * t->across.step) * column + j0 * js;
                for (int64_t i = 0; i < t->c; i++, from += is, to += NR)
                    if (n == NR && js == 1) memcpy(to, from, NR * sizeof(REAL));
                    else
                        for (int64_t j = 0; j < NR; j++) to[j] = j < n ? from[j * js] : 0;
            }
    }
}
static int64_t packed_size(const task *t) { return TIDE_CEIL_DIV(t->f, NR) * NR * t->width; }

/* `groups` times `mr` windows at `at`, to results at `out`, by panels of `nv` vectors of columns,
 * of a single one by the first n. Where the elements that lie side by side are few, `inside` says
 * where each one is. */
INLINE void tiles(int mr, int nv, int listed, const task *t, const frame *f, const int64_t *at,
                  const int64_t *out, int64_t groups, const int64_t *inside, const REAL *kernel,
                  const REAL *bias, REAL *y, int64_t panels, int64_t n) {
    const int together = t->across.leap == 1 && f->step == t->c;
    const int64_t runs = together ? 1 : t->across.n, length = together ? t->across.n * t->c : t->c,
                  width = t->width, rows = t->down.n, down = t->down.leap * f->line,
                  across = t->across.leap * f->step;
    const clip bounds = t->clip;
    const REAL *const base = f->at;
    vec s[THIN_MR][2];
#define STEP(k)                                                                          \
    {                                                                                    \
        const int64_t k_ = k;                                                            \
        const vec b0 = *(const vec *)b, b1 = nv > 1 ? *(const vec *)(b + VL) : (vec){0}; \
        _Pragma("GCC unroll 8") for (int i = 0; i < mr; i++) {                           \
            const vec x = a[i][k_] - (vec){0};                                           \
            TIDE_ADD_PRODUCT(s[i][0], x, b0);                                            \
            if (nv > 1) TIDE_ADD_PRODUCT(s[i][1], x, b1);                                \
        }                                                                                \
        b += NR;                                                                         \
    }
    for (int64_t g = 0; g < groups; g++, at += mr, out += mr) {
        const REAL *a[THIN_MR], *b = kernel;
#pragma GCC unroll 8
        for (int i = 0; i < mr; i++) a[i] = base + at[i];
        for (int64_t j = 0; j < panels * NR; j += NR) {
            const vec first = *(const vec *)(bias + j),
                      second = nv > 1 ? *(const vec *)(bias + j + VL) : (vec){0};
#pragma GCC unroll 8
            for (int i = 0; i < mr; i++) s[i][0] = first, s[i][1] = second;
            if (listed)
                for (int64_t k = 0; k < width; k++) STEP(inside[k])
            else
                for (int64_t r = 0; r < rows; r++)
                    for (int64_t e = 0; e < runs; e++) {
                        const int64_t from = r * down + e * across;
                        for (int64_t k = from; k < from + length; k++) STEP(k)
                    }
            if (bounds.on)
#pragma GCC unroll 8
                for (int i = 0; i < mr; i++) {
                    s[i][0] = CLIPPED(vec, s[i][0], bounds.most);
                    if (nv > 1) s[i][1] = CLIPPED(vec, s[i][1], bounds.most);
                }
#pragma GCC unroll 8
            for (int i = 0; i < mr; i++) {
                REAL edge[NR], *whole = y + out[i] + j, *to = n == nv * VL ? whole : edge;
                *(vec *)to = s[i][0];
                if (nv > 1) *(vec *)(to + VL) = s[i][1];
                if (to == edge) memcpy(whole, edge, (size_t)n * sizeof(REAL));
            }
        }
    }
#undef STEP
}
/* Calls with a constant height. */
#define HEIGHTS(call)       \
    switch (mr) {           \
    case 1: call(1); break; \
    case 2: call(2); break; \
    case 3: call(3); break; \
    case 4: call(4); break; \
    case 5: call(5); break; \
    case 6: call(6); break; \
    case 7: call(7); break; \
    default: call(8);       \
    }
#define TILES(name, call)                                                                          \
    static void name(int mr, const task *t, const frame *f, const int64_t *at, const int64_t *out, \
                     int64_t groups, const int64_t *inside, const REAL *kernel, const REAL *bias,  \
                     REAL *y, int64_t panels, int64_t n) {                                         \
        HEIGHTS(call)                                                                              \
    }
#define MORE t, f, at, out, groups, inside, kernel, bias, y, panels, n
#define THIN(rows) tiles(rows, 1, 0, MORE)
#define THIN_LISTED(rows) tiles(rows, 1, 1, MORE)
#define WIDE(rows) tiles(TIDE_MIN(rows, MR), 2, 0, MORE)
#define WIDE_LISTED(rows) tiles(TIDE_MIN(rows, MR), 2, 1, MORE)
TILES(thin_tiles, THIN)
TILES(thin_listed, THIN_LISTED)
TILES(wide_tiles, WIDE)
TILES(wide_listed, WIDE_LISTED)

/* A band of y: its first position at `y`. */
static void multiply(const task *t, const band *b, const frame *f, const offsets *o,
                     const REAL *kernel, const REAL *bias, REAL *y) {
    const int64_t P = b->lines * b->count, whole = t->f / NR,
                  near = TIDE_MAX(1, TIDE_MIN(whole, NEAR / (NR * t->width)));
    for (int64_t j = 0, panels; j < t->f; j += panels * NR, kernel += panels * NR * t->width) {
        panels = TIDE_MAX(1, TIDE_MIN(near, whole - j / NR));
        const int64_t n = TIDE_MIN(NR, t->f - j), count = TIDE_CEIL_DIV(P, n > VL ? MR : THIN_MR),
                      low = P / count, higher = P % count; /* tiles of nearly equal height */
        const int64_t groups[2] = {higher, count - higher};
        for (int k = 0, i = 0; k < 2; k++) {
            const int mr = (int)low + (k == 0);
            if (groups[k] == 0) continue;
            (n > VL          ? o->inside ? wide_listed : wide_tiles
                 : o->inside ? thin_listed
                             : thin_tiles)(mr, t, f, o->at + i, o->to + i, groups[k], o->inside,
                                           kernel, bias + j, y + j, panels, n);
            i += (int)groups[k] * mr;
        }
    }
}

/* `kernel` is packed. */
static tide_status convolve(tide_device *dev, const task *shape, int64_t images, const REAL *x,
                            const REAL *kernel, const REAL *bias, int act, REAL *y,
                            const places *p) {
    task with = *shape;
    const task *t = &with;
    const int clips = clip_of(act, &with.clip);
    const int64_t columns = TIDE_CEIL_DIV(t->f, NR) * NR;
    REAL *added = tide_scratch(dev, (size_t)columns * sizeof *added); /* what the sums begin with */
    if (!added) return TIDE_ENOMEM;
    memset(added, 0, (size_t)columns * sizeof *added);
    if (bias) memcpy(added, bias, (size_t)t->f * sizeof *added);
    const bands all = bands_of(t, images);
    const int64_t jobs = images * all.down * all.across, grain = band_grain(t, &all);
    const int listed = t->c <= SHORT && t->width <= MOST;
    const size_t list = (size_t)(2 * all.positions + (listed ? t->width : 0)) * sizeof(int64_t);
    tide_lanes lanes;
    TIDE_DO(tide_lanes_new(dev, jobs, grain, list + all.frame * sizeof(REAL), &lanes));
    TIDE_PARALLEL_FOR (jobs, grain) {
        char *lane = tide_lane(&lanes, share_->slot);
        offsets o = {.at = (int64_t *)(void *)lane};
        REAL *room = (REAL *)(void *)(lane + list);
        o.to = o.at + all.positions, o.inside = listed ? o.to + all.positions : NULL;
        for (int64_t i = lo; i < hi && !tide_stopped(); i++) {
            const band b = band_at(t, &all, i);
            const frame f =
                frame_of(t, &b, x + b.image * t->down.extent * t->across.extent * t->all, room);
            REAL *to = y + b.image * p->image + b.line * p->line + b.at * p->step;
            offsets_of(t, &b, &f, p, &o);
            multiply(t, &b, &f, &o, kernel, added, to);
            for (int64_t l = 0; l < b.lines && !clips; l++)
                K(bias_act_rows)(0, b.count, t->f, to + l * p->line, p->step, NULL, act);
        }
    }
    return TIDE_OK;
}

/* Do windows leave gaps that no tap reaches? */
static int gaps(const tide_geometry *g) {
    for (int d = 1; d < 3; d++)
        for (int64_t i = 0; i < TIDE_MIN(g->stride[d], g->in[d]); i++)
            if (tide_axis_back(g, d, i).n == 0) return 1;
    return 0;
}

int K(direct_fills)(int64_t columns) { return (columns - 1) % NR < VL; }

int K(direct_serves)(const tide_geometry *g) {
    return tide_direct_fits(g) && g->f / g->groups >= VL;
}

/* The pixels of all images as one line, where windows are single ones. */
static tide_geometry flattened(const tide_geometry *g) {
    tide_geometry f = *g;
    for (int d = 0; d < 3; d++) {
        if (g->k[d] != 1 || g->stride[d] != 1 || g->lo[d] != 0 || g->in[d] != g->out[d]) return *g;
        f.in[d] = f.out[d] = 1;
    }
    f.in[2] = f.out[2] = g->n * g->in[0] * g->in[1] * g->in[2], f.n = 1;
    return f;
}

tide_status K(direct)(tide_device *dev, const tide_geometry *shape, const REAL *x,
                      const tide_buf *w, const REAL *bias, int act, REAL *y) {
    const tide_geometry flat = flattened(shape), *g = &flat;
    const int64_t cg = g->c / g->groups, fg = g->f / g->groups, images = g->n * g->out[0];
    const task t = {.down = tide_axis_of(g, 1),
                    .across = tide_axis_of(g, 2),
                    .lines = g->out[1],
                    .count = g->out[2],
                    .c = cg,
                    .all = g->c,
                    .f = fg,
                    .width = g->k[1] * g->k[2] * cg};
    const places p = {g->out[1] * g->out[2] * g->f, g->out[2] * g->f, g->f};
    const size_t size = (size_t)packed_size(&t), bytes = (size_t)g->groups * size * sizeof(REAL);
    const int64_t form[] = {FORM, g->groups, g->k[1], g->k[2], cg, fg};
    tide_kept *kept = tide_keep(dev, w, form, sizeof form, bytes);
    REAL *packed = kept ? kept->data : tide_scratch(dev, bytes);
    if (!packed) return TIDE_ENOMEM;
    if (!kept || kept->version != w->version) {
        for (int64_t q = 0; q < g->groups; q++)
            pack(&t, (const REAL *)w->p + q * fg, g->k[2] * cg * g->f, cg * g->f, g->f, 1,
                 packed + (size_t)q * size);
        if (kept) kept->version = w->version;
    }
    tide_status s = TIDE_OK;
    for (int64_t q = 0; q < g->groups && s == TIDE_OK; q++)
        s = convolve(dev, &t, images, x + q * cg, packed + (size_t)q * size,
                     bias ? bias + q * fg : NULL, act, y + q * fg, &p);
    tide_keep_done(kept);
    return s;
}

tide_status K(direct_grad_x)(tide_device *dev, const tide_geometry *shape, const REAL *dy,
                             const tide_buf *w, REAL *dx) {
    const tide_geometry flat = flattened(shape), *g = &flat;
    const int64_t cg = g->c / g->groups, fg = g->f / g->groups, images = g->n * g->in[0];
    const places p = {g->in[1] * g->in[2] * g->c, g->stride[1] * g->in[2] * g->c,
                      g->stride[2] * g->c};
    REAL *packed = tide_scratch(
        dev, (size_t)(g->k[1] * g->k[2] * fg * TIDE_CEIL_DIV(cg, NR) * NR + 1) * sizeof *packed);
    if (!packed) return TIDE_ENOMEM;
    if (gaps(g))
        TIDE_PARALLEL_FOR (images *p.image, 1 << 16) {
            memset(dx + lo, 0, (size_t)(hi - lo) * sizeof *dx);
        }
    for (int64_t i = 0; i < TIDE_MIN(g->stride[1], g->in[1]); i++)
        for (int64_t j = 0; j < TIDE_MIN(g->stride[2], g->in[2]); j++)
            for (int64_t q = 0; q < g->groups; q++) {
                task t = {.down = tide_axis_back(g, 1, i),
                          .across = tide_axis_back(g, 2, j),
                          .lines = TIDE_CEIL_DIV(g->in[1] - i, g->stride[1]),
                          .count = TIDE_CEIL_DIV(g->in[2] - j, g->stride[2]),
                          .c = fg,
                          .all = g->f,
                          .f = cg};
                if (t.down.n == 0 || t.across.n == 0) continue;
                t.width = t.down.n * t.across.n * fg;
                pack(&t, (const REAL *)w->p + q * fg, g->k[2] * cg * g->f, cg * g->f, 1, g->f,
                     packed);
                TIDE_DO(convolve(dev, &t, images, dy + q * fg, packed, NULL, TIDE_ACTIVATION_linear,
                                 dx + (i * g->in[2] + j) * g->c + q * cg, &p));
            }
    return TIDE_OK;
}

/* -- dw -- */

/* To `mr` rows of sums, `nv` vectors of columns, is added what P windows at `at` give with dy; to
 * columns from `skip` on. */
INLINE void sums_tile(int mr, int nv, int64_t P, const REAL *x, const int64_t *at,
                      const int64_t *inside, const REAL *dy, int64_t ld, REAL *sum, int64_t f,
                      int64_t skip) {
    const REAL *a[THIN_MR];
    vec s[THIN_MR][2];
#pragma GCC unroll 8
    for (int i = 0; i < mr; i++) a[i] = x + inside[i], s[i][0] = s[i][1] = (vec){0};
    for (int64_t p = 0; p < P; p++, dy += ld) {
        const int64_t k = at[p];
        const vec b0 = *(const vec *)dy, b1 = nv > 1 ? *(const vec *)(dy + VL) : (vec){0};
#pragma GCC unroll 8
        for (int i = 0; i < mr; i++) {
            const vec v = a[i][k] - (vec){0};
            TIDE_ADD_PRODUCT(s[i][0], v, b0);
            if (nv > 1) TIDE_ADD_PRODUCT(s[i][1], v, b1);
        }
    }
#pragma GCC unroll 8
    for (int i = 0; i < mr; i++) {
        REAL edge[VL];
        *(vec *)edge = s[i][0];
        if (skip)
            for (int64_t l = skip; l < VL; l++) sum[i * f + l] += edge[l];
        else *(vec *)(sum + i * f) += s[i][0];
        if (nv > 1) *(vec *)(sum + i * f + VL) += s[i][1];
    }
}
static void thin_sums(int mr, int64_t P, const REAL *x, const int64_t *at, const int64_t *inside,
                      const REAL *dy, int64_t ld, REAL *sum, int64_t f, int64_t skip) {
#define CALL(rows) sums_tile(rows, 1, P, x, at, inside, dy, ld, sum, f, skip)
    HEIGHTS(CALL)
#undef CALL
}
static void wide_sums(int mr, int64_t P, const REAL *x, const int64_t *at, const int64_t *inside,
                      const REAL *dy, int64_t ld, REAL *sum, int64_t f) {
#define CALL(rows) sums_tile(TIDE_MIN(rows, MR), 2, P, x, at, inside, dy, ld, sum, f, 0)
    HEIGHTS(CALL)
#undef CALL
}

/* What a band adds to the sums (width, f). */
static void add_band(const task *t, const band *b, const frame *f, const offsets *o, const REAL *dy,
                     int64_t ld, REAL *sum) {
    const int64_t *at = o->at, *inside = o->inside;
    const int64_t P = b->lines * b->count, wide = t->f / NR * NR;
    for (int vectors = 2; vectors > 0; vectors--) {
        const int64_t tiles = TIDE_CEIL_DIV(t->width, vectors > 1 ? MR : THIN_MR),
                      low = t->width / tiles;
        for (int64_t i = 0, k = 0; k < tiles; k++) {
            const int mr = (int)(low + (k < t->width % tiles));
            REAL *to = sum + i * t->f;
            for (int64_t j = 0; j < wide && vectors > 1; j += NR)
                wide_sums(mr, P, f->at, at, inside + i, dy + j, ld, to + j, t->f);
            for (int64_t j = wide; j < t->f && vectors == 1; j += VL) {
                const int64_t skip = TIDE_MAX(0, j + VL - t->f); /* the last one reaches back */
                thin_sums(mr, P, f->at, at, inside + i, dy + j - skip, ld, to + j - skip, t->f,
                          skip);
            }
            i += mr;
        }
    }
}

tide_status K(direct_grad_kernel)(tide_device *dev, const tide_geometry *shape, const REAL *x,
                                  const REAL *dy, REAL *dw) {
    const tide_geometry flat = flattened(shape), *g = &flat;
    const int64_t cg = g->c / g->groups, fg = g->f / g->groups, images = g->n * g->out[0];
    const task t = {.down = tide_axis_of(g, 1),
                    .across = tide_axis_of(g, 2),
                    .lines = g->out[1],
                    .count = g->out[2],
                    .c = cg,
                    .all = g->c,
                    .f = fg,
                    .width = g->k[1] * g->k[2] * cg};
    const bands all = bands_of(&t, images);
    const int64_t jobs = images * all.down * all.across, size = t.width * fg,
                  most = TIDE_MIN(PIECES, PIECE_ELEMENTS / size),
                  piece = TIDE_MAX(TIDE_CEIL_DIV(jobs, most), band_grain(&t, &all)),
                  pieces = TIDE_CEIL_DIV(jobs, piece);
    const size_t list = (size_t)(all.positions + t.width) * sizeof(int64_t);
    REAL *part = tide_scratch(dev, (size_t)(pieces * size) * sizeof *part);
    tide_lanes lanes;
    if (!part) return TIDE_ENOMEM;
    TIDE_DO(tide_lanes_new(dev, jobs, piece, list + all.frame * sizeof(REAL), &lanes));
    for (int64_t q = 0; q < g->groups; q++) {
        TIDE_PARALLEL_FOR (jobs, piece) {
            char *lane = tide_lane(&lanes, share_->slot);
            offsets o = {.at = (int64_t *)(void *)lane};
            REAL *room = (REAL *)(void *)(lane + list), *sum = part + chunk * size;
            o.inside = o.at + all.positions;
            memset(sum, 0, (size_t)size * sizeof(REAL));
            for (int64_t i = lo; i < hi && !tide_stopped(); i++) {
                const band b = band_at(&t, &all, i);
                const frame f =
                    frame_of(&t, &b, x + b.image * g->in[1] * g->in[2] * g->c + q * cg, room);
                offsets_of(&t, &b, &f, NULL, &o);
                add_band(&t, &b, &f, &o,
                         dy + ((b.image * t.lines + b.line) * t.count + b.at) * g->f + q * fg, g->f,
                         sum);
            }
        }
        for (int64_t i = 0; i < t.width; i++) {
            REAL *to = dw + i * g->f + q * fg;
            const REAL *from = part + i * fg;
            memcpy(to, from, (size_t)fg * sizeof(REAL));
            for (int64_t p = 1; p < pieces; p++)
                for (int64_t j = 0; j < fg; j++) to[j] += from[p * size + j];
        }
    }
    return TIDE_OK;
}
