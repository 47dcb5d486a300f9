/* Descriptors and rules of the elementwise ops, expanded from pointwise.def: the derivative runs as
 * one private kernel, and as op calls on the tape when it will be differentiated itself.
 *
 * Invariant: the two expansions of a derivative are the same expression. */
#include "../op.h"

#include <math.h>

/* -- shapes and dtypes -- */

/* Bools are no numbers to some ops, as in NumPy. */
static tide_status numbers(const tide_call *c) {
    if (!c->op->for_bools || c->in[0]->dtype != TIDE_BOOL) return TIDE_OK;
    return tide_fail(c->ctx, TIDE_EDTYPE,
                     "%s: is not for bools (expected numbers, got bool); use %s, or cast them",
                     c->op->name, c->op->for_bools);
}
static tide_status infer_unary(tide_call *c) {
    TIDE_TRY(numbers(c));
    return tide_infer_same(c);
}

/* Inputs broadcast; the result has the common dtype (the core has cast them to it). */
tide_status tide_infer_pointwise(tide_call *c) {
    TIDE_TRY(numbers(c));
    c->meta[0].dtype = c->in[0]->dtype;
    return tide_broadcast(c, c->nin, c->in, &c->meta[0]);
}

static tide_status infer_bool(tide_call *c) {
    c->meta[0].dtype = TIDE_BOOL;
    return tide_broadcast(c, c->nin, c->in, &c->meta[0]);
}

static tide_status infer_bits(tide_call *c) {
    for (int i = 0; i < c->nin; i++)
        if (tide_is_float(c->in[i]->dtype))
            return tide_op_fail(c, TIDE_EDTYPE,
                                "x%d has a float dtype (expected integers or bools, got %s)", i + 1,
                                tide_dtype_name(c->in[i]->dtype));
    return tide_infer_pointwise(c);
}

/* -- the vocabulary of pointwise.def as op calls -- */
typedef tide_tensor *T;

#define TIDE_BIG 1.7976931348623157e308
#define C(v) tide_t_scalar(t, v, DY)
#define ZERO C(0)
#define ONE C(1)
#define P(name) C(p->name)
#define P_OR(name, v) C(isnan(p->name) ? (v) : p->name)
#define CALL1(op, a) tide_t(t, OP(op), a)
#define CALL2(op, a, b) tide_t(t, OP(op), a, b)
#define NEG(a) CALL1(negative, a)
#define ABS(a) CALL1(abs, a)
#define SIGN(a) CALL1(sign, a)
#define SQRT(a) CALL1(sqrt, a)
#define TRUNC(a) CALL1(trunc, a)
#define HYPOT(a, b) CALL2(hypot, a, b)
#define COPYSIGN(a, b) CALL2(copysign, a, b)
#define NOT_0(v) not_0(t, v, DY)
#define APART(a, b) apart(t, a, b, DY)
#define EXP(a) CALL1(exp, a)
#define EXP2(a) CALL1(exp2, a)
#define LOG(a) CALL1(log, a)
#define SIN(a) CALL1(sin, a)
#define COS(a) CALL1(cos, a)
#define SINH(a) CALL1(sinh, a)
#define COSH(a) CALL1(cosh, a)
#define TANH(a) CALL1(tanh, a)
#define ERFC(a) CALL1(erfc, a)
#define SIGMOID(a) CALL1(sigmoid, a)
#define TANH_SOFTPLUS(a) TANH(CALL1(softplus, a))
#define ADD(a, b) CALL2(add, a, b)
#define SUB(a, b) CALL2(subtract, a, b)
#define MUL(a, b) CALL2(multiply, a, b)
#define DIV(a, b) CALL2(divide, a, b)
#define FDIV(a, b) CALL2(floor_divide, a, b)
#define POW(a, b) CALL2(power, a, b)
#define MAX(a, b) CALL2(maximum, a, b)
#define MIN(a, b) CALL2(minimum, a, b)
#define EQ(a, b) CALL2(equal, a, b)
#define NE(a, b) CALL2(not_equal, a, b)
#define LT(a, b) CALL2(less, a, b)
#define LE(a, b) CALL2(less_equal, a, b)
#define GT(a, b) CALL2(greater, a, b)
#define GE(a, b) CALL2(greater_equal, a, b)
#define AND(a, b) CALL2(logical_and, a, b)
#define OR(a, b) CALL2(logical_or, a, b)
#define WHERE(c, a, b) tide_t(t, OP(select_), c, a, b)
#define NOGRAD NULL

static T not_0(tide_tape *t, T v, T DY) { return WHERE(EQ(v, ZERO), ONE, v); }
static T apart(tide_tape *t, T a, T b, T DY) {
    T d = SUB(a, b);
    return WHERE(AND(EQ(a, b), NE(d, ZERO)), ZERO, d); /* equal, and their difference is NaN */
}

/* -- rules -- */
static void give_summed(tide_tape *t, int i, T g) {
    const tide_meta *m = tide_t_in_meta(t, i);
    if (g) {
        tide_t_give(t, i, tide_t_sum_to_meta(t, g, m, m->shape));
    } else if (!tide_t_failed(t)) { /* NOGRAD */
        tide_broadcast_to_attrs a = *TIDE_ATTRS(broadcast_to, .shape.n = m->rank);
        for (int k = 0; k < m->rank; k++) a.shape.v[k] = m->shape[k];
        tide_t_give(t, i,
                    tide_t(t, TIDE_OP_broadcast_to, &a, tide_t_scalar(t, 0, tide_t_dy(t, 0))));
    }
}

#define READ_NONE DY
#define READ_X DY, X
#define READ_Y DY, Y
#define READ_XY DY, X, Y
#define SAVE_NONE 0
#define SAVE_X TIDE_SAVE_IN(0)
#define SAVE_X12 (TIDE_SAVE_IN(0) | TIDE_SAVE_IN(1))
#define SAVE_Y TIDE_SAVE_OUT(0)
#define SAVE_XY (TIDE_SAVE_IN(0) | TIDE_SAVE_OUT(0))
#define SAVE_X123 (SAVE_X12 | TIDE_SAVE_IN(2))
#define SAVE_X23 (TIDE_SAVE_IN(1) | TIDE_SAVE_IN(2))
#define SAVE_X12Y (SAVE_X12 | TIDE_SAVE_OUT(0))

/* Halves are converted by the kernels' driver. */
#define ELEMENTWISE (TIDE_ELEMENTWISE | TIDE_HALF)
/* What users have no name for is called by compositions alone. */
#define IS_INTERNAL(name) (#name[sizeof(#name) - 2] == '_' ? TIDE_INTERNAL : 0)

/* What bools take instead of an op, and what a kernel refuses; NULL for the other ops. */
#define FOR_BOOLS_negative ~, "logical_not"
#define FOR_BOOLS_subtract ~, "logical_xor"
#define REFUSED_power                                                                           \
    ~,                                                                                          \
        "integers have no powers below 0 (expected x2 of 0 or more); cast x1 to a float, e.g. " \
        "x1:cast(\"float32\")"
#define SECOND_(a, b, ...) b
#define SECOND(...) SECOND_(__VA_ARGS__)
#define OR_NULL(...) SECOND(__VA_ARGS__, NULL, ~)

/* Halves are differentiated by op calls in float32, so that the gradient is rounded once; in halves
 * where one op alone rounds: bit i: in the gradient of operand i. */
#define ONCE_add ~, 7
#define ONCE_subtract ~, 7
#define ONCE_multiply ~, 7
#define ONCE_divide ~, 1
#define ONCE_maximum ~, 7
#define ONCE_minimum ~, 7
#define ONCE_fmax ~, 7
#define ONCE_fmin ~, 7
#define OR_0(...) SECOND(__VA_ARGS__, 0, ~)
static T read_as(tide_tape *t, T x, int stored) { return stored ? x : tide_t_wide(t, x); }

/* By its gradient op; by op calls where the gradient will be differentiated itself. An operand that
 * the op did not save is NULL here and unused. */
#define RULE_KERNEL(name, result, reads, d1, d2, d3)                                               \
    static T name##_expanded(tide_tape *t, const tide_##name##_attrs *p, T DY) {                   \
        const T X = tide_t_wide(t, tide_t_in(t, 0)), Y = tide_t_wide(t, tide_t_out(t, 0));         \
        (void)p, (void)DY, (void)X, (void)Y;                                                       \
        return d1;                                                                                 \
    }                                                                                              \
    static void name##_rule(tide_tape *t, const tide_node *n) {                                    \
        const T DY = tide_t_dy(t, 0), X = tide_t_in(t, 0), Y = tide_t_out(t, 0);                   \
        T g = tide_t_recording(t) ? name##_expanded(t, (const void *)n->attrs, tide_t_wide(t, DY)) \
                                  : NULL;                                                          \
        (void)X, (void)Y;                                                                          \
        tide_t_give(t, 0, g ? g : tide_t(t, TIDE_OP_##name##_grad, n->attrs, READ_##reads));       \
    }                                                                                              \
    TIDE_DESCRIBE(name, .flags = ELEMENTWISE | IS_INTERNAL(name), .infer = infer_unary,            \
                  .grad = name##_rule, .saves = SAVE_##reads,                                      \
                  .for_bools = OR_NULL(FOR_BOOLS_##name));

#define RULE_CALLS(name, result, reads, d1, d2, d3)                                                \
    static T name##_d(tide_tape *t, const tide_##name##_attrs *p, T DY, int i) {                   \
        const int once = OR_0(ONCE_##name) >> i & 1;                                               \
        const T X1 = read_as(t, tide_t_in(t, 0), once), X2 = read_as(t, tide_t_in(t, 1), once),    \
                X3 = read_as(t, tide_t_in(t, 2), once), Y = read_as(t, tide_t_out(t, 0), once);    \
        DY = read_as(t, DY, once);                                                                 \
        (void)p, (void)DY, (void)X1, (void)X2, (void)X3, (void)Y;                                  \
        return i == 0 ? d1 : i == 1 ? d2 : d3;                                                     \
    }                                                                                              \
    static void name##_rule(tide_tape *t, const tide_node *n) {                                    \
        T DY = tide_t_dy(t, 0);                                                                    \
        for (int i = 0; i < n->nin; i++)                                                           \
            if (tide_t_needs(t, i)) give_summed(t, i, name##_d(t, (const void *)n->attrs, DY, i)); \
    }                                                                                              \
    TIDE_DESCRIBE(name, .flags = ELEMENTWISE | TIDE_PROMOTE, .infer = tide_infer_pointwise,        \
                  .grad = name##_rule, .saves = SAVE_##reads,                                      \
                  .for_bools = OR_NULL(FOR_BOOLS_##name), .refused = OR_NULL(REFUSED_##name));

#define FLAGS_BOOL ELEMENTWISE
#define FLAGS_BITS (TIDE_ELEMENTWISE | TIDE_PROMOTE | TIDE_BITS)
#define INFER_BOOL infer_bool
#define INFER_BITS infer_bits
#define RULE_FLAT(name, result, reads, d1, d2, d3) \
    TIDE_DESCRIBE(name, .flags = TIDE_NOGRAD | FLAGS_##result, .infer = INFER_##result);

#define RULE_INNER(name, result, reads, d1, d2, d3)                       \
    TIDE_DESCRIBE(name, .flags = TIDE_NOGRAD | TIDE_INTERNAL | TIDE_HALF, \
                  .infer = tide_infer_pointwise);

#define ELEMENT(name, kind, doc, operands, result, real, whole, rule, reads, d1, d2, d3, ...) \
    RULE_##rule(name, result, reads, d1, d2, d3)
#include "../../kernels/each_elementwise.h"
