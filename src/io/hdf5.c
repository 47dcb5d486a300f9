/* Owns the conversation with tide-hdf5, the program that alone knows libhdf5.
 *
 * Invariant: what comes back is believed only when its header passed safetensors' rules, its sizes
 * fit the budget and its checksum is right. A crash, a limit or silence of the program is one
 * message here and leaves nothing behind. */
#define _GNU_SOURCE
#include "io.h"

#include "../core.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>
#include <zlib.h>

#define MAX_HEADER 100000000u
#define CHUNK ((size_t)1 << 20)
#define LITTLE ((uint64_t)8 << 20) /* data that come with the tree, sparing a second run */
enum {
    FREE_FD = 16, /* sources of dup2 stand above its targets */
    SLICE = 50    /* milliseconds: how late Ctrl-C may be heard */
};

struct tide_h5 {
    char *what;
    int file; /* its own; -1: not needed any more */
    uint64_t max;
    tide_st_file *header;
    uint32_t sum;          /* of the header's text */
    tide_tensor **tensors; /* in the entries' order; NULL: not fetched */
    int64_t n;
};

static char program[PATH_MAX];
static int patience = 60000; /* milliseconds without a byte */

/* The default stands beside the module (or the program) that holds this code. */
void tide_h5_program(const char *path, int timeout_ms) {
    patience = timeout_ms > 0 ? timeout_ms : 60000;
    if (path) {
        snprintf(program, sizeof program, "%s", path);
        return;
    }
    Dl_info here;
    char real[PATH_MAX];
    if (!dladdr((void *)(uintptr_t)&tide_h5_program, &here) || !realpath(here.dli_fname, real))
        snprintf(real, sizeof real, "./tide");
    char *slash = strrchr(real, '/');
    *slash = 0;
    snprintf(program, sizeof program, "%.*s/tide-hdf5", (int)(sizeof program - 16), real);
}

static tide_status find_program(tide_ctx *ctx, const char *what) {
    if (!program[0]) tide_h5_program(NULL, 0);
    if (access(program, X_OK) == 0) return TIDE_OK;
    return tide_fail(
        ctx, TIDE_EIO,
        "%s: HDF5 files need the program %s, which is not there (Tide was built without libhdf5; "
        "install libhdf5-dev and build again)",
        what, program);
}

/* -- one run of the program -- */

typedef struct {
    tide_ctx *ctx;
    const char *what;
    pid_t pid;
    int socket, notes; /* notes: its standard error, a file in memory */
    uint32_t sum;
} run;

static int above(int fd) { return fcntl(fd, F_DUPFD_CLOEXEC, FREE_FD); }

/* `room`: what the data that come may take; NULL where the verb has none. */
static tide_status start(tide_ctx *ctx, run *r, const char *verb, uint64_t max,
                         const uint64_t *room, int file) {
    int pair[2] = {-1, -1}, in = -1, notes = -1, fd = -1;
    char bytes[32], some[32];
    snprintf(bytes, sizeof bytes, "%" PRIu64, max);
    snprintf(some, sizeof some, "%" PRIu64, room ? *room : 0);
    char *argv[] = {program, (char *)(uintptr_t)verb, bytes, room ? some : NULL, NULL};
    char libs[PATH_MAX] = "LD_LIBRARY_PATH=";
    char *envp[] = {libs, NULL};
    const char *given = getenv("LD_LIBRARY_PATH");
    if (given && strlen(given) + sizeof "LD_LIBRARY_PATH=" <= sizeof libs) strcat(libs, given);
    else envp[0] = NULL;
    tide_status s = TIDE_EIO;
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t how;
    sigset_t none, all;
    sigemptyset(&none), sigfillset(&all);
    if (posix_spawn_file_actions_init(&actions) != 0)
        return tide_fail(ctx, TIDE_ENOMEM, "%s: not enough memory", r->what);
    if (posix_spawnattr_init(&how) != 0) {
        posix_spawn_file_actions_destroy(&actions);
        return tide_fail(ctx, TIDE_ENOMEM, "%s: not enough memory", r->what);
    }
    r->socket = r->notes = -1;
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0 ||
        (in = above(pair[1])) < 0 || (r->notes = memfd_create("tide-hdf5", MFD_CLOEXEC)) < 0 ||
        (notes = above(r->notes)) < 0 || (fd = above(file)) < 0) {
        tide_fail(ctx, TIDE_EIO, "%s: the HDF5 program cannot be started: %s", r->what,
                  strerror(errno));
        goto done;
    }
    posix_spawn_file_actions_adddup2(&actions, in, 0);
    posix_spawn_file_actions_adddup2(&actions, in, 1);
    posix_spawn_file_actions_adddup2(&actions, notes, 2);
    posix_spawn_file_actions_adddup2(&actions, fd, 3);
    /* its own group: Ctrl-C is for the user's process */
    posix_spawnattr_setflags(
        &how, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
    posix_spawnattr_setpgroup(&how, 0);
    posix_spawnattr_setsigmask(&how, &none);
    posix_spawnattr_setsigdefault(&how, &all);
    int e = posix_spawn(&r->pid, program, &actions, &how, argv, envp);
    if (e != 0) {
        tide_fail(ctx, TIDE_EIO, "%s: the HDF5 program %s cannot be started: %s", r->what, program,
                  strerror(e));
        goto done;
    }
    r->socket = pair[0], pair[0] = -1;
    r->sum = 0;
    s = TIDE_OK;
done:
    if (s != TIDE_OK && r->notes >= 0) close(r->notes);
    int mine[] = {pair[0], pair[1], in, notes, fd};
    for (size_t i = 0; i < sizeof mine / sizeof *mine; i++)
        if (mine[i] >= 0) close(mine[i]);
    posix_spawn_file_actions_destroy(&actions);
    posix_spawnattr_destroy(&how);
    return s;
}

/* Waits until the socket is ready. 0: ready, -1: no, errno says why (ECANCELED: Ctrl-C). */
static int ready(const run *r, short events) {
    for (int waited = 0;;) {
        struct pollfd p = {.fd = r->socket, .events = events};
        if (tide_go_on(r->ctx) != TIDE_OK) return errno = ECANCELED, -1;
        int n = poll(&p, 1, patience < SLICE ? patience : SLICE);
        if (n > 0) return 0;
        if (n < 0 && errno != EINTR) return -1;
        if (n == 0 && (waited += SLICE) >= patience) return errno = ETIMEDOUT, -1;
    }
}

static int transfer_in(run *r, void *data, size_t n) {
    char *p = data;
    for (size_t left = n; left > 0;) {
        if (ready(r, POLLIN) != 0) return -1;
        ssize_t got = recv(r->socket, p, left < CHUNK ? left : CHUNK, 0);
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0) {
            if (got == 0) errno = EPIPE;
            return -1;
        }
        p += got, left -= (size_t)got;
    }
    r->sum = (uint32_t)crc32_z(r->sum, data, n);
    return 0;
}

static int transfer_out(run *r, const void *data, size_t n) {
    const char *p = data;
    r->sum = (uint32_t)crc32_z(r->sum, data, n);
    while (n > 0) {
        if (ready(r, POLLOUT) != 0) return -1;
        ssize_t put = send(r->socket, p, n < CHUNK ? n : CHUNK, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (put < 0 && (errno == EINTR || errno == EAGAIN)) continue;
        if (put < 0) return -1;
        p += put, n -= (size_t)put;
    }
    return 0;
}

static int trailer_in(run *r) {
    uint32_t want = r->sum;
    unsigned char t[8];
    if (transfer_in(r, t, sizeof t) != 0) return -1;
    uint32_t got = t[0] | (uint32_t)t[1] << 8 | (uint32_t)t[2] << 16 | (uint32_t)t[3] << 24;
    if (got == want && !memcmp(t + 4, "TIDE", 4)) return 0;
    errno = EBADMSG;
    return -1;
}

static int trailer_out(run *r) {
    uint32_t sum = r->sum;
    unsigned char t[8] = {(unsigned char)sum,
                          (unsigned char)(sum >> 8),
                          (unsigned char)(sum >> 16),
                          (unsigned char)(sum >> 24),
                          'T',
                          'I',
                          'D',
                          'E'};
    int bad = transfer_out(r, t, sizeof t);
    r->sum = 0;
    return bad;
}

/* Ends the run; where it went wrong (`bad`: the errno of the conversation, 0: it went well), says
 * so. */
static tide_status finish(tide_ctx *ctx, run *r, int bad) {
    close(r->socket);
    int status = 0, known = 1;
    if (bad == ETIMEDOUT || bad == ECANCELED) kill(r->pid, SIGKILL);
    while (waitpid(r->pid, &status, 0) < 0)
        if (errno != EINTR) { /* the host reaps all children: the checksum has to do */
            known = 0;
            break;
        }
    char note[600];
    ssize_t n = pread(r->notes, note, sizeof note - 1, 0);
    note[n > 0 ? n : 0] = 0;
    for (ssize_t i = 0; i < n; i++)
        if ((unsigned char)note[i] < 32 || note[i] == 127) note[i] = ' ';
    close(r->notes);
    if (bad == ECANCELED) return tide_fail(ctx, TIDE_EINTERRUPT, "interrupted!");
    if (bad == ENOMEM) return tide_fail(ctx, TIDE_ENOMEM, "%s: not enough memory", r->what);
    if (bad == ETIMEDOUT)
        return tide_fail(ctx, TIDE_EIO,
                         "%s: the HDF5 program was silent for %d seconds and was ended", r->what,
                         patience / 1000);
    if (known && WIFSIGNALED(status)) {
        int sig = WTERMSIG(status);
        if (sig == SIGXCPU || sig == SIGKILL)
            return tide_fail(ctx, TIDE_EIO,
                             "%s: the HDF5 program exceeded its limit of time or memory", r->what);
        return tide_fail(
            ctx, TIDE_EIO,
            "%s: the HDF5 program crashed on it (signal %d, %s); the file is probably damaged",
            r->what, sig, strsignal(sig));
    }
    if (known && WIFEXITED(status) && WEXITSTATUS(status) == 127) /* the loader's own status */
        return tide_fail(ctx, TIDE_EIO,
                         "%s: the HDF5 program cannot run: %.200s; install libhdf5 (Debian: "
                         "apt-get install libhdf5-dev), or save as .safetensors",
                         r->what, note);
    if (known && WIFEXITED(status) && WEXITSTATUS(status) == 1 && n > 0)
        return tide_fail(ctx, TIDE_EIO, "%s: %s", r->what, note);
    if (bad == EBADMSG)
        return tide_fail(ctx, TIDE_EIO, "%s: the HDF5 program's answer is damaged", r->what);
    if (bad || (known && (!WIFEXITED(status) || WEXITSTATUS(status) != 0)))
        return tide_fail(ctx, TIDE_EIO, "%s: the HDF5 program ended without an answer%s%.200s",
                         r->what, n > 0 ? ": " : "", note);
    return TIDE_OK;
}

/* -- reading -- */

void tide_h5_close(tide_h5 *h) {
    if (!h) return;
    for (int64_t i = 0; h->tensors && i < h->n; i++) tide_release(h->tensors[i]);
    free(h->tensors);
    tide_st_close(h->header);
    if (h->file >= 0) close(h->file);
    free(h->what);
    free(h);
}

static uint64_t bytes_of(const tide_h5 *h, int64_t i) {
    const tide_st_entry *e = tide_st_entry_at(h->header, i);
    return e->end - e->begin;
}

/* The header of the first run, checked; `refused` is set where the answer is well-formed and yet
 * not acceptable (the context has a message). */
static int take_header(run *r, tide_h5 *h, const char *text, uint64_t n, int *refused) {
    *refused = 1;
    if (tide_st_parse(r->ctx, r->what, text, n, &h->header) != TIDE_OK) return 0;
    h->n = tide_st_count(h->header);
    for (int64_t i = 0; i < h->n; i++) {
        const tide_st_entry *e = tide_st_entry_at(h->header, i);
        if (e->dtype >= 0 && e->rank <= TIDE_MAX_RANK && e->end <= h->max) continue;
        tide_fail(r->ctx, TIDE_EIO, "%s: %s: dtype %s of rank %d is more than Tide's tensors have",
                  r->what, e->name, e->dtype_name, e->rank);
        return 0;
    }
    *refused = 0;
    h->tensors = calloc((size_t)h->n + 1, sizeof *h->tensors);
    return h->tensors ? 0 : (errno = ENOMEM, -1);
}

/* The header of a later run has to be the same. */
static int read_header(run *r, tide_h5 *h, int *refused) {
    unsigned char head[8];
    if (transfer_in(r, head, sizeof head) != 0) return -1;
    uint64_t n = 0;
    for (int i = 7; i >= 0; i--) n = n << 8 | head[i];
    if (n > MAX_HEADER) return errno = EBADMSG, -1;
    char *text = malloc(n + 1);
    if (!text) return errno = ENOMEM, -1;
    int bad = transfer_in(r, text, n);
    if (!bad && !h->header) {
        h->sum = r->sum;
        bad = take_header(r, h, text, n, refused);
    } else if (!bad && h->sum != r->sum) {
        tide_fail(r->ctx, TIDE_EIO, "%s: the file was changed while it was read", r->what);
        *refused = 1;
    }
    free(text);
    return bad;
}

/* The program may read the tree of a small file for a second (src/hdf5/main.c), and from here on as
 * long again and a second for each 8 MiB of data. */
static void allow_data(const run *r, uint64_t bytes) {
    struct rlimit limit;
    if (prlimit(r->pid, RLIMIT_CPU, NULL, &limit) != 0) return;
    limit.rlim_cur += 1 + (bytes >> 23);
    if (limit.rlim_cur > limit.rlim_max) limit.rlim_cur = limit.rlim_max;
    prlimit(r->pid, RLIMIT_CPU, &limit, NULL); /* where that fails, the first limit stands */
}

static int read_tensor(run *r, tide_h5 *h, int64_t i, int *refused) {
    const tide_st_entry *e = tide_st_entry_at(h->header, i);
    if (tide_new_host(r->ctx, (tide_dtype)e->dtype, e->rank, e->shape, &h->tensors[i]) != TIDE_OK) {
        *refused = 1;
        return 0;
    }
    uint8_t *p = tide_host_view(h->tensors[i]);
    if (transfer_in(r, p, bytes_of(h, i)) != 0) return -1;
    for (uint64_t k = 0; e->dtype == TIDE_BOOL && k < bytes_of(h, i); k++)
        if (p[k] > 1) return errno = EBADMSG, -1;
    return 0;
}

/* One run of the program: the tree, where it is not there yet, and the data of the datasets at
 * `at`; NULL: of all, where they take little. */
static tide_status read_some(tide_ctx *ctx, tide_h5 *h, const uint64_t *at, uint64_t n) {
    run r = {.ctx = ctx, .what = h->what};
    if (h->file < 0) return tide_fail(ctx, TIDE_EARG, "%s: its data were handed out", h->what);
    uint64_t room = at ? 0 : LITTLE;
    for (uint64_t k = 0; at && k < n; k++) room += bytes_of(h, (int64_t)at[k]);
    TIDE_TRY(start(ctx, &r, at ? "some" : "read", h->max, &room, h->file));
    int refused = 0, bad = 0;
    if (at) bad = transfer_out(&r, &n, sizeof n) || transfer_out(&r, at, n * sizeof *at);
    r.sum = 0;
    if (!bad) bad = read_header(&r, h, &refused);
    if (!bad && !refused && !at) {
        uint64_t all = h->n ? tide_st_entry_at(h->header, h->n - 1)->end : 0;
        n = all <= LITTLE ? (uint64_t)h->n : 0;
        room = n ? all : 0;
    }
    if (!bad && !refused) allow_data(&r, room);
    for (uint64_t k = 0; k < n && !bad && !refused; k++)
        bad = read_tensor(&r, h, at ? (int64_t)at[k] : (int64_t)k, &refused);
    if (!bad && !refused) bad = trailer_in(&r);
    if (bad) bad = errno ? errno : EIO;
    if (!refused) {
        tide_status s = finish(ctx, &r, bad);
        if (s == TIDE_OK && n == (uint64_t)h->n && !at) close(h->file), h->file = -1;
        return s;
    }
    char message[TIDE_MESSAGE];
    snprintf(message, sizeof message, "%s", tide_message(ctx));
    kill(r.pid, SIGKILL);
    finish(ctx, &r, EIO);
    return tide_fail(ctx, TIDE_EIO, "%s", message);
}

tide_status tide_h5_open(tide_ctx *ctx, const char *what, int file, uint64_t max, tide_h5 **out) {
    TIDE_TRY(find_program(ctx, what));
    tide_h5 *h = calloc(1, sizeof *h);
    if (h) h->file = above(file), h->max = max, h->what = strdup(what);
    if (!h || !h->what) {
        tide_h5_close(h);
        return tide_fail(ctx, TIDE_ENOMEM, "%s: not enough memory", what);
    }
    tide_status s = h->file < 0 ? tide_fail(ctx, TIDE_EIO, "%s: %s", what, strerror(errno))
                                : read_some(ctx, h, NULL, 0);
    if (s == TIDE_OK) *out = h;
    else tide_h5_close(h);
    return s;
}

tide_status tide_h5_fetch(tide_ctx *ctx, tide_h5 *h, uint64_t n, const uint64_t *at) {
    uint64_t *missing = malloc((size_t)(n + 1) * sizeof *missing), k = 0;
    if (!missing) return tide_fail(ctx, TIDE_ENOMEM, "%s: not enough memory", h->what);
    for (uint64_t i = 0; i < n; i++)
        if (!h->tensors[at[i]]) missing[k++] = at[i];
    tide_status s = k ? read_some(ctx, h, missing, k) : TIDE_OK;
    for (uint64_t i = 0; s != TIDE_OK && i < k; i++) { /* half of one is none */
        tide_release(h->tensors[missing[i]]);
        h->tensors[missing[i]] = NULL;
    }
    free(missing);
    return s;
}

int64_t tide_h5_count(const tide_h5 *h) { return h->n; }
const tide_st_entry *tide_h5_entry_at(const tide_h5 *h, int64_t i) {
    return tide_st_entry_at(h->header, i);
}
tide_tensor *tide_h5_take(tide_h5 *h, int64_t i) {
    tide_tensor *t = h->tensors[i];
    h->tensors[i] = NULL;
    return t;
}
const char *tide_h5_attributes(const tide_h5 *h) {
    const char *key, *value;
    for (int64_t i = 0; tide_st_metadata(h->header, i, &key, &value); i++)
        if (!strcmp(key, "attributes")) return value;
    return "{}";
}

/* -- writing -- */

static void request_header(tide_string *t, int64_t n, const char *const *names,
                           tide_tensor *const *tensors, const char *attributes) {
    uint64_t at = 0;
    tide_text_add(t, "{\"__metadata__\":{\"attributes\":");
    tide_text_string(t, attributes), tide_text_add(t, "}");
    for (int64_t i = 0; i < n; i++) {
        const tide_tensor *x = tensors[i];
        uint64_t end = at + (uint64_t)tide_numel(x) * tide_dtype_size(x->dtype);
        tide_text_add(t, ",");
        tide_text_entry(t, names[i], tide_st_dtype_name(x->dtype), x->rank, x->shape, at, end);
        at = end;
    }
    tide_text_add(t, "}");
}

static int send_request(run *r, const tide_string *text, int64_t n, tide_tensor *const *tensors) {
    uint64_t len = text->n;
    unsigned char head[8];
    for (int i = 0; i < 8; i++) head[i] = (unsigned char)(len >> (8 * i));
    if (transfer_out(r, head, sizeof head) != 0 || transfer_out(r, text->p, len) != 0) return -1;
    for (int64_t i = 0; i < n; i++)
        if (transfer_out(r, tide_host_view(tensors[i]),
                         (size_t)tide_numel(tensors[i]) * tide_dtype_size(tensors[i]->dtype)) != 0)
            return -1;
    if (trailer_out(r) != 0) return -1;
    return shutdown(r->socket, SHUT_WR);
}

tide_status tide_h5_write(tide_ctx *ctx, const char *what, int64_t n, const char *const *names,
                          tide_tensor *const *tensors, const char *attributes, tide_blob *out) {
    TIDE_TRY(find_program(ctx, what));
    uint64_t max = strlen(attributes);
    for (int64_t i = 0; i < n; i++)
        max += (uint64_t)tide_numel(tensors[i]) * tide_dtype_size(tensors[i]->dtype);
    tide_string text = {0};
    const char **sorted = malloc(((size_t)n + 1) * sizeof *sorted);
    if (!sorted) text.status = TIDE_ENOMEM;
    for (int64_t i = 0; sorted && i < n; i++) sorted[i] = names[i];
    if (sorted && tide_twice(sorted, n)) text.status = TIDE_EARG;
    free(sorted);
    request_header(&text, n, names, tensors, attributes);
    if (text.status != TIDE_OK) {
        free(text.p);
        return text.status == TIDE_ENOMEM
            ? tide_fail(ctx, TIDE_ENOMEM, "%s: not enough memory for the names", what)
            : tide_fail(ctx, TIDE_EARG, "%s: names must be valid UTF-8 and unique", what);
    }
    int file = memfd_create("tide-hdf5", MFD_CLOEXEC);
    run r = {.ctx = ctx, .what = what};
    tide_status s = file < 0
        ? tide_fail(ctx, TIDE_EIO, "%s: no file in memory can be made: %s", what, strerror(errno))
        : start(ctx, &r, "write", max, NULL, file);
    if (s == TIDE_OK) {
        uint64_t size = 0;
        uint32_t sum = 0;
        int bad = send_request(&r, &text, n, tensors);
        if (!bad)
            bad = transfer_in(&r, &size, sizeof size) || transfer_in(&r, &sum, sizeof sum) ||
                trailer_in(&r);
        s = finish(ctx, &r, bad ? (errno ? errno : EIO) : 0);
        if (s == TIDE_OK) s = tide_blob_from(ctx, what, file, out);
        if (s == TIDE_OK &&
            (out->size != size ||
             (uint32_t)crc32_z(0, (const Bytef *)out->data, out->size) != sum)) {
            tide_blob_free(out);
            s = tide_fail(ctx, TIDE_EIO, "%s: the HDF5 program's file is damaged", what);
        }
    }
    if (file >= 0) close(file);
    free(text.p);
    return s;
}
