/* Owns replacing files atomically.
 *
 * Invariants: a path holds either its old bytes or all of the new ones, whatever call fails and
 * whenever the process dies. A temporary file is locked while its writer lives, and only who holds
 * its lock takes its name away; so what a dead writer left is told from what a living one writes.
 */
#define _GNU_SOURCE
#include "io.h"

#include "../core.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

enum {
    WRITE_CHUNK = 1 << 24, /* bytes per write(2): keeps a signal's delay short */
    LINKS = 40,            /* as many as the kernel follows */
    NAMES = 1000,          /* writers of one file at a time */
    STEM = 100             /* bytes of a long name that its temporary file's name keeps */
};

struct tide_writer {
    int fd, folder; /* folder: stays what it was when the path was followed */
    char path[PATH_MAX], temp[NAME_MAX + 1];
    const char *name; /* the last part of the path */
};

/* -- faults for tests -- */

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

/* -- the limit of a file's size -- */

static void over_the_limit(int sig) { (void)sig; }

/* A handler, unlike SIG_IGN, is not handed on to programs that this one starts. */
void tide_writes_fail(void) {
    struct sigaction was, now = {.sa_handler = over_the_limit, .sa_flags = SA_RESTART | SA_ONSTACK};
    sigemptyset(&now.sa_mask);
    if (sigaction(SIGXFSZ, NULL, &was) == 0 && !(was.sa_flags & SA_SIGINFO) &&
        was.sa_handler == SIG_DFL)
        sigaction(SIGXFSZ, &now, NULL);
}

/* -- where a path leads -- */

/* Puts into w->path what the kernel would open or create for `path`. */
static tide_status follow(tide_ctx *ctx, const char *path, tide_writer *w, struct stat *st,
                          int *exists) {
    size_t n = strlen(path);
    if (n == 0 || n >= sizeof w->path)
        return tide_fail(ctx, TIDE_EARG, "the path of %zu bytes is too %s", n,
                         n ? "long" : "short");
    memcpy(w->path, path, n + 1);
    *exists = stat(path, st) == 0;
    if (!*exists && errno != ENOENT) return fail_errno(ctx, "write", path);
    if (*exists && S_ISDIR(st->st_mode))
        return tide_fail(ctx, TIDE_EIO, "%s: is a folder, a file is expected", path);
    if (*exists && !S_ISREG(st->st_mode))
        return tide_fail(ctx, TIDE_EIO, "%s: is there and not a regular file", path);
    struct stat at;
    for (int links = 0; lstat(w->path, &at) == 0 && S_ISLNK(at.st_mode); links++) {
        char to[PATH_MAX];
        const char *slash = strrchr(w->path, '/');
        ssize_t r = links < LINKS ? readlink(w->path, to, sizeof to) : (errno = ELOOP, -1);
        if (r < 0) return fail_errno(ctx, "write", path);
        n = r > 0 && to[0] != '/' && slash ? (size_t)(slash - w->path) + 1 : 0;
        if (n + (size_t)r >= sizeof w->path) {
            errno = ENAMETOOLONG;
            return fail_errno(ctx, "write", path);
        }
        memcpy(w->path + n, to, (size_t)r);
        w->path[n + (size_t)r] = 0;
    }
    /* a link of /proc says what it is, not where */
    if (*exists && (lstat(w->path, &at) != 0 || at.st_ino != st->st_ino || at.st_dev != st->st_dev))
        return tide_fail(ctx, TIDE_EIO, "%s: is there and has no name of its own", path);
    return TIDE_OK;
}

/* Opens the folder of w->path. */
static int enter(tide_writer *w) {
    char folder[PATH_MAX];
    const char *slash = strrchr(w->path, '/');
    w->name = slash ? slash + 1 : w->path;
    snprintf(folder, sizeof folder, "%.*s",
             !slash                 ? 1
                 : slash == w->path ? 1
                                    : (int)(slash - w->path),
             slash ? w->path : ".");
    do w->folder = open(folder, O_PATH | O_DIRECTORY | O_CLOEXEC);
    while (w->folder < 0 && errno == EINTR);
    return w->folder;
}

/* -- temporary files -- */

/* "model.keras.tide-tmp", "model.keras.tide-tmp1", ...; a long name is cut and told from others by
 * a sum. */
static void temp_name(const tide_writer *w, int k, char out[NAME_MAX + 1]) {
    char sum[16] = "", number[16] = "";
    size_t n = strlen(w->name);
    if (n > STEM + 20) {
        snprintf(sum, sizeof sum, "~%08lx", crc32_z(0, (const Bytef *)w->name, n));
        for (n = STEM; n > 0 && ((unsigned char)w->name[n] & 0xC0) == 0x80;) n--;
    }
    if (k > 0) snprintf(number, sizeof number, "%d", k);
    snprintf(out, NAME_MAX + 1, "%.*s%s.tide-tmp%s", (int)n, w->name, sum, number);
}

/* Whether the name is still that of the open file. */
static int is_named(int folder, const char *name, int fd) {
    struct stat a, b;
    return fstatat(folder, name, &a, AT_SYMLINK_NOFOLLOW) == 0 && fstat(fd, &b) == 0 &&
        a.st_ino == b.st_ino && a.st_dev == b.st_dev;
}

/* Whether another holds the file's lock; a file system without locks tells nothing. */
static int is_locked(int fd) { return flock(fd, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK; }

/* Removes a temporary file whose writer is dead. */
static void sweep(int folder, const char *name) {
    int fd = openat(folder, name, O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd < 0) fd = openat(folder, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd < 0) return;
    struct stat st;
    if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_uid == geteuid() && st.st_nlink == 1 &&
        flock(fd, LOCK_EX | LOCK_NB) == 0 && is_named(folder, name, fd))
        unlinkat(folder, name, 0);
    close(fd);
}

static int create(tide_writer *w) {
    int k = 0;
    for (int swept = -1; k < NAMES;) {
        temp_name(w, k, w->temp);
        w->fd = openat(w->folder, w->temp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
        if (w->fd < 0 && errno == EINTR) continue;
        if (w->fd < 0 && errno != EEXIST) break;
        if (w->fd >= 0) {
            /* one that sweeps may have come between */
            if (!is_locked(w->fd) && is_named(w->folder, w->temp, w->fd)) break;
            close(w->fd), w->fd = -1;
            k++;
        } else if (swept < k) {
            swept = k;
            sweep(w->folder, w->temp);
        } else {
            k++;
        }
    }
    if (w->fd < 0) {
        w->temp[0] = 0;
        return -1;
    }
    char other[NAME_MAX + 1];
    struct stat st;
    while (++k < NAMES) {
        temp_name(w, k, other);
        if (fstatat(w->folder, other, &st, AT_SYMLINK_NOFOLLOW) != 0) break;
        sweep(w->folder, other);
    }
    return 0;
}

/* -- writing -- */

tide_status tide_writer_open(tide_ctx *ctx, const char *path, tide_writer **out) {
    tide_writer *w = calloc(1, sizeof *w);
    if (!w) return tide_fail(ctx, TIDE_ENOMEM, "%s: not enough memory to write", path);
    w->fd = w->folder = -1;
    struct stat st;
    int exists;
    tide_status s = follow(ctx, path, w, &st, &exists);
    if (s == TIDE_OK && (enter(w) < 0 || create(w) != 0)) s = fail_errno(ctx, "write", path);
    if (s != TIDE_OK) {
        tide_writer_close(w);
        return s;
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

/* A signal that comes in between, as on file systems of the network, is no failure. */
static int to_disk(int fd) {
    int r;
    do r = fsync(fd);
    while (r != 0 && errno == EINTR);
    return r;
}

/* The rename is durable only when the folder's entry is on the disk too. */
static int sync_folder(int folder) {
    int fd = openat(folder, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return 0; /* a folder that may be written but not read: nothing more can be done */
    int r = faulty(F_FSYNC_DIR) ? -1 : to_disk(fd), e = errno;
    close(fd);
    errno = e;
    return r == 0 || e == EINVAL || e == ENOTSUP ? 0 : -1;
}

tide_status tide_writer_commit(tide_ctx *ctx, tide_writer *w) {
    int r = faulty(F_FSYNC) ? -1 : to_disk(w->fd);
    if (r != 0 && errno != EINVAL && errno != ENOTSUP)
        return fail_errno(ctx, "bring to the disk", w->path);
    /* the descriptor that holds the lock stays until the name is gone */
    int other = faulty(F_CLOSE) ? (errno = EIO, -1) : dup(w->fd);
    r = other < 0 ? -1 : close(other);
    if (r != 0 && errno != EINTR) return fail_errno(ctx, "write", w->path); /* EINTR: closed too */
    if ((faulty(F_RENAME) ? -1 : renameat(w->folder, w->temp, w->folder, w->name)) != 0)
        return fail_errno(ctx, "replace", w->path);
    w->temp[0] = 0;
    if (sync_folder(w->folder) != 0)
        return fail_errno(ctx, "bring to the disk the folder of", w->path);
    return TIDE_OK;
}

void tide_writer_close(tide_writer *w) {
    if (!w) return;
    if (w->temp[0]) unlinkat(w->folder, w->temp, 0);
    if (w->fd >= 0) close(w->fd);
    if (w->folder >= 0) close(w->folder);
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

/* -- logs -- */

static tide_status put_all(tide_ctx *ctx, const char *path, int fd, const char *p, size_t n) {
    while (n > 0) {
        ssize_t r = faulty(F_WRITE) ? -1 : write(fd, p, cut_short(n));
        const int why = errno;
        if (r < 0 && why == EAGAIN) { /* a pipe that is full */
            struct pollfd wait = {.fd = fd, .events = POLLOUT};
            poll(&wait, 1, 50);
        }
        if (r < 0) TIDE_TRY(tide_go_on(ctx));
        if (r < 0 && (why == EINTR || why == EAGAIN)) continue;
        if (r < 0) return errno = why, fail_errno(ctx, "write", path);
        p += r, n -= (size_t)r;
    }
    return TIDE_OK;
}

tide_status tide_file_append(tide_ctx *ctx, const char *path, int64_t at, const void *data,
                             size_t n, int64_t *size) {
    /* O_NONBLOCK: a pipe that nobody reads is an error, and none waits for ever */
    int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NONBLOCK | O_NOCTTY, 0666);
    struct stat st;
    if (fd < 0) return fail_errno(ctx, "write", path);
    tide_status s = TIDE_OK;
    if (fstat(fd, &st) != 0) {
        s = fail_errno(ctx, "write", path);
        goto done;
    }
    const int regular = S_ISREG(st.st_mode);
    if (regular && at >= 0 && at < st.st_size) {
        if (ftruncate(fd, at) != 0) {
            s = fail_errno(ctx, "write", path);
            goto done;
        }
        st.st_size = at;
    }
    s = put_all(ctx, path, fd, data, n);
    if (s != TIDE_OK && regular && ftruncate(fd, st.st_size) != 0) errno = 0; /* a part stays */
    *size = regular ? (int64_t)st.st_size + (int64_t)n : -1;
done:
    close(fd);
    return s;
}
