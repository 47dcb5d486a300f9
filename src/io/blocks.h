/* Blocks of records: what a reader finds next, copied, so that a worker thread may read ahead while
 * what it read before is in use. No context and no Lua. */
#ifndef TIDE_BLOCKS_H
#define TIDE_BLOCKS_H

#include "records.h"

/* What is taken of rows of CSV. */
typedef struct {
    char *kinds; /* s text, f number, i, w, c, u, b whole numbers; a letter per column that is
                  * taken; NULL: records are texts as they stand */
    int64_t n;
    int64_t *column; /* from 0, [n]; NULL: all in order */
    char *needed;    /* [n]: an empty field is an error */
    int64_t width;   /* fields that a row must have; 0: as many as it has */
    char *na;        /* a field that counts as empty; NULL: none */
    size_t na_n;
    int64_t most; /* records of a block */
    int skip;     /* what is damaged is left out and counted */
} tide_taken;

typedef struct {
    char kind; /* s, i, f, or 0: the field is empty */
    union {
        int64_t i;
        double f;
        struct {
            size_t at, n; /* in the block's bytes */
        } text;
    } as;
} tide_cell;

typedef struct {
    char *bytes;
    size_t n, room;
    tide_cell *cell;
    int64_t cells, cell_room;
    int64_t count, skipped; /* records in it, and those left out */
    tide_found found;       /* what ended it: TIDE_RECORD where it is full */
    char error[300];        /* of the last record that was left out, or of the one that ended it */
} tide_block;

/* Fills the block anew, with up to `most` records: as many as the reader's buffer holds, or rows of
 * some more than 2 MB. */
void tide_block_read(tide_block *, tide_records *, const tide_taken *);
void tide_block_free(tide_block *); /* what it holds, not itself */

#endif
