/* corpus: spec/fixtures/hdf5 spec/fixtures/keras spec/fixtures/tide
 * Fuzzes the reading half of tide-hdf5 (src/hdf5/read.c), each input in a child that its limits
 * end. libhdf5 itself is not instrumented and known to crash on damaged files, which is why it runs
 * apart: a signal is counted, a report of the sanitizers in Tide's code is a fault. */
#define _GNU_SOURCE
#include "../../src/hdf5/hdf5.h"

#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

enum { REPORT = 99 };
static long crashes, late;
static int notes; /* what a child says, a file in memory */

const char *__asan_default_options(void);
const char *__asan_default_options(void) { /* the limit of memory stands in for the real one */
    return "exitcode=99:detect_leaks=0:allocator_may_return_null=1:hard_rss_limit_mb=2048";
}

void fail(const char *fmt, ...) {
    char text[512];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    _exit(1);
}
void *must(void *p) {
    if (!p) fail("not enough memory");
    return p;
}
uint32_t sum_of(uint32_t before, const void *data, size_t n) {
    const unsigned char *p = data; /* each byte is read, so that a short block is seen */
    for (size_t i = 0; i < n; i++) before = before * 31 + p[i];
    return before;
}
void send_bytes(const void *data, size_t n) {
    if (sum_of(0, data, n) == 12345) fail("chance");
}
void send_trailer(void) {}

static void told(void) {
    fprintf(stderr, "  libhdf5 crashed %ld times, was ended %ld times\n", crashes, late);
}

/* Whose fault a report is: its first two places, for the first may be a function that the
 * sanitizers watch. */
static void look(void) {
    static char text[1 << 16];
    ssize_t n = pread(notes, text, sizeof text - 1, 0);
    text[n > 0 ? n : 0] = '\0';
    char *end = strstr(text, "    #2 "), *place = strstr(text, "src/hdf5/");
    crashes++;
    if (!strstr(text, "runtime error") && (!place || (end && place > end))) return;
    fputs(text, stderr);
    exit(REPORT);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
    static int begun;
    if (!begun++) {
        atexit(told);
        notes = memfd_create("notes", 0);
        if (H5open() < 0 || H5PLset_loading_state(0) < 0 ||
            H5Eset_auto2(H5E_DEFAULT, NULL, NULL) < 0)
            exit(2);
    }
    /* archives of Keras are in the corpus for the others: they are stored, so the member is cut out
     */
    const uint8_t *at = n > 8 ? memmem(data + 1, n - 1, "\x89HDF", 4) : NULL;
    if (!at) return 0;
    size_t size = n - (size_t)(at - data);
    if (ftruncate(notes, 0) != 0 || lseek(notes, 0, SEEK_SET) != 0) return 0;
    pid_t child = fork();
    if (child < 0) return 0;
    if (child == 0) {
        struct rlimit second = {1, 1}, none = {0, 0};
        setrlimit(RLIMIT_CPU, &second);
        setrlimit(RLIMIT_CORE, &none);
        dup2(notes, STDERR_FILENO);
        uint8_t *exact = malloc(size);
        memcpy(exact, at, size);
        const wanted w = {.room = data[0] & 1 ? (uint64_t)1 << 24 : 0};
        read_file(exact, size, (uint64_t)1 << 24, &w);
        _exit(0);
    }
    int status;
    if (waitpid(child, &status, 0) != child) return 0;
    if (WIFSIGNALED(status) && (WTERMSIG(status) == SIGKILL || WTERMSIG(status) == SIGXCPU)) late++;
    else if (WIFSIGNALED(status) || WEXITSTATUS(status) > 1) look();
    return 0;
}
