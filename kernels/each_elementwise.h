/* Expands every elementwise op as the macro ELEMENT, which the including file defines and which is
 * undefined at the end; no include guard.
 *
 *   ELEMENT(name, KIND, doc, OPERANDS, RESULT, real, whole, RULE, reads, d1, d2, d3, arguments)
 *
 *   KIND      which kernels there are: FLOAT, NUM or ANY as in ops.def; COMPARE: two dtypes do
 *   OPERANDS  X, X12, X123; of a gradient op DY and what it reads: DY_NONE, DY_X, DY_Y, DY_XY
 *   RESULT    SAME: the operands' dtype; BITS: so, for integers and bools alone; BOOL
 *   real      the result from float operands; of a gradient op the gradient
 *   whole     the result from integers and bools; NONE or NOINT where there is none
 *   RULE      KERNEL: differentiated by a gradient op that computes d1; CALLS: by calls of other
 *             ops that compute d1 ... d3; FLAT: not at all; INNER: this is a gradient op
 *   reads     what the derivative needs: NONE, X, Y, XY, X12, X12Y, X23, X123
 *   arguments IN(...) and AT(...) as in ops.def, one after the other
 *
 * What a line does not have is NONE. */
#define TIDE_SECOND_(a, b, ...) b
#define TIDE_SECOND(...) TIDE_SECOND_(__VA_ARGS__)
#define TIDE_PROBE_NOINT ~, FLOAT /* for the integer form NOINT; NUM for any other */
#define TIDE_KIND_WITH(probe) TIDE_SECOND(probe, NUM, ~)

#define TIDE_IN1 IN(x, "(...)", REQUIRED)
#define TIDE_IN2 IN(x1, "(...)", REQUIRED) IN(x2, "(...)", REQUIRED)
#define TIDE_IN_BITS IN(x1, ALSO(x, "(...)"), REQUIRED) IN(x2, ALSO(y, "(...)"), REQUIRED)
#define TIDE_IN3 TIDE_IN2 IN(x3, "(...)", REQUIRED)
#define TIDE_IN_NONE IN(dy, "(...)", REQUIRED)
#define TIDE_IN_X TIDE_IN_NONE IN(x, "(...)", REQUIRED)
#define TIDE_IN_Y TIDE_IN_NONE IN(y, "(...)", REQUIRED)
#define TIDE_IN_XY TIDE_IN_X IN(y, "(...)", REQUIRED)

#define TIDE_UNARY(name, kind, fwd, ifwd, bwd, reads, doc, ...)                                 \
    ELEMENT(name, kind, doc, X, SAME, fwd, ifwd, KERNEL, reads, bwd, NONE, NONE,                \
            TIDE_IN1 __VA_ARGS__)                                                               \
    ELEMENT(name##_grad, FLOAT, "", DY_##reads, SAME, bwd, NONE, INNER, NONE, NONE, NONE, NONE, \
            TIDE_IN_##reads __VA_ARGS__)
#define TIDE_BINARY(name, kind, fwd, d1, d2, reads, ifwd, doc) \
    ELEMENT(name, kind, doc, X12, SAME, fwd, ifwd, CALLS, reads, d1, d2, NOGRAD, TIDE_IN2)

#define U(name, fwd, bwd, reads, dom, doc) TIDE_UNARY(name, FLOAT, fwd, NONE, bwd, reads, doc, )
#define UP(name, params, fwd, bwd, reads, dom, doc) \
    TIDE_UNARY(name, FLOAT, fwd, NONE, bwd, reads, doc, params)
#define UI(name, fwd, bwd, reads, ifwd, dom, doc) \
    TIDE_UNARY(name, NUM, fwd, ifwd, bwd, reads, doc, )
#define UB(name, fwd, ifwd, doc) \
    ELEMENT(name, NUM, doc, X, BOOL, fwd, ifwd, FLAT, NONE, NONE, NONE, NONE, TIDE_IN1)
#define B(name, fwd, d1, d2, reads, ifwd, dom1, dom2, doc) \
    TIDE_BINARY(name, TIDE_KIND_WITH(TIDE_PROBE_##ifwd), fwd, d1, d2, reads, ifwd, doc)
#define BC(name, fwd, doc) \
    ELEMENT(name, COMPARE, doc, X12, BOOL, fwd, fwd, FLAT, NONE, NONE, NONE, NONE, TIDE_IN2)
#define BI(name, ifwd, doc) \
    ELEMENT(name, ANY, doc, X12, BITS, NONE, ifwd, FLAT, NONE, NONE, NONE, NONE, TIDE_IN_BITS)
#define T(name, params, fwd, d1, d2, d3, reads, dom1, dom2, dom3, doc) \
    ELEMENT(name, FLOAT, doc, X123, SAME, fwd, NONE, CALLS, reads, d1, d2, d3, TIDE_IN3 params)
#include "pointwise.def"

#undef TIDE_SECOND_
#undef TIDE_SECOND
#undef TIDE_PROBE_NOINT
#undef TIDE_KIND_WITH
#undef TIDE_IN1
#undef TIDE_IN2
#undef TIDE_IN_BITS
#undef TIDE_IN3
#undef TIDE_IN_NONE
#undef TIDE_IN_X
#undef TIDE_IN_Y
#undef TIDE_IN_XY
#undef TIDE_UNARY
#undef TIDE_BINARY
#undef ELEMENT
