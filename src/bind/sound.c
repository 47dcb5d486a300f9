/* core.sound: sound files and sampling rates. Arguments come checked from lua/tide/audio.lua.
 *
 * Invariant: between opening a sound and closing it Lua is not called. */
#include "../io/sound.h"
#include "../io/io.h"
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

/* load(path or bytes, is_bytes, where, dtype, offset, duration or nil, samples or nil) -> tensor
 * (samples, channels), rate; offset and duration in seconds */
static int load(lua_State *L) {
    const char *where = luaL_checkstring(L, 3);
    const int dtype = tideL_todtype(L, 4, where);
    const double offset = luaL_optnumber(L, 5, 0), duration = luaL_optnumber(L, 6, -1);
    const int64_t samples = luaL_optinteger(L, 7, -1);
    char what[WHAT];
    tideL_pace(L, tideL_ctx(L));
    tideL_handle *h = tideL_new(L);
    tide_sound_source s = source(L, where, what, sizeof what);
    tide_sound w = {0};
    tide_status st = tide_sound_open(&s, &w);
    if (st == TIDE_OK) {
        const int64_t first = frames_of(offset, w.rate, INT64_MAX);
        int64_t n = duration >= 0 ? frames_of(duration, w.rate, INT64_MAX) : samples;
        if (duration >= 0 && samples >= 0 && samples < n) n = samples;
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

/* libraries() -> what libsndfile and libsamplerate say of themselves, or why they do not run */
static int libraries(lua_State *L) {
    lua_pushstring(L, tide_sndfile_info());
    lua_pushstring(L, tide_samplerate_info());
    return 2;
}

void tideL_open_sound(lua_State *L) {
    static const luaL_Reg functions[] = {{"info", info},           {"load", load},
                                         {"encode", encode},       {"resample", resample},
                                         {"libraries", libraries}, {NULL, NULL}};
    luaL_newlib(L, functions);
    lua_setfield(L, -2, "sound");
}
