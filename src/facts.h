/* Counts the arguments of every op from its entry (included once, by op.h). */

/* 1: how many inputs */
#define IN(name, shape, need) +1
#define INS(name, shape)
#define AT(kind, name, def, doc)
#define COUNT_OP(name, nout, doc, args) enum { TIDE_NIN_##name = 0 args, TIDE_NOUT_##name = nout };
#define FLOAT_OP COUNT_OP
#define NUM_OP COUNT_OP
#define ANY_OP COUNT_OP
#define VIEW_OP COUNT_OP
#define COMPOSE_OP COUNT_OP
#include "ops.def"
#undef COUNT_OP
#undef IN
#undef INS

/* 2: how many lists */
#define IN(name, shape, need)
#define INS(name, shape) +1
#define COUNT_OP(name, nout, doc, args) enum { TIDE_LISTS_##name = 0 args };
#define FLOAT_OP COUNT_OP
#define NUM_OP COUNT_OP
#define ANY_OP COUNT_OP
#define VIEW_OP COUNT_OP
#define COMPOSE_OP COUNT_OP
#include "ops.def"
#undef COUNT_OP
#undef IN
#undef INS
#undef AT

/* 3: how many arguments in all, the kind, the declarations */
#define IN(name, shape, need) +1
#define INS(name, shape) +1
#define AT(kind, name, def, doc) +1
#define COUNT_OP(name, knd, args)                                \
    enum { TIDE_NARGS_##name = 0 args, TIDE_KIND_##name = knd }; \
    TIDE_DECLARE(name)
#define FLOAT_OP(name, nout, doc, args) COUNT_OP(name, TIDE_FLOAT_OP, args)
#define NUM_OP(name, nout, doc, args) COUNT_OP(name, TIDE_NUM_OP, args)
#define ANY_OP(name, nout, doc, args) COUNT_OP(name, TIDE_ANY_OP, args)
#define VIEW_OP(name, nout, doc, args) COUNT_OP(name, TIDE_VIEW_OP, args)
#define COMPOSE_OP(name, nout, doc, args) COUNT_OP(name, TIDE_COMPOSE_OP, args)
#include "ops.def"

/* elementwise: one or two inputs, one output; the gradient of a unary op takes dy and what its rule
 * reads */
#define COUNT_POINTWISE(name, nin, args)     \
    enum {                                   \
        TIDE_NIN_##name = nin,               \
        TIDE_NOUT_##name = 1,                \
        TIDE_LISTS_##name = 0,               \
        TIDE_NARGS_##name = nin args,        \
        TIDE_KIND_##name = TIDE_POINTWISE_OP \
    };                                       \
    TIDE_DECLARE(name)
#define U(name, fwd, bwd, reads, dom, doc) \
    COUNT_POINTWISE(name, 1, ) COUNT_POINTWISE(name##_grad, 1 + TIDE_READN_##reads, )
#define UP(name, params, fwd, bwd, reads, dom, doc) \
    COUNT_POINTWISE(name, 1, params) COUNT_POINTWISE(name##_grad, 1 + TIDE_READN_##reads, params)
#define UI(name, fwd, bwd, reads, ifwd, dom, doc) U(name, fwd, bwd, reads, dom, doc)
#define UB(name, fwd, ifwd, doc) COUNT_POINTWISE(name, 1, )
#define B(name, fwd, d1, d2, reads, ifwd, dom1, dom2, doc) COUNT_POINTWISE(name, 2, )
#define BC(name, fwd, doc) COUNT_POINTWISE(name, 2, )
#define BI(name, ifwd, doc) COUNT_POINTWISE(name, 2, )
#include "../kernels/pointwise.def"
#undef COUNT_POINTWISE
#undef COUNT_OP
#undef IN
#undef INS
#undef AT
