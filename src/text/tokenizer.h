/* Within src/text: a tokenizer, compiled, and what it works with while it encodes. */
#ifndef TIDE_TOKENIZER_H
#define TIDE_TOKENIZER_H

#include "tree.h"

/* -- parts: normalizers, pre-tokenizers, post-processors, decoders -- */
typedef enum {
    PART_SEQUENCE,
    /* normalizers */
    NORMAL_BERT, /* on: clean, Chinese characters, strip accents, lower case */
    NORMAL_FORM, /* mode: a tide_form */
    NORMAL_LOWER,
    NORMAL_STRIP, /* on: left, right */
    NORMAL_ACCENTS,
    NORMAL_REPLACE, /* s or regex by t; a decoder too */
    NORMAL_PREPEND, /* s */
    NORMAL_NMT,
    NORMAL_CHARSMAP, /* s: the bytes of SentencePiece's map */
    NORMAL_BYTES,
    /* pre-tokenizers; mode: a behaviour */
    SPLIT_BERT,
    SPLIT_BYTES, /* on: prefix space, trim offsets, GPT-2's pattern; a decoder too */
    SPLIT_WORDS, /* \w+|[^\w\s]+ */
    SPLIT_SPACES,
    SPLIT_PUNCTUATION,
    SPLIT_DIGITS, /* on: each by itself */
    SPLIT_META,   /* s: replacement; mode: prepend never, first, always; on: split; a decoder too */
    SPLIT_PATTERN,   /* s or regex; on: invert */
    SPLIT_CHARACTER, /* n: the character */
    SPLIT_LENGTH,    /* n: characters */
    /* decoders */
    DECODE_WORDPIECE, /* s: prefix; on: clean up */
    DECODE_BPE,       /* s: suffix */
    DECODE_BYTES,     /* <0xE2> and its like */
    DECODE_FUSE,
    DECODE_STRIP, /* s: character; n, m: at most so many at the beginning, at the end */
    DECODE_CTC,   /* s: pad; t: word delimiter; on: clean up */
} tide_part_kind;
enum { REMOVED, ISOLATED, WITH_PREVIOUS, WITH_NEXT, CONTIGUOUS };
enum { PREPEND_NEVER, PREPEND_FIRST, PREPEND_ALWAYS };
typedef struct tide_part tide_part;
struct tide_part {
    tide_part_kind kind;
    bool on[4];
    int mode;
    int64_t n, m;
    const char *s, *t;
    size_t sn, tn;
    tide_regex *regex;
    tide_part *child; /* [children] */
    size_t children;
    const char *raw; /* as the file writes it */
    size_t raw_n;
};

/* What a post-processor puts around sequences. */
typedef struct {
    int sequence; /* 0, 1: the texts; -1: ids of its own */
    int type;
    int32_t *ids; /* [n] */
    size_t n;
} tide_slot;
typedef struct {
    tide_slot *slot;
    size_t n;
    size_t added; /* ids beside the texts' */
} tide_template;

typedef struct {
    const char *content, *shown; /* as it is given; as normalized text has it */
    size_t n, shown_n;
    int32_t id;
    bool single_word, lstrip, rstrip, normalized, special;
} tide_added;

struct tide_tokenizer {
    tide_arena arena;
    tide_part *normalizer, *pre, *post, *decoder; /* NULL: none */
    /* post */
    bool templates, trim, trim_prefix, one_type;
    tide_template single, pair;
    /* model */
    tide_model_kind kind;
    tide_map vocab;    /* value: id */
    int32_t *entry_of; /* [nids]: its entry in `vocab`, -1: none */
    int32_t nids;
    bool bytes;                        /* pieces come as bytes, tokens as GPT-2 writes bytes */
    int32_t byte_id[256];              /* the token of a byte (bytes, byte_fallback), -1: none */
    const char *unk, *prefix, *suffix; /* NULL: none */
    int32_t unk_id;                    /* -1: none */
    bool fuse_unk, byte_fallback, ignore_merges;
    double dropout;
    tide_keys merges;   /* left << 32 | right -> rank << 32 | new */
    uint64_t *merge_at; /* [nmerges]: the keys in order */
    size_t nmerges, merges_room;
    int64_t most_chars;
    tide_trie head, tail; /* WordPiece: words' beginnings, and what follows; Unigram: head */
    double *score;        /* Unigram: [nids] */
    double unk_score;
    /* added tokens */
    tide_added *added;
    size_t nadded, added_room;
    tide_map added_ids;    /* content -> place in `added` */
    tide_keys added_of;    /* id -> place in `added` */
    tide_trie raw, normal; /* value: place in `added` */
    int32_t largest;       /* id, of all */
    tide_truncation truncation;
    tide_padding padding;
};

/* -- while it encodes -- */
typedef struct {
    size_t first, end;
} tide_range;
typedef struct {
    size_t first, end;
    bool match;
} tide_cut;
typedef struct {
    int32_t id;
    uint32_t first, end; /* bytes of the piece */
} tide_hit;
typedef struct {
    int32_t id;
    uint32_t n;
    int64_t rank; /* of the merge with the next, -1: none */
    int32_t next, before, merged;
} tide_symbol;
typedef struct {
    int64_t rank;
    int32_t at, left_id, right_id;
} tide_pair_at;
typedef struct {
    double score;
    int32_t id; /* -2: no way leads here yet */
    uint32_t from;
} tide_best;
struct tide_encoder {
    tide_aligned segment, text, work; /* between added tokens; between those in normalized text */
    uint32_t base;                    /* the first byte of the original that `text` stands for */
    tide_range *piece, *piece2;
    size_t pieces, piece_room, piece2_room;
    tide_cut *cut;
    size_t cuts, cut_room;
    tide_choices choices;
    tide_hit *out; /* of one piece */
    size_t outs, out_room;
    tide_symbol *symbol;
    size_t symbol_room;
    tide_pair_at *heap;
    size_t heap_n, heap_room;
    tide_map seen; /* a piece -> place in `kept`, where a mark with the number of marks stands */
    tide_hit *kept;
    size_t nkept, kept_room;
    const tide_tokenizer *seen_for;
    tide_best *best; /* Unigram: the best way to each byte */
    size_t best_room;
    tide_token *token[2]; /* of the texts, before they are put together */
    size_t tokens[2], token_room[2];
    tide_range *range[2]; /* of those: what truncation makes of them */
    size_t ranges[2], range_room[2];
    uint64_t draws;  /* of BPE's dropout */
    bool failed;     /* no memory, or a pattern that takes too long */
    const char *why; /* NULL: no memory */
};

/* normal.c */
bool tide_normalize(const tide_part *, tide_encoder *); /* e->text */
bool tide_read_normalizer(tide_reading *, tide_arena *, const tide_tree *, const char *path,
                          tide_part *);
bool tide_read_pattern(tide_reading *, tide_arena *, const tide_tree *, const char *path,
                       tide_part *);
bool tide_read_sequence(tide_reading *, tide_arena *, const tide_tree *, const char *path,
                        const char *key, tide_part *,
                        bool (*)(tide_reading *, tide_arena *, const tide_tree *, const char *,
                                 tide_part *));
void tide_part_free(tide_part *); /* its patterns */
/* Matches of a part's pattern in bytes first..end of a text, and what is between, as e->cut. */
bool tide_cut_pattern(const tide_part *, tide_encoder *, const char *s, size_t first, size_t end);
/* split.c */
bool tide_split(const tide_part *, tide_encoder *); /* e->piece, of e->text */
bool tide_read_splitter(tide_reading *, tide_arena *, const tide_tree *, const char *path,
                        tide_part *);
/* The character by which GPT-2 writes a byte: itself where it shows, else one from 256 on. */
static inline int32_t tide_byte_char(unsigned char b) {
    return b < 33 ? 256 + b : b >= 127 && b <= 160 ? 289 + b - 127 : b == 173 ? 323 : b;
}
static inline int tide_byte_of(int32_t c) { /* -1: it stands for none */
    return c >= 256 && c <= 288                                   ? c - 256
        : c >= 289 && c <= 322                                    ? c - 289 + 127
        : c == 323                                                ? 173
        : c < 33 || (c >= 127 && c <= 160) || c == 173 || c > 255 ? -1
                                                                  : c;
}
/* model.c: the tokens of a piece, in e->out */
bool tide_model_encode(const tide_tokenizer *, tide_encoder *, const char *s, size_t n);
bool tide_read_model(tide_reading *, tide_tokenizer *, const tide_tree *);
/* post.c */
bool tide_read_post(tide_reading *, tide_tokenizer *, const tide_tree *, const char *path);
/* decode.c */
bool tide_read_decoder(tide_reading *, tide_arena *, const tide_tree *, const char *path,
                       tide_part *);
/* added.c: tokens beside the model's, found in the text as they are written */
bool tide_find_added(const tide_tokenizer *, const tide_trie *, int flags, const char *s, size_t n,
                     size_t *scan, size_t start, size_t *from, size_t *to, const tide_added **out);
bool tide_read_added(tide_reading *, tide_tokenizer *, const tide_tree *list);

#endif
