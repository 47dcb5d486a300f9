/* core.sound: sound files and sampling rates. Arguments come checked from lua/tide/audio.lua.
 *
 * Invariant: between opening a sound and closing it Lua is not called. */
#include "../io/sound.h"
#include "../io/io.h"
#include "../io/workers.h"
#include "bind.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The path or the bytes at 1, by the flag at 2; `what` gets "where: path". Raises where no file can
 * be opened. */
static tide_sound_source source(lua_State *L, const char *where, char *what, size_t room) {
    tide_sound_source s = {.ctx = tideL_ctx(L), .what = what, .fd = -1};
    if (lua_toboolean(L, 2)) {
        size_t n;
        s.memory = (const uint8_t *)luaL_checklstring(L, 1, &n);
        s.size = (int64_t)n;
        snprintf(what, room, "%s", where);
        return s;
    }
    const char *path = tideL_checkpath(L, 1);
    snprintf(what, room, "%s: %s", where, path);
    const char *why;
    if ((s.fd = tide_open_regular(path, &s.size, &why)) < 0)
        tideL_error(L, where, "%s: cannot open: %s", path, why);
    return s;
}

static void finish(const tide_sound_source *s, tide_sound *w) {
    tide_sound_close(w);
    if (s->fd >= 0) close(s->fd);
}

enum { WHAT = 512 };

/* info(path or bytes, is_bytes, where) -> { format, encoding, sample_rate, channels, samples,
 * duration } */
static int info(lua_State *L) {
    const char *where = luaL_checkstring(L, 3);
    char what[WHAT];
    lua_createtable(L, 0, 8);
    tide_sound_source s = source(L, where, what, sizeof what);
    tide_sound w = {0};
    tide_status st = tide_sound_open(&s, &w);
    finish(&s, &w);
    tideL_try(L, s.ctx, st);
    const tide_encoding_facts *f = tide_encoding_of(w.encoding);
    lua_pushstring(L, w.format), lua_setfield(L, -2, "format");
    lua_pushstring(L, f->name), lua_setfield(L, -2, "encoding");
    lua_pushinteger(L, w.rate), lua_setfield(L, -2, "sample_rate");
    lua_pushinteger(L, w.channels), lua_setfield(L, -2, "channels");
    lua_pushinteger(L, w.frames), lua_setfield(L, -2, "samples");
    lua_pushnumber(L, (double)w.frames / (double)w.rate), lua_setfield(L, -2, "duration");
    if (f->bits) lua_pushinteger(L, f->bits), lua_setfield(L, -2, "bits");
    return 1;
}

/* A count of frames from one of seconds; `all` where it is more than there can be. */
static int64_t frames_of(double seconds, int64_t rate, int64_t all) {
    const double n = round(seconds * (double)rate);
    return n < (double)all ? (int64_t)n : all;
}

/* load(path or bytes, is_bytes, where, dtype, offset, duration or nil) -> tensor (samples,
 * channels), rate; offset and duration in seconds */
static int load(lua_State *L) {
    const char *where = luaL_checkstring(L, 3);
    const int dtype = tideL_todtype(L, 4, where);
    const double offset = luaL_optnumber(L, 5, 0), duration = luaL_optnumber(L, 6, -1);
    char what[WHAT];
    tideL_pace(L, tideL_ctx(L));
    tideL_handle *h = tideL_new(L);
    tide_sound_source s = source(L, where, what, sizeof what);
    tide_sound w = {0};
    tide_status st = tide_sound_open(&s, &w);
    if (st == TIDE_OK) {
        const int64_t first = frames_of(offset, w.rate, INT64_MAX);
        const int64_t n = duration >= 0 ? frames_of(duration, w.rate, INT64_MAX) : -1;
        st = tide_sound_read(&s, &w, first, n, (tide_dtype)dtype, &h->t);
    }
    finish(&s, &w);
    tideL_try(L, s.ctx, st);
    tideL_send(L, h);
    lua_pushinteger(L, w.rate);
    return 2;
}

/* A tensor of samples (frames, channels): contiguous, on the CPU, f32, f64 or i32. */
static tide_tensor *samples(lua_State *L, int i, const char *where) {
    tide_tensor *t = tideL_pinhost(L, i, where);
    if (t->rank != 2 || (t->dtype != TIDE_F32 && t->dtype != TIDE_F64 && t->dtype != TIDE_I32))
        tideL_error(L, where, "x must be float32, float64 or int32 of two axes (got %s)",
                    tide_dtype_name(t->dtype));
    return t;
}

/* encode(tensor, where, format, encoding, rate, path or nil) -> bytes, or nothing: the file is
 * written */
static int encode(lua_State *L) {
    const char *where = luaL_checkstring(L, 2), *format = luaL_checkstring(L, 3);
    const tide_encoding e = tide_encoding_named(luaL_checkstring(L, 4));
    const int64_t rate = luaL_checkinteger(L, 5);
    const char *path = lua_isnoneornil(L, 6) ? NULL : tideL_checkpath(L, 6);
    char what[WHAT];
    if (e == TIDE_SOUND_other)
        return tideL_error(L, where, "encoding %s is not known", lua_tostring(L, 4));
    snprintf(what, sizeof what, "%s%s%s", where, path ? ": " : "", path ? path : "");
    tide_ctx *ctx = tideL_ctx(L);
    tideL_box *box = tideL_newbox(L, free);
    const tide_tensor *x = samples(L, 1, where);
    char *data = NULL;
    size_t n = 0;
    tideL_try(L, ctx, tide_sound_write(ctx, what, format, e, rate, x, &data, &n));
    box->p = data;
    if (!path) {
        lua_pushlstring(L, data, n);
        return 1;
    }
    tideL_try(L, ctx, tide_file_replace(ctx, path, data, n));
    return 0;
}

/* resample(tensor, where, from, to, quality) -> tensor */
static int resample(lua_State *L) {
    const char *where = luaL_checkstring(L, 2);
    const int64_t from = luaL_checkinteger(L, 3), to = luaL_checkinteger(L, 4);
    const int quality = (int)luaL_checkinteger(L, 5);
    tide_ctx *ctx = tideL_ctx(L);
    tideL_pace(L, ctx);
    tideL_handle *h = tideL_new(L);
    const int at = lua_gettop(L);
    const tide_tensor *x = samples(L, 1, where);
    if (x->dtype != TIDE_F32) return tideL_error(L, where, "x must be float32");
    tideL_try(L, ctx, tide_sound_resample(ctx, where, x, from, to, quality, &h->t));
    tideL_send(L, h);
    lua_pushvalue(L, at);
    return 1;
}

/* -- files that workers read ahead -- */

typedef struct {
    tideL_workers *workers;
    tide_task *task;
    int quit;
    tide_ctx *ctx; /* its own: a message of a worker's stays there */
    char *path;
    int64_t length, rate, frames, channels;
    int quality;
    float *data;
    tide_status st;
} job;

static void read_job(void *user, int64_t i, int worker) {
    job *b = user;
    const char *why;
    tide_sound_source s = {.ctx = b->ctx, .what = b->path, .quit = &b->quit};
    tide_sound w = {0};
    (void)i, (void)worker;
    if ((s.fd = tide_open_regular(b->path, &s.size, &why)) < 0) {
        b->st = tide_fail(b->ctx, TIDE_EIO, "%s: cannot open: %s", b->path, why);
        return;
    }
    b->st = tide_sound_open(&s, &w);
    b->channels = w.channels;
    if (b->st == TIDE_OK)
        b->st = tide_sound_floats(&s, &w, b->length, b->rate, b->quality, &b->data, &b->frames);
    finish(&s, &w);
}

static void settle(job *b) {
    tide_task_free(tideL_workers_of(b->workers), b->task);
    b->task = NULL;
    tideL_workers_release(b->workers);
    b->workers = NULL;
}

static void drop_job(void *p) {
    job *b = p;
    tide_workers *w = tideL_workers_of(b->workers);
    if (b->task && w && !tide_workers_ours(w)) return; /* a forked child: half done, perhaps */
    __atomic_store_n(&b->quit, 1, __ATOMIC_RELAXED);
    settle(b);
    tide_ctx_free(b->ctx);
    free(b->data), free(b->path), free(b);
}

/* begin(workers, path, length or nil, rate or nil, quality) -> handle: the file's samples as
 * float32, `length` of them as stored, at another rate */
static int begin(lua_State *L) {
    tideL_workers *w = tideL_toworkers(L, 1);
    const char *path = tideL_checkpath(L, 2);
    if (!w || !tideL_workers_of(w) || !tide_workers_ours(tideL_workers_of(w)))
        return tideL_error(L, "sounds", "the workers are closed");
    tideL_box *box = tideL_newbox(L, drop_job);
    job *b = calloc(1, sizeof *b);
    if (!b) return tideL_error(L, "sounds", "not enough memory");
    box->p = b;
    b->length = luaL_optinteger(L, 3, -1), b->rate = luaL_optinteger(L, 4, 0);
    b->quality = (int)luaL_checkinteger(L, 5);
    b->ctx = tide_ctx_new(), b->path = strdup(path);
    if (!b->ctx || !b->path) return tideL_error(L, "sounds", "not enough memory");
    b->workers = tideL_workers_retain(w);
    if (!(b->task = tide_task_new(tideL_workers_of(w), 1, read_job, b)))
        return tideL_error(L, "sounds", "not enough memory");
    return 1;
}

/* finish(handle) -> tensor (samples, channels), or nil and why there is none */
static int finish_job(lua_State *L) {
    job *b = tideL_unbox(L, 1, drop_job);
    tide_ctx *ctx = tideL_ctx(L);
    if (!b || !b->workers) return tideL_error(L, "sounds", "was taken already");
    tide_workers *w = tideL_workers_of(b->workers);
    if (!w || !tide_workers_ours(w))
        return tideL_error(L, "sounds", "its workers are closed; begin a new pass");
    if (!tide_task_wait(w, b->task, &tide_cancel)) return tideL_raise(L, ctx, tide_go_on(ctx));
    /* a Ctrl-C that others have heard may have stopped it */
    while (b->st == TIDE_EINTERRUPT) {
        const tide_status st = tide_go_on(ctx);
        if (st != TIDE_OK) return tideL_raise(L, ctx, st);
        read_job(b, 0, 0);
    }
    settle(b);
    if (b->st != TIDE_OK) {
        lua_pushnil(L);
        lua_pushstring(L, tide_message(b->ctx));
        return 2;
    }
    tideL_pace(L, ctx);
    tideL_handle *h = tideL_new(L);
    const int64_t shape[2] = {b->frames, b->channels};
    tideL_try(L, ctx, tide_new_host(ctx, TIDE_F32, 2, shape, &h->t));
    memcpy(tide_host_view(h->t), b->data, (size_t)(b->frames * b->channels) * sizeof *b->data);
    free(b->data);
    b->data = NULL;
    tideL_send(L, h);
    return 1;
}

/* forget(handle): tells a worker that has it in hand to stop, and waits for that */
static int forget_job(lua_State *L) {
    job *b = tideL_unbox(L, 1, drop_job);
    if (b) {
        ((tideL_box *)lua_touserdata(L, 1))->p = NULL;
        drop_job(b);
    }
    return 0;
}

/* libraries() -> what libsndfile and libsamplerate say of themselves, or why they do not run */
static int libraries(lua_State *L) {
    lua_pushstring(L, tide_sndfile_info());
    lua_pushstring(L, tide_samplerate_info());
    return 2;
}

void tideL_open_sound(lua_State *L) {
    static const luaL_Reg functions[] = {
        {"info", info},         {"load", load},           {"encode", encode},
        {"resample", resample}, {"libraries", libraries}, {"begin", begin},
        {"finish", finish_job}, {"forget", forget_job},   {NULL, NULL}};
    luaL_newlib(L, functions);
    lua_setfield(L, -2, "sound");
}
