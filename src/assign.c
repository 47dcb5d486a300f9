/* Writes into tensors that the tape knows of: values that are assigned with their gradient, and
 * what is refused because a gradient would be lost.
 *
 * Invariant: a tensor that takes over a recorded value has the node of that value, and views of
 * its memory that were made before are told from those made after by the storage's `taken`. */
#include "tape.h"

tide_status tide_old_view(tide_ctx *ctx, const char *what) {
    return tide_fail(ctx, TIDE_EGRAD,
                     "%s: a view that was made before its tensor took over a value with a gradient "
                     "shows the numbers without the gradient; make the view again",
                     what);
}

tide_status tide_may_write(tide_ctx *ctx, const tide_tensor *t, const char *what) {
    if (!ctx->grad_mode) return TIDE_OK;
    if (tide_is_old_view(t)) return tide_old_view(ctx, what);
    if (!tide_needs_grad(t)) return TIDE_OK;
    if (!t->node)
        return tide_fail(ctx, TIDE_EGRAD,
                         "%s: a leaf that requires a gradient cannot be written in place while "
                         "gradients are recorded; use ops.slice_update, or tide.no_grad",
                         what);
    if (t->is_view)
        return tide_fail(ctx, TIDE_EGRAD,
                         "%s: a view that carries a gradient cannot be written in place; use "
                         "ops.slice_update",
                         what);
    return TIDE_OK;
}

/* What is recorded leads its gradient back to v: that must be where t is. */
static tide_status check_giver(tide_ctx *ctx, const tide_tensor *t, const tide_tensor *v,
                               const char *what) {
    tide_device *dev = tide_device_of(v);
    if (!dev || dev == tide_device_of(t)) return TIDE_OK;
    return tide_fail(ctx, TIDE_EDEVICE,
                     "%s: the value carries a gradient and is on device %s (expected %s); no "
                     "gradient passes from one device to another, detach() it first",
                     what, tide_device_name(dev), tide_device_name(tide_device_of(t)));
}

/* A view has no node of its own to take: its tensor would show the numbers without the gradient. */
static tide_status check_taker(tide_ctx *ctx, const tide_tensor *t, const char *what) {
    if (!t->is_view) return TIDE_OK;
    return tide_fail(ctx, TIDE_EGRAD,
                     "%s: a view cannot take over a value that carries a gradient: what it is a "
                     "view of would not; copy it first, or use ops.slice_update",
                     what);
}

/* `v` with the dtype and the shape asked for; new. The steps there are recorded. */
static tide_status fitted(tide_ctx *ctx, tide_tensor *v, int dtype, const tide_ints *shape,
                          tide_tensor **out) {
    tide_tensor *x = tide_retain(v);
    tide_status st = TIDE_OK;
    *out = NULL;
    if (x->dtype != dtype) {
        tide_release(x);
        x = NULL;
        st = tide_apply(ctx, &tide_op_cast, TIDE_ATTRS(cast, .dtype = dtype), 1, &v, &x);
    }
    if (st == TIDE_OK) {
        tide_broadcast_to_attrs a = *TIDE_ATTRS(broadcast_to, .shape = *shape);
        st = tide_apply(ctx, &tide_op_broadcast_to, &a, 1, &x, out);
    }
    tide_release(x);
    return st;
}

/* What the node saved of the storage that is about to be overwritten is kept as a copy; what was
 * changed before stays as it is, and its rule refuses it. */
static tide_status keep_saved(tide_ctx *ctx, tide_node *n, const tide_storage *storage) {
    for (int i = 0; i < n->nin; i++) {
        tide_edge *e = &n->in[i];
        if (!e->saved || e->saved->storage != storage || e->version != storage->version) continue;
        tide_tensor *copy = NULL;
        int was = tide_grad_mode(ctx, 0);
        tide_status st = tide_apply(ctx, &tide_op_copy, TIDE_ATTRS(copy), 1, &e->saved, &copy);
        tide_grad_mode(ctx, was);
        if (st != TIDE_OK) return st;
        if (e->saved->node) e->saved->node->refs++;
        copy->node = e->saved->node;
        copy->out_index = e->saved->out_index;
        copy->requires_grad = e->saved->requires_grad;
        tide_release(e->saved);
        e->saved = copy;
        e->version = copy->storage->version;
    }
    return TIDE_OK;
}

tide_status tide_assign(tide_ctx *ctx, tide_tensor *t, tide_tensor *v, const char *what) {
    TIDE_TRY(tide_may_write(ctx, t, what));
    if (!ctx->grad_mode || !tide_is_float(t->dtype) || (!t->node && !tide_needs_grad(v)))
        return tide_copy_into(ctx, t, v);
    tide_tensor *value = NULL;
    tide_status st = TIDE_OK;
    if (tide_needs_grad(v)) {
        TIDE_TRY(check_taker(ctx, t, what));
        TIDE_TRY(check_giver(ctx, t, v, what));
    }
    if (v->node && v->dtype == t->dtype && tide_same_shape(t, v)) {
        value = tide_retain(v);
    } else {
        tide_ints shape = {.n = t->rank};
        for (int i = 0; i < t->rank; i++) shape.v[i] = t->shape[i];
        st = fitted(ctx, v, t->dtype, &shape, &value);
    }
    if (st == TIDE_OK && value->node) st = keep_saved(ctx, value->node, t->storage);
    if (st == TIDE_OK) st = tide_copy_into(ctx, t, value);
    if (st == TIDE_OK && t->node != value->node) { /* the old value goes, and its gradient */
        if (value->node) value->node->refs++;
        if (t->node) tide_node_unref(ctx, t->node);
        t->node = value->node;
    }
    if (st == TIDE_OK && value->node) {
        t->out_index = value->out_index;
        t->storage->taken = t->storage->version;
    }
    tide_release(value);
    return st;
}

/* The part is written in place, and recorded as if index_put_ had made a new tensor: its rule
 * needs no value, so that nothing is copied but the part. */
tide_status tide_assign_part(tide_ctx *ctx, tide_tensor *t, const tide_index__attrs *part,
                             tide_tensor *v, const char *what) {
    tide_tensor *view = NULL, *value = NULL;
    TIDE_TRY(tide_may_write(ctx, t, what));
    const int record = ctx->grad_mode && tide_is_float(t->dtype) && (t->node || tide_needs_grad(v));
    if (record && tide_needs_grad(v)) {
        TIDE_TRY(check_taker(ctx, t, what));
        TIDE_TRY(check_giver(ctx, t, v, what));
    }
    const int was = tide_grad_mode(ctx, 0);
    tide_status st = tide_apply(ctx, &tide_op_index_, part, 1, &t, &view);
    tide_grad_mode(ctx, was);
    if (st != TIDE_OK) return st;
    if (!record) {
        st = tide_copy_into(ctx, view, v);
        tide_release(view);
        return st;
    }
    if (v->dtype == t->dtype && tide_same_shape(view, v)) {
        value = tide_retain(v);
    } else {
        tide_ints shape = {.n = view->rank};
        for (int i = 0; i < view->rank; i++) shape.v[i] = view->shape[i];
        st = fitted(ctx, v, t->dtype, &shape, &value);
    }
    tide_node *before = t->node;
    const int index = t->out_index;
    if (st == TIDE_OK) { /* first: a value that is a view of t is still the one that was seen */
        const tide_index_put__attrs put =
            *TIDE_ATTRS(index_put_, .start = part->start, .size = part->size, .step = part->step,
                        .drop = part->drop);
        tide_tensor *in[2] = {t, value};
        st = tide_record(ctx, &tide_op_index_put_, &put, 2, 0, in, &t);
    }
    if (st == TIDE_OK) {
        st = tide_copy_into(ctx, view, value);
        tide_node *other = before;
        if (st == TIDE_OK) t->storage->taken = t->storage->version;
        else other = t->node, t->node = before, t->out_index = index;
        if (other && other != t->node) tide_node_unref(ctx, other);
    }
    tide_release(value);
    tide_release(view);
    return st;
}

static void add_part_grad(tide_tape *t, const tide_node *n) {
    tide_t_give(t, 0, tide_t_dy(t, 0));
    if (tide_t_needs(t, 1)) tide_t_give(t, 1, tide_t(t, TIDE_OP_index_, n->attrs, tide_t_dy(t, 0)));
}

/* The op of nodes of tide_add_part. */
static const tide_op add_part_op = {.name = "add_part",
                                    .doc = "",
                                    .id = -1,
                                    .nin = 2,
                                    .nout = 1,
                                    .grad = add_part_grad,
                                    .attrs_size = sizeof(tide_index__attrs),
                                    .flags = TIDE_INTERNAL};

tide_status tide_add_part(tide_ctx *ctx, tide_tensor *t, const tide_index__attrs *part,
                          tide_tensor *v) {
    tide_tensor *view = NULL, *pair[2] = {t, v};
    tide_node *before = t->node;
    tide_status st = TIDE_OK;
    if (ctx->grad_mode && (before || tide_needs_grad(v)))
        st = tide_record(ctx, &add_part_op, part, 2, 0, pair, &t);
    if (before && t->node != before) tide_node_unref(ctx, before);
    const int was = tide_grad_mode(ctx, 0);
    if (st == TIDE_OK) st = tide_apply(ctx, &tide_op_index_, part, 1, &t, &view);
    pair[0] = view;
    if (st == TIDE_OK) st = tide_run_into(ctx, &tide_op_add, TIDE_ATTRS(add), 2, pair, view);
    tide_grad_mode(ctx, was);
    t->view_version = t->storage->version;
    tide_release(view);
    return st;
}

tide_status tide_set_grad(tide_ctx *ctx, tide_tensor *t, tide_tensor *g) {
    tide_tensor *plain = NULL;
    char a[160], b[160];
    if (g &&
        !(g->dtype == t->dtype && tide_same_shape(g, t))) /* backward adds into it as it stands */
        return tide_fail(
            ctx, TIDE_EARG,
            "grad: the gradient has another form than its tensor (expected %s %s, got %s %s)",
            tide_dtype_name(t->dtype), tide_shape_str(t->rank, t->shape, a, sizeof a),
            tide_dtype_name(g->dtype), tide_shape_str(g->rank, g->shape, b, sizeof b));
    if (g && tide_device_of(g) != tide_device_of(t))
        return tide_fail(ctx, TIDE_EDEVICE,
                         "grad: the gradient is on another device than its tensor (expected %s, "
                         "got %s); move it by to(\"%s\")",
                         tide_device_name(tide_device_of(t)), tide_device_name(tide_device_of(g)),
                         tide_device_name(tide_device_of(t)));
    /* without a gradient of its own: nothing can hold itself */
    if (g) TIDE_TRY(tide_detach(ctx, g, &plain));
    tide_release(t->grad);
    t->grad = plain;
    return TIDE_OK;
}

tide_status tide_dense_grad(tide_ctx *ctx, tide_tensor *t, tide_tensor **out) {
    *out = NULL;
    if (t->grad && tide_is_sparse(t->grad)) {
        tide_tensor *dense = NULL;
        TIDE_TRY(tide_densify(ctx, t->grad, &dense));
        tide_release(t->grad);
        t->grad = dense;
    }
    *out = tide_retain(t->grad);
    return TIDE_OK;
}

tide_status tide_require_grad(tide_ctx *ctx, tide_tensor *t, int on, const char *what) {
    if (t->node)
        return tide_fail(ctx, TIDE_EGRAD, "%s: only leaves can be told; detach() the tensor first",
                         what);
    if (on && !tide_is_float(t->dtype))
        return tide_fail(ctx, TIDE_EDTYPE, "%s: only float tensors have gradients (got %s)", what,
                         tide_dtype_name(t->dtype));
    t->requires_grad = on != 0;
    return TIDE_OK;
}
