/* Rows of comma-separated values (RFC 4180): quotes, doubled quotes, line ends in quotes, LF, CRLF
 * and CR. Fields are found first and unescaped in place when the row is whole. */
#ifndef TIDE_CSV_H
#define TIDE_CSV_H

#include <stddef.h>
#include <stdint.h>

typedef struct {
    char delimiter, quote; /* quote 0: quotes are ordinary characters */
    char comment;          /* rows that begin with it are left out; 0: none */
    int strict;            /* quotes within unquoted fields are errors, as in TensorFlow */
    int blank_rows;        /* empty lines are rows of one empty field; else they are left out */
} tide_csv;

typedef struct {
    const char *p;
    size_t n;
    int quoted, escaped; /* escaped: doubled quotes are in it, see tide_csv_unescape */
} tide_csv_field;

typedef struct {
    tide_csv_field *field;
    int64_t n, room;
    int64_t lines;    /* line ends in the row, its own included */
    int escaped;      /* some field is */
    const char *what; /* of an error */
} tide_csv_row;

/* Reads one row from p..end. `last`: nothing follows `end`. Returns the bytes that it takes, 0
 * where it is not whole yet (or where p == end), -1 for an error (`what`; the bytes up to the next
 * line end are then in `*bad`), -2 where memory is short. A row of no fields was left out. */
int64_t tide_csv_read(const tide_csv *, char *p, char *end, int last, tide_csv_row *row,
                      int64_t *bad);
void tide_csv_unescape(const tide_csv *,
                       tide_csv_row *row); /* fields with doubled quotes, in place */
void tide_csv_free(tide_csv_row *);

/* A number as text says it: decimal, exponent, inf and nan in any case, blanks around it; always
 * with a point. 0: it is none. */
int tide_csv_number(const char *p, size_t n, double *out);
int tide_csv_integer(const char *p, size_t n, int64_t *out); /* 0: none, or out of range */

#endif
