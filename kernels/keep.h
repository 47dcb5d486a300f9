/* Weights in a kernel's own layout, kept from call to call: made once per version of the tensor.
 *
 * Invariant: what is kept lives no longer than the storage it was made of (tide_keep_forget), so
 * the store holds the weights of all models that live and of no other. */
#ifndef TIDE_KEEP_H
#define TIDE_KEEP_H

#include "kernel.h"

#include <stdatomic.h>

/* `data` hold what belongs to `version` of the tensor; whoever makes them anew sets it. */
typedef struct {
    void *data;
    uint64_t version;
} tide_kept;

/* The place for `w` in the layout that the `n` bytes at `form` tell apart from others, for the
 * caller alone until tide_keep_done. NULL: `w` has no identity, another thread is at it, or there
 * is no memory: do without. */
tide_kept *tide_keep(tide_device *, const tide_buf *w, const void *form, size_t n, size_t bytes);
void tide_keep_done(tide_kept *); /* accepts NULL */

/* For the house: a storage is released; memory is short; a fork, before and behind which the store
 * must be at rest. */
void tide_keep_forget(uint64_t storage_id); /* where tide_keep_entries is not 0 */
extern _Atomic int tide_keep_entries;
void tide_keep_trim(size_t bytes); /* gives back so much, or all there is */
void tide_keep_hold(void);
void tide_keep_resume(void);

#endif
