/* Weights in a kernel's own layout, kept from call to call: made once per version of the tensor. */
#ifndef TIDE_KEEP_H
#define TIDE_KEEP_H

#include "kernel.h"

/* `data` hold what belongs to `version` of the tensor; whoever makes them anew sets it. */
typedef struct {
    void *data;
    uint64_t version;
} tide_kept;

/* Between the two, what tide_keep gave stays. 0: another thread is inside; do without. */
int tide_keep_enter(void);
void tide_keep_leave(void);
/* The place for `w` in the layout that `n` bytes at `form` tell apart from others. NULL: `w` has no
 * identity, it is too large, or there is no memory. */
tide_kept *tide_keep(const tide_buf *w, const void *form, size_t n, size_t bytes);

#endif
