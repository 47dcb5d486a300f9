/* Owns the process: its limits, its two streams, its one way to fail.
 *
 * Invariant: before a byte of the file is interpreted the process has no way to
 * open files, to reach a network, to start programs, or to use more memory and
 * time than it was given. */
#define _GNU_SOURCE
#include "hdf5.h"

#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <zlib.h>

#ifdef TIDE_SECCOMP
#include <seccomp.h>
#endif

#if defined(__SANITIZE_ADDRESS__)
#define SANITIZED 1 /* the sanitizer needs terabytes of addresses and files of /proc */
#else
#define SANITIZED 0
#endif

enum { WRITE_SECONDS = 10, IO_CHUNK = 1 << 20 };
#define BASE_MEMORY ((uint64_t)512 << 20)

void fail(const char *fmt, ...) {
    char text[512];
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    if (n > (int)sizeof text - 1) n = (int)sizeof text - 1;
    for (int i = 0; i < n; i++)
        if ((unsigned char)text[i] < 32 || text[i] == 127) text[i] = '?';
    if (write(STDERR_FILENO, text, (size_t)n) < 0) _exit(2);
    _exit(1);
}

void *must(void *p) {
    if (!p) fail("not enough memory");
    return p;
}

/* jansson 2.14 goes on with a text that could not grow, and then writes past it or loses a letter:
 * no allocation of its own may fail. */
static void *must_allocate(size_t n) { return must(malloc(n)); }

/* -- streams -- */

static uint32_t sum;

uint32_t sum_of(uint32_t before, const void *data, size_t n) {
    return (uint32_t)crc32_z(before, data, n);
}

void send_bytes(const void *data, size_t n) {
    const char *p = data;
    sum = (uint32_t)crc32_z(sum, data, n);
    while (n > 0) {
        ssize_t r = write(STDOUT_FILENO, p, n < IO_CHUNK ? n : IO_CHUNK);
        if (r < 0 && errno == EINTR) continue;
        if (r < 0) _exit(2);
        p += r, n -= (size_t)r;
    }
}

void receive_bytes(void *data, size_t n) {
    char *p = data;
    size_t left = n;
    while (left > 0) {
        ssize_t r = read(STDIN_FILENO, p, left < IO_CHUNK ? left : IO_CHUNK);
        if (r < 0 && errno == EINTR) continue;
        if (r <= 0) fail("the request was cut short");
        p += r, left -= (size_t)r;
    }
    sum = (uint32_t)crc32_z(sum, data, n);
}

void send_trailer(void) {
    unsigned char t[8] = {(unsigned char)sum,
                          (unsigned char)(sum >> 8),
                          (unsigned char)(sum >> 16),
                          (unsigned char)(sum >> 24),
                          'T',
                          'I',
                          'D',
                          'E'};
    send_bytes(t, sizeof t);
    sum = 0;
}

void receive_trailer(void) {
    uint32_t want = sum;
    unsigned char t[8];
    receive_bytes(t, sizeof t);
    sum = 0;
    uint32_t got = t[0] | (uint32_t)t[1] << 8 | (uint32_t)t[2] << 16 | (uint32_t)t[3] << 24;
    if (got != want || memcmp(t + 4, "TIDE", 4)) fail("the request was damaged on its way");
}

/* -- limits -- */

/* `now` at first; who started the program may raise it to `most`. */
static void limit(int what, uint64_t now, uint64_t most) {
    struct rlimit r;
    if (getrlimit(what, &r) != 0) fail("no limits can be set");
    if (r.rlim_max == RLIM_INFINITY || r.rlim_max > most) r.rlim_max = (rlim_t)most;
    r.rlim_cur = r.rlim_max < now ? r.rlim_max : (rlim_t)now;
    if (setrlimit(what, &r) != 0) fail("no limits can be set");
}

static void confine(uint64_t memory, uint64_t seconds, uint64_t most_seconds) {
    /* descriptors that the host left open to its children */
#ifdef SYS_close_range
    int left = syscall(SYS_close_range, HDF5_FILE + 1, ~0u, 0) != 0;
#else
    int left = 1;
#endif
    for (int fd = HDF5_FILE + 1; left && fd < 4096; fd++) close(fd);
    limit(RLIMIT_CORE, 0, 0);
    limit(RLIMIT_CPU, seconds, most_seconds);
    limit(RLIMIT_NOFILE, HDF5_FILE + 1, HDF5_FILE + 1);
    if (!SANITIZED) limit(RLIMIT_AS, memory, memory);
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) fail("privileges cannot be dropped");
#ifdef TIDE_SECCOMP
    if (SANITIZED) return;
    static const int allowed[] = {
        SCMP_SYS(read),          SCMP_SYS(write),          SCMP_SYS(mmap),
        SCMP_SYS(munmap),        SCMP_SYS(mremap),         SCMP_SYS(mprotect),
        SCMP_SYS(brk),           SCMP_SYS(madvise),        SCMP_SYS(close),
        SCMP_SYS(fstat),         SCMP_SYS(newfstatat),     SCMP_SYS(lseek),
        SCMP_SYS(futex),         SCMP_SYS(exit),           SCMP_SYS(exit_group),
        SCMP_SYS(rt_sigreturn),  SCMP_SYS(rt_sigprocmask), SCMP_SYS(getpid),
        SCMP_SYS(gettid),        SCMP_SYS(tgkill),         SCMP_SYS(getuid),
        SCMP_SYS(clock_gettime), SCMP_SYS(gettimeofday),   SCMP_SYS(time),
        SCMP_SYS(getrandom),
    };
    scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ERRNO(EPERM));
    int bad = !filter;
    for (size_t i = 0; i < sizeof allowed / sizeof *allowed && !bad; i++)
        seccomp_rule_add(filter, SCMP_ACT_ALLOW, allowed[i], 0); /* not every machine has each */
    if (bad) fail("the system calls cannot be filtered");
    /* a kernel that has no filters (or a container that forbids them): the limits above stand alone
     */
    if (seccomp_load(filter) < 0) errno = 0;
    seccomp_release(filter);
#endif
}

static uint64_t tree_seconds(uint64_t size) { return (SANITIZED ? 10 : 1) + (size >> 23); }

/* The positions that standard input asks for. */
static wanted receive_wanted(void) {
    wanted w = {0};
    receive_bytes(&w.n, sizeof w.n);
    if (w.n > MAX_OBJECTS) fail("more than %d datasets are asked for", MAX_OBJECTS);
    uint64_t *at = must(malloc((w.n + 1) * sizeof *at));
    receive_bytes(at, w.n * sizeof *at);
    sum = 0;
    w.at = at;
    return w;
}

int main(int argc, char **argv) {
    const char *verb = argc > 1 ? argv[1] : "";
    int writing = !strcmp(verb, "write"), some = !strcmp(verb, "some");
    uint64_t numbers[2] = {0};
    int wrong = argc != (writing ? 3 : some || !strcmp(verb, "read") ? 4 : 0);
    for (int i = 2; i < argc && !wrong; i++) {
        char *end;
        numbers[i - 2] = strtoull(argv[i], &end, 10);
        wrong = *end != 0;
    }
    uint64_t max = numbers[0], room = numbers[1] < max ? numbers[1] : max;
    struct stat st;
    if (wrong || fstat(HDF5_FILE, &st) != 0) {
        fprintf(stderr,
                "tide-hdf5 is started by Tide: it reads and writes the "
                "HDF5 file on descriptor 3");
        return 2;
    }
    const void *image = NULL;
    size_t size = (size_t)st.st_size;
    if (!writing) {
        if (!S_ISREG(st.st_mode) || size == 0)
            fail("not an HDF5 file (it is empty or no regular file)");
        image = mmap(NULL, size, PROT_READ, MAP_PRIVATE, HDF5_FILE, 0);
        if (image == MAP_FAILED) fail("the file cannot be mapped: %s", strerror(errno));
    }
    signal(SIGXFSZ, SIG_IGN); /* a file that may not grow is an error of write(2) */
    json_set_alloc_funcs(must_allocate, free);
    json_object_seed(0);
    if (H5open() < 0 || H5PLset_loading_state(0) < 0 || H5Eset_auto2(H5E_DEFAULT, NULL, NULL) < 0)
        fail("libhdf5 cannot be started");
    /* writing holds the tensors' bytes in the file being made and in its image. The tree of a file
     * is read within a second for each 8 MiB of it, and its attributes, which are texts within
     * texts, in a few times its size; then the size of the data is known, and Tide raises the limit
     * of time for them (src/io/hdf5.c). */
    uint64_t writes = WRITE_SECONDS + (max >> 22);
    if (writing) confine(BASE_MEMORY + 4 * max, writes, writes);
    else confine(BASE_MEMORY + 16 * size + 2 * room, tree_seconds(size), RLIM_INFINITY);
    if (writing) {
        write_file(max);
    } else {
        wanted w = {.room = room};
        if (some) w = receive_wanted();
        read_file(image, size, max, &w);
    }
    _exit(0); /* nothing is worth freeing */
}
