/* Text: UTF-8, characters by their kinds, and tokenizers that cut text into numbered pieces. No
 * Lua.
 *
 * A tokenizer is a `tokenizer.json` of Hugging Face's form, checked and compiled: a normalizer, a
 * pre-tokenizer, a model, a post-processor, a decoder and tokens added beside the model. It does
 * not change while it encodes; what encoding needs to remember stands in a tide_encoder, one per
 * thread. Offsets are bytes of the text that was given, from 0; ids are those of the file, from 0.
 */
#ifndef TIDE_TEXT_H
#define TIDE_TEXT_H

#include "../core.h"
#include "../io/io.h"

#include <stdbool.h>

/* -- characters (unicode.c) -- */
#define TIDE_BROKEN 0xFFFD /* what stands for bytes that are no UTF-8 */
/* The character at p < end: returns its bytes, 1 or more. Broken bytes are TIDE_BROKEN, as many at
 * once as could have begun a character (Unicode 15, 3.9, "maximal subparts"). */
int tide_utf8_get(const char *p, const char *end, int32_t *c /* out */);
int tide_utf8_put(char *p /* out: up to 4 bytes */, int32_t c); /* returns the bytes */
bool tide_utf8_valid(const char *s, size_t n);
int tide_utf8_length(unsigned char first); /* of a valid character, by its first byte */
enum {
    TIDE_LETTER = 1,      /* L */
    TIDE_NUMBER = 2,      /* N */
    TIDE_SPACE = 4,       /* White_Space */
    TIDE_PUNCT = 8,       /* P */
    TIDE_MARK = 16,       /* M */
    TIDE_NONSPACING = 32, /* Mn */
    TIDE_CONTROL = 64,    /* Cc Cf Co Cs */
    TIDE_JOINER = 256,    /* which Rust's \w has, and Oniguruma's has not */
    TIDE_WORD = 128,      /* what \w means: letters, marks, decimal digits, connectors */
};
int tide_char_kind(int32_t c);
/* Lower case of one character: up to 3 into `to`, how many. */
int tide_char_lower(int32_t c, int32_t *to);
typedef enum { TIDE_NFC, TIDE_NFD, TIDE_NFKC, TIDE_NFKD } tide_form;

/* -- bytes that grow; a failed allocation sticks, and later calls do nothing -- */
typedef struct tide_bytes {
    char *p;
    size_t n, room;
    bool failed;
} tide_bytes;
void tide_bytes_add(tide_bytes *, const char *s, size_t n);
void tide_bytes_char(tide_bytes *, int32_t c);
/* Room for n elements of a size in a block that grows, or false. */
bool tide_grow(void *block /* pointer to the pointer */, size_t *room, size_t n, size_t size);

/* -- whole strings, as Python has them -- */
tide_status tide_text_lower(tide_ctx *, const char *s, size_t n, tide_bytes *out);
tide_status tide_text_normal(tide_ctx *, const char *s, size_t n, tide_form, tide_bytes *out);
tide_status tide_text_mend(tide_ctx *, const char *s, size_t n, tide_bytes *out);

/* -- tokenizers -- */
#define TIDE_TOKENIZER_BYTES ((size_t)256 << 20) /* of a tokenizer.json */
#define TIDE_TOKENIZER_IDS (1 << 24)             /* ids are smaller */
typedef struct tide_tokenizer tide_tokenizer;
typedef struct tide_encoder tide_encoder;
typedef struct {
    int32_t id, word;  /* word: the piece of the text it is of, from 0; -1: none */
    uint32_t from, to; /* bytes of the text */
    uint8_t type, special, pad;
    int8_t sequence; /* 0, 1; -1: none */
} tide_token;
typedef struct {
    tide_token *p;
    size_t n, room;
    size_t *ends; /* [parts]: what truncation left over follows the first part */
    size_t parts, parts_room;
} tide_encoding;

tide_status tide_tokenizer_parse(tide_ctx *, const char *what, const char *json, size_t n,
                                 tide_tokenizer **out);
void tide_tokenizer_free(tide_tokenizer *); /* accepts NULL */
tide_status tide_tokenizer_write(tide_ctx *, const tide_tokenizer *, tide_string *out);
tide_encoder *tide_encoder_new(void);   /* NULL: no memory */
void tide_encoder_free(tide_encoder *); /* accepts NULL */
enum {
    TIDE_ADD_SPECIAL = 1,   /* what the post-processor adds */
    TIDE_PLAIN_SPECIAL = 2, /* special tokens in the text are text */
};
/* One text, or a pair of them; the encoding is made empty first. */
tide_status tide_tokenizer_encode(tide_ctx *, const tide_tokenizer *, tide_encoder *,
                                  const char *text, size_t n, const char *pair /* optional */,
                                  size_t pair_n, int flags, tide_encoding *out);
void tide_encoding_free(tide_encoding *);
/* Every part shorter than a length gets padding before or behind it. */
tide_status tide_encoding_pad(tide_ctx *, tide_encoding *, size_t length, int32_t id, int type,
                              bool left);
/* Pieces of a text as the model would see them: normalized and cut. */
typedef void tide_piece_fn(void *to, const char *s, size_t n, uint32_t from, uint32_t end);
tide_status tide_tokenizer_pieces(tide_ctx *, const tide_tokenizer *, tide_encoder *,
                                  const char *text, size_t n, tide_piece_fn *, void *to);
tide_status tide_tokenizer_decode(tide_ctx *, const tide_tokenizer *, const int32_t *ids, size_t n,
                                  bool skip_special, tide_bytes *out);
/* The token of an id, NULL: there is none; its length in `n`. */
const char *tide_tokenizer_token(const tide_tokenizer *, int32_t id, size_t *n);
int32_t tide_tokenizer_id(const tide_tokenizer *, const char *token, size_t n); /* -1: none */
int32_t tide_tokenizer_ids(const tide_tokenizer *, bool added); /* the largest id + 1 */
bool tide_tokenizer_merge(const tide_tokenizer *, int64_t i, int32_t *a, int32_t *b); /* in order */
bool tide_tokenizer_is_special(const tide_tokenizer *, int32_t id);

/* -- settings of a tokenizer.json that a person reads and changes -- */
typedef struct {
    bool on, left;
    size_t length, stride;
    int strategy; /* 0 longest first, 1 only the first, 2 only the second */
} tide_truncation;
typedef struct {
    bool on, left, fixed;
    size_t length, multiple; /* 0: none */
    int32_t id, type;
    char *token; /* owned */
} tide_padding;
tide_truncation *tide_tokenizer_truncation(tide_tokenizer *);
tide_padding *tide_tokenizer_padding(tide_tokenizer *);

/* -- training: words are counted, then the model is made anew -- */
typedef struct tide_counts tide_counts;
tide_counts *tide_counts_new(void);   /* NULL: no memory */
void tide_counts_free(tide_counts *); /* accepts NULL */
tide_status tide_counts_add(tide_ctx *, tide_counts *, const tide_tokenizer *, tide_encoder *,
                            const char *text, size_t n);
typedef struct {
    int64_t vocab_size, min_frequency, limit_alphabet, max_token_length, max_piece_length,
        n_sub_iterations;
    double shrinking_factor;
    const char *const *special; /* [nspecial]: tokens that stand first */
    size_t nspecial;
    const char *const *alphabet; /* [nalphabet]: characters kept whatever their counts */
    size_t nalphabet;
    const char *unk, *prefix, *suffix; /* NULL: none */
} tide_training;
typedef enum { TIDE_BPE, TIDE_WORDPIECE, TIDE_WORDLEVEL, TIDE_UNIGRAM } tide_model_kind;
tide_model_kind tide_tokenizer_kind(const tide_tokenizer *);
/* The options of its model as the beginning of a JSON object, without vocabulary and end. */
tide_status tide_tokenizer_options(tide_ctx *, const tide_tokenizer *, tide_string *out);
void tide_tokenizer_marks(const tide_tokenizer *, const char **unk, const char **prefix,
                          const char **suffix, bool *bytes);
/* The vocabulary of a model of this kind, trained on the words, as members of a JSON object. */
tide_status tide_train(tide_ctx *, tide_model_kind, const tide_counts *, const tide_training *,
                       tide_string *model /* out */);

#endif
