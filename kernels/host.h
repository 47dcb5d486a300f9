/* What kernels may ask of the house that runs them: work space, threads, whether to stop.
 *
 * Invariant: this table is the one arrow that points up, and it is handed down when the engines are
 * opened (tide_engines_start): the objects of kernels/ link nothing of src/ (`make kernels-alone`
 * proves it), so that an engine may live in a shared object of its own, with its own pointer to the
 * table. */
#ifndef TIDE_HOST_H
#define TIDE_HOST_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

/* Of small variables that every call reads: no function is called to find them. */
#define TIDE_THREAD_LOCAL _Thread_local __attribute__((tls_model("initial-exec")))

typedef struct tide_device tide_device;
struct tide_share;

typedef struct {
    /* Work space of the device, 64-byte aligned: as many requests as the work has parts, all of
     * which last until the kernel returns. NULL: no memory, or the limit is reached. */
    void *(*scratch)(tide_device *, size_t bytes);
    /* Memory that outlives the call: for the store of kernels/keep.h alone. */
    void *(*keep)(tide_device *, size_t bytes);
    void (*drop)(tide_device *, void *, size_t bytes);
    /* How many threads a kernel may use now: 1 in a forked child, after tide_set_threads(1) and
     * inside a parallel loop. */
    int (*threads)(void);
    /* The thread team, for TIDE_PARALLEL_FOR (parallel.h): runs fn(data) on threads that, between
     * them, take the chunks that `next` gives out; `chunks` says for how many threads there is
     * work. In fn: the calling thread's share, and its next chunk of `chunks`, -1 when none is
     * left. */
    void (*parallel)(void (*fn)(void *), void *data, int chunks);
    struct tide_share *(*share)(void);
    int64_t (*next)(struct tide_share *, int64_t chunks);
    const volatile int *cancel; /* not 0: Ctrl-C came */
    int in_child;               /* set in a forked child: the libraries must not be used */
} tide_host;

extern const tide_host *tide_house; /* of every kernel in this shared object */

static inline void *tide_scratch(tide_device *dev, size_t bytes) {
    return tide_house->scratch(dev, bytes);
}
static inline int tide_num_threads(void) { return tide_house->threads(); }
/* Where the call for which this thread works notes that Ctrl-C left a part of it out; NULL where it
 * must not be left unfinished (`may_stop` of its tide_kcall). TIDE_PARALLEL_FOR hands it on to the
 * other threads. It is noted because another thread of the host may take Ctrl-C back before the
 * call ends: what is half done would pass for a result. */
extern TIDE_THREAD_LOCAL _Atomic int *tide_left_out;
static inline int tide_stopped(void) {
    if (!tide_left_out) return 0;
    if (__atomic_load_n(tide_house->cancel, __ATOMIC_RELAXED))
        atomic_store_explicit(tide_left_out, 1, memory_order_relaxed);
    return atomic_load_explicit(tide_left_out, memory_order_relaxed);
}

#endif
