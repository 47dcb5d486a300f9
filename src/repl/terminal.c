/* The terminal as the Lua module `tide.repl.terminal`: line editing, and private files for the
 * history.
 *
 * Owns what libedit keeps in globals. Invariants: while a line is edited the only signal that ends
 * it is SIGINT, whose handler sets a flag that our own reader of characters polls for; libedit
 * itself would swallow the first one. Whatever else ends or stops the program then leaves the
 * terminal as it was before the line: signals that a person's shell or the system itself may send,
 * crashes included. */
#define _GNU_SOURCE
#include "repl.h"

#include <errno.h>
#include <fcntl.h>
#include <lauxlib.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#ifdef TIDE_GNU_READLINE
#include <readline/history.h>
#include <readline/readline.h>
#else
#include <editline/readline.h>
#endif

static volatile sig_atomic_t interrupted,
    stale;          /* stale: what is shown of the line is not what the terminal shows */
static int pasting; /* the terminal is sending a pasted text, of which the end has not come */
static struct termios before_line;
static lua_State *completing; /* the state that reads a line now */
static int completer = LUA_NOREF;

static void on_sigint(int sig) {
    (void)sig;
    interrupted = 1;
}

/* Whether the terminal marks the beginning and the end of pasted texts. readline asks for that
 * itself. */
static void mark_pastes(int on) {
#ifndef TIDE_GNU_READLINE
    static int able = -1;
    if (able < 0) {
        const char *term = getenv("TERM");
        able = term && *term && strcmp(term, "dumb") != 0;
    }
    ssize_t wrote = able ? write(STDOUT_FILENO, on ? "\033[?2004h" : "\033[?2004l", 8) : 0;
    (void)wrote;
#else
    (void)on;
#endif
}

static void on_end(int sig) {
    mark_pastes(0);
    tcsetattr(STDIN_FILENO, TCSANOW, &before_line);
    signal(sig, SIG_DFL);
    raise(sig);
}

static void on_stop(int sig) {
    struct termios editing;
    (void)sig;
    int known = tcgetattr(STDIN_FILENO, &editing) == 0;
    mark_pastes(0);
    tcsetattr(STDIN_FILENO, TCSANOW, &before_line);
    raise(SIGSTOP);
    mark_pastes(1);
    if (known) tcsetattr(STDIN_FILENO, TCSANOW, &editing); /* it goes on */
    stale = 1;
}

static void on_resize(int sig) {
    (void)sig;
    stale = 1;
}

/* What a signal does while a line is edited. Whatever else would end the program, and has its
 * default action, ends it by on_end. */
static void (*handler_of(int sig))(int) {
    switch (sig) {
    case SIGINT: return on_sigint;
    case SIGTSTP: return on_stop;
    case SIGWINCH: return on_resize;
    case SIGKILL:
    case SIGSTOP:
    case SIGCONT:
    case SIGTTIN:
    case SIGTTOU:
    case SIGCHLD:
    case SIGURG: return NULL;
    default: return on_end;
    }
}

typedef struct { /* the actions before the line, where they were replaced */
    struct sigaction before[_NSIG];
    char replaced[_NSIG];
} signals;

static void begin_line(signals *kept) {
    interrupted = stale = 0;
    tcgetattr(STDIN_FILENO, &before_line);
    mark_pastes(1);
    memset(kept->replaced, 0, sizeof kept->replaced);
    for (int sig = 1; sig < _NSIG; sig++) {
        struct sigaction action = {.sa_handler = handler_of(sig), .sa_flags = SA_ONSTACK};
        struct sigaction *before = &kept->before[sig];
        if (!action.sa_handler || sigaction(sig, NULL, before) != 0) continue;
        if (action.sa_handler == on_end && before->sa_handler != SIG_DFL) continue;
        sigemptyset(&action.sa_mask);
        kept->replaced[sig] = sigaction(sig, &action, NULL) == 0;
    }
}

static void end_line(const signals *kept) {
    for (int sig = 1; sig < _NSIG; sig++)
        if (kept->replaced[sig]) sigaction(sig, &kept->before[sig], NULL);
    mark_pastes(0);
    if (interrupted) pasting = 0;
}

static void redraw(void) {
    stale = 0;
    rl_resize_terminal();
    rl_forced_update_display();
}

/* Next byte of the terminal; -1 at its end or after Ctrl-C. The signal is let in only inside ppoll.
 */
static int read_byte(void) {
    sigset_t blocked, before;
    sigemptyset(&blocked);
    sigaddset(&blocked, SIGINT);
    sigprocmask(SIG_BLOCK, &blocked, &before);
    sigdelset(&before, SIGINT);
    int byte = -1;
    for (;;) {
        struct pollfd fd = {.fd = STDIN_FILENO, .events = POLLIN};
        int n = interrupted ? -1 : ppoll(&fd, 1, NULL, &before);
        if (interrupted) break;
        if (stale) redraw();
        if (n < 0 && errno == EINTR) continue;
        unsigned char c;
        ssize_t got = read(STDIN_FILENO, &c, 1);
        if (got < 0 && (errno == EINTR || errno == EAGAIN)) continue;
        if (got == 1) byte = c;
        break;
    }
    sigprocmask(SIG_SETMASK, &before, NULL);
    return byte;
}

#ifdef TIDE_GNU_READLINE
static int next_character(FILE *f) {
    (void)f;
    return read_byte();
}
#else
enum { ESCAPE = 0x1b, MARK = 6, SOON_MS = 20 };
static unsigned char ahead[MARK]; /* bytes that were read to see whether they are a mark */
static int ahead_n, ahead_at;

/* A byte that has come or comes at once, as the rest of a key's sequence does; -1 if none. */
static int soon(void) {
    struct pollfd fd = {.fd = STDIN_FILENO, .events = POLLIN};
    return poll(&fd, 1, SOON_MS) > 0 ? read_byte() : -1;
}

/* Takes the mark of a paste's beginning or end that may follow an escape character. What is no mark
 * is kept for the next calls. Returns whether it was one. */
static int take_mark(void) {
    static const char begin[] = "\033[200~", end[] = "\033[201~";
    ahead[0] = ESCAPE;
    ahead_n = 1;
    ahead_at = 0;
    while (ahead_n < MARK) {
        int c = soon();
        if (c < 0) return 0;
        ahead[ahead_n++] = (unsigned char)c;
        size_t n = (size_t)ahead_n;
        if (memcmp(ahead, begin, n) != 0 && memcmp(ahead, end, n) != 0) return 0;
    }
    pasting = ahead[4] == '0';
    ahead_n = 0;
    return 1;
}

/* Next byte that is no part of a paste's marks. In a pasted text control characters other than tabs
 * and the ends of lines are no keys and are left out. */
static int next_byte(void) {
    for (;;) {
        if (ahead_at < ahead_n) {
            int c = ahead[ahead_at++];
            if (!pasting || c >= ' ') return c;
            continue;
        }
        int c = read_byte();
        if (c == ESCAPE) take_mark();
        else if (!pasting || c < 0 || c >= ' ' || strchr("\t\n\r", c)) return c;
    }
}

/* libedit takes whole characters: decodes UTF-8; a malformed byte becomes U+FFFD. */
static int next_character(FILE *f) {
    (void)f;
    int c = next_byte();
    rl_inhibit_completion = pasting; /* a pasted tab is a tab */
    if (c >= 0x80) {
        int more = c >= 0xf0 ? 3 : c >= 0xe0 ? 2 : c >= 0xc2 ? 1 : 0;
        if (!more || c > 0xf4) return 0xfffd;
        c &= 0x3f >> more;
        for (; more; more--) {
            int d = next_byte();
            if (d < 0) return -1;
            if ((d & 0xc0) != 0x80) return 0xfffd;
            c = c << 6 | (d & 0x3f);
        }
    }
    return c;
}
#endif

/* Asks the Lua completer: matches[0] is what they have in common, then the matches, as readline
 * wants them. */
static char **complete(const char *word, int start, int end) {
    lua_State *L = completing;
    (void)end;
    rl_attempted_completion_over = 1;
    if (!L || completer == LUA_NOREF) return NULL;
    int top = lua_gettop(L);
    char **matches = NULL;
    lua_rawgeti(L, LUA_REGISTRYINDEX, completer);
    lua_pushstring(L, word);
    lua_pushlstring(L, rl_line_buffer, (size_t)start);
    if (lua_pcall(L, 2, 1, 0) == LUA_OK && lua_istable(L, -1)) {
        size_t n = (size_t)lua_rawlen(L, -1);
        if (n > 0 && (matches = calloc(n + 2, sizeof *matches))) {
            size_t common = 0;
            for (size_t i = 1; i <= n; i++) {
                lua_rawgeti(L, -1, (lua_Integer)i);
                const char *s = lua_tostring(L, -1);
                matches[i] = strdup(s ? s : "");
                if (i == 1) common = strlen(matches[1]);
                for (size_t k = 0; k < common; k++)
                    if (matches[i][k] != matches[1][k]) common = k;
                lua_pop(L, 1);
            }
            matches[0] = strndup(matches[1], common);
            if (n == 1) { /* a single match: the list is only its replacement */
                free(matches[1]);
                matches[1] = NULL;
            }
        }
    }
    lua_settop(L, top);
    return matches;
}

static void prepare(void) {
    static int done;
    if (done) return;
    done = 1;
    rl_readline_name = "tide";
    rl_catch_signals = 0;
    rl_getc_function = next_character;
    rl_attempted_completion_function = complete;
    rl_completion_append_character = '\0';
    rl_completer_quote_characters = "";
    static char breaks[] = " \t\n()[]{}<>=~+-*/^#&|;,\"'";
    rl_completer_word_break_characters = breaks;
    rl_initialize();
#ifdef TIDE_GNU_READLINE
    rl_parse_and_bind((char[]){"\"\\e[A\": history-search-backward"});
    rl_parse_and_bind((char[]){"\"\\e[B\": history-search-forward"});
#else
    /* The up key finds the entries that begin as the line does; Ctrl-R searches while it is typed.
     */
    static const char *const bindings[] = {
        "bind ^[[A ed-search-prev-history", "bind ^[[B ed-search-next-history",
        "bind ^[OA ed-search-prev-history", "bind ^[OB ed-search-next-history",
        "bind ^R em-inc-search-prev",       "bind ^I rl_complete",
        "bind ^W ed-delete-prev-word",      "bind ^[[1;5D ed-prev-word",
        "bind ^[[1;5C em-next-word",        "bind ^[[3~ ed-delete-next-char",
        "bind ^[[H ed-move-to-beg",         "bind ^[[F ed-move-to-end"};
    for (size_t i = 0; i < sizeof bindings / sizeof *bindings; i++) rl_parse_and_bind(bindings[i]);
#endif
    using_history();
}

/* readline(prompt): the line; nil at the end of input; false after Ctrl-C */
static int l_readline(lua_State *L) {
    const char *prompt = luaL_checkstring(L, 1);
    signals kept;
    prepare();
    fflush(stdout);
    begin_line(&kept);
    completing = L;
    char *line = readline(prompt);
    completing = NULL;
    end_line(&kept);
    if (interrupted) {
        free(line);
        fputs("^C\n", stdout);
        fflush(stdout);
        lua_pushboolean(L, 0);
    } else if (line) {
        lua_pushstring(L,
                       line); /* may raise for want of memory: a line is lost then, nothing else */
        free(line);
    } else lua_pushnil(L);
    return 1;
}

/* remember(entry): the newest entry of the history */
static int l_remember(lua_State *L) {
    const char *entry = luaL_checkstring(L, 1);
    prepare();
    add_history(entry);
    return 0;
}

/* completer(f): f(word, what stands before it) returns the list of words that could stand there */
static int l_completer(lua_State *L) {
    luaL_checktype(L, 1, LUA_TFUNCTION);
    luaL_unref(L, LUA_REGISTRYINDEX, completer);
    lua_settop(L, 1);
    completer = luaL_ref(L, LUA_REGISTRYINDEX);
    return 0;
}

/* isatty(fd) */
static int l_isatty(lua_State *L) {
    lua_pushboolean(L, isatty((int)luaL_checkinteger(L, 1)));
    return 1;
}

/* size(): columns and rows of the terminal, or 80 and 24 */
static int l_size(lua_State *L) {
    struct winsize w;
    int known = ioctl(STDOUT_FILENO, TIOCGWINSZ, &w) == 0 && w.ws_col > 0;
    lua_pushinteger(L, known ? w.ws_col : 80);
    lua_pushinteger(L, known ? w.ws_row : 24);
    return 2;
}

/* clock(): seconds of a clock that never jumps */
static int l_clock(lua_State *L) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    lua_pushnumber(L, (lua_Number)t.tv_sec + (lua_Number)t.tv_nsec * 1e-9);
    return 1;
}

static int failed(lua_State *L, const char *path) { return luaL_fileresult(L, 0, path); }

/* makedirs(path): makes the folder and those above it, readable by their owner alone */
static int l_makedirs(lua_State *L) {
    size_t n;
    const char *path = luaL_checklstring(L, 1, &n);
    char *copy = lua_newuserdatauv(L, n + 1, 0);
    memcpy(copy, path, n + 1);
    for (char *p = copy + 1;; p++) {
        if (*p != '/' && *p != '\0') continue;
        char kept = *p;
        *p = '\0';
        if (mkdir(copy, 0700) != 0 && errno != EEXIST) return failed(L, path);
        *p = kept;
        if (!kept) break;
    }
    lua_pushboolean(L, 1);
    return 1;
}

/* A regular file; -1 and errno where it is none: nothing here waits for a pipe. */
static int open_private(const char *path, int flags) {
    struct stat st;
    int fd = open(path, flags | O_CLOEXEC | O_NONBLOCK | O_NOCTTY, 0600);
    if (fd >= 0 && (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode))) {
        close(fd);
        errno = EINVAL;
        fd = -1;
    }
    return fd;
}

/* append(path, text): to the private file at path, with the file locked */
static int l_append(lua_State *L) {
    size_t n;
    const char *path = luaL_checkstring(L, 1), *text = luaL_checklstring(L, 2, &n);
    int fd = open_private(path, O_WRONLY | O_CREAT | O_APPEND);
    if (fd < 0) return failed(L, path);
    int ok = fchmod(fd, 0600) == 0 && flock(fd, LOCK_EX) == 0;
    for (size_t done = 0; ok && done < n;) {
        ssize_t wrote = write(fd, text + done, n - done);
        if (wrote < 0 && errno == EINTR) continue;
        if (wrote < 0) ok = 0;
        else done += (size_t)wrote;
    }
    int error = errno;
    close(fd); /* unlocks */
    errno = error;
    if (!ok) return failed(L, path);
    lua_pushboolean(L, 1);
    return 1;
}

int tide_open_terminal(lua_State *L) {
    static const luaL_Reg functions[] = {
        {"readline", l_readline}, {"remember", l_remember}, {"completer", l_completer},
        {"isatty", l_isatty},     {"size", l_size},         {"clock", l_clock},
        {"makedirs", l_makedirs}, {"append", l_append},     {NULL, NULL}};
    luaL_newlib(L, functions);
    tide_interrupt_functions(L);
    return 1;
}
