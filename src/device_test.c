/* The device "test": proves without a GPU that nothing but kernels touches a device's elements.
 *
 * Its memory is a range of pages that kernels, which are the CPU's, see; a tensor's address lies as
 * far into another range, which nobody may read or write, so that whoever touches it from the host
 * ends the process at that line. A forked child has a copy, as of all memory. Copies from and to
 * the host are counted. Blocks are powers of two, whole pages at least.
 *
 * Invariant: the size of a block stands in `class_at` at its first page from the first time it was
 * made; blocks of one class are handed out again to the same class only. */
#define _GNU_SOURCE
#include "device.h"

#include <pthread.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define PAGE ((size_t)4096)
#define PAGES ((size_t)1 << 20) /* 4 GiB; pages are taken from the system when they are written */
#define GIVE_BACK ((size_t)1 << 20) /* idle blocks from this size on keep no memory */

static char *hidden, *open_side;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* of what follows */
static size_t used;                                      /* pages */
static uint8_t class_at[PAGES];
static uint32_t next_idle[PAGES], idle[64]; /* page + 1 of the first idle block, 0: none */
static tide_device_info counts;

static char *kernel_side(const void *p) { return open_side + ((const char *)p - hidden); }

static void *test_alloc(tide_device *dev, size_t bytes) {
    (void)dev;
    int class = 12;
    while (class < 62 && (size_t)1 << class < bytes) class ++;
    const size_t pages = ((size_t)1 << class) / PAGE;
    void *p = NULL;
    pthread_mutex_lock(&lock);
    if (idle[class]) {
        const size_t at = idle[class] - 1;
        idle[class] = next_idle[at];
        p = hidden + at * PAGE;
    } else if (pages <= PAGES - used) {
        class_at[used] = (uint8_t) class;
        p = hidden + used * PAGE;
        used += pages;
    }
    pthread_mutex_unlock(&lock);
    return p;
}

static void test_free(tide_device *dev, void *p) {
    (void)dev;
    const size_t at = (size_t)((char *)p - hidden) / PAGE;
    pthread_mutex_lock(&lock);
    const int class = class_at[at];
    if ((size_t)1 << class >= GIVE_BACK) madvise(kernel_side(p), (size_t)1 << class, MADV_DONTNEED);
    next_idle[at] = idle[class];
    idle[class] = (uint32_t)at + 1;
    pthread_mutex_unlock(&lock);
}

static void test_copy(tide_device *dev, void *dst, const void *src, size_t bytes,
                      tide_copy_way way) {
    (void)dev;
    pthread_mutex_lock(&lock);
    if (way == TIDE_FROM_HOST) counts.copies_in++, counts.bytes_in += (int64_t)bytes;
    else counts.copies_out++, counts.bytes_out += (int64_t)bytes;
    pthread_mutex_unlock(&lock);
    if (way == TIDE_FROM_HOST) memcpy(kernel_side(dst), src, bytes);
    else memcpy(dst, kernel_side(src), bytes);
}

static void test_fill(tide_device *dev, void *p, int byte, size_t bytes) {
    (void)dev;
    memset(kernel_side(p), byte, bytes);
}

static void test_sync(tide_device *dev) { (void)dev; }

static void test_info(tide_device *dev, tide_device_info *out) {
    (void)dev;
    pthread_mutex_lock(&lock);
    *out = counts;
    out->free_bytes = (int64_t)((PAGES - used) * PAGE);
    pthread_mutex_unlock(&lock);
}

static const tide_device_vt test_vt = {.alloc = test_alloc,
                                       .free = test_free,
                                       .copy = test_copy,
                                       .fill = test_fill,
                                       .sync = test_sync,
                                       .info = test_info};
static tide_device device = {.name = "test", .vt = &test_vt, .lock = ATOMIC_FLAG_INIT};

/* A fork waits until no thread is inside the allocator. */
static void before_fork(void) {
    tide_device_lock(&device);
    pthread_mutex_lock(&lock);
}
static void after_fork(void) {
    pthread_mutex_unlock(&lock);
    tide_device_unlock(&device);
}

static void test_init(void) {
    const int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
    void *closed = mmap(NULL, PAGES * PAGE, PROT_NONE, flags, -1, 0);
    void *seen = mmap(NULL, PAGES * PAGE, PROT_READ | PROT_WRITE, flags, -1, 0);
    if (closed == MAP_FAILED || seen == MAP_FAILED) return;
    hidden = closed, open_side = seen;
    device.seen = open_side - hidden;
    device.runs = tide_cpu();
    pthread_atfork(before_fork, after_fork, after_fork);
    tide_device_join(&device);
}

tide_device *tide_test_device(void) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, test_init);
    return hidden ? &device : NULL;
}
