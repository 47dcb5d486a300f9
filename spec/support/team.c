/* The thread team by itself, run by threads_spec.lua (there also under ThreadSanitizer): each chunk
 * of each region is computed exactly once, whoever is late, and a worker that stands still stops
 * nobody. Prints "ok", or what was wrong and exits with 1. */
#define TIDE_POLLED
#include <stdatomic.h>

static _Atomic int held, waiting; /* workers stand still before they enter; how many do */
static void before_entry(void) {
    if (!held) return;
    waiting++;
    while (held) continue;
    waiting--;
}
#define TIDE_TEAM_BEFORE_ENTRY(slot) before_entry()
#include "../../src/team.c"

#include <sys/wait.h>

static volatile int cancel;
TIDE_THREAD_LOCAL _Atomic int *tide_left_out;
_Thread_local int tide_signals_held;
static tide_host house = {.cancel = &cancel,
                          .threads = tide_team_threads,
                          .parallel = tide_team_parallel,
                          .share = tide_team_share,
                          .next = tide_team_next};
const tide_host *tide_house = &house;
void GOMP_parallel(void (*fn)(void *), void *data, unsigned chunks, unsigned flags);
void GOMP_parallel(void (*fn)(void *), void *data, unsigned chunks, unsigned flags) {
    (void)flags;
    tide_house->parallel(fn, data, (int)chunks);
}

/* The next region finds the caller's core wanted by others, or by nobody, whatever is so. */
static void wanted_by_others(int are) {
    team.calls = 0; /* it does not look */
    team.busy = are;
}

enum { LONGEST = 5000 };
#define CHECK(what) \
    if (!(what)) return printf("%s:%d: %s\n", __func__, __LINE__, #what), 0

static int region(int n, int grain, int *seen) {
    int threads = tide_num_threads();
    _Atomic int bad = 0;
    TIDE_PARALLEL_FOR (n, grain) {
        if (share_->slot >= threads || lo != chunk * grain) bad = 1;
        for (int64_t i = lo; i < hi; i++) seen[i]++;
        int inner = 0;
        if (n > grain)
            TIDE_PARALLEL_FOR (10, 3) {
                if (share_->slot != 0 || chunk != inner || tide_num_threads() != 1) bad = 1;
                for (int64_t i = lo; i < hi; i += 3) inner++;
            }
        if (inner != (n > grain ? 4 : 0)) bad = 1;
    }
    return !bad;
}

/* Regions of every length and grain: all elements once. */
static int all_once(int rounds) {
    static _Thread_local int seen[LONGEST];
    for (int r = 0; r < rounds; r++) {
        const int n = (int)(r * 7919ll % LONGEST), grain = 1 + r % 97;
        memset(seen, 0, sizeof seen);
        CHECK(region(n, grain, seen));
        for (int i = 0; i < LONGEST; i++) CHECK(seen[i] == (i < n));
    }
    return 1;
}

static void put(const char *dir, const char *name, const char *text) {
    char path[256];
    snprintf(path, sizeof path, "%s%s", dir, name);
    FILE *f = fopen(path, "w");
    if (f) fputs(text, f), fclose(f);
}

/* Quotas of control groups, in folders made up like the kernel's. */
static int quotas_hold(void) {
    char root[] = "/tmp/tide_teamXXXXXX", command[128], self[64];
    CHECK(mkdtemp(root));
    snprintf(command, sizeof command, "mkdir -p %s/a/b %s/cpu/c/d", root, root);
    CHECK(system(command) == 0);
    snprintf(self, sizeof self, "%s/self", root);
    CHECK(quota(self, root) == 0);
    put(root, "/self", "9:name=systemd:/\n4:cpuset:/a\n0::/a/b\n");
    CHECK(quota(self, root) == 0);
    put(root, "/a/b/cpu.max", "max 100000\n");
    CHECK(quota(self, root) == 0);
    put(root, "/a/b/cpu.max", "450000 100000\n");
    CHECK(quota(self, root) == 5);
    put(root, "/a/cpu.max", "200000 100000\n");
    CHECK(quota(self, root) == 2);
    put(root, "/self", "0::/\n");
    put(root, "/cpu.max", "10000 100000\n");
    CHECK(quota(self, root) == 1);
    put(root, "/self", "4:cpuacct,cpu:/c/d\n3:cpuset:/\n");
    put(root, "/cpu/c/d/cpu.cfs_quota_us", "-1\n");
    put(root, "/cpu/c/d/cpu.cfs_period_us", "100000\n");
    CHECK(quota(self, root) == 0);
    put(root, "/cpu/cpu.cfs_quota_us", "300000\n");
    put(root, "/cpu/cpu.cfs_period_us", "100000\n");
    CHECK(quota(self, root) == 3);
    put(root, "/self", "4:cpu:/not/seen/from/here\n");
    CHECK(quota(self, root) == 3);
    snprintf(command, sizeof command, "rm -r %s", root);
    return system(command) == 0;
}

/* A call that left chunks out knows of it, though another thread has taken Ctrl-C back since. */
static int left_out_is_known(void) {
    _Atomic int left_out = 0, done = 0;
    cancel = 1;
    TIDE_PARALLEL_FOR (100, 1) done++;
    CHECK(done == 100 && !tide_stopped());
    tide_left_out = &left_out;
    TIDE_PARALLEL_FOR (100, 1) done++;
    cancel = 0;
    CHECK(done == 100 && tide_stopped());
    left_out = 0;
    TIDE_PARALLEL_FOR (100, 1) done++;
    CHECK(done == 200 && !tide_stopped());
    tide_left_out = NULL;
    return 1;
}

/* Work space is made for the threads there are when a launch begins, whoever sets more since. */
static int launch_keeps_its_threads(void) {
    tide_team_resize(2);
    const int before = tide_team_fix();
    const int threads = tide_num_threads();
    _Atomic int bad = 0;
    tide_team_resize(9);
    for (int r = 0; r < 50; r++)
        TIDE_PARALLEL_FOR (500, 1)
            if (share_->slot >= threads) bad = 1;
    CHECK(!bad && threads == 2 && tide_num_threads() == 2 && tide_team_size() == 9);
    tide_team_unfix(before);
    CHECK(tide_num_threads() == 9);
    tide_team_resize(3);
    return 1;
}

/* A worker that does not run, with a chunk in hand, is called to the caller's core; at the end it
 * may run where it could before. */
static int idle_one_is_called(void) {
    _Atomic int entered = 0, called = 0;
    tide_team_resize(2);
    wanted_by_others(0);
    TIDE_PARALLEL_FOR (2, 1) {
        if (share_->slot == 0) {
            while (!entered) continue;
        } else {
            entered = 1;
            while (!member[1].called) usleep(50000);
            called++;
        }
    }
    cpu_set_t now_at, wanted;
    pthread_getaffinity_np(member[1].thread, sizeof now_at, &now_at);
    CHECK(others(team.core, &wanted));
    CHECK(called == 1 && !member[1].called && CPU_EQUAL(&now_at, &wanted));
    tide_team_resize(3);
    return 1;
}

/* While others want the caller's core, regions with little work are the caller's alone. */
static int little_work_stays_with_the_caller(void) {
    _Atomic int threads = 0;
    tide_team_resize(3);
    for (int r = 0; r < 1000 && threads != 1; r++) { /* a time may be lengthened */
        wanted_by_others(1);
        TIDE_PARALLEL_FOR (9, 1) threads = share_->threads;
    }
    CHECK(threads == 1);
    for (int r = 0; r < 2; r++) {
        wanted_by_others(1);
        TIDE_PARALLEL_FOR (9, 1) usleep(200), threads = share_->threads;
    }
    CHECK(threads == 3);
    team.busy = WINDOWS;
    CHECK(all_once(1000));
    threads = 0;
    wanted_by_others(0);
    TIDE_PARALLEL_FOR (9, 1) threads = share_->threads;
    CHECK(threads == 3);
    return 1;
}

static void *second_caller(void *result) {
    *(int *)result = all_once(2000);
    return NULL;
}

int main(void) {
    if (!quotas_hold()) return 1;
    for (int threads = 1; threads <= 9; threads += 2) {
        if (!tide_team_resize(threads)) return printf("resize\n"), 1;
        if (tide_num_threads() != threads || !all_once(1000)) return 1;
    }
    /* workers that never come: the caller does it all */
    tide_team_resize(3);
    held = 1;
    const int fine = all_once(500);
    while (!waiting) { /* some worker has been asked since */
        static int seen[LONGEST];
        wanted_by_others(0);
        region(100, 1, seen);
    }
    if (!fine || !all_once(500)) return 1;
    held = 0;
    /* a team of all cores leaves the caller's core to it */
    const int all = cores();
    if (all > 1 && all <= LARGE) {
        tide_team_resize(all);
        team.core = -1, team.placed = 0;
        wanted_by_others(0);
        if (!all_once(50)) return 1;
        for (int i = 1; i < all; i++) {
            cpu_set_t set;
            pthread_getaffinity_np(member[i].thread, sizeof set, &set);
            if (team.core < 0 || CPU_ISSET(team.core, &set)) return printf("placed\n"), 1;
        }
        tide_team_resize(3);
    }
    if (!left_out_is_known() || !launch_keeps_its_threads() || !idle_one_is_called() ||
        !little_work_stays_with_the_caller())
        return 1;
    /* two callers */
    int results[3] = {0};
    pthread_t t[2];
    for (int i = 0; i < 2; i++) pthread_create(&t[i], NULL, second_caller, &results[i]);
    results[2] = all_once(2000);
    for (int i = 0; i < 2; i++) pthread_join(t[i], NULL);
    if (!results[0] || !results[1] || !results[2]) return 1;
    /* signals are for the host's threads */
    sigset_t mask;
    pthread_sigmask(SIG_SETMASK, NULL, &mask);
    if (sigismember(&mask, SIGINT)) return printf("the caller's signals stayed blocked\n"), 1;
#ifndef __SANITIZE_THREAD__
    /* a child of a process whose team is at work has one thread, and works */
    pthread_create(&t[0], NULL, second_caller, &results[0]);
    for (int i = 0; i < 20; i++) {
        pid_t pid = fork();
        if (pid == 0) {
            tide_team_forked();
            alarm(20);
            const int one = tide_num_threads() == 1 && all_once(20) && tide_team_resize(2);
            _exit(one && tide_num_threads() == 1 && all_once(20) ? 0 : 1);
        }
        int status;
        if (waitpid(pid, &status, 0) != pid || status != 0)
            return printf("forked: %d\n", status), 1;
    }
    pthread_join(t[0], NULL);
#endif
    printf("ok\n");
    return 0;
}
