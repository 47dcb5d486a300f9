/* Private structures of the core. Reference counts are plain: a context and its tensors belong to one thread at a time. */
#ifndef TIDE_CORE_H
#define TIDE_CORE_H

#include "../kernels/attrs.h"
#include "tide.h"

#include <stdatomic.h>
#include <stdbool.h>

#define TIDE_MESSAGE 1024

struct tide_ctx {
    int64_t refs;                 /* the owner's and one per live tensor */
    int grad_mode;
    uint64_t seq;                 /* next node's number */
    tide_rng rng;
    char message[TIDE_MESSAGE];
    void *profile;                /* tide_profile's table while it runs, else NULL */
    /* What the last node was recorded from: set by the binding to name the Lua line in errors. Optional. */
    void (*where)(tide_ctx *, char *buf, size_t n);
    void *where_data;
};

struct tide_storage {
    int64_t refs;
    tide_device *dev;
    void *data;
    size_t bytes;                 /* size of the block asked for */
    uint64_t id, version;         /* id is never reused; version counts writes in place */
};

struct tide_tensor {
    int64_t refs;
    tide_ctx *ctx;
    tide_storage *storage;        /* NULL for a sparse gradient */
    int64_t offset;               /* elements */
    int64_t shape[TIDE_MAX_RANK], stride[TIDE_MAX_RANK];
    uint8_t rank, dtype, requires_grad, is_view;
    int out_index;                /* which output of `node` this is */
    tide_node *node;              /* owned; NULL on leaves */
    tide_tensor *grad;            /* owned; leaves only */
    tide_tensor *ids, *values;    /* sparse gradient of a table: ids (n) int64 0-based, values (n, d) */
    uint64_t view_version;        /* storage version when a differentiable view was made */
    void *hooks;                  /* binding's hooks on the gradient (see autograd.c) */
};

typedef struct {                  /* where a node's input came from */
    tide_node *node;              /* owned */
    tide_tensor *leaf;            /* owned: a leaf that requires a gradient */
    int index;                    /* output of `node` */
    uint8_t needs;
    tide_tensor *saved;           /* owned, detached where it would make a cycle */
    uint64_t version;             /* of its storage when it was saved */
} tide_edge;

struct tide_node {
    int64_t refs;
    uint64_t seq;
    const tide_op *op;
    int nin, nout, nlist;
    tide_edge *in;                /* [nin] */
    tide_tensor **out_saved;      /* [nout] or NULL: views without node */
    tide_tensor **gout;           /* [nout]: gradients gathered during a walk */
    struct tide_node *work_next;  /* worklists: release, walk */
    void *in_meta, *out_meta;     /* tide_meta[] */
    void *custom;                 /* Lua-defined op: see tide_custom */
    uint8_t queued, freed;
    char *line;                   /* where it was recorded, or NULL */
    /* attributes follow, aligned to 16 */
    _Alignas(16) unsigned char attrs[];
};

static inline tide_buf tide_buf_of(const tide_tensor *t) {
    tide_buf b = {.p = tide_data(t), .rank = t->rank, .dtype = t->dtype, .storage_id = t->storage->id, .version = t->storage->version};
    for (int i = 0; i < t->rank; i++) b.shape[i] = t->shape[i], b.stride[i] = t->stride[i];
    return b;
}

#define TIDE_TRY(expr)                            \
    do {                                          \
        tide_status try_ = (expr);                \
        if (try_ != TIDE_OK) return try_;         \
    } while (0)

/* alloc.c */
void *tide_mem_alloc(tide_device *, size_t bytes);
void tide_mem_free(tide_device *, void *, size_t bytes);
/* tensor.c: results share or own storage */
tide_tensor *tide_tensor_alloc(tide_ctx *); /* header only, from a free list; NULL: no memory */
tide_status tide_view(tide_ctx *, tide_tensor *base, int rank, const int64_t *shape, const int64_t *stride, int64_t offset, tide_tensor **out);
tide_tensor *tide_detach(tide_tensor *);    /* new view without node; NULL: no memory */

#endif
