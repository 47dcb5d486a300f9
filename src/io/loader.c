/* Owns the pictures of batches that workers make (workers.h).
 *
 * Invariant: a sample's pixels and error belong to the worker that took it until the batch was
 * waited for. */
#include "loader.h"

#include "workers.h"

#include <stdlib.h>
#include <string.h>

struct tide_batch {
    tide_loader *of;
    tide_task *task;
    int64_t *index;
    uint64_t *seed;
    float *out;
    tide_image_error *errors; /* [n], TIDE_OK where all went well */
};

struct tide_loader {
    tide_loader_config c;
    tide_augment augment;
    char **paths;
    tide_workers *workers;
    float **room; /* [workers], two pictures each; made when a worker needs its own */
};

static void to_floats(const tide_image *p, int64_t n, float *restrict y) {
    const uint16_t *wide = (const void *)p->data;
    const uint8_t *bytes = p->data;
    if (p->wide)
        for (int64_t i = 0; i < n; i++) y[i] = wide[i];
    else {
#pragma omp simd
        for (int64_t i = 0; i < n; i++) y[i] = bytes[i];
    }
}

/* One picture, decoded, resized, transformed and standardized into y. `room` holds two pictures. */
static tide_status make(const tide_loader *l, int64_t at, uint64_t seed, float *room, float *y,
                        tide_image_error *e) {
    const tide_loader_config *c = &l->c;
    int64_t pixels = c->height * c->width, n = pixels * c->channels;
    const float *x = room;
    if (c->data) {
        x = c->data + at * n;
    } else {
        tide_image p = {0}, q = {0};
        tide_status st = tide_image_load(l->paths[at], &c->options, &p, NULL, e);
        if (st != TIDE_OK) return st;
        if (c->tf) {
            st = tide_image_fit_tf(&p, c->height, c->width, c->method, c->aspect, room);
            tide_image_free(&p);
            if (st != TIDE_OK)
                return tide_image_fail(e, st, "not enough memory to resize the picture");
        } else if (p.height != c->height || p.width != c->width) {
            st = tide_image_fit(&p, c->height, c->width, c->filter, c->keep_aspect_ratio, &q, e);
            tide_image_free(&p);
            if (st != TIDE_OK) return st;
            p = q;
        }
        if (p.data) to_floats(&p, n, room);
        tide_image_free(&p);
    }
    float *to = c->channels_first ? room + n : y;
    tide_transform t;
    tide_transform_draw(&l->augment, c->height, c->width, seed, &t);
    tide_status st = tide_transform_apply(&l->augment, &t, x, c->height, c->width, c->channels, to);
    if (st == TIDE_ENOMEM)
        return tide_image_fail(e, st, "not enough memory to resample the picture");
    if (st != TIDE_OK)
        return tide_image_fail(e, st, "brightness needs 1, 3 or 4 channels (got %lld)",
                               (long long)c->channels);
    if (l->augment.standardize) tide_standardize(&l->augment, to, pixels, c->channels);
    if (c->channels_first)
        for (int64_t k = 0; k < c->channels; k++)
            for (int64_t i = 0; i < pixels; i++) y[k * pixels + i] = to[i * c->channels + k];
    return TIDE_OK;
}

static void sample(void *batch, int64_t i, int worker) {
    tide_batch *b = batch;
    tide_loader *l = b->of;
    int64_t n = l->c.height * l->c.width * l->c.channels;
    float **room = &l->room[worker];
    if (!*room) *room = malloc((size_t)n * 2 * sizeof **room);
    tide_image_error *e = &b->errors[i];
    tide_status st = *room ? make(l, b->index[i], b->seed[i], *room, b->out + i * n, e)
                           : tide_image_fail(e, TIDE_ENOMEM, "not enough memory for the worker");
    e->status = st;
    if (st != TIDE_OK) memset(b->out + i * n, 0, (size_t)n * sizeof *b->out);
}

tide_status tide_loader_new(const tide_loader_config *c, tide_loader **out) {
    tide_loader *l = calloc(1, sizeof *l);
    if (!l) return TIDE_ENOMEM;
    l->c = *c, l->augment = *c->augment;
    l->c.paths = NULL, l->c.augment = &l->augment;
    l->room = calloc((size_t)c->workers, sizeof *l->room);
    if (!l->room) goto fail;
    if (!c->data) {
        if (!(l->paths = calloc((size_t)c->n + 1, sizeof *l->paths))) goto fail;
        for (int64_t i = 0; i < c->n; i++)
            if (!(l->paths[i] = strdup(c->paths[i]))) goto fail;
    }
    if (!(l->workers = tide_workers_new(c->workers))) goto fail;
    *out = l;
    return TIDE_OK;
fail:
    tide_loader_free(l);
    return TIDE_ENOMEM;
}

bool tide_loader_ours(const tide_loader *l) { return tide_workers_ours(l->workers); }

void tide_loader_free(tide_loader *l) {
    if (!l) return;
    tide_workers_free(l->workers);
    for (int i = 0; l->room && i < l->c.workers; i++) free(l->room[i]);
    for (int64_t i = 0; l->paths && i < l->c.n; i++) free(l->paths[i]);
    free(l->room), free(l->paths), free(l);
}

static void drop(tide_batch *b) { free(b->index), free(b->seed), free(b->errors), free(b); }

tide_batch *tide_loader_submit(tide_loader *l, int64_t n, const int64_t *index,
                               const uint64_t *seed, float *out) {
    tide_batch *b = calloc(1, sizeof *b);
    if (!b) return NULL;
    b->of = l, b->out = out;
    b->index = malloc((size_t)n * sizeof *b->index + 1);
    b->seed = malloc((size_t)n * sizeof *b->seed + 1);
    b->errors = calloc((size_t)n + 1, sizeof *b->errors);
    if (b->index && b->seed && b->errors) {
        memcpy(b->index, index, (size_t)n * sizeof *index);
        memcpy(b->seed, seed, (size_t)n * sizeof *seed);
        b->task = tide_task_new(l->workers, n, sample, b);
    }
    if (b->task) return b;
    drop(b);
    return NULL;
}

bool tide_batch_ready(tide_loader *l, const tide_batch *b) {
    return tide_task_ready(l->workers, b->task);
}

bool tide_batch_wait(tide_loader *l, tide_batch *b, const volatile int *stop) {
    return tide_task_wait(l->workers, b->task, stop);
}

const tide_image_error *tide_batch_error(const tide_batch *b, int64_t i) {
    return b->errors[i].status == TIDE_OK ? NULL : &b->errors[i];
}

void tide_batch_free(tide_loader *l, tide_batch *b) {
    if (!b) return;
    tide_task_free(l ? l->workers : NULL, b->task);
    drop(b);
}
