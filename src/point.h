/* Numbers are written and read with a decimal point, whatever locale the host has set: between
 * begin and end on this thread alone, and for nothing where the locale has a point anyway. */
#ifndef TIDE_POINT_H
#define TIDE_POINT_H

#include <locale.h>

typedef struct {
    locale_t before, own; /* own is 0 where nothing had to be changed */
} tide_point;

tide_point tide_point_begin(void);
void tide_point_end(tide_point);

#endif
