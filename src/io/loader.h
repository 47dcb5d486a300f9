/* Batches of pictures made ahead by worker threads. Workers see paths, numbers and memory that the
 * owner lent; never Lua, a context or the allocator of tensors. One thread owns a loader and calls
 * all of these. */
#ifndef TIDE_LOADER_H
#define TIDE_LOADER_H

#include "image.h"

typedef struct tide_loader tide_loader;
typedef struct tide_batch tide_batch;

typedef struct {
    const tide_augment *augment; /* copied; what it borrows must live as long as the loader */
    int64_t height, width, channels;
    bool channels_first; /* of what is written */
    /* files ... */
    const char *const *paths; /* [n], copied; NULL: from memory */
    tide_image_options options;
    tide_pil_filter filter;
    bool keep_aspect_ratio;
    bool tf; /* brought to size by TensorFlow's method and aspect instead of Pillow's filter */
    tide_tf_method method;
    tide_aspect aspect;
    /* ... or memory */
    const float *data; /* (n, height, width, channels), borrowed */
    int64_t n;
    int workers;
} tide_loader_config;

tide_status tide_loader_new(const tide_loader_config *, tide_loader **out);
/* Stops the workers, drops batches that are not finished; accepts NULL. */
void tide_loader_free(tide_loader *);

bool tide_loader_ours(const tide_loader *); /* of this process: a forked child has no workers */
/* Queues a batch: sample `index[i]` with draws from `seed[i]` goes to the i-th picture of `out`,
 * which is lent until tide_batch_wait returned or the loader was freed. NULL: no memory. */
tide_batch *tide_loader_submit(tide_loader *, int64_t n, const int64_t *index, const uint64_t *seed,
                               float *out);
bool tide_batch_ready(tide_loader *, const tide_batch *);
/* Waits until it is made; false: `stop`, looked at now and then, was set before. */
bool tide_batch_wait(tide_loader *, tide_batch *, const volatile int *stop);
/* After waiting: the error of the i-th sample, or NULL. */
const tide_image_error *tide_batch_error(const tide_batch *, int64_t i);
/* Waits for samples in hand, drops the others; NULL: the loader was freed already. */
void tide_batch_free(tide_loader *, tide_batch *);

#endif
