/* The device "meta": its tensors have a shape and a dtype and no elements.
 *
 * An op on them is checked and its results are inferred; no kernel runs, nothing is written, no
 * random numbers are drawn. Beside one of them, tensors of other devices count by their shapes.
 * Whoever asks for elements is refused.
 *
 * Invariant: all storages share two blocks that nobody reads or writes. Those made while somebody
 * counts have the second one: by it the allocator knows that they stand in its statistics. */
#include "device.h"

#include <string.h>

static _Alignas(64) char block[64], counted[64];
static _Atomic int counting, joined;

static void *meta_alloc(tide_device *dev, size_t bytes) {
    (void)dev, (void)bytes;
    return counting > 0 ? counted : block;
}
static void meta_free(tide_device *dev, void *p) { (void)dev, (void)p; }
static void meta_copy(tide_device *dev, void *dst, const void *src, size_t bytes,
                      tide_copy_way way) {
    (void)dev, (void)src;
    if (way == TIDE_TO_HOST) memset(dst, 0, bytes); /* whoever wants them was refused before */
}
static void meta_fill(tide_device *dev, void *p, int byte, size_t bytes) {
    (void)dev, (void)p, (void)byte, (void)bytes;
}
static void meta_sync(tide_device *dev) { (void)dev; }
static void meta_info(tide_device *dev, tide_device_info *out) {
    (void)dev;
    *out = (tide_device_info){.free_bytes = -1};
}
static const tide_device_vt vt = {.alloc = meta_alloc,
                                  .free = meta_free,
                                  .copy = meta_copy,
                                  .fill = meta_fill,
                                  .sync = meta_sync,
                                  .info = meta_info};
static tide_device meta = {
    .name = "meta", .vt = &vt, .no_elements = 1, .runs = &meta, .lock = ATOMIC_FLAG_INIT};

tide_device *tide_meta_device(void) { return &meta; }

void tide_meta_count(int on) {
    if (on && !joined++) tide_device_join(&meta); /* the collector hears of them too */
    counting += on ? 1 : -1;
}

int tide_meta_counting(void) { return counting > 0; }

int tide_meta_counted(const void *p) { return p == counted; }

int tide_has_elements(const tide_tensor *t) {
    const tide_device *dev = tide_device_of(t);
    return !dev || !dev->no_elements;
}

tide_status tide_need_elements(tide_ctx *ctx, const tide_tensor *t, const char *what) {
    if (tide_has_elements(t)) return TIDE_OK;
    return tide_fail(ctx, TIDE_EDEVICE, "%s%sa tensor on device meta has no elements", what,
                     *what ? ": " : "");
}
