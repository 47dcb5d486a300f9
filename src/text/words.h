/* Texts as words, and as the numbers of their words in a vocabulary: what layers of text do with
 * bytes. No Lua. */
#ifndef TIDE_TEXT_WORDS_H
#define TIDE_TEXT_WORDS_H

#include "store.h"

/* -- words -- */
typedef enum { TIDE_CUT_SPACES, TIDE_CUT_CHARACTERS, TIDE_CUT_NOWHERE } tide_cut;

/* How a text is made alike and cut, byte by byte: ASCII's letters, spaces and punctuation, whatever
 * the locale says. */
typedef struct {
    unsigned char to[256], kind[256];
    tide_cut cut;
    const char *from, *end; /* what is left of the text */
    char *text;             /* what was made of it, with room for all */
    size_t n, at, room;
} tide_cutter;

/* lower: letters become small; strip: punctuation is left out. */
void tide_cutter_init(tide_cutter *, bool lower, bool strip, tide_cut);
/* Takes a text, which is lent until the next one is taken. false: no memory. */
bool tide_cutter_begin(tide_cutter *, const char *s, size_t n);
/* The next word, valid until the call after; false: there is none. */
bool tide_cutter_next(tide_cutter *, const char **word, size_t *n);
void tide_cutter_free(tide_cutter *); /* what it holds, not itself */

/* -- numbers of the words of several texts -- */
typedef struct {
    const char *s;
    size_t n;
} tide_passage;

typedef struct tide_piece_ids tide_piece_ids;
typedef struct {
    int64_t longest;       /* words of a text */
    int64_t pieces;        /* that threads made */
    tide_piece_ids *piece; /* [pieces] */
} tide_ids;

/* What is looked up: the words of texts, or several words in a row with a space between them, those
 * of one length behind each other, length by length; `most` of a text, < 0: all. */
typedef struct {
    const tide_map *known;
    int64_t other;          /* the number of what is not there */
    const tide_cutter *how; /* begun by init alone */
    const int64_t *length;  /* [lengths], from 1 */
    int64_t lengths;        /* 0: words */
    int64_t most;
} tide_lookup;
/* Finds the numbers for n texts by the threads there are. Interrupted, out of memory: the context
 * says so. */
tide_status tide_ids_find(tide_ctx *, const tide_lookup *, const tide_passage *text, int64_t n,
                          tide_ids *out);
/* A row of `width` >= longest for each text, ended by 0. */
void tide_ids_put(const tide_ids *, int64_t width, int64_t *to /* (n, width) */);
void tide_ids_free(tide_ids *); /* what it holds, not itself */

#endif
