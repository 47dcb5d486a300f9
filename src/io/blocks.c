/* Owns the blocks that records become: texts are what the reader gives of its buffer, fields of
 * rows are copied. Invariant: a record that is wrong leaves nothing in them. */
#include "blocks.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BYTES = 2 << 20, KEPT = 8 << 20 }; /* of a block; of one that is used again */

/* Whole numbers by their kind: what the dtype of a column holds. */
static const struct {
    char kind;
    const char *name;
    int64_t least, most;
} integers[] = {{'i', "int64", INT64_MIN, INT64_MAX}, {'w', "int32", INT32_MIN, INT32_MAX},
                {'c', "int8", INT8_MIN, INT8_MAX},    {'u', "uint8", 0, UINT8_MAX},
                {'b', "bool (0 or 1)", 0, 1},         {'f', "number", 0, 0}};

/* The place of a kind there. */
static int integer_kind(char kind) {
    int i = 0;
    while (integers[i].kind != kind && integers[i].kind != 'f') i++;
    return i;
}

static tide_found fail(tide_block *, tide_found, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
static tide_found fail(tide_block *b, tide_found k, const char *fmt, ...) {
    va_list args;
    va_start(args, fmt);
    vsnprintf(b->error, sizeof b->error, fmt, args);
    va_end(args);
    return k;
}

static int put_text(tide_block *b, const char *p, size_t n) {
    if (b->room - b->n < n) {
        size_t room = b->room + n > BYTES ? b->room + n + BYTES / 2 : (b->room + n) * 2;
        char *bytes = realloc(b->bytes, room);
        if (!bytes) return 0;
        b->bytes = bytes, b->room = room;
    }
    if (n) memcpy(b->bytes + b->n, p, n);
    b->cell[b->cells++] = (tide_cell){'s', {.text = {b->n, n}}};
    b->n += n;
    return 1;
}

/* Room for n more cells. */
static int grow(tide_block *b, int64_t n) {
    if (b->cell_room - b->cells >= n) return 1;
    int64_t room = (b->cells + n) * 2;
    tide_cell *cell = realloc(b->cell, (size_t)room * sizeof *cell);
    if (!cell) return 0;
    b->cell = cell, b->cell_room = room;
    return 1;
}

static tide_found take_row(tide_block *b, const tide_records *r, const tide_taken *c) {
    static const tide_csv_field none = {"", 0, 0, 0};
    int64_t n, offset, records, line;
    const tide_csv_field *f = tide_records_fields(r, &n);
    tide_records_place(r, &offset, &records, &line);
    if (c->width && n != c->width)
        return fail(b, TIDE_RECORD_BAD,
                    "line %" PRId64 ": the row has %" PRId64 " fields (expected %" PRId64 ")", line,
                    n, c->width);
    for (int64_t i = 0; i < c->n; i++) {
        int64_t k = c->column ? c->column[i] : i;
        const tide_csv_field *x = k < n ? &f[k] : &none;
        char kind = c->kinds[i];
        tide_cell *cell = &b->cell[b->cells];
        const int w = integer_kind(kind);
        if ((x->n == 0 && !(x->quoted && kind == 's')) ||
            (c->na_n > 0 && x->n == c->na_n && !memcmp(x->p, c->na, x->n))) {
            if (c->needed[i])
                return fail(b, TIDE_RECORD_BAD,
                            "line %" PRId64 ": field %" PRId64 " is empty (expected a value)", line,
                            k + 1);
            cell->kind = 0, b->cells++;
        } else if (kind == 's') {
            if (!put_text(b, x->p, x->n))
                return fail(b, TIDE_RECORD_LOST, "line %" PRId64 ": not enough memory", line);
        } else if (kind != 'f' && tide_csv_integer(x->p, x->n, &cell->as.i) &&
                   cell->as.i >= integers[w].least && cell->as.i <= integers[w].most) {
            cell->kind = 'i', b->cells++;
        } else if (kind == 'f' && tide_csv_number(x->p, x->n, &cell->as.f)) {
            cell->kind = 'f', b->cells++;
        } else {
            return fail(b, TIDE_RECORD_BAD,
                        "line %" PRId64 ": field %" PRId64 " is no %s (got '%.*s')", line, k + 1,
                        integers[w].name, x->n > 40 ? 40 : (int)x->n, x->p);
        }
    }
    return TIDE_RECORD;
}

static tide_found take(tide_block *b, tide_records *r, const tide_taken *c) {
    const char *p;
    size_t n;
    tide_found k = tide_records_next(r, &p, &n);
    if (k == TIDE_RECORD_BAD || k == TIDE_RECORD_LOST) fail(b, k, "%s", tide_records_error(r));
    if (k != TIDE_RECORD) return k;
    const int64_t cells = b->cells;
    const size_t bytes = b->n;
    if (!grow(b, c->kinds ? c->n : 1)) k = fail(b, TIDE_RECORD_LOST, "not enough memory");
    else if (c->kinds) k = take_row(b, r, c);
    else {
        tide_cell *cell = &b->cell[b->cells++];
        *cell = (tide_cell){'s', {.text = {0, n}}};
        tide_records_keep(r, p, n, &cell->as.text.at);
    }
    if (k == TIDE_RECORD) b->count++;
    else b->cells = cells, b->n = bytes;
    return k;
}

static void fill(tide_block *b, tide_records *r, const tide_taken *c) {
    b->n = 0, b->cells = b->count = b->skipped = 0, *b->error = '\0', b->found = TIDE_RECORD;
    while (b->count < c->most && b->n + (size_t)b->cells * 16 < BYTES && !tide_records_full(r)) {
        tide_found k = take(b, r, c);
        if (k == TIDE_RECORD) continue;
        b->found = k;
        if (k == TIDE_RECORD_END || k == TIDE_RECORD_STOPPED || !c->skip) return;
        b->skipped++;
    }
    b->found = TIDE_RECORD;
}

void tide_block_read(tide_block *b, tide_records *r, const tide_taken *c) {
    if (b->room > KEPT) tide_block_free(b);
    fill(b, r, c);
    if (b->cells == 0 || c->kinds) return;
    size_t base;
    if (!tide_records_give(r, &b->bytes, &b->room, &base)) {
        b->cells = b->count = 0;
        b->found = fail(b, TIDE_RECORD_LOST, "not enough memory for a block of records");
    }
    for (int64_t i = 0; i < b->cells; i++) b->cell[i].as.text.at -= base;
}

void tide_block_free(tide_block *b) {
    free(b->bytes), free(b->cell);
    *b = (tide_block){0};
}
