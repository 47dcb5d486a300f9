/* The tide program: a Lua 5.4 with Tide at hand. Runs scripts, lines and, at a terminal, the prompt
 * of lua/tide/repl.
 *
 * It owns its Lua state, and so may set the collector's mode and the signal handler; the module
 * never does. Tide's Lua and C modules are found beside the program: in the build tree, in PREFIX,
 * or in the folders it was installed with; failing that, on LUA_PATH. The working folder is for the
 * person's own modules: none of Tide's is looked up there. */
#define _GNU_SOURCE
#include "repl/repl.h"
#include "tide.h"

#include <errno.h>
#include <lauxlib.h>
#include <limits.h>
#include <locale.h>
#include <lua.h>
#include <lualib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#ifdef __GLIBC__
#include <malloc.h>
#endif

static const char usage[] =
    "usage: tide [options] [script [args]]\n"
    "       tide                a prompt to work in\n"
    "       tide -              the script comes from standard input\n"
    "       tide train CONFIG   train what a file describes\n"
    "       tide inspect FILE   what a model file holds\n"
    "       tide doctor         what is installed and what would make Tide faster\n"
    "       tide COMMAND --help help of a command\n"
    "options:\n"
    "  -e CODE       run a line of Lua (`tide` is there already)\n"
    "  -l MODULE     require a module into a global of its name; -l g=MODULE into the global g\n"
    "  -i            the prompt afterwards\n"
    "  --no-rc       do not run the startup file of the prompt\n"
    "  -v --version  print the version\n"
    "  -h --help     print this\n"
    "  --            no options after this\n"
    "TIDE_TRACEBACK=1 in the environment shows Tide's own frames of a script that failed.\n";

typedef struct {
    int argc;
    char **argv;
    int script; /* index of the script in argv; argc: none */
    int interactive, version, help, no_rc, code;
    const char *wrong; /* an option that is not one */
} options;

static options read_options(int argc, char **argv) {
    options o = {.argc = argc, .argv = argv, .script = argc};
    for (int i = 1; i < argc; i++) {
        const char *a = argv[i];
        if (a[0] != '-' || a[1] == '\0') {
            o.script = i;
            break;
        }
        if (strcmp(a, "--") == 0) {
            o.script = i + 1;
            break;
        }
        if (strcmp(a, "-i") == 0) o.interactive = 1;
        else if (strcmp(a, "-v") == 0 || strcmp(a, "--version") == 0) o.version = 1;
        else if (strcmp(a, "-h") == 0 || strcmp(a, "--help") == 0) o.help = 1;
        else if (strcmp(a, "--no-rc") == 0) o.no_rc = 1;
        else if (a[1] == 'e' || a[1] == 'l') {
            if (a[2] == '\0' && ++i >= argc) {
                o.wrong = a;
                break;
            }
            o.code |= a[1] == 'e';
        } else {
            o.wrong = a;
            break;
        }
    }
    return o;
}

/* -- where the modules are -- */

static int readable(const char *folder, const char *file) {
    char path[PATH_MAX];
    int n = snprintf(path, sizeof path, "%s/%s", folder, file);
    return n > 0 && (size_t)n < sizeof path && access(path, R_OK) == 0;
}

/* package[field] = before .. ";" .. package[field] */
static void prepend(lua_State *L, const char *field, const char *format, const char *folder) {
    lua_getglobal(L, "package");
    luaL_Buffer b;
    luaL_buffinit(L, &b);
    for (const char *p = format; *p; p++) {
        if (*p == '@') luaL_addstring(&b, folder);
        else luaL_addchar(&b, *p);
    }
    luaL_addchar(&b, ';');
    luaL_pushresult(&b);
    lua_getfield(L, -2, field);
    lua_concat(L, 2);
    lua_setfield(L, -2, field);
    lua_pop(L, 1);
}

static void use(lua_State *L, const char *lua, const char *lib) {
    prepend(L, "path", "@/?.lua;@/?/init.lua", lua);
    prepend(L, "cpath", "@/?.so", lib);
}

static void find_modules(lua_State *L) {
    static const char *const places[][2] = {{"../lua", "lib"},    /* build/tide */
                                            {"../../lua", "lib"}, /* build/asan/tide */
                                            {"../share/lua/5.4", "../lib/lua/5.4"}};
    char here[PATH_MAX - 32];
    ssize_t n = readlink("/proc/self/exe", here, sizeof here - 1);
    if (n > 0) {
        here[n] = '\0';
        *strrchr(here, '/') = '\0';
        for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
            char lua[PATH_MAX], lib[PATH_MAX], *real;
            snprintf(lua, sizeof lua, "%s/%s", here, places[i][0]);
            snprintf(lib, sizeof lib, "%s/%s", here, places[i][1]);
            if (!readable(lua, "tide/init.lua")) continue;
            real = realpath(lua, NULL);
            lua_pushstring(L, real ? real : lua);
            free(real);
            real = realpath(lib, NULL);
            lua_pushstring(L, real ? real : lib);
            free(real);
            use(L, lua_tostring(L, -2), lua_tostring(L, -1));
            lua_pop(L, 2);
            return;
        }
    }
#ifdef TIDE_LUADIR
    use(L, TIDE_LUADIR, TIDE_LIBDIR);
#endif
}

/* Loads tide.env, whose searcher finds all other modules of Tide's. What the program finds stands
 * first on package.path. */
static void start_modules(lua_State *L) {
    static const char code[] =
        "local path = (';' .. package.path .. ';')\n"
        "path = path:gsub(';%./%?%.lua%f[;]', ''):gsub(';%./%?/init%.lua%f[;]', ''):sub(2, -2)\n"
        "local file = package.searchpath('tide.env', path)\n"
        "if not file then\n"
        "  error('the modules of Tide are neither beside the program nor on LUA_PATH', 0)\n"
        "end\n"
        "package.loaded['tide.env'] = assert(loadfile(file))('tide.env', file)\n";
    if (luaL_loadstring(L, code) != LUA_OK) lua_error(L);
    lua_call(L, 0, 0);
}

/* -- running -- */

static int message_handler(lua_State *L) {
    const char *message = lua_tostring(L, 1);
    if (!message) {
        if (luaL_callmeta(L, 1, "__tostring") && lua_type(L, -1) == LUA_TSTRING)
            message = lua_tostring(L, -1);
        else message = lua_pushfstring(L, "(error object is a %s value)", luaL_typename(L, 1));
    }
    luaL_traceback(L, L, message, 1);
    return 1;
}

/* Pushes a function of a module of Tide's; nil where the module cannot be loaded. */
static void push_function(lua_State *L, const char *module, const char *name) {
    lua_getglobal(L, "require");
    lua_pushstring(L, module);
    if (lua_pcall(L, 1, 1, 0) == LUA_OK) lua_getfield(L, -1, name);
    else lua_pushnil(L);
    lua_remove(L, -2);
}

/* Replaces the message and traceback on top by what tide.repl.explain makes of them; leaves them as
 * they are where that fails. */
static void fold_frames(lua_State *L) {
    push_function(L, "tide.repl.explain", "of_script");
    lua_pushvalue(L, -2);
    if (lua_pcall(L, 1, 1, 0) == LUA_OK && lua_isstring(L, -1)) lua_replace(L, -2);
}

/* Has the program say which globals that are nil were meant to be strings. */
static void watch_globals(lua_State *L) {
    push_function(L, "tide.repl.unset", "watch");
    lua_pushglobaltable(L);
    lua_call(L, 1, 0);
}

/* A chunk that is no file: its text is kept for what is said of its globals. */
static int load_text(lua_State *L, const char *text, const char *name) {
    push_function(L, "tide.repl.unset", "typed");
    lua_pushstring(L, name);
    lua_pushstring(L, text);
    lua_call(L, 2, 0);
    return luaL_loadbuffer(L, text, strlen(text), name);
}

/* Standard input as a chunk; the function, or the message, is left on the stack. */
static int load_input(lua_State *L) {
    push_function(L, "tide.repl.unset", "input");
    lua_call(L, 0, 2);
    int failed = lua_isnil(L, -2);
    if (failed) lua_remove(L, -2);
    else lua_pop(L, 1);
    return failed ? LUA_ERRSYNTAX : LUA_OK;
}

/* Calls the function under its n arguments; results stay. On failure prints the message and returns
 * 0. */
static int call(lua_State *L, int n, int results) {
    int base = lua_gettop(L) - n;
    lua_pushcfunction(L, message_handler);
    lua_insert(L, base);
    tide_interrupt_begin(L);
    int status = lua_pcall(L, n, results, base);
    tide_interrupt_end(L);
    lua_remove(L, base);
    if (status == LUA_OK) return 1;
    fflush(stdout);
    int top = lua_gettop(L);
    fold_frames(L);
    lua_settop(L, top);
    fprintf(stderr, "tide: %s\n", lua_tostring(L, -1));
    lua_pop(L, 1);
    return 0;
}

/* Runs the loaded chunk on top, or prints why it did not load. */
static int run_loaded(lua_State *L, int status, int n) {
    if (status == LUA_OK) {
        if (n) lua_insert(L, -(n + 1));
        return call(L, n, 0);
    }
    fprintf(stderr, "tide: %s\n", lua_tostring(L, -1));
    lua_pop(L, 1 + n);
    return 0;
}

static int push_args(lua_State *L, const options *o) {
    int n = o->argc - o->script - 1;
    if (n < 0) n = 0;
    luaL_checkstack(L, n + 3, "too many arguments to script");
    for (int i = 0; i < n; i++) lua_pushstring(L, o->argv[o->script + 1 + i]);
    return n;
}

/* `what` is the name of a module, or "global=module". */
static int require_into_global(lua_State *L, const char *what) {
    const char *sign = strchr(what, '=');
    lua_getglobal(L, "require");
    lua_pushstring(L, sign ? sign + 1 : what);
    if (!call(L, 1, 1)) return 0;
    if (sign) lua_pushlstring(L, what, (size_t)(sign - what));
    else lua_pushstring(L, what);
    lua_insert(L, -2);
    lua_pushglobaltable(L);
    lua_insert(L, -3);
    lua_settable(L, -3);
    lua_pop(L, 1);
    return 1;
}

/* `tide word …`, where no file is called `word` and Tide has the module tide.cli.word: that module
 * is called with the rest. */
static int is_command(lua_State *L, const char *word) {
    for (const char *p = word; *p; p++)
        if (!((*p >= 'a' && *p <= 'z') || *p == '_')) return 0;
    if (access(word, F_OK) == 0) return 0;
    lua_getglobal(L, "package");
    lua_getfield(L, -1, "searchers");
    lua_getfield(L, -1, "tide");
    lua_pushfstring(L, "tide.cli.%s", word);
    int found = lua_pcall(L, 1, 1, 0) == LUA_OK;
    lua_pop(L, 3);
    return found;
}

static int run_command(lua_State *L, const options *o) {
    lua_getglobal(L, "require");
    lua_pushfstring(L, "tide.cli.%s", o->argv[o->script]);
    if (!call(L, 1, 1)) return 0;
    int n = push_args(L, o);
    if (!call(L, n, 1)) return 0;
    int ok = lua_isnil(L, -1) || lua_toboolean(L, -1);
    lua_pop(L, 1);
    return ok;
}

static int run_script(lua_State *L, const options *o) {
    const char *name = o->argv[o->script];
    if (is_command(L, name)) return run_command(L, o);
    int n = push_args(L, o);
    return run_loaded(L, strcmp(name, "-") == 0 ? load_input(L) : luaL_loadfile(L, name), n);
}

static int run_prompt(lua_State *L, const options *o) {
    lua_getglobal(L, "require");
    lua_pushliteral(L, "tide.repl");
    if (!call(L, 1, 1)) return 0;
    lua_getfield(L, -1, "run");
    lua_remove(L, -2);
    lua_newtable(L);
    lua_pushboolean(L, o->no_rc);
    lua_setfield(L, -2, "no_rc");
    if (!call(L, 1, 1)) return 0;
    int ok = lua_toboolean(L, -1);
    lua_pop(L, 1);
    return ok;
}

static int program(lua_State *L) {
    const options *o = lua_touserdata(L, 1);
    luaL_openlibs(L);
    lua_gc(L, LUA_GCGEN, 0, 0);
    find_modules(L);
    tide_interrupt_coroutines(L);
    tide_interrupt_ops(L);
    lua_getglobal(L, "package");
    lua_getfield(L, -1, "preload");
    lua_pushcfunction(L, tide_open_terminal);
    lua_setfield(L, -2, "tide.repl.terminal");
    lua_pop(L, 2);

    int zero = o->script < o->argc ? o->script : 0;
    lua_createtable(L, o->argc - zero, zero + 1);
    for (int i = 0; i < o->argc; i++) {
        lua_pushstring(L, o->argv[i]);
        lua_rawseti(L, -2, i - zero);
    }
    lua_setglobal(L, "arg");

    int script = o->script < o->argc;
    int prompt = o->interactive || (!script && !o->code && !o->version && isatty(STDIN_FILENO));
    int from_stdin = !script && !o->interactive && !o->code && !o->version && !prompt;
    int ok = 1;
    if (o->version) printf("Tide %s on %s\n", TIDE_VERSION, LUA_RELEASE);
    start_modules(L);
    watch_globals(L);
    if (o->code) ok = require_into_global(L, "tide");
    for (int i = 1; ok && i < o->script && i < o->argc; i++) {
        const char *a = o->argv[i];
        if (a[0] != '-' || (a[1] != 'e' && a[1] != 'l')) continue;
        const char *value = a[2] ? a + 2 : o->argv[++i];
        if (a[1] == 'l') ok = require_into_global(L, value);
        else ok = run_loaded(L, load_text(L, value, "=-e"), 0);
    }
    if (ok && script) ok = run_script(L, o);
    if (ok && from_stdin) ok = run_loaded(L, load_input(L), 0);
    if (prompt && (ok || o->interactive)) ok = run_prompt(L, o);
    lua_pushboolean(L, ok);
    return 1;
}

/* Memory that is free stays in the program, up to a bound: the first touch of a page that the
 * system gives anew takes longer than most of what is done with it, and long texts of data come and
 * go. */
static void keep_memory(void) {
#ifdef __GLIBC__
    mallopt(M_MMAP_THRESHOLD, 4 << 20);
    mallopt(M_TRIM_THRESHOLD, 32 << 20);
#endif
}

int main(int argc, char **argv) {
    keep_memory();
    options o = read_options(argc, argv);
    if (o.wrong) {
        fprintf(stderr, "tide: no such option, or nothing after it: %s\n%s", o.wrong, usage);
        return 1;
    }
    if (o.help) {
        fputs(usage, stdout);
        return 0;
    }
    const char *characters = setlocale(LC_CTYPE, ""); /* libedit reads whole characters */
    if (!characters || strcmp(characters, "C") == 0 || strcmp(characters, "POSIX") == 0)
        setlocale(LC_CTYPE, "C.UTF-8"); /* which says nothing of them, and drops all but ASCII */
    lua_State *L = luaL_newstate();
    if (!L) {
        fputs("tide: no memory for a Lua state\n", stderr);
        return 1;
    }
    lua_pushcfunction(L, program);
    lua_pushlightuserdata(L, &o);
    int status = lua_pcall(L, 1, 1, 0);
    int ok = status == LUA_OK && lua_toboolean(L, -1);
    if (status != LUA_OK) fprintf(stderr, "tide: %s\n", lua_tostring(L, -1));
    lua_close(L);
    /* A full disk: what was printed is not all there. Of a terminal it only says that Ctrl-C came
     * between. */
    const int bad = fflush(stdout) != 0 || ferror(stdout), why = errno;
    if (bad && !isatty(STDOUT_FILENO)) {
        fprintf(stderr, "tide: standard output cannot be written: %s\n", strerror(why));
        ok = 0;
    }
    return ok ? 0 : 1;
}
