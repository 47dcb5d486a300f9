/* Worker threads and their queue of tasks: whatever is made ahead of the step. A task is a number
 * of pieces, which workers take in order; one piece alone is done by one worker. Workers see memory
 * that the owner lent, and files; never Lua, a context or the allocator of tensors. One thread owns
 * them and calls all of these. */
#ifndef TIDE_WORKERS_H
#define TIDE_WORKERS_H

#include <stdbool.h>
#include <stdint.h>

typedef struct tide_workers tide_workers;
typedef struct tide_task tide_task;
/* Does piece i of what `user` is; `worker` counts from 0, for room that each has of its own. */
typedef void tide_piece(void *user, int64_t i, int worker);

tide_workers *tide_workers_new(int n); /* NULL: no memory or threads; fewer may have started */
/* Stops: pieces in hand are finished, the others never begun; accepts NULL. Tasks stay their
 * owners'. */
void tide_workers_free(tide_workers *);
bool tide_workers_ours(const tide_workers *); /* of this process: a forked child has none */
int tide_workers_alive(void);                 /* threads of all that there are in this process */

/* Queues a task; `user` is lent until it was waited for or dropped. NULL: no memory. */
tide_task *tide_task_new(tide_workers *, int64_t pieces, tide_piece *, void *user);
bool tide_task_ready(tide_workers *, const tide_task *);
/* Waits until all pieces are done; false: `stop`, looked at now and then, was set before. */
bool tide_task_wait(tide_workers *, tide_task *, const volatile int *stop);
/* Drops a task: pieces in hand are waited for, the others never begun; the workers may be NULL or
 * another process'. Accepts NULL. */
void tide_task_free(tide_workers *, tide_task *);

#endif
