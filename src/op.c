/* The table of ops, and tide_apply: check, infer, allocate, launch, record.
 *
 * Invariant: on failure every output is NULL, the inputs are as before, and the context holds one
 * message. */
#include "op.h"

#include "device.h"
#include "plan.h"

#include <stdlib.h>
#include <string.h>

/* -- argument tables and texts of every op, expanded from the definition files -- */
#define ALSO(other, shape) shape, .also = #other
#define IN(n, shape, req) {.name = #n, .kind = TIDE_ARG_IN, .need = req, .def = shape},
#define INS(n, shape) {.name = #n, .kind = TIDE_ARG_INS, .need = REQUIRED, .def = shape},
#define AT(knd, n, dflt, text) \
    {.name = #n, .kind = TIDE_ARG_##knd, .offset = offsetof(attrs_t, n), .def = dflt, .doc = text},
#define EACH(op_name, kind, nout, text, ...)                                                    \
    const tide_arg *tide_args_##op_name(void) {                                                 \
        typedef tide_##op_name##_attrs attrs_t;                                                 \
        static const tide_arg table[] = {__VA_ARGS__{.name = NULL, .offset = sizeof(attrs_t)}}; \
        return table;                                                                           \
    }                                                                                           \
    const char tide_doc_##op_name[] = text;
#include "../kernels/each_op.h"

const tide_op *const tide_ops[TIDE_OP_COUNT] = {
#define EACH(name, ...) [TIDE_OP_##name] = &tide_op_##name,
#include "../kernels/each_op.h"
};

const tide_op *tide_op_find(const char *name) {
    for (int i = 0; i < TIDE_OP_COUNT; i++)
        if (!strcmp(tide_ops[i]->name, name)) return tide_ops[i];
    return NULL;
}

#define EACH(name, ...)                                               \
    _Static_assert((int)TIDE_NARGS_##name <= TIDE_MAX_ARGS &&         \
                       (int)TIDE_NIN_##name <= TIDE_MAX_IN &&         \
                       (int)TIDE_LISTS_##name <= TIDE_MAX_IN,         \
                   #name " has too many arguments");                  \
    _Static_assert((int)TIDE_NOUT_##name <= TIDE_MAX_OUT &&           \
                       sizeof(tide_##name##_attrs) <= TIDE_MAX_ATTRS, \
                   #name " has too many results or attributes");
#include "../kernels/each_op.h"

enum { FEW = 16 };

/* -- casts that an op asks for -- */

tide_status tide_cast_to(tide_ctx *ctx, tide_tensor *x, int dtype, tide_tensor **out) {
    return tide_apply(ctx, &tide_op_cast, TIDE_ATTRS(cast, .dtype = dtype), 1, &x, out);
}

static tide_status two_floats(tide_ctx *ctx, const tide_op *op, int a, int b) {
    return tide_fail(ctx, TIDE_EDTYPE,
                     "%s: %s and %s do not mix (expected one float dtype); cast one of them, e.g. "
                     "x:cast(\"%s\")",
                     op->name, tide_dtype_name(a), tide_dtype_name(b), tide_dtype_name(a));
}

/* The dtype that inputs are cast to, or -1. */
static tide_status common_dtype(tide_ctx *ctx, const tide_op *op, int nin, tide_tensor **in,
                                int *common) {
    *common = -1;
    if (op->flags & TIDE_PROMOTE) {
        int d = -1;
        for (int i = 0; i < nin; i++) {
            if (!in[i]) continue;
            int p = d < 0 ? in[i]->dtype : tide_promote(d, in[i]->dtype);
            if (p < 0) return two_floats(ctx, op, d, in[i]->dtype);
            d = p;
        }
        if (op->kind == TIDE_FLOAT_OP && d >= 0 && !tide_is_float(d)) d = TIDE_F32;
        *common = d;
    } else if (op->kind == TIDE_FLOAT_OP && nin > 0 && in[0] && !tide_is_float(in[0]->dtype) &&
               !tide_is_sparse(in[0])) {
        *common = TIDE_F32; /* the first input only */
    }
    return TIDE_OK;
}

/* -- tide_apply -- */

/* The one device on which the inputs are; the context's where there are none. Where one of them has
 * a shape alone, no more is needed of the others. */
static tide_status device_of_inputs(tide_ctx *ctx, const tide_op *op, int nin, tide_tensor **in,
                                    tide_device **out) {
    tide_device *dev = NULL;
    for (int i = 0; i < nin; i++) {
        tide_device *own = in[i] ? tide_device_of(in[i]) : NULL;
        if (own == dev || !own) continue;
        if (dev && (dev->no_elements || own->no_elements)) {
            if (own->no_elements) dev = own;
            continue;
        }
        if (dev)
            return tide_fail(ctx, TIDE_EDEVICE,
                             "%s: tensors are on different devices (%s and %s); move one, e.g. "
                             "x:to(\"%s\")",
                             op->name, tide_device_name(dev), tide_device_name(own),
                             tide_device_name(dev));
        dev = own;
    }
    *out = dev ? dev : ctx->device;
    return TIDE_OK;
}

static tide_status check_inputs(tide_ctx *ctx, const tide_op *op, int nin, tide_tensor **in,
                                int *nlist) {
    *nlist = op->lists ? (nin - op->nin) / op->lists : 0;
    if (nin != op->nin + op->lists * *nlist || (op->lists == 0 && nin != op->nin))
        return tide_fail(ctx, TIDE_EARG, "%s: %d tensors given, %d expected%s", op->name, nin,
                         op->nin, op->lists ? " beside equal lists" : "");
    for (int i = 0; i < *nlist; i++) /* of the first list; ops see to the others themselves */
        if (!in[op->nin + i])
            return tide_fail(ctx, TIDE_EARG, "%s: tensor %d of the list is missing (got false)",
                             op->name, i + 1);
    const tide_arg *a = op->args();
    for (int k = 0; k < op->nin; a++) {
        if (a->kind != TIDE_ARG_IN) continue;
        const tide_tensor *x = in[k++];
        if (!x && a->need != OPTIONAL)
            return tide_fail(ctx, TIDE_EARG, "%s: %s%s%s%s is missing (expected a tensor %s)",
                             op->name, a->name, TIDE_ALSO(a), a->def);
        if (a->need == INOUT && (!tide_is_contiguous(x) || x->shares)) /* no copy will do */
            return tide_fail(ctx, TIDE_EARG, "%s: %s is written in place and must %s", op->name,
                             a->name, tide_must_be(x));
    }
    return TIDE_OK;
}

/* Reserves counters for an op that draws: the attribute keeps where they start, so that backward
 * can draw them again. */
static tide_status reserve_rng(tide_ctx *ctx, const tide_op *op, void *attrs,
                               tide_tensor *const *in, const tide_meta *meta) {
    const tide_arg *a = op->args();
    for (int i = 0; i < op->nargs; i++)
        if (a[i].kind == TIDE_ARG_RNG) {
            tide_rng *r = (tide_rng *)(void *)((char *)attrs + a[i].offset);
            if (r->seed || r->stream || r->offset)
                return TIDE_OK; /* given: the caller's own stream */
            int64_t n = 1;
            for (int j = 0; j < meta->rank; j++) n *= meta->shape[j];
            if (op->draws && !(n = op->draws(attrs, in))) return TIDE_OK;
            return tide_draw(ctx, op->name, n, r);
        }
    return TIDE_OK;
}

/* A new contiguous tensor with x's elements, seen in the shape of the result. */
static tide_status view_of_copy(tide_call *c, tide_tensor **out) {
    tide_meta m = tide_meta_of(c->in[0]);
    tide_tensor *copy;
    int64_t stride[TIDE_MAX_RANK], n = 1;
    tide_device *dev = tide_device_of(c->in[0]);
    TIDE_TRY(tide_new_on(c->ctx, dev ? dev : c->ctx->device, &m, &copy));
    tide_status st = tide_run_into(c->ctx, &tide_op_copy, TIDE_ATTRS(copy), 1, c->in, copy);
    for (int i = c->meta[0].rank - 1; i >= 0; i--) {
        stride[i] = n;
        n *= c->meta[0].shape[i] > 0 ? c->meta[0].shape[i] : 1;
    }
    if (st == TIDE_OK)
        st = tide_view(c->ctx, copy, c->meta[0].rank, c->meta[0].shape, stride, 0, out);
    tide_release(copy);
    return st;
}

static tide_status apply_view(tide_call *c, tide_tensor **out) {
    int64_t n;
    if (c->meta[0].rank > TIDE_MAX_RANK)
        return tide_op_fail(c, TIDE_ESHAPE, "more than %d axes", TIDE_MAX_RANK);
    TIDE_TRY(tide_numel_of(c, c->meta[0].rank, c->meta[0].shape, &n));
    if (c->view_copy) return view_of_copy(c, out);
    return tide_view(c->ctx, c->in[0], c->meta[0].rank, c->meta[0].shape, c->view_stride,
                     c->view_offset, out);
}

static tide_status apply_compose(tide_ctx *ctx, const tide_op *op, const void *attrs, int nin,
                                 tide_tensor **in, tide_tensor **out);

/* -- the everyday call: one result, from inputs that are as the op wants them. It
 * does what apply_plain and tide_launch would, and asks nothing that is known by then -- */

enum { EVERYDAY_MOST = 4 };  /* inputs */
enum { EVERYDAY = 1, ASKS }; /* ASKS: if nothing is asked of the call that the op declares */
static uint8_t everyday[TIDE_OP_COUNT];

void tide_everyday_fill(const tide_op *op) {
    const tide_arg *a = op->args();
    int is = op->nin > 0 && op->nin <= EVERYDAY_MOST && op->nout == 1 && !op->lists &&
        op->kind != TIDE_COMPOSE_OP && !op->measure && !op->before && !op->after &&
        !(op->flags & (TIDE_INPLACE | TIDE_LAGS)) && !tide_inout(op);
    for (int i = 0; i < op->nargs; i++) is &= a[i].kind != TIDE_ARG_RNG;
    everyday[op->id] = (uint8_t)(is ? tide_declares(op) ? ASKS : EVERYDAY : 0);
}

static int is_everyday(const tide_ctx *ctx, const tide_op *op, const void *attrs, int nin,
                       tide_tensor *const *in, tide_device **dev, int *needs) {
    const unsigned flags = op->flags;
    *dev = NULL, *needs = 0;
    if (!everyday[op->id] || nin != op->nin || ctx->profile || ctx->recorder || ctx->steps ||
        (everyday[op->id] == ASKS && tide_asks(op, attrs)))
        return 0;
    for (int i = 0; i < nin; i++) {
        const tide_tensor *x = in[i];
        if (!x || !x->storage || x->storage->lag || tide_is_half(x->dtype)) return 0;
        if (x->storage->dev && *dev && x->storage->dev != *dev) return 0;
        if (x->storage->dev) *dev = x->storage->dev;
        if (flags & TIDE_PROMOTE && x->dtype != in[0]->dtype) return 0;
        if (flags & TIDE_CONTIGUOUS && !tide_is_contiguous(x)) return 0;
        if (x->is_view && tide_is_old_view(x)) return 0;
        *needs |= tide_needs_grad(x);
    }
    *needs &= ctx->grad_mode && !(flags & TIDE_NOGRAD);
    if (*needs && op->composed && op->composed(attrs)) return 0;
    return *dev && !(*dev)->no_elements &&
        (op->kind != TIDE_FLOAT_OP || tide_is_float(in[0]->dtype));
}

static tide_status apply_everyday(tide_ctx *ctx, tide_device *dev, const tide_op *op,
                                  const void *attrs, int nin, tide_tensor **in, int needs,
                                  tide_tensor **out) {
    _Alignas(16) unsigned char a[TIDE_MAX_ATTRS];
    tide_meta meta;
    memcpy(a, attrs, op->attrs_size);
    tide_call c = {.ctx = ctx, .op = op, .attrs = a, .in = in, .nin = nin, .meta = &meta};
    if (op->infer) TIDE_TRY(op->infer(&c));
    TIDE_TRY(tide_new_on(ctx, dev, &meta, out));
    const tide_step step = {
        .op = op, .attrs = a, .nin = nin, .nout = 1, .may_stop = 1, .in = in, .out = out};
    tide_status st = tide_launch_everyday(ctx, &step);
    if (st == TIDE_OK && needs) st = tide_record(ctx, op, a, nin, 0, in, out);
    if (st != TIDE_OK) {
        tide_release(*out);
        *out = NULL;
    }
    return st;
}

/* With inputs that are as the op wants them, on `dev`. */
static tide_status apply_plain(tide_ctx *ctx, tide_device *dev, const tide_op *op,
                               const void *attrs, int nin, int nlist, tide_tensor **in,
                               tide_tensor **out) {
    if (op->kind == TIDE_COMPOSE_OP) { /* what it makes without inputs stands beside them */
        tide_device *was = tide_default_device(ctx, dev);
        const tide_status st = apply_compose(ctx, op, attrs, nin, in, out);
        tide_default_device(ctx, was);
        return st;
    }
    _Alignas(16) unsigned char a[TIDE_MAX_ATTRS];
    tide_meta meta[TIDE_MAX_OUT];
    memcpy(a, attrs, op->attrs_size);
    tide_call c = {
        .ctx = ctx, .op = op, .attrs = a, .in = in, .nin = nin, .nlist = nlist, .meta = meta};
    const int differentiable = ctx->grad_mode && !(op->flags & TIDE_NOGRAD);
    int any = 0;
    for (int i = 0; i < nin && differentiable; i++) {
        if (!in[i]) continue;
        any |= tide_needs_grad(in[i]);
        if (tide_is_old_view(in[i])) return tide_old_view(ctx, op->name);
    }
    if (any && op->composed && op->composed(attrs))
        return apply_compose(ctx, op, attrs, nin, in, out);
    if (op->kind == TIDE_VIEW_OP) c.view_offset = in[0]->offset;
    if (op->infer) TIDE_TRY(op->infer(&c));
    for (int i = 0; i < nin && op->measure; i++)
        if (in[i]) TIDE_TRY(tide_need_elements(ctx, in[i], op->name));
    if (op->measure) TIDE_TRY(op->measure(&c));
    int made = 0;
    tide_status st = TIDE_OK;
    if (op->kind == TIDE_VIEW_OP) {
        TIDE_TRY(apply_view(&c, out));
        if (op->flags & TIDE_NOGRAD) (*out)->view_version = TIDE_DETACHED;
        made = 1;
    } else {
        if (!dev->no_elements)
            TIDE_TRY(reserve_rng(ctx, op, a, in, op->nout ? meta : &(tide_meta){0}));
        for (; made < op->nout && st == TIDE_OK; made++)
            st = tide_new_on(ctx, dev, &meta[made], &out[made]);
        if (st != TIDE_OK) made--; /* the one that failed is NULL already */
        const tide_step step = {.op = op,
                                .attrs = a,
                                .nin = nin,
                                .nout = op->nout,
                                .nlist = nlist,
                                .may_stop = !(op->flags & TIDE_INPLACE) && !tide_inout(op),
                                .in = in,
                                .out = out};
        if (st == TIDE_OK) st = tide_launch(ctx, &step);
        if (st == TIDE_OK && ctx->recorder) tide_recorder_note(ctx, &step);
        if (st == TIDE_OK && ctx->steps && !dev->no_elements) st = tide_steps_add(ctx, &step);
    }
    if (st == TIDE_OK && any) st = tide_record(ctx, op, a, nin, nlist, in, out);
    if (st != TIDE_OK)
        for (int i = 0; i < made; i++) {
            tide_release(out[i]);
            out[i] = NULL;
        }
    return st;
}

tide_status tide_apply(tide_ctx *ctx, const tide_op *op, const void *attrs, int nin,
                       tide_tensor **in, tide_tensor **out) {
    int nlist, needs;
    tide_device *dev;
    if (op->nout) out[0] = NULL;
    for (int i = 1; i < op->nout; i++) out[i] = NULL;
    TIDE_TRY(tide_go_on(ctx));
    if (is_everyday(ctx, op, attrs, nin, in, &dev, &needs))
        return op->kind == TIDE_VIEW_OP ? apply_plain(ctx, dev, op, attrs, nin, 0, in, out)
                                        : apply_everyday(ctx, dev, op, attrs, nin, in, needs, out);
    TIDE_TRY(check_inputs(ctx, op, nin, in, &nlist));
    for (int i = 0; i < nin && !(op->flags & TIDE_SPARSE); i++)
        if (in[i] && tide_is_sparse(in[i]))
            return tide_fail(ctx, TIDE_EGRAD,
                             "%s: does not take a sparse gradient; densify it first", op->name);
    return tide_asks(op, attrs) ? tide_apply_asked(ctx, op, attrs, nlist, nin, in, out)
                                : tide_apply_bare(ctx, op, attrs, nlist, nin, in, out);
}

tide_status tide_apply_bare(tide_ctx *ctx, const tide_op *op, const void *attrs, int nlist, int nin,
                            tide_tensor **in, tide_tensor **out) {
    int common;
    tide_device *dev = NULL;
    TIDE_TRY(device_of_inputs(ctx, op, nin, in, &dev));
    TIDE_TRY(common_dtype(ctx, op, nin, in, &common));

    /* Casts and contiguous copies are ops of their own, so that gradients pass through them. */
    tide_tensor *few[FEW], **use = in, **made = NULL;
    int changed = 0;
    for (int i = 0; i < nin; i++) {
        if (!in[i] || !in[i]->storage) continue;
        int to = i > 0 && !(op->flags & TIDE_PROMOTE) ? -1 : common;
        changed |= (to >= 0 && in[i]->dtype != to) ||
            (op->flags & TIDE_CONTIGUOUS && !tide_is_contiguous(in[i]));
        if (tide_is_half(in[i]->dtype) && !(op->flags & TIDE_HALF) && tide_written(op, nlist, i))
            return tide_fail(ctx, TIDE_EDTYPE,
                             "%s: writes in place, and not into %s (expected float32 or float64)",
                             op->name, tide_dtype_name(in[i]->dtype));
    }
    if (!changed) return apply_plain(ctx, dev, op, attrs, nin, nlist, in, out);

    made = nin <= FEW ? few : malloc((size_t)nin * sizeof *made);
    if (!made) return tide_fail(ctx, TIDE_ENOMEM, "%s: not enough memory", op->name);
    use = made;
    tide_status st = TIDE_OK;
    int n = 0;
    for (; n < nin && st == TIDE_OK; n++) {
        use[n] = tide_retain(in[n]);
        if (!in[n] || !in[n]->storage) continue;
        int to = n > 0 && !(op->flags & TIDE_PROMOTE) ? -1 : common;
        tide_tensor *next = NULL;
        if (to >= 0 && in[n]->dtype != to) {
            st = tide_cast_to(ctx, use[n], to, &next);
            tide_release(use[n]);
            use[n] = next;
        }
        if (st == TIDE_OK && op->flags & TIDE_CONTIGUOUS && !tide_is_contiguous(use[n])) {
            st = tide_apply(ctx, &tide_op_copy, TIDE_ATTRS(copy), 1, &use[n], &next);
            tide_release(use[n]);
            use[n] = next;
        }
    }
    if (st == TIDE_OK) st = apply_plain(ctx, dev, op, attrs, nin, nlist, use, out);
    for (int i = 0; i < n; i++) tide_release(use[i]);
    if (made != few) free(made);
    return st;
}

/* -- compositions of halves in float32 -- */

/* How many parts of the axis go together, so that the float32 form of x stays within some
 * megabytes: all where no axis is apart. */
int64_t tide_parts_of(const tide_op *op, const void *attrs, const tide_tensor *x, int *axis,
                      int *out_axis) {
    enum { BYTES = 2 << 20 };
    *axis = op->apart && tide_is_half(x->dtype) ? op->apart(attrs, x, out_axis) : -1;
    if (*axis < 0) return -1;
    const int64_t n = x->shape[*axis], all = tide_numel(x) * (int64_t)sizeof(float);
    if (all <= BYTES) return *axis = -1;
    const int64_t most = TIDE_MAX(1, BYTES / TIDE_MAX(1, all / n));
    return TIDE_CEIL_DIV(n, TIDE_CEIL_DIV(n, most));
}

/* n places of an axis, as a view without a node. */
static tide_status part_of(tide_ctx *ctx, tide_tensor *x, int axis, int64_t lo, int64_t n,
                           tide_tensor **out) {
    int64_t shape[TIDE_MAX_RANK];
    memcpy(shape, x->shape, sizeof shape);
    shape[axis] = n;
    return tide_view(ctx, x, x->rank, shape, x->stride, x->offset + lo * x->stride[axis], out);
}

tide_status tide_part_wide(tide_ctx *ctx, tide_tensor *x, int axis, int64_t lo, int64_t n,
                           tide_tensor **out) {
    tide_tensor *part = NULL;
    TIDE_TRY(part_of(ctx, x, axis, lo, n, &part));
    const tide_status st = tide_cast_to(ctx, part, TIDE_F32, out);
    tide_release(part);
    return st;
}

tide_status tide_part_put(tide_ctx *ctx, tide_tensor *from, tide_tensor *x, int axis, int64_t lo) {
    tide_tensor *part = NULL;
    TIDE_TRY(part_of(ctx, x, axis, lo, from->shape[axis], &part));
    const tide_status st = tide_copy_into(ctx, part, from);
    tide_release(part);
    return st;
}

/* in[0] is in halves, of which `some` parts are composed at a time; the others are float32. */
static tide_status compose_parts(tide_ctx *ctx, const tide_op *op, const void *attrs, int nin,
                                 tide_tensor **in, tide_tensor **wide, int axis, int out_axis,
                                 int64_t some, tide_tensor **out) {
    tide_tensor *x = in[0], *part[TIDE_MAX_OUT] = {0};
    tide_status st = TIDE_OK;
    for (int64_t lo = 0; lo < x->shape[axis] && st == TIDE_OK; lo += some) {
        st = tide_part_wide(ctx, x, axis, lo, TIDE_MIN(some, x->shape[axis] - lo), &wide[0]);
        if (st == TIDE_OK) st = tide_compose(ctx, op, attrs, nin, wide, part);
        tide_release(wide[0]);
        wide[0] = NULL;
        for (int i = 0; i < op->nout && st == TIDE_OK; i++) {
            tide_meta m = tide_meta_of(part[i]);
            m.dtype = x->dtype, m.shape[out_axis] = x->shape[axis];
            if (!out[i]) st = tide_new_on(ctx, tide_device_of(x), &m, &out[i]);
            if (st == TIDE_OK) st = tide_part_put(ctx, part[i], out[i], out_axis, lo);
        }
        for (int i = 0; i < op->nout; i++) tide_release(part[i]), part[i] = NULL;
    }
    return st;
}

/* What has halves is composed in float32 and recorded as one node, which keeps the halves; its rule
 * composes again (tide_compose_grad). */
static tide_status compose_wide(tide_ctx *ctx, const tide_op *op, const void *attrs, int nin,
                                tide_tensor **in, tide_tensor **out) {
    tide_tensor *wide[FEW] = {0};
    const int was = tide_grad_mode(ctx, 0);
    tide_status st = TIDE_OK;
    int half = -1, needs = 0, n = 0, axis, out_axis = 0;
    const int64_t some = tide_parts_of(op, attrs, in[0], &axis, &out_axis);
    for (; n < nin && st == TIDE_OK; n++) {
        if (!in[n]) continue;
        const int dtype = in[n]->dtype;
        if (tide_is_float(dtype)) {
            if (half >= 0 && dtype != half) st = two_floats(ctx, op, half, dtype);
            half = dtype;
        }
        if (st == TIDE_OK && was && tide_is_old_view(in[n])) st = tide_old_view(ctx, op->name);
        needs |= tide_needs_grad(in[n]);
        if (st != TIDE_OK) break;
        if (n == 0 && axis >= 0) continue;
        if (tide_is_half(dtype)) st = tide_cast_to(ctx, in[n], TIDE_F32, &wide[n]);
        else wide[n] = tide_retain(in[n]);
    }
    for (int i = 0; i < op->nout; i++) out[i] = NULL;
    if (st == TIDE_OK && axis >= 0)
        st = compose_parts(ctx, op, attrs, nin, in, wide, axis, out_axis, some, out);
    else if (st == TIDE_OK) st = tide_compose(ctx, op, attrs, nin, wide, out);
    for (int i = 0; i < op->nout && st == TIDE_OK && axis < 0; i++) {
        tide_tensor *y = out[i];
        st = tide_cast_to(ctx, y, half, &out[i]);
        tide_release(y);
    }
    for (int i = 0; i < nin; i++) tide_release(wide[i]);
    tide_grad_mode(ctx, was);
    if (st == TIDE_OK && was && needs) st = tide_record(ctx, op, attrs, nin, 0, in, out);
    for (int i = 0; i < op->nout && st != TIDE_OK; i++) tide_release(out[i]), out[i] = NULL;
    return st;
}

static tide_status apply_compose(tide_ctx *ctx, const tide_op *op, const void *attrs, int nin,
                                 tide_tensor **in, tide_tensor **out) {
    _Alignas(16) unsigned char a[TIDE_MAX_ATTRS];
    tide_meta meta[TIDE_MAX_OUT];
    memcpy(a, attrs, op->attrs_size);
    if (op->infer) { /* optional: checks and normalises */
        tide_call c = {.ctx = ctx,
                       .op = op,
                       .attrs = a,
                       .in = in,
                       .nin = nin,
                       .nlist = op->lists ? (nin - op->nin) / op->lists : 0,
                       .meta = meta};
        TIDE_TRY(op->infer(&c));
    }
    for (int i = 0; i < nin && op->flags & TIDE_WIDE; i++)
        if (in[i] && tide_is_half(in[i]->dtype)) return compose_wide(ctx, op, a, nin, in, out);
    return tide_compose(ctx, op, a, nin, in, out);
}
