/* corpus: spec/ref/records
 * Fuzzes the readers of records, lines, pieces of one length and CSV rows, plain and packed: reads
 * to the end, then once more from a place in the middle, where the same must follow. The first byte
 * chooses the format, the second the encoding. */
#define _GNU_SOURCE /* memfd_create */
#include "../../src/io/records.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

enum { MOST = 1 << 16 };

/* Reads up to `most` records; a sum over what they hold. */
static uint64_t walk(tide_records *r, int csv, int64_t most, int64_t *count, int *lost) {
    uint64_t sum = 1469598103934665603u;
    const char *p;
    size_t len;
    for (*count = 0; *count < most; ++*count) {
        tide_found k = tide_records_next(r, &p, &len);
        if (k == TIDE_RECORD_END) return sum;
        if (k != TIDE_RECORD) { /* what is wrong is a sentence */
            if (!*tide_records_error(r)) abort();
            sum = sum * 31 + 7;
            *lost |= k == TIDE_RECORD_LOST;
            continue;
        }
        int64_t fields = 0;
        const tide_csv_field *f = tide_records_fields(r, &fields);
        for (int64_t i = 0; csv && i < fields; i++) {
            double d;
            int64_t v;
            for (size_t b = 0; b < f[i].n; b++) sum = (sum ^ (uint8_t)f[i].p[b]) * 1099511628211u;
            sum += (uint64_t)(tide_csv_number(f[i].p, f[i].n, &d) +
                              tide_csv_integer(f[i].p, f[i].n, &v));
        }
        for (size_t b = 0; !csv && b < len; b++) sum = (sum ^ (uint8_t)p[b]) * 1099511628211u;
    }
    return sum;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
    static int fd = -1;
    static char path[64];
    if (n < 3) return 0;
    if (fd < 0) {
        fd = memfd_create("records", 0);
        if (fd < 0) return 0;
        snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    }
    if (ftruncate(fd, 0) || pwrite(fd, data + 2, n - 2, 0) != (ssize_t)n - 2) return 0;
    tide_records_config c = {.format = (tide_records_format)(data[0] & 3),
                             .packed = (tide_packed)((data[0] >> 2 & 3) % 3),
                             .encoding = (tide_charset)(data[1] % 12 < 6 ? data[1] % 12 : 0),
                             .most = MOST,
                             .header_bytes = data[0] >> 4 & 1 ? 3 : 0,
                             .footer_bytes = data[0] >> 5 & 1 ? 2 : 0,
                             .record_bytes = 1 + (data[0] >> 6),
                             .csv = {.delimiter = ',',
                                     .quote = data[0] & 16 ? '\0' : '"',
                                     .comment = data[0] & 32 ? '#' : '\0',
                                     .strict = data[0] >> 6 & 1,
                                     .blank_rows = data[0] >> 7}};
    const char *why;
    tide_records *r = tide_records_open(path, &c, &why);
    if (!r) return 0;
    int csv = c.format == TIDE_RECORDS_CSV, lost = 0, later = 0;
    int64_t all, head, tail, offset, records, lines;
    walk(r, csv, 1 << 20, &all, &lost);
    tide_records_close(r);
    lost = 0;
    if (all == 0 || !(r = tide_records_open(path, &c, &why))) return 0;
    walk(r, csv, all / 2, &head, &lost);
    tide_records_place(r, &offset, &records, &lines);
    uint64_t rest = walk(r, csv, 1 << 20, &tail, &later);
    if (head + tail != all) abort();
    if (!lost && tide_records_seek(r, offset, records, lines) &&
        (walk(r, csv, 1 << 20, &tail, &later) != rest || head + tail != all))
        abort();
    tide_records_close(r);
    return 0;
}
