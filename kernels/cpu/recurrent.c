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

enum { ROWS = 32 };

typedef struct {
    int64_t B, T, U, G; /* G: gates */
    int cell, act, gate, backwards, zero;
    const REAL *z, *kernel, *bias;
    const uint8_t *mask;
    REAL *memory;
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
                    int64_t brs, REAL *c, int64_t ldc, int accumulate) {
    tide_gemm g = {.m = m,
                   .n = n,
                   .k = k,
                   .a = a,
                   .ars = ars,
                   .acs = 1,
                   .b = b,
                   .brs = brs,
                   .bcs = 1,
                   .c = c,
                   .ldc = ldc,
                   .accumulate = accumulate};
    K(gemm)(&g);
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
        for (int64_t b = 0; b < n; b++) {
            if (r->bias) memcpy(inner + b * W, r->bias, (size_t)W * sizeof(REAL));
        }
        product(n, W, U, h, U, r->kernel, W, inner, W, r->bias != NULL);
    } else {
        product(n, 2 * U, U, h, U, r->kernel, W, s, W, 1);
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
        product(n, U, U, plane(r, 3, lo, t), r->T * U, r->kernel + 2 * U, W, s + 2 * U, W, 1);
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
    REAL *s = work, *inner = s + ROWS * W, *h = inner + (gru ? ROWS * W : 0), *c = h + ROWS * U;
    memcpy(h, h0 + lo * U, (size_t)(n * U) * sizeof(REAL));
    if (lstm) memcpy(c, c0 + lo * U, (size_t)(n * U) * sizeof(REAL));
    for (int64_t k = 0; k < r->T && !tide_stopped(); k++) {
        const int64_t t = r->backwards ? r->T - 1 - k : k;
        if (gru) {
            gru_gates(r, lo, hi, t, s, inner, h);
        } else {
            for (int64_t b = lo; b < hi; b++)
                memcpy(s + (b - lo) * W, r->z + (b * r->T + t) * W, (size_t)W * sizeof(REAL));
            product(n, W, U, h, U, r->kernel, W, s, W, 1);
        }
        for (int64_t b = lo; b < hi; b++) {
            REAL *state = h + (b - lo) * U, *cell = c + (b - lo) * U, *out = y + (b * r->T + k) * U;
            if (r->mask && !r->mask[b * r->T + t]) { /* the states stay */
                memcpy(plane(r, state_plane(r), b, t), state, (size_t)U * sizeof(REAL));
                if (lstm) memcpy(plane(r, 4, b, t), cell, (size_t)U * sizeof(REAL));
                for (int64_t g = 0; !gru && g < r->G; g++) /* nobody reads them; GRU's are there */
                    memset(plane(r, g, b, t), 0, (size_t)U * sizeof(REAL));
                if (r->zero || k == 0) memset(out, 0, (size_t)U * sizeof(REAL));
                else memcpy(out, out - U, (size_t)U * sizeof(REAL));
            } else {
                step(r, b, t, s + (b - lo) * W, state, cell);
                memcpy(out, state, (size_t)U * sizeof(REAL));
            }
        }
    }
    memcpy(hn + lo * U, h, (size_t)(n * U) * sizeof(REAL));
    if (lstm) memcpy(cn + lo * U, c, (size_t)(n * U) * sizeof(REAL));
}

TIDE_KERNEL(recurrent_) { /* z, h, c, kernel, bias, mask -> y, h, c, memory */
    const tide_recurrent__attrs *at = c->attrs;
    const tide_buf *in = c->in;
    net r = net_of(at, in[1].shape[0], in[0].shape[1], in[1].shape[1]);
    r.z = in[0].p, r.kernel = in[3].p, r.bias = in[4].p, r.mask = in[5].p, r.memory = c->out[3].p;
    const int64_t W = r.G * r.U;
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
    REAL *dz;           /* (B, T, W) */
    REAL *din; /* GRU with reset after: (B, T, W), of the products with the state; else dz */
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
        waits[j] = 0;
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
            product(n, U, U, ds + 2 * U, W, v->turned + 2 * U * U, U, through, U, 0);
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
        product(n, U, before ? 2 * U : W, ds, W, v->turned, U, dh, U, 1);
    }
    memcpy(dh0 + lo * U, dh, (size_t)(n * U) * sizeof(REAL));
    if (lstm) memcpy(dc0 + lo * U, dc, (size_t)(n * U) * sizeof(REAL));
}

/* (B * T, U): the state that each step's product read. */
static void states_before(const net *r, const REAL *h0, REAL *out) {
    const int64_t U = r->U;
    TIDE_PARALLEL_FOR (r->B, ROWS) {
        for (int64_t b = lo; b < hi; b++)
            for (int64_t k = 0; k < r->T; k++) {
                const int64_t t = r->backwards ? r->T - 1 - k : k;
                memcpy(out + (b * r->T + t) * U, state_before(r, state_plane(r), h0, b, k),
                       (size_t)U * sizeof(REAL));
            }
    }
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
    r.memory = in[2].p, r.mask = in[4].p;
    const REAL *kernel = in[1].p;
    const int after = r.cell == TIDE_CELL_gru;
    REAL *turned = tide_scratch(c->dev, (size_t)(W * U) * sizeof(REAL)),
         *before = tide_scratch(c->dev, (size_t)(all * U) * sizeof(REAL)),
         *din = after ? tide_scratch(c->dev, (size_t)(all * W) * sizeof(REAL)) : c->out[0].p;
    if (!turned || !before || !din) return TIDE_ENOMEM;
    for (int64_t i = 0; i < U; i++)
        for (int64_t j = 0; j < W; j++) turned[j * U + i] = kernel[i * W + j];
    const way v = {.dy = in[5].p,
                   .dh = in[6].p,
                   .dc = in[7].p,
                   .h0 = in[0].p,
                   .c0 = in[3].p,
                   .turned = turned,
                   .dz = c->out[0].p,
                   .din = din};
    tide_lanes lanes;
    TIDE_DO(tide_lanes_new(c->dev, r.B, ROWS, (size_t)(ROWS * (W + 5 * U)) * sizeof(REAL), &lanes));
    TIDE_PARALLEL_FOR (r.B, ROWS) {
        backward_rows(&r, &v, lo, hi, tide_lane(&lanes, share_->slot), c->out[1].p, c->out[2].p);
    }
    states_before(&r, v.h0, before);
    const int64_t wide = r.cell == TIDE_CELL_gru_before ? 2 * U : W;
    tide_gemm g = {.m = U,
                   .n = wide,
                   .k = all,
                   .a = before,
                   .ars = 1,
                   .acs = U,
                   .b = din,
                   .brs = W,
                   .bcs = 1,
                   .c = c->out[3].p,
                   .ldc = W};
    K(gemm)(&g);
    if (wide < W) { /* the candidate's product read r * h */
        g.n = U, g.a = r.memory + 3 * all * U, g.b = din + 2 * U;
        g.c = (REAL *)c->out[3].p + 2 * U;
        K(gemm)(&g);
    }
    return after ? K(colsum)(c->dev, all, W, din, c->out[4].p) : TIDE_OK;
}
