/* Colours of pictures (N, H, W, C), channels last: what preprocessing layers do to each picture of
 * a batch by numbers of its own.
 *
 * Rows of pictures are shared out; a picture's statistics are made by one thread, in order.
 * Channels lie side by side, mostly three of them: numbers of the channels are laid out again and
 * again along a `lane`, so that loops run over elements and not over channels. */
#include "cpu.h"

#include <stdlib.h>

enum { LANE = 48 }; /* elements of a lane at least */

typedef struct {
    int64_t n, h, w, c, row, lane; /* row: elements of one; lane: a multiple of c */
    const REAL *x;
    REAL *y;
    REAL low, high;
    int plain; /* colours lie in [0, 255] */
} pictures;

static pictures pictures_of(const tide_kcall *c, double low, double high) {
    const int64_t *s = c->in[0].shape;
    return (pictures){.n = s[0],
                      .h = s[1],
                      .w = s[2],
                      .c = s[3],
                      .row = s[2] * s[3],
                      .lane = s[3] ? TIDE_CEIL_DIV(LANE, s[3]) * s[3] : 0,
                      .x = c->in[0].p,
                      .y = c->out[0].p,
                      .low = (REAL)low,
                      .high = (REAL)high,
                      .plain = low == 0 && high == 255};
}
static int64_t rows_at_once(const pictures *p) { return TIDE_MAX(1, 16384 / TIDE_MAX(p->row, 1)); }

static inline REAL limited(REAL v, REAL low, REAL high) { return t_min(t_max(v, low), high); }
/* A colour in [0, 255], and back. */
static inline REAL to_bytes(const pictures *p, REAL v) {
    return p->plain ? v : (v - p->low) / (p->high - p->low) * 255;
}
static inline REAL from_bytes(const pictures *p, REAL v) {
    return p->plain ? v : v / 255 * (p->high - p->low) + p->low;
}

/* -- statistics: of each channel of each picture -- */

/* Sums of a picture's rows in lanes, these in doubles: mean (C). */
static void means_of(const pictures *p, const REAL *x, REAL *lane, double *sum, REAL *mean) {
    for (int64_t k = 0; k < p->c; k++) sum[k] = 0;
    for (int64_t r = 0; r < p->h; r++, x += p->row) {
        for (int64_t i = 0; i < p->lane; i++) lane[i] = 0;
        for (int64_t at = 0; at < p->row; at += p->lane) {
            const int64_t m = TIDE_MIN(p->lane, p->row - at);
#pragma omp simd
            for (int64_t i = 0; i < m; i++) lane[i] += x[at + i];
        }
        for (int64_t i = 0, k = 0; i < p->lane; i++, k = k + 1 < p->c ? k + 1 : 0)
            sum[k] += (double)lane[i];
    }
    for (int64_t k = 0; k < p->c; k++) mean[k] = (REAL)(sum[k] / ((double)p->h * (double)p->w));
}

/* The least and the largest colour, low (C) and high (C), in lanes first. */
static void ends_of(const pictures *p, const REAL *x, REAL *low, REAL *high) {
    for (int64_t i = 0; i < p->lane; i++) low[i] = (REAL)INFINITY, high[i] = -(REAL)INFINITY;
    for (int64_t r = 0; r < p->h; r++, x += p->row)
        for (int64_t at = 0; at < p->row; at += p->lane) {
            const int64_t m = TIDE_MIN(p->lane, p->row - at);
#pragma omp simd
            for (int64_t i = 0; i < m; i++)
                low[i] = t_min(low[i], x[at + i]), high[i] = t_max(high[i], x[at + i]);
        }
    for (int64_t i = p->c; i < p->lane; i++)
        low[i % p->c] = t_min(low[i % p->c], low[i]),
                high[i % p->c] = t_max(high[i % p->c], high[i]);
}

/* -- one row (W C): x and y, the picture's amounts a, and the numbers s of its channels in lanes,
 * or work space -- */

typedef void (*recolor_row)(const pictures *, int64_t r, const REAL *a, REAL *s, const REAL *x,
                            REAL *y);

/* Colour by colour: y = RESULT of v. */
#define EACH_COLOUR(name, SETUP, RESULT)                                                           \
    static void name(const pictures *p, int64_t r, const REAL *a, REAL *s, const REAL *restrict x, \
                     REAL *restrict y) {                                                           \
        (void)r, (void)s;                                                                          \
        const REAL low = p->low, high = p->high;                                                   \
        (void)low;                                                                                 \
        SETUP;                                                                                     \
        for (int64_t i = 0; i < p->row; i++) {                                                     \
            const REAL v = x[i];                                                                   \
            y[i] = RESULT;                                                                         \
        }                                                                                          \
    }
EACH_COLOUR(brightness, const REAL by = a[0], limited(v + by, low, high))
EACH_COLOUR(invert, const int is = a[0] != 0, t_where(is, high - v, v))

/* y = v + add, and the colours from the threshold on are turned round; in bytes. */
static inline REAL solarized(REAL v, REAL add, REAL threshold) {
    const REAL u = limited(v + add, 0, 255);
    return t_where(u < threshold, u, 255 - u);
}
EACH_COLOUR(solarize, const REAL add = a[0]; const REAL from = a[1];
            (void)high, from_bytes(p, solarized(to_bytes(p, v), add, from)))

/* The lowest bits of a byte are dropped. */
static inline REAL posterized(REAL v, int shift) {
    const int byte = (int)limited(v == v ? v : 0, 0, 255);
    return (REAL)(byte >> shift << shift);
}
EACH_COLOUR(posterize, const int shift = (int)limited(a[0], 0, 8);
            (void)high, from_bytes(p, posterized(to_bytes(p, v), shift)))

/* Colour by colour, with numbers of the channels: two lanes, m and k. */
#define EACH_IN_LANES(name, SETUP, RESULT)                                          \
    static void name(const pictures *p, int64_t r, const REAL *a, REAL *restrict s, \
                     const REAL *restrict x, REAL *restrict y) {                    \
        (void)r, (void)a;                                                           \
        const REAL low = p->low, high = p->high;                                    \
        (void)low, (void)high;                                                      \
        SETUP;                                                                      \
        for (int64_t at = 0; at < p->row; at += p->lane)                            \
            for (int64_t i = 0; i < TIDE_MIN(p->lane, p->row - at); i++) {          \
                const REAL v = x[at + i], m = s[i], k = s[p->lane + i];             \
                (void)k;                                                            \
                y[at + i] = RESULT;                                                 \
            }                                                                       \
    }
EACH_IN_LANES(contrast, const REAL by = a[0], limited((v - m) * by + m, low, high))
/* m: the least, k: 255 / (largest - least), infinite where a channel has one colour: then the
 * result is NaN, and the colour stays. */
static inline REAL stretched(const pictures *p, REAL v, REAL m, REAL k) {
    const REAL y = from_bytes(p, limited(to_bytes(p, v) * k - m * k, 0, 255));
    return t_where(y != y, v, y);
}
EACH_IN_LANES(autocontrast, , stretched(p, v, m, k))

/* Pixel by pixel, of three channels: R, G, B from r, g, b. */
#define EACH_PIXEL(name, SETUP, BODY)                                        \
    static void name(const pictures *p, int64_t row, const REAL *a, REAL *s, \
                     const REAL *restrict x, REAL *restrict y) {             \
        (void)row, (void)s;                                                  \
        const REAL low = p->low, high = p->high;                             \
        (void)low, (void)high;                                               \
        SETUP;                                                               \
        _Pragma("omp simd") for (int64_t i = 0; i < p->w; i++) {             \
            const REAL r = x[3 * i], g = x[3 * i + 1], b = x[3 * i + 2];     \
            REAL R, G, B;                                                    \
            BODY;                                                            \
            y[3 * i] = R, y[3 * i + 1] = G, y[3 * i + 2] = B;                \
        }                                                                    \
    }
#define GREY (REAL)0.2989 * r + (REAL)0.5870 * g + (REAL)0.1140 * b
EACH_PIXEL(degenerate, const REAL by = a[0], const REAL grey = GREY;
           R = limited(r + by * (grey - r), low, high); G = limited(g + by * (grey - g), low, high);
           B = limited(b + by * (grey - b), low, high))
EACH_PIXEL(grayscale, const int is = a[0] != 0, const REAL grey = GREY; R = t_where(is, grey, r);
           G = t_where(is, grey, g); B = t_where(is, grey, b))

/* Hue and saturation of a pixel, each in [0, 1], the value being the largest colour (Smith 1978).
 */
#define HSV                                                                                       \
    const REAL top = t_max(t_max(r, g), b), range = top - t_min(t_min(r, g), b),                  \
               sixth = 1 / (6 * t_where(range > 0, range, 1));                                    \
    const REAL sector = t_where(                                                                  \
        r == top, (g - b) * sixth,                                                                \
        t_where(g == top, (b - r) * sixth + (REAL)(2.0 / 6), (r - g) * sixth + (REAL)(4.0 / 6))); \
    REAL hue = t_where(range > 0, t_where(sector < 0, sector + 1, sector), 0);                    \
    REAL full = t_where(top > 0, range / t_where(top > 0, top, 1), 0)
/* One colour of a hue: 0 .. 1, at full saturation and value. */
#define OF_HUE(v) limited(v, 0, 1)
#define RGB                                                   \
    const REAL six = hue * 6;                                 \
    R = (1 - full + full * OF_HUE(T_ABS(six - 3) - 1)) * top; \
    G = (1 - full + full * OF_HUE(2 - T_ABS(six - 2))) * top; \
    B = (1 - full + full * OF_HUE(2 - T_ABS(six - 4))) * top

EACH_PIXEL(hue_of_units, const REAL by = a[0], HSV; hue += by; hue = t_where(hue > 1, hue - 1, hue);
           hue = t_where(hue < 0, hue + 1, hue); RGB; R = limited(R, 0, 1); G = limited(G, 0, 1);
           B = limited(B, 0, 1))
EACH_PIXEL(saturation, const REAL by = a[0], HSV; full = limited(full * by, low, high); RGB)

/* The hue is turned in [0, 1]. */
static void hue(const pictures *p, int64_t r, const REAL *a, REAL *s, const REAL *x, REAL *y) {
    const REAL low = p->low, range = p->high - p->low;
    if (low == 0 && range == 1) {
        hue_of_units(p, r, a, s, x, y);
        return;
    }
    REAL piece[3 * 256], out[3 * 256];
    pictures q = *p;
    for (int64_t at = 0; at < p->row; at += 3 * 256) {
        const int64_t m = TIDE_MIN(3 * 256, p->row - at);
        for (int64_t i = 0; i < m; i++) piece[i] = (x[at + i] - low) / range;
        q.w = m / 3;
        hue_of_units(&q, r, a, s, piece, out);
        for (int64_t i = 0; i < m; i++) y[at + i] = out[i] * range + low;
    }
}

/* y = x + (1 - by) (mean of the neighbours - x): 5/13 of the pixel, 1/13 of each of the eight
 * around it, zeros outside of the picture. `sums` (row + 2 C): of the columns, between two zero
 * pixels. */
static void sharpen(const pictures *p, int64_t r, const REAL *a, REAL *restrict sums,
                    const REAL *restrict x, REAL *restrict y) {
    const REAL part = 1 - a[0], side = (REAL)(1.0 / 13), more = (REAL)(4.0 / 13), low = p->low,
               high = p->high;
    const int64_t c = p->c, row = p->row, in = r % p->h;
    const REAL *up = in > 0 ? x - row : NULL, *down = in + 1 < p->h ? x + row : NULL;
    REAL *restrict own = sums + c;
    memset(sums, 0, (size_t)c * sizeof *sums);
    memset(own + row, 0, (size_t)c * sizeof *sums);
    memcpy(own, x, (size_t)row * sizeof *sums);
    if (up)
        for (int64_t i = 0; i < row; i++) own[i] += up[i];
    if (down)
        for (int64_t i = 0; i < row; i++) own[i] += down[i];
    for (int64_t i = 0; i < row; i++) {
        const REAL v = x[i], mean = (sums[i] + sums[i + c] + sums[i + 2 * c]) * side + v * more;
        y[i] = limited(v + part * (mean - v), low, high);
    }
}

static const struct {
    recolor_row of;
} how_of[] = {
    [TIDE_RECOLOR_brightness] = {brightness},
    [TIDE_RECOLOR_contrast] = {contrast},
    [TIDE_RECOLOR_autocontrast] = {autocontrast},
    [TIDE_RECOLOR_degenerate] = {degenerate},
    [TIDE_RECOLOR_grayscale] = {grayscale},
    [TIDE_RECOLOR_invert] = {invert},
    [TIDE_RECOLOR_solarize] = {solarize},
    [TIDE_RECOLOR_posterize] = {posterize},
    [TIDE_RECOLOR_hue] = {hue},
    [TIDE_RECOLOR_saturation] = {saturation},
    [TIDE_RECOLOR_sharpen] = {sharpen},
};

/* What `contrast` and `autocontrast` need of each picture, (N, 2, lane). */
static tide_status lanes_of(tide_kcall *c, const pictures *p, int stretch, REAL **out) {
    REAL *all = tide_scratch(c->dev, (size_t)(p->n * 2 * p->lane + 1) * sizeof *all);
    tide_lanes room;
    if (!all) return TIDE_ENOMEM;
    TIDE_DO(tide_lanes_new(c->dev, p->n, 1,
                           (size_t)p->lane * sizeof(REAL) + (size_t)p->c * sizeof(double), &room));
    TIDE_PARALLEL_FOR (p->n, 1) {
        double *sum = tide_lane(&room, share_->slot);
        REAL *lane = (REAL *)(void *)(sum + p->c);
        for (int64_t n = lo; n < hi; n++) {
            REAL *m = all + n * 2 * p->lane, *k = m + p->lane;
            const REAL *x = p->x + n * p->h * p->row;
            if (stretch) ends_of(p, x, m, k);
            else means_of(p, x, lane, sum, m);
            for (int64_t i = 0; i < p->c && stretch; i++) {
                m[i] = to_bytes(p, m[i]);
                k[i] = 255 / (to_bytes(p, k[i]) - m[i]);
            }
            for (int64_t i = p->c; i < p->lane; i++) m[i] = m[i - p->c], k[i] = k[i - p->c];
        }
    }
    *out = all;
    return tide_stopped() ? TIDE_EINTERRUPT : TIDE_OK;
}

TIDE_KERNEL(recolor_) {
    const tide_recolor__attrs *at = c->attrs;
    const pictures p = pictures_of(c, at->low, at->high);
    const REAL *amounts = c->in[1].p;
    const int64_t k = amounts ? c->in[1].shape[1] : 0;
    const recolor_row of = how_of[at->how].of;
    REAL *lanes = NULL;
    tide_lanes room = {0};
    if (!p.row || !p.h) return TIDE_OK;
    if (at->how == TIDE_RECOLOR_sharpen)
        TIDE_DO(tide_lanes_new(c->dev, p.n * p.h, rows_at_once(&p),
                               (size_t)(p.row + 2 * p.c) * sizeof(REAL), &room));
    if (at->how == TIDE_RECOLOR_contrast || at->how == TIDE_RECOLOR_autocontrast)
        TIDE_DO(lanes_of(c, &p, at->how == TIDE_RECOLOR_autocontrast, &lanes));
    TIDE_PARALLEL_FOR (p.n *p.h, rows_at_once(&p)) {
        for (int64_t r = lo; r < hi; r++) {
            const int64_t n = r / p.h;
            REAL *numbers = lanes ? lanes + n * 2 * p.lane : NULL;
            of(&p, r, amounts ? amounts + n * k : NULL,
               room.at ? tide_lane(&room, share_->slot) : numbers, p.x + r * p.row,
               p.y + r * p.row);
        }
    }
    return TIDE_OK;
}

/* -- blends: a part of another picture in a box of each -- */

TIDE_KERNEL(blend_) {
    const tide_blend__attrs *at = c->attrs;
    const pictures p = pictures_of(c, 0, 255);
    const tide_buf *other = &c->in[1], *order = &c->in[2];
    const REAL *weights = c->in[3].p, *boxes = c->in[4].p;
    const int64_t many = other->shape[0], tall = other->shape[1];
    for (int64_t i = 0; i < p.n && order->p; i++) {
        const int64_t v = tide_int_at(order, i), o = tide_wrap_sub(v, at->base);
        if (o < 0 || o >= many) {
            c->bad = (tide_bad){
                .in = 2, .pos = i, .value = v, .lo = at->base, .hi = many - 1 + at->base};
            return TIDE_EINDEX;
        }
    }
    if (!p.row || !p.h) return TIDE_OK;
    TIDE_PARALLEL_FOR (p.n *p.h, rows_at_once(&p)) {
        for (int64_t r = lo; r < hi; r++) {
            const int64_t n = r / p.h, in = r % p.h,
                          from = order->p ? tide_int_at(order, n) - at->base
                : many > 1                ? n
                                          : 0;
            const REAL *restrict x = p.x + r * p.row, w = weights ? weights[n] : 0,
                                 *box = boxes ? boxes + n * 4 : NULL,
                                 *restrict o = (const REAL *)other->p +
                (from * tall + (tall > 1 ? in : 0)) * p.row;
            REAL *restrict y = p.y + r * p.row;
            int64_t first = 0, last = p.w; /* pixels of the box: left <= i < right */
            if (box) {
                const REAL wide = (REAL)p.w, left = limited(box[0], 0, wide),
                           right = limited(box[2], 0, wide);
                const int inside = (REAL)in >= box[1] && (REAL)in < box[3] && left < right;
                first = inside ? (int64_t)FN(ceil)(left) : 0;
                last = inside ? (int64_t)FN(ceil)(right) : 0;
            }
            first *= p.c, last *= p.c;
            memcpy(y, x, (size_t)first * sizeof *y);
            memcpy(y + last, x + last, (size_t)(p.row - last) * sizeof *y);
            if (w == 0 && first < last)
                memcpy(y + first, o + first, (size_t)(last - first) * sizeof *y);
            else
                for (int64_t i = first; i < last; i++) y[i] = w * x[i] + (1 - w) * o[i];
        }
    }
    return TIDE_OK;
}
