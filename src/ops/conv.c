/* Convolutions: shapes, padding, gradients. One op for 1 to 3 spatial axes, channels last, kernels
 * (k..., C/groups, F).
 *
 * `infer` makes every attribute explicit: one stride, dilation and pair of zeros per spatial axis.
 * With those fixed, conv, conv_grad_x and conv_grad_kernel are the three partial products of one
 * trilinear form in (x, kernel, dy); so the gradient of each is made of the other two, to any
 * order. */
#include "activations.h"
#include "helpers.h"

#include <string.h>

/* -- attributes, one entry per spatial axis -- */

static tide_status expand(tide_call *c, tide_ints *l, int nd, const char *what) {
    if (l->n < 0) *l = (tide_ints){.n = 1, .v = {1}};
    if (l->n != 1 && l->n != nd)
        return tide_op_fail(c, TIDE_EARG,
                            "%s has the wrong number of entries (expected 1 or %d, got %ld)", what,
                            nd, (long)l->n);
    for (int i = 0; i < nd; i++) {
        if (l->n == 1) l->v[i] = l->v[0];
        if (l->v[i] < 1 || l->v[i] > INT32_MAX)
            return tide_op_fail(c, TIDE_EARG, "%s must be %s (got %ld)", what, bound_of(l->v[i]),
                                (long)l->v[i]);
    }
    l->n = nd;
    return TIDE_OK;
}

static tide_status spatial(tide_call *c, const tide_tensor *x, const tide_tensor *w) {
    if (x->rank < 3 || x->rank > 5)
        return tide_op_fail(c, TIDE_ESHAPE,
                            "x has the wrong number of axes (expected (N, ..., C) with 1 to 3 "
                            "spatial axes, got %s)",
                            TIDE_SHAPE_OF(x));
    if (w->rank != x->rank)
        return tide_op_fail(
            c, TIDE_ESHAPE,
            "kernel has the wrong number of axes (expected %d like x, got %s; x %s)", x->rank,
            TIDE_SHAPE_OF(w), TIDE_SHAPE_OF(x));
    for (int i = 0; i < w->rank - 2; i++)
        if (w->shape[i] < 1 || w->shape[i] > INT32_MAX)
            return tide_op_fail(c, TIDE_ESHAPE, "kernel has %s window (kernel %s)",
                                w->shape[i] < 1 ? "an empty" : "too large a", TIDE_SHAPE_OF(w));
    if (w->dtype != x->dtype)
        return tide_op_fail(c, TIDE_EDTYPE, "kernel has another dtype (expected %s, got %s)",
                            tide_dtype_name(x->dtype), tide_dtype_name(w->dtype));
    return TIDE_OK;
}

/* TensorFlow's rule: with "same" the result has ceil(in / stride) positions; an odd zero goes to
 * the end. */
static tide_status pads_of(tide_call *c, int nd, const int64_t *in, const int64_t *k,
                           const tide_ints *strides, const tide_ints *dil, int padding,
                           tide_pairs *pads) {
    if (padding == TIDE_PADDING_causal && nd != 1)
        return tide_op_fail(c, TIDE_EARG, "padding \"causal\" needs 1 spatial axis (got %d)", nd);
    if (padding == TIDE_PADDING_explicit) {
        if (pads->n != nd && pads->n != 1)
            return tide_op_fail(
                c, TIDE_EARG,
                "padding \"explicit\" needs pads, a pair per spatial axis (expected %d, got %ld)",
                nd, (long)(pads->n < 0 ? 0 : pads->n));
        for (int i = 0; i < nd; i++) {
            if (pads->n == 1) pads->v[i][0] = pads->v[0][0], pads->v[i][1] = pads->v[0][1];
            for (int j = 0; j < 2; j++)
                if (pads->v[i][j] < 0 || pads->v[i][j] > INT32_MAX)
                    return tide_op_fail(c, TIDE_EARG, "pads must be 0 or more (got %ld)",
                                        (long)pads->v[i][j]);
        }
        pads->n = nd;
        return TIDE_OK;
    }
    for (int i = 0; i < nd; i++) {
        int64_t span = (k[i] - 1) * dil->v[i] + 1, lo = 0, hi = 0;
        if (padding == TIDE_PADDING_same) {
            int64_t out = (in[i] + strides->v[i] - 1) / strides->v[i],
                    all = (out - 1) * strides->v[i] + span - in[i];
            if (all < 0) all = 0;
            lo = all / 2, hi = all - lo;
        } else if (padding == TIDE_PADDING_causal) {
            lo = span - 1;
        }
        pads->v[i][0] = lo, pads->v[i][1] = hi;
    }
    pads->n = nd;
    return TIDE_OK;
}

/* -- conv -- */

static tide_status conv_infer(tide_call *c) {
    tide_conv_attrs *a = c->attrs;
    const tide_tensor *x = c->in[0], *w = c->in[1], *b = c->in[2];
    TIDE_TRY(spatial(c, x, w));
    int nd = x->rank - 2;
    int64_t channels = x->shape[x->rank - 1], f = w->shape[w->rank - 1];
    if (a->groups == TIDE_NONE) { /* as many as the kernel's channels fit into the input's */
        const int64_t each = w->shape[w->rank - 2];
        a->groups = each > 0 && channels % each == 0 && channels > 0 ? channels / each : 1;
        if (f % a->groups) a->groups = 1;
    }
    if (a->groups < 1)
        return tide_op_fail(c, TIDE_EARG, "groups must be 1 or more (got %ld)", (long)a->groups);
    if (channels % a->groups || f % a->groups)
        return tide_op_fail(
            c, TIDE_ESHAPE,
            "channels are not divisible by groups (got %ld groups, input %s, kernel %s)",
            (long)a->groups, TIDE_SHAPE_OF(x), TIDE_SHAPE_OF(w));
    if (channels / a->groups != w->shape[w->rank - 2])
        return tide_op_fail(c, TIDE_ESHAPE,
                            "input has %ld channels%s, kernel expects %ld (input %s, kernel %s)",
                            (long)(channels / a->groups), a->groups > 1 ? " per group" : "",
                            (long)w->shape[w->rank - 2], TIDE_SHAPE_OF(x), TIDE_SHAPE_OF(w));
    TIDE_TRY(expand(c, &a->strides, nd, "strides"));
    TIDE_TRY(expand(c, &a->dilation_rate, nd, "dilation_rate"));
    TIDE_TRY(pads_of(c, nd, x->shape + 1, w->shape, &a->strides, &a->dilation_rate, a->padding,
                     &a->pads));
    a->padding = TIDE_PADDING_explicit;
    if (b) TIDE_TRY(tide_check_bias(c, b, f, x->dtype));
    tide_meta *m = &c->meta[0];
    *m = tide_meta_of(x);
    m->shape[x->rank - 1] = f;
    for (int i = 0; i < nd; i++) {
        int64_t room = x->shape[1 + i] + a->pads.v[i][0] + a->pads.v[i][1],
                span = (w->shape[i] - 1) * a->dilation_rate.v[i] + 1;
        if (room < span)
            return tide_op_fail(c, TIDE_ESHAPE,
                                "spatial axis %d is shorter than the kernel (expected %ld or more, "
                                "got %ld; input %s, kernel %s)",
                                i + 1, (long)span, (long)room, TIDE_SHAPE_OF(x), TIDE_SHAPE_OF(w));
        m->shape[1 + i] = (room - span) / a->strides.v[i] + 1;
    }
    return TIDE_OK;
}

static tide_ints head(int n, const int64_t *v) {
    tide_ints l = {.n = n};
    memcpy(l.v, v, (size_t)n * sizeof *v);
    return l;
}

/* The gradient before the activation; *db its sum, where asked for. Without an activation it is dy
 * itself, and *db stays NULL. */
static tide_tensor *before_activation(tide_tape *t, int act, tide_tensor *argument, int bias,
                                      tide_tensor **db) {
    *db = NULL;
    tide_tensor *dy = tide_t_dy(t, 0);
    if (act == TIDE_ACTIVATION_linear) return dy;
    tide_tensor *g[2], *in[2] = {dy, argument ? argument : tide_t_out(t, 0)};
    tide_tn(t, OP(activation_grad, .activation = act, .bias = bias), 2, in, g);
    if (bias) *db = g[1];
    return g[0];
}

static void conv_grad(tide_tape *t, const tide_node *n) {
    const tide_conv_attrs *a = (const void *)n->attrs;
    tide_tensor *x = tide_t_in(t, 0), *w = tide_t_in(t, 1), *z = NULL, *db;
    if (!x || !w) return;
    if (tide_act_reads_argument(a->activation)) {
        tide_conv_attrs plain = *a;
        plain.activation = TIDE_ACTIVATION_linear;
        z = tide_t(t, TIDE_OP_conv, &plain, x, w, tide_t_in(t, 2));
    }
    int needs_bias = tide_t_needs(t, 2);
    tide_tensor *dz = before_activation(t, a->activation, z, needs_bias, &db);
    if (tide_t_needs(t, 0))
        tide_t_give(
            t, 0,
            tide_t(t,
                   OP(conv_grad_x, .strides = a->strides, .dilation_rate = a->dilation_rate,
                      .groups = a->groups, .pads = a->pads, .x_shape = head(x->rank, x->shape)),
                   dz, w, NULL));
    if (tide_t_needs(t, 1) || (needs_bias && !db)) {
        tide_tensor *g[2], *in[2] = {x, dz};
        tide_tn(t,
                OP(conv_grad_kernel, .strides = a->strides, .dilation_rate = a->dilation_rate,
                   .groups = a->groups, .pads = a->pads, .kernel_size = head(w->rank - 2, w->shape),
                   .bias = needs_bias && !db),
                2, in, g);
        tide_t_give(t, 1, g[0]);
        if (needs_bias && !db) db = g[1];
    }
    if (db) tide_t_give(t, 2, db);
}

static double conv_flops(const tide_kcall *k) { /* of y: 2 taps C/groups each */
    const tide_buf *w = &k->in[1];
    return 2.0 * (double)tide_buf_numel(&k->out[0]) * (double)tide_buf_numel(w) /
        (double)w->shape[w->rank - 1];
}

TIDE_DESCRIBE(conv, .flags = TIDE_CONTIGUOUS | TIDE_PROMOTE | TIDE_HALF, .relays = TIDE_SAVE_IN(1),
              .rows = 1,
              .saves = TIDE_SAVE_IN(0) | TIDE_SAVE_IN(1) | TIDE_SAVE_IN(2) | TIDE_SAVE_OUT(0),
              .infer = conv_infer, .grad = conv_grad, .flops = conv_flops);

/* -- with a normalization behind it, for prediction: its gradient is that of both -- */

static tide_conv_attrs without_norm(const tide_conv_norm__attrs *a) {
    tide_conv_attrs plain =
        *TIDE_ATTRS(conv, .strides = a->strides, .padding = a->padding,
                    .dilation_rate = a->dilation_rate, .groups = a->groups, .pads = a->pads);
    return plain;
}

static tide_status conv_norm__infer(tide_call *c) {
    tide_conv_norm__attrs *a = c->attrs;
    tide_conv_attrs plain = without_norm(a);
    tide_call inner = *c;
    inner.attrs = &plain;
    TIDE_TRY(conv_infer(&inner));
    a->strides = plain.strides, a->padding = plain.padding, a->pads = plain.pads;
    a->dilation_rate = plain.dilation_rate, a->groups = plain.groups;
    const tide_tensor *x = c->in[0], *w = c->in[1];
    char buf[160];
    for (int i = 3; i < 7; i++) {
        const tide_tensor *v = c->in[i];
        if (!v) continue;
        if (v->rank != 1 || v->shape[0] != w->shape[w->rank - 1])
            return tide_op_fail(c, TIDE_ESHAPE, "%s has the wrong shape (expected [%ld], got %s)",
                                c->op->args()[i].name, (long)w->shape[w->rank - 1],
                                tide_shape_str(v->rank, v->shape, buf, sizeof buf));
        if (v->dtype != x->dtype)
            return tide_op_fail(c, TIDE_EDTYPE, "%s has another dtype (expected %s, got %s)",
                                c->op->args()[i].name, tide_dtype_name(x->dtype),
                                tide_dtype_name(v->dtype));
    }
    return TIDE_OK;
}

static void conv_norm__compose(tide_tape *t, const void *attrs, int nin, tide_tensor **in,
                               tide_tensor **out) {
    const tide_conv_norm__attrs *a = attrs;
    (void)nin;
    const tide_conv_attrs plain = without_norm(a);
    tide_tensor *z = tide_t(t, TIDE_OP_conv, &plain, in[0], in[1], in[2]);
    tide_tensor *y =
        tide_t(t, OP(batch_normalization, .axis = in[0]->rank - 1, .epsilon = a->epsilon), z, in[3],
               in[4], in[5], in[6]);
    out[0] = tide_t_activate(t, y, a->activation);
}

TIDE_DESCRIBE(conv_norm_, .flags = TIDE_CONTIGUOUS | TIDE_PROMOTE, .infer = conv_norm__infer,
              .compose = conv_norm__compose,
              .saves = TIDE_SAVE_IN(0) | TIDE_SAVE_IN(1) | TIDE_SAVE_IN(2) | TIDE_SAVE_IN(3) |
                  TIDE_SAVE_IN(4) | TIDE_SAVE_IN(5) | TIDE_SAVE_IN(6),
              .flops = conv_flops);

/* -- its gradients -- */

static tide_status conv_grad_x_infer(tide_call *c) {
    const tide_conv_grad_x_attrs *a = c->attrs;
    const tide_tensor *dy = c->in[0], *b = c->in[2];
    if (b) TIDE_TRY(tide_check_bias(c, b, a->x_shape.v[a->x_shape.n - 1], dy->dtype));
    c->meta[0] = (tide_meta){.rank = (uint8_t)a->x_shape.n, .dtype = dy->dtype};
    memcpy(c->meta[0].shape, a->x_shape.v, sizeof c->meta[0].shape);
    return TIDE_OK;
}

static void conv_grad_x_grad(tide_tape *t, const tide_node *n) {
    const tide_conv_grad_x_attrs *a = (const void *)n->attrs;
    tide_tensor *dy = tide_t_in(t, 0), *w = tide_t_in(t, 1), *z = NULL, *db;
    if (!dy || !w) return;
    if (tide_act_reads_argument(a->activation)) {
        tide_conv_grad_x_attrs plain = *a;
        plain.activation = TIDE_ACTIVATION_linear;
        z = tide_t(t, TIDE_OP_conv_grad_x, &plain, dy, w, tide_t_in(t, 2));
    }
    tide_tensor *g = before_activation(t, a->activation, z, tide_t_needs(t, 2), &db);
    if (tide_t_needs(t, 0))
        tide_t_give(
            t, 0,
            tide_t(t,
                   OP(conv, .strides = a->strides, .padding = TIDE_PADDING_explicit,
                      .dilation_rate = a->dilation_rate, .groups = a->groups, .pads = a->pads),
                   g, w, NULL));
    if (tide_t_needs(t, 1)) {
        tide_tensor *out[2], *in[2] = {g, dy};
        tide_tn(t,
                OP(conv_grad_kernel, .strides = a->strides, .dilation_rate = a->dilation_rate,
                   .groups = a->groups, .pads = a->pads,
                   .kernel_size = head(w->rank - 2, w->shape)),
                2, in, out);
        tide_t_give(t, 1, out[0]);
    }
    if (tide_t_needs(t, 2) && g) tide_t_give(t, 2, db ? db : tide_t_sum_to(t, g, tide_t_in(t, 2)));
}

static double conv_grad_x_flops(const tide_kcall *k) {
    const tide_buf *w = &k->in[1];
    return 2.0 * (double)tide_buf_numel(&k->in[0]) * (double)tide_buf_numel(w) /
        (double)w->shape[w->rank - 1];
}

TIDE_DESCRIBE(conv_grad_x, .flags = TIDE_CONTIGUOUS | TIDE_PROMOTE | TIDE_INTERNAL | TIDE_HALF,
              .relays = TIDE_SAVE_IN(1), .rows = 1,
              .saves = TIDE_SAVE_IN(0) | TIDE_SAVE_IN(1) | TIDE_SAVE_IN(2) | TIDE_SAVE_OUT(0),
              .infer = conv_grad_x_infer, .grad = conv_grad_x_grad, .flops = conv_grad_x_flops);

static tide_status conv_grad_kernel_infer(tide_call *c) {
    const tide_conv_grad_kernel_attrs *a = c->attrs;
    const tide_tensor *x = c->in[0], *dy = c->in[1];
    int nd = x->rank - 2;
    c->meta[0] = (tide_meta){.rank = x->rank, .dtype = x->dtype};
    memcpy(c->meta[0].shape, a->kernel_size.v, (size_t)nd * sizeof(int64_t));
    c->meta[0].shape[nd] = x->shape[nd + 1] / a->groups;
    c->meta[0].shape[nd + 1] = dy->shape[nd + 1];
    c->meta[1] =
        (tide_meta){.rank = 1, .dtype = x->dtype, .shape = {a->bias ? dy->shape[nd + 1] : 0}};
    return TIDE_OK;
}

static void conv_grad_kernel_grad(tide_tape *t, const tide_node *n) {
    const tide_conv_grad_kernel_attrs *a = (const void *)n->attrs;
    tide_tensor *x = tide_t_in(t, 0), *dy = tide_t_in(t, 1), *g = tide_t_dy(t, 0);
    if (!x || !dy) return;
    if (tide_t_needs(t, 0))
        tide_t_give(
            t, 0,
            tide_t(t,
                   OP(conv_grad_x, .strides = a->strides, .dilation_rate = a->dilation_rate,
                      .groups = a->groups, .pads = a->pads, .x_shape = head(x->rank, x->shape)),
                   dy, g, NULL));
    if (tide_t_needs(t, 1)) /* what reached the bias' gradient adds like a bias */
        tide_t_give(
            t, 1,
            tide_t(t,
                   OP(conv, .strides = a->strides, .padding = TIDE_PADDING_explicit,
                      .dilation_rate = a->dilation_rate, .groups = a->groups, .pads = a->pads),
                   x, g, a->bias && tide_t_has_dy(t, 1) ? tide_t_dy(t, 1) : NULL));
}

static double conv_grad_kernel_flops(const tide_kcall *k) {
    const tide_buf *w = &k->out[0];
    return 2.0 * (double)tide_buf_numel(&k->in[1]) * (double)tide_buf_numel(w) /
        (double)w->shape[w->rank - 1];
}

TIDE_DESCRIBE(conv_grad_kernel, .flags = TIDE_CONTIGUOUS | TIDE_INTERNAL | TIDE_HALF, .rows = 3,
              .sums = 3, .saves = TIDE_SAVE_IN(0) | TIDE_SAVE_IN(1),
              .infer = conv_grad_kernel_infer, .grad = conv_grad_kernel_grad,
              .flops = conv_grad_kernel_flops);

/* -- transposed -- */

/* Keras' extents: "valid" in*s + max(k' - s, 0), "same" in*s, with k' the dilated kernel; with
 * output_padding (in - 1)*s + k' + output_padding, for "same" k' % 2 instead of k'. The zeros are
 * TensorFlow's: those of the convolution that leads from the result's extent back to x's. */
static tide_status conv_transpose_infer(tide_call *c) {
    tide_conv_transpose_attrs *a = c->attrs;
    const tide_tensor *x = c->in[0], *w = c->in[1];
    TIDE_TRY(spatial(c, x, w));
    int nd = x->rank - 2;
    char sx[160], sw[160];
    if (x->shape[nd + 1] != w->shape[nd + 1])
        return tide_op_fail(c, TIDE_ESHAPE,
                            "input has %ld channels, kernel expects %ld (input %s, kernel %s)",
                            (long)x->shape[nd + 1], (long)w->shape[nd + 1],
                            tide_shape_str(x->rank, x->shape, sx, sizeof sx),
                            tide_shape_str(w->rank, w->shape, sw, sizeof sw));
    TIDE_TRY(expand(c, &a->strides, nd, "strides"));
    TIDE_TRY(expand(c, &a->dilation_rate, nd, "dilation_rate"));
    tide_ints *o = &a->output_padding;
    if (o->n >= 0 && o->n != 1 && o->n != nd)
        return tide_op_fail(
            c, TIDE_EARG,
            "output_padding has the wrong number of entries (expected 1 or %d, got %ld)", nd,
            (long)o->n);
    for (int i = 0; i < nd && o->n >= 0; i++) {
        if (o->n == 1) o->v[i] = o->v[0];
        if (o->v[i] < 0 || o->v[i] >= a->strides.v[i])
            return tide_op_fail(
                c, TIDE_EARG,
                "output_padding must be less than the stride (expected 0..%ld, got %ld)",
                (long)a->strides.v[i] - 1, (long)o->v[i]);
    }
    if (o->n >= 0) o->n = nd;
    for (int i = 0; i < nd;
         i++) { /* far more than any result can have; keeps the extents below from overflowing */
        int64_t most;
        if (__builtin_mul_overflow(x->shape[1 + i], a->strides.v[i], &most) || most > INT64_MAX / 4)
            return tide_op_fail(
                c, TIDE_ESHAPE, "the result has too many elements (input %s, strides %ld)",
                tide_shape_str(x->rank, x->shape, sx, sizeof sx), (long)a->strides.v[i]);
    }
    return TIDE_OK;
}

static void conv_transpose_compose(tide_tape *t, const void *attrs, int nin, tide_tensor **in,
                                   tide_tensor **out) {
    (void)nin;
    const tide_conv_transpose_attrs *a = attrs;
    tide_tensor *x = in[0], *w = in[1];
    int nd = x->rank - 2;
    tide_conv_grad_x_attrs g =
        *TIDE_ATTRS(conv_grad_x, .strides = a->strides, .dilation_rate = a->dilation_rate,
                    .pads.n = nd, .x_shape = head(x->rank, x->shape), .activation = a->activation);
    g.x_shape.v[nd + 1] = w->shape[nd];
    for (int i = 0; i < nd; i++) {
        int64_t s = a->strides.v[i], span = (w->shape[i] - 1) * a->dilation_rate.v[i] + 1,
                n = x->shape[1 + i], extent, lo;
        if (a->output_padding.n >= 0)
            extent = (n - 1) * s + (a->padding == TIDE_PADDING_same ? span % 2 : span) +
                a->output_padding.v[i];
        else extent = n * s + (a->padding != TIDE_PADDING_same && span > s ? span - s : 0);
        lo = (n - 1) * s + span - extent;
        lo = lo > 0 ? lo / 2 : 0;
        if (n == 0) extent = 0;
        g.x_shape.v[1 + i] = extent > 0 ? extent : 0;
        g.pads.v[i][0] = lo;
        g.pads.v[i][1] = n > 0 ? (n - 1) * s + span - extent - lo : 0;
        if (g.pads.v[i][1] < 0) g.pads.v[i][1] = 0; /* positions that no tap reaches */
    }
    out[0] = tide_t(t, TIDE_OP_conv_grad_x, &g, x, w, in[2]);
}

TIDE_DESCRIBE(conv_transpose, .flags = TIDE_PROMOTE, .infer = conv_transpose_infer,
              .compose = conv_transpose_compose);

/* -- depthwise and separable -- */

static tide_status depthwise_infer(tide_call *c) {
    const tide_tensor *x = c->in[0], *w = c->in[1];
    char sx[160], sw[160];
    TIDE_TRY(spatial(c, x, w));
    if (x->shape[x->rank - 1] != w->shape[w->rank - 2])
        return tide_op_fail(c, TIDE_ESHAPE,
                            "input has %ld channels, kernel expects %ld (input %s, kernel %s)",
                            (long)x->shape[x->rank - 1], (long)w->shape[w->rank - 2],
                            tide_shape_str(x->rank, x->shape, sx, sizeof sx),
                            tide_shape_str(w->rank, w->shape, sw, sizeof sw));
    return TIDE_OK;
}

/* (k..., C, M) with one group per channel is (k..., 1, C M) */
static tide_tensor *per_channel(tide_tape *t, tide_tensor *w) {
    tide_reshape_attrs a = *TIDE_ATTRS(reshape, .newshape = head(w->rank, w->shape));
    a.newshape.v[w->rank - 1] = w->shape[w->rank - 1] * w->shape[w->rank - 2];
    a.newshape.v[w->rank - 2] = 1;
    return tide_t(t, TIDE_OP_reshape, &a, w);
}

static void depthwise_compose(tide_tape *t, const void *attrs, int nin, tide_tensor **in,
                              tide_tensor **out) {
    (void)nin;
    const tide_depthwise_conv_attrs *a = attrs;
    out[0] = tide_t(t,
                    OP(conv, .strides = a->strides, .padding = a->padding,
                       .dilation_rate = a->dilation_rate, .groups = in[0]->shape[in[0]->rank - 1],
                       .activation = a->activation, .pads = a->pads),
                    in[0], per_channel(t, in[1]), in[2]);
}
TIDE_DESCRIBE(depthwise_conv, .flags = TIDE_PROMOTE, .infer = depthwise_infer,
              .compose = depthwise_compose);

static void separable_compose(tide_tape *t, const void *attrs, int nin, tide_tensor **in,
                              tide_tensor **out) {
    (void)nin;
    const tide_separable_conv_attrs *a = attrs;
    tide_tensor *deep = tide_t(t,
                               OP(conv, .strides = a->strides, .padding = a->padding,
                                  .dilation_rate = a->dilation_rate,
                                  .groups = in[0]->shape[in[0]->rank - 1], .pads = a->pads),
                               in[0], per_channel(t, in[1]), NULL);
    out[0] = tide_t(t, OP(conv, .groups = 1, .activation = a->activation), deep, in[2], in[3]);
}
TIDE_DESCRIBE(separable_conv, .flags = TIDE_PROMOTE, .infer = depthwise_infer,
              .compose = separable_compose);
