/* Within src/text: the program that a pattern becomes. */
#ifndef TIDE_REGEX_CODE_H
#define TIDE_REGEX_CODE_H

#include "regex.h"

enum {
    CHAR,
    ANY,
    SET,
    SPLIT,
    JUMP,
    RUN,
    LOOK,
    ATOMIC,
    BEGIN,
    END,
    LINE_BEGIN,
    LINE_END,
    BORDER,
    MATCH
};
enum { GREEDY, LAZY, POSSESSIVE };
#define MOST_CODE 20000
#define MOST_DEPTH 40
#define STEPS 2000     /* for a search, */
#define STEPS_BYTE 400 /* and for each byte of the text */
#define FOREVER INT32_MAX
#define LAZIER 0x80000000u /* with a place in the program: one more of a lazy run */

typedef struct {
    uint8_t op, how, negative, behind;
    int32_t a, b,
        set; /* RUN: a to b times a set; SPLIT: a, then b; LOOK: to a, `b` characters back */
} tide_code;
typedef struct {
    int32_t low, high; /* a range; low < 0: of a category, whose name stands in `high` */
    uint8_t negative;
} tide_set_item;
typedef struct {
    tide_set_item *items;
    size_t n, room;
    int kinds, not_kinds; /* characters of these; characters that are none of these */
    bool negative, fold;
    uint64_t ascii[2];
} tide_set;
struct tide_regex {
    tide_code *code;
    size_t n, room;
    tide_set *sets;
    size_t nsets, sets_room;
};

bool tide_set_slow(const tide_set *, int32_t c);
static inline bool tide_in_set(const tide_set *s, int32_t c) {
    return c < 128 ? s->ascii[c >> 6] >> (c & 63) & 1 : tide_set_slow(s, c);
}

#endif
