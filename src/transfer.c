/* The door to a tensor's elements for the host: read, write, move to another device, look.
 *
 * Invariant: nothing else outside of kernels touches elements. Whoever reads sees what was computed
 * before: rows that lag are brought up to date and the device has finished. */
#include "../kernels/cpu/half.h"
#include "device.h"
#include "plan.h"

#include <string.h>

/* A step that is recorded: what follows may hang on what is seen here. */
static void tell(const tide_tensor *t, const char *what) {
    if (t->ctx->recorder) tide_recorder_refuse(t->ctx, "its numbers are %s by the program", what);
}

static size_t bytes_of(const tide_tensor *t) {
    return (size_t)tide_numel(t) * tide_dtype_size(t->dtype);
}

static char *place(const tide_tensor *t, int64_t at) {
    return (char *)t->storage->data + (t->offset + at) * (int64_t)tide_dtype_size(t->dtype);
}

/* n elements that lie side by side, from place `at` of the storage as the tensor sees it. */
static void read_part(const tide_tensor *t, int64_t at, int64_t n, void *dst) {
    const size_t bytes = (size_t)n * tide_dtype_size(t->dtype);
    tide_device *dev = t->storage->dev;
    tell(t, "read");
    if (n == 0) return;
    if (!dev) {
        memcpy(dst, &t->number, bytes);
        return;
    }
    if (t->storage->lag) tide_lag_flush(t->storage->lag);
    dev->vt->sync(dev);
    dev->vt->copy(dev, dst, place(t, at), bytes, TIDE_TO_HOST);
}

tide_status tide_read(tide_ctx *ctx, tide_tensor *t, void *dst) {
    tide_tensor *flat;
    TIDE_TRY(tide_need_elements(ctx, t, ""));
    TIDE_TRY(tide_contiguous(ctx, t, &flat));
    read_part(flat, 0, tide_numel(flat), dst);
    tide_release(flat);
    return tide_file_lost ? tide_go_on(ctx) : TIDE_OK;
}

tide_status tide_write(tide_ctx *ctx, tide_tensor *t, const void *src) {
    tide_device *dev = t->storage->dev;
    tell(t, "written");
    if (!dev || !tide_is_contiguous(t))
        return tide_fail(ctx, TIDE_EARG, "only contiguous tensors are written from the host");
    if (t->storage->lag) tide_lag_flush(t->storage->lag);
    if (bytes_of(t) > 0) dev->vt->copy(dev, place(t, 0), src, bytes_of(t), TIDE_FROM_HOST);
    t->storage->version++;
    return TIDE_OK;
}

void *tide_host_view(const tide_tensor *t) {
    if (t->storage->dev != tide_cpu()) {
        tide_fail(t->ctx, TIDE_EDEVICE,
                  "the host cannot see the memory of device %s; x:to(\"cpu\") copies it",
                  t->storage->dev ? t->storage->dev->name : "none");
        return NULL;
    }
    tell(t, "seen");
    if (t->storage->lag) tide_lag_flush(t->storage->lag);
    return place(t, 0);
}

tide_status tide_new_host(tide_ctx *ctx, tide_dtype dtype, int rank, const int64_t *shape,
                          tide_tensor **out) {
    tide_device *was = tide_default_device(ctx, tide_cpu());
    const tide_status st = tide_new(ctx, dtype, rank, shape, out);
    tide_default_device(ctx, was);
    return st;
}

tide_status tide_to_host(tide_ctx *ctx, tide_tensor *t, tide_tensor **out) {
    tide_tensor *flat;
    *out = NULL;
    const int was = tide_grad_mode(ctx, 0);
    tide_status st = tide_contiguous(ctx, t, &flat);
    if (st == TIDE_OK) {
        st = tide_to(ctx, flat, tide_cpu(), out);
        tide_release(flat);
    }
    tide_grad_mode(ctx, was);
    return st;
}

tide_status tide_from(tide_ctx *ctx, tide_dtype dtype, int rank, const int64_t *shape,
                      const void *data, tide_tensor **out) {
    TIDE_TRY(tide_new(ctx, dtype, rank, shape, out));
    const tide_status st = tide_write(ctx, *out, data);
    (*out)->storage->version = 1;
    return st;
}

tide_status tide_to(tide_ctx *ctx, tide_tensor *t, tide_device *dev, tide_tensor **out) {
    tide_device *from = t->storage->dev;
    if (from == dev) {
        *out = tide_retain(t);
        return TIDE_OK;
    }
    *out = NULL;
    TIDE_TRY(tide_need_elements(ctx, t, "to"));
    if (ctx->grad_mode && tide_needs_grad(t))
        return tide_fail(ctx, TIDE_EGRAD,
                         "to: no gradient passes from one device to another; detach() it first");
    tide_tensor *flat;
    TIDE_TRY(tide_contiguous(ctx, t, &flat));
    const tide_meta m = tide_meta_of(t);
    tide_status st = tide_new_on(ctx, dev, &m, out);
    if (st == TIDE_OK && from == tide_cpu()) st = tide_write(ctx, *out, tide_host_view(flat));
    else if (st == TIDE_OK && dev == tide_cpu()) st = tide_read(ctx, flat, place(*out, 0));
    else if (st == TIDE_OK) { /* by way of the host */ tide_tensor *host = NULL;
        st = tide_to(ctx, flat, tide_cpu(), &host);
        if (st == TIDE_OK) st = tide_write(ctx, *out, place(host, 0));
        tide_release(host);
    }
    tide_release(flat);
    if (st != TIDE_OK) {
        tide_release(*out);
        *out = NULL;
    }
    return st;
}

/* -- single elements -- */

static int64_t element_place(const tide_tensor *t, int64_t flat) {
    int64_t at = 0;
    for (int i = t->rank - 1; i >= 0; i--) {
        at += flat % t->shape[i] * t->stride[i];
        flat /= t->shape[i];
    }
    return at;
}

typedef union {
    float f32;
    double f64;
    int64_t i64;
    int32_t i32;
    int8_t i8;
    uint8_t u8;
    uint16_t u16;
} element;

static element element_of(const tide_tensor *t, int64_t flat) {
    element e;
    const int64_t at = element_place(t, flat);
    tell(t, "read");
    if (t->storage->dev != tide_cpu()) {
        read_part(t, at, 1, &e);
        return e;
    }
    if (t->storage->lag) tide_lag_flush(t->storage->lag);
    switch (tide_dtype_size(t->dtype)) {
    case 1: memcpy(&e, place(t, at), 1); break;
    case 2: memcpy(&e, place(t, at), 2); break;
    case 4: memcpy(&e, place(t, at), 4); break;
    default: memcpy(&e, place(t, at), 8); break;
    }
    return e;
}

double tide_item(const tide_tensor *t, int64_t flat) {
    if (!tide_is_float(t->dtype)) return (double)tide_item_int(t, flat);
    const element e = element_of(t, flat);
    switch (t->dtype) {
    case TIDE_F32: return e.f32;
    case TIDE_F64: return e.f64;
    case TIDE_F16: return tide_from_f16(e.u16);
    default: return tide_from_bf16(e.u16);
    }
}

int64_t tide_item_int(const tide_tensor *t, int64_t flat) {
    if (tide_is_float(t->dtype)) return (int64_t)tide_item(t, flat);
    const element e = element_of(t, flat);
    switch (t->dtype) {
    case TIDE_I64: return e.i64;
    case TIDE_I32: return e.i32;
    case TIDE_I8: return e.i8;
    case TIDE_BOOL: return e.u8 != 0;
    default: return e.u8;
    }
}
