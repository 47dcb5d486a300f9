/* The op numbers and one plain struct of attributes per op. */
#ifndef TIDE_ATTRS_H
#define TIDE_ATTRS_H

#include "kernel.h"
#include "words.h"

/* C type of each attribute kind */
#define TIDE_CTYPE_INT int64_t
#define TIDE_CTYPE_FLOAT double
#define TIDE_CTYPE_VALUE tide_value
#define TIDE_CTYPE_BOOL int32_t
#define TIDE_CTYPE_ENUM int32_t   /* a word's constant (words.h) */
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
#define EACH(name, kind, nout, doc, ...) \
    typedef struct {                     \
        __VA_ARGS__ uint8_t pad_;        \
    } tide_##name##_attrs;
#include "each_op.h"
#undef IN
#undef INS
#undef AT

typedef enum {
#define EACH(name, ...) TIDE_OP_##name,
#include "each_op.h"
    TIDE_OP_COUNT
} tide_op_id;

#endif
