/* Owns regular expressions over characters of Unicode, as far as tokenizers use Oniguruma's: sets,
 * properties, groups, alternatives, greedy, lazy and possessive repetition, looking ahead and
 * behind. A pattern becomes a program, which a matcher with a stack of choices runs. Groups are not
 * kept. Invariant: the steps of one search are bounded by its text, so that no pattern runs for
 * ever. */
#include "regex_code.h"

#include <stdlib.h>
#include <string.h>

typedef tide_code code;
typedef tide_set_item item;
typedef tide_set set;

/* -- sets -- */

static bool in_items(const set *s, int32_t c) {
    const int kind = s->kinds | s->not_kinds ? tide_char_kind(c) : 0;
    if (kind & s->kinds) return true;
    if (s->not_kinds) /* each of \S \D \W by itself */
        for (int bit = 1; bit <= s->not_kinds; bit <<= 1)
            if ((s->not_kinds & bit) && !(kind & bit)) return true;
    for (size_t i = 0; i < s->n; i++) {
        const item *it = &s->items[i];
        if (it->low >= 0) {
            if (c >= it->low && c <= it->high) return true;
        } else {
            const char name[3] = {(char)(it->high >> 8), (char)(it->high & 255), 0};
            if (tide_char_category(c, name) != (bool)it->negative) return true;
        }
    }
    return false;
}

bool tide_set_slow(const set *s, int32_t c) {
    bool in = in_items(s, c);
    if (!in && s->fold) {
        int32_t low[3];
        tide_char_lower(c, low);
        in = low[0] != c && in_items(s, low[0]);
        /* and the capitals that this is the small letter of */
        if (!in) in = c < 128 && c >= 'a' && c <= 'z' && in_items(s, c - 32);
        if (!in && c >= 128) {
            const int32_t up = tide_char_upper(c);
            in = up != c && in_items(s, up);
        }
    }
    return in != s->negative;
}

static void finish_set(set *s) {
    for (int32_t c = 0; c < 128; c++)
        if (tide_set_slow(s, c)) s->ascii[c >> 6] |= (uint64_t)1 << (c & 63);
}

/* -- reading a pattern -- */

typedef struct {
    tide_regex *r;
    const char *what, *begin, *at, *end;
    tide_ctx *ctx;
    tide_status status;
    int depth;
    bool fold, dot_all, free_spacing;
} reader;

static bool wrong(reader *p, const char *why) {
    if (p->status == TIDE_OK)
        p->status =
            tide_fail(p->ctx, TIDE_EIO, "%s: the pattern '%.*s' is not understood at byte %zu: %s",
                      p->what, (int)(p->end - p->begin > 60 ? 60 : p->end - p->begin), p->begin,
                      (size_t)(p->at - p->begin) + 1, why);
    return false;
}

static bool no_memory(reader *p) {
    if (p->status == TIDE_OK)
        p->status = tide_fail(p->ctx, TIDE_ENOMEM, "%s: not enough memory", p->what);
    return false;
}

static int32_t emit(reader *p, code c) {
    tide_regex *r = p->r;
    if (r->n >= MOST_CODE) return wrong(p, "it is too large"), -1;
    if (!tide_grow(&r->code, &r->room, r->n + 1, sizeof c)) return no_memory(p), -1;
    r->code[r->n] = c;
    return (int32_t)r->n++;
}

static set *new_set(reader *p) {
    tide_regex *r = p->r;
    if (!tide_grow(&r->sets, &r->sets_room, r->nsets + 1, sizeof *r->sets))
        return no_memory(p), NULL;
    r->sets[r->nsets] = (set){.fold = p->fold};
    return &r->sets[r->nsets++];
}

static bool add_item(reader *p, set *s, int32_t low, int32_t high, bool negative) {
    if (!tide_grow(&s->items, &s->room, s->n + 1, sizeof *s->items)) return no_memory(p);
    s->items[s->n++] = (item){low, high, negative};
    return true;
}

static bool is(const reader *p, char c) { return p->at < p->end && *p->at == c; }
static bool take(reader *p, const char *s) {
    const size_t n = strlen(s);
    if ((size_t)(p->end - p->at) < n || memcmp(p->at, s, n) != 0) return false;
    p->at += n;
    return true;
}

static const struct {
    const char *name;
    int32_t low, high;
} scripts[] = {
    {"Han", 0x2e80, 0x2fd5},      {"Han", 0x3005, 0x3005},      {"Han", 0x3007, 0x3007},
    {"Han", 0x3021, 0x3029},      {"Han", 0x3038, 0x303b},      {"Han", 0x3400, 0x4dbf},
    {"Han", 0x4e00, 0x9fff},      {"Han", 0xf900, 0xfad9},      {"Han", 0x20000, 0x323af},
    {"Hiragana", 0x3041, 0x3096}, {"Hiragana", 0x309d, 0x309f}, {"Katakana", 0x30a1, 0x30fa},
    {"Katakana", 0x30fd, 0x30ff}, {"Katakana", 0x31f0, 0x31ff}, {"Katakana", 0xff66, 0xff6f},
    {"Katakana", 0xff71, 0xff9d}, {"Hangul", 0x1100, 0x11ff},   {"Hangul", 0x3131, 0x318e},
    {"Hangul", 0xac00, 0xd7a3},   {"Thai", 0xe01, 0xe3a},       {"Thai", 0xe40, 0xe5b},
    {"Arabic", 0x600, 0x604},     {"Arabic", 0x606, 0x60b},     {"Arabic", 0x60d, 0x6ff},
    {"Arabic", 0x750, 0x77f},     {"Hebrew", 0x591, 0x5f4},     {"Greek", 0x370, 0x373},
    {"Greek", 0x375, 0x3ff},      {"Cyrillic", 0x400, 0x52f},   {"Devanagari", 0x900, 0x97f},
};

/* {Name} or one letter behind \p: into a set. */
static bool property(reader *p, set *s, bool negative) {
    char name[24];
    size_t n = 0;
    if (take(p, "{")) {
        if (take(p, "^")) negative = !negative;
        while (p->at < p->end && *p->at != '}' && n < sizeof name - 1) name[n++] = *p->at++;
        if (!take(p, "}")) return wrong(p, "a property without its end");
    } else if (p->at < p->end) {
        name[n++] = *p->at++;
    }
    name[n] = 0;
    static const struct {
        const char *name;
        int kind;
    } kinds[] = {{"L", TIDE_LETTER},
                 {"Letter", TIDE_LETTER},
                 {"N", TIDE_NUMBER},
                 {"Number", TIDE_NUMBER},
                 {"P", TIDE_PUNCT},
                 {"Punct", TIDE_PUNCT},
                 {"M", TIDE_MARK},
                 {"Mn", TIDE_NONSPACING},
                 {"Space", TIDE_SPACE},
                 {"White_Space", TIDE_SPACE},
                 {"Punctuation", TIDE_PUNCT},
                 {"Word", TIDE_WORD}};
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (!strcmp(name, kinds[i].name)) {
            *(negative ? &s->not_kinds : &s->kinds) |= kinds[i].kind;
            return true;
        }
    if (n >= 1 && n <= 2 && strchr("LNPMSZC", name[0]) &&
        (n == 1 || strchr("ultomndlocsepifksc", name[1])))
        return add_item(p, s, -1, name[0] << 8 | (unsigned char)name[1], negative);
    bool found = false;
    int32_t from = 0;
    for (size_t i = 0; i < sizeof scripts / sizeof *scripts; i++)
        if (!strcmp(name, scripts[i].name)) {
            found = true;
            if (!negative && !add_item(p, s, scripts[i].low, scripts[i].high, false)) return false;
            if (negative && !add_item(p, s, from, scripts[i].low - 1, false)) return false;
            from = scripts[i].high + 1;
        }
    if (found && negative) return add_item(p, s, from, 0x10ffff, false);
    return found ? true : wrong(p, "an unknown property");
}

static int32_t hex(reader *p, int most) {
    int32_t v = 0, n = 0;
    for (; n < most && p->at < p->end; n++, p->at++) {
        const char c = *p->at | 32;
        if (c >= '0' && c <= '9') v = v << 4 | (c - '0');
        else if (c >= 'a' && c <= 'f') v = v << 4 | (c - 'a' + 10);
        else break;
    }
    return n && v <= 0x10ffff ? v : (wrong(p, "no hexadecimal number"), 0);
}

/* Behind a backslash: a set of characters (added, 1), or one character (0, in c). */
static int escape(reader *p, set *s, int32_t *c) {
    if (p->at == p->end) return wrong(p, "a backslash at the end"), 0;
    const int k = tide_utf8_get(p->at, p->end, c);
    p->at += k;
    switch (*c) {
    case 's': s->kinds |= TIDE_SPACE; return 1;
    case 'S': s->not_kinds |= TIDE_SPACE; return 1;
    case 'w': s->kinds |= TIDE_WORD; return 1;
    case 'W': s->not_kinds |= TIDE_WORD; return 1;
    case 'd': return add_item(p, s, -1, 'N' << 8 | 'd', false);
    case 'D': return add_item(p, s, -1, 'N' << 8 | 'd', true);
    case 'h':
        return add_item(p, s, '0', '9', false) && add_item(p, s, 'a', 'f', false) &&
            add_item(p, s, 'A', 'F', false);
    case 'p': return property(p, s, false), 1;
    case 'P': return property(p, s, true), 1;
    case 'n': return *c = '\n', 0;
    case 'r': return *c = '\r', 0;
    case 't': return *c = '\t', 0;
    case 'f': return *c = '\f', 0;
    case 'v': return *c = '\v', 0;
    case 'a': return *c = 7, 0;
    case 'e': return *c = 27, 0;
    case 'u': return *c = hex(p, 4), 0;
    case 'x':
        if (take(p, "{")) {
            *c = hex(p, 6);
            if (!take(p, "}")) wrong(p, "a number without its end");
        } else {
            *c = hex(p, 2);
        }
        return 0;
    default:
        if ((*c >= 'a' && *c <= 'z') || (*c >= 'A' && *c <= 'Z') || (*c >= '1' && *c <= '9'))
            wrong(p, "an unknown escape");
        return *c = *c == '0' ? 0 : *c, 0;
    }
}

/* A set behind its bracket. */
static bool bracket(reader *p, size_t number) {
#define THE_SET (&p->r->sets[number])
    THE_SET->negative = take(p, "^");
    for (bool first = true;; first = false) {
        int32_t low, high;
        if (p->at == p->end) return wrong(p, "a set without its end");
        if (is(p, ']') && !first) break;
        if (p->end - p->at > 1 && ((p->at[0] == '&' && p->at[1] == '&') || p->at[0] == '['))
            if (p->at[0] == '&' || p->at[1] == ':')
                return wrong(p, "neither classes by name nor common parts of sets are known here");
        if (take(p, "\\")) {
            if (escape(p, THE_SET, &low)) {
                if (p->status != TIDE_OK) return false;
                continue;
            }
        } else {
            p->at += tide_utf8_get(p->at, p->end, &low);
        }
        high = low;
        if (p->end - p->at > 1 && p->at[0] == '-' && p->at[1] != ']') {
            p->at++;
            if (take(p, "\\")) {
                if (escape(p, THE_SET, &high)) return wrong(p, "a range that ends in a set");
            } else {
                p->at += tide_utf8_get(p->at, p->end, &high);
            }
        }
        if (high < low) return wrong(p, "a range that ends before it begins");
        if (p->status != TIDE_OK || !add_item(p, THE_SET, low, high, false)) return false;
    }
    p->at++;
    finish_set(THE_SET);
    return true;
#undef THE_SET
}

static bool alternatives(reader *p);

/* How many characters the code from `first` on matches; -1: it depends. */
static int32_t width(const tide_regex *r, size_t first, size_t end) {
    int32_t n = 0;
    for (size_t i = first; i < end; i++) switch (r->code[i].op) {
        case CHAR:
        case ANY:
        case SET: n++; break;
        case RUN:
            if (r->code[i].a != r->code[i].b) return -1;
            n += r->code[i].a;
            break;
        case BEGIN:
        case END:
        case LINE_BEGIN:
        case LINE_END:
        case BORDER: break;
        default: return -1;
        }
    return n;
}

/* Whether the code can match nothing; yes where that takes too many looks. */
static bool may_be_empty(const tide_regex *r, size_t first, size_t end, int *looks) {
    if (--*looks < 0) return true;
    for (size_t i = first; i < end; i++) {
        const code *c = &r->code[i];
        if (c->op == SPLIT) { /* both ways are looked at: a must not be empty, nor b */
            const size_t a = (size_t)c->a, b = (size_t)c->b;
            return may_be_empty(r, a, end, looks) || (b > i && may_be_empty(r, b, end, looks));
        }
        if (c->op == JUMP) {
            if ((size_t)c->a <= i) return true;
            i = (size_t)c->a - 1;
        } else if (c->op == LOOK) {
            i = (size_t)c->a - 1;
        } else if (c->op == CHAR || c->op == ANY || c->op == SET || (c->op == RUN && c->a > 0)) {
            return false;
        }
    }
    return true;
}

static bool group(reader *p) {
    const bool fold = p->fold, dot_all = p->dot_all;
    bool look = false, atomic = false, behind = false, negative = false;
    if (take(p, "?")) {
        if (take(p, "=")) look = true;
        else if (take(p, "!")) look = negative = true;
        else if (take(p, "<=")) look = behind = true;
        else if (take(p, "<!")) look = behind = negative = true;
        else if (take(p, ">")) atomic = true;
        else if (take(p, "<") || take(p, "P<")) {
            while (p->at < p->end && *p->at != '>') p->at++;
            if (!take(p, ">")) return wrong(p, "a name without its end");
        } else {
            bool on = true;
            for (; p->at < p->end && *p->at != ':' && *p->at != ')'; p->at++) {
                if (*p->at == '-') on = false;
                else if (*p->at == 'i') p->fold = on;
                else if (*p->at == 's' || *p->at == 'm') p->dot_all = on;
                else if (*p->at != 'u') return wrong(p, "an unknown kind of group");
            }
            if (take(p, ")")) return true; /* until the end of the group around it */
            if (!take(p, ":")) return wrong(p, "an unknown kind of group");
        }
    }
    int32_t begin = 0;
    if (look || atomic)
        begin = emit(p, (code){.op = look ? LOOK : ATOMIC, .negative = negative, .behind = behind});
    if (begin < 0 || ++p->depth > MOST_DEPTH) return wrong(p, "groups are too deep");
    if (!alternatives(p)) return false;
    p->depth--;
    p->fold = fold, p->dot_all = dot_all;
    if (!take(p, ")")) return wrong(p, "a group without its end");
    if (look || atomic) {
        if (behind) {
            const int32_t n = width(p->r, (size_t)begin + 1, p->r->n);
            if (n < 0) return wrong(p, "what is looked back at must be of one length");
            p->r->code[begin].b = n;
        }
        if (emit(p, (code){.op = MATCH}) < 0) return false;
        p->r->code[begin].a = (int32_t)p->r->n;
    }
    return true;
}

static bool one_char(reader *p, int32_t c) {
    if (!p->fold) return emit(p, (code){.op = CHAR, .a = c}) >= 0;
    set *s = new_set(p);
    if (!s || !add_item(p, s, c, c, false)) return false;
    finish_set(s);
    return emit(p, (code){.op = SET, .set = (int32_t)p->r->nsets - 1}) >= 0;
}

static bool atom(reader *p) {
    int32_t c;
    if (take(p, "(")) return group(p);
    if (take(p, ".")) return emit(p, (code){.op = ANY, .a = p->dot_all}) >= 0;
    if (take(p, "^")) return emit(p, (code){.op = LINE_BEGIN}) >= 0;
    if (take(p, "$")) return emit(p, (code){.op = LINE_END}) >= 0;
    if (take(p, "[")) {
        if (!new_set(p)) return false;
        const size_t number = p->r->nsets - 1;
        return bracket(p, number) && emit(p, (code){.op = SET, .set = (int32_t)number}) >= 0;
    }
    if (take(p, "\\")) {
        if (take(p, "A")) return emit(p, (code){.op = BEGIN}) >= 0;
        if (take(p, "z") || take(p, "Z")) return emit(p, (code){.op = END}) >= 0;
        if (take(p, "b")) return emit(p, (code){.op = BORDER}) >= 0;
        if (take(p, "B")) return emit(p, (code){.op = BORDER, .negative = 1}) >= 0;
        set *s = new_set(p);
        if (!s) return false;
        if (escape(p, s, &c)) {
            if (p->status != TIDE_OK) return false;
            finish_set(s);
            return emit(p, (code){.op = SET, .set = (int32_t)p->r->nsets - 1}) >= 0;
        }
        return p->status == TIDE_OK && one_char(p, c);
    }
    if (is(p, '*') || is(p, '+') || is(p, '?')) return wrong(p, "nothing to repeat");
    p->at += tide_utf8_get(p->at, p->end, &c);
    return one_char(p, c);
}

/* {m}, {m,}, {,n}, {m,n}; false, and nothing read: the brace is a character */
static bool braces(reader *p, int32_t *least, int32_t *most) {
    const char *at = p->at;
    int32_t v[2] = {-1, -1};
    int k = 0;
    for (p->at++; p->at < p->end && *p->at != '}'; p->at++) {
        if (*p->at == ',' && k == 0) k = 1;
        else if (*p->at >= '0' && *p->at <= '9' && v[k] < 100000)
            v[k] = (v[k] < 0 ? 0 : v[k] * 10) + *p->at - '0';
        else return p->at = at, false;
    }
    if (p->at == p->end || (v[0] < 0 && v[1] < 0)) return p->at = at, false;
    p->at++;
    *least = v[0] < 0 ? 0 : v[0], *most = k ? v[1] < 0 ? FOREVER : v[1] : *least;
    return true;
}

/* The code from `first` on once more, at the end. */
static bool again(reader *p, size_t first, size_t end) {
    const int32_t shift = (int32_t)(p->r->n - first);
    for (size_t i = first; i < end; i++) {
        code c = p->r->code[i];
        if (c.op == SPLIT) c.a += shift, c.b += shift;
        if (c.op == JUMP || c.op == LOOK || c.op == ATOMIC) c.a += shift;
        if (emit(p, c) < 0) return false;
    }
    return true;
}

static bool insert(reader *p, size_t at, code c) {
    if (emit(p, (code){.op = MATCH}) < 0) return false;
    code *k = p->r->code;
    memmove(k + at + 1, k + at, (p->r->n - 1 - at) * sizeof *k);
    for (size_t i = at + 1; i < p->r->n; i++) {
        if (k[i].op == SPLIT) k[i].a++, k[i].b++;
        if (k[i].op == JUMP || k[i].op == LOOK || k[i].op == ATOMIC) k[i].a++;
    }
    k[at] = c;
    return true;
}

/* What was just read, repeated. */
static bool repeat(reader *p, size_t first, int32_t least, int32_t most, int how) {
    tide_regex *r = p->r;
    if (most < least) return wrong(p, "a repetition that ends before it begins");
    if (r->n == first) return true;
    if (r->n == first + 1 &&
        (r->code[first].op == SET || r->code[first].op == CHAR || r->code[first].op == ANY)) {
        code c = r->code[first];
        if (c.op != SET) {
            set *s = new_set(p);
            if (!s ||
                !add_item(p, s, c.op == CHAR ? c.a : 0,
                          c.op == CHAR ? c.a
                              : c.a    ? 0x10ffff
                                       : 9,
                          false) ||
                (c.op == ANY && !c.a && !add_item(p, s, 11, 0x10ffff, false)))
                return false;
            s->fold = false;
            finish_set(s);
            c.set = (int32_t)r->nsets - 1;
        }
        r->code[first] =
            (code){.op = RUN, .set = c.set, .a = least, .b = most, .how = (uint8_t)how};
        return true;
    }
    int looks = 5000;
    if (most == FOREVER && may_be_empty(r, first, r->n, &looks))
        return wrong(p, "a repeated group that can match nothing");
    if (how == POSSESSIVE && (!insert(p, first, (code){.op = ATOMIC}))) return false;
    const size_t begin = first + (how == POSSESSIVE), end = r->n;
    const bool lazy = how == LAZY;
    /* least - 1 copies that must be, then the last with its loop, or those that may be */
    if (least == 0 && most == 0) {
        r->n = begin;
    } else if (most == FOREVER) {
        size_t from = begin;
        if (least == 0) { /* split out, X, jump back */
            if (!insert(p, begin, (code){.op = SPLIT})) return false;
            if (emit(p, (code){.op = JUMP, .a = (int32_t)begin}) < 0) return false;
            r->code[begin].a = lazy ? (int32_t)r->n : (int32_t)begin + 1;
            r->code[begin].b = lazy ? (int32_t)begin + 1 : (int32_t)r->n;
        } else {
            for (int32_t k = 1; k < least; k++) {
                from = r->n;
                if (!again(p, begin, end)) return false;
            }
            const int32_t at = emit(p, (code){.op = SPLIT});
            if (at < 0) return false;
            r->code[at].a = lazy ? at + 1 : (int32_t)from,
            r->code[at].b = lazy ? (int32_t)from : at + 1;
        }
    } else {
        const size_t size = end - begin;
        code *copy = malloc(size * sizeof *copy);
        if (!copy) return no_memory(p);
        memcpy(copy, r->code + begin, size * sizeof *copy);
        r->n = begin;
        bool ok = true;
        for (int32_t k = 0; ok && k < most; k++) {
            int32_t at = -1;
            if (k >= least) ok = (at = emit(p, (code){.op = SPLIT})) >= 0;
            const int32_t shift = (int32_t)r->n - (int32_t)begin;
            for (size_t i = 0; ok && i < size; i++) {
                code c = copy[i];
                if (c.op == SPLIT) c.a += shift, c.b += shift;
                if (c.op == JUMP || c.op == LOOK || c.op == ATOMIC) c.a += shift;
                ok = emit(p, c) >= 0;
            }
            if (ok && at >= 0) {
                r->code[at].a = lazy ? (int32_t)r->n : at + 1;
                r->code[at].b = lazy ? at + 1 : (int32_t)r->n;
            }
        }
        free(copy);
        if (!ok) return false;
    }
    if (how == POSSESSIVE) {
        if (emit(p, (code){.op = MATCH}) < 0) return false;
        r->code[first].a = (int32_t)r->n;
    }
    return true;
}

static bool sequence(reader *p) {
    while (p->at < p->end && *p->at != '|' && *p->at != ')') {
        const size_t first = p->r->n;
        if (!atom(p)) return false;
        for (bool more = true; more;) {
            int32_t least, most;
            if (take(p, "*")) least = 0, most = FOREVER;
            else if (take(p, "+")) least = 1, most = FOREVER;
            else if (take(p, "?")) least = 0, most = 1;
            else if (!(is(p, '{') && braces(p, &least, &most))) break;
            const int how = take(p, "?") ? LAZY : take(p, "+") ? POSSESSIVE : GREEDY;
            if (!repeat(p, first, least, most, how)) return false;
            more = false;
        }
    }
    return true;
}

static bool alternatives(reader *p) {
    size_t first = p->r->n;
    if (!sequence(p)) return false;
    int32_t jumps = -1; /* a chain through `b` of the jumps to the end */
    while (take(p, "|")) {
        if (!insert(p, first, (code){.op = SPLIT})) return false;
        const int32_t jump = emit(p, (code){.op = JUMP, .b = jumps});
        if (jump < 0) return false;
        jumps = jump;
        p->r->code[first].a = (int32_t)first + 1, p->r->code[first].b = (int32_t)p->r->n;
        first = p->r->n;
        if (!sequence(p)) return false;
    }
    for (int32_t next; jumps >= 0; jumps = next) {
        next = p->r->code[jumps].b;
        p->r->code[jumps].a = (int32_t)p->r->n;
    }
    return true;
}

tide_status tide_regex_new(tide_ctx *ctx, const char *what, const char *pattern, size_t n,
                           tide_regex **out) {
    *out = NULL;
    tide_regex *r = calloc(1, sizeof *r);
    if (!r) return tide_fail(ctx, TIDE_ENOMEM, "%s: not enough memory", what);
    reader p = {
        .r = r, .what = what, .begin = pattern, .at = pattern, .end = pattern + n, .ctx = ctx};
    if (alternatives(&p) && p.at < p.end) wrong(&p, "an end of a group that did not begin");
    if (p.status == TIDE_OK) emit(&p, (code){.op = MATCH});
    if (p.status != TIDE_OK) tide_regex_free(r);
    else *out = r;
    return p.status;
}

void tide_regex_free(tide_regex *r) {
    if (!r) return;
    for (size_t i = 0; i < r->nsets; i++) free(r->sets[i].items);
    free(r->sets), free(r->code), free(r);
}
