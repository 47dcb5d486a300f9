/* Matrix products and the linear layer: shapes and gradients.
 *
 *   C = A B:  dA = dC B^T,  dB = A^T dC, summed over the axes that were broadcast. Transposes are
 * views. */
#include "activations.h"
#include "../../kernels/gemm.h"
#include "helpers.h"

#include <math.h>
#include <string.h>

/* -- small helpers of this file's rules -- */

static tide_tensor *turned(tide_tape *t, tide_tensor *x) { /* the last two axes exchanged */
    if (!x) return NULL;
    tide_transpose_attrs a = *TIDE_ATTRS(transpose, .axes.n = x->rank);
    for (int i = 0; i < x->rank; i++) a.axes.v[i] = i;
    a.axes.v[x->rank - 1] = x->rank - 2;
    a.axes.v[x->rank - 2] = x->rank - 1;
    return tide_t(t, TIDE_OP_transpose, &a, x);
}

static tide_tensor *product(tide_tape *t, tide_tensor *a, tide_tensor *b) {
    return tide_t(t, OP(matmul), a, b);
}

static int64_t rows_of(const tide_tensor *x) { /* all axes but the last */
    int64_t n = 1;
    for (int i = 0; i < x->rank - 1; i++) n *= x->shape[i];
    return n;
}

/* -- matmul -- */

static tide_status matmul_infer(tide_call *c) {
    const tide_tensor *a = c->in[0], *b = c->in[1];
    if (a->rank == 0 || b->rank == 0)
        return tide_op_fail(
            c, TIDE_ESHAPE,
            "a number has no matrix product (expected 1 axis or more, got %s and %s); use multiply",
            TIDE_SHAPE_OF(a), TIDE_SHAPE_OF(b));
    int64_t ka = a->shape[a->rank - 1], kb = b->shape[b->rank == 1 ? 0 : b->rank - 2];
    if (ka != kb)
        return tide_op_fail(c, TIDE_ESHAPE,
                            "the last axis of x1 and the %s axis of x2 differ (expected %ld, got "
                            "%ld; x1 %s, x2 %s)",
                            b->rank == 1 ? "only" : "last but one", (long)ka, (long)kb,
                            TIDE_SHAPE_OF(a), TIDE_SHAPE_OF(b));
    int ra = a->rank > 2 ? a->rank - 2 : 0, rb = b->rank > 2 ? b->rank - 2 : 0,
        r = ra > rb ? ra : rb;
    tide_meta *m = &c->meta[0];
    m->dtype = a->dtype;
    m->rank = 0;
    for (int i = 0; i < r; i++) {
        int64_t da = i >= r - ra ? a->shape[i - (r - ra)] : 1,
                db = i >= r - rb ? b->shape[i - (r - rb)] : 1;
        if (da != db && da != 1 && db != 1)
            return tide_op_fail(c, TIDE_ESHAPE, "the leading axes do not broadcast (x1 %s, x2 %s)",
                                TIDE_SHAPE_OF(a), TIDE_SHAPE_OF(b));
        m->shape[m->rank++] = da == 1 ? db : da;
    }
    if (a->rank > 1) m->shape[m->rank++] = a->shape[a->rank - 2];
    if (b->rank > 1) m->shape[m->rank++] = b->shape[b->rank - 1];
    return TIDE_OK;
}

static void matmul_grad(tide_tape *t, const tide_node *n) {
    (void)n;
    tide_tensor *a = tide_t_in(t, 0), *b = tide_t_in(t, 1), *dy = tide_t_dy(t, 0);
    if (!a || !b || !dy) return;
    int va = a->rank == 1, vb = b->rank == 1;
    /* vectors as matrices of one row or column, and the gradient likewise */
    tide_tensor *ma = va ? shaped(t, a, 2, (int64_t[]){1, a->shape[0]}) : a,
                *mb = vb ? shaped(t, b, 2, (int64_t[]){b->shape[0], 1}) : b;
    if (va || vb) {
        int64_t s[TIDE_MAX_RANK];
        int r = 0, lead = dy->rank - !va - !vb;
        for (; r < lead; r++) s[r] = dy->shape[r];
        s[r++] = va ? 1 : a->shape[a->rank - 2];
        s[r++] = vb ? 1 : b->shape[b->rank - 1];
        dy = shaped(t, dy, r, s);
    }
    if (tide_t_failed(t)) return;
    if (tide_t_needs(t, 0)) {
        tide_tensor *g = product(t, dy, turned(t, mb));
        if (g && va) g = shaped(t, g->rank > 2 ? tide_t_sum_to(t, g, ma) : g, 1, a->shape);
        else g = tide_t_sum_to(t, g, a);
        tide_t_give(t, 0, g);
    }
    if (tide_t_needs(t, 1)) {
        tide_tensor *g;
        if (mb->rank == 2 &&
            ma->rank >
                2) { /* one matrix for the whole batch: one tall product instead of a sum of many */
            tide_tensor *fa = shaped(t, ma, 2, (int64_t[]){rows_of(ma), ma->shape[ma->rank - 1]});
            tide_tensor *fy = shaped(t, dy, 2, (int64_t[]){rows_of(dy), dy->shape[dy->rank - 1]});
            g = product(t, turned(t, fa), fy);
        } else {
            g = tide_t_sum_to(t, product(t, turned(t, ma), dy), mb);
        }
        if (vb) g = shaped(t, g, 1, b->shape);
        tide_t_give(t, 1, g);
    }
}

static double matmul_flops(const tide_kcall *k) {
    return 2.0 * (double)tide_buf_numel(&k->out[0]) * (double)k->in[0].shape[k->in[0].rank - 1];
}

/* A matrix of halves that many rows are multiplied with, in float32. */
static int by_many_rows(const tide_kcall *k) {
    const tide_buf *x = &k->in[0];
    const int64_t n = x->rank ? x->shape[x->rank - 1] : 0;
    if (x->dtype == TIDE_BF16 && k->in[1].dtype == TIDE_BF16 && tide_bf16_units()) return 0;
    return k->in[1].rank == 2 && n > 0 && tide_buf_numel(x) / n > TIDE_FEW_ROWS;
}

TIDE_DESCRIBE(matmul, .flags = TIDE_PROMOTE | TIDE_HALF, .relays = TIDE_SAVE_IN(1),
              .keeps = by_many_rows, .saves = TIDE_SAVE_IN(0) | TIDE_SAVE_IN(1),
              .infer = matmul_infer, .grad = matmul_grad, .flops = matmul_flops);

/* -- activations that linear and conv fuse (activations.h) -- */

tide_tensor *tide_t_activate(tide_tape *t, tide_tensor *z, int act) {
    switch (act) {
    case TIDE_ACTIVATION_relu: return tide_t(t, OP(relu), z);
    case TIDE_ACTIVATION_relu6: return tide_t(t, OP(relu6), z);
    case TIDE_ACTIVATION_sigmoid: return tide_t(t, OP(sigmoid), z);
    case TIDE_ACTIVATION_tanh: return tide_t(t, OP(tanh), z);
    case TIDE_ACTIVATION_elu: return tide_t(t, OP(elu), z);
    case TIDE_ACTIVATION_gelu: return tide_t(t, OP(gelu_erf), z);
    case TIDE_ACTIVATION_silu: return tide_t(t, OP(silu), z);
    default: return z;
    }
}

static tide_status activation_grad_infer(tide_call *c) {
    const tide_activation_grad_attrs *a = c->attrs;
    c->meta[0] = tide_meta_of(c->in[0]);
    c->meta[1] = (tide_meta){.rank = 1,
                             .dtype = c->in[0]->dtype,
                             .shape = {a->bias ? c->in[0]->shape[c->in[0]->rank - 1] : 0}};
    return TIDE_OK;
}

/* dy act', in terms of act's result y, for gelu and silu of its argument. */
static void activation_grad_compose(tide_tape *t, const void *attrs, int nin, tide_tensor **in,
                                    tide_tensor **out) {
    (void)nin;
    const tide_activation_grad_attrs *a = attrs;
    tide_tensor *dy = in[0], *y = in[1], *f = NULL, *s;
#define MUL(x1, x2) tide_t(t, OP(multiply), x1, x2)
#define ADD(x1, x2) tide_t(t, OP(add), x1, x2)
#define SUB(x1, x2) tide_t(t, OP(subtract), x1, x2)
#define NUM(v) tide_t_scalar(t, v, y)
    switch (a->activation) {
    case TIDE_ACTIVATION_relu:
        f = tide_t(t, OP(cast, .dtype = y->dtype), tide_t(t, OP(greater), y, NUM(0)));
        break;
    case TIDE_ACTIVATION_relu6:
        f = MUL(tide_t(t, OP(cast, .dtype = y->dtype), tide_t(t, OP(greater), y, NUM(0))),
                tide_t(t, OP(cast, .dtype = y->dtype), tide_t(t, OP(less), y, NUM(6))));
        break;
    case TIDE_ACTIVATION_sigmoid: f = MUL(y, SUB(NUM(1), y)); break;
    case TIDE_ACTIVATION_tanh: f = SUB(NUM(1), MUL(y, y)); break;
    case TIDE_ACTIVATION_elu: f = tide_t(t, OP(minimum), ADD(y, NUM(1)), NUM(1)); break;
    case TIDE_ACTIVATION_gelu:
        f = ADD(
            MUL(NUM(0.5), tide_t(t, OP(erfc), MUL(y, NUM(-0.70710678118654752440)))),
            MUL(y,
                MUL(NUM(0.39894228040143267794), tide_t(t, OP(exp), MUL(NUM(-0.5), MUL(y, y))))));
        break;
    case TIDE_ACTIVATION_silu:
        s = tide_t(t, OP(sigmoid), y);
        f = MUL(s, ADD(NUM(1), MUL(y, SUB(NUM(1), s))));
        break;
    default: break;
    }
    out[0] = f ? MUL(dy, f) : dy;
    if (tide_t_failed(t)) return;
    out[1] = a->bias
        ? tide_t_sum_to_meta(t, out[0], &(tide_meta){.rank = 1}, &dy->shape[dy->rank - 1])
        : tide_t(t, OP(fill_, .shape.n = 1, .dtype = dy->dtype));
#undef MUL
#undef ADD
#undef SUB
#undef NUM
}

TIDE_DESCRIBE(activation_grad, .flags = TIDE_CONTIGUOUS | TIDE_INTERNAL | TIDE_HALF, .rows = 3,
              .sums = 2, .saves = TIDE_SAVE_IN(0) | TIDE_SAVE_IN(1), .infer = activation_grad_infer,
              .compose = activation_grad_compose);

static tide_status bias_activation_infer(tide_call *c) {
    const tide_tensor *x = c->in[0], *b = c->in[1];
    if (x->rank == 0)
        return tide_op_fail(c, TIDE_ESHAPE, "x is a number (expected 1 axis or more)");
    if (b) TIDE_TRY(tide_check_bias(c, b, x->shape[x->rank - 1], x->dtype));
    return tide_infer_same(c);
}

static void bias_activation_grad(tide_tape *t, const tide_node *n) {
    const tide_bias_activation_attrs *a = (const void *)n->attrs;
    tide_tensor *y = tide_act_reads_argument(a->activation)
        ? tide_t(t, OP(bias_activation), tide_t_in(t, 0), tide_t_in(t, 1))
        : tide_t_out(t, 0);
    tide_tensor *g[2], *in[2] = {tide_t_dy(t, 0), y};
    tide_tn(t, OP(activation_grad, .activation = a->activation, .bias = tide_t_needs(t, 1)), 2, in,
            g);
    tide_t_give(t, 0, g[0]);
    tide_t_give(t, 1, g[1]);
}

TIDE_DESCRIBE(bias_activation, .flags = TIDE_CONTIGUOUS | TIDE_PROMOTE | TIDE_INTERNAL | TIDE_HALF,
              .rows = 1, .saves = TIDE_SAVE_IN(0) | TIDE_SAVE_IN(1) | TIDE_SAVE_OUT(0),
              .infer = bias_activation_infer, .grad = bias_activation_grad);

/* -- a sum and relu: where residual networks join -- */

static tide_status add_relu__infer(tide_call *c) {
    TIDE_TRY(tide_infer_pointwise(c));
    return c->meta[0].rank
        ? TIDE_OK
        : tide_op_fail(c, TIDE_ESHAPE, "x1 and x2 are numbers (expected 1 axis or more)");
}
static void add_relu__grad(tide_tape *t, const tide_node *n) {
    tide_tensor *g[2], *in[2] = {tide_t_dy(t, 0), tide_t_out(t, 0)};
    tide_tn(t, OP(activation_grad, .activation = TIDE_ACTIVATION_relu), 2, in, g);
    for (int i = 0; i < n->nin; i++) {
        const tide_meta *m = tide_t_in_meta(t, i);
        if (tide_t_needs(t, i)) tide_t_give(t, i, tide_t_sum_to_meta(t, g[0], m, m->shape));
    }
}
TIDE_DESCRIBE(add_relu_, .flags = TIDE_PROMOTE | TIDE_HALF, .saves = TIDE_SAVE_OUT(0),
              .infer = add_relu__infer, .grad = add_relu__grad);

tide_status tide_check_bias(tide_call *c, const tide_tensor *b, int64_t n, int dtype) {
    char s[160];
    if (b->rank != 1 || b->shape[0] != n)
        return tide_op_fail(c, TIDE_ESHAPE, "bias has the wrong shape (expected [%ld], got %s)",
                            (long)n, tide_shape_str(b->rank, b->shape, s, sizeof s));
    if (b->dtype != dtype)
        return tide_op_fail(c, TIDE_EDTYPE, "bias has another dtype (expected %s, got %s)",
                            tide_dtype_name(dtype), tide_dtype_name(b->dtype));
    return TIDE_OK;
}

/* -- linear -- */

static tide_status linear_infer(tide_call *c) {
    const tide_tensor *x = c->in[0], *w = c->in[1], *b = c->in[2];
    if (w->rank != 2)
        return tide_op_fail(c, TIDE_ESHAPE,
                            "kernel has the wrong number of axes (expected (in, out), got %s)",
                            TIDE_SHAPE_OF(w));
    if (x->rank == 0)
        return tide_op_fail(c, TIDE_ESHAPE, "input is a number (expected 1 axis or more)");
    if (x->shape[x->rank - 1] != w->shape[0])
        return tide_op_fail(
            c, TIDE_ESHAPE, "input has %ld features, kernel expects %ld (input %s, kernel %s)",
            (long)x->shape[x->rank - 1], (long)w->shape[0], TIDE_SHAPE_OF(x), TIDE_SHAPE_OF(w));
    if (b) TIDE_TRY(tide_check_bias(c, b, w->shape[1], x->dtype));
    c->meta[0] = tide_meta_of(x);
    c->meta[0].shape[x->rank - 1] = w->shape[1];
    return TIDE_OK;
}

static void linear_grad(tide_tape *t, const tide_node *n) {
    const tide_linear_attrs *a = (const void *)n->attrs;
    tide_tensor *x = tide_t_in(t, 0), *w = tide_t_in(t, 1), *y = NULL, *out[3];
    if (tide_act_reads_argument(a->activation)) y = tide_t(t, OP(linear), x, w, tide_t_in(t, 2));
    else if (a->activation) y = tide_t_out(t, 0);
    int needs = 0;
    for (int i = 0; i < 3; i++) needs |= tide_t_needs(t, i) << i;
    tide_tensor *in[] = {x, w, y, tide_t_dy(t, 0)};
    tide_tn(t, OP(linear_grad, .activation = a->activation, .needs = needs), 4, in, out);
    for (int i = 0; i < 3; i++)
        if (needs >> i & 1) tide_t_give(t, i, out[i]);
}

static void linear_compose(tide_tape *t, const void *attrs, int nin, tide_tensor **in,
                           tide_tensor **out) {
    (void)nin;
    const int act = ((const tide_linear_attrs *)attrs)->activation;
    tide_tensor *z;
    if (tide_act_reads_argument(act)) {
        z = tide_t(t, OP(linear), in[0], in[1], in[2]);
    } else {
        z = product(t, in[0], in[1]);
        if (in[2]) z = tide_t(t, OP(add), z, in[2]);
    }
    out[0] = tide_t_activate(t, z, act);
}
static int linear_composed(const void *attrs) {
    return tide_act_reads_argument(((const tide_linear_attrs *)attrs)->activation);
}

TIDE_DESCRIBE(linear, .flags = TIDE_CONTIGUOUS | TIDE_PROMOTE | TIDE_HALF | TIDE_FIRST_ORDER,
              .relays = TIDE_SAVE_IN(1), .keeps = by_many_rows,
              .saves = TIDE_SAVE_IN(0) | TIDE_SAVE_IN(1) | TIDE_SAVE_IN(2) | TIDE_SAVE_OUT(0),
              .infer = linear_infer, .grad = linear_grad, .compose = linear_compose,
              .composed = linear_composed, .flops = matmul_flops);

static tide_status linear_grad_infer(tide_call *c) {
    const tide_linear_grad_attrs *a = c->attrs;
    for (int i = 0; i < 3; i++) {
        const tide_tensor *like = c->in[i == 0 ? 0 : 1];
        c->meta[i] = (tide_meta){.rank = 1, .dtype = c->in[0]->dtype}; /* empty */
        if (!(a->needs >> i & 1)) continue;
        if (i == 2) c->meta[i].shape[0] = like->shape[1];
        else c->meta[i] = tide_meta_of(like);
    }
    return TIDE_OK;
}
static double linear_grad_flops(const tide_kcall *k) {
    const tide_linear_grad_attrs *a = k->attrs;
    return ((a->needs & 1) + (a->needs >> 1 & 1)) * 2.0 * (double)tide_buf_numel(&k->in[0]) *
        (double)k->in[1].shape[1];
}
static double linear_grad_room(const tide_kcall *k) { /* dz, before the activation */
    const tide_linear_grad_attrs *a = k->attrs;
    return a->activation == TIDE_ACTIVATION_linear
        ? 0
        : (double)tide_buf_numel(&k->in[3]) * (double)tide_dtype_size(k->in[3].dtype);
}
TIDE_DESCRIBE(linear_grad, .flags = TIDE_CONTIGUOUS | TIDE_INTERNAL | TIDE_HALF,
              .infer = linear_grad_infer, .flops = linear_grad_flops, .room = linear_grad_room);

/* -- products written with matmul -- */

static tide_status dot_infer(tide_call *c) {
    const int rank = c->in[0]->rank + c->in[1]->rank - 2;
    if (c->in[1]->rank > 2 && rank > TIDE_MAX_RANK)
        return tide_op_fail(c, TIDE_ESHAPE, "the result would have %d axes (at most %d)", rank,
                            TIDE_MAX_RANK);
    return TIDE_OK;
}
static void dot_compose(tide_tape *t, const void *attrs, int nin, tide_tensor **in,
                        tide_tensor **out) {
    (void)attrs, (void)nin;
    tide_tensor *a = in[0], *b = in[1];
    if (a->rank == 0 || b->rank == 0) {
        out[0] = tide_t(t, OP(multiply), a, b);
        return;
    }
    if (b->rank <= 2) {
        out[0] = product(t, a, b);
        return;
    }
    /* x1 (..., K), x2 (..., K, N): every row of the one with every column of the other */
    int64_t s[TIDE_MAX_RANK];
    int r = 0;
    tide_transpose_attrs k_first = *TIDE_ATTRS(transpose, .axes.n = b->rank);
    k_first.axes.v[0] = b->rank - 2;
    for (int i = 0; i < a->rank - 1; i++) s[r++] = a->shape[i];
    for (int i = 0, j = 1; i < b->rank; i++)
        if (i != b->rank - 2) k_first.axes.v[j++] = i, s[r++] = b->shape[i];
    int64_t k = b->shape[b->rank - 2];
    tide_tensor *fa = shaped(t, a, 2, (int64_t[]){rows_of(a), a->shape[a->rank - 1]});
    tide_tensor *fb = shaped(t, tide_t(t, TIDE_OP_transpose, &k_first, b), 2,
                             (int64_t[]){k, k ? tide_numel(b) / k : 0});
    out[0] = shaped(t, product(t, fa, fb), r, s);
}
TIDE_DESCRIBE(dot, .flags = TIDE_PROMOTE, .infer = dot_infer, .compose = dot_compose);

/* The paired axes of x1 last, those of x2 first, then one product. */
static tide_status tensordot_infer(tide_call *c) {
    tide_tensordot__attrs *a = c->attrs;
    const tide_tensor *x = c->in[0], *y = c->in[1];
    char sx[160], sy[160];
    if (a->axes1.n < 0 || a->axes2.n < 0) {
        if (a->axes < 0 || a->axes > x->rank || a->axes > y->rank)
            return tide_op_fail(c, TIDE_EARG, "cannot pair %ld axes (x1 has %d, x2 has %d)",
                                (long)a->axes, x->rank, y->rank);
        a->axes1.n = a->axes2.n = a->axes;
        for (int i = 0; i < a->axes; i++) a->axes1.v[i] = x->rank - a->axes + i, a->axes2.v[i] = i;
    }
    TIDE_TRY(tide_axes(c, &a->axes1, x->rank));
    TIDE_TRY(tide_axes(c, &a->axes2, y->rank));
    if (a->axes1.n != a->axes2.n)
        return tide_op_fail(c, TIDE_EARG, "axes1 and axes2 differ in number (%ld and %ld)",
                            (long)a->axes1.n, (long)a->axes2.n);
    for (int i = 0; i < a->axes1.n; i++)
        if (x->shape[a->axes1.v[i]] != y->shape[a->axes2.v[i]])
            return tide_op_fail(
                c, TIDE_ESHAPE,
                "paired axes differ in extent (expected %ld, got %ld; x1 %s, x2 %s)",
                (long)x->shape[a->axes1.v[i]], (long)y->shape[a->axes2.v[i]],
                tide_shape_str(x->rank, x->shape, sx, sizeof sx),
                tide_shape_str(y->rank, y->shape, sy, sizeof sy));
    if (x->rank + y->rank - 2 * a->axes1.n > TIDE_MAX_RANK)
        return tide_op_fail(c, TIDE_ESHAPE, "the result would have more than %d axes",
                            TIDE_MAX_RANK);
    return TIDE_OK;
}

static void tensordot_compose(tide_tape *t, const void *attrs, int nin, tide_tensor **in,
                              tide_tensor **out) {
    (void)nin;
    const tide_tensordot__attrs *a = attrs;
    tide_tensor *x = in[0], *y = in[1];
    tide_transpose_attrs px = *TIDE_ATTRS(transpose, .axes.n = x->rank),
                         py = *TIDE_ATTRS(transpose, .axes.n = y->rank);
    int64_t s[TIDE_MAX_RANK], m = 1, n = 1, k = 1;
    int r = 0, used = 0, paired = (int)a->axes1.n;
    unsigned in1 = 0, in2 = 0;
    for (int i = 0; i < paired; i++)
        in1 |= 1u << a->axes1.v[i], in2 |= 1u << a->axes2.v[i], k *= x->shape[a->axes1.v[i]];
    for (int i = 0; i < x->rank; i++)
        if (!(in1 >> i & 1)) px.axes.v[used++] = i, m *= x->shape[i], s[r++] = x->shape[i];
    for (int i = 0; i < paired; i++)
        px.axes.v[used + i] = a->axes1.v[i], py.axes.v[i] = a->axes2.v[i];
    used = paired;
    for (int i = 0; i < y->rank; i++)
        if (!(in2 >> i & 1)) py.axes.v[used++] = i, n *= y->shape[i], s[r++] = y->shape[i];
    tide_tensor *fx = shaped(t, tide_t(t, TIDE_OP_transpose, &px, x), 2, (int64_t[]){m, k});
    tide_tensor *fy = shaped(t, tide_t(t, TIDE_OP_transpose, &py, y), 2, (int64_t[]){k, n});
    out[0] = shaped(t, product(t, fx, fy), r, s);
}
TIDE_DESCRIBE(tensordot_, .flags = TIDE_PROMOTE, .infer = tensordot_infer,
              .compose = tensordot_compose);

static void inner_compose(tide_tape *t, const void *attrs, int nin, tide_tensor **in,
                          tide_tensor **out) {
    (void)attrs, (void)nin;
    tide_tensor *a = in[0], *b = in[1];
    if (a->rank == 0 || b->rank == 0) out[0] = tide_t(t, OP(multiply), a, b);
    else out[0] = tide_t(t, OP(tensordot_, .axes1 = TIDE_INTS(-1), .axes2 = TIDE_INTS(-1)), a, b);
}
TIDE_DESCRIBE(inner, .flags = TIDE_PROMOTE, .compose = inner_compose);

static void outer_compose(tide_tape *t, const void *attrs, int nin, tide_tensor **in,
                          tide_tensor **out) {
    (void)attrs, (void)nin;
    out[0] = tide_t(t, OP(multiply), shaped(t, in[0], 2, (int64_t[]){tide_numel(in[0]), 1}),
                    shaped(t, in[1], 2, (int64_t[]){1, tide_numel(in[1])}));
}
TIDE_DESCRIBE(outer, .flags = TIDE_PROMOTE, .compose = outer_compose);

static tide_status vdot_infer(tide_call *c) {
    if (tide_numel(c->in[0]) != tide_numel(c->in[1]))
        return tide_op_fail(c, TIDE_ESHAPE,
                            "inputs differ in their number of elements (expected %ld, got %ld)",
                            (long)tide_numel(c->in[0]), (long)tide_numel(c->in[1]));
    return TIDE_OK;
}
static void vdot_compose(tide_tape *t, const void *attrs, int nin, tide_tensor **in,
                         tide_tensor **out) {
    (void)attrs, (void)nin;
    int64_t n = tide_numel(in[0]);
    out[0] = product(t, shaped(t, in[0], 1, &n), shaped(t, in[1], 1, &n));
}
TIDE_DESCRIBE(vdot, .flags = TIDE_PROMOTE, .infer = vdot_infer, .compose = vdot_compose);

static void vecdot_compose(tide_tape *t, const void *attrs, int nin, tide_tensor **in,
                           tide_tensor **out) {
    (void)nin;
    int64_t axis = ((const tide_vecdot_attrs *)attrs)->axis;
    out[0] = tide_t(t, OP(sum, .axis = TIDE_INTS(axis)), tide_t(t, OP(multiply), in[0], in[1]));
}
TIDE_DESCRIBE(vecdot, .flags = TIDE_PROMOTE, .compose = vecdot_compose);
