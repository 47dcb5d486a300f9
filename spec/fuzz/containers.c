/* corpus: spec/fixtures/hdf5 spec/fixtures/numpy spec/fixtures/zoo spec/ref/containers
 * Fuzzes the readers of what holds tensors: an archive (every member is read), an IDX file,
 * compressed or not, or else a safetensors file (every tensor is read). The bytes lie in a file in
 * memory, since these readers take paths. */
#define _GNU_SOURCE
#include "../../src/core.h"
#include "../../src/io/io.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define MOST ((uint64_t)1 << 24)

static void read_zip(tide_ctx *ctx, const char *path) {
    tide_zip *z;
    if (tide_zip_open(ctx, path, &z) != TIDE_OK) return;
    for (int64_t i = 0; i < tide_zip_count(z); i++) {
        char *data;
        size_t n;
        int fd;
        if (tide_zip_read(ctx, z, i, MOST, &data, &n) == TIDE_OK) free(data);
        if (tide_zip_unpack(ctx, z, i, MOST, &fd) == TIDE_OK) close(fd);
    }
    tide_zip_close(z);
}

static void read_tensors(tide_ctx *ctx, const char *path) {
    tide_st_file *f;
    if (tide_st_open(ctx, path, &f) != TIDE_OK) return;
    for (int64_t i = 0; i < tide_st_count(f); i++) {
        tide_tensor *t;
        if (tide_st_read(ctx, f, i, &t) == TIDE_OK) tide_release(t);
    }
    tide_st_close(f);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
    static tide_ctx *ctx;
    static int fd = -1;
    static char path[64];
    if (!ctx && !(ctx = tide_ctx_new())) return 0;
    if (fd < 0) {
        fd = memfd_create("fuzz", 0);
        snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    }
    if (n < 5 || ftruncate(fd, 0) != 0 || pwrite(fd, data + 1, n - 1, 0) < 0) return 0;
    if (!memcmp(data + 1, "PK", 2)) {
        read_zip(ctx, path);
    } else if (!memcmp(data + 1, "\0\0", 2) || !memcmp(data + 1, "\x1f\x8b", 2)) {
        tide_tensor *t;
        if (tide_idx_read(ctx, path, &t) == TIDE_OK) tide_release(t);
    } else {
        read_tensors(ctx, path);
    }
    return 0;
}
