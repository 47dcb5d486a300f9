// The only C++ of Tide: the functions of oneDNN, of which some throw, as ones that return a status.
//
// The runtime of C++ is the one that the opened library has brought (exceptions.c); the Makefile
// gives the names under which it is called.
#include "library.h"

#ifdef TIDE_HAS_ONEDNN

static tide_dnnl_lib raw;

template <auto member, typename... A>
static void guard(tide_dnnl_lib *lib, dnnl_status_t (*tide_dnnl_lib::*)(A...)) {
    lib->*member = [](A... a) {
        dnnl_status_t status = dnnl_out_of_memory;
        try {
            status = (raw.*member)(a...);
        } catch (...) {}
        if (status == dnnl_out_of_memory) tide_dnnl_ran_short();
        return status;
    };
}
// What returns anything else looks at objects that are there and does not throw.
template <auto member, typename R, typename... A>
static void guard(tide_dnnl_lib *, R (*tide_dnnl_lib::*)(A...)) {}

void tide_dnnl_guard(tide_dnnl_lib *lib) {
    raw = *lib;
#define X(name) guard<&tide_dnnl_lib::name>(lib, &tide_dnnl_lib::name);
    TIDE_DNNL_SYMBOLS(X)
#undef X
}

#endif
