/* Within src/text: what characters are made of, and text that knows where it came from. */
#ifndef TIDE_CHARS_H
#define TIDE_CHARS_H

#include "text.h"

extern const uint8_t tide_ascii_kind[128];
#define TIDE_DECOMPOSED 24 /* characters that one can become, and some more */
int tide_char_decompose(int32_t c, bool compatible, int32_t *to);
int32_t tide_char_upper(int32_t c); /* one character */
int tide_char_combining(int32_t c);
int32_t tide_char_compose(int32_t a, int32_t b);         /* -1: they stay two */
bool tide_char_breaks(int32_t a, int32_t b, int *state); /* between grapheme clusters */
bool tide_char_category(int32_t c, const char *name);    /* "L", "Lu", … */
const char *tide_unicode_version(void);

/* -- text with, for each byte, the bytes of the original that it stands for -- */
typedef struct {
    uint32_t from, to;
} tide_origin;
typedef struct {
    char *s;
    tide_origin *at; /* [n] where `aligned`; else the text is the original from byte `base` on */
    size_t n, room, at_room;
    uint32_t base;
    bool aligned, failed;
} tide_aligned;
/* The text itself, its broken bytes replaced; its first byte is byte `base` of the original. */
bool tide_aligned_set(tide_aligned *, const char *s, size_t n, uint32_t base);
bool tide_aligned_track(tide_aligned *); /* notes where its bytes are from, before it is changed */
void tide_aligned_free(tide_aligned *);
void tide_aligned_start(tide_aligned *); /* empty, for changed text */
void tide_aligned_char(tide_aligned *, int32_t c, tide_origin);
void tide_aligned_add(tide_aligned *, const char *s, size_t n, tide_origin);
void tide_aligned_copy(tide_aligned *, const tide_aligned *, size_t first, size_t end);
tide_origin tide_span_of(const tide_aligned *, size_t i); /* of the character with byte i */
/* A normal form; `work` is other text to work in, and both change places. */
bool tide_aligned_normal(tide_aligned *t, tide_aligned *work, tide_form);
static inline void tide_aligned_swap(tide_aligned *a, tide_aligned *b) {
    const tide_aligned c = *a;
    *a = *b, *b = c;
}

#endif
