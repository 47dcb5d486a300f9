/* Expands every op, structured and elementwise, gradient ops of elementwise ones included, in the
 * order of their numbers, as the macro EACH, which the including file defines and which is
 * undefined at the end; no include guard.
 *
 *   EACH(name, KIND, results, doc, arguments)
 *
 *   KIND       which kernels there are: FLOAT, NUM, ANY, VIEW, COMPOSE as in ops.def, or COMPARE
 *   arguments  IN(...), INS(...) and AT(...), one after the other; a file that expands them
 *              defines these three */
#define FLOAT_OP(name, nout, doc, ...) EACH(name, FLOAT, nout, doc, __VA_ARGS__)
#define NUM_OP(name, nout, doc, ...) EACH(name, NUM, nout, doc, __VA_ARGS__)
#define ANY_OP(name, nout, doc, ...) EACH(name, ANY, nout, doc, __VA_ARGS__)
#define VIEW_OP(name, nout, doc, ...) EACH(name, VIEW, nout, doc, __VA_ARGS__)
#define COMPOSE_OP(name, nout, doc, ...) EACH(name, COMPOSE, nout, doc, __VA_ARGS__)
#include "ops.def"
#ifndef ELEMENT
#define ELEMENT(name, kind, doc, operands, result, real, whole, rule, reads, d1, d2, d3, ...) \
    EACH(name, kind, 1, doc, __VA_ARGS__)
#endif
#include "each_elementwise.h"
#undef EACH
