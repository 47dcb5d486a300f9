/* Owns the reading of CSV rows. Invariant: nothing is written before the row is whole, so that a
 * row that ends behind the buffer can be read again from its beginning. */
#include "csv.h"

#include <stdlib.h>
#include <string.h>

static tide_csv_field *add(tide_csv_row *r) {
    if (r->n == r->room) {
        int64_t room = r->room ? r->room * 2 : 16;
        tide_csv_field *f = realloc(r->field, (size_t)room * sizeof *f);
        if (!f) return NULL;
        r->field = f, r->room = room;
    }
    return &r->field[r->n++];
}

/* The end of a line that is at p (LF, CRLF or CR): its length, 0: none, -1: it may go on. */
static int line_end(const char *p, const char *end, int last) {
    if (p == end) return 0;
    if (*p == '\n') return 1;
    if (*p != '\r') return 0;
    if (p + 1 == end) return last ? 1 : -1;
    return p[1] == '\n' ? 2 : 1;
}

/* 0 where the row's line goes on behind `end`: it is read again with more. */
static int64_t fail(tide_csv_row *r, char *start, char *p, char *end, int last, int64_t *bad,
                    const char *what) {
    while (p < end && *p != '\n') p++;
    if (p == end && !last) return 0;
    r->what = what;
    *bad = p - start + (p < end);
    r->lines++;
    return -1;
}

/* The closing quote of a field that begins at p, and whether quotes are doubled in it; NULL: not
 * there. */
static char *closing(const tide_csv *c, char *p, char *end, int last, tide_csv_row *r,
                     int *doubled) {
    for (;; p++) {
        char *q = memchr(p, c->quote, (size_t)(end - p));
        for (char *s = p, *to = q ? q : end; (s = memchr(s, '\n', (size_t)(to - s))); s++)
            r->lines++;
        if (!q || (q + 1 == end && !last)) return NULL;
        if (q + 1 == end || q[1] != c->quote) return q;
        *doubled = 1, p = q + 1;
    }
}

/* -- the end of an unquoted field -- */

#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
enum { STEP = 8 };
/* A high bit where a byte of v is c, right up to the first such byte (borrows go upwards). */
static inline uint64_t bytes_of(uint64_t v, uint64_t c) {
    v ^= c * 0x0101010101010101u;
    return (v - 0x0101010101010101u) & ~v & 0x8080808080808080u;
}
#endif

static inline int stops(unsigned char c, unsigned char delimiter, unsigned char stray) {
    return c == delimiter || c == '\n' || c == '\r' || c == stray;
}

/* The first delimiter, line end or `stray` at p or behind it, or `end`. */
static inline char *scan(char *p, const char *end, unsigned char delimiter, unsigned char stray) {
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    for (; end - p >= STEP; p += STEP) {
        uint64_t v;
        memcpy(&v, p, STEP);
        uint64_t found = bytes_of(v, delimiter) | bytes_of(v, '\n') | bytes_of(v, '\r');
        if (stray != delimiter) found |= bytes_of(v, stray);
        if (found) return p + __builtin_ctzll(found) / 8;
    }
#endif
    while (p < end && !stops((unsigned char)*p, delimiter, stray)) p++;
    return p;
}

static char *field_end(char *p, const char *end, unsigned char delimiter, unsigned char stray) {
    return stray == delimiter ? scan(p, end, delimiter, delimiter) : scan(p, end, delimiter, stray);
}

int64_t tide_csv_read(const tide_csv *c, char *p, char *end, int last, tide_csv_row *r,
                      int64_t *bad) {
    char *const start = p;
    int e;
    unsigned char delimiter = (unsigned char)c->delimiter;
    /* a quote within an unquoted field is an error where all is strict; else nothing stops at it */
    unsigned char stray = c->strict && c->quote ? (unsigned char)c->quote : delimiter;
    r->n = 0, r->lines = 0, r->escaped = 0, r->what = NULL;
    if (p == end) return 0;
    if ((c->comment && *p == c->comment) || (!c->blank_rows && line_end(p, end, last))) {
        if (!c->comment || *p != c->comment) {
            e = line_end(p, end, last);
            return e < 0 ? 0 : (r->lines = 1, e);
        }
        char *nl = memchr(p, '\n', (size_t)(end - p));
        r->lines = 1;
        return nl ? nl + 1 - start : last ? end - start : 0;
    }
    for (;;) {
        tide_csv_field *f = add(r);
        if (!f) return -2;
        if (c->quote && p < end && *p == c->quote) {
            int doubled = 0;
            char *q = closing(c, p + 1, end, last, r, &doubled);
            if (!q) {
                if (!last) return 0;
                return fail(r, start, end, end, last, bad, "a quote is not closed");
            }
            *f = (tide_csv_field){p + 1, (size_t)(q - p - 1), 1, doubled};
            r->escaped |= doubled;
            p = q + 1;
            if (p == end && !last) return 0;
            if (p < end && *p != c->delimiter && (e = line_end(p, end, last)) == 0) {
                if (c->strict)
                    return fail(r, start, p, end, last, bad,
                                "characters follow a closing quote (expected the delimiter)");
                /* text behind the quote belongs to the field, as it stands */
                f->escaped = r->escaped = 1;
                p = field_end(p, end, delimiter, delimiter);
                f->n = (size_t)(p - f->p);
            }
        } else {
            char *from = p;
            p = field_end(p, end, delimiter, stray);
            if (p < end && stray != delimiter && (unsigned char)*p == stray)
                return fail(r, start, p, end, last, bad, "a quote stands within an unquoted field");
            *f = (tide_csv_field){from, (size_t)(p - from), 0, 0};
        }
        if (p == end) {
            if (!last) return 0;
            r->lines++;
            return p - start;
        }
        if (*p == c->delimiter) {
            p++;
            if (p == end && !last) return 0;
            continue;
        }
        e = line_end(p, end, last);
        if (e < 0) return 0;
        r->lines++;
        return p + e - start;
    }
}

void tide_csv_unescape(const tide_csv *c, tide_csv_row *r) {
    for (int64_t i = 0; r->escaped && i < r->n; i++) {
        tide_csv_field *f = &r->field[i];
        if (!f->escaped) continue;
        char *to = (char *)(uintptr_t)f->p; /* in the reader's own buffer */
        const char *p = f->p, *end = p + f->n;
        while (p < end) {
            /* of two quotes one stays; behind a single one nothing has a meaning */
            if (*p == c->quote && (++p == end || *p != c->quote)) {
                memmove(to, p, (size_t)(end - p));
                to += end - p;
                break;
            }
            *to++ = *p++;
        }
        f->n = (size_t)(to - f->p), f->escaped = 0;
    }
}

void tide_csv_free(tide_csv_row *r) {
    free(r->field);
    *r = (tide_csv_row){0};
}
