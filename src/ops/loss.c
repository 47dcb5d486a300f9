/* Cross-entropies, CTC, and the kernels of accuracy metrics: one value per example.
 *
 * Private ops take the output first, since the first input's dtype chooses the kernel and labels
 * keep theirs. */
#include "helpers.h"

/* The shape of x without its axis. */
static tide_meta without_axis(const tide_tensor *x, int64_t axis) {
    tide_meta m = {.dtype = x->dtype};
    for (int i = 0; i < x->rank; i++)
        if (i != axis) m.shape[m.rank++] = x->shape[i];
    return m;
}

/* Labels: one per example, of any dtype but half. */
static tide_status labels_fit(tide_call *c, const tide_tensor *labels, const char *name,
                              const tide_meta *m) {
    char want[160], got[160];
    if (!tide_has_shape(labels, m->rank, m->shape))
        return tide_op_fail(c, TIDE_ESHAPE, "%s has one entry per example (expected %s, got %s)",
                            name, tide_shape_str(m->rank, m->shape, want, sizeof want),
                            tide_shape_str(labels->rank, labels->shape, got, sizeof got));
    return TIDE_OK;
}

static tide_status target_fits(tide_call *c, const tide_tensor *output, const tide_tensor *target) {
    char a[160], b[160];
    if (!tide_same_shape(target, output))
        return tide_op_fail(c, TIDE_ESHAPE,
                            "target and output differ in shape (expected %s, got %s)",
                            tide_shape_str(output->rank, output->shape, a, sizeof a),
                            tide_shape_str(target->rank, target->shape, b, sizeof b));
    return TIDE_OK;
}

/* -- labels -- */

/* keras accepts labels with a last axis of length 1. */
static tide_tensor *squeezed(tide_tape *t, tide_tensor *target, tide_tensor *output) {
    if (target->rank != output->rank || target->rank == 0 || target->shape[target->rank - 1] != 1)
        return target;
    tide_reshape_attrs r = *TIDE_ATTRS(reshape, .newshape.n = target->rank - 1);
    for (int i = 0; i < target->rank - 1; i++) r.newshape.v[i] = target->shape[i];
    return tide_t(t, TIDE_OP_reshape, &r, target);
}

static void sparse_compose(tide_tape *t, const void *attrs, int nin, tide_tensor **in,
                           tide_tensor **out) {
    const tide_sparse_categorical_crossentropy_attrs *a = attrs;
    (void)nin;
    tide_tensor *two[2], *args[3] = {in[1], squeezed(t, in[0], in[1]), NULL};
    if (tide_t_failed(t)) return;
    tide_tn(t,
            OP(sparse_cross_entropy_, .from_logits = a->from_logits, .axis = a->axis,
               .base = a->base, .ignore_class = a->ignore_class),
            3, args, two);
    out[0] = two[0];
}
TIDE_DESCRIBE(sparse_categorical_crossentropy, .compose = sparse_compose);

/* log p of the definition: log-softmax, or log(clip(x / sum(x))) */
static tide_tensor *log_p(tide_tape *t, tide_tensor *x, int64_t axis, int from_logits) {
    if (from_logits) return tide_t(t, OP(log_softmax_, .axis = axis), x);
    tide_tensor *s = tide_t(t, OP(sum, .axis = TIDE_INTS(axis), .keepdims = 1), x);
    return tide_t(
        t, OP(log),
        tide_t(t, OP(clip_, .x_min = 1e-7, .x_max = 1 - 1e-7), tide_t(t, OP(divide), x, s)));
}

/* The statistic that the fused forward leaves: log(sum(exp(x - max(x)))) or sum(x). */
static tide_tensor *statistic(tide_tape *t, tide_tensor *x, int64_t axis, int from_logits) {
    const tide_ints along = {.n = 1, .v = {axis}};
    if (!from_logits) return tide_t(t, OP(sum, .axis = along), x);
    tide_tensor *top = largest_of(t, x, along);
    tide_tensor *e = tide_t(t, OP(exp), tide_t(t, OP(subtract), x, top));
    return tide_t(t, OP(log), tide_t(t, OP(sum, .axis = along), e));
}

/* A loss per example, and the statistic, which is exact in float32 where the loss is a half. */
static void with_statistic(tide_call *c, int64_t axis) {
    c->meta[0] = c->meta[1] = without_axis(c->in[0], axis);
    c->meta[1].dtype = (uint8_t)tide_wide(c->meta[0].dtype);
}
/* An accuracy per example, which is summed: never half. */
static void per_example(tide_call *c, int64_t axis) {
    c->meta[0] = without_axis(c->in[0], axis);
    c->meta[0].dtype = (uint8_t)tide_wide(c->meta[0].dtype);
}

static tide_status sparse_infer(tide_call *c) { /* output, target, weight */
    tide_sparse_cross_entropy__attrs *a = c->attrs;
    TIDE_TRY(tide_axis(c, &a->axis, c->in[0]->rank));
    with_statistic(c, a->axis);
    TIDE_TRY(labels_fit(c, c->in[1], "target", &c->meta[0]));
    if (!c->in[2]) return TIDE_OK;
    if (tide_wide(c->in[2]->dtype) != tide_wide(c->in[0]->dtype))
        return tide_op_fail(c, TIDE_EDTYPE,
                            "weight has another dtype than output (expected %s, got %s)",
                            tide_dtype_name(c->in[0]->dtype), tide_dtype_name(c->in[2]->dtype));
    return labels_fit(c, c->in[2], "weight", &c->meta[0]);
}

/* -sum(one_hot(target) log p) weight; a skipped example's label becomes the one that gives zeros.
 */
static void sparse_definition(tide_tape *t, const void *attrs, int nin, tide_tensor **in,
                              tide_tensor **out) {
    const tide_sparse_cross_entropy__attrs *a = attrs;
    (void)nin;
    tide_tensor *x = in[0], *labels = in[1], *weight = in[2];
    tide_tensor *none = tide_t_scalar(t, (double)(a->base - 1), labels);
    if (a->ignore_class != TIDE_NONE) {
        tide_tensor *skip =
            tide_t(t, OP(equal), labels, tide_t_scalar(t, (double)a->ignore_class, labels));
        labels = tide_t(t, OP(where), skip, none, labels);
    }
    if (weight)
        labels =
            tide_t(t, OP(where), tide_t(t, OP(equal), weight, number(t, 0, weight)), none, labels);
    tide_tensor *hot = tide_t(t,
                              OP(one_hot, .num_classes = x->shape[a->axis], .axis = a->axis,
                                 .dtype = x->dtype, .base = a->base),
                              labels);
    tide_tensor *dot = tide_t(t, OP(multiply), hot, log_p(t, x, a->axis, a->from_logits));
    out[0] = tide_t(t, OP(negative), tide_t(t, OP(sum, .axis = TIDE_INTS(a->axis)), dot));
    if (weight) out[0] = tide_t(t, OP(multiply), out[0], weight);
    out[1] = statistic(t, x, a->axis, a->from_logits);
}

static void sparse_grad(tide_tape *t, const tide_node *n) {
    const tide_sparse_cross_entropy__attrs *a = (const void *)n->attrs;
    tide_tensor *x = tide_t_in(t, 0), *target = tide_t_in(t, 1), *weight = tide_t_in(t, 2),
                *dy = tide_t_dy(t, 0);
    if (tide_t_needs(t, 0))
        tide_t_give(t, 0,
                    tide_t(t,
                           OP(sparse_cross_entropy_grad_, .from_logits = a->from_logits,
                              .axis = a->axis, .base = a->base, .ignore_class = a->ignore_class),
                           dy, x, target, tide_t_out(t, 1), weight));
    if (tide_t_needs(t, 2)) { /* the loss without its weight */
        tide_tensor *two[2], *in[3] = {x, target, NULL};
        tide_sparse_cross_entropy__attrs plain = *a;
        tide_tn(t, TIDE_OP_sparse_cross_entropy_, &plain, 3, in, two);
        tide_t_give(t, 2, tide_t(t, OP(multiply), tide_t_wide(t, dy), tide_t_wide(t, two[0])));
    }
}

TIDE_DESCRIBE(sparse_cross_entropy_, .flags = TIDE_CONTIGUOUS | TIDE_FIRST_ORDER | TIDE_HALF,
              .infer = sparse_infer, .grad = sparse_grad, .compose = sparse_definition,
              .saves = TIDE_SAVE_IN(0) | TIDE_SAVE_IN(1) | TIDE_SAVE_IN(2) | TIDE_SAVE_OUT(1));

static tide_status like_output(tide_call *c) {
    c->meta[0] = tide_meta_of(c->in[1]);
    return TIDE_OK;
}
TIDE_DESCRIBE(sparse_cross_entropy_grad_,
              .flags = TIDE_CONTIGUOUS | TIDE_INTERNAL | TIDE_NOGRAD | TIDE_HALF,
              .infer = like_output);

/* -- distributions -- */

static void categorical_compose(tide_tape *t, const void *attrs, int nin, tide_tensor **in,
                                tide_tensor **out) {
    const tide_categorical_crossentropy_attrs *a = attrs;
    (void)nin;
    tide_tensor *two[2], *args[2] = {in[1], in[0]};
    tide_tn(t, OP(cross_entropy_, .from_logits = a->from_logits, .axis = a->axis), 2, args, two);
    out[0] = two[0];
}
TIDE_DESCRIBE(categorical_crossentropy, .compose = categorical_compose);

static tide_status cross_infer(tide_call *c) { /* output, target */
    tide_cross_entropy__attrs *a = c->attrs;
    TIDE_TRY(tide_axis(c, &a->axis, c->in[0]->rank));
    TIDE_TRY(target_fits(c, c->in[0], c->in[1]));
    with_statistic(c, a->axis);
    return TIDE_OK;
}

static void cross_compose(tide_tape *t, const void *attrs, int nin, tide_tensor **in,
                          tide_tensor **out) {
    const tide_cross_entropy__attrs *a = attrs;
    (void)nin;
    const tide_ints axis = {.n = 1, .v = {a->axis}};
    tide_tensor *target = in[1];
    if (a->label_smoothing != 0)
        target = plus(t, times(t, target, 1 - a->label_smoothing),
                      a->label_smoothing / (double)in[0]->shape[a->axis]);
    tide_tensor *dot = tide_t(t, OP(multiply), target, log_p(t, in[0], a->axis, a->from_logits));
    out[0] = tide_t(t, OP(negative), tide_t(t, OP(sum, .axis = axis), dot));
    out[1] = statistic(t, in[0], a->axis, a->from_logits);
}

static void cross_grad(tide_tape *t, const tide_node *n) {
    const tide_cross_entropy__attrs *a = (const void *)n->attrs;
    tide_tensor *x = tide_t_in(t, 0), *target = tide_t_in(t, 1), *dy = tide_t_dy(t, 0);
    if (tide_t_needs(t, 0))
        tide_t_give(t, 0,
                    tide_t(t,
                           OP(cross_entropy_grad_, .from_logits = a->from_logits, .axis = a->axis,
                              .label_smoothing = a->label_smoothing),
                           dy, x, target, tide_t_out(t, 1)));
    if (tide_t_needs(t, 1) && !tide_t_failed(t)) { /* -(1 - s) dy log p */
        tide_reshape_attrs r = *TIDE_ATTRS(reshape, .newshape.n = x->rank);
        for (int i = 0; i < x->rank; i++) r.newshape.v[i] = i == a->axis ? 1 : x->shape[i];
        tide_tensor *g = tide_t_wide(t, tide_t(t, TIDE_OP_reshape, &r, dy));
        tide_tensor *p = log_p(t, tide_t_wide(t, x), a->axis, a->from_logits);
        tide_t_give(t, 1, tide_t(t, OP(multiply), times(t, g, a->label_smoothing - 1), p));
    }
}

TIDE_DESCRIBE(cross_entropy_,
              .flags = TIDE_CONTIGUOUS | TIDE_PROMOTE | TIDE_FIRST_ORDER | TIDE_HALF,
              .infer = cross_infer, .grad = cross_grad, .compose = cross_compose,
              .saves = TIDE_SAVE_IN(0) | TIDE_SAVE_IN(1) | TIDE_SAVE_OUT(1));
TIDE_DESCRIBE(cross_entropy_grad_,
              .flags = TIDE_CONTIGUOUS | TIDE_INTERNAL | TIDE_NOGRAD | TIDE_HALF,
              .infer = like_output);

/* -- binary -- */

static tide_status binary_infer(tide_call *c) {
    TIDE_TRY(target_fits(c, c->in[1], c->in[0]));
    return tide_infer_same(c);
}

static void binary_compose(tide_tape *t, const void *attrs, int nin, tide_tensor **in,
                           tide_tensor **out) {
    const tide_binary_crossentropy_attrs *a = attrs;
    (void)nin;
    tide_tensor *y = in[0], *p = in[1];
    if (a->from_logits) { /* log(1 + exp(x)) - x y: a sigmoid rounds to 1, and log(0) is infinite */
        out[0] = tide_t(t, OP(subtract), tide_t(t, OP(softplus), p), tide_t(t, OP(multiply), p, y));
        return;
    }
    p = tide_t(t, OP(clip_, .x_min = 1e-7, .x_max = 1 - 1e-7), p);
    tide_tensor *not_y = plus(t, tide_t(t, OP(negative), y), 1),
                *not_p = plus(t, tide_t(t, OP(negative), p), 1);
    tide_tensor *sum = tide_t(t, OP(add), tide_t(t, OP(multiply), y, tide_t(t, OP(log), p)),
                              tide_t(t, OP(multiply), not_y, tide_t(t, OP(log), not_p)));
    out[0] = tide_t(t, OP(negative), sum);
}

static void binary_grad(tide_tape *t, const tide_node *n) {
    const tide_binary_crossentropy_attrs *a = (const void *)n->attrs;
    tide_tensor *y = tide_t_in(t, 0), *x = tide_t_in(t, 1), *dy = tide_t_dy(t, 0);
    if (tide_t_needs(t, 1))
        tide_t_give(
            t, 1,
            tide_t(t, OP(binary_crossentropy_grad_, .from_logits = a->from_logits), dy, y, x));
    if (!tide_t_needs(t, 0)) return;
    x = tide_t_wide(t, x), dy = tide_t_wide(t, dy);
    if (a->from_logits) { /* -x dy */
        tide_t_give(t, 0, tide_t(t, OP(negative), tide_t(t, OP(multiply), dy, x)));
        return;
    }
    tide_tensor *p =
        tide_t(t, OP(clip_, .x_min = 1e-7, .x_max = 1 - 1e-7), x); /* (log(1 - p) - log p) dy */
    tide_tensor *not_p = plus(t, tide_t(t, OP(negative), p), 1);
    tide_tensor *d = tide_t(t, OP(subtract), tide_t(t, OP(log), not_p), tide_t(t, OP(log), p));
    tide_t_give(t, 0, tide_t(t, OP(multiply), dy, d));
}

TIDE_DESCRIBE(binary_crossentropy,
              .flags = TIDE_CONTIGUOUS | TIDE_PROMOTE | TIDE_FIRST_ORDER | TIDE_HALF,
              .infer = binary_infer, .grad = binary_grad, .compose = binary_compose,
              .saves = TIDE_SAVE_IN(0) | TIDE_SAVE_IN(1));
static tide_status binary_grad_infer(tide_call *c) {
    c->meta[0] = tide_meta_of(c->in[2]);
    return TIDE_OK;
}
TIDE_DESCRIBE(binary_crossentropy_grad_,
              .flags = TIDE_CONTIGUOUS | TIDE_INTERNAL | TIDE_NOGRAD | TIDE_HALF,
              .infer = binary_grad_infer);

/* -- squared error: a mean per row of the last axis -- */

static tide_status squared_infer(tide_call *c) {
    const tide_tensor *x = c->in[0];
    TIDE_TRY(target_fits(c, x, c->in[1]));
    if (x->rank == 0) return tide_op_fail(c, TIDE_ESHAPE, "output needs an axis (got a scalar)");
    c->meta[0] = without_axis(x, x->rank - 1);
    return TIDE_OK;
}

static void squared_compose(tide_tape *t, const void *attrs, int nin, tide_tensor **in,
                            tide_tensor **out) {
    (void)attrs, (void)nin;
    const tide_ints last = {.n = 1, .v = {in[0]->rank - 1}};
    tide_tensor *e = tide_t(t, OP(subtract), in[0], in[1]);
    out[0] = tide_t(t, OP(mean, .axis = last), tide_t(t, OP(square), e));
}

/* What a mean or a sum hands down repeats one number: that number alone is enough. */
static tide_tensor *one_of_all(tide_tape *t, tide_tensor *dy) {
    for (int i = 0; dy && i < dy->rank; i++)
        if (dy->stride[i] != 0 && dy->shape[i] > 1) return dy;
    tide_tensor *one = NULL;
    if (!dy || tide_numel(dy) == 0) return dy;
    if (tide_view(tide_t_ctx(t), dy, 0, NULL, NULL, dy->offset, &one) != TIDE_OK) return dy;
    tide_t_keep(t, one);
    return one;
}

static void squared_grad(tide_tape *t, const tide_node *n) {
    (void)n;
    tide_tensor *x = tide_t_in(t, 0), *target = tide_t_in(t, 1);
    tide_tensor *dy = one_of_all(t, tide_t_dy(t, 0));
    tide_tensor *g = tide_t(t, OP(squared_error_grad_), dy, x, target);
    if (tide_t_needs(t, 0)) tide_t_give(t, 0, g);
    if (tide_t_needs(t, 1)) tide_t_give(t, 1, tide_t(t, OP(negative), g));
}

TIDE_DESCRIBE(squared_error_,
              .flags = TIDE_CONTIGUOUS | TIDE_PROMOTE | TIDE_FIRST_ORDER | TIDE_HALF,
              .infer = squared_infer, .grad = squared_grad, .compose = squared_compose,
              .saves = TIDE_SAVE_IN(0) | TIDE_SAVE_IN(1));
TIDE_DESCRIBE(squared_error_grad_,
              .flags = TIDE_CONTIGUOUS | TIDE_INTERNAL | TIDE_NOGRAD | TIDE_HALF,
              .infer = like_output);

/* -- CTC: the forward computes the gradient too (the same lattice), one matrix per sequence -- */

static tide_status ctc_public_infer(tide_call *c) {
    tide_ctc_loss_attrs *a = c->attrs;
    const tide_tensor *x = c->in[1];
    if (x->rank != 3)
        return tide_op_fail(c, TIDE_ESHAPE,
                            "output has three axes (expected (N, T, C), got %d axes)", x->rank);
    if (a->mask_index < 1 || a->mask_index > x->shape[2])
        return tide_op_fail(c, TIDE_EARG, "mask_index names a channel (expected 1..%ld, got %ld)",
                            (long)x->shape[2], (long)a->mask_index);
    return TIDE_OK;
}
static void ctc_compose(tide_tape *t, const void *attrs, int nin, tide_tensor **in,
                        tide_tensor **out) {
    const tide_ctc_loss_attrs *a = attrs;
    (void)nin;
    tide_tensor *two[2], *args[4] = {in[1], in[0], in[2], in[3]};
    tide_tn(t, OP(ctc_, .mask_index = a->mask_index - 1), 4, args, two);
    out[0] = two[0];
}
TIDE_DESCRIBE(ctc_loss, .infer = ctc_public_infer, .compose = ctc_compose);

static tide_status ctc_infer(tide_call *c) { /* output, target, target_length, output_length */
    const tide_tensor *x = c->in[0], *t = c->in[1];
    char buf[160];
    if (x->rank != 3)
        return tide_op_fail(c, TIDE_ESHAPE,
                            "output has three axes (expected (N, T, C), got %d axes)", x->rank);
    if (t->rank != 2 || t->shape[0] != x->shape[0])
        return tide_op_fail(c, TIDE_ESHAPE,
                            "target has one row of labels per sequence (expected [%ld, L], got %s)",
                            (long)x->shape[0], tide_shape_str(t->rank, t->shape, buf, sizeof buf));
    const tide_meta one = {.rank = 1, .dtype = x->dtype, .shape = {x->shape[0]}};
    TIDE_TRY(labels_fit(c, c->in[2], "target_length", &one));
    TIDE_TRY(labels_fit(c, c->in[3], "output_length", &one));
    c->meta[0] = one;
    c->meta[1] = tide_meta_of(x);
    return TIDE_OK;
}
static void ctc_grad(tide_tape *t, const tide_node *n) {
    (void)n;
    tide_tensor *dy = tide_t_dy(t, 0);
    if (tide_t_failed(t)) return;
    dy = tide_t(t, OP(reshape, .newshape = TIDE_INTS(dy->shape[0], 1, 1)), dy);
    tide_t_give(t, 0, tide_t(t, OP(multiply), dy, tide_t_out(t, 1)));
}
TIDE_DESCRIBE(ctc_, .flags = TIDE_CONTIGUOUS | TIDE_FIRST_ORDER | TIDE_INTERNAL, .infer = ctc_infer,
              .grad = ctc_grad, .saves = TIDE_SAVE_OUT(1));

static tide_status ctc_decode_infer(tide_call *c) {
    const tide_ctc_decode_attrs *a = c->attrs;
    const tide_tensor *x = c->in[0];
    if (x->rank != 3 || x->shape[2] < 1)
        return tide_op_fail(c, TIDE_ESHAPE, "x has three axes (expected (N, T, C), got %s)",
                            TIDE_SHAPE_OF(x));
    if (a->mask_index < 1 || a->mask_index > x->shape[2])
        return tide_op_fail(c, TIDE_EARG, "mask_index names a channel (expected 1..%ld, got %ld)",
                            (long)x->shape[2], (long)a->mask_index);
    const int beam = a->strategy == TIDE_DECODING_beam_search;
    if (beam && (a->beam_width < 1 || a->beam_width > 1 << 20))
        return tide_op_fail(c, TIDE_EARG, "beam_width must be 1 to 1048576 (got %ld)",
                            (long)a->beam_width);
    if (beam && (a->top_paths < 1 || a->top_paths > a->beam_width))
        return tide_op_fail(c, TIDE_EARG, "top_paths must be 1 to beam_width, %ld (got %ld)",
                            (long)a->beam_width, (long)a->top_paths);
    const tide_meta one = {.rank = 1, .dtype = x->dtype, .shape = {x->shape[0]}};
    TIDE_TRY(labels_fit(c, c->in[1], "sequence_lengths", &one));
    const int64_t paths = beam ? a->top_paths : 1;
    c->meta[0] =
        (tide_meta){.rank = 3, .dtype = TIDE_I32, .shape = {paths, x->shape[0], x->shape[1]}};
    c->meta[1] = (tide_meta){.rank = 2, .dtype = x->dtype, .shape = {x->shape[0], paths}};
    return TIDE_OK;
}
TIDE_DESCRIBE(ctc_decode, .flags = TIDE_CONTIGUOUS | TIDE_NOGRAD, .infer = ctc_decode_infer);

/* -- accuracies -- */

static tide_status sparse_accuracy_infer(tide_call *c) {
    tide_sparse_accuracy__attrs *a = c->attrs;
    TIDE_TRY(tide_axis(c, &a->axis, c->in[0]->rank));
    per_example(c, a->axis);
    return labels_fit(c, c->in[1], "target", &c->meta[0]);
}
TIDE_DESCRIBE(sparse_accuracy_, .flags = TIDE_CONTIGUOUS | TIDE_NOGRAD,
              .infer = sparse_accuracy_infer);

static tide_status categorical_accuracy_infer(tide_call *c) {
    tide_categorical_accuracy__attrs *a = c->attrs;
    TIDE_TRY(tide_axis(c, &a->axis, c->in[0]->rank));
    per_example(c, a->axis);
    return target_fits(c, c->in[0], c->in[1]);
}
TIDE_DESCRIBE(categorical_accuracy_, .flags = TIDE_CONTIGUOUS | TIDE_NOGRAD | TIDE_PROMOTE,
              .infer = categorical_accuracy_infer);

static tide_status top_k_infer(tide_call *c) {
    if (c->in[0]->rank < 1) return tide_op_fail(c, TIDE_ESHAPE, "output needs a class axis");
    per_example(c, c->in[0]->rank - 1);
    return labels_fit(c, c->in[1], "target", &c->meta[0]);
}
TIDE_DESCRIBE(top_k_accuracy_, .flags = TIDE_CONTIGUOUS | TIDE_NOGRAD, .infer = top_k_infer);
