/* Files that are read record by record: TFRecord, lines of text, records of one length, CSV rows;
 * plain, gzip or zlib. No context and no Lua, so that threads may read too; one thread at a time.
 *
 * Memory is bounded: a buffer holds what was really read, and no record may be longer than `most`.
 */
#ifndef TIDE_RECORDS_H
#define TIDE_RECORDS_H

#include "csv.h"

#include "../tide.h"

typedef enum {
    TIDE_RECORDS_TF,
    TIDE_RECORDS_LINES,
    TIDE_RECORDS_FIXED,
    TIDE_RECORDS_CSV
} tide_records_format;
typedef enum { TIDE_PACKED_NONE, TIDE_PACKED_GZIP, TIDE_PACKED_ZLIB } tide_packed;
/* Of text, which is handed out as UTF-8. ANY: UTF-16 where the file opens with its mark, else as it
 * stands; UTF16: by its mark, without one little-endian. */
typedef enum {
    TIDE_TEXT_PLAIN, /* as it stands */
    TIDE_TEXT_ANY,
    TIDE_TEXT_LATIN1,
    TIDE_TEXT_UTF16,
    TIDE_TEXT_UTF16LE,
    TIDE_TEXT_UTF16BE
} tide_charset;

typedef struct {
    tide_records_format format;
    tide_packed packed;
    tide_charset encoding;
    int64_t most;                       /* bytes of a record; 0: 1 GB */
    int64_t header_bytes, footer_bytes; /* of the file; fixed records */
    int64_t record_bytes;               /* fixed records */
    int keep_returns;                   /* lines: carriage returns stay */
    tide_csv csv;
    int (*go_on)(void *); /* optional: asked now and then, not 0: the read is given up */
    void *user;
} tide_records_config;

typedef struct tide_records tide_records;

typedef enum {
    TIDE_RECORD, /* `data` and `n`, or for CSV the fields, valid until the next call */
    TIDE_RECORD_END,
    TIDE_RECORD_BAD,     /* this one alone: the next call goes on behind it */
    TIDE_RECORD_LOST,    /* the rest of the file cannot be read */
    TIDE_RECORD_STOPPED, /* go_on said so */
} tide_found;

/* Opens; NULL, and `why` holds a sentence about the path. */
tide_records *tide_records_open(const char *path, const tide_records_config *, const char **why);
void tide_records_close(tide_records *); /* accepts NULL */
tide_found tide_records_next(tide_records *, const char **data, size_t *n);
/* The record that was found last, of n bytes at `data`, stays in the reader's buffer, at `at`, till
 * the buffer is given. */
void tide_records_keep(tide_records *, const char *data, size_t n, size_t *at /* out */);
/* Whether the buffer has probably no room for one more. */
int tide_records_full(const tide_records *);
/* Gives what was kept: as a copy, or, where less was read behind it, as the buffer itself, for
 * which the one that is there, NULL or of `room` bytes, is taken. What stood at `at` stands at `at`
 * - `base`. 0: no memory; nothing is kept any more. */
int tide_records_give(tide_records *, char **buf, size_t *room, size_t *base /* out */);
/* Of the last CSV row; unescaped. */
const tide_csv_field *tide_records_fields(const tide_records *, int64_t *n);
/* What was wrong, after TIDE_RECORD_BAD or LOST: a sentence that names record or line. */
const char *tide_records_error(const tide_records *);
/* Where the next record begins: bytes of the unpacked file, and the records and lines before it. */
void tide_records_place(const tide_records *, int64_t *offset, int64_t *records, int64_t *lines);
/* Goes there. 0: the file is shorter, or cannot be read. */
int tide_records_seek(tide_records *, int64_t offset, int64_t records, int64_t lines);

#endif
