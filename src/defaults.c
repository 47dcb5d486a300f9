/* The attributes of every op as its entry declares them, read from the text of the entry once.
 *
 * Invariant: filled before the first context exists, and read only from then on. */
#include "op.h"
#include "point.h"

#include <locale.h>
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct tide_defaults all;
const struct tide_defaults *const tide_defaults = &all;

static const size_t place[TIDE_OP_COUNT] = {
#define EACH(name, ...) [TIDE_OP_##name] = offsetof(struct tide_defaults, name),
#include "../kernels/each_op.h"
};

const void *tide_default_attrs(const tide_op *op) { return (const char *)&all + place[op->id]; }

static void ints_of_text(const char *s, tide_ints *out) {
    out->n = 0;
    while (*s && out->n < TIDE_MAX_RANK) {
        char *end;
        const long v = strtol(s, &end, 10);
        if (end == s) break;
        out->v[out->n++] = v;
        s = end + strspn(end, ", ");
    }
}

static int dtype_of_text(const char *s) {
    for (int d = 0; d < TIDE_DTYPE_COUNT; d++)
        if (!strcmp(s, tide_dtype_name(d))) return d;
    return -1;
}

/* What is not given, and what must be, which nobody reads before it is. */
static int is_none(const char *text) { return !strcmp(text, "-") || !strcmp(text, "!"); }

static double number(const char *text) {
    tide_point point = tide_point_begin();
    double v = strtod(text, NULL);
    tide_point_end(point);
    return v;
}

static void set_default(const tide_arg *a, void *p) {
    const char *d = a->def;
    const int none = is_none(d);
    switch (a->kind) {
    case TIDE_ARG_INT: *(int64_t *)p = none ? TIDE_NONE : strtoll(d, NULL, 10); break;
    case TIDE_ARG_FLOAT: *(double *)p = none ? NAN : number(d); break;
    case TIDE_ARG_VALUE:
        if (!none) *(tide_value *)p = TIDE_REAL(number(d));
        break;
    case TIDE_ARG_BOOL: *(int32_t *)p = !strcmp(d, "true"); break;
    case TIDE_ARG_DTYPE: *(int32_t *)p = none ? -1 : dtype_of_text(d); break;
    case TIDE_ARG_AXIS: {
        const int64_t v = none ? TIDE_NONE : strtoll(d, NULL, 10);
        *(int64_t *)p = v - (v > 0);
        break;
    }
    case TIDE_ARG_AXES:
    case TIDE_ARG_INTS:
    case TIDE_ARG_SHAPE: {
        tide_ints *l = p;
        l->n = -1;
        if (!none) ints_of_text(d, l);
        for (int64_t k = 0; k < l->n && a->kind == TIDE_ARG_AXES; k++) l->v[k] -= l->v[k] > 0;
        break;
    }
    case TIDE_ARG_PAIRS: ((tide_pairs *)p)->n = -1; break;
    case TIDE_ARG_TEXT: snprintf(p, sizeof(tide_text), "%s", none ? "" : d); break;
    default: break; /* inputs have none; the first word, no counters and no numbers are zeros */
    }
}

static void fill(void) {
    /* 0.9 is one number, also where the host's have a comma */
    const locale_t plain = newlocale(LC_NUMERIC_MASK, "C", (locale_t)0);
    const locale_t was = plain ? uselocale(plain) : plain;
    for (int i = 0; i < TIDE_OP_COUNT; i++) {
        const tide_arg *a = tide_ops[i]->args();
        for (int k = 0; k < tide_ops[i]->nargs; k++)
            if (a[k].kind > TIDE_ARG_INS) set_default(&a[k], (char *)&all + place[i] + a[k].offset);
        tide_declared_fill(tide_ops[i]);
        tide_everyday_fill(tide_ops[i]);
    }
    if (plain) uselocale(was), freelocale(plain);
}

void tide_defaults_fill(void) {
    static pthread_once_t once = PTHREAD_ONCE_INIT; /* several states may start at once */
    pthread_once(&once, fill);
}
