/* The caching allocator: blocks of a few sizes, kept on per-class free lists and handed out again.
 *
 * Invariant: a block's class follows from the size asked for alone, so alloc and free agree without
 * a header; data are 64-byte aligned. Size classes are quarter powers of two (worst waste 25%). The
 * lock covers lists and counters only. Work space belongs to the thread that asks. */
#include "device.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ALIGN = 64, MIN_SHIFT = 6 };
#define MAX_BYTES ((size_t)1 << 47)
#define CACHE_FLOOR \
    ((int64_t)256 << 20) /* idle bytes kept whatever is live; beyond it as much as the peak was */
#define CHECK_FREE \
    ((size_t)64 << 20) /* from this size on the system's free memory is asked first */

/* 4 classes per power of two: 64, 80, 96, 112, 128, 160, ... */
static int class_of(size_t bytes, size_t *rounded) {
    if (bytes <= ALIGN) {
        *rounded = ALIGN;
        return 0;
    }
    int e = 63 - __builtin_clzll((unsigned long long)(bytes - 1)); /* 2^e < bytes <= 2^(e+1) */
    size_t step = (size_t)1 << (e - 2);
    size_t k = (bytes - ((size_t)1 << e) + step - 1) / step; /* 1..4 */
    size_t r = ((size_t)1 << e) + k * step;
    *rounded = (r + ALIGN - 1) & ~(size_t)(ALIGN - 1);
    return (e - MIN_SHIFT) * 4 + (int)k;
}

static int64_t system_free(void) {
    /* MemAvailable, bounded by what the control group leaves; -1 where nothing is known. */
    int64_t free_bytes = -1, v;
    char line[256];
    FILE *f = fopen("/proc/meminfo", "re");
    if (f) {
        while (fgets(line, sizeof line, f))
            if (sscanf(line, "MemAvailable: %ld kB", &v) == 1) free_bytes = v * 1024;
        fclose(f);
    }
    int64_t max = -1, now = -1;
    if ((f = fopen("/sys/fs/cgroup/memory.max", "re"))) {
        if (fscanf(f, "%ld", &max) != 1) max = -1;
        fclose(f);
    }
    if (max >= 0 && (f = fopen("/sys/fs/cgroup/memory.current", "re"))) {
        if (fscanf(f, "%ld", &now) != 1) now = -1;
        fclose(f);
    }
    if (max >= 0 && now >= 0 && (free_bytes < 0 || max - now < free_bytes))
        free_bytes = max > now ? max - now : 0;
    return free_bytes;
}

#ifdef TIDE_HARD
/* The hostile build: fresh and freed memory is poisoned with NaN patterns, nothing is cached, and
 * allocations fail when they are told to: with TIDE_FAIL_ALLOC=k every k-th, after
 * tide_hard_fail(k) the k-th from then on. The module is linked so that its malloc, calloc, realloc
 * and posix_memalign come here. */
static _Atomic int64_t hard_every = -1, hard_count, hard_left;

int tide_hard_fail(int64_t k) {
    const int fired = hard_left < 0;
    hard_left = k;
    return fired;
}

static int hard_fails(void) {
    if (hard_left > 0) return --hard_left == 0 ? (hard_left = -1) : 0;
    if (hard_every < 0) {
        const char *s = getenv("TIDE_FAIL_ALLOC");
        hard_every = s ? atoll(s) : 0;
    }
    return hard_every > 0 && ++hard_count % hard_every == 0;
}

void *__real_malloc(size_t);
void *__real_calloc(size_t, size_t);
void *__real_realloc(void *, size_t);
int __real_posix_memalign(void **, size_t, size_t);
void *__wrap_malloc(size_t n);
void *__wrap_calloc(size_t n, size_t m);
void *__wrap_realloc(void *p, size_t n);
int __wrap_posix_memalign(void **p, size_t a, size_t n);
void *__wrap_malloc(size_t n) { return hard_fails() ? NULL : __real_malloc(n); }
void *__wrap_calloc(size_t n, size_t m) { return hard_fails() ? NULL : __real_calloc(n, m); }
void *__wrap_realloc(void *p, size_t n) { return hard_fails() ? NULL : __real_realloc(p, n); }
int __wrap_posix_memalign(void **p, size_t a, size_t n) {
    static _Thread_local int again; /* the allocator drops its cache and asks once more */
    if (again || hard_fails()) {
        again = !again;
        return 12;
    }
    return __real_posix_memalign(p, a, n);
}
#endif

static void trim_locked(tide_device *dev) {
    for (int c = 0; c < TIDE_CLASSES; c++) {
        tide_freelist *l = &dev->lists[c];
        for (int64_t i = 0; i < l->n; i++) dev->vt->free(dev, l->block[i]);
        dev->stat.cached_bytes -= l->n * (int64_t)l->bytes;
        l->n = 0;
    }
}

void *tide_mem_alloc(tide_device *dev, size_t bytes) {
    size_t size;
    if (bytes > MAX_BYTES) return NULL;
    int c = class_of(bytes, &size);
    pthread_mutex_lock(&dev->lock);
    tide_memstat *s = &dev->stat;
    void *p = NULL;
    tide_freelist *l = &dev->lists[c];
    if (s->limit_bytes > 0 && s->live_bytes + (int64_t)size > s->limit_bytes) goto done;
    if (l->n > 0) {
        p = l->block[--l->n];
        s->cached_bytes -= (int64_t)size;
        s->cache_hits++;
    } else {
        if (size >= CHECK_FREE) {
            int64_t free_bytes = system_free();
            if (free_bytes >= 0 && (int64_t)size > free_bytes)
                trim_locked(dev), free_bytes = system_free();
            if (free_bytes >= 0 && (int64_t)size > free_bytes) goto done;
        }
        p = dev->vt->alloc(dev, size);
        if (!p) {
            trim_locked(dev);
            p = dev->vt->alloc(dev, size);
        }
        if (p) s->system_allocs++;
    }
    if (p) {
        s->live_bytes += (int64_t)size;
        s->live_storages++;
        atomic_store_explicit(&dev->live_bytes, s->live_bytes, memory_order_relaxed);
        if (s->live_bytes > s->peak_bytes) s->peak_bytes = s->live_bytes;
    }
done:
    pthread_mutex_unlock(&dev->lock);
#ifdef TIDE_HARD
    if (p && dev == tide_cpu()) memset(p, 0xFF, size);
#endif
    return p;
}

void tide_mem_free(tide_device *dev, void *p, size_t bytes) {
    if (!p) return;
    size_t size;
    int c = class_of(bytes, &size);
#ifdef TIDE_HARD
    if (dev == tide_cpu()) memset(p, 0xFF, size);
#endif
    pthread_mutex_lock(&dev->lock);
    tide_memstat *s = &dev->stat;
    tide_freelist *l = &dev->lists[c];
    s->live_bytes -= (int64_t)size;
    s->live_storages--;
    atomic_store_explicit(&dev->live_bytes, s->live_bytes, memory_order_relaxed);
    l->bytes = size;
    int64_t cap = s->peak_bytes > CACHE_FLOOR ? s->peak_bytes : CACHE_FLOOR;
    int keep = s->cached_bytes + (int64_t)size <= cap;
#ifdef TIDE_HARD
    keep = 0;
#endif
    if (keep && l->n == l->cap) {
        int64_t n = l->cap ? l->cap * 2 : 16;
        void **more = realloc(l->block, (size_t)n * sizeof *more);
        if (more) l->block = more, l->cap = n;
        else keep = 0;
    }
    if (keep) {
        l->block[l->n++] = p;
        s->cached_bytes += (int64_t)size;
    }
    pthread_mutex_unlock(&dev->lock);
    if (!keep) dev->vt->free(dev, p);
}

tide_memstat tide_memory(tide_device *dev) {
    pthread_mutex_lock(&dev->lock);
    tide_memstat s = dev->stat;
    pthread_mutex_unlock(&dev->lock);
    return s;
}

int64_t tide_live_bytes(void) {
    return atomic_load_explicit(&tide_cpu()->live_bytes, memory_order_relaxed);
}

void tide_memory_limit(tide_device *dev, int64_t bytes) {
    pthread_mutex_lock(&dev->lock);
    dev->stat.limit_bytes = bytes > 0 ? bytes : 0;
    pthread_mutex_unlock(&dev->lock);
}

void tide_memory_trim(tide_device *dev) {
    pthread_mutex_lock(&dev->lock);
    trim_locked(dev);
    pthread_mutex_unlock(&dev->lock);
}

void tide_memory_reset_peak(tide_device *dev) {
    pthread_mutex_lock(&dev->lock);
    dev->stat.peak_bytes = dev->stat.live_bytes;
    pthread_mutex_unlock(&dev->lock);
}

/* -- work space: one block per thread, in front of which its size stands; it goes with the thread
 * -- */

typedef struct {
    tide_device *dev;
    size_t bytes;
} scratch_head;
_Static_assert(sizeof(scratch_head) <= ALIGN, "the head keeps the block aligned");

static pthread_key_t scratch_key;
static int scratch_ready; /* a key was to be had */

static void scratch_free(void *p) {
    scratch_head *h = p;
    if (h) h->dev->vt->free(h->dev, h);
}
static void scratch_init(void) {
    scratch_ready = pthread_key_create(&scratch_key, scratch_free) == 0;
}

void *tide_mem_scratch(tide_device *dev, size_t bytes) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, scratch_init);
    scratch_head *h = scratch_ready ? pthread_getspecific(scratch_key) : NULL;
    if (!h || h->dev != dev || bytes > h->bytes) {
        if (!scratch_ready || bytes > MAX_BYTES) return NULL;
        const size_t size = bytes + bytes / 4;
        scratch_free(h);
        h = dev->vt->alloc(dev, ALIGN + size);
        if (h) *h = (scratch_head){.dev = dev, .bytes = size};
        if (pthread_setspecific(scratch_key, h) != 0) {
            scratch_free(h);
            return NULL;
        }
    }
    return h ? (char *)h + ALIGN : NULL;
}
