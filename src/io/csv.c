/* Owns the reading of CSV rows and of numbers in text. Invariant: nothing is written before the row
 * is whole, so that a row that ends behind the buffer can be read again from its beginning. */
#define _GNU_SOURCE /* strtod_l */
#include "csv.h"

#include <locale.h>
#include <pthread.h>
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

int64_t tide_csv_read(const tide_csv *c, char *p, char *end, int last, tide_csv_row *r,
                      int64_t *bad) {
    char *const start = p;
    int e;
    r->n = 0, r->lines = 0, r->what = NULL;
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
            p = q + 1;
            if (p == end && !last) return 0;
            if (p < end && *p != c->delimiter && (e = line_end(p, end, last)) == 0) {
                if (c->strict)
                    return fail(r, start, p, end, last, bad,
                                "characters follow a closing quote (expected the delimiter)");
                /* text behind the quote belongs to the field, as it stands */
                f->p -= 1, f->quoted = f->escaped = 0;
                while (p < end && *p != c->delimiter && *p != '\n' && *p != '\r') p++;
                f->n = (size_t)(p - f->p);
            }
        } else {
            char *from = p;
            for (; p < end && *p != c->delimiter && *p != '\n' && *p != '\r'; p++)
                if (c->strict && c->quote && *p == c->quote)
                    return fail(r, start, p, end, last, bad,
                                "a quote stands within an unquoted field");
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
    for (int64_t i = 0; i < r->n; i++) {
        tide_csv_field *f = &r->field[i];
        if (!f->escaped) continue;
        char *to = (char *)(uintptr_t)f->p; /* in the reader's own buffer */
        const char *p = f->p, *end = p + f->n;
        while (p < end) {
            if (*p == c->quote) p++;
            *to++ = *p++;
        }
        f->n = (size_t)(to - f->p), f->escaped = 0;
    }
}

void tide_csv_free(tide_csv_row *r) {
    free(r->field);
    *r = (tide_csv_row){0};
}

/* -- numbers -- */

static int is_blank(char c) { return c == ' ' || c == '\t'; }

static void trim(const char **p, size_t *n) {
    while (*n > 0 && is_blank(**p)) ++*p, --*n;
    while (*n > 0 && is_blank((*p)[*n - 1])) --*n;
}

int tide_csv_integer(const char *p, size_t n, int64_t *out) {
    trim(&p, &n);
    int negative = n > 0 && *p == '-';
    size_t i = n > 0 && (*p == '-' || *p == '+');
    uint64_t v = 0, most = (uint64_t)INT64_MAX + (uint64_t)negative;
    if (i == n) return 0;
    for (; i < n; i++) {
        unsigned d = (unsigned char)p[i] - '0';
        if (d > 9 || v > most / 10 || v * 10 > most - d) return 0;
        v = v * 10 + d;
    }
    *out = negative ? (int64_t)(0 - v) : (int64_t)v;
    return 1;
}

static locale_t c_locale;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static void make_locale(void) { c_locale = newlocale(LC_ALL_MASK, "C", (locale_t)0); }

static const double tens[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,
                              1e8,  1e9,  1e10, 1e11, 1e12, 1e13, 1e14, 1e15,
                              1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};

/* Exact where the digits fit 53 bits and the power of ten is exact (Clinger 1990); else 0. */
static int quick(const char *p, size_t n, double *out) {
    size_t i = 0;
    int negative = *p == '-', digits = 0, power = 0, seen = 0;
    uint64_t m = 0;
    i += *p == '-' || *p == '+';
    for (; i < n && (unsigned char)(p[i] - '0') < 10; i++) {
        m = m * 10 + (uint64_t)(p[i] - '0'), seen = 1;
        digits += m > 0;
        if (digits > 18) return 0;
    }
    if (i < n && p[i] == '.')
        for (i++; i < n && (unsigned char)(p[i] - '0') < 10; i++) {
            m = m * 10 + (uint64_t)(p[i] - '0'), seen = 1, power--;
            digits += m > 0;
            if (digits > 18) return 0;
        }
    if (!seen) return 0;
    if (i < n && (p[i] == 'e' || p[i] == 'E')) {
        int sign = 1, e = 0, some = 0;
        i++;
        if (i < n && (p[i] == '-' || p[i] == '+')) sign = p[i++] == '-' ? -1 : 1;
        for (; i < n && (unsigned char)(p[i] - '0') < 10 && e < 1000; i++)
            e = e * 10 + (p[i] - '0'), some = 1;
        if (!some) return 0;
        power += sign * e;
    }
    if (i != n || m > (uint64_t)1 << 53 || power < -22 || power > 22) return 0;
    double v = power < 0 ? (double)m / tens[-power] : (double)m * tens[power];
    *out = negative ? -v : v;
    return 1;
}

int tide_csv_number(const char *p, size_t n, double *out) {
    char text[512], *end;
    trim(&p, &n);
    if (n == 0) return 0;
    if (quick(p, n, out)) return 1;
    if (n >= sizeof text || memchr(p, 0, n) || memchr(p, 'x', n) || memchr(p, 'X', n) ||
        memchr(p, '(', n))
        return 0;
    memcpy(text, p, n);
    text[n] = '\0';
    pthread_once(&once, make_locale);
    double v = c_locale ? strtod_l(text, &end, c_locale) : strtod(text, &end);
    if (end != text + n || *text == ' ') return 0;
    *out = v;
    return 1;
}
