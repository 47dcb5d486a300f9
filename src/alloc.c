/* The caching allocator: blocks of a few sizes, kept on per-class free lists and handed out again.
 *
 * Invariant: a block's class follows from the size asked for alone, so alloc and free agree without
 * a header; data are 64-byte aligned. Size classes are quarter powers of two (worst waste 25%). The
 * lock covers lists and counters only: the system is asked without it. Tensors, work space and the
 * weights that kernels keep in their own layouts are all blocks from here, so all are counted and
 * limited. */
#include "device.h"

#include "../kernels/keep.h"

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

int64_t tide_system_free(void) {
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

/* -- idle blocks: what is too many goes, of the class used longest ago first -- */

/* Gives blocks back until `most` bytes lie idle. */
static void trim_to(tide_device *dev, int64_t most) {
    enum { SOME = 32 };
    void *out[SOME];
    for (int n = SOME; n == SOME;) {
        n = 0;
        tide_device_lock(dev);
        while (n < SOME && dev->stat.cached_bytes > most) {
            tide_freelist *coldest = NULL;
            for (int c = 0; c < TIDE_CLASSES; c++) {
                tide_freelist *l = &dev->lists[c];
                if (l->n > 0 && (!coldest || l->used < coldest->used)) coldest = l;
            }
            if (!coldest) break;
            for (; coldest->n > 0 && n < SOME && dev->stat.cached_bytes > most; n++) {
                out[n] = coldest->block[--coldest->n];
                dev->stat.cached_bytes -= (int64_t)coldest->bytes;
            }
        }
        tide_device_unlock(dev);
        for (int i = 0; i < n; i++) dev->vt->free(dev, out[i]);
    }
}

static int64_t room_of(const tide_memstat *s) { /* what the limit leaves */
    return s->limit_bytes > 0 ? s->limit_bytes - s->live_bytes - s->kept_bytes : INT64_MAX;
}

/* How much may lie idle: as much as the peak was, and no more than the limit leaves. */
static int64_t idle_most(const tide_memstat *s) {
    const int64_t most = s->peak_bytes > CACHE_FLOOR ? s->peak_bytes : CACHE_FLOOR,
                  room = room_of(s);
    return room >= most ? most : room > 0 ? room : 0;
}

/* -- blocks. `count`: which of the statistics they stand in -- */

static void count_by(tide_device *dev, int64_t *count, int64_t size) {
    *count += size;
    if (count == &dev->stat.live_bytes) {
        dev->stat.live_storages += size > 0 ? 1 : -1;
        atomic_store_explicit(&dev->live_bytes, *count, memory_order_relaxed);
    }
}

static void note_peak(tide_memstat *s) {
    if (s->live_bytes > s->peak_bytes) s->peak_bytes = s->live_bytes;
}

/* A block that no list holds. */
static void *from_system(tide_device *dev, size_t size) {
    if (size >= CHECK_FREE) {
        int64_t free_bytes = tide_device_ask(dev).free_bytes;
        if (free_bytes >= 0 && (int64_t)size > free_bytes) {
            tide_memory_trim(dev);
            free_bytes = tide_device_ask(dev).free_bytes;
        }
        if (free_bytes >= 0 && (int64_t)size > free_bytes) return NULL;
    }
    void *p = dev->vt->alloc(dev, size);
    if (p) return p;
    tide_memory_trim(dev);
    return dev->vt->alloc(dev, size);
}

static void *take(tide_device *dev, size_t bytes, int64_t *count) {
    size_t size;
    if (bytes > MAX_BYTES) return NULL;
    tide_freelist *l = &dev->lists[class_of(bytes, &size)];
    tide_memstat *s = &dev->stat;
    tide_device_lock(dev);
    if (room_of(s) < (int64_t)size && s->kept_bytes > 0 && count == &s->live_bytes) {
        tide_device_unlock(dev);
        tide_keep_trim(size); /* what is computed needs the room more than what can be made again */
        tide_device_lock(dev);
    }
    if (room_of(s) < (int64_t)size) {
        tide_device_unlock(dev);
        return NULL;
    }
    count_by(dev, count, (int64_t)size); /* now, so that no other thread takes the room */
    l->used = ++dev->uses;
    if (l->n > 0) {
        void *p = l->block[--l->n];
        s->cached_bytes -= (int64_t)size;
        s->cache_hits++;
        note_peak(s);
        tide_device_unlock(dev);
        return p;
    }
    const int64_t most = idle_most(s);
    const int over = s->cached_bytes > most;
    tide_device_unlock(dev);
    if (over) trim_to(dev, most);
    void *p = from_system(dev, size);
    tide_device_lock(dev);
    if (p) s->system_allocs++, note_peak(s);
    else count_by(dev, count, -(int64_t)size);
    tide_device_unlock(dev);
    return p;
}

static void give(tide_device *dev, void *p, size_t bytes, int64_t *count) {
    size_t size;
    tide_freelist *l = &dev->lists[class_of(bytes, &size)];
    tide_memstat *s = &dev->stat;
    tide_device_lock(dev);
    count_by(dev, count, -(int64_t)size);
    l->bytes = size;
    l->used = ++dev->uses;
    const int64_t most = idle_most(s);
    int keep = (int64_t)size <= most;
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
    const int over = s->cached_bytes > most;
    tide_device_unlock(dev);
    if (!keep) dev->vt->free(dev, p);
    if (over) trim_to(dev, most);
}

/* A storage without elements: what it would take, if it is counted. */
static void count_shape(tide_device *dev, const void *p, size_t bytes, int made) {
    size_t size;
    if (!tide_meta_counted(p) || bytes > MAX_BYTES) return;
    class_of(bytes, &size);
    tide_device_lock(dev);
    count_by(dev, &dev->stat.live_bytes, made ? (int64_t)size : -(int64_t)size);
    note_peak(&dev->stat);
    tide_device_unlock(dev);
}

void *tide_mem_alloc(tide_device *dev, size_t bytes) {
    if (dev->no_elements) {
        void *shape = dev->vt->alloc(dev, bytes);
        count_shape(dev, shape, bytes, 1);
        return shape;
    }
    void *p = take(dev, bytes, &dev->stat.live_bytes);
#ifdef TIDE_HARD
    if (p) dev->vt->fill(dev, p, 0xFF, bytes);
#endif
    return p;
}

void tide_mem_free(tide_device *dev, void *p, size_t bytes) {
    if (p && dev->no_elements) count_shape(dev, p, bytes, 0);
    if (!p || dev->no_elements) return;
#ifdef TIDE_HARD
    dev->vt->fill(dev, p, 0xFF, bytes);
#endif
    give(dev, p, bytes, &dev->stat.live_bytes);
}

void *tide_mem_keep(tide_device *dev, size_t bytes) {
    return take(dev, bytes, &dev->stat.kept_bytes);
}
void tide_mem_drop(tide_device *dev, void *p, size_t bytes) {
    if (p) give(dev, p, bytes, &dev->stat.kept_bytes);
}

tide_memstat tide_memory(tide_device *dev) {
    tide_device_lock(dev);
    tide_memstat s = dev->stat;
    tide_device_unlock(dev);
    return s;
}

static _Atomic(tide_device *) devices; /* those with memory, each from its first use on */

void tide_device_join(tide_device *dev) {
    dev->next = atomic_load(&devices);
    while (!atomic_compare_exchange_weak(&devices, &dev->next, dev)) continue;
}

int64_t tide_live_bytes(void) {
    int64_t n = 0;
    for (const tide_device *d = atomic_load_explicit(&devices, memory_order_acquire); d;
         d = d->next)
        n += atomic_load_explicit(&d->live_bytes, memory_order_relaxed);
    return n;
}

void tide_memory_limit(tide_device *dev, int64_t bytes) {
    tide_device_lock(dev);
    dev->stat.limit_bytes = bytes > 0 ? bytes : 0;
    const int64_t most = idle_most(&dev->stat);
    tide_device_unlock(dev);
    trim_to(dev, most);
}

void tide_memory_trim(tide_device *dev) {
    tide_keep_trim(SIZE_MAX);
    trim_to(dev, 0);
}

void tide_memory_reset_peak(tide_device *dev) {
    tide_device_lock(dev);
    dev->stat.peak_bytes = dev->stat.live_bytes;
    tide_device_unlock(dev);
}

/* -- work space: the blocks that the kernels under way on this thread asked for, a stack -- */

enum { FEW = 16 };
typedef struct {
    tide_device *dev;
    void *p;
    size_t bytes;
} request;
static _Thread_local request few[FEW], *more; /* more: those behind the first few, while any are */
static TIDE_THREAD_LOCAL int nrequests;

static request *request_at(int i) { return i < FEW ? &few[i] : &more[i - FEW]; }

void *tide_mem_scratch(tide_device *dev, size_t bytes) {
    const int behind = nrequests - FEW;
    if (behind >= 0 && (behind & (behind - 1)) == 0) { /* 0, or a power of two: it is full */
        request *grown = realloc(more, (size_t)(behind ? 2 * behind : 1) * sizeof *more);
        if (!grown) return NULL;
        more = grown;
    }
    void *p = tide_mem_alloc(dev, bytes);
    if (p) *request_at(nrequests++) = (request){dev, p, bytes};
    return p;
}

int tide_scratch_mark(void) { return nrequests; }

void tide_scratch_release(int mark) {
    if (nrequests == mark) return;
    while (nrequests > mark) {
        const request *r = request_at(--nrequests);
        tide_mem_free(r->dev, r->p, r->bytes);
    }
    if (nrequests <= FEW) {
        free(more);
        more = NULL;
    }
}
