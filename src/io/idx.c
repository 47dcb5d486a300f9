/* Owns the IDX reader (Y. LeCun's format of MNIST): 2 zero bytes, a type, a rank, big-endian
 * extents, big-endian elements. Invariant: no more is allocated than the file can hold (a deflated
 * file holds at most 1032 times its size). */
#include "io.h"

#include "../core.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>

enum {
    DEFLATE_RATIO = 1032,
    GZ_BUFFER = 1 << 17,
    PIECE = 1 << 24, /* bytes at a time: Ctrl-C is heard between */
    LOOKED_AT = 1 << 24
};

static const struct {
    unsigned char code;
    int dtype;
    int bytes;
} idx_types[] = {
    {0x08, TIDE_U8, 1},  {0x09, TIDE_I8, 1},  {0x0B, TIDE_I32, 2},
    {0x0C, TIDE_I32, 4}, {0x0D, TIDE_F32, 4}, {0x0E, TIDE_F64, 8},
};

/* Fills n bytes or fails: short, damaged, or unreadable. */
static tide_status fill(tide_ctx *ctx, gzFile f, const char *path, void *to, int64_t n,
                        const char *what) {
    char *p = to;
    while (n > 0) {
        TIDE_TRY(tide_go_on(ctx));
        int r = gzread(f, p, n < PIECE ? (unsigned)n : PIECE);
        if (r < 0) {
            int code;
            const char *text = gzerror(f, &code);
            return tide_fail(ctx, TIDE_EIO, "%s: cannot read %s: %s", path, what,
                             code == Z_ERRNO ? strerror(errno) : text);
        }
        if (r == 0)
            return tide_fail(ctx, TIDE_EIO, "%s: the file ends inside %s (%lld bytes are missing)",
                             path, what, (long long)n);
        p += r, n -= r;
    }
    return TIDE_OK;
}

static tide_status end(tide_ctx *ctx, gzFile f, const char *path) {
    char extra;
    int r = gzread(f, &extra, 1); /* reads the checksum of a gzipped file too */
    if (r == 0) return TIDE_OK;
    return tide_fail(ctx, TIDE_EIO,
                     r > 0 ? "%s: bytes follow the last element" : "%s: the gzip checksum is wrong",
                     path);
}

/* Few bytes that claim to be many: reads the elements once before memory is taken for them. */
static tide_status look(tide_ctx *ctx, gzFile f, const char *path, int64_t n) {
    char piece[1 << 14]; /* what is in it is of no interest */
    const int64_t room = sizeof piece;
    const z_off_t from = gztell(f);
    for (; n > 0; n -= room)
        TIDE_TRY(fill(ctx, f, path, piece, n < room ? n : room, "the elements"));
    TIDE_TRY(end(ctx, f, path));
    if (gzseek(f, from, SEEK_SET) == from) return TIDE_OK;
    return tide_fail(ctx, TIDE_EIO, "%s: cannot be read again: %s", path, strerror(errno));
}

/* Big-endian elements to the machine's order; 16-bit ones are widened, from the back, in place. */
static void to_host(unsigned char *p, int64_t n, int bytes) {
    if (bytes == 2) {
        for (int64_t i = n - 1; i >= 0; i--) {
            int32_t v = (int16_t)(p[2 * i] << 8 | p[2 * i + 1]);
            memcpy(p + 4 * i, &v, 4);
        }
        return;
    }
    for (int64_t i = 0; bytes > 1 && i < n; i++)
        for (int a = 0, b = bytes - 1; a < b; a++, b--) {
            unsigned char t = p[i * bytes + a];
            p[i * bytes + a] = p[i * bytes + b];
            p[i * bytes + b] = t;
        }
}

static tide_status read_idx(tide_ctx *ctx, gzFile f, const char *path, int64_t file_bytes,
                            tide_tensor **out) {
    unsigned char head[4], dims[4 * TIDE_MAX_RANK];
    tide_status s = fill(ctx, f, path, head, 4, "the header");
    if (s != TIDE_OK) return s;
    int type = -1;
    for (int i = 0; i < (int)(sizeof idx_types / sizeof *idx_types); i++)
        if (head[2] == idx_types[i].code) type = i;
    if (head[0] || head[1] || type < 0)
        return tide_fail(ctx, TIDE_EIO, "%s: not an IDX file (it begins with %02x %02x %02x %02x)",
                         path, head[0], head[1], head[2], head[3]);
    int rank = head[3];
    if (rank < 1 || rank > TIDE_MAX_RANK)
        return tide_fail(ctx, TIDE_EIO, "%s: rank %d is not in 1..%d", path, rank, TIDE_MAX_RANK);
    if ((s = fill(ctx, f, path, dims, 4 * rank, "the header")) != TIDE_OK) return s;
    int64_t shape[TIDE_MAX_RANK], bytes = idx_types[type].bytes, n = 1;
    for (int i = 0; i < rank; i++) {
        shape[i] = (int64_t)dims[4 * i] << 24 | dims[4 * i + 1] << 16 | dims[4 * i + 2] << 8 |
            dims[4 * i + 3];
        if (__builtin_mul_overflow(n, shape[i], &n) || n > INT64_MAX / 8)
            return tide_fail(ctx, TIDE_EIO, "%s: the extents overflow (axis %d is %lld)", path,
                             i + 1, (long long)shape[i]);
    }
    int64_t limit = gzdirect(f) ? file_bytes - 4 - 4 * rank : file_bytes * DEFLATE_RATIO;
    if (n * bytes > limit)
        return tide_fail(
            ctx, TIDE_EIO,
            "%s: the header claims %lld bytes of elements, the file can hold at most %lld", path,
            (long long)(n * bytes), (long long)limit);
    if (!gzdirect(f) && n * bytes > LOOKED_AT && n * bytes / 2 > file_bytes &&
        (s = look(ctx, f, path, n * bytes)) != TIDE_OK)
        return s;
    tide_tensor *t;
    if ((s = tide_new_host(ctx, idx_types[type].dtype, rank, shape, &t)) != TIDE_OK) return s;
    if ((s = fill(ctx, f, path, tide_host_view(t), n * bytes, "the elements")) == TIDE_OK)
        s = end(ctx, f, path);
    if (s != TIDE_OK) {
        tide_release(t);
        return s;
    }
    to_host(tide_host_view(t), n, (int)bytes);
    *out = t;
    return TIDE_OK;
}

tide_status tide_idx_read(tide_ctx *ctx, const char *path, tide_tensor **out) {
    int fd;
    int64_t size;
    TIDE_TRY(tide_file_open(ctx, path, &fd, &size));
    gzFile f = gzdopen(fd, "rb");
    if (!f) {
        close(fd);
        return tide_fail(ctx, TIDE_ENOMEM, "%s: not enough memory to read", path);
    }
    gzbuffer(f, GZ_BUFFER);
    tide_status s = read_idx(ctx, f, path, size, out);
    int closed = gzclose_r(f);
    if (s == TIDE_OK && closed != Z_OK) {
        tide_release(*out);
        *out = NULL;
        return tide_fail(ctx, TIDE_EIO, "%s: the gzip data is incomplete", path);
    }
    return s;
}
