/* Owns the columns that rows become. Invariant: between rows all columns that are kept hold as many
 * values as there are rows. */
#include "columns.h"

#include "../text/text.h"

#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

struct tide_columns {
    int64_t n, rows, bytes;
    tide_column *column;
    char **names; /* [n], or NULL */
    char **missing;
    size_t *lengths;          /* of the missing ones */
    int64_t missing_n, *next; /* of those that open alike: the next one; -1: none */
    int64_t first[256];       /* that open with a character; where `opens` has none, nothing */
    uint64_t opens[256]; /* bit n: the text of a missing value of n bytes begins so (63: or more) */
    char error[400];
};

static void fail(tide_columns *t, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void fail(tide_columns *t, const char *fmt, ...) {
    va_list args;
    va_start(args, fmt);
    vsnprintf(t->error, sizeof t->error, fmt, args);
    va_end(args);
}

static char **copies(const char *const *from, int64_t n) {
    char **to = calloc((size_t)n + 1, sizeof *to);
    for (int64_t i = 0; to && i < n; i++)
        if (!(to[i] = strdup(from[i]))) {
            while (i-- > 0) free(to[i]);
            free(to);
            return NULL;
        }
    return to;
}

static void drop(char **texts, int64_t n) {
    for (int64_t i = 0; texts && i < n; i++) free(texts[i]);
    free(texts);
}

static uint64_t length_bit(size_t n) { return 1ull << (n < 63 ? n : 63); }

tide_columns *tide_columns_new(const char *kinds, int64_t n, const char *const *missing,
                               int64_t missing_n, const char *const *names) {
    tide_columns *t = calloc(1, sizeof *t);
    if (!t) return NULL;
    t->n = n, t->missing_n = missing_n;
    t->column = calloc((size_t)n + 1, sizeof *t->column);
    t->missing = copies(missing, missing_n);
    t->names = names ? copies(names, n) : NULL;
    t->lengths = calloc((size_t)missing_n + 1, sizeof *t->lengths);
    t->next = calloc((size_t)missing_n + 1, sizeof *t->next);
    if (!t->column || !t->missing || !t->lengths || !t->next || (names && !t->names)) {
        tide_columns_free(t);
        return NULL;
    }
    for (int64_t i = 0; i < n; i++)
        t->column[i].kind = kinds[i], t->column[i].found = kinds[i] == TIDE_COLUMN_ANY;
    for (int64_t i = 0; i < missing_n; i++) {
        unsigned char c = (unsigned char)*missing[i];
        t->lengths[i] = strlen(missing[i]);
        t->next[i] = t->opens[c] ? t->first[c] : -1, t->first[c] = i;
        t->opens[c] |= length_bit(t->lengths[i]);
    }
    return t;
}

void tide_columns_free(tide_columns *t) {
    if (!t) return;
    for (int64_t i = 0; t->column && i < t->n; i++)
        free(t->column[i].as.i), free(t->column[i].bytes);
    drop(t->missing, t->missing_n), drop(t->names, t->n);
    free(t->lengths), free(t->next), free(t->column), free(t);
}

int64_t tide_columns_rows(const tide_columns *t) { return t->rows; }
tide_column *tide_columns_at(tide_columns *t, int64_t i) { return &t->column[i]; }
const char *tide_columns_error(const tide_columns *t) { return t->error; }

/* -- values -- */

static int is_missing(const tide_columns *t, const tide_csv_field *f) {
    if (f->n == 0) return 1;
    uint64_t lengths = t->opens[(unsigned char)*f->p];
    if (!lengths || !(lengths & length_bit(f->n))) return 0;
    for (int64_t i = t->first[(unsigned char)*f->p]; i >= 0; i = t->next[i])
        if (t->lengths[i] == f->n && t->missing[i][f->n - 1] == f->p[f->n - 1] &&
            !memcmp(t->missing[i], f->p, f->n))
            return 1;
    return 0;
}

static int is_bool(const tide_csv_field *f, int *v) {
    *v = f->n == 4 && !strncasecmp(f->p, "true", 4);
    return *v || (f->n == 5 && !strncasecmp(f->p, "false", 5));
}

/* Room for one more value; bool columns take a byte each, all others eight. */
static int grow(tide_column *c) {
    if (c->n < c->room) return 1;
    int64_t room = c->room ? c->room * 2 : 64;
    void *p = realloc(c->as.i, (size_t)room * (c->kind == TIDE_COLUMN_BOOL ? 1 : 8));
    if (!p) return 0;
    c->as.i = p, c->room = room;
    return 1;
}

static int is_utf8(const char *p, size_t n) {
    uint64_t high = 0, v;
    size_t i = 0;
    for (; n - i >= 8; i += 8) memcpy(&v, p + i, 8), high |= v;
    for (; i < n; i++) high |= (unsigned char)p[i];
    return !(high & 0x8080808080808080u) || tide_utf8_valid(p, n);
}

static int add_text(tide_column *c, const char *p, size_t n, int missing) {
    if (c->bytes_room - c->bytes_n < n) {
        size_t room = c->bytes_room * 2 + n + 64;
        char *bytes = realloc(c->bytes, room);
        if (!bytes) return 0;
        c->bytes = bytes, c->bytes_room = room;
    }
    if (!grow(c)) return 0;
    if (n) memcpy(c->bytes + c->bytes_n, p, n);
    c->bytes_n += n;
    c->as.end[c->n++] = missing ? ~(int64_t)c->bytes_n : (int64_t)c->bytes_n;
    return 1;
}

/* A column whose kind follows its values becomes one of a wider kind; 0: memory is short. */
static int widen(tide_column *c, char kind) {
    char old = c->kind;
    if (kind == TIDE_COLUMN_TEXT &&
        old != TIDE_COLUMN_ANY) { /* what was read is not text any more */
        free(c->as.i);
        c->as.i = NULL, c->n = c->room = 0, c->kind = TIDE_COLUMN_OUT, c->again = 1;
        return 1;
    }
    c->kind = kind;
    if (old == TIDE_COLUMN_ANY) { /* its values are all missing, and only counted */
        int64_t n = c->n;
        for (c->n = 0; c->n < n;) {
            if (!grow(c)) return 0;
            if (kind == TIDE_COLUMN_TEXT) c->as.end[c->n++] = ~(int64_t)0;
            else c->as.f[c->n++] = NAN;
        }
    } else if (old == TIDE_COLUMN_INT) {
        for (int64_t i = 0; i < c->n; i++) c->as.f[i] = (double)c->as.i[i];
    } else if (old == TIDE_COLUMN_BOOL) {
        double *f = malloc((size_t)(c->n + 1) * sizeof *f);
        if (!f) return 0;
        for (int64_t i = 0; i < c->n; i++) f[i] = c->as.b[i];
        free(c->as.b);
        c->as.f = f, c->room = c->n + 1;
    }
    return 1;
}

/* The first value decides, others can only make it wider. */
static char kind_of(const tide_csv_field *f) {
    int v;
    int64_t i;
    double d;
    return tide_csv_integer(f->p, f->n, &i) ? TIDE_COLUMN_INT
        : tide_csv_number(f->p, f->n, &d)   ? TIDE_COLUMN_FLOAT
        : is_bool(f, &v)                    ? TIDE_COLUMN_BOOL
                                            : TIDE_COLUMN_TEXT;
}

/* Whole numbers that int64 cannot hold are texts, so that no digit is lost. */
static int is_long(const tide_csv_field *f) {
    for (size_t i = *f->p == '-' || *f->p == '+'; i < f->n; i++)
        if ((unsigned char)(f->p[i] - '0') > 9) return 0;
    return 1;
}

typedef enum { PUT, SHORT, WRONG } put_result;

/* What a column of that kind is once values are missing. */
static char with_gaps(char kind) {
    return kind == TIDE_COLUMN_INT ? TIDE_COLUMN_FLOAT
        : kind == TIDE_COLUMN_BOOL ? TIDE_COLUMN_TRUTH
                                   : kind;
}

static put_result put_missing(tide_column *c) {
    if (c->kind == TIDE_COLUMN_ANY) return c->n++, PUT;
    if (c->kind == TIDE_COLUMN_TEXT) return add_text(c, NULL, 0, 1) ? PUT : SHORT;
    if (with_gaps(c->kind) != c->kind) {
        if (!c->found) return WRONG;
        if (!widen(c, with_gaps(c->kind))) return SHORT;
    }
    if (!grow(c)) return SHORT;
    c->as.f[c->n++] = NAN;
    return PUT;
}

static put_result put(tide_column *c, const tide_csv_field *f) {
    for (;;) {
        int v, fits = 1;
        if (c->kind != TIDE_COLUMN_ANY && !grow(c)) return SHORT;
        switch (c->kind) {
        case TIDE_COLUMN_OUT: return PUT;
        case TIDE_COLUMN_INT: fits = tide_csv_integer(f->p, f->n, &c->as.i[c->n]); break;
        case TIDE_COLUMN_FLOAT: fits = tide_csv_number(f->p, f->n, &c->as.f[c->n]); break;
        case TIDE_COLUMN_BOOL:
            if ((fits = is_bool(f, &v))) c->as.b[c->n] = (uint8_t)v;
            break;
        case TIDE_COLUMN_TRUTH:
            if ((fits = is_bool(f, &v))) c->as.f[c->n] = v;
            break;
        case TIDE_COLUMN_TEXT: return add_text(c, f->p, f->n, 0) ? PUT : SHORT;
        default: fits = 0;
        }
        if (fits) return c->n++, PUT;
        if (!c->found) return WRONG;
        char kind = kind_of(f);
        if (kind == TIDE_COLUMN_FLOAT && is_long(f)) kind = TIDE_COLUMN_TEXT;
        if (c->kind == TIDE_COLUMN_ANY) kind = c->n > 0 ? with_gaps(kind) : kind;
        else if (c->kind != TIDE_COLUMN_INT || kind != TIDE_COLUMN_FLOAT) kind = TIDE_COLUMN_TEXT;
        if (!widen(c, kind)) return SHORT;
    }
}

static const char *noun(char kind) {
    return kind == TIDE_COLUMN_INT                              ? "int64"
        : kind == TIDE_COLUMN_BOOL || kind == TIDE_COLUMN_TRUTH ? "bool"
                                                                : "number";
}

/* Takes back what a row has added that is wrong. */
static void undo(tide_columns *t, int64_t upto) {
    for (int64_t i = 0; i < upto; i++) {
        tide_column *c = &t->column[i];
        if (c->kind == TIDE_COLUMN_OUT || c->n == t->rows) continue;
        c->n = t->rows;
        if (c->kind != TIDE_COLUMN_TEXT) continue;
        int64_t end = c->n ? c->as.end[c->n - 1] : 0;
        c->bytes_n = (size_t)(end < 0 ? ~end : end);
    }
}

static tide_found add_row(tide_columns *t, const tide_csv_field *f, int64_t n, int64_t line) {
    static const tide_csv_field empty = {"", 0, 0, 0};
    if (n > t->n) {
        fail(t,
             "line %" PRId64 ": the row has too many fields (expected %" PRId64 ", got %" PRId64
             ")",
             line, t->n, n);
        return TIDE_RECORD_BAD;
    }
    t->bytes += 8 * t->n;
    for (int64_t i = 0; i < t->n; i++) {
        tide_column *c = &t->column[i];
        if (c->kind == TIDE_COLUMN_OUT) continue;
        const tide_csv_field *x = i < n ? &f[i] : &empty;
        int missing = is_missing(t, x);
        put_result got = missing ? put_missing(c) : put(c, x);
        if (got == PUT && c->kind == TIDE_COLUMN_TEXT && !is_utf8(x->p, x->n)) got = WRONG;
        if (c->kind == TIDE_COLUMN_TEXT) t->bytes += (int64_t)x->n;
        if (got == PUT) continue;
        undo(t, i + 1);
        const char *name = t->names ? t->names[i] : "";
        if (got == SHORT) {
            fail(t, "line %" PRId64 ": not enough memory", line);
            return TIDE_RECORD_LOST;
        } else if (missing)
            fail(t, "line %" PRId64 ": column '%.60s' has no value (expected a value: %s)", line,
                 name, noun(c->kind));
        else if (c->kind == TIDE_COLUMN_TEXT)
            fail(t,
                 "line %" PRId64 ": column '%.60s' is not UTF-8; give its encoding, as encoding = "
                 "\"latin-1\"",
                 line, name);
        else
            fail(t, "line %" PRId64 ": column '%.60s' is no %s (got '%.*s')", line, name,
                 noun(c->kind), x->n > 40 ? 40 : (int)x->n, x->p);
        return TIDE_RECORD_BAD;
    }
    t->rows++;
    return TIDE_RECORD;
}

/* Lines of blanks alone are no rows where a row has several fields, or one that is a number. */
static int is_blank(const tide_csv_field *f, int64_t n) {
    for (size_t i = 0; n == 1 && i < f->n; i++)
        if (f->p[i] != ' ' && f->p[i] != '\t') return 0;
    return n == 1 && !f->quoted && f->n > 0;
}

tide_found tide_columns_read(tide_columns *t, tide_records *r, int64_t rows, int64_t bytes) {
    const char *p;
    size_t length;
    int64_t until = t->rows + rows, most = t->bytes + bytes;
    while (t->rows < until && t->bytes < most) {
        tide_found k = tide_records_next(r, &p, &length);
        if (k == TIDE_RECORD) {
            int64_t n, offset, records, lines;
            const tide_csv_field *f = tide_records_fields(r, &n);
            if (is_blank(f, n)) continue;
            tide_records_place(r, &offset, &records, &lines);
            k = add_row(t, f, n, lines);
        } else if (k != TIDE_RECORD_END && k != TIDE_RECORD_STOPPED) {
            fail(t, "%s", tide_records_error(r));
        }
        if (k != TIDE_RECORD) return k;
    }
    return TIDE_RECORD;
}
