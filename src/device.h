/* A device: functions, an ordered list of engines, and its memory. */
#ifndef TIDE_DEVICE_H
#define TIDE_DEVICE_H

#include "core.h"

#include <sched.h>

enum { TIDE_CLASSES = 4 * 48, TIDE_MAX_ENGINES = 4 };

typedef enum { TIDE_FROM_HOST, TIDE_TO_HOST } tide_copy_way;

typedef struct {
    void *(*alloc)(tide_device *, size_t bytes); /* 64-byte aligned, NULL: no memory */
    void (*free)(tide_device *, void *);
    void (*copy)(tide_device *, void *dst, const void *src, size_t bytes, tide_copy_way);
    void (*fill)(tide_device *, void *, int byte, size_t bytes);
    void (*sync)(tide_device *); /* returns when everything that was launched has run */
    void (*info)(tide_device *, tide_device_info *);
} tide_device_vt;

typedef struct {
    void **block;
    int64_t n, cap;
    size_t bytes;
    uint64_t used; /* the device's `uses` when a block of the class was last taken or given back */
} tide_freelist;

struct tide_device {
    const char *name;
    const tide_device_vt *vt;
    tide_device *runs; /* whose engines and work space serve its kernels: itself, or the CPU */
    int no_elements;   /* its tensors have shapes alone: see device_meta.c */
    ptrdiff_t seen;    /* added to an address of its memory, the one that kernels see */
    const tide_engine *engines[TIDE_MAX_ENGINES + 1]; /* NULL-terminated, first to serve wins */
    atomic_flag lock;                                 /* of what follows: tide_device_lock */
    tide_freelist lists[TIDE_CLASSES];
    uint64_t uses;
    tide_memstat stat;
    _Atomic int64_t live_bytes; /* stat.live_bytes for those that ask before every op */
    tide_device *next;          /* in the list of all that have memory */
};

/* Held for some nanoseconds each time, and never while the system is asked: a flag costs half of
 * what a mutex does. Who does not get it soon lets others run. */
static inline void tide_device_lock(tide_device *dev) {
    for (int n = 0; atomic_flag_test_and_set_explicit(&dev->lock, memory_order_acquire);)
        if (++n > 100) n = 0, sched_yield();
}
static inline void tide_device_unlock(tide_device *dev) {
    atomic_flag_clear_explicit(&dev->lock, memory_order_release);
}

void tide_device_join(tide_device *); /* from now on its live bytes count with the others' */
tide_device *tide_meta_device(void);  /* device_meta.c */
int tide_meta_counting(void);
int tide_meta_counted(const void *p); /* whether a block of meta stands in its statistics */
tide_device *tide_test_device(void);  /* device_test.c; NULL: the system does not give it memory */

/* Whether every product of float32 is Tide's own, whatever op asks for it: without engines, and at
 * the level at which they lead (OWN_LEADS, kernels/cpu/gemm.c). */
int tide_own_products(void);

#endif
