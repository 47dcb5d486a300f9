/* Owns zip archives as model files use them. Reading takes regular files of sane, stored or
 * deflated members; writing makes an archive of stored members in memory and puts it in place
 * atomically.
 *
 * Invariant: an archive that opened has unique names that stay inside of it, no links, no
 * encryption, members that claim no more than deflate can make of their bytes, and together no more
 * stored bytes than the file has. */
#define _GNU_SOURCE
#include "io.h"

#include "../core.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zip.h>

enum { MAX_MEMBERS = 65535, MAX_NAME = 255, RATIO = 1032, TOO_MUCH = 1, ENOUGH };
#define MAX_TOTAL ((uint64_t)64 << 30)
#define CHUNK ((size_t)1 << 20)
/* What a member may have before it is read twice, and what one that goes into a file in memory may
 * have beside zeros: trained weights are hardly compressed, those that were rounded by half. */
#define LOOKED_AT ((uint64_t)16 << 20)
#define UNPACKED ((uint64_t)24 << 20)
#define UNPACKED_RATIO 8
#define EPOCH 315532800 /* 1980-01-01: the same model makes the same file */

struct tide_zip {
    zip_t *z;
    char *path;
};

/* -- blobs: bytes in memory, mapped from a file in memory -- */

tide_status tide_blob_from(tide_ctx *ctx, const char *what, int fd, tide_blob *out) {
    struct stat st;
    *out = (tide_blob){0};
    if (fstat(fd, &st) != 0) return tide_fail(ctx, TIDE_EIO, "%s: %s", what, strerror(errno));
    if (st.st_size == 0) return TIDE_OK;
    void *p = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_SHARED, fd, 0);
    if (p == MAP_FAILED)
        return tide_fail(ctx, TIDE_ENOMEM, "%s: cannot be mapped: %s", what, strerror(errno));
    *out = (tide_blob){p, (size_t)st.st_size};
    return TIDE_OK;
}

void tide_blob_free(tide_blob *b) {
    if (b->data) munmap((void *)(uintptr_t)b->data, b->size);
    *b = (tide_blob){0};
}

/* -- reading -- */

/* What went wrong, in words. Where libzip names nothing, an allocation failed on its way out. */
static const char *reason(zip_error_t *e) {
    const int code = zip_error_code_zip(e);
    return code == ZIP_ER_MEMORY || code == ZIP_ER_OK ? "not enough memory" : zip_error_strerror(e);
}

void tide_zip_close(tide_zip *z) {
    if (!z) return;
    if (z->z) zip_discard(z->z);
    free(z->path);
    free(z);
}

int64_t tide_zip_count(const tide_zip *z) { return zip_get_num_entries(z->z, 0); }

static int name_is_safe(const char *name) {
    size_t n = strlen(name);
    if (n == 0 || n > MAX_NAME || name[0] == '/' || strchr(name, '\\')) return 0;
    for (size_t i = 0; i < n; i++)
        if ((unsigned char)name[i] < 32 || name[i] == 127) return 0;
    for (const char *p = name; *p;) {
        size_t len = strcspn(p, "/");
        if ((len == 0 && p[len]) || (len == 1 && p[0] == '.') ||
            (len == 2 && p[0] == '.' && p[1] == '.'))
            return 0;
        p += len + (p[len] == '/');
    }
    return 1;
}

static int by_name(const void *a, const void *b) {
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static tide_status check_members(tide_ctx *ctx, tide_zip *z, uint64_t file_size) {
    int64_t n = tide_zip_count(z);
    if (n < 0 || n > MAX_MEMBERS)
        return tide_fail(ctx, TIDE_EIO, "%s: %" PRId64 " members are more than %d", z->path, n,
                         MAX_MEMBERS);
    const char **names = malloc(((size_t)n + 1) * sizeof *names);
    if (!names) return tide_fail(ctx, TIDE_ENOMEM, "%s: not enough memory", z->path);
    uint64_t stored = 0, total = 0;
    tide_status s = TIDE_OK;
    for (int64_t i = 0; i < n && s == TIDE_OK; i++) {
        zip_stat_t st;
        zip_uint8_t system = 0;
        zip_uint32_t attributes = 0;
        const zip_uint64_t need = ZIP_STAT_NAME | ZIP_STAT_SIZE | ZIP_STAT_COMP_SIZE |
            ZIP_STAT_COMP_METHOD | ZIP_STAT_ENCRYPTION_METHOD;
        if (zip_stat_index(z->z, (zip_uint64_t)i, 0, &st) != 0 || (st.valid & need) != need) {
            s = tide_fail(ctx, TIDE_EIO, "%s: member %" PRId64 " is damaged", z->path, i + 1);
            break;
        }
        names[i] = st.name;
        zip_file_get_external_attributes(z->z, (zip_uint64_t)i, 0, &system, &attributes);
        if (!name_is_safe(st.name))
            s = tide_fail(ctx, TIDE_EIO,
                          "%s: member %" PRId64
                          " has a name that is too long or leads out of the archive",
                          z->path, i + 1);
        else if (system == ZIP_OPSYS_UNIX && S_ISLNK(attributes >> 16))
            s = tide_fail(ctx, TIDE_EIO, "%s: member '%s' is a link", z->path, st.name);
        else if (st.encryption_method != ZIP_EM_NONE)
            s = tide_fail(ctx, TIDE_EIO, "%s: member '%s' is encrypted", z->path, st.name);
        else if (st.comp_method != ZIP_CM_STORE && st.comp_method != ZIP_CM_DEFLATE)
            s = tide_fail(ctx, TIDE_EIO, "%s: member '%s' is neither stored nor deflated", z->path,
                          st.name);
        else if (st.comp_size > file_size ||
                 (st.comp_method == ZIP_CM_STORE ? st.size != st.comp_size
                                                 : st.size / RATIO > st.comp_size))
            s = tide_fail(ctx, TIDE_EIO,
                          "%s: member '%s' claims %" PRIu64 " bytes and holds %" PRIu64, z->path,
                          st.name, st.size, st.comp_size);
        else if ((stored += st.comp_size) > file_size)
            s = tide_fail(ctx, TIDE_EIO, "%s: the members overlap", z->path);
        else if (st.size > MAX_TOTAL || (total += st.size) > MAX_TOTAL)
            s = tide_fail(ctx, TIDE_EIO, "%s: the members claim more than %" PRIu64 " bytes",
                          z->path, MAX_TOTAL);
    }
    if (s == TIDE_OK) {
        qsort(names, (size_t)n, sizeof *names, by_name);
        for (int64_t i = 1; i < n && s == TIDE_OK; i++)
            if (!strcmp(names[i - 1], names[i]))
                s = tide_fail(ctx, TIDE_EIO, "%s: two members are named '%s'", z->path, names[i]);
    }
    free(names);
    return s;
}

tide_status tide_zip_open(tide_ctx *ctx, const char *path, tide_zip **out) {
    int fd;
    int64_t bytes;
    TIDE_TRY(tide_file_open(ctx, path, &fd, &bytes));
    tide_zip *z = calloc(1, sizeof *z);
    if (z) z->path = strdup(path);
    if (!z || !z->path) {
        free(z);
        close(fd);
        return tide_fail(ctx, TIDE_ENOMEM, "%s: not enough memory", path);
    }
    int e = 0;
    z->z = zip_fdopen(fd, ZIP_CHECKCONS, &e);
    tide_status s;
    if (!z->z) {
        zip_error_t error;
        zip_error_init_with_code(&error, e);
        s = tide_fail(ctx, TIDE_EIO, "%s: not a zip archive, or a damaged one (%s)", path,
                      reason(&error));
        zip_error_fini(&error);
        close(fd);
    } else {
        s = check_members(ctx, z, (uint64_t)bytes);
    }
    if (s == TIDE_OK) *out = z;
    else tide_zip_close(z);
    return s;
}

void tide_zip_member(const tide_zip *z, int64_t i, const char **name, uint64_t *size) {
    zip_stat_t st;
    zip_stat_index(z->z, (zip_uint64_t)i, 0, &st); /* checked when the archive was opened */
    *name = st.name, *size = st.size;
}

uint64_t tide_zip_stored(const tide_zip *z, int64_t i) {
    zip_stat_t st;
    zip_stat_index(z->z, (zip_uint64_t)i, 0, &st);
    return st.comp_size;
}

int64_t tide_zip_find(const tide_zip *z, const char *name) {
    return zip_name_locate(z->z, name, 0);
}

/* Reads a member to its end and lets `take` have it piece by piece (0, -1 and errno, TOO_MUCH,
 * ENOUGH); its checksum is checked at the end. */
static tide_status each_piece(tide_ctx *ctx, tide_zip *z, int64_t i, uint64_t max,
                              int (*take)(void *, const void *, size_t), void *arg) {
    const char *name;
    uint64_t size, got = 0;
    tide_zip_member(z, i, &name, &size);
    if (size > max)
        return tide_fail(ctx, TIDE_EIO,
                         "%s: member '%s' has %" PRIu64 " bytes, %" PRIu64 " are allowed", z->path,
                         name, size, max);
    zip_file_t *f = zip_fopen_index(z->z, (zip_uint64_t)i, 0);
    char *piece = malloc(CHUNK);
    tide_status s = TIDE_EIO;
    if (!f || !piece) {
        s = tide_fail(ctx, TIDE_EIO, "%s: member '%s' cannot be read: %s", z->path, name,
                      f ? "no memory" : reason(zip_get_error(z->z)));
        goto done;
    }
    for (;;) {
        zip_int64_t r = zip_fread(f, piece, CHUNK);
        if (r < 0) {
            tide_fail(ctx, TIDE_EIO, "%s: member '%s' is damaged: %s", z->path, name,
                      reason(zip_file_get_error(f)));
            goto done;
        }
        if (r == 0) break;
        if ((s = tide_go_on(ctx)) != TIDE_OK) goto done;
        s = TIDE_EIO;
        if ((got += (uint64_t)r) > size) break;
        const int taken = take(arg, piece, (size_t)r);
        if (taken == ENOUGH) got = size;
        if (taken == ENOUGH) break;
        if (taken != 0) {
            if (taken == TOO_MUCH)
                tide_fail(ctx, TIDE_EIO,
                          "%s: member '%s' is too well compressed (expected at most %d times its "
                          "%" PRIu64 " bytes); unpack the archive and zip it without compression",
                          z->path, name, (int)UNPACKED_RATIO, tide_zip_stored(z, i));
            else
                tide_fail(ctx, TIDE_EIO, "%s: member '%s' cannot be unpacked: %s", z->path, name,
                          strerror(errno));
            goto done;
        }
    }
    s = got == size
        ? TIDE_OK
        : tide_fail(ctx, TIDE_EIO,
                    "%s: member '%s' does not have the %" PRIu64 " bytes that it claims", z->path,
                    name, size);
done:
    if (f) zip_fclose(f);
    free(piece);
    return s;
}

typedef struct {
    char *p;
    size_t n;
} block;
static int take_nothing(void *arg, const void *p, size_t n) {
    return (void)arg, (void)p, (void)n, 0;
}
static int take_block(void *arg, const void *p, size_t n) {
    block *b = arg;
    memcpy(b->p + b->n, p, n);
    b->n += n;
    return 0;
}

tide_status tide_zip_read(tide_ctx *ctx, tide_zip *z, int64_t i, uint64_t max, char **data,
                          size_t *n) {
    const char *name;
    uint64_t size;
    tide_zip_member(z, i, &name, &size);
    if (size > max)
        return tide_fail(ctx, TIDE_EIO,
                         "%s: member '%s' has %" PRIu64 " bytes, %" PRIu64 " are allowed", z->path,
                         name, size, max);
    /* few bytes that claim to be many are looked at before memory is taken for them */
    if (size > LOOKED_AT && size / 2 > tide_zip_stored(z, i))
        TIDE_TRY(each_piece(ctx, z, i, max, take_nothing, NULL));
    block b = {malloc(size + 1), 0};
    if (!b.p)
        return tide_fail(ctx, TIDE_ENOMEM, "%s: not enough memory for member '%s'", z->path, name);
    tide_status s = each_piece(ctx, z, i, max, take_block, &b);
    if (s != TIDE_OK) {
        free(b.p);
        return s;
    }
    b.p[b.n] = 0;
    *data = b.p, *n = b.n;
    return TIDE_OK;
}

typedef struct {
    char *to;
    size_t n, room;
} head;
static int take_head(void *arg, const void *p, size_t n) {
    head *h = arg;
    if (n > h->room - h->n) n = h->room - h->n;
    memcpy(h->to + h->n, p, n);
    h->n += n;
    return h->n == h->room ? ENOUGH : 0;
}

tide_status tide_zip_head(tide_ctx *ctx, tide_zip *z, int64_t i, char *data, size_t *n) {
    head h = {data, 0, *n};
    tide_status s = each_piece(ctx, z, i, UINT64_MAX, take_head, &h);
    *n = h.n;
    return s;
}

typedef struct {
    int fd;
    uint64_t written, most;
} unpacking;

/* Zeros are left out: a hole reads as them and takes no memory. */
static int take_file(void *arg, const void *data, size_t n) {
    unpacking *u = arg;
    const char *p = data;
    if (p[0] == 0 && !memcmp(p, p + 1, n - 1)) return lseek(u->fd, (off_t)n, SEEK_CUR) < 0 ? -1 : 0;
    if ((u->written += n) > u->most) return TOO_MUCH;
    while (n > 0) {
        ssize_t r = write(u->fd, p, n);
        if (r < 0 && errno == EINTR) continue;
        if (r < 0) return -1;
        p += r, n -= (size_t)r;
    }
    return 0;
}

tide_status tide_zip_unpack(tide_ctx *ctx, tide_zip *z, int64_t i, uint64_t max, int *fd) {
    *fd = memfd_create("tide-zip", MFD_CLOEXEC);
    if (*fd < 0)
        return tide_fail(ctx, TIDE_EIO, "%s: no file in memory can be made: %s", z->path,
                         strerror(errno));
    unpacking u = {*fd, 0, UNPACKED + UNPACKED_RATIO * tide_zip_stored(z, i)};
    tide_status s = each_piece(ctx, z, i, max, take_file, &u);
    if (s == TIDE_OK && ftruncate(*fd, lseek(*fd, 0, SEEK_CUR)) != 0)
        s = tide_fail(ctx, TIDE_EIO, "%s: a member cannot be unpacked: %s", z->path,
                      strerror(errno));
    if (s != TIDE_OK) close(*fd), *fd = -1;
    return s;
}

/* -- writing -- */

static tide_status put_in_place(tide_ctx *ctx, const char *path, zip_source_t *whole) {
    tide_writer *w = NULL;
    char *piece = malloc(CHUNK);
    if (!piece) return tide_fail(ctx, TIDE_ENOMEM, "%s: not enough memory", path);
    tide_status s = tide_writer_open(ctx, path, &w);
    if (s == TIDE_OK && zip_source_open(whole) != 0)
        s = tide_fail(ctx, TIDE_EIO, "%s: the archive cannot be completed", path);
    else if (s == TIDE_OK) {
        zip_int64_t r;
        while ((r = zip_source_read(whole, piece, CHUNK)) > 0 && s == TIDE_OK)
            s = tide_writer_write(ctx, w, piece, (size_t)r);
        if (r < 0) s = tide_fail(ctx, TIDE_EIO, "%s: the archive cannot be completed", path);
        zip_source_close(whole);
    }
    if (s == TIDE_OK) s = tide_writer_commit(ctx, w);
    tide_writer_close(w);
    free(piece);
    return s;
}

tide_status tide_zip_write(tide_ctx *ctx, const char *path, int64_t n, const char *const *names,
                           const tide_blob *members) {
    uint64_t total = 0; /* what the reader refuses is not written */
    if (n > MAX_MEMBERS)
        return tide_fail(ctx, TIDE_EARG, "%s: an archive has at most %d members (got %" PRId64 ")",
                         path, MAX_MEMBERS, n);
    for (int64_t i = 0; i < n; i++) {
        if (!name_is_safe(names[i]))
            return tide_fail(ctx, TIDE_EARG,
                             "%s: '%.300s' is no name of a member (expected at most %d bytes, no "
                             "control character, no part '..')",
                             path, names[i], MAX_NAME);
        if (members[i].size > MAX_TOTAL || (total += members[i].size) > MAX_TOTAL)
            return tide_fail(ctx, TIDE_EARG, "%s: an archive has at most %" PRIu64 " bytes", path,
                             MAX_TOTAL);
    }
    zip_error_t error;
    zip_error_init(&error);
    zip_source_t *whole = zip_source_buffer_create(NULL, 0, 0, &error);
    zip_t *z = whole ? zip_open_from_source(whole, ZIP_TRUNCATE, &error) : NULL;
    tide_status s = TIDE_OK;
    if (!z) {
        s = tide_fail(ctx, TIDE_ENOMEM, "%s: the archive cannot be made: %s", path, reason(&error));
        if (whole) zip_source_free(whole);
        zip_error_fini(&error);
        return s;
    }
    zip_source_keep(whole);
    for (int64_t i = 0; i < n && s == TIDE_OK; i++) {
        zip_source_t *source = zip_source_buffer(z, members[i].data, members[i].size, 0);
        zip_int64_t at = source ? zip_file_add(z, names[i], source, ZIP_FL_ENC_UTF_8) : -1;
        if (at < 0 && source) zip_source_free(source);
        if (at < 0 || zip_set_file_compression(z, (zip_uint64_t)at, ZIP_CM_STORE, 0) != 0 ||
            zip_file_set_mtime(z, (zip_uint64_t)at, EPOCH, 0) != 0)
            s = tide_fail(ctx, TIDE_EARG, "%s: member '%s' cannot be added: %s", path, names[i],
                          reason(zip_get_error(z)));
    }
    if (s == TIDE_OK && zip_close(z) != 0)
        s = tide_fail(ctx, TIDE_EIO, "%s: the archive cannot be completed: %s", path,
                      reason(zip_get_error(z))),
        zip_discard(z);
    else if (s != TIDE_OK) zip_discard(z);
    if (s == TIDE_OK) s = put_in_place(ctx, path, whole);
    zip_source_free(whole);
    zip_error_fini(&error);
    return s;
}
