/* The store of re-laid weights (kernels/keep.h): a hash table by storage.
 *
 * Invariant: all places together stay below MOST bytes; what was used longest ago makes room. */
#include "../keep.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

enum { BUCKETS = 128, MOST = 128 << 20, FORM = 1024 };

typedef struct entry {
    struct entry *next;
    uint64_t storage_id, used;
    const void *at;
    size_t bytes, n;
    tide_kept kept;
    unsigned char form[];
} entry;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static entry *table[BUCKETS];
static size_t total;
static uint64_t now;

int tide_keep_enter(void) { return pthread_mutex_trylock(&lock) == 0; }
void tide_keep_leave(void) { pthread_mutex_unlock(&lock); }

static void forget_oldest(void) {
    entry **oldest = NULL;
    for (int b = 0; b < BUCKETS; b++)
        for (entry **e = &table[b]; *e; e = &(*e)->next)
            if (!oldest || (*e)->used < (*oldest)->used) oldest = e;
    if (!oldest) return;
    entry *e = *oldest;
    *oldest = e->next;
    total -= e->bytes;
    free(e->kept.data);
    free(e);
}

tide_kept *tide_keep(const tide_buf *w, const void *form, size_t n, size_t bytes) {
    if (!w->storage_id || bytes > MOST / 4 || n > FORM) return NULL;
    entry **head = &table[w->storage_id % BUCKETS];
    for (entry *e = *head; e; e = e->next)
        if (e->storage_id == w->storage_id && e->at == w->p && e->n == n &&
            !memcmp(e->form, form, n)) {
            e->used = ++now;
            return &e->kept;
        }
    while (total + bytes > MOST) forget_oldest();
    entry *e = malloc(sizeof *e + n);
    void *data = NULL;
    if (!e || posix_memalign(&data, 64, bytes) != 0) {
        free(e);
        return NULL;
    }
    *e = (entry){.next = *head, .storage_id = w->storage_id, .used = ++now, .at = w->p};
    e->bytes = bytes, e->n = n;
    e->kept = (tide_kept){.data = data, .version = w->version - 1};
    memcpy(e->form, form, n);
    total += bytes;
    *head = e;
    return &e->kept;
}
