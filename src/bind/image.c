/* core.image: pictures as u8 tensors (height, width, channels), resizing, augmentation, and loaders
 * of batches.
 *
 * Arguments come checked from lua/tide/preprocessing/image and lua/tide/data; what is refused here
 * is what only the bytes tell. Invariant: memory that workers write is retained in C by the batch
 * that they write for, so the order in which Lua finalizes handles does not matter. */
#include "../io/loader.h"
#include "bind.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static int fail_image(lua_State *L, const char *where, const char *name,
                      const tide_image_error *e) {
    tide_ctx *ctx = tideL_ctx(L);
    tide_fail(ctx, e->status, "%s: %.400s%s%s", where, name ? name : "", name ? ": " : "", e->text);
    return tideL_raise(L, ctx, e->status);
}

/* -- fields of a table -- */

static double field(lua_State *L, int i, const char *key, double otherwise) {
    tideL_field(L, i, key);
    double v = lua_isnumber(L, -1) ? lua_tonumber(L, -1) : otherwise;
    lua_pop(L, 1);
    return v;
}

static bool flag(lua_State *L, int i, const char *key) {
    tideL_field(L, i, key);
    bool v = lua_toboolean(L, -1);
    lua_pop(L, 1);
    return v;
}

static tide_image_options options(lua_State *L, int i) {
    return (tide_image_options){.channels = (int)field(L, i, "channels", 0),
                                .upright = flag(L, i, "upright"),
                                .wide = flag(L, i, "wide"),
                                .max_pixels = (int64_t)field(L, i, "max_pixels", 0)};
}

static tide_pil_filter pil_filter(lua_State *L, const char *name, const char *where) {
    int f = tide_pil_filter_of(name);
    if (f < 0)
        tideL_error(L, where,
                    "unknown interpolation '%.40s' (expected nearest, bilinear, bicubic, box, "
                    "hamming or lanczos)",
                    name);
    return (tide_pil_filter)f;
}

/* -- pictures -- */

/* Puts the picture into a new tensor on the stack and frees it. */
/* (height, width, channels), or with `frames` > 0 those in front; frees the picture. */
static int push_image(lua_State *L, tideL_handle *h, tide_image *p, int64_t frames) {
    tide_ctx *ctx = tideL_ctx(L);
    int64_t many = frames > 0,
            shape[4] = {frames, p->height / (many ? frames : 1), p->width, p->channels};
    tide_status st;
    if (p->wide) {
        int64_t n = p->height * p->width;
        const uint16_t *from = (const void *)p->data;
        st = tide_new_host(ctx, TIDE_I32, many ? 4 : 3, shape + !many, &h->t);
        int32_t *to = st == TIDE_OK ? tide_host_view(h->t) : NULL;
        for (int64_t i = 0; to && i < n; i++) to[i] = from[i];
    } else {
        st = tide_from(ctx, TIDE_U8, many ? 4 : 3, shape + !many, p->data, &h->t);
    }
    tide_image_free(p);
    tideL_try(L, ctx, st);
    if (h->t->dtype == TIDE_I32) tideL_send(L, h);
    return 1;
}

/* A view of a u8 tensor (h, w, 1..4) without gaps, which is pinned. */
static tide_image to_image(lua_State *L, int i, const char *where) {
    tide_tensor *t = tideL_pin(L, i, where);
    char buf[160];
    if (t->dtype != TIDE_U8 || t->rank != 3 || t->shape[2] < 1 || t->shape[2] > 4 ||
        !tide_is_contiguous(t) || tide_numel(t) == 0)
        tideL_error(L, where, "a picture is a uint8 tensor [height, width, 1 to 4] (got %s %s)",
                    tide_dtype_name(t->dtype), tide_shape_str(t->rank, t->shape, buf, sizeof buf));
    return (tide_image){.data = tide_host_view(tideL_pinhost(L, i, where)),
                        .height = t->shape[0],
                        .width = t->shape[1],
                        .channels = (int)t->shape[2]};
}

/* decode(bytes, { channels, upright, max_pixels, frames }, where, name); frames: all, with an axis
 * of their own */
static int decode(lua_State *L) {
    size_t n;
    const char *b = luaL_checklstring(L, 1, &n), *where = luaL_optstring(L, 3, "decode"),
               *name = luaL_optstring(L, 4, NULL);
    tide_image_options o = options(L, 2);
    tideL_handle *h = tideL_new(L);
    tide_image p;
    tide_image_error e = {0};
    int64_t frames = 0;
    if (tide_image_decode((const uint8_t *)b, n, &o, &p, flag(L, 2, "frames") ? &frames : NULL,
                          &e) != TIDE_OK)
        return fail_image(L, where, name, &e);
    return push_image(L, h, &p, frames);
}

/* load(path, { channels, upright, max_pixels, frames, wide }, where); wide: grey of 16 bits as
 * int32 */
static int load(lua_State *L) {
    const char *path = tideL_checkpath(L, 1), *where = luaL_optstring(L, 3, "load_img");
    tide_image_options o = options(L, 2);
    tideL_pace(L, tideL_ctx(L));
    tideL_handle *h = tideL_new(L);
    tide_image p;
    tide_image_error e = {0};
    int64_t frames = 0;
    if (tide_image_load(path, &o, &p, flag(L, 2, "frames") ? &frames : NULL, &e) != TIDE_OK)
        return fail_image(L, where, path, &e);
    return push_image(L, h, &p, frames);
}

static int format(lua_State *L) {
    size_t n;
    const char *b = luaL_checklstring(L, 1, &n);
    lua_pushstring(L, tide_image_format((const uint8_t *)b, n));
    return 1;
}

/* encode(format, picture, quality) -> bytes */
static int encode(lua_State *L) {
    const char *fmt = luaL_checkstring(L, 1);
    lua_settop(L, 3);
    tide_image p = to_image(L, 2, "save_img");
    int quality = (int)luaL_optinteger(L, 3, 75);
    uint8_t *bytes = NULL;
    size_t n = 0;
    tide_image_error e = {0};
    tide_ctx *ctx = tideL_ctx(L);
    tideL_handle *h = tideL_new(L); /* owns the bytes while Lua may raise */
    if (tide_image_encode(fmt, &p, quality, &bytes, &n, &e) != TIDE_OK)
        return fail_image(L, "save_img", NULL, &e);
    tide_status st = tide_new_host(ctx, TIDE_U8, 1, (int64_t[]){(int64_t)n}, &h->t);
    if (st == TIDE_OK) st = tide_write(ctx, h->t, bytes);
    free(bytes);
    tideL_try(L, ctx, st);
    lua_pushlstring(L, tide_host_view(h->t), n);
    return 1;
}

/* convert(picture, channels) -> picture */
static int convert(lua_State *L) {
    int channels = (int)luaL_checkinteger(L, 2);
    tide_image p = to_image(L, 1, "image"), q = p;
    tide_image_error e = {0};
    tideL_handle *h = tideL_new(L);
    size_t n = (size_t)(p.height * p.width * p.channels);
    q.data = malloc(n);
    if (!q.data) return tideL_error(L, "image", "not enough memory");
    memcpy(q.data, p.data, n);
    if (tide_image_convert(&q, channels, false, &e) != TIDE_OK) {
        tide_image_free(&q);
        return fail_image(L, "image", NULL, &e);
    }
    return push_image(L, h, &q, 0);
}

/* fit(picture, height, width, filter, keep_aspect_ratio) -> picture: Pillow's resize as load_img
 * uses it */
static int fit(lua_State *L) {
    lua_settop(L, 5);
    tide_image p, q;
    tide_tensor *t = tideL_pin(L, 1, "load_img");
    if (t->dtype == TIDE_I32 && t->rank == 3 && t->shape[2] == 1 && tide_is_contiguous(t)) {
        p = (tide_image){.height = t->shape[0], .width = t->shape[1], .channels = 1, .wide = true};
        const int32_t *from = tide_host_view(tideL_pinhost(L, 1, "load_img"));
        uint16_t *to = lua_newuserdatauv(L, (size_t)(tide_numel(t) + 1) * sizeof *to, 0);
        for (int64_t i = 0; i < tide_numel(t); i++) to[i] = (uint16_t)from[i];
        p.data = (void *)to;
    } else {
        p = to_image(L, 1, "load_img");
    }
    int64_t height = luaL_checkinteger(L, 2), width = luaL_checkinteger(L, 3);
    bool keep = lua_toboolean(L, 5);
    tide_pil_filter f = pil_filter(L, luaL_checkstring(L, 4), "load_img");
    tide_image_error e = {0};
    tide_image_options o = {0};
    tideL_handle *h = tideL_new(L);
    if (height < 1 || width < 1 ||
        tide_image_check_size((uint64_t)height, (uint64_t)width, &o, &e) != TIDE_OK)
        return tideL_error(L, "load_img", "cannot make a picture of %lld x %lld", (long long)height,
                           (long long)width);
    if (tide_image_fit(&p, height, width, f, keep, &q, &e) != TIDE_OK)
        return fail_image(L, "load_img", NULL, &e);
    return push_image(L, h, &q, 0);
}

/* A float32 tensor of rank lo..hi without gaps, on the CPU, pinned. */
static tide_tensor *floats(lua_State *L, int i, int lo, int hi, const char *where) {
    tide_tensor *t = tideL_pin(L, i, where);
    char buf[160];
    if (t->dtype != TIDE_F32 || t->rank < lo || t->rank > hi || !tide_is_contiguous(t))
        tideL_error(L, where, "needs a contiguous float32 tensor of rank %d%s (got %s %s)", lo,
                    lo == hi ? "" : " or more", tide_dtype_name(t->dtype),
                    tide_shape_str(t->rank, t->shape, buf, sizeof buf));
    return tideL_pinhost(L, i, where);
}

/* resize(x, height, width, method, antialias): float32 (n, h, w, c) -> (n, height, width, c), as
 * tf.image.resize */
static int resize(lua_State *L) {
    lua_settop(L, 5);
    tide_tensor *x = floats(L, 1, 4, 4, "resize");
    int64_t h = luaL_checkinteger(L, 2), w = luaL_checkinteger(L, 3);
    const char *name = luaL_checkstring(L, 4);
    int m = tide_tf_method_of(name);
    bool antialias = lua_toboolean(L, 5);
    if (m < 0)
        tideL_error(L, "resize",
                    "unknown method '%.40s' (expected nearest, bilinear, bicubic, area, lanczos3, "
                    "lanczos5, gaussian or mitchellcubic)",
                    name);
    if (h < 1 || w < 1 || h > INT32_MAX || w > INT32_MAX || tide_numel(x) == 0)
        return tideL_error(L, "resize", "cannot make pictures of %lld x %lld", (long long)h,
                           (long long)w);
    tide_ctx *ctx = x->ctx;
    tideL_pace(L, ctx);
    tideL_handle *y = tideL_new(L);
    tideL_try(L, ctx,
              tide_new_host(ctx, TIDE_F32, 4, (int64_t[]){x->shape[0], h, w, x->shape[3]}, &y->t));
    tide_status s =
        tide_resize_tf(tide_host_view(x), x->shape[0], x->shape[1], x->shape[2], x->shape[3], h, w,
                       (tide_tf_method)m, antialias, &tide_cancel, tide_host_view(y->t));
    if (s == TIDE_EINTERRUPT) s = tide_fail(ctx, s, "interrupted!");
    else if (s != TIDE_OK) s = tide_fail(ctx, s, "resize: not enough memory");
    tideL_try(L, ctx, s);
    tideL_send(L, y);
    return 1;
}

/* to_picture(x, scale): float32 (h, w, c) -> uint8, scaled so that the least is 0 and the largest
 * 255, or cut to 0..255 */
static int to_picture(lua_State *L) {
    bool scale = lua_toboolean(L, 2);
    tide_tensor *x = floats(L, 1, 3, 3, "array_to_img");
    tide_ctx *ctx = x->ctx;
    tideL_handle *y = tideL_new(L);
    tideL_try(L, ctx, tide_new_host(ctx, TIDE_U8, 3, x->shape, &y->t));
    const float *p = tide_host_view(x);
    uint8_t *q = tide_host_view(y->t);
    int64_t n = tide_numel(x);
    float lo = n ? p[0] : 0, hi = lo;
    for (int64_t i = 0; i < n; i++) {
        if (!isfinite(p[i]))
            return tideL_error(L, "array_to_img",
                               "value %lld is %f; a picture needs finite numbers", (long long)i + 1,
                               (double)p[i]);
        if (p[i] < lo) lo = p[i];
        if (p[i] > hi) hi = p[i];
    }
    float top = hi - lo;
    for (int64_t i = 0; i < n; i++) {
        float v = p[i];
        if (scale) {
            v -= lo;
            if (top != 0) v /= top;
            v *= 255;
        }
        q[i] = (uint8_t)(v <= 0 ? 0 : v >= 255 ? 255 : v);
    }
    tideL_send(L, y);
    return 1;
}

/* -- augmentation: the generator's fields by Keras' names -- */

static tide_shift shift(lua_State *L, int i, const char *key) {
    tide_shift s = {0};
    tideL_field(L, i, key);
    double top = -INFINITY;
    if (lua_istable(L, -1)) { /* one of the list */
        s.n = (int)lua_rawlen(L, -1);
        if (s.n > 64)
            tideL_error(L, "ImageDataGenerator", "%s lists at most 64 shifts (got %d)", key, s.n);
        for (int k = 0; k < s.n; k++) {
            lua_rawgeti(L, -1, k + 1);
            s.v[k] = lua_tonumber(L, -1);
            if (s.v[k] > top) top = s.v[k];
            lua_pop(L, 1);
        }
        s.on = s.n > 0;
    } else if (lua_isinteger(L, -1)) { /* one of 0 .. v - 1 pixels */
        lua_Integer v = lua_tointeger(L, -1);
        if (v > 64)
            tideL_error(L, "ImageDataGenerator",
                        "%s as an integer is at most 64 (got %lld); write %lld.0 for a range", key,
                        (long long)v, (long long)v);
        s.n = (int)v;
        for (int k = 0; k < s.n; k++) s.v[k] = k;
        s.on = v > 0, top = (double)v;
    } else if (lua_isnumber(L, -1)) {
        s.v[0] = top = lua_tonumber(L, -1);
        s.on = s.v[0] != 0;
    }
    s.relative = top < 1;
    lua_pop(L, 1);
    return s;
}

/* The field's numbers, one per channel, or NULL; their tensor stays pinned. */
static tide_tensor *channel_stats(lua_State *L, int i, const char *key, int64_t channels) {
    tideL_field(L, i, key);
    if (tideL_isnone(L, -1)) return NULL;
    tide_tensor *t = floats(L, -1, 0, TIDE_MAX_RANK, "standardize");
    if (tide_numel(t) != channels)
        tideL_error(L, "standardize", "%s holds %lld channels, the pictures have %lld", key,
                    (long long)tide_numel(t), (long long)channels);
    return t;
}

static tide_augment augment(lua_State *L, int i) {
    static const char *const fills[] = {"nearest", "constant", "reflect", "wrap"};
    tide_augment a = {.rotation = field(L, i, "rotation_range", 0),
                      .shear = field(L, i, "shear_range", 0),
                      .channel_shift = field(L, i, "channel_shift_range", 0),
                      .zoom = {1, 1},
                      .width_shift = shift(L, i, "width_shift_range"),
                      .height_shift = shift(L, i, "height_shift_range"),
                      .horizontal_flip = flag(L, i, "horizontal_flip"),
                      .vertical_flip = flag(L, i, "vertical_flip"),
                      .cval = field(L, i, "cval", 0),
                      .order = (int)field(L, i, "interpolation_order", 1),
                      .rescale = field(L, i, "rescale", 0),
                      .samplewise_center = flag(L, i, "samplewise_center"),
                      .samplewise_std = flag(L, i, "samplewise_std_normalization")};
    static const char *const pairs[] = {"zoom_range", "brightness_range"};
    for (int k = 0; k < 2; k++) {
        double *to = k ? a.brightness : a.zoom;
        if (tideL_field(L, i, pairs[k]) == LUA_TTABLE) {
            for (int q = 0; q < 2; q++) {
                lua_rawgeti(L, -1, q + 1);
                to[q] = lua_tonumber(L, -1);
                lua_pop(L, 1);
            }
            if (k) a.has_brightness = true;
        }
        lua_pop(L, 1);
    }
    tideL_field(L, i, "fill_mode");
    const char *name = lua_tostring(L, -1);
    for (int k = 0; name && k < 4; k++)
        if (!strcmp(name, fills[k])) a.fill = (tide_fill_mode)k;
    lua_pop(L, 1);
    return a;
}

static void set_number(lua_State *L, const char *key, double v) {
    lua_pushnumber(L, v);
    lua_setfield(L, -2, key);
}

/* draw(generator, height, width, seed) -> { theta, tx, ty, shear, zx, zy, flip_...,
 * channel_shift_intensity, brightness } */
static int draw(lua_State *L) {
    tide_augment a = augment(L, 1);
    tide_transform t;
    tide_transform_draw(&a, luaL_checkinteger(L, 2), luaL_checkinteger(L, 3),
                        (uint64_t)luaL_checkinteger(L, 4), &t);
    lua_newtable(L);
    set_number(L, "theta", t.theta), set_number(L, "tx", t.tx), set_number(L, "ty", t.ty);
    set_number(L, "shear", t.shear), set_number(L, "zx", t.zx), set_number(L, "zy", t.zy);
    lua_pushboolean(L, t.flip_horizontal), lua_setfield(L, -2, "flip_horizontal");
    lua_pushboolean(L, t.flip_vertical), lua_setfield(L, -2, "flip_vertical");
    if (t.has_channel_shift) set_number(L, "channel_shift_intensity", t.channel_shift);
    if (t.has_brightness) set_number(L, "brightness", t.brightness);
    return 1;
}

/* transform(generator, parameters, x): float32 (h, w, c) -> new */
static int transform(lua_State *L) {
    tide_augment a = augment(L, 1);
    tide_tensor *x = floats(L, 3, 3, 3, "apply_transform");
    tide_transform t = {.theta = field(L, 2, "theta", 0),
                        .tx = field(L, 2, "tx", 0),
                        .ty = field(L, 2, "ty", 0),
                        .shear = field(L, 2, "shear", 0),
                        .zx = field(L, 2, "zx", 1),
                        .zy = field(L, 2, "zy", 1),
                        .channel_shift = field(L, 2, "channel_shift_intensity", NAN),
                        .brightness = field(L, 2, "brightness", NAN),
                        .flip_horizontal = flag(L, 2, "flip_horizontal"),
                        .flip_vertical = flag(L, 2, "flip_vertical")};
    t.has_channel_shift = !isnan(t.channel_shift), t.has_brightness = !isnan(t.brightness);
    tide_ctx *ctx = x->ctx;
    tideL_pace(L, ctx);
    tideL_handle *y = tideL_new(L);
    tideL_try(L, ctx, tide_new_host(ctx, TIDE_F32, 3, x->shape, &y->t));
    tide_status st = tide_transform_apply(&a, &t, tide_host_view(x), x->shape[0], x->shape[1],
                                          x->shape[2], tide_host_view(y->t));
    if (st == TIDE_ENOMEM)
        return tideL_error(L, "apply_transform", "not enough memory to resample the picture");
    if (st != TIDE_OK)
        return tideL_error(L, "apply_transform", "brightness needs 1, 3 or 4 channels (got %lld)",
                           (long long)x->shape[2]);
    tideL_send(L, y);
    return 1;
}

/* standardize(generator, x): float32 (n, h, w, c), in place; the generator's mean and std where
 * they are given */
static int standardize(lua_State *L) {
    tide_augment a = augment(L, 1);
    tide_tensor *x = floats(L, 2, 4, 4, "standardize");
    int64_t c = x->shape[3], pixels = x->shape[1] * x->shape[2];
    tide_tensor *mean = channel_stats(L, 1, "mean", c), *std = channel_stats(L, 1, "std", c);
    a.mean = mean ? tide_host_view(mean) : NULL, a.std = std ? tide_host_view(std) : NULL;
    float *p = tide_host_view(x);
    for (int64_t i = 0; i < x->shape[0] && pixels > 0; i++)
        tide_standardize(&a, p + i * pixels * c, pixels, c);
    tide_tensor *given = tideL_checktensor(L, 2, "standardize");
    if (given->storage == x->storage) x->storage->version++;
    else tideL_try(L, x->ctx, tide_write(x->ctx, given, p));
    return 0;
}

/* permutation(n, seed, epoch) -> list of 1..n in random order */
static int permutation(lua_State *L) {
    lua_Integer n = luaL_checkinteger(L, 1);
    uint64_t s = tide_sample_seed((uint64_t)luaL_checkinteger(L, 2),
                                  (uint64_t)luaL_checkinteger(L, 3), UINT64_MAX);
    if (n < 0 || n > INT32_MAX)
        return tideL_error(L, "permutation", "n must be 0..%d (got %lld)", INT32_MAX, (long long)n);
    uint32_t *v = lua_newuserdatauv(L, (size_t)n * sizeof *v + 1, 0);
    for (lua_Integer i = 0; i < n; i++) v[i] = (uint32_t)i + 1;
    for (lua_Integer i = n - 1; i > 0; i--) { /* Fisher and Yates */
        lua_Integer j = (lua_Integer)(tide_sample_next(&s) % (uint64_t)(i + 1));
        uint32_t t = v[i];
        v[i] = v[j], v[j] = t;
    }
    lua_createtable(L, (int)n, 0);
    for (lua_Integer i = 0; i < n; i++) {
        lua_pushinteger(L, v[i]);
        lua_rawseti(L, -2, i + 1);
    }
    return 1;
}

/* sample_seed(seed, epoch, index) -> 64 bits */
static int sample_seed(lua_State *L) {
    lua_pushinteger(L,
                    (lua_Integer)tide_sample_seed((uint64_t)luaL_checkinteger(L, 1),
                                                  (uint64_t)luaL_checkinteger(L, 2),
                                                  (uint64_t)luaL_checkinteger(L, 3)));
    return 1;
}

/* -- loaders and batches -- */

#define LOADER "tide.image.loader"
#define BATCH "tide.image.batch"

typedef struct { /* shared by a loader's handle and its batches' */
    int refs;
    tide_loader *l; /* NULL: closed */
    int64_t height, width, channels, n;
    bool channels_first;
    tide_tensor *lent[3]; /* retained: mean, std, pictures */
} box;

typedef struct {
    box *b;
} loader_handle;
typedef struct {
    box *b;
    tide_batch *batch;
    tide_tensor *out; /* retained */
} batch_handle;

static void unref(box *b) {
    if (b && --b->refs == 0) free(b);
}

static int loader_gc(lua_State *L) {
    loader_handle *h = luaL_checkudata(L, 1, LOADER);
    if (!h->b) return 0;
    tide_loader_free(h->b->l);
    h->b->l = NULL;
    for (int i = 0; i < 3; i++) tide_release(h->b->lent[i]), h->b->lent[i] = NULL;
    unref(h->b);
    h->b = NULL;
    return 0;
}

static int batch_gc(lua_State *L) {
    batch_handle *h = luaL_checkudata(L, 1, BATCH);
    if (h->batch) tide_batch_free(h->b->l, h->batch);
    tide_release(h->out);
    unref(h->b);
    *h = (batch_handle){0};
    return 0;
}

/* loader(generator, { height, width, channels, channels_first, paths | data, filter,
 * keep_aspect_ratio, method, crop, pad, upright, max_pixels, workers, standardize }) */
static int loader_new(lua_State *L) {
    tide_augment a = augment(L, 1);
    luaL_checktype(L, 2, LUA_TTABLE);
    lua_settop(L, 2);
    tide_loader_config c = {.augment = &a,
                            .height = (int64_t)field(L, 2, "height", 0),
                            .width = (int64_t)field(L, 2, "width", 0),
                            .channels = (int64_t)field(L, 2, "channels", 0),
                            .channels_first = flag(L, 2, "channels_first"),
                            .keep_aspect_ratio = flag(L, 2, "keep_aspect_ratio"),
                            .workers = (int)field(L, 2, "workers", 1)};
    c.options = options(L, 2);
    loader_handle *h = lua_newuserdatauv(L, sizeof *h, 0);
    h->b = NULL;
    luaL_setmetatable(L, LOADER);
    if (!(h->b = calloc(1, sizeof *h->b))) return tideL_error(L, "loader", "not enough memory");
    *h->b = (box){.refs = 1,
                  .height = c.height,
                  .width = c.width,
                  .channels = c.channels,
                  .channels_first = c.channels_first};
    tide_tensor **lent = h->b->lent;
    a.standardize = flag(L, 2, "standardize");
    lent[0] = tide_retain(channel_stats(L, 1, "mean", c.channels));
    lent[1] = tide_retain(channel_stats(L, 1, "std", c.channels));
    a.mean = lent[0] ? tide_host_view(lent[0]) : NULL,
    a.std = lent[1] ? tide_host_view(lent[1]) : NULL;
    if (tideL_field(L, 2, "data") != LUA_TNIL) {
        lent[2] = tide_retain(floats(L, -1, 4, 4, "flow"));
        c.data = tide_host_view(lent[2]), c.n = lent[2]->shape[0];
    } else {
        tideL_field(L, 2, "filter");
        const char *filter = lua_tostring(L, -1);
        if (filter) c.filter = pil_filter(L, filter, "flow_from_directory");
        if (tideL_field(L, 2, "method") == LUA_TSTRING) { /* TensorFlow's */
            int method = tide_tf_method_of(lua_tostring(L, -1));
            if (method < 0)
                return tideL_error(L, "loader", "unknown method '%.40s'", lua_tostring(L, -1));
            c.tf = c.options.tf = true, c.method = (tide_tf_method)method;
            c.aspect = flag(L, 2, "crop") ? TIDE_ASPECT_CROP
                : flag(L, 2, "pad")       ? TIDE_ASPECT_PAD
                                          : TIDE_ASPECT_STRETCH;
        }
        c.options.wide = !c.tf && c.channels == 1;
        tideL_field(L, 2, "paths");
        luaL_checktype(L, -1, LUA_TTABLE);
        c.n = (int64_t)lua_rawlen(L, -1);
        const char **paths = lua_newuserdatauv(L, (size_t)(c.n + 1) * sizeof *paths, 0);
        for (int64_t i = 0; i < c.n; i++) { /* the list keeps the strings */
            lua_rawgeti(L, -2, i + 1);
            if (lua_type(L, -1) != LUA_TSTRING)
                return tideL_error(L, "loader", "a path is missing");
            paths[i] = tideL_checkpath(L, -1);
            lua_pop(L, 1);
        }
        c.paths = paths;
    }
    h->b->n = c.n;
    if (tide_loader_new(&c, &h->b->l) != TIDE_OK)
        return tideL_error(L, "loader", "not enough memory or threads for the workers");
    lua_pushvalue(L, 3);
    return 1;
}

static void need_workers(lua_State *L, const box *b) {
    if (!tide_loader_ours(b->l))
        tideL_error(L, "loader",
                    "its workers belong to the process that this one was forked from; make the "
                    "iterator anew here");
}

/* loader:submit(indices, seed, epoch) -> batch. Indices count from 1. */
static int loader_submit(lua_State *L) {
    loader_handle *h = luaL_checkudata(L, 1, LOADER);
    luaL_checktype(L, 2, LUA_TTABLE);
    uint64_t seed = (uint64_t)luaL_checkinteger(L, 3), epoch = (uint64_t)luaL_checkinteger(L, 4);
    int64_t n = (int64_t)lua_rawlen(L, 2);
    tide_ctx *ctx = tideL_ctx(L);
    tideL_pace(L, ctx);
    int64_t *index = lua_newuserdatauv(L, (size_t)(n + 1) * sizeof *index, 0);
    uint64_t *seeds = lua_newuserdatauv(L, (size_t)(n + 1) * sizeof *seeds, 0);
    batch_handle *k = lua_newuserdatauv(L, sizeof *k, 0);
    *k = (batch_handle){0};
    luaL_setmetatable(L, BATCH);
    box *b = h->b; /* read behind the last allocation: a finalizer may have closed the loader */
    if (!b || !b->l) return tideL_error(L, "loader", "was closed");
    need_workers(L, b);
    for (int64_t i = 0; i < n; i++) {
        lua_rawgeti(L, 2, i + 1);
        index[i] = lua_tointeger(L, -1) - 1;
        lua_pop(L, 1);
        if (index[i] < 0 || index[i] >= b->n)
            return tideL_error(L, "loader", "no sample %lld (of %lld)", (long long)index[i] + 1,
                               (long long)b->n);
        seeds[i] = tide_sample_seed(seed, epoch, (uint64_t)index[i]);
    }
    int64_t first[4] = {n, b->channels, b->height, b->width},
            last[4] = {n, b->height, b->width, b->channels};
    tideL_try(L, ctx, tide_new_host(ctx, TIDE_F32, 4, b->channels_first ? first : last, &k->out));
    k->b = b, b->refs++;
    if (!(k->batch = tide_loader_submit(b->l, n, index, seeds, tide_host_view(k->out))))
        return tideL_error(L, "loader", "not enough memory");
    return 1;
}

static int loader_close(lua_State *L) { return loader_gc(L); }

/* batch:wait() -> tensor, list of { position, message } of samples that failed (or nil) */
static int batch_wait(lua_State *L) {
    batch_handle *h = luaL_checkudata(L, 1, BATCH);
    if (!h->batch) return tideL_error(L, "batch", "was taken already");
    if (!h->b->l) return tideL_error(L, "batch", "its loader was closed");
    need_workers(L, h->b);
    if (!tide_batch_wait(h->b->l, h->batch, &tide_cancel)) {
        tide_ctx *ctx = tideL_ctx(L);
        return tideL_raise(L, ctx, tide_go_on(ctx));
    }
    tideL_handle *t = tideL_new(L);
    int64_t n = h->out->shape[0], bad = 0;
    for (int64_t i = 0; i < n; i++) {
        const tide_image_error *e = tide_batch_error(h->batch, i);
        if (!e) continue;
        if (bad == 0) lua_newtable(L);
        lua_createtable(L, 2, 0);
        lua_pushinteger(L, i + 1), lua_rawseti(L, -2, 1);
        lua_pushstring(L, e->text), lua_rawseti(L, -2, 2);
        lua_rawseti(L, -2, ++bad);
    }
    if (bad == 0) lua_pushnil(L);
    tide_batch_free(h->b->l, h->batch);
    h->batch = NULL;
    t->t = h->out, h->out = NULL;
    tideL_send(L, t);
    return 2;
}

static int batch_ready(lua_State *L) {
    batch_handle *h = luaL_checkudata(L, 1, BATCH);
    lua_pushboolean(L, !h->batch || !h->b->l || tide_batch_ready(h->b->l, h->batch));
    return 1;
}

static void class(lua_State *L, const char *name, lua_CFunction gc, const luaL_Reg *methods) {
    luaL_newmetatable(L, name);
    lua_pushcfunction(L, gc), lua_setfield(L, -2, "__gc");
    lua_pushcfunction(L, gc), lua_setfield(L, -2, "__close");
    lua_newtable(L);
    luaL_setfuncs(L, methods, 0);
    lua_setfield(L, -2, "__index");
    lua_pop(L, 1);
}

void tideL_open_image(lua_State *L) {
    static const luaL_Reg functions[] = {
        {"decode", decode},
        {"load", load},
        {"format", format},
        {"encode", encode},
        {"convert", convert},
        {"fit", fit},
        {"resize", resize},
        {"draw", draw},
        {"transform", transform},
        {"standardize", standardize},
        {"permutation", permutation},
        {"sample_seed", sample_seed},
        {"to_picture", to_picture},
        {"loader", loader_new},
        {NULL, NULL},
    };
    static const luaL_Reg of_loader[] = {
        {"submit", loader_submit}, {"close", loader_close}, {NULL, NULL}};
    static const luaL_Reg of_batch[] = {{"wait", batch_wait}, {"ready", batch_ready}, {NULL, NULL}};
    class(L, LOADER, loader_gc, of_loader);
    class(L, BATCH, batch_gc, of_batch);
    luaL_newlib(L, functions);
    lua_setfield(L, -2, "image");
}
