/* Owns the readers of records: a buffer over a file that may be packed, and what tells records
 * apart. Invariant: buf[start..end) is what was read and not yet handed out, `offset` is the place
 * of buf[start] in the unpacked file; buf[from..kept) stays where it is. */
#include "records.h"

#include "../text/text.h"
#include "io.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>

enum { PIECE = 1 << 18, ROOM = 1 << 20, MOST = 1 << 30 };

struct tide_records {
    tide_records_config c;
    int fd, ended, stopped;
    int over;     /* the rest cannot be read */
    int64_t size; /* of the file, as it was opened */
    char *buf;
    int keeps;
    size_t from, kept, last; /* last: of the record that was kept last */
    size_t start, end, room;
    int64_t offset, records, lines;
    z_stream z;
    int z_open, z_ended;
    unsigned char *in;     /* packed bytes */
    tide_charset encoding; /* what c.encoding turned out to be */
    unsigned char *raw;    /* bytes of another encoding; the first `carry` are half a character */
    size_t carry;
    int64_t raw_offset; /* of raw[0] in the unpacked file */
    tide_csv_row row;
    char error[200];
};

static void fail(tide_records *r, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void fail(tide_records *r, const char *fmt, ...) {
    va_list args;
    va_start(args, fmt);
    vsnprintf(r->error, sizeof r->error, fmt, args);
    va_end(args);
}

static int begin_unpacking(tide_records *r) {
    r->z = (z_stream){0};
    r->z_ended = 0;
    r->z_open = inflateInit2(&r->z, r->c.packed == TIDE_PACKED_GZIP ? 15 + 16 : 15) == Z_OK;
    return r->z_open;
}

tide_records *tide_records_open(const char *path, const tide_records_config *c, const char **why) {
    tide_records *r = calloc(1, sizeof *r);
    *why = "not enough memory";
    if (!r) return NULL;
    r->c = *c;
    if (r->c.most <= 0) r->c.most = MOST;
    r->fd = tide_open_regular(path, &r->size, why);
    if (r->fd < 0) {
        free(r);
        return NULL;
    }
    r->room = ROOM;
    r->buf = malloc(r->room);
    r->encoding = c->encoding;
    if (c->encoding != TIDE_TEXT_PLAIN) r->raw = malloc(PIECE);
    if (c->packed != TIDE_PACKED_NONE) r->in = malloc(PIECE);
    if (!r->buf || (c->encoding != TIDE_TEXT_PLAIN && !r->raw) ||
        (c->packed != TIDE_PACKED_NONE && (!r->in || !begin_unpacking(r)))) {
        *why = "not enough memory";
        tide_records_close(r);
        return NULL;
    }
    return r;
}

void tide_records_close(tide_records *r) {
    if (!r) return;
    if (r->fd >= 0) close(r->fd);
    if (r->z_open) inflateEnd(&r->z);
    tide_csv_free(&r->row);
    free(r->buf), free(r->in), free(r->raw), free(r);
}

/* Reads up to n bytes of the file as it stands; -1: error. */
static ssize_t read_some(tide_records *r, void *to, size_t n) {
    ssize_t got;
    do got = read(r->fd, to, n);
    while (got < 0 && errno == EINTR);
    if (got < 0) fail(r, "cannot be read: %s", strerror(errno));
    return got;
}

/* Unpacks up to n bytes; members of a gzip file follow each other. -1: error, 0: the end. What was
 * unpacked before an error comes first: the error is met again by the next call. */
static ssize_t unpack(tide_records *r, void *to, size_t n) {
    z_stream *z = &r->z;
    z->next_out = to, z->avail_out = (uInt)n;
    while (z->avail_out == (uInt)n) {
        if (z->avail_in == 0) {
            ssize_t got = read_some(r, r->in, PIECE);
            if (got < 0) return -1;
            if (got == 0) {
                if (r->z_ended || r->size == 0) return 0;
                fail(r, "the packed data end early");
                return -1;
            }
            z->next_in = r->in, z->avail_in = (uInt)got;
        }
        if (r->z_ended) {
            if (r->c.packed != TIDE_PACKED_GZIP) {
                fail(r, "bytes follow the packed data");
                return -1;
            }
            inflateReset(z);
            r->z_ended = 0;
        }
        int st = inflate(z, Z_NO_FLUSH);
        r->z_ended = st == Z_STREAM_END;
        if (st == Z_OK || st == Z_STREAM_END || st == Z_BUF_ERROR || z->avail_out < (uInt)n)
            continue;
        fail(r, "the packed data are damaged (%s)", z->msg ? z->msg : "an error of zlib");
        return -1;
    }
    return (ssize_t)(n - z->avail_out);
}

static ssize_t source(tide_records *r, void *to, size_t n) {
    return r->c.packed == TIDE_PACKED_NONE ? read_some(r, to, n) : unpack(r, to, n);
}

/* What the first bytes say of an encoding that is not known yet. */
static void look_at_mark(tide_records *r, size_t n) {
    int little = n >= 2 && r->raw[0] == 0xff && r->raw[1] == 0xfe;
    int big = n >= 2 && r->raw[0] == 0xfe && r->raw[1] == 0xff;
    if (r->encoding == TIDE_TEXT_ANY) r->encoding = TIDE_TEXT_PLAIN;
    if (r->c.encoding == TIDE_TEXT_UTF16 || little) r->encoding = TIDE_TEXT_UTF16LE;
    if (big) r->encoding = TIDE_TEXT_UTF16BE;
}

/* One character of raw[at..n) in UTF-16 into `to`: the bytes it takes, 0: it is not whole, -1: it
 * is none. */
static int from_utf16(const tide_records *r, size_t at, size_t n, char *to, int *put) {
    int big = r->encoding == TIDE_TEXT_UTF16BE, took = 2;
    const unsigned char *p = r->raw + at;
    if (n - at < 2) return 0;
    int32_t c = p[big ? 1 : 0] | p[big ? 0 : 1] << 8;
    if (c >= 0xd800 && c < 0xe000) {
        if (c >= 0xdc00) return -1;
        if (n - at < 4) return 0;
        int32_t low = p[big ? 3 : 2] | p[big ? 2 : 3] << 8;
        if (low < 0xdc00 || low >= 0xe000) return -1;
        c = 0x10000 + ((c - 0xd800) << 10) + (low - 0xdc00), took = 4;
    }
    *put = tide_utf8_put(to, c);
    return took;
}

/* Reads text of another encoding as UTF-8, up to n bytes; as `unpack`. */
static ssize_t recode(tide_records *r, char *to, size_t n) {
    size_t out = 0, at;
    while (out == 0) {
        size_t want = n / 2 > PIECE ? PIECE : n / 2; /* a byte becomes 2 at most */
        int first = r->raw_offset == 0 && r->carry == 0;
        size_t room = want > r->carry ? want - r->carry : 0; /* 0: what is there is wrong */
        ssize_t got = room ? source(r, r->raw + r->carry, room) : 0;
        if (got < 0) return -1;
        size_t have = r->carry + (size_t)got;
        if (first && got > 0) {
            if (got == 1) { /* half a mark */
                ssize_t more = source(r, r->raw + 1, want - 1);
                if (more < 0) return -1;
                have += (size_t)more;
            }
            if (r->encoding == TIDE_TEXT_ANY || r->encoding == TIDE_TEXT_UTF16)
                look_at_mark(r, have);
        }
        if (got == 0 && have == 0) return 0;
        if (r->encoding == TIDE_TEXT_PLAIN) {
            memcpy(to, r->raw, have);
            out = at = have;
        } else if (r->encoding == TIDE_TEXT_LATIN1) {
            for (at = 0; at < have; at++) out += (size_t)tide_utf8_put(to + out, r->raw[at]);
        } else {
            int took = 0, put = 0;
            for (at = 0; at < have && (took = from_utf16(r, at, have, to + out, &put)) > 0;
                 at += (size_t)took)
                out += (size_t)put;
            if (took < 0 || (got == 0 && at < have)) {
                if (out > 0) { /* what stands before it comes first */
                    memmove(r->raw, r->raw + at, have - at);
                    r->carry = have - at, r->raw_offset += (int64_t)at;
                    return (ssize_t)out;
                }
                fail(r, "byte %" PRId64 ": %s", r->raw_offset + (int64_t)at + 1,
                     took < 0 ? "half a pair of UTF-16 stands alone"
                              : "UTF-16 ends in a character");
                return -1;
            }
        }
        memmove(r->raw, r->raw + at, have - at);
        r->carry = have - at, r->raw_offset += (int64_t)at;
    }
    return (ssize_t)out;
}

/* Reads more into the buffer, at least doubling what a long record has. 1: there is more, 0: the
 * end of the file, -1: an error. */
static int refill(tide_records *r) {
    if (r->ended) return 0;
    if (r->c.go_on && r->c.go_on(r->c.user) != 0) {
        r->stopped = 1;
        return -1;
    }
    if (r->start - r->kept > (r->kept ? PIECE : 0)) { /* a few bytes between records may stay */
        memmove(r->buf + r->kept, r->buf + r->start, r->end - r->start);
        r->end -= r->start - r->kept, r->start = r->kept;
    }
    if (r->room - r->end < PIECE / 2) {
        size_t room = r->room * 2;
        char *buf = realloc(r->buf, room);
        if (!buf) {
            fail(r, "not enough memory for %zu bytes", room);
            return -1;
        }
        r->buf = buf, r->room = room;
    }
    size_t want = r->room - r->end;
    if (want > (size_t)4 << 20) want = (size_t)4 << 20;
    char *to = r->buf + r->end;
    ssize_t got = r->encoding == TIDE_TEXT_PLAIN ? source(r, to, want) : recode(r, to, want);
    if (got < 0) return -1;
    r->end += (size_t)got;
    r->ended = got == 0;
    return got > 0;
}

/* Whether n bytes are in the buffer; fewer only at the end. -1: an error. */
static int need(tide_records *r, size_t n) {
    while (r->end - r->start < n) {
        int more = refill(r);
        if (more <= 0) return more;
    }
    return 1;
}

void tide_records_keep(tide_records *r, const char *data, size_t n, size_t *at) {
    *at = (size_t)(data - r->buf);
    if (!r->keeps) r->from = *at;
    r->kept = *at + n, r->last = n, r->keeps = 1;
}

int tide_records_full(const tide_records *r) {
    enum { BETWEEN = 64 }; /* more than stands between two records */
    return r->keeps && r->kept + r->last + BETWEEN > r->room;
}

int tide_records_give(tide_records *r, char **buf, size_t *room, size_t *base) {
    const size_t left = r->end - r->start, kept = r->kept - r->from;
    const int copies = left > kept; /* whichever is less */
    const size_t need = copies ? kept : left > ROOM ? left : ROOM;
    r->kept = 0, r->keeps = 0;
    if (*room < need) {
        char *bigger = realloc(*buf, need);
        if (!bigger) return 0;
        *buf = bigger, *room = need;
    }
    *base = copies ? r->from : 0;
    if (copies) {
        memcpy(*buf, r->buf + r->from, kept);
        return 1;
    }
    char *own = r->buf;
    const size_t had = r->room;
    memcpy(*buf, own + r->start, left);
    r->buf = *buf, r->room = *room, r->start = 0, r->end = left;
    *buf = own, *room = had;
    return 1;
}

static void take(tide_records *r, size_t n) { r->start += n, r->offset += (int64_t)n; }

/* Takes n bytes, however many, by pieces. 1: they were there, 0: the file has not so many, -1: an
 * error. */
static int pass_over(tide_records *r, uint64_t n) {
    while (n > 0) {
        int got = need(r, 1);
        if (got <= 0) return got;
        size_t have = r->end - r->start, step = have < n ? have : (size_t)n;
        take(r, step);
        n -= step;
    }
    return 1;
}

static uint64_t little(const char *p, int bytes) {
    uint64_t v = 0;
    for (int i = bytes; i-- > 0;) v = v << 8 | (unsigned char)p[i];
    return v;
}

/* The checksum as records keep it. */
static uint32_t masked(const void *p, size_t n) {
    uint32_t c = tide_crc32c(p, n);
    return (c >> 15 | c << 17) + 0xa282ead8u;
}

/* Nothing more can be read: the next call finds the end. */
static tide_found lost(tide_records *r) {
    if (r->stopped) {
        r->stopped = 0;
        return TIDE_RECORD_STOPPED;
    }
    r->start = r->end = r->kept, r->ended = r->over = 1;
    return TIDE_RECORD_LOST;
}

static tide_found next_tf(tide_records *r, const char **data, size_t *n) {
    int got = need(r, 12);
    size_t have = r->end - r->start;
    int64_t number = r->records + 1;
    if (got == 0 && have == 0) return TIDE_RECORD_END;
    if (got <= 0) {
        if (got == 0)
            fail(r, "record %" PRId64 ": the file ends in its length (expected 12 bytes, got %zu)",
                 number, have);
        return lost(r);
    }
    const char *p = r->buf + r->start;
    uint64_t length = little(p, 8);
    uint32_t sum = (uint32_t)little(p + 8, 4), own = masked(p, 8);
    if (sum != own) {
        fail(r, "record %" PRId64 ": the checksum of its length differs (expected %08x, got %08x)",
             number, (unsigned)sum, (unsigned)own);
        return lost(r);
    }
    if (length > (uint64_t)r->c.most) {
        fail(r, "record %" PRId64 ": %" PRIu64 " bytes are more than the %" PRId64 " allowed",
             number, length, r->c.most);
        if (length > (uint64_t)INT64_MAX - 16 || pass_over(r, length + 16) <= 0) return lost(r);
        r->records = number;
        return TIDE_RECORD_BAD;
    }
    if ((got = need(r, (size_t)length + 16)) <= 0) {
        if (got == 0)
            fail(r, "record %" PRId64 ": the file ends in it (expected %" PRIu64 " bytes, got %zu)",
                 number, length + 16, r->end - r->start);
        return lost(r);
    }
    p = r->buf + r->start + 12;
    sum = (uint32_t)little(p + length, 4), own = masked(p, (size_t)length);
    take(r, (size_t)length + 16);
    r->records = number;
    if (sum != own) {
        fail(r, "record %" PRId64 ": the checksum of its data differs (expected %08x, got %08x)",
             number, (unsigned)sum, (unsigned)own);
        return TIDE_RECORD_BAD;
    }
    *data = p, *n = (size_t)length;
    return TIDE_RECORD;
}

/* TensorFlow leaves all carriage returns out. */
static size_t without_returns(char *p, size_t n) {
    char *end = p + n, *to = memchr(p, '\r', n);
    if (!to) return n;
    for (char *from = to; from < end; from++)
        if (*from != '\r') *to++ = *from;
    return (size_t)(to - p);
}

/* A line that is too long is left out, by pieces. */
static tide_found long_line(tide_records *r) {
    for (;;) {
        char *end = memchr(r->buf + r->start, '\n', r->end - r->start);
        take(r, end ? (size_t)(end - r->buf) + 1 - r->start : r->end - r->start);
        const int more = end ? 0 : refill(r);
        if (more < 0) return lost(r);
        if (more == 0) break;
    }
    r->records++, r->lines++;
    fail(r, "line %" PRId64 ": it is longer than the %" PRId64 " bytes allowed", r->lines,
         r->c.most);
    return TIDE_RECORD_BAD;
}

static tide_found next_line(tide_records *r, const char **data, size_t *n) {
    size_t seen = 0;
    char *end;
    while (!(end = memchr(r->buf + r->start + seen, '\n', r->end - r->start - seen))) {
        seen = r->end - r->start;
        if ((int64_t)seen > r->c.most) return long_line(r);
        int more = refill(r);
        if (more < 0) return lost(r);
        if (more > 0) continue;
        if (seen == 0) return TIDE_RECORD_END;
        end = r->buf + r->end;
        break;
    }
    char *p = r->buf + r->start;
    size_t length = (size_t)(end - p);
    if ((int64_t)length > r->c.most) return long_line(r);
    take(r, length + (end < r->buf + r->end));
    r->records++, r->lines++;
    *data = p, *n = r->c.keep_returns ? length : without_returns(p, length);
    return TIDE_RECORD;
}

static tide_found next_fixed(tide_records *r, const char **data, size_t *n) {
    size_t size = (size_t)r->c.record_bytes, footer = (size_t)r->c.footer_bytes;
    int got;
    if (r->offset == 0 && r->c.header_bytes > 0) {
        if ((got = pass_over(r, (uint64_t)r->c.header_bytes)) <= 0) {
            if (got == 0)
                fail(r, "the file ends in its header (expected %" PRId64 " bytes)",
                     r->c.header_bytes);
            return lost(r);
        }
    }
    if ((got = need(r, size + footer)) < 0) return lost(r);
    if (got == 0) {
        size_t have = r->end - r->start;
        if (have == footer) return TIDE_RECORD_END;
        fail(r, "record %" PRId64 ": the file ends in it (expected %zu bytes, got %zu)",
             r->records + 1, size + footer, have);
        return lost(r);
    }
    *data = r->buf + r->start, *n = size;
    take(r, size);
    r->records++;
    return TIDE_RECORD;
}

static tide_found next_row(tide_records *r) {
    for (;;) {
        char *p = r->buf + r->start, *end = r->buf + r->end;
        int64_t bad = 0;
        if (r->offset == 0 && end - p >= 3 && !memcmp(p, "\xef\xbb\xbf", 3)) { /* a UTF-8 mark */
            take(r, 3);
            continue;
        }
        int64_t took = tide_csv_read(&r->c.csv, p, end, r->ended, &r->row, &bad);
        if (took > 0) {
            take(r, (size_t)took);
            r->lines += r->row.lines;
            if (r->row.n == 0) continue; /* left out */
            r->records++;
            if (took > r->c.most) {
                fail(r, "line %" PRId64 ": the row is longer than the %" PRId64 " bytes allowed",
                     r->lines, r->c.most);
                return TIDE_RECORD_BAD;
            }
            tide_csv_unescape(&r->c.csv, &r->row);
            return TIDE_RECORD;
        }
        if (took == -1) {
            fail(r, "line %" PRId64 ": %s", r->lines + 1, r->row.what);
            if (r->ended && bad >= end - p) return lost(r);
            take(r, (size_t)bad);
            r->records++, r->lines += r->row.lines;
            return TIDE_RECORD_BAD;
        }
        if (took == -2) {
            fail(r, "line %" PRId64 ": not enough memory for its fields", r->lines + 1);
            return lost(r);
        }
        if (r->ended) return TIDE_RECORD_END;
        if (end - p > r->c.most) {
            fail(r, "line %" PRId64 ": the row is longer than the %" PRId64 " bytes allowed",
                 r->lines + 1, r->c.most);
            return lost(r);
        }
        /* what is there is read again with as much more, so a long row costs twice its length */
        size_t had = r->end - r->start;
        do
            if (refill(r) < 0) return lost(r);
        while (!r->ended && r->end - r->start < 2 * had);
    }
}

tide_found tide_records_next(tide_records *r, const char **data, size_t *n) {
    if (r->over) return TIDE_RECORD_END;
    switch (r->c.format) {
    case TIDE_RECORDS_TF: return next_tf(r, data, n);
    case TIDE_RECORDS_LINES: return next_line(r, data, n);
    case TIDE_RECORDS_FIXED: return next_fixed(r, data, n);
    default: *data = NULL, *n = 0; return next_row(r);
    }
}

const tide_csv_field *tide_records_fields(const tide_records *r, int64_t *n) {
    *n = r->row.n;
    return r->row.field;
}

const char *tide_records_error(const tide_records *r) { return r->error; }

void tide_records_place(const tide_records *r, int64_t *offset, int64_t *records, int64_t *lines) {
    *offset = r->offset, *records = r->records, *lines = r->lines;
}

int tide_records_seek(tide_records *r, int64_t offset, int64_t records, int64_t lines) {
    if (r->encoding == TIDE_TEXT_ANY && need(r, 1) < 0) return 0;
    int plain = r->c.packed == TIDE_PACKED_NONE && r->encoding == TIDE_TEXT_PLAIN;
    r->kept = r->start = r->end = 0, r->keeps = 0, r->offset = 0, r->ended = r->over = 0;
    r->records = records, r->lines = lines;
    if (lseek(r->fd, plain ? offset : 0, SEEK_SET) < 0) return 0;
    if (plain) {
        r->offset = offset;
        return offset <= r->size;
    }
    r->encoding = r->c.encoding, r->carry = 0, r->raw_offset = 0;
    if (r->z_open) inflateEnd(&r->z);
    if (r->c.packed != TIDE_PACKED_NONE && !begin_unpacking(r)) return 0;
    r->z.avail_in = 0;
    return offset <= 0 || pass_over(r, (uint64_t)offset) > 0;
}
