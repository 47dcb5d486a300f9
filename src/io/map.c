/* Tensors over a mapped file: nothing is read before a kernel asks for it, and the pages are shared
 * with every process that maps the file.
 *
 * Somebody may cut the file meanwhile; whoever reads a page that is gone gets SIGBUS. The handler
 * puts zeros where the file has ended, and the op that runs, or the next one, fails
 * (tide_file_lost): once for each time the file is cut, however many threads read its end. */
#include "io.h"

#include "../core.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* What the handler looks through: never freed, taken again. */
typedef struct mapping {
    char *_Atomic start; /* NULL: free */
    char *_Atomic lost;  /* from here on there are zeros; where it ends if there are none */
    size_t bytes;
    int64_t offset; /* of the file */
    int fd;
    struct mapping *next;
} mapping;
static mapping *_Atomic all;
static pthread_mutex_t changing = PTHREAD_MUTEX_INITIALIZER;
static struct sigaction previous;
static int64_t page;

/* Where the file's pages end within a mapping, `at` being lost. */
static char *end_of_file(const mapping *m, char *start, char *at) {
    struct stat s;
    at -= (uintptr_t)at % (uintptr_t)page;
    if (fstat(m->fd, &s) != 0) return at;
    const int64_t held = TIDE_MAX((int64_t)s.st_size - m->offset, 0);
    char *end = start + (held + page - 1) / page * page;
    return end < at ? end : at;
}

static void on_lost_page(int sig, siginfo_t *info, void *context) {
    char *at = info->si_addr;
    const int error = errno;
    for (mapping *m = info->si_code > 0 ? all : NULL; m; m = m->next) {
        char *start = m->start;
        if (!start || at < start || at >= start + m->bytes) continue;
        char *from = end_of_file(m, start, at), *was = m->lost;
        while (from < was &&
               !__atomic_compare_exchange_n(&m->lost, &was, from, 0, __ATOMIC_SEQ_CST,
                                            __ATOMIC_SEQ_CST)) {}
        errno = error;
        if (from >= was) return; /* another thread puts zeros there: the read comes again */
        if (mmap(from, (size_t)(was - from), PROT_READ | PROT_WRITE,
                 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == MAP_FAILED)
            break;
        tide_file_lost = 1;
        __atomic_store_n(&tide_cancel, 1, __ATOMIC_RELAXED);
        errno = error;
        return;
    }
    errno = error;
    if (previous.sa_flags & SA_SIGINFO) previous.sa_sigaction(sig, info, context);
    else if (previous.sa_handler != SIG_DFL && previous.sa_handler != SIG_IGN)
        previous.sa_handler(sig);
    else { /* a fault comes again at once */ signal(sig, SIG_DFL);
        if (info->si_code <= 0) raise(sig);
    }
}

/* A free mapping; NULL: no memory. Under `changing`. */
static mapping *take(void) {
    mapping *m = all;
    while (m && m->start) m = m->next;
    if (m) return m;
    if (!(m = calloc(1, sizeof *m))) return NULL;
    if (!all) {
        struct sigaction a = {.sa_sigaction = on_lost_page, .sa_flags = SA_SIGINFO | SA_ONSTACK};
        sigemptyset(&a.sa_mask);
        page = sysconf(_SC_PAGESIZE);
        sigaction(SIGBUS, &a, &previous);
    }
    m->next = all;
    return all = m;
}

static void release(void *p) {
    mapping *m = p;
    pthread_mutex_lock(&changing);
    char *start = m->start;
    m->start = NULL;
    munmap(start, m->bytes);
    close(m->fd);
    pthread_mutex_unlock(&changing);
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
    const int64_t before = offset % sysconf(_SC_PAGESIZE);
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
    const size_t bytes = (size_t)(want + before);
    char *start = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, offset - before);
    if (start == MAP_FAILED) {
        const int error = errno;
        close(fd);
        return tide_fail(ctx, TIDE_ENOMEM, "%s: cannot be mapped: %s", path, strerror(error));
    }
    pthread_mutex_lock(&changing);
    mapping *m = take();
    if (m) {
        m->bytes = bytes, m->offset = offset - before, m->fd = fd;
        m->lost = start + TIDE_CEIL_DIV((int64_t)bytes, page) * page;
        m->start = start;
    }
    pthread_mutex_unlock(&changing);
    if (!m) {
        munmap(start, bytes);
        close(fd);
        return tide_fail(ctx, TIDE_ENOMEM, "%s: not enough memory to map it", path);
    }
    const tide_status s = tide_new_over(ctx, dtype, rank, shape, start + before, release, m, out);
    if (s != TIDE_OK) release(m);
    return s;
}
