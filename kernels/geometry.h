/* Where the windows of convolutions and poolings lie. Spatial axes are always three here: missing
 * ones lead with extent 1. */
#ifndef TIDE_GEOMETRY_H
#define TIDE_GEOMETRY_H

#include "kernel.h"

typedef struct {
    int nd;                                                /* spatial axes that the tensors have */
    int64_t n, c, f, groups;                               /* batch, channels of x, of y */
    int64_t in[3], k[3], out[3], stride[3], dil[3], lo[3]; /* lo: zeros before */
} tide_geometry;

/* From normalised attributes (strides, dilation and pads have one entry per spatial axis). x, y:
 * shapes with batch and channels; k: extents of the kernel. */
static inline tide_geometry tide_conv_geometry(int rank, const int64_t *x, const int64_t *y,
                                               const int64_t *k, const tide_ints *strides,
                                               const tide_ints *dil, const tide_pairs *pads,
                                               int64_t groups) {
    tide_geometry g = {.nd = rank - 2,
                       .n = x[0],
                       .c = x[rank - 1],
                       .f = y[rank - 1],
                       .groups = groups,
                       .in = {1, 1, 1},
                       .k = {1, 1, 1},
                       .out = {1, 1, 1},
                       .stride = {1, 1, 1},
                       .dil = {1, 1, 1}};
    for (int i = 0; i < g.nd; i++) {
        int d = 3 - g.nd + i;
        g.in[d] = x[1 + i], g.out[d] = y[1 + i], g.k[d] = k[i];
        g.stride[d] = strides->v[i], g.dil[d] = dil->v[i], g.lo[d] = pads->v[i][0];
    }
    return g;
}

/* Is Winograd's algorithm for 3x3 windows worth its transforms (kernels/cpu/winograd.c)? Measured
 * against oneDNN's direct convolutions: from 32 tiles on, since the kernel's transform is
 * kept between calls. */
static inline int tide_winograd_fits(const tide_geometry *g) {
    if (g->nd != 2 || g->groups != 1 || g->c % 8 || g->f % 8 || g->c < 16 || g->f < 16 ||
        g->c * g->f > 256 * 256)
        return 0;
    for (int d = 1; d < 3; d++)
        if (g->k[d] != 3 || g->stride[d] != 1 || g->dil[d] != 1) return 0;
    return g->n * ((g->out[1] + 1) / 2) * ((g->out[2] + 1) / 2) >= 32;
}

/* The taps of windows along an axis: how many; where the first one of position 0 reads; how much
 * further the next position and the next tap do; how many positions there are to read. Their places
 * in the kernel: the first, and from one to the next. */
typedef struct {
    int64_t n, at, hop, leap, extent, tap, step;
} tide_axis;

/* Of a convolution. */
static inline tide_axis tide_axis_of(const tide_geometry *g, int d) {
    return (tide_axis){g->k[d], -g->lo[d], g->stride[d], g->dil[d], g->in[d], 0, 1};
}

/* Of its gradient: what of dy reaches position i of x, and those whole strides behind it. The last
 * tap reads first. */
static inline tide_axis tide_axis_back(const tide_geometry *g, int d, int64_t i) {
    const int64_t s = g->stride[d], dil = g->dil[d];
    int64_t a = s, b = dil, first = 0;
    while (b) {
        const int64_t t = a % b;
        a = b, b = t;
    }
    const int64_t step = s / a;
    while (first < step && first < g->k[d] && (i + g->lo[d] - first * dil) % s != 0) first++;
    if (first == step || first >= g->k[d]) return (tide_axis){0, 0, 1, 1, g->out[d], 0, 1};
    const int64_t n = TIDE_CEIL_DIV(g->k[d] - first, step), last = first + (n - 1) * step;
    return (tide_axis){n,    (i + g->lo[d] - last * dil) / s, 1, step * dil / s, g->out[d], last,
                       -step};
}

/* The taps from..to-1 of position q that read something; none: to <= from. */
static inline void tide_taps_inside(const tide_axis *a, int64_t q, int64_t *from, int64_t *to) {
    const int64_t at = a->at + q * a->hop, room = a->extent - at;
    *from = at < 0 ? TIDE_CEIL_DIV(-at, a->leap) : 0;
    *to = room > 0 ? TIDE_MIN(a->n, TIDE_CEIL_DIV(room, a->leap)) : 0;
}

/* The positions first..last-1 of 0..count-1 of which taps from..to-1 all read something. */
static inline void tide_inner_positions(const tide_axis *a, int64_t from, int64_t to, int64_t count,
                                        int64_t *first, int64_t *last) {
    const int64_t low = a->at + from * a->leap, room = a->extent - (a->at + (to - 1) * a->leap);
    *first = low < 0 ? TIDE_CEIL_DIV(-low, a->hop) : 0;
    *last = room > 0 ? TIDE_MIN(count, TIDE_CEIL_DIV(room, a->hop)) : 0;
    if (*first > *last) *first = *last;
}

/* Do one or two axes, a kernel that stays in the cache and windows no larger than the pieces of
 * direct.c let that serve? */
enum { TIDE_DIRECT_KERNEL = 1 << 18, TIDE_DIRECT_REACH = 48 << 10 };
static inline int tide_direct_fits(const tide_geometry *g) {
    const int64_t c = g->c / g->groups, f = g->f / g->groups, most = TIDE_DIRECT_KERNEL;
    for (int d = 1; d < 3; d++)
        if (g->k[d] > TIDE_DIRECT_REACH || g->dil[d] > TIDE_DIRECT_REACH) return 0;
    return g->k[0] == 1 && g->stride[0] == 1 && g->lo[0] == 0 && g->in[0] == g->out[0] && c > 0 &&
        f > 0 && c <= most && f <= most && g->k[1] * g->k[2] <= most / c / f &&
        ((g->k[1] - 1) * g->dil[1] + 1) * ((g->k[2] - 1) * g->dil[2] + 1) <= TIDE_DIRECT_REACH;
}

/* Has x so few channels that its gradient is better made of a product over all taps, whose columns
 * are then added up? */
static inline int tide_thin_grad_x(const tide_geometry *g) {
    const int64_t taps = g->k[0] * g->k[1] * g->k[2];
    return g->groups == 1 && g->c <= 4 && g->f >= 8 && taps > 1 && taps * g->c <= 128;
}

/* Elements first..last-1 of an axis that window `at` covers. */
static inline void tide_pool_window(int64_t in, int64_t out, int64_t size, int64_t stride,
                                    int64_t lo, int adaptive, int64_t at, int64_t *first,
                                    int64_t *last) {
    if (adaptive) { /* torch's and Keras' rule: windows of equal rank, overlapping where extents do
                       not divide */
        *first = at * in / out;
        *last = ((at + 1) * in + out - 1) / out;
        return;
    }
    *first = at * stride - lo;
    *last = *first + size;
    if (*first < 0) *first = 0;
    if (*last > in) *last = in;
}

#endif
