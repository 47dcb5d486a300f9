/* Rows of a file as columns of numbers, truth values and texts; their kinds are given, or found as
 * the rows come. No context and no Lua. Memory grows with what was read. */
#ifndef TIDE_COLUMNS_H
#define TIDE_COLUMNS_H

#include "records.h"

typedef enum {
    TIDE_COLUMN_OUT = 'x',  /* left out */
    TIDE_COLUMN_ANY = '?',  /* only missing values so far */
    TIDE_COLUMN_BOOL = 'b', /* true and false in any case */
    TIDE_COLUMN_INT = 'i',
    TIDE_COLUMN_FLOAT = 'f', /* a missing value is NaN */
    TIDE_COLUMN_TRUTH = 't', /* true and false as floats, for there are missing values */
    TIDE_COLUMN_TEXT = 's',
} tide_column_kind;

typedef struct {
    char kind;
    int found; /* the kind follows the values */
    int again; /* texts came behind numbers that are not kept: they have to be read once more */
    int64_t n, room;
    union {
        uint8_t *b;
        int64_t *i;
        double *f;
        int64_t *end; /* text k ends at end[k] in bytes, its own complement: missing */
    } as;
    char *bytes;
    size_t bytes_n, bytes_room;
} tide_column;

typedef struct tide_columns tide_columns;

/* `kinds`: a kind per field of a row; '?' is found: bool, int64, float64 (int64 or bool with
 * missing values, too) or text, what all values are. `missing`: the texts of fields that count as
 * missing beside the empty one, [n]. `names`: of the fields, for messages, optional. All are
 * copied. NULL: memory is short. */
tide_columns *tide_columns_new(const char *kinds, int64_t n, const char *const *missing,
                               int64_t missing_n, const char *const *names);
void tide_columns_free(tide_columns *); /* accepts NULL */
/* Adds up to `rows` rows, or some more than `bytes` bytes of text and numbers. TIDE_RECORD: as many
 * are there; else what stopped it, with a message in tide_columns_error for BAD and LOST. A row
 * that is wrong adds nothing. Short rows end in missing values. */
tide_found tide_columns_read(tide_columns *, tide_records *, int64_t rows, int64_t bytes);
int64_t tide_columns_rows(const tide_columns *);
tide_column *tide_columns_at(tide_columns *, int64_t i);
const char *tide_columns_error(const tide_columns *);

#endif
