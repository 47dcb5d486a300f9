/* Owns the matching of patterns: a program is run with a stack of choices, the last of which is
 * taken back where it leads nowhere. Invariant: the steps of one search are bounded by its text, so
 * that no pattern runs for ever. */
#include "regex_code.h"

static size_t before(const char *s, size_t at) {
    do at--;
    while (at > 0 && ((unsigned char)s[at] & 0xc0) == 0x80);
    return at;
}

static bool push(tide_choices *st, uint32_t pc, size_t at, size_t low) {
    if (!tide_grow(&st->p, &st->room, st->n + 1, sizeof *st->p)) return false;
    st->p[st->n++] = (tide_choice){pc, at, low};
    return true;
}

static bool word_at(const char *s, size_t n, size_t at, bool behind) {
    int32_t c;
    if (behind ? at == 0 : at >= n) return false;
    tide_utf8_get(s + (behind ? before(s, at) : at), s + n, &c);
    return tide_char_kind(c) & TIDE_WORD;
}

/* Takes the last choice otherwise; false: there is none above `base`. */
static bool back(const tide_regex *r, tide_choices *st, size_t base, const char *s, size_t n,
                 uint32_t *pc, size_t *at) {
    while (st->n > base) {
        tide_choice *t = &st->p[st->n - 1];
        if (!(t->pc & LAZIER)) {
            if (t->at > t->low) t->at = before(s, t->at); /* a greedy run gives one back */
            *pc = t->pc, *at = t->at;
            if (t->at <= t->low) st->n--;
            return true;
        }
        const tide_code *lazy = &r->code[t->pc & ~LAZIER]; /* a lazy one takes one more */
        int32_t c = 0;
        const int k = t->at < n ? tide_utf8_get(s + t->at, s + n, &c) : 0;
        if (k == 0 || !tide_in_set(&r->sets[lazy->set], c)) {
            st->n--;
            continue;
        }
        *pc = (t->pc & ~LAZIER) + 1, *at = t->at += (size_t)k;
        if (++t->low >= (size_t)lazy->b) st->n--;
        return true;
    }
    return false;
}

/* The end of a match at `at` of the program from `pc` on; -1: none, -2: too long or no memory. */
static int64_t run(const tide_regex *r, tide_choices *st, const char *s, size_t n, uint32_t pc,
                   size_t at) {
    const size_t base = st->n;
    int64_t result = -1;
    for (;;) {
        const tide_code *c = &r->code[pc];
        bool ok = true;
        int32_t ch;
        if (--st->steps < 0) {
            result = -2;
            break;
        }
        switch (c->op) {
        case CHAR:
        case ANY:
        case SET:
            ok = at < n;
            if (ok) {
                const int k = tide_utf8_get(s + at, s + n, &ch);
                ok = c->op == CHAR ? ch == c->a
                    : c->op == ANY ? c->a || ch != '\n'
                                   : tide_in_set(&r->sets[c->set], ch);
                at += (size_t)k, pc++;
            }
            break;
        case RUN: {
            const tide_set *in = &r->sets[c->set];
            size_t low = at;
            int32_t times = 0, want = c->how == LAZY ? c->a : c->b;
            for (; times < want && at < n; times++) {
                const int k = tide_utf8_get(s + at, s + n, &ch);
                if (!tide_in_set(in, ch)) break;
                at += (size_t)k;
                if (times < c->a) low = at;
            }
            st->steps -= times >> 3;
            ok = times >= c->a;
            if (ok && c->how == GREEDY && at > low)
                ok = push(st, pc + 1, at, low) || (result = -2, false);
            /* lazily one more each time: the place and how many there were */
            if (ok && c->how == LAZY && times < c->b)
                ok = push(st, pc | LAZIER, at, (size_t)times) || (result = -2, false);
            pc++;
            break;
        }
        case SPLIT:
            ok = push(st, (uint32_t)c->b, at, at) || (result = -2, false);
            pc = (uint32_t)c->a;
            break;
        case JUMP: pc = (uint32_t)c->a; break;
        case BEGIN: ok = at == 0, pc++; break;
        case END: ok = at == n, pc++; break;
        case LINE_BEGIN: ok = at == 0 || s[at - 1] == '\n', pc++; break;
        case LINE_END: ok = at == n || s[at] == '\n', pc++; break;
        case BORDER:
            ok = (word_at(s, n, at, true) != word_at(s, n, at, false)) != (bool)c->negative, pc++;
            break;
        case LOOK:
        case ATOMIC: {
            size_t from = at;
            bool there = true;
            for (int32_t k = 0; c->op == LOOK && k < c->b; k++) {
                there &= from > 0;
                if (there) from = before(s, from);
            }
            const int64_t end = there ? run(r, st, s, n, pc + 1, from) : -1;
            if (end == -2) result = -2;
            ok = end != -2 && (end >= 0) != (bool)c->negative;
            if (ok && c->op == ATOMIC) at = (size_t)end;
            pc = (uint32_t)c->a;
            break;
        }
        default:
            result = (int64_t)at;
            ok = false;
            break;
        }
        if (result != -1) break;
        if (!ok && !back(r, st, base, s, n, &pc, &at)) break;
    }
    st->n = base;
    return result;
}

int tide_regex_find(const tide_regex *r, tide_choices *st, const char *s, size_t n, size_t start,
                    size_t *from, size_t *to) {
    st->n = 0, st->steps = STEPS + (int64_t)(n - start) * STEPS_BYTE;
    for (size_t at = start; at <= n; at++) {
        if (at < n && ((unsigned char)s[at] & 0xc0) == 0x80) continue;
        const int64_t end = run(r, st, s, n, 0, at);
        if (end == -2) return -1;
        if (end >= 0) return *from = at, *to = (size_t)end, 1;
    }
    return 0;
}
