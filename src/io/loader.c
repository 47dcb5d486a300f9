/* Owns the worker threads and the queue of batches.
 *
 * Invariant: all fields of batches that both sides touch (`next`, `left`, the queue's links) are
 * read and written under `lock`; a sample's pixels and error belong to the worker that took it
 * until it counted `left` down. Signals are blocked in workers, so that Ctrl-C always arrives at
 * the thread that runs Lua. A forked child has no workers, and locks that they may have held: it
 * takes no lock, waits for nobody and hands out nothing. */
#include "loader.h"

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct tide_batch {
    struct tide_batch *after;
    int64_t n, next, left; /* samples; the first that nobody took; those not finished */
    int64_t *index;
    uint64_t *seed;
    float *out;
    tide_image_error *errors; /* [n], TIDE_OK where all went well */
};

struct tide_loader {
    tide_loader_config c;
    tide_augment augment;
    char **paths;
    pthread_mutex_t lock;
    pthread_cond_t work, done;
    pthread_t *threads;
    int started;
    pid_t process; /* whose threads they are */
    bool stop;
    tide_batch *first, *last; /* with samples that nobody took */
};

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
        const uint16_t *wide = p.wide ? (const void *)p.data : NULL;
        for (int64_t i = 0; i < n && p.data; i++) room[i] = wide ? wide[i] : p.data[i];
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

static void *work(void *arg) {
    tide_loader *l = arg;
    int64_t n = l->c.height * l->c.width * l->c.channels;
    float *room = malloc((size_t)n * 2 * sizeof *room);
    pthread_mutex_lock(&l->lock);
    while (!l->stop) {
        tide_batch *b = l->first;
        if (!b) {
            pthread_cond_wait(&l->work, &l->lock);
            continue;
        }
        int64_t i = b->next++;
        if (b->next == b->n) {
            l->first = b->after;
            if (!l->first) l->last = NULL;
        }
        pthread_mutex_unlock(&l->lock);
        tide_image_error *e = &b->errors[i];
        tide_status st = room ? make(l, b->index[i], b->seed[i], room, b->out + i * n, e)
                              : tide_image_fail(e, TIDE_ENOMEM, "not enough memory for the worker");
        e->status = st;
        if (st != TIDE_OK) memset(b->out + i * n, 0, (size_t)n * sizeof *b->out);
        pthread_mutex_lock(&l->lock);
        if (--b->left == 0) pthread_cond_broadcast(&l->done);
    }
    pthread_mutex_unlock(&l->lock);
    free(room);
    return NULL;
}

tide_status tide_loader_new(const tide_loader_config *c, tide_loader **out) {
    tide_loader *l = calloc(1, sizeof *l);
    if (!l) return TIDE_ENOMEM;
    l->c = *c, l->augment = *c->augment;
    l->process = getpid();
    l->c.paths = NULL, l->c.augment = &l->augment;
    pthread_mutex_init(&l->lock, NULL);
    pthread_cond_init(&l->work, NULL);
    pthread_cond_init(&l->done, NULL);
    l->threads = calloc((size_t)c->workers, sizeof *l->threads);
    if (!l->threads) goto fail;
    if (!c->data) {
        if (!(l->paths = calloc((size_t)c->n + 1, sizeof *l->paths))) goto fail;
        for (int64_t i = 0; i < c->n; i++)
            if (!(l->paths[i] = strdup(c->paths[i]))) goto fail;
    }
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    while (l->started < c->workers && pthread_create(&l->threads[l->started], NULL, work, l) == 0)
        l->started++;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (l->started == 0) goto fail;
    *out = l;
    return TIDE_OK;
fail:
    tide_loader_free(l);
    return TIDE_ENOMEM;
}

bool tide_loader_ours(const tide_loader *l) { return l->process == getpid(); }

void tide_loader_free(tide_loader *l) {
    if (!l) return;
    if (tide_loader_ours(l)) {
        pthread_mutex_lock(&l->lock);
        l->stop = true;
        pthread_cond_broadcast(&l->work);
        pthread_mutex_unlock(&l->lock);
        for (int i = 0; i < l->started; i++) pthread_join(l->threads[i], NULL);
        pthread_mutex_destroy(&l->lock);
        pthread_cond_destroy(&l->work);
        pthread_cond_destroy(&l->done);
    }
    for (int64_t i = 0; l->paths && i < l->c.n; i++) free(l->paths[i]);
    free(l->paths);
    free(l->threads);
    free(l);
}

static void drop(tide_batch *b) { free(b->index), free(b->seed), free(b->errors), free(b); }

tide_batch *tide_loader_submit(tide_loader *l, int64_t n, const int64_t *index,
                               const uint64_t *seed, float *out) {
    tide_batch *b = calloc(1, sizeof *b);
    if (!b) return NULL;
    b->n = b->left = n, b->out = out;
    b->index = malloc((size_t)n * sizeof *b->index);
    b->seed = malloc((size_t)n * sizeof *b->seed);
    b->errors = calloc((size_t)n, sizeof *b->errors);
    if (!b->index || !b->seed || !b->errors) {
        drop(b);
        return NULL;
    }
    memcpy(b->index, index, (size_t)n * sizeof *index);
    memcpy(b->seed, seed, (size_t)n * sizeof *seed);
    if (n == 0) return b;
    pthread_mutex_lock(&l->lock);
    if (l->last) l->last->after = b;
    else l->first = b;
    l->last = b;
    pthread_cond_broadcast(&l->work);
    pthread_mutex_unlock(&l->lock);
    return b;
}

bool tide_batch_ready(tide_loader *l, const tide_batch *b) {
    if (!tide_loader_ours(l)) return true;
    pthread_mutex_lock(&l->lock);
    bool ready = b->left == 0;
    pthread_mutex_unlock(&l->lock);
    return ready;
}

void tide_batch_wait(tide_loader *l, tide_batch *b) {
    pthread_mutex_lock(&l->lock);
    while (b->left > 0) pthread_cond_wait(&l->done, &l->lock);
    pthread_mutex_unlock(&l->lock);
}

const tide_image_error *tide_batch_error(const tide_batch *b, int64_t i) {
    return b->errors[i].status == TIDE_OK ? NULL : &b->errors[i];
}

void tide_batch_free(tide_loader *l, tide_batch *b) {
    if (!b) return;
    if (l && tide_loader_ours(l)) tide_batch_wait(l, b);
    drop(b);
}
