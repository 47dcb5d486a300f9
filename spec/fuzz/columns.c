/* corpus: spec/ref/records
 * Fuzzes the reading of CSV into columns: kinds given or found, encodings, packed or not. Whatever
 * comes, columns that are kept have as many values as there are rows, and texts end in order. The
 * first two bytes choose how it is read. */
#define _GNU_SOURCE /* memfd_create */
#include "../../src/io/columns.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

enum { MOST = 1 << 16, COLUMNS = 6 };

static void check(tide_columns *t, const char *kinds) {
    int64_t rows = tide_columns_rows(t);
    for (int64_t i = 0; i < COLUMNS; i++) {
        const tide_column *c = tide_columns_at(t, i);
        if (kinds[i] != TIDE_COLUMN_ANY && c->kind != kinds[i]) abort();
        if (c->kind == TIDE_COLUMN_OUT) continue;
        if (c->n != rows || (c->again && c->kind != TIDE_COLUMN_OUT)) abort();
        double sum = 0;
        int64_t from = 0;
        for (int64_t k = 0; k < c->n; k++) switch (c->kind) {
            case TIDE_COLUMN_TEXT: {
                int64_t end = c->as.end[k] < 0 ? ~c->as.end[k] : c->as.end[k];
                if (end < from || end > (int64_t)c->bytes_n) abort();
                for (from = from < end ? from : end; from < end; from++) sum += c->bytes[from];
                break;
            }
            case TIDE_COLUMN_INT: sum += (double)c->as.i[k]; break;
            case TIDE_COLUMN_FLOAT: sum += c->as.f[k]; break;
            case TIDE_COLUMN_BOOL:
                if (c->as.b[k] > 1) abort();
                break;
            default: break;
            }
        if (sum == 1e300) abort(); /* the values are read */
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
    static const char *const missing[] = {"NA", "nan", "-", "null"};
    static const char *const names[COLUMNS] = {"a", "b", "c", "d", "e", "f"};
    static const char *const choices[] = {"??????", "?x?s?f", "ifbs??",
                                          "ssssss", "iiiiii", "ffbbxx"};
    static int fd = -1;
    static char path[64];
    if (n < 3) return 0;
    if (fd < 0) {
        fd = memfd_create("columns", 0);
        if (fd < 0) return 0;
        snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    }
    if (ftruncate(fd, 0) || pwrite(fd, data + 2, n - 2, 0) != (ssize_t)n - 2) return 0;
    tide_records_config config = {
        .format = TIDE_RECORDS_CSV,
        .packed = (tide_packed)((data[0] & 3) % 3),
        .encoding = (tide_charset)((data[0] >> 2 & 7) % 6),
        .most = MOST,
        .csv = {.delimiter = data[0] & 32 ? ';' : ',', .quote = data[0] & 64 ? '\0' : '"'}};
    const char *why, *kinds = choices[data[1] % 6];
    tide_records *r = tide_records_open(path, &config, &why);
    if (!r) return 0;
    tide_columns *t = tide_columns_new(kinds, COLUMNS, missing, 4, names);
    tide_found k;
    int64_t rows = 1 + (data[1] >> 4), reads = 0;
    while (t &&
           ((k = tide_columns_read(t, r, rows, 1 << 12)) == TIDE_RECORD || k == TIDE_RECORD_BAD)) {
        if (k == TIDE_RECORD_BAD && !*tide_columns_error(t)) abort();
        check(t, kinds);
        if (++reads > 1 << 14) abort();
    }
    if (t) check(t, kinds);
    tide_columns_free(t);
    tide_records_close(r);
    return 0;
}
