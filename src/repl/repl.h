/* The C side of the tide program: interrupts and the terminal, as Lua modules that only this
 * program has. */
#ifndef TIDE_REPL_H
#define TIDE_REPL_H

#include <lua.h>

/* Installs coroutine.resume and coroutine.wrap that keep the running coroutine known. Pushes
 * nothing. */
void tide_interrupt_coroutines(lua_State *L);
/* Pushes the module `tide.repl.terminal`. */
int tide_open_terminal(lua_State *L);

/* Ctrl-C while Lua runs raises "interrupted!" at its next instruction, in whichever coroutine that
 * is. */
void tide_interrupt_begin(lua_State *L);
void tide_interrupt_end(lua_State *L);
/* Ctrl-C ends an op that runs, too, in scripts and at the prompt. */
void tide_interrupt_ops(lua_State *L);
/* Adds to the module on top what the prompt needs to choose when it is interrupted: guarded,
 * unguarded. */
void tide_interrupt_functions(lua_State *L);

#endif
