/* Owns the safetensors format: 8 bytes N (little-endian), N bytes of JSON, the tensors without
 * holes.
 *
 * Invariant: a file that tide_st_open accepts is covered exactly by its entries, so no byte is
 * unaccounted for, and every size was checked against the file's before anything of that size was
 * allocated. Checksums (crc32 in `__metadata__`, keys "crc32:<name>" per tensor and "crc32" for
 * everything else) are Tide's addition; files without them are read too. */
#include "io.h"
#include "../core.h"

#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>

#define MAX_HEADER UINT64_C(100000000)
enum { MAX_RANK = 16, MAX_NAME = 65535, MAX_TENSORS = 500000, ALIGN = 8 };
#define CRC_PREFIX "crc32:"

static const struct {
    const char *name;
    int bytes, dtype;
} dtypes[] = {
    {"F64", 8, TIDE_F64},   {"I64", 8, TIDE_I64},   {"U64", 8, -1},         {"C64", 8, -1},
    {"F32", 4, TIDE_F32},   {"I32", 4, TIDE_I32},   {"U32", 4, -1},         {"F16", 2, TIDE_F16},
    {"BF16", 2, TIDE_BF16}, {"I16", 2, -1},         {"U16", 2, -1},         {"U8", 1, TIDE_U8},
    {"I8", 1, TIDE_I8},     {"BOOL", 1, TIDE_BOOL}, {"F8_E5M2", 1, -1},     {"F8_E4M3", 1, -1},
    {"F8_E8M0", 1, -1},     {"F8_E4M3FNUZ", 1, -1}, {"F8_E5M2FNUZ", 1, -1},
};
enum { N_DTYPES = sizeof dtypes / sizeof *dtypes };

typedef struct {
    const char *key, *value;
} pair;

struct tide_st_file {
    int fd;
    char *path;
    char *text; /* the header; names and metadata point into it */
    int64_t n, n_meta;
    tide_st_entry *entries; /* [n], in order of `begin` */
    int64_t *sizes;         /* [n_sizes], of all shapes; the entries point into it */
    int64_t n_sizes;
    pair *meta; /* [n_meta], in order of the keys */
    uint64_t data_at, data_bytes;
};

static int by_begin(const void *a, const void *b) {
    const tide_st_entry *x = a, *y = b;
    if (x->begin != y->begin) return x->begin < y->begin ? -1 : 1;
    if (x->end != y->end)
        return x->end < y->end ? -1 : 1; /* empty tensors share a place with their successor */
    return strcmp(x->name, y->name);
}

static uint32_t crc_text(uint32_t crc, const char *s) {
    return (uint32_t)crc32(crc, (const Bytef *)s, (uInt)strlen(s) + 1);
}

static uint32_t crc_bytes(const void *p, uint64_t n) {
    uLong crc = crc32(0, Z_NULL, 0);
    for (const Bytef *b = p; n > 0;) {
        uInt chunk = n < (1u << 30) ? (uInt)n : (1u << 30);
        crc = crc32(crc, b, chunk);
        b += chunk, n -= chunk;
    }
    return (uint32_t)crc;
}

static uint32_t crc_entry(uint32_t crc, const tide_st_entry *e) {
    char line[64 + 24 * MAX_RANK];
    int at = snprintf(line, sizeof line, "%s[", e->dtype_name);
    for (int i = 0; i < e->rank; i++)
        at += snprintf(line + at, sizeof line - (size_t)at, "%" PRId64 ",", e->shape[i]);
    snprintf(line + at, sizeof line - (size_t)at, "]%" PRIu64 ":%" PRIu64, e->begin, e->end);
    return crc_text(crc_text(crc, e->name), line);
}

/* Order of the keys in the checksum of the header. */
static int by_text(const void *a, const void *b) {
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static int by_key(const void *a, const void *b) {
    return strcmp(((const pair *)a)->key, ((const pair *)b)->key);
}

/* The last string with a NUL behind it, in its own place: the quote that ended it was read. */
static const char *text_of(const tide_json *j) {
    char *at = (char *)(uintptr_t)j->string;
    at[tide_json_text(j, at)] = '\0';
    return at;
}

/* Fails, unless the token's own failure has said so already. */
static tide_status not_an_entry(tide_json *j, const char *path, const char *name) {
    if (j->status != TIDE_OK) return j->status;
    return tide_fail(j->ctx, TIDE_EIO,
                     "%s: the entry of tensor '%s' is malformed (expected dtype, shape and "
                     "data_offsets, nothing else)",
                     path, name);
}

/* An array of sizes into `to`, at most `most`; `n` (out): how many there are. -1 stands for what is
 * none. */
static tide_status sizes(tide_json *j, const char *path, const char *name, int64_t *to,
                         int64_t most, int64_t *n) {
    if (tide_json_next(j) != TIDE_JSON_ARRAY) return not_an_entry(j, path, name);
    *n = 0;
    for (tide_json_kind k; (k = tide_json_next(j)) != TIDE_JSON_END; ++*n) {
        if (k == TIDE_JSON_ERROR) return j->status;
        if (k == TIDE_JSON_OBJECT || k == TIDE_JSON_ARRAY) return not_an_entry(j, path, name);
        if (*n < most) to[*n] = k == TIDE_JSON_INTEGER && j->integer >= 0 ? j->integer : -1;
    }
    return TIDE_OK;
}

/* Room for one element more of `size` bytes in a list of n, whose room doubles. */
static tide_status grow(tide_ctx *ctx, const char *path, void **list, int64_t n, size_t size,
                        int64_t most) {
    if (n >= most)
        return tide_fail(ctx, TIDE_EIO, "%s: more than %" PRId64 " tensors or metadata", path,
                         most);
    if (n & (n - 1)) return TIDE_OK;
    void *p = realloc(*list, (n ? 2 * (size_t)n : 1) * size);
    if (!p) return tide_fail(ctx, TIDE_ENOMEM, "%s: not enough memory for the header", path);
    *list = p;
    return TIDE_OK;
}

static tide_status parse_entry(tide_json *j, tide_st_file *f, const char *name) {
    tide_ctx *ctx = j->ctx;
    const char *path = f->path;
    if (strlen(name) > MAX_NAME)
        return tide_fail(ctx, TIDE_EIO, "%s: a tensor's name has %zu bytes, more than %d", path,
                         strlen(name), MAX_NAME);
    if (tide_json_next(j) != TIDE_JSON_OBJECT) return not_an_entry(j, path, name);
    const char *dtype = NULL;
    int64_t rank = -1, ends = -1, offsets[2], shape[MAX_RANK];
    for (tide_json_kind k; (k = tide_json_next(j)) != TIDE_JSON_END;) {
        if (k == TIDE_JSON_ERROR) return j->status;
        const char *key = text_of(j);
        if (!strcmp(key, "dtype") && !dtype) {
            if (tide_json_next(j) != TIDE_JSON_STRING) return not_an_entry(j, path, name);
            dtype = text_of(j);
        } else if (!strcmp(key, "shape") && rank < 0) {
            TIDE_TRY(sizes(j, path, name, shape, MAX_RANK, &rank));
        } else if (!strcmp(key, "data_offsets") && ends < 0) {
            TIDE_TRY(sizes(j, path, name, offsets, 2, &ends));
        } else {
            return not_an_entry(j, path, name);
        }
    }
    if (!dtype || rank < 0 || ends != 2) return not_an_entry(j, path, name);
    int kind = -1;
    for (int i = 0; i < N_DTYPES; i++)
        if (!strcmp(dtypes[i].name, dtype)) kind = i;
    if (kind < 0)
        return tide_fail(ctx, TIDE_EIO, "%s: tensor '%s': unknown dtype '%.32s'", path, name,
                         dtype);
    if (rank > MAX_RANK)
        return tide_fail(ctx, TIDE_EIO, "%s: tensor '%s': rank %" PRId64 " is more than %d", path,
                         name, rank, MAX_RANK);
    uint64_t bytes = (uint64_t)dtypes[kind].bytes;
    for (int i = 0; i < rank; i++) {
        if (shape[i] < 0)
            return tide_fail(ctx, TIDE_EIO, "%s: tensor '%s': axis %d of the shape is not a size",
                             path, name, i + 1);
        if (__builtin_mul_overflow(bytes, (uint64_t)shape[i], &bytes))
            return tide_fail(ctx, TIDE_EIO, "%s: tensor '%s': the size of the shape overflows",
                             path, name);
    }
    if (offsets[0] < 0 || offsets[1] < offsets[0])
        return tide_fail(ctx, TIDE_EIO, "%s: tensor '%s': data_offsets are not a range", path,
                         name);
    uint64_t begin = (uint64_t)offsets[0], end = (uint64_t)offsets[1];
    if (end - begin != bytes)
        return tide_fail(ctx, TIDE_EIO,
                         "%s: tensor '%s': data_offsets span %" PRIu64
                         " bytes, dtype and shape need %" PRIu64,
                         path, name, end - begin, bytes);
    for (int i = 0; i < rank; i++) {
        TIDE_TRY(grow(ctx, path, (void **)&f->sizes, f->n_sizes, sizeof *f->sizes, INT64_MAX));
        f->sizes[f->n_sizes++] = shape[i];
    }
    TIDE_TRY(grow(ctx, path, (void **)&f->entries, f->n, sizeof *f->entries, MAX_TENSORS));
    f->entries[f->n++] = (tide_st_entry){.name = name,
                                         .dtype_name = dtypes[kind].name,
                                         .dtype = dtypes[kind].dtype,
                                         .rank = (int)rank,
                                         .begin = begin,
                                         .end = end};
    return TIDE_OK;
}

static tide_status parse_metadata(tide_json *j, tide_st_file *f) {
    if (tide_json_next(j) != TIDE_JSON_OBJECT)
        return j->status != TIDE_OK
            ? j->status
            : tide_fail(j->ctx, TIDE_EIO, "%s: __metadata__ is not an object", f->path);
    for (tide_json_kind k; (k = tide_json_next(j)) != TIDE_JSON_END;) {
        if (k == TIDE_JSON_ERROR) return j->status;
        const char *key = text_of(j);
        if ((k = tide_json_next(j)) != TIDE_JSON_STRING)
            return k == TIDE_JSON_ERROR
                ? j->status
                : tide_fail(j->ctx, TIDE_EIO, "%s: __metadata__ '%.200s' is not a string", f->path,
                            key);
        TIDE_TRY(
            grow(j->ctx, f->path, (void **)&f->meta, f->n_meta, sizeof *f->meta, 2 * MAX_TENSORS));
        f->meta[f->n_meta++] = (pair){key, text_of(j)};
    }
    if (f->n_meta) qsort(f->meta, (size_t)f->n_meta, sizeof *f->meta, by_key);
    for (int64_t i = 1; i < f->n_meta; i++)
        if (!strcmp(f->meta[i - 1].key, f->meta[i].key))
            return tide_fail(j->ctx, TIDE_EIO, "%s: __metadata__ has a duplicate key '%.200s'",
                             f->path, f->meta[i].key);
    return TIDE_OK;
}

static const char *metadata(const tide_st_file *f, const char *key) {
    const pair *found = f->n_meta
        ? bsearch(&(pair){.key = key}, f->meta, (size_t)f->n_meta, sizeof *f->meta, by_key)
        : NULL;
    return found ? found->value : NULL;
}

static tide_status check_crc(tide_ctx *ctx, tide_st_file *f) {
    const char *sum = metadata(f, "crc32");
    bool some = false;
    uint32_t crc = 0;
    for (int64_t i = 0; i < f->n_meta; i++) {
        const pair *p = &f->meta[i];
        some |= !strncmp(p->key, CRC_PREFIX, sizeof CRC_PREFIX - 1);
        if (strcmp(p->key, "crc32")) crc = crc_text(crc_text(crc, p->key), p->value);
    }
    if (!sum) /* either none of the checksums, or all */
        return some ? tide_fail(ctx, TIDE_EIO,
                                "%s: the header is damaged (its checksum is missing)", f->path)
                    : TIDE_OK;
    for (int64_t i = 0; i < f->n; i++) crc = crc_entry(crc, &f->entries[i]);
    char text[16];
    snprintf(text, sizeof text, "%08" PRIx32, crc);
    if (strcmp(text, sum))
        return tide_fail(ctx, TIDE_EIO,
                         "%s: the header is damaged (checksum %s, the file says %.8s)", f->path,
                         text, sum);
    return TIDE_OK;
}

const char *tide_twice(const char **names, int64_t n) {
    qsort(names, (size_t)n, sizeof *names, by_text);
    for (int64_t i = 1; i < n; i++)
        if (!strcmp(names[i - 1], names[i])) return names[i];
    return NULL;
}

/* f->text: n bytes and a NUL, which are changed. */
static tide_status parse_header(tide_ctx *ctx, tide_st_file *f, size_t n) {
    const char *path = f->path;
    char *text = f->text;
    if (text[0] != '{')
        return tide_fail(ctx, TIDE_EIO,
                         "%s: not a safetensors file (the header does not begin with '{')", path);
    size_t used = n;
    while (used > 0 && text[used - 1] == ' ') used--;
    if (used == 0 || text[used - 1] != '}')
        return tide_fail(ctx, TIDE_EIO, "%s: the header does not end with '}' and spaces", path);
    text[used] = '\0';
    tide_json j;
    bool described = false;
    TIDE_TRY(tide_json_begin(&j, ctx, path, text, used, MAX_HEADER));
    tide_json_next(&j);
    for (tide_json_kind k; (k = tide_json_next(&j)) != TIDE_JSON_END;) {
        if (k == TIDE_JSON_ERROR) return j.status;
        const char *name = text_of(&j);
        if (!strcmp(name, "__metadata__")) {
            if (described) return tide_json_duplicate(&j);
            described = true;
            TIDE_TRY(parse_metadata(&j, f));
            continue;
        }
        TIDE_TRY(parse_entry(&j, f, name));
    }
    if (tide_json_next(&j) != TIDE_JSON_DONE) return j.status;
    const char **names = malloc(((size_t)f->n + 1) * sizeof *names), *same;
    if (!names) return tide_fail(ctx, TIDE_ENOMEM, "%s: not enough memory for the header", path);
    const int64_t *shape = f->sizes;
    for (int64_t i = 0; i < f->n; i++) {
        names[i] = f->entries[i].name;
        f->entries[i].shape = shape, shape += f->entries[i].rank;
    }
    same = tide_twice(names, f->n);
    free(names);
    if (same)
        return tide_fail(ctx, TIDE_EIO, "%s: the header has a duplicate key '%.200s'", path, same);
    if (f->n) qsort(f->entries, (size_t)f->n, sizeof *f->entries, by_begin);
    uint64_t at = 0;
    for (int64_t i = 0; i < f->n; i++) {
        tide_st_entry *e = &f->entries[i];
        if (e->begin != at)
            return tide_fail(ctx, TIDE_EIO,
                             "%s: tensor '%s' begins elsewhere (expected %" PRIu64 ", got %" PRIu64
                             "); holes and overlaps are refused",
                             path, e->name, at, e->begin);
        at = e->end;
    }
    if (f->fd >= 0 && at != f->data_bytes)
        return tide_fail(ctx, TIDE_EIO,
                         "%s: the tensors cover %" PRIu64 " bytes, the file has %" PRIu64, path, at,
                         f->data_bytes);
    for (int64_t i = 0; f->n_meta && i < f->n; i++) {
        tide_st_entry *e = &f->entries[i];
        char key[sizeof CRC_PREFIX + MAX_NAME];
        snprintf(key, sizeof key, CRC_PREFIX "%s", e->name);
        const char *sum = metadata(f, key);
        if (sum) e->has_crc = 1, e->crc = (uint32_t)strtoul(sum, NULL, 16);
    }
    return check_crc(ctx, f);
}

tide_status tide_st_open(tide_ctx *ctx, const char *path, tide_st_file **out) {
    tide_st_file *f = calloc(1, sizeof *f);
    if (!f || !(f->path = strdup(path))) {
        free(f);
        return tide_fail(ctx, TIDE_ENOMEM, "%s: not enough memory", path);
    }
    int64_t size;
    tide_status s = tide_file_open(ctx, path, &f->fd, &size);
    if (s != TIDE_OK) goto done;
    s = TIDE_EIO;
    unsigned char head[8];
    if (size < 8 || pread(f->fd, head, 8, 0) != 8) {
        tide_fail(ctx, TIDE_EIO, "%s: %lld bytes are too few for a safetensors file", path,
                  (long long)size);
        goto done;
    }
    uint64_t n = 0;
    for (int i = 7; i >= 0; i--) n = n << 8 | head[i];
    if (n > MAX_HEADER || n < 2) {
        tide_fail(ctx, TIDE_EIO,
                  "%s: not a safetensors file, or a damaged one (a header of %" PRIu64
                  " bytes; 2 to %" PRIu64 " are allowed)",
                  path, n, MAX_HEADER);
        goto done;
    }
    if (n > (uint64_t)size - 8) {
        tide_fail(ctx, TIDE_EIO,
                  "%s: truncated: the header has %" PRIu64 " bytes, the file only %lld", path, n,
                  (long long)size);
        goto done;
    }
    f->data_at = 8 + n, f->data_bytes = (uint64_t)size - 8 - n;
    if (!(f->text = malloc(n + 1))) {
        s = tide_fail(ctx, TIDE_ENOMEM, "%s: not enough memory for a header of %" PRIu64 " bytes",
                      path, n);
        goto done;
    }
    for (uint64_t got = 0; got < n;) {
        ssize_t r = pread(f->fd, f->text + got, n - got, (off_t)(8 + got));
        if (r < 0 && errno == EINTR) continue;
        if (r <= 0) {
            tide_fail(ctx, TIDE_EIO, "%s: cannot read the header: %s", path,
                      r < 0 ? strerror(errno) : "the file was cut");
            goto done;
        }
        got += (uint64_t)r;
    }
    s = parse_header(ctx, f, n);
done:
    if (s == TIDE_OK) *out = f;
    else tide_st_close(f);
    return s;
}

tide_status tide_st_parse(tide_ctx *ctx, const char *what, const char *text, size_t n,
                          tide_st_file **out) {
    tide_st_file *f = calloc(1, sizeof *f);
    if (!f || !(f->path = strdup(what))) {
        free(f);
        return tide_fail(ctx, TIDE_ENOMEM, "%s: not enough memory", what);
    }
    f->fd = -1;
    tide_status s = TIDE_OK;
    if (n == 0) s = tide_fail(ctx, TIDE_EIO, "%s: the header is empty", what);
    else if (!(f->text = malloc(n + 1)))
        s = tide_fail(ctx, TIDE_ENOMEM, "%s: not enough memory for the header", what);
    if (s == TIDE_OK) memcpy(f->text, text, n), s = parse_header(ctx, f, n);
    if (s == TIDE_OK) *out = f;
    else tide_st_close(f);
    return s;
}

const char *tide_st_dtype_name(tide_dtype dtype) {
    for (int i = 0; i < N_DTYPES; i++)
        if (dtypes[i].dtype == (int)dtype) return dtypes[i].name;
    return NULL;
}

void tide_st_close(tide_st_file *f) {
    if (!f) return;
    if (f->fd >= 0) close(f->fd);
    free(f->text);
    free(f->meta);
    free(f->sizes);
    free(f->entries);
    free(f->path);
    free(f);
}

int64_t tide_st_count(const tide_st_file *f) { return f->n; }
const tide_st_entry *tide_st_entry_at(const tide_st_file *f, int64_t i) { return &f->entries[i]; }
int tide_st_metadata(const tide_st_file *f, int64_t i, const char **key, const char **value) {
    if (i >= f->n_meta) return 0;
    *key = f->meta[i].key, *value = f->meta[i].value;
    return 1;
}

tide_status tide_st_read(tide_ctx *ctx, tide_st_file *f, int64_t i, tide_tensor **out) {
    const tide_st_entry *e = &f->entries[i];
    if (e->dtype < 0)
        return tide_fail(ctx, TIDE_EDTYPE, "%s: tensor '%s' has dtype %s, which Tide does not have",
                         f->path, e->name, e->dtype_name);
    if (e->rank > TIDE_MAX_RANK)
        return tide_fail(ctx, TIDE_ESHAPE, "%s: tensor '%s' has rank %d, Tide's limit is %d",
                         f->path, e->name, e->rank, TIDE_MAX_RANK);
    tide_tensor *t;
    TIDE_TRY(tide_new_host(ctx, (tide_dtype)e->dtype, e->rank, e->shape, &t));
    unsigned char *p = tide_host_view(t);
    uint64_t n = e->end - e->begin;
    for (uint64_t got = 0; got < n;) {
        const tide_status go_on = tide_go_on(ctx);
        if (go_on != TIDE_OK) {
            tide_release(t);
            return go_on;
        }
        uint64_t chunk = n - got < (1u << 24) ? n - got : (1u << 24);
        ssize_t r = pread(f->fd, p + got, chunk, (off_t)(f->data_at + e->begin + got));
        if (r < 0 && errno == EINTR) continue;
        if (r <= 0) {
            tide_fail(ctx, TIDE_EIO, "%s: tensor '%s': cannot read: %s", f->path, e->name,
                      r < 0 ? strerror(errno) : "the file was cut");
            tide_release(t);
            return TIDE_EIO;
        }
        got += (uint64_t)r;
    }
    bool bad = e->has_crc && crc_bytes(p, n) != e->crc;
    bool odd = false;
    for (uint64_t k = 0; e->dtype == TIDE_BOOL && k < n; k++) odd |= p[k] > 1;
    if (bad || odd) {
        tide_release(t);
        return tide_fail(ctx, TIDE_EIO,
                         bad ? "%s: tensor '%s' is damaged (its checksum is wrong)"
                             : "%s: tensor '%s': a bool is neither 0 nor 1",
                         f->path, e->name);
    }
    *out = t;
    return TIDE_OK;
}

/* ---- writing ---- */

static tide_st_entry describe(const char *name, const tide_tensor *t) {
    tide_st_entry e = {.name = name, .dtype = t->dtype, .rank = t->rank, .shape = t->shape};
    for (int i = 0; i < N_DTYPES; i++)
        if (dtypes[i].dtype == t->dtype)
            e.dtype_name = dtypes[i].name, e.end = (uint64_t)dtypes[i].bytes;
    for (int i = 0; i < t->rank; i++) e.end *= (uint64_t)t->shape[i];
    return e; /* end: the size; the caller moves it to its place */
}

typedef struct {
    tide_st_entry e; /* first, for by_begin */
    const tide_tensor *t;
    int width;
    const char *key; /* of its checksum */
    char sum[16];
} item;
/* The reference writer's order: wider elements first (alignment), then by name. */
static int by_width(const void *a, const void *b) {
    const item *x = a, *y = b;
    if (x->width != y->width) return y->width - x->width;
    return strcmp(x->e.name, y->e.name);
}

/* The header as JSON; `all` is room for the metadata in order of the keys. */
static void write_header(tide_string *t, int64_t n, const item *items, int64_t nmeta,
                         const char *const *keys, const char *const *values, pair *all) {
    char sum[16];
    uint32_t crc = 0;
    tide_text_add(t, "{\"__metadata__\":{");
    for (int64_t i = 0; i < nmeta + n; i++) {
        all[i] = i < nmeta ? (pair){keys[i], values[i]}
                           : (pair){items[i - nmeta].key, items[i - nmeta].sum};
        tide_text_string(t, all[i].key), tide_text_add(t, ":");
        tide_text_string(t, all[i].value), tide_text_add(t, ",");
    }
    qsort(all, (size_t)(nmeta + n), sizeof *all, by_key);
    for (int64_t i = 0; i < nmeta + n; i++) crc = crc_text(crc_text(crc, all[i].key), all[i].value);
    for (int64_t i = 0; i < n; i++) crc = crc_entry(crc, &items[i].e);
    snprintf(sum, sizeof sum, "%08" PRIx32, crc);
    tide_text_add(t, "\"crc32\":"), tide_text_string(t, sum), tide_text_add(t, "}");
    for (int64_t i = 0; i < n; i++) {
        const tide_st_entry *e = &items[i].e;
        tide_text_add(t, ",");
        tide_text_entry(t, e->name, e->dtype_name, e->rank, e->shape, e->begin, e->end);
    }
    tide_text_add(t, "}");
}

static tide_status build_header(tide_ctx *ctx, const char *path, int64_t n, item *items,
                                int64_t nmeta, const char *const *keys, const char *const *values,
                                tide_string *text) {
    size_t room = 0;
    for (int64_t i = 0; i < n; i++) room += strlen(items[i].e.name) + sizeof CRC_PREFIX;
    pair *all = malloc(((size_t)(nmeta + n) + 1) * sizeof *all);
    const char **names = malloc(((size_t)n + 1) * sizeof *names), *same = NULL;
    char *made = malloc(room + 1), *at = made;
    tide_status s = TIDE_OK;
    if (!all || !names || !made) text->status = TIDE_ENOMEM;
    for (int64_t i = 0; i < n && text->status == TIDE_OK; i++) {
        names[i] = items[i].e.name;
        items[i].key = at, at += sprintf(at, CRC_PREFIX "%s", names[i]) + 1;
        snprintf(items[i].sum, sizeof items[i].sum, "%08" PRIx32, items[i].e.crc);
    }
    if (text->status == TIDE_OK) {
        write_header(text, n, items, nmeta, keys, values, all);
        same = tide_twice(names, n);
    }
    if (text->status == TIDE_ENOMEM)
        s = tide_fail(ctx, TIDE_ENOMEM, "%s: not enough memory for the header", path);
    else if (text->status != TIDE_OK)
        s = tide_fail(ctx, TIDE_EARG, "%s: a name or text is not valid UTF-8", path);
    else if (same) s = tide_fail(ctx, TIDE_EARG, "%s: two tensors are named '%s'", path, same);
    free(all);
    free(names);
    free(made);
    return s;
}

tide_status tide_st_write(tide_ctx *ctx, const char *path, int64_t n, const char *const *names,
                          tide_tensor *const *tensors, int64_t nmeta, const char *const *keys,
                          const char *const *values) {
    if (n > MAX_TENSORS)
        return tide_fail(ctx, TIDE_EARG, "%s: %" PRId64 " tensors are more than %d", path, n,
                         MAX_TENSORS);
    item *items = calloc((size_t)n + 1, sizeof *items);
    tide_string text = {0};
    tide_writer *w = NULL;
    tide_status s = TIDE_EARG;
    if (!items) return tide_fail(ctx, TIDE_ENOMEM, "%s: not enough memory", path);
    for (int64_t i = 0; i < n; i++) {
        if (!strcmp(names[i], "__metadata__")) {
            tide_fail(ctx, TIDE_EARG, "%s: a tensor cannot be named __metadata__", path);
            goto done;
        }
        items[i] = (item){.e = describe(names[i], tensors[i]), .t = tensors[i]};
        items[i].width = (int)tide_dtype_size(items[i].e.dtype);
        items[i].e.crc = crc_bytes(tide_host_view(tensors[i]), items[i].e.end);
    }
    qsort(items, (size_t)n, sizeof *items, by_width);
    uint64_t at = 0;
    for (int64_t i = 0; i < n; i++) {
        items[i].e.begin = at, at += items[i].e.end, items[i].e.end = at;
    }
    /* tensors without elements share a place: in the order that the reader's checksum has */
    qsort(items, (size_t)n, sizeof *items, by_begin);
    if ((s = build_header(ctx, path, n, items, nmeta, keys, values, &text)) != TIDE_OK) goto done;
    uint64_t len = text.n, padded = (len + ALIGN - 1) / ALIGN * ALIGN;
    if (padded > MAX_HEADER) {
        s = tide_fail(ctx, TIDE_EARG,
                      "%s: a header of %" PRIu64 " bytes is more than the format allows", path,
                      padded);
        goto done;
    }
    tide_st_file *again = NULL; /* what the reader refuses is not written */
    if ((s = tide_st_parse(ctx, path, text.p, len, &again)) != TIDE_OK) goto done;
    tide_st_close(again);
    unsigned char head[8];
    for (int i = 0; i < 8; i++) head[i] = (unsigned char)(padded >> (8 * i));
    if ((s = tide_writer_open(ctx, path, &w)) != TIDE_OK) goto done;
    if ((s = tide_writer_write(ctx, w, head, 8)) != TIDE_OK) goto done;
    if ((s = tide_writer_write(ctx, w, text.p, len)) != TIDE_OK) goto done;
    if ((s = tide_writer_write(ctx, w, "        ", padded - len)) != TIDE_OK) goto done;
    for (int64_t i = 0; i < n; i++)
        if ((s = tide_writer_write(ctx, w, tide_host_view(items[i].t),
                                   items[i].e.end - items[i].e.begin)) != TIDE_OK)
            goto done;
    s = tide_writer_commit(ctx, w);
done:
    tide_writer_close(w);
    free(text.p);
    free(items);
    return s;
}
