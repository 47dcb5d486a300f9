/* Patches of pictures as columns and back, in torch's and Keras' channels-first form.
 *
 * unfold joins one strided part per tap of the kernel; fold adds the same parts up. Each is the
 * other's transpose. */
#include "helpers.h"

#include <stdlib.h>

typedef struct {
    int64_t n, c, in[2], k[2], dil[2], pad[2], stride[2], out[2];
} patches;

static tide_status pair(tide_call *c, const tide_ints *l, const char *what, int64_t least,
                        int64_t *out) {
    if (l->n != 1 && l->n != 2)
        return tide_op_fail(c, TIDE_EARG,
                            "%s has the wrong number of entries (expected 1 or 2, got %ld)", what,
                            (long)l->n);
    for (int i = 0; i < 2; i++) {
        out[i] = l->v[l->n == 1 ? 0 : i];
        if (out[i] < least || out[i] > INT32_MAX)
            return tide_op_fail(c, TIDE_EARG, "%s must be %ld or more (got %ld)", what, (long)least,
                                (long)out[i]);
    }
    return TIDE_OK;
}

/* in, k, dil, pad, stride -> out: positions of the kernel */
static int positions(patches *p) {
    for (int i = 0; i < 2; i++) {
        int64_t room = p->in[i] + 2 * p->pad[i] - ((p->k[i] - 1) * p->dil[i] + 1);
        if (room < 0) return 0;
        p->out[i] = room / p->stride[i] + 1;
    }
    return 1;
}

/* What tap (i, j) sees of the padded picture. */
#define PART(p, i, j)                                             \
    .start = TIDE_INTS(0, 0, (i) * (p).dil[0], (j) * (p).dil[1]), \
    .size = TIDE_INTS((p).n, (p).c, (p).out[0], (p).out[1]),      \
    .step = TIDE_INTS(1, 1, (p).stride[0], (p).stride[1])
#define INNER(p)                                      \
    .start = TIDE_INTS(0, 0, (p).pad[0], (p).pad[1]), \
    .size = TIDE_INTS((p).n, (p).c, (p).in[0], (p).in[1]), .step = TIDE_INTS(1, 1, 1, 1)
#define PADDED(p) \
    .shape = TIDE_INTS((p).n, (p).c, (p).in[0] + 2 * (p).pad[0], (p).in[1] + 2 * (p).pad[1])

/* -- unfold: (N, C, H, W) -> (N, C kh kw, positions) -- */

static patches unfold_patches(const tide_unfold_attrs *a, const tide_tensor *x) {
    patches p = {.n = x->shape[0], .c = x->shape[1], .in = {x->shape[2], x->shape[3]}};
    for (int i = 0; i < 2; i++) {
        p.k[i] = a->kernel_size.v[i], p.dil[i] = a->dilation.v[i], p.pad[i] = a->padding.v[i],
        p.stride[i] = a->stride.v[i];
    }
    positions(&p);
    return p;
}

static tide_status windows(tide_call *c, tide_ints *k, tide_ints *dil, tide_ints *pad,
                           tide_ints *stride, patches *p) {
    TIDE_TRY(pair(c, k, "kernel_size", 1, p->k));
    TIDE_TRY(pair(c, dil, "dilation", 1, p->dil));
    TIDE_TRY(pair(c, pad, "padding", 0, p->pad));
    TIDE_TRY(pair(c, stride, "stride", 1, p->stride));
    *k = (tide_ints){2, {p->k[0], p->k[1]}}, *dil = (tide_ints){2, {p->dil[0], p->dil[1]}};
    *pad = (tide_ints){2, {p->pad[0], p->pad[1]}},
    *stride = (tide_ints){2, {p->stride[0], p->stride[1]}};
    if (!positions(p))
        return tide_op_fail(c, TIDE_ESHAPE,
                            "the picture is smaller than the kernel (%ld x %ld with padding %ld x "
                            "%ld, kernel %ld x %ld)",
                            (long)p->in[0], (long)p->in[1], (long)p->pad[0], (long)p->pad[1],
                            (long)p->k[0], (long)p->k[1]);
    return TIDE_OK;
}

static tide_status unfold_infer(tide_call *c) {
    tide_unfold_attrs *a = c->attrs;
    const tide_tensor *x = c->in[0];
    char s[160];
    if (x->rank != 4)
        return tide_op_fail(c, TIDE_ESHAPE,
                            "x has the wrong number of axes (expected (N, C, H, W), got %s)",
                            tide_shape_str(x->rank, x->shape, s, sizeof s));
    patches p = {.in = {x->shape[2], x->shape[3]}};
    return windows(c, &a->kernel_size, &a->dilation, &a->padding, &a->stride, &p);
}

static void unfold_compose(tide_tape *t, const void *attrs, int nin, tide_tensor **in,
                           tide_tensor **out) {
    (void)nin;
    tide_tensor *x = in[0];
    patches p = unfold_patches(attrs, x);
    if (p.pad[0] || p.pad[1])
        x = tide_t(t, OP(index_put_, INNER(p)), tide_t(t, OP(fill_, PADDED(p), .dtype = x->dtype)),
                   x);
    const int64_t taps = p.k[0] * p.k[1], one[5] = {p.n, p.c, 1, p.out[0], p.out[1]};
    tide_tensor *all = NULL, **part = NULL;
    if (taps <= INT32_MAX) part = malloc((size_t)taps * sizeof *part);
    if (!part) {
        tide_t_fail(t, tide_fail(tide_t_ctx(t), TIDE_ENOMEM, "unfold: not enough memory"));
        return;
    }
    for (int64_t q = 0; q < taps && !tide_t_failed(t); q++)
        part[q] = shaped(t, tide_t(t, OP(index_, PART(p, q / p.k[1], q % p.k[1])), x), 5, one);
    if (!tide_t_failed(t)) tide_tn(t, OP(concatenate, .axis = 2), (int)taps, part, &all);
    free(part);
    if (tide_t_failed(t)) return;
    out[0] = shaped(t, all, 3, (int64_t[]){p.n, p.c * taps, p.out[0] * p.out[1]});
}
TIDE_DESCRIBE(unfold, .infer = unfold_infer, .compose = unfold_compose);

/* -- fold: (N, C kh kw, positions) -> (N, C, H, W), overlapping parts added -- */

static tide_status fold_infer(tide_call *c) {
    tide_fold_attrs *a = c->attrs;
    const tide_tensor *x = c->in[0];
    char s[160];
    patches p = {0};
    TIDE_TRY(pair(c, &a->output_size, "output_size", 1, p.in));
    a->output_size = (tide_ints){2, {p.in[0], p.in[1]}};
    TIDE_TRY(windows(c, &a->kernel_size, &a->dilation, &a->padding, &a->stride, &p));
    if (x->rank != 3 || x->shape[1] % (p.k[0] * p.k[1]) || x->shape[2] != p.out[0] * p.out[1])
        return tide_op_fail(c, TIDE_ESHAPE,
                            "x has the wrong shape (expected (N, a multiple of %ld, %ld), got %s)",
                            (long)(p.k[0] * p.k[1]), (long)(p.out[0] * p.out[1]),
                            tide_shape_str(x->rank, x->shape, s, sizeof s));
    return TIDE_OK;
}

static void fold_compose(tide_tape *t, const void *attrs, int nin, tide_tensor **in,
                         tide_tensor **out) {
    (void)nin;
    const tide_fold_attrs *a = attrs;
    tide_tensor *x = in[0];
    int64_t taps = a->kernel_size.v[0] * a->kernel_size.v[1];
    patches p = {.n = x->shape[0],
                 .c = x->shape[1] / taps,
                 .in = {a->output_size.v[0], a->output_size.v[1]}};
    for (int i = 0; i < 2; i++) {
        p.k[i] = a->kernel_size.v[i], p.dil[i] = a->dilation.v[i], p.pad[i] = a->padding.v[i],
        p.stride[i] = a->stride.v[i];
    }
    positions(&p);
    tide_tensor *all = tide_t(t, OP(fill_, PADDED(p), .dtype = x->dtype)),
                *cols = shaped(t, x, 5, (int64_t[]){p.n, p.c, taps, p.out[0], p.out[1]});
    for (int64_t q = 0; q < taps && !tide_t_failed(t); q++) {
        tide_tensor *tap = tide_t(t,
                                  OP(index_, .start = TIDE_INTS(0, 0, q, 0, 0),
                                     .size = TIDE_INTS(p.n, p.c, 1, p.out[0], p.out[1]),
                                     .step = TIDE_INTS(1, 1, 1, 1, 1), .drop = 4),
                                  cols);
        if (tide_t_failed(t)) return;
        const tide_index__attrs part = *TIDE_ATTRS(index_, PART(p, q / p.k[1], q % p.k[1]));
        tide_status st = tide_add_part(tide_t_ctx(t), all, &part, tap);
        if (st != TIDE_OK) tide_t_fail(t, st);
    }
    out[0] = p.pad[0] || p.pad[1] ? tide_t(t, OP(index_, INNER(p)), all) : all;
}
TIDE_DESCRIBE(fold, .infer = fold_infer, .compose = fold_compose);
