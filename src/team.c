/* The thread team under every parallel loop of the kernels.
 *
 * A region is a number of chunks. Each thread of it has a share of them, so that what it wrote in
 * one region it finds in its cache in the next; whoever has finished his own takes chunks of the
 * others. The caller waits for chunks that a thread has begun and for nothing else, and lends
 * his core to one whom the system has put aside meanwhile: a thread that does not run costs little
 * time. Waiting threads spin for a while, then sleep; a team that is larger than what a region has
 * work for is not woken whole. While others want the caller's core, each thread of the team takes a
 * part of what the system gives the caller: then small regions are the caller's alone, and waiting
 * threads sleep soon.
 *
 * All that threads agree on is one word, the gate. The caller writes what there is to do, then
 * opens the gate; a worker enters by counting itself in, which succeeds only while the gate is
 * open; when no chunk is left the caller closes it and waits until as many have left as came in.
 * So what stands behind the gate is never read late.
 *
 * Invariant: one caller at a time has the team. A second one (another Lua state in another thread)
 * and a region within a region go through their chunks alone; the bits are the same. */
#define _GNU_SOURCE
#include "team.h"

#include "../kernels/signals.h"

#include <errno.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { MOST = 1024, STACK = 2 << 20, HANDLER_STACK = 1 << 16 };

/* The gate: threads inside; whether the caller sleeps; open; workers asked for, less one; number of
 * the region, in which a worker sees that it has been there. */
enum {
    INSIDE = 0x7ff,
    SLEEPS = 1 << 11,
    OPEN = 1 << 12,
    ASKED_BIT = 13,
    ASKED = 0x3ff,
    NUMBER_BIT = 23
};
enum {
    SPIN_NS = 100000,   /* for which a worker looks out for the next region */
    LOOK_TURNS = 8,     /* between its looks at the clock, which take longer than one at the gate */
    LOOK_NS = 10000,    /* between a caller's looks at those who have the last chunks */
    AWAKE_NS = 1000000, /* for which he waits awake while they make progress */
    NAP_NS = 1000000,   /* then he sleeps, and looks after so long, twice as long, ... */
    LONG_NAP_NS = 8000000,
    PLACE_NS = 1000000,      /* at least, between two changes of where workers may run */
    LARGE = 16,              /* threads of a team in which one that is ill placed costs little */
    LOOK_REGIONS = 16,       /* between a caller's looks at the clock, */
    WINDOW_NS = 32000000,    /* and at how often it was preempted */
    PREEMPTED_NS = 25000000, /* once in so long, or more often: others want its core */
    LOST = 10,               /* and one part of so many of the time was lost */
    WINDOWS = 8,             /* for which they are taken to want it then */
    BUSY_SPIN_NS = 10000,    /* SPIN_NS while they do */
    SMALL_NS = 100000,       /* and regions with less work than this have one thread */
    COSTS = 512,
};

static struct {
    /* one line of the cache: the gate and what stands behind it */
    _Alignas(64) _Atomic uint32_t gate;
    int threads;
    void (*fn)(void *);
    void *data;
    /* what is seldom written; waiting workers read it */
    _Alignas(64) _Atomic int size; /* threads wanted; 0: not known yet */
    _Atomic int started;           /* workers there are, plus 1 */
    _Atomic int cores;             /* that the threads may run on, when their number was set */
    _Atomic int kept;              /* workers of higher slots end */
    int child; /* forked: no worker is there, and locks may be held by who is not */
    /* the callers' */
    _Alignas(64) _Atomic int taken; /* by one */
    uint32_t number;
    _Atomic int64_t regions;
    /* its core, as workers' masks leave it out, and since when */
    int core;
    int64_t placed;
    /* the caller's: windows for which others count as wanting its core */
    _Atomic int busy;
    unsigned calls;
    int64_t cost[COSTS]; /* ns of work in regions, by what they run and in how many chunks */
} team = {.started = 1, .kept = MOST, .core = -1};

/* The threads of the team by slot, in a line of the cache each: chunks taken of its share; whether
 * it sleeps; whether it may be in a region, and was called to the caller's core, and the time it
 * had run when the caller looked last. */
static struct {
    _Alignas(64) _Atomic int64_t taken;
    _Alignas(64) _Atomic uint32_t asleep;
    _Alignas(64) _Atomic int in;
    _Atomic int called;
    pthread_t thread;
    clockid_t clock;
    int64_t ran;
} member[MOST];

#ifndef TIDE_TEAM_BEFORE_ENTRY /* where spec/support/team.c holds a worker up */
#define TIDE_TEAM_BEFORE_ENTRY(slot)
#endif

static pthread_mutex_t starting = PTHREAD_MUTEX_INITIALIZER;
static _Thread_local tide_share *share;
static _Thread_local int inside;    /* of a region of several chunks */
static TIDE_THREAD_LOCAL int fixed; /* threads of the launch under way; 0: none is */

static void sleep_on(_Atomic uint32_t *word, uint32_t value, int64_t ns) { /* 0: for any time */
    const struct timespec most = {ns / 1000000000, ns % 1000000000};
    syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, value, ns ? &most : NULL, NULL, 0);
}
static void wake(_Atomic uint32_t *word) {
    syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
}
static int64_t time_of(clockid_t clock) {
    struct timespec t = {0};
    clock_gettime(clock, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}
static int64_t now(void) { return time_of(CLOCK_MONOTONIC); }
static void pause_a_little(void) {
    for (int i = 0; i < 2; i++)
#if defined(__x86_64__)
        __builtin_ia32_pause();
#elif defined(__aarch64__)
        __asm__ volatile("isb" ::: "memory");
#else
        atomic_signal_fence(memory_order_seq_cst);
#endif
}

/* -- chunks -- */

tide_share *tide_team_share(void) { return share; }

int64_t tide_team_next(tide_share *s, int64_t chunks) {
    if (s->threads == 1) return s->next < chunks ? s->next++ : -1;
    for (; s->done < s->threads; s->done++, s->many = -1) {
        const int whose = (s->slot + s->done) % s->threads;
        _Atomic int64_t *taken = &member[whose].taken;
        if (s->many < 0) {
            s->first = whose * chunks / s->threads;
            s->many = (whose + 1) * chunks / s->threads - s->first;
        }
        if (atomic_load_explicit(taken, memory_order_relaxed) >= s->many) continue;
        const int64_t i = atomic_fetch_add_explicit(taken, 1, memory_order_relaxed);
        if (i < s->many) return s->first + i;
    }
    return -1;
}

static void go(void (*fn)(void *), void *data, int slot, int threads, int several) {
    tide_share mine = {.slot = slot, .threads = threads, .many = -1}, *outer = share;
    const int before = inside;
    share = &mine, inside |= several;
    fn(data);
    share = outer, inside = before;
}

/* -- workers -- */

/* Is there a region that this thread has not been in, and that asks for it? */
static int wanted(uint32_t gate, int slot, uint32_t seen) {
    return gate & OPEN && gate >> NUMBER_BIT != seen &&
        (int)(gate >> ASKED_BIT & ASKED) + 1 >= slot;
}

static uint32_t await_region(int slot, uint32_t seen, int64_t spin) {
    uint32_t gate;
    int64_t since = 0;
    for (unsigned turn = 1;; turn++) {
        gate = atomic_load_explicit(&team.gate, memory_order_relaxed);
        if (wanted(gate, slot, seen) || slot >= team.kept) return gate;
        pause_a_little();
        if (turn % LOOK_TURNS != 0) continue;
        const int64_t t = now();
        if (!since) since = t;
        if (t - since < spin && team.size <= team.cores) continue;
        /* The caller opens the gate, then looks who sleeps: one of both sees the other. */
        atomic_store(&member[slot].asleep, 1);
        if (!wanted(atomic_load(&team.gate), slot, seen) && slot < team.kept)
            sleep_on(&member[slot].asleep, 1, 0);
        atomic_store(&member[slot].asleep, 0);
        since = 0;
    }
}

static void *work(void *arg) {
    char handlers[HANDLER_STACK]; /* a library may have pointed the stack register elsewhere */
    sigaltstack(&(stack_t){.ss_sp = handlers, .ss_size = sizeof handlers}, NULL);
    tide_signals_held = 1;
    const int slot = (int)(intptr_t)arg;
    uint32_t seen = ~0u, gate;
    for (int64_t spin = SPIN_NS;;) {
        gate = await_region(slot, seen, spin);
        TIDE_TEAM_BEFORE_ENTRY(slot);
        if (slot >= team.kept) return NULL;
        atomic_store_explicit(&member[slot].in, 1, memory_order_relaxed);
        if (!atomic_compare_exchange_weak_explicit(&team.gate, &gate, gate + 1,
                                                   memory_order_acquire, memory_order_relaxed)) {
            atomic_store_explicit(&member[slot].in, 0, memory_order_relaxed);
            continue;
        }
        seen = gate >> NUMBER_BIT;
        go(team.fn, team.data, slot, team.threads, 1);
        /* one who was called makes room for the caller at once */
        spin = atomic_load_explicit(&member[slot].called, memory_order_relaxed) ? 0
            : atomic_load_explicit(&team.busy, memory_order_relaxed)            ? BUSY_SPIN_NS
                                                                                : SPIN_NS;
        atomic_store_explicit(&member[slot].in, 0, memory_order_relaxed);
        gate = atomic_fetch_sub_explicit(&team.gate, 1, memory_order_release);
        if (gate & SLEEPS && (gate & INSIDE) == 1) wake(&team.gate);
    }
}

static void wake_member(int i) {
    if (atomic_load(&member[i].asleep) && atomic_exchange(&member[i].asleep, 0))
        wake(&member[i].asleep);
}

/* Starts what is missing for `threads` in all, signals blocked: they are for the host's threads.
 * Returns how many of these there are; where they are fewer, errno says why, and of those that were
 * started all beyond `enough` end again, for they took the last of what there was. */
static int start(int threads, int enough) {
    sigset_t all, old;
    pthread_attr_t attr;
    int error = 0;
    pthread_mutex_lock(&starting);
    const int before = team.started;
    tide_signals_of_process(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    if ((error = pthread_attr_init(&attr)) == 0) {
        pthread_attr_setstacksize(&attr, STACK);
        while (team.started < threads && !error) {
            const int slot = team.started;
            error = pthread_create(&member[slot].thread, &attr, work, (void *)(intptr_t)slot);
            if (error) break;
            /* without a clock of its own it passes for running */
            if (pthread_getcpuclockid(member[slot].thread, &member[slot].clock) != 0)
                member[slot].clock = CLOCK_MONOTONIC;
            team.started++;
        }
        pthread_attr_destroy(&attr);
    }
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    if (error && team.started > before) {
        team.kept = enough > before ? enough : before;
        while (team.started > team.kept) {
            const int slot = --team.started;
            wake_member(slot);
            pthread_join(member[slot].thread, NULL);
        }
        team.kept = MOST;
    }
    const int have = team.started < threads ? team.started : threads;
    pthread_mutex_unlock(&starting);
    if (error) errno = error;
    return have;
}

/* -- how many -- */

/* Cores that this process may run on. */
static int cores(void) {
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) == 0) return CPU_COUNT(&set);
    const long n = sysconf(_SC_NPROCESSORS_ONLN);
    return n > 0 ? (int)n : 1;
}

/* Cores' worth of time that one control group grants; 0: it sets no bound. */
static int granted(const char *dir, int version) {
    char name[4200], max[32] = "";
    long long period = 0;
    snprintf(name, sizeof name, version == 2 ? "%s/cpu.max" : "%s/cpu.cfs_quota_us", dir);
    FILE *f = fopen(name, "re");
    if (!f) return 0;
    if (fscanf(f, "%31s %lld", max, &period) < 1) max[0] = 0;
    fclose(f);
    snprintf(name, sizeof name, "%s/cpu.cfs_period_us", dir);
    if (version == 1 && (f = fopen(name, "re"))) {
        if (fscanf(f, "%lld", &period) != 1) period = 0;
        fclose(f);
    }
    const long long most = atoll(max); /* "max" gives 0, and -1 means the same */
    return most > 0 && period > 0 ? (int)((most + period - 1) / period) : 0;
}

/* The least that this process' control group and those above it grant; 0: no bound. `self` lists
 * the groups, one of each hierarchy: "0::/path" of version 2, "4:cpu,cpuacct:/path" of version 1.
 */
static int quota(const char *self, const char *root) {
    char line[2048], dir[4096];
    int least = 0;
    FILE *f = fopen(self, "re");
    while (f && fgets(line, sizeof line, f)) {
        char *kinds = strchr(line, ':'), *path = kinds ? strchr(kinds + 1, ':') : NULL;
        if (!path) continue;
        *path++ = 0, path[strcspn(path, "\n")] = 0;
        int version = *++kinds ? 0 : 2;
        for (char *more, *k = strtok_r(kinds, ",", &more); k; k = strtok_r(NULL, ",", &more))
            if (!strcmp(k, "cpu")) version = 1;
        if (!version) continue;
        snprintf(dir, sizeof dir, "%s%s%s", root, version == 1 ? "/cpu" : "", path);
        const size_t top = strlen(dir) - strlen(path);
        for (char *end = dir + strlen(dir); end; end = strrchr(dir, '/')) {
            if (end < dir + top) break;
            *end = 0;
            const int n = granted(dir, version);
            if (n > 0 && (least == 0 || n < least)) least = n;
        }
    }
    if (f) fclose(f);
    return least;
}

static int size_at_first(void) {
    static const char *const names[] = {"TIDE_THREADS", "OMP_NUM_THREADS"};
    for (int i = 0; i < 2; i++) {
        const char *s = getenv(names[i]);
        const long n = s ? strtol(s, NULL, 10) : 0;
        if (n > 0) return n < MOST ? (int)n : MOST;
    }
    const int n = cores(), most = quota("/proc/self/cgroup", "/sys/fs/cgroup");
    return most > 0 && most < n ? most : n < MOST ? n : MOST;
}

static void set_size(int n) {
    team.cores = cores();
    team.size = n;
}

int tide_team_size(void) {
    if (!team.size) set_size(size_at_first());
    return team.size;
}
int tide_team_threads(void) { return inside ? 1 : fixed ? fixed : tide_team_size(); }

int tide_team_fix(void) {
    const int before = fixed;
    if (!fixed) fixed = tide_team_size();
    return before;
}
void tide_team_unfix(int before) { fixed = before; }

int tide_team_resize(int threads) {
    if (team.child) return 1;
    errno = 0;
    const int most = cores() > team.size ? cores() : team.size, have = start(threads, most);
    set_size(have > 0 ? have : 1);
    return team.size;
}

void tide_team_forked(void) {
    fixed = 0;
    team.size = 1;
    team.child = 1;
}

int64_t tide_team_regions(void) { return team.regions; }

/* -- regions -- */

/* Where workers may run: where the caller may, but for one core if `core` is one. */
static int others(int core, cpu_set_t *set) {
    if (sched_getaffinity(0, sizeof *set, set) != 0) return 0;
    if (core >= 0) CPU_CLR(core, set);
    return CPU_COUNT(set) > 0;
}

/* A team that wants every core keeps its workers off the caller's: on a busy machine the system
 * would let them wait there, behind the one whom they are to help. */
static void place(int threads) {
    const int core = sched_getcpu();
    if (core == team.core || core < 0 || threads > LARGE || threads < team.cores) return;
    const int64_t t = now();
    cpu_set_t set;
    if (t - team.placed < PLACE_NS) return;
    team.placed = t;
    /* not while another thread of the host starts or ends workers */
    if (!others(core, &set) || pthread_mutex_trylock(&starting) != 0) return;
    for (int i = 1; i < threads && i < team.started; i++)
        pthread_setaffinity_np(member[i].thread, sizeof set, &set);
    pthread_mutex_unlock(&starting);
    team.core = core;
}

/* Workers that are in the region and have not run since the last look wait for a core with a chunk
 * in hand: they get the caller's, who is about to sleep. Returns whether there are any. */
static int call_idle(int threads, int first) {
    cpu_set_t here, all;
    int called = 0;
    const int core = sched_getcpu();
    if (core < 0 || !others(-1, &all) || pthread_mutex_trylock(&starting) != 0) return 0;
    CPU_ZERO(&here);
    CPU_SET((unsigned)core, &here);
    for (int i = 1; i < threads; i++) {
        if (!atomic_load_explicit(&member[i].in, memory_order_relaxed)) continue;
        const int64_t t = time_of(member[i].clock), before = member[i].ran;
        member[i].ran = t;
        if (first || t != before || member[i].called) continue;
        atomic_store_explicit(&member[i].called, 1, memory_order_relaxed);
        pthread_setaffinity_np(member[i].thread, sizeof here, &here);
        pthread_setaffinity_np(member[i].thread, sizeof all, &all);
        called = 1;
    }
    pthread_mutex_unlock(&starting);
    return called;
}

static void send_back(int threads) {
    cpu_set_t set;
    const int known = others(team.core, &set);
    pthread_mutex_lock(&starting);
    for (int i = 1; i < threads; i++) {
        if (!member[i].called) continue;
        if (known) pthread_setaffinity_np(member[i].thread, sizeof set, &set);
        atomic_store_explicit(&member[i].called, 0, memory_order_relaxed);
    }
    pthread_mutex_unlock(&starting);
}

/* Waits for the chunks in hand: awake for a while, since on a busy machine a core that is given
 * away comes back milliseconds later; asleep once somebody who has one needs the core. */
static void await_last(int threads) {
    const int64_t since = now();
    int64_t looked = since, nap = 0;
    int called = 0;
    uint32_t gate;
    while ((gate = atomic_load_explicit(&team.gate, memory_order_acquire)) & INSIDE) {
        if (!nap) {
            pause_a_little();
            const int64_t t = now();
            if (t - looked < LOOK_NS) continue;
            called = call_idle(threads, looked == since);
            looked = t;
            if (!called && t - since < AWAKE_NS) continue;
            nap = NAP_NS;
        } else {
            called |= call_idle(threads, 0);
            nap = TIDE_MIN(2 * nap, LONG_NAP_NS);
        }
        gate = atomic_fetch_or(&team.gate, SLEEPS) | SLEEPS;
        if (gate & INSIDE) sleep_on(&team.gate, gate, nap);
    }
    if (called) send_back(threads);
}

static void together(void (*fn)(void *), void *data, int threads) {
    place(threads);
    team.fn = fn, team.data = data, team.threads = threads;
    for (int i = 0; i < threads; i++)
        atomic_store_explicit(&member[i].taken, 0, memory_order_relaxed);
    atomic_store(&team.gate,
                 ++team.number << NUMBER_BIT | (uint32_t)(threads - 2) << ASKED_BIT | OPEN);
    for (int i = 1; i < threads; i++) wake_member(i);
    go(fn, data, 0, threads, 1);
    if (atomic_fetch_and_explicit(&team.gate, ~(uint32_t)OPEN, memory_order_acquire) & INSIDE)
        await_last(threads);
}

/* -- beside programs that want the caller's core -- */

static int64_t ns_of(struct timeval t) { return t.tv_sec * 1000000000 + t.tv_usec * 1000; }

/* They do where this thread was preempted often and did not run for a good part of the time: not
 * where it sleeps, nor for what the system does now and then. */
static void look_around(void) {
    static _Thread_local int64_t looked, ran;
    static _Thread_local long preempted;
    struct rusage use;
    const int64_t t = now(), dt = t - looked;
    if (dt < WINDOW_NS || getrusage(RUSAGE_THREAD, &use) != 0) return;
    const int64_t run = ns_of(use.ru_utime) + ns_of(use.ru_stime), lost = dt - (run - ran);
    const long times = use.ru_nivcsw - preempted;
    looked = t, ran = run, preempted = use.ru_nivcsw;
    if (times > 1 && times * PREEMPTED_NS > dt && lost > dt / LOST) team.busy = WINDOWS;
    else if (team.busy) team.busy--;
}

/* A region while the core is wanted: with one thread if it has little work, which is known from the
 * last ones of its kind. A time that a preemption has lengthened counts little. */
static void sparingly(void (*fn)(void *), void *data, int chunks, int threads) {
    int64_t *cost = &team.cost[((uintptr_t)fn / 16 * 31 + (unsigned)chunks) % COSTS];
    const int alone = *cost < SMALL_NS;
    const int64_t begun = now();
    if (alone) go(fn, data, 0, 1, 1);
    else together(fn, data, threads);
    const int64_t took = (now() - begun) * (alone ? 2 : 3) / 2, most = *cost + *cost / 16 + 1;
    *cost = *cost && took > most ? most : took;
}

void tide_team_parallel(void (*fn)(void *), void *data, int chunks) {
    int threads = chunks > 1 ? tide_team_threads() : 1;
    if (threads > chunks) threads = chunks;
    if (threads > 1 && !atomic_exchange_explicit(&team.taken, 1, memory_order_acquire)) {
        if (threads > team.started) {
            const int have = start(threads, team.cores);
            if (have < threads) team.size = threads = have > 0 ? have : 1; /* asked for no more */
        }
        if (++team.calls % LOOK_REGIONS == 0) look_around();
        team.regions++;
        if (threads == 1) go(fn, data, 0, 1, 1);
        else if (team.busy) sparingly(fn, data, chunks, threads);
        else together(fn, data, threads);
        atomic_store_explicit(&team.taken, 0, memory_order_release);
    } else {
        go(fn, data, 0, 1, chunks > 1);
    }
}
