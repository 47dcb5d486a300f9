/* The table of Tide's own CPU kernels at one instruction-set level, expanded from the two
 * definition files; compiled once per level with -DTIDE_LEVEL=c, v2, v3 or v4.
 *
 * Invariant: every op that has arithmetic has a slot here. The dtype is chosen by the first input
 * (by the output where an op has none); a dtype that the op's `infer` lets through but no kernel
 * serves is declined. */
#include "cpu.h"
#include "half.h"

#define NOINT TIDE_NOINT_PROBE
#define TABLE TIDE_CAT(tide_plain_, TIDE_LEVEL)
#define KF32(name) TIDE_KNAME(name, f32, TIDE_LEVEL)
#define KF64(name) TIDE_KNAME(name, f64, TIDE_LEVEL)

/* -- declarations -- */
#define REALS(name) tide_status KF32(name)(tide_kcall *), KF64(name)(tide_kcall *);
#define INTS_0(name) tide_status tide_int_##name(tide_kcall *);
#define INTS_1(name)
#define ANY(name) tide_status tide_any_##name(tide_kcall *);
#define IN(name, shape, need)
#define INS(name, shape)
#define AT(kind, name, def, doc)
#define FLOAT_OP(name, nout, doc, args) REALS(name)
#define NUM_OP(name, nout, doc, args) REALS(name) INTS_0(name)
#define ANY_OP(name, nout, doc, args) ANY(name)
#define VIEW_OP(name, nout, doc, args)
#define COMPOSE_OP(name, nout, doc, args)
#include "../../src/ops.def"
#define U(name, fwd, bwd, reads, dom, doc) REALS(name) REALS(name##_grad)
#define UP(name, params, fwd, bwd, reads, dom, doc) REALS(name) REALS(name##_grad)
#define UI(name, fwd, bwd, reads, ifwd, dom, doc) REALS(name) REALS(name##_grad) INTS_0(name)
#define UB(name, fwd, ifwd, doc) REALS(name) INTS_0(name)
#define B(name, fwd, d1, d2, reads, ifwd, dom1, dom2, doc) \
    REALS(name) TIDE_CAT(INTS_, IS_NOINT(ifwd))(name)
#define BC(name, fwd, doc) REALS(name) ANY(name)
#define BI(name, ifwd, doc) ANY(name)
#include "../pointwise.def"

tide_status tide_half_nextafter(tide_kcall *), tide_half_nan_to_num(tide_kcall *);

/* -- dispatchers -- */
static inline int dtype_of(const tide_kcall *c) {
    return c->nin > 0 ? c->in[0].dtype : c->out[0].dtype;
}

#undef INTS_0
#define INTS_0(name) \
    case TIDE_I64:   \
    case TIDE_I32:   \
    case TIDE_U8:    \
    case TIDE_I8:    \
    case TIDE_BOOL:  \
        return tide_int_##name(c);
#define PICK(name, ints)                                                         \
    static tide_status pick_##name(tide_kcall *c) {                              \
        switch (dtype_of(c)) {                                                   \
        case TIDE_F32: return KF32(name)(c);                                     \
        case TIDE_F64: return KF64(name)(c); ints default : return TIDE_DECLINE; \
        }                                                                        \
    }
/* float16 and bfloat16: the float32 kernel of an elementwise op, whose driver converts, or one of
 * their own; of the other ops some have one. */
#define OWN_nextafter ~, tide_half_nextafter
#define OWN_nan_to_num ~, tide_half_nan_to_num
#define OWN_linear ~, KF32(linear)
#define OWN_linear_grad ~, KF32(linear_grad)
#define OWN_random_uniform ~, drawn_random_uniform
#define OWN_random_normal ~, drawn_random_normal
#define OWN_random_truncated_normal ~, drawn_random_truncated_normal
#define DRAWN(name) \
    static tide_status drawn_##name(tide_kcall *c) { return tide_half_drawn(c, KF32(name)); }
DRAWN(random_uniform)
DRAWN(random_normal)
DRAWN(random_truncated_normal)
static tide_status declined(tide_kcall *c) {
    (void)c;
    return TIDE_DECLINE;
}
#define OWN(a, b, ...) b
#define OWN_OR(...) OWN(__VA_ARGS__)
#define SOME_HALVES(name) \
    case TIDE_F16:        \
    case TIDE_BF16:       \
        return OWN_OR(OWN_##name, declined, ~)(c);
#define FLOAT_OP(name, nout, doc, args) PICK(name, SOME_HALVES(name))
#define NUM_OP(name, nout, doc, args) PICK(name, INTS_0(name))
#define ANY_OP(name, nout, doc, args)
#define VIEW_OP(name, nout, doc, args)
#define COMPOSE_OP(name, nout, doc, args)
#include "../../src/ops.def"
#define HALVES(name) \
    case TIDE_F16:   \
    case TIDE_BF16:  \
        return OWN_OR(OWN_##name, KF32(name), ~)(c);
#define FLOATS(name) PICK(name, HALVES(name))
#define U(name, fwd, bwd, reads, dom, doc) FLOATS(name) FLOATS(name##_grad)
#define UP(name, params, fwd, bwd, reads, dom, doc) FLOATS(name) FLOATS(name##_grad)
#define UI(name, fwd, bwd, reads, ifwd, dom, doc) \
    PICK(name, HALVES(name) INTS_0(name)) FLOATS(name##_grad)
#define UB(name, fwd, ifwd, doc) PICK(name, HALVES(name) INTS_0(name))
#define B(name, fwd, d1, d2, reads, ifwd, dom1, dom2, doc) \
    PICK(name, HALVES(name) TIDE_CAT(INTS_, IS_NOINT(ifwd))(name))
/* comparisons take any two dtypes: two equal floats have a kernel of the level */
static inline int seen_as(int dtype) { return tide_is_half(dtype) ? TIDE_F32 : dtype; }
#define BC(name, fwd, doc)                                                                         \
    static tide_status pick_##name(tide_kcall *c) {                                                \
        int d = seen_as(c->in[0].dtype);                                                           \
        if (d != seen_as(c->in[1].dtype)) d = TIDE_DTYPE_COUNT;                                    \
        return d == TIDE_F32 ? KF32(name)(c) : d == TIDE_F64 ? KF64(name)(c) : tide_any_##name(c); \
    }
#define BI(name, ifwd, doc)
#include "../pointwise.def"

/* -- the table -- */
#define SLOT(name, kernel) [TIDE_OP_##name] = kernel,
#define PICKED(name) SLOT(name, pick_##name)
#define FLOAT_OP(name, nout, doc, args) PICKED(name)
#define NUM_OP(name, nout, doc, args) PICKED(name)
#define ANY_OP(name, nout, doc, args) SLOT(name, tide_any_##name)
#define VIEW_OP(name, nout, doc, args)
#define COMPOSE_OP(name, nout, doc, args)
extern const tide_kernel TABLE[TIDE_OP_COUNT];
const tide_kernel TABLE[TIDE_OP_COUNT] = {
#include "../../src/ops.def"
#define U(name, fwd, bwd, reads, dom, doc) PICKED(name) PICKED(name##_grad)
#define UP(name, params, fwd, bwd, reads, dom, doc) PICKED(name) PICKED(name##_grad)
#define UI(name, fwd, bwd, reads, ifwd, dom, doc) PICKED(name) PICKED(name##_grad)
#define UB(name, fwd, ifwd, doc) PICKED(name)
#define B(name, fwd, d1, d2, reads, ifwd, dom1, dom2, doc) PICKED(name)
#define BC(name, fwd, doc) PICKED(name)
#define BI(name, ifwd, doc) SLOT(name, tide_any_##name)
#include "../pointwise.def"
};
