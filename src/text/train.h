/* Within src/text: words and how often they came. */
#ifndef TIDE_TRAIN_H
#define TIDE_TRAIN_H

#include "tokenizer.h"

struct tide_counts {
    tide_map words; /* value: place in `count` */
    int64_t *count;
    size_t room;
    tide_bytes bytes; /* work space */
    bool as_bytes, failed;
};
/* Whether Ctrl-C was pressed: loops end and comparisons say nothing more, so that sorting ends;
 * what was made is thrown away by tide_train. */
static inline bool tide_train_stopped(void) {
    return __atomic_load_n(&tide_cancel, __ATOMIC_RELAXED);
}
/* The words' places in the order of their text, so that nothing depends on who came first; NULL: no
 * memory. The caller frees it. */
uint32_t *tide_counts_order(const tide_counts *);
void tide_train_vocab(tide_string *, const tide_map *tokens); /* "vocab": { … } by place */
tide_status tide_train_bpe(tide_ctx *, bool wordpiece, const tide_counts *, const tide_training *,
                           tide_string *);
tide_status tide_train_words(tide_ctx *, const tide_counts *, const tide_training *, tide_string *);
tide_status tide_train_unigram(tide_ctx *, const tide_counts *, const tide_training *,
                               tide_string *);

#endif
