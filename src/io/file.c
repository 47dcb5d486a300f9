/* Owns reading whole files and replacing files atomically. Invariant: a path holds either its old
 * bytes or all of the new ones, whatever call fails and whenever the process dies. */
#include "io.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { WRITE_CHUNK = 1 << 24 }; /* bytes per write(2): keeps a signal's delay short */

struct tide_writer {
    int fd;
    char *path, *temp;
};

static const char *const fault_points[] = {"write", "fsync", "close", "rename", "fsync_dir"};
enum { F_WRITE, F_FSYNC, F_CLOSE, F_RENAME, F_FSYNC_DIR, F_COUNT };
static struct {
    int point, err;
    int64_t left;
} fault = {.point = -1};

int tide_io_fault(const char *point, int64_t n, int err) {
    fault.point = -1;
    for (int i = 0; i < F_COUNT; i++)
        if (!strcmp(point, fault_points[i])) {
            if (n > 0) fault.point = i, fault.left = n, fault.err = err;
            return 1;
        }
    return 0;
}

/* Is this call the one that has to fail? Then errno says how. */
static int faulty(int point) {
    if (fault.point != point || fault.err == -2 || --fault.left != 0) return 0;
    fault.point = -1;
    if (fault.err == -1) raise(SIGKILL);
    errno = fault.err;
    return 1;
}

/* What a write that is cut short takes of n bytes. */
static size_t cut_short(size_t n) {
    if (fault.point != F_WRITE || fault.err != -2 || --fault.left != 0) return n;
    fault.point = -1;
    return (n + 1) / 2;
}

static tide_status fail_errno(tide_ctx *ctx, const char *verb, const char *path) {
    return tide_fail(ctx, TIDE_EIO, "%s: cannot %s: %s", path, verb, strerror(errno));
}

tide_status tide_file_read(tide_ctx *ctx, const char *path, int64_t max, char **data, size_t *n) {
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return fail_errno(ctx, "open", path);
    struct stat st;
    tide_status status = TIDE_EIO;
    char *block = NULL;
    if (fstat(fd, &st) != 0) {
        fail_errno(ctx, "read", path);
        goto done;
    }
    if (!S_ISREG(st.st_mode)) {
        tide_fail(ctx, TIDE_EIO, "%s: not a regular file", path);
        goto done;
    }
    if (st.st_size > max) {
        tide_fail(ctx, TIDE_EIO, "%s: %lld bytes are more than the %lld allowed", path,
                  (long long)st.st_size, (long long)max);
        goto done;
    }
    block = malloc((size_t)st.st_size + 1);
    if (!block) {
        status = tide_fail(ctx, TIDE_ENOMEM, "%s: not enough memory for %lld bytes", path,
                           (long long)st.st_size);
        goto done;
    }
    size_t got = 0;
    while (got < (size_t)st.st_size) {
        ssize_t r = read(fd, block + got, (size_t)st.st_size - got);
        if (r < 0 && errno == EINTR) continue;
        if (r < 0) {
            fail_errno(ctx, "read", path);
            goto done;
        }
        if (r == 0) break; /* it shrank while it was read: what is there is what it is */
        got += (size_t)r;
    }
    block[got] = 0;
    *data = block, *n = got, block = NULL;
    status = TIDE_OK;
done:
    free(block);
    close(fd);
    return status;
}

tide_status tide_mkdirs(tide_ctx *ctx, const char *path) {
    char part[PATH_MAX];
    size_t n = strlen(path);
    if (n >= sizeof part) return tide_fail(ctx, TIDE_EARG, "the path of %zu bytes is too long", n);
    for (size_t i = 1; i <= n; i++) {
        if (path[i] != '/' && path[i] != 0) continue;
        memcpy(part, path, i);
        part[i] = 0;
        struct stat st;
        if (mkdir(part, 0777) != 0 && errno != EEXIST)
            return fail_errno(ctx, "create the folder", part);
        if (stat(part, &st) != 0) return fail_errno(ctx, "enter the folder", part);
        if (!S_ISDIR(st.st_mode)) return tide_fail(ctx, TIDE_EIO, "%s: not a folder", part);
    }
    return TIDE_OK;
}

tide_status tide_writer_open(tide_ctx *ctx, const char *path, tide_writer **out) {
    static unsigned serial;
    char real[PATH_MAX];
    if (strlen(path) + 40 >= sizeof real)
        return tide_fail(ctx, TIDE_EARG, "the path of %zu bytes is too long", strlen(path));
    const char *target =
        realpath(path, real) ? real : path; /* a link keeps pointing where it points */
    struct stat st;
    int exists = stat(target, &st) == 0;
    if (exists && S_ISDIR(st.st_mode))
        return tide_fail(ctx, TIDE_EIO, "%s: is a folder, a file is expected", path);
    tide_writer *w = calloc(1, sizeof *w);
    size_t n = strlen(target) + 40;
    if (w) w->path = strdup(target), w->temp = malloc(n), w->fd = -1;
    if (!w || !w->path || !w->temp) {
        tide_writer_close(w);
        return tide_fail(ctx, TIDE_ENOMEM, "%s: not enough memory to write", path);
    }
    for (int tries = 0; w->fd < 0 && tries < 100; tries++) {
        snprintf(w->temp, n, "%s.tmp.%ld.%u", target, (long)getpid(), serial++);
        w->fd = open(w->temp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
        if (w->fd < 0 && errno != EEXIST) break;
    }
    if (w->fd < 0) {
        int e = errno;
        free(w->temp), w->temp = NULL;
        tide_writer_close(w);
        errno = e;
        return fail_errno(ctx, "write", path);
    }
    /* permissions of the file that is replaced; where that is not possible, those of a new file are
     * as good */
    if (exists && fchmod(w->fd, st.st_mode & 07777) != 0) errno = 0;
    *out = w;
    return TIDE_OK;
}

tide_status tide_writer_write(tide_ctx *ctx, tide_writer *w, const void *data, size_t n) {
    const char *p = data;
    while (n > 0) {
        size_t chunk = n < WRITE_CHUNK ? n : WRITE_CHUNK;
        ssize_t r = faulty(F_WRITE) ? -1 : write(w->fd, p, cut_short(chunk));
        if (r < 0 && errno == EINTR) continue;
        if (r < 0) return fail_errno(ctx, "write", w->path);
        p += r, n -= (size_t)r;
    }
    return TIDE_OK;
}

/* The rename is durable only when the folder's entry is on the disk too. */
static int sync_folder(const char *path) {
    char folder[PATH_MAX];
    const char *slash = strrchr(path, '/');
    size_t n = slash ? (size_t)(slash - path) : 0;
    if (n >= sizeof folder) n = 0, slash = NULL;
    memcpy(folder, path, n);
    folder[n] = 0;
    int fd = open(!slash ? "." : n == 0 ? "/" : folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return 0; /* a folder that may be written but not read: nothing more can be done */
    int r = faulty(F_FSYNC_DIR) ? -1 : fsync(fd), e = errno;
    close(fd);
    errno = e;
    return r == 0 || e == EINVAL || e == ENOTSUP ? 0 : -1;
}

tide_status tide_writer_commit(tide_ctx *ctx, tide_writer *w) {
    int r = faulty(F_FSYNC) ? -1 : fsync(w->fd);
    if (r != 0 && errno != EINVAL && errno != ENOTSUP)
        return fail_errno(ctx, "bring to the disk", w->path);
    r = faulty(F_CLOSE) ? (close(w->fd), errno = EIO, -1) : close(w->fd);
    w->fd = -1;
    if (r != 0) return fail_errno(ctx, "write", w->path);
    if ((faulty(F_RENAME) ? -1 : rename(w->temp, w->path)) != 0)
        return fail_errno(ctx, "replace", w->path);
    free(w->temp);
    w->temp = NULL;
    if (sync_folder(w->path) != 0)
        return fail_errno(ctx, "bring to the disk the folder of", w->path);
    return TIDE_OK;
}

void tide_writer_close(tide_writer *w) {
    if (!w) return;
    if (w->fd >= 0) close(w->fd);
    if (w->temp) unlink(w->temp);
    free(w->temp);
    free(w->path);
    free(w);
}

tide_status tide_file_replace(tide_ctx *ctx, const char *path, const void *data, size_t n) {
    tide_writer *w = NULL;
    tide_status s = tide_writer_open(ctx, path, &w);
    if (s == TIDE_OK) s = tide_writer_write(ctx, w, data, n);
    if (s == TIDE_OK) s = tide_writer_commit(ctx, w);
    tide_writer_close(w);
    return s;
}
