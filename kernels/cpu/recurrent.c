/* SimpleRNN, LSTM and GRU over all steps of projected inputs, and their gradients.
 *
 * Rows of the batch are independent: each chunk of them runs through all steps on one thread, with
 * one product of its states and the recurrent kernel per step. The gradient of the kernel is one
 * product over all rows and steps at the end. Chunks depend on the batch alone, so results are the
 * same for any number of threads.
 *
 * `memory` (B, T, planes, U) keeps what the gradient reads, of each row and step side by side:
 *   simple        the output
 *   lstm          gates i, f, the candidate, o, the cell after the step
 *   gru           gates z, r, the candidate, what r scaled (with reset_before: r * h)
 * and last the state h before the step, which the gradient of the kernel reads as it lies there. */
#include "gemm.h"
#include "pieces.h"

enum {
    ROWS = 32,
    FEW = 3,          /* rows for which the kernel is read as it lies */
    SHARED = 1 << 15, /* elements of a kernel from which several threads read it */
    SLICE = 128,      /* columns that one of them does at a time */
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

static int64_t state_plane(const net *r) {
    return r->cell == TIDE_CELL_lstm ? 5 : r->cell == TIDE_CELL_simple ? 1 : 4;
}
static int64_t planes_of(const net *r) { return state_plane(r) + 1; }
static REAL *plane(const net *r, int64_t which, int64_t b, int64_t t) {
    return r->memory + ((b * r->T + t) * planes_of(r) + which) * r->U;
}

/* x = act(x) */
static void activate(int64_t n, REAL *restrict x, int act) {
    switch (act) {
    case TIDE_GATE_tanh:
#ifdef TIDE_EIGHTS
        tide_map8(tide_tanh_of8, n, x, x, x);
#else
        for (int64_t i = 0; i < n; i++) x[i] = T_TANH(x[i]);
#endif
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

/* act' at act's result y. */
static inline REAL slope(int act, REAL y) {
    switch (act) {
    case TIDE_GATE_tanh: return 1 - y * y;
    case TIDE_GATE_sigmoid: return y * (1 - y);
    case TIDE_GATE_relu: return y > 0;
    case TIDE_GATE_hard_sigmoid: return t_where((y > 0) & (y < 1), 1 / (REAL)6, 0);
    default: return 1;
    }
}
/* Calls a function whose loops are made for the usual activations, and once for any. */
#define FOR_ACTIVATIONS(r, f, ...)                                \
    ((r)->act == TIDE_GATE_tanh && (r)->gate == TIDE_GATE_sigmoid \
         ? f(TIDE_GATE_tanh, TIDE_GATE_sigmoid, __VA_ARGS__)      \
         : f((r)->act, (r)->gate, __VA_ARGS__))
#define ALIKE static inline __attribute__((always_inline))

/* Where few rows read a kernel as it lies its columns are shared: the threads that look out for the
 * next step keep theirs in the cache. */
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
    if (m > FEW || n * k < SHARED || accumulate) {
        K(gemm)(&g);
        return;
    }
    TIDE_PARALLEL_FOR (n, SLICE) {
        tide_gemm slice = g;
        slice.n = hi - lo, slice.b = b + lo, slice.c = c + lo;
        K(gemm)(&slice);
    }
}

/* A kernel (k, n) that each step reads, packed once. NULL: few rows read it as it lies, or no room.
 */
static const REAL *packed_once(tide_device *dev, int64_t rows, int64_t k, int64_t n,
                               const REAL *kernel) {
    REAL *to = rows > FEW ? tide_scratch(dev, (size_t)K(packed_size)(k, n) * sizeof *to) : NULL;
    if (to) K(pack_b)(&(tide_gemm){.n = n, .k = k, .b = kernel, .brs = n, .bcs = 1}, to);
    return to;
}

/* -- forward -- */

static void scale(int64_t U, const REAL *restrict by, REAL *restrict x) {
    for (int64_t j = 0; j < U; j++) x[j] *= by[j];
}

/* GRU's gates of one row: `in` (3 U) is what the state's product gave, bias included; what r scales
 * or has scaled is left in memory. */
static void gru_gates(const net *r, int64_t b, int64_t t, const REAL *restrict in, const REAL *h) {
    const int64_t U = r->U;
    const REAL *restrict z = r->z + (b * r->T + t) * 3 * U, *restrict bias = r->bias;
    REAL *restrict m = plane(r, 0, b, t), *restrict scaled = m + 3 * U;
    if (bias)
        for (int64_t j = 0; j < 2 * U; j++) m[j] = z[j] + (in[j] + bias[j]);
    else
        for (int64_t j = 0; j < 2 * U; j++) m[j] = z[j] + in[j];
    activate(2 * U, m, r->gate);
    if (r->cell == TIDE_CELL_gru_before)
        memcpy(scaled, h, (size_t)U * sizeof(REAL)), scale(U, m + U, scaled);
    else
        for (int64_t j = 0; j < U; j++) scaled[j] = in[2 * U + j] + (bias ? bias[2 * U + j] : 0);
    memcpy(m + 4 * U, h, (size_t)U * sizeof(REAL));
}

/* Planes of one row as operands of their own, without which these loops would not be vectors. */
static void lstm_cell(int64_t U, const REAL *restrict i, const REAL *restrict f,
                      const REAL *restrict g, REAL *restrict cell, REAL *restrict h,
                      REAL *restrict c) {
    for (int64_t j = 0; j < U; j++) {
        const REAL v = f[j] * c[j] + i[j] * g[j];
        c[j] = v, h[j] = v, cell[j] = v;
    }
}
static void gru_candidate(int64_t U, const REAL *restrict z, const REAL *restrict r,
                          const REAL *restrict scaled, REAL *restrict g) {
    for (int64_t j = 0; j < U; j++) g[j] = z[j] + r[j] * scaled[j];
}
static void gru_state(int64_t U, const REAL *restrict z, const REAL *restrict g, REAL *restrict h) {
    for (int64_t j = 0; j < U; j++) h[j] = z[j] * h[j] + (1 - z[j]) * g[j];
}

/* One step of one row, of GRU after its gates: h and c become the states after it. */
static void step(const net *r, int64_t b, int64_t t, const REAL *restrict in, REAL *restrict h,
                 REAL *restrict c) {
    const int64_t U = r->U, W = r->G * U;
    const REAL *restrict z = r->z + (b * r->T + t) * W;
    REAL *restrict m = plane(r, 0, b, t);
    if (r->G == 3) {
        REAL *restrict g = m + 2 * U;
        if (r->cell == TIDE_CELL_gru) gru_candidate(U, z + 2 * U, m + U, m + 3 * U, g);
        else
            for (int64_t j = 0; j < U; j++) g[j] = z[2 * U + j] + in[2 * U + j];
        activate(U, g, r->act);
        gru_state(U, m, g, h);
        return;
    }
    memcpy(plane(r, state_plane(r), b, t), h, (size_t)U * sizeof(REAL));
    for (int64_t j = 0; j < W; j++) m[j] = z[j] + in[j];
    if (r->cell == TIDE_CELL_simple) {
        activate(U, m, r->act);
        memcpy(h, m, (size_t)U * sizeof(REAL));
        return;
    }
    activate(2 * U, m, r->gate);
    activate(U, m + 2 * U, r->act);
    activate(U, m + 3 * U, r->gate);
    lstm_cell(U, m, m + U, m + 2 * U, m + 4 * U, h, c);
    activate(U, h, r->act);
    scale(U, m + 3 * U, h);
}

/* A step that the mask leaves out: the states stay. */
static void left_out(const net *r, int64_t b, int64_t t, const REAL *h, const REAL *c) {
    const int64_t U = r->U;
    memcpy(plane(r, state_plane(r), b, t), h, (size_t)U * sizeof(REAL));
    /* nobody reads them; z, r and what r scales are there */
    if (r->G == 3) memset(plane(r, 2, b, t), 0, (size_t)U * sizeof(REAL));
    else memset(plane(r, 0, b, t), 0, (size_t)(r->G * U) * sizeof(REAL));
    if (r->cell == TIDE_CELL_lstm) memcpy(plane(r, 4, b, t), c, (size_t)U * sizeof(REAL));
}

/* Step t of rows [lo, hi) up to what each of them does for itself: `in` (rows, W) gets the products
 * with the states. `room` (rows, U) is work space. */
static void step_products(const net *r, int64_t lo, int64_t hi, int64_t t, REAL *in, REAL *room,
                          const REAL *h) {
    const int64_t U = r->U, W = r->G * U, n = hi - lo;
    const int before = r->cell == TIDE_CELL_gru_before;
    product(n, before ? 2 * U : W, U, h, U, r->kernel, W, r->packed, in, W, 0);
    for (int64_t b = 0; b < n && r->G == 3; b++) gru_gates(r, lo + b, t, in + b * W, h + b * U);
    if (!before) return;
    for (int64_t b = 0; b < n; b++)
        memcpy(room + b * U, plane(r, 3, lo + b, t), (size_t)U * sizeof(REAL));
    product(n, U, U, room, U, r->kernel + 2 * U, W, NULL, in + 2 * U, W, 0);
}

static void forward_rows(const net *r, int64_t lo, int64_t hi, REAL *work, const REAL *h0,
                         const REAL *c0, REAL *y, REAL *hn, REAL *cn) {
    const int64_t U = r->U, W = r->G * U, n = hi - lo;
    const int lstm = r->cell == TIDE_CELL_lstm;
    REAL *in = work, *room = in + ROWS * W, *h = room + ROWS * U, *c = h + ROWS * U;
    memcpy(h, h0 + lo * U, (size_t)(n * U) * sizeof(REAL));
    if (lstm) memcpy(c, c0 + lo * U, (size_t)(n * U) * sizeof(REAL));
    for (int64_t k = 0; k < r->T && !tide_stopped(); k++) {
        const int64_t t = r->backwards ? r->T - 1 - k : k;
        step_products(r, lo, hi, t, in, room, h);
        for (int64_t b = lo; b < hi; b++) {
            REAL *state = h + (b - lo) * U, *cell = c + (b - lo) * U, *out = y + (b * r->T + k) * U;
            if (r->mask && !r->mask[b * r->T + t]) {
                left_out(r, b, t, state, cell);
                const REAL *repeats = k ? out - U : r->last ? r->last + b * U : NULL;
                if (r->zero || !repeats) memset(out, 0, (size_t)U * sizeof(REAL));
                else memcpy(out, repeats, (size_t)U * sizeof(REAL));
            } else {
                step(r, b, t, in + (b - lo) * W, state, cell);
                memcpy(out, state, (size_t)U * sizeof(REAL));
            }
        }
    }
    memcpy(hn + lo * U, h, (size_t)(n * U) * sizeof(REAL));
    if (lstm) memcpy(cn + lo * U, c, (size_t)(n * U) * sizeof(REAL));
}

/* -- halves: stretches of steps of some rows are widened, go through, and are narrowed -- */

enum { STRETCH = 1 << 18 }; /* REALs of a stretch, about */

/* Steps of a stretch of which each takes `each` REALs per row. */
static int64_t stretch(const net *r, int64_t each) {
    return TIDE_MAX(1, TIDE_MIN(r->T, STRETCH / (ROWS * each)));
}

/* The first of the m steps, in their order in time, that follow k0 others. */
static int64_t first_of(const net *r, int64_t k0, int64_t m) {
    return r->backwards ? r->T - k0 - m : k0;
}

/* Between `b`, (rows, r->T, width), and `x` (n, m, width): steps [t, t + m) of rows [lo, lo + n).
 */
static void read_steps(const net *r, const tide_buf *b, int64_t lo, int64_t n, int64_t t, int64_t m,
                       int64_t width, REAL *x) {
    for (int64_t i = 0; i < n; i++)
        piece_read(b, ((lo + i) * r->T + t) * width, m * width, x + i * m * width);
}
static void write_steps(const net *r, const tide_buf *b, int64_t lo, int64_t n, int64_t t,
                        int64_t m, int64_t width, const REAL *x) {
    for (int64_t i = 0; i < n; i++)
        piece_write(b, ((lo + i) * r->T + t) * width, m * width, x + i * m * width);
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
    uint8_t *mask = (uint8_t *)(inner + ROWS * (W + 3 * U));
    piece_read(&k->in[1], lo * U, n * U, h);
    if (lstm) piece_read(&k->in[2], lo * U, n * U, c);
    for (int64_t k0 = 0; k0 < r->T && !tide_stopped(); k0 += steps) {
        const int64_t m = TIDE_MIN(steps, r->T - k0), t = first_of(r, k0, m);
        net part = part_of(r, lo, n, t, m, memory, mask);
        read_steps(r, &k->in[0], lo, n, t, m, W, z);
        part.z = z, part.last = k0 ? last : NULL;
        forward_rows(&part, 0, n, inner, h, c, y, h, c);
        write_steps(r, &k->out[0], lo, n, k0, m, U, y);
        write_steps(r, &k->out[3], lo, n, t, m, P * U, memory);
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
    const int64_t room = steps * (W + (planes_of(r) + 1) * U) + W + 6 * U;
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
    TIDE_DO(
        tide_lanes_new(c->dev, r.B, ROWS, (size_t)(ROWS * (W + 3 * r.U)) * sizeof(REAL), &lanes));
    TIDE_PARALLEL_FOR (r.B, ROWS) {
        forward_rows(&r, lo, hi, tide_lane(&lanes, share_->slot), in[1].p, in[2].p, c->out[0].p,
                     c->out[1].p, c->out[2].p);
    }
    return TIDE_OK;
}

/* -- backward -- */

typedef struct {
    const REAL *dy, *dh, *dc, *c0;
    const REAL *turned; /* (W, U): the kernel, transposed */
    const REAL *packed; /* the same, packed for all steps; NULL: it is not */
    REAL *dz;           /* (B, T, W) */
    REAL *din;   /* GRU with reset after: (B, T, W), of the products with the state; else dz */
    REAL *waits; /* of a stretch: (B, U), what outputs that repeat leave to the steps before it */
} way;

/* The cell before step k of the chunk's row b. */
static const REAL *cell_before(const net *r, const REAL *c0, int64_t b, int64_t k) {
    return k == 0 ? c0 + b * r->U : plane(r, 4, b, r->backwards ? r->T - k : k - 1);
}

/* The gates' gradients of one row and step: ds and, where they differ, those of the product with
 * the state; what of dh (and of dc, for the cell) does not pass through the product is left in dh
 * (dc). `m`: what memory keeps of the step. */
ALIKE void unstep_lstm(int act, int gate, int64_t U, const REAL *restrict m,
                       const REAL *restrict before, REAL *restrict ds, REAL *restrict dh,
                       REAL *restrict dc, REAL *restrict tmp) {
    const REAL *restrict f = m + U, *restrict g = f + U, *restrict o = g + U;
    REAL *restrict df = ds + U, *restrict dg = df + U, *restrict dout = dg + U;
    memcpy(tmp, m + 4 * U, (size_t)U * sizeof(REAL));
    activate(U, tmp, act);
    for (int64_t j = 0; j < U; j++) {
        const REAL d = dc[j] + dh[j] * o[j] * slope(act, tmp[j]);
        dout[j] = dh[j] * tmp[j] * slope(gate, o[j]);
        ds[j] = d * g[j] * slope(gate, m[j]);
        df[j] = d * before[j] * slope(gate, f[j]);
        dg[j] = d * m[j] * slope(act, g[j]);
        dc[j] = d * f[j];
        dh[j] = 0;
    }
}
/* With the reset before, dr waits for the product of dg. */
ALIKE void unstep_gru(int act, int gate, int64_t U, int after, const REAL *restrict m,
                      REAL *restrict ds, REAL *restrict dh) {
    const REAL *restrict reset = m + U, *restrict g = reset + U, *restrict scaled = g + U,
                         *restrict before = scaled + U;
    REAL *restrict dr = ds + U, *restrict dg = dr + U;
    for (int64_t j = 0; j < U; j++) {
        ds[j] = dh[j] * (before[j] - g[j]) * slope(gate, m[j]);
        dg[j] = dh[j] * (1 - m[j]) * slope(act, g[j]);
        dh[j] *= m[j];
    }
    for (int64_t j = 0; j < U && after; j++) dr[j] = dg[j] * scaled[j] * slope(gate, reset[j]);
}
ALIKE void unstep_simple(int act, int gate, int64_t U, const REAL *restrict m, REAL *restrict ds,
                         REAL *restrict dh) {
    (void)gate;
    for (int64_t j = 0; j < U; j++) ds[j] = dh[j] * slope(act, m[j]), dh[j] = 0;
}
static void unstep(const net *r, const way *v, int64_t b, int64_t t, int64_t k, REAL *ds, REAL *dh,
                   REAL *dc, REAL *tmp) {
    const REAL *m = plane(r, 0, b, t);
    if (r->cell == TIDE_CELL_simple) FOR_ACTIVATIONS(r, unstep_simple, r->U, m, ds, dh);
    else if (r->cell == TIDE_CELL_lstm)
        FOR_ACTIVATIONS(r, unstep_lstm, r->U, m, cell_before(r, v->c0, b, k), ds, dh, dc, tmp);
    else FOR_ACTIVATIONS(r, unstep_gru, r->U, r->cell == TIDE_CELL_gru, m, ds, dh);
}

/* What the product of r * h, `p`, gives the gates and the state. */
ALIKE void unscale(int act, int gate, int64_t U, const REAL *restrict p, const REAL *restrict m,
                   REAL *restrict dr, REAL *restrict dh) {
    const REAL *restrict reset = m + U, *restrict h = m + 4 * U;
    (void)act;
    for (int64_t j = 0; j < U; j++) {
        dr[j] = p[j] * h[j] * slope(gate, reset[j]);
        dh[j] += p[j] * reset[j];
    }
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
                if (r->mask && !r->mask[(lo + b) * r->T + t]) continue;
                FOR_ACTIVATIONS(r, unscale, U, through + b * U, plane(r, 0, lo + b, t),
                                ds + b * W + U, dh + b * U);
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

/* dkernel = or += before' din over the rows and steps of r, `before` the states that products read;
 * r * h is what the candidate's product read where the reset comes before it. */
static void kernel_gradient(const net *r, const REAL *din, REAL *dkernel, int accumulate) {
    const int64_t U = r->U, W = r->G * U, all = r->B * r->T,
                  wide = r->cell == TIDE_CELL_gru_before ? 2 * U : W;
    tide_gemm g = {.m = U,
                   .n = wide,
                   .k = all,
                   .a = r->memory + state_plane(r) * U,
                   .ars = 1,
                   .acs = planes_of(r) * U,
                   .b = din,
                   .brs = W,
                   .bcs = 1,
                   .c = dkernel,
                   .ldc = W,
                   .accumulate = accumulate};
    K(gemm)(&g);
    if (wide == W) return;
    g.n = U, g.a = r->memory + 3 * U, g.b = din + 2 * U, g.c = dkernel + 2 * U;
    K(gemm)(&g);
}

/* As forward_stretches, from the last to the first; the kernel's gradient and the bias' are added
 * to `dkernel` and, with reset after, `dbias`. */
static void backward_stretches(const tide_kcall *k, const net *r, const REAL *turned, int64_t lo,
                               int64_t hi, int64_t steps, REAL *work, REAL *dkernel, REAL *dbias) {
    const int64_t U = r->U, W = r->G * U, n = hi - lo, P = planes_of(r);
    const int lstm = r->cell == TIDE_CELL_lstm, after = r->cell == TIDE_CELL_gru;
    const tide_buf *in = k->in;
    REAL *memory = work, *dy = memory + P * ROWS * steps * U, *dz = dy + ROWS * steps * U,
         *din = dz + ROWS * steps * W, *c0 = din + (after ? ROWS * steps * W : 0),
         *last = c0 + ROWS * U, *dh = last + P * ROWS * U, *dc = dh + ROWS * U,
         *waits = dc + ROWS * U, *inner = waits + ROWS * U;
    uint8_t *mask = (uint8_t *)(inner + ROWS * (W + 5 * U));
    memset(dh, 0, (size_t)(3 * ROWS * U) * sizeof(REAL));
    if (in[6].p) piece_read(&in[6], lo * U, n * U, dh);
    if (in[7].p && lstm) piece_read(&in[7], lo * U, n * U, dc);
    for (int64_t k0 = (r->T - 1) / steps * steps; k0 >= 0 && !tide_stopped(); k0 -= steps) {
        const int64_t m = TIDE_MIN(steps, r->T - k0), t = first_of(r, k0, m);
        const net part = part_of(r, lo, n, t, m, memory, mask);
        read_steps(r, &in[2], lo, n, t, m, P * U, memory);
        if (in[5].p) read_steps(r, &in[5], lo, n, k0, m, U, dy);
        if (lstm && k0) {
            read_steps(r, &in[2], lo, n, first_of(r, k0 - 1, 1), 1, P * U, last);
            for (int64_t b = 0; b < n; b++)
                memcpy(c0 + b * U, last + (b * P + 4) * U, (size_t)U * sizeof(REAL));
        } else if (lstm) {
            piece_read(&in[3], lo * U, n * U, c0);
        }
        const way v = {.dy = in[5].p ? dy : NULL,
                       .dh = dh,
                       .dc = dc,
                       .c0 = c0,
                       .turned = turned,
                       .dz = dz,
                       .din = after ? din : dz,
                       .waits = waits};
        backward_rows(&part, &v, 0, n, inner, dh, dc);
        write_steps(r, &k->out[0], lo, n, t, m, W, dz);
        kernel_gradient(&part, v.din, dkernel, 1);
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
                  steps = stretch(r, (P + 1) * U + (1 + after) * W);
    const REAL *kernel = widened(c->dev, &c->in[1]);
    REAL *turned = tide_scratch(c->dev, (size_t)(W * U) * sizeof(REAL)),
         *sums = tide_scratch(c->dev, (size_t)(groups * each) * sizeof(REAL));
    if (!kernel || !turned || !sums) return TIDE_ENOMEM;
    for (int64_t i = 0; i < U; i++)
        for (int64_t j = 0; j < W; j++) turned[j * U + i] = kernel[i * W + j];
    memset(sums, 0, (size_t)(groups * each) * sizeof(REAL));
    tide_lanes lanes;
    const int64_t room = steps * ((P + 1) * U + (1 + after) * W) + W + (P + 9) * U;
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
    net r = net_of(&same, in[0].shape[0], in[2].shape[1], in[0].shape[1]);
    const int64_t U = r.U, W = r.G * U, all = r.B * r.T;
    r.mask = in[4].p;
    if (tide_is_half(in[0].dtype)) return backward_halves(c, &r);
    r.memory = in[2].p;
    const REAL *kernel = in[1].p;
    const int after = r.cell == TIDE_CELL_gru;
    REAL *turned = tide_scratch(c->dev, (size_t)(W * U) * sizeof(REAL)),
         *din = after ? tide_scratch(c->dev, (size_t)(all * W) * sizeof(REAL)) : c->out[0].p;
    if (!turned || !din) return TIDE_ENOMEM;
    for (int64_t i = 0; i < U; i++)
        for (int64_t j = 0; j < W; j++) turned[j * U + i] = kernel[i * W + j];
    const way v = {
        .dy = in[5].p,
        .dh = in[6].p,
        .dc = in[7].p,
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
    kernel_gradient(&r, din, c->out[3].p, 0);
    return after ? K(colsum)(c->dev, all, W, din, c->out[4].p) : TIDE_OK;
}
