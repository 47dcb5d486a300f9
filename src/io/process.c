/* Owns processes that answer messages. Invariant: buf[start..end) is what has come and was not
 * handed out; a process whose socket failed is broken for good, and every call says so. */
#include "process.h"

#include "../core.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

enum { SLICE = 20 /* ms between looks at Ctrl-C */, PIECE = 1 << 16 };

struct tide_process {
    pid_t pid, owner; /* owner: a fork of this process leaves it alone */
    int fd, broken;
    char *buf, *what;
    size_t start, end, room;
};

tide_status tide_process_start(tide_ctx *ctx, const char *what, const char *program,
                               char *const *argv, tide_process **out) {
    tide_process *p = calloc(1, sizeof *p);
    if (!p) return tide_fail(ctx, TIDE_ENOMEM, "%s: not enough memory", what);
    p->fd = -1, p->pid = -1, p->owner = getpid();
    p->what = strdup(what);
    int pair[2] = {-1, -1}, e = 0;
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t how;
    sigset_t none, all;
    sigemptyset(&none), sigfillset(&all);
    if (!p->what || posix_spawn_file_actions_init(&actions) != 0) {
        tide_process_close(p);
        return tide_fail(ctx, TIDE_ENOMEM, "%s: not enough memory", what);
    }
    if (posix_spawnattr_init(&how) != 0) {
        posix_spawn_file_actions_destroy(&actions);
        tide_process_close(p);
        return tide_fail(ctx, TIDE_ENOMEM, "%s: not enough memory", what);
    }
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0) {
        e = errno;
    } else {
        posix_spawn_file_actions_adddup2(&actions, pair[1], 0);
        posix_spawn_file_actions_adddup2(&actions, pair[1], 1);
        /* its own group: Ctrl-C is for the user's process */
        posix_spawnattr_setflags(
            &how, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
        posix_spawnattr_setpgroup(&how, 0);
        posix_spawnattr_setsigmask(&how, &none);
        posix_spawnattr_setsigdefault(&how, &all);
        e = posix_spawn(&p->pid, program, &actions, &how, argv, environ);
        close(pair[1]);
        p->fd = pair[0];
    }
    posix_spawn_file_actions_destroy(&actions);
    posix_spawnattr_destroy(&how);
    if (e != 0) {
        p->pid = -1;
        tide_process_close(p);
        return tide_fail(ctx, TIDE_EIO, "%s: %s cannot be started: %s", what, program, strerror(e));
    }
    *out = p;
    return TIDE_OK;
}

void tide_process_close(tide_process *p) {
    if (!p) return;
    if (p->fd >= 0) close(p->fd);
    if (p->pid > 0 && p->owner == getpid()) {
        kill(p->pid, SIGKILL);
        while (waitpid(p->pid, NULL, 0) < 0 && errno == EINTR) continue;
    }
    free(p->buf), free(p->what), free(p);
}

static tide_status broken(tide_ctx *ctx, tide_process *p, const char *why) {
    p->broken = 1;
    return tide_fail(ctx, TIDE_EIO, "%s: a worker process has ended (%s)", p->what, why);
}

/* Waits for one of the events; returns those that are there, 0 for none yet. */
static tide_status wait_for(tide_ctx *ctx, tide_process *p, short events, short *got) {
    struct pollfd f = {.fd = p->fd, .events = events};
    TIDE_TRY(tide_go_on(ctx));
    *got = 0;
    if (p->broken) return broken(ctx, p, "it did so before");
    if (p->owner != getpid()) return broken(ctx, p, "it belongs to the process that was forked");
    if (poll(&f, 1, SLICE) < 0 && errno != EINTR) return broken(ctx, p, strerror(errno));
    *got = f.revents;
    return TIDE_OK;
}

/* Takes what has come. */
static tide_status take(tide_ctx *ctx, tide_process *p) {
    if (p->start > 0 && p->start == p->end) p->start = p->end = 0;
    if (p->room - p->end < PIECE) {
        memmove(p->buf, p->buf + p->start, p->end - p->start);
        p->end -= p->start, p->start = 0;
        if (p->room - p->end < PIECE) {
            size_t room = p->room ? p->room * 2 : 4 * PIECE;
            char *buf = realloc(p->buf, room);
            if (!buf) return tide_fail(ctx, TIDE_ENOMEM, "%s: not enough memory", p->what);
            p->buf = buf, p->room = room;
        }
    }
    ssize_t n = recv(p->fd, p->buf + p->end, p->room - p->end, MSG_DONTWAIT);
    if (n == 0) return broken(ctx, p, "it was killed, or its function ended it");
    if (n < 0) return errno == EAGAIN || errno == EINTR ? TIDE_OK : broken(ctx, p, strerror(errno));
    p->end += (size_t)n;
    return TIDE_OK;
}

static tide_status put(tide_ctx *ctx, tide_process *p, const char *data, size_t n) {
    while (n > 0) {
        short got;
        TIDE_TRY(wait_for(ctx, p, POLLIN | POLLOUT, &got));
        if (got & (POLLIN | POLLHUP | POLLERR)) TIDE_TRY(take(ctx, p));
        if (!(got & POLLOUT)) continue;
        ssize_t sent = send(p->fd, data, n, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (sent < 0 && errno != EAGAIN && errno != EINTR) return broken(ctx, p, strerror(errno));
        if (sent > 0) data += sent, n -= (size_t)sent;
    }
    return TIDE_OK;
}

tide_status tide_process_send(tide_ctx *ctx, tide_process *p, const char *data, size_t n) {
    unsigned char head[8];
    for (int i = 0; i < 8; i++) head[i] = (unsigned char)((uint64_t)n >> 8 * i);
    TIDE_TRY(put(ctx, p, (const char *)head, 8));
    return put(ctx, p, data, n);
}

tide_status tide_process_receive(tide_ctx *ctx, tide_process *p, const char **data, size_t *n) {
    for (;;) {
        size_t have = p->end - p->start;
        if (have >= 8) {
            uint64_t length = 0;
            for (int i = 7; i >= 0; i--)
                length = length << 8 | (unsigned char)p->buf[p->start + (size_t)i];
            if (length > (uint64_t)1 << 40)
                return broken(ctx, p, "it wrote to its standard output");
            if (have - 8 >= length) {
                *data = p->buf + p->start + 8, *n = (size_t)length;
                p->start += 8 + (size_t)length;
                return TIDE_OK;
            }
        }
        short got;
        TIDE_TRY(wait_for(ctx, p, POLLIN, &got));
        if (got) TIDE_TRY(take(ctx, p));
    }
}
