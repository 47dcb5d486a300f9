/* The store of re-laid weights (kernels/keep.h): a hash table by storage.
 *
 * Invariant: the lock covers the table only. Who uses an entry has marked it as busy, so that it
 * stays while weights are re-laid and multiplied without the lock. */
#include "../keep.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

enum {
    BUCKETS = 1024, /* storages are numbered in order: few share one */
    FORMS = 4,      /* layouts of one tensor: forward and backward, for two sizes of a batch */
    LONGEST = 1024
};

typedef struct entry {
    tide_kept kept; /* first: tide_keep_done finds the entry by it */
    struct entry *next;
    tide_device *dev;
    uint64_t storage_id;
    const void *at;
    size_t bytes, n;
    int busy;
    unsigned char form[];
} entry;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static entry *_Atomic table[BUCKETS];
_Atomic int tide_keep_entries;

static entry *_Atomic *bucket_of(uint64_t storage_id) { return &table[storage_id % BUCKETS]; }

/* Takes out of a bucket what is not in use: of one storage, or of all (0). */
static entry *take_out(entry *_Atomic *head, uint64_t storage_id) {
    entry *out = NULL, *left = NULL;
    for (entry *e = *head, *next; e; e = next) {
        entry **to = e->busy || (storage_id && e->storage_id != storage_id) ? &left : &out;
        next = e->next;
        e->next = *to, *to = e;
    }
    *head = left;
    return out;
}

static size_t drop(entry *e) {
    size_t bytes = 0;
    for (entry *next; e; e = next) {
        next = e->next;
        bytes += e->bytes;
        tide_house->drop(e->dev, e->kept.data, e->bytes);
        free(e);
        atomic_fetch_sub_explicit(&tide_keep_entries, 1, memory_order_relaxed);
    }
    return bytes;
}

/* The entry, or what makes room for it: the oldest of too many forms. */
static entry *find(const tide_buf *w, const void *form, size_t n, entry **old) {
    int forms = 0;
    *old = NULL;
    for (entry *e = *bucket_of(w->storage_id); e; e = e->next) {
        if (e->storage_id != w->storage_id || e->at != w->p) continue;
        if (e->n == n && !memcmp(e->form, form, n)) return e;
        if (++forms >= FORMS && !e->busy) *old = e; /* newer ones stand before it */
    }
    return NULL;
}

static void unlink_entry(entry *e) {
    entry *_Atomic *head = bucket_of(e->storage_id);
    entry *first = *head, **at = &first;
    while (*at != e) at = &(*at)->next;
    *at = e->next;
    *head = first;
    e->next = NULL;
}

static entry *new_entry(tide_device *dev, const tide_buf *w, const void *form, size_t n,
                        size_t bytes) {
    entry *e = malloc(sizeof *e + n);
    void *data = e ? tide_house->keep(dev, bytes) : NULL;
    if (!data) {
        free(e);
        return NULL;
    }
    *e = (entry){.dev = dev, .storage_id = w->storage_id, .at = w->p, .bytes = bytes, .n = n};
    e->kept = (tide_kept){.data = data, .version = w->version - 1};
    memcpy(e->form, form, n);
    atomic_fetch_add_explicit(&tide_keep_entries, 1, memory_order_relaxed);
    return e;
}

tide_kept *tide_keep(tide_device *dev, const tide_buf *w, const void *form, size_t n,
                     size_t bytes) {
    if (!w->storage_id || n > LONGEST) return NULL;
    entry *old;
    pthread_mutex_lock(&lock);
    entry *e = find(w, form, n, &old);
    const int refused = e && e->busy;
    if (e) e->busy = 1;
    else if (old) unlink_entry(old);
    pthread_mutex_unlock(&lock);
    if (e) return refused ? NULL : &e->kept;
    drop(old);
    e = new_entry(dev, w, form, n, bytes);
    if (!e) return NULL;
    pthread_mutex_lock(&lock);
    entry *_Atomic *head = bucket_of(w->storage_id);
    e->busy = 1;
    e->next = *head;
    *head = e;
    pthread_mutex_unlock(&lock);
    return &e->kept;
}

void tide_keep_done(tide_kept *kept) {
    if (!kept) return;
    pthread_mutex_lock(&lock);
    ((entry *)kept)->busy = 0;
    pthread_mutex_unlock(&lock);
}

void tide_keep_forget(uint64_t storage_id) {
    entry *_Atomic *head = bucket_of(storage_id);
    if (!atomic_load_explicit(head, memory_order_relaxed)) return;
    pthread_mutex_lock(&lock);
    entry *out = take_out(head, storage_id);
    pthread_mutex_unlock(&lock);
    drop(out);
}

/* From the first bucket on, not by use: a model is walked round and round, and what was used
 * longest ago is what it needs next. */
void tide_keep_trim(size_t bytes) {
    size_t gone = 0;
    for (int b = 0; b < BUCKETS && gone < bytes; b++) {
        if (!atomic_load_explicit(&table[b], memory_order_relaxed)) continue;
        pthread_mutex_lock(&lock);
        entry *out = take_out(&table[b], 0);
        pthread_mutex_unlock(&lock);
        gone += drop(out);
    }
}

void tide_keep_hold(void) { pthread_mutex_lock(&lock); }
void tide_keep_resume(void) { pthread_mutex_unlock(&lock); }
