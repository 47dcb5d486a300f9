/* Owns the worker threads and the queue of tasks.
 *
 * Invariant: all fields of tasks that both sides touch (`next`, `left`, the queue's links) are read
 * and written under `lock`; what a piece makes belongs to the worker that took it until it counted
 * `left` down. Signals are blocked in workers, so that Ctrl-C always arrives at the thread that
 * runs Lua. A forked child has no workers, and locks that they may have held: it takes no lock,
 * waits for nobody and hands out nothing. */
#define _GNU_SOURCE /* SCHED_BATCH */
#include "workers.h"

#include "../../kernels/signals.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

enum { LOOK = 10 }; /* milliseconds of waiting between two looks whether to stop */

static _Atomic int alive; /* threads of all workers of the process */
static pid_t counted;

struct tide_task {
    struct tide_task *after;
    tide_piece *run;
    void *user;
    int64_t n, next, left; /* pieces; the first that nobody took; those not finished */
};

struct tide_workers {
    pthread_mutex_t lock;
    pthread_cond_t work, done;
    pthread_t *threads;
    int started, begun; /* threads that there are, that have taken their number */
    pid_t process;      /* whose threads they are */
    bool stop;
    tide_task *first, *last; /* with pieces that nobody took */
};

static void *work(void *arg) {
    tide_workers *w = arg;
#ifdef SCHED_BATCH /* who hands a task over is not put aside for it */
    pthread_setschedparam(pthread_self(), SCHED_BATCH, &(struct sched_param){0});
#endif
    pthread_mutex_lock(&w->lock);
    int own = w->begun++;
    while (!w->stop) {
        tide_task *t = w->first;
        if (!t) {
            pthread_cond_wait(&w->work, &w->lock);
            continue;
        }
        int64_t i = t->next++;
        if (t->next == t->n) {
            w->first = t->after;
            if (!w->first) w->last = NULL;
        }
        pthread_mutex_unlock(&w->lock);
        t->run(t->user, i, own);
        pthread_mutex_lock(&w->lock);
        if (--t->left == 0) pthread_cond_broadcast(&w->done);
    }
    pthread_mutex_unlock(&w->lock);
    return NULL;
}

tide_workers *tide_workers_new(int n) {
    tide_workers *w = calloc(1, sizeof *w);
    if (!w) return NULL;
    w->process = getpid();
    pthread_mutex_init(&w->lock, NULL);
    pthread_cond_init(&w->work, NULL);
    pthread_condattr_t attr; /* waits are measured by a clock that nobody sets */
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&w->done, &attr);
    pthread_condattr_destroy(&attr);
    w->threads = calloc((size_t)n, sizeof *w->threads);
    sigset_t all, before;
    tide_signals_of_process(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    while (w->threads && w->started < n &&
           pthread_create(&w->threads[w->started], NULL, work, w) == 0)
        w->started++;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (counted != w->process) { /* none came along to a child */
        alive = 0;
        counted = w->process;
    }
    alive += w->started;
    if (w->started > 0) return w;
    tide_workers_free(w);
    return NULL;
}

int tide_workers_alive(void) { return counted == getpid() ? alive : 0; }

bool tide_workers_ours(const tide_workers *w) { return w->process == getpid(); }

void tide_workers_free(tide_workers *w) {
    if (!w) return;
    if (tide_workers_ours(w)) {
        pthread_mutex_lock(&w->lock);
        w->stop = true;
        pthread_cond_broadcast(&w->work);
        pthread_mutex_unlock(&w->lock);
        for (int i = 0; i < w->started; i++) pthread_join(w->threads[i], NULL);
        alive -= w->started;
        pthread_mutex_destroy(&w->lock);
        pthread_cond_destroy(&w->work);
        pthread_cond_destroy(&w->done);
    }
    free(w->threads);
    free(w);
}

tide_task *tide_task_new(tide_workers *w, int64_t pieces, tide_piece *run, void *user) {
    tide_task *t = calloc(1, sizeof *t);
    if (!t) return NULL;
    t->n = t->left = pieces, t->run = run, t->user = user;
    if (pieces == 0) return t;
    pthread_mutex_lock(&w->lock);
    if (w->last) w->last->after = t;
    else w->first = t;
    w->last = t;
    if (pieces == 1) pthread_cond_signal(&w->work);
    else pthread_cond_broadcast(&w->work);
    pthread_mutex_unlock(&w->lock);
    return t;
}

bool tide_task_ready(tide_workers *w, const tide_task *t) {
    if (!tide_workers_ours(w)) return true;
    pthread_mutex_lock(&w->lock);
    bool ready = t->left == 0;
    pthread_mutex_unlock(&w->lock);
    return ready;
}

bool tide_task_wait(tide_workers *w, tide_task *t, const volatile int *stop) {
    bool stopped = false;
    pthread_mutex_lock(&w->lock);
    while (t->left > 0 && !(stopped = stop && __atomic_load_n(stop, __ATOMIC_RELAXED))) {
        struct timespec until;
        clock_gettime(CLOCK_MONOTONIC, &until);
        until.tv_nsec += LOOK * 1000000;
        if (until.tv_nsec >= 1000000000) until.tv_sec++, until.tv_nsec -= 1000000000;
        pthread_cond_timedwait(&w->done, &w->lock, &until);
    }
    pthread_mutex_unlock(&w->lock);
    return !stopped;
}

void tide_task_free(tide_workers *w, tide_task *t) {
    if (!t) return;
    if (w && tide_workers_ours(w)) {
        pthread_mutex_lock(&w->lock);
        tide_task *before = NULL, *k = w->first;
        while (k && k != t) before = k, k = k->after;
        if (k) { /* pieces that nobody took */
            *(before ? &before->after : &w->first) = t->after;
            if (w->last == t) w->last = before;
            t->left -= t->n - t->next;
        }
        while (t->left > 0) pthread_cond_wait(&w->done, &w->lock);
        pthread_mutex_unlock(&w->lock);
    }
    free(t);
}
