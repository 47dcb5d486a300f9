/* Colours spread evenly by histograms: of each channel of a batch (equalize_), or of tiles of each
 * channel of each picture, between which tables are interpolated (equalize_tiles_: CLAHE).
 *
 * Counts are whole numbers, so their sums do not depend on threads. A colour's bin is found by the
 * roundings that Keras makes: products go through double, where they are exact, so that no compiler
 * joins them with the next addition. */
#include "cpu.h"

#include <stdlib.h>

/* Colours in [0, 255] and back, each step rounded. */
typedef struct {
    REAL scale, offset, back, back_offset;
} range_of;
static range_of bytes_of(double low, double high) {
    range_of r = {.scale = (REAL)(255 / (high - low)), .back = (REAL)((high - low) / 255)};
    r.offset = (REAL)(-low * (255 / (high - low)));
    r.back_offset = (REAL)low;
    return r;
}
static inline REAL product(REAL a, REAL b) { return (REAL)((double)a * (double)b); }
static inline REAL scaled(REAL v, REAL scale, REAL offset) { return product(v, scale) + offset; }

/* The place of v in 0 .. most; NaN is at 0. */
static inline int64_t place_of(REAL v, int64_t most) {
    return v >= (REAL)most ? most : v > 0 ? (int64_t)v : 0;
}

/* -- one histogram per channel of the whole batch -- */

/* table[bin] of a histogram's counts; 0: the channel holds one colour and stays. */
static int table_of(int64_t bins, const int64_t *count, REAL *table) {
    int64_t before = 0, first = 0, all = 0, filled = 0;
    for (int64_t b = 0; b < bins; b++) {
        all += count[b];
        filled += count[b] > 0;
        if (!first) first = count[b];
    }
    if (filled <= 1) return 0;
    for (int64_t b = 0; b < bins; b++) {
        before += count[b];
        const double v = rint((double)(before - first) * 255 / (double)(all - first));
        table[b] = (REAL)(v < 0 ? 0 : v);
    }
    return 1;
}

TIDE_KERNEL(equalize_) {
    const tide_equalize__attrs *at = c->attrs;
    const int64_t nc = c->in[0].shape[3], bins = at->bins, cells = bins * nc,
                  pixels = c->in[0].shape[0] * c->in[0].shape[1] * c->in[0].shape[2], grain = 8192;
    const range_of to = bytes_of(at->low, at->high);
    const REAL *x = c->in[0].p;
    REAL *y = c->out[0].p;
    tide_lanes counts;
    TIDE_DO(tide_lanes_new(c->dev, pixels, grain, (size_t)cells * sizeof(int64_t), &counts));
    REAL *tables = tide_scratch(c->dev, (size_t)(cells + 1) * sizeof *tables);
    int64_t *sum = tide_scratch(c->dev, (size_t)(cells + nc + 1) * sizeof *sum),
            *spread = sum + cells;
    const int64_t lanes =
        TIDE_MIN(pixels > 0 ? TIDE_CEIL_DIV(pixels, grain) : 1, tide_num_threads());
    if (!tables || !sum) return TIDE_ENOMEM;
    tide_zero(counts.at, (size_t)lanes * counts.each);
    TIDE_PARALLEL_FOR (pixels, grain) {
        int64_t *count = tide_lane(&counts, share_->slot);
        for (int64_t i = lo * nc; i < hi * nc;)
            for (int64_t k = 0; k < nc; k++, i++) {
                const REAL v = product(scaled(x[i], to.scale, to.offset), (REAL)(bins - 1)) / 255;
                count[k * bins + place_of(v, bins - 1)]++;
            }
    }
    for (int64_t i = 0; i < cells; i++) {
        sum[i] = 0;
        for (int64_t l = 0; l < lanes; l++)
            sum[i] += ((const int64_t *)tide_lane(&counts, (int)l))[i];
    }
    for (int64_t k = 0; k < nc; k++) {
        spread[k] = table_of(bins, sum + k * bins, tables + k * bins);
        for (int64_t b = 0; b < bins && spread[k]; b++)
            tables[k * bins + b] = scaled(tables[k * bins + b], to.back, to.back_offset);
    }
    TIDE_PARALLEL_FOR (pixels, grain) {
        for (int64_t i = lo * nc; i < hi * nc;)
            for (int64_t k = 0; k < nc; k++, i++) {
                const REAL v = product(scaled(x[i], to.scale, to.offset) / 255, (REAL)(bins - 1));
                y[i] = spread[k] ? tables[k * bins + place_of(v, bins - 1)] : x[i];
            }
    }
    return TIDE_OK;
}

/* -- tiles -- */

enum { BYTES = 256 };

typedef struct {
    int64_t h, w, c, grid[2], tile[2]; /* down, across */
    REAL low, high, clip;
    int plain;
} tiling;

static inline REAL to_bytes(const tiling *t, REAL v) {
    return t->plain ? v : product((v - t->low) / (t->high - t->low), 255);
}
static inline REAL from_bytes(const tiling *t, REAL v) {
    return t->plain ? v : product(v / 255, t->high - t->low) + t->low;
}
/* Where position i of a longer axis lies, which repeats the last n positions backwards, and those
 * forwards, and so on. */
static inline int64_t mirrored(int64_t i, int64_t n) {
    const int64_t at = i % (2 * n);
    return at < n ? at : 2 * n - 1 - at;
}

/* The table of one tile and channel: counts above the limit are spread over all bins, and sums of
 * counts become colours. */
static void tile_table(const tiling *t, const REAL *x, int64_t row, int64_t column, int64_t k,
                       REAL *table) {
    const int64_t tall = t->tile[0], wide = t->tile[1];
    int64_t count[BYTES] = {0};
    for (int64_t i = 0; i < tall; i++) {
        const REAL *line = x + mirrored(row * tall + i, t->h) * t->w * t->c + k;
        for (int64_t j = 0; j < wide; j++)
            count[place_of(to_bytes(t, line[mirrored(column * wide + j, t->w) * t->c]),
                           BYTES - 1)]++;
    }
    const REAL all = (REAL)(tall * wide), limit = t->clip * all / BYTES;
    REAL sum = 0, more = 0;
    for (int64_t b = 0; b < BYTES; b++) {
        table[b] = (REAL)count[b];
        if (t->clip > 0 && table[b] > limit) more += table[b] - limit, table[b] = limit;
    }
    more /= BYTES;
    for (int64_t b = 0; b < BYTES; b++) sum = table[b] = sum + (table[b] + more);
    const REAL first = table[0], rest = all - first != 0 ? all - first : 1;
    for (int64_t b = 0; b < BYTES; b++)
        table[b] = t_min(t_max((table[b] - first) * 255 / rest, 0), 255);
}

/* The two tiles between whose middles position i of an axis lies, and the second one's share. */
static inline REAL between(int64_t i, int64_t tile, int64_t grid, int64_t *a, int64_t *b) {
    const REAL at = ((REAL)i - (REAL)tile / 2) / (REAL)tile, whole = FN(floor)(at);
    *a = TIDE_MAX((int64_t)whole, 0);
    *b = TIDE_MIN((int64_t)whole + 1, grid - 1);
    return at - whole;
}

TIDE_KERNEL(equalize_tiles_) {
    const tide_equalize_tiles__attrs *at = c->attrs;
    const int64_t *s = c->in[0].shape, n = s[0], down = at->tiles.v[0], across = at->tiles.v[1];
    const tiling t = {.h = s[1],
                      .w = s[2],
                      .c = s[3],
                      .grid = {down, across},
                      .tile = {TIDE_CEIL_DIV(s[1], down), TIDE_CEIL_DIV(s[2], across)},
                      .low = (REAL)at->low,
                      .high = (REAL)at->high,
                      .clip = (REAL)at->clip_limit,
                      .plain = at->low == 0 && at->high == 255};
    const int64_t row = t.w * t.c, one = t.h * row, tables = down * across * t.c * BYTES;
    const REAL *x = c->in[0].p;
    REAL *y = c->out[0].p;
    if (!one || !n) return TIDE_OK;
    REAL *all = tide_scratch(c->dev, (size_t)(n * tables) * sizeof *all);
    if (!all) return TIDE_ENOMEM;
    TIDE_PARALLEL_FOR (n *down *across *t.c, TIDE_MAX(1, 8192 / (t.tile[0] * t.tile[1]))) {
        for (int64_t i = lo; i < hi; i++) {
            const int64_t k = i % t.c, tile = i / t.c;
            tile_table(&t, x + tile / (down * across) * one, tile / across % down, tile % across, k,
                       all + i * BYTES);
        }
    }
    if (tide_stopped()) return TIDE_EINTERRUPT;
    TIDE_PARALLEL_FOR (n *t.h, TIDE_MAX(1, 8192 / row)) {
        for (int64_t r = lo; r < hi; r++) {
            int64_t i0, i1, j0, j1;
            const REAL *of = all + r / t.h * tables,
                       wy = between(r % t.h, t.tile[0], down, &i0, &i1);
            for (int64_t j = 0; j < t.w; j++) {
                const REAL wx = between(j, t.tile[1], across, &j0, &j1);
                for (int64_t k = 0; k < t.c; k++) {
                    const int64_t v = place_of(to_bytes(&t, x[r * row + j * t.c + k]), BYTES - 1);
#define AT(i, j) of[(((i)*across + (j)) * t.c + k) * BYTES + v]
                    const REAL upper = AT(i0, j0) * (1 - wx) + AT(i0, j1) * wx,
                               lower = AT(i1, j0) * (1 - wx) + AT(i1, j1) * wx;
#undef AT
                    y[r * row + j * t.c + k] = from_bytes(&t, upper * (1 - wy) + lower * wy);
                }
            }
        }
    }
    return TIDE_OK;
}
