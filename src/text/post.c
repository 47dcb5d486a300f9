/* Owns post-processors: what stands around the texts once they are tokens ([CLS] … [SEP]), and the
 * offsets that spaces are taken out of. All kinds become two templates, for one text and for two.
 */
#include "tokenizer.h"

#include <string.h>

static bool slots(tide_reading *r, tide_arena *a, tide_template *to, size_t n) {
    if (!(to->slot = tide_arena_take(a, (n + 1) * sizeof *to->slot))) return tide_short(r);
    return true;
}

static bool own(tide_reading *r, tide_arena *a, tide_template *to, int type, const int32_t *ids,
                size_t n) {
    tide_slot *s = &to->slot[to->n++];
    *s = (tide_slot){.sequence = -1, .type = type, .n = n};
    if (!(s->ids = tide_arena_take(a, (n + 1) * sizeof *ids))) return tide_short(r);
    if (n) memcpy(s->ids, ids, n * sizeof *ids);
    to->added += n;
    return true;
}

static void text(tide_template *to, int sequence, int type) {
    to->slot[to->n++] = (tide_slot){.sequence = sequence, .type = type};
}

/* "cls": ["[CLS]", 101] */
static bool named(tide_reading *r, const tide_tree *o, const char *path, const char *key,
                  int32_t *id) {
    const tide_tree *t = tide_at_list(r, o, path, key);
    const tide_tree *name = t ? t->child : NULL, *number = name ? name->next : NULL;
    if (!number || number->next || name->kind != TIDE_JSON_STRING ||
        number->kind != TIDE_JSON_INTEGER || number->integer < 0 ||
        number->integer >= TIDE_TOKENIZER_IDS)
        return tide_wrong(r, "%s.%s must be a token and its id", path, key);
    *id = (int32_t)number->integer;
    return true;
}

/* [CLS] A [SEP] and [CLS] A [SEP] B [SEP] of BERT; RoBERTa has two in the middle and one type. */
static bool classic(tide_reading *r, tide_tokenizer *t, const tide_tree *o, const char *path,
                    bool roberta) {
    int32_t cls, sep;
    if (!named(r, o, path, "cls", &cls) || !named(r, o, path, "sep", &sep)) return false;
    tide_arena *a = &t->arena;
    tide_template *one = &t->single, *two = &t->pair;
    *one = *two = (tide_template){0};
    if (!slots(r, a, one, 3) || !slots(r, a, two, 6)) return false;
    const int second = roberta ? 0 : 1;
    t->templates = true, t->one_type = roberta;
    if (!own(r, a, one, 0, &cls, 1)) return false;
    text(one, 0, 0);
    if (!own(r, a, one, 0, &sep, 1) || !own(r, a, two, 0, &cls, 1)) return false;
    text(two, 0, 0);
    const int32_t middle[2] = {sep, sep};
    if (!own(r, a, two, 0, middle, roberta ? 2 : 1)) return false;
    text(two, 1, second);
    return own(r, a, two, second, &sep, 1);
}

static bool template(tide_reading *r, tide_tokenizer *t, const tide_tree *o, const char *path,
                     const char *key, tide_template *to) {
    const tide_tree *list = tide_at_list(r, o, path, key),
                    *special = tide_at_object(r, o, path, "special_tokens");
    size_t n = 0;
    if (!list) return tide_wrong(r, "%s.%s is missing", path, key);
    for (const tide_tree *c = list->child; c; c = c->next) n++;
    *to = (tide_template){0};
    if (!slots(r, &t->arena, to, n)) return false;
    for (const tide_tree *c = list->child; c; c = c->next) {
        const tide_tree *token = tide_at_object(r, c, path, "SpecialToken"),
                        *seq = tide_at_object(r, c, path, "Sequence");
        const tide_tree *which = token ? token : seq;
        if (!which)
            return tide_wrong(r, "%s.%s: an entry is neither a Sequence nor a SpecialToken", path,
                              key);
        const int type = (int)tide_at_int(r, which, path, "type_id", 0, 255, 0);
        if (seq) {
            text(to, tide_at_enum(r, seq, path, "id", "A|B", 0), type);
            continue;
        }
        const char *name = tide_at_string(r, token, path, "id", "", NULL);
        const tide_tree *entry = tide_at_object(r, special, path, name);
        const tide_tree *ids = entry ? tide_at_list(r, entry, path, "ids") : NULL;
        int32_t id[64];
        size_t k = 0;
        for (const tide_tree *i = ids ? ids->child : NULL; i && k < 64; i = i->next) {
            if (i->kind != TIDE_JSON_INTEGER || i->integer < 0 || i->integer >= TIDE_TOKENIZER_IDS)
                return tide_wrong(r, "%s.special_tokens: the ids of '%.40s' must be whole numbers",
                                  path, name);
            id[k++] = (int32_t)i->integer;
        }
        if (!k) return tide_wrong(r, "%s.special_tokens has no ids of '%.40s'", path, name);
        if (!own(r, &t->arena, to, type, id, k)) return false;
    }
    return r->status == TIDE_OK;
}

bool tide_read_post(tide_reading *r, tide_tokenizer *t, const tide_tree *o, const char *path) {
    if (o->kind != TIDE_JSON_OBJECT)
        return tide_wrong(r, "%s must be an object (got %s)", path, tide_tree_what(o));
    const tide_tree *list;
    switch (tide_at_enum(r, o, path, "type",
                         "Sequence|BertProcessing|RobertaProcessing|TemplateProcessing|ByteLevel",
                         -1)) {
    case 0:
        if (!(list = tide_at_list(r, o, path, "processors")))
            return tide_wrong(r, "%s.processors is missing", path);
        for (const tide_tree *c = list->child; c; c = c->next)
            if (!tide_read_post(r, t, c, path)) return false;
        break;
    case 1: return classic(r, t, o, path, false);
    case 2:
        t->trim |= tide_at_bool(r, o, path, "trim_offsets", true);
        t->trim_prefix |= tide_at_bool(r, o, path, "add_prefix_space", true);
        return classic(r, t, o, path, true);
    case 3:
        t->templates = true;
        return template(r, t, o, path, "single", &t->single) &&
            template(r, t, o, path, "pair", &t->pair);
    case 4:
        t->trim |= tide_at_bool(r, o, path, "trim_offsets", true);
        t->trim_prefix |= tide_at_bool(r, o, path, "add_prefix_space", true);
        break;
    default: return tide_wrong(r, "%s.type is missing", path);
    }
    return r->status == TIDE_OK;
}
