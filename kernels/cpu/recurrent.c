/* SimpleRNN, LSTM and GRU over all steps of projected inputs, and their gradients.
 *
 * Rows of the batch are independent: each chunk of them runs through all steps on one thread, with
 * one product of its states and the recurrent kernel per step. The gradient of the kernel is one
 * product over all rows and steps at the end. Chunks depend on the batch alone, so results are the
 * same for any number of threads.
 *
 * `memory` (planes, B, T, U) keeps what the gradient reads, a plane for each of:
 *   simple        the output
 *   lstm          gates i, f, the candidate, o, the cell after the step
 *   gru           gates z, r, the candidate, what r scaled (with reset_before: r * h)
 * and last the state h after the step. */
#include "gemm.h"
#include "pieces.h"

enum {
    ROWS = 32,
    FEW = 3, /* rows for which the kernel is read as it lies */
};

typedef struct {
    int64_t B, T, U, G; /* G: gates */
    int cell, act, gate, backwards, zero;
    const REAL *z, *kernel, *bias;
    const REAL *packed; /* the kernel, packed for all steps; NULL: it is not */
    const uint8_t *mask;
    REAL *memory;
    const REAL *last; /* of a stretch that is not the first: (B, U), the outputs before it */
} net;

static int64_t gates_of(int cell) {
    return cell == TIDE_CELL_lstm ? 4 : cell == TIDE_CELL_simple ? 1 : 3;
}

static net net_of(const tide_recurrent__attrs *at, int64_t B, int64_t T, int64_t U) {
    return (net){.B = B,
                 .T = T,
                 .U = U,
                 .G = gates_of(at->cell),
                 .cell = at->cell,
                 .act = at->activation,
                 .gate = at->gate,
                 .backwards = at->backwards,
                 .zero = at->zero};
}

static REAL *plane(const net *r, int64_t which, int64_t b, int64_t t) {
    return r->memory + (((which * r->B) + b) * r->T + t) * r->U;
}
static int64_t state_plane(const net *r) {
    return r->cell == TIDE_CELL_lstm ? 5 : r->cell == TIDE_CELL_simple ? 1 : 4;
}

/* x = act(x) */
static void activate(int64_t n, REAL *restrict x, int act) {
    switch (act) {
    case TIDE_GATE_tanh:
        for (int64_t i = 0; i < n; i++) x[i] = T_TANH(x[i]);
        break;
    case TIDE_GATE_sigmoid:
        for (int64_t i = 0; i < n; i++) x[i] = T_SIGMOID(x[i]);
        break;
    case TIDE_GATE_relu:
        for (int64_t i = 0; i < n; i++) x[i] = t_max(x[i], 0);
        break;
    case TIDE_GATE_hard_sigmoid:
        for (int64_t i = 0; i < n; i++) x[i] = t_max(0, t_min(1, x[i] / (REAL)6 + (REAL)0.5));
        break;
    default: break;
    }
}

/* d *= act', read from act's result y */
static void deactivate(int64_t n, REAL *restrict d, const REAL *restrict y, int act) {
    switch (act) {
    case TIDE_GATE_tanh:
        for (int64_t i = 0; i < n; i++) d[i] *= 1 - y[i] * y[i];
        break;
    case TIDE_GATE_sigmoid:
        for (int64_t i = 0; i < n; i++) d[i] *= y[i] * (1 - y[i]);
        break;
    case TIDE_GATE_relu:
        for (int64_t i = 0; i < n; i++) d[i] = t_where(y[i] > 0, d[i], 0);
        break;
    case TIDE_GATE_hard_sigmoid:
        for (int64_t i = 0; i < n; i++) d[i] = t_where((y[i] > 0) & (y[i] < 1), d[i] / (REAL)6, 0);
        break;
    default: break;
    }
}

static void product(int64_t m, int64_t n, int64_t k, const REAL *a, int64_t ars, const REAL *b,
                    int64_t brs, const REAL *packed, REAL *c, int64_t ldc, int accumulate) {
    tide_gemm g = {.m = m,
                   .n = n,
                   .k = k,
                   .a = a,
                   .ars = ars,
                   .acs = 1,
                   .b = b,
                   .brs = brs,
                   .bcs = 1,
                   .packed = packed,
                   .c = c,
                   .ldc = ldc,
                   .accumulate = accumulate};
    K(gemm)(&g);
}

/* A kernel (k, n) that each step reads, packed once. NULL: few rows read it as it lies, or no room.
 */
static const REAL *packed_once(tide_device *dev, int64_t rows, int64_t k, int64_t n,
                               const REAL *kernel) {
    REAL *to = rows > FEW ? tide_scratch(dev, (size_t)K(packed_size)(k, n) * sizeof *to) : NULL;
    if (to) K(pack_b)(&(tide_gemm){.n = n, .k = k, .b = kernel, .brs = n, .bcs = 1}, to);
    return to;
}

/* c += states kernel; products that add to what is there pack the kernel, even for a few rows.
 * `room` (m, n) is work space. */
static void add_product(int64_t m, int64_t n, int64_t k, const REAL *states, int64_t ars,
                        const REAL *kernel, int64_t brs, const REAL *packed, REAL *c, REAL *room) {
    if (m > FEW) {
        product(m, n, k, states, ars, kernel, brs, packed, c, n, 1);
        return;
    }
    product(m, n, k, states, ars, kernel, brs, NULL, room, n, 0);
    for (int64_t i = 0; i < m * n; i++) c[i] += room[i];
}

/* -- forward -- */

/* One step of one row: `s` holds what its gates are made of, h and c its states. Returns where the
 * new h is; the row's place in memory is written. */
static void step(const net *r, int64_t b, int64_t t, REAL *s, REAL *restrict h, REAL *restrict c) {
    const int64_t U = r->U;
    REAL *restrict now = plane(r, state_plane(r), b, t);
    if (r->cell == TIDE_CELL_simple) {
        activate(U, s, r->act);
        memcpy(plane(r, 0, b, t), s, (size_t)U * sizeof(REAL));
        memcpy(now, s, (size_t)U * sizeof(REAL));
    } else if (r->cell == TIDE_CELL_lstm) {
        activate(2 * U, s, r->gate);
        activate(U, s + 2 * U, r->act);
        activate(U, s + 3 * U, r->gate);
        for (int64_t k = 0; k < 4; k++)
            memcpy(plane(r, k, b, t), s + k * U, (size_t)U * sizeof(REAL));
        const REAL *restrict i = s, *restrict f = s + U, *restrict g = s + 2 * U,
                             *restrict o = s + 3 * U;
        REAL *restrict cell = plane(r, 4, b, t);
        for (int64_t j = 0; j < U; j++) cell[j] = now[j] = f[j] * c[j] + i[j] * g[j];
        activate(U, now, r->act);
        for (int64_t j = 0; j < U; j++) now[j] *= o[j];
        memcpy(c, cell, (size_t)U * sizeof(REAL));
    } else { /* z, r and the candidate, whose activation is done */
        const REAL *restrict z = s, *restrict g = s + 2 * U;
        for (int64_t j = 0; j < U; j++) now[j] = z[j] * h[j] + (1 - z[j]) * g[j];
    }
    memcpy(h, now, (size_t)U * sizeof(REAL));
}

/* GRU's gates of rows [lo, hi) at step t, in s (rows, 3 U); `inner` (rows, 3 U) is work space. */
static void gru_gates(const net *r, int64_t lo, int64_t hi, int64_t t, REAL *s, REAL *inner,
                      const REAL *h) {
    const int64_t U = r->U, n = hi - lo, W = 3 * U;
    const int before = r->cell == TIDE_CELL_gru_before;
    for (int64_t b = lo; b < hi; b++)
        memcpy(s + (b - lo) * W, r->z + (b * r->T + t) * W, (size_t)W * sizeof(REAL));
    if (!before) {
        const int adds = r->bias && n > FEW;
        for (int64_t b = 0; b < n && adds; b++)
            memcpy(inner + b * W, r->bias, (size_t)W * sizeof(REAL));
        product(n, W, U, h, U, r->kernel, W, r->packed, inner, W, adds);
        for (int64_t b = 0; b < n && r->bias && !adds; b++)
            for (int64_t j = 0; j < W; j++) inner[b * W + j] += r->bias[j];
    } else {
        product(n, 2 * U, U, h, U, r->kernel, W, NULL, s, W, 1);
    }
    for (int64_t b = 0; b < n; b++) {
        REAL *restrict g = s + b * W;
        const REAL *restrict in = inner + b * W;
        if (!before)
            for (int64_t j = 0; j < 2 * U; j++) g[j] += in[j];
        activate(2 * U, g, r->gate);
        REAL *restrict scaled = plane(r, 3, lo + b, t);
        const REAL *restrict reset = g + U, *restrict state = h + b * U;
        for (int64_t j = 0; j < U; j++) scaled[j] = before ? reset[j] * state[j] : in[2 * U + j];
        if (!before)
            for (int64_t j = 0; j < U; j++) g[2 * U + j] += reset[j] * scaled[j];
    }
    if (before)
        product(n, U, U, plane(r, 3, lo, t), r->T * U, r->kernel + 2 * U, W, NULL, s + 2 * U, W, 1);
    for (int64_t b = 0; b < n; b++) {
        REAL *g = s + b * W;
        activate(U, g + 2 * U, r->act);
        for (int64_t k = 0; k < 3; k++)
            memcpy(plane(r, k, lo + b, t), g + k * U, (size_t)U * sizeof(REAL));
    }
}

static void forward_rows(const net *r, int64_t lo, int64_t hi, REAL *work, const REAL *h0,
                         const REAL *c0, REAL *y, REAL *hn, REAL *cn) {
    const int64_t U = r->U, W = r->G * U, n = hi - lo;
    const int lstm = r->cell == TIDE_CELL_lstm, gru = r->G == 3;
    REAL *s = work, *inner = s + ROWS * W, *h = inner + ROWS * W, *c = h + ROWS * U;
    memcpy(h, h0 + lo * U, (size_t)(n * U) * sizeof(REAL));
    if (lstm) memcpy(c, c0 + lo * U, (size_t)(n * U) * sizeof(REAL));
    for (int64_t k = 0; k < r->T && !tide_stopped(); k++) {
        const int64_t t = r->backwards ? r->T - 1 - k : k;
        if (gru) {
            gru_gates(r, lo, hi, t, s, inner, h);
        } else {
            for (int64_t b = lo; b < hi; b++)
                memcpy(s + (b - lo) * W, r->z + (b * r->T + t) * W, (size_t)W * sizeof(REAL));
            add_product(n, W, U, h, U, r->kernel, W, r->packed, s, inner);
        }
        for (int64_t b = lo; b < hi; b++) {
            REAL *state = h + (b - lo) * U, *cell = c + (b - lo) * U, *out = y + (b * r->T + k) * U;
            if (r->mask && !r->mask[b * r->T + t]) { /* the states stay */
                memcpy(plane(r, state_plane(r), b, t), state, (size_t)U * sizeof(REAL));
                if (lstm) memcpy(plane(r, 4, b, t), cell, (size_t)U * sizeof(REAL));
                for (int64_t g = 0; !gru && g < r->G; g++) /* nobody reads them; GRU's are there */
                    memset(plane(r, g, b, t), 0, (size_t)U * sizeof(REAL));
                const REAL *repeats = k ? out - U : r->last ? r->last + b * U : NULL;
                if (r->zero || !repeats) memset(out, 0, (size_t)U * sizeof(REAL));
                else memcpy(out, repeats, (size_t)U * sizeof(REAL));
            } else {
                step(r, b, t, s + (b - lo) * W, state, cell);
                memcpy(out, state, (size_t)U * sizeof(REAL));
            }
        }
    }
    memcpy(hn + lo * U, h, (size_t)(n * U) * sizeof(REAL));
    if (lstm) memcpy(cn + lo * U, c, (size_t)(n * U) * sizeof(REAL));
}

/* -- halves: stretches of steps of some rows are widened, go through, and are narrowed -- */

enum { STRETCH = 1 << 18 }; /* REALs of a stretch, about */

static int64_t planes_of(const net *r) { return state_plane(r) + 1; }

/* Steps of a stretch of which each takes `each` REALs per row. */
static int64_t stretch(const net *r, int64_t each) {
    return TIDE_MAX(1, TIDE_MIN(r->T, STRETCH / (ROWS * each)));
}

/* The first of the m steps, in their order in time, that follow k0 others. */
static int64_t first_of(const net *r, int64_t k0, int64_t m) {
    return r->backwards ? r->T - k0 - m : k0;
}

/* Between `b`, (rows, r->T, width) from `base` on, and `x` (n, m, width): steps [t, t + m) of rows
 * [lo, lo + n). */
static void read_steps(const net *r, const tide_buf *b, int64_t base, int64_t lo, int64_t n,
                       int64_t t, int64_t m, int64_t width, REAL *x) {
    for (int64_t i = 0; i < n; i++)
        piece_read(b, base + ((lo + i) * r->T + t) * width, m * width, x + i * m * width);
}
static void write_steps(const net *r, const tide_buf *b, int64_t base, int64_t lo, int64_t n,
                        int64_t t, int64_t m, int64_t width, const REAL *x) {
    for (int64_t i = 0; i < n; i++)
        piece_write(b, base + ((lo + i) * r->T + t) * width, m * width, x + i * m * width);
}

/* The part of r that are n rows and m steps, those from t on of rows [lo, lo + n). */
static net part_of(const net *r, int64_t lo, int64_t n, int64_t t, int64_t m, REAL *memory,
                   uint8_t *mask) {
    net part = *r;
    part.B = n, part.T = m, part.memory = memory;
    for (int64_t i = 0; i < n && r->mask; i++)
        memcpy(mask + i * m, r->mask + (lo + i) * r->T + t, (size_t)m);
    part.mask = r->mask ? mask : NULL;
    return part;
}

/* A whole buffer of halves as REAL, in work space; NULL: none, or no room. */
static const REAL *widened(tide_device *dev, const tide_buf *b) {
    const int64_t n = tide_buf_numel(b);
    REAL *room = b->p ? tide_scratch(dev, (size_t)TIDE_MAX(n, 1) * sizeof(REAL)) : NULL;
    return room ? piece_read(b, 0, n, room) : NULL;
}

static void forward_stretches(const tide_kcall *k, const net *r, int64_t lo, int64_t hi,
                              int64_t steps, REAL *work) {
    const int64_t U = r->U, W = r->G * U, n = hi - lo, P = planes_of(r);
    const int lstm = r->cell == TIDE_CELL_lstm;
    REAL *z = work, *memory = z + ROWS * steps * W, *y = memory + P * ROWS * steps * U,
         *h = y + ROWS * steps * U, *c = h + ROWS * U, *last = c + ROWS * U,
         *inner = last + ROWS * U;
    uint8_t *mask = (uint8_t *)(inner + ROWS * (2 * W + 2 * U));
    piece_read(&k->in[1], lo * U, n * U, h);
    if (lstm) piece_read(&k->in[2], lo * U, n * U, c);
    for (int64_t k0 = 0; k0 < r->T && !tide_stopped(); k0 += steps) {
        const int64_t m = TIDE_MIN(steps, r->T - k0), t = first_of(r, k0, m);
        net part = part_of(r, lo, n, t, m, memory, mask);
        read_steps(r, &k->in[0], 0, lo, n, t, m, W, z);
        part.z = z, part.last = k0 ? last : NULL;
        forward_rows(&part, 0, n, inner, h, c, y, h, c);
        write_steps(r, &k->out[0], 0, lo, n, k0, m, U, y);
        for (int64_t p = 0; p < P; p++)
            write_steps(r, &k->out[3], p * r->B * r->T * U, lo, n, t, m, U, memory + p * n * m * U);
        for (int64_t b = 0; b < n; b++)
            memcpy(last + b * U, y + (b * m + m - 1) * U, (size_t)U * sizeof(REAL));
    }
    piece_write(&k->out[1], lo * U, n * U, h);
    if (lstm) piece_write(&k->out[2], lo * U, n * U, c);
}

static tide_status forward_halves(tide_kcall *c, net *r) {
    const int64_t U = r->U, W = r->G * U, steps = stretch(r, W + (planes_of(r) + 1) * U);
    r->kernel = widened(c->dev, &c->in[3]), r->bias = widened(c->dev, &c->in[4]);
    if (!r->kernel || (c->in[4].p && !r->bias)) return TIDE_ENOMEM;
    tide_lanes lanes;
    const int64_t room = steps * (W + (planes_of(r) + 1) * U) + 2 * W + 5 * U;
    TIDE_DO(tide_lanes_new(c->dev, r->B, ROWS,
                           (size_t)(ROWS * room) * sizeof(REAL) + (size_t)(ROWS * steps), &lanes));
    TIDE_PARALLEL_FOR (r->B, ROWS) {
        forward_stretches(c, r, lo, hi, steps, tide_lane(&lanes, share_->slot));
    }
    return TIDE_OK;
}

TIDE_KERNEL(recurrent_) { /* z, h, c, kernel, bias, mask -> y, h, c, memory */
    const tide_recurrent__attrs *at = c->attrs;
    const tide_buf *in = c->in;
    net r = net_of(at, in[1].shape[0], in[0].shape[1], in[1].shape[1]);
    r.mask = in[5].p;
    if (tide_is_half(in[0].dtype)) return forward_halves(c, &r);
    r.z = in[0].p, r.kernel = in[3].p, r.bias = in[4].p, r.memory = c->out[3].p;
    const int64_t W = r.G * r.U;
    if (r.cell != TIDE_CELL_gru_before) r.packed = packed_once(c->dev, r.B, r.U, W, r.kernel);
    tide_lanes lanes;
    TIDE_DO(tide_lanes_new(c->dev, r.B, ROWS, (size_t)(ROWS * (2 * W + 2 * r.U)) * sizeof(REAL),
                           &lanes));
    TIDE_PARALLEL_FOR (r.B, ROWS) {
        forward_rows(&r, lo, hi, tide_lane(&lanes, share_->slot), in[1].p, in[2].p, c->out[0].p,
                     c->out[1].p, c->out[2].p);
    }
    return TIDE_OK;
}

/* -- backward -- */

typedef struct {
    const REAL *dy, *dh, *dc, *h0, *c0;
    const REAL *turned; /* (W, U): the kernel, transposed */
    const REAL *packed; /* the same, packed for all steps; NULL: it is not */
    REAL *dz;           /* (B, T, W) */
    REAL *din;   /* GRU with reset after: (B, T, W), of the products with the state; else dz */
    REAL *waits; /* of a stretch: (B, U), what outputs that repeat leave to the steps before it */
} way;

/* The states before step k of the chunk's row b, or the ones it began with. */
static const REAL *state_before(const net *r, int64_t which, const REAL *first, int64_t b,
                                int64_t k) {
    if (k == 0) return first + b * r->U;
    return plane(r, which, b, r->backwards ? r->T - k : k - 1);
}

/* The gates' gradients of one row and step: ds and, where they differ, those of the product with
 * the state; what of dh (and of dc, for the cell) does not pass through the product is left in dh
 * (dc). `tmp`: U numbers. */
static void unstep(const net *r, const way *v, int64_t b, int64_t t, int64_t k, REAL *restrict ds,
                   REAL *restrict dh, REAL *restrict dc, REAL *restrict tmp) {
    const int64_t U = r->U;
    if (r->cell == TIDE_CELL_simple) {
        memcpy(ds, dh, (size_t)U * sizeof(REAL));
        deactivate(U, ds, plane(r, 0, b, t), r->act);
        memset(dh, 0, (size_t)U * sizeof(REAL));
        return;
    }
    if (r->cell == TIDE_CELL_lstm) {
        const REAL *restrict i = plane(r, 0, b, t), *restrict f = plane(r, 1, b, t),
                             *restrict g = plane(r, 2, b, t), *restrict o = plane(r, 3, b, t),
                             *restrict before = state_before(r, 4, v->c0, b, k);
        REAL *restrict di = ds, *restrict df = ds + U, *restrict dg = ds + 2 * U,
                       *restrict dout = ds + 3 * U;
        memcpy(tmp, plane(r, 4, b, t), (size_t)U * sizeof(REAL));
        activate(U, tmp, r->act);
        for (int64_t j = 0; j < U; j++) {
            dout[j] = dh[j] * tmp[j];
            dh[j] *= o[j];
        }
        deactivate(U, dh, tmp, r->act);
        for (int64_t j = 0; j < U; j++) {
            const REAL d = dc[j] + dh[j];
            di[j] = d * g[j];
            df[j] = d * before[j];
            dg[j] = d * i[j];
            dc[j] = d * f[j];
        }
        deactivate(U, di, i, r->gate);
        deactivate(U, df, f, r->gate);
        deactivate(U, dg, g, r->act);
        deactivate(U, dout, o, r->gate);
        memset(dh, 0, (size_t)U * sizeof(REAL));
        return;
    }
    const REAL *restrict z = plane(r, 0, b, t), *restrict reset = plane(r, 1, b, t),
                         *restrict g = plane(r, 2, b, t), *restrict scaled = plane(r, 3, b, t),
                         *restrict before = state_before(r, 4, v->h0, b, k);
    REAL *restrict dz = ds, *restrict dr = ds + U, *restrict dg = ds + 2 * U;
    for (int64_t j = 0; j < U; j++) {
        dz[j] = dh[j] * (before[j] - g[j]);
        dg[j] = dh[j] * (1 - z[j]);
        dh[j] *= z[j];
    }
    deactivate(U, dz, z, r->gate);
    deactivate(U, dg, g, r->act);
    if (r->cell == TIDE_CELL_gru)
        for (int64_t j = 0; j < U; j++) dr[j] = dg[j] * scaled[j];
    /* with the reset before, dr waits for the product of dg */
    if (r->cell == TIDE_CELL_gru) deactivate(U, dr, reset, r->gate);
}

static void backward_rows(const net *r, const way *v, int64_t lo, int64_t hi, REAL *work, REAL *dh0,
                          REAL *dc0) {
    const int64_t U = r->U, W = r->G * U, n = hi - lo;
    const int lstm = r->cell == TIDE_CELL_lstm, before = r->cell == TIDE_CELL_gru_before;
    REAL *ds = work, *dh = ds + ROWS * W, *dc = dh + ROWS * U, *waits = dc + ROWS * U,
         *through = waits + ROWS * U, *tmp = through + ROWS * U;
    for (int64_t j = 0; j < n * U; j++) {
        dh[j] = v->dh ? v->dh[lo * U + j] : 0;
        dc[j] = v->dc ? v->dc[lo * U + j] : 0;
        waits[j] = v->waits ? v->waits[lo * U + j] : 0;
    }
    for (int64_t k = r->T - 1; k >= 0 && !tide_stopped(); k--) {
        const int64_t t = r->backwards ? r->T - 1 - k : k;
        for (int64_t b = lo; b < hi; b++) {
            const int64_t row = b - lo;
            REAL *restrict s = ds + row * W, *restrict d = dh + row * U,
                           *restrict w = waits + row * U;
            const REAL *restrict dy = v->dy ? v->dy + (b * r->T + k) * U : NULL;
            if (r->mask && !r->mask[b * r->T + t]) {
                /* the output repeats one that is further on this way, if there is one */
                if (dy && !r->zero)
                    for (int64_t j = 0; j < U; j++) w[j] += dy[j];
                memset(s, 0, (size_t)W * sizeof(REAL));
            } else {
                if (dy)
                    for (int64_t j = 0; j < U; j++) d[j] += dy[j] + w[j];
                memset(w, 0, (size_t)U * sizeof(REAL));
                unstep(r, v, b, t, k, s, d, dc + row * U, tmp);
            }
        }
        if (before) { /* through the product of r * h */
            product(n, U, U, ds + 2 * U, W, v->turned + 2 * U * U, U, NULL, through, U, 0);
            for (int64_t b = 0; b < n; b++) {
                REAL *restrict dr = ds + b * W + U, *restrict d = dh + b * U;
                const REAL *restrict p = through + b * U, *restrict reset = plane(r, 1, lo + b, t),
                                     *restrict h = state_before(r, 4, v->h0, lo + b, k);
                if (r->mask && !r->mask[(lo + b) * r->T + t]) continue;
                for (int64_t j = 0; j < U; j++) {
                    dr[j] = p[j] * h[j];
                    d[j] += p[j] * reset[j];
                }
                deactivate(U, dr, reset, r->gate);
            }
        }
        for (int64_t b = lo; b < hi; b++)
            memcpy(v->dz + (b * r->T + t) * W, ds + (b - lo) * W, (size_t)W * sizeof(REAL));
        if (r->cell == TIDE_CELL_gru)
            for (int64_t b = lo; b < hi; b++) {
                REAL *restrict g = ds + (b - lo) * W + 2 * U;
                const REAL *restrict reset = plane(r, 1, b, t);
                if (r->mask && !r->mask[b * r->T + t]) continue;
                for (int64_t j = 0; j < U; j++) g[j] *= reset[j];
            }
        if (v->din != v->dz)
            for (int64_t b = lo; b < hi; b++)
                memcpy(v->din + (b * r->T + t) * W, ds + (b - lo) * W, (size_t)W * sizeof(REAL));
        product(n, U, before ? 2 * U : W, ds, W, v->turned, U, v->packed, dh, U, 1);
    }
    memcpy(dh0 + lo * U, dh, (size_t)(n * U) * sizeof(REAL));
    if (lstm) memcpy(dc0 + lo * U, dc, (size_t)(n * U) * sizeof(REAL));
    if (v->waits) memcpy(v->waits + lo * U, waits, (size_t)(n * U) * sizeof(REAL));
}

/* Rows of (B * T, U): the state that each step's product read. */
static void states_before(const net *r, const REAL *h0, REAL *out, int64_t lo, int64_t hi) {
    const int64_t U = r->U;
    for (int64_t b = lo; b < hi; b++)
        for (int64_t k = 0; k < r->T; k++) {
            const int64_t t = r->backwards ? r->T - 1 - k : k;
            memcpy(out + (b * r->T + t) * U, state_before(r, state_plane(r), h0, b, k),
                   (size_t)U * sizeof(REAL));
        }
}

/* dkernel = or += before' din over the rows and steps of r; r * h is what the candidate's product
 * read where the reset comes before it. */
static void kernel_gradient(const net *r, const REAL *before, const REAL *din, REAL *dkernel,
                            int accumulate) {
    const int64_t U = r->U, W = r->G * U, all = r->B * r->T,
                  wide = r->cell == TIDE_CELL_gru_before ? 2 * U : W;
    tide_gemm g = {.m = U,
                   .n = wide,
                   .k = all,
                   .a = before,
                   .ars = 1,
                   .acs = U,
                   .b = din,
                   .brs = W,
                   .bcs = 1,
                   .c = dkernel,
                   .ldc = W,
                   .accumulate = accumulate};
    K(gemm)(&g);
    if (wide == W) return;
    g.n = U, g.a = r->memory + 3 * all * U, g.b = din + 2 * U, g.c = dkernel + 2 * U;
    K(gemm)(&g);
}

/* As forward_stretches, from the last to the first; the kernel's gradient and the bias' are added
 * to `dkernel` and, with reset after, `dbias`. */
static void backward_stretches(const tide_kcall *k, const net *r, const REAL *turned, int64_t lo,
                               int64_t hi, int64_t steps, REAL *work, REAL *dkernel, REAL *dbias) {
    const int64_t U = r->U, W = r->G * U, n = hi - lo, P = planes_of(r);
    const int lstm = r->cell == TIDE_CELL_lstm, after = r->cell == TIDE_CELL_gru;
    const tide_buf *in = k->in;
    REAL *memory = work, *dy = memory + P * ROWS * steps * U, *before = dy + ROWS * steps * U,
         *dz = before + ROWS * steps * U, *din = dz + ROWS * steps * W,
         *h0 = din + (after ? ROWS * steps * W : 0), *c0 = h0 + ROWS * U, *dh = c0 + ROWS * U,
         *dc = dh + ROWS * U, *waits = dc + ROWS * U, *inner = waits + ROWS * U;
    uint8_t *mask = (uint8_t *)(inner + ROWS * (W + 5 * U));
    memset(dh, 0, (size_t)(3 * ROWS * U) * sizeof(REAL));
    if (in[6].p) piece_read(&in[6], lo * U, n * U, dh);
    if (in[7].p && lstm) piece_read(&in[7], lo * U, n * U, dc);
    for (int64_t k0 = (r->T - 1) / steps * steps; k0 >= 0 && !tide_stopped(); k0 -= steps) {
        const int64_t m = TIDE_MIN(steps, r->T - k0), t = first_of(r, k0, m);
        const int64_t plane_size = r->B * r->T * U, one = first_of(r, k0 - 1, 1);
        const net part = part_of(r, lo, n, t, m, memory, mask);
        for (int64_t p = 0; p < P; p++)
            read_steps(r, &in[2], p * plane_size, lo, n, t, m, U, memory + p * n * m * U);
        if (in[5].p) read_steps(r, &in[5], 0, lo, n, k0, m, U, dy);
        if (k0) {
            read_steps(r, &in[2], state_plane(r) * plane_size, lo, n, one, 1, U, h0);
            if (lstm) read_steps(r, &in[2], 4 * plane_size, lo, n, one, 1, U, c0);
        } else {
            piece_read(&in[0], lo * U, n * U, h0);
            if (lstm) piece_read(&in[3], lo * U, n * U, c0);
        }
        const way v = {.dy = in[5].p ? dy : NULL,
                       .dh = dh,
                       .dc = dc,
                       .h0 = h0,
                       .c0 = c0,
                       .turned = turned,
                       .dz = dz,
                       .din = after ? din : dz,
                       .waits = waits};
        backward_rows(&part, &v, 0, n, inner, dh, dc);
        write_steps(r, &k->out[0], 0, lo, n, t, m, W, dz);
        states_before(&part, h0, before, 0, n);
        kernel_gradient(&part, before, v.din, dkernel, 1);
        for (int64_t i = 0; i < n * m && after; i++)
            for (int64_t j = 0; j < W; j++) dbias[j] += din[i * W + j];
    }
    piece_write(&k->out[1], lo * U, n * U, dh);
    if (lstm) piece_write(&k->out[2], lo * U, n * U, dc);
}

/* Rows go in some groups, each of which sums gradients of kernel and bias of its own; those are
 * added in order. */
enum { GROUPS = 8 };

static tide_status backward_halves(tide_kcall *c, net *r) {
    const int64_t U = r->U, W = r->G * U, each = (U + 1) * W, P = planes_of(r);
    const int after = r->cell == TIDE_CELL_gru;
    const int64_t chunks = TIDE_CEIL_DIV(r->B, (int64_t)ROWS),
                  groups = TIDE_MAX(1, TIDE_MIN(chunks, (int64_t)GROUPS)),
                  steps = stretch(r, (P + 2) * U + (1 + after) * W);
    const REAL *kernel = widened(c->dev, &c->in[1]);
    REAL *turned = tide_scratch(c->dev, (size_t)(W * U) * sizeof(REAL)),
         *sums = tide_scratch(c->dev, (size_t)(groups * each) * sizeof(REAL));
    if (!kernel || !turned || !sums) return TIDE_ENOMEM;
    for (int64_t i = 0; i < U; i++)
        for (int64_t j = 0; j < W; j++) turned[j * U + i] = kernel[i * W + j];
    memset(sums, 0, (size_t)(groups * each) * sizeof(REAL));
    tide_lanes lanes;
    const int64_t room = steps * ((P + 2) * U + (1 + after) * W) + W + 10 * U;
    TIDE_DO(tide_lanes_new(c->dev, groups, 1,
                           (size_t)(ROWS * room) * sizeof(REAL) + (size_t)(ROWS * steps), &lanes));
    TIDE_PARALLEL_FOR (groups, 1) {
        for (int64_t g = lo; g < hi; g++)
            for (int64_t i = g * chunks / groups; i < (g + 1) * chunks / groups; i++)
                backward_stretches(c, r, turned, i * ROWS, TIDE_MIN(r->B, (i + 1) * ROWS), steps,
                                   tide_lane(&lanes, share_->slot), sums + g * each,
                                   sums + g * each + U * W);
    }
    for (int64_t g = 1; g < groups; g++)
        for (int64_t i = 0; i < each; i++) sums[i] += sums[g * each + i];
    piece_write(&c->out[3], 0, U * W, sums);
    if (after) piece_write(&c->out[4], 0, W, sums + U * W);
    return TIDE_OK;
}

/* h, kernel, memory, c, mask, dy, dh, dc -> dz, dh, dc, dkernel, dbias */
TIDE_KERNEL(recurrent_grad_) {
    const tide_recurrent_grad__attrs *at = c->attrs;
    const tide_buf *in = c->in;
    const tide_recurrent__attrs same = {.cell = at->cell,
                                        .activation = at->activation,
                                        .gate = at->gate,
                                        .backwards = at->backwards,
                                        .zero = at->zero};
    net r = net_of(&same, in[0].shape[0], in[2].shape[2], in[0].shape[1]);
    const int64_t U = r.U, W = r.G * U, all = r.B * r.T;
    r.mask = in[4].p;
    if (tide_is_half(in[0].dtype)) return backward_halves(c, &r);
    r.memory = in[2].p;
    const REAL *kernel = in[1].p;
    const int after = r.cell == TIDE_CELL_gru;
    REAL *turned = tide_scratch(c->dev, (size_t)(W * U) * sizeof(REAL)),
         *before = tide_scratch(c->dev, (size_t)(all * U) * sizeof(REAL)),
         *din = after ? tide_scratch(c->dev, (size_t)(all * W) * sizeof(REAL)) : c->out[0].p;
    if (!turned || !before || !din) return TIDE_ENOMEM;
    for (int64_t i = 0; i < U; i++)
        for (int64_t j = 0; j < W; j++) turned[j * U + i] = kernel[i * W + j];
    const way v = {
        .dy = in[5].p,
        .dh = in[6].p,
        .dc = in[7].p,
        .h0 = in[0].p,
        .c0 = in[3].p,
        .turned = turned,
        .packed = r.cell == TIDE_CELL_gru_before ? NULL : packed_once(c->dev, r.B, W, U, turned),
        .dz = c->out[0].p,
        .din = din};
    tide_lanes lanes;
    TIDE_DO(tide_lanes_new(c->dev, r.B, ROWS, (size_t)(ROWS * (W + 5 * U)) * sizeof(REAL), &lanes));
    TIDE_PARALLEL_FOR (r.B, ROWS) {
        backward_rows(&r, &v, lo, hi, tide_lane(&lanes, share_->slot), c->out[1].p, c->out[2].p);
    }
    TIDE_PARALLEL_FOR (r.B, ROWS) { states_before(&r, v.h0, before, lo, hi); }
    kernel_gradient(&r, before, din, c->out[3].p, 0);
    return after ? K(colsum)(c->dev, all, W, din, c->out[4].p) : TIDE_OK;
}
