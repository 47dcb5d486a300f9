#ifndef TIDE_EXCEPTIONS_H
#define TIDE_EXCEPTIONS_H

/* Exceptions can be caught by the runtime of C++ that `lib`, a handle of dlopen, depends on; 0: it
 * shows none. */
int tide_exceptions_of(void *lib);

#endif
