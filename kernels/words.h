/* The words that ENUM attributes of ops.def may be, each list once. A list gives the constants
 * (TIDE_PADDING_same), whose values the attribute holds on every floor, and the text from which the
 * door reads words (TIDE_WORDS(PADDING): "valid|same|causal|explicit"); the first is the default.
 */
#ifndef TIDE_WORDS_H
#define TIDE_WORDS_H

/* clang-format off */
#define TIDE_LIST_ACTIVATION(FIRST, NEXT) \
    FIRST(ACTIVATION, linear) NEXT(ACTIVATION, relu) NEXT(ACTIVATION, relu6) \
    NEXT(ACTIVATION, sigmoid) NEXT(ACTIVATION, tanh) NEXT(ACTIVATION, elu) \
    NEXT(ACTIVATION, gelu) NEXT(ACTIVATION, silu)
/* cells of recurrent layers, and what their gates and candidates apply */
#define TIDE_LIST_CELL(FIRST, NEXT) \
    FIRST(CELL, simple) NEXT(CELL, lstm) NEXT(CELL, gru) NEXT(CELL, gru_before)
#define TIDE_LIST_GATE(FIRST, NEXT) \
    FIRST(GATE, linear) NEXT(GATE, relu) NEXT(GATE, sigmoid) NEXT(GATE, tanh) \
    NEXT(GATE, hard_sigmoid)
/* of pooling and transposed convolutions, which know the first two of convolutions */
#define TIDE_LIST_PADDING_2(FIRST, NEXT) \
    FIRST(PADDING, valid) NEXT(PADDING, same)
#define TIDE_LIST_PADDING(FIRST, NEXT) \
    TIDE_LIST_PADDING_2(FIRST, NEXT) NEXT(PADDING, causal) NEXT(PADDING, explicit)
#define TIDE_LIST_CHANNELS(FIRST, NEXT) \
    FIRST(CHANNELS, channels_last) NEXT(CHANNELS, channels_first)
#define TIDE_LIST_MARGIN(FIRST, NEXT) \
    FIRST(MARGIN, constant) NEXT(MARGIN, reflect) NEXT(MARGIN, symmetric) NEXT(MARGIN, edge)
#define TIDE_LIST_REDUCTION(FIRST, NEXT) \
    FIRST(REDUCTION, none) NEXT(REDUCTION, add) NEXT(REDUCTION, max) NEXT(REDUCTION, min) \
    NEXT(REDUCTION, mul)
#define TIDE_LIST_SIDE(FIRST, NEXT) FIRST(SIDE, left) NEXT(SIDE, right)
/* functions whose values sum_of_ adds; count: 1, but 0 of 0 */
#define TIDE_LIST_SUMMED(FIRST, NEXT) \
    FIRST(SUMMED, itself) NEXT(SUMMED, square) NEXT(SUMMED, abs) NEXT(SUMMED, power) \
    NEXT(SUMMED, exp) NEXT(SUMMED, count)
/* what recolor_ does to the colours of a picture */
#define TIDE_LIST_RECOLOR(FIRST, NEXT) \
    FIRST(RECOLOR, brightness) NEXT(RECOLOR, contrast) NEXT(RECOLOR, autocontrast) \
    NEXT(RECOLOR, degenerate) NEXT(RECOLOR, grayscale) NEXT(RECOLOR, invert) \
    NEXT(RECOLOR, solarize) NEXT(RECOLOR, posterize) NEXT(RECOLOR, hue) \
    NEXT(RECOLOR, saturation) NEXT(RECOLOR, sharpen)
#define TIDE_LIST_QR(FIRST, NEXT) FIRST(QR, reduced) NEXT(QR, complete)
/* kernels of resampling; area: the mean of what an element covers */
#define TIDE_LIST_RESAMPLING(FIRST, NEXT) \
    FIRST(RESAMPLING, linear) NEXT(RESAMPLING, cubic) NEXT(RESAMPLING, lanczos3) \
    NEXT(RESAMPLING, lanczos5) NEXT(RESAMPLING, area)
#define TIDE_LIST_INTERPOLATION(FIRST, NEXT) \
    FIRST(INTERPOLATION, bilinear) NEXT(INTERPOLATION, nearest)
/* what lies outside of a picture; projections know the first four */
#define TIDE_LIST_OUTSIDE_4(FIRST, NEXT) \
    FIRST(OUTSIDE, constant) NEXT(OUTSIDE, nearest) NEXT(OUTSIDE, wrap) NEXT(OUTSIDE, reflect)
#define TIDE_LIST_OUTSIDE(FIRST, NEXT) \
    TIDE_LIST_OUTSIDE_4(FIRST, NEXT) NEXT(OUTSIDE, mirror)
#define TIDE_LIST_DECODING(FIRST, NEXT) FIRST(DECODING, greedy) NEXT(DECODING, beam_search)
/* clang-format on */

#define TIDE_WORD(list, word) TIDE_##list##_##word,
enum { TIDE_LIST_ACTIVATION(TIDE_WORD, TIDE_WORD) };
enum { TIDE_LIST_CELL(TIDE_WORD, TIDE_WORD) };
enum { TIDE_LIST_GATE(TIDE_WORD, TIDE_WORD) };
enum { TIDE_LIST_PADDING(TIDE_WORD, TIDE_WORD) };
enum { TIDE_LIST_CHANNELS(TIDE_WORD, TIDE_WORD) };
enum { TIDE_LIST_MARGIN(TIDE_WORD, TIDE_WORD) };
enum { TIDE_LIST_REDUCTION(TIDE_WORD, TIDE_WORD) };
enum { TIDE_LIST_SIDE(TIDE_WORD, TIDE_WORD) };
enum { TIDE_LIST_SUMMED(TIDE_WORD, TIDE_WORD) };
enum { TIDE_LIST_RECOLOR(TIDE_WORD, TIDE_WORD) };
enum { TIDE_LIST_QR(TIDE_WORD, TIDE_WORD) };
enum { TIDE_LIST_RESAMPLING(TIDE_WORD, TIDE_WORD) };
enum { TIDE_LIST_INTERPOLATION(TIDE_WORD, TIDE_WORD) };
enum { TIDE_LIST_OUTSIDE(TIDE_WORD, TIDE_WORD) };
enum { TIDE_LIST_DECODING(TIDE_WORD, TIDE_WORD) };
#undef TIDE_WORD

#define TIDE_FIRST_WORD(list, word) #word
#define TIDE_NEXT_WORD(list, word) "|" #word
#define TIDE_WORDS(list) TIDE_LIST_##list(TIDE_FIRST_WORD, TIDE_NEXT_WORD)

#endif
