/* Owns one HTTP request: text out, the first line of the answer back. Waits no longer than it is
 * told, and Ctrl-C ends the wait. */
#include "io.h"

#include "../core.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static int64_t now_ms(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* 0: ready; -1: errno says why not. */
static int ready(int fd, short events, int64_t until) {
    for (;;) {
        const int64_t left = until - now_ms();
        if (left <= 0) return errno = ETIMEDOUT, -1;
        struct pollfd p = {.fd = fd, .events = events};
        const int r = poll(&p, 1, (int)left);
        if (__atomic_load_n(&tide_cancel, __ATOMIC_RELAXED)) return errno = ECANCELED, -1;
        if (r > 0) return 0;
        if (r < 0 && errno != EINTR) return -1;
    }
}

static int dial(const struct addrinfo *a, int64_t until) {
    const int fd =
        socket(a->ai_family, a->ai_socktype | SOCK_CLOEXEC | SOCK_NONBLOCK, a->ai_protocol);
    if (fd < 0) return -1;
    int e = connect(fd, a->ai_addr, a->ai_addrlen) == 0 ? 0 : errno;
    if (e == EINPROGRESS) {
        socklen_t n = sizeof e;
        if (ready(fd, POLLOUT, until) != 0) e = errno;
        else if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &e, &n) != 0) e = errno;
    }
    if (e == 0) return fd;
    close(fd);
    errno = e;
    return -1;
}

tide_status tide_http(tide_ctx *ctx, const char *host, const char *port, const char *text, size_t n,
                      int timeout_ms, char *line, size_t room) {
    const int64_t until = now_ms() + timeout_ms;
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *found;
    const int r = getaddrinfo(host, port, &hints, &found);
    if (r != 0) return tide_fail(ctx, TIDE_EIO, "%s: %s", host, gai_strerror(r));
    int fd = -1;
    for (const struct addrinfo *a = found; a && fd < 0; a = a->ai_next) fd = dial(a, until);
    int e = errno;
    freeaddrinfo(found);
    size_t got = 0;
    bool ok = fd >= 0;
    while (ok && n > 0) {
        const ssize_t put = send(fd, text, n, MSG_NOSIGNAL);
        if (put > 0) text += put, n -= (size_t)put;
        else if (errno != EINTR && errno != EAGAIN) e = errno, ok = false;
        else if (ready(fd, POLLOUT, until) != 0) e = errno, ok = false;
    }
    while (ok && got + 1 < room && !memchr(line, '\n', got)) {
        const ssize_t k = recv(fd, line + got, room - 1 - got, 0);
        if (k > 0) got += (size_t)k;
        else if (k == 0) break;
        else if (errno != EINTR && errno != EAGAIN) e = errno, ok = false;
        else if (ready(fd, POLLIN, until) != 0) e = errno, ok = false;
    }
    if (fd >= 0) close(fd);
    if (!ok && e == ECANCELED) return tide_fail(ctx, TIDE_EINTERRUPT, "interrupted!");
    if (!ok) return tide_fail(ctx, TIDE_EIO, "%s:%s: %s", host, port, strerror(e));
    line[got] = 0;
    line[strcspn(line, "\r\n")] = 0;
    return TIDE_OK;
}
