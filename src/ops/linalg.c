/* Matrix factorizations and what follows from them: shapes and gradients.
 *
 * Rules are written with products and with the ops themselves, so derivatives of any order exist.
 * Cholesky and eigh read the mean of a matrix and its transpose; their gradients are symmetric. */
#include "helpers.h"

typedef tide_tensor *T;

/* -- steps of the rules -- */
static T turned(tide_tape *t, T x) {
    if (!x) return NULL;
    return tide_t(t, OP(swapaxes, .axis1 = x->rank - 1, .axis2 = x->rank - 2), x);
}
static T times_(tide_tape *t, T a, T b) { return tide_t(t, OP(matmul), a, b); }
static T scaled(tide_tape *t, T x, double f) {
    return x ? tide_t(t, OP(multiply), x, tide_t_scalar(t, f, x)) : NULL;
}
static T plus_(tide_tape *t, T a, T b) { return tide_t(t, OP(add), a, b); }
static T minus(tide_tape *t, T a, T b) { return tide_t(t, OP(subtract), a, b); }
static T symmetric(tide_tape *t, T x) { return scaled(t, plus_(t, x, turned(t, x)), 0.5); }
static T one_more(tide_tape *t, T x, int64_t axis) {
    return tide_t(t, OP(expand_dims, .axis = TIDE_INTS(axis)), x);
}
/* x, a row or number per matrix, so that it multiplies matrices: `axes` new axes at the end. */
static T beside(tide_tape *t, T x, int axes) {
    for (int i = 0; i < axes; i++) x = one_more(t, x, -1);
    return x;
}
static T square_eye(tide_tape *t, int64_t n, int dtype) {
    T one = tide_t(t, OP(fill_, .shape = TIDE_INTS(n), .value = TIDE_WHOLE(1), .dtype = dtype));
    return tide_t(t, OP(diag_embed_, .rows = n, .cols = n), one);
}

/* -- shapes -- */
static tide_status matrices(tide_call *c, int i, const char *name) {
    if (c->in[i]->rank < 2)
        return tide_op_fail(
            c, TIDE_ESHAPE,
            "%s needs matrices in its last two axes (expected 2 axes or more, got %s)", name,
            TIDE_SHAPE_OF(c->in[i]));
    return TIDE_OK;
}
static tide_status squares(tide_call *c, const char *name) {
    const tide_tensor *x = c->in[0];
    TIDE_TRY(matrices(c, 0, name));
    if (x->shape[x->rank - 1] != x->shape[x->rank - 2])
        return tide_op_fail(c, TIDE_ESHAPE,
                            "%s needs square matrices (expected [..., n, n], got %s)", name,
                            TIDE_SHAPE_OF(x));
    return TIDE_OK;
}
static tide_status square_infer(tide_call *c) {
    TIDE_TRY(squares(c, "x"));
    return tide_infer_same(c);
}
/* One number per matrix, in every result. */
static tide_status number_infer(tide_call *c) {
    TIDE_TRY(squares(c, "x"));
    for (int i = 0; i < c->op->nout; i++) {
        c->meta[i] = tide_meta_of(c->in[0]);
        c->meta[i].rank -= 2;
    }
    return TIDE_OK;
}

/* -- cholesky: dx = L^-T P L^-1, P the lower triangle of L' dL with half its diagonal -- */
static T halved(tide_tape *t, T x) { /* tril with half the diagonal */
    return scaled(t, plus_(t, tide_t(t, OP(tril), x), tide_t(t, OP(tril, .k = -1), x)), 0.5);
}
static void cholesky_grad(tide_tape *t, const tide_node *n) {
    const int upper = ((const tide_cholesky_attrs *)(const void *)n->attrs)->upper;
    T y = tide_t_out(t, 0), dy = tide_t_dy(t, 0);
    T l = upper ? turned(t, y) : y, dl = upper ? turned(t, dy) : dy, lt = turned(t, l);
    T s = tide_t(t, OP(solve_triangular), lt, halved(t, times_(t, lt, dl)));
    tide_t_give(t, 0, symmetric(t, tide_t(t, OP(solve_triangular), lt, turned(t, s))));
}
TIDE_DESCRIBE(cholesky, .flags = TIDE_CONTIGUOUS, .infer = square_infer, .grad = cholesky_grad,
              .saves = TIDE_SAVE_OUT(0), .refused = "is not positive definite");

/* -- inv: dx = -Y' dY Y' -- */
static void inv_grad(tide_tape *t, const tide_node *n) {
    T y = turned(t, tide_t_out(t, 0));
    (void)n;
    tide_t_give(t, 0, scaled(t, times_(t, times_(t, y, tide_t_dy(t, 0)), y), -1));
}
TIDE_DESCRIBE(inv, .flags = TIDE_CONTIGUOUS, .infer = square_infer, .grad = inv_grad,
              .saves = TIDE_SAVE_OUT(0), .refused = "is singular");

/* -- solve: a x = b, db = a^-T dx, da = -db x' -- */
static tide_status solve_infer(tide_call *c) {
    const tide_tensor *a = c->in[0], *b = c->in[1];
    TIDE_TRY(squares(c, "a"));
    int fits = b->rank == a->rank || b->rank == a->rank - 1;
    for (int i = 0; i < a->rank - 1 && fits; i++) fits = a->shape[i] == b->shape[i];
    if (!fits)
        return tide_op_fail(
            c, TIDE_ESHAPE,
            "b does not fit a (expected [..., n] or [..., n, k] for a of [..., n, n], "
            "got a %s and b %s)",
            TIDE_SHAPE_OF(a), TIDE_SHAPE_OF(b));
    c->meta[0] = tide_meta_of(b);
    return TIDE_OK;
}
static T less_product(tide_tape *t, T db, T x, int vector) { /* -db x' */
    return vector ? scaled(t, tide_t(t, OP(multiply), one_more(t, db, -1), one_more(t, x, -2)), -1)
                  : scaled(t, times_(t, db, turned(t, x)), -1);
}
static void solve_grad(tide_tape *t, const tide_node *n) {
    T a = tide_t_in(t, 0), x = tide_t_out(t, 0);
    (void)n;
    if (tide_t_failed(t)) return;
    T db = tide_t(t, OP(solve), turned(t, a), tide_t_dy(t, 0));
    if (tide_t_needs(t, 1)) tide_t_give(t, 1, db);
    if (tide_t_needs(t, 0)) tide_t_give(t, 0, less_product(t, db, x, x->rank < a->rank));
}
TIDE_DESCRIBE(solve, .flags = TIDE_CONTIGUOUS | TIDE_PROMOTE, .infer = solve_infer,
              .grad = solve_grad, .saves = TIDE_SAVE_IN(0) | TIDE_SAVE_OUT(0),
              .refused = "is singular");

static void solve_triangular_grad(tide_tape *t, const tide_node *n) {
    const int lower = ((const tide_solve_triangular_attrs *)(const void *)n->attrs)->lower;
    T a = tide_t_in(t, 0), x = tide_t_out(t, 0);
    if (tide_t_failed(t)) return;
    T db = tide_t(t, OP(solve_triangular, .lower = !lower), turned(t, a), tide_t_dy(t, 0));
    if (tide_t_needs(t, 1)) tide_t_give(t, 1, db);
    if (!tide_t_needs(t, 0)) return;
    T da = less_product(t, db, x, x->rank < a->rank);
    tide_t_give(t, 0, lower ? tide_t(t, OP(tril), da) : tide_t(t, OP(triu), da));
}
TIDE_DESCRIBE(solve_triangular, .flags = TIDE_CONTIGUOUS | TIDE_PROMOTE, .infer = solve_infer,
              .grad = solve_triangular_grad, .saves = TIDE_SAVE_IN(0) | TIDE_SAVE_OUT(0),
              .refused = "is singular");

/* -- determinants: d det = cofactors, d log|det| = X^-T -- */
static void det_grad(tide_tape *t, const tide_node *n) {
    (void)n;
    tide_t_give(t, 0,
                tide_t(t, OP(multiply), beside(t, tide_t_dy(t, 0), 2),
                       tide_t(t, OP(cofactors_), tide_t_in(t, 0))));
}
TIDE_DESCRIBE(det, .flags = TIDE_CONTIGUOUS, .infer = number_infer, .grad = det_grad,
              .saves = TIDE_SAVE_IN(0));

/* C = det X^-T, so dx = (sum(C * dC) C - C dC' C) / det: where x is not singular. */
static void cofactors_grad(tide_tape *t, const tide_node *n) {
    T x = tide_t_in(t, 0), y = tide_t_out(t, 0), dy = tide_t_dy(t, 0);
    (void)n;
    T inner = tide_t(t, OP(sum, .axis = TIDE_INTS(-2, -1), .keepdims = 1),
                     tide_t(t, OP(multiply), y, dy));
    T g = minus(t, tide_t(t, OP(multiply), inner, y), times_(t, times_(t, y, turned(t, dy)), y));
    tide_t_give(t, 0, tide_t(t, OP(divide), g, beside(t, tide_t(t, OP(det), x), 2)));
}
TIDE_DESCRIBE(cofactors_, .flags = TIDE_CONTIGUOUS | TIDE_INTERNAL, .infer = square_infer,
              .grad = cofactors_grad, .saves = TIDE_SAVE_IN(0) | TIDE_SAVE_OUT(0));

static void slogdet_grad(tide_tape *t, const tide_node *n) {
    (void)n;
    tide_t_give(t, 0,
                tide_t(t, OP(multiply), beside(t, tide_t_dy(t, 1), 2),
                       turned(t, tide_t(t, OP(inv), tide_t_in(t, 0)))));
}
TIDE_DESCRIBE(slogdet, .flags = TIDE_CONTIGUOUS, .infer = number_infer, .grad = slogdet_grad,
              .saves = TIDE_SAVE_IN(0));

static tide_status lu_infer(tide_call *c) {
    TIDE_TRY(squares(c, "x"));
    c->meta[0] = c->meta[1] = tide_meta_of(c->in[0]);
    c->meta[1].rank--;
    c->meta[1].dtype = TIDE_I64;
    return TIDE_OK;
}
TIDE_DESCRIBE(lu_factor, .flags = TIDE_CONTIGUOUS | TIDE_NOGRAD, .infer = lu_infer);

/* -- qr: dx = (dQ + Q C) R^-T, C symmetric with the lower triangle of R dR' - dQ' Q -- */
static tide_status qr_infer(tide_call *c) {
    const tide_qr_attrs *a = c->attrs;
    const tide_tensor *x = c->in[0];
    TIDE_TRY(matrices(c, 0, "x"));
    const int64_t m = x->shape[x->rank - 2], n = x->shape[x->rank - 1],
                  q = a->mode == TIDE_QR_complete || m < n ? m : n;
    c->meta[0] = c->meta[1] = tide_meta_of(x);
    c->meta[0].shape[x->rank - 1] = q;
    c->meta[1].shape[x->rank - 2] = q;
    return TIDE_OK;
}
static void qr_grad(tide_tape *t, const tide_node *n) {
    T q = tide_t_out(t, 0), r = tide_t_out(t, 1), dq = tide_t_dy(t, 0), dr = tide_t_dy(t, 1);
    (void)n;
    if (tide_t_failed(t)) return;
    if (r->shape[r->rank - 1] != r->shape[r->rank - 2] ||
        q->shape[q->rank - 1] != r->shape[r->rank - 1]) {
        tide_t_fail(
            t,
            tide_fail(
                tide_t_ctx(t), TIDE_EGRAD,
                "qr: has a gradient where rows are at least as many as columns, in mode reduced "
                "(R is %s)",
                TIDE_SHAPE_OF(r)));
        return;
    }
    T m = minus(t, times_(t, r, turned(t, dr)), times_(t, turned(t, dq), q));
    T copied = plus_(t, tide_t(t, OP(tril), m), turned(t, tide_t(t, OP(tril, .k = -1), m)));
    T g = plus_(t, dq, times_(t, q, copied)); /* times R^-T: solve R x' = g' */
    tide_t_give(t, 0, turned(t, tide_t(t, OP(solve_triangular), r, turned(t, g))));
}
TIDE_DESCRIBE(qr, .flags = TIDE_CONTIGUOUS, .infer = qr_infer, .grad = qr_grad,
              .saves = TIDE_SAVE_OUT(0) | TIDE_SAVE_OUT(1));

/* -- eigh: dx = V (diag(dw) + F * V' dV) V', F_ij = 1 / (w_j - w_i) and 0 on the diagonal -- */
static tide_status eigh_infer(tide_call *c) {
    TIDE_TRY(squares(c, "x"));
    c->meta[0] = c->meta[1] = tide_meta_of(c->in[0]);
    c->meta[0].rank--;
    return TIDE_OK;
}
/* 1 / (v_j - v_i) off the diagonal, 0 on it. */
static T gaps(tide_tape *t, T v) {
    if (!v) return NULL;
    T eye = square_eye(t, v->shape[v->rank - 1], v->dtype);
    T gap = plus_(t, minus(t, one_more(t, v, -2), one_more(t, v, -1)), eye);
    return tide_t(t, OP(divide), minus(t, tide_t_scalar(t, 1, v), eye), gap);
}
static T diagonal_of(tide_tape *t, T v) {
    return v ? tide_t(t, OP(multiply), square_eye(t, v->shape[v->rank - 1], v->dtype),
                      one_more(t, v, -1))
             : NULL;
}
static void eigh_grad(tide_tape *t, const tide_node *n) {
    T w = tide_t_out(t, 0), v = tide_t_out(t, 1), vt = turned(t, v);
    (void)n;
    T inner = diagonal_of(t, tide_t_dy(t, 0));
    if (tide_t_has_dy(t, 1))
        inner =
            plus_(t, inner, tide_t(t, OP(multiply), gaps(t, w), times_(t, vt, tide_t_dy(t, 1))));
    tide_t_give(t, 0, symmetric(t, times_(t, times_(t, v, inner), vt)));
}
TIDE_DESCRIBE(eigh, .flags = TIDE_CONTIGUOUS, .infer = eigh_infer, .grad = eigh_grad,
              .saves = TIDE_SAVE_OUT(0) | TIDE_SAVE_OUT(1), .refused = "holds NaN or infinity");

static tide_status eig_infer(tide_call *c) {
    TIDE_TRY(squares(c, "x"));
    for (int i = 0; i < 4; i++) c->meta[i] = tide_meta_of(c->in[0]);
    c->meta[0].rank--, c->meta[1].rank--;
    return TIDE_OK;
}
TIDE_DESCRIBE(eig, .flags = TIDE_CONTIGUOUS | TIDE_NOGRAD, .infer = eig_infer,
              .refused = "holds NaN or infinity");

/* -- svd: with E_ij = 1 / (s_j^2 - s_i^2), J = E * (U' dU - dU' U), K = E * (V' dV - dV' V):
 *    dx = U (J S + S K + diag(ds)) V' + (1 - U U') dU S^-1 V' + U S^-1 dV' (1 - V V')
 *    (Townsend 2016) -- */
static tide_status svd_infer(tide_call *c) {
    const tide_svd__attrs *a = c->attrs;
    const tide_tensor *x = c->in[0];
    TIDE_TRY(matrices(c, 0, "x"));
    const int64_t m = x->shape[x->rank - 2], n = x->shape[x->rank - 1], k = m < n ? m : n;
    for (int i = 0; i < 3; i++) c->meta[i] = tide_meta_of(x);
    c->meta[0].shape[x->rank - 1] = a->full ? m : k;
    c->meta[1].rank--;
    c->meta[1].shape[x->rank - 2] = k;
    c->meta[2].shape[x->rank - 2] = a->full ? n : k;
    return TIDE_OK;
}
static T skew(tide_tape *t, T e, T u, T du) {
    T p = times_(t, turned(t, u), du);
    return tide_t(t, OP(multiply), e, minus(t, p, turned(t, p)));
}
static void svd_grad(tide_tape *t, const tide_node *n) {
    T u = tide_t_out(t, 0), s = tide_t_out(t, 1), vh = tide_t_out(t, 2);
    (void)n;
    if (tide_t_failed(t)) return;
    const int64_t k = s->shape[s->rank - 1];
    const int left = tide_t_has_dy(t, 0), right = tide_t_has_dy(t, 2);
    if ((left || right) && (u->shape[u->rank - 1] != k || vh->shape[vh->rank - 2] != k)) {
        tide_t_fail(
            t,
            tide_fail(tide_t_ctx(t), TIDE_EGRAD,
                      "svd: vectors have a gradient with full_matrices = false alone (u is %s)",
                      TIDE_SHAPE_OF(u)));
        return;
    }
    if (u->shape[u->rank - 1] != k ||
        vh->shape[vh->rank - 2] != k) { /* of the values alone: the first k vectors count */
        tide_index__attrs a =
            *TIDE_ATTRS(index_, .start.n = u->rank, .size.n = u->rank, .step.n = u->rank);
        for (int i = 0; i < u->rank; i++) a.size.v[i] = u->shape[i], a.step.v[i] = 1;
        a.size.v[u->rank - 1] = k;
        u = tide_t(t, TIDE_OP_index_, &a, u);
        for (int i = 0; i < vh->rank; i++) a.size.v[i] = vh->shape[i];
        a.size.v[vh->rank - 2] = k;
        vh = tide_t(t, TIDE_OP_index_, &a, vh);
    }
    T inner = diagonal_of(t, tide_t_dy(t, 1)), v = turned(t, vh);
    if (!left && !right) {
        tide_t_give(t, 0, times_(t, times_(t, u, inner), vh));
        return;
    }
    T e = gaps(t, tide_t(t, OP(square), s)), row = one_more(t, s, -2), column = one_more(t, s, -1);
    T du = tide_t_dy(t, 0), dv = turned(t, tide_t_dy(t, 2));
    inner = plus_(t, inner, tide_t(t, OP(multiply), skew(t, e, u, du), row));
    inner = plus_(t, inner, tide_t(t, OP(multiply), column, skew(t, e, v, dv)));
    T g = times_(t, times_(t, u, inner), vh);
    T rest_u = tide_t(t, OP(divide), minus(t, du, times_(t, u, times_(t, turned(t, u), du))), row);
    T rest_v = tide_t(t, OP(divide), minus(t, dv, times_(t, v, times_(t, vh, dv))), row);
    g = plus_(t, g, times_(t, rest_u, vh));
    tide_t_give(t, 0, plus_(t, g, times_(t, u, turned(t, rest_v))));
}
TIDE_DESCRIBE(svd_, .flags = TIDE_CONTIGUOUS, .infer = svd_infer, .grad = svd_grad,
              .saves = TIDE_SAVE_OUT(0) | TIDE_SAVE_OUT(1) | TIDE_SAVE_OUT(2),
              .refused = "holds NaN or infinity");
