/* Owns JSON as a tree, for what is small of a tokenizer.json, and the reading of values out of it
 * by name with messages that say where. */
#include "tree.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CHUNK ((size_t)32 << 10)
#define MOST_VALUES 2000000

struct tide_chunk {
    tide_chunk *before;
    size_t n, room;
    _Alignas(16) char p[];
};

void *tide_arena_take(tide_arena *a, size_t n) {
    n = (n + 15) & ~(size_t)15;
    if (!a->last || a->last->room - a->last->n < n) {
        const size_t room = n > CHUNK ? n : CHUNK;
        tide_chunk *c = malloc(sizeof *c + room);
        if (!c) return NULL;
        *c = (tide_chunk){.before = a->last, .room = room};
        a->last = c;
    }
    void *p = a->last->p + a->last->n;
    a->last->n += n;
    return memset(p, 0, n);
}

char *tide_arena_copy(tide_arena *a, const char *s, size_t n) {
    char *p = tide_arena_take(a, n + 1);
    if (p && n) memcpy(p, s, n);
    return p;
}

void tide_arena_free(tide_arena *a) {
    while (a->last) {
        tide_chunk *c = a->last;
        a->last = c->before;
        free(c);
    }
}

/* -- reading -- */

typedef struct {
    tide_json j;
    tide_source *src;
    int64_t values;
} walk;

static char *text_of(walk *w) {
    char *s = tide_arena_take(&w->src->arena, w->j.length + 1);
    if (!s) {
        w->j.status = tide_fail(w->j.ctx, TIDE_ENOMEM, "%s: not enough memory", w->j.what);
        return NULL;
    }
    s[tide_json_text(&w->j, s)] = 0;
    return s;
}

/* The text up to the end of the list or object that has begun is passed. */
static tide_json_kind pass(walk *w) {
    tide_json_kind k;
    for (int depth = 1; depth > 0;) {
        k = tide_json_next(&w->j);
        if (k == TIDE_JSON_ERROR) return k;
        if (k == TIDE_JSON_OBJECT || k == TIDE_JSON_ARRAY) depth++;
        if (k == TIDE_JSON_END) depth--;
    }
    return TIDE_JSON_END;
}

static tide_tree *value(walk *w, tide_json_kind kind, const char *key, bool closed) {
    tide_tree *t = tide_arena_take(&w->src->arena, sizeof *t), **at;
    if (!t || ++w->values > MOST_VALUES) {
        w->j.status = t ? tide_fail(w->j.ctx, TIDE_EIO, "%s: holds more values than the %d allowed",
                                    w->j.what, MOST_VALUES)
                        : tide_fail(w->j.ctx, TIDE_ENOMEM, "%s: not enough memory", w->j.what);
        return NULL;
    }
    t->kind = kind, t->key = key, t->closed = closed, at = &t->child;
    switch (kind) {
    case TIDE_JSON_STRING:
        t->n = 0;
        t->raw = w->j.string - 1, t->raw_n = w->j.length + 2;
        if (!(t->s = text_of(w))) return NULL;
        t->n = strlen(t->s);
        return t;
    case TIDE_JSON_OBJECT:
    case TIDE_JSON_ARRAY:
        t->raw = w->j.at - 1;
        if (closed && pass(w) != TIDE_JSON_END) return NULL;
        while (!closed) {
            tide_json_kind k = tide_json_next(&w->j);
            const char *name = NULL;
            bool inside = false;
            if (k == TIDE_JSON_END) break;
            if (k == TIDE_JSON_KEY) {
                if (!(name = text_of(w))) return NULL;
                inside = key && !strcmp(key, "model") &&
                    (!strcmp(name, "vocab") || !strcmp(name, "merges"));
                k = tide_json_next(&w->j);
            }
            if (k == TIDE_JSON_ERROR) return NULL;
            tide_tree *c =
                value(w, k, name, inside && (k == TIDE_JSON_OBJECT || k == TIDE_JSON_ARRAY));
            if (!c) return NULL;
            *at = c, at = &c->next;
        }
        t->raw_n = (size_t)(w->j.at - t->raw);
        return t;
    case TIDE_JSON_INTEGER: t->integer = w->j.integer, t->real = (double)t->integer; return t;
    case TIDE_JSON_REAL: t->real = w->j.real; return t;
    case TIDE_JSON_TRUE:
    case TIDE_JSON_FALSE:
    case TIDE_JSON_NULL: return t;
    default: return NULL;
    }
}

tide_status tide_source_open(tide_source *src, tide_ctx *ctx, const char *what, const char *text,
                             size_t n) {
    *src = (tide_source){.ctx = ctx, .what = what};
    walk w = {.src = src};
    if (n > TIDE_TOKENIZER_BYTES)
        return tide_json_begin(&w.j, ctx, what, text, n, TIDE_TOKENIZER_BYTES);
    src->text = malloc(n + 1);
    if (!src->text) return tide_fail(ctx, TIDE_ENOMEM, "%s: not enough memory", what);
    memcpy(src->text, text, n);
    src->text[n] = 0;
    TIDE_TRY(tide_json_begin(&w.j, ctx, what, src->text, n, TIDE_TOKENIZER_BYTES));
    src->root = value(&w, tide_json_next(&w.j), NULL, false);
    if (src->root) tide_json_next(&w.j); /* the end, or an error */
    if (w.j.status != TIDE_OK) return w.j.status;
    if (!src->root || src->root->kind != TIDE_JSON_OBJECT)
        return tide_fail(ctx, TIDE_EIO, "%s: a tokenizer must be a JSON object", what);
    return TIDE_OK;
}

void tide_source_close(tide_source *src) {
    free(src->text);
    tide_arena_free(&src->arena);
    src->text = NULL;
}

/* -- values by name -- */

bool tide_wrong(tide_reading *r, const char *fmt, ...) {
    if (r->status != TIDE_OK) return false;
    char why[400];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(why, sizeof why, fmt, ap);
    va_end(ap);
    r->status = tide_fail(r->src->ctx, TIDE_EIO, "%s: %s", r->src->what, why);
    return false;
}

bool tide_short(tide_reading *r) {
    if (r->status == TIDE_OK)
        r->status = tide_fail(r->src->ctx, TIDE_ENOMEM, "%s: not enough memory", r->src->what);
    return false;
}

const char *tide_tree_what(const tide_tree *t) {
    switch (t->kind) {
    case TIDE_JSON_OBJECT: return "an object";
    case TIDE_JSON_ARRAY: return "a list";
    case TIDE_JSON_STRING: return "a string";
    case TIDE_JSON_INTEGER:
    case TIDE_JSON_REAL: return "a number";
    case TIDE_JSON_TRUE: return "true";
    case TIDE_JSON_FALSE: return "false";
    default: return "null";
    }
}

const tide_tree *tide_at(const tide_tree *object, const char *key) {
    if (!object || object->kind != TIDE_JSON_OBJECT) return NULL;
    for (const tide_tree *t = object->child; t; t = t->next)
        if (!strcmp(t->key, key)) return t->kind == TIDE_JSON_NULL ? NULL : t;
    return NULL;
}

static const tide_tree *of_kind(tide_reading *r, const tide_tree *o, const char *path,
                                const char *key, tide_json_kind kind, const char *expected) {
    const tide_tree *t = tide_at(o, key);
    if (t && t->kind != kind)
        return tide_wrong(r, "%s.%s must be %s (got %s)", path, key, expected, tide_tree_what(t)),
               NULL;
    return t;
}

bool tide_at_bool(tide_reading *r, const tide_tree *o, const char *path, const char *key,
                  bool def) {
    const tide_tree *t = tide_at(o, key);
    if (!t) return def;
    if (t->kind != TIDE_JSON_TRUE && t->kind != TIDE_JSON_FALSE)
        tide_wrong(r, "%s.%s must be true or false (got %s)", path, key, tide_tree_what(t));
    return t->kind == TIDE_JSON_TRUE;
}

int64_t tide_at_int(tide_reading *r, const tide_tree *o, const char *path, const char *key,
                    int64_t least, int64_t most, int64_t def) {
    const tide_tree *t = of_kind(r, o, path, key, TIDE_JSON_INTEGER, "a whole number");
    if (!t) return def;
    if (t->integer < least || t->integer > most) {
        tide_wrong(r, "%s.%s must be from %lld to %lld (got %lld)", path, key, (long long)least,
                   (long long)most, (long long)t->integer);
        return def;
    }
    return t->integer;
}

const char *tide_at_string(tide_reading *r, const tide_tree *o, const char *path, const char *key,
                           const char *def, size_t *n) {
    const tide_tree *t = of_kind(r, o, path, key, TIDE_JSON_STRING, "a string");
    if (n) *n = t ? t->n : def ? strlen(def) : 0;
    return t ? t->s : def;
}

int tide_at_enum(tide_reading *r, const tide_tree *o, const char *path, const char *key,
                 const char *names, int def) {
    const tide_tree *t = of_kind(r, o, path, key, TIDE_JSON_STRING, "a string");
    if (!t) return def;
    int i = 0;
    for (const char *p = names; *p; i++) {
        const size_t n = strcspn(p, "|");
        if (n == t->n && !memcmp(p, t->s, n)) return i;
        p += n + (p[n] == '|');
    }
    tide_wrong(r, "%s.%s must be one of %s (got '%.40s')", path, key, names, t->s);
    return def;
}

const tide_tree *tide_at_list(tide_reading *r, const tide_tree *o, const char *path,
                              const char *key) {
    return of_kind(r, o, path, key, TIDE_JSON_ARRAY, "a list");
}

const tide_tree *tide_at_object(tide_reading *r, const tide_tree *o, const char *path,
                                const char *key) {
    return of_kind(r, o, path, key, TIDE_JSON_OBJECT, "an object");
}
