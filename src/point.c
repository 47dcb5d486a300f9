/* Owns the one place where a thread's locale changes for a while. Invariant: what begin changed,
 * end changes back, on the same thread. */
#include "point.h"

#include <string.h>

tide_point tide_point_begin(void) {
    tide_point p = {0};
    if (strcmp(localeconv()->decimal_point, ".") == 0) return p;
    locale_t here = duplocale(uselocale((locale_t)0));
    if (!here) return p;
    p.own = newlocale(LC_NUMERIC_MASK, "C", here); /* takes `here` over */
    if (!p.own) {
        freelocale(here);
        return p;
    }
    p.before = uselocale(p.own);
    return p;
}

void tide_point_end(tide_point p) {
    if (!p.own) return;
    uselocale(p.before);
    freelocale(p.own);
}
