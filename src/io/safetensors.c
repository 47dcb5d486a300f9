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
enum { MAX_RANK = 16, ALIGN = 8 };
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

struct tide_st_file {
    int fd;
    char *path;
    json_t *root;
    int64_t n;
    tide_st_entry *entries; /* [n], in order of `begin` */
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

static int64_t get_nonnegative(json_t *v) {
    if (!json_is_integer(v) || json_integer_value(v) < 0) return -1;
    return json_integer_value(v);
}

static tide_status parse_entry(tide_ctx *ctx, const char *path, const char *name, json_t *v,
                               tide_st_entry *e) {
    if (strlen(name) > 65535)
        return tide_fail(ctx, TIDE_EIO, "%s: a tensor's name has %zu bytes, more than 65535", path,
                         strlen(name));
    if (!json_is_object(v) || json_object_size(v) != 3)
        return tide_fail(ctx, TIDE_EIO,
                         "%s: the entry of tensor '%s' is malformed (expected dtype, shape and "
                         "data_offsets, nothing else)",
                         path, name);
    json_t *dtype = json_object_get(v, "dtype"), *shape = json_object_get(v, "shape"),
           *offsets = json_object_get(v, "data_offsets");
    if (!json_is_string(dtype) || !json_is_array(shape) || !json_is_array(offsets) ||
        json_array_size(offsets) != 2)
        return tide_fail(ctx, TIDE_EIO,
                         "%s: the entry of tensor '%s' is malformed (expected dtype, shape and "
                         "data_offsets, nothing else)",
                         path, name);
    int kind = -1;
    for (int i = 0; i < N_DTYPES; i++)
        if (!strcmp(dtypes[i].name, json_string_value(dtype))) kind = i;
    if (kind < 0)
        return tide_fail(ctx, TIDE_EIO, "%s: tensor '%s': unknown dtype '%.32s'", path, name,
                         json_string_value(dtype));
    if (json_array_size(shape) > MAX_RANK)
        return tide_fail(ctx, TIDE_EIO, "%s: tensor '%s': rank %zu is more than %d", path, name,
                         json_array_size(shape), MAX_RANK);
    *e = (tide_st_entry){.name = name,
                         .dtype_name = dtypes[kind].name,
                         .dtype = dtypes[kind].dtype,
                         .rank = (int)json_array_size(shape)};
    uint64_t bytes = (uint64_t)dtypes[kind].bytes;
    for (int i = 0; i < e->rank; i++) {
        e->shape[i] = get_nonnegative(json_array_get(shape, (size_t)i));
        if (e->shape[i] < 0)
            return tide_fail(ctx, TIDE_EIO, "%s: tensor '%s': axis %d of the shape is not a size",
                             path, name, i + 1);
        if (__builtin_mul_overflow(bytes, (uint64_t)e->shape[i], &bytes))
            return tide_fail(ctx, TIDE_EIO, "%s: tensor '%s': the size of the shape overflows",
                             path, name);
    }
    int64_t begin = get_nonnegative(json_array_get(offsets, 0)),
            end = get_nonnegative(json_array_get(offsets, 1));
    if (begin < 0 || end < begin)
        return tide_fail(ctx, TIDE_EIO, "%s: tensor '%s': data_offsets are not a range", path,
                         name);
    e->begin = (uint64_t)begin, e->end = (uint64_t)end;
    if (e->end - e->begin != bytes)
        return tide_fail(ctx, TIDE_EIO,
                         "%s: tensor '%s': data_offsets span %" PRIu64
                         " bytes, dtype and shape need %" PRIu64,
                         path, name, e->end - e->begin, bytes);
    return TIDE_OK;
}

static tide_status check_crc(tide_ctx *ctx, tide_st_file *f, json_t *meta) {
    json_t *sum = json_object_get(meta, "crc32"), *v;
    size_t n = json_object_size(meta), k = 0;
    const char *key;
    if (!sum) { /* either none of the checksums, or all */
        json_object_foreach(meta, key, v) if (!strncmp(key, CRC_PREFIX, sizeof CRC_PREFIX - 1)) n =
            0;
        return n || !json_object_size(meta)
            ? TIDE_OK
            : tide_fail(ctx, TIDE_EIO, "%s: the header is damaged (its checksum is missing)",
                        f->path);
    }
    const char **keys = malloc(n * sizeof *keys);
    if (!keys) return tide_fail(ctx, TIDE_ENOMEM, "%s: not enough memory", f->path);
    json_object_foreach(meta, key, v) if (strcmp(key, "crc32")) keys[k++] = key;
    qsort(keys, k, sizeof *keys, by_text);
    uint32_t crc = 0;
    for (size_t i = 0; i < k; i++)
        crc = crc_text(crc_text(crc, keys[i]), json_string_value(json_object_get(meta, keys[i])));
    for (int64_t i = 0; i < f->n; i++) crc = crc_entry(crc, &f->entries[i]);
    free(keys);
    char text[16];
    snprintf(text, sizeof text, "%08" PRIx32, crc);
    if (strcmp(text, json_string_value(sum)))
        return tide_fail(ctx, TIDE_EIO,
                         "%s: the header is damaged (checksum %s, the file says %.8s)", f->path,
                         text, json_string_value(sum));
    return TIDE_OK;
}

static tide_status parse_header(tide_ctx *ctx, tide_st_file *f, const char *text, size_t n) {
    const char *path = f->path;
    if (text[0] != '{')
        return tide_fail(ctx, TIDE_EIO,
                         "%s: not a safetensors file (the header does not begin with '{')", path);
    size_t used = n;
    while (used > 0 && text[used - 1] == ' ') used--;
    if (used == 0 || text[used - 1] != '}')
        return tide_fail(ctx, TIDE_EIO, "%s: the header does not end with '}' and spaces", path);
    TIDE_TRY(tide_json_parse(ctx, path, text, used, &f->root));
    if (!json_is_object(f->root))
        return tide_fail(ctx, TIDE_EIO, "%s: the header is not an object", path);
    f->entries = calloc(json_object_size(f->root) + 1, sizeof *f->entries);
    if (!f->entries)
        return tide_fail(ctx, TIDE_ENOMEM, "%s: not enough memory for the header", path);
    const char *name;
    json_t *v, *meta = NULL;
    json_object_foreach(f->root, name, v) {
        if (!strcmp(name, "__metadata__")) meta = v;
        else TIDE_TRY(parse_entry(ctx, path, name, v, &f->entries[f->n++]));
    }
    qsort(f->entries, (size_t)f->n, sizeof *f->entries, by_begin);
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
    if (!meta) return TIDE_OK;
    if (!json_is_object(meta))
        return tide_fail(ctx, TIDE_EIO, "%s: __metadata__ is not an object", path);
    json_object_foreach(meta, name, v) if (!json_is_string(v)) return tide_fail(
        ctx, TIDE_EIO, "%s: __metadata__ '%s' is not a string", path, name);
    for (int64_t i = 0; i < f->n; i++) {
        tide_st_entry *e = &f->entries[i];
        char key[sizeof CRC_PREFIX + 65536];
        snprintf(key, sizeof key, CRC_PREFIX "%s", e->name);
        json_t *sum = json_object_get(meta, key);
        if (sum) e->has_crc = 1, e->crc = (uint32_t)strtoul(json_string_value(sum), NULL, 16);
    }
    return check_crc(ctx, f, meta);
}

tide_status tide_st_open(tide_ctx *ctx, const char *path, tide_st_file **out) {
    tide_st_file *f = calloc(1, sizeof *f);
    if (!f || !(f->path = strdup(path))) {
        free(f);
        return tide_fail(ctx, TIDE_ENOMEM, "%s: not enough memory", path);
    }
    int64_t size;
    char *text = NULL;
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
    if (!(text = malloc(n))) {
        s = tide_fail(ctx, TIDE_ENOMEM, "%s: not enough memory for a header of %" PRIu64 " bytes",
                      path, n);
        goto done;
    }
    for (uint64_t got = 0; got < n;) {
        ssize_t r = pread(f->fd, text + got, n - got, (off_t)(8 + got));
        if (r < 0 && errno == EINTR) continue;
        if (r <= 0) {
            tide_fail(ctx, TIDE_EIO, "%s: cannot read the header: %s", path,
                      r < 0 ? strerror(errno) : "the file was cut");
            goto done;
        }
        got += (uint64_t)r;
    }
    s = parse_header(ctx, f, text, n);
done:
    free(text);
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
    tide_status s = n > 0 ? parse_header(ctx, f, text, n)
                          : tide_fail(ctx, TIDE_EIO, "%s: the header is empty", what);
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
    json_decref(f->root);
    free(f->entries);
    free(f->path);
    free(f);
}

int64_t tide_st_count(const tide_st_file *f) { return f->n; }
const tide_st_entry *tide_st_entry_at(const tide_st_file *f, int64_t i) { return &f->entries[i]; }
json_t *tide_st_metadata(const tide_st_file *f) { return json_object_get(f->root, "__metadata__"); }

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
    tide_st_entry e = {.name = name, .dtype = t->dtype, .rank = t->rank};
    for (int i = 0; i < N_DTYPES; i++)
        if (dtypes[i].dtype == t->dtype)
            e.dtype_name = dtypes[i].name, e.end = (uint64_t)dtypes[i].bytes;
    for (int i = 0; i < t->rank; i++) e.shape[i] = t->shape[i], e.end *= (uint64_t)t->shape[i];
    return e; /* end: the size; the caller moves it to its place */
}

typedef struct {
    tide_st_entry e;
    const tide_tensor *t;
    int width;
} item;
/* The reference writer's order: wider elements first (alignment), then by name. */
static int by_width(const void *a, const void *b) {
    const item *x = a, *y = b;
    if (x->width != y->width) return y->width - x->width;
    return strcmp(x->e.name, y->e.name);
}

static tide_status build_header(tide_ctx *ctx, const char *path, int64_t n, item *items,
                                int64_t nmeta, const char *const *keys, const char *const *values,
                                char **text) {
    json_t *root = json_object(), *meta = json_object();
    const char **sorted = malloc(((size_t)(nmeta + n) + 1) * sizeof *sorted);
    tide_status s = TIDE_ENOMEM;
    char sum[16];
    int wrong = !root || !meta || !sorted;
    for (int64_t i = 0; i < nmeta && !wrong; i++)
        wrong = json_object_set_new(meta, keys[i], json_string(values[i])) != 0;
    for (int64_t i = 0; i < n && !wrong; i++) {
        size_t len = strlen(items[i].e.name) + sizeof CRC_PREFIX;
        char *key = malloc(len);
        if (!key) {
            wrong = 1;
            break;
        }
        snprintf(key, len, CRC_PREFIX "%s", items[i].e.name);
        snprintf(sum, sizeof sum, "%08" PRIx32, items[i].e.crc);
        wrong = json_object_set_new(meta, key, json_string(sum)) != 0;
        free(key);
    }
    if (!wrong) {
        size_t k = 0;
        const char *key;
        json_t *v;
        json_object_foreach(meta, key, v) if (k < (size_t)(nmeta + n)) sorted[k++] = key;
        qsort(sorted, k, sizeof *sorted, by_text);
        uint32_t crc = 0;
        for (size_t i = 0; i < k; i++)
            crc = crc_text(crc_text(crc, sorted[i]),
                           json_string_value(json_object_get(meta, sorted[i])));
        for (int64_t i = 0; i < n; i++) crc = crc_entry(crc, &items[i].e);
        snprintf(sum, sizeof sum, "%08" PRIx32, crc);
        wrong = json_object_set_new(meta, "crc32", json_string(sum)) != 0 ||
            json_object_set(root, "__metadata__", meta) != 0;
    }
    for (int64_t i = 0; i < n && !wrong; i++) {
        const tide_st_entry *e = &items[i].e;
        if (json_object_get(root, e->name)) {
            tide_fail(ctx, TIDE_EARG, "%s: two tensors are named '%s'", path, e->name);
            s = TIDE_EARG;
            goto done;
        }
        json_t *shape = json_array();
        for (int a = 0; a < e->rank; a++)
            wrong |= json_array_append_new(shape, json_integer(e->shape[a])) != 0;
        wrong |= json_object_set_new(root, e->name,
                                     json_pack("{s:s,s:o,s:[I,I]}", "dtype", e->dtype_name, "shape",
                                               shape, "data_offsets", (json_int_t)e->begin,
                                               (json_int_t)e->end)) != 0;
    }
    if (wrong) {
        tide_fail(ctx, TIDE_EARG,
                  "%s: the header cannot be made (a name that is not valid UTF-8, or no memory)",
                  path);
        s = TIDE_EARG;
    } else if ((*text = json_dumps(root, JSON_COMPACT))) {
        s = TIDE_OK;
    } else {
        tide_fail(ctx, TIDE_ENOMEM, "%s: not enough memory for the header", path);
    }
done:
    free(sorted);
    json_decref(meta);
    json_decref(root);
    return s;
}

tide_status tide_st_write(tide_ctx *ctx, const char *path, int64_t n, const char *const *names,
                          tide_tensor *const *tensors, int64_t nmeta, const char *const *keys,
                          const char *const *values) {
    item *items = calloc((size_t)n + 1, sizeof *items);
    char *text = NULL;
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
    if ((s = build_header(ctx, path, n, items, nmeta, keys, values, &text)) != TIDE_OK) goto done;
    uint64_t len = strlen(text), padded = (len + ALIGN - 1) / ALIGN * ALIGN;
    if (padded > MAX_HEADER) {
        s = tide_fail(ctx, TIDE_EARG,
                      "%s: a header of %" PRIu64 " bytes is more than the format allows", path,
                      padded);
        goto done;
    }
    unsigned char head[8];
    for (int i = 0; i < 8; i++) head[i] = (unsigned char)(padded >> (8 * i));
    if ((s = tide_writer_open(ctx, path, &w)) != TIDE_OK) goto done;
    if ((s = tide_writer_write(ctx, w, head, 8)) != TIDE_OK) goto done;
    if ((s = tide_writer_write(ctx, w, text, len)) != TIDE_OK) goto done;
    if ((s = tide_writer_write(ctx, w, "        ", padded - len)) != TIDE_OK) goto done;
    for (int64_t i = 0; i < n; i++)
        if ((s = tide_writer_write(ctx, w, tide_host_view(items[i].t),
                                   items[i].e.end - items[i].e.begin)) != TIDE_OK)
            goto done;
    s = tide_writer_commit(ctx, w);
done:
    tide_writer_close(w);
    free(text);
    free(items);
    return s;
}
