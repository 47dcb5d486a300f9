/* Storage and tensor lifetime, views, contiguity, copies.
 *
 * Invariant: a storage is freed with its last tensor; a tensor holds references to its storage,
 * context, node and gradient. Headers come from free lists of the context, data from the device's
 * caching allocator. */
#include "op.h"

#include "../kernels/keep.h"
#include "device.h"
#include "plan.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static _Atomic uint64_t next_storage_id = 1;
static _Atomic int64_t live_tensors;

/* Some headers at a time; their block stays until the context goes. */
static void *headers_new(tide_ctx *ctx, void **list, size_t size) {
    enum { SOME = 32 };
    char *block = malloc(16 + SOME * size);
    if (!block) return NULL;
    memcpy(block, &ctx->header_blocks, sizeof(void *));
    ctx->header_blocks = block;
    for (int i = 1; i < SOME; i++) { /* the first word of an idle header links the list */
        void *h = block + 16 + (size_t)i * size;
        memcpy(h, list, sizeof *list);
        *list = h;
    }
    return block + 16;
}

static inline void *header_new(tide_ctx *ctx, void **list, size_t size) {
    void *h = *list;
    if (!h) return headers_new(ctx, list, size);
    memcpy(list, h, sizeof *list);
    return h;
}

static inline void header_free(void **list, void *h) {
    memcpy(h, list, sizeof *list);
    *list = h;
}

void tide_headers_free(tide_ctx *ctx) {
    while (ctx->header_blocks) {
        void *block = ctx->header_blocks;
        memcpy(&ctx->header_blocks, block, sizeof(void *));
        free(block);
    }
}

static tide_tensor *tensor_header(tide_ctx *ctx) {
    tide_tensor *t = header_new(ctx, &ctx->tensor_headers, sizeof *t);
    if (!t) return NULL;
    *t = (tide_tensor){.refs = 1};
    t->ctx = ctx;
    ctx->refs++;
    atomic_fetch_add_explicit(&live_tensors, 1, memory_order_relaxed);
    return t;
}

/* "4.2 MB", "16.8 GB" */
static const char *amount(size_t bytes, char *out, size_t size) {
    double mb = (double)bytes / 1e6;
    if (mb < 1e4) snprintf(out, size, "%.1f MB", mb);
    else if (mb < 1e6) snprintf(out, size, "%.1f GB", mb / 1e3);
    else snprintf(out, size, "%.1f TB", mb / 1e6);
    return out;
}

static tide_status no_memory(tide_ctx *ctx, tide_device *dev, const tide_meta *m, size_t bytes) {
    char shape[160], needed[32], live[32], limit[32];
    ctx->refused = (int64_t)bytes;
    tide_memstat s = tide_memory(dev);
    return tide_fail(ctx, TIDE_ENOMEM,
                     "not enough memory: %s%s needs %s (live %s, %s%s); free tensors or use "
                     "smaller batches%s",
                     tide_dtype_name(m->dtype),
                     tide_shape_str(m->rank, m->shape, shape, sizeof shape),
                     amount(bytes, needed, sizeof needed), amount(s.live_bytes, live, sizeof live),
                     s.limit_bytes ? "limit " : "no limit",
                     s.limit_bytes ? amount(s.limit_bytes, limit, sizeof limit) : "",
                     s.limit_bytes ? ", or raise the limit" : "");
}

/* Over `data`, or over new memory where that is NULL. */
static tide_status make(tide_ctx *ctx, tide_device *dev, const tide_meta *m, void *data,
                        tide_tensor **out) {
    int64_t n = 1;
    int empty = 0;
    char shape[160];
    *out = NULL;
    ctx->refused = 0;
    for (int i = 0; i < m->rank; i++) {
        if (m->shape[i] < 0)
            return tide_fail(ctx, TIDE_ESHAPE, "a shape cannot hold %ld (shape %s)",
                             (long)m->shape[i],
                             tide_shape_str(m->rank, m->shape, shape, sizeof shape));
        if (m->shape[i] == 0) empty = 1; /* the other extents still make strides */
        else if (__builtin_mul_overflow(n, m->shape[i], &n) || n > TIDE_MAX_NUMEL)
            return tide_fail(ctx, TIDE_ENOMEM, "not enough memory: shape %s has too many elements",
                             tide_shape_str(m->rank, m->shape, shape, sizeof shape));
    }
    size_t bytes = empty ? 0 : (size_t)n * tide_dtype_size(m->dtype);
    tide_tensor *t = tensor_header(ctx);
    tide_storage *s = t ? header_new(ctx, &ctx->storage_headers, sizeof *s) : NULL;
    if (s && !data) data = tide_mem_alloc(dev, bytes);
    if (!s || !data) {
        if (s) header_free(&ctx->storage_headers, s);
        tide_release(t);
        return no_memory(ctx, dev, m, bytes);
    }
    *s = (tide_storage){.refs = 1, .dev = dev, .data = data, .bytes = bytes, .version = 1};
    s->id = atomic_fetch_add_explicit(&next_storage_id, 1, memory_order_relaxed);
    t->storage = s;
    t->rank = m->rank;
    t->dtype = m->dtype;
    int64_t stride = 1;
    for (int i = m->rank - 1; i >= 0; i--) {
        t->shape[i] = m->shape[i];
        t->stride[i] = stride;
        stride *= m->shape[i] > 0 ? m->shape[i] : 1;
    }
    *out = t;
    return TIDE_OK;
}

tide_status tide_new_on(tide_ctx *ctx, tide_device *dev, const tide_meta *m, tide_tensor **out) {
    return make(ctx, dev, m, NULL, out);
}

tide_status tide_new_over(tide_ctx *ctx, tide_dtype dtype, int rank, const int64_t *shape,
                          void *data, void (*release)(void *), void *owner, tide_tensor **out) {
    tide_meta m = {.rank = (uint8_t)rank, .dtype = (uint8_t)dtype};
    for (int i = 0; i < rank; i++) m.shape[i] = shape[i];
    TIDE_TRY(make(ctx, tide_cpu(), &m, data, out));
    (*out)->storage->release = release;
    (*out)->storage->owner = owner;
    return TIDE_OK;
}

tide_status tide_new(tide_ctx *ctx, tide_dtype dtype, int rank, const int64_t *shape,
                     tide_tensor **out) {
    if (rank < 0 || rank > TIDE_MAX_RANK)
        return tide_fail(ctx, TIDE_ESHAPE, "a tensor has at most %d axes (got %d)", TIDE_MAX_RANK,
                         rank);
    tide_meta m = {.rank = (uint8_t)rank, .dtype = (uint8_t)dtype};
    for (int i = 0; i < rank; i++) m.shape[i] = shape[i];
    return tide_new_on(ctx, ctx->device, &m, out);
}

static _Atomic int64_t kept_scalars; /* of all contexts: not live for anyone but them */

int64_t tide_live_tensors(void) {
    return atomic_load_explicit(&live_tensors, memory_order_relaxed) - kept_scalars;
}

static void set_number(tide_tensor *t, const tide_value *v, int dtype) {
    t->dtype = (uint8_t)dtype;
    t->number = 0;
    tide_value_as(v, dtype, &t->number);
}

tide_status tide_number_of(tide_ctx *ctx, const tide_value *v, int dtype, tide_tensor **out) {
    tide_tensor *t = *out = tensor_header(ctx);
    if (!t) return tide_fail(ctx, TIDE_ENOMEM, "not enough memory for a number");
    t->storage = &ctx->numbers;
    t->storage->refs++;
    set_number(t, v, dtype);
    return TIDE_OK;
}

tide_status tide_number(tide_ctx *ctx, double value, int dtype, tide_tensor **out) {
    return tide_number_of(ctx, &TIDE_REAL(value), dtype, out);
}

tide_status tide_scalar(tide_ctx *ctx, double value, int dtype, tide_tensor **out) {
    if (ctx->scalar && ctx->scalar->refs == 1) {
        set_number(ctx->scalar, &TIDE_REAL(value), dtype);
    } else {
        tide_scalar_free(ctx);
        TIDE_TRY(tide_number(ctx, value, dtype, &ctx->scalar));
        kept_scalars++;
    }
    *out = ctx->scalar;
    return TIDE_OK;
}

void tide_scalar_free(tide_ctx *ctx) {
    if (!ctx->scalar) return;
    tide_release(ctx->scalar);
    ctx->scalar = NULL;
    kept_scalars--;
}

tide_status tide_settle(tide_ctx *ctx, tide_tensor **t) {
    tide_tensor *x = *t, *copy = NULL;
    if (!tide_is_number(x)) return TIDE_OK;
    TIDE_TRY(tide_apply(ctx, &tide_op_copy, TIDE_ATTRS(copy), 1, &x, &copy));
    tide_release(x);
    *t = copy;
    return TIDE_OK;
}

tide_tensor *tide_retain(tide_tensor *t) {
    if (t) t->refs++;
    return t;
}

uint64_t tide_storage_ids(int n) {
    return atomic_fetch_add_explicit(&next_storage_id, (uint64_t)n, memory_order_relaxed);
}

void tide_storage_free(tide_ctx *ctx, tide_storage *s) {
    if (ctx->recorder) tide_recorder_freed(ctx, s);
    tide_release(s->wide);
    if (tide_keep_entries) tide_keep_forget(s->id);
    if (s->release) s->release(s->owner);
    else tide_mem_free(s->dev, s->data, s->bytes);
    header_free(&ctx->storage_headers, s);
}

void tide_storage_release(tide_ctx *ctx, tide_storage *s) {
    if (--s->refs > 0) return;
    if (s->lag) tide_lag_leave(s->lag);
    else tide_storage_free(ctx, s);
}

/* The last reference is gone; what it held of its gradient goes to the caller: a chain of gradients
 * needs no recursion. */
static tide_tensor *end(tide_tensor *t) {
    tide_ctx *ctx = t->ctx;
    tide_tensor *grad = t->grad;
    if (t->storage) tide_storage_release(ctx, t->storage);
    if (t->ids) tide_release(t->ids);
    if (t->values) tide_release(t->values);
    while (t->hooks) {
        tide_hook *h = t->hooks;
        t->hooks = h->next;
        ctx->leaf_hooks--;
        if (h->ref && ctx->free_ref) ctx->free_ref(ctx, h->ref);
        free(h);
    }
    tide_node *node = t->node;
    header_free(&ctx->tensor_headers, t);
    atomic_fetch_sub_explicit(&live_tensors, 1, memory_order_relaxed);
    if (node) tide_node_unref(ctx, node);
    tide_ctx_unref(ctx);
    return grad;
}

void tide_release(tide_tensor *t) {
    while (t && --t->refs == 0) t = end(t);
}

int64_t tide_numel(const tide_tensor *t) {
    int64_t n = 1;
    for (int i = 0; i < t->rank; i++) n *= t->shape[i];
    return n;
}

int tide_is_contiguous(const tide_tensor *t) {
    int64_t s = 1;
    for (int i = t->rank - 1; i >= 0; i--) {
        if (t->shape[i] != 1 && t->stride[i] != s) return t->shape[i] == 0 || tide_numel(t) == 0;
        s *= t->shape[i];
    }
    return 1;
}

tide_meta tide_meta_of(const tide_tensor *t) {
    tide_meta m = {.rank = t->rank, .dtype = t->dtype};
    for (int i = 0; i < t->rank; i++) m.shape[i] = t->shape[i];
    return m;
}

tide_status tide_view(tide_ctx *ctx, tide_tensor *base, int rank, const int64_t *shape,
                      const int64_t *stride, int64_t offset, tide_tensor **out) {
    tide_tensor *t = tensor_header(ctx);
    *out = t;
    if (!t) return tide_fail(ctx, TIDE_ENOMEM, "not enough memory for a view");
    t->storage = base->storage;
    t->storage->refs++;
    t->dtype = base->dtype;
    t->rank = (uint8_t)rank;
    t->offset = offset;
    t->number = base->number;
    t->is_view = 1;
    t->view_version = base->view_version == TIDE_DETACHED ? TIDE_DETACHED : base->storage->version;
    t->shares = base->shares;
    for (int i = 0; i < rank; i++) {
        t->shape[i] = shape[i], t->stride[i] = stride[i];
        t->shares |= stride[i] == 0 && shape[i] > 1;
    }
    return TIDE_OK;
}

tide_status tide_detach(tide_ctx *ctx, tide_tensor *t, tide_tensor **out) {
    TIDE_TRY(tide_view(ctx, t, t->rank, t->shape, t->stride, t->offset, out));
    (*out)->view_version = TIDE_DETACHED;
    return TIDE_OK;
}

tide_tensor *tide_sparse_new(tide_ctx *ctx, int rank, const int64_t *shape, tide_tensor *ids,
                             tide_tensor *values) {
    tide_tensor *t = tensor_header(ctx);
    if (!t) return NULL;
    t->rank = (uint8_t)rank;
    t->dtype = values->dtype;
    for (int i = 0; i < rank; i++) t->shape[i] = shape[i];
    t->ids = tide_retain(ids);
    t->values = tide_retain(values);
    return t;
}

tide_status tide_densify(tide_ctx *ctx, tide_tensor *t, tide_tensor **out) {
    if (!tide_is_sparse(t)) {
        *out = tide_retain(t);
        return TIDE_OK;
    }
    return tide_apply(ctx, &tide_op_densify_, TIDE_ATTRS(densify_), 1, &t, out);
}

tide_status tide_contiguous(tide_ctx *ctx, tide_tensor *t, tide_tensor **out) {
    if (tide_is_contiguous(t)) {
        *out = tide_retain(t);
        return TIDE_OK;
    }
    return tide_apply(ctx, &tide_op_copy, TIDE_ATTRS(copy), 1, &t, out);
}

tide_status tide_copy_into(tide_ctx *ctx, tide_tensor *dst, tide_tensor *src) {
    if (dst->shares)
        return tide_fail(
            ctx, TIDE_EARG,
            "copy_: several elements of the tensor share one place in memory, as those "
            "of broadcast_to do; write into its copy()");
    if (!tide_has_elements(src) && tide_has_elements(dst) && tide_meta_counting())
        return TIDE_OK; /* a step that only counts writes nothing */
    int was = tide_grad_mode(ctx, 0);
    tide_tensor *here = NULL, *cast = NULL, *wide = NULL;
    tide_status st = TIDE_OK;
    if (tide_device_of(src) && tide_device_of(src) != tide_device_of(dst)) {
        st = tide_need_elements(ctx, src, "copy_");
        if (st == TIDE_OK) st = tide_to(ctx, src, tide_device_of(dst), &here);
        src = here;
    }
    if (st == TIDE_OK && src->dtype != dst->dtype)
        st = tide_apply(ctx, &tide_op_cast, TIDE_ATTRS(cast, .dtype = dst->dtype), 1, &src, &cast);
    else if (st == TIDE_OK) cast = tide_retain(src);
    if (st == TIDE_OK) {
        tide_broadcast_to_attrs a = *TIDE_ATTRS(broadcast_to, .shape.n = dst->rank);
        for (int i = 0; i < dst->rank; i++) a.shape.v[i] = dst->shape[i];
        st = tide_apply(ctx, &tide_op_broadcast_to, &a, 1, &cast, &wide);
    }
    if (st == TIDE_OK) {
        tide_tensor *from = wide, *copy = NULL;
        if (wide->storage == dst->storage &&
            !(wide->offset == dst->offset && tide_is_contiguous(wide) && tide_is_contiguous(dst))) {
            st = tide_apply(ctx, &tide_op_copy, TIDE_ATTRS(copy), 1, &wide,
                            &copy); /* overlapping: through a copy */
            from = copy;
        }
        if (st == TIDE_OK) st = tide_run_into(ctx, &tide_op_copy, TIDE_ATTRS(copy), 1, &from, dst);
        tide_release(copy);
    }
    tide_release(wide);
    tide_release(cast);
    tide_release(here);
    tide_grad_mode(ctx, was);
    return st;
}
