/* The op numbers and one plain struct of attributes per op, expanded from the two definition files.
 */
#ifndef TIDE_ATTRS_H
#define TIDE_ATTRS_H

#include "kernel.h"

/* C type of each attribute kind */
#define TIDE_CTYPE_INT int64_t
#define TIDE_CTYPE_FLOAT double
#define TIDE_CTYPE_BOOL int32_t
#define TIDE_CTYPE_ENUM int32_t   /* index into the alternatives of its text */
#define TIDE_CTYPE_DTYPE int32_t  /* a tide_dtype, -1: not given */
#define TIDE_CTYPE_AXIS int64_t   /* 0-based, negative from the end, TIDE_NONE: not given */
#define TIDE_CTYPE_AXES tide_ints /* likewise, n < 0: not given */
#define TIDE_CTYPE_INTS tide_ints
#define TIDE_CTYPE_SHAPE tide_ints
#define TIDE_CTYPE_PAIRS tide_pairs
#define TIDE_CTYPE_NUMBERS tide_numbers /* of private ops: no literal of Lua gives them */
#define TIDE_CTYPE_TEXT tide_text
#define TIDE_CTYPE_RNG \
    tide_rng /* never an argument: reserved from the context's generator by tide_apply */

#define IN(name, shape, need)
#define INS(name, shape)
#define AT(kind, name, def, doc) TIDE_CTYPE_##kind name;
#define OP_ATTRS(name, args) \
    typedef struct {         \
        args uint8_t pad_;   \
    } tide_##name##_attrs;
#define FLOAT_OP(name, nout, doc, args) OP_ATTRS(name, args)
#define NUM_OP(name, nout, doc, args) OP_ATTRS(name, args)
#define ANY_OP(name, nout, doc, args) OP_ATTRS(name, args)
#define VIEW_OP(name, nout, doc, args) OP_ATTRS(name, args)
#define COMPOSE_OP(name, nout, doc, args) OP_ATTRS(name, args)
#include "../src/ops.def"
#define U(name, fwd, bwd, reads, dom, doc) OP_ATTRS(name, ) OP_ATTRS(name##_grad, )
#define UP(name, params, fwd, bwd, reads, dom, doc) \
    OP_ATTRS(name, params) OP_ATTRS(name##_grad, params)
#define UI(name, fwd, bwd, reads, ifwd, dom, doc) OP_ATTRS(name, ) OP_ATTRS(name##_grad, )
#define UB(name, fwd, ifwd, doc) OP_ATTRS(name, )
#define B(name, fwd, d1, d2, reads, ifwd, dom1, dom2, doc) OP_ATTRS(name, )
#define BC(name, fwd, doc) OP_ATTRS(name, )
#define BI(name, ifwd, doc) OP_ATTRS(name, )
#include "pointwise.def"

typedef enum {
#define OP_ID(name) TIDE_OP_##name,
#define FLOAT_OP(name, nout, doc, args) OP_ID(name)
#define NUM_OP(name, nout, doc, args) OP_ID(name)
#define ANY_OP(name, nout, doc, args) OP_ID(name)
#define VIEW_OP(name, nout, doc, args) OP_ID(name)
#define COMPOSE_OP(name, nout, doc, args) OP_ID(name)
#include "../src/ops.def"
#define U(name, fwd, bwd, reads, dom, doc) OP_ID(name) OP_ID(name##_grad)
#define UP(name, params, fwd, bwd, reads, dom, doc) OP_ID(name) OP_ID(name##_grad)
#define UI(name, fwd, bwd, reads, ifwd, dom, doc) OP_ID(name) OP_ID(name##_grad)
#define UB(name, fwd, ifwd, doc) OP_ID(name)
#define B(name, fwd, d1, d2, reads, ifwd, dom1, dom2, doc) OP_ID(name)
#define BC(name, fwd, doc) OP_ID(name)
#define BI(name, ifwd, doc) OP_ID(name)
#include "pointwise.def"
    TIDE_OP_COUNT
} tide_op_id;

#undef IN
#undef INS
#undef AT
#undef OP_ATTRS
#undef OP_ID

#endif
