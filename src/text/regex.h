/* Within src/text: patterns of tokenizers. */
#ifndef TIDE_REGEX_H
#define TIDE_REGEX_H

#include "chars.h"

typedef struct tide_regex tide_regex;
typedef struct {
    uint32_t pc;
    size_t at, low;
} tide_choice;
typedef struct { /* work space, kept from call to call */
    tide_choice *p;
    size_t n, room;
    int64_t steps;
} tide_choices;
tide_status tide_regex_new(tide_ctx *, const char *what, const char *pattern, size_t n,
                           tide_regex **out);
void tide_regex_free(tide_regex *); /* accepts NULL */
/* The first match in valid UTF-8 from `start` on: 1 and its bytes, 0: there is none, -1: it takes
 * too long, or memory is short. */
int tide_regex_find(const tide_regex *, tide_choices *, const char *s, size_t n, size_t start,
                    size_t *from, size_t *to);

#endif
