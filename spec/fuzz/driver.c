/* A fuzzer's main where libFuzzer is not at hand: mutates files of a corpus at random and calls
 * LLVMFuzzerTestOneInput.
 *
 *   driver 'CORPUS_FOLDER ...' SECONDS [SEED]
 * The input that is being tried is kept in TIDE_FUZZ_LAST (a path), so that a crash leaves it
 * behind. One that takes more than a second of the processor ends the run as a crash does. At the
 * end it prints the slowest and the most memory.
 *
 * Where the readers are compiled with -fsanitize-coverage=trace-pc, an input that goes a way that
 * none went before joins the corpus; in the folder TIDE_FUZZ_KEEP (a path) it stays for the next
 * run. With clang: clang -fsanitize=fuzzer,address,undefined -Isrc -Ikernels spec/fuzz/images.c
 * src/io/image.c ... */
#include <dirent.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

#define MAX_FILES 20000
#define MAX_BYTES (1 << 16)

/* Steps from one place of the readers to another, some of them under one number; shared with the
 * children that a fuzzer forks. */
static struct {
    long fresh;
    uintptr_t before;
    uint8_t seen[1 << 18];
} * ways;

void __sanitizer_cov_trace_pc(void);
void __sanitizer_cov_trace_pc(void) {
    const uintptr_t here = (uintptr_t)__builtin_return_address(0);
    if (!ways) return;
    uint8_t *seen = &ways->seen[(here ^ ways->before << 7) % sizeof ways->seen];
    ways->fresh += !*seen;
    *seen = 1;
    ways->before = here;
}

static uint64_t state;
static uint32_t below(uint32_t n) { /* xorshift64* */
    state ^= state >> 12, state ^= state << 25, state ^= state >> 27;
    return (uint32_t)((state * 0x2545f4914f6cdd1du) >> 32) % n;
}

static size_t mutate(uint8_t *b, size_t n, const uint8_t *other, size_t on) {
    static const uint32_t odd[] = {0,          1,           0x7f,       0x80,   0xff,
                                   0x100,      0x7fff,      0x8000,     0xffff, 0x10000,
                                   0x7fffffff, 0x80000000u, 0xffffffffu};
    for (uint32_t k = 1 + below(6); k > 0 && n > 1; k--) {
        size_t at = 1 + below((uint32_t)n - 1);
        if (below(3))
            at = 1 +
                below(n - 1 < 64 ? (uint32_t)n - 1
                                 : 64); /* headers are where decisions are taken */
        switch (below(7)) {
        case 0: b[at] ^= (uint8_t)(1u << below(8)); break;
        case 1: b[at] = (uint8_t)below(256); break;
        case 2: { /* a number that is often wrong, of 2 or 4 bytes, in either order */
            uint32_t v = odd[below(13)], width = below(2) ? 2 : 4, big = below(2);
            for (uint32_t i = 0; i < width && at + i < n; i++)
                b[at + i] = (uint8_t)(v >> 8 * (big ? width - 1 - i : i));
            break;
        }
        case 3: n = at + 1; break;
        case 4: { /* a piece repeated */
            size_t len = 1 + below(64);
            if (at + len < n && n + len < MAX_BYTES)
                memmove(b + at + len, b + at, n - at), n += len;
            break;
        }
        case 5: { /* a piece taken out */
            size_t len = 1 + below(32);
            if (at + len < n) memmove(b + at, b + at + len, n - at - len), n -= len;
            break;
        }
        default: { /* a piece of another file */
            size_t len = 1 + below(128), from = below((uint32_t)on);
            if (from + len < on && at + len < n) memcpy(b + at, other + from, len);
        }
        }
    }
    b[0] = (uint8_t)below(256);
    return n;
}

static void too_long(int sign) {
    static const char text[] = "  an input took more than a second\n";
    (void)sign;
    if (write(STDERR_FILENO, text, sizeof text - 1) < 0) _exit(2);
    _exit(1);
}

static double seconds(void) { /* of the processor */
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static double slowest;
static void try_one(const uint8_t *data, size_t n) {
    static const struct itimerval second = {.it_value.tv_sec = 1}, none;
    double begun = seconds();
    setitimer(ITIMER_VIRTUAL, &second, NULL);
    LLVMFuzzerTestOneInput(data, n);
    setitimer(ITIMER_VIRTUAL, &none, NULL);
    begun = seconds() - begun;
    if (begun > slowest) slowest = begun;
}

/* -- the corpus -- */

static uint8_t *files[MAX_FILES];
static size_t sizes[MAX_FILES];
static int n;

static void join(const uint8_t *data, size_t size) {
    if (n == MAX_FILES || !(files[n] = malloc(size))) return;
    memcpy(files[n], data, size);
    sizes[n++] = size;
}

/* Files hold no first byte, which chooses options. */
static void join_folder(const char *folder) {
    static uint8_t bytes[MAX_BYTES];
    DIR *d = opendir(folder);
    for (struct dirent *e; d && (e = readdir(d));) {
        char path[4096];
        snprintf(path, sizeof path, "%s/%s", folder, e->d_name);
        FILE *f = e->d_name[0] == '.' ? NULL : fopen(path, "rb");
        if (!f) continue;
        size_t size = 1 + fread(bytes + 1, 1, MAX_BYTES - 1, f);
        fclose(f);
        if (size > 1 && size < MAX_BYTES) join(bytes, size);
    }
    if (d) closedir(d);
}

static void write_to(const char *path, const uint8_t *data, size_t size) {
    FILE *f = fopen(path, "wb");
    if (f) fwrite(data, 1, size, f), fclose(f);
}

static void try_and_keep(const uint8_t *data, size_t size, const char *keep) {
    const long before = ways->fresh;
    ways->before = 0;
    try_one(data, size);
    if (ways->fresh == before || n == MAX_FILES) return;
    join(data, size);
    char path[4096];
    snprintf(path, sizeof path, "%s/%ld.%d", keep ? keep : "", (long)time(NULL), n);
    if (keep) write_to(path, data + 1, size - 1);
}

int main(int argc, char **argv) {
    static uint8_t input[2 * MAX_BYTES];
    ways = mmap(NULL, sizeof *ways, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (ways == MAP_FAILED) return 2;
    signal(SIGVTALRM, too_long);
    if (argc < 3) {
        fprintf(stderr, "usage: %s CORPUS_FOLDER SECONDS [SEED]\n", argv[0]);
        return 2;
    }
    char *folders = strdup(argv[1]);
    for (char *folder = strtok(folders, " "); folder; folder = strtok(NULL, " "))
        join_folder(folder);
    free(folders);
    const char *last = getenv("TIDE_FUZZ_LAST"), *keep = getenv("TIDE_FUZZ_KEEP");
    if (keep) join_folder(keep);
    if (n == 0) {
        fprintf(stderr, "%s: no files in the folders given\n", argv[0]);
        return 2;
    }
    state = argc > 3 ? strtoull(argv[3], NULL, 10) : (uint64_t)time(NULL);
    state = state * 0x9e3779b97f4a7c15u + 1;
    time_t end = time(NULL) + atoi(argv[2]);
    long long tried = 0;
    const int given = n;
    for (int i = 0; i < given && time(NULL) < end; i++, tried++) {
        if (last) write_to(last, files[i], sizes[i]);
        ways->before = 0;
        try_one(files[i], sizes[i]);
    }
    while (time(NULL) < end) {
        int i = (int)below((uint32_t)n), j = (int)below((uint32_t)n);
        memcpy(input, files[i], sizes[i]);
        size_t size = mutate(input, sizes[i], files[j], sizes[j]);
        if (last) write_to(last, input, size);
        uint8_t *exact = malloc(size); /* its own block, so that reading past the end is seen */
        if (!exact) return 2;
        memcpy(exact, input, size);
        try_and_keep(exact, size, keep);
        free(exact);
        tried++;
    }
    struct rusage use;
    getrusage(RUSAGE_SELF, &use);
    printf("  %lld inputs, no report; slowest %.3f s, peak %ld MiB, %.0f s of the processor, "
           "corpus of "
           "%d\n",
           tried, slowest, use.ru_maxrss >> 10, seconds(), n);
    for (int i = 0; i < n; i++) free(files[i]);
    return 0;
}
