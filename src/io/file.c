/* Owns opening files for reading, and reading whole ones. Invariant: only regular files are opened,
 * and opening never waits. */
#include "io.h"

#include "../core.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PIECE = 1 << 24 }; /* bytes per read(2): Ctrl-C is heard between */

int tide_open_regular(const char *path, int64_t *size, const char **why) {
    /* without O_NONBLOCK a pipe waits for its writer; regular files do not heed it */
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    struct stat st;
    if (fd < 0 || fstat(fd, &st) != 0) {
        *why = strerror(errno);
        if (fd >= 0) close(fd);
        return -1;
    }
    if (!S_ISREG(st.st_mode)) {
        *why = S_ISDIR(st.st_mode) ? "is a folder, not a regular file"
            : S_ISFIFO(st.st_mode) ? "is a pipe, not a regular file"
                                   : "not a regular file";
        close(fd);
        return -1;
    }
    *size = st.st_size;
    return fd;
}

tide_status tide_file_open(tide_ctx *ctx, const char *path, int *fd, int64_t *size) {
    const char *why;
    if ((*fd = tide_open_regular(path, size, &why)) >= 0) return TIDE_OK;
    return tide_fail(ctx, TIDE_EIO, "%s: cannot open: %s", path, why);
}

static tide_status fail_errno(tide_ctx *ctx, const char *verb, const char *path) {
    return tide_fail(ctx, TIDE_EIO, "%s: cannot %s: %s", path, verb, strerror(errno));
}

tide_status tide_file_read(tide_ctx *ctx, const char *path, int64_t max, int64_t most, char **data,
                           size_t *n) {
    int fd;
    int64_t size;
    TIDE_TRY(tide_file_open(ctx, path, &fd, &size));
    tide_status status = TIDE_EIO;
    char *block = NULL;
    if (size > max) {
        tide_fail(ctx, TIDE_EIO, "%s: %lld bytes are more than the %lld allowed", path,
                  (long long)size, (long long)max);
        goto done;
    }
    if (size > most) size = most;
    block = malloc((size_t)size + 1);
    if (!block) {
        status = tide_fail(ctx, TIDE_ENOMEM, "%s: not enough memory for %lld bytes", path,
                           (long long)size);
        goto done;
    }
    size_t got = 0;
    while (got < (size_t)size) {
        if ((status = tide_go_on(ctx)) != TIDE_OK) goto done;
        status = TIDE_EIO;
        const size_t left = (size_t)size - got;
        ssize_t r = read(fd, block + got, left < PIECE ? left : PIECE);
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
