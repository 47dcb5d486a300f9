/* Keeping signals away from a thread while it is inside a library.
 *
 * oneDNN's compiled products (2.6, and later ones) point the stack register at their work space:
 * the frame of a signal's handler lands in the heap in front of it. What came meanwhile is
 * delivered at the release.
 *
 * Invariant: signals that a fault of the thread itself raises stay as they are. */
#ifndef TIDE_SIGNALS_H
#define TIDE_SIGNALS_H

#include <pthread.h>
#include <signal.h>

/* Are they held already: for a moment, or for good, as on the team's threads? */
extern _Thread_local int tide_signals_held;

/* Those that are for the process, not for a thread. */
static inline void tide_signals_of_process(sigset_t *all) {
    static const int own[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGABRT, SIGSYS};
    sigfillset(all);
    for (unsigned i = 0; i < sizeof own / sizeof *own; i++) sigdelset(all, own[i]);
}

static inline void tide_signals_block(sigset_t *before) {
    sigset_t all;
    tide_signals_of_process(&all);
    pthread_sigmask(SIG_BLOCK, &all, before);
    tide_signals_held = 1;
}

/* 1: tide_signals_release is to follow. Both together cost 0.1 to 0.4 microseconds. */
static inline int tide_signals_hold(sigset_t *before) {
    if (tide_signals_held) return 0;
    tide_signals_block(before);
    return 1;
}
static inline void tide_signals_release(const sigset_t *before) {
    tide_signals_held = 0;
    pthread_sigmask(SIG_SETMASK, before, NULL);
}

#endif
