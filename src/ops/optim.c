/* Optimizer steps: checks only; the arithmetic is in kernels/cpu/optim.c. */
#include "../lag.h"
#include "../op.h"

#include <string.h>

/* The i-th tensor of list k, and the list's name. */
static tide_tensor *entry(const tide_call *c, int k, int i) {
    return c->in[c->op->nin + k * c->nlist + i];
}
static const char *list_name(const tide_call *c, int k) {
    const tide_arg *a = c->op->args();
    for (int i = 0; i < c->op->nargs; i++)
        if (a[i].kind == TIDE_ARG_INS && k-- == 0) return a[i].name;
    return "list";
}

/* Entry i of list k has the first list's shape and dtype (kernels see halves, which are read only,
 * as float32), and is contiguous if it is written. */
static tide_status like_first(tide_call *c, int k, int i, int written) {
    const tide_tensor *p = entry(c, 0, i), *x = entry(c, k, i);
    char a[160], b[160];
    const int other = tide_wide(x->dtype) != tide_wide(p->dtype);
    if (other || !tide_same_shape(x, p))
        return tide_op_fail(
            c, other ? TIDE_EDTYPE : TIDE_ESHAPE,
            "%s[%d] does not fit %s[%d] (expected %s %s, got %s %s)", list_name(c, k), i + 1,
            list_name(c, 0), i + 1, tide_dtype_name(p->dtype),
            tide_shape_str(p->rank, p->shape, a, sizeof a), tide_dtype_name(x->dtype),
            tide_shape_str(x->rank, x->shape, b, sizeof b));
    if (written && (!tide_is_contiguous(x) || x->shares))
        return tide_op_fail(c, TIDE_EARG, "%s[%d] is written in place and must %s", list_name(c, k),
                            i + 1, tide_must_be(x));
    return TIDE_OK;
}

static tide_status first_list(tide_call *c) {
    if (c->nlist == 0) return tide_op_fail(c, TIDE_EARG, "the lists are empty");
    for (int i = 0; i < c->nlist; i++) {
        const tide_tensor *p = entry(c, 0, i);
        const int dtype = tide_wide(p->dtype);
        if (dtype != TIDE_F32 && dtype != TIDE_F64)
            return tide_op_fail(c, TIDE_EDTYPE, "%s[%d] must be float32 or float64 (got %s)",
                                list_name(c, 0), i + 1, tide_dtype_name(p->dtype));
        if (dtype != tide_wide(entry(c, 0, 0)->dtype))
            return tide_op_fail(c, TIDE_EDTYPE, "%s holds several dtypes (%s and %s)",
                                list_name(c, 0), tide_dtype_name(entry(c, 0, 0)->dtype),
                                tide_dtype_name(p->dtype));
    }
    return TIDE_OK;
}

/* The guard of a step is read by its kernel, which knows the dtype of the parameters alone. */
static tide_status guard_checks(tide_call *c) {
    const tide_tensor *guard = c->in[0], *p = entry(c, 0, 0);
    if (guard &&
        (guard->dtype != tide_wide(p->dtype) || guard->rank != 1 || guard->shape[0] != 3 ||
         !tide_is_contiguous(guard)))
        return tide_op_fail(c, TIDE_ESHAPE, "guard has three elements of %s, the parameters' dtype",
                            tide_dtype_name(tide_wide(p->dtype)));
    return TIDE_OK;
}

/* params, grads, slots, touched. `needed` has a bit per slot that the options use. */
static tide_status step_checks(tide_call *c, unsigned needed) {
    const int slots = c->op->lists - 3, last = c->op->lists - 1;
    TIDE_TRY(first_list(c));
    TIDE_TRY(guard_checks(c));
    for (int i = 0; i < c->nlist; i++) {
        const tide_tensor *p = entry(c, 0, i), *touched = entry(c, last, i);
        for (int k = 0; k < c->op->lists; k++)
            if (k != 1 && entry(c, k, i) && tide_is_sparse(entry(c, k, i)))
                return tide_op_fail(c, TIDE_EARG,
                                    "%s[%d] is a sparse gradient (expected a dense tensor)",
                                    list_name(c, k), i + 1);
        TIDE_TRY(like_first(c, 0, i, 1));
        if (!entry(c, 1, i)) continue;
        TIDE_TRY(like_first(c, 1, i, 0));
        for (int s = 0; s < slots; s++) {
            if (!(needed >> s & 1)) continue;
            if (!entry(c, 2 + s, i))
                return tide_op_fail(c, TIDE_EARG, "%s[%d] is missing", list_name(c, 2 + s), i + 1);
            TIDE_TRY(like_first(c, 2 + s, i, 1));
        }
        if (touched &&
            (touched->dtype != TIDE_U8 || touched->rank != 1 || p->rank < 1 ||
             touched->shape[0] != p->shape[0] || !tide_is_contiguous(touched)))
            return tide_op_fail(c, TIDE_ESHAPE, "touched[%d] has one uint8 per row of params[%d]",
                                i + 1, i + 1);
    }
    return TIDE_OK;
}

/* `number` counts the steps where a rule corrects for their bias: 1 - beta^0 is 0. */
static tide_status numbered(tide_call *c, int64_t number) {
    if (number < 1) return tide_op_fail(c, TIDE_EARG, "step counts from 1 (got %ld)", (long)number);
    return TIDE_OK;
}
/* In the order in which Optimizer:_dials gives them; lag_ is set at each launch. */
#define LIVE "step learning_rate grad_scale u_product lag_"
#define STEP(name, needed, number)                                                         \
    static tide_status name##_infer(tide_call *c) {                                        \
        const tide_##name##_attrs *a = c->attrs;                                           \
        (void)a;                                                                           \
        TIDE_TRY(numbered(c, number));                                                     \
        return step_checks(c, needed);                                                     \
    }                                                                                      \
    TIDE_DESCRIBE(name, .flags = TIDE_NOGRAD | TIDE_INPLACE | TIDE_SPARSE | TIDE_PRODUCTS, \
                  .infer = name##_infer, .live = LIVE)

STEP(sgd_step_, a->momentum != 0 ? 1u : 0u, 1);
static tide_status adam_step__infer(tide_call *c) {
    const tide_adam_step__attrs *a = c->attrs;
    TIDE_TRY(numbered(c, a->step));
    return step_checks(c, a->amsgrad ? 7u : 3u);
}
TIDE_DESCRIBE(adam_step_,
              .flags = TIDE_NOGRAD | TIDE_INPLACE | TIDE_SPARSE | TIDE_LAGS | TIDE_PRODUCTS,
              .infer = adam_step__infer, .before = tide_lag_before, .after = tide_lag_after,
              .live = LIVE);
TIDE_DESCRIBE(adam_lag_, .flags = TIDE_NOGRAD | TIDE_INTERNAL | TIDE_LAGS);
STEP(rmsprop_step_, 1u | (a->momentum != 0 ? 2u : 0u) | (a->centered ? 4u : 0u), 1);
STEP(adagrad_step_, 1u, 1);
STEP(adamax_step_, 3u, a->step);
STEP(nadam_step_, 3u, a->step);
STEP(adadelta_step_, 3u, 1);
STEP(lion_step_, 1u, 1);

static tide_status pair_infer(tide_call *c) {
    TIDE_TRY(first_list(c));
    if (c->op->nin) TIDE_TRY(guard_checks(c));
    for (int i = 0; i < c->nlist; i++) {
        TIDE_TRY(like_first(c, 0, i, 1));
        if (entry(c, 1, i)) TIDE_TRY(like_first(c, 1, i, 0));
    }
    return TIDE_OK;
}
TIDE_DESCRIBE(ema_step_, .flags = TIDE_NOGRAD | TIDE_INPLACE | TIDE_SPARSE, .infer = pair_infer,
              .live = LIVE);
TIDE_DESCRIBE(accumulate_step_, .flags = TIDE_NOGRAD | TIDE_INPLACE | TIDE_SPARSE,
              .infer = pair_infer);

/* -- halves and their float32 masters -- */

static tide_status master_lists(tide_call *c, int params, int masters) {
    for (int i = 0; i < c->nlist; i++) {
        const tide_tensor *p = entry(c, params, i), *m = entry(c, masters, i);
        if (!p || !m)
            return tide_op_fail(c, TIDE_EARG, "%s[%d] is missing", list_name(c, 1), i + 1);
        if ((p->dtype != TIDE_F16 && p->dtype != TIDE_BF16) || m->dtype != TIDE_F32)
            return tide_op_fail(c, TIDE_EDTYPE,
                                "params[%d] must be float16 or bfloat16 and masters[%d] float32 "
                                "(got %s and %s)",
                                i + 1, i + 1, tide_dtype_name(p->dtype), tide_dtype_name(m->dtype));
        if (!tide_same_shape(p, m))
            return tide_op_fail(c, TIDE_ESHAPE, "masters[%d] does not fit params[%d]", i + 1,
                                i + 1);
        if (!tide_is_contiguous(p) || !tide_is_contiguous(m))
            return tide_op_fail(c, TIDE_EARG, "params[%d] and its master must be contiguous",
                                i + 1);
    }
    return TIDE_OK;
}
static tide_status narrow_step__infer(tide_call *c) { return master_lists(c, 0, 1); }
static tide_status widen_step__infer(tide_call *c) { return master_lists(c, 1, 0); }
TIDE_DESCRIBE(narrow_step_, .flags = TIDE_NOGRAD | TIDE_INPLACE | TIDE_HALF,
              .infer = narrow_step__infer);
TIDE_DESCRIBE(widen_step_, .flags = TIDE_NOGRAD | TIDE_INPLACE | TIDE_HALF,
              .infer = widen_step__infer);

static tide_status global_norm_infer(tide_call *c) {
    TIDE_TRY(first_list(c));
    c->meta[0] = (tide_meta){.rank = 0, .dtype = (uint8_t)tide_wide(entry(c, 0, 0)->dtype)};
    return TIDE_OK;
}
TIDE_DESCRIBE(global_norm_, .flags = TIDE_NOGRAD | TIDE_SPARSE, .infer = global_norm_infer);
