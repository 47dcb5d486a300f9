/* Attention of several heads: softmax(scale query key' + bias) value, with groups of query heads
 * that share a head of key and value (Vaswani et al. 2017; Ainslie et al. 2023).
 *
 * The op keeps its result and one number per query; `compose` is the same thing with the matrix of
 * scores, oracle and source of second derivatives. What is dropped follows from the counters and
 * the place in the matrix of scores (B, H, T, S), as dropout of that matrix would have it. */
#include "helpers.h"

#include <float.h>
#include <string.h>

/* Whether x, if there is one, broadcasts to (B, H, T, S). */
static tide_status broadcasts(tide_call *c, int i, const int64_t *full, int dtype) {
    const tide_tensor *x = c->in[i];
    const char *name = c->op->args()[i].name;
    char want[160];
    if (!x) return TIDE_OK;
    int fits = x->rank == 4;
    for (int k = 0; k < 4 && fits; k++) fits = x->shape[k] == 1 || x->shape[k] == full[k];
    if (!fits)
        return tide_op_fail(c, TIDE_ESHAPE,
                            "%s does not broadcast to the scores (expected %s, got %s)", name,
                            tide_shape_str(4, full, want, sizeof want), TIDE_SHAPE_OF(x));
    if (x->dtype != dtype)
        return tide_op_fail(c, TIDE_EDTYPE, "%s has another dtype (expected %s, got %s)", name,
                            tide_dtype_name(dtype), tide_dtype_name(x->dtype));
    return TIDE_OK;
}

static int64_t attention_draws(const void *attrs, tide_tensor *const *in) {
    const tide_attention__attrs *a = attrs;
    const int64_t *q = in[0]->shape;
    return a->rate > 0 ? q[0] * q[2] * q[1] * in[1]->shape[1] : 0;
}

static tide_status attention_infer(tide_call *c) { /* query, key, value, bias, mask */
    tide_attention__attrs *a = c->attrs;
    const tide_tensor *q = c->in[0], *k = c->in[1], *v = c->in[2];
    if (q->rank != 4 || k->rank != 4 || v->rank != 4)
        return tide_op_fail(c, TIDE_ESHAPE,
                            "query, key and value have wrong shapes (expected [batch, length, "
                            "heads, width], got %s, %s, %s)",
                            TIDE_SHAPE_OF(q), TIDE_SHAPE_OF(k), TIDE_SHAPE_OF(v));
    const int64_t B = q->shape[0], T = q->shape[1], H = q->shape[2], S = k->shape[1],
                  G = k->shape[2];
    if (k->shape[0] != B || v->shape[0] != B || k->shape[3] != q->shape[3] || v->shape[1] != S ||
        v->shape[2] != G || G < 1 || H % G)
        return tide_op_fail(c, TIDE_ESHAPE,
                            "query, key and value do not fit together (query %s, key %s, value %s)",
                            TIDE_SHAPE_OF(q), TIDE_SHAPE_OF(k), TIDE_SHAPE_OF(v));
    for (int i = 1; i <= 2; i++)
        if (c->in[i]->dtype != q->dtype)
            return tide_op_fail(
                c, TIDE_EDTYPE, "%s has another dtype than query (expected %s, got %s)",
                c->op->args()[i].name, tide_dtype_name(q->dtype), tide_dtype_name(c->in[i]->dtype));
    if (S < 1) return tide_op_fail(c, TIDE_ESHAPE, "needs at least one key (got 0)");
    if (a->window < 0)
        return tide_op_fail(c, TIDE_EARG, "window cannot be negative (got %ld)", (long)a->window);
    const int64_t far = (int64_t)1 << 60; /* places and these are added */
    if (a->window > far || a->offset > far || a->offset < -far)
        return tide_op_fail(c, TIDE_EARG, "window and offset must be below 2^60 (got %ld and %ld)",
                            (long)a->window, (long)a->offset);
    if (!(a->rate >= 0 && a->rate <= 1))
        return tide_op_fail(c, TIDE_EARG, "rate is a probability (expected 0..1, got %g)", a->rate);
    if (a->rate > 0) own_stream(a->seed, &a->rng);
    const int64_t full[] = {B, H, T, S};
    int64_t scores;
    TIDE_TRY(tide_numel_of(c, 4, full, &scores)); /* dropout counts them */
    TIDE_TRY(broadcasts(c, 3, full, q->dtype));
    TIDE_TRY(broadcasts(c, 4, full, TIDE_BOOL));
    c->meta[0] = (tide_meta){.rank = 4, .dtype = q->dtype, .shape = {B, T, H, v->shape[3]}};
    c->meta[1] = (tide_meta){
        .rank = 3, .dtype = q->dtype == TIDE_F64 ? TIDE_F64 : TIDE_F32, .shape = {B, H, T}};
    return TIDE_OK;
}

static void attention_grad(tide_tape *t, const tide_node *n) {
    ATTRS(attention_);
    const int biased = n->in[3].saved && tide_t_needs(t, 3);
    tide_tensor *in[8] = {tide_t_in(t, 0),
                          tide_t_in(t, 1),
                          tide_t_in(t, 2),
                          n->in[3].saved ? tide_t_in(t, 3) : NULL,
                          n->in[4].saved ? tide_t_in(t, 4) : NULL,
                          tide_t_out(t, 0),
                          tide_t_out(t, 1),
                          tide_t_dy(t, 0)},
                *d[4];
    tide_tn(t,
            OP(attention_grad_, .scale = a->scale, .causal = a->causal, .window = a->window,
               .cap = a->cap, .offset = a->offset, .rate = a->rate, .rng = a->rng,
               .biased = biased),
            8, in, d);
    if (tide_t_failed(t)) return;
    for (int i = 0; i < 3; i++) tide_t_give(t, i, d[i]);
    if (!biased) return;
    tide_sum_attrs sum = *TIDE_ATTRS(sum, .axis.n = 0, .keepdims = 1);
    for (int i = 0; i < 4; i++)
        if (in[3]->shape[i] != d[3]->shape[i]) sum.axis.v[sum.axis.n++] = i;
    tide_t_give(t, 3, sum.axis.n ? tide_t(t, TIDE_OP_sum, &sum, d[3]) : d[3]);
}

/* (batch, length, heads, width) with the axes in this order. */
static tide_tensor *turned(tide_tape *t, tide_tensor *x, int64_t b, int64_t c, int64_t d) {
    return tide_t(t, OP(transpose, .axes = TIDE_INTS(0, b, c, d)), x);
}

/* Which keys queries see by their places: (T, S), 1 or 0. */
static tide_tensor *places(tide_tape *t, const tide_attention__attrs *a, const tide_tensor *x,
                           int64_t T, int64_t S) {
    tide_tensor *ones =
        tide_t(t, OP(broadcast_to, .shape = TIDE_INTS(T, S)), tide_t_number(t, 1, x->dtype));
    ones = tide_t(t, OP(tril, .k = a->offset + (a->causal ? 0 : a->window - 1)), ones);
    return a->window ? tide_t(t, OP(triu, .k = a->offset + 1 - a->window), ones) : ones;
}

static void attention_compose(tide_tape *t, const void *attrs, int nin, tide_tensor **in,
                              tide_tensor **out) {
    const tide_attention__attrs *a = attrs;
    tide_tensor *q = in[0], *k = in[1], *v = in[2];
    (void)nin;
    const int64_t T = q->shape[1], S = k->shape[1], each = q->shape[2] / k->shape[2];
    if (each > 1) {
        k = tide_t(t, OP(rep, .repeats = each, .axis = 2), k);
        v = tide_t(t, OP(rep, .repeats = each, .axis = 2), v);
    }
    tide_tensor *s =
        tide_t(t, OP(matmul), times(t, turned(t, q, 2, 1, 3), a->scale), turned(t, k, 2, 3, 1));
    if (a->cap) s = times(t, tide_t(t, OP(tanh), times(t, s, 1 / a->cap)), a->cap);
    if (in[3]) s = tide_t(t, OP(add), s, in[3]);
    if (tide_t_failed(t)) return;
    tide_tensor *hidden = number(t, -0.7 * (s->dtype == TIDE_F64 ? DBL_MAX : FLT_MAX), s);
    tide_tensor *seen = a->causal || a->window ? places(t, a, s, T, S) : NULL;
    if (seen) s = tide_t(t, OP(where), seen, s, hidden);
    if (in[4]) s = tide_t(t, OP(where), in[4], s, hidden);
    s = tide_t(t, OP(softmax, .axis = TIDE_INTS(3)), s);
    if (a->rate > 0) { /* a query that sees nothing gives nothing */
        if (seen) s = tide_t(t, OP(multiply), s, seen);
        if (in[4]) s = tide_t(t, OP(where), in[4], s, number(t, 0, s));
        s = tide_t(t, OP(dropout, .rate = a->rate, .seed = a->seed, .rng = a->rng), s);
    }
    out[0] = turned(t, tide_t(t, OP(matmul), s, turned(t, v, 2, 1, 3)), 2, 1, 3);
}

/* Of scores and values, as if every query saw every key. */
static double products(const tide_kcall *k) {
    const int64_t *q = k->in[0].shape, *v = k->in[2].shape;
    return 2.0 * (double)(q[0] * q[1] * q[2]) * (double)v[1] * (double)(q[3] + v[3]);
}

TIDE_DESCRIBE(attention_, .flops = products,
              .flags = TIDE_CONTIGUOUS | TIDE_FIRST_ORDER | TIDE_HALF, .infer = attention_infer,
              .grad = attention_grad, .compose = attention_compose, .draws = attention_draws,
              .saves = TIDE_SAVE_IN(0) | TIDE_SAVE_IN(1) | TIDE_SAVE_IN(2) | TIDE_SAVE_IN(3) |
                  TIDE_SAVE_IN(4) | TIDE_SAVE_OUT(0) | TIDE_SAVE_OUT(1),
              .masks = 1u << 4);

/* Its counters are the forward op's, whether that drew or not. */
static int64_t attention_grad_draws(const void *attrs, tide_tensor *const *in) {
    (void)attrs, (void)in;
    return 0;
}

static tide_status attention_grad_infer(tide_call *c) {
    const tide_attention_grad__attrs *a = c->attrs;
    for (int i = 0; i < 3; i++) {
        const tide_tensor *x = c->in[i];
        c->meta[i] = (tide_meta){.rank = 4, .dtype = x->dtype};
        memcpy(c->meta[i].shape, x->shape, 4 * sizeof *x->shape);
    }
    const tide_tensor *q = c->in[0];
    c->meta[3] = (tide_meta){.rank = 4, .dtype = tide_wide(q->dtype)}; /* it is summed yet */
    if (a->biased)
        memcpy(c->meta[3].shape,
               ((const int64_t[]){q->shape[0], q->shape[2], q->shape[1], c->in[1]->shape[1]}),
               4 * sizeof *q->shape);
    return TIDE_OK;
}
static double attention_grad_flops(const tide_kcall *k) { return 2.5 * products(k); }
TIDE_DESCRIBE(attention_grad_, .flops = attention_grad_flops,
              .flags = TIDE_CONTIGUOUS | TIDE_INTERNAL | TIDE_NOGRAD | TIDE_HALF,
              .infer = attention_grad_infer, .draws = attention_grad_draws, .masks = 1u << 4);
