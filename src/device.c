/* The CPU device: level chosen once by CPUID, engines in order, threads.
 *
 * Invariant: the engine list changes only through tide_limit_engines, between ops. In a forked
 * child the libraries' locks may be held for ever: there one thread and the plain engine serve. */
#include "device.h"

#include "../kernels/engines.h"
#include "../kernels/gemm.h"
#include "../kernels/keep.h"
#include "team.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *level_name = "c";

volatile int tide_cancel;
_Atomic int tide_file_lost;

static tide_host house = {.scratch = tide_mem_scratch,
                          .keep = tide_mem_keep,
                          .drop = tide_mem_drop,
                          .threads = tide_team_threads,
                          .parallel = tide_team_parallel,
                          .share = tide_team_share,
                          .next = tide_team_next,
                          .cancel = &tide_cancel};

static void *cpu_alloc(tide_device *dev, size_t bytes) {
    (void)dev;
    void *p = NULL;
    return posix_memalign(&p, 64, bytes) == 0 ? p : NULL;
}
static void cpu_free(tide_device *dev, void *p) {
    (void)dev;
    free(p);
}
static void cpu_copy(tide_device *dev, void *dst, const void *src, size_t bytes,
                     tide_copy_way way) {
    (void)dev, (void)way;
    memcpy(dst, src, bytes);
}
static void cpu_fill(tide_device *dev, void *p, int byte, size_t bytes) {
    (void)dev;
    memset(p, byte, bytes);
}
static void cpu_sync(tide_device *dev) { (void)dev; } /* a call has run when it returns */
static void cpu_info(tide_device *dev, tide_device_info *out) {
    (void)dev;
    *out = (tide_device_info){.free_bytes = tide_system_free()};
}
static const tide_device_vt cpu_vt = {.alloc = cpu_alloc,
                                      .free = cpu_free,
                                      .copy = cpu_copy,
                                      .fill = cpu_fill,
                                      .sync = cpu_sync,
                                      .info = cpu_info};
static tide_device cpu = {.name = "cpu", .vt = &cpu_vt, .runs = &cpu, .lock = ATOMIC_FLAG_INIT};
static _Atomic int ready; /* cpu_init has ended: another thread may be in it */

static const struct {
    const char *name;
    const tide_kernel *table;
    const tide_half_loops *half;
} levels[] = {
    {"c", tide_plain_c, &tide_half_c},
#if defined(__x86_64__)
    {"x86-64-v2", tide_plain_v2, &tide_half_v2},
    {"x86-64-v3", tide_plain_v3, &tide_half_v3},
    {"x86-64-v4", tide_plain_v4, &tide_half_v4},
#endif
};

static int best_level(void) {
#if defined(__x86_64__)
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
        __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512dq") &&
        __builtin_cpu_supports("avx512vl"))
        return 3;
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
        __builtin_cpu_supports("bmi2") && __builtin_cpu_supports("f16c"))
        return 2;
    if (__builtin_cpu_supports("sse4.2") && __builtin_cpu_supports("popcnt")) return 1;
#endif
    return 0;
}

/* A fork waits until no thread is inside the allocator or the store of weights, which the child
 * goes on using. */
static void before_fork(void) {
    tide_keep_hold();
    tide_device_lock(&cpu);
}
static void after_fork(void) {
    tide_device_unlock(&cpu);
    tide_keep_resume();
}
static void forked(void) {
    house.in_child = 1;
    tide_team_forked();
    const tide_engine *plain = NULL;
    for (int i = 0; cpu.engines[i]; i++) plain = cpu.engines[i];
    cpu.engines[0] = plain;
    cpu.engines[1] = NULL;
    after_fork();
}

/* A list of onednn, blas, plain, in any form; NULL: all. plain always stays, last; where engines
 * are named, they come before Tide's own products too. */
static void set_engines(const char *only) {
    const tide_engine *plain = cpu.engines[0];
    for (int i = 0; cpu.engines[i]; i++) plain = cpu.engines[i];
    int n = 0;
    tide_own_first = !only;
    tide_blas_allowed = !only || strstr(only, "blas");
    if (!only || strstr(only, "onednn")) cpu.engines[n++] = &tide_engine_onednn;
    if (tide_blas_allowed) cpu.engines[n++] = &tide_engine_blas;
    cpu.engines[n++] = plain;
    cpu.engines[n] = NULL;
}

static void cpu_init(void) {
    int best = best_level();
    while (best > 0 && !levels[best].table) best--; /* a build may leave levels out */
    int level = best;
    const char *want = getenv("TIDE_CPU"); /* c, v2, v3, v4: at most what this machine has */
    if (want)
        for (int i = 0; i < (int)(sizeof levels / sizeof *levels); i++) {
            const char *n = levels[i].name, *dash = strrchr(n, '-');
            if (i <= best && levels[i].table &&
                (!strcmp(want, n) || (dash && !strcmp(want, dash + 1))))
                level = i;
        }
    level_name = levels[level].name;
    static tide_engine plain = {.name = "plain"};
    plain.table = levels[level].table;
    tide_engines_start(&house, plain.table, levels[level].half);
    cpu.engines[0] = &plain;
    set_engines(getenv("TIDE_ENGINE"));
    pthread_atfork(before_fork, after_fork, forked);
    tide_device_join(&cpu);
    atomic_store_explicit(&ready, 1, memory_order_release);
}

/* Is every word of a list one of the names? */
static int all_known(const char *list, const char *const *names) {
    static const char between[] = ", ;:";
    for (const char *p = list + strspn(list, between); *p; p += strspn(p, between)) {
        const size_t n = strcspn(p, between);
        int known = 0;
        for (int i = 0; names[i]; i++) known |= strlen(names[i]) == n && !memcmp(p, names[i], n);
        if (!known) return 0;
        p += n;
    }
    return 1;
}

static int unknown(char *out, size_t size, const char *name, const char *expected) {
    snprintf(out, size, "%s=%.40s means nothing (expected %s)", name, getenv(name), expected);
    return 0;
}

int tide_environment_check(char *out, size_t size) {
    static const char *const engines[] = {"onednn", "blas", "plain", NULL};
    const char *v = getenv("TIDE_CPU");
    int known = !v || !*v;
    for (int i = 0; !known && i < (int)(sizeof levels / sizeof *levels); i++) {
        const char *dash = strrchr(levels[i].name, '-');
        known = !strcmp(v, levels[i].name) || (dash && !strcmp(v, dash + 1));
    }
    if (!known) return unknown(out, size, "TIDE_CPU", "c, v2, v3 or v4");
    v = getenv("TIDE_ENGINE");
    if (v && !all_known(v, engines))
        return unknown(out, size, "TIDE_ENGINE", "onednn, blas, plain, or a list of them");
    v = getenv("TIDE_PLAN");
    if (v && *v && strcmp(v, "0") != 0 && strcmp(v, "1") != 0)
        return unknown(out, size, "TIDE_PLAN", "0 or 1");
    v = getenv("TIDE_THREADS");
    char *end = NULL;
    if (v && *v && (strtol(v, &end, 10) < 1 || *end))
        return unknown(out, size, "TIDE_THREADS", "1 or more");
    return 1;
}

tide_device *tide_cpu(void) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    if (!atomic_load_explicit(&ready, memory_order_acquire)) pthread_once(&once, cpu_init);
    return &cpu;
}

tide_device *tide_device_find(const char *name) {
    return !strcmp(name, "cpu") ? tide_cpu()
        : !strcmp(name, "meta") ? tide_meta_device()
        : !strcmp(name, "test") ? tide_test_device()
                                : NULL;
}

tide_device *tide_device_of(const tide_tensor *t) {
    return (t->storage ? t : t->values)->storage->dev;
}

tide_device_info tide_device_ask(tide_device *dev) {
    tide_device_info info;
    dev->vt->info(dev, &info);
    return info;
}

const char *tide_device_name(const tide_device *dev) { return dev->name; }

void tide_limit_engines(const char *only) {
    tide_cpu();
    if (!house.in_child) set_engines(only);
}

const char *tide_engine_name(int i) {
    tide_cpu();
    for (int k = 0; k <= i; k++)
        if (!cpu.engines[k]) return NULL;
    return cpu.engines[i]->name;
}

int tide_own_products(void) {
    tide_cpu();
    return !cpu.engines[1] || (tide_own_first && !strcmp(level_name, "x86-64-v3"));
}

const char *tide_cpu_level(void) {
    tide_cpu();
    return level_name;
}

const char *tide_bf16_products(void) {
    tide_cpu();
    return tide_bf16_units() ? "AVX-512 BF16" : "as float32";
}

int64_t tide_parallel_regions(void) { return tide_team_regions(); }
int tide_set_threads(int n) { return tide_team_resize(n < 1 ? 1 : n); }
int tide_get_threads(void) { return tide_team_size(); }
