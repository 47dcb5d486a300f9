/* Tensors over a mapped file: nothing is read before a kernel asks for it, and the pages are shared
 * with every process that maps the file. */
#include "io.h"

#include "../core.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

typedef struct {
    void *start;
    size_t bytes;
} mapping;

static void release(void *p) {
    mapping *m = p;
    munmap(m->start, m->bytes);
    free(m);
}

/* How many bytes the elements take; -1: a shape that no tensor has. */
static int64_t bytes_of(tide_dtype dtype, int rank, const int64_t *shape) {
    int64_t n = (int64_t)tide_dtype_size(dtype);
    for (int i = 0; i < rank; i++)
        if (shape[i] < 1 || __builtin_mul_overflow(n, shape[i], &n)) return -1;
    return n;
}

tide_status tide_file_map(tide_ctx *ctx, const char *path, int64_t offset, tide_dtype dtype,
                          int rank, const int64_t *shape, tide_tensor **out) {
    const int64_t want = bytes_of(dtype, rank, shape), size = (int64_t)tide_dtype_size(dtype);
    const int64_t page = sysconf(_SC_PAGESIZE), before = offset % page;
    int64_t held;
    int fd;
    if (want < 0) return tide_fail(ctx, TIDE_ESHAPE, "%s: a shape of lengths from 1 is due", path);
    if (offset < 0 || offset % size)
        return tide_fail(ctx, TIDE_EARG,
                         "%s: elements begin at a multiple of their size (expected one of %" PRId64
                         ", got %" PRId64 ")",
                         path, size, offset);
    TIDE_TRY(tide_file_open(ctx, path, &fd, &held));
    if (held < offset || held - offset < want) {
        close(fd);
        return tide_fail(ctx, TIDE_EIO,
                         "%s: the file is too short (expected %" PRId64 " bytes from %" PRId64
                         ", the file has %" PRId64 ")",
                         path, want, offset, held);
    }
    mapping *m = malloc(sizeof *m);
    if (m) {
        m->bytes = (size_t)(want + before);
        m->start = mmap(NULL, m->bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, offset - before);
    }
    close(fd);
    if (!m || m->start == MAP_FAILED) {
        free(m);
        return tide_fail(ctx, TIDE_ENOMEM, "%s: cannot be mapped: %s", path, strerror(errno));
    }
    const tide_status s =
        tide_new_over(ctx, dtype, rank, shape, (char *)m->start + before, release, m, out);
    if (s != TIDE_OK) release(m);
    return s;
}
