/* Counts the arguments of every op from its entry (included once, by op.h). */
#include "../kernels/attrs.h"

/* 1: how many inputs */
#define IN(name, shape, need) +1
#define INS(name, shape)
#define AT(kind, name, def, doc)
#define EACH(name, kind, nout, doc, ...)    \
    enum {                                  \
        TIDE_NIN_##name = 0 __VA_ARGS__,    \
        TIDE_NOUT_##name = nout,            \
        TIDE_KIND_##name = TIDE_##kind##_OP \
    };
#include "../kernels/each_op.h"
#undef IN
#undef INS

/* 2: how many lists */
#define IN(name, shape, need)
#define INS(name, shape) +1
#define EACH(name, kind, nout, doc, ...) enum { TIDE_LISTS_##name = 0 __VA_ARGS__ };
#include "../kernels/each_op.h"
#undef IN
#undef AT

/* 3: how many arguments in all */
#define IN(name, shape, need) +1
#define AT(kind, name, def, doc) +1
#define EACH(name, kind, nout, doc, ...) enum { TIDE_NARGS_##name = 0 __VA_ARGS__ };
#include "../kernels/each_op.h"
#undef IN
#undef INS
#undef AT
