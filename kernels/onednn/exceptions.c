/* The runtime of C++ that a library opened at run time brings, for guard.cc: so Tide itself links
 * none. */
#include "exceptions.h"

#include <dlfcn.h>
#include <stdint.h>
#include <unwind.h>

/* The names that the Makefile gives to what the compiler of guard.cc calls. */
_Unwind_Reason_Code tide_cxx_personality(int, _Unwind_Action, _Unwind_Exception_Class,
                                         struct _Unwind_Exception *, struct _Unwind_Context *);
void *tide_cxx_begin_catch(void *);
void tide_cxx_end_catch(void);

static __typeof__(tide_cxx_personality) *personality;
static __typeof__(tide_cxx_begin_catch) *begin_catch;
static __typeof__(tide_cxx_end_catch) *end_catch;

int tide_exceptions_of(void *lib) {
    *(void **)&personality = dlsym(lib, "__gxx_personality_v0");
    *(void **)&begin_catch = dlsym(lib, "__cxa_begin_catch");
    *(void **)&end_catch = dlsym(lib, "__cxa_end_catch");
    return personality && begin_catch && end_catch;
}

_Unwind_Reason_Code tide_cxx_personality(int version, _Unwind_Action actions,
                                         _Unwind_Exception_Class kind,
                                         struct _Unwind_Exception *exception,
                                         struct _Unwind_Context *context) {
    return personality(version, actions, kind, exception, context);
}
void *tide_cxx_begin_catch(void *exception) { return begin_catch(exception); }
void tide_cxx_end_catch(void) { end_catch(); }
